/* The inode table; see inode.h. One tree lock is held at a time, for a look into one hash table. */
#include "fs/inode.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "scoutfs/clock.h"
#include "scoutfs/hash.h"

#define ROOT_INO 1

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
	free(inode->key);
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
	inode->type = S_IFDIR;
	inode->pins = 1;
	TAILQ_INIT(&inode->files);
	*root = inode;
	return 0;
}

static void drop_locked(struct scout_inode *inode);

static void tree_clear(struct scout_tree *tree)
{
	struct scout_inode *inode, *next;

	HASH_ITER (hh, tree->inodes, inode, next) {
		drop_locked(inode);
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

/* Of the parent's number and the name: the same path has the same number after a remount, without
 * anything being kept. */
uint64_t scout_inode_number(const struct scout_inode *parent, const char *name)
{
	uint64_t hash = scout_hash_ino(parent->ino, name);

	return hash > ROOT_INO ? hash : hash + 2;
}

/* The longest name is NAME_MAX: the kernel sends no longer one, and a listing's are checked. */
#define KEY_MAX (sizeof(struct scout_inode_key) + NAME_MAX + 1)

static size_t key_of(struct scout_inode *parent, const char *name, struct scout_inode_key *key)
{
	size_t len = strnlen(name, KEY_MAX - sizeof(*key));

	key->parent = parent;
	memcpy(key->name, name, len);
	return sizeof(*key) + len;
}

static struct scout_inode_key *key_new(struct scout_inode *parent, const char *name, size_t *len)
{
	struct scout_inode_key *key = malloc(sizeof(*key) + strlen(name) + 1);

	if (key)
		*len = key_of(parent, name, key);
	return key;
}

static struct scout_inode *find_locked(struct scout_inode *parent, const char *name)
{
	union {
		struct scout_inode_key key;
		char bytes[KEY_MAX];
	} k;
	size_t len = key_of(parent, name, &k.key);
	struct scout_inode *inode;

	HASH_FIND(hh, parent->subtree->inodes, &k.key, len, inode);
	return inode;
}

/* A backend that is split gives each child of its root, and the backend's root itself, a tree. */
static bool starts_subtree(const struct scout_inode *parent, const struct scout_backend *backend)
{
	return parent->level == 0 || (parent->level == 1 && backend->ops->split);
}

static _Atomic uint64_t generations; /* so many inodes were made, but for roots */

static struct scout_inode *inode_new(struct scout_inode *parent, const char *name,
				     const struct scout_backend *backend, unsigned backend_index,
				     mode_t mode)
{
	struct scout_inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->backend = backend;
	inode->backend_index = backend_index;
	inode->level = parent->level < 2 ? parent->level + 1 : 2;
	inode->generation = atomic_fetch_add_explicit(&generations, 1, memory_order_relaxed) + 1;
	inode->type = mode & S_IFMT;
	inode->parent = parent;
	inode->tree = inode->subtree = parent->subtree;
	inode->ino = scout_inode_number(parent, name);
	inode->next_name = inode->prev_name = inode;
	TAILQ_INIT(&inode->files);
	inode->key = key_new(parent, name, &inode->key_len);
	if (inode->key && starts_subtree(parent, backend))
		inode->subtree = tree_new();
	if (!inode->key || !inode->subtree) {
		free(inode->key);
		free(inode);
		return NULL;
	}
	return inode;
}

/* False: no memory, and it is not there. */
static bool add_key_locked(struct scout_inode *inode)
{
	HASH_ADD_KEYPTR(hh, inode->tree->inodes, inode->key, inode->key_len, inode);
	return inode->hh.tbl != NULL;
}

static void drop_key_locked(struct scout_inode *inode)
{
	if (inode->hh.tbl)
		HASH_DEL(inode->tree->inodes, inode);
}

static void add_number_locked(struct scout_inode *inode)
{
	HASH_ADD(by_ino, inode->tree->numbers, ino, sizeof(inode->ino), inode);
	inode->numbered = inode->by_ino.tbl != NULL;
}

/* Puts a new inode into its tree, with a number that no other there has: what was moved or unlinked keeps
 * the number of the path that it had. False: no memory, and it is not there. */
static bool add_locked(struct scout_inode *inode)
{
	struct scout_tree *tree = inode->tree;
	struct scout_inode *other;

	if (!add_key_locked(inode))
		return false;
	for (;;) {
		HASH_FIND(by_ino, tree->numbers, &inode->ino, sizeof(inode->ino), other);
		if (!other && inode->ino > ROOT_INO)
			break;
		inode->ino = inode->ino * UINT64_C(0x5851f42d4c957f2d) + 1;
	}
	add_number_locked(inode);
	if (!inode->numbered)
		drop_key_locked(inode);
	return inode->numbered;
}

static bool shares_number_locked(const struct scout_inode *inode)
{
	return inode->next_name != inode;
}

/* The same, but with the number of another name of its file. */
static bool add_name_locked(struct scout_inode *inode, struct scout_inode *of)
{
	if (!of->numbered && !shares_number_locked(of))
		return add_locked(inode);
	if (!add_key_locked(inode))
		return false;
	inode->ino = of->ino;
	inode->prev_name = of;
	inode->next_name = of->next_name;
	of->next_name->prev_name = inode;
	of->next_name = inode;
	return true;
}

static void free_number_locked(struct scout_inode *inode)
{
	struct scout_inode *heir = inode->next_name;

	if (inode->numbered)
		HASH_DELETE(by_ino, inode->tree->numbers, inode);
	if (inode->numbered && heir != inode)
		add_number_locked(heir);
	inode->numbered = false;
	heir->prev_name = inode->prev_name;
	inode->prev_name->next_name = heir;
	inode->next_name = inode->prev_name = inode;
}

static void drop_locked(struct scout_inode *inode)
{
	drop_key_locked(inode);
	free_number_locked(inode);
}

/* Nobody finds it by name any more. */
static void lose_name_locked(struct scout_inode *inode)
{
	drop_key_locked(inode);
	inode->key->parent = inode;  /* which is nobody's parent */
	(void)add_key_locked(inode); /* nobody looks for it there but scout_inodes_free */
}

static bool has_name_locked(const struct scout_inode *inode)
{
	return inode->key->parent != inode;
}

/* What it stood for is not at its path any more. While it is open somebody can see its number. */
static void remove_locked(struct scout_inode *inode)
{
	if (!has_name_locked(inode))
		return;
	lose_name_locked(inode);
	inode->gone = true;
	if (TAILQ_EMPTY(&inode->files))
		free_number_locked(inode);
}

static bool changed_since(const struct scout_inode *inode, uint64_t asked_ns)
{
	return atomic_load_explicit(&inode->changed_ns, memory_order_relaxed) >= asked_ns;
}

bool scout_inode_is_other_version_locked(const struct scout_inode *inode, uint64_t version,
					 uint64_t asked_ns)
{
	return inode->writers == 0 && !changed_since(inode, asked_ns) && inode->bound &&
	       inode->bound_version != version;
}

/* Whether attr is of a file that inode cannot stand for. */
static bool is_other_locked(const struct scout_inode *inode, const struct scout_attr *attr,
			    uint64_t asked_ns)
{
	if (inode->type != (attr->mode & S_IFMT) || inode->outdated)
		return true;
	if (inode->writers > 0 || changed_since(inode, asked_ns))
		return false;
	/* one of the names may be another file's by now */
	if (shares_number_locked(inode) && inode->has_version && inode->version != attr->version)
		return true;
	return scout_inode_is_other_version_locked(inode, attr->version, asked_ns);
}

/* inode's name is from now on that of another, of version; the handles it has must prove what they are. */
static void supersede_locked(struct scout_inode *inode, uint64_t version, bool keep_number)
{
	lose_name_locked(inode);
	if (!keep_number)
		free_number_locked(inode);
	(void)scout_inode_saw_locked(inode, version);
}

/* made: a new inode for this name, or NULL; left NULL when it was taken. of: see scout_inode_link, or NULL. NULL: there
 * is none and none was made, or no memory to take that. */
static struct scout_inode *take_locked(struct scout_inode *parent, const char *name,
				       const struct scout_attr *attr, uint64_t asked_ns, bool fresh,
				       struct scout_inode *of, struct scout_inode **made)
{
	struct scout_inode *inode = find_locked(parent, name);

	if (inode && fresh && *made) {
		supersede_locked(inode, attr->version, !TAILQ_EMPTY(&inode->files));
		inode = NULL;
	} else if (inode && !fresh && is_other_locked(inode, attr, asked_ns)) {
		supersede_locked(inode, attr->version, false);
		inode = NULL;
	} else if (fresh && !*made) {
		inode = NULL;
	}
	if (!inode && *made) {
		if (!(of ? add_name_locked(*made, of) : add_locked(*made)))
			return NULL;
		inode = *made;
		*made = NULL;
	}
	if (!inode)
		return NULL;
	inode->lookups++;
	if (scout_inode_is_written_locked(inode) && inode->bound)
		inode->bound_version = attr->version;
	return inode;
}

static struct scout_inode *get(struct scout_inode *parent, const char *name,
			       const struct scout_backend *backend, unsigned backend_index,
			       const struct scout_attr *attr, uint64_t asked_ns, bool fresh,
			       struct scout_inode *of)
{
	struct scout_inode *inode, *made = NULL;

	for (;;) {
		scout_lock(&parent->subtree->lock);
		inode = take_locked(parent, name, attr, asked_ns, fresh, of, &made);
		scout_unlock(&parent->subtree->lock);
		if (inode || made)
			break;
		made = inode_new(parent, name, backend, backend_index, attr->mode);
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

struct scout_inode *scout_inode_lookup(struct scout_inode *parent, const char *name,
				       const struct scout_backend *backend, unsigned backend_index,
				       const struct scout_attr *attr, uint64_t asked_ns)
{
	return get(parent, name, backend, backend_index, attr, asked_ns, false, NULL);
}

struct scout_inode *scout_inode_link(struct scout_inode *parent, const char *name,
				     const struct scout_backend *backend, unsigned backend_index,
				     const struct scout_attr *attr, struct scout_inode *of)
{
	struct scout_inode *inode =
	    get(parent, name, backend, backend_index, attr, UINT64_MAX, true, of);

	if (inode)
		scout_inode_changed(inode);
	return inode;
}

struct scout_inode *scout_inode_create(struct scout_inode *parent, const char *name,
				       const struct scout_backend *backend, unsigned backend_index,
				       const struct scout_attr *attr)
{
	return scout_inode_link(parent, name, backend, backend_index, attr, NULL);
}

struct scout_inode *scout_inode_create_apart(struct scout_inode *parent, const char *name,
					     const struct scout_backend *backend,
					     unsigned backend_index, const struct scout_attr *attr)
{
	struct scout_inode *inode = inode_new(parent, name, backend, backend_index, attr->mode);

	if (!inode)
		return NULL;
	scout_inode_pin(parent);
	inode->lookups = 1;
	inode->apart = true;
	inode->key->parent = inode; /* as lose_name_locked leaves it */
	scout_lock(&inode->tree->lock);
	(void)add_key_locked(inode); /* likewise */
	scout_unlock(&inode->tree->lock);
	return inode;
}

struct scout_inode *scout_inode_find(struct scout_inode *parent, const char *name)
{
	struct scout_inode *inode;

	scout_lock(&parent->subtree->lock);
	inode = find_locked(parent, name);
	if (inode)
		inode->pins++;
	scout_unlock(&parent->subtree->lock);
	return inode;
}

void scout_inode_remove(struct scout_inode *inode)
{
	scout_lock(&inode->tree->lock);
	remove_locked(inode);
	scout_unlock(&inode->tree->lock);
}

bool scout_inode_set_apart(struct scout_inode *inode)
{
	bool first;

	scout_lock(&inode->tree->lock);
	first = !inode->apart && TAILQ_EMPTY(&inode->files);
	inode->apart |= first;
	if (has_name_locked(inode)) {
		lose_name_locked(inode);
		free_number_locked(inode);
	}
	scout_unlock(&inode->tree->lock);
	return first;
}

bool scout_inode_is_apart(struct scout_inode *inode)
{
	bool apart;

	scout_lock(&inode->tree->lock);
	apart = inode->apart;
	scout_unlock(&inode->tree->lock);
	return apart;
}

static bool is_below_locked(const struct scout_inode *at, const struct scout_inode *inode)
{
	while (at != inode && at->level > 1)
		at = at->parent;
	return at == inode;
}

void scout_inode_rename(struct scout_inode *inode, struct scout_inode *newparent, const char *name)
{
	struct scout_tree *tree = inode->tree;
	struct scout_inode *replaced, *released = newparent;
	size_t key_len = 0;
	struct scout_inode_key *key = key_new(newparent, name, &key_len);

	assert(newparent->subtree == tree);
	scout_inode_pin(newparent); /* it may be of another tree: a host's own directory */
	scout_lock(&tree->lock);
	replaced = find_locked(newparent, name);
	if (replaced && replaced != inode)
		remove_locked(replaced);
	if (!key || is_below_locked(newparent, inode)) {
		remove_locked(inode); /* it is looked up by its new name */
	} else if (has_name_locked(inode)) {
		struct scout_inode_key *old = inode->key;

		drop_key_locked(inode);
		inode->key = key;
		inode->key_len = key_len;
		key = old;
		released = inode->parent;
		inode->parent = newparent;
		if (!add_key_locked(inode))
			remove_locked(inode); /* likewise */
	}
	scout_unlock(&tree->lock);
	free(key);
	scout_inode_changed(inode);
	scout_inode_changed(released);
	scout_inode_unpin(released);
}

/* Gives back lookups and pins; frees what nobody holds, and then its parents likewise. */
static void put(struct scout_inode *inode, uint64_t lookups, uint64_t pins)
{
	while (inode) {
		struct scout_tree *tree = inode->tree;
		struct scout_inode *parent;
		bool last;

		scout_lock(&tree->lock);
		parent = inode->parent;
		inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
		inode->pins -= pins;
		last = parent && inode->lookups == 0 && inode->pins == 0;
		if (last)
			drop_locked(inode);
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

uint64_t scout_inode_parent_number(struct scout_inode *inode)
{
	uint64_t ino;

	scout_lock(&inode->tree->lock);
	ino = inode->parent ? inode->parent->ino : inode->ino;
	scout_unlock(&inode->tree->lock);
	return ino;
}

static int path_locked(const struct scout_inode *inode, char *buf, size_t cap)
{
	size_t at = cap;

	/* The backend's own directory is a child of the root: its name is not part of the path. What is
	 * of another tree on the way up never moves. */
	buf[--at] = '\0';
	for (; inode->level > 1; inode = inode->parent) {
		size_t len = inode->key_len - sizeof(*inode->key);
		bool slash = at != cap - 1;

		if (inode->gone)
			return -ESTALE;
		if (len + slash > at)
			return -ENAMETOOLONG;
		if (slash)
			buf[--at] = '/';
		at -= len;
		memcpy(buf + at, inode->key->name, len);
	}
	memmove(buf, buf + at, cap - at);
	return 0;
}

int scout_inode_path(struct scout_inode *inode, char *buf, size_t cap)
{
	int err;

	scout_lock(&inode->tree->lock);
	err = path_locked(inode, buf, cap);
	scout_unlock(&inode->tree->lock);
	return err;
}

void scout_inode_changed(struct scout_inode *inode)
{
	atomic_store_explicit(&inode->changed_ns, scout_now_ns(), memory_order_relaxed);
}

bool scout_inode_outdates(struct scout_inode *parent, const char *name, uint64_t asked_ns)
{
	struct scout_inode *inode;
	bool outdates;

	scout_lock(&parent->subtree->lock);
	inode = find_locked(parent, name);
	outdates = changed_since(inode ? inode : parent, asked_ns) ||
		   (inode && (inode->writers > 0 || inode->lost));
	scout_unlock(&parent->subtree->lock);
	return outdates;
}
