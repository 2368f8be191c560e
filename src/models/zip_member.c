/* Open members. A stored one is a range of the archive, read as such; a deflated one is read by its job
 * (zip_job.c). Either way the bytes come through the archive's own blocks, pinned to its ETag, with
 * read-ahead that ends where the member does.
 *
 * Handles of one member share what is known of it: where its data begins, its streams, its CRC. That is
 * made of what is handed out, and compared once all of it was. The kernel keeps pages when the last
 * handle goes, and then nobody remembers the CRC of these: so at the next open they are to go, unless all
 * of the member was proven right. A damaged one is fetched anew by whoever opens it then, with its
 * archive's directory, which may be what is wrong.
 *
 * zips->lock for the table, member->lock for its reads. */
#include "models/zip_member.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/hash.h"
#include "scoutfs/log.h"

/* A local header's extra fields are not known before it is read. */
#define LOCAL_EXTRA 4096

/* ---- the table ---- */

static void member_free(struct scout_member *b)
{
	assert(TAILQ_EMPTY(&b->pending) && !b->read);
	scout_member_job_destroy(b);
	if (b->file)
		scout_models_file_close(b->m, b->file);
	scout_zip_sum_destroy(&b->sum);
	scout_mutex_destroy(&b->lock);
	free(b->inside);
	free(b);
}

void scout_member_unref(struct scout_member *b)
{
	if (atomic_fetch_sub(&b->refs, 1) == 1)
		member_free(b);
}

/* Names the member of that version. */
static uint64_t id_of(const struct scout_member *b)
{
	return scout_hash(scout_object_id(b->file->object), &b->entry.header,
			  sizeof(b->entry.header));
}

static struct scout_member *member_new(struct scout_models *m, const char *archive,
				       const struct scout_answer *answer,
				       const struct scout_zip_entry *e, const char *inside)
{
	struct scout_member *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	scout_mutex_init(&b->lock, SCOUT_LOCK_LEAF);
	TAILQ_INIT(&b->pending);
	atomic_init(&b->refs, 1);
	b->handles = 1;
	b->m = m;
	b->points.pool = &m->zips->points;
	b->entry = *e;
	b->inside = strdup(inside);
	if (!b->inside || scout_models_file_open(m, archive, answer, &b->file) < 0) {
		member_free(b);
		return NULL;
	}
	b->key.object = b->file->object;
	b->key.header = e->header;
	b->id = id_of(b);
	return b;
}

/* The one that is open already, or made; with a reference for a handle. */
static struct scout_member *add(struct scout_zips *z, struct scout_member *made)
{
	struct scout_member *b;

	scout_lock(&z->lock);
	HASH_FIND(hh, z->members, &made->key, sizeof(made->key), b);
	if (b) {
		b->handles++;
		atomic_fetch_add(&b->refs, 1);
	} else {
		HASH_ADD(hh, z->members, key, sizeof(made->key), made);
		b = made->hh.tbl ? made : NULL;
		if (!scout_proven_has(&z->proven, made->id))
			made->pages = scout_models_new_pages(made->m);
	}
	scout_unlock(&z->lock);
	if (b != made)
		scout_member_unref(made);
	return b;
}

static int refuse(const char *archive, const struct scout_zip_entry *e, const char *inside)
{
	char name[256], member[256];

	scout_warn("models: '%s': member '%s' cannot be read: %s",
		   scout_format_name(name, sizeof(name), archive),
		   scout_format_name(member, sizeof(member), inside),
		   scout_zip_refusal_words((enum scout_zip_refusal)e->refusal));
	return e->refusal == SCOUT_ZIP_METHOD ? -EOPNOTSUPP : -EIO;
}

int scout_zip_open_member(struct scout_models *m, const char *archive,
			  const struct scout_answer *answer, const struct scout_zip_entry *e,
			  const char *inside, struct scout_models_file **ret, uint64_t *pages)
{
	struct scout_models_file *file;
	struct scout_member *b;
	uint64_t end;
	int err;

	if (e->refusal != SCOUT_ZIP_FINE)
		return refuse(archive, e, inside);
	err = scout_models_file_open(m, archive, answer, &file);
	if (err < 0)
		return err;
	b = member_new(m, archive, answer, e, inside);
	if (b)
		b = add(m->zips, b);
	if (!b) {
		scout_models_file_close(m, file);
		return -ENOMEM;
	}
	end = e->header + SCOUT_ZIP_LOCAL + e->path_len + LOCAL_EXTRA + e->packed;
	if (end < file->end)
		file->end = end;
	file->member = b;
	*pages = b->pages;
	*ret = file;
	return 0;
}

void scout_zip_release(struct scout_models *m, struct scout_models_file *file)
{
	struct scout_member *b = file->member;

	scout_lock(&m->zips->lock);
	if (--b->handles == 0)
		HASH_DEL(m->zips->members, b);
	scout_unlock(&m->zips->lock);
	scout_models_file_close(m, file);
	scout_member_unref(b);
}

void scout_zip_members_stop(struct scout_models *m)
{
	struct scout_zips *z = m->zips;
	struct scout_member *b, *next;

	scout_lock(&z->lock);
	HASH_ITER (hh, z->members, b, next) {
		if (scout_waiter_cancel(z->share, &b->waiter))
			scout_zip_waited(z->work, &b->job);
	}
	scout_unlock(&z->lock);
}

int scout_member_broken(struct scout_member *b, const char *words)
{
	char name[256], member[256];
	bool news;

	scout_lock(&b->lock);
	news = b->err == 0;
	b->err = -EIO;
	scout_unlock(&b->lock);
	if (!news)
		return -EIO;
	scout_lock(&b->m->zips->lock);
	scout_proven_remove(&b->m->zips->proven, b->id);
	scout_unlock(&b->m->zips->lock);
	scout_zip_forget(b->m, b->file->object);
	scout_warn("models: '%s': member '%s' is damaged: %s",
		   scout_format_name(name, sizeof(name), b->file->object->key),
		   scout_format_name(member, sizeof(member), b->inside), words);
	return -EIO;
}

/* ---- reads ---- */

void scout_member_reply(struct scout_member_read *r, int err, const struct scout_result *res)
{
	struct scout_req *req = r->req;

	free(r);
	scout_req_done(req, err, res);
}

/* Of the bytes [from, to) of all that res has. */
static uint32_t crc_of(const struct scout_result *res, size_t from, size_t to)
{
	uint32_t crc = 0;
	size_t at = 0;

	for (int i = 0; i < res->data.count && at < to; i++) {
		const uint8_t *p = res->data.iov[i].iov_base;
		size_t len = res->data.iov[i].iov_len;
		size_t skip = from < at ? 0 : from - at, end = to - at < len ? to - at : len;

		if (skip < end)
			crc = (uint32_t)crc32_z(crc, p + skip, end - skip);
		at += len;
	}
	return crc;
}

/* The first part of r's bytes whose CRC is still wanted; false: none is. *err: what is known of b. */
static bool next_part(struct scout_member_read *r, uint64_t *from, uint64_t *to, int *err)
{
	struct scout_member *b = r->member;
	bool wants;

	*from = r->offset;
	*to = r->offset + r->size;
	scout_lock(&b->lock);
	*err = b->err;
	wants = *err == 0 && scout_zip_sum_wants(&b->sum, from, to);
	scout_unlock(&b->lock);
	return wants;
}

/* All of b was read and is right: the kernel may keep what it has of it. */
static void prove(struct scout_member *b)
{
	struct scout_zips *z = b->m->zips;

	scout_lock(&z->lock);
	scout_proven_add(&z->proven, b->id);
	scout_unlock(&z->lock);
}

static int note_part(struct scout_member *b, uint64_t from, uint64_t to, uint32_t crc)
{
	enum scout_zip_sum_state state;
	uint32_t whole = 0;

	scout_lock(&b->lock);
	state = scout_zip_sum_add(&b->sum, from, to, crc, b->entry.bytes, &whole);
	scout_unlock(&b->lock);
	if (state == SCOUT_ZIP_SUM_LOST)
		scout_count(&b->m->verifiers.unverified, 1);
	if (state != SCOUT_ZIP_SUM_WHOLE)
		return 0;
	if (whole != b->entry.crc)
		return scout_member_broken(b, "its CRC is wrong");
	prove(b);
	return 0;
}

int scout_member_check(struct scout_member_read *r, const struct scout_result *res,
		       const uint32_t *crc)
{
	uint64_t from, to;
	int err;

	/* what others read of it meanwhile makes the parts smaller */
	while (next_part(r, &from, &to, &err)) {
		bool all = crc && to - from == r->size;

		err = note_part(
		    r->member, from, to,
		    all ? *crc : crc_of(res, (size_t)(from - r->offset), (size_t)(to - r->offset)));
		if (err < 0)
			break;
	}
	return err;
}

static int check_stored(struct scout_member_read *r, const struct scout_result *res)
{
	size_t len = 0;

	for (int i = 0; i < res->data.count; i++)
		len += res->data.iov[i].iov_len;
	if (len != r->size)
		return scout_member_broken(r->member, "it ends too early");
	return scout_member_check(r, res, NULL);
}

static void stored_came(struct scout_req *req, int err, const struct scout_result *res)
{
	struct scout_member_read *r =
	    (struct scout_member_read *)((char *)req - offsetof(struct scout_member_read, inner));

	if (err == 0)
		err = check_stored(r, res);
	scout_member_reply(r, err, err == 0 ? res : NULL);
}

void scout_member_read_stored(struct scout_member_read *r, uint64_t data)
{
	r->inner.done = stored_came;
	scout_read(r->member->m, r->file, data + r->offset, r->size, atomic_load(&r->file->proved),
		   &r->inner);
}

/* r's handle is of the version that it should be. */
static void enqueue(struct scout_member_read *r)
{
	struct scout_member *b = r->member;
	uint64_t data = 0;
	bool start = false;
	int err;

	scout_lock(&b->lock);
	err = b->err;
	if (err == 0 && b->entry.method == SCOUT_ZIP_STORED)
		data = b->data;
	if (err == 0 && data == 0) {
		TAILQ_INSERT_TAIL(&b->pending, r, link);
		start = !b->busy;
		b->busy = true;
	}
	if (start)
		atomic_fetch_add(&b->refs, 1);
	scout_unlock(&b->lock);
	if (err < 0)
		scout_member_reply(r, err, NULL);
	else if (data > 0)
		scout_member_read_stored(r, data);
	else if (start)
		scout_member_start(b);
}

/* The newest attributes that the kernel has are of another version than the handle: S3 decides. */
static void proved(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct scout_member_read *r = (struct scout_member_read *)a;
	struct scout_object *o = r->file->object;

	if (err == 0 && (answer->kind != SCOUT_FILE || answer->version != o->version ||
			 answer->bytes != o->cut.bytes)) {
		(void)scout_object_change(r->member->m, o); /* news or not */
		err = -ESTALE;
	}
	if (err < 0) {
		scout_member_reply(r, err, NULL);
		return;
	}
	atomic_store(&r->file->proved, r->version);
	enqueue(r);
}

/* S3 has another version: what was inflated of this one is not handed out any more, either. */
static bool is_stale(struct scout_object *o)
{
	bool changed;

	scout_lock(&o->lock);
	changed = o->changed;
	scout_unlock(&o->lock);
	return changed;
}

void scout_zip_read(struct scout_models *m, struct scout_models_file *file, uint64_t offset,
		    size_t size, uint64_t version, struct scout_req *req)
{
	struct scout_result nothing = {.data = {.iov = NULL, .count = 0}};
	struct scout_member *b = file->member;
	struct scout_member_read *r;

	if (offset >= b->entry.bytes || size == 0) {
		scout_req_done(req, 0, &nothing);
		return;
	}
	if (size > SCOUT_READ_MAX)
		size = SCOUT_READ_MAX;
	if (size > b->entry.bytes - offset)
		size = (size_t)(b->entry.bytes - offset);
	r = is_stale(file->object) ? NULL : calloc(1, sizeof(*r));
	if (!r) {
		scout_req_done(req, is_stale(file->object) ? -ESTALE : -ENOMEM, NULL);
		return;
	}
	r->req = req;
	r->member = b;
	r->file = file;
	r->offset = offset;
	r->size = size;
	r->version = version;
	if (version == atomic_load(&file->proved)) {
		enqueue(r);
		return;
	}
	r->asker.answered = proved;
	scout_question_ask(m, SCOUT_ASK_OBJECT, file->object->key + strlen(m->config->prefix),
			   &r->asker);
}
