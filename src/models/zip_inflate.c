/* Inflating from anywhere. Deflate can only be read from its begin, or from between two of its blocks for
 * who has the 32 KiB before: so these are kept every few MiB as a stream goes by, and a read that jumps
 * goes on from the last such point before it. After Mark Adler's zran, an example of zlib's.
 *
 * Each point knows the CRC of all before it, so that every stream that reaches the end can tell whether
 * the whole member is right, wherever it was opened. A member's streams belong to whoever inflates it now;
 * its points may be taken by another's, under the pool's lock. */
#include "models/zip_inflate.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 128 /* 4 MiB of windows */
#define SPACING ((uint64_t)2 * 1024 * 1024)

void scout_zip_pool_init(struct scout_zip_pool *pool, size_t max)
{
	scout_mutex_init(&pool->lock, SCOUT_LOCK_LEAF);
	TAILQ_INIT(&pool->in_use);
	pool->count = 0;
	pool->max = max;
}

void scout_zip_pool_destroy(struct scout_zip_pool *pool)
{
	assert(TAILQ_EMPTY(&pool->in_use) && pool->count == 0);
	scout_mutex_destroy(&pool->lock);
}

size_t scout_zip_pool_bytes(struct scout_zip_pool *pool)
{
	size_t count;

	scout_lock(&pool->lock);
	count = pool->count;
	scout_unlock(&pool->lock);
	return count * sizeof(struct scout_zip_point);
}

static void lock(const struct scout_zip_points *p)
{
	if (p->pool)
		scout_lock(&p->pool->lock);
}

static void unlock(const struct scout_zip_points *p)
{
	if (p->pool)
		scout_unlock(&p->pool->lock);
}

/* p has count points from now on, and was used just now. */
static void set_count_locked(struct scout_zip_points *p, size_t count)
{
	struct scout_zip_pool *pool = p->pool;

	if (pool && p->count > 0)
		TAILQ_REMOVE(&pool->in_use, p, link);
	if (pool && count > 0)
		TAILQ_INSERT_TAIL(&pool->in_use, p, link);
	if (pool)
		pool->count += count - p->count;
	p->count = count;
}

static void forget_locked(struct scout_zip_points *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->all[i]);
	set_count_locked(p, 0);
}

void scout_zip_points_destroy(struct scout_zip_points *p)
{
	lock(p);
	forget_locked(p);
	unlock(p);
	free(p->all);
	p->all = NULL;
}

static void thin_locked(struct scout_zip_points *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->count; i++) {
		if (i % 2 == 0)
			free(p->all[i]);
		else
			p->all[kept++] = p->all[i];
	}
	set_count_locked(p, kept);
	p->spacing *= 2;
}

/* Whether there is to be a point of p at out: it is far enough behind the last one, and there is room. */
static bool has_room_locked(struct scout_zip_points *p, uint64_t out)
{
	uint64_t last = p->count ? p->all[p->count - 1]->out : 0;
	struct scout_zip_pool *pool = p->pool;

	if (p->spacing == 0)
		p->spacing = SPACING;
	if (out < last + p->spacing)
		return false;
	set_count_locked(p, p->count);
	if (p->count == POINTS_MAX ||
	    (pool && pool->count >= pool->max && pool->count == p->count)) {
		thin_locked(p);
		return false;
	}
	while (pool && pool->count >= pool->max)
		forget_locked(TAILQ_FIRST(&pool->in_use));
	if (!p->all)
		p->all = calloc(POINTS_MAX, sizeof(struct scout_zip_point *));
	return p->all != NULL;
}

/* s is between two blocks. Without memory there is no point here, and reads are slower. */
static void note_locked(struct scout_zip_stream *s, struct scout_zip_points *p)
{
	struct scout_zip_point *point;
	uInt len = 0;

	if (!has_room_locked(p, s->out))
		return;
	point = malloc(sizeof(*point));
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
	p->all[p->count] = point;
	set_count_locked(p, p->count + 1);
}

static void note(struct scout_zip_stream *s, struct scout_zip_points *p)
{
	lock(p);
	note_locked(s, p);
	unlock(p);
}

static const struct scout_zip_point *find_locked(const struct scout_zip_points *p, uint64_t out)
{
	const struct scout_zip_point *best = NULL;

	for (size_t i = 0; i < p->count && p->all[i]->out <= out; i++)
		best = p->all[i];
	return best;
}

uint64_t scout_zip_points_before(const struct scout_zip_points *p, uint64_t out)
{
	const struct scout_zip_point *point;
	uint64_t before;

	lock(p);
	point = find_locked(p, out);
	before = point ? point->out : 0;
	unlock(p);
	return before;
}

/* s, which is at the begin, goes on from point. False without memory. */
static bool go_to(struct scout_zip_stream *s, const struct scout_zip_point *point)
{
	if ((point->bits > 0 &&
	     inflatePrime(&s->z, point->bits, point->byte >> (8 - point->bits)) != Z_OK) ||
	    inflateSetDictionary(&s->z, point->window, point->window_len) != Z_OK)
		return false;
	s->in = point->in;
	s->out = point->out;
	s->crc = point->crc;
	return true;
}

int scout_zip_stream_open(struct scout_zip_stream *s, struct scout_zip_points *p, uint64_t out)
{
	const struct scout_zip_point *point;
	bool ok = s->open ? inflateReset2(&s->z, -MAX_WBITS) == Z_OK
			  : inflateInit2(&s->z, -MAX_WBITS) == Z_OK;

	s->open |= ok;
	s->ended = false;
	s->in = s->out = s->crc = 0;
	lock(p);
	point = find_locked(p, out);
	if (ok && point) {
		set_count_locked(p, p->count);
		ok = go_to(s, point);
	}
	unlock(p);
	if (ok)
		return 0;
	scout_zip_stream_close(s); /* some of the point's bits may be in it */
	return -ENOMEM;
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
