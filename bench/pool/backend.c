/* The backend of hosts as a target: made as the daemon makes it, and asked as the FUSE front asks it, but
 * that whoever asks waits here. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scoutfs/backend.h"
#include "scoutfs/budget.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/metrics.h"
#include "target.h"

struct backend {
	struct pool_target target;
	struct scout_config *config;
	struct scout_budget *budget;
	struct scout_metrics *metrics;
	struct scout_env env;
	struct scout_backend hosts;
	bool started;
};

/* A request, until it is answered. */
struct call {
	struct scout_req req;
	sem_t answered;
	int err;
	void *handle;
	uint64_t version; /* of the file that handle is of */
	size_t amount;    /* bytes read, entries listed */
};

static struct backend *of(struct pool_target *t)
{
	return (struct backend *)t;
}

static void call_init(struct call *c)
{
	memset(c, 0, sizeof(*c));
	sem_init(&c->answered, 0, 0);
}

static int call_wait(struct call *c)
{
	while (sem_wait(&c->answered) && errno == EINTR)
		;
	return c->err;
}

static void answer(struct scout_req *req, int err)
{
	struct call *c = (struct call *)req;

	c->err = err;
	sem_post(&c->answered);
}

static void done(struct scout_req *req, int err, const struct scout_result *res)
{
	(void)res;
	answer(req, err);
}

static void opened(struct scout_req *req, int err, const struct scout_result *res)
{
	struct call *c = (struct call *)req;

	if (!err) {
		c->handle = res->open.handle;
		c->version = res->open.attr.version;
	}
	answer(req, err);
}

static void was_read(struct scout_req *req, int err, const struct scout_result *res)
{
	size_t bytes = 0;

	for (int i = 0; !err && i < res->data.count; i++)
		bytes += res->data.iov[i].iov_len;
	((struct call *)req)->amount = bytes;
	answer(req, err);
}

static void was_listed(struct scout_req *req, int err, const struct scout_result *res)
{
	if (!err)
		((struct call *)req)->amount = res->dir.count;
	answer(req, err);
}

/* Begins a request whose answer goes to how; the semaphore is at 0 again. */
static struct scout_req *ask(struct call *c, void (*how)(struct scout_req *req, int err,
							 const struct scout_result *res))
{
	c->req.done = how;
	atomic_store(&c->req.unwanted, false);
	return &c->req;
}

static int backend_stat(struct pool_target *t, const char *path)
{
	const struct scout_backend *b = &of(t)->hosts;
	struct call c;

	call_init(&c);
	b->ops->getattr(b->self, path, NULL, ask(&c, done));
	return call_wait(&c);
}

static int backend_cat(struct pool_target *t, const char *path, uint64_t *bytes)
{
	const struct scout_backend *b = &of(t)->hosts;
	uint64_t at = 0;
	struct call c;
	int err;

	call_init(&c);
	b->ops->open(b->self, path, O_RDONLY, ask(&c, opened));
	err = call_wait(&c);
	if (err)
		return err;
	do {
		b->ops->read(b->self, c.handle, at, SCOUT_READ_MAX, c.version, ask(&c, was_read));
		err = call_wait(&c);
		at += err ? 0 : c.amount;
	} while (!err && c.amount == SCOUT_READ_MAX);
	b->ops->release(b->self, c.handle);
	*bytes = at;
	return err;
}

static int backend_list(struct pool_target *t, const char *path, uint64_t *entries)
{
	const struct scout_backend *b = &of(t)->hosts;
	uint64_t at = 0;
	struct call c;
	int err;

	call_init(&c);
	b->ops->opendir(b->self, path, ask(&c, opened));
	err = call_wait(&c);
	if (err)
		return err;
	do {
		b->ops->readdir(b->self, c.handle, at, ask(&c, was_listed));
		err = call_wait(&c);
		at += err ? 0 : c.amount;
	} while (!err && c.amount);
	b->ops->releasedir(b->self, c.handle);
	*entries = at;
	return err;
}

static int backend_write(struct pool_target *t, const char *path, size_t size)
{
	static const char zeros[SCOUT_WRITE_MAX];
	const struct scout_backend *b = &of(t)->hosts;
	struct call c;
	int err;

	call_init(&c);
	b->ops->create(b->self, path, 0600, O_WRONLY, ask(&c, opened));
	err = call_wait(&c);
	if (err)
		return err;
	for (size_t at = 0; at < size && !err; at += SCOUT_WRITE_MAX) {
		size_t n = size - at < SCOUT_WRITE_MAX ? size - at : SCOUT_WRITE_MAX;

		b->ops->write(b->self, c.handle, at, zeros, n, ask(&c, done));
		err = call_wait(&c);
	}
	if (!err) {
		b->ops->flush(b->self, c.handle, ask(&c, done));
		err = call_wait(&c);
	}
	b->ops->release(b->self, c.handle);
	if (!err) {
		b->ops->unlink(b->self, path, ask(&c, done));
		err = call_wait(&c);
	}
	return err;
}

static void backend_close(struct pool_target *t)
{
	struct backend *b = of(t);

	if (b->started) {
		b->hosts.ops->stop(b->hosts.self);
		b->hosts.ops->free(b->hosts.self);
	}
	scout_budget_free(b->budget);
	scout_config_free(b->config);
	free(b->metrics);
	free(b);
}

static const struct pool_target_ops ops = {
    .stat = backend_stat,
    .cat = backend_cat,
    .list = backend_list,
    .write = backend_write,
    .close = backend_close,
};

int pool_backend_open(const char *ini, struct pool_target **ret)
{
	struct backend *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->target.ops = &ops;
	err = scout_config_load(ini, NULL, 0, stderr, &b->config);
	b->metrics = calloc(1, sizeof(*b->metrics));
	if (!err && (!b->metrics || scout_budget_new(b->config->memory, &b->budget)))
		err = -ENOMEM;
	if (!err) {
		b->env = (struct scout_env){.config = b->config,
					    .mountpoint = "/nowhere",
					    .budget = b->budget,
					    .metrics = b->metrics,
					    .backends = &b->hosts,
					    .nbackends = 1};
		err = scout_hosts_new(&b->env, &b->hosts);
		b->started = !err;
	}
	if (err) {
		fprintf(stderr, "scoutfs-bench-pool: %s: %s\n", ini, strerror(-err));
		backend_close(&b->target);
	} else {
		*ret = &b->target;
	}
	return err;
}

size_t pool_backend_hosts(const struct pool_target *t)
{
	return ((const struct backend *)t)->config->nhosts;
}

const char *pool_backend_host(const struct pool_target *t, size_t i)
{
	return ((const struct backend *)t)->config->hosts[i].name;
}

double pool_backend_metric(struct pool_target *t, const char *what)
{
	const struct scout_backend *b = &of(t)->hosts;
	struct scout_text text = {0};
	double sum = 0;
	char *save, *line;

	b->ops->metrics(b->self, &text);
	for (line = text.str ? strtok_r(text.str, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, what, strlen(what)))
			sum += strtod(strrchr(line, ' '), NULL);
	scout_text_free(&text);
	return sum;
}

int pool_backend_route(struct pool_target *t, const char *path)
{
	const struct scout_backend *b = &of(t)->hosts;
	struct call c = {.err = -EINPROGRESS};

	/* answered before it returns, as it is nothing that a host has to be asked */
	sem_init(&c.answered, 0, 0);
	b->ops->access(b->self, path, R_OK, ask(&c, done));
	return c.err;
}

uint64_t pool_backend_timeout_ns(struct pool_target *t, const char *path)
{
	const struct scout_backend *b = &of(t)->hosts;

	return b->ops->timeout_ns(b->self, path);
}

int pool_backend_submit(struct pool_target *t, const char *path, size_t count, double *ns)
{
	const struct scout_backend *b = &of(t)->hosts;
	struct call *calls = calloc(count, sizeof(*calls));
	int err = 0;

	if (!calls)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		call_init(&calls[i]);
	for (size_t i = 0; i < count; i++) {
		struct scout_req *req = ask(&calls[i], done);
		uint64_t began = scout_now_ns();

		b->ops->getattr(b->self, path, NULL, req);
		ns[i] = (double)(scout_now_ns() - began);
	}
	for (size_t i = 0; i < count; i++) {
		int one = call_wait(&calls[i]);

		if (!err)
			err = one;
	}
	free(calls);
	return err;
}
