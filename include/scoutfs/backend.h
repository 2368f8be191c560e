/* The contract between the FUSE front and what it shows: one struct of function pointers for each
 * directory of the mount's root (/hosts, /models, /.scoutfs).
 *
 * Paths are relative to the backend's root, without a slash in front, "" for the root itself, and
 * already clean: no empty component, no "." or "..", each at most 255 bytes.
 *
 * Every operation is asynchronous: it completes its request by scout_req_done() exactly once, from
 * the calling thread before it returns or from an engine's thread later, with no lock held. It never
 * waits for a network. Errors are -errno. What res points to is borrowed for the call of done.
 *
 * The front may have answered the kernel before (deadline, Ctrl-C): then `unwanted` is set, and the
 * backend may complete early with any error, and starts no new work for the request. */
#ifndef SCOUTFS_BACKEND_H
#define SCOUTFS_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "scoutfs/text.h"

struct scout_budget;
struct scout_config;
struct scout_metrics;

struct scout_attr {
	mode_t mode; /* with the type */
	nlink_t nlink;
	uid_t uid;
	gid_t gid;
	uint64_t size;
	struct timespec atime, mtime;
	/* changes when the contents may have: of size and mtime, or of the ETag */
	uint64_t version;
};

struct scout_dirent {
	const char *name;
	struct scout_attr attr;
};

/* What setattr is to change: only what set names. */
#define SCOUT_SET_MODE 1u
#define SCOUT_SET_UID 2u
#define SCOUT_SET_GID 4u
#define SCOUT_SET_SIZE 8u
#define SCOUT_SET_ATIME 16u
#define SCOUT_SET_MTIME 32u
struct scout_setattr {
	unsigned set;
	mode_t mode; /* permission bits */
	uid_t uid;
	gid_t gid;
	uint64_t size;
	struct timespec atime, mtime; /* "now" is already a time */
};

struct scout_result {
	/* how long the kernel may believe attributes, entries, or (-ENOENT) their absence */
	uint32_t ttl_ms;
	union {
		struct scout_attr attr; /* getattr, mkdir, mknod, symlink, link */
		size_t untaken;         /* write: bytes at its end, which may be written again */
		const char *target;     /* readlink */
		struct {                /* setattr */
			struct scout_attr attr;
			uint64_t was; /* the version right before; 0: not known */
		} changed;
		struct
		{ /* flush, fsync: attr of the file behind the last write, if it was asked for */
			bool known;
			struct scout_attr attr;
		} synced;
		struct statvfs space; /* statfs */
		uint64_t
		    copied; /* copy: as far as it came, at least 1 byte; 0 at the end of the source */
		struct {    /* open, create, opendir (attr not for opendir) */
			void *handle;
			struct scout_attr attr;
			bool direct_io; /* size not known beforehand: no kernel cache */
			/* grows: what the kernel has of the file from opens with other numbers is not to be
			 * trusted; 0: all of it is fine */
			uint64_t pages;
			bool replaces; /* create: another has the name, and keeps it until close */
		} open;
		struct { /* read: fewer bytes than asked only at the end of the file */
			const struct iovec *iov;
			int count;
		} data;
		struct { /* getxattr: the value; listxattr: the names, each with its NUL */
			const void *bytes;
			size_t len;
		} xattr;
		struct { /* readdir: entries from the index asked for, none at the end */
			const struct scout_dirent *entries;
			size_t count;
		} dir;
	};
};

struct scout_req {
	/* set by the front; err is 0 or -errno. res is NULL on error, but for -ENOENT of getattr, where
	 * its ttl_ms says how long the name stays missing (NULL: not remembered). */
	void (*done)(struct scout_req *req, int err, const struct scout_result *res);
	pid_t task;   /* the thread that asks; 0: it cannot be seen from here */
	uid_t user;   /* and whose it is */
	uint64_t ino; /* st_ino of the file, or of the directory that a name is asked for in */
	atomic_bool unwanted;
	/* Set by the backend when it sees what it waits for get on: the front's patience begins anew. */
	_Atomic uint64_t alive_ns;
};

static inline void scout_req_done(struct scout_req *req, int err, const struct scout_result *res)
{
	req->done(req, err, res);
}

static inline bool scout_req_unwanted(struct scout_req *req)
{
	return atomic_load_explicit(&req->unwanted, memory_order_relaxed);
}

struct scout_backend_ops {
	const char *name; /* its directory in the root */
	bool
	    replaces; /* O_TRUNC makes another file, which takes the place of the one there at close */
	bool split; /* each child of its root is a subtree with an inode lock of its own */

	/* How long the front waits for an answer under path before it says ETIMEDOUT. */
	uint64_t (*timeout_ns)(void *self, const char *path);

	/* handle: of an open file at path, or NULL. path NULL: the file has lost its name (unlinked or
	 * replaced through this mount); then handle is not. */
	void (*getattr)(void *self, const char *path, void *handle, struct scout_req *req);
	void (*readlink)(void *self, const char *path, struct scout_req *req);

	/* flags as open(2)'s: access mode, O_TRUNC, O_APPEND (all its writes go to the end of the file,
	 * wherever that is by then, and its reads find it there). */
	void (*open)(void *self, const char *path, int flags, struct scout_req *req);
	/* size <= SCOUT_READ_MAX. version stands for what the kernel believes the file to be: a handle
	 * that was opened at another, or last proved itself against another, must prove that it still is
	 * the file of its path, or answer -ESTALE. */
	void (*read)(void *self, void *handle, uint64_t offset, size_t size, uint64_t version,
		     struct scout_req *req);
	/* Once a handle, when every operation on it has completed; from any thread; may not wait. */
	void (*release)(void *self, void *handle);

	void (*opendir)(void *self, const char *path, struct scout_req *req);
	/* Without "." and "..". One answer may hold fewer entries than there are. */
	void (*readdir)(void *self, void *handle, uint64_t index, struct scout_req *req);
	void (*releasedir)(void *self, void *handle);

	/* Extended attributes, of which the values are whole. Both NULL: there are none. -ENODATA: not
	 * this one; -EOPNOTSUPP: none of this kind ("security.", "system."), which `ls -l` asks for. */
	void (*getxattr)(void *self, const char *path, const char *name, struct scout_req *req);
	void (*listxattr)(void *self, const char *path, struct scout_req *req);

	/* How full the filesystem at path is; within a few seconds. */
	void (*statfs)(void *self, const char *path, struct scout_req *req);

	/* What modifies. A backend may leave any of them out (NULL): the front answers EROFS. Each is
	 * done once at most, also when the connection is lost meanwhile: then it is -EIO, and not known
	 * whether it was done. */
	/* path and handle as getattr's. Of a symlink the link itself is changed. */
	void (*setattr)(void *self, const char *path, void *handle,
			const struct scout_setattr *change, struct scout_req *req);
	/* open(2) with O_CREAT: mode is what the file gets, the user's umask taken away. */
	void (*create)(void *self, const char *path, mode_t mode, int flags, struct scout_req *req);
	void (*mkdir)(void *self, const char *path, mode_t mode, struct scout_req *req);
	void (*mknod)(void *self, const char *path, mode_t mode, dev_t rdev, struct scout_req *req);
	void (*symlink)(void *self, const char *target, const char *path, struct scout_req *req);
	void (*link)(void *self, const char *path, const char *newpath, struct scout_req *req);
	void (*unlink)(void *self, const char *path, struct scout_req *req);
	void (*rmdir)(void *self, const char *path, struct scout_req *req);
	/* flags as renameat2(2)'s. */
	void (*rename)(void *self, const char *path, const char *newpath, unsigned flags,
		       struct scout_req *req);
	/* Takes data, which is the caller's again when this returns; size <= SCOUT_WRITE_MAX. Done says
	 * that it was taken, in the order of the calls, not that the remote has it: what fails later is
	 * the error of the next write, and of the next flush or fsync, of handle. A file that was opened
	 * with direct_io may take less, at least a byte: res->untaken. */
	void (*write)(void *self, void *handle, uint64_t offset, const void *data, size_t size,
		      struct scout_req *req);
	/* close(2) of one descriptor: all writes of handle have been answered. */
	void (*flush)(void *self, void *handle, struct scout_req *req);
	/* And the remote says that they are on its disk; -EINVAL when it has no way to say so. */
	void (*fsync)(void *self, void *handle, struct scout_req *req);
	/* copy_file_range(2) by the remote itself; -EOPNOTSUPP or -EXDEV: the kernel is to carry the
	 * bytes. */
	void (*copy)(void *self, void *from, uint64_t from_offset, void *to, uint64_t to_offset,
		     uint64_t length, struct scout_req *req);
	/* access(2), mask of R_OK, W_OK, X_OK, when the kernel does not check permissions itself.
	 * NULL: all is allowed but W_OK. */
	void (*access)(void *self, const char *path, int mask, struct scout_req *req);

	/* Appends what .scoutfs/status and .scoutfs/metrics show; never waits for a network. */
	void (*status)(void *self, struct scout_text *out);
	void (*metrics)(void *self, struct scout_text *out);
	/* The text of .scoutfs/NAME/<entry>, 0 or -ENOENT; list appends the entries' names, one a line.
	 * Both NULL when the backend has none. */
	int (*detail)(void *self, const char *entry, struct scout_text *out);
	void (*detail_list)(void *self, struct scout_text *out);
	/* .scoutfs/NAME/<entry> was touched: forget what was believed of it (a host's back-off). 0 or
	 * -ENOENT; NULL: nothing to forget. */
	int (*retry)(void *self, const char *entry);
	/* No listing made until now is believed any more: .scoutfs/refresh was written to or touched.
	 * NULL: none is kept. Any thread, never waits. */
	void (*refresh)(void *self);
	/* The config was read again: takes over what may change while it is mounted. config is borrowed
	 * until the next reload has returned, or free; the one before it is not any more. One call at a
	 * time, perhaps beside stop where the front could not serve. NULL: nothing may change. May wait for
	 * programs of this machine, 10 s at most in all. */
	void (*reload)(void *self, const struct scout_config *config);

	/* Completes everything that is pending (with -ESHUTDOWN) and ends its threads. Called once,
	 * when the front takes no more requests; then release of the open handles, then free. */
	void (*stop)(void *self);
	/* After stop: whether a thread of it hangs in a system call that nothing ends, and so may go on at any
	 * time. The process ends then without freeing anything that it may use. NULL: never. */
	bool (*hangs)(void *self);
	void (*free)(void *self);
};

struct scout_backend {
	const struct scout_backend_ops *ops;
	void *self;
};

/* What backends are made from. Borrowed for the backend's life. */
struct scout_env {
	/* as it was at the start; what has changed since came by reload */
	const struct scout_config *config;
	const char *mountpoint; /* absolute */
	dev_t device;           /* of its files; 0: not known */
	struct scout_budget *budget;
	struct scout_metrics *metrics;
	/* all of them, in the order of the root; complete before any request */
	const struct scout_backend *backends;
	size_t nbackends;
};

/* The backends there are. Each returns 0 and fills *ret, or -errno after one log line; -ENOENT says
 * that the config asks for none. They start threads, so they are called after daemonising. */
int scout_hosts_new(const struct scout_env *env, struct scout_backend *ret);
/* Comment lines for --check of what the hosts' ssh_config asks for in vain; connects nowhere. */
void scout_hosts_check(const struct scout_config *config, FILE *out);
/* Before it is mounted: 0, or -EINVAL after one log line, for below the mountpoint cache_dir would wait for
 * itself. */
int scout_models_check(const struct scout_config *config, const char *mountpoint);
int scout_models_new(const struct scout_env *env, struct scout_backend *ret);
int scout_control_new(const struct scout_env *env, struct scout_backend *ret);

#endif
