/* What was proven right: a table of 8 places for each of so many remainders of an id. An archive may have
 * members by the hundred thousand, and each open asks for one. Pure; the caller locks. */
#include "models/proven.h"

#include <stddef.h>
#include <string.h>

#define LAST ((size_t)SCOUT_PROVEN_WAYS - 1)

static uint64_t *set_of(struct scout_proven *p, uint64_t id)
{
	return p->ids[id % SCOUT_PROVEN_SETS];
}

/* Its place, or the last one. */
static size_t find(const uint64_t *set, uint64_t id)
{
	size_t at = 0;

	while (at < LAST && set[at] != id)
		at++;
	return at;
}

void scout_proven_add(struct scout_proven *p, uint64_t id)
{
	uint64_t *set = set_of(p, id);

	memmove(&set[1], &set[0], find(set, id) * sizeof(*set));
	set[0] = id;
}

bool scout_proven_has(struct scout_proven *p, uint64_t id)
{
	uint64_t *set = set_of(p, id);
	bool has = id != 0 && set[find(set, id)] == id;

	if (has)
		scout_proven_add(p, id); /* the first one now */
	return has;
}

void scout_proven_remove(struct scout_proven *p, uint64_t id)
{
	uint64_t *set = set_of(p, id);
	size_t at = find(set, id);

	if (set[at] != id)
		return;
	memmove(&set[at], &set[at + 1], (LAST - at) * sizeof(*set));
	set[LAST] = 0;
}
