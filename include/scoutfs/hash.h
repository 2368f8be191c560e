/* FNV-1a, 64 bits: the same for the same bytes, on every machine and in every run. Not for secrets, nor
 * against who chooses the bytes. Pure. */
#ifndef SCOUTFS_HASH_H
#define SCOUTFS_HASH_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SCOUT_HASH_START UINT64_C(0xcbf29ce484222325)

/* h, which begins as SCOUT_HASH_START, with len more bytes. */
static inline uint64_t scout_hash(uint64_t h, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* What the inode number of name in the folder ino is made of. */
static inline uint64_t scout_hash_ino(uint64_t ino, const char *name)
{
	uint64_t folder = htole64(ino);

	return scout_hash(scout_hash(SCOUT_HASH_START, &folder, sizeof folder), name, strlen(name));
}

#endif
