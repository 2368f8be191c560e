/* Bulk gives way to small calls: how many bulk transfers may be under way while others ask for little.
 *
 * A small object is there in a round trip, unless it waits behind what others read on the same link or server. So
 * when a small call took half as long again as it can, and bulk is most of what is under way, half as much of it
 * may be, but four; when it did not, one more now and then; and without small calls, all. Where they are not a
 * quarter faster for it, it is not bulk that they wait for, and it has all for a while: S3 takes now this long,
 * now that.
 *
 * Near by one connection carries nearly as much as many, and a small GET waits even for a single part, in the same
 * server. So there bulk comes in slices, one at a time, that begin between small calls; or, where these leave no room,
 * after a few times as long as the last slice took. HEADs count for nothing there: who opens a model to read it
 * asks one, too. Nor do many small GETs at once. Where even the fastest of some slices is slow, S3 is not near.
 *
 * Pure; the engine's thread. */
#ifndef SCOUTFS_S3_YIELD_H
#define SCOUTFS_S3_YIELD_H

#include <stdbool.h>
#include <stdint.h>

#define SCOUT_S3_SLICE_BYTES ((uint64_t)1 << 20)

/* Whether small calls are the faster for it. */
struct scout_s3_trial {
	uint64_t free_ns;  /* what they take beside all of bulk: the mean of the last ones, */
	unsigned nfree;    /* which are so many, or enough */
	uint64_t sum_ns;   /* what they took since bulk is no more than it may be, */
	unsigned n;        /* which were so many */
	uint64_t begun_ns; /* when it last began to give way; 0: never */
	uint64_t wait_until_ns;
	unsigned failed; /* so often in a row it did not help */
};

/* The way of giving way that is for near by. */
struct scout_s3_slices {
	bool on;
	unsigned n;            /* which came since they are, */
	uint64_t least_ns;     /* the fastest of them, */
	uint64_t far_until_ns; /* and so long none may be, as they were too slow */
	uint64_t bulk_ns;      /* when a transfer of bulk last ended, */
	uint64_t took_ns;      /* and how long that was under way */
};

struct scout_s3_yield {
	unsigned max, now;    /* bulk transfers */
	uint64_t changed_ns;  /* when now last did */
	uint64_t small_ns;    /* when a small call last ended */
	uint64_t least_ns[2]; /* that a HEAD, and a small GET, took of late; 0: not known */
	uint64_t answer_ns;   /* that one to any small call did; 0: there was none */
	struct scout_s3_trial trial;
	struct scout_s3_slices slices;
};

void scout_s3_yield_init(struct scout_s3_yield *y, unsigned max);
/* The first byte of an answer to any small call came after took_ns: so far is S3, at the most. */
void scout_s3_yield_answer(struct scout_s3_yield *y, uint64_t took_ns);
/* The first byte of a small GET, or the answer to a HEAD, came after took_ns, when so many other calls of either
 * kind were under way. */
void scout_s3_yield_small(struct scout_s3_yield *y, bool get, uint64_t took_ns, unsigned small,
			  unsigned bulk, uint64_t now_ns);
/* A transfer of bulk, or a slice of it, ended that took so long. */
void scout_s3_yield_bulk(struct scout_s3_yield *y, uint64_t took_ns, uint64_t now_ns);
/* When the next one may begin, if fewer than now are under way, and so many small calls. Never far ahead. */
uint64_t scout_s3_yield_due_ns(const struct scout_s3_yield *y, unsigned small);
/* Without small calls for a while bulk has all; and while those that are under way hang. */
void scout_s3_yield_turn(struct scout_s3_yield *y, unsigned small, uint64_t now_ns);

#endif
