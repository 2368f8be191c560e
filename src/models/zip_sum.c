/* The kernel reads ahead with several requests at once, which end in any order: so the CRC of a file that
 * is read from end to end is put together from spans. Pure; the caller locks. */
#include "models/zip_sum.h"

#include <string.h>
#include <zlib.h>

static void insert(struct scout_zip_sum *s, size_t at, uint64_t from, uint64_t to, uint32_t crc)
{
	if (s->count == SCOUT_ZIP_SPANS) {
		s->over = true;
		return;
	}
	memmove(&s->spans[at + 1], &s->spans[at], (s->count - at) * sizeof(s->spans[0]));
	s->spans[at].from = from;
	s->spans[at].to = to;
	s->spans[at].crc = crc;
	s->count++;
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

bool scout_zip_sum_add(struct scout_zip_sum *s, uint64_t from, uint64_t to, uint32_t crc,
		       uint64_t bytes, uint32_t *ret)
{
	size_t at = 0;

	while (at < s->count && s->spans[at].to <= from)
		at++;
	if (at < s->count && s->spans[at].from <= from && to <= s->spans[at].to)
		return false; /* read once more */
	if (at < s->count && s->spans[at].from < to)
		s->over = true;
	if (s->over)
		return false;
	insert(s, at, from, to, crc);
	if (s->over)
		return false;
	if (at + 1 < s->count && s->spans[at + 1].from == to)
		join(s, at);
	if (at > 0 && s->spans[at - 1].to == from)
		join(s, at - 1);
	if (s->count != 1 || s->spans[0].from != 0 || s->spans[0].to != bytes)
		return false;
	*ret = s->spans[0].crc;
	s->over = true;
	return true;
}
