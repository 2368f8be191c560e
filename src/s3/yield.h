/* Bulk gives way to small calls: how many bulk transfers may be under way while others ask for little.
 *
 * A small object is there in a round trip, unless it waits behind what others read on the same link or server. So
 * when a small call took half as long again as it can, and bulk is most of what is under way, half as much of it
 * may be, but four; when it did not, one more now and then; and without small calls, all. Pure; the engine's
 * thread. */
#ifndef SCOUTFS_S3_YIELD_H
#define SCOUTFS_S3_YIELD_H

#include <stdint.h>

struct scout_s3_yield {
	unsigned max, now;   /* bulk transfers */
	uint64_t least_ns;   /* that a small call took of late; 0: not known */
	uint64_t small_ns;   /* when one last ended */
	uint64_t changed_ns; /* when now last did */
};

void scout_s3_yield_init(struct scout_s3_yield *y, unsigned max);
/* The answer to a small call came after took_ns, when so many others of either kind were under way. */
void scout_s3_yield_small(struct scout_s3_yield *y, uint64_t took_ns, unsigned small, unsigned bulk,
			  uint64_t now_ns);
/* Without small calls for a while bulk has all. */
void scout_s3_yield_turn(struct scout_s3_yield *y, uint64_t now_ns);

#endif
