/* What an attempt comes to: success, an error for good, or an error worth another attempt. Pure. */
#ifndef SCOUTFS_S3_VERDICT_H
#define SCOUTFS_S3_VERDICT_H

#include <curl/curl.h>
#include <stdbool.h>

#include "s3/response.h"
#include "scoutfs/s3.h"

struct scout_s3_verdict {
	int err; /* 0 or -errno */
	bool retry;
	char reason[160]; /* of err, for a person */
};

void scout_s3_verdict_set(struct scout_s3_verdict *v, int err, bool retry, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The status of an answer that is no success. */
void scout_s3_judge_status(const struct scout_s3_response *r, struct scout_s3_verdict *v);
/* An error in the body of a success. */
void scout_s3_judge_late_error(const struct scout_s3_response *r, struct scout_s3_verdict *v);
/* The headers of a successful GET: are these the bytes from offset + got on, of the object that is
 * pinned (an ETag, or NULL)? With got > 0, also the same size as in call. */
void scout_s3_judge_get(const struct scout_s3_call *call, uint64_t got, const char *pinned,
			const struct scout_s3_response *r, struct scout_s3_verdict *v);
void scout_s3_judge_head(const struct scout_s3_response *r, struct scout_s3_verdict *v);
/* A transfer that libcurl gave up; os_errno is CURLINFO_OS_ERRNO's, detail CURLOPT_ERRORBUFFER's. */
void scout_s3_judge_curl(CURLcode code, long os_errno, const char *detail,
			 struct scout_s3_verdict *v);

/* The server has more to do than it can. */
bool scout_s3_is_slow_down(const struct scout_s3_response *r);

/* The bucket is in another region than the one that was asked: region, of SCOUT_S3_REGION_MAX. */
bool scout_s3_is_moved(const struct scout_s3_response *r, const char *asked, char *region);

/* The server takes the session token that it was signed with for none, or for one that has expired: says
 * so in a body, which the answer to a HEAD has not. */
bool scout_s3_is_token_refused(const struct scout_s3_response *r);

/* The server's clock is so far from ours (signed_at) that it refuses our signatures. */
bool scout_s3_is_skewed(const struct scout_s3_response *r, enum scout_s3_op op, time_t signed_at);

#endif
