/* Opening: OPEN and a look at the path in one round trip, behind what we have under way to it.
 *
 * An opening belongs to one request and goes from thread to thread with its calls, so it needs no
 * lock; node->lock and host->lock for the lists that the new file enters. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/ahead.h"
#include "hosts/attr.h"
#include "hosts/early.h"
#include "hosts/file.h"
#include "hosts/narrow.h"
#include "hosts/node.h"
#include "hosts/root.h"
#include "scoutfs/hash.h"
#include "scoutfs/log.h"

struct opening {
	struct scout_file *file;
	struct scout_handle *handle;
	struct scout_req *req;
	char *path;
	int flags;
	bool look_last; /* it shows what the OPEN made of the file */
	struct scout_settle settle;
	struct scout_view view;
	struct scout_told told; /* the node's, then */
	struct scout_sftp_attrs set;
	struct scout_rpc open, look, again;
	struct scout_narrow narrow;
};

static void opening_free(struct opening *o)
{
	if (o->file)
		scout_file_unref(o->file);
	scout_handle_unref(o->handle);
	free(o->path);
	free(o);
}

static int type_error(mode_t mode)
{
	if (S_ISREG(mode))
		return 0;
	if (S_ISDIR(mode))
		return -EISDIR;
	return S_ISLNK(mode) ? -ELOOP : -EINVAL;
}

static int opening_result(const struct opening *o, struct scout_attr *attr)
{
	const struct scout_rpc *open = &o->open;
	int err = o->look.err;

	if (!err) {
		if (open->err && o->flags & O_EXCL &&
		    open->call.status == SCOUT_SFTP_STATUS_FAILURE)
			return -EEXIST;
		scout_host_attr(o->file->host, &o->look.call.attrs, attr);
		err = type_error(attr->mode);
	}
	/* What kind of thing it is says more than the server's "failure". */
	if (err && err != o->look.err)
		return err;
	return open->err ? open->err : err;
}

static uint32_t open_flags(int flags)
{
	uint32_t ret = 0;

	if ((flags & O_ACCMODE) != O_WRONLY)
		ret |= SCOUT_SFTP_FLAG_READ;
	if ((flags & O_ACCMODE) != O_RDONLY)
		ret |= SCOUT_SFTP_FLAG_WRITE;
	if (flags & O_APPEND && ret & SCOUT_SFTP_FLAG_WRITE)
		ret |= SCOUT_SFTP_FLAG_APPEND;
	return ret;
}

/* What a new file of that name is not: another one that was open by it before. */
static void take_over_name(struct opening *o)
{
	struct scout_file *f = o->file;
	struct scout_node *n;
	bool others;

	scout_lock(&f->node->lock);
	others = !TAILQ_EMPTY(&f->node->files);
	scout_unlock(&f->node->lock);
	if (!others)
		return;
	scout_node_unlinked(f->host, o->path);
	n = scout_node_get(f->host, o->path);
	if (!n)
		return;
	scout_node_put(f->node);
	f->node = n;
	o->view = scout_node_view(n);
	scout_lock(&n->lock);
	o->told = n->told;
	scout_unlock(&n->lock);
}

/* Who reads the node's other files may have another one than the look shows: he is not to go on with this one when
 * his handle is lost. What was cut, where there was nothing before, cannot be told from it. */
static void doubt_locked(const struct opening *o, struct scout_file *other,
			 const struct scout_attr *attr, bool fits, bool calm)
{
	bool unknown = o->flags & O_CREAT && o->flags & O_TRUNC;

	/* a look of its own, on its way beside ours, has seen it grow since */
	if (calm && other->epoch == o->view.epoch && scout_file_was_locked(other, attr, &o->told))
		return;
	if (calm && scout_node_has_name_locked(o->file->node, o->path))
		scout_file_compare_locked(other, attr, o->view.epoch);
	if (!other->writes && !other->direct)
		other->doubted |=
		    unknown || !scout_file_is_like_locked(other, attr, fits,
							  calm ? o->view.epoch : UINT64_MAX);
}

static void doubt_others_locked(const struct opening *o, const struct scout_attr *attr, bool fits,
				bool calm)
{
	struct scout_file *other;

	TAILQ_FOREACH (other, &o->file->node->files, link_node) {
		scout_lock(&other->lock);
		doubt_locked(o, other, attr, fits, calm);
		scout_unlock(&other->lock);
	}
}

/* The new file becomes one of its node's. */
static void enter_node(struct opening *o, const struct scout_attr *attr)
{
	struct scout_file *f = o->file;
	struct scout_node *n = f->node;
	bool calm, fits;

	if (o->flags & O_CREAT && o->flags & O_EXCL)
		take_over_name(o);
	n = f->node;
	fits = scout_node_fits(n, &o->look.call.attrs);
	scout_lock(&n->lock);
	calm = o->view.quiet && o->view.epoch == atomic_load(&n->epoch);
	doubt_others_locked(o, attr, fits, calm);
	if (o->flags & O_TRUNC)
		scout_node_cut_locked(n);
	f->epoch = calm ? atomic_load(&n->epoch) : 0;
	/* the look knows nothing of what we cut or appended since: the first read looks again */
	f->cut = calm ? atomic_load(&n->cut) : o->view.cut;
	f->direct = attr->size == 0 && !f->writes && !o->look_last && !n->writers;
	f->entered = true;
	n->writers += f->writes;
	if (calm &&
	    !scout_window_outdated(&o->told, &n->told, attr->size, (uint64_t)attr->mtime.tv_sec))
		scout_node_seen_locked(n, attr);
	scout_file_told_locked(f, attr);
	TAILQ_INSERT_TAIL(&n->files, f, link_node);
	scout_unlock(&n->lock);
}

/* Its bytes may be here already. What we change of it meanwhile has another epoch. */
static void take_early(struct opening *o, const struct scout_attr *attr)
{
	struct scout_file *f = o->file;
	void *buf = NULL;

	if (!f->writes && !f->direct && f->epoch)
		buf = scout_early_take(f->host, o->path, attr);
	if (!buf)
		return;
	scout_lock(&f->lock);
	if (scout_chunk_whole_locked(f, buf)) {
		scout_file_ahead_locked(f);
		buf = NULL;
	}
	scout_unlock(&f->lock);
	scout_buf_put(f->host->share, buf);
	scout_budget_poke(f->host->all->budget); /* until it is read it may be wanted back */
}

/* The kernel may have its pages: it was opened here before, or is what this mount has just written. */
static bool has_pages(const struct opening *o, const struct scout_attr *attr)
{
	struct scout_host *host = o->file->host;
	uint64_t h = scout_hash(SCOUT_HASH_START, &host, sizeof host);
	_Atomic uint64_t *last;

	h = scout_hash(h, &attr->version, sizeof attr->version);
	h = scout_hash(h, o->path, strlen(o->path));
	last = &host->all->opened[h % SCOUT_OPENED];
	return atomic_exchange(last, h) == h || !scout_host_is_calm(host, scout_now_ns());
}

/* A small file is nearly always read, and all of it: asked for at once, it comes while the kernel is told of the
 * open and asks itself. */
static void expect_reader(const struct opening *o, const struct scout_attr *attr)
{
	struct scout_file *f = o->file;

	if (!f->writes && attr->size > 0 && attr->size <= SCOUT_FILE_SMALL &&
	    !scout_req_unwanted(o->req) && !has_pages(o, attr))
		scout_file_expect(f);
}

static void opening_narrowed(struct scout_narrow *n, int err)
{
	struct opening *o = SCOUT_CONTAINER(n, struct opening, narrow);

	scout_rpc_log(o->open.err ? &o->open : &o->look, "open", o->path, err);
	scout_req_done(o->req, err, NULL);
	opening_free(o);
}

/* Who only reads need not know more of why. */
static void opening_failed(struct opening *o, int err)
{
	bool changes = o->file->writes || o->flags & (O_CREAT | O_TRUNC);

	o->narrow.host = o->file->host;
	o->narrow.path = o->path;
	o->narrow.done = opening_narrowed;
	if (changes && err == o->open.err)
		scout_narrow(&o->narrow, &o->open);
	else
		opening_narrowed(&o->narrow, err);
}

/* The OPEN that cuts is over, with err, and then it may be cut all the same; one that was lost may come later. */
static void cut_over(struct opening *o, int err)
{
	struct scout_node *n = o->file->node;

	scout_lock(&n->lock);
	if (o->open.stray) {
		scout_node_doubt(n);
		o->view.quiet = false;
	}
	if (err)
		scout_node_cut_locked(n);
	atomic_fetch_sub(&n->outside, 1);
	scout_unlock(&n->lock);
}

static void opening_done(struct opening *o)
{
	struct scout_file *f = o->file;
	struct scout_host *host = f->host;
	struct scout_result res = {0};
	int err = opening_result(o, &res.open.attr);

	if (o->flags & O_TRUNC)
		cut_over(o, err);
	if (o->flags & O_CREAT)
		scout_root_named(host, o->path);
	if (err == -ENOENT)
		scout_ahead_saw(host, o->path, NULL);
	if (err) {
		opening_failed(o, err);
		return;
	}
	scout_ahead_saw(host, o->path, &res.open.attr);
	f->handle = o->handle;
	f->version = res.open.attr.version;
	/* one session answers in the order in which it was asked */
	f->looked_first = !o->look_last && o->look.session == o->open.session;
	enter_node(o, &res.open.attr);
	scout_lock(&host->lock);
	f->part_bytes = scout_window_part_bytes(host->server.read_bytes);
	f->chunk_bytes = scout_window_chunk_bytes(f->part_bytes);
	f->write_bytes = scout_window_write_bytes(host->server.write_bytes);
	f->piece_bytes = (uint32_t)SCOUT_BUF_BYTES / f->write_bytes * f->write_bytes;
	TAILQ_INSERT_TAIL(&host->files, f, link);
	scout_unlock(&host->lock);
	take_early(o, &res.open.attr);
	expect_reader(o, &res.open.attr);
	res.open.handle = f;
	res.open.direct_io = f->direct;
	scout_req_done(o->req, 0, &res);
	o->file = NULL;
	o->handle = NULL;
	opening_free(o);
}

static void looked_again(struct scout_rpc *rpc, int err)
{
	struct opening *o = SCOUT_CONTAINER(rpc, struct opening, again);

	o->look.err = err == -ECONNRESET ? -EIO : err;
	o->look.call.attrs = rpc->call.attrs;
	opening_done(o);
}

static void answered(struct scout_rpc *rpc, int err)
{
	struct opening *o = rpc->call.op == SCOUT_SFTP_OPEN
				? SCOUT_CONTAINER(rpc, struct opening, open)
				: SCOUT_CONTAINER(rpc, struct opening, look);

	(void)err; /* each one's own */
	if (!o->open.err)
		scout_handle_opened(o->handle, &o->open);
	/* The OPEN was sent again, behind a look that had its answer. */
	if (o->look_last && !o->open.err && o->look.session != o->open.session) {
		o->again.call.op = SCOUT_SFTP_FSTAT;
		o->again.call.handle = &o->handle->remote;
		o->again.done = looked_again;
		scout_rpc_send_on(o->handle->session, &o->again);
		return;
	}
	opening_done(o);
}

static void opening_send(struct opening *o)
{
	struct scout_rpc *first = o->look_last ? &o->open : &o->look;
	struct scout_node *n = o->file->node;

	scout_lock(&n->lock);
	o->view = o->flags & O_TRUNC ? scout_node_begin_locked(n) : scout_node_view(n);
	o->told = n->told;
	scout_unlock(&n->lock);
	first->then = o->look_last ? &o->look : &o->open;
	first->host = o->file->host;
	first->req = o->req;
	first->done = answered;
	scout_rpc_send(first);
}

static void settled(struct scout_settle *w)
{
	opening_send(SCOUT_CONTAINER(w, struct opening, settle));
}

static struct opening *opening_new(struct scout_host *host, const char *path)
{
	struct opening *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	o->path = strdup(path);
	o->file = scout_file_new(host, path);
	o->handle = scout_handle_new(host);
	if (!o->path || !o->file || !o->handle) {
		opening_free(o);
		return NULL;
	}
	return o;
}

void scout_file_open(struct scout_host *host, const char *path, int flags, mode_t mode,
		     struct scout_req *req)
{
	struct opening *o = opening_new(host, path);
	struct scout_file *f;

	if (!o) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	f = o->file;
	f->flags = open_flags(flags);
	f->writes = f->flags & SCOUT_SFTP_FLAG_WRITE;
	f->appends = f->flags & SCOUT_SFTP_FLAG_APPEND;
	o->req = req;
	o->flags = flags;
	/* The look goes first: of a file replaced between the two the bytes are then newer than the
	 * attributes, and the next look mends it. The other way round old bytes would be kept under
	 * the new file's version for good. But what OPEN makes or empties is seen behind it only. */
	o->look_last = flags & (O_CREAT | O_TRUNC);
	o->open.call.op = SCOUT_SFTP_OPEN;
	o->open.call.flags = f->flags;
	if (flags & O_TRUNC)
		o->open.call.flags |= SCOUT_SFTP_FLAG_TRUNC;
	if (flags & O_CREAT) {
		o->open.call.flags |= SCOUT_SFTP_FLAG_CREAT;
		o->set.has = SCOUT_SFTP_HAS_MODE;
		o->set.mode = mode & 07777;
		o->open.call.set = &o->set;
	}
	if (flags & O_CREAT && flags & O_EXCL) {
		o->open.call.flags |= SCOUT_SFTP_FLAG_EXCL;
		/* The others are done twice, if need be: nothing was written in between. But a cut that
		 * was lost may, as all that is, come when something has been. */
		o->open.once = true;
	}
	o->look.call.op = SCOUT_SFTP_LSTAT;
	o->open.call.path = o->look.call.path = o->path;
	o->settle.settled = settled;
	if (scout_node_wait(f->node, &o->settle))
		opening_send(o);
}
