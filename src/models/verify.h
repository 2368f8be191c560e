/* Objects' bytes against their checksums: once for each version, however many readers it has. */
#ifndef MODELS_VERIFY_H
#define MODELS_VERIFY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "models/proven.h"
#include "scoutfs/lock.h"
#include "scoutfs/metrics.h"
#include "scoutfs/s3.h"

struct scout_answer;
struct scout_block;
struct scout_models;
struct scout_object;

enum scout_verdict { SCOUT_UNDECIDED, SCOUT_RIGHT, SCOUT_WRONG };

/* Of one object. */
struct scout_verify {
	/* under object->lock */
	struct scout_s3_checksum want; /* of no kind: nothing to compare with */
	bool asked; /* S3 is asked how large its parts are, else it says nothing (composite.c) */
	enum scout_verdict verdict;
	uint64_t next;     /* the block that the digest comes to next */
	uint64_t frontier; /* those before are held for it: ready, and not to be evicted */
	uint64_t claimed;  /* those before have room in it, whatever others hold */
	bool queued;       /* some verifier has it, or will */
	uint8_t *given;    /* bits: blocks of which readers got bytes; NULL: none, or not known */
	uint64_t ngiven;   /* how many are set */
	uint64_t prefix;   /* those before are */
	uint64_t pages;    /* see scout_verify_opened */
	bool shown;        /* the kernel has opened it: pages is set */
	bool counted;      /* as one that was read whole unverified */

	struct scout_s3_digest *digest;  /* whose turn it is, a verifier's */
	TAILQ_ENTRY(scout_object) queue; /* under m->verifiers.lock */
	bool kept;                       /* likewise; with a reference */
	TAILQ_ENTRY(scout_object) keep;  /* likewise */
};
TAILQ_HEAD(scout_verify_queue, scout_object);

#define SCOUT_VERIFIERS_MAX 4
#define SCOUT_DISTRUSTED_MAX 64
#define SCOUT_UNDECIDED_MAX 1024

/* Of the mount. */
struct scout_verifiers {
	struct scout_mutex lock; /* SCOUT_LOCK_LEAF */
	pthread_cond_t wake;
	struct scout_verify_queue queue; /* under lock: objects with held blocks */
	size_t nqueue;                   /* under lock */
	size_t together;                 /* under lock: how many had the last turn at once */
	bool stop;                       /* under lock */
	/* under lock: undecided, and perhaps neither open nor with blocks; opened longest ago first */
	struct scout_verify_queue kept;
	size_t nkept; /* under lock */
	/* under lock: versions that came with wrong bytes last, of which the kernel may have pages */
	uint64_t distrusted[SCOUT_DISTRUSTED_MAX];
	size_t ndistrusted;         /* beyond the array: every version */
	struct scout_proven proven; /* under lock: versions that were right */
	pthread_t threads[SCOUT_VERIFIERS_MAX];
	unsigned nthreads; /* the owner's */
	size_t held_max;   /* immutable: blocks */
	atomic_size_t held;
	scout_counter verified, unverified, mismatches;
};

/* Without `verify` in the config there are no threads, and nothing is compared. 0 or -errno. */
int scout_verify_start(struct scout_models *m);
void scout_verify_stop(struct scout_models *m); /* whoever waits for a verdict goes without */
void scout_verify_destroy(struct scout_models *m);

void scout_verify_init(const struct scout_models *m, struct scout_object *o,
		       const struct scout_answer *answer);
void scout_verify_end(struct scout_object *o); /* it is freed */

/* b became ready; its object's lock is held. */
void scout_verify_ready_locked(struct scout_models *m, struct scout_block *b);
/* Whether a read of [from, end), whose bytes are there, may be answered: 1, and then it is; 0: ask again
 * when the waiting reads are collected next; -EIO: its object's bytes are wrong. in_order: of a reader who
 * has read all that is before it. o->lock is held. */
int scout_verify_state_locked(struct scout_models *m, struct scout_object *o, uint64_t from,
			      uint64_t end, bool in_order);
/* o was opened by the kernel. Returns the number of its pages: those that the kernel has from before may be of wrong
 * bytes, or will never be compared; 0: they are fine. No lock is held. */
uint64_t scout_verify_opened(struct scout_models *m, struct scout_object *o);

/* What S3 was asked of o's parts came to. No lock is held. */
/* They are of that size, but the last; 0: o is not to be compared. */
void scout_verify_told(struct scout_models *m, struct scout_object *o, uint64_t part_bytes);
/* As was believed: the digest that does not match is right. */
void scout_verify_wrong(struct scout_models *m, struct scout_object *o);

#endif
