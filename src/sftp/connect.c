/* The way from a host's name to an open sftp channel: settings, socket (own or a proxy's), key
 * exchange, host key, authentication, subsystem. libssh's calls block here; the watchdog ends them
 * when the connect's deadline passes. The session's thread only. */
#include <errno.h>
#include <fcntl.h>
#include <libssh/callbacks.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/log.h"
#include "scoutfs/text.h"
#include "sftp/session.h"

#define WATCH_SSH 0
#define CHILD_GRACE_MS 200

static int start_proxy(struct scout_sftp *s, struct scout_args *args, int *fd)
{
	int err = scout_child_start(&s->proxy, args->argv, NULL, fd);

	if (err)
		return scout_sftp_fail(s, err == -EMFILE || err == -ENFILE ? err : -EHOSTUNREACH,
				       "cannot run the proxy %s: %s", args->argv[0],
				       strerror(-err));
	return 0;
}

/* A connected stream to the server, watched. */
static int open_socket(struct scout_sftp *s, int *fd)
{
	uint64_t left_ns = s->settings.connect_timeout_ns;
	struct scout_args args = {0};
	int err;

	err = scout_sftp_proxy(s, 1 + (unsigned)(left_ns / SCOUT_NS_PER_S), &args);
	if (!err && args.count)
		err = start_proxy(s, &args, fd);
	else if (!err)
		err = scout_sftp_dial(s, s->settings.hostname, s->settings.port, fd);
	scout_args_free(&args);
	if (err)
		return err;
	err = scout_sftp_watch_fd(s->engine, &s->watch, WATCH_SSH, *fd);
	if (err) {
		close(*fd);
		return scout_sftp_fail(s, err, "cannot watch the connection: %s", strerror(-err));
	}
	return 0;
}

/* Called by ssh_connect() once it owns the socket. */
static void note_taken(void *userdata, float status)
{
	(void)status;
	((struct scout_sftp *)userdata)->socket_taken = true;
}

/* Key exchange over fd, which is libssh's from here on. */
static int handshake(struct scout_sftp *s, int fd)
{
	int rc;

	s->callbacks.userdata = s;
	s->callbacks.connect_status_function = note_taken;
	ssh_callbacks_init(&s->callbacks);
	rc = ssh_set_callbacks(s->ssh, &s->callbacks);
	if (rc == SSH_OK)
		rc = ssh_options_set(s->ssh, SSH_OPTIONS_FD, &fd);
	if (rc == SSH_OK)
		rc = ssh_connect(s->ssh);
	if (!s->socket_taken)
		close(fd);
	return rc == SSH_OK ? 0 : scout_sftp_fail_ssh(s, "key exchange");
}

/* Most servers take it from OpenSSH's clients how SYMLINK is meant; this one from everybody's name. */
static bool takes_draft_order(ssh_session ssh)
{
	const char *banner = ssh_get_serverbanner(ssh);

	return banner && strstr(banner, "AsyncSSH");
}

/* sshd writes several packets in a row before it turns Nagle's algorithm off: each waits for our
 * acknowledgement of the one before, which the kernel likes to delay by 40 ms. */
static void acknowledge_at_once(ssh_session ssh)
{
	const int on = 1;

	(void)setsockopt(ssh_get_fd(ssh), IPPROTO_TCP, TCP_QUICKACK, &on,
			 sizeof(on)); /* or a proxy */
}

static int call_open(struct scout_sftp *s)
{
	return ssh_channel_open_session(s->channel);
}

static int call_sftp(struct scout_sftp *s)
{
	return ssh_channel_request_subsystem(s->channel, "sftp");
}

/* Repeats a call that does not block until it is done; SSH_OK or SSH_ERROR. */
static int finish(struct scout_sftp *s, int (*call)(struct scout_sftp *s))
{
	short events;
	int rc;

	while ((rc = call(s)) == SSH_AGAIN) {
		events = ssh_get_poll_flags(s->ssh) & SSH_WRITE_PENDING ? POLLIN | POLLOUT : POLLIN;
		acknowledge_at_once(s->ssh);
		if (scout_sftp_wait(s, ssh_get_fd(s->ssh), events, s->deadline_ns))
			return SSH_ERROR;
	}
	return rc;
}

static int open_channel(struct scout_sftp *s)
{
	if (scout_sftp_new_channel(s))
		return scout_sftp_fail(s, -ENOMEM, "out of memory");
	if (finish(s, call_open) != SSH_OK)
		return scout_sftp_fail_ssh(s, "opening a channel");
	if (finish(s, call_sftp) == SSH_OK)
		return 0;
	if (ssh_is_connected(s->ssh) && scout_now_ns() < s->deadline_ns && !scout_sftp_stopping(s))
		return scout_sftp_fail(s, -EIO, "the server does not offer SFTP");
	return scout_sftp_fail_ssh(s, "starting SFTP");
}

int scout_sftp_connect(struct scout_sftp *s)
{
	int fd, err;

	err = scout_sftp_load_settings(s);
	if (err)
		return err;
	if (s->settings.connect_timeout_ns != s->host->connect_timeout_ns) {
		s->deadline_ns = s->start_ns + s->settings.connect_timeout_ns;
		scout_sftp_watch_set(s->engine, &s->watch, s->deadline_ns);
		if (scout_sftp_stopping(s)) /* whose deadline this may have taken back */
			return scout_sftp_fail(s, -ECANCELED, "stopped");
	}
	err = open_socket(s, &fd);
	if (err)
		return err;
	s->ssh = ssh_new();
	err = s->ssh ? scout_sftp_set_options(s) : scout_sftp_fail(s, -ENOMEM, "out of memory");
	if (err) {
		close(fd);
		return err;
	}
	err = handshake(s, fd);
	if (!err)
		err = scout_sftp_check_host_key(s);
	if (err)
		return err;
	/* libssh reads and writes only after poll(2) said so; from here on it never waits */
	fd = ssh_get_fd(s->ssh);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
		return scout_sftp_fail(s, -errno, "%s", strerror(errno));
	ssh_set_blocking(s->ssh, 0);
	err = scout_sftp_authenticate(s);
	if (err)
		return err;
	s->symlinks_as_drafted = takes_draft_order(s->ssh);
	return open_channel(s);
}

/* What ssh's last words about a jump host mean; err where they mean nothing. */
static int proxy_errno(const char *complaint, int err)
{
	static const struct {
		const char *words;
		int err;
	} known[] = {
	    {"Host key verification failed", -ENOKEY},
	    {"Permission denied", -EACCES},
	    {"Connection refused", -ECONNREFUSED},
	    {"timed out", -ETIMEDOUT},
	    {"No route to host", -EHOSTUNREACH},
	    {"Could not resolve", -EHOSTUNREACH},
	    {"not found", -EHOSTUNREACH},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strstr(complaint, known[i].words))
			return known[i].err;
	return err;
}

/* A connect that failed because its proxy did is explained by the proxy's words. */
static void end_proxy(struct scout_sftp *s)
{
	char complaint[160], words[160];
	size_t len = strlen(s->reason);

	(void)scout_child_end(&s->proxy, CHILD_GRACE_MS, complaint, sizeof(complaint));
	if (s->err != -ECONNRESET || s->up || !complaint[0])
		return;
	s->err = proxy_errno(complaint, s->err);
	snprintf(s->reason + len, sizeof(s->reason) - len, " (proxy: %s)",
		 scout_format_name(words, sizeof(words), complaint));
}

void scout_sftp_disconnect(struct scout_sftp *s)
{
	if (s->ssh)
		ssh_set_blocking(s->ssh, 0);
	if (s->event) {
		(void)ssh_event_remove_fd(s->event, s->wake_fd);
		(void)ssh_event_remove_session(s->event, s->ssh);
		ssh_event_free(s->event);
	}
	if (s->ssh)
		ssh_free(s->ssh); /* with its channel, and its socket */
	s->ssh = NULL;
	s->event = NULL;
	s->channel = NULL;
	end_proxy(s);
	if (s->joined)
		scout_sftp_peer_leave(s->peer);
	s->joined = false;
	scout_settings_free(&s->settings);
}
