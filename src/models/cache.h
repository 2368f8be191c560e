/* The disk cache: blocks of objects that outlive the mount. Every function does nothing where there is none.
 */
#ifndef MODELS_CACHE_H
#define MODELS_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "models/cache_file.h"

struct scout_block;
struct scout_cache;
struct scout_fetch;
struct scout_models;
struct scout_object;
struct scout_text;

/* What is known of a segment of an object, without looking at the disk. */
struct scout_cached_segment {
	uint64_t there;     /* a bit for each block */
	uint64_t looked_ns; /* when the disk was looked at; 0: never */
};

/* Of one object. */
struct scout_cached {
	bool able;                             /* immutable: it has an identity */
	struct scout_cache_id id;              /* immutable */
	struct scout_cached_segment *segments; /* under object->lock; NULL: never looked */
	uint64_t used_ns;  /* under object->lock: as its files were told; 0: never */
	atomic_bool wrong; /* it is to be removed, and not to be written */
	/* under the cache's lock */
	TAILQ_ENTRY(scout_object) removal, use;
	bool in_use; /* in the list of those that were used */
};

/* Opens cache_dir and starts its threads. 0, or -errno after a line in the log. */
int scout_cache_start(struct scout_models *m);
/* The reader ends: before the verifiers do, which it wakes. */
void scout_cache_stop_reading(struct scout_models *m);
/* What waits to be written is, for as long as that takes no more than seconds. After the verifiers. */
void scout_cache_stop(struct scout_models *m);
/* Stopped, but a thread of it hangs with its disk and may go on at any time: nothing of m is to be freed. */
bool scout_cache_hangs(const struct scout_models *m);
void scout_cache_free(struct scout_models *m); /* stopped, and no object is left */

void scout_cache_init(const struct scout_models *m, struct scout_object *o);
void scout_cache_end(struct scout_object *o);

/* Has f's blocks filled from the disk where they are there, else by S3: f is no longer the caller's, and may
 * become several. No lock held; nothing is waited for. */
void scout_cache_send(struct scout_models *m, struct scout_fetch *f);
/* b became ready: it is written, unless it is there or too many wait for that. Its object's lock is held. */
void scout_cache_ready_locked(struct scout_models *m, struct scout_block *b);
/* Somebody opened o, or reads it, wherever its bytes come from: once a minute its files are told. o->lock is
 * held. */
void scout_cache_used_locked(struct scout_models *m, struct scout_object *o, uint64_t now_ns);
/* o's bytes are wrong: nothing of it stays. No lock held. */
void scout_cache_forget(struct scout_models *m, struct scout_object *o);

void scout_cache_status(struct scout_models *m, struct scout_text *out);
void scout_cache_metrics(struct scout_models *m, struct scout_text *out);

#endif
