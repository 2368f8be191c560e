/* Chunks of an open file and the batches of READs that fill them.
 *
 * A batch is the unit of sending, of proof and of trying again: its READs go out together with an
 * FSTAT behind, and its chunks become ready when all READs are answered and the FSTAT, sent after
 * the last of them, shows the file unchanged or only longer. A file that came whole in one READ
 * needs no proof. A batch whose session was lost is sent again on the handle opened anew.
 *
 * Locks: file->lock; calls, buffers and completions are given and taken without it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/file.h"
#include "scoutfs/log.h"

#define SIZE_IN_DOUBT (64 * 1024)

struct scout_batch {
	struct scout_file *file;
	struct scout_handle *handle; /* it is sent on */
	struct scout_rpc check;
	struct scout_view view;        /* when check went out */
	TAILQ_ENTRY(scout_batch) link; /* file->lost */
	struct scout_chunk_list chunks;
	/* under file->lock */
	unsigned reads; /* not fully answered */
	unsigned calls; /* the reads, the FSTAT, and the sender while it sends */
	unsigned attempts;
	bool proven, lost, logged;
	int err; /* of the FSTAT, or of the whole */
};

static void read_answered(struct scout_rpc *rpc, int err);
static void checked(struct scout_rpc *rpc, int err);

struct scout_batch *scout_batch_new(struct scout_file *f)
{
	struct scout_batch *b = calloc(1, sizeof *b);

	if (b) {
		b->file = f;
		b->check.call.op = SCOUT_SFTP_FSTAT;
		b->check.call.behind_reads = true;
		b->check.done = checked;
		TAILQ_INIT(&b->chunks);
	}
	return b;
}

struct scout_chunk *scout_chunk_find_locked(struct scout_file *f, uint64_t offset)
{
	struct scout_chunk *c;

	TAILQ_FOREACH (c, &f->chunks, link) {
		if (c->offset > offset)
			break;
		if (offset - c->offset < c->length)
			return c;
	}
	return NULL;
}

static void insert_locked(struct scout_file *f, struct scout_chunk *c)
{
	struct scout_chunk *other;

	TAILQ_FOREACH_REVERSE(other, &f->chunks, scout_chunk_list, link)
	{
		if (other->offset < c->offset) {
			TAILQ_INSERT_AFTER(&f->chunks, other, c, link);
			return;
		}
	}
	TAILQ_INSERT_HEAD(&f->chunks, c, link);
}

struct scout_chunk *scout_chunk_new_locked(struct scout_batch *b, uint64_t offset, uint32_t length,
					   void *buf, bool shared)
{
	struct scout_file *f = b->file;
	uint32_t useful = length;
	struct scout_chunk *c;
	unsigned nparts;

	/* One READ beyond the end is enough to find it there. */
	if (!f->direct && f->size > offset && f->size - offset < length)
		useful = (uint32_t)(f->size - offset);
	nparts = (useful + f->part_bytes - 1) / f->part_bytes;
	c = calloc(1, sizeof *c + nparts * sizeof c->parts[0]);
	if (!c)
		return NULL;
	c->offset = offset;
	c->size = f->size;
	c->epoch = atomic_load(&f->node->epoch);
	c->length = nparts * f->part_bytes < length ? nparts * f->part_bytes : length;
	c->nparts = nparts;
	c->buf = buf;
	for (unsigned i = 0; i < nparts; i++) {
		struct scout_part *p = &c->parts[i];
		uint32_t left = c->length - i * f->part_bytes;

		p->batch = b;
		p->chunk = c;
		p->rpc.call.op = SCOUT_SFTP_READ;
		p->rpc.done = read_answered;
		p->at = i * f->part_bytes;
		p->length = left < f->part_bytes ? left : f->part_bytes;
	}
	TAILQ_INSERT_TAIL(&b->chunks, c, batch);
	c->shared = shared;
	if (shared)
		insert_locked(f, c);
	return c;
}

/* What c, which is ready, ends in, with what went before. */
static void keep_last_locked(struct scout_file *f, const struct scout_chunk *c)
{
	struct scout_kept *k = &f->kept;
	uint64_t begin, end = c->offset + c->filled;
	uint32_t take = c->filled < SCOUT_KEPT_MAX ? c->filled : SCOUT_KEPT_MAX, before = 0;

	if (k->cut != f->cut)
		*k = (struct scout_kept){.cut = f->cut};
	if (f->writes || !c->filled || end < k->end)
		return;
	begin = k->end - k->length;
	if (take == c->filled && c->offset >= begin && c->offset <= k->end)
		before = (uint32_t)(c->offset - begin);
	if (before > SCOUT_KEPT_MAX - take) {
		memmove(k->bytes, k->bytes + before - (SCOUT_KEPT_MAX - take),
			SCOUT_KEPT_MAX - take);
		before = SCOUT_KEPT_MAX - take;
	}
	memcpy(k->bytes + before, (const char *)c->buf + c->filled - take, take);
	k->length = before + take;
	k->end = end;
}

bool scout_chunk_whole_locked(struct scout_file *f, void *buf)
{
	struct scout_chunk *c = calloc(1, sizeof *c);

	if (!c)
		return false;
	c->size = f->size;
	c->epoch = f->epoch;
	c->length = f->chunk_bytes;
	c->filled = (uint32_t)f->size;
	c->state = SCOUT_CHUNK_READY;
	c->buf = buf;
	c->shared = true;
	insert_locked(f, c);
	keep_last_locked(f, c);
	return true;
}

void scout_chunk_drop_locked(struct scout_file *f, struct scout_chunk *c,
			     struct scout_chunk_list *garbage)
{
	if (c->shared)
		TAILQ_REMOVE(&f->chunks, c, link);
	c->shared = false;
	if (!c->users && c->state != SCOUT_CHUNK_FILLING)
		TAILQ_INSERT_TAIL(garbage, c, batch);
}

void scout_chunk_free_all(struct scout_host *host, struct scout_chunk_list *garbage)
{
	struct scout_chunk *c;

	while ((c = TAILQ_FIRST(garbage))) {
		TAILQ_REMOVE(garbage, c, batch);
		scout_buf_put(host->share, c->buf);
		free(c);
	}
}

/* The bytes of c that came in one piece from its start. */
static uint32_t filled_locked(const struct scout_chunk *c)
{
	uint32_t filled = 0;

	for (unsigned i = 0; i < c->nparts; i++) {
		filled += c->parts[i].got;
		if (c->parts[i].got < c->parts[i].length)
			break;
	}
	return filled;
}

/* Whether what came needs an FSTAT: not when it is the whole file, out of one READ, and no older than
 * the attributes that it will be kept under. */
static bool needs_proof_locked(const struct scout_batch *b)
{
	const struct scout_file *f = b->file;
	const struct scout_chunk *c = TAILQ_FIRST(&b->chunks);

	if (f->direct)
		return false;
	if (f->writes || f->epoch != atomic_load(&f->node->epoch))
		return true;
	if (!f->looked_first || TAILQ_NEXT(c, batch) || c->nparts > 1 || c->offset ||
	    c->length < f->size)
		return true;
	return b->reads == 0 && !b->calls && filled_locked(c) != f->size;
}

/* Whether the server told the end of the file before the size that it told right before and right after.
 * Small files are believed: those of sysfs say a page and hold less. */
static bool ends_early_locked(const struct scout_batch *b, const struct scout_chunk *c)
{
	const struct scout_file *f = b->file;

	return b->proven && !f->direct && c->size == f->size && c->size > SIZE_IN_DOUBT &&
	       c->filled < c->length && c->offset + c->filled < c->size;
}

/* Everything was answered: the chunks are ready or failed, and whoever waits for them is served. */
static void batch_finish(struct scout_batch *b)
{
	struct scout_file *f = b->file;
	struct scout_chunk_list garbage = TAILQ_HEAD_INITIALIZER(garbage);
	struct scout_readers done = TAILQ_HEAD_INITIALIZER(done);
	struct scout_chunk *c;
	bool spare = false, early = false;

	scout_lock(&f->lock);
	while ((c = TAILQ_FIRST(&b->chunks))) {
		TAILQ_REMOVE(&b->chunks, c, batch);
		if (!c->err)
			c->err = b->err ? b->err : f->dead;
		c->filled = c->err ? 0 : filled_locked(c);
		if (!c->err && ends_early_locked(b, c)) {
			c->err = -EIO;
			c->filled = 0;
			early = true;
		}
		c->state = c->err ? SCOUT_CHUNK_FAILED : SCOUT_CHUNK_READY;
		keep_last_locked(f, c);
		if (f->closed || c->err || !c->shared)
			scout_chunk_drop_locked(f, c, &garbage);
		else
			spare |= !c->users;
	}
	scout_reader_collect_locked(f, &done);
	scout_unlock(&f->lock);

	if (early)
		scout_file_log(f, "read", "the server ends it before its size", -EIO);
	scout_handle_unref(b->handle);
	free(b);
	scout_chunk_free_all(f->host, &garbage);
	if (spare)
		scout_budget_poke(f->host->all->budget);
	scout_reader_finish_all(&done);
	scout_file_unref(f);
}

/* What to do when all calls are over: try again, prove, or finish. */
static void batch_next(struct scout_batch *b)
{
	struct scout_file *f = b->file;
	bool again = false, prove = false;

	scout_lock(&f->lock);
	if (b->lost && b->attempts >= SCOUT_RPC_ATTEMPTS) {
		b->err = -EIO;
	} else if (b->lost && !f->closed) {
		again = true;
	} else if (!b->lost && !b->err && !b->proven && needs_proof_locked(b)) {
		prove = true;
		b->calls = 1;
		b->view = scout_node_view(f->node);
	}
	scout_unlock(&f->lock);
	if (again) {
		scout_file_lost(f, b->handle);
		scout_batch_send(b);
	} else if (prove) {
		scout_rpc_send_on(b->handle->session, &b->check);
	} else {
		batch_finish(b);
	}
}

/* Once this one was the last of its batch's calls, the batch goes on; after any other, it may be gone. */
static void call_over(struct scout_batch *b, int err)
{
	struct scout_file *f = b->file;
	bool over;

	scout_lock(&f->lock);
	b->lost |= err == -ECONNRESET;
	over = --b->calls == 0;
	scout_unlock(&f->lock);
	if (over)
		batch_next(b);
}

static void checked(struct scout_rpc *rpc, int err)
{
	struct scout_batch *b = SCOUT_CONTAINER(rpc, struct scout_batch, check);
	struct scout_file *f = b->file;
	bool seen = false;

	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	if (!err) {
		bool known = f->dead != 0;

		b->err = scout_file_note_locked(f, &rpc->call.attrs, &b->view);
		/* A server that answers out of order has to be asked again. */
		b->proven = b->reads == 0;
		err = known ? 0 : b->err;
		seen = f->writes;
	} else if (err != -ECONNRESET) {
		b->err = err;
	}
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
	/* What others made of it does not have it taken for another file when it is opened anew. */
	if (seen)
		scout_node_saw(f->node, &rpc->call.attrs, &b->view);
	if (err != -ECONNRESET)
		scout_file_log(f, "read", NULL, err);
	call_over(b, err);
}

/* Takes the bytes of one answer, under file->lock; true: there is more to ask for. */
static bool part_goes_on_locked(struct scout_file *f, struct scout_part *p)
{
	uint32_t got = p->rpc.call.got, left = p->length - p->got;

	if (got > left)
		got = left;
	p->got += got;
	/* Special files give what they have; 0 bytes are the end. */
	if (!got || p->got == p->length || f->direct)
		return false;
	return p->chunk->offset + p->at + p->got != f->size;
}

static void read_answered(struct scout_rpc *rpc, int err)
{
	struct scout_part *p = SCOUT_CONTAINER(rpc, struct scout_part, rpc);
	struct scout_batch *b = p->batch;
	struct scout_file *f = b->file;
	bool more = false, log = false;

	scout_lock(&f->lock);
	if (!err) {
		more = part_goes_on_locked(f, p);
		scout_count(&f->host->all->counters.bytes_read, rpc->call.got);
	} else if (err != -ECONNRESET) {
		p->chunk->err = err;
		log = !b->logged;
		b->logged = true;
	}
	b->reads -= !more;
	scout_unlock(&f->lock);

	if (log)
		scout_file_log(f, "read", NULL, err);
	if (more) {
		rpc->call.offset = p->chunk->offset + p->at + p->got;
		rpc->call.length = p->length - p->got;
		rpc->call.dest = (char *)p->chunk->buf + p->at + p->got;
		scout_rpc_send_on(b->handle->session, rpc);
	} else {
		call_over(b, err);
	}
}

/* Makes everything as if nothing had been sent, under file->lock; returns whether an FSTAT follows. */
static bool prepare_locked(struct scout_batch *b)
{
	struct scout_chunk *c;
	bool prove;

	b->lost = b->proven = b->logged = false;
	b->attempts++;
	b->reads = 0;
	TAILQ_FOREACH (c, &b->chunks, batch) {
		c->err = 0;
		b->reads += c->nparts;
		for (unsigned i = 0; i < c->nparts; i++) {
			struct scout_part *p = &c->parts[i];

			p->got = 0;
			p->rpc.call.handle = &b->handle->remote;
			p->rpc.call.offset = c->offset + p->at;
			p->rpc.call.length = p->length;
			p->rpc.call.dest = (char *)c->buf + p->at;
		}
	}
	b->check.call.handle = &b->handle->remote;
	b->view = scout_node_view(b->file->node);
	b->calls = b->reads + 1; /* and one for who sends, so that it is not over before */
	prove = needs_proof_locked(b);
	b->calls += prove;
	return prove;
}

static void send_calls(struct scout_batch *b, bool prove)
{
	struct scout_session *s = b->handle->session;
	struct scout_chunk *c;

	TAILQ_FOREACH (c, &b->chunks, batch)
		for (unsigned i = 0; i < c->nparts; i++)
			scout_rpc_send_on(s, &c->parts[i].rpc);
	if (prove)
		scout_rpc_send_on(s, &b->check);
	call_over(b, 0);
}

void scout_batch_send(struct scout_batch *b)
{
	struct scout_file *f = b->file;
	struct scout_handle *old = b->handle;
	bool prove = false, dead, parked;

	scout_lock(&f->lock);
	b->handle = NULL;
	dead = f->dead != 0 || TAILQ_EMPTY(&b->chunks);
	parked = !dead && !f->handle;
	if (parked) {
		TAILQ_INSERT_TAIL(&f->lost, b, link);
		f->refs++; /* b's goes with whoever takes b */
	} else if (!dead) {
		b->handle = scout_handle_ref(f->handle);
		prove = prepare_locked(b);
	}
	scout_unlock(&f->lock);

	scout_handle_unref(old);
	if (dead) {
		batch_finish(b);
	} else if (parked) {
		scout_file_reopen(f);
		scout_file_unref(f);
	} else {
		send_calls(b, prove);
	}
}

void scout_batch_take_lost_locked(struct scout_file *f, struct scout_batches *ret)
{
	TAILQ_CONCAT(ret, &f->lost, link);
}

void scout_batch_resume(struct scout_batches *lost, int err)
{
	struct scout_batch *b;

	while ((b = TAILQ_FIRST(lost))) {
		TAILQ_REMOVE(lost, b, link);
		b->err = err;
		if (err)
			batch_finish(b);
		else
			scout_batch_send(b);
	}
}

static struct scout_chunk *spare_locked(struct scout_file *f)
{
	struct scout_chunk *c;

	TAILQ_FOREACH_REVERSE(c, &f->chunks, scout_chunk_list, link)
	if (!c->users && c->state == SCOUT_CHUNK_READY)
		return c;
	return NULL;
}

/* The file with something to spare that was read least recently, and its host with a reference; the
 * file may be gone by the time it is looked at again. */
static struct scout_file *least_recent(struct scout_hosts *all, struct scout_host **ret)
{
	struct scout_host *host = NULL, *owner = NULL;
	struct scout_file *best = NULL;
	uint64_t oldest = UINT64_MAX;

	while ((host = scout_table_next(all, host))) {
		bool found = false;
		struct scout_file *f;

		scout_lock(&host->lock);
		TAILQ_FOREACH (f, &host->files, link) {
			uint64_t read_ns = atomic_load(&f->read_ns);
			bool spare;

			if (read_ns >= oldest)
				continue;
			scout_lock(&f->lock);
			spare = spare_locked(f) != NULL;
			scout_unlock(&f->lock);
			if (!spare)
				continue;
			best = f;
			oldest = read_ns;
			found = true;
		}
		scout_unlock(&host->lock);
		if (found) {
			if (owner)
				scout_host_unref(owner);
			owner = scout_host_ref(host);
		}
	}
	*ret = owner;
	return best;
}

bool scout_chunk_reclaim(void *arg)
{
	struct scout_hosts *all = arg;
	struct scout_chunk_list garbage = TAILQ_HEAD_INITIALIZER(garbage);
	struct scout_host *host = NULL;
	struct scout_file *best = least_recent(all, &host), *f;
	struct scout_chunk *c;
	bool gave;

	if (!best)
		return false;
	scout_lock(&host->lock);
	TAILQ_FOREACH (f, &host->files, link)
		if (f == best)
			break;
	if (f) {
		scout_lock(&f->lock);
		c = spare_locked(f);
		if (c)
			scout_chunk_drop_locked(f, c, &garbage);
		scout_unlock(&f->lock);
	}
	scout_unlock(&host->lock);
	gave = !TAILQ_EMPTY(&garbage);
	scout_count(&all->counters.read_ahead_dropped, gave);
	scout_chunk_free_all(host, &garbage);
	scout_host_unref(host);
	return gave;
}
