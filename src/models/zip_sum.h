/* The CRC of a whole from its pieces, in whatever order they are read. Pure. */
#ifndef MODELS_ZIP_SUM_H
#define MODELS_ZIP_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one whole; 96 KiB. */
#define SCOUT_ZIP_SPANS_MAX 4096

struct scout_zip_span {
	uint64_t from, to;
	uint32_t crc;
};

/* Zeroed knows nothing. */
struct scout_zip_sum {
	struct scout_zip_span *spans; /* sorted, none touches the next */
	size_t count, cap;
	bool over; /* the whole is known, or never will be: nothing more is wanted */
};

enum scout_zip_sum_state {
	SCOUT_ZIP_SUM_PART,
	SCOUT_ZIP_SUM_WHOLE, /* now, for the first time */
	SCOUT_ZIP_SUM_LOST   /* now: pieces too many, or no memory */
};

/* Narrows [*from, *to) to the first part of it that is still wanted; false: none is. What was read
 * before is not, whatever it is now. */
bool scout_zip_sum_wants(const struct scout_zip_sum *s, uint64_t *from, uint64_t *to);
/* The bytes [from, to) have that CRC; of a part that is not wanted nothing is taken. WHOLE: that of
 * [0, bytes) is *ret. */
enum scout_zip_sum_state scout_zip_sum_add(struct scout_zip_sum *s, uint64_t from, uint64_t to,
					   uint32_t crc, uint64_t bytes, uint32_t *ret);
void scout_zip_sum_destroy(struct scout_zip_sum *s);

#endif
