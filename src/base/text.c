/* Growing strings and the forms in which people read numbers; see scoutfs/text.h. */
#include "scoutfs/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/clock.h"

static bool reserve(struct scout_text *t, size_t more)
{
	size_t need = t->len + more + 1, cap = t->cap ? t->cap : 128;
	char *grown;

	if (t->failed)
		return false;
	if (need <= t->cap)
		return true;
	while (cap < need)
		cap *= 2;
	grown = realloc(t->str, cap);
	if (!grown) {
		t->failed = true;
		return false;
	}
	t->str = grown;
	t->cap = cap;
	return true;
}

void scout_text_append(struct scout_text *t, const char *bytes, size_t len)
{
	if (!reserve(t, len))
		return;
	memcpy(t->str + t->len, bytes, len);
	t->len += len;
	t->str[t->len] = '\0';
}

void scout_text_printf(struct scout_text *t, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0 || !reserve(t, (size_t)len))
		return;
	va_start(ap, fmt);
	vsnprintf(t->str + t->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	t->len += (size_t)len;
}

char *scout_text_take(struct scout_text *t)
{
	char *str = NULL;

	if (reserve(t, 0)) {
		str = t->str;
		str[t->len] = '\0';
		t->str = NULL;
	}
	scout_text_free(t);
	return str;
}

void scout_text_free(struct scout_text *t)
{
	free(t->str);
	memset(t, 0, sizeof(*t));
}

void scout_wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

const char *scout_format_bytes(char buf[32], uint64_t bytes)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 1000) {
		snprintf(buf, 32, "%" PRIu64 " B", bytes);
		return buf;
	}
	for (value /= 1000; value >= 999.95 && unit < 5; unit++)
		value /= 1000;
	snprintf(buf, 32, "%.1f %s", value, units[unit]);
	return buf;
}

const char *scout_format_duration(char buf[32], uint64_t ns)
{
	uint64_t s = ns / SCOUT_NS_PER_S;

	if (ns < SCOUT_NS_PER_S)
		snprintf(buf, 32, "%" PRIu64 " ms", ns / SCOUT_NS_PER_MS);
	else if (s < 60)
		snprintf(buf, 32, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(buf, 32, "%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, 32, "%" PRIu64 "h %" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(buf, 32, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
	return buf;
}

const char *scout_format_ago(char buf[32], uint64_t wall_ns)
{
	uint64_t now = scout_wall_ns();

	return scout_format_duration(buf, now > wall_ns ? now - wall_ns : 0);
}

const char *scout_format_name(char *buf, size_t cap, const char *name)
{
	static const char hex[] = "0123456789abcdef";
	size_t len = 0;

	for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
		bool plain = *p >= 0x20 && *p != 0x7f && *p != '"' && *p != '\\';

		if (len + (plain ? 1 : 4) >= cap)
			break;
		if (plain) {
			buf[len++] = (char)*p;
		} else {
			buf[len++] = '\\';
			buf[len++] = 'x';
			buf[len++] = hex[*p >> 4];
			buf[len++] = hex[*p & 15];
		}
	}
	if (cap > 0)
		buf[len] = '\0';
	return buf;
}
