/* Changing attributes by handle, in the order of the file's writes: what was written before is on the
 * server, what is written later waits. A look before and one behind tell what became of the file.
 *
 * Locks: node->lock for what the turn says of the file; the request is completed with none. */
#include <errno.h>
#include <stdlib.h>

#include "hosts/attr.h"
#include "hosts/change.h"
#include "hosts/file.h"

#define CALLS 5 /* FSTAT, three FSETSTATs, FSTAT */

struct fsetstat {
	struct scout_req *req;
	struct scout_setattr change;
	struct scout_sftp_attrs sets[3];
	struct scout_rpc *last; /* the look behind, once it is sent */
	/* From the start, and then that of its end, if nothing else of ours was in between. */
	struct scout_view view;
	struct scout_turn turn;
};

static struct fsetstat *fsetstat_of(struct scout_turn *t)
{
	return SCOUT_CONTAINER(t, struct fsetstat, turn);
}

/* The changes, and the look behind them; or t->err. */
static void add_changes(struct fsetstat *y)
{
	struct scout_turn *t = &y->turn;
	unsigned n = 1;

	t->err = scout_setattr_sets(t->file->host, &y->change, &t->calls[0].call.attrs, y->sets);
	if (t->err)
		return;
	for (unsigned i = 0; i < 3; i++)
		if (y->sets[i].has)
			scout_turn_call(t, n++, SCOUT_SFTP_FSETSTAT)->set = &y->sets[i];
	(void)scout_turn_call(t, n, SCOUT_SFTP_FSTAT);
	y->last = &t->calls[n];
}

static void prepare(struct scout_turn *t)
{
	struct fsetstat *y = fsetstat_of(t);

	scout_node_cut_locked(t->file->node);
	y->view = scout_node_view(t->file->node);
	(void)scout_turn_call(t, 0, SCOUT_SFTP_FSTAT);
	y->last = NULL;
	/* then the look is all */
	if (scout_req_unwanted(y->req))
		t->err = -EINTR;
	else if (!scout_setattr_is_half(&y->change))
		add_changes(y);
}

static void changed(struct scout_rpc *rpc, int err)
{
	struct scout_turn *t = SCOUT_CONTAINER(rpc, struct scout_turn, calls[1]);

	if (err != -ECONNRESET) /* else lost_locked says */
		t->err = err;
	scout_turn_answered(t);
}

/* What is half needed the first look's answer. */
static bool more(struct scout_turn *t)
{
	struct fsetstat *y = fsetstat_of(t);

	for (const struct scout_rpc *rpc = t->calls; rpc && !t->err; rpc = rpc->then)
		t->err = rpc->err;
	if (t->err || y->last)
		return false;
	add_changes(y);
	if (t->err)
		return false;
	t->calls[1].done = changed;
	scout_rpc_send_on(t->handle->session, &t->calls[1]);
	return true;
}

static bool lost_locked(struct scout_turn *t, bool left)
{
	left &= fsetstat_of(t)->last && t->calls[1].call.sent_ns;
	if (!left && t->attempts < SCOUT_RPC_ATTEMPTS)
		return true;
	if (left)
		scout_node_doubt(t->file->node);
	t->err = -EIO;
	return false;
}

static void ended_locked(struct scout_turn *t)
{
	struct fsetstat *y = fsetstat_of(t);
	struct scout_node *n = t->file->node;
	uint64_t cut = y->view.cut;
	bool alone = TAILQ_EMPTY(&n->turns) && cut == atomic_load(&n->cut);

	scout_node_cut_locked(n);
	y->view = scout_node_view(n);
	y->view.quiet = alone;
	y->view.epoch++; /* by its end, which is now */
}

/* What it has made of the file, if that is known. */
static void learn(struct fsetstat *y)
{
	struct scout_file *f = y->turn.file;
	const struct scout_sftp_attrs *attrs = &y->last->call.attrs;
	struct scout_attr attr;

	scout_attr_map(attrs, &attr);
	scout_lock(&f->node->lock);
	y->view.quiet &= scout_node_view(f->node).quiet;
	if (y->view.quiet && y->view.epoch == atomic_load(&f->node->epoch))
		scout_node_set_locked(f->node, &attr);
	scout_lock(&f->lock);
	(void)scout_file_note_locked(f, attrs, &y->view);
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
}

static void over(struct scout_turn *t)
{
	struct fsetstat *y = fsetstat_of(t);
	struct scout_file *f = t->file;
	struct scout_result res = {.ttl_ms = scout_host_ttl_ms(f->host)};
	struct scout_attr before;

	if (t->err) {
		scout_file_log(f, "setattr", NULL, t->err);
		scout_req_done(y->req, t->err, NULL);
		free(y);
		return;
	}
	scout_attr_map(&t->calls[0].call.attrs, &before);
	scout_host_attr(f->host, &y->last->call.attrs, &res.changed.attr);
	res.changed.was = before.version;
	learn(y);
	scout_req_done(y->req, 0, &res);
	free(y);
}

static const struct scout_turn_ops ops = {
    .modifies = true,
    .alone = true,
    .prepare = prepare,
    .more = more,
    .lost_locked = lost_locked,
    .ended_locked = ended_locked,
    .over = over,
};

void scout_file_setattr(struct scout_file *f, const struct scout_setattr *change,
			struct scout_req *req)
{
	struct fsetstat *y = calloc(1, sizeof *y + CALLS * sizeof y->turn.calls[0]);

	if (!y) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	y->req = req;
	y->change = *change;
	y->turn.ops = &ops;
	scout_file_turn(f, &y->turn);
}
