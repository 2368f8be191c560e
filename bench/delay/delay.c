/*
 * A link with distance: passes TCP connections on to a port of loopback, late by half a round trip each
 * way, and not faster than a rate. What it is for and why not in Python: beside contestants on two cores
 * it must cost little, and carry more than any of them.
 *
 * usage: delay TARGET_PORT RTT_MS BYTES_PER_S      (of a connection, each way; 0: no limit)
 *
 * Prints its own port, and works until it is ended. A connect costs what it costs over a distance: the
 * server hears of it after one and a half round trips. Nothing is lost, and a direction holds 64 MiB at
 * most. One thread; trusts both sides, which are the bench's own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 64 << 10, HELD = 64 << 20, READS = 8, EVENTS = 256 };
#define NEVER INT64_MAX

struct chunk {
	struct chunk *next;
	int64_t due_ns;
	size_t start, len; /* len 0: the end */
	char data[];
};

struct end {
	int fd; /* -1: not connected yet */
	bool readable, writable;
};

/* One direction: its bytes on their way. */
struct flow {
	struct chunk *first, **last;
	size_t held;
	int64_t free_ns; /* when the link has taken what was sent before */
	bool ended, passed_end;
};

struct pair {
	struct pair *next;
	struct end client, server;
	struct flow up, down;
	int64_t accepted_ns;
	bool dead;
};

static int epoll_fd;
static struct sockaddr_in target;
static int64_t rtt_ns;
static uint64_t rate;

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void watch(struct end *end)
{
	int one = 1;
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				    .data.ptr = end};
	(void)setsockopt(end->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, end->fd, &event) < 0)
		exit(1);
}

static struct pair *accept_pair(int listener, struct pair *next)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct pair *pair = fd < 0 ? NULL : calloc(1, sizeof *pair);
	if (!pair) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	pair->client.fd = fd;
	pair->server.fd = -1;
	pair->up.last = &pair->up.first;
	pair->down.last = &pair->down.first;
	pair->accepted_ns = now_ns();
	pair->next = next;
	watch(&pair->client);
	return pair;
}

static void connect_pair(struct pair *pair)
{
	pair->server.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (pair->server.fd < 0 ||
	    (connect(pair->server.fd, (struct sockaddr *)&target, sizeof target) < 0 &&
	     errno != EINPROGRESS)) {
		pair->dead = true;
		return;
	}
	watch(&pair->server);
}

/* Takes what has come of source; true: there may be more. */
static bool take(struct pair *pair, struct end *source, struct flow *flow, int64_t now)
{
	for (int i = 0; i < READS; i++) {
		if (!source->readable || flow->ended || flow->held > HELD)
			return false;
		struct chunk *chunk = malloc(sizeof *chunk + CHUNK);
		ssize_t got = chunk ? recv(source->fd, chunk->data, CHUNK, 0) : -1;
		if (got < 0) {
			pair->dead = !chunk || errno != EAGAIN;
			source->readable = false;
			free(chunk);
			return false;
		}
		int64_t sent = now;
		/* who connected at once would not be connected yet */
		if (flow == &pair->up && now < pair->accepted_ns + rtt_ns)
			sent = pair->accepted_ns + rtt_ns;
		if (rate) {
			sent = flow->free_ns > sent ? flow->free_ns : sent;
			flow->free_ns = sent += got * INT64_C(1000000000) / (int64_t)rate;
		}
		*chunk = (struct chunk){.due_ns = sent + rtt_ns / 2, .len = (size_t)got};
		*flow->last = chunk;
		flow->last = &chunk->next;
		flow->held += (size_t)got;
		flow->ended = got == 0;
	}
	return true;
}

/* Gives sink what is due. Returns when the next is: NEVER if that is not a matter of time. */
static int64_t give(struct pair *pair, struct flow *flow, struct end *sink, int64_t now)
{
	struct chunk *chunk;
	while ((chunk = flow->first)) {
		if (chunk->due_ns > now)
			return chunk->due_ns;
		if (!sink->writable)
			return NEVER;
		if (!chunk->len) {
			(void)shutdown(sink->fd, SHUT_WR);
			flow->passed_end = true;
		} else {
			ssize_t put = send(sink->fd, chunk->data + chunk->start,
					   chunk->len - chunk->start, MSG_NOSIGNAL);
			if (put < 0) {
				pair->dead = errno != EAGAIN;
				sink->writable = false;
				return NEVER;
			}
			flow->held -= (size_t)put;
			chunk->start += (size_t)put;
			if (chunk->start < chunk->len)
				continue;
		}
		flow->first = chunk->next;
		if (!flow->first)
			flow->last = &flow->first;
		free(chunk);
	}
	return NEVER;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Moves what can be moved. Returns when there is more to do. */
static int64_t serve(struct pair *pair)
{
	int64_t now = now_ns(), open_ns = pair->accepted_ns + rtt_ns * 3 / 2;
	bool more = take(pair, &pair->client, &pair->up, now);
	if (!pair->dead && pair->server.fd < 0) {
		if (now < open_ns)
			return open_ns;
		connect_pair(pair);
	}
	more |= !pair->dead && take(pair, &pair->server, &pair->down, now);
	int64_t next = pair->dead ? NEVER : give(pair, &pair->up, &pair->server, now);
	if (!pair->dead)
		next = earlier(next, give(pair, &pair->down, &pair->client, now));
	/* what was full may have room now */
	more |= pair->client.readable && !pair->up.ended && pair->up.held <= HELD;
	more |= pair->server.readable && !pair->down.ended && pair->down.held <= HELD;
	pair->dead |= pair->up.passed_end && pair->down.passed_end;
	return more && !pair->dead ? now : next;
}

static void drop(struct pair *pair)
{
	struct flow *flows[] = {&pair->up, &pair->down};
	for (int i = 0; i < 2; i++)
		for (struct chunk *chunk = flows[i]->first, *next; chunk; chunk = next) {
			next = chunk->next;
			free(chunk);
		}
	close(pair->client.fd);
	if (pair->server.fd >= 0)
		close(pair->server.fd);
	free(pair);
}

static int64_t serve_all(struct pair **first)
{
	int64_t next = NEVER;
	for (struct pair **at = first; *at;) {
		struct pair *pair = *at;
		next = earlier(next, serve(pair));
		if (pair->dead) {
			*at = pair->next;
			drop(pair);
		} else {
			at = &pair->next;
		}
	}
	return next;
}

static int start_listening(void)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof own;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (listener < 0 || epoll_fd < 0 || bind(listener, (struct sockaddr *)&own, size) < 0 ||
	    listen(listener, 1024) < 0 ||
	    getsockname(listener, (struct sockaddr *)&own, &size) < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0) {
		perror("delay");
		exit(1);
	}
	printf("%d\n", ntohs(own.sin_port));
	(void)fflush(stdout);
	return listener;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: delay TARGET_PORT RTT_MS BYTES_PER_S\n");
		return 2;
	}
	target = (struct sockaddr_in){.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(argv[1])),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	rtt_ns = (int64_t)(strtod(argv[2], NULL) * 1e6);
	rate = strtoull(argv[3], NULL, 10);
	(void)signal(SIGPIPE, SIG_IGN);
	int listener = start_listening();
	struct pair *pairs = NULL;
	int64_t next = NEVER;
	for (;;) {
		struct epoll_event events[EVENTS];
		int64_t wait = next == NEVER ? NEVER : next - now_ns();
		struct timespec t = {wait < 0 ? 0 : wait / 1000000000,
				     wait < 0 ? 0 : wait % 1000000000};
		int count = epoll_pwait2(epoll_fd, events, EVENTS, next == NEVER ? NULL : &t, NULL);
		for (int i = 0; i < count; i++) {
			struct end *end = events[i].data.ptr;
			if (!end) {
				for (struct pair *pair; (pair = accept_pair(listener, pairs));)
					pairs = pair;
				continue;
			}
			end->readable |= (events[i].events & ~(uint32_t)EPOLLOUT) != 0;
			end->writable |= (events[i].events & EPOLLOUT) != 0;
		}
		next = serve_all(&pairs);
	}
}
