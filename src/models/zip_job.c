/* The job of a member: finds where its data begins, and inflates for its reads, one after the other, in
 * slices, on the workers' threads. It waits for nothing: what it needs, it asks for, and is posted again
 * when that is there.
 *
 * Memory: a job holds a ticket of a share of its own, and with it one buffer of packed bytes and those it
 * inflates into. Its reads of the archive take tickets of the models' share, which nobody holds who waits
 * for a job: so these always end, and with them the jobs. Between two reads all is given back, so that
 * the readers of many members have their turns.
 *
 * Several reads of one member come in about their order: of those that wait the one is next that a
 * stream can reach without passing another by. member->lock for pending; the rest is the job's. */
#include "models/zip_member.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Rather inflated over than begun again. */
#define NEAR ((uint64_t)1024 * 1024)
/* What is made in one turn. */
#define SLICE ((uint64_t)2 * 1024 * 1024)

enum { OVER, WAITS };

static void close_stream(struct scout_member *b, struct scout_zip_stream *s)
{
	if (s->open)
		atomic_fetch_sub(&b->m->zips->streams, 1);
	scout_zip_stream_close(s);
}

void scout_member_job_destroy(struct scout_member *b)
{
	for (size_t i = 0; i < SCOUT_MEMBER_STREAMS; i++)
		close_stream(b, &b->streams[i]);
	scout_zip_points_destroy(&b->points);
}

static void post(struct scout_member *b)
{
	scout_zip_post(b->m->zips->work, &b->job);
}

/* ---- bytes of the archive ---- */

/* Any thread. */
static void bytes_came(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_member *b =
	    (struct scout_member *)((char *)req - offsetof(struct scout_member, req));

	for (int i = 0; err == 0 && i < res->data.count; i++) {
		size_t n = res->data.iov[i].iov_len;

		if (n > b->want - b->got)
			n = b->want - b->got;
		memcpy(b->to + b->got, res->data.iov[i].iov_base, n);
		b->got += n;
	}
	b->io_err = err == 0 && b->got < b->want ? -EIO : err;
	post(b);
}

static int ask(struct scout_member *b, uint64_t at, uint8_t *to, size_t want)
{
	b->to = to;
	b->want = want;
	b->got = 0;
	b->req.done = bytes_came;
	scout_read(b->m, b->file, at, want, atomic_load(&b->file->proved), &b->req);
	return WAITS;
}

static uint64_t data_of(struct scout_member *b)
{
	uint64_t data;

	scout_lock(&b->lock);
	data = b->data;
	scout_unlock(&b->lock);
	return data;
}

/* Asks for the local header, or finds the data by it. */
static int find_data(struct scout_member *b)
{
	uint64_t bytes = b->file->object->cut.bytes, data;
	int skip;

	if (b->got == 0) {
		b->file->end = b->entry.header + SCOUT_ZIP_LOCAL;
		return ask(b, b->entry.header, b->head, SCOUT_ZIP_LOCAL);
	}
	b->got = 0;
	skip = scout_zip_local(b->head);
	if (skip < 0)
		return scout_member_broken(b, "its local header is not where it should be");
	data = b->entry.header + (unsigned)skip;
	if (data > bytes || bytes - data < b->entry.packed)
		return scout_member_broken(b, "it goes beyond the archive's end");
	b->file->end = data + b->entry.packed;
	scout_lock(&b->lock);
	b->data = data;
	scout_unlock(&b->lock);
	return OVER;
}

/* ---- memory ---- */

static void granted(struct scout_waiter *w, void *buf)
{
	struct scout_member *b =
	    (struct scout_member *)((char *)w - offsetof(struct scout_member, waiter));

	if (buf)
		b->bufs[b->nbufs++] = buf;
	else
		b->ticket = true;
	scout_zip_waited(b->m->zips->work, &b->job);
}

/* A ticket, then buffers. Once it waits, b may be another thread's: but for the reference. */
static int get_memory(struct scout_member *b)
{
	struct scout_share *share = b->m->zips->share;
	size_t need = 1 + (b->read->size + SCOUT_BUF_BYTES - 1) / SCOUT_BUF_BYTES;
	struct scout_zip_work *work = b->m->zips->work;
	bool now = true;

	b->waiter.granted = granted;
	atomic_fetch_add(&b->refs, 1);
	scout_zip_waits(work);
	while (now && (!b->ticket || b->nbufs < need)) {
		if (!b->ticket) {
			now = scout_ticket_get(share, &b->waiter);
			if (now)
				b->ticket = true;
		} else {
			void *buf = scout_buf_get(share, &b->waiter);

			now = buf != NULL;
			if (now)
				b->bufs[b->nbufs++] = buf;
		}
	}
	/* stop may have looked before b began to wait */
	if (!now && atomic_load(&b->m->stopped) && scout_waiter_cancel(share, &b->waiter))
		scout_zip_waited(work, &b->job);
	else if (now)
		scout_zip_waited(work, NULL);
	scout_member_unref(b);
	return now ? OVER : WAITS;
}

static void give_back(struct scout_member *b)
{
	struct scout_share *share = b->m->zips->share;

	while (b->nbufs > 0)
		scout_buf_put(share, b->bufs[--b->nbufs]);
	if (b->ticket)
		scout_ticket_put(share);
	b->ticket = false;
	b->in_len = 0;
	scout_budget_poke(b->m->budget);
}

/* ---- choosing ---- */

static struct scout_zip_stream *nearest(struct scout_member *b, uint64_t offset)
{
	struct scout_zip_stream *best = NULL;

	for (size_t i = 0; i < SCOUT_MEMBER_STREAMS; i++) {
		struct scout_zip_stream *s = &b->streams[i];

		if (s->open && !s->ended && s->out <= offset && (!best || s->out > best->out))
			best = s;
	}
	return best;
}

/* Takes the next read; those that nobody waits for any more go to unwanted. */
static void pick_locked(struct scout_member *b, struct scout_member_reads *unwanted)
{
	struct scout_member_read *r, *next;
	struct scout_zip_stream *s;

	for (r = TAILQ_FIRST(&b->pending); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (scout_req_unwanted(r->req)) {
			TAILQ_REMOVE(&b->pending, r, link);
			TAILQ_INSERT_TAIL(unwanted, r, link);
		}
	}
	b->read = TAILQ_FIRST(&b->pending);
	if (!b->read)
		return;
	s = nearest(b, b->read->offset);
	TAILQ_FOREACH (r, &b->pending, link) {
		if (r->offset >= (s ? s->out : 0) && r->offset < b->read->offset)
			b->read = r;
	}
	TAILQ_REMOVE(&b->pending, b->read, link);
}

static void pick(struct scout_member *b)
{
	struct scout_member_reads unwanted = TAILQ_HEAD_INITIALIZER(unwanted);
	struct scout_member_read *r;

	scout_lock(&b->lock);
	pick_locked(b, &unwanted);
	scout_unlock(&b->lock);
	b->stream = NULL;
	while ((r = TAILQ_FIRST(&unwanted))) {
		TAILQ_REMOVE(&unwanted, r, link);
		scout_member_reply(r, -EINTR, NULL);
	}
}

/* The stream that gets to b's read soonest: one that is near, or one begun at the last point before. */
static int choose_stream(struct scout_member *b)
{
	struct scout_zip_stream *s = nearest(b, b->read->offset), *last = &b->streams[0];
	uint64_t point = scout_zip_points_before(&b->points, b->read->offset);
	bool was_open;
	int err;

	if (s && (b->read->offset - s->out <= NEAR || point <= s->out)) {
		b->stream = s;
		return 0;
	}
	/* the one that is behind is of use to nobody, or to who reads there: the other one moves */
	for (size_t i = 0; i < SCOUT_MEMBER_STREAMS; i++) {
		if (!b->streams[i].open || (&b->streams[i] != s && last == s))
			last = &b->streams[i];
	}
	b->stream = last;
	was_open = last->open;
	err = scout_zip_stream_open(last, &b->points, b->read->offset);
	if (last->open && !was_open)
		atomic_fetch_add(&b->m->zips->streams, 1);
	else if (!last->open && was_open)
		atomic_fetch_sub(&b->m->zips->streams, 1);
	return err;
}

/* ---- inflating ---- */

/* Where the stream's next bytes go, and how many at most; 0: b's read has all. */
static size_t room(const struct scout_member *b, uint8_t **to)
{
	const struct scout_member_read *r = b->read;
	uint64_t out = b->stream->out, pos;

	*to = b->bufs[1]; /* over what nobody asked for */
	if (out < r->offset)
		return r->offset - out < SCOUT_BUF_BYTES ? (size_t)(r->offset - out)
							 : SCOUT_BUF_BYTES;
	pos = out - r->offset;
	if (pos == r->size)
		return 0;
	*to = b->bufs[1 + pos / SCOUT_BUF_BYTES] + pos % SCOUT_BUF_BYTES;
	pos %= SCOUT_BUF_BYTES;
	return r->size - (size_t)(out - r->offset) < SCOUT_BUF_BYTES - pos
		   ? r->size - (size_t)(out - r->offset)
		   : (size_t)(SCOUT_BUF_BYTES - pos);
}

/* The stream has made all bytes that there should be: it must be at its end. */
static int check_end(struct scout_member *b)
{
	const struct scout_zip_stream *s = b->stream;

	if (s->out > b->entry.bytes)
		return scout_member_broken(b, "it is larger than it says");
	if (s->ended && s->crc != b->entry.crc)
		return scout_member_broken(b, "its CRC is wrong");
	return 0;
}

/* OVER: the read has its bytes; WAITS; or -errno. */
static int inflate_on(struct scout_member *b)
{
	struct scout_zip_stream *s = b->stream;
	uint64_t from = s->out;

	for (;;) {
		uint64_t in = s->in, out = s->out;
		uint8_t *to, spare[1];
		size_t left, len = room(b, &to);
		int err;

		if (s->out == b->read->offset)
			b->before = s->crc;
		if (len == 0 && (s->out < b->entry.bytes || s->ended))
			return check_end(b);
		if (len == 0) {
			to = spare;
			len = sizeof(spare);
		}
		if (s->out - from >= SLICE) {
			post(b);
			return WAITS;
		}
		if (s->in < b->in_at || s->in >= b->in_at + b->in_len) {
			uint64_t at = data_of(b) + s->in, more = b->entry.packed - s->in;
			uint64_t block = SCOUT_BUF_BYTES - at % SCOUT_BUF_BYTES;

			b->in_at = s->in;
			b->in_len = (size_t)(more < block ? more : block);
			if (more > 0)
				return ask(b, at, b->bufs[0], b->in_len);
		}
		left = (size_t)(b->in_at + b->in_len - s->in);
		err = scout_zip_stream_run(s, &b->points, b->bufs[0] + (s->in - b->in_at), left, to,
					   len);
		scout_count(&b->m->counters.bytes_inflated, s->out - out);
		if (err == -EIO)
			return scout_member_broken(b, "it does not inflate");
		if (err == 0 && s->out > b->entry.bytes)
			return check_end(b);
		if (err == 0 && s->ended && s->out < b->entry.bytes)
			return scout_member_broken(b, "it is shorter than it says");
		if (err == 0 && !s->ended && s->in == in && s->out == out)
			return scout_member_broken(b, "it ends too early");
		if (err < 0)
			return err;
	}
}

/* ---- the job ---- */

static int go(struct scout_member *b)
{
	int err = OVER;

	if (atomic_load(&b->m->stopped))
		err = -ESHUTDOWN;
	else if (b->read && scout_req_unwanted(b->read->req))
		err =
		    -EINTR; /* it may have far to go; who asks again goes on from the last point */
	if (err == OVER && data_of(b) == 0)
		err = find_data(b);
	if (err != OVER || b->entry.method == SCOUT_ZIP_STORED)
		return err;
	if (!b->read)
		pick(b);
	if (!b->read)
		return OVER;
	err = get_memory(b);
	if (err != OVER)
		return err;
	if (!b->stream)
		err = choose_stream(b);
	return err < 0 ? err : inflate_on(b);
}

/* Of what b's read is to be answered with, whose CRC is that of all before it and of it, less the first. */
static int check_sum(struct scout_member *b, const struct scout_result *res)
{
	z_off64_t len = (z_off64_t)b->read->size;
	uint32_t crc = b->stream->crc ^ (uint32_t)crc32_combine64(b->before, 0, len);

	return scout_member_check(b->read, res, &crc);
}

static void answer(struct scout_member *b, int err)
{
	struct scout_result res = {.ttl_ms = 0};
	struct scout_member_read *r = b->read;
	struct iovec iov[SCOUT_MEMBER_BUFS];
	size_t left = r->size;

	for (size_t i = 0; left > 0; i++) {
		iov[i].iov_len = left < SCOUT_BUF_BYTES ? left : SCOUT_BUF_BYTES;
		iov[i].iov_base = b->bufs[1 + i];
		left -= iov[i].iov_len;
		res.data.count++;
	}
	res.data.iov = iov;
	if (err == OVER)
		err = check_sum(b, &res);
	b->read = NULL;
	scout_member_reply(r, err, err == OVER ? &res : NULL);
}

/* The reads that end together with the job: of a stored member, or all that cannot be. */
static void settle(struct scout_member *b, int err)
{
	struct scout_member_reads reads = TAILQ_HEAD_INITIALIZER(reads);
	struct scout_member_read *r;
	uint64_t data;
	bool more;

	scout_lock(&b->lock);
	data = b->data;
	if (b->err < 0)
		err = b->err;
	if (err < 0 || b->entry.method == SCOUT_ZIP_STORED)
		TAILQ_CONCAT(&reads, &b->pending, link);
	more = !TAILQ_EMPTY(&b->pending);
	b->busy = more;
	scout_unlock(&b->lock);
	while ((r = TAILQ_FIRST(&reads))) {
		TAILQ_REMOVE(&reads, r, link);
		if (err < 0)
			scout_member_reply(r, err, NULL);
		else
			scout_member_read_stored(r, data);
	}
	if (more)
		post(b);
	else
		scout_member_unref(b);
}

/* Beyond the limit its streams do not outlive a read, nor the ticket that it has: so there is one for each
 * ticket beyond the limit at most. */
static void close_streams(struct scout_member *b)
{
	if (atomic_load(&b->m->zips->streams) <= b->m->zips->streams_max)
		return;
	for (size_t i = 0; i < SCOUT_MEMBER_STREAMS; i++)
		close_stream(b, &b->streams[i]);
}

static void step(struct scout_zip_job *job)
{
	struct scout_member *b = (struct scout_member *)job;
	int err = b->io_err;

	b->io_err = 0;
	if (err < 0)
		b->got = b->in_len = 0;
	else
		err = go(b);
	if (err == WAITS)
		return;
	close_streams(b);
	if (b->read) {
		answer(b, err);
		err = atomic_load(&b->m->stopped) ? -ESHUTDOWN : 0;
	}
	give_back(b);
	settle(b, err);
}

void scout_member_start(struct scout_member *b)
{
	b->job.run = step;
	post(b);
}
