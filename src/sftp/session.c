/* A session's life: its thread, its queue, its end. The thread alone touches libssh. Others reach it
 * by the queue and two flags under s->lock, and an eventfd that wakes it. No callback runs with the
 * lock held. */
#include "sftp/session.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/log.h"
#include "scoutfs/text.h"

/* The session whose thread this is: it looks at its queue without being woken. */
static _Thread_local struct scout_sftp *own_session;

int scout_sftp_fail(struct scout_sftp *s, int err, const char *fmt, ...)
{
	va_list ap;

	if (s->err)
		return s->err;
	s->err = err;
	va_start(ap, fmt);
	vsnprintf(s->reason, sizeof(s->reason), fmt, ap);
	va_end(ap);
	return err;
}

int scout_sftp_fail_ssh(struct scout_sftp *s, const char *what)
{
	char words[200], text[32];

	if (scout_sftp_stopping(s))
		return scout_sftp_fail(s, -ECANCELED, "stopped");
	if (scout_sftp_watch_fired(s->engine, &s->watch) ||
	    (!s->up && scout_now_ns() >= s->deadline_ns))
		return scout_sftp_fail(s, -ETIMEDOUT, "%s: not done after %s", what,
				       scout_format_duration(text, s->deadline_ns - s->start_ns));
	/* libssh tells an orderly close as "Success" or "disconnected" */
	scout_format_name(words, sizeof(words), ssh_get_error(s->ssh));
	if (!words[0] || strstr(words, "Success") || strstr(words, "disconnected"))
		snprintf(words, sizeof(words), "the server closed the connection");
	return scout_sftp_fail(s, -ECONNRESET, "%s: %s", what, words);
}

bool scout_sftp_stopping(struct scout_sftp *s)
{
	bool stopping;

	scout_lock(&s->lock);
	stopping = s->stopping;
	scout_unlock(&s->lock);
	return stopping;
}

int scout_sftp_wait(struct scout_sftp *s, int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = s->wake_fd, .events = POLLIN}};
	uint64_t now;
	int ms;

	for (;;) {
		if (scout_sftp_stopping(s))
			return -ECANCELED;
		now = scout_now_ns();
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		ms = (int)((deadline_ns - now) / SCOUT_NS_PER_MS) + 1;
		if (poll(p, 2, ms) < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents)
			return 0;
	}
}

static void fail_call(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call != &s->keepalive)
		call->done(call, -ECONNRESET);
}

/* Closes the queue and completes every call that is left, sent ones first. */
static void fail_calls(struct scout_sftp *s)
{
	struct scout_sftp_calls queued = TAILQ_HEAD_INITIALIZER(queued);
	struct scout_sftp_call *call;

	scout_lock(&s->lock);
	s->over = true;
	TAILQ_CONCAT(&queued, &s->queue, link);
	TAILQ_CONCAT(&queued, &s->reads, link);
	scout_unlock(&s->lock);
	while ((call = TAILQ_FIRST(&s->stream.in_flight))) {
		scout_sftp_stream_remove(&s->stream, call);
		fail_call(s, call);
	}
	while ((call = TAILQ_FIRST(&queued))) {
		TAILQ_REMOVE(&queued, call, link);
		fail_call(s, call);
	}
}

static void *run(void *arg)
{
	struct scout_sftp *s = arg;
	bool stopped;

	own_session = s;
	if (!scout_sftp_connect(s))
		scout_sftp_serve(s);
	fail_calls(s);
	scout_sftp_disconnect(s);
	scout_sftp_watch_remove(s->engine, &s->watch);
	scout_sftp_stream_free(&s->stream);
	scout_sftp_buf_free(&s->out);
	stopped = scout_sftp_stopping(s);
	s->events->down(s->arg, stopped ? 0 : s->err, stopped ? "stopped" : s->reason);
	return NULL;
}

static void free_session(struct scout_sftp *s)
{
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	scout_mutex_destroy(&s->lock);
	free(s);
}

int scout_sftp_start(struct scout_sftp_engine *e, const struct scout_host_config *host,
		     const struct scout_sftp_events *events, void *arg,
		     struct scout_sftp_peer *peer, struct scout_sftp **ret)
{
	struct scout_sftp *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->engine = e;
	s->host = host;
	s->events = events;
	s->arg = arg;
	s->peer = peer;
	scout_mutex_init(&s->lock, SCOUT_LOCK_ENGINE);
	TAILQ_INIT(&s->queue);
	TAILQ_INIT(&s->reads);
	TAILQ_INIT(&s->stream.in_flight);
	s->awake = true; /* the loop looks at the queue before its first sleep */
	s->start_ns = scout_now_ns();
	s->deadline_ns = s->start_ns + host->connect_timeout_ns;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0) {
		err = -errno;
		free_session(s);
		return err;
	}
	scout_sftp_watch_add(e, &s->watch, s->deadline_ns);
	err = scout_thread_start(&s->thread, "sftp", run, s);
	if (err) {
		scout_sftp_watch_remove(e, &s->watch);
		free_session(s);
		return err;
	}
	*ret = s;
	return 0;
}

static void wake(struct scout_sftp *s)
{
	const uint64_t one = 1;

	(void)!write(s->wake_fd, &one, sizeof(one)); /* full is awake, too */
}

int scout_sftp_submit(struct scout_sftp *s, struct scout_sftp_call *call)
{
	bool must_wake, over;

	call->got = 0;
	call->names = NULL;
	call->names_count = 0;
	call->status = SCOUT_SFTP_STATUS_NONE;
	call->sent_ns = 0;
	scout_lock(&s->lock);
	over = s->over;
	must_wake = !s->awake && own_session != s;
	if (!over) {
		if (call->op == SCOUT_SFTP_READ || call->behind_reads)
			TAILQ_INSERT_TAIL(&s->reads, call, link);
		else
			TAILQ_INSERT_TAIL(&s->queue, call, link);
		s->awake = s->awake || must_wake;
	}
	scout_unlock(&s->lock);
	if (over)
		return -ENOTCONN;
	if (must_wake)
		wake(s);
	return 0;
}

void scout_sftp_stop(struct scout_sftp *s)
{
	bool first, up;

	scout_lock(&s->lock);
	first = !s->stopping && !s->over;
	s->stopping = true;
	up = s->up;
	scout_unlock(&s->lock);
	if (!first)
		return;
	if (!up) /* it may wait inside of libssh */
		scout_sftp_watch_set(s->engine, &s->watch, 0);
	wake(s);
}

void scout_sftp_join(struct scout_sftp *s)
{
	pthread_join(s->thread, NULL);
	free_session(s);
}
