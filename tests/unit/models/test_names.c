/* Names: the shared listing, its age, direct questions, attributes, directories. */
#include "mount.h"

#include "models/read.h"

static void fill_registry(size_t models)
{
	char key[100];

	for (size_t i = 0; i < models; i++) {
		for (int j = 0; j < 3; j++) {
			snprintf(key, sizeof(key), "reg/m%03zu/main/%s", i,
				 (const char *[]){"config.json", "model.zip", "README.md"}[j]);
			fake_put(key, 1000 + i);
		}
	}
}

static void later(uint64_t ms)
{
	atomic_fetch_add(&fake_now, ms * SCOUT_NS_PER_MS);
}

static void one_listing_for_all(void **state)
{
	struct mount t;
	struct asked *d[20];

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(500);
	for (int i = 0; i < 20; i++)
		d[i] = ask_opendir(&t, i % 2 ? "m007" : "");
	assert_int_equal(fake_queued(), 1);
	fake_answer_all();
	assert_int_equal(fake.lists, 2); /* 1,500 keys */
	for (int i = 0; i < 20; i++) {
		assert_true(d[i]->done);
		assert_int_equal(d[i]->err, 0);
		t.backend.ops->releasedir(t.backend.self, d[i]->handle);
		asked_free(d[i]);
	}
	expect_names(&t, "m499/main", "README.md config.json model.zip");
	assert_int_equal(fake.lists + fake.heads, 2);
	mount_down(&t);
}

static void attributes(void **state)
{
	struct mount t;
	struct asked *a;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(3);
	a = ask_getattr(&t, "");
	assert_true(a->done); /* the root waits for nothing */
	assert_true(S_ISDIR(a->attr.mode));
	asked_free(a);
	assert_int_equal(fake_queued(), 0);
	free(names_of(&t, ""));

	a = ask_getattr(&t, "m002/main/model.zip");
	assert_true(a->done);
	assert_int_equal(a->err, 0);
	assert_int_equal(a->attr.mode, S_IFREG | 0444);
	assert_int_equal(a->attr.size, 1002);
	assert_int_equal(a->attr.mtime.tv_sec, FAKE_MODIFIED);
	assert_int_equal(a->attr.uid, getuid());
	assert_int_equal(a->ttl_ms, 1000);
	asked_free(a);
	later(40000);
	a = ask_getattr(&t, "m002/main");
	assert_int_equal(a->attr.mode, S_IFDIR | 0555);
	assert_int_equal(a->ttl_ms, 1000);
	asked_free(a);
	expect(ask_opendir(&t, "m002/main/model.zip"), -ENOTDIR);
	mount_down(&t);
}

static void before_the_first_listing(void **state)
{
	struct mount t;
	struct asked *a, *b;
	struct scout_s3_call *list;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(3);
	a = ask_getattr(&t, "m001/main/model.zip");
	b = ask_getattr(&t, "m001");
	assert_false(a->done);
	list = fake_take(false); /* it hangs */
	assert_int_equal(list->op, SCOUT_S3_LIST);
	assert_null(list->delimiter);
	assert_int_equal(list->max_keys, 1000);
	fake_answer_all();
	assert_int_equal(a->attr.size, 1001);
	assert_true(S_ISDIR(b->attr.mode));
	expect(a, 0);
	expect(b, 0);
	fake_answer(list, 1);
	mount_down(&t);
}

/* The keys that say that there is a folder say what is on the way to them, and what they are. */
static void the_rest_of_the_way(void **state)
{
	static const char *const known[] = {"org/m", "org/m/v1", "org/m/v1/deep", "org/m/both",
					    "org/m/v1/deep/model.zip"};
	static const char *const unknown[] = {"odd", "org/n", "org/m/v1/deep/new"};
	struct mount t;
	struct asked *a;
	struct scout_s3_call *list;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fake_put("reg/org/m/both", 5);
	fake_put("reg/org/m/both-not", 5);
	fake_put("reg/org/m/both/x", 5);
	fake_put("reg/org/m/v1/deep/model.zip", 7);
	fake_put("reg/odd//x/y", 5);
	a = ask_getattr(&t, "org");
	list = fake_take(false); /* of all keys: it hangs */
	fake_answer_all();
	expect(a, 0);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		a = ask_getattr(&t, known[i]);
		assert_true(a->done && a->err == 0);
		assert_int_equal(S_ISDIR(a->attr.mode), i < 4); /* the folder wins */
		assert_int_equal(a->attr.size, i < 4 ? 0 : 7);
		assert_int_equal(a->attr.mtime.tv_sec, i < 4 ? t.models->mounted : FAKE_MODIFIED);
		asked_free(a);
	}
	/* but not what came since, nor what is no name */
	fake_put("reg/org/n/model.zip", 5);
	fake_put("reg/org/m/v1/deep/new", 5);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		a = ask_getattr(&t, unknown[i]);
		assert_int_equal(fake_queued(), 2);
		fake_answer_all();
		expect(a, 0);
	}
	/* an open is told all of it, and only by its own HEAD */
	a = ask_open(&t, "org/m/v1/deep/model.zip");
	assert_int_equal(fake_queued(), 2);
	fake_answer_all();
	assert_int_equal(a->err, 0);
	assert_string_equal(((struct scout_models_file *)a->handle)->object->etag, "\"v0-7\"");
	close_file(&t, a);
	/* gone: until it is as old as any answer may be */
	fake_delete("reg/org/m/v1/deep/new");
	fake_delete("reg/org/m/v1/deep/model.zip");
	a = ask_getattr(&t, "org/m/v1");
	assert_true(a->done && S_ISDIR(a->attr.mode));
	asked_free(a);
	later(61000);
	a = ask_getattr(&t, "org/m/v1");
	fake_answer_all();
	expect(a, -ENOENT);
	fake_answer(list, 1);
	mount_down(&t);
}

/* What is left out of listings makes no folder of an object. */
static void beside_keys_that_are_no_names(void **state)
{
	static const char *const names[] = {"bytes", "dots", "empty"};
	struct mount t;
	struct asked *a;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fake_put("reg/bytes/", 5);
	fake_put("reg/dots/../y", 5);
	fake_put("reg/empty//y", 5);
	for (size_t i = 0; i < 3; i++) {
		char key[32];

		snprintf(key, sizeof(key), "reg/%s", names[i]);
		fake_put(key, 7);
		a = ask_getattr(&t, names[i]);
		fake_answer_all();
		assert_int_equal(a->attr.size, 7);
		expect(a, 0);
		close_file(&t, must_open(&t, names[i]));
	}
	mount_down(&t);
}

/* Of more keys than are asked for nobody knows which are folders, too. */
static void many_keys_below(void **state)
{
	struct mount t;
	struct asked *a;
	struct scout_s3_call *list;
	char key[32];

	(void)state;
	mount_up(&t, "", 16 * MIB);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "m/v1/%02u", i);
		fake_put(key, 5);
	}
	a = ask_getattr(&t, "m");
	list = fake_take(false);
	fake_answer_all();
	expect(a, 0);
	expect(ask_getattr(&t, "m/v1"), 0);
	a = ask_getattr(&t, "m/v1/00");
	assert_int_equal(fake_queued(), 2);
	fake_answer_all();
	expect(a, 0);
	fake_answer(list, 1);
	mount_down(&t);
}

static void new_names_are_asked_for(void **state)
{
	struct mount t;
	struct asked *a[10];

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(3);
	free(names_of(&t, ""));
	fake_put("reg/new/main/model.zip", 77);
	later(1);
	for (int i = 0; i < 10; i++)
		a[i] = ask_getattr(&t, "new/main/model.zip");
	assert_int_equal(fake_queued(), 2); /* one HEAD, one LIST for all ten */
	fake_answer_all();
	for (int i = 0; i < 10; i++) {
		assert_int_equal(a[i]->attr.size, 77);
		expect(a[i], 0);
	}
	/* remembered until the next listing */
	later(30000);
	expect(ask_getattr(&t, "new/main/model.zip"), 0);
	a[0] = ask_getattr(&t, "new/main");
	fake_answer_all();
	assert_true(S_ISDIR(a[0]->attr.mode));
	expect(a[0], 0);
	/* and can be listed, though the shared listing does not know it */
	expect_names(&t, "new/main", "model.zip");
	assert_int_equal(scout_question_count(t.models), 2);
	later(31000);
	expect_names(&t, "", "m000 m001 m002 new");
	assert_int_equal(scout_question_count(t.models), 0);
	mount_down(&t);
}

static void missing_names(void **state)
{
	struct mount t;
	struct asked *a;
	char deep[1100];
	unsigned heads;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(3);
	free(names_of(&t, ""));
	later(1);
	a = ask_getattr(&t, "nothing");
	fake_answer_all();
	assert_int_equal(a->ttl_ms, 0);
	expect(a, -ENOENT);
	heads = fake.heads;
	fake_put("reg/nothing", 5); /* is there at once */
	a = ask_getattr(&t, "nothing");
	fake_answer_all();
	assert_int_equal(fake.heads, heads + 1);
	expect(a, 0);
	a = ask_opendir(&t, "nowhere");
	fake_answer_all();
	expect(a, -ENOENT);
	/* longer than S3's keys: no question */
	memset(deep, 'd', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	for (size_t i = 200; i < sizeof(deep) - 1; i += 200)
		deep[i] = '/';
	expect(ask_getattr(&t, deep), -ENOENT);
	mount_down(&t);
}

static void old_listings(void **state)
{
	struct mount t;
	struct asked *d;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(3);
	free(names_of(&t, ""));
	later(61000);
	fake_put("reg/x", 1);
	fake_put("reg/m000/main/model.zip", 5);
	/* a lookup goes on with it and has it refreshed */
	expect(ask_getattr(&t, "m001/main"), 0);
	assert_int_equal(fake_queued(), 1);
	/* a listing waits for the new one */
	d = ask_opendir(&t, "");
	assert_false(d->done);
	assert_int_equal(fake_queued(), 1);
	fake_answer_all();
	assert_int_equal(fake.lists, 2);
	t.backend.ops->releasedir(t.backend.self, d->handle);
	expect(d, 0);
	expect_names(&t, "", "m000 m001 m002 x");
	d = ask_getattr(&t, "m000/main/model.zip");
	assert_int_equal(d->attr.size, 5);
	expect(d, 0);
	mount_down(&t);
}

static void failed_listings(void **state)
{
	struct mount t;
	struct asked *a, *b;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(3);
	free(names_of(&t, ""));
	later(61000);
	fake.fail[SCOUT_S3_LIST] = -EACCES;
	a = ask_opendir(&t, "");
	b = ask_opendir(&t, "m001");
	fake_answer_all();
	expect(a, -EACCES);
	expect(b, -EACCES);
	/* not tried again at once; lookups have the last good one */
	expect(ask_opendir(&t, ""), -EACCES);
	expect(ask_getattr(&t, "m001/main/model.zip"), 0);
	assert_int_equal(fake_queued(), 0);
	later(1001);
	fake.fail[SCOUT_S3_LIST] = 0;
	expect_names(&t, "", "m000 m001 m002");
	/* pages that do not end */
	fill_registry(400);
	later(61000);
	fake.repeat_token = true;
	a = ask_opendir(&t, "");
	fake_answer_all();
	expect(a, -EIO);
	mount_down(&t);
}

/* What came of a LIST that failed says nothing of folders. */
static void half_a_listing(void **state)
{
	struct mount t;
	struct asked *a;
	struct scout_s3_call *all, *list;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("m", 5);
	fake_put("m/v1/deep/model.zip", 5);
	a = ask_getattr(&t, "m");
	all = fake_take(false); /* of all keys: it hangs */
	list = fake_take(false);
	assert_int_equal(list->op, SCOUT_S3_LIST);
	fake_list(list);
	list->done(list, -EIO);
	fake_answer_all();
	expect(a, 0);
	assert_int_equal(scout_question_count(t.models), 1);
	fake_answer(all, 1);
	mount_down(&t);
}

static void failed_questions(void **state)
{
	struct mount t;
	struct asked *a;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(1);
	fake.fail[SCOUT_S3_HEAD] = fake.fail[SCOUT_S3_LIST] = -ETIMEDOUT;
	a = ask_getattr(&t, "m000");
	fake_answer_all();
	expect(a, -ETIMEDOUT);
	/* one of both may be refused */
	fake.fail[SCOUT_S3_LIST] = 0;
	fake.fail[SCOUT_S3_HEAD] = -EACCES;
	a = ask_getattr(&t, "m000");
	fake_answer_all();
	expect(a, 0);
	fake.fail[SCOUT_S3_LIST] = -EACCES;
	fake.fail[SCOUT_S3_HEAD] = 0;
	a = ask_getattr(&t, "m000/main/model.zip");
	fake_answer_all();
	expect(a, 0);
	mount_down(&t);
}

static void too_many_keys(void **state)
{
	struct mount t;
	struct asked *a;
	char name[32], all[4000] = "";
	unsigned lists;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	t.config.models.list_max_keys = 1000;
	fill_registry(400);
	fake_put("reg/m000/other", 1);
	expect_names(&t, "m000", "main other");
	lists = fake.lists;
	expect_names(&t, "m000/main", "README.md config.json model.zip");
	assert_int_equal(fake.lists, lists + 1);
	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "%sm%03d", i ? " " : "", i);
		strcat(all, name);
	}
	expect_names(&t, "", all);
	expect_names(&t, "", all); /* kept for list_ttl */
	assert_int_equal(fake.lists, lists + 2);
	/* attributes from the directory's listing, or directly */
	expect(ask_getattr(&t, "m000/main/model.zip"), 0);
	a = ask_getattr(&t, "m399/main/model.zip");
	fake_answer_all();
	assert_int_equal(a->attr.size, 1399);
	expect(a, 0);
	/* a bounded number of directories */
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "m%03d", i);
		free(names_of(&t, name));
	}
	assert_in_range(t.models->nfolders, 1, 64);
	/* one directory of more names than that is an error, not a part of it */
	t.config.models.list_max_keys = 300;
	later(61000);
	a = ask_opendir(&t, "");
	fake_answer_all();
	expect(a, -EFBIG);
	mount_down(&t);
}

static void odd_keys(void **state)
{
	struct mount t;
	struct scout_text status = {0};

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fake_put("reg/", 0);
	fake_put("reg/a//b", 1);
	fake_put("reg/../etc/passwd", 1);
	fake_put("reg/ok/x", 1);
	fake_put("reg/ok", 1);
	fake_put("reg/folder/", 0);
	fake_put("reg/slash/", 9);
	fake_put_raw("reg/nul\0x", 9, 1);
	fake_put("reg/line\nbreak", 1);
	fake_put("other/y", 1);
	expect_names(&t, "", "folder line\nbreak ok");
	expect_names(&t, "folder", "");
	t.backend.ops->status(t.backend.self, &status);
	assert_non_null(strstr(status.str, "0 models, 2 objects"));
	assert_non_null(strstr(status.str, "1 keys: a zero byte"));
	assert_non_null(strstr(status.str, "1 keys: also a folder"));
	assert_non_null(strstr(status.str, "503 SlowDown"));
	scout_text_free(&status);
	t.backend.ops->metrics(t.backend.self, &status);
	assert_non_null(strstr(status.str, "\nscoutfs_models_catalogue_keys 9\n"));
	scout_text_free(&status);
	mount_down(&t);
}

/* An answer that was on its way when the object was overwritten is none for who comes after that. */
static void opens_are_answered_anew(void **state)
{
	struct mount t;
	struct asked *a, *b, *c;
	struct scout_s3_call *head;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("m", 100);
	a = ask_open(&t, "m");
	head = fake_take(false);
	assert_int_equal(fake_headers(head), 0);
	fake_put("m", 200);
	b = ask_open(&t, "m");
	head->done(head, 0);
	assert_int_equal(a->attr.size, 100);
	assert_false(b->done);
	fake_answer_all();
	assert_int_equal(b->err, 0);
	assert_int_equal(b->attr.size, 200);
	close_file(&t, a);
	close_file(&t, b);
	/* but a failure is one for both */
	fake.fail[SCOUT_S3_HEAD] = -ETIMEDOUT;
	b = ask_open(&t, "m");
	c = ask_open(&t, "m");
	assert_int_equal(fake_queued(), 2); /* the HEAD, and b's first bytes */
	fake_answer_all();
	expect(b, -ETIMEDOUT);
	expect(c, -ETIMEDOUT);
	assert_int_equal(fake_queued(), 0);
	/* and the end is one for all */
	b = ask_open(&t, "m");
	c = ask_open(&t, "m");
	mount_stop(&t);
	expect(b, -ESHUTDOWN);
	expect(c, -ESHUTDOWN);
	mount_down(&t);
}

/* <id>/<version>/<file>, where an id may have several parts. */
static void models_are_counted(void **state)
{
	static const struct {
		const char *keys[4];
		const char *told;
	} registries[] = {
	    {{"a/v1/model.zip", "a/v2/model.zip", "b/v1/README", NULL}, "2 models, 3 objects"},
	    {{"org/name/main/model.zip", NULL}, "1 models, 1 objects"},
	    {{"a/README", "a/v1/model.zip", "a/v1/weights/0", "a/v1/weights/x/0"},
	     "1 models, 4 objects"},
	    {{"top", "a/file", "a/other", "b/file"}, "0 models, 4 objects"},
	    {{"a/v1/", NULL}, "0 models, 0 objects"},
	    {{NULL}, "0 models, 0 objects"},
	};
	struct scout_text status = {0};
	struct mount t;

	(void)state;
	for (size_t i = 0; i < sizeof(registries) / sizeof(registries[0]); i++) {
		mount_up(&t, "", 16 * MIB);
		for (size_t k = 0; k < 4 && registries[i].keys[k]; k++) {
			const char *key = registries[i].keys[k];

			fake_put(key, key[strlen(key) - 1] == '/' ? 0 : 5);
		}
		free(names_of(&t, ""));
		t.backend.ops->status(t.backend.self, &status);
		assert_non_null(strstr(status.str, registries[i].told));
		scout_text_free(&status);
		mount_down(&t);
	}
}

static void an_empty_bucket(void **state)
{
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	expect_names(&t, "", "");
	mount_down(&t);
}

static void opens_are_checked(void **state)
{
	struct mount t;
	struct asked *o[100], *a;
	unsigned heads;

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fill_registry(3);
	free(names_of(&t, ""));
	for (int i = 0; i < 100; i++)
		o[i] = ask_open(&t, "m001/main/model.zip");
	assert_int_equal(fake_queued(), 2); /* its first bytes, too */
	fake_answer_all();
	/* one for who came first, one for all who came while that was under way */
	assert_int_equal(fake.heads, 2);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(o[i]->err, 0);
		assert_int_equal(o[i]->attr.size, 1001);
		close_file(&t, o[i]);
	}
	/* overwritten: the next open, and attributes after it, tell the new one */
	later(1);
	heads = fake.heads;
	fake_put("reg/m001/main/model.zip", 2222);
	o[0] = must_open(&t, "m001/main/model.zip");
	assert_int_equal(fake.heads, heads + 1);
	assert_int_equal(o[0]->attr.size, 2222);
	a = ask_getattr(&t, "m001/main/model.zip");
	assert_int_equal(a->attr.size, 2222);
	assert_int_equal(a->attr.version, o[0]->attr.version);
	expect(a, 0);
	close_file(&t, o[0]);
	/* also in the old listing */
	a = ask_opendir(&t, "m001/main");
	o[0] = asked_new(READDIR);
	t.backend.ops->readdir(t.backend.self, a->handle, 0, &o[0]->req);
	assert_string_equal(o[0]->names[2], "model.zip");
	assert_int_equal(o[0]->attrs[2].size, 2222);
	asked_free(o[0]);
	t.backend.ops->releasedir(t.backend.self, a->handle);
	asked_free(a);
	/* deleted */
	later(1001);
	fake_delete("reg/m001/main/model.zip");
	a = ask_open(&t, "m001/main/model.zip");
	fake_answer_all();
	expect(a, -ENOENT);
	a = ask_getattr(&t, "m001/main/model.zip");
	fake_answer_all();
	expect(a, -ENOENT);
	expect(ask_open(&t, ""), -EISDIR);
	mount_down(&t);
}

static void stop_with_waiters(void **state)
{
	struct mount t;
	struct asked *a[3];

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	a[0] = ask_opendir(&t, "");
	a[1] = ask_getattr(&t, "x");
	a[2] = ask_open(&t, "x");
	mount_stop(&t);
	for (int i = 0; i < 3; i++)
		expect(a[i], -ESHUTDOWN);
	expect(ask_getattr(&t, "y"), -ESHUTDOWN);
	mount_down(&t);
}

static void no_bucket(void **state)
{
	struct scout_config config = {0};
	struct scout_env env = {.config = &config};
	struct scout_backend backend;

	(void)state;
	assert_int_equal(scout_models_new(&env, &backend), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_listing_for_all),
	    cmocka_unit_test(attributes),
	    cmocka_unit_test(before_the_first_listing),
	    cmocka_unit_test(the_rest_of_the_way),
	    cmocka_unit_test(beside_keys_that_are_no_names),
	    cmocka_unit_test(many_keys_below),
	    cmocka_unit_test(half_a_listing),
	    cmocka_unit_test(new_names_are_asked_for),
	    cmocka_unit_test(missing_names),
	    cmocka_unit_test(old_listings),
	    cmocka_unit_test(failed_listings),
	    cmocka_unit_test(failed_questions),
	    cmocka_unit_test(too_many_keys),
	    cmocka_unit_test(odd_keys),
	    cmocka_unit_test(models_are_counted),
	    cmocka_unit_test(an_empty_bucket),
	    cmocka_unit_test(opens_are_checked),
	    cmocka_unit_test(opens_are_answered_anew),
	    cmocka_unit_test(stop_with_waiters),
	    cmocka_unit_test(no_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
