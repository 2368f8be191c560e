/* One small question over HTTP, asked and answered on the caller's thread: for credentials, not for
 * objects. Bounded in time and in size; redirects are not followed. */
#ifndef SCOUTFS_S3_HTTP_H
#define SCOUTFS_S3_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "s3/snapshot.h"

struct scout_http_question {
	const char *method; /* GET, PUT, POST */
	const char *url;
	const char *const *headers; /* "Name: value", up to a NULL; may be NULL */
	const char *body;           /* POST */
	long connect_ms, total_ms;
	bool direct;           /* through no proxy: secrets of this machine or its neighbour */
	const char *ca_bundle; /* or NULL */
	int stop_fd;           /* readable: give up */
};

struct scout_http_answer {
	long status;
	int64_t skew_s; /* the server's clock less ours, by its Date; 0 without one */
	char *body;     /* NUL-terminated */
	size_t len;
};

/* Returns 0 with any status; -ECANCELED (stopped), -EIO (no answer, or too long a one), -ENOMEM; reason
 * says why. */
int scout_http_ask(const struct scout_http_question *q, struct scout_http_answer *ret,
		   char reason[SCOUT_S3_REASON_MAX]);
/* Wipes the body; zeroed is fine. */
void scout_http_answer_free(struct scout_http_answer *a);

#endif
