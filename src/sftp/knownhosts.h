/* The keys that known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") hold for one host. */
#ifndef SCOUTFS_SFTP_KNOWNHOSTS_H
#define SCOUTFS_SFTP_KNOWNHOSTS_H

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>

#define SCOUT_KNOWN_KEYS_MAX 256

struct scout_known_keys {
	struct scout_known_key {
		ssh_key key;
		bool revoked;
		const char *file; /* borrowed from who read it */
		unsigned line;
	} keys[SCOUT_KNOWN_KEYS_MAX];
	size_t count;
	bool lost_revoked; /* there was no room for one: no key can be believed */
	/* the first line that would believe a certificate of this host, which libssh cannot check */
	const char *authority_file; /* or NULL */
	unsigned authority_line;
};

enum scout_known {
	SCOUT_KNOWN_SAME,    /* it is one of them */
	SCOUT_KNOWN_NONE,    /* there are none */
	SCOUT_KNOWN_OTHER,   /* there are others */
	SCOUT_KNOWN_REVOKED, /* it is one that must not be used */
};

/* Adds those of the file at path (a missing one has none; lines that make no sense are passed over)
 * for host: "name", or "[name]:port" where the port is not 22. path is borrowed until the free. */
void scout_known_keys_read(struct scout_known_keys *k, const char *path, const char *host);
/* Adds the keys of a file of RevokedHostKeys (ssh_config(5)): public keys, one a line. 0, -errno of opening
 * it, -EINVAL: it is a key revocation list in OpenSSH's own format. */
int scout_known_keys_read_revoked(struct scout_known_keys *k, const char *path);
void scout_known_keys_free(struct scout_known_keys *k);

/* What they say of key; *where is the one that says it (NULL for NONE). */
enum scout_known scout_known_keys_look(const struct scout_known_keys *k, ssh_key key,
				       const struct scout_known_key **where);

/* The host key algorithms to offer: those of allowed (NULL: all that we know), those of known keys
 * first, so that a server with keys of several types shows one that can be checked; buf of 512 bytes,
 * "" when none is left. */
const char *scout_known_keys_algorithms(const struct scout_known_keys *k, const char *allowed,
					char buf[512]);

#endif
