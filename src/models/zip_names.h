/* The members of an archive as files and folders: collected, built once, then immutable. */
#ifndef MODELS_ZIP_NAMES_H
#define MODELS_ZIP_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/keys.h"

/* What names and members of one archive may take. */
#define SCOUT_ZIP_NAMES_MAX ((size_t)64 * 1024 * 1024)

#define SCOUT_ZIP_STORED 0
#define SCOUT_ZIP_DEFLATED 8

/* Why a member is shown, but cannot be opened. */
enum scout_zip_refusal {
	SCOUT_ZIP_FINE,
	SCOUT_ZIP_ENCRYPTED,
	SCOUT_ZIP_METHOD,  /* compressed in a way that we do not know */
	SCOUT_ZIP_BOMB,    /* no deflate stream is that short */
	SCOUT_ZIP_SIZES,   /* stored, yet of two sizes */
	SCOUT_ZIP_OUTSIDE, /* not between the archive's begin and its directory */
	SCOUT_ZIP_OVERLAPS /* has bytes that are another's, too */
};

struct scout_zip_entry {
	uint64_t header; /* where its local header is */
	uint64_t packed; /* bytes in the archive */
	uint64_t bytes;
	int64_t modified;
	uint32_t path; /* in the arena: without a slash at its end, ended by NUL */
	uint32_t order;
	uint32_t crc;
	uint16_t path_len;
	uint16_t method;
	uint8_t refusal; /* enum scout_zip_refusal */
	bool dir, executable;
};

struct scout_zip_names {
	struct scout_zip_entry *entries; /* by path's components, once built */
	char *arena;
	size_t count, cap, arena_len, arena_cap;
	size_t left_out[SCOUT_KEY_KINDS]; /* names that cannot be file names */
	size_t replaced;                  /* by a later member of that name, or by a folder */
};

/* A file, or a folder: the entries [first, end), below skip bytes of their paths. */
struct scout_zip_place {
	const struct scout_zip_entry *entry; /* NULL: a folder without an entry of its own */
	uint32_t first, end;
	uint32_t skip;
	bool dir;
};

/* e->path and path_len are set here; path may be any bytes. Returns 0, -ENOMEM, or -EFBIG. */
int scout_zip_names_add(struct scout_zip_names *n, const struct scout_zip_entry *e,
			const char *path, size_t len);
/* No more are added: the members' data lies in [0, end) of the archive. Returns 0 or -ENOMEM. */
int scout_zip_names_build(struct scout_zip_names *n, uint64_t end);
void scout_zip_names_destroy(struct scout_zip_names *n);
size_t scout_zip_names_memory(const struct scout_zip_names *n);

/* "" is the root. False: there is nothing of that name. */
bool scout_zip_names_find(const struct scout_zip_names *n, const char *path,
			  struct scout_zip_place *ret);
/* The child of a folder that begins at entry at: its name (*len bytes, no NUL), itself in *ret. Returns
 * the entry at which the next child begins; the last one's is the folder's end. */
uint32_t scout_zip_names_child(const struct scout_zip_names *n, const struct scout_zip_place *dir,
			       uint32_t at, const char **name, size_t *len,
			       struct scout_zip_place *ret);

/* Words for a person. */
const char *scout_zip_refusal_words(enum scout_zip_refusal refusal);

#endif
