/* An open file of a host, in parts: open.c, file.c (opening anew, is it still the same), chunk.c (the
 * batches of READs that fill buffers), read.c (the kernel's reads, and reading ahead), write.c and
 * sync.c (what goes out in the order of its node, turn.h), stripe.c (writes over several sessions).
 *
 * What the readers promise together: the bytes that one handle gives out all belong to one version of
 * the file, that of its open, or to one that only grew since, but for our own changes. So READs go out
 * in batches with an FSTAT behind them, and a batch's bytes are given out when that FSTAT shows
 * nothing else. A handle that can write shows the file as it is, whoever changes it. */
#ifndef SCOUTFS_HOSTS_FILE_H
#define SCOUTFS_HOSTS_FILE_H

#include "hosts/hosts.h"
#include "hosts/stripe.h"
#include "hosts/turn.h"
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
	uint64_t epoch;    /* the node's, then */
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

#define SCOUT_KEPT_MAX 256

/* The last bytes that are known of a file, which end at end. */
struct scout_kept {
	uint64_t end, cut; /* cut: the node's, when they were read */
	uint32_t length;
	char bytes[SCOUT_KEPT_MAX];
};

struct scout_file {
	/* immutable after open */
	struct scout_host *host;
	struct scout_node *node;
	bool writes, appends;
	uint32_t flags;    /* of OPEN, to open it anew */
	bool direct;       /* the server says it is empty: read it to its end, whatever that is */
	bool looked_first; /* size and mtime are no newer than the handle */
	uint32_t part_bytes, chunk_bytes;
	uint32_t write_bytes, piece_bytes; /* of one WRITE, of all in one buffer */

	TAILQ_ENTRY(scout_file) link; /* host->files, under host->lock */
	_Atomic uint64_t read_ns;     /* of the last read */

	/* under node->lock */
	TAILQ_ENTRY(scout_file) link_node; /* node->files, */
	bool entered;                      /* once it is there */
	unsigned turns;                    /* of it, in the node's queue */
	unsigned nsent;                    /* of these, sent and not answered */
	bool losing; /* a write was lost, and other turns of that session are still to come back */
	bool narrowing;     /* a write's error is being looked into */
	bool reopen_later;  /* when nsent is 0 */
	bool released;      /* nobody is left to be told */
	bool wrote;         /* since the last flush */
	bool unsynced;      /* answered, and not yet known to be on the server's disk */
	bool unsynced_lost; /* with the session, or another's with its */
	int write_err;      /* not yet told */
	/* Told by a write alone: of a later part of a write(2) the kernel makes a short one, and keeps
	 * the error to itself. So it is told again. */
	int whispered_err;
	struct scout_stripes stripes;

	struct scout_mutex lock;
	/* under lock, all of it */
	struct scout_handle *handle; /* NULL while it has to be opened anew */
	uint64_t size, mtime;
	uint64_t told;       /* the node's count, with these */
	uint64_t epoch, cut; /* the node's, which these belong to; epoch 0: not known */
	uint64_t version;    /* of the kernel's attributes, proved to be this file's */
	int dead;            /* -ESTALE from when it was seen */
	bool closed;
	bool given;   /* bytes, to a reader */
	bool doubted; /* an open saw another file at its path: it has the handle, until a look */
	struct scout_kept kept; /* to know it again by; of a file that is only read */
	/* Its path showed what another had made of it, or in its place: whatever differs now is not ours alone. */
	bool altered;
	/* What is here was asked for before anybody read it: then, when the host's changes were so many; 0: no. */
	uint64_t ahead_ns;
	unsigned ahead_changes;
	bool expected; /* one of the host's */
	unsigned refs; /* the handle, each batch, read, reopening and check under way */
	struct scout_window window;
	uint64_t swept;                 /* the node's epoch, which all of chunks are of */
	struct scout_chunk_list chunks; /* shared ones */
	TAILQ_HEAD(scout_readers, scout_reader) readers; /* wait for chunks */
	struct scout_readers unproven;                   /* wait for a check */
	TAILQ_HEAD(scout_batches, scout_batch) lost;     /* to send again once reopened */
	struct scout_reopen *reopen;                     /* under way */
	bool checking;
	uint64_t check_version; /* what the check is about to prove */
	bool bulk;              /* the handle was told */
};

/* open.c */
/* Completes req with a handle; flags as open(2)'s, mode with O_CREAT. */
void scout_file_open(struct scout_host *host, const char *path, int flags, mode_t mode,
		     struct scout_req *req);

/* file.c */
/* With one reference, which is not yet among its node's; NULL: no memory. */
struct scout_file *scout_file_new(struct scout_host *host, const char *path);
void scout_file_release(struct scout_file *f);
struct scout_file *scout_file_ref(struct scout_file *f);
void scout_file_unref(struct scout_file *f);
/* Lets go of the handle, if it is released and nothing is left to be sent on it. */
void scout_file_drop(struct scout_file *f);
/* Whether now, a look of the node's epoch, may be of f, under file->lock; fits: as scout_node_fits. */
bool scout_file_is_like_locked(const struct scout_file *f, const struct scout_attr *now, bool fits,
			       uint64_t epoch);
/* What f's path showed, under node->lock and file->lock, in an epoch of the node, with nothing of ours under way:
 * has f altered if that is not what f was, or what we had left. */
void scout_file_compare_locked(struct scout_file *f, const struct scout_attr *seen, uint64_t epoch);
/* f is as now, which a look showed; under node->lock and file->lock, or before others know of f. */
void scout_file_told_locked(struct scout_file *f, const struct scout_attr *now);
/* Whether seen, of a look at f's path that went out when then was the node's, may be what f was meanwhile, before it
 * grew to what it was told to be. Under node->lock and file->lock. */
bool scout_file_was_locked(const struct scout_file *f, const struct scout_attr *seen,
			   const struct scout_told *then);
/* What FSTAT said, under node->lock and file->lock, asked for after view was taken: 0, having noted growth and
 * our own changes, or -ESTALE from now on. */
int scout_file_note_locked(struct scout_file *f, const struct scout_sftp_attrs *attrs,
			   const struct scout_view *view);
/* The same of a look whose outcome is nobody's error. No lock held. */
void scout_file_saw(struct scout_file *f, const struct scout_sftp_attrs *attrs,
		    const struct scout_view *view);
/* h's session is gone: the file has no handle until it was opened anew. */
void scout_file_lost(struct scout_file *f, struct scout_handle *h);
/* What was written and is not on the server's disk may be gone with it, whoever wrote it; under
 * node->lock. */
void scout_file_lose_unsynced_locked(struct scout_file *f);
/* Opens the file anew, once however many ask; then the lost batches are sent again. */
void scout_file_reopen(struct scout_file *f);
/* Proves that path still is this file (f->checking was set), then starts what is in f->unproven. */
void scout_file_check(struct scout_file *f);
/* One line; cause NULL: what err means. */
void scout_file_log(struct scout_file *f, const char *what, const char *cause, int err);

/* Its path leads nowhere any more, or to another: it was unlinked, or its host was retired. */
static inline bool scout_file_nameless(const struct scout_file *f)
{
	return atomic_load(&f->node->gone) || atomic_load(&f->host->retired);
}

/* copy.c */
/* As the backend's copy; both files are open until req is done. */
void scout_file_copy(struct scout_file *from, uint64_t from_offset, struct scout_file *to,
		     uint64_t to_offset, uint64_t length, struct scout_req *req);

/* write.c */
void scout_file_write(struct scout_file *f, uint64_t offset, const void *data, size_t size,
		      struct scout_req *req);

/* sync.c */
void scout_file_flush(struct scout_file *f, struct scout_req *req);
void scout_file_fsync(struct scout_file *f, struct scout_req *req);
void scout_file_getattr(struct scout_file *f, struct scout_req *req);
/* Adds t, which has ops, to what goes out for f; its end completes a request. No lock held. */
void scout_file_turn(struct scout_file *f, struct scout_turn *t);

/* fsetstat.c */
void scout_file_setattr(struct scout_file *f, const struct scout_setattr *change,
			struct scout_req *req);

/* chunk.c */
struct scout_batch *scout_batch_new(struct scout_file *f);
/* A chunk of [offset, offset + length) with buffer buf added to b. NULL: no memory. */
struct scout_chunk *scout_chunk_new_locked(struct scout_batch *b, uint64_t offset, uint32_t length,
					   void *buf, bool shared);
/* A file that came whole in buf before it was opened. False: no memory, and buf stays the caller's. */
bool scout_chunk_whole_locked(struct scout_file *f, void *buf);
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
/* Of so many bytes a file is small: read whole by most. */
#define SCOUT_FILE_SMALL ((uint64_t)32 * 1024)
/* f was just opened and is about to be read: if it is small, it is asked for at once, unless many are that nobody has
 * read yet. No lock held. */
void scout_file_expect(struct scout_file *f);
/* What f has was asked for before it was opened. */
void scout_file_ahead_locked(struct scout_file *f);
/* Nobody will read f, who has not. */
void scout_file_unexpect_locked(struct scout_file *f);
void scout_file_read(struct scout_file *f, uint64_t offset, size_t size, uint64_t version,
		     struct scout_req *req);
/* Moves the reads whose chunks have come to done, under file->lock. */
void scout_reader_collect_locked(struct scout_file *f, struct scout_readers *done);
void scout_reader_finish_all(struct scout_readers *done);
void scout_reader_take_unproven_locked(struct scout_file *f, struct scout_readers *ret);
/* Starts the reads that waited for the proof, or fails them. */
void scout_reader_proven(struct scout_readers *unproven, int err);

#endif
