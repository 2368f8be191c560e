/* The inode table: stable numbers, paths, lifetimes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fs/fh.h"
#include "fs/inode.h"

static const struct scout_backend_ops split_ops = {.name = "hosts", .split = true};
static void release(void *self, void *handle)
{
	(void)self;
	(void)handle;
}

static const struct scout_backend_ops whole_ops = {.name = "models", .release = release};
static const struct scout_backend hosts = {&split_ops, NULL}, models = {&whole_ops, NULL};

static int new_table(void **state)
{
	return scout_inodes_new((struct scout_inode **)state);
}

static int free_table(void **state)
{
	scout_inodes_free(*state);
	return 0;
}

static struct scout_inode *look(struct scout_inode *parent, const char *name,
				const struct scout_backend *be, uint64_t version)
{
	struct scout_attr attr = {.mode = S_IFREG | 0644, .version = version};

	return scout_inode_lookup(parent, name, be, 0, &attr, UINT64_MAX);
}

static struct scout_inode *walk(struct scout_inode *root, const struct scout_backend *be,
				const char *path)
{
	struct scout_inode *at = root, *next;
	char copy[PATH_MAX], *save;

	strcpy(copy, path);
	for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		next = look(at, name, be, 1);
		assert_non_null(next);
		if (at != root)
			scout_inode_forget(at, 1);
		at = next;
	}
	return at;
}

static void the_same_name_is_the_same_inode(void **state)
{
	struct scout_inode *a = walk(*state, &hosts, "hosts/web1/etc");
	struct scout_inode *b = walk(*state, &hosts, "hosts/web1/etc");

	assert_ptr_equal(a, b);
	assert_int_equal(a->lookups, 2);
	scout_inode_forget(a, 2);
}

static void paths_start_below_the_backend(void **state)
{
	struct scout_inode *deep = walk(*state, &hosts, "hosts/web1/etc/ssh/sshd_config");
	struct scout_inode *top = walk(*state, &hosts, "hosts");
	char path[PATH_MAX];

	assert_int_equal(scout_inode_path(deep, path, sizeof(path)), 0);
	assert_string_equal(path, "web1/etc/ssh/sshd_config");
	assert_int_equal(scout_inode_path(top, path, sizeof(path)), 0);
	assert_string_equal(path, "");
	assert_int_equal(scout_inode_path(deep, path, 24), -ENAMETOOLONG);
	assert_int_equal(scout_inode_path(deep, path, 25), 0);
	scout_inode_forget(deep, 1);
	scout_inode_forget(top, 1);
}

static void numbers_come_from_the_path_alone(void **state)
{
	struct scout_inode *other, *a, *b;

	assert_int_equal(scout_inodes_new(&other), 0);
	a = walk(*state, &hosts, "hosts/web1/etc/passwd");
	(void)walk(other, &hosts, "hosts/zzz");
	b = walk(other, &hosts, "hosts/web1/etc/passwd");
	assert_int_equal(a->ino, b->ino);
	assert_int_equal(a->ino, scout_inode_number(a->parent, "passwd"));
	assert_int_not_equal(a->ino, scout_inode_number(a->parent, "passwe"));
	assert_int_not_equal(a->ino, scout_inode_number(a->parent->parent, "passwd"));
	scout_inode_forget(a, 1);
	scout_inodes_free(other); /* with what is still looked up in it */
}

static void each_host_has_a_lock_of_its_own(void **state)
{
	struct scout_inode *a = walk(*state, &hosts, "hosts/web1/etc");
	struct scout_inode *b = walk(*state, &hosts, "hosts/web2/etc");
	struct scout_inode *m = walk(*state, &models, "models/a/main");
	struct scout_inode *n = walk(*state, &models, "models/b/main");

	assert_ptr_not_equal(a->tree, b->tree);
	assert_ptr_equal(m->tree, n->tree);
	assert_ptr_not_equal(a->tree, m->tree);
	scout_inode_forget(a, 1);
	scout_inode_forget(b, 1);
	scout_inode_forget(m, 1);
	scout_inode_forget(n, 1);
}

static void nothing_stays_when_all_is_forgotten(void **state)
{
	struct scout_inode *root = *state, *deep;

	deep = walk(root, &hosts, "hosts/web1/a/b/c");
	scout_inode_pin(deep);
	scout_inode_forget(deep, 1);
	assert_non_null(root->tree->inodes); /* the pin holds the whole path */
	scout_inode_unpin(deep);
	assert_null(root->tree->inodes);
}

static struct scout_fh *opened(struct scout_fhs *fhs, struct scout_inode *inode, uint64_t pages,
			       enum scout_bind bind)
{
	struct scout_attr attr = {.version = 1, .size = 1000};
	struct scout_fh *f;

	assert_int_equal(scout_inode_bind(inode, 1, pages, O_RDONLY, 1), bind);
	if (bind != SCOUT_BIND_SAME && bind != SCOUT_BIND_DROP)
		return NULL;
	f = scout_fh_new(fhs, inode, &models, NULL, O_RDONLY, 0, &attr);
	assert_non_null(f);
	atomic_store(&f->dropping, bind == SCOUT_BIND_DROP);
	return f;
}

/* Of an inode that is open none are dropped: the kernel would wait for those that are being read. */
static void pages_go_when_nobody_reads(void **state)
{
	struct scout_inode *f = walk(*state, &models, "models/a/main/model.zip"), *g;
	struct scout_fhs *fhs;
	struct scout_fh *a, *b;

	assert_int_equal(scout_fhs_new(&fhs), 0);
	(void)scout_inode_saw(f, 1);
	a = opened(fhs, f, 5, SCOUT_BIND_SAME); /* there are none yet */
	b = opened(fhs, f, 5, SCOUT_BIND_SAME);
	scout_fh_close(a);
	(void)opened(fhs, f, 6, SCOUT_BIND_OTHER);
	scout_fh_close(b);
	g = look(f->parent, "model.zip", f->backend, 1);
	assert_ptr_not_equal(g, f);
	assert_int_equal(g->ino, f->ino);
	scout_inode_forget(f, 1);
	a = opened(fhs, g, 6, SCOUT_BIND_SAME);
	scout_fh_close(a);
	a = opened(fhs, g, 0, SCOUT_BIND_SAME); /* all are fine */
	scout_fh_close(a);
	a = opened(fhs, g, 7, SCOUT_BIND_DROP);
	scout_fh_used(a);
	b = opened(fhs, g, 7, SCOUT_BIND_SAME);
	scout_fh_close(a);
	scout_fh_close(b);
	/* the kernel did not take the answer of the open: they are there still */
	a = opened(fhs, g, 8, SCOUT_BIND_DROP);
	scout_fh_close(a);
	a = opened(fhs, g, 8, SCOUT_BIND_DROP);
	/* and may be, until it reads: nobody else sees them, nor locks one that is to go */
	(void)opened(fhs, g, 8, SCOUT_BIND_OTHER);
	(void)opened(fhs, g, 0, SCOUT_BIND_PASSING);
	scout_fh_close(a);
	scout_inode_forget(g, 1);
	scout_fhs_free(fhs);
}

static void an_inode_stands_for_one_version(void **state)
{
	struct scout_inode *f = walk(*state, &models, "models/a/main/model.zip"), *g, *h;
	char path[PATH_MAX];

	assert_int_equal(scout_inode_belief(f, 7), 7);
	assert_false(scout_inode_saw(f, 1));
	assert_int_equal(scout_inode_bind(f, 1, 0, O_RDONLY, 7), SCOUT_BIND_SAME);
	assert_int_equal(scout_inode_bind(f, 1, 0, O_RDONLY, 7), SCOUT_BIND_SAME);
	assert_int_equal(scout_inode_bind(f, 2, 0, O_RDONLY, 7), SCOUT_BIND_OTHER);
	g = look(f->parent, "model.zip", f->backend, 1);
	assert_ptr_equal(g, f);
	scout_inode_forget(g, 1);
	/* another version is another inode of the same name and number */
	g = look(f->parent, "model.zip", f->backend, 2);
	assert_ptr_not_equal(g, f);
	assert_int_equal(g->ino, f->ino);
	assert_int_equal(scout_inode_path(f, path, sizeof(path)), 0);
	assert_string_equal(path, "a/main/model.zip");
	assert_int_equal(scout_inode_bind(g, 2, 0, O_RDONLY, 7), SCOUT_BIND_SAME);
	/* who was sent to look it up and finds it changed again is served, without the kernel's pages;
	 * who had found it since is sent again */
	assert_int_equal(scout_inode_bind(g, 3, 0, O_RDONLY, 7), SCOUT_BIND_OTHER);
	assert_int_equal(scout_inode_bind(g, 3, 0, O_RDONLY, 8), SCOUT_BIND_OTHER);
	assert_int_equal(scout_inode_bind(g, 3, 0, O_RDONLY, 7), SCOUT_BIND_PASSING);
	assert_int_equal(scout_inode_bind(g, 3, 0, O_RDONLY, 7), SCOUT_BIND_OTHER);
	/* who has the old one open must prove it, and may hold it for longer */
	assert_int_not_equal(scout_inode_belief(f, 1), 1);
	h = look(f->parent, "model.zip", f->backend, 2);
	assert_ptr_equal(h, g);
	scout_inode_forget(g, 2);
	h = look(f->parent, "model.zip", f->backend, 1);
	assert_ptr_not_equal(h, f);
	scout_inode_forget(h, 1);
	scout_inode_forget(f, 1);
	assert_null(((struct scout_inode *)*state)->tree->inodes);
}

/* A node id is an address, which the next inode may have: file handles tell them apart by this. */
static void no_two_share_a_generation(void **state)
{
	uint64_t generation, before = 0;

	for (int i = 0; i < 20; i++) {
		struct scout_inode *f = walk(*state, &hosts, "hosts/web1/f");
		struct scout_inode *again = walk(*state, &hosts, "hosts/web1/f");

		generation = f->generation;
		assert_true(generation > before);
		assert_int_equal(again->generation, generation);
		before = generation;
		scout_inode_forget(f, 2);
	}
}

static void *look_often(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		struct scout_inode *f = walk(arg, &hosts, i % 2 ? "hosts/w/a/b" : "hosts/w/a/c");

		scout_inode_forget(f, 1);
	}
	return NULL;
}

static void many_threads_look_and_forget(void **state)
{
	struct scout_inode *root = *state;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(scout_thread_start(&threads[i], "look", look_often, root), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_null(root->tree->inodes);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_table, free_table)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_same_name_is_the_same_inode),     TEST(paths_start_below_the_backend),
	    TEST(numbers_come_from_the_path_alone),    TEST(each_host_has_a_lock_of_its_own),
	    TEST(nothing_stays_when_all_is_forgotten), TEST(an_inode_stands_for_one_version),
	    TEST(pages_go_when_nobody_reads),          TEST(no_two_share_a_generation),
	    TEST(many_threads_look_and_forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
