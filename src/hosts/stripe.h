/* Further handles of a file that is written faster than one session takes it: each on a session of its
 * own, and for writes alone. Which write may go on which is turn.c's to say. */
#ifndef SCOUTFS_HOSTS_STRIPE_H
#define SCOUTFS_HOSTS_STRIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one file, beside its own handle, at a far host and at others. */
#define SCOUT_STRIPES 7
#define SCOUT_STRIPES_NEAR 3
/* Of each so much is under way at least, and at most: the most keeps any session busy (OpenSSH's takes 2 MiB at a
 * time), and little more, so that what others ask on it does not wait for long. */
#define SCOUT_STRIPE_LEAST ((size_t)1 << 20)
#define SCOUT_STRIPE_MOST ((size_t)3 << 20)
/* For each so much of the file was written before: a connect costs a server and a distant writer what these bytes do. */
#define SCOUT_STRIPE_STEP ((uint64_t)16 << 20)

struct scout_candidate;
struct scout_file;
struct scout_handle;
struct scout_session;
struct scout_turn;

/* A file's, under its node->lock. */
struct scout_stripes {
	struct scout_handle *handles[SCOUT_STRIPES];
	unsigned count;
	uint64_t written;                                  /* that the server has answered */
	struct scout_candidate *candidates[SCOUT_STRIPES]; /* may become the next ones */
	unsigned ncandidates;
	unsigned failures; /* of candidates: after a few there is no other */
	uint64_t next_ns;  /* nor before that, when there was no session for one */
	uint64_t cut;      /* the node's when candidates last failed by it, which counts once */
};

/* How many a file may have at a host whose answers take so long, of a machine of so many cores. */
unsigned scout_stripes_most(uint64_t round_trip_ns, unsigned cores);
/* How much is to be under way on each. */
size_t scout_stripe_share(uint64_t round_trip_ns);
/* The handle for t, a write that may go only on a session (NULL: on any): own, which is its file's, or a
 * stripe, whichever has least under way. NULL: t has to wait for an answer. *widen: one stripe more
 * would help; ask for it by scout_stripe_widen. Under node->lock. */
struct scout_handle *scout_stripe_pick_locked(const struct scout_turn *t, struct scout_handle *own,
					      const struct scout_session *only, bool *widen);
/* Goes a step on the way to as many stripes as there may be. No lock held; the caller holds f. */
void scout_stripe_widen(struct scout_file *f);
/* A turn is back from h, a stripe: it is given up when its session was lost (left: with something
 * that may have reached the server) or is to make room for another host. No lock held. */
void scout_stripe_back(struct scout_file *f, struct scout_handle *h, bool lost, bool left);
/* Takes all out of f, under node->lock, for scout_stripes_free. */
void scout_stripes_take_locked(struct scout_file *f, struct scout_stripes *ret);
/* No lock held. */
void scout_stripes_free(struct scout_stripes *s);

#endif
