/* AWS Signature Version 4 in the Authorization header ("Signature Version 4 signing process" of the
 * AWS General Reference; "Authenticating Requests: Using the Authorization Header" of the S3 API). */
#ifndef SCOUTFS_S3_SIGV4_H
#define SCOUTFS_S3_SIGV4_H

#include <stddef.h>
#include <time.h>

#include "scoutfs/s3.h"

/* SHA-256 of nothing: the payload of every GET and HEAD. */
#define SCOUT_SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

#define SCOUT_SIGV4_DATE_MAX 17 /* "20130524T000000Z" and NUL */

struct scout_sigv4_header {
	const char *name;  /* lower case */
	const char *value; /* no blanks around it, no two in a row */
};

/* What is signed. */
struct scout_sigv4_request {
	const char *method;
	const char *path;  /* as sent: percent-encoded once, no normalising (S3) */
	const char *query; /* as sent: encoded and sorted; "" for none */
	const struct scout_sigv4_header
	    *headers; /* sorted by name; host and x-amz-date among them */
	size_t nheaders;
	const char *payload_sha256; /* in hex */
};

/* By whom, where and when. */
struct scout_sigv4_scope {
	const char *access_key_id;
	const char *secret_access_key;
	const char *region;
	const char *service;
	const char *date; /* x-amz-date's value */
};

/* x-amz-date's value for when. */
void scout_sigv4_date(char buf[SCOUT_SIGV4_DATE_MAX], time_t when);

/* A payload's SHA-256 in hex. Returns 0 or -EIO when libcrypto fails. */
int scout_sigv4_hash(const void *bytes, size_t len, char ret[SCOUT_SHA256_MAX]);

/* *ret is the Authorization header's value (malloc'ed). Returns 0, -ENOMEM, or -EIO when libcrypto
 * fails. */
int scout_sigv4_sign(const struct scout_sigv4_request *request,
		     const struct scout_sigv4_scope *scope, char **ret);

#endif
