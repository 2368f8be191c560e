/* What the files of hosts/ share: the backend, a host, a session of its pool, one remote call.
 *
 * A call (struct scout_rpc) either names a path and may be sent on any session, again on another
 * when its session is lost; or it belongs to a handle and dies with the session that opened it. Its
 * done runs once, with no lock held, on whatever thread found the outcome. */
#ifndef SCOUTFS_HOSTS_HOSTS_H
#define SCOUTFS_HOSTS_HOSTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <time.h>

#define HASH_NONFATAL_OOM 1 /* a failed add is seen by hh.tbl == NULL */
#include <uthash.h>

#include "hosts/pool_policy.h"
#include "scoutfs/backend.h"
#include "scoutfs/budget.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/lock.h"
#include "scoutfs/metrics.h"
#include "scoutfs/sftp.h"
#include "scoutfs/text.h"

#define SCOUT_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define SCOUT_RPC_ATTEMPTS 3
#define SCOUT_FAR_NS (10 * SCOUT_NS_PER_MS) /* so long a round trip takes to a host that is far */

struct scout_hosts;
struct scout_host;
struct scout_file;
struct scout_dir;

struct scout_session {
	struct scout_load load;           /* under host->lock */
	struct scout_host *host;          /* immutable, with a reference */
	struct scout_sftp *sftp;          /* under host->lock; NULL once joined */
	bool connecting;                  /* its own thread only, after the start */
	bool answered;                    /* under host->lock: a call came back with an answer */
	bool joined;                      /* under host->lock: goes when its last handle does */
	struct scout_sftp_server server;  /* under host->lock, from up on */
	TAILQ_ENTRY(scout_session) ended; /* the pool's, under pool->lock */
};

struct scout_rpc {
	struct scout_sftp_call call;
	/* set by the caller, unchanged until done; scout_rpc_send holds a reference until then */
	struct scout_host *host;
	struct scout_req *req; /* whose unwanted spares the work, or NULL */
	/* Calls of which the first one's path or handle decides where they go: sent one right behind
	 * the other on one session. Only the first has a done, called when all are answered with the
	 * first error in their order; each one's own is in err. */
	struct scout_rpc *then;
	void (*done)(struct scout_rpc *rpc, int err);
	int err;

	struct scout_session *session; /* where it was sent last; with a new handle: its session */
	uint64_t deadline_ns;
	unsigned attempts;
	bool once;    /* set by the caller: not to be sent again once it may have arrived */
	bool bound;   /* to its session, by a handle */
	bool waited;  /* in the queue, at least once */
	bool stray;   /* was lost after it was sent, this time or before: it may be done yet */
	bool unknown; /* once, and lost after it was sent: -EIO, and nobody knows if it was done */
	/* under host->lock while any is on its way */
	struct scout_rpc *first;
	unsigned pending;            /* of the first: sent and not answered */
	bool settled;                /* it has an answer */
	TAILQ_ENTRY(scout_rpc) link; /* host->queue, under host->lock */
};
TAILQ_HEAD(scout_rpc_list, scout_rpc);

struct scout_host {
	/* the table, the pool's line, sessions, open files and directories, requests under way */
	atomic_uint refs;
	/* immutable */
	struct scout_host_config *config; /* its own */
	struct scout_hosts *all;
	struct scout_share *share;
	struct scout_sftp_peer *peer;
	atomic_bool told_fsync; /* that there is no fsync */
	bool dynamic;           /* not in the list: it was asked for */
	atomic_bool retired;    /* out of the table: its sessions end when nothing is open */

	/* whom we log in as: uid << 32 | gid there, or UINT64_MAX */
	_Atomic uint64_t self;

	/* the shortest that an answer took; 0: there was none yet */
	_Atomic uint64_t round_trip_ns;
	/* calls that modify: sent, and answered, so that a change under way counts twice */
	atomic_uint changes;
	/* Files that were asked for when they were opened, and are not read yet. */
	atomic_uint expected;
	_Atomic uint64_t changed_ns; /* when it was last counted */

	/* under table->lock */
	TAILQ_ENTRY(scout_host) link;
	UT_hash_handle hh; /* until retired */
	uint64_t looked_ns;

	/* under pool->lock, with a reference */
	TAILQ_ENTRY(scout_host) line;
	bool in_line, suspect; /* suspect: its last connect failed, when it got in line */
	uint64_t in_line_ns;

	struct scout_mutex lock;
	/* under lock, all of it */
	struct scout_load **sessions; /* connecting, up or lost: at most max_sessions_per_host */
	unsigned nsessions;
	struct scout_rpc_list queue;
	unsigned queued;
	unsigned grow; /* so many sessions more were asked for */
	bool reached;  /* was up, at least once */
	int down_err;
	uint64_t down_wall_ns; /* since when, if down_err */
	uint64_t down_until_ns, grow_after_ns, next_start_ns;
	unsigned failures;     /* connects in a row, up to the first answer */
	unsigned grow_refused; /* connects in a row of further sessions */
	unsigned cuts; /* connects in a row that were cut, and do not count as failures yet */
	unsigned mute; /* sessions in a row that ended before they answered anything */
	int last_err;
	char last_reason[256];
	uint64_t last_err_wall_ns;
	uint64_t connects, connect_failures, last_connect_ns;
	struct scout_sftp_server server; /* of the newest session */
	bool named;                      /* the names were asked for */
	char login[64], group[64];       /* "" when not known */
	bool has_own;                    /* its directory's attributes were changed: own */
	struct scout_attr own;           /* what was made of them last */
	TAILQ_HEAD(scout_file_list, scout_file) files;
	TAILQ_HEAD(, scout_dir) dirs;
	TAILQ_HEAD(, scout_space) spaces; /* questions that wait: space.c */
	struct scout_node *nodes;         /* files open just now, by path: node.h */
	TAILQ_HEAD(, scout_early) early;  /* files read ahead of their open: early.h */
	unsigned nearly;
};

struct scout_pool {
	struct scout_mutex lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool started;
	atomic_bool starved; /* somebody waits for a session to fall idle */
	/* under lock */
	TAILQ_HEAD(, scout_host) line; /* who wants a session, in order; suspects behind */
	uint64_t drain_after_ns;
	TAILQ_HEAD(, scout_session) ended;
	unsigned sessions; /* started and not yet joined */
	unsigned ending;   /* of these, asked to end by us */
	unsigned connecting;
	bool kicked;
	bool stopping;
	unsigned max_sessions, max_connecting;
};

/* table.c: the hosts by name. */
struct scout_table {
	struct scout_mutex lock;
	/* under lock */
	struct scout_host *by_name;
	TAILQ_HEAD(, scout_host) hosts;    /* these, and retired ones while somebody holds them */
	const struct scout_config *config; /* the one read last */
	unsigned dynamic;                  /* of by_name, those that were asked for */
	struct timespec changed;           /* wall clock: when by_name did */
};

struct scout_hosts_counters {
	scout_counter hits, misses, retries, lost;
	scout_counter closed_idle, evicted;
	scout_counter connects[SCOUT_ERRNO_MAX]; /* by errno, 0 is success */
	scout_counter bytes_read, read_ahead_dropped, names_skipped;
	scout_counter attrs_ahead, attrs_asked; /* of hosts that are far, as are these */
	scout_counter folders_ahead, folders_ahead_wasted;
	scout_counter files_early, files_early_wasted;
	struct scout_hist connect_latency;
};

/* ahead.c: folders that are listed because their files are asked for, of all hosts. */
struct scout_aheads {
	struct scout_mutex lock; /* a leaf */
	/* under lock */
	TAILQ_HEAD(, scout_folder) folders; /* least recently used first */
	unsigned count;
};

#define SCOUT_OPENED 4096

struct scout_hosts {
	/* immutable after start */
	struct scout_budget *budget;
	struct scout_sftp_engine *engine;
	unsigned cores; /* of this machine */

	struct scout_table table;
	struct scout_aheads aheads;
	/* What was opened last, by hashes of name and version: the kernel may still have its pages. */
	_Atomic uint64_t opened[SCOUT_OPENED];

	atomic_bool stopping;
	struct scout_pool pool;
	struct scout_hosts_counters counters;
};

/* With the hosts of config, which is borrowed until scout_table_reload has returned from taking over
 * another, or scout_table_free. Returns 0 or -ENOMEM; scout_table_free is due in both cases. */
int scout_table_init(struct scout_hosts *all, const struct scout_config *config);
/* Nobody holds a host any more. */
void scout_table_free(struct scout_hosts *all);
/* The host called name (len bytes), with a reference; one that is not in the list is made, if it may be.
 * Returns 0, -ENOENT, -ENOMEM, or -ENFILE: too many that are not in the list are in use. */
int scout_table_get(struct scout_hosts *all, const char *name, size_t len, struct scout_host **ret);
/* The same, but NULL for one that is not there. */
struct scout_host *scout_table_find(struct scout_hosts *all, const char *name, size_t len);
/* Walks over all hosts, retired ones too: the one behind host (NULL: the first), with a reference;
 * gives back that of host. No lock held but the pool's. */
struct scout_host *scout_table_next(struct scout_hosts *all, struct scout_host *host);
/* How long a call to name may take. */
uint64_t scout_table_timeout_ns(struct scout_hosts *all, const char *name, size_t len);
/* Takes over config: hosts come, are retired, or stay untouched. One thread at a time. */
void scout_table_reload(struct scout_hosts *all, const struct scout_config *config);
/* What is known of /hosts itself. */
void scout_table_attr(struct scout_hosts *all, struct scout_attr *ret);

/* pool.c: who gets a session, and when one ends. */
int scout_pool_start(struct scout_hosts *all);
void scout_pool_limit(struct scout_pool *pool, unsigned max_sessions, unsigned max_connecting);
/* Every session is asked to end and the queues fail with -ESHUTDOWN; returns when all is joined. */
void scout_pool_stop(struct scout_hosts *all);
/* Puts the host in the line for a session. No lock held. */
void scout_pool_want(struct scout_host *host);
/* A session fell idle, or was closed: look again. No lock held. */
void scout_pool_kick(struct scout_pool *pool);
/* A connect is over. */
void scout_pool_connected(struct scout_pool *pool);
/* A session's last word: the pool joins it. asked: by us. */
void scout_pool_ended(struct scout_session *s, bool asked);

/* session.c: a host's state, its queue, its sessions. */
/* With one reference; config becomes the host's, also on failure. NULL: no memory. */
struct scout_host *scout_host_new(struct scout_hosts *all, struct scout_host_config *config);
void scout_host_free(struct scout_host *host);
/* Under table->lock; the pool is to be kicked: its sessions end with the last thing open on them. */
void scout_host_retire(struct scout_host *host);
/* The back-off ends: the next request connects at once. */
void scout_host_retry(struct scout_host *host);
/* Whether a round trip to it takes 10 ms or more, by the shortest seen. Any thread. */
bool scout_host_is_far(const struct scout_host *host);
/* This mount has changed nothing there within attr_timeout. Any thread. */
bool scout_host_is_calm(const struct scout_host *host, uint64_t now_ns);
/* Requests are under way, or files or directories are open. */
bool scout_host_in_use(struct scout_host *host);
/* table.c: whoever finds a host gets a reference, and so does what keeps it. At unref no lock is held but the
 * pool's: the last one frees it. */
struct scout_host *scout_host_ref(struct scout_host *host);
void scout_host_unref(struct scout_host *host);
/* So many sessions more than there are would help; the pool is to be asked, too. */
void scout_host_grow_locked(struct scout_host *host, unsigned sessions);
/* Starts a session, under pool->lock and host->lock. Returns 0 or -errno. */
int scout_session_start_locked(struct scout_host *host, uint64_t now_ns);
/* Asks an idle session (or, at the end, any) to end; it leaves the host at once. */
void scout_session_close_locked(struct scout_session *s);
/* It is idle, and the pool waits for that. */
bool scout_session_awaited_locked(const struct scout_session *s);
/* After the join. */
void scout_session_joined(struct scout_session *s);
void scout_session_drop_handle(struct scout_session *s, bool pinned);
/* The host cannot be reached: takes the queue into failed for the caller to complete. */
void scout_host_fail_locked(struct scout_host *host, int err, const char *reason,
			    struct scout_rpc_list *failed);
void scout_host_query_locked(struct scout_host *host, bool opens, uint64_t now_ns,
			     struct scout_route_query *ret);
enum scout_host_state { SCOUT_HOST_IDLE, SCOUT_HOST_CONNECTING, SCOUT_HOST_UP, SCOUT_HOST_DOWN };
enum scout_host_state scout_host_state_locked(struct scout_host *host);
const char *scout_host_state_name(enum scout_host_state state);

/* rpc.c: calls to their end. */
/* Sends a call that names a path, and what is to go behind it: on a session that is up, or waits for
 * one. */
void scout_rpc_send(struct scout_rpc *rpc);
/* Sends a call of a handle on the handle's session: -ECONNRESET when that is gone. */
void scout_rpc_send_on(struct scout_session *s, struct scout_rpc *rpc);
/* Sends a call that names a path on a session that is none of taken, and binds it to that: -ECONNRESET
 * when it is lost. False: there is none now. What is lacking for as many as more was asked for, where the
 * host may have it. */
bool scout_rpc_send_apart(struct scout_rpc *rpc, const struct scout_load *const *taken,
			  unsigned ntaken, unsigned more);
/* Hands what waits to the sessions; true: ask the pool for one. */
bool scout_rpc_dispatch_locked(struct scout_host *host);
/* Takes calls that are late or unwanted out of the queue into failed; next_ns is lowered to the
 * earliest deadline left. */
void scout_rpc_expire_locked(struct scout_host *host, uint64_t now_ns,
			     struct scout_rpc_list *failed, uint64_t *next_ns);
void scout_rpc_fail_all(struct scout_rpc_list *list, int err);
/* One log line for a call that was answered by an error, but for what people ask for on purpose
 * (ENOENT, EEXIST, ENOTEMPTY). path: of the call, or of its handle. */
void scout_rpc_log(const struct scout_rpc *rpc, const char *what, const char *path, int err);

/* A remote handle and the session that knows it, shared by the calls in flight on it and by the
 * open file or directory; CLOSE goes out with the last of them. */
struct scout_handle {
	struct scout_session *session; /* immutable once opened */
	struct scout_sftp_handle remote;
	atomic_uint refs;
	bool bulk, pinned; /* under host->lock */
	bool stripe;       /* immutable: stripe.h */
	size_t writing;    /* under its node's lock: bytes of writes that are sent on it */
	struct scout_rpc close;
};
struct scout_handle *scout_handle_new(struct scout_host *host);
/* Takes over the handle that rpc opened. */
void scout_handle_opened(struct scout_handle *h, const struct scout_rpc *rpc);
struct scout_handle *scout_handle_ref(struct scout_handle *h);
void scout_handle_unref(struct scout_handle *h); /* no lock held; NULL is fine */
/* It has much under way from now on. */
void scout_handle_set_bulk(struct scout_handle *h);

#endif
