/* Time and back-off; see scoutfs/clock.h. */
#include "scoutfs/clock.h"

#include <stdlib.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * SCOUT_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t scout_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t scout_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

uint64_t scout_backoff_ns(unsigned failures, uint64_t base_ns, uint64_t max_ns, uint32_t random)
{
	uint64_t pause = base_ns < max_ns ? base_ns : max_ns;

	for (unsigned i = 1; i < failures && pause < max_ns; i++)
		pause = pause > max_ns / 2 ? max_ns : pause * 2;
	return pause - (uint64_t)((double)(pause / 4) * random / UINT32_MAX);
}

uint32_t scout_random(void)
{
	return arc4random();
}
