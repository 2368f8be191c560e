/* Requests at a fixed rate, whether or not those before are answered: each has its time, from which it is
 * counted, so that what had to queue shows. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cases.h"
#include "scoutfs/clock.h"

#define CLIENTS 64 /* as many may wait at once; what is over begins late, and is counted so */

struct load {
	struct pool_target *t;
	const struct pool_options *o;
	unsigned rate;
	uint64_t began_ns;
	size_t count;
	double *ns; /* of each request, by its client */
	atomic_size_t next;
};

static void sleep_until(uint64_t ns)
{
	const struct timespec at = {.tv_sec = (time_t)(ns / SCOUT_NS_PER_S),
				    .tv_nsec = (long)(ns % SCOUT_NS_PER_S)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static int client(void *arg, unsigned me)
{
	struct load *l = arg;
	char path[POOL_PATH_MAX];
	int err = 0;
	size_t i;

	(void)me;
	while (!err && (i = atomic_fetch_add(&l->next, 1)) < l->count) {
		uint64_t due = l->began_ns + i * SCOUT_NS_PER_S / l->rate;

		sleep_until(due);
		err = l->t->ops->stat(
		    l->t, pool_path(l->o, (unsigned)i % l->o->nhosts, (unsigned)i, path));
		l->ns[i] = (double)(scout_now_ns() - due);
	}
	return err;
}

static int step(struct load *l, struct pool_report *r)
{
	struct pool_series *s;
	double all_ns;
	char name[64];
	int err;

	l->count = (size_t)l->rate * l->o->seconds;
	l->ns = calloc(l->count, sizeof(*l->ns));
	if (!l->ns)
		return -ENOMEM;
	atomic_store(&l->next, 0);
	l->began_ns = scout_now_ns() + 10 * SCOUT_NS_PER_MS; /* all clients are there */
	err = pool_crowd(CLIENTS, client, l, NULL, &all_ns);
	snprintf(name, sizeof(name), "%u/s", l->rate);
	s = pool_report_series(r, name, "ns");
	for (size_t i = 0; i < l->count && !err; i++)
		pool_series_add(s, l->ns[i]);
	snprintf(name, sizeof(name), "answered of %u/s", l->rate);
	pool_report_figure(r, name, (double)l->count * 1e9 / all_ns);
	free(l->ns);
	return err;
}

int pool_load(const struct pool_options *o, struct pool_report *r)
{
	struct load l = {.o = o};
	char path[POOL_PATH_MAX];
	int err = pool_target_open(o->where, &l.t);

	if (err)
		return err;
	for (unsigned i = 0; i < o->nhosts && !err; i++)
		err = l.t->ops->stat(l.t, pool_path(o, i, 0, path));
	for (unsigned i = 0; i < o->nsteps && !err; i++) {
		l.rate = o->steps[i];
		err = step(&l, r);
	}
	pool_target_close(l.t);
	return err;
}
