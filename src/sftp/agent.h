/* The user's authentication agent (draft-miller-ssh-agent), between which and libssh we stand: libssh
 * 0.10 would offer all of its keys in its order, and knows no certificates of them. */
#ifndef SCOUTFS_SFTP_AGENT_H
#define SCOUTFS_SFTP_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCOUT_AGENT_KEYS_MAX 128

struct scout_sftp;
struct scout_agent;

/* A public key or certificate as it goes over the wire (RFC 4253, section 6.6). */
struct scout_blob {
	uint8_t *bytes;
	size_t len;
};

/* What libssh is shown, and the agent's key that signs for it. Borrowed. */
struct scout_offer {
	const struct scout_blob *shown, *signs;
};

bool scout_blob_equal(const struct scout_blob *a, const struct scout_blob *b);
/* Whether cert is a certificate of the key (PROTOCOL.certkeys: its type, a nonce, then what the key has
 * after its own type). */
bool scout_blob_certifies(const struct scout_blob *cert, const struct scout_blob *key);

/* Connects to the agent at path, lists its keys in bounded time, and stands between it and the
 * session's libssh from then on. 0 or -errno; the session's thread only, as all of these. */
int scout_agent_open(struct scout_sftp *s, const char *path, struct scout_agent **ret);
size_t scout_agent_count(const struct scout_agent *a);
const struct scout_blob *scout_agent_key(const struct scout_agent *a, size_t i);
/* What ssh_userauth_agent() finds from now on; offers and blobs are borrowed until the next. */
void scout_agent_offer(struct scout_agent *a, const struct scout_offer *offers, size_t count);
/* How many of the offers are done with because the agent did not want to sign for the last of them: it
 * asked a person, or the key is not plugged in. 0: it signed all it was asked for. */
size_t scout_agent_refused(struct scout_agent *a);
void scout_agent_close(struct scout_sftp *s, struct scout_agent *a); /* NULL is fine */

#endif
