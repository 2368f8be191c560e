/* Cached blocks: who looks at them, and which one goes when memory is asked for.
 *
 * A block is reclaimable when it is ready and not pinned; then, and only then, it stands in one of
 * two lists, least recently used first: used blocks, and fresh ones that were fetched ahead and not
 * read yet. Read-ahead may push out used blocks only, so that readers who fetch ahead do not undo
 * each other's work; a read that waits may take both.
 *
 * An evictor finds the block under m->lru_lock, but may look at its pins only under object->lock,
 * which comes before: it takes the block off its list, marks it, and decides with both held. A block
 * that is marked is freed by nobody else, and its reference keeps the object. */
#include "models/block.h"

#include <assert.h>
#include <stdlib.h>

void scout_block_init(struct scout_models *m)
{
	scout_mutex_init(&m->lru_lock, SCOUT_LOCK_LRU);
	TAILQ_INIT(&m->used_blocks);
	TAILQ_INIT(&m->fresh_blocks);
	scout_mutex_init(&m->objects_lock, SCOUT_LOCK_OBJECTS);
}

void scout_block_destroy(struct scout_models *m)
{
	while (scout_block_evict(m, false))
		;
	assert(!m->objects && m->nblocks == 0);
	scout_mutex_destroy(&m->lru_lock);
	scout_mutex_destroy(&m->objects_lock);
}

static struct scout_block_list *list_of(struct scout_models *m, const struct scout_block *b)
{
	return b->used ? &m->used_blocks : &m->fresh_blocks;
}

struct scout_block *scout_block_find_locked(struct scout_object *o, uint64_t index)
{
	struct scout_block *b;

	HASH_FIND(hh, o->blocks, &index, sizeof(index), b);
	return b;
}

struct scout_block *scout_block_add_locked(struct scout_models *m, struct scout_object *o,
					   uint64_t index, void *buf)
{
	uint64_t left = o->cut.bytes - index * SCOUT_BUF_BYTES;
	struct scout_block *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->object = o;
	b->index = index;
	b->buf = buf;
	b->bytes = (uint32_t)(left < SCOUT_BUF_BYTES ? left : SCOUT_BUF_BYTES);
	HASH_ADD(hh, o->blocks, index, sizeof(b->index), b);
	if (!b->hh.tbl) {
		free(b);
		return NULL;
	}
	b->ahead = true;
	if (o->ahead++ == 0)
		atomic_fetch_add(&m->aheads, 1);
	scout_object_ref(o);
	atomic_fetch_add(&m->nblocks, 1);
	return b;
}

/* A reader has it, or none will. */
static void arrive_locked(struct scout_models *m, struct scout_block *b)
{
	if (b->ahead && --b->object->ahead == 0)
		atomic_fetch_sub(&m->aheads, 1);
	b->ahead = false;
}

/* In the list of those that may go, unless an evictor has it in hand. */
static void offer(struct scout_models *m, struct scout_block *b, bool used)
{
	scout_lock(&m->lru_lock);
	b->used |= used;
	if (!b->evicting) {
		TAILQ_INSERT_TAIL(list_of(m, b), b, lru);
		b->listed = true;
	}
	scout_unlock(&m->lru_lock);
}

static void unlist(struct scout_models *m, struct scout_block *b)
{
	scout_lock(&m->lru_lock);
	if (b->listed)
		TAILQ_REMOVE(list_of(m, b), b, lru);
	b->listed = false;
	scout_unlock(&m->lru_lock);
}

/* A reader had it, and somebody else holds it still. */
static void mark_used(struct scout_models *m, struct scout_block *b)
{
	scout_lock(&m->lru_lock);
	b->used = true;
	scout_unlock(&m->lru_lock);
}

void scout_block_pin_locked(struct scout_models *m, struct scout_block *b)
{
	arrive_locked(m, b);
	if (b->pins++ == 0 && b->state == SCOUT_BLOCK_READY)
		unlist(m, b);
}

bool scout_block_unpin_locked(struct scout_models *m, struct scout_block *b)
{
	assert(b->pins > 0);
	if (--b->pins > 0) {
		mark_used(m, b);
		return false;
	}
	if (b->state == SCOUT_BLOCK_READY)
		offer(m, b, true);
	return b->state == SCOUT_BLOCK_FAILED;
}

void scout_block_hold_locked(struct scout_models *m, struct scout_block *b)
{
	assert(b->state == SCOUT_BLOCK_READY);
	if (b->pins++ == 0)
		unlist(m, b);
}

void scout_block_release_locked(struct scout_models *m, struct scout_block *b)
{
	assert(b->pins > 0 && b->state == SCOUT_BLOCK_READY);
	if (--b->pins == 0)
		offer(m, b, false);
}

void scout_block_ready_locked(struct scout_models *m, struct scout_block *b)
{
	b->state = SCOUT_BLOCK_READY;
	if (b->pins == 0)
		offer(m, b, false);
	scout_verify_ready_locked(m, b);
	scout_cache_ready_locked(m, b);
}

bool scout_block_fail_locked(struct scout_models *m, struct scout_block *b, int err)
{
	assert(b->state == SCOUT_BLOCK_FILLING);
	arrive_locked(m, b);
	HASH_DEL(b->object->blocks, b);
	b->state = SCOUT_BLOCK_FAILED;
	b->err = err;
	return b->pins == 0;
}

void scout_block_free(struct scout_models *m, struct scout_block *b)
{
	struct scout_object *o = b->object;
	void *buf = b->buf;

	free(b);
	atomic_fetch_sub(&m->nblocks, 1);
	scout_object_unref(m, o);
	scout_buf_put(m->share, buf);
}

void scout_block_unwanted_locked(struct scout_models *m, struct scout_object *o, uint64_t from,
				 uint64_t end)
{
	struct scout_block *b, *next;

	scout_lock(&m->lru_lock);
	HASH_ITER (hh, o->blocks, b, next) {
		uint64_t at = b->index * SCOUT_BUF_BYTES;

		if (!b->ahead || at + SCOUT_BUF_BYTES <= from || at >= end)
			continue;
		arrive_locked(m, b);
		if (b->listed)
			TAILQ_REMOVE(list_of(m, b), b, lru);
		b->used = true;
		if (b->listed)
			TAILQ_INSERT_TAIL(&m->used_blocks, b, lru);
	}
	scout_unlock(&m->lru_lock);
}

static struct scout_block *oldest(struct scout_models *m, bool used_only)
{
	struct scout_block *b;

	scout_lock(&m->lru_lock);
	b = TAILQ_FIRST(&m->used_blocks);
	if (!b && !used_only)
		b = TAILQ_FIRST(&m->fresh_blocks);
	if (b) {
		TAILQ_REMOVE(list_of(m, b), b, lru);
		b->listed = false;
		b->evicting = true;
	}
	scout_unlock(&m->lru_lock);
	return b;
}

bool scout_block_evict(struct scout_models *m, bool used_only)
{
	struct scout_block *b;
	bool gone = false;

	while (!gone && (b = oldest(m, used_only))) {
		struct scout_object *o = b->object;

		scout_lock(&o->lock);
		gone = b->pins == 0;
		if (gone) {
			HASH_DEL(o->blocks, b);
			arrive_locked(m, b);
		} else {
			/* pinned meanwhile: its last unpin lists it again */
			scout_lock(&m->lru_lock);
			b->evicting = false;
			scout_unlock(&m->lru_lock);
		}
		scout_unlock(&o->lock);
		if (gone) {
			scout_count(&m->counters.block_evictions, 1);
			scout_block_free(m, b);
		}
	}
	return gone;
}
