/* The watchdog thread and the totals. libssh's calls have time limits for each step at best, and
 * some have none: shutting down the socket ends them all. It works on duplicates, since libssh may
 * close its descriptor and the number may be used again. Its lock guards the list of watches;
 * shutdown(2) does not wait. */
#include "sftp/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <libssh/libssh.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scoutfs/clock.h"

static void fire_locked(struct scout_watch *w)
{
	w->fired = true;
	for (int i = 0; i < SCOUT_WATCH_FDS; i++)
		if (w->fds[i] >= 0)
			(void)shutdown(w->fds[i], SHUT_RDWR); /* the peer may have ended it */
}

/* Fires what is due and gives the next deadline. */
static uint64_t fire_due_locked(struct scout_sftp_engine *e)
{
	uint64_t now = scout_now_ns(), next = UINT64_MAX;
	struct scout_watch *w;

	TAILQ_FOREACH (w, &e->watches, link) {
		if (w->fired)
			continue;
		if (w->deadline_ns <= now)
			fire_locked(w);
		else if (w->deadline_ns < next)
			next = w->deadline_ns;
	}
	return next;
}

static void *run(void *arg)
{
	struct scout_sftp_engine *e = arg;

	scout_lock(&e->lock);
	while (!e->stop)
		(void)scout_cond_wait(&e->changed, &e->lock, fire_due_locked(e));
	scout_unlock(&e->lock);
	return NULL;
}

int scout_sftp_engine_new(struct scout_sftp_engine **ret)
{
	struct scout_sftp_engine *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	if (ssh_init() != SSH_OK) {
		free(e);
		return -ENOMEM;
	}
	scout_mutex_init(&e->lock, SCOUT_LOCK_LEAF);
	scout_cond_init(&e->changed);
	TAILQ_INIT(&e->watches);
	TAILQ_INIT(&e->keys);
	err = scout_thread_start(&e->thread, "sftp-watch", run, e);
	if (err) {
		pthread_cond_destroy(&e->changed);
		scout_mutex_destroy(&e->lock);
		(void)ssh_finalize();
		free(e);
		return err;
	}
	*ret = e;
	return 0;
}

void scout_sftp_engine_free(struct scout_sftp_engine *e)
{
	if (!e)
		return;
	scout_lock(&e->lock);
	e->stop = true;
	pthread_cond_signal(&e->changed);
	scout_unlock(&e->lock);
	pthread_join(e->thread, NULL);
	pthread_cond_destroy(&e->changed);
	scout_mutex_destroy(&e->lock);
	scout_keys_free(e);
	free(e->ssh_defaults);
	(void)ssh_finalize(); /* counted; nothing to do when it fails */
	free(e);
}

void scout_sftp_stats(struct scout_sftp_engine *e, struct scout_sftp_stats *ret)
{
	ret->requests = scout_counted(&e->requests);
	ret->bytes_in = scout_counted(&e->bytes_in);
	ret->bytes_out = scout_counted(&e->bytes_out);
}

void scout_sftp_watch_add(struct scout_sftp_engine *e, struct scout_watch *w, uint64_t deadline_ns)
{
	w->deadline_ns = deadline_ns;
	w->fired = false;
	for (int i = 0; i < SCOUT_WATCH_FDS; i++)
		w->fds[i] = -1;
	scout_lock(&e->lock);
	TAILQ_INSERT_TAIL(&e->watches, w, link);
	pthread_cond_signal(&e->changed);
	scout_unlock(&e->lock);
}

void scout_sftp_watch_remove(struct scout_sftp_engine *e, struct scout_watch *w)
{
	scout_lock(&e->lock);
	TAILQ_REMOVE(&e->watches, w, link);
	scout_unlock(&e->lock);
	for (int i = 0; i < SCOUT_WATCH_FDS; i++)
		if (w->fds[i] >= 0)
			close(w->fds[i]);
}

void scout_sftp_watch_set(struct scout_sftp_engine *e, struct scout_watch *w, uint64_t deadline_ns)
{
	scout_lock(&e->lock);
	w->deadline_ns = deadline_ns;
	pthread_cond_signal(&e->changed);
	scout_unlock(&e->lock);
}

int scout_sftp_watch_fd(struct scout_sftp_engine *e, struct scout_watch *w, int slot, int fd)
{
	int copy = -1, old;

	if (fd >= 0) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (copy < 0)
			return -errno;
	}
	scout_lock(&e->lock);
	old = w->fds[slot];
	w->fds[slot] = copy;
	if (w->fired)
		fire_locked(w);
	scout_unlock(&e->lock);
	if (old >= 0)
		close(old);
	return 0;
}

bool scout_sftp_watch_fired(struct scout_sftp_engine *e, struct scout_watch *w)
{
	bool fired;

	scout_lock(&e->lock);
	fired = w->fired;
	scout_unlock(&e->lock);
	return fired;
}
