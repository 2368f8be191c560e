/* /hosts and the hosts' own directories: what is shown of them without asking anybody. */
#ifndef SCOUTFS_HOSTS_ROOT_H
#define SCOUTFS_HOSTS_ROOT_H

#include "hosts/hosts.h"

/* How long the kernel believes /hosts and the hosts' own directories. */
#define SCOUT_ROOT_TTL_MS 1000u

/* Attributes of host's directory, or of /hosts itself (NULL): what a change of ours made of the first, or
 * what the config knows. Takes host->lock. */
void scout_root_attr(struct scout_hosts *all, struct scout_host *host, struct scout_attr *ret);
/* A change made this of host's root; attr becomes what is shown of it. Takes host->lock. */
void scout_root_changed(struct scout_host *host, struct scout_attr *attr);

/* A name was made or taken away, or may have been, at remote: if that is right in host's root, its time is
 * now. Takes host->lock. */
void scout_root_named(struct scout_host *host, const char *remote);

/* Completes req with a handle: the names there are at the time, sorted. */
void scout_root_open(struct scout_hosts *all, struct scout_req *req);
void scout_root_read(void *handle, uint64_t index, struct scout_req *req);
void scout_root_release(void *handle); /* NULL is fine */

#endif
