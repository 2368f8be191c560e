/* An open file or directory: the backend's handle, given back to it when the kernel has released it
 * and no request uses it. Reference counted, since a request that was interrupted may still be with
 * the backend when the kernel releases the file. */
#ifndef SCOUTFS_FS_FILE_H
#define SCOUTFS_FS_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fs/inode.h"
#include "scoutfs/backend.h"

struct scout_files;

struct scout_file {
	struct scout_files *files;           /* immutable */
	struct scout_inode *inode;           /* immutable, pinned */
	const struct scout_backend *backend; /* immutable; NULL: the root directory */
	void *handle;                        /* immutable, the backend's */
	bool directory;                      /* immutable */
	uint64_t timeout_ns;                 /* immutable: for requests on it */
	uint64_t version;                    /* immutable: at open */
	atomic_int refs;
	TAILQ_ENTRY(scout_file) link; /* under files->lock */
};

/* All that the kernel has open: what is left at the end is released there. */
int scout_files_new(struct scout_files **ret);
void scout_files_release(struct scout_files *files); /* what the kernel left open */
void scout_files_free(struct scout_files *files);    /* none is left; NULL is fine */

/* With the kernel's reference; NULL when there is no memory (the handle stays the caller's). */
struct scout_file *scout_file_new(struct scout_files *files, struct scout_inode *inode,
				  const struct scout_backend *backend, void *handle,
				  bool directory);
void scout_file_ref(struct scout_file *f);
void scout_file_unref(struct scout_file *f);
/* The kernel released it. */
void scout_file_close(struct scout_file *f);

#endif
