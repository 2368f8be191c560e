/* The disk cache on a disk that is full, slow or unreadable, or whose files go; and with bytes that are not
 * the object's. */
#include "cache_rig.h"

#include "models/read.h"

/* Files that another mount removes under us: what is not there is fetched. */
static void removed_under_a_reader(void **state)
{
	struct mount t;
	struct asked *f;
	char path[400];

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	down(&t);
	up(&t);
	f = open_key(&t, KEY);
	read_range(&t, f, KEY, 0, 4 * MIB, 4 * MIB + 100);
	assert_int_equal(hits(&t), 1);
	assert_int_equal(segments(path, sizeof(path)), 1);
	assert_int_equal(unlink(path), 0);
	read_range(&t, f, KEY, 0, 0, BYTES);
	close_file(&t, f);
	assert_in_range(fake.bytes, BYTES - SCOUT_BUF_BYTES, BYTES);
	down(&t);
}

static void what_cannot_be_read(void **state)
{
	struct mount t;

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	down(&t);
	up(&t);
	atomic_store(&disk_read_error, EIO);
	read_key(&t, KEY, 0, 0, BYTES);
	atomic_store(&disk_read_error, 0);
	assert_int_equal(hits(&t), 0);
	assert_int_equal(fake.bytes, BYTES);
	assert_int_equal(atomic_load(&cache_of(&t)->off), 0);
	down(&t);
}

/* Bytes that are not the object's do not stay, and neither does what of it came before. */
static void wrong_bytes_do_not_stay(void **state)
{
	static const char *headers[] = {"x-amz-checksum-crc32", "AAAAAA==", NULL};
	struct mount t;
	struct asked *f, *a;
	int err = 0;

	(void)state;
	mount_verifies = true;
	for (unsigned round = 0; round < 2; round++) {
		up(&t);
		(void)scout_log_open(SCOUT_LOG_ERROR, "/dev/null", false);
		fake.headers = headers;
		f = open_key(&t, KEY);
		for (uint64_t at = 0; at < BYTES; at += MIB) {
			a = ask_read(&t, f, at, MIB);
			settle(a);
			err = a->err;
			asked_free(a);
		}
		assert_int_equal(err, -EIO);
		assert_int_equal(fake.bytes, BYTES); /* also in the second round */
		close_file(&t, f);
		down(&t);
		assert_int_equal(segments(NULL, 0), 0);
	}
	(void)scout_log_open(SCOUT_LOG_ERROR, NULL, false);
}

/* Wrong on the disk, with a right sum of what is wrong: verify reads all bytes, whoever they come from. */
static void verify_looks_at_what_comes_from_there(void **state)
{
	static const char *headers[] = {"x-amz-checksum-crc32", "AAAAAA==", NULL};
	struct mount t;
	struct asked *f, *a;
	int err = 0;

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	down(&t);
	mount_verifies = true;
	up(&t);
	(void)scout_log_open(SCOUT_LOG_ERROR, "/dev/null", false);
	fake.headers = headers;
	f = open_key(&t, KEY);
	for (uint64_t at = 0; at < BYTES; at += MIB) {
		a = ask_read(&t, f, at, MIB);
		settle(a);
		err = a->err;
		asked_free(a);
	}
	assert_int_equal(fake.gets, 0);
	assert_int_equal(err, -EIO);
	close_file(&t, f);
	/* whoever opens it now has it from S3, all of it, even if the files are there for a moment */
	fake.headers = NULL;
	read_key(&t, KEY, 0, 0, BYTES);
	assert_int_equal(fake.bytes, BYTES);
	(void)scout_log_open(SCOUT_LOG_ERROR, NULL, false);
	down(&t);
	assert_int_equal(segments(NULL, 0), 1);
}

/* One line; nothing more is written, and what is there is served. */
static void a_full_disk(void **state)
{
	const int errors[] = {ENOSPC, EDQUOT, EIO, EROFS};
	struct scout_text text = {0};
	uint64_t before;
	char log[100];
	struct mount t;

	(void)state;
	snprintf(log, sizeof(log), "%s/log", folder);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		up(&t);
		read_key(&t, KEY, 0, 0, BYTES);
		down(&t);
		up(&t);
		assert_int_equal(scout_log_open(SCOUT_LOG_DEBUG, log, false), 0);
		atomic_store(&disk_error, errors[i]);
		fake_put("b", BYTES);
		read_key(&t, "b", 0, 0, BYTES);
		WAIT(atomic_load(&cache_of(&t)->off) == errors[i]);
		read_key(&t, "b", 0, 0, BYTES);
		quiet(&t);
		atomic_store(&disk_error, 0);
		fake_put("c", BYTES);
		read_key(&t, "c", 0, 0, BYTES);
		quiet(&t);
		before = fake.gets;
		read_key(&t, KEY, 0, 0, BYTES);
		assert_int_equal(hits(&t), BLOCKS);
		assert_int_equal(fake.gets, before);
		assert_int_equal(written(&t), 0);
		assert_int_equal(scout_counted(&cache_of(&t)->evictions), 0);
		t.backend.ops->status(t.backend.self, &text);
		assert_non_null(strstr(text.str, ": off for writing: "));
		scout_text_free(&text);
		t.backend.ops->metrics(t.backend.self, &text);
		assert_non_null(strstr(text.str, "\nscoutfs_cache_on 0\n"));
		scout_text_free(&text);
		down(&t);
		(void)scout_log_open(SCOUT_LOG_ERROR, NULL, false);
		assert_int_equal(lines_of(log, strerror(errors[i])), 1);
		assert_int_equal(lines_of(log, "cache_dir"), 1);
		(void)remove_folder(NULL); /* what is in it, too */
		assert_int_equal(mkdir(folder, 0700), 0);
	}
}

/* What waits is bounded, readers do not wait for it, and what was left out is fetched the next time. */
static void a_slow_disk(void **state)
{
	struct scout_cache *c;
	struct mount t;

	(void)state;
	mount_up(&t, "", 64 * MIB); /* 16 blocks may wait */
	fake_put(KEY, 10 * MIB);
	c = cache_of(&t);
	assert_int_equal(c->writes_max, 16);
	atomic_store(&disk_hangs, true);
	read_key(&t, KEY, 0, 0, 10 * MIB);
	quiet(&t);
	scout_lock(&c->lock);
	assert_in_range(c->nwrites, 15, 16); /* the writer has one in hand */
	scout_unlock(&c->lock);
	assert_in_range(scout_counted(&c->skipped), 40 - 17, 40 - 16);
	atomic_store(&disk_hangs, false);
	WAIT(written(&t) >= 16);
	mount_down(&t);
	up(&t);
	fake_put(KEY, 10 * MIB);
	fake_find(KEY)->version = 0;
	read_key(&t, KEY, 0, 0, 10 * MIB);
	assert_in_range(fake.bytes, 1, 10 * MIB - 16 * SCOUT_BUF_BYTES);
	assert_in_range(hits(&t), 16, 17);
	down(&t);
}

/* A disk that hangs keeps nobody waiting but who it is read for, and not the end of the mount. */
static void a_disk_that_hangs(void **state)
{
	struct asked *f, *g, *in_hand, *behind;
	struct mount t;
	char log[100];

	(void)state;
	snprintf(log, sizeof(log), "%s/log", folder);
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	down(&t);
	up(&t);
	assert_int_equal(scout_log_open(SCOUT_LOG_ERROR, log, false), 0);
	fake_put("b", BYTES);
	f = open_key(&t, KEY);
	g = open_key(&t, "b");
	read_range(&t, f, KEY, 0, 0, 100);
	quiet(&t);
	atomic_store(&disk_read_hangs, true);
	in_hand = ask_read(&t, f, 4 * MIB, 100);
	WAIT(atomic_load(&disk_reads_hung) == 1);
	behind = ask_read(&t, g, 0, 100);
	assert_int_equal(fake.gets, 0);
	atomic_fetch_add(&fake_now, 10 * SCOUT_NS_PER_S);
	settle(behind); /* though nobody asks for more */
	expect_bytes(behind, "b", 0, 0, 100);
	read_range(&t, f, KEY, 0, 2 * MIB, 2 * MIB + 100);
	assert_false(asked_is_done(in_hand));

	cache_of(&t)->patience_ns = SCOUT_NS_PER_S / 20;
	mount_stop(&t);
	assert_true(t.backend.ops->hangs(t.backend.self));
	assert_int_equal(lines_of(log, "its disk hangs"), 1);
	atomic_store(&disk_read_hangs, false);
	cache_of(&t)->patience_ns = 60 * SCOUT_NS_PER_S;
	scout_cache_stop_reading(t.models);
	assert_false(t.backend.ops->hangs(t.backend.self));
	asked_wait(in_hand);
	asked_free(in_hand);
	close_file(&t, f);
	close_file(&t, g);
	mount_down(&t);
	(void)scout_log_open(SCOUT_LOG_ERROR, NULL, false);
}

/* Until wrong bytes are removed nothing of them is read, and never again if they cannot be. */
static void what_cannot_be_removed(void **state)
{
	struct scout_models_file *file;
	struct mount t;
	struct asked *f;

	(void)state;
	up(&t);
	read_key(&t, KEY, 0, 0, BYTES);
	down(&t);
	up(&t);
	(void)scout_log_open(SCOUT_LOG_ERROR, "/dev/null", false);
	f = open_key(&t, KEY);
	file = f->handle;
	read_range(&t, f, KEY, 0, 0, 100);
	quiet(&t);
	assert_int_equal(hits(&t), 1);
	atomic_store(&disk_unlink_error, EACCES);
	atomic_store(&disk_unlink_hangs, true);
	scout_cache_forget(t.models, file->object);
	read_range(&t, f, KEY, 0, 2 * MIB, 2 * MIB + 100);
	assert_int_equal(hits(&t), 1);
	assert_in_range(fake.gets, 1, 2);
	atomic_store(&disk_unlink_hangs, false);
	WAIT(atomic_load(&cache_of(&t)->off) == EACCES);
	read_range(&t, f, KEY, 0, 4 * MIB, 4 * MIB + 100);
	assert_int_equal(hits(&t), 1);
	close_file(&t, f);
	atomic_store(&disk_unlink_error, 0);
	(void)scout_log_open(SCOUT_LOG_ERROR, NULL, false);
	down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(removed_under_a_reader),
	    TEST(what_cannot_be_read),
	    TEST(wrong_bytes_do_not_stay),
	    TEST(verify_looks_at_what_comes_from_there),
	    TEST(a_full_disk),
	    TEST(a_slow_disk),
	    TEST(a_disk_that_hangs),
	    TEST(what_cannot_be_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
