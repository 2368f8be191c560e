/* Whose call is next: small ones first, flows in turn, and nobody waits for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "s3/queue.h"
#include "scoutfs/clock.h"

#define BULK ((uint64_t)8 << 20)

static struct scout_s3_call get(const void *flow, uint64_t bytes)
{
	return (struct scout_s3_call){.op = SCOUT_S3_GET, .flow = flow, .length = bytes};
}

static int setup(void **state)
{
	static struct scout_s3_queue q;

	assert_int_equal(scout_s3_queue_init(&q), 0);
	*state = &q;
	return 0;
}

static int teardown(void **state)
{
	scout_s3_queue_destroy(*state); /* asserts that it is empty */
	return 0;
}

static void add_all(struct scout_s3_queue *q, struct scout_s3_call *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		scout_s3_queue_add(q, &calls[i]);
}

static void assert_next(struct scout_s3_queue *q, const struct scout_s3_call *call)
{
	assert_ptr_equal(scout_s3_queue_take(q, true, UINT64_MAX), call);
}

static void what_is_small(void **state)
{
	struct scout_s3_call head = {.op = SCOUT_S3_HEAD}, list = {.op = SCOUT_S3_LIST};
	struct scout_s3_call small = get(NULL, 256 << 10), bulk = get(NULL, (256 << 10) + 1);
	struct scout_s3_call part = {.op = SCOUT_S3_PART, .body_bytes = BULK};

	(void)state;
	assert_true(scout_s3_is_small(&head));
	assert_true(scout_s3_is_small(&list));
	assert_true(scout_s3_is_small(&small));
	assert_false(scout_s3_is_small(&bulk));
	assert_false(scout_s3_is_small(&part));
}

static void in_turn(void **state, uint64_t bytes)
{
	const char a, b, c;
	struct scout_s3_call calls[] = {get(&a, bytes), get(&a, bytes), get(&a, bytes),
					get(&a, bytes), get(&b, bytes), get(&b, bytes),
					get(&c, bytes)};

	add_all(*state, calls, 7);
	assert_next(*state, &calls[0]);
	assert_next(*state, &calls[4]);
	assert_next(*state, &calls[6]);
	assert_next(*state, &calls[1]);
	scout_s3_queue_add(*state, &calls[6]); /* who comes back goes behind those who wait */
	assert_next(*state, &calls[5]);
	assert_next(*state, &calls[2]);
	assert_next(*state, &calls[6]);
	assert_next(*state, &calls[3]);
	assert_next(*state, NULL);
}

static void flows_are_served_in_turn(void **state)
{
	in_turn(state, BULK);
	in_turn(state, 4096);
}

static void a_hundred_flows_share_evenly(void **state)
{
	static const char flows[100];
	static struct scout_s3_call calls[100][50];
	unsigned taken[100] = {0};

	for (size_t f = 0; f < 100; f++) {
		for (size_t i = 0; i < 50; i++) {
			calls[f][i] = get(&flows[f], BULK);
			scout_s3_queue_add(*state, &calls[f][i]);
		}
	}
	for (size_t n = 0; n < 5000; n++) {
		const struct scout_s3_call *call = scout_s3_queue_take(*state, true, UINT64_MAX);
		size_t f = (size_t)((const char *)call->flow - flows);

		assert_int_equal(taken[f]++, n / 100);
	}
}

static void a_flows_turns_at_bulk_are_apart(void **state)
{
	const char a, b;
	struct scout_s3_call calls[] = {get(&a, BULK), get(&a, BULK), get(&a, BULK), get(&b, BULK)};
	struct scout_s3_call small[] = {get(&a, 4096), get(&a, 4096)};
	struct scout_s3_call nobodys[] = {get(NULL, BULK), get(NULL, BULK)};
	uint64_t now_ns = 1, due_ns;

	add_all(*state, calls, 3);
	assert_true(scout_s3_queue_due_ns(*state) == UINT64_MAX);
	assert_ptr_equal(scout_s3_queue_take(*state, true, now_ns), &calls[0]);
	assert_null(scout_s3_queue_take(*state, true, now_ns));
	due_ns = scout_s3_queue_due_ns(*state);
	scout_s3_queue_add(*state, &calls[3]); /* another need not wait for that */
	assert_ptr_equal(scout_s3_queue_take(*state, true, now_ns), &calls[3]);
	assert_null(scout_s3_queue_take(*state, true, now_ns));
	assert_int_equal(due_ns, now_ns + SCOUT_NS_PER_MS);
	/* that is not for small ones, nor for those that nobody takes in order */
	add_all(*state, small, 2);
	add_all(*state, nobodys, 2);
	assert_ptr_equal(scout_s3_queue_take(*state, true, due_ns - 1), &small[0]);
	assert_ptr_equal(scout_s3_queue_take(*state, true, due_ns - 1), &small[1]);
	assert_ptr_equal(scout_s3_queue_take(*state, true, due_ns - 1), &nobodys[0]);
	assert_ptr_equal(scout_s3_queue_take(*state, true, due_ns - 1), &nobodys[1]);
	assert_null(scout_s3_queue_take(*state, true, due_ns - 1));
	/* without room for bulk it waits on, and is not too soon any more */
	assert_null(scout_s3_queue_take(*state, false, due_ns));
	assert_true(scout_s3_queue_due_ns(*state) == UINT64_MAX);
	assert_ptr_equal(scout_s3_queue_take(*state, true, due_ns), &calls[1]);
	/* what waits for its turn can be taken out; the end takes all */
	assert_true(scout_s3_queue_remove(*state, &calls[2]));
	assert_true(scout_s3_queue_due_ns(*state) == UINT64_MAX);
	add_all(*state, calls, 2);
	assert_ptr_equal(scout_s3_queue_take(*state, true, due_ns), &calls[0]);
	assert_null(scout_s3_queue_take(*state, true, due_ns));
	assert_ptr_equal(scout_s3_queue_take(*state, true, UINT64_MAX), &calls[1]);
}

static void where_several_wait_none_is_apart(void **state)
{
	const char a, b;
	struct scout_s3_call calls[] = {get(&a, BULK), get(&a, BULK), get(&b, BULK), get(&b, BULK)};

	add_all(*state, calls, 4);
	assert_ptr_equal(scout_s3_queue_take(*state, true, 1), &calls[0]);
	assert_ptr_equal(scout_s3_queue_take(*state, true, 1), &calls[2]);
	assert_ptr_equal(scout_s3_queue_take(*state, true, 1), &calls[1]);
	assert_ptr_equal(scout_s3_queue_take(*state, true, 1), &calls[3]);
}

static void only_a_flows_first_turns_are_apart(void **state)
{
	static struct scout_s3_call calls[100];
	const char a;
	uint64_t now_ns = 1;
	size_t apart = 0;

	for (size_t i = 0; i < 100; i++)
		calls[i] = get(&a, BULK);
	add_all(*state, calls, 100);
	for (size_t i = 0; i < 100; i++) {
		struct scout_s3_call *call = scout_s3_queue_take(*state, true, now_ns);

		if (!call) {
			now_ns = scout_s3_queue_due_ns(*state);
			apart++;
			call = scout_s3_queue_take(*state, true, now_ns);
		}
		assert_ptr_equal(call, &calls[i]);
	}
	assert_int_equal(apart, 15);
}

static void small_calls_go_first(void **state)
{
	const char a, b;
	struct scout_s3_call bulk = get(&a, BULK), small = get(&b, 4096),
			     head = {.op = SCOUT_S3_HEAD};

	scout_s3_queue_add(*state, &bulk);
	scout_s3_queue_add(*state, &small);
	scout_s3_queue_add(*state, &head);
	assert_next(*state, &small);
	assert_next(*state, &head);
	assert_null(scout_s3_queue_take(*state, false, UINT64_MAX));
	assert_next(*state, &bulk);
}

static void bulk_is_not_starved(void **state)
{
	struct scout_s3_call bulk[2] = {get(NULL, BULK), get(NULL, BULK)}, heads[20] = {0};

	for (size_t i = 0; i < 20; i++)
		heads[i].op = SCOUT_S3_HEAD;
	add_all(*state, heads, 20);
	add_all(*state, bulk, 2);
	/* what has no connection to itself is not in anybody's way */
	for (size_t i = 0; i < 6; i++)
		assert_ptr_equal(scout_s3_queue_take(*state, false, UINT64_MAX), &heads[i]);
	for (size_t i = 6; i < 13; i++)
		assert_next(*state, &heads[i]);
	assert_next(*state, &bulk[0]);
	for (size_t i = 13; i < 20; i++)
		assert_next(*state, &heads[i]);
	assert_next(*state, &bulk[1]);
}

static void a_call_may_be_taken_out(void **state)
{
	const char a, b;
	struct scout_s3_call calls[] = {get(&a, BULK), get(&b, BULK), get(&a, BULK),
					get(NULL, BULK)};

	add_all(*state, calls, 4);
	assert_true(scout_s3_queue_remove(*state, &calls[1]));
	assert_false(scout_s3_queue_remove(*state, &calls[1]));
	assert_true(scout_s3_queue_remove(*state, &calls[0]));
	assert_true(scout_s3_queue_remove(*state, &calls[3]));
	assert_next(*state, &calls[2]);
	assert_next(*state, NULL);
}

static void before_its_time_a_call_waits_for_nothing(void **state)
{
	const char a;
	struct scout_s3_queue *q = *state;
	struct scout_s3_call later = {.op = SCOUT_S3_HEAD, .not_before_ns = 100},
			     sooner = {.op = SCOUT_S3_HEAD, .not_before_ns = 50},
			     bulk = get(&a, BULK), head = {.op = SCOUT_S3_HEAD};

	bulk.not_before_ns = 50;
	scout_s3_queue_add(q, &later);
	scout_s3_queue_add(q, &sooner);
	scout_s3_queue_add(q, &bulk);
	assert_int_equal(q->count, 0);
	assert_null(scout_s3_queue_take(q, true, 49));
	scout_s3_queue_add(q, &head);
	assert_int_equal(q->count, 1);
	assert_ptr_equal(scout_s3_queue_take(q, true, 50), &head); /* it was in line before */
	assert_ptr_equal(scout_s3_queue_take(q, true, 50), &sooner);
	assert_ptr_equal(scout_s3_queue_take(q, true, 50), &bulk);
	assert_null(scout_s3_queue_take(q, true, 99));
	/* it can be taken out; the end takes all */
	assert_true(scout_s3_queue_remove(q, &later));
	assert_false(scout_s3_queue_remove(q, &later));
	assert_null(scout_s3_queue_take(q, true, 100));
	scout_s3_queue_add(q, &later);
	assert_next(q, &later);
	assert_int_equal(q->count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_small),
	    cmocka_unit_test_setup_teardown(flows_are_served_in_turn, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_hundred_flows_share_evenly, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_flows_turns_at_bulk_are_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(where_several_wait_none_is_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(only_a_flows_first_turns_are_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(small_calls_go_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(bulk_is_not_starved, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_call_may_be_taken_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(before_its_time_a_call_waits_for_nothing, setup,
					    teardown),
	};

	return cmocka_run_group_tests_name("s3/queue", tests, NULL, NULL);
}
