/* The hosts by name: found, made on demand, and exchanged when the config was read again. A host that
 * leaves is retired: nobody finds it any more, and it lives on for what is open on it.
 *
 * The list of all hosts holds retired ones too, until the last reference goes. A host whose last
 * reference has gone is not given out, though it may stand in the list for a moment.
 *
 * Locks: table->lock, and one host->lock at a time inside it; hosts are freed and lines logged with
 * neither. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hosts/early.h"
#include "hosts/hosts.h"
#include "scoutfs/log.h"

#define DYNAMIC_MAX 1000                  /* hosts that are not in the list */
#define PATIENCE_NS (10 * SCOUT_NS_PER_S) /* with ssh, for all hosts of a reload */

struct scout_host *scout_host_ref(struct scout_host *host)
{
	atomic_fetch_add_explicit(&host->refs, 1, memory_order_relaxed);
	return host;
}

void scout_host_unref(struct scout_host *host)
{
	struct scout_table *table = &host->all->table;

	if (atomic_fetch_sub_explicit(&host->refs, 1, memory_order_acq_rel) != 1)
		return;
	scout_lock(&table->lock);
	TAILQ_REMOVE(&table->hosts, host, link);
	scout_unlock(&table->lock);
	scout_host_free(host);
}

static bool ref_unless_gone(struct scout_host *host)
{
	unsigned refs = atomic_load_explicit(&host->refs, memory_order_relaxed);

	while (refs &&
	       !atomic_compare_exchange_weak_explicit(&host->refs, &refs, refs + 1,
						      memory_order_acquire, memory_order_relaxed))
		;
	return refs != 0;
}

struct scout_host *scout_table_next(struct scout_hosts *all, struct scout_host *host)
{
	struct scout_table *table = &all->table;
	struct scout_host *next;

	scout_lock(&table->lock);
	next = host ? TAILQ_NEXT(host, link) : TAILQ_FIRST(&table->hosts);
	while (next && !ref_unless_gone(next))
		next = TAILQ_NEXT(next, link);
	scout_unlock(&table->lock);
	if (host)
		scout_host_unref(host);
	return next;
}

static struct scout_host *find_locked(struct scout_table *table, const char *name, size_t len)
{
	struct scout_host *host;

	HASH_FIND(hh, table->by_name, name, len, host);
	return host;
}

struct scout_host *scout_table_find(struct scout_hosts *all, const char *name, size_t len)
{
	struct scout_host *host;

	scout_lock(&all->table.lock);
	host = find_locked(&all->table, name, len);
	if (host)
		scout_host_ref(host);
	scout_unlock(&all->table.lock);
	return host;
}

static void touch_locked(struct scout_table *table)
{
	(void)clock_gettime(CLOCK_REALTIME, &table->changed);
}

/* host is new. Returns 0 or -ENOMEM: then it is nobody's. */
static int add_locked(struct scout_table *table, struct scout_host *host)
{
	const char *name = host->config->name;

	HASH_ADD_KEYPTR(hh, table->by_name, name, strlen(name), host);
	if (!host->hh.tbl)
		return -ENOMEM;
	TAILQ_INSERT_TAIL(&table->hosts, host, link);
	table->dynamic += host->dynamic;
	touch_locked(table);
	return 0;
}

/* Out of the table; its reference is the caller's now, for part_with without the lock. */
static void retire_locked(struct scout_table *table, struct scout_host *host)
{
	HASH_DEL(table->by_name, host);
	table->dynamic -= host->dynamic;
	touch_locked(table);
	scout_host_retire(host);
}

/* Gives the reference back. What was read early goes before: the last reference may end under the pool's lock, where
 * nobody who waits for a buffer can be told. */
static void part_with(struct scout_host *host)
{
	scout_early_forget(host);
	scout_host_unref(host);
}

/* Of the hosts that were asked for, the one looked for least recently on which nothing is open. */
static struct scout_host *least_recent_locked(struct scout_table *table)
{
	struct scout_host *host, *next, *best = NULL;

	HASH_ITER (hh, table->by_name, host, next) {
		if (!host->dynamic || (best && host->looked_ns >= best->looked_ns))
			continue;
		if (!scout_host_in_use(host))
			best = host;
	}
	return best;
}

static int make_locked(struct scout_hosts *all, struct scout_host_config *config,
		       struct scout_host **old, struct scout_host **ret)
{
	struct scout_table *table = &all->table;
	struct scout_host *host;

	*old = NULL;
	if (table->dynamic >= DYNAMIC_MAX) {
		*old = least_recent_locked(table);
		if (!*old) {
			scout_host_config_free(config);
			return -ENFILE;
		}
		retire_locked(table, *old);
	}
	host = scout_host_new(all, config);
	if (!host)
		return -ENOMEM;
	host->dynamic = true;
	if (add_locked(table, host)) {
		scout_host_free(host);
		return -ENOMEM;
	}
	*ret = host;
	return 0;
}

int scout_table_get(struct scout_hosts *all, const char *name, size_t len, struct scout_host **ret)
{
	struct scout_table *table = &all->table;
	struct scout_host_config *config;
	struct scout_host *host, *old = NULL;
	int err = 0;

	scout_lock(&table->lock);
	host = find_locked(table, name, len);
	if (!host) {
		err = scout_config_dynamic_host(table->config, name, len, &config);
		if (!err)
			err = make_locked(all, config, &old, &host);
	}
	if (!err) {
		host->looked_ns = host->dynamic ? scout_now_ns() : 0;
		*ret = scout_host_ref(host);
	}
	scout_unlock(&table->lock);
	if (old) {
		part_with(old);
		scout_pool_kick(&all->pool);
	}
	return err;
}

uint64_t scout_table_timeout_ns(struct scout_hosts *all, const char *name, size_t len)
{
	struct scout_table *table = &all->table;
	const struct scout_host_config *config;
	struct scout_host *host;
	uint64_t timeout;

	scout_lock(&table->lock);
	host = find_locked(table, name, len);
	config = host ? host->config : &table->config->defaults;
	timeout = config->connect_timeout_ns + config->request_timeout_ns;
	scout_unlock(&table->lock);
	return timeout;
}

void scout_table_attr(struct scout_hosts *all, struct scout_attr *ret)
{
	struct scout_table *table = &all->table;

	*ret = (struct scout_attr){
	    .mode = S_IFDIR | 0755, .nlink = 2, .uid = getuid(), .gid = getgid()};
	scout_lock(&table->lock);
	ret->atime = ret->mtime = table->changed;
	scout_unlock(&table->lock);
	ret->version = (uint64_t)ret->mtime.tv_sec * SCOUT_NS_PER_S + (uint64_t)ret->mtime.tv_nsec;
}

struct change {
	uint64_t deadline_ns; /* for ssh */
	size_t added, removed, changed, unknown;
};

/* Whether ssh_config leads elsewhere by now than to the machine that host's sessions are on. Waits for ssh. */
static bool has_moved(const struct scout_host *host, struct change *change)
{
	int moved = scout_sftp_peer_moved(host->peer, host->config, change->deadline_ns);

	change->unknown += moved < 0;
	return moved > 0;
}

/* A host with its own copy of config, or NULL. */
static struct scout_host *host_of_config(struct scout_hosts *all,
					 const struct scout_host_config *config)
{
	struct scout_host_config *copy;

	return scout_host_config_copy(config, &copy) ? NULL : scout_host_new(all, copy);
}

/* Has the table say of one host what config says. Returns 0 or -ENOMEM: then the old one stays. */
static int take_over(struct scout_hosts *all, const struct scout_host_config *config,
		     struct change *change)
{
	struct scout_table *table = &all->table;
	struct scout_host *old, *fresh = NULL;
	bool same;
	int err = 0;

	scout_lock(&table->lock);
	old = find_locked(table, config->name, strlen(config->name));
	same = old && !old->dynamic && scout_host_config_equal(old->config, config);
	if (same)
		scout_host_ref(old);
	scout_unlock(&table->lock);
	if (same) {
		same = !has_moved(old, change);
		scout_host_unref(old);
	}
	if (same)
		return 0;
	fresh = host_of_config(all, config);
	if (!fresh)
		return -ENOMEM;
	scout_lock(&table->lock);
	/* one that is asked for on demand may have come or gone meanwhile */
	old = find_locked(table, config->name, strlen(config->name));
	err = add_locked(table, fresh);
	if (!err && old)
		retire_locked(table, old);
	scout_unlock(&table->lock);
	if (err) {
		scout_host_free(fresh);
		return err;
	}
	if (old && !old->dynamic)
		change->changed++;
	else
		change->added++;
	if (old)
		part_with(old);
	return 0;
}

/* Whether config still allows a host that was asked for, and says the same of it. */
static bool still_dynamic(const struct scout_config *config, const struct scout_host *host)
{
	const char *name = host->config->name;
	struct scout_host_config *now;
	bool same;

	if (scout_config_dynamic_host(config, name, strlen(name), &now))
		return false;
	same = scout_host_config_equal(host->config, now);
	scout_host_config_free(now);
	return same;
}

/* Retires what is no longer in the config. */
static void retire_gone(struct scout_hosts *all, struct change *change)
{
	struct scout_table *table = &all->table;
	struct scout_host *host = NULL;

	while ((host = scout_table_next(all, host))) {
		const char *name = host->config->name;
		size_t len = strlen(name);
		bool gone, moved = host->dynamic && !host->retired && has_moved(host, change);

		scout_lock(&table->lock);
		gone = find_locked(table, name, len) == host;
		if (gone && host->dynamic)
			gone = moved || !still_dynamic(table->config, host);
		else
			gone = gone && !scout_config_host(table->config, name, len);
		if (gone)
			retire_locked(table, host);
		scout_unlock(&table->lock);
		change->removed += gone && !host->dynamic;
		change->changed += gone && moved;
		if (gone)
			part_with(host);
	}
}

void scout_table_reload(struct scout_hosts *all, const struct scout_config *config)
{
	struct scout_table *table = &all->table;
	struct change change = {.deadline_ns = scout_now_ns() + PATIENCE_NS};
	size_t failed = 0;

	scout_lock(&table->lock);
	table->config = config;
	scout_unlock(&table->lock);
	for (size_t i = 0; i < config->nhosts; i++)
		failed += take_over(all, &config->hosts[i], &change) != 0;
	retire_gone(all, &change);
	if (failed)
		scout_error("reload: no memory for %zu hosts", failed);
	if (change.unknown)
		scout_warn("reload: ssh did not say what ssh_config says of %zu hosts, which stay "
			   "as they were",
			   change.unknown);
	scout_info("reloaded: %zu host%s added, %zu removed, %zu changed", change.added,
		   change.added == 1 ? "" : "s", change.removed, change.changed);
}

int scout_table_init(struct scout_hosts *all, const struct scout_config *config)
{
	struct scout_table *table = &all->table;
	struct change change = {0};
	int err = 0;

	scout_mutex_init(&table->lock, SCOUT_LOCK_HOSTS);
	TAILQ_INIT(&table->hosts);
	table->config = config;
	touch_locked(table);
	for (size_t i = 0; i < config->nhosts && !err; i++)
		err = take_over(all, &config->hosts[i], &change);
	return err;
}

void scout_table_free(struct scout_hosts *all)
{
	struct scout_table *table = &all->table;
	struct scout_host *host, *next;

	HASH_ITER (hh, table->by_name, host, next) {
		HASH_DEL(table->by_name, host);
		scout_host_unref(host);
	}
	assert(TAILQ_EMPTY(&table->hosts));
	scout_mutex_destroy(&table->lock);
}
