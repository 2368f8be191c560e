/* Open files and directories; see file.h. */
#include "fs/file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct scout_files {
	struct scout_mutex lock;
	TAILQ_HEAD(, scout_file) open; /* under lock */
};

int scout_files_new(struct scout_files **ret)
{
	struct scout_files *files = calloc(1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	scout_mutex_init(&files->lock, SCOUT_LOCK_LEAF);
	TAILQ_INIT(&files->open);
	*ret = files;
	return 0;
}

void scout_files_release(struct scout_files *files)
{
	struct scout_file *f;

	/* the kernel is gone, so nobody else closes */
	for (;;) {
		scout_lock(&files->lock);
		f = TAILQ_FIRST(&files->open);
		scout_unlock(&files->lock);
		if (!f)
			return;
		scout_file_close(f);
	}
}

void scout_files_free(struct scout_files *files)
{
	if (!files)
		return;
	assert(TAILQ_EMPTY(&files->open));
	scout_mutex_destroy(&files->lock);
	free(files);
}

struct scout_file *scout_file_new(struct scout_files *files, struct scout_inode *inode,
				  const struct scout_backend *backend, void *handle, bool directory)
{
	struct scout_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->files = files;
	f->inode = inode;
	f->backend = backend;
	f->handle = handle;
	f->directory = directory;
	atomic_init(&f->refs, 1);
	scout_inode_pin(inode);
	scout_lock(&files->lock);
	TAILQ_INSERT_TAIL(&files->open, f, link);
	scout_unlock(&files->lock);
	return f;
}

void scout_file_ref(struct scout_file *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

void scout_file_unref(struct scout_file *f)
{
	if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (f->backend && f->directory)
		f->backend->ops->releasedir(f->backend->self, f->handle);
	else if (f->backend)
		f->backend->ops->release(f->backend->self, f->handle);
	scout_inode_unpin(f->inode);
	free(f);
}

void scout_file_close(struct scout_file *f)
{
	scout_lock(&f->files->lock);
	TAILQ_REMOVE(&f->files->open, f, link);
	scout_unlock(&f->files->lock);
	scout_file_unref(f);
}
