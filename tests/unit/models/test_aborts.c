/* Uploads that failed and whose ABORT failed, too: it is sent again soon, and what is left is shown. */
#include "writer.h"

#include "scoutfs/text.h"

#define HOUR_S 3600
#define AGAIN_S 2 /* the clock's pauses are all as the first one */
#define TRIES 6

static bool listed; /* the upload is in the registry's list */

static void answer_look(struct scout_s3_call *call)
{
	static const char xml[] = "<ListMultipartUploadsResult><Upload><Key>" KEY "</Key>"
				  "<UploadId>id-1</UploadId><Initiated>2023-11-14T00:00:00.000Z"
				  "</Initiated></Upload></ListMultipartUploadsResult>";

	if (call->op != SCOUT_S3_UPLOADS || !listed) {
		answer(call);
		return;
	}
	(void)call->data(call, xml, strlen(xml));
	call->done(call, 0);
}

static void pass(uint64_t seconds)
{
	atomic_fetch_add(&fake_now, seconds * SCOUT_NS_PER_S);
	fake_answer_all_by(answer_look);
}

/* How many lines of the status hold line. */
static unsigned status_says(struct mount *t, const char *line)
{
	struct scout_text text = {0};
	unsigned lines = 0;

	t->backend.ops->status(t->backend.self, &text);
	for (const char *at = text.str; (at = strstr(at, line)); at++)
		lines++;
	scout_text_free(&text);
	return lines;
}

/* Its part and its ABORT failed; the close waited for no other. */
static void fail_one(struct mount *t, int abort_err)
{
	struct writer w = begin(t);

	listed = false;
	write_bytes(&w, PART + 1);
	reg.part_err = -EDQUOT;
	reg.abort_err = abort_err;
	answer_all();
	finish(&w, -EDQUOT);
	assert_int_equal(reg.aborts, 1);
	expect_no_memory(t);
}

static void it_is_sent_again(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 128 * MIB);
	fail_one(&t, -EIO);
	assert_int_equal(status_says(&t, "unended    " KEY ", begun "), 1);
	pass(AGAIN_S - 1);
	assert_int_equal(reg.aborts, 1);
	pass(1);
	assert_int_equal(reg.aborts, 2);
	assert_int_equal(status_says(&t, "unended    "), 1);
	reg.abort_err = 0;
	pass(AGAIN_S);
	assert_int_equal(reg.aborts, 3);
	assert_int_equal(status_says(&t, "unended"), 0);
	assert_int_equal(status_says(&t, "aborted    1 that nobody ended"), 1);
	pass(HOUR_S);
	assert_int_equal(reg.aborts, 3);
	mount_down(&t);
}

/* Within about a minute. */
static void a_few_times(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 128 * MIB);
	fake_paused_ns = 0;
	fail_one(&t, -ETIMEDOUT);
	for (unsigned i = 0; i < 3 * TRIES; i++)
		pass(AGAIN_S);
	assert_int_equal(reg.aborts, 1 + TRIES);
	assert_in_range(fake_paused_ns, 50 * SCOUT_NS_PER_S, 80 * SCOUT_NS_PER_S);
	assert_int_equal(status_says(&t, "unended    " KEY), 1);
	assert_int_equal(status_says(&t, "aborted"), 0);
	pass(HOUR_S); /* the look finds none */
	assert_int_equal(status_says(&t, "unended"), 0);
	mount_down(&t);
}

static void another_was_faster(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 128 * MIB);
	fail_one(&t, -EIO);
	reg.abort_err = -ENOENT;
	pass(AGAIN_S);
	assert_int_equal(reg.aborts, 2);
	assert_int_equal(status_says(&t, "unended"), 0);
	assert_int_equal(status_says(&t, "aborted"), 0);
	mount_down(&t);

	up(&t, 128 * MIB);
	fail_one(&t, -ENOENT);
	pass(AGAIN_S);
	assert_int_equal(reg.aborts, 1);
	assert_int_equal(status_says(&t, "unended"), 0);
	mount_down(&t);
}

/* It is not asked again, but shown. */
static void who_may_not_abort(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 128 * MIB);
	fail_one(&t, -EACCES);
	assert_int_equal(status_says(&t, "unended    " KEY), 1);
	pass(HOUR_S / 2);
	assert_int_equal(reg.aborts, 1);
	mount_down(&t);
}

static void a_look_meanwhile(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 128 * MIB);
	pass(HOUR_S - 1);
	fail_one(&t, -EIO);
	listed = true;
	pass(1);
	assert_int_equal(reg.aborts, 1);
	assert_int_equal(status_says(&t, "unended    " KEY), 1);
	pass(AGAIN_S);
	assert_int_equal(reg.aborts, 2);
	assert_int_equal(status_says(&t, "unended    " KEY), 1);
	mount_down(&t);
}

static void many_of_them(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 128 * MIB);
	for (int i = 0; i < 30; i++) {
		reg.aborts = reg.part_err = 0;
		fail_one(&t, -EIO);
	}
	assert_int_equal(status_says(&t, "unended    " KEY), 20);
	assert_int_equal(status_says(&t, "and 10 more unended"), 1);
	reg.abort_err = 0;
	pass(AGAIN_S);
	assert_int_equal(reg.aborts, 1 + 30);
	assert_int_equal(status_says(&t, "unended"), 0);
	assert_int_equal(status_says(&t, "aborted    30 that nobody ended"), 1);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_sent_again),   cmocka_unit_test(a_few_times),
	    cmocka_unit_test(another_was_faster), cmocka_unit_test(who_may_not_abort),
	    cmocka_unit_test(a_look_meanwhile),   cmocka_unit_test(many_of_them),
	};

	return cmocka_run_group_tests_name("models/aborts", tests, NULL, NULL);
}
