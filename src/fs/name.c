/* Names and symbolic links. */
#include <errno.h>

#include "fs/fs.h"

/* A name that is known to be missing, for as long as the backend says. */
static void reply_missing(struct scout_request *r, const struct scout_result *res)
{
	struct fuse_entry_param e = {.ino = 0, .entry_timeout = res->ttl_ms / 1000.0};

	scout_request_settle(r, -ENOENT);
	fuse_reply_entry(r->fuse, &e);
}

static void reply_found(struct scout_request *r, const struct scout_result *res)
{
	struct scout_inode *inode = scout_inode_lookup(r->inode, r->name, r->backend,
						       r->backend_index, &res->attr, r->start_ns);

	scout_fs_reply_entry(r, inode, &res->attr, res->ttl_ms);
}

static void lookup_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (scout_request_claim(r)) {
		if (err == -ENOENT && res)
			reply_missing(r, res);
		else if (err)
			scout_fs_reply_err(r, err);
		else
			reply_found(r, res);
	}
	scout_request_put(r);
}

void scout_fs_lookup(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), parent);
	char path[PATH_MAX];
	struct scout_request *r;

	r = scout_fs_begin(fuse, SCOUT_OP_LOOKUP, inode, name, path, lookup_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->getattr(r->backend->self, path, NULL, &r->base);
}

void scout_fs_forget(fuse_req_t fuse, fuse_ino_t ino, uint64_t lookups)
{
	scout_inode_forget(scout_fs_inode(fuse_req_userdata(fuse), ino), lookups);
	fuse_reply_none(fuse);
}

void scout_fs_forget_multi(fuse_req_t fuse, size_t count, struct fuse_forget_data *forgets)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);

	for (size_t i = 0; i < count; i++)
		scout_inode_forget(scout_fs_inode(fs, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(fuse);
}

static void readlink_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (scout_fs_succeeded(r, err))
		fuse_reply_readlink(r->fuse, res->target);
	scout_request_put(r);
}

void scout_fs_readlink(fuse_req_t fuse, fuse_ino_t ino)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), ino);
	char path[PATH_MAX];
	struct scout_request *r;

	r = scout_fs_begin(fuse, SCOUT_OP_READLINK, inode, NULL, path, readlink_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->readlink(r->backend->self, path, &r->base);
}
