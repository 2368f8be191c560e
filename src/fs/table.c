/* The table of operations, and those that every file refuses: nothing here can be written to. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "fs/fs.h"
#include "scoutfs/budget.h"

#define MAX_READAHEAD (1024 * 1024)
/* The kernel lets only so many reads of page cache wait for answers, over all of the mount: past that
 * the readers of a dead host would keep everybody's from being sent. Our bound is the budget's. */
#define MAX_BACKGROUND UINT16_MAX

static void init(void *arg, struct fuse_conn_info *conn)
{
	const struct scout_fs *fs = arg;

	/* Always with attributes: they come in the servers' listings for nothing. */
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS |
				       FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA);
	/* Answers are in memory: splicing them through a pipe only adds system calls. */
	conn->want &=
	    ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->max_readahead = MAX_READAHEAD;
	/* bounds what the kernel asks of a read, too, whatever the size of its pages */
	if (conn->max_write > SCOUT_READ_MAX)
		conn->max_write = SCOUT_READ_MAX;
	/* libfuse wants to hear the mount's own option again */
	for (size_t i = 0; i < fs->options.nmount; i++)
		(void)sscanf(fs->options.mount[i], "max_read=%u", &conn->max_read);
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND;
	if (conn->want & FUSE_CAP_PARALLEL_DIROPS)
		scout_fs_answering_init();
}

static void refuse(fuse_req_t fuse)
{
	fuse_reply_err(fuse, EROFS);
}

static void access_(fuse_req_t fuse, fuse_ino_t ino, int mask)
{
	(void)ino;
	fuse_reply_err(fuse, mask & W_OK ? EROFS : 0);
}

static void setattr(fuse_req_t fuse, fuse_ino_t ino, struct stat *attr, int to_set,
		    struct fuse_file_info *fi)
{
	(void)ino, (void)attr, (void)to_set, (void)fi;
	refuse(fuse);
}

static void mknod_(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)parent, (void)name, (void)mode, (void)rdev;
	refuse(fuse);
}

static void mkdir_(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent, (void)name, (void)mode;
	refuse(fuse);
}

static void remove_(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	(void)parent, (void)name;
	refuse(fuse);
}

static void symlink_(fuse_req_t fuse, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target, (void)parent, (void)name;
	refuse(fuse);
}

static void rename_(fuse_req_t fuse, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		    const char *newname, unsigned flags)
{
	(void)parent, (void)name, (void)newparent, (void)newname, (void)flags;
	refuse(fuse);
}

static void link_(fuse_req_t fuse, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino, (void)newparent, (void)newname;
	refuse(fuse);
}

static void create(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode,
		   struct fuse_file_info *fi)
{
	(void)parent, (void)name, (void)mode, (void)fi;
	refuse(fuse);
}

static void setxattr_(fuse_req_t fuse, fuse_ino_t ino, const char *name, const char *value,
		      size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	refuse(fuse);
}

static void removexattr_(fuse_req_t fuse, fuse_ino_t ino, const char *name)
{
	(void)ino, (void)name;
	refuse(fuse);
}

static void releasedir(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	scout_fs_release(fuse, ino, fi);
}

const struct fuse_lowlevel_ops scout_fs_ops = {
    .init = init,
    .lookup = scout_fs_lookup,
    .forget = scout_fs_forget,
    .forget_multi = scout_fs_forget_multi,
    .getattr = scout_fs_getattr,
    .readlink = scout_fs_readlink,
    .open = scout_fs_open,
    .read = scout_fs_read,
    .release = scout_fs_release,
    .opendir = scout_fs_opendir,
    .readdir = scout_fs_readdir,
    .readdirplus = scout_fs_readdirplus,
    .releasedir = releasedir,
    .statfs = scout_fs_statfs,
    .access = access_,
    .setattr = setattr,
    .mknod = mknod_,
    .mkdir = mkdir_,
    .unlink = remove_,
    .rmdir = remove_,
    .symlink = symlink_,
    .rename = rename_,
    .link = link_,
    .create = create,
    .setxattr = setxattr_,
    .removexattr = removexattr_,
};
