/* Whole reads against checksums: right, wrong; who waits for the verdict and who does not. */
#include "verify_mount.h"

static void right_bytes(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	up(&t, BYTES, true);
	f = must_open(&t, KEY);
	assert_int_equal(read_whole(&t, f, BYTES), 0);
	assert_int_equal(verified(&t), 1);
	assert_int_equal(read_whole(&t, f, BYTES), 0);
	close_file(&t, f);
	assert_int_equal(verified(&t), 1);
	assert_int_equal(unverified(&t), 0);
	mount_down(&t);
}

static void wrong_bytes(void **state)
{
	struct mount t;
	struct asked *f, *again;

	(void)state;
	up(&t, BYTES, true);
	f = must_open(&t, KEY);
	fake.wrong_at = 3 * MIB;
	assert_int_equal(read_whole(&t, f, BYTES), -EIO);
	assert_int_equal(mismatches(&t), 1);
	/* from now on all of it, for who has it open */
	expect(read_at(&t, f, 0), -EIO);
	fake.wrong_at = 0;
	again = must_open(&t, KEY);
	assert_true(again->drop_cache);
	assert_int_equal(read_whole(&t, again, BYTES), 0);
	assert_true(fake.bytes >= 2 * BYTES);
	assert_int_equal(verified(&t), 1);
	expect(read_at(&t, f, 0), -EIO);
	close_file(&t, f);
	close_file(&t, again);
	f = must_open(&t, KEY);
	assert_false(f->drop_cache);
	close_file(&t, f);
	mount_down(&t);
}

static void not_asked_for(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	up(&t, BYTES, false);
	f = must_open(&t, KEY);
	fake.wrong_at = 3 * MIB;
	assert_int_equal(read_whole(&t, f, BYTES), 0);
	assert_int_equal(verified(&t) + unverified(&t) + mismatches(&t), 0);
	close_file(&t, f);
	mount_down(&t);
}

/* The read after which all was given is told, whichever it is. */
static void expect_told(const uint64_t *mibs, size_t n)
{
	struct mount t;
	struct asked *f;
	int err = 0;

	up(&t, BYTES, true);
	fake.wrong_at = 3 * MIB;
	f = must_open(&t, KEY);
	for (size_t i = 0; i < n; i++)
		err = read_on(&t, f, mibs[i] * MIB, err);
	assert_int_equal(err, -EIO);
	assert_int_equal(mismatches(&t), 1);
	assert_int_equal(unverified(&t), 0);
	close_file(&t, f);
	mount_down(&t);
}

static void told_in_any_order(void **state)
{
	(void)state;
	expect_told((const uint64_t[]){5, 0, 1, 2, 3, 4}, 6);
	expect_told((const uint64_t[]){5, 3, 1, 4, 0, 2}, 6);
	expect_told((const uint64_t[]){4, 5, 3, 2, 1, 0}, 6);
}

/* Those that the digest still has go later. */
static void evict_all(struct mount *t)
{
	time_t end = time(NULL) + 30;

	while (t->models->nblocks > 0) {
		(void)scout_block_evict(t->models, false);
		assert_true(time(NULL) < end);
	}
}

/* Reads some MiB of KEY from its start; then nobody has it open, and its blocks are gone. */
static void read_half(struct mount *t, uint64_t mibs)
{
	struct asked *f = must_open(t, KEY);

	for (uint64_t i = 0; i < mibs; i++)
		expect(read_at(t, f, i * MIB), 0);
	close_file(t, f);
	evict_all(t);
}

#define KERNELS ((size_t)200 * 1024)

/* The kernel has the end of the file from another reader, and sends no read of it. */
static void told_before_the_end(void **state)
{
	struct mount t;
	struct asked *f, *a;

	(void)state;
	up(&t, BYTES, true);
	fake.wrong_at = 3 * MIB;
	f = must_open(&t, KEY);
	a = ask_read(&t, f, 5 * MIB - KERNELS, KERNELS + 77);
	fake_answer_all();
	expect(a, 0);
	close_file(&t, f);
	evict_all(&t);
	f = must_open(&t, KEY);
	for (uint64_t at = 0; at < 4 * MIB; at += MIB)
		asked_free(read_at(&t, f, at));
	a = ask_read(&t, f, 4 * MIB, MIB - KERNELS);
	fake_answer_all();
	asked_wait(a);
	expect(a, -EIO);
	assert_int_equal(mismatches(&t), 1);
	close_file(&t, f);
	mount_down(&t);
}

/* Who reads the end alone waits for nobody, and is no whole read. */
static void the_end_alone(void **state)
{
	struct mount t;
	struct asked *f, *a;

	(void)state;
	up(&t, 12 * MIB, true);
	f = must_open(&t, KEY);
	a = ask_read(&t, f, 12 * MIB - 100, 100);
	fake_answer_all();
	expect_bytes(a, KEY, 0, 12 * MIB - 100, 100);
	assert_int_equal(verified(&t) + unverified(&t) + mismatches(&t), 0);
	close_file(&t, f);
	mount_down(&t);
}

/* The kernel has what a reader before read: it is compared with the rest all the same. */
static void told_to_who_goes_on(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	up(&t, 24 * MIB, true);
	fake.wrong_at = MIB;
	read_half(&t, 3);
	f = must_open(&t, KEY);
	assert_false(f->drop_cache);
	assert_int_equal(read_from(&t, f, 3 * MIB, 24 * MIB), -EIO);
	assert_int_equal(mismatches(&t), 1);
	close_file(&t, f);
	mount_down(&t);
}

static void open_others(struct mount *t, const char *folder, int n)
{
	for (int i = 0; i < n; i++) {
		char key[32];

		snprintf(key, sizeof(key), "%s/%d", folder, i);
		fake_put(key, 1);
		close_file(t, must_open(t, key));
		fake_delete(key);
	}
}

/* What is remembered of objects without a verdict is bounded: then the kernel is to forget its pages. */
static void forgotten(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	up(&t, 24 * MIB, true);
	read_half(&t, 3);
	open_others(&t, "fewer", 1023);
	f = must_open(&t, KEY);
	assert_false(f->drop_cache);
	close_file(&t, f);
	evict_all(&t);
	open_others(&t, "as many", 1024);
	f = must_open(&t, KEY);
	assert_true(f->drop_cache);
	assert_int_equal(read_whole(&t, f, 24 * MIB), 0);
	close_file(&t, f);
	read_half(&t, 0);
	assert_int_equal(verified(&t), 1);
	f = must_open(&t, KEY);
	assert_false(f->drop_cache);
	close_file(&t, f);
	mount_down(&t);
}

/* More than there is memory for: who reads in order does not get away from the digest, nor does he whose first reads
 * changed places on their way. */
static void larger_than_memory(void **state)
{
	(void)state;
	for (int swapped = 0; swapped < 2; swapped++) {
		struct mount t;
		struct asked *f;

		up(&t, 24 * MIB, true);
		f = must_open(&t, KEY);
		if (swapped) {
			expect_bytes(read_at(&t, f, MIB), KEY, 0, MIB, MIB);
			expect_bytes(read_at(&t, f, 0), KEY, 0, 0, MIB);
		}
		for (uint64_t at = swapped ? 2 * MIB : 0; at < 24 * MIB; at += MIB)
			expect_bytes(read_at(&t, f, at), KEY, 0, at, MIB);
		assert_int_equal(verified(&t), 1);
		assert_int_equal(unverified(&t), 0);
		assert_int_equal(mismatches(&t), 0);
		close_file(&t, f);
		mount_down(&t);
	}
}

/* No small read, of which few have memory at once. */
#define KEPT_BYTES ((size_t)200 * 1024)

/* Verifiers tell the readers of an object's end what it came to: there they can be kept. */
struct gate {
	struct asked *asked[SCOUT_VERIFIERS_MAX], *file[SCOUT_VERIFIERS_MAX];
	unsigned verifiers;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned kept; /* under lock */
	bool open;     /* under lock */
};
static struct gate gate, second_gate;

static void keep_at(struct gate *g, struct scout_req *req, int err, const struct scout_result *res)
{
	pthread_mutex_lock(&g->lock);
	g->kept++;
	pthread_cond_broadcast(&g->cond);
	while (!g->open)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
	asked_done(req, err, res);
}

static void keep_verifier(struct scout_req *req, int err, const struct scout_result *res)
{
	keep_at(&gate, req, err, res);
}

static void keep_again(struct scout_req *req, int err, const struct scout_result *res)
{
	keep_at(&second_gate, req, err, res);
}

static void gate_up(struct gate *g, struct mount *t)
{
	*g = (struct gate){.verifiers = t->models->verifiers.nthreads};
	pthread_mutex_init(&g->lock, NULL);
	scout_cond_init(&g->cond);
}

/* The i-th object for a gate is read whole. */
static void read_for(struct gate *g, struct mount *t, const char *key, unsigned i)
{
	g->file[i] = must_open(t, key);
	g->asked[i] = asked_new(READ);
	g->asked[i]->req.done = g == &gate ? keep_verifier : keep_again;
	t->backend.ops->read(t->backend.self, g->file[i]->handle, 0, KEPT_BYTES,
			     g->file[i]->attr.version, &g->asked[i]->req);
	fake_answer_all();
}

static void wait_for_kept(struct gate *g, unsigned n)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&g->lock);
	while (g->kept < n && err == 0)
		err = pthread_cond_timedwait(&g->cond, &g->lock, &until);
	assert_true(g->kept >= n);
	pthread_mutex_unlock(&g->lock);
}

static void keep_verifiers(struct mount *t)
{
	gate_up(&gate, t);
	for (unsigned i = 0; i < gate.verifiers; i++) {
		char key[32];

		snprintf(key, sizeof(key), "kept/%u", i);
		put(key, KEPT_BYTES);
		read_for(&gate, t, key, i);
		wait_for_kept(&gate, i + 1);
	}
}

static void open_gate(struct gate *g, struct mount *t, int want)
{
	pthread_mutex_lock(&g->lock);
	g->open = true;
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
	for (unsigned i = 0; i < g->verifiers; i++) {
		asked_wait(g->asked[i]);
		assert_int_equal(g->asked[i]->err, want);
		asked_free(g->asked[i]);
		close_file(t, g->file[i]);
	}
}

/* However slow the digest is: who reads in order waits for it, and who reads elsewhere does not. */
static void a_slow_digest(void **state)
{
	uint64_t at = 0, bytes = 24 * MIB;
	struct asked *f, *other, *a, *b;
	struct mount t;

	(void)state;
	up(&t, bytes, true);
	f = must_open(&t, KEY);
	other = must_open(&t, KEY);
	keep_verifiers(&t);
	for (;;) {
		a = ask_read(&t, f, at, MIB);
		fake_answer_all();
		if (!asked_is_done(a))
			break;
		assert_int_equal(a->err, 0);
		asked_free(a);
		at += MIB;
		assert_true(at < bytes);
	}
	/* an eighth of the memory, be it shared with what the verifiers have in hand, or with what was begun */
	assert_in_range(at, MIB, 2 * MIB);
	b = ask_read(&t, other, 20 * MIB, 1000);
	fake_answer_all();
	expect_bytes(b, KEY, 0, 20 * MIB, 1000);
	assert_false(asked_is_done(a));
	open_gate(&gate, &t, 0);
	asked_wait(a);
	assert_int_equal(a->err, 0);
	asked_free(a);
	for (at += MIB; at < bytes; at += MIB) {
		a = read_at(&t, f, at);
		assert_int_equal(a->err, 0);
		asked_free(a);
	}
	assert_int_equal(verified(&t), gate.verifiers + 1);
	assert_int_equal(unverified(&t), 0);
	close_file(&t, f);
	close_file(&t, other);
	mount_down(&t);
}

/* Nor does who reads elsewhere wait where the end was read, until all is there. */
static void the_end_and_a_slow_digest(void **state)
{
	struct asked *f, *a;
	struct mount t;

	(void)state;
	up(&t, 24 * MIB, true);
	f = must_open(&t, KEY);
	keep_verifiers(&t);
	for (uint64_t at = 24; at-- > 20;) {
		a = ask_read(&t, f, at * MIB, 1000);
		fake_answer_all();
		expect_bytes(a, KEY, 0, at * MIB, 1000);
	}
	a = ask_read(&t, f, 0, MIB);
	fake_answer_all();
	expect_bytes(a, KEY, 0, 0, MIB);
	a = ask_read(&t, f, 10 * MIB, MIB);
	fake_answer_all();
	expect_bytes(a, KEY, 0, 10 * MIB, MIB);
	open_gate(&gate, &t, 0);
	close_file(&t, f);
	mount_down(&t);
}

/* A read that overtakes many does not end the order. */
static void overtaken_and_a_slow_digest(void **state)
{
	static const uint64_t order[] = {0, 6, 1, 2, 3, 4, 5};
	struct asked *f, *a = NULL;
	struct mount t;
	uint64_t at;

	(void)state;
	up(&t, 24 * MIB, true);
	f = must_open(&t, KEY);
	keep_verifiers(&t);
	for (size_t i = 0; i < 7; i++) {
		at = order[i] * SCOUT_BUF_BYTES;
		a = ask_read(&t, f, at, SCOUT_BUF_BYTES);
		fake_answer_all();
		expect_bytes(a, KEY, 0, at, SCOUT_BUF_BYTES);
	}
	for (at = 7 * SCOUT_BUF_BYTES; at < 8 * MIB; at += SCOUT_BUF_BYTES) {
		a = ask_read(&t, f, at, SCOUT_BUF_BYTES);
		fake_answer_all();
		if (!asked_is_done(a))
			break;
		asked_free(a);
	}
	assert_true(at < 8 * MIB);
	open_gate(&gate, &t, 0);
	asked_wait(a);
	expect_bytes(a, KEY, 0, at, SCOUT_BUF_BYTES);
	assert_int_equal(read_from(&t, f, at, 24 * MIB), 0);
	assert_int_equal(unverified(&t), 0);
	close_file(&t, f);
	mount_down(&t);
}

/* Those whose digests could have their turn together are shared out, while they are few. */
static void few_have_a_verifier_each(void **state)
{
	struct mount t;

	(void)state;
	up(&t, BYTES, true);
	keep_verifiers(&t);
	fake.headers = NULL;
	fake.etag = "\"00112233445566778899aabbccddeeff\""; /* nothing's MD5 */
	gate_up(&second_gate, &t);
	for (unsigned i = 0; i < second_gate.verifiers; i++) {
		char key[32];

		snprintf(key, sizeof(key), "few/%u", i);
		fake_put(key, KEPT_BYTES);
		read_for(&second_gate, &t, key, i);
	}
	open_gate(&gate, &t, 0);
	wait_for_kept(&second_gate, second_gate.verifiers);
	open_gate(&second_gate, &t, -EIO);
	mount_down(&t);
}

static void once_for_many_readers(void **state)
{
	struct mount t;

	(void)state;
	up(&t, BYTES, true);
	read_by_many(&t, 0);
	assert_int_equal(verified(&t), 1);
	assert_int_equal(unverified(&t), 0);
	mount_down(&t);
}

static void every_reader_is_told(void **state)
{
	struct mount t;

	(void)state;
	up(&t, BYTES, true);
	fake.wrong_at = 1;
	read_by_many(&t, -EIO);
	assert_true(mismatches(&t) >= 1);
	assert_int_equal(verified(&t), 0);
	mount_down(&t);
}

/* What is stopped while a digest is under way leaves nothing behind. */
static void stopped(void **state)
{
	struct mount t;
	struct asked *f, *a;

	(void)state;
	up(&t, 10 * MIB, true);
	f = must_open(&t, KEY);
	assert_int_equal(read_from(&t, f, 0, 9 * MIB), 0);
	a = ask_read(&t, f, 9 * MIB, MIB);
	fake_answer_all();
	mount_stop(&t);
	asked_wait(a);
	assert_true(a->err == 0 || a->err == -ESHUTDOWN);
	asked_free(a);
	close_file(&t, f);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(right_bytes),
	    cmocka_unit_test(wrong_bytes),
	    cmocka_unit_test(not_asked_for),
	    cmocka_unit_test(told_in_any_order),
	    cmocka_unit_test(told_before_the_end),
	    cmocka_unit_test(told_to_who_goes_on),
	    cmocka_unit_test(forgotten),
	    cmocka_unit_test(the_end_alone),
	    cmocka_unit_test(larger_than_memory),
	    cmocka_unit_test(few_have_a_verifier_each),
	    cmocka_unit_test(a_slow_digest),
	    cmocka_unit_test(the_end_and_a_slow_digest),
	    cmocka_unit_test(overtaken_and_a_slow_digest),
	    cmocka_unit_test(once_for_many_readers),
	    cmocka_unit_test(every_reader_is_told),
	    cmocka_unit_test(stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
