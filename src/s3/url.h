/* A request's URL, with the parts that a signature needs. */
#ifndef SCOUTFS_S3_URL_H
#define SCOUTFS_S3_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "scoutfs/text.h"

struct scout_s3_place;

struct scout_s3_param {
	const char *name;
	const char *value;
};

struct scout_s3_url {
	char *url;
	char *host;  /* the Host header's value */
	char *path;  /* as in url: encoded */
	char *query; /* as in url, without the '?'; "" for none */
};

/* RFC 3986: all but A-Z a-z 0-9 - . _ ~ as %XX; '/' stays when keep_slash. */
void scout_s3_encode(struct scout_text *out, const char *text, bool keep_slash);

/* The parameters encoded and in the byte order of their encoded names, as signatures want them. */
#define SCOUT_S3_PARAMS_MAX 8
void scout_s3_query(struct scout_text *out, const struct scout_s3_param *params, size_t n);

/* key NULL: the bucket itself. Returns 0 or -ENOMEM. */
int scout_s3_url_new(const struct scout_s3_place *place, const char *key,
		     const struct scout_s3_param *params, size_t n, struct scout_s3_url *ret);
void scout_s3_url_free(struct scout_s3_url *url);

/* The endpoint is this machine: no proxy is asked for it. */
bool scout_s3_is_loopback(const char *endpoint);

#endif
