/* What the engine's thread does with calls: begin, try again, time out, cancel, complete; see
 * engine.h. Callbacks may submit and cancel, which touch the queue and flags under the lock and never
 * the lists here, so a list may be walked while its transfers complete. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3/engine.h"
#include "s3/op.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/log.h"

#define BACKOFF_BASE_NS (100 * SCOUT_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * SCOUT_NS_PER_S)
#define MAX_SLEEP_NS SCOUT_NS_PER_S
#define SPARE_FROM 4u /* connections, fewer than which are not divided */
#define SPARE_MAX 16u
/* An attempt that moved a body on by this much starts the count of failures anew. */
#define PROGRESS_BYTES ((uint64_t)1 << 20)

/* A name that is not there is an answer, and who gives up knows it. */
static bool is_failure(enum scout_s3_op op, const struct scout_s3_verdict *v)
{
	if (v->err == -ENOENT && !scout_s3_op_traits(op)->bucket)
		return strstr(v->reason, "NoSuchBucket") != NULL;
	return v->err != 0 && v->err != -EEXIST && v->err != -ECANCELED && v->err != -ESHUTDOWN;
}

static void report(struct scout_s3 *s3, const struct scout_s3_call *call, unsigned attempts,
		   const struct scout_s3_verdict *v)
{
	char name[256];

	if (scout_s3_op_traits(call->op)->bucket)
		scout_format_name(name, sizeof(name), call->prefix ? call->prefix : "");
	else
		scout_format_name(name, sizeof(name), call->key);
	scout_warn("s3: %s %s/%s: %s (%s, attempt %u)", scout_s3_op_traits(call->op)->name,
		   s3->context.config->bucket, name, v->reason, strerrorname_np(-v->err), attempts);
	scout_lock(&s3->lock);
	/* the answer to a HEAD has no body that says why: whoever said so before knows better */
	if (call->op != SCOUT_S3_HEAD || s3->last_err != v->err)
		memcpy(s3->last_reason, v->reason, sizeof(s3->last_reason));
	s3->last_err = v->err;
	s3->last_err_wall_ns = scout_wall_ns();
	scout_unlock(&s3->lock);
}

/* The last anybody here sees of call. */
static void complete(struct scout_s3 *s3, struct scout_s3_call *call, unsigned attempts,
		     const struct scout_s3_verdict *v)
{
	memcpy(call->reason, v->reason, sizeof(call->reason));
	if (is_failure(call->op, v))
		report(s3, call, attempts, v);
	call->done(call, v->err);
}

void scout_s3_complete_early(struct scout_s3 *s3, struct scout_s3_call *call, int err)
{
	struct scout_s3_verdict v;

	scout_s3_verdict_set(&v, err, false, "%s", strerror(-err));
	complete(s3, call, 0, &v);
}

/* t runs and pauses no more. */
static void finish(struct scout_s3 *s3, struct scout_s3_transfer *t,
		   const struct scout_s3_verdict *v)
{
	struct scout_s3_call *call = t->call;
	unsigned attempts = t->attempts;

	assert(!t->easy);
	scout_text_free(&t->body);
	scout_text_free(&t->header_lines);
	free(t);
	complete(s3, call, attempts, v);
}

static void pause_until(struct scout_s3 *s3, struct scout_s3_transfer *t, uint64_t due_ns)
{
	t->due_ns = due_ns;
	TAILQ_INSERT_TAIL(&s3->pausing, t, link);
	s3->queued++;
}

static void unpause(struct scout_s3 *s3, struct scout_s3_transfer *t)
{
	TAILQ_REMOVE(&s3->pausing, t, link);
	s3->queued--;
}

/* Takes t off the wire. */
static void stop_attempt(struct scout_s3 *s3, struct scout_s3_transfer *t)
{
	(void)curl_multi_remove_handle(s3->multi, t->easy); /* fails only for a wrong handle */
	s3->idle[s3->nidle++] = scout_s3_transfer_release(t);
	TAILQ_REMOVE(&s3->running, t, link);
	s3->active--;
	s3->bulk -= !scout_s3_is_small(t->call);
}

static void start_attempt(struct scout_s3 *s3, struct scout_s3_transfer *t)
{
	CURL *easy = s3->nidle > 0 ? s3->idle[--s3->nidle] : scout_s3_easy_new(&s3->context);
	uint64_t deadline_ns;
	struct scout_s3_verdict v;
	int err = easy ? scout_s3_transfer_begin(t, easy) : -ENOMEM;

	if (!err && curl_multi_add_handle(s3->multi, easy) != CURLM_OK) {
		(void)scout_s3_transfer_release(t); /* easy is ours again */
		err = -ENOMEM;
	}
	if (err) {
		if (easy)
			s3->idle[s3->nidle++] = easy;
		scout_s3_verdict_set(&v, err, false, "the request could not be made");
		finish(s3, t, &v);
		return;
	}
	TAILQ_INSERT_TAIL(&s3->running, t, link);
	s3->active++;
	s3->bulk += !scout_s3_is_small(t->call);
	scout_count(&s3->requests, 1);
	deadline_ns = t->heard_ns + s3->context.config->timeout_ns;
	if (deadline_ns < s3->next_check_ns)
		s3->next_check_ns = deadline_ns;
}

/* Sign by the server's clock from now on. */
static void follow_clock(struct scout_s3 *s3, time_t server_date)
{
	int64_t offset_s = (int64_t)server_date - (int64_t)(scout_wall_ns() / SCOUT_NS_PER_S);

	if (llabs((long long)(offset_s - s3->context.clock_offset_s)) > 1)
		scout_warn("s3: the server's clock is %lld s before ours; signing by its clock",
			   (long long)offset_s);
	s3->context.clock_offset_s = offset_s;
}

/* After an attempt that may be followed by another one, or not. */
static void settle(struct scout_s3 *s3, struct scout_s3_transfer *t, struct scout_s3_verdict *v)
{
	uint64_t pause_ns, asked_ns = t->response.retry_after_s * SCOUT_NS_PER_S;

	if (v->err == -EACCES && !t->skew_tried &&
	    scout_s3_is_skewed(&t->response, t->call->op, t->signed_at)) {
		t->skew_tried = true;
		follow_clock(s3, t->response.date);
		pause_until(s3, t, 0);
		return;
	}
	if (t->got - t->got_before >= PROGRESS_BYTES)
		t->failures = 0;
	t->failures++;
	if (!v->retry || t->failures >= s3->context.config->max_attempts) {
		finish(s3, t, v);
		return;
	}
	if (asked_ns > BACKOFF_MAX_NS)
		asked_ns = BACKOFF_MAX_NS;
	pause_ns = scout_backoff_ns(t->failures, BACKOFF_BASE_NS, BACKOFF_MAX_NS, scout_random());
	if (pause_ns < asked_ns)
		pause_ns = asked_ns;
	scout_debug("s3: %s: attempt %u: %s; again in %llu ms",
		    scout_s3_op_traits(t->call->op)->name, t->attempts, v->reason,
		    (unsigned long long)(pause_ns / SCOUT_NS_PER_MS));
	scout_count(&s3->retries, 1);
	t->call->in_doubt = true;
	pause_until(s3, t, scout_now_ns() + pause_ns);
}

static void conclude(struct scout_s3 *s3, struct scout_s3_transfer *t, CURLcode code, long os_errno)
{
	struct scout_s3_verdict v;

	stop_attempt(s3, t);
	scout_s3_transfer_judge(t, code, os_errno, &v);
	if (v.err == 0)
		finish(s3, t, &v);
	else
		settle(s3, t, &v);
}

void scout_s3_harvest(struct scout_s3 *s3)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(s3->multi, &left)) != NULL) {
		struct scout_s3_transfer *t;
		CURLcode code = message->data.result;
		long os_errno = 0;
		char *private;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_OS_ERRNO, &os_errno);
		t = (struct scout_s3_transfer *)private;
		conclude(s3, t, code, os_errno);
	}
}

/* Connections that bulk leaves free: small calls are over soon and must not wait for a part's end. An
 * eighth is enough for them to come and go, and too few for bulk to miss. */
static unsigned spare(unsigned max)
{
	if (max < SPARE_FROM)
		return 0;
	return max / 8 < SPARE_MAX ? max / 8 + 1 : SPARE_MAX;
}

static bool has_room(const struct scout_s3 *s3, bool small)
{
	unsigned max = s3->context.config->max_connections;

	return s3->active < max && (small || s3->bulk < max - spare(max));
}

static void resume_due(struct scout_s3 *s3)
{
	uint64_t now_ns = scout_now_ns();
	struct scout_s3_transfer *t, *next;

	for (t = TAILQ_FIRST(&s3->pausing); t && has_room(s3, true); t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->due_ns > now_ns || !has_room(s3, scout_s3_is_small(t->call)))
			continue;
		unpause(s3, t);
		start_attempt(s3, t);
	}
}

void scout_s3_admit(struct scout_s3 *s3)
{
	struct scout_s3_transfer *t;
	struct scout_s3_call *call;

	resume_due(s3);
	while (has_room(s3, true)) {
		scout_lock(&s3->lock);
		call = scout_s3_queue_take(&s3->queue, has_room(s3, false));
		s3->queued -= call != NULL;
		scout_unlock(&s3->lock);
		if (!call)
			return;
		t = calloc(1, sizeof(*t));
		if (!t) {
			scout_s3_complete_early(s3, call, -ENOMEM);
			continue;
		}
		t->context = &s3->context;
		t->call = call;
		start_attempt(s3, t);
	}
}

void scout_s3_expire(struct scout_s3 *s3)
{
	uint64_t now_ns = scout_now_ns(), timeout_ns = s3->context.config->timeout_ns;
	struct scout_s3_transfer *t, *next;
	char duration[32];

	if (now_ns < s3->next_check_ns)
		return;
	s3->next_check_ns = UINT64_MAX;
	for (t = TAILQ_FIRST(&s3->running); t; t = next) {
		uint64_t deadline_ns = t->heard_ns + timeout_ns;

		next = TAILQ_NEXT(t, link);
		if (deadline_ns > now_ns) {
			if (deadline_ns < s3->next_check_ns)
				s3->next_check_ns = deadline_ns;
			continue;
		}
		snprintf(t->curl_error, sizeof(t->curl_error), "no byte for %s",
			 scout_format_duration(duration, timeout_ns));
		conclude(s3, t, CURLE_OPERATION_TIMEDOUT, 0);
	}
}

static void end_transfers(struct scout_s3 *s3, bool cancelled_only, int err)
{
	struct scout_s3_transfer *t, *next;
	struct scout_s3_verdict v;

	scout_s3_verdict_set(&v, err, false, "%s", strerror(-err));
	for (t = TAILQ_FIRST(&s3->running); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (cancelled_only && !t->cancelled)
			continue;
		stop_attempt(s3, t);
		finish(s3, t, &v);
	}
	for (t = TAILQ_FIRST(&s3->pausing); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (cancelled_only && !t->cancelled)
			continue;
		unpause(s3, t);
		finish(s3, t, &v);
	}
}

static void end_calls(struct scout_s3 *s3, struct scout_s3_call_list *calls, int err)
{
	struct scout_s3_call *call;

	while ((call = TAILQ_FIRST(calls)) != NULL) {
		TAILQ_REMOVE(calls, call, link);
		scout_s3_complete_early(s3, call, err);
	}
}

void scout_s3_reap_cancelled(struct scout_s3 *s3)
{
	struct scout_s3_call_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct scout_s3_transfer *t;

	scout_lock(&s3->lock);
	if (!s3->cancels) {
		scout_unlock(&s3->lock);
		return;
	}
	s3->cancels = false;
	TAILQ_CONCAT(&gone, &s3->cancelled, link);
	TAILQ_FOREACH (t, &s3->running, link)
		t->cancelled = t->call->cancelled;
	TAILQ_FOREACH (t, &s3->pausing, link)
		t->cancelled = t->call->cancelled;
	scout_unlock(&s3->lock);
	end_transfers(s3, true, -ECANCELED);
	end_calls(s3, &gone, -ECANCELED);
}

void scout_s3_shut_down(struct scout_s3 *s3)
{
	struct scout_s3_call_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct scout_s3_call *call;

	end_transfers(s3, false, -ESHUTDOWN);
	scout_lock(&s3->lock);
	TAILQ_CONCAT(&gone, &s3->cancelled, link);
	while ((call = scout_s3_queue_take(&s3->queue, true)) != NULL)
		TAILQ_INSERT_TAIL(&gone, call, link);
	s3->queued = 0;
	scout_unlock(&s3->lock);
	end_calls(s3, &gone, -ESHUTDOWN);
}

int scout_s3_idle_ms(const struct scout_s3 *s3)
{
	uint64_t now_ns = scout_now_ns(), wake_ns = now_ns + MAX_SLEEP_NS;
	const struct scout_s3_transfer *t;

	if (s3->next_check_ns < wake_ns)
		wake_ns = s3->next_check_ns;
	TAILQ_FOREACH (t, &s3->pausing, link) {
		if (t->due_ns < wake_ns && has_room(s3, scout_s3_is_small(t->call)))
			wake_ns = t->due_ns;
	}
	if (wake_ns <= now_ns)
		return 0;
	return (int)((wake_ns - now_ns + SCOUT_NS_PER_MS - 1) / SCOUT_NS_PER_MS);
}
