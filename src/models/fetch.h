/* Fetches: one ranged GET each, into a run of blocks. */
#ifndef MODELS_FETCH_H
#define MODELS_FETCH_H

#include "models/block.h"
#include "models/cache.h"

struct scout_first;

/* Only for fetch.c, first.c, and the disk cache, which fills some in S3's stead. */
struct scout_fetch {
	struct scout_s3_call call;
	struct scout_models *m;
	struct scout_object *object; /* one reference; NULL while it is a first's */
	uint64_t got;                /* bytes received */
	int err;                     /* why it was given up here, or 0 */
	bool look;                   /* the disk cache's: what is there is not known yet */
	bool guessed;                /* asked for before its object's version was known */
	struct scout_first *first;   /* whose it is until its object is known, or NULL */
	size_t nblocks;
	TAILQ_ENTRY(scout_fetch) link;
	struct scout_block *blocks[]; /* NULL when no longer the fetch's */
};
TAILQ_HEAD(scout_fetch_list, scout_fetch);

/* Makes fetches (onto list) and blocks for what is missing of blocks [from, to), as far as the
 * *nbufs buffers go, of which it takes those that it uses. o->lock is held. */
void scout_fetch_cover_locked(struct scout_models *m, struct scout_object *o, uint64_t from,
			      uint64_t to, void **bufs, size_t *nbufs,
			      struct scout_fetch_list *list);
/* How many more blocks may be ahead of o's readers; o->lock is held. */
size_t scout_fetch_room_locked(struct scout_models *m, const struct scout_object *o);
/* Likewise of an object of which none is yet. */
size_t scout_fetch_room(struct scout_models *m);
/* How many of the blocks [from, to) are missing; o->lock is held. */
size_t scout_fetch_missing_locked(struct scout_object *o, uint64_t from, uint64_t to);

/* f, a first's, becomes a fetch of o's first blocks, of which none is here: of those of the *nbufs buffers that it
 * fills, and what came lies in. False: no memory, f is as it was. o->lock is held; on the engine's thread. */
bool scout_fetch_join_locked(struct scout_fetch *f, struct scout_object *o, void **bufs,
			     size_t *nbufs);
/* What a fetch's call does with its bytes and at its end. */
bool scout_fetch_take(struct scout_s3_call *call, const void *bytes, size_t len);
void scout_fetch_done(struct scout_s3_call *call, int err);

/* Sends them; no lock held. */
void scout_fetch_submit(struct scout_models *m, struct scout_fetch_list *list);

/* Spare buffers, at most want, if need be those of used blocks, so that the cache stays within the
 * share; no lock held. */
size_t scout_fetch_spare(struct scout_models *m, void **bufs, size_t want);
void scout_fetch_give_back(struct scout_models *m, void **bufs, size_t nbufs);

/* Fetches what is missing of the bytes [from, to), unit by unit, as far as spare memory goes.
 * Returns the offset reached. No lock held; one thread at a time for each object (o->planning). */
uint64_t scout_fetch_ahead(struct scout_models *m, struct scout_object *o, uint64_t from,
			   uint64_t to);

#endif
