/* See names.h. The next one in an order is searched for among all: that is done once for a file that is read
 * over a distance, of a thousand names. */
#include "hosts/names.h"

#include <stdlib.h>
#include <string.h>

#include "scoutfs/hash.h"

void scout_names_free(struct scout_names *n)
{
	scout_text_free(&n->text);
	free(n->list);
	*n = (struct scout_names){0};
}

bool scout_names_copy(struct scout_names *ret, const struct scout_names *n)
{
	*ret = (struct scout_names){.ino = n->ino, .began_ns = n->began_ns, .changes = n->changes};
	if (!n->count)
		return true;
	scout_text_append(&ret->text, n->text.str, n->text.len);
	ret->list = malloc(n->count * sizeof *ret->list);
	if (ret->text.failed || !ret->list) {
		scout_names_free(ret);
		return false;
	}
	memcpy(ret->list, n->list, n->count * sizeof *ret->list);
	ret->count = ret->cap = n->count;
	return true;
}

bool scout_names_add(struct scout_names *n, const struct scout_dirent *entry)
{
	size_t len = strlen(entry->name) + 1;
	struct scout_name *e;

	if (n->count == SCOUT_NAMES_MAX || n->text.len + len > SCOUT_NAMES_BYTES_MAX)
		return false;
	if (n->count == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 64;
		struct scout_name *more = realloc(n->list, cap * sizeof *more);

		if (!more)
			return false;
		n->list = more;
		n->cap = cap;
	}
	e = &n->list[n->count];
	*e =
	    (struct scout_name){.at = n->text.len, .rank = (unsigned)n->count, .attr = entry->attr};
	scout_text_append(&n->text, entry->name, len);
	n->count += !n->text.failed;
	return !n->text.failed;
}

static int compare(const void *a, const void *b, void *text)
{
	const struct scout_name *one = a, *other = b;

	return strcmp((char *)text + one->at, (char *)text + other->at);
}

void scout_names_sort(struct scout_names *n)
{
	if (n->count)
		qsort_r(n->list, n->count, sizeof n->list[0], compare, n->text.str);
}

const struct scout_name *scout_names_find(const struct scout_names *n, const char *name)
{
	size_t low = 0, high = n->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = strcmp(name, scout_names_str(n, &n->list[middle]));

		if (!c)
			return &n->list[middle];
		if (c < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static bool is_of(const struct scout_name *e, enum scout_kind kind)
{
	if (kind == SCOUT_KIND_FOLDER)
		return S_ISDIR(e->attr.mode);
	return S_ISREG(e->attr.mode) && e->attr.size > 0;
}

static void number(struct scout_names *n, uint64_t ino)
{
	for (size_t i = 0; i < n->count; i++)
		n->list[i].number = scout_hash_ino(ino, scout_names_str(n, &n->list[i]));
	n->ino = ino;
}

/* Where e stands in an order. */
static uint64_t key(const struct scout_names *n, enum scout_order order, const struct scout_name *e)
{
	if (order == SCOUT_ORDER_LISTED)
		return e->rank;
	return order == SCOUT_ORDER_NAME ? (uint64_t)(e - n->list) : e->number;
}

const struct scout_name *scout_names_next(struct scout_names *n, enum scout_order order,
					  enum scout_kind kind, uint64_t ino,
					  const struct scout_name *after)
{
	const struct scout_name *next = NULL;
	uint64_t from, best = UINT64_MAX;

	if (order == SCOUT_ORDER_INODE && n->ino != ino)
		number(n, ino);
	from = after ? key(n, order, after) : 0;

	for (size_t i = 0; i < n->count; i++) {
		const struct scout_name *e = &n->list[i];
		uint64_t k;

		if (!is_of(e, kind))
			continue;
		k = key(n, order, e);
		if ((after && k <= from) || k >= best)
			continue;
		best = k;
		next = e;
	}
	return next;
}
