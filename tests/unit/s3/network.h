/* A network of the test's own, whose loopback has the addresses that only machines at AWS reach, and small HTTP
 * servers there. In a process of its own, so that the other tests keep their network. */
#ifndef TEST_NETWORK_H
#define TEST_NETWORK_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_NETWORK 2 /* exit status */
#define NO_IPV6 77

/* The ioctls add an address to loopback. */
static int add4(int fd, const struct sockaddr_in *address)
{
	struct ifreq request = {.ifr_name = "lo"};

	memcpy(&request.ifr_addr, address, sizeof(*address));
	return ioctl(fd, SIOCSIFADDR, &request);
}

static int add6(int fd, const struct sockaddr_in6 *address)
{
	struct in6_ifreq request = {.ifr6_addr = address->sin6_addr,
				    .ifr6_prefixlen = 128,
				    .ifr6_ifindex = (int)if_nametoindex("lo")};

	return ioctl(fd, SIOCSIFADDR, &request);
}

static bool bring_up(int fd)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	return ioctl(fd, SIOCSIFFLAGS, &request) == 0;
}

/* The kernel looks at a new IPv6 address for a moment before anybody may have it. */
static bool bind_soon(int fd, const struct sockaddr *address, socklen_t len)
{
	for (int ms = 0; bind(fd, address, len) != 0; ms++) {
		if (errno != EADDRNOTAVAIL || ms == 10000)
			return false;
		(void)poll(NULL, 0, 1);
	}
	return true;
}

/* Listens on port 80 of an address that loopback has from now on. Returns -1, with errno EAFNOSUPPORT or EACCES
 * where there is no IPv6. */
static int listen_at(const char *text)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(80)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	bool six = inet_pton(AF_INET, text, &a4.sin_addr) != 1;
	const struct sockaddr *address = six ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
	int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

	if (six && inet_pton(AF_INET6, text, &a6.sin6_addr) != 1)
		return -1;
	/* what is not kept open here ends with the process */
	if (fd < 0 || !bring_up(fd) || (six ? add6(fd, &a6) : add4(fd, &a4)) != 0 ||
	    !bind_soon(fd, address, six ? sizeof(a6) : sizeof(a4)) || listen(fd, 8) != 0)
		return -1;
	return fd;
}

struct server {
	int fd;
	/* What to answer a right request with; NULL: it is wrong. */
	const char *(*answer)(const char *request, const void *arg);
	const void *arg;
	pthread_t thread;
};

static void *serve(void *arg)
{
	const struct server *server = arg;
	int fd;

	while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
		char request[4096] = "";
		const char *body;
		size_t len = 0;
		ssize_t n = 1;

		while (n > 0 && len < sizeof(request) - 1 && !strstr(request, "\r\n\r\n")) {
			n = read(fd, request + len, sizeof(request) - 1 - len);
			len += n > 0 ? (size_t)n : 0;
			request[len] = '\0';
		}
		body = server->answer(request, server->arg);
		(void)dprintf(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
			      body ? "200 OK" : "401 No", body ? strlen(body) : 0,
			      body ? body : "");
		close(fd);
	}
	return NULL;
}

static bool server_start(struct server *server, const char *address)
{
	server->fd = listen_at(address);
	return server->fd >= 0 && !pthread_create(&server->thread, NULL, serve, server);
}

static void server_stop(struct server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
}

/* Runs function in a network of its own; what it returns, or NO_NETWORK. */
static int in_own_network(int (*function)(void))
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(unshare(CLONE_NEWNET | (geteuid() ? CLONE_NEWUSER : 0)) ? NO_NETWORK
									      : function());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#endif
