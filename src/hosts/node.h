/* A remote file that this mount has open, one for each path, shared by all handles on it: what we have
 * written to it and the server has not answered, in order, and how its path changes under us.
 *
 * What it promises: writes of all handles reach the server in the order in which they came, where they
 * overlap; whoever looks at the file by its path (attributes, truncation, rename) or reads it looks
 * after the writes that were taken before; a reader is told nothing of the file's change when it
 * was ours.
 *
 * Paths are remote ones. Calls run with no lock held. */
#ifndef SCOUTFS_HOSTS_NODE_H
#define SCOUTFS_HOSTS_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct scout_attr;
struct scout_host;
struct scout_node;
struct scout_sftp_attrs;

/* Waits for the writes to a file; embedded in the caller's request. */
struct scout_settle {
	void (*settled)(struct scout_settle *w); /* once, with no lock held */
	TAILQ_ENTRY(scout_settle) link;          /* the node's, as is seq */
	uint64_t seq;
};

/* True: no write of ours to path is unanswered (also when it is not open at all). False: w->settled is
 * called when those taken so far have been answered, or failed. */
bool scout_node_settle(struct scout_host *host, const char *path, struct scout_settle *w);

/* Whether what a listing said of path may be told: nobody writes to it here, and whoever has it open has seen
 * nothing else. */
bool scout_node_bears(struct scout_host *host, const char *path, const struct scout_attr *attr);

/* What was known of our own changes when a look at the file went out. */
struct scout_view {
	uint64_t epoch, cut;
	bool quiet; /* none was under way, nor may one be that was lost */
};

/* A change of what path holds otherwise than by its handles: its size or times, by path. Embedded in the
 * caller's request, and zeroed. */
struct scout_outside {
	struct scout_node *node; /* with a reference, from begin to end */
	struct scout_view view;  /* when it began, but for itself */
};

/* Right before the calls go out: 0 or -ENOMEM. */
int scout_node_begin(struct scout_host *host, const char *path, struct scout_outside *o);
/* When all are answered. before, after: what looks at path showed right before the change and right behind it, all
 * in one round trip; both NULL: it failed, maybe in part. */
void scout_node_end(struct scout_outside *o, const char *path,
		    const struct scout_sftp_attrs *before, const struct scout_sftp_attrs *after);
/* A change of ours, of any kind, was lost with its session and may arrive yet: for a while no change of the file
 * counts as another's. */
void scout_node_doubt(struct scout_node *n);
/* After the server did it: path has no name any more, or is another file's. */
void scout_node_unlinked(struct scout_host *host, const char *path);
/* After the server did it: of a file, or of a directory and everything below it. What was at newpath
 * has lost its name. */
void scout_node_renamed(struct scout_host *host, const char *path, const char *newpath);

#endif
