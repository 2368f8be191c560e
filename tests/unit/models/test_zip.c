/* Archives as folders over the fake registry: many readers on many threads in little memory, and the ends
 * that a request can come to; meant for the sanitizers too. */
#include "zip_mount.h"

#include <dlfcn.h>

#include "models/zip_member.h"

#define READERS 24

static atomic_bool late_ran;

struct reader {
	struct mount *t;
	char path[64];
	unsigned seed;
	int err;
	pthread_t thread;
};

static int read_and_check(struct reader *r, struct asked *f, uint64_t at, size_t size)
{
	struct asked *a = ask_read(r->t, f, at, size);
	int err;

	asked_wait(a);
	err = a->err;
	if (err == 0 && a->size != (TEXT_BYTES - at < size ? TEXT_BYTES - at : size))
		err = -EPROTO;
	if (err == 0 && memcmp(a->bytes, plain + at, a->size) != 0)
		err = -EBADMSG;
	asked_free(a);
	return err;
}

static void *read_all(void *arg)
{
	struct reader *r = arg;
	struct asked *f = ask_open(r->t, r->path);

	asked_wait(f);
	r->err = f->err;
	if (r->err < 0) {
		asked_free(f);
		return NULL;
	}
	for (uint64_t at = 0; at < TEXT_BYTES && r->err == 0; at += MIB / 2)
		r->err = read_and_check(r, f, at, MIB / 2);
	for (int i = 0; i < 10 && r->err == 0; i++)
		r->err = read_and_check(r, f, (uint64_t)rand_r(&r->seed) % TEXT_BYTES,
					1 + (size_t)rand_r(&r->seed) % 300000);
	close_file(r->t, f);
	return NULL;
}

static void start_readers(struct mount *t, struct reader *readers)
{
	for (unsigned i = 0; i < READERS; i++) {
		struct reader *r = &readers[i];

		*r = (struct reader){.t = t, .seed = i};
		snprintf(r->path, sizeof(r->path), "m%u/model.zip.d/%s", i % 4,
			 i / 4 % 2 ? "deflated" : "in/stored");
		assert_int_equal(pthread_create(&r->thread, NULL, read_all, r), 0);
	}
}

static void put_archives(struct zip zips[4])
{
	for (unsigned i = 0; i < 4; i++) {
		char key[32];

		snprintf(key, sizeof(key), "m%u/model.zip", i);
		put_archive(key, &zips[i]);
	}
}

static void many_readers(void **state)
{
	struct reader readers[READERS];
	struct zip zips[4];
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	put_archives(zips);
	fake_start_engine();
	start_readers(&t, readers);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].err, 0);
	}
	mount_down(&t);
	for (unsigned i = 0; i < 4; i++)
		zip_free(&zips[i]);
}

/* The mount ends in the midst of it: every read is answered, right or not at all. */
static void stopped_meanwhile(void **state)
{
	struct reader readers[READERS];
	struct zip zips[4];
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	put_archives(zips);
	fake_start_engine();
	start_readers(&t, readers);
	while (scout_counted(&t.models->counters.bytes_served) < 4 * MIB)
		sched_yield();
	mount_stop(&t);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_true(readers[i].err == 0 || readers[i].err == -ESHUTDOWN);
	}
	mount_down(&t);
	for (unsigned i = 0; i < 4; i++)
		zip_free(&zips[i]);
}

/* A grant of memory that takes its time, as that of another backend's thread may. */
static struct {
	struct mount *t;
	struct scout_share *share;
	void (*granted)(struct scout_waiter *w, void *buf);
	atomic_bool begun;
} slow;

static void grant_slowly(struct scout_waiter *w, void *buf)
{
	atomic_store(&slow.begun, true);
	while (!atomic_load(&slow.t->models->stopped))
		sched_yield();
	for (int i = 0; i < 1000; i++) /* time for a stop that does not wait to end */
		sched_yield();
	slow.granted(w, buf);
}

static void *give_ticket(void *arg)
{
	(void)arg;
	scout_ticket_put(slow.share);
	return NULL;
}

/* Takes all tickets once nobody has one; returns how many. */
static size_t take_tickets(struct mount *t, struct scout_share *share)
{
	struct scout_budget_stats stats;
	struct scout_waiter w;

	do {
		sched_yield();
		scout_budget_stats(t->budget, &stats);
	} while (stats.tickets > 0);
	for (size_t i = 0; i < stats.tickets_limit; i++)
		assert_true(scout_ticket_get(share, &w));
	return stats.tickets_limit;
}

/* The mount ends while a read that waited for memory is being given it by somebody else. */
static void stopped_while_granted(void **state)
{
	struct scout_budget_stats stats;
	struct asked *f, *a;
	pthread_t thread;
	struct mount t;
	size_t tickets;
	struct zip z;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	put_archive("a/model.zip", &z);
	f = answered(ask_open(&t, "a/model.zip.d/deflated"));
	assert_int_equal(f->err, 0);
	expect(answered(ask_read(&t, f, 0, 1000)), 0);
	assert_int_equal(scout_share_new(t.budget, 1, &slow.share), 0);
	slow.t = &t;
	tickets = take_tickets(&t, slow.share);
	a = ask_read(&t, f, 1000, 1000);
	do {
		sched_yield();
		scout_budget_stats(t.budget, &stats);
	} while (stats.waiting == 0);
	slow.granted = t.models->zips->members->waiter.granted;
	t.models->zips->members->waiter.granted = grant_slowly;
	assert_int_equal(pthread_create(&thread, NULL, give_ticket, NULL), 0);
	while (!atomic_load(&slow.begun))
		sched_yield();
	mount_stop(&t);
	expect(a, -ESHUTDOWN);
	pthread_join(thread, NULL);
	while (--tickets > 0)
		scout_ticket_put(slow.share);
	scout_share_free(slow.share);
	close_file(&t, f);
	mount_down(&t);
	zip_free(&z);
}

static void one_directory_for_all(void **state)
{
	struct asked *asked[10];
	struct mount t;
	struct zip z;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	put_archive("a/model.zip", &z);
	for (size_t i = 0; i < 10; i++)
		asked[i] = ask_opendir(&t, "a/model.zip.d");
	for (size_t i = 0; i < 10; i++) {
		answer_until_done(asked[i]);
		assert_int_equal(asked[i]->err, 0);
		t.backend.ops->releasedir(t.backend.self, asked[i]->handle);
		asked_free(asked[i]);
	}
	assert_int_equal(fake.gets, 1);
	expect(answered(ask_getattr(&t, "a/model.zip.d/in/stored")), 0);
	expect(answered(ask_getattr(&t, "a/model.zip.d/in")), 0);
	expect(answered(ask_getattr(&t, "a/model.zip.d/missing")), -ENOENT);
	expect(answered(ask_open(&t, "a/model.zip.d/in")), -EISDIR);
	expect(answered(ask_open(&t, "a/model.zip.d")), -EISDIR);
	expect(answered(ask_opendir(&t, "a/model.zip.d/deflated")), -ENOTDIR);
	assert_int_equal(fake.gets, 1);
	mount_down(&t);
	zip_free(&z);
}

/* What failed for want of S3 is read again; what is broken is not. */
static void failures(void **state)
{
	struct mount t;
	struct zip z;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	put_archive("a/model.zip", &z);
	fake_put("b/model.zip", 100000);
	fake.fail[SCOUT_S3_GET] = -ETIMEDOUT;
	expect(answered(ask_opendir(&t, "a/model.zip.d")), -ETIMEDOUT);
	fake.fail[SCOUT_S3_GET] = 0;
	atomic_fetch_add(&fake_now, 2 * SCOUT_NS_PER_S);
	expect_names(&t, "a", "model.zip");
	for (int i = 0; i < 2; i++) {
		struct asked *d = answered(ask_opendir(&t, "a/model.zip.d"));

		assert_int_equal(d->err, 0);
		t.backend.ops->releasedir(t.backend.self, d->handle);
		asked_free(d);
	}
	expect(answered(ask_opendir(&t, "b/model.zip.d")), -EIO);
	fake.gets = 0;
	expect(answered(ask_opendir(&t, "b/model.zip.d")), -EIO);
	assert_int_equal(fake.gets, 0);
	mount_down(&t);
	zip_free(&z);
}

/* 100 GB: what is read of it is its end, and the member's own block. */
static void a_large_archive(void **state)
{
	const uint64_t large = UINT64_C(100) << 30, config = large + 38 + 7;
	struct said weights = {.name = "weights", .packed = UINT32_MAX, .bytes = UINT32_MAX};
	struct said s = {.name = "config.json", .packed = 2, .bytes = 2, .header = UINT32_MAX};
	struct zip z = {.members = 0};
	struct asked *f, *a;
	struct mount t;

	(void)state;
	number(&weights.extra, 1, 2);
	number(&weights.extra, 16, 2);
	number(&weights.extra, large, 8);
	number(&weights.extra, large, 8);
	say(&z, &weights);
	s.crc = (uint32_t)crc32_z(0, (const uint8_t *)"{}", 2);
	number(&s.extra, 1, 2);
	number(&s.extra, 8, 2);
	number(&s.extra, config, 8);
	say(&z, &s);
	local(&z, "config.json", "{}", 2);
	finish_at(&z, config, true, "");
	mount_up(&t, "", 16 * MIB);
	fake_put("a/model.zip", config + z.file.len);
	fake_find("a/model.zip")->contents = z.file.p;
	fake_find("a/model.zip")->contents_at = config;
	f = answered(ask_open(&t, "a/model.zip.d/config.json"));
	assert_int_equal(f->err, 0);
	a = answered(ask_read(&t, f, 0, 4096));
	assert_int_equal(a->size, 2);
	assert_memory_equal(a->bytes, "{}", 2);
	expect(a, 0);
	close_file(&t, f);
	assert_true(fake.gets <= 2);
	assert_true(fake.bytes <= 2 * SCOUT_BUF_BYTES);
	mount_down(&t);
	free(weights.extra.p);
	free(s.extra.p);
	zip_free(&z);
}

/* What cannot be of use is not fetched, whatever the end says. */
static void directories_of_nothing(void **state)
{
	const uint64_t most = UINT64_C(256) << 20;
	struct zip ended = {.members = 0}, large = {.members = 0};
	static const uint8_t zeros[8 * MIB];
	struct mount t;
	struct asked *d;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	put(&ended.directory, "PK\5\5", 4);
	put(&ended.directory, zeros, sizeof(zeros));
	finish(&ended, false, "");
	fake_put("a/model.zip", ended.file.len);
	fake_find("a/model.zip")->contents = ended.file.p;
	finish_at(&large, most + 1, true, "");
	memset(large.file.p + 40, 0, 16); /* the directory's bytes and start */
	large.file.p[40] = 1;
	large.file.p[43] = most >> 24;
	fake_put("b/model.zip", most + 1 + large.file.len);
	fake_find("b/model.zip")->contents = large.file.p;
	fake_find("b/model.zip")->contents_at = most + 1;
	d = answered(ask_opendir(&t, "a/model.zip.d"));
	assert_int_equal(d->err, 0);
	t.backend.ops->releasedir(t.backend.self, d->handle);
	asked_free(d);
	assert_true(fake.bytes <= 3 * SCOUT_BUF_BYTES);
	fake.bytes = 0;
	expect(answered(ask_getattr(&t, "b/model.zip.d/x")), -EIO);
	assert_true(fake.bytes <=
		    2 * 2 * SCOUT_BUF_BYTES); /* and once more: it may have come wrong */
	mount_down(&t);
	zip_free(&ended);
	zip_free(&large);
}

/* zlib's, for all of this program. */
static atomic_bool no_memory;

int inflateInit2_(z_streamp z, int bits, const char *version, int size)
{
	int (*real)(z_streamp z, int bits, const char *version, int size);

	if (atomic_load(&no_memory))
		return Z_MEM_ERROR;
	*(void **)&real = dlsym(RTLD_NEXT, "inflateInit2_");
	return real(z, bits, version, size);
}

/* A stream that could not be opened is not counted as one. */
static void no_memory_for_a_stream(void **state)
{
	struct asked *f, *a;
	struct mount t;
	struct zip z;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	put_archive("a/model.zip", &z);
	f = answered(ask_open(&t, "a/model.zip.d/deflated"));
	assert_int_equal(f->err, 0);
	atomic_store(&no_memory, true);
	expect(answered(ask_read(&t, f, 0, 1000)), -ENOMEM);
	atomic_store(&no_memory, false);
	assert_int_equal(atomic_load(&t.models->zips->streams), 0);
	a = answered(ask_read(&t, f, 0, 1000));
	assert_memory_equal(a->bytes, plain, 1000);
	expect(a, 0);
	assert_int_equal(atomic_load(&t.models->zips->streams), 1);
	close_file(&t, f);
	mount_down(&t);
	zip_free(&z);
}

/* What members hold is within their part of memory, with a stream for each read under way. */
static void held_memory_follows_the_budget(void **state)
{
	static const struct {
		size_t memory, points, streams;
	} cases[] = {{16 * MIB, 31, 22}, {64 * MIB, 127, 91}, {512 * MIB, 1023, 733}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scout_budget_stats memory;
		struct scout_zips *zips;
		struct mount t;
		size_t streams;

		mount_up(&t, "", cases[i].memory);
		zips = t.models->zips;
		assert_int_equal(zips->points.max, cases[i].points);
		assert_int_equal(zips->streams_max, cases[i].streams);
		scout_budget_stats(t.budget, &memory);
		streams = zips->streams_max + memory.tickets_limit / 4;
		assert_true(zips->points.max * sizeof(struct scout_zip_point) +
				streams * SCOUT_ZIP_STREAM_BYTES <=
			    cases[i].memory / 8);
		mount_down(&t);
	}
}

/* Who has a stream keeps it, the others' are closed with their reads; all read on. */
static void streams_of_all_are_bounded(void **state)
{
	struct asked *files[3];
	struct mount t;
	struct zip z[3];

	(void)state;
	mount_up(&t, "", 16 * MIB);
	t.models->zips->streams_max = 1;
	assert_int_equal(scout_zip_held_bytes(t.models), 0);
	for (size_t i = 0; i < 3; i++) {
		char key[32];

		snprintf(key, sizeof(key), "%zu/model.zip", i);
		put_archive(key, &z[i]);
		snprintf(key, sizeof(key), "%zu/model.zip.d/deflated", i);
		files[i] = answered(ask_open(&t, key));
		assert_int_equal(files[i]->err, 0);
	}
	for (size_t i = 0; i < 9; i++) {
		struct asked *a = answered(ask_read(&t, files[i % 3], i / 3 * 1000, 1000));

		assert_memory_equal(a->bytes, plain + i / 3 * 1000, 1000);
		expect(a, 0);
		assert_int_equal(scout_zip_held_bytes(t.models), SCOUT_ZIP_STREAM_BYTES);
	}
	for (size_t i = 0; i < 3; i++)
		close_file(&t, files[i]);
	mount_down(&t);
	for (size_t i = 0; i < 3; i++)
		zip_free(&z[i]);
}

static void another_version(void **state)
{
	struct asked *f, *a;
	struct zip z, other;
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	put_archive("a/model.zip", &z);
	f = answered(ask_open(&t, "a/model.zip.d/deflated"));
	a = answered(ask_read(&t, f, 0, 1000));
	assert_memory_equal(a->bytes, plain, 1000);
	expect(a, 0);
	put_archive("a/model.zip", &other); /* of another ETag */
	a = answered(ask_open(&t, "a/model.zip.d/in/stored"));
	assert_int_equal(a->err, 0);
	close_file(&t, a);
	expect(answered(ask_read(&t, f, 0, 1000)), -ESTALE);
	close_file(&t, f);
	mount_down(&t);
	zip_free(&z);
	zip_free(&other);
}

#define LARGE_BYTES (9 * MIB)
#define FEW ((size_t)1000)
/* From one place to go on from to the next: a block of deflate's goes over what is asked for. */
#define APART (2 * MIB + 64 * 1024)

/* Reads a few bytes; how many were inflated for them. */
static uint64_t cost_of(struct mount *t, struct asked *f, const uint8_t *large, uint64_t at)
{
	uint64_t before = scout_counted(&t->models->counters.bytes_inflated);
	struct asked *a = answered(ask_read(t, f, at, FEW));

	assert_int_equal(a->size, FEW);
	assert_memory_equal(a->bytes, large + at, FEW);
	expect(a, 0);
	return scout_counted(&t->models->counters.bytes_inflated) - before;
}

/* Once it was inflated, who jumps back in it has a few MiB of it inflated again, not all that is before. */
static void a_jump_back_costs_little(void **state)
{
	static const uint64_t back[] = {6, 7, 3, 5, 0, 4};
	uint8_t *large = text(LARGE_BYTES, 5);
	struct zip z = {.members = 0};
	struct asked *f;
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	add(&z, "large", 8, large, LARGE_BYTES);
	finish(&z, false, "");
	fake_put("a/model.zip", z.file.len);
	fake_find("a/model.zip")->contents = z.file.p;
	f = answered(ask_open(&t, "a/model.zip.d/large"));
	assert_int_equal(f->err, 0);
	assert_int_equal(cost_of(&t, f, large, 0), FEW);
	/* one ahead costs all that nobody has read yet, and who reads on, nothing more */
	assert_int_equal(cost_of(&t, f, large, 8 * MIB), 8 * MIB);
	assert_int_equal(cost_of(&t, f, large, 8 * MIB + FEW), FEW);
	for (size_t i = 0; i < sizeof(back) / sizeof(back[0]); i++)
		assert_in_range(cost_of(&t, f, large, back[i] * MIB), FEW, APART + FEW);
	close_file(&t, f);
	mount_down(&t);
	zip_free(&z);
	free(large);
}

static void note_run(struct scout_zip_job *job)
{
	(void)job;
	atomic_store(&late_ran, true);
}

/* Memory that comes when the workers have ended: its job is run all the same. */
static void a_job_after_the_end(void **state)
{
	struct scout_zip_job job = {.run = note_run};
	struct scout_zip_work *w;

	(void)state;
	assert_int_equal(scout_zip_work_start(&w), 0);
	scout_zip_work_stop(w);
	scout_zip_waits(w);
	scout_zip_waited(w, &job);
	assert_true(atomic_load(&late_ran));
	scout_zip_work_free(w);
}

/* A folder called as an archive: who asked for the archive's members leaves it the folder that it is, also where an
 * object has that name, too. */
static void a_folder_called_so(void **state)
{
	(void)state;
	for (int both = 0; both < 2; both++) {
		struct scout_s3_call *listing;
		struct mount t;
		struct asked *a;

		mount_up(&t, "", 16 * MIB);
		fake_put("a/foo.zip/part1", 5);
		if (both)
			fake_put("a/foo.zip", 5);
		a = ask_getattr(&t, "a/foo.zip.d");
		listing = fake_take(false); /* it hangs */
		assert_int_equal(listing->max_keys, 1000);
		fake_answer_all();
		expect(a, -ENOENT);
		a = ask_getattr(&t, "a/foo.zip");
		fake_answer_all();
		assert_int_equal(a->err, 0);
		assert_true(S_ISDIR(a->attr.mode));
		asked_free(a);
		fake_answer(listing, 1);
		mount_down(&t);
	}
}

/* The bucket's own folder or object of that name, also before there is a listing that tells of it. */
static void what_the_bucket_has(void **state)
{
	static const char *const keys[] = {"a/model.zip.d/real", "a/model.zip.d"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct scout_s3_call *listing;
		struct mount t;
		struct asked *a;
		struct zip z;

		mount_up(&t, "", 16 * MIB);
		put_archive("a/model.zip", &z);
		fake_put(keys[i], 5);
		a = ask_getattr(&t, "a/model.zip.d");
		listing = fake_take(false); /* it hangs */
		assert_int_equal(listing->max_keys, 1000);
		answer_until_done(a);
		assert_int_equal(a->err, 0);
		assert_int_equal(S_ISDIR(a->attr.mode), i == 0);
		asked_free(a);
		expect(answered(ask_getattr(&t, "a/model.zip.d/deflated")), -ENOENT);
		a = answered(ask_getattr(&t, keys[i]));
		assert_int_equal(a->err, 0);
		assert_int_equal(a->attr.size, 5);
		asked_free(a);
		fake_answer(listing, 1);
		mount_down(&t);
		zip_free(&z);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(many_readers),
	    cmocka_unit_test(stopped_meanwhile),
	    cmocka_unit_test(stopped_while_granted),
	    cmocka_unit_test(a_job_after_the_end),
	    cmocka_unit_test(one_directory_for_all),
	    cmocka_unit_test(failures),
	    cmocka_unit_test(a_large_archive),
	    cmocka_unit_test(directories_of_nothing),
	    cmocka_unit_test(no_memory_for_a_stream),
	    cmocka_unit_test(another_version),
	    cmocka_unit_test(a_folder_called_so),
	    cmocka_unit_test(what_the_bucket_has),
	    cmocka_unit_test(held_memory_follows_the_budget),
	    cmocka_unit_test(streams_of_all_are_bounded),
	    cmocka_unit_test(a_jump_back_costs_little),
	};
	int failed;

	plain = text(TEXT_BYTES, 11);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(plain);
	return failed;
}
