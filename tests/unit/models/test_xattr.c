/* Extended attributes: what they are, and what they cost. */
#include "mount.h"

#include "models/xattr.h"

static struct asked *ask_xattr(struct mount *t, const char *path, const char *name)
{
	struct asked *a = asked_new(XATTR);

	if (name)
		t->backend.ops->getxattr(t->backend.self, path, name, &a->req);
	else
		t->backend.ops->listxattr(t->backend.self, path, &a->req);
	return a;
}

/* Answered with value, without S3 being asked. */
static void expect_now(struct mount *t, const char *path, const char *name, const char *value)
{
	struct asked *a = ask_xattr(t, path, name);

	assert_true(asked_is_done(a));
	assert_int_equal(a->err, 0);
	assert_string_equal((char *)a->bytes, value);
	asked_free(a);
}

static const char *const told[] = {
    "content-type",
    "x",
    "x-amz-meta-author",
    "me, myself",
    "x-amz-meta-empty",
    "",
    "x-amz-version-id",
    "v.7",
    "x-amz-meta-author",
    "again",
    "x-amz-checksum-sha256",
    "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
    NULL,
};

#define SHA256 "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"

static void one_head_for_all(void **state)
{
	struct mount t;
	struct asked *a, *b;
	char names[400] = "";

	(void)state;
	mount_up(&t, "reg/", 16 * MIB);
	fake_put("reg/a/v1/model.zip", 7);
	fake.headers = told;
	expect_names(&t, "a", "v1");
	a = ask_xattr(&t, "a/v1/model.zip", NULL);
	b = ask_xattr(&t, "a/v1/model.zip", "user.scoutfs.etag");
	assert_false(asked_is_done(a));
	fake_answer_all();
	assert_int_equal(fake.heads, 1);
	assert_int_equal(fake.lists, 1); /* of the names above */
	for (size_t at = 0; at < a->size; at += strlen((char *)a->bytes + at) + 1) {
		strcat(names, (char *)a->bytes + at);
		strcat(names, " ");
	}
	assert_string_equal(names, "user.s3.meta.author user.s3.meta.empty user.scoutfs.version_id "
				   "user.scoutfs.etag user.scoutfs.key user.scoutfs.storage_class "
				   "user.scoutfs.sha256 ");
	asked_free(a);
	assert_string_equal((char *)b->bytes, "v0-7");
	asked_free(b);
	expect_now(&t, "a/v1/model.zip", "user.s3.meta.author", "me, myself");
	expect_now(&t, "a/v1/model.zip", "user.s3.meta.empty", "");
	expect_now(&t, "a/v1/model.zip", "user.scoutfs.version_id", "v.7");
	expect_now(&t, "a/v1/model.zip", "user.scoutfs.key", "reg/a/v1/model.zip");
	expect_now(&t, "a/v1/model.zip", "user.scoutfs.storage_class", "STANDARD");
	expect_now(&t, "a/v1/model.zip", "user.scoutfs.sha256", SHA256);
	expect(ask_xattr(&t, "a/v1/model.zip", "user.scoutfs.nothing"), -ENODATA);
	assert_int_equal(fake.heads, 1);
	/* and an open tells them as well; after a second they are asked for again */
	fake_now += 2 * SCOUT_NS_PER_S;
	close_file(&t, must_open(&t, "a/v1/model.zip"));
	assert_int_equal(fake.heads, 2);
	expect_now(&t, "a/v1/model.zip", "user.scoutfs.etag", "v0-7");
	fake_now += 2 * SCOUT_NS_PER_S;
	a = ask_xattr(&t, "a/v1/model.zip", "user.scoutfs.etag");
	fake_answer_all();
	assert_int_equal(fake.heads, 3);
	expect(a, 0);
	mount_down(&t);
}

static void what_costs_nothing(void **state)
{
	struct mount t;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("a/v1/model.zip", 7);
	expect_names(&t, "a", "v1");
	expect(ask_xattr(&t, "a/v1/model.zip", "security.selinux"), -EOPNOTSUPP);
	expect(ask_xattr(&t, "a/v1/model.zip", "system.posix_acl_access"), -EOPNOTSUPP);
	expect(ask_xattr(&t, "a/v1/model.zip", "user.mime"), -ENODATA);
	/* directories */
	expect(ask_xattr(&t, "", "user.scoutfs.etag"), -ENODATA);
	expect(ask_xattr(&t, "a/v1", "user.scoutfs.etag"), -ENODATA);
	expect_now(&t, "", NULL, "");
	expect_now(&t, "a/v1", NULL, "");
	assert_int_equal(fake.heads, 0);
	assert_int_equal(fake.lists, 1);
	mount_down(&t);
}

/* Without what is around it, the mark of a weak one too. */
static void the_tag_alone(void **state)
{
	static const char *const etags[] = {"\"abc\"", "W/\"abc\""};
	struct mount t;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct asked *a;

		mount_up(&t, "", 16 * MIB);
		fake_put("a/v1/model.zip", 7);
		fake.etag = etags[i];
		fake.headers = told;
		expect_names(&t, "a", "v1");
		a = ask_xattr(&t, "a/v1/model.zip", "user.scoutfs.etag");
		fake_answer_all();
		assert_int_equal(a->err, 0);
		assert_string_equal((char *)a->bytes, "abc");
		asked_free(a);
		mount_down(&t);
	}
}

/* A directory that no listing tells is not taken for missing. */
static void unknown_directory(void **state)
{
	struct mount t;
	struct asked *a;

	(void)state;
	mount_up(&t, "", 16 * MIB);
	fake_put("a/v1/model.zip", 7);
	fake.fail[SCOUT_S3_LIST] = -EIO; /* the flat one */
	a = ask_xattr(&t, "a", "user.scoutfs.etag");
	assert_true(fake_answer_one());
	fake.fail[SCOUT_S3_LIST] = 0;
	fake_answer_all();
	expect(a, -ENODATA);
	a = ask_getattr(&t, "a");
	assert_true(S_ISDIR(a->attr.mode));
	expect(a, 0);
	a = ask_xattr(&t, "b", "user.scoutfs.etag");
	fake_answer_all();
	expect(a, -ENOENT);
	mount_down(&t);
}

static void bounded(void **state)
{
	struct scout_xattrs *x = scout_xattrs_new();
	struct scout_s3_checksum none = {.kind = SCOUT_S3_NO_CHECKSUM};
	struct scout_text names = {0};
	char name[300], value[2001];
	size_t len;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	value[2000] = '\0';
	scout_xattrs_header(x, "x-amz-meta-", "no name");
	memset(name, 'n', sizeof(name));
	memcpy(name, "x-amz-meta-", 11);
	name[11 + 243] = '\0'; /* user.s3.meta. and 242 bytes are 255 */
	scout_xattrs_header(x, name, "too long a name");
	assert_null(scout_xattrs_get(x, "user.s3.meta.", &len));
	scout_xattrs_list(x, &names);
	assert_int_equal(names.len, 0);
	for (int i = 0; i < 1000; i++) {
		sprintf(name, "x-amz-meta-%d", i);
		scout_xattrs_header(x, name, i < 5 ? value : "x");
	}
	scout_xattrs_complete(x, "key", "\"etag\"", &none);
	scout_xattrs_list(x, &names);
	assert_true(names.len < 4096);
	assert_non_null(scout_xattrs_get(x, "user.scoutfs.etag", &len));
	assert_non_null(scout_xattrs_get(x, "user.s3.meta.1", &len));
	assert_int_equal(len, 2000);
	assert_null(scout_xattrs_get(x, "user.s3.meta.2", &len));
	assert_null(scout_xattrs_get(x, "user.s3.meta.999", &len));
	scout_text_free(&names);
	scout_xattrs_unref(x);
}

/* Short ones, which end by their number, long before their bytes; what is the object's own is told all the same. */
static void sixty_four_of_metadata(void **state)
{
	struct scout_xattrs *x = scout_xattrs_new();
	struct scout_s3_checksum none = {.kind = SCOUT_S3_NO_CHECKSUM};
	struct scout_text names = {0};
	unsigned listed = 0;
	char name[40], value[16];
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		sprintf(name, "x-amz-meta-%u", i);
		sprintf(value, "v%u", i);
		scout_xattrs_header(x, name, value);
	}
	scout_xattrs_header(x, "x-amz-version-id", "v.7");
	scout_xattrs_complete(x, "key", "\"etag\"", &none);
	scout_xattrs_list(x, &names);
	for (size_t at = 0; at < names.len; at += strlen(names.str + at) + 1)
		listed += strncmp(names.str + at, "user.s3.meta.", 13) == 0;
	assert_int_equal(listed, 64);
	for (unsigned i = 0; i < 100; i++) {
		const char *found;

		sprintf(name, "user.s3.meta.%u", i);
		sprintf(value, "v%u", i);
		found = scout_xattrs_get(x, name, &len);
		assert_true(i < 64 ? found && strcmp(found, value) == 0 : !found);
	}
	assert_non_null(scout_xattrs_get(x, "user.scoutfs.version_id", &len));
	assert_non_null(scout_xattrs_get(x, "user.scoutfs.etag", &len));
	scout_text_free(&names);
	scout_xattrs_unref(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_head_for_all), cmocka_unit_test(what_costs_nothing),
	    cmocka_unit_test(the_tag_alone),    cmocka_unit_test(unknown_directory),
	    cmocka_unit_test(bounded),          cmocka_unit_test(sixty_four_of_metadata),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
