/* Opening, closing, opening anew after a lost session, and the proof that a path still is the file
 * that a handle shows.
 *
 * Locks: file->lock for the file's fields, host->lock for the list of open files. */
#include "hosts/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/attr.h"
#include "scoutfs/log.h"

struct opening {
	struct scout_file *file;
	struct scout_handle *handle;
	struct scout_req *req;
	struct scout_rpc open, look;
	atomic_uint pending;
	bool looked_first;
	int open_err, look_err;
};

struct scout_reopen {
	struct scout_file *file;
	struct scout_handle *handle;
	unsigned attempts;
	struct scout_rpc open, stat;
};

/* FSTAT, LSTAT, FSTAT in one round trip: of a file that is being appended to, what the path shows
 * lies between the two looks at the handle. */
struct check {
	struct scout_file *file;
	struct scout_handle *handle;
	struct look {
		struct scout_rpc rpc;
		struct check *check;
	} before, path, after;
	/* under file->lock */
	unsigned pending;
	int err;
};

static void file_free(struct scout_file *f)
{
	scout_handle_unref(f->handle);
	scout_mutex_destroy(&f->lock);
	scout_host_unref(f->host);
	free(f->path);
	free(f);
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

static struct scout_file *file_new(struct scout_host *host, const char *path)
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
	f->path = strdup(path);
	if (!f->path) {
		file_free(f);
		return NULL;
	}
	return f;
}

static int type_error(mode_t mode)
{
	if (S_ISREG(mode))
		return 0;
	if (S_ISDIR(mode))
		return -EISDIR;
	return S_ISLNK(mode) ? -ELOOP : -EINVAL;
}

static int opening_result(struct opening *o, struct scout_attr *attr)
{
	int err = o->look_err;

	if (!err) {
		scout_attr_map(&o->look.call.attrs, attr);
		err = type_error(attr->mode);
	}
	/* What kind of thing it is says more than the server's "failure". */
	if (err && err != o->look_err)
		return err;
	return o->open_err ? o->open_err : err;
}

static void opening_done(struct opening *o)
{
	struct scout_file *f = o->file;
	struct scout_host *host = f->host;
	struct scout_result res = {0};
	int err = opening_result(o, &res.open.attr);

	if (!o->open_err)
		scout_handle_opened(o->handle, &o->open);
	if (err) {
		scout_rpc_log(o->open_err ? &o->open : &o->look, "open", f->path, err);
		scout_handle_unref(o->handle);
		file_free(f);
		scout_req_done(o->req, err, NULL);
		free(o);
		return;
	}
	f->handle = o->handle;
	f->size = res.open.attr.size;
	f->mtime = (uint64_t)res.open.attr.mtime.tv_sec;
	f->version = res.open.attr.version;
	f->direct = f->size == 0;
	/* one session answers in the order in which it was asked */
	f->looked_first = o->looked_first && o->look.session == o->open.session;
	scout_lock(&host->lock);
	f->part_bytes = scout_window_part_bytes(host->server.read_bytes);
	f->chunk_bytes = scout_window_chunk_bytes(f->part_bytes);
	TAILQ_INSERT_TAIL(&host->files, f, link);
	scout_unlock(&host->lock);
	res.open.handle = f;
	res.open.direct_io = f->direct;
	scout_req_done(o->req, 0, &res);
	free(o);
}

static void open_answered(struct scout_rpc *rpc, int err)
{
	struct opening *o = SCOUT_CONTAINER(rpc, struct opening, open);

	o->open_err = err;
	if (atomic_fetch_sub(&o->pending, 1) == 1)
		opening_done(o);
}

static void look_answered(struct scout_rpc *rpc, int err)
{
	struct opening *o = SCOUT_CONTAINER(rpc, struct opening, look);

	o->look_err = err;
	o->looked_first = atomic_load(&o->pending) == 2;
	if (atomic_fetch_sub(&o->pending, 1) == 1)
		opening_done(o);
}

void scout_file_open(struct scout_host *host, const char *path, int flags, mode_t mode,
		     struct scout_req *req)
{
	struct opening *o = calloc(1, sizeof *o);

	(void)flags, (void)mode;
	if (o) {
		o->file = file_new(host, path);
		o->handle = scout_handle_new(host);
	}
	if (!o || !o->file || !o->handle) {
		if (o && o->file)
			file_free(o->file);
		if (o)
			scout_handle_unref(o->handle);
		free(o);
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	o->req = req;
	atomic_init(&o->pending, 2);
	o->open.call.op = SCOUT_SFTP_OPEN;
	o->open.call.flags = SCOUT_SFTP_FLAG_READ;
	o->look.call.op = SCOUT_SFTP_LSTAT;
	o->open.call.path = o->look.call.path = o->file->path;
	o->open.host = o->look.host = host;
	o->open.req = o->look.req = req;
	o->open.done = open_answered;
	o->look.done = look_answered;
	/* The look goes first: of a file replaced between the two the bytes are then newer than the
	 * attributes, and the next look mends it. The other way round old bytes would be kept under
	 * the new file's version for good. */
	scout_rpc_send(&o->look);
	scout_rpc_send(&o->open);
}

void scout_file_release(struct scout_file *f)
{
	struct scout_chunk_list garbage = TAILQ_HEAD_INITIALIZER(garbage);
	struct scout_host *host = f->host;
	struct scout_handle *h;
	struct scout_chunk *c;

	scout_lock(&host->lock);
	TAILQ_REMOVE(&host->files, f, link);
	scout_unlock(&host->lock);
	scout_lock(&f->lock);
	f->closed = true;
	while ((c = TAILQ_FIRST(&f->chunks)))
		scout_chunk_drop_locked(f, c, &garbage);
	h = f->handle;
	f->handle = NULL;
	scout_unlock(&f->lock);
	scout_chunk_free_all(host, &garbage);
	scout_handle_unref(h);
	scout_file_unref(f);
}

/* Whether what was opened anew is what the lost handle showed, under file->lock. Growth is none here:
 * another file may have come into its place. */
static int reopened_as_locked(struct scout_file *f, const struct scout_sftp_attrs *attrs)
{
	struct scout_attr now;
	bool same;

	scout_attr_map(attrs, &now);
	same =
	    f->direct ? !f->given : now.size == f->size && (uint64_t)now.mtime.tv_sec == f->mtime;
	if (!f->dead && !(S_ISREG(now.mode) && same))
		f->dead = -ESTALE;
	return f->dead;
}

int scout_file_note_locked(struct scout_file *f, const struct scout_sftp_attrs *attrs)
{
	struct scout_attr now;

	scout_attr_map(attrs, &now);
	if (f->dead)
		return f->dead;
	if (f->direct)
		return 0;
	switch (scout_window_change(f->size, f->mtime, now.size, (uint64_t)now.mtime.tv_sec)) {
	case SCOUT_CHANGE_NONE:
		break;
	case SCOUT_CHANGE_GROWN:
		f->size = now.size;
		f->mtime = (uint64_t)now.mtime.tv_sec;
		break;
	case SCOUT_CHANGE_OTHER:
		f->dead = -ESTALE;
	}
	return f->dead;
}

void scout_file_lost(struct scout_file *f, struct scout_handle *h)
{
	bool mine;

	scout_lock(&f->lock);
	mine = f->handle == h;
	if (mine) {
		f->handle = NULL;
		f->bulk = false;
	}
	scout_unlock(&f->lock);
	if (mine)
		scout_handle_unref(h);
}

static void reopen_anew(struct scout_reopen *r);

/* The reopening is over with err, or with the new handle in place. r: NULL when there was no memory
 * to begin. */
static void reopen_over(struct scout_file *f, struct scout_reopen *r, int err)
{
	struct scout_batches lost = TAILQ_HEAD_INITIALIZER(lost);
	struct scout_readers unproven = TAILQ_HEAD_INITIALIZER(unproven);
	struct scout_handle *unused = r ? r->handle : NULL;

	scout_lock(&f->lock);
	if (!err && f->closed)
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
	free(r);
	scout_handle_unref(unused);
	scout_batch_resume(&lost, err);
	scout_reader_proven(&unproven, err);
	scout_file_unref(f);
}

static void reopened_stat(struct scout_rpc *rpc, int err)
{
	struct scout_reopen *r = SCOUT_CONTAINER(rpc, struct scout_reopen, stat);
	struct scout_file *f = r->file;

	if (err == -ECONNRESET && ++r->attempts < SCOUT_RPC_ATTEMPTS) {
		reopen_anew(r);
		return;
	}
	if (err == -ECONNRESET)
		err = -EIO;
	if (!err) {
		scout_lock(&f->lock);
		err = reopened_as_locked(f, &rpc->call.attrs);
		scout_unlock(&f->lock);
	}
	scout_rpc_log(rpc, "open again", f->path, err);
	reopen_over(f, r, err);
}

static void reopened(struct scout_rpc *rpc, int err)
{
	struct scout_reopen *r = SCOUT_CONTAINER(rpc, struct scout_reopen, open);
	struct scout_file *f = r->file;

	if (err) {
		scout_rpc_log(rpc, "open again", rpc->call.path, err);
		reopen_over(f, r, err == -ENOENT ? -ESTALE : err);
		return;
	}
	scout_handle_opened(r->handle, rpc);
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
	r->handle = scout_handle_new(f->host);
	if (!r->handle) {
		reopen_over(f, r, -ENOMEM);
		return;
	}
	memset(&r->open, 0, sizeof r->open);
	memset(&r->stat, 0, sizeof r->stat);
	r->open.call.op = SCOUT_SFTP_OPEN;
	r->open.call.flags = SCOUT_SFTP_FLAG_READ;
	r->open.call.path = f->path;
	r->open.host = f->host;
	r->open.done = reopened;
	scout_rpc_send(&r->open);
}

void scout_file_reopen(struct scout_file *f)
{
	struct scout_reopen *r = calloc(1, sizeof *r);
	bool mine;

	scout_lock(&f->lock);
	mine = !f->reopen && !f->handle;
	if (mine) {
		f->reopen = r;
		f->refs++;
	}
	scout_unlock(&f->lock);
	if (mine && r) {
		r->file = f;
		reopen_anew(r);
	} else if (mine) {
		reopen_over(f, NULL, -ENOMEM);
	} else {
		free(r);
	}
}

/* Whether the path, looked at between two looks at the handle, shows the same file. */
static bool same_file(const struct check *c)
{
	struct scout_attr before, path, after;

	scout_attr_map(&c->before.rpc.call.attrs, &before);
	scout_attr_map(&c->path.rpc.call.attrs, &path);
	scout_attr_map(&c->after.rpc.call.attrs, &after);
	return S_ISREG(path.mode) && path.size >= before.size && path.size <= after.size &&
	       path.mtime.tv_sec >= before.mtime.tv_sec && path.mtime.tv_sec <= after.mtime.tv_sec;
}

static void check_over(struct check *c)
{
	struct scout_file *f = c->file;
	struct scout_readers unproven = TAILQ_HEAD_INITIALIZER(unproven);
	int err;

	if (c->err == -ECONNRESET) {
		scout_file_lost(f, c->handle);
		scout_handle_unref(c->handle);
		free(c);
		scout_file_reopen(f);
		scout_file_unref(f);
		return;
	}
	scout_lock(&f->lock);
	err = c->err;
	if (!err)
		err = scout_file_note_locked(f, &c->after.rpc.call.attrs);
	if (!err && !same_file(c))
		err = f->dead = -ESTALE;
	if (!err)
		f->version = f->check_version;
	f->checking = false;
	scout_reader_take_unproven_locked(f, &unproven);
	scout_unlock(&f->lock);
	scout_rpc_log(&c->path.rpc, "read", f->path, err);
	scout_handle_unref(c->handle);
	free(c);
	scout_reader_proven(&unproven, err);
	scout_file_unref(f);
}

static void look_done(struct scout_rpc *rpc, int err)
{
	struct check *c = SCOUT_CONTAINER(rpc, struct look, rpc)->check;
	struct scout_file *f = c->file;
	bool over;

	scout_lock(&f->lock);
	/* A lost session says nothing of the file, whatever came before. */
	if (err && c->err != -ECONNRESET)
		c->err = err == -ENOENT ? -ESTALE : err;
	over = --c->pending == 0;
	scout_unlock(&f->lock);
	if (over)
		check_over(c);
}

static void look_at(struct check *c, struct look *l, enum scout_sftp_op op)
{
	l->check = c;
	l->rpc.call.op = op;
	l->rpc.call.path = c->file->path;
	l->rpc.call.handle = &c->handle->remote;
	l->rpc.done = look_done;
	scout_rpc_send_on(c->handle->session, &l->rpc);
}

void scout_file_check(struct scout_file *f)
{
	struct scout_readers unproven = TAILQ_HEAD_INITIALIZER(unproven);
	struct check *c = calloc(1, sizeof *c);
	bool lost = false;

	scout_lock(&f->lock);
	if (!c) {
		f->checking = false;
		scout_reader_take_unproven_locked(f, &unproven);
	} else if (f->handle) {
		c->file = f;
		c->handle = scout_handle_ref(f->handle);
		c->pending = 3;
		f->refs++;
	} else {
		lost = true;
	}
	scout_unlock(&f->lock);
	if (!c) {
		scout_reader_proven(&unproven, -ENOMEM);
	} else if (lost) {
		free(c);
		scout_file_reopen(f);
	} else {
		look_at(c, &c->before, SCOUT_SFTP_FSTAT);
		look_at(c, &c->path, SCOUT_SFTP_LSTAT);
		look_at(c, &c->after, SCOUT_SFTP_FSTAT);
	}
}
