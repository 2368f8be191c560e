/* When a request hangs, and its twin: a second request for the rest of it. A connection through a
 * middlebox that has forgotten it, or a server's one slow disk, is seen long before `timeout`.
 *
 * Only reads are hedged, once a call (and again when its failures count anew), while it has an attempt
 * left, and only so many at once. A GET is hedged when it is pinned to an ETag: nobody else can tell that
 * both bring the same bytes.
 *
 * Where others are heard of, what is silent hangs by itself. Where nobody is, that may be the endpoint,
 * which gets one hedge to answer, and no other before it is heard of. */
#include <stdlib.h>

#include "s3/engine.h"
#include "s3/op.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"

#define HANGS_NS SCOUT_NS_PER_S
/* So long the endpoint was alive while one request heard nothing: then that hangs by itself. More than
 * one moment of life, so not when all fall silent one soon after the other. */
#define ALONE_NS (SCOUT_NS_PER_S / 2)
#define AGAIN_NS (100 * SCOUT_NS_PER_MS)
/* A first byte takes as long as it takes, where it always does. */
#define USUAL_FACTOR 4
#define COMPARE_NS SCOUT_NS_PER_S
#define SLOW_FACTOR 8
#define SIBLINGS_MIN 4
/* A body that is smaller may come in one burst, which says nothing of what its connection carries. */
#define BODY_MIN_BYTES ((uint64_t)256 << 10)

static bool may_hedge(const struct scout_s3 *s3, const struct scout_s3_transfer *t)
{
	const struct scout_s3_call *call = t->call;

	if (t->hedged || t->failures + 1 >= s3->context.config->max_attempts)
		return false;
	if (call->op == SCOUT_S3_GET)
		return scout_s3_transfer_pinned(t) != NULL;
	return call->op == SCOUT_S3_HEAD || scout_s3_is_listing(call->op);
}

/* How long t may say nothing. */
static uint64_t patience_ns(const struct scout_s3 *s3, const struct scout_s3_transfer *t)
{
	uint64_t usual_ns = s3->context.first_byte_ns * USUAL_FACTOR;

	if (t->response.status != 0)
		return HANGS_NS;
	/* An endpoint that never answered is down: that is not this connection's fault. */
	if (usual_ns == 0)
		return UINT64_MAX;
	return usual_ns > HANGS_NS ? usual_ns : HANGS_NS;
}

/* Nobody was heard of for as long as for one that hangs, and nobody tries already. */
static bool may_probe(const struct scout_s3_pulse *p)
{
	return !p->probing && p->awake_ns - p->heard_ns >= HANGS_NS;
}

uint64_t scout_s3_hedge_due_ns(const struct scout_s3 *s3, const struct scout_s3_transfer *t,
			       uint64_t now_ns)
{
	const struct scout_s3_pulse *p = &s3->context.pulse;
	uint64_t silent_ns = p->awake_ns - t->heard_awake_ns, most_ns;

	if (!may_hedge(s3, t)) /* a guess may once the answer to another call pins it */
		return t->call->guess && !t->hedged && !scout_s3_transfer_pinned(t)
			   ? now_ns + AGAIN_NS
			   : UINT64_MAX;
	if (t->slow)
		return now_ns;
	most_ns = patience_ns(s3, t);
	if (most_ns == UINT64_MAX)
		return UINT64_MAX;
	if (silent_ns < most_ns)
		return now_ns + (most_ns - silent_ns);
	if (scout_s3_pulse_alive_ns(p) - t->heard_alive_ns >= ALONE_NS || may_probe(p))
		return now_ns;
	return now_ns + AGAIN_NS;
}

struct scout_s3_transfer *scout_s3_hedge_new(struct scout_s3 *s3, struct scout_s3_transfer *t)
{
	struct scout_s3_transfer *twin;

	if (s3->active >= s3->limit.now ||
	    s3->used[SCOUT_S3_HEDGE] >= scout_s3_limit_hedges(&s3->limit))
		return NULL;
	twin = calloc(1, sizeof(*twin));
	if (!twin)
		return NULL;
	twin->context = t->context;
	twin->call = t->call;
	twin->number = t->number;
	twin->use = SCOUT_S3_HEDGE;
	twin->got = twin->anew_at = t->anew_at = t->got;
	twin->attempts = t->attempts;
	twin->failures = t->failures;
	twin->skew_tried = t->skew_tried;
	twin->move_tried = t->move_tried;
	twin->renewal_tried = t->renewal_tried;
	twin->aloud = t->aloud;
	twin->aloud_granted = t->aloud_granted;
	twin->hedged = t->hedged = true;
	twin->twin = t;
	t->twin = twin;
	return twin;
}

/* A body under way since the last comparison, of which much is to come. */
static bool is_comparable(const struct scout_s3 *s3, const struct scout_s3_transfer *t)
{
	return !t->dropped && t->call->op == SCOUT_S3_GET && t->has_body &&
	       t->begun_ns <= s3->compared_ns;
}

void scout_s3_hedge_note_end(struct scout_s3 *s3, const struct scout_s3_transfer *t,
			     uint64_t now_ns)
{
	struct scout_s3_bodies *b = &s3->ended;

	if (t->call->op != SCOUT_S3_GET || t->moved < BODY_MIN_BYTES ||
	    (t->got < t->upto && t->got < t->call->length))
		return;
	b->n++;
	b->bytes += t->moved;
	b->ns += now_ns - t->begun_ns;
}

/* What each body would have brought in the period at the mean rate of all; 0: they are too few. What ended in
 * the period before counts still: the first one that a body runs through begins after it, and its siblings may
 * be gone by then. */
static uint64_t usual_bytes(const struct scout_s3 *s3, uint64_t period_ns)
{
	const struct scout_s3_bodies *a = &s3->ended, *b = &s3->ended_before;
	struct scout_s3_bodies all = {a->n + b->n, a->bytes + b->bytes, a->ns + b->ns};
	const struct scout_s3_transfer *t;

	TAILQ_FOREACH (t, &s3->running, link) {
		if (is_comparable(s3, t)) {
			all.n++;
			all.bytes += t->moved - t->counted;
			all.ns += period_ns;
		}
	}
	if (all.n <= SIBLINGS_MIN || all.ns < SCOUT_NS_PER_MS)
		return 0;
	return all.bytes / (all.ns / SCOUT_NS_PER_MS) * (period_ns / SCOUT_NS_PER_MS);
}

bool scout_s3_hedge_compare(struct scout_s3 *s3, uint64_t now_ns)
{
	const struct scout_s3_pulse *p = &s3->context.pulse;
	uint64_t period_ns = p->awake_ns - s3->compared_awake_ns, usual;
	uint64_t alive_ns = scout_s3_pulse_alive_ns(p) - s3->compared_alive_ns;
	struct scout_s3_transfer *t;

	/* while we are not there nobody is slow, nor while the endpoint is not */
	if (period_ns < COMPARE_NS)
		return false;
	usual = alive_ns >= period_ns / 2 ? usual_bytes(s3, period_ns) : 0;
	TAILQ_FOREACH (t, &s3->running, link) {
		uint64_t moved = t->moved - t->counted;

		/* it would take more than two of these periods for its rest */
		t->slow = is_comparable(s3, t) && moved < usual / SLOW_FACTOR &&
			  t->call->length - t->got > 2 * moved;
		t->counted = t->moved;
	}
	s3->ended_before = s3->ended;
	s3->ended = (struct scout_s3_bodies){0};
	s3->compared_ns = now_ns;
	s3->compared_awake_ns += period_ns;
	s3->compared_alive_ns += alive_ns;
	return true;
}
