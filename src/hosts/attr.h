/* The server's attributes as the kernel gets them. */
#ifndef SCOUTFS_HOSTS_ATTR_H
#define SCOUTFS_HOSTS_ATTR_H

#include "scoutfs/backend.h"
#include "scoutfs/sftp.h"

struct scout_host;

/* Pure. What the server did not say gets a default: a regular file, 0444, of no size, owned by root, from
 * 1970. A type we do not know becomes a regular file that nobody may open. */
void scout_attr_map(const struct scout_sftp_attrs *remote, struct scout_attr *ret);
/* And with the owner as the host's idmap has it: what goes out to the front. No lock needed. */
void scout_host_attr(struct scout_host *host, const struct scout_sftp_attrs *remote,
		     struct scout_attr *ret);
/* And the other way: what goes to the server for a local owner. */
uint32_t scout_host_uid(struct scout_host *host, uid_t uid);
uint32_t scout_host_gid(struct scout_host *host, gid_t gid);

#endif
