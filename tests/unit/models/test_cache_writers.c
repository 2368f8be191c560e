/* The disk cache's folder when many mounts write into it: how many they are, and that all of them together
 * keep within its size. */
#include "cache_rig.h"

#include <signal.h>
#include <sys/wait.h>

#include "models/cache_writers.h"

/* ---- how many they are ---- */

static int open_folder(void)
{
	return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void each_is_told_the_others(void **state)
{
	int dir = open_folder(), fds[SCOUT_CACHE_WRITERS_MAX];
	struct stat st;

	(void)state;
	for (int i = 0; i < SCOUT_CACHE_WRITERS_MAX; i++) {
		fds[i] = scout_cache_writers_join(dir, 1000);
		assert_true(fds[i] >= 0);
		assert_int_equal(scout_cache_writers_others(fds[i]), i);
		assert_int_equal(scout_cache_writers_others(fds[0]), i);
	}
	assert_int_equal(scout_cache_writers_join(dir, 1000), -EAGAIN);
	/* who goes makes place, whichever he had */
	close(fds[40]);
	assert_int_equal(scout_cache_writers_others(fds[0]), SCOUT_CACHE_WRITERS_MAX - 2);
	assert_int_equal(scout_cache_writers_join(dir, 40), -EAGAIN);
	fds[40] = scout_cache_writers_join(dir, 1000);
	assert_true(fds[40] >= 0);
	for (int i = 0; i < SCOUT_CACHE_WRITERS_MAX; i++)
		close(fds[i]);

	assert_false(scout_segment_is_name("writers"));
	assert_int_equal(fstatat(dir, "writers", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 0);
	close(dir);
}

static void who_crashes_is_not_counted(void **state)
{
	int dir = open_folder(), fd = scout_cache_writers_join(dir, 2), ends[2], status;
	pid_t child;
	char byte;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		if (scout_cache_writers_join(dir, 2) >= 0)
			(void)!write(ends[1], "", 1);
		alarm(60);
		pause();
	}
	assert_true(child > 0);
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(scout_cache_writers_others(fd), 1);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(scout_cache_writers_others(fd), 0);
	close(ends[0]);
	close(fd);
	close(dir);
}

static void a_file_that_is_gone(void **state)
{
	int dir = open_folder(), fd = scout_cache_writers_join(dir, 2);

	(void)state;
	assert_int_equal(scout_cache_writers_others(fd), 0);
	assert_int_equal(unlinkat(dir, "writers", 0), 0);
	assert_int_equal(scout_cache_writers_others(fd), -ESTALE);
	close(fd);
	assert_int_equal(symlinkat("/dev/null", dir, "writers"), 0);
	assert_int_equal(scout_cache_writers_join(dir, 2), -ELOOP);
	close(dir);
}

/* ---- that they keep within the size ---- */

#define WRITERS 16

/* Those that write into one folder, each an object of its own, the blocks one by one. */
struct writers {
	unsigned count;
	struct mount t[WRITERS];
	struct asked *f[WRITERS];
	uint64_t n[WRITERS]; /* the next block */
	int dir;
};

static void write_key(unsigned i, char key[8])
{
	snprintf(key, 8, "key-%u", i);
}

static void writers_up(struct writers *w, unsigned count, uint64_t size)
{
	char key[8];

	*w = (struct writers){.count = count};
	mount_cache_size = size;
	for (unsigned i = 0; i < count; i++) {
		mount_up(&w->t[i], "", MEMORY);
		write_key(i, key);
		fake_put(key, 60 * MIB);
		w->f[i] = open_key(&w->t[i], key);
	}
	w->dir = open_folder();
}

/* All that its end does to the folder; the registry is of all of them, and stays. */
static void writer_leaves(struct writers *w, unsigned i)
{
	quiet(&w->t[i]);
	scout_cache_stop(w->t[i].models);
}

static void writers_down(struct writers *w)
{
	close(w->dir);
	for (unsigned i = 0; i < w->count; i++)
		close_file(&w->t[i], w->f[i]);
	for (unsigned i = 0; i < w->count; i++)
		quiet(&w->t[i]);
	for (unsigned i = 0; i < w->count; i++)
		mount_stop(&w->t[i]);
	for (unsigned i = 0; i < w->count; i++)
		mount_down(&w->t[i]);
}

/* Every second one, so that none is fetched ahead. */
static void next_block(struct writers *w, unsigned i)
{
	uint64_t at = 2 * w->n[i]++ * SCOUT_BUF_BYTES;
	char key[8];

	write_key(i, key);
	read_range(&w->t[i], w->f[i], key, 0, at + 9, at + 10);
}

static uint64_t measured(const struct writers *w)
{
	struct scout_cache_usage usage;

	assert_int_equal(scout_cache_measure(w->dir, &usage), 0);
	return usage.bytes;
}

static void write_one(struct writers *w, unsigned i)
{
	uint64_t before = written(&w->t[i]);

	next_block(w, i);
	WAIT(written(&w->t[i]) == before + 1);
	assert_in_range(measured(w), 1, mount_cache_size);
}

/* Each counts what the others wrote before it is too much, though all of them count at the same time. */
static void within_the_size(unsigned count)
{
	static struct writers w;
	uint64_t evictions = 0;

	writers_up(&w, count, 62 * MIB);
	for (unsigned n = 0; n < 360 / count; n++) {
		for (unsigned i = 0; i < count; i++)
			write_one(&w, i);
	}
	for (unsigned i = 0; i < count; i++)
		evictions += scout_counted(&cache_of(&w.t[i])->evictions);
	assert_true(evictions > 0);
	writers_down(&w);
}

static void three_within_the_size(void **state)
{
	(void)state;
	within_the_size(3);
}

static void eight_within_the_size(void **state)
{
	(void)state;
	within_the_size(8);
}

/* As if the first had written so much, and the others had not seen it. */
static void take_room(const struct writers *w, uint64_t bytes)
{
	int fd =
	    openat(w->dir, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.0",
		   O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(posix_fallocate(fd, 0, (off_t)bytes), 0);
	close(fd);
}

/* As many as a size so small allows, and none writes before all have counted: then each must again. */
static void sixteen_that_count_at_once(void **state)
{
	static struct writers w;

	(void)state;
	writers_up(&w, WRITERS, 62 * MIB);
	for (unsigned i = 0; i < 2 * WRITERS; i++)
		write_one(&w, i % WRITERS);
	for (unsigned i = 0; i < WRITERS - 1; i++) /* the last one saw all others at its first */
		write_one(&w, i);
	take_room(&w, 57 * MIB + MIB / 2 - measured(&w));
	atomic_store(&disk_hangs, true);
	for (unsigned i = 0; i < WRITERS; i++) {
		next_block(&w, i);
		WAIT(atomic_load(&cache_of(&w.t[i])->usage_bytes) > 57 * MIB);
	}
	atomic_store(&disk_hangs, false);
	for (unsigned i = 0; i < WRITERS; i++)
		WAIT(written(&w.t[i]) == w.n[i]);
	assert_in_range(measured(&w), 61 * MIB, mount_cache_size);
	for (unsigned i = 0; i < WRITERS; i++)
		write_one(&w, i);
	writers_down(&w);
}

/* Whatever was there when he mounted: who went meanwhile may have written. */
static void who_comes_late_counts(void **state)
{
	static struct writers w;

	(void)state;
	w.dir = open_folder();
	take_room(&w, MIB);
	close(w.dir);
	writers_up(&w, 1, 62 * MIB);
	WAIT(atomic_load(&cache_of(&w.t[0])->usage_bytes) >= MIB);
	take_room(&w, 61 * MIB + MIB / 2);
	for (unsigned n = 0; n < 4; n++)
		write_one(&w, 0);
	writers_down(&w);
}

/* Of eight that each wrote as much as they may, seven end; the last may not write more for that. */
static void who_leave_are_counted(void **state)
{
	static struct writers w;

	(void)state;
	writers_up(&w, 8, 200 * MIB);
	for (unsigned i = 0; i < 8 + 7; i++) /* each writes one when it sees all others */
		write_one(&w, i % 8);
	take_room(&w, 183 * MIB);
	for (unsigned i = 0; i < 7 * 6; i++) /* that makes seven of each but the first */
		write_one(&w, 1 + i % 7);
	assert_in_range(measured(&w), 190 * MIB, mount_cache_size);
	for (unsigned i = 2; i < 8; i++)
		writer_leaves(&w, i);
	for (unsigned n = 0; n < 40; n++)
		write_one(&w, 1);
	writers_down(&w);
}

/* One more than the size has room for reads what the others keep; when one ends it takes its place. */
static void one_too_many_only_reads(void **state)
{
	static struct writers w;

	(void)state;
	writers_up(&w, 4, 12 * MIB);
	for (unsigned i = 0; i < 3; i++)
		write_one(&w, i);
	next_block(&w, 3);
	WAIT(scout_counted(&cache_of(&w.t[3])->skipped) == 1);
	read_key(&w.t[3], "key-0", 0, 9, 10);
	assert_int_equal(hits(&w.t[3]), 1);
	assert_int_equal(written(&w.t[3]), 0);
	assert_int_equal(atomic_load(&cache_of(&w.t[3])->off), 0);
	writer_leaves(&w, 1);
	write_one(&w, 3);
	writers_down(&w);
}

/* Beside others that write, of two mounts the first is the one that makes them as many as may. */
static void the_last_who_writes(uint64_t size, unsigned most)
{
	static struct writers w;
	int fds[64];

	writers_up(&w, 2, size);
	for (unsigned i = 0; i < most - 1; i++) {
		fds[i] = scout_cache_writers_join(w.dir, 1000);
		assert_true(fds[i] >= 0);
	}
	write_one(&w, 0);
	next_block(&w, 1);
	WAIT(scout_counted(&cache_of(&w.t[1])->skipped) == 1);
	read_key(&w.t[1], "key-0", 0, 9, 10);
	assert_int_equal(hits(&w.t[1]), 1);
	assert_int_equal(written(&w.t[1]), 0);
	close(fds[0]);
	write_one(&w, 1);
	for (unsigned i = 1; i < most - 1; i++)
		close(fds[i]);
	writers_down(&w);
}

static void sixty_four_write(void **state)
{
	(void)state;
	the_last_who_writes(64 * 64 * MIB, 64);
}

static void sixteen_write_into_64_mib(void **state)
{
	(void)state;
	the_last_who_writes(64 * MIB, 16);
}

/* Who empties the folder takes the file by which they know each other: they meet in the next one. */
static void an_emptied_folder(void **state)
{
	static struct writers w;

	(void)state;
	writers_up(&w, 4, 12 * MIB);
	for (unsigned i = 0; i < 3; i++)
		write_one(&w, i);
	assert_int_equal(unlinkat(w.dir, "writers", 0), 0);
	for (unsigned i = 0; i < 3; i++)
		write_one(&w, i);
	next_block(&w, 3);
	WAIT(scout_counted(&cache_of(&w.t[3])->skipped) == 1);
	writers_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(each_is_told_the_others), TEST(who_crashes_is_not_counted),
	    TEST(a_file_that_is_gone),     TEST(three_within_the_size),
	    TEST(eight_within_the_size),   TEST(sixteen_that_count_at_once),
	    TEST(who_comes_late_counts),   TEST(who_leave_are_counted),
	    TEST(one_too_many_only_reads), TEST(an_emptied_folder),
	    TEST(sixty_four_write),        TEST(sixteen_write_into_64_mib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
