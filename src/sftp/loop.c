/* A session at work: one poll(2) loop over the SSH connection and the wake-up descriptor. Takes calls
 * from its queues while there is room in flight, writes requests as far as the server's window goes,
 * keeps our own receive window open, and watches for silence. All on the session's thread; the lock
 * is held only to look at the queue. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/log.h"
#include "sftp/session.h"
#include "sftp/socket.h"

#define WINDOW_MIN ((size_t)2 * 1024 * 1024)
#define WINDOW_MAX ((size_t)64 * 1024 * 1024)
#define SLEEP_MAX_NS (60 * SCOUT_NS_PER_S)
/* encoded and not yet taken by the server's window: what is more waits in the queue, unsent */
#define OUT_MAX ((size_t)512 * 1024)
/* fewer bytes of an answer than these do not show that it will ever be whole */
#define PART_BYTES 4096
/* a session at rest keeps no larger buffer for what it sends */
#define OUT_KEPT ((size_t)64 * 1024)

static void note_progress(struct scout_sftp *s)
{
	s->last_in_ns = scout_now_ns();
	s->part_bytes = 0;
}

static void answered(void *arg, struct scout_sftp_call *call, int err)
{
	struct scout_sftp *s = arg;
	const struct scout_sftp_call *oldest = TAILQ_FIRST(&s->stream.in_flight);

	note_progress(s);
	if (!s->round_trip_ns || s->last_in_ns - call->sent_ns < s->round_trip_ns)
		s->round_trip_ns = s->last_in_ns - call->sent_ns;
	if (!oldest || (int32_t)(oldest->id - call->id) > 0)
		s->overtaken_ns = 0;
	else if (!s->overtaken_ns)
		s->overtaken_ns = s->last_in_ns;
	if (call->op == SCOUT_SFTP_READ)
		scout_sftp_stream_note_read(&s->stream, call, s->last_in_ns - call->sent_ns,
					    s->round_trip_ns);
	call->done(call, err);
}

static void keepalive_done(struct scout_sftp_call *call, int err)
{
	(void)call;
	(void)err; /* any answer shows that the server lives */
}

/* Takes everything, always: libssh would offer again, and buffer, what is left. */
static int on_data(ssh_session ssh, ssh_channel channel, void *data, uint32_t len, int is_stderr,
		   void *userdata)
{
	struct scout_sftp *s = userdata;

	(void)ssh;
	(void)channel;
	s->window_used += len;
	s->part_bytes += len;
	if (s->part_bytes >= PART_BYTES)
		note_progress(s);
	scout_count(&s->engine->bytes_in, len);
	if (!is_stderr && !s->stream_err)
		s->stream_err = scout_sftp_stream_feed(&s->stream, data, len);
	return (int)len;
}

static void on_end(ssh_session ssh, ssh_channel channel, void *userdata)
{
	struct scout_sftp *s = userdata;

	(void)ssh;
	(void)channel;
	s->channel_closed = true;
}

int scout_sftp_new_channel(struct scout_sftp *s)
{
	scout_sftp_stream_init(&s->stream, answered, s);
	s->channel = ssh_channel_new(s->ssh);
	if (!s->channel)
		return -ENOMEM;
	s->channel_callbacks.userdata = s;
	s->channel_callbacks.channel_data_function = on_data;
	s->channel_callbacks.channel_eof_function = on_end;
	s->channel_callbacks.channel_close_function = on_end;
	ssh_callbacks_init(&s->channel_callbacks);
	return ssh_set_channel_callbacks(s->channel, &s->channel_callbacks) == SSH_OK ? 0 : -ENOMEM;
}

static int on_wake(socket_t fd, int revents, void *userdata)
{
	uint64_t ignored;

	(void)revents;
	(void)userdata;
	(void)!read(fd, &ignored, sizeof(ignored)); /* empty already is fine */
	return 0;
}

static bool has_room(const struct scout_sftp *s, const struct scout_sftp_call *call)
{
	const struct scout_sftp_stream *st = &s->stream;

	if (st->count == SCOUT_SFTP_CALLS_MAX || s->out.len >= OUT_MAX)
		return false;
	return call->op != SCOUT_SFTP_READ ||
	       scout_sftp_stream_may_read(st, call->length, s->round_trip_ns, s->window);
}

/* The queue whose first call may go out: the two take turns. */
static struct scout_sftp_calls *due_locked(struct scout_sftp *s)
{
	struct scout_sftp_calls *queues[] = {&s->queue, &s->reads};

	for (unsigned i = 0; i < 2; i++) {
		struct scout_sftp_calls *queue = queues[(s->reads_next + i) % 2];

		if (!TAILQ_EMPTY(queue) && has_room(s, TAILQ_FIRST(queue)))
			return queue;
	}
	return NULL;
}

/* The next call that may go out. Without one, the next submit must wake us, unless an answer must
 * make room first. */
static struct scout_sftp_call *next_call(struct scout_sftp *s)
{
	struct scout_sftp_call *call = NULL;
	struct scout_sftp_calls *queue;

	scout_lock(&s->lock);
	queue = due_locked(s);
	if (queue) {
		call = TAILQ_FIRST(queue);
		TAILQ_REMOVE(queue, call, link);
		s->reads_next = queue == &s->queue;
	} else if (TAILQ_EMPTY(&s->queue)) {
		s->awake = false;
	}
	scout_unlock(&s->lock);
	return call;
}

/* Nearly all servers take SYMLINK's paths as OpenSSH does, the wrong way round (PROTOCOL, 4.1). */
static int encode(struct scout_sftp *s, const struct scout_sftp_call *call)
{
	struct scout_sftp_call turned;

	if (call->op != SCOUT_SFTP_SYMLINK || !s->symlinks_as_drafted)
		return scout_sftp_encode_call(&s->out, call);
	turned = *call;
	turned.path = call->path2;
	turned.path2 = call->path;
	return scout_sftp_encode_call(&s->out, &turned);
}

static void send_call(struct scout_sftp *s, struct scout_sftp_call *call, uint64_t now)
{
	int err;

	if (scout_sftp_is_extension(call->op) &&
	    !(s->stream.server.extensions & SCOUT_SFTP_EXT(call->op))) {
		call->done(call, -EOPNOTSUPP);
		return;
	}
	if (!scout_sftp_stream_add(&s->stream, call)) {
		call->done(call, -EAGAIN); /* only the keepalive, and then it is not needed */
		return;
	}
	err = encode(s, call);
	if (err) {
		scout_sftp_stream_remove(&s->stream, call);
		call->done(call, err);
		return;
	}
	call->sent_ns = now; /* it may leave from now on */
	scout_count(&s->engine->requests, 1);
}

static void send_queued(struct scout_sftp *s)
{
	uint64_t now = scout_now_ns();
	struct scout_sftp_call *call;

	while ((call = next_call(s)))
		send_call(s, call, now);
}

static bool is_lost(const struct scout_sftp *s)
{
	return !ssh_is_connected(s->ssh) ||
	       ssh_get_status(s->ssh) & (SSH_CLOSED | SSH_CLOSED_ERROR);
}

/* Whether there is something to do that no descriptor will tell of any more. libssh polls inside of
 * its calls too, and takes the news: an answer, the channel's end, the wake-up of a submit or a stop; and
 * the connection's end, after which it polls that descriptor no more, though the call may have succeeded. */
static bool anything_to_do(struct scout_sftp *s)
{
	bool more;

	if (s->stream_err || s->channel_closed || scout_sftp_stopping(s) || is_lost(s))
		return true;
	if (s->stream.phase != SCOUT_SFTP_OPEN_FOR_CALLS)
		return false;
	scout_lock(&s->lock);
	more = due_locked(s);
	scout_unlock(&s->lock);
	return more;
}

/* As much of out as the server's window and libssh take now: writing may itself bring news of more
 * window. */
static int flush(struct scout_sftp *s)
{
	int n = 1;

	while (n > 0 && s->out.len && ssh_channel_window_size(s->channel)) {
		n = ssh_channel_write(s->channel, s->out.bytes + s->out.start,
				      (uint32_t)s->out.len);
		if (n < 0)
			return scout_sftp_fail_ssh(s, "writing");
		scout_sftp_buf_consume(&s->out, (size_t)n);
		s->written += (uint64_t)n;
		scout_count(&s->engine->bytes_out, (uint64_t)n);
	}
	return 0;
}

/* A server that opens its window has taken what we wrote: on a slow link that may be all that is to
 * be heard of it for long. What it opens beyond that says nothing. */
static void note_window(struct scout_sftp *s)
{
	uint64_t taken = s->written + ssh_channel_window_size(s->channel) - s->first_window;

	if (taken > s->written || taken < s->taken + PART_BYTES)
		return;
	s->taken = taken;
	note_progress(s);
}

/* A read that asks for more than is open makes libssh raise the channel's window to it. It copies
 * nothing into byte, since on_data leaves nothing buffered. */
static int open_window(struct scout_sftp *s)
{
	char byte;

	s->window_used = 0;
	if (ssh_channel_read_timeout(s->channel, &byte, (uint32_t)s->window, 0, 0) == SSH_ERROR &&
	    !s->channel_closed)
		return scout_sftp_fail_ssh(s, "reading");
	return 0;
}

/* How long the server may leave what it was sent unanswered. */
static uint64_t patience(const struct scout_sftp *s)
{
	return TAILQ_FIRST(&s->stream.in_flight) == &s->keepalive ? s->settings.silence_ns
								  : s->host->request_timeout_ns;
}

/* When the server's silence becomes an error (calls wait) or a question (none does). */
static uint64_t silence_deadline(const struct scout_sftp *s)
{
	const struct scout_sftp_call *oldest = TAILQ_FIRST(&s->stream.in_flight);
	uint64_t since = s->last_in_ns;

	if (s->stream.phase != SCOUT_SFTP_OPEN_FOR_CALLS)
		return s->deadline_ns;
	if (oldest) {
		since = oldest->sent_ns > since ? oldest->sent_ns : since;
		since = s->overtaken_ns ? s->overtaken_ns : since;
		return since + patience(s);
	}
	return s->settings.keepalive_ns ? since + s->settings.keepalive_ns : UINT64_MAX;
}

static int on_silence(struct scout_sftp *s)
{
	char text[32];

	if (s->stream.phase != SCOUT_SFTP_OPEN_FOR_CALLS)
		return scout_sftp_fail(s, -ETIMEDOUT, "the SFTP server did not answer in time");
	if (s->stream.count) /* what waits in the queue ends with these */
		return scout_sftp_fail(s, -ETIMEDOUT, "no answer for %s",
				       scout_format_duration(text, patience(s)));
	s->keepalive = (struct scout_sftp_call){
	    .op = SCOUT_SFTP_REALPATH, .path = ".", .done = keepalive_done};
	send_call(s, &s->keepalive, scout_now_ns());
	return 0;
}

static int sleep_ms(const struct scout_sftp *s)
{
	uint64_t now = scout_now_ns(), until = silence_deadline(s);

	if (until <= now)
		return 0;
	if (until - now > SLEEP_MAX_NS)
		until = now + SLEEP_MAX_NS;
	return (int)((until - now + SCOUT_NS_PER_MS - 1) / SCOUT_NS_PER_MS);
}

/* What the last poll brought to light. */
static int look_around(struct scout_sftp *s, int polled)
{
	if (s->stream_err == -EIO)
		return scout_sftp_fail(s, -EIO, "malformed SFTP from the server: %s",
				       s->stream.problem);
	if (s->stream_err)
		return scout_sftp_fail(s, s->stream_err, "out of memory");
	if (scout_sftp_stopping(s))
		return scout_sftp_fail(s, -ECANCELED, "stopped");
	if (s->channel_closed)
		return scout_sftp_fail(s, -ECONNRESET, "the server closed the SFTP channel");
	if (polled == SSH_ERROR || is_lost(s))
		return scout_sftp_fail_ssh(s, "connection lost");
	return 0;
}

static int turn(struct scout_sftp *s)
{
	enum scout_sftp_phase phase = s->stream.phase;
	int err = 0, polled;
	bool busy;

	if (s->window_used >= s->window / 4)
		err = open_window(s);
	if (!err && s->stream.phase == SCOUT_SFTP_OPEN_FOR_CALLS)
		send_queued(s);
	if (!err)
		err = flush(s);
	if (err)
		return err;
	if (!s->stream.count && !s->out.len && s->out.cap > OUT_KEPT)
		scout_sftp_buf_free(&s->out);
	busy = s->stream.phase != phase || anything_to_do(s);
	polled = ssh_event_dopoll(s->event, busy ? 0 : sleep_ms(s));
	while (polled == SSH_OK && scout_sftp_socket_has_more())
		polled = ssh_event_dopoll(s->event, 0);
	note_window(s);
	err = look_around(s, polled);
	if (!err && silence_deadline(s) <= scout_now_ns())
		err = on_silence(s);
	return err;
}

/* Whether the server takes requests behind an INIT that it has not answered: OpenSSH's own does. Behind its sshd
 * there may be another, and that is known only once it has failed. */
static bool takes_all_at_once(const struct scout_sftp *s)
{
	const char *banner = ssh_get_serverbanner(s->ssh);

	return banner && strstr(banner, "OpenSSH") && !atomic_load(&s->peer->in_steps);
}

/* INIT and VERSION; limits@openssh.com and who we are, together in one round trip, the same one where the server
 * is known to bear it. */
static int greet(struct scout_sftp *s)
{
	bool at_once = takes_all_at_once(s);
	int err = scout_sftp_encode_init(&s->out);

	if (!err && at_once)
		err = scout_sftp_stream_greet(&s->stream, &s->out);
	if (err)
		return scout_sftp_fail(s, err, "out of memory");
	while (!err && s->stream.phase != SCOUT_SFTP_OPEN_FOR_CALLS) {
		if (s->stream.phase == SCOUT_SFTP_GOT_VERSION) {
			err = scout_sftp_stream_greet(&s->stream, &s->out);
			if (err)
				scout_sftp_fail(s, err, "out of memory");
		} else {
			err = turn(s);
		}
	}
	if (err && at_once && err != -ECANCELED)
		atomic_store(&s->peer->in_steps, true);
	return err;
}

static int prepare(struct scout_sftp *s)
{
	s->window = s->host->read_window;
	if (s->window < WINDOW_MIN)
		s->window = WINDOW_MIN;
	if (s->window > WINDOW_MAX)
		s->window = WINDOW_MAX;
	s->event = ssh_event_new();
	if (!s->event || ssh_event_add_session(s->event, s->ssh) != SSH_OK ||
	    ssh_event_add_fd(s->event, s->wake_fd, POLLIN, on_wake, s) != SSH_OK)
		return scout_sftp_fail(s, -ENOMEM, "out of memory");
	s->last_in_ns = scout_now_ns();
	s->first_window = ssh_channel_window_size(s->channel);
	return open_window(s);
}

/* From here on a stop is the loop's business, not the watchdog's. */
static bool go_up(struct scout_sftp *s)
{
	bool up;

	scout_lock(&s->lock);
	up = s->up = !s->stopping;
	scout_unlock(&s->lock);
	if (up)
		scout_sftp_watch_set(s->engine, &s->watch, UINT64_MAX);
	return up;
}

static void serve(struct scout_sftp *s)
{
	uint64_t took;
	int err = prepare(s);

	if (!err)
		err = greet(s);
	if (err || !go_up(s))
		return;
	took = scout_now_ns() - s->start_ns;
	scout_debug("%s: session up, reads of %u bytes", s->host->name,
		    s->stream.server.read_bytes);
	s->events->up(s->arg, &s->stream.server, took);
	while (!err)
		err = turn(s);
}

void scout_sftp_serve(struct scout_sftp *s)
{
	scout_sftp_socket_attach(ssh_get_fd(s->ssh));
	serve(s);
	scout_sftp_socket_detach();
}
