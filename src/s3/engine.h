/* The engine's own state, shared by its thread's scheduling (schedule.c) and its API (engine.c). */
#ifndef SCOUTFS_S3_ENGINE_H
#define SCOUTFS_S3_ENGINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "s3/queue.h"
#include "s3/transfer.h"
#include "scoutfs/lock.h"
#include "scoutfs/metrics.h"
#include "scoutfs/s3.h"

TAILQ_HEAD(transfer_list, scout_s3_transfer);

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

	scout_counter requests, retries;
	_Atomic unsigned active, queued; /* active: attempts on the wire */
	_Atomic unsigned bulk;           /* of those, the ones that are not small */

	/* engine thread only */
	struct transfer_list running; /* as many as active */
	struct transfer_list pausing;
	CURL **idle; /* easy handles, at most max_connections */
	unsigned nidle;
	uint64_t next_check_ns; /* no running attempt can be out of time before this */
};

/* All on the engine's thread, no lock held; they call back. */

/* Begins attempts while there is room for them: of those whose pause is over, then of the queue. */
void scout_s3_admit(struct scout_s3 *s3);
/* Takes the attempts that libcurl is done with. */
void scout_s3_harvest(struct scout_s3 *s3);
/* Ends the attempts that brought no byte for too long. */
void scout_s3_expire(struct scout_s3 *s3);
/* Completes the calls that were cancelled, wherever they are. */
void scout_s3_reap_cancelled(struct scout_s3 *s3);
/* Completes all calls with -ESHUTDOWN; stopping is set. */
void scout_s3_shut_down(struct scout_s3 *s3);
/* How long the thread may sleep when nothing comes from the network or the queue. */
int scout_s3_idle_ms(const struct scout_s3 *s3);

/* The last anybody here sees of a call that never began (any thread). */
void scout_s3_complete_early(struct scout_s3 *s3, struct scout_s3_call *call, int err);

#endif
