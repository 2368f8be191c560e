/* Many readers on many threads, an engine thread, little memory; meant for the sanitizers too. */
#include "mount.h"

#define READERS 100

struct reader {
	struct mount *t;
	char key[32];
	uint64_t bytes;
	unsigned seed;         /* 0: in order; else in random pieces */
	uint64_t stretch, far; /* in order, but only so many bytes from 0 and from far on; 0: all */
	int err;
	pthread_t thread;
};

/* Returns what the read was answered with, after looking at its bytes. */
static int read_and_check(struct reader *r, struct asked *f, uint64_t at, size_t size)
{
	struct asked *a = ask_read(r->t, f, at, size);
	int err;

	asked_wait(a);
	err = a->err;
	if (err == 0 && a->size != (r->bytes - at < size ? r->bytes - at : size))
		err = -EPROTO;
	if (err == 0 && fake_right(a->bytes, r->key, 0, at, a->size) != a->size)
		err = -EBADMSG;
	asked_free(a);
	return err;
}

static int read_in_order(struct reader *r, struct asked *f)
{
	int err = 0;

	for (uint64_t at = 0; at < r->bytes && err == 0; at += MIB / 2)
		err = read_and_check(r, f, at, MIB / 2);
	return err;
}

static int read_two_stretches(struct reader *r, struct asked *f)
{
	int err = 0;

	for (uint64_t at = 0; at < r->stretch && err == 0; at += MIB)
		err = read_and_check(r, f, at, MIB);
	for (uint64_t at = 0; at < r->stretch && err == 0; at += MIB)
		err = read_and_check(r, f, r->far + at, MIB);
	return err;
}

static int read_at_random(struct reader *r, struct asked *f)
{
	int err = 0;

	for (int i = 0; i < 20 && err == 0; i++)
		err = read_and_check(r, f, (uint64_t)rand_r(&r->seed) % r->bytes,
				     1 + (size_t)rand_r(&r->seed) % 300000);
	return err;
}

static void *read_all(void *arg)
{
	struct reader *r = arg;
	struct asked *f = ask_open(r->t, r->key);

	asked_wait(f);
	r->err = f->err;
	if (r->err < 0) {
		asked_free(f);
		return NULL;
	}
	if (r->stretch > 0)
		r->err = read_two_stretches(r, f);
	else
		r->err = r->seed ? read_at_random(r, f) : read_in_order(r, f);
	close_file(r->t, f);
	return NULL;
}

static void start(struct reader *readers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]),
				 0);
}

static void join(struct reader *readers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pthread_join(readers[i].thread, NULL);
}

static void a_hundred_objects_in_little_memory(void **state)
{
	static struct reader readers[READERS];
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	t.config.models.max_connections = 10;
	for (size_t i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.t = &t, .bytes = MIB / 2 + i * 12345};
		readers[i].seed = i % 3 == 2 ? (unsigned)i : 0;
		snprintf(readers[i].key, sizeof(readers[i].key), "model%zu", i);
		fake_put(readers[i].key, readers[i].bytes);
	}
	fake_start_engine();
	start(readers, READERS);
	join(readers, READERS);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(readers[i].err, 0);
	mount_down(&t);
}

/* How many, in how much; and how much of each is read from its start, and from a place inside it. */
#define LARGE ((size_t)(SANITIZED ? READERS / 4 : READERS))
#define MEMORY ((SANITIZED ? 16 : 64) * MIB)
#define STRETCH ((SANITIZED ? 4 : 8) * MIB)

/* Sixteen hundred times as much as there is memory for: slower, but nobody hangs or has wrong bytes. */
static void a_hundred_large_objects_in_little_memory(void **state)
{
	static const char *const headers[] = {"x-amz-checksum-crc32", "AAAAAA==", NULL};
	static struct reader readers[READERS];
	struct scout_budget_stats stats;
	struct mount t;

	(void)state;
	mount_verifies = true;
	mount_up(&t, "", MEMORY);
	mount_verifies = false;
	assert_true(t.models->verifiers.nthreads > 0);
	fake.headers = headers; /* they are compared, if for no end */
	for (size_t i = 0; i < LARGE; i++) {
		readers[i] = (struct reader){.t = &t, .bytes = 1024 * MIB, .stretch = STRETCH};
		readers[i].far = (100 + i * 9) * MIB + i * 4096;
		snprintf(readers[i].key, sizeof(readers[i].key), "model%zu", i);
		fake_put(readers[i].key, readers[i].bytes);
	}
	fake_start_engine();
	start(readers, LARGE);
	join(readers, LARGE);
	for (size_t i = 0; i < LARGE; i++)
		assert_int_equal(readers[i].err, 0);
	mount_stop(&t);
	/* what is fetched ahead of them goes for nothing now and then, not all of it */
	assert_in_range(fake.bytes, LARGE * 2 * STRETCH, LARGE * 2 * (STRETCH + 2 * MIB));
	scout_budget_stats(t.budget, &stats);
	assert_in_range(stats.used_bytes, 1, MEMORY);
	assert_int_equal(scout_counted(&t.models->verifiers.mismatches), 0);
	/* each reader here holds a MiB of its own */
	assert_true(SANITIZED || peak_bytes() < MEMORY + (LARGE + 30) * MIB);
	mount_down(&t);
}

static void a_hundred_readers_of_one(void **state)
{
	static struct reader readers[READERS];
	struct mount t;

	(void)state;
	mount_up(&t, "", 64 * MIB);
	fake_put("model", 4 * MIB + 77);
	for (size_t i = 0; i < READERS; i++)
		readers[i] = (struct reader){.t = &t, .key = "model", .bytes = 4 * MIB + 77};
	fake_start_engine();
	start(readers, READERS);
	join(readers, READERS);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(readers[i].err, 0);
	assert_int_equal(fake.bytes, 4 * MIB + 77);
	mount_down(&t);
}

/* Every reader ends, with its bytes or because of the stop, and nothing is left behind. */
static void stop_amid_readers(void **state)
{
	static struct reader readers[READERS];
	struct mount t;
	struct asked *a;

	(void)state;
	mount_up(&t, "", 4 * MIB);
	for (size_t i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.t = &t, .bytes = 3 * MIB};
		snprintf(readers[i].key, sizeof(readers[i].key), "model%zu", i % 7);
		if (i < 7)
			fake_put(readers[i].key, readers[i].bytes);
	}
	fake_start_engine();
	start(readers, READERS);
	a = ask_open(&t, "model3");
	asked_wait(a); /* some are under way */
	mount_stop(&t);
	join(readers, READERS);
	for (size_t i = 0; i < READERS; i++)
		assert_true(readers[i].err == 0 || readers[i].err == -ESHUTDOWN);
	assert_int_equal(a->err, 0);
	close_file(&t, a);
	mount_down(&t);
}

struct watcher {
	struct mount *t;
	atomic_bool over, ended;
	_Atomic uint64_t told; /* an open was told that it has so many bytes */
	unsigned older;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;

	do {
		uint64_t least = atomic_load(&w->told);
		struct asked *a = ask_getattr(w->t, "model");

		asked_wait(a);
		w->older += a->err < 0 || a->attr.size < least;
		asked_free(a);
	} while (!atomic_load(&w->over));
	atomic_store(&w->ended, true);
	return NULL;
}

/* What an open was told is not taken back by an older listing while a new one takes its place. */
static void no_listing_takes_an_answer_back(void **state)
{
	struct watcher w = {0};
	pthread_t thread;
	struct mount t;

	(void)state;
	mount_up(&t, "", 4 * MIB);
	w.t = &t;
	fake_put("model", 1);
	expect_names(&t, "", "model");
	assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
	for (uint64_t bytes = 2; bytes < 2000; bytes++) {
		atomic_fetch_add(&fake_now, t.config.models.list_ttl_ns - SCOUT_NS_PER_S);
		fake_put("model", bytes);
		close_file(&t, must_open(&t, "model"));
		atomic_store(&w.told, bytes);
		atomic_fetch_add(&fake_now, 2 * SCOUT_NS_PER_S);
		expect(ask_getattr(&t, "model"), 0); /* the listing is too old, and made anew */
		fake_answer_all();
	}
	atomic_store(&w.over, true);
	while (!atomic_load(&w.ended)) /* it may just have asked */
		fake_answer_all();
	pthread_join(thread, NULL);
	assert_int_equal(w.older, 0);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_hundred_objects_in_little_memory),
	    cmocka_unit_test(a_hundred_large_objects_in_little_memory),
	    cmocka_unit_test(a_hundred_readers_of_one),
	    cmocka_unit_test(stop_amid_readers),
	    cmocka_unit_test(no_listing_takes_an_answer_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
