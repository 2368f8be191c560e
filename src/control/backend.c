/* /.scoutfs: the mount explaining itself, as text files that are written at open from what is in
 * memory.
 *
 *   status            for a person
 *   metrics           for Prometheus
 *   <backend>/<entry> what a backend tells of one of its things (hosts/<name>); touching it has the
 *                     backend forget what it believed of it
 *   refresh           whatever is written to it, or touching it, has the backends list anew what they
 *                     show; there when one of them keeps listings
 *   workload          a line written to it has readers read, and it tells what came of it (workload.h);
 *                     there when the config says so
 *
 * It has no lock and no thread: a file's text is its handle, immutable from open to release. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/report.h"
#include "control/workload.h"
#include "scoutfs/backend.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/text.h"

struct control {
	const struct scout_env *env;     /* immutable */
	uint64_t start_ns;               /* immutable */
	struct timespec start;           /* immutable, wall clock */
	struct scout_workload *workload; /* immutable; NULL: there is none */
};

/* What a path names. */
enum kind {
	KIND_NONE,
	KIND_ROOT,
	KIND_STATUS,
	KIND_METRICS,
	KIND_REFRESH,
	KIND_WORKLOAD,
	KIND_DETAILS,
	KIND_DETAIL
};

struct target {
	enum kind kind;
	const struct scout_backend *backend; /* of KIND_DETAILS and KIND_DETAIL */
	const char *entry;                   /* of KIND_DETAIL */
};

/* An open file: its text as it was at open. */
struct file {
	enum kind kind;
	struct scout_text text;
};

/* A directory's handle: its entries, whose names stand in one text. */
struct dir {
	struct scout_dirent *entries;
	size_t count;
	char *names;
};

static bool keeps_listings(const struct control *c)
{
	bool any = false;

	for (size_t i = 0; i < c->env->nbackends; i++)
		any |= c->env->backends[i].ops->refresh != NULL;
	return any;
}

static void refresh(const struct control *c)
{
	for (size_t i = 0; i < c->env->nbackends; i++) {
		const struct scout_backend *be = &c->env->backends[i];

		if (be->ops->refresh)
			be->ops->refresh(be->self);
	}
}

static struct target resolve(struct control *c, const char *path)
{
	size_t len = strcspn(path, "/");
	struct target t = {KIND_NONE, NULL, NULL};

	if (!*path)
		t.kind = KIND_ROOT;
	else if (strcmp(path, "status") == 0)
		t.kind = KIND_STATUS;
	else if (strcmp(path, "metrics") == 0)
		t.kind = KIND_METRICS;
	else if (strcmp(path, "refresh") == 0 && keeps_listings(c))
		t.kind = KIND_REFRESH;
	else if (strcmp(path, "workload") == 0 && c->workload)
		t.kind = KIND_WORKLOAD;
	for (size_t i = 0; i < c->env->nbackends; i++) {
		const struct scout_backend *be = &c->env->backends[i];

		if (!be->ops->detail || strncmp(be->ops->name, path, len) != 0 ||
		    be->ops->name[len])
			continue;
		t.backend = be;
		t.kind = path[len] ? KIND_DETAIL : KIND_DETAILS;
		t.entry = path[len] ? path + len + 1 : NULL;
	}
	return t;
}

static int render(struct control *c, const struct target *t, struct scout_text *out)
{
	if (t->kind == KIND_STATUS)
		scout_report_status(c->env, scout_now_ns() - c->start_ns, out);
	else if (t->kind == KIND_METRICS)
		scout_report_metrics(c->env, scout_now_ns() - c->start_ns, out);
	else if (t->kind == KIND_WORKLOAD)
		scout_workload_show(c->workload, out);
	else if (t->kind == KIND_DETAIL)
		return t->backend->ops->detail(t->backend->self, t->entry, out);
	else if (t->kind != KIND_REFRESH) /* which has nothing to tell */
		return t->kind == KIND_NONE ? -ENOENT : -EISDIR;
	return out->failed ? -ENOMEM : 0;
}

static bool is_directory(const struct target *t)
{
	return t->kind == KIND_ROOT || t->kind == KIND_DETAILS;
}

static bool is_writable(const struct target *t)
{
	return t->kind == KIND_REFRESH || t->kind == KIND_WORKLOAD;
}

static struct scout_attr attr_of(struct control *c, const struct target *t)
{
	bool directory = is_directory(t);

	/* sizes are not known before a file is opened, as in /proc */
	return (struct scout_attr){
	    .mode = directory        ? S_IFDIR | 0555
		    : is_writable(t) ? S_IFREG | 0644
				     : S_IFREG | 0444,
	    .nlink = directory ? 2 : 1,
	    .uid = getuid(),
	    .gid = getgid(),
	    .atime = c->start,
	    .mtime = c->start,
	};
}

static uint64_t timeout_ns(void *self, const char *path)
{
	(void)self, (void)path;
	return SCOUT_NS_PER_S;
}

static void get_attr(void *self, const char *path, void *handle, struct scout_req *req)
{
	struct control *c = self;
	struct target t = resolve(c, path);
	struct scout_result res = {.ttl_ms = 1000};
	struct scout_text text = {0};
	int err = t.kind == KIND_NONE ? -ENOENT : 0;

	(void)handle; /* no name here is ever taken away */
	if (t.kind == KIND_DETAIL) {
		err = render(c, &t, &text);
		scout_text_free(&text);
	}
	if (err)
		res.ttl_ms = 0;
	else
		res.attr = attr_of(c, &t);
	scout_req_done(req, err, &res);
}

static void read_link(void *self, const char *path, struct scout_req *req)
{
	(void)self, (void)path;
	scout_req_done(req, -EINVAL, NULL);
}

static void open_file(void *self, const char *path, int flags, struct scout_req *req)
{
	struct control *c = self;
	struct target t = resolve(c, path);
	struct scout_result res = {.open = {.direct_io = true}};
	struct file *f = calloc(1, sizeof(*f));
	int err = f ? 0 : -ENOMEM;

	if (!err && (flags & O_ACCMODE) != O_RDONLY && !is_writable(&t))
		err = -EROFS;
	if (!err)
		err = render(c, &t, &f->text);
	if (err) {
		if (f)
			scout_text_free(&f->text);
		free(f);
		scout_req_done(req, err, NULL);
		return;
	}
	f->kind = t.kind;
	res.open.handle = f;
	res.open.attr = attr_of(c, &t);
	scout_req_done(req, 0, &res);
}

static void read_file(void *self, void *handle, uint64_t offset, size_t size, uint64_t version,
		      struct scout_req *req)
{
	const struct scout_text *text = &((const struct file *)handle)->text;
	size_t left = offset < text->len ? text->len - (size_t)offset : 0;
	struct iovec iov = {.iov_base = left ? text->str + offset : NULL,
			    .iov_len = left < size ? left : size};
	struct scout_result res = {.data = {.iov = &iov, .count = 1}};

	(void)self, (void)version;
	scout_req_done(req, 0, &res);
}

/* A workload's line is one write(2), as in /proc; of the other file there is nothing to be read. */
static void write_file(void *self, void *handle, uint64_t offset, const void *data, size_t size,
		       struct scout_req *req)
{
	struct control *c = self;
	const struct file *f = handle;
	struct scout_result res = {.untaken = 0};
	int err = 0;

	(void)offset;
	if (f->kind == KIND_REFRESH)
		refresh(c);
	else
		err = scout_workload_start(c->workload, data, size);
	scout_req_done(req, err, err ? NULL : &res);
}

static void release_file(void *self, void *handle)
{
	struct file *f = handle;

	(void)self;
	scout_text_free(&f->text);
	free(f);
}

/* The names of a directory, one a line; those of directories end in a slash. */
static void list_names(struct control *c, const struct target *t, struct scout_text *out)
{
	if (t->kind == KIND_DETAILS) {
		t->backend->ops->detail_list(t->backend->self, out);
		return;
	}
	scout_text_printf(out, "status\nmetrics\n%s%s", keeps_listings(c) ? "refresh\n" : "",
			  c->workload ? "workload\n" : "");
	for (size_t i = 0; i < c->env->nbackends; i++) {
		if (c->env->backends[i].ops->detail)
			scout_text_printf(out, "%s/\n", c->env->backends[i].ops->name);
	}
}

static void open_dir(void *self, const char *path, struct scout_req *req)
{
	struct control *c = self;
	struct target t = resolve(c, path);
	struct scout_result res = {0};
	struct scout_text names = {0};
	struct dir *dir;
	size_t lines = 0;

	if (t.kind != KIND_ROOT && t.kind != KIND_DETAILS) {
		scout_req_done(req, t.kind == KIND_NONE ? -ENOENT : -ENOTDIR, NULL);
		return;
	}
	list_names(c, &t, &names);
	for (size_t i = 0; i < names.len; i++)
		lines += names.str[i] == '\n';
	dir = calloc(1, sizeof(*dir));
	if (dir)
		dir->entries = calloc(lines + 1, sizeof(*dir->entries));
	if (dir && dir->entries)
		dir->names = scout_text_take(&names);
	if (!dir || !dir->names) {
		scout_text_free(&names);
		if (dir)
			free(dir->entries);
		free(dir);
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	for (char *save, *name = strtok_r(dir->names, "\n", &save); name;
	     name = strtok_r(NULL, "\n", &save)) {
		size_t len = strlen(name);
		struct target entry = {KIND_DETAIL, NULL, NULL};

		if (name[len - 1] == '/')
			name[len - 1] = '\0';
		if (t.kind == KIND_ROOT)
			entry = resolve(c, name);
		dir->entries[dir->count++] = (struct scout_dirent){name, attr_of(c, &entry)};
	}
	res.open.handle = dir;
	scout_req_done(req, 0, &res);
}

static void read_dir(void *self, void *handle, uint64_t index, struct scout_req *req)
{
	const struct dir *dir = handle;
	size_t at = index < dir->count ? (size_t)index : dir->count;
	struct scout_result res = {.ttl_ms = 1000,
				   .dir = {.entries = dir->entries + at, .count = dir->count - at}};

	(void)self;
	scout_req_done(req, 0, &res);
}

static void release_dir(void *self, void *handle)
{
	struct dir *dir = handle;

	(void)self;
	free(dir->names);
	free(dir->entries);
	free(dir);
}

/* touch(1) and truncation are all that can be done to anything here. */
static void set_attr(void *self, const char *path, void *handle, const struct scout_setattr *change,
		     struct scout_req *req)
{
	struct control *c = self;
	struct target t = resolve(c, path);
	struct scout_result res = {.ttl_ms = 1000};
	int err = t.kind == KIND_NONE ? -ENOENT : -EROFS;

	(void)handle; /* no name here is ever taken away */
	if (t.kind == KIND_WORKLOAD && !(change->set & ~SCOUT_SET_SIZE)) {
		err = 0; /* `echo >` truncates it first */
	} else if (t.kind == KIND_REFRESH &&
		   !(change->set & ~(SCOUT_SET_SIZE | SCOUT_SET_ATIME | SCOUT_SET_MTIME))) {
		refresh(c);
		err = 0;
	} else if (t.kind == KIND_DETAIL && t.backend->ops->retry &&
		   !(change->set & ~(SCOUT_SET_ATIME | SCOUT_SET_MTIME))) {
		err = t.backend->ops->retry(t.backend->self, t.entry);
	}
	res.changed.attr = attr_of(c, &t);
	scout_req_done(req, err, err ? NULL : &res);
}

static void stat_fs(void *self, const char *path, struct scout_req *req)
{
	struct scout_result res = {.space = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255}};

	(void)self, (void)path; /* nothing is stored here */
	scout_req_done(req, 0, &res);
}

static void no_report(void *self, struct scout_text *out)
{
	(void)self, (void)out;
}

static void stop(void *self)
{
	struct control *c = self;

	scout_workload_stop(c->workload); /* no request is ever pending */
}

static void control_free(void *self)
{
	struct control *c = self;

	scout_workload_free(c->workload);
	free(c);
}

static const struct scout_backend_ops control_ops = {
    .name = ".scoutfs",
    .timeout_ns = timeout_ns,
    .getattr = get_attr,
    .readlink = read_link,
    .open = open_file,
    .read = read_file,
    .release = release_file,
    .opendir = open_dir,
    .readdir = read_dir,
    .releasedir = release_dir,
    .statfs = stat_fs,
    .setattr = set_attr,
    .write = write_file,
    .status = no_report,
    .metrics = no_report,
    .stop = stop,
    .free = control_free,
};

int scout_control_new(const struct scout_env *env, struct scout_backend *ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int err = c ? 0 : -ENOMEM;

	if (!err && env->config->models.bucket && env->config->models.workload)
		err = scout_workload_new(env->mountpoint, &c->workload);
	if (err) {
		free(c);
		return err;
	}
	c->env = env;
	c->start_ns = scout_now_ns();
	clock_gettime(CLOCK_REALTIME, &c->start);
	*ret = (struct scout_backend){&control_ops, c};
	return 0;
}
