/* Uploads that nobody ended: when they are looked for, what is shown of them, and when they are aborted. */
#include "mount.h"

#include "scoutfs/text.h"

#define HOUR_S 3600
#define DAY_S (24 * HOUR_S)

int scout_s3_hash_body(struct scout_s3 *s3, struct scout_s3_call *call, char buf[SCOUT_SHA256_MAX])
{
	(void)s3, (void)call, (void)buf;
	return 0;
}

/* The registry's uploads under way, and what it was asked. */
static struct {
	struct upload {
		const char *key;
		time_t begun;
		bool gone;
	} uploads[4];
	int err, abort_err;
	bool cut; /* there is a page more */
	unsigned looks, aborts;
} reg;

static time_t wall_s(void)
{
	return (time_t)(scout_wall_ns() / SCOUT_NS_PER_S);
}

static void list_uploads(struct scout_s3_call *call)
{
	struct scout_text xml = {0};
	char when[64];
	struct tm tm;

	scout_text_printf(&xml, "<ListMultipartUploadsResult>");
	for (const struct upload *u = reg.uploads; u->key; u++) {
		if (u->gone)
			continue;
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&u->begun, &tm));
		scout_text_printf(&xml,
				  "<Upload><Key>%s</Key><UploadId>id of %s</UploadId>"
				  "<Initiated>%s</Initiated></Upload>",
				  u->key, u->key, when);
	}
	if (reg.cut)
		scout_text_printf(&xml, "<IsTruncated>true</IsTruncated>"
					"<NextKeyMarker>z</NextKeyMarker>"
					"<NextUploadIdMarker>z</NextUploadIdMarker>");
	scout_text_printf(&xml, "</ListMultipartUploadsResult>");
	call->date = wall_s();
	(void)call->data(call, xml.str, xml.len);
	scout_text_free(&xml);
}

static void answer(struct scout_s3_call *call)
{
	if (call->op == SCOUT_S3_UPLOADS) {
		reg.looks++;
		if (!reg.err)
			list_uploads(call);
		call->done(call, reg.err);
	} else if (call->op == SCOUT_S3_ABORT) {
		reg.aborts++;
		for (struct upload *u = reg.uploads; u->key && !reg.abort_err; u++)
			u->gone |= strcmp(u->key, call->key) == 0;
		call->done(call, reg.abort_err);
	} else {
		fake_answer(call, 100000);
	}
}

static void answer_all(void)
{
	fake_answer_all_by(answer);
}

static void pass(uint64_t seconds)
{
	atomic_fetch_add(&fake_now, seconds * SCOUT_NS_PER_S);
	answer_all();
}

/* One upload is there, begun so long ago. */
static void up(struct mount *t, time_t age_s)
{
	memset(&reg, 0, sizeof(reg));
	reg.uploads[0] = (struct upload){.key = "a/model.zip", .begun = wall_s() - age_s};
	mount_publishes = 5 * MIB;
	mount_up(t, "", 64 * MIB);
	mount_publishes = 0;
	t->config.models.abort_uploads_after_ns = DAY_S * SCOUT_NS_PER_S;
}

static bool status_says(struct mount *t, const char *line)
{
	struct scout_text text = {0};
	bool says;

	t->backend.ops->status(t->backend.self, &text);
	says = strstr(text.str, line) != NULL;
	scout_text_free(&text);
	return says;
}

static void they_are_aborted_though_nobody_publishes(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 60);
	answer_all();
	assert_int_equal(reg.looks, 1);
	for (unsigned hour = 1; hour < 24; hour++) {
		pass(HOUR_S);
		assert_int_equal(reg.looks, 1 + hour);
	}
	assert_int_equal(reg.aborts, 0);
	pass(HOUR_S);
	assert_int_equal(reg.aborts, 1);
	assert_true(reg.uploads[0].gone);
	assert_true(status_says(&t, "aborted    1 that nobody ended"));
	assert_false(status_says(&t, "unended"));
	mount_down(&t);
}

static void after_a_failure_it_looks_again_soon(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 60);
	reg.err = -EIO; /* 503 */
	answer_all();
	assert_int_equal(reg.looks, 1);
	pass(30);
	assert_int_equal(reg.looks, 1);
	reg.err = 0;
	pass(30);
	assert_int_equal(reg.looks, 2);
	assert_true(status_says(&t, "unended    a/model.zip, begun 2m "));
	pass(HOUR_S - 1);
	assert_int_equal(reg.looks, 2);
	pass(1);
	assert_int_equal(reg.looks, 3);
	mount_down(&t);
}

static void what_was_found_is_shown_until_more_is_known(void **state)
{
	struct scout_s3_call *call;
	struct mount t;

	(void)state;
	up(&t, 60);
	answer_all();
	assert_true(status_says(&t, "unended    a/model.zip"));

	/* while it is under way, and when its second page fails */
	atomic_fetch_add(&fake_now, HOUR_S * SCOUT_NS_PER_S);
	assert_int_equal(fake_queued(), 1);
	assert_true(status_says(&t, "unended    a/model.zip"));
	reg.uploads[0].key = "b/model.zip";
	reg.cut = true;
	answer(fake_take(false));
	assert_true(status_says(&t, "unended    a/model.zip"));
	assert_false(status_says(&t, "unended    b/model.zip"));
	call = fake_take(false);
	assert_string_equal(call->start_after, "z");
	call->done(call, -EIO);
	assert_true(status_says(&t, "unended    a/model.zip"));
	assert_false(status_says(&t, "unended    b/model.zip"));

	reg.cut = false;
	pass(60);
	assert_false(status_says(&t, "unended    a/model.zip"));
	assert_true(status_says(&t, "unended    b/model.zip"));
	reg.uploads[0].gone = true;
	pass(HOUR_S);
	assert_false(status_says(&t, "unended"));
	mount_down(&t);
}

static void one_that_cannot_be_aborted_is_shown(void **state)
{
	struct mount t;

	(void)state;
	up(&t, DAY_S);
	reg.abort_err = -EACCES;
	answer_all();
	assert_int_equal(reg.aborts, 1);
	assert_true(status_says(&t, "unended    a/model.zip, begun "));
	assert_false(status_says(&t, "aborted"));
	reg.abort_err = 0;
	pass(HOUR_S);
	assert_int_equal(reg.aborts, 2);
	assert_false(status_says(&t, "unended"));
	assert_true(status_says(&t, "aborted    1 that nobody ended"));

	/* another was faster */
	reg.uploads[0].gone = false;
	reg.abort_err = -ENOENT;
	pass(HOUR_S);
	assert_int_equal(reg.aborts, 3);
	assert_false(status_says(&t, "unended"));
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(they_are_aborted_though_nobody_publishes),
	    cmocka_unit_test(after_a_failure_it_looks_again_soon),
	    cmocka_unit_test(what_was_found_is_shown_until_more_is_known),
	    cmocka_unit_test(one_that_cannot_be_aborted_is_shown),
	};

	return cmocka_run_group_tests_name("models/leftovers", tests, NULL, NULL);
}
