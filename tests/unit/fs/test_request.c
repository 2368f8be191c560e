/* Requests in flight, over a libfuse of our own: each is answered once, by whoever is first. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/request.h"
#include "fs/signals.h"
#include "scoutfs/clock.h"

/* What libfuse keeps of a request: its lock is held while it calls the interrupt's function, and it
 * looks at the request after that call. */
struct fuse_req {
	pthread_mutex_t lock;
	fuse_interrupt_func_t func;
	void *data;
	bool interrupted;
	bool registering;
	atomic_int replies;
	int err;
	struct fuse_ctx ctx;
};

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &req->ctx;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	pthread_mutex_lock(&req->lock);
	req->func = func;
	req->data = data;
	req->registering = true;
	if (req->interrupted && func)
		func(req, data);
	req->registering = false;
	pthread_mutex_unlock(&req->lock);
}

int fuse_reply_err(fuse_req_t req, int err)
{
	assert_false(req->registering); /* it would be used after it was freed */
	req->err = err;
	assert_int_equal(atomic_fetch_add(&req->replies, 1), 0);
	return 0;
}

static void interrupt(struct fuse_req *req)
{
	pthread_mutex_lock(&req->lock);
	req->interrupted = true;
	if (req->func)
		req->func(req, req->data);
	pthread_mutex_unlock(&req->lock);
}

#define FUSE_REQ                                  \
	{                                         \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

static const struct scout_backend_ops ops = {.name = "test"};
static const struct scout_backend backend = {&ops, NULL};

struct table {
	struct scout_inode *root;
	struct scout_requests *requests;
	struct scout_metrics metrics;
};

static int new_table(void **state)
{
	struct table *t = calloc(1, sizeof(*t));

	*state = t;
	return t && !scout_inodes_new(&t->root) && !scout_requests_new(&t->metrics, &t->requests)
		   ? 0
		   : -1;
}

static int free_table(void **state)
{
	struct table *t = *state;

	scout_requests_free(t->requests); /* asserts that none is left */
	assert_int_equal(t->root->pins, 1);
	assert_int_equal(t->metrics.in_flight, 0);
	scout_inodes_free(t->root);
	free(t);
	return 0;
}

static void done(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_request *r = scout_request_of(req);

	(void)res;
	if (scout_request_claim(r)) {
		scout_request_settle(r, err);
		fuse_reply_err(r->fuse, -err);
	}
	scout_request_put(r);
}

static struct scout_request *request(struct table *t, struct fuse_req *fuse, uint64_t timeout_ns)
{
	struct scout_request *r = scout_request_new(t->requests, fuse, SCOUT_OP_GETATTR, t->root,
						    &backend, 0, NULL, timeout_ns, done);

	assert_non_null(r);
	return r;
}

static uint64_t counted(struct table *t, int err)
{
	return scout_counted(&t->metrics.ops[0][SCOUT_OP_GETATTR].result[err]);
}

#define HOUR (3600 * SCOUT_NS_PER_S)

static void the_completion_answers(void **state)
{
	struct table *t = *state;
	struct fuse_req fuse = FUSE_REQ;
	struct scout_request *r = request(t, &fuse, HOUR);

	scout_request_start(r);
	assert_int_equal(t->metrics.in_flight, 1);
	scout_req_done(&r->base, -EACCES, NULL);
	assert_int_equal(fuse.replies, 1);
	assert_int_equal(fuse.err, EACCES);
	assert_null(fuse.func);
	interrupt(&fuse); /* too late: hits nothing */
	assert_int_equal(counted(t, EACCES), 1);
	assert_int_equal(scout_counted(&t->metrics.interrupted), 0);
}

static void an_interrupt_answers(void **state)
{
	struct table *t = *state;
	struct fuse_req fuse = FUSE_REQ;
	struct scout_request *r = request(t, &fuse, HOUR);

	scout_request_start(r);
	assert_false(scout_req_unwanted(&r->base));
	interrupt(&fuse);
	assert_int_equal(fuse.replies, 1);
	assert_int_equal(fuse.err, EINTR);
	interrupt(&fuse);
	assert_true(scout_req_unwanted(&r->base));
	scout_req_done(&r->base, 0, NULL);
	assert_int_equal(fuse.replies, 1);
	assert_int_equal(counted(t, EINTR), 1);
	assert_int_equal(counted(t, 0), 0);
	assert_int_equal(scout_counted(&t->metrics.interrupted), 1);
}

static void an_interrupt_that_overtook_its_request_answers_after_it_is_registered(void **state)
{
	struct table *t = *state;
	struct fuse_req fuse = FUSE_REQ;
	struct scout_request *r = request(t, &fuse, HOUR);

	interrupt(&fuse);
	scout_request_start(r);
	assert_int_equal(fuse.replies, 1);
	assert_int_equal(fuse.err, EINTR);
	assert_true(scout_req_unwanted(&r->base));
	scout_req_done(&r->base, 0, NULL);
	assert_int_equal(scout_counted(&t->metrics.interrupted), 1);
}

static void await_reply(struct fuse_req *fuse)
{
	uint64_t end = scout_now_ns() + 20 * SCOUT_NS_PER_S;

	while (!atomic_load(&fuse->replies))
		assert_true(scout_now_ns() < end);
}

static void ignore(int number)
{
	(void)number;
}

/* A process to which signals come, and wait: it is stopped. */
static pid_t stopped_process(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		signal(SIGALRM, ignore);
		signal(SIGTERM, ignore);
		signal(SIGINT, SIG_DFL); /* ignored in the background of a script */
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	return pid;
}

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void which_signals_end_a_call(void **state)
{
	const struct {
		int number;
		bool ends;
	} cases[] = {{SIGTSTP, false}, {SIGALRM, false}, {SIGWINCH, false}, {SIGUSR1, true},
		     {SIGINT, true},   {SIGTERM, true},  {SIGRTMAX, true}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pid_t pid = stopped_process();

		assert_false(scout_signals_end_call(pid));
		assert_int_equal(kill(pid, cases[i].number), 0);
		assert_int_equal(scout_signals_end_call(pid), cases[i].ends);
		end_process(pid);
		assert_true(scout_signals_end_call(pid)); /* there is none */
	}
	assert_true(scout_signals_end_call(0));
}

static void a_timer_does_not_end_a_call_and_ctrl_c_after_it_does(void **state)
{
	enum { MANY = 1100 }; /* more than are looked at at once in each shard */
	struct table *t = *state;
	static struct fuse_req fuse[MANY];
	struct scout_request *r[MANY];
	pid_t pid = stopped_process();

	kill(pid, SIGALRM);
	for (int i = 0; i < MANY; i++) {
		fuse[i] = (struct fuse_req)FUSE_REQ;
		fuse[i].ctx.pid = pid;
		r[i] = request(t, &fuse[i], HOUR);
		if (i % 2)
			interrupt(&fuse[i]);
		scout_request_start(r[i]);
		if (i % 2 == 0)
			interrupt(&fuse[i]);
		assert_int_equal(fuse[i].replies, 0);
	}
	scout_req_done(&r[0]->base, 0, NULL);
	assert_int_equal(fuse[0].err, 0);
	kill(pid, SIGINT);
	for (int i = 1; i < MANY; i++) {
		await_reply(&fuse[i]);
		scout_req_done(&r[i]->base, 0, NULL);
		assert_int_equal(fuse[i].err, EINTR);
	}
	end_process(pid);
}

static void what_is_late_is_answered(void **state)
{
	struct table *t = *state;
	struct fuse_req late = FUSE_REQ, in_time = FUSE_REQ, moving = FUSE_REQ, stalled = FUSE_REQ;
	struct scout_request *a = request(t, &in_time, HOUR), *b = request(t, &late, 1);
	struct scout_request *c = request(t, &moving, 1), *d = request(t, &stalled, 1);

	atomic_store(&d->base.alive_ns, scout_now_ns()); /* it got on, for a while */
	atomic_store(&c->base.alive_ns, scout_now_ns() + HOUR);
	scout_request_start(a);
	scout_request_start(c);
	scout_request_start(d);
	scout_request_start(b);
	await_reply(&late);
	await_reply(&stalled);
	assert_int_equal(moving.replies, 0);
	scout_req_done(&c->base, 0, NULL);
	assert_int_equal(late.err, ETIMEDOUT);
	assert_int_equal(stalled.err, ETIMEDOUT);
	scout_req_done(&d->base, 0, NULL);
	assert_int_equal(in_time.replies, 0);
	assert_true(scout_req_unwanted(&b->base));
	scout_req_done(&b->base, 0, NULL);
	scout_req_done(&a->base, 0, NULL);
	assert_int_equal(counted(t, ETIMEDOUT), 2);
	assert_int_equal(scout_counted(&t->metrics.timed_out), 2);
}

static void at_the_end_all_are_answered(void **state)
{
	enum { MANY = 300 };
	struct table *t = *state;
	static struct fuse_req fuse[MANY];
	struct scout_request *r[MANY];

	for (int i = 0; i < MANY; i++) {
		fuse[i] = (struct fuse_req)FUSE_REQ;
		r[i] = request(t, &fuse[i], HOUR);
		scout_request_start(r[i]);
	}
	scout_requests_abort(t->requests);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(fuse[i].replies, 1);
		assert_int_equal(fuse[i].err, ENOTCONN);
		scout_req_done(&r[i]->base, 0, NULL);
	}
	assert_int_equal(counted(t, ENOTCONN), MANY);
}

static void *interrupt_it(void *arg)
{
	interrupt(arg);
	return NULL;
}

static void *complete_it(void *arg)
{
	scout_req_done(arg, 0, NULL);
	return NULL;
}

/* fuse_reply_err asserts that there is one reply; the sanitizers see the rest. */
static void all_at_once_is_one_answer(void **state)
{
	struct table *t = *state;

	for (int i = 0; i < 300; i++) {
		struct fuse_req fuse = FUSE_REQ;
		struct scout_request *r = request(t, &fuse, HOUR);
		pthread_t threads[2];

		assert_int_equal(scout_thread_start(&threads[0], "interrupt", interrupt_it, &fuse),
				 0);
		scout_request_start(r);
		assert_int_equal(scout_thread_start(&threads[1], "complete", complete_it, &r->base),
				 0);
		pthread_join(threads[0], NULL);
		pthread_join(threads[1], NULL);
		assert_int_equal(fuse.replies, 1);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_table, free_table)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_completion_answers),
	    TEST(an_interrupt_answers),
	    TEST(an_interrupt_that_overtook_its_request_answers_after_it_is_registered),
	    TEST(which_signals_end_a_call),
	    TEST(a_timer_does_not_end_a_call_and_ctrl_c_after_it_does),
	    TEST(what_is_late_is_answered),
	    TEST(at_the_end_all_are_answered),
	    TEST(all_at_once_is_one_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
