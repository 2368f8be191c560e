/* Window arithmetic, symlink containment, attributes, names: what needs no session. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hosts/attr.h"
#include "hosts/dir.h"
#include "hosts/link.h"
#include "hosts/window.h"
#include "scoutfs/budget.h"
#include "scoutfs/clock.h"

#define MIB ((uint64_t)1 << 20)

static void sequential_reads_open_the_window(void **state)
{
	struct scout_window w = {0};
	uint64_t before = 0;

	(void)state;
	assert_true(scout_window_read(&w, 0, 4096, 16 * MIB));
	assert_int_equal(w.ahead, SCOUT_WINDOW_MIN);
	for (uint64_t at = 4096; at < 20 * MIB; at += 131072) {
		assert_true(scout_window_read(&w, at, 131072, 16 * MIB));
		assert_true(w.ahead >= before && w.ahead <= 16 * MIB);
		before = w.ahead;
	}
	assert_int_equal(w.ahead, 16 * MIB);
}

static void a_small_maximum_wins(void **state)
{
	struct scout_window w = {0};

	(void)state;
	assert_true(scout_window_read(&w, 0, MIB, 65536));
	assert_int_equal(w.ahead, 65536);
}

static void the_maximum_follows_the_distance(void **state)
{
	(void)state;
	assert_int_equal(scout_window_max(32 * MIB, 0), 16 * MIB);
	assert_int_equal(scout_window_max(32 * MIB, 20 * SCOUT_NS_PER_MS), 20 * MIB);
	assert_int_equal(scout_window_max(32 * MIB, 200 * SCOUT_NS_PER_MS), 32 * MIB);
	assert_int_equal(scout_window_max(MIB, 0), MIB);
	assert_int_equal(scout_window_max(MIB, 3600 * SCOUT_NS_PER_S), MIB);
}

static void reads_out_of_order_stay_sequential(void **state)
{
	static const uint64_t order[] = {1, 0, 3, 2, 5, 4, 8, 6, 7};
	struct scout_window w = {0};

	(void)state;
	for (size_t i = 0; i < sizeof order / sizeof *order; i++)
		assert_true(scout_window_read(&w, order[i] * MIB, MIB, 16 * MIB));
	assert_int_equal(w.next, 9 * MIB);
	assert_int_equal(w.run, 9 * MIB);
}

static void a_seek_closes_the_window(void **state)
{
	struct scout_window w = {0};

	(void)state;
	assert_true(scout_window_read(&w, 0, 4096, MIB));
	assert_false(scout_window_read(&w, 100 * MIB, 4096, MIB));
	assert_int_equal(w.ahead, 0);
	assert_int_equal(w.next, 100 * MIB + 4096);
	assert_false(scout_window_read(&w, 0, 4096, MIB));
	assert_true(scout_window_read(&w, 4096, 4096, MIB));
	assert_int_equal(w.ahead, SCOUT_WINDOW_MIN);
}

static void a_read_never_needs_more_buffers_than_promised(void **state)
{
	static const uint32_t limits[] = {0,      1,      4096,   16385,     32768,
					  65536,  100000, 131072, 131073,    200000,
					  261120, 262144, 300000, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		uint32_t part = scout_window_part_bytes(limits[i]);
		uint32_t chunk = scout_window_chunk_bytes(part);

		assert_true(part && part <= SCOUT_BUF_BYTES);
		assert_true(chunk >= part && chunk <= SCOUT_BUF_BYTES);
		/* the worst alignment: the first byte is the last of a chunk */
		assert_true((SCOUT_READ_MAX - 2) / chunk + 2 <= SCOUT_READ_BUFS);
	}
	assert_int_equal(scout_window_chunk_bytes(261120), 261120);
	assert_int_equal(scout_window_chunk_bytes(32768), 262144);
}

static void only_growth_is_no_change(void **state)
{
	(void)state;
	assert_int_equal(scout_window_change(5, 10, 5, 10), SCOUT_CHANGE_NONE);
	assert_int_equal(scout_window_change(5, 10, 6, 10), SCOUT_CHANGE_GROWN);
	assert_int_equal(scout_window_change(5, 10, 6, 11), SCOUT_CHANGE_GROWN);
	assert_int_equal(scout_window_change(5, 10, 6, 9), SCOUT_CHANGE_OTHER);
	assert_int_equal(scout_window_change(5, 10, 4, 11), SCOUT_CHANGE_OTHER);
	assert_int_equal(scout_window_change(5, 10, 5, 11), SCOUT_CHANGE_OTHER);
}

static void a_look_may_be_outdated(void **state)
{
	const struct scout_told none = {0}, then = {.size = 5, .mtime = 10, .count = 1},
				now = {.size = 9, .mtime = 11, .count = 2};

	(void)state;
	assert_true(scout_window_outdated(&then, &now, 5, 10));
	assert_true(scout_window_outdated(&then, &now, 7, 11));
	assert_true(scout_window_outdated(&none, &now, 1, 1));
	assert_false(scout_window_outdated(&then, &now, 9, 11)); /* is as it is */
	assert_false(scout_window_outdated(&then, &now, 10, 11));
	assert_false(scout_window_outdated(&then, &now, 4, 10)); /* has been cut */
	assert_false(scout_window_outdated(&then, &now, 7, 9));
	assert_false(scout_window_outdated(&then, &now, 7, 12));
	assert_false(scout_window_outdated(&now, &now, 7, 11)); /* went out when that was known */
}

static void link_is(const char *root, const char *path, const char *target, const char *want)
{
	struct scout_text out = {0};

	assert_int_equal(scout_link_contain(root, path, target, &out), 0);
	assert_string_equal(out.str, want);
	scout_text_free(&out);
}

static void relative_links_stay(void **state)
{
	(void)state;
	link_is("/", "a/link", "b", "b");
	link_is("/", "a/link", "../b/./c//d/", "../b/./c//d/");
	link_is("/", "a/link", "../b/./c//../d", "../b/d");
	link_is("/", "a/link", "./../b", "./../b");
	link_is("/", "a/link", "./../../b", "../b");
	link_is("/", "a/link", "b/../c", "c");
	link_is("/", "a/link", ".", ".");
	link_is("/", "a/link", "..", "..");
	link_is("/srv", "a/b/link", "../../x", "../../x");
}

static void climbing_ends_at_the_host(void **state)
{
	(void)state;
	link_is("/", "link", "..", ".");
	link_is("/", "link", "../../../etc/passwd", "etc/passwd");
	link_is("/", "a/link", "../../x", "../x");
	/* through a link called d, d/../.. could end anywhere */
	link_is("/", "link", "d/../../x", "x");
	link_is("/", "a/link", "d/../../../x", "../x");
}

static void absolute_links_stay_inside(void **state)
{
	(void)state;
	link_is("/", "link", "/etc/passwd", "etc/passwd");
	link_is("/", "a/b/link", "/etc/passwd", "../../etc/passwd");
	link_is("/", "a/link", "/", "..");
	link_is("/", "link", "/", ".");
	link_is("/srv", "link", "/srv/x", "x");
	link_is("/srv", "a/link", "/srv", "..");
	link_is("/srv", "a/link", "/srv/../srv/x", "../x");
	link_is("/srv", "link", "/srvx/y", "srvx/y");
	link_is("/srv", "link", "/etc/y", "etc/y");
	link_is("/srv", "link", "/srv/../etc/y", "etc/y");
	link_is("/srv/data", "link", "/srv/data/../x", "srv/x");
	link_is("/srv", "link", "/../../srv/x", "x");
}

static void bad_targets_are_refused(void **state)
{
	struct scout_text out = {0};
	char text[PATH_MAX + 10];

	(void)state;
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '\0';
	assert_int_equal(scout_link_contain("/", "link", "", &out), -EIO);
	assert_int_equal(scout_link_contain("/", "link", text, &out), -EIO);
	text[PATH_MAX - 1] = '\0';
	assert_int_equal(scout_link_contain("/", "link", text, &out), 0);
	assert_int_equal(strlen(out.str), PATH_MAX - 1);
	/* it grows by the way up */
	text[0] = '/';
	assert_int_equal(scout_link_contain("/", "a/link", text, &out), -EIO);
	scout_text_free(&out);
}

static void attributes_are_checked(void **state)
{
	struct scout_sftp_attrs remote = {.has = 15, .size = 7, .uid = 3, .gid = 4, .mtime = 9};
	struct scout_attr a, b;

	(void)state;
	remote.mode = S_IFDIR | 01777;
	scout_attr_map(&remote, &a);
	assert_int_equal(a.mode, S_IFDIR | 01777);
	assert_int_equal(a.nlink, 2);
	assert_int_equal(a.uid, 3);
	assert_int_equal(a.gid, 4);
	assert_int_equal(a.size, 7);
	assert_int_equal(a.mtime.tv_sec, 9);
	remote.mode = 0644; /* no type at all */
	scout_attr_map(&remote, &a);
	assert_int_equal(a.mode, S_IFREG);
	remote.mode = 0xffffffff;
	scout_attr_map(&remote, &a);
	assert_int_equal(a.mode, S_IFREG);
	remote.size = UINT64_MAX;
	scout_attr_map(&remote, &a);
	assert_int_equal(a.size, 0);
	remote.has = 0;
	scout_attr_map(&remote, &b);
	assert_int_equal(b.mode, S_IFREG | 0444);
	assert_int_equal(b.nlink, 1);
	assert_int_equal(b.uid, 0);
}

static void version_follows_size_and_mtime(void **state)
{
	struct scout_sftp_attrs remote = {.has = 15, .size = 7, .mode = S_IFREG, .mtime = 9};
	struct scout_attr a, b;

	(void)state;
	scout_attr_map(&remote, &a);
	remote.atime = 77;
	remote.mode |= 0600;
	scout_attr_map(&remote, &b);
	assert_true(a.version == b.version);
	remote.size = 9;
	remote.mtime = 7;
	scout_attr_map(&remote, &b);
	assert_true(a.version != b.version);
}

static void names_are_checked(void **state)
{
	char text[257];

	(void)state;
	memset(text, 'n', sizeof text);
	text[256] = '\0';
	assert_false(scout_dir_name_ok(text));
	text[255] = '\0';
	assert_true(scout_dir_name_ok(text));
	assert_true(scout_dir_name_ok("..."));
	assert_true(scout_dir_name_ok("a b\n\"\xff"));
	assert_false(scout_dir_name_ok(""));
	assert_false(scout_dir_name_ok("."));
	assert_false(scout_dir_name_ok(".."));
	assert_false(scout_dir_name_ok("../x"));
	assert_false(scout_dir_name_ok("/"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sequential_reads_open_the_window),
	    cmocka_unit_test(a_small_maximum_wins),
	    cmocka_unit_test(the_maximum_follows_the_distance),
	    cmocka_unit_test(reads_out_of_order_stay_sequential),
	    cmocka_unit_test(a_seek_closes_the_window),
	    cmocka_unit_test(a_read_never_needs_more_buffers_than_promised),
	    cmocka_unit_test(only_growth_is_no_change),
	    cmocka_unit_test(a_look_may_be_outdated),
	    cmocka_unit_test(relative_links_stay),
	    cmocka_unit_test(climbing_ends_at_the_host),
	    cmocka_unit_test(absolute_links_stay_inside),
	    cmocka_unit_test(bad_targets_are_refused),
	    cmocka_unit_test(attributes_are_checked),
	    cmocka_unit_test(version_follows_size_and_mtime),
	    cmocka_unit_test(names_are_checked),
	};

	return cmocka_run_group_tests_name("hosts/pure", tests, NULL, NULL);
}
