/* One listing: ListObjectsV2 page by page into a tree. */
#ifndef MODELS_LISTING_H
#define MODELS_LISTING_H

#include "models/models.h"
#include "models/tree.h"

/* Lists folder (its keys relative to it), all below it when flat, else its own names. done gets the
 * built tree (one reference) when err is 0; -E2BIG: over list_max_keys. On the engine's thread with
 * no lock held, exactly once, perhaps before this returns. Returns 0, or -ENOMEM and no done. */
int scout_listing_start(struct scout_models *m, const char *folder, bool flat,
			void (*done)(void *arg, int err, struct scout_tree *tree), void *arg);

#endif
