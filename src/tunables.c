/* Tunables of glibc, by way of its environment and exec(2); see tunables.h. */
#include "tunables.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "scoutfs/text.h"

#define VARIABLE "GLIBC_TUNABLES"
#define TUNABLE "glibc.cpu.x86_rep_movsb_threshold"
#define NEVER "=1073741824"
/* What VARIABLE was; there is one where the program was begun anew. */
#define BEFORE "SCOUTFS_GLIBC_TUNABLES"

static bool is_amd(void)
{
#ifdef __x86_64__
	__builtin_cpu_init();
	return __builtin_cpu_is("amd");
#else
	return false;
#endif
}

/* Without memory children have ours, which is no harm. */
static void restore(const char *before)
{
	if (*before)
		(void)setenv(VARIABLE, before, 1);
	else
		(void)unsetenv(VARIABLE);
	(void)unsetenv(BEFORE);
}

static void begin_anew(char **argv, const char *said)
{
	struct scout_text with = {0};

	scout_text_printf(&with, "%s%s%s", said, *said ? ":" : "", TUNABLE NEVER);
	if (!with.failed && setenv(BEFORE, said, 1) == 0 && setenv(VARIABLE, with.str, 1) == 0)
		(void)execv("/proc/self/exe", argv);
	scout_text_free(&with);
}

void scout_tunables_set(char **argv)
{
	const char *before = getenv(BEFORE), *said = getenv(VARIABLE);
	char *copy;

	if (before) {
		(void)prctl(PR_SET_NAME, program_invocation_short_name); /* it was begun as "exe" */
		copy = strdup(before);
	} else if (is_amd() && !getauxval(AT_SECURE) && !(said && strstr(said, TUNABLE))) {
		copy = strdup(said ? said : "");
		if (copy)
			begin_anew(argv, copy);
	} else {
		return;
	}
	if (copy)
		restore(copy);
	free(copy);
}
