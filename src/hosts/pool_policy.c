/* The pool's rules, without its locks, threads and clock; see pool_policy.h. */
#include "hosts/pool_policy.h"

#include "scoutfs/clock.h"

/* How busy a session is for a newcomer. A bulk reader keeps megabytes on their way to us even while
 * it has few calls open. */
static unsigned weight(const struct scout_load *load)
{
	return load->calls + 16 * load->bulk;
}

static unsigned count_in(const struct scout_route_query *q, enum scout_session_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < q->count; i++)
		n += q->sessions[i]->state == state;
	return n;
}

/* How many of those that are wanted there may be. */
static unsigned growth(const struct scout_route_query *q, unsigned wanted, unsigned at_once)
{
	unsigned connecting = count_in(q, SCOUT_SESSION_CONNECTING);

	if (q->count >= q->max || q->now_ns < q->grow_after_ns || connecting >= at_once)
		return 0;
	if (wanted > q->max - q->count)
		wanted = q->max - q->count;
	return wanted < at_once - connecting ? wanted : at_once - connecting;
}

bool scout_policy_can_grow(const struct scout_route_query *q)
{
	return growth(q, 1, SCOUT_POOL_GROWING);
}

/* It has no handle left for what is to be opened. */
static bool is_full(const struct scout_route_query *q, const struct scout_load *load)
{
	return q->opens && q->max_handles && load->handles + load->opening >= q->max_handles;
}

/* The least busy of the sessions that take calls into r; full: also of those that are. *up: there is one that
 * takes calls; *busy stays when none would do soon what it is asked. */
static void pick(const struct scout_route_query *q, bool full, struct scout_route *r, bool *up,
		 bool *busy)
{
	for (unsigned i = 0; i < q->count; i++) {
		const struct scout_load *load = q->sessions[i];

		if (load->state != SCOUT_SESSION_UP || load->draining)
			continue;
		*up = true;
		if (!full && is_full(q, load))
			continue;
		if (load->calls <= SCOUT_POOL_BUSY_CALLS)
			*busy = false;
		if (load->calls >= SCOUT_POOL_MAX_CALLS)
			continue;
		if (r->kind != SCOUT_ROUTE_SESSION ||
		    weight(load) < weight(q->sessions[r->index])) {
			r->kind = SCOUT_ROUTE_SESSION;
			r->index = i;
		}
	}
}

struct scout_route scout_policy_route(const struct scout_route_query *q)
{
	struct scout_route r = {.kind = SCOUT_ROUTE_QUEUE};
	bool up = false, busy = true;

	pick(q, false, &r, &up, &busy);
	if (up && r.kind == SCOUT_ROUTE_QUEUE && !scout_policy_can_grow(q) &&
	    !count_in(q, SCOUT_SESSION_CONNECTING))
		pick(q, true, &r, &up, &busy);
	if (up) {
		r.want = busy && scout_policy_can_grow(q);
		return r;
	}
	if (count_in(q, SCOUT_SESSION_CONNECTING) || count_in(q, SCOUT_SESSION_LOST))
		return r;
	if (q->down_err && q->now_ns < q->down_until_ns)
		r.kind = SCOUT_ROUTE_FAIL;
	else
		r.want = true;
	return r;
}

struct scout_route scout_policy_route_apart(const struct scout_route_query *q,
					    const struct scout_load *const *taken, unsigned ntaken,
					    unsigned more)
{
	unsigned come = count_in(q, SCOUT_SESSION_CONNECTING);
	struct scout_route r = {.kind = SCOUT_ROUTE_QUEUE};
	const struct scout_load *best = NULL;

	for (unsigned i = 0; i < q->count; i++) {
		const struct scout_load *load = q->sessions[i];
		bool fit = load->state == SCOUT_SESSION_UP && !load->draining &&
			   load->calls < SCOUT_POOL_MAX_CALLS && !is_full(q, load);

		for (unsigned k = 0; k < ntaken; k++)
			fit &= load != taken[k];
		come += fit && !load->bulk;
		if (fit && (!best || weight(load) < weight(best))) {
			best = load;
			r.kind = SCOUT_ROUTE_SESSION;
			r.index = i;
		}
	}
	if (more > come)
		r.want =
		    growth(q, more - come, more > 1 ? SCOUT_POOL_GROWING_FAR : SCOUT_POOL_GROWING);
	return r;
}

/* Connects to nowhere last as long as they may: half of the places are never theirs. */
static unsigned places(const struct scout_start_query *q)
{
	return q->suspect && q->max_connecting > 1 ? q->max_connecting / 2 : q->max_connecting;
}

enum scout_start scout_policy_start(const struct scout_start_query *q)
{
	if (!(q->waiting || q->grow) || q->count >= q->max)
		return SCOUT_START_DROP;
	if (q->now_ns < q->next_start_ns)
		return SCOUT_START_LATER;
	if (q->connecting >= places(q))
		return SCOUT_START_SLOT;
	if (q->all < q->all_max)
		return SCOUT_START_NOW;
	if (!q->waiting)
		return SCOUT_START_DROP;
	return q->ending ? SCOUT_START_ROOM : SCOUT_START_EVICT;
}

bool scout_policy_idle(const struct scout_load *load)
{
	return load->state == SCOUT_SESSION_UP && !load->calls && !load->handles;
}

bool scout_policy_rests(const struct scout_load *load, uint64_t now_ns)
{
	return load->state == SCOUT_SESSION_UP && !load->calls && !load->pinned &&
	       now_ns >= load->last_used_ns + SCOUT_POOL_REST_MS * SCOUT_NS_PER_MS;
}

bool scout_policy_may_drain(const struct scout_load *load, unsigned others)
{
	return load->state == SCOUT_SESSION_UP && !load->draining &&
	       (load->handles == load->stripes || others);
}

uint64_t scout_policy_idle_check(const struct scout_load *load, uint64_t idle_timeout_ns,
				 uint64_t now_ns)
{
	uint64_t since = scout_policy_idle(load) ? load->last_used_ns : now_ns;

	return since > UINT64_MAX - idle_timeout_ns ? UINT64_MAX : since + idle_timeout_ns;
}
