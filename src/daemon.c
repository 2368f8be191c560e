/* Going to the background; see daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child's exit status, or 0 once it said that it is ready. */
static int await_child(pid_t child, int fd)
{
	char word;
	ssize_t n;
	int status;

	do
		n = read(fd, &word, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

int scout_daemon_start(int *ready_fd)
{
	int pipe_fd[2];
	pid_t child;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0) {
		int err = -errno;

		close(pipe_fd[0]);
		close(pipe_fd[1]);
		return err;
	}
	if (child > 0) {
		close(pipe_fd[1]);
		_exit(await_child(child, pipe_fd[0]));
	}
	close(pipe_fd[0]);
	(void)setsid(); /* fails only for a group leader, which a fresh child is not */
	*ready_fd = pipe_fd[1];
	return 0;
}

void scout_daemon_ready(int ready_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (chdir("/") < 0 || null < 0)
		_exit(1);
	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(null, fd); /* of two open descriptors: cannot fail */
	close(null);
	/* a parent that has gone meanwhile does not matter */
	(void)!write(ready_fd, "", 1);
	close(ready_fd);
}
