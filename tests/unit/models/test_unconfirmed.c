/* What this mount has removed or replaced, when S3 did not answer the question whether it is so. */
#include "mount.h"

#include <fcntl.h>

#define KEY "m/v1/model.zip"
#define NOBODYS_INO UINT64_C(0xfffffffffffffff1) /* which no file has */

int scout_s3_hash_body(struct scout_s3 *s3, struct scout_s3_call *call, char buf[SCOUT_SHA256_MAX])
{
	(void)s3, (void)call, (void)buf;
	return 0;
}

static void answer(struct scout_s3_call *call)
{
	static const char none[] = "<ListMultipartUploadsResult></ListMultipartUploadsResult>";

	switch (call->op) {
	case SCOUT_S3_UPLOADS:
		(void)call->data(call, none, strlen(none));
		call->done(call, 0);
		break;
	case SCOUT_S3_PUT:
		fake_put(KEY, call->body_bytes);
		call->done(call, 0);
		break;
	case SCOUT_S3_DELETE:
		fake_delete(KEY);
		call->done(call, 0);
		break;
	default:
		fake_answer(call, 100000);
	}
}

static void answer_all(void)
{
	fake_answer_all_by(answer);
}

static void pass_second(void)
{
	atomic_fetch_add(&fake_now, SCOUT_NS_PER_S);
}

static struct asked *ask(int op)
{
	struct asked *a = asked_new(op);

	a->req.task = getpid();
	a->req.user = geteuid();
	a->req.ino = NOBODYS_INO;
	return a;
}

static void expect_size(struct mount *t, int err, uint64_t size)
{
	struct asked *a = ask_getattr(t, KEY);

	answer_all();
	if (!err)
		assert_int_equal(a->attr.size, size);
	expect(a, err);
}

/* An object that the listing tells, and an answer of later, too, if it is asked for. */
static void up(struct mount *t, bool asks)
{
	struct asked *a;

	mount_publishes = 5 * MIB;
	mount_up(t, "", 64 * MIB);
	mount_publishes = 0;
	t->config.models.overwrite = t->config.models.delete = true;
	answer_all();
	fake_put(KEY, 33);
	expect_names(t, "m/v1", "model.zip");
	pass_second();
	if (asks) {
		a = ask_open(t, KEY);
		answer_all();
		assert_int_equal(a->err, 0);
		close_file(t, a);
	}
	expect_size(t, 0, 33);
	pass_second();
}

static void what_was_removed_is_gone(void **state)
{
	struct mount t;
	unsigned heads;

	(void)state;
	for (int asks = 0; asks < 2; asks++) {
		struct asked *gone = ask(-1);

		up(&t, asks);
		t.backend.ops->unlink(t.backend.self, KEY, &gone->req);
		fake.fail[SCOUT_S3_HEAD] = -EIO;
		answer_all();
		expect(gone, 0);
		fake.fail[SCOUT_S3_HEAD] = 0;
		expect_size(&t, -ENOENT, 0);
		expect_names(&t, "m/v1", "");
		/* others may have made it anew: before the next listing S3 is asked */
		pass_second();
		heads = fake.heads;
		expect_size(&t, -ENOENT, 0);
		assert_int_equal(fake.heads, heads + 1);
		fake_put(KEY, 44);
		pass_second();
		expect_size(&t, 0, 44);
		mount_down(&t);
	}
}

static void what_was_replaced_has_its_size(void **state)
{
	static const char bytes[10];
	struct mount t;

	(void)state;
	for (int asks = 0; asks < 2; asks++) {
		struct asked *file = ask(OPEN), *written = ask(-1), *closed = ask(-1);

		up(&t, asks);
		t.backend.ops->open(t.backend.self, KEY, O_WRONLY | O_TRUNC, &file->req);
		answer_all();
		assert_true(asked_is_done(file));
		assert_int_equal(file->err, 0);
		t.backend.ops->write(t.backend.self, file->handle, 0, bytes, sizeof(bytes),
				     &written->req);
		expect(written, 0);
		pass_second();
		t.backend.ops->flush(t.backend.self, file->handle, &closed->req);
		fake.fail[SCOUT_S3_HEAD] = -EIO;
		answer_all();
		expect(closed, 0);
		close_file(&t, file);
		fake.fail[SCOUT_S3_HEAD] = 0;
		assert_int_equal(fake_find(KEY)->bytes, sizeof(bytes));
		expect_size(&t, 0, sizeof(bytes));
		mount_down(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_removed_is_gone),
	    cmocka_unit_test(what_was_replaced_has_its_size),
	};

	return cmocka_run_group_tests_name("models/unconfirmed", tests, NULL, NULL);
}
