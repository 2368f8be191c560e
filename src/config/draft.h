/* A config while it is read: what the file and the options said, and on which line. */
#ifndef CONFIG_DRAFT_H
#define CONFIG_DRAFT_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1 /* a failed add is seen by hh.tbl == NULL */
#include <uthash.h>

#include "config/keys.h"
#include "config/problems.h"
#include "scoutfs/config.h"

#define SCOUT_HOSTS_MAX 100000 /* sections and names of ssh_config, each */

/* One [host NAME]. Its fields are those it sets itself, until scout_draft_finish. */
struct scout_draft_host {
	struct scout_host_config host;
	int line;                      /* of its header */
	int key_lines[SCOUT_KEYS_MAX]; /* 0: not set here */
	TAILQ_ENTRY(scout_draft_host) link;
	UT_hash_handle hh; /* not in the table when its name is bad or a duplicate */
};

struct scout_draft {
	struct scout_problems problems;
	int err; /* -ENOMEM, once */
	/* it is read again, by who is mounted with this; or NULL */
	const struct scout_config *running;

	struct scout_config *config;
	int key_lines[SCOUT_KEYS_MAX]; /* of the other three sections */
	uint64_t refused;              /* bits of those with a bad value */
	TAILQ_HEAD(, scout_draft_host) hosts;
	struct scout_draft_host *by_name;
	size_t nhosts;

	/* where the reader is */
	int line;
	enum scout_section section; /* 0: none, or one that is not known: its keys are skipped */
	bool outside;               /* before the first header */
	struct scout_draft_host *host;
};

/* file is borrowed, and only named. Returns 0 or -ENOMEM. */
int scout_draft_init(struct scout_draft *d, const char *file, FILE *errors);
void scout_draft_free(struct scout_draft *d);

/* Opens a file that is part of a config. mounted: it is read again, and refused with EINVAL if it is a pipe, which would
 * be empty by now, or wait for ever. */
FILE *scout_draft_open(const char *path, bool mounted);
/* What came of it, by its errno, for a person. */
const char *scout_draft_open_reason(int error);

/* Reads an ini; problems are told. */
void scout_draft_read(struct scout_draft *d, FILE *in);
/* "section.key=value", over what is there. */
void scout_draft_override(struct scout_draft *d, const char *option);
/* Whether the file itself (no option) set a secret, and which. */
const char *scout_draft_secret(const struct scout_draft *d);
/* What depends on several keys, and defaults that depend on others. */
void scout_draft_check(struct scout_draft *d);
/* Makes config->hosts of the sections and of names (sorted, no two alike, of ssh_config). Returns 0 or
 * -ENOMEM. */
int scout_draft_finish(struct scout_draft *d, char *const *names, size_t nnames);

/* The line of a key of [scoutfs], [hosts] or [models]; 0 when it is not set. */
int scout_draft_line(const struct scout_draft *d, enum scout_section section, const char *key);

#endif
