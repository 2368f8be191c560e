/* scoutfs.ini, -o section.key=value and the Host lines of ssh_config, as one checked struct.
 * Immutable once loaded. */
#ifndef SCOUTFS_CONFIG_H
#define SCOUTFS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "scoutfs/log.h"

enum scout_host_key_check { SCOUT_KEYS_STRICT, SCOUT_KEYS_ACCEPT_NEW, SCOUT_KEYS_OFF };

/* One host: its own section over [hosts] over the defaults. Strings that ssh_config may say too are
 * NULL when the ini does not say them. */
struct scout_host_config {
	char *name;          /* the directory under /hosts */
	char *hostname;      /* or NULL */
	char *user;          /* or NULL */
	char *identity_file; /* or NULL */
	char *proxy_jump;    /* or NULL; "none" for none */
	char *root;          /* absolute, no slash at the end unless it is "/" */
	unsigned port;       /* 0: not said */

	char *ssh_config; /* or NULL: none is read */
	char *known_hosts;
	enum scout_host_key_check host_key_check;
	uint64_t connect_timeout_ns;
	uint64_t request_timeout_ns;
	uint64_t keepalive_ns; /* 0: off */
	uint64_t idle_timeout_ns;
	unsigned max_sessions_per_host;
	size_t read_window;
	uint64_t attr_timeout_ns;
	bool contain_symlinks;

	bool in_ini, in_ssh_config; /* where the name comes from */
};

struct scout_models_config {
	char *endpoint; /* "http[s]://host[:port]" without a path, never NULL */
	char *region;
	char *bucket; /* NULL: no /models */
	char *prefix; /* "" or with a slash at the end */
	bool path_style;
	char *access_key_id; /* from the ini; NULL: AWS's chain */
	char *secret_access_key;
	char *session_token;
	char *profile; /* or NULL */
	unsigned max_connections;
	size_t part_size;
	uint64_t list_ttl_ns;
	size_t list_max_keys;
	uint64_t timeout_ns;
	unsigned max_attempts;
};

struct scout_config {
	unsigned workers;
	size_t memory;
	enum scout_log_level log_level;
	char *log_file; /* or NULL */
	bool allow_other;

	unsigned max_sessions;
	unsigned max_connecting;
	char *allow, *block;               /* globs over ssh_config's names, comma-separated */
	struct scout_host_config defaults; /* what [hosts] says; its name is NULL */
	struct scout_host_config *hosts;   /* sorted by name (strcmp), no two alike */
	size_t nhosts;

	struct scout_models_config models;
};

/* path NULL: the first of $XDG_CONFIG_HOME/scoutfs/scoutfs.ini (~/.config/…), /etc/scoutfs.ini that
 * exists, else the defaults. overrides: noverrides strings "section.key=value", which win over the file.
 * Every error goes to errors as "scoutfs: FILE:LINE: what", all of them in one call. Returns 0, -EINVAL
 * when there was any, -ENOMEM, or -errno of opening path (told too). */
int scout_config_load(const char *path, const char *const *overrides, size_t noverrides,
		      FILE *errors, struct scout_config **ret);
void scout_config_free(struct scout_config *c);

/* The effective config as an ini (secrets as "****") and a comment line for each host: what --check
 * prints. */
void scout_config_print(const struct scout_config *c, FILE *out);

/* The host called name (len bytes), or NULL. */
const struct scout_host_config *scout_config_host(const struct scout_config *c, const char *name,
						  size_t len);

#endif
