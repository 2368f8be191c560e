/* What is read ahead of a session's socket, and that nothing else is touched. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "sftp/socket.h"

#define PIECE 4096
#define MANY ((size_t)160 * 1024)

static unsigned calls; /* of the kernel */

ssize_t recvfrom(int fd, void *dst, size_t len, int flags, struct sockaddr *from,
		 socklen_t *from_len)
{
	calls++;
	return syscall(SYS_recvfrom, fd, dst, len, flags, from, from_len);
}

static int pair[2];
static uint8_t bytes[MANY], got[MANY];

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < MANY; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	memset(got, 0, MANY);
	calls = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	scout_sftp_socket_attach(pair[0]);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	scout_sftp_socket_detach();
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static void put(size_t at, size_t len)
{
	assert_int_equal(send(pair[1], bytes + at, len, 0), len);
}

static void take(size_t at, size_t len)
{
	assert_int_equal(recv(pair[0], got + at, PIECE, 0), len);
	assert_memory_equal(got + at, bytes + at, len);
}

static int look(short events, short *revents)
{
	struct pollfd fds[] = {{.fd = pair[1], .events = POLLIN | POLLOUT, .revents = -1},
			       {.fd = pair[0], .events = events, .revents = -1}};
	int n = poll(fds, 2, 0);

	revents[0] = fds[0].revents;
	revents[1] = fds[1].revents;
	return n;
}

static void much_is_read_at_once(void **state)
{
	size_t at = 0, len = MANY / PIECE * PIECE;

	(void)state;
	put(0, len);
	for (; at < len; at += PIECE)
		take(at, PIECE);
	assert_true(calls <= 2 + len / (64 * 1024));
	assert_false(scout_sftp_socket_has_more());
	assert_int_equal(recv(pair[0], got, PIECE, 0), -1); /* EAGAIN */
	close(pair[1]);
	assert_int_equal(recv(pair[0], got, PIECE, 0), 0);
	assert_int_equal(recv(pair[0], got, PIECE, 0), 0);
}

static void little_is_not(void **state)
{
	(void)state;
	for (size_t at = 0; at < 500; at += 100) {
		put(at, 100);
		take(at, 100);
		assert_false(scout_sftp_socket_has_more());
	}
	assert_int_equal(calls, 5);
}

static void what_comes_in_odd_pieces_is_in_order(void **state)
{
	size_t put_to = 0, at = 0;

	(void)state;
	srand(1);
	while (at < MANY) {
		size_t n = (size_t)rand() % 20000;
		ssize_t taken;

		n = n < MANY - put_to ? n : MANY - put_to;
		if (n > 0)
			put(put_to, n);
		put_to += n;
		for (int i = rand() % 8; i >= 0 && at < MANY; i--) {
			taken = recv(pair[0], got + at, MANY - at < PIECE ? MANY - at : PIECE, 0);
			if (taken < 0)
				break;
			at += (size_t)taken;
		}
	}
	assert_memory_equal(got, bytes, MANY);
}

static void poll_tells_what_was_read(void **state)
{
	short revents[2];

	(void)state;
	assert_int_equal(look(POLLIN, revents), 1);
	assert_int_equal(revents[0], POLLOUT);
	put(0, 3 * PIECE);
	take(0, PIECE);
	take(PIECE, PIECE);
	assert_true(scout_sftp_socket_has_more()); /* the kernel has nothing any more */
	assert_int_equal(look(POLLIN | POLLOUT, revents), 1);
	assert_int_equal(revents[0], 0);
	assert_int_equal(revents[1], POLLIN);
	assert_int_equal(look(POLLOUT, revents), 2); /* who does not ask for it */
	assert_int_equal(revents[1], POLLOUT);
	take(2 * PIECE, PIECE);
	assert_int_equal(look(POLLIN, revents), 1);
	assert_int_equal(revents[1], 0);
}

static void others_are_not_touched(void **state)
{
	int other[2];
	short revents[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	put(0, 3 * PIECE);
	take(0, PIECE);
	take(PIECE, PIECE);
	assert_int_equal(send(other[1], "other", 5, 0), 5);
	assert_int_equal(recv(other[0], got, PIECE, MSG_PEEK), 5);
	assert_int_equal(recv(other[0], got, PIECE, 0), 5);
	assert_memory_equal(got, "other", 5);
	scout_sftp_socket_detach();
	assert_false(scout_sftp_socket_has_more());
	assert_int_equal(look(POLLIN, revents), 1);
	assert_int_equal(revents[1], 0);
	close(other[0]);
	close(other[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(much_is_read_at_once),
	    TEST(little_is_not),
	    TEST(what_comes_in_odd_pieces_is_in_order),
	    TEST(poll_tells_what_was_read),
	    TEST(others_are_not_touched),
	};

	return cmocka_run_group_tests_name("sftp/socket", tests, NULL, NULL);
}
