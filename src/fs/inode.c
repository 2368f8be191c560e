/* The inode table; see inode.h. One tree lock is held at a time, for a look into one hash table. */
#include "fs/inode.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/clock.h"

#define ROOT_INO 1
#define REFUSED_NS (10 * SCOUT_NS_PER_S)

static struct scout_tree *tree_new(void)
{
	struct scout_tree *tree = calloc(1, sizeof(*tree));

	if (tree)
		scout_mutex_init(&tree->lock, SCOUT_LOCK_TREE);
	return tree;
}

static void tree_free(struct scout_tree *tree)
{
	scout_mutex_destroy(&tree->lock);
	free(tree);
}

static void inode_free(struct scout_inode *inode)
{
	if (inode->subtree != inode->tree)
		tree_free(inode->subtree);
	free(inode);
}

int scout_inodes_new(struct scout_inode **root)
{
	struct scout_inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return -ENOMEM;
	inode->tree = inode->subtree = tree_new();
	if (!inode->tree) {
		free(inode);
		return -ENOMEM;
	}
	inode->ino = ROOT_INO;
	inode->pins = 1;
	*root = inode;
	return 0;
}

static void tree_clear(struct scout_tree *tree)
{
	struct scout_inode *inode, *next;

	HASH_ITER (hh, tree->inodes, inode, next) {
		HASH_DEL(tree->inodes, inode);
		if (inode->subtree != tree)
			tree_clear(inode->subtree);
		inode_free(inode);
	}
}

void scout_inodes_free(struct scout_inode *root)
{
	tree_clear(root->tree);
	tree_free(root->tree);
	free(root);
}

/* FNV-1a, 64 bits, over the parent's number and the name: the same path has the same number after a
 * remount, without anything being kept. */
uint64_t scout_inode_number(const struct scout_inode *parent, const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	uint64_t ino = parent->ino;

	for (int i = 0; i < 8; i++, ino >>= 8)
		hash = (hash ^ (ino & 0xff)) * UINT64_C(0x100000001b3);
	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return hash > ROOT_INO ? hash : hash + 2;
}

static size_t key_of(struct scout_inode *parent, const char *name, char *buf, size_t cap)
{
	size_t len = strnlen(name, cap - sizeof(parent));

	memcpy(buf, &parent, sizeof(parent));
	memcpy(buf + sizeof(parent), name, len);
	return sizeof(parent) + len;
}

/* A backend that is split gives each child of its root, and the backend's root itself, a tree. */
static bool starts_subtree(const struct scout_inode *parent, const struct scout_backend *backend)
{
	return !parent->parent || (!parent->parent->parent && backend->ops->split);
}

static struct scout_inode *inode_new(struct scout_inode *parent, const char *key, size_t key_len,
				     const struct scout_backend *backend, unsigned backend_index)
{
	struct scout_inode *inode = calloc(1, sizeof(*inode) + key_len + 1);

	if (!inode)
		return NULL;
	inode->backend = backend;
	inode->backend_index = backend_index;
	inode->parent = parent;
	inode->tree = parent->subtree;
	inode->subtree = starts_subtree(parent, backend) ? tree_new() : inode->tree;
	if (!inode->subtree) {
		free(inode);
		return NULL;
	}
	inode->key_len = key_len;
	memcpy(&inode->key, key, key_len);
	inode->ino = scout_inode_number(parent, inode->key.name);
	return inode;
}

static bool saw_locked(struct scout_inode *inode, uint64_t version)
{
	bool changed = inode->has_version && inode->version != version;

	/* After a change the belief is no version's own, so that every handle proves itself again:
	 * of two answers, the one that came later need not be the newer one. */
	if (changed)
		inode->belief = scout_random() | (uint64_t)scout_random() << 32;
	else if (!inode->has_version)
		inode->belief = version;
	inode->version = version;
	inode->has_version = true;
	return changed;
}

/* Takes inode's name from it, for one of version; the handles it has must prove what they are. */
static void supersede_locked(struct scout_inode *inode, uint64_t version)
{
	struct scout_tree *tree = inode->tree;

	HASH_DEL(tree->inodes, inode);
	inode->key.parent = inode; /* which is nobody's parent: it is not found by name any more */
	HASH_ADD_KEYPTR(hh, tree->inodes, &inode->key, inode->key_len, inode);
	(void)saw_locked(inode, version);
}

struct scout_inode *scout_inode_lookup(struct scout_inode *parent, const char *name,
				       const struct scout_backend *backend, unsigned backend_index,
				       uint64_t version)
{
	struct scout_tree *tree = parent->subtree;
	struct scout_inode *inode, *made = NULL;
	char key[sizeof(parent) + NAME_MAX + 1];
	size_t key_len = key_of(parent, name, key, sizeof(key));

	for (;;) {
		scout_lock(&tree->lock);
		HASH_FIND(hh, tree->inodes, key, key_len, inode);
		if (inode && inode->bound && inode->bound_version != version) {
			supersede_locked(inode, version);
			inode = NULL;
		}
		if (!inode && made) {
			inode = made;
			made = NULL;
			HASH_ADD_KEYPTR(hh, tree->inodes, &inode->key, key_len, inode);
		}
		if (inode)
			inode->lookups++;
		scout_unlock(&tree->lock);
		if (inode)
			break;
		made = inode_new(parent, key, key_len, backend, backend_index);
		if (!made)
			return NULL;
		scout_inode_pin(
		    parent); /* for its child; given back below when another was first */
	}
	if (made) {
		inode_free(made);
		scout_inode_unpin(parent);
	}
	return inode;
}

/* Gives back lookups and pins; frees what nobody holds, and then its parents likewise. */
static void put(struct scout_inode *inode, uint64_t lookups, uint64_t pins)
{
	while (inode) {
		struct scout_inode *parent = inode->parent;
		struct scout_tree *tree = inode->tree;
		bool last;

		scout_lock(&tree->lock);
		inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
		inode->pins -= pins;
		last = parent && inode->lookups == 0 && inode->pins == 0;
		if (last)
			HASH_DEL(tree->inodes, inode);
		scout_unlock(&tree->lock);
		if (!last)
			return;
		inode_free(inode);
		inode = parent;
		lookups = 0;
		pins = 1;
	}
}

void scout_inode_forget(struct scout_inode *inode, uint64_t lookups)
{
	put(inode, lookups, 0);
}

void scout_inode_unpin(struct scout_inode *inode)
{
	put(inode, 0, 1);
}

void scout_inode_pin(struct scout_inode *inode)
{
	scout_lock(&inode->tree->lock);
	inode->pins++;
	scout_unlock(&inode->tree->lock);
}

int scout_inode_path(const struct scout_inode *inode, char *buf, size_t cap)
{
	size_t at = cap;

	/* the backend's own directory is a child of the root: its name is not part of the path */
	buf[--at] = '\0';
	for (; inode->parent && inode->parent->parent; inode = inode->parent) {
		size_t len = inode->key_len - sizeof(inode->parent);
		bool slash = at != cap - 1;

		if (len + slash > at)
			return -ENAMETOOLONG;
		if (slash)
			buf[--at] = '/';
		at -= len;
		memcpy(buf + at, inode->key.name, len);
	}
	memmove(buf, buf + at, cap - at);
	return 0;
}

bool scout_inode_saw(struct scout_inode *inode, uint64_t version)
{
	bool changed;

	scout_lock(&inode->tree->lock);
	changed = saw_locked(inode, version);
	scout_unlock(&inode->tree->lock);
	return changed;
}

uint64_t scout_inode_belief(struct scout_inode *inode, uint64_t otherwise)
{
	uint64_t belief;

	scout_lock(&inode->tree->lock);
	belief = inode->has_version ? inode->belief : otherwise;
	scout_unlock(&inode->tree->lock);
	return belief;
}

/* Whether this open was refused a moment ago; if not, it is now. */
static bool was_refused_locked(struct scout_tree *tree, uint64_t ino, pid_t task)
{
	uint64_t now = scout_now_ns();

	for (unsigned i = 0; i < SCOUT_REFUSED_MAX; i++) {
		if (tree->refused[i].task == task && tree->refused[i].ino == ino &&
		    tree->refused[i].until_ns > now) {
			tree->refused[i].until_ns = 0;
			return true;
		}
	}
	tree->refused[tree->next_refused].task = task;
	tree->refused[tree->next_refused].ino = ino;
	tree->refused[tree->next_refused].until_ns = now + REFUSED_NS;
	tree->next_refused = (tree->next_refused + 1) % SCOUT_REFUSED_MAX;
	return false;
}

enum scout_bind scout_inode_bind(struct scout_inode *inode, uint64_t version, pid_t task)
{
	struct scout_tree *tree = inode->tree;
	enum scout_bind bind = SCOUT_BIND_SAME;

	scout_lock(&tree->lock);
	if (!inode->bound && (!inode->has_version || inode->version == version)) {
		inode->bound_version = version;
		inode->bound = true;
	} else if (!inode->bound || inode->bound_version != version) {
		bind = was_refused_locked(tree, inode->ino, task) ? SCOUT_BIND_PASSING
								  : SCOUT_BIND_OTHER;
	}
	scout_unlock(&tree->lock);
	return bind;
}
