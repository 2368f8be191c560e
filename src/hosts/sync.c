/* What goes behind the writes of a handle, in its node's order: flush and fsync, attributes and their
 * change by handle.
 *
 * Locks: node->lock for what turns say of the file; requests are completed with none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/attr.h"
#include "hosts/file.h"
#include "hosts/place.h"
#include "hosts/turn.h"
#include "scoutfs/log.h"

/* Its calls end with an FSTAT, at index look. */
struct sync {
	struct scout_req *req;
	unsigned look;
	struct scout_view view; /* that the look is worth */
	bool known_err, lost; /* fsync: the error had its log line; it is that of a lost session */
	struct scout_turn turn;
};

static struct sync *sync_of(struct scout_turn *t)
{
	return SCOUT_CONTAINER(t, struct sync, turn);
}

void scout_file_turn(struct scout_file *f, struct scout_turn *t)
{
	/* the request's end may close the file */
	scout_file_ref(f);
	scout_lock(&f->node->lock);
	scout_turn_add_locked(f, t);
	scout_unlock(&f->node->lock);
	scout_node_run(f->node);
	scout_file_unref(f);
}

static void start(struct scout_file *f, const struct scout_turn_ops *ops, unsigned calls,
		  struct scout_req *req)
{
	struct sync *y = calloc(1, sizeof *y + calls * sizeof y->turn.calls[0]);

	if (!y) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	y->req = req;
	y->look = calls - 1;
	y->turn.ops = ops;
	scout_file_turn(f, &y->turn);
}

static const struct scout_rpc *look_of(const struct sync *y)
{
	return &y->turn.calls[y->look];
}

/* The attributes behind all that went before, if they came. */
static bool seen(const struct sync *y)
{
	const struct scout_rpc *look = look_of(y);

	return !y->turn.err && look->host && !look->err;
}

/* When the turn ended: nothing before it is under way; what it saw is exact if nothing is behind. */
static void view_locked(struct sync *y)
{
	struct scout_node *n = y->turn.file->node;
	uint64_t cut = y->view.cut;

	y->view = scout_node_view(n);
	y->view.quiet &= TAILQ_EMPTY(&n->turns) && y->view.cut == cut;
}

static void learn(struct sync *y)
{
	if (seen(y))
		scout_file_saw(y->turn.file, &look_of(y)->call.attrs, &y->view);
}

/* The error that the handle has to tell, under node->lock; it is told once. */
static int take_error_locked(struct scout_file *f, struct scout_req *req)
{
	int err = f->write_err ? f->write_err : f->whispered_err;

	if (!scout_req_unwanted(req))
		f->write_err = f->whispered_err = 0;
	return err;
}

static void prepare_look(struct scout_turn *t)
{
	sync_of(t)->view.cut = atomic_load(&t->file->node->cut); /* behind all that was taken */
	(void)scout_turn_call(t, 0, SCOUT_SFTP_FSTAT);
}

static bool look_lost_locked(struct scout_turn *t, bool left)
{
	(void)left;
	if (t->attempts < SCOUT_RPC_ATTEMPTS)
		return true;
	t->err = -EIO;
	return false;
}

static bool flush_lost_locked(struct scout_turn *t, bool left)
{
	(void)t, (void)left; /* all that it waited for was answered */
	return false;
}

static void flush_ended_locked(struct scout_turn *t)
{
	struct sync *y = sync_of(t);
	bool looked = seen(y);

	view_locked(y);
	t->err = take_error_locked(t->file, y->req);
	if (!looked)
		y->view.quiet = false;
}

static void flush_over(struct scout_turn *t)
{
	struct sync *y = sync_of(t);
	struct scout_result res = {.ttl_ms = scout_host_ttl_ms(t->file->host)};

	learn(y);
	res.synced.known = seen(y);
	if (res.synced.known)
		scout_host_attr(t->file->host, &look_of(y)->call.attrs, &res.synced.attr);
	scout_req_done(y->req, t->err, t->err ? NULL : &res);
	free(y);
}

static const struct scout_turn_ops flush_ops = {
    .prepare = prepare_look,
    .lost_locked = flush_lost_locked,
    .ended_locked = flush_ended_locked,
    .over = flush_over,
};

void scout_file_flush(struct scout_file *f, struct scout_req *req)
{
	struct scout_result res = {0};
	bool clean;

	scout_lock(&f->node->lock);
	clean = !f->wrote && !f->write_err && !f->whispered_err && !f->turns;
	f->wrote = false;
	scout_unlock(&f->node->lock);
	if (clean)
		scout_req_done(req, 0, &res);
	else
		start(f, &flush_ops, 1, req);
}

static void prepare_fsync(struct scout_turn *t)
{
	sync_of(t)->view.cut = atomic_load(&t->file->node->cut); /* behind all that was taken */
	(void)scout_turn_call(t, 0, SCOUT_SFTP_FSYNC);
	(void)scout_turn_call(t, 1, SCOUT_SFTP_FSTAT);
}

/* What was answered before the session was lost may be lost with its server. */
static bool fsync_lost_locked(struct scout_turn *t, bool left)
{
	if (!t->file->unsynced_lost)
		return look_lost_locked(t, left);
	t->err = -EIO;
	return false;
}

static void fsync_ended_locked(struct scout_turn *t)
{
	struct sync *y = sync_of(t);
	struct scout_file *f = t->file;
	int err;

	view_locked(y);
	if (!t->err)
		t->err = t->calls[0].err;
	if (!t->err)
		f->unsynced = false;
	y->lost = f->unsynced_lost;
	if (!scout_req_unwanted(y->req))
		f->unsynced_lost = false;
	err = take_error_locked(f, y->req);
	y->known_err = err != 0;
	if (!err && y->lost)
		err = -EIO;
	if (err)
		t->err = err;
}

static void fsync_over(struct scout_turn *t)
{
	struct scout_host *host = t->file->host;
	const struct sync *y = sync_of(t);

	if (t->err == -EOPNOTSUPP) {
		t->err = -EINVAL;
		if (!atomic_exchange(&host->told_fsync, true))
			scout_warn("%s: fsync: the server has no way to say that a file is on its "
				   "disk (no fsync@openssh.com)",
				   host->config->name);
	} else if (t->err && !y->known_err) {
		scout_file_log(
		    t->file, "fsync",
		    y->lost ? "the connection was lost before it was on the server's disk" : NULL,
		    t->err);
	}
	flush_over(t);
}

static const struct scout_turn_ops fsync_ops = {
    .prepare = prepare_fsync,
    .lost_locked = fsync_lost_locked,
    .ended_locked = fsync_ended_locked,
    .over = fsync_over,
};

void scout_file_fsync(struct scout_file *f, struct scout_req *req)
{
	scout_lock(&f->node->lock);
	f->wrote = false;
	scout_unlock(&f->node->lock);
	start(f, &fsync_ops, 2, req);
}

static void getattr_ended_locked(struct scout_turn *t)
{
	view_locked(sync_of(t));
	if (!t->err)
		t->err = look_of(sync_of(t))->err;
}

static void getattr_over(struct scout_turn *t)
{
	struct sync *y = sync_of(t);
	struct scout_result res = {.ttl_ms = scout_host_ttl_ms(t->file->host)};

	learn(y);
	if (!t->err)
		scout_host_attr(t->file->host, &look_of(y)->call.attrs, &res.attr);
	else
		scout_file_log(t->file, "getattr", NULL, t->err);
	scout_req_done(y->req, t->err, t->err ? NULL : &res);
	free(y);
}

static const struct scout_turn_ops getattr_ops = {
    .prepare = prepare_look,
    .lost_locked = look_lost_locked,
    .ended_locked = getattr_ended_locked,
    .over = getattr_over,
};

void scout_file_getattr(struct scout_file *f, struct scout_req *req)
{
	start(f, &getattr_ops, 1, req);
}
