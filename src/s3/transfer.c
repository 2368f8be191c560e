/* Taking an attempt's answer: bytes to the caller as they come, once each and only after the headers
 * have proved what they are; and what the attempt comes to in the end. See transfer.h. */
#include "s3/transfer.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "s3/callbacks.h"
#include "s3/op.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"

#define MAX_WHOLE_BYTES ((size_t)4 << 20) /* 1,000 of the longest keys take 3.6 MiB */
#define MIN_BYTES_PER_S 2048
#define RECOVERED_BYTES ((uint64_t)256 << 10)
/* An attempt that moved a body on by this much starts the count of failures anew. */
#define PROGRESS_BYTES ((uint64_t)1 << 20)

static bool is_success(const struct scout_s3_response *r)
{
	return r->status == 200 || r->status == 204 || r->status == 206;
}

/* For whoever asked for headers; a status line starts the answer over. Bounded by the response's own. */
static void keep_header(struct scout_s3_transfer *t, const char *line, size_t len)
{
	if (!t->call->header || memchr(line, '\0', len))
		return;
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		scout_text_free(&t->header_lines);
		return;
	}
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	scout_text_append(&t->header_lines, line, len);
	scout_text_append(&t->header_lines, "", 1);
}

static void tell_headers(struct scout_s3_transfer *t)
{
	char *line = t->header_lines.str, *end = line ? line + t->header_lines.len : NULL, *next;

	for (; line && line < end; line = next) {
		char *value = strchr(line, ':');

		next = line + strlen(line) + 1;
		if (!value)
			continue;
		*value++ = '\0';
		for (char *c = line; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		t->call->header(t->call, line, value + strspn(value, " \t"));
	}
	scout_text_free(&t->header_lines);
}

static uint64_t lively_bytes(const struct scout_s3_transfer *t)
{
	return t->context->config->timeout_ns * MIN_BYTES_PER_S / SCOUT_NS_PER_S;
}

/* What came or went shows that the other side is there. That alone would let an answer trickle for
 * ever, so an attempt must also move MIN_BYTES_PER_S on the average of each timeout, or reach its next
 * stage: lively_ns is when it last did. */
static void hear(struct scout_s3_transfer *t, size_t len, bool stage)
{
	uint64_t enough = lively_bytes(t);

	/* S3 keeps a connection alive by blanks while it completes an upload */
	if (t->call->op == SCOUT_S3_COMPLETE)
		enough = 0;
	t->heard_ns = scout_now_ns();
	t->moved += len;
	if (stage || t->moved - t->lively_moved >= enough) {
		t->lively_ns = t->heard_ns;
		t->lively_moved = t->moved;
	}
}

/* Likewise, of what came. */
static void hear_answer(struct scout_s3_transfer *t, size_t len, bool stage)
{
	struct scout_s3_pulse *p = &t->context->pulse;

	hear(t, len, stage);
	scout_s3_pulse_hear(p);
	t->heard_awake_ns = p->awake_ns;
	t->heard_alive_ns = p->alive_ns;
}

void scout_s3_transfer_look(struct scout_s3_transfer *t)
{
	uint64_t acked;
	long port = 0, peer_port = 0; /* libcurl tells no socket before the end */
	char *peer = NULL;

	t->looked_ns = scout_now_ns();
	(void)curl_easy_getinfo(t->easy, CURLINFO_LOCAL_PORT, &port);
	(void)curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &peer);
	(void)curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_PORT, &peer_port);
	if (port <= 0 || !peer ||
	    !scout_s3_sockets_acked(&t->context->sockets, (unsigned)port, peer, (unsigned)peer_port,
				    &acked))
		return;
	if (t->acked == 0 || acked < t->acked) {
		t->acked = t->lively_acked = acked; /* of what went before, too */
		return;
	}
	if (acked > t->acked && t->call->taken)
		t->call->taken(t->call);
	if (acked > t->acked)
		t->heard_ns = t->looked_ns;
	if (acked - t->lively_acked >= lively_bytes(t)) {
		t->lively_ns = t->looked_ns;
		t->lively_acked = acked;
	}
	t->acked = acked;
}

/* What a first byte takes: the mean of about the last eight. And what it took once connected. */
static void note_first_byte(struct scout_s3_transfer *t)
{
	uint64_t *mean_ns = &t->context->first_byte_ns, took_ns = t->heard_ns - t->begun_ns,
		 ready_ns;
	curl_off_t tcp_us = 0, tls_us = 0; /* 0 of a connection that was used before */

	*mean_ns = *mean_ns == 0 ? took_ns : *mean_ns - *mean_ns / 8 + took_ns / 8;
	(void)curl_easy_getinfo(t->easy, CURLINFO_CONNECT_TIME_T, &tcp_us);
	(void)curl_easy_getinfo(t->easy, CURLINFO_APPCONNECT_TIME_T, &tls_us);
	ready_ns = (uint64_t)(tls_us > tcp_us ? tls_us : tcp_us) * (SCOUT_NS_PER_MS / 1000);
	t->first_ns = took_ns > ready_ns ? took_ns - ready_ns : 1;
}

size_t scout_s3_on_header(char *line, size_t size, size_t n, void *arg)
{
	struct scout_s3_transfer *t = arg;
	size_t len = size * n;
	bool first = t->response.status == 0;

	if (t->dropped)
		return 0;
	hear_answer(t, len, first);
	/* that of a body of ours comes when it is sent, and says nothing of others */
	if (first && !scout_s3_op_traits(t->call->op)->sends)
		note_first_byte(t);
	if (!scout_s3_response_header(&t->response, line, len)) {
		t->too_long = true;
		return 0;
	}
	keep_header(t, line, len);
	return len;
}

uint64_t scout_s3_transfer_handed_over(const struct scout_s3_transfer *t)
{
	uint64_t most = t->got > t->handed_over ? t->got : t->handed_over;

	return t->twin && t->twin->got > most ? t->twin->got : most;
}

void scout_s3_transfer_drop(struct scout_s3_transfer *t)
{
	struct scout_s3_transfer *twin = t->twin;

	twin->handed_over = scout_s3_transfer_handed_over(t);
	twin->attempts = t->attempts > twin->attempts ? t->attempts : twin->attempts;
	twin->twin = t->twin = NULL;
	t->dropped = true;
	t->context->dropped++;
}

/* The later of two transfers of a call wins by its first byte; the earlier one by so many that it does
 * not hang any more. */
static void race(struct scout_s3_transfer *t)
{
	if (t->use == SCOUT_S3_HEDGE) {
		scout_count(&t->context->hedges_won, 1);
		scout_s3_transfer_drop(t->twin);
	} else if (t->got - t->twin->got >= RECOVERED_BYTES) {
		scout_s3_transfer_drop(t->twin);
	}
}

static void progress(struct scout_s3_transfer *t)
{
	t->anew_at = t->got;
	t->failures = 0;
	t->hedged = false;
}

const char *scout_s3_transfer_pinned(const struct scout_s3_transfer *t)
{
	bool begun = scout_s3_transfer_handed_over(t) > 0;
	const char *etag = begun ? t->call->etag : t->call->if_match;

	return etag && *etag ? etag : NULL;
}

/* Of a guess: it may be that there is less. */
static void shorten(struct scout_s3_call *call, const struct scout_s3_response *r)
{
	uint64_t total = r->status == 206 ? r->total : r->length;

	if (total > call->offset && total - call->offset < call->length)
		call->length = total - call->offset;
}

/* Once, before a GET's first byte: are the headers right? Then the caller may know them. */
static bool accept_get(struct scout_s3_transfer *t)
{
	struct scout_s3_call *call = t->call;

	if (t->judged)
		return t->verdict.err == 0;
	t->judged = true;
	if (call->guess && scout_s3_transfer_handed_over(t) == 0)
		shorten(call, &t->response);
	scout_s3_judge_get(call, t->got, scout_s3_transfer_pinned(t), &t->response, &t->verdict);
	if (t->verdict.err)
		return false;
	if (scout_s3_transfer_handed_over(t) == 0) {
		call->object_bytes =
		    t->response.status == 206 ? t->response.total : t->response.length;
		call->modified = t->response.modified;
		memcpy(call->etag, t->response.etag, sizeof(call->etag));
		tell_headers(t);
	}
	return true;
}

/* False ends the attempt: refused, or all of it is here and the server (a 200) would go on. */
static bool take_body(struct scout_s3_transfer *t, const char *bytes, size_t len)
{
	uint64_t left = t->call->length - t->got, ahead;
	size_t wanted = len < left ? len : (size_t)left, known;

	if (!accept_get(t))
		return false;
	ahead = scout_s3_transfer_handed_over(t) - t->got;
	known = ahead < wanted ? (size_t)ahead : wanted;
	if (wanted > known && !t->call->data(t->call, bytes + known, wanted - known)) {
		t->refused = true;
		return false;
	}
	t->got += wanted;
	if (t->twin)
		race(t);
	if (!t->twin && t->got - t->anew_at >= PROGRESS_BYTES)
		progress(t);
	return t->got < t->call->length || wanted == len;
}

static bool take_whole(struct scout_s3_transfer *t, const char *bytes, size_t len)
{
	if (len > MAX_WHOLE_BYTES - t->body.len) {
		t->too_long = true;
		return false;
	}
	scout_text_append(&t->body, bytes, len);
	return !t->body.failed;
}

size_t scout_s3_on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct scout_s3_transfer *t = arg;
	size_t len = size * n;
	bool go_on;

	if (t->dropped)
		return 0;
	hear_answer(t, len, !t->has_body);
	t->has_body = true;
	scout_count(&t->context->bytes_in, len);
	if (!is_success(&t->response))
		go_on = scout_s3_response_error(&t->response, bytes, len);
	else if (scout_s3_op_traits(t->call->op)->whole)
		go_on = take_whole(t, bytes, len);
	else if (t->call->op == SCOUT_S3_GET)
		go_on = take_body(t, bytes, len);
	else
		go_on = !t->aloud; /* nothing that anybody wants to know */
	return go_on ? len : 0;
}

size_t scout_s3_on_send(char *dst, size_t size, size_t n, void *arg)
{
	struct scout_s3_transfer *t = arg;
	struct scout_s3_call *call = t->call;
	size_t sent;

	if (t->sent == call->body_bytes)
		return 0;
	sent = call->body(call, t->sent, dst, size * n);
	t->sent += sent;
	hear(t, sent, t->sent == call->body_bytes);
	return sent;
}

int scout_s3_on_rewind(void *arg, curl_off_t offset, int origin)
{
	struct scout_s3_transfer *t = arg;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->call->body_bytes)
		return CURL_SEEKFUNC_FAIL;
	t->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* Completing takes S3 so long that it answers 200 before it knows, and says in the body what it came to. Of
 * one that does not say it nobody knows. */
static void judge_completion(struct scout_s3_transfer *t, struct scout_s3_verdict *v)
{
	bool failed;

	if (scout_s3_parse_completion(t->body.str ? t->body.str : "", t->body.len, &failed) < 0) {
		scout_s3_verdict_set(v, -EIO, true, "200, and not what it came to");
	} else if (failed) {
		(void)scout_s3_response_error(&t->response, t->body.str, t->body.len);
		scout_s3_judge_late_error(&t->response, v);
	} else {
		scout_s3_verdict_set(v, 0, false, "%s", "");
	}
}

static void judge_whole(struct scout_s3_transfer *t, struct scout_s3_verdict *v)
{
	struct scout_s3_call *call = t->call;

	scout_s3_verdict_set(v, 0, false, "%s", "");
	call->date = t->response.date;
	if (call->op == SCOUT_S3_COMPLETE)
		judge_completion(t, v);
	if (!v->err && !call->data(call, t->body.str ? t->body.str : "", t->body.len))
		scout_s3_verdict_set(v, -ECANCELED, false, "given up");
}

static void judge_get(struct scout_s3_transfer *t, struct scout_s3_verdict *v)
{
	if (!accept_get(t))
		*v = t->verdict;
	else if (t->got == t->call->length)
		scout_s3_verdict_set(v, 0, false, "%s", "");
	else
		scout_s3_verdict_set(v, -EIO, true, "the body was cut");
}

static void judge_head(struct scout_s3_transfer *t, struct scout_s3_verdict *v)
{
	struct scout_s3_call *call = t->call;

	scout_s3_judge_head(&t->response, v);
	if (v->err)
		return;
	call->object_bytes = t->response.length;
	call->modified = t->response.modified;
	memcpy(call->etag, t->response.etag, sizeof(call->etag));
	tell_headers(t);
}

/* An id that S3 would not make is refused as malformed: there is no such version. */
static bool is_no_version(const struct scout_s3_transfer *t)
{
	char code[SCOUT_S3_CODE_MAX], region[SCOUT_S3_REGION_MAX];

	if (t->call->op != SCOUT_S3_HEAD || !t->call->version_id || t->aloud_granted ||
	    t->response.status != 400 || scout_s3_is_moved(&t->response, t->region, region))
		return false;
	scout_s3_response_code(&t->response, code);
	return !*code || strcmp(code, "InvalidArgument") == 0;
}

static void judge_sent(struct scout_s3_transfer *t, struct scout_s3_verdict *v)
{
	struct scout_s3_call *call = t->call;

	memcpy(call->etag, t->response.etag, sizeof(call->etag));
	if (call->op == SCOUT_S3_PART && !*call->etag)
		scout_s3_verdict_set(v, -EIO, false, "%d without ETag", t->response.status);
	else
		scout_s3_verdict_set(v, 0, false, "%s", "");
}

/* Every byte is here, however the attempt ended (a last chunk that is cut or late adds nothing). */
static bool is_complete(const struct scout_s3_transfer *t)
{
	return t->call->op == SCOUT_S3_GET && t->got == t->call->length;
}

bool scout_s3_transfer_is_slice(const struct scout_s3_transfer *t)
{
	return t->call->op == SCOUT_S3_GET && t->got == t->upto && t->upto < t->call->length;
}

void scout_s3_transfer_judge(struct scout_s3_transfer *t, CURLcode code, long os_errno,
			     struct scout_s3_verdict *v)
{
	enum scout_s3_op op = t->call->op;
	bool stopped = code == CURLE_WRITE_ERROR; /* by us */

	if (is_complete(t))
		scout_s3_verdict_set(v, 0, false, "%s", "");
	else if (t->refused)
		scout_s3_verdict_set(v, -ECANCELED, false, "given up");
	else if (t->body.failed || t->header_lines.failed)
		scout_s3_verdict_set(v, -ENOMEM, false, "no memory");
	else if (t->too_long)
		scout_s3_verdict_set(v, -EIO, false, "the answer is too long");
	else if (code != CURLE_OK && !stopped)
		scout_s3_judge_curl(code, os_errno, t->curl_error, v);
	else if (t->aloud && (is_success(&t->response) || t->response.status == 416))
		scout_s3_verdict_set(v, -EIO, false, "400 to HEAD, and not to GET");
	else if (!is_success(&t->response))
		scout_s3_judge_status(&t->response, v);
	else if (op == SCOUT_S3_GET)
		judge_get(t, v);
	else if (op == SCOUT_S3_HEAD)
		judge_head(t, v);
	else if (scout_s3_op_traits(op)->whole)
		judge_whole(t, v);
	else
		judge_sent(t, v);
	if (v->err == -EIO && is_no_version(t))
		v->err = -ENOENT;
	if (v->err == -ESTALE && t->call->if_none_match)
		v->err = -EEXIST;
	if (v->err == -EIO && t->call->if_none_match && t->response.status == 501)
		v->err = -EOPNOTSUPP;
	/* Without an ETag nobody knows whether the next bytes would be of the same object. */
	v->retry = v->retry && (t->got == 0 || t->call->etag[0] != '\0');
}
