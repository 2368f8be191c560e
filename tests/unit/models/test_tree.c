/* What is a file name, how keys become a tree, how objects are cut. */
#include "fake_s3.h"

#include "models/keys.h"
#include "models/tree.h"
#include "models/window.h"

#define MIB ((uint64_t)1024 * 1024)

static enum scout_key_kind judge(const char *path)
{
	return scout_key_judge(path, strlen(path), 5);
}

static void keys_that_are_names(void **state)
{
	char name[300];

	(void)state;
	assert_int_equal(judge("a"), SCOUT_KEY_FILE);
	assert_int_equal(judge("a/b c/\xc3\xa9\n'\""), SCOUT_KEY_FILE);
	assert_int_equal(judge("..."), SCOUT_KEY_FILE);
	assert_int_equal(judge(".hidden/..x"), SCOUT_KEY_FILE);
	memset(name, 'n', sizeof(name));
	assert_int_equal(scout_key_judge(name, 255, 5), SCOUT_KEY_FILE);
	assert_int_equal(scout_key_judge("a/b/", 4, 0), SCOUT_KEY_DIR);
	assert_int_equal(scout_key_judge("", 0, 0), SCOUT_KEY_ROOT);
}

static void keys_that_are_not(void **state)
{
	char name[5000];

	(void)state;
	assert_int_equal(judge("/a"), SCOUT_KEY_EMPTY_NAME);
	assert_int_equal(judge("a//b"), SCOUT_KEY_EMPTY_NAME);
	assert_int_equal(scout_key_judge("a//", 3, 0), SCOUT_KEY_EMPTY_NAME);
	assert_int_equal(scout_key_judge("/", 1, 0), SCOUT_KEY_EMPTY_NAME);
	assert_int_equal(judge("a/../b"), SCOUT_KEY_DOTS);
	assert_int_equal(judge("."), SCOUT_KEY_DOTS);
	assert_int_equal(scout_key_judge("a\0b", 3, 5), SCOUT_KEY_NUL);
	assert_int_equal(judge("a/"), SCOUT_KEY_SLASH_WITH_BYTES);
	memset(name, 'n', sizeof(name));
	assert_int_equal(scout_key_judge(name, 256, 5), SCOUT_KEY_LONG_NAME);
	assert_int_equal(scout_key_judge(name, 4096, 5), SCOUT_KEY_LONG_PATH);
	for (int kind = SCOUT_KEY_LEFT_OUT; kind < SCOUT_KEY_KINDS; kind++)
		assert_true(strlen(scout_key_reason((enum scout_key_kind)kind)) > 0);
}

static void versions(void **state)
{
	(void)state;
	assert_int_equal(scout_key_version("\"abc\"", 1, 2), scout_key_version("abc", 3, 4));
	assert_int_equal(scout_key_version("W/\"abc\"", 1, 2), scout_key_version("abc", 3, 4));
	assert_int_not_equal(scout_key_version("\"abc\"", 1, 2),
			     scout_key_version("\"abd\"", 1, 2));
	assert_int_not_equal(scout_key_version("", 1, 2), scout_key_version("", 1, 3));
	assert_int_not_equal(scout_key_version(NULL, 1, 2), scout_key_version(NULL, 2, 2));
}

static struct scout_tree *plant(const char *const *keys, size_t count)
{
	struct scout_tree *t = scout_tree_new(1000);

	for (size_t i = 0; i < count; i++) {
		bool marker = keys[i][0] && keys[i][strlen(keys[i]) - 1] == '/';

		assert_int_equal(
		    scout_tree_add(t, keys[i], strlen(keys[i]), marker ? 0 : 100 + i, 7, i), 0);
	}
	assert_int_equal(scout_tree_build(t), 0);
	return t;
}

static void children(const struct scout_tree *t, const char *path, const char *want)
{
	const struct scout_node *n = scout_tree_find(t, path);
	char all[1000] = "";

	assert_non_null(n);
	assert_true(n->dir);
	for (uint32_t i = 0; i < n->count; i++) {
		const struct scout_node *c = &n->children[i];

		strcat(all, c->name);
		strcat(all, c->dir ? "/ " : " ");
	}
	assert_string_equal(all, want);
}

static void builds_directories(void **state)
{
	/* in S3's order of bytes, where "a-b" stands between "a" and "a/" */
	static const char *const keys[] = {"a-b/x", "a/", "a/1", "a/2/z", "a.c", "b/c/d/e", "top"};
	struct scout_tree *t = plant(keys, 7);

	(void)state;
	children(t, "", "a/ a-b/ a.c b/ top ");
	children(t, "a", "1 2/ ");
	children(t, "a/2", "z ");
	children(t, "b/c/d", "e ");
	assert_false(scout_tree_find(t, "top")->dir);
	assert_int_equal(scout_tree_find(t, "top")->bytes, 106);
	assert_int_equal(scout_tree_find(t, "a/2/z")->version, 3);
	assert_int_equal(scout_tree_find(t, "b/c/d/e")->modified, 7);
	assert_null(scout_tree_find(t, "a/3"));
	assert_null(scout_tree_find(t, "a-"));
	assert_null(scout_tree_find(t, "top/x"));
	assert_null(scout_tree_find(t, "b/c/d/e/f"));
	assert_int_equal(t->files, 6);
	scout_tree_unref(t);
}

static void folder_wins(void **state)
{
	static const char *const keys[] = {"m/1/x", "m", "m/1", "n/", "n", "twice", "twice"};
	struct scout_tree *t = plant(keys, 7);

	(void)state;
	children(t, "", "m/ n/ twice ");
	children(t, "m", "1/ ");
	children(t, "n", "");
	assert_int_equal(t->left_out[SCOUT_KEY_ALSO_FOLDER], 3);
	assert_int_equal(t->files, 2);
	/* also where a key was told twice */
	assert_int_equal(scout_tree_find(t, "twice")->count, 0);
	assert_int_equal(scout_tree_find(t, "m/1/x")->count, 0);
	scout_tree_unref(t);
}

/* ---- in whatever order ---- */

#define MANY 8000

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Random ones, without twins, in two folders of many names, and of few names, which stand differently among paths and
 * in folders. Returns how many. */
static size_t make_keys(char *keys[MANY])
{
	static const char *const names[] = {"a", "a-b", "a.c", "a0", "b", "b!", "c"};
	unsigned seed = 7;
	size_t left = 0;

	for (size_t i = 0; i < MANY; i++) {
		int depth = 1 + rand_r(&seed) % 5;

		keys[i] = calloc(1, 64);
		if (i % 2)
			sprintf(keys[i], "%sm%d%s", i % 4 == 1 ? "" : "many/", rand_r(&seed) % 2000,
				i % 3 ? "" : "-x");
		for (int d = i % 4 == 3 ? 4 : i % 2; d < depth; d++) {
			strcat(keys[i], d ? "/" : "");
			strcat(keys[i], names[rand_r(&seed) % 7]);
		}
		if (rand_r(&seed) % 8 == 0)
			strcat(keys[i], "/");
	}
	qsort(keys, MANY, sizeof(*keys), by_bytes);
	for (size_t i = 0; i < MANY; i++) {
		if (left > 0 && strcmp(keys[left - 1], keys[i]) == 0)
			free(keys[i]);
		else
			keys[left++] = keys[i];
	}
	return left;
}

static void same_below(const struct scout_node *a, const struct scout_node *b)
{
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->dir, b->dir);
	assert_int_equal(a->both, b->both);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->count, b->count);
	for (uint32_t i = 0; i < a->count; i++) {
		const struct scout_node *child = &a->children[i];

		assert_true(i == 0 || strcmp(child[-1].name, child->name) < 0);
		same_below(child, &b->children[i]);
	}
}

/* Every key is where it belongs, and a remote that lists in no order has the same tree. */
static void any_order(void **state)
{
	static char *keys[MANY];
	size_t n = make_keys(keys), files = 0;
	struct scout_tree *t = scout_tree_new(MANY), *u = scout_tree_new(MANY);

	(void)state;
	assert_true(n > MANY / 2 && n % 997 > 0);
	for (size_t i = 0; i < n; i++) {
		/* 997 is prime */
		const char *key = keys[i], *other = keys[i * 997 % n];

		assert_int_equal(
		    scout_tree_add(t, key, strlen(key), 0, 7, scout_key_version(key, 0, 0)), 0);
		assert_int_equal(
		    scout_tree_add(u, other, strlen(other), 0, 7, scout_key_version(other, 0, 0)),
		    0);
	}
	assert_int_equal(scout_tree_build(t), 0);
	assert_int_equal(scout_tree_build(u), 0);
	assert_false(t->torn);
	assert_true(u->torn);
	same_below(&t->root, &u->root);
	for (size_t i = 0; i < n; i++) {
		const struct scout_node *node = scout_tree_find(t, keys[i]);

		assert_non_null(node);
		files += !node->dir;
		assert_true(node->dir || node->version == scout_key_version(keys[i], 0, 0));
		free(keys[i]);
	}
	assert_int_equal(t->files, files);
	assert_int_equal(u->files, files);
	assert_true(files > 0 && t->left_out[SCOUT_KEY_ALSO_FOLDER] > 0);
	assert_int_equal(u->left_out[SCOUT_KEY_ALSO_FOLDER], t->left_out[SCOUT_KEY_ALSO_FOLDER]);
	assert_int_equal(u->nnodes, t->nnodes);
	scout_tree_unref(t);
	scout_tree_unref(u);
}

static void odd_keys_are_counted(void **state)
{
	static const char *const keys[] = {"", "a//b", "../x", "ok", "c/./d", "e//"};
	struct scout_tree *t = plant(keys, 6);

	(void)state;
	children(t, "", "ok ");
	assert_int_equal(t->keys, 6);
	assert_int_equal(t->left_out[SCOUT_KEY_EMPTY_NAME], 2);
	assert_int_equal(t->left_out[SCOUT_KEY_DOTS], 2);
	scout_tree_unref(t);
}

static void empty_tree(void **state)
{
	struct scout_tree *t = plant(NULL, 0);

	(void)state;
	children(t, "", "");
	assert_null(scout_tree_find(t, "x"));
	scout_tree_unref(t);
}

static void trees_are_bounded(void **state)
{
	struct scout_tree *t = scout_tree_new(2);
	char deep[4001];

	(void)state;
	assert_int_equal(scout_tree_add(t, "a", 1, 1, 1, 1), 0);
	assert_int_equal(scout_tree_add(t, "b//", 3, 1, 1, 1), 0);
	assert_int_equal(scout_tree_add(t, "c", 1, 1, 1, 1), -E2BIG);
	scout_tree_unref(t);

	/* 2,000 levels in each of a few keys */
	t = scout_tree_new(4);
	for (size_t i = 0; i < 4000; i += 2)
		memcpy(deep + i, "d/", 2);
	for (size_t i = 0; i < 3; i++) {
		deep[0] = (char)('a' + i);
		assert_int_equal(scout_tree_add(t, deep, 3999, 1, 1, 1), i < 2 ? 0 : -E2BIG);
	}
	scout_tree_unref(t);
}

/* How many fetches there are, and how long: the least of them but for the last one, and that one. */
static unsigned pieces(uint64_t bytes, bool uneven, uint64_t *least, uint64_t *last)
{
	struct scout_cut cut;
	unsigned n = 0;

	scout_cut_make(&cut, bytes, 8 * MIB, 128 * MIB, uneven);
	assert_true(cut.unit % SCOUT_BUF_BYTES == 0);
	*least = bytes;
	for (uint64_t at = 0, end; at < bytes; at = end, n++) {
		end = scout_cut_end(&cut, at);
		assert_true(end > at && end % SCOUT_BUF_BYTES == 0);
		assert_int_equal(scout_cut_end(&cut, (end < bytes ? end : bytes) - 1), end);
		if (end < bytes && end - at < *least)
			*least = end - at;
		*last = (end < bytes ? end : bytes) - at;
	}
	return n;
}

static void small_objects_are_cut(void **state)
{
	uint64_t least, last;

	(void)state;
	for (int uneven = 0; uneven < 2; uneven++) {
		assert_int_equal(pieces(1, uneven, &least, &last), 1);
		assert_int_equal(pieces(3 * MIB, uneven, &least, &last), 3);
		assert_int_equal(least, MIB);
		assert_int_equal(pieces(24834009, uneven, &least, &last), 16);
		assert_int_equal(pieces(64 * MIB, uneven, &least, &last), 16);
		/* a checksum, which takes them in order, has the first ones sooner */
		assert_int_equal(least, uneven ? 11 * MIB / 4 : 4 * MIB);
		assert_int_equal(last, uneven ? 21 * MIB / 4 : 4 * MIB);
		for (uint64_t bytes = 9 * MIB; bytes <= 64 * MIB; bytes += 77777) {
			unsigned n = pieces(bytes, uneven, &least, &last);

			assert_in_range(n, 4, 16);
			assert_true(least >= (uneven ? MIB / 2 : MIB) && (n == 4 || last >= MIB));
		}
		assert_int_equal(pieces(100 * MIB, uneven, &least, &last), 13);
		assert_int_equal(least, 8 * MIB);
	}
}

static void odd_part_sizes(void **state)
{
	struct scout_cut cut;

	(void)state;
	scout_cut_make(&cut, 100 * MIB, 1, 128 * MIB, false);
	assert_int_equal(cut.unit, SCOUT_BUF_BYTES);
	scout_cut_make(&cut, 100 * MIB, 5 * MIB + 1, 128 * MIB, false);
	assert_int_equal(cut.unit, 5 * MIB);
	scout_cut_make(&cut, 100000 * MIB, 4096 * MIB, 1024 * MIB, false);
	assert_int_equal(cut.unit, SCOUT_FETCH_BLOCKS * SCOUT_BUF_BYTES);
	/* a short window is of several fetches all the same */
	scout_cut_make(&cut, 100000 * MIB, 8 * MIB, 24 * MIB, false);
	assert_int_equal(cut.unit, 3 * MIB);
	scout_cut_make(&cut, 100000 * MIB, 8 * MIB, MIB / 2, false);
	assert_int_equal(cut.unit, MIB);
	scout_cut_make(&cut, 0, 8 * MIB, 128 * MIB, false);
	assert_true(cut.unit > 0);
}

static void readers_who_go_on(void **state)
{
	struct scout_run run = {0};
	struct scout_cut cut;

	(void)state;
	scout_cut_make(&cut, 1024 * MIB, 8 * MIB, 128 * MIB, false);
	/* it may be no more than a look */
	assert_int_equal(scout_run_note(&run, &cut, 0, MIB), MIB);
	run.ahead = MIB;
	/* out of order, as the kernel does */
	assert_int_equal(scout_run_note(&run, &cut, 2 * MIB, MIB), 64 * MIB);
	run.ahead = 64 * MIB;
	assert_int_equal(scout_run_note(&run, &cut, MIB, MIB), 0);
	/* the window is whole parts, and grows to its longest */
	assert_int_equal(scout_run_note(&run, &cut, 3 * MIB, MIB), 96 * MIB);
	run.ahead = 96 * MIB;
	assert_int_equal(scout_run_note(&run, &cut, 4 * MIB, MIB), 128 * MIB);
	run.ahead = 128 * MIB;
	for (uint64_t at = 5 * MIB; at < 7 * MIB; at += MIB)
		assert_int_equal(scout_run_note(&run, &cut, at, MIB), 0);
	assert_int_equal(scout_run_note(&run, &cut, 7 * MIB, MIB), 136 * MIB);
	run.ahead = 136 * MIB;
	assert_true(scout_run_wants(&run, 8 * MIB, 9 * MIB));
	assert_true(scout_run_wants(&run, 135 * MIB, 140 * MIB));
	assert_false(scout_run_wants(&run, 136 * MIB, 140 * MIB));
	assert_false(scout_run_wants(&run, 0, 6 * MIB));
	/* somewhere else: begins anew, and only when it goes on */
	assert_int_equal(scout_run_note(&run, &cut, 500 * MIB, MIB), 0);
	assert_false(scout_run_wants(&run, 0, 1024 * MIB));
	assert_int_equal(scout_run_note(&run, &cut, 501 * MIB, MIB), 504 * MIB);
	assert_int_equal(scout_run_note(&run, &cut, 502 * MIB, MIB), 507 * MIB);
	/* never beyond the end */
	run = (struct scout_run){0};
	(void)scout_run_note(&run, &cut, 1020 * MIB, MIB);
	assert_int_equal(scout_run_note(&run, &cut, 1021 * MIB, MIB), 1024 * MIB);
}

static void readers_who_jump(void **state)
{
	struct scout_run run = {0};
	struct scout_cut cut;
	uint64_t at = 1;

	(void)state;
	scout_cut_make(&cut, 1024 * MIB, 8 * MIB, 128 * MIB, false);
	for (int i = 0; i < 1000; i++) {
		at = at * 6364136223846793005u + 1442695040888963407u;
		assert_int_equal(scout_run_note(&run, &cut, (at >> 20) % (1023 * MIB), 64 * 1024),
				 0);
	}
	/* the end of a zip, backwards */
	run = (struct scout_run){0};
	for (at = 1024 * MIB - 65536; at > 1000 * MIB; at -= 65536)
		assert_int_equal(scout_run_note(&run, &cut, at, 65536), 0);
	/* a look at the beginning of a large object is not yet reading it */
	run = (struct scout_run){0};
	assert_int_equal(scout_run_note(&run, &cut, 0, 65536), 0);
	assert_int_not_equal(scout_run_note(&run, &cut, 65536, 65536), 0);
	/* but of a very small one is */
	scout_cut_make(&cut, MIB, 8 * MIB, 128 * MIB, false);
	run = (struct scout_run){0};
	assert_int_equal(scout_run_note(&run, &cut, 0, 4096), MIB);
	run = (struct scout_run){0};
	assert_int_equal(scout_run_note(&run, &cut, MIB / 2, 65536), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_that_are_names),
	    cmocka_unit_test(keys_that_are_not),
	    cmocka_unit_test(versions),
	    cmocka_unit_test(builds_directories),
	    cmocka_unit_test(folder_wins),
	    cmocka_unit_test(any_order),
	    cmocka_unit_test(odd_keys_are_counted),
	    cmocka_unit_test(empty_tree),
	    cmocka_unit_test(trees_are_bounded),
	    cmocka_unit_test(small_objects_are_cut),
	    cmocka_unit_test(odd_part_sizes),
	    cmocka_unit_test(readers_who_go_on),
	    cmocka_unit_test(readers_who_jump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
