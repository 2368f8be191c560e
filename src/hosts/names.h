/* What a listing of a folder says, kept: names with their attributes, sorted by name, and the orders in which
 * programs go through them. Owned by whoever holds it; no lock. */
#ifndef SCOUTFS_HOSTS_NAMES_H
#define SCOUTFS_HOSTS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scoutfs/backend.h"
#include "scoutfs/text.h"

#define SCOUT_NAMES_MAX 1024
#define SCOUT_NAMES_BYTES_MAX ((size_t)64 * 1024)

struct scout_name {
	size_t at;       /* in text */
	unsigned rank;   /* as listed */
	uint64_t number; /* what its inode number is made of, once the folder's is known */
	struct scout_attr attr;
};

struct scout_names {
	struct scout_text text;
	struct scout_name *list;
	size_t count, cap;
	uint64_t ino; /* the folder's, by which they are numbered, or 0 */
	uint64_t began_ns;
	unsigned changes; /* the host's, before it began */
};

static inline const char *scout_names_str(const struct scout_names *n, const struct scout_name *e)
{
	return n->text.str + e->at;
}

/* False: there are too many, or no memory. */
bool scout_names_add(struct scout_names *n, const struct scout_dirent *entry);
/* After the last one was added: from then on it can be searched. */
void scout_names_sort(struct scout_names *n);
const struct scout_name *scout_names_find(const struct scout_names *n, const char *name);
/* Into ret, which is empty. False: no memory. */
bool scout_names_copy(struct scout_names *ret, const struct scout_names *n);
/* And is empty. */
void scout_names_free(struct scout_names *n);

/* As listed (find, grep -r), by name (cat *, ls -R, rsync), and by inode number (cp -r, tar). */
enum scout_order { SCOUT_ORDER_LISTED, SCOUT_ORDER_NAME, SCOUT_ORDER_INODE, SCOUT_ORDERS };
enum scout_kind { SCOUT_KIND_FILE, SCOUT_KIND_FOLDER, SCOUT_KINDS };

/* The one behind after (NULL: the first) of its kind: folders, or files that are not empty. ino: the folder's,
 * which its files' come of (scoutfs/hash.h). NULL: there is none. */
const struct scout_name *scout_names_next(struct scout_names *n, enum scout_order order,
					  enum scout_kind kind, uint64_t ino,
					  const struct scout_name *after);

#endif
