/* Inside an upload: its parts, and the room for them. Only for upload*.c and part.c. */
#ifndef MODELS_PART_H
#define MODELS_PART_H

#include "models/upload.h"

/* A part, or all of a small object: buffers in a row, sent by one call. */
struct scout_upload_part {
	struct scout_s3_call call;
	struct scout_upload *upload;
	TAILQ_ENTRY(scout_upload_part) link; /* the upload's ready or sent */
	uint64_t bytes, bytes_max;
	size_t room; /* of the pool */
	size_t nbufs;
	char sha256[SCOUT_SHA256_MAX];
	uint8_t *bufs[];
};
TAILQ_HEAD(scout_upload_parts, scout_upload_part);

#define SCOUT_FEW_BYTES 1024 /* less than is kept of a file and a call in any case */

struct scout_upload_write {
	struct scout_req *req;
	uint64_t offset;      /* all before it that is not taken is zeros */
	size_t asked;         /* bytes */
	size_t size;          /* of them, that are to be taken */
	size_t at;            /* of them, that were */
	const uint8_t *bytes; /* NULL: they are in copy, or in few */
	uint8_t *copy;        /* one of pub's copies, or NULL */
	uint8_t few[SCOUT_FEW_BYTES];
};

struct scout_upload_flusher {
	struct scout_req *req;
	TAILQ_ENTRY(scout_upload_flusher) link;
};

enum scout_upload_state { SCOUT_UPLOAD_OPEN, SCOUT_UPLOAD_CLOSING, SCOUT_UPLOAD_PUBLISHED };

struct scout_upload {
	/* immutable */
	struct scout_publisher *pub;
	char *path, *key;
	uint64_t begun_ns, version;
	time_t begun;
	/* immutable once it is opened */
	bool appends;            /* to its end, wherever the kernel thinks that is */
	uint64_t replaced_bytes; /* what the kernel may think it is; 0: there was nothing */

	atomic_uint refs; /* its handle's, and one of each call, wait and thread that is with it */

	struct scout_mutex lock; /* SCOUT_LOCK_OBJECT */
	/* under lock */
	bool running, again; /* one thread at a time goes on with it */
	enum scout_upload_state state;
	int err; /* why it will not be published; 0: it may be */
	char why[200];
	uint64_t taken;                   /* bytes written */
	uint64_t grown;                   /* the least that it is to be when it is closed */
	uint64_t owed_from, owed;         /* to be taken: from where to where writes failed */
	struct scout_upload_write *write; /* the one that waits, or NULL */
	TAILQ_HEAD(, scout_upload_flusher) flushers; /* wait for its end */
	struct scout_upload_part *part;              /* being filled, or NULL */
	struct scout_upload_parts ready, sent;       /* full ones */
	unsigned nparts;                             /* begun */
	char **etags;                                /* of the sent parts that S3 has */
	size_t etags_size;
	bool multipart;
	char *id;     /* of the multipart upload, or NULL */
	void *buffer; /* for the part's next bytes */
	bool wants_buffer;
	struct scout_waiter waiter;

	struct scout_s3_call call;  /* all but PART and PUT, one at a time */
	bool busy;                  /* it, the PUT, or the question is under way */
	struct scout_s3_call *vain; /* that which is, if nobody misses it once u has failed */
	struct scout_text xml;      /* its body */
	char sha256[SCOUT_SHA256_MAX];
	bool checked;       /* nobody else was first */
	bool unconditional; /* it was refused with a condition, perhaps for another reason */
	int doubt;          /* the error after which it may be there all the same */
	char mark[40];      /* immutable: of this upload alone */
	bool marked;        /* the object that is there has it */
	bool stored;        /* it is there */
	bool confirmed;     /* and was looked at */
	struct scout_asker asker;
	bool told, cancelled, aborted, settled; /* of one that failed */

	/* under pub->lock */
	bool opened;   /* its name is known to be one that may be written */
	bool replaces; /* an object that is there; immutable once it is opened */
	size_t wants_room, got_room;
	bool in_queue;
	struct scout_req *queued; /* what waits for room there, or NULL */
	bool resuming;            /* in a list by resume */
	bool listed;              /* in by_path */
	const char *own_id;       /* id, once it is known */
	TAILQ_ENTRY(scout_upload) link, queue_link;
	UT_hash_handle hh;

	TAILQ_ENTRY(scout_upload) resume; /* of the thread that gave it something, while resuming */
};

/* Goes on with u as far as it can; the caller has a reference and no lock. */
void scout_upload_run(struct scout_upload *u);
/* Its name is free for others. */
void scout_upload_unlist(struct scout_upload *u);
/* It will not be published; the first reason counts. u->lock is held. */
void scout_upload_fail_locked(struct scout_upload *u, int err, const char *why);

/* Answers who writes or closes; u->lock is held, and given up meanwhile. untaken: of what was written. */
void scout_upload_answer_locked(struct scout_upload *u, struct scout_req *req, int err,
				size_t untaken);
/* Likewise the write that waits. */
void scout_upload_end_write_locked(struct scout_upload *u, int err);
/* Takes one of the zeros that are missing at its end, and some more. True: look again. */
bool scout_upload_fill_locked(struct scout_upload *u);

/* part.c; u->lock is held for _locked, and may be given up meanwhile. */
/* The part and the buffer for its next byte: true when something came of it, false when u waits. */
bool scout_part_begin_locked(struct scout_upload *u);
bool scout_part_buffer_locked(struct scout_upload *u);
/* A buffer for the bytes of a write that waits; NULL: all that there are for these are used up, or memory is.
 * No lock held, and NULL is fine for put. */
void *scout_copy_get(struct scout_publisher *pub);
void scout_copy_put(struct scout_publisher *pub, void *buf);
/* Gives up what u waits for and what it was given. */
void scout_part_leave_locked(struct scout_upload *u);
void scout_part_free(struct scout_upload_part *p); /* no lock held; NULL is fine */
/* The most bytes that an object can have. */
uint64_t scout_part_all_bytes(const struct scout_publisher *pub);
/* One without room, for an object without bytes. */
struct scout_upload_part *scout_part_empty(struct scout_upload *u);
/* Sends it: its call's done comes later. No lock held. */
void scout_part_send(struct scout_upload_part *p, const struct scout_s3_call *call);
/* Whoever waits for u, or for room, sees it get on. No lock held. */
void scout_upload_gets_on(struct scout_upload *u);

/* finish.c: the next step of one that is being closed, or has failed. True: look again. */
bool scout_upload_close_locked(struct scout_upload *u);
bool scout_upload_give_up_locked(struct scout_upload *u);
/* Whether whoever closes it, which failed, is to wait until S3 has taken its parts back. */
bool scout_upload_aborts_locked(const struct scout_upload *u);
/* Begins the multipart upload. */
void scout_upload_create_locked(struct scout_upload *u);

#endif
