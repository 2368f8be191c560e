/* Fetches. Each is one ranged GET pinned to the object's ETag (but for that of an open, first.c, whose ETag is looked
 * at when it comes); its bytes go straight into the blocks' buffers and are read by whoever waits for them as they come.
 *
 * Nothing here waits for memory: a fetch is made only with all its buffers in hand, so the engine's
 * thread, which copies into them, never needs one. A fetch that failed gives its unfilled blocks
 * back as missing. A fetch that nobody wants any more (its readers closed, or went elsewhere) is given up
 * at its next whole block, or when the engine asks. Of a small object all are wanted while it is open, and of any for
 * a moment after a close: the next reader of a model follows soon.
 *
 * Read-ahead is for all readers alike: memory and connections for it are divided by the number of
 * objects that have blocks ahead of their readers, and some of both is left to reads that a person waits
 * for.
 *
 * A fetch belongs to the engine's thread from submit to done, or to the disk cache's reader; blocks are under object->lock. */
#include "models/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/read.h"
#include "scoutfs/clock.h"
#include "scoutfs/log.h"

/* Read-ahead smaller than this waits until more memory is spare. */
#define AHEAD_MIN_BLOCKS 4
/* So long a reader that closed may be followed by one that goes on with what it had asked for. */
#define LINGER_NS SCOUT_NS_PER_S
/* This part of the connections is not for read-ahead: half of it the engine keeps for small calls, the
 * other half is for whoever waits for his bytes. */
#define CONNECTIONS_KEPT_DIVISOR 4

/* Engine's thread: a block behind got is full or filling. */
static bool fill_locked(struct scout_fetch *f, size_t len)
{
	uint64_t end = f->got + len;
	bool ready = false;

	for (uint64_t i = f->got / SCOUT_BUF_BYTES; i * SCOUT_BUF_BYTES < end; i++) {
		struct scout_block *b = f->blocks[i];
		uint64_t here = end - i * SCOUT_BUF_BYTES;

		b->filled = here < b->bytes ? (uint32_t)here : b->bytes;
		if (b->filled < b->bytes)
			break;
		/* from here on it may be evicted */
		f->blocks[i] = NULL;
		scout_block_ready_locked(f->m, b);
		ready = true;
	}
	f->got = end;
	return ready;
}

/* Unfilled blocks are missing again; those that stay in f->blocks are to be freed. */
static void fail_locked(struct scout_fetch *f, int err)
{
	for (size_t i = 0; i < f->nblocks; i++) {
		if (f->blocks[i] && !scout_block_fail_locked(f->m, f->blocks[i], err))
			f->blocks[i] = NULL;
	}
}

static void free_blocks(struct scout_fetch *f)
{
	for (size_t i = 0; i < f->nblocks; i++) {
		if (f->blocks[i])
			scout_block_free(f->m, f->blocks[i]);
		f->blocks[i] = NULL;
	}
}

static void copy(struct scout_fetch *f, const uint8_t *bytes, size_t len)
{
	uint64_t at = f->got;

	while (len > 0) {
		size_t skip = at % SCOUT_BUF_BYTES;
		size_t n = SCOUT_BUF_BYTES - skip < len ? SCOUT_BUF_BYTES - skip : len;

		if (f->blocks[at / SCOUT_BUF_BYTES]->buf + skip != bytes) /* read in place */
			memcpy(f->blocks[at / SCOUT_BUF_BYTES]->buf + skip, bytes, n);
		bytes += n;
		at += n;
		len -= n;
	}
}

/* What a server that honours If-Match never sends. */
static int check(const struct scout_fetch *f, size_t len)
{
	const struct scout_object *o = f->object;

	if (f->call.etag[0] && o->etag[0] && !scout_s3_etag_same(f->call.etag, o->etag))
		return -ESTALE;
	if (f->call.object_bytes != o->cut.bytes)
		return -ESTALE;
	return len > f->call.length - f->got ? -EIO : 0;
}

/* Whether a reader waits for what is still to come, or will. */
static bool wanted_locked(const struct scout_fetch *f)
{
	uint64_t from = f->call.offset + f->got, end = f->call.offset + f->call.length;
	const struct scout_object *o = f->object;

	if ((o->cut.whole || f->guessed) && !TAILQ_EMPTY(&o->files))
		return true;
	if (scout_object_wants_locked(o, from, end) || scout_now_ns() - o->left_ns < LINGER_NS)
		return true;
	for (size_t i = f->got / SCOUT_BUF_BYTES; i < f->nblocks; i++) {
		if (f->blocks[i] && f->blocks[i]->pins > 0)
			return true;
	}
	return false;
}

/* At once, so that who opens it now finds them missing. */
static void give_up_locked(struct scout_fetch *f)
{
	f->err = -ECANCELED;
	fail_locked(f, f->err);
}

/* When it is begun and nearly over, it costs less than a new connection: it has until the engine asks. */
static bool is_nearly_over(const struct scout_fetch *f)
{
	return f->call.length - f->got <= SCOUT_READ_MAX;
}

static bool is_wanted(struct scout_s3_call *call)
{
	struct scout_fetch *f = (struct scout_fetch *)call;
	bool wanted;

	scout_lock(&f->object->lock);
	wanted = f->err < 0 || wanted_locked(f); /* what failed is over soon */
	if (!wanted)
		give_up_locked(f);
	scout_unlock(&f->object->lock);
	if (!wanted)
		free_blocks(f);
	return wanted;
}

bool scout_fetch_take(struct scout_s3_call *call, const void *bytes, size_t len)
{
	struct scout_fetch *f = (struct scout_fetch *)call;
	struct scout_object *o = f->object;
	struct scout_read_list readers = TAILQ_HEAD_INITIALIZER(readers);
	bool first = f->got == 0, ready;

	if (f->err == 0)
		f->err = check(f, len);
	if (f->err < 0)
		return false;
	copy(f, bytes, len);
	scout_lock(&o->lock);
	ready = fill_locked(f, len);
	if ((first || (ready && !is_nearly_over(f))) && !wanted_locked(f))
		give_up_locked(f);
	scout_read_collect_locked(o, &readers);
	scout_unlock(&o->lock);
	scout_read_finish(&readers);
	if (f->err < 0)
		free_blocks(f);
	if (ready)
		scout_budget_poke(f->m->budget);
	return f->err == 0;
}

/* The object is gone or another: what is open is stale, as over NFS. */
static int conclude(const struct scout_fetch *f, int err)
{
	if (f->err < 0)
		return f->err;
	if (err == -ENOENT || err == -ERANGE)
		return -ESTALE;
	return err == 0 && f->got < f->call.length ? -EIO : err;
}

/* What was guessed was of another version than the object's: that is no change of this one, whose own bytes
 * are asked for next. */
static bool ask_again(struct scout_fetch *f, int err)
{
	bool other = f->err == -ESTALE || err == -ESTALE || err == -ERANGE || err == -ENOENT;

	if (!f->guessed || !other || f->got > 0)
		return false;
	f->guessed = false;
	f->err = 0;
	f->call.length = f->nblocks * SCOUT_BUF_BYTES;
	if (f->call.length > f->object->cut.bytes)
		f->call.length = f->object->cut.bytes;
	f->call.guess = false;
	scout_s3_submit(f->m->s3, &f->call);
	return true;
}

void scout_fetch_done(struct scout_s3_call *call, int err)
{
	struct scout_fetch *f = (struct scout_fetch *)call;
	struct scout_models *m = f->m;
	struct scout_object *o = f->object;
	struct scout_read_list readers = TAILQ_HEAD_INITIALIZER(readers);
	char name[256];

	if (ask_again(f, err))
		return;
	err = conclude(f, err);
	if (err == -ESTALE && scout_object_change(m, o))
		scout_warn("models: '%s': changed while it was read",
			   scout_format_name(name, sizeof(name), o->key));
	atomic_fetch_sub(&m->fetches, 1);
	scout_lock(&o->lock);
	o->fetches--;
	if (err < 0) {
		fail_locked(f, err);
		scout_read_collect_locked(o, &readers);
	}
	scout_unlock(&o->lock);
	scout_read_finish(&readers);
	free_blocks(f);
	scout_object_unref(m, o);
	free(f);
}

/* One fetch of the count missing blocks at first, or of fewer when memory ends. NULL: of none. */
static struct scout_fetch *fetch_new_locked(struct scout_models *m, struct scout_object *o,
					    uint64_t first, size_t count, void **bufs,
					    size_t *nbufs)
{
	struct scout_fetch *f = calloc(1, sizeof(*f) + count * sizeof(f->blocks[0]));
	uint64_t offset = first * SCOUT_BUF_BYTES, end;

	if (!f)
		return NULL;
	for (; f->nblocks < count; f->nblocks++) {
		struct scout_block *b =
		    scout_block_add_locked(m, o, first + f->nblocks, bufs[*nbufs - 1]);

		if (!b)
			break;
		f->blocks[f->nblocks] = b;
		(*nbufs)--;
	}
	if (f->nblocks == 0) {
		free(f);
		return NULL;
	}
	end = offset + f->nblocks * SCOUT_BUF_BYTES;
	f->m = m;
	f->object = o;
	scout_object_ref(o);
	o->fetches++;
	f->call = (struct scout_s3_call){
	    .op = SCOUT_S3_GET,
	    .key = o->s3_key,
	    .version_id = o->s3_version_id,
	    .offset = offset,
	    .length = (end < o->cut.bytes ? end : o->cut.bytes) - offset,
	    .if_match = o->etag[0] ? o->etag : NULL,
	    .flow = o,
	    .data = scout_fetch_take,
	    .wanted = is_wanted,
	    .done = scout_fetch_done,
	};
	return f;
}

bool scout_fetch_join_locked(struct scout_fetch *f, struct scout_object *o, void **bufs,
			     size_t *nbufs)
{
	uint64_t got = f->got;
	size_t n = 0;

	for (; n < *nbufs && n * SCOUT_BUF_BYTES < f->call.length; n++) {
		f->blocks[n] = scout_block_add_locked(f->m, o, n, bufs[n]);
		if (!f->blocks[n])
			break;
	}
	if (n == 0)
		return false;
	/* nobody reads yet, perhaps never: the read-ahead of others has its share still */
	scout_block_unwanted_locked(f->m, o, 0, n * SCOUT_BUF_BYTES);
	f->nblocks = n;
	f->object = o;
	scout_object_ref(o);
	o->fetches++;
	f->guessed = true;
	f->call.wanted = is_wanted;
	f->call.key = o->s3_key;
	f->call.version_id = o->s3_version_id;
	f->call.if_match = o->etag[0] ? o->etag : NULL; /* of attempts from now on */
	f->got = 0;
	if (n * SCOUT_BUF_BYTES < f->call.length)
		f->err = -ENOMEM;
	else
		(void)fill_locked(f, (size_t)got);
	*nbufs -= n;
	memmove(bufs, bufs + n, *nbufs * sizeof(bufs[0]));
	return true;
}

void scout_fetch_cover_locked(struct scout_models *m, struct scout_object *o, uint64_t from,
			      uint64_t to, void **bufs, size_t *nbufs,
			      struct scout_fetch_list *list)
{
	while (from<to && * nbufs> 0) {
		struct scout_fetch *f;
		size_t n = 0;

		while (n < *nbufs && from + n < to && !scout_block_find_locked(o, from + n))
			n++;
		if (n == 0) {
			from++;
			continue;
		}
		f = fetch_new_locked(m, o, from, n, bufs, nbufs);
		if (!f)
			return;
		TAILQ_INSERT_TAIL(list, f, link);
		from += n;
	}
}

/* Among how many objects read-ahead is divided, o being one. */
static size_t sharers_locked(const struct scout_models *m, const struct scout_object *o)
{
	return atomic_load(&m->aheads) + (o->ahead == 0);
}

size_t scout_fetch_room_locked(struct scout_models *m, const struct scout_object *o)
{
	size_t room = m->ahead_memory / SCOUT_BUF_BYTES / sharers_locked(m, o);

	return room > o->ahead ? room - o->ahead : 0;
}

size_t scout_fetch_room(struct scout_models *m)
{
	return m->ahead_memory / SCOUT_BUF_BYTES / (atomic_load(&m->aheads) + 1);
}

size_t scout_fetch_missing_locked(struct scout_object *o, uint64_t from, uint64_t to)
{
	size_t missing = 0;

	for (; from < to; from++)
		missing += !scout_block_find_locked(o, from);
	return missing;
}

/* Whether one more fetch ahead would come before nobody who waits for his bytes. */
static bool connection_spare_locked(const struct scout_models *m, const struct scout_object *o)
{
	unsigned max =
	    m->config->max_connections - m->config->max_connections / CONNECTIONS_KEPT_DIVISOR;
	size_t ours;

	if (max < 2)
		max = 2; /* the second waits in line, so that the first is followed at once */
	ours = max / sharers_locked(m, o);
	return atomic_load(&m->fetches) < max && o->fetches < (ours > 0 ? ours : 1);
}

void scout_fetch_submit(struct scout_models *m, struct scout_fetch_list *list)
{
	struct scout_fetch *f;

	while ((f = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, f, link);
		atomic_fetch_add(&m->fetches, 1);
		scout_cache_send(m, f);
	}
}

size_t scout_fetch_spare(struct scout_models *m, void **bufs, size_t want)
{
	size_t n = 0;

	while (n < want) {
		bufs[n] = scout_buf_try(m->share);
		if (bufs[n])
			n++;
		else if (!scout_block_evict(m, true))
			break;
	}
	return n;
}

void scout_fetch_give_back(struct scout_models *m, void **bufs, size_t nbufs)
{
	while (nbufs > 0)
		scout_buf_put(m->share, bufs[--nbufs]);
}

/* One unit's missing blocks; false: no memory or connections for all of them now. */
static bool ahead_unit(struct scout_models *m, struct scout_object *o, uint64_t from, uint64_t to)
{
	struct scout_fetch_list list = TAILQ_HEAD_INITIALIZER(list);
	void *bufs[SCOUT_FETCH_BLOCKS];
	size_t missing, room = 0, n;
	bool all;

	scout_lock(&o->lock);
	missing = scout_fetch_missing_locked(o, from, to);
	if (connection_spare_locked(m, o))
		room = scout_fetch_room_locked(m, o);
	scout_unlock(&o->lock);
	n = scout_fetch_spare(m, bufs, missing < room ? missing : room);
	all = n == missing;
	if (all || n >= AHEAD_MIN_BLOCKS) {
		scout_lock(&o->lock);
		scout_fetch_cover_locked(m, o, from, to, bufs, &n, &list);
		scout_unlock(&o->lock);
	}
	scout_fetch_give_back(m, bufs, n);
	scout_fetch_submit(m, &list);
	return all;
}

uint64_t scout_fetch_ahead(struct scout_models *m, struct scout_object *o, uint64_t from,
			   uint64_t to)
{
	while (from < to) {
		uint64_t end = scout_cut_end(&o->cut, from);

		if (end > to)
			end = to;
		if (!ahead_unit(m, o, from / SCOUT_BUF_BYTES,
				(end + SCOUT_BUF_BYTES - 1) / SCOUT_BUF_BYTES))
			break;
		from = end;
	}
	return from;
}
