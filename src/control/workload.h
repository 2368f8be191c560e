/* Workloads: readers by the dozen, started by a line that is written to .scoutfs/workload, and what came of
 * them. One runs at a time; the last SCOUT_RUNS_MAX are remembered.
 *
 * The readers are scoutfs-load, which lies beside our own binary: a program of its own that reads through
 * the mount, as anybody would. A thread follows what it prints. */
#ifndef SCOUTFS_CONTROL_WORKLOAD_H
#define SCOUTFS_CONTROL_WORKLOAD_H

#include <stddef.h>

#include "scoutfs/text.h"

#define SCOUT_RUNS_MAX 16

struct scout_workload;

/* mountpoint is borrowed until free. Returns 0, -ENOMEM, -errno. */
int scout_workload_new(const char *mountpoint, struct scout_workload **ret);
/* Ends what runs, and its thread; starts fail with -ESHUTDOWN from now on. NULL is fine. */
void scout_workload_stop(struct scout_workload *w);
void scout_workload_free(struct scout_workload *w); /* stopped; NULL is fine */

/* "model=M version=V [clients=N] [duration=S]", S in seconds (0: each client once), and a line's end or not.
 * Any thread; does not wait for the run. 0; -EINVAL: not such a line, logged; -EBUSY: one is running;
 * -ENOMEM, -ESHUTDOWN, -EAGAIN (no thread). */
int scout_workload_start(struct scout_workload *w, const char *line, size_t len);

/* Appends the runs, the newest last. Any thread, never waits. */
void scout_workload_show(struct scout_workload *w, struct scout_text *out);

#endif
