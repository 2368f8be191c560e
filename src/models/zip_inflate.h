/* Inflating one member from anywhere: streams, and the points they can start from. */
#ifndef MODELS_ZIP_INFLATE_H
#define MODELS_ZIP_INFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#define SCOUT_ZIP_WINDOW 32768

/* A place between two blocks of a deflate stream (RFC 1951). */
struct scout_zip_point {
	uint64_t in, out; /* bytes before it */
	uint32_t crc;     /* of out's */
	uint16_t window_len;
	uint8_t bits; /* of the byte before in, that are the next block's */
	uint8_t byte; /* that byte */
	uint8_t window[SCOUT_ZIP_WINDOW];
};

/* Those of one member, a bounded number: when they become too many every other one goes. */
struct scout_zip_points {
	struct scout_zip_point **all; /* by out */
	size_t count;
	uint64_t spacing; /* of out; 0 is a default */
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

/* Opens s, or opens it anew, at the last point not behind out, or at the begin. Returns 0 or -ENOMEM. */
int scout_zip_stream_open(struct scout_zip_stream *s, const struct scout_zip_points *p,
			  uint64_t out);
void scout_zip_stream_close(struct scout_zip_stream *s); /* closed is fine */
/* Inflates from bytes, which are those at s->in, until these are used up, to is full, or the stream has
 * ended; notes points on the way. s->in and s->out tell how far it came. Returns 0, -EIO (no deflate
 * stream), or -ENOMEM. */
int scout_zip_stream_run(struct scout_zip_stream *s, struct scout_zip_points *p,
			 const uint8_t *bytes, size_t len, uint8_t *to, size_t room);

#endif
