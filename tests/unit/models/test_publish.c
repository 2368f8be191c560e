/* Publishing over a registry in memory: what is sent, in which order, and what comes of each answer. */
#include "mount.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "models/part.h"

#define PART (5 * MIB)
#define NOBODYS_INO UINT64_C(0xfffffffffffffff1) /* which no file has */
#define KEY "m/v1/model.zip"

int scout_s3_hash_body(struct scout_s3 *s3, struct scout_s3_call *call, char buf[SCOUT_SHA256_MAX])
{
	(void)s3, (void)call, (void)buf;
	return 0;
}

/* What the registry answers to requests that change it, and what it was asked. */
static struct {
	int put_err, create_err, part_err, complete_err, abort_err;
	unsigned puts, creates, parts, completes, aborts;
	bool condition;  /* the last request that would make an object said: only a new one */
	uint64_t stored; /* bytes */
} reg;

/* The body, read in pieces of any size, is that of KEY from at on. */
static void look_at_body(struct scout_s3_call *call, uint64_t at, uint64_t most)
{
	static char bytes[100001];
	uint64_t end = most < call->body_bytes ? most : call->body_bytes;

	for (uint64_t offset = 0; offset < end;) {
		size_t n = call->body(call, offset, bytes, sizeof(bytes));

		assert_true(n > 0 && n <= sizeof(bytes) && n <= call->body_bytes - offset);
		assert_int_equal(fake_right((const uint8_t *)bytes, KEY, 0, at + offset, n), n);
		offset += n;
	}
}

static void create(struct scout_s3_call *call)
{
	static const char xml[] = "<InitiateMultipartUploadResult><UploadId>id-1</UploadId>"
				  "</InitiateMultipartUploadResult>";

	reg.creates++;
	if (!reg.create_err)
		assert_true(call->data(call, xml, strlen(xml)));
	call->done(call, reg.create_err);
}

static void take_part(struct scout_s3_call *call)
{
	uint64_t at = (call->part - 1) * (uint64_t)PART;

	reg.parts++;
	assert_string_equal(call->upload_id, "id-1");
	/* an attempt that was cut, and the next one, which begins anew */
	look_at_body(call, at, PART / 2);
	look_at_body(call, at, PART);
	reg.stored += call->body_bytes;
	snprintf(call->etag, sizeof(call->etag), "\"part%u\"", call->part);
	call->done(call, reg.part_err);
}

static void complete(struct scout_s3_call *call)
{
	char xml[4096];
	size_t n = call->body(call, 0, xml, sizeof(xml) - 1);
	const char *at = xml;

	assert_int_equal(n, call->body_bytes);
	xml[n] = '\0';
	reg.completes++;
	reg.condition = call->if_none_match;
	for (unsigned part = 1; part <= reg.parts; part++) {
		char want[100];

		snprintf(want, sizeof(want), "<PartNumber>%u</PartNumber><ETag>\"part%u\"", part,
			 part);
		at = strstr(at, want);
		assert_non_null(at);
	}
	if (!reg.complete_err) {
		fake_put(KEY, reg.stored);
		(void)call->data(call, "", 0);
	}
	call->done(call, reg.complete_err);
}

static void put(struct scout_s3_call *call)
{
	reg.puts++;
	reg.condition = call->if_none_match;
	look_at_body(call, 0, UINT64_MAX);
	if (!reg.put_err)
		fake_put(KEY, call->body_bytes);
	call->done(call, reg.put_err);
}

static void answer(struct scout_s3_call *call)
{
	static const char none[] = "<ListMultipartUploadsResult></ListMultipartUploadsResult>";

	switch (call->op) {
	case SCOUT_S3_PUT:
		put(call);
		break;
	case SCOUT_S3_CREATE:
		create(call);
		break;
	case SCOUT_S3_PART:
		take_part(call);
		break;
	case SCOUT_S3_COMPLETE:
		complete(call);
		break;
	case SCOUT_S3_ABORT:
		assert_string_equal(call->upload_id, "id-1");
		reg.aborts++;
		call->done(call, reg.abort_err);
		break;
	case SCOUT_S3_UPLOADS:
		(void)call->data(call, none, strlen(none));
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

/* So many calls wait, all of op. */
static void expect_queued(size_t count, enum scout_s3_op op)
{
	struct scout_s3_call *call;

	assert_int_equal(fake_queued(), count);
	TAILQ_FOREACH (call, &fake.queue, link)
		assert_int_equal(call->op, op);
}

/* ---- the writer ---- */

struct writer {
	struct mount *t;
	struct asked *file;
	uint64_t at;
};

static struct asked *ask(int op)
{
	struct asked *a = asked_new(op);

	a->req.task = getpid();
	a->req.user = geteuid();
	a->req.ino = NOBODYS_INO;
	return a;
}

static void up(struct mount *t, size_t memory)
{
	memset(&reg, 0, sizeof(reg));
	mount_publishes = PART;
	mount_up(t, "", memory);
	mount_publishes = 0;
	answer_all();
}

static struct writer begin(struct mount *t)
{
	struct writer w = {.t = t, .file = ask(OPEN)};

	t->backend.ops->create(t->backend.self, KEY, 0644, O_WRONLY | O_CREAT, &w.file->req);
	answer_all();
	assert_true(asked_is_done(w.file));
	assert_int_equal(w.file->err, 0);
	return w;
}

/* The next size bytes, at most SCOUT_WRITE_MAX. */
static struct asked *ask_write(struct writer *w, size_t size)
{
	static uint8_t bytes[SCOUT_WRITE_MAX];
	struct asked *a = ask(-1);

	fake_bytes(bytes, KEY, 0, w->at, size);
	w->t->backend.ops->write(w->t->backend.self, w->file->handle, w->at, bytes, size, &a->req);
	w->at += size;
	return a;
}

/* Writes, which needs no answer of the registry. */
static void write_bytes(struct writer *w, uint64_t size)
{
	while (size > 0) {
		size_t n = size < SCOUT_WRITE_MAX ? (size_t)size : SCOUT_WRITE_MAX;

		expect(ask_write(w, n), 0);
		size -= n;
	}
}

static struct asked *ask_flush(struct writer *w)
{
	struct asked *a = ask(-1);

	w->t->backend.ops->flush(w->t->backend.self, w->file->handle, &a->req);
	return a;
}

static void end(struct writer *w)
{
	close_file(w->t, w->file);
	answer_all();
}

/* Closes it, which ends with err. */
static void finish(struct writer *w, int err)
{
	struct asked *a = ask_flush(w);

	answer_all();
	expect(a, err);
	end(w);
}

static void expect_size(struct mount *t, int err, uint64_t size)
{
	struct asked *a = ask_getattr(t, KEY);

	answer_all();
	if (!err)
		assert_int_equal(a->attr.size, size);
	expect(a, err);
}

/* All memory is back but for what is read ahead, and that is nothing here. */
static void expect_no_memory(struct mount *t)
{
	struct scout_budget_stats stats;

	scout_budget_stats(t->budget, &stats);
	assert_int_equal(stats.used_bytes, 0);
}

/* ---- tests ---- */

static void a_small_one_is_one_put(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	write_bytes(&w, 1000);
	expect_queued(0, SCOUT_S3_PUT);
	expect_size(&t, 0, 1000); /* as it is written */
	finish(&w, 0);
	assert_int_equal(reg.puts, 1);
	assert_true(reg.condition);
	assert_int_equal(reg.creates + reg.parts, 0);
	assert_int_equal(fake_find(KEY)->bytes, 1000);
	expect_size(&t, 0, 1000);
	expect_no_memory(&t);
	mount_down(&t);
}

static void an_empty_one(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	finish(&w, 0);
	assert_int_equal(reg.puts, 1);
	assert_int_equal(fake_find(KEY)->bytes, 0);
	mount_down(&t);
}

static void parts_go_side_by_side(void **state)
{
	struct scout_s3_call *first;
	struct asked *closed;
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART);
	expect_queued(0, SCOUT_S3_CREATE); /* it may be all of it */
	write_bytes(&w, 2 * PART + 1);
	expect_queued(1, SCOUT_S3_CREATE);
	answer(fake_take(false));
	expect_queued(3, SCOUT_S3_PART);
	first = fake_take(false);
	answer_all(); /* the first one is the last to be there */
	closed = ask_flush(&w);
	expect_queued(1, SCOUT_S3_PART);
	answer_all();
	assert_false(asked_is_done(closed));
	answer(first);
	answer_all();
	expect(closed, 0);
	end(&w);
	assert_int_equal(reg.parts, 4);
	assert_int_equal(reg.completes, 1);
	assert_true(reg.condition);
	assert_int_equal(reg.puts + reg.aborts, 0);
	expect_size(&t, 0, 3 * PART + 1);
	expect_no_memory(&t);
	mount_down(&t);
}

static void a_failure_aborts(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, 2 * PART + 1);
	reg.part_err = -EIO;
	answer_all();
	assert_int_equal(reg.aborts, 1);
	expect_no_memory(&t);
	expect(ask_write(&w, 1), -EIO);
	finish(&w, -EIO);
	assert_int_equal(reg.completes, 0);
	assert_int_equal(reg.aborts, 1);
	expect_size(&t, -ENOENT, 0);
	/* the name is free */
	reg.part_err = 0;
	w = begin(&t);
	write_bytes(&w, 7);
	finish(&w, 0);
	expect_size(&t, 0, 7);
	mount_down(&t);
}

static void an_upload_that_cannot_begin(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART + 1);
	reg.create_err = -EACCES;
	answer_all();
	finish(&w, -EACCES);
	assert_int_equal(reg.aborts + reg.parts, 0); /* there is nothing to abort */
	expect_no_memory(&t);
	mount_down(&t);
}

static void an_abort_that_fails(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART + 1);
	reg.part_err = -EDQUOT;
	reg.abort_err = -EIO;
	answer_all();
	finish(&w, -EDQUOT);
	assert_int_equal(reg.aborts, 1); /* once: what is left is found by its age */
	expect_no_memory(&t);
	w = begin(&t);
	finish(&w, 0);
	mount_down(&t);
}

/* Who is told by close that it failed finds no parts; the error is the first one. */
static void a_failed_close_waits_for_the_abort(void **state)
{
	struct asked *closed;
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART + 1);
	answer(fake_take(false));
	closed = ask_flush(&w);
	reg.part_err = -EDQUOT;
	reg.abort_err = -EIO;
	while (!reg.aborts && fake_queued() > 0) {
		assert_false(asked_is_done(closed));
		answer(fake_take(false));
	}
	expect(closed, -EDQUOT);
	assert_int_equal(reg.aborts, 1);
	end(&w);
	expect_no_memory(&t);

	/* of a server that does not answer nobody expects it */
	reg.part_err = -ETIMEDOUT;
	w = begin(&t);
	write_bytes(&w, PART + 1);
	answer(fake_take(false));
	closed = ask_flush(&w);
	answer(fake_take(false));
	expect(closed, -ETIMEDOUT);
	assert_int_equal(reg.aborts, 1);
	end(&w);
	assert_int_equal(reg.aborts, 2);
	mount_down(&t);
}

static void another_s_object_stays(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, 10);
	reg.put_err = -EEXIST; /* the condition's answer */
	finish(&w, -EEXIST);
	assert_int_equal(reg.puts, 1);
	assert_true(reg.condition);

	w = begin(&t);
	write_bytes(&w, PART + 1);
	reg.complete_err = -EEXIST;
	finish(&w, -EEXIST);
	assert_int_equal(reg.completes, 1);
	assert_true(reg.condition);
	assert_int_equal(reg.aborts, 1);
	expect_no_memory(&t);
	mount_down(&t);
}

/* One that came meanwhile, where the server knows no conditions: looked for before COMPLETE. */
static void another_s_object_that_is_seen(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART + 1);
	answer_all();
	fake_put(KEY, 33);
	finish(&w, -EEXIST);
	assert_int_equal(reg.completes, 0);
	assert_int_equal(reg.aborts, 1);
	assert_int_equal(fake_find(KEY)->bytes, 33);
	mount_down(&t);
}

static void the_last_of_two_descriptors_publishes(void **state)
{
	char path[] = "/tmp/scoutfs-test-XXXXXX";
	int other = mkstemp(path);
	struct stat st;
	struct asked *a;
	struct mount t;
	struct writer w;

	(void)state;
	assert_true(other >= 0 && fstat(other, &st) == 0);
	up(&t, 64 * MIB);
	w = begin(&t);
	write_bytes(&w, 10);
	a = ask(-1);
	a->req.ino = st.st_ino; /* somebody has a file of this number open for writing */
	t.backend.ops->flush(t.backend.self, w.file->handle, &a->req);
	expect(a, 0);
	expect_queued(0, SCOUT_S3_PUT);
	write_bytes(&w, 10);
	close(other);
	finish(&w, 0);
	assert_int_equal(reg.puts, 1);
	expect_size(&t, 0, 20);
	unlink(path);
	mount_down(&t);
}

static void a_name_has_one_writer(void **state)
{
	struct mount t;
	struct asked *a;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	a = ask(OPEN);
	t.backend.ops->create(t.backend.self, KEY, 0644, O_WRONLY | O_CREAT, &a->req);
	answer_all();
	expect(a, -EBUSY);
	finish(&w, 0);
	mount_down(&t);
}

/* While S3 is asked whether it may be written, and until that is published, the name is the older object's. */
static void what_is_there_is_seen_until_it_is_replaced(void **state)
{
	struct asked *seen, *refused = ask(OPEN);
	struct writer w = {.file = ask(OPEN)};
	struct mount t;

	(void)state;
	up(&t, 64 * MIB);
	w.t = &t;
	fake_put(KEY, 33);
	t.backend.ops->create(t.backend.self, KEY, 0644, O_WRONLY | O_CREAT, &refused->req);
	seen = ask_getattr(&t, KEY);
	answer_all();
	assert_int_equal(seen->attr.size, 33);
	expect(seen, 0);
	expect(refused, -EEXIST);

	t.config.models.overwrite = true;
	atomic_fetch_add(&fake_now, SCOUT_NS_PER_S); /* it is asked anew */
	t.backend.ops->open(t.backend.self, KEY, O_WRONLY | O_TRUNC, &w.file->req);
	seen = ask_getattr(&t, KEY);
	answer_all();
	assert_int_equal(seen->attr.size, 33);
	expect(seen, 0);
	assert_true(asked_is_done(w.file));
	assert_int_equal(w.file->err, 0);
	write_bytes(&w, 10);
	expect_size(&t, 0, 33);
	finish(&w, 0);
	expect_size(&t, 0, 10);
	mount_down(&t);
}

/* Memory holds a few parts: who writes more waits until one of them is there. */
static void memory_is_bounded(void **state)
{
	struct scout_budget_stats stats;
	struct asked *a = NULL;
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	for (uint64_t written = 0; written < 64 * MIB; written += SCOUT_WRITE_MAX) {
		a = ask_write(&w, SCOUT_WRITE_MAX);
		if (!asked_is_done(a))
			break;
		asked_free(a);
		a = NULL;
	}
	assert_non_null(a); /* it had to wait */
	scout_budget_stats(t.budget, &stats);
	assert_in_range(stats.used_bytes, PART, 64 * MIB / 4);
	expect_queued(1, SCOUT_S3_CREATE);
	answer(fake_take(false));
	assert_false(asked_is_done(a));
	answer(fake_take(false)); /* one part is with S3 */
	expect(a, 0);
	finish(&w, 0);
	expect_size(&t, 0, w.at);
	expect_no_memory(&t);
	mount_down(&t);
}

/* Ctrl-C in close: while parts are under way nothing is published… */
static void interrupted_before_the_last_request(void **state)
{
	struct asked *closed;
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART + 1);
	closed = ask_flush(&w);
	atomic_store(&closed->req.unwanted, true);
	answer_all();
	expect(closed, -EINTR);
	end(&w);
	assert_int_equal(reg.completes, 0);
	assert_int_equal(reg.aborts, 1);
	expect_size(&t, -ENOENT, 0);
	expect_no_memory(&t);
	mount_down(&t);
}

/* …and the last request is not taken back: whatever comes of it is known here. */
static void interrupted_in_the_last_request(void **state)
{
	struct asked *closed;
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, 10);
	closed = ask_flush(&w);
	expect_queued(1, SCOUT_S3_PUT);
	atomic_store(&closed->req.unwanted, true);
	answer_all();
	asked_free(closed);
	end(&w);
	assert_int_equal(reg.puts, 1);
	expect_size(&t, 0, 10);
	expect_no_memory(&t);
	mount_down(&t);
}

static void what_failed_waits_for_no_look_and_no_put(void **state)
{
	struct scout_s3_call *call;
	struct scout_upload *u;
	struct asked *closed;
	struct mount t;
	struct writer w;

	(void)state;
	for (int looks = 0; looks < 2; looks++) {
		up(&t, 64 * MIB);
		atomic_store(&t.models->publisher->unconditional, looks);
		w = begin(&t);
		write_bytes(&w, 10);
		closed = ask_flush(&w);
		call = fake_take(false);
		u = (struct scout_upload *)((char *)w.file->handle - 1);
		scout_lock(&u->lock);
		scout_upload_fail_locked(u, -EIO, "told by the test");
		scout_unlock(&u->lock);
		scout_upload_run(u);
		assert_true(call->cancelled);
		call->done(call, -ECANCELED);
		expect(closed, -EIO);
		end(&w);
		mount_down(&t);
	}
}

static void the_end_of_the_mount(void **state)
{
	struct mount t;
	struct asked *closed;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	write_bytes(&w, 10);
	mount_stop(&t);
	closed = ask_flush(&w);
	expect(closed, -ESHUTDOWN);
	close_file(&t, w.file);
	assert_int_equal(reg.puts, 0);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_small_one_is_one_put),
	    cmocka_unit_test(an_empty_one),
	    cmocka_unit_test(parts_go_side_by_side),
	    cmocka_unit_test(a_failure_aborts),
	    cmocka_unit_test(an_upload_that_cannot_begin),
	    cmocka_unit_test(an_abort_that_fails),
	    cmocka_unit_test(a_failed_close_waits_for_the_abort),
	    cmocka_unit_test(another_s_object_stays),
	    cmocka_unit_test(another_s_object_that_is_seen),
	    cmocka_unit_test(the_last_of_two_descriptors_publishes),
	    cmocka_unit_test(a_name_has_one_writer),
	    cmocka_unit_test(what_is_there_is_seen_until_it_is_replaced),
	    cmocka_unit_test(memory_is_bounded),
	    cmocka_unit_test(interrupted_before_the_last_request),
	    cmocka_unit_test(interrupted_in_the_last_request),
	    cmocka_unit_test(what_failed_waits_for_no_look_and_no_put),
	    cmocka_unit_test(the_end_of_the_mount),
	};

	return cmocka_run_group_tests_name("models/publish", tests, NULL, NULL);
}
