/* The wire format: requests byte for byte, answers whole, cut short and lying. */
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

static void check_encoded(const struct scout_sftp_call *call, const void *bytes, size_t len)
{
	struct scout_sftp_buf b = {0};

	assert_int_equal(scout_sftp_encode_call(&b, call), 0);
	assert_int_equal(b.len, len);
	assert_memory_equal(b.bytes, bytes, len);
	scout_sftp_buf_free(&b);
}

static void encodes_paths(void **state)
{
	static const struct {
		enum scout_sftp_op op;
		uint8_t type;
	} ops[] = {{SCOUT_SFTP_LSTAT, 7},
		   {SCOUT_SFTP_STAT, 17},
		   {SCOUT_SFTP_OPENDIR, 11},
		   {SCOUT_SFTP_READLINK, 19},
		   {SCOUT_SFTP_REALPATH, 16}};
	struct scout_sftp_call call = {.path = "/a b", .id = 0x01020304};
	uint8_t want[] = "\0\0\0\x0d?\x01\x02\x03\x04\0\0\0\x04/a b";

	(void)state;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		call.op = ops[i].op;
		want[4] = ops[i].type;
		check_encoded(&call, want, sizeof(want) - 1);
	}
	call.op = SCOUT_SFTP_OPEN; /* pflags READ, no attributes */
	call.flags = SCOUT_SFTP_FLAG_READ;
	check_encoded(&call, "\0\0\0\x15\x03\x01\x02\x03\x04\0\0\0\x04/a b\0\0\0\x01\0\0\0\0", 25);
}

static void encodes_handles(void **state)
{
	static const struct {
		enum scout_sftp_op op;
		uint8_t type;
	} ops[] = {{SCOUT_SFTP_FSTAT, 8}, {SCOUT_SFTP_CLOSE, 4}, {SCOUT_SFTP_READDIR, 12}};
	struct scout_sftp_handle handle = {.len = 3, .bytes = {0, 255, 'x'}};
	struct scout_sftp_call call = {.handle = &handle, .id = 9};
	uint8_t want[] = "\0\0\0\x0c?\0\0\0\x09\0\0\0\x03\0\xffx";

	(void)state;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		call.op = ops[i].op;
		want[4] = ops[i].type;
		check_encoded(&call, want, sizeof(want) - 1);
	}
	call.op = SCOUT_SFTP_READ;
	call.offset = UINT64_C(0x0102030405060708);
	call.length = 0x00040000;
	check_encoded(&call,
		      "\0\0\0\x18\x05\0\0\0\x09\0\0\0\x03\0\xffx\x01\x02\x03\x04\x05\x06\x07\x08"
		      "\0\x04\0\0",
		      28);
}

static void encodes_greeting(void **state)
{
	struct scout_sftp_buf b = {0};
	const char want[] = "\0\0\0\x05\x01\0\0\0\x03\0\0\0\x1b\xc8\xff\xff\xff\xff\0\0\0\x12"
			    "limits@openssh.com";

	(void)state;
	assert_int_equal(scout_sftp_encode_init(&b), 0);
	assert_int_equal(scout_sftp_encode_limits(&b, UINT32_MAX), 0);
	assert_int_equal(b.len, sizeof(want) - 1);
	assert_memory_equal(b.bytes, want, b.len);
	scout_sftp_buf_free(&b);
}

static void refuses_what_cannot_be_sent(void **state)
{
	struct scout_sftp_buf b = {0};
	struct scout_sftp_handle handle = {.len = SCOUT_SFTP_HANDLE_MAX + 1};
	char *path = malloc(SCOUT_SFTP_PATH_MAX + 2);
	struct scout_sftp_call call = {.op = SCOUT_SFTP_LSTAT, .path = path, .handle = &handle};

	(void)state;
	assert_non_null(path);
	memset(path, 'a', SCOUT_SFTP_PATH_MAX + 1);
	path[SCOUT_SFTP_PATH_MAX + 1] = '\0';
	assert_int_equal(scout_sftp_encode_call(&b, &call), -ENAMETOOLONG);
	path[SCOUT_SFTP_PATH_MAX] = '\0';
	assert_int_equal(scout_sftp_encode_call(&b, &call), 0);
	assert_int_equal(b.len, SCOUT_SFTP_PATH_MAX + 13);
	call.op = SCOUT_SFTP_CLOSE;
	assert_int_equal(scout_sftp_encode_call(&b, &call), -EINVAL);
	assert_int_equal(b.len, SCOUT_SFTP_PATH_MAX + 13);
	scout_sftp_buf_free(&b);
	free(path);
}

/* Bytes that were sent make room, whatever the pieces. */
static void buffer_is_a_queue(void **state)
{
	struct scout_sftp_buf b = {0};
	struct scout_sftp_call call = {.op = SCOUT_SFTP_LSTAT, .path = "/some/path"};
	uint32_t sent = 0, taken = 0;
	size_t each = 13 + strlen(call.path);

	(void)state;
	for (int round = 0; round < 1000; round++) {
		for (int i = 0; i < round % 7; i++) {
			call.id = sent++;
			assert_int_equal(scout_sftp_encode_call(&b, &call), 0);
		}
		for (int i = 0; i < 3 && b.len; i++) {
			struct scout_sftp_reader r = {.at = b.bytes + b.start + 5, .left = 4};

			assert_int_equal(scout_sftp_get_u32(&r), taken++);
			scout_sftp_buf_consume(&b, each);
		}
	}
	assert_int_equal(b.len, (sent - taken) * each);
	scout_sftp_buf_free(&b);
}

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
	assert_int_equal(errno_of(SCOUT_SFTP_OPENDIR, SSH_FX_FAILURE), -ENOTDIR);
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
	    cmocka_unit_test(encodes_paths),
	    cmocka_unit_test(encodes_handles),
	    cmocka_unit_test(encodes_greeting),
	    cmocka_unit_test(refuses_what_cannot_be_sent),
	    cmocka_unit_test(buffer_is_a_queue),
	    cmocka_unit_test(reads_attributes),
	    cmocka_unit_test(absent_attributes_are_absent),
	    cmocka_unit_test(lying_extension_count),
	    cmocka_unit_test(reads_handles),
	    cmocka_unit_test(reads_names),
	    cmocka_unit_test(refuses_lying_names),
	    cmocka_unit_test(reads_the_version),
	    cmocka_unit_test(knows_every_extension),
	    cmocka_unit_test(limits_are_held_within_bounds),
	    cmocka_unit_test(statuses_are_errnos),
	    cmocka_unit_test(errnos_depend_on_the_call),
	};

	return cmocka_run_group_tests_name("sftp/codec", tests, NULL, NULL);
}
