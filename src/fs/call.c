/* What all operations share: from a request of the kernel to one of a backend, and the answers that more
 * than one of them gives. An operation decodes a request, hands it to the backend, and has a completion
 * that replies; completions run on any thread, with no lock held. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs.h"
#include "scoutfs/clock.h"

#define GAVE_UP_NS SCOUT_NS_PER_S

void scout_fs_stat(const struct scout_fs *fs, uint64_t ino, const struct scout_attr *attr,
		   struct stat *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->st_ino = ino;
	ret->st_mode = attr->mode & ~fs->options.umask;
	ret->st_nlink = attr->nlink;
	ret->st_uid = fs->options.uid == (uid_t)-1 ? attr->uid : fs->options.uid;
	ret->st_gid = fs->options.gid == (gid_t)-1 ? attr->gid : fs->options.gid;
	ret->st_size = (off_t)attr->size;
	ret->st_blocks = (blkcnt_t)((attr->size + 511) / 512);
	ret->st_blksize = 4096;
	ret->st_atim = attr->atime;
	ret->st_mtim = attr->mtime;
	ret->st_ctim = attr->mtime;
}

void scout_fs_make_ask(struct stat *st, double *ttl)
{
	st->st_mtim.tv_nsec ^= 1;
	*ttl = 0;
}

void scout_fs_root_stat(const struct scout_fs *fs, struct stat *ret)
{
	struct scout_attr attr = {
	    .mode = S_IFDIR | 0755, .nlink = 2, .uid = getuid(), .gid = getgid()};

	attr.atime = attr.mtime = fs->start;
	scout_fs_stat(fs, fs->root->ino, &attr, ret);
}

void scout_fs_reply_err(struct scout_request *r, int err)
{
	/* a backend that is stopping looks to users like any filesystem that has gone */
	if (err == -ESHUTDOWN)
		err = -ENOTCONN;
	/* to the kernel it would mean that no file has this operation, for as long as it is mounted */
	if (err == -ENOSYS)
		err = -EOPNOTSUPP;
	scout_request_settle(r, err);
	fuse_reply_err(r->fuse, -err);
}

bool scout_fs_succeeded(struct scout_request *r, int err)
{
	if (!scout_request_claim(r))
		return false;
	if (err)
		scout_fs_reply_err(r, err);
	else
		scout_request_settle(r, 0);
	return !err;
}

int scout_fs_append_name(char path[PATH_MAX], const char *name)
{
	size_t len = strlen(path), name_len = strlen(name);

	if (name_len > NAME_MAX || len + name_len + 2 > PATH_MAX)
		return -ENAMETOOLONG;
	if (len > 0)
		path[len++] = '/';
	memcpy(path + len, name, name_len + 1);
	return 0;
}

/* A lookup in the root: the child is a backend's own directory, whose path is "". */
static int find_backend(const struct scout_fs *fs, const char *name, unsigned *index)
{
	for (unsigned i = 0; i < fs->nbackends; i++) {
		if (strcmp(name, fs->backends[i].ops->name) == 0) {
			*index = i;
			return 0;
		}
	}
	return -ENOENT;
}

struct scout_request *scout_fs_begin(fuse_req_t fuse, enum scout_op op, struct scout_inode *inode,
				     const char *name, char path[PATH_MAX], scout_fs_done *done)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	unsigned index = inode->backend_index;
	const struct scout_backend *be;
	struct scout_request *r;
	char *copy;
	int err;

	err = scout_inode_path(inode, path, PATH_MAX);
	if (err == -ESTALE && name)
		err = -ENOENT;
	if (!err && !inode->backend)
		err = find_backend(fs, name, &index);
	else if (!err && name)
		err = scout_fs_append_name(path, name);
	if (err) {
		fuse_reply_err(fuse, -err);
		return NULL;
	}
	be = &fs->backends[index];
	copy = name ? strdup(name) : NULL;
	r = name && !copy ? NULL
			  : scout_request_new(fs->requests, fuse, op, inode, be, index, NULL,
					      be->ops->timeout_ns(be->self, path), done);
	if (!r) {
		free(copy);
		fuse_reply_err(fuse, ENOMEM);
		return NULL;
	}
	r->name = copy;
	return r;
}

struct scout_request *scout_fs_begin_file(fuse_req_t fuse, enum scout_op op, struct scout_fh *f,
					  scout_fs_done *done)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	uint64_t timeout_ns = f->timeout_ns;
	struct scout_request *r;

	/* The flush behind an interrupted call may be that of a process that ends, to which the kernel
	 * lets no further signal through. */
	if (atomic_exchange(&f->interrupted, false) && op == SCOUT_OP_FLUSH &&
	    timeout_ns > GAVE_UP_NS)
		timeout_ns = GAVE_UP_NS;
	r = scout_request_new(fs->requests, fuse, op, f->inode, f->backend, f->inode->backend_index,
			      f, timeout_ns, done);
	if (!r)
		fuse_reply_err(fuse, ENOMEM);
	return r;
}

struct scout_request *scout_fs_begin_attr(fuse_req_t fuse, enum scout_op op,
					  struct scout_inode *inode,
					  const struct fuse_file_info *fi, char path[PATH_MAX],
					  const char **at, scout_fs_done *done)
{
	struct scout_fh *f = fi ? scout_fs_fh(fi) : NULL, *found = NULL;
	int err = scout_inode_path(inode, path, PATH_MAX);
	struct scout_request *r;

	if (err == -ESTALE && !f)
		f = found = scout_fh_of(inode);
	if (err && (err != -ESTALE || !f)) {
		fuse_reply_err(fuse, -err);
		return NULL;
	}
	*at = err ? NULL : path;
	r = f ? scout_fs_begin_file(fuse, op, f, done)
	      : scout_fs_begin(fuse, op, inode, NULL, path, done);
	if (found)
		scout_fh_unref(found);
	return r;
}

void *scout_fs_handle(const struct scout_request *r)
{
	return r->file ? r->file->handle : NULL;
}

void scout_fs_entry(const struct scout_fs *fs, struct scout_inode *inode,
		    const struct scout_attr *attr, uint32_t ttl_ms, struct fuse_entry_param *ret)
{
	memset(ret, 0, sizeof(*ret));
	scout_fs_stat(fs, inode->ino, attr, &ret->attr);
	ret->ino = (fuse_ino_t)inode;
	ret->generation = inode->generation;
	ret->attr_timeout = ret->entry_timeout = ttl_ms / 1000.0;
	/* the entry brings the kernel up to date */
	if (scout_inode_told(inode, attr->version))
		scout_fs_make_ask(&ret->attr, &ret->attr_timeout);
}

void scout_fs_reply_entry(struct scout_request *r, struct scout_inode *inode,
			  const struct scout_attr *attr, uint32_t ttl_ms)
{
	struct fuse_entry_param e;

	if (!inode) {
		scout_fs_reply_err(r, -ENOMEM);
		return;
	}
	scout_fs_entry(fuse_req_userdata(r->fuse), inode, attr, ttl_ms, &e);
	/* once replied, the kernel may forget the inode at any time */
	scout_request_settle(r, 0);
	if (fuse_reply_entry(r->fuse, &e) != 0)
		scout_inode_forget(inode, 1);
}
