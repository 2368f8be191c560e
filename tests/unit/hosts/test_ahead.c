/* Attributes of a far host's files: asked for one by one, or told by a listing of their folder. */
#include <fcntl.h>

#include "fake_sftp.h"

#define MEMORY ((size_t)8 << 20)

static struct ask a;

static int look(const char *path)
{
	ask_getattr(&a, path);
	return ask_wait(&a);
}

/* /d has entries "0", "1", "3"… of so many bytes as they are called, of which the server knows the first
 * ones by path, too; so that it shows who was asked. */
static void set_up(uint64_t far_ns, unsigned entries)
{
	rig_config(1);
	fake_mkdir_locked("/d", entries);
	for (unsigned i = 0; i < 10; i++) {
		char path[16];

		(void)snprintf(path, sizeof path, "/d/%u", i);
		fake_add_locked(path, i, 0, 0);
		fake_find_locked(path)->mode = S_IFREG | 0600;
	}
	fake.far_ns = far_ns;
	fake.server.extensions |= SCOUT_SFTP_EXT(SCOUT_SFTP_LSETSTAT);
	rig.hosts[0].attr_timeout_ns = 3600 * SCOUT_NS_PER_S; /* nothing grows old here */
	rig_start(MEMORY);
	assert_int_equal(look("h0/d"), 0); /* how far it is */
}

static void tear_down(void)
{
	rig_stop();
	fake_reset();
}

/* At ten files of /d, one after the other. */
static void look_at_ten(void)
{
	for (unsigned i = 0; i < 10; i++) {
		char path[16];

		(void)snprintf(path, sizeof path, "h0/d/%u", i);
		assert_int_equal(look(path), 0);
	}
}

static unsigned asked(void)
{
	unsigned n;

	FAKE_LOCKED(n = fake.count[SCOUT_SFTP_LSTAT]);
	return n;
}

/* Looks at three files, which has /d listed, and waits for that. */
static void list(void)
{
	assert_int_equal(look("h0/d/0"), 0);
	assert_int_equal(look("h0/d/0"), 0); /* the same one again is no reason */
	assert_int_equal(look("h0/d/1"), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 0);
	assert_int_equal(look("h0/d/3"), 0);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1);
	assert_int_equal(asked(), 5);
}

static void the_third_file_has_its_folder_listed(void **state)
{
	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	list();
	for (unsigned i = 20; i < 50; i++) {
		char path[16];

		(void)snprintf(path, sizeof path, "h0/d/%u", i);
		assert_int_equal(look(path), 0);
		assert_int_equal(a.attr.size, i);
		assert_int_equal(a.attr.mode, S_IFREG | 0600);
	}
	assert_int_equal(asked(), 5);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 1);
	/* what is not listed is asked for: a server may have more than it lists */
	assert_int_equal(look("h0/d/x"), -ENOENT);
	assert_int_equal(look("h0/d/2"), 0);
	assert_int_equal(asked(), 7);
	tear_down();
}

static void a_near_host_is_asked(void **state)
{
	(void)state;
	set_up(0, 50);
	look_at_ten();
	assert_int_equal(asked(), 11);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 0);
	tear_down();
}

static void what_we_change_ends_it(void **state)
{
	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	list();
	assert_int_equal(look("h0/d/4"), 0);
	assert_int_equal(asked(), 5);
	ask_start(&a, ASK_NONE);
	rig.backend.ops->unlink(rig.backend.self, "h0/d/5", &a.req);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(look("h0/d/5"), -ENOENT);
	assert_int_equal(look("h0/d/30"), -ENOENT); /* the server was asked */
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 1);
	tear_down();
}

static void change_while_listing(struct scout_sftp *s, struct scout_sftp_call *call)
{
	static struct ask change;

	(void)s;
	if (call->op != SCOUT_SFTP_READDIR || fake.count[SCOUT_SFTP_READDIR] > 1)
		return;
	pthread_mutex_unlock(&fake.lock);
	ask_start(&change, ASK_NONE);
	rig.backend.ops->unlink(rig.backend.self, "h0/d/5", &change.req);
	pthread_mutex_lock(&fake.lock);
}

static void a_change_while_it_is_listed_ends_it(void **state)
{
	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	fake.before = change_while_listing;
	list();
	FAKE_WAIT(fake.count[SCOUT_SFTP_REMOVE] == 1);
	assert_int_equal(look("h0/d/5"), -ENOENT);
	assert_int_equal(look("h0/d/30"), -ENOENT);
	tear_down();
}

static void what_another_changed_ends_it(void **state)
{
	struct ask file = {0};

	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	list();
	FAKE_LOCKED(fake_append_locked("/d/4", 100, 5, 0));
	assert_int_equal(look("h0/d/4"), 0);
	assert_int_equal(a.attr.size, 4); /* within attr_timeout */
	assert_int_equal(ask_open(&file, "h0/d/4"), 0);
	assert_int_equal(file.attr.size, 104); /* at open at the latest */
	file_release(&file);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 2);
	assert_int_equal(look("h0/d/4"), 0);
	assert_int_equal(a.attr.size, 104); /* and never older again */
	tear_down();
}

/* One of the last answers says something else than the listing; or a later one does. */
static void a_listing_that_was_overtaken_is_thrown_away(void **state)
{
	static struct ask file;

	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	FAKE_LOCKED(fake_append_locked("/d/1", 100, 5, 0)); /* not what is listed */
	assert_int_equal(look("h0/d/0"), 0);
	assert_int_equal(look("h0/d/1"), 0);
	assert_int_equal(look("h0/d/3"), 0);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1);
	assert_int_equal(look("h0/d/1"), 0);
	assert_int_equal(a.attr.size, 101);
	assert_int_equal(look("h0/d/30"), -ENOENT); /* the server was asked */
	tear_down();

	set_up(50 * SCOUT_NS_PER_MS, 50);
	list();
	FAKE_LOCKED(fake_find_locked("/d/5")->gone = true);
	assert_int_equal(look("h0/d/5"), 0); /* within attr_timeout */
	assert_int_equal(ask_open(&file, "h0/d/5"), -ENOENT);
	assert_int_equal(look("h0/d/5"), -ENOENT);
	tear_down();
}

static void a_server_that_may_follow_links_is_not_believed(void **state)
{
	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	rig_stop();
	fake.server.extensions &= ~SCOUT_SFTP_EXT(SCOUT_SFTP_LSETSTAT);
	rig_start(MEMORY);
	look_at_ten();
	assert_int_equal(asked(), 11);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 0);
	tear_down();
}

static void a_file_that_is_written_to_is_asked_for(void **state)
{
	struct ask file = {0};
	unsigned before;

	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	list();
	assert_int_equal(ask_open(&file, "h0/d/4"), 0);
	before = asked();
	assert_int_equal(look("h0/d/4"), 0); /* who reads it has seen the same */
	assert_int_equal(asked(), before);
	file_release(&file);

	ask_start(&file, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, "h0/d/4", O_WRONLY, &file.req);
	assert_int_equal(ask_wait(&file), 0);
	before = asked();
	assert_int_equal(look("h0/d/4"), 0);
	assert_int_equal(asked(), before + 1);
	file_release(&file);
	tear_down();
}

static void what_cannot_be_listed_is_left_alone(void **state)
{
	static const unsigned entries[] = {5000, 0};

	(void)state;
	for (size_t n = 0; n < 2; n++) {
		set_up(50 * SCOUT_NS_PER_MS, entries[n]);
		if (!entries[n])
			fake_find_locked("/d")->mode = S_IFREG; /* as if it could not be opened */
		look_at_ten();
		FAKE_WAIT(fake.count[SCOUT_SFTP_OPENDIR] == 1);
		tear_down();
	}
}

static void folders_are_few(void **state)
{
	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	list();
	for (unsigned i = 0; i < 200; i++) {
		char path[32];

		(void)snprintf(path, sizeof path, "h0/none%u/x", i);
		assert_int_equal(look(path), -ENOENT);
	}
	assert_int_equal(asked(), 205);
	assert_int_equal(look("h0/d/30"), -ENOENT); /* forgotten */
	tear_down();
}

static void kill_at_readdir(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_READDIR)
		s->kill = -ECONNRESET;
}

static void a_lost_listing_is_no_harm(void **state)
{
	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	fake.before = kill_at_readdir;
	assert_int_equal(look("h0/d/0"), 0);
	assert_int_equal(look("h0/d/1"), 0);
	assert_int_equal(look("h0/d/3"), 0);
	FAKE_WAIT(fake.count[SCOUT_SFTP_READDIR] > 0);
	FAKE_LOCKED(fake.before = NULL);
	assert_int_equal(look("h0/d/4"), 0);
	tear_down();
}

static void the_end_while_it_is_listed(void **state)
{
	(void)state;
	set_up(50 * SCOUT_NS_PER_MS, 50);
	assert_int_equal(look("h0/d/0"), 0);
	assert_int_equal(look("h0/d/1"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_getattr(&a, "h0/d/3");
	rig_stop();
	assert_int_equal(ask_wait(&a), -ESHUTDOWN);
	fake_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_third_file_has_its_folder_listed),
	    cmocka_unit_test(a_near_host_is_asked),
	    cmocka_unit_test(what_we_change_ends_it),
	    cmocka_unit_test(a_change_while_it_is_listed_ends_it),
	    cmocka_unit_test(what_another_changed_ends_it),
	    cmocka_unit_test(a_listing_that_was_overtaken_is_thrown_away),
	    cmocka_unit_test(a_server_that_may_follow_links_is_not_believed),
	    cmocka_unit_test(a_file_that_is_written_to_is_asked_for),
	    cmocka_unit_test(what_cannot_be_listed_is_left_alone),
	    cmocka_unit_test(folders_are_few),
	    cmocka_unit_test(a_lost_listing_is_no_harm),
	    cmocka_unit_test(the_end_while_it_is_listed),
	};

	return cmocka_run_group_tests_name("hosts/ahead", tests, NULL, NULL);
}
