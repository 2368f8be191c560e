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

/* ---- more of them than memory has buffers for what they write ---- */

#define CROWD 12

struct crowd {
	struct mount t;
	struct scout_publisher *pub;
	char keys[CROWD][16];
	struct writer w[CROWD];
	struct asked *a[CROWD];
};

/* The first one has the room. */
static void gather(struct crowd *c, uint64_t bytes)
{
	up(&c->t, LEAST_MEMORY);
	c->pub = c->t.models->publisher;
	assert_in_range(c->pub->copies_max, 4, CROWD - 4);
	for (int i = 0; i < CROWD; i++) {
		snprintf(c->keys[i], sizeof(c->keys[i]), "m/%02d.zip", i);
		c->w[i] = begin_at(&c->t, c->keys[i]);
	}
	write_bytes(&c->w[0], bytes);
}

static void ask_in_turn(struct crowd *c, int from, int to)
{
	for (int i = from; i < to; i++) {
		c->a[i] = ask_write(&c->w[i], SCOUT_WRITE_MAX);
		assert_false(asked_is_done(c->a[i]));
	}
}

/* Its write was answered: all but so many of its bytes were taken, which it writes again. */
static void write_untaken(struct crowd *c, int i, size_t untaken)
{
	assert_true(asked_is_done(c->a[i]));
	assert_int_equal(c->a[i]->untaken, untaken);
	expect(c->a[i], 0);
	c->w[i].at -= untaken;
	write_bytes(&c->w[i], untaken);
}

static void expect_buffers(struct crowd *c, size_t count)
{
	struct scout_budget_stats stats;

	scout_budget_stats(c->t.budget, &stats);
	assert_int_equal(stats.used_bytes, count * SCOUT_BUF_BYTES);
}

static void disperse(struct crowd *c)
{
	assert_int_equal(c->pub->copies, 0);
	expect_no_memory(&c->t);
	mount_down(&c->t);
}

/* Those for whose bytes there is no buffer wait in the same line, and are told that few of them were taken. */
static void a_crowd_keeps_no_more_than_there_are_buffers(void **state)
{
	const size_t untaken = SCOUT_WRITE_MAX - SCOUT_FEW_BYTES;
	struct crowd c;
	int full;

	(void)state;
	gather(&c, 10);
	full = (int)c.pub->copies_max;
	ask_in_turn(&c, 1, 1 + full);
	expect_buffers(&c, 1 + (size_t)full);
	ask_in_turn(&c, 1 + full, CROWD);
	expect_buffers(&c, 1 + (size_t)full);
	finish(&c.w[0], 0);
	for (int i = 1; i < CROWD; i++) {
		write_untaken(&c, i, i <= full ? 0 : untaken);
		for (int next = i + 1; next < CROWD; next++)
			assert_false(asked_is_done(c.a[next]));
		assert_int_equal(c.pub->copies, i < full ? full - i : 0);
		finish(&c.w[i], 0);
		assert_int_equal(fake_find(c.keys[i])->bytes, SCOUT_WRITE_MAX);
	}
	disperse(&c);
}

static void few_bytes_need_no_buffer(void **state)
{
	struct crowd c;

	(void)state;
	gather(&c, 10);
	for (int i = 1; i < CROWD; i++)
		c.a[i] = ask_write(&c.w[i], SCOUT_FEW_BYTES);
	assert_int_equal(c.pub->copies, 0);
	expect_buffers(&c, 1);
	for (int i = 0; i < CROWD; i++) {
		if (i > 0)
			write_untaken(&c, i, 0);
		finish(&c.w[i], 0);
	}
	disperse(&c);
}

/* Then nobody waits for a part's rest; and that file has its turn in the line all the same. */
static void what_was_taken_is_told_at_once(void **state)
{
	struct asked *last;
	struct crowd c;
	int full;

	(void)state;
	gather(&c, PART - 100);
	full = (int)c.pub->copies_max;
	ask_in_turn(&c, 1, 1 + full);
	c.a[0] = ask_write(&c.w[0], SCOUT_WRITE_MAX);
	assert_true(asked_is_done(c.a[0]));
	assert_int_equal(c.a[0]->untaken, SCOUT_WRITE_MAX - 100);
	expect(c.a[0], 0);
	c.w[0].at = PART;
	ask_in_turn(&c, 1 + full, 2 + full);
	answer(fake_take(false)); /* CREATE */
	answer(fake_take(false)); /* PART */
	for (int i = 1; i <= full; i++) {
		write_untaken(&c, i, 0);
		finish(&c.w[i], 0);
	}
	last = c.a[1 + full];
	assert_false(asked_is_done(last));
	write_bytes(&c.w[0], SCOUT_WRITE_MAX - 100);
	finish(&c.w[0], 0);
	assert_int_equal(fake_find(c.keys[0])->bytes, PART + SCOUT_WRITE_MAX - 100);
	write_untaken(&c, 1 + full, SCOUT_WRITE_MAX - SCOUT_FEW_BYTES);
	finish(&c.w[1 + full], 0);
	for (int i = 2 + full; i < CROWD; i++)
		end(&c.w[i]);
	disperse(&c);
}

/* Buffers that readers have are not waited for. */
static void no_buffer_while_others_have_all_memory(void **state)
{
	void *bufs[LEAST_MEMORY / SCOUT_BUF_BYTES];
	struct scout_share *readers;
	struct crowd c;
	size_t n = 0;

	(void)state;
	gather(&c, 10);
	assert_int_equal(scout_share_new(c.t.budget, 1, &readers), 0);
	while ((bufs[n] = scout_buf_try(readers)))
		n++;
	ask_in_turn(&c, 1, 2);
	assert_int_equal(c.pub->copies, 0);
	while (n > 0)
		scout_buf_put(readers, bufs[--n]);
	scout_share_free(readers);
	finish(&c.w[0], 0);
	write_untaken(&c, 1, SCOUT_WRITE_MAX - SCOUT_FEW_BYTES);
	finish(&c.w[1], 0);
	for (int i = 2; i < CROWD; i++)
		end(&c.w[i]);
	disperse(&c);
}

/* The program heard that all of it failed: all of it has to be written again, not the few bytes that were kept. */
static void who_gave_up_writes_all_of_it_again(void **state)
{
	struct crowd c;
	int full;

	(void)state;
	gather(&c, 10);
	full = (int)c.pub->copies_max;
	ask_in_turn(&c, 1, CROWD);
	for (int i = 1; i < CROWD; i++) {
		atomic_store(&c.a[i]->req.unwanted, true);
		c.w[i].at = 0;
	}
	finish(&c.w[0], 0);
	for (int i = 1; i < CROWD; i++) {
		/* one that had a buffer, two that had none, and others that do not */
		if (i >= full && i <= full + 2)
			write_bytes(&c.w[i], i < full + 2 ? SCOUT_WRITE_MAX : SCOUT_FEW_BYTES);
		finish(&c.w[i], i == full || i == full + 1 ? 0 : -EIO);
		expect(c.a[i], -EINTR);
	}
	disperse(&c);
}

/* Some may get the room of those that were ended before them, for nothing. */
static void the_end_of_the_mount_ends_their_waiting(void **state)
{
	struct crowd c;

	(void)state;
	gather(&c, 10);
	ask_in_turn(&c, 1, CROWD);
	mount_stop(&c.t);
	for (int i = 0; i < CROWD; i++) {
		if (i > 0) {
			assert_true(asked_is_done(c.a[i]));
			asked_free(c.a[i]);
		}
		close_file(&c.t, c.w[i].file);
		assert_null(fake_find(c.keys[i]));
	}
	disperse(&c);
}

#define WHOLE (3 * MIB / 2)

/* What is written is the caller's again when write returns, and is not looked at any more. */
static int write_at_once(struct writer *w, uint8_t *bytes, size_t size)
{
	struct asked *a = ask(WRITE);
	int err;

	fake_bytes(bytes, w->key, 0, w->at, size);
	w->t->backend.ops->write(w->t->backend.self, w->file->handle, w->at, bytes, size, &a->req);
	memset(bytes, 0, size);
	asked_wait(a);
	err = a->err;
	w->at += size - a->untaken;
	asked_free(a);
	return err;
}

static void *write_whole(void *arg)
{
	uint8_t *bytes = malloc(SCOUT_WRITE_MAX);
	struct writer *w = arg;
	struct asked *a;
	int err = 0;

	while (err == 0 && w->at < WHOLE) {
		size_t left = WHOLE - w->at;

		err = write_at_once(w, bytes, left < SCOUT_WRITE_MAX ? left : SCOUT_WRITE_MAX);
	}
	a = ask_flush(w);
	asked_wait(a);
	err = err ? err : a->err;
	asked_free(a);
	free(bytes);
	return (void *)(intptr_t)err;
}

static void *engine(void *arg)
{
	struct scout_s3_call *call;

	(void)arg;
	while ((call = fake_take(true)))
		answer(call);
	return NULL;
}

static void a_crowd_of_threads(void **state)
{
	pthread_t threads[CROWD];
	struct crowd c;
	void *err;

	(void)state;
	gather(&c, 0);
	fake.threaded = true;
	assert_int_equal(pthread_create(&fake.thread, NULL, engine, NULL), 0);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_whole, &c.w[i]), 0);
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(pthread_join(threads[i], &err), 0);
		assert_null(err);
		close_file(&c.t, c.w[i].file);
	}
	mount_stop(&c.t);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(fake_find(c.keys[i])->bytes, WHOLE); /* engine looked at them */
	disperse(&c);
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
	    cmocka_unit_test(a_crowd_keeps_no_more_than_there_are_buffers),
	    cmocka_unit_test(few_bytes_need_no_buffer),
	    cmocka_unit_test(what_was_taken_is_told_at_once),
	    cmocka_unit_test(no_buffer_while_others_have_all_memory),
	    cmocka_unit_test(who_gave_up_writes_all_of_it_again),
	    cmocka_unit_test(the_end_of_the_mount_ends_their_waiting),
	    cmocka_unit_test(a_crowd_of_threads),
	};

	return cmocka_run_group_tests_name("models/turns", tests, NULL, NULL);
}
