/* What a server's status codes mean as errnos, call by call: version 3 has few codes, and servers
 * put many errors into one. Pure. */
#include "sftp/codec.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static bool too_long(const char *path)
{
	size_t len = path ? strlen(path) : 0;

	for (const char *end; len < PATH_MAX && path && *path; path = end + (*end == '/')) {
		end = strchrnul(path, '/');
		if (end - path > NAME_MAX)
			return true;
	}
	return len >= PATH_MAX;
}

/* OpenSSH says this for EINVAL and ENAMETOOLONG. */
static int bad_message(const struct scout_sftp_call *call)
{
	return too_long(call->path) || too_long(call->path2) ? -ENAMETOOLONG : -EINVAL;
}

/* OpenSSH says this for EPERM as well, which is what changing another's file is; but for its size,
 * that is no question of who owns it. */
static int permission_denied(const struct scout_sftp_call *call)
{
	switch (call->op) {
	case SCOUT_SFTP_SETSTAT:
	case SCOUT_SFTP_FSETSTAT:
	case SCOUT_SFTP_LSETSTAT:
		return call->set && call->set->has & ~SCOUT_SFTP_HAS_SIZE ? -EPERM : -EACCES;
	default:
		return -EACCES;
	}
}

static int later_draft(uint32_t status)
{
	static const int errnos[] = {
	    [SSH_FX_INVALID_HANDLE] = EBADF,
	    [SSH_FX_NO_SUCH_PATH] = ENOENT,
	    [SSH_FX_FILE_ALREADY_EXISTS] = EEXIST,
	    [SSH_FX_WRITE_PROTECT] = EROFS,
	    [SSH_FX_NO_MEDIA] = ENOMEDIUM,
	    [SSH_FX_NO_SPACE_ON_FILESYSTEM] = ENOSPC,
	    [SSH_FX_QUOTA_EXCEEDED] = EDQUOT,
	    [SSH_FX_UNKNOWN_PRINCIPAL] = EINVAL,
	    [SSH_FX_LOCK_CONFLICT] = EBUSY,
	    [SSH_FX_DIR_NOT_EMPTY] = ENOTEMPTY,
	    [SSH_FX_NOT_A_DIRECTORY] = ENOTDIR,
	    [SSH_FX_INVALID_FILENAME] = EINVAL,
	    [SSH_FX_LINK_LOOP] = ELOOP,
	    [SSH_FX_CANNOT_DELETE] = EPERM,
	    [SSH_FX_INVALID_PARAMETER] = EINVAL,
	    [SSH_FX_FILE_IS_A_DIRECTORY] = EISDIR,
	    [SSH_FX_BYTE_RANGE_LOCK_CONFLICT] = EBUSY,
	    [SSH_FX_BYTE_RANGE_LOCK_REFUSED] = EBUSY,
	    [SSH_FX_DELETE_PENDING] = EBUSY,
	    [SSH_FX_OWNER_INVALID] = EINVAL,
	    [SSH_FX_GROUP_INVALID] = EINVAL,
	};

	if (status >= sizeof(errnos) / sizeof(errnos[0]) || !errnos[status])
		return -EIO;
	return -errnos[status];
}

int scout_sftp_status_errno(const struct scout_sftp_call *call, uint32_t status)
{
	switch (status) {
	case SSH_FX_EOF:
		return call->op == SCOUT_SFTP_READ || call->op == SCOUT_SFTP_READDIR ||
			       call->op == SCOUT_SFTP_COPY_DATA
			   ? 0
			   : -EIO;
	case SSH_FX_NO_SUCH_FILE:
		return -ENOENT;
	case SSH_FX_PERMISSION_DENIED:
		return permission_denied(call);
	case SSH_FX_FAILURE:
		/* an error that has no code of its own; of READLINK: it is no link */
		return call->op == SCOUT_SFTP_READLINK ? -EINVAL : -EIO;
	case SSH_FX_BAD_MESSAGE:
		return bad_message(call);
	case SSH_FX_OP_UNSUPPORTED:
		return -EOPNOTSUPP;
	default:
		return later_draft(status);
	}
}
