/* Files that are being written: bytes in their order, from the first to the last, into parts; a part is
 * sent when it is full, beside others. What is skipped is zeros, which take the same way: the kernel keeps
 * nothing back of these files, and sends what one writer writes in his order. What comes at the end is in
 * finish.c.
 *
 * A write that has to wait keeps its bytes in a buffer of memory's, as long as there are such. When they are
 * used up it waits all the same, but with its first few only, of which it is told that they were taken: the
 * program writes the rest again, when there is room for it.
 *
 * One thread at a time goes on with an upload (scout_upload_run): events leave a note under its lock and
 * call that. Any failure is for good: the upload is aborted, and every later write and close tells it.
 *
 * Closing publishes, if it is whoever had the file open last that closes it, and closes it of its own
 * will: see caller.c. */
#include "models/upload.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/part.h"
#include "scoutfs/clock.h"
#include "scoutfs/log.h"

#define STOP_NS (5 * SCOUT_NS_PER_S)
#define REPORTED 20

void scout_upload_ref(struct scout_upload *u)
{
	atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
}

void scout_upload_unref(struct scout_upload *u)
{
	struct scout_publisher *pub = u->pub;

	if (atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) != 1)
		return;
	assert(!u->write && !u->busy && TAILQ_EMPTY(&u->sent) && TAILQ_EMPTY(&u->flushers));
	assert(!u->part && !u->buffer && TAILQ_EMPTY(&u->ready));
	scout_lock(&pub->lock);
	assert(!u->wants_buffer && !u->in_queue && !u->got_room);
	TAILQ_REMOVE(&pub->all, u, link);
	if (u->listed)
		HASH_DEL(pub->by_path, u);
	scout_unlock(&pub->lock);
	for (size_t i = 0; i < u->etags_size; i++)
		free(u->etags[i]);
	free(u->etags);
	free(u->id);
	scout_text_free(&u->xml);
	free(u->path);
	free(u->key);
	scout_mutex_destroy(&u->lock);
	free(u);
}

static int list(struct scout_upload *u)
{
	struct scout_publisher *pub = u->pub;
	struct scout_upload *other;
	int err = 0;

	scout_lock(&pub->lock);
	HASH_FIND_STR(pub->by_path, u->path, other);
	if (other) {
		err = -EBUSY;
	} else {
		HASH_ADD_KEYPTR(hh, pub->by_path, u->path, strlen(u->path), u);
		u->listed = u->hh.tbl != NULL;
		err = u->listed ? 0 : -ENOMEM;
	}
	if (!err) {
		TAILQ_INSERT_TAIL(&pub->all, u, link);
		pub->unsettled++;
	}
	scout_unlock(&pub->lock);
	return err;
}

int scout_upload_new(struct scout_publisher *pub, const char *path, struct scout_upload **ret)
{
	struct scout_upload *u = calloc(1, sizeof(*u));
	int err = -ENOMEM;

	if (!u)
		return -ENOMEM;
	u->pub = pub;
	u->path = strdup(path);
	u->key = scout_models_key(pub->m, path, "");
	u->begun_ns = scout_now_ns();
	u->begun = (time_t)(scout_wall_ns() / SCOUT_NS_PER_S);
	u->version = u->begun_ns;
	snprintf(u->mark, sizeof(u->mark), "%08x%08x%08x%08x", scout_random(), scout_random(),
		 scout_random(), scout_random());
	atomic_init(&u->refs, 1);
	scout_mutex_init(&u->lock, SCOUT_LOCK_OBJECT);
	TAILQ_INIT(&u->flushers);
	TAILQ_INIT(&u->ready);
	TAILQ_INIT(&u->sent);
	if (u->path && u->key)
		err = list(u);
	if (err) {
		free(u->path);
		free(u->key);
		scout_mutex_destroy(&u->lock);
		free(u);
		return err;
	}
	*ret = u;
	return 0;
}

struct scout_upload *scout_upload_find(struct scout_publisher *pub, const char *path)
{
	struct scout_upload *u;

	scout_lock(&pub->lock);
	HASH_FIND_STR(pub->by_path, path, u);
	if (u)
		scout_upload_ref(u); /* no listed one is without */
	scout_unlock(&pub->lock);
	return u;
}

bool scout_upload_below(struct scout_publisher *pub, const char *path)
{
	struct scout_upload *u, *next;
	size_t len = strlen(path);
	bool below = false;

	scout_lock(&pub->lock);
	HASH_ITER (hh, pub->by_path, u, next)
		below |= strncmp(u->path, path, len) == 0 && u->path[len] == '/';
	scout_unlock(&pub->lock);
	return below;
}

void scout_upload_unlist(struct scout_upload *u)
{
	struct scout_publisher *pub = u->pub;

	scout_lock(&pub->lock);
	if (u->listed)
		HASH_DEL(pub->by_path, u);
	u->listed = false;
	scout_unlock(&pub->lock);
}

void scout_upload_opened(struct scout_upload *u, int flags, const struct scout_answer *replaced)
{
	struct scout_publisher *pub = u->pub;

	u->appends = flags & O_APPEND;
	u->replaced_bytes = replaced ? replaced->bytes : 0;
	scout_lock(&pub->lock);
	u->opened = true;
	u->replaces = replaced;
	scout_unlock(&pub->lock);
}

bool scout_upload_has_name(struct scout_upload *u)
{
	struct scout_publisher *pub = u->pub;
	bool has;

	scout_lock(&pub->lock);
	has = u->opened && !u->replaces;
	scout_unlock(&pub->lock);
	return has;
}

static uint64_t end_locked(const struct scout_upload *u)
{
	return u->taken > u->grown ? u->taken : u->grown;
}

void scout_upload_attr(struct scout_upload *u, struct scout_attr *ret)
{
	uint64_t bytes;

	scout_lock(&u->lock);
	bytes = end_locked(u);
	scout_unlock(&u->lock);
	scout_models_file_attr(u->pub->m, bytes, u->begun, u->version, ret);
}

void scout_upload_fail_locked(struct scout_upload *u, int err, const char *why)
{
	if (u->err || u->state == SCOUT_UPLOAD_PUBLISHED)
		return;
	u->err = err;
	snprintf(u->why, sizeof(u->why), "%s", why);
}

void scout_upload_gets_on(struct scout_upload *u)
{
	struct scout_publisher *pub = u->pub;
	struct scout_upload_flusher *f;
	struct scout_upload *next;
	uint64_t now = scout_now_ns();

	scout_lock(&u->lock);
	TAILQ_FOREACH (f, &u->flushers, link)
		atomic_store(&f->req->alive_ns, now);
	if (u->write)
		atomic_store(&u->write->req->alive_ns, now);
	scout_unlock(&u->lock);
	scout_lock(&pub->lock);
	TAILQ_FOREACH (next, &pub->queue, queue_link) {
		if (next->queued)
			atomic_store(&next->queued->alive_ns, now);
	}
	scout_unlock(&pub->lock);
}

/* ---- writing ---- */

void scout_upload_answer_locked(struct scout_upload *u, struct scout_req *req, int err,
				size_t untaken)
{
	struct scout_result res = {.untaken = untaken};

	scout_lock(&u->pub->lock);
	if (u->queued == req)
		u->queued = NULL;
	scout_unlock(&u->pub->lock);
	scout_unlock(&u->lock);
	scout_req_done(req, err, err ? NULL : &res);
	scout_lock(&u->lock);
}

void scout_upload_end_write_locked(struct scout_upload *u, int err)
{
	struct scout_upload_write *w = u->write;

	u->write = NULL;
	scout_unlock(&u->lock);
	scout_copy_put(u->pub, w->copy); /* first: whoever writes on may need it */
	scout_lock(&u->lock);
	scout_upload_answer_locked(u, w->req, err, w->asked - w->at);
	free(w);
}

/* From from to to is to be taken before it is published, and not as zeros that nobody wrote. */
static void owe_locked(struct scout_upload *u, uint64_t from, uint64_t to)
{
	if (u->taken >= u->owed || from < u->owed_from)
		u->owed_from = from;
	if (to > u->owed)
		u->owed = to;
}

/* A write that the front has answered: the program was told that it failed. It may write that again, but
 * for one of which some was taken; or a piece is missing, and nothing is published. */
static bool drop_unwanted_locked(struct scout_upload *u)
{
	struct scout_upload_write *w = u->write;

	if (!w || !scout_req_unwanted(w->req))
		return false;
	if (w->at > 0)
		owe_locked(u, u->taken, UINT64_MAX);
	else
		owe_locked(u, w->offset, w->offset + w->asked);
	scout_upload_end_write_locked(u, -EINTR);
	return true;
}

/* Takes some of the next len bytes, NULL: zeros, and says how many: if none, u->lock may have been given up.
 * False: they have to wait. */
static bool add_locked(struct scout_upload *u, const uint8_t *bytes, uint64_t len, size_t *ret)
{
	struct scout_upload_part *p = u->part;
	size_t at, n;

	*ret = 0;
	if (p && p->bytes == p->bytes_max) { /* there is more than one part */
		TAILQ_INSERT_TAIL(&u->ready, p, link);
		u->part = NULL;
		u->multipart = true;
		return true;
	}
	if (!p)
		return scout_part_begin_locked(u);
	at = p->bytes % SCOUT_BUF_BYTES;
	if (at == 0 && !u->buffer)
		return scout_part_buffer_locked(u);
	if (at == 0) {
		p->bufs[p->nbufs++] = u->buffer;
		u->buffer = NULL;
	}
	n = SCOUT_BUF_BYTES - at < len ? SCOUT_BUF_BYTES - at : (size_t)len;
	if (bytes)
		memcpy(p->bufs[p->nbufs - 1] + at, bytes, n);
	else
		memset(p->bufs[p->nbufs - 1] + at, 0, n);
	p->bytes += n;
	u->taken += n;
	*ret = n;
	return true;
}

/* How many zeros come before the write that waits. */
static uint64_t gap_locked(const struct scout_upload *u)
{
	return u->write && u->write->offset > u->taken ? u->write->offset - u->taken : 0;
}

static const uint8_t *bytes_of(const struct scout_upload_write *w)
{
	if (w->bytes)
		return w->bytes;
	return w->copy ? w->copy : w->few;
}

/* Moves on with the write that waits; false: there is none, or it has to wait longer. */
static bool take_locked(struct scout_upload *u)
{
	struct scout_upload_write *w = u->write;
	uint64_t gap = gap_locked(u);
	size_t n;
	bool more;

	if (!w)
		return false;
	if (drop_unwanted_locked(u))
		return true;
	if (gap > 0)
		return add_locked(u, NULL, gap, &n);
	more = add_locked(u, bytes_of(w) + w->at, w->size - w->at, &n);
	if (n == 0)
		return more;
	w->at += n;
	if (w->at == w->size)
		scout_upload_end_write_locked(u, 0);
	return true;
}

bool scout_upload_fill_locked(struct scout_upload *u)
{
	size_t n;

	return add_locked(u, NULL, u->grown - u->taken, &n);
}

static void part_done(struct scout_s3_call *call, int err)
{
	struct scout_upload_part *p = (struct scout_upload_part *)call;
	struct scout_upload *u = p->upload;

	scout_lock(&u->lock);
	TAILQ_REMOVE(&u->sent, p, link);
	if (!err) {
		u->etags[call->part - 1] = strdup(call->etag);
		if (!u->etags[call->part - 1])
			err = -ENOMEM;
	}
	if (err) /* ENOENT: the upload is gone, which nobody asked for by name */
		scout_upload_fail_locked(u, err == -ENOENT ? -EIO : err,
					 *call->reason ? call->reason : "no memory");
	scout_unlock(&u->lock);
	scout_part_free(p);
	scout_upload_gets_on(u);
	scout_upload_run(u);
	scout_upload_unref(u);
}

/* Sends a part that is full. */
static bool ship_locked(struct scout_upload *u)
{
	struct scout_upload_part *p = u->part;
	struct scout_s3_call call = {.op = SCOUT_S3_PART, .done = part_done};

	if (u->multipart && p && p->bytes == p->bytes_max) {
		TAILQ_INSERT_TAIL(&u->ready, p, link);
		u->part = NULL;
	}
	p = TAILQ_FIRST(&u->ready);
	if (!p || (!u->id && u->busy))
		return false;
	if (!u->id) {
		scout_upload_create_locked(u);
		return true;
	}
	TAILQ_REMOVE(&u->ready, p, link);
	TAILQ_INSERT_TAIL(&u->sent, p, link);
	scout_upload_ref(u);
	call.part = p->call.part;
	call.upload_id = u->id;
	scout_unlock(&u->lock);
	scout_part_send(p, &call);
	scout_lock(&u->lock);
	return true;
}

static bool step_locked(struct scout_upload *u)
{
	if (u->err)
		return scout_upload_give_up_locked(u);
	if (gap_locked(u) > 0 && ship_locked(u)) /* as soon as there is one: many more may come */
		return true;
	return take_locked(u) || ship_locked(u) || scout_upload_close_locked(u);
}

void scout_upload_run(struct scout_upload *u)
{
	scout_lock(&u->lock);
	u->again = true;
	if (!u->running) {
		u->running = true;
		while (u->again) {
			u->again = false;
			while (step_locked(u))
				;
		}
		u->running = false;
	}
	scout_unlock(&u->lock);
}

/* What is against a write of size bytes at offset, and why that is the end; or 0. */
static int judge_write_locked(const struct scout_upload *u, uint64_t offset, size_t size,
			      const char **why)
{
	*why = "it is not written from its start to its end";
	if (u->write || offset < u->taken)
		return -EOPNOTSUPP;
	if (offset == u->taken)
		return 0;
	*why = "it is written from the end of what it replaces on"; /* which fstat(2) shows */
	if (offset == u->replaced_bytes)
		return -EOPNOTSUPP;
	*why = "a write that failed was not repeated";
	if (u->taken < u->owed && offset > u->owed_from)
		return -EIO;
	*why = "it has more than 10,000 parts"; /* which are not sent first */
	return offset + size > scout_part_all_bytes(u->pub) ? -EFBIG : 0;
}

/* Of the write that waits the caller takes its bytes back: they are copied to copy, which then is no more ours,
 * or the first few are, or it ends with what was taken. */
static void keep_locked(struct scout_upload *u, uint8_t **copy)
{
	struct scout_upload_write *w = u->write;

	if (!w || !w->bytes)
		return;
	if (*copy) {
		w->copy = *copy;
		*copy = NULL;
	} else if (w->size > SCOUT_FEW_BYTES && w->at > 0) {
		scout_upload_end_write_locked(u, 0);
		return;
	} else if (w->size > SCOUT_FEW_BYTES) {
		w->size = SCOUT_FEW_BYTES;
	}
	memcpy((w->copy ? w->copy : w->few) + w->at, w->bytes + w->at, w->size - w->at);
	w->bytes = NULL;
}

/* After a write's call has run u. Where it is not the same write that waits still, but another one, that one's
 * bytes are there as well until its own call has been here. */
static void keep(struct scout_upload *u)
{
	const struct scout_upload_write *w;
	uint8_t *copy = NULL;
	bool much;

	scout_lock(&u->lock);
	w = u->write;
	much = w && w->bytes && w->size > SCOUT_FEW_BYTES;
	scout_unlock(&u->lock);
	if (much)
		copy = scout_copy_get(u->pub);
	scout_lock(&u->lock);
	keep_locked(u, &copy);
	scout_unlock(&u->lock);
	scout_copy_put(u->pub, copy);
}

void scout_upload_write(struct scout_upload *u, uint64_t offset, const void *data, size_t size,
			struct scout_req *req)
{
	struct scout_upload_write *w = malloc(sizeof(*w));
	struct scout_result res = {.untaken = 0};
	int err = w ? 0 : -ENOMEM;
	const char *why;

	scout_upload_ref(u);
	scout_lock(&u->lock);
	(void)drop_unwanted_locked(u);
	if (u->appends)
		offset = end_locked(u);
	if (!err && u->err) {
		err = u->err;
	} else if (!err && u->state != SCOUT_UPLOAD_OPEN) {
		err = -EBADF; /* it is published, and never changes */
	} else if (!err) {
		err = judge_write_locked(u, offset, size, &why);
		if (err)
			scout_upload_fail_locked(u, err, why);
	}
	if (!err && size > 0) {
		w->req = req;
		w->offset = offset;
		w->asked = w->size = size;
		w->at = 0;
		w->bytes = data;
		w->copy = NULL;
		u->write = w;
		w = NULL;
	}
	scout_unlock(&u->lock);
	scout_upload_run(u);
	keep(u);
	if (w || err)
		scout_req_done(req, err, err ? NULL : &res);
	free(w);
	scout_upload_unref(u);
}

int scout_upload_grow(struct scout_upload *u, uint64_t size)
{
	int err;

	scout_lock(&u->lock);
	err = u->err;
	if (!err && u->state != SCOUT_UPLOAD_OPEN)
		err = -EOPNOTSUPP; /* it is published, and never changes */
	if (!err && size > scout_part_all_bytes(u->pub))
		err = -EFBIG;
	if (!err && size > u->grown)
		u->grown = size;
	scout_unlock(&u->lock);
	return err;
}

/* ---- closing ---- */

/* What a close by somebody whose fate is that comes to: 1: publish, 0: not yet, or why never. */
static int judge_close(const struct scout_upload *u, struct scout_req *req, enum scout_fate fate,
		       const char **why)
{
	*why = "the process that wrote it was killed";
	if (fate == SCOUT_FATE_KILLED)
		return -EINTR;
	*why = "whoever closed it was interrupted"; /* and may be gone */
	if (scout_req_unwanted(req))
		return -EINTR;
	*why = "it cannot be seen whether the process that wrote it was killed";
	if (fate == SCOUT_FATE_UNKNOWN)
		return -EIO;
	if (scout_caller_is_open(u->pub->m->device, req->ino))
		return 0;
	*why = "the process that wrote it failed";
	return fate == SCOUT_FATE_FAILED ? -EIO : 1;
}

void scout_upload_flush(struct scout_upload *u, struct scout_req *req)
{
	struct scout_upload_flusher *f = calloc(1, sizeof(*f));
	struct scout_result res = {.ttl_ms = 0};
	const char *why;
	bool waits = false;
	int err, verdict = judge_close(u, req, scout_caller_fate(req->task, req->user), &why);

	scout_upload_ref(u);
	scout_lock(&u->lock);
	(void)drop_unwanted_locked(u);
	if (!f)
		scout_upload_fail_locked(u, -ENOMEM, "no memory");
	if (u->state == SCOUT_UPLOAD_OPEN && verdict < 0)
		scout_upload_fail_locked(u, verdict, why);
	if (u->state == SCOUT_UPLOAD_OPEN && !u->err && verdict > 0)
		u->state = SCOUT_UPLOAD_CLOSING;
	err = u->err;
	waits = err ? f && verdict >= 0 && scout_upload_aborts_locked(u)
		    : u->state == SCOUT_UPLOAD_CLOSING;
	if (waits) {
		f->req = req;
		TAILQ_INSERT_TAIL(&u->flushers, f, link);
	}
	scout_unlock(&u->lock);
	scout_upload_run(u); /* first: who hears that it failed may begin another at once */
	if (!waits) {
		free(f);
		scout_req_done(req, err, err ? NULL : &res);
	}
	scout_upload_unref(u);
}

void scout_upload_forget(struct scout_upload *u)
{
	scout_upload_unlist(u);
	scout_lock(&u->lock);
	scout_upload_fail_locked(u, -ECANCELED, "");
	u->told = true;
	scout_unlock(&u->lock);
	scout_upload_run(u);
	scout_upload_unref(u);
}

void scout_upload_release(struct scout_upload *u)
{
	scout_lock(&u->lock);
	if (u->state == SCOUT_UPLOAD_OPEN)
		scout_upload_fail_locked(u, -EIO, "nobody closed it");
	scout_unlock(&u->lock);
	scout_upload_run(u);
	scout_upload_unref(u);
}

/* One that is not settled, referenced, or NULL. */
static struct scout_upload *unsettled(struct scout_publisher *pub)
{
	struct scout_upload *u;

	scout_lock(&pub->lock);
	TAILQ_FOREACH (u, &pub->all, link) {
		if (u->listed)
			break;
	}
	if (u)
		scout_upload_ref(u); /* as above */
	scout_unlock(&pub->lock);
	return u;
}

void scout_upload_stop_all(struct scout_publisher *pub)
{
	uint64_t deadline_ns = scout_now_ns() + STOP_NS;
	struct scout_upload *u;
	bool more = true;

	while ((u = unsettled(pub))) {
		scout_lock(&u->lock);
		scout_upload_fail_locked(u, -ESHUTDOWN, "the mount ends");
		scout_unlock(&u->lock);
		scout_upload_run(u);
		scout_upload_unref(u);
	}
	scout_lock(&pub->lock);
	while (more && pub->unsettled > 0)
		more = scout_cond_wait(&pub->settled, &pub->lock, deadline_ns);
	scout_unlock(&pub->lock);
}

bool scout_upload_owns_locked(struct scout_publisher *pub, const char *id)
{
	struct scout_upload *u;

	TAILQ_FOREACH (u, &pub->all, link) {
		if (u->own_id && strcmp(u->own_id, id) == 0)
			return true;
	}
	return false;
}

void scout_upload_report(struct scout_publisher *pub, struct scout_text *out)
{
	char name[256], age[32];
	struct scout_upload *u;
	unsigned count = 0;

	scout_lock(&pub->lock);
	TAILQ_FOREACH (u, &pub->all, link) {
		if (u->listed && count++ < REPORTED)
			scout_text_printf(out, "    writing    %s, for %s\n",
					  scout_format_name(name, sizeof(name), u->path),
					  scout_format_duration(age, scout_now_ns() - u->begun_ns));
	}
	scout_unlock(&pub->lock);
	if (count > REPORTED)
		scout_text_printf(out, "    and %u more\n", count - REPORTED);
}
