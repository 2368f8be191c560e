/* What sessions and work leave in memory: resident bytes of this process, and what malloc has given out. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "cases.h"

#define STEPS 10
#define CLIENTS 8

struct work {
	struct pool_target *t;
	const struct pool_options *o;
	unsigned step, each;
};

/* A line of /proc/self/smaps_rollup, in bytes; 0: there is none. */
static double resident(const char *what)
{
	FILE *in = fopen("/proc/self/smaps_rollup", "re");
	unsigned long kib = 0;
	char line[256];

	while (in && fgets(line, sizeof(line), in))
		if (!strncmp(line, what, strlen(what)) &&
		    sscanf(line + strlen(what), ": %lu kB", &kib) == 1)
			break;
	if (in)
		fclose(in);
	return (double)kib * 1024;
}

static double heap(void)
{
	return (double)mallinfo2().uordblks;
}

static int connect_one(void *arg, unsigned i)
{
	const struct work *w = arg;
	char path[POOL_PATH_MAX];

	return w->t->ops->stat(w->t, pool_path(w->o, i, 0, path));
}

int pool_memory(const struct pool_options *o, struct pool_report *r)
{
	struct work w = {.o = o};
	double idle, idle_heap, up, all_ns;
	int err = pool_target_open(o->where, &w.t);

	if (err)
		return err;
	idle = resident("Rss");
	idle_heap = heap();
	err = pool_crowd(o->nhosts, connect_one, &w, NULL, &all_ns);
	up = resident("Rss");
	pool_report_figure(r, "sessions", o->nhosts);
	pool_report_figure(r, "bytes before", idle);
	pool_report_figure(r, "bytes connected", up);
	pool_report_figure(r, "bytes a session", (up - idle) / o->nhosts);
	pool_report_figure(r, "heap bytes a session", (heap() - idle_heap) / o->nhosts);
	pool_target_close(w.t);
	return err;
}

/* stat, cat and ls in turn. */
static int some_work(void *arg, unsigned me)
{
	const struct work *w = arg;
	char path[POOL_PATH_MAX];
	uint64_t amount;
	int err = 0;

	for (unsigned i = 0; i < w->each && !err; i++) {
		unsigned number = (w->step * CLIENTS + me) * w->each + i;

		pool_path(w->o, 0, number, path);
		if (i % 3 == 0)
			err = w->t->ops->stat(w->t, path);
		else if (i % 3 == 1)
			err = w->t->ops->cat(w->t, path, &amount);
		else
			err =
			    w->t->ops->list(w->t, pool_join(w->o, 0, w->o->folder, path), &amount);
	}
	return err;
}

int pool_growth(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *rss = pool_report_series(r, "resident after each tenth", "bytes");
	struct pool_series *used = pool_report_series(r, "heap after each tenth", "bytes");
	struct work w = {.o = o, .each = o->count / STEPS / CLIENTS};
	double first = 0, last = 0, first_heap = 0, last_heap = 0, all_ns;
	int err = pool_target_open(o->where, &w.t);

	if (err)
		return err;
	for (w.step = 0; w.step < STEPS && !err; w.step++) {
		err = pool_crowd(CLIENTS, some_work, &w, NULL, &all_ns);
		last = resident("Rss");
		last_heap = heap();
		pool_series_add(rss, last);
		pool_series_add(used, last_heap);
		if (w.step == 0) {
			first = last;
			first_heap = last_heap;
		}
	}
	pool_report_figure(r, "operations", w.each * CLIENTS * STEPS);
	pool_report_figure(r, "bytes grown after the first tenth", last - first);
	pool_report_figure(r, "heap bytes grown after the first tenth", last_heap - first_heap);
	pool_target_close(w.t);
	return err;
}
