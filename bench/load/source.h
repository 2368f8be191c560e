/* Where a client downloads from: a file, which may lie in a mount, or an object of S3. */
#ifndef LOAD_SOURCE_H
#define LOAD_SOURCE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct load_source;

/* target: a path, or http(s)://ENDPOINT/BUCKET/KEY with KEY as it stands in a URL, signed with
 * AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION (none: not signed). One for each
 * client. Once load_source_init was called. NULL: no memory. */
struct load_source *load_source_new(const char *target);
void load_source_free(struct load_source *s);
int load_source_init(const char *target); /* 0 or -ENOMEM; before any thread */

/* Downloads all of it once; every byte is counted in *bytes as it comes. 0: it came whole; -1: it did not,
 * and why stands in error (len bytes). Blocks. */
int load_source_read(struct load_source *s, _Atomic uint64_t *bytes, char *error, size_t len);

#endif
