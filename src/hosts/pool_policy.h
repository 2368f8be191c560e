/* The pool's decisions as pure functions of counts and times: which session a request goes to,
 * whether a host gets another session now, which idle session makes room. pool.c and session.c ask,
 * under their locks, and act. */
#ifndef SCOUTFS_HOSTS_POOL_POLICY_H
#define SCOUTFS_HOSTS_POOL_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCOUT_POOL_BUSY_CALLS 64   /* beyond that on every session, another one is worth it */
#define SCOUT_POOL_MAX_CALLS 4096  /* beyond that a session takes no more: requests queue */
#define SCOUT_POOL_PACE_MS 100     /* between two connects to one host */
#define SCOUT_POOL_TOGETHER_MS 10  /* the same of those that are asked for together */
#define SCOUT_POOL_GROWING 3       /* further sessions of one host that may be connecting at once */
#define SCOUT_POOL_GROWING_FAR 7   /* for an upload to a far host: OpenSSH begins to refuse at 10 */
#define SCOUT_POOL_PATIENCE_S 1    /* so long at the limit, and a busy session takes no more */
#define SCOUT_POOL_CUT_TRIES 5     /* connects that are cut, as by a server at its MaxStartups */
#define SCOUT_POOL_REST_MS 250     /* so long unused, a session with open files makes room */
#define SCOUT_POOL_BACKOFF_MIN_S 1 /* after a failed connect, doubling */
#define SCOUT_POOL_BACKOFF_MAX_S 30

enum scout_session_state {
	SCOUT_SESSION_CONNECTING,
	SCOUT_SESSION_UP,
	SCOUT_SESSION_LOST,    /* it failed a call; its end and the reason are about to be told */
	SCOUT_SESSION_CLOSING, /* asked to end, or ended */
};

/* One session as the decisions see it. */
struct scout_load {
	enum scout_session_state state;
	unsigned calls;   /* in flight */
	unsigned opening; /* of these, what opens a file or directory */
	unsigned handles; /* open files and directories */
	unsigned pinned;  /* of these, what cannot be opened anew as it was: directories, files with
			     writes that are not on the server's disk, files without a name */
	unsigned bulk;    /* of these, files with more than 1 MiB under way */
	unsigned stripes; /* of these, what is given up when the session is to make room */
	bool draining;    /* takes no new calls, to make room */
	uint64_t last_used_ns;
};

struct scout_route_query {
	struct scout_load *const *sessions;
	unsigned count, max; /* of this host */
	int down_err;        /* of the last connect, 0 when it worked */
	uint64_t down_until_ns;
	uint64_t grow_after_ns; /* no further session before that */
	bool opens;             /* it opens a file or directory, */
	unsigned max_handles;   /* of which the server lets a session have so many; 0: not told */
	uint64_t now_ns;
};

enum scout_route_kind {
	SCOUT_ROUTE_SESSION, /* send it on sessions[index] */
	SCOUT_ROUTE_QUEUE,   /* wait in the host's queue */
	SCOUT_ROUTE_FAIL,    /* the host is down: down_err */
};
struct scout_route {
	enum scout_route_kind kind;
	unsigned index;
	unsigned want; /* ask the pool for so many sessions */
};
/* What opens something goes to a session that has a handle left, or waits for a further one; when there may be
 * none, the server is to say so. */
struct scout_route scout_policy_route(const struct scout_route_query *q);

/* One for a further handle of a file that has handles on taken: the least busy of the others. more: so many
 * the file may get, this one among them; for several, as many sessions are wanted at once. */
struct scout_route scout_policy_route_apart(const struct scout_route_query *q,
					    const struct scout_load *const *taken, unsigned ntaken,
					    unsigned more);

/* Whether more sessions than there are would help: asked when a second bulk reader joins one. */
bool scout_policy_can_grow(const struct scout_route_query *q);

struct scout_start_query {
	bool waiting;        /* requests wait and no session is up or on its way for them */
	bool suspect;        /* its last connect failed: leaves room for those that may be well */
	bool grow;           /* one more was asked for */
	unsigned count, max; /* sessions of this host */
	uint64_t next_start_ns; /* pacing */
	unsigned all, all_max;  /* sessions of all hosts, also those that are ending */
	unsigned ending;        /* of these, on their way out and not spoken for */
	unsigned connecting, max_connecting;
	uint64_t now_ns;
};
enum scout_start {
	SCOUT_START_NOW,
	SCOUT_START_DROP,  /* not needed, or not worth it */
	SCOUT_START_LATER, /* at next_start_ns */
	SCOUT_START_SLOT,  /* when a connect ends */
	SCOUT_START_EVICT, /* the least recently used idle session has to go */
	SCOUT_START_ROOM,  /* when a session that is ending has gone */
};
enum scout_start scout_policy_start(const struct scout_start_query *q);

/* Nothing in flight and nothing open: may be closed. */
bool scout_policy_idle(const struct scout_load *load);
/* Only files are open that can be opened anew, and nobody uses them just now: may be closed when another
 * host would have to wait, since they are opened by their next use. */
bool scout_policy_rests(const struct scout_load *load, uint64_t now_ns);
/* Takes no new calls when another host has waited for SCOUT_POOL_PATIENCE_S, and closes when it has
 * nothing left. others: sessions of the host that are up and do take calls; what is open may stay open
 * for long, and nothing else of the host shall wait for it. */
bool scout_policy_may_drain(const struct scout_load *load, unsigned others);
/* When an up session has to be looked at for its idle timeout: now_ns or earlier says close it. */
uint64_t scout_policy_idle_check(const struct scout_load *load, uint64_t idle_timeout_ns,
				 uint64_t now_ns);

#endif
