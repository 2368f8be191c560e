/* Bytes: blocks fetched once for all, served as they come, evicted, failed, stale. */
#include "mount.h"

static void later(uint64_t ms)
{
	atomic_fetch_add(&fake_now, ms * SCOUT_NS_PER_MS);
}

static void all_sizes(void **state)
{
	static const uint64_t sizes[] = {1,       32767, 32768,   32769,      262144,
					 MIB - 1, MIB,   MIB + 1, 5 * MIB + 3};
	struct mount t;
	struct asked *f;
	char key[32];

	(void)state;
	mount_up(&t, "", 32 * MIB);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(key, sizeof(key), "m/%zu", i);
		fake_put(key, sizes[i]);
		f = must_open(&t, key);
		for (uint64_t at = 0; at < sizes[i]; at += MIB) {
			struct asked *a = ask_read(&t, f, at, MIB);
			uint64_t left = sizes[i] - at;

			fake_answer_all();
			expect_bytes(a, key, 0, at, left < MIB ? left : MIB);
		}
		expect_bytes(ask_read(&t, f, sizes[i], 4096), key, 0, 0, 0);
		expect_bytes(ask_read(&t, f, sizes[i] + MIB, 4096), key, 0, 0, 0);
		close_file(&t, f);
	}
	mount_down(&t);
}

static void empty_objects(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("empty", 0);
	f = must_open(&t, "empty");
	expect_bytes(ask_read(&t, f, 0, 4096), "empty", 0, 0, 0);
	assert_int_equal(fake.gets, 0);
	close_file(&t, f);
	mount_down(&t);
}

static void one_fetch_for_many_readers(void **state)
{
	struct mount t;
	struct asked *f[100], *a[100];

	(void)state;
	mount_up(&t, "", 256 * MIB);
	fake_put("tiny/model.zip", 24834009);
	for (int i = 0; i < 100; i++)
		f[i] = ask_open(&t, "tiny/model.zip");
	fake_answer_all();
	for (uint64_t at = 0; at < 24834009; at += MIB) {
		uint64_t left = 24834009 - at, size = left < MIB ? left : MIB;

		for (int i = 0; i < 100; i++)
			a[i] = ask_read(&t, f[i], at, i == 0 ? MIB : 4096);
		/* the first MiB, and all the rest at once when somebody reads on */
		assert_int_equal(fake_queued(), at == 0 ? 1 : at == MIB ? 16 : 0);
		fake_answer_all();
		for (int i = 0; i < 100; i++)
			expect_bytes(a[i], "tiny/model.zip", 0, at, i == 0 ? size : 4096);
	}
	assert_int_equal(fake.bytes, 24834009);
	assert_int_equal(fake.gets, 17);
	for (int i = 0; i < 100; i++)
		close_file(&t, f[i]);
	/* blocks stay after the last close */
	f[0] = must_open(&t, "tiny/model.zip");
	expect_bytes(ask_read(&t, f[0], 5000, MIB), "tiny/model.zip", 0, 5000, MIB);
	assert_int_equal(fake.gets, 17);
	close_file(&t, f[0]);
	mount_down(&t);
}

static void bytes_as_they_come(void **state)
{
	struct mount t;
	struct asked *f, *a, *b, *c;
	struct scout_s3_call *get;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("m", MIB);
	f = must_open(&t, "m");
	a = ask_read(&t, f, 0, 65536);
	b = ask_read(&t, f, 65536, 65536);
	c = ask_read(&t, f, 900000, 65536);
	get = fake_take(false);
	assert_int_equal(get->length, MIB);
	assert_int_equal(fake_headers(get), 0);
	assert_true(fake_send(get, 0, 100000, 7777));
	expect_bytes(a, "m", 0, 0, 65536);
	assert_false(b->done);
	assert_true(fake_send(get, 100000, 100000, 7777));
	expect_bytes(b, "m", 0, 65536, 65536);
	/* served from a block that is not full */
	expect_bytes(ask_read(&t, f, 131072, 4096), "m", 0, 131072, 4096);
	assert_true(fake_send(get, 200000, MIB - 200000, 300000));
	expect_bytes(c, "m", 0, 900000, 65536);
	get->done(get, 0);
	assert_int_equal(fake_queued(), 0);
	close_file(&t, f);
	mount_down(&t);
}

static void random_reads_fetch_blocks(void **state)
{
	struct mount t;
	struct asked *f, *a;

	(void)state;
	mount_up(&t, "", 64 * MIB);
	fake_put("m", 200 * MIB + 100);
	f = must_open(&t, "m");
	a = ask_read(&t, f, 200 * MIB, 65536);
	fake_answer_all();
	expect_bytes(a, "m", 0, 200 * MIB, 100);
	assert_int_equal(fake.got[0].length, 100);
	a = ask_read(&t, f, 50 * MIB + 200000, 65536 * 2);
	fake_answer_all();
	expect_bytes(a, "m", 0, 50 * MIB + 200000, 65536 * 2);
	assert_int_equal(fake.got[1].offset, 50 * MIB);
	assert_int_equal(fake.got[1].length, 2 * SCOUT_BUF_BYTES);
	/* the block between two that are there */
	a = ask_read(&t, f, 50 * MIB + 600000, 100);
	fake_answer_all();
	expect_bytes(a, "m", 0, 50 * MIB + 600000, 100);
	a = ask_read(&t, f, 51 * MIB - 4096, 4096);
	fake_answer_all();
	expect_bytes(a, "m", 0, 51 * MIB - 4096, 4096);
	a = ask_read(&t, f, 50 * MIB, MIB);
	assert_true(a->done);
	expect_bytes(a, "m", 0, 50 * MIB, MIB);
	assert_int_equal(fake.gets, 4);
	close_file(&t, f);
	mount_down(&t);
}

static void large_objects_are_read_ahead(void **state)
{
	struct mount t;
	struct asked *f, *a;

	(void)state;
	mount_up(&t, "", 64 * MIB);
	t.config.models.part_size = 2 * MIB;
	fake_put("m", 75 * MIB);
	f = must_open(&t, "m");
	a = ask_read(&t, f, 0, MIB);
	assert_int_equal(fake_queued(), 1); /* the first MiB */
	fake_answer_all();
	expect_bytes(a, "m", 0, 0, MIB);
	a = ask_read(&t, f, MIB, MIB);
	assert_int_equal(fake_queued(), 13); /* its part's rest, and the window of 24 MiB */
	fake_answer_all();
	expect_bytes(a, "m", 0, MIB, MIB);
	for (uint64_t at = 2 * MIB; at < 75 * MIB; at += MIB) {
		a = ask_read(&t, f, at, MIB);
		fake_answer_all();
		expect_bytes(a, "m", 0, at, MIB);
	}
	/* through half the memory: each byte once, few small fetches */
	assert_int_equal(fake.bytes, 75 * MIB);
	assert_in_range(fake.gets, 38, 60);
	assert_true(atomic_load(&t.models->nblocks) <= 32 * MIB / SCOUT_BUF_BYTES);
	close_file(&t, f);
	mount_down(&t);
}

static void unwanted_fetches_are_given_up(void **state)
{
	struct scout_s3_call *call;
	struct mount t;
	struct asked *f, *a;

	(void)state;
	mount_up(&t, "", 64 * MIB);
	t.config.models.part_size = 2 * MIB;
	fake_put("m", 75 * MIB);
	f = must_open(&t, "m");
	for (uint64_t at = 0; at < 2 * MIB; at += MIB) {
		a = ask_read(&t, f, at, MIB);
		assert_true(fake_answer_one());
		expect_bytes(a, "m", 0, at, MIB);
	}
	call = fake_take(false);
	assert_int_equal(fake_headers(call), 0);
	assert_true(fake_send(call, call->offset, 100000, 100000));
	close_file(&t, f);
	later(1001);
	/* at its next whole block, and the others are not sent */
	assert_false(fake_send(call, call->offset + 100000, call->length - 100000, 100000));
	call->done(call, -ECANCELED);
	fake_answer_all();
	assert_int_equal(fake.gets, 2);
	assert_in_range(fake.bytes, 2 * MIB + SCOUT_BUF_BYTES, 2 * MIB + 300000);
	/* and are fetched again when they are wanted again */
	f = must_open(&t, "m");
	a = ask_read(&t, f, 20 * MIB, MIB);
	fake_answer_all();
	expect_bytes(a, "m", 0, 20 * MIB, MIB);
	close_file(&t, f);
	mount_down(&t);
}

static void evicted_blocks_come_again(void **state)
{
	struct mount t;
	struct asked *f, *a;

	(void)state;
	mount_up(&t, "", 4 * MIB); /* 16 buffers, 2 tickets */
	fake_put("m", 12 * MIB);
	f = must_open(&t, "m");
	for (int round = 0; round < 2; round++) {
		for (uint64_t at = 0; at < 12 * MIB; at += MIB) {
			a = ask_read(&t, f, at, MIB);
			fake_answer_all();
			expect_bytes(a, "m", 0, at, MIB);
		}
	}
	assert_true(fake.bytes >= 20 * MIB);
	assert_true(scout_counted(&t.models->counters.block_evictions) > 0);
	close_file(&t, f);
	mount_down(&t);
}

static void the_cache_stays_within_its_share(void **state)
{
	struct mount t;
	struct asked *f, *a;
	char key[32];

	(void)state;
	mount_up(&t, "", 8 * MIB);
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		fake_put(key, MIB);
		f = must_open(&t, key);
		a = ask_read(&t, f, 0, MIB);
		fake_answer_all();
		expect_bytes(a, key, 0, 0, MIB);
		close_file(&t, f);
		assert_true(atomic_load(&t.models->nblocks) * SCOUT_BUF_BYTES <= 4 * MIB);
	}
	assert_int_equal(fake.gets, 20);
	mount_down(&t);
}

static void failed_fetches(void **state)
{
	struct mount t;
	struct asked *f, *a, *b;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("m", 2 * MIB);
	f = must_open(&t, "m");
	fake.cut_after = 700000;
	fake.fail_body = -ETIMEDOUT;
	a = ask_read(&t, f, 0, 131072);
	b = ask_read(&t, f, 800000, 65536);
	fake_answer_all();
	expect_bytes(a, "m", 0, 0, 131072);
	expect(b, -ETIMEDOUT);
	fake.cut_after = 0;
	/* what came stays; the rest is tried again */
	expect_bytes(ask_read(&t, f, 300000, 65536), "m", 0, 300000, 65536);
	later(1001);
	a = ask_read(&t, f, 0, MIB);
	fake_answer_all();
	expect_bytes(a, "m", 0, 0, MIB);
	assert_int_equal(fake.got[1].offset, 2 * SCOUT_BUF_BYTES);
	/* an engine that says all is well, and sent less */
	close_file(&t, f);
	fake_put("n", 2 * MIB);
	f = must_open(&t, "n");
	fake.cut_after = 100;
	fake.fail_body = 0;
	a = ask_read(&t, f, 0, MIB);
	fake_answer_all();
	expect(a, -EIO);
	close_file(&t, f);
	mount_down(&t);
}

/* The kernel asks again at once for the page of a failed read that a person waits for: that must not
 * take the same time once more. */
static void failures_are_told_once(void **state)
{
	struct mount t;
	struct asked *f, *g, *a, *b;

	(void)state;
	mount_up(&t, "", 64 * MIB);
	fake_put("m", 200 * MIB);
	f = must_open(&t, "m");
	g = must_open(&t, "m");
	fake.fail[SCOUT_S3_GET] = -ETIMEDOUT;
	a = ask_read(&t, f, 100 * MIB, 131072);
	b = ask_read(&t, f, 101 * MIB, 131072);
	fake_answer_all();
	expect(a, -ETIMEDOUT);
	expect(b, -ETIMEDOUT);
	expect(ask_read(&t, f, 100 * MIB + 4096, 4096), -ETIMEDOUT);
	expect(ask_read(&t, f, 101 * MIB, 131072), -ETIMEDOUT);
	assert_int_equal(fake_queued(), 0);
	/* other readers, other places and later reads go to S3 */
	fake.fail[SCOUT_S3_GET] = 0;
	a = ask_read(&t, f, 50 * MIB, 4096);
	fake_answer_all();
	expect_bytes(a, "m", 0, 50 * MIB, 4096);
	a = ask_read(&t, g, 101 * MIB, 4096);
	fake_answer_all();
	expect_bytes(a, "m", 0, 101 * MIB, 4096);
	/* what is there now is there for all */
	expect_bytes(ask_read(&t, f, 101 * MIB, 4096), "m", 0, 101 * MIB, 4096);
	later(1001);
	a = ask_read(&t, f, 100 * MIB, 131072);
	fake_answer_all();
	expect_bytes(a, "m", 0, 100 * MIB, 131072);
	close_file(&t, f);
	close_file(&t, g);
	mount_down(&t);
}

static void changed_objects_are_stale(void **state)
{
	struct mount t;
	struct asked *f, *g, *a;

	(void)state;
	mount_up(&t, "", 64 * MIB);
	fake_put("m", 200 * MIB);
	f = must_open(&t, "m");
	a = ask_read(&t, f, 100 * MIB, 4096);
	fake_answer_all();
	expect_bytes(a, "m", 0, 100 * MIB, 4096);
	fake_put("m", 200 * MIB);
	a = ask_read(&t, f, 110 * MIB, 4096);
	fake_answer_all();
	expect(a, -ESTALE);
	/* all later reads too, of what is cached as well */
	expect(ask_read(&t, f, 100 * MIB, 4096), -ESTALE);
	/* whoever opens it now gets the new one, though S3 was asked a moment ago */
	g = must_open(&t, "m");
	a = ask_read(&t, g, 100 * MIB, 4096);
	fake_answer_all();
	expect_bytes(a, "m", 1, 100 * MIB, 4096);
	expect(ask_read(&t, f, 100 * MIB, 4096), -ESTALE);
	close_file(&t, f);
	/* an open that finds another version tells those who have the old one */
	fake_put("m", 200 * MIB);
	later(1001);
	f = must_open(&t, "m");
	expect(ask_read(&t, g, 100 * MIB, 4096), -ESTALE);
	close_file(&t, g);
	/* deleted: stale as well */
	fake_delete("m");
	a = ask_read(&t, f, 0, 4096);
	fake_answer_all();
	expect(a, -ESTALE);
	close_file(&t, f);
	mount_down(&t);
}

static void servers_that_ignore_conditions(void **state)
{
	struct mount t;
	struct asked *f, *a;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("m", MIB);
	f = must_open(&t, "m");
	fake_put("m", MIB);
	fake.ignore_if_match = true;
	a = ask_read(&t, f, 0, 4096);
	fake_answer_all();
	expect(a, -ESTALE);
	close_file(&t, f);
	mount_down(&t);
}

static void other_attributes_need_proof(void **state)
{
	struct mount t;
	struct asked *f, *a;
	unsigned heads;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("m", MIB);
	f = must_open(&t, "m");
	later(1001);
	heads = fake.heads;
	/* the kernel's attributes are older than the handle: it is still that object */
	f->attr.version ^= 1;
	a = ask_read(&t, f, 0, 4096);
	fake_answer_all();
	expect_bytes(a, "m", 0, 0, 4096);
	assert_int_equal(fake.heads, heads + 1);
	expect_bytes(ask_read(&t, f, 4096, 4096), "m", 0, 4096, 4096);
	/* they are newer: it is not */
	later(1001);
	f->attr.version ^= 2;
	fake_put("m", MIB);
	a = ask_read(&t, f, 0, 4096);
	fake_answer_all();
	expect(a, -ESTALE);
	close_file(&t, f);
	mount_down(&t);
}

static void unwanted_reads_start_nothing(void **state)
{
	struct mount t;
	struct asked *f, *a = asked_new(READ);

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("m", MIB);
	f = must_open(&t, "m");
	atomic_store(&a->req.unwanted, true);
	t.backend.ops->read(t.backend.self, f->handle, 0, 4096, f->attr.version, &a->req);
	expect(a, -EINTR);
	assert_int_equal(fake_queued(), 0);
	close_file(&t, f);
	mount_down(&t);
}

static void stop_with_readers(void **state)
{
	struct mount t;
	struct asked *f[40], *a[40];
	char key[32];

	(void)state;
	mount_up(&t, "", 4 * MIB); /* one ticket: most wait for it */
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		fake_put(key, 3 * MIB);
		f[i] = must_open(&t, key);
	}
	for (int i = 0; i < 40; i++)
		a[i] = ask_read(&t, f[i], 0, MIB);
	mount_stop(&t);
	for (int i = 0; i < 40; i++) {
		expect(a[i], -ESHUTDOWN);
		expect(ask_read(&t, f[i], 0, MIB), -ESHUTDOWN);
		close_file(&t, f[i]);
	}
	mount_down(&t);
}

/* Somebody else holds all buffers: a read waits, goes on when one comes, or ends by stop. */
static void waits_for_buffers(void **state)
{
	struct mount t;
	struct asked *f, *a, *b;
	struct scout_share *other;
	void *bufs[64];
	size_t n = 0;

	(void)state;
	mount_up(&t, "", 4 * MIB);
	fake_put("m", 8 * MIB);
	f = must_open(&t, "m");
	assert_int_equal(scout_share_new(t.budget, 1, &other), 0);
	while ((bufs[n] = scout_buf_try(other)))
		n++;
	assert_int_equal(n, 16);
	a = ask_read(&t, f, 5 * MIB, 300000);
	assert_int_equal(fake_queued(), 0);
	scout_buf_put(other, bufs[--n]);
	assert_int_equal(fake_queued(), 0); /* needs two */
	scout_buf_put(other, bufs[--n]);
	fake_answer_all();
	expect_bytes(a, "m", 0, 5 * MIB, 300000);
	/* its two blocks are cached now, and what it needs next */
	a = ask_read(&t, f, MIB, 300000);
	fake_answer_all();
	expect_bytes(a, "m", 0, MIB, 300000);
	while (scout_block_evict(t.models, false))
		;
	while ((bufs[n] = scout_buf_try(other)))
		n++;
	b = ask_read(&t, f, 3 * MIB, 300000);
	assert_false(b->done);
	mount_stop(&t);
	expect(b, -ESHUTDOWN);
	while (n > 0)
		scout_buf_put(other, bufs[--n]);
	scout_share_free(other);
	close_file(&t, f);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_sizes),
	    cmocka_unit_test(empty_objects),
	    cmocka_unit_test(one_fetch_for_many_readers),
	    cmocka_unit_test(bytes_as_they_come),
	    cmocka_unit_test(random_reads_fetch_blocks),
	    cmocka_unit_test(large_objects_are_read_ahead),
	    cmocka_unit_test(unwanted_fetches_are_given_up),
	    cmocka_unit_test(evicted_blocks_come_again),
	    cmocka_unit_test(the_cache_stays_within_its_share),
	    cmocka_unit_test(failed_fetches),
	    cmocka_unit_test(failures_are_told_once),
	    cmocka_unit_test(changed_objects_are_stale),
	    cmocka_unit_test(servers_that_ignore_conditions),
	    cmocka_unit_test(other_attributes_need_proof),
	    cmocka_unit_test(unwanted_reads_start_nothing),
	    cmocka_unit_test(stop_with_readers),
	    cmocka_unit_test(waits_for_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
