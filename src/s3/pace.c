/* The number of bulk reads under way; see pace.h. */
#include "s3/pace.h"

#include "scoutfs/clock.h"

#define FLOOR 2u /* one is asked for while the other comes */
#define PERIOD_NS (100 * SCOUT_NS_PER_MS)
#define ROUNDS 2u /* reads of each connection in a period, at least */
#define SILENT 4  /* periods without an end, and twice as long as a read takes */
/* They wait in line: first bytes take so many times as long as at the least. */
#define QUEUE_FACTOR 8
#define QUEUE_NS SCOUT_NS_PER_MS
#define FORGET 64 /* the least time rises by this part of it in a period */
/* The part that a trial of fewer may lose, and one of more must win. */
#define PART 8
/* After a trial that failed; after each further one twice it. */
#define WAIT_NS (SCOUT_NS_PER_S / 2)
#define WAIT_DOUBLINGS 5u

void scout_s3_pace_init(struct scout_s3_pace *p, unsigned max)
{
	*p = (struct scout_s3_pace){.max = max, .now = max, .period_ns = PERIOD_NS};
}

void scout_s3_pace_first(struct scout_s3_pace *p, uint64_t took_ns)
{
	p->firsts++;
	p->first_ns += took_ns;
	if (p->least_ns == 0 || took_ns < p->least_ns)
		p->least_ns = took_ns;
}

void scout_s3_pace_slack(struct scout_s3_pace *p)
{
	p->slack |= p->now < p->max;
}

static void begin_period(struct scout_s3_pace *p, uint64_t bytes, uint64_t now_ns)
{
	p->begun_ns = now_ns;
	p->begun_bytes = bytes;
	p->ends = p->firsts = 0;
	p->under_way = p->first_ns = 0;
	p->slack = false;
}

void scout_s3_pace_free(struct scout_s3_pace *p)
{
	p->now = p->max;
	p->before = 0;
	p->up = false;
	p->failed = 0;
	p->wait_until_ns = 0;
	p->rate = 0;
	p->ended_ns = 0;
}

static bool is_silent(const struct scout_s3_pace *p, uint64_t now_ns)
{
	uint64_t periods_ns = p->period_ns * SILENT, reads_ns = p->took_ns * 2;

	return now_ns - p->ended_ns > (periods_ns > reads_ns ? periods_ns : reads_ns);
}

void scout_s3_pace_turn(struct scout_s3_pace *p, uint64_t now_ns)
{
	if (p->now < p->max && is_silent(p, now_ns))
		scout_s3_pace_free(p);
}

static bool is_queue(const struct scout_s3_pace *p)
{
	return p->firsts > 0 && p->least_ns > 0 &&
	       p->first_ns / p->firsts > p->least_ns * QUEUE_FACTOR + QUEUE_NS;
}

static void wait_on(struct scout_s3_pace *p, uint64_t now_ns)
{
	p->wait_until_ns =
	    now_ns + (WAIT_NS << (p->failed < WAIT_DOUBLINGS ? p->failed : WAIT_DOUBLINGS));
	p->failed++;
}

/* What the trial came to, that brought so many bytes a second. */
static void judge(struct scout_s3_pace *p, uint64_t rate, uint64_t now_ns)
{
	bool fewer = p->now < p->before;
	bool good = fewer ? rate >= p->rate - p->rate / PART : rate >= p->rate + p->rate / PART;

	if (good) {
		p->failed = 0;
	} else {
		p->now = p->before;
		wait_on(p, now_ns);
	}
	p->before = 0;
	p->up = fewer != good; /* on in the same direction, or the other one the next time */
	if (rate > p->rate)
		p->rate = rate;
}

static void double_it(struct scout_s3_pace *p)
{
	p->now = p->now < p->max / 2 ? p->now * 2 : p->max;
}

static void attempt(struct scout_s3_pace *p, unsigned used, uint64_t now_ns)
{
	unsigned from = p->now < p->max ? p->now : used; /* there is no slack */

	if (p->up || !is_queue(p)) {
		p->up = false;
		if (p->now == p->max)
			return;
		p->before = p->now;
		double_it(p);
	} else if (from > FLOOR) {
		p->before = p->now;
		p->now = from / 2 > FLOOR ? from / 2 : FLOOR;
	} else {
		p->up = true;
		wait_on(p, now_ns);
	}
}

static void end_period(struct scout_s3_pace *p, uint64_t bytes, uint64_t now_ns)
{
	uint64_t ms = (now_ns - p->begun_ns) / SCOUT_NS_PER_MS;
	uint64_t rate = (bytes - p->begun_bytes) * 1000 / ms;

	p->period_ns = now_ns - p->begun_ns;
	p->least_ns += p->least_ns / FORGET;
	if (p->slack) { /* it says nothing of how many are best, but whether they wait */
		if (p->before > 0)
			p->now = p->before;
		else if (!is_queue(p))
			double_it(p);
		p->before = 0;
		return;
	}
	if (p->before > 0) {
		judge(p, rate, now_ns);
	} else {
		p->rate -= p->rate / PART;
		p->rate = rate > p->rate ? rate : p->rate;
	}
	if (now_ns >= p->wait_until_ns)
		attempt(p, (unsigned)(p->under_way / p->ends), now_ns);
}

void scout_s3_pace_end(struct scout_s3_pace *p, unsigned under_way, uint64_t bytes,
		       uint64_t took_ns, uint64_t now_ns)
{
	if (is_silent(p, now_ns)) {
		scout_s3_pace_free(p);
		begin_period(p, bytes, now_ns);
	}
	p->ended_ns = now_ns;
	p->took_ns = took_ns;
	if (p->before > 0 && under_way > p->now) { /* some of before the trial */
		begin_period(p, bytes, now_ns);
		return;
	}
	p->ends++;
	p->under_way += under_way;
	if (now_ns - p->begun_ns < PERIOD_NS || (uint64_t)p->ends * p->ends < ROUNDS * p->under_way)
		return;
	end_period(p, bytes, now_ns);
	begin_period(p, bytes, now_ns);
}
