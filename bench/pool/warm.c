/* Work on hosts that are connected: the latency of single operations, transfers, several operations at once. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cases.h"
#include "scoutfs/clock.h"

#define WRITE_BYTES ((size_t)64 * 1024)

enum kind { STAT, CAT, LIST, WRITE, READ, KINDS };
static const char *const kind_names[KINDS] = {"stat", "cat", "ls", "write 64 KiB", "read"};

static int operate(struct pool_target *t, const struct pool_options *o, enum kind kind,
		   unsigned host, unsigned number)
{
	char path[POOL_PATH_MAX], name[64];
	uint64_t amount;

	switch (kind) {
	case STAT:
		return t->ops->stat(t, pool_path(o, host, number, path));
	case CAT:
		return t->ops->cat(t, pool_path(o, host, number, path), &amount);
	case LIST:
		return t->ops->list(t, pool_join(o, host, o->folder, path), &amount);
	case WRITE:
		snprintf(name, sizeof(name), "new-%u", number);
		return t->ops->write(t, pool_join(o, host, name, path), WRITE_BYTES);
	default:
		return t->ops->cat(t, pool_join(o, host, o->big, path), &amount);
	}
}

static int timed(struct pool_target *t, const struct pool_options *o, enum kind kind, unsigned host,
		 unsigned number, struct pool_series *s)
{
	uint64_t began = scout_now_ns();
	int err = operate(t, o, kind, host, number);

	pool_series_add(s, (double)(scout_now_ns() - began));
	return err;
}

int pool_latency(const struct pool_options *o, struct pool_report *r)
{
	struct pool_target *t;
	int err = pool_target_open(o->where, &t);

	if (err)
		return err;
	err = operate(t, o, LIST, 0, 0); /* connects */
	for (enum kind kind = STAT; kind <= LIST && !err; kind++) {
		struct pool_series *s;

		if (o->kind && strcmp(o->kind, kind_names[kind]))
			continue;
		s = pool_report_series(r, kind_names[kind], "ns");

		/* each has its own files, so that what one has seen is no other's cache */
		for (unsigned i = 0; i < o->count && !err; i++)
			err = timed(t, o, kind, 0, (unsigned)kind * o->count + i, s);
	}
	pool_target_close(t);
	return err;
}

/* The big file, or as many bytes to a new one. */
int pool_transfer(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *s = pool_report_series(r, "seconds", "s");
	struct pool_series *rate = pool_report_series(r, "throughput", "MB/s");
	bool write = o->kind && strcmp(o->kind, "write") == 0;
	char big[POOL_PATH_MAX], new[POOL_PATH_MAX];
	struct pool_target *t;
	uint64_t bytes = 0;
	int err = pool_target_open(o->where, &t);

	if (err)
		return err;
	pool_join(o, 0, o->big, big);
	pool_join(o, 0, "new-transfer", new);
	err = operate(t, o, LIST, 0, 0); /* connects */
	if (!err && write)
		err = t->ops->cat(t, big, &bytes);
	for (unsigned i = 0; i < o->rounds && !err; i++) {
		uint64_t began = scout_now_ns();
		double took;

		err = write ? t->ops->write(t, new, bytes) : t->ops->cat(t, big, &bytes);
		took = (double)(scout_now_ns() - began) / 1e9;
		pool_series_add(s, took);
		pool_series_add(rate, (double)bytes / 1e6 / took);
	}
	pool_report_figure(r, "bytes", (double)bytes);
	pool_target_close(t);
	return err;
}

struct group {
	struct pool_target *t;
	const struct pool_options *o;
	unsigned round;
	struct pool_series **series; /* of mixed: one for each thread */
};

static int one_of_four(void *arg, unsigned i)
{
	struct group *g = arg;

	return operate(g->t, g->o, (enum kind)i, 0, g->round);
}

/* stat, cat, ls and a small write: one after the other, and at once. */
int pool_four(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *turns = pool_report_series(r, "in turn", "ns");
	struct pool_series *once = pool_report_series(r, "at once", "ns");
	struct group g = {.o = o};
	int err = pool_target_open(o->where, &g.t);

	if (err)
		return err;
	err = operate(g.t, o, LIST, 0, 0);
	for (unsigned i = 0; i < o->count && !err; i++) {
		uint64_t began = scout_now_ns();
		double all_ns = 0;

		g.round = 2 * i;
		for (unsigned k = STAT; k <= WRITE && !err; k++)
			err = one_of_four(&g, k);
		pool_series_add(turns, (double)(scout_now_ns() - began));
		g.round++;
		if (!err)
			err = pool_crowd(WRITE + 1, one_of_four, &g, NULL, &all_ns);
		pool_series_add(once, all_ns);
	}
	pool_target_close(g.t);
	return err;
}

static int one_of_mixed(void *arg, unsigned i)
{
	struct group *g = arg;
	const struct pool_options *o = g->o;
	int err = 0;

	for (unsigned k = 0; k < o->count && !err; k++)
		err = timed(g->t, o, (enum kind)(i % KINDS), i / KINDS, i * o->count + k,
			    g->series[i]);
	return err;
}

/* stat, cat, ls, a small write and a read of the big file, each count times in a row, all five on the
 * first two hosts at once. */
int pool_mixed(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *series[2 * KINDS];
	struct group g = {.o = o, .series = series};
	double all_ns;
	int err = pool_target_open(o->where, &g.t);

	if (err)
		return err;
	for (unsigned i = 0; i < 2 * KINDS; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s, host %u", kind_names[i % KINDS], i / KINDS + 1);
		series[i] = pool_report_series(r, name, "ns");
	}
	for (unsigned host = 0; host < 2 && !err; host++)
		err = operate(g.t, o, LIST, host, 0);
	if (!err)
		err = pool_crowd(2 * KINDS, one_of_mixed, &g, NULL, &all_ns);
	if (!err)
		pool_report_figure(r, "operations a second", 2 * KINDS * o->count * 1e9 / all_ns);
	pool_target_close(g.t);
	return err;
}
