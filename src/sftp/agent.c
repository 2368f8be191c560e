/* A relay between libssh and the agent. libssh talks to our end of a socket pair and is shown the keys
 * that are on offer; what it wants signed goes to the agent, for a certificate by the name of its key.
 * libssh's side blocks, hence a thread for the time of one authentication. The agent is believed about
 * signatures only: its lengths are checked. a->lock guards the offers. */
#include "sftp/agent.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "sftp/session.h"

#define PATIENCE_NS \
	(2 * SCOUT_NS_PER_S) /* for the list of keys; a signature may wait for a person */
#define MESSAGE_MAX (256 * 1024)
#define WATCH_AGENT 1

enum { FAILURE = 5, LIST = 11, LISTED = 12, SIGN = 13 };

struct scout_agent {
	struct scout_blob keys[SCOUT_AGENT_KEYS_MAX]; /* immutable once open */
	size_t count;
	int fd;   /* the agent's */
	int side; /* our end; libssh owns the other */
	pthread_t thread;
	struct scout_mutex lock;
	const struct scout_offer *offers; /* under lock */
	size_t offers_count;              /* under lock */
	size_t asked;                     /* under lock: of the offers, up to the one to sign for */
	bool refused;                     /* under lock: that was not signed */
};

/* A message: what is read of it, or written. */
struct message {
	uint8_t *bytes;
	size_t len;
};

/* A piece of a message that begins at *at. */
static bool take(const struct message *m, size_t *at, struct scout_blob *ret)
{
	uint32_t len;

	if (m->len < 4 || *at > m->len - 4)
		return false;
	memcpy(&len, m->bytes + *at, 4);
	len = be32toh(len);
	*at += 4;
	if (len > m->len - *at)
		return false;
	ret->bytes = m->bytes + *at;
	ret->len = len;
	*at += len;
	return true;
}

bool scout_blob_equal(const struct scout_blob *a, const struct scout_blob *b)
{
	return a->len && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

bool scout_blob_certifies(const struct scout_blob *cert, const struct scout_blob *key)
{
	struct message c = {cert->bytes, cert->len}, k = {key->bytes, key->len};
	struct scout_blob type, cert_type, nonce;
	size_t at = 0, key_at = 0, rest;

	if (!take(&c, &at, &cert_type) || !take(&c, &at, &nonce) || !take(&k, &key_at, &type))
		return false;
	if (cert_type.len <= type.len)
		return false;
	/* a security key's type has its "@openssh.com" in both names */
	for (size_t i = 0; i < type.len && type.bytes[i] != '@'; i++)
		if (type.bytes[i] != cert_type.bytes[i])
			return false;
	rest = key->len - key_at;
	return rest && rest <= cert->len - at &&
	       !memcmp(cert->bytes + at, key->bytes + key_at, rest);
}

static bool put(struct message *m, const void *bytes, size_t len)
{
	if (len > MESSAGE_MAX - m->len)
		return false;
	if (len)
		memcpy(m->bytes + m->len, bytes, len);
	m->len += len;
	return true;
}

static bool put_number(struct message *m, size_t number)
{
	uint32_t wire = htobe32((uint32_t)number);

	return put(m, &wire, 4);
}

static bool put_blob(struct message *m, const struct scout_blob *blob)
{
	return put_number(m, blob->len) && put(m, blob->bytes, blob->len);
}

static bool send_message(int fd, const struct message *m)
{
	uint32_t len = htobe32((uint32_t)m->len);
	struct iovec parts[2] = {{&len, 4}, {m->bytes, m->len}};
	struct msghdr head = {.msg_iov = parts, .msg_iovlen = 2};

	/* a socket that blocks takes all of it */
	return sendmsg(fd, &head, MSG_NOSIGNAL) == (ssize_t)(m->len + 4);
}

static bool receive(int fd, void *bytes, size_t len)
{
	return !len || recv(fd, bytes, len, MSG_WAITALL) == (ssize_t)len;
}

static bool receive_message(int fd, struct message *m)
{
	uint32_t len;

	if (!receive(fd, &len, 4))
		return false;
	m->len = be32toh(len);
	return m->len && m->len <= MESSAGE_MAX && receive(fd, m->bytes, m->len);
}

/* The list that libssh is shown. */
static void list_offers(struct scout_agent *a, struct message *answer)
{
	const struct scout_blob no_comment = {0};
	const uint8_t listed = LISTED;
	bool fits;

	answer->len = 0;
	scout_lock(&a->lock);
	fits = put(answer, &listed, 1) && put_number(answer, a->offers_count);
	for (size_t i = 0; i < a->offers_count && fits; i++)
		fits = put_blob(answer, a->offers[i].shown) && put_blob(answer, &no_comment);
	scout_unlock(&a->lock);
	if (!fits)
		answer->len = 0;
}

/* What the agent is asked to sign for libssh; false: it was not offered. */
static bool name_signer(struct scout_agent *a, const struct message *request, struct message *out)
{
	const uint8_t sign = SIGN;
	struct scout_blob shown;
	bool found = false;
	size_t at = 1;

	out->len = 0;
	if (!take(request, &at, &shown))
		return false;
	scout_lock(&a->lock);
	for (size_t i = 0; i < a->offers_count && !found; i++)
		if (scout_blob_equal(a->offers[i].shown, &shown)) {
			found = put(out, &sign, 1) && put_blob(out, a->offers[i].signs);
			a->asked = i + 1;
		}
	scout_unlock(&a->lock);
	return found && put(out, request->bytes + at, request->len - at);
}

static void note_refusal(struct scout_agent *a, bool refused)
{
	scout_lock(&a->lock);
	a->refused = refused;
	scout_unlock(&a->lock);
}

/* One question of libssh's and its answer, in two buffers. */
static bool relay(struct scout_agent *a, struct message *in, struct message *out)
{
	const uint8_t failure = FAILURE;

	if (!receive_message(a->side, in))
		return false;
	if (in->bytes[0] == LIST) {
		list_offers(a, out);
	} else if (in->bytes[0] == SIGN && name_signer(a, in, out)) {
		if (!send_message(a->fd, out) || !receive_message(a->fd, out))
			out->len = 0;
		note_refusal(a, !out->len || out->bytes[0] == FAILURE);
	} else {
		out->len = 0;
	}
	if (!out->len)
		(void)put(out, &failure, 1); /* it fits */
	return send_message(a->side, out);
}

static void *run(void *arg)
{
	struct message in = {.bytes = malloc(MESSAGE_MAX)}, out = {.bytes = malloc(MESSAGE_MAX)};
	struct scout_agent *a = arg;

	while (in.bytes && out.bytes && relay(a, &in, &out))
		;
	(void)shutdown(a->side, SHUT_RDWR); /* libssh shall not wait for us */
	free(in.bytes);
	free(out.bytes);
	return NULL;
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

/* Reads len bytes of a socket that does not block. 0 or -errno. */
static int read_in_time(struct scout_sftp *s, int fd, void *bytes, size_t len, uint64_t deadline_ns)
{
	size_t got = 0;
	ssize_t n;
	int err;

	while (got < len) {
		err = scout_sftp_wait(s, fd, POLLIN, deadline_ns);
		if (err)
			return err;
		n = recv(fd, (char *)bytes + got, len - got, 0);
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		got += (size_t)n;
	}
	return 0;
}

static int keep_keys(struct scout_agent *a, const struct message *list)
{
	struct scout_blob key, comment;
	size_t at = 5; /* type and count, which the bytes tell better */

	while (at < list->len && a->count < SCOUT_AGENT_KEYS_MAX) {
		if (!take(list, &at, &key) || !take(list, &at, &comment))
			return -EIO;
		a->keys[a->count].bytes = malloc(key.len ? key.len : 1);
		if (!a->keys[a->count].bytes)
			return -ENOMEM;
		memcpy(a->keys[a->count].bytes, key.bytes, key.len);
		a->keys[a->count++].len = key.len;
	}
	return 0;
}

static int list_keys(struct scout_sftp *s, struct scout_agent *a)
{
	static const uint8_t request[] = {0, 0, 0, 1, LIST};
	uint64_t deadline = scout_now_ns() + PATIENCE_NS;
	struct message list = {0};
	uint32_t len;
	int err;

	if (deadline > s->deadline_ns)
		deadline = s->deadline_ns;
	if (send(a->fd, request, sizeof(request), MSG_NOSIGNAL) != (ssize_t)sizeof(request))
		return -EIO;
	err = read_in_time(s, a->fd, &len, 4, deadline);
	if (err)
		return err;
	list.len = be32toh(len);
	if (list.len < 5 || list.len > MESSAGE_MAX)
		return -EIO;
	list.bytes = malloc(list.len);
	if (!list.bytes)
		return -ENOMEM;
	err = read_in_time(s, a->fd, list.bytes, list.len, deadline);
	if (!err)
		err = list.bytes[0] == LISTED ? keep_keys(a, &list) : -EIO;
	free(list.bytes);
	return err;
}

/* Between libssh and the agent, whose socket blocks from here on: the watchdog ends libssh's wait, and
 * the close ends ours. */
static int stand_between(struct scout_sftp *s, struct scout_agent *a)
{
	int ends[2], err, flags = fcntl(a->fd, F_GETFL);

	if (flags < 0 || fcntl(a->fd, F_SETFL, flags & ~O_NONBLOCK) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return -errno;
	a->side = ends[1];
	err = scout_sftp_watch_fd(s->engine, &s->watch, WATCH_AGENT, ends[0]);
	if (!err && ssh_set_agent_socket(s->ssh, ends[0]) != SSH_OK)
		err = -ENOMEM;
	if (err)
		close(ends[0]);
	else
		err = scout_thread_start(&a->thread, "sftp-agent", run, a);
	if (err) { /* nobody is there to be joined */
		close(a->side);
		a->side = -1;
	}
	return err;
}

int scout_agent_open(struct scout_sftp *s, const char *path, struct scout_agent **ret)
{
	struct scout_agent *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->side = -1;
	scout_mutex_init(&a->lock, SCOUT_LOCK_LEAF);
	a->fd = agent_socket(path);
	err = a->fd < 0 ? a->fd : list_keys(s, a);
	if (!err)
		err = stand_between(s, a);
	if (err) {
		scout_agent_close(s, a);
		return err;
	}
	*ret = a;
	return 0;
}

size_t scout_agent_count(const struct scout_agent *a)
{
	return a->count;
}

const struct scout_blob *scout_agent_key(const struct scout_agent *a, size_t i)
{
	return &a->keys[i];
}

void scout_agent_offer(struct scout_agent *a, const struct scout_offer *offers, size_t count)
{
	scout_lock(&a->lock);
	a->offers = offers;
	a->offers_count = count;
	a->asked = 0;
	a->refused = false;
	scout_unlock(&a->lock);
}

size_t scout_agent_refused(struct scout_agent *a)
{
	size_t count;

	scout_lock(&a->lock);
	count = a->refused ? a->asked : 0;
	scout_unlock(&a->lock);
	return count;
}

void scout_agent_close(struct scout_sftp *s, struct scout_agent *a)
{
	if (!a)
		return;
	if (a->side >= 0) {
		(void)shutdown(a->fd, SHUT_RDWR); /* either may have ended already */
		(void)shutdown(a->side, SHUT_RDWR);
		pthread_join(a->thread, NULL);
		close(a->side);
		(void)scout_sftp_watch_fd(s->engine, &s->watch, WATCH_AGENT, -1); /* cannot fail */
	}
	if (a->fd >= 0)
		close(a->fd);
	for (size_t i = 0; i < a->count; i++)
		free(a->keys[i].bytes);
	scout_mutex_destroy(&a->lock);
	free(a);
}
