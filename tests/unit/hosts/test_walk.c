/* In which order somebody goes through a folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hosts/walk.h"
#include "scoutfs/hash.h"

#define INO 77

static struct scout_names names;
static struct scout_walk w;

static void add(const char *name, mode_t mode, uint64_t size)
{
	struct scout_dirent entry = {.name = name, .attr = {.mode = mode, .size = size}};

	assert_true(scout_names_add(&names, &entry));
}

/* Listed as z, m, a, k, with what is none of the files that are read in between. */
static int set_up(void **state)
{
	(void)state;
	add("z", S_IFREG, 1);
	add("folder", S_IFDIR, 4096);
	add("m", S_IFREG, 1);
	add("empty", S_IFREG, 0);
	add("a", S_IFREG, 1);
	add("link", S_IFLNK, 1);
	add("k", S_IFREG, 1);
	scout_names_sort(&names);
	scout_walk_begin(&w, 0, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	scout_names_free(&names);
	return 0;
}

static bool visit(const char *name)
{
	return scout_walk_visit(&w, &names, SCOUT_KIND_FILE, INO, name, 1);
}

static void is_next(const char *name)
{
	const struct scout_name *e = scout_walk_next(&w, &names, SCOUT_KIND_FILE, INO, NULL);

	if (name)
		assert_string_equal(scout_names_str(&names, e), name);
	else
		assert_null(e);
}

static void names_are_found(void **state)
{
	(void)state;
	assert_int_equal(scout_names_find(&names, "empty")->rank, 3);
	assert_null(scout_names_find(&names, "e"));
	assert_null(scout_names_find(&names, "zz"));
}

static void names_are_few(void **state)
{
	struct scout_dirent entry = {.name = "x"};
	struct scout_names many = {0}, copy;

	(void)state;
	while (scout_names_add(&many, &entry))
		assert_true(many.count <= SCOUT_NAMES_MAX);
	assert_int_equal(many.count, SCOUT_NAMES_MAX);
	assert_true(scout_names_copy(&copy, &many));
	scout_names_free(&many);
	assert_string_equal(scout_names_str(&copy, &copy.list[SCOUT_NAMES_MAX - 1]), "x");
	scout_names_free(&copy);
	assert_true(scout_names_copy(&copy, &many)); /* of none */
	assert_int_equal(copy.count, 0);
}

static void as_they_are_listed(void **state)
{
	(void)state;
	assert_false(visit("z"));
	assert_true(visit("m"));
	is_next("a");
	assert_true(visit("a"));
	assert_true(visit("k"));
	is_next(NULL);
}

static void by_name(void **state)
{
	(void)state;
	assert_false(visit("a"));
	assert_true(visit("k"));
	is_next("m");
}

static void by_inode_number(void **state)
{
	const char *sorted[] = {"a", "k", "m", "z"};

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = i + 1; k < 4; k++)
			if (scout_hash_ino(INO, sorted[k]) < scout_hash_ino(INO, sorted[i])) {
				const char *other = sorted[i];

				sorted[i] = sorted[k];
				sorted[k] = other;
			}
	(void)visit(sorted[0]);
	assert_true(visit(sorted[1]));
	w.fits = 1u << SCOUT_ORDER_INODE; /* whatever else it was, too */
	is_next(sorted[2]);
	assert_true(visit(sorted[2]));
	assert_int_equal(w.fits, 1u << SCOUT_ORDER_INODE);
	/* nobody knows the numbers of a folder that has none */
	scout_walk_begin(&w, 1u << SCOUT_ORDER_INODE, SCOUT_WALK_SURE);
	assert_false(scout_walk_visit(&w, &names, SCOUT_KIND_FILE, 0, sorted[3], 1));
}

static void one_again_is_no_step(void **state)
{
	(void)state;
	assert_false(visit("a"));
	assert_false(visit("a"));
	assert_true(visit("k"));
	assert_false(visit("k"));
	assert_true(visit("m"));
}

static void a_jump_begins_anew(void **state)
{
	(void)state;
	assert_false(visit("a"));
	assert_true(visit("k"));
	assert_false(visit("z")); /* not m */
	assert_false(visit("m")); /* as listed: one step */
	assert_true(visit("a"));
	assert_false(visit("none"));
}

static void the_middle_is_no_beginning(void **state)
{
	(void)state;
	w = (struct scout_walk){0};
	assert_false(visit("a"));
	assert_false(visit("k"));
	assert_true(visit("m"));
	is_next("z");
}

static void who_went_so_through_its_sibling(void **state)
{
	(void)state;
	scout_walk_begin(&w, 1u << SCOUT_ORDER_NAME, SCOUT_WALK_SURE);
	is_next("a");
	assert_true(visit("a"));
	scout_walk_begin(&w, 1u << SCOUT_ORDER_NAME, SCOUT_WALK_SURE);
	assert_false(visit("m"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(names_are_found, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(names_are_few, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(as_they_are_listed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(by_name, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(by_inode_number, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(one_again_is_no_step, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_jump_begins_anew, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_middle_is_no_beginning, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(who_went_so_through_its_sibling, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("hosts/walk", tests, NULL, NULL);
}
