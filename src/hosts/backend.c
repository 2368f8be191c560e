/* /hosts as a backend: the table of operations, and the way from a path to its host. The root and
 * the hosts' own directories are answered from the config, without a connection; what lies below is
 * asked of the host. */
#include "scoutfs/backend.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hosts/dir.h"
#include "hosts/file.h"
#include "hosts/hosts.h"
#include "hosts/place.h"
#include "hosts/report.h"
#include "scoutfs/log.h"

#define GRACE_NS SCOUT_NS_PER_S /* so that the cause wins over the front's timeout */

static struct scout_host *host_of(struct scout_hosts *all, const char *path, const char **rest)
{
	size_t len = strcspn(path, "/");
	const struct scout_host_config *config = scout_config_host(all->config, path, len);

	if (!config)
		return NULL;
	*rest = path[len] ? path + len + 1 : path + len;
	return &all->hosts[config - all->config->hosts];
}

/* The remote path of rest in the host's tree, which the caller frees; NULL: no memory. */
static char *remote_path(const struct scout_host *host, const char *rest)
{
	const char *root = host->config->root;
	struct scout_text text = {0};

	scout_text_printf(&text, "%s%s%s", root, *rest && root[strlen(root) - 1] != '/' ? "/" : "",
			  rest);
	if (text.failed) {
		scout_text_free(&text);
		return NULL;
	}
	return scout_text_take(&text);
}

uint32_t scout_host_ttl_ms(const struct scout_host *host)
{
	uint64_t ms = host->config->attr_timeout_ns / SCOUT_NS_PER_MS;

	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

int scout_place_of(struct scout_hosts *all, const char *path, struct scout_place *ret)
{
	const char *inside = "";
	struct scout_host *host = *path ? host_of(all, path, &inside) : NULL;

	memset(ret, 0, sizeof *ret);
	ret->inside = inside;
	if (!host)
		return strchr(path, '/') ? -ENOENT : 0;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	ret->remote = remote_path(host, inside);
	if (!ret->remote)
		return -ENOMEM;
	ret->host = scout_host_ref(host);
	return 0;
}

void scout_place_drop(struct scout_place *p)
{
	free(p->remote);
	if (p->host)
		scout_host_unref(p->host);
}

int scout_host_writable(const struct scout_host *host)
{
	return host->config->read_only ? -EROFS : 0;
}

/* The host at path, unless path is answered here: then NULL, and req is done with err or attr. */
static struct scout_host *host_below(struct scout_hosts *all, const char *path, const char **rest,
				     int err, const struct scout_attr *attr, struct scout_req *req)
{
	struct scout_result res = {.ttl_ms = SCOUT_CONFIG_TTL_MS};
	struct scout_host *host = *path ? host_of(all, path, rest) : NULL;

	if (host && **rest && strlen(path) < PATH_MAX)
		return host;
	if (host && **rest)
		err = -ENAMETOOLONG;
	else if (*path && !host)
		err = -ENOENT;
	if (attr && !err)
		res.attr = *attr;
	scout_req_done(req, err, err && err != -ENOENT ? NULL : &res);
	return NULL;
}

static void hosts_open(void *self, const char *path, int flags, struct scout_req *req)
{
	const char *rest = "";
	struct scout_host *host = host_below(self, path, &rest, -EISDIR, NULL, req);
	char *remote;

	if (!host)
		return;
	remote = remote_path(host, rest);
	if (remote)
		scout_file_open(host, remote, flags, 0, req);
	else
		scout_req_done(req, -ENOMEM, NULL);
	free(remote);
}

static void hosts_read(void *self, void *handle, uint64_t offset, size_t size, uint64_t version,
		       struct scout_req *req)
{
	(void)self;
	scout_file_read(handle, offset, size, version, req);
}

static void hosts_release(void *self, void *handle)
{
	(void)self;
	scout_file_release(handle);
}

static void hosts_opendir(void *self, const char *path, struct scout_req *req)
{
	struct scout_hosts *all = self;
	struct scout_result res = {.open.handle = all};
	const char *rest = "";
	struct scout_host *host;
	char *remote;

	if (!*path) {
		scout_req_done(req, 0, &res); /* the root's handle is the backend */
		return;
	}
	host = host_of(all, path, &rest);
	if (!host || strlen(path) >= PATH_MAX) {
		scout_req_done(req, host ? -ENAMETOOLONG : -ENOENT, NULL);
		return;
	}
	remote = remote_path(host, rest);
	if (remote)
		scout_dir_open(host, remote, req);
	else
		scout_req_done(req, -ENOMEM, NULL);
	free(remote);
}

static void hosts_readdir(void *self, void *handle, uint64_t index, struct scout_req *req)
{
	struct scout_hosts *all = self;
	struct scout_result res = {.ttl_ms = SCOUT_CONFIG_TTL_MS};

	if (handle != all) {
		scout_dir_read(handle, index, req);
		return;
	}
	if (index < all->nhosts) {
		res.dir.entries = all->names + index;
		res.dir.count = all->nhosts - (size_t)index;
	}
	scout_req_done(req, 0, &res);
}

static void hosts_releasedir(void *self, void *handle)
{
	if (handle != self)
		scout_dir_release(handle);
}

static uint64_t hosts_timeout_ns(void *self, const char *path)
{
	struct scout_hosts *all = self;
	const char *rest = "";
	struct scout_host *host = host_of(all, path, &rest);

	if (!host)
		return GRACE_NS;
	return host->config->connect_timeout_ns + host->config->request_timeout_ns + GRACE_NS;
}

static void hosts_statfs(void *self, const char *path, struct scout_req *req)
{
	/* No space at all has df leave us out of its list. */
	struct scout_result res = {
	    .space = {.f_bsize = 128 * 1024, .f_frsize = 4096, .f_namemax = 255}};

	(void)self;
	(void)path;
	scout_req_done(req, 0, &res);
}

static void hosts_stop(void *self)
{
	scout_pool_stop(self);
}

static void hosts_free(void *self)
{
	struct scout_hosts *all = self;

	if (!all)
		return;
	scout_pool_stop(all);
	scout_budget_remove_reclaimer(all->budget, all);
	for (size_t i = 0; all->hosts && i < all->nhosts; i++)
		scout_host_destroy(&all->hosts[i]);
	scout_sftp_engine_free(all->engine);
	free(all->names);
	free(all->hosts);
	free(all);
}

static const struct scout_backend_ops hosts_ops = {
    .name = "hosts",
    .split = true,
    .timeout_ns = hosts_timeout_ns,
    .getattr = scout_hosts_getattr,
    .readlink = scout_hosts_readlink,
    .open = hosts_open,
    .read = hosts_read,
    .release = hosts_release,
    .opendir = hosts_opendir,
    .readdir = hosts_readdir,
    .releasedir = hosts_releasedir,
    .statfs = hosts_statfs,
    .access = scout_hosts_access,
    .status = scout_hosts_status,
    .metrics = scout_hosts_metrics,
    .detail = scout_hosts_detail,
    .detail_list = scout_hosts_detail_list,
    .stop = hosts_stop,
    .free = hosts_free,
};

static int init_hosts(struct scout_hosts *all)
{
	const struct scout_config *config = all->config;
	int err = 0;

	all->hosts = calloc(config->nhosts, sizeof *all->hosts);
	all->names = calloc(config->nhosts, sizeof *all->names);
	if (!all->hosts || !all->names)
		return -ENOMEM;
	all->nhosts = config->nhosts;
	all->dir_attr = (struct scout_attr){
	    .mode = S_IFDIR | 0755,
	    .nlink = 2,
	    .uid = getuid(),
	    .gid = getgid(),
	    .version = 1,
	};
	(void)clock_gettime(CLOCK_REALTIME, &all->dir_attr.mtime);
	all->dir_attr.atime = all->dir_attr.mtime;
	for (size_t i = 0; i < all->nhosts && !err; i++) {
		err = scout_host_init(&all->hosts[i], all, &config->hosts[i]);
		all->names[i].name = config->hosts[i].name;
		all->names[i].attr = all->dir_attr;
	}
	return err;
}

/* Once at every start, however many hosts it is. */
static void warn_of_unchecked_keys(const struct scout_config *config)
{
	const char *first = NULL;
	size_t count = 0;

	for (size_t i = 0; i < config->nhosts; i++) {
		if (config->hosts[i].host_key_check != SCOUT_KEYS_OFF)
			continue;
		if (!count++)
			first = config->hosts[i].name;
	}
	if (count)
		scout_warn("host_key_check is off for %zu host%s (%s%s): anybody on the way there "
			   "can pose as the host",
			   count, count == 1 ? "" : "s", first, count == 1 ? "" : ", ...");
}

int scout_hosts_new(const struct scout_env *env, struct scout_backend *ret)
{
	struct scout_hosts *all;
	int err;

	if (!env->config->nhosts)
		return -ENOENT;
	all = calloc(1, sizeof *all);
	if (!all)
		return -ENOMEM;
	all->config = env->config;
	all->budget = env->budget;
	scout_budget_add_reclaimer(all->budget, scout_chunk_reclaim, all);
	err = init_hosts(all);
	if (!err)
		err = scout_sftp_engine_new(&all->engine);
	if (!err)
		err = scout_pool_start(all);
	if (err) {
		scout_error("hosts: cannot start: %s", strerrordesc_np(-err));
		hosts_free(all);
		return err;
	}
	warn_of_unchecked_keys(all->config);
	ret->ops = &hosts_ops;
	ret->self = all;
	return 0;
}
