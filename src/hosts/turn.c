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

/* What one look at the queue found to do: all may be NULL. */
struct next {
	struct scout_turn *turn;
	struct scout_handle *handle; /* for it, with a reference */
	/* the file, with a reference, that has to be opened anew first; that another stripe would help */
	struct scout_file *reopen, *widen;
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

static bool apart(const struct scout_turn *t, const struct scout_turn *u)
{
	return t->ops == u->ops && t->ops->apart && t->ops->apart(t, u);
}

/* The session behind whose turns t has to go, NULL when it is of no matter. False: there are several. */
static bool behind_locked(const struct scout_node *n, const struct scout_turn *t,
			  const struct scout_session **ret)
{
	const struct scout_turn *u;

	*ret = NULL;
	TAILQ_FOREACH (u, &n->turns, link) {
		if (u == t)
			break;
		if (u->state != SCOUT_TURN_SENT || apart(t, u))
			continue;
		if (*ret && *ret != u->handle->session)
			return false;
		*ret = u->handle->session;
	}
	return true;
}

/* Whether t, the first that is not sent, may be; then next says how. */
static bool may_go_locked(struct scout_node *n, struct scout_turn *t, struct next *next)
{
	const struct scout_session *only;
	struct scout_file *f = t->file;
	bool widen = false;

	if (t->ops->alone && n->sent)
		return false;
	if (t == n->tail && n->sent)
		return false;
	if (!behind_locked(n, t, &only))
		return false;
	scout_lock(&f->lock);
	if (f->handle && t->ops->apart)
		next->handle = scout_stripe_pick_locked(t, f->handle, only, &widen);
	else if (f->handle && (!only || f->handle->session == only))
		next->handle = f->handle;
	if (next->handle)
		scout_handle_ref(next->handle);
	if (!f->handle && !f->nsent && !f->reopen)
		next->reopen = f;
	if (widen)
		next->widen = f;
	f->refs += (next->reopen != NULL) + widen;
	scout_unlock(&f->lock);
	return next->handle != NULL;
}

static void next_locked(struct scout_node *n, struct next *next)
{
	struct scout_turn *t;

	TAILQ_FOREACH (t, &n->turns, link) {
		if (t->state == SCOUT_TURN_READY) {
			next->turn = may_go_locked(n, t, next) ? t : NULL;
			return;
		}
		if (t->state == SCOUT_TURN_SENT && t->ops->alone)
			return;
	}
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

	if (h->stripe)
		scout_stripe_back(f, h, lost, left);
	else if (lost)
		scout_file_lost(f, h);
	scout_lock(&f->lock);
	f->refs++; /* t may be over soon */
	scout_unlock(&f->lock);
	scout_lock(&n->lock);
	t->handle = NULL;
	h->writing -= t->bytes;
	/* there may be as many dead stripes as attempts */
	if (h->stripe && lost && !left)
		t->attempts--;
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

/* Whether a call of t lost its session. */
static bool is_lost(const struct scout_turn *t)
{
	bool lost = false;

	for (const struct scout_rpc *rpc = t->calls; rpc; rpc = rpc->then)
		lost |= rpc->err == -ECONNRESET;
	return lost;
}

/* Whether a call of t may have reached the server. */
static bool has_left(const struct scout_turn *t)
{
	bool left = false;

	for (const struct scout_rpc *rpc = t->calls; rpc; rpc = rpc->then)
		left |= rpc->call.sent_ns != 0;
	return left;
}

void scout_turn_answered(struct scout_turn *t)
{
	back(t, is_lost(t), has_left(t));
}

static void answered(struct scout_rpc *first, int err)
{
	struct scout_turn *t = SCOUT_CONTAINER(first, struct scout_turn, calls);

	(void)err; /* each call's own tells more */
	if (is_lost(t) || !t->ops->more || !t->ops->more(t))
		scout_turn_answered(t);
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
	n->sent++;
	t->file->nsent++;
	t->ops->prepare(t);
	handle->writing += t->bytes;
	t->calls[0].done = answered;
	scout_unlock(&n->lock);
	scout_rpc_send_on(s, &t->calls[0]);
	scout_lock(&n->lock);
}

static void open_more(const struct next *next)
{
	if (next->reopen) {
		scout_file_reopen(next->reopen);
		scout_file_unref(next->reopen);
	}
	if (next->widen) {
		scout_stripe_widen(next->widen);
		scout_file_unref(next->widen);
	}
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
		struct next next = {0};

		n->again = false;
		next_locked(n, &next);
		if (next.turn)
			send_turn(n, next.turn, next.handle);
		if (next.reopen || next.widen) {
			scout_unlock(&n->lock);
			open_more(&next);
			scout_lock(&n->lock);
		}
		n->again |= next.turn || next.reopen || scout_write_admit_locked(n);
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
