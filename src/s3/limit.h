/* How many requests may be under way at once: as many as the config allows, fewer once the endpoint
 * has asked to slow down. Additive increase, multiplicative decrease. Pure; the engine's thread. */
#ifndef SCOUTFS_S3_LIMIT_H
#define SCOUTFS_S3_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct scout_s3_limit {
	unsigned max, now;
	unsigned credit;    /* successes since it last grew */
	uint64_t shrunk_ns; /* when it last shrank; 0: never */
};

void scout_s3_limit_init(struct scout_s3_limit *l, unsigned max);
/* A request that began at begun_ns, of active ones, was told to slow down. Halves; what began before it
 * last did says nothing new. True: it shrank. */
bool scout_s3_limit_shrink(struct scout_s3_limit *l, unsigned active, uint64_t begun_ns,
			   uint64_t now_ns);
/* A request succeeded. */
void scout_s3_limit_grow(struct scout_s3_limit *l);
/* How many of them bulk leaves free, for small calls and hedges. */
unsigned scout_s3_limit_spare(const struct scout_s3_limit *l);
/* How many of these may be hedges. */
unsigned scout_s3_limit_hedges(const struct scout_s3_limit *l);

#endif
