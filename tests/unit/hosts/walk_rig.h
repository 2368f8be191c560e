/* What the tests of who goes through a far host's folders share: such folders, and somebody who goes through them. */
#ifndef SCOUTFS_TESTS_WALK_RIG_H
#define SCOUTFS_TESTS_WALK_RIG_H

#include "hosts/early.h"
#include "hosts/folder.h"

#include "pool.h"

#define FEW ((size_t)32 << 20)
#define FILES 30

static struct ask a, b;

static const unsigned in[] = {0, 1, 3}, is[] = {1, 3, 4};

/* /d has files "0", "1", "3"… of so many bytes as they are called, /w has folders of these names, each with an empty
 * file and three others; of the first three folders these can be opened. */
static inline void set_up(void)
{
	char path[16];

	rig_config(3);
	fake_mkdir_locked("/d", FILES);
	fake_mkdir_locked("/w", 10);
	fake_find_locked("/w")->of_folders = true;
	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof path, "/d/%u", i);
		fake_add_locked(path, i, 0, i);
		fake_find_locked(path)->mode = S_IFREG | 0600;
	}
	for (unsigned i = 0; i < 10; i++) {
		(void)snprintf(path, sizeof path, "/w/%u", i);
		fake_mkdir_locked(path, 5);
	}
	for (unsigned i = 0; i < 9; i++) {
		(void)snprintf(path, sizeof path, "/w/%u/%u", in[i / 3], is[i % 3]);
		fake_add_locked(path, is[i % 3], 0, is[i % 3]);
		fake_find_locked(path)->mode = S_IFREG | 0600;
	}
	fake.far_ns = 50 * SCOUT_NS_PER_MS;
	fake.server.extensions |= SCOUT_SFTP_EXT(SCOUT_SFTP_LSETSTAT);
	rig.hosts[0].attr_timeout_ns = 3600 * SCOUT_NS_PER_S; /* nothing grows old here */
	rig_start(FEW);
	ask_getattr(&a, "h0/d");
	assert_int_equal(ask_wait(&a), 0);
}

static inline void tear_down(void)
{
	rig_stop();
	fake_reset();
}

static inline void open_folder(struct ask *ask, const char *path)
{
	ask_start(ask, ASK_OPEN);
	rig.backend.ops->opendir(rig.backend.self, path, &ask->req);
}

/* Reads the folder to its end and closes it: so many entries. */
static inline size_t entries(struct ask *ask)
{
	static struct ask read;
	size_t n = 0;

	assert_int_equal(ask_wait(ask), 0);
	do {
		ask_start(&read, ASK_DIR);
		rig.backend.ops->readdir(rig.backend.self, ask->handle, n, &read.req);
		assert_int_equal(ask_wait(&read), 0);
		n += read.entries;
	} while (read.entries);
	rig.backend.ops->releasedir(rig.backend.self, ask->handle);
	return n;
}

static inline size_t list(const char *path)
{
	open_folder(&a, path);
	return entries(&a);
}

static inline void read_open(unsigned n, unsigned seed)
{
	ask_read(&b, &a, 0, 4096);
	assert_int_equal(ask_wait(&b), 0);
	assert_int_equal(b.size, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(b.data[i], fake_byte(i, seed));
	file_release(&a);
}

/* Opens and reads /folder/n, of which all is as set_up made it. */
static inline void read_in(const char *folder, unsigned n)
{
	char path[32];

	(void)snprintf(path, sizeof path, "h0/%s/%u", folder, n);
	assert_int_equal(ask_open(&a, path), 0);
	read_open(n, n);
}

static inline void read_file(unsigned n)
{
	read_in("d", n);
}

/* Lists /d and reads its first two files, so that 5 to 11 are read early; waits until they are. */
static inline void walk(void)
{
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	read_file(3);
	FAKE_WAIT(fake.count[SCOUT_SFTP_FSTAT] == 7);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2 + 7);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2 + 7);
}

static inline unsigned counted(const char *name)
{
	char *text = self_text(rig.backend.ops->metrics), *at;
	char line[64];
	unsigned n;

	(void)snprintf(line, sizeof line, "\nscoutfs_hosts_%s_total ", name);
	at = strstr(text, line);
	assert_non_null(at);
	n = (unsigned)strtoul(at + strlen(line), NULL, 10);
	free(text);
	return n;
}

/* What is known of the folder, which nobody else looks at just now. */
static inline struct scout_folder *known(const char *path)
{
	struct scout_hosts *all = rig.backend.self;
	struct scout_host *host = find("h0");
	struct scout_folder *f;

	scout_lock(&all->aheads.lock);
	f = scout_folder_find_locked(host, path, strlen(path));
	scout_unlock(&all->aheads.lock);
	scout_host_unref(host);
	assert_non_null(f);
	return f;
}

/* The same once more, with what was changed in the fake or the config. */
static inline void start_anew(size_t memory)
{
	rig_stop();
	memset(fake.count, 0, sizeof fake.count);
	rig_start(memory);
	ask_getattr(&a, "h0/d");
	assert_int_equal(ask_wait(&a), 0);
}

#endif
