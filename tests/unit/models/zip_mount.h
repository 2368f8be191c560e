/* Archives in the fake registry. */
#ifndef TESTS_MODELS_ZIP_MOUNT_H
#define TESTS_MODELS_ZIP_MOUNT_H

#include "mount.h"
#include "zip_make.h"

#define TEXT_BYTES (3 * MIB)

static uint8_t *plain; /* text of so many bytes: main's */

/* An archive at key with a deflated and a stored member of the same bytes. */
static inline void put_archive(const char *key, struct zip *z)
{
	memset(z, 0, sizeof(*z));
	add(z, "deflated", 8, plain, TEXT_BYTES);
	add(z, "in/stored", 0, plain, TEXT_BYTES);
	finish(z, false, "");
	fake_put(key, z->file.len);
	fake_find(key)->contents = z->file.p;
}

/* Answers S3's calls until a is answered, by whichever thread. */
static inline void answer_until_done(struct asked *a)
{
	while (!asked_is_done(a)) {
		if (!fake_answer_one())
			sched_yield();
	}
}

static inline struct asked *answered(struct asked *a)
{
	answer_until_done(a);
	return a;
}

#endif
