/* One profile of AWS's credentials and config files ("Configuration and credential file settings" of
 * the AWS SDKs and Tools Reference Guide). */
#ifndef SCOUTFS_AWS_PROFILE_H
#define SCOUTFS_AWS_PROFILE_H

#include <stdbool.h>

enum scout_profile_setting {
	SCOUT_PROFILE_ACCESS_KEY_ID,
	SCOUT_PROFILE_SECRET_ACCESS_KEY,
	SCOUT_PROFILE_SESSION_TOKEN,
	SCOUT_PROFILE_ROLE_ARN,
	SCOUT_PROFILE_SOURCE_PROFILE,
	SCOUT_PROFILE_CREDENTIAL_SOURCE,
	SCOUT_PROFILE_EXTERNAL_ID,
	SCOUT_PROFILE_ROLE_SESSION_NAME,
	SCOUT_PROFILE_DURATION_SECONDS,
	SCOUT_PROFILE_WEB_IDENTITY_TOKEN_FILE,
	SCOUT_PROFILE_MFA_SERIAL,
	SCOUT_PROFILE_CREDENTIAL_PROCESS,
	SCOUT_PROFILE_REGION,
	SCOUT_PROFILE_STS_REGIONAL_ENDPOINTS,
	SCOUT_PROFILE_IGNORE_ENDPOINT_URLS,
	SCOUT_PROFILE_ENDPOINT_URL,
	SCOUT_PROFILE_SERVICES,
	SCOUT_PROFILE_ENDPOINT_URL_S3, /* of its services, as the next */
	SCOUT_PROFILE_ENDPOINT_URL_STS,
	SCOUT_PROFILE_SSO_ACCOUNT_ID,
	SCOUT_PROFILE_SSO_ROLE_NAME,
	SCOUT_PROFILE_SSO, /* any sso_ setting, these included */
	SCOUT_PROFILE_LOGIN_SESSION,
	SCOUT_PROFILE_SETTINGS
};

/* Zeroed is empty. */
struct scout_profile {
	bool found;    /* in either file */
	bool own_keys; /* the credentials file has keys, and not the config file */
	char *value[SCOUT_PROFILE_SETTINGS]; /* NULL: not there, or empty */
};

/* Reads the section called name of the credentials file, and "profile name" (or "default") of the config
 * file, over which the first wins; a pair of keys is never made of both. Then the config file's section
 * "services x" that the profile names. A file that is not there is empty. Returns 0, or -errno and which
 * file it was in *path. *ret must be freed in any case. */
int scout_profile_read(const char *credentials_path, const char *config_path, const char *name,
		       struct scout_profile *ret, const char **path);
/* Wipes what it held. */
void scout_profile_free(struct scout_profile *p);

#endif
