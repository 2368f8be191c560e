/* Answers of servers, and what they come to. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "s3/etag.h"
#include "s3/response.h"
#include "s3/verdict.h"

static struct scout_s3_response answer(const char *const *lines)
{
	struct scout_s3_response r = {0};

	for (; *lines; lines++)
		assert_true(scout_s3_response_header(&r, *lines, strlen(*lines)));
	return r;
}

#define ANSWER(...) answer((const char *const[]){__VA_ARGS__, NULL})

static void headers(void **state)
{
	struct scout_s3_response r =
	    ANSWER("HTTP/1.1 206 Partial Content\r\n", "ETAG:\"e\"\r\n", "content-length:  10 \r\n",
		   "Content-Range: bytes 5-14/443\r\n", "Retry-After: 7\r\n",
		   "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
		   "Date: Wed, 21 Oct 2015 07:28:10 GMT\r\n", "x-amz-bucket-region: eu-west-1\r\n",
		   "no colon\r\n", "\r\n");

	(void)state;
	assert_int_equal(r.status, 206);
	assert_string_equal(r.etag, "\"e\"");
	assert_true(r.has_length);
	assert_int_equal(r.length, 10);
	assert_true(r.has_range);
	assert_int_equal(r.first, 5);
	assert_int_equal(r.last, 14);
	assert_int_equal(r.total, 443);
	assert_int_equal(r.retry_after_s, 7);
	assert_int_equal(r.modified, 1445412480);
	assert_int_equal(r.date, 1445412490);
	assert_string_equal(r.region, "eu-west-1");
}

static void a_new_status_line_starts_over(void **state)
{
	struct scout_s3_response r = ANSWER("HTTP/1.1 100 Continue\r\n", "ETag: \"old\"\r\n",
					    "Content-Length: 9\r\n", "\r\n", "HTTP/1.1 200 OK\r\n");

	(void)state;
	assert_int_equal(r.status, 200);
	assert_string_equal(r.etag, "");
	assert_false(r.has_length);
}

static void wrong_headers_count_as_absent(void **state)
{
	static const char *const ranges[] = {
	    "Content-Range: bytes 0-9/*",
	    "Content-Range: bytes */443",
	    "Content-Range: bytes 9-0/443",
	    "Content-Range: bytes 0-443/443",
	    "Content-Range: bytes -9/443",
	    "Content-Range: bytes 0-9",
	    "Content-Range: bytes 0-9/443 x",
	    "Content-Range: 0-9/443",
	    "Content-Range: bytes 0-9/99999999999999999999999",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		assert_false(ANSWER("HTTP/1.1 206 x", ranges[i]).has_range);
	assert_false(ANSWER("Content-Length: -1").has_length);
	assert_false(ANSWER("Content-Length: 99999999999999999999").has_length);
	assert_false(ANSWER("Content-Length: 1, 2").has_length);
	assert_int_equal(ANSWER("HTTP/1.1 99999999999 x").status, 0);
	assert_int_equal(ANSWER("HTTP/1.1").status, 0);
	assert_int_equal(ANSWER("Last-Modified: yesterday or so").modified, 0);
	assert_int_equal(ANSWER("Retry-After: Wed, 21 Oct 2015 07:28:00 GMT").retry_after_s, 0);
	assert_string_equal(ANSWER("x-amz-bucket-region: a b\x01").region, "");
	assert_string_equal(ANSWER("ETag: \"a\tb\"").etag, "");
}

static void headers_without_end_are_refused(void **state)
{
	struct scout_s3_response r = {0};
	unsigned taken = 0;

	(void)state;
	while (scout_s3_response_header(&r, "X: 01234567890123456789\r\n", 25))
		assert_in_range(++taken, 0, 10000);
	assert_in_range(taken, 1000, 10000);
}

static void etags(void **state)
{
	char etag[SCOUT_ETAG_MAX], longest[SCOUT_ETAG_MAX];

	(void)state;
	assert_true(scout_s3_etag_copy(etag, " \"a-1\" ", 7));
	assert_string_equal(etag, "\"a-1\"");
	assert_true(scout_s3_etag_copy(etag, "a-1", 3));
	assert_string_equal(etag, "\"a-1\"");
	assert_true(scout_s3_etag_copy(etag, "W/\"a\"", 5));
	assert_string_equal(etag, "W/\"a\"");
	assert_true(scout_s3_etag_is_weak(etag));
	assert_false(scout_s3_etag_is_weak("\"W/\""));
	assert_false(scout_s3_etag_copy(etag, "", 0));
	assert_string_equal(etag, "");
	assert_false(scout_s3_etag_copy(etag, "\"\"", 2));
	assert_false(scout_s3_etag_copy(etag, "a\r\nX: y", 7));
	assert_false(scout_s3_etag_copy(etag, "\"a\"b\"", 5));
	assert_false(scout_s3_etag_copy(etag, "a\0b", 3));
	memset(longest, 'e', sizeof(longest));
	assert_true(scout_s3_etag_copy(etag, longest, SCOUT_ETAG_MAX - 3));
	assert_int_equal(strlen(etag), SCOUT_ETAG_MAX - 1);
	assert_false(scout_s3_etag_copy(etag, longest, SCOUT_ETAG_MAX - 2));
}

static struct scout_s3_response error(int status, const char *body)
{
	struct scout_s3_response r = {.status = status};

	assert_true(scout_s3_response_error(&r, body, strlen(body)));
	return r;
}

static void check_status(int status, const char *body, int err, bool retry, const char *reason)
{
	struct scout_s3_response r = error(status, body);
	struct scout_s3_verdict v;

	scout_s3_judge_status(&r, &v);
	assert_int_equal(v.err, err);
	assert_int_equal(v.retry, retry);
	assert_string_equal(v.reason, reason);
}

static void statuses(void **state)
{
	(void)state;
	check_status(403, "<Error><Code>AccessDenied</Code></Error>", -EACCES, false,
		     "403 AccessDenied");
	check_status(401, "", -EACCES, false, "401");
	check_status(404, "<Error><Code>NoSuchKey</Code></Error>", -ENOENT, false, "404 NoSuchKey");
	check_status(412, "", -ESTALE, false, "412");
	check_status(416, "", -ERANGE, false, "416");
	check_status(400, "<Code>ExpiredToken</Code>", -EACCES, false, "400 ExpiredToken");
	check_status(400, "<Code>RequestTimeout</Code>", -EIO, true, "400 RequestTimeout");
	check_status(400, "<Code>InvalidRequest</Code>", -EIO, false, "400 InvalidRequest");
	check_status(429, "", -EIO, true, "429");
	check_status(500, "<Code>InternalError</Code>", -EIO, true, "500 InternalError");
	check_status(502, "<html>", -EIO, true, "502");
	check_status(503, "<Code>SlowDown</Code>", -EIO, true, "503 SlowDown");
	check_status(504, "", -EIO, true, "504");
	check_status(400, "<Code>SlowDown</Code>", -EIO, true, "400 SlowDown");
	check_status(501, "", -EIO, false, "501");
	check_status(204, "", -EIO, false, "204");
	check_status(404, "<Code>bad\ncode</Code>", -ENOENT, false, "404");
	check_status(404, "<Code>cut", -ENOENT, false, "404");
	check_status(301, "", -EIO, false,
		     "301: redirected (another region or endpoint), not followed");
}

static void a_redirect_names_the_region(void **state)
{
	struct scout_s3_response r =
	    ANSWER("HTTP/1.1 301 Moved Permanently", "x-amz-bucket-region: eu-west-1");
	struct scout_s3_verdict v;

	(void)state;
	scout_s3_judge_status(&r, &v);
	assert_int_equal(v.err, -EIO);
	assert_false(v.retry);
	assert_string_equal(v.reason, "301: the bucket is in region eu-west-1");
}

static void a_wrong_region_is_told_by_a_header_or_the_body(void **state)
{
	struct scout_s3_response moved =
	    ANSWER("HTTP/1.1 301 Moved Permanently", "x-amz-bucket-region: eu-west-1");
	struct scout_s3_response malformed =
	    error(400, "<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>");
	struct scout_s3_response other = error(403, "<Region>eu-west-1</Region>");
	struct scout_s3_response mute = error(301, "<Code>PermanentRedirect</Code>");
	struct scout_s3_response nonsense = error(400, "<Region>a/../b</Region>");
	char region[SCOUT_S3_REGION_MAX];

	(void)state;
	assert_true(scout_s3_is_moved(&moved, "us-east-1", region));
	assert_string_equal(region, "eu-west-1");
	assert_true(scout_s3_is_moved(&malformed, "us-east-1", region));
	assert_string_equal(region, "eu-west-1");
	assert_false(scout_s3_is_moved(&malformed, "eu-west-1", region));
	assert_false(scout_s3_is_moved(&other, "us-east-1", region));
	assert_false(scout_s3_is_moved(&mute, "us-east-1", region));
	assert_false(scout_s3_is_moved(&nonsense, "us-east-1", region));
}

static void asking_to_slow_down(void **state)
{
	struct scout_s3_response r = error(503, "");

	(void)state;
	assert_true(scout_s3_is_slow_down(&r));
	r = error(429, "");
	assert_true(scout_s3_is_slow_down(&r));
	r = error(400, "<Code>SlowDown</Code>");
	assert_true(scout_s3_is_slow_down(&r));
	r = error(500, "<Code>InternalError</Code>");
	assert_false(scout_s3_is_slow_down(&r));
}

static void long_error_bodies_are_bounded(void **state)
{
	struct scout_s3_response r = {.status = 500};
	char block[1024], reason[80];
	unsigned taken = 0;

	(void)state;
	memset(block, 'x', sizeof(block));
	while (scout_s3_response_error(&r, block, sizeof(block)))
		assert_in_range(++taken, 0, 1000);
	assert_int_equal(r.error_len, SCOUT_S3_ERROR_BODY_MAX);
	assert_string_equal(scout_s3_response_reason(&r, reason, sizeof(reason)), "500");
}

struct get {
	uint64_t offset, length, got;
	const char *pinned;
	uint64_t known_bytes;
};

static struct get range(uint64_t offset, uint64_t length)
{
	return (struct get){.offset = offset, .length = length};
}

static struct get rest(uint64_t offset, uint64_t length, uint64_t got, const char *pinned,
		       uint64_t known_bytes)
{
	return (struct get){offset, length, got, pinned, known_bytes};
}

static int judge(struct get g, const char *const *lines)
{
	struct scout_s3_call call = {.op = SCOUT_S3_GET,
				     .offset = g.offset,
				     .length = g.length,
				     .object_bytes = g.known_bytes};
	struct scout_s3_response r = answer(lines);
	struct scout_s3_verdict v;

	scout_s3_judge_get(&call, g.got, g.pinned, &r, &v);
	assert_false(v.retry);
	assert_true((v.err != 0) == (v.reason[0] != '\0'));
	return v.err;
}

#define JUDGE(want, ...) judge(want, (const char *const[]){__VA_ARGS__, NULL})
#define PARTIAL "HTTP/1.1 206 Partial Content"
#define OK "HTTP/1.1 200 OK"

static void ranges_must_be_those_asked_for(void **state)
{
	(void)state;
	assert_int_equal(JUDGE(range(100, 50), PARTIAL, "Content-Range: bytes 100-149/1000"), 0);
	assert_int_equal(JUDGE(range(100, 50), PARTIAL, "Content-Range: bytes 100-120/1000"), 0);
	assert_int_equal(JUDGE(range(100, 50), PARTIAL, "Content-Range: bytes 101-149/1000"), -EIO);
	assert_int_equal(JUDGE(range(100, 50), PARTIAL, "Content-Range: bytes 0-49/1000"), -EIO);
	assert_int_equal(JUDGE(range(100, 50), PARTIAL, "Content-Range: bytes 100-150/1000"), -EIO);
	assert_int_equal(JUDGE(range(100, 50), PARTIAL, "Content-Range: bytes 100-129/130"), -EIO);
	assert_int_equal(JUDGE(range(100, 50), PARTIAL), -EIO);
	assert_int_equal(JUDGE(range(100, 50), PARTIAL, "Content-Range: bytes 100-149/1000",
			       "Content-Length: 49"),
			 -EIO);
	assert_int_equal(
	    JUDGE(rest(100, 50, 20, NULL, 0), PARTIAL, "Content-Range: bytes 100-149/1000"), -EIO);
}

static void a_whole_object_only_answers_a_range_from_its_start(void **state)
{
	(void)state;
	assert_int_equal(JUDGE(range(0, 50), OK, "Content-Length: 50"), 0);
	assert_int_equal(JUDGE(range(0, 50), OK, "Content-Length: 5000"), 0);
	assert_int_equal(JUDGE(range(0, 50), OK, "Content-Length: 49"), -EIO);
	assert_int_equal(JUDGE(range(0, 50), OK), -EIO);
	assert_int_equal(JUDGE(range(1, 49), OK, "Content-Length: 50"), -EIO);
	assert_int_equal(JUDGE(rest(0, 50, 10, NULL, 50), OK, "Content-Length: 50"), -EIO);
}

static void another_object_is_stale(void **state)
{
	const char *span = "Content-Range: bytes 0-49/1000";

	(void)state;
	assert_int_equal(JUDGE(rest(0, 50, 0, "\"a\"", 0), PARTIAL, span, "ETag: \"a\""), 0);
	assert_int_equal(JUDGE(rest(0, 50, 0, "\"a\"", 0), PARTIAL, span, "ETag: W/\"a\""), 0);
	assert_int_equal(JUDGE(rest(0, 50, 0, "\"a\"", 0), PARTIAL, span, "ETag: a"), 0);
	assert_int_equal(JUDGE(rest(0, 50, 0, "\"a\"", 0), PARTIAL, span, "ETag: \"b\""), -ESTALE);
	assert_int_equal(JUDGE(rest(0, 50, 0, "\"a\"", 0), PARTIAL, span), -ESTALE);
	span = "Content-Range: bytes 20-49/1000";
	assert_int_equal(JUDGE(rest(0, 50, 20, "\"a\"", 1000), PARTIAL, span, "ETag: \"a\""), 0);
	assert_int_equal(JUDGE(rest(0, 50, 20, "\"a\"", 999), PARTIAL, span, "ETag: \"a\""),
			 -ESTALE);
}

static void check_curl(CURLcode code, long os_errno, int err, bool retry)
{
	struct scout_s3_verdict v;

	scout_s3_judge_curl(code, os_errno, "", &v);
	assert_int_equal(v.err, err);
	assert_int_equal(v.retry, retry);
	assert_true(v.reason[0] != '\0');
}

static void failures_of_the_network(void **state)
{
	(void)state;
	check_curl(CURLE_COULDNT_RESOLVE_HOST, 0, -EHOSTUNREACH, true);
	check_curl(CURLE_COULDNT_CONNECT, ECONNREFUSED, -ECONNREFUSED, true);
	check_curl(CURLE_COULDNT_CONNECT, ENETUNREACH, -EHOSTUNREACH, true);
	check_curl(CURLE_COULDNT_CONNECT, ETIMEDOUT, -ETIMEDOUT, true);
	check_curl(CURLE_OPERATION_TIMEDOUT, 0, -ETIMEDOUT, true);
	check_curl(CURLE_RECV_ERROR, ECONNRESET, -EIO, true);
	check_curl(CURLE_PARTIAL_FILE, 0, -EIO, true);
	check_curl(CURLE_GOT_NOTHING, 0, -EIO, true);
	check_curl(CURLE_PEER_FAILED_VERIFICATION, 0, -EIO, false);
	check_curl(CURLE_UNSUPPORTED_PROTOCOL, 0, -EIO, false);
	check_curl(CURLE_OUT_OF_MEMORY, 0, -ENOMEM, false);
}

static void skew_is_told_by_the_code_or_the_clock(void **state)
{
	const time_t ours = 1445412480;
	struct scout_s3_response r = error(403, "<Code>RequestTimeTooSkewed</Code>");

	(void)state;
	r.date = ours + 7200;
	assert_true(scout_s3_is_skewed(&r, SCOUT_S3_GET, ours));
	r.date = 0;
	assert_false(scout_s3_is_skewed(&r, SCOUT_S3_GET, ours));
	r = error(403, "");
	r.date = ours - 7200;
	assert_true(scout_s3_is_skewed(&r, SCOUT_S3_HEAD, ours));
	assert_false(scout_s3_is_skewed(&r, SCOUT_S3_GET, ours));
	r.date = ours + 10;
	assert_false(scout_s3_is_skewed(&r, SCOUT_S3_HEAD, ours));
	r.date = ours + 7200;
	r.status = 404;
	assert_false(scout_s3_is_skewed(&r, SCOUT_S3_HEAD, ours));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(headers),
	    cmocka_unit_test(a_new_status_line_starts_over),
	    cmocka_unit_test(wrong_headers_count_as_absent),
	    cmocka_unit_test(headers_without_end_are_refused),
	    cmocka_unit_test(etags),
	    cmocka_unit_test(statuses),
	    cmocka_unit_test(a_redirect_names_the_region),
	    cmocka_unit_test(a_wrong_region_is_told_by_a_header_or_the_body),
	    cmocka_unit_test(asking_to_slow_down),
	    cmocka_unit_test(long_error_bodies_are_bounded),
	    cmocka_unit_test(ranges_must_be_those_asked_for),
	    cmocka_unit_test(a_whole_object_only_answers_a_range_from_its_start),
	    cmocka_unit_test(another_object_is_stale),
	    cmocka_unit_test(failures_of_the_network),
	    cmocka_unit_test(skew_is_told_by_the_code_or_the_clock),
	};

	return cmocka_run_group_tests_name("s3/response", tests, NULL, NULL);
}
