/* The looks behind a failed operation, and what they make of its errno; see narrow.h. One round trip,
 * on the failure's way only. The server is believed about types, never about more; no lock. */
#include "hosts/narrow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { AT, PARENT, SPACE, AT2, PARENT2, SPACE2 };

static bool below(const char *path, const char *path2)
{
	size_t n = strlen(path);

	return strncmp(path, path2, n) == 0 && path2[n] == '/';
}

static bool makes_a_name(enum scout_sftp_op op)
{
	return op != SCOUT_SFTP_RMDIR && op != SCOUT_SFTP_REMOVE && op != SCOUT_SFTP_SETSTAT &&
	       op != SCOUT_SFTP_LSETSTAT;
}

static bool renames(enum scout_sftp_op op)
{
	return op == SCOUT_SFTP_RENAME || op == SCOUT_SFTP_POSIX_RENAME;
}

static bool takes_a_name(enum scout_sftp_op op)
{
	return op == SCOUT_SFTP_REMOVE || op == SCOUT_SFTP_RMDIR || renames(op);
}

/* OpenSSH says "no such file" for ENOTDIR as well. */
static int missing(enum scout_sftp_op op, const struct scout_scene *s)
{
	if ((s->parent && !S_ISDIR(s->parent)) || (s->parent2 && !S_ISDIR(s->parent2)))
		return -ENOTDIR;
	if (op == SCOUT_SFTP_RMDIR && s->at && !S_ISDIR(s->at))
		return -ENOTDIR;
	if (renames(op) && S_ISDIR(s->at) && s->at2 && !S_ISDIR(s->at2))
		return -ENOTDIR;
	return -ENOENT;
}

/* And "permission denied" for EPERM. */
static int denied(enum scout_sftp_op op, const struct scout_scene *s)
{
	if (op == SCOUT_SFTP_HARDLINK && S_ISDIR(s->at))
		return -EPERM;
	if (op == SCOUT_SFTP_REMOVE && S_ISDIR(s->at))
		return -EISDIR;
	/* a folder in which only owners may take names away, open to all else */
	if (takes_a_name(op) && (s->parent & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH))
		return -EPERM;
	return -EACCES;
}

static int failed_rename(enum scout_sftp_op op, const char *path, const char *path2,
			 const struct scout_scene *s)
{
	if (s->read_only)
		return -EROFS;
	if (!s->at)
		return -ENOENT;
	if (s->across)
		return -EXDEV;
	if (below(path, path2))
		return -EINVAL;
	if (op == SCOUT_SFTP_RENAME && s->at2)
		return -EEXIST;
	if (s->at2 && S_ISDIR(s->at) != S_ISDIR(s->at2))
		return S_ISDIR(s->at) ? -ENOTDIR : -EISDIR;
	if (s->at2 && S_ISDIR(s->at))
		return -ENOTEMPTY;
	return 0;
}

static int failed(enum scout_sftp_op op, const char *path, const char *path2,
		  const struct scout_scene *s)
{
	switch (op) {
	case SCOUT_SFTP_RENAME:
	case SCOUT_SFTP_POSIX_RENAME:
		return failed_rename(op, path, path2, s);
	case SCOUT_SFTP_HARDLINK:
		if (!s->at)
			return -ENOENT;
		return s->at2 ? -EEXIST : S_ISDIR(s->at) ? -EPERM : s->across ? -EXDEV : 0;
	case SCOUT_SFTP_RMDIR:
		if (s->read_only)
			return -EROFS;
		return !s->at ? -ENOENT : S_ISDIR(s->at) ? -ENOTEMPTY : -ENOTDIR;
	case SCOUT_SFTP_REMOVE:
		if (s->read_only)
			return -EROFS;
		return !s->at ? -ENOENT : S_ISDIR(s->at) ? -EISDIR : 0;
	case SCOUT_SFTP_SETSTAT:
	case SCOUT_SFTP_LSETSTAT:
		return 0;
	case SCOUT_SFTP_OPEN:
		if (s->at && s->any)
			return s->read_only ? -EROFS : -EIO;
		return s->at ? -EEXIST : 0;
	default: /* MKDIR, SYMLINK */
		return s->at ? -EEXIST : 0;
	}
}

int scout_narrow_err(enum scout_sftp_op op, int err, const char *path, const char *path2,
		     const struct scout_scene *s)
{
	int ret = 0;

	switch (err) {
	case -ENOENT:
		return missing(op, s);
	case -EACCES:
		return denied(op, s);
	case -EINVAL:
		return makes_a_name(op) && s->long_name ? -ENAMETOOLONG : err;
	case -EIO:
		/* some servers say nothing better where the folder is missing */
		if (!s->parent)
			return -ENOENT;
		if (!S_ISDIR(s->parent))
			return -ENOTDIR;
		if (path2 && (!s->parent2 || !S_ISDIR(s->parent2)))
			return s->parent2 ? -ENOTDIR : -ENOENT;
		ret = failed(op, path, path2, s);
		if (!ret && s->read_only)
			ret = -EROFS;
		if (!ret && s->full && makes_a_name(op))
			ret = -ENOSPC;
		return ret ? ret : err;
	default:
		return err;
	}
}

/* unseen: what is assumed of something that could not be looked at. */
static mode_t mode_of(const struct scout_rpc *look, mode_t unseen)
{
	const struct scout_sftp_attrs *a = &look->call.attrs;

	if (look->err)
		return look->err == -ENOENT ? 0 : unseen;
	return a->has & SCOUT_SFTP_HAS_MODE ? (mode_t)a->mode : unseen;
}

static bool long_name(const char *path, const struct scout_rpc *space)
{
	return !space->err && space->call.space.f_namemax &&
	       strlen(strrchr(path, '/') + 1) > space->call.space.f_namemax;
}

static void look_into(const struct scout_narrow *n, struct scout_scene *s)
{
	const struct scout_rpc *last = &n->looks[n->path2 ? SPACE2 : SPACE];
	const struct statvfs *space = &last->call.space, *space1 = &n->looks[SPACE].call.space;

	memset(s, 0, sizeof *s);
	s->any = n->op == SCOUT_SFTP_OPEN && !(n->flags & SCOUT_SFTP_FLAG_EXCL);
	s->at = mode_of(&n->looks[AT], 0);
	s->parent = mode_of(&n->looks[PARENT], S_IFDIR);
	s->long_name = long_name(n->path2 ? n->path2 : n->path, last);
	if (!last->err) {
		s->full = space->f_bavail == 0 || (space->f_files && !space->f_ffree);
		s->read_only = space->f_flag & ST_RDONLY;
	}
	if (!n->path2)
		return;
	s->at2 = mode_of(&n->looks[AT2], 0);
	s->parent2 = mode_of(&n->looks[PARENT2], S_IFDIR);
	if (!last->err && !n->looks[SPACE].err)
		s->across = space->f_fsid != space1->f_fsid;
}

static void finish(struct scout_narrow *n, int err)
{
	free(n->parent);
	free(n->parent2);
	n->done(n, err);
}

static void looked(struct scout_rpc *rpc, int err)
{
	struct scout_narrow *n = SCOUT_CONTAINER(rpc, struct scout_narrow, looks[AT]);
	struct scout_scene scene;

	(void)err; /* each look has its own */
	for (struct scout_rpc *one = rpc; one; one = one->then) {
		/* nothing was learnt */
		if (!one->settled) {
			finish(n, n->err);
			return;
		}
	}
	look_into(n, &scene);
	finish(n, scout_narrow_err(n->op, n->err, n->path, n->path2, &scene));
}

/* The folder of an absolute path; NULL: no memory. */
static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static void add(struct scout_narrow *n, unsigned i, enum scout_sftp_op op, const char *path)
{
	struct scout_rpc *rpc = &n->looks[i];

	memset(rpc, 0, sizeof *rpc);
	rpc->host = n->host;
	rpc->call.op = op;
	rpc->call.path = path;
	if (i)
		n->looks[i - 1].then = rpc;
}

/* Whether a look can tell more than the server did. */
static bool helps(const struct scout_narrow *n)
{
	switch (n->err) {
	case -ENOENT:
	case -EINVAL:
		return true;
	case -EIO:
		return n->status == SCOUT_SFTP_STATUS_FAILURE;
	case -EACCES:
		return takes_a_name(n->op) || n->op == SCOUT_SFTP_HARDLINK;
	default:
		return false;
	}
}

void scout_narrow(struct scout_narrow *n, const struct scout_rpc *rpc)
{
	n->op = rpc->call.op;
	n->flags = rpc->call.flags;
	n->err = rpc->err;
	n->status = rpc->call.status;
	n->parent = parent_of(n->path);
	n->parent2 = n->path2 ? parent_of(n->path2) : NULL;
	if (!rpc->settled || !helps(n) || !n->parent || (n->path2 && !n->parent2)) {
		finish(n, n->err);
		return;
	}
	add(n, AT, SCOUT_SFTP_LSTAT, n->path);
	add(n, PARENT, SCOUT_SFTP_STAT, n->parent);
	add(n, SPACE, SCOUT_SFTP_STATVFS, n->parent);
	if (n->path2) {
		add(n, AT2, SCOUT_SFTP_LSTAT, n->path2);
		add(n, PARENT2, SCOUT_SFTP_STAT, n->parent2);
		add(n, SPACE2, SCOUT_SFTP_STATVFS, n->parent2);
	}
	n->looks[AT].deadline_ns = n->deadline_ns;
	n->looks[AT].done = looked;
	scout_rpc_send(&n->looks[AT]);
}
