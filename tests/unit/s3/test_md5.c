/* MD5s in lanes and alone, by whatever instructions this processor has, are what libcrypto makes of them. */
#include "s3/md5.c" /* each of its ways, not only the one that is taken here */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BLOCKS 9
#define BYTES ((size_t)BLOCKS * MD5_CBLOCK)

static void check(take_fn *take)
{
	static uint8_t bytes[SCOUT_MD5_LANES][BYTES];
	uint32_t x = 1;

	for (size_t i = 0; i < SCOUT_MD5_LANES * BYTES; i++) {
		x = x * 1103515245 + 12345;
		bytes[i / BYTES][i % BYTES] = (uint8_t)(x >> 16);
	}
	for (size_t n = 1; n <= SCOUT_MD5_LANES; n++) {
		struct scout_md5 *m[SCOUT_MD5_LANES];
		const void *first[SCOUT_MD5_LANES], *rest[SCOUT_MD5_LANES];

		for (size_t i = 0; i < n; i++) {
			m[i] = scout_md5_new();
			assert_non_null(m[i]);
			first[i] = bytes[i];
			rest[i] = bytes[i] + MD5_CBLOCK;
		}
		update_lanes(take, m, first, n, MD5_CBLOCK);
		update_lanes(take, m, rest, n, BYTES - MD5_CBLOCK);
		for (size_t i = 0; i < n; i++) {
			uint8_t got[SCOUT_MD5_BYTES], want[SCOUT_MD5_BYTES];

			scout_md5_end(m[i], got);
			(void)MD5(bytes[i], BYTES, want);
			assert_memory_equal(got, want, sizeof(want));
			scout_md5_free(m[i]);
		}
	}
}

static void by_what_every_processor_has(void **state)
{
	(void)state;
	check(take_all);
}

static void by_wide_vectors(void **state)
{
	(void)state;
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx512f")) {
		assert_true(taker() == take_all_wide);
		check(take_all_wide);
		return;
	}
#endif
	assert_true(taker() == take_all);
}

static void one_in_pieces_of_any_length(void **state)
{
	uint8_t bytes[BYTES + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * i + i / 3);
	for (size_t len = 0; len <= BYTES; len++) {
		uint8_t got[SCOUT_MD5_BYTES], want[SCOUT_MD5_BYTES];
		const uint8_t *from = bytes + len % 2; /* aligned, or not */
		struct scout_md5 *m = scout_md5_new();

		assert_non_null(m);
		/* whole blocks, then what fills none, then what begins within one */
		scout_md5_update(m, from, len / 2);
		scout_md5_update(m, from + len / 2, len / 3);
		scout_md5_update(m, from + len / 2 + len / 3, len - len / 2 - len / 3);
		scout_md5_end(m, got);
		(void)MD5(from, len, want);
		assert_memory_equal(got, want, sizeof(want));
		scout_md5_free(m);
	}
}

static void one_is_counted_over_many_gigabits(void **state)
{
	struct scout_md5 *m = scout_md5_new();

	(void)state;
	assert_non_null(m);
	m->ctx.Nl = 0xffffffff - 511;
	count(&m->ctx, 128);
	assert_int_equal(m->ctx.Nl, 512);
	assert_int_equal(m->ctx.Nh, 1);
	scout_md5_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(by_what_every_processor_has),
	    cmocka_unit_test(by_wide_vectors),
	    cmocka_unit_test(one_in_pieces_of_any_length),
	    cmocka_unit_test(one_is_counted_over_many_gigabits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
