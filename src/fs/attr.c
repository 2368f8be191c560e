/* Attributes: of what has a name, by its path, with an open file's handle if the kernel names one; of
 * what has lost it, by any handle on it. */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "fs/fs.h"

/* What the kernel takes for another file it calls bad for good. */
static bool is_other_type(const struct scout_request *r, const struct scout_attr *attr)
{
	return (attr->mode & S_IFMT) != r->inode->type;
}

static int attr_error(const struct scout_request *r, int err, const struct scout_attr *attr)
{
	/* who has it open asks for a file that is there: its name is gone, not it */
	if (err == -ENOENT && (r->file || r->from))
		return -ESTALE;
	return !err && is_other_type(r, attr) ? -ESTALE : err;
}

/* fstat(2) comes without its handle. Of what is open any will do when the name is gone: another took it
 * away, or the config its host. */
static bool ask_by_handle(struct scout_request *r)
{
	struct scout_fh *f;

	/* who never takes a name away knows no file without one */
	if (r->file || r->from || !r->backend->ops->unlink)
		return false;
	f = scout_fh_of(r->inode);
	if (!f)
		return false;
	r->from = f;
	r->backend->ops->getattr(r->backend->self, NULL, f->handle, &r->base);
	return true;
}

static void reply_attr(struct scout_request *r, const struct scout_result *res)
{
	double ttl = res->ttl_ms / 1000.0;
	struct stat st;
	bool ask;

	if (!scout_fh_told(r->inode, &res->attr, r->start_ns, &ask)) {
		/* the kernel looks the name up, which leads to an inode of the other version */
		scout_fs_reply_err(r, -ESTALE);
		return;
	}
	scout_fs_stat(fuse_req_userdata(r->fuse), r->inode->ino, &res->attr, &st);
	if (ask)
		scout_fs_make_ask(&st, &ttl);
	scout_request_settle(r, 0);
	fuse_reply_attr(r->fuse, &st, ttl);
}

static void getattr_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (err == -ENOENT && ask_by_handle(r))
		return;
	err = attr_error(r, err, res ? &res->attr : NULL);
	if (scout_request_claim(r)) {
		if (err)
			scout_fs_reply_err(r, err);
		else
			reply_attr(r, res);
	}
	scout_request_put(r);
}

void scout_fs_getattr(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	char path[PATH_MAX];
	const char *at;
	struct scout_request *r;
	struct stat st;

	if (ino == FUSE_ROOT_ID) {
		scout_fs_root_stat(fs, &st);
		fuse_reply_attr(fuse, &st, 3600);
		return;
	}
	r = scout_fs_begin_attr(fuse, SCOUT_OP_GETATTR, scout_fs_inode(fs, ino), fi, path, &at,
				getattr_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->getattr(r->backend->self, at, scout_fs_handle(r), &r->base);
}

static void reply_set(struct scout_request *r, const struct scout_result *res)
{
	const struct scout_attr *attr = &res->changed.attr;
	double ttl = res->ttl_ms / 1000.0;
	struct stat st;

	scout_fs_stat(fuse_req_userdata(r->fuse), r->inode->ino, attr, &st);
	if (!scout_inode_set(r->inode, res->changed.was, attr->version))
		scout_fs_make_ask(&st, &ttl);
	scout_request_settle(r, 0);
	fuse_reply_attr(r->fuse, &st, ttl);
}

static void setattr_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (!err)
		scout_inode_changed(r->inode);
	err = attr_error(r, err, res ? &res->changed.attr : NULL);
	if (scout_request_claim(r)) {
		if (err)
			scout_fs_reply_err(r, err);
		else
			reply_set(r, res);
	}
	scout_request_put(r);
}

static void decode_set(const struct stat *attr, int to_set, struct scout_setattr *ret)
{
	static const struct {
		int fuse;
		unsigned ours;
	} bits[] = {
	    {FUSE_SET_ATTR_MODE, SCOUT_SET_MODE},   {FUSE_SET_ATTR_UID, SCOUT_SET_UID},
	    {FUSE_SET_ATTR_GID, SCOUT_SET_GID},     {FUSE_SET_ATTR_SIZE, SCOUT_SET_SIZE},
	    {FUSE_SET_ATTR_ATIME, SCOUT_SET_ATIME}, {FUSE_SET_ATTR_MTIME, SCOUT_SET_MTIME},
	};

	*ret = (struct scout_setattr){
	    .mode = attr->st_mode & 07777,
	    .uid = attr->st_uid,
	    .gid = attr->st_gid,
	    .size = (uint64_t)attr->st_size,
	    .atime = attr->st_atim,
	    .mtime = attr->st_mtim,
	};
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		if (to_set & bits[i].fuse)
			ret->set |= bits[i].ours;
	}
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		clock_gettime(CLOCK_REALTIME, &ret->atime);
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		clock_gettime(CLOCK_REALTIME, &ret->mtime);
	/* truncate(2) asks for what truncation does by itself, by the remote's clock */
	if ((ret->set & SCOUT_SET_SIZE) && (to_set & FUSE_SET_ATTR_MTIME_NOW))
		ret->set &= ~SCOUT_SET_MTIME;
}

void scout_fs_setattr(fuse_req_t fuse, fuse_ino_t ino, struct stat *attr, int to_set,
		      struct fuse_file_info *fi)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), ino);
	struct scout_setattr change;
	char path[PATH_MAX];
	const char *at;
	struct scout_request *r;

	if (!SCOUT_FS_TAKES(inode, setattr)) {
		fuse_reply_err(fuse, EROFS);
		return;
	}
	decode_set(attr, to_set, &change);
	r = scout_fs_begin_attr(fuse, SCOUT_OP_SETATTR, inode, fi, path, &at, setattr_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->setattr(r->backend->self, at, scout_fs_handle(r), &change, &r->base);
}

static void access_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	(void)res;
	if (scout_request_claim(r))
		scout_fs_reply_err(r, err);
	scout_request_put(r);
}

void scout_fs_access(fuse_req_t fuse, fuse_ino_t ino, int mask)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), ino);
	char path[PATH_MAX];
	struct scout_request *r;

	if (!SCOUT_FS_TAKES(inode, access)) {
		fuse_reply_err(fuse, mask & W_OK ? EROFS : 0);
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_ACCESS, inode, NULL, path, access_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->access(r->backend->self, path, mask & (R_OK | W_OK | X_OK), &r->base);
}

static void statfs_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (scout_fs_succeeded(r, err))
		fuse_reply_statfs(r->fuse, &res->space);
	scout_request_put(r);
}

void scout_fs_statfs(fuse_req_t fuse, fuse_ino_t ino)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), ino);
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_MAX};
	char path[PATH_MAX];
	struct scout_request *r;

	if (!inode->backend) {
		fuse_reply_statfs(fuse, &st);
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_STATFS, inode, NULL, path, statfs_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->statfs(r->backend->self, path, &r->base);
}
