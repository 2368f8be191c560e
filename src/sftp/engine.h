/* What the sessions share: the watchdog, which shuts down the sockets of whoever passed its deadline,
 * so that no library call on them can wait longer; and totals. */
#ifndef SCOUTFS_SFTP_ENGINE_H
#define SCOUTFS_SFTP_ENGINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "scoutfs/lock.h"
#include "scoutfs/metrics.h"
#include "scoutfs/sftp.h"
#include "sftp/keys.h"

#define SCOUT_WATCH_FDS 2 /* the SSH connection, the authentication agent */

struct scout_watch {
	TAILQ_ENTRY(scout_watch) link; /* under engine->lock, as all of it */
	uint64_t deadline_ns;
	int fds[SCOUT_WATCH_FDS]; /* duplicates of our own, or -1 */
	bool fired;
};

struct scout_sftp_engine {
	struct scout_mutex lock;
	pthread_cond_t changed;
	TAILQ_HEAD(, scout_watch) watches; /* under lock */
	bool stop;                         /* under lock */
	char *ssh_defaults;                /* under lock until set, then immutable; or NULL */
	struct scout_kept_keys keys;       /* under lock */
	pthread_t thread;
	scout_counter requests, bytes_in, bytes_out;
};

void scout_sftp_watch_add(struct scout_sftp_engine *e, struct scout_watch *w, uint64_t deadline_ns);
void scout_sftp_watch_remove(struct scout_sftp_engine *e, struct scout_watch *w);
/* A later deadline (the connect is done), or an earlier one (stop). */
void scout_sftp_watch_set(struct scout_sftp_engine *e, struct scout_watch *w, uint64_t deadline_ns);
/* Watches a duplicate of fd in place of what was at slot; fd -1: nothing. 0 or -errno. */
int scout_sftp_watch_fd(struct scout_sftp_engine *e, struct scout_watch *w, int slot, int fd);
bool scout_sftp_watch_fired(struct scout_sftp_engine *e, struct scout_watch *w);

#endif
