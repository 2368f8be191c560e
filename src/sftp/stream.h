/* The incoming side of a session: takes bytes as they come, in any slices, finds packets and the
 * calls they answer. A DATA body goes straight to its call's dest; other packets are gathered in a
 * bounded buffer. Also the table of calls in flight. Knows nothing of SSH. One thread. */
#ifndef SCOUTFS_SFTP_STREAM_H
#define SCOUTFS_SFTP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sftp/codec.h"

#define SCOUT_SFTP_CALLS_MAX 256u /* in flight; a power of two, the low bits of an id */
#define SCOUT_SFTP_PACKET_MAX (256u * 1024u + 1024u)
/* Ids of what the session asks for itself before it takes calls. */
#define SCOUT_SFTP_LIMITS_ID UINT32_MAX
#define SCOUT_SFTP_SELF_ID (UINT32_MAX - 1) /* STAT of the starting directory */

TAILQ_HEAD(scout_sftp_calls, scout_sftp_call);

enum scout_sftp_phase {
	SCOUT_SFTP_AWAIT_VERSION, /* INIT was sent */
	SCOUT_SFTP_GOT_VERSION,   /* the server's limits and our own name not yet asked for */
	SCOUT_SFTP_AWAIT_ANSWERS, /* to these, in any order */
	SCOUT_SFTP_OPEN_FOR_CALLS,
};

struct scout_sftp_stream {
	/* Called for each answered call, which is out of the table by then. */
	void (*done)(void *arg, struct scout_sftp_call *call, int err);
	void *arg;
	enum scout_sftp_phase phase;
	bool has_limits;
	bool limits_due, self_due; /* asked and not answered */
	struct scout_sftp_server server;
	const char *problem; /* of -EIO, for a person */

	struct scout_sftp_call *slots[SCOUT_SFTP_CALLS_MAX];
	struct scout_sftp_calls in_flight; /* oldest first */
	unsigned count;
	uint64_t read_bytes; /* what READs in flight ask for */
	uint64_t slow_bytes; /* as much at most since an answer was late; 0: none was */
	uint32_t next_id;

	uint8_t head[13]; /* length and type; of DATA also id and data length */
	size_t head_len;
	struct scout_sftp_call *reading; /* the call whose DATA body comes now */
	uint32_t data_left;
	uint8_t *packet; /* the gathered packet after its type */
	size_t packet_cap;
	size_t packet_len;
	size_t packet_want;
	struct scout_sftp_names names;
};

void scout_sftp_stream_init(struct scout_sftp_stream *st,
			    void (*done)(void *arg, struct scout_sftp_call *call, int err),
			    void *arg);
void scout_sftp_stream_free(struct scout_sftp_stream *st); /* no call in flight */

/* Gives the call an id and a place in the table; false when it is full. */
bool scout_sftp_stream_add(struct scout_sftp_stream *st, struct scout_sftp_call *call);
/* The next phase after GOT_VERSION: appends what is to be asked to out. In AWAIT_VERSION it is asked with INIT already,
 * and VERSION leads on to the answers. 0 or -ENOMEM. */
int scout_sftp_stream_greet(struct scout_sftp_stream *st, struct scout_sftp_buf *out);
/* Takes it out unanswered. */
void scout_sftp_stream_remove(struct scout_sftp_stream *st, struct scout_sftp_call *call);

/* Whether to ask for so many bytes more, of a server that answers in round_trip_ns at the least (0: not
 * known), into a window of so many bytes. */
bool scout_sftp_stream_may_read(const struct scout_sftp_stream *st, uint32_t length,
				uint64_t round_trip_ns, size_t window);

/* A READ was answered, so long after it left. */
void scout_sftp_stream_note_read(struct scout_sftp_stream *st, const struct scout_sftp_call *call,
				 uint64_t took_ns, uint64_t round_trip_ns);

/* All of bytes. 0; -EIO with problem set, or -ENOMEM: the session cannot go on. */
int scout_sftp_stream_feed(struct scout_sftp_stream *st, const void *bytes, size_t len);

#endif
