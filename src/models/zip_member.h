/* An open member of an archive, shared by all who have it open; private to zip_member.c and zip_job.c. */
#ifndef MODELS_ZIP_MEMBER_H
#define MODELS_ZIP_MEMBER_H

#include "models/zip.h"
#include "models/zip_format.h"
#include "models/zip_inflate.h"
#include "models/zip_sum.h"

#define SCOUT_MEMBER_STREAMS 2
/* One for what is inflated, and those it is inflated into. */
#define SCOUT_MEMBER_BUFS (1 + SCOUT_READ_MAX / SCOUT_BUF_BYTES)

_Static_assert(SCOUT_MEMBER_BUFS <= SCOUT_READ_BUFS, "a ticket is enough");

/* A read of a member. */
struct scout_member_read {
	struct scout_asker asker;
	struct scout_req inner; /* of a stored member: of the archive's own bytes */
	struct scout_req *req;
	struct scout_member *member;    /* alive until req is done, as is file */
	struct scout_models_file *file; /* the reader's own */
	uint64_t offset;
	size_t size;
	uint64_t version;
	TAILQ_ENTRY(scout_member_read) link; /* member->pending */
};
TAILQ_HEAD(scout_member_reads, scout_member_read);

struct scout_member_key {
	const struct scout_object *object;
	uint64_t header;
};

struct scout_member {
	struct scout_zip_job job;

	/* immutable */
	struct scout_models *m;
	struct scout_models_file *file; /* for the header, and for what is inflated */
	struct scout_zip_entry entry;   /* its path is not valid */
	char *inside;                   /* its path */
	uint64_t id;                    /* in zips->proven */
	struct scout_member_key key;

	atomic_uint refs; /* handles, and the job under way */
	unsigned handles; /* under zips->lock */
	/* immutable: of scout_result; 0: what the kernel may have of it was proven */
	uint64_t pages;
	UT_hash_handle hh;

	struct scout_mutex lock;           /* SCOUT_LOCK_LEAF */
	struct scout_member_reads pending; /* under lock */
	bool busy;                         /* under lock: its job is under way */
	int err;                           /* under lock: it is broken */
	uint64_t data;                     /* under lock: where its data is; 0: not known yet */
	struct scout_zip_sum sum;          /* under lock: of what was handed out */

	/* the job's */
	struct scout_waiter waiter;
	struct scout_req req;
	struct scout_member_read *read; /* being answered, or NULL */
	struct scout_zip_stream *stream;
	struct scout_zip_stream streams[SCOUT_MEMBER_STREAMS];
	struct scout_zip_points points;
	bool ticket;
	size_t nbufs;
	uint8_t *bufs[SCOUT_MEMBER_BUFS];
	uint8_t *to; /* the bytes that were asked for go there */
	size_t want, got;
	int io_err;
	uint32_t before; /* the CRC of all before what is being read */
	uint64_t in_at;  /* bufs[0] has in_len bytes of the data at in_at */
	size_t in_len;
	uint8_t head[SCOUT_ZIP_LOCAL];
};

/* zip_job.c */
/* Starts the job of b, which was marked busy by the caller; no lock held. */
void scout_member_start(struct scout_member *b);
void scout_member_job_destroy(struct scout_member *b);

/* zip_member.c */
void scout_member_unref(struct scout_member *b);
/* The end of r; no lock held. b may be gone afterwards, unless the caller has a reference. */
void scout_member_reply(struct scout_member_read *r, int err, const struct scout_result *res);
/* Has the bytes of a stored member, whose data is at data, read. */
void scout_member_read_stored(struct scout_member_read *r, uint64_t data);
/* Of the bytes that r is to be answered with: 0, or -EIO when what was read of its member is wrong. crc is
 * theirs; NULL: not known yet. No lock held. */
int scout_member_check(struct scout_member_read *r, const struct scout_result *res,
		       const uint32_t *crc);
/* From now on b cannot be read: words say why. Who opens it then has all fetched anew. Returns -EIO; no
 * lock held. */
int scout_member_broken(struct scout_member *b, const char *words);

#endif
