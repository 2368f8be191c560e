/* One read: pins the blocks that its bytes lie in, has the missing ones fetched, and answers with the
 * blocks' own memory as soon as its range, not the whole block, is there.
 *
 * Why it cannot deadlock: (1) A read that finds all its bytes needs nothing. Any other first takes a
 * ticket, holding nothing; tickets are given up by reads that end. (2) A ticket holder holds at most
 * SCOUT_READ_BUFS blocks and buffers, and there are that many buffers for each ticket, so while it
 * waits for a buffer some buffer is held by no ticket: it is free, or reclaimable, or about to be
 * unpinned by a reply, or in a fetch, or at a verifier, which waits for nothing but one HEAD (verify.c), or at the
 * disk cache's writer, which waits for its disk alone. (3) A fetch has all its buffers before it is sent, and ends
 * within the engine's deadlines; then its blocks are reclaimable or given back, and the budget is poked. (4) A read
 * that has its bytes may wait for a digest, which waits for none (verify.c). So each wait ends by something that does
 * not wait for memory.
 *
 * Locks: object->lock for blocks and readers, m->parked_lock for the list of those who wait for
 * memory (stop ends them). A read is otherwise its current thread's alone. */
#include "models/read.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "models/fetch.h"
#include "scoutfs/clock.h"

/* How long a read that S3 failed is not asked for again by the same file. */
#define FAILED_NS SCOUT_NS_PER_S
/* A read of so much, of nobody who reads on, does not wait in line with those who do. */
#define SMALL_BYTES ((size_t)128 * 1024)

struct scout_read {
	struct scout_waiter waiter;
	struct scout_asker asker;
	struct scout_req *req;
	struct scout_models *m;
	struct scout_models_file *file; /* alive until req is done */
	struct scout_object *object;    /* one reference */
	uint64_t offset;
	size_t size;
	uint64_t version; /* asked for: to prove itself against */
	uint64_t first;   /* block */
	size_t nblocks;
	struct scout_run *run; /* whose read-ahead is due, or NULL */
	uint64_t ahead;        /* up to here */
	bool small;
	bool in_order; /* its reader, or all readers together, began at the start and went on */
	bool ticket;   /* of share_of() */
	size_t nspare;
	void *spare[SCOUT_READ_BUFS];
	struct scout_block *blocks[SCOUT_READ_BUFS]; /* pinned, or NULL */
	atomic_uint refs; /* its own, and that of a thread which asks for memory */
	bool parked;      /* under m->parked_lock */
	TAILQ_ENTRY(scout_read)
	link; /* object->readers, or a list of those to complete or to run */
	TAILQ_ENTRY(scout_read) park_link; /* m->parked, under m->parked_lock */
};

void scout_read_init(struct scout_models *m)
{
	scout_mutex_init(&m->parked_lock, SCOUT_LOCK_LRU);
	TAILQ_INIT(&m->parked);
}

void scout_read_destroy(struct scout_models *m)
{
	assert(TAILQ_EMPTY(&m->parked));
	scout_mutex_destroy(&m->parked_lock);
}

static void unref(struct scout_read *r)
{
	if (atomic_fetch_sub(&r->refs, 1) == 1)
		free(r);
}

/* Where r's bytes lie in its i-th block: *skip, and how many. */
static size_t part_of(const struct scout_read *r, size_t i, size_t *skip)
{
	uint64_t start = (r->first + i) * SCOUT_BUF_BYTES, end = start + SCOUT_BUF_BYTES;
	uint64_t from = r->offset > start ? r->offset : start;
	uint64_t to = r->offset + r->size < end ? r->offset + r->size : end;

	*skip = (size_t)(from - start);
	return (size_t)(to - from);
}

static void unpin(struct scout_read *r)
{
	struct scout_object *o = r->object;
	bool dead[SCOUT_READ_BUFS] = {false};

	scout_lock(&o->lock);
	for (size_t i = 0; i < r->nblocks; i++)
		dead[i] = r->blocks[i] && scout_block_unpin_locked(r->m, r->blocks[i]);
	scout_unlock(&o->lock);
	for (size_t i = 0; i < r->nblocks; i++) {
		if (dead[i])
			scout_block_free(r->m, r->blocks[i]);
	}
}

/* Of the last failure of r's file; object->lock is held. */
static bool just_failed_locked(const struct scout_read *r, uint64_t now_ns)
{
	return r->file->failed_err < 0 && now_ns - r->file->failed_ns < FAILED_NS;
}

/* The kernel, told that its read-ahead failed, asks again at once for the page in it that somebody
 * waits for; without this note S3's deadline would pass twice before he hears of it. */
static void note_failure(struct scout_read *r, int err)
{
	struct scout_models_file *file = r->file;
	uint64_t now_ns = scout_now_ns(), end = r->offset + r->size;

	scout_lock(&r->object->lock);
	if (!just_failed_locked(r, now_ns) || r->offset > file->failed_end + SCOUT_READ_MAX ||
	    end + SCOUT_READ_MAX < file->failed_from) {
		file->failed_from = r->offset;
		file->failed_end = end;
	}
	if (r->offset < file->failed_from)
		file->failed_from = r->offset;
	if (end > file->failed_end)
		file->failed_end = end;
	file->failed_err = err;
	file->failed_ns = now_ns;
	scout_unlock(&r->object->lock);
}

/* Whose ticket r takes; buffers are always m->share's. */
static struct scout_share *share_of(const struct scout_read *r)
{
	return r->small ? r->m->small : r->m->share;
}

/* The end of r: answers, and gives back what it holds. */
static void finish(struct scout_read *r, int err)
{
	struct scout_models *m = r->m;
	struct scout_result res = {.ttl_ms = 0};
	struct iovec iov[SCOUT_READ_BUFS];

	if (err == 0) {
		for (size_t i = 0; i < r->nblocks; i++) {
			size_t skip;

			iov[i].iov_len = part_of(r, i, &skip);
			iov[i].iov_base = r->blocks[i]->buf + skip;
		}
		res.data.iov = iov;
		res.data.count = (int)r->nblocks;
		scout_count(&m->counters.bytes_served, r->size);
	}
	scout_req_done(r->req, err, err == 0 ? &res : NULL);
	unpin(r);
	scout_fetch_give_back(m, r->spare, r->nspare);
	if (r->ticket)
		scout_ticket_put(share_of(r));
	scout_budget_poke(m->budget);
	scout_object_unref(m, r->object);
	unref(r);
}

/* 1: all bytes are there, and right as far as is known; 0: not yet; or why they will not be. */
static int state_locked(const struct scout_read *r)
{
	for (size_t i = 0; i < r->nblocks; i++) {
		const struct scout_block *b = r->blocks[i];
		size_t skip, len = part_of(r, i, &skip);

		if (b->state == SCOUT_BLOCK_FAILED)
			return b->err;
		if (b->filled < skip + len)
			return 0;
	}
	return scout_verify_state_locked(r->m, r->object, r->offset, r->offset + r->size,
					 r->in_order);
}

void scout_read_collect_locked(struct scout_object *o, struct scout_read_list *list)
{
	struct scout_read *r = TAILQ_FIRST(&o->readers);

	while (r) {
		struct scout_read *next = TAILQ_NEXT(r, link);

		if (state_locked(r) != 0) {
			TAILQ_REMOVE(&o->readers, r, link);
			TAILQ_INSERT_TAIL(list, r, link);
		}
		r = next;
	}
}

void scout_read_finish(struct scout_read_list *list)
{
	struct scout_read *r;

	while ((r = TAILQ_FIRST(list))) {
		struct scout_object *o = r->object;
		int state;

		TAILQ_REMOVE(list, r, link);
		scout_lock(&o->lock);
		state = state_locked(r);
		scout_unlock(&o->lock);
		if (state < 0)
			note_failure(r, state);
		finish(r, state < 0 ? state : 0);
	}
}

/* Why r should not go on, or 0. */
static int check(const struct scout_read *r)
{
	if (atomic_load(&r->m->stopped))
		return -ESHUTDOWN;
	return scout_req_unwanted(r->req) ? -EINTR : 0;
}

/* Pins what is there of r's blocks; returns how many are missing, or -ESTALE. */
static int pin_present_locked(struct scout_read *r)
{
	int missing = 0;

	if (r->object->changed)
		return -ESTALE;
	for (size_t i = 0; i < r->nblocks; i++) {
		if (r->blocks[i])
			continue;
		r->blocks[i] = scout_block_find_locked(r->object, r->first + i);
		if (r->blocks[i])
			scout_block_pin_locked(r->m, r->blocks[i]);
		else
			missing++;
	}
	return missing;
}

static void run(struct scout_read *r);

static void granted(struct scout_waiter *w, void *buf)
{
	struct scout_read *r = (struct scout_read *)w;
	struct scout_models *m = r->m;

	scout_lock(&m->parked_lock);
	TAILQ_REMOVE(&m->parked, r, park_link);
	r->parked = false;
	scout_unlock(&m->parked_lock);
	if (buf)
		r->spare[r->nspare++] = buf;
	else
		r->ticket = true;
	run(r);
}

/* Takes r off the list unless somebody did. */
static bool unpark(struct scout_read *r)
{
	bool was;

	scout_lock(&r->m->parked_lock);
	was = r->parked;
	if (was)
		TAILQ_REMOVE(&r->m->parked, r, park_link);
	r->parked = false;
	scout_unlock(&r->m->parked_lock);
	return was;
}

/* Gets the ticket, or a buffer when r has it. False: r waits, or is over; it is no longer ours. */
static bool get_memory(struct scout_read *r)
{
	struct scout_models *m = r->m;
	bool now;

	if (r->ticket && scout_fetch_spare(m, &r->spare[r->nspare], 1) == 1) {
		r->nspare++;
		return true;
	}
	r->waiter.granted = granted;
	atomic_fetch_add(&r->refs, 1);
	scout_lock(&m->parked_lock);
	TAILQ_INSERT_TAIL(&m->parked, r, park_link);
	r->parked = true;
	scout_unlock(&m->parked_lock);
	if (r->ticket) {
		void *buf = scout_buf_get(m->share, &r->waiter);

		now = buf != NULL;
		if (now)
			r->spare[r->nspare++] = buf;
	} else {
		now = scout_ticket_get(share_of(r), &r->waiter);
		if (now)
			r->ticket = true;
	}
	if (now)
		(void)unpark(r); /* it was: nobody else may take it while it does not wait */
	else if (atomic_load(&m->stopped) && scout_waiter_cancel(share_of(r), &r->waiter) &&
		 unpark(r))
		finish(r, -ESHUTDOWN); /* stop had looked before r began to wait */
	unref(r);
	return now;
}

void scout_read_stop(struct scout_models *m)
{
	struct scout_read_list ended = TAILQ_HEAD_INITIALIZER(ended);
	struct scout_read *r, *next;

	scout_lock(&m->parked_lock);
	for (r = TAILQ_FIRST(&m->parked); r; r = next) {
		next = TAILQ_NEXT(r, park_link);
		if (!scout_waiter_cancel(share_of(r), &r->waiter))
			continue;
		TAILQ_REMOVE(&m->parked, r, park_link);
		r->parked = false;
		TAILQ_INSERT_TAIL(&ended, r, link);
	}
	scout_unlock(&m->parked_lock);
	while ((r = TAILQ_FIRST(&ended))) {
		TAILQ_REMOVE(&ended, r, link);
		finish(r, -ESHUTDOWN);
	}
}

/* The block after those that a sequential reader's fetch should cover: the end of the unit, or of what
 * is to be fetched ahead, but for the read's own blocks. */
static uint64_t unit_end(const struct scout_read *r)
{
	uint64_t own = r->first + r->nblocks;
	uint64_t end = scout_cut_end(&r->object->cut, r->first * SCOUT_BUF_BYTES) / SCOUT_BUF_BYTES;
	uint64_t last = (r->ahead + SCOUT_BUF_BYTES - 1) / SCOUT_BUF_BYTES;

	if (end > last)
		end = last;
	return end > own ? end : own;
}

/* Whether it is r that fetches ahead, from *from on; r must not be able to end before plan_end. What it will ask for
 * belongs to its run already: the engine may ask whether it is wanted as soon as it is sent. */
static bool plan_begin(struct scout_read *r, uint64_t *from)
{
	if (!r->run || atomic_exchange(&r->object->planning, true))
		return false;
	scout_object_look_for_stopped(r->m);
	scout_lock(&r->object->lock);
	*from = r->offset > r->run->ahead ? r->offset : r->run->ahead;
	if (r->run->ahead < r->ahead)
		r->run->ahead = r->ahead;
	scout_unlock(&r->object->lock);
	return true;
}

static void plan_end(struct scout_read *r, uint64_t reached)
{
	scout_lock(&r->object->lock);
	if (r->run->ahead == r->ahead) /* else its reader went elsewhere */
		r->run->ahead = reached;
	scout_unlock(&r->object->lock);
	atomic_store(&r->object->planning, false);
}

/* Read-ahead for r alone. */
static void ahead_if_due(struct scout_read *r)
{
	uint64_t from;

	if (plan_begin(r, &from))
		plan_end(r, scout_fetch_ahead(r->m, r->object, from, r->ahead));
}

/* Fetches what r lacks with the buffers it has, and for a sequential reader the rest of the unit in
 * the same request. Returns 0, or -errno when r cannot go on. */
static int fetch_missing(struct scout_read *r, bool plan)
{
	struct scout_fetch_list list = TAILQ_HEAD_INITIALIZER(list);
	void *bufs[SCOUT_FETCH_BLOCKS + SCOUT_READ_BUFS];
	uint64_t end = r->first + r->nblocks;
	struct scout_object *o = r->object;
	size_t more = 0, n = 0;
	int missing;

	if (plan) {
		scout_lock(&o->lock);
		more = scout_fetch_missing_locked(o, end, unit_end(r));
		if (more > scout_fetch_room_locked(r->m, o))
			more = scout_fetch_room_locked(r->m, o);
		scout_unlock(&o->lock);
		n = scout_fetch_spare(r->m, bufs, more);
	}
	/* r's own on top: they are used first */
	while (r->nspare > 0)
		bufs[n++] = r->spare[--r->nspare];
	scout_lock(&o->lock);
	missing = pin_present_locked(r);
	if (missing >= 0) {
		scout_count(&r->m->counters.block_misses, (uint64_t)missing);
		scout_count(&r->m->counters.block_hits, r->nblocks - (size_t)missing);
	}
	if (missing > 0) {
		scout_fetch_cover_locked(r->m, o, r->first, plan ? unit_end(r) : end, bufs, &n,
					 &list);
		missing = pin_present_locked(r);
	}
	scout_unlock(&o->lock);
	scout_fetch_give_back(r->m, bufs, n);
	scout_fetch_submit(r->m, &list);
	return missing > 0 ? -ENOMEM : missing;
}

/* All buffers are there. */
static void launch(struct scout_read *r)
{
	struct scout_object *o = r->object;
	uint64_t from;
	bool plan = plan_begin(r, &from);
	int state = fetch_missing(r, plan);

	if (plan && state == 0)
		from = scout_fetch_ahead(r->m, o, from, r->ahead);
	if (plan)
		plan_end(r, from);
	if (state == 0) {
		scout_lock(&o->lock);
		state = state_locked(r);
		if (state == 0)
			TAILQ_INSERT_TAIL(&o->readers, r, link);
		scout_unlock(&o->lock);
		if (state == 0)
			return;
	}
	finish(r, state < 0 ? state : 0);
}

static void step(struct scout_read *r)
{
	for (;;) {
		int missing = check(r);

		if (missing == 0 && r->ticket) {
			scout_lock(&r->object->lock);
			missing = pin_present_locked(r);
			scout_unlock(&r->object->lock);
		}
		if (missing < 0) {
			finish(r, missing);
			return;
		}
		if (r->ticket && (size_t)missing <= r->nspare) {
			launch(r);
			return;
		}
		if (!get_memory(r))
			return;
	}
}

/* Steps r; reads that get memory by what that gives back follow one after the other, not one inside
 * the other, so the stack does not grow with their number. */
static void run(struct scout_read *r)
{
	static _Thread_local struct scout_read_list *running;
	struct scout_read_list list = TAILQ_HEAD_INITIALIZER(list);

	if (running) {
		TAILQ_INSERT_TAIL(running, r, link);
		return;
	}
	running = &list;
	do {
		step(r);
		r = TAILQ_FIRST(&list);
		if (r)
			TAILQ_REMOVE(&list, r, link);
	} while (r);
	running = NULL;
}

/* Pins all of r's blocks if all its bytes are there, else none. 1, 0, or -errno. */
static int try_now_locked(struct scout_read *r)
{
	struct scout_object *o = r->object;
	int right;

	if (o->changed)
		return -ESTALE;
	if (o->verify.verdict == SCOUT_WRONG)
		return -EIO;
	for (size_t i = 0; i < r->nblocks; i++) {
		const struct scout_block *b = scout_block_find_locked(o, r->first + i);
		size_t skip, len = part_of(r, i, &skip);

		if (!b && just_failed_locked(r, scout_now_ns()) &&
		    r->offset >= r->file->failed_from && r->offset < r->file->failed_end)
			return r->file->failed_err;
		if (!b || b->filled < skip + len)
			return 0;
	}
	right = scout_verify_state_locked(r->m, o, r->offset, r->offset + r->size, r->in_order);
	return right == 1 ? pin_present_locked(r) == 0 : right;
}

static void begin(struct scout_read *r)
{
	struct scout_object *o = r->object;
	struct scout_run *runs[2] = {&r->file->run, &o->run};
	int now;

	scout_lock(&o->lock);
	o->read_ns = scout_now_ns();
	scout_cache_used_locked(r->m, o, o->read_ns);
	for (size_t i = 0; i < 2; i++) {
		/* readers in step share the kernel's read-ahead: each sees a part of one sequence */
		struct scout_run old = *runs[i];
		uint64_t target = scout_run_note(runs[i], &o->cut, r->offset, r->size);

		if (runs[i]->ahead < old.ahead)
			scout_object_close_window_locked(r->m, o, &old);
		if (target > r->file->end)
			target = r->file->end;
		if (!r->run && target > 0) {
			r->run = runs[i];
			r->ahead = target;
		}
	}
	r->in_order = r->file->run.from_start || o->run.from_start;
	r->small = r->size <= SMALL_BYTES && r->file->run.window == 0 && o->run.window == 0;
	now = try_now_locked(r);
	if (now == 1)
		scout_count(&r->m->counters.block_hits, r->nblocks);
	scout_unlock(&o->lock);
	if (now == 0) {
		run(r);
		return;
	}
	if (now == 1)
		ahead_if_due(r);
	finish(r, now < 0 ? now : 0);
}

/* The newest attributes that the kernel has are of another version than the handle: S3 decides. */
static void proved(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct scout_read *r =
	    (struct scout_read *)((char *)a - offsetof(struct scout_read, asker));

	if (err == 0 && (answer->kind != SCOUT_FILE || answer->version != r->object->version ||
			 answer->bytes != r->object->cut.bytes)) {
		(void)scout_object_change(r->m, r->object); /* news or not */
		err = -ESTALE;
	}
	if (err < 0) {
		finish(r, err);
		return;
	}
	atomic_store(&r->file->proved, r->version);
	begin(r);
}

int scout_models_file_open(struct scout_models *m, const char *path,
			   const struct scout_answer *answer, struct scout_models_file **ret)
{
	struct scout_models_file *file = calloc(1, sizeof(*file));
	int err;

	if (!file)
		return -ENOMEM;
	err = scout_object_open(m, path, answer, file);
	if (err < 0) {
		free(file);
		return err;
	}
	file->end = file->object->cut.bytes;
	atomic_init(&file->proved, answer->version);
	*ret = file;
	return 0;
}

void scout_models_file_close(struct scout_models *m, struct scout_models_file *file)
{
	scout_object_close(m, file);
	free(file);
}

void scout_read(void *self, void *handle, uint64_t offset, size_t size, uint64_t version,
		struct scout_req *req)
{
	struct scout_models *m = self;
	struct scout_models_file *file = handle;
	struct scout_object *o = file->object;
	struct scout_result nothing = {.data = {.iov = NULL, .count = 0}};
	struct scout_read *r;

	if (size > SCOUT_READ_MAX)
		size = SCOUT_READ_MAX;
	if (offset >= o->cut.bytes || size == 0) {
		scout_req_done(req, 0, &nothing);
		return;
	}
	if (size > o->cut.bytes - offset)
		size = (size_t)(o->cut.bytes - offset);
	r = calloc(1, sizeof(*r));
	if (!r) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	atomic_init(&r->refs, 1);
	r->req = req;
	r->m = m;
	r->file = file;
	r->object = o;
	scout_object_ref(o);
	r->offset = offset;
	r->size = size;
	r->first = offset / SCOUT_BUF_BYTES;
	r->nblocks = (size_t)((offset + size - 1) / SCOUT_BUF_BYTES - r->first + 1);
	r->version = version;
	if (version == atomic_load(&file->proved)) {
		begin(r);
		return;
	}
	r->asker.answered = proved;
	scout_question_ask(m, SCOUT_ASK_OBJECT, o->key + strlen(m->config->prefix), &r->asker);
}
