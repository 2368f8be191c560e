/* Extended attributes of objects, for `getfattr -d -m - FILE`:
 *
 *   user.scoutfs.etag, .key, .version_id, .storage_class, .sha256   where S3 tells them
 *   user.s3.meta.NAME                                               of x-amz-meta-NAME
 *
 * One HEAD answers all of them, the same that tells an object's size and ETag (question.c), and is
 * believed for a second, so that reading them one by one costs no more. What `ls -l` asks for by itself
 * (security., system.) costs no request, and directories have none.
 *
 * Values are the remote's word: their number and their bytes are bounded. */
#include "models/xattr.h"

#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>

#include "models/catalogue.h"
#include "models/keys.h"
#include "models/question.h"
#include "models/versions.h"
#include "scoutfs/clock.h"

#define OURS "user.scoutfs."
#define META "user.s3.meta."
#define META_HEADER "x-amz-meta-"

/* Of one object's metadata, names included; S3 takes 2 KiB of it. */
#define META_BYTES_MAX 4096
#define META_COUNT_MAX 64
#define VALUE_MAX SCOUT_KEY_MAX /* of our own: the longest is a key */

struct scout_xattrs {
	atomic_uint refs;
	unsigned nmeta;
	size_t meta_bytes;
	bool has_class;
	struct scout_text text; /* name, NUL, value, NUL, and so on */
};

struct scout_xattrs *scout_xattrs_new(void)
{
	struct scout_xattrs *x = calloc(1, sizeof(*x));

	if (x)
		atomic_init(&x->refs, 1);
	return x;
}

struct scout_xattrs *scout_xattrs_ref(struct scout_xattrs *x)
{
	if (x)
		atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
	return x;
}

void scout_xattrs_unref(struct scout_xattrs *x)
{
	if (!x || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
		return;
	scout_text_free(&x->text);
	free(x);
}

static const char *next_of(const char *name, const char **value)
{
	*value = name + strlen(name) + 1;
	return *value + strlen(*value) + 1;
}

const char *scout_xattrs_get(const struct scout_xattrs *x, const char *name, size_t *len)
{
	const char *at = x->text.str, *end = at ? at + x->text.len : NULL, *next, *value;

	for (; at && at < end; at = next) {
		next = next_of(at, &value);
		if (strcmp(at, name) == 0) {
			*len = strlen(value);
			return value;
		}
	}
	return NULL;
}

void scout_xattrs_list(const struct scout_xattrs *x, struct scout_text *out)
{
	const char *at = x->text.str, *end = at ? at + x->text.len : NULL, *next, *value;

	for (; at && at < end; at = next) {
		next = next_of(at, &value);
		scout_text_append(out, at, strlen(at) + 1);
	}
}

static bool add(struct scout_xattrs *x, const char *space, const char *rest, const char *value)
{
	char name[XATTR_NAME_MAX + 1];
	size_t len;

	if (!*rest || strlen(space) + strlen(rest) > XATTR_NAME_MAX)
		return false;
	strcpy(name, space);
	strcat(name, rest);
	if (scout_xattrs_get(x, name, &len))
		return false;
	scout_text_append(&x->text, name, strlen(name) + 1);
	scout_text_append(&x->text, value, strlen(value) + 1);
	return true;
}

static void add_meta(struct scout_xattrs *x, const char *name, const char *value)
{
	size_t bytes = strlen(name) + strlen(value);

	if (x->nmeta == META_COUNT_MAX || bytes > META_BYTES_MAX - x->meta_bytes ||
	    !add(x, META, name, value))
		return;
	x->nmeta++;
	x->meta_bytes += bytes;
}

static void add_own(struct scout_xattrs *x, const char *name, const char *value)
{
	if (strlen(value) <= VALUE_MAX)
		(void)add(x, OURS, name, value); /* the first one told stays */
}

void scout_xattrs_header(struct scout_xattrs *x, const char *name, const char *value)
{
	if (strcmp(name, "x-amz-version-id") == 0) {
		add_own(x, "version_id", value);
	} else if (strcmp(name, "x-amz-storage-class") == 0) {
		add_own(x, "storage_class", value);
		x->has_class = true;
	} else if (strncmp(name, META_HEADER, strlen(META_HEADER)) == 0) {
		add_meta(x, name + strlen(META_HEADER), value);
	}
}

void scout_xattrs_complete(struct scout_xattrs *x, const char *key, const char *etag,
			   const struct scout_s3_checksum *checksum)
{
	char text[SCOUT_ETAG_MAX];
	size_t len;

	if (strncmp(etag, "W/", 2) == 0)
		etag += 2;
	len = strlen(etag);
	if (len > 2) {
		memcpy(text, etag + 1, len - 2); /* without its quotes */
		text[len - 2] = '\0';
		add_own(x, "etag", text);
	}
	add_own(x, "key", key);
	/* HeadObject: "Amazon S3 returns this header for all objects except for S3 Standard" */
	if (!x->has_class)
		add_own(x, "storage_class", "STANDARD");
	if (checksum->kind == SCOUT_S3_SHA256 && checksum->parts == 0) {
		for (size_t i = 0; i < sizeof(checksum->bytes); i++)
			sprintf(text + 2 * i, "%02x", checksum->bytes[i]);
		add_own(x, "sha256", text);
	}
}

/* ---- the backend's operations ---- */

struct asking {
	struct scout_asker asker;
	struct scout_req *req;
	char *name; /* NULL: all names */
};

static void reply(struct scout_req *req, const struct scout_xattrs *x, const char *name)
{
	struct scout_result res = {.ttl_ms = 0};
	struct scout_text names = {0};
	int err = 0;

	if (name) {
		res.xattr.bytes = scout_xattrs_get(x, name, &res.xattr.len);
		err = res.xattr.bytes ? 0 : -ENODATA;
	} else {
		scout_xattrs_list(x, &names);
		res.xattr.bytes = names.str;
		res.xattr.len = names.len;
		err = names.failed ? -ENOMEM : 0;
	}
	scout_req_done(req, err, err ? NULL : &res);
	scout_text_free(&names);
}

static void reply_none(struct scout_req *req, const char *name)
{
	struct scout_result res = {.ttl_ms = 0};

	scout_req_done(req, name ? -ENODATA : 0, name ? NULL : &res);
}

static void answered(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct asking *w = (struct asking *)a;

	if (err == 0 && answer->kind == SCOUT_MISSING)
		err = -ENOENT;
	else if (err == 0 && answer->kind == SCOUT_FILE && !answer->xattrs)
		err = -ENOMEM;
	if (err < 0)
		scout_req_done(w->req, err, NULL);
	else if (answer->kind == SCOUT_FILE)
		reply(w->req, answer->xattrs, w->name);
	else
		reply_none(w->req, w->name);
	free(w->name);
	free(w);
}

static void ask(struct scout_models *m, enum scout_question_kind kind, const char *path,
		const char *name, struct scout_req *req)
{
	struct asking *w = calloc(1, sizeof(*w));

	if (w && name)
		w->name = strdup(name);
	if (!w || (name && !w->name)) {
		free(w);
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	w->asker.answered = answered;
	w->req = req;
	scout_question_ask(m, kind, path, &w->asker);
}

/* What the path is known to be: without asking. */
static enum scout_answer_kind known_kind(struct scout_models *m, const char *path)
{
	struct scout_tree *tree;
	const struct scout_node *n;
	enum scout_answer_kind kind = SCOUT_MISSING;
	struct scout_answer answer;

	if (scout_catalogue_known(m, path, true, &n, &tree, &answer))
		kind = answer.kind;
	else if (n)
		kind = n->dir ? SCOUT_DIR : SCOUT_FILE;
	scout_tree_unref(tree);
	return kind;
}

/* name NULL: all of them. */
static void look(struct scout_models *m, const char *path, const char *name, struct scout_req *req)
{
	struct scout_xattrs *x = *path ? scout_question_xattrs(m, path) : NULL;
	enum scout_answer_kind kind = *path && !x ? known_kind(m, path) : SCOUT_DIR;
	size_t cut = scout_versions_cut(m, path);

	if (cut > 0 && (!path[cut] || !strchr(path + cut + 1, '/')))
		kind = SCOUT_DIR; /* of versions, if there are any */

	if (x)
		reply(req, x, name);
	else if (kind == SCOUT_DIR)
		reply_none(req, name);
	else /* a HEAD alone would take a directory for missing */
		ask(m, kind == SCOUT_FILE ? SCOUT_ASK_OBJECT : SCOUT_ASK_NAME, path, name, req);
	scout_xattrs_unref(x);
}

void scout_models_getxattr(void *self, const char *path, const char *name, struct scout_req *req)
{
	if (strncmp(name, "user.", strlen("user.")) != 0)
		scout_req_done(req, -EOPNOTSUPP, NULL);
	else if (strncmp(name, OURS, strlen(OURS)) != 0 && strncmp(name, META, strlen(META)) != 0)
		scout_req_done(req, -ENODATA, NULL);
	else
		look(self, path, name, req);
}

void scout_models_listxattr(void *self, const char *path, struct scout_req *req)
{
	look(self, path, NULL, req);
}
