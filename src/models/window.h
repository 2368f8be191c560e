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
	uint64_t bytes; /* the object's size */
	uint64_t unit;  /* fetches of read-ahead begin and end at multiples of it; whole blocks */
	uint64_t ahead_max; /* the longest window */
	bool whole;         /* small: a sequential reader fetches all of it at once */
	bool eager;         /* at most a part: the first read at 0 counts as sequential */
};

/* memory: what the blocks of all objects may take. */
void scout_cut_make(struct scout_cut *cut, uint64_t bytes, size_t part_size, size_t memory);

/* One sequence of reads, by handle or by object. Zeroed is a new one. */
struct scout_run {
	uint64_t high;  /* the highest end of a read in the run */
	uint64_t bytes; /* read since the run began */
	uint64_t ahead; /* what is before this was asked for already */
	unsigned units; /* the window */
	bool begun, sequential;
};

/* Notes a read of size > 0 inside the object; returns the offset up to which to fetch ahead, or 0. */
uint64_t scout_run_note(struct scout_run *run, const struct scout_cut *cut, uint64_t offset,
			size_t size);

#endif
