/* Who we are: keys and the user's authentication agent, never a question to a person. Each attempt is
 * counted by the server (OpenSSH allows six), so the keys that were asked for by name go first. An
 * agent is asked only after it has shown, in bounded time, that it answers. */
#include <errno.h>
#include <libssh/callbacks.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/text.h"
#include "sftp/session.h"

#define AGENT_PATIENCE_NS (2 * SCOUT_NS_PER_S)
#define WATCH_AGENT 1

/* The attempts so far, in words. */
struct attempts {
	char tried[192];
	bool partial; /* the server took a key and wants more */
};

static void note(struct attempts *a, const char *what, const char *result)
{
	size_t len = strlen(a->tried);
	char name[96];

	snprintf(a->tried + len, sizeof(a->tried) - len, "%s%s%s", len ? ", " : "",
		 scout_format_name(name, sizeof(name), what), result);
}

/* Refuses to ask for a passphrase; libssh without this would ask on the terminal. */
static int no_passphrase(const char *prompt, char *buf, size_t len, int echo, int verify,
			 void *userdata)
{
	(void)prompt;
	(void)buf;
	(void)len;
	(void)echo;
	(void)verify;
	*(bool *)userdata = true;
	return -1;
}

/* 1: in, 0: not yet, -errno: the connection is lost. */
static int outcome(struct scout_sftp *s, struct attempts *a, int rc)
{
	if (rc == SSH_AUTH_SUCCESS)
		return 1;
	if (rc == SSH_AUTH_PARTIAL)
		a->partial = true;
	if (rc == SSH_AUTH_PARTIAL || rc == SSH_AUTH_DENIED)
		return 0;
	return ssh_is_connected(s->ssh) && !scout_sftp_watch_fired(s->engine, &s->watch)
		   ? 0
		   : scout_sftp_fail_ssh(s, "authentication");
}

static int try_identity(struct scout_sftp *s, struct attempts *a, const char *path, bool asked_for)
{
	bool encrypted = false;
	ssh_key key = NULL;
	int rc;

	if (access(path, R_OK)) {
		if (asked_for)
			note(a, path, errno == ENOENT ? " (missing)" : " (unreadable)");
		return 0;
	}
	if (ssh_pki_import_privkey_file(path, NULL, no_passphrase, &encrypted, &key) != SSH_OK) {
		note(a, path, encrypted ? " (has a passphrase)" : " (not a key)");
		return 0;
	}
	rc = ssh_userauth_publickey(s->ssh, NULL, key);
	ssh_key_free(key);
	note(a, path, "");
	return outcome(s, a, rc);
}

static bool poll_until(struct scout_sftp *s, int fd, short events, uint64_t deadline_ns)
{
	return scout_sftp_wait(s, fd, events, deadline_ns) == 0;
}

/* Asks for the list of identities (draft-miller-ssh-agent, 3.5) and waits for the answer's head; the
 * connection is thrown away. */
static bool agent_answers(struct scout_sftp *s, int fd, uint64_t deadline_ns)
{
	static const uint8_t request[] = {0, 0, 0, 1, 11};
	uint8_t answer[5];

	return send(fd, request, sizeof(request), MSG_NOSIGNAL) == (ssize_t)sizeof(request) &&
	       poll_until(s, fd, POLLIN, deadline_ns) &&
	       recv(fd, answer, sizeof(answer), 0) == (ssize_t)sizeof(answer) && answer[4] == 12;
}

static int agent_socket(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* a UNIX socket connects at once, or its queue is full */
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int try_agent(struct scout_sftp *s, struct attempts *a)
{
	uint64_t patience = scout_now_ns() + AGENT_PATIENCE_NS;
	int fd, rc;
	bool alive;

	if (!s->settings.agent)
		return 0;
	fd = agent_socket(s->settings.agent);
	if (fd < 0) {
		note(a, "agent", " (cannot be reached)");
		return 0;
	}
	alive = agent_answers(s, fd, patience < s->deadline_ns ? patience : s->deadline_ns);
	close(fd);
	fd = alive ? agent_socket(s->settings.agent) : -1;
	/* a signature may wait for a person: the watchdog ends that with the connect */
	if (fd < 0 || scout_sftp_watch_fd(s->engine, &s->watch, WATCH_AGENT, fd) ||
	    ssh_set_agent_socket(s->ssh, fd) != SSH_OK) {
		if (fd >= 0)
			close(fd);
		note(a, "agent", " (does not answer)");
		return 0;
	}
	rc = ssh_userauth_agent(s->ssh, NULL);
	(void)scout_sftp_watch_fd(s->engine, &s->watch, WATCH_AGENT, -1); /* -1 cannot fail */
	note(a, "agent", "");
	return outcome(s, a, rc);
}

static int refused(struct scout_sftp *s, const struct attempts *a)
{
	int methods = ssh_userauth_list(s->ssh, NULL);
	char allowed[96];

	snprintf(allowed, sizeof(allowed), "%s%s%s%s%s",
		 methods & SSH_AUTH_METHOD_PUBLICKEY ? " publickey" : "",
		 methods & SSH_AUTH_METHOD_PASSWORD ? " password" : "",
		 methods & SSH_AUTH_METHOD_INTERACTIVE ? " keyboard-interactive" : "",
		 methods & SSH_AUTH_METHOD_HOSTBASED ? " hostbased" : "",
		 methods & SSH_AUTH_METHOD_GSSAPI_MIC ? " gssapi" : "");
	return scout_sftp_fail(
	    s, -EACCES, "authentication refused for %s@%s%s: tried %s; the server allows%s",
	    s->settings.user, s->settings.hostname, a->partial ? " (it wants more than a key)" : "",
	    a->tried[0] ? a->tried : "no key", allowed[0] ? allowed : " nothing");
}

int scout_sftp_authenticate(struct scout_sftp *s)
{
	const struct scout_settings *t = &s->settings;
	struct attempts a = {0};
	int got = 0;

	for (size_t i = 0; i < t->explicit_count && !got; i++)
		got = try_identity(s, &a, t->identities[i], true);
	if (!got)
		got = try_agent(s, &a);
	for (size_t i = t->explicit_count; i < t->identities_count && !got; i++)
		got = try_identity(s, &a, t->identities[i], false);
	if (!got) /* also tells what the server allows, when no key was there to be refused */
		got = outcome(s, &a, ssh_userauth_none(s->ssh, NULL));
	if (got < 0)
		return got;
	return got ? 0 : refused(s, &a);
}
