/* The number of bulk transfers beside small calls; see yield.h. */
#include "s3/yield.h"

#include "scoutfs/clock.h"

/* Fewer would leave too little of a link where each connection carries its part. */
#define FLOOR 4u
#define FORGET 256 /* the least time rises by this part of it with each call */
#define MARGIN_NS (SCOUT_NS_PER_MS / 2)
#define GROW_NS (200 * SCOUT_NS_PER_MS)
#define SILENT_NS (100 * SCOUT_NS_PER_MS)
#define ENOUGH 8u /* calls tell what they take */
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
}

static void start_over(struct scout_s3_yield *y)
{
	y->n = 0;
	y->sum_ns = 0;
}

static void grow(struct scout_s3_yield *y, uint64_t now_ns)
{
	if (y->now < y->max && now_ns - y->changed_ns >= GROW_NS)
		change(y, y->now + 1, now_ns);
}

static bool is_slow(struct scout_s3_yield *y, bool get, uint64_t took_ns)
{
	uint64_t *least_ns = &y->least_ns[get];

	*least_ns += *least_ns / FORGET + 1;
	if (*least_ns == 1 || took_ns < *least_ns)
		*least_ns = took_ns;
	return took_ns > *least_ns + *least_ns / 2 + MARGIN_NS;
}

static void note_free(struct scout_s3_yield *y, uint64_t took_ns)
{
	if (y->nfree < ENOUGH)
		y->nfree++;
	if (took_ns > y->free_ns)
		y->free_ns += (took_ns - y->free_ns) / y->nfree;
	else
		y->free_ns -= (y->free_ns - took_ns) / y->nfree;
}

/* Whether it helps that bulk gives way. */
static void judge(struct scout_s3_yield *y, uint64_t now_ns)
{
	bool proved = y->nfree == ENOUGH;

	if (y->n < ENOUGH || (!proved && now_ns - y->begun_ns < UNPROVED_NS))
		return;
	if (!proved) {
		change(y, y->max, now_ns);
		y->nfree = 0;
		y->free_ns = 0;
	} else if (y->sum_ns / y->n > y->free_ns - y->free_ns / 4) {
		change(y, y->max, now_ns);
		y->wait_until_ns = now_ns + (WAIT_NS << y->failed);
		if (y->failed < WAIT_DOUBLINGS)
			y->failed++;
	} else {
		y->failed = 0;
	}
	start_over(y);
}

void scout_s3_yield_small(struct scout_s3_yield *y, bool get, uint64_t took_ns, unsigned small,
			  unsigned bulk, uint64_t now_ns)
{
	bool slow = is_slow(y, get, took_ns), limited = y->now < y->max;

	y->small_ns = now_ns;
	if (!slow)
		grow(y, now_ns);
	if (bulk <= small) /* they wait for each other, if for anybody */
		return;
	if (limited && bulk > y->now) /* what was under way before */
		return;
	if (limited) {
		y->n++;
		y->sum_ns += took_ns;
	} else {
		note_free(y, took_ns);
	}
	if (slow && bulk > FLOOR &&
	    (limited || (now_ns >= y->wait_until_ns && (!y->begun_ns || y->nfree == ENOUGH)))) {
		if (!limited)
			y->begun_ns = now_ns;
		change(y, bulk / 2 > FLOOR ? bulk / 2 : FLOOR, now_ns);
	}
	if (limited)
		judge(y, now_ns);
}

void scout_s3_yield_turn(struct scout_s3_yield *y, uint64_t now_ns)
{
	if (y->now == y->max || now_ns - y->small_ns < SILENT_NS)
		return;
	change(y, y->max, now_ns);
	start_over(y);
}
