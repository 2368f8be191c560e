/* One session, as its files see it. Everything belongs to the session's own thread but what says
 * otherwise. */
#ifndef SCOUTFS_SFTP_SESSION_H
#define SCOUTFS_SFTP_SESSION_H

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "scoutfs/child.h"
#include "scoutfs/lock.h"
#include "scoutfs/sftp.h"
#include "scoutfs/text.h"
#include "sftp/engine.h"
#include "sftp/peer.h"
#include "sftp/settings.h"
#include "sftp/stream.h"

struct scout_sftp {
	/* immutable after start */
	struct scout_sftp_engine *engine;
	const struct scout_host_config *host;
	const struct scout_sftp_events *events;
	void *arg;
	struct scout_sftp_peer *peer;
	pthread_t thread;
	int wake_fd; /* eventfd: written by submit and stop */

	struct scout_mutex lock;
	/* under lock; reads: READs and what is to leave behind them, as the others need not wait for their room */
	struct scout_sftp_calls queue, reads;
	bool awake;               /* under lock: will look at the queue before it sleeps */
	bool stopping;            /* under lock */
	bool up;                  /* under lock: connected */
	bool over;                /* under lock: takes no more calls */
	struct scout_watch watch; /* under the engine's lock */

	/* connecting */
	uint64_t start_ns;
	uint64_t deadline_ns;
	struct scout_settings settings;
	struct scout_child proxy;
	bool joined; /* those that go to its peer */
	int err;     /* the first failure, 0 or -errno */
	char reason[320];

	ssh_session ssh;
	struct ssh_callbacks_struct callbacks;
	bool socket_taken; /* libssh owns the socket */

	/* connected */
	bool symlinks_as_drafted; /* the server takes SYMLINK's paths in the draft's order */
	ssh_channel channel;
	struct ssh_channel_callbacks_struct channel_callbacks;
	ssh_event event;
	bool reads_next; /* of the two queues it is the turn of that one */
	bool channel_closed;
	int stream_err;
	struct scout_sftp_stream stream;
	struct scout_sftp_buf out;
	size_t window;          /* the channel's receive window */
	size_t window_used;     /* since it was last topped up */
	uint64_t written;       /* to the channel, in all */
	uint64_t taken;         /* of that, as far as its window showed that the server took it */
	size_t first_window;    /* the server's, before anything was written */
	uint64_t last_in_ns;    /* when an answer, a good part of one, or more window last came */
	size_t part_bytes;      /* since an answer or a good part of one */
	uint64_t round_trip_ns; /* the shortest seen; 0: none yet */
	/* since when calls are answered that were sent after the oldest; 0: they are not */
	uint64_t overtaken_ns;
	struct scout_sftp_call keepalive;
};

/* Notes the first failure and its reason; returns err. */
int scout_sftp_fail(struct scout_sftp *s, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a libssh call that failed while doing what: a passed deadline and a stop explain
 * themselves, else it is libssh's words. */
int scout_sftp_fail_ssh(struct scout_sftp *s, const char *what);

bool scout_sftp_stopping(struct scout_sftp *s);
/* Waits until fd (-1: none) has events; 0, -ETIMEDOUT, -ECANCELED when the session is to stop.
 * While connecting only. */
int scout_sftp_wait(struct scout_sftp *s, int fd, short events, uint64_t deadline_ns);

/* Runs a command for what it prints, which is at most so much, with shell as its $SHELL (NULL: ours).
 * complaint: its last words on stderr. 0; -ECHILD: it failed; -E2BIG, -ETIMEDOUT, -ECANCELED, or -errno of
 * starting it. While connecting only. */
int scout_sftp_run(struct scout_sftp *s, struct scout_args *args, const char *shell, size_t most,
		   struct scout_text *out, char complaint[160]); /* ask.c */

/* The steps of a connect. Each returns 0, or -errno after scout_sftp_fail. */
int scout_sftp_connect(struct scout_sftp *s);       /* connect.c */
int scout_sftp_load_settings(struct scout_sftp *s); /* ask.c */
/* The arguments of the proxy's command; none: no proxy. ask.c */
int scout_sftp_proxy(struct scout_sftp *s, unsigned seconds, struct scout_args *args);
int scout_sftp_set_options(struct scout_sftp *s);                                    /* options.c */
int scout_sftp_dial(struct scout_sftp *s, const char *host, unsigned port, int *fd); /* dial.c */
int scout_sftp_offer_host_keys(struct scout_sftp *s);                                /* hostkey.c */
int scout_sftp_check_host_key(struct scout_sftp *s);                                 /* hostkey.c */
int scout_sftp_authenticate(struct scout_sftp *s);                                   /* auth.c */
/* The channel with its callbacks, not yet open; then the work on it, until the session ends. loop.c */
int scout_sftp_new_channel(struct scout_sftp *s);
void scout_sftp_serve(struct scout_sftp *s);
/* Frees what libssh has; never waits for the peer. */
void scout_sftp_disconnect(struct scout_sftp *s);

#endif
