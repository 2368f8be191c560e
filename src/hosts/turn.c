/* The queue of one remote file: who may go out, what answers and lost sessions mean for it, and in
 * which order turns end.
 *
 * One thread at a time sends (node->running); whoever changes something calls scout_node_run, and is
 * served by that thread or becomes it. Calls, completions and buffers are given and taken with no lock
 * held; all else is under node->lock. */
#include "hosts/turn.h"

#include <errno.h>
#include <string.h>

#include "hosts/file.h"

/* What ended with one look at the queue. */
struct ended {
	struct scout_turns turns;
	struct scout_settles settled;
};

static void run(struct scout_node *n);

void scout_turn_add_locked(struct scout_file *f, struct scout_turn *t)
{
	struct scout_node *n = f->node;

	scout_lock(&f->lock);
	f->refs++;
	scout_unlock(&f->lock);
	t->file = f;
	t->seq = ++n->seq;
	t->state = SCOUT_TURN_READY;
	f->turns++;
	if (t->ops->modifies) {
		atomic_fetch_add(&n->unanswered, 1);
		atomic_fetch_add(&n->epoch, 1);
	}
	n->tail = NULL;
	TAILQ_INSERT_TAIL(&n->turns, t, link);
}

struct scout_sftp_call *scout_turn_call(struct scout_turn *t, unsigned i, enum scout_sftp_op op)
{
	struct scout_rpc *rpc = &t->calls[i];

	memset(rpc, 0, sizeof *rpc);
	rpc->call.op = op;
	rpc->call.handle = &t->handle->remote;
	if (i)
		t->calls[i - 1].then = rpc;
	return &rpc->call;
}

/* Whether t is the next to be sent, on which handle. *reopen: its file has to be opened anew first. */
static bool may_go_locked(struct scout_node *n, struct scout_turn *t, struct scout_handle **handle,
			  struct scout_file **reopen)
{
	struct scout_file *f = t->file;
	bool go = false;

	if (t->ops->alone && n->sent)
		return false;
	if (t == n->tail && n->sent)
		return false;
	scout_lock(&f->lock);
	if (f->handle) {
		go = !n->sent || f->handle->session == n->session;
		if (go)
			*handle = scout_handle_ref(f->handle);
	} else if (!f->nsent && !f->reopen) {
		f->refs++;
		*reopen = f;
	}
	scout_unlock(&f->lock);
	return go;
}

static struct scout_turn *next_locked(struct scout_node *n, struct scout_handle **handle,
				      struct scout_file **reopen)
{
	struct scout_turn *t;

	TAILQ_FOREACH (t, &n->turns, link) {
		if (t->state == SCOUT_TURN_READY)
			return may_go_locked(n, t, handle, reopen) ? t : NULL;
		if (t->state == SCOUT_TURN_SENT && t->ops->alone)
			return NULL;
	}
	return NULL;
}

/* Takes what is over out of the queue, in order. */
static void collect_locked(struct scout_node *n, struct ended *e)
{
	struct scout_settle *w;
	struct scout_turn *t;

	TAILQ_INIT(&e->turns);
	TAILQ_INIT(&e->settled);
	while ((t = TAILQ_FIRST(&n->turns)) && t->state == SCOUT_TURN_ENDED) {
		TAILQ_REMOVE(&n->turns, t, link);
		TAILQ_INSERT_TAIL(&e->turns, t, link);
		t->ops->ended_locked(t);
		if (t->ops->modifies) {
			atomic_fetch_add(&n->epoch, 1);
			atomic_fetch_sub(&n->unanswered, 1);
		}
		t->last = --t->file->turns == 0;
	}
	while ((w = TAILQ_FIRST(&n->settling)) && (!t || w->seq < t->seq)) {
		TAILQ_REMOVE(&n->settling, w, link);
		TAILQ_INSERT_TAIL(&e->settled, w, link);
	}
}

static void tell(struct ended *e)
{
	struct scout_settle *w;
	struct scout_turn *t;

	while ((t = TAILQ_FIRST(&e->turns))) {
		struct scout_file *f = t->file;
		bool last = t->last;

		TAILQ_REMOVE(&e->turns, t, link);
		t->ops->over(t);
		if (last)
			scout_node_pin(f);
		if (last)
			scout_file_drop(f);
		scout_file_unref(f);
	}
	while ((w = TAILQ_FIRST(&e->settled))) {
		TAILQ_REMOVE(&e->settled, w, link);
		w->settled(w);
	}
}

/* After turns have ended, or may be sent again; the caller holds n or one of its files. */
static void go_on(struct scout_node *n)
{
	struct ended e;

	scout_lock(&n->lock);
	collect_locked(n, &e);
	scout_unlock(&n->lock);
	tell(&e);
	run(n);
}

/* t has all its answers, or its session is lost. */
static void back(struct scout_turn *t, bool lost, bool left)
{
	struct scout_file *f = t->file;
	struct scout_node *n = f->node;
	struct scout_handle *h = t->handle;
	bool again = false, reopen;

	if (lost)
		scout_file_lost(f, h);
	scout_lock(&f->lock);
	f->refs++; /* t may be over soon */
	scout_unlock(&f->lock);
	scout_lock(&n->lock);
	t->handle = NULL;
	n->sent--;
	f->nsent--;
	if (lost)
		again = t->ops->lost_locked(t, left);
	f->losing &= f->nsent != 0;
	t->state = again ? SCOUT_TURN_READY : SCOUT_TURN_ENDED;
	reopen = !f->nsent && f->reopen_later;
	if (reopen)
		f->reopen_later = false;
	scout_unlock(&n->lock);
	scout_handle_unref(h);
	if (reopen)
		scout_file_reopen(f);
	go_on(n);
	scout_file_unref(f);
}

void scout_turn_answered(struct scout_turn *t)
{
	back(t, false, false);
}

static void answered(struct scout_rpc *first, int err)
{
	struct scout_turn *t = SCOUT_CONTAINER(first, struct scout_turn, calls);
	bool lost = false, left = false;

	(void)err; /* each call's own tells more */
	for (const struct scout_rpc *rpc = first; rpc; rpc = rpc->then) {
		lost |= rpc->err == -ECONNRESET;
		left |= rpc->call.sent_ns != 0;
	}
	if (lost || !t->ops->more || !t->ops->more(t))
		back(t, lost, left);
}

static void send_turn(struct scout_node *n, struct scout_turn *t, struct scout_handle *handle)
{
	struct scout_session *s = handle->session;

	/* under node->lock, which is given back while it goes out */
	if (t == n->tail)
		n->tail = NULL;
	t->state = SCOUT_TURN_SENT;
	t->handle = handle;
	t->attempts++;
	t->sent_ns = scout_now_ns();
	n->session = s;
	n->sent++;
	t->file->nsent++;
	t->ops->prepare(t);
	t->calls[0].done = answered;
	scout_unlock(&n->lock);
	scout_rpc_send_on(s, &t->calls[0]);
	scout_lock(&n->lock);
}

static void run(struct scout_node *n)
{
	scout_lock(&n->lock);
	n->again = true;
	if (n->running) {
		scout_unlock(&n->lock);
		return;
	}
	n->running = true;
	while (n->again) {
		struct scout_handle *handle = NULL;
		struct scout_file *reopen = NULL;
		struct scout_turn *t;

		n->again = false;
		t = next_locked(n, &handle, &reopen);
		if (t) {
			send_turn(n, t, handle);
		} else if (reopen) {
			scout_unlock(&n->lock);
			scout_file_reopen(reopen);
			scout_file_unref(reopen);
			scout_lock(&n->lock);
		}
		n->again |= t || reopen || scout_write_admit_locked(n);
	}
	n->running = false;
	scout_unlock(&n->lock);
}

void scout_node_run(struct scout_node *n)
{
	run(n);
}

void scout_turn_fail_all(struct scout_file *f, int err)
{
	struct scout_node *n = f->node;
	struct scout_turn *t;

	scout_lock(&n->lock);
	TAILQ_FOREACH (t, &n->turns, link) {
		if (t->file != f || t->state != SCOUT_TURN_READY)
			continue;
		if (t == n->tail)
			n->tail = NULL;
		t->err = err;
		t->state = SCOUT_TURN_ENDED;
	}
	scout_unlock(&n->lock);
	go_on(n);
}

bool scout_turn_release(struct scout_file *f)
{
	struct scout_node *n = f->node;
	bool none;

	scout_lock(&n->lock);
	f->released = true;
	none = f->turns == 0;
	if (n->tail && n->tail->file == f)
		n->tail = NULL;
	scout_unlock(&n->lock);
	if (!none)
		run(n);
	return none;
}
