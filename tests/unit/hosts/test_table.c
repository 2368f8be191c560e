/* The table of hosts over a fake engine: who is found, who comes on demand, and what a config that was
 * read again leaves of what is under way. */
#include "hosts/hosts.h"

#include "fake_sftp.h"

#define MEMORY ((size_t)64 << 20)
#define DYNAMIC_MAX 1000

/* Of two, since the one taken over last is in use. */
static struct later {
	struct scout_config config;
	struct scout_host_config hosts[8];
} laters[2], *later = laters;

/* What rig_reload will take over: as at the start, for the test to change. */
static void rig_later(void)
{
	later = later == laters ? laters + 1 : laters;
	later->config = rig.config;
	memcpy(later->hosts, rig.hosts, sizeof later->hosts);
	later->config.hosts = later->hosts;
}

static void rig_reload(void)
{
	rig.backend.ops->reload(rig.backend.self, &later->config);
}

static void rig_dynamic(unsigned n)
{
	static char none[] = "";

	rig_config(n ? n : 1);
	rig.config.nhosts = n;
	rig.config.dynamic = true;
	rig.config.block = none;
	rig.config.defaults = rig.hosts[0];
	rig.config.defaults.name = NULL;
}

/* The names of /hosts, with a blank behind each. */
static const char *listing(void)
{
	static char names[1024];
	struct ask dir = {0}, a = {0};

	names[0] = '\0';
	ask_start(&dir, ASK_OPEN);
	rig.backend.ops->opendir(rig.backend.self, "", &dir.req);
	assert_int_equal(ask_wait(&dir), 0);
	for (unsigned i = 0;; i++) {
		ask_start(&a, ASK_DIR);
		rig.backend.ops->readdir(rig.backend.self, dir.handle, i, &a.req);
		assert_int_equal(ask_wait(&a), 0);
		if (!a.entries)
			break;
		strcat(names, a.first);
		strcat(names, " ");
	}
	rig.backend.ops->releasedir(rig.backend.self, dir.handle);
	return names;
}

static const char *details(void)
{
	static char names[1024];
	struct scout_text text = {0};

	rig.backend.ops->detail_list(rig.backend.self, &text);
	(void)snprintf(names, sizeof names, "%s", text.str ? text.str : "");
	scout_text_free(&text);
	return names;
}

static int look_up(const char *path)
{
	struct ask a = {0};

	ask_getattr(&a, path);
	return ask_wait(&a);
}

static void read_at(const struct ask *file, uint64_t offset, size_t size)
{
	struct ask a = {0};

	ask_read(&a, file, offset, size);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.size, size);
	free(a.data);
}

static void names_come_on_demand(void **state)
{
	(void)state;
	rig_dynamic(1);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(look_up("joe@far:2222"), 0);
	assert_int_equal(fake.starts, 0);
	assert_string_equal(listing(), "h0 ");
	assert_string_equal(details(), "h0\n");
	assert_int_equal(look_up("joe@far:2222/x"), 0);
	assert_int_equal(fake.starts, 1);
	assert_string_equal(fake.started[0], "joe@far:2222");
	assert_string_equal(fake.sessions[0]->host->alias, "far");
	assert_string_equal(fake.sessions[0]->host->user, "joe");
	assert_int_equal(fake.sessions[0]->host->port, 2222);
	assert_string_equal(listing(), "h0 joe@far:2222 ");
	assert_string_equal(details(), "h0\njoe@far:2222\n");
	assert_int_equal(look_up("-oProxyCommand=x"), -ENOENT);
	assert_int_equal(look_up(".git"), -ENOENT);
	rig_stop();
}

static void a_typing_error_is_not_listed(void **state)
{
	(void)state;
	rig_dynamic(0);
	fake.connect_err = -EHOSTUNREACH;
	rig_start(MEMORY);
	assert_int_equal(look_up("fra/x"), -EHOSTUNREACH);
	assert_string_equal(listing(), "");
	assert_string_equal(details(), "fra\n");
	rig_stop();
}

static void only_those_in_the_list(void **state)
{
	(void)state;
	rig_config(1);
	rig_start(MEMORY);
	assert_int_equal(look_up("far"), -ENOENT);
	assert_int_equal(look_up("far/x"), -ENOENT);
	assert_int_equal(look_up("h"), -ENOENT);
	assert_int_equal(look_up("h00"), -ENOENT);
	rig_stop();
}

static struct scout_host *find(const char *name)
{
	return scout_table_find(rig.backend.self, name, strlen(name));
}

static bool is_there(const char *name)
{
	struct scout_host *host = find(name);

	if (host)
		scout_host_unref(host);
	return host != NULL;
}

static void the_one_longest_unused_makes_room(void **state)
{
	struct ask file = {0};
	char name[16];

	(void)state;
	rig_dynamic(1);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&file, "d0/x"), 0);
	for (unsigned i = 1; i < DYNAMIC_MAX; i++) {
		(void)snprintf(name, sizeof name, "d%u", i);
		assert_int_equal(look_up(name), 0);
	}
	assert_int_equal(look_up("d1"), 0); /* now d2 is the one */
	assert_int_equal(look_up("more"), 0);
	assert_true(is_there("d0"));
	assert_true(is_there("d1"));
	assert_false(is_there("d2"));
	assert_true(is_there("d3"));
	assert_true(is_there("h0"));
	assert_int_equal(look_up("d2"), 0);
	assert_false(is_there("d3"));
	read_at(&file, 0, 5);
	file_release(&file);
	rig_stop();
}

static void more_than_so_many_cannot_be_in_use(void **state)
{
	static struct ask asks[DYNAMIC_MAX];
	char path[16];

	(void)state;
	rig_dynamic(1);
	rig.config.max_sessions = 1;
	fake.hold_connects = true;
	rig_start(MEMORY);
	for (unsigned i = 0; i < DYNAMIC_MAX; i++) {
		(void)snprintf(path, sizeof path, "d%u/x", i);
		ask_getattr(&asks[i], path);
	}
	assert_int_equal(look_up("more"), -ENFILE);
	assert_int_equal(look_up("h0"), 0);
	rig.backend.ops->stop(rig.backend.self);
	for (unsigned i = 0; i < DYNAMIC_MAX; i++)
		assert_int_equal(ask_wait(&asks[i]), -ESHUTDOWN);
	rig_stop();
}

static void what_did_not_change_is_not_touched(void **state)
{
	static char new_name[] = "new";
	struct scout_host *before, *after;

	(void)state;
	rig_config(2);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(look_up("h0/x"), 0);
	before = find("h0");
	rig_later();
	later->config.nhosts = 3;
	later->hosts[2] = rig.hosts[0];
	later->hosts[2].name = new_name;
	rig_reload();
	after = find("h0");
	assert_ptr_equal(before, after);
	assert_string_equal(listing(), "h0 h1 new ");
	assert_int_equal(look_up("h0/x"), 0);
	assert_int_equal(fake.starts, 1);
	assert_int_equal(fake.joins, 0);
	scout_host_unref(before);
	scout_host_unref(after);
	rig_stop();
}

static void a_host_that_left_lives_for_what_is_open(void **state)
{
	struct ask file = {0};

	(void)state;
	rig_config(2);
	fake_add_locked("/x", 8 << 20, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&file, "h0/x"), 0);
	rig_later();
	later->config.nhosts = 1;
	later->hosts[0] = rig.hosts[1];
	rig_reload();
	assert_string_equal(listing(), "h1 ");
	assert_int_equal(look_up("h0"), -ENOENT);
	assert_int_equal(look_up("h0/x"), -ENOENT);
	read_at(&file, 0, 1000);
	/* also on another session, when that is lost */
	FAKE_LOCKED(fake.sessions[0]->kill = -ECONNRESET);
	FAKE_WAIT(fake.joins == 1);
	read_at(&file, 6 << 20, 1000);
	assert_int_equal(fake.starts, 2);
	file_release(&file);
	FAKE_WAIT(fake.joins == 2);
	rig_stop();
}

static void an_idle_host_that_leaves_closes(void **state)
{
	(void)state;
	rig_config(2);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(look_up("h1/x"), 0);
	rig_later();
	later->config.nhosts = 1;
	rig_reload();
	FAKE_WAIT(fake.joins == 1);
	rig_stop();
}

static void a_changed_host_is_another_one(void **state)
{
	struct ask old = {0}, new = {0};
	static char elsewhere[] = "/elsewhere";

	(void)state;
	rig_config(1);
	fake_add_locked("/x", 500, 1, 0);
	fake_add_locked("/elsewhere/x", 300, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&old, "h0/x"), 0);
	rig_later();
	later->hosts[0].root = elsewhere;
	rig_reload();
	assert_string_equal(listing(), "h0 ");
	assert_int_equal(ask_open(&new, "h0/x"), 0);
	assert_int_equal(old.attr.size, 500);
	assert_int_equal(new.attr.size, 300);
	read_at(&new, 0, 300);
	read_at(&old, 0, 500);
	file_release(&old);
	FAKE_WAIT(fake.joins == 1);
	assert_non_null(fake.sessions[1]);
	file_release(&new);
	rig_stop();
}

/* Though the ini says the same as before. */
static void a_host_that_ssh_config_moved_is_another_one(void **state)
{
	struct ask old = {0};
	struct scout_host *before, *after;

	(void)state;
	rig_dynamic(2);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&old, "h0/x"), 0);
	assert_int_equal(look_up("far/x"), 0);
	fake.moved = "h0";
	before = find("h0");
	rig_later();
	rig_reload();
	after = find("h0");
	assert_ptr_not_equal(before, after);
	assert_true(before->retired);
	scout_host_unref(before);
	scout_host_unref(after);
	assert_int_equal(look_up("far/x"), 0);
	assert_int_equal(fake.starts, 2);
	assert_int_equal(look_up("h0/x"), 0);
	assert_int_equal(fake.starts, 3);
	read_at(&old, 0, 5);
	file_release(&old);
	FAKE_WAIT(fake.joins == 1);
	fake.moved = "far";
	rig_later();
	rig_reload();
	FAKE_WAIT(fake.joins == 2);
	assert_string_equal(listing(), "h0 h1 ");
	fake.moved = NULL;
	rig_stop();
}

static void requests_that_wait_are_served_all_the_same(void **state)
{
	struct ask a = {0};

	(void)state;
	rig_config(2);
	fake.hold_connects = true;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	ask_getattr(&a, "h0/x");
	FAKE_WAIT(fake.starts == 1);
	rig_later();
	later->hosts[0] = rig.hosts[1];
	later->config.nhosts = 1;
	rig_reload();
	FAKE_LOCKED(fake.hold_connects = false);
	assert_int_equal(ask_wait(&a), 0);
	FAKE_WAIT(fake.joins == 1);
	rig_stop();
}

static bool status_has(const char *words)
{
	struct scout_text status = {0};
	bool has;

	rig.backend.ops->status(rig.backend.self, &status);
	has = status.str && strstr(status.str, words);
	scout_text_free(&status);
	return has;
}

static void a_host_that_is_down_leaves_no_trace(void **state)
{
	uint64_t until = scout_now_ns() + 10 * SCOUT_NS_PER_S;

	(void)state;
	rig_config(2);
	fake.connect_err = -ECONNREFUSED;
	rig_start(MEMORY);
	assert_int_equal(look_up("h1/x"), -ECONNREFUSED);
	assert_true(status_has("ECONNREFUSED"));
	rig_later();
	later->config.nhosts = 1;
	rig_reload();
	while (status_has("h1")) { /* its session is joined first */
		const struct timespec pause = {.tv_nsec = 1000000};

		assert_true(scout_now_ns() < until);
		nanosleep(&pause, NULL);
	}
	rig_later(); /* and comes back: as new */
	rig_reload();
	assert_true(status_has("h1"));
	assert_false(status_has("ECONNREFUSED"));
	rig_stop();
}

static void limits_change(void **state)
{
	struct ask a[3] = {0};

	(void)state;
	rig_config(3);
	rig.config.max_connecting = 1;
	fake.hold_connects = true;
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	ask_getattr(&a[0], "h0/x");
	ask_getattr(&a[1], "h1/x");
	ask_getattr(&a[2], "h2/x");
	FAKE_WAIT(fake.starts == 1);
	rig_later();
	later->config.max_connecting = 3;
	rig_reload();
	FAKE_WAIT(fake.starts == 3);
	FAKE_LOCKED(fake.hold_connects = false);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ask_wait(&a[i]), 0);
	rig_stop();
}

static void what_is_blocked_now_goes(void **state)
{
	static char block[] = "far*";
	struct ask file = {0};

	(void)state;
	rig_dynamic(1);
	fake_add_locked("/x", 5, 1, 0);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&file, "joe@far1/x"), 0);
	assert_int_equal(look_up("near/x"), 0);
	rig_later();
	later->config.block = block;
	rig_reload();
	assert_int_equal(look_up("joe@far1"), -ENOENT);
	assert_int_equal(look_up("far2"), -ENOENT);
	assert_string_equal(listing(), "h0 near ");
	read_at(&file, 0, 5);
	rig_later();
	later->config.dynamic = false;
	rig_reload();
	assert_string_equal(listing(), "h0 ");
	file_release(&file);
	FAKE_WAIT(fake.joins == 2);
	rig_stop();
}

static void stop_with_a_retired_host(void **state)
{
	struct ask file = {0}, a = {0};

	(void)state;
	rig_config(2);
	fake_add_locked("/x", 50000, 1, 0); /* not asked for before it is read */
	rig_start(MEMORY);
	assert_int_equal(ask_open(&file, "h0/x"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_read(&a, &file, 0, 500);
	rig_later();
	later->hosts[0] = rig.hosts[1];
	later->config.nhosts = 1;
	rig_reload();
	rig.backend.ops->stop(rig.backend.self);
	assert_true(ask_wait(&a) < 0);
	free(a.data);
	file_release(&file);
	rig_stop();
}

/* --- threads --- */

static atomic_bool over;

static int settle(struct ask *a)
{
	pthread_mutex_lock(&fake.lock);
	while (!a->done)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
	return a->err;
}

/* Returns how often something was answered that cannot be. */
static void *use(void *arg)
{
	const char *const *paths = arg;
	uintptr_t wrong = 0;

	while (!atomic_load(&over)) {
		struct ask a = {0}, file = {0}, data = {0};

		ask_getattr(&a, paths[0]);
		(void)settle(&a);
		wrong += a.err && a.err != -ENOENT;
		ask_start(&file, ASK_OPEN);
		rig.backend.ops->open(rig.backend.self, paths[1], 0, &file.req);
		wrong += settle(&file) && file.err != -ENOENT;
		if (file.err)
			continue;
		ask_read(&data, &file, 0, 500);
		wrong += settle(&data) || data.size != 500;
		free(data.data);
		file_release(&file);
	}
	return (void *)wrong;
}

static void hosts_come_and_go_under_load(void **state)
{
	static const char *const paths[][2] = {
	    {"h0/x", "h0/x"}, {"h1/x", "h1/x"}, {"h2/x", "h2/x"}, {"", "dyn/x"}};
	pthread_t threads[4];
	static char block[] = "dyn";
	static char none[] = "";
	void *wrong;

	(void)state;
	rig_dynamic(3);
	for (unsigned i = 0; i < 3; i++)
		rig.hosts[i].max_sessions_per_host = 1;
	rig.config.defaults.max_sessions_per_host = 1;
	fake_add_locked("/x", 500, 1, 0);
	rig_start(MEMORY);
	atomic_store(&over, false);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, use, (void *)(uintptr_t)paths[i]), 0);
	for (unsigned i = 0; i < 12; i++) {
		unsigned reads;

		rig_later();
		later->config.nhosts = 2 + i % 2;
		later->config.block = i % 3 ? none : block;
		later->hosts[1].idle_timeout_ns += i % 2;
		rig_reload();
		pthread_mutex_lock(&fake.lock);
		reads = fake.count[SCOUT_SFTP_READ];
		pthread_mutex_unlock(&fake.lock);
		FAKE_WAIT(fake.count[SCOUT_SFTP_READ] > reads + 8);
		(void)listing();
	}
	atomic_store(&over, true);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	rig_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_come_on_demand),
	    cmocka_unit_test(a_typing_error_is_not_listed),
	    cmocka_unit_test(only_those_in_the_list),
	    cmocka_unit_test(the_one_longest_unused_makes_room),
	    cmocka_unit_test(more_than_so_many_cannot_be_in_use),
	    cmocka_unit_test(what_did_not_change_is_not_touched),
	    cmocka_unit_test(a_host_that_left_lives_for_what_is_open),
	    cmocka_unit_test(an_idle_host_that_leaves_closes),
	    cmocka_unit_test(a_changed_host_is_another_one),
	    cmocka_unit_test(a_host_that_ssh_config_moved_is_another_one),
	    cmocka_unit_test(requests_that_wait_are_served_all_the_same),
	    cmocka_unit_test(a_host_that_is_down_leaves_no_trace),
	    cmocka_unit_test(limits_change),
	    cmocka_unit_test(what_is_blocked_now_goes),
	    cmocka_unit_test(stop_with_a_retired_host),
	    cmocka_unit_test(hosts_come_and_go_under_load),
	};

	return cmocka_run_group_tests_name("hosts/table", tests, NULL, NULL);
}
