/* Open files: opening, making, reading and closing. */
#include <errno.h>
#include <fcntl.h>

#include "fs/fs.h"

static bool writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* Where the end is that it writes to is the remote's to say, but pages of a mapping are written where they are:
 * who could map it as well goes without pages. */
static bool appends_unmapped(int flags)
{
	return (flags & O_ACCMODE) == O_RDWR && flags & O_APPEND;
}

/* The open file of what the backend opened; NULL: replied, and the handle is released. */
static struct scout_fh *keep(struct scout_request *r, struct scout_inode *inode, bool drop,
			     const struct scout_result *res, struct fuse_file_info *fi)
{
	struct scout_fs *fs = fuse_req_userdata(r->fuse);
	struct scout_fh *f;

	fi->direct_io |= appends_unmapped(r->flags);
	f = scout_fh_new(fs->fhs, inode, r->backend, res->open.handle, r->flags, r->timeout_ns,
			 &res->open.attr);
	if (!f) {
		if (drop)
			scout_inode_dropped(inode, false);
		r->backend->ops->release(r->backend->self, res->open.handle);
		scout_fs_reply_err(r, -ENOMEM);
		return NULL;
	}
	f->unpaged = fi->direct_io;
	atomic_store(&f->dropping, drop);
	fi->keep_cache = !fi->direct_io && !drop;
	fi->noflush = !f->writer;
	fi->fh = (uintptr_t)f;
	return f;
}

/* Whether r's inode was opened meanwhile to make another file of its name: that ends it at 0 in the kernel, for
 * who reads the older one too. Asked when r's file is among the inode's: from then on nobody can do so. */
static bool was_taken(const struct scout_request *r)
{
	return !(r->flags & O_TRUNC) && scout_inode_is_apart(r->inode);
}

static void reply_open(struct scout_request *r, const struct scout_result *res)
{
	struct scout_fs *fs = fuse_req_userdata(r->fuse);
	uint64_t version = res->open.attr.version;
	struct fuse_file_info fi = {.direct_io = res->open.direct_io};
	enum scout_bind bind = SCOUT_BIND_SAME;
	struct scout_fh *f;

	if (!fi.direct_io)
		bind = scout_inode_bind(r->inode, version, res->open.pages, r->flags,
					fuse_req_ctx(r->fuse)->pid);
	if (bind == SCOUT_BIND_OTHER) {
		r->backend->ops->release(r->backend->self, res->open.handle);
		/* the kernel looks the name up again and opens the inode of the new version, or of other pages */
		scout_fs_reply_err(r, -ESTALE);
		return;
	}
	fi.direct_io |= bind == SCOUT_BIND_PASSING;
	f = keep(r, r->inode, bind == SCOUT_BIND_DROP, res, &fi);
	if (!f)
		return;
	if (was_taken(r)) {
		scout_fh_close(f);
		scout_fs_reply_err(r, -ESTALE);
		return;
	}
	/* The kernel may believe another size: have it ask again before it reads. */
	if (bind != SCOUT_BIND_PASSING && scout_inode_saw(r->inode, version))
		(void)fuse_lowlevel_notify_inval_inode(fs->session, (fuse_ino_t)r->inode, -1, 0);
	scout_request_settle(r, 0);
	if (fuse_reply_open(r->fuse, &fi) != 0)
		scout_fh_close(f);
}

static void open_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (!err && (r->flags & O_TRUNC))
		scout_inode_changed(r->inode);
	if (scout_request_claim(r)) {
		if (err)
			scout_fs_reply_err(r, err);
		else
			reply_open(r, res);
	} else if (!err) {
		r->backend->ops->release(r->backend->self, res->open.handle);
	}
	scout_request_put(r);
}

/* Where truncating makes another file, who reads the one that is there must not see it shrink. */
static bool leads_elsewhere(struct scout_inode *inode, int flags)
{
	if (!inode->backend || !inode->backend->ops->replaces)
		return false;
	return scout_inode_is_apart(inode) || ((flags & O_TRUNC) && !scout_inode_set_apart(inode));
}

void scout_fs_open(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), ino);
	char path[PATH_MAX];
	struct scout_request *r;

	if ((writes(fi->flags) || (fi->flags & O_TRUNC)) && !SCOUT_FS_TAKES(inode, write)) {
		fuse_reply_err(fuse, EROFS);
		return;
	}
	if (leads_elsewhere(inode, fi->flags)) {
		scout_inode_refused(inode, fuse_req_ctx(fuse)->pid);
		fuse_reply_err(fuse, ESTALE); /* the kernel looks the name up again */
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_OPEN, inode, NULL, path, open_done);
	if (!r)
		return;
	r->flags = fi->flags;
	scout_request_start(r);
	r->backend->ops->open(r->backend->self, path, r->flags, &r->base);
}

static void reply_create(struct scout_request *r, const struct scout_result *res)
{
	struct fuse_file_info fi = {.direct_io = res->open.direct_io};
	const struct scout_attr *attr = &res->open.attr;
	struct scout_inode *inode;
	struct fuse_entry_param e;
	struct scout_fh *f;

	inode = (res->open.replaces ? scout_inode_create_apart : scout_inode_create)(
	    r->inode, r->name, r->backend, r->backend_index, attr);
	if (!inode) {
		r->backend->ops->release(r->backend->self, res->open.handle);
		scout_fs_reply_err(r, -ENOMEM);
		return;
	}
	f = keep(r, inode, false, res, &fi);
	if (!f) {
		scout_inode_forget(inode, 1);
		return;
	}
	if (!res->open.direct_io)
		scout_inode_bind_new(inode, attr->version);
	scout_fs_entry(fuse_req_userdata(r->fuse), inode, attr, res->ttl_ms, &e);
	scout_request_settle(r, 0);
	if (fuse_reply_create(r->fuse, &e, &fi) != 0) {
		scout_fh_close(f);
		scout_inode_forget(inode, 1);
	}
}

static void create_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (!err)
		scout_inode_changed(r->inode);
	if (scout_request_claim(r)) {
		if (err)
			scout_fs_reply_err(r, err);
		else
			reply_create(r, res);
	} else if (!err) {
		r->backend->ops->release(r->backend->self, res->open.handle);
	}
	scout_request_put(r);
}

void scout_fs_create(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode,
		     struct fuse_file_info *fi)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), parent);
	char path[PATH_MAX];
	struct scout_request *r;

	if (!SCOUT_FS_TAKES(inode, create)) {
		fuse_reply_err(fuse, EROFS);
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_CREATE, inode, name, path, create_done);
	if (!r)
		return;
	r->flags = fi->flags;
	scout_request_start(r);
	r->backend->ops->create(r->backend->self, path, mode & 07777, r->flags, &r->base);
}

static void read_done(struct scout_req *req, int err, const struct scout_result *res);

static void ask_for_bytes(struct scout_request *r)
{
	struct scout_fh *f = r->file;

	r->belief = scout_inode_belief(f->inode, f->version);
	f->backend->ops->read(f->backend->self, f->handle, r->offset, r->size, r->belief, &r->base);
}

/* The file's end, where the kernel may meanwhile have been told of a longer file: it would take zeros
 * for what is missing. */
static bool ends_too_early(const struct scout_request *r, const struct scout_result *res)
{
	size_t len = 0;

	for (int i = 0; i < res->data.count; i++)
		len += res->data.iov[i].iov_len;
	return len < r->size && scout_inode_belief(r->file->inode, r->belief) != r->belief;
}

static void read_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (!err && !scout_req_unwanted(req) && ends_too_early(r, res)) {
		ask_for_bytes(r);
		return;
	}
	if (scout_fs_succeeded(r, err))
		fuse_reply_iov(r->fuse, res->data.iov, res->data.count);
	scout_request_put(r);
}

void scout_fs_read(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
		   struct fuse_file_info *fi)
{
	struct scout_request *r;

	(void)ino; /* the file knows it */
	scout_fh_used(scout_fs_fh(fi));
	r = scout_fs_begin_file(fuse, SCOUT_OP_READ, scout_fs_fh(fi), read_done);
	if (!r)
		return;
	r->offset = (uint64_t)offset;
	r->size = size;
	scout_request_start(r);
	ask_for_bytes(r);
}

void scout_fs_release(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino; /* the file knows it */
	scout_fh_used(scout_fs_fh(fi));
	scout_fh_close(scout_fs_fh(fi));
	fuse_reply_err(fuse, 0);
}
