/* One call on its way: its attempts, each an easy handle borrowed from the engine. Engine thread
 * only. */
#ifndef SCOUTFS_S3_TRANSFER_H
#define SCOUTFS_S3_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "s3/credentials.h"
#include "s3/response.h"
#include "s3/sockets.h"
#include "s3/verdict.h"
#include "scoutfs/metrics.h"
#include "scoutfs/s3.h"
#include "scoutfs/text.h"

/* What all transfers of an engine share. */
struct scout_s3_context {
	const struct scout_models_config *config; /* immutable after start */
	struct scout_s3_credentials credentials;  /* immutable after start */
	int64_t clock_offset_s; /* engine thread only: the server's clock less ours */
	scout_counter bytes_in;
	struct scout_s3_sockets sockets;
};

struct scout_s3_transfer {
	TAILQ_ENTRY(scout_s3_transfer) link; /* the engine's: running or pausing */
	struct scout_s3_context *context;
	struct scout_s3_call *call;

	uint64_t got;      /* GET: bytes handed over, over all attempts */
	unsigned attempts; /* begun */
	unsigned failures; /* in a row */
	bool skew_tried;
	bool cancelled;
	uint64_t due_ns; /* while pausing: when the next attempt may begin */

	/* this attempt */
	CURL *easy; /* NULL between attempts */
	struct curl_slist *headers;
	struct scout_s3_response response;
	struct scout_s3_verdict verdict; /* of the headers of a GET */
	bool judged;                     /* verdict is set */
	bool refused;                    /* the caller's data() wants no more */
	bool too_long;                   /* more headers, listing or error than we take */
	uint64_t got_before;             /* got when it began */
	uint64_t sent;                   /* of the body */
	uint64_t heard_ns;               /* when the last byte came, or went */
	time_t signed_at;                /* by the server's clock */
	struct scout_text body;          /* the answer of whole ones */
	struct scout_text
	    header_lines; /* GET, HEAD: for the caller's header(), ended by NUL each */
	char curl_error[CURL_ERROR_SIZE];
};

/* An easy handle with all that every request has in common; NULL without memory. */
CURL *scout_s3_easy_new(struct scout_s3_context *context);

/* Sets easy up for the next attempt of t, which then owns it. Returns 0, -ENOMEM or -EIO; t does not
 * own easy then. */
int scout_s3_transfer_begin(struct scout_s3_transfer *t, CURL *easy);
/* The ETag that the next bytes must have: the caller's, or that of the bytes before; or NULL. */
const char *scout_s3_transfer_pinned(const struct scout_s3_transfer *t);
/* Takes easy, which is in no multi handle any more, back from t. */
CURL *scout_s3_transfer_release(struct scout_s3_transfer *t);
/* What the attempt came to (after release). */
void scout_s3_transfer_judge(struct scout_s3_transfer *t, CURLcode code, long os_errno,
			     struct scout_s3_verdict *v);

#endif
