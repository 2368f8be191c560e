/* An open file's life, opening it anew after a lost session, and the proof that a path still is the
 * file that a handle shows.
 *
 * Locks: file->lock for the file's fields, node->lock for those of its writes, host->lock for the list
 * of open files. */
#include "hosts/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/attr.h"
#include "scoutfs/log.h"

#define KEPT_MIN 64 /* fewer bytes may be the same in any file */

struct scout_reopen {
	struct scout_file *file;
	struct scout_handle *handle;
	char *path;
	struct scout_view view;
	unsigned attempts;
	struct scout_rpc open, stat, read;
	struct scout_kept kept;     /* the file's, and */
	char bytes[SCOUT_KEPT_MAX]; /* what is there now */
};

/* FSTAT, LSTAT, FSTAT in one round trip: of a file that is being appended to, what the path shows
 * lies between the two looks at the handle. */
struct check {
	struct scout_file *file;
	struct scout_handle *handle;
	char *name;
	bool retried;
	bool doubted; /* f was, when it began, and the path is looked at */
	struct scout_view view;
	struct scout_rpc before, path, after;
};

static void file_free(struct scout_file *f)
{
	struct scout_node *n = f->node;

	if (n) {
		scout_lock(&n->lock);
		if (f->entered) {
			TAILQ_REMOVE(&n->files, f, link_node);
			n->writers -= f->writes;
		}
		scout_unlock(&n->lock);
	}
	scout_handle_unref(f->handle);
	scout_stripes_free(&f->stripes);
	scout_node_put(n);
	scout_mutex_destroy(&f->lock);
	scout_host_unref(f->host);
	free(f);
}

struct scout_file *scout_file_ref(struct scout_file *f)
{
	scout_lock(&f->lock);
	f->refs++;
	scout_unlock(&f->lock);
	return f;
}

void scout_file_unref(struct scout_file *f)
{
	bool last;

	scout_lock(&f->lock);
	last = --f->refs == 0;
	scout_unlock(&f->lock);
	if (last)
		file_free(f);
}

struct scout_file *scout_file_new(struct scout_host *host, const char *path)
{
	struct scout_file *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	scout_mutex_init(&f->lock, SCOUT_LOCK_FILE);
	TAILQ_INIT(&f->chunks);
	TAILQ_INIT(&f->readers);
	TAILQ_INIT(&f->unproven);
	TAILQ_INIT(&f->lost);
	f->refs = 1;
	f->host = scout_host_ref(host);
	f->node = scout_node_get(host, path);
	if (!f->node) {
		file_free(f);
		return NULL;
	}
	return f;
}

void scout_file_log(struct scout_file *f, const char *what, const char *cause, int err)
{
	char name[512], *path;

	/* A host that is down was one line when it went down, not one for each who asks. */
	if (!err || err == -ENOENT || err == -EINTR || err == -ESHUTDOWN)
		return;
	path = scout_node_path(f->node);
	scout_warn("%s: %s %s: %s (%s)", f->host->config->name, what,
		   path ? scout_format_name(name, sizeof name, path) : "a file without a name",
		   cause ? cause : strerrordesc_np(-err), strerrorname_np(-err));
	free(path);
}

void scout_file_drop(struct scout_file *f)
{
	struct scout_stripes stripes = {0};
	struct scout_handle *h = NULL;

	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	if (f->released && !f->turns) {
		h = f->handle;
		f->handle = NULL;
		scout_stripes_take_locked(f, &stripes);
	}
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
	scout_handle_unref(h);
	scout_stripes_free(&stripes);
}

void scout_file_release(struct scout_file *f)
{
	struct scout_chunk_list garbage = TAILQ_HEAD_INITIALIZER(garbage);
	struct scout_host *host = f->host;
	struct scout_chunk *c;

	scout_lock(&host->lock);
	TAILQ_REMOVE(&host->files, f, link);
	scout_unlock(&host->lock);
	scout_lock(&f->lock);
	f->closed = true;
	scout_file_unexpect_locked(f);
	while ((c = TAILQ_FIRST(&f->chunks)))
		scout_chunk_drop_locked(f, c, &garbage);
	scout_unlock(&f->lock);
	scout_chunk_free_all(host, &garbage);
	if (scout_turn_release(f))
		scout_file_drop(f);
	scout_file_unref(f);
}

static bool is_unchanged_locked(const struct scout_file *f, const struct scout_attr *now)
{
	return now->size == f->size && (uint64_t)now->mtime.tv_sec == f->mtime;
}

bool scout_file_is_like_locked(const struct scout_file *f, const struct scout_attr *now, bool fits,
			       uint64_t epoch)
{
	if (f->writes || f->epoch != epoch)
		return fits;
	return is_unchanged_locked(f, now);
}

/* Whether k tells its file from another: it is all that was read of it, or enough, and not the same byte all over. */
static bool is_telling(const struct scout_kept *k)
{
	if (k->length == k->end)
		return k->length > 0;
	return k->length >= KEPT_MIN && memcmp(k->bytes, k->bytes + 1, k->length - 1) != 0;
}

/* Whether what was opened anew may be r's file that has grown, or of which no size can be told: another may have come
 * into its place, which only the bytes show, then in r->kept. */
static bool may_have_grown(struct scout_reopen *r)
{
	struct scout_file *f = r->file;
	struct scout_attr now;
	bool may;

	scout_attr_map(&r->stat.call.attrs, &now);
	scout_lock(&f->lock);
	if (f->direct)
		may = f->given;
	else
		may = !f->writes && f->epoch == r->view.epoch &&
		      scout_window_change(f->size, f->mtime, now.size,
					  (uint64_t)now.mtime.tv_sec) == SCOUT_CHANGE_GROWN;
	r->kept = f->kept;
	scout_unlock(&f->lock);
	return may && is_telling(&r->kept);
}

/* Whether what was opened anew is what the lost handle showed. known: by its bytes. */
static int reopened_as(struct scout_file *f, const struct scout_sftp_attrs *attrs,
		       const struct scout_view *view, bool known)
{
	bool same, fits = scout_node_fits(f->node, attrs);
	struct scout_attr now;
	int err;

	scout_attr_map(attrs, &now);
	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	known &= !f->altered; /* its last bytes may be in what another made of it, too */
	if (known)
		f->doubted = false;
	if (f->direct)
		same = known || !f->given;
	else
		same =
		    known || (!f->doubted && scout_file_is_like_locked(f, &now, fits, view->epoch));
	if (!f->dead && !(S_ISREG(now.mode) && same))
		f->dead = -ESTALE;
	err = f->dead;
	if (!err)
		err = scout_file_note_locked(f, attrs, view);
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
	return err;
}

void scout_file_compare_locked(struct scout_file *f, const struct scout_attr *seen, uint64_t epoch)
{
	const struct scout_node *n = f->node;
	uint64_t size = f->size, mtime = f->mtime;

	if (f->writes || f->direct || is_unchanged_locked(f, seen))
		return;
	if (f->epoch != epoch) {
		if (n->left_epoch != epoch)
			return;
		size = n->left_size;
		mtime = n->left_mtime;
	}
	if (scout_window_change(size, mtime, seen->size, (uint64_t)seen->mtime.tv_sec) ==
	    SCOUT_CHANGE_OTHER)
		f->altered = f->doubted = true;
}

void scout_file_told_locked(struct scout_file *f, const struct scout_attr *now)
{
	struct scout_told *told = &f->node->told;

	f->size = told->size = now->size;
	f->mtime = told->mtime = (uint64_t)now->mtime.tv_sec;
	f->told = ++told->count;
}

bool scout_file_was_locked(const struct scout_file *f, const struct scout_attr *seen,
			   const struct scout_told *then)
{
	const struct scout_told now = {f->size, f->mtime, f->told};

	return scout_window_outdated(then, &now, seen->size, (uint64_t)seen->mtime.tv_sec);
}

/* f was last seen before our last change: what it is to be like, if that is known, as it is when it is still
 * as it was (our change was of another file, then, that had its name) or was looked at behind our change. */
static bool catch_up_locked(struct scout_file *f, const struct scout_attr *now)
{
	const struct scout_node *n = f->node;

	if (is_unchanged_locked(f, now))
		return true;
	if (n->left_epoch != atomic_load(&n->epoch))
		return false;
	f->size = n->left_size;
	f->mtime = n->left_mtime;
	return true;
}

int scout_file_note_locked(struct scout_file *f, const struct scout_sftp_attrs *attrs,
			   const struct scout_view *view)
{
	uint64_t epoch = atomic_load(&f->node->epoch);
	bool calm = view->quiet && view->epoch == epoch;
	struct scout_attr now;

	scout_attr_map(attrs, &now);
	if (f->dead)
		return f->dead;
	if (f->direct)
		return 0;
	if (f->altered && !is_unchanged_locked(f, &now))
		return f->dead = -ESTALE;
	/* What changed since may be our own doing, or is nobody's error. */
	if (f->writes || !calm || (f->epoch != epoch && !catch_up_locked(f, &now))) {
		scout_file_told_locked(f, &now);
		f->epoch = calm ? epoch : 0;
		f->cut = view->cut;
		return 0;
	}
	f->epoch = epoch;
	f->cut = view->cut;
	switch (scout_window_change(f->size, f->mtime, now.size, (uint64_t)now.mtime.tv_sec)) {
	case SCOUT_CHANGE_NONE:
		break;
	case SCOUT_CHANGE_GROWN:
		scout_file_told_locked(f, &now);
		break;
	case SCOUT_CHANGE_OTHER:
		f->dead = -ESTALE;
	}
	return f->dead;
}

void scout_file_saw(struct scout_file *f, const struct scout_sftp_attrs *attrs,
		    const struct scout_view *view)
{
	scout_node_saw(f->node, attrs, view);
	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	(void)scout_file_note_locked(f, attrs, view);
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
}

void scout_file_lose_unsynced_locked(struct scout_file *f)
{
	struct scout_file *other;

	if (!f->unsynced)
		return;
	f->unsynced = false;
	TAILQ_FOREACH (other, &f->node->files, link_node)
		other->unsynced_lost |= other->writes;
}

void scout_file_lost(struct scout_file *f, struct scout_handle *h)
{
	struct scout_stripes stripes = {0};
	bool mine;

	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	mine = f->handle == h;
	if (mine) {
		f->handle = NULL;
		f->bulk = false;
	}
	scout_unlock(&f->lock);
	/* the others are beside it */
	if (mine)
		scout_stripes_take_locked(f, &stripes);
	if (mine)
		scout_file_lose_unsynced_locked(f);
	scout_unlock(&f->node->lock);
	if (mine)
		scout_handle_unref(h);
	scout_stripes_free(&stripes);
}

static void reopen_anew(struct scout_reopen *r);

static void reopen_free(struct scout_reopen *r)
{
	if (r)
		free(r->path);
	free(r);
}

/* The reopening is over with err, or with the new handle in place. r: NULL when there was no memory
 * to begin. */
static void reopen_over(struct scout_file *f, struct scout_reopen *r, int err)
{
	struct scout_batches lost = TAILQ_HEAD_INITIALIZER(lost);
	struct scout_readers unproven = TAILQ_HEAD_INITIALIZER(unproven);
	struct scout_handle *unused = r ? r->handle : NULL;

	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	if (!err && f->released && !f->turns)
		err = -ECANCELED;
	if (!err) {
		f->handle = r->handle;
		unused = NULL;
	}
	scout_batch_take_lost_locked(f, &lost);
	/* The path was just opened and showed the same file: that is the proof. */
	if (f->checking) {
		scout_reader_take_unproven_locked(f, &unproven);
		if (!err)
			f->version = f->check_version;
		f->checking = false;
	}
	if (r)
		f->reopen = NULL;
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
	reopen_free(r);
	scout_handle_unref(unused);
	if (err) {
		scout_turn_fail_all(f, err);
	} else {
		scout_node_pin(f);
		scout_node_run(f->node);
	}
	scout_batch_resume(&lost, err);
	scout_reader_proven(&unproven, err);
	scout_file_unref(f);
}

/* Whether path is f's, as far as we know. */
static bool has_path(struct scout_file *f, const char *path)
{
	char *now = scout_node_path(f->node);
	bool same = now && !strcmp(now, path);

	free(now);
	return same;
}

/* The last look at what was opened anew ended with err, or known says whether its bytes are the file's. */
static void reopened_look(struct scout_reopen *r, const struct scout_rpc *rpc, int err, bool known)
{
	struct scout_file *f = r->file;

	if (err == -ECONNRESET && ++r->attempts < SCOUT_RPC_ATTEMPTS) {
		reopen_anew(r);
		return;
	}
	if (err == -ECONNRESET)
		err = -EIO;
	if (!err)
		err = reopened_as(f, &r->stat.call.attrs, &r->view, known);
	if (!err)
		scout_node_saw(f->node, &r->stat.call.attrs, &r->view);
	scout_rpc_log(rpc, "open again", r->path, err);
	reopen_over(f, r, err);
}

static void reopened_read(struct scout_rpc *rpc, int err)
{
	struct scout_reopen *r = SCOUT_CONTAINER(rpc, struct scout_reopen, read);

	reopened_look(r, rpc, err,
		      rpc->call.got == r->kept.length &&
			  memcmp(r->bytes, r->kept.bytes, r->kept.length) == 0);
}

static void reopened_stat(struct scout_rpc *rpc, int err)
{
	struct scout_reopen *r = SCOUT_CONTAINER(rpc, struct scout_reopen, stat);

	if (err || !may_have_grown(r)) {
		reopened_look(r, rpc, err, false);
		return;
	}
	r->read.call.op = SCOUT_SFTP_READ;
	r->read.call.handle = &r->handle->remote;
	r->read.call.offset = r->kept.end - r->kept.length;
	r->read.call.length = r->kept.length;
	r->read.call.dest = r->bytes;
	r->read.done = reopened_read;
	scout_rpc_send_on(r->handle->session, &r->read);
}

static void reopened(struct scout_rpc *rpc, int err)
{
	struct scout_reopen *r = SCOUT_CONTAINER(rpc, struct scout_reopen, open);
	struct scout_file *f = r->file;

	if (!err)
		scout_handle_opened(r->handle, rpc);
	/* What was opened may be another that got the name after f had lost it. */
	if ((!err || err == -ENOENT) && !has_path(f, r->path)) {
		if (++r->attempts < SCOUT_RPC_ATTEMPTS) {
			reopen_anew(r);
			return;
		}
		err = -ESTALE;
	}
	if (err) {
		scout_rpc_log(rpc, "open again", rpc->call.path, err);
		reopen_over(f, r, err == -ENOENT ? -ESTALE : err);
		return;
	}
	r->view = scout_node_view(f->node);
	r->stat.call.op = SCOUT_SFTP_FSTAT;
	r->stat.call.handle = &r->handle->remote;
	r->stat.done = reopened_stat;
	scout_rpc_send_on(r->handle->session, &r->stat);
}

/* From the start, also when its session is lost before it is known what was opened. */
static void reopen_anew(struct scout_reopen *r)
{
	struct scout_file *f = r->file;

	scout_handle_unref(r->handle);
	free(r->path);
	r->handle = scout_handle_new(f->host);
	r->path = scout_node_path(f->node);
	if (!r->handle || !r->path) {
		reopen_over(f, r, atomic_load(&f->node->gone) ? -ESTALE : -ENOMEM);
		return;
	}
	memset(&r->open, 0, sizeof r->open);
	memset(&r->stat, 0, sizeof r->stat);
	memset(&r->read, 0, sizeof r->read);
	r->open.call.op = SCOUT_SFTP_OPEN;
	r->open.call.flags = f->flags;
	r->open.call.path = r->path;
	r->open.host = f->host;
	r->open.done = reopened;
	scout_rpc_send(&r->open);
}

void scout_file_reopen(struct scout_file *f)
{
	struct scout_reopen *r = calloc(1, sizeof *r);
	bool mine;
	int dead;

	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	dead = f->dead;
	mine = !f->reopen && !f->handle;
	/* What the file is to be like is known when the lost session's calls are all back. */
	if (mine && f->nsent) {
		f->reopen_later = true;
		mine = false;
	}
	if (mine) {
		f->reopen = r;
		f->refs++;
	}
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
	if (mine && r && dead) {
		reopen_over(f, r, dead);
	} else if (mine && r) {
		r->file = f;
		reopen_anew(r);
	} else if (mine) {
		reopen_over(f, NULL, -ENOMEM);
	} else {
		free(r);
	}
}

static void check_start(struct scout_file *f, bool retried);

/* Whether the path, looked at between two looks at the handle, shows the same file. */
static bool same_file(const struct check *c)
{
	struct scout_attr before, path, after;

	if (!c->name)
		return true;
	scout_attr_map(&c->before.call.attrs, &before);
	scout_attr_map(&c->path.call.attrs, &path);
	scout_attr_map(&c->after.call.attrs, &after);
	return S_ISREG(path.mode) && path.size >= before.size && path.size <= after.size &&
	       path.mtime.tv_sec >= before.mtime.tv_sec && path.mtime.tv_sec <= after.mtime.tv_sec;
}

static void check_free(struct check *c)
{
	scout_handle_unref(c->handle);
	free(c->name);
	free(c);
}

/* We renamed, cut or replaced it meanwhile: then the looks do not say what they seem to. */
static bool check_disturbed(const struct check *c)
{
	const struct scout_node *n = c->file->node;

	return c->name && !c->retried &&
	       (atomic_load(&n->cut) != c->view.cut || !has_path(c->file, c->name));
}

static void checked(struct scout_rpc *rpc, int err)
{
	struct check *c = SCOUT_CONTAINER(rpc, struct check, before);
	struct scout_file *f = c->file;
	struct scout_readers unproven = TAILQ_HEAD_INITIALIZER(unproven);
	bool differs = !err && !same_file(c);

	if (err == -ECONNRESET) {
		scout_file_lost(f, c->handle);
		check_free(c);
		scout_file_reopen(f);
		scout_file_unref(f);
		return;
	}
	if ((err == -ENOENT || differs) && check_disturbed(c)) {
		check_free(c);
		check_start(f, true);
		scout_file_unref(f);
		return;
	}
	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	if (err == -ENOENT)
		err = -ESTALE;
	if (!err)
		err = scout_file_note_locked(f, &c->after.call.attrs, &c->view);
	/* altered: if the path shows f's file, it did so then */
	if (!err && (differs || (c->name && f->altered)))
		err = f->dead = -ESTALE;
	if (!err)
		f->version = f->check_version;
	f->doubted &= err || !c->doubted;
	f->checking = false;
	scout_reader_take_unproven_locked(f, &unproven);
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
	scout_file_log(f, "read", NULL, err);
	check_free(c);
	scout_reader_proven(&unproven, err);
	scout_file_unref(f);
}

static void look_at(struct check *c, struct scout_rpc *rpc, enum scout_sftp_op op)
{
	rpc->call.op = op;
	rpc->call.path = c->name;
	rpc->call.handle = &c->handle->remote;
}

/* By the path, too, unless the handle shows the file whatever its path does. */
static void check_send(struct check *c)
{
	look_at(c, &c->before, SCOUT_SFTP_FSTAT);
	look_at(c, &c->path, SCOUT_SFTP_LSTAT);
	look_at(c, &c->after, SCOUT_SFTP_FSTAT);
	if (c->name) {
		c->before.then = &c->path;
		c->path.then = &c->after;
	} else {
		c->before.then = &c->after;
	}
	c->before.done = checked;
	scout_rpc_send_on(c->handle->session, &c->before);
}

static void check_start(struct scout_file *f, bool retried)
{
	struct scout_readers unproven = TAILQ_HEAD_INITIALIZER(unproven);
	struct check *c = calloc(1, sizeof *c);
	bool lost = false, by_path = !f->writes && !atomic_load(&f->node->gone);

	if (c && by_path)
		c->name = scout_node_path(f->node);
	if (c && by_path && !c->name && !atomic_load(&f->node->gone)) {
		free(c);
		c = NULL;
	}
	scout_lock(&f->lock);
	if (!c) {
		f->checking = false;
		scout_reader_take_unproven_locked(f, &unproven);
	} else if (f->handle) {
		c->file = f;
		c->handle = scout_handle_ref(f->handle);
		c->retried = retried;
		c->doubted = f->doubted && c->name;
		f->refs++;
	} else {
		lost = true;
	}
	scout_unlock(&f->lock);
	if (!c) {
		scout_reader_proven(&unproven, -ENOMEM);
	} else if (lost) {
		check_free(c);
		scout_file_reopen(f);
	} else {
		c->view = scout_node_view(f->node);
		check_send(c);
	}
}

void scout_file_check(struct scout_file *f)
{
	check_start(f, false);
}
