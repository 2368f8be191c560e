/* What makes, removes and moves names. The table follows when the backend says that it is done, also when
 * the kernel had its answer before: what happened remotely has happened. */
#include <errno.h>
#include <stdio.h>

#include "fs/fs.h"

/* A request about name in the directory inode, where its backend takes such; NULL: replied. */
static struct scout_request *begin(fuse_req_t fuse, enum scout_op op, struct scout_inode *inode,
				   const char *name, bool takes, char path[PATH_MAX],
				   scout_fs_done *done)
{
	if (takes)
		return scout_fs_begin(fuse, op, inode, name, path, done);
	fuse_reply_err(fuse, EROFS);
	return NULL;
}

static void made_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (!err)
		scout_inode_changed(r->inode);
	if (!err && r->target)
		scout_inode_changed(r->target);
	if (scout_request_claim(r)) {
		if (err)
			scout_fs_reply_err(r, err);
		else
			scout_fs_reply_entry(r,
					     scout_inode_link(r->inode, r->name, r->backend,
							      r->backend_index, &res->attr,
							      r->target),
					     &res->attr, res->ttl_ms);
	}
	scout_request_put(r);
}

void scout_fs_mkdir(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), parent);
	bool takes = SCOUT_FS_TAKES(inode, mkdir);
	char path[PATH_MAX];
	struct scout_request *r;

	r = begin(fuse, SCOUT_OP_MKDIR, inode, name, takes, path, made_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->mkdir(r->backend->self, path, mode & 07777, &r->base);
}

void scout_fs_mknod(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), parent);
	bool takes = SCOUT_FS_TAKES(inode, mknod);
	char path[PATH_MAX];
	struct scout_request *r;

	r = begin(fuse, SCOUT_OP_MKNOD, inode, name, takes, path, made_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->mknod(r->backend->self, path, mode, rdev, &r->base);
}

void scout_fs_symlink(fuse_req_t fuse, const char *target, fuse_ino_t parent, const char *name)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), parent);
	bool takes = SCOUT_FS_TAKES(inode, symlink);
	char path[PATH_MAX];
	struct scout_request *r;

	r = begin(fuse, SCOUT_OP_SYMLINK, inode, name, takes, path, made_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->symlink(r->backend->self, target, path, &r->base);
}

void scout_fs_link(fuse_req_t fuse, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), ino);
	struct scout_inode *parent = scout_fs_inode(fuse_req_userdata(fuse), newparent);
	char path[PATH_MAX], newpath[PATH_MAX];
	struct scout_request *r;
	int err = 0;

	if (!SCOUT_FS_TAKES(parent, link))
		err = -EROFS;
	else if (inode->tree != parent->subtree)
		err = -EXDEV;
	else
		err = scout_inode_path(inode, path, sizeof(path));
	if (err) {
		fuse_reply_err(fuse, -err);
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_LINK, parent, newname, newpath, made_done);
	if (!r)
		return;
	scout_inode_pin(inode);
	r->target = inode;
	scout_request_start(r);
	r->backend->ops->link(r->backend->self, path, newpath, &r->base);
}

static void removed_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	(void)res;
	if (!err) {
		if (r->target)
			scout_inode_remove(r->target);
		scout_inode_changed(r->inode);
	}
	if (scout_request_claim(r))
		scout_fs_reply_err(r, err);
	scout_request_put(r);
}

/* What name stands for is looked up now: when the answer comes it may be another's, if the kernel did not
 * wait for it. */
static struct scout_request *begin_removal(fuse_req_t fuse, enum scout_op op,
					   struct scout_inode *inode, const char *name, bool takes,
					   char path[PATH_MAX])
{
	struct scout_request *r = begin(fuse, op, inode, name, takes, path, removed_done);

	if (r) {
		r->target = scout_inode_find(inode, name);
		scout_request_start(r);
	}
	return r;
}

void scout_fs_unlink(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), parent);
	bool takes = SCOUT_FS_TAKES(inode, unlink);
	char path[PATH_MAX];
	struct scout_request *r;

	r = begin_removal(fuse, SCOUT_OP_UNLINK, inode, name, takes, path);
	if (r)
		r->backend->ops->unlink(r->backend->self, path, &r->base);
}

void scout_fs_rmdir(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), parent);
	bool takes = SCOUT_FS_TAKES(inode, rmdir);
	char path[PATH_MAX];
	struct scout_request *r;

	r = begin_removal(fuse, SCOUT_OP_RMDIR, inode, name, takes, path);
	if (r)
		r->backend->ops->rmdir(r->backend->self, path, &r->base);
}

static void rename_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	(void)res;
	if (!err) {
		if (r->target)
			scout_inode_rename(r->target, r->inode, r->name);
		scout_inode_changed(r->inode);
	}
	if (scout_request_claim(r))
		scout_fs_reply_err(r, err);
	scout_request_put(r);
}

/* 0, or why it cannot be renamed; the path of the old name. */
static int check_rename(struct scout_inode *parent, const char *name, struct scout_inode *newparent,
			unsigned flags, char path[PATH_MAX])
{
	int err;

	if (!SCOUT_FS_TAKES(parent, rename))
		return -EROFS;
	if (flags & ~RENAME_NOREPLACE)
		return -EINVAL;
	if (parent->subtree != newparent->subtree)
		return -EXDEV;
	err = scout_inode_path(parent, path, PATH_MAX);
	if (err)
		return err == -ESTALE ? -ENOENT : err;
	return scout_fs_append_name(path, name);
}

void scout_fs_rename(fuse_req_t fuse, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		     const char *newname, unsigned flags)
{
	struct scout_inode *from = scout_fs_inode(fuse_req_userdata(fuse), parent);
	struct scout_inode *to = scout_fs_inode(fuse_req_userdata(fuse), newparent);
	char path[PATH_MAX], newpath[PATH_MAX];
	int err = check_rename(from, name, to, flags, path);
	struct scout_request *r;

	if (err) {
		fuse_reply_err(fuse, -err);
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_RENAME, to, newname, newpath, rename_done);
	if (!r)
		return;
	r->target = scout_inode_find(from, name);
	scout_request_start(r);
	r->backend->ops->rename(r->backend->self, path, newpath, flags, &r->base);
}
