/* What costs no network: paths, lists, the config, and the way of a request to a session that is up. Of
 * the backend alone. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"

#define BATCH 1000 /* calls a sample, where one is too short for the clock */
#define LONG_PATH 305
#define AT_ONCE 64

/* The time of one call to job, taken over BATCH of them, count times. */
static int time_batches(struct pool_series *s, unsigned count,
			int (*job)(struct pool_target *t, const char *path), struct pool_target *t,
			const char *path, int expected)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t began = scout_now_ns();

		for (int k = 0; k < BATCH; k++) {
			int err = job(t, path);

			if (err != expected)
				return err ? err : -EEXIST;
		}
		pool_series_add(s, (double)(scout_now_ns() - began) / BATCH);
	}
	return 0;
}

/* "HOST/part/part/…", len bytes long. */
static void long_path(const struct pool_options *o, char *buf, size_t len)
{
	size_t at = (size_t)snprintf(buf, len + 1, "%s/", o->hosts[0]);

	for (; at < len; at++)
		buf[at] = at % 32 || at + 1 == len ? 'x' : '/';
	buf[len] = '\0';
}

int pool_route(const struct pool_options *o, struct pool_report *r)
{
	char usual[POOL_PATH_MAX], longer[POOL_PATH_MAX], endless[PATH_MAX + 1];
	struct pool_target *t;
	const struct {
		const char *name, *path;
		int expected;
	} paths[] = {
	    {"short path", usual, 0},
	    {"305 bytes", longer, 0},
	    {"no such host", "no-such-host/etc/hosts", -ENOENT},
	    {"longer than PATH_MAX", endless, -ENAMETOOLONG},
	};
	int err = pool_target_open(o->where, &t);

	if (err)
		return err;
	pool_join(o, 0, "etc/hosts", usual);
	long_path(o, longer, LONG_PATH);
	long_path(o, endless, sizeof(endless) - 1);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && !err; i++)
		err = time_batches(pool_report_series(r, paths[i].name, "ns"), o->count,
				   pool_backend_route, t, paths[i].path, paths[i].expected);
	pool_target_close(t);
	return err;
}

int pool_list(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *s = pool_report_series(r, "listing of hosts", "ns");
	struct pool_target *t;
	uint64_t entries = 0;
	int err = pool_target_open(o->where, &t);

	if (err)
		return err;
	for (unsigned i = 0; i < o->count && !err; i++) {
		uint64_t began = scout_now_ns();

		err = t->ops->list(t, "", &entries);
		pool_series_add(s, (double)(scout_now_ns() - began));
	}
	pool_report_figure(r, "hosts", (double)entries);
	pool_target_close(t);
	return err;
}

static int timeout_of(struct pool_target *t, const char *path)
{
	return pool_backend_timeout_ns(t, path) ? 0 : -EINVAL;
}

/* Reading the config with all its hosts, making the backend of it, and finding one host there. */
int pool_config(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *load = pool_report_series(r, "load", "ns");
	struct pool_series *start = pool_report_series(r, "load and start", "ns");
	struct pool_series *find = pool_report_series(r, "find a host", "ns");
	char path[POOL_PATH_MAX];
	int err = 0;

	for (unsigned i = 0; i < o->rounds && !err; i++) {
		struct scout_config *config;
		struct pool_target *t;
		uint64_t began = scout_now_ns();

		err = scout_config_load(o->where, NULL, 0, stderr, &config);
		if (err)
			break;
		pool_series_add(load, (double)(scout_now_ns() - began));
		pool_report_figure(r, "hosts", (double)config->nhosts);
		scout_config_free(config);
		began = scout_now_ns();
		err = pool_target_open(o->where, &t);
		if (err)
			break;
		pool_series_add(start, (double)(scout_now_ns() - began));
		pool_join(o, i * 7919, "etc/hosts", path);
		err = time_batches(find, o->count, timeout_of, t, path, 0);
		pool_target_close(t);
	}
	return err;
}

/* From the call of the backend to its return, when the request is on a session: alone, where the session's
 * thread has to be woken each time, and of many at once. */
int pool_acquire(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *alone = pool_report_series(r, "alone", "ns");
	struct pool_series *many = pool_report_series(r, "64 at once", "ns");
	char path[POOL_PATH_MAX];
	double ns[AT_ONCE];
	struct pool_target *t;
	int err = pool_target_open(o->where, &t);

	if (err)
		return err;
	pool_path(o, 0, 0, path);
	err = t->ops->stat(t, path);
	for (unsigned i = 0; i < o->count && !err; i++) {
		err = pool_backend_submit(t, path, 1, ns);
		pool_series_add(alone, ns[0]);
	}
	for (unsigned i = 0; i < o->count && !err; i += AT_ONCE) {
		err = pool_backend_submit(t, path, AT_ONCE, ns);
		for (unsigned k = 0; k < AT_ONCE; k++)
			pool_series_add(many, ns[k]);
	}
	pool_target_close(t);
	return err;
}
