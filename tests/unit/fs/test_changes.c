/* The inode table while we change what it stands for: names that move and vanish, and what the kernel
 * may keep of files that are written to. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fs/fh.h"
#include "fs/inode.h"
#include "scoutfs/clock.h"

static atomic_int released;

static void release(void *self, void *handle)
{
	(void)self, (void)handle;
	atomic_fetch_add(&released, 1);
}

static const struct scout_backend_ops ops = {.name = "hosts", .split = true, .release = release};
static const struct scout_backend hosts = {&ops, NULL};

struct table {
	struct scout_inode *root;
	struct scout_inode *host; /* /hosts/w, held */
	struct scout_fhs *fhs;
};

#define NOW UINT64_MAX /* the backend was asked after all that we did */

static struct scout_inode *look_at(struct scout_inode *parent, const char *name, mode_t type,
				   uint64_t version, uint64_t asked_ns)
{
	struct scout_attr attr = {.mode = type | 0755, .version = version};
	struct scout_inode *inode = scout_inode_lookup(parent, name, &hosts, 0, &attr, asked_ns);

	assert_non_null(inode);
	return inode;
}

static struct scout_inode *dir(struct scout_inode *parent, const char *name)
{
	return look_at(parent, name, S_IFDIR, 1, NOW);
}

static struct scout_inode *file(struct scout_inode *parent, const char *name, uint64_t version)
{
	struct scout_inode *inode = look_at(parent, name, S_IFREG, version, NOW);

	(void)scout_inode_told(inode, version);
	return inode;
}

static struct scout_inode *make(struct scout_inode *parent, const char *name, uint64_t version)
{
	struct scout_attr attr = {.mode = S_IFREG | 0644, .version = version};
	struct scout_inode *inode = scout_inode_create(parent, name, &hosts, 0, &attr);

	assert_non_null(inode);
	scout_inode_bind_new(inode, version);
	(void)scout_inode_told(inode, version);
	return inode;
}

static struct scout_fh *opened(struct table *t, struct scout_inode *inode, uint64_t version,
			       int flags)
{
	struct scout_attr attr = {.version = version, .size = 1000};
	struct scout_fh *f;

	assert_int_equal(scout_inode_bind(inode, version, 0, flags, 1), SCOUT_BIND_SAME);
	f = scout_fh_new(t->fhs, inode, &hosts, NULL, flags, 0, &attr);
	assert_non_null(f);
	return f;
}

static int new_table(void **state)
{
	struct table *t = calloc(1, sizeof(*t));
	struct scout_inode *top;

	if (!t || scout_inodes_new(&t->root) || scout_fhs_new(&t->fhs))
		return -1;
	top = dir(t->root, "hosts");
	t->host = dir(top, "w");
	scout_inode_forget(top, 1);
	*state = t;
	return 0;
}

/* And nothing is left of what the test looked up. */
static int free_table(void **state)
{
	struct table *t = *state;
	struct scout_tree *tree = t->host->subtree;

	assert_null(tree->inodes);
	assert_null(tree->numbers);
	scout_inode_forget(t->host, 1);
	assert_null(t->root->tree->inodes);
	scout_fhs_free(t->fhs);
	scout_inodes_free(t->root);
	free(t);
	return 0;
}

static void assert_path(struct scout_inode *inode, const char *expected)
{
	char path[PATH_MAX];

	assert_int_equal(scout_inode_path(inode, path, sizeof(path)), 0);
	assert_string_equal(path, expected);
}

static void assert_gone(struct scout_inode *inode)
{
	char path[PATH_MAX];

	assert_int_equal(scout_inode_path(inode, path, sizeof(path)), -ESTALE);
}

/* Whether name is in the table. */
static struct scout_inode *at(struct scout_inode *parent, const char *name)
{
	struct scout_inode *inode = scout_inode_find(parent, name);

	if (inode)
		scout_inode_unpin(inode);
	return inode;
}

static void what_is_renamed_is_the_same_inode_elsewhere(void **state)
{
	struct table *t = *state;
	struct scout_inode *a = dir(t->host, "a"), *b = dir(t->host, "b"), *f = file(a, "f", 1);
	uint64_t ino = f->ino;

	scout_inode_rename(f, b, "a longer name");
	assert_path(f, "w/b/a longer name");
	assert_int_equal(f->ino, ino);
	assert_null(at(a, "f"));
	assert_ptr_equal(at(b, "a longer name"), f);
	assert_int_equal(scout_inode_parent_number(f), b->ino);
	/* it holds its new parent, and the old one no more */
	assert_int_equal(a->pins, 0);
	scout_inode_forget(a, 1);
	scout_inode_forget(b, 1);
	assert_path(f, "w/b/a longer name");
	scout_inode_forget(f, 1);
}

static void a_directory_takes_along_what_is_in_it(void **state)
{
	struct table *t = *state;
	struct scout_inode *a = dir(t->host, "a"), *b = dir(a, "b"), *f = file(b, "f", 1);

	scout_inode_rename(a, t->host, "moved");
	assert_path(f, "w/moved/b/f");
	/* no server can make the table a ring */
	scout_inode_rename(a, b, "inside itself");
	assert_gone(f);
	scout_inode_forget(f, 1);
	scout_inode_forget(b, 1);
	scout_inode_forget(a, 1);
}

static void what_is_replaced_or_removed_has_no_path(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1), *g = file(t->host, "g", 1), *h;

	scout_inode_rename(f, t->host, "g");
	assert_gone(g);
	assert_path(f, "w/g");
	scout_inode_remove(f);
	scout_inode_remove(f);
	assert_gone(f);
	/* who comes by that name gets another, which a late answer about the old one leaves alone */
	h = file(t->host, "g", 1);
	assert_ptr_not_equal(h, f);
	scout_inode_remove(f);
	scout_inode_rename(f, t->host, "x");
	assert_gone(f);
	assert_path(h, "w/g");
	scout_inode_forget(f, 1);
	scout_inode_forget(g, 1);
	scout_inode_forget(h, 1);
}

static void a_removed_directory_leads_nowhere(void **state)
{
	struct table *t = *state;
	struct scout_inode *d = dir(t->host, "d"), *f = file(d, "f", 1), *again;

	scout_inode_remove(d);
	again = dir(t->host, "d");
	assert_gone(f);
	assert_path(again, "w/d");
	scout_inode_forget(f, 1);
	scout_inode_forget(d, 1);
	scout_inode_forget(again, 1);
}

static void no_two_have_one_number(void **state)
{
	struct table *t = *state;
	struct scout_inode *log = file(t->host, "log", 1), *d = dir(t->host, "d"), *next, *f, *g;
	struct scout_fh *open = opened(t, log, 1, O_RDONLY);
	uint64_t ino = log->ino;

	/* log rotation: the new file is not the old one */
	scout_inode_rename(log, t->host, "log.1");
	next = make(t->host, "log", 2);
	assert_int_not_equal(next->ino, ino);
	/* nor while the old one is open, though it has no name */
	scout_inode_remove(log);
	scout_inode_remove(next);
	scout_inode_forget(next, 1);
	next = make(t->host, "log", 3);
	assert_int_not_equal(next->ino, ino);
	scout_inode_forget(next, 1);
	scout_fh_close(open);
	scout_inode_forget(log, 1);
	/* then it is the path's again, also if the kernel still has to forget one that is removed */
	log = make(t->host, "log", 4);
	assert_int_equal(log->ino, ino);
	scout_inode_remove(log);
	next = make(t->host, "log", 5);
	assert_int_equal(next->ino, ino);
	scout_inode_forget(log, 1);
	scout_inode_forget(next, 1);
	/* what lies in a moved directory is not what lies in one of its old name */
	f = file(d, "f", 1);
	scout_inode_rename(d, t->host, "d.1");
	next = dir(t->host, "d");
	g = file(next, "f", 1);
	assert_int_not_equal(g->ino, f->ino);
	scout_inode_forget(f, 1);
	scout_inode_forget(g, 1);
	scout_inode_forget(d, 1);
	scout_inode_forget(next, 1);
}

static struct scout_inode *link_of(struct scout_inode *of, const char *name, uint64_t version)
{
	struct scout_attr attr = {.mode = S_IFREG | 0644, .version = version};
	struct scout_inode *inode = scout_inode_link(of->parent, name, &hosts, 0, &attr, of);

	assert_non_null(inode);
	(void)scout_inode_told(inode, version);
	return inode;
}

static void names_of_one_file_have_one_number(void **state)
{
	struct table *t = *state;
	struct scout_inode *a = file(t->host, "a", 1), *b = link_of(a, "b", 1);
	struct scout_inode *c = link_of(b, "c", 1), *next;
	uint64_t number = a->ino;

	assert_ptr_not_equal(a, b);
	assert_true(b->ino == number && c->ino == number);
	scout_inode_remove(a);
	scout_inode_forget(a, 1);
	next = make(t->host, "a", 1); /* another file: the number is still that of b and c */
	assert_true(next->ino != number);
	assert_ptr_equal(file(t->host, "b", 1), b);
	scout_inode_forget(b, 2);
	scout_inode_forget(next, 1);
	assert_ptr_equal(file(t->host, "c", 2), c); /* alone: nobody else's number */
	scout_inode_forget(c, 2);
	next = make(t->host, "a", 1);
	assert_true(next->ino == number);
	scout_inode_forget(next, 1);
}

static void a_name_that_changed_may_be_another_file(void **state)
{
	struct table *t = *state;
	struct scout_inode *a = file(t->host, "a", 1), *b = link_of(a, "b", 1);
	struct scout_inode *other = file(t->host, "b", 2);

	assert_ptr_not_equal(other, b);
	assert_true(other->ino != a->ino);
	scout_inode_forget(a, 1);
	scout_inode_forget(b, 1);
	scout_inode_forget(other, 1);
}

static void what_we_make_is_new(void **state)
{
	struct table *t = *state;
	struct scout_inode *old = file(t->host, "f", 1), *f = make(t->host, "f", 1), *same;

	assert_ptr_not_equal(f, old);
	assert_ptr_equal(same = file(t->host, "f", 1), f);
	scout_inode_forget(old, 1);
	scout_inode_forget(f, 2);
}

/* What was made to take another's place at close: until then the name is the other's, as it was. */
static void what_is_made_apart_has_no_name(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1), *made;
	struct scout_attr attr = {.mode = S_IFREG | 0644, .version = 2};
	uint64_t belief = scout_inode_belief(f, 0);
	struct scout_fh *w;

	made = scout_inode_create_apart(t->host, "f", &hosts, 0, &attr);
	assert_ptr_not_equal(made, f);
	assert_true(scout_inode_is_apart(made));
	w = opened(t, made, 2, O_WRONLY);
	assert_ptr_equal(file(t->host, "f", 1), f);
	assert_int_equal(scout_inode_belief(f, 0), belief);
	scout_fh_close(w);
	scout_inode_forget(made, 1);
	scout_inode_forget(f, 2);
}

static void another_type_is_another_inode(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "x", 1), *d = dir(t->host, "x");

	assert_ptr_not_equal(d, f);
	scout_inode_forget(f, 1);
	scout_inode_forget(d, 1);
}

static void an_open_file_is_found_by_its_inode(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1);
	struct scout_fh *h, *found;
	int before = atomic_load(&released);

	assert_null(scout_fh_of(f));
	h = opened(t, f, 1, O_RDWR);
	scout_inode_remove(f);
	found = scout_fh_of(f);
	assert_ptr_equal(found, h);
	scout_fh_close(h);
	assert_null(scout_fh_of(f)); /* the kernel has released it: it is only ours */
	assert_int_equal(f->writers, 1);
	assert_int_equal(atomic_load(&released), before);
	scout_fh_unref(found);
	assert_int_equal(atomic_load(&released), before + 1);
	assert_int_equal(f->writers, 0);
	scout_inode_forget(f, 1);
}

static void a_file_that_is_written_to_stays_one_inode(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1), *g;
	struct scout_fh *r = opened(t, f, 1, O_RDONLY), *w = opened(t, f, 1, O_WRONLY);

	scout_inode_wrote(f);
	/* others see it grow, and open it */
	assert_ptr_equal(g = file(t->host, "f", 2), f);
	assert_int_equal(scout_inode_bind(f, 3, 0, O_RDONLY, 2), SCOUT_BIND_SAME);
	/* close told what became of it: it is no change of another's */
	scout_inode_synced(f, 4, NOW);
	scout_fh_close(w);
	assert_ptr_equal(g = file(t->host, "f", 4), f);
	assert_int_equal(scout_inode_bind(f, 4, 0, O_RDONLY, 2), SCOUT_BIND_SAME);
	assert_int_equal(scout_inode_bind(f, 5, 0, O_RDONLY, 2), SCOUT_BIND_OTHER);
	assert_ptr_not_equal(g = file(t->host, "f", 5), f);
	scout_inode_forget(g, 1);
	scout_fh_close(r);
	scout_inode_forget(f, 3);
}

/* Who writes to nothing keeps the file that he has: what others open under its name is another. */
static void what_replaces_a_writers_file_has_no_part_in_its_pages(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1), *g;
	struct scout_fh *w = opened(t, f, 1, O_RDWR);
	uint64_t before_ns;

	scout_inode_wrote(f);
	scout_inode_synced(f, 2, NOW);
	assert_ptr_equal(g = file(t->host, "f", 2), f);
	assert_int_equal(scout_inode_bind(f, 2, 0, O_RDONLY, 2), SCOUT_BIND_SAME);
	/* what was written behind the sync's look may have made it what it is */
	before_ns = scout_now_ns();
	scout_inode_wrote(f);
	scout_inode_synced(f, 3, before_ns);
	assert_int_equal(scout_inode_bind(f, 4, 0, O_RDONLY, 2), SCOUT_BIND_SAME);
	scout_inode_synced(f, 4, NOW);
	assert_ptr_equal(g = file(t->host, "f", 5), f);
	assert_int_equal(scout_inode_bind(f, 5, 0, O_RDONLY, 2), SCOUT_BIND_PASSING);
	/* nor when he writes again */
	scout_inode_wrote(f);
	assert_int_equal(scout_inode_bind(f, 5, 0, O_RDONLY, 2), SCOUT_BIND_PASSING);
	assert_int_equal(scout_inode_bind(f, 6, 0, O_RDWR | O_TRUNC, 2), SCOUT_BIND_PASSING);
	/* nor are they the other one's once somebody has written that */
	assert_ptr_equal(g = file(t->host, "f", 7), f);
	scout_inode_synced(f, 7, NOW);
	scout_fh_close(w);
	assert_int_equal(scout_inode_bind(f, 7, 0, O_RDONLY, 2), SCOUT_BIND_OTHER);
	g = file(t->host, "f", 7);
	assert_ptr_not_equal(g, f);
	assert_int_equal(scout_inode_bind(g, 7, 0, O_RDONLY, 2), SCOUT_BIND_SAME);
	scout_inode_forget(g, 1);
	scout_inode_forget(f, 4);
}

static void a_truncating_open_begins_anew(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1), *g;

	scout_fh_close(opened(t, f, 1, O_RDONLY));
	scout_fh_close(opened(t, f, 2, O_RDWR | O_TRUNC));
	assert_false(f->mixed);
	assert_ptr_equal(g = file(t->host, "f", 2), f);
	scout_inode_forget(f, 2);
}

static void a_change_of_attributes_is_followed(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1), *g;

	assert_true(scout_inode_set(f, 0, 2)); /* the kernel has no pages */
	scout_fh_close(opened(t, f, 2, O_RDONLY));
	assert_true(scout_inode_set(f, 2, 3));
	assert_ptr_equal(g = file(t->host, "f", 3), f);
	scout_inode_forget(g, 1);
	/* another changed it in between, or may have: the pages are not of this version */
	assert_false(scout_inode_set(f, 4, 5));
	assert_false(scout_inode_set(f, 0, 5));
	g = file(t->host, "f", 5);
	assert_ptr_not_equal(g, f);
	scout_inode_forget(g, 1);
	scout_inode_forget(f, 1);
}

static void pages_from_before_our_writes_are_not_vouched_for(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1), *g;
	struct scout_fh *r = opened(t, f, 1, O_RDONLY), *w = opened(t, f, 1, O_RDWR);

	assert_false(scout_inode_set(f, 2, 3));
	scout_inode_synced(f, 4, NOW);
	scout_fh_close(w);
	assert_false(scout_inode_set(f, 4, 5));
	/* but it is the same inode, or who has it open would not see what others do to it */
	assert_ptr_equal(g = look_at(t->host, "f", S_IFREG, 5, NOW), f);
	/* nor by an open, of which the kernel hears no mtime */
	(void)scout_inode_saw(f, 5);
	assert_false(scout_inode_set(f, 5, 6));
	/* told of another mtime, it dropped them */
	(void)scout_inode_told(f, 6);
	scout_inode_synced(f, 6, NOW);
	assert_true(scout_inode_set(f, 6, 7));
	scout_fh_close(r);
	scout_inode_forget(f, 2);
	/* of a file that we made there are none */
	f = make(t->host, "g", 1);
	w = opened(t, f, 1, O_RDONLY);
	assert_true(scout_inode_set(f, 1, 2));
	scout_fh_close(w);
	scout_inode_forget(f, 1);
}

static void what_was_lost_is_told_once(void **state)
{
	struct table *t = *state;
	uint64_t listed = scout_now_ns();
	struct scout_inode *f = file(t->host, "f", 1);

	scout_inode_lost(f);
	assert_true(scout_inode_outdates(t->host, "f", listed));
	assert_true(scout_inode_told(f, 1));
	assert_false(scout_inode_told(f, 1));
	scout_inode_forget(f, 1);
}

static void an_answer_from_before_our_change_replaces_nothing(void **state)
{
	struct table *t = *state;
	uint64_t before = scout_now_ns();
	struct scout_inode *f = make(t->host, "f", 2), *g;
	uint64_t after;

	assert_ptr_equal(g = look_at(t->host, "f", S_IFREG, 1, before), f);
	assert_true(scout_inode_outdates(t->host, "f", before));
	after = scout_now_ns() + 1;
	assert_false(scout_inode_outdates(t->host, "f", after));
	g = look_at(t->host, "f", S_IFREG, 1, after);
	assert_ptr_not_equal(g, f);
	scout_inode_forget(g, 1);
	scout_inode_forget(f, 2);
}

static void a_listing_from_before_our_change_is_not_believed(void **state)
{
	struct table *t = *state;
	uint64_t listed = scout_now_ns();
	struct scout_inode *d = dir(t->host, "d"), *e = dir(t->host, "e"), *f = file(d, "f", 1);
	struct scout_fh *w;

	assert_false(scout_inode_outdates(d, "f", listed));
	assert_false(scout_inode_outdates(d, "other", listed));
	scout_inode_rename(f, e, "g");
	assert_true(scout_inode_outdates(d, "f", listed)); /* it is not there any more */
	assert_true(scout_inode_outdates(e, "g", listed));
	assert_false(scout_inode_outdates(e, "g", NOW));
	w = opened(t, f, 1, O_WRONLY);
	assert_true(scout_inode_outdates(e, "g", NOW));
	scout_fh_close(w);
	assert_false(scout_inode_outdates(e, "g", NOW));
	scout_inode_forget(f, 1);
	scout_inode_forget(d, 1);
	scout_inode_forget(e, 1);
}

/* Threads that move one file to and fro, remove it, look it up, open it and ask for its path. */
static void *mover(void *arg)
{
	struct table *t = arg;
	struct scout_inode *d[2] = {dir(t->host, "d0"), dir(t->host, "d1")};

	for (int i = 0; i < 3000; i++) {
		struct scout_inode *f = file(d[i % 2], "f", 1);

		scout_inode_rename(f, d[(i + 1) % 2], i % 3 ? "f" : "a much longer name than that");
		if (i % 5 == 0)
			scout_inode_remove(f);
		if (i % 7 == 0)
			scout_inode_rename(d[0], t->host, i % 2 ? "d0" : "elsewhere");
		scout_inode_forget(f, 1);
	}
	scout_inode_forget(d[0], 1);
	scout_inode_forget(d[1], 1);
	return NULL;
}

/* Told of a shorter file, the kernel would end what is read of the one before without asking. */
static void who_reads_is_not_cut(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1);
	struct scout_attr shorter = {.version = 2, .size = 999};
	struct scout_attr same = {.version = 1, .size = 1000};
	struct scout_fh *reader = opened(t, f, 1, O_RDONLY), *writer;
	uint64_t belief = scout_inode_belief(f, 0);
	bool ask;

	assert_false(scout_fh_told(f, &shorter, UINT64_MAX, &ask));
	assert_int_not_equal(scout_inode_belief(f, 0), belief); /* he has to prove himself */
	assert_true(scout_fh_told(f, &same, UINT64_MAX, &ask));
	assert_false(ask);
	writer = opened(t, f, 1, O_RDWR);
	assert_true(scout_fh_told(f, &shorter, UINT64_MAX, &ask)); /* it is what they make of it */
	scout_fh_close(writer);
	assert_true(scout_fh_told(f, &shorter, 0, &ask)); /* asked before that */
	assert_false(scout_fh_told(f, &shorter, UINT64_MAX, &ask));
	scout_fh_close(reader);
	assert_true(scout_fh_told(f, &shorter, UINT64_MAX, &ask)); /* nobody reads */
	scout_inode_forget(f, 1);
}

static void who_reads_what_has_grown_is_not_cut_to_less(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1);
	struct scout_attr longer = {.version = 2, .size = 3000},
			  less = {.version = 3, .size = 2000};
	struct scout_fh *reader = opened(t, f, 1, O_RDONLY);
	uint64_t before_ns = scout_now_ns();
	bool ask;

	assert_true(scout_fh_told(f, &less, UINT64_MAX, &ask)); /* appended to, it may be */
	assert_true(scout_fh_told(f, &longer, UINT64_MAX, &ask));
	assert_false(scout_fh_told(f, &less, UINT64_MAX, &ask));
	assert_true(scout_fh_told(f, &less, before_ns, &ask)); /* an answer that came late */
	assert_true(scout_inode_set(f, 1, 3));                 /* we cut it, */
	assert_true(scout_fh_told(f, &less, UINT64_MAX, &ask));
	less = (struct scout_attr){.version = 4, .size = 2500};
	assert_true(scout_fh_told(f, &less, UINT64_MAX, &ask)); /* and another appends */
	scout_fh_close(reader);
	scout_inode_forget(f, 1);
}

/* Longer by our own writes, too. */
static void who_reads_what_we_wrote_is_not_cut_to_less(void **state)
{
	struct table *t = *state;
	struct scout_inode *f = file(t->host, "f", 1);
	struct scout_attr ours = {.version = 2, .size = 3000}, less = {.version = 3, .size = 2000};
	struct scout_fh *reader = opened(t, f, 1, O_RDONLY), *writer = opened(t, f, 1, O_WRONLY);
	bool ask;

	scout_inode_synced(f, 2, NOW);
	scout_fh_synced(f, 3000);
	scout_fh_close(writer);
	assert_true(scout_fh_told(f, &ours, UINT64_MAX, &ask));
	assert_false(scout_fh_told(f, &less, UINT64_MAX, &ask));
	scout_fh_close(reader);
	scout_inode_forget(f, 1);
}

static void *user(void *arg)
{
	struct table *t = arg;
	char path[PATH_MAX];

	for (int i = 0; i < 3000; i++) {
		struct scout_inode *d = dir(t->host, i % 2 ? "d0" : "d1");
		struct scout_inode *f = i % 3 ? file(d, "f", (uint64_t)i) : make(d, "f", 1);
		struct scout_attr attr = {.version = (uint64_t)i, .size = (uint64_t)i};
		struct scout_fh *h =
		    scout_fh_new(t->fhs, f, &hosts, NULL, i % 5 ? O_RDONLY : O_RDWR, 0, &attr);
		int err = scout_inode_path(f, path, sizeof(path));

		assert_non_null(h);
		assert_true(err == -ESTALE || (err == 0 && strncmp(path, "w/", 2) == 0));
		(void)scout_inode_bind(f, (uint64_t)i, 0, h->writer ? O_RDWR : O_RDONLY, 1);
		(void)scout_inode_set(f, (uint64_t)i, (uint64_t)i + 1);
		(void)scout_inode_outdates(d, "f", 1);
		scout_fh_close(h);
		scout_inode_forget(f, 1);
		scout_inode_forget(d, 1);
	}
	return NULL;
}

static void many_threads_move_and_use(void **state)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(
		    scout_thread_start(&threads[i], "table", i < 2 ? mover : user, *state), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_table, free_table)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_renamed_is_the_same_inode_elsewhere),
	    TEST(a_directory_takes_along_what_is_in_it),
	    TEST(what_is_replaced_or_removed_has_no_path),
	    TEST(a_removed_directory_leads_nowhere),
	    TEST(no_two_have_one_number),
	    TEST(names_of_one_file_have_one_number),
	    TEST(a_name_that_changed_may_be_another_file),
	    TEST(what_we_make_is_new),
	    TEST(what_is_made_apart_has_no_name),
	    TEST(another_type_is_another_inode),
	    TEST(an_open_file_is_found_by_its_inode),
	    TEST(a_file_that_is_written_to_stays_one_inode),
	    TEST(what_replaces_a_writers_file_has_no_part_in_its_pages),
	    TEST(a_truncating_open_begins_anew),
	    TEST(a_change_of_attributes_is_followed),
	    TEST(pages_from_before_our_writes_are_not_vouched_for),
	    TEST(what_was_lost_is_told_once),
	    TEST(who_reads_is_not_cut),
	    TEST(who_reads_what_has_grown_is_not_cut_to_less),
	    TEST(who_reads_what_we_wrote_is_not_cut_to_less),
	    TEST(an_answer_from_before_our_change_replaces_nothing),
	    TEST(a_listing_from_before_our_change_is_not_believed),
	    TEST(many_threads_move_and_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
