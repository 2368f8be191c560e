/* Requests in flight: claim, deadline, interrupt; see request.h.
 *
 * The table is split into shards, each with its own lock, so that requests do not meet there. */
#include "fs/request.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/signals.h"
#include "scoutfs/clock.h"
#include "scoutfs/lock.h"
#include "scoutfs/log.h"
#include "scoutfs/text.h"

#define SHARDS 16
#define SWEEP_NS (100 * SCOUT_NS_PER_MS)
#define SWEEP_AT_ONCE 64

struct shard {
	struct scout_mutex lock;
	TAILQ_HEAD(, scout_request) requests; /* under lock */
};

struct scout_requests {
	struct scout_metrics *metrics; /* immutable */
	struct shard shards[SHARDS];
	struct scout_mutex lock; /* for wake */
	pthread_cond_t wake;
	bool stop; /* under lock */
	pthread_t sweeper;
};

static struct shard *shard_of(struct scout_request *r)
{
	return &r->table->shards[((uintptr_t)r >> 8) % SHARDS];
}

static void put_refs(struct scout_request *r, int refs)
{
	if (atomic_fetch_sub_explicit(&r->refs, refs, memory_order_acq_rel) != refs)
		return;
	if (r->file)
		scout_fh_unref(r->file);
	if (r->from)
		scout_fh_unref(r->from);
	if (r->target)
		scout_inode_unpin(r->target);
	scout_inode_unpin(r->inode);
	free(r->name);
	free(r);
}

void scout_request_put(struct scout_request *r)
{
	put_refs(r, 1);
}

static bool claim(struct scout_request *r)
{
	return !atomic_exchange(&r->claimed, true);
}

bool scout_request_claim(struct scout_request *r)
{
	if (!claim(r))
		return false;
	/* waits for an interrupt that is looking at r just now, and bars later ones */
	fuse_req_interrupt_func(r->fuse, NULL, NULL);
	return true;
}

void scout_request_settle(struct scout_request *r, int err)
{
	struct scout_metrics *metrics = r->table->metrics;
	struct scout_op_metrics *m = &metrics->ops[r->backend_index][r->op];
	struct shard *shard = shard_of(r);
	unsigned result = (unsigned)-err;

	scout_count(&m->result[result < SCOUT_ERRNO_MAX ? result : EIO], 1);
	scout_hist_add(&m->latency, scout_now_ns() - r->start_ns);
	atomic_fetch_sub_explicit(&metrics->in_flight, 1, memory_order_relaxed);
	scout_lock(&shard->lock);
	TAILQ_REMOVE(&shard->requests, r, link);
	scout_unlock(&shard->lock);
	put_refs(r, 1);
}

static void tell_late(const struct scout_request *r)
{
	char path[PATH_MAX], safe[512];
	size_t len;

	if (scout_inode_path(r->inode, path, sizeof path))
		path[0] = '\0';
	len = strlen(path);
	if (r->name)
		(void)snprintf(path + len, sizeof path - len, "%s%s", len ? "/" : "", r->name);
	scout_warn("%s: %s %s: no answer within its time (ETIMEDOUT)", r->backend->ops->name,
		   scout_op_name(r->op), scout_format_name(safe, sizeof safe, path));
}

/* Replies err in place of the backend; r is claimed, and may be gone afterwards. */
static void reply_instead(struct scout_request *r, int err)
{
	struct scout_metrics *metrics = r->table->metrics;
	fuse_req_t fuse = r->fuse;

	atomic_store_explicit(&r->base.unwanted, true, memory_order_relaxed);
	if (err == -EINTR) {
		scout_count(&metrics->interrupted, 1);
		if (r->file)
			atomic_store(&r->file->interrupted, true);
	}
	if (err == -ETIMEDOUT) {
		scout_count(&metrics->timed_out, 1);
		tell_late(r);
	}
	scout_request_settle(r, err);
	fuse_reply_err(fuse, -err);
}

/* Called by a FUSE worker that holds libfuse's lock of this request, and a reference to it; but on
 * an interrupt that overtook its request libfuse calls while this is registered, and uses the request
 * afterwards: then it is left to scout_request_start. */
static void interrupted(fuse_req_t fuse, void *arg)
{
	struct scout_request *r = arg;

	(void)fuse;
	atomic_store(&r->interrupted, true);
	if (atomic_load(&r->started) && scout_signals_end_call(r->base.task) && claim(r))
		reply_instead(r, -EINTR);
}

static void give_up(struct scout_request *r, int err)
{
	if (scout_request_claim(r))
		reply_instead(r, err);
}

static bool is_late(struct scout_request *r, uint64_t now_ns)
{
	uint64_t alive_ns = atomic_load(&r->base.alive_ns);

	return atomic_load(&r->deadline_ns) <= now_ns &&
	       (alive_ns == 0 || alive_ns + r->timeout_ns <= now_ns);
}

static bool was_interrupted(struct scout_request *r)
{
	return atomic_load(&r->started) && atomic_load(&r->interrupted);
}

/* Looks at the requests of one shard that are late at now_ns, which it gives up with err, and at those of threads
 * that had a signal: the kernel does not tell of a second one. True when there may be more. */
static bool sweep(struct shard *shard, uint64_t now_ns, int err)
{
	struct scout_request *found[SWEEP_AT_ONCE], *r;
	size_t count = 0;

	scout_lock(&shard->lock);
	TAILQ_FOREACH (r, &shard->requests, link) {
		if (count == SWEEP_AT_ONCE)
			break;
		if (r->looked_ns == now_ns || atomic_load(&r->claimed))
			continue;
		if (!is_late(r, now_ns) && !was_interrupted(r))
			continue;
		r->looked_ns = now_ns;
		atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
		found[count++] = r;
	}
	scout_unlock(&shard->lock);
	for (size_t i = 0; i < count; i++) {
		r = found[i];
		if (is_late(r, now_ns))
			give_up(r, err);
		else if (was_interrupted(r) && scout_signals_end_call(r->base.task))
			give_up(r, -EINTR);
		put_refs(r, 1);
	}
	return count == SWEEP_AT_ONCE;
}

static void *sweeper(void *arg)
{
	struct scout_requests *table = arg;
	uint64_t now_ns;
	bool stop = false;

	while (!stop) {
		scout_lock(&table->lock);
		if (!table->stop)
			scout_cond_wait(&table->wake, &table->lock, scout_now_ns() + SWEEP_NS);
		stop = table->stop;
		scout_unlock(&table->lock);
		now_ns = scout_now_ns();
		for (size_t i = 0; !stop && i < SHARDS; i++) {
			while (sweep(&table->shards[i], now_ns, -ETIMEDOUT))
				;
		}
	}
	return NULL;
}

int scout_requests_new(struct scout_metrics *metrics, struct scout_requests **ret)
{
	struct scout_requests *table = calloc(1, sizeof(*table));
	int err;

	if (!table)
		return -ENOMEM;
	table->metrics = metrics;
	for (size_t i = 0; i < SHARDS; i++) {
		scout_mutex_init(&table->shards[i].lock, SCOUT_LOCK_REQUESTS);
		TAILQ_INIT(&table->shards[i].requests);
	}
	scout_mutex_init(&table->lock, SCOUT_LOCK_LEAF);
	scout_cond_init(&table->wake);
	err = scout_thread_start(&table->sweeper, "fs-deadlines", sweeper, table);
	if (err) {
		free(table);
		return err;
	}
	*ret = table;
	return 0;
}

void scout_requests_abort(struct scout_requests *table)
{
	for (size_t i = 0; i < SHARDS; i++) {
		while (sweep(&table->shards[i], UINT64_MAX, -ENOTCONN))
			;
	}
}

void scout_requests_free(struct scout_requests *table)
{
	if (!table)
		return;
	scout_lock(&table->lock);
	table->stop = true;
	pthread_cond_signal(&table->wake);
	scout_unlock(&table->lock);
	pthread_join(table->sweeper, NULL);
	for (size_t i = 0; i < SHARDS; i++) {
		assert(TAILQ_EMPTY(&table->shards[i].requests));
		scout_mutex_destroy(&table->shards[i].lock);
	}
	pthread_cond_destroy(&table->wake);
	scout_mutex_destroy(&table->lock);
	free(table);
}

struct scout_request *
scout_request_new(struct scout_requests *table, fuse_req_t fuse, enum scout_op op,
		  struct scout_inode *inode, const struct scout_backend *backend,
		  unsigned backend_index, struct scout_fh *file, uint64_t timeout_ns,
		  void (*done)(struct scout_req *, int, const struct scout_result *))
{
	struct scout_request *r = calloc(1, sizeof(*r));
	struct shard *shard;

	if (!r)
		return NULL;
	r->base.done = done;
	r->base.ino = inode->ino;
	r->table = table;
	r->fuse = fuse;
	r->base.task = fuse_req_ctx(fuse)->pid;
	r->base.user = fuse_req_ctx(fuse)->uid;
	r->op = op;
	r->inode = inode;
	r->backend = backend;
	r->backend_index = backend_index;
	r->file = file;
	r->start_ns = scout_now_ns();
	r->timeout_ns = timeout_ns;
	atomic_init(&r->deadline_ns, UINT64_MAX);
	atomic_init(&r->refs, 2);
	scout_inode_pin(inode);
	if (file)
		scout_fh_ref(file);
	atomic_fetch_add_explicit(&table->metrics->in_flight, 1, memory_order_relaxed);
	shard = shard_of(r);
	scout_lock(&shard->lock);
	TAILQ_INSERT_TAIL(&shard->requests, r, link);
	scout_unlock(&shard->lock);
	return r;
}

void scout_request_start(struct scout_request *r)
{
	fuse_req_interrupt_func(r->fuse, interrupted, r);
	/* r is still the backend's, also when the interrupt came and replied */
	atomic_store(&r->started, true);
	if (atomic_load(&r->interrupted) && scout_signals_end_call(r->base.task))
		give_up(r, -EINTR);
	atomic_store(&r->deadline_ns, r->start_ns + r->timeout_ns);
}
