/* Whole objects of the fake registry, with their checksums, and what became of those that were read. */
#ifndef TESTS_MODELS_VERIFY_MOUNT_H
#define TESTS_MODELS_VERIFY_MOUNT_H

#include <pthread.h>

#include "mount.h"

#define KEY "a/v1/model.zip"
#define BYTES (5 * MIB + 77)

/* The CRC32 of a key's bytes as S3 tells it. */
static inline const char *crc32_of(const char *key, uint64_t len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static char text[9];
	uint8_t *bytes = malloc(len);
	uint32_t crc = UINT32_MAX;
	uint64_t bits;

	fake_bytes(bytes, key, 0, 0, len);
	for (uint64_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xEDB88320 : crc >> 1;
	}
	free(bytes);
	bits = (uint64_t)~crc << 4 & 0xFFFFFFFFF;
	for (int i = 0; i < 6; i++)
		text[i] = digits[bits >> (30 - 6 * i) & 63];
	strcpy(text + 6, "==");
	return text;
}

/* An object with its checksum; S3 tells that of the last one. */
static inline void put(const char *key, uint64_t bytes)
{
	static const char *headers[] = {"x-amz-checksum-crc32", NULL, NULL};

	fake_put(key, bytes);
	headers[1] = crc32_of(key, bytes);
	fake.headers = headers;
}

static inline void up(struct mount *t, uint64_t bytes, bool verifies)
{
	mount_verifies = verifies;
	mount_up(t, "", 16 * MIB);
	(void)scout_log_open(SCOUT_LOG_ERROR, "/dev/null", false); /* wrong bytes are told there */
	put(KEY, bytes);
}

static inline uint64_t verified(struct mount *t)
{
	return scout_counted(&t->models->verifiers.verified);
}

static inline uint64_t unverified(struct mount *t)
{
	return scout_counted(&t->models->verifiers.unverified);
}

static inline uint64_t mismatches(struct mount *t)
{
	return scout_counted(&t->models->verifiers.mismatches);
}

static inline struct asked *read_at(struct mount *t, struct asked *opened, uint64_t offset)
{
	struct asked *a = ask_read(t, opened, offset, MIB);

	fake_answer_all();
	asked_wait(a);
	return a;
}

/* Reads a MiB; what it comes to if the read before came to err. */
static inline int read_on(struct mount *t, struct asked *opened, uint64_t offset, int err)
{
	struct asked *a = read_at(t, opened, offset);
	int now = a->err;

	/* wrong bytes that came at once may be told before the end */
	assert_true(now == 0 || now == -EIO);
	assert_true(now == -EIO || err == 0);
	asked_free(a);
	return now;
}

/* Reads it in order to the end; what the last read came to. */
static inline int read_from(struct mount *t, struct asked *opened, uint64_t at, uint64_t bytes)
{
	int err = 0;

	for (; at < bytes; at += MIB)
		err = read_on(t, opened, at, err);
	return err;
}

static inline int read_whole(struct mount *t, struct asked *opened, uint64_t bytes)
{
	return read_from(t, opened, 0, bytes);
}

struct reader {
	struct mount *t;
	pthread_t thread;
	int err;
};

static inline void *read_on_a_thread(void *arg)
{
	struct reader *r = arg;
	struct asked *f = ask_open(r->t, KEY);

	asked_wait(f);
	r->err = f->err;
	for (uint64_t at = 0; r->err == 0 && at < BYTES; at += MIB / 2) {
		struct asked *a = ask_read(r->t, f, at, MIB / 2);

		asked_wait(a);
		r->err = a->err;
		asked_free(a);
	}
	r->t->backend.ops->release(r->t->backend.self, f->handle);
	asked_free(f);
	return NULL;
}

/* Each is told want. */
static inline void read_by_many(struct mount *t, int want)
{
	struct reader readers[16];

	fake_start_engine();
	for (size_t i = 0; i < 16; i++) {
		readers[i].t = t;
		assert_int_equal(
		    pthread_create(&readers[i].thread, NULL, read_on_a_thread, &readers[i]), 0);
	}
	for (size_t i = 0; i < 16; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].err, want);
	}
}

#endif
