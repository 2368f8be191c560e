/* The network's own time: bytes there and back again by TCP, over the same link as a host's, and the end that
 * sends them back. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cases.h"
#include "scoutfs/clock.h"

#define PING_BYTES 64

static int new_socket(unsigned port, struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	*address = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_port = htons((uint16_t)port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd >= 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int pool_ping(const struct pool_options *o, struct pool_report *r)
{
	struct pool_series *s = pool_report_series(r, "ping", "ns");
	char bytes[PING_BYTES] = {0};
	struct sockaddr_in to;
	int fd = new_socket(o->port, &to), err = 0;

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		err = -errno;
	for (unsigned i = 0; i < o->count && !err; i++) {
		uint64_t began = scout_now_ns();

		if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != (ssize_t)sizeof(bytes) ||
		    recv(fd, bytes, sizeof(bytes), MSG_WAITALL) != (ssize_t)sizeof(bytes))
			err = -EIO;
		pool_series_add(s, (double)(scout_now_ns() - began));
	}
	if (fd >= 0)
		close(fd);
	return err;
}

int pool_echo(void)
{
	char bytes[PING_BYTES];
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	int listener = new_socket(0, &address), client;
	ssize_t n;

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, 8) || getsockname(listener, (struct sockaddr *)&address, &len))
		return -errno;
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);
	while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		int one = 1;

		(void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while ((n = recv(client, bytes, sizeof(bytes), 0)) > 0 &&
		       send(client, bytes, (size_t)n, MSG_NOSIGNAL) == n)
			;
		close(client);
	}
	return -errno;
}
