/* Reading the files that idmap = file names. */
#ifndef CONFIG_IDMAP_H
#define CONFIG_IDMAP_H

#include <stdbool.h>

#include "config/problems.h"

struct scout_draft;
struct scout_host_config;

/* Loads the uidfile and the gidfile of [hosts] and of each host that has its own; what is wrong with
 * them, or missing, is told. */
void scout_draft_idmap(struct scout_draft *d);
/* What a host takes over from [hosts]; uidfile, gidfile: it has its own. */
void scout_host_inherit_ids(struct scout_host_config *host, bool uidfile, bool gidfile,
			    const struct scout_host_config *defaults);

#endif
