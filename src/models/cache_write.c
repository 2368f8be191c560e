/* What goes to the disk: blocks that S3 sent, one after the other, as they become ready; and what has to go
 * from there, for its bytes were wrong or for room.
 *
 * A block that waits is held, so it can be written from where it is; its hold ends whatever comes of
 * it. Room is made before it is needed.
 *
 * What others write is seen when we count again: the sooner the more of us write, so that what all others may
 * have written since is no more than what stays free. And before the next block when one came or went,
 * for who went may have left as much as he might write. A block is the least that each may, so there are
 * only so many who write; whoever comes then reads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/cache.h"
#include "models/cache_inside.h"
#include "models/cache_writers.h"
#include "scoutfs/clock.h"

/* Parts of cache_size: what stays free, and how much is made free at a time. */
#define FREE_DIVISOR 16
#define MADE_DIVISOR 8
#define PAGE ((uint64_t)4096)
#define SEGMENT_BYTES (SCOUT_SEGMENT_BLOCKS * SCOUT_BUF_BYTES)
#define WRITTEN_MAX (SCOUT_BUF_BYTES + PAGE) /* of one block */
/* So often the files of what is used are told. */
#define USED_NS (60 * SCOUT_NS_PER_S)
/* Objects that wait for that; of more, on a disk that hangs, it is not noted. */
#define USES_MAX 4096

/* ---- what others ask for ---- */

/* A place in the queue. */
static bool enter(struct scout_cache *c, struct scout_block *b)
{
	bool taken;

	scout_lock(&c->lock);
	if (c->nwrites >= c->writes_max)
		c->choked = true;
	else if (c->nwrites <= c->writes_max / 2)
		c->choked = false; /* not one by one: holes on the disk cost requests later */
	taken = !c->stop && !c->choked;
	if (taken) {
		TAILQ_INSERT_TAIL(&c->writes, b, cache_link);
		c->nwrites++;
		pthread_cond_signal(&c->wake_writer);
	}
	scout_unlock(&c->lock);
	return taken;
}

void scout_cache_ready_locked(struct scout_models *m, struct scout_block *b)
{
	struct scout_cache *c = m->cache;
	struct scout_object *o = b->object;

	if (!c || !o->cached.able || atomic_load(&c->off) || atomic_load(&o->cached.wrong) ||
	    scout_cache_has_locked(o, b->index))
		return;
	scout_object_ref(o);
	scout_block_hold_locked(m, b);
	if (enter(c, b))
		return;
	scout_count(&c->skipped, 1);
	scout_block_release_locked(m, b);
	scout_object_unref(m, o); /* not the last one: b has another */
}

void scout_cache_used_locked(struct scout_models *m, struct scout_object *o, uint64_t now_ns)
{
	struct scout_cache *c = m->cache;

	if (!c || !o->cached.able || (o->cached.used_ns && now_ns - o->cached.used_ns < USED_NS))
		return;
	o->cached.used_ns = now_ns;
	scout_lock(&c->lock);
	if (!c->stop && !o->cached.in_use && c->nuses < USES_MAX) {
		c->nuses++;
		o->cached.in_use = true;
		scout_object_ref(o);
		TAILQ_INSERT_TAIL(&c->uses, o, cached.use);
		pthread_cond_signal(&c->wake_writer);
	}
	scout_unlock(&c->lock);
}

void scout_cache_forget(struct scout_models *m, struct scout_object *o)
{
	struct scout_cache *c = m->cache;

	if (!c || !o->cached.able || atomic_exchange(&o->cached.wrong, true))
		return;
	scout_object_ref(o);
	scout_lock(&c->lock);
	TAILQ_INSERT_TAIL(&c->removals, o, cached.removal);
	pthread_cond_signal(&c->wake_writer);
	scout_unlock(&c->lock);
}

bool scout_cache_is_doomed(struct scout_cache *c, const struct scout_object *o)
{
	const struct scout_object *other;
	bool found = false;

	scout_lock(&c->lock);
	TAILQ_FOREACH (other, &c->removals, cached.removal)
		found |= memcmp(other->cached.id.key, o->cached.id.key, SCOUT_CACHE_KEY) == 0;
	scout_unlock(&c->lock);
	return found;
}

/* ---- the writer ---- */

/* Whether the end of the mount waits no longer. */
static bool is_late(struct scout_cache *c)
{
	bool late;

	scout_lock(&c->lock);
	late = c->stop && scout_now_ns() >= c->stop_ns;
	scout_unlock(&c->lock);
	return late;
}

void scout_cache_touch(struct scout_cache *c, struct scout_object *o)
{
	for (uint64_t i = 0; i * SEGMENT_BYTES < o->cut.bytes && !is_late(c); i++)
		scout_segment_touch(c->dir, &o->cached.id, i);
	scout_object_unref(c->m, o);
}

void scout_cache_remove(struct scout_cache *c, struct scout_object *o)
{
	char name[SCOUT_CACHE_NAME_MAX];

	for (uint64_t i = 0; i * SEGMENT_BYTES < o->cut.bytes && !is_late(c); i++) {
		scout_segment_name(&o->cached.id, i, name);
		/* most are not there; one that stays would be believed again */
		if (unlinkat(c->dir, name, 0) < 0 && errno != ENOENT) {
			atomic_store(&c->distrusted, true);
			scout_cache_off(c, -errno);
		}
	}
	scout_lock(&c->lock);
	TAILQ_REMOVE(&c->removals, o, cached.removal);
	scout_unlock(&c->lock);
	scout_object_unref(c->m, o);
}

static void set_usage(struct scout_cache *c, uint64_t bytes)
{
	c->usage.bytes = bytes;
	atomic_store(&c->usage_bytes, bytes);
}

static int count(struct scout_cache *c)
{
	int err = scout_cache_measure(c->dir, &c->usage);

	if (err == 0) {
		set_usage(c, c->usage.bytes);
		c->measured = true;
		c->unmeasured = 0;
	}
	return err;
}

/* Sees who else writes, and is one of them. Returns 0; -EAGAIN: there are enough; or -errno. */
static int join(struct scout_cache *c)
{
	uint64_t max = 1 + c->m->config->cache_size / FREE_DIVISOR / WRITTEN_MAX;
	int others = c->joined >= 0 ? scout_cache_writers_others(c->joined) : -ESTALE;

	if (others == -ESTALE) {
		scout_cache_end_writing(c);
		c->joined = scout_cache_writers_join(c->dir, (unsigned)max);
		c->measured = false;
		others = c->joined >= 0 ? scout_cache_writers_others(c->joined) : c->joined;
	}
	if (others < 0)
		return others;
	if (others != c->others)
		c->measured = false;
	c->others = others;
	return 0;
}

/* Returns 0; -EAGAIN: another mount is making room; or -errno. */
static int make_room(struct scout_cache *c, uint64_t bytes)
{
	uint64_t size = c->m->config->cache_size;
	uint64_t ours = size / FREE_DIVISOR / (c->others > 2 ? (unsigned)c->others : 2);
	struct scout_cache_usage most = {
	    .bytes = size - size / MADE_DIVISOR,
	    .files = SCOUT_SEGMENTS_MAX - SCOUT_SEGMENTS_MAX / MADE_DIVISOR,
	};
	size_t removed;
	int err = 0;

	if (!c->measured || c->unmeasured + bytes > ours)
		err = count(c);
	if (err < 0 || (c->usage.bytes + bytes <= size - size / FREE_DIVISOR &&
			c->usage.files < SCOUT_SEGMENTS_MAX))
		return err;
	err = scout_cache_shrink(c->dir, &most, &c->usage, &removed);
	scout_count(&c->evictions, removed);
	if (err == -EAGAIN)
		return err; /* asked again without counting */
	c->measured = err == 0;
	c->unmeasured = 0;
	if (err == 0)
		set_usage(c, c->usage.bytes);
	return err;
}

void scout_cache_begin_writing(struct scout_cache *c)
{
	int err = make_room(c, 0); /* it may have been made smaller */

	if (err < 0 && err != -EAGAIN)
		scout_cache_off(c, err);
}

void scout_cache_end_writing(struct scout_cache *c)
{
	if (c->joined >= 0)
		close(c->joined);
	c->joined = -1;
}

static int write_block(struct scout_cache *c, const struct scout_block *b)
{
	uint64_t bytes = (b->bytes + PAGE - 1) / PAGE * PAGE + PAGE; /* and perhaps a head */
	struct scout_segment s;
	int err = join(c);

	if (err == 0)
		err = make_room(c, bytes);
	if (err == 0)
		err = scout_segment_open(c->dir, &b->object->cached.id,
					 b->index / SCOUT_SEGMENT_BLOCKS, true, &s);
	if (err < 0)
		return err;
	c->usage.files += s.made;
	set_usage(c, c->usage.bytes + bytes);
	c->unmeasured += bytes;
	err = scout_segment_write(&s, b->index % SCOUT_SEGMENT_BLOCKS, b->buf, b->bytes);
	scout_segment_close(&s);
	return err;
}

/* Of the moment, and not of the disk. */
static bool will_pass(int err)
{
	return err == -EAGAIN || err == -ESTALE || err == -EMFILE || err == -ENFILE ||
	       err == -ENOMEM || err == -EBADMSG || err == -EISDIR || err == -ELOOP;
}

/* Whether b is still to be written; it is no longer in the queue. */
static bool leave(struct scout_cache *c, const struct scout_block *b)
{
	scout_lock(&c->lock);
	c->nwrites--;
	scout_unlock(&c->lock);
	return !is_late(c) && !atomic_load(&c->off) && !atomic_load(&b->object->cached.wrong);
}

void scout_cache_write_turn(struct scout_cache *c, struct scout_block *b)
{
	struct scout_object *o = b->object;
	bool wanted = leave(c, b);
	int err = wanted ? write_block(c, b) : -ECANCELED;

	if (err == 0)
		scout_count(&c->written, 1);
	else
		scout_count(&c->skipped, 1);
	if (wanted && err < 0 && !will_pass(err))
		scout_cache_off(c, err);
	scout_lock(&o->lock);
	if (err == 0 && o->cached.segments)
		o->cached.segments[b->index / SCOUT_SEGMENT_BLOCKS].there |=
		    UINT64_C(1) << b->index % SCOUT_SEGMENT_BLOCKS;
	scout_block_release_locked(c->m, b);
	scout_unlock(&o->lock);
	scout_budget_poke(c->m->budget);
	scout_object_unref(c->m, o);
}
