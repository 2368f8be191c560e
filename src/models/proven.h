/* Which objects, or members of archives, the kernel may keep the pages of: those that were right when all
 * was read. Pure. */
#ifndef MODELS_PROVEN_H
#define MODELS_PROVEN_H

#include <stdbool.h>
#include <stdint.h>

#define SCOUT_PROVEN_WAYS 8
#define SCOUT_PROVEN_SETS 32768

/* By hashes of what names them, 2 MiB; 0 is none. Those that were not asked for longest are forgotten.
 * Zeroed is empty. */
struct scout_proven {
	uint64_t ids[SCOUT_PROVEN_SETS][SCOUT_PROVEN_WAYS]; /* each last used first */
};

void scout_proven_add(struct scout_proven *p, uint64_t id);
bool scout_proven_has(struct scout_proven *p, uint64_t id);
void scout_proven_remove(struct scout_proven *p, uint64_t id);

#endif
