/* The credential chain; see credentials.h. Secrets are never logged, and wiped when freed. */
#include "s3/credentials.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "s3/profile.h"
#include "scoutfs/config.h"
#include "scoutfs/log.h"

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void scout_s3_credentials_free(struct scout_s3_credentials *c)
{
	wipe(c->access_key_id);
	wipe(c->secret_access_key);
	wipe(c->session_token);
	free(c->source);
	memset(c, 0, sizeof(*c));
}

/* An empty variable counts as unset, as AWS's tools take it. */
static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* Takes what one source gave into c, and says where it came from. -EINVAL: half a pair. */
static int take(struct scout_s3_credentials *c, const char *id, const char *secret,
		const char *token, const char *source)
{
	if (!id || !*id || !secret || !*secret) {
		scout_error("s3: %s gives %s without the other half of the key pair", source,
			    id && *id ? "an access key id" : "a secret access key");
		return -EINVAL;
	}
	c->access_key_id = strdup(id);
	c->secret_access_key = strdup(secret);
	c->session_token = token && *token ? strdup(token) : NULL;
	c->source = strdup(source);
	if (!c->access_key_id || !c->secret_access_key || !c->source ||
	    (token && *token && !c->session_token)) {
		scout_s3_credentials_free(c);
		return -ENOMEM;
	}
	return 0;
}

/* The file that variable names, else ~/.aws/<name>. */
static char *aws_file(const char *variable, const char *name)
{
	const char *path = env(variable), *home = env("HOME");
	char *full = NULL;

	if (path && strncmp(path, "~/", 2) != 0)
		return strdup(path);
	if (!home) {
		const struct passwd *pw = getpwuid(getuid());

		home = pw ? pw->pw_dir : "/";
	}
	if (asprintf(&full, "%s/%s%s", home, path ? path + 2 : ".aws/", path ? "" : name) < 0)
		return NULL;
	return full;
}

static int read_file(const char *variable, const char *file, const char *profile, bool prefixed,
		     struct scout_s3_credentials *c)
{
	char *path = aws_file(variable, file);
	int found;

	if (!path)
		return -ENOMEM;
	found = scout_s3_profile_read(path, profile, prefixed, c);
	if (found < 0)
		scout_error("s3: %s: %s", path, strerror(-found));
	free(path);
	return found;
}

/* 1: the profile is there (perhaps without keys, then c is anonymous), 0: it is not. */
static int from_profile(const char *profile, struct scout_s3_credentials *c)
{
	struct scout_s3_credentials first = {0}, second = {0}, *with_keys = NULL;
	char source[128];
	int found, also = 0;

	snprintf(source, sizeof(source), "profile %s", profile);
	found = read_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", profile, false, &first);
	if (found >= 0 && !first.access_key_id && !first.secret_access_key)
		also = read_file("AWS_CONFIG_FILE", "config", profile, true, &second);
	if (found < 0 || also < 0) {
		found = found < 0 ? found : also;
		goto out;
	}
	if (first.access_key_id || first.secret_access_key)
		with_keys = &first;
	else if (second.access_key_id || second.secret_access_key)
		with_keys = &second;
	found = found || also;
	if (with_keys) {
		int err = take(c, with_keys->access_key_id, with_keys->secret_access_key,
			       with_keys->session_token, source);

		found = err ? err : 1;
	}
out:
	scout_s3_credentials_free(&first);
	scout_s3_credentials_free(&second);
	return found;
}

static int from_named_profile(const char *profile, struct scout_s3_credentials *c)
{
	int found = from_profile(profile, c);

	if (found < 0)
		return found;
	if (c->access_key_id)
		return 0;
	if (found)
		scout_error("s3: profile %s holds no access key (roles, SSO and credential_process "
			    "are not supported)",
			    profile);
	else
		scout_error("s3: no profile %s in AWS's credentials and config files", profile);
	return -EINVAL;
}

static int from_default_profile(struct scout_s3_credentials *c)
{
	int found = from_profile("default", c);

	if (found < 0 || c->access_key_id)
		return found < 0 ? found : 0;
	c->source = strdup("anonymous");
	return c->source ? 0 : -ENOMEM;
}

int scout_s3_credentials_load(const struct scout_models_config *config,
			      struct scout_s3_credentials *ret)
{
	const char *id = env("AWS_ACCESS_KEY_ID"), *secret = env("AWS_SECRET_ACCESS_KEY");
	struct scout_s3_credentials c = {0};
	int err;

	if (config->access_key_id || config->secret_access_key)
		err = take(&c, config->access_key_id, config->secret_access_key,
			   config->session_token, "scoutfs.ini");
	else if (config->profile)
		err = from_named_profile(config->profile, &c);
	else if (id || secret)
		err = take(&c, id, secret, env("AWS_SESSION_TOKEN"), "environment");
	else if (env("AWS_PROFILE"))
		err = from_named_profile(env("AWS_PROFILE"), &c);
	else
		err = from_default_profile(&c);
	if (!err)
		*ret = c;
	else
		scout_s3_credentials_free(&c);
	return err;
}
