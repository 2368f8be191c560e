/* What is shown of /hosts and of the hosts' own directories, where nobody waits for a network.
 *
 * The listing of /hosts is taken when it is opened: the hosts of the config, and of those that were
 * asked for on demand the ones that were reached, so that no typing error is kept in it. A handle is
 * immutable. No lock of its own. */
#include "hosts/root.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts/dir.h"

struct root {
	enum scout_dir_kind kind;
	struct scout_dirent *entries;
	size_t count, cap;
};

void scout_root_attr(struct scout_hosts *all, struct scout_host *host, struct scout_attr *ret)
{
	bool has_own = false;

	if (host) {
		scout_lock(&host->lock);
		has_own = host->has_own;
		*ret = host->own;
		scout_unlock(&host->lock);
	}
	if (!has_own)
		scout_table_attr(all, ret);
}

void scout_root_changed(struct scout_host *host, struct scout_attr *attr)
{
	if (!S_ISDIR(attr->mode)) { /* no mode was told */
		attr->mode = S_IFDIR | 0755;
		attr->nlink = 2;
	}
	scout_lock(&host->lock);
	host->has_own = true;
	host->own = *attr;
	scout_unlock(&host->lock);
}

void scout_root_named(struct scout_host *host, const char *remote)
{
	size_t len = strlen(host->config->root);

	while (len && host->config->root[len - 1] == '/')
		len--;
	if (strrchr(remote, '/') != remote + len)
		return;
	scout_lock(&host->lock);
	host->own.mtime = (struct timespec){.tv_sec = time(NULL)};
	scout_unlock(&host->lock);
}

static bool is_shown(struct scout_host *host)
{
	bool shown;

	scout_lock(&host->lock);
	shown = !host->retired && (!host->dynamic || host->reached);
	scout_unlock(&host->lock);
	return shown;
}

static int add(struct root *r, struct scout_host *host)
{
	if (r->count == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 64;
		struct scout_dirent *grown = reallocarray(r->entries, cap, sizeof *grown);

		if (!grown)
			return -ENOMEM;
		r->entries = grown;
		r->cap = cap;
	}
	r->entries[r->count].name = strdup(host->config->name);
	if (!r->entries[r->count].name)
		return -ENOMEM;
	scout_root_attr(host->all, host, &r->entries[r->count++].attr);
	return 0;
}

static void free_name(struct scout_dirent *entry)
{
	free((char *)(uintptr_t)entry->name);
}

static int by_name(const void *a, const void *b)
{
	const struct scout_dirent *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* By name, each once: a host that was exchanged meanwhile may have been met twice. */
static void sort(struct root *r)
{
	size_t kept = 0;

	if (r->count)
		qsort(r->entries, r->count, sizeof *r->entries, by_name);
	for (size_t i = 0; i < r->count; i++) {
		if (kept && by_name(&r->entries[kept - 1], &r->entries[i]) == 0)
			free_name(&r->entries[i]);
		else
			r->entries[kept++] = r->entries[i];
	}
	r->count = kept;
}

void scout_root_open(struct scout_hosts *all, struct scout_req *req)
{
	struct scout_result res = {0};
	struct root *r = calloc(1, sizeof *r);
	struct scout_host *host = NULL;
	int err = r ? 0 : -ENOMEM;

	if (r)
		r->kind = SCOUT_DIR_ROOT;
	while (r && (host = scout_table_next(all, host)))
		if (!err && is_shown(host))
			err = add(r, host);
	if (err) {
		scout_root_release(r);
		scout_req_done(req, err, NULL);
		return;
	}
	sort(r);
	res.open.handle = r;
	scout_req_done(req, 0, &res);
}

void scout_root_read(void *handle, uint64_t index, struct scout_req *req)
{
	const struct root *r = handle;
	struct scout_result res = {.ttl_ms = SCOUT_ROOT_TTL_MS};

	if (index < r->count) {
		res.dir.entries = r->entries + index;
		res.dir.count = r->count - (size_t)index;
	}
	scout_req_done(req, 0, &res);
}

void scout_root_release(void *handle)
{
	struct root *r = handle;

	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		free_name(&r->entries[i]);
	free(r->entries);
	free(r);
}
