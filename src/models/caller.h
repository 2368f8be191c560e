/* What /proc tells of whoever closes a file. */
#ifndef MODELS_CALLER_H
#define MODELS_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum scout_fate {
	SCOUT_FATE_LIVES,   /* it called close(2), or one of its kind */
	SCOUT_FATE_ENDED,   /* it ended, with status 0 */
	SCOUT_FATE_FAILED,  /* it ended with another status */
	SCOUT_FATE_KILLED,  /* a signal ended it */
	SCOUT_FATE_UNKNOWN, /* it cannot be seen from here */
};

/* Of the thread task (0: not known) of user, while it waits for us. */
enum scout_fate scout_caller_fate(pid_t task, uid_t user);
/* Whether a process that we may look into has the file with this number, of this device (0: of any), open for
 * writing. */
bool scout_caller_is_open(dev_t device, uint64_t ino);

#endif
