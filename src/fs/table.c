/* The table of operations, and what is agreed with the kernel at the start.
 *
 * What is not here libfuse answers with ENOSYS, and the kernel asks no more: it keeps flock and fcntl
 * locks by itself, finds data everywhere and a hole at the end for lseek, and takes no extended
 * attributes and no fallocate (EOPNOTSUPP). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/fs.h"
#include "scoutfs/budget.h"

#define MAX_READAHEAD (1024 * 1024)
/* The kernel lets only so many reads of page cache wait for answers, over all of the mount: past that
 * the readers of a dead host would keep everybody's from being sent. Our bound is the budget's. */
#define MAX_BACKGROUND UINT16_MAX

/* Set-id bits are taken from what is written to by the kernel, as a change of the mode. Where some backend
 * has extended attributes, that costs a question before each write, so there it is left to the server, which
 * does the same to what its user writes; but not where others may write in that user's name. */
static bool leaves_set_id(const struct scout_fs *fs)
{
	bool any = false;

	for (size_t i = 0; i < fs->nbackends; i++)
		any |= fs->backends[i].ops->getxattr != NULL;
	for (size_t i = 0; i < fs->options.nmount; i++) {
		if (strcmp(fs->options.mount[i], "allow_other") == 0 ||
		    strcmp(fs->options.mount[i], "allow_root") == 0)
			return false;
	}
	return any;
}

static void init(void *arg, struct fuse_conn_info *conn)
{
	const struct scout_fs *fs = arg;

	/* Always with attributes: they come in the servers' listings for nothing. */
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	conn->want |=
	    conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ |
			     FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC);
	/* Answers are in memory: splicing them through a pipe only adds system calls. */
	conn->want &=
	    ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
	conn->max_readahead = MAX_READAHEAD;
	/* bounds what the kernel asks of a read, too, whatever the size of its pages */
	if (conn->max_write > SCOUT_READ_MAX)
		conn->max_write = SCOUT_READ_MAX;
	/* libfuse wants to hear the mount's own option again */
	for (size_t i = 0; i < fs->options.nmount; i++)
		(void)sscanf(fs->options.mount[i], "max_read=%u", &conn->max_read);
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND;
	scout_fs_answering_init(conn->want & FUSE_CAP_PARALLEL_DIROPS, leaves_set_id(fs));
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
    .setattr = scout_fs_setattr,
    .readlink = scout_fs_readlink,
    .access = scout_fs_access,
    .statfs = scout_fs_statfs,
    .getxattr = scout_fs_getxattr,
    .listxattr = scout_fs_listxattr,
    .open = scout_fs_open,
    .create = scout_fs_create,
    .read = scout_fs_read,
    .release = scout_fs_release,
    .write = scout_fs_write,
    .flush = scout_fs_flush,
    .fsync = scout_fs_fsync,
    .copy_file_range = scout_fs_copy,
    .opendir = scout_fs_opendir,
    .readdir = scout_fs_readdir,
    .readdirplus = scout_fs_readdirplus,
    .releasedir = releasedir,
    .fsyncdir = scout_fs_fsyncdir,
    .mkdir = scout_fs_mkdir,
    .mknod = scout_fs_mknod,
    .symlink = scout_fs_symlink,
    .link = scout_fs_link,
    .unlink = scout_fs_unlink,
    .rmdir = scout_fs_rmdir,
    .rename = scout_fs_rename,
};
