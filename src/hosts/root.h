/* The listing of /hosts. */
#ifndef SCOUTFS_HOSTS_ROOT_H
#define SCOUTFS_HOSTS_ROOT_H

#include "hosts/hosts.h"

/* How long the kernel believes /hosts and the hosts' own directories. */
#define SCOUT_ROOT_TTL_MS 1000u

/* Completes req with a handle: the names there are at the time, sorted. */
void scout_root_open(struct scout_hosts *all, struct scout_req *req);
void scout_root_read(void *handle, uint64_t index, struct scout_req *req);
void scout_root_release(void *handle); /* NULL is fine */

#endif
