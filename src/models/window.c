/* Cutting objects into fetches, and telling readers who go on from readers who jump.
 *
 * One connection to S3 carries some 50 to 100 MB/s, so a small object is split over 4 to 8 fetches
 * from its first byte; 2 MiB is where one more request stops paying. The kernel sends READs of up
 * to 1 MiB, several at once and in any order: a read counts as going on when it reaches beyond the
 * last one and starts no more than a READ behind it. Pure functions; the caller locks. */
#include "models/window.h"

#define MIB ((uint64_t)1024 * 1024)
#define WHOLE_BYTES (64 * MIB)
#define FETCH_MIN (2 * MIB)
#define FETCHES_MAX 8
#define FETCHES_FEW 4
#define UNITS_FIRST 4
#define UNITS_MAX 16
#define READ_BULK ((size_t)128 * 1024) /* the kernel's read-ahead, not a program's small read */

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* The most fetches of a small object of which none is below FETCH_MIN, but for the last of a few. */
static uint64_t split(uint64_t bytes)
{
	for (uint64_t n = FETCHES_MAX; n > 1; n--) {
		uint64_t unit = round_up((bytes + n - 1) / n, SCOUT_BUF_BYTES);
		uint64_t last = bytes - (bytes - 1) / unit * unit;

		if (unit >= FETCH_MIN && (last >= FETCH_MIN || n <= FETCHES_FEW))
			return unit;
	}
	return round_up(bytes, SCOUT_BUF_BYTES);
}

void scout_cut_make(struct scout_cut *cut, uint64_t bytes, size_t part_size, size_t memory)
{
	uint64_t part = part_size / SCOUT_BUF_BYTES * SCOUT_BUF_BYTES;

	if (part == 0)
		part = SCOUT_BUF_BYTES;
	if (part > SCOUT_FETCH_BLOCKS * SCOUT_BUF_BYTES)
		part = SCOUT_FETCH_BLOCKS * SCOUT_BUF_BYTES;
	*cut = (struct scout_cut){
	    .bytes = bytes,
	    .unit = part,
	    /* the rest holds what is being read, or whole parts would never be spare */
	    .ahead_max = memory / 4 * 3,
	    .whole = bytes <= WHOLE_BYTES,
	    .eager = bytes <= part,
	};
	if (cut->whole && bytes > 0 && split(bytes) < part)
		cut->unit = split(bytes);
}

static void follow(struct scout_run *run, uint64_t offset, size_t size)
{
	uint64_t slack = size >= READ_BULK ? SCOUT_READ_MAX : 0;
	uint64_t end = offset + size;

	if (run->begun ? offset <= run->high + slack && end > run->high : offset == 0) {
		run->bytes += size;
		run->high = end;
	} else if (!run->begun || end > run->high || end + 2 * SCOUT_READ_MAX < run->high) {
		*run = (struct scout_run){.high = end};
	}
	run->begun = true;
}

uint64_t scout_run_note(struct scout_run *run, const struct scout_cut *cut, uint64_t offset,
			size_t size)
{
	uint64_t window, target;

	follow(run, offset, size);
	if (run->bytes >= READ_BULK || (cut->eager && offset == 0 && run->bytes == size))
		run->sequential = true;
	if (!run->sequential)
		return 0;
	if (cut->whole)
		return run->ahead < cut->bytes ? cut->bytes : 0;
	if (run->units == 0)
		run->units = UNITS_FIRST;
	window = run->units * cut->unit;
	if (window > cut->ahead_max)
		window = cut->ahead_max;
	target = round_up(run->high + window, cut->unit);
	if (target > cut->bytes)
		target = cut->bytes;
	if (target <= run->ahead)
		return 0;
	if (run->ahead > 0 && run->units < UNITS_MAX)
		run->units *= 2;
	return target;
}
