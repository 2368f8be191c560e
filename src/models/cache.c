/* The disk cache's life: its folder, its threads and what they have to do, and what is told of it.
 *
 * Nobody else waits for its disk. One thread reads: it looks at what is there and fills fetches' blocks from
 * it; short ones go first, long ones take turns. The other writes what came from S3, removes what turned
 * out to be wrong, notes what is used, and keeps the size. A third sees when the first one hangs. A block that
 * waits to be written is held in memory, so there are few of them; what comes when there are too many is not
 * cached. Once the disk does not take something, as a full one, nothing more is written: what is there is
 * served, and the rest comes from S3. Once something wrong cannot be removed, all of it does.
 *
 * Lock: c->lock, a leaf, for the queues. What is known of an object's segments is under its lock. */
#include "models/cache.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/cache_inside.h"
#include "scoutfs/clock.h"
#include "scoutfs/file.h"
#include "scoutfs/log.h"

/* Of the memory for blocks, what may wait to be written. */
#define WRITES_DIVISOR 8
/* So long an unmounting waits for that. */
#define DRAIN_NS (3 * SCOUT_NS_PER_S)
/* And so long for a thread to end; one that does not hangs with its disk. */
#define PATIENCE_NS (DRAIN_NS + SCOUT_NS_PER_S)
/* A turn of the reader that takes longer hangs, too. */
#define HANG_NS (4 * SCOUT_NS_PER_S)
/* No object of S3 is so large; a server may say anything. */
#define OBJECT_MAX (UINT64_C(1) << 44)

static const char *off_words(struct scout_cache *c)
{
	return atomic_load(&c->distrusted) ? "" : " for writing";
}

void scout_cache_off(struct scout_cache *c, int err)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&c->off, &none, -err))
		scout_error(
		    "models: cache_dir %s: %s: the disk cache is off%s until the next mount",
		    c->m->config->cache_dir, strerror(-err), off_words(c));
}

/* ---- the two threads ---- */

bool scout_cache_queue(struct scout_cache *c, struct scout_fetch *f, bool urgent)
{
	bool taken;

	scout_lock(&c->lock);
	taken = !c->stop_reader;
	if (taken) {
		TAILQ_INSERT_TAIL(urgent ? &c->urgent : &c->bulk, f, link);
		pthread_cond_signal(&c->wake_reader);
		pthread_cond_signal(&c->wake_watcher);
	}
	scout_unlock(&c->lock);
	return taken;
}

bool scout_cache_reader_hangs(struct scout_cache *c, struct scout_fetch_list *stuck)
{
	bool hangs;

	scout_lock(&c->lock);
	hangs = c->turn_ns && scout_now_ns() - c->turn_ns >= HANG_NS;
	if (hangs) {
		TAILQ_CONCAT(stuck, &c->urgent, link);
		TAILQ_CONCAT(stuck, &c->bulk, link);
	}
	scout_unlock(&c->lock);
	return hangs;
}

static struct scout_fetch *next_fetch(struct scout_cache *c)
{
	struct scout_fetch *f;

	scout_lock(&c->lock);
	c->turn_ns = 0;
	while (TAILQ_EMPTY(&c->urgent) && TAILQ_EMPTY(&c->bulk) && !c->stop_reader)
		(void)scout_cond_wait(&c->wake_reader, &c->lock, UINT64_MAX);
	f = TAILQ_FIRST(&c->urgent);
	if (f) {
		TAILQ_REMOVE(&c->urgent, f, link);
	} else {
		f = TAILQ_FIRST(&c->bulk);
		if (f)
			TAILQ_REMOVE(&c->bulk, f, link);
	}
	if (f)
		c->turn_ns = scout_now_ns();
	scout_unlock(&c->lock);
	return f;
}

/* running: reading or writing. */
static void end(struct scout_cache *c, bool *running)
{
	scout_lock(&c->lock);
	*running = false;
	pthread_cond_signal(&c->ended);
	scout_unlock(&c->lock);
}

static void *read_run(void *arg)
{
	struct scout_cache *c = arg;
	struct scout_fetch *f;

	while ((f = next_fetch(c)))
		scout_cache_read_turn(c, f);
	end(c, &c->reading);
	return NULL;
}

static bool waits_locked(const struct scout_cache *c)
{
	return !TAILQ_EMPTY(&c->urgent) || !TAILQ_EMPTY(&c->bulk);
}

/* Looks once a second, while something waits for the reader, whether that hangs. */
static void *watch_run(void *arg)
{
	struct scout_fetch_list stuck = TAILQ_HEAD_INITIALIZER(stuck);
	struct scout_cache *c = arg;
	bool stop;

	do {
		uint64_t until_ns = scout_cond_now_ns() + SCOUT_NS_PER_S;
		bool in_time = true;

		scout_lock(&c->lock);
		while (!waits_locked(c) && !c->stop_reader)
			(void)scout_cond_wait(&c->wake_watcher, &c->lock, UINT64_MAX);
		while (in_time && !c->stop_reader)
			in_time = scout_cond_wait(&c->wake_watcher, &c->lock, until_ns);
		stop = c->stop_reader;
		scout_unlock(&c->lock);
		if (!stop && scout_cache_reader_hangs(c, &stuck))
			scout_cache_give_up(c->m, &stuck);
	} while (!stop);
	return NULL;
}

/* What the writer does next; the first of these that there is. */
struct work {
	struct scout_object *doomed; /* to be removed; it stays in its list */
	struct scout_object *used;
	struct scout_block *b;
};

/* False: stop. */
static bool next_write(struct scout_cache *c, struct work *w)
{
	*w = (struct work){.b = NULL};
	scout_lock(&c->lock);
	while (TAILQ_EMPTY(&c->removals) && TAILQ_EMPTY(&c->uses) && TAILQ_EMPTY(&c->writes) &&
	       !c->stop)
		(void)scout_cond_wait(&c->wake_writer, &c->lock, UINT64_MAX);
	w->doomed = TAILQ_FIRST(&c->removals);
	if (!w->doomed)
		w->used = TAILQ_FIRST(&c->uses);
	if (!w->doomed && !w->used)
		w->b = TAILQ_FIRST(&c->writes);
	if (w->used) {
		TAILQ_REMOVE(&c->uses, w->used, cached.use);
		c->nuses--;
		w->used->cached.in_use = false;
	}
	if (w->b)
		TAILQ_REMOVE(&c->writes, w->b, cache_link);
	scout_unlock(&c->lock);
	return w->doomed || w->used || w->b;
}

static void *write_run(void *arg)
{
	struct scout_cache *c = arg;
	struct work w;

	scout_cache_begin_writing(c);
	while (next_write(c, &w)) {
		if (w.doomed)
			scout_cache_remove(c, w.doomed);
		else if (w.used)
			scout_cache_touch(c, w.used);
		else
			scout_cache_write_turn(c, w.b);
	}
	scout_cache_end_writing(c);
	end(c, &c->writing);
	return NULL;
}

/* ---- life ---- */

static int cache_new(struct scout_models *m, int dir)
{
	struct scout_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->m = m;
	c->dir = dir;
	c->joined = -1;
	c->writes_max = m->memory / SCOUT_BUF_BYTES / WRITES_DIVISOR;
	if (c->writes_max == 0)
		c->writes_max = 1;
	c->patience_ns = PATIENCE_NS;
	scout_mutex_init(&c->lock, SCOUT_LOCK_LEAF);
	scout_cond_init(&c->wake_watcher);
	scout_cond_init(&c->ended);
	scout_cond_init(&c->wake_reader);
	scout_cond_init(&c->wake_writer);
	TAILQ_INIT(&c->urgent);
	TAILQ_INIT(&c->bulk);
	TAILQ_INIT(&c->writes);
	TAILQ_INIT(&c->removals);
	TAILQ_INIT(&c->uses);
	m->cache = c;
	return 0;
}

static int start_threads(struct scout_cache *c)
{
	int err;

	c->reading = c->writing = true;
	err = scout_thread_start(&c->reader, "cache-read", read_run, c);
	if (err < 0)
		return err;
	c->read_started = true;
	err = scout_thread_start(&c->writer, "cache-write", write_run, c);
	if (err < 0)
		return err;
	c->write_started = true;
	err = scout_thread_start(&c->watcher, "cache-watch", watch_run, c);
	c->watch_started = err == 0;
	return err;
}

int scout_cache_start(struct scout_models *m)
{
	const char *path = m->config->cache_dir;
	int dir, err;

	if (!path)
		return 0;
	dir = scout_open_own_dir(path, true);
	if (dir < 0) {
		scout_error("models: cache_dir %s: %s", path, scout_own_dir_reason(dir));
		return dir;
	}
	err = cache_new(m, dir);
	if (err < 0) {
		close(dir);
		return err;
	}
	err = start_threads(m->cache);
	if (err < 0)
		scout_error("models: no thread for the disk cache");
	return err;
}

/* Returns whether it has not ended, and is not joined. */
static bool join(struct scout_cache *c, pthread_t thread, const bool *running)
{
	uint64_t until_ns = scout_cond_now_ns() + c->patience_ns;
	bool in_time = true, hangs;

	scout_lock(&c->lock);
	while (*running && in_time)
		in_time = scout_cond_wait(&c->ended, &c->lock, until_ns);
	hangs = *running;
	scout_unlock(&c->lock);
	if (hangs)
		scout_error("models: cache_dir %s: its disk hangs: not waiting for it",
			    c->m->config->cache_dir);
	else
		pthread_join(thread, NULL);
	return hangs;
}

void scout_cache_stop_reading(struct scout_models *m)
{
	struct scout_fetch_list left = TAILQ_HEAD_INITIALIZER(left);
	struct scout_cache *c = m->cache;
	struct scout_fetch *f;

	if (!c || !c->read_started)
		return;
	scout_lock(&c->lock);
	c->stop_reader = true;
	pthread_cond_signal(&c->wake_reader);
	pthread_cond_signal(&c->wake_watcher);
	scout_unlock(&c->lock);
	if (c->watch_started)
		pthread_join(c->watcher, NULL); /* it has no disk */
	c->watch_started = false;
	c->read_started = join(c, c->reader, &c->reading);
	scout_lock(&c->lock);
	TAILQ_CONCAT(&left, &c->urgent, link);
	TAILQ_CONCAT(&left, &c->bulk, link);
	scout_unlock(&c->lock);
	while ((f = TAILQ_FIRST(&left))) {
		TAILQ_REMOVE(&left, f, link);
		f->call.done(&f->call, -ESHUTDOWN);
	}
}

void scout_cache_stop(struct scout_models *m)
{
	struct scout_cache *c = m->cache;

	if (!c || !c->write_started)
		return;
	scout_lock(&c->lock);
	c->stop = true;
	c->stop_ns = scout_now_ns() + DRAIN_NS;
	pthread_cond_signal(&c->wake_writer);
	scout_unlock(&c->lock);
	c->write_started = join(c, c->writer, &c->writing);
}

bool scout_cache_hangs(const struct scout_models *m)
{
	const struct scout_cache *c = m->cache;

	return c && (c->read_started || c->write_started);
}

void scout_cache_free(struct scout_models *m)
{
	struct scout_cache *c = m->cache;

	if (!c)
		return;
	assert(TAILQ_EMPTY(&c->urgent) && TAILQ_EMPTY(&c->bulk) && TAILQ_EMPTY(&c->writes));
	pthread_cond_destroy(&c->ended);
	pthread_cond_destroy(&c->wake_watcher);
	pthread_cond_destroy(&c->wake_reader);
	pthread_cond_destroy(&c->wake_writer);
	scout_mutex_destroy(&c->lock);
	close(c->dir);
	free(c);
	m->cache = NULL;
}

void scout_cache_init(const struct scout_models *m, struct scout_object *o)
{
	const struct scout_models_config *config = m->config;

	if (m->cache && o->etag[0] && o->cut.bytes > 0 && o->cut.bytes <= OBJECT_MAX)
		o->cached.able =
		    scout_cache_id_make(&o->cached.id, config->endpoint, config->bucket, o->s3_key,
					o->s3_version_id, o->etag, o->cut.bytes) == 0;
}

void scout_cache_end(struct scout_object *o)
{
	free(o->cached.segments);
}

/* ---- the report ---- */

void scout_cache_status(struct scout_models *m, struct scout_text *out)
{
	struct scout_cache *c = m->cache;
	char a[32], b[32], path[256];
	int off;

	if (!c)
		return;
	off = atomic_load(&c->off);
	scout_text_printf(out, "  disk cache   %s",
			  scout_format_name(path, sizeof(path), m->config->cache_dir));
	if (off)
		scout_text_printf(out, ": off%s: %s\n", off_words(c), strerror(off));
	else
		scout_text_printf(out, ": %s of %s\n",
				  scout_format_bytes(a, atomic_load(&c->usage_bytes)),
				  scout_format_bytes(b, m->config->cache_size));
	scout_text_printf(out,
			  "  its blocks   %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64
			  " written, %" PRIu64 " not (too many at once), %" PRIu64 " bad\n",
			  scout_counted(&c->hits), scout_counted(&c->misses),
			  scout_counted(&c->written), scout_counted(&c->skipped),
			  scout_counted(&c->bad));
}

static void metric(struct scout_text *out, const char *name, const char *type, const char *help,
		   uint64_t value)
{
	scout_metric_head(out, name, type, help);
	scout_metric(out, name, "", value);
}

void scout_cache_metrics(struct scout_models *m, struct scout_text *out)
{
	struct scout_cache *c = m->cache;
	size_t waiting;

	if (!c)
		return;
	scout_lock(&c->lock);
	waiting = c->nwrites;
	scout_unlock(&c->lock);
	metric(out, "scoutfs_cache_on", "gauge", "Whether the disk cache takes what S3 sends.",
	       atomic_load(&c->off) == 0);
	metric(out, "scoutfs_cache_bytes", "gauge", "What the disk cache holds, when last counted.",
	       atomic_load(&c->usage_bytes));
	metric(out, "scoutfs_cache_bytes_max", "gauge", "What it may hold.", m->config->cache_size);
	metric(out, "scoutfs_cache_hits_total", "counter", "Blocks that came from the disk.",
	       scout_counted(&c->hits));
	metric(out, "scoutfs_cache_misses_total", "counter", "Blocks that S3 was asked for.",
	       scout_counted(&c->misses));
	metric(out, "scoutfs_cache_written_total", "counter", "Blocks written to the disk.",
	       scout_counted(&c->written));
	metric(out, "scoutfs_cache_waiting", "gauge", "Blocks that wait to be written.", waiting);
	metric(out, "scoutfs_cache_skipped_total", "counter",
	       "Blocks not written, for too many waited, or others made room or were enough.",
	       scout_counted(&c->skipped));
	metric(out, "scoutfs_cache_evictions_total", "counter",
	       "Files that made room, of up to 64 blocks each.", scout_counted(&c->evictions));
	metric(out, "scoutfs_cache_bad_blocks_total", "counter",
	       "Blocks on the disk that were not as they were written.", scout_counted(&c->bad));
}
