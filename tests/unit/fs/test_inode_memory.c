/* The inode table without memory for its hashes: each allocation fails once, and the mount lives on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static unsigned asked, fails; /* so many were asked for, and the one that is refused */

static void *give(size_t size)
{
	return ++asked == fails ? NULL : malloc(size);
}

#define uthash_malloc(size) give(size)
#include "fs/inode.c"

#define FILES 500 /* the hashes grow */

static const struct scout_backend_ops ops = {.name = "hosts", .split = true};
static const struct scout_backend hosts = {&ops, NULL};
static const struct scout_attr folder = {.mode = S_IFDIR}, plain = {.mode = S_IFREG, .version = 1};

static struct scout_inode *look(struct scout_inode *parent, const char *name,
				const struct scout_attr *attr)
{
	struct scout_inode *inode = scout_inode_lookup(parent, name, &hosts, 0, attr, UINT64_MAX);

	if (!inode) { /* that was the one */
		assert_true(fails && asked >= fails);
		inode = scout_inode_lookup(parent, name, &hosts, 0, attr, UINT64_MAX);
	}
	assert_non_null(inode);
	return inode;
}

static void find(struct scout_inode *parent, const char *name, const struct scout_inode *want)
{
	struct scout_inode *found = scout_inode_find(parent, name);

	assert_ptr_equal(found, want);
	if (found)
		scout_inode_unpin(found);
}

/* One by one, so that the last one's going ends a hash, and the next one's coming begins it. */
static void use_one(struct scout_inode *host)
{
	struct scout_inode *a = look(host, "a", &plain), *b, *c;

	b = scout_inode_link(host, "b", &hosts, 0, &plain, a);
	if (b)
		assert_int_equal(a->ino, b->ino);
	find(host, "b", b);
	scout_inode_remove(a);
	find(host, "a", NULL);
	if (b) {
		scout_inode_rename(b, host, "c");
		c = scout_inode_find(host, "c");
		assert_true(c == b || (!c && fails && asked >= fails));
		if (c)
			scout_inode_unpin(c);
		scout_inode_forget(b, 1);
	}
	scout_inode_forget(a, 1);
	a = scout_inode_create_apart(host, "d", &hosts, 0, &plain);
	assert_non_null(a);
	find(host, "d", NULL);
	scout_inode_forget(a, 1);
	a = look(host, "e", &plain);
	(void)scout_inode_set_apart(a);
	find(host, "e", NULL);
	scout_inode_forget(a, 1);
}

static void use_many(struct scout_inode *host)
{
	struct scout_inode *files[FILES];
	char name[16];

	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof name, "f%u", i);
		files[i] = look(host, name, &plain);
		find(host, name, files[i]);
	}
	for (unsigned i = 0; i < FILES; i += 2)
		scout_inode_forget(files[i], 1);
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	for (fails = 1, asked = UINT32_MAX / 2; asked >= fails; fails++) {
		struct scout_inode *root, *top, *host;

		asked = 0;
		assert_int_equal(scout_inodes_new(&root), 0);
		top = look(root, "hosts", &folder);
		host = look(top, "web1", &folder);
		use_one(host);
		use_many(host);
		scout_inodes_free(root);
	}
	assert_true(fails > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
