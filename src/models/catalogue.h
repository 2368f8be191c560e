/* The shared listings: of all keys, or of single directories where the keys are too many. */
#ifndef MODELS_CATALOGUE_H
#define MODELS_CATALOGUE_H

#include "models/models.h"
#include "models/question.h"
#include "models/tree.h"

/* A request that waits for a listing. */
struct scout_lister {
	/* With no lock held, on any thread, perhaps before scout_catalogue_list returns. err 0: tree
	 * holds one reference, the callee's. Else -errno; -E2BIG only for all keys: ask by folder. */
	void (*listed)(struct scout_lister *l, int err, struct scout_tree *tree);
	/* under catalogue_lock */
	TAILQ_ENTRY(scout_lister) link;
	unsigned since; /* the refreshes that it must not be older than */
};

void scout_catalogue_init(struct scout_models *m);
void scout_catalogue_destroy(struct scout_models *m); /* stopped */

/* A listing that is not older than list_ttl: of all keys (folder NULL), or of one directory, with
 * paths relative to it ("" is the root). Nothing under folder: -ENOENT. */
void scout_catalogue_list(struct scout_models *m, const char *folder, struct scout_lister *l);

/* What the last listing says of path, however old it is, into *node; NULL: nothing. With renew it begins a new listing
 * when the last one is too old, and does not wait for it. The caller unrefs *tree (set also with NULL, perhaps to
 * NULL). True: the last answer about path, into *answer as by scout_question_known, was asked for after that listing
 * began, and so is newer. */
bool scout_catalogue_known(struct scout_models *m, const char *path, bool renew,
			   const struct scout_node **node, struct scout_tree **tree,
			   struct scout_answer *answer);

/* When the last listing of folder alone was asked for, if it found nothing; else 0. */
uint64_t scout_catalogue_found_nothing_ns(struct scout_models *m, const char *folder);

/* What was listed or answered until now is not believed any more. */
void scout_catalogue_refresh(struct scout_models *m);

/* The memory of all listings that are kept. */
size_t scout_catalogue_bytes(struct scout_models *m);

/* One reference to the last flat listing or NULL, for the report. */
struct scout_tree *scout_catalogue_peek(struct scout_models *m, bool *too_many_keys);

#endif
