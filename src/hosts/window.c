/* When a reader counts as sequential, how far to read ahead of it, and how its bytes are cut. */
#include "hosts/window.h"

#include "scoutfs/budget.h"
#include "scoutfs/clock.h"

/* A reader that came so far is trusted to go so many times as far: over a distance each step is a round
 * trip, and with twice instead of four times 16 MiB are two more of them. */
#define TRUST 4
#define MAX_NEAR ((uint64_t)16 << 20)
#define MAX_PER_MS ((uint64_t)1 << 20)
#define SLACK_READS 4 /* so many reads' lengths may the order be off */
#define PART_MIN 16384u
#define WRITE_MIN 4096u

bool scout_window_read(struct scout_window *w, uint64_t offset, size_t size, uint64_t max_ahead)
{
	uint64_t slack = (uint64_t)SLACK_READS * size, end = offset + size;

	if (offset + slack < w->next || offset > w->next + slack) {
		*w = (struct scout_window){.next = end};
		return false;
	}
	if (end > w->next) {
		w->run += end - w->next;
		w->next = end;
	}
	w->ahead = TRUST * w->run > SCOUT_WINDOW_MIN ? TRUST * w->run : SCOUT_WINDOW_MIN;
	if (w->ahead > max_ahead)
		w->ahead = max_ahead;
	return true;
}

uint64_t scout_window_max(uint64_t read_window, uint64_t round_trip_ns)
{
	uint64_t most = round_trip_ns / SCOUT_NS_PER_MS * MAX_PER_MS;

	if (most < MAX_NEAR)
		most = MAX_NEAR;
	return most < read_window ? most : read_window;
}

uint32_t scout_window_part_bytes(uint32_t limit)
{
	if (limit < PART_MIN)
		return PART_MIN; /* it may answer short */
	return limit > SCOUT_BUF_BYTES ? (uint32_t)SCOUT_BUF_BYTES : limit;
}

uint32_t scout_window_chunk_bytes(uint32_t part_bytes)
{
	const uint32_t buf = (uint32_t)SCOUT_BUF_BYTES;
	const uint32_t least = (uint32_t)(SCOUT_READ_MAX / (SCOUT_READ_BUFS - 1)) + 1;
	uint32_t whole = buf / part_bytes * part_bytes;

	return whole >= least ? whole : buf;
}

enum scout_window_change scout_window_change(uint64_t size, uint64_t mtime, uint64_t new_size,
					     uint64_t new_mtime)
{
	if (new_size == size && new_mtime == mtime)
		return SCOUT_CHANGE_NONE;
	/* An append may fall into the second of the last write. */
	if (new_size > size && new_mtime >= mtime)
		return SCOUT_CHANGE_GROWN;
	return SCOUT_CHANGE_OTHER;
}

bool scout_window_outdated(const struct scout_told *then, const struct scout_told *now,
			   uint64_t size, uint64_t mtime)
{
	return now->count > then->count &&
	       (!then->count ||
		scout_window_change(then->size, then->mtime, size, mtime) != SCOUT_CHANGE_OTHER) &&
	       scout_window_change(size, mtime, now->size, now->mtime) == SCOUT_CHANGE_GROWN;
}

uint32_t scout_window_write_bytes(uint32_t limit)
{
	if (limit < WRITE_MIN)
		return WRITE_MIN;
	return limit > SCOUT_BUF_BYTES ? (uint32_t)SCOUT_BUF_BYTES : limit;
}
