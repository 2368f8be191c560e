/* Small files, which are asked for when they are opened: right bytes once each, also when nobody comes, or late. */
#include <unistd.h>

#include "read_rig.h"

/* How many READs were sent once h0's path is open; a look by its handle goes behind them. */
static unsigned reads_after_open(const char *path)
{
	struct ask look = {0};

	assert_int_equal(ask_open(&file, path), 0);
	ask_start(&look, ASK_ATTR);
	rig.backend.ops->getattr(rig.backend.self, NULL, file.handle, &look.req);
	assert_int_equal(ask_wait(&look), 0);
	return fake.count[SCOUT_SFTP_READ];
}

static void a_small_file_is_asked_for_when_it_is_opened(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/f", 32 * KIB, 100, SEED);
	fake_add_locked("/large", 32 * KIB + 1, 100, SEED);
	fake_add_locked("/empty", 0, 100, SEED);
	rig_start(MEMORY);
	assert_int_equal(reads_after_open("h0/empty"), 0);
	file_release(&file);
	assert_int_equal(reads_after_open("h0/large"), 0);
	file_release(&file);
	assert_int_equal(reads_after_open("h0/f"), 1);
	read_right(0, 128 * KIB, 32 * KIB);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], 1);
	file_release(&file);
	/* the kernel has its pages; if not, it asks */
	assert_int_equal(reads_after_open("h0/f"), 1);
	read_right(4096, 4096, 32 * KIB);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], 2);
	file_release(&file);
	/* but none of another version */
	FAKE_LOCKED(fake_add_locked("/f", 30 * KIB, 200, SEED));
	assert_int_equal(reads_after_open("h0/f"), 3);
	read_right(0, 128 * KIB, 30 * KIB);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], 3);
	tear_down();
}

/* In place, and longer. */
static void rewrite_locked(void)
{
	struct fake_node *n = fake_find_locked("/f");

	fake_append_locked("/f", 1000, 101, SEED);
	for (size_t i = 0; i < n->size; i++)
		n->data[i] = fake_byte(i, SEED + 1);
}

static void one_that_became_longer_since_it_was_opened_is_read_anew(void **state)
{
	(void)state;
	set_up(20000, MEMORY);
	assert_int_equal(reads_after_open("h0/f"), 1);
	FAKE_LOCKED(rewrite_locked());
	file.attr.version++; /* as the kernel has learned */
	ask_read(&a, &file, 0, 16384);
	assert_int_equal(ask_wait(&a), 0);
	right_bytes(&a, 0, 16384, SEED + 1);
	ask_read(&a, &file, 16384, 16384);
	assert_int_equal(ask_wait(&a), 0);
	right_bytes(&a, 16384, 21000 - 16384, SEED + 1);
	tear_down();
}

static void who_comes_late_is_asked_for_anew(void **state)
{
	(void)state;
	rig_config(1);
	rig.hosts[0].attr_timeout_ns = SCOUT_NS_PER_MS;
	fake_add_locked("/f", 1000, 100, SEED);
	rig_start(MEMORY);
	assert_int_equal(reads_after_open("h0/f"), 1);
	(void)usleep(2000);
	read_right(0, 1000, 1000);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], 2);
	tear_down();
}

static void any_part_of_a_small_file_is_there(void **state)
{
	(void)state;
	set_up(30000, MEMORY);
	assert_int_equal(reads_after_open("h0/f"), 1);
	read_right(28672, 4096, 30000);
	read_right(0, 4096, 30000);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], 1);
	tear_down();
}

static void many_that_nobody_reads_are_not_asked_for(void **state)
{
	struct ask files[40] = {0};
	char path[8];

	(void)state;
	rig_config(1);
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(path, sizeof path, "/%u", i);
		fake_add_locked(path, 1000, 100, SEED);
	}
	rig_start(MEMORY);
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(path, sizeof path, "h0/%u", i);
		assert_int_equal(ask_open(&files[i], path), 0);
	}
	assert_int_equal(reads_after_open("h0/39"), 16);
	/* one is read, another is closed: two more may be */
	ask_read(&a, &files[0], 0, 1000);
	assert_int_equal(ask_wait(&a), 0);
	right_bytes(&a, 0, 1000, SEED);
	file_release(&files[1]);
	file_release(&file);
	FAKE_LOCKED(fake_add_locked("/39", 1000, 101, SEED));
	FAKE_LOCKED(fake_add_locked("/38", 1000, 101, SEED));
	FAKE_LOCKED(fake_add_locked("/37", 1000, 101, SEED));
	assert_int_equal(reads_after_open("h0/39"), 17);
	file_release(&files[39]);
	files[39] = file;
	assert_int_equal(reads_after_open("h0/38"), 18);
	file_release(&files[38]);
	files[38] = file;
	assert_int_equal(reads_after_open("h0/37"), 18);
	for (unsigned i = 0; i < 40; i++)
		if (i != 1)
			file_release(&files[i]);
	tear_down();
}

static void one_that_changed_since_it_was_opened_is_stale(void **state)
{
	(void)state;
	set_up(1000, MEMORY);
	assert_int_equal(reads_after_open("h0/f"), 1);
	FAKE_LOCKED(fake_add_locked("/f", 1000, 101, SEED + 1));
	file.attr.version++; /* as the kernel has learned */
	ask_read(&a, &file, 0, 1000);
	assert_int_equal(ask_wait(&a), -ESTALE);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_small_file_is_asked_for_when_it_is_opened),
	    cmocka_unit_test(one_that_became_longer_since_it_was_opened_is_read_anew),
	    cmocka_unit_test(who_comes_late_is_asked_for_anew),
	    cmocka_unit_test(any_part_of_a_small_file_is_there),
	    cmocka_unit_test(many_that_nobody_reads_are_not_asked_for),
	    cmocka_unit_test(one_that_changed_since_it_was_opened_is_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
