/* The engine's own state, shared by its thread's scheduling (schedule.c) and its API (engine.c). */
#ifndef SCOUTFS_S3_ENGINE_H
#define SCOUTFS_S3_ENGINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "s3/limit.h"
#include "s3/pace.h"
#include "s3/queue.h"
#include "s3/transfer.h"
#include "s3/yield.h"
#include "scoutfs/lock.h"
#include "scoutfs/metrics.h"
#include "scoutfs/s3.h"

TAILQ_HEAD(transfer_list, scout_s3_transfer);

/* GETs' bodies, all together. */
struct scout_s3_bodies {
	unsigned n;
	uint64_t bytes;
	uint64_t ns; /* from when each was asked for */
};

struct scout_s3 {
	struct scout_s3_context context;
	pthread_t thread;
	bool joined; /* the owner's thread only */
	CURLM *multi;

	struct scout_mutex lock;
	struct scout_s3_queue queue;         /* under lock */
	struct scout_s3_call_list cancelled; /* under lock: those that waited in it */
	bool cancels;                        /* under lock: some call's cancelled is set */
	bool stopping;                       /* under lock */
	int last_err;                        /* under lock */
	uint64_t last_err_wall_ns;           /* under lock */
	char last_reason[160];               /* under lock */

	scout_counter requests, retries, hedges, slow_downs;
	_Atomic unsigned active;      /* attempts on the wire */
	_Atomic unsigned queued;      /* queue.count */
	_Atomic unsigned paused;      /* as many as are pausing */
	_Atomic unsigned allowed;     /* limit.now */
	_Atomic unsigned expected;    /* requests: by scout_s3_expect */
	_Atomic uint64_t distance_ns; /* of the endpoint; written by the thread */

	/* engine thread only */
	struct transfer_list running; /* as many as active */
	struct transfer_list pausing;
	CURL **idle; /* easy handles, at most max_connections */
	unsigned nidle;
	unsigned used[SCOUT_S3_HEDGE + 1]; /* of active, by their use */
	struct scout_s3_limit limit;
	struct scout_s3_pace pace;   /* of bulk, within it */
	struct scout_s3_yield yield; /* likewise, beside small calls */
	uint64_t next_check_ns;      /* no running attempt can be out of time or hang before this */
	uint64_t next_turn_ns;       /* a call waits for this (queue.h) */
	uint64_t compared_ns;        /* when their rates were */
	uint64_t compared_awake_ns, compared_alive_ns; /* likewise, on the clocks of the pulse */
	struct scout_s3_bodies ended, ended_before;    /* since then, and in the period before */
	uint64_t swept_ns;                             /* when the connections made ahead were */
	uint64_t asked_ns; /* when calls were asked whether they are wanted */
};

/* All on the engine's thread, no lock held; they call back. */

/* Begins attempts while there is room for them: of those whose pause is over, then of the queue. */
void scout_s3_admit(struct scout_s3 *s3);
/* Takes the attempts that libcurl is done with. */
void scout_s3_harvest(struct scout_s3 *s3);
/* Ends the attempts that are out of time, and hedges those that hang. */
void scout_s3_expire(struct scout_s3 *s3);
/* Completes the calls that were cancelled, wherever they are. */
void scout_s3_reap_cancelled(struct scout_s3 *s3);
/* Completes all calls with -ESHUTDOWN; stopping is set. */
void scout_s3_shut_down(struct scout_s3 *s3);
/* How long the thread may sleep when nothing comes from the network or the queue. */
int scout_s3_idle_ms(const struct scout_s3 *s3);

/* hedge.c */
/* When to ask again whether t is to have a twin; now_ns: it is; UINT64_MAX: never. */
uint64_t scout_s3_hedge_due_ns(const struct scout_s3 *s3, const struct scout_s3_transfer *t,
			       uint64_t now_ns);
/* A twin of t that has not begun; NULL: no memory, or as many as there may be. */
struct scout_s3_transfer *scout_s3_hedge_new(struct scout_s3 *s3, struct scout_s3_transfer *t);
/* t, which was not dropped, has ended: whoever runs is compared with it if it brought all that it asked for. */
void scout_s3_hedge_note_end(struct scout_s3 *s3, const struct scout_s3_transfer *t,
			     uint64_t now_ns);
/* Compares the rates of what runs with what ended of late and marks what is slow, once a second. Whether
 * it did. */
bool scout_s3_hedge_compare(struct scout_s3 *s3, uint64_t now_ns);

/* The last anybody here sees of a call that never began (any thread). */
void scout_s3_complete_early(struct scout_s3 *s3, struct scout_s3_call *call, int err);

#endif
