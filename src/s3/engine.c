/* The S3 engine's API and its thread's loop; see scoutfs/s3.h, engine.h. */
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "s3/engine.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/log.h"

#define ILL_PAUSE_MS 10
#define SWEEP_NS (SCOUT_NS_PER_S / 4)
/* To an endpoint that is nearer a connection is made at once. */
#define FAR_NS (5 * SCOUT_NS_PER_MS)

static bool is_stopping(struct scout_s3 *s3)
{
	bool stopping;

	scout_lock(&s3->lock);
	stopping = s3->stopping;
	scout_unlock(&s3->lock);
	return stopping;
}

/* Connections for what is expected, as far as none is idle. */
static void warm_up(struct scout_s3 *s3)
{
	struct scout_s3_context *c = &s3->context;
	unsigned expected = atomic_exchange(&s3->expected, 0), max = c->config->max_connections;
	unsigned open, idle, more, active = s3->active;
	uint64_t now_ns = scout_now_ns();

	if (c->warm.count > 0 && now_ns - s3->swept_ns >= SWEEP_NS) {
		scout_s3_warm_sweep(&c->warm, &c->sockets, now_ns);
		s3->swept_ns = now_ns;
	}
	s3->distance_ns = s3->yield.answer_ns;
	if (expected == 0 || s3->distance_ns < FAR_NS)
		return;
	open = scout_s3_sockets_count(&c->sockets);
	idle = open > active ? open - active : 0;
	if (expected <= idle || open >= max)
		return;
	more = expected - idle < max - open ? expected - idle : max - open;
	scout_s3_warm_begin(&c->warm, &c->sockets, more, now_ns);
}

static void ask(struct scout_s3 *s3, const struct transfer_list *transfers)
{
	const struct scout_s3_transfer *t;

	TAILQ_FOREACH (t, transfers, link) {
		if (!t->dropped && t->call->wanted && !t->call->wanted(t->call))
			scout_s3_cancel(s3, t->call);
	}
}

/* Of what hangs or trickles nobody hears otherwise that it is not wanted any more. */
static void cancel_unwanted(struct scout_s3 *s3)
{
	uint64_t now_ns = scout_now_ns();

	if (now_ns - s3->asked_ns < SCOUT_S3_TURN_NS)
		return;
	s3->asked_ns = now_ns;
	ask(s3, &s3->running);
	ask(s3, &s3->pausing);
}

static void *run(void *arg)
{
	struct scout_s3 *s3 = arg;
	CURLMcode code, before = CURLM_OK;
	int running;

	while (!is_stopping(s3)) {
		scout_s3_pulse_turn(&s3->context.pulse, scout_now_ns());
		code = curl_multi_perform(s3->multi, &running);
		scout_s3_harvest(s3);
		scout_s3_expire(s3);
		cancel_unwanted(s3);
		scout_s3_reap_cancelled(s3);
		scout_s3_admit(s3);
		warm_up(s3);
		if (code == CURLM_OK)
			code = curl_multi_poll(s3->multi, NULL, 0, scout_s3_idle_ms(s3), NULL);
		/* No memory, most likely. Calls still time out, so go on, but do not spin. */
		if (code != CURLM_OK)
			(void)poll(NULL, 0, ILL_PAUSE_MS);
		if (code != CURLM_OK && before == CURLM_OK)
			scout_error("s3: %s", curl_multi_strerror(code));
		before = code;
	}
	scout_s3_shut_down(s3);
	return NULL;
}

static int make_multi(struct scout_s3 *s3)
{
	long max = (long)s3->context.config->max_connections;
	bool ok;

	s3->idle = calloc((size_t)max, sizeof(s3->idle[0]));
	s3->multi = curl_multi_init();
	ok = s3->idle && s3->multi &&
	     !curl_multi_setopt(s3->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) &&
	     !curl_multi_setopt(s3->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, max) &&
	     !curl_multi_setopt(s3->multi, CURLMOPT_MAXCONNECTS, max);
	return ok ? 0 : -ENOMEM;
}

/* The credentials changed: calls may be waiting for that. */
static void wake(void *arg)
{
	struct scout_s3 *s3 = arg;

	(void)curl_multi_wakeup(s3->multi); /* else it wakes by itself within a second */
}

int scout_s3_new(const struct scout_models_config *config, struct scout_s3 **ret)
{
	struct scout_s3 *s3 = calloc(1, sizeof(*s3));
	struct scout_s3_signer_stats signer;
	int err;

	if (!s3)
		return -ENOMEM;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		scout_error("s3: libcurl does not start");
		free(s3);
		return -EIO;
	}
	s3->context.config = config;
	/* without it, ids are unique in this mount only, which is bearable */
	(void)!getrandom(&s3->context.instance, sizeof(s3->context.instance), GRND_NONBLOCK);
	scout_s3_limit_init(&s3->limit, config->max_connections);
	scout_s3_pace_init(&s3->pace, config->max_connections);
	scout_s3_yield_init(&s3->yield, config->max_connections);
	s3->allowed = s3->limit.now;
	s3->joined = true; /* there is no thread yet */
	s3->next_check_ns = UINT64_MAX;
	s3->next_turn_ns = UINT64_MAX;
	scout_mutex_init(&s3->lock, SCOUT_LOCK_ENGINE);
	TAILQ_INIT(&s3->cancelled);
	TAILQ_INIT(&s3->running);
	TAILQ_INIT(&s3->pausing);
	err = scout_s3_queue_init(&s3->queue);
	if (!err)
		err = scout_s3_sockets_init(&s3->context.sockets, config->max_connections);
	if (!err)
		err = make_multi(s3);
	if (!err)
		err = scout_s3_chain_new(config, wake, s3, &s3->context.chain);
	if (!err)
		err = scout_s3_place_new(config, NULL, &s3->context.place);
	if (!err)
		err = scout_thread_start(&s3->thread, "s3", run, s3);
	if (err) {
		if (s3->context.chain)
			scout_s3_chain_stop(s3->context.chain);
		scout_error("s3: the engine does not start: %s", strerror(-err));
		scout_s3_free(s3);
		return err;
	}
	s3->joined = false;
	scout_s3_chain_stats(s3->context.chain, &signer);
	scout_info("s3: %s, bucket %s, credentials from %s", config->endpoint, config->bucket,
		   signer.source);
	*ret = s3;
	return 0;
}

void scout_s3_stop(struct scout_s3 *s3)
{
	if (s3->joined)
		return;
	scout_s3_chain_stop(s3->context.chain);
	scout_lock(&s3->lock);
	s3->stopping = true;
	scout_unlock(&s3->lock);
	(void)curl_multi_wakeup(s3->multi); /* else it wakes by itself within a second */
	pthread_join(s3->thread, NULL);
	s3->joined = true;
}

void scout_s3_free(struct scout_s3 *s3)
{
	if (!s3)
		return;
	assert(s3->joined && TAILQ_EMPTY(&s3->cancelled));
	scout_s3_queue_destroy(&s3->queue);
	for (unsigned i = 0; i < s3->nidle; i++)
		curl_easy_cleanup(s3->idle[i]);
	free(s3->idle);
	if (s3->multi)
		curl_multi_cleanup(s3->multi);
	scout_s3_warm_sweep(&s3->context.warm, &s3->context.sockets, UINT64_MAX);
	scout_s3_sockets_destroy(&s3->context.sockets);
	scout_s3_chain_free(s3->context.chain);
	scout_s3_place_free(&s3->context.place);
	scout_mutex_destroy(&s3->lock);
	curl_global_cleanup();
	free(s3);
}

void scout_s3_submit(struct scout_s3 *s3, struct scout_s3_call *call)
{
	bool stopping;

	call->object_bytes = 0;
	call->modified = 0;
	call->date = 0;
	call->etag[0] = '\0';
	call->reason[0] = '\0';
	call->waits_in = NULL;
	call->cancelled = false;
	call->in_doubt = false;
	scout_lock(&s3->lock);
	stopping = s3->stopping;
	if (!stopping) {
		scout_s3_queue_add(&s3->queue, call);
		s3->queued = s3->queue.count;
	}
	scout_unlock(&s3->lock);
	if (stopping)
		scout_s3_complete_early(s3, call, -ESHUTDOWN);
	else
		(void)curl_multi_wakeup(s3->multi); /* else it wakes by itself within a second */
}

void scout_s3_cancel(struct scout_s3 *s3, struct scout_s3_call *call)
{
	scout_lock(&s3->lock);
	call->cancelled = true;
	s3->cancels = true;
	if (scout_s3_queue_remove(&s3->queue, call)) {
		TAILQ_INSERT_TAIL(&s3->cancelled, call, link);
		s3->queued = s3->queue.count;
	}
	scout_unlock(&s3->lock);
	(void)curl_multi_wakeup(s3->multi); /* else it wakes by itself within a second */
}

void scout_s3_expect(struct scout_s3 *s3, unsigned requests)
{
	unsigned before = atomic_load(&s3->expected);

	while (before < requests && !atomic_compare_exchange_weak(&s3->expected, &before, requests))
		;
	(void)curl_multi_wakeup(s3->multi); /* else it wakes by itself within a second */
}

uint64_t scout_s3_distance_ns(struct scout_s3 *s3)
{
	return s3->distance_ns;
}

void scout_s3_stats(struct scout_s3 *s3, struct scout_s3_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->requests = scout_counted(&s3->requests);
	ret->retries = scout_counted(&s3->retries);
	ret->bytes_in = scout_counted(&s3->context.bytes_in);
	ret->hedges = scout_counted(&s3->hedges);
	ret->hedges_won = scout_counted(&s3->context.hedges_won);
	ret->slow_downs = scout_counted(&s3->slow_downs);
	ret->allowed = s3->allowed;
	ret->active = s3->active;
	ret->queued = s3->queued + s3->paused;
	ret->connections = scout_s3_sockets_count(&s3->context.sockets);
	ret->max_connections = s3->context.config->max_connections;
	scout_s3_chain_stats(s3->context.chain, &ret->signer);
	scout_lock(&s3->lock);
	ret->last_err = s3->last_err;
	ret->last_err_wall_ns = s3->last_err_wall_ns;
	memcpy(ret->last_reason, s3->last_reason, sizeof(ret->last_reason));
	scout_unlock(&s3->lock);
}
