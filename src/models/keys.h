/* What makes an object's key a file name, and what of a key that cannot be one. */
#ifndef MODELS_KEYS_H
#define MODELS_KEYS_H

#include <stddef.h>
#include <stdint.h>

/* The longest key that S3 stores (Amazon S3 user guide, "Naming objects"). */
#define SCOUT_KEY_MAX 1024

enum scout_key_kind {
	SCOUT_KEY_FILE,
	SCOUT_KEY_DIR,  /* "a/b/", 0 bytes: a folder marker */
	SCOUT_KEY_ROOT, /* the prefix itself */
	/* left out, and why */
	SCOUT_KEY_EMPTY_NAME,
	SCOUT_KEY_DOTS,
	SCOUT_KEY_NUL,
	SCOUT_KEY_LONG_NAME,
	SCOUT_KEY_LONG_PATH,
	SCOUT_KEY_SLASH_WITH_BYTES, /* "a/" that is not empty */
	SCOUT_KEY_ALSO_FOLDER,      /* told by the tree, which sees both */
	SCOUT_KEY_SLASH_IN_ID,      /* of a version; told by its listing */
	SCOUT_KEY_KINDS
};
#define SCOUT_KEY_LEFT_OUT SCOUT_KEY_EMPTY_NAME

/* path is the key behind the prefix (len bytes, any), bytes the object's size. */
enum scout_key_kind scout_key_judge(const char *path, size_t len, uint64_t bytes);
/* For a reason of leaving out: words for a person. */
const char *scout_key_reason(enum scout_key_kind kind);

/* strcmp of paths, with the slash before all other bytes, so that what is in "a/" stands together, apart from
 * "a-b". */
int scout_key_compare(const char *a, const char *b);

/* 64 bits that differ when the ETag does, quotes aside (HEAD and the listing must agree); of size
 * and time when the server told no ETag. */
uint64_t scout_key_version(const char *etag, uint64_t bytes, int64_t modified);

#endif
