/* The FUSE front: mounts, decodes the kernel's requests, hands them to the backends and replies. The
 * only user of libfuse. */
#ifndef SCOUTFS_FS_H
#define SCOUTFS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "scoutfs/backend.h"

struct scout_fs;

struct scout_fs_options {
	const char *mountpoint;
	const char *const *mount; /* options for the kernel and libfuse: "ro", "allow_other", … */
	size_t nmount;
	unsigned workers;
	bool debug;
	uid_t uid;    /* shown as every file's owner, unless (uid_t)-1 */
	gid_t gid;    /* likewise */
	mode_t umask; /* permission bits taken from every file */
	/* All is there that it serves with: on the caller's thread. 0, or -errno: then it does not serve. */
	int (*ready)(void *arg);
	/* SIGHUP: on a thread of its own, one call at a time, until scout_fs_serve has unmounted */
	void (*reload)(void *arg);
	void *arg;
};

/* Mounts. Returns 0, or -errno after a message to stderr (libfuse's and fusermount3's own). From here
 * on the signals that scout_fs_serve hears wait for it. */
int scout_fs_mount(const struct scout_fs_options *options, struct scout_metrics *metrics,
		   struct scout_fs **ret);

/* Where, as an absolute path; valid until free. */
const char *scout_fs_mountpoint(const struct scout_fs *fs);

/* st_dev of its files; 0: not known. */
dev_t scout_fs_device(const struct scout_fs *fs);

/* Serves until SIGTERM, SIGINT or an unmount; then answers what is still pending with
 * ENOTCONN, unmounts, and stops the backends; where it could not serve, they are stopped first. Called by
 * the main thread. backends are borrowed; they are complete. Returns 0, or -errno after a line in the log. */
int scout_fs_serve(struct scout_fs *fs, const struct scout_backend *backends, size_t nbackends);

/* If it is still mounted. NULL is fine. */
void scout_fs_unmount(struct scout_fs *fs);
/* Unmounts if it is still mounted; releases the handles that the kernel left open. NULL is fine. */
void scout_fs_free(struct scout_fs *fs);

#endif
