/* Older versions: their paths, what is listed of them, what it costs. */
#include "mount.h"

#include "models/catalogue.h"
#include "models/versions.h"

static const struct fake_version kept[] = {
    {"reg/a/v1/model.zip", "new", 9, 0, true, false},
    {"reg/a/v1/model.zip", "mark", 0, 0, false, true},
    {"reg/a/v1/model.zip", "old2", 500000, 2, false, false},
    {"reg/a/v1/model.zip", "old1", 400000, 1, false, false},
    {"reg/a/v1/gone", "mark", 0, 0, true, true},
    {"reg/a/v1/gone", "g1", 5, 3, false, false},
    {.key = NULL},
};

static void up(struct mount *t)
{
	mount_up(t, "reg/", 16 * MIB);
	t->config.models.versions = true;
	fake_put("reg/a/v1/model.zip", 9);
	fake_put("reg/a/v1/README.md", 9);
	fake.versions = kept;
}

static void expect_key(struct mount *t, const char *path, const char *key, const char *id)
{
	char *k = NULL, *v = NULL;

	assert_int_equal(scout_versions_key(t->models, path, &k, &v), 0);
	assert_string_equal(k, key);
	if (id)
		assert_string_equal(v, id);
	else
		assert_null(v);
	free(k);
	free(v);
}

static void paths(void **state)
{
	struct mount t;

	(void)state;
	up(&t);
	assert_int_equal(scout_versions_cut(t.models, "a/.versionsx/.versions/m/1"), 22);
	assert_int_equal(scout_versions_cut(t.models, "a/b.versions/c"), 0);
	assert_int_equal(scout_versions_cut(t.models, ".versions"), 9);
	assert_int_equal(scout_versions_cut(t.models, ""), 0);
	expect_key(&t, "a/v1/.versions/m.zip/id", "reg/a/v1/m.zip", "id");
	expect_key(&t, ".versions/m/id", "reg/m", "id");
	expect_key(&t, "a/.versions", "reg/a/.versions", NULL);
	expect_key(&t, "a/.versions/m", "reg/a/.versions/m", NULL);
	expect_key(&t, "a/.versions/m/id/x", "reg/a/.versions/m/id/x", NULL);
	expect_key(&t, "a/m", "reg/a/m", NULL);
	t.config.models.versions = false;
	expect_key(&t, "a/v1/.versions/m.zip/id", "reg/a/v1/.versions/m.zip/id", NULL);
	mount_down(&t);
}

static void listed_and_read(void **state)
{
	struct mount t;
	struct asked *a, *f;
	unsigned asked;

	(void)state;
	up(&t);
	expect_names(&t, "a/v1", "README.md model.zip");
	asked = fake.lists + fake.heads;
	a = ask_getattr(&t, "a/v1/.versions");
	assert_true(S_ISDIR(a->attr.mode));
	expect(a, 0);
	assert_int_equal(fake.lists + fake.heads, asked);
	expect_names(&t, "a/v1/.versions", "gone model.zip");
	expect_names(&t, "a/v1/.versions/model.zip", "old1 old2");
	a = ask_getattr(&t, "a/v1/.versions/model.zip/old1");
	assert_int_equal(a->attr.size, 400000);
	expect(a, 0);
	expect(ask_getattr(&t, "a/v1/.versions/README.md"), -ENOENT);
	expect(ask_opendir(&t, "a/v1/.versions/README.md"), -ENOENT);
	expect(ask_opendir(&t, "a/v1/.versions/model.zip/old1"), -ENOTDIR);
	assert_int_equal(fake.lists + fake.heads, asked + 1);
	/* two versions and the newest side by side, each its own object */
	f = must_open(&t, "a/v1/.versions/model.zip/old1");
	a = ask_read(&t, f, 0, 400000);
	fake_answer_all();
	expect_bytes(a, "reg/a/v1/model.zip", 1, 0, 400000);
	close_file(&t, must_open(&t, "a/v1/.versions/model.zip/old2"));
	close_file(&t, must_open(&t, "a/v1/model.zip"));
	a = ask_read(&t, f, 1000, 1000);
	fake_answer_all();
	expect_bytes(a, "reg/a/v1/model.zip", 1, 1000, 1000);
	close_file(&t, f);
	/* not in the listing: asked for directly */
	a = ask_getattr(&t, "a/v1/.versions/model.zip/new");
	fake_answer_all();
	assert_int_equal(a->attr.size, 9);
	expect(a, 0);
	a = ask_getattr(&t, "a/v1/.versions/model.zip/none");
	fake_answer_all();
	expect(a, -ENOENT);
	mount_down(&t);
}

static void listed(struct scout_lister *l, int err, struct scout_tree *tree)
{
	(void)l;
	assert_int_equal(err, 0);
	assert_int_equal(tree->keys, 3);
	assert_int_equal(tree->left_out[SCOUT_KEY_SLASH_IN_ID], 1);
	assert_int_equal(tree->left_out[SCOUT_KEY_DOTS], 1);
	scout_tree_unref(tree);
}

/* An id is the server's: one that no file can have as its name hides none of the others. */
static void ids_that_are_no_names(void **state)
{
	static const struct fake_version odd[] = {
	    {"reg/a/v1/model.zip", "new", 9, 0, true, false},
	    {"reg/a/v1/model.zip", "2024/11", 8, 2, false, false},
	    {"reg/a/v1/model.zip", "..", 7, 3, false, false},
	    {"reg/a/v1/model.zip", "old", 6, 1, false, false},
	    {.key = NULL},
	};
	struct scout_lister lister = {.listed = listed};
	struct mount t;

	(void)state;
	up(&t);
	fake.versions = odd;
	expect_names(&t, "a/v1/.versions", "model.zip");
	expect_names(&t, "a/v1/.versions/model.zip", "old");
	scout_catalogue_list(t.models, "a/v1/.versions", &lister);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(paths),
	    cmocka_unit_test(listed_and_read),
	    cmocka_unit_test(ids_that_are_no_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
