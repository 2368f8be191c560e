/* Errors of HTTP, S3 and libcurl as errnos; see verdict.h. One place decides what is tried again:
 * connection errors, 408, 429, 500, 502, 503, 504, SlowDown, and a body that was cut. */
#include "s3/verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3/etag.h"

#define MAX_SKEW_S 300 /* S3 refuses at 900 */

void scout_s3_verdict_set(struct scout_s3_verdict *v, int err, bool retry, const char *fmt, ...)
{
	va_list ap;

	v->err = err;
	v->retry = retry;
	va_start(ap, fmt);
	vsnprintf(v->reason, sizeof(v->reason), fmt, ap);
	va_end(ap);
}

/* What is full, or too much; 0: nothing of that kind. */
static int no_room(const char *code)
{
	if (strcmp(code, "QuotaExceeded") == 0)
		return -EDQUOT;
	if (strcmp(code, "InsufficientCapacity") == 0 || strcmp(code, "XMinioStorageFull") == 0)
		return -ENOSPC;
	return strcmp(code, "EntityTooLarge") == 0 ? -EFBIG : 0;
}

static bool is_token_code(const char *code)
{
	static const char *const codes[] = {"ExpiredToken", "InvalidToken", "RequestExpired",
					    "TokenRefreshRequired"};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strcmp(code, codes[i]) == 0)
			return true;
	}
	return false;
}

/* S3 asks to try a conditional write again when another one was under way. */
static bool is_conflict(const char *code)
{
	return strcmp(code, "ConditionalRequestConflict") == 0 ||
	       strcmp(code, "OperationAborted") == 0;
}

void scout_s3_judge_late_error(const struct scout_s3_response *r, struct scout_s3_verdict *v)
{
	char code[SCOUT_S3_CODE_MAX];
	int err = no_room(scout_s3_response_code(r, code));
	bool retry = !*code || is_conflict(code) || strcmp(code, "InternalError") == 0 ||
		     strcmp(code, "SlowDown") == 0 || strcmp(code, "ServiceUnavailable") == 0 ||
		     strcmp(code, "RequestTimeout") == 0;

	if (strcmp(code, "PreconditionFailed") == 0)
		err = -ESTALE;
	else if (strcmp(code, "AccessDenied") == 0 || is_token_code(code))
		err = -EACCES;
	scout_s3_verdict_set(v, err ? err : -EIO, retry, "200, and then %s",
			     *code ? code : "an error");
}

void scout_s3_judge_status(const struct scout_s3_response *r, struct scout_s3_verdict *v)
{
	char reason[80], code[SCOUT_S3_CODE_MAX], region[SCOUT_S3_REGION_MAX];
	int err = -EIO;
	bool retry = false;

	scout_s3_response_reason(r, reason, sizeof(reason));
	scout_s3_response_code(r, code);
	scout_s3_response_region(r, region);
	switch (r->status) {
	case 301:
	case 302:
	case 307:
	case 308:
		if (*region)
			scout_s3_verdict_set(v, -EIO, false, "%s: the bucket is in region %s",
					     reason, region);
		else
			scout_s3_verdict_set(
			    v, -EIO, false,
			    "%s: redirected (another region or endpoint), not followed", reason);
		return;
	case 400:
		if (is_token_code(code))
			err = -EACCES;
		/* a body of ours that came too slowly, or was cut */
		retry = strcmp(code, "RequestTimeout") == 0 || strcmp(code, "IncompleteBody") == 0;
		break;
	case 401:
	case 403:
		err = -EACCES;
		break;
	case 404:
		err = -ENOENT;
		break;
	case 408:
		retry = true;
		break;
	case 409:
		retry = is_conflict(code);
		break;
	case 412:
		err = -ESTALE;
		break;
	case 416:
		err = -ERANGE;
		break;
	case 500:
	case 502:
	case 504:
		retry = true;
		break;
	}
	if (scout_s3_is_slow_down(r))
		retry = true;
	if (no_room(code)) {
		err = no_room(code);
		retry = false;
	}
	if (*region && r->status == 400)
		scout_s3_verdict_set(v, err, retry, "%s: the bucket is in region %s", reason,
				     region);
	else
		scout_s3_verdict_set(v, err, retry, "%s", reason);
}

void scout_s3_judge_get(const struct scout_s3_call *call, uint64_t got, const char *pinned,
			const struct scout_s3_response *r, struct scout_s3_verdict *v)
{
	uint64_t from = call->offset + got, want = call->length - got, total;

	scout_s3_verdict_set(v, 0, false, "%s", "");
	if (r->status == 206 && r->has_range) {
		uint64_t have = r->last - r->first + 1;

		total = r->total;
		if (r->first != from || have > want || (r->has_length && r->length != have)) {
			scout_s3_verdict_set(v, -EIO, false,
					     "asked for bytes %" PRIu64 "-%" PRIu64 ", got %" PRIu64
					     "-%" PRIu64,
					     from, from + want - 1, r->first, r->last);
			return;
		}
	} else if (r->status == 200 && from == 0 && r->has_length) {
		total = r->length;
	} else {
		scout_s3_verdict_set(v, -EIO, false, "%d answer to a range without %s", r->status,
				     r->status == 200 && from == 0 ? "Content-Length"
								   : "a right Content-Range");
		return;
	}
	if (pinned && !scout_s3_etag_same(pinned, r->etag))
		scout_s3_verdict_set(v, -ESTALE, false, "the object changed: %s is now %s", pinned,
				     *r->etag ? r->etag : "without ETag");
	else if (got > 0 && total != call->object_bytes)
		scout_s3_verdict_set(v, -ESTALE, false,
				     "the object changed its size between attempts");
	else if (total - from < want)
		scout_s3_verdict_set(v, -EIO, false,
				     "asked for bytes up to %" PRIu64 " of an object of %" PRIu64,
				     from + want, total);
	/* A range that ends early is as good as a cut body: the next attempt asks for the rest. */
}

void scout_s3_judge_head(const struct scout_s3_response *r, struct scout_s3_verdict *v)
{
	if (r->has_length)
		scout_s3_verdict_set(v, 0, false, "%s", "");
	else
		scout_s3_verdict_set(v, -EIO, false, "%d without Content-Length", r->status);
}

static int connect_errno(long os_errno)
{
	switch (os_errno) {
	case ECONNREFUSED:
		return -ECONNREFUSED;
	case ETIMEDOUT:
		return -ETIMEDOUT;
	default:
		return -EHOSTUNREACH;
	}
}

void scout_s3_judge_curl(CURLcode code, long os_errno, const char *detail,
			 struct scout_s3_verdict *v)
{
	const char *what = *detail ? detail : curl_easy_strerror(code);
	bool retry = false;
	int err = -EIO;

	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		err = -EHOSTUNREACH;
		retry = true;
		break;
	case CURLE_COULDNT_CONNECT:
		err = connect_errno(os_errno);
		retry = true;
		break;
	case CURLE_OPERATION_TIMEDOUT:
		err = -ETIMEDOUT;
		retry = true;
		break;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		retry = true;
		break;
	case CURLE_OUT_OF_MEMORY:
		err = -ENOMEM;
		break;
	default:
		break;
	}
	scout_s3_verdict_set(v, err, retry, "%s", what);
}

bool scout_s3_is_slow_down(const struct scout_s3_response *r)
{
	char code[SCOUT_S3_CODE_MAX];

	return r->status == 503 || r->status == 429 ||
	       strcmp(scout_s3_response_code(r, code), "SlowDown") == 0;
}

bool scout_s3_is_moved(const struct scout_s3_response *r, const char *asked, char *region)
{
	if (r->status != 301 && r->status != 302 && r->status != 307 && r->status != 308 &&
	    r->status != 400)
		return false;
	scout_s3_response_region(r, region);
	return *region && strcmp(region, asked) != 0;
}

bool scout_s3_is_token_refused(const struct scout_s3_response *r)
{
	char code[SCOUT_S3_CODE_MAX];

	return is_token_code(scout_s3_response_code(r, code));
}

bool scout_s3_is_skewed(const struct scout_s3_response *r, enum scout_s3_op op, time_t signed_at)
{
	char code[SCOUT_S3_CODE_MAX];

	if (r->status != 403 || r->date == 0)
		return false;
	/* The answer to a HEAD has no body to say so. */
	return strcmp(scout_s3_response_code(r, code), "RequestTimeTooSkewed") == 0 ||
	       (op == SCOUT_S3_HEAD &&
		llabs((long long)r->date - (long long)signed_at) > MAX_SKEW_S);
}
