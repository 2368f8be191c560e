/* Writes over a fake engine: their order, how they are gathered, who is told of an error, and that
 * reads see them. */
#include "write_rig.h"

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
	const size_t size = MIB - 777;

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
	FAKE_LOCKED(sessions = fake.ups);
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
	set_up_file(8 * MIB, 1);
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
	/* of the second half of a write(2) the kernel makes a short one, and tells nobody why */
	assert_int_equal(flush_of(&file), -EACCES);
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

static void appends_go_to_the_end(void **state)
{
	(void)state;
	set_up_file(1000, 4);
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

/* The look of who reads behind the first append does not show the second, which was taken before it. */
static void a_look_between_two_appends(void **state)
{
	(void)state;
	set_up_file(1000, 4);
	assert_int_equal(open_as(&file, "h0/f", O_WRONLY | O_APPEND), 0);
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	write_start(&many[0], &file, 1000, 100, 4);
	ask_read(&many[1], &other, 0, 4096);
	write_start(&many[2], &file, 1100, 100, 4);
	FAKE_LOCKED(fake.writes_max = 1, fake.hold_answers = false);
	assert_int_equal(ask_wait(&many[1]), 0);
	assert_int_equal(many[1].size, 1100);
	FAKE_LOCKED(fake.writes_max = 0);
	assert_int_equal(flush_of(&file), 0);
	read_back(&other, 1100, 100, 4);
	tear_down();
}

static void who_appends_reads_to_the_end(void **state)
{
	(void)state;
	set_up(MEMORY);
	FAKE_LOCKED(fake_add_locked("/f", 1000, 100, 5));
	assert_int_equal(open_as(&file, "h0/f", O_RDWR | O_APPEND), 0);
	read_back(&file, 0, 1000, 5);
	FAKE_LOCKED(fake_append_locked("/f", 500, 101, 5));
	assert_int_equal(write_at(&file, 1000, 100, 0), 0);
	ask_read(&a, &file, 1000, 4096);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.size, 600);
	assert_int_equal(a.data[500], fake_byte(1000, 0));
	FAKE_LOCKED(fake_append_locked("/f", 200, 101, 5));
	read_back(&file, 1600, 200, 5); /* nobody told the kernel */
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

/* By another host, in place. */
static void rewrite_locked(const char *path, size_t size, unsigned seed)
{
	struct fake_node *n = fake_find_locked(path);

	fake_resize_locked(n, size);
	for (size_t i = 0; i < size; i++)
		n->data[i] = fake_byte(i, seed);
	n->mtime = fake.now + 100;
}

/* One reads "/f" on, as another one here has written more to it, and closed. */
static void appended_and_read(size_t first, size_t more)
{
	set_up(MEMORY);
	FAKE_LOCKED(fake_add_locked("/f", first, 100, 5));
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	read_back(&other, 0, first < 4096 ? first : 4096, 5);
	assert_int_equal(open_as(&file, "h0/f", O_WRONLY), 0);
	assert_int_equal(write_at(&file, first, more, 5), 0);
	assert_int_equal(flush_of(&file), 0);
	file_release(&file);
	file.handle = NULL;
}

static void who_opens_it_anew_reads_what_another_left(void **state)
{
	static const size_t firsts[] = {MIB, 2000};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		size_t first = firsts[i / 2], left = first / 2;

		appended_and_read(first, 1000);
		if (i % 2)
			FAKE_LOCKED(rewrite_locked("/f", left, 9));
		else
			FAKE_LOCKED(fake_add_locked("/f", left, fake.now + 100, 9));
		assert_int_equal(open_as(&file, "h0/f", O_RDONLY), 0);
		assert_int_equal(file.attr.size, left);
		read_back(&file, 0, left, 9);
		tear_down();
	}
}

static void what_another_makes_of_it_behind_us_is_stale(void **state)
{
	static const size_t lefts[] = {800 * KIB, 100 * KIB, MIB + 64 * KIB};

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		appended_and_read(MIB, 64 * KIB);
		FAKE_LOCKED(rewrite_locked("/f", lefts[i / 2], 9));
		/* who opens it does not make it ours */
		if (i % 2)
			assert_int_equal(open_as(&file, "h0/f", O_RDONLY), 0);
		ask_read(&a, &other, 512 * KIB, 64 * KIB);
		assert_int_equal(ask_wait(&a), -ESTALE);
		tear_down();
	}
}

/* Another has replaced the file that is written to here: who reads the new one notices nothing. */
static void writes_to_a_replaced_file_are_not_its_successors(void **state)
{
	(void)state;
	set_up(MEMORY);
	FAKE_LOCKED(fake_add_locked("/f", MIB, 100, 5));
	assert_int_equal(open_as(&file, "h0/f", O_WRONLY), 0);
	FAKE_LOCKED(fake_add_locked("/f", MIB, 200, 7));
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	read_back(&other, 0, 4096, 7);
	assert_int_equal(write_at(&file, 0, 1000, 9), 0);
	assert_int_equal(flush_of(&file), 0);
	read_back(&other, 512 * KIB, 4096, 7);
	read_back(&other, 0, 4096, 7);
	tear_down();
}

static void a_writer_reads_what_others_append(void **state)
{
	(void)state;
	set_up(MEMORY);
	FAKE_LOCKED(fake_add_locked("/f", 1000, 100, 5));
	assert_int_equal(open_as(&file, "h0/f", O_RDWR), 0);
	read_back(&file, 0, 1000, 5);
	FAKE_LOCKED(fake_append_locked("/f", 500, 101, 5));
	file.attr.version++; /* the kernel was told */
	read_back(&file, 1000, 500, 5);
	read_back(&file, 500, 500, 5);
	assert_int_equal(fake.count[SCOUT_SFTP_FSTAT], 4); /* three behind READs */
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

/* The look of an open may be older than what is written meanwhile. */
static void a_file_opened_while_others_append(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&other, "h0/f", O_CREAT | O_WRONLY | O_APPEND), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_start(&file, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, "h0/f", O_RDWR, &file.req);
	FAKE_WAIT(fake.sessions[0]->in_flight == 2);
	write_start(&many[0], &other, 0, 1000, 1);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&file), 0);
	assert_int_equal(ask_wait(&many[0]), 0);
	read_back(&file, 0, 1000, 1);
	tear_down();
}

/* Whoever cuts a file need not wait for the answer. */
static void writes_behind_a_cut_are_behind_it(void **state)
{
	struct scout_setattr change = {.set = SCOUT_SET_SIZE, .size = 10};

	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	assert_int_equal(flush_of(&file), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_start(&many[0], ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, "h0/f", file.handle, &change, &many[0].req);
	write_start(&many[1], &file, 0, 50, 2);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&many[0]), 0);
	assert_int_equal(ask_wait(&many[1]), 0);
	read_back(&file, 0, 50, 2);
	holds("/f", 50, 2);
	tear_down();
}

/* Who was told that it was interrupted does not find it done later. */
static void what_is_unwanted_is_not_done_behind_the_writes(void **state)
{
	struct scout_setattr change = {.set = SCOUT_SET_SIZE, .size = 10};

	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	write_start(&many[0], &file, 0, 1000, 1);
	ask_start(&many[1], ASK_NONE);
	rig.backend.ops->rename(rig.backend.self, "h0/f", "h0/g", 0, &many[1].req);
	ask_start(&many[2], ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, "h0/f", O_WRONLY | O_TRUNC, &many[2].req);
	ask_start(&many[3], ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, "h0/f", NULL, &change, &many[3].req);
	ask_start(&many[4], ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, "h0/f", file.handle, &change, &many[4].req);
	for (unsigned i = 1; i < 5; i++)
		atomic_store(&many[i].req.unwanted, true);
	FAKE_LOCKED(fake.hold_answers = false);
	for (unsigned i = 1; i < 5; i++)
		assert_int_equal(ask_wait(&many[i]), -EINTR);
	assert_int_equal(flush_of(&file), 0);
	holds("/f", 1000, 1);
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
	    cmocka_unit_test(appends_go_to_the_end),
	    cmocka_unit_test(a_look_between_two_appends),
	    cmocka_unit_test(who_appends_reads_to_the_end),
	    cmocka_unit_test(who_opens_it_anew_reads_what_another_left),
	    cmocka_unit_test(what_another_makes_of_it_behind_us_is_stale),
	    cmocka_unit_test(writes_to_a_replaced_file_are_not_its_successors),
	    cmocka_unit_test(a_writer_reads_what_others_append),
	    cmocka_unit_test(renamed_and_unlinked_files_go_on),
	    cmocka_unit_test(a_file_is_cut_in_the_order_of_its_writes),
	    cmocka_unit_test(a_file_opened_while_others_append),
	    cmocka_unit_test(writes_behind_a_cut_are_behind_it),
	    cmocka_unit_test(what_is_unwanted_is_not_done_behind_the_writes),
	    cmocka_unit_test(fsync_without_a_word_for_it),
	};

	return cmocka_run_group_tests_name("hosts/write", tests, NULL, NULL);
}
