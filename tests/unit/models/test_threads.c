/* Many readers on many threads, an engine thread, little memory; meant for the sanitizers too. */
#include "mount.h"

#define READERS 100

struct reader {
	struct mount *t;
	char key[32];
	uint64_t bytes;
	unsigned seed; /* 0: in order; else in random pieces */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_hundred_objects_in_little_memory),
	    cmocka_unit_test(a_hundred_readers_of_one),
	    cmocka_unit_test(stop_amid_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
