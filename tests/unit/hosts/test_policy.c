/* The pool's decisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hosts/pool_policy.h"

#define UP SCOUT_SESSION_UP
#define CONNECTING SCOUT_SESSION_CONNECTING
#define LOST SCOUT_SESSION_LOST

static struct scout_load loads[5];
static struct scout_load *const sessions[] = {&loads[0], &loads[1], &loads[2], &loads[3],
					      &loads[4]};

static struct scout_route_query query(unsigned count)
{
	return (struct scout_route_query){
	    .sessions = sessions, .count = count, .max = 4, .now_ns = 1000};
}

static void set(unsigned i, enum scout_session_state state, unsigned calls, unsigned bulk)
{
	loads[i] = (struct scout_load){.state = state, .calls = calls, .bulk = bulk};
}

static void idle_host_wants_one_session(void **state)
{
	struct scout_route_query q = query(0);
	struct scout_route r = scout_policy_route(&q);

	(void)state;
	assert_int_equal(r.kind, SCOUT_ROUTE_QUEUE);
	assert_true(r.want);
}

static void connecting_host_queues_without_another(void **state)
{
	struct scout_route_query q = query(1);
	struct scout_route r;

	(void)state;
	set(0, CONNECTING, 0, 0);
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_QUEUE);
	assert_false(r.want);
}

static void lost_session_is_waited_for(void **state)
{
	struct scout_route_query q = query(1);
	struct scout_route r;

	(void)state;
	set(0, LOST, 3, 0);
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_QUEUE);
	assert_false(r.want);
}

static void down_host_fails_until_its_time(void **state)
{
	struct scout_route_query q = query(0);
	struct scout_route r;

	(void)state;
	q.down_err = -5;
	q.down_until_ns = 1001;
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_FAIL);
	assert_false(r.want);
	q.now_ns = 1001;
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_QUEUE);
	assert_true(r.want);
}

static void least_busy_session_is_used(void **state)
{
	struct scout_route_query q = query(4);
	struct scout_route r;

	(void)state;
	set(0, UP, 9, 0);
	set(1, UP, 2, 0);
	set(2, LOST, 0, 0);
	set(3, UP, 0, 1); /* a copy runs there */
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_SESSION);
	assert_int_equal(r.index, 1);
	assert_false(r.want);
}

static void grows_only_when_all_are_busy(void **state)
{
	struct scout_route_query q = query(2);

	(void)state;
	set(0, UP, 65, 0);
	set(1, UP, 64, 0);
	assert_false(scout_policy_route(&q).want);
	set(1, UP, 65, 0);
	assert_true(scout_policy_route(&q).want);
	assert_int_equal(scout_policy_route(&q).kind, SCOUT_ROUTE_SESSION);
	q.max = 2;
	assert_false(scout_policy_route(&q).want);
	q.max = 4;
	q.grow_after_ns = 1001;
	assert_false(scout_policy_route(&q).want);
	q.grow_after_ns = 0;
	q.max = 8;
	set(2, CONNECTING, 0, 0);
	set(3, CONNECTING, 0, 0);
	set(4, CONNECTING, 0, 0);
	q.count = 4;
	assert_true(scout_policy_route(&q).want);
	q.count = 5; /* three at once are as many as the strictest servers let in */
	assert_false(scout_policy_route(&q).want);
}

static void full_sessions_queue(void **state)
{
	struct scout_route_query q = query(1);

	(void)state;
	set(0, UP, SCOUT_POOL_MAX_CALLS, 0);
	assert_int_equal(scout_policy_route(&q).kind, SCOUT_ROUTE_QUEUE);
	assert_true(scout_policy_route(&q).want);
	q.max = 1;
	assert_false(scout_policy_route(&q).want);
}

static void what_opens_goes_where_a_handle_is_left(void **state)
{
	struct scout_route_query q = query(2);
	struct scout_route r;

	(void)state;
	q.max_handles = 10;
	set(0, UP, 0, 0);
	set(1, UP, 3, 0);
	loads[0].handles = 9;
	loads[0].opening = 1;
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_SESSION);
	assert_int_equal(r.index, 0); /* it opens nothing */
	q.opens = true;
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_SESSION);
	assert_int_equal(r.index, 1);
	assert_false(r.want);
	loads[1].handles = 10;
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_QUEUE);
	assert_int_equal(r.want, 1);
	set(2, CONNECTING, 0, 0);
	q.count = q.max = 3;
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_QUEUE);
	assert_int_equal(r.want, 0);
	q.count = q.max = 2; /* there is none to come: the server is to say what it thinks of it */
	r = scout_policy_route(&q);
	assert_int_equal(r.kind, SCOUT_ROUTE_SESSION);
	assert_int_equal(r.index, 0);
	assert_int_equal(scout_policy_route_apart(&q, NULL, 0, 1).kind, SCOUT_ROUTE_QUEUE);
	loads[0].handles = loads[0].opening = loads[1].handles = 0;
}

static void start_obeys_each_limit(void **state)
{
	struct scout_start_query q = {
	    .waiting = true,
	    .max = 4,
	    .all = 9,
	    .all_max = 10,
	    .connecting = 1,
	    .max_connecting = 2,
	    .now_ns = 1000,
	};

	(void)state;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_NOW);
	q.next_start_ns = 1001;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_LATER);
	q.next_start_ns = 1000;
	q.connecting = 2;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_SLOT);
	q.connecting = 0;
	q.all = 10;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_EVICT);
	q.ending = 1;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_ROOM);
	q.waiting = false;
	q.grow = true;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_DROP);
	q.all = 9;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_NOW);
	q.count = 4;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_DROP);
	q.count = 0;
	q.grow = false;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_DROP);
}

static void idle_means_nothing_in_flight_and_nothing_open(void **state)
{
	struct scout_load load = {.state = UP, .last_used_ns = 100};

	(void)state;
	assert_true(scout_policy_idle(&load));
	assert_int_equal(scout_policy_idle_check(&load, 50, 120), 150);
	load.handles = 1;
	assert_false(scout_policy_idle(&load));
	assert_int_equal(scout_policy_idle_check(&load, 50, 120), 170);
	load.handles = 0;
	load.calls = 1;
	assert_false(scout_policy_idle(&load));
	load.calls = 0;
	load.state = CONNECTING;
	assert_false(scout_policy_idle(&load));
	assert_int_equal(scout_policy_idle_check(&load, UINT64_MAX, 120), UINT64_MAX);
}

static void only_files_let_a_session_rest(void **state)
{
	const uint64_t rest = SCOUT_POOL_REST_MS * 1000000ull;
	struct scout_load load = {.state = UP, .handles = 2, .last_used_ns = 5};

	(void)state;
	assert_false(scout_policy_idle(&load));
	assert_false(scout_policy_rests(&load, 4 + rest));
	assert_true(scout_policy_rests(&load, 5 + rest));
	load.calls = 1;
	assert_false(scout_policy_rests(&load, 5 + rest));
	load.calls = 0;
	load.pinned = 1;
	assert_false(scout_policy_rests(&load, 5 + rest));
	load.pinned = 0;
	load.state = LOST;
	assert_false(scout_policy_rests(&load, 5 + rest));
}

static void suspects_leave_room(void **state)
{
	struct scout_start_query q = {.waiting = true,
				      .suspect = true,
				      .max = 4,
				      .all_max = 10,
				      .connecting = 1,
				      .max_connecting = 4};

	(void)state;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_NOW);
	q.connecting = 2;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_SLOT);
	q.suspect = false;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_NOW);
	q.suspect = true;
	q.max_connecting = 1; /* there is no half of it */
	q.connecting = 0;
	assert_int_equal(scout_policy_start(&q), SCOUT_START_NOW);
}

static void a_draining_session_takes_nothing_new(void **state)
{
	struct scout_route_query q = query(2);

	(void)state;
	set(0, UP, 0, 0);
	set(1, UP, 9, 0);
	loads[0].draining = true;
	assert_int_equal(scout_policy_route(&q).index, 1);
	loads[1].draining = true;
	assert_int_equal(scout_policy_route(&q).kind, SCOUT_ROUTE_QUEUE);
	assert_true(scout_policy_route(&q).want);
}

static void what_holds_open_files_drains_only_beside_others(void **state)
{
	struct scout_load load = {.state = UP, .calls = 3};

	(void)state;
	assert_true(scout_policy_may_drain(&load, 0));
	load.handles = 1;
	assert_false(scout_policy_may_drain(&load, 0));
	assert_true(scout_policy_may_drain(&load, 1));
	load.draining = true;
	assert_false(scout_policy_may_drain(&load, 1));
	load = (struct scout_load){.state = CONNECTING};
	assert_false(scout_policy_may_drain(&load, 1));
}

static void a_further_handle_goes_where_there_is_none(void **state)
{
	const struct scout_load *const taken[] = {&loads[0], &loads[2]};
	struct scout_route_query q = query(3);
	struct scout_route r;

	(void)state;
	set(0, UP, 0, 0);
	set(1, UP, 9, 0);
	set(2, UP, 0, 0);
	r = scout_policy_route_apart(&q, taken, 2, 1);
	assert_int_equal(r.kind, SCOUT_ROUTE_SESSION);
	assert_int_equal(r.index, 1);
	assert_false(r.want);
	/* one that has much to carry is better than none, and another is better */
	loads[1].bulk = 1;
	r = scout_policy_route_apart(&q, taken, 2, 1);
	assert_int_equal(r.kind, SCOUT_ROUTE_SESSION);
	assert_true(r.want);
	loads[1].draining = true;
	r = scout_policy_route_apart(&q, taken, 2, 1);
	assert_int_equal(r.kind, SCOUT_ROUTE_QUEUE);
	assert_true(r.want);
	q.max = 3;
	assert_false(scout_policy_route_apart(&q, taken, 2, 1).want);
}

static void many_further_handles_want_many_sessions(void **state)
{
	const struct scout_load *const taken[] = {&loads[0]};
	struct scout_route_query q = query(1);

	(void)state;
	q.max = 20;
	set(0, UP, 0, 1);
	assert_int_equal(scout_policy_route_apart(&q, taken, 1, 1).want, 1);
	assert_int_equal(scout_policy_route_apart(&q, taken, 1, 5).want, 5);
	/* so many connects at once, and no more, leave others a place at the server */
	assert_int_equal(scout_policy_route_apart(&q, taken, 1, 12).want, 7);
	q.max = 4;
	assert_int_equal(scout_policy_route_apart(&q, taken, 1, 7).want, 3);
	/* what is there, or about to come, is not asked for again */
	q.max = 20;
	q.count = 5;
	set(1, UP, 0, 0);
	set(2, UP, 0, 1);
	set(3, CONNECTING, 0, 0);
	set(4, CONNECTING, 0, 0);
	assert_int_equal(scout_policy_route_apart(&q, taken, 1, 7).want, 4);
	assert_int_equal(scout_policy_route_apart(&q, taken, 1, 12).want, 5);
	assert_int_equal(scout_policy_route_apart(&q, taken, 1, 3).want, 0);
	q.grow_after_ns = 1001;
	assert_int_equal(scout_policy_route_apart(&q, taken, 1, 7).want, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idle_host_wants_one_session),
	    cmocka_unit_test(connecting_host_queues_without_another),
	    cmocka_unit_test(lost_session_is_waited_for),
	    cmocka_unit_test(down_host_fails_until_its_time),
	    cmocka_unit_test(least_busy_session_is_used),
	    cmocka_unit_test(grows_only_when_all_are_busy),
	    cmocka_unit_test(full_sessions_queue),
	    cmocka_unit_test(what_opens_goes_where_a_handle_is_left),
	    cmocka_unit_test(start_obeys_each_limit),
	    cmocka_unit_test(idle_means_nothing_in_flight_and_nothing_open),
	    cmocka_unit_test(only_files_let_a_session_rest),
	    cmocka_unit_test(suspects_leave_room),
	    cmocka_unit_test(a_draining_session_takes_nothing_new),
	    cmocka_unit_test(what_holds_open_files_drains_only_beside_others),
	    cmocka_unit_test(a_further_handle_goes_where_there_is_none),
	    cmocka_unit_test(many_further_handles_want_many_sessions),
	};

	return cmocka_run_group_tests_name("hosts/policy", tests, NULL, NULL);
}
