/* /hosts as a backend: the table of operations, and the way from a path to its host. The root and
 * the hosts' own directories are answered from the config, without a connection; what lies below is
 * asked of the host. */
#include "scoutfs/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hosts/ahead.h"
#include "hosts/dir.h"
#include "hosts/early.h"
#include "hosts/file.h"
#include "hosts/hosts.h"
#include "hosts/place.h"
#include "hosts/report.h"
#include "hosts/root.h"
#include "scoutfs/log.h"

#define GRACE_NS SCOUT_NS_PER_S /* so that the cause wins over the front's timeout */

/* The host of path with a reference, and what follows its name in path. Returns 0 or as
 * scout_table_get. */
static int host_of(struct scout_hosts *all, const char *path, const char **rest,
		   struct scout_host **ret)
{
	size_t len = strcspn(path, "/");

	*rest = path[len] ? path + len + 1 : path + len;
	return scout_table_get(all, path, len, ret);
}

/* The remote path of rest in the host's tree, which the caller frees; NULL: no memory. */
static char *remote_path(const struct scout_host *host, const char *rest)
{
	const char *root = host->config->root;
	size_t len = strlen(root), more = strlen(rest);
	bool slash = more && root[len - 1] != '/';
	char *path = malloc(len + slash + more + 1);

	if (!path)
		return NULL;
	memcpy(path, root, len);
	path[len] = '/';
	memcpy(path + len + slash, rest, more + 1);
	return path;
}

uint32_t scout_host_ttl_ms(const struct scout_host *host)
{
	uint64_t ms = host->config->attr_timeout_ns / SCOUT_NS_PER_MS;

	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

int scout_place_of(struct scout_hosts *all, const char *path, struct scout_place *ret)
{
	struct scout_host *host;
	int err;

	memset(ret, 0, sizeof *ret);
	ret->inside = "";
	if (!*path)
		return 0;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	err = host_of(all, path, &ret->inside, &host);
	if (err)
		return err == -ENOENT && !strchr(path, '/') ? 0 : err;
	ret->remote = remote_path(host, ret->inside);
	if (!ret->remote) {
		scout_host_unref(host);
		return -ENOMEM;
	}
	ret->host = host;
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

/* The host at path, with a reference, unless path is answered here: then NULL, and req is done with
 * err, or with the attributes of the root and of the hosts' own directories. */
static struct scout_host *host_below(struct scout_hosts *all, const char *path, const char **rest,
				     int err, struct scout_req *req)
{
	struct scout_result res = {.ttl_ms = SCOUT_ROOT_TTL_MS};
	struct scout_host *host = NULL;
	int missing = 0;

	*rest = "";
	if (*path)
		missing = host_of(all, path, rest, &host);
	if (host && **rest && strlen(path) < PATH_MAX)
		return host;
	if (host && **rest)
		err = -ENAMETOOLONG;
	if (missing)
		err = missing;
	if (!err)
		scout_root_attr(all, host, &res.attr);
	if (host)
		scout_host_unref(host);
	scout_req_done(req, err, err && err != -ENOENT ? NULL : &res);
	return NULL;
}

/* err: for what is no file of a host. */
static void open_file(struct scout_hosts *all, const char *path, mode_t mode, int flags, int err,
		      struct scout_req *req)
{
	const char *rest;
	struct scout_host *host = host_below(all, path, &rest, err, req);
	char *remote;

	if (!host)
		return;
	remote = remote_path(host, rest);
	err = remote ? 0 : -ENOMEM;
	if (!err && ((flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC)))
		err = scout_host_writable(host);
	if (err)
		scout_req_done(req, err, NULL);
	else
		scout_file_open(host, remote, flags, mode, req);
	free(remote);
	scout_host_unref(host);
}

static void hosts_open(void *self, const char *path, int flags, struct scout_req *req)
{
	open_file(self, path, 0, flags & ~(O_CREAT | O_EXCL), -EISDIR, req);
}

static void hosts_create(void *self, const char *path, mode_t mode, int flags,
			 struct scout_req *req)
{
	open_file(self, path, mode, flags | O_CREAT, -EPERM, req);
}

static void hosts_read(void *self, void *handle, uint64_t offset, size_t size, uint64_t version,
		       struct scout_req *req)
{
	(void)self;
	scout_file_read(handle, offset, size, version, req);
}

static void hosts_write(void *self, void *handle, uint64_t offset, const void *data, size_t size,
			struct scout_req *req)
{
	(void)self;
	scout_file_write(handle, offset, data, size, req);
}

static void hosts_flush(void *self, void *handle, struct scout_req *req)
{
	(void)self;
	scout_file_flush(handle, req);
}

static void hosts_fsync(void *self, void *handle, struct scout_req *req)
{
	(void)self;
	scout_file_fsync(handle, req);
}

static void hosts_copy(void *self, void *from, uint64_t from_offset, void *to, uint64_t to_offset,
		       uint64_t length, struct scout_req *req)
{
	(void)self;
	scout_file_copy(from, from_offset, to, to_offset, length, req);
}

static void hosts_release(void *self, void *handle)
{
	(void)self;
	scout_file_release(handle);
}

static void hosts_opendir(void *self, const char *path, struct scout_req *req)
{
	struct scout_hosts *all = self;
	struct scout_host *host;
	const char *rest;
	char *remote;
	int err;

	if (!*path) {
		scout_root_open(all, req);
		return;
	}
	err = strlen(path) >= PATH_MAX ? -ENAMETOOLONG : host_of(all, path, &rest, &host);
	if (err) {
		scout_req_done(req, err, NULL);
		return;
	}
	remote = remote_path(host, rest);
	if (remote)
		scout_ahead_opendir(host, remote, req);
	else
		scout_req_done(req, -ENOMEM, NULL);
	free(remote);
	scout_host_unref(host);
}

static void hosts_readdir(void *self, void *handle, uint64_t index, struct scout_req *req)
{
	(void)self;
	if (*(enum scout_dir_kind *)handle == SCOUT_DIR_ROOT)
		scout_root_read(handle, index, req);
	else
		scout_dir_read(handle, index, req);
}

static void hosts_releasedir(void *self, void *handle)
{
	(void)self;
	if (*(enum scout_dir_kind *)handle == SCOUT_DIR_ROOT)
		scout_root_release(handle);
	else
		scout_dir_release(handle);
}

static uint64_t hosts_timeout_ns(void *self, const char *path)
{
	return scout_table_timeout_ns(self, path, strcspn(path, "/")) + GRACE_NS;
}

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

static void warn_of_refused_commands(const struct scout_config *config)
{
	if (config->match_exec_at)
		scout_warn("%s: the command of Match exec is not run and counts as failed; "
			   "match_exec = yes allows it",
			   config->match_exec_at);
}

static int hosts_retry(void *self, const char *entry)
{
	struct scout_hosts *all = self;
	struct scout_host *host = scout_table_find(all, entry, strlen(entry));

	if (!host)
		return -ENOENT;
	scout_host_retry(host);
	scout_host_unref(host);
	scout_pool_kick(&all->pool);
	return 0;
}

static void hosts_reload(void *self, const struct scout_config *config)
{
	struct scout_hosts *all = self;

	scout_table_reload(all, config);
	scout_pool_limit(&all->pool, config->max_sessions, config->max_connecting);
	warn_of_unchecked_keys(config);
	warn_of_refused_commands(config);
}

/* What nobody has opened yet goes first. */
static bool reclaim(void *arg)
{
	return scout_early_reclaim(arg) || scout_chunk_reclaim(arg);
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
	scout_table_free(all);
	scout_aheads_free(&all->aheads);
	scout_sftp_engine_free(all->engine);
	free(all);
}

static const struct scout_backend_ops hosts_ops = {
    .name = "hosts",
    .split = true,
    .timeout_ns = hosts_timeout_ns,
    .getattr = scout_hosts_getattr,
    .readlink = scout_hosts_readlink,
    .open = hosts_open,
    .create = hosts_create,
    .read = hosts_read,
    .write = hosts_write,
    .flush = hosts_flush,
    .fsync = hosts_fsync,
    .copy = hosts_copy,
    .release = hosts_release,
    .opendir = hosts_opendir,
    .readdir = hosts_readdir,
    .releasedir = hosts_releasedir,
    .statfs = scout_hosts_statfs,
    .access = scout_hosts_access,
    .setattr = scout_hosts_setattr,
    .mkdir = scout_hosts_mkdir,
    .mknod = scout_hosts_mknod,
    .symlink = scout_hosts_symlink,
    .link = scout_hosts_link,
    .unlink = scout_hosts_unlink,
    .rmdir = scout_hosts_rmdir,
    .rename = scout_hosts_rename,
    .status = scout_hosts_status,
    .metrics = scout_hosts_metrics,
    .detail = scout_hosts_detail,
    .detail_list = scout_hosts_detail_list,
    .retry = hosts_retry,
    .reload = hosts_reload,
    .stop = hosts_stop,
    .free = hosts_free,
};

int scout_hosts_new(const struct scout_env *env, struct scout_backend *ret)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct scout_hosts *all;
	int err;

	if (!env->config->nhosts && !env->config->dynamic)
		return -ENOENT;
	all = calloc(1, sizeof *all);
	if (!all)
		return -ENOMEM;
	all->budget = env->budget;
	all->cores = cores > 0 ? (unsigned)cores : 1;
	scout_aheads_init(&all->aheads);
	err = scout_table_init(all, env->config);
	scout_budget_add_reclaimer(all->budget, reclaim, all);
	if (!err)
		err = scout_sftp_engine_new(&all->engine);
	if (!err)
		err = scout_pool_start(all);
	if (err) {
		scout_error("hosts: cannot start: %s", strerrordesc_np(-err));
		hosts_free(all);
		return err;
	}
	scout_pool_limit(&all->pool, env->config->max_sessions, env->config->max_connecting);
	warn_of_unchecked_keys(env->config);
	warn_of_refused_commands(env->config);
	ret->ops = &hosts_ops;
	ret->self = all;
	return 0;
}

void scout_hosts_check(const struct scout_config *config, FILE *out)
{
	scout_sftp_check_config(config, out);
}
