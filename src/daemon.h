/* Going to the background: the shell gets its prompt back when the mount is up, and an exit status
 * that says whether it is. */
#ifndef SCOUTFS_DAEMON_H
#define SCOUTFS_DAEMON_H

/* Of the child. */
struct scout_daemon {
	int ready_fd, null_fd;
};

/* Forks. The parent waits for the child's word and exits with it; returns in the child alone, with 0
 * and *ret for scout_daemon_ready, or -errno in the parent when there can be no child. Before
 * any thread is started. */
int scout_daemon_start(struct scout_daemon *ret);
/* In the child: it serves now. Leaves the terminal and the working directory. Returns 0, or -errno: all is as it was. */
int scout_daemon_ready(struct scout_daemon *d);

#endif
