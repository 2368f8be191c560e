/* AWS's variables as they were when we started: other threads renew credentials later, and getenv(3) is
 * for a program's only thread. */
#ifndef SCOUTFS_AWS_ENV_H
#define SCOUTFS_AWS_ENV_H

enum scout_aws_variable {
	SCOUT_AWS_ACCESS_KEY_ID,
	SCOUT_AWS_SECRET_ACCESS_KEY,
	SCOUT_AWS_SESSION_TOKEN,
	SCOUT_AWS_PROFILE,
	SCOUT_AWS_REGION,
	SCOUT_AWS_DEFAULT_REGION,
	SCOUT_AWS_ROLE_ARN,
	SCOUT_AWS_ROLE_SESSION_NAME,
	SCOUT_AWS_WEB_IDENTITY_TOKEN_FILE,
	SCOUT_AWS_CONTAINER_RELATIVE_URI,
	SCOUT_AWS_CONTAINER_FULL_URI,
	SCOUT_AWS_CONTAINER_TOKEN,
	SCOUT_AWS_CONTAINER_TOKEN_FILE,
	SCOUT_AWS_METADATA_ENDPOINT,
	SCOUT_AWS_METADATA_ENDPOINT_MODE,
	SCOUT_AWS_METADATA_DISABLED,
	SCOUT_AWS_IGNORE_ENDPOINT_URLS,
	SCOUT_AWS_ENDPOINT_URL,
	SCOUT_AWS_ENDPOINT_URL_S3,
	SCOUT_AWS_ENDPOINT_URL_STS,
	SCOUT_AWS_STS_REGIONAL_ENDPOINTS,
	SCOUT_AWS_CA_BUNDLE,
	SCOUT_AWS_VARIABLES
};

struct scout_aws_env {
	char *value[SCOUT_AWS_VARIABLES]; /* NULL: not set, or empty */
	char *credentials_path;           /* AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials */
	char *config_path;                /* AWS_CONFIG_FILE, ~/.aws/config */
};

const char *scout_aws_variable_name(enum scout_aws_variable variable);
/* Call it while one thread runs. Returns 0 or -ENOMEM. */
int scout_aws_env_read(struct scout_aws_env *ret);
/* Wipes what it held; zeroed is fine. */
void scout_aws_env_free(struct scout_aws_env *env);

#endif
