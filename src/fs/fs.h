/* What the parts of fs/ share: the mounted filesystem and its operations. */
#ifndef SCOUTFS_FS_FS_H
#define SCOUTFS_FS_FS_H

#include <fuse_lowlevel.h>
#include <limits.h>
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
	bool listens, heeds_ends;        /* main thread only: these threads are there */
	pthread_t listener;              /* main thread only: hears SIGHUP */
	pthread_t ender;                 /* main thread only: hears SIGINT and SIGTERM */
	pthread_t server;                /* the main thread, since the ender is there */
	atomic_bool served;              /* the loop is over */
	atomic_bool ending;
	struct timespec start;           /* immutable, wall clock: the root's times */
	struct scout_inode *root;        /* immutable */
	struct scout_requests *requests; /* immutable */
	struct scout_fhs *fhs;           /* immutable */
	struct scout_metrics *metrics;   /* immutable */

	const struct scout_backend *backends; /* immutable while serving */
	size_t nbackends;
};

/* name.c: names and links. */
void scout_fs_lookup(fuse_req_t fuse, fuse_ino_t parent, const char *name);
void scout_fs_forget(fuse_req_t fuse, fuse_ino_t ino, uint64_t lookups);
void scout_fs_forget_multi(fuse_req_t fuse, size_t count, struct fuse_forget_data *forgets);
void scout_fs_readlink(fuse_req_t fuse, fuse_ino_t ino);
/* attr.c: attributes. */
void scout_fs_getattr(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
void scout_fs_setattr(fuse_req_t fuse, fuse_ino_t ino, struct stat *attr, int to_set,
		      struct fuse_file_info *fi);
void scout_fs_access(fuse_req_t fuse, fuse_ino_t ino, int mask);
void scout_fs_statfs(fuse_req_t fuse, fuse_ino_t ino);
/* file.c: open files. */
void scout_fs_open(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
void scout_fs_create(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode,
		     struct fuse_file_info *fi);
void scout_fs_read(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
		   struct fuse_file_info *fi);
void scout_fs_release(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
/* write.c: what is written to them. */
void scout_fs_write(fuse_req_t fuse, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
		    struct fuse_file_info *fi);
void scout_fs_flush(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
void scout_fs_fsync(fuse_req_t fuse, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void scout_fs_copy(fuse_req_t fuse, fuse_ino_t ino, off_t offset, struct fuse_file_info *fi,
		   fuse_ino_t ino_to, off_t offset_to, struct fuse_file_info *fi_to, size_t length,
		   int flags);
/* dir.c: directories. */
void scout_fs_opendir(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi);
void scout_fs_readdir(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
		      struct fuse_file_info *fi);
void scout_fs_readdirplus(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t offset,
			  struct fuse_file_info *fi);
void scout_fs_fsyncdir(fuse_req_t fuse, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/* xattr.c: extended attributes. */
void scout_fs_getxattr(fuse_req_t fuse, fuse_ino_t ino, const char *name, size_t size);
void scout_fs_listxattr(fuse_req_t fuse, fuse_ino_t ino, size_t size);
/* change.c: what makes, removes and moves names. */
void scout_fs_mkdir(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode);
void scout_fs_mknod(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void scout_fs_symlink(fuse_req_t fuse, const char *target, fuse_ino_t parent, const char *name);
void scout_fs_link(fuse_req_t fuse, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void scout_fs_unlink(fuse_req_t fuse, fuse_ino_t parent, const char *name);
void scout_fs_rmdir(fuse_req_t fuse, fuse_ino_t parent, const char *name);
void scout_fs_rename(fuse_req_t fuse, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		     const char *newname, unsigned flags);

extern const struct fuse_lowlevel_ops scout_fs_ops;

/* handshake.c: after the mount; 0 or -errno. And from the init operation, as its last act. */
int scout_fs_carry_bytes(struct fuse_session *session);
void scout_fs_answering_init(bool parallel_dirops, bool kills_privileges);

static inline struct scout_inode *scout_fs_inode(struct scout_fs *fs, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? fs->root : (struct scout_inode *)ino;
}

static inline struct scout_fh *scout_fs_fh(const struct fuse_file_info *fi)
{
	return (struct scout_fh *)(uintptr_t)fi->fh;
}

/* call.c: what all operations share. */

typedef void scout_fs_done(struct scout_req *req, int err, const struct scout_result *res);

/* Requests, not yet started; NULL: replied. One for inode's path, or with name for that child's; its path
 * into path. In the root of the mount a name leads into the backend of that name. */
struct scout_request *scout_fs_begin(fuse_req_t fuse, enum scout_op op, struct scout_inode *inode,
				     const char *name, char path[PATH_MAX], scout_fs_done *done);
/* One about an open file. */
struct scout_request *scout_fs_begin_file(fuse_req_t fuse, enum scout_op op, struct scout_fh *f,
					  scout_fs_done *done);
/* One for inode's attributes: by the open file that the kernel names (fi may be NULL), and by the path,
 * which *at is; or NULL when it has lost its name, and then by any file that is open on it. */
struct scout_request *scout_fs_begin_attr(fuse_req_t fuse, enum scout_op op,
					  struct scout_inode *inode,
					  const struct fuse_file_info *fi, char path[PATH_MAX],
					  const char **at, scout_fs_done *done);
/* The path of name in the directory whose path is there. 0 or -ENAMETOOLONG. */
int scout_fs_append_name(char path[PATH_MAX], const char *name);
/* The backend's handle of its open file, or NULL. */
void *scout_fs_handle(const struct scout_request *r);

/* Whether inode's backend has an operation that modifies; if not, it refuses with EROFS. */
#define SCOUT_FS_TAKES(inode, op) ((inode)->backend && (inode)->backend->ops->op)

/* attr as the kernel sees it, with the mount's uid, gid and umask. */
void scout_fs_stat(const struct scout_fs *fs, uint64_t ino, const struct scout_attr *attr,
		   struct stat *ret);
/* Makes of it attributes with an mtime that is not the file's: the kernel takes it and asks again before
 * anybody sees it; and drops its pages when it finds another, which it does not on SETATTR. */
void scout_fs_make_ask(struct stat *st, double *ttl);
/* The root's own. */
void scout_fs_root_stat(const struct scout_fs *fs, struct stat *ret);
/* inode, which has one more lookup for it, as an entry of a directory. */
void scout_fs_entry(const struct scout_fs *fs, struct scout_inode *inode,
		    const struct scout_attr *attr, uint32_t ttl_ms, struct fuse_entry_param *ret);
/* Replies inode, with one more lookup for it, or ENOMEM if it is NULL. */
void scout_fs_reply_entry(struct scout_request *r, struct scout_inode *inode,
			  const struct scout_attr *attr, uint32_t ttl_ms);
/* At completion, when all that the reply needs is in the answer: true when the caller is to reply success,
 * by r->fuse, with the kernel's side of r ended; else an error was replied, or nobody waits any more. */
bool scout_fs_succeeded(struct scout_request *r, int err);
/* Replies the errno of err (negative) to r, which is claimed, and ends the kernel's side of it. */
void scout_fs_reply_err(struct scout_request *r, int err);

#endif
