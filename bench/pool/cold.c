/* What begins without a session: connects, of one host and of many, lost sessions, the idle sweep, a host
 * that does not answer. Of the backend. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cases.h"
#include "scoutfs/clock.h"

#define CONNECTS "scoutfs_hosts_connects_total{result=\"ok\"}"
#define FAILURES "scoutfs_hosts_connects_total{result=\"E"
#define CLOSED_IDLE "scoutfs_hosts_sessions_idle_closed_total "

#define BESIEGERS 100

struct work {
	const struct pool_options *o;
	struct pool_target *t;
};

static int stat_one(struct pool_target *t, const struct pool_options *o, unsigned host,
		    unsigned number)
{
	char path[POOL_PATH_MAX];

	return t->ops->stat(t, pool_path(o, host, number, path));
}

static int stat_of_first(void *arg, unsigned i)
{
	struct work *w = arg;

	return stat_one(w->t, w->o, 0, i);
}

static int stat_of_each(void *arg, unsigned i)
{
	struct work *w = arg;

	return stat_one(w->t, w->o, i, 0);
}

/* One round of n jobs at once on a target without sessions. */
static int cold_round(struct work *w, unsigned n, int (*job)(void *arg, unsigned i), double *ns,
		      double *all_ns, double *connects, double *failures)
{
	int err = pool_target_open(w->o->where, &w->t);

	if (err)
		return err;
	err = pool_crowd(n, job, w, ns, all_ns);
	*connects += pool_backend_metric(w->t, CONNECTS);
	*failures += pool_backend_metric(w->t, FAILURES);
	pool_target_close(w->t);
	return err;
}

static int cold_rounds(const struct pool_options *o, struct pool_report *r, unsigned n,
		       int (*job)(void *arg, unsigned i))
{
	struct pool_series *all = pool_report_series(r, "all", "ns");
	struct pool_series *each = pool_report_series(r, "each", "ns");
	struct pool_series *rate = pool_report_series(r, "throughput", "1/s");
	double *ns = calloc(n, sizeof(*ns)), all_ns, connects = 0, failures = 0;
	struct work w = {.o = o};
	int err = ns ? 0 : -ENOMEM;

	for (unsigned i = 0; i < o->rounds && !err; i++) {
		err = cold_round(&w, n, job, ns, &all_ns, &connects, &failures);
		if (err)
			break;
		pool_series_add(all, all_ns);
		pool_series_add(rate, n * 1e9 / all_ns);
		for (unsigned k = 0; k < n; k++)
			pool_series_add(each, ns[k]);
	}
	pool_report_figure(r, "connects a round", connects / o->rounds);
	pool_report_figure(r, "failed connects", failures);
	free(ns);
	return err;
}

int pool_connect(const struct pool_options *o, struct pool_report *r)
{
	return cold_rounds(o, r, 1, stat_of_first);
}

int pool_burst(const struct pool_options *o, struct pool_report *r)
{
	return cold_rounds(o, r, o->count, stat_of_first);
}

int pool_hosts(const struct pool_options *o, struct pool_report *r)
{
	return cold_rounds(o, r, o->nhosts, stat_of_each);
}

/* Says "cut", and goes on when it is told a line: whoever runs this cuts the connection meanwhile. */
static int have_it_cut(void)
{
	char line[16];

	puts("cut");
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) ? 0 : -EIO;
}

int pool_stale(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *warm = pool_report_series(r, "session up", "ns");
	struct pool_series *stale = pool_report_series(r, "session lost", "ns");
	struct pool_target *t;
	uint64_t began;
	int err = pool_target_open(o->where, &t);

	if (err)
		return err;
	err = stat_one(t, o, 0, 0);
	for (unsigned i = 0; i < o->rounds && !err; i++) {
		began = scout_now_ns();
		err = stat_one(t, o, 0, 0);
		pool_series_add(warm, (double)(scout_now_ns() - began));
		if (!err)
			err = have_it_cut();
		began = scout_now_ns();
		if (!err)
			err = stat_one(t, o, 0, 0);
		pool_series_add(stale, (double)(scout_now_ns() - began));
	}
	pool_report_figure(r, "connects", pool_backend_metric(t, CONNECTS));
	pool_target_close(t);
	return err;
}

/* One host in use while the sessions of the others come to the end of their idle_timeout. */
int pool_sweep(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *s = pool_report_series(r, "stat of the host in use", "ns");
	struct work w = {.o = o};
	uint64_t end_ns;
	double all_ns;
	int err = pool_target_open(o->where, &w.t);

	if (err)
		return err;
	err = pool_crowd(o->nhosts, stat_of_each, &w, NULL, &all_ns);
	end_ns = scout_now_ns() + o->seconds * SCOUT_NS_PER_S;
	while (!err && scout_now_ns() < end_ns) {
		const struct timespec pause = {.tv_nsec = 500000};
		uint64_t began = scout_now_ns();

		err = stat_one(w.t, o, 0, 0);
		pool_series_add(s, (double)(scout_now_ns() - began));
		nanosleep(&pause, NULL);
	}
	pool_report_figure(r, "sessions closed", pool_backend_metric(w.t, CLOSED_IDLE));
	pool_target_close(w.t);
	return err;
}

static int stat_of_last(void *arg, unsigned i)
{
	struct work *w = arg;

	(void)stat_one(w->t, w->o, w->o->nhosts - 1, i); /* it is not expected to answer */
	return 0;
}

static void *besiege(void *arg)
{
	double all_ns;

	(void)pool_crowd(BESIEGERS, stat_of_last, arg, NULL, &all_ns);
	return NULL;
}

static int stats_in_turn(const struct work *w, struct pool_series *s)
{
	int err = 0;

	for (unsigned i = 0; i < w->o->count && !err; i++) {
		uint64_t began = scout_now_ns();

		err = stat_one(w->t, w->o, 0, i);
		pool_series_add(s, (double)(scout_now_ns() - began));
	}
	return err;
}

/* The first host alone, and while many wait for the last one, which does not answer. */
int pool_beside(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *alone = pool_report_series(r, "alone", "ns");
	struct pool_series *beside = pool_report_series(r, "beside", "ns");
	struct work w = {.o = o};
	pthread_t crowd;
	int err = pool_target_open(o->where, &w.t);

	if (err)
		return err;
	err = stat_one(w.t, o, 0, 0);
	if (!err)
		err = stats_in_turn(&w, alone);
	if (!err && !(err = -pthread_create(&crowd, NULL, besiege, &w))) {
		err = stats_in_turn(&w, beside);
		pthread_join(crowd, NULL);
	}
	pool_target_close(w.t);
	return err;
}
