/* What S3 says of multipart uploads: right, broken and hostile; and errors that come after a 200. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "s3/verdict.h"
#include "scoutfs/s3.h"
#include "scoutfs/text.h"

#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define CREATED(body)                                                       \
	"<?xml version=\"1.0\"?><InitiateMultipartUploadResult" NS ">" body \
	"</InitiateMultipartUploadResult>"
#define COMPLETED(body)                                                     \
	"<?xml version=\"1.0\"?><CompleteMultipartUploadResult" NS ">" body \
	"</CompleteMultipartUploadResult>"
#define PAGE(body)                                                       \
	"<?xml version=\"1.0\"?><ListMultipartUploadsResult" NS ">" body \
	"</ListMultipartUploadsResult>"
#define UPLOAD(key, id)                                                                          \
	"<Upload><Key>" key "</Key><UploadId>" id "</UploadId><Initiator><ID>i</ID></Initiator>" \
	"<Owner><ID>o</ID></Owner><Initiated>2009-10-12T17:50:30.000Z</Initiated></Upload>"

static void test_the_id(void **state)
{
	static const char right[] =
	    CREATED("<Bucket>b</Bucket><Key>k</Key><UploadId>2~x</UploadId>");
	static const char *const wrong[] = {
	    "",
	    "<html/>",
	    CREATED("<Key>k</Key>"),
	    CREATED("<UploadId></UploadId>"),
	    CREATED("<a><UploadId>in another</UploadId></a>"),
	    "<!DOCTYPE x [<!ENTITY e \"x\">]>" CREATED("<UploadId>x</UploadId>"),
	    CREATED("<UploadId>x</UploadId>") "and more",
	};
	char *id = NULL;

	(void)state;
	assert_int_equal(scout_s3_parse_upload_id(right, strlen(right), &id), 0);
	assert_string_equal(id, "2~x");
	free(id);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(scout_s3_parse_upload_id(wrong[i], strlen(wrong[i]), &id), -EIO);
}

static bool note(void *arg, const struct scout_s3_upload *u)
{
	scout_text_printf(arg, "%s(%zu) %s %lld\n", u->key, u->key_len, u->id, (long long)u->begun);
	return true;
}

static int parse(const char *xml, struct scout_text *seen, char **key, char **id)
{
	return scout_s3_parse_uploads(xml, strlen(xml), note, seen, key, id);
}

static void test_a_page(void **state)
{
	struct scout_text seen = {0};
	char *key, *id;

	(void)state;
	assert_int_equal(
	    parse(PAGE("<NextKeyMarker>a/b c</NextKeyMarker>"
		       "<NextUploadIdMarker>2</NextUploadIdMarker>"
		       "<IsTruncated>true</IsTruncated>" UPLOAD("a/b c", "1") UPLOAD("a/b c", "2")),
		  &seen, &key, &id),
	    0);
	assert_string_equal(seen.str, "a/b c(5) 1 1255369830\na/b c(5) 2 1255369830\n");
	assert_string_equal(key, "a/b c");
	assert_string_equal(id, "2");
	free(key);
	free(id);
	scout_text_free(&seen);

	assert_int_equal(parse(PAGE("<NextKeyMarker>x</NextKeyMarker>"
				    "<NextUploadIdMarker>1</NextUploadIdMarker>"
				    "<IsTruncated>false</IsTruncated>" UPLOAD("50%", "1")),
			       &seen, &key, &id),
			 0);
	assert_string_equal(seen.str, "50%(3) 1 1255369830\n");
	assert_null(key);
	assert_null(id);
	scout_text_free(&seen);
}

static void test_broken_pages(void **state)
{
	static const char *const wrong[] = {
	    "",
	    PAGE("<IsTruncated>true</IsTruncated>" UPLOAD("k", "1")),
	    PAGE(UPLOAD("", "1")),
	    PAGE(UPLOAD("k", "")),
	    PAGE("<a><b><c><d><e><f><g><h><i><j><k><l><m><n><o><p>"),
	};
	struct scout_text seen = {0};
	char *key, *id;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(parse(wrong[i], &seen, &key, &id), -EIO);
		assert_null(key);
		assert_null(id);
	}
	scout_text_free(&seen);
}

static void judge_late(const char *body, struct scout_s3_verdict *v)
{
	struct scout_s3_response r = {.status = 200};

	assert_true(scout_s3_response_error(&r, body, strlen(body)));
	scout_s3_judge_late_error(&r, v);
}

static void test_an_error_after_a_200(void **state)
{
	struct scout_s3_verdict v;

	(void)state;
	judge_late("<Error><Code>InternalError</Code></Error>", &v);
	assert_int_equal(v.err, -EIO);
	assert_true(v.retry);
	judge_late("<Error><Code>InvalidPart</Code></Error>", &v);
	assert_int_equal(v.err, -EIO);
	assert_false(v.retry);
	judge_late("<Error><Code>QuotaExceeded</Code></Error>", &v);
	assert_int_equal(v.err, -EDQUOT);
	assert_false(v.retry);
	judge_late("<Error><Code>PreconditionFailed</Code></Error>", &v);
	assert_int_equal(v.err, -ESTALE);
	assert_false(v.retry);
	judge_late("<Error><Code>AccessDenied</Code></Error>", &v);
	assert_int_equal(v.err, -EACCES);
	assert_false(v.retry);
	judge_late("<Error><Code>ConditionalRequestConflict</Code></Error>", &v);
	assert_int_equal(v.err, -EIO);
	assert_true(v.retry);
	judge_late("<Error" NS "></Error>", &v);
	assert_int_equal(v.err, -EIO);
	assert_true(v.retry);
}

static void test_a_completion(void **state)
{
	static const struct {
		const char *xml;
		int err;
		bool failed;
	} cases[] = {
	    {COMPLETED("<Bucket>b</Bucket><ETag>\"x-2\"</ETag>"), 0, false},
	    {" \n  " COMPLETED(""), 0, false},
	    {"<CompleteMultipartUploadResult/>", 0, false},
	    {"<Error><Code>InternalError</Code></Error>", 0, true},
	    {"<?xml version=\"1.0\"?>\n  <Error" NS "><Code>InternalError</Code></Error>", 0, true},
	    {COMPLETED("<Error>of a key</Error>"), 0, false},
	    {"", -EIO, false},
	    {"   ", -EIO, false},
	    {"<?xml version=\"1.0\"?>\n  ", -EIO, false},
	    {"<CompleteMultipartUploadResult>", -EIO, false},
	    {"<Error><Code>InternalError</Code>", -EIO, false},
	    {"<html>ok</html>", -EIO, false},
	    {"<x><CompleteMultipartUploadResult/></x>", -EIO, false},
	    {"<!DOCTYPE x>"
	     "<CompleteMultipartUploadResult/>",
	     -EIO, false},
	};
	struct scout_text blanks = {0};
	bool failed;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		failed = false;
		assert_int_equal(
		    scout_s3_parse_completion(cases[i].xml, strlen(cases[i].xml), &failed),
		    cases[i].err);
		assert_int_equal(failed, cases[i].failed);
	}
	/* so many that they would be too long for a field */
	scout_text_printf(&blanks, "<?xml version=\"1.0\"?><CompleteMultipartUploadResult>");
	for (size_t i = 0; i < 20000; i++)
		scout_text_append(&blanks, " ", 1);
	scout_text_printf(&blanks, "</CompleteMultipartUploadResult>");
	assert_int_equal(scout_s3_parse_completion(blanks.str, blanks.len, &failed), 0);
	scout_text_free(&blanks);
}

static void test_no_room(void **state)
{
	static const struct {
		int status;
		const char *code;
		int err;
	} cases[] = {
	    {403, "QuotaExceeded", -EDQUOT},        {507, "XMinioStorageFull", -ENOSPC},
	    {507, "InsufficientCapacity", -ENOSPC}, {400, "EntityTooLarge", -EFBIG},
	    {403, "AccessDenied", -EACCES},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scout_s3_response r = {.status = cases[i].status};
		struct scout_s3_verdict v;
		char body[128];
		int len =
		    snprintf(body, sizeof(body), "<Error><Code>%s</Code></Error>", cases[i].code);

		assert_true(scout_s3_response_error(&r, body, (size_t)len));
		scout_s3_judge_status(&r, &v);
		assert_int_equal(v.err, cases[i].err);
		assert_false(v.retry);
	}
}

/* Of a body of ours that did not come as it should. */
static void test_a_body_that_was_cut(void **state)
{
	static const struct {
		int status;
		const char *code;
		bool retry;
	} cases[] = {
	    {400, "RequestTimeout", true},  {400, "IncompleteBody", true},
	    {408, "RequestTimeout", true},  {408, "", true},
	    {400, "InvalidRequest", false}, {501, "NotImplemented", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scout_s3_response r = {.status = cases[i].status};
		struct scout_s3_verdict v;
		char body[128];
		int len =
		    snprintf(body, sizeof(body), "<Error><Code>%s</Code></Error>", cases[i].code);

		assert_true(scout_s3_response_error(&r, body, (size_t)len));
		scout_s3_judge_status(&r, &v);
		assert_int_equal(v.err, -EIO);
		assert_int_equal(v.retry, cases[i].retry);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_id),
	    cmocka_unit_test(test_a_page),
	    cmocka_unit_test(test_broken_pages),
	    cmocka_unit_test(test_an_error_after_a_200),
	    cmocka_unit_test(test_no_room),
	    cmocka_unit_test(test_a_completion),
	    cmocka_unit_test(test_a_body_that_was_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
