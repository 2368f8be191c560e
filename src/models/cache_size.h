/* How much a folder of segments holds, and making it hold less. */
#ifndef MODELS_CACHE_SIZE_H
#define MODELS_CACHE_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* More files than this are not kept, however small they are. */
#define SCOUT_SEGMENTS_MAX 50000

struct scout_cache_usage {
	uint64_t bytes; /* of the disk */
	size_t files;
};

/* What is there now. Returns 0 or -errno. */
int scout_cache_measure(int dir, struct scout_cache_usage *ret);
/* Removes those that were used longest ago until no more than that is there, and counts them. Returns 0
 * with what is left; -EAGAIN: somebody else is at it; -ENOMEM or -errno. */
int scout_cache_shrink(int dir, const struct scout_cache_usage *most, struct scout_cache_usage *ret,
		       size_t *removed);

#endif
