/* Encoding and decoding of SFTP packets. Trusts the caller's calls, and nothing that comes from the
 * server: every length is checked against the bytes that are there. Pure, no lock. */
#include "sftp/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/budget.h"

#define SSH_FXF_READ 0x00000001u

#define SSH_FILEXFER_ATTR_SIZE 0x00000001u
#define SSH_FILEXFER_ATTR_UIDGID 0x00000002u
#define SSH_FILEXFER_ATTR_PERMISSIONS 0x00000004u
#define SSH_FILEXFER_ATTR_ACMODTIME 0x00000008u
#define SSH_FILEXFER_ATTR_EXTENDED 0x80000000u

#define LIMITS_NAME "limits@openssh.com"
#define BYTES_DEFAULT 32768u /* what every server takes (draft, section 3) */
#define BYTES_MIN 1024u
#define NAME_BYTES_MIN 12u /* an entry with empty names and no attributes */

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

int scout_sftp_encode_init(struct scout_sftp_buf *b)
{
	uint8_t *at = reserve(b, 9);

	if (!at)
		return -ENOMEM;
	at = put_u32(at, 5);
	*at++ = SSH_FXP_INIT;
	put_u32(at, SCOUT_SFTP_VERSION);
	b->len += 9;
	return 0;
}

int scout_sftp_encode_limits(struct scout_sftp_buf *b, uint32_t id)
{
	size_t name_len = strlen(LIMITS_NAME);
	uint8_t *at = reserve(b, 13 + name_len);

	if (!at)
		return -ENOMEM;
	at = put_u32(at, (uint32_t)(9 + name_len));
	*at++ = SSH_FXP_EXTENDED;
	at = put_u32(at, id);
	put_string(at, LIMITS_NAME, name_len);
	b->len += 13 + name_len;
	return 0;
}

static uint8_t packet_type(enum scout_sftp_op op)
{
	switch (op) {
	case SCOUT_SFTP_LSTAT:
		return SSH_FXP_LSTAT;
	case SCOUT_SFTP_STAT:
		return SSH_FXP_STAT;
	case SCOUT_SFTP_FSTAT:
		return SSH_FXP_FSTAT;
	case SCOUT_SFTP_READLINK:
		return SSH_FXP_READLINK;
	case SCOUT_SFTP_OPEN:
		return SSH_FXP_OPEN;
	case SCOUT_SFTP_READ:
		return SSH_FXP_READ;
	case SCOUT_SFTP_CLOSE:
		return SSH_FXP_CLOSE;
	case SCOUT_SFTP_OPENDIR:
		return SSH_FXP_OPENDIR;
	case SCOUT_SFTP_READDIR:
		return SSH_FXP_READDIR;
	case SCOUT_SFTP_REALPATH:
		return SSH_FXP_REALPATH;
	default:
		return 0;
	}
}

static bool takes_handle(enum scout_sftp_op op)
{
	return op == SCOUT_SFTP_FSTAT || op == SCOUT_SFTP_READ || op == SCOUT_SFTP_CLOSE ||
	       op == SCOUT_SFTP_READDIR;
}

int scout_sftp_encode_call(struct scout_sftp_buf *b, const struct scout_sftp_call *call)
{
	uint8_t type = packet_type(call->op);
	const void *subject;
	size_t subject_len, len, tail = 0;
	uint8_t *at;

	if (!type)
		return -EINVAL;
	if (takes_handle(call->op)) {
		if (call->handle->len > SCOUT_SFTP_HANDLE_MAX)
			return -EINVAL;
		subject = call->handle->bytes;
		subject_len = call->handle->len;
	} else {
		subject = call->path;
		subject_len = strnlen(call->path, SCOUT_SFTP_PATH_MAX + 1);
		if (subject_len > SCOUT_SFTP_PATH_MAX)
			return -ENAMETOOLONG;
	}
	if (call->op == SCOUT_SFTP_READ)
		tail = 12; /* offset, length */
	else if (call->op == SCOUT_SFTP_OPEN)
		tail = 8; /* pflags, no attributes */
	len = 1 + 4 + 4 + subject_len + tail;
	at = reserve(b, 4 + len);
	if (!at)
		return -ENOMEM;
	at = put_u32(at, (uint32_t)len);
	*at++ = type;
	at = put_u32(at, call->id);
	at = put_string(at, subject, subject_len);
	if (call->op == SCOUT_SFTP_READ)
		put_u32(put_u64(at, call->offset), call->length);
	else if (call->op == SCOUT_SFTP_OPEN)
		put_u32(put_u32(at, SSH_FXF_READ), 0);
	b->len += 4 + len;
	return 0;
}

/* n bytes off the front, or NULL. */
static const uint8_t *take(struct scout_sftp_reader *r, size_t n)
{
	const uint8_t *at = r->at;

	if (r->bad || r->left < n) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	r->left -= n;
	return at;
}

uint8_t scout_sftp_get_u8(struct scout_sftp_reader *r)
{
	const uint8_t *at = take(r, 1);

	return at ? *at : 0;
}

uint32_t scout_sftp_get_u32(struct scout_sftp_reader *r)
{
	const uint8_t *at = take(r, 4);

	if (!at)
		return 0;
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

uint64_t scout_sftp_get_u64(struct scout_sftp_reader *r)
{
	uint64_t high = scout_sftp_get_u32(r);

	return high << 32 | scout_sftp_get_u32(r);
}

const uint8_t *scout_sftp_get_string(struct scout_sftp_reader *r, size_t *len)
{
	const uint8_t *at;

	*len = scout_sftp_get_u32(r);
	at = take(r, *len);
	if (!at)
		*len = 0;
	return at;
}

/* Section 5. Bits that version 3 does not define carry no field. */
void scout_sftp_get_attrs(struct scout_sftp_reader *r, struct scout_sftp_attrs *ret)
{
	uint32_t flags = scout_sftp_get_u32(r), count;
	size_t len;

	memset(ret, 0, sizeof(*ret));
	if (flags & SSH_FILEXFER_ATTR_SIZE) {
		ret->has |= SCOUT_SFTP_HAS_SIZE;
		ret->size = scout_sftp_get_u64(r);
	}
	if (flags & SSH_FILEXFER_ATTR_UIDGID) {
		ret->has |= SCOUT_SFTP_HAS_OWNER;
		ret->uid = scout_sftp_get_u32(r);
		ret->gid = scout_sftp_get_u32(r);
	}
	if (flags & SSH_FILEXFER_ATTR_PERMISSIONS) {
		ret->has |= SCOUT_SFTP_HAS_MODE;
		ret->mode = scout_sftp_get_u32(r);
	}
	if (flags & SSH_FILEXFER_ATTR_ACMODTIME) {
		ret->has |= SCOUT_SFTP_HAS_TIMES;
		ret->atime = scout_sftp_get_u32(r);
		ret->mtime = scout_sftp_get_u32(r);
	}
	if (flags & SSH_FILEXFER_ATTR_EXTENDED) {
		count = scout_sftp_get_u32(r);
		while (count-- && !r->bad) {
			(void)scout_sftp_get_string(r, &len); /* a name and a value, unused */
			(void)scout_sftp_get_string(r, &len);
		}
	}
}

int scout_sftp_decode_handle(struct scout_sftp_reader *r, struct scout_sftp_handle *ret)
{
	size_t len;
	const uint8_t *bytes = scout_sftp_get_string(r, &len);

	if (r->bad || len > SCOUT_SFTP_HANDLE_MAX)
		return -EIO;
	ret->len = (uint32_t)len;
	memcpy(ret->bytes, bytes, len);
	return 0;
}

int scout_sftp_decode_attrs(struct scout_sftp_reader *r, struct scout_sftp_attrs *ret)
{
	struct scout_sftp_attrs attrs;

	scout_sftp_get_attrs(r, &attrs);
	if (r->bad)
		return -EIO;
	*ret = attrs;
	return 0;
}

static int get_name(struct scout_sftp_reader *r, struct scout_sftp_name *ret)
{
	size_t len, ignored;
	const uint8_t *name = scout_sftp_get_string(r, &len);

	(void)scout_sftp_get_string(r, &ignored); /* the long name, for people */
	scout_sftp_get_attrs(r, &ret->attrs);
	if (r->bad || memchr(name, '\0', len))
		return -EIO;
	((uint8_t *)name)[len] = '\0'; /* the first byte of the long name's length, read above */
	ret->name = (const char *)name;
	return 0;
}

int scout_sftp_decode_names(struct scout_sftp_reader *r, struct scout_sftp_names *ret)
{
	uint32_t count = scout_sftp_get_u32(r);
	struct scout_sftp_name *list;

	ret->count = 0;
	if (r->bad || count > r->left / NAME_BYTES_MIN)
		return -EIO;
	if (count > ret->cap) {
		list = realloc(ret->list, count * sizeof(*list));
		if (!list)
			return -ENOMEM;
		ret->list = list;
		ret->cap = count;
	}
	for (uint32_t i = 0; i < count; i++)
		if (get_name(r, &ret->list[i]))
			return -EIO;
	ret->count = count;
	return 0;
}

static bool equals(const uint8_t *bytes, size_t len, const char *word)
{
	return bytes && len == strlen(word) && !memcmp(bytes, word, len);
}

int scout_sftp_decode_version(struct scout_sftp_reader *r, bool *has_limits)
{
	uint32_t version = scout_sftp_get_u32(r);
	bool found = false;

	while (!r->bad && r->left) {
		size_t name_len, data_len;
		const uint8_t *name = scout_sftp_get_string(r, &name_len);
		const uint8_t *data = scout_sftp_get_string(r, &data_len);

		if (equals(name, name_len, LIMITS_NAME) && equals(data, data_len, "1"))
			found = true;
	}
	/* a server answers with the lower of both versions (section 4) */
	if (r->bad || version != SCOUT_SFTP_VERSION)
		return -EIO;
	*has_limits = found;
	return 0;
}

static uint32_t usable_bytes(uint64_t told)
{
	if (!told)
		return BYTES_DEFAULT;
	if (told < BYTES_MIN)
		return BYTES_MIN;
	return told > SCOUT_BUF_BYTES ? (uint32_t)SCOUT_BUF_BYTES : (uint32_t)told;
}

int scout_sftp_decode_limits(struct scout_sftp_reader *r, struct scout_sftp_server *ret)
{
	uint64_t read_bytes, write_bytes, handles;

	(void)scout_sftp_get_u64(r); /* the largest packet: ours are far below */
	read_bytes = scout_sftp_get_u64(r);
	write_bytes = scout_sftp_get_u64(r);
	handles = scout_sftp_get_u64(r);
	if (r->bad)
		return -EIO;
	ret->read_bytes = usable_bytes(read_bytes);
	ret->write_bytes = usable_bytes(write_bytes);
	ret->open_handles = handles > UINT32_MAX ? UINT32_MAX : (unsigned)handles;
	return 0;
}

int scout_sftp_status_errno(enum scout_sftp_op op, uint32_t status)
{
	switch (status) {
	case SSH_FX_EOF:
		return op == SCOUT_SFTP_READ || op == SCOUT_SFTP_READDIR ? 0 : -EIO;
	case SSH_FX_NO_SUCH_FILE:
		return -ENOENT;
	case SSH_FX_PERMISSION_DENIED:
		return -EACCES;
	case SSH_FX_OP_UNSUPPORTED:
		return -EOPNOTSUPP;
	case SSH_FX_BAD_MESSAGE: /* OpenSSH says this for EINVAL */
	case SSH_FX_FAILURE:
		if (op == SCOUT_SFTP_READLINK)
			return -EINVAL;
		if (op == SCOUT_SFTP_OPENDIR && status == SSH_FX_FAILURE)
			return -ENOTDIR;
		return -EIO;
	default:
		return -EIO;
	}
}
