/* What the files of this folder share: the backend itself, its counters, and how attributes look. */
#ifndef MODELS_MODELS_H
#define MODELS_MODELS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* running out of memory is the caller's to handle: an element that was not added has no hh.tbl */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "models/verify.h"
#include "scoutfs/backend.h"
#include "scoutfs/budget.h"
#include "scoutfs/config.h"
#include "scoutfs/lock.h"
#include "scoutfs/metrics.h"
#include "scoutfs/s3.h"

/* How long the kernel believes names and attributes: to ask again costs no request to S3, and what it
 * holds longer no refresh could take from it. */
#define SCOUT_TTL_MS 1000u

struct scout_block;
struct scout_first;
struct scout_cache;
struct scout_object;
struct scout_publisher;
struct scout_view;
struct scout_answer;
struct scout_question;
struct scout_read;
struct scout_zips;
struct scout_models_file;
TAILQ_HEAD(scout_block_list, scout_block);
TAILQ_HEAD(scout_view_list, scout_view);
TAILQ_HEAD(scout_read_list, scout_read);
TAILQ_HEAD(scout_file_list, scout_models_file);

struct scout_models_counters {
	scout_counter bytes_served, bytes_inflated;
	scout_counter block_hits, block_misses, block_evictions;
	scout_counter list_requests, direct_questions;
};

struct scout_models {
	/* immutable */
	const struct scout_models_config *config;
	struct scout_budget *budget;
	struct scout_share *share; /* of all buffers, and of the tickets of long reads */
	struct scout_share *small; /* of the tickets of short ones, which queue by themselves */
	struct scout_s3 *s3;
	size_t memory;       /* the share's, for cached blocks */
	size_t ahead_memory; /* of that for read-ahead: the rest holds what is being read */
	dev_t device;        /* the mount's; 0: not known */
	uid_t uid;
	gid_t gid;
	time_t mounted; /* the time that directories show: S3 keeps none for them */

	atomic_bool stopped;
	struct scout_models_counters counters; /* atomic */
	atomic_uint fetches;                   /* submitted and not done */
	atomic_uint aheads;                    /* objects with blocks ahead of their readers */
	_Atomic uint64_t looked_ns;            /* when readers who stopped were last looked for */
	_Atomic uint64_t pages;                /* the last number of scout_models_new_pages */

	/* catalogue.c */
	struct scout_mutex catalogue_lock;  /* SCOUT_LOCK_CATALOGUE */
	struct scout_view *flat;            /* under catalogue_lock: all keys, or NULL */
	struct scout_view *folders;         /* under catalogue_lock: single directories, by path */
	struct scout_view_list old_folders; /* under catalogue_lock: least recently used first */
	unsigned nfolders;                  /* under catalogue_lock */
	bool too_many_keys; /* under catalogue_lock: no flat view until all are counted anew */
	unsigned refreshes; /* under catalogue_lock: how often that was asked for */

	/* question.c */
	struct scout_mutex question_lock;    /* SCOUT_LOCK_CATALOGUE, never with catalogue_lock */
	struct scout_question *questions[2]; /* under question_lock: in flight, by path */
	struct scout_answer *answers;        /* under question_lock: by path, oldest first */

	/* object.c, block.c */
	struct scout_mutex objects_lock; /* SCOUT_LOCK_OBJECTS */
	struct scout_object *objects;    /* under objects_lock: by key */
	struct scout_first *firsts;      /* under objects_lock: first.c, by key */
	struct scout_mutex lru_lock;     /* SCOUT_LOCK_LRU */
	/* under lru_lock: ready blocks that nobody has pinned, least recently used first; fresh ones
	 * were fetched ahead and wait for their reader */
	struct scout_block_list used_blocks, fresh_blocks;
	atomic_size_t nblocks;

	struct scout_zips *zips;           /* immutable: zip.h; NULL: archives are no folders */
	struct scout_verifiers verifiers;  /* verify.c */
	struct scout_publisher *publisher; /* immutable; NULL: read only */
	struct scout_cache *cache;         /* immutable: cache.h; NULL: nothing is kept on disk */

	/* read.c */
	struct scout_mutex parked_lock; /* SCOUT_LOCK_LRU, never with lru_lock */
	struct scout_read_list parked;  /* under parked_lock: reads that wait for memory */
};

/* A number for what the kernel will have of a file, of which it may have what is not to be trusted. */
static inline uint64_t scout_models_new_pages(struct scout_models *m)
{
	return atomic_fetch_add(&m->pages, 1) + 1;
}

/* malloc'ed: the whole key of path, with tail ("" or "/") behind it; NULL: no memory. */
char *scout_models_key(const struct scout_models *m, const char *path, const char *tail);

void scout_models_file_attr(const struct scout_models *m, uint64_t bytes, int64_t modified,
			    uint64_t version, struct scout_attr *ret);
void scout_models_dir_attr(const struct scout_models *m, struct scout_attr *ret);
/* When S3 was asked for what the reading backend's open folder lists; 0: it lists an archive. */
uint64_t scout_models_folder_asked_ns(const void *handle);

/* The report: report.c. */
void scout_models_status(void *self, struct scout_text *out);
void scout_models_metrics(void *self, struct scout_text *out);

#endif
