/* Answers of who hands out keys, honest and hostile; command lines; endpoints that may be asked. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "s3/answer.h"
#include "s3/command.h"
#include "s3/metadata.h"
#include "s3/source.h"

#define GOOD                                                                          \
	"\"Code\":\"Success\",\"AccessKeyId\":\"AKIA\",\"SecretAccessKey\":\"s/+=\"," \
	"\"Token\":\"t==\",\"Expiration\":\"2030-01-02T03:04:05Z\""
#define GOOD_AT 1893553445

static char reason[SCOUT_S3_REASON_MAX];

static void check(struct scout_s3_answer *a, const char *token, int64_t expires_s)
{
	assert_string_equal(a->access_key_id, "AKIA");
	assert_string_equal(a->secret_access_key, "s/+=");
	if (token)
		assert_string_equal(a->session_token, token);
	else
		assert_null(a->session_token);
	assert_int_equal(a->expires_s, expires_s);
	scout_s3_answer_free(a);
}

static void refused(const char *json, enum scout_s3_json_kind kind, const char *words)
{
	struct scout_s3_answer a = {0};

	assert_int_equal(scout_s3_parse_json(json, strlen(json), kind, &a, reason), -EINVAL);
	if (!strstr(reason, words))
		fail_msg("\"%s\" lacks \"%s\"", reason, words);
	assert_null(a.access_key_id);
}

static void metadata_is_read(void **state)
{
	static const char json[] = "{\"RoleArn\":\"x\"," GOOD ",\"more\":[1,{}]}";
	struct scout_s3_answer a = {0};

	(void)state;
	assert_int_equal(scout_s3_parse_json(json, strlen(json), SCOUT_JSON_METADATA, &a, reason),
			 0);
	check(&a, "t==", GOOD_AT);
}

static void a_process_may_give_keys_for_ever(void **state)
{
	static const char json[] =
	    "{\"Version\":1,\"AccessKeyId\":\"AKIA\",\"SecretAccessKey\":\"s\\/+=\"}\n";
	struct scout_s3_answer a = {0};

	(void)state;
	assert_int_equal(scout_s3_parse_json(json, strlen(json), SCOUT_JSON_PROCESS, &a, reason),
			 0);
	check(&a, NULL, 0);
}

static void bad_json_is_refused(void **state)
{
	(void)state;
	refused("", SCOUT_JSON_METADATA, "not a JSON object");
	refused("[" GOOD "]", SCOUT_JSON_METADATA, "not a JSON object");
	refused("{" GOOD, SCOUT_JSON_METADATA, "not a JSON object");
	refused("\""
		"text\"",
		SCOUT_JSON_METADATA, "not a JSON object");
	refused("{\"Code\":\"Failed\",\"Message\":\"no\\u000aluck\"}", SCOUT_JSON_METADATA,
		"Failed: no\\x0aluck");
	refused("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\"}", SCOUT_JSON_METADATA,
		"no Expiration");
	refused("{\"AccessKeyId\":1,\"SecretAccessKey\":\"s\"}", SCOUT_JSON_METADATA,
		"AccessKeyId");
	refused("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":null}", SCOUT_JSON_METADATA,
		"SecretAccessKey");
	refused("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":\"soon\"}",
		SCOUT_JSON_METADATA, "Expiration");
	refused("{" GOOD "}", SCOUT_JSON_PROCESS, "Version");
	refused("{\"Version\":2," GOOD "}", SCOUT_JSON_PROCESS, "Version");
	refused("{\"Version\":\"1\"," GOOD "}", SCOUT_JSON_PROCESS, "Version");
}

static void nesting_is_bounded(void **state)
{
	char json[20001];

	(void)state;
	memset(json, '[', 10000);
	memset(json + 10000, ']', 10000);
	json[20000] = '\0';
	refused(json, SCOUT_JSON_METADATA, "not a JSON object");
}

static void times(void **state)
{
	static const struct {
		const char *text;
		int64_t at;
	} good[] = {
	    {"2030-01-02T03:04:05Z", GOOD_AT},
	    {"2030-01-02T03:04:05.123456Z", GOOD_AT},
	    {"2030-01-02T05:04:05+02:00", GOOD_AT},
	    {"2030-01-01T22:34:05-0430", GOOD_AT},
	};
	static const char *const bad[] = {"",
					  "2030-01-02",
					  "2030-01-02T03:04:05",
					  "2030-01-02T03:04:05Zx",
					  "2030-01-02T03:04:05+02:00x",
					  "2030-13-02T03:04:05Z",
					  "2030-01-02T03:04:05+x"};
	int64_t at;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_true(scout_s3_parse_time(good[i].text, &at));
		assert_int_equal(at, good[i].at);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(scout_s3_parse_time(bad[i], &at));
}

static void expired_keys_are_refused(void **state)
{
	static const char json[] = "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\","
				   "\"Expiration\":\"1970-01-01T00:00:00Z\"}";
	struct scout_s3_credentials *c = NULL;
	struct scout_s3_answer a = {0};

	(void)state;
	assert_int_equal(scout_s3_parse_json(json, strlen(json), SCOUT_JSON_METADATA, &a, reason),
			 0);
	assert_int_equal(scout_s3_credentials_new(&a, "x", &c, reason), -EINVAL);
	assert_non_null(strstr(reason, "expired"));
	assert_null(a.access_key_id);
}

#define STS_HEAD                                                                   \
	"<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">" \
	"<AssumeRoleResult><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials>"
#define STS_TAIL "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
#define STS_KEYS                                                                 \
	"<AccessKeyId>AKIA</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey>" \
	"<SessionToken>t==</SessionToken>"
#define STS_END "<Expiration>2030-01-02T03:04:05Z</Expiration>"

static void sts_refused(const char *xml, const char *words)
{
	struct scout_s3_answer a = {0};

	assert_int_equal(scout_s3_parse_sts(xml, strlen(xml), &a, reason), -EINVAL);
	if (!strstr(reason, words))
		fail_msg("\"%s\" lacks \"%s\"", reason, words);
	assert_null(a.access_key_id);
}

static void sts_is_read(void **state)
{
	static const char xml[] = STS_HEAD STS_KEYS STS_END STS_TAIL;
	struct scout_s3_answer a = {0};

	(void)state;
	assert_int_equal(scout_s3_parse_sts(xml, strlen(xml), &a, reason), 0);
	check(&a, "t==", GOOD_AT);
}

static void bad_xml_is_refused(void **state)
{
	char *huge = malloc(40000);

	(void)state;
	sts_refused("", "not STS's XML");
	sts_refused("{}", "not STS's XML");
	sts_refused(STS_HEAD STS_KEYS STS_END, "not STS's XML");
	sts_refused(STS_HEAD STS_KEYS STS_TAIL, "no whole credentials");
	sts_refused(STS_HEAD STS_END STS_TAIL, "no whole credentials");
	sts_refused(STS_HEAD STS_KEYS "<Expiration>x</Expiration>" STS_TAIL,
		    "no whole credentials");
	sts_refused("<!DOCTYPE a [<!ENTITY x \"y\">]>" STS_HEAD STS_KEYS STS_END STS_TAIL,
		    "not STS's XML");
	sts_refused("<a>" STS_KEYS STS_END "</a>", "no whole credentials");
	sts_refused(STS_HEAD "<AccessKeyId><x/></AccessKeyId>" STS_TAIL, "not STS's XML");
	sts_refused("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
		    "<Message>not allowed</Message></Error></ErrorResponse>",
		    "AccessDenied: not allowed");
	assert_non_null(huge);
	snprintf(huge, 40000, STS_HEAD "<SessionToken>%030000d</SessionToken>" STS_TAIL, 0);
	sts_refused(huge, "not STS's XML");
	free(huge);
}

static void split_is(const char *line, const char *const words[], size_t n)
{
	char **argv;

	assert_int_equal(scout_s3_command_split(line, &argv), 0);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(argv[i], words[i]);
	assert_null(argv[n]);
	free(argv);
}

static void commands_are_split(void **state)
{
	char **argv;

	(void)state;
	split_is("  a\tb  c ", (const char *const[]){"a", "b", "c"}, 3);
	split_is("'a b' \"c 'd\" e\\ f", (const char *const[]){"a b", "c 'd", "e f"}, 3);
	split_is("a'b'\"c\" '' \"\\\"\\\\\\n\"", (const char *const[]){"abc", "", "\"\\\\n"}, 3);
	split_is("a $HOME * ; `b`", (const char *const[]){"a", "$HOME", "*", ";", "`b`"}, 5);
	split_is("a 'b\\'", (const char *const[]){"a", "b\\"}, 2);
	assert_int_equal(scout_s3_command_split("", &argv), -EINVAL);
	assert_int_equal(scout_s3_command_split("''", &argv), -EINVAL);
	assert_int_equal(scout_s3_command_split("a 'b", &argv), -EINVAL);
	assert_int_equal(scout_s3_command_split("a \\", &argv), -EINVAL);
}

static void commands_that_fail(void **state)
{
	static const struct {
		const char *command, *words;
	} cases[] = {
	    {"sh -c 'echo secret >&2; exit 3'", "exit status 3"},
	    {"sh -c 'kill -9 $$'", "ended by signal 9"},
	    {"sh -c 'head -c 70000 /dev/zero; exec sleep 60'", "it prints more than"},
	    {"true", "not a JSON object"},
	    {"/nonexistent/command", "No such file"},
	    {"'", "a quote too many"},
	    {"bin/keys", "neither an absolute path"},
	    {"cat", "not a JSON object"}, /* nothing to read */
	};
	struct scout_s3_asking asking = {.stop_fd = -1};
	struct scout_s3_answer a = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(scout_s3_ask_process(cases[i].command, &asking, &a), -EACCES);
		if (!strstr(asking.reason, cases[i].words))
			fail_msg("\"%s\" lacks \"%s\"", asking.reason, cases[i].words);
		assert_null(strstr(asking.reason, "secret"));
	}
}

static void a_command_that_leaves_a_child_behind(void **state)
{
	struct scout_s3_asking asking = {.stop_fd = -1};
	struct scout_s3_answer a = {0};

	(void)state;
	/* the child has our pipe, too, and is not waited for */
	assert_int_equal(
	    scout_s3_ask_process("sh -c 'sleep 2 & echo \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":"
				 "\\\"AKIA\\\",\\\"SecretAccessKey\\\":\\\"s/+=\\\"}\"'",
				 &asking, &a),
	    0);
	check(&a, NULL, 0);
}

static void who_may_be_asked_over_http(void **state)
{
	static const char *const good[] = {"http://127.0.0.1:8080/x",
					   "http://localhost/x",
					   "http://[::1]/x",
					   "http://169.254.170.2/v2/x",
					   "http://169.254.170.23/v1/credentials",
					   "http://[fd00:ec2::23]/v1/credentials",
					   "https://example.com/x"};
	static const char *const bad[] = {"http://example.com/x",
					  "http://169.254.169.254/x",
					  "http://127.0.0.1.example.com/x",
					  "http://127.0.0.1@example.com/x",
					  "http://user@127.0.0.1/x",
					  "http://localhost.example.com/",
					  "ftp://127.0.0.1/x",
					  "file:///etc/passwd",
					  "/v2/x",
					  ""};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(scout_s3_container_uri_allowed(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(scout_s3_container_uri_allowed(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(metadata_is_read),
	    cmocka_unit_test(a_process_may_give_keys_for_ever),
	    cmocka_unit_test(bad_json_is_refused),
	    cmocka_unit_test(nesting_is_bounded),
	    cmocka_unit_test(times),
	    cmocka_unit_test(expired_keys_are_refused),
	    cmocka_unit_test(sts_is_read),
	    cmocka_unit_test(bad_xml_is_refused),
	    cmocka_unit_test(commands_are_split),
	    cmocka_unit_test(commands_that_fail),
	    cmocka_unit_test(a_command_that_leaves_a_child_behind),
	    cmocka_unit_test(who_may_be_asked_over_http),
	};

	return cmocka_run_group_tests_name("s3/answer", tests, NULL, NULL);
}
