/* AWS's profile files; see profile.h. Read by us and not by inih, because inih cuts lines at 200 bytes
 * and section names at 49: a session token has 1,000 and more. The file is the user's own, and is
 * trusted with everything but its size. Every copy of a line is wiped. */
#include "s3/profile.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3/snapshot.h"
#include "scoutfs/file.h"

#define FILE_MAX_BYTES (4 << 20)

static char *trim(char *text)
{
	size_t len;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

/* line is "[name]" or "[profile name]", trimmed. "[default]" needs no prefix. */
static bool names_profile(char *line, const char *name, bool prefixed)
{
	char *close = strchr(line, ']');
	char *section;

	if (!close)
		return false;
	*close = '\0';
	section = trim(line + 1);
	if (prefixed && strncmp(section, "profile", 7) == 0 && isspace((unsigned char)section[7]))
		return strcmp(trim(section + 7), name) == 0;
	return strcmp(section, name) == 0 && (!prefixed || strcmp(name, "default") == 0);
}

static const char *const settings[SCOUT_PROFILE_SETTINGS] = {
    [SCOUT_PROFILE_ACCESS_KEY_ID] = "aws_access_key_id",
    [SCOUT_PROFILE_SECRET_ACCESS_KEY] = "aws_secret_access_key",
    [SCOUT_PROFILE_SESSION_TOKEN] = "aws_session_token",
    [SCOUT_PROFILE_ROLE_ARN] = "role_arn",
    [SCOUT_PROFILE_SOURCE_PROFILE] = "source_profile",
    [SCOUT_PROFILE_CREDENTIAL_SOURCE] = "credential_source",
    [SCOUT_PROFILE_EXTERNAL_ID] = "external_id",
    [SCOUT_PROFILE_ROLE_SESSION_NAME] = "role_session_name",
    [SCOUT_PROFILE_DURATION_SECONDS] = "duration_seconds",
    [SCOUT_PROFILE_WEB_IDENTITY_TOKEN_FILE] = "web_identity_token_file",
    [SCOUT_PROFILE_MFA_SERIAL] = "mfa_serial",
    [SCOUT_PROFILE_CREDENTIAL_PROCESS] = "credential_process",
    [SCOUT_PROFILE_REGION] = "region",
    [SCOUT_PROFILE_STS_REGIONAL_ENDPOINTS] = "sts_regional_endpoints",
    [SCOUT_PROFILE_SSO_ACCOUNT_ID] = "sso_account_id",
    [SCOUT_PROFILE_SSO_ROLE_NAME] = "sso_role_name",
    [SCOUT_PROFILE_SSO] = "sso_",
    [SCOUT_PROFILE_LOGIN_SESSION] = "login_session",
};

static bool is_setting(const char *name, int setting)
{
	if (setting == SCOUT_PROFILE_SSO)
		return strncasecmp(name, settings[setting], strlen(settings[setting])) == 0;
	return strcasecmp(name, settings[setting]) == 0;
}

static int take_setting(char *line, struct scout_profile *p)
{
	char *equals = strchr(line, '='), *name, *value;

	if (!equals)
		return 0;
	*equals = '\0';
	name = trim(line);
	value = trim(equals + 1);
	for (int i = 0; i < SCOUT_PROFILE_SETTINGS && *value; i++) {
		char *copy;

		if (!is_setting(name, i))
			continue;
		copy = strdup(value);
		if (!copy)
			return -ENOMEM;
		scout_s3_wipe(p->value[i]);
		p->value[i] = copy;
	}
	return 0;
}

/* text is NUL-terminated and is taken apart. */
static int parse(char *text, const char *name, bool prefixed, struct scout_profile *p)
{
	size_t margin = SIZE_MAX; /* of the section's first setting */
	bool inside = false;
	char *line;
	int err = 0;

	while (!err && (line = strsep(&text, "\n")) != NULL) {
		size_t indent = strspn(line, " \t");

		line = trim(line);
		if (*line == '\0' || *line == '#' || *line == ';')
			continue;
		if (*line == '[') {
			inside = names_profile(line, name, prefixed);
			p->found = p->found || inside;
			margin = SIZE_MAX;
			continue;
		}
		if (margin == SIZE_MAX)
			margin = indent;
		/* A line further in belongs to the setting above it ("s3 =" and its block). */
		if (inside && indent <= margin)
			err = take_setting(line, p);
	}
	return err;
}

static int read_one(const char *path, const char *name, bool prefixed, struct scout_profile *p)
{
	FILE *in = scout_open_file(path);
	char *text = NULL;
	size_t len;
	int err;

	if (!in)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	text = malloc(FILE_MAX_BYTES + 1);
	if (!text) {
		err = -ENOMEM;
		goto out;
	}
	/* Unbuffered, so that no copy of the secrets stays behind in a stream's buffer. */
	setvbuf(in, NULL, _IONBF, 0);
	len = fread(text, 1, FILE_MAX_BYTES + 1, in);
	if (ferror(in))
		err = -EIO;
	else if (len > FILE_MAX_BYTES)
		err = -EFBIG;
	else {
		text[len] = '\0';
		err = parse(text, name, prefixed, p);
	}
	explicit_bzero(text, len);
out:
	free(text);
	fclose(in);
	return err;
}

static bool has_keys(const struct scout_profile *p)
{
	return p->value[SCOUT_PROFILE_ACCESS_KEY_ID] || p->value[SCOUT_PROFILE_SECRET_ACCESS_KEY];
}

/* What is in over goes before what is in p; over is empty afterwards. */
static void lay_over(struct scout_profile *p, struct scout_profile *over)
{
	p->own_keys = has_keys(over);
	p->found = p->found || over->found;
	for (int i = 0; i < SCOUT_PROFILE_SETTINGS; i++) {
		if (!over->value[i] && !(p->own_keys && i <= SCOUT_PROFILE_SESSION_TOKEN))
			continue;
		scout_s3_wipe(p->value[i]);
		p->value[i] = over->value[i];
		over->value[i] = NULL;
	}
}

int scout_profile_read(const char *credentials_path, const char *config_path, const char *name,
		       struct scout_profile *ret, const char **path)
{
	struct scout_profile over = {0};
	int err;

	memset(ret, 0, sizeof(*ret));
	*path = config_path;
	err = read_one(config_path, name, true, ret);
	if (!err) {
		*path = credentials_path;
		err = read_one(credentials_path, name, false, &over);
	}
	if (!err)
		lay_over(ret, &over);
	scout_profile_free(&over);
	return err;
}

void scout_profile_free(struct scout_profile *p)
{
	for (int i = 0; i < SCOUT_PROFILE_SETTINGS; i++)
		scout_s3_wipe(p->value[i]);
	memset(p, 0, sizeof(*p));
}
