/* Small files of a far host, read before they are opened: whoever goes through a folder opens each for a round
 * trip, and would read it for another. */
#ifndef SCOUTFS_HOSTS_EARLY_H
#define SCOUTFS_HOSTS_EARLY_H

#include "hosts/hosts.h"

#define SCOUT_EARLY_KEPT_NS (10 * SCOUT_NS_PER_S)

/* For how long such a file is good for anything: attr_timeout, or KEPT. */
uint64_t scout_early_kept_ns(const struct scout_host *host);
/* Reads path's file, of which a listing told attr, unless it is there or too large, or there is no room. No
 * lock held. */
void scout_early_fetch(struct scout_host *host, const char *path, const struct scout_attr *attr);
/* path was opened, and the server says that it is as attr says: its bytes, attr->size of them, in a buffer of
 * the host's share that is the caller's. NULL: they are not here. No lock held. */
void *scout_early_take(struct scout_host *host, const char *path, const struct scout_attr *attr);
/* Gives one buffer back. arg: the hosts. */
bool scout_early_reclaim(void *arg);
/* Gives back what is of no use any more; next_ns is lowered to when more will be. The pool's thread, no lock held. */
void scout_early_expire(struct scout_host *host, uint64_t now_ns, uint64_t *next_ns);
/* The host was retired, or is about to be freed: gives all back, and none come any more. No lock held: who waits for
 * a buffer gets it. */
void scout_early_forget(struct scout_host *host);

#endif
