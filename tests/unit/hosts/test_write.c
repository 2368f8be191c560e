/* Writes over a fake engine: their order, how they are gathered, who is told of an error, what a lost
 * session costs, and that reads see them. */
#include <fcntl.h>

#include "fake_sftp.h"

#define MEMORY ((size_t)64 << 20)
#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)
#define PIECE 261120

static struct ask file, other, a, many[128];
static uint8_t bytes[SCOUT_WRITE_MAX];

static void set_up(size_t memory)
{
	rig_config(1);
	rig_start(memory);
}

static void tear_down(void)
{
	if (file.handle)
		file_release(&file);
	if (other.handle)
		file_release(&other);
	file.handle = other.handle = NULL;
	rig_stop();
	free(a.data);
	a.data = NULL;
	for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
		free(many[i].data);
		many[i].data = NULL;
	}
	fake_reset();
}

static int open_as(struct ask *f, const char *path, int flags)
{
	ask_start(f, ASK_OPEN);
	if (flags & O_CREAT)
		rig.backend.ops->create(rig.backend.self, path, 0644, flags, &f->req);
	else
		rig.backend.ops->open(rig.backend.self, path, flags, &f->req);
	return ask_wait(f);
}

/* The bytes that the file is to have at offset. */
static void write_start(struct ask *w, const struct ask *f, uint64_t offset, size_t size,
			unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = fake_byte(offset + i, seed);
	ask_start(w, ASK_NONE);
	rig.backend.ops->write(rig.backend.self, f->handle, offset, bytes, size, &w->req);
	memset(bytes, 0, size);
}

static int write_at(const struct ask *f, uint64_t offset, size_t size, unsigned seed)
{
	write_start(&a, f, offset, size, seed);
	return ask_wait(&a);
}

static void flush_start(struct ask *w, const struct ask *f)
{
	ask_start(w, ASK_SYNCED);
	rig.backend.ops->flush(rig.backend.self, f->handle, &w->req);
}

static int flush_of(const struct ask *f)
{
	flush_start(&a, f);
	return ask_wait(&a);
}

static int fsync_of(const struct ask *f)
{
	ask_start(&a, ASK_SYNCED);
	rig.backend.ops->fsync(rig.backend.self, f->handle, &a.req);
	return ask_wait(&a);
}

static void holds(const char *path, size_t size, unsigned seed)
{
	pthread_mutex_lock(&fake.lock);
	struct fake_node *n = fake_find_locked(path);
	assert_non_null(n);
	assert_int_equal(n->size, size);
	for (size_t i = 0; i < size; i++)
		if (n->data[i] != fake_byte(i, seed))
			fail_msg("byte %zu is wrong", i);
	pthread_mutex_unlock(&fake.lock);
}

static void read_back(const struct ask *f, uint64_t offset, size_t size, unsigned seed)
{
	ask_read(&a, f, offset, size);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.size, size);
	for (size_t i = 0; i < size; i++)
		if (a.data[i] != fake_byte(offset + i, seed))
			fail_msg("byte %llu read is wrong", (unsigned long long)(offset + i));
}

static void lose_session(unsigned number, unsigned joins)
{
	FAKE_LOCKED(fake.sessions[number]->kill = -ECONNRESET);
	FAKE_WAIT(fake.joins == joins);
}

static void a_small_file_costs_four_requests(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_EXCL | O_WRONLY), 0);
	assert_false(file.direct_io);
	assert_int_equal(write_at(&file, 0, 5000, 1), 0);
	assert_int_equal(flush_of(&file), 0);
	assert_true(a.known);
	assert_int_equal(a.attr.size, 5000);
	holds("/f", 5000, 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 1);
	assert_int_equal(fake.count[SCOUT_SFTP_WRITE], 1);
	assert_int_equal(fake.count[SCOUT_SFTP_FSTAT], 1);
	/* who has written nothing since has nothing to wait for */
	assert_int_equal(flush_of(&file), 0);
	assert_false(a.known);
	assert_int_equal(fake.count[SCOUT_SFTP_FSTAT], 1);
	tear_down();
}

static void a_stream_is_repacked(void **state)
{
	const size_t size = 10 * MIB + 777;

	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (size_t at = 0; at < size; at += 128 * KIB)
		assert_int_equal(
		    write_at(&file, at, size - at < 128 * KIB ? size - at : 128 * KIB, 3), 0);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(flush_of(&file), 0);
	holds("/f", size, 3);
	/* The first one goes at once, as nothing is under way; then only full ones. */
	assert_true(fake.count[SCOUT_SFTP_WRITE] <= 1 + size / PIECE + 1);
	tear_down();
}

static void small_limits_are_kept(void **state)
{
	const size_t size = 2 * MIB + 5;

	(void)state;
	rig_config(1);
	fake.server.write_bytes = 32768;
	rig_start(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	for (size_t at = 0; at < size; at += 200000)
		assert_int_equal(write_at(&file, at, size - at < 200000 ? size - at : 200000, 3),
				 0);
	assert_int_equal(flush_of(&file), 0);
	holds("/f", size, 3);
	tear_down();
}

/* Whichever of them was taken last is what the file holds. */
static void overlaps_keep_their_order(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_connects = fake.hold_answers = true);
	assert_int_equal(fake.starts, 1);
	FAKE_LOCKED(fake.hold_connects = fake.hold_answers = false);
	for (unsigned k = 0; k < 50; k++)
		assert_int_equal(write_at(&file, k % 7 * 100, 3000, k), 0);
	assert_int_equal(write_at(&file, 0, 4000, 99), 0);
	assert_int_equal(flush_of(&file), 0);
	holds("/f", 4000, 99);
	tear_down();
}

/* The busy first session has the second handle opened on another. */
static void spread_over_sessions(void)
{
	for (unsigned i = 0; i < 80; i++)
		ask_getattr(&many[i], "h0/x");
}

static void handles_on_two_sessions_keep_their_order(void **state)
{
	unsigned sessions;

	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	spread_over_sessions();
	FAKE_WAIT(fake.ups == 2);
	ask_start(&other, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, "h0/f", O_WRONLY, &other.req);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&other), 0);
	for (unsigned i = 0; i < 80; i++)
		assert_int_equal(ask_wait(&many[i]), -ENOENT);
	sessions = fake.ups;
	assert_int_equal(sessions, 2);
	for (unsigned k = 0; k < 40; k++)
		assert_int_equal(write_at(k % 2 ? &other : &file, 0, 2000, k), 0);
	assert_int_equal(write_at(&other, 0, 2000, 77), 0);
	assert_int_equal(flush_of(&other), 0);
	holds("/f", 2000, 77);
	assert_int_equal(flush_of(&file), 0);
	tear_down();
}

static void reads_see_what_was_written(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(write_at(&file, 0, 200 * KIB, 1), 0);
	read_back(&file, 0, 200 * KIB, 1);
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	read_back(&other, 0, 200 * KIB, 1);
	for (unsigned k = 2; k < 20; k++) {
		assert_int_equal(write_at(&file, 0, 200 * KIB, k), 0);
		assert_int_equal(write_at(&file, 200 * KIB, k * 1000, k), 0);
		read_back(&other, 0, 200 * KIB + k * 1000, k);
		read_back(&file, 4096, 64 * KIB, k);
	}
	tear_down();
}

/* Read ahead, then written: what was fetched before is not what is there. */
static void read_ahead_is_dropped_by_a_write(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/f", 8 * MIB, 100, 1);
	rig_start(MEMORY);
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	assert_int_equal(open_as(&file, "h0/f", O_WRONLY), 0);
	read_back(&other, 0, 256 * KIB, 1);
	read_back(&other, 256 * KIB, 256 * KIB, 1);
	for (size_t at = 512 * KIB; at < 2 * MIB; at += 128 * KIB)
		assert_int_equal(write_at(&file, at, 128 * KIB, 2), 0);
	for (size_t at = 512 * KIB; at < 2 * MIB; at += 128 * KIB)
		read_back(&other, at, 128 * KIB, 2);
	/* what another host changes still is seen as such */
	FAKE_LOCKED(fake_find_locked("/f")->mtime += 9);
	ask_read(&a, &other, 4 * MIB, 4096);
	assert_int_equal(ask_wait(&a), -ESTALE);
	tear_down();
}

static void open_shows_what_was_written(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_WRONLY), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	assert_int_equal(write_at(&file, 0, 5000, 1), 0);
	ask_start(&other, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, "h0/f", O_RDWR | O_TRUNC, &other.req);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1); /* it waits for the write */
	ask_getattr(&many[0], "h0/f");
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&many[0]), 0);
	assert_int_equal(ask_wait(&other), 0);
	assert_int_equal(other.attr.size, 0);
	assert_false(other.direct_io);
	assert_int_equal(write_at(&other, 0, 100, 2), 0);
	ask_getattr(&a, "h0/f");
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.attr.size, 100);
	read_back(&other, 0, 100, 2);
	tear_down();
}

static void created_files_are_told_apart(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/f", 10, 100, 1);
	fake_mkdir_locked("/d", 0);
	rig_start(MEMORY);
	assert_int_equal(open_as(&a, "h0/f", O_CREAT | O_EXCL | O_WRONLY), -EEXIST);
	assert_int_equal(open_as(&a, "h0/d", O_CREAT | O_WRONLY), -EISDIR);
	assert_int_equal(open_as(&a, "h0/d", O_CREAT | O_EXCL | O_WRONLY), -EEXIST);
	assert_int_equal(open_as(&file, "h0/new", O_CREAT | O_EXCL | O_WRONLY), 0);
	assert_int_equal(file.attr.mode, S_IFREG | 0644);
	FAKE_LOCKED(rig.hosts[0].read_only = true);
	tear_down();
}

static void errors_are_told_once(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(open_as(&other, "h0/f", O_WRONLY), 0);
	FAKE_LOCKED(fake.write_err = -EDQUOT);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	assert_int_equal(flush_of(&other), 0); /* not the other's */
	assert_int_equal(flush_of(&file), -EDQUOT);
	FAKE_LOCKED(fake.write_err = 0);
	assert_int_equal(flush_of(&file), 0);
	FAKE_LOCKED(fake.write_err = -EACCES);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	assert_int_equal(fsync_of(&file), -EACCES);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	ask_getattr(&a, "h0/f"); /* settles */
	assert_int_equal(ask_wait(&a), 0);
	FAKE_LOCKED(fake.write_err = 0);
	assert_int_equal(write_at(&file, 0, 100, 1), -EACCES);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	assert_int_equal(fsync_of(&file), 0);
	holds("/f", 100, 1);
	tear_down();
}

static void a_full_disk_is_told_as_such(void **state)
{
	(void)state;
	rig_config(1);
	fake.server.extensions |= SCOUT_SFTP_EXT(SCOUT_SFTP_STATVFS);
	fake.space = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_blocks = 100};
	rig_start(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.write_err = -EIO);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	assert_int_equal(flush_of(&file), -ENOSPC);
	FAKE_LOCKED(fake.space.f_bavail = 50);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	assert_int_equal(flush_of(&file), -EIO);
	tear_down();
}

static void kill_at_write(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_WRITE)
		s->kill = -ECONNRESET;
}

static void a_write_that_may_have_left_is_lost(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.sends_at_once = true, fake.before = kill_at_write);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	assert_int_equal(flush_of(&file), -EIO);
	FAKE_LOCKED(fake.before = NULL);
	/* told, and gone on with: on a new session */
	assert_int_equal(write_at(&file, 0, 3000, 2), 0);
	assert_int_equal(fsync_of(&file), 0);
	holds("/f", 3000, 2);
	assert_int_equal(fake.starts, 2);
	tear_down();
}

static void a_write_that_never_left_is_sent_again(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_EXCL | O_RDWR), 0);
	lose_session(0, 1);
	for (unsigned k = 0; k < 20; k++)
		assert_int_equal(write_at(&file, k * 1000, 1000, 2), 0);
	assert_int_equal(flush_of(&file), 0);
	holds("/f", 20000, 2);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2); /* without CREAT and EXCL */
	tear_down();
}

static void what_was_not_synced_may_be_lost(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(write_at(&file, 0, 3000, 2), 0);
	assert_int_equal(flush_of(&file), 0);
	lose_session(0, 1);
	assert_int_equal(fsync_of(&file), -EIO);
	assert_int_equal(fsync_of(&file), 0); /* told once */
	assert_int_equal(write_at(&file, 0, 3000, 3), 0);
	assert_int_equal(fsync_of(&file), 0);
	lose_session(1, 2);
	assert_int_equal(fsync_of(&file), 0); /* it had been synced */
	assert_int_equal(write_at(&file, 0, 3000, 4), 0);
	assert_int_equal(flush_of(&file), 0);
	lose_session(2, 3);
	assert_int_equal(flush_of(&file), 0); /* close alone is fine */
	tear_down();
}

static void another_file_is_not_written_into(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(write_at(&file, 0, 3000, 2), 0);
	assert_int_equal(fsync_of(&file), 0);
	FAKE_LOCKED(fake_add_locked("/f", 3001, fake.now, 9));
	lose_session(0, 1);
	assert_int_equal(write_at(&file, 0, 10, 3), 0);
	assert_int_equal(flush_of(&file), -ESTALE);
	holds("/f", 3001, 9);
	tear_down();
}

static void no_more_than_the_limit_is_under_way(void **state)
{
	unsigned taken = 0;

	(void)state;
	set_up((size_t)256 << 20);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 100; i++)
		write_start(&many[i], &file, i * 256 * KIB, 256 * KIB, 1);
	for (unsigned i = 0; i < 100; i++)
		taken += many[i].done;
	assert_int_equal(taken, 64);
	atomic_store(&many[70].req.unwanted, true);
	FAKE_LOCKED(fake.hold_answers = false);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(ask_wait(&many[i]), i == 70 ? -EINTR : 0);
	assert_int_equal(flush_of(&file), 0);
	FAKE_LOCKED(assert_true(fake_find_locked("/f")->data[70 * 256 * KIB] == 0));
	assert_int_equal(write_at(&file, 70 * 256 * KIB, 256 * KIB, 1), 0);
	assert_int_equal(flush_of(&file), 0);
	holds("/f", 25 * MIB, 1);
	tear_down();
}

static void little_memory_is_enough(void **state)
{
	(void)state;
	set_up(SCOUT_READ_BUFS * SCOUT_BUF_BYTES);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(open_as(&other, "h0/g", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 60; i++)
		write_start(&many[i], i % 2 ? &other : &file, i / 2 * 200 * KIB, 200 * KIB, 1);
	FAKE_LOCKED(fake.hold_answers = false);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(ask_wait(&many[i]), 0);
	assert_int_equal(flush_of(&file), 0);
	assert_int_equal(flush_of(&other), 0);
	holds("/f", 6000 * KIB, 1);
	holds("/g", 6000 * KIB, 1);
	for (size_t at = 0; at < 6000 * KIB; at += 500 * KIB)
		read_back(&file, at, 500 * KIB, 1);
	tear_down();
}

static void appends_go_to_the_end(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/f", 1000, 100, 4);
	rig_start(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_WRONLY | O_APPEND), 0);
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	FAKE_LOCKED(fake_append_locked("/f", 500, 100, 4)); /* by another host */
	write_start(&a, &file, 1000, 100, 0);
	assert_int_equal(ask_wait(&a), 0);
	ask_read(&a, &other, 0, 4096);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.size, 1600);
	assert_int_equal(a.data[1500], fake_byte(1000, 0));
	tear_down();
}

static void a_released_file_is_written_to_its_end(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(write_at(&file, i * 100 * KIB, 100 * KIB, 1), 0);
	file_release(&file);
	file.handle = NULL;
	FAKE_LOCKED(fake.hold_answers = false);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1);
	holds("/f", 2000 * KIB, 1);
	tear_down();
}

static void stop_ends_waiting_writes(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 100; i++)
		write_start(&many[i], &file, i * 256 * KIB, 256 * KIB, 1);
	flush_start(&a, &file);
	rig.backend.ops->stop(rig.backend.self);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(many[i].done);
		assert_true(many[i].err == 0 || many[i].err == -ESHUTDOWN || many[i].err == -EIO);
	}
	assert_true(a.done);
	assert_true(a.err != 0 || many[99].err != 0);
	tear_down();
}

static void renamed_and_unlinked_files_go_on(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(open_as(&other, "h0/g", O_CREAT | O_RDWR), 0);
	assert_int_equal(write_at(&file, 0, 3000, 1), 0);
	assert_int_equal(write_at(&other, 0, 2000, 2), 0);
	ask_start(&a, ASK_NONE);
	rig.backend.ops->rename(rig.backend.self, "h0/f", "h0/g", 0, &a.req);
	assert_int_equal(ask_wait(&a), 0);
	holds("/g", 3000, 1);
	/* the one that lost its name is read and written by its handle */
	assert_int_equal(write_at(&other, 2000, 1000, 2), 0);
	read_back(&other, 0, 3000, 2);
	ask_start(&a, ASK_ATTR);
	rig.backend.ops->getattr(rig.backend.self, NULL, other.handle, &a.req);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.attr.size, 3000);
	assert_int_equal(fsync_of(&other), 0);
	assert_int_equal(fsync_of(&file), 0);
	lose_session(0, 1);
	/* the one that was renamed is opened anew by its new name, the other cannot be */
	assert_int_equal(write_at(&file, 3000, 1000, 1), 0);
	assert_int_equal(flush_of(&file), 0);
	holds("/g", 4000, 1);
	ask_read(&a, &other, 0, 10);
	assert_int_equal(ask_wait(&a), -ESTALE);
	tear_down();
}

static int set_size(const struct ask *f, const char *path, uint64_t size)
{
	struct scout_setattr change = {.set = SCOUT_SET_SIZE, .size = size};

	ask_start(&a, ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, path, f->handle, &change, &a.req);
	return ask_wait(&a);
}

static void a_file_is_cut_in_the_order_of_its_writes(void **state)
{
	struct scout_setattr change = {.set = SCOUT_SET_MTIME, .mtime.tv_sec = 77};

	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	for (unsigned k = 1; k < 20; k++) {
		assert_int_equal(write_at(&file, 0, 100 * KIB, k), 0);
		assert_int_equal(set_size(&file, "h0/f", 1000 * k), 0);
		assert_int_equal(a.attr.size, 1000 * k);
		assert_int_not_equal(a.was, 0);
		read_back(&other, 0, 1000 * k, k);
		assert_int_equal(write_at(&file, 1000 * k, 500, k), 0);
		read_back(&other, 0, 1000 * k + 500, k);
		holds("/f", 1000 * k + 500, k);
	}
	/* what is half is completed by what is there, without a name as well */
	ask_start(&a, ASK_NONE);
	rig.backend.ops->unlink(rig.backend.self, "h0/f", &a.req);
	assert_int_equal(ask_wait(&a), 0);
	ask_start(&a, ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, NULL, file.handle, &change, &a.req);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.attr.mtime.tv_sec, 77);
	assert_int_equal(set_size(&file, NULL, 10), 0);
	assert_int_equal(a.attr.size, 10);
	/* lost after it may have been done, it is not done again */
	FAKE_LOCKED(fake.sends_at_once = true, fake.hold_answers = true);
	ask_start(&many[0], ASK_CHANGED);
	change = (struct scout_setattr){.set = SCOUT_SET_SIZE, .size = 5};
	rig.backend.ops->setattr(rig.backend.self, NULL, file.handle, &change, &many[0].req);
	FAKE_LOCKED(fake.sessions[0]->kill = -ECONNRESET);
	assert_int_equal(ask_wait(&many[0]), -EIO);
	FAKE_LOCKED(fake.hold_answers = false);
	tear_down();
}

static void fsync_without_a_word_for_it(void **state)
{
	(void)state;
	rig_config(1);
	fake.server.extensions = 0;
	rig_start(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(write_at(&file, 0, 3000, 1), 0);
	assert_int_equal(fsync_of(&file), -EINVAL);
	holds("/f", 3000, 1);
	FAKE_LOCKED(fake.write_err = -EDQUOT);
	assert_int_equal(write_at(&file, 0, 3000, 1), 0);
	assert_int_equal(fsync_of(&file), -EDQUOT);
	tear_down();
}

static void *write_some(void *arg)
{
	unsigned id = *(unsigned *)arg;
	struct ask f = {0}, r = {0};
	uint8_t data[5000];

	ask_start(&f, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, "h0/f", O_RDWR, &f.req);
	assert_int_equal(ask_wait(&f), 0);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t at = (uint64_t)id * 1000000 + i * sizeof data;

		for (size_t k = 0; k < sizeof data; k++)
			data[k] = fake_byte(at + k, 1);
		ask_start(&r, ASK_NONE);
		rig.backend.ops->write(rig.backend.self, f.handle, at, data, sizeof data, &r.req);
		assert_int_equal(ask_wait(&r), 0);
		if (i % 17 == 0) {
			ask_read(&r, &f, at, sizeof data);
			assert_int_equal(ask_wait(&r), 0);
			assert_int_equal(r.size, sizeof data);
			assert_memory_equal(r.data, data, sizeof data);
		}
	}
	ask_start(&r, ASK_SYNCED);
	rig.backend.ops->fsync(rig.backend.self, f.handle, &r.req);
	assert_int_equal(ask_wait(&r), 0);
	file_release(&f);
	free(r.data);
	return NULL;
}

static void many_writers_at_once(void **state)
{
	pthread_t threads[8];
	unsigned ids[8];

	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	for (unsigned i = 0; i < 8; i++) {
		ids[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &ids[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	holds("/f", 8000000, 1);
	tear_down();
}

/* Writes its part of one file again and again while sessions die: what a flush or fsync said is there
 * is there, what is not was told, and nothing but the loss is. */
static void *write_on_ice(void *arg)
{
	unsigned id = *(unsigned *)arg;
	struct ask f = {0}, r = {0};
	uint64_t at = (uint64_t)id * 100000;
	static _Thread_local uint8_t data[20000];

	ask_start(&f, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, "h0/f", O_RDWR, &f.req);
	assert_int_equal(ask_wait(&f), 0);
	for (unsigned round = 0; round < 60; round++) {
		unsigned seed = id * 64 + round;
		bool lost = false;

		for (size_t k = 0; k < sizeof data; k++)
			data[k] = fake_byte(at + k, seed);
		for (size_t k = 0; k < sizeof data; k += 1000) {
			ask_start(&r, ASK_NONE);
			rig.backend.ops->write(rig.backend.self, f.handle, at + k, data + k, 1000,
					       &r.req);
			if (ask_wait(&r)) {
				assert_int_equal(r.err, -EIO);
				lost = true;
			}
		}
		ask_start(&r, ASK_SYNCED);
		if (round % 2)
			rig.backend.ops->fsync(rig.backend.self, f.handle, &r.req);
		else
			rig.backend.ops->flush(rig.backend.self, f.handle, &r.req);
		if (ask_wait(&r))
			assert_int_equal(r.err, -EIO);
		if (r.err || lost)
			continue;
		pthread_mutex_lock(&fake.lock);
		assert_memory_equal(fake_find_locked("/f")->data + at, data, sizeof data);
		pthread_mutex_unlock(&fake.lock);
	}
	file_release(&f);
	free(r.data);
	return NULL;
}

static void dying_sessions_lose_nothing_untold(void **state)
{
	pthread_t threads[6];
	unsigned ids[6];

	(void)state;
	set_up(MEMORY);
	FAKE_LOCKED(fake_add_locked("/f", 600000, 100, 1), fake.sends_at_once = true);
	for (unsigned i = 0; i < 6; i++) {
		ids[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_on_ice, &ids[i]), 0);
	}
	for (unsigned i = 1; i < 6; i++) {
		FAKE_WAIT(fake.count[SCOUT_SFTP_WRITE] > i * 60);
		FAKE_LOCKED(for (unsigned k = 0; k < fake.starts; k++) if (fake.sessions[k])
				fake.sessions[k]
				    ->kill = -ECONNRESET);
		FAKE_WAIT(fake.live == 0);
		FAKE_WAIT(fake.live > 0);
	}
	for (unsigned i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_small_file_costs_four_requests),
	    cmocka_unit_test(a_stream_is_repacked),
	    cmocka_unit_test(small_limits_are_kept),
	    cmocka_unit_test(overlaps_keep_their_order),
	    cmocka_unit_test(handles_on_two_sessions_keep_their_order),
	    cmocka_unit_test(reads_see_what_was_written),
	    cmocka_unit_test(read_ahead_is_dropped_by_a_write),
	    cmocka_unit_test(open_shows_what_was_written),
	    cmocka_unit_test(created_files_are_told_apart),
	    cmocka_unit_test(errors_are_told_once),
	    cmocka_unit_test(a_full_disk_is_told_as_such),
	    cmocka_unit_test(a_write_that_may_have_left_is_lost),
	    cmocka_unit_test(a_write_that_never_left_is_sent_again),
	    cmocka_unit_test(what_was_not_synced_may_be_lost),
	    cmocka_unit_test(another_file_is_not_written_into),
	    cmocka_unit_test(no_more_than_the_limit_is_under_way),
	    cmocka_unit_test(little_memory_is_enough),
	    cmocka_unit_test(appends_go_to_the_end),
	    cmocka_unit_test(a_released_file_is_written_to_its_end),
	    cmocka_unit_test(stop_ends_waiting_writes),
	    cmocka_unit_test(renamed_and_unlinked_files_go_on),
	    cmocka_unit_test(a_file_is_cut_in_the_order_of_its_writes),
	    cmocka_unit_test(fsync_without_a_word_for_it),
	    cmocka_unit_test(many_writers_at_once),
	    cmocka_unit_test(dying_sessions_lose_nothing_untold),
	};

	return cmocka_run_group_tests_name("hosts/write", tests, NULL, NULL);
}
