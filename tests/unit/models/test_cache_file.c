/* Files of the disk cache: what was written is read again, and nothing else is ever taken for it; and how
 * a folder of them is kept within a size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/cache_file.h"
#include "models/cache_size.h"

#define HEAD 4096

static char folder[64];
static int dir;
static struct scout_cache_id id;
static uint8_t block[SCOUT_BUF_BYTES], got[SCOUT_BUF_BYTES];

static void fill(uint8_t *buf, unsigned seed)
{
	for (size_t i = 0; i < SCOUT_BUF_BYTES; i++)
		buf[i] = (uint8_t)(seed + i * 31 + (i >> 8));
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/scoutfs-cache.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return scout_cache_id_make(&id, "http://e", "bucket", "a/v1/model.zip", NULL, "\"etag\"",
				   UINT64_C(1) << 40);
}

static int remove_folder(void **state)
{
	char command[100];

	(void)state;
	close(dir);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static const char *path_of(uint64_t number)
{
	static char path[200];
	char name[SCOUT_CACHE_NAME_MAX];

	scout_segment_name(&id, number, name);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_block(uint64_t number, unsigned at, unsigned seed, size_t len)
{
	struct scout_segment s;

	fill(block, seed);
	assert_int_equal(scout_segment_open(dir, &id, number, true, &s), 0);
	assert_int_equal(scout_segment_write(&s, at, block, len), 0);
	scout_segment_close(&s);
}

static int read_block(const struct scout_cache_id *whose, uint64_t number, unsigned at, size_t len)
{
	struct scout_segment s;
	int err = scout_segment_open(dir, whose, number, false, &s);

	if (err < 0)
		return err;
	err = scout_segment_read(&s, at, got, len);
	scout_segment_close(&s);
	return err;
}

static uint64_t blocks_of(uint64_t number)
{
	struct scout_segment s;
	uint64_t blocks;

	assert_int_equal(scout_segment_open(dir, &id, number, false, &s), 0);
	blocks = scout_segment_blocks(&s);
	scout_segment_close(&s);
	return blocks;
}

static void what_was_written_is_read(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(read_block(&id, 7, 3, SCOUT_BUF_BYTES), -ENOENT);
	write_block(7, 3, 1, SCOUT_BUF_BYTES);
	write_block(7, 63, 2, 1000); /* the object's end */
	write_block(7, 0, 3, SCOUT_BUF_BYTES);
	assert_int_equal(blocks_of(7), UINT64_C(1) << 63 | 9);
	assert_int_equal(read_block(&id, 7, 3, SCOUT_BUF_BYTES), 0);
	fill(block, 1);
	assert_memory_equal(got, block, SCOUT_BUF_BYTES);
	assert_int_equal(read_block(&id, 7, 63, 1000), 0);
	fill(block, 2);
	assert_memory_equal(got, block, 1000);
	assert_int_equal(read_block(&id, 7, 4, SCOUT_BUF_BYTES), -ENOENT);
	assert_int_equal(read_block(&id, 8, 3, SCOUT_BUF_BYTES), -ENOENT);

	/* for us alone, and no larger than what is in it */
	assert_int_equal(stat(path_of(7), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true((uint64_t)st.st_blocks * 512 < 4 * SCOUT_BUF_BYTES);
}

/* Each byte of a block, and what is left of it when the file was cut or a part of it never came. */
static void torn_blocks(void **state)
{
	static const uint8_t zeros[4096];
	int fd;

	(void)state;
	write_block(0, 1, 5, SCOUT_BUF_BYTES);
	fd = open(path_of(0), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	for (size_t at = 0; at < SCOUT_BUF_BYTES; at += 4099) {
		off_t place = HEAD + SCOUT_BUF_BYTES + (off_t)at;
		uint8_t wrong = block[at] ^ 1;

		assert_int_equal(pwrite(fd, &wrong, 1, place), 1);
		assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), -EBADMSG);
		assert_int_equal(pwrite(fd, &block[at], 1, place), 1);
	}
	assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), 0);
	for (unsigned page = 0; page < SCOUT_BUF_BYTES / 4096; page += 9) {
		off_t place = HEAD + SCOUT_BUF_BYTES + (off_t)page * 4096;

		assert_int_equal(pwrite(fd, zeros, 4096, place), 4096);
		assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), -EBADMSG);
		assert_int_equal(pwrite(fd, block + page * 4096, 4096, place), 4096);
	}
	assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), 0);
	/* the sum came, and nothing or not all of the block */
	assert_int_equal(ftruncate(fd, HEAD + 2 * SCOUT_BUF_BYTES - 1), 0);
	assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), -EBADMSG);
	assert_int_equal(ftruncate(fd, HEAD), 0);
	assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), -EBADMSG);
	assert_int_equal(ftruncate(fd, HEAD + 2 * SCOUT_BUF_BYTES), 0);
	assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), -EBADMSG);
	/* it is written anew */
	write_block(0, 1, 5, SCOUT_BUF_BYTES);
	assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), 0);
	/* half of a sum */
	assert_int_equal(pwrite(fd, zeros, 8, HEAD - 64 * 16 + 16), 8);
	assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), -EBADMSG);
	close(fd);
}

/* A block, a segment and a head of elsewhere are not taken for what belongs there. */
static void of_elsewhere(void **state)
{
	struct scout_cache_id other;
	uint8_t file[HEAD + 2 * SCOUT_BUF_BYTES];
	char name[SCOUT_CACHE_NAME_MAX], path[200];
	int fd;

	(void)state;
	write_block(0, 0, 5, SCOUT_BUF_BYTES);
	write_block(0, 1, 6, SCOUT_BUF_BYTES);
	fd = open(path_of(0), O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, file, sizeof(file), 0), sizeof(file));
	/* the first block and its sum where the second one was */
	assert_int_equal(pwrite(fd, file + HEAD, SCOUT_BUF_BYTES, HEAD + SCOUT_BUF_BYTES),
			 SCOUT_BUF_BYTES);
	assert_int_equal(pwrite(fd, file + HEAD - 64 * 16, 16, HEAD - 64 * 16 + 16), 16);
	assert_int_equal(read_block(&id, 0, 0, SCOUT_BUF_BYTES), 0);
	assert_int_equal(read_block(&id, 0, 1, SCOUT_BUF_BYTES), -EBADMSG);
	close(fd);

	assert_int_equal(scout_cache_id_make(&other, "http://e", "bucket", "a/v1/model.zip", NULL,
					     "\"other\"", UINT64_C(1) << 40),
			 0);
	assert_int_equal(read_block(&other, 0, 0, SCOUT_BUF_BYTES), -ENOENT);
	scout_segment_name(&other, 0, name);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(rename(path_of(0), path), 0);
	assert_int_equal(read_block(&other, 0, 0, SCOUT_BUF_BYTES), -ENOENT);
	assert_int_equal(access(path, F_OK), -1); /* and is removed */
}

static void what_is_no_segment(void **state)
{
	static const uint8_t zeros[HEAD];
	struct scout_segment s;
	int fd;

	(void)state;
	/* a crash between its making and its head */
	fd = open(path_of(0), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(read_block(&id, 0, 0, 100), -ENOENT);
	write_block(0, 0, 5, 100);
	assert_int_equal(read_block(&id, 0, 0, 100), 0);
	/* while another mount writes the head */
	assert_int_equal(truncate(path_of(0), 0), 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(scout_segment_open(dir, &id, 0, true, &s), -EAGAIN);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	write_block(0, 0, 5, 100);
	assert_int_equal(read_block(&id, 0, 0, 100), 0);
	/* a head of zeros, a cut one, one of another format */
	assert_int_equal(pwrite(fd, zeros, HEAD, 0), HEAD);
	assert_int_equal(read_block(&id, 0, 0, 100), -ENOENT);
	assert_int_equal(access(path_of(0), F_OK), -1);
	close(fd);
	write_block(0, 0, 5, 100);
	assert_int_equal(truncate(path_of(0), 1000), 0);
	write_block(0, 0, 5, 100);
	assert_int_equal(read_block(&id, 0, 0, 100), 0);
	fd = open(path_of(0), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "scoutfs cache 2", 15, 0), 15);
	close(fd);
	assert_int_equal(read_block(&id, 0, 0, 100), -ENOENT);
	/* no file */
	assert_int_equal(mkdir(path_of(0), 0700), 0);
	assert_int_equal(read_block(&id, 0, 0, 100), -ENOENT);
	assert_true(scout_segment_open(dir, &id, 0, true, &s) < 0);
	assert_int_equal(rmdir(path_of(0)), 0);
	assert_int_equal(symlink("/etc/passwd", path_of(0)), 0);
	assert_true(read_block(&id, 0, 0, 100) < 0);
	assert_true(scout_segment_open(dir, &id, 0, true, &s) < 0);
}

static void names(void **state)
{
	char name[SCOUT_CACHE_NAME_MAX];

	(void)state;
	scout_segment_name(&id, UINT64_MAX, name);
	assert_true(scout_segment_is_name(name));
	name[5] = 'g';
	assert_false(scout_segment_is_name(name));
	scout_segment_name(&id, 0, name);
	strcat(name, "x");
	assert_false(scout_segment_is_name(name));
	name[65] = '\0';
	assert_false(scout_segment_is_name(name));
	assert_false(scout_segment_is_name("lock"));
	assert_false(scout_segment_is_name(""));
}

static void set_age(uint64_t number, time_t seconds)
{
	struct timespec times[2] = {{.tv_sec = 1000000 - seconds}, {.tv_sec = 1000000 - seconds}};

	assert_int_equal(utimensat(AT_FDCWD, path_of(number), times, 0), 0);
}

static bool is_kept(uint64_t number)
{
	return access(path_of(number), F_OK) == 0;
}

static void the_oldest_go_first(void **state)
{
	struct scout_cache_usage usage, most = {.bytes = UINT64_MAX, .files = 4};
	struct scout_segment s;
	size_t removed;
	int lock;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		write_block(i, 0, i, SCOUT_BUF_BYTES);
		set_age(i, i == 2 ? 1 : 10 + i);
	}
	assert_int_equal(close(open(path_of(99), O_CREAT | O_CLOEXEC, 0600)), 0);
	set_age(99, 0);
	assert_int_equal(scout_cache_measure(dir, &usage), 0);
	assert_int_equal(usage.files, 7);
	assert_in_range(usage.bytes, 6 * SCOUT_BUF_BYTES, 7 * SCOUT_BUF_BYTES);

	/* while another does it */
	lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	assert_int_equal(scout_cache_shrink(dir, &most, &usage, &removed), -EAGAIN);
	close(lock);
	/* by number, whoever has one open */
	assert_int_equal(scout_segment_open(dir, &id, 5, false, &s), 0);
	assert_int_equal(scout_cache_shrink(dir, &most, &usage, &removed), 0);
	assert_int_equal(removed, 3);
	assert_true(is_kept(0) && is_kept(1) && is_kept(2) && is_kept(99));
	assert_false(is_kept(3) || is_kept(4) || is_kept(5));
	assert_int_equal(scout_segment_read(&s, 0, got, SCOUT_BUF_BYTES), 0);
	scout_segment_close(&s);
	/* by size, but for what was used last */
	scout_segment_touch(dir, &id, 1);
	scout_segment_touch(dir, &id, 1000); /* which is not there */
	most = (struct scout_cache_usage){.bytes = 2 * SCOUT_BUF_BYTES, .files = 100};
	assert_int_equal(scout_cache_shrink(dir, &most, &usage, &removed), 0);
	assert_true(usage.bytes <= most.bytes && is_kept(1));
	assert_false(is_kept(0) || is_kept(2));
	assert_int_equal(scout_cache_measure(dir, &usage), 0);
	assert_true(usage.bytes <= most.bytes);
	assert_int_equal(faccessat(dir, "lock", F_OK, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_was_written_is_read), TEST(torn_blocks), TEST(of_elsewhere),
	    TEST(what_is_no_segment),       TEST(names),       TEST(the_oldest_go_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
