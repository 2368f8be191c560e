/* A command of ours beside the daemon (ssh for jump hosts and for reading ssh_config, ProxyCommand,
 * credential_process). It talks over a socket pair, writes complaints to a pipe, and is always reaped. */
#ifndef SCOUTFS_CHILD_H
#define SCOUTFS_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SCOUT_ARGS_MAX 96

/* An argument list that owns its strings and ends with NULL. Zeroed is empty. */
struct scout_args {
	char *argv[SCOUT_ARGS_MAX + 1];
	size_t count;
	int err; /* of any add: -ENOMEM, -E2BIG */
};

void scout_args_add(struct scout_args *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void scout_args_free(struct scout_args *a);

struct scout_child {
	pid_t pid; /* 0: none */
	int err_fd;
};

/* Starts argv[0] (looked up in PATH) in a process group of its own, with the default signals; *fd is
 * our end of its standard input and output. shell: what it finds in $SHELL (NULL: what we have there).
 * 0 or -errno. Any thread. */
int scout_child_start(struct scout_child *c, char *const argv[], const char *shell, int *fd);

/* Waits for at most ms until it has ended by itself. */
void scout_child_wait(const struct scout_child *c, unsigned ms);

/* What it complains of from now on nobody reads, nor does the log. */
void scout_child_deafen(struct scout_child *c);

/* Ends it by SIGTERM, after grace_ms by SIGKILL, and reaps it. Gives the last line it complained with
 * (or ""). c is none afterwards; none is fine. Returns whether its exit status was 0. */
bool scout_child_end(struct scout_child *c, unsigned grace_ms, char *complaint, size_t cap);

#endif
