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
	scout_s3_yield_turn(&y, now_ns + 90 * MS);
	assert_int_equal(y.now, 8);
	scout_s3_yield_turn(&y, now_ns + 100 * MS);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_takes_no_longer_changes_nothing, setup),
	    cmocka_unit_test_setup(bulk_is_halved_down_to_a_few, setup),
	    cmocka_unit_test_setup(it_grows_while_they_are_fast, setup),
	    cmocka_unit_test_setup(small_calls_that_wait_for_each_other_are_not_bulks_doing, setup),
	    cmocka_unit_test_setup(without_them_bulk_has_all, setup),
	    cmocka_unit_test_setup(where_it_does_not_help_bulk_has_all, setup),
	    cmocka_unit_test_setup(where_it_helps_it_goes_on_giving_way, setup),
	    cmocka_unit_test_setup(heads_and_gets_are_each_their_own, setup),
	    cmocka_unit_test_setup(a_way_that_became_longer_is_learned, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
