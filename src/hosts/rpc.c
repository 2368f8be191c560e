/* One remote call from the first try to its outcome: placed on a session or queued by the pool's
 * policy, sent again when its session was lost, given up at its deadline, after three attempts or
 * when nobody wants it any more. All our calls only read, so sending one twice does no harm.
 *
 * Locks: host->lock around the placing; done is called with none. */
#include <errno.h>
#include <string.h>

#include "hosts/hosts.h"
#include "scoutfs/log.h"

static void answered(struct scout_sftp_call *call, int err);

/* Sends rpc, queues it, or returns the errno with which it fails at once. After 0 rpc may be gone. */
static int place_locked(struct scout_host *host, struct scout_rpc *rpc, bool *want)
{
	struct scout_hosts_counters *counters = &host->all->counters;
	bool fresh = rpc->attempts == 1 && !rpc->waited;

	for (;;) {
		struct scout_route_query q;
		struct scout_route r;
		struct scout_session *s;

		scout_host_query_locked(host, scout_now_ns(), &q);
		r = scout_policy_route(&q);
		*want = r.want;
		if (fresh)
			scout_count(
			    r.kind == SCOUT_ROUTE_SESSION ? &counters->hits : &counters->misses, 1);
		fresh = false;
		if (r.kind == SCOUT_ROUTE_FAIL)
			return host->down_err;
		if (r.kind == SCOUT_ROUTE_QUEUE) {
			rpc->waited = true;
			TAILQ_INSERT_TAIL(&host->queue, rpc, link);
			host->queued++;
			return 0;
		}
		s = SCOUT_CONTAINER(host->sessions[r.index], struct scout_session, load);
		rpc->session = s;
		s->load.calls++;
		if (scout_sftp_submit(s->sftp, &rpc->call) == 0)
			return 0;
		/* It is over, and about to tell why. */
		s->load.calls--;
		s->load.state = SCOUT_SESSION_LOST;
	}
}

void scout_rpc_send(struct scout_rpc *rpc)
{
	struct scout_host *host = rpc->host;
	bool want = false;
	int err = 0;

	if (!rpc->deadline_ns)
		rpc->deadline_ns = scout_now_ns() + host->config->connect_timeout_ns +
				   host->config->request_timeout_ns;
	rpc->attempts++;
	rpc->session = NULL;
	rpc->call.done = answered;

	scout_lock(&host->lock);
	if (atomic_load(&host->all->stopping))
		err = -ESHUTDOWN;
	else
		err = place_locked(host, rpc, &want);
	if (want)
		host->grow = true;
	scout_unlock(&host->lock);

	if (want)
		scout_pool_want(host);
	if (err)
		rpc->done(rpc, err);
}

void scout_rpc_send_on(struct scout_session *s, struct scout_rpc *rpc)
{
	struct scout_host *host = s->host;
	int err = -ECONNRESET;

	rpc->host = host;
	rpc->session = s;
	rpc->bound = true;
	rpc->call.done = answered;

	scout_lock(&host->lock);
	if (s->load.state == SCOUT_SESSION_UP) {
		s->load.calls++;
		err = scout_sftp_submit(s->sftp, &rpc->call);
		if (err) {
			s->load.calls--;
			s->load.state = SCOUT_SESSION_LOST;
		}
	}
	scout_unlock(&host->lock);

	if (err)
		rpc->done(rpc, -ECONNRESET);
}

bool scout_rpc_dispatch_locked(struct scout_host *host)
{
	struct scout_rpc *rpc;
	bool want = false;

	while ((rpc = TAILQ_FIRST(&host->queue))) {
		struct scout_route_query q;
		struct scout_route r;

		scout_host_query_locked(host, scout_now_ns(), &q);
		r = scout_policy_route(&q);
		if (r.kind != SCOUT_ROUTE_SESSION) {
			host->grow |= r.want;
			return r.want;
		}
		TAILQ_REMOVE(&host->queue, rpc, link);
		host->queued--;
		/* What waited for the first connect is no reason for a second session. */
		(void)place_locked(host, rpc, &want);
	}
	return false;
}

static int give_up_reason(const struct scout_rpc *rpc)
{
	if (atomic_load(&rpc->host->all->stopping))
		return -ESHUTDOWN;
	if (rpc->req && scout_req_unwanted(rpc->req))
		return -EINTR;
	if (scout_now_ns() >= rpc->deadline_ns)
		return -ETIMEDOUT;
	if (rpc->attempts >= SCOUT_RPC_ATTEMPTS)
		return -EIO;
	return 0;
}

static bool opens_handle(const struct scout_rpc *rpc)
{
	return rpc->call.op == SCOUT_SFTP_OPEN || rpc->call.op == SCOUT_SFTP_OPENDIR;
}

static void answered(struct scout_sftp_call *call, int err)
{
	struct scout_rpc *rpc = SCOUT_CONTAINER(call, struct scout_rpc, call);
	struct scout_session *s = rpc->session;
	struct scout_host *host = rpc->host;
	struct scout_hosts *all = host->all;
	bool want = false, idle;

	scout_lock(&host->lock);
	s->load.calls--;
	s->load.last_used_ns = scout_now_ns();
	if (err == -ECONNRESET) {
		if (s->load.state == SCOUT_SESSION_UP)
			s->load.state = SCOUT_SESSION_LOST;
	} else if (!s->answered) {
		s->answered = true;
		host->failures = host->mute = 0;
	}
	if (!err && opens_handle(rpc)) {
		s->load.handles++;
		s->load.dirs += call->op == SCOUT_SFTP_OPENDIR;
	}
	if (!TAILQ_EMPTY(&host->queue))
		want = scout_rpc_dispatch_locked(host);
	idle = scout_policy_idle(&s->load);
	scout_unlock(&host->lock);

	if (want)
		scout_pool_want(host);
	if (idle && atomic_load(&all->pool.starved))
		scout_pool_kick(&all->pool);

	if (err == -ECONNRESET && !rpc->bound) {
		err = give_up_reason(rpc);
		if (!err) {
			scout_count(&all->counters.retries, 1);
			scout_rpc_send(rpc);
			return;
		}
	}
	rpc->done(rpc, err);
}

void scout_rpc_expire_locked(struct scout_host *host, uint64_t now_ns,
			     struct scout_rpc_list *failed, uint64_t *next_ns)
{
	struct scout_rpc *rpc = TAILQ_FIRST(&host->queue), *next;

	for (; rpc; rpc = next) {
		next = TAILQ_NEXT(rpc, link);
		if (now_ns < rpc->deadline_ns && !(rpc->req && scout_req_unwanted(rpc->req))) {
			if (rpc->deadline_ns < *next_ns)
				*next_ns = rpc->deadline_ns;
			continue;
		}
		TAILQ_REMOVE(&host->queue, rpc, link);
		host->queued--;
		TAILQ_INSERT_TAIL(failed, rpc, link);
	}
}

void scout_rpc_fail_all(struct scout_rpc_list *list, int err)
{
	struct scout_rpc *rpc;

	while ((rpc = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, rpc, link);
		rpc->done(rpc, err);
	}
}

void scout_rpc_log(const struct scout_rpc *rpc, const char *what, const char *path, int err)
{
	char name[512];

	/* A host that is down was one line when it went down, not one for each who asks. */
	if (!err || err == -ENOENT || err == -EINTR || err == -ESHUTDOWN || !rpc->session)
		return;
	scout_warn("%s: %s %s: %s (%s)", rpc->host->config->name, what,
		   scout_format_name(name, sizeof name, path), strerrordesc_np(-err),
		   strerrorname_np(-err));
}
