/* From a host's name to a connected socket, within the session's deadline: resolves it and tries
 * its addresses a quarter of a second apart, the first that answers wins (after RFC 8305), so that
 * an address that swallows packets costs little. getaddrinfo() has no deadline: it runs in a
 * thread of its own, which outlives an impatient session and then throws its answer away. */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "sftp/session.h"

/* Threads in getaddrinfo() at once, in the whole process; who comes later waits for a place. */
#define LOOKUPS_MAX 64
#define ADDRESSES_MAX 8
#define STAGGER_NS (250 * SCOUT_NS_PER_MS)

/* One of a name under way, or done: who comes while it hangs joins it. References: the sessions' and the
 * thread's, while it runs. */
struct lookup {
	TAILQ_ENTRY(lookup) link; /* under lookups_lock */
	atomic_uint refs;
	/* immutable after start */
	char *host;
	char port[8];
	int family;
	int done_fd; /* readable for good, once err and list are set; or -1 */

	int err;               /* under lookups_lock, until done */
	struct addrinfo *list; /* likewise */
};

static struct scout_mutex lookups_lock;
static TAILQ_HEAD(, lookup) lookups =
    TAILQ_HEAD_INITIALIZER(lookups); /* under lookups_lock: those that run */

/* An eventfd that counts the places left. Immutable once made; lookups outlive what it could be closed by. */
static int places_fd = -1;

static void make_places(void)
{
	scout_mutex_init(&lookups_lock, SCOUT_LOCK_LEAF);
	places_fd = eventfd(LOOKUPS_MAX, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
}

static void give_place_back(void)
{
	const uint64_t one = 1;

	while (write(places_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* 0; -ETIMEDOUT or -ECANCELED; -EMFILE. */
static int take_place(struct scout_sftp *s)
{
	uint64_t one;
	int err;

	if (places_fd < 0)
		return -EMFILE;
	while (read(places_fd, &one, sizeof(one)) < 0) {
		err = scout_sftp_wait(s, places_fd, POLLIN, s->deadline_ns);
		if (err)
			return err;
	}
	return 0;
}

static void unref_lookup(struct lookup *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	if (l->list)
		freeaddrinfo(l->list);
	if (l->done_fd >= 0)
		close(l->done_fd);
	free(l->host);
	free(l);
}

static void *run_lookup(void *arg)
{
	const struct addrinfo hints = {.ai_family = ((struct lookup *)arg)->family,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_NUMERICSERV};
	const uint64_t one = 1;
	struct lookup *l = arg;
	struct addrinfo *list = NULL;
	int err;

	pthread_detach(pthread_self()); /* nobody can end a getaddrinfo(), so nobody waits for it */
	err = getaddrinfo(l->host, l->port, &hints, &list);
	scout_lock(&lookups_lock);
	TAILQ_REMOVE(&lookups, l, link);
	l->err = err;
	l->list = err ? NULL : list;
	scout_unlock(&lookups_lock);
	while (write(l->done_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	unref_lookup(l);
	give_place_back();
	return NULL;
}

/* Not yet begun, with one reference; NULL with errno: ENOMEM, or EMFILE and the like. */
static struct lookup *lookup_new(const char *host, unsigned port, int family)
{
	struct lookup *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return NULL;
	atomic_init(&l->refs, 1);
	l->host = strdup(host);
	l->family = family;
	l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = errno;
	snprintf(l->port, sizeof(l->port), "%u", port);
	if (l->host && l->done_fd >= 0)
		return l;
	err = l->host ? err : ENOMEM;
	unref_lookup(l);
	errno = err;
	return NULL;
}

/* The one like l that runs, with a reference; or NULL. */
static struct lookup *join_locked(const struct lookup *l)
{
	struct lookup *other;

	TAILQ_FOREACH (other, &lookups, link) {
		if (other->family == l->family && strcmp(other->port, l->port) == 0 &&
		    strcmp(other->host, l->host) == 0) {
			atomic_fetch_add(&other->refs, 1);
			return other;
		}
	}
	return NULL;
}

/* Begins l, for which there is a place. Returns 0 or -errno. */
static int start_locked(struct lookup *l)
{
	pthread_t thread;
	int err;

	atomic_fetch_add(&l->refs, 1);
	err = scout_thread_start(&thread, "sftp-resolve", run_lookup, l);
	if (err)
		atomic_fetch_sub(&l->refs, 1);
	else
		TAILQ_INSERT_TAIL(&lookups, l, link);
	return err;
}

/* Begins *l, or puts the one like it that runs in its place. With has_place, there is one for it, which is
 * given back if it is not needed; without, -EAGAIN: it must have one. */
static int join_or_start(struct lookup **l, bool has_place)
{
	struct lookup *other;
	int err = 0;

	scout_lock(&lookups_lock);
	other = join_locked(*l);
	if (!other)
		err = has_place ? start_locked(*l) : -EAGAIN;
	scout_unlock(&lookups_lock);
	if (has_place && (other || err))
		give_place_back();
	if (other) {
		unref_lookup(*l);
		*l = other;
	}
	return err;
}

/* Asks the system's resolver for the name, which may ask the network. */
static int begin_lookup(struct scout_sftp *s, struct lookup **l)
{
	const char *host = (*l)->host;
	int err = join_or_start(l, false);

	if (err != -EAGAIN)
		return 0;
	err = take_place(s);
	if (err == -ETIMEDOUT)
		return scout_sftp_fail(s, err, "looking up %s: others hang that began before it",
				       host);
	if (err)
		return scout_sftp_fail(s, err, "looking up %s: %s", host, strerror(-err));
	err = join_or_start(l, true);
	return err ? scout_sftp_fail(s, err, "cannot look up %s: %s", host, strerror(-err)) : 0;
}

static int await_lookup(struct scout_sftp *s, struct lookup *l)
{
	int err = scout_sftp_wait(s, l->done_fd, POLLIN, s->deadline_ns), found;

	if (err == -ETIMEDOUT)
		return scout_sftp_fail(s, err, "looking up %s took too long", l->host);
	if (err)
		return scout_sftp_fail(s, err, "stopped");
	scout_lock(&lookups_lock);
	found = l->err;
	scout_unlock(&lookups_lock);
	if (found)
		return scout_sftp_fail(s, -EHOSTUNREACH, "cannot resolve %s: %s", l->host,
				       gai_strerror(found));
	return 0;
}

/* *ret's list is the answer. */
static int resolve(struct scout_sftp *s, const char *host, unsigned port, struct lookup **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const struct addrinfo hints = {.ai_family = s->settings.family,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST};
	struct lookup *l;
	int err = 0;

	(void)pthread_once(&once, make_places);
	l = lookup_new(host, port, s->settings.family);
	if (!l)
		return scout_sftp_fail(s, -errno, "cannot look up %s: %s", host, strerror(errno));
	if (getaddrinfo(host, l->port, &hints, &l->list)) {
		l->list = NULL;
		err = begin_lookup(s, &l);
		if (!err)
			err = await_lookup(s, l);
	}
	if (err)
		unref_lookup(l);
	else
		*ret = l;
	return err;
}

/* A connect under way to one address. */
struct attempts {
	struct pollfd polls[ADDRESSES_MAX];
	nfds_t count;
	int last_errno; /* of those that failed */
};

static void note_error(struct attempts *a, int err)
{
	/* a refusal says more than an unreachable network of the other address family */
	if (a->last_errno != ECONNREFUSED)
		a->last_errno = err;
}

/* An address of the interface, of that family; one of its link only when there is no other. */
static int interface_address(const char *name, int family, struct sockaddr_storage *ret,
			     socklen_t *len)
{
	struct ifaddrs *all, *at;
	int err = -EADDRNOTAVAIL;

	if (getifaddrs(&all))
		return -errno;
	for (at = all; at && err; at = at->ifa_next) {
		const struct sockaddr_in6 *six = (const void *)at->ifa_addr;
		bool is_local;

		if (strcmp(at->ifa_name, name) || !at->ifa_addr ||
		    at->ifa_addr->sa_family != family)
			continue;
		is_local = family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr);
		*len =
		    family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
		memcpy(ret, at->ifa_addr, *len);
		err = is_local ? -EADDRNOTAVAIL : 0;
	}
	freeifaddrs(all);
	return *len ? 0 : err;
}

/* Where the connection is to come from; *len 0: the kernel's choice. */
static int local_address(const struct scout_settings *t, int family, struct sockaddr_storage *ret,
			 socklen_t *len)
{
	const struct addrinfo hints = {.ai_family = family,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_NUMERICHOST | AI_PASSIVE};
	struct addrinfo *list = NULL;

	*len = 0;
	if (t->bind_address) {
		if (getaddrinfo(t->bind_address, NULL, &hints, &list))
			return -EADDRNOTAVAIL;
		*len = list->ai_addrlen;
		memcpy(ret, list->ai_addr, *len);
		freeaddrinfo(list);
		return 0;
	}
	return t->bind_interface ? interface_address(t->bind_interface, family, ret, len) : 0;
}

/* Begins one; true when it is connected at once. */
static bool begin(const struct scout_settings *t, struct attempts *a, const struct addrinfo *ai)
{
	struct sockaddr_storage from;
	socklen_t len = 0;
	int fd, err = local_address(t, ai->ai_family, &from, &len);

	if (err) {
		note_error(a, -err);
		return false;
	}
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		note_error(a, errno);
		return false;
	}
	if (len && bind(fd, (struct sockaddr *)&from, len)) {
		note_error(a, errno);
		close(fd);
		return false;
	}
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) && errno != EINPROGRESS) {
		note_error(a, errno);
		close(fd);
		return false;
	}
	a->polls[a->count++] = (struct pollfd){.fd = fd, .events = POLLOUT};
	return true;
}

/* The first that is connected, taken out, or -1; those that failed are closed. */
static int take_connected(struct attempts *a)
{
	for (nfds_t i = 0; i < a->count;) {
		int fd = a->polls[i].fd, err = 0;
		socklen_t len = sizeof(err);

		if (!a->polls[i].revents) {
			i++;
			continue;
		}
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
			err = errno;
		a->polls[i] = a->polls[--a->count];
		if (!err)
			return fd;
		note_error(a, err);
		close(fd);
	}
	return -1;
}

/* Polls the attempts and the wake-up; 0 or -ECANCELED. */
static int poll_attempts(struct scout_sftp *s, struct attempts *a, uint64_t until_ns)
{
	struct pollfd polls[ADDRESSES_MAX + 1];
	uint64_t now = scout_now_ns();
	int ms = now < until_ns ? (int)((until_ns - now) / SCOUT_NS_PER_MS) + 1 : 0;

	memcpy(polls, a->polls, sizeof(a->polls));
	polls[a->count] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
	if (poll(polls, a->count + 1, ms) < 0)
		return errno == EINTR ? 0 : -errno;
	memcpy(a->polls, polls, sizeof(a->polls));
	return scout_sftp_stopping(s) ? -ECANCELED : 0;
}

static int dial_errno(int last)
{
	switch (last) {
	case ECONNREFUSED:
	case ECONNRESET: /* by who accepted, before we looked */
	case ETIMEDOUT:
	case EMFILE: /* ours, and no word about the host */
	case ENFILE:
		return -last;
	default:
		return -EHOSTUNREACH;
	}
}

static int race(struct scout_sftp *s, const struct addrinfo *list, struct attempts *a)
{
	const struct addrinfo *next = list;
	uint64_t next_ns = 0, now, until;
	unsigned begun = 0;
	int fd = -1, err = 0;

	while (fd < 0 && !err) {
		now = scout_now_ns();
		if (now >= s->deadline_ns)
			return -ETIMEDOUT;
		if (next && begun < ADDRESSES_MAX && (now >= next_ns || !a->count)) {
			(void)begin(&s->settings, a, next);
			next = next->ai_next;
			begun++;
			next_ns = now + STAGGER_NS;
			continue;
		}
		if (!a->count) /* all tried, all failed */
			return dial_errno(a->last_errno);
		until = next && begun < ADDRESSES_MAX && next_ns < s->deadline_ns ? next_ns
										  : s->deadline_ns;
		err = poll_attempts(s, a, until);
		if (!err)
			fd = take_connected(a);
	}
	return err ? err : fd;
}

/* Connects to one of list, which host is. Returns the socket, or -errno after scout_sftp_fail. */
static int connect_to(struct scout_sftp *s, const struct addrinfo *list, const char *host,
		      unsigned port)
{
	struct attempts a = {0};
	int got = race(s, list, &a);

	for (nfds_t i = 0; i < a.count; i++)
		close(a.polls[i].fd);
	if (got == -ECANCELED)
		return scout_sftp_fail(s, got, "stopped");
	if (got == -ETIMEDOUT)
		return scout_sftp_fail(s, got, "no answer from %s port %u", host, port);
	if (got < 0)
		return scout_sftp_fail(s, got, "cannot connect to %s port %u: %s", host, port,
				       strerror(a.last_errno ? a.last_errno : -got));
	return got;
}

/* Connects to one of the name's addresses: the one of the host's other sessions, if there are any. */
static int connect_to_name(struct scout_sftp *s, const char *host, unsigned port)
{
	struct sockaddr_storage there;
	struct lookup *found = NULL;
	struct addrinfo same = {.ai_addr = (struct sockaddr *)&there};
	socklen_t len = sizeof(there);
	int got;

	if (!scout_sftp_peer_address(s->peer, &there, &same.ai_addrlen)) {
		got = resolve(s, host, port, &found);
		if (got)
			return got;
		got = connect_to(s, found->list, host, port);
		unref_lookup(found);
		if (got < 0 || getpeername(got, same.ai_addr, &len) ||
		    scout_sftp_peer_reached(s->peer, &there, len))
			return got;
		close(got); /* it has others */
		(void)scout_sftp_peer_address(s->peer, &there, &same.ai_addrlen);
	}
	same.ai_family = there.ss_family;
	return connect_to(s, &same, host, port);
}

int scout_sftp_dial(struct scout_sftp *s, const char *host, unsigned port, int *fd)
{
	const int on = 1;
	int got = connect_to_name(s, host, port);

	if (got < 0)
		return got;
	/* neither matters enough to fail: without them it is slower, or notices a dead peer later */
	(void)setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(got, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	*fd = got;
	return 0;
}
