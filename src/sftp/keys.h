/* Private keys from files. Those that a passphrase opened are kept, opened, for the next sessions: a
 * person is asked once. */
#ifndef SCOUTFS_SFTP_KEYS_H
#define SCOUTFS_SFTP_KEYS_H

#include <libssh/libssh.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <time.h>

struct scout_sftp;
struct scout_sftp_engine;

/* A key that has a passphrase; lives as long as the engine. */
struct scout_kept_key {
	TAILQ_ENTRY(scout_kept_key) link; /* under engine->lock, as all of it but these two */
	char *path;                       /* immutable */
	int answered_fd;                  /* immutable; readable while nobody is being asked */
	struct timespec changed;          /* the file's mtime when it was asked for */
	bool asking, asked;
	ssh_key key; /* NULL: the answer did not open it */
};
TAILQ_HEAD(scout_kept_keys, scout_kept_key);

/* The key of the file at path, which the caller frees. 0; -ENOKEY: it has a passphrase, which was not
 * given, or shall not be asked for (ask false); -EINVAL: it is no key that can be used;
 * -ETIMEDOUT, -ECANCELED. The session's thread only, while connecting. */
int scout_key_load(struct scout_sftp *s, const char *path, bool ask, ssh_key *ret);

void scout_keys_free(struct scout_sftp_engine *e);

#endif
