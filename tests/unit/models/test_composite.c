/* Whole reads against the checksum of an upload's parts: what S3 is asked for them, and what becomes of the bytes. */
#include "verify_mount.h"

#include <openssl/evp.h>

static char log_path[] = "/tmp/scoutfs-composite-XXXXXX";

/* Parts of BYTES that are as large as the first but for the last, and others. */
static const uint64_t three[] = {2 * MIB, 2 * MIB, MIB + 77, 0};
static const uint64_t two[] = {3 * MIB, 2 * MIB + 77, 0};
static const uint64_t one[] = {BYTES, 0};
static const uint64_t six[] = {MIB, MIB, MIB, MIB, MIB, 77, 0};
static const uint64_t as_it_happens[] = {2 * MIB, 2 * MIB - 1, MIB + 78, 0};
static const uint64_t too_many[] = {2 * MIB, MIB, MIB, MIB + 77, 0};

/* The SHA-256 of the parts' SHA-256s of KEY's bytes, and how many parts they are, as S3 tells it. */
static void tell_composite(uint64_t bytes, const uint64_t *parts)
{
	static char value[80];
	static const char *headers[] = {"x-amz-checksum-sha256", value, "x-amz-checksum-type",
					"COMPOSITE", NULL};
	uint8_t *all = malloc(bytes), sums[6 * 32], sum[32];
	uint64_t at = 0;
	size_t n = 0;

	fake_bytes(all, KEY, 0, 0, bytes);
	for (; parts[n] > 0; at += parts[n++])
		assert_int_equal(
		    EVP_Digest(all + at, parts[n], sums + 32 * n, NULL, EVP_sha256(), NULL), 1);
	assert_int_equal(at, bytes);
	assert_int_equal(EVP_Digest(sums, 32 * n, sum, NULL, EVP_sha256(), NULL), 1);
	EVP_EncodeBlock((uint8_t *)value, sum, 32);
	sprintf(value + strlen(value), "-%zu", n);
	free(all);
	fake.headers = headers;
}

static void up_in_parts(struct mount *t, uint64_t bytes, const uint64_t *parts)
{
	up(t, bytes, true);
	assert_int_equal(truncate(log_path, 0), 0);
	(void)scout_log_open(SCOUT_LOG_WARN, log_path, false);
	tell_composite(bytes, parts);
	fake.part_bytes = parts;
}

/* What a comes to, while S3 answers whatever it is asked; frees it. */
static int end_of(struct asked *a)
{
	time_t end = time(NULL) + 30;
	int err;

	while (!asked_is_done(a)) {
		fake_answer_all();
		usleep(1000);
		assert_true(time(NULL) < end);
	}
	err = a->err;
	asked_free(a);
	return err;
}

/* What the last read of all comes to; those before it may know. */
static int read_all(struct mount *t, struct asked *f, uint64_t from, uint64_t bytes)
{
	int err = 0;

	for (uint64_t at = from; at < bytes; at += MIB) {
		int now = end_of(ask_read(t, f, at, MIB));

		assert_true(now == -EIO || err == 0);
		err = now;
	}
	return err;
}

static void expect_parts(const uint64_t *parts, unsigned asked)
{
	struct mount t;
	struct asked *f;

	up_in_parts(&t, BYTES, parts);
	f = must_open(&t, KEY);
	assert_int_equal(read_all(&t, f, 0, BYTES), 0);
	assert_int_equal(verified(&t), 1);
	assert_int_equal(unverified(&t), 0);
	close_file(&t, f);
	close_file(&t, must_open(&t, KEY));
	assert_int_equal(fake.parts, asked);
	assert_int_equal(lines_of(log_path, ""), 0);
	mount_down(&t);
}

/* One question, whatever the number of parts; none where the part is the whole. */
static void right_bytes(void **state)
{
	(void)state;
	expect_parts(one, 0);
	expect_parts(two, 1);
	expect_parts(three, 1);
	expect_parts(six, 1);
}

static void expect_wrong(const uint64_t *parts, uint64_t at, unsigned asked)
{
	struct mount t;
	struct asked *f;

	up_in_parts(&t, BYTES, parts);
	f = must_open(&t, KEY);
	fake.wrong_at = at + 1;
	assert_int_equal(read_all(&t, f, 0, BYTES), -EIO);
	assert_int_equal(mismatches(&t), 1);
	assert_int_equal(unverified(&t), 0);
	assert_int_equal(fake.parts, asked);
	assert_int_equal(lines_of(log_path, "do not match its checksum, sha256 of "), 1);
	assert_int_equal(lines_of(log_path, ""), 1);
	assert_int_equal(end_of(ask_read(&t, f, 0, MIB)), -EIO);
	/* whoever opens it then has all of it fetched again */
	fake.wrong_at = 0;
	close_file(&t, f);
	f = must_open(&t, KEY);
	assert_int_equal(read_all(&t, f, 0, BYTES), 0);
	assert_int_equal(verified(&t), 1);
	close_file(&t, f);
	mount_down(&t);
}

/* Before bytes are called wrong, the sizes of the parts are made sure of that are not known from others. */
static void wrong_bytes(void **state)
{
	(void)state;
	expect_wrong(one, MIB, 0);
	expect_wrong(two, 0, 1);
	expect_wrong(two, BYTES - 1, 1);
	for (uint64_t at = 0; at < BYTES; at += 2 * MIB)
		expect_wrong(three, at, 2);
	expect_wrong(six, 3 * MIB, 5);
}

/* All of it is served, with one line that says why nothing was compared. */
static void expect_uncompared(struct mount *t, const char *why, unsigned asked)
{
	struct asked *f = must_open(t, KEY);

	assert_int_equal(read_all(t, f, 0, BYTES), 0);
	assert_int_equal(read_all(t, f, 0, BYTES), 0);
	close_file(t, f);
	close_file(t, must_open(t, KEY));
	assert_int_equal(unverified(t), 1);
	assert_int_equal(verified(t) + mismatches(t), 0);
	assert_int_equal(fake.parts, asked);
	assert_int_equal(lines_of(log_path, why), 1);
	assert_int_equal(lines_of(log_path, ""), 1);
	mount_down(t);
}

static void where_nobody_knows_parts(void **state)
{
	struct mount t;

	(void)state;
	up_in_parts(&t, BYTES, three);
	fake.part_bytes = NULL;
	expect_uncompared(
	    &t, "sha256 of 3 parts: by what S3 says, the first one has 5242957 bytes of 5242957",
	    1);
	up_in_parts(&t, BYTES, three);
	fake.fail_part = -EACCES;
	expect_uncompared(&t, "no part can be asked for", 1);
}

static void of_several_sizes(void **state)
{
	struct mount t;

	(void)state;
	up_in_parts(&t, BYTES, too_many);
	expect_uncompared(&t, "sha256 of 4 parts: by what S3 says, the first one has 2097152 bytes",
			  1);
	/* as many as if they were of one size: known when it does not match */
	up_in_parts(&t, BYTES, as_it_happens);
	expect_uncompared(&t, "sha256 of 3 parts: these are of several sizes", 2);
}

/* What does not match, and is not known to be right, is never served. */
static void no_answer_for_other_parts(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	up_in_parts(&t, BYTES, as_it_happens);
	f = must_open(&t, KEY);
	fake.fail_part = -ETIMEDOUT;
	assert_int_equal(read_all(&t, f, 0, BYTES), -EIO);
	assert_int_equal(mismatches(&t), 1);
	close_file(&t, f);
	fake.fail_part = 0;
	f = must_open(&t, KEY);
	assert_int_equal(read_all(&t, f, 0, BYTES), 0);
	assert_int_equal(unverified(&t), 1);
	close_file(&t, f);
	mount_down(&t);
}

static void expect_nothing_asked(struct mount *t, uint64_t compared)
{
	struct asked *f = must_open(t, KEY);

	assert_int_equal(read_all(t, f, 0, BYTES), 0);
	assert_int_equal(verified(t), compared);
	assert_int_equal(fake.parts, 0);
	assert_int_equal(fake.heads, 1);
	close_file(t, f);
	mount_down(t);
}

/* Of an object that has another checksum, or where none is wanted. */
static void nothing_to_ask(void **state)
{
	const char *both[5];
	struct mount t;

	(void)state;
	up(&t, BYTES, true);
	memcpy(both, fake.headers, 2 * sizeof(both[0]));
	tell_composite(BYTES, three);
	memcpy(both + 2, fake.headers, 2 * sizeof(both[0]));
	both[4] = NULL;
	fake.headers = both;
	expect_nothing_asked(&t, 1);
	up(&t, BYTES, true);
	fake.headers = NULL;
	expect_nothing_asked(&t, 0);
	up(&t, BYTES, false);
	tell_composite(BYTES, three);
	expect_nothing_asked(&t, 0);
}

/* Opens KEY; the question for its first part, which stays unanswered. */
static struct asked *open_without_parts(struct mount *t, struct scout_s3_call **question)
{
	struct asked *f = ask_open(t, KEY);

	assert_true(fake_answer_one());
	assert_true(asked_is_done(f));
	*question = fake_take(false);
	assert_non_null(*question);
	assert_int_equal((*question)->op, SCOUT_S3_HEAD);
	assert_int_equal((*question)->part, 1);
	return f;
}

/* While the answer is on its way, reads go on as beside a slow digest, and nobody has to wait elsewhere. */
static void a_slow_answer(void **state)
{
	static const uint64_t parts[] = {5 * MIB, 5 * MIB, 5 * MIB, 5 * MIB, 4 * MIB, 0};

	(void)state;
	for (int told = 0; told < 2; told++) {
		struct scout_s3_call *question;
		struct asked *f, *a = NULL;
		struct mount t;
		uint64_t at;

		up_in_parts(&t, 24 * MIB, parts);
		f = open_without_parts(&t, &question);
		for (at = 0; at < 24 * MIB; at += MIB) {
			a = ask_read(&t, f, at, MIB);
			fake_answer_all();
			if (!asked_is_done(a))
				break;
			expect_bytes(a, KEY, 0, at, MIB);
		}
		/* an eighth of the memory */
		assert_in_range(at, MIB, 3 * MIB);
		expect(read_at(&t, f, 20 * MIB), 0);
		assert_false(asked_is_done(a));
		if (!told)
			fake.fail_part = -EIO;
		fake_answer(question, MIB);
		assert_int_equal(end_of(a), 0);
		assert_int_equal(read_all(&t, f, at + MIB, 24 * MIB), 0);
		assert_int_equal(verified(&t), told);
		assert_int_equal(unverified(&t), !told);
		close_file(&t, f);
		mount_down(&t);
	}
}

/* All the bytes are there before it: the verdict is waited for. */
static void an_answer_after_all_bytes(void **state)
{
	struct scout_s3_call *question;
	struct asked *f, *a;
	struct mount t;

	(void)state;
	for (int wrong = 0; wrong < 2; wrong++) {
		static const uint64_t parts[] = {100000, 100000, 100, 0};

		up_in_parts(&t, 200100, parts);
		fake.wrong_at = wrong ? 150000 : 0;
		f = open_without_parts(&t, &question);
		a = ask_read(&t, f, 0, MIB);
		fake_answer_all();
		assert_false(asked_is_done(a));
		fake_answer(question, MIB);
		assert_int_equal(end_of(a), wrong ? -EIO : 0);
		assert_int_equal(verified(&t), !wrong);
		close_file(&t, f);
		mount_down(&t);
	}
}

/* The answer is of another version. */
static void changed_meanwhile(void **state)
{
	struct scout_s3_call *question;
	struct asked *f;
	struct mount t;

	(void)state;
	up_in_parts(&t, BYTES, three);
	f = open_without_parts(&t, &question);
	assert_int_equal(end_of(ask_read(&t, f, 0, MIB)), 0);
	fake_put(KEY, BYTES);
	fake_answer(question, MIB);
	assert_int_equal(lines_of(log_path, "sha256 of 3 parts: it changed"), 1);
	assert_int_equal(end_of(ask_read(&t, f, 4 * MIB, MIB)), -ESTALE);
	close_file(&t, f);
	mount_down(&t);
}

/* What waits for an answer when all ends goes without. */
static void stopped(void **state)
{
	struct asked *f, *a;
	struct mount t;

	(void)state;
	up_in_parts(&t, BYTES, three);
	f = ask_open(&t, KEY);
	assert_true(fake_answer_one());
	/* the question is behind it */
	a = ask_read(&t, f, 0, MIB);
	mount_stop(&t);
	asked_wait(a);
	assert_int_equal(lines_of(log_path, ""), 0);
	asked_free(a);
	close_file(&t, f);
	mount_down(&t);
}

static void stopped_with_a_row(void **state)
{
	struct scout_s3_call *question;
	struct asked *f;
	struct mount t;

	(void)state;
	up_in_parts(&t, BYTES, three);
	f = open_without_parts(&t, &question);
	assert_int_equal(end_of(ask_read(&t, f, 0, MIB)), 0);
	atomic_store(&t.models->stopped, true);
	fake_answer(question, MIB);
	mount_stop(&t);
	close_file(&t, f);
	mount_down(&t);
}

static void expect_of_many(const uint64_t *parts, uint64_t wrong_at, int want)
{
	struct mount t;

	up_in_parts(&t, BYTES, parts);
	fake.wrong_at = wrong_at;
	read_by_many(&t, want);
	if (want == 0)
		assert_int_equal(verified(&t) + unverified(&t), 1);
	else
		assert_true(mismatches(&t) > 0);
	mount_down(&t);
}

static void many_readers(void **state)
{
	(void)state;
	expect_of_many(three, 0, 0);
	expect_of_many(three, 3 * MIB, -EIO);
	expect_of_many(as_it_happens, 0, 0);
	expect_of_many(too_many, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(right_bytes),
	    cmocka_unit_test(wrong_bytes),
	    cmocka_unit_test(where_nobody_knows_parts),
	    cmocka_unit_test(of_several_sizes),
	    cmocka_unit_test(no_answer_for_other_parts),
	    cmocka_unit_test(nothing_to_ask),
	    cmocka_unit_test(a_slow_answer),
	    cmocka_unit_test(an_answer_after_all_bytes),
	    cmocka_unit_test(changed_meanwhile),
	    cmocka_unit_test(stopped),
	    cmocka_unit_test(stopped_with_a_row),
	    cmocka_unit_test(many_readers),
	};
	int fd = mkstemp(log_path), failed;

	assert_true(fd >= 0);
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(log_path);
	return failed;
}
