/* Signals that wait for a thread, by /proc; see signals.h. */
#include "fs/signals.h"

#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define BIT(number) (UINT64_C(1) << ((number)-1))

#define ASKS_TO_END (BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGTERM) | BIT(SIGKILL))
/* Of the others these kill nobody. */
#define STOPS (BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU))
#define KILLS_NOT (STOPS | BIT(SIGCONT) | BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGWINCH))

/* As proc_pid_status(5) has them. */
struct sets {
	uint64_t own, shared; /* pending */
	uint64_t blocked, caught;
};

static bool read_sets(pid_t tid, struct sets *s)
{
	char path[32], *line = NULL;
	size_t size = 0;
	int found = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (getline(&line, &size, f) > 0) {
		found += sscanf(line, "SigPnd: %" SCNx64, &s->own) == 1;
		found += sscanf(line, "ShdPnd: %" SCNx64, &s->shared) == 1;
		found += sscanf(line, "SigBlk: %" SCNx64, &s->blocked) == 1;
		found += sscanf(line, "SigCgt: %" SCNx64, &s->caught) == 1;
	}
	free(line);
	fclose(f);
	return found == 4;
}

bool scout_signals_end_call(pid_t tid)
{
	struct sets s;
	uint64_t pending;

	if (tid <= 0 || !read_sets(tid, &s))
		return true;
	pending = (s.own | s.shared) & ~s.blocked; /* what is ignored is never pending */
	return pending & (ASKS_TO_END | ~(s.caught | KILLS_NOT));
}
