/* Who goes through a far host's folders (find, ls -R), or reads the files in them (grep -r, cp -r, tar, rsync),
 * opens one after the other in an order that is soon known (walk.h). So the folders that come next are listed,
 * and small files read (early.h), while he is at the one before: each then costs him no round trip, or one.
 *
 * A listing made so serves one opendir, within attr_timeout, and as ahead.c says: nothing of what this mount
 * changed is missed by it. As many are made as will be used within that time, by how fast he goes. Who went
 * through one folder so is taken to do it with the next one, too.
 *
 * Locks: aheads->lock, a leaf; what is planned under it is done without. */
#include <stdlib.h>
#include <string.h>

#include "hosts/ahead.h"
#include "hosts/dir.h"
#include "hosts/early.h"
#include "hosts/folder.h"
#include "scoutfs/hash.h"

#define FOLDERS_AHEAD 16
#define FILES_AHEAD 7
#define LAST_FILES 3 /* before these the next folder's turn comes */

/* What is to be asked for; paths are its own. */
struct plan {
	char *folders[FOLDERS_AHEAD];
	unsigned nfolders;
	struct {
		char *path;
		struct scout_attr attr;
	} files[FILES_AHEAD];
	unsigned nfiles;
	struct scout_folders evicted;
};

static void plan_init(struct plan *p)
{
	p->nfolders = p->nfiles = 0;
	TAILQ_INIT(&p->evicted);
}

static void carry_out(struct scout_host *host, struct plan *p)
{
	scout_folder_free_all(&p->evicted);
	for (unsigned i = 0; i < p->nfolders; i++)
		scout_folder_list(host, p->folders[i]);
	for (unsigned i = 0; i < p->nfiles; i++) {
		scout_early_fetch(host, p->files[i].path, &p->files[i].attr);
		free(p->files[i].path);
	}
}

static char *path_of(const struct scout_folder *f, const struct scout_name *e)
{
	struct scout_text path = {0};

	scout_text_printf(&path, "%s/%s", f->path, scout_names_str(&f->names, e));
	return path.failed ? (scout_text_free(&path), NULL) : scout_text_take(&path);
}

static void plan_file_locked(const struct scout_folder *f, const struct scout_name *e,
			     struct plan *p)
{
	p->files[p->nfiles].attr = e->attr;
	p->files[p->nfiles].path = path_of(f, e);
	p->nfiles += p->files[p->nfiles].path != NULL;
}

/* How many files are read ahead of w: none that would be too old when its turn comes. */
static unsigned files_ahead(const struct scout_walk *w, uint64_t kept_ns)
{
	uint64_t n = w->gap_ns ? kept_ns / w->gap_ns : FILES_AHEAD;

	return n < FILES_AHEAD ? (unsigned)n : FILES_AHEAD;
}

/* The files of f that are read next, behind the one that is being opened: it is too late for that. Returns how many of
 * them there are. */
static unsigned plan_files_locked(struct scout_folder *f, uint64_t now_ns, struct plan *p)
{
	const struct scout_walk *w = &f->walks[SCOUT_KIND_FILE];
	unsigned wanted = files_ahead(w, scout_early_kept_ns(f->host)), n = 0;
	const struct scout_name *e;

	if (!scout_walk_sure(w) || !scout_host_is_calm(f->host, now_ns) ||
	    now_ns < f->walks_after_ns[SCOUT_KIND_FILE])
		return 0;
	e = scout_walk_next(w, &f->names, SCOUT_KIND_FILE, f->ino, NULL);
	for (; e && n < FILES_AHEAD; n++) {
		e = scout_walk_next(w, &f->names, SCOUT_KIND_FILE, f->ino, e);
		if (!e)
			break;
		if (n < wanted)
			plan_file_locked(f, e, p);
	}
	return n;
}

/* How many folders are listed ahead of w: none that would be too old when its turn comes. */
static unsigned folders_ahead(const struct scout_walk *w, uint64_t timeout_ns)
{
	uint64_t n = w->gap_ns ? timeout_ns / 2 / w->gap_ns : FOLDERS_AHEAD;

	if (n > 2 * w->run)
		n = 2 * w->run;
	return n < FOLDERS_AHEAD ? (unsigned)n : FOLDERS_AHEAD;
}

static void plan_folder_locked(struct scout_folder *f, const struct scout_name *e, uint64_t now_ns,
			       struct plan *p)
{
	char *path = p->nfolders < FOLDERS_AHEAD ? path_of(f, e) : NULL;
	struct scout_folder *next =
	    path ? scout_folder_plan_locked(f->host, path, now_ns, &p->evicted) : NULL;

	if (!next || (next->fresh && scout_folder_valid_locked(next, now_ns))) {
		free(path);
		return;
	}
	if (f->ino)
		next->ino = scout_hash_ino(f->ino, scout_names_str(&f->names, e));
	next->busy = next->walking = true;
	p->folders[p->nfolders++] = path;
}

/* A listing made now will not be too old as soon as it is here, which takes two round trips. */
static bool comes_in_time(const struct scout_host *host)
{
	return host->config->attr_timeout_ns > 4 * atomic_load(&host->round_trip_ns);
}

static bool folders_are_wanted(const struct scout_folder *f, uint64_t now_ns)
{
	return comes_in_time(f->host) && scout_walk_sure(&f->walks[SCOUT_KIND_FOLDER]) &&
	       now_ns >= f->walks_after_ns[SCOUT_KIND_FOLDER];
}

/* The folders in f that are opened next. */
static void plan_folders_locked(struct scout_folder *f, uint64_t now_ns, struct plan *p)
{
	const struct scout_walk *w = &f->walks[SCOUT_KIND_FOLDER];
	unsigned n = folders_ahead(w, f->host->config->attr_timeout_ns);
	const struct scout_name *e = NULL;

	if (!folders_are_wanted(f, now_ns))
		return;
	while (n-- && (e = scout_walk_next(w, &f->names, SCOUT_KIND_FOLDER, f->ino, e)))
		plan_folder_locked(f, e, now_ns, p);
}

static void plan_locked(struct scout_folder *f, uint64_t now_ns, struct plan *p)
{
	plan_folders_locked(f, now_ns, p);
	(void)plan_files_locked(f, now_ns, p);
}

/* The folder that path lies in, when something is known of it. */
static struct scout_folder *parent_locked(struct scout_host *host, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct scout_folder *f =
	    slash ? scout_folder_find_locked(host, path, (size_t)(slash - path)) : NULL;

	if (f)
		scout_folder_touch_locked(f); /* it is not the one that makes place */
	return f;
}

/* The orders in which files of a folder in up were read of late. */
static unsigned below_locked(const struct scout_folder *up, uint64_t now_ns)
{
	return now_ns - up->below_ns < up->host->config->attr_timeout_ns ? up->below : 0;
}

/* f is opened: what went on in the folder that it lies in goes on in it. */
static void enter_locked(struct scout_folder *f, uint64_t now_ns, struct plan *p)
{
	struct scout_folder *up = parent_locked(f->host, f->path);
	unsigned files = 0, folders = 0;

	if (up) {
		struct scout_walk *w = &up->walks[SCOUT_KIND_FOLDER];

		if (scout_walk_visit(w, &up->names, SCOUT_KIND_FOLDER, up->ino,
				     strrchr(f->path, '/') + 1, now_ns))
			folders = w->fits;
		if (w->run)
			files = below_locked(up, now_ns);
		up->below = 0;
		plan_folders_locked(up, now_ns, p);
	}
	f->below = files;
	f->below_ns = now_ns;
	scout_walk_begin(&f->walks[SCOUT_KIND_FILE], files, SCOUT_WALK_SURE);
	scout_walk_begin(&f->walks[SCOUT_KIND_FOLDER], folders, SCOUT_WALK_SURE);
}

/* A listing of f that is here and was not used yet, into ret, with what is planned for who has it. */
static bool take_locked(struct scout_folder *f, uint64_t now_ns, struct scout_names *ret,
			struct plan *p)
{
	bool good =
	    f->fresh && scout_folder_valid_locked(f, now_ns) && scout_names_copy(ret, &f->names);

	if (!good) {
		scout_folder_stale_locked(f);
		return false;
	}
	f->fresh = false;
	scout_count(&f->host->all->counters.folders_ahead, 1);
	plan_locked(f, now_ns, p);
	return true;
}

/* f was listed before it is opened. If files are read there, its first will be. */
static void plan_first_locked(struct scout_folder *f, uint64_t now_ns, struct plan *p)
{
	struct scout_folder *up = parent_locked(f->host, f->path);
	unsigned fits = up && f->fresh ? below_locked(up, now_ns) : 0;
	const struct scout_name *e;
	struct scout_walk w;

	if (!fits || !scout_host_is_calm(f->host, now_ns) ||
	    now_ns < f->walks_after_ns[SCOUT_KIND_FILE])
		return;
	scout_walk_begin(&w, fits, SCOUT_WALK_SURE);
	e = scout_walk_next(&w, &f->names, SCOUT_KIND_FILE, f->ino, NULL);
	if (e)
		plan_file_locked(f, e, p);
}

static struct scout_opener *opener_new(struct scout_req *req)
{
	struct scout_opener *o = calloc(1, sizeof *o);

	if (o)
		o->req = req;
	return o;
}

void scout_ahead_opendir(struct scout_host *host, const char *path, struct scout_req *req)
{
	struct scout_aheads *all = &host->all->aheads;
	uint64_t now_ns = scout_now_ns();
	struct scout_names names = {0};
	struct scout_opener *waits = NULL;
	struct scout_folder *f;
	bool taken = false;
	struct plan plan;

	if (!scout_host_is_far(host) || !host->config->attr_timeout_ns ||
	    !scout_folder_lists_well(host)) {
		scout_dir_open(host, path, false, req);
		return;
	}
	plan_init(&plan);
	scout_lock(&all->lock);
	f = scout_folder_get_locked(host, path, path[1] ? strlen(path) : 0, &plan.evicted);
	if (f) {
		f->ino = req->ino;
		enter_locked(f, now_ns, &plan);
		if (f->busy && f->walking)
			waits = opener_new(req);
		else
			taken = take_locked(f, now_ns, &names, &plan);
		if (waits)
			TAILQ_INSERT_TAIL(&f->openers, waits, link);
	}
	scout_unlock(&all->lock);
	if (taken)
		scout_dir_open_listed(host, path, &names, req);
	else if (!waits)
		scout_dir_open(host, path, false, req);
	carry_out(host, &plan);
}

static void serve(struct scout_host *host, const char *path, struct scout_req *req)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_names names = {0};
	struct scout_folder *f;
	bool taken = false;
	struct plan plan;

	plan_init(&plan);
	scout_lock(&all->lock);
	f = scout_folder_find_locked(host, path, strlen(path));
	if (f)
		taken = take_locked(f, scout_now_ns(), &names, &plan);
	scout_unlock(&all->lock);
	if (taken)
		scout_dir_open_listed(host, path, &names, req);
	else
		scout_dir_open(host, path, false, req);
	carry_out(host, &plan);
}

void scout_ahead_over(struct scout_host *host, const char *path, struct scout_openers *openers)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folder *f;
	struct scout_opener *o;
	struct plan plan;

	plan_init(&plan);
	scout_lock(&all->lock);
	f = scout_folder_find_locked(host, path, strlen(path));
	if (f)
		plan_first_locked(f, scout_now_ns(), &plan);
	scout_unlock(&all->lock);
	while ((o = TAILQ_FIRST(openers))) {
		TAILQ_REMOVE(openers, o, link);
		serve(host, path, o->req);
		free(o);
	}
	carry_out(host, &plan);
}

void scout_ahead_listed(struct scout_host *host, const char *path, struct scout_names *names)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folder *f;
	struct plan plan;

	if (!host->config->attr_timeout_ns || !scout_folder_lists_well(host))
		return;
	plan_init(&plan);
	scout_names_sort(names);
	scout_lock(&all->lock);
	f = scout_folder_get_locked(host, path, path[1] ? strlen(path) : 0, &plan.evicted);
	if (f && scout_folder_install_locked(f, names))
		plan_locked(f, scout_now_ns(), &plan);
	scout_unlock(&all->lock);
	carry_out(host, &plan);
}

/* f's files are looked at before they are opened: so its listing is made anew before it is too old for that. */
static void plan_anew_locked(struct scout_folder *f, uint64_t now_ns, struct plan *p)
{
	char *path;

	if (!comes_in_time(f->host) || !scout_folder_old_locked(f, now_ns) ||
	    p->nfolders == FOLDERS_AHEAD || !scout_folder_ready_locked(f, now_ns))
		return;
	path = strdup(f->path);
	f->busy = path != NULL;
	if (path)
		p->folders[p->nfolders++] = path;
}

/* The folder behind f, which is nearly at its end. It may have been opened before: then its files will be looked at. */
static void plan_next_locked(struct scout_folder *f, uint64_t now_ns, struct plan *p)
{
	struct scout_folder *up = parent_locked(f->host, f->path), *next;
	const struct scout_name *e;
	char *path;

	if (!up || !folders_are_wanted(up, now_ns))
		return;
	e = scout_names_find(&up->names, strrchr(f->path, '/') + 1);
	if (e)
		e = scout_walk_next(&up->walks[SCOUT_KIND_FOLDER], &up->names, SCOUT_KIND_FOLDER,
				    up->ino, e);
	path = e ? path_of(up, e) : NULL;
	next = path ? scout_folder_find_locked(f->host, path, strlen(path)) : NULL;
	free(path);
	if (next && next->fresh && scout_folder_valid_locked(next, now_ns))
		plan_first_locked(next, now_ns, p);
	else if (e)
		plan_folder_locked(up, e, now_ns, p);
}

/* A file of f is read: whether the next ones will be. Who reads its first one as he has just read its sibling's
 * is known already (rsync opens folders long before their files). */
static bool goes_on_locked(struct scout_folder *f, const char *name, uint64_t now_ns)
{
	struct scout_walk *w = &f->walks[SCOUT_KIND_FILE];
	struct scout_folder *up = parent_locked(f->host, f->path);
	bool first = w->begun && !*w->last;

	if (!scout_walk_visit(w, &f->names, SCOUT_KIND_FILE, f->ino, name, now_ns) && first && up &&
	    w->fits & below_locked(up, now_ns)) {
		w->fits &= up->below;
		w->run = SCOUT_WALK_SURE;
	}
	if (up && scout_walk_sure(w)) {
		up->below = w->fits;
		up->below_ns = now_ns;
	}
	return scout_walk_sure(w);
}

void scout_ahead_read(struct scout_host *host, const char *path)
{
	struct scout_aheads *all = &host->all->aheads;
	uint64_t now_ns = scout_now_ns();
	struct scout_folder *f;
	struct plan plan;
	unsigned left;

	if (!host->config->attr_timeout_ns)
		return;
	plan_init(&plan);
	scout_lock(&all->lock);
	f = parent_locked(host, path);
	if (f && goes_on_locked(f, strrchr(path, '/') + 1, now_ns)) {
		left = plan_files_locked(f, now_ns, &plan);
		if (left)
			plan_anew_locked(f, now_ns, &plan);
		if (left < LAST_FILES)
			plan_next_locked(f, now_ns, &plan);
	}
	scout_unlock(&all->lock);
	carry_out(host, &plan);
}

void scout_ahead_misled(struct scout_host *host, const char *path, enum scout_kind kind)
{
	struct scout_aheads *all = &host->all->aheads;
	struct scout_folder *f;

	scout_lock(&all->lock);
	f = parent_locked(host, path);
	if (f)
		f->walks_after_ns[kind] = scout_now_ns() + SCOUT_LEFT_ALONE_NS;
	scout_unlock(&all->lock);
}
