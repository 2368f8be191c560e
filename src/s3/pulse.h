/* Whether the endpoint as a whole is heard of, so that one connection that hangs can be told from an
 * endpoint that does, and from ourselves standing still. Pure; the engine's thread.
 *
 * Two clocks. awake_ns is time in which the thread was there to hear: of each of its turns a bounded
 * part counts, so a machine that stood still, or gave us no processor, made nobody silent. The other is
 * that part of it in which the endpoint was alive: for a moment after each byte. */
#ifndef SCOUTFS_S3_PULSE_H
#define SCOUTFS_S3_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#include "scoutfs/clock.h"

/* While requests are under way the thread sleeps no longer, so that its turns count. */
#define SCOUT_S3_TURN_NS (100 * SCOUT_NS_PER_MS)

/* Zeroed is a new one. */
struct scout_s3_pulse {
	uint64_t turn_ns; /* when the thread's turn began */
	uint64_t awake_ns;
	uint64_t heard_ns; /* of awake_ns: when any request heard a byte last */
	uint64_t alive_ns; /* as of then */
	bool probing;      /* a hedge went out since, and the last one has not ended */
};

/* The thread's next turn begins. */
void scout_s3_pulse_turn(struct scout_s3_pulse *p, uint64_t now_ns);
/* A byte came. */
void scout_s3_pulse_hear(struct scout_s3_pulse *p);
/* How long the endpoint was alive, up to now. */
uint64_t scout_s3_pulse_alive_ns(const struct scout_s3_pulse *p);

#endif
