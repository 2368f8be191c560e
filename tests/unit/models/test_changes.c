/* What a mount remembers of its own changes, and for how long. */
#include "mount.h"

#include "models/changes.h"

#define FOLDERS_MAX 1000
#define CHANGES_MAX 4096

static const struct scout_attr attr = {.size = 7};

static struct scout_publisher *up(struct mount *t)
{
	mount_publishes = 5 * MIB;
	mount_up(t, "", 64 * MIB);
	mount_publishes = 0;
	return t->models->publisher;
}

static void name_folder(char *path, unsigned i)
{
	sprintf(path, "m%04u/v1", i);
}

static void make_folders(struct scout_publisher *pub, unsigned from, unsigned upto)
{
	char path[100];

	for (unsigned i = from; i < upto; i++) {
		name_folder(path, i);
		assert_int_equal(scout_changes_mkdir(pub, path), 0);
	}
}

static void publish_in(struct scout_publisher *pub, unsigned i)
{
	char path[100];

	name_folder(path, i);
	strcat(path, "/model.zip");
	scout_changes_published(pub, path, &attr);
}

/* Longer than any listing may be believed. */
static void wait_for_listings(struct mount *t)
{
	atomic_fetch_add(&fake_now, t->config.models.list_ttl_ns + 61 * SCOUT_NS_PER_S);
}

static void folders_with_objects_do_not_count(void **state)
{
	struct mount t;
	struct scout_publisher *pub = up(&t);

	(void)state;
	make_folders(pub, 0, FOLDERS_MAX);
	assert_int_equal(scout_changes_mkdir(pub, "more"), -ENOSPC);
	for (unsigned i = 0; i < FOLDERS_MAX; i++)
		publish_in(pub, i);
	make_folders(pub, FOLDERS_MAX, 2 * FOLDERS_MAX);
	assert_int_equal(scout_changes_mkdir(pub, "more"), -ENOSPC);
	mount_down(&t);
}

/* Of a folder that S3 has, listings tell; one that it has not stays. */
static void folders_with_objects_are_forgotten(void **state)
{
	struct mount t;
	struct scout_publisher *pub = up(&t);

	(void)state;
	make_folders(pub, 0, 2);
	wait_for_listings(&t);
	publish_in(pub, 0);
	assert_int_equal(scout_changes_find(pub, "m0000/v1"), SCOUT_CHANGE_FOLDER);
	assert_true(scout_changes_folder_below(pub, "m0000"));
	wait_for_listings(&t);
	assert_int_equal(scout_changes_find(pub, "m0000/v1"), SCOUT_CHANGE_NONE);
	assert_false(scout_changes_folder_below(pub, "m0000"));
	assert_false(scout_changes_any(pub, "m0000"));
	assert_int_equal(scout_changes_find(pub, "m0001/v1"), SCOUT_CHANGE_FOLDER);
	assert_true(scout_changes_folder_below(pub, "m0001"));
	mount_down(&t);
}

/* The oldest go, but never a folder that is nowhere else. */
static void they_are_bounded(void **state)
{
	struct mount t;
	struct scout_publisher *pub = up(&t);

	(void)state;
	make_folders(pub, CHANGES_MAX, CHANGES_MAX + 1);
	for (unsigned i = 0; i < CHANGES_MAX; i++)
		publish_in(pub, i);
	assert_int_equal(scout_changes_find(pub, "m0000/v1/model.zip"), SCOUT_CHANGE_NONE);
	assert_int_equal(scout_changes_find(pub, "m0001/v1/model.zip"), SCOUT_CHANGE_FILE);
	assert_int_equal(scout_changes_find(pub, "m4096/v1"), SCOUT_CHANGE_FOLDER);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(folders_with_objects_do_not_count),
	    cmocka_unit_test(folders_with_objects_are_forgotten),
	    cmocka_unit_test(they_are_bounded),
	};

	return cmocka_run_group_tests_name("models/changes", tests, NULL, NULL);
}
