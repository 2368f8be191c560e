/* Open files and directories; see fh.h. */
#include "fs/fh.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "scoutfs/clock.h"

struct scout_fhs {
	struct scout_mutex lock;
	TAILQ_HEAD(, scout_fh) open; /* under lock */
};

int scout_fhs_new(struct scout_fhs **ret)
{
	struct scout_fhs *fhs = calloc(1, sizeof(*fhs));

	if (!fhs)
		return -ENOMEM;
	scout_mutex_init(&fhs->lock, SCOUT_LOCK_LEAF);
	TAILQ_INIT(&fhs->open);
	*ret = fhs;
	return 0;
}

void scout_fhs_release(struct scout_fhs *fhs)
{
	struct scout_fh *f;

	/* the kernel is gone, so nobody else closes */
	for (;;) {
		scout_lock(&fhs->lock);
		f = TAILQ_FIRST(&fhs->open);
		scout_unlock(&fhs->lock);
		if (!f)
			return;
		scout_fh_close(f);
	}
}

void scout_fhs_free(struct scout_fhs *fhs)
{
	if (!fhs)
		return;
	assert(TAILQ_EMPTY(&fhs->open));
	scout_mutex_destroy(&fhs->lock);
	free(fhs);
}

static struct scout_fh *fh_new(struct scout_fhs *fhs, struct scout_inode *inode,
			       const struct scout_backend *backend, void *handle)
{
	struct scout_fh *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->fhs = fhs;
	f->inode = inode;
	f->backend = backend;
	f->handle = handle;
	atomic_init(&f->refs, 1);
	scout_inode_pin(inode);
	return f;
}

static void add(struct scout_fhs *fhs, struct scout_fh *f)
{
	scout_lock(&fhs->lock);
	TAILQ_INSERT_TAIL(&fhs->open, f, link);
	scout_unlock(&fhs->lock);
}

struct scout_fh *scout_fh_new(struct scout_fhs *fhs, struct scout_inode *inode,
			      const struct scout_backend *backend, void *handle, int flags,
			      uint64_t timeout_ns, const struct scout_attr *attr)
{
	struct scout_fh *f = fh_new(fhs, inode, backend, handle);

	if (!f)
		return NULL;
	f->writer = (flags & O_ACCMODE) != O_RDONLY;
	f->appends = flags & O_APPEND;
	f->timeout_ns = timeout_ns;
	f->version = attr->version;
	f->size = attr->size;
	scout_lock(&inode->tree->lock);
	TAILQ_INSERT_TAIL(&inode->files, f, open);
	inode->writers += f->writer;
	scout_unlock(&inode->tree->lock);
	add(fhs, f);
	return f;
}

struct scout_fh *scout_fh_new_dir(struct scout_fhs *fhs, struct scout_inode *inode,
				  const struct scout_backend *backend, void *handle)
{
	struct scout_fh *f = fh_new(fhs, inode, backend, handle);

	if (!f)
		return NULL;
	f->directory = true;
	add(fhs, f);
	return f;
}

struct scout_fh *scout_fh_of(struct scout_inode *inode)
{
	struct scout_fh *f;

	scout_lock(&inode->tree->lock);
	f = TAILQ_FIRST(&inode->files);
	if (f)
		scout_fh_ref(f); /* the kernel's own is not given back before f has left the list */
	scout_unlock(&inode->tree->lock);
	return f;
}

/* The kernel is told of size, of what may only have grown, or is what we made of it. */
static void note_size_locked(struct scout_inode *inode, uint64_t size, bool grown,
			     uint64_t asked_ns)
{
	struct scout_fh *f;

	TAILQ_FOREACH (f, &inode->files, open) {
		if (asked_ns <= f->sized_ns || (grown ? size <= f->size : size == f->size))
			continue;
		f->size = size;
		f->sized_ns = scout_now_ns();
	}
}

/* Else the size is noted. */
static bool would_cut_locked(struct scout_inode *inode, const struct scout_attr *attr,
			     uint64_t asked_ns)
{
	const struct scout_fh *f;
	bool cut = false, other;

	other = scout_inode_is_other_version_locked(inode, attr->version, asked_ns);
	/* what was asked for before another size was told the kernel passes over */
	TAILQ_FOREACH (f, &inode->files, open)
		cut |= other && f->version != attr->version && attr->size < f->size &&
		       asked_ns > f->sized_ns;
	if (!cut && (other || (inode->bound && inode->bound_version == attr->version)))
		note_size_locked(inode, attr->size, other, asked_ns);
	return cut;
}

void scout_fh_synced(struct scout_inode *inode, uint64_t size)
{
	scout_lock(&inode->tree->lock);
	note_size_locked(inode, size, false, UINT64_MAX);
	scout_unlock(&inode->tree->lock);
}

bool scout_fh_told(struct scout_inode *inode, const struct scout_attr *attr, uint64_t asked_ns,
		   bool *ask)
{
	bool cuts;

	/* Under one lock: who opens the older version meanwhile is seen here, or sees the newer one himself. */
	scout_lock(&inode->tree->lock);
	cuts = would_cut_locked(inode, attr, asked_ns);
	if (cuts)
		(void)scout_inode_saw_locked(inode, attr->version);
	else
		*ask = scout_inode_told_locked(inode, attr->version);
	scout_unlock(&inode->tree->lock);
	return !cuts;
}

void scout_fh_ref(struct scout_fh *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

void scout_fh_unref(struct scout_fh *f)
{
	if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (f->backend && f->directory)
		f->backend->ops->releasedir(f->backend->self, f->handle);
	else if (f->backend)
		f->backend->ops->release(f->backend->self, f->handle);
	if (f->writer) {
		scout_inode_changed(f->inode);
		scout_lock(&f->inode->tree->lock);
		if (--f->inode->writers == 0)
			scout_inode_unwritten_locked(f->inode);
		scout_unlock(&f->inode->tree->lock);
	}
	scout_inode_unpin(f->inode);
	free(f);
}

void scout_fh_used(struct scout_fh *f)
{
	if (atomic_load_explicit(&f->dropping, memory_order_relaxed) &&
	    atomic_exchange(&f->dropping, false))
		scout_inode_dropped(f->inode, true);
}

void scout_fh_close(struct scout_fh *f)
{
	if (atomic_exchange(&f->dropping, false))
		scout_inode_dropped(f->inode, false);
	scout_lock(&f->fhs->lock);
	TAILQ_REMOVE(&f->fhs->open, f, link);
	scout_unlock(&f->fhs->lock);
	if (!f->directory) {
		scout_lock(&f->inode->tree->lock);
		TAILQ_REMOVE(&f->inode->files, f, open);
		scout_unlock(&f->inode->tree->lock);
	}
	scout_fh_unref(f);
}
