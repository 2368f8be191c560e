/* Decoding of answers. Trusts nothing that comes from the server: every length is checked against the
 * bytes that are there. Pure, no lock. */
#include "sftp/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/budget.h"

#define SSH_FILEXFER_ATTR_SIZE 0x00000001u
#define SSH_FILEXFER_ATTR_UIDGID 0x00000002u
#define SSH_FILEXFER_ATTR_PERMISSIONS 0x00000004u
#define SSH_FILEXFER_ATTR_ACMODTIME 0x00000008u
#define SSH_FILEXFER_ATTR_EXTENDED 0x80000000u

#define BYTES_DEFAULT 32768u /* what every server takes (draft, section 3) */
#define BYTES_MIN 1024u
#define NAME_BYTES_MIN 12u /* an entry with empty names and no attributes */

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

static bool make_room(struct scout_sftp_names *names, size_t count)
{
	struct scout_sftp_name *list;

	if (count <= names->cap)
		return true;
	list = realloc(names->list, count * sizeof(*list));
	if (!list)
		return false;
	names->list = list;
	names->cap = count;
	return true;
}

int scout_sftp_decode_names(struct scout_sftp_reader *r, struct scout_sftp_names *ret)
{
	uint32_t count = scout_sftp_get_u32(r);

	ret->count = 0;
	if (r->bad || count > r->left / NAME_BYTES_MIN)
		return -EIO;
	if (!make_room(ret, count))
		return -ENOMEM;
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

int scout_sftp_decode_version(struct scout_sftp_reader *r, uint32_t *offered, bool *has_limits)
{
	uint32_t version = scout_sftp_get_u32(r), found = 0;
	const struct scout_sftp_extension *known;
	bool limits = false;

	while (!r->bad && r->left) {
		size_t name_len, data_len;
		const uint8_t *name = scout_sftp_get_string(r, &name_len);
		const uint8_t *data = scout_sftp_get_string(r, &data_len);

		for (size_t i = 0; (known = scout_sftp_extension(i)); i++) {
			if (!equals(name, name_len, known->name) ||
			    !equals(data, data_len, known->version))
				continue;
			if (scout_sftp_is_extension(known->op))
				found |= SCOUT_SFTP_EXT(known->op);
			else
				limits = true;
		}
	}
	/* a server answers with the lower of both versions (section 4) */
	if (r->bad || version != SCOUT_SFTP_VERSION)
		return -EIO;
	*offered = found;
	*has_limits = limits;
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

#define SSH_FXE_STATVFS_ST_RDONLY 0x1u
#define SSH_FXE_STATVFS_ST_NOSUID 0x2u

int scout_sftp_decode_statvfs(struct scout_sftp_reader *r, struct statvfs *ret)
{
	struct statvfs v = {0};
	uint64_t flags;

	v.f_bsize = scout_sftp_get_u64(r);
	v.f_frsize = scout_sftp_get_u64(r);
	v.f_blocks = scout_sftp_get_u64(r);
	v.f_bfree = scout_sftp_get_u64(r);
	v.f_bavail = scout_sftp_get_u64(r);
	v.f_files = scout_sftp_get_u64(r);
	v.f_ffree = scout_sftp_get_u64(r);
	v.f_favail = scout_sftp_get_u64(r);
	v.f_fsid = scout_sftp_get_u64(r);
	flags = scout_sftp_get_u64(r);
	v.f_namemax = scout_sftp_get_u64(r);
	if (r->bad || r->left)
		return -EIO;
	v.f_flag = (flags & SSH_FXE_STATVFS_ST_RDONLY ? ST_RDONLY : 0) |
		   (flags & SSH_FXE_STATVFS_ST_NOSUID ? ST_NOSUID : 0);
	if (!v.f_frsize)
		v.f_frsize = v.f_bsize;
	*ret = v;
	return 0;
}

/* A list of just one name, which moves over its own length to make room for its NUL. */
static int get_only_name(struct scout_sftp_reader *r, struct scout_sftp_name *ret)
{
	struct scout_sftp_reader list = {0};
	const uint8_t *name;
	char *str;
	size_t len;

	list.at = scout_sftp_get_string(r, &list.left);
	name = scout_sftp_get_string(&list, &len);
	if (r->bad || list.bad || list.left || memchr(name, '\0', len))
		return -EIO;
	str = (char *)name - 1;
	memmove(str, name, len);
	str[len] = '\0';
	ret->name = str;
	memset(&ret->attrs, 0, sizeof(ret->attrs));
	return 0;
}

int scout_sftp_decode_users_groups(struct scout_sftp_reader *r, struct scout_sftp_names *ret)
{
	ret->count = 0;
	if (!make_room(ret, 2))
		return -ENOMEM;
	if (get_only_name(r, &ret->list[0]) || get_only_name(r, &ret->list[1]) || r->left)
		return -EIO;
	ret->count = 2;
	return 0;
}
