/* Where the log's lines go: to stderr, to a file, or to syslog, whose functions are this file's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include "scoutfs/log.h"

static struct {
	unsigned lines;
	int priority;
	char line[200];
} told;

__attribute__((format(printf, 2, 0))) static void take(int priority, const char *fmt, va_list ap)
{
	told.lines++;
	told.priority = priority;
	vsnprintf(told.line, sizeof(told.line), fmt, ap);
}

#undef syslog
void syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	take(priority, fmt, ap);
	va_end(ap);
}

/* What it is called where the compiler fortifies. */
__attribute__((format(printf, 3, 4))) void __syslog_chk(int priority, int flag, const char *fmt,
							...);

void __syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, fmt);
	take(priority, fmt, ap);
	va_end(ap);
}

/* How often word stands in the file. */
static unsigned count(const char *path, const char *word)
{
	char text[2000];
	unsigned n = 0;
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	for (const char *at = text; (at = strstr(at, word)); at++)
		n++;
	return n;
}

static void to_syslog_or_a_file(void **state)
{
	char path[] = "/tmp/scoutfs-test-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(scout_log_open(SCOUT_LOG_INFO, NULL, true), 0);
	scout_warn("s3: %s", "one");
	scout_debug("nobody asked for it");
	assert_int_equal(told.lines, 1);
	assert_int_equal(told.priority, LOG_WARNING);
	assert_string_equal(told.line, "s3: one");
	assert_int_equal(scout_log_open(SCOUT_LOG_INFO, path, true), 0);
	scout_warn("s3: %s", "two");
	assert_int_equal(told.lines, 1);
	assert_int_equal(count(path, " warn  s3: two\n"), 1);
	assert_int_equal(count(path, "\n"), 1);
	scout_log_close();
	unlink(path);
}

static void to_stderr(void **state)
{
	char path[] = "/tmp/scoutfs-test-XXXXXX";
	int fd = mkstemp(path), kept = dup(STDERR_FILENO);

	(void)state;
	told.lines = 0;
	assert_true(fd >= 0 && kept >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	scout_warn("s3: %s", "three");
	assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
	close(kept);
	close(fd);
	assert_int_equal(told.lines, 0);
	assert_int_equal(count(path, " warn  s3: three\n"), 1);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(to_syslog_or_a_file),
	    cmocka_unit_test(to_stderr),
	};

	return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
