/* scoutfs.ini, -o section.key=value and the Host lines of ssh_config, as one checked struct.
 * Immutable once loaded. */
#ifndef SCOUTFS_CONFIG_H
#define SCOUTFS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "scoutfs/log.h"
#include "scoutfs/text.h"

enum scout_host_key_check { SCOUT_KEYS_STRICT, SCOUT_KEYS_ACCEPT_NEW, SCOUT_KEYS_OFF };

/* Whose files are whose: as the server numbers them; the mounting user for the remote user and back; by
 * files of "name:id" lines, a local name and a remote number. */
enum scout_idmap { SCOUT_IDMAP_NONE, SCOUT_IDMAP_USER, SCOUT_IDMAP_FILE };

/* The lines of a uidfile or gidfile. Immutable and shared. */
struct scout_id_map;

/* One host: its own section over [hosts] over the defaults. Strings that ssh_config may say too are
 * NULL when the ini does not say them. */
struct scout_host_config {
	char *name;          /* the directory under /hosts */
	char *alias;         /* what ssh_config knows it by, if that is not its name, or NULL */
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
	bool read_only;
	enum scout_idmap idmap;
	char *uidfile, *gidfile;          /* of SCOUT_IDMAP_FILE, or NULL */
	struct scout_id_map *uids, *gids; /* what they say; NULL: nothing */
	bool match_exec;                  /* ssh_config's "Match exec" may run its commands */

	/* Which of the keys that ssh_config may say too the ini said: connect_timeout, keepalive,
	 * known_hosts, host_key_check. Where it did not, ssh_config's word counts. */
#define SCOUT_SAID_CONNECT_TIMEOUT 1u
#define SCOUT_SAID_KEEPALIVE 2u
#define SCOUT_SAID_KNOWN_HOSTS 4u
#define SCOUT_SAID_HOST_KEY_CHECK 8u
	unsigned said;

	bool in_ini, in_ssh_config; /* where the name comes from; neither: asked for on demand */
};

struct scout_models_config {
	char *endpoint;                /* "http[s]://host[:port]" without a path, never NULL */
	char *region;                  /* never NULL */
	bool aws_endpoint, aws_region; /* the ini does not say it: AWS's variables or profile do */
	char *bucket;    /* or an access point's ARN (scoutfs/arn.h); NULL: no /models */
	char *prefix;    /* "" or with a slash at the end */
	bool path_style; /* of a bucket; an access point has none */
	bool dual_stack, requester_pays, anonymous;
	char *access_key_id; /* from the ini; NULL: AWS's chain */
	char *secret_access_key;
	char *session_token;
	char *profile; /* or NULL */
	unsigned max_connections;
	size_t connection_bytes; /* of memory, not a key: what libcurl receives on each of them */
	size_t part_size;
	size_t read_window; /* of a sequential reader; memory may allow less */
	uint64_t list_ttl_ns;
	size_t list_max_keys;
	bool versions;       /* older ones are shown */
	bool verify;         /* what is read whole, against its checksum */
	char *cache_dir;     /* where objects are kept on disk; NULL: nowhere */
	uint64_t cache_size; /* how much of them */
	uint64_t timeout_ns;
	unsigned max_attempts;
	bool unzip;            /* archives are folders, too */
	size_t inflated_bytes; /* of memory, not a key: what open deflated members keep */
	bool workload;         /* .scoutfs/workload is there */
	bool read_only;
	bool overwrite, delete;          /* when not read_only: objects that are there */
	uint64_t abort_uploads_after_ns; /* uploads that were never ended; 0: never */
};

struct scout_config {
	unsigned workers;
	size_t memory;
	enum scout_log_level log_level;
	char *log_file; /* or NULL */
	bool allow_other;

	unsigned max_sessions;
	unsigned max_connecting;
	bool dynamic;        /* hosts that are not in the list may be asked for */
	char *allow, *block; /* globs over ssh_config's names, comma-separated */
	char *match_exec_at; /* "FILE:LINE" of the first "Match exec" that may not run, or NULL */
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
/* As scout_config_load, for who is mounted with running: does not look at cache_dir, which only a mount takes over and
 * whose disk may hang; nor at AWS's variables and profile, which still say what they said. */
int scout_config_reload(const char *path, const char *const *overrides, size_t noverrides,
			const struct scout_config *running, FILE *errors,
			struct scout_config **ret);
void scout_config_free(struct scout_config *c);

/* What of memory is left for file bytes: connections to S3 and open members of archives have theirs. */
size_t scout_config_buffer_bytes(const struct scout_config *c);

/* The effective config as an ini (secrets as "****") and a comment line for each host: what --check
 * prints. */
void scout_config_print(const struct scout_config *c, FILE *out);

/* The host called name (len bytes), or NULL. */
const struct scout_host_config *scout_config_host(const struct scout_config *c, const char *name,
						  size_t len);

/* Appends the keys of a section ("scoutfs", "models") in which a and b differ, separated by commas. */
void scout_config_differences(const struct scout_config *a, const struct scout_config *b,
			      const char *section, struct scout_text *out);

/* A copy that outlives the config; scout_host_config_free takes NULL. Returns 0 or -ENOMEM. */
int scout_host_config_copy(const struct scout_host_config *host, struct scout_host_config **ret);
void scout_host_config_free(struct scout_host_config *host);
/* Whether both say the same in every field. */
bool scout_host_config_equal(const struct scout_host_config *a, const struct scout_host_config *b);
/* NULL is fine for all: it maps nothing. */
struct scout_id_map *scout_id_map_ref(struct scout_id_map *m);
void scout_id_map_unref(struct scout_id_map *m);
bool scout_id_map_equal(const struct scout_id_map *a, const struct scout_id_map *b);
/* The number on the other side; what is not in the map stays as it is. */
uint32_t scout_id_map_remote(const struct scout_id_map *m, uint32_t local);
uint32_t scout_id_map_local(const struct scout_id_map *m, uint32_t remote);

/* What [hosts] says for a name asked for on demand: "[user@]host[:port]", the host an address (IPv6 in
 * brackets) or a name. Returns 0; -ENOENT: dynamic is off, block forbids it, or it is no such name;
 * -ENOMEM. */
int scout_config_dynamic_host(const struct scout_config *c, const char *name, size_t len,
			      struct scout_host_config **ret);

#endif
