/* The command line: scoutfs [CONFIG] MOUNTPOINT [-f] [-d] [-s] [-o OPT,...], --check, --help, --version. */
#ifndef SCOUTFS_OPTIONS_H
#define SCOUTFS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

enum scout_command { SCOUT_MOUNT, SCOUT_CHECK, SCOUT_HELP, SCOUT_VERSION };

struct scout_options {
	enum scout_command command;
	const char *config;     /* or NULL: look in the usual places */
	const char *mountpoint; /* of SCOUT_MOUNT */
	bool foreground, debug, single;
	uid_t uid; /* (uid_t)-1: as the backends say */
	gid_t gid;
	mode_t umask;
	char **overrides; /* "section.key=value", owned */
	size_t noverrides;
	char **mount; /* for the kernel and libfuse, owned */
	size_t nmount;
};

/* Returns 0, -EINVAL after a message to errors, or -ENOMEM. ret is to be freed in every case. */
int scout_options_parse(int argc, char **argv, FILE *errors, struct scout_options *ret);
void scout_options_free(struct scout_options *o);
void scout_options_help(FILE *out);
/* Adds a mount option to what was given. 0 or -ENOMEM. */
int scout_options_add_mount(struct scout_options *o, const char *option);

#endif
