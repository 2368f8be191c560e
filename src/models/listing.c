/* One listing, page by page (Amazon S3 API: ListObjectsV2). Each page is parsed and put into the tree on
 * the engine's thread as it arrives, which costs some three milliseconds, most of them the parser's; the end costs no
 * more. The next is asked for only then, because its token comes with it. The remote is not believed: a token that
 * repeats, or pages without an end and without entries, end the listing with -EIO, and far more entries than may be
 * kept with -E2BIG. No lock: one engine thread owns a listing. */
#include "models/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/versions.h"
#include "scoutfs/clock.h"
#include "scoutfs/log.h"

#define PAGE_KEYS 1000
#define EMPTY_PAGES_MAX 16 /* in a row: keys that were deleted may leave some */
#define ENTRIES_PER_KEY 16 /* of a folder's versions most are the newest, which are not kept */

struct listing {
	struct scout_s3_call call;
	struct scout_models *m;
	struct scout_tree *tree;
	char *prefix;  /* of the keys asked for */
	bool versions; /* of a folder of versions */
	char *token;   /* of the page asked for, or NULL */
	char *marker;  /* of versions: its second one, or NULL */
	char *next;    /* of the page after, or NULL */
	char *next_marker;
	int err;               /* what was wrong with the page's contents */
	size_t entries;        /* of all pages, kept or not */
	size_t entries_before; /* those of the pages before */
	unsigned empty_pages;
	void (*done)(void *arg, int err, struct scout_tree *tree);
	void *arg;
};

static bool add_entry(void *arg, const struct scout_s3_object *o)
{
	struct listing *l = arg;
	size_t skip = strlen(l->prefix);
	int err;

	l->entries++;
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

static bool add_version(void *arg, const struct scout_s3_object *o)
{
	struct listing *l = arg;
	size_t skip = strlen(l->prefix);
	struct scout_text path = {0};

	if (++l->entries / ENTRIES_PER_KEY > l->tree->max_keys) {
		l->err = -E2BIG;
		return false;
	}
	if (o->is_prefix || o->latest || o->deleted || o->key_len == skip)
		return true;
	if (o->key_len < skip || memcmp(o->key, l->prefix, skip) != 0 ||
	    memchr(o->key + skip, '/', o->key_len - skip)) {
		l->err = -EIO;
		return false;
	}
	if (strchr(o->version_id, '/')) { /* it would be a folder's name and another's */
		l->err = scout_tree_leave_out(l->tree, SCOUT_KEY_SLASH_IN_ID);
		return l->err == 0;
	}
	scout_text_append(&path, o->key + skip, o->key_len - skip);
	scout_text_printf(&path, "/%s", o->version_id);
	l->err = path.failed ? -ENOMEM
			     : scout_tree_add(l->tree, path.str, path.len, o->bytes, o->modified,
					      scout_key_version(o->etag, o->bytes, o->modified));
	scout_text_free(&path);
	return l->err == 0;
}

static bool take_page(struct scout_s3_call *call, const void *bytes, size_t len)
{
	struct listing *l = (struct listing *)call;
	int err;

	free(l->next);
	free(l->next_marker);
	l->next = l->next_marker = NULL;
	err = l->versions
		  ? scout_s3_parse_versions(bytes, len, add_version, l, &l->next, &l->next_marker)
		  : scout_s3_parse_list(bytes, len, add_entry, l, &l->next);
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
	free(l->marker);
	free(l->next);
	free(l->next_marker);
	free(l);
}

static void ask_page(struct listing *l)
{
	l->entries_before = l->entries;
	l->call.continuation = l->token;
	l->call.version_marker = l->marker;
	scout_count(&l->m->counters.list_requests, 1);
	scout_s3_submit(l->m->s3, &l->call);
}

static void page_done(struct scout_s3_call *call, int err)
{
	struct listing *l = (struct listing *)call;
	char name[256];
	bool repeats;

	if (l->err < 0) {
		err = l->err;
		if (err == -EIO)
			scout_warn("models: listing of '%s': malformed answer",
				   scout_format_name(name, sizeof(name), l->prefix));
	}
	if (err < 0 || !l->next) {
		finish(l, err);
		return;
	}
	repeats = l->token && strcmp(l->token, l->next) == 0 &&
		  strcmp(l->marker ? l->marker : "", l->next_marker ? l->next_marker : "") == 0;
	l->empty_pages = l->entries == l->entries_before ? l->empty_pages + 1 : 0;
	if (repeats || l->empty_pages > EMPTY_PAGES_MAX) {
		scout_warn("models: listing of '%s': the pages do not end",
			   scout_format_name(name, sizeof(name), l->prefix));
		finish(l, -EIO);
		return;
	}
	free(l->token);
	free(l->marker);
	l->token = l->next;
	l->marker = l->next_marker;
	l->next = l->next_marker = NULL;
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
	l->versions = scout_versions_cut(m, folder) > 0;
	l->prefix = scout_models_key(m, folder, *folder && !l->versions ? "/" : "");
	if (l->prefix && l->versions)
		l->prefix[strlen(l->prefix) - strlen(SCOUT_VERSIONS)] = '\0';
	l->tree = scout_tree_new(m->config->list_max_keys);
	if (!l->prefix || !l->tree) {
		scout_tree_unref(l->tree);
		free(l->prefix);
		free(l);
		return -ENOMEM;
	}
	l->tree->asked_ns = scout_now_ns();
	l->call = (struct scout_s3_call){
	    .op = l->versions ? SCOUT_S3_LIST_VERSIONS : SCOUT_S3_LIST,
	    .prefix = l->prefix,
	    .delimiter = flat ? NULL : "/",
	    .max_keys = PAGE_KEYS,
	    .data = take_page,
	    .done = page_done,
	};
	ask_page(l);
	return 0;
}
