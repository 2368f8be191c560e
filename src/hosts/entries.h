/* Some entries of a directory, which never change, in one piece of memory that free() gives back. */
#ifndef SCOUTFS_HOSTS_ENTRIES_H
#define SCOUTFS_HOSTS_ENTRIES_H

#include "hosts/hosts.h"
#include "hosts/names.h"

struct scout_entries {
	TAILQ_ENTRY(scout_entries) link;
	uint64_t first;
	size_t count;
	struct scout_dirent entries[]; /* the names lie behind */
};

/* Copies what is acceptable of an answer; bytes also counts what is not, so that a listing of bad
 * names ends as well. NULL: no memory. */
struct scout_entries *scout_entries_new(struct scout_host *host,
					const struct scout_sftp_call *answer, size_t *bytes);
/* All of names, in the order in which they were listed. NULL: no memory. */
struct scout_entries *scout_entries_of(const struct scout_names *names);

#endif
