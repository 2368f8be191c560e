/* Attributes from the server's words to the kernel's, with a default for what was not said; the
 * remote is not believed about types and sizes. */
#include "hosts/attr.h"

#include <string.h>

static mode_t map_mode(const struct scout_sftp_attrs *remote)
{
	if (!(remote->has & SCOUT_SFTP_HAS_MODE))
		return S_IFREG | 0444;
	switch (remote->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return remote->mode & (S_IFMT | 07777);
	default:
		return S_IFREG;
	}
}

/* Mixes v into h; a step of splitmix64. */
static uint64_t mix(uint64_t h, uint64_t v)
{
	h += v + UINT64_C(0x9e3779b97f4a7c15);
	h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
	return h ^ (h >> 31);
}

void scout_attr_map(const struct scout_sftp_attrs *remote, struct scout_attr *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->mode = map_mode(remote);
	ret->nlink = S_ISDIR(ret->mode) ? 2 : 1;
	/* A size beyond off_t would be a negative one to the kernel. */
	if (remote->has & SCOUT_SFTP_HAS_SIZE && remote->size <= INT64_MAX)
		ret->size = remote->size;
	if (remote->has & SCOUT_SFTP_HAS_OWNER) {
		ret->uid = remote->uid;
		ret->gid = remote->gid;
	}
	if (remote->has & SCOUT_SFTP_HAS_TIMES) {
		ret->atime.tv_sec = remote->atime;
		ret->mtime.tv_sec = remote->mtime;
	}
	ret->version = mix(mix(mix(0, ret->size), (uint64_t)ret->mtime.tv_sec), ret->mode & S_IFMT);
}
