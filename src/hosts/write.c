/* Writes: taken into buffers of the budget at once and sent in pieces of what the server takes; when
 * there is no room, they wait, their bytes in memory of their own.
 *
 * Small ones that follow on each other gather in the node's tail while something is under way. A write
 * that has waited takes spare buffers as they come back from earlier ones; when there are no earlier
 * ones it takes a ticket, as a reader does, and keeps it until its bytes are answered.
 *
 * What the server answers with an error is kept for the next write, and the next flush or fsync, of the
 * handle.
 * Locks: node->lock; buffers, tickets and completions are given and taken without it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/file.h"
#include "hosts/turn.h"
#include "scoutfs/log.h"

#define PIECES 2 /* that one write needs at most: a piece is more than half a buffer */

/* Bytes of one handle in one buffer: as many WRITEs as that takes. */
struct piece {
	void *buf;
	uint64_t offset;
	uint32_t length;
	bool ticket;     /* goes with the buffer */
	bool lost, told; /* with its session; it is the one whose error is logged */
	struct scout_rpc space;
	char *path;
	struct scout_turn turn;
};

struct spare {
	struct piece *pieces[PIECES];
	unsigned count;
	bool ticket;
};

struct scout_waiting {
	struct scout_file *file; /* with a reference */
	struct scout_req *req;
	uint64_t offset;
	size_t size;
	TAILQ_ENTRY(scout_waiting) link; /* node->waiting */
	bool obtaining;                  /* under node->lock: it waits for memory */
	unsigned need;
	struct spare spare; /* node->running's, or while obtaining its own */
	struct scout_waiter waiter;
	SLIST_ENTRY(scout_waiting) resume; /* of the thread that granted it something */
	uint8_t data[];
};

static const struct scout_turn_ops piece_ops;

static struct piece *piece_of(struct scout_turn *t)
{
	return SCOUT_CONTAINER(t, struct piece, turn);
}

static struct piece *piece_new(const struct scout_file *f, void *buf)
{
	unsigned calls = f->piece_bytes / f->write_bytes;
	struct piece *p = calloc(1, sizeof *p + calls * sizeof p->turn.calls[0]);

	if (p) {
		p->buf = buf;
		p->turn.ops = &piece_ops;
	}
	return p;
}

static void piece_free(struct scout_host *host, struct piece *p)
{
	scout_buf_put(host->share, p->buf);
	if (p->ticket)
		scout_ticket_put(host->share);
	free(p->path);
	free(p);
}

static void spare_free(struct scout_host *host, struct spare *s)
{
	while (s->count)
		piece_free(host, s->pieces[--s->count]);
	if (s->ticket)
		scout_ticket_put(host->share);
	s->ticket = false;
}

/* False: no memory; then buf is given back. */
static bool spare_add(const struct scout_file *f, struct spare *s, void *buf)
{
	struct piece *p = piece_new(f, buf);

	if (p)
		s->pieces[s->count++] = p;
	else
		scout_buf_put(f->host->share, buf);
	return p != NULL;
}

/* Fills s up to need with what is to be had at once. 0, also when that is less, or -ENOMEM. */
static int spare_try(const struct scout_file *f, struct spare *s, unsigned need)
{
	while (s->count < need) {
		void *buf = scout_buf_try(f->host->share);

		if (!buf)
			return 0;
		if (!spare_add(f, s, buf))
			return -ENOMEM;
	}
	return 0;
}

/* How many bytes of a write at offset go into the node's tail. */
static size_t tail_room_locked(const struct scout_file *f, uint64_t offset, size_t size)
{
	struct scout_turn *t = f->node->tail;
	const struct piece *p = t ? piece_of(t) : NULL;
	size_t room;

	if (!p || t->file != f || p->offset + p->length != offset)
		return 0;
	room = f->piece_bytes - p->length;
	/* One record is not torn where others append, too. */
	if (f->appends && room < size)
		return 0;
	return room < size ? room : size;
}

static unsigned need_locked(const struct scout_file *f, uint64_t offset, size_t size)
{
	size_t left = size - tail_room_locked(f, offset, size);

	return (unsigned)((left + f->piece_bytes - 1) / f->piece_bytes);
}

static bool room_locked(const struct scout_node *n, size_t size)
{
	return !n->bytes || n->bytes + size <= n->limit;
}

static void grow_locked(struct scout_file *f, uint64_t end, size_t size)
{
	struct scout_node *n = f->node;

	f->wrote = true;
	n->bytes += size;
	if (f->appends) {
		/* Where the server puts it is the server's to say. In this order: scout_node_view. */
		atomic_fetch_add(&n->appending, size);
		atomic_fetch_add(&n->cut, 1);
		n->size_max += size;
		return;
	}
	if (end > n->end)
		n->end = end;
	if (end > n->size_max)
		n->size_max = end;
}

/* Copies the bytes into the tail and as many pieces of s as they need. */
static void take_locked(struct scout_file *f, uint64_t offset, const uint8_t *data, size_t size,
			struct spare *s)
{
	struct scout_node *n = f->node;
	size_t got = tail_room_locked(f, offset, size);

	grow_locked(f, offset + size, size);
	if (got) {
		struct piece *p = piece_of(n->tail);

		memcpy((uint8_t *)p->buf + p->length, data, got);
		p->length += (uint32_t)got;
		atomic_fetch_add(&n->epoch, 1);
		if (p->length == f->piece_bytes)
			n->tail = NULL;
	}
	while (got < size) {
		struct piece *p = s->pieces[--s->count];
		size_t left = size - got;

		p->offset = offset + got;
		p->length = left < f->piece_bytes ? (uint32_t)left : f->piece_bytes;
		p->ticket = s->ticket;
		s->ticket = false;
		memcpy(p->buf, data + got, p->length);
		got += p->length;
		scout_turn_add_locked(f, &p->turn);
		if (p->length < f->piece_bytes)
			n->tail = &p->turn;
	}
}

/* What has to be said to a write of f instead of taking it. */
static int refusal_locked(struct scout_file *f, struct scout_req *req)
{
	int err;

	if (scout_req_unwanted(req))
		return -EINTR;
	if (atomic_load(&f->host->all->stopping))
		return -ESHUTDOWN;
	err = f->write_err;
	f->write_err = 0;
	if (err)
		f->whispered_err = err;
	return err;
}

/* After a write was taken: its session is kept, and spared other work when there is much to come. */
static void taken(struct scout_file *f)
{
	struct scout_handle *bulk = NULL;
	bool pin;

	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	pin = f->handle && !f->handle->pinned;
	if (f->node->bytes > SCOUT_WINDOW_BULK && f->handle && !f->bulk) {
		f->bulk = true;
		bulk = scout_handle_ref(f->handle);
	}
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
	if (pin)
		scout_node_pin(f);
	if (bulk)
		scout_handle_set_bulk(bulk);
	scout_handle_unref(bulk);
}

static struct scout_waiting *waiting_new(struct scout_file *f, uint64_t offset, const void *data,
					 size_t size, struct scout_req *req)
{
	struct scout_waiting *w = malloc(sizeof *w + size);

	if (!w)
		return NULL;
	memset(w, 0, sizeof *w);
	memcpy(w->data, data, size);
	w->file = scout_file_ref(f);
	w->req = req;
	w->offset = offset;
	w->size = size;
	return w;
}

/* w is out of the queue. */
static void waiting_over(struct scout_waiting *w, int err)
{
	struct scout_result res = {0};
	struct scout_file *f = w->file;

	scout_req_done(w->req, err, err ? NULL : &res);
	spare_free(f->host, &w->spare);
	free(w);
	if (!err)
		taken(f);
	scout_file_unref(f);
}

static void obtain(struct scout_waiting *w);

/* A ticket or buffer came. Going on may give others theirs on this thread, and these go on in turn:
 * one after the other here, not one inside the other. */
static void granted(struct scout_waiter *waiter, void *buf)
{
	static _Thread_local SLIST_HEAD(, scout_waiting) resumed;
	static _Thread_local bool busy;
	struct scout_waiting *w = SCOUT_CONTAINER(waiter, struct scout_waiting, waiter);

	if (!buf)
		w->spare.ticket = true;
	else if (!spare_add(w->file, &w->spare, buf))
		w->need = 0; /* the next look tells that there is no memory */
	SLIST_INSERT_HEAD(&resumed, w, resume);
	if (busy)
		return;
	busy = true;
	while ((w = SLIST_FIRST(&resumed))) {
		SLIST_REMOVE_HEAD(&resumed, resume);
		obtain(w);
	}
	busy = false;
}

/* Gets w its ticket and buffers, or leaves it waiting for them. */
static void obtain(struct scout_waiting *w)
{
	struct scout_file *f = scout_file_ref(w->file);
	struct scout_node *n = f->node;
	bool all = false;

	w->waiter.granted = granted;
	if (!w->spare.ticket) {
		if (!scout_ticket_get(f->host->share, &w->waiter))
			goto out;
		w->spare.ticket = true;
	}
	while (w->spare.count < w->need) {
		void *buf = scout_buf_get(f->host->share, &w->waiter);

		if (!buf)
			goto out;
		if (!spare_add(f, &w->spare, buf))
			w->need = 0;
	}
	all = true;
out:
	if (all) {
		scout_lock(&n->lock);
		w->obtaining = false;
		scout_unlock(&n->lock);
		scout_node_run(n);
	}
	scout_file_unref(f);
}

/* Gets w's pieces, with node->lock given back. Returns 0, or the errno with which w ends. */
static int prepare_locked(struct scout_node *n, struct scout_waiting *w, unsigned need)
{
	int err;

	scout_unlock(&n->lock);
	err = w->spare.ticket ? -ENOMEM : spare_try(w->file, &w->spare, need);
	scout_lock(&n->lock);
	/* With writes under way, their buffers come back and have this looked at again. */
	if (err || w->spare.count >= need || n->bytes)
		return err;
	w->need = (unsigned)((w->size + w->file->piece_bytes - 1) / w->file->piece_bytes);
	w->obtaining = true;
	scout_unlock(&n->lock);
	/* who waits for a ticket holds nothing that those who have one may wait for */
	spare_free(w->file->host, &w->spare);
	obtain(w);
	scout_lock(&n->lock);
	return 0;
}

bool scout_write_admit_locked(struct scout_node *n)
{
	struct scout_waiting *w = TAILQ_FIRST(&n->waiting);
	unsigned need;
	int err;

	if (!w || w->obtaining)
		return false;
	err = refusal_locked(w->file, w->req);
	if (!err) {
		if (!room_locked(n, w->size))
			return false;
		need = need_locked(w->file, w->offset, w->size);
		if (w->spare.count < need) {
			err = prepare_locked(n, w, need);
			if (!err)
				return w->obtaining || w->spare.count >= need || !n->bytes;
		} else {
			take_locked(w->file, w->offset, w->data, w->size, &w->spare);
		}
	}
	TAILQ_REMOVE(&n->waiting, w, link);
	scout_unlock(&n->lock);
	waiting_over(w, err);
	scout_lock(&n->lock);
	return true;
}

/* Takes the write if there is room for it. Returns 0, -EAGAIN when it has to wait, or an errno. */
static int try_now(struct scout_file *f, uint64_t offset, const void *data, size_t size,
		   struct scout_req *req)
{
	struct scout_node *n = f->node;
	struct spare spare = {0};
	unsigned need;
	bool room;
	int err;

	scout_lock(&n->lock);
	room = TAILQ_EMPTY(&n->waiting) && room_locked(n, size);
	need = need_locked(f, offset, size);
	scout_unlock(&n->lock);
	err = room ? spare_try(f, &spare, need) : 0;

	scout_lock(&n->lock);
	if (!err)
		err = refusal_locked(f, req);
	if (!err && !(room && TAILQ_EMPTY(&n->waiting) && room_locked(n, size) &&
		      need_locked(f, offset, size) <= spare.count))
		err = -EAGAIN;
	if (!err)
		take_locked(f, offset, data, size, &spare);
	scout_unlock(&n->lock);
	spare_free(f->host, &spare);
	return err;
}

void scout_file_write(struct scout_file *f, uint64_t offset, const void *data, size_t size,
		      struct scout_req *req)
{
	struct scout_result res = {0};
	struct scout_node *n = f->node;
	struct scout_waiting *w;
	int err = 0;

	if (!f->writes)
		err = -EBADF;
	else if (size > SCOUT_WRITE_MAX)
		err = -EINVAL;
	else if (offset > INT64_MAX - size)
		err = -EFBIG;
	else if (size)
		err = try_now(f, offset, data, size, req);
	if (err != -EAGAIN) {
		/* The request's own file may be closed once it is done. */
		scout_file_ref(f);
		scout_req_done(req, err, err ? NULL : &res);
		if (!err) {
			taken(f);
			scout_node_run(n);
		}
		scout_file_unref(f);
		return;
	}
	w = waiting_new(f, offset, data, size, req);
	if (!w) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	scout_file_ref(f);
	scout_lock(&n->lock);
	TAILQ_INSERT_TAIL(&n->waiting, w, link);
	scout_unlock(&n->lock);
	scout_node_run(n);
	scout_file_unref(f);
}

/* One handle's order, or another's, shows where the bytes are the same, and where the server says where
 * they go. */
static bool apart(const struct scout_turn *t, const struct scout_turn *u)
{
	const struct piece *p = SCOUT_CONTAINER(t, const struct piece, turn);
	const struct piece *q = SCOUT_CONTAINER(u, const struct piece, turn);

	return !t->file->appends && !u->file->appends &&
	       (p->offset + p->length <= q->offset || q->offset + q->length <= p->offset);
}

static void prepare(struct scout_turn *t)
{
	const struct piece *p = piece_of(t);
	uint32_t step = t->file->write_bytes, at = 0;

	t->bytes = p->length;
	for (unsigned i = 0; at < p->length; i++, at += step) {
		struct scout_sftp_call *call = scout_turn_call(t, i, SCOUT_SFTP_WRITE);

		call->offset = p->offset + at;
		call->length = p->length - at < step ? p->length - at : step;
		call->src = (const uint8_t *)p->buf + at;
	}
}

static void space_told(struct scout_rpc *rpc, int err)
{
	struct piece *p = SCOUT_CONTAINER(rpc, struct piece, space);
	const struct statvfs *space = &rpc->call.space;

	if (!err && space->f_bavail < p->length / (space->f_frsize ? space->f_frsize : 1) + 1)
		p->turn.err = -ENOSPC;
	scout_turn_answered(&p->turn);
}

/* "Failure" is all that the server has to say of a disk that is full: asks how full it is. */
static bool more(struct scout_turn *t)
{
	struct piece *p = piece_of(t);
	struct scout_file *f = t->file;
	const struct scout_rpc *rpc = &t->calls[0];
	bool first;

	while (rpc && !rpc->err)
		rpc = rpc->then;
	if (!rpc)
		return false;
	t->err = rpc->err;
	if (rpc->call.status != SCOUT_SFTP_STATUS_FAILURE)
		return false;
	scout_lock(&f->node->lock);
	first = !f->write_err && !f->narrowing;
	f->narrowing |= first;
	scout_unlock(&f->node->lock);
	if (!first)
		return false;
	p->path = scout_node_path(f->node);
	if (!p->path) {
		scout_lock(&f->node->lock);
		f->narrowing = false;
		scout_unlock(&f->node->lock);
		return false;
	}
	p->space.call.op = SCOUT_SFTP_STATVFS;
	p->space.call.path = p->path;
	p->space.done = space_told;
	scout_rpc_send_on(t->handle->session, &p->space);
	return true;
}

/* A write that may have left is lost, and so is all that was written behind it. */
static bool lost_locked(struct scout_turn *t, bool left)
{
	struct scout_file *f = t->file;
	struct scout_node *n = f->node;
	struct scout_turn *other;

	f->losing |= left;
	if (left)
		scout_node_doubt(n);
	if (!f->losing && t->attempts < SCOUT_RPC_ATTEMPTS)
		return true;
	t->err = -EIO;
	piece_of(t)->lost = true;
	TAILQ_FOREACH (other, &n->turns, link) {
		if (other->file != f || other->ops != &piece_ops ||
		    other->state != SCOUT_TURN_READY)
			continue;
		if (other == n->tail)
			n->tail = NULL;
		other->err = -EIO;
		other->state = SCOUT_TURN_ENDED;
	}
	return false;
}

/* As much may be under way as the link carries in a part of the time that whoever closes the file
 * is willing to wait. */
static void adapt_locked(struct scout_file *f, const struct piece *p)
{
	struct scout_node *n = f->node;
	uint64_t took = scout_now_ns() - p->turn.sent_ns;
	size_t most = SCOUT_WRITE_BEHIND_MAX;

	if (scout_host_is_far(n->host))
		most += f->stripes.count * SCOUT_WRITE_BEHIND_STRIPE;

	n->took_ns = took;
	if (took > n->host->config->request_timeout_ns / 4)
		n->limit /= 2;
	else
		n->limit += p->length;
	if (n->limit < SCOUT_WRITE_BEHIND_MIN)
		n->limit = SCOUT_WRITE_BEHIND_MIN;
	if (n->limit > most)
		n->limit = most;
}

static void ended_locked(struct scout_turn *t)
{
	struct piece *p = piece_of(t);
	struct scout_file *f = t->file;
	struct scout_node *n = f->node;
	uint64_t end;

	n->bytes -= p->length;
	if (f->appends)
		atomic_fetch_sub(&n->appending, p->length);
	if (p->path)
		f->narrowing = false;
	if (t->err) {
		p->told = !f->write_err;
		if (p->told)
			f->write_err = t->err;
		return;
	}
	f->unsynced = true;
	f->stripes.written += p->length;
	adapt_locked(f, p);
	if (f->appends) {
		n->size_min += p->length;
		return;
	}
	end = p->offset + p->length;
	if (end > n->size_min)
		n->size_min = end;
	/* a cut that it waited behind took back what was said when it was taken */
	if (end > n->end)
		n->end = end;
}

static void over(struct scout_turn *t)
{
	struct piece *p = piece_of(t);

	if (p->told)
		scout_file_log(
		    t->file, "write",
		    p->lost ? "the connection was lost before the server answered" : NULL, t->err);
	piece_free(t->file->host, p);
}

static const struct scout_turn_ops piece_ops = {
    .modifies = true,
    .apart = apart,
    .prepare = prepare,
    .more = more,
    .lost_locked = lost_locked,
    .ended_locked = ended_locked,
    .over = over,
};
