/* How much bulk there is beside small calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "s3/yield.h"
#include "scoutfs/clock.h"

#define MS SCOUT_NS_PER_MS
#define MAX 150

static struct scout_s3_yield y;
static uint64_t now_ns;

/* One has shown what a small call takes alone: 20 ms. */
static int setup(void **state)
{
	(void)state;
	now_ns = 1000 * SCOUT_NS_PER_S;
	scout_s3_yield_init(&y, MAX);
	scout_s3_yield_small(&y, true, 20 * MS, 0, 0, now_ns);
	return 0;
}

static unsigned after(uint64_t took_ms, unsigned small, unsigned bulk)
{
	now_ns += took_ms * MS;
	scout_s3_yield_small(&y, true, took_ms * MS, small, bulk, now_ns);
	return y.now;
}

static void what_takes_no_longer_changes_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(after(i % 2 ? 20 : 28, 1, 16), MAX);
}

static void half_as_long_again_is_slow(void **state)
{
	(void)state;
	assert_int_equal(after(30, 1, 16), MAX);
	assert_int_equal(after(32, 1, 16), 8);
	/* of HEADs, too */
	(void)setup(state);
	scout_s3_yield_small(&y, false, 10 * MS, 0, 0, now_ns);
	scout_s3_yield_small(&y, false, 15 * MS, 1, 16, now_ns);
	assert_int_equal(y.now, MAX);
	scout_s3_yield_small(&y, false, 17 * MS, 1, 16, now_ns);
	assert_int_equal(y.now, 8);
}

static void bulk_is_halved_down_to_a_few(void **state)
{
	(void)state;
	assert_int_equal(after(60, 1, 16), 8);
	/* those above eight were under way before */
	assert_int_equal(after(60, 1, 16), 8);
	assert_int_equal(after(60, 1, 9), 8);
	assert_int_equal(after(60, 1, 8), 4);
	assert_int_equal(after(60, 1, 4), 4);
}

static void it_grows_while_they_are_fast(void **state)
{
	(void)state;
	assert_int_equal(after(60, 1, 16), 8);
	assert_int_equal(after(20, 1, 8), 8); /* not at once */
	for (int i = 0; i < 100; i++)
		(void)after(20, 1, 8);
	assert_in_range(y.now, 8 + 8, 8 + 11);
	for (int i = 0; i < 2000; i++)
		(void)after(20, 1, 8);
	assert_int_equal(y.now, MAX);
}

static void small_calls_that_wait_for_each_other_are_not_bulks_doing(void **state)
{
	(void)state;
	assert_int_equal(after(60, 100, 16), MAX);
	assert_int_equal(after(60, 0, 0), MAX);
	assert_int_equal(after(60, 0, 4), MAX);
}

static void without_them_bulk_has_all(void **state)
{
	(void)state;
	assert_int_equal(after(60, 1, 16), 8);
	scout_s3_yield_turn(&y, 0, now_ns + 90 * MS);
	assert_int_equal(y.now, 8);
	scout_s3_yield_turn(&y, 1, now_ns + 900 * MS);
	assert_int_equal(y.now, 8);
	scout_s3_yield_turn(&y, 0, now_ns + 100 * MS);
	assert_int_equal(y.now, MAX);
}

static void while_they_hang_bulk_has_all(void **state)
{
	(void)state;
	assert_int_equal(after(60, 1, 16), 8);
	scout_s3_yield_turn(&y, 1, now_ns + 1000 * MS);
	assert_int_equal(y.now, MAX);
}

/* As many as a reader has under way, within what may be. */
static unsigned bulk(void)
{
	return y.now < 16 ? y.now : 16;
}

static void where_it_does_not_help_bulk_has_all(void **state)
{
	uint64_t limited_ns = 0, begun_ns;

	(void)state;
	/* now this long, now that, whatever bulk does */
	for (int i = 0; i < 400; i++)
		(void)after(i % 2 ? 25 : 45, 1, bulk());
	begun_ns = now_ns;
	for (int i = 0; i < 10000; i++) {
		uint64_t before_ns = now_ns;

		if (after(i % 2 ? 25 : 45, 1, bulk()) < 16)
			limited_ns += now_ns - before_ns;
	}
	assert_true(limited_ns * 20 < now_ns - begun_ns);
}

static void where_it_helps_it_goes_on_giving_way(void **state)
{
	uint64_t slow = 0, n = 0;

	(void)state;
	/* each transfer beyond six holds it up by 5 ms */
	for (int i = 0; i < 4000; i++, n++)
		slow += after(bulk() > 6 ? 20 + (bulk() - 6) * 5 : 20, 1, bulk()) > 12;
	assert_true(slow * 5 < n);
}

/* The part of the time in which bulk gives way, in percent, when every other small call takes 60 ms beside all of it,
 * or slow_ms beside few, and the others 20. */
static uint64_t percent_limited(uint64_t slow_ms, void **state)
{
	uint64_t limited_ns = 0, begun_ns = 0;

	(void)setup(state);
	for (int i = 0; i < 10000; i++) {
		uint64_t before_ns = now_ns;
		unsigned n = bulk();

		if (i == 400)
			begun_ns = now_ns;
		(void)after(i % 2 ? 20 : n < 16 ? slow_ms : 60, 1, n);
		if (i >= 400 && n < 16)
			limited_ns += now_ns - before_ns;
	}
	return limited_ns * 100 / (now_ns - begun_ns);
}

static void it_helps_if_they_are_a_quarter_faster(void **state)
{
	assert_in_range(percent_limited(36, state), 80, 100);
	assert_in_range(percent_limited(44, state), 0, 5);
}

static void a_way_that_became_longer_is_learned(void **state)
{
	(void)state;
	for (int i = 0; i < 3000; i++)
		(void)after(40, 1, bulk());
	assert_int_equal(y.now, MAX);
}

static void heads_and_gets_are_each_their_own(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		scout_s3_yield_small(&y, false, 5 * MS, 1, 16, now_ns);
		assert_int_equal(after(20, 1, 16), MAX);
	}
}

/* As setup, but 2 ms. */
static int setup_near(void **state)
{
	(void)state;
	now_ns = 1000 * SCOUT_NS_PER_S;
	scout_s3_yield_init(&y, MAX);
	scout_s3_yield_answer(&y, MS);
	scout_s3_yield_small(&y, true, 2 * MS, 0, 0, now_ns);
	return 0;
}

static void near_by_bulk_comes_in_slices(void **state)
{
	(void)state;
	assert_int_equal(after(2, 1, 16), MAX);
	assert_false(y.slices.on);
	assert_int_equal(after(50, 1, 16), 1);
	assert_true(y.slices.on);
	for (int i = 0; i < 1000; i++) /* as long as they go on, however fast they are */
		assert_int_equal(after(2, 1, i % 2), 1);
	assert_true(y.slices.on);
	scout_s3_yield_turn(&y, 0, now_ns + 100 * MS);
	assert_int_equal(y.now, MAX);
	assert_false(y.slices.on);
}

static void near_by_one_part_is_too_much(void **state)
{
	(void)state;
	assert_int_equal(after(20, 0, 1), 1);
	assert_true(y.slices.on);
}

static void far_away_it_does_not(void **state)
{
	(void)state;
	scout_s3_yield_answer(&y, 16 * MS);
	assert_int_equal(after(60, 1, 16), 8);
	assert_false(y.slices.on);
	(void)setup(state);
	scout_s3_yield_answer(&y, 14 * MS);
	assert_int_equal(after(60, 1, 16), 1);
	assert_true(y.slices.on);
}

static void slices_begin_between_small_calls(void **state)
{
	uint64_t ended_ns;

	(void)state;
	assert_int_equal(scout_s3_yield_due_ns(&y, 1), 0);
	(void)after(50, 1, 16);
	ended_ns = now_ns;
	scout_s3_yield_bulk(&y, 4 * MS, ended_ns);
	(void)after(2, 0, 0);
	/* a moment after the last one */
	assert_int_equal(scout_s3_yield_due_ns(&y, 0), now_ns + MS);
	/* while they go on, a few times as long as it took after the one before */
	assert_int_equal(scout_s3_yield_due_ns(&y, 1), ended_ns + 28 * MS);
	while (now_ns < ended_ns + 28 * MS)
		(void)after(1, 0, 0);
	assert_int_equal(scout_s3_yield_due_ns(&y, 0), ended_ns + 28 * MS);
	/* and that is soon, also after what was there before */
	scout_s3_yield_bulk(&y, 1000 * MS, now_ns);
	assert_int_equal(scout_s3_yield_due_ns(&y, 1), now_ns + 40 * MS);
}

static void slice_took(uint64_t ms)
{
	now_ns += ms * MS;
	scout_s3_yield_bulk(&y, ms * MS, now_ns);
}

static void where_slices_are_slow_it_is_far(void **state)
{
	(void)state;
	assert_int_equal(after(50, 1, 16), 1);
	for (int i = 0; i < 7; i++)
		slice_took(30);
	assert_true(y.slices.on);
	slice_took(30);
	assert_int_equal(y.now, MAX);
	for (int i = 0; i < 8; i++) /* as ever */
		(void)after(50, 1, 16);
	assert_int_equal(y.now, 8);
	assert_false(y.slices.on);
}

static void one_fast_slice_is_enough(void **state)
{
	(void)state;
	assert_int_equal(after(50, 1, 16), 1);
	for (int i = 0; i < 20; i++) /* parts that were under way */
		scout_s3_yield_bulk(&y, (60 + i) * MS, now_ns + 50 * MS);
	slice_took(5);
	for (int i = 0; i < 1000; i++)
		slice_took(30);
	assert_true(y.slices.on);
}

static void heads_near_by_make_no_slices(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		now_ns += MS;
		scout_s3_yield_small(&y, false, i > 10 ? 50 * MS : 2 * MS, 1, 16, now_ns);
		assert_int_equal(y.now, MAX);
	}
	/* nor keep them */
	assert_int_equal(after(50, 1, 16), 1);
	scout_s3_yield_small(&y, false, 2 * MS, 1, 0, now_ns + 90 * MS);
	scout_s3_yield_turn(&y, 0, now_ns + 100 * MS);
	assert_int_equal(y.now, MAX);
}

static void a_small_get_never_seen_alone_is_slow_near_by(void **state)
{
	(void)state;
	scout_s3_yield_init(&y, MAX);
	scout_s3_yield_answer(&y, MS);
	assert_int_equal(after(50, 1, 16), 1);
}

static void many_small_calls_make_no_slices(void **state)
{
	(void)state;
	assert_int_equal(after(50, 5, 16), MAX);
	assert_int_equal(after(50, 1, 16), 1);
	assert_int_equal(after(50, 5, 1), MAX);
	assert_false(y.slices.on);
}

static void where_slices_do_not_help_there_are_none(void **state)
{
	uint64_t slices = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		(void)after(i % 2 ? 3 : 7, 0, y.slices.on ? 0 : 16);
		slices += i >= 2000 && y.slices.on;
	}
	assert_true(slices < 400);
}

static void where_slices_help_they_go_on(void **state)
{
	uint64_t slices = 0;

	(void)state;
	for (int i = 0; i < 4000; i++) {
		(void)after(y.slices.on ? 3 : 40, 0, y.slices.on ? i % 2 : 16);
		slices += y.slices.on;
	}
	assert_true(slices > 3900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_takes_no_longer_changes_nothing, setup),
	    cmocka_unit_test_setup(half_as_long_again_is_slow, setup),
	    cmocka_unit_test_setup(bulk_is_halved_down_to_a_few, setup),
	    cmocka_unit_test_setup(it_grows_while_they_are_fast, setup),
	    cmocka_unit_test_setup(small_calls_that_wait_for_each_other_are_not_bulks_doing, setup),
	    cmocka_unit_test_setup(without_them_bulk_has_all, setup),
	    cmocka_unit_test_setup(while_they_hang_bulk_has_all, setup),
	    cmocka_unit_test_setup(where_it_does_not_help_bulk_has_all, setup),
	    cmocka_unit_test_setup(where_it_helps_it_goes_on_giving_way, setup),
	    cmocka_unit_test_setup(it_helps_if_they_are_a_quarter_faster, setup),
	    cmocka_unit_test_setup(heads_and_gets_are_each_their_own, setup),
	    cmocka_unit_test_setup(a_way_that_became_longer_is_learned, setup),
	    cmocka_unit_test_setup(far_away_it_does_not, setup),
	    cmocka_unit_test_setup(near_by_bulk_comes_in_slices, setup_near),
	    cmocka_unit_test_setup(near_by_one_part_is_too_much, setup_near),
	    cmocka_unit_test_setup(slices_begin_between_small_calls, setup_near),
	    cmocka_unit_test_setup(where_slices_are_slow_it_is_far, setup_near),
	    cmocka_unit_test_setup(one_fast_slice_is_enough, setup_near),
	    cmocka_unit_test_setup(heads_near_by_make_no_slices, setup_near),
	    cmocka_unit_test_setup(a_small_get_never_seen_alone_is_slow_near_by, setup_near),
	    cmocka_unit_test_setup(many_small_calls_make_no_slices, setup_near),
	    cmocka_unit_test_setup(where_slices_do_not_help_there_are_none, setup_near),
	    cmocka_unit_test_setup(where_slices_help_they_go_on, setup_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
