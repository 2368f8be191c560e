/* See folder.h: the table of folders, and listing one for nobody in particular. What a listing says is held
 * against what the server answered otherwise since, and is of use only while nothing was sent that modifies.
 *
 * Locks: aheads->lock, a leaf; listings are begun and freed without it. */
#include "hosts/folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/ahead.h"
#include "hosts/dir.h"
#include "scoutfs/hash.h"

#define FOLDERS_MAX 32 /* of all hosts */
#define BUSY_MAX 16    /* listings under way, of all hosts; */
#define BUSY_MIN 4     /* but so many of each: one that hangs keeps nobody else from it; */
#define BUSY_LAST 8    /* of the last of all folders, one of each */

/* A listing under way; belongs to whoever it is completed by. */
struct lister {
	struct scout_req req;
	struct scout_host *host; /* with a reference */
	char *path;
	struct scout_dir *dir;
	struct scout_names names;
};

uint64_t scout_folder_hash(const char *name)
{
	return scout_hash(SCOUT_HASH_START, name, strlen(name));
}

void scout_folder_free_all(struct scout_folders *list)
{
	struct scout_folder *f;

	while ((f = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, f, link);
		scout_names_free(&f->names);
		free(f->path);
		free(f);
	}
}

struct scout_folder *scout_folder_find_locked(struct scout_host *host, const char *path, size_t len)
{
	struct scout_folder *f;

	TAILQ_FOREACH (f, &host->all->aheads.folders, link)
		if (f->host == host && !strncmp(f->path, path, len) && !f->path[len])
			return f;
	return NULL;
}

void scout_folder_touch_locked(struct scout_folder *f)
{
	struct scout_aheads *all = &f->host->all->aheads;

	TAILQ_REMOVE(&all->folders, f, link);
	TAILQ_INSERT_TAIL(&all->folders, f, link);
	f->used_ns = scout_now_ns();
}

static struct scout_folder *folder_new(struct scout_host *host, const char *path, size_t len)
{
	struct scout_folder *f = calloc(1, sizeof *f);

	if (f)
		f->path = strndup(path, len);
	if (!f || !f->path) {
		free(f);
		return NULL;
	}
	f->host = host;
	TAILQ_INIT(&f->openers);
	return f;
}

/* Somebody goes through f's files or folders, and is not at the end. */
static bool is_walked_locked(struct scout_folder *f, uint64_t now_ns)
{
	if (f->used_ns + f->host->config->attr_timeout_ns <= now_ns)
		return false;
	for (enum scout_kind kind = 0; kind < SCOUT_KINDS; kind++)
		if (scout_walk_next(&f->walks[kind], &f->names, kind, f->ino, NULL))
			return true;
	return false;
}

/* f must not make place for one that nobody came to yet. */
static bool is_of_use_locked(struct scout_folder *f, uint64_t now_ns)
{
	return f->busy || f->used_ns >= now_ns ||
	       (f->fresh && scout_folder_valid_locked(f, now_ns)) || is_walked_locked(f, now_ns);
}

static struct scout_folder *useless_locked(struct scout_aheads *all, uint64_t now_ns)
{
	struct scout_folder *f;

	TAILQ_FOREACH (f, &all->folders, link)
		if (!is_of_use_locked(f, now_ns))
			break;
	return f;
}

static struct scout_folder *least_recent_locked(struct scout_aheads *all)
{
	struct scout_folder *f;

	TAILQ_FOREACH (f, &all->folders, link)
		if (!f->busy)
			break;
	return f;
}

/* A new folder, in old's place when there is no other. */
static struct scout_folder *add_locked(struct scout_host *host, const char *path, size_t len,
				       struct scout_folder *old, struct scout_folders *evicted)
{
	struct scout_aheads *all = &host->all->aheads;
	bool full = all->count == FOLDERS_MAX;
	struct scout_folder *f = full && !old ? NULL : folder_new(host, path, len);

	if (!f)
		return NULL;
	if (full) {
		scout_folder_stale_locked(old);
		TAILQ_REMOVE(&all->folders, old, link);
		TAILQ_INSERT_TAIL(evicted, old, link);
	} else {
		all->count++;
	}
	TAILQ_INSERT_TAIL(&all->folders, f, link);
	return f;
}

/* Whoever comes to path comes to the folder that it lies in, too. */
static void touch_parent_locked(struct scout_host *host, const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);
	struct scout_folder *up =
	    slash ? scout_folder_find_locked(host, path, (size_t)(slash - path)) : NULL;

	if (up)
		scout_folder_touch_locked(up);
}

struct scout_folder *scout_folder_get_locked(struct scout_host *host, const char *path, size_t len,
					     struct scout_folders *evicted)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folder *f = scout_folder_find_locked(host, path, len), *old = NULL;
	uint64_t now_ns = scout_now_ns();

	touch_parent_locked(host, path, len);
	if (!f && all->count == FOLDERS_MAX) {
		old = useless_locked(all, now_ns);
		old = old ? old : least_recent_locked(all);
	}
	if (!f)
		f = add_locked(host, path, len, old, evicted);
	if (f)
		scout_folder_touch_locked(f);
	return f;
}

/* Hosts that hang keep neither all folders nor all listings. */
static bool has_room_locked(const struct scout_host *host)
{
	const struct scout_folder *f;
	unsigned busy = 0, own = 0, most;

	TAILQ_FOREACH (f, &host->all->aheads.folders, link) {
		busy += f->busy;
		own += f->busy && f->host == host;
	}
	most = busy < FOLDERS_MAX - BUSY_LAST ? BUSY_MIN : 1;
	return busy < BUSY_MAX || own < most;
}

struct scout_folder *scout_folder_plan_locked(struct scout_host *host, const char *path,
					      uint64_t now_ns, struct scout_folders *evicted)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folder *f = scout_folder_find_locked(host, path, strlen(path));

	if (f)
		return scout_folder_ready_locked(f, now_ns) ? f : NULL;
	if (!scout_host_is_calm(host, now_ns) || !has_room_locked(host))
		return NULL;
	return add_locked(host, path, strlen(path),
			  all->count == FOLDERS_MAX ? useless_locked(all, now_ns) : NULL, evicted);
}

/* How old what began then is; now_ns may be from before. */
static uint64_t age_ns(uint64_t began_ns, uint64_t now_ns)
{
	return now_ns > began_ns ? now_ns - began_ns : 0;
}

bool scout_folder_old_locked(const struct scout_folder *f, uint64_t now_ns)
{
	return !f->names.began_ns ||
	       age_ns(f->names.began_ns, now_ns) > f->host->config->attr_timeout_ns / 2;
}

bool scout_folder_ready_locked(const struct scout_folder *f, uint64_t now_ns)
{
	return !f->busy && now_ns >= f->not_before_ns && scout_host_is_calm(f->host, now_ns) &&
	       has_room_locked(f->host);
}

bool scout_folder_valid_locked(const struct scout_folder *f, uint64_t now_ns)
{
	return !f->wrong && f->names.began_ns &&
	       age_ns(f->names.began_ns, now_ns) < f->host->config->attr_timeout_ns &&
	       f->names.changes == atomic_load(&f->host->changes);
}

void scout_folder_stale_locked(struct scout_folder *f)
{
	if (f->fresh)
		scout_count(&f->host->all->counters.folders_ahead_wasted, 1);
	f->fresh = false;
}

static bool differs(const struct scout_attr *a, const struct scout_attr *b)
{
	return a->version != b->version || a->mode != b->mode || a->uid != b->uid ||
	       a->gid != b->gid;
}

/* What the server answered of late is as the listing says. */
static bool agrees_locked(const struct scout_folder *f, const struct scout_names *n)
{
	for (size_t i = 0; i < n->count && f->seen_changes == n->changes; i++) {
		uint64_t h = scout_folder_hash(scout_names_str(n, &n->list[i]));

		for (unsigned k = 0; k < SCOUT_FOLDER_SEEN && k < f->nseen; k++)
			if (f->seen[k].name == h &&
			    (!f->seen[k].there || differs(&f->seen[k].attr, &n->list[i].attr)))
				return false;
	}
	return true;
}

bool scout_folder_install_locked(struct scout_folder *f, struct scout_names *names)
{
	struct scout_names old = f->names;

	if (!agrees_locked(f, names))
		return false;
	scout_folder_stale_locked(f);
	f->names = *names;
	f->wrong = false;
	*names = old;
	return true;
}

static void note_seen_locked(struct scout_folder *f, const char *name,
			     const struct scout_attr *attr)
{
	unsigned changes = atomic_load(&f->host->changes), at = 0;
	uint64_t h = scout_folder_hash(name);

	if (f->seen_changes != changes)
		f->nseen = 0;
	f->seen_changes = changes;
	while (at < SCOUT_FOLDER_SEEN && at < f->nseen && f->seen[at].name != h)
		at++;
	if (at == SCOUT_FOLDER_SEEN || at == f->nseen)
		at = f->nseen++ % SCOUT_FOLDER_SEEN;
	f->seen[at].name = h;
	f->seen[at].there = attr != NULL;
	if (attr)
		f->seen[at].attr = *attr;
}

void scout_folder_saw_locked(struct scout_folder *f, const char *name,
			     const struct scout_attr *attr)
{
	const struct scout_name *known = scout_names_find(&f->names, name);

	note_seen_locked(f, name, attr);
	f->wrong |= known && (!attr || differs(&known->attr, attr));
}

bool scout_folder_lists_well(struct scout_host *host)
{
	bool well;

	scout_lock(&host->lock);
	well = host->server.extensions & SCOUT_SFTP_EXT(SCOUT_SFTP_LSETSTAT);
	scout_unlock(&host->lock);
	return well;
}

/* A listing is over; with err, the folder is left alone for a while. */
static void over(struct scout_host *host, const char *path, struct scout_names *names, int err)
{
	struct scout_openers openers = TAILQ_HEAD_INITIALIZER(openers);
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folder *f;
	bool walking = false;

	scout_names_sort(names);
	scout_lock(&all->lock);
	f = scout_folder_find_locked(host, path, strlen(path));
	if (f) {
		f->busy = false;
		if (!err && scout_folder_install_locked(f, names))
			f->fresh = f->walking;
		else
			f->not_before_ns = scout_now_ns() + SCOUT_LEFT_ALONE_NS;
		walking = f->walking;
		f->walking = false;
		TAILQ_CONCAT(&openers, &f->openers, link);
	}
	scout_unlock(&all->lock);
	scout_names_free(names);
	if (walking && err == -EOVERFLOW)
		scout_ahead_misled(host, path, SCOUT_KIND_FOLDER);
	if (walking)
		scout_ahead_over(host, path, &openers);
}

static void lister_end(struct lister *l, int err)
{
	if (l->dir)
		scout_dir_release(l->dir);
	over(l->host, l->path, &l->names, err);
	scout_host_unref(l->host);
	free(l->path);
	free(l);
}

static void listed(struct scout_req *req, int err, const struct scout_result *res)
{
	struct lister *l = SCOUT_CONTAINER(req, struct lister, req);
	size_t n = err ? 0 : res->dir.count;

	for (size_t i = 0; i < n; i++) {
		if (!scout_names_add(&l->names, &res->dir.entries[i])) {
			lister_end(l, -EOVERFLOW);
			return;
		}
	}
	if (n)
		scout_dir_read(l->dir, l->names.count, &l->req);
	else
		lister_end(l, err);
}

static void opened(struct scout_req *req, int err, const struct scout_result *res)
{
	struct lister *l = SCOUT_CONTAINER(req, struct lister, req);

	if (err) {
		lister_end(l, err);
		return;
	}
	l->dir = res->open.handle;
	l->req.done = listed;
	scout_dir_read(l->dir, 0, &l->req);
}

void scout_folder_list(struct scout_host *host, char *path)
{
	struct lister *l = calloc(1, sizeof *l);

	if (!l) {
		struct scout_names none = {0};

		over(host, path, &none, -ENOMEM);
		free(path);
		return;
	}
	l->path = path;
	l->host = scout_host_ref(host);
	l->req.done = opened;
	l->names.changes = atomic_load(&host->changes);
	l->names.began_ns = scout_now_ns();
	scout_dir_open(host, *path ? path : "/", true, &l->req);
}
