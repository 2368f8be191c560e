/* Buffers under one ceiling, tickets and shares; see scoutfs/budget.h.
 *
 * The buffers are slots of one anonymous mapping of the ceiling's size: taking one cannot fail, and
 * the process cannot pass the ceiling. Free ones are warm (their pages are there) or cold; warm ones
 * are taken first, and of those only so many are kept.
 *
 * One lock, b->lock, for all of it; it is held for a few list operations at a time. */
#include "scoutfs/budget.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "scoutfs/lock.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define WARM_DIVISOR 4 /* this part of the ceiling may stay with the process while it is free */
#define MAX_RECLAIMERS 64

TAILQ_HEAD(waiters, scout_waiter);

struct reclaimer {
	bool (*reclaim)(void *arg);
	void *arg;
};

struct scout_share {
	struct scout_budget *budget;   /* immutable */
	unsigned divisor;              /* immutable */
	bool of_many;                  /* immutable */
	size_t tickets, bufs;          /* under budget->lock */
	struct waiters waiting;        /* for tickets, under budget->lock */
	TAILQ_ENTRY(scout_share) link; /* in budget->hungry while waiting is not empty */
};

struct scout_budget {
	uint8_t *slots;     /* immutable */
	size_t limit;       /* in buffers, immutable */
	size_t max_tickets; /* immutable */

	struct scout_mutex lock;
	/* under lock: two stacks, cold from the array's start up, warm from its end down */
	void **free_slots;
	size_t cold, warm;           /* how many; warm is also read without the lock, as a hint */
	size_t tickets;              /* under lock */
	size_t bufs_of_many;         /* under lock: what the shares that are of many hold */
	size_t waiting_count;        /* under lock: for tickets and buffers */
	struct waiters waiting_bufs; /* under lock, first come first served */
	TAILQ_HEAD(, scout_share) hungry;            /* under lock, round robin */
	struct reclaimer reclaimers[MAX_RECLAIMERS]; /* under lock */
	size_t nreclaimers;                          /* under lock */
	size_t next_reclaimer;                       /* under lock */
};

int scout_budget_new(size_t bytes, struct scout_budget **ret)
{
	struct scout_budget *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->limit = bytes / SCOUT_BUF_BYTES;
	assert(b->limit >= SCOUT_READ_BUFS);
	b->max_tickets = b->limit / SCOUT_READ_BUFS;
	b->free_slots = calloc(b->limit, sizeof(*b->free_slots));
	b->slots = mmap(NULL, b->limit * SCOUT_BUF_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!b->free_slots || b->slots == MAP_FAILED) {
		if (b->slots != MAP_FAILED)
			munmap(b->slots, b->limit * SCOUT_BUF_BYTES);
		free(b->free_slots);
		free(b);
		return -ENOMEM;
	}
	/* else its first filling costs more in page faults than in copying */
	(void)madvise(b->slots, b->limit * SCOUT_BUF_BYTES, MADV_HUGEPAGE);
	ASAN_POISON_MEMORY_REGION(b->slots, b->limit * SCOUT_BUF_BYTES);
	for (size_t i = 0; i < b->limit; i++)
		b->free_slots[i] = b->slots + (b->limit - 1 - i) * SCOUT_BUF_BYTES;
	b->cold = b->limit;
	scout_mutex_init(&b->lock, SCOUT_LOCK_BUDGET);
	TAILQ_INIT(&b->waiting_bufs);
	TAILQ_INIT(&b->hungry);
	*ret = b;
	return 0;
}

void scout_budget_free(struct scout_budget *b)
{
	if (!b)
		return;
	assert(b->cold + b->warm == b->limit && b->tickets == 0);
	ASAN_UNPOISON_MEMORY_REGION(b->slots, b->limit * SCOUT_BUF_BYTES);
	munmap(b->slots, b->limit * SCOUT_BUF_BYTES);
	scout_mutex_destroy(&b->lock);
	free(b->free_slots);
	free(b);
}

static int share_new(struct scout_budget *b, unsigned divisor, bool of_many,
		     struct scout_share **ret)
{
	struct scout_share *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->budget = b;
	s->divisor = divisor;
	s->of_many = of_many;
	TAILQ_INIT(&s->waiting);
	*ret = s;
	return 0;
}

int scout_share_new(struct scout_budget *b, unsigned divisor, struct scout_share **ret)
{
	return share_new(b, divisor, false, ret);
}

int scout_share_new_of_many(struct scout_budget *b, unsigned divisor, struct scout_share **ret)
{
	return share_new(b, divisor, true, ret);
}

void scout_share_free(struct scout_share *s)
{
	if (!s)
		return;
	assert(s->tickets == 0 && s->bufs == 0 && TAILQ_EMPTY(&s->waiting));
	free(s);
}

size_t scout_share_bufs(const struct scout_share *s)
{
	return s->budget->limit / s->divisor;
}

/* Whether s, which has so many of all, may have one more. Of many it may while what then is free is still
 * divisor - 1 times what it has: alone that is its part of all, and the less the more others have. */
static bool has_room(const struct scout_share *s, size_t has, size_t all, size_t free)
{
	if (has == 0)
		return true;
	if (s->of_many)
		return (has + 1) * (s->divisor - 1) < free;
	return has < all / s->divisor;
}

static bool has_ticket_locked(const struct scout_share *s)
{
	const struct scout_budget *b = s->budget;

	return b->tickets < b->max_tickets &&
	       has_room(s, s->tickets, b->max_tickets, b->max_tickets - b->tickets);
}

static bool has_buf_locked(const struct scout_share *s)
{
	const struct scout_budget *b = s->budget;

	return has_room(s, s->bufs, b->limit, b->limit - b->bufs_of_many);
}

static void count_buf_locked(struct scout_share *s)
{
	s->bufs++;
	s->budget->bufs_of_many += s->of_many;
}

static void uncount_buf_locked(struct scout_share *s)
{
	s->bufs--;
	s->budget->bufs_of_many -= s->of_many;
}

static void wait_locked(struct scout_share *s, struct waiters *queue, struct scout_waiter *w)
{
	w->share = s;
	w->waiting = true;
	TAILQ_INSERT_TAIL(queue, w, link);
	s->budget->waiting_count++;
}

static void unwait_locked(struct scout_share *s, struct waiters *queue, struct scout_waiter *w)
{
	TAILQ_REMOVE(queue, w, link);
	w->waiting = false;
	s->budget->waiting_count--;
}

bool scout_ticket_get(struct scout_share *s, struct scout_waiter *w)
{
	struct scout_budget *b = s->budget;
	bool now;

	scout_lock(&b->lock);
	now = TAILQ_EMPTY(&s->waiting) && has_ticket_locked(s);
	if (now) {
		s->tickets++;
		b->tickets++;
	} else {
		if (TAILQ_EMPTY(&s->waiting))
			TAILQ_INSERT_TAIL(&b->hungry, s, link);
		wait_locked(s, &s->waiting, w);
	}
	scout_unlock(&b->lock);
	return now;
}

/* The next waiter whose share has room, its ticket counted; NULL when there is none. */
static struct scout_waiter *next_ticket_locked(struct scout_budget *b)
{
	struct scout_share *s;
	struct scout_waiter *w;

	TAILQ_FOREACH (s, &b->hungry, link) {
		if (has_ticket_locked(s))
			break;
	}
	if (!s)
		return NULL;
	w = TAILQ_FIRST(&s->waiting);
	unwait_locked(s, &s->waiting, w);
	TAILQ_REMOVE(&b->hungry, s, link);
	if (!TAILQ_EMPTY(&s->waiting))
		TAILQ_INSERT_TAIL(&b->hungry, s, link);
	s->tickets++;
	b->tickets++;
	return w;
}

void scout_ticket_put(struct scout_share *s)
{
	struct scout_budget *b = s->budget;
	struct scout_waiter *w;

	scout_lock(&b->lock);
	assert(s->tickets > 0);
	s->tickets--;
	b->tickets--;
	/* with one more free, and s with one less, more than one share may have got room */
	while ((w = next_ticket_locked(b))) {
		scout_unlock(&b->lock);
		w->granted(w, NULL);
		scout_lock(&b->lock);
	}
	scout_unlock(&b->lock);
	scout_budget_poke(b);
}

static void set_warm_locked(struct scout_budget *b, size_t warm)
{
	__atomic_store_n(&b->warm, warm, __ATOMIC_RELAXED);
}

static void *take_locked(struct scout_share *s)
{
	struct scout_budget *b = s->budget;
	void *buf;

	if (b->warm > 0) {
		buf = b->free_slots[b->limit - b->warm];
		set_warm_locked(b, b->warm - 1);
	} else if (b->cold > 0) {
		buf = b->free_slots[--b->cold];
	} else {
		return NULL;
	}
	count_buf_locked(s);
	ASAN_UNPOISON_MEMORY_REGION(buf, SCOUT_BUF_BYTES);
	return buf;
}

/* Asks each reclaimer once at most, in turn; true when one gave a buffer back. */
static bool reclaim_one(struct scout_budget *b)
{
	bool gave = false;
	size_t asked = 0, count, first = 0;

	do {
		struct reclaimer r = {0};

		scout_lock(&b->lock);
		count = b->nreclaimers;
		if (asked == 0)
			first = b->next_reclaimer++;
		if (asked < count)
			r = b->reclaimers[(first + asked) % count];
		scout_unlock(&b->lock);
		if (r.reclaim)
			gave = r.reclaim(r.arg);
	} while (!gave && ++asked < count);
	return gave;
}

void *scout_buf_get(struct scout_share *s, struct scout_waiter *w)
{
	struct scout_budget *b = s->budget;
	bool more = true;
	void *buf;

	for (;;) {
		scout_lock(&b->lock);
		buf = TAILQ_EMPTY(&b->waiting_bufs) ? take_locked(s) : NULL;
		if (!buf && !more)
			wait_locked(s, &b->waiting_bufs, w);
		scout_unlock(&b->lock);
		if (buf)
			return buf;
		if (!more)
			break;
		more = reclaim_one(b);
	}
	/* what became reclaimable since it was asked for found nobody waiting */
	scout_budget_poke(b);
	return NULL;
}

void *scout_buf_try(struct scout_share *s)
{
	struct scout_budget *b = s->budget;
	bool allowed, more = true;
	void *buf = NULL;

	while (!buf && more) {
		scout_lock(&b->lock);
		allowed = TAILQ_EMPTY(&b->waiting_bufs) && has_buf_locked(s);
		if (allowed)
			buf = take_locked(s);
		scout_unlock(&b->lock);
		more = !buf && allowed && reclaim_one(b);
	}
	return buf;
}

void scout_buf_put(struct scout_share *s, void *buf)
{
	struct scout_budget *b = s->budget;
	struct scout_waiter *w;
	bool cold;

	if (!buf)
		return;
	/* before others can take it; the hint may miss by a few */
	cold = __atomic_load_n(&b->warm, __ATOMIC_RELAXED) >= b->limit / WARM_DIVISOR;
	if (cold)
		(void)madvise(buf, SCOUT_BUF_BYTES, MADV_DONTNEED);
	scout_lock(&b->lock);
	uncount_buf_locked(s);
	w = TAILQ_FIRST(&b->waiting_bufs);
	if (w) {
		unwait_locked(w->share, &b->waiting_bufs, w);
		count_buf_locked(w->share);
	} else {
		ASAN_POISON_MEMORY_REGION(buf, SCOUT_BUF_BYTES);
		if (cold) {
			b->free_slots[b->cold++] = buf;
		} else {
			set_warm_locked(b, b->warm + 1);
			b->free_slots[b->limit - b->warm] = buf;
		}
	}
	scout_unlock(&b->lock);
	if (w)
		w->granted(w, buf);
}

void scout_budget_poke(struct scout_budget *b)
{
	bool hungry;

	do {
		scout_lock(&b->lock);
		hungry = !TAILQ_EMPTY(&b->waiting_bufs);
		scout_unlock(&b->lock);
	} while (hungry && reclaim_one(b));
}

bool scout_waiter_cancel(struct scout_share *s, struct scout_waiter *w)
{
	struct scout_budget *b = s->budget;
	struct scout_waiter *other;
	bool waiting = false;

	scout_lock(&b->lock);
	if (w->waiting) {
		waiting = true;
		TAILQ_FOREACH (other, &s->waiting, link) {
			if (other == w)
				break;
		}
		unwait_locked(s, other ? &s->waiting : &b->waiting_bufs, w);
		if (other && TAILQ_EMPTY(&s->waiting))
			TAILQ_REMOVE(&b->hungry, s, link);
	}
	scout_unlock(&b->lock);
	return waiting;
}

void scout_budget_add_reclaimer(struct scout_budget *b, bool (*reclaim)(void *arg), void *arg)
{
	scout_lock(&b->lock);
	assert(b->nreclaimers < MAX_RECLAIMERS);
	b->reclaimers[b->nreclaimers++] = (struct reclaimer){reclaim, arg};
	scout_unlock(&b->lock);
}

void scout_budget_remove_reclaimer(struct scout_budget *b, void *arg)
{
	scout_lock(&b->lock);
	for (size_t i = 0; i < b->nreclaimers; i++) {
		if (b->reclaimers[i].arg == arg) {
			b->reclaimers[i] = b->reclaimers[--b->nreclaimers];
			break;
		}
	}
	scout_unlock(&b->lock);
}

void scout_budget_stats(struct scout_budget *b, struct scout_budget_stats *ret)
{
	scout_lock(&b->lock);
	*ret = (struct scout_budget_stats){
	    .limit_bytes = b->limit * SCOUT_BUF_BYTES,
	    .used_bytes = (b->limit - b->cold - b->warm) * SCOUT_BUF_BYTES,
	    .tickets = b->tickets,
	    .tickets_limit = b->max_tickets,
	    .waiting = b->waiting_count,
	};
	scout_unlock(&b->lock);
}
