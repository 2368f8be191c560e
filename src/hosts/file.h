/* An open file of a host, in three parts: file.c (open, reopen, is it still the same), chunk.c (the
 * batches of READs that fill buffers), read.c (the kernel's reads, and reading ahead).
 *
 * What the three promise together: the bytes that one handle gives out all belong to one version of
 * the file, that of its open, or to one that only grew since. So READs go out in batches with an
 * FSTAT behind them, and a batch's bytes are given out when that FSTAT shows nothing else. */
#ifndef SCOUTFS_HOSTS_FILE_H
#define SCOUTFS_HOSTS_FILE_H

#include "hosts/hosts.h"
#include "hosts/window.h"

struct scout_batch;
struct scout_chunk;

/* One READ of a chunk; goes on until its bytes are there or the file ends. */
struct scout_part {
	struct scout_rpc rpc;
	struct scout_batch *batch;
	struct scout_chunk *chunk;
	uint32_t at, length; /* in the chunk */
	uint32_t got;        /* under file->lock */
};

enum scout_chunk_state { SCOUT_CHUNK_FILLING, SCOUT_CHUNK_READY, SCOUT_CHUNK_FAILED };

/* Some bytes of the file in one buffer. Under file->lock but for the buffer's bytes, which belong to
 * the session's thread while filling and do not change from ready on. */
struct scout_chunk {
	TAILQ_ENTRY(scout_chunk) link;  /* file->chunks, by offset, when shared */
	TAILQ_ENTRY(scout_chunk) batch; /* batch->chunks while filling, then a list to free */
	uint64_t offset;
	uint32_t length;   /* asked for */
	uint32_t filled;   /* once ready: fewer only at the end of the file */
	uint64_t consumed; /* bytes given out */
	uint64_t size;     /* the file's, as known when it was asked for */
	unsigned users;    /* reads that need it */
	enum scout_chunk_state state;
	int err;
	bool shared; /* in file->chunks */
	void *buf;
	unsigned nparts;
	struct scout_part parts[];
};
TAILQ_HEAD(scout_chunk_list, scout_chunk);

struct scout_reader;

struct scout_file {
	/* immutable after open */
	struct scout_host *host;
	char *path;
	bool direct;       /* the server says it is empty: read it to its end, whatever that is */
	bool looked_first; /* size and mtime are no newer than the handle */
	uint32_t part_bytes, chunk_bytes;

	TAILQ_ENTRY(scout_file) link; /* host->files, under host->lock */
	_Atomic uint64_t read_ns;     /* of the last read */

	struct scout_mutex lock;
	/* under lock, all of it */
	struct scout_handle *handle; /* NULL while it has to be opened anew */
	uint64_t size, mtime;
	uint64_t version; /* of the kernel's attributes, proved to be this file's */
	int dead;         /* -ESTALE from when it was seen */
	bool closed;
	bool given;    /* bytes, to a reader */
	unsigned refs; /* the handle, each batch, read, reopening and check under way */
	struct scout_window window;
	struct scout_chunk_list chunks;                  /* shared ones */
	TAILQ_HEAD(scout_readers, scout_reader) readers; /* wait for chunks */
	struct scout_readers unproven;                   /* wait for a check */
	TAILQ_HEAD(scout_batches, scout_batch) lost;     /* to send again once reopened */
	struct scout_reopen *reopen;                     /* under way */
	bool checking;
	uint64_t check_version; /* what the check is about to prove */
	bool bulk;              /* the handle was told */
};

/* file.c */
/* Completes req with a handle; flags as open(2)'s, mode with O_CREAT. */
void scout_file_open(struct scout_host *host, const char *path, int flags, mode_t mode,
		     struct scout_req *req);
void scout_file_release(struct scout_file *f);
void scout_file_unref(struct scout_file *f);
/* What FSTAT said, under file->lock: 0, having noted growth, or -ESTALE from now on. */
int scout_file_note_locked(struct scout_file *f, const struct scout_sftp_attrs *attrs);
/* h's session is gone: the file has no handle until it was opened anew. */
void scout_file_lost(struct scout_file *f, struct scout_handle *h);
/* Opens the file anew, once however many ask; then the lost batches are sent again. */
void scout_file_reopen(struct scout_file *f);
/* Proves that path still is this file (f->checking was set), then starts what is in f->unproven. */
void scout_file_check(struct scout_file *f);

/* chunk.c */
struct scout_batch *scout_batch_new(struct scout_file *f);
/* A chunk of [offset, offset + length) with buffer buf added to b. NULL: no memory. */
struct scout_chunk *scout_chunk_new_locked(struct scout_batch *b, uint64_t offset, uint32_t length,
					   void *buf, bool shared);
/* Sends b, or keeps it for the handle to come; an empty one is over at once. Takes over a reference
 * of the file. No lock held. */
void scout_batch_send(struct scout_batch *b);
void scout_batch_take_lost_locked(struct scout_file *f, struct scout_batches *ret);
/* Every batch of lost is sent again, or fails with err. */
void scout_batch_resume(struct scout_batches *lost, int err);
/* The shared chunk that holds offset, or NULL. */
struct scout_chunk *scout_chunk_find_locked(struct scout_file *f, uint64_t offset);
/* Takes c out of the window and, when nobody uses it, onto garbage. */
void scout_chunk_drop_locked(struct scout_file *f, struct scout_chunk *c,
			     struct scout_chunk_list *garbage);
/* Gives the buffers back. No lock held. */
void scout_chunk_free_all(struct scout_host *host, struct scout_chunk_list *garbage);
/* Gives one unread buffer back: of the file that was read least recently. arg: the hosts. */
bool scout_chunk_reclaim(void *arg);

/* read.c */
void scout_file_read(struct scout_file *f, uint64_t offset, size_t size, uint64_t version,
		     struct scout_req *req);
/* Moves the reads whose chunks have come to done, under file->lock. */
void scout_reader_collect_locked(struct scout_file *f, struct scout_readers *done);
void scout_reader_finish_all(struct scout_readers *done);
void scout_reader_take_unproven_locked(struct scout_file *f, struct scout_readers *ret);
/* Starts the reads that waited for the proof, or fails them. */
void scout_reader_proven(struct scout_readers *unproven, int err);

#endif
