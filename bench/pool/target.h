/* Whom the cases ask: the backend of a config's hosts in this process, without FUSE, so that pool and
 * SFTP engine are measured alone; or the folders of hosts below a directory, as of a mount. Every
 * operation waits for its answer; paths begin with the host's name. Thread-safe. */
#ifndef BENCH_POOL_TARGET_H
#define BENCH_POOL_TARGET_H

#include <stddef.h>
#include <stdint.h>

struct pool_target;

struct pool_target_ops {
	int (*stat)(struct pool_target *t, const char *path);
	/* Opens, reads to the end, closes. */
	int (*cat)(struct pool_target *t, const char *path, uint64_t *bytes);
	int (*list)(struct pool_target *t, const char *path, uint64_t *entries);
	/* Creates path, writes size bytes, closes and removes it. */
	int (*write)(struct pool_target *t, const char *path, size_t size);
	void (*close)(struct pool_target *t);
};

struct pool_target {
	const struct pool_target_ops *ops;
};

/* where: a directory, or else a scoutfs.ini. Returns 0 or -errno, told to stderr. */
int pool_target_open(const char *where, struct pool_target **ret);

static inline void pool_target_close(struct pool_target *t)
{
	if (t)
		t->ops->close(t);
}

int pool_directory_open(const char *path, struct pool_target **ret); /* directory.c */

/* Of the backend alone; backend.c. */
int pool_backend_open(const char *ini, struct pool_target **ret);
/* The number of hosts, and a host's name. */
size_t pool_backend_hosts(const struct pool_target *t);
const char *pool_backend_host(const struct pool_target *t, size_t i);
/* A figure of its metrics: the sum of the lines that begin with what. */
double pool_backend_metric(struct pool_target *t, const char *what);
/* The way of a path to its host and the path there, which asks nobody: 0 or -errno. */
int pool_backend_route(struct pool_target *t, const char *path);
/* How long a call to path may take: finds its host by name. */
uint64_t pool_backend_timeout_ns(struct pool_target *t, const char *path);
/* Asks for the attributes of path count times at once; how long each call took to come back, which is
 * when its request is on a session, goes to ns. The first error. */
int pool_backend_submit(struct pool_target *t, const char *path, size_t count, double *ns);

#endif
