/* One request of the kernel on its way through a backend.
 *
 * It is replied to exactly once, by whoever is first: the completion (any thread), the deadline (the
 * table's thread) or an interrupt (a FUSE worker) by a signal that ends the call; those that come later in a call
 * the table's thread looks for. Whoever wins scout_request_claim() replies. It is freed when both its sides are done
 * with it: the kernel's (settled) and the backend's (completed). */
#ifndef SCOUTFS_FS_REQUEST_H
#define SCOUTFS_FS_REQUEST_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fs/fh.h"
#include "fs/inode.h"
#include "scoutfs/backend.h"
#include "scoutfs/metrics.h"

struct scout_requests;

struct scout_request {
	struct scout_req base; /* what the backend sees */
	struct scout_requests *table;
	fuse_req_t fuse;
	enum scout_op op;
	struct scout_inode *inode;  /* pinned; of a request for a name, its parent */
	struct scout_inode *target; /* pinned, or NULL: what a removed or moved name stood for */
	const struct scout_backend *backend; /* inode's, but for lookups in the root */
	unsigned backend_index;
	struct scout_fh *file; /* referenced, or NULL */
	struct scout_fh *from; /* copy: referenced; getattr: the one asked in its name's place */
	int flags;             /* open, create */
	uint64_t offset;       /* read, readdir */
	size_t size;           /* read, write, readdir, getxattr, listxattr */
	uint64_t belief;       /* read: the inode's when the backend was asked */
	bool plus;             /* readdir */
	char *name;            /* the child's, owned; of a rename and a link the new one */
	uint64_t start_ns, timeout_ns;
	_Atomic uint64_t deadline_ns; /* never, until it is started */
	atomic_bool claimed;
	atomic_bool started, interrupted; /* whoever of the two comes second looks at signals */
	uint64_t looked_ns;               /* under the shard's lock: by the table's thread */
	atomic_int refs;
	TAILQ_ENTRY(scout_request) link; /* under the shard's lock */
};

/* The requests in flight and the thread that ends what is late. */
int scout_requests_new(struct scout_metrics *metrics, struct scout_requests **ret);
/* Replies ENOTCONN to all that is pending; what comes later completes into nothing. */
void scout_requests_abort(struct scout_requests *table);
void scout_requests_free(struct scout_requests *table); /* all completed; NULL is fine */

/* A request in the table, whose done is `done`; NULL when there is no memory. Pins inode, references
 * file. timeout_ns from now on it is late. */
struct scout_request *
scout_request_new(struct scout_requests *table, fuse_req_t fuse, enum scout_op op,
		  struct scout_inode *inode, const struct scout_backend *backend,
		  unsigned backend_index, struct scout_fh *file, uint64_t timeout_ns,
		  void (*done)(struct scout_req *, int, const struct scout_result *));
/* Lets interrupts and the deadline come. Last before the backend is called, when all fields are set. */
void scout_request_start(struct scout_request *r);

/* At completion: true when the caller is to reply, by r->fuse. */
bool scout_request_claim(struct scout_request *r);
/* Counts the outcome and takes r out of the table: right before the reply, so that who has read an
 * answer finds it counted. The backend's reference still holds r. */
void scout_request_settle(struct scout_request *r, int err);
/* The backend's side is done; last. */
void scout_request_put(struct scout_request *r);

static inline struct scout_request *scout_request_of(struct scout_req *req)
{
	return (struct scout_request *)req; /* base is its first member */
}

#endif
