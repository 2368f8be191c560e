/* Open files over a fake engine: right bytes in any order, one request for shared ones, never a
 * mixture of two versions, sessions lost in between. */
#include "read_rig.h"

static void every_size_is_read_through(void **state)
{
	static const size_t sizes[] = {1,      4095,   32 * KIB - 1, 32 * KIB + 1, 261119,
				       261120, 261121, MIB - 1,      MIB + 1,      10 * MIB + 7};
	static const uint32_t limits[] = {261120, 32768, 100000, 1 << 20};

	(void)state;
	for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			rig_config(1);
			fake.read_bytes = limits[k];
			fake_add_locked("/f", sizes[i], 100, SEED);
			rig_start(MEMORY);
			assert_int_equal(ask_open(&file, "h0/f"), 0);
			assert_false(file.direct_io);
			assert_int_equal(file.attr.size, sizes[i]);
			for (size_t at = 0; at < sizes[i] + 128 * KIB; at += 128 * KIB)
				read_right(at, 128 * KIB, sizes[i]);
			tear_down();
		}
	}
}

static void random_and_backward_reads_are_right(void **state)
{
	const size_t size = 5 * MIB + 3;
	uint32_t random = 1;

	(void)state;
	set_up(size, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	for (unsigned i = 0; i < 300; i++) {
		random = random * 1664525 + 1013904223;
		read_right(random % (size + 1000), 1 + random % (i % 3 ? 5000 : MIB), size);
	}
	for (size_t at = size / 4096 * 4096; at > 0; at -= 4096)
		read_right(at, 4096, size);
	tear_down();
}

static void a_random_read_fetches_what_was_asked(void **state)
{
	(void)state;
	set_up(50 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(30 * MIB + 5, 4096, 50 * MIB);
	read_right(10 * MIB + 5, 4096, 50 * MIB);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], 2);
	tear_down();
}

static void a_small_file_costs_one_read(void **state)
{
	(void)state;
	set_up(100000, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(0, 128 * KIB, 100000);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 1);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], 1);
	assert_int_equal(fake.count[SCOUT_SFTP_FSTAT], 0);
	tear_down();
}

static void concurrent_reads_share_chunks(void **state)
{
	const size_t size = 16 * MIB;

	(void)state;
	set_up(size, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 16; i++) /* two at a time the wrong way round */
		ask_read(&many[i], &file, (i ^ 1) * MIB, MIB);
	FAKE_LOCKED(fake.hold_answers = false);
	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(ask_wait(&many[i]), 0);
		right_bytes(&many[i], (i ^ 1) * MIB, MIB, SEED);
	}
	assert_true(fake.count[SCOUT_SFTP_READ] <= size / 261120 + 2);
	tear_down();
}

static void little_memory_is_enough(void **state)
{
	const size_t size = 24 * MIB;

	(void)state;
	set_up(size, SCOUT_READ_BUFS * SCOUT_BUF_BYTES);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	for (unsigned i = 0; i < 24; i++)
		ask_read(&many[i], &file, (i * 7 % 24) * MIB, MIB);
	for (unsigned i = 0; i < 24; i++) {
		assert_int_equal(ask_wait(&many[i]), 0);
		right_bytes(&many[i], (i * 7 % 24) * MIB, MIB, SEED);
	}
	for (unsigned i = 0; i < 24; i++)
		read_right(i * MIB, MIB, size);
	tear_down();
}

static void short_answers_are_asked_again(void **state)
{
	(void)state;
	set_up(3 * MIB, MEMORY);
	FAKE_LOCKED(fake.short_reads = 100000);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	for (size_t at = 0; at < 3 * MIB; at += MIB)
		read_right(at, MIB, 3 * MIB);
	tear_down();
}

static void answers_out_of_order_are_proved_again(void **state)
{
	(void)state;
	set_up(4 * MIB, MEMORY);
	FAKE_LOCKED(fake.fstat_first = true);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	for (size_t at = 0; at < 4 * MIB; at += MIB)
		read_right(at, MIB, 4 * MIB);
	tear_down();
}

static void other_kinds_do_not_open(void **state)
{
	(void)state;
	rig_config(1);
	fake_mkdir_locked("/d", 0);
	fake_add_locked("/l", 3, 1, 0);
	fake_find_locked("/l")->mode = S_IFLNK | 0777;
	fake_add_locked("/p", 3, 1, 0);
	fake_find_locked("/p")->mode = S_IFIFO | 0600;
	rig_start(MEMORY);
	assert_int_equal(ask_open(&file, "h0/d"), -EISDIR);
	assert_int_equal(ask_open(&file, "h0/l"), -ELOOP);
	assert_int_equal(ask_open(&file, "h0/p"), -EINVAL);
	assert_int_equal(ask_open(&file, "h0/none"), -ENOENT);
	assert_int_equal(ask_open(&file, "h0"), -EISDIR);
	rig_stop();
	fake_reset();
}

static void a_file_of_no_size_is_read_to_its_end(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/f", 0, 100, SEED);
	rig_start(MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	assert_true(file.direct_io);
	read_right(0, 4096, 0);
	FAKE_LOCKED(fake_append_locked("/f", 5000, 100, SEED));
	read_right(0, 4096, 5000);
	read_right(4096, 128 * KIB, 5000);
	read_right(5000, 128 * KIB, 5000);
	/* and a piece at a time, so that such a file is made up but once */
	FAKE_LOCKED(fake.count[SCOUT_SFTP_READ] = 0, fake.short_reads = 4096);
	ask_read(&a, &file, 0, MIB);
	assert_int_equal(ask_wait(&a), 0);
	right_bytes(&a, 0, 4096, SEED);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], 1);
	tear_down();
}

static void change_in_place(struct scout_sftp *s, struct scout_sftp_call *call)
{
	struct fake_node *n = &fake.nodes[0];

	(void)s;
	if (call->op != SCOUT_SFTP_READ || fake.count[SCOUT_SFTP_READ] != 3)
		return;
	n->mtime++;
	for (size_t i = 0; i < n->size; i++)
		n->data[i] = fake_byte(i, SEED + 1);
}

static void a_file_rewritten_meanwhile_is_stale(void **state)
{
	(void)state;
	set_up(4 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.before = change_in_place);
	ask_read(&a, &file, 0, MIB);
	assert_int_equal(ask_wait(&a), -ESTALE);
	ask_read(&a, &file, 0, 4096); /* and stays so */
	assert_int_equal(ask_wait(&a), -ESTALE);
	tear_down();
}

static void cut_short(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	if (call->op == SCOUT_SFTP_READ)
		fake.nodes[0].size = 1000;
}

static void a_truncated_file_is_stale(void **state)
{
	(void)state;
	set_up(100000, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.before = cut_short);
	ask_read(&a, &file, 0, 128 * KIB);
	assert_int_equal(ask_wait(&a), -ESTALE);
	tear_down();
}

static void say_more(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	/* as /sys does: a page, of which little is there */
	if (call->op == SCOUT_SFTP_FSTAT || call->op == SCOUT_SFTP_LSTAT)
		fake.nodes[0].size = 4096;
	else if (call->op == SCOUT_SFTP_READ)
		fake.nodes[0].size = 6;
}

static void a_file_may_end_before_its_size(void **state)
{
	(void)state;
	set_up(4096, MEMORY);
	FAKE_LOCKED(fake.before = say_more);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	ask_read(&a, &file, 0, 4096);
	assert_int_equal(ask_wait(&a), 0);
	right_bytes(&a, 0, 6, SEED);
	tear_down();
}

static void an_appended_file_goes_on(void **state)
{
	struct ask attr = {0};

	(void)state;
	set_up(MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(0, MIB, MIB);
	FAKE_LOCKED(fake_append_locked("/f", 5000, 101, SEED));
	ask_getattr(&attr, "h0/f");
	assert_int_equal(ask_wait(&attr), 0);
	file.attr.version = attr.attr.version; /* what the kernel has seen by now */
	read_right(MIB, 128 * KIB, MIB + 5000);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	/* proved once, not each time */
	assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 3);
	read_right(MIB, 128 * KIB, MIB + 5000);
	assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 3);
	tear_down();
}

static void a_replaced_path_is_stale(void **state)
{
	(void)state;
	set_up(MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(0, 4096, MIB);
	FAKE_LOCKED(fake_add_locked("/f", MIB + 5, 101, SEED + 1));
	read_right(4096, 4096, MIB); /* the handle still is of one piece */
	file.attr.version++;
	ask_read(&a, &file, 8192, 4096);
	assert_int_equal(ask_wait(&a), -ESTALE);
	tear_down();
}

static void kill_at_fourth_read(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_READ && fake.count[SCOUT_SFTP_READ] == 4)
		s->kill = -ECONNRESET;
}

static void a_lost_session_is_read_on(void **state)
{
	(void)state;
	set_up(8 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.before = kill_at_fourth_read);
	for (size_t at = 0; at < 8 * MIB; at += MIB)
		read_right(at, MIB, 8 * MIB);
	assert_int_equal(fake.starts, 2);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2);
	tear_down();
}

static void a_session_lost_while_idle_is_read_on(void **state)
{
	(void)state;
	set_up(8 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.sessions[0]->kill = -ETIMEDOUT);
	FAKE_WAIT(fake.joins == 1);
	read_right(0, MIB, 8 * MIB);
	FAKE_LOCKED(fake.sessions[1]->kill = -ETIMEDOUT);
	FAKE_WAIT(fake.joins == 2);
	file.attr.version++; /* the proof notices it first */
	read_right(MIB, MIB, 8 * MIB);
	tear_down();
}

static void lose_session(unsigned number)
{
	FAKE_LOCKED(fake.sessions[number]->kill = -ETIMEDOUT);
	FAKE_WAIT(fake.joins == number + 1);
	file.attr.version++; /* the kernel was told of what is there now */
}

/* A line at a time, and each time over a new session. */
static void what_grew_while_the_session_was_lost_is_read_on(void **state)
{
	static const size_t sizes[] = {0, 1000, MIB + 7};

	(void)state;
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t at = sizes[i];

		set_up(at, MEMORY);
		assert_int_equal(ask_open(&file, "h0/f"), 0);
		for (size_t from = at > 5000 ? at - 5000 : 0; from < at; from += 1000)
			read_right(from, 1000, at);
		for (unsigned n = 0; n < 8; n++) {
			FAKE_LOCKED(fake_append_locked("/f", 60, 100 + n, SEED));
			lose_session(n);
			read_right(at, 4096, at + 60);
			at += 60;
		}
		assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 9);
		tear_down();
	}
}

static void lose_at_the_bytes(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_READ && fake.starts == 2)
		s->kill = -ECONNRESET;
}

static void lost_again_while_its_bytes_were_asked_for_it_is_read_on(void **state)
{
	(void)state;
	set_up(1000, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(0, 4096, 1000);
	FAKE_LOCKED(fake_append_locked("/f", 20, 101, SEED), fake.before = lose_at_the_bytes);
	lose_session(0);
	read_right(1000, 4096, 1020);
	assert_int_equal(fake.starts, 3);
	tear_down();
}

/* Somebody opened it when it had grown: that is no other file. */
static void what_others_saw_grown_is_read_on(void **state)
{
	struct ask other = {0};

	(void)state;
	set_up(1000, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(0, 4096, 1000);
	FAKE_LOCKED(fake_append_locked("/f", 20, 101, SEED));
	assert_int_equal(ask_open(&other, "h0/f"), 0);
	lose_session(0);
	read_right(1000, 4096, 1020);
	file_release(&other);
	tear_down();
}

/* Bytes that many files have, too few or all the same, show nothing. */
/* An open saw that another had rewritten it; then it grew, and its last bytes are as they were. */
static void what_another_rewrote_is_not_known_by_its_end(void **state)
{
	struct ask other = {0};

	(void)state;
	set_up(1000, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(0, 4096, 1000);
	FAKE_LOCKED(fake_find_locked("/f")->data[0] ^= 1);
	FAKE_LOCKED(fake_find_locked("/f")->mtime = 200);
	assert_int_equal(ask_open(&other, "h0/f"), 0);
	FAKE_LOCKED(fake_append_locked("/f", 20, 201, SEED));
	lose_session(0);
	ask_read(&a, &file, 1000, 4096);
	assert_int_equal(ask_wait(&a), -ESTALE);
	file_release(&other);
	tear_down();
}

static void what_grew_and_cannot_be_known_is_stale(void **state)
{
	static const size_t read[] = {20, 256};

	(void)state;
	for (unsigned i = 0; i < sizeof read / sizeof *read; i++) {
		set_up(8 * MIB, MEMORY);
		if (i == 1)
			FAKE_LOCKED(memset(fake_find_locked("/f")->data + 4 * MIB, 0, 256));
		assert_int_equal(ask_open(&file, "h0/f"), 0);
		ask_read(&a, &file, 4 * MIB, read[i]);
		assert_int_equal(ask_wait(&a), 0);
		FAKE_LOCKED(fake_append_locked("/f", 20, 101, SEED));
		lose_session(0);
		ask_read(&a, &file, 8 * MIB, 4096);
		assert_int_equal(ask_wait(&a), -ESTALE);
		tear_down();
	}
}

/* Growth is believed of a handle, not of a path: there another file may be by now. */
static void what_is_longer_after_the_session_was_lost_is_stale(void **state)
{
	(void)state;
	set_up(8 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(0, 4096, 8 * MIB);
	FAKE_LOCKED(fake_add_locked("/f", 9 * MIB, 105, SEED + 1), fake.sessions[0]->kill = -EIO);
	FAKE_WAIT(fake.joins == 1);
	ask_read(&a, &file, 4 * MIB, 4096);
	assert_int_equal(ask_wait(&a), -ESTALE);
	tear_down();
}

static void of_no_size_it_is_known_by_its_bytes(void **state)
{
	struct ask fresh = {0};

	(void)state;
	set_up(0, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	assert_int_equal(ask_open(&fresh, "h0/f"), 0);
	FAKE_LOCKED(fake_append_locked("/f", 5000, 100, SEED));
	read_right(0, 4096, 5000);
	lose_session(0);
	read_right(4096, 4096, 5000);
	FAKE_LOCKED(fake_add_locked("/f", 6000, 100, SEED + 1));
	lose_session(1);
	ask_read(&a, &file, 5000, 4096);
	assert_int_equal(ask_wait(&a), -ESTALE);
	ask_read(&a, &fresh, 0, 4096); /* of which nobody has seen anything */
	assert_int_equal(ask_wait(&a), 0);
	right_bytes(&a, 0, 4096, SEED + 1);
	file_release(&fresh);
	tear_down();
}

static void kill_at_second_fstat(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_FSTAT && fake.count[SCOUT_SFTP_FSTAT] == 2)
		s->kill = -ECONNRESET;
}

static void a_session_lost_while_reopening_is_no_error(void **state)
{
	(void)state;
	set_up(8 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(4 * MIB, 4096, 8 * MIB);
	FAKE_LOCKED(fake.before = kill_at_second_fstat, fake.sessions[0]->kill = -ECONNRESET);
	FAKE_WAIT(fake.joins == 1);
	read_right(6 * MIB, 4096, 8 * MIB);
	assert_int_equal(fake.starts, 3);
	tear_down();
}

static void replace_after_open(struct scout_sftp *s, struct scout_sftp_call *call)
{
	unsigned asked = fake.count[SCOUT_SFTP_OPEN] + fake.count[SCOUT_SFTP_LSTAT];

	(void)s;
	if ((call->op == SCOUT_SFTP_OPEN || call->op == SCOUT_SFTP_LSTAT) && asked == 2)
		fake_add_locked("/f", 1000, 200, SEED + 1);
}

/* Whoever is shown the new file's version must not get the old one's bytes: they would be kept. */
static void old_bytes_are_not_shown_as_the_new_file(void **state)
{
	(void)state;
	set_up(1000, MEMORY);
	FAKE_LOCKED(fake.before = replace_after_open);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	ask_read(&a, &file, 0, 4096);
	if (ask_wait(&a) == 0 && file.attr.mtime.tv_sec == 200)
		right_bytes(&a, 0, 1000, SEED + 1);
	else
		assert_true(a.err == 0 || a.err == -ESTALE);
	tear_down();
}

static void what_changed_while_the_session_was_lost_is_stale(void **state)
{
	(void)state;
	set_up(8 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	read_right(0, 4096, 8 * MIB);
	FAKE_LOCKED(fake_add_locked("/f", 8 * MIB, 105, SEED + 1), fake.sessions[0]->kill = -EIO);
	FAKE_WAIT(fake.joins == 1);
	ask_read(&a, &file, 4 * MIB, 4096);
	assert_int_equal(ask_wait(&a), -ESTALE);
	tear_down();
}

static void a_dead_host_fails_its_reads(void **state)
{
	(void)state;
	set_up(8 * MIB, MEMORY);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 32; i++)
		ask_read(&many[i], &file, i % 8 * MIB, MIB);
	FAKE_LOCKED(fake.connect_err = -EHOSTUNREACH, fake.sessions[0]->kill = -ETIMEDOUT);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(ask_wait(&many[i]), -EHOSTUNREACH);
	tear_down();
}

static void unwanted_reads_end(void **state)
{
	(void)state;
	set_up(8 * MIB, SCOUT_READ_BUFS * SCOUT_BUF_BYTES);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 8; i++) {
		ask_read(&many[i], &file, i * MIB, MIB);
		atomic_store(&many[i].req.unwanted, i != 7);
	}
	FAKE_LOCKED(fake.hold_answers = false);
	for (unsigned i = 0; i < 8; i++)
		ask_wait(&many[i]);
	right_bytes(&many[7], 7 * MIB, MIB, SEED);
	assert_int_equal(many[3].err, -EINTR);
	tear_down();
}

static void stop_ends_waiting_reads(void **state)
{
	(void)state;
	set_up(32 * MIB, 2 * SCOUT_READ_BUFS * SCOUT_BUF_BYTES);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 32; i++)
		ask_read(&many[i], &file, i * MIB, MIB);
	rig.backend.ops->stop(rig.backend.self);
	for (unsigned i = 0; i < 32; i++) {
		assert_true(many[i].done);
		assert_int_equal(many[i].err, -ESHUTDOWN);
	}
	tear_down();
}

static void handles_are_closed(void **state)
{
	(void)state;
	set_up(8 * MIB, MEMORY);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(ask_open(&file, "h0/f"), 0);
		read_right(0, 128 * KIB, 8 * MIB);
		if (i < 4)
			file_release(&file); /* with read-ahead on its way */
	}
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 4);
	tear_down();
}

/* Each reads all of the file in its own order, on a handle of its own or a shared one. */
static void *read_all(void *arg)
{
	const size_t size = 12 * MIB;
	unsigned id = *(unsigned *)arg;
	struct ask own = {0}, r = {0};
	const struct ask *f = &file;

	if (id % 2) {
		assert_int_equal(ask_open(&own, "h0/f"), 0);
		f = &own;
	}
	for (unsigned i = 0; i < 24; i++) {
		uint64_t at = (id % 4 < 2 ? i : i * 7 % 24) * 512 * KIB;

		ask_read(&r, f, at, 512 * KIB);
		assert_int_equal(ask_wait(&r), 0);
		right_bytes(&r, at, 512 * KIB, SEED);
	}
	if (id % 2)
		file_release(&own);
	free(r.data);
	(void)size;
	return NULL;
}

static void many_threads_and_dying_sessions(void **state)
{
	pthread_t threads[8];
	unsigned ids[8];

	(void)state;
	set_up(12 * MIB, 16 * SCOUT_BUF_BYTES);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	for (unsigned i = 0; i < 8; i++) {
		ids[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, read_all, &ids[i]), 0);
	}
	FAKE_WAIT(fake.count[SCOUT_SFTP_READ] > 50);
	FAKE_LOCKED(for (unsigned i = 0; i < fake.starts; i++) if (fake.sessions[i])
			fake.sessions[i]
			    ->kill = -ECONNRESET);
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_size_is_read_through),
	    cmocka_unit_test(random_and_backward_reads_are_right),
	    cmocka_unit_test(a_random_read_fetches_what_was_asked),
	    cmocka_unit_test(a_small_file_costs_one_read),
	    cmocka_unit_test(concurrent_reads_share_chunks),
	    cmocka_unit_test(little_memory_is_enough),
	    cmocka_unit_test(short_answers_are_asked_again),
	    cmocka_unit_test(answers_out_of_order_are_proved_again),
	    cmocka_unit_test(other_kinds_do_not_open),
	    cmocka_unit_test(a_file_of_no_size_is_read_to_its_end),
	    cmocka_unit_test(a_file_rewritten_meanwhile_is_stale),
	    cmocka_unit_test(a_truncated_file_is_stale),
	    cmocka_unit_test(a_file_may_end_before_its_size),
	    cmocka_unit_test(an_appended_file_goes_on),
	    cmocka_unit_test(a_replaced_path_is_stale),
	    cmocka_unit_test(a_lost_session_is_read_on),
	    cmocka_unit_test(a_session_lost_while_idle_is_read_on),
	    cmocka_unit_test(what_changed_while_the_session_was_lost_is_stale),
	    cmocka_unit_test(what_grew_while_the_session_was_lost_is_read_on),
	    cmocka_unit_test(lost_again_while_its_bytes_were_asked_for_it_is_read_on),
	    cmocka_unit_test(what_others_saw_grown_is_read_on),
	    cmocka_unit_test(what_another_rewrote_is_not_known_by_its_end),
	    cmocka_unit_test(what_grew_and_cannot_be_known_is_stale),
	    cmocka_unit_test(what_is_longer_after_the_session_was_lost_is_stale),
	    cmocka_unit_test(of_no_size_it_is_known_by_its_bytes),
	    cmocka_unit_test(a_session_lost_while_reopening_is_no_error),
	    cmocka_unit_test(old_bytes_are_not_shown_as_the_new_file),
	    cmocka_unit_test(a_dead_host_fails_its_reads),
	    cmocka_unit_test(unwanted_reads_end),
	    cmocka_unit_test(stop_ends_waiting_reads),
	    cmocka_unit_test(handles_are_closed),
	    cmocka_unit_test(many_threads_and_dying_sessions),
	};

	return cmocka_run_group_tests_name("hosts/file", tests, NULL, NULL);
}
