/* How a file gets stripes, and loses them.
 *
 * SFTP carries no inode numbers, and the name may be another file's by now. So what was opened by it gets
 * no byte before it has proved to be the same: twice its size lies between what the server had answered
 * and what we had written, and in between it has grown with us. A file that does not grow, or appends,
 * has one handle.
 *
 * A candidate is under node->lock but while a call of it is under way (busy); then it is the call's, which
 * holds the file. Over a distance several come on at once. Calls go out with no lock held. */
#include "hosts/stripe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/attr.h"
#include "hosts/file.h"
#include "hosts/turn.h"

#define FAILURES 3
#define PACE_MS 20 /* between two looks for a session */
/* Where an answer takes less, one session's window holds more than any core has ready meanwhile. */
#define NEXT_DOOR_NS (2 * SCOUT_NS_PER_MS)
#define BYTES_PER_MS 312500 /* at 2.5 gigabits a second */
/* Where an answer takes longer, the link is what is slow, and not the session. */
#define SLOW_NS SCOUT_NS_PER_S

struct scout_candidate {
	struct scout_file *file; /* with a reference while busy */
	struct scout_handle *handle;
	char *path;
	uint64_t cut;  /* the node's, all along */
	uint64_t size; /* as first seen */
	bool busy, seen;
	uint64_t least; /* what it has to show, by what was answered when the look went out */
	struct scout_rpc open, look;
};

static void candidate_free(struct scout_candidate *c)
{
	if (!c)
		return;
	scout_handle_unref(c->handle);
	free(c->path);
	free(c);
}

static void forget_locked(struct scout_stripes *s, const struct scout_candidate *c)
{
	for (unsigned i = 0; i < s->ncandidates; i++)
		if (s->candidates[i] == c) {
			s->candidates[i] = s->candidates[--s->ncandidates];
			return;
		}
}

void scout_stripes_take_locked(struct scout_file *f, struct scout_stripes *ret)
{
	struct scout_stripes *s = &f->stripes;

	*ret = *s;
	s->count = ret->ncandidates = 0;
	for (unsigned i = s->ncandidates; i-- > 0;)
		if (!s->candidates[i]->busy) {
			ret->candidates[ret->ncandidates++] = s->candidates[i];
			forget_locked(s, s->candidates[i]);
		}
}

void scout_stripes_free(struct scout_stripes *s)
{
	while (s->count)
		scout_handle_unref(s->handles[--s->count]);
	while (s->ncandidates)
		candidate_free(s->candidates[--s->ncandidates]);
}

/* One that has been looked at, and may show by now that it grew. */
static struct scout_candidate *grown_locked(const struct scout_file *f)
{
	const struct scout_stripes *s = &f->stripes;

	for (unsigned i = 0; i < s->ncandidates; i++)
		if (!s->candidates[i]->busy && f->node->size_min > s->candidates[i]->size)
			return s->candidates[i];
	return NULL;
}

/* Next door cores are what is short, and a session keeps two of them busy: what writes, and what sends. With
 * more sessions than that the same bytes only cost more, the server's most of all. */
unsigned scout_stripes_most(uint64_t round_trip_ns, unsigned cores)
{
	unsigned sessions = cores / 2;

	if (round_trip_ns >= SCOUT_FAR_NS)
		return SCOUT_STRIPES;
	if (round_trip_ns >= NEXT_DOOR_NS || sessions > SCOUT_STRIPES_NEAR)
		return SCOUT_STRIPES_NEAR;
	return sessions ? sessions - 1 : 0;
}

/* All of them hold what a link of 2.5 gigabits does. An sshd that gets more than it can pass on copies it to and fro,
 * OpenSSH's the more the fuller its window is: that costs time, and what no link carries gains none. */
size_t scout_stripe_share(uint64_t round_trip_ns)
{
	uint64_t share = round_trip_ns / SCOUT_NS_PER_MS * BYTES_PER_MS / (SCOUT_STRIPES + 1);

	if (share < SCOUT_STRIPE_LEAST)
		return SCOUT_STRIPE_LEAST;
	return share < SCOUT_STRIPE_MOST ? (size_t)share : SCOUT_STRIPE_MOST;
}

/* How many stripes f may have, and how many of them may be on their way to it. */
static unsigned most(const struct scout_file *f, unsigned *candidates)
{
	unsigned sessions = f->host->config->max_sessions_per_host;
	uint64_t round_trip_ns = atomic_load(&f->host->round_trip_ns);
	unsigned stripes = scout_stripes_most(round_trip_ns, f->host->all->cores);
	uint64_t earned = f->stripes.written / SCOUT_STRIPE_STEP;

	if (stripes > earned)
		stripes = (unsigned)earned;

	*candidates = round_trip_ns >= SCOUT_FAR_NS ? SCOUT_STRIPES : 1;
	return stripes < sessions ? stripes : sessions - 1;
}

/* By how long the last answer took, of which each session's turn makes up its part. */
static bool is_slow_locked(const struct scout_file *f)
{
	uint64_t turns = f->node->bytes / ((f->stripes.count + 1) * SCOUT_STRIPE_MOST);

	return f->node->took_ns > SLOW_NS * (turns ? turns : 1);
}

static bool may_begin_locked(const struct scout_file *f)
{
	const struct scout_stripes *s = &f->stripes;
	const struct scout_node *n = f->node;
	unsigned candidates;

	return s->count + s->ncandidates < most(f, &candidates) && s->ncandidates < candidates &&
	       s->failures < FAILURES && n->known && n->size_max > n->size_min &&
	       !is_slow_locked(f) && !scout_file_nameless(f) && scout_now_ns() >= s->next_ns;
}

struct scout_handle *scout_stripe_pick_locked(const struct scout_turn *t, struct scout_handle *own,
					      const struct scout_session *only, bool *widen)
{
	struct scout_file *f = t->file;
	const struct scout_stripes *s = &f->stripes;
	struct scout_handle *best = !only || own->session == only ? own : NULL;

	if (f->appends)
		return best;
	for (unsigned i = 0; i < s->count; i++) {
		struct scout_handle *h = s->handles[i];

		if ((!only || h->session == only) && (!best || h->writing < best->writing))
			best = h;
	}
	if (!best || best->writing < scout_stripe_share(atomic_load(&f->host->round_trip_ns)))
		return best;
	*widen = grown_locked(f) || may_begin_locked(f);
	/* with one handle alone, as much as the server takes: it may be one with a large window */
	return s->count || s->ncandidates ? NULL : best;
}

/* c is over: after so many failures, or it has become a stripe. */
static void candidate_over(struct scout_candidate *c, unsigned failures)
{
	struct scout_file *f = c->file;

	scout_lock(&f->node->lock);
	forget_locked(&f->stripes, c);
	f->stripes.failures += failures;
	scout_unlock(&f->node->lock);
	candidate_free(c);
	scout_node_run(f->node); /* writes may have waited for it */
	scout_file_unref(f);
}

static void adopt(struct scout_candidate *c)
{
	struct scout_handle *h = scout_handle_ref(c->handle);
	struct scout_file *f = c->file;
	struct scout_stripes *s = &f->stripes;
	bool wanted;

	scout_lock(&f->node->lock);
	scout_lock(&f->lock);
	wanted = f->handle && f->turns; /* else it is closed, or has to be opened anew */
	scout_unlock(&f->lock);
	if (wanted) {
		s->handles[s->count++] = c->handle;
		c->handle = NULL;
	}
	scout_unlock(&f->node->lock);
	if (wanted)
		scout_handle_set_bulk(h);
	scout_handle_unref(h);
	candidate_over(c, 0);
}

/* Whether what c shows is our file as far as we have written it, under node->lock. */
static bool fits_locked(const struct scout_candidate *c, const struct scout_attr *attr)
{
	const struct scout_node *n = c->file->node;

	return S_ISREG(attr->mode) && attr->size >= c->least && attr->size <= n->size_max &&
	       (uint64_t)attr->mtime.tv_sec >= n->mtime;
}

/* What c opened had our file's name, which may have been given to another one through this mount
 * meanwhile. Under node->lock. */
static bool keeps_name_locked(const struct scout_candidate *c)
{
	const struct scout_node *n = c->file->node;

	return !atomic_load(&n->gone) && strcmp(n->path, c->path) == 0;
}

static void looked(struct scout_rpc *rpc, int err)
{
	struct scout_candidate *c = SCOUT_CONTAINER(rpc, struct scout_candidate, look);
	struct scout_file *f = c->file;
	struct scout_node *n = f->node;
	bool fits = false, calm = false, seen;
	unsigned cost = FAILURES;
	struct scout_attr attr;

	scout_attr_map(&rpc->call.attrs, &attr);
	scout_lock(&n->lock);
	seen = c->seen;
	if (!err) {
		calm = keeps_name_locked(c) && n->known && atomic_load(&n->cut) == c->cut;
		fits = calm && fits_locked(c, &attr);
	}
	if (!calm) {
		uint64_t cut = atomic_load(&n->cut);

		cost = cut == c->cut || cut != f->stripes.cut;
		f->stripes.cut = cut;
	}
	if (fits && !seen) {
		c->seen = true;
		c->size = attr.size;
		c->busy = false; /* until it is to have grown */
	}
	scout_unlock(&n->lock);
	if (!fits) {
		candidate_over(c, cost);
	} else if (seen) {
		adopt(c);
	} else {
		scout_node_run(n);
		scout_file_unref(f);
	}
}

/* c is busy. */
static void look(struct scout_candidate *c)
{
	struct scout_node *n = c->file->node;

	scout_lock(&n->lock);
	c->least = n->size_min;
	scout_unlock(&n->lock);
	memset(&c->look, 0, sizeof c->look);
	c->look.call.op = SCOUT_SFTP_FSTAT;
	c->look.call.handle = &c->handle->remote;
	c->look.done = looked;
	scout_rpc_send_on(c->handle->session, &c->look);
}

static void opened(struct scout_rpc *rpc, int err)
{
	struct scout_candidate *c = SCOUT_CONTAINER(rpc, struct scout_candidate, open);

	if (err) {
		candidate_over(c, err == -ECONNRESET ? 1 : FAILURES);
		return;
	}
	scout_handle_opened(c->handle, rpc);
	look(c);
}

static struct scout_candidate *candidate_new(struct scout_file *f)
{
	struct scout_candidate *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->file = f;
	c->busy = true;
	c->path = scout_node_path(f->node);
	c->handle = scout_handle_new(f->host);
	if (!c->path || !c->handle) {
		candidate_free(c);
		return NULL;
	}
	c->handle->stripe = true;
	c->open.call.op = SCOUT_SFTP_OPEN;
	c->open.call.flags = SCOUT_SFTP_FLAG_WRITE;
	c->open.call.path = c->path;
	c->open.host = f->host;
	c->open.done = opened;
	return c;
}

/* On a session where f has no handle yet nor is about to, if there is one; else another look is for later. */
static bool send_open(struct scout_candidate *c)
{
	const struct scout_load *taken[SCOUT_STRIPES + 1]; /* to be compared with, and no more */
	struct scout_file *f = c->file;
	struct scout_stripes *s = &f->stripes;
	unsigned count = 0, more, candidates, others;

	scout_lock(&f->node->lock);
	others = s->count + s->ncandidates - 1;
	more = most(f, &candidates);
	more = more > others ? more - others : 1;
	if (more > candidates)
		more = candidates;
	for (unsigned i = 0; i < s->count; i++)
		taken[count++] = &s->handles[i]->session->load;
	for (unsigned i = 0; i < s->ncandidates; i++)
		if (s->candidates[i] != c)
			taken[count++] = &s->candidates[i]->open.session->load;
	scout_lock(&f->lock);
	if (f->handle)
		taken[count++] = &f->handle->session->load;
	scout_unlock(&f->lock);
	scout_unlock(&f->node->lock);
	if (scout_rpc_send_apart(&c->open, taken, count, more))
		return true;
	scout_lock(&f->node->lock);
	s->next_ns = scout_now_ns() + PACE_MS * SCOUT_NS_PER_MS;
	scout_unlock(&f->node->lock);
	candidate_over(c, 0);
	return false;
}

/* By who sends for the node, so that there is one at a time. False: no further one now. */
static bool begin(struct scout_file *f)
{
	struct scout_candidate *c = candidate_new(f);

	if (!c)
		return false;
	scout_lock(&f->node->lock);
	c->cut = atomic_load(&f->node->cut);
	f->stripes.candidates[f->stripes.ncandidates++] = c;
	scout_unlock(&f->node->lock);
	scout_file_ref(f);
	return send_open(c);
}

void scout_stripe_widen(struct scout_file *f)
{
	struct scout_candidate *c;
	bool more = true;

	while (more) {
		scout_lock(&f->node->lock);
		c = grown_locked(f);
		if (c)
			c->busy = true;
		more = c || may_begin_locked(f);
		scout_unlock(&f->node->lock);
		if (c) {
			scout_file_ref(f);
			look(c);
		} else if (more) {
			more = begin(f);
		}
	}
}

static bool leaving(struct scout_session *s)
{
	bool draining;

	scout_lock(&s->host->lock);
	draining = s->load.draining;
	scout_unlock(&s->host->lock);
	return draining;
}

void scout_stripe_back(struct scout_file *f, struct scout_handle *h, bool lost, bool left)
{
	struct scout_stripes *s = &f->stripes;
	bool mine = false;

	if (!lost && !leaving(h->session))
		return;
	scout_lock(&f->node->lock);
	for (unsigned i = 0; i < s->count && !mine; i++) {
		mine = s->handles[i] == h;
		if (mine)
			s->handles[i] = s->handles[--s->count];
	}
	if (mine && lost && left)
		scout_file_lose_unsynced_locked(f);
	scout_unlock(&f->node->lock);
	if (mine)
		scout_handle_unref(h);
}
