/* Cutting objects into fetches, and telling readers who go on from readers who jump.
 *
 * One connection to S3 carries some 50 to 100 MB/s, so an object is read over many from its first
 * MiB on, a small one in pieces of at least 1 MiB. But a header, or the page that a map faults on,
 * looks at first as the beginning of a long read does: the kernel makes a READ of up to 1 MiB of it.
 * So the first MiB comes alone, and the window opens with the next READ that goes on from there,
 * which the kernel sends as soon as the first bytes are there.
 *
 * Far away all connections carry their parts at once, and equal ones end at once, of which a checksum
 * takes one after the other. So there the earlier parts of a small object are the shorter ones.
 *
 * The kernel sends READs of up to 1 MiB, several at once and in any order: a read counts as going on
 * when it reaches beyond the last one and starts no more than a READ behind it, and the object's start is the
 * run's also when it comes a little later. Pure functions; the caller locks. */
#include "models/window.h"

#define MIB ((uint64_t)1024 * 1024)
#define WHOLE_BYTES (64 * MIB)
#define FIRST_BYTES MIB
#define OPEN_BYTES (MIB / 2) /* so much was read in order when the window opens */
#define FETCH_MIN MIB
#define FETCHES_MAX 16       /* of a small object */
#define FETCHES_FEW 4        /* the last of so few may be small */
#define WINDOW_UNITS 8       /* the longest window has as many at least */
#define GROWTH 2             /* the window to what was read in order */
#define GROWTH_FROM_START 32 /* likewise from the object's start, where most read on to the end */
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

static uint64_t count_fetches(const struct scout_cut *cut)
{
	return (cut->bytes - 1) / cut->unit + 1;
}

void scout_cut_make(struct scout_cut *cut, uint64_t bytes, size_t part_size, size_t window,
		    bool uneven)
{
	uint64_t unit = window / WINDOW_UNITS;

	if (unit < FETCH_MIN)
		unit = FETCH_MIN;
	if (unit > part_size)
		unit = part_size;
	unit = unit / SCOUT_BUF_BYTES * SCOUT_BUF_BYTES;
	if (unit == 0)
		unit = SCOUT_BUF_BYTES;
	if (unit > SCOUT_FETCH_BLOCKS * SCOUT_BUF_BYTES)
		unit = SCOUT_FETCH_BLOCKS * SCOUT_BUF_BYTES;
	*cut = (struct scout_cut){
	    .bytes = bytes,
	    .unit = unit,
	    .window = window,
	    .whole = bytes <= WHOLE_BYTES && bytes <= window,
	};
	if (cut->whole && bytes > 0 && split(bytes) < unit)
		cut->unit = split(bytes);
	cut->growing = uneven && cut->whole && bytes > 0 && count_fetches(cut) > FETCHES_FEW &&
		       count_fetches(cut) <= FETCHES_MAX;
}

/* Where the first k of n fetches end, of which the last is twice as long as the first: in blocks. */
static uint64_t growing_end(uint64_t blocks, uint64_t n, uint64_t k)
{
	uint64_t all = 3 * n * (n - 1);

	return (blocks * k * (2 * (n - 1) + k - 1) + all / 2) / all;
}

uint64_t scout_cut_end(const struct scout_cut *cut, uint64_t from)
{
	uint64_t blocks = (cut->bytes - 1) / SCOUT_BUF_BYTES + 1, n = count_fetches(cut), end = 0;

	if (!cut->growing)
		return (from / cut->unit + 1) * cut->unit;
	for (uint64_t k = 1; end <= from; k++)
		end = growing_end(blocks, n, k) * SCOUT_BUF_BYTES;
	return end;
}

static void follow(struct scout_run *run, uint64_t offset, size_t size)
{
	uint64_t slack = size >= READ_BULK ? SCOUT_READ_MAX : 0;
	uint64_t end = offset + size;
	bool start = offset == 0 && size >= READ_BULK;

	if (run->begun ? offset <= run->high + slack && end > run->high : offset == 0) {
		run->goes_on = run->begun;
		run->from_start |= offset == 0;
		run->bytes += size;
		run->high = end;
	} else if (!run->begun || end > run->high || end + 2 * SCOUT_READ_MAX < run->high) {
		*run = (struct scout_run){.high = end, .from_start = start};
	} else if (start && !run->from_start) {
		/* the start, which came behind those after it */
		run->from_start = true;
		run->bytes += size;
	}
	run->begun = true;
}

/* Up to where the run's reader should find what it reads next. */
static uint64_t reach(const struct scout_run *run, const struct scout_cut *cut)
{
	uint64_t end = run->high + run->window;
	uint64_t step = run->window < 2 * cut->unit ? MIB : cut->unit;

	if (run->window == 0)
		end = round_up(run->high, FIRST_BYTES);
	else if (end < cut->bytes)
		end = cut->growing ? scout_cut_end(cut, end) : end / step * step;
	return end < cut->bytes ? end : cut->bytes;
}

/* Opens the window when it is time, or widens it. */
static void widen(struct scout_run *run, const struct scout_cut *cut)
{
	uint64_t window = run->bytes * (run->from_start ? GROWTH_FROM_START : GROWTH);

	if (run->goes_on && run->bytes >= OPEN_BYTES)
		run->window = window < cut->window ? window : cut->window;
}

uint64_t scout_run_note(struct scout_run *run, const struct scout_cut *cut, uint64_t offset,
			size_t size)
{
	bool tiny = cut->bytes <= FIRST_BYTES && offset == 0;
	uint64_t target;

	follow(run, offset, size);
	if (run->bytes < READ_BULK && !tiny)
		return 0;
	widen(run, cut);
	target = reach(run, cut);
	return target > run->ahead ? target : 0;
}

void scout_run_stop(struct scout_run *run)
{
	*run = (struct scout_run){
	    .high = run->high, .begun = run->begun, .from_start = run->from_start};
}

bool scout_run_wants(const struct scout_run *run, uint64_t from, uint64_t end)
{
	return from < run->ahead && end + 2 * SCOUT_READ_MAX > run->high;
}
