/* See early.h. What is read is OPEN, then READ and FSTAT in one round trip. The bytes are those of the file that
 * the listing told of when the FSTAT behind them says the same; they are given out when the open, which asks the
 * server as any does, says so, too, and nothing that modifies was sent to the host since. So no reader gets
 * anything that an open would not vouch for. A file that was modified just now may be so again within the
 * second that its time has, as told by a clock that is not ours: it is left alone.
 *
 * Bounded: so many files of a host at once, of so many bytes each, for so long, in buffers that nobody else wants.
 * Another does not take the place of one that may still be of use: somebody is about to open it.
 *
 * Lock: host->lock for the list, and what is in it; a file on its way is its calls'. */
#include "hosts/early.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hosts/ahead.h"
#include "hosts/attr.h"
#include "hosts/window.h"

#define BYTES_MAX (128 * 1024)
#define FILES_MAX 16 /* of one host */
#define SETTLED_S 10 /* since it was modified; clocks differ by less */
#define SHARE 4      /* and that part of its host's buffers at most */

struct scout_early {
	TAILQ_ENTRY(scout_early) link; /* host->early */
	struct scout_host *host;       /* no reference but its calls': scout_early_forget */
	char *path;
	uint64_t size, mtime;
	unsigned changes; /* the host's, before it began */
	uint64_t began_ns;
	bool ready; /* under host->lock; until then its calls own it */
	void *buf;
	struct scout_handle *handle;
	struct scout_rpc open, read, look;
};

static void early_free(struct scout_early *e)
{
	scout_buf_put(e->host->share, e->buf);
	scout_handle_unref(e->handle);
	free(e->path);
	free(e);
}

static void remove_locked(struct scout_early *e)
{
	TAILQ_REMOVE(&e->host->early, e, link);
	e->host->nearly--;
}

/* Nobody came for e: it is wasted. */
static void waste(struct scout_early *e)
{
	scout_count(&e->host->all->counters.files_early_wasted, 1);
	early_free(e);
}

/* Whether it is the file that was listed. */
static bool is_the_same(const struct scout_early *e)
{
	struct scout_attr now;

	scout_attr_map(&e->look.call.attrs, &now);
	return e->read.call.got == e->size && S_ISREG(now.mode) && now.size == e->size &&
	       (uint64_t)now.mtime.tv_sec == e->mtime;
}

static struct scout_early *oldest_locked(struct scout_host *host)
{
	struct scout_early *e;

	TAILQ_FOREACH (e, &host->early, link)
		if (e->ready)
			return e;
	return NULL;
}

/* All is answered. */
static void over(struct scout_early *e, int err)
{
	struct scout_host *host = scout_host_ref(e->host); /* the handle's may be the last */
	struct scout_handle *h = e->handle;
	uint64_t size = e->size;
	bool same = !err && is_the_same(e), keep, first;

	e->handle = NULL;
	scout_lock(&host->lock);
	keep = same && !atomic_load(&host->retired);
	first = keep && !oldest_locked(host);
	e->ready = keep;
	if (!keep)
		remove_locked(e);
	scout_unlock(&host->lock);
	if (keep) {
		scout_count(&host->all->counters.bytes_read, size);
		scout_budget_poke(host->all->budget);
		if (first) /* it now has something to expire */
			scout_pool_kick(&host->all->pool);
	} else {
		if (!err && !same)
			scout_ahead_misled(host, e->path, SCOUT_KIND_FILE);
		waste(e);
	}
	scout_handle_unref(h);
	scout_host_unref(host);
}

static void was_read(struct scout_rpc *rpc, int err)
{
	over(SCOUT_CONTAINER(rpc, struct scout_early, read), err);
}

static void opened(struct scout_rpc *rpc, int err)
{
	struct scout_early *e = SCOUT_CONTAINER(rpc, struct scout_early, open);

	if (err) {
		over(e, err);
		return;
	}
	scout_handle_opened(e->handle, rpc);
	e->read.call.op = SCOUT_SFTP_READ;
	e->read.call.handle = &e->handle->remote;
	e->read.call.length = (uint32_t)e->size;
	e->read.call.dest = e->buf;
	e->read.then = &e->look;
	e->read.done = was_read;
	e->look.call.op = SCOUT_SFTP_FSTAT;
	e->look.call.handle = &e->handle->remote;
	e->look.call.behind_reads = true;
	scout_rpc_send_on(e->handle->session, &e->read);
}

static struct scout_early *find_locked(struct scout_host *host, const char *path)
{
	struct scout_early *e;

	TAILQ_FOREACH (e, &host->early, link)
		if (!strcmp(e->path, path))
			return e;
	return NULL;
}

uint64_t scout_early_kept_ns(const struct scout_host *host)
{
	uint64_t timeout_ns = host->config->attr_timeout_ns;

	return timeout_ns < SCOUT_EARLY_KEPT_NS ? timeout_ns : SCOUT_EARLY_KEPT_NS;
}

/* Nothing will come of e, which is ready. */
static bool is_useless(const struct scout_early *e, uint64_t now_ns)
{
	return e->changes != atomic_load(&e->host->changes) ||
	       e->began_ns + scout_early_kept_ns(e->host) <= now_ns;
}

static struct scout_early *useless_locked(struct scout_host *host, uint64_t now_ns)
{
	struct scout_early *e;

	TAILQ_FOREACH (e, &host->early, link)
		if (e->ready && is_useless(e, now_ns))
			return e;
	return NULL;
}

static struct scout_early *early_new(struct scout_host *host, const char *path,
				     const struct scout_attr *attr)
{
	struct scout_early *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	e->host = host;
	e->size = attr->size;
	e->mtime = (uint64_t)attr->mtime.tv_sec;
	e->began_ns = scout_now_ns();
	e->changes = atomic_load(&host->changes);
	e->path = strdup(path);
	e->handle = scout_handle_new(host);
	e->buf = scout_buf_try(host->share);
	if (!e->path || !e->handle || !e->buf) {
		early_free(e);
		return NULL;
	}
	e->open.call.op = SCOUT_SFTP_OPEN;
	e->open.call.flags = SCOUT_SFTP_FLAG_READ;
	e->open.call.path = e->path;
	e->open.host = host;
	e->open.done = opened;
	return e;
}

static bool has_room_locked(struct scout_host *host)
{
	return host->nearly < FILES_MAX && host->nearly < scout_share_bufs(host->share) / SHARE &&
	       !atomic_load(&host->retired);
}

/* Puts e among the host's files, unless it is there, or there is no room. */
static bool enter_locked(struct scout_early *e)
{
	struct scout_host *host = e->host;

	if (find_locked(host, e->path) || !has_room_locked(host))
		return false;
	TAILQ_INSERT_TAIL(&host->early, e, link);
	host->nearly++;
	return true;
}

static bool is_wanted(struct scout_host *host, const char *path, const struct scout_attr *attr)
{
	bool fits, there;

	scout_lock(&host->lock);
	fits =
	    attr->size <= scout_window_part_bytes(host->server.read_bytes) && has_room_locked(host);
	there = find_locked(host, path);
	scout_unlock(&host->lock);
	return fits && !there && attr->size && attr->size <= BYTES_MAX &&
	       attr->mtime.tv_sec + SETTLED_S < time(NULL);
}

/* Takes out and gives back one that is of no use. */
static bool drop_useless(struct scout_host *host, uint64_t now_ns)
{
	struct scout_early *e;

	scout_lock(&host->lock);
	e = useless_locked(host, now_ns);
	if (e)
		remove_locked(e);
	scout_unlock(&host->lock);
	if (e)
		waste(e);
	return e != NULL;
}

void scout_early_fetch(struct scout_host *host, const char *path, const struct scout_attr *attr)
{
	struct scout_early *e;
	bool sent;

	while (drop_useless(host, scout_now_ns()))
		;
	e = is_wanted(host, path, attr) ? early_new(host, path, attr) : NULL;
	if (!e)
		return;
	scout_lock(&host->lock);
	sent = enter_locked(e);
	scout_unlock(&host->lock);
	if (sent)
		scout_rpc_send(&e->open);
	else
		early_free(e);
}

void *scout_early_take(struct scout_host *host, const char *path, const struct scout_attr *attr)
{
	struct scout_early *e;
	void *buf = NULL;

	scout_lock(&host->lock);
	e = find_locked(host, path);
	if (e && e->ready)
		remove_locked(e);
	else
		e = NULL;
	scout_unlock(&host->lock);
	if (!e)
		return NULL;
	if (e->size != attr->size || e->mtime != (uint64_t)attr->mtime.tv_sec ||
	    is_useless(e, scout_now_ns())) {
		waste(e);
		return NULL;
	}
	scout_count(&host->all->counters.files_early, 1);
	buf = e->buf;
	e->buf = NULL;
	early_free(e);
	return buf;
}

static bool give_back(struct scout_host *host)
{
	struct scout_early *e;

	scout_lock(&host->lock);
	e = oldest_locked(host);
	if (e)
		remove_locked(e);
	scout_unlock(&host->lock);
	if (!e)
		return false;
	waste(e);
	return true;
}

bool scout_early_reclaim(void *arg)
{
	struct scout_host *host = NULL;

	while ((host = scout_table_next(arg, host))) {
		if (give_back(host)) {
			scout_host_unref(host);
			return true;
		}
	}
	return false;
}

void scout_early_expire(struct scout_host *host, uint64_t now_ns, uint64_t *next_ns)
{
	const struct scout_early *e;

	while (drop_useless(host, now_ns))
		;
	scout_lock(&host->lock);
	TAILQ_FOREACH (e, &host->early, link) {
		uint64_t until_ns = e->began_ns + scout_early_kept_ns(host);

		if (e->ready && until_ns < *next_ns)
			*next_ns = until_ns;
	}
	scout_unlock(&host->lock);
}

void scout_early_forget(struct scout_host *host)
{
	while (give_back(host))
		;
}
