/* What is asked for once more: a request that hangs by itself; where all are silent, one and no more;
 * one that is far slower than others, those that have ended among them; and nobody's for the time in
 * which we were not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "s3/callbacks.h"
#include "s3/engine.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"

#define MS SCOUT_NS_PER_MS
#define MIB (1024u * 1024)
#define COUNT 6

struct rig {
	struct scout_models_config config;
	struct scout_s3 s3;
	struct scout_s3_call call;
	struct scout_s3_transfer t[COUNT];
	uint64_t now_ns;
};

/* A byte of a header comes. */
static void hear(struct scout_s3_transfer *t)
{
	char line[] = "HTTP/1.1 206 Partial Content\r\n";

	assert_int_equal(scout_s3_on_header(line, 1, strlen(line), t), strlen(line));
}

/* All of them have just begun to answer. */
static void start(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->config.max_attempts = 3;
	rig->config.timeout_ns = 30 * SCOUT_NS_PER_S;
	rig->s3.context.config = &rig->config;
	scout_s3_limit_init(&rig->s3.limit, 150);
	rig->call = (struct scout_s3_call){.op = SCOUT_S3_GET, .length = 1, .if_match = "\"x\""};
	rig->now_ns = SCOUT_NS_PER_S;
	scout_s3_pulse_turn(&rig->s3.context.pulse, rig->now_ns);
	for (size_t i = 0; i < COUNT; i++) {
		rig->t[i].context = &rig->s3.context;
		rig->t[i].call = &rig->call;
		hear(&rig->t[i]);
	}
}

/* Turns of the thread, in each of which the first n hear something. */
static void turns(struct rig *rig, unsigned ms, size_t n)
{
	for (; ms > 0; ms -= 50) {
		rig->now_ns += 50 * MS;
		scout_s3_pulse_turn(&rig->s3.context.pulse, rig->now_ns);
		for (size_t i = 0; i < n; i++)
			hear(&rig->t[i]);
	}
}

static bool is_due(const struct rig *rig, size_t i)
{
	return scout_s3_hedge_due_ns(&rig->s3, &rig->t[i], rig->now_ns) <= rig->now_ns;
}

static unsigned due(const struct rig *rig)
{
	unsigned n = 0;

	for (size_t i = 0; i < COUNT; i++)
		n += is_due(rig, i);
	return n;
}

static void hedge(struct rig *rig, size_t i, struct scout_s3_transfer **twin)
{
	*twin = scout_s3_hedge_new(&rig->s3, &rig->t[i]);
	assert_non_null(*twin);
	rig->s3.context.pulse.probing = true; /* it went out */
}

/* The first n have a body of which much is to come. */
static void run_bodies(struct rig *rig, size_t n)
{
	rig->call.length = 1 << 30;
	TAILQ_INIT(&rig->s3.running);
	for (size_t i = 0; i < n; i++) {
		rig->t[i].has_body = true;
		TAILQ_INSERT_TAIL(&rig->s3.running, &rig->t[i], link);
	}
}

/* One does, alone, and a period begins. */
static void start_one(struct rig *rig)
{
	start(rig);
	run_bodies(rig, 1);
	turns(rig, 1000, 1);
	assert_true(scout_s3_hedge_compare(&rig->s3, rig->now_ns));
	assert_false(rig->t[0].slow);
}

/* A period goes by in which so much comes of that one. */
static void second(struct rig *rig, uint64_t bytes)
{
	uint64_t before = rig->t[0].moved;

	turns(rig, 1000, 1);
	rig->t[0].moved = before + bytes;
	assert_true(scout_s3_hedge_compare(&rig->s3, rig->now_ns));
}

/* So many bodies end that came within took_ms. */
static void end_bodies(struct rig *rig, unsigned n, uint64_t bytes, unsigned took_ms)
{
	struct scout_s3_call call = {.op = SCOUT_S3_GET, .length = bytes};
	struct scout_s3_transfer t = {.call = &call, .got = bytes, .upto = bytes, .moved = bytes};

	for (t.begun_ns = rig->now_ns - took_ms * MS; n > 0; n--)
		scout_s3_hedge_note_end(&rig->s3, &t, rig->now_ns);
}

static void what_is_silent_among_others_hangs(void **state)
{
	struct rig rig;

	(void)state;
	start(&rig);
	turns(&rig, 950, COUNT - 2);
	assert_int_equal(due(&rig), 0);
	turns(&rig, 50, COUNT - 2);
	assert_int_equal(due(&rig), 2);
	assert_true(is_due(&rig, COUNT - 1) && is_due(&rig, COUNT - 2));
}

static void of_an_endpoint_that_is_silent_one_is_asked(void **state)
{
	struct scout_s3_transfer *twin;
	struct rig rig;

	(void)state;
	start(&rig);
	turns(&rig, 950, 0);
	assert_int_equal(due(&rig), 0);
	turns(&rig, 50, 0);
	assert_true(is_due(&rig, 0));
	hedge(&rig, 0, &twin);
	assert_int_equal(due(&rig), 0);
	turns(&rig, 10000, 0);
	assert_int_equal(due(&rig), 0);
	free(twin);
}

static void a_hedge_that_never_went_out_is_none(void **state)
{
	struct scout_s3_transfer *twin;
	struct rig rig;

	(void)state;
	start(&rig);
	turns(&rig, 1000, 0);
	twin = scout_s3_hedge_new(&rig.s3, &rig.t[0]);
	assert_non_null(twin);
	assert_true(is_due(&rig, 1));
	free(twin);
}

static void an_endpoint_that_wakes_has_its_moment(void **state)
{
	struct scout_s3_transfer *twin;
	struct rig rig;

	(void)state;
	start(&rig);
	turns(&rig, 2000, 0);
	hedge(&rig, 0, &twin);
	hear(&rig.t[0]);
	assert_int_equal(due(&rig), 0);
	turns(&rig, 150, 1);
	assert_int_equal(due(&rig), 0);
	hear(&rig.t[1]);
	/* the others have had it, and are silent still */
	turns(&rig, 200, 2);
	assert_int_equal(due(&rig), COUNT - 2);
	assert_false(is_due(&rig, 1));
	free(twin);
}

static void one_that_fell_silent_a_little_earlier_does_not_hang_alone(void **state)
{
	struct scout_s3_transfer *twin;
	struct rig rig;

	(void)state;
	start(&rig);
	turns(&rig, 100, 1);
	turns(&rig, 950, 0);
	assert_int_equal(due(&rig), 0);
	turns(&rig, 50, 0);
	assert_int_equal(due(&rig), COUNT);
	hedge(&rig, 5, &twin);
	turns(&rig, 3000, 0);
	assert_int_equal(due(&rig), 0);
	free(twin);
}

static void while_we_are_not_there_nobody_is_silent(void **state)
{
	struct rig rig;

	(void)state;
	start(&rig);
	turns(&rig, 500, 0);
	rig.now_ns += 60 * SCOUT_NS_PER_S;
	scout_s3_pulse_turn(&rig.s3.context.pulse, rig.now_ns);
	assert_int_equal(due(&rig), 0);
	for (size_t i = 0; i < COUNT; i++) {
		uint64_t at_ns = scout_s3_hedge_due_ns(&rig.s3, &rig.t[i], rig.now_ns);

		assert_in_range(at_ns - rig.now_ns, 100 * MS, 500 * MS);
	}
	turns(&rig, 50, COUNT);
	assert_int_equal(due(&rig), 0);
}

static void nor_slow(void **state)
{
	struct rig rig;

	(void)state;
	start(&rig);
	run_bodies(&rig, COUNT);
	turns(&rig, 1000, 1);
	assert_true(scout_s3_hedge_compare(&rig.s3, rig.now_ns));
	rig.now_ns += 60 * SCOUT_NS_PER_S;
	scout_s3_pulse_turn(&rig.s3.context.pulse, rig.now_ns);
	/* all but one are heard first */
	for (size_t i = 1; i < COUNT; i++)
		rig.t[i].moved += MIB;
	assert_false(scout_s3_hedge_compare(&rig.s3, rig.now_ns));
	assert_false(rig.t[0].slow);
	turns(&rig, 1000, 1);
	assert_true(scout_s3_hedge_compare(&rig.s3, rig.now_ns));
	assert_true(rig.t[0].slow);
	assert_int_equal(due(&rig), COUNT); /* it, and those that are silent while it is heard */
}

static void siblings_that_ended_are_some(void **state)
{
	struct rig rig;

	(void)state;
	start_one(&rig);
	end_bodies(&rig, 4, 3 * MIB / 2, 50);
	second(&rig, 20000);
	assert_true(rig.t[0].slow && is_due(&rig, 0));
}

static void four_are_few(void **state)
{
	struct rig rig;

	(void)state;
	start_one(&rig);
	end_bodies(&rig, 3, 3 * MIB / 2, 50);
	second(&rig, 20000);
	assert_false(rig.t[0].slow || is_due(&rig, 0));
}

static void small_ones_are_none(void **state)
{
	struct rig rig;

	(void)state;
	start_one(&rig);
	end_bodies(&rig, 50, MIB / 5, 5);
	second(&rig, 20000);
	assert_false(rig.t[0].slow);
}

static void nor_are_those_that_were_cut(void **state)
{
	struct scout_s3_call call = {.op = SCOUT_S3_GET, .length = 4 * MIB};
	struct scout_s3_transfer cut = {.call = &call, .got = MIB, .upto = 2 * MIB, .moved = MIB};
	struct rig rig;

	(void)state;
	start_one(&rig);
	cut.begun_ns = rig.now_ns - 50 * MS;
	for (int i = 0; i < 10; i++)
		scout_s3_hedge_note_end(&rig.s3, &cut, rig.now_ns);
	second(&rig, 20000);
	assert_false(rig.t[0].slow);
	/* what asked for no more than this is one: a slice */
	cut.upto = cut.got;
	for (int i = 0; i < 10; i++)
		scout_s3_hedge_note_end(&rig.s3, &cut, rig.now_ns);
	second(&rig, 20000);
	assert_true(rig.t[0].slow);
}

static void where_all_are_slow_nobody_is(void **state)
{
	struct rig rig;

	(void)state;
	start_one(&rig);
	end_bodies(&rig, 10, MIB, 50000);
	second(&rig, 20000);
	assert_false(rig.t[0].slow);
}

static void who_is_slow_is_so_by_far(void **state)
{
	struct rig rig;

	(void)state;
	start_one(&rig);
	end_bodies(&rig, 10, MIB, 7500);
	second(&rig, 20000);
	assert_false(rig.t[0].slow);
	start_one(&rig);
	end_bodies(&rig, 10, MIB, 5500);
	second(&rig, 20000);
	assert_true(rig.t[0].slow);
	/* and has the rest no sooner than whoever is asked for it */
	start_one(&rig);
	end_bodies(&rig, 10, MIB, 50);
	rig.call.length = 30000;
	second(&rig, 20000);
	assert_false(rig.t[0].slow);
}

/* Of all that were asked for with it, while it cannot be judged yet. */
static void siblings_that_ended_are_some_for_one_period_more(void **state)
{
	struct rig rig;

	(void)state;
	start_one(&rig);
	rig.t[0].begun_ns = rig.now_ns + MS;
	end_bodies(&rig, 15, 3 * MIB / 2, 50);
	second(&rig, 20000);
	assert_false(rig.t[0].slow);
	second(&rig, 20000);
	assert_true(rig.t[0].slow);
	second(&rig, 20000);
	assert_false(rig.t[0].slow);
}

/* Else all that run would be asked for once more, next to those that ended before it fell silent. */
static void beside_an_endpoint_that_is_silent_nobody_is_slow(void **state)
{
	struct rig rig;

	(void)state;
	start_one(&rig);
	end_bodies(&rig, 15, 3 * MIB / 2, 50);
	turns(&rig, 50, 1);
	turns(&rig, 950, 0);
	assert_true(scout_s3_hedge_compare(&rig.s3, rig.now_ns));
	assert_false(rig.t[0].slow);
	turns(&rig, 900, 0);
	turns(&rig, 100, 1);
	assert_true(scout_s3_hedge_compare(&rig.s3, rig.now_ns));
	assert_false(rig.t[0].slow);
}

static bool take(struct scout_s3_call *call, const void *bytes, size_t len)
{
	(void)call, (void)bytes, (void)len;
	return true;
}

static void start_taking(struct rig *rig)
{
	start(rig);
	rig->call.length = 100 * MIB;
	rig->call.data = take;
	strcpy(rig->call.etag, rig->call.if_match);
}

/* Some of a body that is what was asked for. */
static void bring(struct scout_s3_transfer *t, uint64_t len)
{
	static char bytes[1024];

	t->judged = true;
	for (; len > 0; len -= sizeof(bytes))
		assert_int_equal(scout_s3_on_body(bytes, 1, sizeof(bytes), t), sizeof(bytes));
}

/* Whether t, beside others that are heard, is asked for once more. */
static bool hangs(struct rig *rig, const struct scout_s3_transfer *t)
{
	turns(rig, 1000, 1);
	return scout_s3_hedge_due_ns(&rig->s3, t, rig->now_ns) <= rig->now_ns;
}

static void one_that_moved_on_since_hangs_anew(void **state)
{
	struct scout_s3_transfer *hung, *twin;
	struct rig rig;

	(void)state;
	start_taking(&rig);
	hung = &rig.t[1];
	bring(hung, 5 * MIB);
	hung->failures = 1;
	assert_true(hangs(&rig, hung));
	hedge(&rig, 1, &twin);
	hear(twin);
	assert_false(hangs(&rig, hung) || hangs(&rig, twin));
	bring(twin, MIB / 2);
	assert_true(hung->dropped && !twin->twin);
	assert_false(hangs(&rig, twin));
	assert_int_equal(twin->failures, 1);
	bring(twin, MIB / 2);
	assert_int_equal(twin->failures, 0);
	assert_true(hangs(&rig, twin));
	free(twin);
}

/* One that hung, and goes on before its twin does, does so no earlier. */
static void so_does_one_that_recovered(void **state)
{
	struct scout_s3_transfer *hung, *twin;
	struct rig rig;

	(void)state;
	start_taking(&rig);
	hung = &rig.t[1];
	bring(hung, MIB - 1024);
	assert_true(hangs(&rig, hung));
	hedge(&rig, 1, &twin);
	bring(hung, MIB / 2);
	assert_true(twin->dropped && !hung->twin);
	assert_false(hangs(&rig, hung));
	bring(hung, MIB / 2);
	assert_true(hangs(&rig, hung));
	free(twin);
}

static void an_endpoint_that_never_answered_is_down(void **state)
{
	struct rig rig;

	(void)state;
	start(&rig);
	rig.s3.context.first_byte_ns = 0;
	rig.t[0].response.status = 0;
	turns(&rig, 5000, 0);
	assert_false(is_due(&rig, 0));
	/* and one that takes long for its first byte takes long */
	rig.s3.context.first_byte_ns = 2 * SCOUT_NS_PER_S;
	assert_false(is_due(&rig, 0));
	turns(&rig, 2950, 0);
	assert_false(is_due(&rig, 0));
	turns(&rig, 50, 0);
	assert_true(is_due(&rig, 0));
}

static void a_hedge_is_one_of_max_attempts(void **state)
{
	struct rig rig;

	(void)state;
	for (unsigned failures = 0; failures < 3; failures++) {
		start(&rig);
		rig.t[1].failures = failures;
		assert_true(hangs(&rig, &rig.t[1]) == (failures < 2));
	}
	start(&rig);
	rig.config.max_attempts = 1;
	assert_false(hangs(&rig, &rig.t[1]));
}

/* A guess says nothing of its version until another's answer brings it, and is looked at until then. */
static void a_guess_hangs_from_when_it_is_pinned(void **state)
{
	struct rig rig;

	(void)state;
	start(&rig);
	rig.call.guess = true;
	rig.call.if_match = NULL;
	for (int i = 0; i < 30; i++) {
		uint64_t at_ns = scout_s3_hedge_due_ns(&rig.s3, &rig.t[0], rig.now_ns);

		assert_in_range(at_ns - rig.now_ns, 1, SCOUT_NS_PER_S);
		turns(&rig, 100, 0);
	}
	rig.call.if_match = "\"x\"";
	assert_true(is_due(&rig, 0));
	/* what is pinned by nothing and is no guess never is */
	rig.call.if_match = NULL;
	rig.call.guess = false;
	assert_true(scout_s3_hedge_due_ns(&rig.s3, &rig.t[0], rig.now_ns) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_silent_among_others_hangs),
	    cmocka_unit_test(of_an_endpoint_that_is_silent_one_is_asked),
	    cmocka_unit_test(a_hedge_that_never_went_out_is_none),
	    cmocka_unit_test(an_endpoint_that_wakes_has_its_moment),
	    cmocka_unit_test(one_that_fell_silent_a_little_earlier_does_not_hang_alone),
	    cmocka_unit_test(while_we_are_not_there_nobody_is_silent),
	    cmocka_unit_test(nor_slow),
	    cmocka_unit_test(siblings_that_ended_are_some),
	    cmocka_unit_test(four_are_few),
	    cmocka_unit_test(small_ones_are_none),
	    cmocka_unit_test(nor_are_those_that_were_cut),
	    cmocka_unit_test(where_all_are_slow_nobody_is),
	    cmocka_unit_test(who_is_slow_is_so_by_far),
	    cmocka_unit_test(siblings_that_ended_are_some_for_one_period_more),
	    cmocka_unit_test(beside_an_endpoint_that_is_silent_nobody_is_slow),
	    cmocka_unit_test(one_that_moved_on_since_hangs_anew),
	    cmocka_unit_test(so_does_one_that_recovered),
	    cmocka_unit_test(an_endpoint_that_never_answered_is_down),
	    cmocka_unit_test(a_hedge_is_one_of_max_attempts),
	    cmocka_unit_test(a_guess_hangs_from_when_it_is_pinned),
	};

	return cmocka_run_group_tests_name("s3/hedge", tests, NULL, NULL);
}
