/* The wire format of SFTP version 3 (draft-ietf-secsh-filexfer-02, section 3 and on): requests are
 * appended to a growing buffer, fields of answers are taken from bounded bytes. Pure. */
#ifndef SCOUTFS_SFTP_CODEC_H
#define SCOUTFS_SFTP_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scoutfs/sftp.h"

#define SCOUT_SFTP_VERSION 3
#define SCOUT_SFTP_PATH_MAX 32768 /* far over any server's, far below the packet limit */

/* Section 3, packet types. */
enum {
	SSH_FXP_INIT = 1,
	SSH_FXP_VERSION = 2,
	SSH_FXP_OPEN = 3,
	SSH_FXP_CLOSE = 4,
	SSH_FXP_READ = 5,
	SSH_FXP_WRITE = 6,
	SSH_FXP_LSTAT = 7,
	SSH_FXP_FSTAT = 8,
	SSH_FXP_SETSTAT = 9,
	SSH_FXP_FSETSTAT = 10,
	SSH_FXP_OPENDIR = 11,
	SSH_FXP_READDIR = 12,
	SSH_FXP_REMOVE = 13,
	SSH_FXP_MKDIR = 14,
	SSH_FXP_RMDIR = 15,
	SSH_FXP_REALPATH = 16,
	SSH_FXP_STAT = 17,
	SSH_FXP_RENAME = 18,
	SSH_FXP_READLINK = 19,
	SSH_FXP_SYMLINK = 20,
	SSH_FXP_STATUS = 101,
	SSH_FXP_HANDLE = 102,
	SSH_FXP_DATA = 103,
	SSH_FXP_NAME = 104,
	SSH_FXP_ATTRS = 105,
	SSH_FXP_EXTENDED = 200,
	SSH_FXP_EXTENDED_REPLY = 201,
};

/* Section 7, status codes; from 9 on those of later drafts (filexfer-13, section 9.1), which servers
 * of version 3 send all the same. */
enum {
	SSH_FX_OK = 0,
	SSH_FX_EOF = 1,
	SSH_FX_NO_SUCH_FILE = 2,
	SSH_FX_PERMISSION_DENIED = 3,
	SSH_FX_FAILURE = 4,
	SSH_FX_BAD_MESSAGE = 5,
	SSH_FX_OP_UNSUPPORTED = 8,
	SSH_FX_INVALID_HANDLE = 9,
	SSH_FX_NO_SUCH_PATH = 10,
	SSH_FX_FILE_ALREADY_EXISTS = 11,
	SSH_FX_WRITE_PROTECT = 12,
	SSH_FX_NO_MEDIA = 13,
	SSH_FX_NO_SPACE_ON_FILESYSTEM = 14,
	SSH_FX_QUOTA_EXCEEDED = 15,
	SSH_FX_UNKNOWN_PRINCIPAL = 16,
	SSH_FX_LOCK_CONFLICT = 17,
	SSH_FX_DIR_NOT_EMPTY = 18,
	SSH_FX_NOT_A_DIRECTORY = 19,
	SSH_FX_INVALID_FILENAME = 20,
	SSH_FX_LINK_LOOP = 21,
	SSH_FX_CANNOT_DELETE = 22,
	SSH_FX_INVALID_PARAMETER = 23,
	SSH_FX_FILE_IS_A_DIRECTORY = 24,
	SSH_FX_BYTE_RANGE_LOCK_CONFLICT = 25,
	SSH_FX_BYTE_RANGE_LOCK_REFUSED = 26,
	SSH_FX_DELETE_PENDING = 27,
	SSH_FX_OWNER_INVALID = 29,
	SSH_FX_GROUP_INVALID = 30,
};

/* Bytes on their way to the server. Zeroed is empty. */
struct scout_sftp_buf {
	uint8_t *bytes;
	size_t start; /* what is before was sent */
	size_t len;   /* after start */
	size_t cap;
};

void scout_sftp_buf_consume(struct scout_sftp_buf *b, size_t n);
void scout_sftp_buf_free(struct scout_sftp_buf *b);

/* Append one packet, whole or not at all. 0, -ENOMEM, -ENAMETOOLONG (path), -EINVAL (handle,
 * length of a WRITE). */
int scout_sftp_encode_init(struct scout_sftp_buf *b);
int scout_sftp_encode_limits(struct scout_sftp_buf *b, uint32_t id); /* limits@openssh.com */
int scout_sftp_encode_call(struct scout_sftp_buf *b, const struct scout_sftp_call *call);

/* An extension that we use: op is SCOUT_SFTP_OPS for limits@openssh.com, which is no call's. */
struct scout_sftp_extension {
	enum scout_sftp_op op;
	const char *name;
	const char *version;
};
const struct scout_sftp_extension *scout_sftp_extension(size_t i); /* NULL past the last */
bool scout_sftp_is_extension(enum scout_sftp_op op);

/* Takes fields off the front of bytes; after the first that does not fit, bad is set and all
 * further ones are 0 and empty. */
struct scout_sftp_reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

uint32_t scout_sftp_get_u32(struct scout_sftp_reader *r);
uint64_t scout_sftp_get_u64(struct scout_sftp_reader *r);
/* A string of the wire: its length goes to len. */
const uint8_t *scout_sftp_get_string(struct scout_sftp_reader *r, size_t *len);
void scout_sftp_get_attrs(struct scout_sftp_reader *r, struct scout_sftp_attrs *ret);

/* The answers' bodies, after the request id. 0 or -EIO; *ret is set only on success. */
int scout_sftp_decode_handle(struct scout_sftp_reader *r, struct scout_sftp_handle *ret);
int scout_sftp_decode_attrs(struct scout_sftp_reader *r, struct scout_sftp_attrs *ret);

/* Entries of a NAME packet, which point into the packet: names are ended by a NUL that is written
 * over the length field behind them, so that the packet's bytes must be writable. The array grows
 * to the largest answer and is used again. */
struct scout_sftp_names {
	struct scout_sftp_name *list;
	size_t count;
	size_t cap;
};
int scout_sftp_decode_names(struct scout_sftp_reader *r, struct scout_sftp_names *ret);

/* The whole VERSION packet after its type: which calls' extensions it offers (bits as those of
 * scout_sftp_server.extensions), and whether limits@openssh.com is there. */
int scout_sftp_decode_version(struct scout_sftp_reader *r, uint32_t *offered, bool *has_limits);
/* The answer to it (OpenSSH's PROTOCOL, 4.8), held within what we can use. */
int scout_sftp_decode_limits(struct scout_sftp_reader *r, struct scout_sftp_server *ret);
/* Answers to extensions (PROTOCOL, 4.4 and 4.12): all of r, and not a byte more. The names are the
 * user's and the group's, and point into the packet as those of decode_names. 0, -EIO; names also
 * -ENOMEM. */
int scout_sftp_decode_statvfs(struct scout_sftp_reader *r, struct statvfs *ret);
int scout_sftp_decode_users_groups(struct scout_sftp_reader *r, struct scout_sftp_names *ret);

/* What a status other than SSH_FX_OK means for a call: 0 for the end of a file or directory, or
 * -errno. */
int scout_sftp_status_errno(const struct scout_sftp_call *call, uint32_t status);

#endif
