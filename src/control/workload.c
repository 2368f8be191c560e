/* Workloads; see workload.h. w->lock for the runs; the thread alone has the child. */
#include "control/workload.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "scoutfs/child.h"
#include "scoutfs/clock.h"
#include "scoutfs/lock.h"
#include "scoutfs/log.h"

#define LINE_MAX_BYTES 1024
#define NAME_MAX_BYTES 512
#define CLIENTS_MAX 1000
#define SECONDS_MAX 86400
#define RESULT_MAX 1024 /* of what a run printed: its last lines */
#define GRACE_MS 2000

struct order {
	unsigned clients, seconds;
	char model[NAME_MAX_BYTES], version[NAME_MAX_BYTES];
};

struct run {
	unsigned id; /* 0: none */
	struct order order;
	uint64_t start_ns, end_ns; /* end_ns 0: it runs */
	bool failed;
	char result[RESULT_MAX]; /* whole lines */
};

struct scout_workload {
	const char *mountpoint; /* immutable */
	int stop_fd;            /* immutable: an eventfd */

	struct scout_mutex lock;
	/* under lock */
	struct run runs[SCOUT_RUNS_MAX]; /* id % SCOUT_RUNS_MAX */
	unsigned last;                   /* id of the newest; 0: none yet */
	bool busy, stopping;
	bool started; /* there is a thread to join */
	pthread_t thread;
};

int scout_workload_new(const char *mountpoint, struct scout_workload **ret)
{
	struct scout_workload *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->mountpoint = mountpoint;
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (w->stop_fd < 0) {
		int err = -errno;

		free(w);
		return err;
	}
	scout_mutex_init(&w->lock, SCOUT_LOCK_LEAF);
	*ret = w;
	return 0;
}

void scout_workload_stop(struct scout_workload *w)
{
	bool started;

	if (!w)
		return;
	(void)eventfd_write(w->stop_fd, 1); /* a counter of one: cannot fail */
	scout_lock(&w->lock);
	w->stopping = true;
	started = w->started;
	w->started = false;
	scout_unlock(&w->lock);
	if (started)
		pthread_join(w->thread, NULL);
}

void scout_workload_free(struct scout_workload *w)
{
	if (!w)
		return;
	scout_mutex_destroy(&w->lock);
	close(w->stop_fd);
	free(w);
}

/* ---- the line ---- */

static bool number(const char *text, unsigned min, unsigned max, unsigned *ret)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || value < min || value > max)
		return false;
	*ret = (unsigned)value;
	return true;
}

/* A relative path, of which no component leads elsewhere. */
static bool name(const char *text, char ret[NAME_MAX_BYTES])
{
	char copy[NAME_MAX_BYTES], *save, *part;

	if (!*text || strlen(text) >= sizeof(copy) || *text == '/')
		return false;
	strcpy(copy, text);
	for (part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
			return false;
	}
	strcpy(ret, text);
	return true;
}

static bool parse_word(char *word, struct order *o)
{
	char *value = strchr(word, '=');

	if (!value)
		return false;
	*value++ = '\0';
	if (strcmp(word, "clients") == 0)
		return number(value, 1, CLIENTS_MAX, &o->clients);
	if (strcmp(word, "duration") == 0)
		return number(value, 0, SECONDS_MAX, &o->seconds);
	if (strcmp(word, "model") == 0)
		return name(value, o->model);
	return strcmp(word, "version") == 0 && name(value, o->version);
}

static bool parse(const char *line, size_t len, struct order *ret)
{
	struct order o = {.clients = 100};
	char copy[LINE_MAX_BYTES], *save, *word;

	if (len >= sizeof(copy) || memchr(line, '\0', len))
		return false;
	memcpy(copy, line, len);
	copy[len] = '\0';
	for (word = strtok_r(copy, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save)) {
		if (!parse_word(word, &o))
			return false;
	}
	*ret = o;
	return o.model[0] && o.version[0];
}

/* ---- a run ---- */

static struct run *newest_locked(struct scout_workload *w)
{
	return &w->runs[w->last % SCOUT_RUNS_MAX];
}

/* The load generator, beside the binary that we are. */
static int add_program(struct scout_args *args)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len < 0)
		return -errno;
	self[len] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	scout_args_add(args, "%s/scoutfs-load", self);
	return args->err;
}

static int start_child(struct scout_workload *w, const struct order *o, struct scout_child *child,
		       int *fd)
{
	struct scout_args args = {0};
	int err = add_program(&args);

	if (!err) {
		scout_args_add(&args, "--progress");
		scout_args_add(&args, "--clients=%u", o->clients);
		scout_args_add(&args, "--duration=%u", o->seconds);
		scout_args_add(&args, "%s/models/%s/%s/model.zip", w->mountpoint, o->model,
			       o->version);
		err = args.err ? args.err : scout_child_start(child, args.argv, NULL, fd);
	}
	scout_args_free(&args);
	return err;
}

/* What the child printed replaces the progress before it: each line, and after the last one of progress
 * the figures, which stay together. */
static void note_line(struct scout_workload *w, const char *line)
{
	struct run *r;
	size_t used;

	scout_lock(&w->lock);
	r = newest_locked(w);
	if (strncmp(r->result, "progress", 8) == 0)
		r->result[0] = '\0';
	used = strlen(r->result);
	if (used + strlen(line) + 2 <= sizeof(r->result))
		snprintf(r->result + used, sizeof(r->result) - used, "%s\n", line);
	scout_unlock(&w->lock);
}

/* Reads what the child prints until it ends or we do. */
static void follow(struct scout_workload *w, int fd)
{
	struct pollfd p[] = {{.fd = w->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	char text[RESULT_MAX];
	size_t len = 0;

	for (;;) {
		char *line = text, *end;
		ssize_t n;

		if (poll(p, 2, -1) < 0)
			continue; /* a signal */
		if (p[0].revents)
			return;
		n = read(fd, text + len, sizeof(text) - 1 - len);
		if (n <= 0)
			return;
		len += (size_t)n;
		text[len] = '\0';
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			note_line(w, line);
		}
		len = (size_t)(text + len - line);
		if (len == sizeof(text) - 1)
			len = 0; /* no line of ours is as long as that */
		memmove(text, line, len);
	}
}

static void *run(void *arg)
{
	struct scout_workload *w = arg;
	struct scout_child child = {0};
	char complaint[256] = "";
	struct order order;
	bool fine = false;
	int fd, err;

	scout_lock(&w->lock);
	order = newest_locked(w)->order;
	scout_unlock(&w->lock);
	err = start_child(w, &order, &child, &fd);
	if (err) {
		scout_error("workload: scoutfs-load: %s", strerror(-err));
		snprintf(complaint, sizeof(complaint), "scoutfs-load: %s", strerror(-err));
	} else {
		follow(w, fd);
		close(fd);
		scout_child_wait(&child, GRACE_MS);
		fine = scout_child_end(&child, GRACE_MS, complaint, sizeof(complaint));
	}
	if (complaint[0])
		note_line(w, complaint);
	scout_lock(&w->lock);
	newest_locked(w)->failed = !fine;
	newest_locked(w)->end_ns = scout_now_ns();
	w->busy = false;
	scout_unlock(&w->lock);
	return NULL;
}

int scout_workload_start(struct scout_workload *w, const char *line, size_t len)
{
	struct order order;
	pthread_t before;
	bool join;
	int err;

	if (!parse(line, len, &order)) {
		scout_warn("workload: want 'model=M version=V', and clients=N (1 to %d) and "
			   "duration=SECONDS if need be",
			   CLIENTS_MAX);
		return -EINVAL;
	}
	scout_lock(&w->lock);
	err = w->stopping ? -ESHUTDOWN : w->busy ? -EBUSY : 0;
	if (err) {
		scout_unlock(&w->lock);
		return err;
	}
	w->busy = true;
	join = w->started;
	before = w->thread;
	w->started = false;
	scout_unlock(&w->lock);
	if (join)
		pthread_join(before, NULL); /* it has said its last word */
	scout_lock(&w->lock);
	w->last++;
	*newest_locked(w) = (struct run){.id = w->last, .order = order, .start_ns = scout_now_ns()};
	err = w->stopping ? -ESHUTDOWN : scout_thread_start(&w->thread, "workload", run, w);
	w->started = !err;
	w->busy = !err;
	if (err)
		newest_locked(w)->id = 0;
	scout_unlock(&w->lock);
	return err;
}

void scout_workload_show(struct scout_workload *w, struct scout_text *out)
{
	char duration[32];
	unsigned id;

	scout_lock(&w->lock);
	id = w->last > SCOUT_RUNS_MAX ? w->last - SCOUT_RUNS_MAX + 1 : 1;
	for (; id <= w->last; id++) {
		const struct run *r = &w->runs[id % SCOUT_RUNS_MAX];

		if (r->id != id)
			continue;
		scout_text_printf(
		    out, "run %u: model=%s version=%s clients=%u duration=%u: %s, %s\n", id,
		    r->order.model, r->order.version, r->order.clients, r->order.seconds,
		    !r->end_ns  ? "running"
		    : r->failed ? "failed"
				: "done",
		    scout_format_duration(duration,
					  (r->end_ns ? r->end_ns : scout_now_ns()) - r->start_ns));
		for (const char *line = r->result; *line; line = strchr(line, '\n') + 1)
			scout_text_printf(out, "  %.*s\n", (int)strcspn(line, "\n"), line);
	}
	scout_unlock(&w->lock);
}
