/* The chain's present credentials and the thread that renews them; see credentials.h.
 *
 * Renewed with a quarter of an hour left, or half of their life if that is shorter, and when the server takes
 * them no more. A failure is tried again
 * after a pause that grows; the old ones are used until they expire. Profile files and token files are read
 * anew each time, the environment is not. Time is the wall clock's, which goes on while the machine sleeps:
 * the thread looks at it once a minute. */
#include "s3/credentials.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "s3/source.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/lock.h"
#include "scoutfs/log.h"
#include "scoutfs/metrics.h"
#include "scoutfs/text.h"

#define MARGIN_NS (15 * 60 * SCOUT_NS_PER_S)
#define RENEW_MIN_NS SCOUT_NS_PER_S /* between two renewals, however short they live */
#define LIFE_MAX_S (30 * 24 * 3600) /* who says longer is asked again */
#define LOOK_NS (60 * SCOUT_NS_PER_S)
#define BACKOFF_BASE_NS SCOUT_NS_PER_S
#define BACKOFF_MAX_NS (60 * SCOUT_NS_PER_S)
#define REFUSED_NS \
	(10 * SCOUT_NS_PER_S) /* between two renewals that the server's refusal asks for */
#define NEVER UINT64_MAX
#define IDLE_BACKOFF_MAX_NS (300 * SCOUT_NS_PER_S) /* where nobody needs any, perhaps */

struct scout_s3_chain {
	/* immutable */
	const struct scout_models_config *config;
	struct scout_aws_env env;
	void (*changed)(void *arg);
	void *arg;
	int stop_fd;    /* an eventfd: readable once the thread shall end */
	int refused_fd; /* another: readable when refused may be set */
	bool renews;    /* there is a thread */
	pthread_t thread;
	char source[SCOUT_S3_REASON_MAX]; /* where they were found to come from at the start */

	bool running; /* the owner's thread only */

	struct scout_mutex lock;
	struct scout_s3_credentials *current; /* under lock; NULL: none yet */
	bool pending;                         /* under lock: nobody knows yet */
	bool refused;        /* under lock: current are, and no others sought yet */
	uint64_t refused_ns; /* under lock: when that last was; 0: never */
	char last_failure[SCOUT_S3_REASON_MAX]; /* under lock */
	uint64_t failed_wall_ns;                /* under lock */

	scout_counter renewals, failures;
	struct scout_s3_asking asking; /* the renewing thread only, once it runs */
	unsigned failed_in_a_row;      /* the renewing thread only */
};

static void adopt(struct scout_s3_chain *chain, struct scout_s3_credentials *fresh)
{
	struct scout_s3_credentials *old;

	scout_lock(&chain->lock);
	old = chain->current;
	chain->current = fresh;
	chain->pending = chain->refused = false;
	chain->last_failure[0] = '\0';
	scout_unlock(&chain->lock);
	scout_s3_credentials_put(old);
}

/* Whether requests are not signed, or not answered yet whether they shall be. */
static bool is_anonymous(struct scout_s3_chain *chain)
{
	bool anonymous;

	scout_lock(&chain->lock);
	anonymous = !chain->current || !chain->current->access_key_id;
	scout_unlock(&chain->lock);
	return anonymous;
}

/* ---- the renewing thread ---- */

static uint64_t wait_after(const struct scout_s3_credentials *c)
{
	int64_t left_s = c->expires_s - (int64_t)(scout_wall_ns() / SCOUT_NS_PER_S);
	uint64_t life_ns, margin_ns;

	if (left_s > LIFE_MAX_S)
		left_s = LIFE_MAX_S;
	life_ns = left_s > 0 ? (uint64_t)left_s * SCOUT_NS_PER_S : 0;
	margin_ns = life_ns / 2 < MARGIN_NS ? life_ns / 2 : MARGIN_NS;
	return life_ns - margin_ns > RENEW_MIN_NS ? life_ns - margin_ns : RENEW_MIN_NS;
}

/* Nothing names the instance, and there is none, it seems: as if nobody had asked. */
static void go_without(struct scout_s3_chain *chain)
{
	char reason[SCOUT_S3_REASON_MAX];
	struct scout_s3_credentials *none;
	bool already;

	scout_lock(&chain->lock);
	already = chain->current != NULL;
	scout_unlock(&chain->lock);
	if (already) {
		scout_debug("s3: still no credentials: %s", chain->asking.reason);
		return;
	}
	if (scout_s3_credentials_new(NULL, "anonymous", &none, reason) < 0)
		return; /* no memory: pending until the next time */
	scout_info("s3: no credentials found (%s): requests are anonymous", chain->asking.reason);
	adopt(chain, none);
	chain->changed(chain->arg);
}

static void note_failure(struct scout_s3_chain *chain)
{
	scout_count(&chain->failures, 1);
	scout_lock(&chain->lock);
	chain->pending = false;
	memcpy(chain->last_failure, chain->asking.reason, sizeof(chain->last_failure));
	chain->failed_wall_ns = scout_wall_ns();
	scout_unlock(&chain->lock);
	scout_warn("s3: no new credentials: %s (attempt %u)", chain->asking.reason,
		   chain->failed_in_a_row + 1);
	chain->changed(chain->arg);
}

static uint64_t after_failure(struct scout_s3_chain *chain, bool optional)
{
	bool idle = optional && is_anonymous(chain);

	if (idle)
		go_without(chain);
	else
		note_failure(chain);
	return scout_backoff_ns(++chain->failed_in_a_row, BACKOFF_BASE_NS,
				idle ? IDLE_BACKOFF_MAX_NS : BACKOFF_MAX_NS, scout_random());
}

static uint64_t after_success(struct scout_s3_chain *chain, struct scout_s3_credentials *fresh)
{
	uint64_t wait_ns = fresh->expires_s ? wait_after(fresh) : NEVER;
	char left[32];

	if (fresh->expires_s)
		scout_info("s3: credentials from %s, to be renewed in %s", fresh->source,
			   scout_format_duration(left, wait_ns));
	else
		scout_info("s3: credentials from %s", fresh->source);
	chain->failed_in_a_row = 0;
	scout_count(&chain->renewals, 1);
	adopt(chain, fresh);
	chain->changed(chain->arg);
	return wait_ns;
}

/* One renewal; how long to wait for the next, or 0: stopped. */
static uint64_t renew(struct scout_s3_chain *chain)
{
	struct scout_s3_source *source = NULL;
	struct scout_s3_credentials *fresh = NULL;
	bool optional;
	int err;

	scout_lock(&chain->lock);
	chain->refused = false;
	scout_unlock(&chain->lock);
	err = scout_s3_source_find(chain->config, &chain->asking, &source);
	optional = source && source->optional;
	if (!err)
		err = scout_s3_source_ask(source, &chain->asking, &fresh);
	scout_s3_source_free(source);
	if (err == -ECANCELED)
		return 0;
	return err ? after_failure(chain, optional) : after_success(chain, fresh);
}

static bool is_refused(struct scout_s3_chain *chain)
{
	bool refused;

	scout_lock(&chain->lock);
	refused = chain->refused;
	scout_unlock(&chain->lock);
	return refused;
}

/* Until wait_ns are over, or what we have is refused. False: stopped. */
static bool pause_for(struct scout_s3_chain *chain, uint64_t wait_ns)
{
	uint64_t now_ns = scout_wall_ns(), due_ns = wait_ns == NEVER ? NEVER : now_ns + wait_ns;
	struct pollfd p[] = {{.fd = chain->stop_fd, .events = POLLIN},
			     {.fd = chain->refused_fd, .events = POLLIN}};
	eventfd_t count;

	for (; now_ns < due_ns && !is_refused(chain); now_ns = scout_wall_ns()) {
		uint64_t left_ns = due_ns - now_ns < LOOK_NS ? due_ns - now_ns : LOOK_NS;

		(void)poll(p, 2, (int)(left_ns / SCOUT_NS_PER_MS) + 1);
		if (p[0].revents)
			return false;
		if (p[1].revents)
			(void)eventfd_read(chain->refused_fd, &count); /* readable: it has one */
	}
	return true;
}

static void *run(void *arg)
{
	struct scout_s3_chain *chain = arg;
	/* what was there at the start is good until it is refused */
	uint64_t wait_ns = scout_s3_chain_is_pending(chain) ? renew(chain) : NEVER;

	while (wait_ns > 0 && pause_for(chain, wait_ns))
		wait_ns = renew(chain);
	return NULL;
}

/* ---- the owner ---- */

/* What needs no asking is there at once; for all else the thread is started. */
static int begin(struct scout_s3_chain *chain)
{
	struct scout_s3_source *source;
	int err = scout_s3_source_find(chain->config, &chain->asking, &source);

	if (err)
		return err;
	snprintf(chain->source, sizeof(chain->source), "%s", source->label);
	if (source->kind == SCOUT_SOURCE_NONE || source->kind == SCOUT_SOURCE_KEYS)
		err = scout_s3_source_ask(source, &chain->asking, &chain->current);
	else
		chain->pending = true;
	chain->renews =
	    chain->pending || (!err && source->changes && chain->current->session_token != NULL);
	if (!err && chain->renews) {
		err = scout_thread_start(&chain->thread, "s3-keys", run, chain);
		chain->running = !err;
	}
	scout_s3_source_free(source);
	return err;
}

int scout_s3_chain_new(const struct scout_models_config *config, void (*changed)(void *arg),
		       void *arg, struct scout_s3_chain **ret)
{
	struct scout_s3_chain *chain = calloc(1, sizeof(*chain));
	int err;

	if (!chain)
		return -ENOMEM;
	scout_mutex_init(&chain->lock, SCOUT_LOCK_LEAF);
	chain->config = config;
	chain->changed = changed;
	chain->arg = arg;
	chain->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	chain->refused_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	chain->asking.env = &chain->env;
	chain->asking.stop_fd = chain->stop_fd;
	err =
	    chain->stop_fd < 0 || chain->refused_fd < 0 ? -errno : scout_aws_env_read(&chain->env);
	if (!err)
		err = begin(chain);
	if (err) {
		scout_error("s3: %s",
			    *chain->asking.reason ? chain->asking.reason : strerror(-err));
		scout_s3_chain_free(chain);
		return err;
	}
	*ret = chain;
	return 0;
}

void scout_s3_chain_stop(struct scout_s3_chain *chain)
{
	if (!chain->running)
		return;
	(void)eventfd_write(chain->stop_fd, 1); /* fails only when it is readable already */
	pthread_join(chain->thread, NULL);
	chain->running = false;
}

void scout_s3_chain_free(struct scout_s3_chain *chain)
{
	if (!chain)
		return;
	assert(!chain->running);
	scout_s3_credentials_put(chain->current);
	scout_aws_env_free(&chain->env);
	if (chain->stop_fd >= 0)
		close(chain->stop_fd);
	if (chain->refused_fd >= 0)
		close(chain->refused_fd);
	scout_mutex_destroy(&chain->lock);
	free(chain);
}

/* ---- any thread ---- */

bool scout_s3_chain_is_pending(struct scout_s3_chain *chain)
{
	bool pending;

	scout_lock(&chain->lock);
	pending = chain->pending;
	scout_unlock(&chain->lock);
	return pending;
}

bool scout_s3_chain_refused(struct scout_s3_chain *chain, uint64_t id)
{
	uint64_t now_ns = scout_now_ns();
	bool first = false, others;

	scout_lock(&chain->lock);
	others = chain->pending || !chain->current || chain->current->id != id;
	if (!others && chain->renews &&
	    (!chain->refused_ns || now_ns - chain->refused_ns >= REFUSED_NS)) {
		chain->pending = chain->refused = first = true;
		chain->refused_ns = now_ns;
	}
	scout_unlock(&chain->lock);
	if (first) {
		scout_warn("s3: the server takes the credentials no more: asking for new ones");
		(void)eventfd_write(chain->refused_fd,
				    1); /* fails only when it is readable already */
	}
	return others || first;
}

static bool has_expired(const struct scout_s3_credentials *c, int64_t now_s)
{
	return c->expires_s && c->expires_s <= now_s;
}

struct scout_s3_credentials *scout_s3_credentials_get(struct scout_s3_chain *chain,
						      char reason[SCOUT_S3_REASON_MAX])
{
	int64_t now_s = (int64_t)(scout_wall_ns() / SCOUT_NS_PER_S);
	struct scout_s3_credentials *c = NULL;

	scout_lock(&chain->lock);
	if (chain->current && !has_expired(chain->current, now_s))
		c = scout_s3_credentials_ref(chain->current);
	else
		snprintf(reason, SCOUT_S3_REASON_MAX, "%s: %.200s",
			 chain->current ? "the credentials have expired" : "no credentials",
			 *chain->last_failure ? chain->last_failure : "not there yet");
	scout_unlock(&chain->lock);
	return c;
}

void scout_s3_chain_stats(struct scout_s3_chain *chain, struct scout_s3_signer_stats *ret)
{
	int64_t now_s = (int64_t)(scout_wall_ns() / SCOUT_NS_PER_S);
	const struct scout_s3_credentials *c;

	memset(ret, 0, sizeof(*ret));
	ret->renewals = scout_counted(&chain->renewals);
	ret->failures = scout_counted(&chain->failures);
	scout_lock(&chain->lock);
	c = chain->current;
	snprintf(ret->source, sizeof(ret->source), "%s", c ? c->source : chain->source);
	ret->have = c != NULL;
	ret->expires = c && c->expires_s;
	ret->left_s = ret->expires ? c->expires_s - now_s : 0;
	memcpy(ret->last_failure, chain->last_failure, sizeof(ret->last_failure));
	ret->failed_wall_ns = chain->failed_wall_ns;
	scout_unlock(&chain->lock);
}
