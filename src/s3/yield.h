/* Bulk gives way to small calls: how many bulk transfers may be under way while others ask for little.
 *
 * A small object is there in a round trip, unless it waits behind what others read on the same link or server. So
 * when a small call took half as long again as it can, and bulk is most of what is under way, half as much of it
 * may be, but four; when it did not, one more now and then; and without small calls, all. Where they are not a
 * quarter faster for it, it is not bulk that they wait for, and it has all for a while: S3 takes now this long,
 * now that. Pure; the engine's thread. */
#ifndef SCOUTFS_S3_YIELD_H
#define SCOUTFS_S3_YIELD_H

#include <stdbool.h>
#include <stdint.h>

struct scout_s3_yield {
	unsigned max, now;    /* bulk transfers */
	uint64_t least_ns[2]; /* that a HEAD, and a small GET, took of late; 0: not known */
	uint64_t free_ns;     /* what they take beside all of bulk: the mean of the last ones, */
	unsigned nfree;       /* which are so many, or enough */
	uint64_t sum_ns;      /* what they took since bulk is no more than now, */
	unsigned n;           /* which were so many */
	uint64_t begun_ns;    /* when it last began to give way; 0: never */
	uint64_t wait_until_ns;
	unsigned failed;     /* so often in a row it did not help */
	uint64_t small_ns;   /* when a small call last ended */
	uint64_t changed_ns; /* when now last did */
};

void scout_s3_yield_init(struct scout_s3_yield *y, unsigned max);
/* The first byte of a small GET, or the answer to a HEAD, came after took_ns, when so many other calls of either
 * kind were under way. */
void scout_s3_yield_small(struct scout_s3_yield *y, bool get, uint64_t took_ns, unsigned small,
			  unsigned bulk, uint64_t now_ns);
/* Without small calls for a while bulk has all. */
void scout_s3_yield_turn(struct scout_s3_yield *y, uint64_t now_ns);

#endif
