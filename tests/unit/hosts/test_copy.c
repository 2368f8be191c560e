/* Copies by the server: on whose session, how far, and what is left to the kernel. */
#include "hosts/hosts.h"

#include "fake_sftp.h"

#include <fcntl.h>

#define MEMORY ((size_t)64 << 20)
#define SIZE 40000u
#define SEED 7

static struct ask from, to, a, many[4000];

static void set_up(void)
{
	rig_config(2);
	fake_add_locked("/f", SIZE, 100, SEED);
	fake_add_locked("/g", 10, 100, 0);
	rig_start(MEMORY);
}

static void open_file(struct ask *file, const char *path, int flags)
{
	ask_start(file, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, path, flags, &file->req);
}

static void open_two(int flags)
{
	set_up();
	open_file(&from, "h0/f", flags);
	assert_int_equal(ask_wait(&from), 0);
	open_file(&to, "h0/g", O_RDWR);
	assert_int_equal(ask_wait(&to), 0);
}

static void open_both(void)
{
	open_two(O_RDONLY);
}

static void close_both(void)
{
	file_release(&from);
	file_release(&to);
	rig_stop();
	fake_reset();
}

static void copy(uint64_t at, uint64_t to_at, uint64_t length)
{
	ask_start(&a, ASK_COPY);
	rig.backend.ops->copy(rig.backend.self, from.handle, at, to.handle, to_at, length, &a.req);
}

/* The destination's bytes from to_at on are the source's from at on. */
static void copied(uint64_t at, uint64_t to_at, uint64_t length)
{
	const struct fake_node *n;

	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.copied, length);
	pthread_mutex_lock(&fake.lock);
	n = fake_find_locked("/g");
	assert_true(n->size >= to_at + length);
	for (uint64_t i = 0; i < length; i++)
		assert_int_equal(n->data[to_at + i], fake_byte(at + i, SEED));
	pthread_mutex_unlock(&fake.lock);
}

static void the_server_copies(void **state)
{
	(void)state;
	open_both();
	copy(17, 5, 1000);
	copied(17, 5, 1000);
	copy(SIZE - 10, 0, 1000); /* to the source's end */
	copied(SIZE - 10, 0, 10);
	copy(SIZE, 0, 1000);
	copied(SIZE, 0, 0);
	copy(0, 0, 0);
	copied(0, 0, 0);
	assert_int_equal(fake.count[SCOUT_SFTP_COPY_DATA], 3);
	assert_int_equal(fake.count[SCOUT_SFTP_READ] + fake.count[SCOUT_SFTP_WRITE], 0);
	close_both();
}

static bool second_session_is_asked(void)
{
	bool asked;

	FAKE_LOCKED(asked = fake.sessions[1] && fake.sessions[1]->in_flight);
	return asked;
}

/* The host knows that both sessions are up, which nothing tells us. */
static void wait_until_known(void)
{
	uint64_t until = scout_now_ns() + 10 * SCOUT_NS_PER_S;
	struct scout_host *host = scout_table_find(rig.backend.self, "h0", 2);
	unsigned up = 0;

	assert_non_null(host);
	while (up < 2) {
		const struct timespec pause = {.tv_nsec = 1000000};

		assert_true(scout_now_ns() < until);
		nanosleep(&pause, NULL);
		up = 0;
		scout_lock(&host->lock);
		for (unsigned i = 0; i < host->nsessions; i++)
			up += host->sessions[i]->state == SCOUT_SESSION_UP;
		scout_unlock(&host->lock);
	}
	scout_host_unref(host);
}

/* Opens the destination on a second session, for which there is so much to do. */
static void open_apart(void)
{
	unsigned n = 0;

	set_up();
	open_file(&from, "h0/f", O_RDONLY);
	assert_int_equal(ask_wait(&from), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	while (n < 100)
		ask_getattr(&many[n++], "h0/f");
	FAKE_WAIT(fake.ups == 2);
	/* it is up a moment before its host knows of it */
	wait_until_known();
	while (!second_session_is_asked() && n < sizeof many / sizeof *many)
		ask_getattr(&many[n++], "h0/f");
	assert_true(second_session_is_asked());
	open_file(&to, "h0/g", O_RDWR);
	FAKE_LOCKED(fake.hold_answers = false);
	while (n)
		assert_int_equal(ask_wait(&many[--n]), 0);
	assert_int_equal(ask_wait(&to), 0);
}

static void the_source_is_opened_on_the_other_session(void **state)
{
	unsigned opens;

	(void)state;
	open_apart();
	opens = fake.count[SCOUT_SFTP_OPEN];
	copy(17, 5, 1000);
	copied(17, 5, 1000);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], opens + 1);
	close_both();
}

/* Another file lies at the source's path: the handle that is open still is the old one's. */
static void a_source_that_was_replaced_is_not_copied(void **state)
{
	(void)state;
	open_apart();
	FAKE_LOCKED(fake_add_locked("/f", SIZE, 101, SEED + 1));
	copy(0, 0, 1000);
	assert_int_equal(ask_wait(&a), -EOPNOTSUPP);
	FAKE_LOCKED(fake_find_locked("/f")->gone = true);
	copy(0, 0, 1000);
	assert_int_equal(ask_wait(&a), -EOPNOTSUPP);
	assert_int_equal(fake.count[SCOUT_SFTP_COPY_DATA], 0);
	close_both();
}

/* What the server reports as written counts no further than the shorter of two looks. */
static void truncate_behind(struct scout_sftp *s, struct scout_sftp_call *c)
{
	(void)s;
	if (c->op == SCOUT_SFTP_COPY_DATA)
		fake_resize_locked(fake_find_locked("/f"), 300);
}

static void a_source_that_shrinks(void **state)
{
	(void)state;
	open_two(O_RDWR);
	FAKE_LOCKED(fake.before = truncate_behind);
	copy(0, 0, 1000);
	copied(0, 0, 300);
	FAKE_LOCKED(fake.before = NULL);
	close_both();
}

static void rewrite_locked(void)
{
	struct fake_node *n = fake_find_locked("/f");

	for (size_t i = 0; i < n->size; i++)
		n->data[i] = fake_byte(i, SEED + 1);
	n->mtime++;
}

static void rewrite_at_copy(struct scout_sftp *s, struct scout_sftp_call *c)
{
	(void)s;
	if (c->op == SCOUT_SFTP_COPY_DATA)
		rewrite_locked();
}

/* Who has it open to read gets one version, or ESTALE: as by reading it. */
static void a_source_that_another_rewrites(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		if (i < 2)
			open_both();
		else
			open_apart();
		copy(0, 0, 1000);
		copied(0, 0, 1000);
		if (i % 2)
			FAKE_LOCKED(fake.before = rewrite_at_copy);
		else
			FAKE_LOCKED(rewrite_locked());
		copy(1000, 1000, 1000);
		assert_int_equal(ask_wait(&a), -ESTALE);
		FAKE_LOCKED(fake.before = NULL, fake.count[SCOUT_SFTP_COPY_DATA] = 0);
		copy(2000, 2000, 1000); /* and stays so */
		assert_int_equal(ask_wait(&a), -ESTALE);
		assert_int_equal(fake.count[SCOUT_SFTP_COPY_DATA], 0);
		close_both();
	}
}

static void a_source_that_grows_is_copied_on(void **state)
{
	(void)state;
	open_both();
	copy(0, 0, 1000);
	copied(0, 0, 1000);
	FAKE_LOCKED(fake_append_locked("/f", 500, 101, SEED));
	copy(1000, 1000, SIZE);
	copied(1000, 1000, SIZE - 500);
	close_both();
}

static void copy_less(struct scout_sftp *s, struct scout_sftp_call *c)
{
	(void)s;
	if (c->op == SCOUT_SFTP_COPY_DATA)
		c->length64 = 50;
}

/* The server says that all is well, and the destination that it is not. */
static void a_short_copy_is_seen(void **state)
{
	(void)state;
	open_both();
	FAKE_LOCKED(fake.before = copy_less);
	copy(0, 0, 1000);
	assert_int_equal(ask_wait(&a), -EOPNOTSUPP);
	FAKE_LOCKED(fake.before = NULL);
	close_both();

	set_up();
	FAKE_LOCKED(fake_resize_locked(fake_find_locked("/f"), 0));
	open_file(&from, "h0/f", O_RDONLY);
	assert_int_equal(ask_wait(&from), 0);
	open_file(&to, "h0/g", O_RDWR);
	assert_int_equal(ask_wait(&to), 0);
	copy(0, 0, 1000); /* no size is not no bytes */
	assert_int_equal(ask_wait(&a), -EOPNOTSUPP);
	close_both();
}

static void what_was_written_is_copied(void **state)
{
	static uint8_t bytes[SIZE];
	struct ask w = {0};

	(void)state;
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = fake_byte(i, SEED);
	set_up();
	FAKE_LOCKED(fake_resize_locked(fake_find_locked("/f"), 1));
	open_file(&from, "h0/f", O_RDWR);
	assert_int_equal(ask_wait(&from), 0);
	open_file(&to, "h0/g", O_RDWR);
	assert_int_equal(ask_wait(&to), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_start(&w, ASK_NONE);
	rig.backend.ops->write(rig.backend.self, from.handle, 0, bytes, SIZE, &w.req);
	assert_int_equal(ask_wait(&w), 0);
	copy(0, 0, SIZE);
	assert_int_equal(fake.count[SCOUT_SFTP_COPY_DATA], 0);
	FAKE_LOCKED(fake.hold_answers = false);
	copied(0, 0, SIZE);
	close_both();
}

static void what_is_left_to_the_kernel(void **state)
{
	struct ask other = {0};

	(void)state;
	open_both();
	ask_start(&a, ASK_COPY); /* of one file */
	rig.backend.ops->copy(rig.backend.self, to.handle, 0, to.handle, 5, 5, &a.req);
	assert_int_equal(ask_wait(&a), -EOPNOTSUPP);
	open_file(&other, "h1/g", O_RDWR); /* of two hosts */
	assert_int_equal(ask_wait(&other), 0);
	ask_start(&a, ASK_COPY);
	rig.backend.ops->copy(rig.backend.self, from.handle, 0, other.handle, 0, 5, &a.req);
	assert_int_equal(ask_wait(&a), -EXDEV);
	file_release(&other);
	ask_start(&a, ASK_COPY); /* not open for writing */
	rig.backend.ops->copy(rig.backend.self, to.handle, 0, from.handle, 0, 5, &a.req);
	assert_int_equal(ask_wait(&a), -EBADF);
	assert_int_equal(fake.count[SCOUT_SFTP_COPY_DATA], 0);
	close_both();

	rig_config(1);
	fake.server.extensions = 0;
	fake_add_locked("/f", SIZE, 100, SEED);
	fake_add_locked("/g", 10, 100, 0);
	rig_start(MEMORY);
	open_file(&from, "h0/f", O_RDONLY);
	assert_int_equal(ask_wait(&from), 0);
	open_file(&to, "h0/g", O_RDWR);
	assert_int_equal(ask_wait(&to), 0);
	copy(0, 0, 10);
	assert_int_equal(ask_wait(&a), -EOPNOTSUPP);
	close_both();
}

static void die_at_copy(struct scout_sftp *s, struct scout_sftp_call *c)
{
	if (c->op == SCOUT_SFTP_COPY_DATA)
		s->kill = -ECONNRESET;
}

/* Nobody knows whether a copy that was sent was done, or still is being done. */
static void a_lost_session_is_an_error(void **state)
{
	(void)state;
	open_both();
	FAKE_LOCKED(fake.before = die_at_copy);
	copy(0, 0, 1000);
	assert_int_equal(ask_wait(&a), -EIO);
	FAKE_LOCKED(fake.before = NULL);
	assert_int_equal(fake.count[SCOUT_SFTP_COPY_DATA], 1);
	close_both();
}

static void read_target(struct ask *reader)
{
	ask_read(&a, reader, 0, 10);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.size, 10);
}

/* The server goes on with it when a reader of the destination has long looked again. */
static void a_lost_copy_may_come_late(void **state)
{
	struct ask reader = {0};

	(void)state;
	open_both();
	open_file(&reader, "h0/g", O_RDONLY);
	assert_int_equal(ask_wait(&reader), 0);
	read_target(&reader);
	FAKE_LOCKED(fake.before = die_at_copy);
	copy(0, 0, 10);
	assert_int_equal(ask_wait(&a), -EIO);
	FAKE_LOCKED(fake.before = NULL);
	read_target(&reader);
	FAKE_LOCKED(fake_find_locked("/g")->mtime++);
	reader.attr.version++; /* the kernel has seen it */
	read_target(&reader);
	file_release(&reader);
	close_both();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_server_copies),
	    cmocka_unit_test(the_source_is_opened_on_the_other_session),
	    cmocka_unit_test(a_source_that_was_replaced_is_not_copied),
	    cmocka_unit_test(a_source_that_shrinks),
	    cmocka_unit_test(a_source_that_another_rewrites),
	    cmocka_unit_test(a_source_that_grows_is_copied_on),
	    cmocka_unit_test(a_short_copy_is_seen),
	    cmocka_unit_test(what_was_written_is_copied),
	    cmocka_unit_test(what_is_left_to_the_kernel),
	    cmocka_unit_test(a_lost_session_is_an_error),
	    cmocka_unit_test(a_lost_copy_may_come_late),
	};

	return cmocka_run_group_tests_name("hosts/copy", tests, NULL, NULL);
}
