/* recv(3) and poll(3) for libssh; see socket.h. While little comes nothing is kept, so that a session at rest costs
 * no memory. */
#include "sftp/socket.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define AHEAD_BYTES ((size_t)64 * 1024)

static _Thread_local struct {
	int fd; /* -1: none */
	uint8_t *bytes;
	size_t at, end; /* of bytes, what is to be handed out */
	bool much;      /* the last call got all that it asked for, or more */
} ahead = {.fd = -1};

void scout_sftp_socket_attach(int fd)
{
	ahead.fd = fd;
}

void scout_sftp_socket_detach(void)
{
	free(ahead.bytes);
	memset(&ahead, 0, sizeof(ahead));
	ahead.fd = -1;
}

bool scout_sftp_socket_has_more(void)
{
	return ahead.at < ahead.end;
}

/* For the next call, if it is worth it. */
static void make_room(void)
{
	if (!ahead.much) {
		free(ahead.bytes);
		ahead.bytes = NULL;
	} else if (!ahead.bytes) {
		ahead.bytes = malloc(AHEAD_BYTES); /* without memory there is none */
	}
}

static ssize_t fill(size_t wanted)
{
	ssize_t got = recvfrom(ahead.fd, ahead.bytes, AHEAD_BYTES, 0, NULL, NULL);

	ahead.at = 0;
	ahead.end = got > 0 ? (size_t)got : 0;
	ahead.much = ahead.end >= wanted;
	return got;
}

ssize_t recv(int fd, void *dst, size_t len, int flags)
{
	ssize_t got;

	if (fd != ahead.fd || flags || len == 0)
		return recvfrom(fd, dst, len, flags, NULL, NULL);
	if (!scout_sftp_socket_has_more()) {
		make_room();
		if (!ahead.bytes) {
			got = recvfrom(fd, dst, len, 0, NULL, NULL);
			ahead.much = got == (ssize_t)len;
			return got;
		}
		got = fill(len);
		if (got <= 0)
			return got;
	}
	if (len > ahead.end - ahead.at)
		len = ahead.end - ahead.at;
	memcpy(dst, ahead.bytes + ahead.at, len);
	ahead.at += len;
	return (ssize_t)len;
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec timeout = {.tv_sec = timeout_ms / 1000,
				   .tv_nsec = timeout_ms % 1000 * 1000000L};
	struct pollfd *ours = NULL;

	if (scout_sftp_socket_has_more()) {
		for (nfds_t i = 0; i < count; i++) {
			fds[i].revents = 0;
			if (fds[i].fd == ahead.fd && fds[i].events & POLLIN)
				ours = &fds[i];
		}
	}
	if (!ours)
		return ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, NULL);
	ours->revents = POLLIN;
	return 1;
}
