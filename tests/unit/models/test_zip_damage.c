/* Members and directories of archives that are damaged, in S3 or on their way: what was read is compared,
 * over all handles, the kernel keeps no page that never was, and what came wrong is fetched anew. */
#include "zip_mount.h"

#include "models/zip.h"

#define STEP (MIB / 2)
#define KEY "a/model.zip"

static const char *const members[] = {KEY ".d/deflated", KEY ".d/in/stored"};

static void up(struct mount *t, struct zip *z)
{
	mount_up(t, "", 16 * MIB);
	put_archive(KEY, z);
}

static void down(struct mount *t, struct zip *z)
{
	mount_down(t);
	zip_free(z);
}

static uint64_t unverified(struct mount *t)
{
	return scout_counted(&t->models->verifiers.unverified);
}

static struct asked *open_member(struct mount *t, const char *path, bool drop_cache)
{
	struct asked *f = answered(ask_open(t, path));

	assert_int_equal(f->err, 0);
	assert_int_equal(f->drop_cache, drop_cache);
	return f;
}

/* The first error of reading [from, to) in order; what comes before is right up to wrong. */
static int read_range(struct mount *t, struct asked *f, size_t from, size_t to, size_t wrong)
{
	int err = 0;

	while (err == 0 && from < to) {
		struct asked *a =
		    answered(ask_read(t, f, from, to - from < STEP ? to - from : STEP));

		err = a->err;
		if (err == 0 && from + a->size <= wrong)
			assert_memory_equal(a->bytes, plain + from, a->size);
		from += a->size;
		assert_true(err < 0 || a->size > 0);
		asked_free(a);
	}
	return err;
}

static int read_all(struct mount *t, struct asked *f)
{
	return read_range(t, f, 0, TEXT_BYTES, SIZE_MAX);
}

/* Opens path, reads all of it and closes it. */
static void expect_all(struct mount *t, const char *path, bool drop_cache, int err)
{
	struct asked *f = open_member(t, path, drop_cache);

	assert_int_equal(read_range(t, f, 0, TEXT_BYTES, err < 0 ? 0 : SIZE_MAX), err);
	close_file(t, f);
}

/* Where what stands in the archive, the n-th time. */
static size_t find(const struct zip *z, const char *what, size_t len, unsigned n)
{
	const uint8_t *p = z->file.p;

	for (;;) {
		p = memmem(p, z->file.len - (size_t)(p - z->file.p), what, len);
		assert_non_null(p);
		if (--n == 0)
			return (size_t)(p - z->file.p);
		p++;
	}
}

/* In the midst of the stored member's data. */
static size_t in_stored(const struct zip *z)
{
	return find(z, "in/stored", 9, 1) + 2 * MIB;
}

static void damaged_in_s3(void **state)
{
	struct mount t;
	struct zip z;

	(void)state;
	up(&t, &z);
	z.file.p[in_stored(&z)] ^= 1;
	for (int i = 0; i < 3; i++)
		expect_all(&t, members[1], true, -EIO);
	expect_all(&t, members[0], true, 0);
	down(&t, &z);
}

static void proven_ones_keep_their_pages(void **state)
{
	struct mount t;
	struct zip z;

	(void)state;
	up(&t, &z);
	for (size_t i = 0; i < 2; i++) {
		struct asked *f, *second;

		expect_all(&t, members[i], true, 0);
		expect_all(&t, members[i], false, 0);
		f = open_member(&t, members[i], false);
		second = open_member(&t, members[i], false);
		close_file(&t, f);
		close_file(&t, second);
	}
	down(&t, &z);
}

/* What one reads, and what another does while the first one has it open, is all of it. */
static void tail_and_rest(void **state)
{
	struct mount t;
	struct zip z;

	(void)state;
	up(&t, &z);
	z.file.p[in_stored(&z)] ^= 1;
	for (int i = 0; i < 2; i++) {
		struct asked *first = open_member(&t, members[1], true), *second;

		assert_int_equal(read_range(&t, first, 1000, TEXT_BYTES, 0), 0);
		second = open_member(&t, members[1], false);
		/* over what the first one has, too */
		assert_int_equal(read_range(&t, second, 0, 2000, 0), -EIO);
		assert_int_equal(read_range(&t, first, 0, 1000, 0), -EIO);
		close_file(&t, first);
		close_file(&t, second);
	}
	down(&t, &z);
}

/* Of what was read of it by somebody who has closed it, the kernel keeps nothing. */
static void a_part_alone_is_forgotten(void **state)
{
	struct mount t;
	struct zip z;

	(void)state;
	up(&t, &z);
	for (size_t i = 0; i < 2; i++) {
		for (int k = 0; k < 2; k++) {
			struct asked *f = open_member(&t, members[i], true);

			assert_int_equal(read_range(&t, f, TEXT_BYTES - 1000, TEXT_BYTES, SIZE_MAX),
					 0);
			close_file(&t, f);
		}
		expect_all(&t, members[i], true, 0);
		expect_all(&t, members[i], false, 0);
	}
	down(&t, &z);
}

/* More pieces than are remembered: it is counted, and read as it is. */
static void too_many_pieces(void **state)
{
	struct asked *f;
	struct mount t;
	struct zip z;

	(void)state;
	up(&t, &z);
	f = open_member(&t, members[1], true);
	for (uint64_t i = 0; i < 4096; i++)
		expect(answered(ask_read(&t, f, 2 * i, 1)), 0);
	assert_int_equal(unverified(&t), 0);
	expect(answered(ask_read(&t, f, 2 * 4096, 1)), 0);
	assert_int_equal(unverified(&t), 1);
	assert_int_equal(read_all(&t, f), 0);
	close_file(&t, f);
	assert_int_equal(unverified(&t), 1);
	expect_all(&t, members[1], true, 0);
	expect_all(&t, members[1], false, 0);
	down(&t, &z);
}

/* A byte of the data comes wrong once. Who has it open has to open it anew, and gets it right then. */
static void damaged_on_the_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct asked *f;
		struct mount t;
		struct zip z;

		up(&t, &z);
		fake.wrong_at = i == 0 ? MIB : in_stored(&z);
		f = open_member(&t, members[i], true);
		assert_int_equal(read_range(&t, f, 0, TEXT_BYTES, 0), -EIO);
		fake.wrong_at = 0;
		fake.bytes = 0;
		expect_all(&t, members[i], true, 0);
		assert_true(fake.bytes > MIB);
		assert_int_equal(read_range(&t, f, 0, TEXT_BYTES, 0), -EIO);
		close_file(&t, f);
		expect_all(&t, members[i], false, 0);
		down(&t, &z);
	}
}

/* Answers what S3 is asked for a, the first GET with a wrong byte. */
static struct asked *answered_wrong_once(struct asked *a, size_t at)
{
	fake.wrong_at = at + 1;
	fake.gets = 0;
	while (fake.gets == 0) {
		if (!fake_answer_one())
			sched_yield();
	}
	fake.wrong_at = 0;
	return answered(a);
}

static void a_directory_damaged_on_the_way(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct asked *d;
		struct mount t;
		struct zip z;
		size_t at;

		up(&t, &z);
		if (i == 0)
			at = find(&z, "PK\1\2", 4, 1); /* no directory */
		else if (i == 1)
			at = find(&z, "PK\5\6", 4, 1) + 10; /* of so many members */
		else
			at = find(&z, "PK\1\2", 4, 2) + 20; /* a stored member of two sizes */
		d = answered_wrong_once(ask_opendir(&t, KEY ".d"), at);
		assert_int_equal(d->err, 0);
		assert_int_equal(fake.gets, 2);
		t.backend.ops->releasedir(t.backend.self, d->handle);
		asked_free(d);
		for (size_t k = 0; k < 2; k++)
			expect_all(&t, members[k], true, 0);
		down(&t, &z);
	}
}

/* What the directory says of a member came wrong: it is read anew, too. */
static void a_crc_damaged_on_the_way(void **state)
{
	struct asked *d;
	struct mount t;
	struct zip z;

	(void)state;
	up(&t, &z);
	d = answered_wrong_once(ask_opendir(&t, KEY ".d"), find(&z, "PK\1\2", 4, 2) + 16);
	assert_int_equal(d->err, 0);
	t.backend.ops->releasedir(t.backend.self, d->handle);
	asked_free(d);
	expect_all(&t, members[1], true, -EIO);
	expect_all(&t, members[1], true, 0);
	expect_all(&t, members[0], true, 0);
	down(&t, &z);
}

/* It is fetched twice and then remembered. */
static void a_directory_damaged_in_s3(void **state)
{
	struct mount t;
	struct zip z;

	(void)state;
	up(&t, &z);
	z.file.p[find(&z, "PK\1\2", 4, 1)] ^= 1;
	expect(answered(ask_opendir(&t, KEY ".d")), -EIO);
	assert_int_equal(fake.gets, 2);
	expect(answered(ask_opendir(&t, KEY ".d")), -EIO);
	expect(answered(ask_open(&t, members[0])), -EIO);
	assert_int_equal(fake.gets, 2);
	down(&t, &z);
}

#define READERS 12

struct reader {
	struct mount *t;
	size_t member, first;
	unsigned right; /* how often all was read without an error */
	pthread_t thread;
};

/* Opens the member, and reads all of it in another order than others do, a few times. */
static void *read_and_count(void *arg)
{
	struct reader *r = arg;

	for (int i = 0; i < 5; i++) {
		struct asked *f = ask_open(r->t, members[r->member]);
		int err = 0;

		asked_wait(f);
		for (size_t at = 0; at < TEXT_BYTES; at += STEP) {
			size_t from = (r->first * STEP + at) % TEXT_BYTES;
			struct asked *a = ask_read(r->t, f, from, STEP);

			asked_wait(a);
			if (a->err < 0)
				err = a->err;
			asked_free(a);
		}
		r->right += err == 0;
		close_file(r->t, f);
	}
	return NULL;
}

/* However many read it together, each of them is told. */
static void many_readers_of_damaged_ones(void **state)
{
	struct reader readers[READERS];
	struct mount t;
	struct zip z;

	(void)state;
	up(&t, &z);
	z.file.p[MIB] ^= 1;
	z.file.p[in_stored(&z)] ^= 1;
	fake_start_engine();
	for (size_t i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.t = &t, .member = i % 2, .first = i / 2};
		assert_int_equal(
		    pthread_create(&readers[i].thread, NULL, read_and_count, &readers[i]), 0);
	}
	for (size_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].right, 0);
	}
	down(&t, &z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(damaged_in_s3),
	    cmocka_unit_test(proven_ones_keep_their_pages),
	    cmocka_unit_test(tail_and_rest),
	    cmocka_unit_test(a_part_alone_is_forgotten),
	    cmocka_unit_test(too_many_pieces),
	    cmocka_unit_test(damaged_on_the_way),
	    cmocka_unit_test(a_directory_damaged_on_the_way),
	    cmocka_unit_test(a_crc_damaged_on_the_way),
	    cmocka_unit_test(a_directory_damaged_in_s3),
	    cmocka_unit_test(many_readers_of_damaged_ones),
	};
	int failed;

	plain = text(TEXT_BYTES, 11);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(plain);
	return failed;
}
