/* Which signals end the call that a thread waits in.
 *
 * The kernel's INTERRUPT comes for any signal, and once in a call: also for one that stops the program (Ctrl-Z), for
 * one that it handles and goes on (a timer, the end of a child), and for a debugger that attaches. */
#ifndef SCOUTFS_FS_SIGNALS_H
#define SCOUTFS_FS_SIGNALS_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether a signal waits for thread tid that kills it, or that asks it to end, as Ctrl-C does, whether handled or
 * not. Also when that is not to be seen: tid is 0, of another pid namespace, or gone. */
bool scout_signals_end_call(pid_t tid);

#endif
