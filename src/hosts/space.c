/* How full the filesystem at a path is: asked of the server where it has a word for that, with a
 * deadline of its own, as df shall not wait for a host that hangs. The root and servers without statvfs@
 * show no space at all, which has df leave them out of its list.
 *
 * A question may be answered before the server does, so it belongs to the host's list, under
 * host->lock, as long as its request waits, and to its call until that is over. */
#include "hosts/space.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/place.h"

#define WAIT_NS (5 * SCOUT_NS_PER_S)

struct scout_space {
	struct scout_rpc rpc;
	struct scout_place place;
	uint64_t until_ns;
	/* under host->lock */
	struct scout_req *req; /* NULL once it is answered */
	TAILQ_ENTRY(scout_space) link;
};

static void no_space(struct statvfs *ret)
{
	*ret = (struct statvfs){.f_bsize = 128 * 1024, .f_frsize = 4096, .f_namemax = NAME_MAX};
}

/* What the server said, as far as it can be believed. */
static void space_of(const struct statvfs *said, struct statvfs *ret)
{
	*ret = *said;
	if (!ret->f_frsize)
		ret->f_frsize = ret->f_bsize ? ret->f_bsize : 4096;
	if (!ret->f_bsize)
		ret->f_bsize = ret->f_frsize;
	if (!ret->f_namemax || ret->f_namemax > NAME_MAX)
		ret->f_namemax = NAME_MAX;
	if (ret->f_bfree > ret->f_blocks)
		ret->f_bfree = ret->f_blocks;
	if (ret->f_bavail > ret->f_blocks)
		ret->f_bavail = ret->f_blocks;
	if (ret->f_ffree > ret->f_files)
		ret->f_ffree = ret->f_files;
}

static void answered(struct scout_rpc *rpc, int err)
{
	struct scout_space *s = SCOUT_CONTAINER(rpc, struct scout_space, rpc);
	struct scout_host *host = s->place.host;
	struct scout_result res = {0};
	struct scout_req *req;

	scout_lock(&host->lock);
	req = s->req;
	if (req)
		TAILQ_REMOVE(&host->spaces, s, link);
	scout_unlock(&host->lock);
	if (err == -EOPNOTSUPP) {
		no_space(&res.space);
		err = 0;
	} else if (err) {
		scout_rpc_log(rpc, "statfs", s->place.remote, err);
	} else {
		space_of(&rpc->call.space, &res.space);
	}
	if (req)
		scout_req_done(req, err, err ? NULL : &res);
	scout_place_drop(&s->place);
	free(s);
}

void scout_space_expire(struct scout_host *host, uint64_t now_ns, uint64_t *next_ns)
{
	struct scout_space *s, *after;

	/* One at a time: who is answered may be gone before the next is. */
	for (struct scout_req *late = NULL;; late = NULL) {
		scout_lock(&host->lock);
		for (s = TAILQ_FIRST(&host->spaces); s && !late; s = after) {
			after = TAILQ_NEXT(s, link);
			if (s->until_ns > now_ns) {
				*next_ns = s->until_ns < *next_ns ? s->until_ns : *next_ns;
				continue;
			}
			TAILQ_REMOVE(&host->spaces, s, link);
			late = s->req;
			s->req = NULL;
		}
		scout_unlock(&host->lock);
		if (!late)
			return;
		scout_req_done(late, -ETIMEDOUT, NULL);
	}
}

static void ask(struct scout_place *place, struct scout_req *req)
{
	struct scout_space *s = calloc(1, sizeof *s);
	struct scout_host *host = place->host;
	uint64_t wait = host->config->request_timeout_ns;

	if (!s) {
		scout_place_drop(place);
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	s->place = *place;
	s->req = req;
	s->until_ns = scout_now_ns() + (wait < WAIT_NS ? wait : WAIT_NS);
	s->rpc.call.op = SCOUT_SFTP_STATVFS;
	s->rpc.call.path = s->place.remote;
	s->rpc.host = host;
	s->rpc.deadline_ns = s->until_ns;
	s->rpc.done = answered;
	scout_lock(&host->lock);
	TAILQ_INSERT_TAIL(&host->spaces, s, link);
	scout_unlock(&host->lock);
	/* The pool's thread looks after the deadline; it is told before s can be gone. */
	scout_pool_kick(&host->all->pool);
	scout_rpc_send(&s->rpc);
}

void scout_hosts_statfs(void *self, const char *path, struct scout_req *req)
{
	struct scout_result res = {0};
	struct scout_place place;
	int err = scout_place_of(self, path, &place);

	if (!err && place.host) {
		ask(&place, req);
		return;
	}
	if (!err && *path)
		err = -ENOENT;
	if (!err)
		scout_place_drop(&place);
	no_space(&res.space);
	scout_req_done(req, err, err ? NULL : &res);
}
