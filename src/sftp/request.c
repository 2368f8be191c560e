/* Encoding of requests. Trusts the caller's calls, but for lengths that could not be sent. A packet
 * is appended whole or not at all: there is room for all of it before its first byte is written.
 * Pure, no lock. */
#include "sftp/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/budget.h"

#define SSH_FILEXFER_ATTR_SIZE 0x00000001u
#define SSH_FILEXFER_ATTR_UIDGID 0x00000002u
#define SSH_FILEXFER_ATTR_PERMISSIONS 0x00000004u
#define SSH_FILEXFER_ATTR_ACMODTIME 0x00000008u

#define HEAD_BYTES 9u /* length, type, id */
#define ATTRS_BYTES_MAX 32u
#define LIMITS_NAME "limits@openssh.com"

void scout_sftp_buf_consume(struct scout_sftp_buf *b, size_t n)
{
	b->start += n;
	b->len -= n;
	if (!b->len)
		b->start = 0;
}

void scout_sftp_buf_free(struct scout_sftp_buf *b)
{
	free(b->bytes);
	memset(b, 0, sizeof(*b));
}

/* Makes room for n more bytes and gives the place for them. */
static uint8_t *reserve(struct scout_sftp_buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 4096;
	uint8_t *bytes;

	if (b->start && b->start + b->len + n > b->cap) {
		memmove(b->bytes, b->bytes + b->start, b->len);
		b->start = 0;
	}
	if (b->len + n > b->cap) {
		while (cap < b->len + n)
			cap *= 2;
		bytes = realloc(b->bytes, cap);
		if (!bytes)
			return NULL;
		b->bytes = bytes;
		b->cap = cap;
	}
	return b->bytes + b->start + b->len;
}

static uint8_t *put_u32(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 24);
	at[1] = (uint8_t)(v >> 16);
	at[2] = (uint8_t)(v >> 8);
	at[3] = (uint8_t)v;
	return at + 4;
}

static uint8_t *put_u64(uint8_t *at, uint64_t v)
{
	return put_u32(put_u32(at, (uint32_t)(v >> 32)), (uint32_t)v);
}

static uint8_t *put_string(uint8_t *at, const void *bytes, size_t len)
{
	at = put_u32(at, (uint32_t)len);
	if (len)
		memcpy(at, bytes, len);
	return at + len;
}

static uint8_t *put_str(uint8_t *at, const char *str)
{
	return put_string(at, str, strlen(str));
}

static uint8_t *put_handle(uint8_t *at, const struct scout_sftp_handle *h)
{
	return put_string(at, h->bytes, h->len);
}

/* Section 5; set may be NULL. The type of a file is not ours to change. */
static uint8_t *put_attrs(uint8_t *at, const struct scout_sftp_attrs *set)
{
	uint32_t has = set ? set->has : 0, flags = 0;

	flags |= has & SCOUT_SFTP_HAS_SIZE ? SSH_FILEXFER_ATTR_SIZE : 0;
	flags |= has & SCOUT_SFTP_HAS_OWNER ? SSH_FILEXFER_ATTR_UIDGID : 0;
	flags |= has & SCOUT_SFTP_HAS_MODE ? SSH_FILEXFER_ATTR_PERMISSIONS : 0;
	flags |= has & SCOUT_SFTP_HAS_TIMES ? SSH_FILEXFER_ATTR_ACMODTIME : 0;
	at = put_u32(at, flags);
	if (has & SCOUT_SFTP_HAS_SIZE)
		at = put_u64(at, set->size);
	if (has & SCOUT_SFTP_HAS_OWNER)
		at = put_u32(put_u32(at, set->uid), set->gid);
	if (has & SCOUT_SFTP_HAS_MODE)
		at = put_u32(at, set->mode & 07777);
	if (has & SCOUT_SFTP_HAS_TIMES)
		at = put_u32(put_u32(at, set->atime), set->mtime);
	return at;
}

/* The head of a packet whose length comes last. */
static uint8_t *put_head(uint8_t *at, uint8_t type, uint32_t id)
{
	at[4] = type;
	return put_u32(at + 5, id);
}

static void end_packet(struct scout_sftp_buf *b, uint8_t *packet, const uint8_t *end)
{
	size_t len = (size_t)(end - packet);

	put_u32(packet, (uint32_t)(len - 4));
	b->len += len;
}

int scout_sftp_encode_init(struct scout_sftp_buf *b)
{
	uint8_t *packet = reserve(b, HEAD_BYTES);

	if (!packet)
		return -ENOMEM;
	end_packet(b, packet, put_head(packet, SSH_FXP_INIT, SCOUT_SFTP_VERSION));
	return 0;
}

int scout_sftp_encode_limits(struct scout_sftp_buf *b, uint32_t id)
{
	uint8_t *packet = reserve(b, HEAD_BYTES + 4 + strlen(LIMITS_NAME));

	if (!packet)
		return -ENOMEM;
	end_packet(b, packet, put_str(put_head(packet, SSH_FXP_EXTENDED, id), LIMITS_NAME));
	return 0;
}

/* What a call of each kind carries, in the order of the fields on the wire. */
enum { PATH = 1, PATH2 = 2, HANDLE = 4, ATTRS = 8, OTHER = 16 /* see put_other() */ };
static const struct {
	uint8_t type;
	uint8_t fields;
} formats[SCOUT_SFTP_OPS] = {
    [SCOUT_SFTP_LSTAT] = {SSH_FXP_LSTAT, PATH},
    [SCOUT_SFTP_STAT] = {SSH_FXP_STAT, PATH},
    [SCOUT_SFTP_FSTAT] = {SSH_FXP_FSTAT, HANDLE},
    [SCOUT_SFTP_READLINK] = {SSH_FXP_READLINK, PATH},
    [SCOUT_SFTP_OPEN] = {SSH_FXP_OPEN, PATH | OTHER | ATTRS},
    [SCOUT_SFTP_READ] = {SSH_FXP_READ, HANDLE | OTHER},
    [SCOUT_SFTP_CLOSE] = {SSH_FXP_CLOSE, HANDLE},
    [SCOUT_SFTP_OPENDIR] = {SSH_FXP_OPENDIR, PATH},
    [SCOUT_SFTP_READDIR] = {SSH_FXP_READDIR, HANDLE},
    [SCOUT_SFTP_REALPATH] = {SSH_FXP_REALPATH, PATH},
    [SCOUT_SFTP_WRITE] = {SSH_FXP_WRITE, HANDLE | OTHER},
    [SCOUT_SFTP_SETSTAT] = {SSH_FXP_SETSTAT, PATH | ATTRS},
    [SCOUT_SFTP_FSETSTAT] = {SSH_FXP_FSETSTAT, HANDLE | ATTRS},
    [SCOUT_SFTP_MKDIR] = {SSH_FXP_MKDIR, PATH | ATTRS},
    [SCOUT_SFTP_RMDIR] = {SSH_FXP_RMDIR, PATH},
    [SCOUT_SFTP_REMOVE] = {SSH_FXP_REMOVE, PATH},
    [SCOUT_SFTP_RENAME] = {SSH_FXP_RENAME, PATH | PATH2},
    [SCOUT_SFTP_SYMLINK] = {SSH_FXP_SYMLINK, PATH | PATH2},
    [SCOUT_SFTP_POSIX_RENAME] = {SSH_FXP_EXTENDED, PATH | PATH2},
    [SCOUT_SFTP_HARDLINK] = {SSH_FXP_EXTENDED, PATH | PATH2},
    [SCOUT_SFTP_FSYNC] = {SSH_FXP_EXTENDED, HANDLE},
    [SCOUT_SFTP_STATVFS] = {SSH_FXP_EXTENDED, PATH},
    [SCOUT_SFTP_LSETSTAT] = {SSH_FXP_EXTENDED, PATH | ATTRS},
    [SCOUT_SFTP_COPY_DATA] = {SSH_FXP_EXTENDED, HANDLE | OTHER},
    [SCOUT_SFTP_USERS_GROUPS] = {SSH_FXP_EXTENDED, OTHER},
};

/* OpenSSH's PROTOCOL, section 4; copy-data has no home but its name. */
static const struct scout_sftp_extension extensions[] = {
    {SCOUT_SFTP_POSIX_RENAME, "posix-rename@openssh.com", "1"},
    {SCOUT_SFTP_HARDLINK, "hardlink@openssh.com", "1"},
    {SCOUT_SFTP_FSYNC, "fsync@openssh.com", "1"},
    {SCOUT_SFTP_STATVFS, "statvfs@openssh.com", "2"},
    {SCOUT_SFTP_LSETSTAT, "lsetstat@openssh.com", "1"},
    {SCOUT_SFTP_COPY_DATA, "copy-data", "1"},
    {SCOUT_SFTP_USERS_GROUPS, "users-groups-by-id@openssh.com", "1"},
    {SCOUT_SFTP_OPS, LIMITS_NAME, "1"},
};

const struct scout_sftp_extension *scout_sftp_extension(size_t i)
{
	return i < sizeof(extensions) / sizeof(extensions[0]) ? &extensions[i] : NULL;
}

bool scout_sftp_is_extension(enum scout_sftp_op op)
{
	return op >= SCOUT_SFTP_POSIX_RENAME && op < SCOUT_SFTP_OPS;
}

static uint8_t *put_other(uint8_t *at, const struct scout_sftp_call *call)
{
	switch (call->op) {
	case SCOUT_SFTP_OPEN:
		return put_u32(at, call->flags);
	case SCOUT_SFTP_READ:
		return put_u32(put_u64(at, call->offset), call->length);
	case SCOUT_SFTP_WRITE:
		return put_string(put_u64(at, call->offset), call->src, call->length);
	case SCOUT_SFTP_COPY_DATA:
		at = put_u64(put_u64(at, call->offset), call->length64);
		return put_u64(put_handle(at, call->handle2), call->offset2);
	case SCOUT_SFTP_USERS_GROUPS: /* a list of ids is a string that holds them */
		at = put_u32(put_u32(at, 4), call->set->uid);
		return put_u32(put_u32(at, 4), call->set->gid);
	default:
		return at;
	}
}

/* An upper bound of what put_other() puts. */
static size_t other_bytes(const struct scout_sftp_call *call)
{
	switch (call->op) {
	case SCOUT_SFTP_WRITE:
		return 12 + (size_t)call->length;
	case SCOUT_SFTP_COPY_DATA:
		return 28 + (size_t)call->handle2->len;
	default:
		return 16;
	}
}

static int path_length(const char *path, size_t *len)
{
	*len = strnlen(path, SCOUT_SFTP_PATH_MAX + 1);
	return *len > SCOUT_SFTP_PATH_MAX ? -ENAMETOOLONG : 0;
}

static bool handle_too_long(const struct scout_sftp_handle *h)
{
	return h->len > SCOUT_SFTP_HANDLE_MAX;
}

/* 0 when the call can be sent, with the lengths of its paths. */
static int check(const struct scout_sftp_call *call, uint8_t fields, size_t *path, size_t *path2)
{
	int err = 0;

	*path = *path2 = 0;
	if (fields & PATH)
		err = path_length(call->path, path);
	if (!err && fields & PATH2)
		err = path_length(call->path2, path2);
	if (err)
		return err;
	if (fields & HANDLE && handle_too_long(call->handle))
		return -EINVAL;
	if (call->op == SCOUT_SFTP_COPY_DATA && handle_too_long(call->handle2))
		return -EINVAL;
	if (call->op == SCOUT_SFTP_WRITE && call->length > SCOUT_WRITE_MAX)
		return -EINVAL;
	return 0;
}

int scout_sftp_encode_call(struct scout_sftp_buf *b, const struct scout_sftp_call *call)
{
	const char *extension = NULL;
	size_t path_len, path2_len;
	uint8_t fields, *packet, *at;
	int err;

	if (call->op >= SCOUT_SFTP_OPS)
		return -EINVAL;
	fields = formats[call->op].fields;
	err = check(call, fields, &path_len, &path2_len);
	if (err)
		return err;
	if (scout_sftp_is_extension(call->op))
		extension = extensions[call->op - SCOUT_SFTP_POSIX_RENAME].name;
	packet = reserve(b, HEAD_BYTES + (extension ? 4 + strlen(extension) : 0) + 4 + path_len +
				4 + path2_len + 4 + SCOUT_SFTP_HANDLE_MAX + other_bytes(call) +
				ATTRS_BYTES_MAX);
	if (!packet)
		return -ENOMEM;
	at = put_head(packet, formats[call->op].type, call->id);
	if (extension)
		at = put_str(at, extension);
	if (fields & HANDLE)
		at = put_handle(at, call->handle);
	if (call->op == SCOUT_SFTP_SYMLINK) /* OpenSSH's order (PROTOCOL, 4.1) */
		at = put_string(at, call->path2, path2_len);
	if (fields & PATH)
		at = put_string(at, call->path, path_len);
	if (fields & PATH2 && call->op != SCOUT_SFTP_SYMLINK)
		at = put_string(at, call->path2, path2_len);
	at = put_other(at, call);
	if (fields & ATTRS)
		at = put_attrs(at, call->set);
	end_packet(b, packet, at);
	return 0;
}
