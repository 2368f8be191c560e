/* Child processes. posix_spawn, since a fork of a process with many threads may hold any lock. No lock;
 * each child belongs to one thread. */
#include "scoutfs/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scoutfs/log.h"

void scout_args_add(struct scout_args *a, const char *fmt, ...)
{
	char *str = NULL;
	va_list ap;
	int n;

	if (a->count == SCOUT_ARGS_MAX) {
		a->err = -E2BIG;
		return;
	}
	va_start(ap, fmt);
	n = vasprintf(&str, fmt, ap);
	va_end(ap);
	if (n < 0)
		a->err = -ENOMEM;
	else
		a->argv[a->count++] = str;
}

void scout_args_free(struct scout_args *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->argv[i]);
	memset(a, 0, sizeof(*a));
}

/* Our environment with another SHELL; only the array and its first string are the caller's to free. */
static char **with_shell(const char *shell)
{
	size_t count = 0, kept = 1;
	char **env;

	while (environ[count])
		count++;
	env = calloc(count + 2, sizeof(*env));
	if (!env || asprintf(&env[0], "SHELL=%s", shell) < 0) {
		free(env);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], "SHELL=", 6) != 0)
			env[kept++] = environ[i];
	return env;
}

static int spawn(pid_t *pid, char *const argv[], char *const env[], int io_fd, int err_fd)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&files))
		return -ENOMEM;
	if (posix_spawnattr_init(&attr)) {
		posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	err = posix_spawn_file_actions_adddup2(&files, io_fd, STDIN_FILENO);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&files, io_fd, STDOUT_FILENO);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&files, err_fd, STDERR_FILENO);
	if (!err)
		err = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	/* our threads block all signals, which a child would inherit */
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
					    POSIX_SPAWN_SETPGROUP);
	if (!err)
		err = posix_spawnp(pid, argv[0], &files, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -err;
}

static int open_pipes(int io[2], int complaints[2])
{
	int err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, io))
		return -errno;
	/* non-blocking at both ends: a child that complains more than the pipe holds loses words,
	 * and does not wait for a reader */
	if (!pipe2(complaints, O_CLOEXEC | O_NONBLOCK))
		return 0;
	err = -errno;
	close(io[0]);
	close(io[1]);
	return err;
}

int scout_child_start(struct scout_child *c, char *const argv[], const char *shell, int *fd)
{
	char **env = shell ? with_shell(shell) : NULL;
	int io[2], complaints[2], err;
	pid_t pid;

	if (shell && !env)
		return -ENOMEM;
	err = open_pipes(io, complaints);
	if (!err) {
		err = spawn(&pid, argv, env ? env : environ, io[1], complaints[1]);
		close(io[1]);
		close(complaints[1]);
		if (err) {
			close(io[0]);
			close(complaints[0]);
		}
	}
	if (env)
		free(env[0]);
	free(env);
	if (err)
		return err;
	c->pid = pid;
	c->err_fd = complaints[0];
	*fd = io[0];
	return 0;
}

/* The last line of what is in the pipe; each line goes to the log as well. */
static void read_complaints(int fd, pid_t pid, char *last, size_t cap)
{
	char text[4096], *line, *save = NULL;
	ssize_t n = read(fd, text, sizeof(text) - 1);

	if (cap)
		last[0] = '\0';
	if (n <= 0)
		return;
	text[n] = '\0';
	for (line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		scout_debug("child %d: %s", (int)pid, line);
		if (cap)
			snprintf(last, cap, "%s", line);
	}
}

void scout_child_wait(const struct scout_child *c, unsigned ms)
{
	struct pollfd p = {.fd = pidfd_open(c->pid, 0), .events = POLLIN};

	if (p.fd < 0)
		return; /* killed at once, then */
	(void)poll(&p, 1, (int)ms);
	close(p.fd);
}

void scout_child_deafen(struct scout_child *c)
{
	close(c->err_fd);
	c->err_fd = -1;
}

bool scout_child_end(struct scout_child *c, unsigned grace_ms, char *complaint, size_t cap)
{
	int status = -1; /* not known is not 0 */

	if (cap)
		complaint[0] = '\0';
	if (!c->pid)
		return true;
	if (c->err_fd >= 0) {
		/* before the signal, which ssh would complain about too */
		read_complaints(c->err_fd, c->pid, complaint, cap);
		close(c->err_fd);
	}
	(void)kill(-c->pid, SIGTERM); /* its group: what a shell started goes too */
	scout_child_wait(c, grace_ms);
	(void)kill(-c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
