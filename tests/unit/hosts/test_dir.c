/* Open directories over a fake engine. */
#include "fake_sftp.h"

#define MEMORY ((size_t)8 << 20)

static struct ask dir, a;

static int open_dir(const char *path)
{
	ask_start(&dir, ASK_OPEN);
	rig.backend.ops->opendir(rig.backend.self, path, &dir.req);
	return ask_wait(&dir);
}

static int read_dir(uint64_t index)
{
	ask_start(&a, ASK_DIR);
	rig.backend.ops->readdir(rig.backend.self, dir.handle, index, &a.req);
	return ask_wait(&a);
}

/* Reads from index on to the end; returns how many entries came. */
static unsigned read_all(uint64_t index)
{
	unsigned n = 0;

	for (;;) {
		assert_int_equal(read_dir(index + n), 0);
		if (!a.entries)
			return n;
		n += (unsigned)a.entries;
	}
}

static void set_up(unsigned entries)
{
	rig_config(1);
	fake_mkdir_locked("/d", entries);
	fake_add_locked("/f", 3, 1, 0);
	rig_start(MEMORY);
}

static void tear_down(void)
{
	rig.backend.ops->releasedir(rig.backend.self, dir.handle);
	rig_stop();
	fake_reset();
}

static void every_entry_comes_once(void **state)
{
	static const unsigned sizes[] = {0, 1, 2, 3, 99, 100, 101, 20000};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		set_up(sizes[i]);
		assert_int_equal(open_dir("h0/d"), 0);
		/* one name is refused */
		assert_int_equal(read_all(0), sizes[i] > 2 ? sizes[i] - 1 : sizes[i]);
		assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 0);
		FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1); /* at its end, not at releasedir */
		tear_down();
	}
}

static void hold_after_the_end(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	if (call->op == SCOUT_SFTP_READDIR && fake.count[SCOUT_SFTP_READDIR] == 2)
		fake.hold_answers = true; /* but for this one's */
}

/* The first answer has more READDIRs sent, the second is the end: nobody waits for the others. */
static void the_end_is_told_once(void **state)
{
	(void)state;
	set_up(10);
	FAKE_LOCKED(fake.before = hold_after_the_end);
	assert_int_equal(open_dir("h0/d"), 0);
	assert_int_equal(read_all(0), 9);
	FAKE_LOCKED(assert_true(fake.sessions[0]->in_flight > 0), fake.hold_answers = false);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1);
	tear_down();
}

static void the_middle_can_be_asked_for(void **state)
{
	(void)state;
	set_up(1000);
	assert_int_equal(open_dir("h0/d"), 0);
	assert_int_equal(read_dir(500), 0);
	assert_string_equal(a.first, "501");
	assert_int_equal(read_dir(2), 0);
	assert_string_equal(a.first, "3");
	assert_int_equal(read_dir(998), 0);
	assert_string_equal(a.first, "999");
	assert_int_equal(read_dir(5000), 0);
	assert_int_equal(a.entries, 0);
	tear_down();
}

static void from_the_start_again_is_fresh(void **state)
{
	(void)state;
	set_up(10);
	assert_int_equal(open_dir("h0/d"), 0);
	assert_int_equal(read_all(0), 9);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 1);
	FAKE_LOCKED(fake_find_locked("/d")->entries = 12);
	assert_int_equal(read_all(0), 11);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 2);
	tear_down();
}

static void a_renamed_directory_is_listed_where_it_is(void **state)
{
	(void)state;
	set_up(10);
	assert_int_equal(open_dir("h0/d"), 0);
	assert_int_equal(read_all(0), 9);
	ask_start(&a, ASK_NONE);
	rig.backend.ops->rename(rig.backend.self, "h0/d", "h0/e", 0, &a.req);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(read_all(0), 9);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 2);
	tear_down();
}

static void errors_are_narrowed(void **state)
{
	(void)state;
	set_up(1);
	assert_int_equal(open_dir("h0/f"), -ENOTDIR);
	assert_int_equal(open_dir("h0/none"), -ENOENT);
	assert_int_equal(open_dir("none"), -ENOENT);
	rig_stop();
	fake_reset();
}

static void kill_at_readdir(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_READDIR && s->number == 0)
		s->kill = -ECONNRESET;
}

static void a_lost_listing_starts_over(void **state)
{
	(void)state;
	set_up(1000);
	FAKE_LOCKED(fake_add_locked("/x", 1, 1, 1), fake.before = kill_at_readdir);
	assert_int_equal(open_dir("h0/d"), 0);
	assert_int_equal(read_all(0), 999);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 2);
	tear_down();
}

static void hold_behind_opendir(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	if (call->op == SCOUT_SFTP_OPENDIR)
		fake.hold_answers = true; /* but for this one's */
}

/* Its reader is further on than it is listed ahead: it goes as far as he does. */
static void a_lost_listing_knows_how_far_its_reader_is(void **state)
{
	(void)state;
	set_up(20000);
	FAKE_LOCKED(fake.before = hold_behind_opendir);
	assert_int_equal(open_dir("h0/d"), 0);
	ask_start(&a, ASK_DIR);
	rig.backend.ops->readdir(rig.backend.self, dir.handle, 12000, &a.req);
	FAKE_LOCKED(fake.before = NULL, fake.sessions[0]->kill = -ECONNRESET,
		    fake.hold_answers = false);
	assert_int_equal(ask_wait(&a), 0);
	assert_string_equal(a.first, "12001");
	tear_down();
}

static void a_listing_lost_when_half_read_fails(void **state)
{
	(void)state;
	set_up(1000000);
	assert_int_equal(open_dir("h0/d"), 0);
	assert_int_equal(read_dir(0), 0);
	FAKE_LOCKED(fake.before = kill_at_readdir);
	for (unsigned at = (unsigned)a.entries; !read_dir(at); at += (unsigned)a.entries)
		assert_true(a.entries);
	assert_int_equal(a.err, -EIO);
	FAKE_LOCKED(fake.before = NULL);
	assert_int_equal(read_dir(0), 0); /* from the start it works again */
	assert_string_equal(a.first, "0");
	tear_down();
}

static void the_reader_is_not_outrun_for_ever(void **state)
{
	(void)state;
	set_up(1000000);
	assert_int_equal(open_dir("h0/d"), 0);
	assert_int_equal(read_dir(0), 0);
	FAKE_WAIT(fake.count[SCOUT_SFTP_READDIR] >= 82);
	assert_true(fake.count[SCOUT_SFTP_READDIR] < 100);
	tear_down();
}

static void a_released_listing_is_let_go(void **state)
{
	(void)state;
	set_up(1000000);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(open_dir("h0/d"), 0);
	rig.backend.ops->releasedir(rig.backend.self, dir.handle);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1);
	rig_stop();
	fake_reset();
}

static void an_endless_listing_ends(void **state)
{
	unsigned at = 0;

	(void)state;
	set_up(UINT32_MAX);
	assert_int_equal(open_dir("h0/d"), 0);
	while (!read_dir(at)) {
		assert_true(a.entries);
		at += (unsigned)a.entries;
		assert_true(at < 2000000);
	}
	assert_int_equal(a.err, -EOVERFLOW);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_entry_comes_once),
	    cmocka_unit_test(the_end_is_told_once),
	    cmocka_unit_test(the_middle_can_be_asked_for),
	    cmocka_unit_test(from_the_start_again_is_fresh),
	    cmocka_unit_test(a_renamed_directory_is_listed_where_it_is),
	    cmocka_unit_test(errors_are_narrowed),
	    cmocka_unit_test(a_lost_listing_starts_over),
	    cmocka_unit_test(a_lost_listing_knows_how_far_its_reader_is),
	    cmocka_unit_test(a_listing_lost_when_half_read_fails),
	    cmocka_unit_test(the_reader_is_not_outrun_for_ever),
	    cmocka_unit_test(a_released_listing_is_let_go),
	    cmocka_unit_test(an_endless_listing_ends),
	};

	return cmocka_run_group_tests_name("hosts/dir", tests, NULL, NULL);
}
