/* Listings that are large, malformed, or asked for anew. */
#include "mount.h"

#include "models/catalogue.h"
#include "models/tree.h"

/* ---- how much they take ---- */

/* What this thread has worked, whatever else the machine does. */
static uint64_t worked_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * SCOUT_NS_PER_S + (uint64_t)now.tv_nsec;
}

typedef void make_key(char *key, size_t i);

/* *longest_ns: the longest that a page, or the end, kept the thread. */
static struct scout_tree *plant(size_t keys, make_key *make, uint64_t *longest_ns)
{
	struct scout_tree *t = scout_tree_new(keys);
	uint64_t begun_ns = worked_ns(), ns;
	char key[100];

	*longest_ns = 0;
	for (size_t i = 0; i < keys; i++) {
		make(key, i);
		assert_int_equal(scout_tree_add(t, key, strlen(key), 1000, 7, i), 0);
		if (i % 1000 < 999)
			continue;
		ns = worked_ns();
		*longest_ns = ns - begun_ns > *longest_ns ? ns - begun_ns : *longest_ns;
		begun_ns = ns;
	}
	assert_int_equal(scout_tree_add(t, key, strlen(key), 1000, 7, 0), -E2BIG);
	begun_ns = worked_ns();
	assert_int_equal(scout_tree_build(t), 0);
	ns = worked_ns() - begun_ns;
	*longest_ns = ns > *longest_ns ? ns : *longest_ns;
	return t;
}

static void memory_of(size_t keys, size_t most_bytes_a_key)
{
	uint64_t longest_ns;
	struct scout_tree *t = plant(keys, fake_generated_key, &longest_ns);
	char last[100];

	assert_int_equal(t->files, keys);
	assert_true(scout_tree_bytes(t) / keys <= most_bytes_a_key);
	fake_generated_key(last, keys - 1);
	assert_int_equal(scout_tree_find(t, last)->version, keys - 1);
	assert_int_equal(scout_tree_find(t, "org-0003")->count, 1000);
	assert_null(scout_tree_find(t, "org-0003/model-007/main/model.zi"));
	scout_tree_unref(t);
}

static void a_hundred_thousand_keys(void **state)
{
	(void)state;
	memory_of(100000, 100);
}

static void a_million_keys(void **state)
{
	(void)state;
	memory_of(1000000, 100);
}

/* "m00000-x/…" comes before "m00000/…" in S3's order of bytes, and behind it in a folder. */
static void key_out_of_our_order(char *key, size_t i)
{
	sprintf(key, "m%05zu%s/main/%c", i / 8, i / 4 % 2 ? "" : "-x", (char)('a' + i % 4));
}

static void key_in_one_folder(char *key, size_t i)
{
	sprintf(key, "all/m%06zu%s", i / 2, i % 2 ? "/model.zip" : "-x");
}

/* The engine's thread has other bytes to take meanwhile, and connections to look after. */
static void no_page_keeps_the_engine_long(void **state)
{
	static make_key *const keys[] = {fake_generated_key, key_out_of_our_order,
					 key_in_one_folder};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint64_t longest_ns;

		scout_tree_unref(plant(200000, keys[i], &longest_ns));
		assert_true(SANITIZED || longest_ns < 50 * SCOUT_NS_PER_MS);
	}
}

/* A million of them over list_max_keys: the flat listing is given up there, and folders are listed. */
static void a_million_keys_by_folder(void **state)
{
	struct mount t;
	struct asked *d, *r;
	unsigned lists;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake.generated = 1000000;
	d = ask_opendir(&t, "");
	fake_answer_all();
	assert_true(d->done);
	assert_int_equal(d->err, 0);
	assert_int_equal(fake.lists, 202); /* 200,001 keys, then 250 names */
	r = asked_new(READDIR);
	t.backend.ops->readdir(t.backend.self, d->handle, 249, &r->req);
	assert_int_equal(r->count, 1);
	assert_string_equal(r->names[0], "org-0249");
	asked_free(r);
	t.backend.ops->releasedir(t.backend.self, d->handle);
	asked_free(d);
	lists = fake.lists;
	expect_names(&t, "org-0249/model-999/main",
		     "README.md config.json model.zip tokenizer.json");
	assert_int_equal(fake.lists, lists + 1);
	mount_down(&t);
}

static void close_folder(struct mount *t, struct asked *d)
{
	t->backend.ops->releasedir(t->backend.self, d->handle);
	asked_free(d);
}

static uint64_t catalogue_bytes(struct mount *t)
{
	static const char line[] = "\nscoutfs_models_catalogue_bytes ";
	struct scout_text text = {0};
	const char *at;
	uint64_t bytes;

	t->backend.ops->metrics(t->backend.self, &text);
	at = strstr(text.str, line);
	assert_non_null(at);
	bytes = strtoull(at + sizeof(line) - 1, NULL, 10);
	scout_text_free(&text);
	return bytes;
}

/* Lists a folder of four names. */
static struct asked *list_model(struct mount *t, unsigned i)
{
	struct asked *d;
	char path[100];

	sprintf(path, "org-0000/model-%03u/main", i);
	d = ask_opendir(t, path);
	fake_answer_all();
	assert_true(d->done);
	assert_int_equal(d->err, 0);
	return d;
}

/* ---- touch ---- */

static struct asked *touch(struct mount *t, const char *path, unsigned set)
{
	struct asked *a = asked_new(GETATTR);
	struct scout_setattr change = {.set = set};

	t->backend.ops->setattr(t->backend.self, path, NULL, &change, &a->req);
	return a;
}

static void touched(struct mount *t)
{
	struct asked *a = touch(t, "", SCOUT_SET_ATIME | SCOUT_SET_MTIME);

	assert_true(S_ISDIR(a->attr.mode));
	expect(a, 0);
}

/* However many are listed, they hold no more names than one listing may, and nothing that is too old. */
static void folders_together_are_bounded(void **state)
{
	uint64_t one = 0, most = 0, bytes;
	struct asked *open;
	struct mount t;
	unsigned lists;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	t.config.models.list_max_keys = 40;
	fake.generated = 4000;
	open = list_model(&t, 999);
	for (unsigned i = 0; i < 64; i++) {
		close_folder(&t, list_model(&t, i));
		bytes = catalogue_bytes(&t);
		if (i == 0)
			one = bytes / 2;
		if (i == 8)
			most = bytes; /* of ten */
		assert_true(i < 8 || bytes == most);
	}
	assert_true(one > 0);
	assert_int_equal(most, 10 * one);
	/* those that somebody has open, and those of late, are there; the others are asked for */
	lists = fake.lists;
	close_folder(&t, list_model(&t, 999));
	for (unsigned i = 63; i >= 55; i--)
		close_folder(&t, list_model(&t, i));
	assert_int_equal(fake.lists, lists);
	close_folder(&t, list_model(&t, 54));
	assert_int_equal(fake.lists, lists + 1);
	close_folder(&t, open);

	atomic_fetch_add(&fake_now, t.config.models.list_ttl_ns);
	close_folder(&t, list_model(&t, 0));
	assert_int_equal(catalogue_bytes(&t), one);
	mount_down(&t);
}

/* A million of them twice, the second time beside the first. The first of the tests: it asks for the most memory
 * that this process ever had. */
static void a_million_keys_anew(void **state)
{
	const size_t keys = SANITIZED ? 200000 : 1000000, most = keys * 90;
	struct mount t;
	size_t before;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	t.config.models.list_max_keys = keys;
	fake.generated = keys;
	before = peak_bytes();
	for (int i = 0; i < 2; i++) {
		struct asked *d = ask_opendir(&t, "");

		fake_answer_all();
		assert_true(d->done);
		assert_int_equal(d->err, 0);
		assert_int_equal(fake.lists, (i + 1) * (keys / 1000));
		close_folder(&t, d);
		assert_in_range(catalogue_bytes(&t), most / 2, most);
		/* 8 MiB: a page, and what malloc has to spare */
		assert_true(SANITIZED || peak_bytes() - before < (size_t)(i + 1) * most + 8 * MIB);
		touched(&t);
	}
	mount_down(&t);
}

/* ---- too many keys for a while ---- */

static struct asked *list_root(struct mount *t)
{
	struct asked *d = ask_opendir(t, "");

	fake_answer_all();
	assert_true(d->done);
	assert_int_equal(d->err, 0);
	return d;
}

static void hour_later(struct mount *t)
{
	(void)t;
	atomic_fetch_add(&fake_now, 3600 * SCOUT_NS_PER_S);
}

static void fewer_keys_again(void **state)
{
	static void (*const later[])(struct mount *) = {touched, hour_later};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct scout_s3_call *count;
		struct mount t;
		struct asked *d;

		mount_up(&t, "", 16 * MIB);
		t.config.models.list_max_keys = 40;
		fake.generated = 4000;
		close_folder(&t, list_root(&t));
		assert_int_equal(fake.lists, 2);
		/* still too many, which one listing tells, that nobody waits for */
		later[i](&t);
		d = ask_opendir(&t, "");
		count = fake_take(false);
		assert_null(count->delimiter);
		fake_answer_all();
		assert_true(asked_is_done(d));
		close_folder(&t, d);
		close_folder(&t, list_model(&t, 0));
		fake_answer(count, 1000);
		close_folder(&t, list_model(&t, 1));
		assert_int_equal(fake.lists, 6);
		/* nor does one that fails tell that they are fewer */
		fake.generated = 0;
		fake_put("a/v1/model.zip", 7);
		fake_put("b/v1/model.zip", 7);
		later[i](&t);
		d = ask_opendir(&t, "");
		count = fake_take(false);
		fake_answer_all();
		close_folder(&t, d);
		fake.fail[SCOUT_S3_LIST] = -EIO;
		fake_answer(count, 1000);
		fake.fail[SCOUT_S3_LIST] = 0;
		expect_names(&t, "a", "v1");
		assert_int_equal(fake.lists, 9);
		/* all of them once more, and then no more listings */
		later[i](&t);
		d = ask_opendir(&t, "");
		count = fake_take(false);
		fake_answer_all();
		fake_put("c/v1/model.zip", 7);
		fake_answer(count, 1000);
		close_folder(&t, d);
		assert_int_equal(fake.lists, 11);
		fake_put("d/v1/model.zip", 7);
		expect_names(&t, "", "a b c d");
		expect_names(&t, "a", "v1");
		expect_names(&t, "d/v1", "model.zip");
		assert_int_equal(fake.lists, 12);
		mount_down(&t);
	}
}

/* By folder, meanwhile. */
static void they_are_not_counted_before_an_hour(void **state)
{
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	t.config.models.list_max_keys = 40;
	fake.generated = 4000;
	close_folder(&t, list_root(&t));
	assert_int_equal(fake.lists, 2);
	atomic_fetch_add(&fake_now, 3599 * SCOUT_NS_PER_S);
	close_folder(&t, list_root(&t));
	assert_int_equal(fake.lists, 3);
	atomic_fetch_add(&fake_now, SCOUT_NS_PER_S);
	close_folder(&t, list_root(&t));
	assert_int_equal(fake.lists, 4);
	mount_down(&t);
}

static void a_refresh_lists_anew(void **state)
{
	struct mount t;
	struct asked *a;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("a/v1/model.zip", 7);
	fake_put("b/v1/model.zip", 7);
	expect_names(&t, "", "a b");
	fake_put("c/v1/model.zip", 7);
	fake_delete("b/v1/model.zip");
	expect_names(&t, "", "a b");
	touched(&t);
	/* also of names nothing is believed, before the new listing is there */
	a = ask_getattr(&t, "b/v1/model.zip");
	assert_false(asked_is_done(a));
	fake_answer_all();
	expect(a, -ENOENT);
	assert_int_equal(fake.lists, 3); /* two of all, one below the name */
	expect_names(&t, "", "a c");
	assert_int_equal(fake.lists, 3);
	mount_down(&t);
}

/* Who comes after a refresh does not get the listing that was under way before it, but the next one, however often it
 * is refreshed meanwhile. */
static void a_refresh_while_it_is_listed(void **state)
{
	(void)state;
	for (unsigned more = 0; more < 3; more++) {
		struct mount t;
		struct asked *before, *after;
		struct scout_s3_call *call;

		mount_up(&t, "", 16 * MIB);
		fake_put("a/v1/model.zip", 7);
		before = ask_opendir(&t, "");
		call = fake_take(false);
		touched(&t);
		after = ask_opendir(&t, "");
		for (unsigned i = 0; i < more; i++)
			touched(&t);
		fake_answer(call, 1000);
		assert_true(asked_is_done(before));
		assert_false(asked_is_done(after));
		fake_put("b/v1/model.zip", 7);
		assert_true(fake_answer_one());
		assert_true(asked_is_done(after));
		assert_int_equal(fake_queued(), 0);
		expect_names(&t, "", "a b");
		assert_int_equal(fake.lists, 2);
		t.backend.ops->releasedir(t.backend.self, before->handle);
		t.backend.ops->releasedir(t.backend.self, after->handle);
		asked_free(before);
		asked_free(after);
		mount_down(&t);
	}
}

/* ---- malformed ones ---- */

static void a_malformed_answer(void **state)
{
	static const int errs[] = {-EIO, -ENOMEM};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct mount t;
		struct asked *a;

		mount_up(&t, "", 16 * MIB);
		fake_put("file", 7);
		fake.bad_page = errs[i];
		a = ask_opendir(&t, "");
		fake_answer_all();
		expect(a, errs[i]);
		/* nor does it say that a name is not there */
		a = ask_getattr(&t, "nothing");
		fake_answer_all();
		expect(a, errs[i]);
		a = ask_getattr(&t, "file");
		fake_answer_all();
		assert_int_equal(a->attr.size, 7);
		expect(a, 0);
		mount_down(&t);
	}
}

/* ---- the clock ---- */

/* A request for a listing that read the clock before the listing under way ended, and looks at it afterwards. */
struct late {
	struct scout_lister lister;
	struct mount *t;
	struct scout_s3_call *call;
	bool told;
	int err;
};

static struct late late;

static void told(struct scout_lister *l, int err, struct scout_tree *tree)
{
	(void)l;
	late.told = true;
	late.err = err;
	scout_tree_unref(tree);
}

/* Ends the listing and lets time pass, unless whoever reads the clock does so under the lock. */
static void end_the_listing(void)
{
	struct scout_models *m = late.t->models;

	if (!late.call || pthread_mutex_trylock(&m->catalogue_lock.mutex) != 0)
		return;
	pthread_mutex_unlock(&m->catalogue_lock.mutex);
	atomic_fetch_add(&fake_now, SCOUT_NS_PER_MS);
	fake_answer(late.call, 1000);
	late.call = NULL;
}

static void the_clock_is_read_under_the_lock(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		bool fails = i % 2, name = i / 2;
		struct mount t;
		struct asked *d;

		mount_up(&t, "", 16 * MIB);
		fake_put("a/v1/model.zip", 7);
		d = ask_opendir(&t, "");
		late = (struct late){.lister = {.listed = told}, .t = &t, .call = fake_take(false)};
		fake.fail[SCOUT_S3_LIST] = fails ? -EACCES : 0;
		fake_after_now = end_the_listing;
		if (name) {
			const struct scout_node *n;
			struct scout_tree *tree;
			struct scout_answer answer;

			(void)scout_catalogue_known(t.models, "b", true, &n, &tree, &answer);
			scout_tree_unref(tree);
		} else {
			scout_catalogue_list(t.models, NULL, &late.lister);
		}
		fake_after_now = NULL;
		if (late.call)
			fake_answer(late.call, 1000);
		assert_int_equal(fake_queued(), 0);
		assert_int_equal(fake.lists, 1);
		assert_int_equal(late.told, !name);
		assert_int_equal(late.err, fails && !name ? -EACCES : 0);
		assert_true(asked_is_done(d));
		if (d->err == 0)
			t.backend.ops->releasedir(t.backend.self, d->handle);
		asked_free(d);
		mount_down(&t);
	}
}

static void nothing_else_is_set(void **state)
{
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("a/v1/model.zip", 7);
	expect(touch(&t, "", SCOUT_SET_MODE), -EROFS);
	expect(touch(&t, "a", SCOUT_SET_MTIME), -EROFS);
	expect(touch(&t, "a/v1/model.zip", SCOUT_SET_MTIME), -EROFS);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_million_keys_anew),
	    cmocka_unit_test(a_hundred_thousand_keys),
	    cmocka_unit_test(a_million_keys),
	    cmocka_unit_test(no_page_keeps_the_engine_long),
	    cmocka_unit_test(a_million_keys_by_folder),
	    cmocka_unit_test(folders_together_are_bounded),
	    cmocka_unit_test(fewer_keys_again),
	    cmocka_unit_test(they_are_not_counted_before_an_hour),
	    cmocka_unit_test(a_refresh_lists_anew),
	    cmocka_unit_test(a_refresh_while_it_is_listed),
	    cmocka_unit_test(the_clock_is_read_under_the_lock),
	    cmocka_unit_test(a_malformed_answer),
	    cmocka_unit_test(nothing_else_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
