/* Going to the background: the shell gets its prompt back when the mount is up, and an exit status
 * that says whether it is. */
#ifndef SCOUTFS_DAEMON_H
#define SCOUTFS_DAEMON_H

/* Forks. The parent waits for the child's word and exits with it; returns in the child alone, with 0
 * and *ready_fd for scout_daemon_ready, or -errno in the parent when there can be no child. Before
 * any thread is started. */
int scout_daemon_start(int *ready_fd);
/* In the child: it serves now. Leaves the terminal and the working directory. */
void scout_daemon_ready(int ready_fd);

#endif
