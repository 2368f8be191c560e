/* The end of an upload: a small object is one PUT, a larger one is completed from its parts; or all of it
 * is aborted, and nothing was ever there.
 *
 * Whether the name is still free is S3's to decide, by a condition of the request; a server that may know no
 * conditions there, or refuses them, is asked right before. An answer that was lost is looked for: a mark of
 * its own tells whether the object is ours, or, where S3 keeps none, its ETag. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/changes.h"
#include "models/leftovers.h"
#include "models/part.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/log.h"

#define MD5_HEX 32

static struct scout_upload *upload_of(struct scout_s3_call *call)
{
	return (struct scout_upload *)((char *)call - offsetof(struct scout_upload, call));
}

/* Sends u->call, which is set up but for what all have in common; done gives the reference back. */
static void send_locked(struct scout_upload *u, void (*done)(struct scout_s3_call *call, int err))
{
	struct scout_models *m = u->pub->m;

	u->call.key = u->key;
	u->call.done = done;
	u->busy = true;
	scout_upload_ref(u);
	scout_unlock(&u->lock);
	if (u->call.body)
		(void)scout_s3_hash_body(m->s3, &u->call, u->sha256); /* as in scout_part_send */
	scout_s3_submit(m->s3, &u->call);
	scout_lock(&u->lock);
}

/* The last of what a call's done does, with u->lock held. */
static void answered_locked(struct scout_upload *u)
{
	u->busy = false;
	u->vain = NULL;
	scout_unlock(&u->lock);
	scout_upload_gets_on(u);
	scout_upload_run(u);
	scout_upload_unref(u);
}

static void fail_by_locked(struct scout_upload *u, const struct scout_s3_call *call, int err)
{
	scout_upload_fail_locked(u, err == -ENOENT ? -EIO : err,
				 *call->reason ? call->reason : strerror(-err));
}

static bool must_be_new(const struct scout_upload *u)
{
	return !u->replaces && !u->pub->m->config->overwrite;
}

/* ---- CREATE ---- */

static bool take_id(struct scout_s3_call *call, const void *bytes, size_t len)
{
	struct scout_upload *u = upload_of(call);
	char *id = NULL;
	int err = scout_s3_parse_upload_id(bytes, len, &id);

	scout_lock(&u->lock);
	u->id = id;
	if (err)
		scout_upload_fail_locked(u, err, "malformed answer to CREATE");
	scout_unlock(&u->lock);
	if (!err) {
		scout_lock(&u->pub->lock);
		u->own_id = id;
		scout_unlock(&u->pub->lock);
	}
	return true;
}

static void created(struct scout_s3_call *call, int err)
{
	struct scout_upload *u = upload_of(call);

	scout_lock(&u->lock);
	if (!err && !u->id)
		err = -EIO;
	if (err)
		fail_by_locked(u, call, err);
	answered_locked(u);
}

void scout_upload_create_locked(struct scout_upload *u)
{
	u->call = (struct scout_s3_call){.op = SCOUT_S3_CREATE, .mark = u->mark, .data = take_id};
	send_locked(u, created);
}

/* ---- looking ---- */

/* The MD5 at the start of an ETag: its end, or NULL when there is none. */
static const char *parse_md5(const char *etag, uint8_t digest[MD5_HEX / 2])
{
	if (etag[0] != '"' || strspn(etag + 1, "0123456789abcdef") < MD5_HEX)
		return NULL;
	for (size_t i = 0; i < MD5_HEX / 2; i++) {
		unsigned byte;

		if (sscanf(etag + 1 + 2 * i, "%2x", &byte) != 1)
			return NULL;
		digest[i] = (uint8_t)byte;
	}
	return etag + 1 + MD5_HEX;
}

/* S3 takes the digests of the parts as the bytes of the whole. */
static bool add_parts(const struct scout_upload *u, struct scout_s3_digest *d)
{
	for (unsigned i = 0; i < u->nparts; i++) {
		uint8_t digest[MD5_HEX / 2];

		if (!u->etags[i] || !parse_md5(u->etags[i], digest))
			return false;
		scout_s3_digest_update(d, digest, sizeof(digest));
	}
	return true;
}

static void add_bytes(const struct scout_upload_part *p, struct scout_s3_digest *d)
{
	for (uint64_t at = 0; at < p->bytes; at += SCOUT_BUF_BYTES) {
		uint64_t left = p->bytes - at;

		scout_s3_digest_update(d, p->bufs[at / SCOUT_BUF_BYTES],
				       left < SCOUT_BUF_BYTES ? (size_t)left : SCOUT_BUF_BYTES);
	}
}

/* Whether etag is that of what u sent. Some servers have ETags of another kind: then nobody knows. */
static bool is_ours(const struct scout_upload *u, const char *etag)
{
	struct scout_s3_checksum want = {.kind = SCOUT_S3_MD5};
	const char *tail = parse_md5(etag, want.bytes);
	struct scout_s3_digest *d = NULL;
	char expected[16] = "\"";
	bool ours = true;

	if (u->multipart)
		snprintf(expected, sizeof(expected), "-%u\"", u->nparts);
	if (!tail || strcmp(tail, expected) != 0 || scout_s3_digest_new(&want, &d) != 0)
		return false;
	if (u->multipart)
		ours = add_parts(u, d);
	else
		add_bytes(u->part, d);
	ours = ours && scout_s3_digest_matches(d);
	scout_s3_digest_free(d);
	return ours;
}

static void look_for_mark(struct scout_s3_call *call, const char *name, const char *value)
{
	struct scout_upload *u = upload_of(call);

	scout_lock(&u->lock);
	if (strcmp(name, SCOUT_S3_MARK) == 0)
		u->marked = strcmp(value, u->mark) == 0;
	scout_unlock(&u->lock);
}

static void looked(struct scout_s3_call *call, int err)
{
	struct scout_upload *u = upload_of(call);

	scout_lock(&u->lock);
	if (!err && (u->marked || is_ours(u, call->etag)))
		u->stored = true;
	else if (!err && must_be_new(u))
		scout_upload_fail_locked(u, -EEXIST, "there is an object of that name by now");
	else
		scout_upload_fail_locked(u, u->doubt == -ENOENT ? -EIO : u->doubt,
					 "its last request was not answered");
	u->doubt = 0;
	answered_locked(u);
}

static void found(struct scout_s3_call *call, int err)
{
	struct scout_upload *u = upload_of(call);

	scout_lock(&u->lock);
	u->checked = err == -ENOENT;
	if (!err)
		scout_upload_fail_locked(u, -EEXIST, "there is an object of that name by now");
	else if (err != -ENOENT)
		fail_by_locked(u, call, err);
	answered_locked(u);
}

static void head_locked(struct scout_upload *u, void (*done)(struct scout_s3_call *call, int err))
{
	u->call = (struct scout_s3_call){.op = SCOUT_S3_HEAD, .header = look_for_mark};
	send_locked(u, done);
}

/* ---- PUT, COMPLETE ---- */

/* Whether S3 is to decide that nobody else was first. */
static bool has_condition(const struct scout_upload *u)
{
	return must_be_new(u) && !u->unconditional && !atomic_load(&u->pub->unconditional);
}

/* That it was the condition is known when the same request without one is taken. Logs, so no lock is held. */
static void note_conditions(struct scout_upload *u, int err)
{
	bool refused;

	scout_lock(&u->lock);
	refused = u->unconditional;
	scout_unlock(&u->lock);
	if (!err && refused && !atomic_exchange(&u->pub->unconditional, true))
		scout_info("models: the server knows no If-None-Match: looking before each "
			   "object is made, from now on");
}

/* The request that makes the object came back with err. */
static void stored_locked(struct scout_upload *u, const struct scout_s3_call *call, int err)
{
	bool refused = err == -EACCES || err == -EDQUOT || err == -ENOSPC || err == -EFBIG ||
		       err == -ENOMEM || err == -ECANCELED || err == -ESHUTDOWN ||
		       (err == -EEXIST && !call->in_doubt);

	if (!err)
		u->stored = true;
	else if (err == -EOPNOTSUPP)
		u->unconditional = true; /* once more, without */
	else if (err == -EEXIST && refused)
		scout_upload_fail_locked(u, err, "there is an object of that name by now");
	else if (refused || u->err)
		fail_by_locked(u, call, err);
	else
		u->doubt = err;
}

static void put_done(struct scout_s3_call *call, int err)
{
	struct scout_upload *u = ((struct scout_upload_part *)call)->upload;

	note_conditions(u, err);
	scout_lock(&u->lock);
	stored_locked(u, call, err);
	answered_locked(u);
}

static void put_locked(struct scout_upload *u, bool condition)
{
	struct scout_s3_call call = {
	    .op = SCOUT_S3_PUT, .mark = u->mark, .if_none_match = condition, .done = put_done};

	if (!u->part)
		u->part = scout_part_empty(u);
	if (!u->part) {
		scout_upload_fail_locked(u, -ENOMEM, "no memory");
		return;
	}
	u->busy = true;
	u->vain = &u->part->call;
	scout_upload_ref(u);
	scout_unlock(&u->lock);
	scout_part_send(u->part, &call);
	scout_lock(&u->lock);
}

static bool take_completion(struct scout_s3_call *call, const void *bytes, size_t len)
{
	(void)call, (void)bytes, (void)len; /* what it says, the next look says better */
	return true;
}

static void completed(struct scout_s3_call *call, int err)
{
	struct scout_upload *u = upload_of(call);

	note_conditions(u, err);
	scout_lock(&u->lock);
	stored_locked(u, call, err);
	answered_locked(u);
}

static size_t xml_body(struct scout_s3_call *call, uint64_t offset, char *dst, size_t cap)
{
	const struct scout_text *xml = &upload_of(call)->xml;
	size_t n = xml->len - (size_t)offset;

	if (n > cap)
		n = cap;
	memcpy(dst, xml->str + offset, n);
	return n;
}

static void add_escaped(struct scout_text *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '&')
			scout_text_printf(out, "&amp;");
		else if (*text == '<')
			scout_text_printf(out, "&lt;");
		else if (*text == '>')
			scout_text_printf(out, "&gt;");
		else
			scout_text_append(out, text, 1);
	}
}

static void complete_locked(struct scout_upload *u)
{
	struct scout_text *xml = &u->xml;

	scout_text_free(xml);
	scout_text_printf(xml, "<CompleteMultipartUpload>");
	for (unsigned i = 0; i < u->nparts; i++) {
		scout_text_printf(xml, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
		add_escaped(xml, u->etags[i]);
		scout_text_printf(xml, "</ETag></Part>");
	}
	scout_text_printf(xml, "</CompleteMultipartUpload>");
	if (xml->failed) {
		scout_upload_fail_locked(u, -ENOMEM, "no memory");
		return;
	}
	u->call = (struct scout_s3_call){
	    .op = SCOUT_S3_COMPLETE,
	    .upload_id = u->id,
	    .if_none_match = has_condition(u),
	    .body_bytes = xml->len,
	    .body = xml_body,
	    .data = take_completion,
	};
	send_locked(u, completed);
}

/* ---- it is there ---- */

static void confirmed(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct scout_upload *u =
	    (struct scout_upload *)((char *)a - offsetof(struct scout_upload, asker));
	struct scout_attr attr;

	scout_upload_attr(u, &attr);
	/* somebody may have removed or replaced it already */
	if (!err && answer->kind == SCOUT_FILE)
		scout_models_file_attr(u->pub->m, answer->bytes, answer->modified, answer->version,
				       &attr);
	if (err)
		scout_question_tell(u->pub->m, u->path, &attr);
	scout_changes_published(u->pub, u->path, &attr);
	scout_lock(&u->lock);
	u->confirmed = true;
	answered_locked(u);
}

static void settle_locked(struct scout_upload *u)
{
	struct scout_publisher *pub = u->pub;

	if (u->settled)
		return;
	u->settled = true;
	scout_lock(&pub->lock);
	pub->unsettled--;
	pthread_cond_signal(&pub->settled);
	scout_unlock(&pub->lock);
}

static void publish_locked(struct scout_upload *u)
{
	struct scout_publisher *pub = u->pub;
	struct scout_upload_part *p = u->part;
	char name[256], bytes[32];

	u->part = NULL;
	u->state = SCOUT_UPLOAD_PUBLISHED;
	settle_locked(u);
	scout_unlock(&u->lock);
	scout_part_free(p);
	scout_upload_unlist(u);
	scout_count(&pub->published, 1);
	scout_count(&pub->bytes, u->taken);
	scout_info("models: published %s, %s", scout_format_name(name, sizeof(name), u->path),
		   scout_format_bytes(bytes, u->taken));
	scout_lock(&u->lock);
}

static bool tell_flusher_locked(struct scout_upload *u)
{
	struct scout_upload_flusher *f = TAILQ_FIRST(&u->flushers);

	if (!f)
		return false;
	TAILQ_REMOVE(&u->flushers, f, link);
	scout_upload_answer_locked(u, f->req, u->err, 0);
	free(f);
	return true;
}

/* Whoever closed it does not wait any more: killed, interrupted, or out of patience. */
static bool is_given_up_locked(const struct scout_upload *u)
{
	const struct scout_upload_flusher *f;

	TAILQ_FOREACH (f, &u->flushers, link) {
		if (!scout_req_unwanted(f->req))
			return false;
	}
	return !TAILQ_EMPTY(&u->flushers);
}

/* All parts are with S3, or there is but one. Many a server knows conditions of a PUT only. */
static void store_locked(struct scout_upload *u)
{
	bool condition = has_condition(u);

	if ((u->multipart || !condition) && !u->checked && must_be_new(u)) {
		u->vain = &u->call;
		head_locked(u, found);
	} else if (!u->multipart) {
		put_locked(u, condition);
	} else {
		complete_locked(u);
	}
}

bool scout_upload_close_locked(struct scout_upload *u)
{
	if (u->state == SCOUT_UPLOAD_PUBLISHED)
		return tell_flusher_locked(u);
	if (u->state != SCOUT_UPLOAD_CLOSING || u->write || u->busy)
		return false;
	if (u->stored && u->confirmed) {
		publish_locked(u);
		return true;
	}
	if (u->stored) {
		u->busy = true;
		u->asker.answered = confirmed;
		scout_upload_ref(u);
		scout_unlock(&u->lock);
		scout_question_ask(u->pub->m, SCOUT_ASK_ANEW, u->path, &u->asker);
		scout_lock(&u->lock);
		return true;
	}
	if (u->doubt) {
		head_locked(u, looked);
		return true;
	}
	if (is_given_up_locked(u)) {
		scout_upload_fail_locked(u, -EINTR, "whoever closed it was interrupted");
		return true;
	}
	if (u->taken < u->owed) {
		scout_upload_fail_locked(u, -EIO, "a write that failed was not repeated");
		return true;
	}
	if (u->taken < u->grown)
		return scout_upload_fill_locked(u);
	if (u->multipart && u->part) {
		TAILQ_INSERT_TAIL(&u->ready, u->part, link);
		u->part = NULL;
		return true;
	}
	if (!TAILQ_EMPTY(&u->ready) || !TAILQ_EMPTY(&u->sent))
		return false;
	store_locked(u);
	return true;
}

/* ---- it will never be ---- */

static void abort_done(struct scout_s3_call *call, int err)
{
	struct scout_upload *u = upload_of(call);

	if (err) /* which is logged */
		scout_leftovers_again(u->pub->unended, u->key, u->id, u->begun, err);
	scout_lock(&u->lock);
	answered_locked(u);
}

static void cancel_locked(struct scout_upload *u)
{
	struct scout_upload_part *p;

	u->cancelled = true;
	TAILQ_FOREACH (p, &u->sent, link)
		scout_s3_cancel(u->pub->m->s3, &p->call);
	/* who has begun to create or to complete learns how it went */
	if (u->vain)
		scout_s3_cancel(u->pub->m->s3, u->vain);
}

static void tell_failure(struct scout_upload *u)
{
	char name[256], why[256];

	scout_upload_unlist(u);
	scout_count(&u->pub->failed, 1);
	scout_warn("models: %s is not published: %s (%s)",
		   scout_format_name(name, sizeof(name), u->path),
		   scout_format_name(why, sizeof(why), u->why), strerrorname_np(-u->err));
}

/* One part that is not with the engine; false: there is none. */
static bool drop_part_locked(struct scout_upload *u)
{
	struct scout_upload_part *p = TAILQ_FIRST(&u->ready);

	if (p) {
		TAILQ_REMOVE(&u->ready, p, link);
	} else if (u->part && !u->busy) {
		p = u->part;
		u->part = NULL;
	}
	if (!p)
		return false;
	scout_unlock(&u->lock);
	scout_part_free(p);
	scout_lock(&u->lock);
	return true;
}

/* A server that did not answer is not waited for once more, and who was interrupted for none. */
bool scout_upload_aborts_locked(const struct scout_upload *u)
{
	return !u->settled && u->err != -ETIMEDOUT && u->err != -EINTR;
}

bool scout_upload_give_up_locked(struct scout_upload *u)
{
	if (!u->told) {
		u->told = true;
		scout_unlock(&u->lock);
		tell_failure(u);
		scout_lock(&u->lock);
		return true;
	}
	if (u->write) {
		scout_upload_end_write_locked(u, u->err);
		return true;
	}
	if (!scout_upload_aborts_locked(u) && tell_flusher_locked(u))
		return true;
	if (!u->cancelled) {
		cancel_locked(u);
		scout_part_leave_locked(u);
		return true;
	}
	if (drop_part_locked(u))
		return true;
	if (u->busy || !TAILQ_EMPTY(&u->sent))
		return false;
	if (u->buffer) {
		scout_part_leave_locked(u);
		return true;
	}
	if (u->id && !u->stored && !u->aborted) {
		u->aborted = true;
		u->call = (struct scout_s3_call){.op = SCOUT_S3_ABORT, .upload_id = u->id};
		send_locked(u, abort_done);
		return true;
	}
	if (tell_flusher_locked(u))
		return true;
	settle_locked(u);
	return false;
}
