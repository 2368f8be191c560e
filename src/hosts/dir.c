/* An open directory. Its listing is fetched ahead of the reader with several READDIRs on their way,
 * and kept in batches that never change, so a reader gets what is there while the rest still comes.
 * A listing that was read to its end and is read from the start again is fetched anew; one whose
 * session was lost starts over elsewhere if nobody has seen any of it.
 *
 * The remote is not believed: names are checked, a listing has a limit. Locks: dir->lock; calls and
 * completions happen without it; host->lock for the list of open directories. A listing is shared by its directory, its calls in flight and the
 * readers being answered from it. */
#include "hosts/dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/ahead.h"
#include "hosts/attr.h"
#include "hosts/entries.h"
#include "scoutfs/log.h"

#define CALLS_FIRST 2
#define CALLS_MAX 16
#define ENTRIES_AHEAD 8192 /* of the reader */
#define LISTING_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define RESTARTS_MAX 2

/* A READDIR under way. */
struct call {
	struct scout_rpc rpc;
	struct listing *listing;
	uint64_t number;        /* in the order of sending */
	TAILQ_ENTRY(call) link; /* the listing's, under dir->lock */
};

struct listing {
	struct scout_dir *dir;
	char *path; /* immutable: the directory's, then */
	struct scout_rpc open, look;
	uint64_t began_ns; /* immutable, as is the host's changes, then */
	unsigned changes;
	bool ahead;   /* it was there before the directory was opened; immutable */
	int open_err; /* while the path is looked at */
	/* under dir->lock */
	struct scout_handle *handle;
	TAILQ_HEAD(, scout_entries) batches;
	struct scout_entries *cursor; /* the last one given out */
	uint64_t count, asked;
	size_t bytes;
	unsigned in_flight, calls, refs; /* OPENDIR counts as in flight too */
	TAILQ_HEAD(, call) sent;         /* not answered, in their order */
	uint64_t numbers;
	bool sending, send_more; /* somebody sends, and is to look once more */
	bool opened;
	bool ended;    /* the server said so; of calls sent before, more may come: */
	uint64_t last; /* the number of the first that had this answer */
	bool delivered, complete, told; /* told: that it is complete, or its error */
	bool telling; /* others, of what is complete: then readers are told its end */
	bool abandoned;
	int err;
};

struct scout_dir {
	enum scout_dir_kind kind;
	struct scout_host *host;
	bool unasked;
	TAILQ_ENTRY(scout_dir) link; /* host->dirs, under host->lock */
	struct scout_mutex lock;
	/* under lock */
	char *path;
	struct listing *listing;
	struct scout_req *opener; /* until opendir is answered */
	TAILQ_HEAD(, reader) readers;
	unsigned restarts, refs; /* refs: the handle, and each listing */
};

struct reader {
	struct scout_req *req;
	uint64_t index;
	TAILQ_ENTRY(reader) link;
	/* the answer */
	struct scout_entries *batch;
	int err;
};
TAILQ_HEAD(readers, reader);

static void pump(struct listing *l);

bool scout_dir_name_ok(const char *name)
{
	return *name && strlen(name) <= 255 && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

static void dir_free(struct scout_dir *d)
{
	scout_mutex_destroy(&d->lock);
	scout_host_unref(d->host);
	free(d->path);
	free(d);
}

static void dir_unref(struct scout_dir *d)
{
	bool last;

	scout_lock(&d->lock);
	last = --d->refs == 0;
	scout_unlock(&d->lock);
	if (!last)
		return;
	scout_lock(&d->host->lock);
	TAILQ_REMOVE(&d->host->dirs, d, link);
	scout_unlock(&d->host->lock);
	dir_free(d);
}

static void listing_unref(struct listing *l)
{
	struct scout_dir *d = l->dir;
	struct scout_entries *b;
	bool last;

	scout_lock(&d->lock);
	last = --l->refs == 0;
	scout_unlock(&d->lock);
	if (!last)
		return;
	while ((b = TAILQ_FIRST(&l->batches))) {
		TAILQ_REMOVE(&l->batches, b, link);
		free(b);
	}
	scout_handle_unref(l->handle);
	free(l->path);
	free(l);
	dir_unref(d);
}

/* Finds the answer for r, under dir->lock; false: not there yet. */
static bool serve_locked(struct listing *l, struct reader *r)
{
	struct scout_entries *b =
	    l->cursor && l->cursor->first <= r->index ? l->cursor : TAILQ_FIRST(&l->batches);

	while (b && r->index - b->first >= b->count)
		b = TAILQ_NEXT(b, link);
	r->batch = b;
	r->err = b ? 0 : l->err;
	if (b) {
		l->cursor = b;
		l->delivered = true;
	} else if (!l->err && (!l->complete || l->telling)) {
		return false;
	} else {
		l->told = true;
	}
	l->refs++; /* until it is answered */
	return true;
}

static void take_served_locked(struct listing *l, struct readers *served)
{
	struct scout_dir *d = l->dir;
	struct reader *r, *next;

	for (r = TAILQ_FIRST(&d->readers); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!serve_locked(l, r))
			continue;
		TAILQ_REMOVE(&d->readers, r, link);
		TAILQ_INSERT_TAIL(served, r, link);
	}
}

/* For how long what l says may be believed: from when it is told, but for one that was made ahead. */
static uint64_t ttl_ms(const struct listing *l)
{
	uint64_t timeout_ns = l->dir->host->config->attr_timeout_ns, age_ns = 0;

	if (l->ahead)
		age_ns = scout_now_ns() - l->began_ns;
	return age_ns < timeout_ns ? (timeout_ns - age_ns) / SCOUT_NS_PER_MS : 0;
}

/* Answers r, which was served from l, and frees it. */
static void answer(struct listing *l, struct reader *r)
{
	uint64_t ttl = ttl_ms(l);
	struct scout_result res = {.ttl_ms = ttl > UINT32_MAX ? UINT32_MAX : (uint32_t)ttl};
	struct scout_entries *b = r->batch;

	if (b) {
		res.dir.entries = b->entries + (r->index - b->first);
		res.dir.count = b->count - (size_t)(r->index - b->first);
	}
	scout_req_done(r->req, r->err, r->err ? NULL : &res);
	free(r);
	listing_unref(l);
}

static void answer_all(struct listing *l, struct readers *served)
{
	struct reader *r;

	while ((r = TAILQ_FIRST(served))) {
		TAILQ_REMOVE(served, r, link);
		answer(l, r);
	}
}

/* The listing ends with err: opendir or the readers who wait are told. */
static void fail(struct listing *l, int err)
{
	struct scout_dir *d = l->dir;
	struct readers served = TAILQ_HEAD_INITIALIZER(served);
	struct scout_req *opener;

	scout_lock(&d->lock);
	if (!l->err)
		l->err = err;
	if (!l->abandoned)
		take_served_locked(l, &served);
	opener = d->opener;
	d->opener = NULL;
	scout_unlock(&d->lock);
	answer_all(l, &served);
	if (opener) {
		scout_req_done(opener, err, NULL);
		scout_dir_release(d);
	}
}

/* The server says "no such file" or "failure" for what is no directory. */
static void looked(struct scout_rpc *rpc, int err)
{
	struct listing *l = SCOUT_CONTAINER(rpc, struct listing, look);
	bool other =
	    !err && rpc->call.attrs.has & SCOUT_SFTP_HAS_MODE && !S_ISDIR(rpc->call.attrs.mode);

	fail(l, other ? -ENOTDIR : l->open_err);
	listing_unref(l);
}

static void opened(struct scout_rpc *rpc, int err)
{
	struct listing *l = SCOUT_CONTAINER(rpc, struct listing, open);
	struct scout_dir *d = l->dir;
	struct scout_req *opener;
	struct scout_result res = {0};

	scout_lock(&d->lock);
	l->in_flight--;
	l->opened = !err;
	if (!err)
		scout_handle_opened(l->handle, rpc);
	scout_unlock(&d->lock);
	if (!err) {
		pump(l);
		scout_lock(&d->lock);
		opener = d->opener;
		d->opener = NULL;
		scout_unlock(&d->lock);
		res.open.handle = d;
		if (opener)
			scout_req_done(opener, 0, &res);
		listing_unref(l);
		return;
	}
	if (!d->unasked)
		scout_rpc_log(rpc, "opendir", l->path, err);
	if ((err == -ENOENT || err == -EIO) && rpc->session) {
		l->look.call.op = SCOUT_SFTP_LSTAT;
		l->look.call.path = l->path;
		l->look.host = d->host;
		l->look.done = looked;
		l->open_err = err;
		scout_rpc_send(&l->look);
		return;
	}
	fail(l, err);
	listing_unref(l);
}

/* With one reference, the call's; d->path does not change meanwhile. */
static struct listing *listing_new(struct scout_dir *d)
{
	struct listing *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->handle = scout_handle_new(d->host);
	l->path = strdup(d->path);
	if (!l->handle || !l->path) {
		scout_handle_unref(l->handle);
		free(l->path);
		free(l);
		return NULL;
	}
	l->dir = d;
	l->began_ns = scout_now_ns();
	l->changes = atomic_load(&d->host->changes);
	l->refs = 2; /* the directory's, and that of OPENDIR in flight */
	l->in_flight = 1;
	l->calls = CALLS_FIRST;
	TAILQ_INIT(&l->batches);
	TAILQ_INIT(&l->sent);
	l->open.call.op = SCOUT_SFTP_OPENDIR;
	l->open.call.path = l->path;
	l->open.host = d->host;
	l->open.done = opened;
	return l;
}

/* Puts a fresh listing in l's place, under dir->lock, for the caller to send and l's reference of
 * the directory to drop. NULL: no memory, and l stays. */
static struct listing *replace_locked(struct listing *l)
{
	struct scout_dir *d = l->dir;
	struct listing *fresh = listing_new(d);

	if (!fresh)
		return NULL;
	d->refs++;
	d->listing = fresh;
	l->abandoned = true;
	return fresh;
}

/* The end was told in answer to a call, and all that were sent before that one are answered. What was sent after
 * it has no more to tell: requests on one handle act in their order (draft-ietf-secsh-filexfer-02, 3.1), whatever
 * the order of their answers. */
static bool is_complete_locked(const struct listing *l)
{
	const struct call *oldest = TAILQ_FIRST(&l->sent);

	return l->ended && (!oldest || oldest->number > l->last);
}

/* What an answer to READDIR brings, under dir->lock. Returns the listing to start instead. */
static struct listing *take_answer_locked(struct listing *l, const struct call *c, int err,
					  struct scout_entries *b, size_t bytes)
{
	struct scout_dir *d = l->dir;
	struct listing *fresh = NULL;

	l->in_flight--;
	if (l->calls < CALLS_MAX)
		l->calls *= 2;
	if (l->err || l->complete || l->abandoned) {
		free(b);
	} else if (err == -ECONNRESET) {
		if (!l->delivered && d->restarts++ < RESTARTS_MAX)
			fresh = replace_locked(l);
		if (fresh)
			fresh->asked = l->asked;
		else
			l->err = -EIO;
	} else if (err) {
		l->err = l->ended && c->number > l->last ? 0 : err;
	} else if (!b) {
		if (!l->ended || c->number < l->last)
			l->last = c->number;
		l->ended = true;
	} else {
		b->first = l->count;
		l->count += b->count;
		l->bytes += bytes;
		TAILQ_INSERT_TAIL(&l->batches, b, link);
		if (l->bytes > LISTING_MAX_BYTES)
			l->err = -EOVERFLOW;
	}
	l->complete = is_complete_locked(l);
	return fresh;
}

/* l is complete: whoever asks for what is listed there one by one may be told by it, too. Before its reader is told
 * the end, so that what he does then is understood. */
static void tell_ahead(struct listing *l, struct readers *served)
{
	struct scout_names names = {.began_ns = l->began_ns, .changes = l->changes};
	const struct scout_entries *b;
	bool good = true;

	TAILQ_FOREACH (b, &l->batches, link)
		for (size_t i = 0; good && i < b->count; i++)
			good = scout_names_add(&names, &b->entries[i]);
	if (good)
		scout_ahead_listed(l->dir->host, l->path, &names);
	scout_names_free(&names);
	scout_lock(&l->dir->lock);
	l->telling = false;
	if (!l->abandoned)
		take_served_locked(l, served);
	scout_unlock(&l->dir->lock);
}

static void answered(struct scout_rpc *rpc, int err)
{
	struct call *c = SCOUT_CONTAINER(rpc, struct call, rpc);
	struct listing *l = c->listing, *fresh;
	struct scout_dir *d = l->dir;
	struct readers served = TAILQ_HEAD_INITIALIZER(served);
	struct scout_entries *b = NULL;
	bool completed;
	size_t bytes = 0;
	int failed;

	if (!err && rpc->call.names_count) {
		b = scout_entries_new(d->host, &rpc->call, &bytes);
		if (!b)
			err = -ENOMEM;
	}
	scout_lock(&d->lock);
	failed = l->err;
	completed = l->complete;
	TAILQ_REMOVE(&l->sent, c, link);
	fresh = take_answer_locked(l, c, err, b, bytes);
	failed = failed ? 0 : l->err;
	completed = l->complete && !completed && !l->err && !l->abandoned && !d->unasked &&
		    scout_host_is_far(d->host);
	l->telling |= completed;
	if (!l->abandoned)
		take_served_locked(l, &served);
	scout_unlock(&d->lock);

	if (!d->unasked)
		scout_rpc_log(rpc, "readdir", l->path, failed);
	free(c);
	if (completed)
		tell_ahead(l, &served);
	answer_all(l, &served);
	if (fresh) {
		scout_rpc_send(&fresh->open);
		listing_unref(l);
	}
	pump(l);
	listing_unref(l);
}

/* Takes calls for what may be sent now, under dir->lock; and the handle, when all has come. */
static unsigned room_locked(struct listing *l, struct scout_handle **finished)
{
	unsigned n = 0;

	*finished = NULL;
	if (l->err || l->complete || l->abandoned) {
		if (!l->in_flight) {
			*finished = l->handle;
			l->handle = NULL;
		}
		return 0;
	}
	while (l->opened && !l->ended && l->in_flight + n < l->calls &&
	       l->count < l->asked + ENTRIES_AHEAD)
		n++;
	l->in_flight += n;
	l->refs += n;
	return n;
}

/* Sends one READDIR, for which there is room. */
static void send_call(struct listing *l)
{
	struct scout_dir *d = l->dir;
	struct call *c = calloc(1, sizeof *c);

	scout_lock(&d->lock);
	if (c) {
		c->number = l->numbers++;
		TAILQ_INSERT_TAIL(&l->sent, c, link);
	} else {
		l->in_flight--;
	}
	scout_unlock(&d->lock);
	if (!c) {
		fail(l, -ENOMEM);
		listing_unref(l);
		return;
	}
	c->listing = l;
	c->rpc.call.op = SCOUT_SFTP_READDIR;
	c->rpc.call.handle = &l->handle->remote;
	c->rpc.done = answered;
	scout_rpc_send_on(l->handle->session, &c->rpc);
}

/* Sends what there is room for; one at a time does, so that numbers go out in their order. */
static void pump(struct listing *l)
{
	struct scout_dir *d = l->dir;
	struct scout_handle *finished;
	unsigned n;

	scout_lock(&d->lock);
	l->send_more = true;
	while (!l->sending && l->send_more) {
		l->send_more = false;
		l->sending = true;
		n = room_locked(l, &finished);
		scout_unlock(&d->lock);
		scout_handle_unref(finished);
		while (n--)
			send_call(l);
		scout_lock(&d->lock);
		l->sending = false;
	}
	scout_unlock(&d->lock);
}

/* With two references, the handle's and the listing's, which OPENDIR is to be sent for. NULL: no memory. */
static struct scout_dir *dir_new(struct scout_host *host, const char *path)
{
	struct scout_dir *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	scout_mutex_init(&d->lock, SCOUT_LOCK_FILE);
	TAILQ_INIT(&d->readers);
	d->host = scout_host_ref(host);
	d->path = strdup(path);
	d->listing = d->path ? listing_new(d) : NULL;
	if (!d->listing) {
		dir_free(d);
		return NULL;
	}
	d->refs = 2;
	scout_lock(&host->lock);
	TAILQ_INSERT_TAIL(&host->dirs, d, link);
	scout_unlock(&host->lock);
	return d;
}

void scout_dir_open(struct scout_host *host, const char *path, bool unasked, struct scout_req *req)
{
	struct scout_dir *d = dir_new(host, path);

	if (!d) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	d->unasked = unasked;
	d->opener = req;
	d->listing->open.req = req;
	scout_rpc_send(&d->listing->open);
}

void scout_dir_open_listed(struct scout_host *host, const char *path, struct scout_names *names,
			   struct scout_req *req)
{
	struct scout_dir *d = dir_new(host, path);
	struct scout_entries *b = scout_entries_of(names);
	struct scout_result res = {.open.handle = d};
	struct listing *l = d ? d->listing : NULL;

	if (b && l) {
		l->began_ns = names->began_ns;
		l->changes = names->changes;
		l->ahead = l->opened = l->ended = l->complete = true;
		l->in_flight = 0;
		l->count = b->count;
		TAILQ_INSERT_TAIL(&l->batches, b, link);
		b = NULL;
	}
	scout_names_free(names);
	free(b);
	if (l)
		listing_unref(l); /* OPENDIR's */
	if (l && l->complete) {
		scout_req_done(req, 0, &res);
		return;
	}
	if (d)
		scout_dir_release(d);
	scout_req_done(req, -ENOMEM, NULL);
}

void scout_dir_read(struct scout_dir *d, uint64_t index, struct scout_req *req)
{
	struct reader *r = calloc(1, sizeof *r);
	struct listing *l, *old = NULL;
	bool served;

	if (!r) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	r->req = req;
	r->index = index;
	scout_lock(&d->lock);
	l = d->listing;
	if (index == 0 && l->told && replace_locked(l)) {
		old = l;
		l = d->listing;
	}
	if (index > l->asked)
		l->asked = index;
	l->refs++;
	served = serve_locked(l, r);
	if (!served)
		TAILQ_INSERT_TAIL(&d->readers, r, link);
	scout_unlock(&d->lock);

	if (old) {
		scout_rpc_send(&l->open);
		listing_unref(old);
	} else {
		pump(l);
	}
	if (served)
		answer(l, r);
	listing_unref(l);
}

void scout_dir_release(struct scout_dir *d)
{
	struct listing *l;

	scout_lock(&d->lock);
	l = d->listing;
	l->abandoned = true;
	scout_unlock(&d->lock);
	pump(l);
	listing_unref(l);
	dir_unref(d);
}

/* Without memory for that it is looked for where it was. */
static void move(struct scout_dir *d, size_t path_len, const char *newpath)
{
	struct scout_text text = {0};

	scout_text_printf(&text, "%s%s", newpath, d->path + path_len);
	if (!text.failed) {
		free(d->path);
		d->path = scout_text_take(&text);
	}
	scout_text_free(&text);
}

void scout_dirs_renamed(struct scout_host *host, const char *path, const char *newpath)
{
	size_t len = strlen(path);
	struct scout_dir *d;

	scout_lock(&host->lock);
	TAILQ_FOREACH (d, &host->dirs, link) {
		scout_lock(&d->lock);
		if (d->path && !strncmp(d->path, path, len) &&
		    (!d->path[len] || d->path[len] == '/'))
			move(d, len, newpath);
		scout_unlock(&d->lock);
	}
	scout_unlock(&host->lock);
}
