/* Whoever goes through a far host's folders one after the other: those that come next are listed before he is there, and
 * given to him only while they are right. */
#include "walk_rig.h"

/* Nothing is believed, or not for as long as a listing takes. */
static void what_would_be_too_old_is_not_asked_for(void **state)
{
	static const uint64_t timeouts[] = {0, 150 * SCOUT_NS_PER_MS};

	(void)state;
	for (size_t n = 0; n < 2; n++) {
		set_up();
		rig.hosts[0].attr_timeout_ns = timeouts[n];
		start_anew(FEW);
		assert_int_equal(list("h0/w"), 9);
		assert_int_equal(list("h0/w/0"), 4);
		assert_int_equal(list("h0/w/1"), 4);
		assert_int_equal(list("h0/w/3"), 4);
		for (unsigned i = 0; i < 3 && !timeouts[n]; i++)
			read_in("w/3", is[i]);
		FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == (timeouts[n] ? 4 : 7));
		assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 4);
		assert_int_equal(fake.count[SCOUT_SFTP_OPEN], timeouts[n] ? 0 : 3);
		tear_down();
	}
}

/* Lists /w, and goes into its first two folders, so that 3 to 6 are listed ahead; waits until they are. */
static void go(void)
{
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 2);
	assert_int_equal(list("h0/w/1"), 4);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 3 + 4);
}

static void folders_that_come_next_are_listed_ahead(void **state)
{
	(void)state;
	set_up();
	go();
	assert_int_equal(list("h0/w/3"), 4);
	assert_int_equal(list("h0/w/4"), 4);
	assert_int_equal(counted("folders_ahead"), 2);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 10); /* /w and each folder in it, once */
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 10);
	/* once: who comes again asks the server */
	assert_int_equal(list("h0/w/3"), 4);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 11);
	/* a directory that was opened so is listed anew from its start, as any */
	open_folder(&b, "h0/w/5");
	assert_int_equal(ask_wait(&b), 0);
	for (unsigned i = 0; i < 2; i++) {
		ask_start(&a, ASK_DIR);
		rig.backend.ops->readdir(rig.backend.self, b.handle, 0, &a.req);
		assert_int_equal(ask_wait(&a), 0);
		assert_int_equal(a.entries, 4);
		ask_start(&a, ASK_DIR);
		rig.backend.ops->readdir(rig.backend.self, b.handle, 4, &a.req);
		assert_int_equal(ask_wait(&a), 0);
		assert_int_equal(a.entries, 0);
		assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 11 + i);
	}
	rig.backend.ops->releasedir(rig.backend.self, b.handle);
	tear_down();
}

static void who_finds_large_folders_is_left_alone(void **state)
{
	(void)state;
	set_up();
	for (unsigned i = 3; i < 10; i++) {
		char path[16];

		(void)snprintf(path, sizeof path, "/w/%u", i);
		fake_find_locked(path)->entries = 1500;
	}
	go();
	for (unsigned i = 3; i < 10; i++) {
		char path[16];

		(void)snprintf(path, sizeof path, "h0/w/%u", i);
		assert_int_equal(list(path), 1499);
	}
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4 + 7);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 3 + 4 + 7);
	tear_down();
}

static void our_own_change_is_listed(void **state)
{
	struct scout_host *host;

	(void)state;
	set_up();
	go();
	ask_start(&b, ASK_NONE);
	rig.backend.ops->unlink(rig.backend.self, "h0/d/5", &b.req);
	assert_int_equal(ask_wait(&b), 0);
	host = find("h0"); /* nor is it quiet for who looked at the clock before */
	assert_false(scout_host_is_calm(host, atomic_load(&host->changed_ns) - 1));
	scout_host_unref(host);
	assert_int_equal(list("h0/w/3"), 4);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 8);
	assert_int_equal(counted("folders_ahead"), 0);
	tear_down();
}

static void an_old_listing_is_of_no_use(void **state)
{
	(void)state;
	set_up();
	rig.hosts[0].attr_timeout_ns = 60 * SCOUT_NS_PER_S; /* the machine has run for longer */
	start_anew(FEW);
	go();
	known("/w/3")->names.began_ns -= rig.hosts[0].attr_timeout_ns;
	assert_int_equal(list("h0/w/3"), 4);
	assert_int_equal(counted("folders_ahead"), 0);
	assert_int_equal(counted("folders_ahead_wasted"), 1);
	tear_down();
}

/* Who is long in each folder has the next one listed when he is at its end, and its first file read. */
static void who_is_slow_has_the_next_folder_in_time(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	known("/w")->walks[SCOUT_KIND_FOLDER].gap_ns = 4 * rig.hosts[0].attr_timeout_ns;
	assert_int_equal(list("h0/w/1"), 4);
	read_in("w/1", 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 3);
	read_in("w/1", 3);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 2 + 1 + 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 4);
	assert_int_equal(list("h0/w/3"), 4);
	read_in("w/3", 1);
	assert_int_equal(counted("folders_ahead"), 1);
	assert_int_equal(counted("files_early"), 1);
	tear_down();
}

/* rsync opens all folders, and then looks at and reads the files of one after the other. */
static void who_read_a_folder_reads_the_next_one_so(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	assert_int_equal(list("h0/w/1"), 4);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4);
	read_in("w/0", 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	read_in("w/0", 3); /* now 1, too, is listed again, and its first file read */
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4 + 2 + 1 + 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 3 + 4 + 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2 + 1);
	read_in("w/0", 4);
	read_in("w/1", 1); /* now the last file, and the first one of 3 */
	assert_int_equal(counted("files_early"), 1);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4 + 2 + 1 + 1 + 2 + 2);
	read_in("w/1", 3);
	read_in("w/1", 4);
	read_in("w/3", 1);
	assert_int_equal(counted("files_early"), 3);
	assert_int_equal(counted("files_early_wasted"), 0);
	tear_down();
}

static void make_folders(const char *top, unsigned n)
{
	char path[16];

	fake_mkdir_locked(top, n);
	fake_find_locked(top)->of_folders = true;
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(path, sizeof path, "%s/%u", top, i);
		fake_mkdir_locked(path, 5);
	}
}

static void sixteen_folders_are_listed_ahead(void **state)
{
	const unsigned n = 40;
	char path[16];

	(void)state;
	set_up();
	FAKE_LOCKED(make_folders("/x", n));
	assert_int_equal(list("h0/x"), n - 1);
	for (unsigned i = 0; i < n; i++) {
		unsigned listed = 1 + (i < 2 ? i + 1 : i) + 16;

		if (i == 2)
			continue;
		(void)snprintf(path, sizeof path, "h0/x/%u", i);
		assert_int_equal(list(path), 4);
		listed = listed < n ? listed : n;
		if (i > 10)
			FAKE_WAIT(fake.count[SCOUT_SFTP_OPENDIR] == listed);
		FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == fake.count[SCOUT_SFTP_OPENDIR]);
	}
	assert_int_equal(counted("folders_ahead_wasted"), 0);
	tear_down();
}

/* Together they have more ahead than there is place for. */
static void three_finds_leave_each_other_what_is_ahead(void **state)
{
	const unsigned n = 50;
	unsigned wasted;
	char path[16];

	(void)state;
	set_up();
	FAKE_LOCKED(make_folders("/x", n), make_folders("/y", n), make_folders("/z", n));
	assert_int_equal(list("h0/x"), n - 1);
	assert_int_equal(list("h0/y"), n - 1);
	assert_int_equal(list("h0/z"), n - 1);
	for (unsigned i = 0; i < n; i++) {
		for (const char *top = "xyz"; i != 2 && *top; top++) {
			(void)snprintf(path, sizeof path, "h0/%c/%u", *top, i);
			assert_int_equal(list(path), 4);
			FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == fake.count[SCOUT_SFTP_OPENDIR]);
		}
	}
	wasted = counted("folders_ahead_wasted");
	assert_true(wasted <= 2);
	assert_true(fake.count[SCOUT_SFTP_OPENDIR] <= 3 * n + wasted);
	assert_true(counted("folders_ahead") >= n);
	tear_down();
}

/* As many are listed ahead of the host as may be, and none comes to an end; returns how many. */
static unsigned hang(const char *name)
{
	struct scout_folders evicted = TAILQ_HEAD_INITIALIZER(evicted);
	struct scout_hosts *all = rig.backend.self;
	struct scout_host *host = find(name);
	unsigned busy = 0;

	scout_lock(&all->aheads.lock);
	for (unsigned i = 0; i < 40; i++) {
		char path[16];
		struct scout_folder *f;

		(void)snprintf(path, sizeof path, "/%u", i);
		f = scout_folder_plan_locked(host, path, scout_now_ns(), &evicted);
		if (f)
			f->busy = true;
		busy += f != NULL;
	}
	scout_unlock(&all->aheads.lock);
	scout_host_unref(host);
	assert_true(TAILQ_EMPTY(&evicted));
	return busy;
}

static void hosts_that_hang_leave_some_to_others(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(hang("h1"), 16);
	assert_int_equal(hang("h2"), 4);
	go();
	tear_down();
}

static void many_hosts_that_hang_do_so_too(void **state)
{
	static char names[][4] = {"h3", "h4", "h5"};

	(void)state;
	set_up();
	rig_stop();
	rig.config.nhosts = 6;
	for (unsigned i = 3; i < 6; i++) {
		rig.hosts[i] = rig.hosts[1];
		rig.hosts[i].name = names[i - 3];
	}
	rig_start(FEW);
	assert_int_equal(hang("h1"), 16);
	assert_int_equal(hang("h2"), 4);
	assert_int_equal(hang("h3"), 4);
	assert_int_equal(hang("h4"), 1);
	assert_int_equal(hang("h5"), 1);
	assert_int_equal(hang("h0"), 1);
	tear_down();
}

static void who_comes_while_it_is_listed_waits_for_that(void **state)
{
	static struct ask c;

	(void)state;
	set_up();
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	FAKE_LOCKED(fake.hold_answers = true);
	open_folder(&a, "h0/w/1");
	open_folder(&c, "h0/w/3");
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(entries(&a), 4);
	assert_int_equal(entries(&c), 4);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 10);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 10);
	assert_int_equal(counted("folders_ahead"), 1);
	tear_down();
}

static void what_cannot_be_listed_is_told_to_who_opens_it(void **state)
{
	static struct ask c;

	(void)state;
	set_up();
	fake_find_locked("/w/3")->mode = S_IFREG; /* as if it could not be opened */
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	FAKE_LOCKED(fake.hold_answers = true);
	open_folder(&a, "h0/w/1");
	open_folder(&c, "h0/w/3");
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(entries(&a), 4);
	assert_int_equal(ask_wait(&c), -ENOTDIR);
	tear_down();
}

static void the_end_while_all_is_on_its_way(void **state)
{
	static struct ask c, d;

	(void)state;
	set_up();
	FAKE_LOCKED(fake_add_locked("/large", 50000, 0, 1)); /* not asked for before it is read */
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	assert_int_equal(ask_open(&d, "h0/large"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	open_folder(&a, "h0/w/1");
	open_folder(&c, "h0/w/3");
	ask_read(&b, &d, 0, 4096);
	rig.backend.ops->stop(rig.backend.self);
	assert_int_equal(ask_wait(&a), -ESHUTDOWN);
	assert_int_equal(ask_wait(&c), -ESHUTDOWN);
	assert_int_equal(ask_wait(&b), -ESHUTDOWN);
	file_release(&d);
	rig_stop();
	fake_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_would_be_too_old_is_not_asked_for),
	    cmocka_unit_test(folders_that_come_next_are_listed_ahead),
	    cmocka_unit_test(who_finds_large_folders_is_left_alone),
	    cmocka_unit_test(our_own_change_is_listed),
	    cmocka_unit_test(an_old_listing_is_of_no_use),
	    cmocka_unit_test(who_is_slow_has_the_next_folder_in_time),
	    cmocka_unit_test(who_read_a_folder_reads_the_next_one_so),
	    cmocka_unit_test(sixteen_folders_are_listed_ahead),
	    cmocka_unit_test(three_finds_leave_each_other_what_is_ahead),
	    cmocka_unit_test(hosts_that_hang_leave_some_to_others),
	    cmocka_unit_test(many_hosts_that_hang_do_so_too),
	    cmocka_unit_test(who_comes_while_it_is_listed_waits_for_that),
	    cmocka_unit_test(what_cannot_be_listed_is_told_to_who_opens_it),
	    cmocka_unit_test(the_end_while_all_is_on_its_way),
	};

	return cmocka_run_group_tests_name("hosts/ahead_walk", tests, NULL, NULL);
}
