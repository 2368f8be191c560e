/* Who signs: the keys of scoutfs.ini, of the environment, or of a profile, in AWS's order. */
#ifndef SCOUTFS_S3_CREDENTIALS_H
#define SCOUTFS_S3_CREDENTIALS_H

#include <stdbool.h>

struct scout_models_config;

/* Zeroed is anonymous. */
struct scout_s3_credentials {
	char *access_key_id; /* NULL: anonymous, nothing is signed */
	char *secret_access_key;
	char *session_token; /* or NULL */
	char *source;        /* for people: "scoutfs.ini", "environment", "profile ml" */
};

/* The ini's keys, else the ini's profile, else AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and
 * AWS_SESSION_TOKEN), else the profile AWS_PROFILE, else the profile "default" if it has keys, else
 * anonymous. A profile is looked for in AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials), then in
 * AWS_CONFIG_FILE (~/.aws/config). Blocks on these files; call it while one thread runs (getenv).
 * Returns 0; -ENOENT when a named profile does not exist or holds no keys, -EINVAL when half a key
 * pair is given, -errno when a file cannot be read, -ENOMEM; all logged. */
int scout_s3_credentials_load(const struct scout_models_config *config,
			      struct scout_s3_credentials *ret);
/* Wipes the secrets first. */
void scout_s3_credentials_free(struct scout_s3_credentials *c);

#endif
