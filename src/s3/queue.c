/* The fair queue; see queue.h. A flow exists while it has a call here. */
#include "s3/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* running out of memory is the caller's to handle: an element that was not added has no hh.tbl */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "scoutfs/clock.h"

/* So many small calls go before one of bulk that waits: else whoever reads at random could keep it
 * waiting for ever. */
#define BEFORE_BULK 7
/* Between so many of a flow's first turns at bulk: at most 1.5 GB/s of a small object's parts, which are 1.5 MiB. */
#define APART_NS SCOUT_NS_PER_MS
#define APART_TURNS 16u

struct scout_s3_flow {
	const void *id;             /* NULL: the common one */
	struct scout_s3_lane *lane; /* NULL: of those that sleep */
	struct scout_s3_call_list calls;
	unsigned turns;  /* it had at bulk, since it came */
	uint64_t due_ns; /* of its next one, when later */
	TAILQ_ENTRY(scout_s3_flow)
	link;              /* lane->turns, while it has calls and is not lane->later */
	UT_hash_handle hh; /* lane->flows */
};

static struct scout_s3_flow *flow_new(struct scout_s3_lane *lane, const void *id)
{
	struct scout_s3_flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->id = id;
	f->lane = lane;
	TAILQ_INIT(&f->calls);
	return f;
}

static int lane_init(struct scout_s3_lane *lane)
{
	TAILQ_INIT(&lane->turns);
	lane->later = NULL;
	lane->flows = NULL;
	lane->common = flow_new(lane, NULL);
	return lane->common ? 0 : -ENOMEM;
}

int scout_s3_queue_init(struct scout_s3_queue *q)
{
	q->before_bulk = 0;
	q->count = 0;
	q->asleep = flow_new(NULL, NULL);
	if (lane_init(&q->small) < 0 || lane_init(&q->bulk) < 0 || !q->asleep)
		return -ENOMEM;
	return 0;
}

void scout_s3_queue_destroy(struct scout_s3_queue *q)
{
	assert(q->count == 0 && !q->small.flows && !q->bulk.flows);
	assert(!q->asleep || TAILQ_EMPTY(&q->asleep->calls));
	free(q->small.common);
	free(q->bulk.common);
	free(q->asleep);
	q->small.common = q->bulk.common = q->asleep = NULL;
}

bool scout_s3_is_small(const struct scout_s3_call *call)
{
	uint64_t bytes = call->op == SCOUT_S3_GET ? call->length : call->body_bytes;

	return bytes <= SCOUT_S3_SMALL_BYTES;
}

static struct scout_s3_flow *flow_of(struct scout_s3_lane *lane, const void *id)
{
	struct scout_s3_flow *f;

	if (!id)
		return lane->common;
	HASH_FIND_PTR(lane->flows, &id, f);
	if (f)
		return f;
	f = flow_new(lane, id);
	if (!f)
		return lane->common;
	HASH_ADD_PTR(lane->flows, id, f);
	if (!f->hh.tbl) {
		free(f);
		return lane->common;
	}
	return f;
}

static void line_up(struct scout_s3_queue *q, struct scout_s3_call *call)
{
	struct scout_s3_lane *lane = scout_s3_is_small(call) ? &q->small : &q->bulk;
	struct scout_s3_flow *f = flow_of(lane, call->flow);

	if (TAILQ_EMPTY(&f->calls))
		TAILQ_INSERT_TAIL(&lane->turns, f, link);
	TAILQ_INSERT_TAIL(&f->calls, call, link);
	call->waits_in = f;
	q->count++;
}

void scout_s3_queue_add(struct scout_s3_queue *q, struct scout_s3_call *call)
{
	if (call->not_before_ns == 0) {
		line_up(q, call);
		return;
	}
	TAILQ_INSERT_TAIL(&q->asleep->calls, call, link);
	call->waits_in = q->asleep;
}

static void wake_up(struct scout_s3_queue *q, uint64_t now_ns)
{
	struct scout_s3_call *call = TAILQ_FIRST(&q->asleep->calls), *next;

	for (; call; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->not_before_ns > now_ns)
			continue;
		TAILQ_REMOVE(&q->asleep->calls, call, link);
		line_up(q, call);
	}
}

bool scout_s3_queue_remove(struct scout_s3_queue *q, struct scout_s3_call *call)
{
	struct scout_s3_flow *f = call->waits_in;

	if (!f)
		return false;
	TAILQ_REMOVE(&f->calls, call, link);
	call->waits_in = NULL;
	if (f == q->asleep)
		return true;
	q->count--;
	if (TAILQ_EMPTY(&f->calls)) {
		if (f == f->lane->later)
			f->lane->later = NULL;
		else
			TAILQ_REMOVE(&f->lane->turns, f, link);
		if (f->id) {
			HASH_DEL(f->lane->flows, f);
			free(f);
		}
	}
	return true;
}

static void come_due(struct scout_s3_lane *lane, uint64_t now_ns)
{
	struct scout_s3_flow *f = lane->later;

	if (!f || f->due_ns > now_ns)
		return;
	lane->later = NULL;
	TAILQ_INSERT_TAIL(&lane->turns, f, link);
}

static struct scout_s3_call *take_turn(struct scout_s3_queue *q, struct scout_s3_lane *lane,
				       uint64_t now_ns)
{
	struct scout_s3_flow *f = TAILQ_FIRST(&lane->turns);
	struct scout_s3_call *call = TAILQ_FIRST(&f->calls);

	TAILQ_REMOVE(&lane->turns, f, link);
	/* the next turn comes after everybody else's; who is alone has it a little later */
	if (lane == &q->bulk && f->id && now_ns != UINT64_MAX && TAILQ_EMPTY(&lane->turns) &&
	    !lane->later && ++f->turns < APART_TURNS) {
		f->due_ns = now_ns + APART_NS;
		lane->later = f;
	} else {
		TAILQ_INSERT_TAIL(&lane->turns, f, link);
	}
	(void)scout_s3_queue_remove(q, call); /* it is in it */
	return call;
}

struct scout_s3_call *scout_s3_queue_take(struct scout_s3_queue *q, bool bulk, uint64_t now_ns)
{
	bool small;

	wake_up(q, now_ns);
	come_due(&q->bulk, now_ns);
	small = !TAILQ_EMPTY(&q->small.turns);
	bulk = bulk && !TAILQ_EMPTY(&q->bulk.turns);
	if (small && (!bulk || q->before_bulk < BEFORE_BULK)) {
		q->before_bulk = bulk ? q->before_bulk + 1 : 0;
		return take_turn(q, &q->small, now_ns);
	}
	if (!bulk)
		return NULL;
	q->before_bulk = 0;
	return take_turn(q, &q->bulk, now_ns);
}

uint64_t scout_s3_queue_due_ns(const struct scout_s3_queue *q)
{
	return q->bulk.later ? q->bulk.later->due_ns : UINT64_MAX;
}
