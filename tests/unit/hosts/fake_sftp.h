/* A stand-in for the SFTP engine: a session is a thread that answers calls in order from a tree in
 * memory, and tests say when it comes up, stalls, answers short or dies. Included by one test
 * program, it takes the place of sftp/ at link time. All of its state is under fake.lock. */
#ifndef SCOUTFS_TESTS_FAKE_SFTP_H
#define SCOUTFS_TESTS_FAKE_SFTP_H

#include <unistd.h>

#include "fake_tree.h"
#include "scoutfs/log.h"

static inline bool fake_offers(const struct scout_sftp_call *c)
{
	return c->op < SCOUT_SFTP_POSIX_RENAME || fake.server.extensions & SCOUT_SFTP_EXT(c->op);
}

static inline struct scout_sftp_call *fake_next_locked(struct scout_sftp *s)
{
	struct scout_sftp_call *c;

	if (fake.fstat_first)
		TAILQ_FOREACH (c, &s->queue, link)
			if (c->op == SCOUT_SFTP_FSTAT)
				return c;
	TAILQ_FOREACH (c, &s->queue, link) {
		if (fake.overtaken & 1u << c->op)
			continue;
		if (c->op != SCOUT_SFTP_WRITE || !fake.writes_max ||
		    fake.count[SCOUT_SFTP_WRITE] < fake.writes_max)
			return c;
	}
	return NULL;
}

static inline void *fake_session(void *arg)
{
	struct scout_sftp *s = arg;
	struct scout_sftp_server server;
	struct scout_sftp_name names[100];
	char text[100][16];
	struct scout_sftp_call *c;
	int err;

	pthread_mutex_lock(&fake.lock);
	while ((fake.hold_connects || (fake.hold_from && s->number >= fake.hold_from)) &&
	       !s->stop && !s->kill)
		pthread_cond_wait(&fake.changed, &fake.lock);
	err = s->stop ? -1 : s->kill ? s->kill : fake.connect_err;
	server = fake.server;
	server.read_bytes = fake.read_bytes;
	if (!err) {
		s->up = true;
		fake.ups++;
		pthread_cond_broadcast(&fake.changed);
		pthread_mutex_unlock(&fake.lock);
		s->events->up(s->arg, &server, 1000000);
		pthread_mutex_lock(&fake.lock);
	}
	while (!err && !s->stop && !s->kill) {
		c = fake.hold_answers ? NULL : fake_next_locked(s);
		if (!c) {
			pthread_cond_wait(&fake.changed, &fake.lock);
			continue;
		}
		int answer = -EOPNOTSUPP;

		if (fake_offers(c)) {
			fake.count[c->op]++;
			c->sent_ns = scout_now_ns() - fake.far_ns;
			if (fake.before)
				fake.before(s, c);
			if (s->kill)
				break;
			answer =
			    fake.refuse ? fake_failure(c) : fake_answer_locked(s, c, names, text);
		}
		TAILQ_REMOVE(&s->queue, c, link);

		s->in_flight--;
		pthread_mutex_unlock(&fake.lock);
		c->done(c, answer);
		pthread_mutex_lock(&fake.lock);
		pthread_cond_broadcast(&fake.changed);
	}
	s->over = true;
	while ((c = TAILQ_FIRST(&s->queue))) {
		TAILQ_REMOVE(&s->queue, c, link);
		s->in_flight--;
		pthread_mutex_unlock(&fake.lock);
		c->done(c, -ECONNRESET);
		pthread_mutex_lock(&fake.lock);
	}
	fake.live--;
	err = s->stop ? 0 : s->kill ? s->kill : err;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	s->events->down(s->arg, err, "as the test said");
	return NULL;
}

int scout_sftp_engine_new(struct scout_sftp_engine **ret)
{
	*ret = NULL;
	return 0;
}

void scout_sftp_engine_free(struct scout_sftp_engine *e)
{
	(void)e;
}

struct scout_sftp_peer {
	bool none;
};

struct scout_sftp_peer *scout_sftp_peer_new(void)
{
	return calloc(1, sizeof(struct scout_sftp_peer));
}

void scout_sftp_peer_free(struct scout_sftp_peer *p)
{
	free(p);
}

void scout_sftp_peer_keep(struct scout_sftp_peer *p)
{
	(void)p;
}

int scout_sftp_peer_moved(struct scout_sftp_peer *p, const struct scout_host_config *host,
			  uint64_t deadline_ns)
{
	(void)p;
	(void)deadline_ns;
	return fake.moved && strcmp(fake.moved, host->name) == 0;
}

int scout_sftp_start(struct scout_sftp_engine *e, const struct scout_host_config *host,
		     const struct scout_sftp_events *events, void *arg,
		     struct scout_sftp_peer *peer, struct scout_sftp **ret)
{
	struct scout_sftp *s;
	int err;

	(void)e;
	(void)peer;
	pthread_mutex_lock(&fake.lock);
	err = fake.start_err;
	pthread_mutex_unlock(&fake.lock);
	if (err)
		return err;
	s = calloc(1, sizeof *s);
	s->host = host;
	s->events = events;
	s->arg = arg;
	TAILQ_INIT(&s->queue);
	pthread_mutex_lock(&fake.lock);
	assert_true(fake.starts < FAKE_SESSIONS);
	s->number = fake.starts++;
	fake.sessions[s->number] = s;
	(void)snprintf(fake.started[s->number], sizeof fake.started[0], "%s", host->name);
	if (++fake.live > fake.max_live)
		fake.max_live = fake.live;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	*ret = s;
	assert_int_equal(pthread_create(&s->thread, NULL, fake_session, s), 0);
	return 0;
}

int scout_sftp_submit(struct scout_sftp *s, struct scout_sftp_call *call)
{
	int err = 0;

	call->status = SCOUT_SFTP_STATUS_NONE;
	call->sent_ns = fake.sends_at_once ? scout_now_ns() : 0;
	pthread_mutex_lock(&fake.lock);
	if (s->over) {
		err = -ENOTCONN;
	} else {
		TAILQ_INSERT_TAIL(&s->queue, call, link);
		s->in_flight++;
	}
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return err;
}

void scout_sftp_stop(struct scout_sftp *s)
{
	FAKE_LOCKED(s->stop = true);
}

void scout_sftp_join(struct scout_sftp *s)
{
	pthread_join(s->thread, NULL);
	FAKE_LOCKED(fake.sessions[s->number] = NULL, fake.joins++);
	free(s);
}

void scout_sftp_stats(struct scout_sftp_engine *e, struct scout_sftp_stats *ret)
{
	(void)e;
	*ret = (struct scout_sftp_stats){0};
}

/* --- the backend under test, and requests to it --- */

static struct {
	struct scout_config config;
	struct scout_host_config hosts[8];
	struct scout_budget *budget;
	struct scout_metrics metrics;
	struct scout_backend backend;
} rig;

/* n hosts "h0", "h1"…; the caller may change rig.config and rig.hosts before rig_start. */
static inline void rig_config(unsigned n)
{
	static char names[8][4] = {"h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7"};
	static char root[] = "/";

	memset(&rig, 0, sizeof rig);
	fake_reset();
	rig.config.max_sessions = 100;
	rig.config.max_connecting = 32;
	rig.config.hosts = rig.hosts;
	rig.config.nhosts = n;
	for (unsigned i = 0; i < n; i++)
		rig.hosts[i] = (struct scout_host_config){
		    .name = names[i],
		    .root = root,
		    .connect_timeout_ns = 10 * SCOUT_NS_PER_S,
		    .request_timeout_ns = 10 * SCOUT_NS_PER_S,
		    .idle_timeout_ns = 3600 * SCOUT_NS_PER_S,
		    .attr_timeout_ns = SCOUT_NS_PER_S,
		    .max_sessions_per_host = 4,
		    .read_window = 16 << 20,
		    .contain_symlinks = true,
		};
}

static inline void rig_start(size_t memory)
{
	struct scout_env env = {.config = &rig.config, .metrics = &rig.metrics};

	assert_int_equal(scout_budget_new(memory, &rig.budget), 0);
	env.budget = rig.budget;
	assert_int_equal(scout_hosts_new(&env, &rig.backend), 0);
}

static inline void rig_stop(void)
{
	rig.backend.ops->stop(rig.backend.self);
	rig.backend.ops->free(rig.backend.self);
	scout_budget_free(rig.budget); /* asserts that every buffer came back */
	assert_int_equal(fake.joins, fake.starts);
}

struct ask {
	struct scout_req req;
	bool done;
	unsigned times;
	int err;
	void *handle;
	struct scout_attr attr;
	bool direct_io;
	uint8_t *data;
	size_t size;
	size_t entries;
	char first[256];
	char target[256];
	uint64_t was;
	bool known;
	struct statvfs space;
	uint64_t copied;
	enum {
		ASK_ATTR,
		ASK_OPEN,
		ASK_DATA,
		ASK_DIR,
		ASK_LINK,
		ASK_CHANGED,
		ASK_SPACE,
		ASK_SYNCED,
		ASK_COPY,
		ASK_NONE
	} kind;
};

static inline void ask_done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct ask *a = (struct ask *)req;

	if (!err && a->kind == ASK_ATTR) {
		a->attr = res->attr;
	} else if (!err && a->kind == ASK_OPEN) {
		a->handle = res->open.handle;
		a->attr = res->open.attr;
		a->direct_io = res->open.direct_io;
	} else if (!err && a->kind == ASK_CHANGED) {
		a->attr = res->changed.attr;
		a->was = res->changed.was;
	} else if (!err && a->kind == ASK_SYNCED) {
		a->known = res->synced.known;
		a->attr = res->synced.attr;
	} else if (!err && a->kind == ASK_SPACE) {
		a->space = res->space;
	} else if (!err && a->kind == ASK_COPY) {
		a->copied = res->copied;
	} else if (!err && a->kind == ASK_LINK) {
		(void)snprintf(a->target, sizeof a->target, "%s", res->target);
	} else if (!err && a->kind == ASK_DIR) {
		a->entries = res->dir.count;
		if (a->entries)
			(void)snprintf(a->first, sizeof a->first, "%s", res->dir.entries[0].name);
	} else if (!err && a->kind == ASK_DATA) {
		for (int i = 0; i < res->data.count; i++) {
			a->data = realloc(a->data, a->size + res->data.iov[i].iov_len + 1);
			memcpy(a->data + a->size, res->data.iov[i].iov_base,
			       res->data.iov[i].iov_len);
			a->size += res->data.iov[i].iov_len;
		}
	}
	FAKE_LOCKED(a->err = err, a->times++, a->done = true);
}

static inline void ask_start(struct ask *a, int kind)
{
	free(a->data);
	memset(a, 0, sizeof *a);
	a->req.done = ask_done;
	a->kind = kind;
}

static inline int ask_wait(struct ask *a)
{
	FAKE_WAIT(a->done);
	return a->err;
}

static inline void ask_getattr(struct ask *a, const char *path)
{
	ask_start(a, ASK_ATTR);
	rig.backend.ops->getattr(rig.backend.self, path, NULL, &a->req);
}

static inline void ask_open_start(struct ask *a, const char *path)
{
	ask_start(a, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, path, 0, &a->req);
}

static inline int ask_open(struct ask *a, const char *path)
{
	ask_open_start(a, path);
	return ask_wait(a);
}

static inline void ask_read(struct ask *a, const struct ask *file, uint64_t offset, size_t size)
{
	ask_start(a, ASK_DATA);
	rig.backend.ops->read(rig.backend.self, file->handle, offset, size, file->attr.version,
			      &a->req);
}

static inline void file_release(struct ask *file)
{
	rig.backend.ops->release(rig.backend.self, file->handle);
}

/* The log goes to a file of its own, until log_lines. */
static inline int log_apart(void)
{
	char path[] = "/tmp/scoutfs-log-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(scout_log_open(SCOUT_LOG_WARN, path, false), 0);
	unlink(path);
	return fd;
}

/* How many of its lines have word, once each. */
static inline unsigned log_lines(int fd, const char *word)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	unsigned lines = 0;

	assert_int_equal(scout_log_open(SCOUT_LOG_INFO, NULL, false), 0);
	assert_true(n >= 0);
	close(fd);
	text[n] = '\0';
	for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
		lines++;
	return lines;
}

#endif
