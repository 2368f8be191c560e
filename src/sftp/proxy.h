/* Ways to a host that lead through others, or through a command. */
#ifndef SCOUTFS_SFTP_PROXY_H
#define SCOUTFS_SFTP_PROXY_H

#include "sftp/settings.h"

#define SCOUT_HOPS_MAX 8

/* One of [user@]host[:port]. */
struct scout_hop {
	char *text;               /* which the others are parts of */
	char *user, *host, *port; /* user and port may be NULL */
	char *answer;             /* what ssh -G says of it; NULL: no ssh_config */
};

/* In the order of the way; zeroed is none. */
struct scout_hops {
	struct scout_hop hop[SCOUT_HOPS_MAX];
	size_t count;
};

void scout_hops_free(struct scout_hops *h);
/* Puts those of list ("a,b") in front. 0, -ENOMEM, -EINVAL: not such a list, or too long a way. */
int scout_hops_prepend(struct scout_hops *h, const char *list);
/* The arguments of `ssh -G` for a hop. */
void scout_hop_query(const struct scout_host_config *host, const struct scout_hop *hop,
		     struct scout_args *args);

/* The arguments of the ssh or shell that carries the connection, when a proxy is asked for (else
 * args stays empty). seconds: for its own connect; defaults: as in scout_settings_load(). 0, -ENOMEM,
 * -E2BIG. */
int scout_settings_proxy(const struct scout_host_config *host, const struct scout_settings *t,
			 const struct scout_hops *hops, const char *defaults, unsigned seconds,
			 struct scout_args *args);

#endif
