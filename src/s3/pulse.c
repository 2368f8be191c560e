/* Whether the endpoint is heard of; see pulse.h. */
#include "s3/pulse.h"

/* A turn that took longer was not ours, but somebody else's on this machine. */
#define TURN_MAX_NS (2 * SCOUT_S3_TURN_NS)
/* Whoever has something to say after a silence of all says it within this time of the first one. */
#define ALIVE_NS (250 * SCOUT_NS_PER_MS)

void scout_s3_pulse_turn(struct scout_s3_pulse *p, uint64_t now_ns)
{
	uint64_t took_ns = now_ns - p->turn_ns;

	p->awake_ns += took_ns < TURN_MAX_NS ? took_ns : TURN_MAX_NS;
	p->turn_ns = now_ns;
}

uint64_t scout_s3_pulse_alive_ns(const struct scout_s3_pulse *p)
{
	uint64_t since_ns = p->awake_ns - p->heard_ns;

	return p->alive_ns + (since_ns < ALIVE_NS ? since_ns : ALIVE_NS);
}

void scout_s3_pulse_hear(struct scout_s3_pulse *p)
{
	p->alive_ns = scout_s3_pulse_alive_ns(p);
	p->heard_ns = p->awake_ns;
	p->probing = false;
}
