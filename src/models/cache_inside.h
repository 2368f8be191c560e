/* Inside the disk cache. Only for cache*.c. */
#ifndef MODELS_CACHE_INSIDE_H
#define MODELS_CACHE_INSIDE_H

#include <pthread.h>

#include "models/block.h"
#include "models/cache_size.h"
#include "models/fetch.h"

TAILQ_HEAD(scout_removals, scout_object);
TAILQ_HEAD(scout_uses, scout_object);

struct scout_cache {
	/* immutable */
	struct scout_models *m;
	int dir;
	size_t writes_max; /* blocks that may wait to be written */

	struct scout_mutex lock; /* SCOUT_LOCK_LEAF */
	pthread_cond_t wake_reader, wake_writer, wake_watcher, ended;
	/* under lock */
	bool stop_reader, stop;
	bool reading, writing;                /* the threads that have not ended */
	uint64_t turn_ns;                     /* when what the reader does began; 0: nothing */
	uint64_t stop_ns;                     /* what is not written by then is dropped */
	struct scout_fetch_list urgent, bulk; /* for the reader; by link */
	struct scout_block_list writes;       /* by cache_link, each with a hold and a reference */
	size_t nwrites;
	bool choked; /* none is taken until there are fewer */
	struct scout_removals
	    removals;           /* objects, each with a reference; the first may be at work */
	struct scout_uses uses; /* likewise, but for the one at work */
	unsigned nuses;

	atomic_int off;         /* 0, or why nothing goes to the disk any more */
	atomic_bool distrusted; /* nor comes from there: something wrong is there to stay */

	/* the writer's */
	struct scout_cache_usage usage; /* as far as we know: others write, too */
	bool measured;
	uint64_t unmeasured; /* bytes written since */
	int joined;          /* among those who write, by this descriptor; negative: not */
	int others;          /* who write, too */

	/* for who asks */
	_Atomic uint64_t usage_bytes;
	scout_counter hits, misses, written, skipped, evictions, bad;

	/* the owner's */
	pthread_t reader, writer, watcher;
	bool read_started, write_started, watch_started; /* and not joined */
	uint64_t patience_ns;                            /* with each of them, at the end */
};

/* Turns the cache off, once, with a line in the log. What is there is still served, unless it is distrusted. */
void scout_cache_off(struct scout_cache *c, int err);
/* Whether o's files are about to be removed: what they hold is not to be believed. */
bool scout_cache_is_doomed(struct scout_cache *c, const struct scout_object *o);
bool scout_cache_has_locked(const struct scout_object *o, uint64_t index); /* o->lock is held */

/* One thing to do, by the thread of that name; no lock held. */
void scout_cache_read_turn(struct scout_cache *c, struct scout_fetch *f);
void scout_cache_write_turn(struct scout_cache *c, struct scout_block *b);
void scout_cache_remove(struct scout_cache *c, struct scout_object *o);
void scout_cache_touch(struct scout_cache *c, struct scout_object *o);
/* How much is there; at the start of the writer. And that it writes no more; at its end. */
void scout_cache_begin_writing(struct scout_cache *c);
void scout_cache_end_writing(struct scout_cache *c);
/* f waits for the reader; false: it does not read any more. */
bool scout_cache_queue(struct scout_cache *c, struct scout_fetch *f, bool urgent);
/* Whether the reader has been at one thing for so long that its disk must hang; what waits for it is appended
 * to stuck then. */
bool scout_cache_reader_hangs(struct scout_cache *c, struct scout_fetch_list *stuck);
/* Sends what is in such a list to S3. */
void scout_cache_give_up(struct scout_models *m, struct scout_fetch_list *stuck);

#endif
