/* How far ahead of whom is fetched: windows that open, grow and close, and what readers leave to
 * each other of memory and connections. */
#include "mount.h"

#include "models/read.h"
#include "scoutfs/clock.h"

static void later(uint64_t ms)
{
	atomic_fetch_add(&fake_now, ms * SCOUT_NS_PER_MS);
}

static struct scout_object *object_of(struct asked *opened)
{
	return ((struct scout_models_file *)opened->handle)->object;
}

/* Reads [from, end) a MiB at a time, answering all that S3 is asked. */
static void read_on(struct mount *t, struct asked *f, const char *key, uint64_t from, uint64_t end)
{
	for (uint64_t at = from; at < end; at += MIB) {
		struct asked *a = ask_read(t, f, at, MIB);

		fake_answer_all();
		expect_bytes(a, key, 0, at, MIB);
	}
}

/* The same, answering no more than each read waits for. */
static void read_along(struct mount *t, struct asked *f, const char *key, uint64_t from,
		       uint64_t end)
{
	for (uint64_t at = from; at < end; at += MIB) {
		struct asked *a = ask_read(t, f, at, MIB);

		while (!asked_is_done(a))
			assert_true(fake_answer_one());
		expect_bytes(a, key, 0, at, MIB);
	}
}

/* The bytes of the calls that wait for their answer. */
static uint64_t bytes_queued(void)
{
	struct scout_s3_call *call;
	uint64_t bytes = 0;

	pthread_mutex_lock(&fake.lock);
	TAILQ_FOREACH (call, &fake.queue, link)
		bytes += call->length;
	pthread_mutex_unlock(&fake.lock);
	return bytes;
}

static unsigned queued_of(const char *key)
{
	struct scout_s3_call *call;
	unsigned n = 0;

	pthread_mutex_lock(&fake.lock);
	TAILQ_FOREACH (call, &fake.queue, link)
		n += strcmp(call->key, key) == 0;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

/* What the kernel makes of a program that looks at a header: its read-ahead begins as for one who reads
 * on. */
static void headers_cost_a_mib(void **state)
{
	static const uint64_t sizes[] = {20 * MIB, 200 * MIB};
	static const size_t reads[][4] = {
	    {131072},               /* 64 KiB of a program's */
	    {16384, 32768, 65536},  /* 4 KiB, and on */
	    {32768, 65536, 131072}, /* 8 bytes, then 60 KiB */
	    {MIB},                  /* a fault in a map */
	};
	struct mount t;
	char key[32];

	(void)state;
	mount_up(&t, "", 256 * MIB);
	for (size_t i = 0; i < 8; i++) {
		const size_t *r = reads[i % 4];
		struct asked *f;
		uint64_t at = 0;

		snprintf(key, sizeof(key), "m%zu", i);
		fake_put(key, sizes[i / 4]);
		f = must_open(&t, key);
		fake.bytes = 0;
		for (size_t k = 0; k < 4 && r[k] > 0; at += r[k++]) {
			struct asked *a = ask_read(&t, f, at, r[k]);

			fake_answer_all();
			expect_bytes(a, key, 0, at, r[k]);
		}
		assert_in_range(fake.bytes, SCOUT_BUF_BYTES, MIB);
		close_file(&t, f);
	}
	mount_down(&t);
}

static void windows_grow_to_read_window(void **state)
{
	struct mount t;
	struct asked *f;
	uint64_t most = 0;

	(void)state;
	mount_up(&t, "", 256 * MIB);
	t.config.models.read_window = 8 * MIB;
	fake_put("m", 100 * MIB);
	f = must_open(&t, "m");
	for (uint64_t at = 0; at < 90 * MIB; at += MIB) {
		struct asked *a = ask_read(&t, f, at, MIB);
		uint64_t ahead;

		fake_answer_all();
		expect_bytes(a, "m", 0, at, MIB);
		ahead = object_of(f)->ahead * SCOUT_BUF_BYTES;
		if (ahead > most)
			most = ahead;
	}
	assert_in_range(most, 7 * MIB, 8 * MIB);
	assert_in_range(fake.bytes, 90 * MIB, 98 * MIB);
	close_file(&t, f);
	assert_int_equal(atomic_load(&t.models->aheads), 0);
	mount_down(&t);
}

/* The longest of the calls that wait for their answer. */
static uint64_t longest_queued(void)
{
	struct scout_s3_call *call;
	uint64_t longest = 0;

	pthread_mutex_lock(&fake.lock);
	TAILQ_FOREACH (call, &fake.queue, link)
		longest = call->length > longest ? call->length : longest;
	pthread_mutex_unlock(&fake.lock);
	return longest;
}

static void parts_are_shorter_near_by(void **state)
{
	static const struct {
		uint64_t distance_ms, part_size, longest;
	} rows[] = {
	    {1, 8 * MIB, 3 * MIB},
	    {29, 8 * MIB, 3 * MIB},
	    {30, 8 * MIB, 8 * MIB},
	    {1, 2 * MIB, 2 * MIB},
	};
	struct mount t;
	char key[32];

	(void)state;
	mount_up(&t, "", 256 * MIB);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct asked *f;

		fake.distance_ns = rows[i].distance_ms * SCOUT_NS_PER_MS;
		t.config.models.part_size = rows[i].part_size;
		snprintf(key, sizeof(key), "m%zu", i);
		fake_put(key, 500 * MIB);
		f = must_open(&t, key);
		read_along(&t, f, key, 0, 10 * MIB);
		assert_int_equal(longest_queued(), rows[i].longest);
		fake_answer_all();
		close_file(&t, f);
	}
	mount_down(&t);
}

/* The kernel's first READs come in any order: what is asked for is what it would be in order. */
static void swapped_at_the_start(void **state)
{
	static const uint64_t orders[][5] = {
	    {1, 0, 2, 3, 4}, {1, 2, 0, 3, 4}, {0, 2, 1, 3, 4}, {2, 1, 0, 3, 4}};
	struct scout_run in_order = {0};
	struct scout_cut cut;

	(void)state;
	scout_cut_make(&cut, 1024 * MIB, 3 * MIB, 96 * MIB, false);
	for (uint64_t i = 0; i < 5; i++)
		(void)scout_run_note(&in_order, &cut, i * MIB, MIB);
	assert_true(in_order.from_start);
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		struct scout_run run = {0};

		for (size_t k = 0; k < 5; k++)
			(void)scout_run_note(&run, &cut, orders[i][k] * MIB, MIB);
		assert_true(run.from_start);
		assert_int_equal(run.window, in_order.window);
	}
}

/* Who looks at a header now and again does not read on. */
static void a_header_is_no_start(void **state)
{
	struct scout_run run = {0};
	struct scout_cut cut;

	(void)state;
	scout_cut_make(&cut, 1024 * MIB, 3 * MIB, 96 * MIB, false);
	(void)scout_run_note(&run, &cut, MIB, 4096);
	(void)scout_run_note(&run, &cut, 0, 4096);
	assert_false(run.from_start);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(scout_run_note(&run, &cut, 0, 4096), 0);
	/* and where it reads on, each is counted once */
	run = (struct scout_run){0};
	(void)scout_run_note(&run, &cut, 0, 2 * 131072);
	for (int i = 0; i < 1000; i++)
		(void)scout_run_note(&run, &cut, 0, 131072);
	assert_int_equal(run.bytes, 2 * 131072);
}

/* Who was elsewhere and reads from the start on is as one who began there. */
static void a_seek_to_the_start(void **state)
{
	struct scout_run run = {0};
	struct scout_cut cut;

	(void)state;
	scout_cut_make(&cut, 1024 * MIB, 3 * MIB, 96 * MIB, false);
	(void)scout_run_note(&run, &cut, 500 * MIB, MIB);
	(void)scout_run_note(&run, &cut, 0, 4096); /* a header */
	assert_false(run.from_start);
	(void)scout_run_note(&run, &cut, 500 * MIB, MIB);
	(void)scout_run_note(&run, &cut, 0, MIB);
	assert_true(run.from_start);
	assert_int_equal(run.window, 0);
	(void)scout_run_note(&run, &cut, MIB, MIB);
	assert_int_equal(run.window, 32 * MIB);
	(void)scout_run_note(&run, &cut, 500 * MIB, MIB);
	assert_false(run.from_start);
}

static void a_seek_closes_the_window(void **state)
{
	struct mount t;
	struct asked *f, *g, *a;

	(void)state;
	mount_up(&t, "", 256 * MIB);
	fake_put("m", 500 * MIB);
	f = must_open(&t, "m");
	g = must_open(&t, "m");
	read_on(&t, f, "m", 0, 3 * MIB);
	a = ask_read(&t, f, 400 * MIB, 4096);
	fake_answer_all();
	expect_bytes(a, "m", 0, 400 * MIB, 4096);
	assert_int_equal(object_of(f)->ahead, 0);
	/* what is on its way is given up, but for a reader whose window has it */
	read_along(&t, f, "m", 100 * MIB, 110 * MIB);
	assert_true(bytes_queued() > 4 * MIB);
	fake.bytes = 0;
	a = ask_read(&t, f, 200 * MIB, 4096);
	fake_answer_all();
	expect_bytes(a, "m", 0, 200 * MIB, 4096);
	assert_int_equal(fake.bytes, SCOUT_BUF_BYTES);
	read_along(&t, f, "m", 300 * MIB, 310 * MIB);
	assert_true(bytes_queued() > 4 * MIB);
	read_on(&t, g, "m", 300 * MIB, 310 * MIB);
	fake.bytes = 0;
	close_file(&t, f);
	read_on(&t, g, "m", 310 * MIB, 320 * MIB);
	assert_true(fake.bytes > 0);
	for (unsigned i = 0; i < fake.gets; i++) {
		for (unsigned k = 0; k < i; k++)
			assert_true(fake.got[i].offset != fake.got[k].offset);
	}
	close_file(&t, g);
	mount_down(&t);
}

/* Of an object of up to 64 MiB the rest comes even so, once. */
static void a_seek_in_a_small_object(void **state)
{
	static const uint64_t sizes[] = {64 * MIB, 64 * MIB + 1};
	struct mount t;
	char key[32];

	(void)state;
	mount_up(&t, "", 256 * MIB);
	for (size_t i = 0; i < 2; i++) {
		struct asked *f, *a;

		snprintf(key, sizeof(key), "m%zu", i);
		fake_put(key, sizes[i]);
		f = must_open(&t, key);
		fake.bytes = 0;
		read_along(&t, f, key, 0, 3 * MIB);
		a = ask_read(&t, f, 60 * MIB, 4096);
		fake_answer_all();
		expect_bytes(a, key, 0, 60 * MIB, 4096);
		if (i == 0)
			assert_int_equal(fake.bytes, sizes[i]);
		else
			assert_in_range(fake.bytes, 3 * MIB, 32 * MIB);
		close_file(&t, f);
	}
	mount_down(&t);
}

/* The first reader dies in mid-fetch; who comes next has what is on its way. */
static void fetches_outlive_their_reader(void **state)
{
	static const uint64_t sizes[] = {24834009, 200 * MIB};
	struct mount t;
	char key[32];

	(void)state;
	mount_up(&t, "", 256 * MIB);
	for (size_t i = 0; i < 2; i++) {
		struct asked *f, *a, *b;
		size_t queued;

		snprintf(key, sizeof(key), "m%zu", i);
		fake_put(key, sizes[i]);
		f = must_open(&t, key);
		fake.bytes = 0;
		read_on(&t, f, key, 0, MIB);
		a = ask_read(&t, f, MIB, MIB);
		queued = fake_queued();
		assert_true(queued >= 4);
		/* a signal: the kernel has its answer, and closes later */
		atomic_store(&a->req.unwanted, true);
		b = ask_open(&t, key);
		assert_true(fake_answer_one());
		assert_true(asked_is_done(a));
		asked_free(a);
		while (!asked_is_done(b))
			assert_true(fake_answer_one());
		close_file(&t, f);
		f = b;
		for (uint64_t at = 0; at < 20 * MIB; at += MIB) {
			a = ask_read(&t, f, at, MIB);
			fake_answer_all();
			expect_bytes(a, key, 0, at, MIB);
		}
		assert_in_range(fake.bytes, 20 * MIB, sizes[i]);
		for (unsigned k = 1; k < fake.gets; k++)
			assert_true(fake.got[k].offset != fake.got[k - 1].offset);
		fake.gets = 0;
		close_file(&t, f);
	}
	mount_down(&t);
}

/* Takes the oldest call, and answers it but for its last left bytes. */
static struct scout_s3_call *begin_answer(uint64_t left)
{
	struct scout_s3_call *call = fake_take(false);

	assert_non_null(call);
	assert_int_equal(fake_headers(call), 0);
	assert_true(fake_send(call, call->offset, call->length - left, 100000));
	return call;
}

/* All that waits but GETs. */
static void answer_questions(void)
{
	for (size_t n = fake_queued(); n > 0; n--) {
		struct scout_s3_call *call = fake_take(false);

		if (call->op == SCOUT_S3_GET)
			scout_s3_submit(&fake, call);
		else
			fake_answer(call, 100000);
	}
}

static void give_up(struct scout_s3_call *call)
{
	assert_false(call->wanted(call));
	call->done(call, -ECANCELED);
}

/* The GETs that are sent for what is asked for still. */
static unsigned count_gets(void)
{
	unsigned before = fake.gets;

	fake_answer_all();
	return fake.gets - before;
}

/* A second after the last close what is on its way is given up, also where no byte comes; what is asked
 * for is not sent. Blocks that are whole stay. */
static void a_close_gives_up(void **state)
{
	static const uint64_t sizes[] = {60 * MIB, 500 * MIB};
	struct mount t;
	char key[32];

	(void)state;
	mount_up(&t, "", 256 * MIB);
	for (size_t i = 0; i < 2; i++) {
		struct scout_s3_call *call;
		struct asked *f, *a;
		uint64_t at;

		snprintf(key, sizeof(key), "m%zu", i);
		fake_put(key, sizes[i]);
		f = must_open(&t, key);
		read_along(&t, f, key, 0, 3 * MIB);
		call = begin_answer(SCOUT_BUF_BYTES / 2);
		at = call->offset + call->length - SCOUT_BUF_BYTES;
		close_file(&t, f);
		later(999);
		assert_true(call->wanted(call));
		later(1);
		give_up(call);
		assert_true(fake_queued() > 4);
		assert_int_equal(count_gets(), 0);
		assert_int_equal(atomic_load(&t.models->fetches), 0);

		f = must_open(&t, key);
		a = ask_read(&t, f, at - SCOUT_BUF_BYTES, SCOUT_BUF_BYTES);
		expect_bytes(a, key, 0, at - SCOUT_BUF_BYTES, SCOUT_BUF_BYTES);
		a = ask_read(&t, f, at, SCOUT_BUF_BYTES);
		assert_int_equal(count_gets(), 1);
		expect_bytes(a, key, 0, at, SCOUT_BUF_BYTES);
		close_file(&t, f);
	}
	mount_down(&t);
}

/* Likewise, when somebody else has it open who does not read. */
static void a_close_beside_an_idle_one(void **state)
{
	struct asked *idle, *f;
	struct mount t;

	(void)state;
	mount_up(&t, "", 256 * MIB);
	fake_put("m", 500 * MIB);
	idle = must_open(&t, "m");
	f = must_open(&t, "m");
	read_along(&t, f, "m", 0, 5 * MIB);
	close_file(&t, f);
	later(1000);
	assert_true(fake_queued() > 4);
	assert_int_equal(count_gets(), 0);
	assert_int_equal(object_of(idle)->ahead, 0);
	close_file(&t, idle);
	mount_down(&t);
}

/* Who waits for bytes of what was another's has them, whatever becomes of the rest. */
static void a_waiter_keeps_it(void **state)
{
	struct scout_s3_call *call;
	struct asked *f, *g, *a;
	struct mount t;
	uint64_t at;

	(void)state;
	mount_up(&t, "", 256 * MIB);
	fake_put("m", 500 * MIB);
	f = must_open(&t, "m");
	g = must_open(&t, "m");
	read_along(&t, f, "m", 0, 3 * MIB);
	call = begin_answer(SCOUT_BUF_BYTES);
	at = call->offset + call->length - 4096;
	a = ask_read(&t, g, at, 4096);
	close_file(&t, f);
	later(1000);
	assert_true(call->wanted(call));
	assert_int_equal(count_gets(), 0);
	assert_false(asked_is_done(a));
	assert_true(fake_send(call, call->offset + call->length - SCOUT_BUF_BYTES, SCOUT_BUF_BYTES,
			      100000));
	call->done(call, 0);
	expect_bytes(a, "m", 0, at, 4096);
	close_file(&t, g);
	mount_down(&t);
}

/* Who opens it within a second, and goes on, has all that was asked for: nothing is asked for twice. */
static void the_next_one_goes_on(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	mount_up(&t, "", 256 * MIB);
	fake_put("m", 500 * MIB);
	f = must_open(&t, "m");
	read_along(&t, f, "m", 0, 3 * MIB);
	close_file(&t, f);
	later(999);
	f = ask_open(&t, "m");
	answer_questions();
	assert_int_equal(f->err, 0);
	fake.gets = 0;
	read_along(&t, f, "m", 3 * MIB, 4 * MIB);
	later(1000);
	read_on(&t, f, "m", 4 * MIB, 20 * MIB);
	assert_true(fake.gets > 2);
	for (unsigned i = 1; i < fake.gets; i++)
		assert_true(fake.got[i].offset > fake.got[i - 1].offset);
	close_file(&t, f);
	mount_down(&t);
}

static void expect_wanted(struct scout_s3_call *call)
{
	if (call->wanted)
		assert_true(call->wanted(call));
}

/* The engine may ask before who sends it has gone on. */
static void what_is_sent_is_wanted(void **state)
{
	struct mount t;
	struct asked *f;

	(void)state;
	mount_up(&t, "", 256 * MIB);
	fake_put("m", 500 * MIB);
	fake.before_submit = expect_wanted;
	f = must_open(&t, "m");
	read_on(&t, f, "m", 0, 10 * MIB);
	read_on(&t, f, "m", 300 * MIB, 310 * MIB);
	close_file(&t, f);
	mount_down(&t);
}

/* Connections and memory for read-ahead are divided, also when one came much earlier. */
static void objects_have_equal_parts(void **state)
{
	struct mount t;
	struct asked *f[4];
	uint64_t at[4] = {0};

	(void)state;
	mount_up(&t, "", 128 * MIB); /* 48 MiB for read-ahead */
	t.config.models.max_connections = 16;
	t.config.models.part_size = MIB;
	for (int i = 0; i < 4; i++) {
		char key[] = {'a' + (char)i, 0};

		fake_put(key, 1000 * MIB);
		f[i] = must_open(&t, key);
	}
	at[0] = 20 * MIB;
	read_along(&t, f[0], "a", 0, at[0]);
	/* a quarter is for those who wait */
	assert_in_range(queued_of("a"), 11, 12);
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 4; i++) {
			char key[] = {'a' + (char)i, 0};

			read_along(&t, f[i], key, at[i], at[i] + MIB);
			at[i] += MIB;
		}
		assert_true(fake_queued() <= 13);
	}
	for (int i = 0; i < 4; i++) {
		char key[] = {'a' + (char)i, 0};

		assert_true(queued_of(key) <= 4);
		assert_in_range(object_of(f[i])->ahead * SCOUT_BUF_BYTES, 2 * MIB, 13 * MIB);
	}
	for (int i = 0; i < 4; i++)
		close_file(&t, f[i]);
	fake_answer_all();
	assert_int_equal(atomic_load(&t.models->aheads), 0);
	mount_down(&t);
}

/* Who stops, but stays, gives his part to those who read on; should he go on, it is as at the start. */
static void a_reader_who_stops(void **state)
{
	struct mount t;
	struct asked *stopped, *f;

	(void)state;
	mount_up(&t, "", 128 * MIB);
	t.config.models.part_size = MIB;
	fake_put("a", 1000 * MIB);
	fake_put("b", 1000 * MIB);
	stopped = must_open(&t, "a");
	read_along(&t, stopped, "a", 0, 10 * MIB);
	f = must_open(&t, "b");
	read_along(&t, f, "b", 0, 10 * MIB);
	fake_answer_all();
	assert_int_equal(atomic_load(&t.models->aheads), 2);
	later(4900);
	read_along(&t, f, "b", 10 * MIB, 20 * MIB);
	fake_answer_all();
	assert_int_equal(atomic_load(&t.models->aheads), 2);
	assert_true(object_of(f)->ahead * SCOUT_BUF_BYTES <= 24 * MIB);
	later(1000);
	read_along(&t, f, "b", 20 * MIB, 30 * MIB);
	fake_answer_all();
	assert_int_equal(atomic_load(&t.models->aheads), 1);
	assert_in_range(object_of(f)->ahead * SCOUT_BUF_BYTES, 25 * MIB, 48 * MIB);
	assert_int_equal(object_of(stopped)->run.window, 0);
	assert_true(object_of(stopped)->run.from_start); /* or it would not be verified */
	assert_int_equal(((struct scout_models_file *)stopped->handle)->run.window, 0);

	read_along(&t, stopped, "a", 10 * MIB, 11 * MIB);
	assert_int_equal(object_of(stopped)->run.window, 32 * MIB);
	read_along(&t, stopped, "a", 11 * MIB, 60 * MIB);
	fake_answer_all();
	assert_int_equal(atomic_load(&t.models->aheads), 2);
	close_file(&t, stopped);
	close_file(&t, f);
	mount_down(&t);
}

static void short_reads_pass_long_ones(void **state)
{
	struct mount t;
	struct asked *f[20], *a[20], *config, *b;
	char key[32];

	(void)state;
	mount_up(&t, "", 16 * MIB); /* 5 tickets, and one for short reads */
	fake_put("config.json", 700);
	config = must_open(&t, "config.json");
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		fake_put(key, 100 * MIB);
		f[i] = must_open(&t, key);
	}
	for (int i = 0; i < 20; i++)
		a[i] = ask_read(&t, f[i], 50 * MIB, MIB);
	assert_int_equal(fake_queued(), 5);
	b = ask_read(&t, config, 0, 4096);
	assert_int_equal(queued_of("config.json"), 1);
	fake_answer_all();
	expect_bytes(b, "config.json", 0, 0, 700);
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		expect_bytes(a[i], key, 0, 50 * MIB, MIB);
		close_file(&t, f[i]);
	}
	close_file(&t, config);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(headers_cost_a_mib),
	    cmocka_unit_test(windows_grow_to_read_window),
	    cmocka_unit_test(parts_are_shorter_near_by),
	    cmocka_unit_test(swapped_at_the_start),
	    cmocka_unit_test(a_header_is_no_start),
	    cmocka_unit_test(a_seek_to_the_start),
	    cmocka_unit_test(a_seek_closes_the_window),
	    cmocka_unit_test(a_seek_in_a_small_object),
	    cmocka_unit_test(fetches_outlive_their_reader),
	    cmocka_unit_test(a_close_gives_up),
	    cmocka_unit_test(a_close_beside_an_idle_one),
	    cmocka_unit_test(a_waiter_keeps_it),
	    cmocka_unit_test(the_next_one_goes_on),
	    cmocka_unit_test(what_is_sent_is_wanted),
	    cmocka_unit_test(objects_have_equal_parts),
	    cmocka_unit_test(a_reader_who_stops),
	    cmocka_unit_test(short_reads_pass_long_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
