/* One call on its way: its attempts, each an easy handle borrowed from the engine. Engine thread
 * only. */
#ifndef SCOUTFS_S3_TRANSFER_H
#define SCOUTFS_S3_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "s3/credentials.h"
#include "s3/place.h"
#include "s3/pulse.h"
#include "s3/response.h"
#include "s3/sockets.h"
#include "s3/verdict.h"
#include "s3/warm.h"
#include "scoutfs/metrics.h"
#include "scoutfs/s3.h"
#include "scoutfs/text.h"

/* What all transfers of an engine share. */
struct scout_s3_context {
	const struct scout_models_config *config; /* immutable after start */
	struct scout_s3_chain *chain;             /* immutable after start */
	struct scout_s3_place place;              /* engine thread only, once it runs */
	int64_t clock_offset_s; /* engine thread only: the server's clock less ours */
	uint64_t
	    first_byte_ns; /* engine thread only: what a first byte takes of late; 0: none came yet */
	unsigned dropped;  /* engine thread only: transfers that are */
	uint64_t instance; /* immutable after start: random, as calls are told apart by servers */
	uint64_t calls;    /* engine thread only: taken up */
	struct scout_s3_pulse pulse; /* engine thread only */
	scout_counter bytes_in;
	scout_counter hedges_won;
	struct scout_s3_sockets sockets;
	struct scout_s3_warm warm; /* engine thread only */
};

/* What a transfer's connection is counted as. */
enum scout_s3_use { SCOUT_S3_SMALL, SCOUT_S3_BULK, SCOUT_S3_HEDGE };

struct scout_s3_transfer {
	TAILQ_ENTRY(scout_s3_transfer) link; /* the engine's: running or pausing */
	struct scout_s3_context *context;
	struct scout_s3_call *call;

	uint64_t number;   /* of the call: its twin's, too */
	uint64_t got;      /* GET: bytes received and not too early, over all attempts */
	unsigned attempts; /* begun */
	unsigned failures; /* in a row; GET: since it moved on by a MiB */
	bool skew_tried, move_tried, renewal_tried;
	bool aloud;         /* HEAD: asked as a GET, whose refusal has a body that says why */
	bool aloud_granted; /* HEAD: that GET was not refused */
	bool cancelled;
	uint64_t due_ns; /* while pausing: when the next attempt may begin */
	enum scout_s3_use use;

	/* A call that hangs has two transfers, until one of them has the answer's next bytes first: the
	 * other is dropped then. Both receive a GET's bytes, and hand over those that the other has not. */
	struct scout_s3_transfer *twin; /* or NULL */
	bool hedged;          /* its call has had its second one; GET: since it moved on by a MiB */
	bool dropped;         /* lost: to be taken off the wire; call may be gone */
	bool slow;            /* its siblings are far faster */
	uint64_t handed_over; /* GET: by a twin that is no more */

	/* this attempt */
	CURL *easy;                                /* NULL between attempts */
	const struct scout_s3_credentials *signer; /* while it begins */
	struct curl_slist *headers;
	struct scout_s3_response response;
	struct scout_s3_verdict verdict; /* of the headers of a GET */
	bool judged;                     /* verdict is set */
	bool refused;                    /* the caller's data() wants no more */
	bool too_long;                   /* more headers, listing or error than we take */
	unsigned times;                  /* it was sent */
	uint64_t anew_at; /* got when it began or was hedged, or when failures last counted anew */
	uint64_t upto;    /* GET: it asks for what lies before this; the call's length, or less */
	uint64_t sent;    /* of the body */
	bool has_body;    /* some of the answer's came */
	uint64_t begun_ns;
	uint64_t first_ns; /* from when it was connected until the answer began; 0: not yet */
	uint64_t heard_ns; /* when the last byte came, or went; begun_ns: none yet */
	uint64_t heard_awake_ns, heard_alive_ns; /* likewise, on the clocks of the pulse */
	uint64_t moved;                          /* bytes that came or went */
	uint64_t lively_ns, lively_moved;        /* when, and at what, it was last fast enough */
	uint64_t looked_ns;                      /* when its connection was last looked at */
	/* bytes of its connection that the other side has confirmed; 0: not looked yet */
	uint64_t acked, lively_acked;
	uint64_t counted;                 /* moved when rates were last compared */
	time_t signed_at;                 /* by the server's clock */
	uint64_t token_of;                /* whose session token it carries; 0: none */
	char region[SCOUT_S3_REGION_MAX]; /* it was signed for */
	struct scout_text body;           /* the answer of whole ones */
	struct scout_text
	    header_lines; /* GET, HEAD: for the caller's header(), ended by NUL each */
	char curl_error[CURL_ERROR_SIZE];
};

/* An easy handle with all that every request has in common; NULL without memory. */
CURL *scout_s3_easy_new(struct scout_s3_context *context);

/* Sets easy up for the next attempt of t, which then owns it, signed with signer. Of a pinned GET it
 * asks for most_bytes at the most. Returns 0, -ENOMEM or -EIO; t does not own easy then. */
int scout_s3_transfer_begin(struct scout_s3_transfer *t, CURL *easy, uint64_t most_bytes,
			    const struct scout_s3_credentials *signer);
/* Looks how much of what was handed to the connection has arrived: of a body's last bytes nothing else tells
 * for a long time, on a slow link. Once in a while of one that sends. */
void scout_s3_transfer_look(struct scout_s3_transfer *t);
/* GET: how many bytes the caller has. */
uint64_t scout_s3_transfer_handed_over(const struct scout_s3_transfer *t);
/* t, which is not the last of its call, has lost. */
void scout_s3_transfer_drop(struct scout_s3_transfer *t);
/* The ETag that the next bytes must have: the caller's, or that of the bytes before; or NULL. */
const char *scout_s3_transfer_pinned(const struct scout_s3_transfer *t);
/* Takes easy, which is in no multi handle any more, back from t. */
CURL *scout_s3_transfer_release(struct scout_s3_transfer *t);
/* Whether all came that a GET asked for, and that was not all of it. */
bool scout_s3_transfer_is_slice(const struct scout_s3_transfer *t);
/* What the attempt came to (after release). */
void scout_s3_transfer_judge(struct scout_s3_transfer *t, CURLcode code, long os_errno,
			     struct scout_s3_verdict *v);

#endif
