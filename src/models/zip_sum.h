/* The CRC of a whole from its pieces, in whatever order they are read. Pure. */
#ifndef MODELS_ZIP_SUM_H
#define MODELS_ZIP_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCOUT_ZIP_SPANS 32

/* Zeroed knows nothing. */
struct scout_zip_sum {
	struct {
		uint64_t from, to;
		uint32_t crc;
	} spans[SCOUT_ZIP_SPANS]; /* sorted, none touches the next */
	size_t count;
	bool over; /* pieces too many, or across each other: it will not be known */
};

/* The bytes [from, to) have that CRC. True: [0, bytes) is now known, for the first time: its CRC is
 * *ret. */
bool scout_zip_sum_add(struct scout_zip_sum *s, uint64_t from, uint64_t to, uint32_t crc,
		       uint64_t bytes, uint32_t *ret);

#endif
