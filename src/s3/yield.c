/* The number of bulk transfers beside small calls; see yield.h. */
#include "s3/yield.h"

#include "scoutfs/clock.h"

/* Fewer would leave too little of a link where each connection carries its part. */
#define FLOOR 4u
/* The least time rises by this part of it with each call. */
#define FORGET 256
#define FORGET_FAR 1024 /* that of any: how far S3 is changes hardly ever */
#define MARGIN_NS (SCOUT_NS_PER_MS / 2)
#define GROW_NS (200 * SCOUT_NS_PER_MS)
#define SILENT_NS (100 * SCOUT_NS_PER_MS)
#define HANGS_NS SCOUT_NS_PER_S
#define ENOUGH 8u /* calls tell what they take */
/* Where an answer takes longer, or a slice, S3 is not near by. */
#define NEAR_NS (15 * SCOUT_NS_PER_MS)
#define FAR_NS (60 * SCOUT_NS_PER_S) /* so long that is believed of slices */
/* A small call takes so many times as long as any, as long as nothing else is known. */
#define ANSWERS 2
#define FEW 4u /* small calls; more wait for each other */
/* After a small call another one may follow, of the same program. */
#define GAP_NS SCOUT_NS_PER_MS
/* Slices have one part in so many of the time, and there is one in so long. */
#define SLICE_PART 8
#define SLICE_MAX_NS (40 * SCOUT_NS_PER_MS)
/* So long it gives way before it is known what they take beside all of bulk. */
#define UNPROVED_NS (5 * SCOUT_NS_PER_S)
/* After it did not help; after each further time twice that. */
#define WAIT_NS SCOUT_NS_PER_S
#define WAIT_DOUBLINGS 6u

void scout_s3_yield_init(struct scout_s3_yield *y, unsigned max)
{
	*y = (struct scout_s3_yield){.max = max, .now = max};
}

static void change(struct scout_s3_yield *y, unsigned to, uint64_t now_ns)
{
	y->now = to;
	y->changed_ns = now_ns;
	y->slices.on = false;
}

static void start_over(struct scout_s3_trial *t)
{
	t->n = 0;
	t->sum_ns = 0;
}

static void note(struct scout_s3_trial *t, uint64_t took_ns)
{
	t->n++;
	t->sum_ns += took_ns;
}

static void note_free(struct scout_s3_trial *t, uint64_t took_ns)
{
	if (t->nfree < ENOUGH)
		t->nfree++;
	if (took_ns > t->free_ns)
		t->free_ns += (took_ns - t->free_ns) / t->nfree;
	else
		t->free_ns -= (t->free_ns - took_ns) / t->nfree;
}

static bool may_begin(const struct scout_s3_trial *t, uint64_t now_ns)
{
	return now_ns >= t->wait_until_ns && (!t->begun_ns || t->nfree == ENOUGH);
}

static void grow(struct scout_s3_yield *y, uint64_t now_ns)
{
	if (y->now < y->max && now_ns - y->changed_ns >= GROW_NS)
		change(y, y->now + 1, now_ns);
}

static void note_least(uint64_t *least_ns, uint64_t took_ns, unsigned forget)
{
	*least_ns += *least_ns / forget + 1;
	if (*least_ns == 1 || took_ns < *least_ns)
		*least_ns = took_ns;
}

void scout_s3_yield_answer(struct scout_s3_yield *y, uint64_t took_ns)
{
	note_least(&y->answer_ns, took_ns, FORGET_FAR);
}

static bool is_near(const struct scout_s3_yield *y, uint64_t now_ns)
{
	return y->answer_ns > 0 && y->answer_ns < NEAR_NS && now_ns >= y->slices.far_until_ns;
}

static bool is_slow(struct scout_s3_yield *y, bool get, uint64_t took_ns, uint64_t now_ns)
{
	uint64_t *least_ns = &y->least_ns[get];

	if (*least_ns == 0 && is_near(y, now_ns))
		*least_ns = y->answer_ns * ANSWERS;
	note_least(least_ns, took_ns, FORGET);
	return took_ns > *least_ns + *least_ns / 2 + MARGIN_NS;
}

/* Whether it helps that bulk gives way. */
static void judge(struct scout_s3_yield *y, uint64_t now_ns)
{
	struct scout_s3_trial *t = &y->trial;
	bool proved = t->nfree == ENOUGH;

	if (t->n < ENOUGH || (!proved && now_ns - t->begun_ns < UNPROVED_NS))
		return;
	if (!proved) {
		change(y, y->max, now_ns);
		t->nfree = 0;
		t->free_ns = 0;
	} else if (t->sum_ns / t->n > t->free_ns - t->free_ns / 4) {
		change(y, y->max, now_ns);
		t->wait_until_ns = now_ns + (WAIT_NS << t->failed);
		if (t->failed < WAIT_DOUBLINGS)
			t->failed++;
	} else {
		t->failed = 0;
	}
	start_over(t);
}

/* After a small GET near by. */
static void slice(struct scout_s3_yield *y, bool slow, uint64_t took_ns, unsigned small,
		  unsigned bulk, uint64_t now_ns)
{
	bool limited = y->now < y->max;

	y->small_ns = now_ns;
	if (small > FEW) {
		if (limited)
			change(y, y->max, now_ns);
		start_over(&y->trial);
	} else if (limited && bulk <= y->now) {
		note(&y->trial, took_ns);
		judge(y, now_ns);
	} else if (!limited && bulk > small) {
		note_free(&y->trial, took_ns);
		if (!slow || !may_begin(&y->trial, now_ns))
			return;
		y->trial.begun_ns = now_ns;
		change(y, 1, now_ns);
		y->slices.on = true;
		y->slices.n = 0;
		y->slices.least_ns = UINT64_MAX;
	}
}

void scout_s3_yield_small(struct scout_s3_yield *y, bool get, uint64_t took_ns, unsigned small,
			  unsigned bulk, uint64_t now_ns)
{
	bool slow = is_slow(y, get, took_ns, now_ns), limited = y->now < y->max;

	if (is_near(y, now_ns)) {
		if (get)
			slice(y, slow, took_ns, small, bulk, now_ns);
		return;
	}
	y->small_ns = now_ns;
	if (!slow)
		grow(y, now_ns);
	if (bulk <= small) /* they wait for each other, if for anybody */
		return;
	if (limited && bulk > y->now) /* what was under way before */
		return;
	if (limited)
		note(&y->trial, took_ns);
	else
		note_free(&y->trial, took_ns);
	if (slow && bulk > FLOOR && (limited || may_begin(&y->trial, now_ns))) {
		if (!limited)
			y->trial.begun_ns = now_ns;
		change(y, bulk / 2 > FLOOR ? bulk / 2 : FLOOR, now_ns);
	}
	if (limited)
		judge(y, now_ns);
}

void scout_s3_yield_turn(struct scout_s3_yield *y, unsigned small, uint64_t now_ns)
{
	if (y->now == y->max || now_ns - y->small_ns < (small > 0 ? HANGS_NS : SILENT_NS))
		return;
	change(y, y->max, now_ns);
	start_over(&y->trial);
}

void scout_s3_yield_bulk(struct scout_s3_yield *y, uint64_t took_ns, uint64_t now_ns)
{
	y->slices.bulk_ns = now_ns;
	y->slices.took_ns = took_ns;
	if (!y->slices.on || now_ns - took_ns < y->changed_ns) /* a whole part, of before */
		return;
	if (took_ns < y->slices.least_ns)
		y->slices.least_ns = took_ns;
	if (++y->slices.n < ENOUGH || y->slices.least_ns < NEAR_NS)
		return;
	/* one connection carries little */
	y->slices.far_until_ns = now_ns + FAR_NS;
	change(y, y->max, now_ns);
	start_over(&y->trial);
}

uint64_t scout_s3_yield_due_ns(const struct scout_s3_yield *y, unsigned small)
{
	uint64_t wait_ns = (SLICE_PART - 1) * y->slices.took_ns, last_ns;

	if (!y->slices.on)
		return 0;
	last_ns = y->slices.bulk_ns + (wait_ns < SLICE_MAX_NS ? wait_ns : SLICE_MAX_NS);
	if (small > 0 || last_ns < y->small_ns + GAP_NS)
		return last_ns;
	return y->small_ns + GAP_NS;
}
