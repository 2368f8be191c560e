/* Connections made ahead: who gets one, and when they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "s3/warm.h"
#include "scoutfs/clock.h"

#define NOW (1000 * SCOUT_NS_PER_S)
#define SOON (NOW + SCOUT_NS_PER_S)
#define LATE (NOW + 4 * SCOUT_NS_PER_S)

struct rig {
	struct scout_s3_sockets sockets;
	struct scout_s3_warm warm;
	struct sockaddr_in server;
	int listens;
};

static int take(struct rig *r)
{
	return scout_s3_warm_take(&r->warm, &r->sockets, (struct sockaddr *)&r->server,
				  sizeof(r->server), SOCK_STREAM, 0);
}

static void rig_up(struct rig *r)
{
	socklen_t len = sizeof(r->server);

	*r = (struct rig){
	    .server = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
	assert_int_equal(scout_s3_sockets_init(&r->sockets, 20), 0);
	r->listens = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(r->listens, (struct sockaddr *)&r->server, len), 0);
	assert_int_equal(listen(r->listens, 32), 0);
	assert_int_equal(getsockname(r->listens, (struct sockaddr *)&r->server, &len), 0);
	assert_int_equal(take(r), -1); /* there is none; but where it would go is known now */
}

static void rig_down(struct rig *r)
{
	scout_s3_warm_sweep(&r->warm, &r->sockets, UINT64_MAX);
	assert_int_equal(r->warm.count, 0);
	assert_int_equal(scout_s3_sockets_count(&r->sockets), 0);
	scout_s3_sockets_destroy(&r->sockets);
	close(r->listens);
}

/* Until the i-th one says something. */
static void wait_for(struct rig *r, size_t i, short events)
{
	struct pollfd p = {.fd = r->warm.waiting[i].fd, .events = events};

	assert_int_equal(poll(&p, 1, 60000), 1);
}

static void one_is_taken(void **state)
{
	struct rig r;
	int first, second;

	(void)state;
	rig_up(&r);
	scout_s3_warm_begin(&r.warm, &r.sockets, 2, NOW);
	assert_int_equal(scout_s3_sockets_count(&r.sockets), 2);
	wait_for(&r, 0, POLLOUT);
	wait_for(&r, 1, POLLOUT);
	first = take(&r);
	assert_true(first >= 0);
	assert_false(scout_s3_warm_was_given(&r.warm, first + 1));
	second = take(&r);
	assert_true(second >= 0 && second != first);
	assert_true(scout_s3_warm_was_given(&r.warm, second));
	assert_false(
	    scout_s3_warm_was_given(&r.warm, second)); /* the number may be another's now */
	assert_int_equal(take(&r), -1);
	assert_int_equal(write(first, "x", 1), 1);
	assert_int_equal(scout_s3_socket_close(&r.sockets, first), 0);
	assert_int_equal(scout_s3_socket_close(&r.sockets, second), 0);
	rig_down(&r);
}

static void not_to_another_address(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r);
	scout_s3_warm_begin(&r.warm, &r.sockets, 3, NOW);
	wait_for(&r, 0, POLLOUT);
	r.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
	assert_int_equal(take(&r), -1);
	assert_int_equal(r.warm.count, 0);
	rig_down(&r);
}

static void they_end(void **state)
{
	struct rig r;
	int accepted;

	(void)state;
	rig_up(&r);
	scout_s3_warm_begin(&r.warm, &r.sockets, 1, NOW);
	scout_s3_warm_begin(&r.warm, &r.sockets, 100, SOON);
	assert_int_equal(r.warm.count, 16);
	assert_int_equal(r.warm.count, SCOUT_S3_WARM_MAX);
	scout_s3_warm_sweep(&r.warm, &r.sockets, SOON);
	assert_int_equal(r.warm.count, SCOUT_S3_WARM_MAX);
	scout_s3_warm_sweep(&r.warm, &r.sockets, NOW + 3 * SCOUT_NS_PER_S);
	assert_int_equal(r.warm.count, SCOUT_S3_WARM_MAX - 1);
	/* the server has enough of one: it is not given out */
	accepted = accept(r.listens, NULL, NULL); /* the first one, which is over */
	close(accepted);
	accepted = accept(r.listens, NULL, NULL);
	close(accepted);
	wait_for(&r, 0, POLLRDHUP);
	scout_s3_warm_sweep(&r.warm, &r.sockets, SOON);
	assert_int_equal(r.warm.count, SCOUT_S3_WARM_MAX - 2);
	accepted = accept(r.listens, NULL, NULL);
	close(accepted);
	wait_for(&r, 0, POLLRDHUP);
	wait_for(&r, 1, POLLOUT);
	accepted = take(&r);
	assert_true(accepted >= 0);
	assert_int_equal(r.warm.count, SCOUT_S3_WARM_MAX - 4);
	assert_int_equal(scout_s3_socket_close(&r.sockets, accepted), 0);
	scout_s3_warm_sweep(&r.warm, &r.sockets, LATE);
	assert_int_equal(r.warm.count, 0);
	rig_down(&r);
}

/* Who has no room for one of his own takes one's place, not all. */
static void one_makes_room(void **state)
{
	struct rig r;
	int first;

	(void)state;
	rig_up(&r);
	scout_s3_warm_drop_one(&r.warm, &r.sockets);
	scout_s3_warm_begin(&r.warm, &r.sockets, 3, NOW);
	first = r.warm.waiting[0].fd;
	scout_s3_warm_drop_one(&r.warm, &r.sockets);
	assert_int_equal(r.warm.count, 2);
	assert_int_equal(scout_s3_sockets_count(&r.sockets), 2);
	assert_int_equal(r.warm.waiting[0].fd, first); /* which is connected first */
	rig_down(&r);
}

/* What was given, and never asked about, is forgotten with the next one: the number may be another's. */
static void none_was_given(void **state)
{
	struct rig r;
	int fd;

	(void)state;
	rig_up(&r);
	scout_s3_warm_begin(&r.warm, &r.sockets, 1, NOW);
	wait_for(&r, 0, POLLOUT);
	fd = take(&r);
	assert_true(fd >= 0);
	assert_int_equal(take(&r), -1);
	assert_false(scout_s3_warm_was_given(&r.warm, fd));
	assert_int_equal(scout_s3_socket_close(&r.sockets, fd), 0);
	rig_down(&r);
}

/* Nobody listens: that is nothing to speak of. */
static void refused(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r);
	close(r.listens);
	r.listens = -1;
	scout_s3_warm_begin(&r.warm, &r.sockets, 1, NOW);
	if (r.warm.count > 0)
		wait_for(&r, 0, POLLOUT);
	assert_int_equal(take(&r), -1);
	assert_int_equal(r.warm.count, 0);
	rig_down(&r);
}

static void not_before_one_was(void **state)
{
	struct rig r = {.listens = -1};

	(void)state;
	assert_int_equal(scout_s3_sockets_init(&r.sockets, 20), 0);
	scout_s3_warm_begin(&r.warm, &r.sockets, 3, NOW);
	assert_int_equal(r.warm.count, 0);
	rig_down(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_is_taken),       cmocka_unit_test(not_to_another_address),
	    cmocka_unit_test(they_end),           cmocka_unit_test(refused),
	    cmocka_unit_test(not_before_one_was), cmocka_unit_test(one_makes_room),
	    cmocka_unit_test(none_was_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
