/* Log lines: "2026-01-31T12:00:00.123Z warn  web1: connect: no route to host (EHOSTUNREACH)".
 * One write(2) a line, from any thread; never called with a lock held. Secrets never go in. */
#ifndef SCOUTFS_LOG_H
#define SCOUTFS_LOG_H

#include <stdbool.h>

enum scout_log_level { SCOUT_LOG_ERROR, SCOUT_LOG_WARN, SCOUT_LOG_INFO, SCOUT_LOG_DEBUG };

/* Until this is called, lines of info and above go to stderr. file NULL: stderr, or syslog when
 * to_syslog. Returns 0 or -errno (the file cannot be opened; the log stays as it was). */
int scout_log_open(enum scout_log_level level, const char *file, bool to_syslog);
void scout_log_close(void);
/* Opens the file that it goes to anew, which may have been moved away; NULL: it goes to none. Any thread. Returns 0 or
 * -errno (the log stays as it was). */
int scout_log_reopen(const char *file);
/* From now on errors go to stderr, too, where whoever started us may still read it. Any thread. */
void scout_log_echo(bool echo);

bool scout_log_wanted(enum scout_log_level level);
void scout_log(enum scout_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define scout_error(...) scout_log(SCOUT_LOG_ERROR, __VA_ARGS__)
#define scout_warn(...) scout_log(SCOUT_LOG_WARN, __VA_ARGS__)
#define scout_info(...) scout_log(SCOUT_LOG_INFO, __VA_ARGS__)
#define scout_debug(...) scout_log(SCOUT_LOG_DEBUG, __VA_ARGS__)

#endif
