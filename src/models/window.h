/* How an object is cut into fetches, and how far ahead of a reader they go. Pure. */
#ifndef MODELS_WINDOW_H
#define MODELS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scoutfs/budget.h"

/* The longest run of blocks in one fetch. */
#define SCOUT_FETCH_BLOCKS 256

/* How an object is cut. */
struct scout_cut {
	uint64_t bytes;  /* the object's size */
	uint64_t unit;   /* the length of a fetch of read-ahead, on the average; whole blocks */
	uint64_t window; /* the longest */
	bool whole;      /* small: once it is read in order, all of it comes, while it is open */
	bool growing;    /* the last fetch is twice as long as the first */
};

/* window: the longest that the config and the memory for blocks allow; uneven: each connection is slow, and all bytes
 * are checked in order. */
void scout_cut_make(struct scout_cut *cut, uint64_t bytes, size_t part_size, size_t window,
		    bool uneven);

/* Where the fetch of read-ahead ends that from, inside the object, lies in; it may be beyond the object's end. */
uint64_t scout_cut_end(const struct scout_cut *cut, uint64_t from);

/* One sequence of reads, by handle or by object. Zeroed is a new one. */
struct scout_run {
	uint64_t high;   /* the highest end of a read in the run */
	uint64_t bytes;  /* read since the run began */
	uint64_t ahead;  /* what is before this was asked for already */
	uint64_t window; /* 0: not open */
	bool begun, goes_on, from_start;
};

/* Notes a read of size > 0 inside the object; returns the offset up to which to fetch ahead, or 0. */
uint64_t scout_run_note(struct scout_run *run, const struct scout_cut *cut, uint64_t offset,
			size_t size);

/* Its reader stopped: the window opens anew, should he go on, and he is in order still. */
void scout_run_stop(struct scout_run *run);

/* Whether bytes of [from, end) were asked for on the run's behalf and are still before its reader. */
bool scout_run_wants(const struct scout_run *run, uint64_t from, uint64_t end);

#endif
