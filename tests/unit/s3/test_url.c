/* URLs of keys that are any bytes, in both styles; hosts of access points, of regions, of dual-stack; which
 * endpoints are this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "s3/place.h"
#include "s3/url.h"
#include "scoutfs/config.h"

static void check_url(const char *endpoint, const char *bucket, bool path_style, const char *key,
		      const char *url, const char *host)
{
	struct scout_models_config config = {
	    .endpoint = (char *)(uintptr_t)endpoint,
	    .region = (char[]){"us-east-1"},
	    .bucket = (char *)(uintptr_t)bucket,
	    .path_style = path_style,
	};
	struct scout_s3_place place;
	struct scout_s3_url u;

	assert_int_equal(scout_s3_place_new(&config, NULL, &place), 0);
	assert_int_equal(scout_s3_url_new(&place, key, NULL, 0, &u), 0);
	scout_s3_place_free(&place);
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
	struct scout_models_config config = {.endpoint = (char[]){"http://s3.test"},
					     .region = (char[]){"us-east-1"},
					     .bucket = (char[]){"reg"},
					     .path_style = true};
	struct scout_s3_place place;
	struct scout_s3_url u;

	(void)state;
	assert_int_equal(scout_s3_place_new(&config, NULL, &place), 0);
	assert_int_equal(scout_s3_url_new(&place, NULL, params, 4, &u), 0);
	scout_s3_place_free(&place);
	assert_string_equal(u.query, "continuation-token=1%2B%2F%3D&delimiter=%2F&list-type=2"
				     "&prefix=a%2Fb%20%2B");
	assert_string_equal(strchr(u.url, '?') + 1, u.query);
	scout_s3_url_free(&u);
}

/* Where bucket is, as the config says or, with moved_to, as an endpoint then said. */
static void check_place(const char *endpoint, const char *region, const char *bucket,
			bool dual_stack, const char *moved_to, const char *url,
			const char *signed_for)
{
	struct scout_models_config config = {
	    .endpoint = (char *)(uintptr_t)endpoint,
	    .region = (char *)(uintptr_t)region,
	    .bucket = (char *)(uintptr_t)bucket,
	    .dual_stack = dual_stack,
	};
	struct scout_s3_place place;
	struct scout_s3_url u;

	assert_int_equal(scout_s3_place_new(&config, moved_to, &place), 0);
	assert_int_equal(scout_s3_url_new(&place, "k", NULL, 0, &u), 0);
	assert_string_equal(u.url, url);
	assert_string_equal(place.region, signed_for);
	scout_s3_url_free(&u);
	scout_s3_place_free(&place);
}

#define AWS "https://s3.us-east-1.amazonaws.com"
#define POINT "arn:aws:s3:eu-west-1:123456789012:accesspoint/models"

static void access_points(void **state)
{
	(void)state;
	check_place(AWS, "us-east-1", POINT, false, NULL,
		    "https://models-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/k",
		    "eu-west-1");
	check_place(
	    AWS, "us-east-1", POINT, true, NULL,
	    "https://models-123456789012.s3-accesspoint.dualstack.eu-west-1.amazonaws.com/k",
	    "eu-west-1");
	check_place("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1",
		    "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:models", false, NULL,
		    "https://models-123456789012.s3-accesspoint.cn-north-1.amazonaws.com.cn/k",
		    "cn-north-1");
	check_place("http://s3.test:1", "us-east-1", POINT, false, NULL,
		    "http://models-123456789012.s3.test:1/k", "eu-west-1");
	check_place("https://s3.eu-north-1.amazonaws.com", "us-east-1", POINT, false, NULL,
		    "https://models-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/k",
		    "eu-west-1");
	/* an alias is a bucket's name like any other */
	check_place(AWS, "us-east-1", "models-abc-s3alias", false, NULL,
		    "https://models-abc-s3alias.s3.us-east-1.amazonaws.com/k", "us-east-1");
}

static void dual_stack(void **state)
{
	(void)state;
	check_place(AWS, "us-east-1", "reg", true, NULL,
		    "https://reg.s3.dualstack.us-east-1.amazonaws.com/k", "us-east-1");
	check_place("https://s3.dualstack.us-east-1.amazonaws.com", "us-east-1", "reg", true, NULL,
		    "https://reg.s3.dualstack.us-east-1.amazonaws.com/k", "us-east-1");
	check_place(AWS, "us-east-1", "my.reg", true, NULL,
		    "https://s3.dualstack.us-east-1.amazonaws.com/my.reg/k", "us-east-1");
}

static void another_region_moves_awss_host_and_no_other(void **state)
{
	(void)state;
	check_place(AWS, "us-east-1", "reg", false, "eu-west-1",
		    "https://reg.s3.eu-west-1.amazonaws.com/k", "eu-west-1");
	check_place(AWS, "us-east-1", "reg", true, "eu-west-1",
		    "https://reg.s3.dualstack.eu-west-1.amazonaws.com/k", "eu-west-1");
	check_place("https://s3.amazonaws.com", "us-east-1", "reg", false, "eu-west-1",
		    "https://reg.s3.eu-west-1.amazonaws.com/k", "eu-west-1");
	check_place("https://s3.eu-north-1.amazonaws.com", "us-east-1", "reg", false, "eu-west-1",
		    "https://reg.s3.eu-west-1.amazonaws.com/k", "eu-west-1");
	check_place("https://S3.dualstack.cn-north-1.amazonaws.com.cn", "us-east-1", "reg", false,
		    "cn-northwest-1", "https://reg.s3.cn-northwest-1.amazonaws.com.cn/k",
		    "cn-northwest-1");
	check_place("https://s3.amazonaws.com.lan", "us-east-1", "reg", false, "eu-west-1",
		    "https://reg.s3.amazonaws.com.lan/k", "eu-west-1");
	check_place("http://s3.test:1", "us-east-1", "reg", false, "eu-west-1",
		    "http://reg.s3.test:1/k", "eu-west-1");
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
	    cmocka_unit_test(access_points),
	    cmocka_unit_test(dual_stack),
	    cmocka_unit_test(another_region_moves_awss_host_and_no_other),
	    cmocka_unit_test(loopback),
	};

	return cmocka_run_group_tests_name("s3/url", tests, NULL, NULL);
}
