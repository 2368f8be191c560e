/* See ahead.h. `cat *`, `git status`, rsync and make look at one file after the other, each for a round
 * trip; at 50 ms a hundred files cost five seconds. The third file of a folder that is asked for within
 * attr_timeout has the folder listed, and from then on until that is attr_timeout old the answers come
 * from the listing; it is made anew at half that age while it is used.
 *
 * Nothing is older for that than attr_timeout allows, and nothing of what this mount changed is
 * missed: a listing counts only while nothing was sent that modifies, and nothing such was answered,
 * since before it began. What it does not name is asked for. Near hosts are asked at once, and so are servers
 * that may list something else than LSTAT tells (what a link leads to, say): all but OpenSSH's and its like.
 * A listing that contradicts one of the last answers is thrown away.
 *
 * Locks: aheads->lock, a leaf; listings are begun and freed without it. */
#include "hosts/ahead.h"

#include <stdlib.h>
#include <string.h>

#include "hosts/dir.h"
#include "scoutfs/hash.h"

#define ASKED_MIN 3    /* different files, one after the other */
#define FOLDERS_MAX 32 /* of all hosts */
#define ENTRIES_MAX 1024
#define NAMES_MAX \
	(64 * 1024) /* bytes; a larger folder is left alone, as one that cannot be listed: */
#define LEFT_ALONE_NS (60 * SCOUT_NS_PER_S)
#define BUSY_MAX 8 /* listings under way of one host */
#define SEEN 8     /* answers that a listing has to agree with */

struct known {
	size_t name; /* in names */
	struct scout_attr attr;
};

struct names {
	struct scout_text text;
	struct known *list;
	size_t count, cap;
	uint64_t began_ns;
	unsigned changes; /* the host's, before it began */
};

struct scout_folder {
	TAILQ_ENTRY(scout_folder) link;
	/* under aheads->lock, all of it */
	struct scout_host *host; /* no reference: scout_ahead_forget */
	char *path;
	struct names names; /* sorted */
	unsigned asked;
	uint64_t last_name; /* a hash of it */
	uint64_t asked_ns, not_before_ns;
	bool busy; /* is being listed */
	struct {
		uint64_t name; /* a hash of it */
		bool there;
		struct scout_attr attr;
	} seen[SEEN];                 /* the last answers of the server, in a ring */
	unsigned nseen, seen_changes; /* the host's changes then */
};

/* A listing under way; belongs to whoever it is completed by. */
struct lister {
	struct scout_req req;
	struct scout_host *host; /* with a reference */
	char *path;
	struct scout_dir *dir;
	struct names names;
};

static void names_free(struct names *n)
{
	scout_text_free(&n->text);
	free(n->list);
	*n = (struct names){0};
}

static bool names_add(struct names *n, const struct scout_dirent *entry)
{
	size_t len = strlen(entry->name) + 1;

	if (n->count == ENTRIES_MAX || n->text.len + len > NAMES_MAX)
		return false;
	if (n->count == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 64;
		struct known *more = realloc(n->list, cap * sizeof *more);

		if (!more)
			return false;
		n->list = more;
		n->cap = cap;
	}
	n->list[n->count].name = n->text.len;
	n->list[n->count].attr = entry->attr;
	scout_text_append(&n->text, entry->name, len);
	n->count += !n->text.failed;
	return !n->text.failed;
}

static int compare(const void *a, const void *b, void *text)
{
	const struct known *one = a, *other = b;

	return strcmp((char *)text + one->name, (char *)text + other->name);
}

static const struct known *names_find(const struct names *n, const char *name)
{
	size_t low = 0, high = n->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = strcmp(name, n->text.str + n->list[middle].name);

		if (!c)
			return &n->list[middle];
		if (c < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static void folder_free(struct scout_folder *f)
{
	names_free(&f->names);
	free(f->path);
	free(f);
}

static struct scout_folder *find_locked(struct scout_host *host, const char *path, size_t len)
{
	struct scout_folder *f;

	TAILQ_FOREACH (f, &host->all->aheads.folders, link)
		if (f->host == host && !strncmp(f->path, path, len) && !f->path[len])
			return f;
	return NULL;
}

/* The folder of path's first len bytes, moved behind all others; the one that was used least recently
 * makes place for a new one. NULL: all are being listed, or no memory. */
static struct scout_folder *get_locked(struct scout_host *host, const char *path, size_t len,
				       struct scout_folder **evicted)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folder *f = find_locked(host, path, len), *old;

	if (!f) {
		TAILQ_FOREACH (old, &all->folders, link)
			if (!old->busy)
				break;
		if (all->count == FOLDERS_MAX && !old)
			return NULL;
		f = calloc(1, sizeof *f);
		if (f)
			f->path = strndup(path, len);
		if (!f || !f->path) {
			free(f);
			return NULL;
		}
		f->host = host;
		if (all->count == FOLDERS_MAX) {
			TAILQ_REMOVE(&all->folders, old, link);
			*evicted = old;
		} else {
			all->count++;
		}
	} else {
		TAILQ_REMOVE(&all->folders, f, link);
	}
	TAILQ_INSERT_TAIL(&all->folders, f, link);
	return f;
}

static uint64_t hash(const char *name)
{
	return scout_hash(SCOUT_HASH_START, name, strlen(name));
}

static bool differs(const struct scout_attr *a, const struct scout_attr *b)
{
	return a->version != b->version || a->mode != b->mode || a->uid != b->uid ||
	       a->gid != b->gid;
}

/* What the server answered of late is as the listing says. */
static bool agrees_locked(const struct scout_folder *f, const struct names *n)
{
	for (size_t i = 0; i < n->count && f->seen_changes == n->changes; i++) {
		uint64_t h = hash(n->text.str + n->list[i].name);

		for (unsigned k = 0; k < SEEN && k < f->nseen; k++)
			if (f->seen[k].name == h &&
			    (!f->seen[k].there || differs(&f->seen[k].attr, &n->list[i].attr)))
				return false;
	}
	return true;
}

/* The listing is over; with err, or too large, the folder is left alone for a while. */
static void lister_end(struct lister *l, bool good)
{
	struct scout_aheads *all = &l->host->all->aheads;
	struct names old = l->names;
	struct scout_folder *f;

	if (l->names.count)
		qsort_r(l->names.list, l->names.count, sizeof l->names.list[0], compare,
			l->names.text.str);
	scout_lock(&all->lock);
	f = find_locked(l->host, l->path, strlen(l->path));
	if (f) {
		f->busy = false;
		if (good && agrees_locked(f, &l->names)) {
			old = f->names;
			f->names = l->names;
		} else {
			f->not_before_ns = scout_now_ns() + LEFT_ALONE_NS;
		}
	}
	scout_unlock(&all->lock);
	names_free(&old);
	if (l->dir)
		scout_dir_release(l->dir);
	scout_host_unref(l->host);
	free(l->path);
	free(l);
}

static void listed(struct scout_req *req, int err, const struct scout_result *res)
{
	struct lister *l = SCOUT_CONTAINER(req, struct lister, req);
	size_t n = err ? 0 : res->dir.count;

	for (size_t i = 0; i < n; i++) {
		if (!names_add(&l->names, &res->dir.entries[i])) {
			lister_end(l, false);
			return;
		}
	}
	if (n)
		scout_dir_read(l->dir, l->names.count, &l->req);
	else
		lister_end(l, !err);
}

static void opened(struct scout_req *req, int err, const struct scout_result *res)
{
	struct lister *l = SCOUT_CONTAINER(req, struct lister, req);

	if (err) {
		lister_end(l, false);
		return;
	}
	l->dir = res->open.handle;
	l->req.done = listed;
	scout_dir_read(l->dir, 0, &l->req);
}

static void leave_alone(struct scout_host *host, const char *path, size_t len)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folder *f;

	scout_lock(&all->lock);
	f = find_locked(host, path, len);
	if (f) {
		f->busy = false;
		f->not_before_ns = scout_now_ns() + LEFT_ALONE_NS;
	}
	scout_unlock(&all->lock);
}

/* Its listings say of links what LSTAT says, as far as can be told from what it offers. */
static bool lists_well(struct scout_host *host)
{
	bool well;

	scout_lock(&host->lock);
	well = host->server.extensions & SCOUT_SFTP_EXT(SCOUT_SFTP_LSETSTAT);
	scout_unlock(&host->lock);
	return well;
}

static void begin(struct scout_host *host, const char *path, size_t len)
{
	struct lister *l = lists_well(host) ? calloc(1, sizeof *l) : NULL;

	if (l)
		l->path = strndup(path, len);
	if (!l || !l->path) {
		free(l);
		leave_alone(host, path, len);
		return;
	}
	l->host = scout_host_ref(host);
	l->req.done = opened;
	l->names.changes = atomic_load(&host->changes);
	l->names.began_ns = scout_now_ns();
	scout_dir_open(host, len ? l->path : "/", true, &l->req);
}

/* Whether to list f now, of which name was asked for. */
static bool is_due_locked(struct scout_folder *f, const char *name, uint64_t timeout_ns,
			  uint64_t now_ns)
{
	uint64_t h = hash(name);

	if (now_ns - f->asked_ns > timeout_ns)
		f->asked = 0;
	if (h != f->last_name && f->asked < ASKED_MIN)
		f->asked++;
	f->last_name = h;
	f->asked_ns = now_ns;
	return f->asked == ASKED_MIN && !f->busy && now_ns >= f->not_before_ns &&
	       now_ns - f->names.began_ns > timeout_ns / 2 &&
	       now_ns - atomic_load(&f->host->changed_ns) > timeout_ns;
}

static bool has_room_locked(const struct scout_host *host)
{
	const struct scout_folder *f;
	unsigned busy = 0;

	TAILQ_FOREACH (f, &host->all->aheads.folders, link)
		busy += f->host == host && f->busy;
	return busy < BUSY_MAX;
}

bool scout_ahead_find(struct scout_host *host, const char *path, struct scout_attr *ret,
		      uint32_t *ttl_ms)
{
	struct scout_aheads *all = &host->all->aheads;
	uint64_t now_ns = scout_now_ns(), timeout_ns = host->config->attr_timeout_ns, left_ms = 0;
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	struct scout_folder *f, *evicted = NULL;
	const struct known *known = NULL;
	bool due = false;

	if (!scout_host_is_far(host) || !slash || !timeout_ns)
		return false;
	scout_lock(&all->lock);
	f = get_locked(host, path, len, &evicted);
	if (f) {
		uint64_t age_ns = now_ns - f->names.began_ns;

		due = is_due_locked(f, slash + 1, timeout_ns, now_ns) && has_room_locked(host);
		f->busy |= due;
		if (age_ns < timeout_ns && f->names.changes == atomic_load(&host->changes))
			known = names_find(&f->names, slash + 1);
		if (known) {
			left_ms = (timeout_ns - age_ns) / SCOUT_NS_PER_MS;
			*ret = known->attr;
			*ttl_ms = left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms;
		}
	}
	scout_unlock(&all->lock);
	if (evicted)
		folder_free(evicted);
	if (due)
		begin(host, path, len);
	scout_count(known ? &host->all->counters.attrs_ahead : &host->all->counters.attrs_asked, 1);
	return known;
}

static void note_seen_locked(struct scout_folder *f, const char *name,
			     const struct scout_attr *attr)
{
	unsigned changes = atomic_load(&f->host->changes), at = 0;
	uint64_t h = hash(name);

	if (f->seen_changes != changes)
		f->nseen = 0;
	f->seen_changes = changes;
	while (at < SEEN && at < f->nseen && f->seen[at].name != h)
		at++;
	if (at == SEEN || at == f->nseen)
		at = f->nseen++ % SEEN;
	f->seen[at].name = h;
	f->seen[at].there = attr != NULL;
	if (attr)
		f->seen[at].attr = *attr;
}

void scout_ahead_saw(struct scout_host *host, const char *path, const struct scout_attr *attr)
{
	struct scout_aheads *all = &host->all->aheads;
	const char *slash = strrchr(path, '/');
	const struct known *known;
	struct scout_folder *f;
	struct names old = {0};

	if (!scout_host_is_far(host) || !slash)
		return;
	scout_lock(&all->lock);
	f = find_locked(host, path, (size_t)(slash - path));
	if (f) {
		note_seen_locked(f, slash + 1, attr);
		known = names_find(&f->names, slash + 1);
		if (known && (!attr || differs(&known->attr, attr))) {
			old = f->names;
			f->names = (struct names){.began_ns = old.began_ns};
		}
	}
	scout_unlock(&all->lock);
	names_free(&old);
}

void scout_ahead_forget(struct scout_host *host)
{
	struct scout_aheads *all = &host->all->aheads;
	TAILQ_HEAD(, scout_folder) gone = TAILQ_HEAD_INITIALIZER(gone);
	struct scout_folder *f, *next;

	scout_lock(&all->lock);
	for (f = TAILQ_FIRST(&all->folders); f; f = next) {
		next = TAILQ_NEXT(f, link);
		if (f->host != host)
			continue;
		TAILQ_REMOVE(&all->folders, f, link);
		TAILQ_INSERT_TAIL(&gone, f, link);
		all->count--;
	}
	scout_unlock(&all->lock);
	while ((f = TAILQ_FIRST(&gone))) {
		TAILQ_REMOVE(&gone, f, link);
		folder_free(f);
	}
}

void scout_aheads_init(struct scout_aheads *all)
{
	scout_mutex_init(&all->lock, SCOUT_LOCK_LEAF);
	TAILQ_INIT(&all->folders);
}

void scout_aheads_free(struct scout_aheads *all)
{
	struct scout_folder *f;

	while ((f = TAILQ_FIRST(&all->folders))) {
		TAILQ_REMOVE(&all->folders, f, link);
		folder_free(f);
	}
	scout_mutex_destroy(&all->lock);
}
