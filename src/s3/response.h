/* What a server answered: the status line, the headers that matter, the start of an error's body. */
#ifndef SCOUTFS_S3_RESPONSE_H
#define SCOUTFS_S3_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "s3/place.h"
#include "scoutfs/s3.h"

#define SCOUT_S3_ERROR_BODY_MAX 4096
#define SCOUT_S3_CODE_MAX 64

/* Zeroed before each attempt. */
struct scout_s3_response {
	int status; /* 0: no answer yet */
	bool has_length;
	uint64_t length; /* Content-Length */
	bool has_range;
	uint64_t first, last, total;      /* Content-Range: bytes first-last/total */
	char etag[SCOUT_ETAG_MAX];        /* "": none, or not one */
	time_t modified;                  /* Last-Modified; 0: none */
	time_t date;                      /* Date; 0: none */
	unsigned retry_after_s;           /* Retry-After in seconds; 0: none */
	char region[SCOUT_S3_REGION_MAX]; /* x-amz-bucket-region */

	size_t header_bytes;
	char error_body[SCOUT_S3_ERROR_BODY_MAX + 1];
	size_t error_len;  /* kept of it */
	size_t error_seen; /* of it all */
};

/* One header line as it came, or the status line (a new one starts the answer over: 100 Continue).
 * False when the server sends more than any honest one would. */
bool scout_s3_response_header(struct scout_s3_response *r, const char *line, size_t len);
/* Body of an answer that is an error. False when it is too long to wait for its end. */
bool scout_s3_response_error(struct scout_s3_response *r, const char *bytes, size_t len);
/* "403 AccessDenied", or "403" when the body names no code; buf of at least 80 bytes. */
const char *scout_s3_response_reason(const struct scout_s3_response *r, char *buf, size_t cap);
/* S3's error code (its Error element's Code) in buf; "" when there is none. */
const char *scout_s3_response_code(const struct scout_s3_response *r, char buf[SCOUT_S3_CODE_MAX]);
/* The region that the bucket is in, by a header or the body of an error; "" when neither says it. */
void scout_s3_response_region(const struct scout_s3_response *r, char region[SCOUT_S3_REGION_MAX]);

#endif
