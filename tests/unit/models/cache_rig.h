/* A mount with a disk cache in a folder of the test's own, on a disk that fails when it shall. */
#ifndef TESTS_MODELS_CACHE_RIG_H
#define TESTS_MODELS_CACHE_RIG_H

#include "mount.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "models/cache_inside.h"

#define KEY "a/v1/model.zip"
#define BYTES (5 * MIB + 77)
#define BLOCKS 21
#define MEMORY (256 * MIB) /* so that 16 MiB may wait to be written */

static char folder[64];

/* ---- the disk ---- */

static atomic_int disk_error;
atomic_int disk_read_error; /* pread may be inline, by libc */
static atomic_bool disk_hangs;
atomic_bool disk_read_hangs; /* for reading blocks; disk_reads_hung: how many do */
atomic_int disk_reads_hung;
atomic_bool disk_unlink_hangs;
atomic_int disk_unlink_error;

/* In libc's stead: a disk that is full or slow when the test says so. */
ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
	while (atomic_load(&disk_hangs))
		usleep(1000);
	if (atomic_load(&disk_error)) {
		errno = atomic_load(&disk_error);
		return -1;
	}
	return syscall(SYS_pwrite64, fd, buf, len, at);
}

/* Blocks that cannot be read, though the head can. */
ssize_t pread(int fd, void *buf, size_t len, off_t at)
{
	if (at >= 4096 && atomic_load(&disk_read_hangs)) {
		atomic_fetch_add(&disk_reads_hung, 1);
		while (atomic_load(&disk_read_hangs))
			usleep(1000);
		atomic_fetch_sub(&disk_reads_hung, 1);
	}
	if (at >= 4096 && atomic_load(&disk_read_error)) {
		errno = atomic_load(&disk_read_error);
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, len, at);
}

int unlinkat(int dir, const char *name, int flags)
{
	while (atomic_load(&disk_unlink_hangs))
		usleep(1000);
	if (atomic_load(&disk_unlink_error)) {
		errno = atomic_load(&disk_unlink_error);
		return -1;
	}
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

static inline int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/scoutfs-cache.XXXXXX");
	mount_cache_dir = folder;
	mount_cache_size = 100 * MIB;
	mount_verifies = false;
	return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

/* How many segments there are; path: of the last one, of which a test has but one. */
static inline size_t segments(char *path, size_t cap)
{
	DIR *d = opendir(folder);
	struct dirent *entry;
	size_t n = 0;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (!scout_segment_is_name(entry->d_name))
			continue;
		n++;
		if (path)
			snprintf(path, cap, "%s/%s", folder, entry->d_name);
	}
	closedir(d);
	return n;
}

static inline void flip(uint64_t block, uint64_t at)
{
	char path[400];
	off_t place = (off_t)(4096 + block * SCOUT_BUF_BYTES + at);
	uint8_t byte;
	int fd;

	assert_int_equal(segments(path, sizeof(path)), 1);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, place), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, place), 1);
	close(fd);
}

/* ---- reading ---- */

static inline struct scout_cache *cache_of(struct mount *t)
{
	return t->models->cache;
}

static inline void up(struct mount *t)
{
	mount_up(t, "", MEMORY);
	fake_put(KEY, BYTES);
}

#define WAIT(condition)                               \
	for (unsigned ms_ = 0; !(condition); ms_++) { \
		assert_in_range(ms_, 0, 60000);       \
		usleep(1000);                         \
	}

/* Answers S3's calls until a is done. */
static inline void settle(struct asked *a)
{
	for (unsigned ms = 0; !asked_is_done(a); ms++) {
		assert_in_range(ms, 0, 60000);
		if (!fake_answer_one())
			usleep(1000);
	}
}

static inline void read_range(struct mount *t, struct asked *f, const char *key, unsigned version,
			      uint64_t from, uint64_t end)
{
	while (from < end) {
		size_t size = end - from < MIB ? (size_t)(end - from) : MIB;
		struct asked *a = ask_read(t, f, from, size);

		settle(a);
		expect_bytes(a, key, version, from, size);
		from += size;
	}
}

static inline struct asked *open_key(struct mount *t, const char *key)
{
	struct asked *f = ask_open(t, key);

	settle(f);
	assert_int_equal(f->err, 0);
	return f;
}

static inline void read_key(struct mount *t, const char *key, unsigned version, uint64_t from,
			    uint64_t end)
{
	struct asked *f = open_key(t, key);

	read_range(t, f, key, version, from, end);
	close_file(t, f);
}

/* Until all that was fetched ahead has come. */
static inline void quiet(struct mount *t)
{
	WAIT((fake_answer_all(), atomic_load(&t->models->fetches) == 0));
}

static inline void down(struct mount *t)
{
	quiet(t);
	mount_down(t); /* what waits is written */
}

static inline uint64_t hits(struct mount *t)
{
	return scout_counted(&cache_of(t)->hits);
}

static inline uint64_t written(struct mount *t)
{
	return scout_counted(&cache_of(t)->written);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

#endif
