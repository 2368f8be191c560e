/* Inflating from anywhere. Deflate can only be read from its begin, or from between two of its blocks for
 * who has the 32 KiB before: so these are kept every few MiB as a stream goes by, and a read that jumps
 * goes on from the last such point before it. After Mark Adler's zran, an example of zlib's.
 *
 * Each point knows the CRC of all before it, so that every stream that reaches the end can tell whether
 * the whole member is right, wherever it was opened. No lock: a member's streams and points belong to
 * whoever inflates it now. */
#include "models/zip_inflate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 128 /* 4 MiB of windows */
#define SPACING ((uint64_t)2 * 1024 * 1024)

void scout_zip_points_destroy(struct scout_zip_points *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->all[i]);
	free(p->all);
	*p = (struct scout_zip_points){.count = 0};
}

static void thin(struct scout_zip_points *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->count; i++) {
		if (i % 2 == 0)
			free(p->all[i]);
		else
			p->all[kept++] = p->all[i];
	}
	p->count = kept;
	p->spacing *= 2;
}

/* s is between two blocks. Without memory there is no point here, and reads are slower. */
static void note(struct scout_zip_stream *s, struct scout_zip_points *p)
{
	uint64_t last = p->count ? p->all[p->count - 1]->out : 0;
	struct scout_zip_point *point;
	uInt len = 0;

	if (p->spacing == 0)
		p->spacing = SPACING;
	if (s->out < last + p->spacing)
		return;
	if (p->count == POINTS_MAX) {
		thin(p);
		return;
	}
	if (!p->all)
		p->all = calloc(POINTS_MAX, sizeof(struct scout_zip_point *));
	point = p->all ? malloc(sizeof(*point)) : NULL;
	if (!point || inflateGetDictionary(&s->z, point->window, &len) != Z_OK) {
		free(point);
		return;
	}
	point->in = s->in;
	point->out = s->out;
	point->crc = s->crc;
	point->window_len = (uint16_t)len;
	point->bits = s->z.data_type & 7;
	point->byte = s->z.next_in[-1];
	p->all[p->count++] = point;
}

static const struct scout_zip_point *find(const struct scout_zip_points *p, uint64_t out)
{
	const struct scout_zip_point *best = NULL;

	for (size_t i = 0; i < p->count && p->all[i]->out <= out; i++)
		best = p->all[i];
	return best;
}

uint64_t scout_zip_points_before(const struct scout_zip_points *p, uint64_t out)
{
	const struct scout_zip_point *point = find(p, out);

	return point ? point->out : 0;
}

int scout_zip_stream_open(struct scout_zip_stream *s, const struct scout_zip_points *p,
			  uint64_t out)
{
	const struct scout_zip_point *point = find(p, out);

	if (s->open ? inflateReset2(&s->z, -MAX_WBITS) != Z_OK
		    : inflateInit2(&s->z, -MAX_WBITS) != Z_OK)
		return -ENOMEM;
	s->open = true;
	s->ended = false;
	s->in = s->out = s->crc = 0;
	if (!point)
		return 0;
	if ((point->bits > 0 &&
	     inflatePrime(&s->z, point->bits, point->byte >> (8 - point->bits)) != Z_OK) ||
	    inflateSetDictionary(&s->z, point->window, point->window_len) != Z_OK)
		return -ENOMEM;
	s->in = point->in;
	s->out = point->out;
	s->crc = point->crc;
	return 0;
}

void scout_zip_stream_close(struct scout_zip_stream *s)
{
	if (s->open)
		(void)inflateEnd(&s->z); /* of a stream that is one */
	s->open = false;
}

/* One call of inflate, to the end of a block at most. */
static int advance(struct scout_zip_stream *s, const uint8_t *to)
{
	const uint8_t *from = s->z.next_in;
	int state = inflate(&s->z, Z_BLOCK);
	size_t made = (size_t)(s->z.next_out - to);

	s->in += (uint64_t)(s->z.next_in - from);
	s->out += made;
	s->crc = (uint32_t)crc32_z(s->crc, to, made);
	s->ended = state == Z_STREAM_END;
	if (state == Z_MEM_ERROR)
		return -ENOMEM;
	return state == Z_OK || state == Z_STREAM_END || state == Z_BUF_ERROR ? 0 : -EIO;
}

int scout_zip_stream_run(struct scout_zip_stream *s, struct scout_zip_points *p,
			 const uint8_t *bytes, size_t len, uint8_t *to, size_t room)
{
	int err = 0;

	s->z.next_in = (Bytef *)(uintptr_t)bytes;
	s->z.avail_in = (uInt)len;
	s->z.next_out = to;
	s->z.avail_out = (uInt)room;
	while (err == 0 && !s->ended) {
		uInt in = s->z.avail_in, out = s->z.avail_out;

		err = advance(s, s->z.next_out);
		/* bit 7: between blocks; bit 6: the last one is over */
		if (err == 0 && (s->z.data_type & 0xc0) == 0x80 && s->in > 0 && in > s->z.avail_in)
			note(s, p);
		if (in == s->z.avail_in && out == s->z.avail_out)
			break; /* one of them is used up */
	}
	return err;
}
