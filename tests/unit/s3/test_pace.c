/* How many bulk reads there are at once, on links and servers of several kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "s3/pace.h"
#include "scoutfs/clock.h"

#define MIB ((uint64_t)1 << 20)
#define READ (8 * MIB)
#define WANTED 12u /* reads that somebody wants at once */

/* A server, and how it went with it. */
struct link {
	uint64_t connection_mib, most_mib; /* a second, of a connection and of all */
	uint64_t first_ms;                 /* a first byte at the least; the queue comes on top */
	struct scout_s3_pace pace;
	uint64_t now_ns, bytes;
	unsigned least, most; /* reads at once */
};

static struct link link_of(uint64_t connection_mib, uint64_t most_mib, uint64_t first_ms)
{
	struct link l = {.connection_mib = connection_mib,
			 .most_mib = most_mib,
			 .first_ms = first_ms,
			 .now_ns = 1000 * SCOUT_NS_PER_S};

	scout_s3_pace_init(&l.pace, 112);
	/* the first MiB of a reader comes alone */
	scout_s3_pace_first(&l.pace, first_ms * SCOUT_NS_PER_MS);
	scout_s3_pace_end(&l.pace, 1, MIB, first_ms * SCOUT_NS_PER_MS, l.now_ns);
	l.bytes = MIB;
	return l;
}

/* Somebody reads all the time; returns MiB a second. */
static uint64_t run(struct link *l, uint64_t seconds)
{
	uint64_t until_ns = l->now_ns + seconds * SCOUT_NS_PER_S, before = l->bytes;

	l->least = WANTED;
	l->most = 0;
	while (l->now_ns < until_ns) {
		unsigned n = l->pace.now < WANTED ? l->pace.now : WANTED;
		uint64_t rate =
		    n * l->connection_mib < l->most_mib ? n * l->connection_mib : l->most_mib;
		/* what the others have asked for before, less what it takes to come */
		uint64_t all_ms = READ / MIB * n * 1000 / rate;
		uint64_t one_ms = READ / MIB * 1000 / l->connection_mib;

		l->least = n < l->least ? n : l->least;
		l->most = n > l->most ? n : l->most;
		l->now_ns += READ / MIB * SCOUT_NS_PER_S / rate;
		l->bytes += READ;
		scout_s3_pace_first(&l->pace, (l->first_ms + all_ms - one_ms) * SCOUT_NS_PER_MS);
		scout_s3_pace_end(&l->pace, n, l->bytes, (l->first_ms + all_ms) * SCOUT_NS_PER_MS,
				  l->now_ns);
	}
	return (l->bytes - before) / MIB / seconds;
}

/* A period in which first bytes take first_ms, as much comes as in any other, and so many are under way. */
static void period(struct link *l, uint64_t first_ms, unsigned under_way)
{
	uint64_t begun_ns = l->pace.begun_ns;

	while (l->pace.begun_ns == begun_ns) {
		l->now_ns += 5 * SCOUT_NS_PER_MS;
		l->bytes += MIB;
		scout_s3_pace_first(&l->pace, first_ms * SCOUT_NS_PER_MS);
		scout_s3_pace_end(&l->pace, under_way, l->bytes, 60 * SCOUT_NS_PER_MS, l->now_ns);
	}
}

static void eight_times_as_late_is_a_line(void **state)
{
	struct link l = link_of(60, 1000000, 20);

	(void)state;
	period(&l, 20, WANTED);
	period(&l, 155, WANTED);
	assert_int_equal(l.pace.now, 112);
	period(&l, 175, WANTED);
	assert_int_equal(l.pace.now, WANTED / 2);
}

/* While it does not get less. */
static void halves_down_to_two(void **state)
{
	static const unsigned left[] = {6, 3, 2};
	struct link l = link_of(60, 1000000, 20);
	unsigned least = 112;

	(void)state;
	period(&l, 20, WANTED);
	for (size_t i = 0; i < 100; i++) {
		unsigned before = l.pace.now;

		period(&l, 400, before < WANTED ? before : WANTED);
		if (i < sizeof(left) / sizeof(left[0]))
			assert_int_equal(l.pace.now, left[i]);
		least = l.pace.now < least ? l.pace.now : least;
	}
	assert_int_equal(least, 2);
}

/* Each connection has its own rate: all of them, all the time. */
static void each_adds_its_own(void **state)
{
	struct link far = link_of(60, 1000000, 20);

	(void)state;
	(void)run(&far, 100);
	assert_int_equal(far.least, WANTED);
}

/* One or two have all that there is: so few are left soon, and as much comes. */
static void more_bring_nothing(void **state)
{
	struct link near = link_of(800, 1000, 2);

	(void)state;
	(void)run(&near, 2);
	assert_true(near.pace.now <= 3);
	assert_true(run(&near, 100) > 950);
	assert_true(near.most <= 6); /* tried now and then */
}

/* First bytes are late for another reason: it is tried, and costs little. */
static void late_but_not_for_us(void **state)
{
	struct link l = link_of(60, 1000000, 20);
	uint64_t mib;

	(void)state;
	l.first_ms = 400;
	mib = run(&l, 100);
	assert_true(l.least < WANTED);
	assert_true(mib > WANTED * 60 * 95 / 100);
}

/* What there is grows: more are tried, and stay. */
static void more_again(void **state)
{
	struct link l = link_of(800, 1000, 2);

	(void)state;
	(void)run(&l, 5);
	assert_true(l.pace.now <= 3);
	l.connection_mib = 100;
	l.most_mib = 1000000;
	(void)run(&l, 100);
	assert_true(l.pace.now >= WANTED);
}

/* Fewer are asked for than may be: that tells nothing. */
static void slack_ends_a_trial(void **state)
{
	struct link l = link_of(800, 1000, 2);

	(void)state;
	while (l.pace.before == 0)
		(void)run(&l, 1);
	assert_true(l.pace.now < 112);
	for (unsigned i = 0; i < 100 && l.pace.before > 0; i++) {
		l.now_ns += 10 * SCOUT_NS_PER_MS;
		scout_s3_pace_slack(&l.pace);
		scout_s3_pace_end(&l.pace, 1, l.bytes, 0, l.now_ns);
	}
	assert_int_equal(l.pace.before, 0);
}

/* Fewer are wanted now and then, and what is wanted comes at once: those few are no limit any more. */
static void slack_without_a_line_frees(void **state)
{
	struct link l = link_of(800, 1000, 2);

	(void)state;
	(void)run(&l, 2);
	assert_true(l.pace.now <= 3);
	for (unsigned i = 0; i < 300; i++) { /* 3 s: never silent */
		l.now_ns += 10 * SCOUT_NS_PER_MS;
		l.bytes += READ;
		if (i % 2)
			scout_s3_pace_slack(&l.pace);
		scout_s3_pace_first(&l.pace, 2 * SCOUT_NS_PER_MS);
		scout_s3_pace_end(&l.pace, 2, l.bytes, 10 * SCOUT_NS_PER_MS, l.now_ns);
	}
	assert_int_equal(l.pace.now, 112);
}

/* A link on which a read takes ten seconds beside others, and none ends for a second: that is not silence. */
static void on_a_slow_link(void **state)
{
	struct link l = link_of(8, 10, 20);

	(void)state;
	(void)run(&l, 300);
	assert_true(l.pace.now <= 6);
	assert_true(run(&l, 300) >= 9);
	/* until that is over for as long as two of them take */
	scout_s3_pace_turn(&l.pace, l.now_ns + 300 * SCOUT_NS_PER_S);
	assert_int_equal(l.pace.now, 112);
}

/* Those few that are left hang, all of them. */
static void none_ends(void **state)
{
	struct link l = link_of(800, 1000, 2);

	(void)state;
	(void)run(&l, 5);
	scout_s3_pace_turn(&l.pace, l.now_ns + 200 * SCOUT_NS_PER_MS);
	assert_true(l.pace.now <= 6);
	scout_s3_pace_turn(&l.pace, l.now_ns + SCOUT_NS_PER_S);
	assert_int_equal(l.pace.now, 112);
}

/* After a pause, and where uploads go beside: as many as there may be. */
static void anew(void **state)
{
	struct link l = link_of(800, 1000, 2);

	(void)state;
	(void)run(&l, 5);
	assert_true(l.pace.now < 112);
	l.now_ns += 2 * SCOUT_NS_PER_S;
	scout_s3_pace_end(&l.pace, 1, l.bytes, 0, l.now_ns);
	assert_int_equal(l.pace.now, 112);
	(void)run(&l, 5);
	assert_true(l.pace.now < 112);
	scout_s3_pace_free(&l.pace);
	assert_int_equal(l.pace.now, 112);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(eight_times_as_late_is_a_line),
	    cmocka_unit_test(halves_down_to_two),
	    cmocka_unit_test(each_adds_its_own),
	    cmocka_unit_test(more_bring_nothing),
	    cmocka_unit_test(late_but_not_for_us),
	    cmocka_unit_test(more_again),
	    cmocka_unit_test(slack_ends_a_trial),
	    cmocka_unit_test(slack_without_a_line_frees),
	    cmocka_unit_test(on_a_slow_link),
	    cmocka_unit_test(none_ends),
	    cmocka_unit_test(anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
