/* Whoever goes through a folder's files or subfolders one after the other: in which order, and so what comes
 * next. Pure. */
#ifndef SCOUTFS_HOSTS_WALK_H
#define SCOUTFS_HOSTS_WALK_H

#include <limits.h>

#include "hosts/names.h"

#define SCOUT_WALK_SURE 2 /* so many that came next, one after the other */

struct scout_walk {
	bool begun;
	char last[NAME_MAX + 1]; /* "": before the first */
	unsigned fits;           /* the orders that have been kept to: bits */
	unsigned run;            /* for how long */
	uint64_t visited_ns, gap_ns;
};

/* Before the first. run and fits: as of a walk through the folder's siblings, or 0. */
void scout_walk_begin(struct scout_walk *w, unsigned fits, unsigned run);
/* name is visited, in the folder ino (0: not known). True: it came next, as those before did. */
bool scout_walk_visit(struct scout_walk *w, struct scout_names *n, enum scout_kind kind,
		      uint64_t ino, const char *name, uint64_t now_ns);
/* What comes after after (NULL: after the last visited one). NULL: there is none. */
const struct scout_name *scout_walk_next(const struct scout_walk *w, struct scout_names *n,
					 enum scout_kind kind, uint64_t ino,
					 const struct scout_name *after);

static inline bool scout_walk_sure(const struct scout_walk *w)
{
	return w->run >= SCOUT_WALK_SURE;
}

#endif
