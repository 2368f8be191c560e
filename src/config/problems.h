/* Tells what is wrong with a config, all of it in one run. */
#ifndef CONFIG_PROBLEMS_H
#define CONFIG_PROBLEMS_H

#include <stdio.h>

#define SCOUT_LINE_NONE 0    /* the file as a whole */
#define SCOUT_LINE_OPTION -1 /* -o */

struct scout_problems {
	FILE *out;
	const char *file; /* borrowed; as the user named it */
	unsigned count;
};

/* "scoutfs: FILE:LINE: what". After a hundred only counts. */
void scout_problem(struct scout_problems *p, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Says how many were not told. */
void scout_problems_end(struct scout_problems *p);

#endif
