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

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

int scout_daemon_start(struct scout_daemon *ret)
{
	int fds[3]; /* /dev/null: later there may be no descriptor for it; the pipe's ends */
	pid_t child;
	int err;

	fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fds[0] < 0)
		return -errno;
	if (pipe2(fds + 1, O_CLOEXEC) < 0) {
		err = -errno;
		close_all(fds, 1);
		return err;
	}
	child = fork();
	if (child < 0) {
		err = -errno;
		close_all(fds, 3);
		return err;
	}
	if (child > 0) {
		close(fds[2]);
		_exit(await_child(child, fds[1]));
	}
	close(fds[1]);
	(void)setsid(); /* fails only for a group leader, which a fresh child is not */
	*ret = (struct scout_daemon){.ready_fd = fds[2], .null_fd = fds[0]};
	return 0;
}

int scout_daemon_ready(struct scout_daemon *d)
{
	if (chdir("/") < 0)
		return -errno;
	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(d->null_fd, fd); /* of two open descriptors: cannot fail */
	close(d->null_fd);
	/* a parent that has gone meanwhile does not matter */
	(void)!write(d->ready_fd, "", 1);
	close(d->ready_fd);
	return 0;
}
