/* Back-off, text and metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scoutfs/clock.h"
#include "scoutfs/metrics.h"
#include "scoutfs/text.h"

static void backoff_doubles_to_its_maximum(void **state)
{
	const uint64_t s = SCOUT_NS_PER_S;

	(void)state;
	assert_int_equal(scout_backoff_ns(1, s, 30 * s, 0), s);
	assert_int_equal(scout_backoff_ns(2, s, 30 * s, 0), 2 * s);
	assert_int_equal(scout_backoff_ns(5, s, 30 * s, 0), 16 * s);
	assert_int_equal(scout_backoff_ns(6, s, 30 * s, 0), 30 * s);
	assert_int_equal(scout_backoff_ns(4000000000u, s, 30 * s, 0), 30 * s);
	assert_int_equal(scout_backoff_ns(3, s, 2 * s, 0), 2 * s);
}

static void backoff_jitter_takes_at_most_a_quarter(void **state)
{
	(void)state;
	assert_int_equal(scout_backoff_ns(1, 1000, 30000, UINT32_MAX), 750);
	for (uint32_t r = 0; r < UINT32_MAX - 99999999; r += 99999999)
		assert_in_range(scout_backoff_ns(3, 1000, 30000, r), 3000, 4000);
}

static void text_grows_and_is_taken(void **state)
{
	struct scout_text t = {0};
	char *str;

	(void)state;
	for (int i = 0; i < 1000; i++)
		scout_text_printf(&t, "%d,", i % 10);
	scout_text_append(&t, "end", 3);
	assert_int_equal(t.len, 2003);
	str = scout_text_take(&t);
	assert_int_equal(strlen(str), 2003);
	assert_string_equal(str + 1998, "9,end");
	assert_null(t.str);
	free(str);
	str = scout_text_take(&t);
	assert_string_equal(str, "");
	free(str);
}

static void numbers_for_people(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(scout_format_bytes(buf, 999), "999 B");
	assert_string_equal(scout_format_bytes(buf, 24834009), "24.8 MB");
	assert_string_equal(scout_format_bytes(buf, 999960000), "1.0 GB");
	assert_string_equal(scout_format_bytes(buf, UINT64_MAX), "18.4 EB");
	assert_string_equal(scout_format_duration(buf, 250 * SCOUT_NS_PER_MS), "250 ms");
	assert_string_equal(scout_format_duration(buf, 59 * SCOUT_NS_PER_S), "59 s");
	assert_string_equal(scout_format_duration(buf, 200 * SCOUT_NS_PER_S), "3m 20s");
	assert_string_equal(scout_format_duration(buf, 90061 * SCOUT_NS_PER_S), "1d 1h");
	assert_string_equal(scout_format_ago(buf, scout_wall_ns() - 90061 * SCOUT_NS_PER_S),
			    "1d 1h");
	assert_string_equal(scout_format_ago(buf, scout_wall_ns() + SCOUT_NS_PER_S), "0 ms");
}

static void names_are_escaped_and_cut(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(scout_format_name(buf, sizeof(buf), "a\n\"b\\"), "a\\x0a\\x22b\\x5c");
	assert_string_equal(scout_format_name(buf, 4, "abcdef"), "abc");
	assert_string_equal(scout_metric_label(buf, sizeof(buf), "a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
}

static void histogram_counts_below_each_bound(void **state)
{
	struct scout_hist h = {0};
	struct scout_text t = {0};

	(void)state;
	scout_hist_add(&h, 100000);
	scout_hist_add(&h, 100001);
	scout_hist_add(&h, 60 * SCOUT_NS_PER_S);
	scout_metric_hist(&t, "x_seconds", "host=\"a\"", &h);
	assert_non_null(strstr(t.str, "x_seconds_bucket{host=\"a\",le=\"0.0001\"} 1\n"));
	assert_non_null(strstr(t.str, "x_seconds_bucket{host=\"a\",le=\"0.00025\"} 2\n"));
	assert_non_null(strstr(t.str, "x_seconds_bucket{host=\"a\",le=\"10\"} 2\n"));
	assert_non_null(strstr(t.str, "x_seconds_bucket{host=\"a\",le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(t.str, "x_seconds_sum{host=\"a\"} 60.000200\n"));
	assert_non_null(strstr(t.str, "x_seconds_count{host=\"a\"} 3\n"));
	scout_text_free(&t);
	scout_metric_hist(&t, "x_seconds", "", &h);
	assert_non_null(strstr(t.str, "x_seconds_count 3\n"));
	scout_text_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(backoff_doubles_to_its_maximum),
	    cmocka_unit_test(backoff_jitter_takes_at_most_a_quarter),
	    cmocka_unit_test(text_grows_and_is_taken),
	    cmocka_unit_test(numbers_for_people),
	    cmocka_unit_test(names_are_escaped_and_cut),
	    cmocka_unit_test(histogram_counts_below_each_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
