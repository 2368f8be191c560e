/* A growing string, for status, metrics, paths and messages. Zeroed is empty. Running out of memory
 * marks it failed and keeps what was there; look at failed once at the end. */
#ifndef SCOUTFS_TEXT_H
#define SCOUTFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scout_text {
	char *str; /* NUL-terminated, or NULL while empty */
	size_t len;
	size_t cap;
	bool failed;
};

void scout_text_append(struct scout_text *t, const char *bytes, size_t len);
void scout_text_printf(struct scout_text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The string, which the caller frees (never NULL unless failed); t is empty again. */
char *scout_text_take(struct scout_text *t);
void scout_text_free(struct scout_text *t);

/* Frees a string that was secret; NULL is fine. */
void scout_wipe(char *secret);

/* bytes as a person reads them ("24.8 MB"), duration ("3m 20s"); buf of at least 32 bytes. */
const char *scout_format_bytes(char buf[32], uint64_t bytes);
const char *scout_format_duration(char buf[32], uint64_t ns);
/* How long ago it was when scout_wall_ns was wall_ns; of what is to come 0. */
const char *scout_format_ago(char buf[32], uint64_t wall_ns);
/* name with control bytes, quotes and backslashes as \xNN, for logs and status; truncates. */
const char *scout_format_name(char *buf, size_t cap, const char *name);

#endif
