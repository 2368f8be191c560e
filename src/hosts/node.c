/* The table of files that are open just now, and what becomes of them when their paths change; what
 * we know of such a file from our own writes.
 *
 * Locks: host->lock for the table, node->lock inside it; turn.h says what is under which. */
#include "hosts/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/attr.h"
#include "hosts/file.h"
#include "hosts/turn.h"

/* So long the server may take to do what it had received when the session was lost. */
#define DOUBT_NS (10 * SCOUT_NS_PER_S)

static struct scout_node *node_new(struct scout_host *host, const char *path)
{
	struct scout_node *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	n->path = strdup(path);
	if (!n->path) {
		free(n);
		return NULL;
	}
	n->host = host;
	n->refs = 1;
	n->limit = SCOUT_WRITE_BEHIND_START;
	atomic_init(&n->epoch, 1);
	scout_mutex_init(&n->lock, SCOUT_LOCK_NODE);
	TAILQ_INIT(&n->turns);
	TAILQ_INIT(&n->settling);
	TAILQ_INIT(&n->waiting);
	TAILQ_INIT(&n->files);
	return n;
}

static void node_free(struct scout_node *n)
{
	scout_mutex_destroy(&n->lock);
	free(n->path);
	free(n);
}

static struct scout_node *find_locked(struct scout_host *host, const char *path)
{
	struct scout_node *n;

	HASH_FIND_STR(host->nodes, path, n);
	return n;
}

/* False: no memory; then n is none of the table's. */
static bool insert_locked(struct scout_host *host, struct scout_node *n)
{
	HASH_ADD_KEYPTR(hh, host->nodes, n->path, strlen(n->path), n);
	return n->hh.tbl != NULL;
}

struct scout_node *scout_node_get(struct scout_host *host, const char *path)
{
	struct scout_node *fresh = node_new(host, path), *n;

	if (!fresh)
		return NULL;
	scout_lock(&host->lock);
	n = find_locked(host, path);
	if (n)
		n->refs++;
	else if (insert_locked(host, fresh))
		n = fresh;
	scout_unlock(&host->lock);
	if (n != fresh)
		node_free(fresh);
	return n;
}

void scout_node_put(struct scout_node *n)
{
	struct scout_host *host;
	bool last;

	if (!n)
		return;
	host = n->host;
	scout_lock(&host->lock);
	last = --n->refs == 0;
	if (last && !atomic_load(&n->gone))
		HASH_DEL(host->nodes, n);
	scout_unlock(&host->lock);
	if (last)
		node_free(n);
}

char *scout_node_path(struct scout_node *n)
{
	char *path = NULL;

	scout_lock(&n->lock);
	if (!atomic_load(&n->gone))
		path = strdup(n->path);
	scout_unlock(&n->lock);
	return path;
}

bool scout_node_wait(struct scout_node *n, struct scout_settle *w)
{
	const struct scout_turn *t;
	bool settled;

	scout_lock(&n->lock);
	settled = !atomic_load(&n->unanswered);
	if (!settled)
		n->tail = NULL; /* nothing more is gathered into it */
	w->seq = n->seq;
	scout_unlock(&n->lock);
	if (settled)
		return true;
	/* Before w waits: from then on it may be over, and what holds n with it. */
	scout_node_run(n);
	scout_lock(&n->lock);
	t = TAILQ_FIRST(&n->turns);
	settled = !t || t->seq > w->seq;
	/* maybe behind one that came since, and waits for more */
	if (!settled)
		TAILQ_INSERT_TAIL(&n->settling, w, link);
	scout_unlock(&n->lock);
	return settled;
}

static struct scout_node *get_existing(struct scout_host *host, const char *path)
{
	struct scout_node *n;

	scout_lock(&host->lock);
	n = find_locked(host, path);
	if (n)
		n->refs++;
	scout_unlock(&host->lock);
	return n;
}

static bool bears_locked(struct scout_node *n, const struct scout_attr *attr)
{
	struct scout_file *f;
	bool same;

	scout_lock(&n->lock);
	same = !n->writers && TAILQ_EMPTY(&n->turns);
	TAILQ_FOREACH (f, &n->files, link_node) {
		scout_lock(&f->lock);
		same &= f->size == attr->size && f->mtime == (uint64_t)attr->mtime.tv_sec;
		scout_unlock(&f->lock);
	}
	scout_unlock(&n->lock);
	return same;
}

bool scout_node_bears(struct scout_host *host, const char *path, const struct scout_attr *attr)
{
	struct scout_node *n;
	bool bears;

	scout_lock(&host->lock);
	n = find_locked(host, path);
	bears = !n || bears_locked(n, attr);
	scout_unlock(&host->lock);
	return bears;
}

bool scout_node_settle(struct scout_host *host, const char *path, struct scout_settle *w)
{
	struct scout_node *n = get_existing(host, path);
	bool settled = !n || scout_node_wait(n, w);

	scout_node_put(n);
	return settled;
}

struct scout_view scout_node_view(struct scout_node *n)
{
	struct scout_view view = {.cut = atomic_load(&n->cut), .epoch = atomic_load(&n->epoch)};

	/* the look may overtake the WRITE, and what it shows is then the end of before */
	view.cut -= atomic_load(&n->appending) > 0;
	view.quiet = !atomic_load(&n->unanswered) && !atomic_load(&n->outside) &&
		     scout_now_ns() >= atomic_load(&n->doubt_ns);
	return view;
}

void scout_node_doubt(struct scout_node *n)
{
	atomic_store(&n->doubt_ns, scout_now_ns() + DOUBT_NS);
}

void scout_node_cut_locked(struct scout_node *n)
{
	atomic_fetch_add(&n->cut, 1);
	atomic_fetch_add(&n->epoch, 1);
	n->end = 0;
	n->known = false;
}

void scout_node_seen_locked(struct scout_node *n, const struct scout_attr *attr)
{
	uint64_t epoch = atomic_load(&n->epoch);

	n->known = true;
	n->size_min = n->size_max = attr->size;
	n->mtime = (uint64_t)attr->mtime.tv_sec;
	if (n->left_epoch == epoch)
		return; /* what it has become since is another's doing */
	n->left_epoch = epoch;
	n->left_size = attr->size;
	n->left_mtime = n->mtime;
}

void scout_node_set_locked(struct scout_node *n, const struct scout_attr *attr)
{
	uint64_t mtime = n->mtime;

	scout_node_seen_locked(n, attr);
	/* a later write's time is the server's again, which may be before what was set */
	if (mtime < n->mtime)
		n->mtime = mtime;
}

bool scout_node_has_name_locked(const struct scout_node *n, const char *path)
{
	return !atomic_load(&n->gone) && strcmp(n->path, path) == 0;
}

struct scout_view scout_node_begin_locked(struct scout_node *n)
{
	struct scout_view view = scout_node_view(n);

	/* in this order: who sees the new epoch sees that one is under way */
	atomic_fetch_add(&n->outside, 1);
	scout_node_cut_locked(n);
	view.epoch++;
	view.cut++;
	return view;
}

int scout_node_begin(struct scout_host *host, const char *path, struct scout_outside *o)
{
	struct scout_node *n = scout_node_get(host, path);

	if (!n)
		return -ENOMEM;
	scout_lock(&n->lock);
	o->view = scout_node_begin_locked(n);
	scout_unlock(&n->lock);
	o->node = n;
	return 0;
}

/* Nothing else of ours was under way, and path led to n all the time. */
static bool alone_locked(const struct scout_outside *o, const char *path)
{
	const struct scout_node *n = o->node;

	return o->view.quiet && o->view.epoch == atomic_load(&n->epoch) &&
	       scout_node_has_name_locked(n, path);
}

/* Nothing of ours had been under way, either, since epoch. */
static void compare_locked(struct scout_node *n, const struct scout_attr *seen, uint64_t epoch)
{
	struct scout_file *f;

	TAILQ_FOREACH (f, &n->files, link_node) {
		scout_lock(&f->lock);
		scout_file_compare_locked(f, seen, epoch);
		scout_unlock(&f->lock);
	}
}

/* Whoever has path's file by now may have been told what it was before. */
static void change_other(struct scout_node *n, const char *path)
{
	struct scout_node *other = get_existing(n->host, path);

	if (other && other != n) {
		scout_lock(&other->lock);
		scout_node_cut_locked(other);
		scout_unlock(&other->lock);
	}
	scout_node_put(other);
}

void scout_node_end(struct scout_outside *o, const char *path,
		    const struct scout_sftp_attrs *before, const struct scout_sftp_attrs *after)
{
	struct scout_node *n = o->node;
	struct scout_attr was, is;
	bool alone;

	if (after) {
		scout_attr_map(before, &was);
		scout_attr_map(after, &is);
	}
	scout_lock(&n->lock);
	alone = after && alone_locked(o, path);
	if (alone)
		compare_locked(n, &was, o->view.epoch - 1);
	scout_node_cut_locked(n);
	if (alone)
		scout_node_set_locked(n, &is);
	atomic_fetch_sub(&n->outside, 1);
	scout_unlock(&n->lock);
	change_other(n, path);
	scout_node_put(n);
	o->node = NULL;
}

void scout_node_saw(struct scout_node *n, const struct scout_sftp_attrs *attrs,
		    const struct scout_view *view)
{
	struct scout_attr attr;

	scout_attr_map(attrs, &attr);
	scout_lock(&n->lock);
	if (view->quiet && view->epoch == atomic_load(&n->epoch))
		scout_node_seen_locked(n, &attr);
	scout_unlock(&n->lock);
}

bool scout_node_fits(struct scout_node *n, const struct scout_sftp_attrs *attrs)
{
	struct scout_attr attr;
	bool fits;

	scout_attr_map(attrs, &attr);
	scout_lock(&n->lock);
	fits = S_ISREG(attr.mode) &&
	       (!n->known || (attr.size >= n->size_min && attr.size <= n->size_max &&
			      (uint64_t)attr.mtime.tv_sec >= n->mtime));
	scout_unlock(&n->lock);
	return fits;
}

void scout_node_pin(struct scout_file *f)
{
	struct scout_node *n = f->node;
	struct scout_host *host = n->host;
	bool pinned;

	scout_lock(&host->lock);
	scout_lock(&n->lock);
	scout_lock(&f->lock);
	pinned = f->turns || f->unsynced || atomic_load(&n->gone);
	if (f->handle && f->handle->pinned != pinned) {
		f->handle->pinned = pinned;
		f->handle->session->load.pinned += pinned ? 1 : -1u;
	}
	scout_unlock(&f->lock);
	scout_unlock(&n->lock);
	scout_unlock(&host->lock);
}

/* Its handles go on, but nothing leads to it any more, so that they cannot be opened anew. */
static void lose_name_locked(struct scout_node *n)
{
	scout_lock(&n->lock);
	HASH_DEL(n->host->nodes, n);
	atomic_store(&n->gone, true);
	scout_unlock(&n->lock);
}

static void pin_all(struct scout_node *n)
{
	struct scout_file *f;
	size_t i = 0, k;

	/* One at a time, since pinning takes the locks in their order; a file that closes meanwhile
	 * only has another one passed over, whose session is then not kept. */
	for (;;) {
		k = 0;
		scout_lock(&n->lock);
		TAILQ_FOREACH (f, &n->files, link_node)
			if (k++ == i)
				break;
		if (f)
			scout_file_ref(f);
		scout_unlock(&n->lock);
		if (!f)
			return;
		scout_node_pin(f);
		scout_file_unref(f);
		i++;
	}
}

/* What had path, with a reference, or NULL: for unlinked(), when host->lock is given back. */
static struct scout_node *unlink_locked(struct scout_host *host, const char *path)
{
	struct scout_node *n = find_locked(host, path);

	if (n) {
		n->refs++;
		lose_name_locked(n);
	}
	return n;
}

static void unlinked(struct scout_node *n)
{
	if (n)
		pin_all(n);
	scout_node_put(n);
}

void scout_node_unlinked(struct scout_host *host, const char *path)
{
	struct scout_node *n;

	scout_lock(&host->lock);
	n = unlink_locked(host, path);
	scout_unlock(&host->lock);
	unlinked(n);
}

/* n goes from path, or from below it, to newpath; without memory for that, its name is lost. */
static void move_locked(struct scout_node *n, size_t path_len, const char *newpath)
{
	size_t new_len = strlen(newpath), rest = strlen(n->path + path_len);
	char *moved = malloc(new_len + rest + 1);
	struct scout_host *host = n->host;

	if (!moved) {
		lose_name_locked(n);
		return;
	}
	memcpy(moved, newpath, new_len);
	memcpy(moved + new_len, n->path + path_len, rest + 1);
	HASH_DEL(host->nodes, n);
	scout_lock(&n->lock);
	free(n->path);
	n->path = moved;
	if (!insert_locked(host, n))
		atomic_store(&n->gone, true);
	scout_unlock(&n->lock);
}

void scout_node_renamed(struct scout_host *host, const char *path, const char *newpath)
{
	size_t len = strlen(path);
	struct scout_node *n, *next, *replaced, *moved = NULL;

	if (!strcmp(path, newpath))
		return;
	scout_lock(&host->lock);
	replaced = unlink_locked(host, newpath);
	HASH_ITER (hh, host->nodes, n, next) {
		if (strncmp(n->path, path, len) || (n->path[len] && n->path[len] != '/'))
			continue;
		/* Not while the table is walked, where it would come up again. */
		n->next_moved = moved;
		moved = n;
	}
	for (; moved; moved = next) {
		next = moved->next_moved;
		move_locked(moved, len, newpath);
	}
	scout_unlock(&host->lock);
	unlinked(replaced);
}
