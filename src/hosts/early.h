/* Small files of a far host, read before they are opened: whoever goes through a folder opens each for a round
 * trip, and would read it for another. */
#ifndef SCOUTFS_HOSTS_EARLY_H
#define SCOUTFS_HOSTS_EARLY_H

#include "hosts/hosts.h"

/* Reads path's file, of which a listing told attr, unless it is there or too large, or there is no room. No
 * lock held. */
void scout_early_fetch(struct scout_host *host, const char *path, const struct scout_attr *attr);
/* path was opened, and the server says that it is as attr says: its bytes, attr->size of them, in a buffer of
 * the host's share that is the caller's. NULL: they are not here. No lock held. */
void *scout_early_take(struct scout_host *host, const char *path, const struct scout_attr *attr);
/* Gives one buffer back. arg: the hosts. */
bool scout_early_reclaim(void *arg);
/* The host is about to be freed: its share is still there. */
void scout_early_forget(struct scout_host *host);

#endif
