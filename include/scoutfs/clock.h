/* Time and back-off. All deadlines and durations are CLOCK_MONOTONIC nanoseconds. */
#ifndef SCOUTFS_CLOCK_H
#define SCOUTFS_CLOCK_H

#include <stdint.h>

#define SCOUT_NS_PER_MS UINT64_C(1000000)
#define SCOUT_NS_PER_S UINT64_C(1000000000)

uint64_t scout_now_ns(void);  /* CLOCK_MONOTONIC */
uint64_t scout_wall_ns(void); /* CLOCK_REALTIME, for people and signatures only */

/* The pause after the n-th failure in a row (n >= 1): base doubling to max, then jittered evenly
 * over [3/4, 1] of that by random (any 32 bits). Pure. */
uint64_t scout_backoff_ns(unsigned failures, uint64_t base_ns, uint64_t max_ns, uint32_t random);

/* 32 random bits for jitter. */
uint32_t scout_random(void);

#endif
