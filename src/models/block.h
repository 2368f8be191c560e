/* Objects and their cached blocks, shared by all who have them open. */
#ifndef MODELS_BLOCK_H
#define MODELS_BLOCK_H

#include "models/cache.h"
#include "models/models.h"
#include "models/question.h"
#include "models/verify.h"
#include "models/window.h"

enum scout_block_state {
	SCOUT_BLOCK_FILLING, /* in a fetch, which alone writes behind filled */
	SCOUT_BLOCK_READY,
	SCOUT_BLOCK_FAILED /* out of the table; goes with its last pin */
};

/* SCOUT_BUF_BYTES of an object, or its end. */
struct scout_block {
	struct scout_object *object; /* immutable; one reference while in its table */
	uint64_t index;              /* immutable */
	uint8_t *buf;                /* immutable; bytes before filled never change */
	uint32_t bytes;              /* immutable: what belongs in it */

	/* under object->lock */
	uint32_t filled;
	unsigned pins; /* readers that look at it */
	enum scout_block_state state;
	bool ahead; /* no reader has had it yet, and somebody is to */
	int err;    /* of FAILED */
	UT_hash_handle hh;

	/* under m->lru_lock */
	TAILQ_ENTRY(scout_block) lru;
	bool listed;   /* in one of the lists: ready and not pinned */
	bool evicting; /* taken off by an evictor, who decides under object->lock */
	bool used;     /* some reader had it */

	TAILQ_ENTRY(scout_block) cache_link; /* under the disk cache's lock: it waits for that */
};

/* One version of one key. */
struct scout_object {
	/* Handles, fetches, reads and blocks. The last one goes only under m->objects_lock. */
	atomic_uint refs;
	bool listed;       /* under m->objects_lock: in m->objects */
	UT_hash_handle hh; /* under m->objects_lock */

	/* immutable */
	char *key;                    /* of its path */
	char *s3_key, *s3_version_id; /* as S3 knows it; version_id NULL: the newest */
	char etag[SCOUT_ETAG_MAX];
	int64_t modified;
	uint64_t version;
	struct scout_cut cut; /* with the size */

	atomic_bool planning; /* somebody fetches ahead in it */

	struct scout_mutex lock;        /* SCOUT_LOCK_OBJECT */
	struct scout_file_list files;   /* under lock: the handles */
	bool changed;                   /* under lock: S3 has another version, or none */
	uint64_t left_ns;               /* under lock: when a reader last closed */
	uint64_t read_ns;               /* under lock: when one last opened it, or read */
	unsigned fetches;               /* under lock: submitted and not done */
	size_t ahead;                   /* under lock: how many of its blocks are */
	struct scout_block *blocks;     /* under lock: by index */
	struct scout_read_list readers; /* under lock: wait for bytes of pinned blocks */
	struct scout_run run;           /* under lock: all handles' reads as one sequence */
	struct scout_verify verify;
	struct scout_cached cached;
};

/* object.c */
/* Makes file (zeroed) a handle of the object that answer (FILE) tells of, with a reference; an older
 * version of the key is changed from now on. Returns 0 or -ENOMEM. */
int scout_object_open(struct scout_models *m, const char *path, const struct scout_answer *answer,
		      struct scout_models_file *file);
void scout_object_close(struct scout_models *m, struct scout_models_file *file);
/* Whether some reader's window has bytes of [from, end); o->lock is held. */
bool scout_object_wants_locked(const struct scout_object *o, uint64_t from, uint64_t end);
/* The window of a run that ended as old: what lies in no other one may go first, and what is on its
 * way is given up; o->lock is held. */
void scout_object_close_window_locked(struct scout_models *m, struct scout_object *o,
				      const struct scout_run *old);
/* Closes the windows of readers who have read nothing for a while, if nobody has looked for them just now; before more
 * is fetched ahead. No lock held. */
void scout_object_look_for_stopped(struct scout_models *m);
void scout_object_ref(struct scout_object *o);
void scout_object_unref(struct scout_models *m, struct scout_object *o);
/* S3 has another version, or none: reads of this one fail from now on, the next open asks S3. True:
 * that is news. */
bool scout_object_change(struct scout_models *m, struct scout_object *o);
/* Names its version: one is of contents, which other keys may have too. */
uint64_t scout_object_id(const struct scout_object *o);
/* Its bytes are wrong: who opens it from now on has everything fetched anew, past the disk cache. No lock held. */
void scout_object_forget(struct scout_models *m, struct scout_object *o);

/* block.c: o->lock is held for _locked */
void scout_block_init(struct scout_models *m);
void scout_block_destroy(struct scout_models *m); /* evicts all; no handle is open */
struct scout_block *scout_block_find_locked(struct scout_object *o, uint64_t index);
/* Takes buf when it returns one; NULL: no memory. */
struct scout_block *scout_block_add_locked(struct scout_models *m, struct scout_object *o,
					   uint64_t index, void *buf);
void scout_block_pin_locked(struct scout_models *m, struct scout_block *b);
/* True: b failed and that was its last pin; free it without the lock. */
bool scout_block_unpin_locked(struct scout_models *m, struct scout_block *b);
/* Likewise of a ready one, by who is no reader. */
void scout_block_hold_locked(struct scout_models *m, struct scout_block *b);
void scout_block_release_locked(struct scout_models *m, struct scout_block *b);
/* All its bytes are there. */
void scout_block_ready_locked(struct scout_models *m, struct scout_block *b);
/* It is missing again, and its pins learn err. True: free it without the lock. */
bool scout_block_fail_locked(struct scout_models *m, struct scout_block *b, int err);
/* The blocks of the bytes [from, end) that were fetched ahead may go first. */
void scout_block_unwanted_locked(struct scout_models *m, struct scout_object *o, uint64_t from,
				 uint64_t end);
void scout_block_free(struct scout_models *m, struct scout_block *b); /* failed, unpinned */
/* Gives back the buffer of the block that was used longest ago; those fetched ahead and not yet read
 * only when not used_only. False: there is none. No lock held. */
bool scout_block_evict(struct scout_models *m, bool used_only);

#endif
