/* Direct questions: what the catalogue does not know, or must be known as of now (at open), S3 is
 * asked itself: HEAD of the key for an object and, side by side, LIST of "path/" with one key for a
 * directory; where both are, the directory wins, as in the catalogue, unless no key in it can be shown. The
 * LIST asks for some keys more, so that who walks down to a model finds the rest of the way answered, and
 * the model's files, if these are all.
 *
 * Equal questions are one, and an answer serves who asks within a moment of its sending, but for one that says
 * that nothing is there, which serves only who is about to make it. Only an open must know what is true now: it
 * waits for a HEAD that is sent after it came, and so do all who come while another is under way, for the same
 * one: a hundred readers who open one object at once cost a few HEADs. Answers are kept, a bounded number of
 * them, until a listing that began later is there, because until then they are the newer truth.
 *
 * What changes a path drops what was answered about it, and a refresh what was answered about all. That holds
 * for questions under way, too: they may have been answered before, so they become stale, which nobody joins
 * and nothing is kept of.
 *
 * m->question_lock for both tables. */
#include "models/question.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "models/keys.h"
#include "models/versions.h"
#include "scoutfs/clock.h"
#include "scoutfs/log.h"

#define ANSWERS_MAX 4096
#define TOLD_MAX 32 /* the files of a model */
#define SHARED_NS (50 * SCOUT_NS_PER_MS)
#define XATTRS_NS SCOUT_NS_PER_S
/* A bucket of S3 Express, whose ETags are no MD5. */
#define EXPRESS "--x-s3"

TAILQ_HEAD(askers, scout_asker);

struct scout_question {
	struct scout_s3_call head, list;
	struct scout_models *m;
	enum scout_question_kind kind;
	uint64_t asked_ns;
	char *key, *version_id, *prefix;
	struct scout_xattrs *xattrs; /* the engine's thread until it is over */
	struct scout_s3_sums sums;   /* likewise */

	/* under m->question_lock */
	unsigned pending; /* calls not done */
	int head_err, list_err;
	struct askers askers;
	struct askers later; /* want one that is sent after they asked */
	bool stale;          /* an answer is for those who asked already, only */
	UT_hash_handle hh;   /* m->questions[kind], until it is stale */

	int list_bad; /* the engine's thread: what was wrong with the LIST's contents */
	bool any;     /* likewise: it told a key below */
	bool below;   /* likewise: one that is shown */
	bool inside;  /* likewise: one that is not the folder's own */
	struct scout_told {
		char *path;
		uint64_t bytes, version;
		int64_t modified;
	} * told; /* likewise: those that it told */
	size_t ntold;
	bool told_partly; /* likewise: there are more */
	char path[];
};

void scout_question_init(struct scout_models *m)
{
	scout_mutex_init(&m->question_lock, SCOUT_LOCK_CATALOGUE);
}

static void drop_answer_locked(struct scout_models *m, struct scout_answer *a)
{
	HASH_DEL(m->answers, a);
	scout_xattrs_unref(a->xattrs);
	free(a->path);
	free(a);
}

void scout_question_destroy(struct scout_models *m)
{
	assert(!m->questions[SCOUT_ASK_NAME] && !m->questions[SCOUT_ASK_OBJECT]);
	while (m->answers)
		drop_answer_locked(m, m->answers);
	scout_mutex_destroy(&m->question_lock);
}

void scout_question_forget(struct scout_models *m, uint64_t asked_ns)
{
	struct scout_answer *a, *next;

	scout_lock(&m->question_lock);
	HASH_ITER (hh, m->answers, a, next) {
		if (a->asked_ns <= asked_ns)
			drop_answer_locked(m, a);
	}
	scout_unlock(&m->question_lock);
}

static void make_stale_locked(struct scout_question *q)
{
	HASH_DEL(q->m->questions[q->kind], q);
	q->stale = true;
}

void scout_question_refresh(struct scout_models *m)
{
	const size_t kinds = sizeof(m->questions) / sizeof(m->questions[0]);
	struct scout_question *q, *next;

	scout_lock(&m->question_lock);
	while (m->answers)
		drop_answer_locked(m, m->answers);
	for (size_t kind = 0; kind < kinds; kind++) {
		HASH_ITER (hh, m->questions[kind], q, next)
			make_stale_locked(q);
	}
	scout_unlock(&m->question_lock);
}

/* Of the path that the first len bytes are. */
static void drop_locked(struct scout_models *m, const char *path, size_t len)
{
	const size_t kinds = sizeof(m->questions) / sizeof(m->questions[0]);
	struct scout_question *q;
	struct scout_answer *a;

	HASH_FIND(hh, m->answers, path, len, a);
	if (a)
		drop_answer_locked(m, a);
	for (size_t kind = 0; kind < kinds; kind++) {
		HASH_FIND(hh, m->questions[kind], path, len, q);
		if (q)
			make_stale_locked(q);
	}
}

void scout_question_drop(struct scout_models *m, const char *path)
{
	scout_lock(&m->question_lock);
	drop_locked(m, path, strlen(path));
	scout_unlock(&m->question_lock);
}

void scout_question_drop_parents(struct scout_models *m, const char *path)
{
	scout_lock(&m->question_lock);
	for (size_t len = strlen(path); len > 0; len--) {
		if (path[len] == '/')
			drop_locked(m, path, len);
	}
	scout_unlock(&m->question_lock);
}

unsigned scout_question_count(struct scout_models *m)
{
	unsigned count;

	scout_lock(&m->question_lock);
	count = HASH_COUNT(m->answers);
	scout_unlock(&m->question_lock);
	return count;
}

static bool known_locked(struct scout_models *m, const char *path, uint64_t since_ns,
			 struct scout_answer *ret)
{
	struct scout_answer *a;

	HASH_FIND_STR(m->answers, path, a);
	if (!a || a->asked_ns <= since_ns)
		return false;
	*ret = *a;
	ret->path = NULL; /* the xattrs stay the table's */
	return true;
}

bool scout_question_known(struct scout_models *m, const char *path, uint64_t since_ns,
			  struct scout_answer *ret)
{
	bool known;

	scout_lock(&m->question_lock);
	known = known_locked(m, path, since_ns, ret);
	scout_unlock(&m->question_lock);
	if (known)
		ret->xattrs = NULL;
	return known;
}

struct scout_xattrs *scout_question_xattrs(struct scout_models *m, const char *path)
{
	uint64_t now = scout_now_ns();
	struct scout_xattrs *x = NULL;
	struct scout_answer answer;

	scout_lock(&m->question_lock);
	if (known_locked(m, path, now > XATTRS_NS ? now - XATTRS_NS : 0, &answer))
		x = scout_xattrs_ref(answer.xattrs);
	scout_unlock(&m->question_lock);
	return x;
}

/* Keeps a copy of answer; without memory it is not kept, which costs a question later. */
static void remember_locked(struct scout_models *m, const char *path,
			    const struct scout_answer *answer)
{
	struct scout_answer *a;

	HASH_FIND_STR(m->answers, path, a);
	if (a)
		drop_answer_locked(m, a);
	else if (HASH_COUNT(m->answers) >= ANSWERS_MAX)
		drop_answer_locked(m, m->answers); /* the oldest: uthash keeps the order */
	a = malloc(sizeof(*a));
	if (!a)
		return;
	*a = *answer;
	scout_xattrs_ref(a->xattrs);
	a->path = strdup(path);
	if (a->path)
		HASH_ADD_KEYPTR(hh, m->answers, a->path, strlen(a->path), a);
	if (!a->path || !a->hh.tbl) {
		scout_xattrs_unref(a->xattrs);
		free(a->path);
		free(a);
	}
}

static void remember_if_newest_locked(struct scout_models *m, const char *path,
				      const struct scout_answer *answer)
{
	struct scout_answer younger;

	if (!known_locked(m, path, answer->asked_ns, &younger))
		remember_locked(m, path, answer);
}

void scout_question_tell(struct scout_models *m, const char *path, const struct scout_attr *attr)
{
	struct scout_answer told = {
	    .kind = SCOUT_MISSING, .asked_ns = scout_now_ns(), .listed = true};

	if (attr) {
		told.kind = SCOUT_FILE;
		told.bytes = attr->size;
		told.modified = attr->mtime.tv_sec;
		told.version = attr->version;
	}
	scout_lock(&m->question_lock);
	remember_if_newest_locked(m, path, &told);
	scout_unlock(&m->question_lock);
}

/* Whether q's LIST told a key below path, too: then path is a folder. */
static bool is_folder(const struct scout_question *q, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < q->ntold; i++) {
		if (strncmp(q->told[i].path, path, len) == 0 && q->told[i].path[len] == '/')
			return true;
	}
	return false;
}

/* What q's LIST told below q's path, and the folders on the way there. */
static void remember_told_locked(struct scout_models *m, const struct scout_question *q)
{
	const struct scout_answer folder = {
	    .kind = SCOUT_DIR, .asked_ns = q->asked_ns, .listed = true};

	if (q->list_err < 0 || q->stale)
		return;
	for (size_t i = 0; i < q->ntold; i++) {
		const struct scout_told *t = &q->told[i];
		const struct scout_answer file = {.kind = SCOUT_FILE,
						  .asked_ns = q->asked_ns,
						  .bytes = t->bytes,
						  .modified = t->modified,
						  .version = t->version,
						  .listed = true};
		char *slash = t->path + strlen(q->path);
		enum scout_key_kind kind = scout_key_judge(t->path, strlen(t->path), t->bytes);

		while ((slash = strchr(slash + 1, '/'))) {
			*slash = '\0';
			remember_if_newest_locked(m, t->path, &folder);
			*slash = '/';
		}
		if (kind == SCOUT_KEY_FILE && !q->told_partly && !is_folder(q, t->path))
			remember_if_newest_locked(m, t->path, &file);
	}
}

static bool has_opaque_etags(const struct scout_models *m)
{
	size_t len = strlen(m->config->bucket), end = strlen(EXPRESS);

	return len > end && strcmp(m->config->bucket + len - end, EXPRESS) == 0;
}

/* What the two calls say together. */
static int conclude(const struct scout_question *q, struct scout_answer *ret)
{
	const struct scout_s3_call *head = &q->head;
	struct scout_s3_sums sums = q->sums;

	*ret = (struct scout_answer){.kind = SCOUT_MISSING, .asked_ns = q->asked_ns};
	if (q->list_err == 0 && (q->below || (q->any && q->head_err < 0))) {
		ret->kind = SCOUT_DIR;
		ret->empty = !q->inside && !q->told_partly;
		return 0;
	}
	if (q->head_err == 0) {
		ret->kind = SCOUT_FILE;
		ret->bytes = head->object_bytes;
		ret->modified = head->modified;
		ret->version = scout_key_version(head->etag, head->object_bytes, head->modified);
		memcpy(ret->etag, head->etag, sizeof(ret->etag));
		sums.opaque_etag |= has_opaque_etags(q->m);
		scout_s3_sums_whole(&sums, ret->etag, &ret->checksum);
		if (q->xattrs)
			scout_xattrs_complete(q->xattrs, q->key, ret->etag, &ret->checksum);
		ret->xattrs = q->xattrs;
		return 0;
	}
	return q->head_err == -ENOENT ? q->list_err : q->head_err;
}

static void free_question(struct scout_question *q)
{
	scout_xattrs_unref(q->xattrs);
	free(q->key);
	free(q->version_id);
	free(q->prefix);
	for (size_t i = 0; i < q->ntold; i++)
		free(q->told[i].path);
	free(q->told);
	free(q);
}

static void tell(struct askers *askers, int err, const struct scout_answer *answer)
{
	struct scout_asker *a;

	while ((a = TAILQ_FIRST(askers))) {
		TAILQ_REMOVE(askers, a, link);
		a->answered(a, err, err == 0 ? answer : NULL);
	}
}

static struct scout_question *question_new(struct scout_models *m, enum scout_question_kind kind,
					   const char *path);

static bool add_locked(struct scout_models *m, struct scout_question *q)
{
	HASH_ADD_STR(m->questions[q->kind], path, q);
	return q->hh.tbl != NULL;
}

/* An equal question under way, or one that answers this one too. */
static struct scout_question *find_question_locked(struct scout_models *m,
						   enum scout_question_kind kind, const char *path)
{
	struct scout_question *q = NULL;

	if (kind != SCOUT_ASK_ANEW)
		HASH_FIND_STR(m->questions[SCOUT_ASK_NAME], path, q);
	if (!q && kind != SCOUT_ASK_NAME)
		HASH_FIND_STR(m->questions[SCOUT_ASK_OBJECT], path, q);
	return q;
}

/* The question of those who came too late for q, which is over; NULL: there are none, or they have joined
 * the one that was begun since q is stale, or no memory. */
static struct scout_question *follow_locked(struct scout_question *q)
{
	struct scout_question *next;

	if (TAILQ_EMPTY(&q->later))
		return NULL;
	next = find_question_locked(q->m, SCOUT_ASK_ANEW, q->path);
	if (next) {
		TAILQ_CONCAT(&next->askers, &q->later, link);
		return NULL;
	}
	next = question_new(q->m, q->kind, q->path);
	if (next && !add_locked(q->m, next)) {
		free_question(next);
		next = NULL;
	}
	if (next)
		TAILQ_CONCAT(&next->askers, &q->later, link);
	return next;
}

static void send(struct scout_question *q)
{
	struct scout_models *m = q->m;
	bool both = q->kind == SCOUT_ASK_NAME;

	scout_count(&m->counters.direct_questions, 1);
	/* q may be over and gone after the last of its calls is submitted */
	if (both)
		scout_s3_submit(m->s3, &q->list);
	scout_s3_submit(m->s3, &q->head);
}

/* Keeps q's answer, unless it is stale, or a younger question was answered sooner: then that is the answer, if it
 * is a whole one. Returns a reference to its xattrs, or NULL. */
static struct scout_xattrs *keep_locked(struct scout_question *q, struct scout_answer *answer)
{
	struct scout_answer younger;

	if (!known_locked(q->m, q->path, q->asked_ns, &younger)) {
		if (!q->stale)
			remember_locked(q->m, q->path, answer);
		return NULL;
	}
	if (younger.listed)
		return NULL;
	*answer = younger;
	return scout_xattrs_ref(younger.xattrs);
}

/* One of q's calls is done; the last one ends q. */
static void call_done(struct scout_question *q, int *which, int err)
{
	struct scout_models *m = q->m;
	struct scout_question *next = NULL;
	struct scout_xattrs *held = NULL;
	struct scout_answer answer;
	bool over;

	scout_lock(&m->question_lock);
	*which = err;
	over = --q->pending == 0;
	if (over) {
		if (!q->stale)
			HASH_DEL(m->questions[q->kind], q);
		err = conclude(q, &answer);
		if (err == 0) {
			held = keep_locked(q, &answer);
			remember_told_locked(m, q);
			next = follow_locked(q);
		}
	}
	scout_unlock(&m->question_lock);
	if (!over)
		return;
	if (next)
		send(next);
	tell(&q->askers, err, &answer);
	/* who waits longer waits no better: a failure is theirs too */
	tell(&q->later, err < 0 ? err : -ENOMEM, NULL);
	scout_xattrs_unref(held);
	free_question(q);
}

static void take_header(struct scout_s3_call *call, const char *name, const char *value)
{
	struct scout_question *q = (struct scout_question *)call;

	scout_s3_sums_header(&q->sums, name, value);
	if (!q->xattrs)
		q->xattrs = scout_xattrs_new(); /* without memory there are none */
	if (q->xattrs)
		scout_xattrs_header(q->xattrs, name, value);
}

static void head_done(struct scout_s3_call *call, int err)
{
	struct scout_question *q = (struct scout_question *)call;

	call_done(q, &q->head_err, err);
}

static struct scout_question *of_list(struct scout_s3_call *call)
{
	return (struct scout_question *)((char *)call - offsetof(struct scout_question, list));
}

static void list_done(struct scout_s3_call *call, int err)
{
	struct scout_question *q = of_list(call);
	char name[256];

	if (q->list_bad < 0) {
		err = q->list_bad;
		if (err == -EIO)
			scout_warn("models: listing of '%s': malformed answer",
				   scout_format_name(name, sizeof(name), q->prefix));
	}
	call_done(q, &q->list_err, err);
}

static bool note_key(void *arg, const struct scout_s3_object *o)
{
	struct scout_question *q = arg;
	size_t len = strlen(q->prefix), skip = strlen(q->m->config->prefix);
	char *path;

	if (o->key_len < len || memcmp(o->key, q->prefix, len) != 0)
		return true;
	q->any = true;
	q->inside |= o->key_len > len || o->bytes > 0;
	if (scout_key_judge(o->key + skip, o->key_len - skip, o->bytes) >= SCOUT_KEY_LEFT_OUT)
		return true;
	q->below = true;
	if (!q->told)
		q->told = calloc(TOLD_MAX, sizeof(q->told[0]));
	if (!q->told || q->ntold == TOLD_MAX || !(path = strdup(o->key + skip))) {
		q->told_partly = true; /* the questions to come cost more */
		return true;
	}
	q->told[q->ntold++] = (struct scout_told){
	    .path = path,
	    .bytes = o->bytes,
	    .version = scout_key_version(o->etag, o->bytes, o->modified),
	    .modified = o->modified,
	};
	return true;
}

static bool take_keys(struct scout_s3_call *call, const void *bytes, size_t len)
{
	struct scout_question *q = of_list(call);
	char *next = NULL;

	q->list_bad = scout_s3_parse_list(bytes, len, note_key, q, &next);
	if (next) {
		q->told_partly = true;
		q->below |= q->any; /* there may be a name among the others */
	}
	free(next);
	return q->list_bad == 0;
}

static struct scout_question *question_new(struct scout_models *m, enum scout_question_kind kind,
					   const char *path)
{
	size_t len = strlen(path);
	struct scout_question *q = calloc(1, sizeof(*q) + len + 1);

	if (!q)
		return NULL;
	q->m = m;
	q->kind = kind;
	q->asked_ns = scout_now_ns();
	(void)scout_versions_key(m, path, &q->key, &q->version_id); /* else there is no key */
	q->prefix = scout_models_key(m, path, "/");
	q->pending = kind == SCOUT_ASK_NAME ? 2 : 1;
	TAILQ_INIT(&q->askers);
	TAILQ_INIT(&q->later);
	memcpy(q->path, path, len + 1);
	if (!q->key || !q->prefix) {
		free_question(q);
		return NULL;
	}
	q->head = (struct scout_s3_call){
	    .op = SCOUT_S3_HEAD,
	    .key = q->key,
	    .version_id = q->version_id,
	    .checksums = true,
	    .header = take_header,
	    .done = head_done,
	};
	q->list = (struct scout_s3_call){
	    .op = SCOUT_S3_LIST,
	    .prefix = q->prefix,
	    .max_keys = TOLD_MAX,
	    .data = take_keys,
	    .done = list_done,
	};
	return q;
}

/* Joins a question under way, or adds one: *begin. False: no memory. */
static bool join_locked(struct scout_models *m, enum scout_question_kind kind, const char *path,
			struct scout_asker *a, struct scout_question **begin)
{
	struct scout_question *q = find_question_locked(m, kind, path);

	if (q && kind == SCOUT_ASK_ANEW) {
		TAILQ_INSERT_TAIL(&q->later, a, link);
		return true;
	}
	if (!q) {
		q = question_new(m, kind == SCOUT_ASK_NAME ? kind : SCOUT_ASK_OBJECT, path);
		if (!q)
			return false;
		if (!add_locked(m, q)) {
			free_question(q);
			return false;
		}
		*begin = q;
	}
	TAILQ_INSERT_TAIL(&q->askers, a, link);
	return true;
}

void scout_question_ask(struct scout_models *m, enum scout_question_kind kind, const char *path,
			struct scout_asker *a)
{
	uint64_t now = scout_now_ns();
	struct scout_question *begin = NULL;
	struct scout_answer answer = {.kind = SCOUT_MISSING, .asked_ns = now};
	struct scout_xattrs *held = NULL;
	bool known, waits = false, looks = kind == SCOUT_ASK_LOOK;

	if (looks)
		kind = SCOUT_ASK_NAME;
	/* S3 knows no such key, and refuses the question as malformed */
	known = strlen(m->config->prefix) + strlen(path) > SCOUT_KEY_MAX;
	scout_lock(&m->question_lock);
	if (!known && kind != SCOUT_ASK_ANEW)
		known = known_locked(m, path, now > SHARED_NS ? now - SHARED_NS : 0, &answer) &&
			!answer.listed && !(looks && answer.kind == SCOUT_MISSING);
	if (known)
		held = scout_xattrs_ref(answer.xattrs);
	if (!known)
		waits = join_locked(m, kind, path, a, &begin);
	scout_unlock(&m->question_lock);
	if (begin)
		send(begin);
	else if (!waits)
		a->answered(a, known ? 0 : -ENOMEM, known ? &answer : NULL);
	scout_xattrs_unref(held);
}
