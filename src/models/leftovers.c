/* Uploads that nobody ended: S3 keeps their parts, and bills them, for good. Those under the prefix that
 * are older than abort_uploads_after are aborted; age is all that tells them from another's that is
 * under way, so it is told by the server's clock alone, and where that is not known nothing is aborted.
 *
 * Looked for at the start and every hour, whether anybody uses the mount or not, and sooner after a look that
 * failed. There is one call, which is always on its way or waits for the next look's time, until the engine
 * stops. publisher->lock.
 *
 * Those of this mount whose ABORT failed need no look: each has a call of its own, which sends it again. */
#include "models/leftovers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/clock.h"
#include "scoutfs/log.h"

#define EVERY_NS (3600 * SCOUT_NS_PER_S)
#define AGAIN_NS (60 * SCOUT_NS_PER_S) /* after a failure, then twice as long each time */
#define PAGE 1000
#define PAGES_MAX 1000
#define KEPT 20         /* are shown */
#define ABORTS_MAX 1000 /* in one go */
#define OWN_MAX 1000
#define OWN_TRIES 6 /* after the first one */
#define OWN_AGAIN_NS (2 * SCOUT_NS_PER_S)
#define OWN_AGAIN_MAX_NS (20 * SCOUT_NS_PER_S)

struct leftover {
	char *key, *id;
	time_t begun;
	SLIST_ENTRY(leftover) link;
};
SLIST_HEAD(leftover_list, leftover);

/* One whose ABORT is to be sent again. */
struct own {
	struct scout_s3_call call;
	struct scout_leftovers *l;
	struct leftover *o;
	unsigned tries;
	TAILQ_ENTRY(own) link; /* under pub->lock */
};

struct scout_leftovers {
	struct scout_publisher *pub;
	/* engine thread only, once it looks */
	struct scout_s3_call call;
	char *next_key, *next_id;
	struct leftover_list old;   /* to be aborted */
	struct leftover_list young; /* of this look */
	unsigned nold, nyoung, young_count, pages;
	unsigned failures; /* looks in a row */
	int err;

	/* under pub->lock */
	int64_t ahead_s;            /* the server's clock less ours */
	struct leftover_list found; /* of the last look that went well: the young ones */
	unsigned nfound, found_count;
	TAILQ_HEAD(, own) own;
	unsigned nown;
	uint64_t aborted;
};

static void leftover_free(struct leftover *o)
{
	if (!o)
		return;
	free(o->key);
	free(o->id);
	free(o);
}

static struct leftover *leftover_new(const char *key, const char *id, time_t begun)
{
	struct leftover *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->key = strdup(key);
	o->id = strdup(id);
	o->begun = begun;
	if (o->key && o->id)
		return o;
	leftover_free(o);
	return NULL;
}

static void drop(struct leftover_list *list)
{
	struct leftover *o;

	while ((o = SLIST_FIRST(list))) {
		SLIST_REMOVE_HEAD(list, link);
		leftover_free(o);
	}
}

int scout_leftovers_new(struct scout_publisher *pub)
{
	struct scout_leftovers *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->pub = pub;
	TAILQ_INIT(&l->own);
	pub->unended = l;
	return 0;
}

void scout_leftovers_free(struct scout_leftovers *l)
{
	if (!l)
		return;
	drop(&l->old);
	drop(&l->young);
	drop(&l->found);
	free(l->next_key);
	free(l->next_id);
	free(l);
}

static int64_t our_clock_s(void)
{
	return (int64_t)(scout_wall_ns() / SCOUT_NS_PER_S);
}

/* Both by the server's clock; any time of it goes. 0: it is to come. */
static uint64_t age_ns(int64_t begun, int64_t now)
{
	return begun >= 0 && begun < now ? (uint64_t)(now - begun) * SCOUT_NS_PER_S : 0;
}

static bool is_old(const struct scout_leftovers *l, time_t begun)
{
	uint64_t after_ns = l->pub->m->config->abort_uploads_after_ns;
	time_t now = l->call.date; /* 0: nothing is old */

	return after_ns > 0 && begun > 0 && age_ns(begun, now) >= after_ns;
}

/* Whether the upload is of this mount, and ended by it; pub->lock is held. */
static bool is_own_locked(const struct scout_leftovers *l, const char *id)
{
	const struct own *own;

	TAILQ_FOREACH (own, &l->own, link) {
		if (strcmp(own->o->id, id) == 0)
			return true;
	}
	return scout_upload_owns_locked(l->pub, id);
}

static bool note(void *arg, const struct scout_s3_upload *u)
{
	struct scout_leftovers *l = arg;
	struct scout_publisher *pub = l->pub;
	const char *prefix = pub->m->config->prefix;
	struct leftover *o;
	bool ours, old;

	if (strlen(u->key) != u->key_len || strncmp(u->key, prefix, strlen(prefix)) != 0)
		return true;
	scout_lock(&pub->lock);
	ours = is_own_locked(l, u->id);
	scout_unlock(&pub->lock);
	if (ours)
		return true;
	old = is_old(l, u->begun) && l->nold < ABORTS_MAX;
	l->young_count += !old;
	if (!old && l->nyoung == KEPT)
		return true;
	o = leftover_new(u->key, u->id, u->begun);
	if (!o)
		return true; /* it is found again in an hour */
	SLIST_INSERT_HEAD(old ? &l->old : &l->young, o, link);
	*(old ? &l->nold : &l->nyoung) += 1;
	return true;
}

static bool take_page(struct scout_s3_call *call, const void *bytes, size_t len)
{
	struct scout_leftovers *l =
	    (struct scout_leftovers *)((char *)call - offsetof(struct scout_leftovers, call));

	free(l->next_key);
	free(l->next_id);
	l->next_key = l->next_id = NULL;
	scout_lock(&l->pub->lock);
	l->ahead_s = call->date ? (int64_t)call->date - our_clock_s() : 0;
	scout_unlock(&l->pub->lock);
	l->err = scout_s3_parse_uploads(bytes, len, note, l, &l->next_key, &l->next_id);
	return true;
}

static void go_on(struct scout_leftovers *l);

/* All pages are there, or err: then what the last look found is shown on. */
static void looked(struct scout_leftovers *l, int err)
{
	struct leftover_list gone = l->young;

	l->failures = err ? l->failures + 1 : 0;
	if (!err) {
		scout_lock(&l->pub->lock);
		gone = l->found;
		l->found = l->young;
		l->nfound = l->nyoung;
		l->found_count = l->young_count;
		scout_unlock(&l->pub->lock);
	}
	SLIST_INIT(&l->young);
	drop(&gone);
}

static void page_done(struct scout_s3_call *call, int err)
{
	struct scout_leftovers *l =
	    (struct scout_leftovers *)((char *)call - offsetof(struct scout_leftovers, call));

	if (!err && l->err) {
		scout_warn("models: malformed list of uploads");
		err = l->err;
	}
	if (err || ++l->pages >= PAGES_MAX) {
		free(l->next_key);
		free(l->next_id);
		l->next_key = l->next_id = NULL;
	}
	if (!l->next_key)
		looked(l, err);
	go_on(l);
}

/* It is still there: shown, and found again by the next look. */
static void keep(struct scout_leftovers *l, struct leftover *o)
{
	bool kept;

	scout_lock(&l->pub->lock);
	kept = l->nfound < KEPT;
	if (kept)
		SLIST_INSERT_HEAD(&l->found, o, link);
	l->nfound += kept;
	l->found_count++;
	scout_unlock(&l->pub->lock);
	if (!kept)
		leftover_free(o);
}

static void count_aborted(struct scout_leftovers *l, const struct leftover *o, const char *which)
{
	char name[256];

	scout_info("models: aborted the upload of %s %s",
		   scout_format_name(name, sizeof(name), o->key), which);
	scout_lock(&l->pub->lock);
	l->aborted++;
	scout_unlock(&l->pub->lock);
}

static void abort_done(struct scout_s3_call *call, int err)
{
	struct scout_leftovers *l =
	    (struct scout_leftovers *)((char *)call - offsetof(struct scout_leftovers, call));
	struct leftover *o = SLIST_FIRST(&l->old);

	SLIST_REMOVE_HEAD(&l->old, link);
	l->nold--;
	if (!err)
		count_aborted(l, o, "that nobody ended");
	if (err && err != -ENOENT)
		keep(l, o);
	else
		leftover_free(o);
	go_on(l);
}

static void ask_page(struct scout_leftovers *l, uint64_t not_before_ns)
{
	l->err = 0;
	l->call = (struct scout_s3_call){
	    .op = SCOUT_S3_UPLOADS,
	    .prefix = l->pub->m->config->prefix,
	    .start_after = l->next_key,
	    .continuation = l->next_id,
	    .max_keys = PAGE,
	    .not_before_ns = not_before_ns,
	    .data = take_page,
	    .done = page_done,
	};
	scout_s3_submit(l->pub->m->s3, &l->call);
}

static void look(struct scout_leftovers *l, uint64_t not_before_ns)
{
	l->pages = l->nyoung = l->young_count = 0;
	ask_page(l, not_before_ns);
}

/* The next request. */
static void go_on(struct scout_leftovers *l)
{
	struct scout_models *m = l->pub->m;
	struct leftover *o = SLIST_FIRST(&l->old);
	uint64_t pause_ns = EVERY_NS;

	if (atomic_load(&m->stopped))
		return;
	if (l->next_key) {
		ask_page(l, 0);
	} else if (o) {
		l->call = (struct scout_s3_call){
		    .op = SCOUT_S3_ABORT, .key = o->key, .upload_id = o->id, .done = abort_done};
		scout_s3_submit(m->s3, &l->call);
	} else {
		if (l->failures > 0)
			pause_ns =
			    scout_backoff_ns(l->failures, AGAIN_NS, EVERY_NS, scout_random());
		look(l, scout_now_ns() + pause_ns);
	}
}

/* ---- those of this mount ---- */

/* Another try may help. */
static bool may_pass(int err)
{
	return err && err != -ENOENT && err != -EACCES && err != -ECANCELED && err != -ESHUTDOWN;
}

static void own_done(struct scout_s3_call *call, int err);

static void send_again(struct own *own)
{
	uint64_t pause_ns =
	    scout_backoff_ns(++own->tries, OWN_AGAIN_NS, OWN_AGAIN_MAX_NS, scout_random());

	own->call = (struct scout_s3_call){
	    .op = SCOUT_S3_ABORT,
	    .key = own->o->key,
	    .upload_id = own->o->id,
	    .not_before_ns = scout_now_ns() + pause_ns,
	    .done = own_done,
	};
	scout_s3_submit(own->l->pub->m->s3, &own->call);
}

static void own_done(struct scout_s3_call *call, int err)
{
	struct own *own = (struct own *)call;
	struct scout_leftovers *l = own->l;

	if (may_pass(err) && own->tries < OWN_TRIES) {
		send_again(own);
		return;
	}
	scout_lock(&l->pub->lock);
	TAILQ_REMOVE(&l->own, own, link);
	l->nown--;
	scout_unlock(&l->pub->lock);
	if (!err)
		count_aborted(l, own->o, "at last");
	if (err && err != -ENOENT)
		keep(l, own->o);
	else
		leftover_free(own->o);
	free(own);
}

void scout_leftovers_again(struct scout_leftovers *l, const char *key, const char *id, time_t begun,
			   int err)
{
	struct leftover *o = err == -ENOENT ? NULL : leftover_new(key, id, begun);
	struct own *own = o && may_pass(err) ? calloc(1, sizeof(*own)) : NULL;
	bool again;

	if (!o)
		return;
	scout_lock(&l->pub->lock);
	o->begun += l->ahead_s;
	again = own && l->nown < OWN_MAX;
	if (again) {
		own->l = l;
		own->o = o;
		TAILQ_INSERT_TAIL(&l->own, own, link);
		l->nown++;
	}
	scout_unlock(&l->pub->lock);
	if (again) {
		send_again(own);
		return;
	}
	free(own);
	keep(l, o);
}

void scout_leftovers_start(struct scout_leftovers *l)
{
	look(l, 0);
}

static void report_locked(const struct scout_leftovers *l, const struct leftover *o,
			  struct scout_text *out)
{
	char name[256], age[32];

	scout_text_printf(out, "    unended    %s, begun %s ago\n",
			  scout_format_name(name, sizeof(name), o->key),
			  scout_format_duration(age, age_ns(o->begun, our_clock_s() + l->ahead_s)));
}

void scout_leftovers_report(struct scout_leftovers *l, struct scout_text *out)
{
	const struct leftover *o;
	const struct own *own;
	unsigned more;

	scout_lock(&l->pub->lock);
	more = l->found_count + l->nown;
	TAILQ_FOREACH (own, &l->own, link) {
		if (l->found_count + l->nown - more < KEPT) {
			report_locked(l, own->o, out);
			more--;
		}
	}
	SLIST_FOREACH(o, &l->found, link)
	{
		report_locked(l, o, out);
		more--;
	}
	if (more > 0)
		scout_text_printf(out, "    and %u more unended\n", more);
	if (l->aborted)
		scout_text_printf(out, "    aborted    %llu that nobody ended\n",
				  (unsigned long long)l->aborted);
	scout_unlock(&l->pub->lock);
}
