/* FNV-1a, 64 bits: the same for the same bytes, on every machine and in every run. Not for secrets, nor
 * against who chooses the bytes. Pure. */
#ifndef SCOUTFS_HASH_H
#define SCOUTFS_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SCOUT_HASH_START UINT64_C(0xcbf29ce484222325)

/* h, which begins as SCOUT_HASH_START, with len more bytes. */
static inline uint64_t scout_hash(uint64_t h, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

#endif
