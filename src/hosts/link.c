/* Symlink targets kept inside their host's tree, by rewriting their text; see link.h for why that is
 * enough. */
#include "hosts/link.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* Appends the components of from to clean (which may hold some already), without empty ones and "."
 * and with each ".." taking the one before it away; returns how many ".." found none to take. */
static unsigned normalise(const char *from, char *clean)
{
	size_t len = strlen(clean);
	unsigned up = 0;

	while (*from) {
		size_t n = strcspn(from, "/");

		if (n == 2 && !memcmp(from, "..", 2)) {
			char *slash = strrchr(clean, '/');

			if (!len)
				up++;
			*(slash ? slash : clean) = '\0';
			len = strlen(clean);
		} else if (n && !(n == 1 && *from == '.')) {
			if (len)
				clean[len++] = '/';
			memcpy(clean + len, from, n);
			len += n;
			clean[len] = '\0';
		}
		from += n;
		from += *from == '/';
	}
	return up;
}

/* The part of path below root, or path itself; both clean and without a slash in front. */
static const char *below(const char *root, const char *path)
{
	size_t n = strlen(root);

	if (!n || strncmp(path, root, n) || (path[n] && path[n] != '/'))
		return path;
	return path[n] ? path + n + 1 : path + n;
}

static unsigned depth_of(const char *path)
{
	unsigned depth = 0;

	for (; *path; path++)
		depth += *path == '/';
	return depth;
}

/* Whether target is relative, with ".." in front only. */
static bool is_tame(const char *target)
{
	bool named = false;

	if (*target == '/')
		return false;
	while (*target) {
		size_t n = strcspn(target, "/");

		if (n == 2 && !memcmp(target, "..", 2)) {
			if (named)
				return false;
		} else if (n && !(n == 1 && *target == '.')) {
			named = true;
		}
		target += n;
		target += *target == '/';
	}
	return true;
}

int scout_link_contain(const char *root, const char *path, const char *target,
		       struct scout_text *out)
{
	char clean[PATH_MAX] = "", clean_root[PATH_MAX] = "";
	const char *rest = clean;
	unsigned up, depth = depth_of(path);
	size_t before = out->len;

	if (!*target || strlen(target) >= PATH_MAX || strlen(root) >= PATH_MAX)
		return -EIO;
	up = normalise(target, clean);
	if (*target == '/') {
		(void)normalise(root, clean_root);
		rest = below(clean_root, clean);
		up = depth;
	} else if (up > depth) {
		up = depth;
	} else if (is_tame(target)) {
		scout_text_append(out, target, strlen(target));
		return out->failed ? -ENOMEM : 0;
	}
	for (unsigned i = 0; i < up; i++)
		scout_text_append(out, "../", 3);
	scout_text_append(out, rest, strlen(rest));
	if (out->failed)
		return -ENOMEM;
	if (out->len == before)
		scout_text_append(out, ".", 1);
	else if (!*rest)
		out->str[--out->len] = '\0'; /* "..", not "../" */
	return out->len - before < PATH_MAX ? 0 : -EIO;
}
