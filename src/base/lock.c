/* Ranked mutexes, condition variables on the monotonic clock, thread start; see scoutfs/lock.h. */
#include "scoutfs/lock.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

#include "scoutfs/clock.h"

#ifdef NDEBUG
static void note_locked(enum scout_lock_rank rank)
{
	(void)rank;
}

static void note_unlocked(enum scout_lock_rank rank)
{
	(void)rank;
}
#else
#define MAX_HELD 8
static _Thread_local enum scout_lock_rank held[MAX_HELD];
static _Thread_local unsigned held_count;

static void note_locked(enum scout_lock_rank rank)
{
	assert(held_count < MAX_HELD);
	for (unsigned i = 0; i < held_count; i++)
		assert(held[i] < rank && "lock order");
	held[held_count++] = rank;
}

static void note_unlocked(enum scout_lock_rank rank)
{
	unsigned i = held_count;

	while (i > 0 && held[i - 1] != rank)
		i--;
	assert(i > 0 && "unlock of a lock that is not held");
	for (; i < held_count; i++)
		held[i - 1] = held[i];
	held_count--;
}
#endif

void scout_mutex_init(struct scout_mutex *m, enum scout_lock_rank rank)
{
	pthread_mutex_init(&m->mutex, NULL);
	m->rank = rank;
}

void scout_mutex_destroy(struct scout_mutex *m)
{
	pthread_mutex_destroy(&m->mutex);
}

void scout_lock(struct scout_mutex *m)
{
	note_locked(m->rank);
	pthread_mutex_lock(&m->mutex);
}

void scout_unlock(struct scout_mutex *m)
{
	note_unlocked(m->rank);
	/* last: whoever takes it next may free what m is part of */
	pthread_mutex_unlock(&m->mutex);
}

void scout_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
}

uint64_t scout_cond_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SCOUT_NS_PER_S + (uint64_t)now.tv_nsec;
}

bool scout_cond_wait(pthread_cond_t *c, struct scout_mutex *m, uint64_t deadline_ns)
{
	struct timespec ts;

	if (deadline_ns == UINT64_MAX) {
		pthread_cond_wait(c, &m->mutex);
		return true;
	}
	ts.tv_sec = (time_t)(deadline_ns / SCOUT_NS_PER_S);
	ts.tv_nsec = (long)(deadline_ns % SCOUT_NS_PER_S);
	return pthread_cond_timedwait(c, &m->mutex, &ts) != ETIMEDOUT;
}

#ifndef __has_feature
#define __has_feature(x) 0 /* gcc defines __SANITIZE_*, clang has features */
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_BYTES (2048 * 1024)
#else
#define STACK_BYTES (256 * 1024)
#endif

int scout_thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int err;

	err = pthread_attr_init(&attr);
	if (err)
		return -err;
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES); /* else the default, which is larger */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(ret, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		return -err;
	(void)pthread_setname_np(*ret, name); /* only for people who look at the process */
	return 0;
}
