/* The wire format of answers: whole, cut short and lying. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scoutfs/budget.h"
#include "sftp/codec.h"
#include "wire.h"

static struct scout_sftp_reader reader(const struct wire *w, size_t len)
{
	return (struct scout_sftp_reader){.at = w->bytes, .left = len};
}

static void reads_attributes(void **state)
{
	struct scout_sftp_attrs a = {0};
	struct wire w = {0};
	struct scout_sftp_reader r;

	(void)state;
	put32(&w, 0x8000000fu);
	put64(&w, UINT64_C(1) << 40);
	put32(&w, 1);
	put32(&w, 2);
	put32(&w, 0100600);
	put32(&w, 3);
	put32(&w, 4);
	put32(&w, 2);
	for (int i = 0; i < 4; i++)
		put_str(&w, "extension");
	for (size_t cut = 0; cut < w.len; cut++) { /* every shorter one is refused */
		r = reader(&w, cut);
		assert_int_equal(scout_sftp_decode_attrs(&r, &a), -EIO);
		assert_int_equal(a.has, 0);
	}
	r = reader(&w, w.len);
	assert_int_equal(scout_sftp_decode_attrs(&r, &a), 0);
	assert_int_equal(r.left, 0);
	assert_int_equal(a.has, SCOUT_SFTP_HAS_SIZE | SCOUT_SFTP_HAS_OWNER | SCOUT_SFTP_HAS_MODE |
				    SCOUT_SFTP_HAS_TIMES);
	assert_true(a.size == UINT64_C(1) << 40);
	assert_int_equal(a.uid, 1);
	assert_int_equal(a.gid, 2);
	assert_int_equal(a.mode, 0100600);
	assert_int_equal(a.atime, 3);
	assert_int_equal(a.mtime, 4);
}

static void absent_attributes_are_absent(void **state)
{
	struct scout_sftp_attrs a;
	struct wire w = {0};
	struct scout_sftp_reader r;

	(void)state;
	put32(&w, 4);
	put32(&w, 040755);
	r = reader(&w, w.len);
	assert_int_equal(scout_sftp_decode_attrs(&r, &a), 0);
	assert_int_equal(a.has, SCOUT_SFTP_HAS_MODE);
	assert_int_equal(a.mode, 040755);
	assert_true(a.size == 0);
}

/* A count of four billion extensions ends with the bytes, not later. */
static void lying_extension_count(void **state)
{
	struct scout_sftp_attrs a;
	struct wire w = {0};
	struct scout_sftp_reader r;

	(void)state;
	put32(&w, 0x80000000u);
	put32(&w, UINT32_MAX);
	put_str(&w, "x");
	put_str(&w, "y");
	r = reader(&w, w.len);
	assert_int_equal(scout_sftp_decode_attrs(&r, &a), -EIO);
}

static void reads_handles(void **state)
{
	uint8_t bytes[SCOUT_SFTP_HANDLE_MAX + 1] = {1, 2, 3};
	struct scout_sftp_handle h = {.len = 77};
	struct wire w = {0};
	struct scout_sftp_reader r;

	(void)state;
	put_string(&w, bytes, SCOUT_SFTP_HANDLE_MAX);
	for (size_t cut = 0; cut < w.len; cut++) {
		r = reader(&w, cut);
		assert_int_equal(scout_sftp_decode_handle(&r, &h), -EIO);
		assert_int_equal(h.len, 77);
	}
	r = reader(&w, w.len);
	assert_int_equal(scout_sftp_decode_handle(&r, &h), 0);
	assert_int_equal(h.len, SCOUT_SFTP_HANDLE_MAX);
	assert_memory_equal(h.bytes, bytes, h.len);
	w.len = 0;
	put_string(&w, bytes, SCOUT_SFTP_HANDLE_MAX + 1);
	r = reader(&w, w.len);
	assert_int_equal(scout_sftp_decode_handle(&r, &h), -EIO);
}

static void reads_names(void **state)
{
	struct scout_sftp_names names = {0};
	struct wire w = {0}, copy;
	struct scout_sftp_reader r;

	(void)state;
	put32(&w, 3);
	put_name(&w, "plain");
	put_name(&w, "");
	put_name(&w, "new\nline \xff");
	for (size_t cut = 0; cut < w.len; cut++) {
		copy = w;
		r = reader(&copy, cut);
		assert_int_equal(scout_sftp_decode_names(&r, &names), -EIO);
		assert_int_equal(names.count, 0);
	}
	copy = w;
	r = reader(&copy, w.len);
	assert_int_equal(scout_sftp_decode_names(&r, &names), 0);
	assert_int_equal(names.count, 3);
	assert_string_equal(names.list[0].name, "plain");
	assert_string_equal(names.list[1].name, "");
	assert_string_equal(names.list[2].name, "new\nline \xff");
	assert_int_equal(names.list[2].attrs.mtime, 1234567890);
	free(names.list);
}

static void refuses_lying_names(void **state)
{
	struct scout_sftp_names names = {0};
	struct wire w = {0};
	struct scout_sftp_reader r;

	(void)state;
	put32(&w, UINT32_MAX); /* more than could fit: nothing is allocated */
	put_name(&w, "x");
	r = reader(&w, w.len);
	assert_int_equal(scout_sftp_decode_names(&r, &names), -EIO);
	assert_null(names.list);
	w.len = 0;
	put32(&w, 1);
	put_string(&w, "a\0b", 3);
	put_str(&w, "");
	put32(&w, 0);
	r = reader(&w, w.len);
	assert_int_equal(scout_sftp_decode_names(&r, &names), -EIO);
	free(names.list);
}

static int version(const struct wire *w, uint32_t *offered, bool *limits)
{
	struct scout_sftp_reader r = reader(w, w->len);

	return scout_sftp_decode_version(&r, offered, limits);
}

static void reads_the_version(void **state)
{
	struct wire w = {0};
	uint32_t offered = 77;
	bool limits = true;

	(void)state;
	put32(&w, 3);
	assert_int_equal(version(&w, &offered, &limits), 0);
	assert_false(limits);
	assert_int_equal(offered, 0);
	put_str(&w, "posix-rename@openssh.com");
	put_str(&w, "1");
	put_str(&w, "limits@openssh.com");
	put_str(&w, "2"); /* not one we know */
	put_str(&w, "statvfs@openssh.com");
	put_str(&w, "1");
	assert_int_equal(version(&w, &offered, &limits), 0);
	assert_false(limits);
	assert_int_equal(offered, SCOUT_SFTP_EXT(SCOUT_SFTP_POSIX_RENAME));
	put_str(&w, "limits@openssh.com");
	put_str(&w, "1");
	put_str(&w, "fstatvfs@openssh.com"); /* not one we use */
	put_str(&w, "2");
	assert_int_equal(version(&w, &offered, &limits), 0);
	assert_true(limits);
	assert_int_equal(offered, SCOUT_SFTP_EXT(SCOUT_SFTP_POSIX_RENAME));
	put8(&w, 0); /* half an extension */
	assert_int_equal(version(&w, &offered, &limits), -EIO);
	for (uint32_t v = 0; v < 7; v++) {
		w.len = 0;
		put32(&w, v);
		assert_int_equal(version(&w, &offered, &limits), v == 3 ? 0 : -EIO);
	}
}

static void knows_every_extension(void **state)
{
	static const struct {
		enum scout_sftp_op op;
		const char *name, *version;
	} all[] = {{SCOUT_SFTP_POSIX_RENAME, "posix-rename@openssh.com", "1"},
		   {SCOUT_SFTP_HARDLINK, "hardlink@openssh.com", "1"},
		   {SCOUT_SFTP_FSYNC, "fsync@openssh.com", "1"},
		   {SCOUT_SFTP_STATVFS, "statvfs@openssh.com", "2"},
		   {SCOUT_SFTP_LSETSTAT, "lsetstat@openssh.com", "1"},
		   {SCOUT_SFTP_COPY_DATA, "copy-data", "1"},
		   {SCOUT_SFTP_USERS_GROUPS, "users-groups-by-id@openssh.com", "1"}};
	uint32_t offered, want = 0;
	struct wire w = {0};
	bool limits;

	(void)state;
	put32(&w, 3);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		put_str(&w, all[i].name);
		put_str(&w, all[i].version);
		want |= SCOUT_SFTP_EXT(all[i].op);
		assert_int_equal(version(&w, &offered, &limits), 0);
		assert_int_equal(offered, want);
	}
}

static uint32_t read_limit(uint64_t told)
{
	struct scout_sftp_server limits = {0};
	struct wire w = {0};
	struct scout_sftp_reader r;

	put64(&w, 262144);
	put64(&w, told);
	put64(&w, told);
	put64(&w, 1019);
	r = reader(&w, w.len - 1);
	assert_int_equal(scout_sftp_decode_limits(&r, &limits), -EIO);
	r = reader(&w, w.len);
	assert_int_equal(scout_sftp_decode_limits(&r, &limits), 0);
	assert_int_equal(limits.open_handles, 1019);
	assert_int_equal(limits.read_bytes, limits.write_bytes);
	return limits.read_bytes;
}

static void limits_are_held_within_bounds(void **state)
{
	(void)state;
	assert_int_equal(read_limit(261120), 261120);
	assert_int_equal(read_limit(0), 32768); /* "no limit" */
	assert_int_equal(read_limit(1), 1024);
	assert_int_equal(read_limit(UINT64_MAX), SCOUT_BUF_BYTES);
}

static int space(const struct wire *w, size_t len, struct statvfs *ret)
{
	struct scout_sftp_reader r = reader(w, len);

	return scout_sftp_decode_statvfs(&r, ret);
}

static void reads_space(void **state)
{
	struct statvfs v = {.f_blocks = 77};
	struct wire w = {0};

	(void)state;
	for (uint64_t i = 1; i <= 9; i++)
		put64(&w, i << 33);
	put64(&w, UINT64_MAX); /* flags, of which two are defined */
	put64(&w, 255);
	for (size_t cut = 0; cut < w.len; cut++)
		assert_int_equal(space(&w, cut, &v), -EIO);
	assert_int_equal(space(&w, w.len + 1, &v), -EIO);
	assert_int_equal(v.f_blocks, 77);
	assert_int_equal(space(&w, w.len, &v), 0);
	assert_true(v.f_bsize == UINT64_C(1) << 33);
	assert_true(v.f_frsize == UINT64_C(2) << 33);
	assert_true(v.f_blocks == UINT64_C(3) << 33);
	assert_true(v.f_bfree == UINT64_C(4) << 33);
	assert_true(v.f_bavail == UINT64_C(5) << 33);
	assert_true(v.f_files == UINT64_C(6) << 33);
	assert_true(v.f_ffree == UINT64_C(7) << 33);
	assert_true(v.f_favail == UINT64_C(8) << 33);
	assert_int_equal(v.f_flag, ST_RDONLY | ST_NOSUID);
	assert_int_equal(v.f_namemax, 255);
	memset(w.bytes + 8, 0, 8); /* no size of a fragment: it is that of a block */
	assert_int_equal(space(&w, w.len, &v), 0);
	assert_true(v.f_frsize == UINT64_C(1) << 33);
}

/* Decodes a copy, in which names are moved. */
static int owners(const struct wire *w, size_t len, struct wire *copy, struct scout_sftp_names *ret)
{
	struct scout_sftp_reader r;

	*copy = *w;
	r = reader(copy, len);
	return scout_sftp_decode_users_groups(&r, ret);
}

static void put_list(struct wire *w, const char *name, size_t len)
{
	put32(w, (uint32_t)(4 + len));
	put_string(w, name, len);
}

static void reads_users_and_groups(void **state)
{
	struct scout_sftp_names names = {0};
	struct wire w = {0}, copy;

	(void)state;
	put_list(&w, "somebody", 8);
	put_list(&w, "", 0);
	for (size_t cut = 0; cut < w.len; cut++) {
		assert_int_equal(owners(&w, cut, &copy, &names), -EIO);
		assert_int_equal(names.count, 0);
	}
	assert_int_equal(owners(&w, w.len + 1, &copy, &names), -EIO);
	assert_int_equal(owners(&w, w.len, &copy, &names), 0);
	assert_int_equal(names.count, 2);
	assert_string_equal(names.list[0].name, "somebody");
	assert_string_equal(names.list[1].name, "");
	assert_int_equal(names.list[0].attrs.has, 0);

	set32(&w, 0, 13); /* the list is longer, or shorter, than its name */
	assert_int_equal(owners(&w, w.len, &copy, &names), -EIO);
	set32(&w, 0, 11);
	assert_int_equal(owners(&w, w.len, &copy, &names), -EIO);
	set32(&w, 0, UINT32_MAX);
	assert_int_equal(owners(&w, w.len, &copy, &names), -EIO);
	w.len = 0;
	put_list(&w, "a\0b", 3);
	put_list(&w, "g", 1);
	assert_int_equal(owners(&w, w.len, &copy, &names), -EIO);
	w.len = 0;
	put32(&w, 0); /* no name where one was asked for */
	put_list(&w, "g", 1);
	assert_int_equal(owners(&w, w.len, &copy, &names), -EIO);
	free(names.list);
}

static int errno_of(enum scout_sftp_op op, uint32_t status)
{
	struct scout_sftp_call call = {.op = op, .path = "/some/path"};

	return scout_sftp_status_errno(&call, status);
}

static void statuses_are_errnos(void **state)
{
	static const int later[] = {EBADF,  ENOENT, EEXIST, EROFS,     ENOMEDIUM, ENOSPC,
				    EDQUOT, EINVAL, EBUSY,  ENOTEMPTY, ENOTDIR,   EINVAL,
				    ELOOP,  EPERM,  EINVAL, EISDIR};

	(void)state;
	assert_int_equal(errno_of(SCOUT_SFTP_READ, SSH_FX_EOF), 0);
	assert_int_equal(errno_of(SCOUT_SFTP_READDIR, SSH_FX_EOF), 0);
	assert_int_equal(errno_of(SCOUT_SFTP_COPY_DATA, SSH_FX_EOF), 0);
	assert_int_equal(errno_of(SCOUT_SFTP_LSTAT, SSH_FX_EOF), -EIO);
	assert_int_equal(errno_of(SCOUT_SFTP_LSTAT, SSH_FX_NO_SUCH_FILE), -ENOENT);
	assert_int_equal(errno_of(SCOUT_SFTP_OPEN, SSH_FX_PERMISSION_DENIED), -EACCES);
	assert_int_equal(errno_of(SCOUT_SFTP_READLINK, SSH_FX_FAILURE), -EINVAL);
	assert_int_equal(errno_of(SCOUT_SFTP_READLINK, SSH_FX_BAD_MESSAGE), -EINVAL);
	assert_int_equal(errno_of(SCOUT_SFTP_OPENDIR, SSH_FX_FAILURE), -EIO);
	assert_int_equal(errno_of(SCOUT_SFTP_WRITE, SSH_FX_FAILURE), -EIO);
	assert_int_equal(errno_of(SCOUT_SFTP_STAT, SSH_FX_OP_UNSUPPORTED), -EOPNOTSUPP);
	assert_int_equal(errno_of(SCOUT_SFTP_STAT, 0xdeadbeef), -EIO);
	for (uint32_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		assert_int_equal(errno_of(SCOUT_SFTP_WRITE, SSH_FX_INVALID_HANDLE + i), -later[i]);
	assert_int_equal(errno_of(SCOUT_SFTP_WRITE, 28), -EIO); /* FILE_CORRUPT */
	assert_int_equal(errno_of(SCOUT_SFTP_WRITE, 31), -EIO);
}

/* What one code means depends on what was asked. */
static void errnos_depend_on_the_call(void **state)
{
	struct scout_sftp_attrs set = {.has = SCOUT_SFTP_HAS_SIZE};
	struct scout_sftp_call call = {.op = SCOUT_SFTP_SETSTAT, .path = "/a", .set = &set};
	char name[300], path[PATH_MAX + 1];

	(void)state;
	assert_int_equal(scout_sftp_status_errno(&call, SSH_FX_PERMISSION_DENIED), -EACCES);
	set.has = SCOUT_SFTP_HAS_OWNER;
	assert_int_equal(scout_sftp_status_errno(&call, SSH_FX_PERMISSION_DENIED), -EPERM);
	call.op = SCOUT_SFTP_MKDIR;
	assert_int_equal(scout_sftp_status_errno(&call, SSH_FX_PERMISSION_DENIED), -EACCES);
	assert_int_equal(scout_sftp_status_errno(&call, SSH_FX_BAD_MESSAGE), -EINVAL);
	memset(name, 'n', sizeof(name));
	memcpy(name, "/a/", 3);
	name[3 + NAME_MAX] = '\0';
	call.path = name;
	assert_int_equal(scout_sftp_status_errno(&call, SSH_FX_BAD_MESSAGE), -EINVAL);
	name[3 + NAME_MAX] = 'n';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(scout_sftp_status_errno(&call, SSH_FX_BAD_MESSAGE), -ENAMETOOLONG);
	for (size_t i = 0; i < PATH_MAX; i++)
		path[i] = i % 2 ? 'p' : '/';
	path[PATH_MAX] = '\0';
	call.path = "/a";
	call.path2 = path;
	assert_int_equal(scout_sftp_status_errno(&call, SSH_FX_BAD_MESSAGE), -ENAMETOOLONG);
	path[PATH_MAX - 1] = '\0';
	assert_int_equal(scout_sftp_status_errno(&call, SSH_FX_BAD_MESSAGE), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_attributes),
	    cmocka_unit_test(absent_attributes_are_absent),
	    cmocka_unit_test(lying_extension_count),
	    cmocka_unit_test(reads_handles),
	    cmocka_unit_test(reads_names),
	    cmocka_unit_test(refuses_lying_names),
	    cmocka_unit_test(reads_the_version),
	    cmocka_unit_test(knows_every_extension),
	    cmocka_unit_test(limits_are_held_within_bounds),
	    cmocka_unit_test(reads_space),
	    cmocka_unit_test(reads_users_and_groups),
	    cmocka_unit_test(statuses_are_errnos),
	    cmocka_unit_test(errnos_depend_on_the_call),
	};

	return cmocka_run_group_tests_name("sftp/codec", tests, NULL, NULL);
}
