/* The listings that all requests share. One flat view of all keys (two requests for 500 models),
 * until they prove to be over list_max_keys; from then on a view for each directory that somebody
 * lists, a bounded number of them, which hold no more names together than one may. Beyond that is what is
 * being listed, and what somebody has open. After a refresh, and once an hour, the first who lists has all keys
 * counted beside that, which nobody waits for; if they are few enough by then, the next who lists has the flat view.
 *
 * A view has at most one listing under way, however many wait for it, and is believed for list_ttl.
 * Then a directory listing waits for a new one, so that `ls` shows what is there now, while lookups
 * go on with the old one, so that an open never waits for a long listing. A failed listing leaves the
 * old tree in place and is not tried again for a second. A refresh ends the belief in all trees at once:
 * who lists afterwards gets what S3 was asked later, also when a listing was under way.
 *
 * m->catalogue_lock for the views; trees are immutable and counted. */
#include "models/catalogue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/listing.h"
#include "models/question.h"
#include "models/versions.h"
#include "scoutfs/clock.h"
#include "scoutfs/log.h"

#define FOLDERS_MAX 64
#define RETRY_NS SCOUT_NS_PER_S
#define RECOUNT_NS (3600 * SCOUT_NS_PER_S)

TAILQ_HEAD(listers, scout_lister);

/* All fields but m, flat and path under m->catalogue_lock. */
struct scout_view {
	struct scout_models *m;       /* immutable */
	bool flat;                    /* immutable */
	struct scout_tree *tree;      /* the last good one, or NULL */
	int err;                      /* of the last listing */
	uint64_t failed_ns;           /* when, if err is not 0 */
	bool running;                 /* a listing is under way */
	unsigned tree_of, tried_of;   /* m->refreshes when that of tree, or the last one, began */
	struct listers listers;       /* who waits for it */
	UT_hash_handle hh;            /* in m->folders */
	TAILQ_ENTRY(scout_view) link; /* in m->old_folders */
	char path[];                  /* immutable */
};

void scout_catalogue_init(struct scout_models *m)
{
	scout_mutex_init(&m->catalogue_lock, SCOUT_LOCK_CATALOGUE);
	TAILQ_INIT(&m->old_folders);
}

static void view_free(struct scout_view *v)
{
	assert(!v->running && TAILQ_EMPTY(&v->listers));
	scout_tree_unref(v->tree);
	free(v);
}

static void forget_folder_locked(struct scout_models *m, struct scout_view *v)
{
	HASH_DEL(m->folders, v);
	TAILQ_REMOVE(&m->old_folders, v, link);
	m->nfolders--;
	view_free(v);
}

void scout_catalogue_destroy(struct scout_models *m)
{
	while (!TAILQ_EMPTY(&m->old_folders))
		forget_folder_locked(m, TAILQ_FIRST(&m->old_folders));
	if (m->flat)
		view_free(m->flat);
	scout_mutex_destroy(&m->catalogue_lock);
}

static struct scout_view *view_new(struct scout_models *m, const char *path, bool flat)
{
	size_t len = strlen(path);
	struct scout_view *v = calloc(1, sizeof(*v) + len + 1);

	if (!v)
		return NULL;
	v->m = m;
	v->flat = flat;
	TAILQ_INIT(&v->listers);
	memcpy(v->path, path, len + 1);
	return v;
}

static bool fresh(const struct scout_view *v, uint64_t now)
{
	return v->tree && v->tree_of == v->m->refreshes &&
	       now - v->tree->listed_ns < v->m->config->list_ttl_ns;
}

static size_t keys_of(const struct scout_view *v)
{
	return v->tree ? v->tree->keys : 0;
}

/* Forgotten, it would take as much memory as before. */
static bool is_open(const struct scout_view *v)
{
	return v->tree && atomic_load(&v->tree->refs) > 1;
}

/* What is too old to be believed goes; then, the least recently used first, what is over FOLDERS_MAX or holds names
 * over list_max_keys in all. What is being listed stays, and spared. */
static void trim_folders_locked(struct scout_models *m, const struct scout_view *spared)
{
	uint64_t now = scout_now_ns();
	struct scout_view *v, *next;
	size_t keys = 0;

	for (v = TAILQ_FIRST(&m->old_folders); v; v = next) {
		next = TAILQ_NEXT(v, link);
		if (v != spared && !v->running && v->tree && !is_open(v) && !fresh(v, now))
			forget_folder_locked(m, v);
		else
			keys += keys_of(v);
	}
	for (v = TAILQ_FIRST(&m->old_folders); v; v = next) {
		next = TAILQ_NEXT(v, link);
		if (v == spared || v->running)
			continue;
		if (m->nfolders > FOLDERS_MAX || (keys > m->config->list_max_keys && !is_open(v))) {
			keys -= keys_of(v);
			forget_folder_locked(m, v);
		}
	}
}

static struct scout_view *get_flat_locked(struct scout_models *m)
{
	if (!m->flat)
		m->flat = view_new(m, "", true);
	return m->flat;
}

static struct scout_view *get_folder_locked(struct scout_models *m, const char *path)
{
	struct scout_view *v;

	HASH_FIND_STR(m->folders, path, v);
	if (v) {
		TAILQ_REMOVE(&m->old_folders, v, link);
		TAILQ_INSERT_TAIL(&m->old_folders, v, link);
		return v;
	}
	v = view_new(m, path, false);
	if (!v)
		return NULL;
	HASH_ADD_STR(m->folders, path, v);
	if (!v->hh.tbl) {
		free(v);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&m->old_folders, v, link);
	m->nfolders++;
	trim_folders_locked(m, v);
	return v;
}

static bool failed_just_now(const struct scout_view *v, uint64_t now)
{
	return v->err < 0 && v->tried_of == v->m->refreshes && now - v->failed_ns < RETRY_NS;
}

/* Of too many keys: whether they may be fewer by now. */
static bool recounts(const struct scout_view *flat, uint64_t now)
{
	return !flat->running &&
	       (flat->tried_of != flat->m->refreshes || now - flat->failed_ns >= RECOUNT_NS);
}

static void begin_locked(struct scout_view *v)
{
	v->running = true;
	v->tried_of = v->m->refreshes;
}

/* Those whom the listing that is over serves go to listers; begins another one for the rest. */
static bool sort_listers_locked(struct scout_view *v, bool failed, struct listers *listers)
{
	struct scout_lister *l = TAILQ_FIRST(&v->listers), *next;

	for (; l; l = next) {
		next = TAILQ_NEXT(l, link);
		if (!failed && (int)(l->since - v->tried_of) > 0) /* refreshes may wrap */
			continue;
		TAILQ_REMOVE(&v->listers, l, link);
		TAILQ_INSERT_TAIL(listers, l, link);
	}
	if (TAILQ_EMPTY(&v->listers))
		return false;
	begin_locked(v);
	return true;
}

static void start(struct scout_view *v);

/* Nothing at all was listed: no such directory. The root is always there, and so is a folder
 * of versions. */
static int found(const struct scout_view *v)
{
	return v->flat || v->path[0] == '\0' || v->tree->keys > 0 ||
		       scout_versions_cut(v->m, v->path) > 0
		   ? 0
		   : -ENOENT;
}

static void view_listed(void *arg, int err, struct scout_tree *tree)
{
	struct scout_view *v = arg;
	struct scout_models *m = v->m;
	struct scout_tree *old = NULL;
	struct listers listers = TAILQ_HEAD_INITIALIZER(listers);
	struct scout_lister *l;
	bool flat = v->flat, recount, too_many, again;
	char name[256];

	scout_format_name(name, sizeof(name), v->path);
	scout_lock(&m->catalogue_lock);
	v->running = false;
	v->err = err;
	recount = flat && m->too_many_keys;
	if (tree && !recount) { /* else what folders' listings told may be newer */
		old = v->tree;
		v->tree = tree;
		v->tree_of = v->tried_of;
		err = found(v);
		scout_tree_ref(tree); /* the folder may be forgotten while listers are told */
	} else if (!tree) {
		v->failed_ns = scout_now_ns();
	}
	if (flat && err == -E2BIG) {
		m->too_many_keys = true;
		old = v->tree;
		v->tree = NULL;
	} else if (tree && recount) {
		m->too_many_keys = false;
	}
	too_many = flat && m->too_many_keys;
	again = sort_listers_locked(v, !tree, &listers);
	trim_folders_locked(m, v);
	scout_unlock(&m->catalogue_lock);

	/* not before the listing that tells it, too, is there: see scout_catalogue_known */
	if (tree && flat && !recount)
		scout_question_forget(m, tree->asked_ns);
	if (again)
		start(v);
	if (too_many != recount)
		scout_info("models: %s than %zu keys (list_max_keys): listing %s",
			   too_many ? "more" : "no more", m->config->list_max_keys,
			   too_many ? "by directory" : "all together");
	if (!flat && err == -E2BIG)
		scout_warn("models: '%s' holds more than %zu names (list_max_keys)", name,
			   m->config->list_max_keys);
	scout_tree_unref(old);
	while ((l = TAILQ_FIRST(&listers))) {
		TAILQ_REMOVE(&listers, l, link);
		l->listed(l, err, err == 0 ? scout_tree_ref(tree) : NULL);
	}
	scout_tree_unref(tree);
}

/* v->running was set by the caller, who holds no lock now. */
static void start(struct scout_view *v)
{
	int err = scout_listing_start(v->m, v->path, v->flat, view_listed, v);

	if (err < 0)
		view_listed(v, err, NULL);
}

void scout_catalogue_list(struct scout_models *m, const char *folder, struct scout_lister *l)
{
	struct scout_tree *tree = NULL;
	struct scout_view *v = NULL;
	bool begin = false;
	uint64_t now;
	int err = 0;

	scout_lock(&m->catalogue_lock);
	now = scout_now_ns(); /* here, so that no listing that is seen ended later */
	v = folder ? get_folder_locked(m, folder) : get_flat_locked(m);
	if (!v) {
		err = -ENOMEM;
	} else if (v->flat && m->too_many_keys) {
		err = -E2BIG;
		begin = recounts(v, now);
		if (begin)
			begin_locked(v);
	} else if (fresh(v, now)) {
		err = found(v);
		tree = err == 0 ? scout_tree_ref(v->tree) : NULL;
	} else if (!v->running && failed_just_now(v, now)) {
		err = v->err;
	} else {
		l->since = m->refreshes;
		TAILQ_INSERT_TAIL(&v->listers, l, link);
		begin = !v->running;
		if (begin)
			begin_locked(v);
		l = NULL;
	}
	scout_unlock(&m->catalogue_lock);
	if (begin)
		start(v);
	if (l)
		l->listed(l, err, tree);
}

/* The view that would show path, and path as seen from it; NULL: none was listed yet. */
static struct scout_view *view_of_locked(struct scout_models *m, const char *path,
					 const char **below)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	struct scout_view *v;

	if (!m->too_many_keys) {
		*below = path;
		return get_flat_locked(m);
	}
	HASH_FIND(hh, m->folders, path, len, v);
	*below = slash ? slash + 1 : path;
	return v;
}

/* Whether keys below an object's name are such as can be shown, a folder's listing does not tell: then it is as if there
 * were none. */
static const struct scout_node *find(struct scout_models *m, const char *path, bool renew,
				     struct scout_tree **tree)
{
	const struct scout_node *n;
	const char *below = path;
	struct scout_view *v;
	bool begin, flat;
	uint64_t now;

	*tree = NULL;
	scout_lock(&m->catalogue_lock);
	now = scout_now_ns();
	v = view_of_locked(m, path, &below);
	if (v && v->tree && (v->flat ? v->tree_of == m->refreshes : fresh(v, now)))
		*tree = scout_tree_ref(v->tree);
	flat = v && v->flat;
	begin = renew && flat && !fresh(v, now) && !v->running && !failed_just_now(v, now);
	if (begin)
		begin_locked(v);
	scout_unlock(&m->catalogue_lock);
	if (begin)
		start(v);
	n = *tree ? scout_tree_find(*tree, below) : NULL;
	if (n && n->both && !flat) {
		scout_tree_unref(*tree);
		*tree = NULL;
		n = NULL;
	}
	return n;
}

bool scout_catalogue_known(struct scout_models *m, const char *path, bool renew,
			   const struct scout_node **node, struct scout_tree **tree,
			   struct scout_answer *answer)
{
	/* first, for what is not there any more is in the listing by now */
	bool known = scout_question_known(m, path, 0, answer);

	*node = find(m, path, renew, tree);
	return known && (!*tree || answer->asked_ns > (*tree)->asked_ns);
}

uint64_t scout_catalogue_found_nothing_ns(struct scout_models *m, const char *folder)
{
	struct scout_view *v;
	uint64_t asked_ns = 0;

	scout_lock(&m->catalogue_lock);
	HASH_FIND_STR(m->folders, folder, v);
	if (v && v->tree && v->tree->keys == 0)
		asked_ns = v->tree->asked_ns;
	scout_unlock(&m->catalogue_lock);
	return asked_ns;
}

void scout_catalogue_refresh(struct scout_models *m)
{
	scout_lock(&m->catalogue_lock);
	m->refreshes++;
	scout_unlock(&m->catalogue_lock);
	scout_question_refresh(m);
}

size_t scout_catalogue_bytes(struct scout_models *m)
{
	struct scout_view *v;
	size_t bytes = 0;

	scout_lock(&m->catalogue_lock);
	if (m->flat && m->flat->tree)
		bytes += scout_tree_bytes(m->flat->tree);
	TAILQ_FOREACH (v, &m->old_folders, link)
		bytes += v->tree ? scout_tree_bytes(v->tree) : 0;
	scout_unlock(&m->catalogue_lock);
	return bytes;
}

struct scout_tree *scout_catalogue_peek(struct scout_models *m, bool *too_many_keys)
{
	struct scout_tree *tree = NULL;

	scout_lock(&m->catalogue_lock);
	if (m->flat && m->flat->tree)
		tree = scout_tree_ref(m->flat->tree);
	*too_many_keys = m->too_many_keys;
	scout_unlock(&m->catalogue_lock);
	return tree;
}
