/* Inflating one member from anywhere: streams, and the points they can start from. */
#ifndef MODELS_ZIP_INFLATE_H
#define MODELS_ZIP_INFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <zlib.h>

#include "scoutfs/lock.h"

#define SCOUT_ZIP_WINDOW 32768
#define SCOUT_ZIP_STREAM_BYTES \
	((size_t)40 * 1024) /* an open stream: its window, and zlib's tables */

/* A place between two blocks of a deflate stream (RFC 1951). */
struct scout_zip_point {
	uint64_t in, out; /* bytes before it */
	uint32_t crc;     /* of out's */
	uint16_t window_len;
	uint8_t bits; /* of the byte before in, that are the next block's */
	uint8_t byte; /* that byte */
	uint8_t window[SCOUT_ZIP_WINDOW];
};

/* All members' points, a bounded number: when there are too many, those of the member whose points were
 * used least recently go, and its next jump costs more. */
struct scout_zip_pool {
	struct scout_mutex lock;               /* SCOUT_LOCK_LEAF */
	TAILQ_HEAD(, scout_zip_points) in_use; /* under lock: those that have any, by use */
	size_t count, max;                     /* under lock */
};

void scout_zip_pool_init(struct scout_zip_pool *pool, size_t max);
void scout_zip_pool_destroy(struct scout_zip_pool *pool); /* it is empty */
size_t scout_zip_pool_bytes(struct scout_zip_pool *pool);

/* Those of one member, a bounded number as well: when they become too many every other one goes. */
struct scout_zip_points {
	struct scout_zip_pool *pool; /* immutable; NULL: only the owner has them */
	/* under pool->lock */
	struct scout_zip_point **all; /* by out */
	size_t count;
	uint64_t spacing;                   /* of out; 0 is a default */
	TAILQ_ENTRY(scout_zip_points) link; /* pool->in_use, if count > 0 */
};

void scout_zip_points_destroy(struct scout_zip_points *p);
/* The out of the last one not behind out; 0: there is none. */
uint64_t scout_zip_points_before(const struct scout_zip_points *p, uint64_t out);

/* Where a member is being inflated; only one thread at a time uses one. Zeroed is a closed one. */
struct scout_zip_stream {
	z_stream z;
	uint64_t in, out; /* bytes taken and made, from the member's begin */
	uint32_t crc;     /* of all that was made, from the member's begin */
	bool open;
	bool ended; /* the deflate stream is at its end */
};

/* Opens s, or opens it anew, at the last point not behind out, or at the begin. Returns 0, or -ENOMEM: then it
 * is closed. */
int scout_zip_stream_open(struct scout_zip_stream *s, struct scout_zip_points *p, uint64_t out);
void scout_zip_stream_close(struct scout_zip_stream *s); /* closed is fine */
/* Inflates from bytes, which are those at s->in, until these are used up, to is full, or the stream has
 * ended; notes points on the way. s->in and s->out tell how far it came. Returns 0, -EIO (no deflate
 * stream), or -ENOMEM. */
int scout_zip_stream_run(struct scout_zip_stream *s, struct scout_zip_points *p,
			 const uint8_t *bytes, size_t len, uint8_t *to, size_t room);

#endif
