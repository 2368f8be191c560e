/* Making and removing names on a host. What is made is looked at in the same round trip, so that the
 * kernel learns what it became: the server's umask may have taken bits, its folder given a group.
 *
 * None of it is done twice: a call that was sent and lost with its session fails with -EIO. */
#include "hosts/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/attr.h"
#include "hosts/root.h"

/* The errno for a path that is no file of a host. */
static int not_remote(const struct scout_place *p, const char *path, bool made, int own)
{
	if (p->host)
		return own;
	if (!*path)
		return own ? own : -EPERM;
	return made ? -EPERM : -ENOENT; /* the config alone makes hosts */
}

static int locate(struct scout_hosts *all, struct scout_change *c, int own, bool made)
{
	int err = scout_place_of(all, c->path, &c->place);

	if (err)
		return err;
	if (!scout_place_is_remote(&c->place))
		err = not_remote(&c->place, c->path, made && !c->path2, own);
	if (err)
		return err;
	if (!c->path2)
		return 0;
	err = scout_place_of(all, c->path2, &c->place2);
	if (err)
		return err;
	if (!scout_place_is_remote(&c->place2))
		return not_remote(&c->place2, c->path2, made, own);
	return c->place.host == c->place2.host ? 0 : -EXDEV;
}

struct scout_change *scout_change_new(struct scout_hosts *all, const char *what, const char *path,
				      const char *path2, int own, struct scout_req *req)
{
	struct scout_change *c = calloc(1, sizeof *c);
	const struct scout_host_config *config;
	int err = -ENOMEM;

	if (c) {
		c->req = req;
		c->what = what;
		c->path = strdup(path);
		c->path2 = path2 ? strdup(path2) : NULL;
		if (c->path && (c->path2 || !path2))
			err = locate(all, c, own, own == -EEXIST);
	}
	if (!err)
		err = scout_host_writable(c->place.host);
	if (err) {
		if (c)
			scout_change_done(c, err, NULL);
		else
			scout_req_done(req, err, NULL);
		return NULL;
	}
	config = c->place.host->config;
	c->deadline_ns = scout_now_ns() + config->connect_timeout_ns + config->request_timeout_ns;
	return c;
}

void scout_change_done(struct scout_change *c, int err, const struct scout_result *res)
{
	const struct scout_result nothing = {0};

	if (c->place.host && !c->setattr.set)
		scout_root_named(c->place.host, c->place.remote);
	if (c->place2.host)
		scout_root_named(c->place2.host, c->place2.remote);
	scout_req_done(c->req, err, err ? NULL : res ? res : &nothing);
	scout_handle_unref(c->handle);
	scout_place_drop(&c->place);
	scout_place_drop(&c->place2);
	free(c->path);
	free(c->path2);
	free(c->text);
	free(c);
}

static bool is_look(enum scout_sftp_op op)
{
	return op == SCOUT_SFTP_LSTAT || op == SCOUT_SFTP_STAT;
}

struct scout_rpc *scout_change_then(struct scout_change *c, enum scout_sftp_op op, const char *path)
{
	struct scout_rpc *rpc = &c->calls[c->ncalls];

	memset(rpc, 0, sizeof *rpc);
	rpc->host = c->place.host;
	rpc->req = c->req;
	rpc->deadline_ns = c->deadline_ns;
	rpc->call.op = op;
	rpc->call.path = path;
	rpc->once = !is_look(op);
	if (c->ncalls++)
		rpc[-1].then = rpc;
	return rpc;
}

struct scout_rpc *scout_change_first(struct scout_change *c, enum scout_sftp_op op,
				     const char *path)
{
	c->ncalls = 0;
	return scout_change_then(c, op, path);
}

void scout_change_send(struct scout_change *c, void (*done)(struct scout_rpc *rpc, int err))
{
	c->calls[0].done = done;
	scout_rpc_send(&c->calls[0]);
}

void scout_change_settle(struct scout_change *c, void (*then)(struct scout_settle *w))
{
	c->settle.settled = then;
	if (scout_node_settle(c->place.host, c->place.remote, &c->settle))
		then(&c->settle);
}

static void narrowed(struct scout_narrow *n, int err)
{
	struct scout_change *c = SCOUT_CONTAINER(n, struct scout_change, narrow);

	scout_rpc_log(&c->calls[0], c->what, c->place.remote, err);
	scout_change_done(c, err, NULL);
}

void scout_change_narrow(struct scout_change *c, const struct scout_rpc *failed,
			 void (*done)(struct scout_narrow *n, int err))
{
	c->narrow.host = c->place.host;
	c->narrow.path = c->place.remote;
	c->narrow.path2 = c->place2.remote;
	c->narrow.deadline_ns = c->deadline_ns;
	c->narrow.done = done;
	scout_narrow(&c->narrow, failed);
}

void scout_change_failed(struct scout_change *c, int err)
{
	const struct scout_rpc *failed = &c->calls[0];

	while (failed && !failed->err)
		failed = failed->then;
	if (failed && !is_look(failed->call.op))
		scout_change_narrow(c, failed, narrowed);
	else
		narrowed(&c->narrow, err);
}

/* Some servers look through links even then; but we know what was made. */
static void insist_on_link(struct scout_sftp_attrs *attrs, const char *target)
{
	if (attrs->has & SCOUT_SFTP_HAS_MODE && S_ISLNK(attrs->mode))
		return;
	attrs->has |= SCOUT_SFTP_HAS_MODE | SCOUT_SFTP_HAS_SIZE;
	attrs->mode = S_IFLNK | 0777;
	attrs->size = strlen(target);
}

/* The last call looked at what there is now. */
static void made(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);
	struct scout_result res = {.ttl_ms = scout_host_ttl_ms(rpc->host)};

	if (c->handle && !rpc->err)
		scout_handle_opened(c->handle, rpc);
	if (err) {
		scout_change_failed(c, err);
		return;
	}
	if (rpc->call.op == SCOUT_SFTP_SYMLINK)
		insist_on_link(&c->calls[1].call.attrs, c->text);
	scout_host_attr(rpc->host, &c->calls[c->ncalls - 1].call.attrs, &res.attr);
	scout_change_done(c, 0, &res);
}

static void set_mode(struct scout_change *c, struct scout_rpc *rpc, mode_t mode)
{
	c->set[0] = (struct scout_sftp_attrs){.has = SCOUT_SFTP_HAS_MODE, .mode = mode & 07777};
	rpc->call.set = &c->set[0];
}

void scout_hosts_mkdir(void *self, const char *path, mode_t mode, struct scout_req *req)
{
	struct scout_change *c = scout_change_new(self, "mkdir", path, NULL, -EEXIST, req);

	if (!c)
		return;
	set_mode(c, scout_change_first(c, SCOUT_SFTP_MKDIR, c->place.remote), mode);
	scout_change_then(c, SCOUT_SFTP_LSTAT, c->place.remote);
	scout_change_send(c, made);
}

/* SFTP makes regular files, directories and links, and no other things. */
void scout_hosts_mknod(void *self, const char *path, mode_t mode, dev_t rdev, struct scout_req *req)
{
	struct scout_change *c = scout_change_new(self, "mknod", path, NULL, -EEXIST, req);
	struct scout_rpc *rpc;

	(void)rdev;
	if (!c)
		return;
	if (mode & S_IFMT && !S_ISREG(mode)) {
		scout_change_done(c, -EPERM, NULL);
		return;
	}
	c->handle = scout_handle_new(c->place.host);
	if (!c->handle) {
		scout_change_done(c, -ENOMEM, NULL);
		return;
	}
	rpc = scout_change_first(c, SCOUT_SFTP_OPEN, c->place.remote);
	rpc->call.flags = SCOUT_SFTP_FLAG_WRITE | SCOUT_SFTP_FLAG_CREAT | SCOUT_SFTP_FLAG_EXCL;
	set_mode(c, rpc, mode);
	scout_change_then(c, SCOUT_SFTP_LSTAT, c->place.remote);
	scout_change_send(c, made);
}

void scout_hosts_symlink(void *self, const char *target, const char *path, struct scout_req *req)
{
	struct scout_change *c = scout_change_new(self, "symlink", path, NULL, -EEXIST, req);

	if (!c)
		return;
	c->text = strdup(target);
	if (!c->text) {
		scout_change_done(c, -ENOMEM, NULL);
		return;
	}
	scout_change_first(c, SCOUT_SFTP_SYMLINK, c->place.remote)->call.path2 = c->text;
	scout_change_then(c, SCOUT_SFTP_LSTAT, c->place.remote);
	scout_change_send(c, made);
}

static void link_settled(struct scout_settle *w)
{
	struct scout_change *c = SCOUT_CONTAINER(w, struct scout_change, settle);

	scout_change_first(c, SCOUT_SFTP_HARDLINK, c->place.remote)->call.path2 = c->place2.remote;
	scout_change_then(c, SCOUT_SFTP_LSTAT, c->place2.remote);
	scout_change_send(c, made);
}

void scout_hosts_link(void *self, const char *path, const char *newpath, struct scout_req *req)
{
	struct scout_change *c = scout_change_new(self, "link", path, newpath, -EEXIST, req);

	if (c)
		scout_change_settle(c, link_settled);
}

static void removed(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);

	if (err) {
		scout_change_failed(c, err);
		return;
	}
	scout_node_unlinked(rpc->host, c->place.remote);
	scout_change_done(c, 0, NULL);
}

void scout_hosts_unlink(void *self, const char *path, struct scout_req *req)
{
	struct scout_change *c = scout_change_new(self, "unlink", path, NULL, -EBUSY, req);

	if (!c)
		return;
	scout_change_first(c, SCOUT_SFTP_REMOVE, c->place.remote);
	scout_change_send(c, removed);
}

void scout_hosts_rmdir(void *self, const char *path, struct scout_req *req)
{
	struct scout_change *c = scout_change_new(self, "rmdir", path, NULL, -EBUSY, req);

	if (!c)
		return;
	scout_change_first(c, SCOUT_SFTP_RMDIR, c->place.remote);
	scout_change_send(c, removed);
}
