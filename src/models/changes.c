/* What this mount has published and removed, by path, for as long as a listing may be older than that:
 * list_ttl and the time that listing takes. And the folders that mkdir(2) made, which live in this mount
 * only until an object is in them; from then on S3 has them, and they are forgotten as other changes are.
 *
 * A bounded number of each: the oldest changes are forgotten, which means that others see them no later
 * than list_ttl. publisher->lock for the table. */
#include "models/changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/clock.h"

#define CHANGES_MAX 4096
#define FOLDERS_MAX 1000
#define LISTING_NS (60 * SCOUT_NS_PER_S)

struct scout_change {
	enum scout_change_kind kind;
	uint64_t at_ns;
	struct scout_attr attr; /* of FILE */
	bool filled;            /* FOLDER: an object was published in it */
	UT_hash_handle hh;      /* publisher->changes, oldest first */
	char path[];
};

static void drop_locked(struct scout_publisher *pub, struct scout_change *c)
{
	HASH_DEL(pub->changes, c);
	free(c);
}

/* A folder that is nowhere but here. */
static bool is_ours(const struct scout_change *c)
{
	return c->kind == SCOUT_CHANGE_FOLDER && !c->filled;
}

static bool is_old(const struct scout_publisher *pub, const struct scout_change *c)
{
	uint64_t life = pub->m->config->list_ttl_ns + LISTING_NS;

	return !is_ours(c) && scout_now_ns() - c->at_ns > life;
}

/* Forgets what listings show by now, and the oldest of what is too much. */
static void trim_locked(struct scout_publisher *pub)
{
	struct scout_change *c, *next;
	unsigned left = HASH_COUNT(pub->changes);

	HASH_ITER (hh, pub->changes, c, next) {
		if (is_old(pub, c) || (!is_ours(c) && left > CHANGES_MAX)) {
			drop_locked(pub, c);
			left--;
		}
	}
}

/* Without memory it is as if others had made the change. */
static struct scout_change *add_locked(struct scout_publisher *pub, const char *path,
				       enum scout_change_kind kind)
{
	size_t len = strlen(path) + 1;
	struct scout_change *c;

	HASH_FIND_STR(pub->changes, path, c);
	if (c)
		drop_locked(pub, c);
	c = calloc(1, sizeof(*c) + len);
	if (!c)
		return NULL;
	c->kind = kind;
	c->at_ns = scout_now_ns();
	memcpy(c->path, path, len);
	HASH_ADD_STR(pub->changes, path, c);
	if (!c->hh.tbl) {
		free(c);
		return NULL;
	}
	return c;
}

/* An object is below the folders of path: S3 has them. */
static void fill_parents_locked(struct scout_publisher *pub, const char *path)
{
	struct scout_change *c;

	for (size_t len = strlen(path); len > 0; len--) {
		if (path[len] != '/')
			continue;
		HASH_FIND(hh, pub->changes, path, len, c);
		if (!c || c->kind != SCOUT_CHANGE_FOLDER)
			continue;
		HASH_DEL(pub->changes, c);
		c->filled = true;
		c->at_ns = scout_now_ns();
		HASH_ADD_STR(pub->changes, path, c);
		if (!c->hh.tbl)
			free(c);
	}
}

void scout_changes_published(struct scout_publisher *pub, const char *path,
			     const struct scout_attr *attr)
{
	struct scout_change *c;

	scout_lock(&pub->lock);
	c = add_locked(pub, path, SCOUT_CHANGE_FILE);
	if (c)
		c->attr = *attr;
	fill_parents_locked(pub, path);
	trim_locked(pub);
	scout_unlock(&pub->lock);
}

void scout_changes_removed(struct scout_publisher *pub, const char *path)
{
	scout_lock(&pub->lock);
	(void)add_locked(pub, path, SCOUT_CHANGE_GONE);
	trim_locked(pub);
	scout_unlock(&pub->lock);
}

int scout_changes_mkdir(struct scout_publisher *pub, const char *path)
{
	struct scout_change *c;
	unsigned folders = 0;
	int err = -ENOSPC;

	scout_lock(&pub->lock);
	for (c = pub->changes; c; c = c->hh.next)
		folders += is_ours(c);
	if (folders < FOLDERS_MAX)
		err = add_locked(pub, path, SCOUT_CHANGE_FOLDER) ? 0 : -ENOMEM;
	scout_unlock(&pub->lock);
	return err;
}

enum scout_change_kind scout_changes_find(struct scout_publisher *pub, const char *path)
{
	enum scout_change_kind kind = SCOUT_CHANGE_NONE;
	struct scout_change *c;

	scout_lock(&pub->lock);
	HASH_FIND_STR(pub->changes, path, c);
	if (c && !is_old(pub, c))
		kind = c->kind;
	scout_unlock(&pub->lock);
	return kind;
}

/* What path is called in folder, or NULL when it is not below it. */
static const char *below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	if (len == 0)
		return path;
	return strncmp(path, folder, len) == 0 && path[len] == '/' ? path + len + 1 : NULL;
}

bool scout_changes_folder_below(struct scout_publisher *pub, const char *path)
{
	struct scout_change *c;
	bool found = false;

	scout_lock(&pub->lock);
	for (c = pub->changes; c && !found; c = c->hh.next)
		found = c->kind == SCOUT_CHANGE_FOLDER && below(c->path, path) && !is_old(pub, c);
	scout_unlock(&pub->lock);
	return found;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct scout_changed *)a)->name,
		      ((const struct scout_changed *)b)->name);
}

ssize_t scout_changes_list(struct scout_publisher *pub, const char *folder, uint64_t listed_ns,
			   struct scout_changed **ret)
{
	struct scout_changed *list;
	struct scout_change *c;
	ssize_t count = 0;

	scout_lock(&pub->lock);
	list = calloc(HASH_COUNT(pub->changes) + 1, sizeof(*list));
	for (c = list ? pub->changes : NULL; c; c = c->hh.next) {
		const char *name = below(c->path, folder);

		if (!name || strchr(name, '/') || is_old(pub, c) ||
		    (c->kind != SCOUT_CHANGE_FOLDER && c->at_ns < listed_ns))
			continue;
		list[count].name = strdup(name);
		if (!list[count].name)
			break;
		list[count].kind = c->kind;
		list[count].at_ns = c->at_ns;
		list[count++].attr = c->attr;
	}
	scout_unlock(&pub->lock);
	if (!list || c) {
		scout_changes_drop(list, count);
		return -ENOMEM;
	}
	qsort(list, (size_t)count, sizeof(*list), by_name);
	*ret = list;
	return count;
}

void scout_changes_drop(struct scout_changed *list, ssize_t count)
{
	for (ssize_t i = 0; i < count; i++)
		free(list[i].name);
	free(list);
}

bool scout_changes_any(struct scout_publisher *pub, const char *path)
{
	struct scout_change *c;
	bool found = false;

	scout_lock(&pub->lock);
	for (c = pub->changes; c && !found; c = c->hh.next) {
		const char *name = below(c->path, path);

		found = name && !strchr(name, '/') && !is_old(pub, c);
	}
	scout_unlock(&pub->lock);
	return found;
}

void scout_changes_destroy(struct scout_publisher *pub)
{
	while (pub->changes)
		drop_locked(pub, pub->changes);
}
