/* Extended attributes: to be read, of the backends that have any. */
#include <errno.h>

#include "fs/fs.h"

/* Inode has none. ENOSYS has the kernel ask no more as long as it is mounted: right where no backend has
 * any. */
static void refuse(fuse_req_t fuse, struct scout_fs *fs, const struct scout_inode *inode,
		   enum scout_op op)
{
	int err = ENOSYS;

	for (size_t i = 0; i < fs->nbackends; i++) {
		if (fs->backends[i].ops->getxattr)
			err = EOPNOTSUPP;
	}
	if (inode->backend)
		scout_count(&fs->metrics->ops[inode->backend_index][op].result[err], 1);
	fuse_reply_err(fuse, err);
}

static void xattr_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	if (!err && r->size > 0 && res->xattr.len > r->size)
		err = -ERANGE;
	if (scout_fs_succeeded(r, err)) {
		if (r->size == 0)
			fuse_reply_xattr(r->fuse, res->xattr.len);
		else
			fuse_reply_buf(r->fuse, res->xattr.bytes, res->xattr.len);
	}
	scout_request_put(r);
}

void scout_fs_getxattr(fuse_req_t fuse, fuse_ino_t ino, const char *name, size_t size)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	struct scout_inode *inode = scout_fs_inode(fs, ino);
	char path[PATH_MAX];
	struct scout_request *r;

	if (!SCOUT_FS_TAKES(inode, getxattr)) {
		refuse(fuse, fs, inode, SCOUT_OP_GETXATTR);
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_GETXATTR, inode, NULL, path, xattr_done);
	if (!r)
		return;
	r->size = size;
	scout_request_start(r);
	r->backend->ops->getxattr(r->backend->self, path, name, &r->base);
}

void scout_fs_listxattr(fuse_req_t fuse, fuse_ino_t ino, size_t size)
{
	struct scout_fs *fs = fuse_req_userdata(fuse);
	struct scout_inode *inode = scout_fs_inode(fs, ino);
	char path[PATH_MAX];
	struct scout_request *r;

	if (!SCOUT_FS_TAKES(inode, listxattr)) {
		refuse(fuse, fs, inode, SCOUT_OP_LISTXATTR);
		return;
	}
	r = scout_fs_begin(fuse, SCOUT_OP_LISTXATTR, inode, NULL, path, xattr_done);
	if (!r)
		return;
	r->size = size;
	scout_request_start(r);
	r->backend->ops->listxattr(r->backend->self, path, &r->base);
}
