/* Mutexes with a rank. A thread that holds a lock may take only locks of a higher rank; builds
 * without NDEBUG assert it. No lock is ever held across network, disk, a callback into another
 * module, fuse_reply_*, fuse_lowlevel_notify_* or logging. */
#ifndef SCOUTFS_LOCK_H
#define SCOUTFS_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The lock order of the whole program, outermost first. */
enum scout_lock_rank {
	SCOUT_LOCK_TREE = 1,  /* fs: a subtree of inodes */
	SCOUT_LOCK_POOL,      /* hosts: counts over all hosts (sessions, connecting) */
	SCOUT_LOCK_HOSTS,     /* hosts: the table of hosts */
	SCOUT_LOCK_HOST,      /* hosts: one host's state, queue and sessions */
	SCOUT_LOCK_NODE,      /* hosts: one remote file: its writes, and as what they left it */
	SCOUT_LOCK_FILE,      /* hosts: one open file's or directory's window */
	SCOUT_LOCK_CATALOGUE, /* models: the listing */
	SCOUT_LOCK_OBJECTS,   /* models: the table of objects */
	SCOUT_LOCK_OBJECT,    /* models: one object's blocks */
	SCOUT_LOCK_LRU,       /* models: blocks by age */
	SCOUT_LOCK_ENGINE,    /* sftp, s3: an engine's queue */
	SCOUT_LOCK_BUDGET,    /* base: buffers and tickets */
	SCOUT_LOCK_REQUESTS,  /* fs: one shard of the requests in flight */
	SCOUT_LOCK_LEAF,      /* anything that takes no other lock */
};

struct scout_mutex {
	pthread_mutex_t mutex;
	enum scout_lock_rank rank;
};

void scout_mutex_init(struct scout_mutex *m, enum scout_lock_rank rank);
void scout_mutex_destroy(struct scout_mutex *m);
void scout_lock(struct scout_mutex *m);
void scout_unlock(struct scout_mutex *m);

/* Condition variables on CLOCK_MONOTONIC. */
void scout_cond_init(pthread_cond_t *c);
/* Their clock, also in a test that has another one. */
uint64_t scout_cond_now_ns(void);
/* Waits with m held; false when deadline_ns passed first. Deadline UINT64_MAX waits for ever and is
 * only for a thread whose owner wakes it to end it. */
bool scout_cond_wait(pthread_cond_t *c, struct scout_mutex *m, uint64_t deadline_ns);

/* A thread named name (15 bytes) with a stack of 256 KiB (more under sanitizers) and all signals
 * blocked. Returns 0 or -errno. */
int scout_thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg);

#endif
