/* The number of bulk transfers beside small calls; see yield.h. */
#include "s3/yield.h"

#include "scoutfs/clock.h"

/* So many carry most of what a link does, and hold a small call up by little. */
#define FLOOR 4u
#define FORGET 256 /* the least time rises by this part of it with each call */
#define MARGIN_NS (SCOUT_NS_PER_MS / 2)
#define GROW_NS (100 * SCOUT_NS_PER_MS)
#define SILENT_NS (SCOUT_NS_PER_S / 2)

void scout_s3_yield_init(struct scout_s3_yield *y, unsigned max)
{
	*y = (struct scout_s3_yield){.max = max, .now = max};
}

static void change(struct scout_s3_yield *y, unsigned to, uint64_t now_ns)
{
	y->now = to;
	y->changed_ns = now_ns;
}

void scout_s3_yield_small(struct scout_s3_yield *y, uint64_t took_ns, unsigned small, unsigned bulk,
			  uint64_t now_ns)
{
	y->small_ns = now_ns;
	y->least_ns += y->least_ns / FORGET;
	if (y->least_ns == 0 || took_ns < y->least_ns)
		y->least_ns = took_ns;
	if (took_ns > y->least_ns + y->least_ns / 2 + MARGIN_NS) {
		/* many small ones wait for each other; more of bulk than may be is of before */
		if (bulk > small && bulk > FLOOR && bulk <= y->now)
			change(y, bulk / 2 > FLOOR ? bulk / 2 : FLOOR, now_ns);
	} else if (y->now < y->max && now_ns - y->changed_ns >= GROW_NS) {
		change(y, y->now + 1, now_ns);
	}
}

void scout_s3_yield_turn(struct scout_s3_yield *y, uint64_t now_ns)
{
	if (y->now < y->max && now_ns - y->small_ns >= SILENT_NS)
		change(y, y->max, now_ns);
}
