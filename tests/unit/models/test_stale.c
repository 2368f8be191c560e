/* Answers of before a change: what is asked after it, or decides on it, does not hear them. */
#include "mount.h"

#include "models/question.h"

#define LONG_MS 100 /* no answer is shared for that long */

static void later(uint64_t ms)
{
	atomic_fetch_add(&fake_now, ms * SCOUT_NS_PER_MS);
}

static void up(struct mount *t)
{
	mount_publishes = 5 * MIB;
	mount_up(t, "", 64 * MIB);
	mount_publishes = 0;
	t->config.models.delete = true;
	fake_answer_all();
	later(LONG_MS);
}

struct heard {
	struct scout_asker asker;
	unsigned times;
	int err;
	enum scout_answer_kind kind;
	uint64_t bytes;
};

static void hear(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct heard *h = (struct heard *)a;

	h->times++;
	h->err = err;
	h->kind = err ? SCOUT_MISSING : answer->kind;
	h->bytes = err ? 0 : answer->bytes;
}

static void ask(struct mount *t, enum scout_question_kind kind, const char *path, struct heard *h)
{
	*h = (struct heard){.asker.answered = hear};
	scout_question_ask(t->models, kind, path, &h->asker);
}

static void expect_heard(const struct heard *h, enum scout_answer_kind kind)
{
	assert_int_equal(h->times, 1);
	assert_int_equal(h->err, 0);
	assert_int_equal(h->kind, kind);
}

static struct scout_s3_call *take(enum scout_s3_op op)
{
	struct scout_s3_call *call = fake_take(false);

	assert_non_null(call);
	assert_int_equal(call->op, op);
	return call;
}

static void answer(enum scout_s3_op op)
{
	fake_answer(take(op), 100000);
}

/* A question about a name whose LIST is answered: the HEAD, which is not. */
static struct scout_s3_call *ask_half(struct mount *t, const char *path, struct heard *h)
{
	ask(t, SCOUT_ASK_NAME, path, h);
	answer(SCOUT_S3_LIST);
	return take(SCOUT_S3_HEAD);
}

static void answer_delete(struct scout_s3_call *call)
{
	assert_int_equal(call->op, SCOUT_S3_DELETE);
	fake_delete(call->key);
	call->done(call, 0);
}

static struct asked *ask_rmdir(struct mount *t, const char *path)
{
	struct asked *a = asked_new(-1);

	t->backend.ops->rmdir(t->backend.self, path, &a->req);
	return a;
}

static struct asked *ask_unlink(struct mount *t, const char *path)
{
	struct asked *a = asked_new(-1);

	t->backend.ops->unlink(t->backend.self, path, &a->req);
	return a;
}

static void expect_known(struct mount *t, const char *path, enum scout_answer_kind kind)
{
	struct scout_answer known;

	assert_true(scout_question_known(t->models, path, 0, &known));
	assert_int_equal(known.kind, kind);
}

static void expect_unknown(struct mount *t, const char *path)
{
	struct scout_answer known;

	assert_false(scout_question_known(t->models, path, 0, &known));
}

/* Somebody looked at the folder while its marker was removed. */
static void rmdir_beside_a_look(void **state)
{
	struct scout_s3_call *marker, *head;
	struct heard look;
	struct asked *a;
	struct mount t;

	(void)state;
	for (int looks_longer = 0; looks_longer < 2; looks_longer++) {
		up(&t);
		fake_put("x/", 0);
		a = ask_rmdir(&t, "x");
		answer(SCOUT_S3_LIST);
		answer(SCOUT_S3_HEAD);
		marker = take(SCOUT_S3_DELETE);
		later(LONG_MS);
		head = ask_half(&t, "x", &look);
		later(1);
		answer_delete(marker);
		if (!looks_longer)
			fake_answer(head, 1);
		fake_answer_all();
		if (looks_longer)
			fake_answer(head, 1);
		expect(a, 0);
		assert_int_equal(look.times, 1);
		assert_int_equal(look.kind, looks_longer ? SCOUT_MISSING : SCOUT_DIR);
		expect_known(&t, "x", SCOUT_MISSING);
		mount_down(&t);
	}
}

/* Or was told of it before the last object in it was gone. */
static void rmdir_after_a_look(void **state)
{
	struct scout_s3_call *head;
	struct heard look;
	struct asked *a;
	struct mount t;

	(void)state;
	up(&t);
	fake_put("x/f", 5);
	head = ask_half(&t, "x", &look);
	fake_delete("x/f");
	later(1);
	a = ask_rmdir(&t, "x");
	assert_int_equal(fake_queued(), 2);
	fake_answer(head, 1);
	expect_heard(&look, SCOUT_DIR);
	fake_answer_all();
	expect(a, 0);
	mount_down(&t);
}

/* Of a folder that is told by the LIST of another nobody knows whether it is empty. */
static void rmdir_beside_a_look_at_the_parent(void **state)
{
	struct scout_s3_call *head;
	struct heard look;
	struct asked *a;
	struct mount t;

	(void)state;
	up(&t);
	fake_put("a/x/", 0);
	a = ask_rmdir(&t, "a/x");
	answer(SCOUT_S3_LIST);
	head = take(SCOUT_S3_HEAD);
	later(1);
	ask(&t, SCOUT_ASK_NAME, "a", &look);
	answer(SCOUT_S3_LIST);
	answer(SCOUT_S3_HEAD);
	expect_heard(&look, SCOUT_DIR);
	expect_known(&t, "a/x", SCOUT_DIR);
	fake_answer(head, 1);
	answer_delete(take(SCOUT_S3_DELETE));
	fake_answer_all();
	expect(a, 0);
	mount_down(&t);
}

/* Nor are the folders on the way to it there again by what their own LIST told before. */
static void unlink_beside_a_look(void **state)
{
	struct scout_s3_call *object, *head;
	struct heard look, again;
	struct asked *a;
	struct mount t;

	(void)state;
	up(&t);
	fake_put("a/x/f", 5);
	a = ask_unlink(&t, "a/x/f");
	object = take(SCOUT_S3_DELETE);
	head = ask_half(&t, "a", &look);
	later(1);
	answer_delete(object);
	fake_answer(head, 1);
	expect_heard(&look, SCOUT_DIR);
	expect_unknown(&t, "a");
	expect_unknown(&t, "a/x");
	expect_unknown(&t, "a/x/f");
	fake_answer_all();
	expect(a, 0);
	ask(&t, SCOUT_ASK_NAME, "a/x", &again);
	fake_answer_all();
	expect_heard(&again, SCOUT_MISSING);
	mount_down(&t);
}

/* Who wants an answer that is sent after he asked has it of the question that others began meanwhile, or of his
 * own. */
static void who_waits_for_a_later_one(void **state)
{
	struct heard first, waits, newer;
	struct scout_s3_call *head;
	struct mount t;

	(void)state;
	for (int others = 0; others < 2; others++) {
		up(&t);
		fake_put("f", 5);
		ask(&t, SCOUT_ASK_OBJECT, "f", &first);
		ask(&t, SCOUT_ASK_ANEW, "f", &waits);
		head = take(SCOUT_S3_HEAD);
		assert_int_equal(fake_headers(head), 0);
		fake_put("f", 7);
		later(1);
		scout_question_drop(t.models, "f");
		if (others)
			ask(&t, SCOUT_ASK_OBJECT, "f", &newer);
		assert_int_equal(fake_queued(), others);
		head->done(head, 0);
		expect_heard(&first, SCOUT_FILE);
		assert_int_equal(first.bytes, 5);
		expect_unknown(&t, "f");
		assert_int_equal(waits.times, 0);
		assert_int_equal(fake_queued(), 1);
		fake_answer_all();
		expect_heard(&waits, SCOUT_FILE);
		assert_int_equal(waits.bytes, 7);
		if (others)
			assert_int_equal(newer.bytes, 7);
		expect_known(&t, "f", SCOUT_FILE);
		mount_down(&t);
	}
}

/* Overwritten by others, and refreshed, while it was asked for. */
static void refreshed_beside_a_look(void **state)
{
	static const enum scout_question_kind kinds[] = {SCOUT_ASK_NAME, SCOUT_ASK_OBJECT};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct heard before, after;
		struct scout_s3_call *head;
		struct mount t;

		up(&t);
		fake_put("m/f", 5);
		ask(&t, kinds[i], "m/f", &before);
		if (kinds[i] == SCOUT_ASK_NAME)
			answer(SCOUT_S3_LIST);
		head = take(SCOUT_S3_HEAD);
		assert_int_equal(fake_headers(head), 0);
		fake_put("m/f", 7);
		t.backend.ops->refresh(t.backend.self);
		ask(&t, kinds[i], "m/f", &after);
		head->done(head, 0);
		expect_heard(&before, SCOUT_FILE);
		assert_int_equal(before.bytes, 5);
		expect_unknown(&t, "m/f");
		assert_int_equal(after.times, 0);
		fake_answer_all();
		expect_heard(&after, SCOUT_FILE);
		assert_int_equal(after.bytes, 7);
		expect_known(&t, "m/f", SCOUT_FILE);
		mount_down(&t);
	}
}

/* The end of the mount is one for all of them. */
static void stale_ones_end_with_the_mount(void **state)
{
	struct heard first, waits, newer;
	struct mount t;

	(void)state;
	up(&t);
	ask(&t, SCOUT_ASK_OBJECT, "f", &first);
	ask(&t, SCOUT_ASK_ANEW, "f", &waits);
	scout_question_drop(t.models, "f");
	ask(&t, SCOUT_ASK_OBJECT, "f", &newer);
	mount_stop(&t);
	assert_int_equal(first.err, -ESHUTDOWN);
	assert_int_equal(waits.err, -ESHUTDOWN);
	assert_int_equal(newer.err, -ESHUTDOWN);
	assert_int_equal(first.times + waits.times + newer.times, 3);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rmdir_beside_a_look),
	    cmocka_unit_test(rmdir_after_a_look),
	    cmocka_unit_test(rmdir_beside_a_look_at_the_parent),
	    cmocka_unit_test(unlink_beside_a_look),
	    cmocka_unit_test(who_waits_for_a_later_one),
	    cmocka_unit_test(refreshed_beside_a_look),
	    cmocka_unit_test(stale_ones_end_with_the_mount),
	};

	return cmocka_run_group_tests_name("models/stale", tests, NULL, NULL);
}
