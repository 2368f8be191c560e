/* Publishing over a registry in memory: what is sent, in which order, and what comes of each answer. */
#include "writer.h"

#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NOBODY 65534

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
	assert_int_equal(reg.aborts, 1); /* not at once */
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

/* A file is written and closed, and S3 has answered all but the last request: the PUT, or what makes the parts an
 * object. Returns the close. */
static struct asked *ask_last_request(struct mount *t, struct writer *w, bool large)
{
	struct asked *closed;

	*w = begin(t);
	write_bytes(w, large ? PART + 1 : 10);
	closed = ask_flush(w);
	while (TAILQ_FIRST(&fake.queue)->op != (large ? SCOUT_S3_COMPLETE : SCOUT_S3_PUT))
		answer(fake_take(false));
	return closed;
}

/* The last request failed so that its object may be there, and one is, which is not this one. */
static void in_doubt_another_s_object_is_there(void **state)
{
	static const int errs[] = {-EIO, -ENOENT, -ETIMEDOUT, -EEXIST};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(errs) / sizeof(errs[0]); i++) {
		bool large = i % 2;
		struct asked *closed;
		struct mount t;
		struct writer w;

		up(&t, 128 * MIB);
		closed = ask_last_request(&t, &w, large);
		fake_put(KEY, 33);
		TAILQ_FIRST(&fake.queue)->in_doubt = true;
		reg.put_err = reg.complete_err = errs[i / 2];
		answer_all();
		expect(closed, -EEXIST);
		end(&w);
		assert_int_equal(reg.aborts, large);
		assert_int_equal(fake_find(KEY)->bytes, 33);
		expect_no_memory(&t);
		mount_down(&t);
	}
}

/* There is none, or it is the one to be replaced: the error is that of the request. */
static void in_doubt_no_other_object_is_there(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up(&t, 64 * MIB);
	reg.put_err = -EIO;
	w = begin(&t);
	write_bytes(&w, 10);
	finish(&w, -EIO);
	t.config.models.overwrite = true;
	fake_put(KEY, 33);
	atomic_fetch_add(&fake_now, SCOUT_NS_PER_S); /* it is asked anew */
	w = (struct writer){.t = &t, .file = ask(OPEN), .key = KEY};
	t.backend.ops->open(t.backend.self, KEY, O_WRONLY | O_TRUNC, &w.file->req);
	answer_all();
	assert_int_equal(w.file->err, 0);
	write_bytes(&w, 10);
	finish(&w, -EIO);
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

/* A close by task ends with EIO, and nothing is published. */
static void expect_not_seen(pid_t task, uid_t euid)
{
	uid_t own = geteuid();
	struct asked *closed;
	struct mount t;
	struct writer w;

	up(&t, 64 * MIB);
	w = begin(&t);
	write_bytes(&w, 10);
	closed = ask(-1);
	closed->req.task = task;
	closed->req.user = own;
	assert_int_equal(seteuid(euid), 0);
	t.backend.ops->flush(t.backend.self, w.file->handle, &closed->req);
	assert_int_equal(seteuid(own), 0);
	answer_all();
	expect(closed, -EIO);
	end(&w);
	assert_int_equal(reg.puts, 0);
	expect_size(&t, -ENOENT, 0);
	expect_no_memory(&t);
	mount_down(&t);
}

/* Of another container, or of a kernel that does not tell: it may have been killed. */
static void whose_process_cannot_be_seen(void **state)
{
	(void)state;
	expect_not_seen(0, geteuid());
	expect_not_seen(INT_MAX, geteuid()); /* above all that the kernel gives out */
}

/* How another user's process ended is not shown to a daemon that is not root. */
static void whose_end_is_not_shown(void **state)
{
	siginfo_t info;
	pid_t child;

	(void)state;
	if (geteuid() != 0)
		skip();
	child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(scout_caller_fate(child, 0), SCOUT_FATE_ENDED);
	expect_not_seen(child, NOBODY);
	assert_int_equal(waitpid(child, NULL, 0), child);
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

static struct again {
	struct mount *t;
	struct asked *first, *second;
} again;

static void tries_again(struct scout_req *req, int err, const struct scout_result *res)
{
	const struct scout_backend *b = &again.t->backend;

	asked_done(req, err, res);
	b->ops->open(b->self, KEY, O_WRONLY | O_TRUNC, &again.second->req);
}

static void who_was_refused_may_try_again_at_once(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 64 * MIB);
	t.config.models.overwrite = true;
	fake_put(KEY, 33);
	again = (struct again){.t = &t, .first = ask(OPEN), .second = ask(OPEN)};
	again.first->req.done = tries_again;
	t.backend.ops->create(t.backend.self, KEY, 0644, O_WRONLY | O_CREAT, &again.first->req);
	answer_all();
	expect(again.first, -EOPNOTSUPP);
	assert_true(asked_is_done(again.second));
	assert_int_equal(again.second->err, 0);
	finish(&(struct writer){.t = &t, .file = again.second, .key = KEY}, 0);
	mount_down(&t);
}

/* While S3 is asked whether it may be written, and until that is published, the name is the older object's. */
static void what_is_there_is_seen_until_it_is_replaced(void **state)
{
	struct asked *seen, *refused = ask(OPEN);
	struct writer w = {.file = ask(OPEN), .key = KEY};
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

/* The kernel takes the size that it was told by the older object's name for where an append goes. */
static void an_append_goes_to_its_own_end(void **state)
{
	struct writer w = {.file = ask(OPEN), .key = KEY};
	struct asked *a = ask(-1);
	uint8_t bytes[10];
	struct mount t;

	(void)state;
	up(&t, 64 * MIB);
	t.config.models.overwrite = true;
	w.t = &t;
	fake_put(KEY, 33);
	t.backend.ops->open(t.backend.self, KEY, O_WRONLY | O_TRUNC | O_APPEND, &w.file->req);
	answer_all();
	assert_int_equal(w.file->err, 0);
	write_bytes(&w, 10);
	fake_bytes(bytes, KEY, 0, w.at, sizeof(bytes));
	t.backend.ops->write(t.backend.self, w.file->handle, 33, bytes, sizeof(bytes), &a->req);
	expect(a, 0);
	finish(&w, 0);
	expect_size(&t, 0, 20);
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
	(void)state;
	for (int large = 0; large < 2; large++) {
		struct scout_s3_call *call;
		struct asked *closed;
		struct mount t;
		struct writer w;

		up(&t, 128 * MIB);
		closed = ask_last_request(&t, &w, large);
		atomic_store(&closed->req.unwanted, true);
		scout_upload_run(upload_of(&w));
		close_file(&t, w.file);
		call = fake_take(false);
		assert_false(call->cancelled);
		answer(call);
		answer_all();
		asked_free(closed);
		assert_int_equal(reg.puts + reg.completes, 1);
		assert_int_equal(reg.aborts, 0);
		expect_size(&t, 0, w.at);
		expect_no_memory(&t);
		mount_down(&t);
	}
}

/* Neither the close of who was killed waits for the ABORT, nor that of another who has it open. */
static void a_killed_writer_waits_for_no_abort(void **state)
{
	siginfo_t info;
	struct asked *a;
	struct mount t;
	struct writer w;
	pid_t child;

	(void)state;
	up(&t, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART + 1);
	answer(fake_take(false));
	child = fork();
	if (child == 0) {
		(void)raise(SIGKILL);
		_exit(0);
	}
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	a = ask(-1);
	a->req.task = child;
	t.backend.ops->flush(t.backend.self, w.file->handle, &a->req);
	expect(a, -EINTR);
	expect(ask_flush(&w), -EINTR);
	assert_int_equal(reg.aborts, 0);
	assert_true(fake_queued() > 0);
	end(&w);
	assert_int_equal(reg.aborts, 1);
	assert_int_equal(waitpid(child, NULL, 0), child);
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
		u = upload_of(&w);
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
	    cmocka_unit_test(in_doubt_another_s_object_is_there),
	    cmocka_unit_test(in_doubt_no_other_object_is_there),
	    cmocka_unit_test(the_last_of_two_descriptors_publishes),
	    cmocka_unit_test(whose_process_cannot_be_seen),
	    cmocka_unit_test(whose_end_is_not_shown),
	    cmocka_unit_test(a_name_has_one_writer),
	    cmocka_unit_test(who_was_refused_may_try_again_at_once),
	    cmocka_unit_test(what_is_there_is_seen_until_it_is_replaced),
	    cmocka_unit_test(an_append_goes_to_its_own_end),
	    cmocka_unit_test(memory_is_bounded),
	    cmocka_unit_test(interrupted_before_the_last_request),
	    cmocka_unit_test(interrupted_in_the_last_request),
	    cmocka_unit_test(a_killed_writer_waits_for_no_abort),
	    cmocka_unit_test(what_failed_waits_for_no_look_and_no_put),
	    cmocka_unit_test(the_end_of_the_mount),
	};

	return cmocka_run_group_tests_name("models/publish", tests, NULL, NULL);
}
