/* AWS's variables; see scoutfs/aws_env.h. Some hold secrets, so all are wiped. No lock: read once. */
#include "scoutfs/aws_env.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/value.h"
#include "scoutfs/file.h"
#include "scoutfs/text.h"

static const char *const names[SCOUT_AWS_VARIABLES] = {
    [SCOUT_AWS_ACCESS_KEY_ID] = "AWS_ACCESS_KEY_ID",
    [SCOUT_AWS_SECRET_ACCESS_KEY] = "AWS_SECRET_ACCESS_KEY",
    [SCOUT_AWS_SESSION_TOKEN] = "AWS_SESSION_TOKEN",
    [SCOUT_AWS_PROFILE] = "AWS_PROFILE",
    [SCOUT_AWS_REGION] = "AWS_REGION",
    [SCOUT_AWS_DEFAULT_REGION] = "AWS_DEFAULT_REGION",
    [SCOUT_AWS_ROLE_ARN] = "AWS_ROLE_ARN",
    [SCOUT_AWS_ROLE_SESSION_NAME] = "AWS_ROLE_SESSION_NAME",
    [SCOUT_AWS_WEB_IDENTITY_TOKEN_FILE] = "AWS_WEB_IDENTITY_TOKEN_FILE",
    [SCOUT_AWS_CONTAINER_RELATIVE_URI] = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    [SCOUT_AWS_CONTAINER_FULL_URI] = "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    [SCOUT_AWS_CONTAINER_TOKEN] = "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    [SCOUT_AWS_CONTAINER_TOKEN_FILE] = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    [SCOUT_AWS_METADATA_ENDPOINT] = "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    [SCOUT_AWS_METADATA_ENDPOINT_MODE] = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    [SCOUT_AWS_METADATA_DISABLED] = "AWS_EC2_METADATA_DISABLED",
    [SCOUT_AWS_IGNORE_ENDPOINT_URLS] = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    [SCOUT_AWS_ENDPOINT_URL] = "AWS_ENDPOINT_URL",
    [SCOUT_AWS_ENDPOINT_URL_S3] = "AWS_ENDPOINT_URL_S3",
    [SCOUT_AWS_ENDPOINT_URL_STS] = "AWS_ENDPOINT_URL_STS",
    [SCOUT_AWS_STS_REGIONAL_ENDPOINTS] = "AWS_STS_REGIONAL_ENDPOINTS",
    [SCOUT_AWS_CA_BUNDLE] = "AWS_CA_BUNDLE",
};

/* An empty variable counts as unset, as AWS's tools take it. */
static const char *get(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* The file that variable names, wherever we are when it is read; else ~/.aws/<name>. */
static char *aws_file(const char *variable, const char *name)
{
	const char *path = get(variable);
	char *home, *full = NULL;

	if (path && strncmp(path, "~/", 2) != 0)
		return scout_absolute_path(path);
	if (scout_home(&home))
		return NULL;
	if (asprintf(&full, "%s/%s%s", home, path ? path + 2 : ".aws/", path ? "" : name) < 0)
		full = NULL;
	free(home);
	return full;
}

const char *scout_aws_variable_name(enum scout_aws_variable variable)
{
	return names[variable];
}

int scout_aws_env_read(struct scout_aws_env *ret)
{
	struct scout_aws_env env = {0};
	bool ok = true;

	for (int i = 0; i < SCOUT_AWS_VARIABLES; i++) {
		const char *value = get(names[i]);

		env.value[i] = value ? strdup(value) : NULL;
		ok = ok && (!value || env.value[i]);
	}
	env.credentials_path = aws_file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	env.config_path = aws_file("AWS_CONFIG_FILE", "config");
	if (!ok || !env.credentials_path || !env.config_path) {
		scout_aws_env_free(&env);
		return -ENOMEM;
	}
	*ret = env;
	return 0;
}

void scout_aws_env_free(struct scout_aws_env *env)
{
	for (int i = 0; i < SCOUT_AWS_VARIABLES; i++)
		scout_wipe(env->value[i]);
	free(env->credentials_path);
	free(env->config_path);
	memset(env, 0, sizeof(*env));
}
