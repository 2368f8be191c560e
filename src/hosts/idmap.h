/* Whom we log in as on a host, for the mapping of owners (attr.h) and for people. */
#ifndef SCOUTFS_HOSTS_IDMAP_H
#define SCOUTFS_HOSTS_IDMAP_H

#include "hosts/hosts.h"

void scout_idmap_init(struct scout_host *host);
/* A session came up. Under host->lock. */
void scout_idmap_logged_in_locked(struct scout_host *host, const struct scout_sftp_server *server);
/* And asks for the names, once, if the server has a word for that. No lock held, does not wait. */
void scout_idmap_ask_names(struct scout_host *host);
/* The line of .scoutfs/hosts/NAME, once it is known. Does not wait. */
void scout_idmap_detail(struct scout_host *host, struct scout_text *out);

#endif
