/* The disk cache under the backend: what comes from there and what from S3, after a remount, a crash, and
 * when several mounts share it. */
#include "cache_rig.h"

static void whole_after_a_remount(void **state)
{
	struct mount t;
	char path[400];
	struct stat st;

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	assert_int_equal(fake.bytes, BYTES);
	down(&t);
	assert_int_equal(segments(path, sizeof(path)), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	assert_int_equal(fake.gets, 0);
	assert_int_equal(hits(&t), BLOCKS);
	down(&t);
}

/* What is not there is fetched, all of it and nothing else. */
static void parts_after_a_remount(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	up(&t);
	f = open_key(&t, KEY);
	for (unsigned i = 0; i < 2; i++) /* the fifth, and the end */
		read_range(&t, f, KEY, 0, i ? BYTES - 70000 : 5 * SCOUT_BUF_BYTES + 9,
			   i ? BYTES : 5 * SCOUT_BUF_BYTES + 100);
	close_file(&t, f);
	assert_int_equal(fake.bytes, 2 * SCOUT_BUF_BYTES + 77);
	down(&t);
	up(&t);
	read_key(&t, KEY, 0, BYTES - 70, BYTES);
	assert_int_equal(fake.gets, 0);
	read_key(&t, KEY, 0, 0, BYTES);
	/* a single block between others may come again */
	assert_in_range(fake.bytes, BYTES - 2 * SCOUT_BUF_BYTES - 77, BYTES);
	down(&t);
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	assert_int_equal(fake.gets, 0);
	down(&t);
}

/* Holes on the disk cost no more requests than all of it would, and much of it in a row is used. */
static void requests_are_few(void **state)
{
	struct mount t;
	struct asked *f;
	unsigned gets;

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	gets = fake.gets;
	fake_put("b", BYTES);
	f = open_key(&t, "b");
	for (uint64_t at = 0; at < BYTES; at += 2 * SCOUT_BUF_BYTES) {
		read_range(&t, f, "b", 0, at, at + 10);
		quiet(&t);
	}
	close_file(&t, f);
	down(&t);
	up(&t);
	fake_put("b", BYTES);
	read_key(&t, "b", 0, 0, BYTES);
	assert_in_range(fake.gets, 1, gets + 1);
	down(&t);

	up(&t);
	fake_put("c", 10 * MIB);
	f = open_key(&t, "c");
	for (uint64_t at = 4 * MIB; at < 6 * MIB; at += SCOUT_BUF_BYTES)
		read_range(&t, f, "c", 0, at + 9, at + 10);
	close_file(&t, f);
	down(&t);
	up(&t);
	fake_put("c", 10 * MIB);
	read_key(&t, "c", 0, 0, 10 * MIB);
	assert_int_equal(hits(&t), 8);
	assert_int_equal(fake.bytes, 8 * MIB);
	down(&t);
}

static void a_bad_block_is_fetched_and_mended(void **state)
{
	struct mount t;

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	down(&t);
	flip(0, 0);
	flip(7, SCOUT_BUF_BYTES - 1);
	flip(20, 76);
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	assert_int_equal(scout_counted(&cache_of(&t)->bad), 3);
	assert_in_range(fake.gets, 3, 3);
	assert_int_equal(fake.bytes, 2 * SCOUT_BUF_BYTES + 77);
	down(&t);
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	assert_int_equal(fake.gets, 0);
	assert_int_equal(scout_counted(&cache_of(&t)->bad), 0);
	down(&t);
}

/* A crash that left the sums and not the bytes, or a file that is cut. */
static void a_torn_file(void **state)
{
	struct mount t;
	char path[400];

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	down(&t);
	assert_int_equal(segments(path, sizeof(path)), 1);
	assert_int_equal(truncate(path, 4096 + 3 * SCOUT_BUF_BYTES + 1), 0);
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	assert_int_equal(hits(&t), 3);
	down(&t);
	assert_int_equal(truncate(path, 100), 0);
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	assert_int_equal(hits(&t), 0);
	assert_int_equal(fake.bytes, BYTES);
	down(&t);
}

static void an_overwritten_object(void **state)
{
	struct mount t;

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	fake_put(KEY, BYTES);
	read_key(&t, KEY, 1, 0, BYTES);
	assert_int_equal(fake.bytes, 2 * BYTES);
	down(&t);
	assert_int_equal(segments(NULL, 0), 2);
	up(&t);
	fake_put(KEY, BYTES);
	read_key(&t, KEY, 1, 0, BYTES);
	assert_int_equal(fake.gets, 0);
	down(&t);
}

/* What one mount fetched another one has, also one that had looked before: after a second. */
static void shared_by_two(void **state)
{
	struct asked *f;
	struct mount a, b;

	(void)state;
	up(&a);
	mount_up(&b, "", MEMORY);
	f = open_key(&b, KEY);
	read_range(&b, f, KEY, 0, 0, 100);
	WAIT(written(&b) == 1);
	read_key(&a, KEY, 0, 0, BYTES);
	assert_int_equal(hits(&a), 1);
	WAIT(written(&a) == BLOCKS - 1);
	assert_int_equal(fake.bytes, BYTES);
	atomic_fetch_add(&fake_now, SCOUT_NS_PER_S);
	read_range(&b, f, KEY, 0, 0, BYTES);
	assert_int_equal(fake.bytes, BYTES);
	close_file(&b, f);
	quiet(&a);
	quiet(&b);
	mount_stop(&a);
	mount_stop(&b);
	mount_down(&a);
	mount_down(&b);
}

/* ---- many readers, three mounts, one engine ---- */

#define MOUNTS 3
#define READERS 9
#define KEYS 6

struct reader {
	struct mount *t;
	unsigned seed;
	pthread_t thread;
	bool right;
};

static void *read_some(void *arg)
{
	struct reader *r = arg;

	r->right = true;
	for (unsigned i = 0; i < 30 && r->right; i++) {
		char key[] = "key-0";
		uint64_t from = (uint64_t)rand_r(&r->seed) % BYTES;
		struct asked *f, *a;

		key[4] = (char)('0' + rand_r(&r->seed) % KEYS);
		f = ask_open(r->t, key);
		asked_wait(f);
		a = ask_read(r->t, f, i % 3 ? from : 0, MIB);
		asked_wait(a);
		r->right = a->err == 0 &&
			   fake_right(a->bytes, key, 0, i % 3 ? from : 0, a->size) == a->size;
		asked_free(a);
		close_file(r->t, f);
	}
	return NULL;
}

/* Three mounts write, read and make room in one folder that is too small for what they read. */
static void three_with_little_room(void **state)
{
	struct reader readers[READERS];
	struct scout_cache_usage usage;
	struct mount t[MOUNTS];
	int dir;

	(void)state;
	mount_cache_size = 12 * MIB;
	for (unsigned i = 0; i < MOUNTS; i++) /* of the first, four blocks may wait to be written */
		mount_up(&t[i], "", i ? 64 * MIB : 16 * MIB);
	for (char key[] = "key-0"; key[4] < '0' + KEYS; key[4]++)
		fake_put(key, BYTES);
	fake_start_engine();
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.t = &t[i % MOUNTS], .seed = i};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_some, &readers[i]),
				 0);
	}
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_true(readers[i].right);
	}
	for (unsigned i = 0; i < MOUNTS; i++)
		mount_stop(&t[i]);
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(scout_cache_measure(dir, &usage), 0);
	close(dir);
	assert_in_range(usage.bytes, 1, mount_cache_size);
	for (unsigned i = 0; i < MOUNTS; i++)
		mount_down(&t[i]);
}

static void set_used(const char *path, time_t when)
{
	struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static time_t used(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mtim.tv_sec;
}

/* Also what never comes from the disk is used: once a minute that is told there, for all mounts. */
static void use_from_memory_counts(void **state)
{
	struct asked *f;
	struct mount t;
	char path[400];

	(void)state;
	up(&t);
	f = open_key(&t, KEY);
	read_range(&t, f, KEY, 0, 0, BYTES);
	WAIT(written(&t) == BLOCKS);
	assert_int_equal(segments(path, sizeof(path)), 1);

	set_used(path, 1000);
	atomic_fetch_add(&fake_now, 61 * SCOUT_NS_PER_S);
	read_range(&t, f, KEY, 0, 4 * MIB, 4 * MIB + 100);
	WAIT(used(path) > 1000);
	/* and whoever opens it may have it from the kernel, without a read of ours */
	set_used(path, 1000);
	atomic_fetch_add(&fake_now, 61 * SCOUT_NS_PER_S);
	close_file(&t, open_key(&t, KEY));
	WAIT(used(path) > 1000);

	set_used(path, 1000);
	read_range(&t, f, KEY, 0, 0, BYTES);
	fake_put("b", 100);
	read_key(&t, "b", 0, 0, 100);
	WAIT(written(&t) == BLOCKS + 1); /* what was to be told was told before */
	assert_int_equal(used(path), 1000);
	close_file(&t, f);
	assert_int_equal(hits(&t), 0);
	assert_int_equal(fake.bytes, BYTES + 100);
	down(&t);
}

static void least_recently_used_go(void **state)
{
	char first[400], second[400], aside[100];
	struct mount t;

	(void)state;
	snprintf(aside, sizeof(aside), "%s/aside", folder);
	mount_cache_size = 12 * MIB;
	up(&t);
	fake_put("b", BYTES);
	read_key(&t, "b", 0, 0, BYTES);
	down(&t);
	assert_int_equal(segments(second, sizeof(second)), 1);
	assert_int_equal(rename(second, aside), 0);
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	down(&t);
	assert_int_equal(segments(first, sizeof(first)), 1);
	assert_int_equal(rename(aside, second), 0);
	set_used(first, 1000);
	set_used(second, 2000);

	/* reading it is using it */
	up(&t);
	read_key(&t, KEY, 0, 0, 100);
	WAIT(used(first) > 2000);
	/* so it is "b" that makes room */
	fake_put("c", BYTES);
	read_key(&t, "c", 0, 0, BYTES);
	WAIT(scout_counted(&cache_of(&t)->evictions) == 1);
	assert_int_equal(access(first, F_OK), 0);
	assert_int_equal(access(second, F_OK), -1);
	read_key(&t, KEY, 0, 0, MIB);
	assert_int_equal(fake.bytes, BYTES);
	down(&t);
}

/* The sizes of what is there are within that of a piece. */
static void assert_pieces(void)
{
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(dir);
	struct dirent *entry;
	struct stat st;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		assert_int_equal(fstatat(dir, entry->d_name, &st, 0), 0);
		assert_true(S_ISDIR(st.st_mode) || st.st_size <= 4096 + 16 * (off_t)MIB);
	}
	closedir(d);
}

/* A block of each half MiB, one by one, so that none is fetched ahead and all are written. */
static void write_halves(struct mount *t, const char *key, uint64_t bytes)
{
	struct asked *f;

	fake_put(key, bytes);
	f = open_key(t, key);
	for (uint64_t at = 0; at < bytes; at += 2 * SCOUT_BUF_BYTES) {
		uint64_t before = written(t);

		read_range(t, f, key, 0, at + 9, at + 10);
		WAIT(written(t) == before + 1);
	}
	close_file(t, f);
}

/* Of a large object that was used longest ago as much goes as there has to be room, and the rest is served. */
static void a_piece_goes(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	mount_cache_size = 64 * MIB;
	up(&t);
	write_halves(&t, "large", 96 * MIB);
	assert_int_equal(segments(NULL, 0), 6);
	write_halves(&t, "small", 26 * MIB);
	assert_int_equal(scout_counted(&cache_of(&t)->evictions), 1);
	assert_int_equal(segments(NULL, 0), 5 + 2);
	assert_pieces();
	down(&t);
	up(&t);
	fake_put("large", 96 * MIB);
	f = open_key(&t, "large");
	for (uint64_t at = 8 * MIB; at < 96 * MIB; at += 16 * MIB)
		read_range(&t, f, "large", 0, at + 9, at + 10);
	close_file(&t, f);
	assert_int_equal(hits(&t), 5);
	assert_int_equal(fake.bytes, SCOUT_BUF_BYTES);
	down(&t);
}

static void told(void **state)
{
	struct scout_text text = {0};
	struct mount t;

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	WAIT(written(&t) == BLOCKS);
	t.backend.ops->status(t.backend.self, &text);
	assert_non_null(strstr(text.str, folder));
	assert_non_null(strstr(text.str, "0 hits, 21 misses, 21 written"));
	scout_text_free(&text);
	t.backend.ops->metrics(t.backend.self, &text);
	assert_non_null(strstr(text.str, "\nscoutfs_cache_on 1\n"));
	assert_non_null(strstr(text.str, "\nscoutfs_cache_written_total 21\n"));
	scout_text_free(&text);
	down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(whole_after_a_remount),
	    TEST(parts_after_a_remount),
	    TEST(requests_are_few),
	    TEST(a_bad_block_is_fetched_and_mended),
	    TEST(a_torn_file),
	    TEST(an_overwritten_object),
	    TEST(shared_by_two),
	    TEST(three_with_little_room),
	    TEST(least_recently_used_go),
	    TEST(use_from_memory_counts),
	    TEST(a_piece_goes),
	    TEST(told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
