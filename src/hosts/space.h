/* Questions after a host's free space that are under way. */
#ifndef SCOUTFS_HOSTS_SPACE_H
#define SCOUTFS_HOSTS_SPACE_H

#include "hosts/hosts.h"

/* Answers those that waited too long; next_ns is lowered to when the next one will have. The pool's
 * thread, no lock held. */
void scout_space_expire(struct scout_host *host, uint64_t now_ns, uint64_t *next_ns);

#endif
