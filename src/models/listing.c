/* One listing, page by page (Amazon S3 API: ListObjectsV2). Each page is parsed on the engine's
 * thread as it arrives and costs about a millisecond; the next is asked for only then, because its
 * token comes with it. The remote is not believed: a token that repeats, or pages without an end and
 * without keys, end the listing with -EIO. No lock: one engine thread owns a listing. */
#include "models/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/clock.h"
#include "scoutfs/log.h"

#define PAGE_KEYS 1000
#define EMPTY_PAGES_MAX 16 /* in a row: keys that were deleted may leave some */

struct listing {
	struct scout_s3_call call;
	struct scout_models *m;
	struct scout_tree *tree;
	char *prefix;       /* of the keys asked for */
	char *token;        /* of the page asked for, or NULL */
	char *next;         /* of the page after, or NULL */
	int err;            /* what was wrong with the page's contents */
	size_t keys_before; /* in the tree, before this page */
	unsigned empty_pages;
	void (*done)(void *arg, int err, struct scout_tree *tree);
	void *arg;
};

static bool add_entry(void *arg, const struct scout_s3_object *o)
{
	struct listing *l = arg;
	size_t skip = strlen(l->prefix);
	int err;

	if (o->key_len < skip || memcmp(o->key, l->prefix, skip) != 0) {
		l->err = -EIO;
		return false;
	}
	err = scout_tree_add(l->tree, o->key + skip, o->key_len - skip, o->is_prefix ? 0 : o->bytes,
			     o->is_prefix ? 0 : o->modified,
			     o->is_prefix ? 0 : scout_key_version(o->etag, o->bytes, o->modified));
	if (err < 0) {
		l->err = err;
		return false;
	}
	return true;
}

static bool take_page(struct scout_s3_call *call, const void *bytes, size_t len)
{
	struct listing *l = (struct listing *)call;
	int err;

	free(l->next);
	l->next = NULL;
	err = scout_s3_parse_list(bytes, len, add_entry, l, &l->next);
	if (err < 0 && l->err == 0)
		l->err = err;
	return l->err == 0;
}

static void finish(struct listing *l, int err)
{
	struct scout_tree *tree = l->tree;

	if (err == 0) {
		tree->listed_ns = scout_now_ns();
		err = scout_tree_build(tree);
	}
	if (err < 0) {
		scout_tree_unref(tree);
		tree = NULL;
	}
	l->done(l->arg, err, tree);
	free(l->prefix);
	free(l->token);
	free(l->next);
	free(l);
}

static void ask_page(struct listing *l)
{
	l->keys_before = l->tree->keys;
	l->call.continuation = l->token;
	scout_count(&l->m->counters.list_requests, 1);
	scout_s3_submit(l->m->s3, &l->call);
}

static void page_done(struct scout_s3_call *call, int err)
{
	struct listing *l = (struct listing *)call;
	bool repeats;

	if (l->err < 0) {
		err = l->err;
		if (err == -EIO)
			scout_warn("models: listing of '%s': malformed answer", l->prefix);
	}
	if (err < 0 || !l->next) {
		finish(l, err);
		return;
	}
	repeats = l->token && strcmp(l->token, l->next) == 0;
	l->empty_pages = l->tree->keys == l->keys_before ? l->empty_pages + 1 : 0;
	if (repeats || l->empty_pages > EMPTY_PAGES_MAX) {
		scout_warn("models: listing of '%s': the pages do not end", l->prefix);
		finish(l, -EIO);
		return;
	}
	free(l->token);
	l->token = l->next;
	l->next = NULL;
	ask_page(l);
}

int scout_listing_start(struct scout_models *m, const char *folder, bool flat,
			void (*done)(void *arg, int err, struct scout_tree *tree), void *arg)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->m = m;
	l->done = done;
	l->arg = arg;
	l->prefix = scout_models_key(m, folder, *folder ? "/" : "");
	l->tree = scout_tree_new(m->config->list_max_keys);
	if (!l->prefix || !l->tree) {
		scout_tree_unref(l->tree);
		free(l->prefix);
		free(l);
		return -ENOMEM;
	}
	l->tree->asked_ns = scout_now_ns();
	l->call = (struct scout_s3_call){
	    .op = SCOUT_S3_LIST,
	    .prefix = l->prefix,
	    .delimiter = flat ? NULL : "/",
	    .max_keys = PAGE_KEYS,
	    .data = take_page,
	    .done = page_done,
	};
	ask_page(l);
	return 0;
}
