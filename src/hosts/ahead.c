/* See ahead.h. `cat *`, `git status`, rsync and make look at one file after the other, each for a round
 * trip; at 50 ms a hundred files cost five seconds. The third file of a folder that is asked for within
 * attr_timeout has the folder listed, and from then on until that is attr_timeout old the answers come
 * from the listing; it is made anew at half that age while it is used.
 *
 * Nothing is older for that than attr_timeout allows, and nothing of what this mount changed is
 * missed: a listing counts only while nothing was sent that modifies, and nothing such was answered,
 * since before it began. What it does not name is asked for. Near hosts are asked at once, and so are servers
 * that may list something else than LSTAT tells (what a link leads to, say): all but OpenSSH's and its like.
 * A listing that contradicts one of the last answers is not believed.
 *
 * Locks: aheads->lock, a leaf. */
#include "hosts/ahead.h"

#include <string.h>

#include "hosts/folder.h"

#define ASKED_MIN 3 /* different files, one after the other */

/* Whether to list f now, of which name was asked for. */
static bool is_due_locked(struct scout_folder *f, const char *name, uint64_t timeout_ns,
			  uint64_t now_ns)
{
	uint64_t h = scout_folder_hash(name);

	if (now_ns - f->asked_ns > timeout_ns)
		f->asked = 0;
	if (h != f->last_name && f->asked < ASKED_MIN)
		f->asked++;
	f->last_name = h;
	f->asked_ns = now_ns;
	return f->asked == ASKED_MIN && scout_folder_old_locked(f, now_ns) &&
	       scout_folder_ready_locked(f, now_ns);
}

bool scout_ahead_find(struct scout_host *host, const char *path, struct scout_attr *ret,
		      uint32_t *ttl_ms)
{
	struct scout_aheads *all = &host->all->aheads;
	uint64_t now_ns = scout_now_ns(), timeout_ns = host->config->attr_timeout_ns, left_ms = 0;
	struct scout_folders evicted = TAILQ_HEAD_INITIALIZER(evicted);
	const char *slash = strrchr(path, '/');
	const struct scout_name *known = NULL;
	struct scout_folder *f;
	char *due = NULL;

	if (!scout_host_is_far(host) || !slash || !timeout_ns || !scout_folder_lists_well(host))
		return false;
	scout_lock(&all->lock);
	f = scout_folder_get_locked(host, path, (size_t)(slash - path), &evicted);
	if (f) {
		if (is_due_locked(f, slash + 1, timeout_ns, now_ns))
			due = strdup(f->path);
		f->busy |= due != NULL;
		if (scout_folder_valid_locked(f, now_ns))
			known = scout_names_find(&f->names, slash + 1);
		if (known) {
			left_ms = (timeout_ns - (now_ns - f->names.began_ns)) / SCOUT_NS_PER_MS;
			*ret = known->attr;
			*ttl_ms = left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms;
		}
	}
	scout_unlock(&all->lock);
	scout_folder_free_all(&evicted);
	if (due)
		scout_folder_list(host, due);
	scout_count(known ? &host->all->counters.attrs_ahead : &host->all->counters.attrs_asked, 1);
	return known;
}

void scout_ahead_saw(struct scout_host *host, const char *path, const struct scout_attr *attr)
{
	struct scout_aheads *all = &host->all->aheads;
	const char *slash = strrchr(path, '/');
	struct scout_folder *f;

	if (!scout_host_is_far(host) || !slash)
		return;
	scout_lock(&all->lock);
	f = scout_folder_find_locked(host, path, (size_t)(slash - path));
	if (f)
		scout_folder_saw_locked(f, slash + 1, attr);
	scout_unlock(&all->lock);
}

void scout_ahead_forget(struct scout_host *host)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folders gone = TAILQ_HEAD_INITIALIZER(gone);
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
	scout_folder_free_all(&gone);
}

void scout_aheads_init(struct scout_aheads *all)
{
	scout_mutex_init(&all->lock, SCOUT_LOCK_LEAF);
	TAILQ_INIT(&all->folders);
}

void scout_aheads_free(struct scout_aheads *all)
{
	scout_mutex_destroy(&all->lock);
}
