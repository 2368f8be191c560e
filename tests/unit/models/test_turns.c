/* Who writes while other uploads have the memory: their turns, and that they hear of what moves. The front's
 * patience begins anew with what they hear (see tests/unit/fs/test_request.c). */
#include "writer.h"

#define LEAST_MEMORY (16 * MIB) /* has room for one part */
#define WRITERS 4

static const char *const keys[WRITERS] = {"m/0.zip", "m/1.zip", "m/2.zip", "m/3.zip"};

static void pass_second(void)
{
	atomic_fetch_add(&fake_now, SCOUT_NS_PER_S);
}

/* They are opened the other way round, which is no matter. */
static void begin_all(struct mount *t, struct writer w[WRITERS])
{
	for (int i = WRITERS - 1; i >= 0; i--)
		w[i] = begin_at(t, keys[i]);
}

/* Those from the first one on have to wait; each is told that something got on just now, or never. */
static void expect_waiting(struct asked *const a[WRITERS], int first, bool hears)
{
	for (int i = first; i < WRITERS; i++) {
		assert_false(asked_is_done(a[i]));
		assert_int_equal(atomic_load(&a[i]->req.alive_ns), hears ? scout_now_ns() : 0);
	}
}

static void each_has_its_turn(void **state)
{
	struct asked *a[WRITERS];
	struct writer w[WRITERS];
	struct mount t;

	(void)state;
	up(&t, LEAST_MEMORY);
	assert_true(t.models->publisher->pool < 2 * t.models->publisher->part_bufs);
	begin_all(&t, w);
	for (int i = 0; i < WRITERS; i++)
		a[i] = ask_write(&w[i], 10);
	for (int i = 0; i < WRITERS; i++) {
		expect(a[i], 0);
		expect_waiting(a, i + 1, i > 0);
		pass_second();
		finish(&w[i], 0);
		assert_int_equal(fake_find(keys[i])->bytes, 10);
	}
	expect_no_memory(&t);
	mount_down(&t);
}

/* A part of twice the size waits, and one for which there is room comes later. */
static void nobody_is_passed_who_needs_more(void **state)
{
	struct scout_publisher *pub;
	struct asked *large, *small;
	struct writer w[WRITERS];
	struct mount t;

	(void)state;
	up(&t, 64 * MIB);
	pub = t.models->publisher;
	begin_all(&t, w);
	write_bytes(&w[0], 10);
	write_bytes(&w[1], 10);
	assert_in_range(pub->spare, pub->part_bufs, 2 * pub->part_bufs - 1);
	skip_parts(&w[2], 1000);
	large = ask_write(&w[2], 10);
	small = ask_write(&w[3], 10);
	assert_false(asked_is_done(large));
	assert_false(asked_is_done(small));
	finish(&w[0], 0);
	expect(large, 0);
	assert_false(asked_is_done(small));
	finish(&w[1], 0);
	expect(small, 0);
	finish(&w[3], 0);
	end(&w[2]);
	expect_no_memory(&t);
	mount_down(&t);
}

/* Who writes more than a part stands behind those that came before its next one. */
static void the_parts_of_a_large_one_have_turns(void **state)
{
	struct asked *more, *other;
	struct writer w[WRITERS];
	struct mount t;

	(void)state;
	up(&t, LEAST_MEMORY);
	begin_all(&t, w);
	write_bytes(&w[0], PART);
	other = ask_write(&w[1], 10);
	more = ask_write(&w[0], 10);
	expect_queued(1, SCOUT_S3_CREATE);
	answer(fake_take(false));
	assert_false(asked_is_done(other));
	expect_queued(1, SCOUT_S3_PART);
	answer(fake_take(false));
	expect(other, 0);
	assert_false(asked_is_done(more));
	finish(&w[1], 0);
	expect(more, 0);
	finish(&w[0], 0);
	assert_int_equal(fake_find(keys[0])->bytes, PART + 10);
	end(&w[2]);
	end(&w[3]);
	expect_no_memory(&t);
	mount_down(&t);
}

/* Who closes the upload, and all that wait for its memory. */
static void they_hear_of_bytes_that_move(void **state)
{
	struct asked *a[WRITERS];
	struct writer w[WRITERS];
	struct scout_s3_call *call;
	struct mount t;
	char byte;

	(void)state;
	up(&t, LEAST_MEMORY);
	reg.thinks_ns = SCOUT_NS_PER_S;
	begin_all(&t, w);
	write_bytes(&w[0], PART);
	for (int i = 1; i < WRITERS; i++) {
		a[i] = ask_write(&w[i], 10);
		pass_second();
	}
	a[0] = ask_flush(&w[0]);
	expect_queued(1, SCOUT_S3_PUT);
	call = fake_take(false);
	pass_second();
	expect_waiting(a, 0, false); /* it was asked, and nothing moved */

	call->taken(call); /* the server's machine has more of it */
	expect_waiting(a, 0, true);
	pass_second();
	for (uint64_t at = 0; at < PART; at += SCOUT_BUF_BYTES) {
		assert_int_equal(call->body(call, at, &byte, 1), 1); /* a buffer is begun */
		expect_waiting(a, 0, true);
		pass_second();
	}
	answer(call);
	expect_waiting(a, 0, true);
	pass_second();
	answer_all(); /* it is looked at before the close ends */
	expect(a[0], 0);
	expect(a[1], 0);
	expect_waiting(a, 2, true);
	end(&w[0]);
	reg.put_err = -EIO; /* also by an end that is none */
	pass_second();
	finish(&w[1], -EIO);
	expect(a[2], 0);
	expect_waiting(a, 3, true);
	reg.put_err = 0;
	finish(&w[2], 0);
	expect(a[3], 0);
	finish(&w[3], 0);
	expect_no_memory(&t);
	mount_down(&t);
}

static void they_hear_of_parts(void **state)
{
	struct asked *a[WRITERS];
	struct writer w[WRITERS];
	struct scout_s3_call *call;
	struct mount t;

	(void)state;
	up(&t, LEAST_MEMORY);
	reg.thinks_ns = SCOUT_NS_PER_S;
	begin_all(&t, w);
	write_bytes(&w[0], PART);
	for (int i = 1; i <= WRITERS; i++)
		a[i % WRITERS] = ask_write(&w[i % WRITERS], 10); /* its next one is the last */
	expect_waiting(a, 0, false);
	pass_second();
	answer(fake_take(false)); /* CREATE */
	expect_waiting(a, 0, true);
	expect_queued(1, SCOUT_S3_PART);
	call = fake_take(false);
	pass_second();
	call->taken(call);
	expect_waiting(a, 0, true);
	pass_second();
	answer(call);
	expect(a[1], 0);
	assert_int_equal(atomic_load(&a[0]->req.alive_ns), scout_now_ns());
	expect_waiting(a, 2, true);
	for (int i = 1; i < WRITERS; i++) {
		finish(&w[i], 0);
		expect(a[(i + 1) % WRITERS], 0);
	}
	finish(&w[0], 0);
	expect_no_memory(&t);
	mount_down(&t);
}

/* Who has the memory and neither fills a part nor closes: their time passes, and the front answers them. The one
 * then writes that again, others do not. */
static void they_hear_nothing_of_who_sleeps(void **state)
{
	struct asked *a[WRITERS], *again;
	struct writer w[WRITERS];
	struct mount t;

	(void)state;
	up(&t, LEAST_MEMORY);
	begin_all(&t, w);
	write_bytes(&w[0], 10);
	for (int i = 1; i < WRITERS; i++)
		a[i] = ask_write(&w[i], 10);
	pass_second();
	write_bytes(&w[0], 10); /* into memory: to S3 nothing moves */
	expect_waiting(a, 1, false);
	for (int i = 1; i < WRITERS; i++)
		atomic_store(&a[i]->req.unwanted, true);
	w[1].at = 0;
	again = ask_write(&w[1], 10);
	expect(a[1], -EINTR);
	assert_false(asked_is_done(again));
	finish(&w[0], 0);
	expect(again, 0);
	finish(&w[1], 0);
	assert_int_equal(fake_find(keys[1])->bytes, 10);
	for (int i = 2; i < WRITERS; i++) {
		expect(a[i], -EINTR);
		finish(&w[i], -EIO);
		assert_null(fake_find(keys[i]));
	}
	expect_no_memory(&t);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_has_its_turn),
	    cmocka_unit_test(nobody_is_passed_who_needs_more),
	    cmocka_unit_test(the_parts_of_a_large_one_have_turns),
	    cmocka_unit_test(they_hear_of_bytes_that_move),
	    cmocka_unit_test(they_hear_of_parts),
	    cmocka_unit_test(they_hear_nothing_of_who_sleeps),
	};

	return cmocka_run_group_tests_name("models/turns", tests, NULL, NULL);
}
