/* Lookups, attributes, links, opens and reads: each decodes a request, hands it to the backend, and
 * has a completion that replies. A completion runs on any thread, with no lock held. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs.h"

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

void scout_fs_root_stat(const struct scout_fs *fs, struct stat *ret)
{
	struct scout_attr attr = {
	    .mode = S_IFDIR | 0755, .nlink = 2, .uid = getuid(), .gid = getgid()};

	scout_fs_stat(fs, fs->root->ino, &attr, ret);
}

void scout_fs_reply_err(struct scout_request *r, int err)
{
	/* a backend that is stopping looks to users like any filesystem that has gone */
	if (err == -ESHUTDOWN)
		err = -ENOTCONN;
	scout_request_settle(r, err);
	fuse_reply_err(r->fuse, -err);
}

/* A request for inode's path, or with name for that child's; its path into path. NULL: replied. */
static struct scout_request *
begin(fuse_req_t fuse, enum scout_op op, struct scout_inode *inode, const char *name,
      char path[PATH_MAX], void (*done)(struct scout_req *, int, const struct scout_result *))
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	const struct scout_backend *be = inode->backend;
	unsigned index = inode->backend_index;
	struct scout_request *r;
	int err;

	err = scout_inode_path(inode, path, PATH_MAX);
	if (!be) { /* a lookup in the root: the child is a backend's own directory */
		for (index = 0; index < fs->nbackends; index++) {
			if (strcmp(name, fs->backends[index].ops->name) == 0)
				break;
		}
		be = index < fs->nbackends ? &fs->backends[index] : NULL;
		if (!be)
			err = -ENOENT;
	} else if (name && !err) {
		size_t len = strlen(path), name_len = strlen(name);

		if (name_len > NAME_MAX || len + name_len + 2 > PATH_MAX) {
			err = -ENAMETOOLONG;
		} else {
			if (len > 0)
				path[len++] = '/';
			memcpy(path + len, name, name_len + 1);
		}
	}
	if (err) {
		fuse_reply_err(fuse, -err);
		return NULL;
	}
	r = scout_request_new(fs->requests, fuse, op, inode, be, index, NULL,
			      be->ops->timeout_ns(be->self, path), done);
	if (r && name) {
		r->name = strdup(name);
		if (!r->name) {
			scout_fs_reply_err(r, -ENOMEM);
			scout_request_put(r);
			return NULL;
		}
	}
	if (!r) {
		fuse_reply_err(fuse, ENOMEM);
		return NULL;
	}
	scout_request_start(r);
	return r;
}

/* A name that is known to be missing, for as long as the backend says. */
static void reply_missing(struct scout_request *r, const struct scout_result *res)
{
	struct fuse_entry_param e = {.ino = 0, .entry_timeout = res->ttl_ms / 1000.0};

	scout_request_settle(r, -ENOENT);
	fuse_reply_entry(r->fuse, &e);
}

static void reply_entry(struct scout_request *r, const struct scout_result *res)
{
	struct scout_fs *fs = fuse_req_userdata(r->fuse);
	struct fuse_entry_param e = {0};
	struct scout_inode *inode;

	inode =
	    scout_inode_lookup(r->inode, r->name, r->backend, r->backend_index, res->attr.version);
	if (!inode) {
		scout_fs_reply_err(r, -ENOMEM);
		return;
	}
	(void)scout_inode_saw(inode,
			      res->attr.version); /* the entry brings the kernel up to date */
	scout_fs_stat(fs, inode->ino, &res->attr, &e.attr);
	e.ino = (fuse_ino_t)inode;
	e.attr_timeout = e.entry_timeout = res->ttl_ms / 1000.0;
	/* once replied, the kernel may forget the inode at any time */
	scout_request_settle(r, 0);
	if (fuse_reply_entry(r->fuse, &e) != 0)
		scout_inode_forget(inode, 1);
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
			reply_entry(r, res);
	}
	scout_request_put(r);
}

void scout_fs_lookup(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), parent);
	char path[PATH_MAX];
	struct scout_request *r;

	r = begin(fuse, SCOUT_OP_LOOKUP, inode, name, path, lookup_done);
	if (r)
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

static void getattr_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);
	struct stat st;

	/* who has it open asks for a file that is there: its name is gone, not it */
	if (err == -ENOENT && r->by_handle)
		err = -ESTALE;
	if (scout_request_claim(r)) {
		if (err) {
			scout_fs_reply_err(r, err);
		} else {
			(void)scout_inode_saw(r->inode, res->attr.version);
			scout_fs_stat(fuse_req_userdata(r->fuse), r->inode->ino, &res->attr, &st);
			scout_request_settle(r, 0);
			fuse_reply_attr(r->fuse, &st, res->ttl_ms / 1000.0);
		}
	}
	scout_request_put(r);
}

void scout_fs_getattr(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	char path[PATH_MAX];
	struct scout_request *r;
	struct stat st;

	if (ino == FUSE_ROOT_ID) {
		scout_fs_root_stat(fs, &st);
		fuse_reply_attr(fuse, &st, 3600);
		return;
	}
	r = begin(fuse, SCOUT_OP_GETATTR, scout_fs_inode(fs, ino), NULL, path, getattr_done);
	if (!r)
		return;
	/* attributes are the path's all the same, so that all who have it open see them alike */
	r->by_handle = fi != NULL;
	r->backend->ops->getattr(r->backend->self, path, NULL, &r->base);
}

static void readlink_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (scout_request_claim(r)) {
		if (err) {
			scout_fs_reply_err(r, err);
		} else {
			scout_request_settle(r, 0);
			fuse_reply_readlink(r->fuse, res->target);
		}
	}
	scout_request_put(r);
}

void scout_fs_readlink(fuse_req_t fuse, fuse_ino_t ino)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), ino);
	char path[PATH_MAX];
	struct scout_request *r;

	r = begin(fuse, SCOUT_OP_READLINK, inode, NULL, path, readlink_done);
	if (r)
		r->backend->ops->readlink(r->backend->self, path, &r->base);
}

static void reply_open(struct scout_request *r, const struct scout_result *res)
{
	struct scout_fs *fs = fuse_req_userdata(r->fuse);
	uint64_t version = res->open.attr.version;
	struct fuse_file_info fi = {.direct_io = res->open.direct_io};
	enum scout_bind bind = SCOUT_BIND_SAME;
	struct scout_fh *f;

	if (!fi.direct_io)
		bind = scout_inode_bind(r->inode, version, fuse_req_ctx(r->fuse)->pid);
	if (bind == SCOUT_BIND_OTHER) {
		r->backend->ops->release(r->backend->self, res->open.handle);
		/* the kernel looks the name up again and opens the inode of the new version */
		scout_fs_reply_err(r, -ESTALE);
		return;
	}
	fi.direct_io |= bind == SCOUT_BIND_PASSING;
	f = scout_fh_new(fs->fhs, r->inode, r->backend, res->open.handle, false);
	if (!f) {
		r->backend->ops->release(r->backend->self, res->open.handle);
		scout_fs_reply_err(r, -ENOMEM);
		return;
	}
	f->timeout_ns = r->timeout_ns;
	f->version = version;
	/* The kernel may believe another size: have it ask again before it reads. */
	if (bind == SCOUT_BIND_SAME && scout_inode_saw(r->inode, version))
		(void)fuse_lowlevel_notify_inval_inode(fs->session, (fuse_ino_t)r->inode, -1, 0);
	fi.keep_cache = !fi.direct_io;
	fi.fh = (uintptr_t)f;
	scout_request_settle(r, 0);
	if (fuse_reply_open(r->fuse, &fi) != 0)
		scout_fh_close(f);
}

static void open_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

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

void scout_fs_open(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct scout_inode *inode = scout_fs_inode(fuse_req_userdata(fuse), ino);
	char path[PATH_MAX];
	struct scout_request *r;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)) {
		fuse_reply_err(fuse, EROFS);
		return;
	}
	r = begin(fuse, SCOUT_OP_OPEN, inode, NULL, path, open_done);
	if (r)
		r->backend->ops->open(r->backend->self, path, fi->flags, &r->base);
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
	if (scout_request_claim(r)) {
		if (err) {
			scout_fs_reply_err(r, err);
		} else {
			scout_request_settle(r, 0);
			fuse_reply_iov(r->fuse, res->data.iov, res->data.count);
		}
	}
	scout_request_put(r);
}

void scout_fs_read(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
		   struct fuse_file_info *fi)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	struct scout_fh *f = scout_fs_fh(fi);
	struct scout_request *r;

	(void)ino; /* the file knows it */
	r = scout_request_new(fs->requests, fuse, SCOUT_OP_READ, f->inode, f->backend,
			      f->inode->backend_index, f, f->timeout_ns, read_done);
	if (!r) {
		fuse_reply_err(fuse, ENOMEM);
		return;
	}
	r->offset = (uint64_t)offset;
	r->size = size;
	scout_request_start(r);
	ask_for_bytes(r);
}

void scout_fs_release(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino; /* the file knows it */
	scout_fh_close(scout_fs_fh(fi));
	fuse_reply_err(fuse, 0);
}

static void statfs_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (scout_request_claim(r)) {
		if (err) {
			scout_fs_reply_err(r, err);
		} else {
			scout_request_settle(r, 0);
			fuse_reply_statfs(r->fuse, &res->space);
		}
	}
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
	r = begin(fuse, SCOUT_OP_STATFS, inode, NULL, path, statfs_done);
	if (r)
		r->backend->ops->statfs(r->backend->self, path, &r->base);
}
