/* Attributes ahead of those who ask: over a distance, a folder whose files are looked at one by one is
 * listed once instead, since a listing carries the attributes of all. */
#ifndef SCOUTFS_HOSTS_AHEAD_H
#define SCOUTFS_HOSTS_AHEAD_H

#include "hosts/hosts.h"

/* What a listing of path's folder says of path (a remote one, absolute), and for how long that may still be
 * believed. False: the server has to be asked; that is noted, and may begin a listing. No lock held. */
bool scout_ahead_find(struct scout_host *host, const char *path, struct scout_attr *ret,
		      uint32_t *ttl_ms);
/* The server said just now what path is (NULL: not there): a listing that says something else is not believed
 * any more. */
void scout_ahead_saw(struct scout_host *host, const char *path, const struct scout_attr *attr);
/* The host is about to be freed. */
void scout_ahead_forget(struct scout_host *host);

void scout_aheads_init(struct scout_aheads *all);
/* Nobody lists any more. */
void scout_aheads_free(struct scout_aheads *all);

#endif
