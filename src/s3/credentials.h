/* Who signs: AWS's chain of credentials, and the thread that renews them before they expire. Finding out
 * whom to ask reads files only; whatever must be asked over a network or of a command is asked by that
 * thread, so that neither a mount nor a request's thread waits for it. */
#ifndef SCOUTFS_S3_CREDENTIALS_H
#define SCOUTFS_S3_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/snapshot.h"
#include "scoutfs/s3.h"

struct scout_models_config;
struct scout_s3_chain;

/* The ini's keys, else the ini's profile, else AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and
 * AWS_SESSION_TOKEN), else the profile AWS_PROFILE or "default" (its role, AWS_WEB_IDENTITY_TOKEN_FILE's or
 * its own web identity, its keys, its credential_process), else a container's endpoint, else the instance's
 * metadata, else anonymous. Borrows config. Reads the environment: call it while one thread runs. The
 * renewing thread is started only for what may expire or change; it calls changed(arg), no lock held, when there is
 * something to sign with or to fail by, first or again.
 * Returns 0; -EINVAL when there can never be credentials (a named profile that does not exist, half a key
 * pair, SSO, a circle of profiles), -errno when a file cannot be read, -ENOMEM; all logged. */
int scout_s3_chain_new(const struct scout_models_config *config, void (*changed)(void *arg),
		       void *arg, struct scout_s3_chain **ret);
/* Ends the thread, soon also while it waits for an answer. */
void scout_s3_chain_stop(struct scout_s3_chain *chain);
void scout_s3_chain_free(struct scout_s3_chain *chain); /* stopped; NULL is fine */

/* Whether the first answer is still awaited. Any thread. */
bool scout_s3_chain_is_pending(struct scout_s3_chain *chain);
/* What to sign with now, to be put back; NULL: nothing (any more), and reason says why. Never waits. Any
 * thread. */
struct scout_s3_credentials *scout_s3_credentials_get(struct scout_s3_chain *chain,
						      char reason[SCOUT_S3_REASON_MAX]);
/* The server refuses the token of the credentials with this id, though they should still hold. True: there
 * are others, or will be, or none: all who sign wait until it is known which (chain_is_pending), and may then
 * try again. Has them renewed at once, but not within seconds of the last time. Never waits. Any thread. */
bool scout_s3_chain_refused(struct scout_s3_chain *chain, uint64_t id);

/* Any thread. */
void scout_s3_chain_stats(struct scout_s3_chain *chain, struct scout_s3_signer_stats *ret);

#endif
