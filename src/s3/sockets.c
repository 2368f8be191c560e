/* Counting connections; see sockets.h. libcurl 7.88 closes a socket that was given up while it
 * connected without telling its owner, so a socket counts only while its number still stands for the
 * inode that was opened. */
#include "s3/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int scout_s3_sockets_init(struct scout_s3_sockets *s, size_t max_connections)
{
	/* Two while one connects over IPv6 and IPv4 at once. */
	s->size = 2 * max_connections;
	s->used = 0;
	s->open = calloc(s->size, sizeof(s->open[0]));
	scout_mutex_init(&s->lock, SCOUT_LOCK_LEAF);
	return s->open ? 0 : -ENOMEM;
}

void scout_s3_sockets_destroy(struct scout_s3_sockets *s)
{
	scout_mutex_destroy(&s->lock);
	free(s->open);
}

static bool is_open(const struct scout_s3_socket *socket)
{
	struct statx st;

	return statx(socket->fd, "", AT_EMPTY_PATH, STATX_INO, &st) == 0 &&
	       st.stx_ino == socket->inode;
}

static void forget_closed_locked(struct scout_s3_sockets *s)
{
	for (size_t i = 0; i < s->used;) {
		if (is_open(&s->open[i]))
			i++;
		else
			s->open[i] = s->open[--s->used];
	}
}

int scout_s3_socket_open(struct scout_s3_sockets *s, int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fd;
	scout_lock(&s->lock);
	if (s->used == s->size)
		forget_closed_locked(s);
	if (s->used < s->size)
		s->open[s->used++] = (struct scout_s3_socket){fd, st.st_ino};
	scout_unlock(&s->lock);
	return fd;
}

int scout_s3_socket_close(struct scout_s3_sockets *s, int fd)
{
	scout_lock(&s->lock);
	for (size_t i = 0; i < s->used; i++) {
		if (s->open[i].fd == fd) {
			s->open[i] = s->open[--s->used];
			break;
		}
	}
	scout_unlock(&s->lock);
	return close(fd);
}

/* Of what getsockname(2) or getpeername(2) told. */
static unsigned port_of(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)a)->sin6_port);
	return a->ss_family == AF_INET ? ntohs(((const struct sockaddr_in *)a)->sin_port) : 0;
}

static bool leads(int fd, unsigned port, const char *peer, unsigned peer_port)
{
	struct sockaddr_storage from = {0}, to = {0};
	socklen_t from_len = sizeof(from), to_len = sizeof(to);
	char text[INET6_ADDRSTRLEN];
	const void *address = &((struct sockaddr_in *)&to)->sin_addr;

	if (getsockname(fd, (struct sockaddr *)&from, &from_len) < 0 || port_of(&from) != port ||
	    getpeername(fd, (struct sockaddr *)&to, &to_len) < 0 || port_of(&to) != peer_port)
		return false;
	if (to.ss_family == AF_INET6)
		address = &((struct sockaddr_in6 *)&to)->sin6_addr;
	return inet_ntop(to.ss_family, address, text, sizeof(text)) && strcmp(text, peer) == 0;
}

bool scout_s3_sockets_acked(struct scout_s3_sockets *s, unsigned port, const char *peer,
			    unsigned peer_port, uint64_t *ret)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	bool known = false;

	scout_lock(&s->lock);
	for (size_t i = 0; i < s->used && !known; i++) {
		int fd = s->open[i].fd;

		known = is_open(&s->open[i]) && leads(fd, port, peer, peer_port) &&
			getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
			len >= offsetof(struct tcp_info, tcpi_bytes_acked) +
				   sizeof(info.tcpi_bytes_acked);
	}
	scout_unlock(&s->lock);
	if (known)
		*ret = info.tcpi_bytes_acked;
	return known;
}

unsigned scout_s3_sockets_count(struct scout_s3_sockets *s)
{
	unsigned count;

	scout_lock(&s->lock);
	forget_closed_locked(s);
	count = (unsigned)s->used;
	scout_unlock(&s->lock);
	return count;
}
