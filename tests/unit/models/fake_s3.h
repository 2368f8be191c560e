/* A registry in memory behind the functions of scoutfs/s3.h, and a clock that stands still unless the
 * test moves it (scoutfs/clock.h). Calls queue up until the test (or its engine thread) answers them,
 * so a test sees who asked what, and decides what comes when. Listing pages are a format of our own,
 * which only the parser here reads. */
#ifndef TESTS_MODELS_FAKE_S3_H
#define TESTS_MODELS_FAKE_S3_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/lock.h"
#include "scoutfs/s3.h"

#define FAKE_KEYS 4000
#define FAKE_MODIFIED 1700000000

/* ---- clock ---- */

static _Atomic uint64_t fake_now = 1000 * SCOUT_NS_PER_S;
/* What happens just after the clock was read; NULL: nothing. It may read it, too. */
static void (*fake_after_now)(void);

uint64_t scout_now_ns(void)
{
	uint64_t now = atomic_load(&fake_now);
	void (*after)(void) = fake_after_now;

	if (after) {
		fake_after_now = NULL;
		after();
		fake_after_now = after;
	}
	return now;
}

uint64_t scout_wall_ns(void)
{
	return atomic_load(&fake_now) + UINT64_C(1700000000) * SCOUT_NS_PER_S;
}

static _Atomic uint64_t fake_paused_ns; /* what all pauses come to where chance takes nothing */

/* Each is as the first one. */
uint64_t scout_backoff_ns(unsigned failures, uint64_t base_ns, uint64_t max_ns, uint32_t random)
{
	uint64_t ns = base_ns;

	(void)random;
	for (unsigned i = 1; i < failures && ns < max_ns; i++)
		ns *= 2;
	fake_paused_ns += ns < max_ns ? ns : max_ns;
	return base_ns;
}

uint32_t scout_random(void)
{
	return 1;
}

/* ---- the registry ---- */

struct fake_object {
	char *key;
	size_t key_len;
	uint64_t bytes;
	unsigned version;
	const uint8_t *contents; /* from contents_at on; or NULL: fake_bytes all the way */
	uint64_t contents_at;
};

/* A version in ListObjectVersions' answer; number is that of its bytes. */
struct fake_version {
	const char *key, *id;
	uint64_t bytes;
	unsigned number;
	bool latest, deleted;
};

struct scout_s3 {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	TAILQ_HEAD(, scout_s3_call) queue, asleep; /* under lock */
	bool stopped;                              /* under lock */
	struct fake_object objects[FAKE_KEYS];
	size_t nobjects; /* sorted by key */
	/* instead of these, so many for listings: files of fake_generated_key */
	size_t generated;
	const struct fake_version *versions; /* ended by one without a key */
	/* what is answered instead, by operation: 0 nothing */
	int fail[SCOUT_S3_UPLOADS + 1];
	int bad_page; /* what the parser says of a listing's page; 0: it is well formed */
	/* what HEAD tells beside: name, value and so on, then NULL */
	const char *const *headers;
	/* what HEAD tells of the parts, ended by 0; NULL: it does not know of parts */
	const uint64_t *part_bytes;
	int fail_part; /* what a HEAD of a part comes to; 0: an answer */
	/* a GET is cut after that many bytes, with fail_body; 0 never */
	uint64_t cut_after;
	int fail_body;
	bool ignore_if_match;
	bool weak_gets;    /* the ETags of GETs are weak */
	const char *etag;  /* of every object; NULL: its own */
	uint64_t wrong_at; /* the byte before this offset comes wrong; 0: none */
	bool repeat_token;
	uint64_t distance_ns;
	unsigned expected; /* by scout_s3_expect() */
	/* what happens just before a call is submitted; NULL: nothing */
	void (*before_submit)(struct scout_s3_call *call);
	/* counted */
	unsigned gets, heads, lists, parts; /* parts: of the heads */
	uint64_t bytes;
	struct {
		uint64_t offset, length;
	} got[4096];
	/* the engine thread, when one runs */
	pthread_t thread;
	bool threaded;
};

static struct scout_s3 fake;
static unsigned fake_users; /* mounts that share it: they stop together */

/* The bytes at offset of version of key: a random table over and over, of a length that has no factor in
 * common with blocks, from a start of the version's own; so bytes of elsewhere are wrong bytes. */
#define FAKE_TABLE 65521

static uint8_t fake_table[FAKE_TABLE];

static inline void fake_make_table(void)
{
	uint64_t x = 88172645463325252;

	for (size_t i = 0; i < FAKE_TABLE; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		fake_table[i] = (uint8_t)(x >> 32);
	}
}

static inline void fake_bytes(uint8_t *to, const char *key, unsigned version, uint64_t offset,
			      size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t at = offset + version * UINT64_C(977) + strlen(key) * 131;

	pthread_once(&once, fake_make_table);
	for (; *key; key++)
		at = at + (unsigned char)*key * 7919;
	while (len > 0) {
		size_t n = FAKE_TABLE - at % FAKE_TABLE;

		if (n > len)
			n = len;
		memcpy(to, fake_table + at % FAKE_TABLE, n);
		to += n;
		at += n;
		len -= n;
	}
}

/* How many of the first bytes are right. */
static inline size_t fake_right(const uint8_t *bytes, const char *key, unsigned version,
				uint64_t offset, size_t len)
{
	uint8_t want[4096];
	size_t at = 0;

	while (at < len) {
		size_t n = len - at < sizeof(want) ? len - at : sizeof(want);

		fake_bytes(want, key, version, offset + at, n);
		if (memcmp(want, bytes + at, n) != 0)
			break;
		at += n;
	}
	return at;
}

static inline void fake_etag(char *etag, const struct fake_object *o)
{
	if (fake.etag)
		snprintf(etag, SCOUT_ETAG_MAX, "%s", fake.etag);
	else
		snprintf(etag, SCOUT_ETAG_MAX, "\"v%u-%llx\"", o->version,
			 (unsigned long long)o->bytes);
}

static inline void fake_put_raw(const char *key, size_t len, uint64_t bytes)
{
	size_t at = 0;
	struct fake_object *o;

	for (; at < fake.nobjects; at++) {
		size_t n = len < fake.objects[at].key_len ? len : fake.objects[at].key_len;
		int order = memcmp(key, fake.objects[at].key, n);

		if (order == 0 && len == fake.objects[at].key_len) {
			fake.objects[at].bytes = bytes;
			fake.objects[at].version++;
			return;
		}
		if (order < 0 || (order == 0 && len < fake.objects[at].key_len))
			break;
	}
	assert_true(fake.nobjects < FAKE_KEYS);
	o = &fake.objects[at];
	memmove(o + 1, o, (fake.nobjects - at) * sizeof(*o));
	*o = (struct fake_object){.key = calloc(1, len + 1), .key_len = len, .bytes = bytes};
	memcpy(o->key, key, len);
	fake.nobjects++;
}

static inline void fake_put(const char *key, uint64_t bytes)
{
	fake_put_raw(key, strlen(key), bytes);
}

static inline struct fake_object *fake_find(const char *key)
{
	for (size_t i = 0; i < fake.nobjects; i++) {
		if (strcmp(fake.objects[i].key, key) == 0)
			return &fake.objects[i];
	}
	return NULL;
}

static inline void fake_delete(const char *key)
{
	struct fake_object *o = fake_find(key);

	assert_non_null(o);
	free(o->key);
	memmove(o, o + 1, (size_t)(&fake.objects[fake.nobjects] - (o + 1)) * sizeof(*o));
	fake.nobjects--;
}

/* ---- listing ---- */

struct fake_entry {
	char key[1200];
	size_t key_len;
	uint64_t bytes;
	char etag[SCOUT_ETAG_MAX];
	bool is_prefix;
};

struct fake_page {
	size_t count;
	char next[32];
	struct fake_entry entries[];
};

/* Four files a model, a thousand models an organisation, in the order of bytes. */
static inline void fake_generated_key(char *key, size_t i)
{
	static const char *const files[] = {"README.md", "config.json", "model.zip",
					    "tokenizer.json"};

	sprintf(key, "org-%04zu/model-%03zu/main/%s", i / 4000, i / 4 % 1000, files[i % 4]);
}

/* False: given up. */
static inline bool fake_list(struct scout_s3_call *call)
{
	struct fake_object generated = {.bytes = 1000};
	size_t count = fake.generated > 0 ? fake.generated : fake.nobjects;
	char key[100];
	size_t from = call->continuation ? strtoul(call->continuation, NULL, 10) : 0, i;
	size_t plen = strlen(call->prefix);
	struct fake_page *page =
	    calloc(1, sizeof(*page) + call->max_keys * sizeof(struct fake_entry));
	bool more;

	for (i = from; i < count && page->count < call->max_keys; i++) {
		const struct fake_object *o = fake.generated > 0 ? &generated : &fake.objects[i];
		struct fake_entry *e = &page->entries[page->count];
		const char *slash = NULL;

		if (fake.generated > 0) {
			fake_generated_key(key, i);
			generated.key = key;
			generated.key_len = strlen(key);
		}
		if (o->key_len < plen || memcmp(o->key, call->prefix, plen) != 0)
			continue;
		e->key_len = o->key_len;
		if (call->delimiter)
			slash = memchr(o->key + plen, '/', o->key_len - plen);
		if (slash) {
			e->key_len = (size_t)(slash - o->key) + 1;
			if (page->count > 0 && e[-1].is_prefix && e[-1].key_len == e->key_len &&
			    memcmp(e[-1].key, o->key, e->key_len) == 0)
				continue;
		}
		e->is_prefix = slash != NULL;
		memcpy(e->key, o->key, e->key_len);
		e->bytes = o->bytes;
		fake_etag(e->etag, o);
		page->count++;
	}
	while (fake.generated == 0 && i < count &&
	       (fake.objects[i].key_len < plen ||
		memcmp(fake.objects[i].key, call->prefix, plen) != 0))
		i++;
	if (i < count)
		snprintf(page->next, sizeof(page->next), "%zu", fake.repeat_token ? from : i);
	more = call->data(call, page, sizeof(*page) + call->max_keys * sizeof(struct fake_entry));
	free(page);
	return more;
}

int scout_s3_parse_list(const void *xml, size_t len,
			bool (*entry)(void *arg, const struct scout_s3_object *o), void *arg,
			char **next)
{
	const struct fake_page *page = xml;

	(void)len;
	if (fake.bad_page < 0)
		return fake.bad_page;
	for (size_t i = 0; i < page->count; i++) {
		const struct fake_entry *e = &page->entries[i];
		struct scout_s3_object o = {
		    .key = e->key,
		    .key_len = e->key_len,
		    .bytes = e->bytes,
		    .modified = FAKE_MODIFIED,
		    .etag = e->etag,
		    .is_prefix = e->is_prefix,
		};

		if (!entry(arg, &o))
			return -ECANCELED;
	}
	*next = page->next[0] ? strdup(page->next) : NULL;
	return 0;
}

/* All of them in one page, whatever it is a page of. */
int scout_s3_parse_versions(const void *xml, size_t len,
			    bool (*entry)(void *arg, const struct scout_s3_object *o), void *arg,
			    char **next, char **version_marker)
{
	(void)xml;
	(void)len;
	for (const struct fake_version *v = fake.versions; v && v->key; v++) {
		char etag[SCOUT_ETAG_MAX];
		struct scout_s3_object o = {.key = v->key,
					    .key_len = strlen(v->key),
					    .bytes = v->bytes,
					    .modified = FAKE_MODIFIED,
					    .etag = etag,
					    .version_id = v->id,
					    .latest = v->latest,
					    .deleted = v->deleted};

		snprintf(etag, sizeof(etag), "\"%s\"", v->id);
		if (!entry(arg, &o))
			return -ECANCELED;
	}
	*next = *version_marker = NULL;
	return 0;
}

static inline const struct fake_version *fake_find_version(const struct scout_s3_call *call)
{
	for (const struct fake_version *v = fake.versions; v && v->key; v++) {
		if (strcmp(v->key, call->key) == 0 && strcmp(v->id, call->version_id) == 0)
			return v;
	}
	return NULL;
}

/* ---- the engine ---- */

int scout_s3_new(const struct scout_models_config *config, struct scout_s3 **ret)
{
	(void)config;
	*ret = &fake;
	if (fake_users++ > 0)
		return 0;
	memset(&fake, 0, sizeof(fake)); /* also after a test that failed */
	pthread_mutex_init(&fake.lock, NULL);
	pthread_cond_init(&fake.wake, NULL);
	TAILQ_INIT(&fake.queue);
	TAILQ_INIT(&fake.asleep);
	return 0;
}

void scout_s3_stop(struct scout_s3 *s3)
{
	struct scout_s3_call *call;

	pthread_mutex_lock(&s3->lock);
	s3->stopped = true;
	pthread_cond_signal(&s3->wake);
	pthread_mutex_unlock(&s3->lock);
	if (s3->threaded)
		pthread_join(s3->thread, NULL);
	s3->threaded = false;
	TAILQ_CONCAT(&s3->queue, &s3->asleep, link);
	while ((call = TAILQ_FIRST(&s3->queue))) {
		TAILQ_REMOVE(&s3->queue, call, link);
		call->done(call, -ESHUTDOWN);
	}
}

void scout_s3_free(struct scout_s3 *s3)
{
	if (--fake_users > 0)
		return;
	for (size_t i = 0; i < s3->nobjects; i++)
		free(s3->objects[i].key);
	pthread_mutex_destroy(&s3->lock);
	pthread_cond_destroy(&s3->wake);
	memset(s3, 0, sizeof(*s3));
}

void scout_s3_submit(struct scout_s3 *s3, struct scout_s3_call *call)
{
	bool stopped;

	if (s3->before_submit)
		s3->before_submit(call);
	call->etag[0] = '\0';
	call->object_bytes = 0;
	call->cancelled = false;
	pthread_mutex_lock(&s3->lock);
	stopped = s3->stopped;
	if (!stopped && call->not_before_ns > 0)
		TAILQ_INSERT_TAIL(&s3->asleep, call, link);
	else if (!stopped)
		TAILQ_INSERT_TAIL(&s3->queue, call, link);
	pthread_cond_signal(&s3->wake);
	pthread_mutex_unlock(&s3->lock);
	if (stopped)
		call->done(call, -ESHUTDOWN);
}

/* Takes no call out of the queue: a test that looks at `cancelled` ends it itself. */
void scout_s3_cancel(struct scout_s3 *s3, struct scout_s3_call *call)
{
	(void)s3;
	call->cancelled = true;
}

uint64_t scout_s3_distance_ns(struct scout_s3 *s3)
{
	(void)s3;
	return fake.distance_ns;
}

void scout_s3_expect(struct scout_s3 *s3, unsigned requests)
{
	s3->expected += requests;
}

void scout_s3_stats(struct scout_s3 *s3, struct scout_s3_stats *ret)
{
	*ret = (struct scout_s3_stats){
	    .requests = s3->gets + s3->heads + s3->lists,
	    .bytes_in = s3->bytes,
	    .signer = {.source = "nowhere", .have = true},
	    .last_err = -EIO,
	    .last_reason = "503 SlowDown",
	};
}

/* Those whose time has come. */
static inline void fake_wake_locked(void)
{
	struct scout_s3_call *call, *next;

	for (call = TAILQ_FIRST(&fake.asleep); call; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->not_before_ns > scout_now_ns())
			continue;
		TAILQ_REMOVE(&fake.asleep, call, link);
		TAILQ_INSERT_TAIL(&fake.queue, call, link);
	}
}

static inline struct scout_s3_call *fake_take(bool wait)
{
	struct scout_s3_call *call;

	pthread_mutex_lock(&fake.lock);
	fake_wake_locked();
	while (wait && !fake.stopped && TAILQ_EMPTY(&fake.queue))
		pthread_cond_wait(&fake.wake, &fake.lock);
	call = fake.stopped ? NULL : TAILQ_FIRST(&fake.queue);
	if (call)
		TAILQ_REMOVE(&fake.queue, call, link);
	pthread_mutex_unlock(&fake.lock);
	return call;
}

static inline size_t fake_queued(void)
{
	struct scout_s3_call *call;
	size_t n = 0;

	pthread_mutex_lock(&fake.lock);
	fake_wake_locked();
	TAILQ_FOREACH (call, &fake.queue, link)
		n++;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

/* What the headers say; 0 or the errno of the status. */
static inline int fake_headers(struct scout_s3_call *call)
{
	const struct fake_version *v = call->version_id ? fake_find_version(call) : NULL;
	struct fake_object *o = fake_find(call->key);

	if (fake.fail[call->op] < 0)
		return fake.fail[call->op];
	if (call->version_id ? !v : !o)
		return -ENOENT;
	if (v)
		snprintf(call->etag, sizeof(call->etag), "\"%s\"", v->id);
	else
		fake_etag(call->etag, o);
	call->object_bytes = v ? v->bytes : o->bytes;
	call->modified = FAKE_MODIFIED;
	for (const char *const *h = fake.headers; h && *h && call->header; h += 2)
		call->header(call, h[0], h[1]);
	if (call->op == SCOUT_S3_GET && call->if_match && !fake.ignore_if_match &&
	    strcmp(call->if_match, call->etag) != 0)
		return -ESTALE;
	if (call->op == SCOUT_S3_GET && fake.weak_gets) {
		memmove(call->etag + 2, call->etag, sizeof(call->etag) - 2);
		memcpy(call->etag, "W/", 2);
	}
	return 0;
}

/* A HEAD of one part, whose headers are there. */
static inline int fake_part(struct scout_s3_call *call)
{
	size_t n = 0;

	fake.parts++;
	while (fake.part_bytes && fake.part_bytes[n] > 0)
		n++;
	if (fake.fail_part < 0)
		return fake.fail_part;
	if (n > 0 && call->part > n)
		return -ERANGE;
	if (n > 0)
		call->object_bytes = fake.part_bytes[call->part - 1];
	return 0;
}

/* length bytes from offset (in the object), in pieces. False: given up. */
static inline bool fake_send(struct scout_s3_call *call, uint64_t offset, uint64_t length,
			     size_t piece)
{
	static const struct fake_object none;
	const struct fake_version *v = call->version_id ? fake_find_version(call) : NULL;
	const struct fake_object *o = v ? &none : fake_find(call->key);
	uint8_t *bytes = malloc(piece);
	bool more = true;

	while (more && length > 0) {
		size_t n = length < piece ? (size_t)length : piece;

		fake_bytes(bytes, call->key, v ? v->number : o->version, offset, n);
		for (size_t i = 0; o->contents && i < n; i++) {
			if (offset + i >= o->contents_at)
				bytes[i] = o->contents[offset + i - o->contents_at];
		}
		if (fake.wrong_at > offset && fake.wrong_at <= offset + n)
			bytes[fake.wrong_at - 1 - offset] ^= 1;
		fake.bytes += n;
		more = call->data(call, bytes, n);
		offset += n;
		length -= n;
	}
	free(bytes);
	return more;
}

static inline void fake_answer(struct scout_s3_call *call, size_t piece)
{
	int err = 0;

	if (call->op == SCOUT_S3_LIST) {
		fake.lists++;
		err = fake.fail[SCOUT_S3_LIST];
		if (err == 0 && !fake_list(call))
			err = -ECANCELED;
	} else if (call->op == SCOUT_S3_LIST_VERSIONS) {
		fake.lists++;
		(void)call->data(call, "", 0);
	} else if (call->op == SCOUT_S3_HEAD) {
		fake.heads++;
		err = fake_headers(call);
		if (err == 0 && call->part > 0)
			err = fake_part(call);
	} else if (call->wanted && !call->wanted(call)) {
		err = -ECANCELED;
	} else {
		uint64_t length = call->length;

		fake.got[fake.gets % 4096].offset = call->offset;
		fake.got[fake.gets++ % 4096].length = call->length;
		err = fake_headers(call);
		if (err == 0 && call->guess && call->object_bytes < call->length)
			call->length = length = call->object_bytes;
		if (err == 0 && fake.cut_after > 0 && fake.cut_after < length)
			length = fake.cut_after;
		if (err == 0 && !fake_send(call, call->offset, length, piece))
			err = -ECANCELED;
		if (err == 0 && length < call->length)
			err = fake.fail_body;
	}
	call->done(call, err);
}

/* Answers the oldest call; false: none waits. */
static inline bool fake_answer_one(void)
{
	struct scout_s3_call *call = fake_take(false);

	if (call)
		fake_answer(call, 100000);
	return call != NULL;
}

/* Those that a test answers by itself. */
static inline void fake_answer_all_by(void (*answer)(struct scout_s3_call *))
{
	struct scout_s3_call *call;

	while ((call = fake_take(false)))
		answer(call);
}

static inline void fake_answer_all(void)
{
	while (fake_answer_one())
		;
}

static inline void *fake_engine(void *arg)
{
	struct scout_s3_call *call;
	size_t piece = 50000;

	(void)arg;
	while ((call = fake_take(true))) {
		fake_answer(call, piece);
		piece = piece * 7 % 300007 + 1000;
	}
	return NULL;
}

static inline void fake_start_engine(void)
{
	fake.threaded = true;
	assert_int_equal(pthread_create(&fake.thread, NULL, fake_engine, NULL), 0);
}

#endif
