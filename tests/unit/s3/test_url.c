/* URLs of keys that are any bytes, in both styles; which endpoints are this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "s3/url.h"
#include "scoutfs/config.h"

static void check_url(const char *endpoint, const char *bucket, bool path_style, const char *key,
		      const char *url, const char *host)
{
	struct scout_models_config config = {
	    .endpoint = (char *)(uintptr_t)endpoint,
	    .bucket = (char *)(uintptr_t)bucket,
	    .path_style = path_style,
	};
	struct scout_s3_url u;

	assert_int_equal(scout_s3_url_new(&config, key, NULL, 0, &u), 0);
	assert_string_equal(u.url, url);
	assert_string_equal(u.host, host);
	assert_string_equal(u.query, "");
	assert_non_null(strstr(u.url, u.path));
	scout_s3_url_free(&u);
}

static void styles(void **state)
{
	(void)state;
	check_url("http://127.0.0.1:9000", "reg", true, "a/b", "http://127.0.0.1:9000/reg/a/b",
		  "127.0.0.1:9000");
	check_url("https://s3.eu-west-1.amazonaws.com", "reg", false, "a/b",
		  "https://reg.s3.eu-west-1.amazonaws.com/a/b", "reg.s3.eu-west-1.amazonaws.com");
	check_url("http://s3.test:80", "reg", false, NULL, "http://reg.s3.test:80/",
		  "reg.s3.test:80");
	check_url("http://s3.test", "reg", true, NULL, "http://s3.test/reg", "s3.test");
}

static void dotted_bucket_is_asked_for_in_the_path_over_https(void **state)
{
	(void)state;
	check_url("https://s3.test", "my.reg", false, "k", "https://s3.test/my.reg/k", "s3.test");
	check_url("http://s3.test", "my.reg", false, "k", "http://my.reg.s3.test/k",
		  "my.reg.s3.test");
}

static void check_key(const char *key, const char *encoded)
{
	char url[256] = "http://s3.test/reg/";

	strcat(url, encoded);
	check_url("http://s3.test", "reg", true, key, url, "s3.test");
}

static void odd_keys(void **state)
{
	(void)state;
	check_key("a b", "a%20b");
	check_key("a+b", "a%2Bb");
	check_key("a%b", "a%25b");
	check_key("a%2Fb", "a%252Fb");
	check_key("a?b&c=d#e", "a%3Fb%26c%3Dd%23e");
	check_key("\u00fc/\u65e5", "%C3%BC/%E6%97%A5");
	check_key("\xff", "%FF");
	check_key("x//y/", "x//y/");
	check_key("/lead", "/lead");
	check_key("a/../b/./c/..", "a/../b/./c/..");
	check_key("nl\nx\ttab\x01", "nl%0Ax%09tab%01");
	check_key("~-_.!*'()", "~-_.%21%2A%27%28%29");
}

static void listing_query_is_sorted_and_encoded(void **state)
{
	const struct scout_s3_param params[] = {{"prefix", "a/b +"},
						{"list-type", "2"},
						{"delimiter", "/"},
						{"continuation-token", "1+/="}};
	struct scout_models_config config = {
	    .endpoint = (char[]){"http://s3.test"}, .bucket = (char[]){"reg"}, .path_style = true};
	struct scout_s3_url u;

	(void)state;
	assert_int_equal(scout_s3_url_new(&config, NULL, params, 4, &u), 0);
	assert_string_equal(u.query, "continuation-token=1%2B%2F%3D&delimiter=%2F&list-type=2"
				     "&prefix=a%2Fb%20%2B");
	assert_string_equal(strchr(u.url, '?') + 1, u.query);
	scout_s3_url_free(&u);
}

static void loopback(void **state)
{
	(void)state;
	assert_true(scout_s3_is_loopback("http://127.0.0.1:9000"));
	assert_true(scout_s3_is_loopback("http://127.1.2.3"));
	assert_true(scout_s3_is_loopback("https://localhost"));
	assert_true(scout_s3_is_loopback("http://LOCALHOST:80"));
	assert_true(scout_s3_is_loopback("http://s3.localhost:80"));
	assert_true(scout_s3_is_loopback("http://[::1]:9000"));
	assert_false(scout_s3_is_loopback("http://127.evil.test"));
	assert_false(scout_s3_is_loopback("http://notlocalhost"));
	assert_false(scout_s3_is_loopback("http://localhost.test"));
	assert_false(scout_s3_is_loopback("https://s3.amazonaws.com"));
	assert_false(scout_s3_is_loopback("http://10.0.0.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(styles),
	    cmocka_unit_test(dotted_bucket_is_asked_for_in_the_path_over_https),
	    cmocka_unit_test(odd_keys),
	    cmocka_unit_test(listing_query_is_sorted_and_encoded),
	    cmocka_unit_test(loopback),
	};

	return cmocka_run_group_tests_name("s3/url", tests, NULL, NULL);
}
