/* The kernel reads ahead with several requests at once, which end in any order, and readers go where they
 * like: so the CRC of what is read from end to end is put together from spans. Pure; the caller locks. */
#include "models/zip_sum.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SPANS_MIN 8

void scout_zip_sum_destroy(struct scout_zip_sum *s)
{
	free(s->spans);
	*s = (struct scout_zip_sum){.count = 0};
}

static void end(struct scout_zip_sum *s)
{
	scout_zip_sum_destroy(s);
	s->over = true;
}

/* The first span that does not end at or before from. */
static size_t find(const struct scout_zip_sum *s, uint64_t from)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->spans[mid].to <= from)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool scout_zip_sum_wants(const struct scout_zip_sum *s, uint64_t *from, uint64_t *to)
{
	size_t at = find(s, *from);

	if (s->over)
		return false;
	if (at < s->count && s->spans[at].from <= *from)
		*from = s->spans[at++].to; /* none touches the next */
	if (at < s->count && s->spans[at].from < *to)
		*to = s->spans[at].from;
	return *from < *to;
}

static bool insert(struct scout_zip_sum *s, size_t at, const struct scout_zip_span *span)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : SPANS_MIN;
		struct scout_zip_span *more = NULL;

		if (cap <= SCOUT_ZIP_SPANS_MAX)
			more = realloc(s->spans, cap * sizeof(*more));
		if (!more)
			return false;
		s->spans = more;
		s->cap = cap;
	}
	memmove(&s->spans[at + 1], &s->spans[at], (s->count - at) * sizeof(s->spans[0]));
	s->spans[at] = *span;
	s->count++;
	return true;
}

/* The span at and the next one are one. */
static void join(struct scout_zip_sum *s, size_t at)
{
	uint64_t len = s->spans[at + 1].to - s->spans[at + 1].from;

	s->spans[at].crc =
	    (uint32_t)crc32_combine64(s->spans[at].crc, s->spans[at + 1].crc, (z_off64_t)len);
	s->spans[at].to = s->spans[at + 1].to;
	s->count--;
	memmove(&s->spans[at + 1], &s->spans[at + 2], (s->count - at - 1) * sizeof(s->spans[0]));
}

enum scout_zip_sum_state scout_zip_sum_add(struct scout_zip_sum *s, uint64_t from, uint64_t to,
					   uint32_t crc, uint64_t bytes, uint32_t *ret)
{
	struct scout_zip_span span = {.from = from, .to = to, .crc = crc};
	size_t at = find(s, from);

	if (s->over || (at < s->count && s->spans[at].from < to))
		return SCOUT_ZIP_SUM_PART;
	if (!insert(s, at, &span)) {
		end(s);
		return SCOUT_ZIP_SUM_LOST;
	}
	if (at + 1 < s->count && s->spans[at + 1].from == to)
		join(s, at);
	if (at > 0 && s->spans[at - 1].to == from)
		join(s, at - 1);
	if (s->count != 1 || s->spans[0].from != 0 || s->spans[0].to != bytes)
		return SCOUT_ZIP_SUM_PART;
	*ret = s->spans[0].crc;
	end(s);
	return SCOUT_ZIP_SUM_WHOLE;
}
