/* Directories. Offsets that the kernel hands back: 0 and 1 stand before "." and "..", i + 2 before
 * the entry with the index i. Entries carry their attributes, so that `ls -l` asks for none. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"

#define DOTS 2

/* One READDIR or READDIRPLUS answer while it is filled. */
struct listing {
	struct scout_request *r;
	char *buf;
	size_t len, size;
	bool plus;
	struct scout_inode **known; /* those with a lookup of this answer */
	size_t known_count, known_cap;
};

static void opendir_reply(struct scout_request *r, void *handle)
{
	struct scout_fs *fs = fuse_req_userdata(r->fuse);
	struct fuse_file_info fi = {0};
	struct scout_fh *f;

	f = scout_fh_new_dir(fs->fhs, r->inode, r->backend, handle);
	if (!f) {
		r->backend->ops->releasedir(r->backend->self, handle);
		scout_fs_reply_err(r, -ENOMEM);
		return;
	}
	f->timeout_ns = r->timeout_ns;
	f->opened_ns = r->start_ns;
	fi.fh = (uintptr_t)f;
	scout_request_settle(r, 0);
	if (fuse_reply_open(r->fuse, &fi) != 0)
		scout_fh_close(f);
}

static void opendir_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (scout_request_claim(r)) {
		if (err)
			scout_fs_reply_err(r, err);
		else
			opendir_reply(r, res->open.handle);
	} else if (!err) {
		r->backend->ops->releasedir(r->backend->self, res->open.handle);
	}
	scout_request_put(r);
}

void scout_fs_opendir(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	struct scout_inode *inode = scout_fs_inode(fs, ino);
	char path[PATH_MAX];
	struct scout_request *r;

	if (!inode->backend) {
		struct scout_fh *f = scout_fh_new_dir(fs->fhs, inode, NULL, NULL);

		fi->fh = (uintptr_t)f;
		if (!f)
			fuse_reply_err(fuse, ENOMEM);
		else if (fuse_reply_open(fuse, fi) != 0)
			scout_fh_close(f);
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_OPENDIR, inode, NULL, path, opendir_done);
	if (!r)
		return;
	scout_request_start(r);
	r->backend->ops->opendir(r->backend->self, path, &r->base);
}

/* Adds an entry; false when the answer is full. e->ino 0: the kernel shall not know it by that. */
static bool add(fuse_req_t fuse, char *buf, size_t size, size_t *len, bool plus, const char *name,
		const struct fuse_entry_param *e, uint64_t next)
{
	size_t need =
	    plus ? fuse_add_direntry_plus(fuse, buf + *len, size - *len, name, e, (off_t)next)
		 : fuse_add_direntry(fuse, buf + *len, size - *len, name, &e->attr, (off_t)next);

	if (need > size - *len)
		return false;
	*len += need;
	return true;
}

/* For one more in known: before its entry is added, which cannot be taken back. */
static bool make_room(struct listing *l)
{
	if (l->known_count == l->known_cap) {
		size_t cap = l->known_cap ? l->known_cap * 2 : 64;
		struct scout_inode **grown = reallocarray(l->known, cap, sizeof(*grown));

		if (!grown)
			return false;
		l->known = grown;
		l->known_cap = cap;
	}
	return true;
}

/* One entry of the backend; false when the answer is full or memory is out. */
static bool add_entry(struct listing *l, const struct scout_dirent *d, uint32_t ttl_ms,
		      uint64_t next)
{
	struct scout_request *r = l->r;
	struct scout_fs *fs = fuse_req_userdata(r->fuse);
	struct fuse_entry_param e = {0};
	struct scout_inode *inode = NULL;

	/* what may be older than our own changes the kernel is to look up itself */
	if (l->plus && !scout_inode_outdates(r->inode, d->name, r->file->opened_ns)) {
		inode = scout_inode_lookup(r->inode, d->name, r->backend, r->backend_index,
					   &d->attr, r->file->opened_ns);
		if (!inode)
			return false;
		e.ino = (fuse_ino_t)inode;
		e.generation = inode->generation;
		e.attr_timeout = e.entry_timeout = ttl_ms / 1000.0;
	}
	scout_fs_stat(fs, inode ? inode->ino : scout_inode_number(r->inode, d->name), &d->attr,
		      &e.attr);
	if ((!inode || make_room(l)) &&
	    add(r->fuse, l->buf, l->size, &l->len, l->plus, d->name, &e, next)) {
		if (inode) {
			/* the entry tells the kernel; one that found no room has not */
			(void)scout_inode_told(inode, d->attr.version);
			l->known[l->known_count++] = inode;
		}
		return true;
	}
	if (inode)
		scout_inode_forget(inode, 1);
	return false;
}

static void reply_listing(struct scout_request *r, const struct scout_result *res)
{
	struct listing l = {.r = r, .size = r->size, .plus = r->plus, .buf = malloc(r->size)};
	size_t i = 0;
	int err;

	if (!l.buf) {
		scout_fs_reply_err(r, -ENOMEM);
		return;
	}
	while (i < res->dir.count &&
	       add_entry(&l, &res->dir.entries[i], res->ttl_ms, r->offset + i + 1))
		i++;
	if (i == 0 && res->dir.count > 0) {
		scout_fs_reply_err(r, -ENOMEM);
	} else {
		scout_request_settle(r, 0);
		err = fuse_reply_buf(r->fuse, l.buf, l.len);
		for (size_t k = 0; err && k < l.known_count; k++)
			scout_inode_forget(l.known[k], 1);
	}
	free(l.known);
	free(l.buf);
}

static void readdir_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (scout_request_claim(r)) {
		if (err)
			scout_fs_reply_err(r, err);
		else
			reply_listing(r, res);
	}
	scout_request_put(r);
}

/* "." and "..", and in the root of the mount the backends' directories: all without attributes. */
static void reply_fixed(fuse_req_t fuse, struct scout_inode *inode, size_t size, uint64_t offset,
			bool plus)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	size_t len = 0, count = DOTS + (inode->backend ? 0 : fs->nbackends);
	char buf[4096];

	if (size > sizeof(buf))
		size = sizeof(buf);
	for (uint64_t i = offset; i < count; i++) {
		struct fuse_entry_param e = {.attr.st_mode = S_IFDIR};
		const char *name = i == 0 ? "." : i == 1 ? ".." : fs->backends[i - DOTS].ops->name;

		if (i == 0)
			e.attr.st_ino = inode->ino;
		else if (i == 1)
			e.attr.st_ino = scout_inode_parent_number(inode);
		else
			e.attr.st_ino = scout_inode_number(inode, name);
		if (!add(fuse, buf, size, &len, plus, name, &e, i + 1))
			break;
	}
	fuse_reply_buf(fuse, buf, len);
}

static void list(fuse_req_t fuse, size_t size, uint64_t offset, struct scout_fh *f, bool plus)
{
	struct scout_request *r;

	if (!f->backend || offset < DOTS) {
		reply_fixed(fuse, f->inode, size, offset, plus);
		return;
	}
	r = scout_fs_begin_file(fuse, SCOUT_OP_READDIR, f, readdir_done);
	if (!r)
		return;
	r->offset = offset;
	r->size = size;
	r->plus = plus;
	scout_request_start(r);
	f->backend->ops->readdir(f->backend->self, f->handle, offset - DOTS, &r->base);
}

void scout_fs_readdir(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
		      struct fuse_file_info *fi)
{
	(void)ino; /* the file knows it */
	list(fuse, size, (uint64_t)offset, scout_fs_fh(fi), false);
}

void scout_fs_readdirplus(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
			  struct fuse_file_info *fi)
{
	(void)ino; /* the file knows it */
	list(fuse, size, (uint64_t)offset, scout_fs_fh(fi), true);
}

/* SFTP has no way to say so; success would be a lie, and ENOSYS the kernel takes for success. */
void scout_fs_fsyncdir(fuse_req_t fuse, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino, (void)datasync, (void)fi;
	fuse_reply_err(fuse, EINVAL);
}
