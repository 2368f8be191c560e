/* Calls that wait for a connection, in an order that is fair: small ones (those that move up to
 * SCOUT_S3_SMALL_BYTES, as questions do) before bulk, and of either kind one of each flow in turn, so that who asks for
 * much waits behind itself and not before others. While bulk waits, one call in eight is bulk.
 *
 * The first turns at bulk of a flow that comes are a little apart, while no other waits. Parts that are asked
 * for at the same moment share the server and the link evenly, so that all come at the end; who takes them in
 * order, as readers and digests do, would begin with the second one when the last is here, too.
 *
 * Those with a time (not_before_ns) sleep until then, and only then wait for a turn.
 *
 * Adding, taking and removing a call cost the same however many wait; each that sleeps costs a look at every
 * taking. No lock of its own: its owner's. */
#ifndef SCOUTFS_S3_QUEUE_H
#define SCOUTFS_S3_QUEUE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "scoutfs/s3.h"

#define SCOUT_S3_SMALL_BYTES ((uint64_t)256 << 10)

struct scout_s3_flow;

TAILQ_HEAD(scout_s3_call_list, scout_s3_call);
TAILQ_HEAD(scout_s3_flow_list, scout_s3_flow);

/* One kind of calls. */
struct scout_s3_lane {
	struct scout_s3_flow_list turns; /* flows with a call here, whose turn it is first */
	struct scout_s3_flow *later;  /* the one with a call here whose turn is too soon, or NULL */
	struct scout_s3_flow *flows;  /* those with a name, by it */
	struct scout_s3_flow *common; /* of calls without a flow, or without memory for one */
};

struct scout_s3_queue {
	struct scout_s3_lane small, bulk;
	struct scout_s3_flow *asleep; /* of the calls whose time has not come, in no lane */
	unsigned before_bulk;         /* small calls taken since bulk had its turn */
	unsigned count;               /* of calls that wait for a turn */
};

/* Returns 0 or -ENOMEM; destroy is fine with either. */
int scout_s3_queue_init(struct scout_s3_queue *q);
void scout_s3_queue_destroy(struct scout_s3_queue *q); /* empty */

bool scout_s3_is_small(const struct scout_s3_call *call);

void scout_s3_queue_add(struct scout_s3_queue *q, struct scout_s3_call *call);
/* Takes the call whose turn it is, one of bulk only if that is allowed; NULL: there is none. now_ns never goes
 * back; UINT64_MAX takes all. */
struct scout_s3_call *scout_s3_queue_take(struct scout_s3_queue *q, bool bulk, uint64_t now_ns);
/* When the next turn is that was too soon when one was taken; UINT64_MAX: there is none. */
uint64_t scout_s3_queue_due_ns(const struct scout_s3_queue *q);
/* Takes call out. False: it is not in it. */
bool scout_s3_queue_remove(struct scout_s3_queue *q, struct scout_s3_call *call);

#endif
