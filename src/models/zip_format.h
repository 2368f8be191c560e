/* What of a zip archive is read to know its members (PKWARE's APPNOTE.TXT 6.3.9, by its sections):
 * the records at its end, the headers of its central directory, a member's local header. */
#ifndef MODELS_ZIP_FORMAT_H
#define MODELS_ZIP_FORMAT_H

#include "models/zip_names.h"

/* The end-of-directory records are within so many bytes of the archive's end (4.3.14 to 4.3.16, with the
 * longest comment). */
#define SCOUT_ZIP_TAIL ((size_t)76 + 22 + 65535)
#define SCOUT_ZIP_LOCAL 30 /* a local header without its names */

struct scout_zip_end {
	uint64_t start, bytes; /* the central directory */
	uint64_t members;
	uint64_t
	    shift; /* what was put in front of the archive moved all that it points to by so much */
};

/* tail: the last len bytes of an archive (of archive_bytes), SCOUT_ZIP_TAIL or all of it. Returns 0, or
 * -EIO and in *why what is wrong, in words. */
int scout_zip_find_end(const uint8_t *tail, size_t len, uint64_t archive_bytes,
		       struct scout_zip_end *ret, const char **why);

/* The central directory, as it comes. */
struct scout_zip_reader {
	struct scout_zip_end end;
	struct scout_zip_names *names;
	uint64_t members, taken; /* headers, and bytes */
	uint8_t *part;           /* a header that has not come whole, or NULL */
	size_t part_len;
	bool over; /* there are no more headers: what else the directory has need not be taken */
};

/* names is borrowed; end is from scout_zip_find_end. */
void scout_zip_reader_init(struct scout_zip_reader *r, const struct scout_zip_end *end,
			   struct scout_zip_names *names);
/* The next bytes of the directory. Returns 0, -ENOMEM, -EFBIG (names and members are too many), or -EIO
 * and *why. */
int scout_zip_reader_take(struct scout_zip_reader *r, const uint8_t *bytes, size_t len,
			  const char **why);
/* All has come, or r->over: builds the names. Likewise. */
int scout_zip_reader_finish(struct scout_zip_reader *r, const char **why);
void scout_zip_reader_destroy(struct scout_zip_reader *r);

/* How far behind its local header (SCOUT_ZIP_LOCAL bytes) a member's data begins, or -EIO. */
int scout_zip_local(const uint8_t *header);

#endif
