/* An open file or directory: the backend's handle, given back to it when the kernel has released it
 * and no request uses it. Reference counted, since a request that was interrupted may still be with
 * the backend when the kernel releases the file. */
#ifndef SCOUTFS_FS_FH_H
#define SCOUTFS_FS_FH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fs/inode.h"
#include "scoutfs/backend.h"

struct scout_fhs;

struct scout_fh {
	struct scout_fhs *fhs;               /* immutable */
	struct scout_inode *inode;           /* immutable, pinned */
	const struct scout_backend *backend; /* immutable; NULL: the root directory */
	void *handle;                        /* immutable, the backend's */
	bool directory, writer, appends;     /* immutable; appends: the backend does */
	bool unpaged;                        /* immutable: it passes the kernel's pages by */
	uint64_t opened_ns;                  /* immutable: when the backend was asked for it */
	uint64_t timeout_ns;                 /* immutable: for requests on it */
	uint64_t version;                    /* immutable: at open */
	/* under inode->tree->lock: at open, and as it was seen to grow since, or we made it; then */
	uint64_t size, sized_ns;
	atomic_bool interrupted; /* the last call on it was */
	atomic_bool dropping;    /* the kernel may not have dropped yet what its open told it to */
	atomic_int refs;
	TAILQ_ENTRY(scout_fh) link; /* under fhs->lock */
	TAILQ_ENTRY(scout_fh) open; /* under inode->tree->lock, until the kernel releases it */
};

/* All that the kernel has open: what is left at the end is released there. */
int scout_fhs_new(struct scout_fhs **ret);
void scout_fhs_release(struct scout_fhs *fhs); /* what the kernel left open */
void scout_fhs_free(struct scout_fhs *fhs);    /* none is left; NULL is fine */

/* Both with the kernel's reference; NULL when there is no memory (the handle stays the caller's).
 * flags, attr: the open's. */
struct scout_fh *scout_fh_new(struct scout_fhs *fhs, struct scout_inode *inode,
			      const struct scout_backend *backend, void *handle, int flags,
			      uint64_t timeout_ns, const struct scout_attr *attr);
struct scout_fh *scout_fh_new_dir(struct scout_fhs *fhs, struct scout_inode *inode,
				  const struct scout_backend *backend, void *handle);
/* One that the kernel has open on inode, referenced; NULL: none. */
struct scout_fh *scout_fh_of(struct scout_inode *inode);
/* Notes attr, which the backend was asked for at asked_ns, before it goes to the kernel; *ask as
 * scout_inode_told. False: it may not go there, since it is of another version than what somebody reads here,
 * and shorter than that has become: the kernel would take its end for his, and ask nobody. */
bool scout_fh_told(struct scout_inode *inode, const struct scout_attr *attr, uint64_t asked_ns,
		   bool *ask);
/* A writer's flush or fsync, which was answered just now, found inode to be so long. */
void scout_fh_synced(struct scout_inode *inode, uint64_t size);
void scout_fh_ref(struct scout_fh *f);
void scout_fh_unref(struct scout_fh *f);
/* The kernel asks something of it: its open is over. */
void scout_fh_used(struct scout_fh *f);
/* The kernel released it, or never had it. */
void scout_fh_close(struct scout_fh *f);

#endif
