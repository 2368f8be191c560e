/* Writes of one file over two sessions of a fake engine: which may go where, what a lost session costs,
 * and what a handle has to show first. */
#include <limits.h>

#include "hosts/file.h"
#include "hosts/node.h"
#include "write_rig.h"

#define START \
	(16 * MIB) /* written and answered before: there may be a stripe, and much under way */
#define FULL (20 * PIECE)      /* on its way on the first session: more than keeps it busy */
#define SHARE 5                /* pieces that make up what is under way on a session */
#define AFTER (START + FULL)   /* what spread() goes on with */
#define SPREAD (AFTER + PIECE) /* what it comes to, and one write more that it may need */

/* Under fake.lock: WRITEs that each session may answer, and has. */
static unsigned allowed[2], answered[2];
static uint32_t flags; /* of the last OPEN */
static bool stop_behind_look;

static void gate(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == SCOUT_SFTP_OPEN)
		flags = call->flags;
	/* then what goes to the second session does not leave */
	if (call->op == SCOUT_SFTP_FSTAT && s->number == 1 && stop_behind_look)
		fake.hold_answers = fake.count[SCOUT_SFTP_FSTAT] == 2;
	if (call->op != SCOUT_SFTP_WRITE)
		return;
	assert_true(s->number < 2);
	while (answered[s->number] >= allowed[s->number] && !s->stop && !s->kill)
		pthread_cond_wait(&fake.changed, &fake.lock);
	answered[s->number]++;
}

static void allow(unsigned session, unsigned writes)
{
	FAKE_LOCKED(allowed[session] = writes == UINT_MAX ? UINT_MAX : allowed[session] + writes);
}

/* Calls of a kind that wait at a session for their answer, under fake.lock. */
static unsigned waiting_locked(unsigned session, enum scout_sftp_op op)
{
	const struct scout_sftp_call *c;
	unsigned n = 0;

	TAILQ_FOREACH (c, &fake.sessions[session]->queue, link)
		n += c->op == op;
	return n;
}

static unsigned waiting(unsigned session, enum scout_sftp_op op)
{
	unsigned n;

	FAKE_LOCKED(n = waiting_locked(session, op));
	return n;
}

/* Whether both sessions take calls. */
static bool both_up(void)
{
	struct scout_host *host = ((struct scout_file *)file.handle)->host;
	bool up;

	scout_lock(&host->lock);
	up = host->nsessions == 2 && host->sessions[0]->state == SCOUT_SESSION_UP &&
	     host->sessions[1]->state == SCOUT_SESSION_UP;
	scout_unlock(&host->lock);
	return up;
}

/* Neither has time to pass before the file looks for a session again, nor was any answer slow; and it is one of
 * which enough was written. */
static void hurry(void)
{
	struct scout_file *f = file.handle;

	scout_lock(&f->node->lock);
	f->stripes.next_ns = f->node->took_ns = 0;
	f->stripes.written = SCOUT_STRIPES * SCOUT_STRIPE_STEP;
	scout_unlock(&f->node->lock);
}

/* A file of which much is under way, on its one session of so many. */
static void fill_of(unsigned sessions, uint64_t far_ns, int more, bool stop)
{
	memset(allowed, 0, sizeof allowed);
	memset(answered, 0, sizeof answered);
	stop_behind_look = stop;
	rig_config(2);
	rig.config.max_sessions = sessions;
	rig.hosts[0].max_sessions_per_host = sessions;
	rig.hosts[0].request_timeout_ns = 1000 * SCOUT_NS_PER_S; /* no answer counts as slow */
	rig_start((size_t)256 << 20);
	FAKE_LOCKED(fake.far_ns = far_ns);
	((struct scout_hosts *)rig.backend.self)->cores = 8;
	assert_int_equal(open_as(&file, "h0/f", O_CREAT | more), 0);
	FAKE_LOCKED(fake.hold_connects = true); /* another session is for later */
	for (size_t at = 0; at < START; at += 256 * KIB)
		assert_int_equal(write_at(&file, at, 256 * KIB, 1), 0);
	assert_int_equal(flush_of(&file), 0);
	hurry();
	FAKE_LOCKED(fake.before = gate, fake.count[SCOUT_SFTP_FSTAT] = 0);
	for (size_t at = START; at < AFTER; at += PIECE)
		assert_int_equal(write_at(&file, at, PIECE, 1), 0);
}

static void fill(int more, bool stop)
{
	fill_of(2, 0, more, stop);
}

/* A second session comes; there the name is opened once more, and looked at for the first time. */
static void first_look(void)
{
	uint64_t until = scout_now_ns() + 10 * SCOUT_NS_PER_S;

	FAKE_LOCKED(fake.hold_connects = false);
	while (!both_up()) {
		const struct timespec pause = {.tv_nsec = 1000000};

		assert_true(scout_now_ns() < until);
		nanosleep(&pause, NULL);
	}
	hurry();
	assert_int_equal(write_at(&file, AFTER, PIECE, 1), 0);
	FAKE_WAIT(fake.count[SCOUT_SFTP_FSTAT] == 1);
	assert_int_equal(flags, SCOUT_SFTP_FLAG_WRITE);
}

/* The file has grown, and the next write goes over the second session, unanswered. */
static void spread(void)
{
	fill(O_RDWR, false);
	first_look();
	assert_int_equal(write_at(&file, SPREAD, PIECE, 1), 0);
	assert_int_equal(waiting(1, SCOUT_SFTP_WRITE), 0);
	allow(0, 2);
	FAKE_WAIT(waiting_locked(1, SCOUT_SFTP_WRITE) == 1);
	assert_int_equal(fake.count[SCOUT_SFTP_FSTAT], 2);
}

static void same(size_t from, size_t to, unsigned seed)
{
	FAKE_LOCKED(const struct fake_node *n = fake_find_locked("/f"); assert_true(n->size >= to);
		    for (size_t i = from; i < to; i++) if (n->data[i] != fake_byte(i, seed))
			fail_msg("byte %zu is wrong", i));
}

static void a_file_goes_over_two_sessions(void **state)
{
	const size_t size = SPREAD + 10 * PIECE;

	(void)state;
	spread();
	for (size_t at = SPREAD + PIECE; at < size; at += PIECE)
		assert_int_equal(write_at(&file, at, PIECE, 1), 0);
	FAKE_WAIT(waiting_locked(1, SCOUT_SFTP_WRITE) == SHARE);
	allow(0, UINT_MAX);
	allow(1, UINT_MAX);
	assert_int_equal(fsync_of(&file), 0);
	holds("/f", size, 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2);
	file_release(&file);
	file.handle = NULL;
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 2);
	tear_down();
}

static void overlapping_writes_keep_their_order(void **state)
{
	const uint64_t next = SPREAD + 5000 + PIECE;

	(void)state;
	spread();
	allow(0, UINT_MAX);
	FAKE_WAIT(waiting_locked(0, SCOUT_SFTP_WRITE) == 0);
	FAKE_LOCKED(allowed[0] = answered[0]);
	/* the same bytes as on the second session: behind them, though the first has nothing to do */
	assert_int_equal(write_at(&file, SPREAD + 10, 1000, 2), 0);
	assert_int_equal(write_at(&file, SPREAD + 5000, PIECE, 3), 0);
	FAKE_WAIT(waiting_locked(1, SCOUT_SFTP_WRITE) == 3);
	/* other bytes: over the first */
	assert_int_equal(write_at(&file, next, PIECE, 4), 0);
	FAKE_WAIT(waiting_locked(0, SCOUT_SFTP_WRITE) == 1);
	/* some of both: not before those of one are there */
	assert_int_equal(write_at(&file, next - 100, 200, 5), 0);
	assert_int_equal(write_at(&file, 0, PIECE, 6), 0);
	assert_int_equal(waiting(0, SCOUT_SFTP_WRITE) + waiting(1, SCOUT_SFTP_WRITE), 4);
	allow(1, UINT_MAX);
	FAKE_WAIT(waiting_locked(1, SCOUT_SFTP_WRITE) == 0);
	allow(0, UINT_MAX);
	assert_int_equal(flush_of(&file), 0);
	same(0, PIECE, 6);
	same(PIECE, SPREAD + 10, 1);
	same(SPREAD + 10, SPREAD + 1010, 2);
	same(SPREAD + 1010, SPREAD + 5000, 1);
	same(SPREAD + 5000, next - 100, 3);
	same(next - 100, next + 100, 5);
	same(next + 100, next + PIECE, 4);
	tear_down();
}

/* Fsync waits for what is under way on the other session, and what is written behind it for fsync. */
static void fsync_is_behind_all_and_before_the_rest(void **state)
{
	struct ask sync = {0};

	(void)state;
	spread();
	ask_start(&sync, ASK_SYNCED);
	rig.backend.ops->fsync(rig.backend.self, file.handle, &sync.req);
	allow(0, UINT_MAX);
	FAKE_WAIT(waiting_locked(0, SCOUT_SFTP_WRITE) == 0);
	assert_int_equal(waiting(0, SCOUT_SFTP_FSYNC), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_FSYNC], 0);
	assert_int_equal(write_at(&file, 0, PIECE, 2), 0);
	assert_int_equal(waiting(0, SCOUT_SFTP_WRITE), 0);
	assert_int_equal(waiting(1, SCOUT_SFTP_WRITE), 1);
	assert_false(sync.done);
	allow(1, UINT_MAX);
	assert_int_equal(ask_wait(&sync), 0);
	assert_int_equal(flush_of(&file), 0);
	same(0, PIECE, 2);
	same(PIECE, SPREAD + PIECE, 1);
	tear_down();
}

/* What may have arrived is lost, and told; the file goes on. */
static void a_lost_session_is_told_and_gone_on_without(void **state)
{
	(void)state;
	spread();
	FAKE_LOCKED(fake.sends_at_once = true);
	assert_int_equal(write_at(&file, SPREAD + PIECE, PIECE, 1), 0);
	FAKE_WAIT(waiting_locked(1, SCOUT_SFTP_WRITE) == 2);
	allow(0, UINT_MAX);
	lose_session(1, 1);
	assert_int_equal(fsync_of(&file), -EIO);
	assert_int_equal(write_at(&file, SPREAD, 2 * KIB, 2), 0);
	assert_int_equal(fsync_of(&file), 0);
	same(0, SPREAD, 1);
	same(SPREAD, SPREAD + 2 * KIB, 2);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2); /* the first handle is as it was */
	tear_down();
}

/* What never left goes over the other session, and nobody notices. */
static void what_had_its_name_before_gets_nothing(void **state)
{
	struct scout_file *f;
	char *path;

	(void)state;
	fill(O_RDWR, false);
	first_look();
	f = file.handle;
	path = scout_node_path(f->node);
	/* what was opened may be what has the name now */
	scout_node_renamed(f->host, path, "/g");
	free(path);
	assert_int_equal(write_at(&file, SPREAD, PIECE, 1), 0);
	allow(0, UINT_MAX);
	assert_int_equal(flush_of(&file), 0);
	FAKE_WAIT(fake.count[SCOUT_SFTP_FSTAT] >= 2 && fake.count[SCOUT_SFTP_CLOSE] >= 1);
	assert_int_equal(answered[1], 0);
	same(START, SPREAD + PIECE, 1);
	tear_down();
}

static void what_never_left_goes_another_way(void **state)
{
	(void)state;
	fill(O_RDWR, true);
	first_look();
	assert_int_equal(write_at(&file, SPREAD, PIECE, 1), 0);
	allow(0, 2);
	FAKE_WAIT(waiting_locked(1, SCOUT_SFTP_WRITE) == 1);
	lose_session(1, 1);
	allow(0, UINT_MAX);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(fsync_of(&file), 0);
	holds("/f", SPREAD + PIECE, 1);
	tear_down();
}

/* Its size is right, and does not grow with us: no byte goes there. */
static void another_file_by_its_name_is_not_written_into(void **state)
{
	const size_t size = START + 5 * PIECE;

	(void)state;
	fill(O_RDWR, false);
	FAKE_LOCKED(fake_add_locked("/f", size, fake.now, 9));
	first_look();
	assert_int_equal(write_at(&file, SPREAD, PIECE, 1), 0);
	allow(0, 5);
	FAKE_WAIT(answered[0] == 5);
	assert_int_equal(fake.count[SCOUT_SFTP_FSTAT], 1);
	allow(0, 2);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1);
	assert_int_equal(fake.count[SCOUT_SFTP_FSTAT], 2);
	allow(0, UINT_MAX);
	for (size_t at = SPREAD + PIECE; at < SPREAD + 30 * PIECE; at += PIECE)
		assert_int_equal(write_at(&file, at, PIECE, 1), 0);
	assert_int_equal(flush_of(&file), 0);
	holds("/f", size, 9);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2); /* nor is it tried again */
	tear_down();
}

static void appends_go_over_one_session(void **state)
{
	(void)state;
	fill(O_WRONLY | O_APPEND, false);
	FAKE_LOCKED(fake.hold_connects = false);
	hurry();
	assert_int_equal(write_at(&file, AFTER, PIECE, 1), 0);
	assert_int_equal(fake.starts, 1);
	allow(0, UINT_MAX);
	assert_int_equal(flush_of(&file), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	tear_down();
}

static void what_is_overwritten_goes_over_one_session(void **state)
{
	(void)state;
	fill(O_RDWR, false);
	allow(0, UINT_MAX);
	assert_int_equal(flush_of(&file), 0);
	FAKE_LOCKED(allowed[0] = answered[0]; fake.hold_connects = false);
	hurry();
	for (size_t at = 0; at < FULL; at += PIECE)
		assert_int_equal(write_at(&file, at, PIECE, 1), 0);
	assert_int_equal(waiting(0, SCOUT_SFTP_WRITE), FULL / PIECE);
	allow(0, UINT_MAX);
	assert_int_equal(flush_of(&file), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	holds("/f", AFTER, 1);
	tear_down();
}

/* At the limit the second session goes to another host that has waited, and the file is the first's: at
 * the next answer over it, or when nothing has gone over it for SCOUT_POOL_REST_MS. */
static void a_session_is_given_to_another_host(void **state)
{
	struct scout_host *host;
	struct scout_pool *pool;
	uint64_t until, at = SPREAD + PIECE;
	struct ask waits = {0};
	bool over = false;

	(void)state;
	spread();
	host = scout_table_find(rig.backend.self, "h1", 2);
	pool = &host->all->pool;
	ask_getattr(&waits, "h1/x");
	allow(0, UINT_MAX);
	allow(1, UINT_MAX);
	until = scout_now_ns() + 10 * SCOUT_NS_PER_S;
	for (; !over; at += PIECE) {
		assert_true(scout_now_ns() < until);
		scout_lock(&pool->lock);
		host->in_line_ns = pool->drain_after_ns = 0; /* as if it had waited */
		scout_unlock(&pool->lock);
		scout_pool_kick(pool);
		assert_int_equal(write_at(&file, at % (100 * PIECE), PIECE, 1), 0);
		FAKE_LOCKED(over = waits.done);
	}
	assert_int_equal(ask_wait(&waits), -ENOENT);
	assert_int_equal(fake.starts, 3);
	assert_int_equal(flush_of(&file), 0);
	scout_host_unref(host);
	tear_down();
}

/* All that are to carry it connect side by side, and no more than there may be. */
static void a_far_file_has_its_sessions_asked_for_at_once(void **state)
{
	(void)state;
	fill_of(7, 20 * SCOUT_NS_PER_MS, O_RDWR, false);
	FAKE_WAIT(fake.starts == 7);
	assert_int_equal(fake.ups, 1);
	assert_int_equal(write_at(&file, AFTER, PIECE, 1), 0);
	FAKE_LOCKED(fake.before = NULL);
	allow(0, UINT_MAX);
	assert_int_equal(fsync_of(&file), 0);
	holds("/f", AFTER + PIECE, 1);
	assert_int_equal(fake.starts, 7);
	tear_down();
}

/* Near by one comes after the other, each if there is something to do for it. */
static void a_near_file_has_one_session_asked_for(void **state)
{
	struct scout_host *host;

	(void)state;
	fill_of(7, 0, O_RDWR, false);
	FAKE_WAIT(fake.starts == 2);
	hurry();
	assert_int_equal(write_at(&file, AFTER, PIECE, 1), 0);
	host = ((struct scout_file *)file.handle)->host;
	scout_lock(&host->lock);
	assert_int_equal(host->grow, 0);
	scout_unlock(&host->lock);
	FAKE_LOCKED(fake.before = NULL);
	allow(0, UINT_MAX);
	assert_int_equal(fsync_of(&file), 0);
	assert_int_equal(fake.starts, 2);
	tear_down();
}

/* Puts [from, to) under way, and lets it be answered when so many sessions in all were asked for. */
static void ask_for(size_t from, size_t to, unsigned sessions)
{
	struct scout_file *f = file.handle;

	FAKE_LOCKED(fake.hold_answers = true);
	for (size_t at = from; at < to; at += 128 * KIB) {
		scout_lock(&f->node->lock);
		f->stripes.next_ns = 0; /* no more is written than this, however soon */
		scout_unlock(&f->node->lock);
		assert_int_equal(write_at(&file, at, 128 * KIB, 1), 0);
	}
	FAKE_WAIT(fake.starts >= sessions);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(flush_of(&file), 0);
	assert_int_equal(fake.starts, sessions);
}

/* A connect is paid for by what was written before. */
static void a_file_earns_its_sessions(void **state)
{
	const size_t part = 4 * MIB, step = SCOUT_STRIPE_STEP;

	(void)state;
	rig_config(1);
	rig.config.max_sessions = rig.hosts[0].max_sessions_per_host = 8;
	rig.hosts[0].request_timeout_ns = 1000 * SCOUT_NS_PER_S;
	rig_start((size_t)256 << 20);
	FAKE_LOCKED(fake.far_ns = 20 * SCOUT_NS_PER_MS);
	assert_int_equal(open_as(&file, "h0/f", O_RDWR | O_CREAT), 0);
	for (size_t at = 0; at < MIB * 4; at += 128 * KIB)
		assert_int_equal(write_at(&file, at, 128 * KIB, 1), 0);
	assert_int_equal(flush_of(&file), 0);
	FAKE_LOCKED(fake.hold_connects = true);
	for (size_t at = part; at < 2 * step + 2 * part; at += part)
		ask_for(at, at + part, 1 + (unsigned)(at / step));
	FAKE_LOCKED(fake.hold_connects = false);
	tear_down();
}

static void shares_are_of_a_fast_link(void **state)
{
	(void)state;
	assert_int_equal(scout_stripe_share(0), MIB);
	assert_int_equal(scout_stripe_share(20 * SCOUT_NS_PER_MS), MIB);
	assert_int_equal(scout_stripe_share(50 * SCOUT_NS_PER_MS), 1953125);
	assert_int_equal(scout_stripe_share(UINT64_MAX), 3 * MIB);
}

static void next_door_cores_limit_the_sessions(void **state)
{
	(void)state;
	assert_int_equal(scout_stripes_most(100000, 1), 0);
	assert_int_equal(scout_stripes_most(100000, 2), 0);
	assert_int_equal(scout_stripes_most(100000, 4), 1);
	assert_int_equal(scout_stripes_most(100000, 7), 2);
	assert_int_equal(scout_stripes_most(100000, 8), 3);
	assert_int_equal(scout_stripes_most(100000, 64), 3);
	assert_int_equal(scout_stripes_most(2 * SCOUT_NS_PER_MS, 1), 3);
	assert_int_equal(scout_stripes_most(10 * SCOUT_NS_PER_MS - 1, 64), 3);
	assert_int_equal(scout_stripes_most(10 * SCOUT_NS_PER_MS, 1), 7);
}

static bool in_use[8]; /* sessions that wrote, under fake.lock */

/* A session takes a piece in 40 ms, so that whoever writes is faster on any machine. */
static void slowly(struct scout_sftp *s, struct scout_sftp_call *call)
{
	uint64_t until = scout_now_ns() + 40 * SCOUT_NS_PER_MS;
	struct timespec pause;

	if (call->op != SCOUT_SFTP_WRITE)
		return;
	in_use[s->number] = true;
	clock_gettime(CLOCK_REALTIME, &pause);
	pause.tv_nsec += 40 * (long)SCOUT_NS_PER_MS;
	pause.tv_sec += pause.tv_nsec / (long)SCOUT_NS_PER_S;
	pause.tv_nsec %= (long)SCOUT_NS_PER_S;
	while (scout_now_ns() < until && !s->stop && !s->kill)
		if (pthread_cond_timedwait(&fake.changed, &fake.lock, &pause))
			break;
}

static unsigned used(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 8; i++)
		FAKE_LOCKED(n += in_use[i]);
	return n;
}

/* The same piece again and again, which costs the writer little under any sanitizer. */
static int write_piece(uint64_t offset)
{
	ask_start(&a, ASK_NONE);
	rig.backend.ops->write(rig.backend.self, file.handle, offset, bytes, PIECE, &a.req);
	return ask_wait(&a);
}

static bool holds_pieces(size_t size)
{
	const struct fake_node *n;
	bool right;

	pthread_mutex_lock(&fake.lock);
	n = fake_find_locked("/f");
	right = n && n->size == size;
	for (size_t at = 0; right && at < size; at += PIECE)
		right = memcmp(n->data + at, bytes, PIECE) == 0;
	pthread_mutex_unlock(&fake.lock);
	return right;
}

/* Far away it may be on more sessions than near by, which are looked for side by side. */
static void a_far_file_goes_over_all_sessions(void **state)
{
	size_t at = 0;

	(void)state;
	rig_config(1);
	rig.config.max_sessions = 8;
	rig.hosts[0].max_sessions_per_host = 8;
	rig.hosts[0].request_timeout_ns = 1000 * SCOUT_NS_PER_S;
	rig_start((size_t)256 << 20);
	FAKE_LOCKED(fake.far_ns = 20 * SCOUT_NS_PER_MS, fake.before = slowly);
	assert_int_equal(open_as(&file, "h0/f", O_RDWR | O_CREAT), 0);
	for (unsigned i = 0; i < PIECE; i++)
		bytes[i] = fake_byte(i, 1);
	for (; used() < 8; at += PIECE) {
		assert_true(at < (size_t)1 << 30);
		assert_int_equal(write_piece(at), 0);
	}
	assert_int_equal(fsync_of(&file), 0);
	assert_true(holds_pieces(at));
	memset(bytes, 0, PIECE);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_file_goes_over_two_sessions),
	    cmocka_unit_test(overlapping_writes_keep_their_order),
	    cmocka_unit_test(fsync_is_behind_all_and_before_the_rest),
	    cmocka_unit_test(a_lost_session_is_told_and_gone_on_without),
	    cmocka_unit_test(what_had_its_name_before_gets_nothing),
	    cmocka_unit_test(what_never_left_goes_another_way),
	    cmocka_unit_test(another_file_by_its_name_is_not_written_into),
	    cmocka_unit_test(appends_go_over_one_session),
	    cmocka_unit_test(what_is_overwritten_goes_over_one_session),
	    cmocka_unit_test(a_session_is_given_to_another_host),
	    cmocka_unit_test(a_far_file_has_its_sessions_asked_for_at_once),
	    cmocka_unit_test(a_near_file_has_one_session_asked_for),
	    cmocka_unit_test(a_file_earns_its_sessions),
	    cmocka_unit_test(shares_are_of_a_fast_link),
	    cmocka_unit_test(next_door_cores_limit_the_sessions),
	    cmocka_unit_test(a_far_file_goes_over_all_sessions),
	};

	return cmocka_run_group_tests_name("hosts/stripe", tests, NULL, NULL);
}
