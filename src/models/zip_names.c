/* An archive's members. Their paths stand in one arena; the entries are sorted by their paths'
 * components, so that what lies in a folder is a run of them, and folders need no nodes: a lookup is a
 * binary search, a listing walks the run.
 *
 * Names are the remote's word: they are judged as keys of objects are (keys.h), and those that cannot be
 * file names are counted and left out. Of two members of one name the last one counts, as for other
 * readers of zip archives; a folder wins over a file. Pure; the caller locks. */
#include "models/zip_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 30 /* of a local header, at least */
#define RATIO_MAX 1032  /* deflate's: 258 bytes for two bits */

size_t scout_zip_names_memory(const struct scout_zip_names *n)
{
	return n->cap * sizeof(*n->entries) + n->arena_cap;
}

void scout_zip_names_destroy(struct scout_zip_names *n)
{
	free(n->entries);
	free(n->arena);
	*n = (struct scout_zip_names){.count = 0};
}

/* Room for count more elements of size bytes in *array. */
static int reserve(void *array, size_t used, size_t count, size_t *cap, size_t size)
{
	void **p = array;
	size_t want = *cap ? *cap : 64;
	void *bigger;

	if (count <= *cap - used)
		return 0;
	while (want - used < count)
		want += want / 2;
	if (want > SCOUT_ZIP_NAMES_MAX / size)
		want = SCOUT_ZIP_NAMES_MAX / size;
	if (want < used || want - used < count)
		return -EFBIG;
	bigger = reallocarray(*p, want, size);
	if (!bigger)
		return -ENOMEM;
	*p = bigger;
	*cap = want;
	return 0;
}

static enum scout_zip_refusal judge(const struct scout_zip_entry *e)
{
	if (e->refusal != SCOUT_ZIP_FINE)
		return (enum scout_zip_refusal)e->refusal;
	if (e->method == SCOUT_ZIP_STORED)
		return e->packed == e->bytes ? SCOUT_ZIP_FINE : SCOUT_ZIP_SIZES;
	if (e->method != SCOUT_ZIP_DEFLATED)
		return SCOUT_ZIP_METHOD;
	return (e->bytes + RATIO_MAX - 1) / RATIO_MAX > e->packed ? SCOUT_ZIP_BOMB : SCOUT_ZIP_FINE;
}

int scout_zip_names_add(struct scout_zip_names *n, const struct scout_zip_entry *e,
			const char *path, size_t len)
{
	enum scout_key_kind kind = scout_key_judge(path, len, e->bytes);
	struct scout_zip_entry *to;
	int err;

	if (kind != SCOUT_KEY_FILE && kind != SCOUT_KEY_DIR) {
		n->left_out[kind == SCOUT_KEY_ROOT ? SCOUT_KEY_EMPTY_NAME : kind]++;
		return 0;
	}
	if (kind == SCOUT_KEY_DIR)
		len--;
	err = reserve(&n->arena, n->arena_len, len + 1, &n->arena_cap, 1);
	if (err == 0)
		err = reserve(&n->entries, n->count, 1, &n->cap, sizeof(*n->entries));
	if (err == 0 && scout_zip_names_memory(n) > SCOUT_ZIP_NAMES_MAX)
		err = -EFBIG;
	if (err < 0)
		return err;
	to = &n->entries[n->count];
	*to = *e;
	to->path = (uint32_t)n->arena_len;
	to->path_len = (uint16_t)len;
	to->order = (uint32_t)n->count++;
	to->dir = kind == SCOUT_KEY_DIR;
	to->refusal = (uint8_t)judge(e);
	memcpy(n->arena + n->arena_len, path, len);
	n->arena[n->arena_len + len] = '\0';
	n->arena_len += len + 1;
	return 0;
}

/* ---- build ---- */

/* Of one path, the one that counts comes last. */
static int by_path(const void *a, const void *b, void *arena)
{
	const struct scout_zip_entry *x = a, *y = b;
	int order = scout_key_compare((char *)arena + x->path, (char *)arena + y->path);

	if (order == 0)
		order = x->dir - y->dir;
	return order != 0 ? order : x->order < y->order ? -1 : x->order > y->order;
}

/* Whether other is of e's path, or of one below it. */
static bool hides(const struct scout_zip_names *n, const struct scout_zip_entry *e,
		  const struct scout_zip_entry *other)
{
	const char *path = n->arena + other->path;
	bool below;

	if (other->path_len < e->path_len || memcmp(path, n->arena + e->path, e->path_len) != 0)
		return false;
	below = path[e->path_len] == '/';
	return path[e->path_len] == '\0' || (below && !e->dir);
}

static void drop_hidden(struct scout_zip_names *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->count; i++) {
		if (i + 1 < n->count && hides(n, &n->entries[i], &n->entries[i + 1]))
			n->replaced++;
		else
			n->entries[kept++] = n->entries[i];
	}
	n->count = kept;
}

static int by_header(const void *a, const void *b)
{
	const struct scout_zip_entry *x = *(const struct scout_zip_entry *const *)a;
	const struct scout_zip_entry *y = *(const struct scout_zip_entry *const *)b;

	return x->header < y->header ? -1 : x->header > y->header;
}

/* Entries that lie outside of [0, end) are refused, and those that share bytes: what looks like a lot of
 * files may be one small one, over and over. */
static int judge_places(struct scout_zip_names *n, uint64_t end)
{
	struct scout_zip_entry **all = calloc(n->count ? n->count : 1,
					      sizeof(struct scout_zip_entry *)),
			       *last = NULL;
	uint64_t reached = 0;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < n->count; i++)
		all[i] = &n->entries[i];
	qsort(all, n->count, sizeof(struct scout_zip_entry *), by_header);
	for (size_t i = 0; i < n->count; i++) {
		struct scout_zip_entry *e = all[i];

		if (e->header > end || end - e->header < HEADER_BYTES ||
		    end - e->header - HEADER_BYTES < e->packed) {
			e->refusal = SCOUT_ZIP_OUTSIDE;
			continue;
		}
		if (last && e->header < reached)
			last->refusal = e->refusal = SCOUT_ZIP_OVERLAPS;
		if (e->header + HEADER_BYTES + e->packed > reached) {
			reached = e->header + HEADER_BYTES + e->packed;
			last = e;
		}
	}
	free(all);
	return 0;
}

int scout_zip_names_build(struct scout_zip_names *n, uint64_t end)
{
	if (n->count > 0)
		qsort_r(n->entries, n->count, sizeof(*n->entries), by_path, n->arena);
	drop_hidden(n);
	return judge_places(n, end);
}

/* ---- looking ---- */

/* Where path (len bytes) stands against the entry at i: below 0 before it, 0 it is the entry's path or a
 * folder above it, over 0 behind it. */
static int stands(const struct scout_zip_names *n, uint32_t i, const char *path, size_t len)
{
	const char *q = n->arena + n->entries[i].path;
	size_t same = 0;

	while (same < len && path[same] == q[same])
		same++;
	if (same < len)
		return scout_key_compare(path + same, q + same); /* in their first bytes */
	return q[len] == '\0' || q[len] == '/' ? 0 : -1;
}

/* The first entry in [from, end) behind which all others stand behind path (after: and its run). */
static uint32_t bound(const struct scout_zip_names *n, uint32_t from, uint32_t end,
		      const char *path, size_t len, bool after)
{
	/* a run is mostly short: look near by first */
	uint32_t step = 1;

	while (from + step < end && stands(n, from + step - 1, path, len) >= !after) {
		from += step;
		step *= 2;
	}
	if (from + step < end)
		end = from + step;
	while (from < end) {
		uint32_t mid = from + (end - from) / 2;

		if (stands(n, mid, path, len) >= !after)
			from = mid + 1;
		else
			end = mid;
	}
	return from;
}

/* The run [first, end) as what it is under the first len bytes of its paths. */
static void make_place(const struct scout_zip_names *n, uint32_t first, uint32_t end, size_t len,
		       struct scout_zip_place *ret)
{
	const struct scout_zip_entry *e = &n->entries[first];
	bool own = e->path_len == len;

	*ret = (struct scout_zip_place){
	    .entry = own ? e : NULL,
	    .first = own ? first + 1 : first,
	    .end = end,
	    .skip = (uint32_t)len + 1,
	    .dir = !own || e->dir,
	};
}

bool scout_zip_names_find(const struct scout_zip_names *n, const char *path,
			  struct scout_zip_place *ret)
{
	size_t len = strlen(path);
	uint32_t count = (uint32_t)n->count, first;

	if (len == 0) {
		*ret = (struct scout_zip_place){.end = count, .dir = true};
		return true;
	}
	first = bound(n, 0, count, path, len, false);
	if (first == count || stands(n, first, path, len) != 0)
		return false;
	make_place(n, first, bound(n, first, count, path, len, true), len, ret);
	return true;
}

uint32_t scout_zip_names_child(const struct scout_zip_names *n, const struct scout_zip_place *dir,
			       uint32_t at, const char **name, size_t *len,
			       struct scout_zip_place *ret)
{
	const char *path = n->arena + n->entries[at].path;
	size_t to = dir->skip + strcspn(path + dir->skip, "/");
	uint32_t end = bound(n, at, dir->end, path, to, true);

	*name = path + dir->skip;
	*len = to - dir->skip;
	make_place(n, at, end, to, ret);
	return end;
}

const char *scout_zip_refusal_words(enum scout_zip_refusal refusal)
{
	switch (refusal) {
	case SCOUT_ZIP_ENCRYPTED:
		return "encrypted";
	case SCOUT_ZIP_METHOD:
		return "neither stored nor deflated";
	case SCOUT_ZIP_BOMB:
		return "too large for what it is packed in";
	case SCOUT_ZIP_SIZES:
		return "stored, yet of two sizes";
	case SCOUT_ZIP_OUTSIDE:
		return "beyond the archive's data";
	case SCOUT_ZIP_OVERLAPS:
		return "overlaps another member";
	case SCOUT_ZIP_FINE:
		break;
	}
	return "fine";
}
