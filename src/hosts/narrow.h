/* Why an operation that changes a path failed, where the server's word says too little: SFTP version 3
 * has one code for most errors, so the paths are looked at once, after the failure. What is seen may
 * have come about since; then the errno is that of a moment later. */
#ifndef SCOUTFS_HOSTS_NARROW_H
#define SCOUTFS_HOSTS_NARROW_H

#include "hosts/hosts.h"

#define SCOUT_NARROW_LOOKS 6

struct scout_narrow {
	/* set by the caller; paths as in the failed call, borrowed until done */
	struct scout_host *host;
	const char *path, *path2;
	/* Once, with no lock held, perhaps before scout_narrow returns. */
	void (*done)(struct scout_narrow *n, int err);

	enum scout_sftp_op op;
	uint32_t flags; /* OPEN's */
	int err;
	uint32_t status;
	char *parent, *parent2;
	struct scout_rpc looks[SCOUT_NARROW_LOOKS];
	uint64_t deadline_ns;
};

/* Narrows the error of failed, a call with n's paths: looks where that can help. */
void scout_narrow(struct scout_narrow *n, const struct scout_rpc *failed);

/* What was seen. Modes with the type, 0 for what is not there. */
struct scout_scene {
	mode_t at, parent, at2, parent2;
	bool full, read_only, across; /* across: path2 is on another filesystem */
	bool long_name;               /* for that filesystem */
	bool any;                     /* OPEN would have taken what is there */
};
/* The errno for it: pure. */
int scout_narrow_err(enum scout_sftp_op op, int err, const char *path, const char *path2,
		     const struct scout_scene *scene);

#endif
