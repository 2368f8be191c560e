/* The keys of a listing as directories and files: built once, then immutable and shared by count. */
#ifndef MODELS_TREE_H
#define MODELS_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/keys.h"

/* One name. A directory's children lie side by side, sorted by strcmp. */
struct scout_node {
	const char *name;
	uint64_t bytes;
	int64_t modified;
	uint64_t version;
	struct scout_node *children; /* a directory's */
	uint32_t count;
	bool dir;
	bool both; /* dir: there is an object of that name, too */
};

struct scout_tree_piece;
struct scout_tree_level;

struct scout_tree_store {
	struct scout_tree_piece *pieces;
	size_t bytes; /* used */
	char *at;     /* room for more */
	size_t left;
};

struct scout_tree {
	atomic_uint refs;
	uint64_t asked_ns;  /* when the listing began: what it tells is not older */
	uint64_t listed_ns; /* when it was complete */

	/* immutable after build */
	struct scout_node root;
	uint32_t nnodes;
	size_t keys; /* seen, those left out included */
	size_t files;
	size_t left_out[SCOUT_KEY_KINDS];

	struct scout_tree_store names, runs;

	/* while it is built */
	size_t max_keys;
	/* the root, and what is in open folders: each of these is the last of its siblings, before its children */
	struct scout_node *open;
	size_t nopen, open_cap;
	struct scout_tree_level *levels; /* one an open folder */
	size_t nlevels, levels_cap;
	bool torn; /* a folder came in several parts */
};

/* One reference. NULL: no memory. */
struct scout_tree *scout_tree_new(size_t max_keys);
/* path is behind the prefix. Returns 0, -ENOMEM, or -E2BIG (beyond max_keys, or far more directories than that). */
int scout_tree_add(struct scout_tree *t, const char *path, size_t len, uint64_t bytes,
		   int64_t modified, uint64_t version);
/* Counts one that no path can name. Returns 0, or -E2BIG beyond max_keys. */
int scout_tree_leave_out(struct scout_tree *t, enum scout_key_kind kind);
/* Afterwards t is immutable. Returns 0 or -ENOMEM. */
int scout_tree_build(struct scout_tree *t);

/* The memory that it takes once it is built. */
size_t scout_tree_bytes(const struct scout_tree *t);

struct scout_tree *scout_tree_ref(struct scout_tree *t);
void scout_tree_unref(struct scout_tree *t); /* NULL is fine */

/* The node at path ("" is the root), or NULL. */
const struct scout_node *scout_tree_find(const struct scout_tree *t, const char *path);

#endif
