/* A remote handle's life: taken over from the answer of OPEN or OPENDIR, shared by the calls on it,
 * closed after the last of them. CLOSE is not waited for by anybody. The reference count crosses
 * from FUSE's threads to the session's; the rest is immutable or under host->lock. */
#include <stdlib.h>

#include "hosts/hosts.h"

static void closed(struct scout_rpc *rpc, int err)
{
	struct scout_handle *h = SCOUT_CONTAINER(rpc, struct scout_handle, close);
	struct scout_host *host = h->session->host;

	(void)err; /* a handle that cannot be closed is the server's to forget */
	if (h->bulk) {
		scout_lock(&host->lock);
		h->session->load.bulk--;
		h->session->load.stripes -= h->stripe;
		scout_unlock(&host->lock);
	}
	scout_session_drop_handle(h->session, h->pinned);
	free(h);
}

struct scout_handle *scout_handle_new(struct scout_host *host)
{
	struct scout_handle *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	atomic_init(&h->refs, 1);
	h->close.call.op = SCOUT_SFTP_CLOSE;
	h->close.call.handle = &h->remote;
	h->close.host = host;
	h->close.done = closed;
	return h;
}

void scout_handle_opened(struct scout_handle *h, const struct scout_rpc *rpc)
{
	h->session = rpc->session;
	h->pinned = rpc->call.op == SCOUT_SFTP_OPENDIR;
	h->remote = rpc->call.new_handle;
}

struct scout_handle *scout_handle_ref(struct scout_handle *h)
{
	atomic_fetch_add(&h->refs, 1);
	return h;
}

void scout_handle_unref(struct scout_handle *h)
{
	if (!h || atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	if (h->session)
		scout_rpc_send_on(h->session, &h->close);
	else
		free(h);
}

void scout_handle_set_bulk(struct scout_handle *h)
{
	struct scout_host *host = h->session->host;
	struct scout_route_query q;
	bool want = false;

	scout_lock(&host->lock);
	if (!h->bulk) {
		h->bulk = true;
		scout_host_query_locked(host, false, scout_now_ns(), &q);
		want = ++h->session->load.bulk > 1 && !h->stripe && scout_policy_can_grow(&q);
		h->session->load.stripes += h->stripe;
		scout_host_grow_locked(host, want);
	}
	scout_unlock(&host->lock);
	if (want)
		scout_pool_want(host);
}
