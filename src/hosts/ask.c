/* What is asked of a path and changes nothing: attributes, where a link leads, whether it may be
 * used. The root and the hosts' own directories are answered here; what lies below is asked of the
 * host, behind the writes to that file which are still under way.
 *
 * An ask belongs to one request and is freed by its completion; no lock. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hosts/ahead.h"
#include "hosts/attr.h"
#include "hosts/file.h"
#include "hosts/link.h"
#include "hosts/node.h"
#include "hosts/place.h"
#include "hosts/root.h"

struct ask {
	struct scout_rpc rpc;
	struct scout_settle settle;
	struct scout_req *req;
	struct scout_place place;
	char *path; /* which place.inside points into */
};

static void ask_free(struct ask *a)
{
	scout_place_drop(&a->place);
	free(a->path);
	free(a);
}

static void settled(struct scout_settle *w)
{
	scout_rpc_send(&SCOUT_CONTAINER(w, struct ask, settle)->rpc);
}

/* The ask for path, or NULL: then req is done, as path is no file of a host. own: the answer for what
 * the config says, with its attributes if that is 0. */
static struct ask *ask_new(struct scout_hosts *all, const char *path, int own,
			   struct scout_req *req)
{
	struct scout_result res = {.ttl_ms = SCOUT_ROOT_TTL_MS};
	struct ask *a = calloc(1, sizeof *a);
	int err = -ENOMEM;

	if (a)
		a->path = strdup(path);
	if (a && a->path)
		err = scout_place_of(all, a->path, &a->place);
	if (!err && scout_place_is_remote(&a->place)) {
		a->req = req;
		return a;
	}
	if (!err)
		err = *path && !a->place.host ? -ENOENT : own;
	if (!err)
		scout_root_attr(all, a->place.host, &res.attr);
	scout_req_done(req, err, err && err != -ENOENT ? NULL : &res);
	if (a)
		ask_free(a);
	return NULL;
}

static void ask_send(struct ask *a, enum scout_sftp_op op,
		     void (*done)(struct scout_rpc *rpc, int err))
{
	a->rpc.call.op = op;
	a->rpc.call.path = a->place.remote;
	a->rpc.host = a->place.host;
	a->rpc.req = a->req;
	a->rpc.done = done;
	a->settle.settled = settled;
	if (scout_node_settle(a->place.host, a->place.remote, &a->settle))
		scout_rpc_send(&a->rpc);
}

static void getattr_done(struct scout_rpc *rpc, int err)
{
	struct ask *a = SCOUT_CONTAINER(rpc, struct ask, rpc);
	struct scout_result res = {.ttl_ms = scout_host_ttl_ms(rpc->host)};

	if (!err) {
		scout_host_attr(rpc->host, &rpc->call.attrs, &res.attr);
		scout_ahead_saw(rpc->host, a->place.remote, &res.attr);
	} else {
		if (err == -ENOENT)
			scout_ahead_saw(rpc->host, a->place.remote, NULL);
		scout_rpc_log(rpc, "getattr", a->place.remote, err);
	}
	scout_req_done(a->req, err, err && err != -ENOENT ? NULL : &res);
	ask_free(a);
}

void scout_hosts_getattr(void *self, const char *path, void *handle, struct scout_req *req)
{
	struct scout_result res = {0};
	struct ask *a;

	/* the path's, so that all who have it open see the same */
	if (!path || (handle && scout_file_nameless(handle))) {
		scout_file_getattr(handle, req);
		return;
	}
	a = ask_new(self, path, 0, req);
	if (!a)
		return;
	if (scout_ahead_find(a->place.host, a->place.remote, &res.attr, &res.ttl_ms) &&
	    scout_node_bears(a->place.host, a->place.remote, &res.attr)) {
		scout_req_done(req, 0, &res);
		ask_free(a);
		return;
	}
	ask_send(a, SCOUT_SFTP_LSTAT, getattr_done);
}

static int link_result(const struct ask *a, struct scout_text *out)
{
	const struct scout_host_config *config = a->rpc.host->config;
	const char *target;

	if (a->rpc.call.names_count != 1)
		return -EIO;
	target = a->rpc.call.names[0].name;
	if (config->contain_symlinks)
		return scout_link_contain(config->root, a->place.inside, target, out);
	if (!*target || strlen(target) >= PATH_MAX)
		return -EIO;
	scout_text_append(out, target, strlen(target));
	return out->failed ? -ENOMEM : 0;
}

static void readlink_done(struct scout_rpc *rpc, int err)
{
	struct ask *a = SCOUT_CONTAINER(rpc, struct ask, rpc);
	struct scout_result res = {.ttl_ms = scout_host_ttl_ms(rpc->host)};
	struct scout_text target = {0};

	if (!err)
		err = link_result(a, &target);
	scout_rpc_log(rpc, "readlink", a->place.remote, err);
	res.target = target.str;
	scout_req_done(a->req, err, err ? NULL : &res);
	scout_text_free(&target);
	ask_free(a);
}

void scout_hosts_readlink(void *self, const char *path, struct scout_req *req)
{
	struct ask *a = ask_new(self, path, -EINVAL, req);

	if (a)
		ask_send(a, SCOUT_SFTP_READLINK, readlink_done);
}

static void access_done(struct scout_rpc *rpc, int err)
{
	struct ask *a = SCOUT_CONTAINER(rpc, struct ask, rpc);
	struct scout_result res = {0};
	struct scout_attr attr;

	scout_rpc_log(rpc, "access", a->place.remote, err);
	if (!err) {
		scout_attr_map(&rpc->call.attrs, &attr);
		if (S_ISREG(attr.mode) && !(attr.mode & 0111))
			err = -EACCES;
	}
	scout_req_done(a->req, err, err ? NULL : &res);
	ask_free(a);
}

/* Who may do what is the server's to say, when it is done. Here only what would be a surprise: a
 * program that nobody can run, and what the config guards. */
void scout_hosts_access(void *self, const char *path, int mask, struct scout_req *req)
{
	struct scout_result res = {0};
	struct scout_place place;
	bool look = false;
	struct ask *a;
	int err = scout_place_of(self, path, &place);

	if (!err) {
		if (!place.host)
			err = *path ? -ENOENT : mask & W_OK ? -EACCES : 0;
		else if (mask & W_OK)
			err = scout_host_writable(place.host);
		look = scout_place_is_remote(&place) && mask & X_OK;
		scout_place_drop(&place);
	}
	if (err || !look) {
		scout_req_done(req, err, err ? NULL : &res);
		return;
	}
	a = ask_new(self, path, 0, req);
	if (a)
		ask_send(a, SCOUT_SFTP_LSTAT, access_done);
}
