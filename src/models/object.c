/* The table of objects: one struct for each version of a key that is open or has cached blocks, so
 * bounded by the handles and the memory there are. Handles of one version share it; what of it is
 * fetched ahead, and how long, is by the windows of them all.
 *
 * m->objects_lock for the table. Counting is atomic, but the last reference goes under that lock, so
 * that what is found in the table is alive. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/block.h"
#include "models/cache.h"
#include "models/read.h"
#include "models/versions.h"
#include "scoutfs/clock.h"
#include "scoutfs/hash.h"

/* Where S3's answers begin so late, each connection is slow. */
#define FAR_NS (5 * SCOUT_NS_PER_MS)
/* Where they begin sooner than this, no part is longer: the pauses between parts are short there, and Ceph's gateway,
 * which takes memory from the system for each piece of 4 MiB, has half the work with shorter ones. */
#define NEAR_NS (30 * SCOUT_NS_PER_MS)
#define NEAR_PART_BYTES ((size_t)3 * 1024 * 1024)

/* Who has read nothing for so long, but has the file open, has stopped; and how often such are looked for. */
#define STOPPED_NS (5 * SCOUT_NS_PER_S)
#define LOOK_NS SCOUT_NS_PER_S

static void object_free(struct scout_object *o)
{
	assert(!o->blocks && TAILQ_EMPTY(&o->readers));
	scout_verify_end(o);
	scout_cache_end(o);
	scout_mutex_destroy(&o->lock);
	free(o->key);
	free(o->s3_key);
	free(o->s3_version_id);
	free(o);
}

static size_t longest_part(const struct scout_models *m, uint64_t distance_ns)
{
	bool shorter = distance_ns < NEAR_NS && m->config->part_size > NEAR_PART_BYTES;

	return shorter ? NEAR_PART_BYTES : m->config->part_size;
}

static size_t longest_window(const struct scout_models *m)
{
	return m->config->read_window < m->ahead_memory ? m->config->read_window : m->ahead_memory;
}

static struct scout_object *object_new(struct scout_models *m, const char *path,
				       const struct scout_answer *answer)
{
	struct scout_object *o = calloc(1, sizeof(*o));
	uint64_t distance_ns = scout_s3_distance_ns(m->s3);

	if (!o)
		return NULL;
	o->key = scout_models_key(m, path, "");
	if (!o->key || scout_versions_key(m, path, &o->s3_key, &o->s3_version_id) < 0) {
		free(o->key);
		free(o);
		return NULL;
	}
	atomic_init(&o->refs, 1);
	memcpy(o->etag, answer->etag, sizeof(o->etag));
	o->modified = answer->modified;
	o->version = answer->version;
	scout_verify_init(m, o, answer);
	scout_cut_make(&o->cut, answer->bytes, longest_part(m, distance_ns), longest_window(m),
		       distance_ns >= FAR_NS && o->verify.want.kind != SCOUT_S3_NO_CHECKSUM);
	scout_cache_init(m, o);
	scout_mutex_init(&o->lock, SCOUT_LOCK_OBJECT);
	TAILQ_INIT(&o->readers);
	TAILQ_INIT(&o->files);
	return o;
}

static bool same(const struct scout_object *o, const struct scout_answer *answer)
{
	return o->version == answer->version && o->cut.bytes == answer->bytes &&
	       strcmp(o->etag, answer->etag) == 0;
}

static void unlist_locked(struct scout_models *m, struct scout_object *o)
{
	if (o->listed)
		HASH_DEL(m->objects, o);
	o->listed = false;
}

static void join_locked(struct scout_models *m, struct scout_object *o,
			struct scout_models_file *file)
{
	file->object = o;
	TAILQ_INSERT_TAIL(&o->files, file, link);
	o->read_ns = scout_now_ns();
	scout_cache_used_locked(m, o, o->read_ns);
}

/* Makes file a handle of the one that is this version, or takes what stands in its way out of the
 * table: false. */
static bool find_locked(struct scout_models *m, const char *key, const struct scout_answer *answer,
			struct scout_models_file *file)
{
	struct scout_object *o;

	HASH_FIND_STR(m->objects, key, o);
	if (!o)
		return false;
	scout_lock(&o->lock);
	if (same(o, answer)) {
		join_locked(m, o, file);
		scout_unlock(&o->lock);
		scout_object_ref(o);
		return true;
	}
	o->changed = true;
	scout_unlock(&o->lock);
	unlist_locked(m, o);
	return false;
}

int scout_object_open(struct scout_models *m, const char *path, const struct scout_answer *answer,
		      struct scout_models_file *file)
{
	struct scout_object *made = object_new(m, path, answer);
	bool found;

	if (!made)
		return -ENOMEM;
	scout_lock(&m->objects_lock);
	found = find_locked(m, made->key, answer, file);
	if (!found) {
		join_locked(m, made, file);
		HASH_ADD_KEYPTR(hh, m->objects, made->key, strlen(made->key), made);
		made->listed = made->hh.tbl != NULL; /* else it works, but is not shared */
	}
	scout_unlock(&m->objects_lock);
	if (found)
		object_free(made);
	return 0;
}

bool scout_object_wants_locked(const struct scout_object *o, uint64_t from, uint64_t end)
{
	const struct scout_models_file *file;

	if (scout_run_wants(&o->run, from, end))
		return true;
	TAILQ_FOREACH (file, &o->files, link) {
		if (scout_run_wants(&file->run, from, end))
			return true;
	}
	return false;
}

void scout_object_close_window_locked(struct scout_models *m, struct scout_object *o,
				      const struct scout_run *old)
{
	if (old->ahead > old->high && !scout_object_wants_locked(o, old->high, old->ahead))
		scout_block_unwanted_locked(m, o, old->high, old->ahead);
}

static void stop_locked(struct scout_models *m, struct scout_object *o)
{
	struct scout_models_file *file;

	scout_run_stop(&o->run);
	TAILQ_FOREACH (file, &o->files, link)
		scout_run_stop(&file->run);
	scout_block_unwanted_locked(m, o, 0, o->cut.bytes);
}

void scout_object_look_for_stopped(struct scout_models *m)
{
	uint64_t now_ns = scout_now_ns(), last_ns = atomic_load(&m->looked_ns);
	struct scout_object *o, *next;

	if (now_ns - last_ns < LOOK_NS ||
	    !atomic_compare_exchange_strong(&m->looked_ns, &last_ns, now_ns))
		return;
	scout_lock(&m->objects_lock);
	HASH_ITER (hh, m->objects, o, next) {
		scout_lock(&o->lock);
		if (o->ahead > 0 && TAILQ_EMPTY(&o->readers) && o->read_ns + STOPPED_NS <= now_ns)
			stop_locked(m, o);
		scout_unlock(&o->lock);
	}
	scout_unlock(&m->objects_lock);
}

void scout_object_close(struct scout_models *m, struct scout_models_file *file)
{
	struct scout_object *o = file->object;

	scout_lock(&o->lock);
	TAILQ_REMOVE(&o->files, file, link);
	o->left_ns = scout_now_ns();
	/* who comes next may go on from where this one was, who read last: the kernel has the rest */
	if (TAILQ_EMPTY(&o->files) || (file->run.high == o->run.high && TAILQ_EMPTY(&o->readers)))
		o->run.ahead = 0;
	scout_object_close_window_locked(m, o, &file->run);
	if (TAILQ_EMPTY(&o->files))
		scout_block_unwanted_locked(m, o, 0, o->cut.bytes);
	scout_unlock(&o->lock);
	scout_object_unref(m, o);
}

void scout_object_ref(struct scout_object *o)
{
	atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
}

void scout_object_unref(struct scout_models *m, struct scout_object *o)
{
	unsigned refs = atomic_load(&o->refs);
	bool last;

	while (refs > 1) {
		if (atomic_compare_exchange_weak(&o->refs, &refs, refs - 1))
			return;
	}
	scout_lock(&m->objects_lock);
	last = atomic_fetch_sub(&o->refs, 1) == 1;
	if (last)
		unlist_locked(m, o);
	scout_unlock(&m->objects_lock);
	if (last)
		object_free(o);
}

uint64_t scout_object_id(const struct scout_object *o)
{
	return scout_hash(o->version, o->key, strlen(o->key));
}

void scout_object_forget(struct scout_models *m, struct scout_object *o)
{
	scout_cache_forget(m, o); /* before anybody opens it anew */
	scout_lock(&m->objects_lock);
	unlist_locked(m, o);
	scout_unlock(&m->objects_lock);
}

bool scout_object_change(struct scout_models *m, struct scout_object *o)
{
	const char *path = o->key + strlen(m->config->prefix);
	struct scout_answer answer;
	bool news;

	scout_lock(&m->objects_lock);
	unlist_locked(m, o);
	scout_lock(&o->lock);
	news = !o->changed;
	o->changed = true;
	scout_unlock(&o->lock);
	scout_unlock(&m->objects_lock);
	/* a newer one may be known already */
	if (news && scout_question_known(m, path, 0, &answer) && answer.version == o->version)
		scout_question_drop(m, path);
	return news;
}
