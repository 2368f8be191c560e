/* Connections made ahead; see warm.h. libcurl is handed a connected socket in place of a new one, when it asks for
 * one to the same address. It makes a connection only when it needs one, and would have each of the parts that are
 * asked for at once wait for a handshake of its own: a round trip, before the request's.
 *
 * A server may close what is silent for long, so one that is not taken soon is closed by us; and whether it is
 * still well is looked at when it is taken. */
#include "s3/warm.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "scoutfs/clock.h"

#define KEPT_NS (3 * SCOUT_NS_PER_S)

static void drop(struct scout_s3_warm *w, struct scout_s3_sockets *s, size_t i)
{
	(void)scout_s3_socket_close(s, w->waiting[i].fd);
	w->count--;
	memmove(&w->waiting[i], &w->waiting[i + 1], (w->count - i) * sizeof(w->waiting[0]));
}

void scout_s3_warm_begin(struct scout_s3_warm *w, struct scout_s3_sockets *s, size_t n,
			 uint64_t now_ns)
{
	const struct sockaddr *to = (const struct sockaddr *)&w->to;

	while (w->to_len > 0 && n-- > 0 && w->count < SCOUT_S3_WARM_MAX) {
		int fd =
		    scout_s3_socket_open(s, to->sa_family, w->type | SOCK_NONBLOCK, w->protocol);

		if (fd < 0)
			return;
		if (connect(fd, to, w->to_len) < 0 && errno != EINPROGRESS) {
			(void)scout_s3_socket_close(s, fd);
			return;
		}
		w->waiting[w->count].fd = fd;
		w->waiting[w->count++].begun_ns = now_ns;
	}
}

/* 1: connected, and nothing has come; 0: not yet; -1: it failed, or was closed. */
static int state_of(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};

	if (poll(&p, 1, 0) < 0 || (p.revents & ~POLLOUT))
		return -1;
	return p.revents ? 1 : 0;
}

int scout_s3_warm_take(struct scout_s3_warm *w, struct scout_s3_sockets *s,
		       const struct sockaddr *to, socklen_t to_len, int type, int protocol)
{
	bool same = to_len == w->to_len && memcmp(to, &w->to, to_len) == 0 && type == w->type &&
		    protocol == w->protocol;

	w->is_given = false;
	if (!same) {
		scout_s3_warm_sweep(w, s, UINT64_MAX);
		w->to_len = 0;
		if (to_len > sizeof(w->to))
			return -1;
		memcpy(&w->to, to, to_len);
		w->to_len = to_len;
		w->type = type;
		w->protocol = protocol;
	}
	for (size_t i = 0; i < w->count; i++) {
		int fd = w->waiting[i].fd, state = state_of(fd);

		if (state > 0) {
			w->count--;
			memmove(&w->waiting[i], &w->waiting[i + 1],
				(w->count - i) * sizeof(w->waiting[0]));
			w->given = fd;
			w->is_given = true;
			return fd;
		}
		if (state < 0)
			drop(w, s, i--);
	}
	return -1;
}

bool scout_s3_warm_was_given(struct scout_s3_warm *w, int fd)
{
	bool was = w->is_given && w->given == fd;

	w->is_given = false;
	return was;
}

void scout_s3_warm_drop_one(struct scout_s3_warm *w, struct scout_s3_sockets *s)
{
	if (w->count > 0)
		drop(w, s, w->count - 1);
}

void scout_s3_warm_sweep(struct scout_s3_warm *w, struct scout_s3_sockets *s, uint64_t now_ns)
{
	for (size_t i = 0; i < w->count;) {
		if (now_ns == UINT64_MAX || now_ns - w->waiting[i].begun_ns >= KEPT_NS ||
		    state_of(w->waiting[i].fd) < 0)
			drop(w, s, i);
		else
			i++;
	}
}
