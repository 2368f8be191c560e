/* How many bulk reads may be under way at once, where more of them bring nothing.
 *
 * Far away each connection adds its own 60 MB/s, and as many as there are is right. But once the link or the
 * server gives all it has, more requests only wait there, and whoever asks for a small object waits behind
 * them. So when the first bytes of bulk take several times as long as they did, half as many are tried; that
 * stays if as much comes as before. More are tried again now and then, and when none ends any more. Pure; the engine's thread. */
#ifndef SCOUTFS_S3_PACE_H
#define SCOUTFS_S3_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct scout_s3_pace {
	unsigned max, now;
	unsigned before; /* a trial: what now was; 0: none */
	bool up;         /* the next trial is of more */
	unsigned failed; /* trials in a row */
	uint64_t wait_until_ns;
	uint64_t rate;      /* bytes a second, at the most of late */
	uint64_t least_ns;  /* that a first byte took of late; 0: not known */
	uint64_t ended_ns;  /* when a read last did; 0: not yet */
	uint64_t took_ns;   /* how long that one was under way */
	uint64_t period_ns; /* how long the last one was */

	/* since this period began */
	uint64_t begun_ns, begun_bytes;
	unsigned ends, firsts;
	uint64_t under_way, first_ns; /* sums over them */
	bool slack;                   /* fewer were asked for than may be */
};

void scout_s3_pace_init(struct scout_s3_pace *p, unsigned max);
/* The first byte of a bulk read came so long after it was asked for. */
void scout_s3_pace_first(struct scout_s3_pace *p, uint64_t took_ns);
/* A bulk read ended that took so long, of under_way with it; bytes is how many came so far, of all. */
void scout_s3_pace_end(struct scout_s3_pace *p, unsigned under_way, uint64_t bytes,
		       uint64_t took_ns, uint64_t now_ns);
/* There are fewer than may be, for want of calls or to give way (yield.h). */
void scout_s3_pace_slack(struct scout_s3_pace *p);
/* When none has ended for long, as many as there may be go on: those few may hang. */
void scout_s3_pace_turn(struct scout_s3_pace *p, uint64_t now_ns);
/* As many as there may be, from now on: what is under way is not only reads. */
void scout_s3_pace_free(struct scout_s3_pace *p);

#endif
