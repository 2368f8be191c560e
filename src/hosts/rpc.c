/* One remote call, or several in a row, from the first try to the outcome: placed on a session or
 * queued by the pool's policy, sent again when the session was lost, given up at the deadline, after
 * three attempts or when nobody wants it any more. A call that only reads does no harm when it is
 * sent twice; one that modifies is marked once, and is not sent again after it may have arrived.
 *
 * Locks: host->lock around the placing; done is called with none. */
#include <errno.h>
#include <string.h>

#include "hosts/hosts.h"
#include "scoutfs/log.h"

static void answered(struct scout_sftp_call *call, int err);

static bool modifies(const struct scout_sftp_call *call)
{
	switch (call->op) {
	case SCOUT_SFTP_OPEN:
		return call->flags & (SCOUT_SFTP_FLAG_CREAT | SCOUT_SFTP_FLAG_TRUNC);
	case SCOUT_SFTP_FSYNC:
	case SCOUT_SFTP_STATVFS:
	case SCOUT_SFTP_USERS_GROUPS:
		return false;
	default:
		return call->op >= SCOUT_SFTP_WRITE;
	}
}

static void note_change(struct scout_host *host)
{
	atomic_fetch_add(&host->changes, 1);
	atomic_store(&host->changed_ns, scout_now_ns());
}

static void note_round_trip_locked(struct scout_host *host, const struct scout_sftp_call *call)
{
	uint64_t took_ns = scout_now_ns() - call->sent_ns,
		 least = atomic_load(&host->round_trip_ns);

	if (call->sent_ns && (!least || took_ns < least))
		atomic_store(&host->round_trip_ns, took_ns);
}

static bool opens_handle(const struct scout_rpc *rpc)
{
	return rpc->call.op == SCOUT_SFTP_OPEN || rpc->call.op == SCOUT_SFTP_OPENDIR;
}

/* Whether any of those that begin with first does. */
static bool opens_any(const struct scout_rpc *first)
{
	bool opens = false;

	for (const struct scout_rpc *rpc = first; rpc; rpc = rpc->then)
		opens |= opens_handle(rpc);
	return opens;
}

/* Submits what has no answer yet of the calls that begin with first. False: the session is over, and
 * took none. */
static bool submit_locked(struct scout_session *s, struct scout_rpc *first)
{
	for (struct scout_rpc *rpc = first; rpc; rpc = rpc->then) {
		if (rpc->settled)
			continue;
		rpc->first = first;
		rpc->session = s;
		rpc->err = -ECONNRESET;
		rpc->call.sent_ns = 0;
		rpc->call.done = answered;
		if (modifies(&rpc->call))
			note_change(s->host);
		if (s->load.state != SCOUT_SESSION_UP || scout_sftp_submit(s->sftp, &rpc->call)) {
			/* It is over, and about to tell why. */
			s->load.state = SCOUT_SESSION_LOST;
			break;
		}
		s->load.calls++;
		s->load.opening += opens_handle(rpc);
		first->pending++;
	}
	return first->pending > 0;
}

/* Sends rpc, queues it, or returns the errno with which it fails at once. After 0 rpc may be gone. */
static int place_locked(struct scout_host *host, struct scout_rpc *rpc, bool *want)
{
	struct scout_hosts_counters *counters = &host->all->counters;
	bool fresh = rpc->attempts == 1 && !rpc->waited;

	for (;;) {
		struct scout_route_query q;
		struct scout_route r;
		struct scout_session *s;

		scout_host_query_locked(host, opens_any(rpc), scout_now_ns(), &q);
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
		if (submit_locked(s, rpc))
			return 0;
	}
}

static void reset(struct scout_rpc *first)
{
	first->pending = 0;
	for (struct scout_rpc *rpc = first; rpc; rpc = rpc->then) {
		rpc->settled = rpc->stray = rpc->unknown = false;
		rpc->session = NULL;
		rpc->host = first->host;
		rpc->err = 0;
	}
}

/* Ends what has no answer with err, and tells the first error in the order of the calls; they are gone
 * after this. */
static void over(struct scout_rpc *first, int err)
{
	struct scout_host *host = first->bound ? NULL : first->host;
	int ret = 0;

	for (struct scout_rpc *rpc = first; rpc; rpc = rpc->then) {
		if (!rpc->settled)
			rpc->err = err;
		if (!ret)
			ret = rpc->err;
	}
	first->done(first, ret);
	if (host)
		scout_host_unref(host);
}

static void send_rest(struct scout_rpc *rpc)
{
	struct scout_host *host = rpc->host;
	bool want = false;
	int err = 0;

	rpc->attempts++;

	scout_lock(&host->lock);
	if (atomic_load(&host->all->stopping))
		err = -ESHUTDOWN;
	else if (rpc->req && scout_req_unwanted(rpc->req))
		err = -EINTR;
	else
		err = place_locked(host, rpc, &want);
	if (want) {
		scout_host_grow_locked(host, 1);
		scout_host_ref(host); /* it may be over before the pool is asked */
	}
	scout_unlock(&host->lock);

	if (want) {
		scout_pool_want(host);
		scout_host_unref(host);
	}
	if (err)
		over(rpc, err);
}

void scout_rpc_send(struct scout_rpc *rpc)
{
	const struct scout_host_config *config = scout_host_ref(rpc->host)->config;

	rpc->bound = false;
	if (!rpc->deadline_ns)
		rpc->deadline_ns =
		    scout_now_ns() + config->connect_timeout_ns + config->request_timeout_ns;
	reset(rpc);
	send_rest(rpc);
}

void scout_rpc_send_on(struct scout_session *s, struct scout_rpc *rpc)
{
	struct scout_host *host = s->host;
	bool sent = false;

	rpc->host = host;
	rpc->bound = true;
	reset(rpc);

	scout_lock(&host->lock);
	if (s->load.state == SCOUT_SESSION_UP)
		sent = submit_locked(s, rpc);
	scout_unlock(&host->lock);

	if (!sent) {
		rpc->session = s;
		over(rpc, -ECONNRESET);
	}
}

bool scout_rpc_send_apart(struct scout_rpc *rpc, const struct scout_load *const *taken,
			  unsigned ntaken, unsigned more)
{
	struct scout_host *host = rpc->host;
	struct scout_route_query q;
	struct scout_route r;
	bool sent = false;

	rpc->bound = true;
	reset(rpc);

	scout_lock(&host->lock);
	scout_host_query_locked(host, opens_any(rpc), scout_now_ns(), &q);
	r = scout_policy_route_apart(&q, taken, ntaken, more);
	if (atomic_load(&host->all->stopping))
		r.want = 0;
	if (r.kind == SCOUT_ROUTE_SESSION)
		sent = submit_locked(
		    SCOUT_CONTAINER(host->sessions[r.index], struct scout_session, load), rpc);
	scout_host_grow_locked(host, r.want);
	scout_unlock(&host->lock);

	if (r.want)
		scout_pool_want(host);
	return sent;
}

/* An open that waits for a handle keeps the opens behind it waiting, and nothing else. */
bool scout_rpc_dispatch_locked(struct scout_host *host)
{
	struct scout_rpc *rpc, *passed = NULL;
	bool want = false, more = false;

	while ((rpc = passed ? TAILQ_NEXT(passed, link) : TAILQ_FIRST(&host->queue))) {
		bool opens = opens_any(rpc);
		struct scout_route_query q;
		struct scout_route r;

		if (opens && passed) {
			passed = rpc;
			continue;
		}
		scout_host_query_locked(host, opens, scout_now_ns(), &q);
		r = scout_policy_route(&q);
		if (r.kind != SCOUT_ROUTE_SESSION) {
			scout_host_grow_locked(host, r.want);
			want |= r.want;
			if (!opens || scout_host_state_locked(host) != SCOUT_HOST_UP)
				break;
			passed = rpc;
			continue;
		}
		TAILQ_REMOVE(&host->queue, rpc, link);
		host->queued--;
		/* What waited for the first connect is no reason for a second session. */
		(void)place_locked(host, rpc, &more);
	}
	return want;
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

/* Every call that begins with first has its answer, or lost its session. */
static void all_answered(struct scout_rpc *first)
{
	bool lost = false, unknown = false;
	int err;

	for (struct scout_rpc *rpc = first; rpc; rpc = rpc->then) {
		bool left = !rpc->settled && rpc->call.sent_ns;

		lost |= !rpc->settled;
		rpc->stray |= left;
		rpc->unknown = left && rpc->once;
		unknown |= rpc->unknown;
	}
	if (!lost || first->bound) {
		over(first, -ECONNRESET);
		return;
	}
	err = unknown ? -EIO : give_up_reason(first);
	if (err) {
		over(first, err);
		return;
	}
	scout_count(&first->host->all->counters.retries, 1);
	send_rest(first);
}

static void answered(struct scout_sftp_call *call, int err)
{
	struct scout_rpc *rpc = SCOUT_CONTAINER(call, struct scout_rpc, call), *first = rpc->first;
	struct scout_session *s = rpc->session;
	struct scout_host *host = rpc->host;
	struct scout_hosts *all = host->all;
	bool want = false, kick, last;

	if (modifies(call))
		note_change(host);
	scout_lock(&host->lock);
	s->load.calls--;
	s->load.opening -= opens_handle(rpc);
	s->load.last_used_ns = scout_now_ns();
	if (err == -ECONNRESET) {
		if (s->load.state == SCOUT_SESSION_UP)
			s->load.state = SCOUT_SESSION_LOST;
	} else if (!s->answered) {
		s->answered = true;
		host->failures = host->mute = 0;
	}
	if (err != -ECONNRESET)
		note_round_trip_locked(host, call);
	if (!err && opens_handle(rpc)) {
		s->load.handles++;
		s->load.pinned += call->op == SCOUT_SFTP_OPENDIR;
		s->load.draining =
		    false; /* it may stay open for long, and others would wait for it */
	}
	if (!TAILQ_EMPTY(&host->queue))
		want = scout_rpc_dispatch_locked(host);
	kick = scout_session_awaited_locked(s);
	rpc->err = err;
	rpc->settled = err != -ECONNRESET;
	last = --first->pending == 0;
	scout_unlock(&host->lock);

	if (want)
		scout_pool_want(host);
	if (kick)
		scout_pool_kick(&all->pool);

	if (last)
		all_answered(first);
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
		over(rpc, err);
	}
}

void scout_rpc_log(const struct scout_rpc *rpc, const char *what, const char *path, int err)
{
	bool unknown = false;
	char name[512];

	/* A host that is down was one line when it went down, not one for each who asks. */
	if (!err || err == -EINTR || err == -ESHUTDOWN || !rpc->session)
		return;
	if (err == -ENOENT || err == -EEXIST || err == -ENOTEMPTY)
		return;
	for (const struct scout_rpc *one = rpc; one; one = one->then)
		unknown |= one->unknown;
	scout_warn("%s: %s %s: %s (%s)", rpc->host->config->name, what,
		   scout_format_name(name, sizeof name, path),
		   unknown ? "the connection was lost: not known whether it was done"
			   : strerrordesc_np(-err),
		   strerrorname_np(-err));
}
