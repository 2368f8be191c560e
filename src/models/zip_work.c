/* Two threads for what takes the processor longer than a request may take the engine's thread, where all
 * bytes of the registry come in, or a FUSE worker, which others wait for: inflating (some 300 MB/s a
 * thread) and sorting an archive's names. Two, so that one large member does not keep the others waiting
 * and half of a small machine stays free.
 *
 * w->lock for the queue. */
#include "models/zip_work.h"

#include <errno.h>
#include <stdlib.h>

#include "scoutfs/clock.h"
#include "scoutfs/lock.h"

#define THREADS 2
/* Jobs that wait for memory when it is stopped are given up by their owners at once, or get it within the time
 * of a read; who comes later is run by whoever posts it. */
#define STOP_NS (30 * SCOUT_NS_PER_S)

TAILQ_HEAD(jobs, scout_zip_job);

struct scout_zip_work {
	struct scout_mutex lock;    /* SCOUT_LOCK_LEAF */
	pthread_cond_t wake;        /* with lock */
	struct jobs queue, later;   /* under lock */
	unsigned waiting;           /* under lock: jobs that may be waiting for memory */
	unsigned running;           /* under lock: threads */
	bool stopping, stopped;     /* under lock */
	uint64_t deadline_ns;       /* under lock: of waiting while stopping */
	pthread_t threads[THREADS]; /* the owner's */
	unsigned nthreads;
};

static void hurry_locked(struct scout_zip_work *w, struct scout_zip_job *job)
{
	TAILQ_REMOVE(&w->later, job, link);
	job->due_ns = 0;
	TAILQ_INSERT_TAIL(&w->queue, job, link);
}

/* What is put off, and due, is in the queue then. Returns when the next of these is. */
static uint64_t next_due_locked(struct scout_zip_work *w)
{
	struct scout_zip_job *job;

	while ((job = TAILQ_FIRST(&w->later))) {
		if (!w->stopping && job->due_ns > scout_cond_now_ns())
			return job->due_ns;
		hurry_locked(w, job);
	}
	return UINT64_MAX;
}

/* NULL: there will be none any more. */
static struct scout_zip_job *next_locked(struct scout_zip_work *w)
{
	uint64_t due_ns = next_due_locked(w);
	bool in_time = true;

	while (in_time && TAILQ_EMPTY(&w->queue) && (!w->stopping || w->waiting > 0)) {
		uint64_t until_ns = due_ns < w->deadline_ns ? due_ns : w->deadline_ns;

		in_time =
		    scout_cond_wait(&w->wake, &w->lock, until_ns) || until_ns < w->deadline_ns;
		due_ns = next_due_locked(w);
	}
	return TAILQ_FIRST(&w->queue);
}

static void *work(void *arg)
{
	struct scout_zip_work *w = arg;
	struct scout_zip_job *job;

	scout_lock(&w->lock);
	while ((job = next_locked(w))) {
		TAILQ_REMOVE(&w->queue, job, link);
		scout_unlock(&w->lock);
		job->run(job);
		scout_lock(&w->lock);
	}
	w->stopped = --w->running == 0; /* not later: what is posted now would be lost */
	scout_unlock(&w->lock);
	return NULL;
}

int scout_zip_work_start(struct scout_zip_work **ret)
{
	struct scout_zip_work *w = calloc(1, sizeof(*w));
	int err = 0;

	if (!w)
		return -ENOMEM;
	scout_mutex_init(&w->lock, SCOUT_LOCK_LEAF);
	scout_cond_init(&w->wake);
	TAILQ_INIT(&w->queue);
	TAILQ_INIT(&w->later);
	w->deadline_ns = UINT64_MAX;
	while (err == 0 && w->nthreads < THREADS) {
		err = scout_thread_start(&w->threads[w->nthreads], "unzip", work, w);
		if (err == 0)
			w->nthreads++;
	}
	scout_lock(&w->lock);
	w->running = w->nthreads;
	scout_unlock(&w->lock);
	if (w->nthreads == 0) {
		scout_zip_work_free(w);
		return err;
	}
	*ret = w;
	return 0;
}

void scout_zip_work_stop(struct scout_zip_work *w)
{
	scout_lock(&w->lock);
	w->stopping = true;
	w->deadline_ns = scout_cond_now_ns() + STOP_NS;
	pthread_cond_broadcast(&w->wake);
	scout_unlock(&w->lock);
	while (w->nthreads > 0)
		pthread_join(w->threads[--w->nthreads], NULL);
}

void scout_zip_work_free(struct scout_zip_work *w)
{
	if (!w)
		return;
	pthread_cond_destroy(&w->wake);
	scout_mutex_destroy(&w->lock);
	free(w);
}

void scout_zip_post(struct scout_zip_work *w, struct scout_zip_job *job)
{
	bool now;

	scout_lock(&w->lock);
	now = w->stopped;
	if (!now)
		TAILQ_INSERT_TAIL(&w->queue, job, link);
	pthread_cond_signal(&w->wake);
	scout_unlock(&w->lock);
	if (now)
		job->run(job);
}

bool scout_zip_put_off(struct scout_zip_work *w, struct scout_zip_job *job, uint64_t wait_ns)
{
	bool taken;

	scout_lock(&w->lock);
	taken = !w->stopped;
	if (taken) {
		job->due_ns = scout_cond_now_ns() + wait_ns;
		TAILQ_INSERT_TAIL(&w->later, job, link);
		pthread_cond_signal(&w->wake);
	}
	scout_unlock(&w->lock);
	return taken;
}

void scout_zip_hurry(struct scout_zip_work *w, struct scout_zip_job *job)
{
	scout_lock(&w->lock);
	if (job->due_ns) {
		hurry_locked(w, job);
		pthread_cond_signal(&w->wake);
	}
	scout_unlock(&w->lock);
}

void scout_zip_waits(struct scout_zip_work *w)
{
	scout_lock(&w->lock);
	w->waiting++;
	scout_unlock(&w->lock);
}

void scout_zip_waited(struct scout_zip_work *w, struct scout_zip_job *job)
{
	bool now;

	scout_lock(&w->lock);
	w->waiting--;
	now = job && w->stopped;
	if (job && !now)
		TAILQ_INSERT_TAIL(&w->queue, job, link);
	if (job || w->stopping)
		pthread_cond_broadcast(&w->wake);
	scout_unlock(&w->lock);
	if (now)
		job->run(job);
}
