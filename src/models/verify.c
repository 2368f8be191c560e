/* Checking what was fetched against the checksum that S3 keeps of the whole object.
 *
 * A running digest follows the blocks in the order of their offsets, on threads of its own: a block that
 * becomes ready where the digest's row ends joins the row, and is held against eviction until the digest
 * is over it. What waits there is bounded by a part of the memory; blocks beyond are not held, and if
 * they are evicted before the digest comes to them, it ends there until somebody fetches them again. Many
 * objects have their turn together, a block of each: sixteen MD5s cost hardly more than one.
 *
 * Who reads in order from the start does not get so far: such a read waits until all before it is in the
 * row, and has a place in it for its own blocks. That delays it for as long as a digest takes, which
 * waits for nothing, and as long as what it read just before takes to come.
 *
 * Who reads may have most of his bytes from the kernel's pages, and the kernel's reads come in any order. So
 * it is noted what went to readers, and the read after which all of it would have waits for the verdict,
 * wherever it lies, if all that the digest still needs is there or on its way; if not, it is answered, and
 * counts as unverified. Blocks are noted, not bytes, so it may be a read too early, never one too late.
 *
 * That is what the kernel has, if it has no pages from before. So an object without a verdict is kept when nobody
 * has it open and its blocks are gone; and one that is new here, and was not right before, has pages of its own: who
 * opens it does not see those from before.
 *
 * A composite checksum is one of bytes only with the sizes of the parts, for which S3 is asked when the kernel opens
 * the object. Until the answer is there, the row grows as it may, and has no turn. An object that the kernel never
 * opened is not asked about: what reads archives for their members compares these.
 *
 * After wrong bytes all reads of that object are EIO, it leaves the table, so that the next open fetches
 * everything again, into pages of its own.
 *
 * Why it cannot deadlock: a read waits here while blocks from the row's end on are in fetches, which end
 * without memory and then look at the waiting reads, or while the row is not empty: then a turn is to come,
 * which waits for nothing and looks at them, too. A block that leaves memory meanwhile is found missing then. The
 * turn, or the verdict after the last one, may wait for the sizes of parts: a HEAD at a time, which needs no memory
 * of ours, ends within the engine's deadlines, and then the waiting reads are looked at. No verifier waits for it.
 *
 * Object->lock for struct scout_verify; m->verifiers.lock for the queue of objects, and those kept. */
#include "models/verify.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/block.h"
#include "models/composite.h"
#include "models/read.h"
#include "scoutfs/clock.h"
#include "scoutfs/log.h"

/* Of the memory for blocks, what may be held. */
#define HELD_DIVISOR 4
/* How far the digest may be behind a reader who waits for it: 1 GiB. Who reads in order is never so far. */
#define BEHIND_MAX 4096
#define HELD_MAX (BEHIND_MAX / 2)
/* Of an object of more blocks, 64 TiB, is not noted what was given. */
#define NOTED_MAX ((uint64_t)1 << 28)
/* So many have their turn together, and are waited for, so long: fewer are done sooner by a verifier each. */
#define TOGETHER_MIN 8
#define GATHER_NS (4 * SCOUT_NS_PER_MS)

static uint64_t count_blocks(const struct scout_object *o)
{
	return (o->cut.bytes + SCOUT_BUF_BYTES - 1) / SCOUT_BUF_BYTES;
}

static bool is_ready_locked(struct scout_object *o, uint64_t index)
{
	const struct scout_block *b = scout_block_find_locked(o, index);

	return b && b->state == SCOUT_BLOCK_READY;
}

/* ---- the row of blocks ---- */

/* Whether there is something to compare with, or will be. */
static bool is_comparable(const struct scout_verify *v)
{
	const struct scout_s3_checksum *want = &v->want;

	return want->kind != SCOUT_S3_NO_CHECKSUM &&
	       (want->parts == 0 || want->part_bytes > 0 || v->asked);
}

/* Whether the row may grow; of each object by one there is always room. */
static bool has_room_locked(const struct scout_models *m, const struct scout_object *o)
{
	const struct scout_verifiers *vs = &m->verifiers;

	return o->verify.frontier == o->verify.next || atomic_load(&vs->held) < vs->held_max;
}

static void extend_locked(struct scout_models *m, struct scout_object *o)
{
	struct scout_verifiers *vs = &m->verifiers;
	struct scout_verify *v = &o->verify;

	while (v->frontier < count_blocks(o) && is_ready_locked(o, v->frontier) &&
	       (v->frontier < v->claimed || has_room_locked(m, o))) {
		scout_block_hold_locked(m, scout_block_find_locked(o, v->frontier));
		atomic_fetch_add(&vs->held, 1);
		v->frontier++;
	}
}

/* The digest is over the first one, or will never come to it. */
static void let_go_locked(struct scout_models *m, struct scout_object *o)
{
	scout_block_release_locked(m, scout_block_find_locked(o, o->verify.next));
	atomic_fetch_sub(&m->verifiers.held, 1);
	o->verify.next++;
}

/* The digest will not come to its end. */
static void give_up_locked(struct scout_models *m, struct scout_object *o)
{
	while (o->verify.next < o->verify.frontier)
		let_go_locked(m, o);
	o->verify.want.kind = SCOUT_S3_NO_CHECKSUM;
}

/* o keeps a reference for it. */
static void enqueue(struct scout_models *m, struct scout_object *o)
{
	struct scout_verifiers *vs = &m->verifiers;

	scout_lock(&vs->lock);
	TAILQ_INSERT_TAIL(&vs->queue, o, verify.queue);
	if (++vs->nqueue == 1 || vs->nqueue >= vs->together)
		pthread_cond_signal(&vs->wake);
	scout_unlock(&vs->lock);
}

static void go_on_locked(struct scout_models *m, struct scout_object *o)
{
	struct scout_verify *v = &o->verify;

	if (!is_comparable(v) || v->verdict != SCOUT_UNDECIDED || atomic_load(&m->stopped))
		return;
	extend_locked(m, o);
	if (v->next == v->frontier || v->queued || v->asked)
		return;
	v->queued = true;
	scout_object_ref(o);
	enqueue(m, o);
}

/* ---- what readers see ---- */

void scout_verify_ready_locked(struct scout_models *m, struct scout_block *b)
{
	go_on_locked(m, b->object);
}

/* Whether all blocks from the row's end to first are there, or on their way: then the row will come to
 * first. */
static bool will_reach_locked(struct scout_object *o, uint64_t first)
{
	for (uint64_t i = o->verify.frontier; i < first; i++) {
		if (!scout_block_find_locked(o, i))
			return false;
	}
	return true;
}

/* Whether a read in order is to wait until what is before it is in the row, and there is room in it; else
 * its own blocks have a place there, also those that are still to come. */
static bool is_early_locked(struct scout_models *m, struct scout_object *o, uint64_t first,
			    uint64_t after)
{
	struct scout_verify *v = &o->verify;

	if (!is_comparable(v) || atomic_load(&m->stopped))
		return false;
	go_on_locked(m, o);
	if (v->frontier < first)
		return will_reach_locked(o, first);
	if (v->frontier >= after || v->claimed >= after)
		return false;
	if (!has_room_locked(m, o))
		return true;
	v->claimed = after;
	go_on_locked(m, o);
	return false;
}

/* Whether the digest comes to the end without anybody's help, and not too late. */
static bool will_decide_locked(struct scout_models *m, struct scout_object *o)
{
	const struct scout_verify *v = &o->verify;

	if (!is_comparable(v) || atomic_load(&m->stopped))
		return false;
	go_on_locked(m, o);
	return count_blocks(o) - v->next <= BEHIND_MAX && will_reach_locked(o, count_blocks(o));
}

/* ---- what was given ---- */

static bool is_given(const struct scout_verify *v, uint64_t index)
{
	return v->given[index / 8] >> index % 8 & 1;
}

static void give_locked(struct scout_object *o, uint64_t first, uint64_t after)
{
	struct scout_verify *v = &o->verify;

	for (uint64_t i = first; v->given && i < after; i++) {
		v->ngiven += !is_given(v, i);
		v->given[i / 8] |= (uint8_t)(1 << i % 8);
	}
	while (v->given && v->prefix < count_blocks(o) && is_given(v, v->prefix))
		v->prefix++;
}

/* Whether with the blocks of a read that ends at end all were given. Where that cannot be noted, who reads the end
 * is taken to have read all. */
static bool completes_locked(struct scout_object *o, uint64_t first, uint64_t after, uint64_t end)
{
	struct scout_verify *v = &o->verify;
	uint64_t blocks = count_blocks(o), given;

	if (!v->given && blocks <= NOTED_MAX)
		v->given = calloc((size_t)(blocks / 8 + 1), 1);
	if (!v->given)
		return end == o->cut.bytes;
	given = v->ngiven;
	for (uint64_t i = first; i < after; i++)
		given += !is_given(v, i);
	return given == blocks;
}

int scout_verify_state_locked(struct scout_models *m, struct scout_object *o, uint64_t from,
			      uint64_t end, bool in_order)
{
	struct scout_verify *v = &o->verify;
	uint64_t first = from / SCOUT_BUF_BYTES, after = (end - 1) / SCOUT_BUF_BYTES + 1;

	if (v->verdict == SCOUT_WRONG)
		return -EIO;
	if (v->verdict == SCOUT_RIGHT || !m->config->verify)
		return 1;
	in_order |= first <= v->prefix && v->prefix < after;
	if (in_order && is_early_locked(m, o, first, after))
		return 0;
	if (completes_locked(o, first, after, end)) {
		if (will_decide_locked(m, o))
			return 0;
		scout_count(&m->verifiers.unverified, !v->counted);
		v->counted = true;
	}
	give_locked(o, first, after);
	return 1;
}

/* ---- versions that came with wrong bytes, or right ones ---- */

static void distrust(struct scout_verifiers *vs, uint64_t id)
{
	scout_lock(&vs->lock);
	if (vs->ndistrusted < SCOUT_DISTRUSTED_MAX)
		vs->distrusted[vs->ndistrusted] = id;
	if (vs->ndistrusted <= SCOUT_DISTRUSTED_MAX)
		vs->ndistrusted++;
	scout_proven_remove(&vs->proven, id);
	scout_unlock(&vs->lock);
}

static void trust(struct scout_verifiers *vs, uint64_t id)
{
	size_t kept = 0;

	scout_lock(&vs->lock);
	if (vs->ndistrusted <= SCOUT_DISTRUSTED_MAX) {
		for (size_t i = 0; i < vs->ndistrusted; i++) {
			if (vs->distrusted[i] != id)
				vs->distrusted[kept++] = vs->distrusted[i];
		}
		vs->ndistrusted = kept;
	}
	scout_proven_add(&vs->proven, id);
	scout_unlock(&vs->lock);
}

static bool distrusts_locked(const struct scout_verifiers *vs, uint64_t id)
{
	bool found = vs->ndistrusted > SCOUT_DISTRUSTED_MAX;

	for (size_t i = 0; !found && i < vs->ndistrusted; i++)
		found = vs->distrusted[i] == id;
	return found;
}

/* ---- objects that wait for their verdict with nobody ---- */

static void let_go_of_kept_locked(struct scout_verifiers *vs, struct scout_object *o)
{
	TAILQ_REMOVE(&vs->kept, o, verify.keep);
	o->verify.kept = false;
	vs->nkept--;
}

/* It has its verdict. */
static void keep_no_more(struct scout_models *m, struct scout_object *o)
{
	struct scout_verifiers *vs = &m->verifiers;
	bool was;

	scout_lock(&vs->lock);
	was = o->verify.kept;
	if (was)
		let_go_of_kept_locked(vs, o);
	scout_unlock(&vs->lock);
	if (was)
		scout_object_unref(m, o);
}

/* o was opened last; returns the one that has to go for it, whose reference is the caller's, or NULL. */
static struct scout_object *keep_locked(struct scout_verifiers *vs, struct scout_object *o)
{
	struct scout_object *oldest = NULL;

	if (o->verify.kept)
		let_go_of_kept_locked(vs, o);
	else
		scout_object_ref(o);
	if (vs->nkept == SCOUT_UNDECIDED_MAX) {
		oldest = TAILQ_FIRST(&vs->kept);
		let_go_of_kept_locked(vs, oldest);
	}
	TAILQ_INSERT_TAIL(&vs->kept, o, verify.keep);
	o->verify.kept = true;
	vs->nkept++;
	return oldest;
}

uint64_t scout_verify_opened(struct scout_models *m, struct scout_object *o)
{
	struct scout_verifiers *vs = &m->verifiers;
	struct scout_verify *v = &o->verify;
	struct scout_object *oldest = NULL;
	uint64_t id = scout_object_id(o), pages;
	bool undecided, ask;

	scout_lock(&o->lock);
	undecided = v->want.kind != SCOUT_S3_NO_CHECKSUM && v->verdict == SCOUT_UNDECIDED;
	ask = undecided && !is_comparable(v);
	v->asked |= ask;
	scout_lock(&vs->lock);
	if (!v->shown &&
	    (distrusts_locked(vs, id) || (undecided && !scout_proven_has(&vs->proven, id))))
		v->pages = scout_models_new_pages(m);
	if (undecided)
		oldest = keep_locked(vs, o);
	scout_unlock(&vs->lock);
	v->shown = true;
	pages = v->pages;
	scout_unlock(&o->lock);
	if (oldest)
		scout_object_unref(m, oldest);
	if (ask)
		scout_composite_ask(m, o);
	return pages;
}

/* ---- the verifiers ---- */

/* Before the readers learn the verdict. */
static void decide(struct scout_models *m, struct scout_object *o, bool right)
{
	struct scout_verifiers *vs = &m->verifiers;
	const struct scout_s3_checksum *want = &o->verify.want;
	char name[256], parts[32] = "";

	scout_count(right ? &vs->verified : &vs->mismatches, 1);
	keep_no_more(m, o);
	if (right) {
		trust(vs, scout_object_id(o));
		return;
	}
	distrust(vs, scout_object_id(o));
	scout_object_forget(m, o);
	if (want->parts > 0)
		snprintf(parts, sizeof(parts), " of %u parts", want->parts);
	scout_error("models: '%s': its bytes do not match its checksum, %s%s",
		    scout_format_name(name, sizeof(name), o->key),
		    scout_s3_checksum_name(want->kind), parts);
}

void scout_verify_told(struct scout_models *m, struct scout_object *o, uint64_t part_bytes)
{
	struct scout_read_list readers = TAILQ_HEAD_INITIALIZER(readers);
	struct scout_verify *v = &o->verify;
	bool compared;

	scout_lock(&o->lock);
	v->asked = false;
	v->want.part_bytes = part_bytes;
	go_on_locked(m, o);
	/* in the row is what has its turn, unless all ends */
	compared = part_bytes > 0 && (v->queued || v->next == v->frontier);
	if (!compared)
		give_up_locked(m, o);
	scout_read_collect_locked(o, &readers);
	scout_unlock(&o->lock);
	if (!compared)
		keep_no_more(m, o);
	scout_read_finish(&readers);
	scout_budget_poke(m->budget);
}

void scout_verify_wrong(struct scout_models *m, struct scout_object *o)
{
	struct scout_read_list readers = TAILQ_HEAD_INITIALIZER(readers);

	decide(m, o, false);
	scout_lock(&o->lock);
	o->verify.verdict = SCOUT_WRONG;
	scout_read_collect_locked(o, &readers);
	scout_unlock(&o->lock);
	scout_read_finish(&readers);
}

/* One block of one object. */
struct turn {
	struct scout_object *object;
	const struct scout_block *block; /* held */
	bool last;                       /* of its object */
	bool stuck;                      /* no digest will come to the object's end */
};

static void begin_turn(struct scout_models *m, struct turn *t)
{
	struct scout_object *o = t->object;
	struct scout_verify *v = &o->verify; /* its turn is ours alone */

	scout_lock(&o->lock);
	t->block = scout_block_find_locked(o, v->next);
	t->last = v->next + 1 == count_blocks(o);
	scout_unlock(&o->lock);
	assert(t->block);
	t->stuck = atomic_load(&m->stopped) ||
		   (!v->digest && scout_s3_digest_new(&v->want, &v->digest) < 0);
}

/* True: the object's next block is held, too. Else the object is no longer ours. */
static bool end_turn(struct scout_models *m, const struct turn *t)
{
	struct scout_read_list readers = TAILQ_HEAD_INITIALIZER(readers);
	struct scout_object *o = t->object;
	struct scout_verify *v = &o->verify;
	bool more, right = false, doubt = false;

	if (t->last && !t->stuck) {
		right = scout_s3_digest_matches(v->digest);
		doubt = !right && scout_composite_is_doubtful(&v->want);
		if (!doubt)
			decide(m, o, right);
	}
	scout_lock(&o->lock);
	let_go_locked(m, o);
	if (t->stuck)
		give_up_locked(m, o);
	else if (!t->last)
		extend_locked(m, o);
	else if (!doubt)
		v->verdict = right ? SCOUT_RIGHT : SCOUT_WRONG;
	more = v->next < v->frontier;
	v->queued = more;
	scout_read_collect_locked(o, &readers);
	scout_unlock(&o->lock);
	scout_read_finish(&readers);
	scout_budget_poke(m->budget);
	if (doubt)
		scout_composite_doubt(m, o);
	if (!more)
		scout_object_unref(m, o);
	return more;
}

/* The digests go on over the blocks: those of full ones together. */
static void digest(const struct turn *turns, size_t n)
{
	struct scout_s3_digest *d[SCOUT_S3_DIGESTS_MAX];
	const void *bytes[SCOUT_S3_DIGESTS_MAX];
	size_t full = 0;

	for (size_t i = 0; i < n; i++) {
		const struct scout_block *b = turns[i].block;

		if (turns[i].stuck)
			continue;
		d[full] = turns[i].object->verify.digest;
		bytes[full] = b->buf;
		if (b->bytes == SCOUT_BUF_BYTES)
			full++;
		else
			scout_s3_digest_update(d[full], b->buf, b->bytes);
	}
	scout_s3_digests_update(d, bytes, full, SCOUT_BUF_BYTES);
}

/* Waits until there are objects; and where many had their turn together, for so many again, if not for
 * long: they cost hardly more than one. False: it is time to end. */
static bool gather_locked(struct scout_verifiers *vs)
{
	uint64_t until_ns = UINT64_MAX;

	while (!vs->stop && (vs->nqueue == 0 || vs->nqueue < vs->together)) {
		if (vs->nqueue == 0)
			until_ns = UINT64_MAX;
		else if (until_ns == UINT64_MAX)
			until_ns = scout_now_ns() + GATHER_NS;
		if (!scout_cond_wait(&vs->wake, &vs->lock, until_ns) && vs->nqueue > 0)
			break;
	}
	return vs->nqueue > 0;
}

/* Puts the n objects of turns that go on back, and takes those whose turn it is; returns how many, 0: it is
 * time to end. Another is woken for what is left, not for what is put back alone: that is its verifier's, whose
 * processor has the digest's state. */
static size_t next_turns(struct scout_verifiers *vs, struct turn *turns, size_t n)
{
	struct scout_object *o;

	scout_lock(&vs->lock);
	for (size_t i = 0; i < n; i++)
		TAILQ_INSERT_TAIL(&vs->queue, turns[i].object, verify.queue);
	vs->nqueue += n;
	n = 0;
	if (gather_locked(vs)) {
		size_t most = vs->nqueue < TOGETHER_MIN ? 1 : SCOUT_S3_DIGESTS_MAX;
		bool together;

		do {
			o = TAILQ_FIRST(&vs->queue);
			together = scout_s3_digests_together(o->verify.want.kind);
			if (n > 0 && !together)
				break;
			TAILQ_REMOVE(&vs->queue, o, verify.queue);
			turns[n++].object = o;
		} while (together && n < most && !TAILQ_EMPTY(&vs->queue));
		vs->nqueue -= n;
		vs->together = n < TOGETHER_MIN ? 0 : n;
		if (vs->nqueue > 0)
			pthread_cond_signal(&vs->wake);
	}
	scout_unlock(&vs->lock);
	return n;
}

static void *run(void *arg)
{
	struct scout_models *m = arg;
	struct turn turns[SCOUT_S3_DIGESTS_MAX];
	size_t n = 0;

	while ((n = next_turns(&m->verifiers, turns, n)) > 0) {
		size_t more = 0;

		for (size_t i = 0; i < n; i++)
			begin_turn(m, &turns[i]);
		digest(turns, n);
		for (size_t i = 0; i < n; i++) {
			if (end_turn(m, &turns[i]))
				turns[more++].object = turns[i].object;
		}
		n = more;
	}
	return NULL;
}

int scout_verify_start(struct scout_models *m)
{
	struct scout_verifiers *vs = &m->verifiers;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned want = !m->config->verify           ? 0
			: cpus > SCOUT_VERIFIERS_MAX ? SCOUT_VERIFIERS_MAX
			: cpus < 1                   ? 1
						     : (unsigned)cpus;
	int err = 0;

	scout_mutex_init(&vs->lock, SCOUT_LOCK_LEAF);
	scout_cond_init(&vs->wake);
	TAILQ_INIT(&vs->queue);
	TAILQ_INIT(&vs->kept);
	vs->held_max = m->memory / SCOUT_BUF_BYTES / HELD_DIVISOR;
	if (vs->held_max > HELD_MAX)
		vs->held_max = HELD_MAX;
	while (!err && vs->nthreads < want) {
		err = scout_thread_start(&vs->threads[vs->nthreads], "verify", run, m);
		if (!err)
			vs->nthreads++;
	}
	if (err) {
		scout_verify_stop(m);
		scout_verify_destroy(m);
	}
	return err;
}

void scout_verify_stop(struct scout_models *m)
{
	struct scout_verifiers *vs = &m->verifiers;

	scout_lock(&vs->lock);
	vs->stop = true;
	pthread_cond_broadcast(&vs->wake);
	scout_unlock(&vs->lock);
	while (vs->nthreads > 0)
		pthread_join(vs->threads[--vs->nthreads], NULL);
}

void scout_verify_destroy(struct scout_models *m)
{
	struct scout_object *o;

	assert(TAILQ_EMPTY(&m->verifiers.queue) && m->verifiers.held == 0);
	while ((o = TAILQ_FIRST(&m->verifiers.kept)))
		keep_no_more(m, o);
	pthread_cond_destroy(&m->verifiers.wake);
	scout_mutex_destroy(&m->verifiers.lock);
}

void scout_verify_init(const struct scout_models *m, struct scout_object *o,
		       const struct scout_answer *answer)
{
	if (m->config->verify && answer->bytes > 0)
		o->verify.want = answer->checksum;
	if (o->verify.want.parts == 1)
		o->verify.want.part_bytes = answer->bytes;
}

void scout_verify_end(struct scout_object *o)
{
	scout_s3_digest_free(o->verify.digest);
	free(o->verify.given);
}
