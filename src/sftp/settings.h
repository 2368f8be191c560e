/* How to reach one host: the ini's words over ssh_config's over the defaults. ssh_config is read by
 * OpenSSH's own client (`ssh -G`), so that Host, Match, Include and tokens mean what the user's ssh
 * means by them. */
#ifndef SCOUTFS_SFTP_SETTINGS_H
#define SCOUTFS_SFTP_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "scoutfs/config.h"
#include "sftp/child.h"

#define SCOUT_IDENTITIES_MAX 16

struct scout_settings {
	char *hostname;
	char *user;
	unsigned port;
	char *proxy_jump;     /* [user@]host[:port],… or NULL */
	char *proxy_command;  /* for /bin/sh, tokens expanded, or NULL */
	char *agent;          /* path of the agent's socket, or NULL */
	char *host_key_alias; /* what known_hosts calls the host, or NULL */
	char *ciphers;        /* those ssh_config allows, or NULL */
	char *identities[SCOUT_IDENTITIES_MAX];
	size_t identities_count;
	size_t explicit_count; /* so many of them, in front, were asked for by name */
};

void scout_settings_free(struct scout_settings *t);

/* The arguments of `ssh -G`. */
void scout_settings_query(const struct scout_host_config *host, struct scout_args *args);

/* Fills *t from the ini and answer, the text that ssh -G printed (NULL: no ssh_config). 0, -ENOMEM,
 * -EINVAL: the answer names no host, or a name that a command line would take for an option. */
int scout_settings_load(const struct scout_host_config *host, const char *answer,
			struct scout_settings *t);

/* The arguments of the ssh or shell that carries the connection, when a proxy is asked for (else
 * args stays empty). seconds: for its own connect. 0, -ENOMEM, -E2BIG, -EINVAL (not a jump host). */
int scout_settings_proxy(const struct scout_host_config *host, const struct scout_settings *t,
			 unsigned seconds, struct scout_args *args);

#endif
