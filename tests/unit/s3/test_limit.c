/* How concurrency shrinks when an endpoint asks for it, and comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "s3/limit.h"

static struct scout_s3_limit limit_of(unsigned max)
{
	struct scout_s3_limit l;

	scout_s3_limit_init(&l, max);
	assert_int_equal(l.now, max);
	return l;
}

static void it_halves_once_a_round(void **state)
{
	struct scout_s3_limit l = limit_of(150);

	(void)state;
	assert_true(scout_s3_limit_shrink(&l, 150, 10, 20));
	assert_int_equal(l.now, 75);
	/* those that were under way then */
	assert_false(scout_s3_limit_shrink(&l, 149, 10, 21));
	assert_false(scout_s3_limit_shrink(&l, 80, 20, 22));
	assert_int_equal(l.now, 75);
	assert_true(scout_s3_limit_shrink(&l, 75, 21, 30));
	assert_int_equal(l.now, 37);
}

static void it_halves_what_is_under_way(void **state)
{
	struct scout_s3_limit l = limit_of(150);

	(void)state;
	assert_true(scout_s3_limit_shrink(&l, 20, 1, 2));
	assert_int_equal(l.now, 10);
}

static void it_has_a_floor(void **state)
{
	struct scout_s3_limit l = limit_of(150), few = limit_of(2);
	uint64_t now_ns = 1;

	(void)state;
	for (unsigned i = 0; i < 20; i++, now_ns += 2)
		(void)scout_s3_limit_shrink(&l, l.now, now_ns, now_ns + 1);
	assert_int_equal(l.now, 4);
	assert_false(scout_s3_limit_shrink(&few, 2, 1, 2));
	assert_int_equal(few.now, 2);
}

static void it_grows_back_by_successes(void **state)
{
	struct scout_s3_limit l = limit_of(150);
	unsigned successes = 0;

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		scout_s3_limit_grow(&l);
	assert_int_equal(l.now, 150);
	assert_true(scout_s3_limit_shrink(&l, 150, 1, 2));
	for (unsigned i = 0; i < 75; i++)
		scout_s3_limit_grow(&l);
	assert_in_range(l.now, 75 + 7, 75 + 9); /* eight a round */
	while (l.now < 150 && successes++ < 10000)
		scout_s3_limit_grow(&l);
	assert_in_range(successes, 500, 2000);
}

static void a_part_is_spare(void **state)
{
	struct scout_s3_limit l = limit_of(150);

	(void)state;
	assert_int_equal(scout_s3_limit_spare(&l), 16);
	assert_int_equal(scout_s3_limit_hedges(&l), 8);
	l = limit_of(8);
	assert_int_equal(scout_s3_limit_spare(&l), 2);
	assert_int_equal(scout_s3_limit_hedges(&l), 1);
	l = limit_of(3);
	assert_int_equal(scout_s3_limit_spare(&l), 0);
	assert_int_equal(scout_s3_limit_hedges(&l), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_halves_once_a_round), cmocka_unit_test(it_halves_what_is_under_way),
	    cmocka_unit_test(it_has_a_floor),         cmocka_unit_test(it_grows_back_by_successes),
	    cmocka_unit_test(a_part_is_spare),
	};

	return cmocka_run_group_tests_name("s3/limit", tests, NULL, NULL);
}
