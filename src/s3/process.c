/* credential_process: a command that prints keys as JSON; see source.h. Run without a shell, with nothing to
 * read. What it complains of may hold secrets, so nobody sees that. No lock. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "s3/answer.h"
#include "s3/command.h"
#include "s3/source.h"
#include "scoutfs/child.h"
#include "scoutfs/clock.h"

#define OUTPUT_MAX ((size_t)64 << 10)
#define TIMEOUT_S 60 /* somebody may have to touch a key */
#define TIMEOUT_NS (TIMEOUT_S * SCOUT_NS_PER_S)

struct output {
	char *bytes; /* OUTPUT_MAX and a NUL */
	size_t len;
	bool too_long, ended;
};

/* All that is there now. */
static void take_output(int fd, struct output *o)
{
	ssize_t n;

	do {
		n = read(fd, o->bytes + o->len, OUTPUT_MAX - o->len);
		if (n > 0)
			o->len += (size_t)n;
		o->too_long = o->len == OUTPUT_MAX;
	} while ((n > 0 && !o->too_long) || (n < 0 && errno == EINTR));
	o->ended = n == 0 || (n < 0 && errno != EAGAIN);
}

/* False: there will be no more. */
static bool drop_complaints(int fd)
{
	char bytes[4096];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	/* once: whoever complains without end does not keep us from the deadline */
	explicit_bzero(bytes, sizeof(bytes));
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Until the child is over, also when a child of its own still holds its output. 0, -ECANCELED (stop_fd),
 * -ETIMEDOUT, -EFBIG, -errno. */
static int follow(const struct scout_child *c, int fd, int stop_fd, struct output *o)
{
	uint64_t deadline_ns = scout_now_ns() + TIMEOUT_NS;
	int pid_fd = pidfd_open(c->pid, 0), err = pid_fd < 0 ? -errno : -EAGAIN;
	bool complains = true;

	while (err == -EAGAIN) {
		struct pollfd p[] = {
		    {.fd = stop_fd, .events = POLLIN},
		    {.fd = pid_fd, .events = POLLIN},
		    {.fd = o->ended ? -1 : fd, .events = POLLIN},
		    {.fd = complains ? c->err_fd : -1, .events = POLLIN},
		};
		uint64_t now_ns = scout_now_ns();

		if (now_ns >= deadline_ns) {
			err = -ETIMEDOUT;
			break;
		}
		if (poll(p, 4, (int)((deadline_ns - now_ns) / SCOUT_NS_PER_MS) + 1) < 0)
			continue; /* a signal; the deadline holds */
		if (p[1].revents || p[2].revents)
			take_output(fd, o);
		complains = complains && drop_complaints(c->err_fd);
		if (p[0].revents)
			err = -ECANCELED;
		else if (o->too_long)
			err = -EFBIG;
		else if (p[1].revents)
			err = 0;
	}
	if (pid_fd >= 0)
		close(pid_fd);
	return err;
}

/* Runs argv to its end; *how it ended, when it did so by itself. */
static int run(char *const argv[], int stop_fd, struct output *o, siginfo_t *how)
{
	struct scout_child c;
	int fd, err = scout_child_start(&c, argv, NULL, &fd);

	if (err)
		return err;
	(void)shutdown(fd, SHUT_WR); /* nothing to read there; it may be over already */
	if (fcntl(fd, F_SETFL, O_NONBLOCK))
		err = -errno;
	if (!err)
		err = follow(&c, fd, stop_fd, o);
	if (!err && waitid(P_PID, (id_t)c.pid, how, WEXITED | WNOHANG | WNOWAIT))
		err = -errno;
	scout_child_deafen(&c);
	(void)scout_child_end(&c, 0, NULL, 0); /* how says more */
	close(fd);
	return err;
}

static int judge(int err, const siginfo_t *how, const struct output *o,
		 struct scout_s3_asking *asking, struct scout_s3_answer *ret)
{
	char why[SCOUT_S3_REASON_MAX];
	bool well = !err && how->si_code == CLD_EXITED && how->si_status == 0;

	if (err == -ETIMEDOUT)
		snprintf(why, sizeof(why), "not over after %d s", TIMEOUT_S);
	else if (err == -EFBIG)
		snprintf(why, sizeof(why), "it prints more than %zu bytes", OUTPUT_MAX);
	else if (err)
		snprintf(why, sizeof(why), "%s", strerror(-err));
	else if (!well)
		snprintf(why, sizeof(why), "%s %d",
			 how->si_code == CLD_EXITED ? "exit status" : "ended by signal",
			 how->si_status);
	else
		err = scout_s3_parse_json(o->bytes, o->len, SCOUT_JSON_PROCESS, ret, why);
	if (!err && well)
		return 0;
	snprintf(asking->reason, sizeof(asking->reason), "credential_process: %.200s", why);
	return err == -ECANCELED || err == -ENOMEM ? err : -EACCES;
}

int scout_s3_ask_process(const char *command, struct scout_s3_asking *asking,
			 struct scout_s3_answer *ret)
{
	struct output o = {.bytes = calloc(1, OUTPUT_MAX + 1)};
	siginfo_t how = {0};
	char **argv = NULL;
	int err = o.bytes ? scout_s3_command_split(command, &argv) : -ENOMEM;

	if (err == -EINVAL)
		snprintf(asking->reason, sizeof(asking->reason),
			 "credential_process: the command line has no word, or a quote too many");
	else if (err)
		snprintf(asking->reason, sizeof(asking->reason), "no memory");
	else if (argv[0][0] != '/' && strchr(argv[0], '/')) {
		snprintf(asking->reason, sizeof(asking->reason),
			 "credential_process: the command is neither an absolute path nor a name "
			 "of PATH");
		err = -EACCES; /* a daemon is in / */
	} else {
		err = run(argv, asking->stop_fd, &o, &how);
		err = judge(err, &how, &o, asking, ret);
	}
	free(argv);
	if (o.bytes)
		explicit_bzero(o.bytes, OUTPUT_MAX);
	free(o.bytes);
	return err == -EINVAL ? -EACCES : err;
}
