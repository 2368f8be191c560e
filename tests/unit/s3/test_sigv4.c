/* AWS's own test vectors: the Signature Version 4 test suite (the signatures of its GETs) and the
 * examples of the S3 API reference's "Authenticating Requests: Using the Authorization Header". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "s3/sigv4.h"
#include "s3/url.h"
#include "scoutfs/text.h"

#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* The test suite's request: host and date are signed, and the token when there is one. */
static void check_suite(const char *path, const struct scout_s3_param *params, size_t n,
			const char *token, const char *signature)
{
	struct scout_sigv4_header headers[3] = {
	    {"host", "example.amazonaws.com"},
	    {"x-amz-date", "20150830T123600Z"},
	    {"x-amz-security-token", token},
	};
	struct scout_sigv4_scope scope = {
	    .access_key_id = "AKIDEXAMPLE",
	    .secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
	    .region = "us-east-1",
	    .service = "service",
	    .date = "20150830T123600Z",
	};
	struct scout_text encoded = {0}, query = {0}, expected = {0};
	struct scout_sigv4_request request = {
	    .method = "GET",
	    .headers = headers,
	    .nheaders = token ? 3 : 2,
	    .payload_sha256 = SCOUT_SIGV4_EMPTY_SHA256,
	};
	char *value = NULL;

	scout_s3_encode(&encoded, path, true);
	scout_s3_query(&query, params, n);
	request.path = encoded.str;
	request.query = query.str ? query.str : "";
	assert_int_equal(scout_sigv4_sign(&request, &scope, &value), 0);
	scout_text_printf(&expected,
			  "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/"
			  "aws4_request, SignedHeaders=host;x-amz-date%s, Signature=%s",
			  token ? ";x-amz-security-token" : "", signature);
	assert_string_equal(value, expected.str);
	free(value);
	scout_text_free(&encoded);
	scout_text_free(&query);
	scout_text_free(&expected);
}

static void suite_paths(void **state)
{
	(void)state;
	/* get-vanilla */
	check_suite("/", NULL, 0, NULL,
		    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	/* get-unreserved */
	check_suite("/" UNRESERVED, NULL, 0, NULL,
		    "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f");
	/* get-utf8 */
	check_suite("/\u1234", NULL, 0, NULL,
		    "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
	/* get-space-unnormalized */
	check_suite("/example space/", NULL, 0, NULL,
		    "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741");
	/* get-slashes-unnormalized */
	check_suite("//example//", NULL, 0, NULL,
		    "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5");
	/* get-relative-relative-unnormalized */
	check_suite("/example1/example2/../..", NULL, 0, NULL,
		    "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b");
}

static void suite_queries(void **state)
{
	const struct scout_s3_param key_case[] = {{"Param2", "value2"}, {"Param1", "value1"}};
	const struct scout_s3_param unreserved[] = {{UNRESERVED, UNRESERVED}};
	const struct scout_s3_param utf8[] = {{"\u1234", "bar"}};
	const struct scout_s3_param encoded[] = {
	    {"Param-3", "Value3"}, {"Param", "Value2"}, {"\u1234", "Value1"}};

	(void)state;
	/* get-vanilla-query-order-key-case */
	check_suite("/", key_case, 2, NULL,
		    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
	/* get-vanilla-query-unreserved */
	check_suite("/", unreserved, 1, NULL,
		    "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197");
	/* get-vanilla-utf8-query */
	check_suite("/", utf8, 1, NULL,
		    "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04");
	/* get-vanilla-query-order-encoded */
	check_suite("/", encoded, 3, NULL,
		    "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac");
}

static void suite_session_token(void **state)
{
	(void)state;
	/* get-vanilla-with-session-token */
	check_suite("/", NULL, 0,
		    "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
		    "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8");
}

static void check_s3(const char *path, const char *query, const char *range, const char *signature)
{
	struct scout_sigv4_header headers[4];
	struct scout_sigv4_scope scope = {
	    .access_key_id = "AKIAIOSFODNN7EXAMPLE",
	    .secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	    .region = "us-east-1",
	    .service = "s3",
	    .date = "20130524T000000Z",
	};
	struct scout_sigv4_request request = {
	    .method = "GET",
	    .path = path,
	    .query = query,
	    .headers = headers,
	    .payload_sha256 = SCOUT_SIGV4_EMPTY_SHA256,
	};
	char *value = NULL;
	size_t n = 0;

	headers[n++] = (struct scout_sigv4_header){"host", "examplebucket.s3.amazonaws.com"};
	if (range)
		headers[n++] = (struct scout_sigv4_header){"range", range};
	headers[n++] =
	    (struct scout_sigv4_header){"x-amz-content-sha256", SCOUT_SIGV4_EMPTY_SHA256};
	headers[n++] = (struct scout_sigv4_header){"x-amz-date", "20130524T000000Z"};
	request.nheaders = n;
	assert_int_equal(scout_sigv4_sign(&request, &scope, &value), 0);
	assert_non_null(strstr(value, "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"));
	assert_string_equal(strstr(value, "Signature=") + strlen("Signature="), signature);
	free(value);
}

static void s3_examples(void **state)
{
	(void)state;
	/* GET Object */
	check_s3("/test.txt", "", "bytes=0-9",
		 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	/* GET Bucket Lifecycle */
	check_s3("/", "lifecycle=", NULL,
		 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	/* Get Bucket (List Objects) */
	check_s3("/", "max-keys=2&prefix=J", NULL,
		 "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void dates(void **state)
{
	char date[SCOUT_SIGV4_DATE_MAX];

	(void)state;
	scout_sigv4_date(date, 1369353600);
	assert_string_equal(date, "20130524T000000Z");
	scout_sigv4_date(date, 1440938160);
	assert_string_equal(date, "20150830T123600Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(suite_paths),
	    cmocka_unit_test(suite_queries),
	    cmocka_unit_test(suite_session_token),
	    cmocka_unit_test(s3_examples),
	    cmocka_unit_test(dates),
	};

	return cmocka_run_group_tests_name("s3/sigv4", tests, NULL, NULL);
}
