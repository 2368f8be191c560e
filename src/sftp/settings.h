/* How to reach one host: the ini's words over ssh_config's over the defaults. ssh_config is read by
 * OpenSSH's own client (`ssh -G`), so that Host, Match, Include and tokens mean what the user's ssh
 * means by them. */
#ifndef SCOUTFS_SFTP_SETTINGS_H
#define SCOUTFS_SFTP_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scoutfs/child.h"
#include "scoutfs/config.h"

#define SCOUT_IDENTITIES_MAX 16

/* A list of paths that owns them. */
struct scout_paths {
	char *path[SCOUT_IDENTITIES_MAX];
	size_t count;
};

struct scout_settings {
	char *hostname;
	char *user;
	unsigned port;
	char *proxy_jump;     /* [user@]host[:port],… or NULL */
	char *proxy_command;  /* for /bin/sh, tokens expanded, or NULL */
	char *agent;          /* path of the agent's socket, or NULL */
	char *host_key_alias; /* what known_hosts calls the host, or NULL */

	/* Keys that were asked for by name, or else those that ssh tries by default. */
	struct scout_paths identities;
	bool identities_named;
	bool identities_only; /* of the agent's keys only those */
	struct scout_paths certificates;

	/* The user's come first, and new keys go to the first of them. */
	struct scout_paths known_hosts;
	size_t user_known_hosts;
	enum scout_host_key_check host_key_check;
	bool hash_known_hosts;
	char *revoked_host_keys; /* or NULL */

	uint64_t connect_timeout_ns;
	uint64_t keepalive_ns; /* 0: off */
	uint64_t silence_ns;   /* how long a question may have no answer */

	/* Lists of algorithms that ssh_config asks for, else NULL. */
	char *ciphers, *kex, *macs, *host_key_algorithms, *key_algorithms;
	int family;                          /* AF_UNSPEC, AF_INET, AF_INET6 */
	char *bind_address, *bind_interface; /* or NULL */
	bool compression;
	uint64_t rekey_bytes;   /* 0: libssh's choice */
	unsigned rekey_seconds; /* 0: likewise */
};

void scout_settings_free(struct scout_settings *t);

/* The arguments of `ssh -G`. */
void scout_settings_query(const struct scout_host_config *host, struct scout_args *args);
/* The same without any ssh_config: what ssh does by default. */
void scout_settings_query_defaults(struct scout_args *args);
/* The shell by which ssh runs the commands of "Match exec": one that refuses, unless they are allowed. */
const char *scout_settings_shell(const struct scout_host_config *host);

#define SCOUT_ANSWER_MAX (128 * 1024) /* bytes that ssh -G prints at most */
#define SCOUT_ANSWER_GRACE_MS 200     /* for a command to end that has printed all */

/* What the command of args prints, which the caller frees, with shell as its $SHELL; NULL: it failed, or was not done by
 * the deadline. query.c */
char *scout_settings_ask(struct scout_args *args, const char *shell, uint64_t deadline_ns);

/* Fills *t from the ini and answer, the text that ssh -G printed (NULL: no ssh_config); what defaults,
 * its text without an ssh_config, has too counts as not said. 0, -ENOMEM, -EINVAL: the answer names no
 * host, or a name that a command line would take for an option. */
int scout_settings_load(const struct scout_host_config *host, const char *answer,
			const char *defaults, struct scout_settings *t);

#endif
