/* One reads a file on while we change it here and others there, in every order: he gets the bytes of one version or
 * ESTALE, and ESTALE for nothing that was ours alone. */
#include "write_rig.h"

#define SEED 5
#define STEPS 3
#define STEP_BYTES (64 * KIB)

static unsigned rewrites, lost;

/* The reader's next bytes, which no other step here touches: 0, the read's error, or -EBADMSG for another version's.
 * told: the kernel has seen another version meanwhile. */
static int read_next(unsigned at, bool told)
{
	uint64_t offset = (2 * at + 1) * STEP_BYTES;

	if (told)
		file.attr.version++;
	ask_read(&a, &file, offset, 4096);
	if (ask_wait(&a))
		return a.err;
	assert_int_equal(a.size, 4096);
	for (size_t i = 0; i < a.size; i++)
		if (a.data[i] != fake_byte(offset + i, SEED))
			return -EBADMSG;
	return 0;
}

static int set_at(const char *path, void *handle, struct scout_setattr change)
{
	ask_start(&a, ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, path, handle, &change, &a.req);
	return ask_wait(&a);
}

static struct scout_setattr times_of(unsigned seconds)
{
	return (struct scout_setattr){
	    .set = SCOUT_SET_MTIME | SCOUT_SET_ATIME,
	    .mtime.tv_sec = seconds,
	    .atime.tv_sec = seconds,
	};
}

static struct scout_setattr size_of(size_t size)
{
	return (struct scout_setattr){.set = SCOUT_SET_SIZE, .size = size};
}

static void set_times(void)
{
	assert_int_equal(set_at("h0/f", NULL, times_of(50)), 0);
}

static void set_size(void)
{
	assert_int_equal(set_at("h0/f", NULL, size_of(MIB)), 0);
}

static void set_size_by_handle(void)
{
	assert_int_equal(open_as(&other, "h0/f", O_RDWR), 0);
	assert_int_equal(set_at("h0/f", other.handle, size_of(MIB)), 0);
	file_release(&other);
	other.handle = NULL;
}

static void write_and_close(void)
{
	assert_int_equal(open_as(&other, "h0/f", O_RDWR), 0);
	assert_int_equal(write_at(&other, 0, 10, SEED), 0);
	assert_int_equal(flush_of(&other), 0);
	file_release(&other);
	other.handle = NULL;
}

/* In place, by another host. */
static void rewrite(void)
{
	struct fake_node *n;

	pthread_mutex_lock(&fake.lock);
	n = fake_find_locked("/f");
	for (size_t i = 0; i < n->size; i++)
		n->data[i] = fake_byte(i, SEED + 1);
	n->mtime = fake.now + 100 + ++rewrites;
	pthread_mutex_unlock(&fake.lock);
}

static void lose_it(void)
{
	lose_session(lost, lost + 1);
	lost++;
	ask_getattr(&a, "h0/f");
	assert_int_equal(ask_wait(&a), 0);
}

static const struct {
	const char *name;
	void (*take)(void);
} steps[] = {
    {"times", set_times},       {"size", set_size},   {"size by handle", set_size_by_handle},
    {"write", write_and_close}, {"rewrite", rewrite}, {"read", NULL},
    {"lost", lose_it},
};

#define KINDS (sizeof steps / sizeof *steps)

/* True: each read of the steps, and one behind them, is as it shall be. */
static bool in_order(const unsigned order[STEPS], bool told)
{
	unsigned at = 0;
	int err = 0, want = 0;

	rig_config(1);
	if (told)
		fake.server.extensions |= SCOUT_SFTP_EXT(SCOUT_SFTP_LSETSTAT);
	rig_start(MEMORY);
	rewrites = lost = 0;
	FAKE_LOCKED(fake_add_locked("/f", MIB, 100, SEED));
	assert_int_equal(open_as(&file, "h0/f", O_RDONLY), 0);
	assert_int_equal(read_next(at++, false), 0);
	for (unsigned i = 0; i <= STEPS && err == want; i++) {
		if (i < STEPS && steps[order[i]].take) {
			steps[order[i]].take();
			if (steps[order[i]].take == rewrite)
				err = want = -ESTALE;
		} else {
			err = read_next(at++, told);
		}
	}
	tear_down();
	if (err != want)
		print_error("%s, %s, %s, read: %s\n", steps[order[0]].name, steps[order[1]].name,
			    steps[order[2]].name, err ? strerrorname_np(-err) : "OK");
	return err == want;
}

/* told: but for the lost ones, which take their time. */
static void each_order(bool told)
{
	unsigned order[STEPS], wrong = 0, kinds = KINDS - told;

	for (order[0] = 0; order[0] < kinds; order[0]++)
		for (order[1] = 0; order[1] < kinds; order[1]++)
			for (order[2] = 0; order[2] < kinds; order[2]++)
				wrong += !in_order(order, told);
	assert_int_equal(wrong, 0);
}

static void who_is_told_of_nothing(void **state)
{
	(void)state;
	each_order(false);
}

static void who_is_told_of_another_version(void **state)
{
	(void)state;
	each_order(true);
}

#define STOPS 2 /* of a change: a look or open before, a look behind */

static unsigned arrived, let_go;

/* All sessions but the reader's stop before each look at "/f" and each open of it, until let go. */
static void stop_there(struct scout_sftp *s, struct scout_sftp_call *call)
{
	unsigned number;

	if (!s->number || !call->path || strcmp(call->path, "/f") != 0 ||
	    (call->op != SCOUT_SFTP_LSTAT && call->op != SCOUT_SFTP_OPEN))
		return;
	number = ++arrived;
	pthread_cond_broadcast(&fake.changed);
	while (let_go < number)
		pthread_cond_wait(&fake.changed, &fake.lock);
}

/* Has what is asked next go over another session than the reader's, which has much to do. */
static unsigned keep_busy(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	unsigned n = 0;
	bool other_is_asked = false;

	FAKE_LOCKED(fake.hold_answers = true);
	while (n < 90)
		ask_getattr(&many[n++], "h0/x");
	FAKE_WAIT(fake.ups == 2);
	while (!other_is_asked) { /* it is up a moment before its host knows of it */
		assert_true(n < sizeof many / sizeof *many);
		nanosleep(&pause, NULL);
		ask_getattr(&many[n++], "h0/x");
		FAKE_LOCKED(other_is_asked = fake.sessions[1]->in_flight);
	}
	return n;
}

/* While a change of ours is under way the reader looks at what is there before, in the middle and behind. */
static void looks_while_we_change_it(void **state)
{
	struct scout_setattr times = times_of(50);
	struct ask change = {0};
	unsigned busy, at;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		bool told = i % 2, cut = i / 2;

		at = arrived = let_go = 0;
		set_up(MEMORY);
		FAKE_LOCKED(fake.server.extensions |= SCOUT_SFTP_EXT(SCOUT_SFTP_LSETSTAT));
		FAKE_LOCKED(fake_add_locked("/f", MIB, 100, SEED));
		assert_int_equal(open_as(&file, "h0/f", O_RDONLY), 0);
		assert_int_equal(read_next(at++, false), 0);
		busy = keep_busy();
		ask_start(&change, cut ? ASK_OPEN : ASK_CHANGED);
		if (cut)
			rig.backend.ops->open(rig.backend.self, "h0/f", O_WRONLY | O_TRUNC,
					      &change.req);
		else
			rig.backend.ops->setattr(rig.backend.self, "h0/f", NULL, &times,
						 &change.req);
		FAKE_LOCKED(fake.before = stop_there, fake.hold_answers = false);
		while (busy)
			assert_int_equal(ask_wait(&many[--busy]), -ENOENT);
		for (unsigned k = 1; k <= STOPS + 1; k++) {
			if (k <= STOPS)
				FAKE_WAIT(arrived == k);
			else
				assert_int_equal(ask_wait(&change), 0);
			ask_read(&a, &file, (2 * at++ + 1) * STEP_BYTES, 4096);
			assert_int_equal(ask_wait(&a), 0);
			assert_int_equal(a.size, cut && k > 1 ? 0 : 4096);
			file.attr.version += told;
			FAKE_LOCKED(let_go = k);
		}
		if (cut)
			file_release(&change);
		tear_down();
	}
}

static void refuse_first_look(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	fake.refuse = call->op == SCOUT_SFTP_LSTAT && fake.count[SCOUT_SFTP_LSTAT] == 1;
}

/* The OPEN cuts the file, and the look behind it fails: who looked right before it looks again. */
static void looks_while_an_opening_fails(void **state)
{
	(void)state;
	rig_config(1);
	fake_add_locked("/f", MIB, 100, SEED);
	rig_start(MEMORY);
	assert_int_equal(open_as(&file, "h0/f", O_RDONLY), 0);
	assert_int_equal(read_next(0, false), 0);
	FAKE_LOCKED(fake.hold_answers = true, fake.fstat_first = true,
		    fake.count[SCOUT_SFTP_LSTAT] = 0, fake.before = refuse_first_look);
	ask_start(&other, ASK_OPEN);
	rig.backend.ops->open(rig.backend.self, "h0/f", O_WRONLY | O_TRUNC, &other.req);
	file.attr.version++;
	ask_read(&a, &file, 3 * STEP_BYTES, 4096);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&other), -EIO);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.size, 0);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_is_told_of_nothing),
	    cmocka_unit_test(who_is_told_of_another_version),
	    cmocka_unit_test(looks_while_we_change_it),
	    cmocka_unit_test(looks_while_an_opening_fails),
	};

	return cmocka_run_group_tests_name("hosts/ours", tests, NULL, NULL);
}
