/* Looks at a file that grows, which are on their way together and heard in another order. */
#include "read_rig.h"

/* Another's open looked at the log before it grew, and hears of it after this reader saw it grown. */
static void a_look_from_before_it_grew_is_no_change(void **state)
{
	(void)state;
	set_up(4 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.overtaken = 1u << SCOUT_SFTP_OPEN);
	ask_open_start(&many[0], "h0/f");
	FAKE_WAIT(fake.count[SCOUT_SFTP_LSTAT] == 2);
	FAKE_LOCKED(fake_resize_locked(&fake.nodes[0], 4 * MIB + 10));
	ask_read(&a, &file, 0, MIB);
	assert_int_equal(ask_wait(&a), 0);
	FAKE_WAIT(fake.count[SCOUT_SFTP_FSTAT] > 0);
	FAKE_LOCKED(fake.overtaken = 0);
	assert_int_equal(ask_wait(&many[0]), 0);
	FAKE_LOCKED(fake_resize_locked(&fake.nodes[0], 4 * MIB + 20));
	ask_read(&a, &file, 4 * MIB, 4096);
	assert_int_equal(ask_wait(&a), 0);
	file_release(&many[0]);
	tear_down();
}

/* The same, but what it looked at was shorter than anything that this reader was told: that is a change. */
static void a_look_after_it_was_cut_is_a_change(void **state)
{
	(void)state;
	set_up(4 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.overtaken = 1u << SCOUT_SFTP_OPEN,
		    fake_resize_locked(&fake.nodes[0], 3 * MIB));
	ask_open_start(&many[0], "h0/f");
	FAKE_WAIT(fake.count[SCOUT_SFTP_LSTAT] == 2);
	FAKE_LOCKED(fake_resize_locked(&fake.nodes[0], 4 * MIB + 10), fake.overtaken = 0);
	assert_int_equal(ask_wait(&many[0]), 0);
	ask_read(&a, &file, 0, MIB);
	assert_int_equal(ask_wait(&a), -ESTALE);
	file_release(&many[0]);
	tear_down();
}

/* Nor may it be shorter than what was known when it went out, whatever was told meanwhile. */
static void a_look_on_its_way_may_show_a_change(void **state)
{
	(void)state;
	set_up(4 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.overtaken = 1u << SCOUT_SFTP_OPEN | 1u << SCOUT_SFTP_LSTAT);
	ask_open_start(&many[0], "h0/f");
	FAKE_LOCKED(fake_resize_locked(&fake.nodes[0], 4 * MIB + 10));
	ask_read(&a, &file, 0, MIB);
	assert_int_equal(ask_wait(&a), 0);
	FAKE_LOCKED(fake_resize_locked(&fake.nodes[0], 3 * MIB), fake.overtaken = 0);
	assert_int_equal(ask_wait(&many[0]), 0);
	FAKE_LOCKED(fake_resize_locked(&fake.nodes[0], 4 * MIB + 20));
	ask_read(&a, &file, 4 * MIB, 4096);
	assert_int_equal(ask_wait(&a), -ESTALE);
	file_release(&many[0]);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_look_from_before_it_grew_is_no_change),
	    cmocka_unit_test(a_look_after_it_was_cut_is_a_change),
	    cmocka_unit_test(a_look_on_its_way_may_show_a_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
