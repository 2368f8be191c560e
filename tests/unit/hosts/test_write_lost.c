/* Writes over a fake engine: what a lost session costs, limits, and many writers at once. */
#include "hosts/file.h"
#include "write_rig.h"

static struct ask reader;

static void kill_at_write(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_WRITE)
		s->kill = -ECONNRESET;
}

static void kill_at_setstat(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_SETSTAT || call->op == SCOUT_SFTP_FSETSTAT)
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

/* The server does it when we have long looked again: that is no other's change. */
static void a_lost_write_may_come_late(void **state)
{
	(void)state;
	set_up_file(2 * MIB, 1);
	assert_int_equal(open_as(&file, "h0/f", O_RDWR), 0);
	FAKE_LOCKED(fake.sends_at_once = true, fake.before = kill_at_write);
	assert_int_equal(write_at(&file, 0, 100, 1), 0);
	assert_int_equal(flush_of(&file), -EIO);
	FAKE_LOCKED(fake.before = NULL);
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	read_back(&other, 0, 4096, 1);
	FAKE_LOCKED(fake_find_locked("/f")->mtime++);
	read_back(&other, MIB, 4096, 1);
	tear_down();
}

static void a_lost_change_may_come_late(void **state)
{
	const struct scout_setattr change = {.set = SCOUT_SET_SIZE, .size = MIB};

	(void)state;
	for (unsigned by_handle = 0; by_handle < 2; by_handle++) {
		set_up_file(2 * MIB, 1);
		assert_int_equal(open_as(&file, "h0/f", O_RDWR), 0);
		assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
		read_back(&other, 0, 4096, 1);
		FAKE_LOCKED(fake.sends_at_once = true, fake.before = kill_at_setstat);
		ask_start(&a, ASK_CHANGED);
		rig.backend.ops->setattr(rig.backend.self, "h0/f", by_handle ? file.handle : NULL,
					 &change, &a.req);
		assert_int_equal(ask_wait(&a), -EIO);
		FAKE_LOCKED(fake.before = NULL);
		read_back(&other, 256 * KIB, 4096, 1);
		FAKE_LOCKED(fake_find_locked("/f")->size = MIB, fake_find_locked("/f")->mtime++);
		other.attr.version++; /* the kernel has seen it */
		read_back(&other, 768 * KIB, 4096, 1);
		tear_down();
	}
}

static void set_mtime(void)
{
	const struct scout_setattr change = {.set = SCOUT_SET_MTIME, .mtime = {.tv_sec = 200}};

	ask_start(&a, ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, NULL, file.handle, &change, &a.req);
}

/* One time, or one id, which goes out when a look has told the other. */
static void half_a_change_may_come_late(void **state)
{
	(void)state;
	set_up_file(2 * MIB, 1);
	assert_int_equal(open_as(&file, "h0/f", O_RDWR), 0);
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	read_back(&other, 0, 4096, 1);
	FAKE_LOCKED(fake.before = kill_at_setstat);
	set_mtime();
	assert_int_equal(ask_wait(&a), -EIO);
	FAKE_LOCKED(fake.before = NULL);
	read_back(&other, 256 * KIB, 4096, 1);
	FAKE_LOCKED(fake_find_locked("/f")->mtime++);
	other.attr.version++; /* the kernel has seen it */
	read_back(&other, 768 * KIB, 4096, 1);
	tear_down();
}

static void hold_behind_fstat(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	if (call->op == SCOUT_SFTP_FSTAT)
		fake.hold_answers = true; /* but for this one's */
}

static void half_a_change_that_never_left_is_sent_again(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.before = hold_behind_fstat);
	set_mtime();
	FAKE_WAIT(fake.sessions[0]->in_flight == 2); /* the change, and the look behind it */
	FAKE_LOCKED(fake.before = NULL, fake.sessions[0]->kill = -ECONNRESET,
		    fake.hold_answers = false);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_FSETSTAT], 1);
	FAKE_LOCKED(assert_int_equal(fake_find_locked("/f")->mtime, 200));
	tear_down();
}

static void kill_at_first_cut(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op != SCOUT_SFTP_OPEN || !(call->flags & SCOUT_SFTP_FLAG_TRUNC))
		return;
	s->kill = -ECONNRESET;
	fake.before = NULL;
}

static void look_and_read(void)
{
	other.attr.version++; /* the kernel has seen it */
	ask_read(&a, &other, 0, 4096);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.size, 0);
}

/* The OPEN was sent again and did it, and then the lost one does: soon, or when nobody doubts any more. */
static void a_lost_cut_may_come_late(void **state)
{
	(void)state;
	for (unsigned later = 0; later < 2; later++) {
		set_up_file(2 * MIB, 1);
		assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
		read_back(&other, 0, 4096, 1);
		FAKE_LOCKED(fake.sends_at_once = true, fake.before = kill_at_first_cut);
		assert_int_equal(open_as(&file, "h0/f", O_WRONLY | O_TRUNC), 0);
		assert_int_equal(fake.starts, 2);
		if (later)
			atomic_store(&((struct scout_file *)file.handle)->node->doubt_ns, 0);
		else
			look_and_read();
		FAKE_LOCKED(fake_find_locked("/f")->mtime++);
		look_and_read();
		tear_down();
	}
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

/* Another file comes by its name while it is on its way to be opened anew, by our own doing. */
static void name_goes_to_another(struct scout_sftp *s, struct scout_sftp_call *call)
{
	const struct scout_file *f = file.handle;

	(void)s;
	if (call->op != SCOUT_SFTP_OPEN)
		return;
	fake.before = NULL;
	fake_add_locked("/f", 3000, fake.now, 9);
	pthread_mutex_unlock(&fake.lock);
	scout_node_unlinked(f->host, "/f");
	pthread_mutex_lock(&fake.lock);
}

static void what_came_by_its_name_is_not_written_into(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	assert_int_equal(write_at(&file, 0, 3000, 2), 0);
	assert_int_equal(fsync_of(&file), 0);
	lose_session(0, 1);
	FAKE_LOCKED(fake.before = name_goes_to_another);
	assert_int_equal(write_at(&file, 0, 10, 3), 0);
	assert_int_equal(flush_of(&file), -ESTALE);
	holds("/f", 3000, 9);
	tear_down();
}

static void no_more_than_the_limit_is_under_way(void **state)
{
	unsigned taken = 0;

	(void)state;
	rig_config(1);
	rig.hosts[0].request_timeout_ns = 1000 * SCOUT_NS_PER_S; /* no answer counts as slow */
	rig_start((size_t)256 << 20);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	/* little until it is known that the link carries more */
	for (unsigned round = 0; round < 2; round++) {
		FAKE_LOCKED(fake.hold_answers = true);
		for (unsigned i = 0; i < 100; i++)
			write_start(&many[i], &file, i * 256 * KIB, 256 * KIB, 1);
		taken = 0;
		for (unsigned i = 0; i < 100; i++)
			taken += many[i].done;
		assert_int_equal(taken, round ? 64 : 4);
		if (round)
			break;
		FAKE_LOCKED(fake.hold_answers = false);
		for (unsigned i = 0; i < 100; i++)
			assert_int_equal(ask_wait(&many[i]), 0);
		assert_int_equal(flush_of(&file), 0);
		FAKE_LOCKED(memset(fake_find_locked("/f")->data, 0, 25 * MIB));
	}
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

/* Else all memory may be with those who wait for a ticket. */
static void who_waits_for_a_ticket_holds_no_memory(void **state)
{
	struct scout_budget_stats stats;

	(void)state;
	set_up(4 * SCOUT_READ_BUFS * SCOUT_BUF_BYTES); /* a ticket for the host, and a quarter */
	FAKE_LOCKED(fake_add_locked("/r", 3 * MIB, fake.now, 1));
	assert_int_equal(open_as(&reader, "h0/r", O_RDONLY), 0);
	assert_int_equal(open_as(&other, "h0/g", O_CREAT | O_RDWR), 0);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_read(&many[0], &reader, 2 * MIB, 4096);
	for (unsigned k = 0; k < 4; k++)
		write_start(&many[1], &other, (uint64_t)k * PIECE, PIECE, 1);
	write_start(&many[2], &file, 0, SCOUT_WRITE_MAX, 2);
	assert_false(many[2].done);
	scout_budget_stats(rig.budget, &stats);
	assert_int_equal(stats.tickets, 1);
	assert_int_equal(stats.used_bytes, 5 * SCOUT_BUF_BYTES);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&many[0]), 0);
	assert_int_equal(ask_wait(&many[2]), 0);
	assert_int_equal(flush_of(&file), 0);
	holds("/f", SCOUT_WRITE_MAX, 2);
	file_release(&reader);
	tear_down();
}

static void a_released_file_is_written_to_its_end(void **state)
{
	(void)state;
	set_up(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | O_RDWR), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(write_at(&file, i * 50 * KIB, 50 * KIB, 1), 0);
	file_release(&file);
	file.handle = NULL;
	FAKE_LOCKED(fake.hold_answers = false);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1);
	holds("/f", 1000 * KIB, 1);
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
	    cmocka_unit_test(a_write_that_may_have_left_is_lost),
	    cmocka_unit_test(a_lost_write_may_come_late),
	    cmocka_unit_test(a_lost_change_may_come_late),
	    cmocka_unit_test(half_a_change_may_come_late),
	    cmocka_unit_test(half_a_change_that_never_left_is_sent_again),
	    cmocka_unit_test(a_lost_cut_may_come_late),
	    cmocka_unit_test(a_write_that_never_left_is_sent_again),
	    cmocka_unit_test(what_was_not_synced_may_be_lost),
	    cmocka_unit_test(another_file_is_not_written_into),
	    cmocka_unit_test(what_came_by_its_name_is_not_written_into),
	    cmocka_unit_test(no_more_than_the_limit_is_under_way),
	    cmocka_unit_test(little_memory_is_enough),
	    cmocka_unit_test(who_waits_for_a_ticket_holds_no_memory),
	    cmocka_unit_test(a_released_file_is_written_to_its_end),
	    cmocka_unit_test(stop_ends_waiting_writes),
	    cmocka_unit_test(many_writers_at_once),
	    cmocka_unit_test(dying_sessions_lose_nothing_untold),
	};

	return cmocka_run_group_tests_name("hosts/write_lost", tests, NULL, NULL);
}
