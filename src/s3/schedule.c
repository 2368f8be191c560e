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
#define SLOW_DOWN_BASE_NS (500 * SCOUT_NS_PER_MS)
#define MAX_SLEEP_NS SCOUT_NS_PER_S
#define HEDGE_AGAIN_NS SCOUT_S3_TURN_NS /* when there was no room for one */
#define LOOKS 8                         /* in a timeout */

/* A name that is not there is an answer, and so is that an object is another now: who reads it by many requests
 * tells that once. Who gives up knows it. */
static bool is_failure(const struct scout_s3_call *call, const struct scout_s3_verdict *v)
{
	bool changed = v->err == -ESTALE || v->err == -ERANGE;

	if (v->err == -ENOENT && !scout_s3_op_traits(call->op)->bucket)
		return strstr(v->reason, "NoSuchBucket") != NULL;
	if (call->if_match ? changed : call->guess)
		return false;
	if (v->err == -EEXIST || v->err == -EOPNOTSUPP)
		return false;
	return v->err != 0 && v->err != -ECANCELED && v->err != -ESHUTDOWN;
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
	if (is_failure(call, v))
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
static void transfer_free(struct scout_s3_transfer *t)
{
	assert(!t->easy && !t->twin);
	scout_text_free(&t->body);
	scout_text_free(&t->header_lines);
	free(t);
}

/* The end of t, which runs and pauses no more, and of its call. */
static void finish(struct scout_s3 *s3, struct scout_s3_transfer *t,
		   const struct scout_s3_verdict *v)
{
	struct scout_s3_call *call = t->call;
	unsigned attempts = t->attempts;

	if (t->twin)
		scout_s3_transfer_drop(t->twin);
	transfer_free(t);
	complete(s3, call, attempts, v);
}

static void pause_until(struct scout_s3 *s3, struct scout_s3_transfer *t, uint64_t due_ns)
{
	t->due_ns = due_ns;
	TAILQ_INSERT_TAIL(&s3->pausing, t, link);
	s3->paused++;
}

static void unpause(struct scout_s3 *s3, struct scout_s3_transfer *t)
{
	TAILQ_REMOVE(&s3->pausing, t, link);
	s3->paused--;
}

static enum scout_s3_use use_of(const struct scout_s3_call *call)
{
	return scout_s3_is_small(call) ? SCOUT_S3_SMALL : SCOUT_S3_BULK;
}

/* Takes t off the wire. */
static void stop_attempt(struct scout_s3 *s3, struct scout_s3_transfer *t)
{
	(void)curl_multi_remove_handle(s3->multi, t->easy); /* fails only for a wrong handle */
	s3->idle[s3->nidle++] = scout_s3_transfer_release(t);
	TAILQ_REMOVE(&s3->running, t, link);
	s3->active--;
	s3->used[t->use]--;
	if (t->use == SCOUT_S3_HEDGE && s3->used[SCOUT_S3_HEDGE] == 0)
		s3->context.pulse.probing = false; /* cancelled, perhaps, and never answered */
}

/* Ends what lost against its twin, which is no hedge any more. */
static void sweep(struct scout_s3 *s3)
{
	struct scout_s3_transfer *t, *next;

	if (s3->context.dropped == 0)
		return;
	s3->context.dropped = 0;
	for (t = TAILQ_FIRST(&s3->running); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->dropped) {
			stop_attempt(s3, t);
			transfer_free(t);
		} else if (t->use == SCOUT_S3_HEDGE && !t->twin) {
			s3->used[t->use]--;
			t->use = use_of(t->call);
			s3->used[t->use]++;
		}
	}
}

static uint64_t deadline_ns(const struct scout_s3 *s3, const struct scout_s3_transfer *t)
{
	return t->lively_ns + s3->context.config->timeout_ns;
}

/* When to look what has become of what t sent; UINT64_MAX: never. */
static uint64_t look_due_ns(const struct scout_s3 *s3, const struct scout_s3_transfer *t)
{
	if (!scout_s3_op_traits(t->call->op)->sends)
		return UINT64_MAX;
	return t->looked_ns + s3->context.config->timeout_ns / LOOKS;
}

static void check_by(struct scout_s3 *s3, uint64_t due_ns)
{
	if (due_ns < s3->next_check_ns)
		s3->next_check_ns = due_ns;
}

/* Returns 0, or -errno and the reason: t does not run then. */
static int start_attempt(struct scout_s3 *s3, struct scout_s3_transfer *t,
			 char reason[SCOUT_S3_REASON_MAX])
{
	CURL *easy = s3->nidle > 0 ? s3->idle[--s3->nidle] : scout_s3_easy_new(&s3->context);
	struct scout_s3_credentials *signer = scout_s3_credentials_get(s3->context.chain, reason);
	bool slice = s3->yield.slices.on && t->use == SCOUT_S3_BULK;
	int err = signer ? -ENOMEM : -EACCES;

	if (easy && signer)
		err = scout_s3_transfer_begin(t, easy, slice ? SCOUT_S3_SLICE_BYTES : UINT64_MAX,
					      signer);
	if (signer)
		snprintf(reason, SCOUT_S3_REASON_MAX, "the request could not be made");
	scout_s3_credentials_put(signer);

	if (!err && curl_multi_add_handle(s3->multi, easy) != CURLM_OK) {
		(void)scout_s3_transfer_release(t); /* easy is ours again */
		err = -ENOMEM;
	}
	if (err) {
		if (easy)
			s3->idle[s3->nidle++] = easy;
		return err;
	}
	TAILQ_INSERT_TAIL(&s3->running, t, link);
	s3->active++;
	s3->used[t->use]++;
	scout_count(&s3->requests, 1);
	check_by(s3, deadline_ns(s3, t));
	check_by(s3, look_due_ns(s3, t));
	check_by(s3, scout_s3_hedge_due_ns(s3, t, scout_now_ns()));
	return 0;
}

static void start(struct scout_s3 *s3, struct scout_s3_transfer *t)
{
	struct scout_s3_verdict v;
	char reason[SCOUT_S3_REASON_MAX];
	int err = start_attempt(s3, t, reason);

	if (err == 0)
		return;
	scout_s3_verdict_set(&v, err, false, "%s", reason);
	finish(s3, t, &v);
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

/* The bucket is in another region: from now on all requests go there. */
static int follow_region(struct scout_s3 *s3, const char *region)
{
	struct scout_s3_place place;
	int err;

	if (strcmp(region, s3->context.place.region) == 0)
		return 0;
	err = scout_s3_place_new(s3->context.config, region, &place);
	if (err < 0)
		return err;
	scout_warn("s3: bucket %s is in region %s, not %s: asking there from now on",
		   s3->context.config->bucket, region, s3->context.place.region);
	scout_s3_place_free(&s3->context.place);
	s3->context.place = place;
	return 0;
}

/* The endpoint has more to do than it can: fewer requests at once from now on. */
static void slow_down(struct scout_s3 *s3, const struct scout_s3_transfer *t)
{
	bool first = s3->limit.now == s3->limit.max;

	scout_count(&s3->slow_downs, 1);
	if (!scout_s3_limit_shrink(&s3->limit, s3->active + 1, t->begun_ns, scout_now_ns()))
		return;
	s3->allowed = s3->limit.now;
	if (first)
		scout_info("s3: the endpoint asks to slow down: %u requests at once for now",
			   s3->limit.now);
}

static uint64_t pause_ns(const struct scout_s3_transfer *t)
{
	uint64_t base_ns =
	    scout_s3_is_slow_down(&t->response) ? SLOW_DOWN_BASE_NS : BACKOFF_BASE_NS;
	uint64_t ns = scout_backoff_ns(t->failures, base_ns, BACKOFF_MAX_NS, scout_random());
	uint64_t asked_ns = t->response.retry_after_s * SCOUT_NS_PER_S;

	if (asked_ns > BACKOFF_MAX_NS)
		asked_ns = BACKOFF_MAX_NS;
	return asked_ns > ns ? asked_ns : ns;
}

/* After an attempt that may be followed by another one, or not. */
static void settle(struct scout_s3 *s3, struct scout_s3_transfer *t, struct scout_s3_verdict *v)
{
	uint64_t ns;

	if (!v->retry || t->failures >= s3->context.config->max_attempts) {
		finish(s3, t, v);
		return;
	}
	ns = pause_ns(t);
	scout_debug("s3: %s: attempt %u: %s; again in %llu ms",
		    scout_s3_op_traits(t->call->op)->name, t->attempts, v->reason,
		    (unsigned long long)(ns / SCOUT_NS_PER_MS));
	scout_count(&s3->retries, 1);
	t->call->in_doubt = true;
	pause_until(s3, t, scout_now_ns() + ns);
}

/* t failed while its twin runs: that one is the next attempt, begun early. */
static void succeed(struct scout_s3_transfer *t)
{
	t->twin->failures = t->failures;
	scout_s3_transfer_drop(t);
	transfer_free(t);
}

/* 400 without a body may be the token's, or anything else's: asked as a GET, whose answer has one. That may be
 * granted where others have had the token renewed since. */
static bool asks_aloud(struct scout_s3_transfer *t)
{
	int status = t->response.status;

	if (t->call->op != SCOUT_S3_HEAD || !t->token_of || t->aloud_granted)
		return false;
	if (!t->aloud) {
		t->aloud = status == 400;
		return t->aloud;
	}
	t->aloud_granted = status == 200 || status == 206 || status == 416;
	t->aloud = !t->aloud_granted;
	return t->aloud_granted;
}

/* The answer says what was wrong with the request: once a call it is made anew, and that is no failure. */
static bool corrects_us(struct scout_s3 *s3, struct scout_s3_transfer *t,
			const struct scout_s3_verdict *v)
{
	char region[SCOUT_S3_REGION_MAX];

	if (v->err == -EACCES && !t->skew_tried &&
	    scout_s3_is_skewed(&t->response, t->call->op, t->signed_at)) {
		t->skew_tried = true;
		follow_clock(s3, t->response.date);
		return true;
	}
	if (!t->move_tried && scout_s3_is_moved(&t->response, t->region, region)) {
		t->move_tried = true;
		return follow_region(s3, region) == 0;
	}
	if (asks_aloud(t))
		return true;
	if (!t->token_of || t->renewal_tried || !scout_s3_is_token_refused(&t->response))
		return false;
	t->renewal_tried = true;
	t->aloud = false;
	return scout_s3_chain_refused(s3->context.chain, t->token_of);
}

static void fail(struct scout_s3 *s3, struct scout_s3_transfer *t, struct scout_s3_verdict *v)
{
	if (scout_s3_is_slow_down(&t->response))
		slow_down(s3, t);
	if (corrects_us(s3, t, v)) {
		if (t->twin)
			succeed(t);
		else
			pause_until(s3, t, 0);
		return;
	}
	t->failures++;
	/* an answer that makes no sense is one of two, too; any other is the truth */
	if (t->twin && (v->retry || v->err == -EIO))
		succeed(t);
	else
		settle(s3, t, v);
}

/* t has what it asked for; the rest comes when it is bulk's turn again. */
static void go_on_later(struct scout_s3 *s3, struct scout_s3_transfer *t)
{
	t->failures = 0;
	t->attempts--;
	if (t->twin) {
		succeed(t);
		return;
	}
	t->hedged = false;
	pause_until(s3, t, 0);
}

/* An attempt of bulk has ended, one of so many. */
static void measure(struct scout_s3 *s3, const struct scout_s3_transfer *t, unsigned bulk)
{
	unsigned before = s3->pace.now;
	uint64_t now_ns = scout_now_ns();

	scout_s3_yield_bulk(&s3->yield, now_ns - t->begun_ns, now_ns);
	if (t->call->op != SCOUT_S3_GET) {
		scout_s3_pace_free(&s3->pace);
		return;
	}
	if (t->first_ns > 0)
		scout_s3_pace_first(&s3->pace, t->first_ns);
	scout_s3_pace_end(&s3->pace, bulk, scout_counted(&s3->context.bytes_in),
			  now_ns - t->begun_ns, now_ns);
	if (s3->pace.now != before)
		scout_debug("s3: %u bulk reads at once at most", s3->pace.now);
}

/* Whether t, which is small, waited for bulk of its own reader: the last bytes of an object do. */
static bool is_a_rest(const struct scout_s3 *s3, const struct scout_s3_transfer *t)
{
	const struct scout_s3_transfer *other;

	TAILQ_FOREACH (other, &s3->running, link) {
		if (t->call->flow && other->use == SCOUT_S3_BULK && !other->dropped &&
		    other->call->flow == t->call->flow)
			return true;
	}
	return false;
}

/* A small call was answered. */
static void give_way(struct scout_s3 *s3, const struct scout_s3_transfer *t)
{
	bool get = t->call->op == SCOUT_S3_GET;
	unsigned before = s3->yield.now;

	if (t->first_ns == 0 || !(get || t->call->op == SCOUT_S3_HEAD) || is_a_rest(s3, t))
		return;
	scout_s3_yield_small(&s3->yield, get, t->first_ns, s3->used[SCOUT_S3_SMALL],
			     s3->used[SCOUT_S3_BULK], scout_now_ns());
	if (s3->yield.now != before)
		scout_debug("s3: %u bulk transfers at once beside small calls", s3->yield.now);
}

static void conclude(struct scout_s3 *s3, struct scout_s3_transfer *t, CURLcode code, long os_errno)
{
	unsigned bulk = s3->used[SCOUT_S3_BULK];
	struct scout_s3_verdict v;

	stop_attempt(s3, t);
	if (t->dropped) {
		transfer_free(t);
		return;
	}
	if (t->use == SCOUT_S3_SMALL && t->first_ns > 0)
		scout_s3_yield_answer(&s3->yield, t->first_ns);
	if (t->use == SCOUT_S3_BULK)
		measure(s3, t, bulk);
	scout_s3_hedge_note_end(s3, t, scout_now_ns());
	if (scout_s3_transfer_is_slice(t)) {
		go_on_later(s3, t);
		return;
	}
	scout_s3_transfer_judge(t, code, os_errno, &v);
	if (v.err != 0) {
		fail(s3, t, &v);
		return;
	}
	if (t->twin && t->use == SCOUT_S3_HEDGE)
		scout_count(&s3->context.hedges_won, 1);
	if (t->use == SCOUT_S3_SMALL)
		give_way(s3, t);
	scout_s3_limit_grow(&s3->limit);
	s3->allowed = s3->limit.now;
	finish(s3, t, &v);
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
	sweep(s3);
}

/* Whether no more of bulk may begin, for the sake of small calls. */
static bool gives_way(const struct scout_s3 *s3)
{
	uint64_t due_ns = scout_s3_yield_due_ns(&s3->yield, s3->used[SCOUT_S3_SMALL]);

	return s3->used[SCOUT_S3_BULK] >= s3->yield.now || (due_ns > 0 && scout_now_ns() < due_ns);
}

/* Bulk leaves some connections free: small calls are over soon and must not wait for a part's end. */
static bool has_room(const struct scout_s3 *s3, bool small)
{
	const struct scout_s3_limit *l = &s3->limit;

	if (s3->active >= l->now)
		return false;
	return small || (s3->used[SCOUT_S3_BULK] < l->now - scout_s3_limit_spare(l) &&
			 s3->used[SCOUT_S3_BULK] < s3->pace.now && !gives_way(s3));
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
		t->use = use_of(t->call);
		start(s3, t);
	}
}

void scout_s3_admit(struct scout_s3 *s3)
{
	struct scout_s3_transfer *t;
	struct scout_s3_call *call;
	uint64_t now_ns = scout_now_ns();

	if (scout_s3_chain_is_pending(s3->context.chain))
		return; /* all wait in the queue; we are woken */
	scout_s3_pace_turn(&s3->pace, now_ns);
	scout_s3_yield_turn(&s3->yield, s3->used[SCOUT_S3_SMALL], now_ns);
	resume_due(s3);
	while (has_room(s3, true)) {
		scout_lock(&s3->lock);
		call = scout_s3_queue_take(&s3->queue, has_room(s3, false), now_ns);
		s3->queued = s3->queue.count;
		s3->next_turn_ns = scout_s3_queue_due_ns(&s3->queue);
		scout_unlock(&s3->lock);
		if (!call) {
			if (has_room(s3, false) ? s3->next_turn_ns == UINT64_MAX : gives_way(s3))
				scout_s3_pace_slack(&s3->pace);
			return;
		}
		if (call->wanted && !call->wanted(call)) {
			scout_s3_complete_early(s3, call, -ECANCELED);
			continue;
		}
		t = calloc(1, sizeof(*t));
		if (!t) {
			scout_s3_complete_early(s3, call, -ENOMEM);
			continue;
		}
		t->context = &s3->context;
		t->call = call;
		t->number = ++s3->context.calls;
		t->use = use_of(call);
		start(s3, t);
	}
}

static void time_out(struct scout_s3 *s3, struct scout_s3_transfer *t, uint64_t now_ns)
{
	uint64_t timeout_ns = s3->context.config->timeout_ns;
	bool silent = now_ns - t->heard_ns >= timeout_ns;
	char duration[32];

	snprintf(t->curl_error, sizeof(t->curl_error), "%s for %s",
		 silent ? "no byte" : "hardly a byte", scout_format_duration(duration, timeout_ns));
	conclude(s3, t, CURLE_OPERATION_TIMEDOUT, 0);
}

static void hedge(struct scout_s3 *s3, struct scout_s3_transfer *t, uint64_t now_ns)
{
	struct scout_s3_transfer *twin = scout_s3_hedge_new(s3, t);
	char reason[SCOUT_S3_REASON_MAX];

	if (!twin) {
		check_by(s3, now_ns + HEDGE_AGAIN_NS);
		return;
	}
	scout_count(&s3->hedges, 1);
	scout_debug("s3: %s: attempt %u %s: asked once more", scout_s3_op_traits(t->call->op)->name,
		    t->attempts, t->slow ? "is slow" : "hangs");
	if (start_attempt(s3, twin, reason) < 0) {
		t->twin = twin->twin = NULL;
		transfer_free(twin);
		return;
	}
	s3->context.pulse.probing = true;
}

void scout_s3_expire(struct scout_s3 *s3)
{
	uint64_t now_ns = scout_now_ns(), due_ns;
	struct scout_s3_transfer *t, *next;

	if (!scout_s3_hedge_compare(s3, now_ns) && now_ns < s3->next_check_ns)
		return;
	s3->next_check_ns = UINT64_MAX;
	for (t = TAILQ_FIRST(&s3->running); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->dropped)
			continue;
		if (look_due_ns(s3, t) <= now_ns)
			scout_s3_transfer_look(t);
		if (deadline_ns(s3, t) <= now_ns) {
			time_out(s3, t, now_ns);
			continue;
		}
		check_by(s3, deadline_ns(s3, t));
		check_by(s3, look_due_ns(s3, t));
		due_ns = scout_s3_hedge_due_ns(s3, t, now_ns);
		if (due_ns <= now_ns)
			hedge(s3, t, now_ns);
		else
			check_by(s3, due_ns);
	}
	sweep(s3);
}

static void end_transfers(struct scout_s3 *s3, bool cancelled_only, int err)
{
	struct scout_s3_transfer *t, *next;
	struct scout_s3_verdict v;

	scout_s3_verdict_set(&v, err, false, "%s", strerror(-err));
	for (t = TAILQ_FIRST(&s3->running); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->dropped || (cancelled_only && !t->cancelled))
			continue;
		stop_attempt(s3, t);
		finish(s3, t, &v);
	}
	sweep(s3);
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
		t->cancelled = !t->dropped && t->call->cancelled;
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
	while ((call = scout_s3_queue_take(&s3->queue, true, UINT64_MAX)) != NULL)
		TAILQ_INSERT_TAIL(&gone, call, link);
	s3->queued = s3->queue.count;
	scout_unlock(&s3->lock);
	end_calls(s3, &gone, -ESHUTDOWN);
}

int scout_s3_idle_ms(const struct scout_s3 *s3)
{
	uint64_t now_ns = scout_now_ns(), wake_ns = now_ns + MAX_SLEEP_NS;
	bool may_begin = !scout_s3_chain_is_pending(s3->context.chain); /* or we are woken */
	const struct scout_s3_transfer *t;
	uint64_t due_ns;

	if (!TAILQ_EMPTY(&s3->running))
		wake_ns = now_ns + SCOUT_S3_TURN_NS;
	if (s3->next_check_ns < wake_ns)
		wake_ns = s3->next_check_ns;
	due_ns = scout_s3_yield_due_ns(&s3->yield, s3->used[SCOUT_S3_SMALL]);
	if (may_begin && due_ns > 0 && due_ns < wake_ns && s3->queued + s3->paused > 0 &&
	    s3->used[SCOUT_S3_BULK] < s3->yield.now)
		wake_ns = due_ns > now_ns ? due_ns : wake_ns;
	if (may_begin && s3->next_turn_ns < wake_ns && has_room(s3, false))
		wake_ns = s3->next_turn_ns;
	TAILQ_FOREACH (t, &s3->pausing, link) {
		if (may_begin && t->due_ns < wake_ns && has_room(s3, scout_s3_is_small(t->call)))
			wake_ns = t->due_ns;
	}
	if (wake_ns <= now_ns)
		return 0;
	return (int)((wake_ns - now_ns + SCOUT_NS_PER_MS - 1) / SCOUT_NS_PER_MS);
}
