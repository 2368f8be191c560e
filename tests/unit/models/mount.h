/* The backend over the fake registry, and requests that a test can look at. */
#ifndef TESTS_MODELS_MOUNT_H
#define TESTS_MODELS_MOUNT_H

#include "fake_s3.h"

#include <unistd.h>

#include "models/block.h"
#include "models/models.h"
#include "scoutfs/backend.h"
#include "scoutfs/budget.h"
#include "scoutfs/log.h"

#define MIB ((size_t)1024 * 1024)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* takes memory and time of its own */
#else
#define SANITIZED false
#endif

struct mount {
	struct scout_config config;
	struct scout_env env;
	struct scout_budget *budget;
	struct scout_backend backend;
	struct scout_models *models;
	bool stopped;
};

/* of the next one: whether it verifies; its part size when it publishes, else 0; its disk cache */
static bool mount_verifies;
static size_t mount_publishes;
static char *mount_cache_dir;
static uint64_t mount_cache_size;

/* The largest number of pages that was told: others than those the kernel has are larger. */
static _Atomic uint64_t kernel_pages;

static inline void mount_up(struct mount *t, const char *prefix, size_t memory)
{
	static char endpoint[] = "http://nowhere", bucket[] = "bucket", region[] = "here";

	memset(t, 0, sizeof(*t));
	kernel_pages = 0;
	(void)scout_log_open(SCOUT_LOG_ERROR, NULL, false);
	t->config.models = (struct scout_models_config){
	    .endpoint = endpoint,
	    .region = region,
	    .bucket = bucket,
	    .prefix = strdup(prefix),
	    .max_connections = 150,
	    .part_size = mount_publishes ? mount_publishes : 8 * MIB,
	    .read_window = 256 * MIB,
	    .list_ttl_ns = 60 * SCOUT_NS_PER_S,
	    .list_max_keys = 200000,
	    .timeout_ns = 30 * SCOUT_NS_PER_S,
	    .max_attempts = 3,
	    .unzip = true,
	    .inflated_bytes = memory / 8,
	    .verify = mount_verifies,
	    .cache_dir = mount_cache_dir,
	    .cache_size = mount_cache_size,
	    .read_only = mount_publishes == 0,
	};
	assert_int_equal(scout_budget_new(memory, &t->budget), 0);
	t->env.config = &t->config;
	t->env.budget = t->budget;
	assert_int_equal(scout_models_new(&t->env, &t->backend), 0);
	t->models = t->backend.self;
}

static inline void mount_stop(struct mount *t)
{
	t->backend.ops->stop(t->backend.self);
	t->stopped = true;
}

static inline void mount_down(struct mount *t)
{
	if (!t->stopped)
		mount_stop(t);
	t->backend.ops->free(t->backend.self);
	scout_budget_free(t->budget);
	free(t->config.models.prefix);
}

/* A request and what was answered; done may come on any thread. */
struct asked {
	struct scout_req req;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done; /* under lock */
	int err;
	uint32_t ttl_ms;
	enum { GETATTR, OPEN, OPENDIR, READ, READDIR, XATTR, WRITE } op;
	struct scout_attr attr;
	void *handle;
	bool drop_cache;
	uint8_t *bytes;
	size_t size, untaken;
	char **names;
	struct scout_attr *attrs;
	size_t count;
};

static inline void asked_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct asked *a = (struct asked *)req;

	assert_true(err <= 0);
	assert_true(err < 0 || res);
	a->err = err;
	a->ttl_ms = res ? res->ttl_ms : 0;
	assert_true(a->ttl_ms <= 1000); /* what the kernel knows of names is no older */
	if (err == 0 && a->op == GETATTR)
		a->attr = res->attr;
	if (err == 0 && (a->op == OPEN || a->op == OPENDIR)) {
		a->handle = res->open.handle;
		a->drop_cache = kernel_pages < res->open.pages;
		if (a->drop_cache)
			kernel_pages = res->open.pages;
		a->attr = res->open.attr;
	}
	if (err == 0 && a->op == WRITE)
		a->untaken = res->untaken;
	if (err == 0 && a->op == XATTR) {
		a->size = res->xattr.len;
		a->bytes = malloc(a->size + 1);
		memcpy(a->bytes, res->xattr.len ? res->xattr.bytes : "", a->size);
		a->bytes[a->size] = '\0';
	}
	for (int i = 0; err == 0 && a->op == READ && i < res->data.count; i++) {
		a->bytes = realloc(a->bytes, a->size + res->data.iov[i].iov_len);
		memcpy(a->bytes + a->size, res->data.iov[i].iov_base, res->data.iov[i].iov_len);
		a->size += res->data.iov[i].iov_len;
	}
	if (err == 0 && a->op == READDIR) {
		a->count = res->dir.count;
		a->names = calloc(a->count + 1, sizeof(char *));
		a->attrs = calloc(a->count + 1, sizeof(struct scout_attr));
		for (size_t i = 0; i < a->count; i++) {
			a->names[i] = strdup(res->dir.entries[i].name);
			a->attrs[i] = res->dir.entries[i].attr;
		}
	}
	pthread_mutex_lock(&a->lock);
	assert_false(a->done);
	a->done = true;
	pthread_cond_signal(&a->cond);
	pthread_mutex_unlock(&a->lock);
}

static inline struct asked *asked_new(int op)
{
	struct asked *a = calloc(1, sizeof(*a));

	a->req.done = asked_done;
	a->op = op;
	pthread_mutex_init(&a->lock, NULL);
	scout_cond_init(&a->cond);
	return a;
}

static inline void asked_free(struct asked *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->names[i]);
	free(a->names);
	free(a->attrs);
	free(a->bytes);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->cond);
	free(a);
}

static inline bool asked_is_done(struct asked *a)
{
	bool done;

	pthread_mutex_lock(&a->lock);
	done = a->done;
	pthread_mutex_unlock(&a->lock);
	return done;
}

/* For requests that another thread answers; fails after 30 s. */
static inline void asked_wait(struct asked *a)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&a->lock);
	while (!a->done && err == 0)
		err = pthread_cond_timedwait(&a->cond, &a->lock, &until);
	assert_true(a->done);
	pthread_mutex_unlock(&a->lock);
}

static inline struct asked *ask_getattr(struct mount *t, const char *path)
{
	struct asked *a = asked_new(GETATTR);

	t->backend.ops->getattr(t->backend.self, path, NULL, &a->req);
	return a;
}

static inline struct asked *ask_open(struct mount *t, const char *path)
{
	struct asked *a = asked_new(OPEN);

	t->backend.ops->open(t->backend.self, path, 0, &a->req);
	return a;
}

static inline struct asked *ask_opendir(struct mount *t, const char *path)
{
	struct asked *a = asked_new(OPENDIR);

	t->backend.ops->opendir(t->backend.self, path, &a->req);
	return a;
}

static inline struct asked *ask_read(struct mount *t, struct asked *opened, uint64_t offset,
				     size_t size)
{
	struct asked *a = asked_new(READ);

	t->backend.ops->read(t->backend.self, opened->handle, offset, size, opened->attr.version,
			     &a->req);
	return a;
}

/* The most memory this process ever had. */
static inline size_t peak_bytes(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	size_t kib = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) && sscanf(line, "VmHWM: %zu kB", &kib) != 1)
		;
	fclose(f);
	assert_true(kib > 0);
	return kib * 1024;
}

/* Opens path at once, answering what S3 is asked. */
static inline struct asked *must_open(struct mount *t, const char *path)
{
	struct asked *a = ask_open(t, path);

	fake_answer_all();
	assert_true(a->done);
	assert_int_equal(a->err, 0);
	return a;
}

static inline void close_file(struct mount *t, struct asked *opened)
{
	t->backend.ops->release(t->backend.self, opened->handle);
	asked_free(opened);
}

/* a was answered with err; frees it. */
static inline void expect(struct asked *a, int err)
{
	assert_true(asked_is_done(a));
	assert_int_equal(a->err, err);
	asked_free(a);
}

/* a was answered with key's bytes at offset; frees it. */
static inline void expect_bytes(struct asked *a, const char *key, unsigned version, uint64_t offset,
				size_t size)
{
	assert_true(asked_is_done(a));
	assert_int_equal(a->err, 0);
	assert_int_equal(a->size, size);
	assert_int_equal(fake_right(a->bytes, key, version, offset, size), size);
	asked_free(a);
}

/* The names of path, sorted as told, joined by spaces; answers S3's calls. */
static inline char *names_of(struct mount *t, const char *path)
{
	struct asked *d = ask_opendir(t, path), *r;
	char *all = calloc(1, 100000);
	size_t at = 0, len = 0;

	fake_answer_all();
	assert_true(d->done);
	assert_int_equal(d->err, 0);
	for (;;) {
		r = asked_new(READDIR);
		t->backend.ops->readdir(t->backend.self, d->handle, at, &r->req);
		assert_true(r->done);
		assert_int_equal(r->err, 0);
		for (size_t i = 0; i < r->count && len < 99000; i++)
			len += (size_t)sprintf(all + len, "%s%s", len ? " " : "", r->names[i]);
		at += r->count;
		if (r->count == 0)
			break;
		asked_free(r);
	}
	asked_free(r);
	t->backend.ops->releasedir(t->backend.self, d->handle);
	asked_free(d);
	return all;
}

static inline void expect_names(struct mount *t, const char *path, const char *names)
{
	char *all = names_of(t, path);

	assert_string_equal(all, names);
	free(all);
}

/* Of a log. */
static inline size_t lines_of(const char *path, const char *with)
{
	char line[1000];
	size_t n = 0;
	FILE *in = fopen(path, "r");

	assert_non_null(in);
	while (fgets(line, sizeof(line), in))
		n += strstr(line, with) != NULL;
	fclose(in);
	return n;
}

#endif
