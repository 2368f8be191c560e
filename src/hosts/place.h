/* From a path of the mount to the host and the path there (backend.c), and what is done with a path
 * alone: the operations of scout_backend_ops that need no handle. */
#ifndef SCOUTFS_HOSTS_PLACE_H
#define SCOUTFS_HOSTS_PLACE_H

#include "hosts/hosts.h"

struct scout_place {
	struct scout_host *host; /* with a reference; NULL: the root, or a name that is no host's */
	const char *inside; /* path relative to the host's directory, "" for that itself; in path */
	char *remote;       /* the host's own path */
};

/* Returns 0, or -ENOENT (below a name that is no host's), -ENAMETOOLONG, -ENOMEM, -ENFILE; then there is
 * nothing to drop. */
int scout_place_of(struct scout_hosts *all, const char *path, struct scout_place *ret);
void scout_place_drop(struct scout_place *p);
/* Whether it is a file of a host, and nothing that the config says. */
static inline bool scout_place_is_remote(const struct scout_place *p)
{
	return p->host && *p->inside;
}

/* How long the kernel may believe what the host says. */
uint32_t scout_host_ttl_ms(const struct scout_host *host);
/* -EROFS when the config says that nothing may be written there, else 0. */
int scout_host_writable(const struct scout_host *host);

/* ask.c */
void scout_hosts_getattr(void *self, const char *path, void *handle, struct scout_req *req);
void scout_hosts_readlink(void *self, const char *path, struct scout_req *req);
void scout_hosts_access(void *self, const char *path, int mask, struct scout_req *req);

/* change.c, rename.c, setattr.c */
void scout_hosts_setattr(void *self, const char *path, void *handle,
			 const struct scout_setattr *change, struct scout_req *req);
void scout_hosts_mkdir(void *self, const char *path, mode_t mode, struct scout_req *req);
void scout_hosts_mknod(void *self, const char *path, mode_t mode, dev_t rdev,
		       struct scout_req *req);
void scout_hosts_symlink(void *self, const char *target, const char *path, struct scout_req *req);
void scout_hosts_link(void *self, const char *path, const char *newpath, struct scout_req *req);
void scout_hosts_unlink(void *self, const char *path, struct scout_req *req);
void scout_hosts_rmdir(void *self, const char *path, struct scout_req *req);
void scout_hosts_rename(void *self, const char *path, const char *newpath, unsigned flags,
			struct scout_req *req);

/* space.c */
void scout_hosts_statfs(void *self, const char *path, struct scout_req *req);

#endif
