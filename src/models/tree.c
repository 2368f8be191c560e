/* A listing's keys as a tree. Paths are collected in one arena, sorted by their components, and cut
 * into nodes level by level, so that the children of a directory are a sorted run of one array: no
 * pointer chasing, lookups by binary search. What stays is a node and a name each (some 90 bytes a key of
 * a registry), of what was collected the double. Where a name is both an object and a folder the folder wins.
 *
 * Built by one thread (the engine's), then immutable; shared by an atomic count. */
#include "models/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More nodes than this many a key is not a registry but an attack on our memory. */
#define NODES_PER_KEY 16
#define NODES_SPARE 4096

struct scout_tree_entry {
	size_t path; /* in the arena, ended by NUL */
	uint64_t bytes;
	int64_t modified;
	uint64_t version;
	uint32_t len;
	bool dir; /* a folder marker */
};

struct scout_tree *scout_tree_new(size_t max_keys)
{
	struct scout_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	atomic_init(&t->refs, 1);
	t->max_keys = max_keys;
	return t;
}

struct scout_tree *scout_tree_ref(struct scout_tree *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void scout_tree_unref(struct scout_tree *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(t->nodes);
	free(t->entries);
	free(t->arena);
	free(t);
}

/* Room for count more elements of size bytes each in *array. */
static int reserve(void *array, size_t used, size_t count, size_t *cap, size_t size)
{
	void **p = array;
	size_t want = *cap ? *cap : 64;
	void *bigger;

	if (count <= *cap - used)
		return 0;
	while (want - used < count)
		want += want / 2;
	bigger = reallocarray(*p, want, size);
	if (!bigger)
		return -ENOMEM;
	*p = bigger;
	*cap = want;
	return 0;
}

static int count(struct scout_tree *t)
{
	if (t->keys == t->max_keys)
		return -E2BIG;
	t->keys++;
	return 0;
}

int scout_tree_leave_out(struct scout_tree *t, enum scout_key_kind kind)
{
	int err = count(t);

	if (!err)
		t->left_out[kind]++;
	return err;
}

int scout_tree_add(struct scout_tree *t, const char *path, size_t len, uint64_t bytes,
		   int64_t modified, uint64_t version)
{
	enum scout_key_kind kind = scout_key_judge(path, len, bytes);
	struct scout_tree_entry *e;
	int err = kind >= SCOUT_KEY_LEFT_OUT ? scout_tree_leave_out(t, kind) : count(t);

	if (err || (kind != SCOUT_KEY_FILE && kind != SCOUT_KEY_DIR))
		return err;
	if (kind == SCOUT_KEY_DIR)
		len--;
	if (reserve(&t->arena, t->arena_len, len + 1, &t->arena_cap, 1) < 0 ||
	    reserve(&t->entries, t->nentries, 1, &t->entries_cap, sizeof(*t->entries)) < 0)
		return -ENOMEM;
	e = &t->entries[t->nentries++];
	*e = (struct scout_tree_entry){
	    .path = t->arena_len,
	    .bytes = bytes,
	    .modified = modified,
	    .version = version,
	    .len = (uint32_t)len,
	    .dir = kind == SCOUT_KEY_DIR,
	};
	memcpy(t->arena + t->arena_len, path, len);
	t->arena[t->arena_len + len] = '\0';
	t->arena_len += len + 1;
	return 0;
}

static int by_components(const void *a, const void *b, void *arena)
{
	const struct scout_tree_entry *x = a, *y = b;

	return scout_key_compare((const char *)arena + x->path, (const char *)arena + y->path);
}

static int add_node(struct scout_tree *t, size_t *cap, struct scout_node **ret)
{
	size_t limit = t->max_keys * NODES_PER_KEY + NODES_SPARE;

	if (t->nnodes >= limit || t->nnodes == UINT32_MAX)
		return -E2BIG;
	if (reserve(&t->nodes, t->nnodes, 1, cap, sizeof(*t->nodes)) < 0)
		return -ENOMEM;
	*ret = &t->nodes[t->nnodes++];
	return 0;
}

/* How far the name goes that starts at skip in entry e. */
static size_t name_end(const struct scout_tree *t, const struct scout_tree_entry *e, size_t skip)
{
	return skip + strcspn(t->arena + e->path + skip, "/");
}

/* The entries from i (before hi) with the same name at skip: one node. Returns the entry after
 * them, or -errno. */
static int64_t cut_name(struct scout_tree *t, size_t i, size_t hi, size_t skip, size_t *cap)
{
	const struct scout_tree_entry *e = &t->entries[i];
	const char *name = t->arena + e->path + skip;
	size_t end = name_end(t, e, skip), lo = i, objects = 0;
	struct scout_node *n;
	bool dir = false;
	int err = add_node(t, cap, &n);

	if (err < 0)
		return err;
	for (; i < hi; i++) {
		const struct scout_tree_entry *other = &t->entries[i];

		if (other->len < end || name_end(t, other, skip) != end ||
		    memcmp(t->arena + other->path + skip, name, end - skip) != 0)
			break;
		dir |= other->dir || other->len > end;
		objects += !other->dir && other->len == end;
	}
	*n = (struct scout_node){
	    .name = name, /* until all is cut it ends with the path, or at a slash */
	    .bytes = e->bytes,
	    .modified = e->modified,
	    .version = e->version,
	    .dir = dir,
	    .both = dir && objects > 0,
	};
	if (dir) { /* until it is cut: the entries behind it */
		n->first = (uint32_t)lo;
		n->count = (uint32_t)(i - lo);
	}
	if (dir && objects > 0)
		t->left_out[SCOUT_KEY_ALSO_FOLDER] += objects;
	if (!dir)
		t->files++;
	return (int64_t)i;
}

/* Replaces node at's run of entries by its children. */
static int cut_directory(struct scout_tree *t, uint32_t at, size_t *cap)
{
	size_t i = t->nodes[at].first, hi = i + t->nodes[at].count, skip = 0;
	uint32_t first = t->nnodes;

	if (at > 0) {
		skip = (size_t)(t->nodes[at].name - (t->arena + t->entries[i].path));
		skip = name_end(t, &t->entries[i], skip) + 1;
	}
	while (i < hi) {
		int64_t next = (int64_t)i + 1;

		/* the directory's own marker, or the object that it hides, has no name here */
		if (t->entries[i].len > skip)
			next = cut_name(t, i, hi, skip, cap);
		if (next < 0)
			return (int)next;
		i = (size_t)next;
	}
	t->nodes[at].first = first;
	t->nodes[at].count = t->nnodes - first;
	return 0;
}

/* Keeps the nodes' names alone. */
static int keep_names(struct scout_tree *t)
{
	struct scout_node *exact;
	size_t len = 0;
	char *names, *at;

	for (uint32_t i = 1; i < t->nnodes; i++)
		len += strcspn(t->nodes[i].name, "/") + 1;
	names = at = malloc(len + 1);
	if (!names)
		return -ENOMEM;
	for (uint32_t i = 1; i < t->nnodes; i++) {
		size_t n = strcspn(t->nodes[i].name, "/");

		memcpy(at, t->nodes[i].name, n);
		at[n] = '\0';
		t->nodes[i].name = at;
		at += n + 1;
	}
	free(t->arena);
	t->arena = names;
	t->arena_len = t->arena_cap = len;
	exact = reallocarray(t->nodes, t->nnodes, sizeof(*t->nodes));
	if (exact) /* else it stays as large as it is */
		t->nodes = exact;
	return 0;
}

size_t scout_tree_bytes(const struct scout_tree *t)
{
	return sizeof(*t) + t->nnodes * sizeof(*t->nodes) + t->arena_cap;
}

int scout_tree_build(struct scout_tree *t)
{
	struct scout_node *root;
	size_t cap = 0;
	int err = add_node(t, &cap, &root);

	if (err < 0)
		return err;
	if (t->nentries > 0)
		qsort_r(t->entries, t->nentries, sizeof(*t->entries), by_components, t->arena);
	*root = (struct scout_node){.dir = true, .count = (uint32_t)t->nentries};
	for (uint32_t at = 0; at < t->nnodes; at++) {
		if (!t->nodes[at].dir)
			continue;
		err = cut_directory(t, at, &cap);
		if (err < 0)
			return err;
	}
	free(t->entries);
	t->entries = NULL;
	t->nodes[0].name = "";
	return keep_names(t);
}

/* strcmp of a component (len bytes) and a name. */
static int compare(const char *component, size_t len, const char *name)
{
	int order = strncmp(component, name, len);

	return order != 0 ? order : name[len] == '\0' ? 0 : -1;
}

static const struct scout_node *find_child(const struct scout_tree *t, const struct scout_node *n,
					   const char *component, size_t len)
{
	uint32_t lo = n->first, hi = n->first + n->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int order = compare(component, len, t->nodes[mid].name);

		if (order == 0)
			return &t->nodes[mid];
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct scout_node *scout_tree_find(const struct scout_tree *t, const char *path)
{
	const struct scout_node *n = &t->nodes[0];

	while (n && *path) {
		size_t len = strcspn(path, "/");

		n = n->dir ? find_child(t, n, path, len) : NULL;
		path += len;
		if (*path == '/')
			path++;
	}
	return n;
}
