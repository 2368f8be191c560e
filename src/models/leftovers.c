/* Uploads that nobody ended: S3 keeps their parts, and bills them, for good. Those under the prefix that
 * are older than abort_uploads_after are aborted; age is all that tells them from another's that is
 * under way, so it is told by the server's clock alone, and where that is not known nothing is aborted.
 *
 * Looked for at the start, and hourly at most while somebody publishes or reads the status. One request at
 * a time; publisher->lock. */
#include "models/leftovers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/clock.h"
#include "scoutfs/log.h"

#define EVERY_NS (3600 * SCOUT_NS_PER_S)
#define PAGE 1000
#define PAGES_MAX 1000
#define KEPT 20         /* are shown */
#define ABORTS_MAX 1000 /* in one go */

struct leftover {
	char *key, *id;
	time_t begun;
	SLIST_ENTRY(leftover) link;
};
SLIST_HEAD(leftover_list, leftover);

struct scout_leftovers {
	struct scout_publisher *pub;
	struct scout_s3_call call; /* while busy */
	/* only who is busy */
	char *next_key, *next_id;
	struct leftover_list old; /* to be aborted */
	unsigned nold, pages;
	int err;

	/* under pub->lock */
	bool busy;
	bool looked;
	uint64_t looked_ns;
	int64_t ahead_s;            /* the server's clock less ours */
	struct leftover_list found; /* of the last look, young ones */
	unsigned nfound, found_count;
	uint64_t aborted;
};

static void drop(struct leftover_list *list)
{
	struct leftover *o;

	while ((o = SLIST_FIRST(list))) {
		SLIST_REMOVE_HEAD(list, link);
		free(o->key);
		free(o->id);
		free(o);
	}
}

int scout_leftovers_new(struct scout_publisher *pub)
{
	struct scout_leftovers *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->pub = pub;
	pub->unended = l;
	return 0;
}

void scout_leftovers_free(struct scout_leftovers *l)
{
	if (!l)
		return;
	drop(&l->old);
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
	ours = scout_upload_owns_locked(pub, u->id);
	old = !ours && is_old(l, u->begun) && l->nold < ABORTS_MAX;
	if (!ours && !old)
		l->found_count++;
	scout_unlock(&pub->lock);
	if (ours || (!old && l->nfound == KEPT))
		return true;
	o = calloc(1, sizeof(*o));
	if (o) {
		o->key = strdup(u->key);
		o->id = strdup(u->id);
		o->begun = u->begun;
	}
	if (!o || !o->key || !o->id) {
		if (o) {
			free(o->key);
			free(o->id);
		}
		free(o);
		return true; /* it is found again in an hour */
	}
	if (old) {
		SLIST_INSERT_HEAD(&l->old, o, link);
		l->nold++;
		return true;
	}
	scout_lock(&pub->lock);
	SLIST_INSERT_HEAD(&l->found, o, link);
	l->nfound++;
	scout_unlock(&pub->lock);
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

static void page_done(struct scout_s3_call *call, int err)
{
	struct scout_leftovers *l =
	    (struct scout_leftovers *)((char *)call - offsetof(struct scout_leftovers, call));

	if (!err && l->err)
		scout_warn("models: malformed list of uploads");
	if (err || l->err || ++l->pages >= PAGES_MAX) {
		free(l->next_key);
		free(l->next_id);
		l->next_key = l->next_id = NULL;
	}
	go_on(l);
}

static void abort_done(struct scout_s3_call *call, int err)
{
	struct scout_leftovers *l =
	    (struct scout_leftovers *)((char *)call - offsetof(struct scout_leftovers, call));
	struct leftover *o = SLIST_FIRST(&l->old);
	char name[256];

	SLIST_REMOVE_HEAD(&l->old, link);
	l->nold--;
	if (!err) {
		scout_info("models: aborted the upload of %s that nobody ended",
			   scout_format_name(name, sizeof(name), o->key));
		scout_lock(&l->pub->lock);
		l->aborted++;
		scout_unlock(&l->pub->lock);
	}
	free(o->key);
	free(o->id);
	free(o);
	go_on(l);
}

/* The next request, or the end; a stopped engine ends all of them at once, so a few at a time are nested. */
static void go_on(struct scout_leftovers *l)
{
	struct scout_models *m = l->pub->m;
	struct leftover *o = SLIST_FIRST(&l->old);

	if (atomic_load(&m->stopped)) {
		o = NULL;
		free(l->next_key);
		free(l->next_id);
		l->next_key = l->next_id = NULL;
	}
	if (l->next_key) {
		l->call = (struct scout_s3_call){
		    .op = SCOUT_S3_UPLOADS,
		    .prefix = m->config->prefix,
		    .start_after = l->next_key,
		    .continuation = l->next_id,
		    .max_keys = PAGE,
		    .data = take_page,
		    .done = page_done,
		};
	} else if (o) {
		l->call = (struct scout_s3_call){
		    .op = SCOUT_S3_ABORT, .key = o->key, .upload_id = o->id, .done = abort_done};
	} else {
		scout_lock(&l->pub->lock);
		l->busy = false;
		scout_unlock(&l->pub->lock);
		return;
	}
	scout_s3_submit(m->s3, &l->call);
}

void scout_leftovers_look(struct scout_leftovers *l)
{
	struct leftover_list shown = SLIST_HEAD_INITIALIZER(shown);
	struct scout_publisher *pub = l->pub;
	uint64_t now = scout_now_ns();
	bool due;

	scout_lock(&pub->lock);
	due = !l->busy && (!l->looked || now - l->looked_ns >= EVERY_NS);
	if (due) {
		l->busy = l->looked = true;
		l->looked_ns = now;
		shown = l->found;
		SLIST_INIT(&l->found);
		l->nfound = l->found_count = 0;
	}
	scout_unlock(&pub->lock);
	drop(&shown);
	if (!due)
		return;
	l->pages = 0;
	l->call = (struct scout_s3_call){
	    .op = SCOUT_S3_UPLOADS,
	    .prefix = pub->m->config->prefix,
	    .max_keys = PAGE,
	    .data = take_page,
	    .done = page_done,
	};
	scout_s3_submit(pub->m->s3, &l->call);
}

void scout_leftovers_report(struct scout_leftovers *l, struct scout_text *out)
{
	char name[256], age[32];
	struct leftover *o;

	scout_lock(&l->pub->lock);
	SLIST_FOREACH(o, &l->found, link)
	{
		scout_text_printf(
		    out, "    unended    %s, begun %s ago\n",
		    scout_format_name(name, sizeof(name), o->key),
		    scout_format_duration(age, age_ns(o->begun, our_clock_s() + l->ahead_s)));
	}
	if (l->found_count > l->nfound)
		scout_text_printf(out, "    and %u more unended\n", l->found_count - l->nfound);
	if (l->aborted)
		scout_text_printf(out, "    aborted    %llu that nobody ended\n",
				  (unsigned long long)l->aborted);
	scout_unlock(&l->pub->lock);
}
