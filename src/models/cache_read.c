/* From where a fetch's blocks come. What is known of the object's segments decides: what is on the disk is
 * read by the cache's reader, the rest is one GET or several, sent at once. Where the disk was not looked at
 * yet, or found without them more than a second ago (another mount may have written them since), the
 * reader looks first, which takes less time than a request does.
 *
 * What is known is a hint: each turn opens the file anew, and what it lacks by then, or has wrong, goes
 * to S3 like anything that was never there.
 *
 * A fetch belongs to one thread at a time: who sends it, the reader, S3's engine. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/cache.h"
#include "models/cache_inside.h"
#include "scoutfs/clock.h"

/* So long that blocks are not there is believed. */
#define LOOK_NS SCOUT_NS_PER_S
/* Blocks on the disk between others that are not are fetched with them, if they are so few: one GET of
 * some MiB costs less than two. */
#define GAP_BLOCKS 3
/* As much of a long fetch is read at a time, and the others come before the rest of it. */
#define TURN_BLOCKS 4

bool scout_cache_has_locked(const struct scout_object *o, uint64_t index)
{
	const struct scout_cached_segment *segments = o->cached.segments;

	return segments &&
	       (segments[index / SCOUT_SEGMENT_BLOCKS].there >> index % SCOUT_SEGMENT_BLOCKS & 1);
}

static uint64_t first_of(const struct scout_fetch *f)
{
	return f->call.offset / SCOUT_BUF_BYTES;
}

static bool has_locked(const struct scout_fetch *f, size_t i)
{
	return scout_cache_has_locked(f->object, first_of(f) + i);
}

static bool is_known_locked(const struct scout_fetch *f, size_t i, uint64_t now_ns)
{
	const struct scout_cached_segment *s = f->object->cached.segments;

	s = s ? &s[(first_of(f) + i) / SCOUT_SEGMENT_BLOCKS] : NULL;
	return s && s->looked_ns && (has_locked(f, i) || now_ns - s->looked_ns < LOOK_NS);
}

static bool all_known(struct scout_fetch *f)
{
	bool known = true;
	uint64_t now_ns;

	scout_lock(&f->object->lock);
	now_ns = scout_now_ns();
	for (size_t i = 0; known && i < f->nblocks; i++)
		known = is_known_locked(f, i, now_ns);
	scout_unlock(&f->object->lock);
	return known;
}

/* ---- dividing ---- */

/* How many of f's first blocks come from the same place, and whether that is the disk. */
static size_t run_locked(const struct scout_fetch *f, bool *disk)
{
	size_t n = 1;

	*disk = has_locked(f, 0);
	while (n < f->nblocks && has_locked(f, n) == *disk)
		n++;
	while (!*disk && n < f->nblocks) {
		size_t gap = n;

		while (gap < f->nblocks && has_locked(f, gap))
			gap++;
		if (gap == f->nblocks || gap - n > GAP_BLOCKS)
			break;
		for (n = gap; n < f->nblocks && !has_locked(f, n);)
			n++;
	}
	return n;
}

/* f's blocks from the nth on, as a fetch of their own; NULL: no memory. */
static struct scout_fetch *split_locked(struct scout_fetch *f, size_t n)
{
	struct scout_fetch *rest = malloc(sizeof(*f) + (f->nblocks - n) * sizeof(f->blocks[0]));
	uint64_t bytes = n * SCOUT_BUF_BYTES;

	if (!rest)
		return NULL;
	*rest = *f;
	rest->nblocks = f->nblocks - n;
	memcpy(rest->blocks, f->blocks + n, rest->nblocks * sizeof(f->blocks[0]));
	rest->call.offset += bytes;
	rest->call.length -= bytes;
	f->nblocks = n;
	f->call.length = bytes;
	scout_object_ref(f->object);
	f->object->fetches++;
	atomic_fetch_add(&f->m->fetches, 1);
	return rest;
}

/* f, of which some blocks are full, becomes one of the others. */
static void drop_full(struct scout_fetch *f)
{
	size_t full = (size_t)(f->got / SCOUT_BUF_BYTES);

	f->nblocks -= full;
	memmove(f->blocks, f->blocks + full, f->nblocks * sizeof(f->blocks[0]));
	f->call.offset += f->got;
	f->call.length -= f->got;
	f->got = 0;
}

static void divide(struct scout_models *m, struct scout_fetch *f)
{
	struct scout_object *o = f->object;
	struct scout_fetch *rest;
	bool disk;

	do {
		size_t n;

		scout_lock(&o->lock);
		n = run_locked(f, &disk);
		rest = n < f->nblocks ? split_locked(f, n) : NULL;
		disk &= f->nblocks == n;
		scout_unlock(&o->lock);
		f->look = false;
		if (!disk || !scout_cache_queue(m->cache, f, f->nblocks == 1)) {
			scout_count(&m->cache->misses, f->nblocks);
			scout_s3_submit(m->s3, &f->call);
		}
		f = rest;
	} while (f);
}

/* The reader's disk hangs: what waits behind it is S3's. */
void scout_cache_give_up(struct scout_models *m, struct scout_fetch_list *stuck)
{
	struct scout_fetch *f;

	while ((f = TAILQ_FIRST(stuck))) {
		TAILQ_REMOVE(stuck, f, link);
		f->look = false;
		drop_full(f);
		scout_count(&m->cache->misses, f->nblocks);
		scout_s3_submit(m->s3, &f->call);
	}
}

void scout_cache_send(struct scout_models *m, struct scout_fetch *f)
{
	struct scout_fetch_list stuck = TAILQ_HEAD_INITIALIZER(stuck);
	struct scout_cache *c = m->cache;

	if (c && scout_cache_reader_hangs(c, &stuck)) {
		TAILQ_INSERT_TAIL(&stuck, f, link);
		scout_cache_give_up(m, &stuck);
		return;
	}
	if (!c || !f->object->cached.able || atomic_load(&c->distrusted)) {
		scout_s3_submit(m->s3, &f->call);
		return;
	}
	if (!all_known(f)) {
		f->look = true;
		if (scout_cache_queue(c, f, true))
			return;
	}
	divide(m, f);
}

/* ---- the reader ---- */

static uint64_t look_at(struct scout_cache *c, struct scout_object *o, uint64_t number)
{
	struct scout_segment s;
	uint64_t there;

	if (scout_cache_is_doomed(c, o) ||
	    scout_segment_open(c->dir, &o->cached.id, number, false, &s) < 0)
		return 0;
	there = scout_segment_blocks(&s);
	scout_segment_close(&s);
	return there;
}

static void look(struct scout_cache *c, struct scout_fetch *f)
{
	struct scout_object *o = f->object;
	uint64_t from = first_of(f) / SCOUT_SEGMENT_BLOCKS;
	uint64_t to = (first_of(f) + f->nblocks - 1) / SCOUT_SEGMENT_BLOCKS;
	uint64_t bytes = SCOUT_SEGMENT_BLOCKS * SCOUT_BUF_BYTES;

	for (uint64_t number = from; number <= to; number++) {
		uint64_t there = look_at(c, o, number);

		scout_lock(&o->lock);
		if (!o->cached.segments)
			o->cached.segments =
			    calloc((o->cut.bytes + bytes - 1) / bytes, sizeof(*o->cached.segments));
		if (o->cached.segments)
			o->cached.segments[number] = (struct scout_cached_segment){
			    .there = there,
			    .looked_ns = scout_now_ns(),
			};
		scout_unlock(&o->lock);
	}
}

/* The block is not there after all, or its file is not. */
static void lose(struct scout_cache *c, struct scout_object *o, uint64_t index, int err)
{
	bool block = err == -EBADMSG || err == -EIO;
	struct scout_cached_segment *s;

	if (err == -EBADMSG)
		scout_count(&c->bad, 1);
	scout_lock(&o->lock);
	s = &o->cached.segments[index / SCOUT_SEGMENT_BLOCKS];
	s->there &= block ? ~(UINT64_C(1) << index % SCOUT_SEGMENT_BLOCKS) : 0;
	s->looked_ns = scout_now_ns();
	scout_unlock(&o->lock);
}

/* s is the segment of that block, of which ahead blocks will be read. */
static int turn_to(struct scout_cache *c, struct scout_object *o, uint64_t index, size_t ahead,
		   struct scout_segment *s)
{
	uint64_t number = index / SCOUT_SEGMENT_BLOCKS;
	unsigned at = index % SCOUT_SEGMENT_BLOCKS;
	int err;

	if (scout_cache_is_doomed(c, o))
		return -ENOENT;
	if (s->fd >= 0 && s->number == number)
		return 0;
	scout_segment_close(s);
	err = scout_segment_open(c->dir, &o->cached.id, number, false, s);
	if (err < 0) {
		s->fd = -1;
		return err;
	}
	if (ahead > SCOUT_SEGMENT_BLOCKS - at)
		ahead = SCOUT_SEGMENT_BLOCKS - at;
	scout_segment_will_read(s, at, (unsigned)ahead);
	return 0;
}

/* Fills f's next blocks. Returns 0; -ECANCELED: nobody wants more of it; or why the next one is not
 * there. */
static int fill(struct scout_cache *c, struct scout_fetch *f)
{
	struct scout_segment s = {.fd = -1};
	struct scout_object *o = f->object;
	size_t i = (size_t)(f->got / SCOUT_BUF_BYTES);
	size_t end = i + TURN_BLOCKS < f->nblocks ? i + TURN_BLOCKS : f->nblocks;
	int err = 0;

	f->call.object_bytes = o->cut.bytes; /* as S3's answer would say */
	for (; i < end && err == 0; i++) {
		struct scout_block *b = f->blocks[i];

		err = turn_to(c, o, first_of(f) + i, end - i, &s);
		if (err == 0)
			err = scout_segment_read(&s, (first_of(f) + i) % SCOUT_SEGMENT_BLOCKS,
						 b->buf, b->bytes);
		if (err < 0) {
			lose(c, o, first_of(f) + i, err);
			break;
		}
		scout_count(&c->hits, 1);
		if (!f->call.data(&f->call, b->buf, b->bytes))
			err = -ECANCELED;
	}
	scout_segment_close(&s);
	return err;
}

void scout_cache_read_turn(struct scout_cache *c, struct scout_fetch *f)
{
	struct scout_models *m = c->m;
	int err = -ENOENT;

	if (atomic_load(&m->stopped)) {
		f->call.done(&f->call, -ESHUTDOWN);
		return;
	}
	if (f->look) {
		look(c, f);
		divide(m, f);
		return;
	}
	if (!atomic_load(&c->distrusted))
		err = fill(c, f);
	if (err == -ECANCELED || f->got == f->call.length) {
		f->call.done(&f->call, err);
	} else if (err < 0 || !scout_cache_queue(c, f, false)) {
		drop_full(f);
		if (atomic_load(&c->distrusted))
			scout_s3_submit(m->s3, &f->call);
		else
			divide(m, f);
	}
}
