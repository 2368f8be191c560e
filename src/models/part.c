/* Parts of uploads, and the room for them.
 *
 * A part's room is taken as a whole before its first byte, by one upload after the other, and given back
 * when S3 has the part: whoever fills a part can fill it to its end, so uploads that wait for room hold
 * none that others need. All the room is promised by tickets which the backend holds for good, so the
 * buffers themselves are always to be had within the time that a read takes.
 *
 * Bytes of writes that wait have a few buffers besides, for which there are tickets, too, and which nobody
 * waits for: who gets none has fewer bytes taken (see upload.c).
 *
 * A small object's only part is given back when the object is there. */
#include "models/part.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_OF_A_SIZE 1000 /* so many, and then of twice the size, as far as the pool goes */

/* Uploads that were given something by this thread go on one after the other, not one inside the other. */
static void run_all(struct scout_upload_list *list)
{
	static _Thread_local struct scout_upload_list *running;
	struct scout_upload *u;

	if (running) {
		TAILQ_CONCAT(running, list, resume);
		return;
	}
	running = list;
	while ((u = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, u, resume);
		scout_lock(&u->pub->lock);
		u->resuming = false;
		scout_unlock(&u->pub->lock);
		scout_upload_run(u);
		scout_upload_unref(u);
	}
	running = NULL;
}

/* Puts u, with a reference, where run_all finds it, if it is not there already: some other thread's list
 * will do, as it is not run yet. pub->lock is held. */
static void resume_locked(struct scout_upload_list *list, struct scout_upload *u)
{
	if (u->resuming) {
		scout_upload_unref(u); /* that list has another */
	} else {
		u->resuming = true;
		TAILQ_INSERT_TAIL(list, u, resume);
	}
}

static void give_room(struct scout_publisher *pub, size_t room)
{
	struct scout_upload_list list = TAILQ_HEAD_INITIALIZER(list);
	struct scout_upload *u;

	scout_lock(&pub->lock);
	pub->spare += room;
	while ((u = TAILQ_FIRST(&pub->queue)) && u->wants_room <= pub->spare) {
		TAILQ_REMOVE(&pub->queue, u, queue_link);
		u->in_queue = false;
		u->got_room = u->wants_room;
		pub->spare -= u->wants_room;
		resume_locked(&list, u);
	}
	scout_unlock(&pub->lock);
	run_all(&list);
}

/* Who writes, or closes what is longer than what was written. */
static struct scout_req *who_waits(const struct scout_upload *u)
{
	return u->write ? u->write->req : TAILQ_FIRST(&u->flushers)->req;
}

/* The room for a part; 0: u waits for it. */
static size_t take_room(struct scout_upload *u, size_t room)
{
	struct scout_publisher *pub = u->pub;
	size_t got = 0;

	scout_lock(&pub->lock);
	if (u->got_room) {
		got = u->got_room;
		u->got_room = 0;
	} else if (!u->in_queue && TAILQ_EMPTY(&pub->queue) && pub->spare >= room) {
		pub->spare -= room;
		got = room;
	} else if (!u->in_queue) {
		scout_upload_ref(u);
		u->wants_room = room;
		u->in_queue = true;
		TAILQ_INSERT_TAIL(&pub->queue, u, queue_link);
	}
	u->queued = u->in_queue ? who_waits(u) : NULL;
	scout_unlock(&pub->lock);
	return got;
}

static size_t room_of(const struct scout_publisher *pub, unsigned part)
{
	size_t room = pub->part_bufs;

	for (unsigned i = PARTS_OF_A_SIZE; i <= part && room < pub->pool; i += PARTS_OF_A_SIZE)
		room *= 2;
	return room < pub->pool ? room : pub->pool;
}

uint64_t scout_part_all_bytes(const struct scout_publisher *pub)
{
	uint64_t bufs = 0;

	for (unsigned i = 0; i < SCOUT_PARTS_MAX; i += PARTS_OF_A_SIZE)
		bufs += (uint64_t)PARTS_OF_A_SIZE * room_of(pub, i);
	return bufs * SCOUT_BUF_BYTES;
}

static size_t body(struct scout_s3_call *call, uint64_t offset, char *dst, size_t cap)
{
	struct scout_upload_part *p = (struct scout_upload_part *)call;
	size_t skip = offset % SCOUT_BUF_BYTES, n = SCOUT_BUF_BYTES - skip;

	if (n > cap)
		n = cap;
	if (n > p->bytes - offset)
		n = (size_t)(p->bytes - offset);
	memcpy(dst, p->bufs[offset / SCOUT_BUF_BYTES] + skip, n);
	if (skip == 0)
		scout_upload_gets_on(p->upload);
	return n;
}

static void taken(struct scout_s3_call *call)
{
	scout_upload_gets_on(((struct scout_upload_part *)call)->upload);
}

static struct scout_upload_part *part_new(struct scout_upload *u, size_t room)
{
	struct scout_upload_part *p = calloc(1, sizeof(*p) + room * sizeof(p->bufs[0]));

	if (!p)
		return NULL;
	p->upload = u;
	p->room = room;
	p->bytes_max = room * SCOUT_BUF_BYTES;
	return p;
}

struct scout_upload_part *scout_part_empty(struct scout_upload *u)
{
	return part_new(u, 0);
}

void scout_part_free(struct scout_upload_part *p)
{
	struct scout_publisher *pub;
	size_t room;

	if (!p)
		return;
	pub = p->upload->pub;
	room = p->room;
	for (size_t i = 0; i < p->nbufs; i++)
		scout_buf_put(pub->share, p->bufs[i]);
	free(p);
	if (room)
		give_room(pub, room);
}

static bool etag_slot_locked(struct scout_upload *u)
{
	size_t size = u->etags_size ? u->etags_size * 2 : 16;
	char **bigger;

	if (u->nparts < u->etags_size)
		return true;
	bigger = reallocarray(u->etags, size, sizeof(*bigger));
	if (!bigger)
		return false;
	memset(bigger + u->etags_size, 0, (size - u->etags_size) * sizeof(*bigger));
	u->etags = bigger;
	u->etags_size = size;
	return true;
}

bool scout_part_begin_locked(struct scout_upload *u)
{
	size_t room;

	if (u->nparts == SCOUT_PARTS_MAX) {
		scout_upload_fail_locked(u, -EFBIG, "it has more than 10,000 parts");
		return true;
	}
	room = take_room(u, room_of(u->pub, u->nparts));
	if (room == 0)
		return false;
	u->part = etag_slot_locked(u) ? part_new(u, room) : NULL;
	if (u->part) {
		u->part->call.part = ++u->nparts;
		return true;
	}
	scout_upload_fail_locked(u, -ENOMEM, "no memory");
	scout_unlock(&u->lock);
	give_room(u->pub, room);
	scout_lock(&u->lock);
	return true;
}

static void granted(struct scout_waiter *w, void *buf)
{
	struct scout_upload_list list = TAILQ_HEAD_INITIALIZER(list);
	struct scout_upload *u =
	    (struct scout_upload *)((char *)w - offsetof(struct scout_upload, waiter));

	scout_lock(&u->lock);
	u->buffer = buf;
	u->wants_buffer = false;
	scout_unlock(&u->lock);
	scout_lock(&u->pub->lock);
	resume_locked(&list, u);
	scout_unlock(&u->pub->lock);
	run_all(&list);
}

bool scout_part_buffer_locked(struct scout_upload *u)
{
	void *buf;

	if (u->wants_buffer)
		return false;
	u->wants_buffer = true;
	u->waiter.granted = granted;
	scout_upload_ref(u);
	scout_unlock(&u->lock);
	buf = scout_buf_get(u->pub->share, &u->waiter);
	scout_lock(&u->lock);
	if (!buf)
		return true; /* it may have come meanwhile */
	u->wants_buffer = false;
	u->buffer = buf;
	scout_upload_unref(u); /* whoever runs u has another */
	return true;
}

void *scout_copy_get(struct scout_publisher *pub)
{
	void *buf = NULL;
	bool more;

	scout_lock(&pub->lock);
	more = pub->copies < pub->copies_max;
	pub->copies += more;
	scout_unlock(&pub->lock);
	if (more)
		buf = scout_buf_try(pub->share);
	if (more && !buf) {
		scout_lock(&pub->lock);
		pub->copies--;
		scout_unlock(&pub->lock);
	}
	return buf;
}

void scout_copy_put(struct scout_publisher *pub, void *buf)
{
	if (!buf)
		return;
	scout_buf_put(pub->share, buf);
	scout_lock(&pub->lock);
	pub->copies--;
	scout_unlock(&pub->lock);
}

void scout_part_leave_locked(struct scout_upload *u)
{
	struct scout_publisher *pub = u->pub;
	struct scout_waiter *w = &u->waiter;
	bool was_queued, waited;
	void *buf;
	size_t room;

	scout_unlock(&u->lock);
	scout_lock(&pub->lock);
	was_queued = u->in_queue;
	if (was_queued)
		TAILQ_REMOVE(&pub->queue, u, queue_link);
	u->in_queue = false;
	room = u->got_room;
	u->got_room = 0;
	scout_unlock(&pub->lock);
	waited = scout_waiter_cancel(pub->share, w);
	scout_lock(&u->lock);
	if (waited)
		u->wants_buffer = false;
	buf = u->buffer;
	u->buffer = NULL;
	scout_unlock(&u->lock);
	scout_buf_put(pub->share, buf);
	if (was_queued || room)
		give_room(pub, room); /* the next may fit */
	if (was_queued)
		scout_upload_unref(u);
	if (waited)
		scout_upload_unref(u);
	scout_lock(&u->lock);
}

void scout_part_send(struct scout_upload_part *p, const struct scout_s3_call *call)
{
	struct scout_models *m = p->upload->pub->m;

	p->call = *call;
	p->call.key = p->upload->key;
	p->call.flow = p->upload;
	p->call.body_bytes = p->bytes;
	p->call.body = body;
	p->call.taken = taken;
	/* without it the server takes the body unseen, which is better than nothing */
	if (p->bytes)
		(void)scout_s3_hash_body(m->s3, &p->call, p->sha256);
	scout_s3_submit(m->s3, &p->call);
}
