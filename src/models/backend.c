/* /models: every object under the bucket's prefix as a read-only file at its key.
 *
 * Names come from the catalogue (catalogue.c) while it is there, else from S3 directly (question.c);
 * what S3 was asked directly since the listing began is the newer truth. An open is always checked
 * with S3, so that new readers get new bytes. Bytes come through read.c.
 *
 * Nothing here waits: a request is answered from memory, or by the completion of a call to the engine.
 * Locks are in the files that own what they guard. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/block.h"
#include "models/cache.h"
#include "models/catalogue.h"
#include "models/first.h"
#include "models/models.h"
#include "models/publish.h"
#include "models/question.h"
#include "models/read.h"
#include "models/versions.h"
#include "models/zip.h"
#include "scoutfs/clock.h"
#include "scoutfs/file.h"
#include "scoutfs/log.h"

/* /hosts must keep memory when the registry is slow. */
#define SHARE_DIVISOR 2
#define SMALL_DIVISOR 8
/* How long a name that is not there stays so, in the kernel and here, for who may be about to make it: he looks
 * it up several times. For all others it may be published at any moment. */
#define MISSING_NS (100 * SCOUT_NS_PER_MS)
/* What back-off between attempts may add to a request's time. */
#define BACKOFF_NS (10 * SCOUT_NS_PER_S)
#define DIRENTS 128

char *scout_models_key(const struct scout_models *m, const char *path, const char *tail)
{
	size_t prefix = strlen(m->config->prefix), len = strlen(path), end = strlen(tail) + 1;
	char *key = malloc(prefix + len + end);

	if (!key)
		return NULL;
	memcpy(key, m->config->prefix, prefix);
	memcpy(key + prefix, path, len);
	memcpy(key + prefix + len, tail, end);
	return key;
}

static void fill_attr(const struct scout_models *m, int64_t modified, struct scout_attr *ret)
{
	struct timespec when = {.tv_sec = (time_t)modified};

	*ret = (struct scout_attr){
	    .nlink = 1, .uid = m->uid, .gid = m->gid, .atime = when, .mtime = when};
}

void scout_models_file_attr(const struct scout_models *m, uint64_t bytes, int64_t modified,
			    uint64_t version, struct scout_attr *ret)
{
	fill_attr(m, modified, ret);
	ret->mode = S_IFREG | (m->config->read_only ? 0444 : 0644);
	ret->size = bytes;
	ret->version = version;
}

void scout_models_dir_attr(const struct scout_models *m, struct scout_attr *ret)
{
	fill_attr(m, m->mounted, ret);
	ret->mode = S_IFDIR | (m->config->read_only ? 0555 : 0755);
	ret->nlink = 2;
}

/* ---- getattr ---- */

struct looking {
	struct scout_asker asker;
	struct scout_models *m;
	struct scout_req *req;
};

static void node_attr(const struct scout_models *m, const struct scout_node *n,
		      struct scout_attr *ret)
{
	if (n->dir)
		scout_models_dir_attr(m, ret);
	else
		scout_models_file_attr(m, n->bytes, n->modified, n->version, ret);
}

static void answer_attr(const struct scout_models *m, const struct scout_answer *a,
			struct scout_attr *ret)
{
	if (a->kind == SCOUT_DIR)
		scout_models_dir_attr(m, ret);
	else
		scout_models_file_attr(m, a->bytes, a->modified, a->version, ret);
}

static uint64_t life_ns(const struct scout_models *m, const struct scout_answer *a)
{
	if (a->kind != SCOUT_MISSING)
		return m->config->list_ttl_ns;
	return m->config->read_only ? 0 : MISSING_NS;
}

static void reply_answer(struct scout_models *m, struct scout_req *req,
			 const struct scout_answer *a)
{
	struct scout_result res = {.ttl_ms = 0};

	if (a->kind == SCOUT_MISSING) {
		uint64_t age = scout_now_ns() - a->asked_ns, life = life_ns(m, a);

		res.ttl_ms = age < life ? (uint32_t)((life - age) / SCOUT_NS_PER_MS) : 0;
		scout_req_done(req, -ENOENT, &res);
		return;
	}
	res.ttl_ms = SCOUT_TTL_MS;
	answer_attr(m, a, &res.attr);
	scout_req_done(req, 0, &res);
}

static void looked(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct looking *l = (struct looking *)a;

	if (err < 0)
		scout_req_done(l->req, err, NULL);
	else
		reply_answer(l->m, l->req, answer);
	free(l);
}

static void look(struct scout_models *m, const char *path, struct scout_req *req)
{
	struct looking *l = malloc(sizeof(*l));

	if (!l) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	*l = (struct looking){.asker = {.answered = looked}, .m = m, .req = req};
	scout_question_ask(m, SCOUT_ASK_LOOK, path, &l->asker);
}

/* Answers from what is known; false: S3 must be asked. */
static bool reply_known(struct scout_models *m, const char *path, struct scout_req *req)
{
	struct scout_tree *tree;
	const struct scout_node *n;
	struct scout_answer answer;
	bool known = scout_catalogue_known(m, path, true, &n, &tree, &answer);

	if (known) {
		/* the tree is older still */
		n = NULL;
		known = scout_now_ns() - answer.asked_ns < life_ns(m, &answer);
		if (known)
			reply_answer(m, req, &answer);
	}
	if (n) {
		struct scout_result res = {.ttl_ms = SCOUT_TTL_MS};

		node_attr(m, n, &res.attr);
		scout_req_done(req, 0, &res);
		known = true;
	}
	scout_tree_unref(tree);
	return known;
}

static void getattr_key(struct scout_models *m, const char *path, struct scout_req *req)
{
	struct scout_result res = {.ttl_ms = SCOUT_TTL_MS};

	if (path[0] == '\0') {
		scout_models_dir_attr(m, &res.attr);
		scout_req_done(req, 0, &res);
	} else if (scout_versions_cut(m, path) > 0) {
		scout_versions_getattr(m, path, req);
	} else if (!reply_known(m, path, req)) {
		look(m, path, req);
	}
}

static void getattr(void *self, const char *path, void *handle, struct scout_req *req)
{
	(void)handle; /* a name is never taken from an object */
	scout_zip_getattr(self, path, req, getattr_key);
}

static void no_link(void *self, const char *path, struct scout_req *req)
{
	(void)self;
	(void)path;
	scout_req_done(req, -EINVAL, NULL); /* S3 has no symbolic links */
}

/* ---- open ---- */

struct opening {
	struct scout_asker asker;
	struct scout_models *m;
	struct scout_req *req;
	struct scout_first *first; /* its bytes, on their way, or NULL */
	char path[];
};

static int open_answered(struct opening *op, const struct scout_answer *answer)
{
	struct scout_models *m = op->m;
	struct scout_models_file *file;
	struct scout_result res = {.ttl_ms = 0};
	int err;

	if (answer->kind != SCOUT_FILE)
		return answer->kind == SCOUT_DIR ? -EISDIR : -ENOENT;
	if (scout_req_unwanted(op->req))
		return -EINTR;
	err = scout_models_file_open(m, op->path, answer, &file);
	if (err < 0)
		return err;
	scout_first_join(m, file->object);
	res.ttl_ms = SCOUT_TTL_MS;
	res.open.handle = file;
	res.open.pages = scout_verify_opened(m, file->object);
	answer_attr(m, answer, &res.open.attr);
	scout_req_done(op->req, 0, &res);
	return 0;
}

static void opened(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct opening *op = (struct opening *)a;

	if (err == 0)
		err = open_answered(op, answer);
	scout_first_leave(op->first);
	if (err < 0)
		scout_req_done(op->req, err, NULL);
	free(op);
}

static void open_key(struct scout_models *m, const char *path, struct scout_req *req)
{
	size_t len = strlen(path) + 1;
	struct opening *op;

	if (len == 1) {
		scout_req_done(req, -EISDIR, NULL);
		return;
	}
	op = malloc(sizeof(*op) + len);
	if (!op) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	op->asker.answered = opened;
	op->m = m;
	op->req = req;
	memcpy(op->path, path, len);
	op->first = scout_first_ask(m, path);
	scout_question_ask(m, SCOUT_ASK_ANEW, path, &op->asker);
}

static void open_file(void *self, const char *path, int flags, struct scout_req *req)
{
	(void)flags; /* only readers come here */
	scout_zip_open(self, path, req, open_key);
}

static void read_file(void *self, void *handle, uint64_t offset, size_t size, uint64_t version,
		      struct scout_req *req)
{
	struct scout_models_file *file = handle;

	if (file->member)
		scout_zip_read(self, file, offset, size, version, req);
	else
		scout_read(self, file, offset, size, version, req);
}

static void release(void *self, void *handle)
{
	struct scout_models_file *file = handle;

	if (file->member)
		scout_zip_release(self, file);
	else
		scout_models_file_close(self, file);
}

/* ---- opendir, readdir ---- */

/* An open directory; first the request for it. */
struct folder {
	enum scout_folder_kind kind; /* SCOUT_FOLDER_KEYS */
	struct scout_lister lister;
	struct scout_models *m;
	struct scout_req *req;         /* until it is open */
	struct scout_tree *tree;       /* one reference */
	const struct scout_node *node; /* in tree */
	bool alone;                    /* tree shows this directory only */
	const char *below;             /* in that: "", or a name in a folder of versions */
	char path[];
};

static void folder_free(struct folder *f)
{
	scout_tree_unref(f->tree);
	free(f);
}

/* The flat listing knows nothing of it: too new, or the keys are too many. */
static void list_alone(struct folder *f)
{
	f->alone = true;
	scout_catalogue_list(f->m, f->path, &f->lister);
}

static void folder_listed(struct scout_lister *l, int err, struct scout_tree *tree)
{
	struct folder *f = (struct folder *)((char *)l - offsetof(struct folder, lister));
	struct scout_result res = {.ttl_ms = 0};

	if (err == -E2BIG) {
		if (!f->alone) {
			list_alone(f);
			return;
		}
		err = -EFBIG;
	}
	if (err == 0) {
		f->node = scout_tree_find(tree, f->alone ? f->below : f->path);
		if (!f->node && !f->alone) {
			scout_tree_unref(tree);
			list_alone(f);
			return;
		}
		f->tree = tree;
		if (!f->node)
			err = -ENOENT;
		else if (!f->node->dir)
			err = -ENOTDIR;
	}
	if (err == 0) {
		res.open.handle = f;
		scout_req_done(f->req, 0, &res);
	} else {
		scout_req_done(f->req, err, NULL);
		folder_free(f);
	}
}

static void opendir_key(struct scout_models *m, const char *path, struct scout_req *req)
{
	size_t len = strlen(path) + 1, cut = scout_versions_cut(m, path);
	struct folder *f = calloc(1, sizeof(*f) + len);

	if (!f) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	f->lister.listed = folder_listed;
	f->m = m;
	f->req = req;
	memcpy(f->path, path, len);
	f->below = "";
	if (cut == 0) {
		scout_catalogue_list(f->m, NULL, &f->lister);
		return;
	}
	if (path[cut])
		f->below = f->path + cut + 1;
	f->path[cut] = '\0';
	list_alone(f);
}

static void open_folder(void *self, const char *path, struct scout_req *req)
{
	scout_zip_opendir(self, path, req, opendir_key);
}

/* What a newer direct answer says of the name goes over the listing, or a reader that has the newer
 * object open would see the older one's size. */
static void newest_attr(struct folder *f, const struct scout_node *n, struct scout_attr *ret)
{
	struct scout_answer answer;
	char path[SCOUT_KEY_MAX + 1];
	int len = snprintf(path, sizeof(path), "%s%s%s", f->path, *f->path ? "/" : "", n->name);

	node_attr(f->m, n, ret);
	if (len > 0 && (size_t)len < sizeof(path) &&
	    scout_question_known(f->m, path, f->tree->asked_ns, &answer) &&
	    answer.kind != SCOUT_MISSING)
		answer_attr(f->m, &answer, ret);
}

static void read_keys(struct scout_models *m, struct folder *f, uint64_t index,
		      struct scout_req *req)
{
	struct scout_dirent entries[DIRENTS];
	struct scout_result res = {.ttl_ms = SCOUT_TTL_MS};
	bool answers = scout_question_count(m) > 0;
	size_t count = 0;

	for (uint64_t i = index; i < f->node->count && count < DIRENTS; i++) {
		const struct scout_node *n = &f->node->children[i];

		entries[count].name = n->name;
		if (answers)
			newest_attr(f, n, &entries[count].attr);
		else
			node_attr(f->m, n, &entries[count].attr);
		count++;
	}
	res.dir.entries = entries;
	res.dir.count = count;
	scout_req_done(req, 0, &res);
}

static bool is_archive(const void *handle)
{
	return *(const enum scout_folder_kind *)handle == SCOUT_FOLDER_ZIP;
}

uint64_t scout_models_folder_asked_ns(const void *handle)
{
	return is_archive(handle) ? 0 : ((const struct folder *)handle)->tree->asked_ns;
}

static void read_folder(void *self, void *handle, uint64_t index, struct scout_req *req)
{
	if (is_archive(handle))
		scout_zip_readdir(self, handle, index, req);
	else
		read_keys(self, handle, index, req);
}

static void release_folder(void *self, void *handle)
{
	if (is_archive(handle))
		scout_zip_releasedir(self, handle);
	else
		folder_free(handle);
}

/* ---- the rest ---- */

static uint64_t timeout_ns(void *self, const char *path)
{
	const struct scout_models *m = self;

	(void)path;
	/* one more: its turn in the queue for a connection */
	return m->config->timeout_ns * (m->config->max_attempts + 1) + BACKOFF_NS;
}

static void statfs_models(void *self, const char *path, struct scout_req *req)
{
	/* how much a bucket holds, nobody can say */
	struct scout_result res = {.space = {
				       .f_bsize = SCOUT_BUF_BYTES,
				       .f_frsize = 4096,
				       .f_namemax = 255,
				   }};

	(void)path;
	if (((const struct scout_models *)self)->config->read_only)
		res.space.f_flag = ST_RDONLY;
	scout_req_done(req, 0, &res);
}

static void refresh(void *self)
{
	scout_catalogue_refresh(self);
}

/* touch(1) of the root: all is to be listed anew. */
static void set_attr(void *self, const char *path, void *handle, const struct scout_setattr *change,
		     struct scout_req *req)
{
	struct scout_models *m = self;
	struct scout_result res = {.ttl_ms = SCOUT_TTL_MS};

	(void)handle;
	if (*path || (change->set & ~(SCOUT_SET_ATIME | SCOUT_SET_MTIME))) {
		scout_req_done(req, -EROFS, NULL);
		return;
	}
	refresh(m);
	scout_models_dir_attr(m, &res.changed.attr);
	scout_req_done(req, 0, &res);
}

static bool reclaim(void *arg)
{
	return scout_block_evict(arg, false);
}

static void stop(void *self)
{
	struct scout_models *m = self;

	scout_publisher_stop(m->publisher);
	atomic_store(&m->stopped, true);
	scout_s3_stop(m->s3); /* every call ends, and with it who waits for it */
	scout_read_stop(m);
	scout_zip_stop(m);
	scout_cache_stop_reading(m);
	scout_verify_stop(m);
	scout_cache_stop(m);
}

static bool hangs(void *self)
{
	return scout_cache_hangs(self);
}

static void models_free(void *self)
{
	struct scout_models *m = self;

	scout_zip_destroy(m);
	scout_s3_free(m->s3);
	scout_budget_remove_reclaimer(m->budget, m);
	scout_verify_destroy(m);
	scout_publisher_free(m->publisher);
	scout_block_destroy(m);
	scout_cache_free(m);
	scout_read_destroy(m);
	scout_question_destroy(m);
	scout_catalogue_destroy(m);
	scout_share_free(m->small);
	scout_share_free(m->share);
	free(m);
}

static const struct scout_backend_ops models_ops = {
    .name = "models",
    .timeout_ns = timeout_ns,
    .getattr = getattr,
    .readlink = no_link,
    .open = open_file,
    .read = read_file,
    .release = release,
    .opendir = open_folder,
    .readdir = read_folder,
    .releasedir = release_folder,
    .getxattr = scout_zip_getxattr,
    .listxattr = scout_zip_listxattr,
    .statfs = statfs_models,
    .setattr = set_attr,
    .refresh = refresh,
    .status = scout_models_status,
    .metrics = scout_models_metrics,
    .stop = stop,
    .hangs = hangs,
    .free = models_free,
};

int scout_models_check(const struct scout_config *config, const char *mountpoint)
{
	const char *path = config->models.cache_dir;

	if (!config->models.bucket || !path || !scout_is_below(path, mountpoint))
		return 0;
	scout_error("models: cache_dir %s: it lies in the mount itself", path);
	return -EINVAL;
}

int scout_models_new(const struct scout_env *env, struct scout_backend *ret)
{
	struct scout_budget_stats memory;
	struct scout_models *m;
	int err;

	if (!env->config->models.bucket)
		return -ENOENT;
	m = calloc(1, sizeof(*m));
	if (!m) {
		scout_error("models: no memory");
		return -ENOMEM;
	}
	m->config = &env->config->models;
	m->budget = env->budget;
	scout_budget_stats(m->budget, &memory);
	m->memory = memory.limit_bytes / SHARE_DIVISOR;
	m->ahead_memory = m->memory / 4 * 3;
	m->device = env->device;
	m->uid = getuid();
	m->gid = getgid();
	m->mounted = (time_t)(scout_wall_ns() / SCOUT_NS_PER_S);
	err = scout_share_new(m->budget, SHARE_DIVISOR, &m->share);
	if (!err)
		err = scout_share_new(m->budget, SMALL_DIVISOR, &m->small);
	if (err < 0) {
		scout_error("models: no memory");
		scout_share_free(m->share);
		free(m);
		return err;
	}
	err = m->config->unzip ? scout_zip_start(m) : 0;
	if (err < 0)
		scout_error("models: no memory or thread for archives");
	else
		err = scout_s3_new(m->config, &m->s3);
	if (!err) {
		err = scout_verify_start(m);
		if (err < 0) {
			scout_s3_stop(m->s3);
			scout_s3_free(m->s3);
		}
	}
	if (err < 0) {
		scout_zip_stop(m);
		scout_zip_destroy(m);
		scout_share_free(m->small);
		scout_share_free(m->share);
		free(m);
		return err;
	}
	scout_catalogue_init(m);
	scout_question_init(m);
	scout_block_init(m);
	scout_read_init(m);
	scout_budget_add_reclaimer(m->budget, reclaim, m);
	*ret = (struct scout_backend){.ops = &models_ops, .self = m};
	err = scout_cache_start(m);
	if (!err && !m->config->read_only)
		err = scout_publisher_new(m, &models_ops);
	if (err < 0) {
		stop(m);
		if (!scout_cache_hangs(m))
			models_free(m);
		return err;
	}
	if (m->publisher)
		ret->ops = &m->publisher->ops;
	return 0;
}
