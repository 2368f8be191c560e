/* What makes an object's key a file name: S3 takes any bytes as a key, a directory does not. Keys
 * are the remote's word and trusted for nothing. Pure functions. */
#include "models/keys.h"

#include <limits.h>
#include <string.h>

#include "scoutfs/hash.h"

static enum scout_key_kind judge_name(const char *name, size_t len)
{
	if (len == 0)
		return SCOUT_KEY_EMPTY_NAME;
	if (len > NAME_MAX)
		return SCOUT_KEY_LONG_NAME;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return SCOUT_KEY_DOTS;
	return SCOUT_KEY_FILE;
}

enum scout_key_kind scout_key_judge(const char *path, size_t len, uint64_t bytes)
{
	enum scout_key_kind kind = SCOUT_KEY_FILE;
	size_t start = 0;

	if (len == 0)
		return SCOUT_KEY_ROOT;
	if (memchr(path, '\0', len))
		return SCOUT_KEY_NUL;
	if (len >= PATH_MAX)
		return SCOUT_KEY_LONG_PATH;
	if (path[len - 1] == '/') {
		if (bytes > 0)
			return SCOUT_KEY_SLASH_WITH_BYTES;
		kind = SCOUT_KEY_DIR;
		len--;
	}
	for (;;) {
		const char *slash = memchr(path + start, '/', len - start);
		size_t end = slash ? (size_t)(slash - path) : len;
		enum scout_key_kind name = judge_name(path + start, end - start);

		if (name != SCOUT_KEY_FILE)
			return name;
		if (!slash)
			return kind;
		start = end + 1;
	}
}

const char *scout_key_reason(enum scout_key_kind kind)
{
	switch (kind) {
	case SCOUT_KEY_EMPTY_NAME:
		return "an empty name between slashes";
	case SCOUT_KEY_DOTS:
		return "a name of dots";
	case SCOUT_KEY_NUL:
		return "a zero byte";
	case SCOUT_KEY_LONG_NAME:
		return "a name over 255 bytes";
	case SCOUT_KEY_LONG_PATH:
		return "a path too long";
	case SCOUT_KEY_SLASH_WITH_BYTES:
		return "a slash at the end, yet not empty";
	case SCOUT_KEY_ALSO_FOLDER:
		return "also a folder";
	case SCOUT_KEY_SLASH_IN_ID:
		return "a version's id with a slash";
	default:
		return "";
	}
}

/* The end before the slash, and the slash before all others. */
static int rank(char c)
{
	return c == '\0' ? 0 : c == '/' ? 1 : 1 + (unsigned char)c;
}

int scout_key_compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return rank(*a) - rank(*b);
}

uint64_t scout_key_version(const char *etag, uint64_t bytes, int64_t modified)
{
	uint64_t h = SCOUT_HASH_START;
	size_t len;

	if (etag && strncmp(etag, "W/", 2) == 0)
		etag += 2;
	len = etag ? strlen(etag) : 0;
	if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"') {
		etag++;
		len -= 2;
	}
	if (len > 0)
		return scout_hash(h, etag, len);
	h = scout_hash(h, &bytes, sizeof(bytes));
	return scout_hash(h, &modified, sizeof(modified));
}
