/* The names on the Host lines of an ssh_config and of what it includes. */
#ifndef CONFIG_SSH_NAMES_H
#define CONFIG_SSH_NAMES_H

#include <stddef.h>
#include <stdio.h>

struct scout_ssh_names {
	char **names;
	size_t count, cap;
	char *exec_at; /* "FILE:LINE" of the first "Match exec", or NULL */
	/* what has been read so far, over all files */
	size_t files, bytes;
};

/* Adds the names in path, then those of the files it includes. Returns 0, -ENOMEM, -errno of opening
 * path, or -E2BIG: too many files, bytes, names or levels of Include. */
int scout_ssh_names_load(struct scout_ssh_names *n, const char *path);
/* The same from a stream; Include is passed over. */
int scout_ssh_names_read(struct scout_ssh_names *n, FILE *in);

/* Keeps what allow matches and block does not (globs separated by commas), sorted, each once. */
int scout_ssh_names_filter(struct scout_ssh_names *n, const char *allow, const char *block);

/* Whether one of globs, separated by commas, matches name, without regard to case. Returns 1, 0 or
 * -ENOMEM. */
int scout_ssh_names_match(const char *globs, const char *name);

void scout_ssh_names_free(struct scout_ssh_names *n);

#endif
