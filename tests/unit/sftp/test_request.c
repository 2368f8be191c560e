/* The wire format of requests, byte for byte. */
#include <errno.h>
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

#define ID 0x01020304u

static const struct scout_sftp_handle handle = {.len = 3, .bytes = {0, 255, 'x'}};
static const struct scout_sftp_handle other_handle = {.len = 2, .bytes = {'y', 0}};

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
	const struct scout_sftp_handle long_handle = {.len = SCOUT_SFTP_HANDLE_MAX + 1};
	char *path = malloc(SCOUT_SFTP_PATH_MAX + 2);
	struct scout_sftp_call call = {.op = SCOUT_SFTP_LSTAT,
				       .path = path,
				       .path2 = path,
				       .handle = &long_handle,
				       .handle2 = &long_handle};

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
	call.op = SCOUT_SFTP_COPY_DATA; /* the second handle counts, too */
	call.handle = &handle;
	assert_int_equal(scout_sftp_encode_call(&b, &call), -EINVAL);
	call.op = SCOUT_SFTP_RENAME; /* and the second path */
	call.path = "/short";
	path[SCOUT_SFTP_PATH_MAX] = 'a';
	assert_int_equal(scout_sftp_encode_call(&b, &call), -ENAMETOOLONG);
	call.op = SCOUT_SFTP_OPS;
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

/* The call is encoded as the packet that is open in want. */
static void check_packet(const struct scout_sftp_call *call, struct wire *want)
{
	end(want);
	check_encoded(call, want->bytes, want->len);
	want->len = 0;
}

static void begin_extended(struct wire *w, const char *name)
{
	begin_answer(w, 200, ID);
	put_str(w, name);
}

static void encodes_open(void **state)
{
	struct scout_sftp_attrs set = {.has = SCOUT_SFTP_HAS_MODE, .mode = 0100640};
	struct scout_sftp_call call = {.op = SCOUT_SFTP_OPEN,
				       .path = "/new",
				       .flags = SCOUT_SFTP_FLAG_WRITE | SCOUT_SFTP_FLAG_CREAT |
						SCOUT_SFTP_FLAG_EXCL,
				       .set = &set,
				       .id = ID};
	struct wire w = {0};

	(void)state;
	begin_answer(&w, 3, ID);
	put_str(&w, "/new");
	put32(&w, 0x2 | 0x8 | 0x20);
	put32(&w, 4);
	put32(&w, 0640); /* without the type */
	check_packet(&call, &w);
	call.flags = SCOUT_SFTP_FLAG_READ | SCOUT_SFTP_FLAG_APPEND | SCOUT_SFTP_FLAG_TRUNC;
	call.set = NULL;
	begin_answer(&w, 3, ID);
	put_str(&w, "/new");
	put32(&w, 0x1 | 0x4 | 0x10);
	put32(&w, 0);
	check_packet(&call, &w);
}

static void encodes_write(void **state)
{
	struct scout_sftp_buf b = {0};
	uint8_t *src = malloc(SCOUT_WRITE_MAX);
	struct scout_sftp_call call = {
	    .op = SCOUT_SFTP_WRITE, .handle = &handle, .offset = UINT64_C(5) << 40, .id = ID};
	struct wire w = {0};

	(void)state;
	assert_non_null(src);
	memset(src, 'w', SCOUT_WRITE_MAX);
	call.src = src;
	for (call.length = 0; call.length < 3000; call.length += 999) {
		begin_answer(&w, 6, ID);
		put_string(&w, handle.bytes, handle.len);
		put64(&w, call.offset);
		put_string(&w, src, call.length);
		check_packet(&call, &w);
	}
	call.length = SCOUT_WRITE_MAX;
	assert_int_equal(scout_sftp_encode_call(&b, &call), 0);
	assert_int_equal(b.len, SCOUT_WRITE_MAX + 28);
	assert_memory_equal(b.bytes + 28, src, SCOUT_WRITE_MAX);
	call.length++;
	assert_int_equal(scout_sftp_encode_call(&b, &call), -EINVAL);
	assert_int_equal(b.len, SCOUT_WRITE_MAX + 28);
	scout_sftp_buf_free(&b);
	free(src);
}

/* Each attribute alone, all and none: only what is named goes out. */
static void encodes_attributes(void **state)
{
	struct scout_sftp_attrs set = {.size = UINT64_C(1) << 40,
				       .uid = 11,
				       .gid = 12,
				       .mode = 0107654,
				       .atime = 13,
				       .mtime = 14};
	struct scout_sftp_call call = {.path = "/p", .handle = &handle, .set = &set, .id = ID};
	static const enum scout_sftp_op ops[] = {SCOUT_SFTP_SETSTAT, SCOUT_SFTP_FSETSTAT,
						 SCOUT_SFTP_MKDIR, SCOUT_SFTP_LSETSTAT};
	static const uint8_t types[] = {9, 10, 14};
	struct wire w = {0};

	(void)state;
	for (uint32_t has = 0; has < 16; has++) {
		set.has = has;
		for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
			call.op = ops[i];
			if (call.op == SCOUT_SFTP_LSETSTAT)
				begin_extended(&w, "lsetstat@openssh.com");
			else
				begin_answer(&w, types[i], ID);
			if (call.op == SCOUT_SFTP_FSETSTAT)
				put_string(&w, handle.bytes, handle.len);
			else
				put_str(&w, "/p");
			put32(&w, has); /* the bits are those of the wire */
			if (has & SCOUT_SFTP_HAS_SIZE)
				put64(&w, set.size);
			if (has & SCOUT_SFTP_HAS_OWNER) {
				put32(&w, 11);
				put32(&w, 12);
			}
			if (has & SCOUT_SFTP_HAS_MODE)
				put32(&w, 07654);
			if (has & SCOUT_SFTP_HAS_TIMES) {
				put32(&w, 13);
				put32(&w, 14);
			}
			check_packet(&call, &w);
		}
	}
}

static void encodes_names_that_change(void **state)
{
	struct scout_sftp_call call = {.path = "/one", .path2 = "../two", .id = ID};
	struct wire w = {0};

	(void)state;
	call.op = SCOUT_SFTP_REMOVE;
	begin_answer(&w, 13, ID);
	put_str(&w, "/one");
	check_packet(&call, &w);
	call.op = SCOUT_SFTP_RMDIR;
	begin_answer(&w, 15, ID);
	put_str(&w, "/one");
	check_packet(&call, &w);
	call.op = SCOUT_SFTP_RENAME;
	begin_answer(&w, 18, ID);
	put_str(&w, "/one");
	put_str(&w, "../two");
	check_packet(&call, &w);
	call.op = SCOUT_SFTP_SYMLINK; /* the target first */
	begin_answer(&w, 20, ID);
	put_str(&w, "../two");
	put_str(&w, "/one");
	check_packet(&call, &w);
	call.op = SCOUT_SFTP_POSIX_RENAME;
	begin_extended(&w, "posix-rename@openssh.com");
	put_str(&w, "/one");
	put_str(&w, "../two");
	check_packet(&call, &w);
	call.op = SCOUT_SFTP_HARDLINK;
	begin_extended(&w, "hardlink@openssh.com");
	put_str(&w, "/one");
	put_str(&w, "../two");
	check_packet(&call, &w);
}

static void encodes_other_extensions(void **state)
{
	const struct scout_sftp_attrs owner = {.uid = 0, .gid = UINT32_MAX};
	struct scout_sftp_call call = {.path = "/",
				       .handle = &handle,
				       .handle2 = &other_handle,
				       .offset = 1,
				       .length64 = UINT64_C(1) << 50,
				       .offset2 = UINT64_C(3) << 40,
				       .set = &owner,
				       .id = ID};
	struct wire w = {0};

	(void)state;
	call.op = SCOUT_SFTP_FSYNC;
	begin_extended(&w, "fsync@openssh.com");
	put_string(&w, handle.bytes, handle.len);
	check_packet(&call, &w);
	call.op = SCOUT_SFTP_STATVFS;
	begin_extended(&w, "statvfs@openssh.com");
	put_str(&w, "/");
	check_packet(&call, &w);
	call.op = SCOUT_SFTP_COPY_DATA;
	begin_extended(&w, "copy-data");
	put_string(&w, handle.bytes, handle.len);
	put64(&w, 1);
	put64(&w, call.length64);
	put_string(&w, other_handle.bytes, other_handle.len);
	put64(&w, call.offset2);
	check_packet(&call, &w);
	call.op = SCOUT_SFTP_USERS_GROUPS;
	begin_extended(&w, "users-groups-by-id@openssh.com");
	put32(&w, 4);
	put32(&w, 0);
	put32(&w, 4);
	put32(&w, UINT32_MAX);
	check_packet(&call, &w);
}

/* Whatever the largest call is, the room that was made for it holds it. */
static void the_largest_call_fits(void **state)
{
	struct scout_sftp_attrs set = {.has = 15};
	struct scout_sftp_handle h = {.len = SCOUT_SFTP_HANDLE_MAX};
	char *path = malloc(SCOUT_SFTP_PATH_MAX + 1);
	uint8_t *src = calloc(1, SCOUT_WRITE_MAX);
	struct scout_sftp_call call = {.path = path,
				       .path2 = path,
				       .handle = &h,
				       .handle2 = &h,
				       .src = src,
				       .length = SCOUT_WRITE_MAX,
				       .set = &set};

	(void)state;
	assert_non_null(path);
	assert_non_null(src);
	memset(path, 'a', SCOUT_SFTP_PATH_MAX);
	path[SCOUT_SFTP_PATH_MAX] = '\0';
	for (int op = 0; op < SCOUT_SFTP_OPS; op++) {
		struct scout_sftp_buf b = {0};

		call.op = (enum scout_sftp_op)op;
		assert_int_equal(scout_sftp_encode_call(&b, &call), 0);
		assert_true(b.len <= b.cap);
		scout_sftp_buf_free(&b);
	}
	free(src);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(encodes_paths),
	    cmocka_unit_test(encodes_handles),
	    cmocka_unit_test(encodes_greeting),
	    cmocka_unit_test(refuses_what_cannot_be_sent),
	    cmocka_unit_test(buffer_is_a_queue),
	    cmocka_unit_test(encodes_open),
	    cmocka_unit_test(encodes_write),
	    cmocka_unit_test(encodes_attributes),
	    cmocka_unit_test(encodes_names_that_change),
	    cmocka_unit_test(encodes_other_extensions),
	    cmocka_unit_test(the_largest_call_fits),
	};

	return cmocka_run_group_tests_name("sftp/request", tests, NULL, NULL);
}
