/* The first bytes, asked for beside the question of an open: whose they become, and when they do not. */
#include "mount.h"

#include "models/first.h"

#define KEY "a/v1/model.zip"

/* A mount that has listed KEY, and its calls for the open that follows. */
struct rig {
	struct mount t;
	struct asked *open;
	struct scout_s3_call *head, *get;
};

static void rig_up(struct rig *r, uint64_t bytes)
{
	mount_up(&r->t, "", 16 * MIB);
	fake_put(KEY, bytes);
	free(names_of(&r->t, ""));
}

static void rig_open(struct rig *r)
{
	r->open = ask_open(&r->t, KEY);
	r->get = fake_take(false);
	r->head = fake_take(false);
	assert_non_null(r->head);
	assert_int_equal(r->get->op, SCOUT_S3_GET);
	assert_int_equal(r->head->op, SCOUT_S3_HEAD);
	assert_null(fake_take(false));
}

static void rig_down(struct rig *r)
{
	if (r->open->err == 0)
		close_file(&r->t, r->open);
	else
		asked_free(r->open);
	mount_down(&r->t);
}

/* Its first MiB's bytes are those of version, and so many GETs were needed. */
static void expect_start(struct rig *r, unsigned version, size_t size, unsigned gets)
{
	struct asked *a;

	assert_true(asked_is_done(r->open));
	assert_int_equal(r->open->err, 0);
	for (size_t at = 0; at < size; at += 100000) {
		size_t len = size - at < 100000 ? size - at : 100000;

		/* not in order: nobody who reads on */
		a = ask_read(&r->t, r->open, size - at - len, len);
		fake_answer_all();
		expect_bytes(a, KEY, version, size - at - len, len);
	}
	assert_int_equal(fake.gets, gets);
}

static void either_is_first(void **state)
{
	static const uint64_t sizes[] = {1, 262144, 262145, MIB - 1, MIB, MIB + 1, 3 * MIB};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t size = sizes[i / 2], first = size < MIB ? size : MIB;
		struct rig r;

		rig_up(&r, size);
		rig_open(&r);
		assert_int_equal(r.get->offset, 0);
		assert_int_equal(r.get->length, first);
		fake_answer(i % 2 ? r.head : r.get, 100000);
		assert_int_equal(r.open->done, i % 2);
		fake_answer(i % 2 ? r.get : r.head, 100000);
		expect_start(&r, 0, first, 1);
		assert_int_equal(fake.bytes, first);
		rig_down(&r);
	}
}

/* A reader waits for its bytes, not for all that were asked for. */
static void read_as_they_come(void **state)
{
	struct rig r;
	struct asked *a;

	(void)state;
	rig_up(&r, 3 * MIB);
	rig_open(&r);
	assert_int_equal(fake_headers(r.get), 0);
	assert_true(fake_send(r.get, 0, 5000, 5000));
	fake_answer(r.head, 1);
	expect_bytes(ask_read(&r.t, r.open, 0, 4096), KEY, 0, 0, 4096);
	a = ask_read(&r.t, r.open, 4096, 200000);
	assert_false(a->done);
	assert_true(fake_send(r.get, 5000, 200000, 77777));
	expect_bytes(a, KEY, 0, 4096, 200000);
	/* cut: it is asked for by whoever reads it next */
	r.get->done(r.get, -EIO);
	expect_start(&r, 0, MIB, 4); /* a block each */
	rig_down(&r);
}

static void not_asked(void **state)
{
	struct rig r;
	struct asked *more;

	(void)state;
	rig_up(&r, 2 * MIB);
	rig_open(&r);
	more = ask_open(&r.t, KEY);
	assert_int_equal(fake_queued(), 0); /* it waits for a HEAD sent after it came */
	fake_answer(r.head, 1);
	fake_answer(r.get, 100000);
	fake_answer_all();
	assert_int_equal(more->err, 0);
	close_file(&r.t, more);
	/* all of it is here */
	close_file(&r.t, must_open(&r.t, KEY));
	assert_int_equal(fake.gets, 1);
	/* an empty one, a folder, and what nobody has heard of */
	fake_put("empty", 0);
	r.t.backend.ops->refresh(r.t.backend.self);
	free(names_of(&r.t, ""));
	close_file(&r.t, must_open(&r.t, "empty"));
	more = ask_open(&r.t, "a");
	fake_answer_all();
	expect(more, -ENOENT);
	fake_put("new", 5);
	close_file(&r.t, must_open(&r.t, "new"));
	assert_int_equal(fake.gets, 1);
	rig_down(&r);
}

/* A MiB each, of what follows the first, and 16 at most. */
static void the_rest_is_expected(void **state)
{
	static const struct {
		uint64_t bytes;
		unsigned expected;
	} rows[] = {
	    {MIB, 0}, {MIB + 1, 1}, {3 * MIB, 2}, {17 * MIB, 16}, {1000 * MIB, 16},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;

		rig_up(&r, rows[i].bytes);
		fake.expected = 0;
		rig_open(&r);
		assert_int_equal(fake.expected, rows[i].expected);
		fake_answer(r.head, 1);
		fake_answer(r.get, 100000);
		rig_down(&r);
	}
}

/* Another has the answer to the open before the one who asked for them: they are his. */
static void taken_by_another(void **state)
{
	struct rig r;
	struct scout_first *first;

	(void)state;
	for (int i = 0; i < 2; i++) {
		rig_up(&r, 3 * MIB);
		first = scout_first_ask(r.t.models, KEY);
		assert_non_null(first);
		assert_null(scout_first_ask(r.t.models, KEY));
		r.open = ask_open(&r.t, KEY);
		assert_int_equal(fake_queued(), 2);
		if (i)
			scout_first_leave(first); /* given up before */
		fake_answer_all();
		expect_start(&r, 0, MIB, i ? 1 + 4 : 1);
		if (!i)
			scout_first_leave(first);
		rig_down(&r);
	}
}

/* S3 answers another who opens it, and did not ask for them, before they are asked for: they are not his yet. */
static struct scout_s3_call *others_head;

static void answer_other(struct scout_s3_call *call)
{
	struct scout_s3_call *head = others_head;

	if (!call->guess || !head)
		return;
	others_head = NULL;
	fake_answer(head, 1);
	/* as it would be for an object that has taken it */
	assert_null(call->if_match);
}

static void not_before_they_are_asked_for(void **state)
{
	struct rig r;
	struct asked *other;

	(void)state;
	mount_up(&r.t, "", 16 * MIB);
	fake_put(KEY, 3 * MIB);
	other = ask_open(&r.t, KEY);
	others_head = fake_take(false);
	free(names_of(&r.t, ""));
	fake.before_submit = answer_other;
	rig_open(&r);
	assert_null(others_head);
	assert_true(asked_is_done(other));
	fake_answer(r.head, 1);
	fake_answer(r.get, 100000);
	expect_start(&r, 0, MIB, 1);
	close_file(&r.t, other);
	rig_down(&r);
}

/* Where all memory has blocks: what is here is opened again without any of them going. */
static void nothing_is_pushed_out(void **state)
{
	struct rig r;
	struct asked *other;
	uint64_t evicted;

	(void)state;
	rig_up(&r, MIB);
	fake_put("other", 16 * MIB);
	r.t.backend.ops->refresh(r.t.backend.self);
	free(names_of(&r.t, ""));
	other = must_open(&r.t, "other");
	for (uint64_t at = 0; at < 16 * MIB; at += MIB) {
		struct asked *a = ask_read(&r.t, other, at, MIB);

		fake_answer_all();
		expect_bytes(a, "other", 0, at, MIB);
	}
	close_file(&r.t, other);
	rig_open(&r);
	fake_answer(r.get, 100000);
	fake_answer(r.head, 1);
	expect_start(&r, 0, MIB, fake.gets);
	evicted = scout_counted(&r.t.models->counters.block_evictions);
	assert_true(evicted > 0);
	for (int i = 0; i < 5; i++) {
		other = ask_open(&r.t, KEY);
		assert_int_equal(fake_queued(), 1); /* the question */
		fake_answer_all();
		close_file(&r.t, other);
	}
	assert_int_equal(scout_counted(&r.t.models->counters.block_evictions), evicted);
	rig_down(&r);
}

/* What is open and not read takes nothing of the others' read-ahead, and where that has no room left no open asks
 * for more than what it is. */
static void not_at_the_cost_of_readers(void **state)
{
	struct rig r;

	(void)state;
	for (int i = 0; i < 2; i++) {
		rig_up(&r, 2 * MIB);
		rig_open(&r);
		fake_answer(i ? r.head : r.get, 100000);
		fake_answer(i ? r.get : r.head, 100000);
		assert_int_equal(atomic_load(&r.t.models->aheads), 0);
		expect_start(&r, 0, MIB, 1);
		rig_down(&r);
	}
	rig_up(&r, 2 * MIB);
	atomic_fetch_add(&r.t.models->aheads, 1000);
	r.open = ask_open(&r.t, KEY);
	assert_int_equal(fake_queued(), 1);
	atomic_fetch_sub(&r.t.models->aheads, 1000);
	fake_answer_all();
	expect_start(&r, 0, MIB, 4);
	rig_down(&r);
}

/* Bytes that came without an ETag may be another version's: only the read's own are believed. */
static void without_etags(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 2 * MIB);
	fake.etag = "";
	rig_open(&r);
	fake_answer(r.get, 100000);
	fake_put(KEY, 2 * MIB);
	fake_answer(r.head, 1);
	expect_start(&r, 1, MIB, 1 + 4);
	rig_down(&r);
}

/* Of a gateway that compresses what it sends: they are of the version all the same. */
static void weak_etags(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 2 * MIB);
	fake.weak_gets = true;
	rig_open(&r);
	fake_answer(r.get, 100000);
	fake_answer(r.head, 1);
	expect_start(&r, 0, 2 * MIB, 1 + 4);
	rig_down(&r);
}

/* Listed, then overwritten. */
static void another_version(void **state)
{
	static const struct {
		uint64_t listed, bytes;
		unsigned gets; /* until its start was read: what came was of use, or too little */
	} news[] = {
	    {2 * MIB, 1, 1},       {2 * MIB, 262144, 1}, {2 * MIB, 2 * MIB, 1},
	    {2 * MIB, 3 * MIB, 1}, {100, 101, 2},        {100, 2 * MIB, 1 + 4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(news) / sizeof(news[0]); i++) {
		struct rig r;

		rig_up(&r, news[i].listed);
		fake_put(KEY, news[i].bytes);
		rig_open(&r);
		fake_answer(r.get, 100000);
		fake_answer(r.head, 1);
		assert_int_equal(r.open->attr.size, news[i].bytes);
		expect_start(&r, 1, news[i].bytes < MIB ? news[i].bytes : MIB, news[i].gets);
		rig_down(&r);
	}
}

/* Overwritten between both: who opens has the one that HEAD told. */
static void two_versions(void **state)
{
	struct rig r;
	struct asked *a;

	(void)state;
	rig_up(&r, 2 * MIB);
	rig_open(&r);
	fake_answer(r.get, 100000);
	fake_put(KEY, 2 * MIB);
	fake_answer(r.head, 1);
	expect_start(&r, 1, MIB, 1 + 4);
	rig_down(&r);

	/* and the other way round it is asked once more, for that one alone: a change, or none */
	for (int changed = 0; changed < 2; changed++) {
		rig_up(&r, 2 * MIB);
		rig_open(&r);
		fake_answer(r.head, 1);
		a = ask_read(&r.t, r.open, 0, 4096);
		if (changed)
			fake_put(KEY, 2 * MIB);
		assert_non_null(r.get->if_match);
		r.get->done(r.get, -ESTALE);
		assert_int_equal(fake_queued(), 1);
		fake_answer_all();
		if (changed)
			expect(a, -ESTALE);
		else
			expect_bytes(a, KEY, 0, 0, 4096);
		rig_down(&r);
	}
}

/* Nobody wants it: the memory comes back. */
static void thrown_away(void **state)
{
	static const int errs[] = {-EACCES, -ENOENT, -EINTR};
	struct scout_budget_stats before, after;

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct rig r;

		rig_up(&r, 2 * MIB);
		scout_budget_stats(r.t.budget, &before);
		rig_open(&r);
		fake.fail[SCOUT_S3_HEAD] = i / 2 == 0 ? -EACCES : 0;
		if (i / 2 == 1)
			fake_delete(KEY);
		if (i / 2 == 2)
			atomic_store(&r.open->req.unwanted, true);
		fake_answer(i % 2 ? r.head : r.get, 100000);
		fake_answer(i % 2 ? r.get : r.head, 100000);
		assert_int_equal(r.open->err, errs[i / 2]);
		scout_budget_stats(r.t.budget, &after);
		assert_int_equal(after.used_bytes, before.used_bytes);
		assert_int_equal(atomic_load(&r.t.models->fetches), 0);
		rig_down(&r);
	}
}

/* Nothing is here of an object that is kept for its verdict alone. */
static void kept_without_blocks(void **state)
{
	time_t end = time(NULL) + 30;
	struct rig r;

	(void)state;
	mount_verifies = true;
	rig_up(&r, 3 * MIB);
	fake.etag = "\"00112233445566778899aabbccddeeff\""; /* an MD5 to compare with */
	rig_open(&r);
	fake_answer(r.head, 1);
	fake_answer(r.get, MIB);
	close_file(&r.t, r.open);
	while (r.t.models->nblocks > 0) { /* the digest still has some */
		(void)scout_block_evict(r.t.models, false);
		assert_true(time(NULL) < end);
	}
	assert_int_equal(r.t.models->verifiers.nkept, 1);
	rig_open(&r);
	fake_answer(r.head, 1);
	fake_answer(r.get, MIB);
	expect_start(&r, 0, MIB, 2);
	rig_down(&r);
	mount_verifies = false;
}

static void stopped(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct rig r;

		rig_up(&r, 2 * MIB);
		r.open = ask_open(&r.t, KEY);
		assert_int_equal(fake_queued(), 2);
		if (i)
			fake_answer(fake_take(false), 100000);
		mount_stop(&r.t);
		assert_int_equal(r.open->err, -ESHUTDOWN);
		rig_down(&r);
	}
}

/* There is memory for it, or none. */
static void little_memory(void **state)
{
	(void)state;
	for (size_t left = 0; left < 2; left++) {
		struct rig r;
		void *bufs[64];
		size_t n = 0;

		rig_up(&r, 2 * MIB);
		while (n < 64 && (bufs[n] = scout_buf_try(r.t.models->share)))
			n++;
		assert_true(n < 64);
		if (left)
			scout_buf_put(r.t.models->share, bufs[--n]);
		r.open = ask_open(&r.t, KEY);
		assert_int_equal(fake_queued(), 1 + left);
		fake_answer_all();
		assert_int_equal(fake.bytes, left * SCOUT_BUF_BYTES);
		while (n > 0)
			scout_buf_put(r.t.models->share, bufs[--n]);
		expect_start(&r, 0, MIB, 4);
		rig_down(&r);
	}
}

#define OBJECTS 40
#define READERS 3
#define OPENS 150

static void *read_starts(void *arg)
{
	struct mount *t = arg;
	unsigned x = (unsigned)(uintptr_t)pthread_self() >> 8;
	char key[32];

	for (int i = 0; i < OPENS; i++) {
		struct asked *open, *a;

		x = x * 1103515245 + 12345;
		snprintf(key, sizeof(key), "m/%u", (x >> 16) % OBJECTS);
		open = ask_open(t, key);
		if (i % 8 == 0)
			atomic_store(&open->req.unwanted, true);
		asked_wait(open);
		if (open->err < 0) {
			asked_free(open);
			continue;
		}
		a = ask_read(t, open, 0, 300000);
		asked_wait(a);
		expect_bytes(a, key, 0, 0, 300000);
		close_file(t, open);
	}
	return NULL;
}

/* More than there is memory for, so that they come and go; every eighth open is interrupted. */
static void many_threads(void **state)
{
	pthread_t readers[READERS];
	struct mount t;
	char key[32];

	(void)state;
	mount_up(&t, "", 16 * MIB);
	for (unsigned i = 0; i < OBJECTS; i++) {
		snprintf(key, sizeof(key), "m/%u", i);
		fake_put(key, 300000 + i * 100000);
	}
	free(names_of(&t, ""));
	fake_start_engine();
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_starts, &t), 0);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(either_is_first),
	    cmocka_unit_test(read_as_they_come),
	    cmocka_unit_test(not_asked),
	    cmocka_unit_test(the_rest_is_expected),
	    cmocka_unit_test(taken_by_another),
	    cmocka_unit_test(not_before_they_are_asked_for),
	    cmocka_unit_test(nothing_is_pushed_out),
	    cmocka_unit_test(not_at_the_cost_of_readers),
	    cmocka_unit_test(without_etags),
	    cmocka_unit_test(weak_etags),
	    cmocka_unit_test(another_version),
	    cmocka_unit_test(two_versions),
	    cmocka_unit_test(thrown_away),
	    cmocka_unit_test(kept_without_blocks),
	    cmocka_unit_test(stopped),
	    cmocka_unit_test(little_memory),
	    cmocka_unit_test(many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
