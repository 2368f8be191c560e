/* Folders of a registry that is written to: as the listing has them, with what this mount has made and
 * removed since. Only a folder with such changes is put together anew, when it is opened; all others are
 * the reading backend's own.
 *
 * S3 has no folders without objects, so mkdir(2) makes one in this mount only. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/catalogue.h"
#include "models/changes.h"
#include "models/keys.h"
#include "models/publish.h"

#define DIRENTS 128
#define FOLDER_TTL_MS 1000u

/* ---- opendir, readdir ---- */

struct entry {
	char *name;
	struct scout_attr attr;
};

/* A folder put together; its handle has the lowest bit set. */
struct merged {
	struct entry *entries;
	size_t count, size;
	bool failed; /* no memory */
};

struct opening {
	struct scout_req base; /* of the reading backend */
	struct scout_publisher *pub;
	struct scout_req *req;
	void *handle;
	struct merged *merged;
	char path[];
};

static struct merged *merged_of(void *handle)
{
	uintptr_t bits = (uintptr_t)handle;

	return bits & 1 ? (struct merged *)(bits - 1) : NULL;
}

static void merged_free(struct merged *d)
{
	for (size_t i = 0; d && i < d->count; i++)
		free(d->entries[i].name);
	if (d)
		free(d->entries);
	free(d);
}

static struct entry *add(struct merged *d, const char *name, const struct scout_attr *attr)
{
	struct entry *bigger, *e;

	if (d->count == d->size) {
		size_t size = d->size ? d->size * 2 : 64;

		bigger = reallocarray(d->entries, size, sizeof(*bigger));
		if (!bigger) {
			d->failed = true;
			return NULL;
		}
		d->entries = bigger;
		d->size = size;
	}
	e = &d->entries[d->count];
	*e = (struct entry){.name = strdup(name), .attr = *attr};
	if (!e->name) {
		d->failed = true;
		return NULL;
	}
	d->count++;
	return e;
}

static int by_name(const void *name, const void *changed)
{
	return strcmp(name, ((const struct scout_changed *)changed)->name);
}

/* What the name of c is by now: what S3 said of it, if it was asked later than c, else what c made of it. False: it is
 * not there. */
static bool is_there(const struct opening *o, const struct scout_changed *c, struct scout_attr *ret)
{
	struct scout_models *m = o->pub->m;
	struct scout_answer answer;
	char path[SCOUT_KEY_MAX + 1];
	int len = snprintf(path, sizeof(path), "%s%s%s", o->path, *o->path ? "/" : "", c->name);

	if (c->kind == SCOUT_CHANGE_FOLDER) { /* of which S3 may not know */
		scout_models_dir_attr(m, ret);
		return true;
	}
	if (len < 0 || (size_t)len >= sizeof(path) ||
	    !scout_question_known(m, path, c->at_ns, &answer)) {
		*ret = c->attr;
		return c->kind == SCOUT_CHANGE_FILE;
	}
	if (answer.kind == SCOUT_FILE)
		scout_models_file_attr(m, answer.bytes, answer.modified, answer.version, ret);
	else
		scout_models_dir_attr(m, ret);
	return answer.kind != SCOUT_MISSING;
}

/* The changes over what is listed. */
static void apply(struct opening *o, struct scout_changed *changes, size_t count)
{
	struct merged *d = o->merged;
	struct scout_attr attr;
	size_t kept = 0;

	for (size_t i = 0; i < d->count; i++) {
		struct entry *e = &d->entries[i];
		struct scout_changed *c =
		    bsearch(e->name, changes, count, sizeof(*changes), by_name);

		if (c)
			c->seen = true;
		if (c && !is_there(o, c, &e->attr))
			free(e->name);
		else
			d->entries[kept++] = *e;
	}
	d->count = kept;
	for (struct scout_changed *c = changes; c < changes + count; c++) {
		if (!c->seen && is_there(o, c, &attr))
			(void)add(d, c->name, &attr);
	}
}

/* All names are there: the changes over them, and the answer. */
static void merge(struct opening *o)
{
	struct scout_changed *changes = NULL;
	struct scout_result res = {.ttl_ms = 0};
	uint64_t listed_ns = o->handle ? scout_models_folder_asked_ns(o->handle)
				       : scout_catalogue_found_nothing_ns(o->pub->m, o->path);
	ssize_t count;

	if (o->handle)
		o->pub->below->releasedir(o->pub->m, o->handle);
	count = scout_changes_list(o->pub, o->path, listed_ns, &changes);
	if (count < 0)
		o->merged->failed = true;
	else
		apply(o, changes, (size_t)count);
	scout_changes_drop(changes, count);
	res.open.handle = (char *)o->merged + 1;
	if (o->merged->failed) {
		scout_req_done(o->req, -ENOMEM, NULL);
		merged_free(o->merged);
	} else {
		scout_req_done(o->req, 0, &res);
	}
	free(o);
}

/* Some names of the listing, which is in memory. */
static void listed(struct scout_req *base, int err, const struct scout_result *res)
{
	struct opening *o = (struct opening *)base;

	for (size_t i = 0; !err && i < res->dir.count; i++)
		(void)add(o->merged, res->dir.entries[i].name, &res->dir.entries[i].attr);
	if (err)
		o->merged->failed = true;
	o->base.unwanted = err || res->dir.count == 0 || o->merged->failed; /* that was the end */
}

static void slurp(struct opening *o)
{
	o->base.done = listed;
	atomic_store(&o->base.unwanted, false);
	/* the reading backend answers readdir before it returns */
	while (o->handle && !atomic_load(&o->base.unwanted))
		o->pub->below->readdir(o->pub->m, o->handle, o->merged->count, &o->base);
	merge(o);
}

static void opened(struct scout_req *base, int err, const struct scout_result *res)
{
	struct opening *o = (struct opening *)base;
	struct scout_result ours = {.ttl_ms = 0};
	bool folder = err == -ENOENT && scout_changes_find(o->pub, o->path) == SCOUT_CHANGE_FOLDER;

	if (!err)
		ours = *res;
	if ((err && !folder) || (!err && !scout_changes_any(o->pub, o->path))) {
		scout_req_done(o->req, err, err ? NULL : &ours);
		free(o);
		return;
	}
	o->handle = err ? NULL : res->open.handle;
	o->merged = calloc(1, sizeof(*o->merged));
	if (!o->merged) {
		if (o->handle)
			o->pub->below->releasedir(o->pub->m, o->handle);
		scout_req_done(o->req, -ENOMEM, NULL);
		free(o);
		return;
	}
	slurp(o);
}

void scout_publish_opendir(void *self, const char *path, struct scout_req *req)
{
	struct scout_models *m = self;
	size_t len = strlen(path) + 1;
	struct opening *o = calloc(1, sizeof(*o) + len);

	if (!o) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	o->base.done = opened;
	o->pub = m->publisher;
	o->req = req;
	memcpy(o->path, path, len);
	o->pub->below->opendir(m, path, &o->base);
}

void scout_publish_readdir(void *self, void *handle, uint64_t index, struct scout_req *req)
{
	struct scout_models *m = self;
	struct merged *d = merged_of(handle);
	struct scout_dirent entries[DIRENTS];
	struct scout_result res = {.ttl_ms = FOLDER_TTL_MS};
	size_t count = 0;

	if (!d) {
		m->publisher->below->readdir(self, handle, index, req);
		return;
	}
	for (; index + count < d->count && count < DIRENTS; count++) {
		entries[count].name = d->entries[index + count].name;
		entries[count].attr = d->entries[index + count].attr;
	}
	res.dir.entries = entries;
	res.dir.count = count;
	scout_req_done(req, 0, &res);
}

void scout_publish_releasedir(void *self, void *handle)
{
	struct scout_models *m = self;
	struct merged *d = merged_of(handle);

	if (d)
		merged_free(d);
	else
		m->publisher->below->releasedir(self, handle);
}

/* ---- mkdir, rmdir ---- */

struct asking {
	struct scout_asker asker;
	struct scout_s3_call call;
	struct scout_publisher *pub;
	struct scout_req *req;
	char *marker; /* the key of the folder's marker, or NULL */
	char path[];
};

static void ask(void *self, const char *path, struct scout_req *req,
		void (*answered)(struct scout_asker *a, int err, const struct scout_answer *answer))
{
	struct scout_models *m = self;
	size_t len = strlen(path) + 1;
	struct asking *q = calloc(1, sizeof(*q) + len);

	if (!q) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	q->asker.answered = answered;
	q->pub = m->publisher;
	q->req = req;
	memcpy(q->path, path, len);
	scout_question_ask(m, SCOUT_ASK_NAME, path, &q->asker);
}

static void to_make(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct asking *q = (struct asking *)a;
	struct scout_result res = {.ttl_ms = FOLDER_TTL_MS};

	if (!err && answer->kind != SCOUT_MISSING)
		err = -EEXIST;
	if (!err && scout_req_unwanted(q->req))
		err = -EINTR;
	if (!err)
		err = scout_changes_mkdir(q->pub, q->path);
	scout_models_dir_attr(q->pub->m, &res.attr);
	scout_req_done(q->req, err, err ? NULL : &res);
	free(q);
}

void scout_publish_mkdir(void *self, const char *path, mode_t mode, struct scout_req *req)
{
	const struct scout_models *m = self;

	(void)mode; /* S3 keeps none */
	if (scout_publish_refuses(m, path))
		scout_req_done(req, -EROFS, NULL);
	else if (strlen(m->config->prefix) + strlen(path) + 1 > SCOUT_KEY_MAX)
		scout_req_done(req, -ENAMETOOLONG, NULL);
	else if (scout_changes_find(m->publisher, path) == SCOUT_CHANGE_FOLDER)
		scout_req_done(req, -EEXIST, NULL);
	else
		ask(self, path, req, to_make);
}

static void tell_removed(struct asking *q, int err)
{
	struct scout_result res = {.ttl_ms = 0};

	scout_req_done(q->req, err, err ? NULL : &res);
	free(q->marker);
	free(q);
}

/* Who asks from now on hears that it is gone. */
static void marker_gone(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct asking *q = (struct asking *)a;

	if (err || answer->kind == SCOUT_MISSING)
		scout_changes_removed(q->pub, q->path);
	tell_removed(q, !err && answer->kind == SCOUT_DIR ? -ENOTEMPTY : 0);
}

static void marker_removed(struct scout_s3_call *call, int err)
{
	struct asking *q = (struct asking *)((char *)call - offsetof(struct asking, call));
	struct scout_models *m = q->pub->m;

	if (err) {
		tell_removed(q, err);
		return;
	}
	scout_question_drop(m, q->path);
	scout_question_drop_parents(m, q->path);
	q->asker.answered = marker_gone;
	scout_question_ask(m, SCOUT_ASK_NAME, q->path, &q->asker);
}

/* All that there is of the folder is the object "path/", as S3's console makes one. */
static int remove_marker(struct asking *q)
{
	struct scout_models *m = q->pub->m;

	if (!m->config->delete)
		return -EPERM;
	q->marker = scout_models_key(m, q->path, "/");
	if (!q->marker)
		return -ENOMEM;
	q->call =
	    (struct scout_s3_call){.op = SCOUT_S3_DELETE, .key = q->marker, .done = marker_removed};
	scout_s3_submit(m->s3, &q->call);
	return 0;
}

static void to_remove(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct asking *q = (struct asking *)a;

	if (!err && answer->kind == SCOUT_FILE)
		err = -ENOTDIR;
	if (!err && answer->kind == SCOUT_DIR && !answer->empty)
		err = -ENOTEMPTY;
	if (!err &&
	    (scout_changes_folder_below(q->pub, q->path) || scout_upload_below(q->pub, q->path)))
		err = -ENOTEMPTY;
	if (!err && answer->kind == SCOUT_DIR) {
		err = remove_marker(q);
		if (!err)
			return;
	} else if (!err) {
		scout_changes_removed(q->pub, q->path);
	}
	tell_removed(q, err);
}

void scout_publish_rmdir(void *self, const char *path, struct scout_req *req)
{
	if (scout_publish_refuses(self, path)) {
		scout_req_done(req, -EROFS, NULL);
		return;
	}
	scout_question_drop(self, path); /* what is in it counts now */
	ask(self, path, req, to_remove);
}
