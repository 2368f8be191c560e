/* What the tests of writing share: a host, two open files of it, and requests to them. */
#ifndef SCOUTFS_TESTS_WRITE_RIG_H
#define SCOUTFS_TESTS_WRITE_RIG_H

#include <fcntl.h>

#include "fake_sftp.h"

#define MEMORY ((size_t)64 << 20)
#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)
#define PIECE 261120

static struct ask file, other, a, many[128];
static uint8_t bytes[SCOUT_WRITE_MAX];

static inline void set_up(size_t memory)
{
	rig_config(1);
	rig_start(memory);
}

/* "/f" is there already. */
static inline void set_up_file(size_t size, unsigned seed)
{
	rig_config(1);
	fake_add_locked("/f", size, 100, seed);
	rig_start(MEMORY);
}

static inline void tear_down(void)
{
	if (file.handle)
		file_release(&file);
	if (other.handle)
		file_release(&other);
	file.handle = other.handle = NULL;
	rig_stop();
	free(a.data);
	a.data = NULL;
	for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
		free(many[i].data);
		many[i].data = NULL;
	}
	fake_reset();
}

static inline int open_as(struct ask *f, const char *path, int flags)
{
	ask_start(f, ASK_OPEN);
	if (flags & O_CREAT)
		rig.backend.ops->create(rig.backend.self, path, 0644, flags, &f->req);
	else
		rig.backend.ops->open(rig.backend.self, path, flags, &f->req);
	return ask_wait(f);
}

/* The bytes that the file is to have at offset. */
static inline void write_start(struct ask *w, const struct ask *f, uint64_t offset, size_t size,
			       unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = fake_byte(offset + i, seed);
	ask_start(w, ASK_NONE);
	rig.backend.ops->write(rig.backend.self, f->handle, offset, bytes, size, &w->req);
	memset(bytes, 0, size);
}

static inline int write_at(const struct ask *f, uint64_t offset, size_t size, unsigned seed)
{
	write_start(&a, f, offset, size, seed);
	return ask_wait(&a);
}

static inline void flush_start(struct ask *w, const struct ask *f)
{
	ask_start(w, ASK_SYNCED);
	rig.backend.ops->flush(rig.backend.self, f->handle, &w->req);
}

static inline int flush_of(const struct ask *f)
{
	flush_start(&a, f);
	return ask_wait(&a);
}

static inline int fsync_of(const struct ask *f)
{
	ask_start(&a, ASK_SYNCED);
	rig.backend.ops->fsync(rig.backend.self, f->handle, &a.req);
	return ask_wait(&a);
}

static inline void holds(const char *path, size_t size, unsigned seed)
{
	size_t right = 0, real = SIZE_MAX;
	struct fake_node *n;

	pthread_mutex_lock(&fake.lock);
	n = fake_find_locked(path);
	if (n)
		real = n->size;
	while (right < size && right < real && n && n->data[right] == fake_byte(right, seed))
		right++;
	pthread_mutex_unlock(&fake.lock);
	assert_int_equal(real, size);
	assert_int_equal(right, size); /* the first byte that is wrong */
}

static inline void read_back(const struct ask *f, uint64_t offset, size_t size, unsigned seed)
{
	ask_read(&a, f, offset, size);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.size, size);
	for (size_t i = 0; i < size; i++)
		if (a.data[i] != fake_byte(offset + i, seed))
			fail_msg("byte %llu read is wrong", (unsigned long long)(offset + i));
}

static inline void lose_session(unsigned number, unsigned joins)
{
	FAKE_LOCKED(fake.sessions[number]->kill = -ECONNRESET);
	FAKE_WAIT(fake.joins == joins);
}

#endif
