/* Many at once, and the names of what they ask for. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "scoutfs/clock.h"

#define STACK_BYTES ((size_t)256 * 1024)

struct crowd {
	int (*job)(void *arg, unsigned i);
	void *arg;
	pthread_barrier_t begin;
};

struct one {
	struct crowd *crowd;
	pthread_t thread;
	unsigned i;
	int err;
	uint64_t began_ns, ended_ns;
};

const char *pool_join(const struct pool_options *o, unsigned host, const char *name,
		      char buf[POOL_PATH_MAX])
{
	snprintf(buf, POOL_PATH_MAX, "%s/%s", o->hosts[host % o->nhosts], name);
	return buf;
}

const char *pool_path(const struct pool_options *o, unsigned host, unsigned number,
		      char buf[POOL_PATH_MAX])
{
	const char *mark = strchr(o->file, '#');

	if (!mark)
		return pool_join(o, host, o->file, buf);
	snprintf(buf, POOL_PATH_MAX, "%s/%.*s%u%s", o->hosts[host % o->nhosts],
		 (int)(mark - o->file), o->file, number % o->files, mark + 1);
	return buf;
}

static void *run(void *arg)
{
	struct one *one = arg;

	pthread_barrier_wait(&one->crowd->begin);
	one->began_ns = scout_now_ns();
	one->err = one->crowd->job(one->crowd->arg, one->i);
	one->ended_ns = scout_now_ns();
	return NULL;
}

static void start(struct one *one)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* those started wait for all: there is no way back */
	if (pthread_create(&one->thread, &attr, run, one)) {
		fputs("scoutfs-bench-pool: no thread\n", stderr);
		exit(EXIT_FAILURE);
	}
	pthread_attr_destroy(&attr);
}

int pool_crowd(unsigned n, int (*job)(void *arg, unsigned i), void *arg, double *ns, double *all_ns)
{
	struct crowd crowd = {.job = job, .arg = arg};
	struct one *all = calloc(n, sizeof(*all));
	uint64_t began_ns = UINT64_MAX, ended_ns = 0;
	int err = 0;

	if (!all)
		return -ENOMEM;
	pthread_barrier_init(&crowd.begin, NULL, n);
	for (unsigned i = 0; i < n; i++) {
		all[i].crowd = &crowd;
		all[i].i = i;
		start(&all[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(all[i].thread, NULL);
		if (!err)
			err = all[i].err;
		if (ns)
			ns[i] = (double)(all[i].ended_ns - all[i].began_ns);
		if (all[i].began_ns < began_ns)
			began_ns = all[i].began_ns;
		if (all[i].ended_ns > ended_ns)
			ended_ns = all[i].ended_ns;
	}
	pthread_barrier_destroy(&crowd.begin);
	free(all);
	*all_ns = (double)(ended_ns - began_ns);
	return err;
}
