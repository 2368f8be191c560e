/* Writing to the registry, when [models] says read_only = no: the reading backend's operations with others
 * before them. What is being written is upload.c's, folders are publish_dir.c's, and everything else goes
 * on to the reading backend.
 *
 * An object is made once, whole, and never changed: a file can be created and written from its start to its
 * end, with holes, replaced where `overwrite` says so, and removed where `delete` does. */
#include "models/publish.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/changes.h"
#include "models/keys.h"
#include "models/leftovers.h"
#include "models/versions.h"
#include "models/zip.h"
#include "scoutfs/clock.h"
#include "scoutfs/log.h"

#define MIN_PART_BUFS 20 /* S3 takes parts of 5 MiB and more, but for the last */
#define SHARE_DIVISOR 2
#define POOL_DIVISOR 4
#define COPIES_DIVISOR 8 /* of the pool */
#define MIN_COPIES 4     /* of the least memory's share that is what its one part leaves */
#define NOW_S 10         /* a time that near is now */

/* ---- handles: that of an upload has the lowest bit set ---- */

static void *handle_of(struct scout_upload *u)
{
	return (char *)u + 1;
}

static struct scout_upload *upload_of(void *handle)
{
	uintptr_t bits = (uintptr_t)handle;

	return bits & 1 ? (struct scout_upload *)(bits - 1) : NULL;
}

int scout_publish_refuses(const struct scout_models *m, const char *path)
{
	return scout_versions_cut(m, path) > 0 || scout_zip_claims(m, path) ? -EROFS : 0;
}

/* ---- attributes ---- */

/* The upload by its handle or, of a new name, by its path; referenced, or NULL. A reader's handle is of an
 * object. */
static struct scout_upload *find(struct scout_publisher *pub, const char *path, void *handle)
{
	struct scout_upload *u = upload_of(handle);

	if (u)
		scout_upload_ref(u);
	else if (path && !handle)
		u = scout_upload_find(pub, path);
	if (u && !handle && !scout_upload_has_name(u)) {
		scout_upload_unref(u); /* until it is closed, the name is the older object's */
		u = NULL;
	}
	return u;
}

static void publish_getattr(void *self, const char *path, void *handle, struct scout_req *req)
{
	struct scout_models *m = self;
	struct scout_upload *u = find(m->publisher, path, handle);
	struct scout_result res = {.ttl_ms = 0};

	if (u) {
		scout_upload_attr(u, &res.attr);
		scout_upload_unref(u);
		scout_req_done(req, 0, &res);
	} else if (!path) {
		scout_req_done(req, -ESTALE, NULL);
	} else if (scout_changes_find(m->publisher, path) == SCOUT_CHANGE_FOLDER) {
		res.ttl_ms = SCOUT_TTL_MS;
		scout_models_dir_attr(m, &res.attr);
		scout_req_done(req, 0, &res);
	} else {
		m->publisher->below->getattr(self, path, handle, req);
	}
}

struct setting {
	struct scout_req base; /* a getattr */
	struct scout_req *req;
	struct scout_setattr change;
	struct scout_upload *upload; /* referenced; NULL: it is not being written */
};

static bool is_now(const struct timespec *when)
{
	int64_t now = (int64_t)(scout_wall_ns() / SCOUT_NS_PER_S), t = when->tv_sec;

	return t > now - NOW_S && t < now + NOW_S;
}

/* S3 keeps no modes, owners and times: what they are already may be asked for, and of a file that is being
 * written the time that it will have, and to become larger. */
static int judge_change(const struct setting *s, const struct scout_attr *attr)
{
	const struct scout_setattr *c = &s->change;
	bool writing = s->upload;

	if ((c->set & SCOUT_SET_SIZE) && (!writing || c->size < attr->size))
		return -EOPNOTSUPP;
	if ((c->set & SCOUT_SET_MODE) && c->mode != (attr->mode & 07777))
		return -EPERM;
	if ((c->set & SCOUT_SET_UID) && c->uid != attr->uid)
		return -EPERM;
	if ((c->set & SCOUT_SET_GID) && c->gid != attr->gid)
		return -EPERM;
	if ((c->set & SCOUT_SET_ATIME) && !(writing && is_now(&c->atime)))
		return -EPERM;
	if ((c->set & SCOUT_SET_MTIME) && !(writing && is_now(&c->mtime)))
		return -EPERM;
	return 0;
}

static void got_attr(struct scout_req *base, int err, const struct scout_result *res)
{
	struct setting *s = (struct setting *)base;
	struct scout_result ours = {.ttl_ms = 0};

	if (!err)
		err = judge_change(s, &res->attr);
	if (!err) {
		ours.ttl_ms = res->ttl_ms;
		ours.changed.attr = res->attr;
		ours.changed.was = res->attr.version;
	}
	if (!err && (s->change.set & SCOUT_SET_SIZE) && s->change.size > res->attr.size) {
		err = scout_upload_grow(s->upload, s->change.size);
		ours.changed.attr.size = s->change.size;
	}
	if (s->upload)
		scout_upload_unref(s->upload);
	scout_req_done(s->req, err, err ? NULL : &ours);
	free(s);
}

static void publish_setattr(void *self, const char *path, void *handle,
			    const struct scout_setattr *change, struct scout_req *req)
{
	struct scout_models *m = self;
	struct scout_upload *u;
	struct setting *s;

	if (path && !*path && !(change->set & ~(SCOUT_SET_ATIME | SCOUT_SET_MTIME))) {
		m->publisher->below->setattr(self, path, handle, change, req); /* touch(1) */
		return;
	}
	if (path && scout_publish_refuses(m, path)) {
		scout_req_done(req, -EROFS, NULL);
		return;
	}
	u = find(m->publisher, path, handle);
	s = calloc(1, sizeof(*s));
	if (s) {
		*s = (struct setting){
		    .base = {.done = got_attr}, .req = req, .change = *change, .upload = u};
		publish_getattr(self, path, handle, &s->base);
	} else {
		if (u)
			scout_upload_unref(u);
		scout_req_done(req, -ENOMEM, NULL);
	}
}

static void publish_access(void *self, const char *path, int mask, struct scout_req *req)
{
	int err = mask & W_OK ? scout_publish_refuses(self, path) : 0;
	struct scout_result res = {.ttl_ms = 0};

	/* of all else S3 decides when it is done */
	scout_req_done(req, err, err ? NULL : &res);
}

/* ---- open, create ---- */

struct beginning {
	struct scout_asker asker;
	struct scout_upload *upload;
	struct scout_req *req;
	bool exclusive; /* it must be new */
	bool there;     /* it must not */
	int flags;
};

static int judge_name(const struct beginning *b, const struct scout_answer *answer)
{
	if (answer->kind == SCOUT_DIR)
		return -EISDIR;
	if (answer->kind == SCOUT_MISSING)
		return b->there ? -ENOENT : 0;
	if (b->exclusive)
		return -EEXIST;
	return b->flags & O_TRUNC ? 0 : -EOPNOTSUPP; /* objects do not change */
}

static void named(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct beginning *b = (struct beginning *)a;
	struct scout_result res = {.ttl_ms = 0};
	struct scout_upload *u = b->upload;

	if (!err)
		err = judge_name(b, answer);
	if (!err && scout_req_unwanted(b->req))
		err = -EINTR;
	if (err) {
		scout_upload_forget(u); /* first: who is refused may try again at once */
		scout_req_done(b->req, err, NULL);
	} else {
		res.open.replaces = answer->kind == SCOUT_FILE;
		scout_upload_opened(u, b->flags, res.open.replaces ? answer : NULL);
		res.open.handle = handle_of(u);
		res.open.direct_io = true;
		scout_upload_attr(u, &res.open.attr);
		scout_req_done(b->req, 0, &res);
	}
	free(b);
}

static void begin(struct scout_models *m, const char *path, int flags, bool there,
		  struct scout_req *req)
{
	struct scout_publisher *pub = m->publisher;
	struct beginning *b = calloc(1, sizeof(*b));
	int err = b ? scout_publish_refuses(m, path) : -ENOMEM;

	if (strlen(m->config->prefix) + strlen(path) > SCOUT_KEY_MAX)
		err = -ENAMETOOLONG;
	if (!err)
		err = scout_upload_new(pub, path, &b->upload);
	if (err) {
		free(b);
		scout_req_done(req, err, NULL);
		return;
	}
	b->asker.answered = named;
	b->req = req;
	b->exclusive = flags & O_EXCL || !m->config->overwrite;
	b->there = there;
	b->flags = flags;
	scout_question_ask(m, SCOUT_ASK_NAME, path, &b->asker);
}

/* What its name stands for is not there yet. */
static bool is_being_written(struct scout_models *m, const char *path)
{
	struct scout_upload *u = find(m->publisher, path, NULL);

	if (u)
		scout_upload_unref(u);
	return u;
}

static void publish_open(void *self, const char *path, int flags, struct scout_req *req)
{
	struct scout_models *m = self;
	bool reads = (flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC);

	if (reads && is_being_written(m, path))
		scout_req_done(req, -ENOENT, NULL);
	else if (reads)
		m->publisher->below->open(self, path, flags, req);
	else if (scout_publish_refuses(m, path))
		scout_req_done(req, -EROFS, NULL);
	else if (!(flags & O_TRUNC) || (flags & O_ACCMODE) == O_RDONLY)
		scout_req_done(req, -EOPNOTSUPP, NULL); /* objects do not change */
	else if (!m->config->overwrite)
		scout_req_done(req, -EEXIST, NULL);
	else
		begin(m, path, flags & ~O_EXCL, true, req);
}

static void publish_create(void *self, const char *path, mode_t mode, int flags,
			   struct scout_req *req)
{
	(void)mode; /* S3 keeps none */
	begin(self, path, flags, false, req);
}

static void publish_read(void *self, void *handle, uint64_t offset, size_t size, uint64_t version,
			 struct scout_req *req)
{
	struct scout_models *m = self;

	if (upload_of(handle))
		scout_req_done(req, -EOPNOTSUPP, NULL);
	else
		m->publisher->below->read(self, handle, offset, size, version, req);
}

static void publish_write(void *self, void *handle, uint64_t offset, const void *data, size_t size,
			  struct scout_req *req)
{
	struct scout_upload *u = upload_of(handle);

	(void)self;
	if (u)
		scout_upload_write(u, offset, data, size, req);
	else
		scout_req_done(req, -EBADF, NULL);
}

static void publish_flush(void *self, void *handle, struct scout_req *req)
{
	struct scout_upload *u = upload_of(handle);
	struct scout_result res = {.ttl_ms = 0};

	(void)self;
	if (u)
		scout_upload_flush(u, req);
	else
		scout_req_done(req, 0, &res);
}

static void publish_fsync(void *self, void *handle, struct scout_req *req)
{
	struct scout_result res = {.ttl_ms = 0};
	int err = upload_of(handle) ? -EINVAL : 0; /* before it is published S3 keeps nothing */

	(void)self;
	scout_req_done(req, err, err ? NULL : &res);
}

static void publish_release(void *self, void *handle)
{
	struct scout_models *m = self;
	struct scout_upload *u = upload_of(handle);

	if (u)
		scout_upload_release(u);
	else
		m->publisher->below->release(self, handle);
}

/* ---- unlink, rename ---- */

struct removing {
	struct scout_s3_call call;
	struct scout_asker asker;
	struct scout_publisher *pub;
	struct scout_req *req;
	char *key;
	char path[];
};

/* Who asks from now on hears that it is gone. */
static void seen_gone(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct removing *r = (struct removing *)((char *)a - offsetof(struct removing, asker));
	struct scout_result res = {.ttl_ms = 0};

	if (err)
		scout_question_tell(r->pub->m, r->path, NULL);
	if (err || answer->kind == SCOUT_MISSING)
		scout_changes_removed(r->pub, r->path);
	scout_req_done(r->req, 0, &res);
	free(r->key);
	free(r);
}

static void removed(struct scout_s3_call *call, int err)
{
	struct removing *r = (struct removing *)call;

	if (!err) {
		scout_question_drop_parents(r->pub->m, r->path);
		r->asker.answered = seen_gone;
		scout_question_ask(r->pub->m, SCOUT_ASK_ANEW, r->path, &r->asker);
		return;
	}
	scout_req_done(r->req, err, NULL);
	free(r->key);
	free(r);
}

static void publish_unlink(void *self, const char *path, struct scout_req *req)
{
	struct scout_models *m = self;
	struct scout_upload *u = scout_upload_find(m->publisher, path);
	size_t len = strlen(path) + 1;
	struct removing *r = NULL;
	int err = scout_publish_refuses(m, path);

	if (!err && !m->config->delete)
		err = -EPERM;
	if (u) {
		scout_upload_unref(u);
		err = -EBUSY;
	}
	if (!err)
		r = calloc(1, sizeof(*r) + len);
	if (r)
		r->key = scout_models_key(m, path, "");
	if (err || !r || !r->key) {
		free(r);
		scout_req_done(req, err ? err : -ENOMEM, NULL);
		return;
	}
	r->pub = m->publisher;
	r->req = req;
	memcpy(r->path, path, len);
	r->call = (struct scout_s3_call){.op = SCOUT_S3_DELETE, .key = r->key, .done = removed};
	scout_s3_submit(m->s3, &r->call);
}

/* As between two filesystems: mv(1) then copies. */
static void publish_rename(void *self, const char *path, const char *newpath, unsigned flags,
			   struct scout_req *req)
{
	bool shown = scout_publish_refuses(self, path) || scout_publish_refuses(self, newpath);

	(void)flags;
	scout_req_done(req, shown ? -EROFS : -EXDEV, NULL);
}

static void publish_mknod(void *self, const char *path, mode_t mode, dev_t rdev,
			  struct scout_req *req)
{
	(void)mode, (void)rdev;
	scout_req_done(req, scout_publish_refuses(self, path) ? -EROFS : -EPERM, NULL);
}

/* symlink(2), link(2) */
static void publish_no_link(void *self, const char *from, const char *path, struct scout_req *req)
{
	(void)from;
	scout_req_done(req, scout_publish_refuses(self, path) ? -EROFS : -EPERM, NULL);
}

/* ---- the whole ---- */

static void no_wait(struct scout_waiter *w, void *buf)
{
	(void)w, (void)buf;
	assert(!"at the start there are tickets");
}

static size_t atleast(size_t n, size_t low)
{
	return n > low ? n : low;
}

/* At the start all tickets are there, and none is waited for. */
static void take_tickets(struct scout_publisher *pub)
{
	size_t want = (pub->pool + pub->copies_max + SCOUT_READ_BUFS - 1) / SCOUT_READ_BUFS;
	struct scout_waiter w = {.granted = no_wait};

	while (pub->tickets < want && scout_ticket_get(pub->share, &w))
		pub->tickets++;
	if (pub->tickets < want)
		(void)scout_waiter_cancel(pub->share, &w);
	pub->pool = pub->tickets * SCOUT_READ_BUFS - pub->copies_max;
}

int scout_publisher_new(struct scout_models *m, const struct scout_backend_ops *below)
{
	struct scout_publisher *pub = calloc(1, sizeof(*pub));
	struct scout_budget_stats memory;
	size_t quarter;

	if (!pub)
		goto no_memory;
	pub->m = m;
	if (scout_share_new(m->budget, SHARE_DIVISOR, &pub->share) < 0)
		goto no_memory;
	if (scout_leftovers_new(pub) < 0)
		goto no_memory;
	scout_budget_stats(m->budget, &memory);
	quarter = atleast(memory.limit_bytes / SCOUT_BUF_BYTES / POOL_DIVISOR, MIN_PART_BUFS);
	pub->part_bufs = atleast(m->config->part_size / SCOUT_BUF_BYTES, MIN_PART_BUFS);
	if (pub->part_bufs > quarter)
		pub->part_bufs = quarter;
	pub->pool = quarter;
	pub->copies_max = atleast(quarter / COPIES_DIVISOR, MIN_COPIES);
	take_tickets(pub);
	assert(pub->pool >= pub->part_bufs); /* memory is 16M at least */
	pub->spare = pub->pool;
	scout_mutex_init(&pub->lock, SCOUT_LOCK_LRU);
	scout_cond_init(&pub->settled);
	TAILQ_INIT(&pub->all);
	TAILQ_INIT(&pub->queue);
	pub->below = below;
	pub->ops = *below;
	pub->ops.replaces = true;
	pub->ops.getattr = publish_getattr;
	pub->ops.open = publish_open;
	pub->ops.read = publish_read;
	pub->ops.release = publish_release;
	pub->ops.opendir = scout_publish_opendir;
	pub->ops.readdir = scout_publish_readdir;
	pub->ops.releasedir = scout_publish_releasedir;
	pub->ops.setattr = publish_setattr;
	pub->ops.create = publish_create;
	pub->ops.mkdir = scout_publish_mkdir;
	pub->ops.mknod = publish_mknod;
	pub->ops.symlink = publish_no_link;
	pub->ops.link = publish_no_link;
	pub->ops.unlink = publish_unlink;
	pub->ops.rmdir = scout_publish_rmdir;
	pub->ops.rename = publish_rename;
	pub->ops.write = publish_write;
	pub->ops.flush = publish_flush;
	pub->ops.fsync = publish_fsync;
	pub->ops.access = publish_access;
	m->publisher = pub;
	scout_leftovers_start(pub->unended);
	return 0;
no_memory:
	scout_error("models: no memory");
	if (pub)
		scout_share_free(pub->share);
	free(pub);
	return -ENOMEM;
}

void scout_publisher_stop(struct scout_publisher *pub)
{
	if (pub)
		scout_upload_stop_all(pub);
}

void scout_publisher_free(struct scout_publisher *pub)
{
	if (!pub)
		return;
	assert(TAILQ_EMPTY(&pub->all));
	scout_changes_destroy(pub);
	scout_leftovers_free(pub->unended);
	for (size_t i = 0; i < pub->tickets; i++)
		scout_ticket_put(pub->share);
	scout_share_free(pub->share);
	pthread_cond_destroy(&pub->settled);
	scout_mutex_destroy(&pub->lock);
	free(pub);
}

void scout_publisher_status(struct scout_publisher *pub, struct scout_text *out)
{
	char bytes[32];

	scout_text_printf(out, "  published    %" PRIu64 " objects, %s, %" PRIu64 " failed\n",
			  scout_counted(&pub->published),
			  scout_format_bytes(bytes, scout_counted(&pub->bytes)),
			  scout_counted(&pub->failed));
	scout_upload_report(pub, out);
	scout_leftovers_report(pub->unended, out);
}

void scout_publisher_metrics(struct scout_publisher *pub, struct scout_text *out)
{
	scout_metric_head(out, "scoutfs_models_published_total", "counter", "Objects published.");
	scout_metric(out, "scoutfs_models_published_total", "", scout_counted(&pub->published));
	scout_metric_head(out, "scoutfs_models_published_bytes_total", "counter",
			  "Bytes of objects published.");
	scout_metric(out, "scoutfs_models_published_bytes_total", "", scout_counted(&pub->bytes));
	scout_metric_head(out, "scoutfs_models_unpublished_total", "counter",
			  "Files that were written and not published.");
	scout_metric(out, "scoutfs_models_unpublished_total", "", scout_counted(&pub->failed));
}
