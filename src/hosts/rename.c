/* Renaming. posix-rename@ does what rename(2) does, in one call. A server without it has only the
 * protocol's own RENAME, which fails when the new name is there: then a file in the way is first put
 * aside under a name that nobody guesses, and put back when the renaming fails after all, so that
 * neither file is ever lost; an empty directory in the way is removed, and made again then.
 *
 * From the first step that changed something on, the steps are taken also when nobody waits for
 * them any more. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "hosts/change.h"
#include "hosts/dir.h"
#include "scoutfs/log.h"

static void finish(struct scout_change *c)
{
	scout_node_renamed(c->place.host, c->place.remote, c->place2.remote);
	scout_dirs_renamed(c->place.host, c->place.remote, c->place2.remote);
	scout_change_done(c, 0, NULL);
}

static struct scout_rpc *step(struct scout_change *c, enum scout_sftp_op op, const char *path,
			      const char *path2)
{
	struct scout_rpc *rpc = scout_change_first(c, op, path);

	rpc->call.path2 = path2;
	return rpc;
}

/* A step that is taken whether or not somebody still waits. */
static struct scout_rpc *firm_step(struct scout_change *c, enum scout_sftp_op op, const char *path,
				   const char *path2)
{
	struct scout_rpc *rpc = step(c, op, path, path2);

	rpc->req = NULL;
	rpc->deadline_ns = 0;
	return rpc;
}

static bool replaces_directory(const struct scout_change *c)
{
	return S_ISDIR(c->seen.mode);
}

/* What was replaced is put back, or it is not needed to. */
static void put_back_done(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);
	char name[512];

	if (err && err != -ENOENT && c->text)
		scout_error("%s: rename %s: what was there before is now at %s",
			    rpc->host->config->name, c->place2.remote,
			    scout_format_name(name, sizeof name, c->text));
	scout_change_done(c, c->err, NULL);
}

static void put_back(struct scout_change *c, int err)
{
	c->err = err;
	if (replaces_directory(c)) {
		struct scout_rpc *rpc = firm_step(c, SCOUT_SFTP_MKDIR, c->place2.remote, NULL);

		c->set[0] = (struct scout_sftp_attrs){.has = SCOUT_SFTP_HAS_MODE,
						      .mode = c->seen.mode & 07777};
		rpc->call.set = &c->set[0];
	} else {
		(void)firm_step(c, SCOUT_SFTP_RENAME, c->text, c->place2.remote);
	}
	scout_change_send(c, put_back_done);
}

static void aside_removed(struct scout_rpc *rpc, int err)
{
	scout_rpc_log(rpc, "rename: remove", rpc->call.path, err);
	finish(scout_change_of(rpc));
}

static void renamed_over(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);

	scout_rpc_log(rpc, c->what, c->place.remote, err);
	if (err) {
		put_back(c, err);
	} else if (replaces_directory(c)) {
		finish(c);
	} else {
		(void)firm_step(c, SCOUT_SFTP_REMOVE, c->text, NULL);
		scout_change_send(c, aside_removed);
	}
}

static void out_of_the_way(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);

	if (err)
		scout_rpc_log(rpc, c->what, c->place2.remote, err);
	if (rpc->unknown) {
		put_back(c, err);
	} else if (err) {
		if (replaces_directory(c) && rpc->call.status == SCOUT_SFTP_STATUS_FAILURE)
			err = -ENOTEMPTY;
		scout_change_done(c, err, NULL);
	} else {
		(void)firm_step(c, SCOUT_SFTP_RENAME, c->place.remote, c->place2.remote);
		scout_change_send(c, renamed_over);
	}
}

/* A name beside path2 that is nobody's. */
static int choose_aside(struct scout_change *c)
{
	const char *path = c->place2.remote;
	struct scout_text text = {0};
	uint64_t random[2];

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -EIO;
	scout_text_append(&text, path, (size_t)(strrchr(path, '/') + 1 - path));
	scout_text_printf(&text, ".scoutfs-%016llx%016llx", (unsigned long long)random[0],
			  (unsigned long long)random[1]);
	if (text.failed) {
		scout_text_free(&text);
		return -ENOMEM;
	}
	c->text = scout_text_take(&text);
	return 0;
}

/* Both were looked at: what is in the way goes out of it, if rename(2) would replace it. */
static void both_seen(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);
	const struct scout_rpc *path2 = rpc->then;
	bool from_dir = S_ISDIR(rpc->call.attrs.mode), to_dir = S_ISDIR(path2->call.attrs.mode);

	if (!err && from_dir != to_dir)
		err = from_dir ? -ENOTDIR : -EISDIR;
	else if (!err && !to_dir)
		err = choose_aside(c);
	if (err) {
		scout_rpc_log(rpc, c->what, c->place.remote, err);
		scout_change_done(c, err, NULL);
		return;
	}
	c->seen = path2->call.attrs;
	if (to_dir)
		(void)step(c, SCOUT_SFTP_RMDIR, c->place2.remote, NULL);
	else
		(void)step(c, SCOUT_SFTP_RENAME, c->place2.remote, c->text);
	scout_change_send(c, out_of_the_way);
}

static void rename_over(struct scout_change *c)
{
	scout_change_first(c, SCOUT_SFTP_LSTAT, c->place.remote);
	scout_change_then(c, SCOUT_SFTP_LSTAT, c->place2.remote);
	scout_change_send(c, both_seen);
}

static void plain_narrowed(struct scout_narrow *n, int err)
{
	struct scout_change *c = SCOUT_CONTAINER(n, struct scout_change, narrow);

	if (err == -EEXIST && !(c->flags & RENAME_NOREPLACE)) {
		rename_over(c);
		return;
	}
	scout_rpc_log(&c->calls[0], c->what, c->place.remote, err);
	scout_change_done(c, err, NULL);
}

static void plain_renamed(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);

	if (!err)
		finish(c);
	else
		scout_change_narrow(c, rpc, plain_narrowed);
}

static void posix_renamed(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);

	if (!err) {
		finish(c);
	} else if (err == -EOPNOTSUPP) {
		(void)step(c, SCOUT_SFTP_RENAME, c->place.remote, c->place2.remote);
		scout_change_send(c, plain_renamed);
	} else {
		scout_change_failed(c, err);
	}
}

/* RENAME of a directory onto a link that leads nowhere replaces it on some servers. */
static void target_seen(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);

	if (err != -ENOENT) {
		scout_rpc_log(rpc, c->what, c->place2.remote, err);
		scout_change_done(c, err ? err : -EEXIST, NULL);
		return;
	}
	(void)step(c, SCOUT_SFTP_RENAME, c->place.remote, c->place2.remote);
	scout_change_send(c, plain_renamed);
}

static void settled(struct scout_settle *w)
{
	struct scout_change *c = SCOUT_CONTAINER(w, struct scout_change, settle);

	if (c->flags & RENAME_NOREPLACE) {
		scout_change_first(c, SCOUT_SFTP_LSTAT, c->place2.remote);
		scout_change_send(c, target_seen);
		return;
	}
	(void)step(c, SCOUT_SFTP_POSIX_RENAME, c->place.remote, c->place2.remote);
	scout_change_send(c, posix_renamed);
}

void scout_hosts_rename(void *self, const char *path, const char *newpath, unsigned flags,
			struct scout_req *req)
{
	struct scout_change *c;

	if (flags & ~(unsigned)RENAME_NOREPLACE) {
		scout_req_done(req, -EINVAL, NULL);
		return;
	}
	c = scout_change_new(self, "rename", path, newpath, -EBUSY, req);
	if (!c)
		return;
	c->flags = flags;
	scout_change_settle(c, settled);
}
