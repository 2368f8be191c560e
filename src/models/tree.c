/* A listing's keys as a tree. The children of a directory are a sorted run: no pointer chasing, lookups by binary
 * search. What stays is a node and a name each (some 90 bytes a key of a registry). Where a name is both an object and
 * a folder the folder wins.
 *
 * S3 lists in the order of bytes, in which all that is in a folder comes together. So the tree is built while the
 * keys come: what the last key lies in is open, and a folder that the next key does not lie in is closed, which makes
 * a run of its children. A name that comes late ("a" is a folder's that comes after "a-b", and folders come after a
 * page's objects where they are listed one by one) is put into its place among its siblings. Nothing else moves, so
 * that no key costs much more than another. A remote that lists in another order (S3 Express does) tells of a folder in
 * several pieces, which are put together when all is there, at the cost of that time and memory.
 *
 * Built by one thread (the engine's), then immutable; shared by an atomic count. */
#include "models/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More nodes than this many a key is not a registry but an attack on our memory. */
#define NODES_PER_KEY 16
#define NODES_SPARE 4096

/* Names and runs lie in pieces of memory, so that they never move. */
#define PIECE_MIN ((size_t)256)
#define PIECE_MAX ((size_t)1024 * 1024)

struct scout_tree_piece {
	struct scout_tree_piece *older;
	void *bytes;
};

struct scout_tree_level {
	size_t first;  /* child of an open folder */
	bool unsorted; /* a name came so late that all of them are sorted when it is closed */
	bool twins;    /* some have the same name */
};

/* How far one is put forward among its siblings: where folders are listed one by one, past the objects of a page. */
#define FORWARD_MAX 2048
#define MANY 1024 /* children: their run is worth no copy */

/* Room for count more elements of size bytes each in *array. */
static int reserve(void *array, size_t used, size_t count, size_t *cap, size_t size)
{
	void **p = array;
	size_t want = *cap;
	void *bigger;

	if (count <= *cap - used)
		return 0;
	while (want - used < count)
		want += want / 2 + 4;
	bigger = reallocarray(*p, want, size);
	if (!bigger)
		return -ENOMEM;
	*p = bigger;
	*cap = want;
	return 0;
}

static int keep_piece(struct scout_tree_store *store, void *bytes)
{
	struct scout_tree_piece *piece = malloc(sizeof(*piece));

	if (!piece)
		return -ENOMEM;
	*piece = (struct scout_tree_piece){.older = store->pieces, .bytes = bytes};
	store->pieces = piece;
	return 0;
}

static void free_pieces(struct scout_tree_store *store)
{
	for (struct scout_tree_piece *p = store->pieces, *older; p; p = older) {
		older = p->older;
		free(p->bytes);
		free(p);
	}
}

/* Room for so many bytes, at most an eighth of which is lost at a piece's end. NULL: no memory. */
static void *take(struct scout_tree_store *store, size_t bytes)
{
	size_t size = store->bytes < PIECE_MIN   ? PIECE_MIN
		      : store->bytes > PIECE_MAX ? PIECE_MAX
						 : store->bytes;
	bool alone = bytes > size / 8 && bytes > store->left;
	void *at;

	if (bytes > store->left) {
		at = malloc(alone ? bytes : size);
		if (!at || keep_piece(store, at) < 0) {
			free(at);
			return NULL;
		}
		if (!alone) {
			store->at = at;
			store->left = size;
		}
	}
	store->bytes += bytes;
	if (alone)
		return at;
	at = store->at;
	store->at += bytes;
	store->left -= bytes;
	return at;
}

static const char *keep_name(struct scout_tree *t, const char *name, size_t len)
{
	char *at = take(&t->names, len + 1);

	if (!at)
		return NULL;
	memcpy(at, name, len);
	at[len] = '\0';
	return at;
}

/* Into the innermost open folder; n has all but its name. A folder is open then itself. */
static int push(struct scout_tree *t, const char *name, size_t len, const struct scout_node *n)
{
	if (t->nnodes >= t->max_keys * NODES_PER_KEY + NODES_SPARE || t->nnodes == UINT32_MAX)
		return -E2BIG;
	if (reserve(&t->open, t->nopen, 1, &t->open_cap, sizeof(*t->open)) < 0 ||
	    (n->dir && reserve(&t->levels, t->nlevels, 1, &t->levels_cap, sizeof(*t->levels)) < 0))
		return -ENOMEM;
	t->open[t->nopen] = *n;
	t->open[t->nopen].name = keep_name(t, name, len);
	if (!t->open[t->nopen].name)
		return -ENOMEM;
	t->nnodes++;
	t->nopen++;
	if (n->dir)
		t->levels[t->nlevels++] = (struct scout_tree_level){.first = t->nopen};
	else
		t->files++;
	return 0;
}

struct scout_tree *scout_tree_new(size_t max_keys)
{
	static const struct scout_node root = {.dir = true};
	struct scout_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	atomic_init(&t->refs, 1);
	t->max_keys = max_keys;
	if (push(t, "", 0, &root) < 0) {
		scout_tree_unref(t);
		return NULL;
	}
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
	free_pieces(&t->names);
	free_pieces(&t->runs);
	free(t->open);
	free(t->levels);
	free(t);
}

static int count_key(struct scout_tree *t)
{
	if (t->keys == t->max_keys)
		return -E2BIG;
	t->keys++;
	return 0;
}

int scout_tree_leave_out(struct scout_tree *t, enum scout_key_kind kind)
{
	int err = count_key(t);

	if (!err)
		t->left_out[kind]++;
	return err;
}

/* Siblings: folders before objects of their name. */
static int by_name(const void *a, const void *b)
{
	const struct scout_node *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : y->dir - x->dir;
}

static bool are_twins(const struct scout_node *a, const struct scout_node *b)
{
	return strcmp(a->name, b->name) == 0;
}

/* Where n goes among count sorted siblings: behind its likes. */
static size_t place_of(const struct scout_node *siblings, size_t count, const struct scout_node *n)
{
	size_t lo = 0, hi = count;

	if (count == 0 || by_name(&siblings[count - 1], n) <= 0)
		return count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (by_name(&siblings[mid], n) > 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* Puts the last node, which is no open folder, into its place among its siblings. */
static void settle(struct scout_tree *t)
{
	struct scout_tree_level *level = &t->levels[t->nlevels - 1];
	struct scout_node *siblings = t->open + level->first, n = t->open[t->nopen - 1];
	size_t last = t->nopen - 1 - level->first, at;

	if (level->unsorted)
		return;
	at = place_of(siblings, last, &n);
	if (last - at > FORWARD_MAX) {
		level->unsorted = true;
		return;
	}
	memmove(siblings + at + 1, siblings + at, (last - at) * sizeof(n));
	siblings[at] = n;
	level->twins |= (at > 0 && are_twins(&siblings[at - 1], &n)) ||
			(at < last && are_twins(&siblings[at + 1], &n));
}

/* Of sorted siblings one is left for each name, but all pieces of a folder. Returns how many. */
static size_t drop_twins(struct scout_tree *t, struct scout_node *nodes, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct scout_node *last = kept > 0 ? &nodes[kept - 1] : NULL, *n = &nodes[i];
		bool same = last && are_twins(last, n);

		if (same && !n->dir) {
			t->nnodes--;
			t->files--;
			t->left_out[SCOUT_KEY_ALSO_FOLDER] += last->dir;
			last->both |= last->dir;
			continue;
		}
		t->torn |= same;
		if (kept < i)
			nodes[kept] = *n;
		kept++;
	}
	return kept;
}

/* n's children are the count nodes there. */
static int keep_run(struct scout_tree *t, struct scout_node *n, const struct scout_node *nodes,
		    size_t count)
{
	struct scout_node *run = count > 0 ? take(&t->runs, count * sizeof(*run)) : NULL;

	if (count > 0 && !run)
		return -ENOMEM;
	if (count > 0)
		memcpy(run, nodes, count * sizeof(*run));
	n->children = run;
	n->count = (uint32_t)count;
	return 0;
}

/* The same of what is open from first on, where that is much: instead of being copied it stays where it is, and what is
 * before it, the folders that are still open, moves. */
static int keep_open(struct scout_tree *t, size_t first, size_t count)
{
	struct scout_node *before = malloc(first * sizeof(*before)), *exact;

	if (!before || keep_piece(&t->runs, t->open) < 0) {
		free(before);
		return -ENOMEM;
	}
	memcpy(before, t->open, first * sizeof(*before));
	exact = reallocarray(t->open, first + count, sizeof(*exact));
	if (exact) /* else it stays as large as it is */
		t->runs.pieces->bytes = t->open = exact;
	t->runs.bytes += (first + count) * sizeof(*exact);
	before[first - 1].children = t->open + first;
	before[first - 1].count = (uint32_t)count;
	t->open = before;
	t->open_cap = first;
	return 0;
}

/* Closes the innermost open folder. */
static int close_folder(struct scout_tree *t)
{
	const struct scout_tree_level level = t->levels[t->nlevels - 1];
	struct scout_node *children = t->open + level.first;
	size_t count = t->nopen - level.first;
	int err;

	if (level.unsorted)
		qsort(children, count, sizeof(*children), by_name);
	if (level.unsorted || level.twins)
		count = drop_twins(t, children, count);
	if (count > MANY && count > level.first)
		err = keep_open(t, level.first, count);
	else
		err = keep_run(t, children - 1, children, count);
	if (err)
		return err;
	t->nopen = level.first;
	t->nlevels--;
	if (t->nlevels > 0)
		settle(t);
	return 0;
}

static size_t name_end(const char *path, size_t len, size_t start)
{
	const char *slash = memchr(path + start, '/', len - start);

	return slash ? (size_t)(slash - path) : len;
}

/* How many of the open folders path lies in, the root included; *start is where the rest begins. */
static size_t folders_of(const struct scout_tree *t, const char *path, size_t len, bool marker,
			 size_t *start)
{
	size_t depth = 1;

	for (*start = 0; depth < t->nlevels && *start < len; depth++) {
		const char *name = t->open[t->levels[depth].first - 1].name;
		size_t end = name_end(path, len, *start), n = end - *start;

		if ((end == len && !marker) || strncmp(name, path + *start, n) != 0 || name[n])
			break;
		*start = end + 1;
	}
	return depth;
}

int scout_tree_add(struct scout_tree *t, const char *path, size_t len, uint64_t bytes,
		   int64_t modified, uint64_t version)
{
	struct scout_node file = {.bytes = bytes, .modified = modified, .version = version};
	struct scout_node folder = {.dir = true};
	enum scout_key_kind kind = scout_key_judge(path, len, bytes);
	int err = kind >= SCOUT_KEY_LEFT_OUT ? scout_tree_leave_out(t, kind) : count_key(t);
	bool marker = kind == SCOUT_KEY_DIR;
	size_t start, end, depth;

	if (err || (kind != SCOUT_KEY_FILE && !marker))
		return err;
	if (marker)
		len--;
	depth = folders_of(t, path, len, marker, &start);
	while (!err && t->nlevels > depth)
		err = close_folder(t);
	for (; !err && start < len; start = end + 1) {
		end = name_end(path, len, start);
		err = push(t, path + start, end - start, end < len || marker ? &folder : &file);
		if (!err && end == len && !marker)
			settle(t);
	}
	return err;
}

/* All that is in the count parts of a folder as one run, *whole's, which may be one of them. */
static int join(struct scout_tree *t, const struct scout_node *parts, size_t count,
		struct scout_node *whole)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (reserve(&t->open, n, parts[i].count, &t->open_cap, sizeof(*t->open)) < 0)
			return -ENOMEM;
		if (parts[i].count > 0)
			memcpy(t->open + n, parts[i].children, parts[i].count * sizeof(*t->open));
		n += parts[i].count;
		whole->both |= parts[i].both;
	}
	t->nnodes -= (uint32_t)count - 1;
	if (count > 1) {
		qsort(t->open, n, sizeof(*t->open), by_name);
		n = drop_twins(t, t->open, n);
	}
	return keep_run(t, whole, t->open, n);
}

/* Joins the parts of the folders in a run that was made here, and has these looked into in their turn. */
static int join_in(struct scout_tree *t, struct scout_node *folder, struct scout_node ***pending,
		   size_t *npending, size_t *cap)
{
	struct scout_node *nodes = folder->children;
	size_t kept = 0, same;
	int err = 0;

	for (size_t i = 0; !err && i < folder->count; i += same) {
		struct scout_node *n = &nodes[kept++];

		same = 1;
		while (i + same < folder->count && are_twins(&nodes[i], &nodes[i + same]))
			same++;
		*n = nodes[i];
		if (!n->dir)
			continue;
		err = join(t, &nodes[i], same, n);
		if (!err)
			err = reserve(pending, *npending, 1, cap, sizeof(**pending));
		if (!err)
			(*pending)[(*npending)++] = n;
	}
	folder->count = (uint32_t)kept;
	return err;
}

/* All runs anew, from the root on. */
static int mend(struct scout_tree *t)
{
	struct scout_tree_store old = t->runs;
	struct scout_node **pending = NULL;
	size_t npending = 0, cap = 0;
	int err;

	t->runs = (struct scout_tree_store){0};
	err = join(t, &t->root, 1, &t->root);
	if (!err)
		err = join_in(t, &t->root, &pending, &npending, &cap);
	while (!err && npending > 0)
		err = join_in(t, pending[--npending], &pending, &npending, &cap);
	free(pending);
	free_pieces(&old);
	return err;
}

size_t scout_tree_bytes(const struct scout_tree *t)
{
	return sizeof(*t) + t->runs.bytes + t->names.bytes;
}

int scout_tree_build(struct scout_tree *t)
{
	int err = 0;

	while (!err && t->nlevels > 0)
		err = close_folder(t);
	if (err)
		return err;
	t->root = t->open[0];
	if (t->torn)
		err = mend(t);
	free(t->open);
	free(t->levels);
	t->open = NULL;
	t->levels = NULL;
	return err;
}

/* strcmp of a component (len bytes) and a name. */
static int compare(const char *component, size_t len, const char *name)
{
	int order = strncmp(component, name, len);

	return order != 0 ? order : name[len] == '\0' ? 0 : -1;
}

static const struct scout_node *find_child(const struct scout_node *n, const char *component,
					   size_t len)
{
	uint32_t lo = 0, hi = n->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int order = compare(component, len, n->children[mid].name);

		if (order == 0)
			return &n->children[mid];
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct scout_node *scout_tree_find(const struct scout_tree *t, const char *path)
{
	const struct scout_node *n = &t->root;

	while (n && *path) {
		size_t len = strcspn(path, "/");

		n = n->dir ? find_child(n, path, len) : NULL;
		path += len;
		if (*path == '/')
			path++;
	}
	return n;
}
