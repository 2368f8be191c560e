/* Which of our connections is meant, where one port of ours leads to two peers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "s3/sockets.h"
#include "scoutfs/clock.h"

static struct sockaddr_in loopback(unsigned port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static unsigned own_port(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	return ntohs(in.sin_port);
}

static unsigned listening(int *fd)
{
	struct sockaddr_in in = loopback(0);

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(*fd >= 0);
	assert_int_equal(bind(*fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(*fd, 1), 0);
	return own_port(*fd);
}

/* From our port (0: any) to that of a peer. */
static int connected(struct scout_s3_sockets *s, unsigned from, unsigned to)
{
	struct sockaddr_in own = loopback(from), peer = loopback(to);
	int fd = scout_s3_socket_open(s, AF_INET, SOCK_STREAM, 0);
	const int on = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof(peer)), 0);
	return fd;
}

static void one_port_of_ours_may_lead_to_two_peers(void **state)
{
	uint64_t acked = 0, until_ns = scout_now_ns() + 60 * SCOUT_NS_PER_S;
	int first_listens, second_listens, first, second;
	struct scout_s3_sockets s;
	unsigned to_first, to_second, port;
	char bytes[5000] = {0};

	(void)state;
	assert_int_equal(scout_s3_sockets_init(&s, 2), 0);
	to_first = listening(&first_listens);
	to_second = listening(&second_listens);
	first = connected(&s, 0, to_first);
	port = own_port(first);
	second = connected(&s, port, to_second);
	assert_int_equal(write(second, bytes, sizeof(bytes)), sizeof(bytes));
	while (acked < sizeof(bytes) && scout_now_ns() < until_ns)
		assert_true(scout_s3_sockets_acked(&s, port, "127.0.0.1", to_second, &acked));
	assert_true(acked >= sizeof(bytes));
	assert_true(scout_s3_sockets_acked(&s, port, "127.0.0.1", to_first, &acked));
	assert_true(acked < sizeof(bytes));
	assert_false(scout_s3_sockets_acked(&s, port, "127.0.0.2", to_first, &acked));
	assert_false(scout_s3_sockets_acked(&s, port, "127.0.0.1", port, &acked));
	assert_int_equal(scout_s3_socket_close(&s, first), 0);
	assert_int_equal(scout_s3_socket_close(&s, second), 0);
	close(first_listens);
	close(second_listens);
	scout_s3_sockets_destroy(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_port_of_ours_may_lead_to_two_peers),
	};

	return cmocka_run_group_tests_name("s3/sockets", tests, NULL, NULL);
}
