/* Messages about the config, bounded in number. */
#include "config/problems.h"

#include <stdarg.h>

#include "scoutfs/text.h"

#define TOLD_MAX 100 /* a file that is not an ini at all has one on every line */

void scout_problem(struct scout_problems *p, int line, const char *fmt, ...)
{
	char file[512];
	va_list ap;

	if (p->count++ >= TOLD_MAX)
		return;
	if (line == SCOUT_LINE_OPTION)
		fprintf(p->out, "scoutfs: -o: ");
	else
		fprintf(p->out, "scoutfs: %s:", scout_format_name(file, sizeof(file), p->file));
	if (line > 0)
		fprintf(p->out, "%d:", line);
	if (line != SCOUT_LINE_OPTION)
		fputc(' ', p->out);
	va_start(ap, fmt);
	vfprintf(p->out, fmt, ap);
	va_end(ap);
	fputc('\n', p->out);
}

void scout_problems_end(struct scout_problems *p)
{
	if (p->count > TOLD_MAX)
		fprintf(p->out, "scoutfs: %s: and %u more\n", p->file, p->count - TOLD_MAX);
}
