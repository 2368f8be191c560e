/* The pool: one thread that starts sessions for the hosts in line, closes idle ones, makes room at
 * the limit, ends what waited too long, and joins the sessions that ended. It sleeps until the next
 * of these is due or somebody kicks it.
 *
 * Only this thread starts sessions, so the limits hold without a reservation. Locks: pool->lock,
 * and one host->lock at a time inside it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/early.h"
#include "hosts/hosts.h"
#include "hosts/space.h"
#include "scoutfs/log.h"

static void kick_locked(struct scout_pool *pool)
{
	pool->kicked = true;
	pthread_cond_signal(&pool->wake);
}

void scout_pool_kick(struct scout_pool *pool)
{
	scout_lock(&pool->lock);
	kick_locked(pool);
	scout_unlock(&pool->lock);
}

/* Whoever may be well goes before the hosts whose last connect failed. */
static void get_in_line_locked(struct scout_pool *pool, struct scout_host *host)
{
	struct scout_host *before = NULL;

	scout_host_ref(host);
	scout_lock(&host->lock);
	host->suspect = host->failures > 0;
	scout_unlock(&host->lock);
	host->in_line = true;
	host->in_line_ns = scout_now_ns();
	if (!host->suspect)
		TAILQ_FOREACH (before, &pool->line, line)
			if (before->suspect)
				break;
	if (before)
		TAILQ_INSERT_BEFORE(before, host, line);
	else
		TAILQ_INSERT_TAIL(&pool->line, host, line);
}

void scout_pool_want(struct scout_host *host)
{
	struct scout_pool *pool = &host->all->pool;

	scout_lock(&pool->lock);
	if (!host->in_line)
		get_in_line_locked(pool, host);
	kick_locked(pool);
	scout_unlock(&pool->lock);
}

void scout_pool_limit(struct scout_pool *pool, unsigned max_sessions, unsigned max_connecting)
{
	scout_lock(&pool->lock);
	pool->max_sessions = max_sessions;
	pool->max_connecting = max_connecting;
	kick_locked(pool);
	scout_unlock(&pool->lock);
}

void scout_pool_connected(struct scout_pool *pool)
{
	scout_lock(&pool->lock);
	pool->connecting--;
	kick_locked(pool);
	scout_unlock(&pool->lock);
}

void scout_pool_ended(struct scout_session *s, bool asked)
{
	struct scout_pool *pool = &s->host->all->pool;

	scout_lock(&pool->lock);
	TAILQ_INSERT_TAIL(&pool->ended, s, ended);
	/* Lost ones free their place as well, but nobody counted on that. */
	if (!asked)
		pool->ending++;
	kick_locked(pool);
	scout_unlock(&pool->lock);
}

static void join_ended(struct scout_pool *pool)
{
	struct scout_session *s;

	for (;;) {
		scout_lock(&pool->lock);
		s = TAILQ_FIRST(&pool->ended);
		if (s)
			TAILQ_REMOVE(&pool->ended, s, ended);
		scout_unlock(&pool->lock);
		if (!s)
			return;
		scout_sftp_join(s->sftp);
		scout_session_joined(s);
		scout_lock(&pool->lock);
		pool->sessions--;
		pool->ending--;
		scout_unlock(&pool->lock);
	}
}

static struct scout_session *session_of(struct scout_load *load)
{
	return SCOUT_CONTAINER(load, struct scout_session, load);
}

/* Closes the session that has been idle longest, or else resting longest, under pool->lock. */
static bool evict_locked(struct scout_hosts *all, uint64_t now)
{
	struct scout_host *host = NULL, *victim = NULL;
	uint64_t oldest = UINT64_MAX;
	bool closed = false, found_idle = false;

	while ((host = scout_table_next(all, host))) {
		bool found = false;

		scout_lock(&host->lock);
		for (unsigned k = 0; k < host->nsessions; k++) {
			struct scout_load *load = host->sessions[k];
			bool idle = scout_policy_idle(load);

			if (!idle && (found_idle || !scout_policy_rests(load, now)))
				continue;
			if (idle == found_idle && load->last_used_ns >= oldest)
				continue;
			found_idle = idle;
			oldest = load->last_used_ns;
			found = true;
		}
		scout_unlock(&host->lock);
		if (found) {
			if (victim)
				scout_host_unref(victim);
			victim = scout_host_ref(host);
		}
	}
	if (!victim)
		return false;
	scout_lock(&victim->lock);
	for (unsigned k = 0; k < victim->nsessions && !closed; k++) {
		struct scout_load *load = victim->sessions[k];

		/* Used since we looked: whoever waits will be told when it falls idle again. */
		if (load->last_used_ns != oldest ||
		    !(scout_policy_idle(load) || scout_policy_rests(load, now)))
			continue;
		scout_session_close_locked(session_of(load));
		closed = true;
	}
	scout_unlock(&victim->lock);
	scout_host_unref(victim);
	if (closed) {
		all->pool.ending++;
		scout_count(&all->counters.evicted, 1);
	}
	return closed;
}

static unsigned taking_calls_locked(const struct scout_host *host)
{
	unsigned n = 0;

	for (unsigned i = 0; i < host->nsessions; i++)
		n += host->sessions[i]->state == SCOUT_SESSION_UP && !host->sessions[i]->draining;
	return n;
}

/* Of the sessions that may be drained, or NULL. */
static struct scout_load *least_open_locked(const struct scout_host *host)
{
	unsigned taking = taking_calls_locked(host);
	struct scout_load *best = NULL;

	for (unsigned i = 0; i < host->nsessions; i++) {
		struct scout_load *load = host->sessions[i];

		if (scout_policy_may_drain(load, taking - 1) &&
		    (!best || load->handles - load->stripes < best->handles - best->stripes))
			best = load;
	}
	return best;
}

/* Whom the limit keeps waiting for too long, under pool->lock: one busy session takes no more calls. The
 * host with the most sessions gives it, and of these the one with the least open. */
static void drain_locked(struct scout_hosts *all)
{
	struct scout_host *host = NULL, *giver = NULL;
	struct scout_load *load;
	unsigned most = 0;

	while ((host = scout_table_next(all, host))) {
		unsigned taking;

		scout_lock(&host->lock);
		taking = taking_calls_locked(host);
		if (taking > most && least_open_locked(host)) {
			if (giver)
				scout_host_unref(giver);
			giver = scout_host_ref(host);
			most = taking;
		}
		scout_unlock(&host->lock);
	}
	if (!giver)
		return;
	scout_lock(&giver->lock);
	load = least_open_locked(giver);
	if (load)
		load->draining = true;
	scout_unlock(&giver->lock);
	scout_host_unref(giver);
}

/* Under pool->lock; spoken: how many of the ending sessions' places are promised. Of several that were
 * asked for one starts, and the rest are for later. */
static enum scout_start start_one_locked(struct scout_host *host, unsigned spoken, uint64_t now,
					 uint64_t *next, int *err, struct scout_rpc_list *failed)
{
	struct scout_hosts *all = host->all;
	struct scout_pool *pool = &all->pool;
	struct scout_start_query q = {
	    .suspect = host->suspect,
	    .max = host->config->max_sessions_per_host,
	    .all = pool->sessions,
	    .all_max = pool->max_sessions,
	    .ending = pool->ending > spoken ? pool->ending - spoken : 0,
	    .connecting = pool->connecting,
	    .max_connecting = pool->max_connecting,
	    .now_ns = now,
	};
	enum scout_start start;
	unsigned growing = 0;

	scout_lock(&host->lock);
	q.count = host->nsessions;
	q.next_start_ns = host->next_start_ns;
	q.waiting = !TAILQ_EMPTY(&host->queue);
	q.grow = host->grow && host->nsessions;
	for (unsigned i = 0; i < host->nsessions; i++) {
		q.waiting &= host->sessions[i]->draining;
		growing += host->sessions[i]->state == SCOUT_SESSION_CONNECTING;
	}
	q.grow &= growing < SCOUT_POOL_GROWING_FAR;
	start = scout_policy_start(&q);
	if (start == SCOUT_START_DROP) {
		/* what waited for a further session goes to those that there are */
		if (q.grow && !TAILQ_EMPTY(&host->queue)) {
			host->grow_after_ns = now + SCOUT_POOL_PATIENCE_S * SCOUT_NS_PER_S;
			(void)scout_rpc_dispatch_locked(host);
		}
		host->grow = 0;
	}
	if (start == SCOUT_START_NOW) {
		*err = scout_session_start_locked(host, now);
		if (*err) {
			scout_host_fail_locked(host, *err, NULL, failed);
			/* likewise */
			if (host->nsessions)
				(void)scout_rpc_dispatch_locked(host);
		} else {
			pool->sessions++;
			pool->connecting++;
		}
		if (host->grow)
			start = SCOUT_START_LATER;
	}
	if (start == SCOUT_START_LATER && host->next_start_ns < *next)
		*next = host->next_start_ns;
	scout_unlock(&host->lock);
	return start;
}

/* One walk along the line: starts what may start, makes room for who is first. */
static void serve_line(struct scout_hosts *all, uint64_t now, uint64_t *next)
{
	struct scout_pool *pool = &all->pool;
	struct scout_host *host, *after;
	unsigned spoken = 0;
	bool starved = false;

	scout_lock(&pool->lock);
	/* Set before the look for idle sessions, so that one which falls idle meanwhile kicks. */
	atomic_store(&pool->starved, pool->sessions >= pool->max_sessions);
	for (host = TAILQ_FIRST(&pool->line); host && !pool->stopping; host = after) {
		struct scout_rpc_list failed = TAILQ_HEAD_INITIALIZER(failed);
		enum scout_start start;
		bool left;
		int err = 0;

		after = TAILQ_NEXT(host, line);
		start = start_one_locked(host, spoken, now, next, &err, &failed);
		if (start == SCOUT_START_EVICT && evict_locked(all, now))
			start = SCOUT_START_ROOM;
		if (start == SCOUT_START_ROOM)
			spoken++;
		starved |= start == SCOUT_START_EVICT;
		if (start == SCOUT_START_EVICT && now >= pool->drain_after_ns &&
		    now >= host->in_line_ns + SCOUT_POOL_PATIENCE_S * SCOUT_NS_PER_S) {
			drain_locked(all);
			pool->drain_after_ns = now + SCOUT_POOL_PATIENCE_S * SCOUT_NS_PER_S;
		}
		left = start == SCOUT_START_NOW || start == SCOUT_START_DROP;
		if (left) {
			TAILQ_REMOVE(&pool->line, host, line);
			host->in_line = false;
		}
		if (err) {
			scout_unlock(&pool->lock);
			scout_warn("%s: cannot start a session: %s", host->config->name,
				   strerrordesc_np(-err));
			scout_rpc_fail_all(&failed, err);
			scout_lock(&pool->lock);
			after = TAILQ_FIRST(&pool->line); /* it may have changed */
			spoken = 0;
		}
		if (left)
			scout_host_unref(host);
		if (start == SCOUT_START_SLOT || start == SCOUT_START_EVICT)
			break;
	}
	atomic_store(&pool->starved, starved);
	scout_unlock(&pool->lock);
	/* One that falls idle kicks; patience has an end, and one that comes to rest is looked for. */
	if (starved && *next > now + SCOUT_POOL_REST_MS * SCOUT_NS_PER_MS)
		*next = now + SCOUT_POOL_REST_MS * SCOUT_NS_PER_MS;
}

/* One line for those who waited in vain: elsewhere nobody knows why. */
static void tell_late(struct scout_host *host, const struct scout_rpc_list *late)
{
	struct scout_pool *pool = &host->all->pool;
	unsigned count = 0, max_sessions, max_connecting;
	const struct scout_rpc *rpc;
	bool connecting;

	TAILQ_FOREACH (rpc, late, link)
		count += !(rpc->req && scout_req_unwanted(rpc->req));
	if (!count)
		return;
	scout_lock(&host->lock);
	connecting = host->nsessions != 0;
	scout_unlock(&host->lock);
	if (connecting) {
		scout_warn("%s: not connected in time for %u request%s", host->config->name, count,
			   count == 1 ? "" : "s");
		return;
	}
	scout_lock(&pool->lock);
	max_sessions = pool->max_sessions;
	max_connecting = pool->max_connecting;
	scout_unlock(&pool->lock);
	scout_warn("%s: no session became free in time for %u request%s: max_sessions is %u, "
		   "max_connecting %u",
		   host->config->name, count, count == 1 ? "" : "s", max_sessions, max_connecting);
}

/* Nobody comes for a retired host's session any more, nor for one that makes room: who ends the last
 * thing open on it kicks. */
static bool is_parting_locked(const struct scout_host *host, const struct scout_load *load)
{
	return host->retired || load->draining;
}

/* Closes idle sessions and ends calls that waited too long. */
static void sweep(struct scout_hosts *all, uint64_t now, uint64_t *next)
{
	struct scout_host *host = NULL;

	while ((host = scout_table_next(all, host))) {
		struct scout_rpc_list late = TAILQ_HEAD_INITIALIZER(late);
		unsigned closed = 0;
		int err;

		scout_lock(&host->lock);
		scout_rpc_expire_locked(host, now, &late, next);
		for (unsigned k = 0; k < host->nsessions; k++) {
			struct scout_load *load = host->sessions[k];
			uint64_t due =
			    scout_policy_idle_check(load, host->config->idle_timeout_ns, now);

			if (load->state != SCOUT_SESSION_UP)
				continue;
			if (is_parting_locked(host, load))
				due = scout_policy_idle(load) ? now : UINT64_MAX;
			if (due <= now && scout_policy_idle(load)) {
				scout_session_close_locked(session_of(load));
				closed++;
				k--; /* its place holds another now */
			} else if (due < *next) {
				*next = due;
			}
		}
		err = host->down_err ? host->down_err : -ETIMEDOUT;
		scout_unlock(&host->lock);

		if (closed) {
			scout_count(&all->counters.closed_idle, closed);
			scout_lock(&all->pool.lock);
			all->pool.ending += closed;
			scout_unlock(&all->pool.lock);
		}
		scout_space_expire(host, now, next);
		scout_early_expire(host, now, next);
		tell_late(host, &late);
		scout_rpc_fail_all(&late, err);
	}
}

static void *pool_run(void *arg)
{
	struct scout_hosts *all = arg;
	struct scout_pool *pool = &all->pool;
	bool over = false;

	while (!over) {
		uint64_t now, next = UINT64_MAX;

		join_ended(pool);
		now = scout_now_ns();
		sweep(all, now, &next);
		serve_line(all, now, &next);
		scout_lock(&pool->lock);
		while (!pool->kicked && !(pool->stopping && !pool->sessions))
			if (!scout_cond_wait(&pool->wake, &pool->lock, next))
				break;
		pool->kicked = false;
		over = pool->stopping && !pool->sessions;
		scout_unlock(&pool->lock);
	}
	return NULL;
}

int scout_pool_start(struct scout_hosts *all)
{
	struct scout_pool *pool = &all->pool;
	int err;

	scout_mutex_init(&pool->lock, SCOUT_LOCK_POOL);
	scout_cond_init(&pool->wake);
	TAILQ_INIT(&pool->line);
	TAILQ_INIT(&pool->ended);
	err = scout_thread_start(&pool->thread, "hosts-pool", pool_run, all);
	pool->started = !err;
	return err;
}

static void clear_line(struct scout_pool *pool)
{
	struct scout_host *host;

	scout_lock(&pool->lock);
	while ((host = TAILQ_FIRST(&pool->line))) {
		TAILQ_REMOVE(&pool->line, host, line);
		host->in_line = false;
		scout_host_unref(host);
	}
	scout_unlock(&pool->lock);
}

void scout_pool_stop(struct scout_hosts *all)
{
	struct scout_pool *pool = &all->pool;
	struct scout_host *host = NULL;

	if (!pool->started)
		return;
	atomic_store(&all->stopping, true);
	scout_lock(&pool->lock);
	pool->stopping = true; /* no session starts from here on */
	scout_unlock(&pool->lock);
	while ((host = scout_table_next(all, host))) {
		struct scout_rpc_list failed = TAILQ_HEAD_INITIALIZER(failed);
		unsigned closed = 0;

		scout_lock(&host->lock);
		TAILQ_CONCAT(&failed, &host->queue, link);
		host->queued = 0;
		for (; host->nsessions; closed++)
			scout_session_close_locked(session_of(host->sessions[0]));
		scout_unlock(&host->lock);
		scout_lock(&pool->lock);
		pool->ending += closed;
		scout_unlock(&pool->lock);
		scout_rpc_fail_all(&failed, -ESHUTDOWN);
	}
	scout_pool_kick(pool);
	pthread_join(pool->thread, NULL);
	pool->started = false;
	clear_line(pool);
}
