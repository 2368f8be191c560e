/* A registry in memory that takes objects, and somebody who writes one of them. */
#ifndef TESTS_MODELS_WRITER_H
#define TESTS_MODELS_WRITER_H

#include "mount.h"

#include <fcntl.h>
#include <unistd.h>

#include "models/part.h"

#define PART (5 * MIB)
#define NOBODYS_INO UINT64_C(0xfffffffffffffff1) /* which no file has */
#define KEY "m/v1/model.zip"

int scout_s3_hash_body(struct scout_s3 *s3, struct scout_s3_call *call, char buf[SCOUT_SHA256_MAX])
{
	(void)s3, (void)call, (void)buf;
	return 0;
}

/* What the registry answers to requests that change it, and what it was asked. */
static struct {
	int put_err, create_err, part_err, complete_err, abort_err;
	unsigned puts, creates, parts, completes, aborts;
	bool condition;  /* the last request that would make an object said: only a new one */
	uint64_t stored; /* bytes */
	struct {
		uint64_t from, to;
	} holes[4];         /* of what is written: zeros */
	uint64_t thinks_ns; /* from the end of a part, or of all of an object, to its answer */
} reg;

/* The next size bytes at at are zeros where there are holes; in their place comes what else would be there. */
static inline void look_at_holes(uint8_t *bytes, const char *key, uint64_t at, size_t size)
{
	for (size_t i = 0; i < sizeof(reg.holes) / sizeof(reg.holes[0]); i++) {
		uint64_t from = reg.holes[i].from, to = reg.holes[i].to;

		from = from > at ? from : at;
		to = to < at + size ? to : at + size;
		if (from >= to)
			continue;
		for (uint64_t byte = from; byte < to; byte++)
			assert_int_equal(bytes[byte - at], 0);
		fake_bytes(bytes + (from - at), key, 0, from, (size_t)(to - from));
	}
}

/* The body, read in pieces of any size, is that of its key from at on. */
static inline void look_at_body(struct scout_s3_call *call, uint64_t at, uint64_t most)
{
	static char bytes[100001];
	uint64_t end = most < call->body_bytes ? most : call->body_bytes;

	for (uint64_t offset = 0; offset < end;) {
		size_t n = call->body(call, offset, bytes, sizeof(bytes));

		assert_true(n > 0 && n <= sizeof(bytes) && n <= call->body_bytes - offset);
		look_at_holes((uint8_t *)bytes, call->key, at + offset, n);
		assert_int_equal(fake_right((const uint8_t *)bytes, call->key, 0, at + offset, n),
				 n);
		offset += n;
	}
}

static inline void create(struct scout_s3_call *call)
{
	static const char xml[] = "<InitiateMultipartUploadResult><UploadId>id-1</UploadId>"
				  "</InitiateMultipartUploadResult>";

	reg.creates++;
	if (!reg.create_err)
		assert_true(call->data(call, xml, strlen(xml)));
	call->done(call, reg.create_err);
}

static inline void take_part(struct scout_s3_call *call)
{
	uint64_t at = (call->part - 1) * (uint64_t)PART;

	reg.parts++;
	assert_string_equal(call->upload_id, "id-1");
	/* an attempt that was cut, and the next one, which begins anew */
	look_at_body(call, at, PART / 2);
	look_at_body(call, at, PART);
	reg.stored += call->body_bytes;
	snprintf(call->etag, sizeof(call->etag), "\"part%u\"", call->part);
	atomic_fetch_add(&fake_now, reg.thinks_ns);
	call->done(call, reg.part_err);
}

static inline void complete(struct scout_s3_call *call)
{
	char xml[4096];
	size_t n = call->body(call, 0, xml, sizeof(xml) - 1);
	const char *at = xml;

	assert_int_equal(n, call->body_bytes);
	xml[n] = '\0';
	reg.completes++;
	reg.condition = call->if_none_match;
	for (unsigned part = 1; part <= reg.parts; part++) {
		char want[100];

		snprintf(want, sizeof(want), "<PartNumber>%u</PartNumber><ETag>\"part%u\"", part,
			 part);
		at = strstr(at, want);
		assert_non_null(at);
	}
	if (!reg.complete_err) {
		fake_put(call->key, reg.stored);
		(void)call->data(call, "", 0);
	}
	call->done(call, reg.complete_err);
}

static inline void put(struct scout_s3_call *call)
{
	reg.puts++;
	reg.condition = call->if_none_match;
	look_at_body(call, 0, UINT64_MAX);
	if (!reg.put_err)
		fake_put(call->key, call->body_bytes);
	atomic_fetch_add(&fake_now, reg.thinks_ns);
	call->done(call, reg.put_err);
}

static inline void answer(struct scout_s3_call *call)
{
	static const char none[] = "<ListMultipartUploadsResult></ListMultipartUploadsResult>";

	switch (call->op) {
	case SCOUT_S3_PUT:
		put(call);
		break;
	case SCOUT_S3_CREATE:
		create(call);
		break;
	case SCOUT_S3_PART:
		take_part(call);
		break;
	case SCOUT_S3_COMPLETE:
		complete(call);
		break;
	case SCOUT_S3_ABORT:
		assert_string_equal(call->upload_id, "id-1");
		reg.aborts++;
		call->done(call, reg.abort_err);
		break;
	case SCOUT_S3_UPLOADS:
		(void)call->data(call, none, strlen(none));
		call->done(call, 0);
		break;
	default:
		fake_answer(call, 100000);
	}
}

static inline void answer_all(void)
{
	fake_answer_all_by(answer);
}

/* So many calls wait, all of op. */
static inline void expect_queued(size_t count, enum scout_s3_op op)
{
	struct scout_s3_call *call;

	assert_int_equal(fake_queued(), count);
	TAILQ_FOREACH (call, &fake.queue, link)
		assert_int_equal(call->op, op);
}

/* ---- the writer ---- */

struct writer {
	struct mount *t;
	struct asked *file;
	const char *key;
	uint64_t at;
};

static inline struct scout_upload *upload_of(const struct writer *w)
{
	return (struct scout_upload *)((char *)w->file->handle - 1);
}

static inline struct asked *ask(int op)
{
	struct asked *a = asked_new(op);

	a->req.task = getpid();
	a->req.user = geteuid();
	a->req.ino = NOBODYS_INO;
	return a;
}

static inline void up_with(struct mount *t, size_t part_size, size_t memory)
{
	memset(&reg, 0, sizeof(reg));
	mount_publishes = part_size;
	mount_up(t, "", memory);
	mount_publishes = 0;
	answer_all();
}

static inline void up(struct mount *t, size_t memory)
{
	up_with(t, PART, memory);
}

static inline struct writer begin_at(struct mount *t, const char *key)
{
	struct writer w = {.t = t, .file = ask(OPEN), .key = key};

	t->backend.ops->create(t->backend.self, key, 0644, O_WRONLY | O_CREAT, &w.file->req);
	answer_all();
	assert_true(asked_is_done(w.file));
	assert_int_equal(w.file->err, 0);
	return w;
}

static inline struct writer begin(struct mount *t)
{
	return begin_at(t, KEY);
}

/* As if so many parts had been sent. */
static inline void skip_parts(struct writer *w, unsigned parts)
{
	struct scout_upload *u = upload_of(w);

	scout_lock(&u->lock);
	u->nparts = parts;
	scout_unlock(&u->lock);
}

/* The next size bytes, at most SCOUT_WRITE_MAX. */
static inline struct asked *ask_write(struct writer *w, size_t size)
{
	static uint8_t bytes[SCOUT_WRITE_MAX];
	struct asked *a = ask(WRITE);

	fake_bytes(bytes, w->key, 0, w->at, size);
	w->t->backend.ops->write(w->t->backend.self, w->file->handle, w->at, bytes, size, &a->req);
	w->at += size;
	return a;
}

/* Writes, which needs no answer of the registry. */
static inline void write_bytes(struct writer *w, uint64_t size)
{
	while (size > 0) {
		size_t n = size < SCOUT_WRITE_MAX ? (size_t)size : SCOUT_WRITE_MAX;

		expect(ask_write(w, n), 0);
		size -= n;
	}
}

/* The next size bytes are not written. */
static inline void leave_hole(struct writer *w, uint64_t size)
{
	size_t i = 0;

	while (reg.holes[i].to > 0)
		i++;
	assert_true(i < sizeof(reg.holes) / sizeof(reg.holes[0]));
	reg.holes[i].from = w->at;
	reg.holes[i].to = w->at += size;
}

/* ftruncate(2); what is told of its size is checked. */
static inline int resize(struct writer *w, uint64_t size)
{
	struct scout_setattr change = {.set = SCOUT_SET_SIZE, .size = size};
	struct asked *a = ask(GETATTR);
	int err;

	w->t->backend.ops->setattr(w->t->backend.self, w->key, w->file->handle, &change, &a->req);
	assert_true(asked_is_done(a));
	err = a->err;
	if (!err)
		assert_int_equal(a->attr.size, size);
	asked_free(a);
	return err;
}

static inline struct asked *ask_flush(struct writer *w)
{
	struct asked *a = ask(-1);

	w->t->backend.ops->flush(w->t->backend.self, w->file->handle, &a->req);
	return a;
}

static inline void end(struct writer *w)
{
	close_file(w->t, w->file);
	answer_all();
}

/* Closes it, which ends with err. */
static inline void finish(struct writer *w, int err)
{
	struct asked *a = ask_flush(w);

	answer_all();
	expect(a, err);
	end(w);
}

static inline void expect_size(struct mount *t, int err, uint64_t size)
{
	struct asked *a = ask_getattr(t, KEY);

	answer_all();
	if (!err)
		assert_int_equal(a->attr.size, size);
	expect(a, err);
}

/* All memory is back but for what is read ahead, and that is nothing here. */
static inline void expect_no_memory(struct mount *t)
{
	struct scout_budget_stats stats;

	scout_budget_stats(t->budget, &stats);
	assert_int_equal(stats.used_bytes, 0);
}

#endif
