/* Log lines to stderr, a file or syslog; see scoutfs/log.h. Where they go is set up once, before
 * other threads start. */
#include "scoutfs/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "scoutfs/clock.h"

#define LINE_MAX_BYTES 1024

static atomic_bool echoes;

/* immutable after start */
static enum scout_log_level log_level = SCOUT_LOG_INFO;
static int log_fd = STDERR_FILENO;
static bool log_to_syslog;

static const struct {
	const char *name;
	int priority;
} levels[] = {
    [SCOUT_LOG_ERROR] = {"error", LOG_ERR},
    [SCOUT_LOG_WARN] = {"warn", LOG_WARNING},
    [SCOUT_LOG_INFO] = {"info", LOG_INFO},
    [SCOUT_LOG_DEBUG] = {"debug", LOG_DEBUG},
};

int scout_log_open(enum scout_log_level level, const char *file, bool to_syslog)
{
	int fd = STDERR_FILENO;

	if (file) {
		fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
		if (fd < 0)
			return -errno;
	}
	scout_log_close();
	log_level = level;
	log_fd = fd;
	log_to_syslog = to_syslog && !file;
	if (log_to_syslog)
		openlog("scoutfs", LOG_PID, LOG_DAEMON);
	return 0;
}

void scout_log_close(void)
{
	if (log_fd != STDERR_FILENO)
		close(log_fd);
	if (log_to_syslog)
		closelog();
	log_fd = STDERR_FILENO;
	log_to_syslog = false;
}

int scout_log_reopen(const char *file)
{
	struct stat st;
	int err = 0, fd;

	if (!file)
		return 0;
	fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
	if (fd < 0)
		return -errno;
	/* who writes a line meanwhile has it in the one or the other; what is no file nobody moves away */
	if (fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && dup3(fd, log_fd, O_CLOEXEC) < 0))
		err = -errno;
	close(fd);
	return err;
}

void scout_log_echo(bool echo)
{
	atomic_store(&echoes, echo);
}

bool scout_log_wanted(enum scout_log_level level)
{
	return level <= log_level;
}

void scout_log(enum scout_log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	uint64_t now = scout_wall_ns();
	time_t seconds = (time_t)(now / SCOUT_NS_PER_S);
	struct tm tm;
	size_t len, head;
	va_list ap;
	int n;

	if (!scout_log_wanted(level))
		return;
	gmtime_r(&seconds, &tm);
	len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	head = len + (size_t)snprintf(line + len, sizeof(line) - len, ".%03uZ %-5s ",
				      (unsigned)(now / SCOUT_NS_PER_MS % 1000), levels[level].name);
	va_start(ap, fmt);
	n = vsnprintf(line + head, sizeof(line) - head - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	len = head + (size_t)n;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	if (level == SCOUT_LOG_ERROR && atomic_load(&echoes) &&
	    (log_to_syslog || log_fd != STDERR_FILENO))
		dprintf(STDERR_FILENO, "scoutfs: %.*s\n", (int)(len - head), line + head);
	if (log_to_syslog) {
		syslog(levels[level].priority, "%s", line + head);
		return;
	}
	line[len++] = '\n';
	while (write(log_fd, line, len) < 0 && errno == EINTR)
		;
}
