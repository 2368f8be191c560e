/* The pool over a fake engine: limits, who waits for whom, who has to go. */
#include "pool.h"

static atomic_bool enough;

static void the_root_needs_no_connection(void **state)
{
	struct ask a = {0}, dir = {0};

	(void)state;
	rig_config(3);
	rig_start(MEMORY);
	ask_getattr(&a, "");
	assert_int_equal(a.times, 1);
	assert_true(S_ISDIR(a.attr.mode));
	ask_getattr(&a, "h1");
	assert_int_equal(a.times, 1);
	assert_true(S_ISDIR(a.attr.mode));
	ask_getattr(&a, "nobody/x");
	assert_int_equal(a.times, 1);
	assert_int_equal(a.err, -ENOENT);
	ask_start(&dir, ASK_OPEN);
	rig.backend.ops->opendir(rig.backend.self, "", &dir.req);
	assert_int_equal(dir.times, 1);
	ask_start(&a, ASK_DIR);
	rig.backend.ops->readdir(rig.backend.self, dir.handle, 1, &a.req);
	assert_int_equal(a.entries, 2);
	assert_string_equal(a.first, "h1");
	ask_start(&a, ASK_DIR);
	rig.backend.ops->readdir(rig.backend.self, dir.handle, 3, &a.req);
	assert_int_equal(a.times, 1);
	assert_int_equal(a.entries, 0);
	rig.backend.ops->releasedir(rig.backend.self, dir.handle);
	assert_int_equal(fake.starts, 0);
	rig_stop();
}

static void hosts_connect_side_by_side(void **state)
{
	char path[8];

	(void)state;
	rig_config(8);
	rig.config.max_connecting = 3;
	fake.hold_connects = true;
	rig_start(MEMORY);
	for (unsigned i = 0; i < 8; i++) {
		(void)snprintf(path, sizeof path, "h%u/x", i);
		ask_getattr(&asks[i], path);
	}
	FAKE_WAIT(fake.starts == 3);
	wait_metric("scoutfs_hosts_pool_connecting 3\n");
	assert_int_equal(fake.starts, 3);
	for (unsigned i = 0; i < 3; i++) /* in the order of asking */
		assert_int_equal(fake.started[i][1], '0' + i);
	FAKE_LOCKED(fake.hold_connects = false);
	all_end_with(8, -ENOENT);
	assert_int_equal(fake.starts, 8);
	rig_stop();
}

/* As if the time had passed; what was learned of the host stays. */
static void until_back_off_ends(unsigned i)
{
	struct scout_host *host = find((char[]){'h', (char)('0' + i), '\0'});

	scout_lock(&host->lock);
	host->down_until_ns = 0;
	scout_unlock(&host->lock);
	scout_host_unref(host);
}

/* As if it had waited for long. */
static void lose_patience(const char *name)
{
	struct scout_hosts *all = rig.backend.self;
	struct scout_host *host = find(name);

	scout_lock(&all->pool.lock);
	host->in_line_ns = 0;
	scout_unlock(&all->pool.lock);
	scout_host_unref(host);
	scout_pool_kick(&all->pool);
}

static void *ask_on(void *arg)
{
	struct ask *a = arg;

	while (!atomic_load(&enough)) {
		ask_getattr(a, "h0/x");
		pthread_mutex_lock(&fake.lock);
		while (!a->done)
			pthread_cond_wait(&fake.changed, &fake.lock);
		pthread_mutex_unlock(&fake.lock);
	}
	return NULL;
}

/* The session of a host that never pauses is taken from it all the same. */
static void a_busy_host_does_not_starve_others(void **state)
{
	pthread_t threads[4];

	(void)state;
	rig_config(2);
	rig.config.max_sessions = 1;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	atomic_store(&enough, false);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_on, &asks[i]), 0);
	FAKE_WAIT(fake.count[SCOUT_SFTP_LSTAT] > 100);
	ask_getattr(&asks[4], "h1/x");
	lose_patience("h1");
	assert_int_equal(ask_wait(&asks[4]), 0);
	atomic_store(&enough, true);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(fake.max_live, 1);
	rig_stop();
}

/* Connects to nowhere last: those that have failed before leave places to the rest. */
static void known_black_holes_leave_room(void **state)
{
	char path[8];

	(void)state;
	rig_config(6);
	rig.config.max_connecting = 4;
	fake_add_locked("/x", 5, 1, 0);
	fake.connect_err = -ETIMEDOUT;
	rig_start(MEMORY);
	for (unsigned i = 0; i < 5; i++) {
		(void)snprintf(path, sizeof path, "h%u/x", i);
		ask_getattr(&asks[i], path);
		assert_int_equal(ask_wait(&asks[i]), -ETIMEDOUT);
	}
	FAKE_LOCKED(fake.hold_connects = true, fake.connect_err = 0);
	for (unsigned i = 0; i < 5; i++) {
		until_back_off_ends(i);
		(void)snprintf(path, sizeof path, "h%u/x", i);
		ask_getattr(&asks[i], path);
	}
	FAKE_WAIT(fake.starts == 7); /* two of them connect */
	ask_getattr(&asks[5], "h5/x");
	FAKE_WAIT(fake.starts == 8);
	assert_string_equal(fake.started[7], "h5");
	FAKE_LOCKED(fake.hold_connects = false);
	all_end_with(6, 0);
	rig_stop();
}

static void the_idle_host_makes_room(void **state)
{
	char *text;

	(void)state;
	rig_config(3);
	rig.config.max_sessions = 2;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	ask_getattr(&asks[0], "h0/x");
	assert_int_equal(ask_wait(&asks[0]), 0);
	ask_getattr(&asks[1], "h1/x");
	assert_int_equal(ask_wait(&asks[1]), 0);
	ask_getattr(&asks[0], "h0/x"); /* now h1 is the least recently used */
	assert_int_equal(ask_wait(&asks[0]), 0);
	ask_getattr(&asks[2], "h2/x");
	assert_int_equal(ask_wait(&asks[2]), 0);
	assert_int_equal(fake.starts, 3);
	assert_int_equal(fake.max_live, 2);
	assert_null(fake.sessions[1]);
	assert_non_null(fake.sessions[0]);
	text = self_text(rig.backend.ops->metrics);
	assert_non_null(strstr(text, "scoutfs_hosts_sessions_evicted_total 1\n"));
	free(text);
	rig_stop();
}

static void at_the_limit_requests_wait_in_order(void **state)
{
	char path[8];

	(void)state;
	rig_config(5);
	rig.config.max_sessions = 1;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 5; i++) {
		(void)snprintf(path, sizeof path, "h%u/x", i);
		ask_getattr(&asks[i], path);
	}
	FAKE_WAIT(fake.ups == 1);
	assert_int_equal(fake.starts, 1);
	FAKE_LOCKED(fake.hold_answers = false);
	all_end_with(5, 0);
	assert_int_equal(fake.max_live, 1);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(fake.started[i][1], '0' + i);
	rig_stop();
}

static void an_open_file_keeps_its_session(void **state)
{
	struct ask file = {0};

	(void)state;
	rig_config(2);
	rig.config.max_sessions = 1;
	rig.hosts[1].connect_timeout_ns = rig.hosts[1].request_timeout_ns = SCOUT_NS_PER_S / 20;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&file, "h0/x"), 0);
	ask_getattr(&asks[0], "h1/x");
	assert_int_equal(ask_wait(&asks[0]), -ETIMEDOUT);
	assert_int_equal(fake.starts, 1);
	ask_getattr(&asks[0], "h1/x");
	file_release(&file);
	assert_int_equal(ask_wait(&asks[0]), 0);
	rig_stop();
}

static void unwanted_requests_are_not_sent(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/x", 5, 1, 0);
	rig.hosts[0].connect_timeout_ns = rig.hosts[0].request_timeout_ns = SCOUT_NS_PER_S / 20;
	fake.hold_connects = true;
	rig_start(MEMORY);
	start_getattrs(2, "h0/x");
	atomic_store(&asks[0].req.unwanted, true);
	assert_true(ask_wait(&asks[0]) < 0);
	assert_int_equal(ask_wait(&asks[1]), -ETIMEDOUT);
	assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 0);
	rig_stop();
}

static void a_busy_host_gets_another_session(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	ask_getattr(&many[0], "h0/x");
	assert_int_equal(ask_wait(&many[0]), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < MANY; i++) {
		ask_getattr(&many[i], "h0/x");
		if (i == 63)
			assert_int_equal(fake.starts, 1);
	}
	FAKE_WAIT(fake.ups == 2);
	FAKE_LOCKED(fake.hold_answers = false);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(ask_wait(&many[i]), 0);
	rig_stop();
}

/* A server that lets a session have so many: more are opened on further ones, or refused by the server alone.
 * connect_err, start_err: of further ones. */
static void handles_are_spread(unsigned max_sessions, int connect_err, int start_err,
			       unsigned starts)
{
	struct ask files[5] = {0};

	rig_config(1);
	rig.config.max_sessions = max_sessions;
	fake.server.open_handles = 2;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&files[0], "h0/x"), 0);
	FAKE_LOCKED(fake.connect_err = connect_err, fake.start_err = start_err);
	for (unsigned i = 1; i < 5; i++)
		assert_int_equal(ask_open(&files[i], "h0/x"), 0);
	assert_int_equal(fake.starts, starts);
	for (unsigned i = 0; i < 5; i++)
		file_release(&files[i]);
	rig_stop();
}

static void what_has_no_handle_left_is_passed_over(void **state)
{
	(void)state;
	handles_are_spread(10, 0, 0, 3);
	handles_are_spread(1, 0, 0, 1);
	handles_are_spread(10, -ECONNREFUSED, 0, 2);
	handles_are_spread(10, 0, -EMFILE, 1);
}

static void start_open(struct ask *a, const char *path)
{
	ask_start(a, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, path, 0, &a->req);
}

/* Whoever waits for it has it at once, however long a further session takes to come. */
static void a_handle_that_comes_free_is_taken(void **state)
{
	struct ask files[2] = {0};

	(void)state;
	rig_config(1);
	fake.server.open_handles = 1;
	fake.hold_from = 1;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&files[0], "h0/x"), 0);
	start_open(&files[1], "h0/x");
	FAKE_WAIT(fake.starts == 2);
	assert_false(files[1].done);
	file_release(&files[0]);
	assert_int_equal(ask_wait(&files[1]), 0);
	assert_int_equal(fake.ups, 1);
	file_release(&files[1]);
	rig_stop();
}

/* What opens nothing has no handle to wait for. */
static void others_pass_an_open_that_waits(void **state)
{
	struct ask files[4] = {0};

	(void)state;
	rig_config(1);
	fake.server.open_handles = 1;
	fake.hold_connects = true;
	fake.hold_from = 1;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	for (unsigned i = 0; i < 3; i++)
		start_open(&files[i], "h0/x");
	start_getattrs(2, "h0/x");
	start_open(&files[3], "h0/x");
	FAKE_LOCKED(fake.hold_connects = false);
	all_end_with(2, 0);
	FAKE_WAIT(fake.starts == 2);
	assert_int_equal(fake.ups, 1);
	for (unsigned i = 0; i < 4; i++) { /* in the order of asking */
		assert_int_equal(ask_wait(&files[i]), 0);
		for (unsigned later = i + 1; later < 4; later++)
			assert_false(files[later].done);
		file_release(&files[i]);
	}
	rig_stop();
}

static void links_are_contained(void **state)
{
	struct ask a = {0};
	struct fake_node *n;

	(void)state;
	rig_config(1);
	fake_add_locked("/d/l", 20, 1, 0);
	n = fake_find_locked("/d/l");
	n->mode = S_IFLNK | 0777;
	(void)snprintf((char *)n->data, n->size, "%s", "/etc/passwd");
	rig_start(MEMORY);
	ask_start(&a, ASK_LINK);
	rig.backend.ops->readlink(rig.backend.self, "h0/d/l", &a.req);
	assert_int_equal(ask_wait(&a), 0);
	assert_string_equal(a.target, "../etc/passwd");
	rig_stop();
}

static void status_says_why(void **state)
{
	struct scout_text text = {0};
	char *status;

	(void)state;
	rig_config(2);
	fake.connect_err = -ENOKEY;
	rig_start(MEMORY);
	ask_getattr(&asks[0], "h1/x");
	assert_int_equal(ask_wait(&asks[0]), -ENOKEY);
	status = self_text(rig.backend.ops->status);
	assert_non_null(strstr(status, "h0 "));
	assert_non_null(strstr(status, "idle"));
	assert_non_null(strstr(status, "as the test said (ENOKEY)"));
	assert_non_null(strstr(status, "next try in"));
	free(status);
	assert_int_equal(rig.backend.ops->detail(rig.backend.self, "h1", &text), 0);
	assert_non_null(strstr(text.str, "state: down\n"));
	scout_text_free(&text);
	assert_int_equal(rig.backend.ops->detail(rig.backend.self, "h", &text), -ENOENT);
	rig.backend.ops->detail_list(rig.backend.self, &text);
	assert_string_equal(text.str, "h0\nh1\n");
	scout_text_free(&text);
	rig_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_root_needs_no_connection),
	    cmocka_unit_test(hosts_connect_side_by_side),
	    cmocka_unit_test(a_busy_host_does_not_starve_others),
	    cmocka_unit_test(known_black_holes_leave_room),
	    cmocka_unit_test(the_idle_host_makes_room),
	    cmocka_unit_test(at_the_limit_requests_wait_in_order),
	    cmocka_unit_test(an_open_file_keeps_its_session),
	    cmocka_unit_test(unwanted_requests_are_not_sent),
	    cmocka_unit_test(a_busy_host_gets_another_session),
	    cmocka_unit_test(what_has_no_handle_left_is_passed_over),
	    cmocka_unit_test(a_handle_that_comes_free_is_taken),
	    cmocka_unit_test(others_pass_an_open_that_waits),
	    cmocka_unit_test(links_are_contained),
	    cmocka_unit_test(status_says_why),
	};

	return cmocka_run_group_tests_name("hosts/pool", tests, NULL, NULL);
}
