/* Files that are written with holes: zeros are sent for what was skipped, and for nothing that was lost. */
#include "writer.h"

#define TIB ((uint64_t)1024 * 1024 * MIB)

static uint8_t small[7];

/* SCOUT_S3_PART's bytes; one that is not whole is the last. */
static uint64_t parts_of(uint64_t size)
{
	return (size + PART - 1) / PART;
}

static void they_are_zeros(void **state)
{
	static const uint64_t sizes[] = {1, SCOUT_BUF_BYTES - 1, SCOUT_BUF_BYTES, 2 * MIB + 3};
	struct mount t;
	struct writer w;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		up(&t, 64 * MIB);
		w = begin(&t);
		leave_hole(&w, sizes[i]);
		write_bytes(&w, 1000);
		leave_hole(&w, sizes[i]);
		write_bytes(&w, SCOUT_BUF_BYTES);
		expect_size(&t, 0, w.at);
		expect_queued(0, SCOUT_S3_PUT);
		finish(&w, 0);
		assert_int_equal(reg.puts, 1);
		assert_int_equal(reg.creates, 0);
		expect_size(&t, 0, w.at);
		expect_no_memory(&t);
		mount_down(&t);
	}
}

static void over_many_parts(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 256 * MIB);
	w = begin(&t);
	leave_hole(&w, 2 * PART + 5);
	write_bytes(&w, 100);
	leave_hole(&w, 3 * PART);
	write_bytes(&w, PART);
	leave_hole(&w, PART);
	write_bytes(&w, 1);
	finish(&w, 0);
	assert_int_equal(reg.parts, parts_of(w.at));
	assert_int_equal(reg.completes, 1);
	expect_size(&t, 0, 7 * PART + 106);
	expect_no_memory(&t);
	mount_down(&t);
}

/* ftruncate(2) promises zeros, which are sent when it is closed. */
static void at_its_end(void **state)
{
	static const uint64_t holes[] = {1, SCOUT_BUF_BYTES, PART - 10, 3 * PART};

	(void)state;
	for (size_t i = 0; i < sizeof(holes) / sizeof(holes[0]); i++) {
		struct mount t;
		struct writer w;

		up(&t, 256 * MIB);
		w = begin(&t);
		write_bytes(&w, 10);
		leave_hole(&w, holes[i]);
		assert_int_equal(resize(&w, w.at), 0);
		expect_size(&t, 0, w.at);
		expect_queued(0, SCOUT_S3_CREATE);
		finish(&w, 0);
		assert_int_equal(reg.puts, w.at <= PART);
		assert_int_equal(reg.parts, w.at <= PART ? 0 : parts_of(w.at));
		expect_size(&t, 0, w.at);
		expect_no_memory(&t);
		mount_down(&t);
	}
}

/* Who asks for its room first, and then writes it from its start. */
static void its_size_may_be_told_beforehand(void **state)
{
	struct asked *closed;
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	assert_int_equal(resize(&w, PART + 1000), 0);
	write_bytes(&w, 1000);
	assert_int_equal(resize(&w, 1000), -EOPNOTSUPP);
	assert_int_equal(resize(&w, PART + 1000), 0);
	expect_size(&t, 0, PART + 1000);
	write_bytes(&w, PART);
	assert_int_equal(resize(&w, 1000), -EOPNOTSUPP);
	write_bytes(&w, 1);
	expect_size(&t, 0, PART + 1001);
	closed = ask_flush(&w);
	answer_all();
	expect(closed, 0);
	assert_int_equal(resize(&w, PART + 1001), 0);
	assert_int_equal(resize(&w, PART + 1002), -EOPNOTSUPP); /* it is published */
	end(&w);
	expect_size(&t, 0, PART + 1001);
	mount_down(&t);
}

static void what_was_sent_stays(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	leave_hole(&w, 1000);
	write_bytes(&w, 1000);
	w.at = 500;
	expect(ask_write(&w, 500), -EOPNOTSUPP);
	finish(&w, -EOPNOTSUPP);
	assert_int_equal(reg.puts, 0);
	mount_down(&t);
}

/* Zeros wait for memory as all that is written does, and others do not wait for them. */
static void memory_is_bounded(void **state)
{
	struct scout_budget_stats stats;
	struct asked *a;
	struct mount t;
	struct writer w;

	(void)state;
	for (int closes = 0; closes < 2; closes++) {
		up(&t, 64 * MIB);
		w = begin(&t);
		leave_hole(&w, 64 * MIB);
		if (closes)
			assert_int_equal(resize(&w, w.at), 0);
		a = closes ? ask_flush(&w) : ask_write(&w, 10);
		expect_queued(1, SCOUT_S3_CREATE);
		answer(fake_take(false));
		while (!asked_is_done(a) && TAILQ_FIRST(&fake.queue)->op == SCOUT_S3_PART) {
			scout_budget_stats(t.budget, &stats);
			assert_in_range(stats.used_bytes, 1, 64 * MIB / 4);
			atomic_store(&a->req.alive_ns, 0);
			answer(fake_take(false));
			assert_int_not_equal(atomic_load(&a->req.alive_ns), 0);
		}
		assert_in_range(reg.parts, parts_of(w.at) - (closes ? 0 : 3), parts_of(w.at));
		answer_all();
		expect(a, 0);
		if (closes)
			end(&w);
		else
			finish(&w, 0);
		assert_int_equal(reg.parts, parts_of(w.at));
		expect_size(&t, 0, w.at);
		expect_no_memory(&t);
		mount_down(&t);
	}
}

/* A signal ends the write, which may be repeated; or nothing is published. */
static void interrupted_in_a_hole(void **state)
{
	struct asked *a;
	struct mount t;
	struct writer w;

	(void)state;
	for (int again = 0; again < 2; again++) {
		up(&t, 64 * MIB);
		w = begin(&t);
		leave_hole(&w, 64 * MIB);
		a = ask_write(&w, 10);
		answer(fake_take(false));
		answer(fake_take(false));
		atomic_store(&a->req.unwanted, true);
		answer_all();
		expect(a, -EINTR);
		assert_in_range(reg.parts, 2, parts_of(64 * MIB) - 1);
		w.at -= 10;
		if (again) {
			a = ask_write(&w, 10);
			answer_all();
			expect(a, 0);
		}
		finish(&w, again ? 0 : -EIO);
		assert_int_equal(reg.aborts, !again);
		assert_int_equal(reg.completes, again);
		expect_no_memory(&t);
		mount_down(&t);
	}
}

static void interrupted_in_a_close(void **state)
{
	struct asked *closed;
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	leave_hole(&w, 64 * MIB);
	assert_int_equal(resize(&w, w.at), 0);
	closed = ask_flush(&w);
	answer(fake_take(false));
	answer(fake_take(false));
	atomic_store(&closed->req.unwanted, true);
	answer_all();
	expect(closed, -EINTR);
	end(&w);
	assert_in_range(reg.parts, 1, parts_of(64 * MIB) - 1);
	assert_int_equal(reg.aborts, 1);
	assert_int_equal(reg.completes, 0);
	expect_no_memory(&t);
	mount_down(&t);
}

/* One that waits for another's room in its close, and one that is interrupted there. */
static void they_wait_in_turn(void **state)
{
	struct writer first, second;
	struct asked *closed;
	struct mount t;

	(void)state;
	for (int interrupted = 0; interrupted < 2; interrupted++) {
		up(&t, 16 * MIB);
		first = begin(&t);
		leave_hole(&first, 1000);
		/* has the room for all of its part, and there is no more */
		write_bytes(&first, 10);
		second = begin_at(&t, "m/v1/other.zip");
		assert_int_equal(resize(&second, 1000), 0);
		closed = ask_flush(&second);
		answer_all();
		assert_false(asked_is_done(closed));
		scout_upload_gets_on(upload_of(&first));
		assert_int_not_equal(atomic_load(&closed->req.alive_ns), 0);
		atomic_store(&closed->req.unwanted, interrupted);
		if (interrupted) {
			scout_upload_run(upload_of(&second));
			expect(closed, -EINTR);
		}
		scout_upload_gets_on(upload_of(&first));
		finish(&first, 0);
		if (!interrupted)
			expect(closed, 0);
		end(&second);
		assert_int_equal(reg.puts, interrupted ? 1 : 2);
		expect_no_memory(&t);
		mount_down(&t);
	}
}

/* A write that the front gave up: it was told that it failed, and zeros do not stand for it. */
static void what_was_lost_is_no_hole(void **state)
{
	struct asked *lost;
	struct mount t;
	struct writer w;

	(void)state;
	for (int repeated = 0; repeated < 2; repeated++) {
		up(&t, 64 * MIB);
		w = begin(&t);
		write_bytes(&w, 100);
		lost = ask(-1);
		atomic_store(&lost->req.unwanted, true);
		t.backend.ops->write(t.backend.self, w.file->handle, 200, "lost", 4, &lost->req);
		expect(lost, -EINTR);
		leave_hole(&w, 100); /* before it there was one */
		if (repeated) {
			write_bytes(&w, 4);
			leave_hole(&w, 10);
			write_bytes(&w, 10);
		} else {
			assert_int_equal(resize(&w, 300), 0);
			w.at = 210;
			expect(ask_write(&w, 10), -EIO);
		}
		finish(&w, repeated ? 0 : -EIO);
		assert_int_equal(reg.puts, repeated);
		mount_down(&t);
	}
}

static void what_failed_is_not_made_up_for_at_the_end(void **state)
{
	struct asked *lost;
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	lost = ask(-1);
	atomic_store(&lost->req.unwanted, true);
	t.backend.ops->write(t.backend.self, w.file->handle, 0, "lost", 4, &lost->req);
	expect(lost, -EINTR);
	assert_int_equal(resize(&w, 1000), 0);
	finish(&w, -EIO);
	assert_int_equal(reg.puts, 0);
	mount_down(&t);
}

/* The kernel may take the size of what is being replaced for its own. */
static void the_end_is_not_that_of_what_it_replaces(void **state)
{
	static const struct {
		int flags;
		uint64_t at;
		int err;
	} cases[] = {
	    {O_APPEND, 1000, 0}, {0, 1000, -EOPNOTSUPP}, {0, 1001, 0}, /* is a hole */
	};
	struct mount t;
	struct writer w;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct asked *a = ask(-1);

		up(&t, 64 * MIB);
		t.config.models.overwrite = true;
		fake_put(KEY, 1000);
		w = (struct writer){.t = &t, .file = ask(OPEN), .key = KEY};
		t.backend.ops->open(t.backend.self, KEY, O_WRONLY | O_TRUNC | cases[i].flags,
				    &w.file->req);
		answer_all();
		assert_int_equal(w.file->err, 0);
		write_bytes(&w, 10);
		if (cases[i].at == 1001)
			leave_hole(&w, 991);
		fake_bytes(small, KEY, 0, w.at, sizeof(small));
		t.backend.ops->write(t.backend.self, w.file->handle, cases[i].at, small,
				     sizeof(small), &a->req);
		expect(a, cases[i].err);
		finish(&w, cases[i].err);
		expect_size(&t, 0, cases[i].err ? 1000 : w.at + sizeof(small));
		mount_down(&t);
	}
}

/* What is told of its size is where it goes on. */
static void an_append_is_behind_a_hole(void **state)
{
	struct mount t;
	struct writer w = {.t = &t, .file = ask(OPEN), .key = KEY};
	struct asked *a = ask(-1);

	(void)state;
	up(&t, 64 * MIB);
	t.backend.ops->create(t.backend.self, KEY, 0644, O_WRONLY | O_CREAT | O_APPEND,
			      &w.file->req);
	answer_all();
	leave_hole(&w, 500);
	assert_int_equal(resize(&w, 500), 0);
	fake_bytes(small, KEY, 0, w.at, sizeof(small));
	t.backend.ops->write(t.backend.self, w.file->handle, 0, small, sizeof(small), &a->req);
	expect(a, 0);
	finish(&w, 0);
	expect_size(&t, 0, 500 + sizeof(small));
	mount_down(&t);
}

/* More than an object can have is refused before it is sent. */
static void as_large_as_an_object_can_be(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	w = begin(&t);
	assert_int_equal(resize(&w, TIB), -EFBIG);
	write_bytes(&w, 10);
	finish(&w, 0);
	expect_size(&t, 0, 10);
	w = begin_at(&t, "m/v1/other.zip");
	w.at = TIB;
	expect(ask_write(&w, 10), -EFBIG);
	finish(&w, -EFBIG);
	assert_int_equal(reg.creates, 0);
	expect_no_memory(&t);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(they_are_zeros),
	    cmocka_unit_test(over_many_parts),
	    cmocka_unit_test(at_its_end),
	    cmocka_unit_test(its_size_may_be_told_beforehand),
	    cmocka_unit_test(what_was_sent_stays),
	    cmocka_unit_test(memory_is_bounded),
	    cmocka_unit_test(interrupted_in_a_hole),
	    cmocka_unit_test(interrupted_in_a_close),
	    cmocka_unit_test(they_wait_in_turn),
	    cmocka_unit_test(what_was_lost_is_no_hole),
	    cmocka_unit_test(what_failed_is_not_made_up_for_at_the_end),
	    cmocka_unit_test(the_end_is_not_that_of_what_it_replaces),
	    cmocka_unit_test(an_append_is_behind_a_hole),
	    cmocka_unit_test(as_large_as_an_object_can_be),
	};

	return cmocka_run_group_tests_name("models/holes", tests, NULL, NULL);
}
