/* What is written to open files. The backend takes the bytes during the call, and tells at the next write,
 * flush or fsync what became of them. */
#include <errno.h>
#include <fcntl.h>

#include "fs/fs.h"
#include "scoutfs/budget.h"

/* Replies err to r, which is claimed. The kernel answered reads from its pages with what was taken and then
 * lost, and would go on with it: it is to ask what the file is now. */
static void reply_lost(struct scout_request *r, int err)
{
	struct scout_fs *fs = fuse_req_userdata(r->fuse);

	(void)fuse_lowlevel_notify_inval_inode(fs->session, (fuse_ino_t)r->inode, -1, 0);
	scout_fs_reply_err(r, err);
}

static void write_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	scout_inode_wrote(r->inode);
	/* The kernel may leave its pages as they were, and makes the file longer by as much as it sent. */
	if (err || r->file->unpaged)
		scout_inode_lost(r->inode);
	if (scout_request_claim(r)) {
		if (err) {
			reply_lost(r, err);
		} else {
			scout_request_settle(r, 0);
			fuse_reply_write(r->fuse, r->size - res->untaken);
		}
	}
	scout_request_put(r);
}

void scout_fs_write(fuse_req_t fuse, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	struct scout_fh *f = scout_fs_fh(fi);
	struct scout_request *r;

	(void)ino; /* the file knows it */
	if (!f->backend->ops->write || size > SCOUT_WRITE_MAX) {
		fuse_reply_err(fuse, f->backend->ops->write ? EINVAL : EROFS);
		return;
	}
	if (f->appends && !(fi->flags & O_APPEND)) { /* F_SETFL took it away; the remote cannot */
		fuse_reply_err(fuse, EOPNOTSUPP);
		return;
	}
	r = scout_fs_begin_file(fuse, SCOUT_OP_WRITE, f, write_done);
	if (!r)
		return;
	r->size = size;
	scout_inode_wrote(r->inode);
	scout_request_start(r);
	f->backend->ops->write(f->backend->self, f->handle, (uint64_t)offset, bytes, size,
			       &r->base);
}

static void sync_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (err)
		scout_inode_lost(r->inode);
	else if (res && res->synced.known) {
		scout_inode_synced(r->inode, res->synced.attr.version, r->start_ns);
		scout_fh_synced(r->inode, res->synced.attr.size);
	}
	if (scout_request_claim(r)) {
		if (err)
			reply_lost(r, err);
		else
			scout_fs_reply_err(r, 0);
	}
	scout_request_put(r);
}

void scout_fs_flush(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct scout_fh *f = scout_fs_fh(fi);
	struct scout_request *r;

	(void)ino; /* the file knows it */
	if (!f->writer || !f->backend->ops->flush) {
		fuse_reply_err(fuse, 0);
		return;
	}
	r = scout_fs_begin_file(fuse, SCOUT_OP_FLUSH, f, sync_done);
	if (!r)
		return;
	scout_request_start(r);
	f->backend->ops->flush(f->backend->self, f->handle, &r->base);
}

void scout_fs_fsync(fuse_req_t fuse, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct scout_fh *f = scout_fs_fh(fi);
	struct scout_request *r;

	(void)ino, (void)datasync;
	if (!f->backend->ops->fsync) { /* nothing was ever written to it */
		fuse_reply_err(fuse, 0);
		return;
	}
	r = scout_fs_begin_file(fuse, SCOUT_OP_FSYNC, f, sync_done);
	if (!r)
		return;
	scout_request_start(r);
	f->backend->ops->fsync(f->backend->self, f->handle, &r->base);
}

static void copy_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);
	bool claimed = scout_request_claim(r);

	scout_inode_wrote(r->inode);
	/* Only when it hears of success the kernel drops its pages, and the server may have copied all the same. */
	if (err || !claimed)
		scout_inode_lost(r->inode);
	if (claimed && err) {
		reply_lost(r, err);
	} else if (claimed) {
		scout_request_settle(r, 0);
		fuse_reply_write(r->fuse, (size_t)res->copied);
	}
	scout_request_put(r);
}

void scout_fs_copy(fuse_req_t fuse, fuse_ino_t ino, off_t offset, struct fuse_file_info *fi,
		   fuse_ino_t ino_to, off_t offset_to, struct fuse_file_info *fi_to, size_t length,
		   int flags)
{
	struct scout_fh *from = scout_fs_fh(fi), *to = scout_fs_fh(fi_to);
	struct scout_request *r;

	(void)ino, (void)ino_to;
	if (flags || from->backend != to->backend || !to->backend->ops->copy) {
		fuse_reply_err(fuse, flags ? EINVAL : EOPNOTSUPP);
		return;
	}
	r = scout_fs_begin_file(fuse, SCOUT_OP_COPY, to, copy_done);
	if (!r)
		return;
	scout_fh_ref(from);
	r->from = from;
	scout_inode_wrote(r->inode);
	scout_request_start(r);
	to->backend->ops->copy(to->backend->self, from->handle, (uint64_t)offset, to->handle,
			       (uint64_t)offset_to, length, &r->base);
}
