/* A file of the disk cache: up to 64 blocks of one version of an object. */
#ifndef MODELS_CACHE_FILE_H
#define MODELS_CACHE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scoutfs/budget.h"

#define SCOUT_SEGMENT_BLOCKS 64
#define SCOUT_SEGMENT_SUM 16
#define SCOUT_CACHE_KEY 32
#define SCOUT_CACHE_NAME_MAX 88 /* a file's */

/* What tells one version of an object from all others, wherever it comes from. */
struct scout_cache_id {
	uint8_t key[SCOUT_CACHE_KEY]; /* SHA-256 of all of it: the key of the blocks' sums, too */
	/* borrowed, for a person who looks at the file */
	const char *object, *etag;
	uint64_t bytes;
};

/* version_id may be NULL. Returns 0, or -ENOTSUP: libcrypto gives no hash. */
int scout_cache_id_make(struct scout_cache_id *id, const char *endpoint, const char *bucket,
			const char *object, const char *version_id, const char *etag,
			uint64_t bytes);

/* One that is open: of one thread. */
struct scout_segment {
	const struct scout_cache_id *id; /* borrowed */
	uint64_t number;
	int fd;
	bool made;                                             /* it was not there */
	uint8_t sums[SCOUT_SEGMENT_BLOCKS][SCOUT_SEGMENT_SUM]; /* all 0: not there */
};

/* "<hex of key>.<number>" */
void scout_segment_name(const struct scout_cache_id *id, uint64_t number,
			char name[SCOUT_CACHE_NAME_MAX]);
/* Whether name looks like a segment's. */
bool scout_segment_is_name(const char *name);

/* Opens one in dir, for reading, or for writing too and made if it is missing. What stands there and is not
 * it is removed. Returns 0, -ENOENT (only for reading), or -errno. */
int scout_segment_open(int dir, const struct scout_cache_id *id, uint64_t number, bool write,
		       struct scout_segment *ret);
void scout_segment_close(struct scout_segment *s);

/* The blocks that it claims to have, a bit each. */
uint64_t scout_segment_blocks(const struct scout_segment *s);
/* The kernel may fetch from the disk what is to be read of n blocks from block on. */
void scout_segment_will_read(const struct scout_segment *s, unsigned block, unsigned n);
/* Reads the len bytes of a block into buf. Returns 0; -ENOENT: it is not there; -EBADMSG: its bytes are
 * not those that were written; or -errno. */
int scout_segment_read(const struct scout_segment *s, unsigned block, void *buf, size_t len);
/* Writes it. Returns 0 or -errno. */
int scout_segment_write(struct scout_segment *s, unsigned block, const void *buf, size_t len);
/* It was used, if it is there. */
void scout_segment_touch(int dir, const struct scout_cache_id *id, uint64_t number);

#endif
