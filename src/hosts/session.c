/* A host's state: its sessions from start to end, what their events mean for it, and what happens
 * to the calls that wait. A host has no state variable: it is up, connecting, down or idle by what
 * its sessions and its last connect say.
 *
 * Locks: host->lock; events come from the sessions' threads with none, and calls are completed and
 * lines logged after it is given back.
 *
 * The states:
 *              1                   2
 *    idle ──────────► connecting ──────────► up ──┐
 *      ▲            ┌──┤  │   ▲               │▲ 4 │
 *      │          3 └─►┘  │   └────── 5 ──────┤└───┘
 *      │                6 │   ▲               │
 *      │                  ▼   │ 7             │
 *      │                  down ◄───── 8 ──────┤
 *      └──────────────────────── 9 ───────────┘
 *
 * 1 a request; 2 the first session is up; 3 cut while connecting, of a host that was well, up to 4 times in
 * a row; 4 a further session comes, is lost or refused; 5 the last one is lost, and requests wait; 6 refused,
 * timed out, no key, cut again; 7 a request after the back-off, or after a touch; 8 lost before any answer,
 * twice in a row; 9 idle_timeout, its place is needed, or lost with nobody waiting. A retired host goes from
 * up to idle as soon as nothing is open. tests/unit/hosts/test_states.c goes each way. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/ahead.h"
#include "hosts/early.h"
#include "hosts/hosts.h"
#include "hosts/idmap.h"
#include "scoutfs/log.h"

static void session_up(void *arg, const struct scout_sftp_server *server, uint64_t connect_ns);
static void session_down(void *arg, int err, const char *reason);
static const struct scout_sftp_events events = {.up = session_up, .down = session_down};

struct scout_host *scout_host_new(struct scout_hosts *all, struct scout_host_config *config)
{
	struct scout_host *host = calloc(1, sizeof *host);

	if (!host) {
		scout_host_config_free(config);
		return NULL;
	}
	host->config = config;
	host->all = all;
	atomic_init(&host->refs, 1);
	scout_mutex_init(&host->lock, SCOUT_LOCK_HOST);
	TAILQ_INIT(&host->queue);
	TAILQ_INIT(&host->files);
	TAILQ_INIT(&host->dirs);
	TAILQ_INIT(&host->spaces);
	TAILQ_INIT(&host->early);
	scout_idmap_init(host);
	host->sessions = calloc(config->max_sessions_per_host, sizeof *host->sessions);
	host->peer = scout_sftp_peer_new();
	if (!host->sessions || !host->peer ||
	    scout_share_new_of_many(all->budget, 4, &host->share)) {
		scout_host_free(host);
		return NULL;
	}
	return host;
}

void scout_host_free(struct scout_host *host)
{
	scout_ahead_forget(host);
	scout_early_forget(host);
	scout_share_free(host->share);
	scout_sftp_peer_free(host->peer);
	free(host->sessions);
	scout_mutex_destroy(&host->lock);
	scout_host_config_free(host->config);
	free(host);
}

void scout_host_retire(struct scout_host *host)
{
	atomic_store(&host->retired, true);
	scout_sftp_peer_keep(host->peer);
}

void scout_host_retry(struct scout_host *host)
{
	scout_lock(&host->lock);
	host->failures = host->grow_refused = host->mute = 0;
	host->down_until_ns = host->grow_after_ns = 0;
	scout_unlock(&host->lock);
}

bool scout_host_is_far(const struct scout_host *host)
{
	return atomic_load(&host->round_trip_ns) >= SCOUT_FAR_NS;
}

bool scout_host_is_calm(const struct scout_host *host, uint64_t now_ns)
{
	uint64_t changed_ns = atomic_load(&host->changed_ns),
		 timeout_ns = host->config->attr_timeout_ns;

	/* now_ns may be from before */
	return !changed_ns || (now_ns > changed_ns && now_ns - changed_ns > timeout_ns);
}

bool scout_host_in_use(struct scout_host *host)
{
	bool used;

	scout_lock(&host->lock);
	used = host->queued || !TAILQ_EMPTY(&host->files);
	for (unsigned i = 0; i < host->nsessions; i++)
		used |= !scout_policy_idle(host->sessions[i]);
	scout_unlock(&host->lock);
	return used;
}

void scout_host_query_locked(struct scout_host *host, bool opens, uint64_t now_ns,
			     struct scout_route_query *ret)
{
	*ret = (struct scout_route_query){
	    .sessions = host->sessions,
	    .count = host->nsessions,
	    .max = host->config->max_sessions_per_host,
	    .down_err = host->down_err,
	    .down_until_ns = host->down_until_ns,
	    .grow_after_ns = host->grow_after_ns,
	    .opens = opens,
	    .max_handles = host->server.open_handles,
	    .now_ns = now_ns,
	};
}

static unsigned count_locked(const struct scout_host *host, enum scout_session_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < host->nsessions; i++)
		n += host->sessions[i]->state == state;
	return n;
}

enum scout_host_state scout_host_state_locked(struct scout_host *host)
{
	if (count_locked(host, SCOUT_SESSION_UP))
		return SCOUT_HOST_UP;
	if (host->nsessions || host->queued)
		return SCOUT_HOST_CONNECTING;
	return host->down_err ? SCOUT_HOST_DOWN : SCOUT_HOST_IDLE;
}

const char *scout_host_state_name(enum scout_host_state state)
{
	static const char *const names[] = {"idle", "connecting", "up", "down"};

	return names[state];
}

void scout_host_grow_locked(struct scout_host *host, unsigned sessions)
{
	if (host->grow < sessions)
		host->grow = sessions;
}

int scout_session_start_locked(struct scout_host *host, uint64_t now_ns)
{
	struct scout_session *s = calloc(1, sizeof *s);
	int err;

	if (!s)
		return -ENOMEM;
	s->host = scout_host_ref(host);
	s->connecting = true;
	s->load.state = SCOUT_SESSION_CONNECTING;
	s->load.last_used_ns = now_ns;
	host->grow = host->nsessions && host->grow ? host->grow - 1 : 0;
	host->next_start_ns =
	    now_ns + (host->grow ? SCOUT_POOL_TOGETHER_MS : SCOUT_POOL_PACE_MS) * SCOUT_NS_PER_MS;
	host->sessions[host->nsessions++] = &s->load;
	host->connects++;
	err = scout_sftp_start(host->all->engine, host->config, &events, s, host->peer, &s->sftp);
	if (err) {
		host->nsessions--;
		atomic_fetch_sub(&host->refs, 1); /* the caller has one */
		free(s);
	}
	return err;
}

static void detach_locked(struct scout_session *s)
{
	struct scout_host *host = s->host;

	for (unsigned i = 0; i < host->nsessions; i++) {
		if (host->sessions[i] == &s->load) {
			host->sessions[i] = host->sessions[--host->nsessions];
			break;
		}
	}
	s->load.state = SCOUT_SESSION_CLOSING;
}

void scout_session_close_locked(struct scout_session *s)
{
	detach_locked(s);
	scout_sftp_stop(s->sftp);
}

static void session_free(struct scout_session *s)
{
	struct scout_host *host = s->host;

	free(s);
	scout_host_unref(host);
}

void scout_session_joined(struct scout_session *s)
{
	struct scout_host *host = s->host;
	bool last;

	scout_lock(&host->lock);
	s->sftp = NULL;
	s->joined = true;
	last = !s->load.handles;
	scout_unlock(&host->lock);
	if (last)
		session_free(s);
}

void scout_session_drop_handle(struct scout_session *s, bool pinned)
{
	struct scout_host *host = s->host;
	struct scout_pool *pool = &host->all->pool;
	bool last, kick, want = false;

	scout_lock(&host->lock);
	s->load.handles--;
	s->load.pinned -= pinned;
	s->load.last_used_ns = scout_now_ns();
	last = s->joined && !s->load.handles;
	if (!TAILQ_EMPTY(&host->queue)) /* perhaps for that handle */
		want = scout_rpc_dispatch_locked(host);
	if (want)
		scout_host_ref(host); /* s may be gone before the pool is asked */
	kick = scout_session_awaited_locked(s);
	scout_unlock(&host->lock);
	if (want) {
		scout_pool_want(host);
		scout_host_unref(host);
	}
	if (last)
		session_free(s);
	if (kick)
		scout_pool_kick(pool);
}

bool scout_session_awaited_locked(const struct scout_session *s)
{
	struct scout_host *host = s->host;

	return scout_policy_idle(&s->load) &&
	       (host->retired || s->load.draining || atomic_load(&host->all->pool.starved));
}

static void session_up(void *arg, const struct scout_sftp_server *server, uint64_t connect_ns)
{
	struct scout_session *s = arg;
	struct scout_host *host = s->host;
	struct scout_hosts *all = host->all;
	bool want = false, was_down;

	s->connecting = false;
	scout_lock(&host->lock);
	was_down = host->down_err != 0;
	if (s->load.state == SCOUT_SESSION_CONNECTING) {
		s->load.state = SCOUT_SESSION_UP;
		s->load.last_used_ns = scout_now_ns();
	}
	s->server = host->server = *server;
	scout_idmap_logged_in_locked(host, server);
	host->down_err = 0;
	host->grow_refused = host->cuts = 0;
	host->reached = true;
	host->last_connect_ns = connect_ns;
	want = scout_rpc_dispatch_locked(host);
	scout_unlock(&host->lock);

	scout_count(&all->counters.connects[0], 1);
	scout_hist_add(&all->counters.connect_latency, connect_ns);
	scout_log(was_down ? SCOUT_LOG_INFO : SCOUT_LOG_DEBUG, "%s: connected in %llu ms",
		  host->config->name, (unsigned long long)(connect_ns / SCOUT_NS_PER_MS));
	if (want)
		scout_pool_want(host);
	scout_idmap_ask_names(host);
	scout_pool_connected(&all->pool);
}

static void remember_locked(struct scout_host *host, int err, const char *reason)
{
	host->last_err = err;
	host->last_err_wall_ns = scout_wall_ns();
	(void)snprintf(host->last_reason, sizeof host->last_reason, "%s",
		       reason ? reason : strerrordesc_np(-err));
}

void scout_host_fail_locked(struct scout_host *host, int err, const char *reason,
			    struct scout_rpc_list *failed)
{
	/* While other sessions work, only growing has to wait. */
	bool further = host->nsessions > 0;
	uint64_t now = scout_now_ns(), until;
	unsigned times;

	remember_locked(host, err, reason);
	host->connect_failures++;
	host->grow = 0;
	if (further && now < host->grow_after_ns)
		return; /* it began beside one that has been counted */
	times = further ? ++host->grow_refused : ++host->failures;
	until = now + scout_backoff_ns(times, SCOUT_POOL_BACKOFF_MIN_S * SCOUT_NS_PER_S,
				       SCOUT_POOL_BACKOFF_MAX_S * SCOUT_NS_PER_S, scout_random());
	host->grow_after_ns = until;
	if (further)
		return;
	host->cuts = 0;
	host->down_until_ns = until;
	if (!host->down_err)
		host->down_wall_ns = host->last_err_wall_ns;
	host->down_err = err;
	TAILQ_CONCAT(failed, &host->queue, link);
	host->queued = 0;
}

/* A server that has too many logins under way cuts some at random, and so may any middlebox: of a host
 * that was well so far that says nothing yet. */
static bool may_be_chance_locked(const struct scout_host *host, int err)
{
	return err == -ECONNRESET && !host->nsessions && !host->failures &&
	       host->cuts + 1 < SCOUT_POOL_CUT_TRIES;
}

static void note_cut_locked(struct scout_host *host, int err, const char *reason)
{
	remember_locked(host, err, reason);
	host->connect_failures++;
	host->next_start_ns =
	    scout_now_ns() + scout_backoff_ns(++host->cuts, SCOUT_POOL_PACE_MS * SCOUT_NS_PER_MS,
					      SCOUT_NS_PER_S, scout_random());
}

/* What the end of a session means for its host; fills failed. Returns true when a new session is
 * wanted. */
static bool ended_locked(struct scout_session *s, int err, const char *reason,
			 struct scout_rpc_list *failed)
{
	struct scout_host *host = s->host;

	if (s->load.state == SCOUT_SESSION_CLOSING)
		return !TAILQ_EMPTY(&host->queue) && !host->nsessions;
	detach_locked(s);
	if (s->connecting && may_be_chance_locked(host, err)) {
		note_cut_locked(host, err, reason);
		return !TAILQ_EMPTY(&host->queue);
	}
	/* A session that came up and ended before it answered anything may have been cut by chance; a
	 * second one in a row is no better than a failed connect. */
	if (err && (s->connecting || (!s->answered && !host->nsessions && ++host->mute > 1))) {
		scout_host_fail_locked(host, err, reason, failed);
		return false;
	}
	if (err)
		remember_locked(host, err, reason);
	return !TAILQ_EMPTY(&host->queue);
}

static void session_down(void *arg, int err, const char *reason)
{
	struct scout_session *s = arg;
	struct scout_host *host = s->host;
	struct scout_hosts *all = host->all;
	struct scout_rpc_list failed = TAILQ_HEAD_INITIALIZER(failed);
	bool want, connecting = s->connecting, asked, down, further;
	char wait[32];
	uint64_t now = scout_now_ns(), until;

	scout_lock(&host->lock);
	asked = s->load.state == SCOUT_SESSION_CLOSING;
	want = ended_locked(s, err, reason, &failed);
	further = host->nsessions > 0;
	/* what waited for a further session goes to those that there are */
	if (connecting && further)
		want |= scout_rpc_dispatch_locked(host);
	until = host->down_until_ns > now ? host->down_until_ns - now : 0;
	down = host->down_err && !further && until;
	scout_unlock(&host->lock);

	if (err && connecting)
		scout_count(&all->counters.connects[-err % SCOUT_ERRNO_MAX], 1);
	if (err && !connecting)
		scout_count(&all->counters.lost, 1);
	if (err && !asked && down)
		scout_warn("%s: down: %s (%s), next try in %s", host->config->name, reason,
			   strerrorname_np(-err), scout_format_duration(wait, until));
	else if (err && !asked)
		scout_warn("%s: %s: %s (%s)", host->config->name,
			   !connecting ? "session lost"
			   : further   ? "no further session"
				       : "connect failed, to be tried again",
			   reason, strerrorname_np(-err));
	scout_rpc_fail_all(&failed, err);
	if (connecting)
		scout_pool_connected(&all->pool);
	if (want)
		scout_pool_want(host);
	scout_pool_ended(s, asked);
}
