/* The kernel's reads of an open file, and reading ahead of them.
 *
 * A read that finds all its bytes in ready chunks is answered at once. Else it takes a ticket of the
 * host's share, a buffer for each chunk that is missing, sends for them, and is answered when the
 * last has come. A sequential reader's chunks lie on the window's grid and are shared; a random
 * read's are its own. Chunks go when they were given out to the end, and when we changed the file.
 * A read looks behind the writes that were taken before it.
 *
 * Locks: file->lock. Tickets, buffers and completions are given and taken without it, since each may
 * run somebody else's code on this thread. */
#include <errno.h>
#include <stdlib.h>

#include "hosts/ahead.h"
#include "hosts/file.h"

#define AHEAD_BATCH 4                 /* chunks that one FSTAT proves */
#define EXPECTED_MAX 16               /* files of a host, */
#define EXPECTED_SHARE 4              /* and that part of its buffers at most */
#define LEFT_BEHIND (4 * 1024 * 1024) /* so far behind the reader nobody comes for the rest */

struct scout_reader {
	struct scout_req *req;
	struct scout_file *file;
	uint64_t offset, end; /* end: of the file at most */
	size_t size;
	uint64_t version;
	struct scout_waiter waiter;
	struct scout_settle settle;
	bool settled; /* it has waited for earlier writes */
	bool looked;  /* and asked how long the file is */
	bool ticket;
	bool alone;   /* its chunks are not the window's */
	bool retried; /* the file grew while its end was read */
	void *bufs[SCOUT_READ_BUFS];
	unsigned nbufs, missing;
	struct scout_chunk *chunks[SCOUT_READ_BUFS];
	unsigned nchunks;
	TAILQ_ENTRY(scout_reader) link;   /* under file->lock, or of a list being worked on */
	SLIST_ENTRY(scout_reader) resume; /* of the thread that granted it something */
};

static void admit(struct scout_reader *r);
static void obtain(struct scout_reader *r);
static void read_ahead(struct scout_file *f);

static void reader_free(struct scout_reader *r)
{
	struct scout_file *f = r->file;

	while (r->nbufs)
		scout_buf_put(f->host->share, r->bufs[--r->nbufs]);
	if (r->ticket)
		scout_ticket_put(f->host->share);
	free(r);
	scout_file_unref(f);
}

/* Lets go of the chunks. given: whether the bytes were given out. */
static void release_chunks(struct scout_reader *r, bool given)
{
	struct scout_file *f = r->file;
	struct scout_chunk_list garbage = TAILQ_HEAD_INITIALIZER(garbage);
	bool spare = false;

	scout_lock(&f->lock);
	for (unsigned i = 0; i < r->nchunks; i++) {
		struct scout_chunk *c = r->chunks[i];
		uint64_t from, to;

		if (!c)
			continue;
		r->chunks[i] = NULL;
		from = r->offset > c->offset ? r->offset : c->offset;
		to = r->end < c->offset + c->length ? r->end : c->offset + c->length;
		if (given && to > from)
			c->consumed += to - from;
		f->given |= given && c->filled;
		c->users--;
		if (!c->shared || c->consumed >= c->filled || f->closed)
			scout_chunk_drop_locked(f, c, &garbage);
		else
			spare |= !c->users && c->state == SCOUT_CHUNK_READY;
	}
	r->nchunks = 0;
	scout_unlock(&f->lock);
	scout_chunk_free_all(f->host, &garbage);
	if (spare)
		scout_budget_poke(f->host->all->budget);
}

/* Collects r's bytes out of its chunks; returns how many iov it took, or an error. The chunks are
 * ready and pinned, so they do not change. */
static int gather(const struct scout_reader *r, struct iovec *iov, uint64_t *end)
{
	uint64_t at = r->offset;
	int n = 0;

	for (unsigned i = 0; i < r->nchunks && at < r->end; i++) {
		const struct scout_chunk *c = r->chunks[i];
		uint64_t have = c->offset + c->filled;

		if (c->err)
			return c->err;
		if (have > r->end)
			have = r->end;
		if (have <= at)
			break;
		iov[n].iov_base = (char *)c->buf + (at - c->offset);
		iov[n].iov_len = (size_t)(have - at);
		n++;
		at = have;
		if (c->filled < c->length)
			break;
	}
	*end = at;
	return n;
}

/* Whether the bytes ended where the file ended when they were asked for, and it has grown since. */
static bool grew_meanwhile(struct scout_reader *r, uint64_t end)
{
	struct scout_file *f = r->file;
	bool grew = false;

	if (end >= r->end || r->retried || f->direct)
		return false;
	scout_lock(&f->lock);
	for (unsigned i = 0; i < r->nchunks; i++)
		grew |= r->chunks[i]->size < f->size;
	scout_unlock(&f->lock);
	return grew;
}

static void finish(struct scout_reader *r, int err)
{
	struct scout_result res = {0};
	struct iovec iov[SCOUT_READ_BUFS];
	uint64_t end = r->offset;
	int n = 0;

	if (!err)
		n = gather(r, iov, &end);
	if (n < 0)
		err = n;
	if (!err && grew_meanwhile(r, end)) {
		release_chunks(r, false);
		r->retried = true;
		admit(r);
		return;
	}
	res.data.iov = iov;
	res.data.count = err ? 0 : n;
	scout_req_done(r->req, err, err ? NULL : &res);
	release_chunks(r, !err);
	reader_free(r);
}

void scout_reader_collect_locked(struct scout_file *f, struct scout_readers *done)
{
	struct scout_reader *r, *next;

	for (r = TAILQ_FIRST(&f->readers); r; r = next) {
		bool filling = false;

		next = TAILQ_NEXT(r, link);
		for (unsigned i = 0; i < r->nchunks; i++)
			filling |= r->chunks[i]->state == SCOUT_CHUNK_FILLING;
		if (filling)
			continue;
		TAILQ_REMOVE(&f->readers, r, link);
		TAILQ_INSERT_TAIL(done, r, link);
	}
}

void scout_reader_finish_all(struct scout_readers *done)
{
	struct scout_reader *r;

	while ((r = TAILQ_FIRST(done))) {
		TAILQ_REMOVE(done, r, link);
		finish(r, 0);
	}
}

void scout_reader_take_unproven_locked(struct scout_file *f, struct scout_readers *ret)
{
	TAILQ_CONCAT(ret, &f->unproven, link);
}

void scout_reader_proven(struct scout_readers *unproven, int err)
{
	struct scout_reader *r;

	while ((r = TAILQ_FIRST(unproven))) {
		TAILQ_REMOVE(unproven, r, link);
		if (err)
			finish(r, err);
		else
			admit(r);
	}
}

/* The window's chunk at cell, if it holds what r needs of it. One that ended where the file ended
 * then, and is too short now, makes room for a new one. */
static struct scout_chunk *usable_locked(struct scout_reader *r, uint64_t cell,
					 struct scout_chunk_list *garbage)
{
	struct scout_file *f = r->file;
	struct scout_chunk *c = scout_chunk_find_locked(f, cell);
	uint64_t need = cell + f->chunk_bytes < r->end ? cell + f->chunk_bytes : r->end;

	if (!c)
		return NULL;
	/* longer by now: appended to, or made anew, of which nobody has seen anything yet */
	if (c->size != f->size && !f->given) {
		scout_chunk_drop_locked(f, c, garbage);
		return NULL;
	}
	if (cell + (c->state == SCOUT_CHUNK_READY ? c->filled : c->length) >= need)
		return c;
	scout_chunk_drop_locked(f, c, garbage);
	return NULL;
}

/* Pins the chunks that are there, makes those that are missing from r's buffers into b (NULL: makes
 * none); r->missing tells how many there still are. Returns 0 or -ENOMEM. */
static int plan_locked(struct scout_reader *r, struct scout_batch *b,
		       struct scout_chunk_list *garbage)
{
	struct scout_file *f = r->file;
	uint64_t first = r->alone ? r->offset : r->offset / f->chunk_bytes * f->chunk_bytes;

	r->missing = 0;
	r->nchunks = (unsigned)((r->end - first + f->chunk_bytes - 1) / f->chunk_bytes);
	for (unsigned i = 0; i < r->nchunks; i++) {
		uint64_t cell = first + (uint64_t)i * f->chunk_bytes;
		uint64_t length = f->chunk_bytes;
		struct scout_chunk *c;

		if (r->chunks[i])
			continue;
		if (r->alone && r->end - cell < length)
			length = r->end - cell;
		c = r->alone ? NULL : usable_locked(r, cell, garbage);
		if (!c && b && r->nbufs) {
			c = scout_chunk_new_locked(b, cell, (uint32_t)length, r->bufs[r->nbufs - 1],
						   !r->alone);
			if (!c)
				return -ENOMEM;
			r->nbufs--;
		}
		if (c) {
			c->users++;
			r->chunks[i] = c;
		} else {
			r->missing++;
		}
	}
	return 0;
}

static bool filling_locked(const struct scout_reader *r)
{
	for (unsigned i = 0; i < r->nchunks; i++)
		if (r->chunks[i] && r->chunks[i]->state == SCOUT_CHUNK_FILLING)
			return true;
	return false;
}

/* Has r wait for its chunks, under file->lock; false when all are there, or some still missing. */
static bool wait_locked(struct scout_reader *r)
{
	if (r->missing || !filling_locked(r))
		return false;
	TAILQ_INSERT_TAIL(&r->file->readers, r, link);
	return true;
}

/* All buffers are at hand: makes the missing chunks and sends for them. */
static void issue(struct scout_reader *r)
{
	struct scout_file *f = r->file;
	struct scout_chunk_list garbage = TAILQ_HEAD_INITIALIZER(garbage);
	struct scout_batch *b = scout_batch_new(f);
	int err = b ? 0 : -ENOMEM;
	bool waits = false;
	unsigned missing;

	scout_lock(&f->lock);
	if (!err)
		err = f->dead;
	if (!err)
		err = plan_locked(r, b, &garbage);
	if (!err)
		waits = wait_locked(r);
	missing = err ? 0 : r->missing;
	f->refs++; /* the batch's */
	scout_unlock(&f->lock);

	scout_chunk_free_all(f->host, &garbage);
	if (!b)
		scout_file_unref(f);
	else
		scout_batch_send(b);
	if (waits)
		return;
	if (missing) /* some were dropped since */
		obtain(r);
	else
		finish(r, err);
}

static void granted(struct scout_waiter *w, void *buf);

/* Gets r its ticket and buffers, or leaves it waiting for them. */
static void obtain(struct scout_reader *r)
{
	struct scout_share *share = r->file->host->share;

	r->waiter.granted = granted;
	if (atomic_load(&r->file->host->all->stopping)) {
		finish(r, -ESHUTDOWN);
		return;
	}
	if (scout_req_unwanted(r->req)) {
		finish(r, -EINTR);
		return;
	}
	if (!r->ticket) {
		if (!scout_ticket_get(share, &r->waiter))
			return;
		r->ticket = true;
	}
	while (r->nbufs < r->missing) {
		void *buf = scout_buf_get(share, &r->waiter);

		if (!buf)
			return;
		r->bufs[r->nbufs++] = buf;
	}
	issue(r);
}

/* A ticket or buffer came. Going on may give others theirs on this thread, and these go on in turn:
 * one after the other here, not one inside the other. */
static void granted(struct scout_waiter *w, void *buf)
{
	static _Thread_local SLIST_HEAD(, scout_reader) resumed;
	static _Thread_local bool busy;
	struct scout_reader *r = SCOUT_CONTAINER(w, struct scout_reader, waiter);

	if (buf)
		r->bufs[r->nbufs++] = buf;
	else
		r->ticket = true;
	SLIST_INSERT_HEAD(&resumed, r, resume);
	if (busy)
		return;
	busy = true;
	while ((r = SLIST_FIRST(&resumed))) {
		SLIST_REMOVE_HEAD(&resumed, resume);
		obtain(r);
	}
	busy = false;
}

/* Notes where the reader is; closes the window at a seek, and drops what it left behind. */
static void follow_locked(struct scout_reader *r, struct scout_chunk_list *garbage)
{
	struct scout_file *f = r->file;
	struct scout_chunk *c, *next;
	bool sequential;

	sequential = scout_window_read(
	    &f->window, r->offset, (size_t)(r->end - r->offset),
	    scout_window_max(f->host->config->read_window, atomic_load(&f->host->round_trip_ns)));
	sequential |= f->size <= SCOUT_FILE_SMALL; /* all of it is one chunk */
	for (c = TAILQ_FIRST(&f->chunks); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (sequential && c->offset + c->length + LEFT_BEHIND > f->window.next)
			break;
		if (!c->users)
			scout_chunk_drop_locked(f, c, garbage);
	}
	r->alone = !sequential;
}

/* What was fetched before our own last change is not the file any more. */
static void sweep_locked(struct scout_file *f, struct scout_chunk_list *garbage)
{
	uint64_t epoch = atomic_load(&f->node->epoch);
	struct scout_chunk *c, *next;

	if (f->swept == epoch)
		return;
	f->swept = epoch;
	for (c = TAILQ_FIRST(&f->chunks); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->epoch != epoch)
			scout_chunk_drop_locked(f, c, garbage);
	}
}

/* f's first reader has come: what was asked for ahead of him is his, if it is no older than attributes may be. */
static void meet_locked(struct scout_file *f, struct scout_chunk_list *garbage)
{
	bool old = scout_now_ns() - f->ahead_ns >= f->host->config->attr_timeout_ns ||
		   f->ahead_changes != atomic_load(&f->host->changes);
	struct scout_chunk *c;

	while (old && (c = TAILQ_FIRST(&f->chunks)))
		scout_chunk_drop_locked(f, c, garbage);
	f->ahead_ns = 0;
	scout_file_unexpect_locked(f);
}

static void start_locked(struct scout_reader *r, struct scout_chunk_list *garbage)
{
	struct scout_file *f = r->file;

	if (f->ahead_ns)
		meet_locked(f, garbage);
	sweep_locked(f, garbage);
	r->end = r->offset + r->size;
	/* Special files answer with a piece of any length: what was asked for behind it would be
	 * thrown away, and has the host's kernel make up such a file from its start each time. */
	if (f->direct && r->size > f->part_bytes)
		r->end = r->offset + f->part_bytes;
	else if (!f->direct && r->end > f->size)
		r->end = f->size > r->offset ? f->size : r->offset;
	r->missing = 0;
	if (r->end == r->offset)
		return;
	if (f->direct || r->retried)
		r->alone = true;
	else
		follow_locked(r, garbage);
	(void)plan_locked(r, NULL, garbage);
}

static void settled(struct scout_settle *w)
{
	admit(SCOUT_CONTAINER(w, struct scout_reader, settle));
}

/* Whether it has to be shown first which file this is, or how long. A handle that writes, or whose
 * path is gone, shows its file whatever the path does; but of one that writes others may know a later end. */
static bool unproven_locked(struct scout_reader *r, uint64_t cut)
{
	const struct scout_file *f = r->file;

	if (f->direct)
		return false;
	if (f->cut != cut && !r->looked)
		return true;
	/* of what is read past the kernel's pages nobody has told the kernel first */
	if (f->writes)
		return (f->appends || r->version != f->version) && r->offset + r->size > f->size &&
		       !r->looked;
	return r->version != f->version && !atomic_load(&f->node->gone);
}

/* The end of the file as our own writes have made it, since it was cut. */
static uint64_t written_end(struct scout_node *n, uint64_t *cut)
{
	uint64_t end;

	scout_lock(&n->lock);
	*cut = atomic_load(&n->cut);
	end = n->end;
	scout_unlock(&n->lock);
	return end;
}

/* Starts r, when its file is known to be the one that the kernel means. */
static void admit(struct scout_reader *r)
{
	struct scout_file *f = r->file;
	struct scout_chunk_list garbage = TAILQ_HEAD_INITIALIZER(garbage);
	bool check = false, waits = false;
	unsigned missing = 0;
	uint64_t end, cut;
	int err;

	if (!r->settled) {
		r->settled = true;
		r->settle.settled = settled;
		if (!scout_node_wait(f->node, &r->settle))
			return;
	}
	end = written_end(f->node, &cut);
	scout_lock(&f->lock);
	f->refs++; /* r may be over soon */
	err = f->dead;
	if (!err && unproven_locked(r, cut)) {
		r->looked = true;
		TAILQ_INSERT_TAIL(&f->unproven, r, link);
		check = !f->checking;
		if (check) {
			f->checking = true;
			f->check_version = r->version;
		}
		waits = true;
	} else if (!err) {
		/* whoever has seen it since our last change knows better */
		if (f->cut == cut && f->epoch != atomic_load(&f->node->epoch) && end > f->size)
			f->size = end;
		start_locked(r, &garbage);
		missing = r->missing;
		waits = wait_locked(r);
	}
	scout_unlock(&f->lock);

	scout_chunk_free_all(f->host, &garbage);
	if (check)
		scout_file_check(f);
	if (missing)
		obtain(r);
	else if (!waits)
		finish(r, err);
	read_ahead(f);
	scout_file_unref(f);
}

/* A far f's first read went out: what comes next may be read before it is opened. Gives f's reference back. */
static void tell_ahead(struct scout_file *f)
{
	char *path = f->writes || f->direct ? NULL : scout_node_path(f->node);

	if (path)
		scout_ahead_read(f->host, path);
	free(path);
	scout_file_unref(f);
}

void scout_file_read(struct scout_file *f, uint64_t offset, size_t size, uint64_t version,
		     struct scout_req *req)
{
	struct scout_reader *r = calloc(1, sizeof *r);
	bool first;

	if (!r || size > SCOUT_READ_MAX || offset > INT64_MAX - size) {
		free(r);
		scout_req_done(req, r ? -EINVAL : -ENOMEM, NULL);
		return;
	}
	r->req = req;
	r->file = f;
	r->offset = offset;
	r->size = size;
	r->version = version;
	first = !atomic_exchange(&f->read_ns, scout_now_ns()) && scout_host_is_far(f->host);
	scout_lock(&f->lock);
	f->refs += 1 + first;
	scout_unlock(&f->lock);
	admit(r);
	if (first)
		tell_ahead(f);
}

/* The next cells of the window that nobody asked for yet, AHEAD_BATCH at most. */
static unsigned next_cells_locked(const struct scout_file *f, uint64_t cells[AHEAD_BATCH])
{
	const struct scout_window *w = &f->window;
	uint64_t end = w->next + w->ahead < f->size ? w->next + w->ahead : f->size;
	uint64_t cell = w->next / f->chunk_bytes * f->chunk_bytes;
	const struct scout_chunk *c = TAILQ_FIRST(&f->chunks);
	unsigned n = 0;

	if (f->dead || f->closed || f->direct || !f->handle || !w->ahead || w->next >= f->size)
		return 0;
	for (; cell < end && n < AHEAD_BATCH; cell += f->chunk_bytes) {
		while (c && c->offset < cell)
			c = TAILQ_NEXT(c, link);
		if (!c || c->offset != cell)
			cells[n++] = cell;
	}
	return n;
}

/* The first n of cells into b, with the buffers they need; returns how many buffers are left. */
static unsigned fill_cells_locked(struct scout_batch *b, struct scout_file *f,
				  const uint64_t *cells, void **bufs, unsigned n)
{
	unsigned left = n;

	for (unsigned i = 0; i < n; i++) {
		if (scout_chunk_find_locked(f, cells[i]) || f->closed)
			continue;
		if (!scout_chunk_new_locked(b, cells[i], f->chunk_bytes, bufs[left - 1], true))
			break;
		left--;
	}
	return left;
}

static void read_ahead(struct scout_file *f)
{
	unsigned wanted, got, left;

	do {
		uint64_t cells[AHEAD_BATCH];
		void *bufs[AHEAD_BATCH];
		struct scout_batch *b;
		struct scout_handle *bulk = NULL;

		scout_lock(&f->lock);
		wanted = next_cells_locked(f, cells);
		if (wanted && f->window.ahead > SCOUT_WINDOW_BULK && !f->bulk) {
			f->bulk = true;
			bulk = scout_handle_ref(f->handle);
		}
		scout_unlock(&f->lock);
		if (bulk) {
			scout_handle_set_bulk(bulk);
			scout_handle_unref(bulk);
		}
		for (got = 0; got < wanted; got++)
			if (!(bufs[got] = scout_buf_try(f->host->share)))
				break;
		b = got ? scout_batch_new(f) : NULL;
		left = got;
		if (b) {
			scout_lock(&f->lock);
			left = fill_cells_locked(b, f, cells, bufs, got);
			f->refs++; /* the batch's */
			scout_unlock(&f->lock);
			scout_batch_send(b);
		}
		for (unsigned i = 0; i < left; i++)
			scout_buf_put(f->host->share, bufs[i]);
	} while (wanted == AHEAD_BATCH && got == wanted && !left);
}

void scout_file_ahead_locked(struct scout_file *f)
{
	f->ahead_ns = scout_now_ns();
	f->ahead_changes = atomic_load(&f->host->changes);
}

void scout_file_expect(struct scout_file *f)
{
	unsigned most = (unsigned)scout_share_bufs(f->host->share) / EXPECTED_SHARE;
	unsigned others = atomic_fetch_add(&f->host->expected, 1);
	bool room = others < most && others < EXPECTED_MAX;

	scout_lock(&f->lock);
	f->expected = true;
	if (room && f->host->config->attr_timeout_ns && TAILQ_EMPTY(&f->chunks)) {
		scout_file_ahead_locked(f);
		f->window.ahead = f->size;
	} else {
		room = false;
		scout_file_unexpect_locked(f);
	}
	scout_unlock(&f->lock);
	if (room)
		read_ahead(f);
}

void scout_file_unexpect_locked(struct scout_file *f)
{
	if (f->expected)
		atomic_fetch_sub(&f->host->expected, 1);
	f->expected = false;
}
