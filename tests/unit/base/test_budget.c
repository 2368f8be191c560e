/* Buffers, tickets and shares: nothing past the ceiling, everybody served in the end. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scoutfs/budget.h"
#include "scoutfs/lock.h"

#define BUFS 12 /* two tickets */

struct asker {
	struct scout_waiter waiter; /* first */
	int granted;
	void *buf;
};

static void on_granted(struct scout_waiter *w, void *buf)
{
	struct asker *a = (struct asker *)w;

	a->granted++;
	a->buf = buf;
}

#define ASKER                                      \
	{                                          \
		.waiter = {.granted = on_granted } \
	}

static struct scout_budget *budget_of(size_t bufs)
{
	struct scout_budget *b;

	assert_int_equal(scout_budget_new(bufs * SCOUT_BUF_BYTES, &b), 0);
	return b;
}

static struct scout_share *share_of(struct scout_budget *b, unsigned divisor)
{
	struct scout_share *s;

	assert_int_equal(scout_share_new(b, divisor, &s), 0);
	return s;
}

static void tickets_wait_in_order(void **state)
{
	struct scout_budget *b = budget_of(BUFS);
	struct scout_share *s = share_of(b, 1);
	struct asker a[4] = {ASKER, ASKER, ASKER, ASKER};

	(void)state;
	assert_true(scout_ticket_get(s, &a[0].waiter));
	assert_true(scout_ticket_get(s, &a[1].waiter));
	assert_false(scout_ticket_get(s, &a[2].waiter));
	assert_false(scout_ticket_get(s, &a[3].waiter));
	scout_ticket_put(s);
	assert_int_equal(a[2].granted, 1);
	assert_int_equal(a[3].granted, 0);
	assert_true(scout_waiter_cancel(s, &a[3].waiter));
	assert_false(scout_waiter_cancel(s, &a[3].waiter));
	scout_ticket_put(s);
	scout_ticket_put(s);
	assert_int_equal(a[3].granted, 0);
	scout_share_free(s);
	scout_budget_free(b);
}

static void a_share_leaves_tickets_for_others(void **state)
{
	struct scout_budget *b = budget_of(BUFS);
	struct scout_share *dead = share_of(b, 4), *live = share_of(b, 4);
	struct asker a[3] = {ASKER, ASKER, ASKER};

	(void)state;
	assert_true(scout_ticket_get(dead, &a[0].waiter));
	assert_false(scout_ticket_get(dead, &a[1].waiter));
	assert_true(scout_ticket_get(live, &a[2].waiter));
	scout_ticket_put(live);
	assert_int_equal(a[1].granted, 0);
	scout_ticket_put(dead);
	assert_int_equal(a[1].granted, 1);
	scout_ticket_put(dead);
	scout_share_free(dead);
	scout_share_free(live);
	scout_budget_free(b);
}

#define MANY 12
#define MANY_BUFS ((size_t)42 * SCOUT_READ_BUFS)

static struct scout_share *share_of_many(struct scout_budget *b)
{
	struct scout_share *s;

	assert_int_equal(scout_share_new_of_many(b, 4, &s), 0);
	return s;
}

/* All tickets that s may have, until a waits for one. */
static int take_tickets(struct scout_share *s, struct asker *a)
{
	int n = 0;

	while (scout_ticket_get(s, &a->waiter))
		n++;
	return n;
}

/* Hosts that hang, one after the other. */
static void many_shares_leave_tickets_for_another(void **state)
{
	struct scout_budget *b = budget_of(MANY_BUFS);
	struct scout_share *dead[MANY], *live = share_of_many(b);
	struct asker waits[MANY], a = ASKER;
	int has[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		dead[i] = share_of_many(b);
		waits[i] = (struct asker)ASKER;
		has[i] = take_tickets(dead[i], &waits[i]);
		assert_in_range(has[i], 1, 10);
		/* as many as before: nobody lost any */
		assert_true(i == 0 || has[i] <= has[i - 1]);
	}
	assert_int_equal(has[0], 10); /* alone a quarter of 42 */
	assert_true(scout_ticket_get(live, &a.waiter));
	scout_ticket_put(live);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(waits[i].granted, 0);
	for (int i = 0; i < MANY; i++) {
		while (has[i]-- > 0)
			scout_ticket_put(dead[i]);
		assert_int_equal(waits[i].granted, 1);
		scout_ticket_put(dead[i]);
		scout_share_free(dead[i]);
	}
	scout_share_free(live);
	scout_budget_free(b);
}

static void many_shares_leave_buffers_for_another(void **state)
{
	struct scout_budget *b = budget_of(MANY_BUFS);
	struct scout_share *dead[MANY], *live = share_of_many(b);
	void *bufs[MANY_BUFS], *buf;
	size_t has[MANY], n = 0;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		dead[i] = share_of_many(b);
		for (has[i] = 0; (bufs[n] = scout_buf_try(dead[i])); has[i]++)
			n++;
		assert_in_range(has[i], 1, MANY_BUFS / 4);
	}
	assert_int_equal(has[0], MANY_BUFS / 4);
	buf = scout_buf_try(live);
	assert_non_null(buf);
	scout_buf_put(live, buf);
	for (int i = MANY; i-- > 0;) {
		while (has[i]-- > 0)
			scout_buf_put(dead[i], bufs[--n]);
		scout_share_free(dead[i]);
	}
	scout_share_free(live);
	scout_budget_free(b);
}

/* A ticket given back may make room for two: for one of another share, and for the next one of its own. */
static void every_waiter_that_has_room_gets_its_ticket(void **state)
{
	struct scout_budget *b = budget_of((size_t)8 * SCOUT_READ_BUFS);
	struct scout_share *first = share_of_many(b), *second = share_of_many(b);
	struct asker a[2] = {ASKER, ASKER};

	(void)state;
	assert_true(scout_ticket_get(first, &a[0].waiter));
	assert_true(scout_ticket_get(second, &a[1].waiter));
	assert_false(scout_ticket_get(second, &a[1].waiter));
	assert_false(scout_ticket_get(first, &a[0].waiter));
	scout_ticket_put(first);
	assert_int_equal(a[1].granted, 1);
	assert_int_equal(a[0].granted, 1);
	scout_ticket_put(first);
	scout_ticket_put(second);
	scout_ticket_put(second);
	scout_share_free(first);
	scout_share_free(second);
	scout_budget_free(b);
}

static void buffers_stop_at_the_ceiling_and_go_to_who_waits(void **state)
{
	struct scout_budget *b = budget_of(BUFS);
	struct scout_share *s = share_of(b, 1);
	struct scout_budget_stats stats;
	struct asker a = ASKER;
	void *bufs[BUFS];

	(void)state;
	for (int i = 0; i < BUFS; i++) {
		bufs[i] = scout_buf_try(s);
		assert_non_null(bufs[i]);
		memset(bufs[i], i, SCOUT_BUF_BYTES);
	}
	assert_null(scout_buf_try(s));
	assert_null(scout_buf_get(s, &a.waiter));
	scout_budget_stats(b, &stats);
	assert_int_equal(stats.used_bytes, stats.limit_bytes);
	assert_int_equal(stats.waiting, 1);
	scout_buf_put(s, bufs[3]);
	assert_int_equal(a.granted, 1);
	assert_ptr_equal(a.buf, bufs[3]);
	for (int i = 0; i < BUFS; i++)
		scout_buf_put(s, bufs[i]);
	scout_budget_stats(b, &stats);
	assert_int_equal(stats.used_bytes, 0);
	scout_share_free(s);
	scout_budget_free(b);
}

struct hoard {
	struct scout_share *share;
	struct scout_budget *budget;
	void *bufs[BUFS];
	int count;
	void *late;
};

static bool reclaim(void *arg)
{
	struct hoard *h = arg;

	if (h->count == 0)
		return false;
	scout_buf_put(h->share, h->bufs[--h->count]);
	return true;
}

static void who_waits_gets_what_is_reclaimed(void **state)
{
	struct scout_budget *b = budget_of(BUFS);
	struct scout_share *s = share_of(b, 1);
	struct hoard h = {.share = s};
	struct asker a = ASKER;
	void *kept[BUFS], *buf;

	(void)state;
	scout_budget_add_reclaimer(b, reclaim, &h);
	for (int i = 0; i < BUFS; i++)
		kept[i] = scout_buf_try(s);
	assert_null(scout_buf_get(s, &a.waiter));
	/* a buffer becomes one that nobody needs: the waiter must hear of it */
	h.bufs[h.count++] = kept[0];
	scout_budget_poke(b);
	assert_int_equal(a.granted, 1);
	/* and one that can be reclaimed is had at once */
	h.bufs[h.count++] = kept[1];
	buf = scout_buf_get(s, &a.waiter);
	assert_ptr_equal(buf, kept[1]);
	for (int i = 0; i < BUFS; i++)
		scout_buf_put(s, kept[i]);
	scout_budget_remove_reclaimer(b, &h);
	scout_share_free(s);
	scout_budget_free(b);
}

/* As if another thread did it right after this one was asked in vain. */
static bool reclaim_a_moment_later(void *arg)
{
	struct hoard *h = arg;

	if (!h->late)
		return reclaim(h);
	h->bufs[h->count++] = h->late;
	h->late = NULL;
	scout_budget_poke(h->budget);
	return false;
}

static void what_is_given_up_before_one_waits_is_not_missed(void **state)
{
	struct scout_budget *b = budget_of(BUFS);
	struct scout_share *s = share_of(b, 1);
	struct hoard h = {.share = s, .budget = b};
	struct asker a = ASKER;
	void *kept[BUFS];

	(void)state;
	scout_budget_add_reclaimer(b, reclaim_a_moment_later, &h);
	for (int i = 0; i < BUFS; i++)
		kept[i] = scout_buf_try(s);
	h.late = kept[0];
	assert_null(scout_buf_get(s, &a.waiter));
	assert_int_equal(a.granted, 1);
	assert_ptr_equal(a.buf, kept[0]);
	for (int i = 0; i < BUFS; i++)
		scout_buf_put(s, kept[i]);
	scout_budget_remove_reclaimer(b, &h);
	scout_share_free(s);
	scout_budget_free(b);
}

/* As if another thread asked the next one in the meantime. */
static bool another_asks(void *arg)
{
	struct hoard *h = arg;

	if (h->late) {
		h->late = NULL;
		h->bufs[0] = scout_buf_try(h->share);
	}
	return false;
}

static void every_reclaimer_is_asked_whoever_else_asks(void **state)
{
	struct scout_budget *b = budget_of(BUFS);
	struct scout_share *s = share_of(b, 1);
	struct scout_share *other = share_of(b, 1);
	struct hoard first = {.share = other}, second = {.share = s}, third = {.share = s};
	struct asker a = ASKER;
	void *kept[BUFS];

	(void)state;
	for (int i = 0; i < BUFS; i++)
		kept[i] = scout_buf_try(s);
	scout_budget_add_reclaimer(b, another_asks, &first);
	scout_budget_add_reclaimer(b, reclaim, &second);
	scout_budget_add_reclaimer(b, reclaim, &third);
	first.late = kept[0];
	second.bufs[second.count++] = kept[0];
	second.bufs[second.count++] = kept[1];
	assert_ptr_equal(scout_buf_get(s, &a.waiter), kept[0]);
	assert_ptr_equal(first.bufs[0], kept[1]);
	scout_buf_put(other, kept[1]);
	for (int i = 0; i < BUFS; i++) {
		if (i != 1)
			scout_buf_put(s, kept[i]);
	}
	scout_budget_remove_reclaimer(b, &first);
	scout_budget_remove_reclaimer(b, &second);
	scout_budget_remove_reclaimer(b, &third);
	scout_share_free(other);
	scout_share_free(s);
	scout_budget_free(b);
}

struct reader {
	struct scout_waiter waiter; /* first */
	struct scout_share *share;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool granted;
	void *buf;
};

static void wake(struct scout_waiter *w, void *buf)
{
	struct reader *r = (struct reader *)w;

	pthread_mutex_lock(&r->lock);
	r->granted = true;
	r->buf = buf;
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

static void *await(struct reader *r)
{
	void *buf;

	pthread_mutex_lock(&r->lock);
	while (!r->granted)
		pthread_cond_wait(&r->cond, &r->lock);
	r->granted = false;
	buf = r->buf;
	pthread_mutex_unlock(&r->lock);
	return buf;
}

static void *read_often(void *arg)
{
	struct reader r = {.waiter = {.granted = wake},
			   .share = arg,
			   .lock = PTHREAD_MUTEX_INITIALIZER,
			   .cond = PTHREAD_COND_INITIALIZER};

	for (int round = 0; round < 300; round++) {
		void *bufs[SCOUT_READ_BUFS];

		if (!scout_ticket_get(r.share, &r.waiter))
			(void)await(&r);
		for (int i = 0; i < SCOUT_READ_BUFS; i++) {
			bufs[i] = scout_buf_get(r.share, &r.waiter);
			if (!bufs[i])
				bufs[i] = await(&r);
			*(char *)bufs[i] = 1;
		}
		for (int i = 0; i < SCOUT_READ_BUFS; i++)
			scout_buf_put(r.share, bufs[i]);
		scout_ticket_put(r.share);
	}
	return NULL;
}

static void many_readers_in_little_memory_all_end(void **state)
{
	struct scout_budget *b = budget_of(BUFS + 3);
	struct scout_share *s[2] = {share_of(b, 2), share_of(b, 1)};
	pthread_t threads[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_int_equal(scout_thread_start(&threads[i], "reader", read_often, s[i % 2]),
				 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	scout_share_free(s[0]);
	scout_share_free(s[1]);
	scout_budget_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tickets_wait_in_order),
	    cmocka_unit_test(a_share_leaves_tickets_for_others),
	    cmocka_unit_test(many_shares_leave_tickets_for_another),
	    cmocka_unit_test(many_shares_leave_buffers_for_another),
	    cmocka_unit_test(every_waiter_that_has_room_gets_its_ticket),
	    cmocka_unit_test(buffers_stop_at_the_ceiling_and_go_to_who_waits),
	    cmocka_unit_test(who_waits_gets_what_is_reclaimed),
	    cmocka_unit_test(what_is_given_up_before_one_waits_is_not_missed),
	    cmocka_unit_test(every_reclaimer_is_asked_whoever_else_asks),
	    cmocka_unit_test(many_readers_in_little_memory_all_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
