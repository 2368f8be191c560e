/* What the parts of fs/ share: the mounted filesystem and its operations. */
#ifndef SCOUTFS_FS_FS_H
#define SCOUTFS_FS_FS_H

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fs/fh.h"
#include "fs/inode.h"
#include "fs/request.h"
#include "scoutfs/fs.h"

struct scout_fs {
	struct scout_fs_options options; /* immutable */
	struct fuse_session *session;    /* immutable */
	char *mountpoint;                /* immutable, absolute */
	bool mounted;                    /* main thread only */
	pthread_t listener;              /* main thread only: hears SIGHUP */
	atomic_bool ending;
	struct timespec start;           /* immutable, wall clock: the root's times */
	struct scout_inode *root;        /* immutable */
	struct scout_requests *requests; /* immutable */
	struct scout_fhs *fhs;           /* immutable */
	struct scout_metrics *metrics;   /* immutable */

	const struct scout_backend *backends; /* immutable while serving */
	size_t nbackends;
};

/* Lookups, attributes, opens and reads (ops.c); directories (dir.c); the rest and the table (table.c). */
void scout_fs_lookup(fuse_req_t fuse, fuse_ino_t parent, const char *name);
void scout_fs_forget(fuse_req_t fuse, fuse_ino_t ino, uint64_t lookups);
void scout_fs_forget_multi(fuse_req_t fuse, size_t count, struct fuse_forget_data *forgets);
void scout_fs_getattr(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
void scout_fs_readlink(fuse_req_t fuse, fuse_ino_t ino);
void scout_fs_open(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
void scout_fs_read(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
		   struct fuse_file_info *fi);
void scout_fs_release(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
void scout_fs_statfs(fuse_req_t fuse, fuse_ino_t ino);
void scout_fs_opendir(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
void scout_fs_readdir(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
		      struct fuse_file_info *fi);
void scout_fs_readdirplus(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
			  struct fuse_file_info *fi);

extern const struct fuse_lowlevel_ops scout_fs_ops;

/* dirops.c: after the mount; 0 or -errno. And from the init operation, as its last act. */
int scout_fs_carry_bytes(struct fuse_session *session);
void scout_fs_answering_init(void);

static inline struct scout_inode *scout_fs_inode(struct scout_fs *fs, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? fs->root : (struct scout_inode *)ino;
}

static inline struct scout_fh *scout_fs_fh(const struct fuse_file_info *fi)
{
	return (struct scout_fh *)(uintptr_t)fi->fh;
}

/* attr as the kernel sees it, with the mount's uid, gid and umask. */
void scout_fs_stat(const struct scout_fs *fs, uint64_t ino, const struct scout_attr *attr,
		   struct stat *ret);
/* The root's own. */
void scout_fs_root_stat(const struct scout_fs *fs, struct stat *ret);
/* Replies the errno of err (negative) to r, which is claimed, and ends the kernel's side of it. */
void scout_fs_reply_err(struct scout_request *r, int err);

#endif
