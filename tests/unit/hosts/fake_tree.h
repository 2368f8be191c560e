/* The tree in memory that stands for a server's files, and what the server of fake_sftp.h answers
 * from it. All of it is under fake.lock. */
#ifndef SCOUTFS_TESTS_FAKE_TREE_H
#define SCOUTFS_TESTS_FAKE_TREE_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "scoutfs/backend.h"
#include "scoutfs/budget.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/metrics.h"
#include "scoutfs/sftp.h"

#define FAKE_OPS SCOUT_SFTP_OPS
#define FAKE_NODES 256
#define FAKE_SESSIONS 64

struct fake_node {
	char path[300];
	uint32_t mode, uid, gid, mtime;
	uint8_t *data;
	size_t size, room; /* room: what data has, 0: not known */
	bool gone;         /* unlinked: open handles still see it */
	unsigned entries;  /* a directory of so many generated names, */
	bool of_folders;   /* of folders; */
	uint32_t of_mtime; /* of this time; */
	size_t of_bytes;   /* larger by so much than their numbers say */
};

struct scout_sftp {
	pthread_t thread;
	const struct scout_host_config *host;
	const struct scout_sftp_events *events;
	void *arg;
	TAILQ_HEAD(, scout_sftp_call) queue;
	unsigned in_flight;
	bool up, stop, over;
	int kill; /* the error with which it shall die */
	unsigned number;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hold_connects, hold_answers, stopped_answering_reads;
	unsigned hold_from;  /* of all connects, those behind so many are held, 0: none */
	unsigned writes_max; /* so many WRITEs are answered, the next ones are overtaken, 0: none */
	int connect_err;
	int start_err; /* of sessions that cannot even be started */
	uint32_t read_bytes;
	uint32_t short_reads; /* answers at most so many bytes, 0: all */
	uint64_t far_ns;      /* so long ago was each call sent, by what it says */
	bool fstat_first;     /* answers FSTAT before what was sent earlier */
	uint32_t overtaken;   /* by all else: 1 << each such operation */
	bool sends_at_once;   /* what waits for an answer has left, when a session dies */
	int write_err;        /* of WRITEs from now on; -EIO: "failure" */
	uint32_t now;         /* the mtime of what is written */
	struct statvfs space;
	uint32_t untold; /* what attributes have not */
	/* what a session says of itself, but for read_bytes */
	struct scout_sftp_server server;
	unsigned starts, ups, joins, max_live, live;
	unsigned count[FAKE_OPS];
	/* runs before the answer, with the lock held */
	void (*before)(struct scout_sftp *s, struct scout_sftp_call *call);
	const char *moved; /* the host of which ssh_config says something else by now */
	bool refuse;       /* the call that before was told of: SSH_FX_FAILURE */
	struct fake_node nodes[FAKE_NODES];
	unsigned nnodes;
	struct scout_sftp *sessions[FAKE_SESSIONS];
	char started[FAKE_SESSIONS][16]; /* host names in order */
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static inline void fake_reset(void)
{
	for (unsigned i = 0; i < fake.nnodes; i++)
		free(fake.nodes[i].data);
	memset(fake.nodes, 0, sizeof fake.nodes);
	memset(fake.count, 0, sizeof fake.count);
	memset(fake.sessions, 0, sizeof fake.sessions);
	fake.nnodes = 0;
	fake.hold_connects = fake.hold_answers = fake.fstat_first = fake.sends_at_once = false;
	fake.overtaken = 0;
	fake.write_err = 0;
	fake.connect_err = fake.start_err = 0;
	fake.hold_from = fake.writes_max = 0;
	fake.read_bytes = 261120;
	fake.server = (struct scout_sftp_server){
	    .write_bytes = 261120,
	    .extensions = SCOUT_SFTP_EXT(SCOUT_SFTP_POSIX_RENAME) |
			  SCOUT_SFTP_EXT(SCOUT_SFTP_FSYNC) | SCOUT_SFTP_EXT(SCOUT_SFTP_COPY_DATA),
	};
	fake.now = 1000000;
	fake.space = (struct statvfs){.f_bsize = 4096,
				      .f_frsize = 4096,
				      .f_blocks = 100,
				      .f_bfree = 60,
				      .f_bavail = 50,
				      .f_files = 10,
				      .f_ffree = 5,
				      .f_namemax = 255};
	fake.short_reads = 0;
	fake.far_ns = 0;
	fake.starts = fake.ups = fake.joins = fake.max_live = fake.live = 0;
	fake.before = NULL;
	fake.refuse = false;
}

#define FAKE_LOCKED(...)                               \
	do {                                           \
		pthread_mutex_lock(&fake.lock);        \
		__VA_ARGS__;                           \
		pthread_cond_broadcast(&fake.changed); \
		pthread_mutex_unlock(&fake.lock);      \
	} while (0)

/* Waits up to 10 s for cond, which is read under fake.lock. */
#define FAKE_WAIT(cond)                                                                    \
	do {                                                                               \
		struct timespec until_;                                                    \
		int err_ = 0;                                                              \
		clock_gettime(CLOCK_REALTIME, &until_);                                    \
		until_.tv_sec += 10;                                                       \
		pthread_mutex_lock(&fake.lock);                                            \
		while (!(cond) && !err_)                                                   \
			err_ = pthread_cond_timedwait(&fake.changed, &fake.lock, &until_); \
		pthread_mutex_unlock(&fake.lock);                                          \
		assert_int_equal(err_, 0);                                                 \
	} while (0)

static inline uint8_t fake_byte(uint64_t offset, unsigned seed)
{
	return (uint8_t)((offset * 2654435761u >> 13) + seed);
}

static inline struct fake_node *fake_find_locked(const char *path)
{
	for (unsigned i = 0; i < fake.nnodes; i++)
		if (!fake.nodes[i].gone && !strcmp(fake.nodes[i].path, path))
			return &fake.nodes[i];
	return NULL;
}

/* A regular file of generated bytes; one that is there is unlinked first. */
static inline void fake_add_locked(const char *path, size_t size, uint32_t mtime, unsigned seed)
{
	struct fake_node *n = fake_find_locked(path);

	if (n)
		n->gone = true;
	assert_true(fake.nnodes < FAKE_NODES);
	n = &fake.nodes[fake.nnodes++];
	memset(n, 0, sizeof *n);
	(void)snprintf(n->path, sizeof n->path, "%s", path);
	n->mode = S_IFREG | 0644;
	n->mtime = mtime;
	n->size = size;
	n->data = malloc(size + 1);
	n->room = 0;
	for (size_t i = 0; i < size; i++)
		n->data[i] = fake_byte(i, seed);
}

/* In place: longer by so many generated bytes. */
static inline void fake_append_locked(const char *path, size_t more, uint32_t mtime, unsigned seed)
{
	struct fake_node *n = fake_find_locked(path);

	n->data = realloc(n->data, n->size + more + 1);
	n->room = 0;
	for (size_t i = n->size; i < n->size + more; i++)
		n->data[i] = fake_byte(i, seed);
	n->size += more;
	n->mtime = mtime;
}

static inline void fake_mkdir_locked(const char *path, unsigned entries)
{
	fake_add_locked(path, 0, 1, 0);
	fake.nodes[fake.nnodes - 1].mode = S_IFDIR | 0755;
	fake.nodes[fake.nnodes - 1].entries = entries;
}

static inline void fake_attrs(const struct fake_node *n, struct scout_sftp_attrs *a)
{
	*a = (struct scout_sftp_attrs){.has = 15 & ~fake.untold, .size = n->size, .mode = n->mode};
	a->mtime = a->atime = n->mtime;
	a->uid = n->uid;
	a->gid = n->gid;
}

/* Cut, or made longer by zeros. */
static inline void fake_resize_locked(struct fake_node *n, size_t size)
{
	if (size >= n->room) { /* with more to come it is not moved each time */
		n->room = size + size / 8 + 1;
		n->data = realloc(n->data, n->room);
	}
	if (size > n->size)
		memset(n->data + n->size, 0, size - n->size);
	n->size = size;
	n->mtime = fake.now;
}

static inline void fake_change_locked(struct fake_node *n, const struct scout_sftp_attrs *set)
{
	if (set->has & SCOUT_SFTP_HAS_SIZE)
		fake_resize_locked(n, set->size);
	if (set->has & SCOUT_SFTP_HAS_MODE)
		n->mode = (n->mode & S_IFMT) | (set->mode & 07777);
	if (set->has & SCOUT_SFTP_HAS_OWNER) {
		n->uid = set->uid;
		n->gid = set->gid;
	}
	if (set->has & SCOUT_SFTP_HAS_TIMES)
		n->mtime = set->mtime;
}

/* SSH_FX_FAILURE, as OpenSSH says for what it has no code for. */
static inline int fake_failure(struct scout_sftp_call *c)
{
	c->status = SCOUT_SFTP_STATUS_FAILURE;
	return -EIO;
}

struct fake_handle {
	unsigned node, session, cursor, flags;
};

static inline int fake_open_locked(struct scout_sftp *s, struct scout_sftp_call *c)
{
	struct fake_node *n = fake_find_locked(c->path);
	struct fake_handle h = {.session = s->number, .flags = c->flags};

	if (n && c->flags & SCOUT_SFTP_FLAG_EXCL)
		return fake_failure(c);
	if (!n && c->op == SCOUT_SFTP_OPEN && c->flags & SCOUT_SFTP_FLAG_CREAT) {
		fake_add_locked(c->path, 0, fake.now, 0);
		n = &fake.nodes[fake.nnodes - 1];
		n->mode = S_IFREG | (c->set ? c->set->mode & 07777 : 0666);
	}
	if (!n)
		return -ENOENT;
	if (c->flags & SCOUT_SFTP_FLAG_TRUNC)
		fake_resize_locked(n, 0);
	if (c->op == SCOUT_SFTP_OPENDIR && !S_ISDIR(n->mode))
		return -ENOENT; /* as OpenSSH does */
	h.node = (unsigned)(n - fake.nodes);
	c->new_handle.len = sizeof h;
	memcpy(c->new_handle.bytes, &h, sizeof h);
	return 0;
}

static inline struct fake_node *fake_node_of(struct scout_sftp *s, const struct scout_sftp_call *c)
{
	struct fake_handle h;

	memcpy(&h, c->handle->bytes, sizeof h);
	assert_int_equal(h.session, s->number); /* only who opened it knows it */
	return &fake.nodes[h.node];
}

static inline int fake_read_locked(struct scout_sftp *s, struct scout_sftp_call *c)
{
	struct fake_node *n = fake_node_of(s, c);
	uint32_t length = c->length;

	assert_true(length <= fake.read_bytes);
	if (!S_ISREG(n->mode))
		return -EIO;
	c->got = 0;
	if (c->offset >= n->size)
		return 0;
	if (fake.short_reads && length > fake.short_reads)
		length = fake.short_reads;
	if (length > n->size - c->offset)
		length = (uint32_t)(n->size - c->offset);
	memcpy(c->dest, n->data + c->offset, length);
	c->got = length;
	return 0;
}

static inline int fake_write_locked(struct scout_sftp *s, struct scout_sftp_call *c)
{
	struct fake_node *n = fake_node_of(s, c);
	struct fake_handle h;
	uint64_t at = c->offset;

	memcpy(&h, c->handle->bytes, sizeof h);
	assert_true(c->length <= fake.server.write_bytes);
	if (fake.write_err)
		return fake.write_err == -EIO ? fake_failure(c) : fake.write_err;
	assert_true(h.flags & SCOUT_SFTP_FLAG_WRITE);
	if (h.flags & SCOUT_SFTP_FLAG_APPEND)
		at = n->size;
	if (at + c->length > n->size)
		fake_resize_locked(n, at + c->length);
	memcpy(n->data + at, c->src, c->length);
	n->mtime = fake.now;
	return 0;
}

/* As OpenSSH does: a source that ends early is no error. */
static inline int fake_copy_locked(struct scout_sftp *s, struct scout_sftp_call *c)
{
	struct scout_sftp_call to = {.handle = c->handle2};
	struct fake_node *n = fake_node_of(s, c), *target = fake_node_of(s, &to);
	size_t left = n->size > c->offset ? n->size - c->offset : 0;
	size_t length = c->length64 && c->length64 < left ? c->length64 : left;

	if (n == target)
		return fake_failure(c);
	if (c->offset2 + length > target->size && length)
		fake_resize_locked(target, c->offset2 + length);
	memcpy(target->data + c->offset2, n->data + c->offset, length);
	target->mtime = fake.now;
	return 0;
}

static inline int fake_rename_locked(struct scout_sftp_call *c)
{
	struct fake_node *n = fake_find_locked(c->path), *old = fake_find_locked(c->path2);

	if (!n)
		return -ENOENT;
	if (old && c->op == SCOUT_SFTP_RENAME)
		return fake_failure(c);
	if (old)
		old->gone = true;
	(void)snprintf(n->path, sizeof n->path, "%s", c->path2);
	return 0;
}

/* REMOVE, RMDIR */
static inline int fake_remove_locked(struct scout_sftp_call *c)
{
	struct fake_node *n = fake_find_locked(c->path);

	if (!n)
		return -ENOENT;
	if (S_ISDIR(n->mode) != (c->op == SCOUT_SFTP_RMDIR) || (S_ISDIR(n->mode) && n->entries))
		return fake_failure(c);
	n->gone = true;
	return 0;
}

static inline int fake_modify_locked(struct scout_sftp *s, struct scout_sftp_call *c,
				     struct scout_sftp_name *names)
{
	struct fake_node *n;

	switch (c->op) {
	case SCOUT_SFTP_WRITE:
		return fake_write_locked(s, c);
	case SCOUT_SFTP_FSETSTAT:
		fake_change_locked(fake_node_of(s, c), c->set);
		return 0;
	case SCOUT_SFTP_SETSTAT:
	case SCOUT_SFTP_LSETSTAT:
		n = fake_find_locked(c->path);
		if (!n)
			return -ENOENT;
		fake_change_locked(n, c->set);
		return 0;
	case SCOUT_SFTP_MKDIR:
		if (fake_find_locked(c->path))
			return fake_failure(c);
		fake_mkdir_locked(c->path, 0);
		if (c->set)
			fake_change_locked(&fake.nodes[fake.nnodes - 1], c->set);
		return 0;
	case SCOUT_SFTP_RMDIR:
	case SCOUT_SFTP_REMOVE:
		return fake_remove_locked(c);
	case SCOUT_SFTP_RENAME:
	case SCOUT_SFTP_POSIX_RENAME:
		return fake_rename_locked(c);
	case SCOUT_SFTP_SYMLINK:
		if (fake_find_locked(c->path))
			return fake_failure(c);
		fake_add_locked(c->path, strlen(c->path2), fake.now, 0);
		n = &fake.nodes[fake.nnodes - 1];
		n->mode = S_IFLNK | 0777;
		memcpy(n->data, c->path2, n->size + 1);
		return 0;
	case SCOUT_SFTP_HARDLINK:
		n = fake_find_locked(c->path);
		if (!n)
			return -ENOENT;
		if (fake_find_locked(c->path2))
			return fake_failure(c);
		fake_add_locked(c->path2, n->size, n->mtime, 0);
		return 0;
	case SCOUT_SFTP_USERS_GROUPS:
		assert_true(c->set->uid == fake.server.uid && c->set->gid == fake.server.gid);
		names[0].name = "deploy";
		names[1].name = "";
		c->names = names;
		c->names_count = 2;
		return 0;
	case SCOUT_SFTP_STATVFS:
		c->space = fake.space;
		return 0;
	case SCOUT_SFTP_COPY_DATA:
		return fake_copy_locked(s, c);
	case SCOUT_SFTP_FSYNC:
		(void)fake_node_of(s, c);
		return 0;
	default:
		return -EIO;
	}
}

/* names gets 100 entries "0", "1"…, of which the third is one that no file can have. */
static inline int fake_readdir_locked(struct scout_sftp *s, struct scout_sftp_call *c,
				      struct scout_sftp_name *names, char (*text)[16])
{
	struct fake_handle h;
	struct fake_node *n = fake_node_of(s, c);

	memcpy(&h, c->handle->bytes, sizeof h);
	c->names_count = 0;
	for (unsigned *at = (unsigned *)&n->data[0]; *at < n->entries && c->names_count < 100;) {
		(void)snprintf(text[c->names_count], 16, *at == 2 ? "a/b" : "%u", *at);
		names[c->names_count].name = text[c->names_count];
		names[c->names_count].attrs = (struct scout_sftp_attrs){
		    .has = 15,
		    .size = *at + n->of_bytes,
		    .mtime = n->of_mtime,
		    .mode = n->of_folders ? S_IFDIR | 0755 : S_IFREG | 0600,
		};
		c->names_count++;
		++*at;
	}
	c->names = names;
	return 0;
}

static inline int fake_answer_locked(struct scout_sftp *s, struct scout_sftp_call *c,
				     struct scout_sftp_name *names, char (*text)[16])
{
	struct fake_node *n;

	switch (c->op) {
	case SCOUT_SFTP_LSTAT:
	case SCOUT_SFTP_STAT:
		n = fake_find_locked(c->path);
		if (!n)
			return -ENOENT;
		fake_attrs(n, &c->attrs);
		return 0;
	case SCOUT_SFTP_FSTAT:
		fake_attrs(fake_node_of(s, c), &c->attrs);
		return 0;
	case SCOUT_SFTP_OPEN:
		return fake_open_locked(s, c);
	case SCOUT_SFTP_OPENDIR: {
		int err = fake_open_locked(s, c);

		n = fake_find_locked(c->path);
		if (!err) {
			free(n->data);
			n->data = calloc(1, sizeof(unsigned)); /* where READDIR is */
		}
		return err;
	}
	case SCOUT_SFTP_READ:
		return fake_read_locked(s, c);
	case SCOUT_SFTP_READDIR:
		return fake_readdir_locked(s, c, names, text);
	case SCOUT_SFTP_READLINK:
		n = fake_find_locked(c->path);
		if (!n || !S_ISLNK(n->mode))
			return -ENOENT;
		names[0].name = (const char *)n->data;
		c->names = names;
		c->names_count = 1;
		return 0;
	case SCOUT_SFTP_CLOSE:
		return 0;
	default:
		return fake_modify_locked(s, c, names);
	}
}

#endif
