/* The first MiB of an object, asked for beside the question that an open asks, so that its bytes are a round trip
 * away, not two. Who opens a file reads its beginning, nearly always, and its name was looked up just before.
 *
 * Which version they are of is known when both answers are there. Until then they lie in buffers of their own; then
 * these become the object's blocks, and the request a fetch like any other (fetch.c); or nothing was asked for, if
 * they are of another version. At most one request of a key is under way, and none where something of the object is
 * here already, or may be in the disk cache.
 *
 * Several may open it at once; the first of them who has an answer takes it, once it is sent. The engine's thread and
 * the opener hold one reference each; m->objects_lock for the table. */
#include "models/first.h"

#include <stdlib.h>
#include <string.h>

#include "models/catalogue.h"
#include "models/fetch.h"
#include "models/versions.h"

#define EXPECTED_MAX 16 /* fetches of a small object */
#define FIRST_BLOCKS (SCOUT_READ_MAX / SCOUT_BUF_BYTES)

struct scout_first {
	struct scout_models *m;
	struct scout_fetch *fetch; /* ours until its object is known */
	size_t nbufs;
	void *bufs[FIRST_BLOCKS]; /* likewise */
	atomic_uint refs;
	atomic_bool unwanted;
	bool over; /* the engine's thread: nothing more comes */
	char *path, *key, *version_id;
	UT_hash_handle hh; /* m->firsts */
	bool sent;  /* under m->objects_lock: the engine has the call, and others may take it */
	bool taken; /* likewise: it is in the table no more */
};

static void unref(struct scout_first *first)
{
	if (atomic_fetch_sub(&first->refs, 1) > 1)
		return;
	if (first->fetch)
		atomic_fetch_sub(&first->m->fetches, 1);
	scout_fetch_give_back(first->m, first->bufs, first->nbufs);
	scout_budget_poke(first->m->budget);
	free(first->fetch);
	free(first->version_id);
	free(first->key);
	free(first->path);
	free(first);
}

static bool take(struct scout_s3_call *call, const void *bytes, size_t len)
{
	struct scout_fetch *f = (struct scout_fetch *)call;
	struct scout_first *first = f->first;

	if (!first)
		return scout_fetch_take(call, bytes, len);
	if (atomic_load(&first->unwanted) || len > call->length - f->got)
		return false;
	while (len > 0) {
		size_t skip = f->got % SCOUT_BUF_BYTES, n = SCOUT_BUF_BYTES - skip;

		if (n > len)
			n = len;
		memcpy((uint8_t *)first->bufs[f->got / SCOUT_BUF_BYTES] + skip, bytes, n);
		bytes = (const uint8_t *)bytes + n;
		f->got += n;
		len -= n;
	}
	return true;
}

static void done(struct scout_s3_call *call, int err)
{
	struct scout_fetch *f = (struct scout_fetch *)call;
	struct scout_first *first = f->first;

	if (!first) {
		scout_fetch_done(call, err);
		return;
	}
	f->err = err;
	first->over = true;
	unref(first);
}

/* How large path was when it was looked up; 0: it is not known to be a file. */
static uint64_t known_bytes(struct scout_models *m, const char *path)
{
	struct scout_tree *tree;
	const struct scout_node *n;
	struct scout_answer answer;
	bool known = scout_catalogue_known(m, path, false, &n, &tree, &answer);
	uint64_t bytes = n && !n->dir ? n->bytes : 0;

	if (known)
		bytes = answer.kind == SCOUT_FILE ? answer.bytes : 0;
	scout_tree_unref(tree);
	return bytes;
}

/* Whether something of the object is here or on its way, or somebody has it open; objects_lock is held. */
static bool is_known_locked(struct scout_models *m, const char *key)
{
	struct scout_object *o;
	struct scout_first *other;
	bool known = false;

	HASH_FIND_STR(m->objects, key, o);
	HASH_FIND_STR(m->firsts, key, other);
	if (o) {
		scout_lock(&o->lock);
		known = o->blocks || !TAILQ_EMPTY(&o->files);
		scout_unlock(&o->lock);
	}
	return known || other;
}

static bool is_known(struct scout_models *m, const char *key)
{
	bool known;

	scout_lock(&m->objects_lock);
	known = is_known_locked(m, key);
	scout_unlock(&m->objects_lock);
	return known;
}

/* The length of what first asks for of an object of so many bytes. */
static uint64_t length_of(const struct scout_first *first, uint64_t bytes)
{
	uint64_t most = first->nbufs * SCOUT_BUF_BYTES;

	return bytes < most ? bytes : most;
}

/* With buffers for bytes, or as many as are spare; the caller's alone. NULL: no memory, or nothing to ask for: what is
 * here already is not pushed out for it. */
static struct scout_first *first_new(struct scout_models *m, const char *path, uint64_t bytes)
{
	size_t blocks = bytes < SCOUT_READ_MAX ? (bytes - 1) / SCOUT_BUF_BYTES + 1 : FIRST_BLOCKS;
	struct scout_first *first = calloc(1, sizeof(*first));

	if (!first)
		return NULL;
	first->m = m;
	atomic_init(&first->refs, 1);
	first->path = scout_models_key(m, path, "");
	if (first->path && !is_known(m, first->path) && scout_fetch_room(m) > 0)
		first->nbufs = scout_fetch_spare(m, first->bufs, blocks);
	if (first->nbufs > 0 && scout_versions_key(m, path, &first->key, &first->version_id) == 0)
		first->fetch = calloc(1, sizeof(*first->fetch) +
					     first->nbufs * sizeof(first->fetch->blocks[0]));
	if (!first->fetch) {
		unref(first);
		return NULL;
	}
	atomic_fetch_add(&m->fetches, 1);
	first->fetch->m = m;
	first->fetch->first = first;
	first->fetch->call = (struct scout_s3_call){
	    .op = SCOUT_S3_GET,
	    .key = first->key,
	    .version_id = first->version_id,
	    .length = length_of(first, bytes),
	    .guess = true,
	    .flow = first,
	    .data = take,
	    .done = done,
	};
	return first;
}

static bool add(struct scout_models *m, struct scout_first *first)
{
	bool added = false;

	scout_lock(&m->objects_lock);
	if (!is_known_locked(m, first->path)) {
		HASH_ADD_KEYPTR(hh, m->firsts, first->path, strlen(first->path), first);
		added = first->hh.tbl != NULL;
	}
	scout_unlock(&m->objects_lock);
	return added;
}

/* It is in the table already, so that no other is sent beside it. */
static void send(struct scout_models *m, struct scout_first *first)
{
	atomic_store(&first->refs, 2);
	scout_s3_submit(m->s3, &first->fetch->call);
	scout_lock(&m->objects_lock);
	first->sent = true;
	scout_unlock(&m->objects_lock);
}

/* Who reads on asks for the rest over many connections (window.c). */
static void expect_more(struct scout_models *m, uint64_t bytes)
{
	if (bytes > SCOUT_READ_MAX)
		scout_s3_expect(m->s3, (unsigned)((bytes - 1) / SCOUT_READ_MAX < EXPECTED_MAX
						      ? (bytes - 1) / SCOUT_READ_MAX
						      : EXPECTED_MAX));
}

struct scout_first *scout_first_ask(struct scout_models *m, const char *path)
{
	uint64_t bytes = m->cache || atomic_load(&m->stopped) ? 0 : known_bytes(m, path);
	struct scout_first *first = bytes > 0 ? first_new(m, path, bytes) : NULL;

	if (first && !add(m, first)) {
		unref(first);
		first = NULL;
	}
	if (!first)
		return NULL;
	send(m, first);
	expect_more(m, bytes);
	return first;
}

static void give_up(struct scout_first *first)
{
	atomic_store(&first->unwanted, true);
	scout_s3_cancel(first->m->s3, &first->fetch->call);
}

/* Whether what came, or will come, may be o's, of which nothing is here. */
static bool fits_locked(const struct scout_first *first, struct scout_object *o)
{
	const struct scout_fetch *f = first->fetch;
	const struct scout_s3_call *call = &f->call;

	if (!o->etag[0]) /* nobody could tell whose bytes they are */
		return false;
	if (o->changed || (first->over && (f->err < 0 || f->got < call->length)))
		return false;
	if (call->length != length_of(first, o->cut.bytes))
		return false;
	if (call->object_bytes > 0 &&
	    (call->object_bytes != o->cut.bytes || !scout_s3_etag_same(call->etag, o->etag)))
		return false;
	return scout_fetch_missing_locked(o, 0, first->nbufs) == first->nbufs;
}

/* Hands the fetch over to o, or gives it up. */
static void settle(struct scout_first *first, struct scout_object *o)
{
	struct scout_fetch *f = first->fetch;
	bool over = first->over, joined;

	scout_lock(&o->lock);
	joined = fits_locked(first, o) && scout_fetch_join_locked(f, o, first->bufs, &first->nbufs);
	scout_unlock(&o->lock);
	if (!joined) {
		give_up(first);
		return;
	}
	first->fetch = NULL; /* it goes its own way, with the buffers */
	f->first = NULL;
	if (over)
		scout_fetch_done(&f->call, 0);
	else
		unref(first); /* the engine's */
}

void scout_first_join(struct scout_models *m, struct scout_object *o)
{
	struct scout_first *first;

	scout_lock(&m->objects_lock);
	HASH_FIND_STR(m->firsts, o->key, first);
	if (first && !first->sent)
		first = NULL;
	if (first) {
		HASH_DEL(m->firsts, first);
		first->taken = true;
		atomic_fetch_add(&first->refs, 1);
	}
	scout_unlock(&m->objects_lock);
	if (!first)
		return;
	settle(first, o);
	unref(first);
}

void scout_first_leave(struct scout_first *first)
{
	bool taken;

	if (!first)
		return;
	scout_lock(&first->m->objects_lock);
	taken = first->taken;
	if (!taken)
		HASH_DEL(first->m->firsts, first);
	scout_unlock(&first->m->objects_lock);
	if (!taken)
		give_up(first);
	unref(first);
}
