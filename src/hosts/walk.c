/* See walk.h. Programs go through a folder as it is listed, by name, or by inode number; each visit leaves those
 * orders in which it was next. A visit that fits none begins anew. */
#include "hosts/walk.h"

#include <stdio.h>
#include <string.h>

void scout_walk_begin(struct scout_walk *w, unsigned fits, unsigned run)
{
	*w = (struct scout_walk){.begun = true, .fits = fits, .run = fits ? run : 0};
}

/* The orders in which e is the next. */
static unsigned fitting(const struct scout_walk *w, struct scout_names *n, enum scout_kind kind,
			uint64_t ino, const struct scout_name *e)
{
	const struct scout_name *last = *w->last ? scout_names_find(n, w->last) : NULL;
	unsigned fits = 0;

	if (!w->begun || (*w->last && !last))
		return 0;
	for (unsigned order = 0; order < SCOUT_ORDERS; order++)
		if ((ino || order != SCOUT_ORDER_INODE) &&
		    scout_names_next(n, order, kind, ino, last) == e)
			fits |= 1u << order;
	return fits;
}

bool scout_walk_visit(struct scout_walk *w, struct scout_names *n, enum scout_kind kind,
		      uint64_t ino, const char *name, uint64_t now_ns)
{
	const struct scout_name *e = scout_names_find(n, name);
	unsigned fits;

	if (!e || !strcmp(w->last, name))
		return false;
	fits = fitting(w, n, kind, ino, e);
	if (w->run && w->fits & fits) {
		w->fits &= fits;
		w->run++;
	} else {
		w->fits = fits;
		w->run = fits != 0;
	}
	w->gap_ns = w->visited_ns ? (w->gap_ns + now_ns - w->visited_ns) / 2 : 0;
	w->visited_ns = now_ns;
	w->begun = true;
	(void)snprintf(w->last, sizeof w->last, "%s", name);
	return scout_walk_sure(w);
}

const struct scout_name *scout_walk_next(const struct scout_walk *w, struct scout_names *n,
					 enum scout_kind kind, uint64_t ino,
					 const struct scout_name *after)
{
	unsigned fits = ino ? w->fits : w->fits & ~(1u << SCOUT_ORDER_INODE), order = 0;

	if (!after && *w->last) {
		after = scout_names_find(n, w->last);
		if (!after)
			return NULL;
	}
	while (order < SCOUT_ORDERS && !(fits & 1u << order))
		order++;
	return order < SCOUT_ORDERS ? scout_names_next(n, order, kind, ino, after) : NULL;
}
