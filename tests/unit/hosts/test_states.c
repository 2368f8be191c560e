/* The states of a host, one test for each way from one to another (src/hosts/session.c draws them; who
 * leaves while they are in one is in test_table.c). */
#include "pool.h"

/* A host with a file /x, which has answered once. */
static void bring_one_up(void)
{
	rig_config(1);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), 0);
}

static void a_cold_host_gets_one_connect(void **state)
{
	(void)state;
	rig_config(1);
	fake.hold_connects = true;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	start_getattrs(N, "h0/x");
	FAKE_WAIT(fake.starts == 1);
	assert_false(asks[0].done);
	FAKE_LOCKED(fake.hold_connects = false);
	all_end_with(N, 0);
	assert_int_equal(asks[7].attr.size, 5);
	assert_int_equal(fake.starts, 1);
	rig_stop();
}

static void a_failed_connect_fails_all_who_wait(void **state)
{
	uint64_t before;

	(void)state;
	rig_config(1);
	fake.hold_connects = true;
	fake.connect_err = -ECONNREFUSED;
	rig_start(MEMORY);
	start_getattrs(N, "h0/x");
	FAKE_WAIT(fake.starts == 1);
	before = scout_now_ns();
	FAKE_LOCKED(fake.hold_connects = false);
	all_end_with(N, -ECONNREFUSED);

	/* down: at once, without a connect */
	start_getattrs(N, "h0/x");
	all_end_with(N, -ECONNREFUSED);
	if (scout_now_ns() - before < SCOUT_NS_PER_S / 2)
		assert_int_equal(fake.starts, 1);
	wait_metric("scoutfs_hosts_connects_total{result=\"ECONNREFUSED\"} 1\n");
	rig_stop();
}

static void a_host_that_came_back_is_found(void **state)
{
	uint64_t until;
	int err;

	(void)state;
	rig_config(1);
	fake.connect_err = -EHOSTUNREACH;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), -EHOSTUNREACH);
	FAKE_LOCKED(fake.connect_err = 0);
	until = scout_now_ns() + 10 * SCOUT_NS_PER_S;
	do { /* the back-off is a second */
		const struct timespec pause = {.tv_nsec = 10000000};

		nanosleep(&pause, NULL);
		ask_getattr(&asks[0], "h0/x");
		err = ask_wait(&asks[0]);
	} while (err == -EHOSTUNREACH && scout_now_ns() < until);
	assert_int_equal(err, 0);
	rig_stop();
}

static void a_lost_session_is_replaced_unnoticed(void **state)
{
	(void)state;
	bring_one_up();
	FAKE_LOCKED(fake.hold_answers = true);
	start_getattrs(N, "h0/x");
	FAKE_LOCKED(fake.sessions[0]->kill = -ETIMEDOUT, fake.hold_answers = false);
	all_end_with(N, 0);
	assert_int_equal(fake.starts, 2);
	rig_stop();
}

static void kill_each(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)call;
	if (s->number) /* the first one is well */
		s->kill = -ECONNRESET;
}

static void attempts_end(void **state)
{
	(void)state;
	bring_one_up();
	FAKE_LOCKED(fake.before = kill_each, fake.hold_answers = true);
	ask_getattr(&asks[0], "h0/x");
	FAKE_LOCKED(fake.sessions[0]->kill = -ECONNRESET, fake.hold_answers = false);
	/* one session that never answers is bad luck, but a call is sent three times at most */
	assert_int_equal(ask_wait(&asks[0]), -EIO);
	assert_int_equal(fake.starts, 3);
	FAKE_WAIT(fake.joins == 3);
	assert_int_equal(state_of("h0"), SCOUT_HOST_DOWN);
	rig_stop();
}

/* A server with many logins under way cuts some: those who wait do not hear of it. */
static void a_cut_connect_is_tried_again(void **state)
{
	(void)state;
	rig_config(1);
	fake.hold_connects = true;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	start_getattrs(N, "h0/x");
	for (unsigned i = 0; i < 3; i++) {
		hurry_to(i + 1, "h0");
		FAKE_LOCKED(fake.sessions[i]->kill = -ECONNRESET);
	}
	hurry_to(4, "h0");
	wait_metric("scoutfs_hosts_requests{host=\"h0\",state=\"queued\"} 20\n");
	FAKE_LOCKED(fake.hold_connects = false);
	all_end_with(N, 0);
	rig_stop();
}

static void a_host_that_always_cuts_is_down(void **state)
{
	(void)state;
	rig_config(1);
	fake.connect_err = -ECONNRESET;
	rig_start(MEMORY);
	start_getattrs(N, "h0/x");
	hurry_to(5, "h0");
	all_end_with(N, -ECONNRESET);
	assert_int_equal(fake.starts, 5);
	assert_int_equal(state_of("h0"), SCOUT_HOST_DOWN);
	rig_stop();
}

static void touched_it_is_tried_at_once(void **state)
{
	(void)state;
	rig_config(1);
	fake.connect_err = -ECONNREFUSED;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	for (unsigned i = 1; i <= 5; i++) { /* without, this would take half a minute */
		ask_getattr(&asks[0], "h0/x");
		assert_int_equal(ask_wait(&asks[0]), -ECONNREFUSED);
		assert_int_equal(fake.starts, i);
		assert_int_equal(rig.backend.ops->retry(rig.backend.self, "h0"), 0);
	}
	FAKE_LOCKED(fake.connect_err = 0);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), 0);
	assert_int_equal(state_of("h0"), SCOUT_HOST_UP);
	assert_int_equal(rig.backend.ops->retry(rig.backend.self, "nobody"), -ENOENT);
	rig_stop();
}

static void lost_with_nobody_waiting_it_is_idle(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(state_of("h0"), SCOUT_HOST_IDLE);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), 0);
	FAKE_LOCKED(fake.sessions[0]->kill = -ECONNRESET);
	FAKE_WAIT(fake.joins == 1);
	assert_int_equal(state_of("h0"), SCOUT_HOST_IDLE);
	assert_int_equal(fake.starts, 1);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), 0);
	assert_int_equal(fake.starts, 2);
	rig_stop();
}

static void stopped_in_any_state(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		rig_config(1);
		fake_add_locked("/x", 5, 1, 0);
		fake.hold_connects = i == SCOUT_HOST_CONNECTING;
		fake.connect_err = i == SCOUT_HOST_DOWN ? -ECONNREFUSED : 0;
		rig_start(MEMORY);
		if (i != SCOUT_HOST_IDLE)
			ask_getattr(&asks[0], "h0/x");
		if (i == SCOUT_HOST_CONNECTING)
			FAKE_WAIT(fake.starts == 1);
		else if (i != SCOUT_HOST_IDLE)
			(void)ask_wait(&asks[0]);
		assert_int_equal(state_of("h0"), i);
		rig.backend.ops->stop(rig.backend.self);
		if (i == SCOUT_HOST_CONNECTING)
			assert_int_equal(ask_wait(&asks[0]), -ESHUTDOWN);
		rig_stop();
	}
}

/* One that is refused among several: the others work on. */
static void a_refused_further_session_is_no_harm(void **state)
{
	(void)state;
	bring_one_up();
	FAKE_LOCKED(fake.connect_err = -ECONNRESET);
	hold_answers_of_getattr(MANY);
	wait_metric("scoutfs_hosts_connects_total{result=\"ECONNRESET\"} 1\n");
	assert_int_equal(state_of("h0"), SCOUT_HOST_UP);
	ask_getattr(&asks[0], "h0/x");
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&asks[0]), 0);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(ask_wait(&many[i]), 0);
	assert_int_equal(fake.starts, 2); /* not again before its back-off ends */
	rig_stop();
}

static void the_reason_of_a_dead_host_is_given(void **state)
{
	(void)state;
	bring_one_up();
	FAKE_LOCKED(fake.hold_answers = true, fake.connect_err = -EHOSTUNREACH);
	start_getattrs(N, "h0/x");
	FAKE_LOCKED(fake.sessions[0]->kill = -ETIMEDOUT);
	all_end_with(N, -EHOSTUNREACH);
	rig_stop();
}

static void idle_sessions_close(void **state)
{
	(void)state;
	rig_config(1);
	rig.hosts[0].idle_timeout_ns = SCOUT_NS_PER_S / 50;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), 0);
	FAKE_WAIT(fake.joins == 1);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), 0);
	assert_int_equal(fake.starts, 2);
	rig_stop();
}

static void stop_completes_what_is_pending(void **state)
{
	(void)state;
	rig_config(2);
	fake_add_locked("/x", 5, 1, 0);
	fake.hold_answers = true;
	rig_start(MEMORY);
	start_getattrs(5, "h0/x");
	FAKE_WAIT(fake.ups == 1);
	FAKE_LOCKED(fake.hold_connects = true);
	for (unsigned i = 5; i < 10; i++)
		ask_getattr(&asks[i], "h1/x");
	rig.backend.ops->stop(rig.backend.self);
	all_end_with(10, -ESHUTDOWN);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), -ESHUTDOWN);
	rig_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_cold_host_gets_one_connect),
	    cmocka_unit_test(a_failed_connect_fails_all_who_wait),
	    cmocka_unit_test(a_host_that_came_back_is_found),
	    cmocka_unit_test(a_lost_session_is_replaced_unnoticed),
	    cmocka_unit_test(attempts_end),
	    cmocka_unit_test(a_cut_connect_is_tried_again),
	    cmocka_unit_test(a_host_that_always_cuts_is_down),
	    cmocka_unit_test(touched_it_is_tried_at_once),
	    cmocka_unit_test(lost_with_nobody_waiting_it_is_idle),
	    cmocka_unit_test(stopped_in_any_state),
	    cmocka_unit_test(a_refused_further_session_is_no_harm),
	    cmocka_unit_test(the_reason_of_a_dead_host_is_given),
	    cmocka_unit_test(idle_sessions_close),
	    cmocka_unit_test(stop_completes_what_is_pending),
	};

	return cmocka_run_group_tests_name("hosts/states", tests, NULL, NULL);
}
