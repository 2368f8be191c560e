/* What is read whole and not compared: without a checksum, or too far ahead of the digest. It is answered all the
 * same, and counted once. */
#include "verify_mount.h"

#include "models/read.h"

#define GIB_BLOCKS ((uint64_t)4096)

static void nothing_to_compare_with(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	up(&t, BYTES, true);
	fake.headers = NULL;
	f = must_open(&t, KEY);
	assert_int_equal(read_whole(&t, f, BYTES), 0);
	assert_int_equal(read_whole(&t, f, BYTES), 0);
	assert_int_equal(unverified(&t), 1);
	close_file(&t, f);
	mount_down(&t);
}

/* Whole is what came, in whatever order. */
static void the_end_before_the_rest(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	up(&t, BYTES, true);
	fake.headers = NULL;
	f = must_open(&t, KEY);
	asked_free(read_at(&t, f, 5 * MIB));
	assert_int_equal(unverified(&t), 0);
	for (uint64_t at = 0; at < 5 * MIB; at += MIB)
		asked_free(read_at(&t, f, at));
	assert_int_equal(unverified(&t), 1);
	close_file(&t, f);
	mount_down(&t);
}

/* Reads 24 MiB in 16 MiB of memory from the last of the first so many down, then what is behind these. */
static void read_back(struct mount *t, struct asked *f, uint64_t mibs)
{
	for (uint64_t at = mibs; at-- > 0;)
		expect_bytes(read_at(t, f, at * MIB), KEY, 0, at * MIB, MIB);
	for (uint64_t at = mibs; at < 24; at++)
		expect_bytes(read_at(t, f, at * MIB), KEY, 0, at * MIB, MIB);
}

/* What the digest has yet to come to was pushed out: who waited for it would wait forever, be it with the last read,
 * or where he has read all that is before. */
static void pushed_out_before_the_digest(void **state)
{
	(void)state;
	for (uint64_t mibs = 24; mibs >= 20; mibs -= 4) {
		struct mount t;
		struct asked *f;

		up(&t, 24 * MIB, true);
		f = must_open(&t, KEY);
		read_back(&t, f, mibs);
		assert_int_equal(unverified(&t), 1);
		assert_int_equal(verified(&t), 0);
		/* it goes on when they are fetched again */
		assert_int_equal(read_whole(&t, f, 24 * MIB), 0);
		assert_int_equal(unverified(&t), 1);
		assert_int_equal(verified(&t), 1);
		close_file(&t, f);
		mount_down(&t);
	}
}

/* Those of an object that never come, without memory. */
static void add_blocks(struct mount *t, struct scout_object *o, uint64_t blocks)
{
	scout_lock(&o->lock);
	for (uint64_t i = 0; i < blocks; i++)
		assert_non_null(scout_block_add_locked(t->models, o, i, NULL));
	scout_unlock(&o->lock);
}

static void remove_blocks(struct mount *t, struct scout_object *o, uint64_t blocks)
{
	for (uint64_t i = 0; i < blocks; i++) {
		struct scout_block *b;

		scout_lock(&o->lock);
		b = scout_block_find_locked(o, i);
		assert_true(scout_block_fail_locked(t->models, b, -EIO));
		scout_unlock(&o->lock);
		scout_block_free(t->models, b);
	}
}

/* Of an object whose blocks are read last to first, what becomes of the last read while all of them are on their way
 * to the digest, which is over so many. */
static int last_state(struct mount *t, uint64_t blocks, uint64_t digested)
{
	struct scout_answer answer = {.bytes = blocks * SCOUT_BUF_BYTES,
				      .etag = "\"x\"",
				      .checksum = {.kind = SCOUT_S3_CRC32}};
	struct scout_models_file file = {.end = 0};
	struct scout_object *o;
	int state = 1;

	assert_int_equal(scout_object_open(t->models, KEY, &answer, &file), 0);
	o = file.object;
	add_blocks(t, o, blocks);
	scout_lock(&o->lock);
	o->verify.next = o->verify.frontier = digested;
	for (uint64_t i = blocks; i-- > 0;) {
		assert_int_equal(state, 1);
		state = scout_verify_state_locked(t->models, o, i * SCOUT_BUF_BYTES,
						  (i + 1) * SCOUT_BUF_BYTES, false);
	}
	scout_unlock(&o->lock);
	remove_blocks(t, o, blocks);
	scout_object_close(t->models, &file);
	return state;
}

/* The last read waits for a digest that is 1 GiB behind, and not for one that is more. */
static void a_gib_ahead_of_the_digest(void **state)
{
	struct mount t;

	(void)state;
	up(&t, 1, true);
	assert_int_equal(last_state(&t, GIB_BLOCKS, 0), 0);
	assert_int_equal(last_state(&t, GIB_BLOCKS + 1, 1), 0);
	assert_int_equal(unverified(&t), 0);
	assert_int_equal(last_state(&t, GIB_BLOCKS + 1, 0), 1);
	assert_int_equal(unverified(&t), 1);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_to_compare_with),
	    cmocka_unit_test(the_end_before_the_rest),
	    cmocka_unit_test(pushed_out_before_the_digest),
	    cmocka_unit_test(a_gib_ahead_of_the_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
