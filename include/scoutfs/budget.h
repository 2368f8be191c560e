/* The ceiling on buffer memory ([scoutfs] memory), and how it is shared.
 *
 * All file bytes live in buffers of SCOUT_BUF_BYTES that belong to one budget. A read that a person
 * waits for first gets a ticket; a ticket promises that SCOUT_READ_BUFS buffers can be had, since
 * there are never more tickets than buffers / SCOUT_READ_BUFS. Read-ahead takes what is spare and
 * never waits. When nothing is spare, reclaimers are asked to give back a buffer that no reader
 * waits for (a cached block, an unread window). So a ticket holder waits only for buffers that are
 * being filled right now, and these end within their own deadline.
 *
 * Each host has a share, so that readers who wait for a dead host cannot hold all memory; and the more of it
 * some hosts hold, the less may each: many dead ones leave some, too.
 *
 * Thread-safe. Callbacks run with no lock held, on the thread that gave the thing back. */
#ifndef SCOUTFS_BUDGET_H
#define SCOUTFS_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#define SCOUT_BUF_BYTES ((size_t)256 * 1024)
#define SCOUT_READ_BUFS 6 /* what one read may hold: 1 MiB at any alignment */
#define SCOUT_READ_MAX ((size_t)1024 * 1024)
#define SCOUT_WRITE_MAX SCOUT_BUF_BYTES

struct scout_budget;
struct scout_share;

/* Waits for a ticket or for a buffer; embedded in the caller's request. granted() gets the buffer,
 * or NULL for a ticket. */
struct scout_waiter {
	void (*granted)(struct scout_waiter *w, void *buf);
	TAILQ_ENTRY(scout_waiter) link; /* the budget's, while it waits */
	struct scout_share *share;      /* the budget's, while it waits */
	bool waiting;                   /* under the budget's lock */
};

/* bytes is at least SCOUT_READ_BUFS buffers (the config checks it). Returns 0 or -ENOMEM. */
int scout_budget_new(size_t bytes, struct scout_budget **ret);
void scout_budget_free(
    struct scout_budget *b); /* every buffer and share given back; NULL is fine */

/* A share of at most 1/divisor of the tickets and buffers (at least one of each). */
int scout_share_new(struct scout_budget *b, unsigned divisor, struct scout_share **ret);
/* One of many such shares: n that have all they may have 1/(divisor - 1 + n) each. */
int scout_share_new_of_many(struct scout_budget *b, unsigned divisor, struct scout_share **ret);
void scout_share_free(struct scout_share *s);
/* So many buffers at most, as long as no other has any. */
size_t scout_share_bufs(const struct scout_share *s);

/* A ticket: true when it was given at once, else w waits in the share's queue. */
bool scout_ticket_get(struct scout_share *s, struct scout_waiter *w);
void scout_ticket_put(struct scout_share *s);

/* A buffer for a ticket holder: at once, or NULL and w waits. Ahead of all read-ahead. */
void *scout_buf_get(struct scout_share *s, struct scout_waiter *w);
/* A buffer for read-ahead: NULL when none is spare, the share is used up, or somebody waits. */
void *scout_buf_try(struct scout_share *s);
void scout_buf_put(struct scout_share *s, void *buf); /* NULL is fine */

/* Says that a buffer became one that reclaim() would give back (its bytes came and no reader waits
 * for them), so that whoever waits for a buffer can have it. Cheap when nobody waits. */
void scout_budget_poke(struct scout_budget *b);

/* Takes w out of its queue: true when it was still there (granted will not be called). */
bool scout_waiter_cancel(struct scout_share *s, struct scout_waiter *w);

/* reclaim() gives back one buffer that no reader waits for (by scout_buf_put) and returns true, or
 * returns false. Called with no budget lock held, perhaps from several threads. Before any use. */
void scout_budget_add_reclaimer(struct scout_budget *b, bool (*reclaim)(void *arg), void *arg);
void scout_budget_remove_reclaimer(struct scout_budget *b, void *arg);

struct scout_budget_stats {
	size_t limit_bytes, used_bytes, tickets, tickets_limit, waiting;
};
void scout_budget_stats(struct scout_budget *b, struct scout_budget_stats *ret);

#endif
