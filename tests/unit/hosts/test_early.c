/* Whoever reads a far host's files one after the other: those that come next are read before he opens them, and given to
 * him only while they are right. */
#include "walk_rig.h"

static void files_that_come_next_are_read_early(void **state)
{
	(void)state;
	set_up();
	walk();
	read_file(4); /* was too late for that */
	assert_int_equal(counted("files_early"), 0);
	for (unsigned i = 5; i < FILES; i++) {
		read_file(i);
		FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] >= fake.count[SCOUT_SFTP_OPEN]);
	}
	assert_int_equal(counted("files_early"), FILES - 5);
	assert_int_equal(counted("files_early_wasted"), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], FILES - 2); /* each once, but 0 and 2 */
	tear_down();
}

static void who_reads_here_and_there_gets_what_he_asks_for(void **state)
{
	static const unsigned jumps[] = {1, 7, 4, 9, 3, 12, 20, 6};

	(void)state;
	set_up();
	assert_int_equal(list("h0/d"), FILES - 1);
	for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++)
		read_file(jumps[i]);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 8);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 8);
	tear_down();
}

static void near_everything_is_asked_for(void **state)
{
	(void)state;
	set_up();
	fake.far_ns = 0;
	start_anew(FEW);
	assert_int_equal(list("h0/d"), FILES - 1);
	for (unsigned i = 3; i < 10; i++)
		read_file(i);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 7);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 7);
	tear_down();
}

static void where_nothing_is_believed_nothing_is_asked_for(void **state)
{
	struct scout_hosts *all;

	(void)state;
	set_up();
	rig.hosts[0].attr_timeout_ns = 0;
	start_anew(FEW);
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	read_file(3);
	read_file(4);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 3);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 3);
	all = rig.backend.self;
	assert_int_equal(all->aheads.count, 0);
	tear_down();
}

/* Of /d only the first two files are opened, since the listing says that all are so. */
static void none_is_read_early(size_t larger, time_t mtime)
{
	set_up();
	fake_find_locked("/d")->of_bytes = larger;
	fake_find_locked("/d")->of_mtime = (uint32_t)mtime;
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	read_file(3);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2);
	tear_down();
}

static void large_and_unsettled_files_are_not_read_early(void **state)
{
	(void)state;
	none_is_read_early(128 * 1024, 0);
	none_is_read_early(0, time(NULL) - 4);
}

static void who_is_slow_has_no_files_grow_old(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	known("/d")->walks[SCOUT_KIND_FILE].gap_ns = 4 * SCOUT_EARLY_KEPT_NS;
	read_file(3);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2);
	tear_down();
}

static unsigned early_there(void)
{
	struct scout_host *host = find("h0");
	unsigned n;

	scout_lock(&host->lock);
	n = host->nearly;
	scout_unlock(&host->lock);
	scout_host_unref(host);
	return n;
}

/* Together they have more ahead than may be there, and each file is read once even so. */
static void three_walks_leave_each_other_what_is_there(void **state)
{
	const unsigned n = 20;
	unsigned most = 0, files = 0;
	char path[16];

	(void)state;
	set_up();
	start_anew((size_t)128 << 20);
	for (const char *top = "xyz"; *top; top++) {
		(void)snprintf(path, sizeof path, "/%c", *top);
		FAKE_LOCKED(fake_mkdir_locked(path, n));
		for (unsigned i = 1; i < n; i++) {
			(void)snprintf(path, sizeof path, "/%c/%u", *top, i);
			FAKE_LOCKED(fake_add_locked(path, i, 0, i);
				    fake_find_locked(path)->mode = S_IFREG | 0600);
		}
		(void)snprintf(path, sizeof path, "h0/%c", *top);
		assert_int_equal(list(path), n - 1);
	}
	for (unsigned i = 1; i < n; i++) {
		for (const char *top = "xyz"; i != 2 && *top; top++, files++) {
			(void)snprintf(path, sizeof path, "%c", *top);
			read_in(path, i);
			FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] >= 3 + fake.count[SCOUT_SFTP_OPEN]);
			most = early_there() > most ? early_there() : most;
		}
	}
	assert_int_equal(most, 16);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], files);
	assert_int_equal(counted("files_early_wasted"), 0);
	tear_down();
}

/* A quarter of what one host may have: most is left to read-ahead. */
static void little_memory_holds_few_files(void **state)
{
	(void)state;
	set_up();
	start_anew((size_t)16 << 20);
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	read_file(3);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2 + 4);
	assert_int_equal(early_there(), 4);
	tear_down();
}

static void who_does_not_come_leaves_nothing_there(void **state)
{
	struct scout_setattr times = {.set = SCOUT_SET_MTIME, .mtime.tv_sec = 3};
	uint64_t next = UINT64_MAX, began_ns;
	struct scout_hosts *all;
	struct scout_host *host;

	(void)state;
	set_up();
	began_ns = scout_now_ns();
	walk();
	host = find("h0");
	scout_early_expire(host, began_ns, &next);
	assert_in_range(next, began_ns, scout_now_ns() + SCOUT_EARLY_KEPT_NS);
	assert_int_equal(early_there(), 7);
	scout_early_expire(host, scout_now_ns() + SCOUT_EARLY_KEPT_NS, &next);
	assert_int_equal(early_there(), 0);
	assert_int_equal(counted("files_early_wasted"), 7);
	scout_host_unref(host);

	/* nor when this mount changed something: the pool looks at that, and when one grows old */
	start_anew(FEW);
	walk();
	ask_start(&b, ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, "h0/d/29", NULL, &times, &b.req);
	assert_int_equal(ask_wait(&b), 0);
	all = rig.backend.self;
	scout_pool_kick(&all->pool);
	wait_metric("\nscoutfs_hosts_files_early_wasted_total 7\n");
	assert_int_equal(early_there(), 0);
	tear_down();
}

/* And its last reference ends where nobody who waits for a buffer may be told. */
static void a_host_that_leaves_has_nothing_there(void **state)
{
	struct scout_config none;
	struct scout_host *host;

	(void)state;
	set_up();
	walk();
	host = find("h0");
	none = rig.config;
	none.nhosts = 0;
	rig.backend.ops->reload(rig.backend.self, &none);
	assert_int_equal(host->nearly, 0);
	assert_int_equal(counted("files_early_wasted"), 7);
	scout_early_fetch(host, "/d/5", &(struct scout_attr){.mode = S_IFREG | 0600, .size = 5});
	assert_int_equal(host->nearly, 0);
	scout_host_unref(host);
	tear_down();
}

static void what_another_changed_is_read_anew(void **state)
{
	(void)state;
	set_up();
	walk();
	FAKE_LOCKED(fake_add_locked("/d/5", 5, 7, 99)); /* replaced: of another time */
	FAKE_LOCKED(fake_append_locked("/d/6", 100, 0, 6));
	assert_int_equal(ask_open(&a, "h0/d/5"), 0);
	read_open(5, 99);
	assert_int_equal(ask_open(&a, "h0/d/6"), 0);
	assert_int_equal(a.attr.size, 106);
	file_release(&a);
	FAKE_LOCKED(fake_find_locked("/d/7")->gone = true);
	assert_int_equal(ask_open(&a, "h0/d/7"), -ENOENT);
	assert_int_equal(counted("files_early"), 0);
	assert_int_equal(counted("files_early_wasted"), 2);
	tear_down();
}

static void our_own_change_is_read(void **state)
{
	struct scout_setattr times = {.set = SCOUT_SET_MTIME, .mtime.tv_sec = 3};

	(void)state;
	set_up();
	walk();
	ask_start(&b, ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, "h0/d/29", NULL, &times, &b.req);
	assert_int_equal(ask_wait(&b), 0);
	/* size and time may be the same, whatever it was that we changed */
	FAKE_LOCKED(fake_add_locked("/d/5", 5, 0, 99),
		    fake_find_locked("/d/5")->mode = S_IFREG | 0600);
	assert_int_equal(ask_open(&a, "h0/d/5"), 0);
	read_open(5, 99);
	assert_int_equal(counted("files_early"), 0);
	/* and now that somebody changes things, nothing is */
	read_file(6);
	read_file(7);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2 + 7 + 3);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2 + 7 + 3);
	tear_down();
}

static void change_at_read(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	if (call->op == SCOUT_SFTP_READ && fake.count[SCOUT_SFTP_READ] > 2)
		fake_find_locked("/d/5")->mtime = 8;
}

static void one_that_changes_while_it_is_read_is_not_kept(void **state)
{
	(void)state;
	set_up();
	fake.before = change_at_read;
	walk();
	assert_int_equal(counted("files_early_wasted"), 1);
	assert_int_equal(ask_open(&a, "h0/d/5"), 0);
	assert_int_equal(a.attr.mtime.tv_sec, 8);
	read_open(5, 5);
	assert_int_equal(counted("files_early"), 0);
	tear_down();
}

/* As files of sysfs do, of which each says a page. */
static void who_finds_files_that_end_early_is_left_alone(void **state)
{
	(void)state;
	set_up();
	FAKE_LOCKED(fake.short_reads = 4);
	walk();
	assert_int_equal(counted("files_early_wasted"), 7);
	for (unsigned i = 4; i < 12; i++)
		read_file(i);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2 + 7 + 8);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2 + 7 + 8);
	tear_down();
}

static void memory_is_given_back(void **state)
{
	unsigned n = 0;

	(void)state;
	set_up();
	walk();
	while (scout_early_reclaim(rig.backend.self))
		n++;
	assert_int_equal(n, 7);
	assert_int_equal(counted("files_early_wasted"), 7);
	read_file(4);
	read_file(5);
	tear_down();
}

static void a_lost_session_is_no_harm(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	assert_int_equal(ask_open(&a, "h0/d/3"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_read(&b, &a, 0, 4096);
	FAKE_LOCKED(fake.sessions[0]->kill = -ECONNRESET, fake.hold_answers = false);
	assert_int_equal(ask_wait(&b), 0);
	file_release(&a);
	read_file(4);
	read_file(5);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files_that_come_next_are_read_early),
	    cmocka_unit_test(who_reads_here_and_there_gets_what_he_asks_for),
	    cmocka_unit_test(near_everything_is_asked_for),
	    cmocka_unit_test(where_nothing_is_believed_nothing_is_asked_for),
	    cmocka_unit_test(large_and_unsettled_files_are_not_read_early),
	    cmocka_unit_test(who_is_slow_has_no_files_grow_old),
	    cmocka_unit_test(three_walks_leave_each_other_what_is_there),
	    cmocka_unit_test(little_memory_holds_few_files),
	    cmocka_unit_test(who_does_not_come_leaves_nothing_there),
	    cmocka_unit_test(a_host_that_leaves_has_nothing_there),
	    cmocka_unit_test(what_another_changed_is_read_anew),
	    cmocka_unit_test(our_own_change_is_read),
	    cmocka_unit_test(one_that_changes_while_it_is_read_is_not_kept),
	    cmocka_unit_test(who_finds_files_that_end_early_is_left_alone),
	    cmocka_unit_test(memory_is_given_back),
	    cmocka_unit_test(a_lost_session_is_no_harm),
	};

	return cmocka_run_group_tests_name("hosts/early", tests, NULL, NULL);
}
