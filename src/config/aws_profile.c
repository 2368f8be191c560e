/* AWS's profile files; see scoutfs/aws_profile.h. Read by us and not by inih, because inih cuts lines at 200 bytes
 * and section names at 49: a session token has 1,000 and more. The file is the user's own, and is
 * trusted with everything but its size. Every copy of a line is wiped. */
#include "scoutfs/aws_profile.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "scoutfs/file.h"
#include "scoutfs/text.h"

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

/* A section as its header says it: "[name]" in the credentials file, "[kind name]" in the config file. */
struct section {
	const char *kind; /* "profile" or "services", or NULL */
	const char *name;
};

static bool is_services(const struct section *s)
{
	return s->kind && strcmp(s->kind, "services") == 0;
}

/* A name of several words may stand in quotes. */
static char *unquote(char *name)
{
	size_t len = strlen(name);

	if (len < 2 || (*name != '"' && *name != '\'') || name[len - 1] != *name)
		return name;
	name[len - 1] = '\0';
	return name + 1;
}

/* line is trimmed. "[default]" needs no kind to be a profile. */
static bool is_header_of(char *line, const struct section *s)
{
	size_t len = s->kind ? strlen(s->kind) : 0;
	char *close = strchr(line, ']');
	char *told;

	if (!close)
		return false;
	*close = '\0';
	told = trim(line + 1);
	if (s->kind && strncmp(told, s->kind, len) == 0 && isspace((unsigned char)told[len]))
		return strcmp(unquote(trim(told + len)), s->name) == 0;
	return strcmp(told, s->name) == 0 &&
	       (!s->kind || (!is_services(s) && strcmp(told, "default") == 0));
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
    [SCOUT_PROFILE_IGNORE_ENDPOINT_URLS] = "ignore_configured_endpoint_urls",
    [SCOUT_PROFILE_ENDPOINT_URL] = "endpoint_url",
    [SCOUT_PROFILE_SERVICES] = "services",
    [SCOUT_PROFILE_SSO_ACCOUNT_ID] = "sso_account_id",
    [SCOUT_PROFILE_SSO_ROLE_NAME] = "sso_role_name",
    [SCOUT_PROFILE_SSO] = "sso_",
    [SCOUT_PROFILE_LOGIN_SESSION] = "login_session",
};

/* What services say in a block for each: where to ask. */
static const char *const blocks[SCOUT_PROFILE_SETTINGS] = {
    [SCOUT_PROFILE_ENDPOINT_URL_S3] = "s3",
    [SCOUT_PROFILE_ENDPOINT_URL_STS] = "sts",
};

/* block: the setting that it is further in than, or NULL. */
static bool is_setting(const struct section *s, const char *block, const char *name, int setting)
{
	if (is_services(s))
		return block && blocks[setting] && strcasecmp(block, blocks[setting]) == 0 &&
		       strcasecmp(name, settings[SCOUT_PROFILE_ENDPOINT_URL]) == 0;
	if (block || !settings[setting])
		return false;
	if (setting == SCOUT_PROFILE_SSO)
		return strncasecmp(name, settings[setting], strlen(settings[setting])) == 0;
	return strcasecmp(name, settings[setting]) == 0;
}

static int take_setting(const struct section *s, const char *block, const char *name,
			const char *value, struct scout_profile *p)
{
	for (int i = 0; i < SCOUT_PROFILE_SETTINGS && *value; i++) {
		char *copy;

		if (!is_setting(s, block, name, i))
			continue;
		copy = strdup(value);
		if (!copy)
			return -ENOMEM;
		scout_wipe(p->value[i]);
		p->value[i] = copy;
	}
	return 0;
}

/* text is NUL-terminated and is taken apart. */
static int parse(char *text, const struct section *s, struct scout_profile *p)
{
	size_t margin = SIZE_MAX; /* of the section's first setting */
	const char *block = NULL; /* the last setting at the margin */
	bool inside = false;
	char *line, *equals;
	int err = 0;

	while (!err && (line = strsep(&text, "\n")) != NULL) {
		size_t indent = strspn(line, " \t");
		bool further;

		line = trim(line);
		if (*line == '\0' || *line == '#' || *line == ';')
			continue;
		if (*line == '[') {
			inside = is_header_of(line, s);
			p->found = p->found || inside;
			margin = SIZE_MAX;
			block = NULL;
			continue;
		}
		if (margin == SIZE_MAX)
			margin = indent;
		/* A line further in belongs to the setting above it ("s3 =" and its block). */
		further = indent > margin;
		if (!further)
			block = NULL;
		equals = strchr(line, '=');
		if (!inside || !equals || (further && !block))
			continue;
		*equals = '\0';
		err = take_setting(s, block, trim(line), trim(equals + 1), p);
		if (!further)
			block = line;
	}
	return err;
}

static int read_one(const char *path, const struct section *s, struct scout_profile *p)
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
		err = parse(text, s, p);
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
		scout_wipe(p->value[i]);
		p->value[i] = over->value[i];
		over->value[i] = NULL;
	}
}

int scout_profile_read(const char *credentials_path, const char *config_path, const char *name,
		       struct scout_profile *ret, const char **path)
{
	const struct section profile = {"profile", name}, plain = {NULL, name};
	struct section services = {"services", NULL};
	struct scout_profile over = {0};
	int err;

	memset(ret, 0, sizeof(*ret));
	*path = config_path;
	err = read_one(config_path, &profile, ret);
	if (!err) {
		*path = credentials_path;
		err = read_one(credentials_path, &plain, &over);
	}
	if (!err) {
		lay_over(ret, &over);
		*path = config_path;
		services.name = ret->value[SCOUT_PROFILE_SERVICES];
	}
	if (services.name)
		err = read_one(config_path, &services, ret);
	scout_profile_free(&over);
	return err;
}

void scout_profile_free(struct scout_profile *p)
{
	for (int i = 0; i < SCOUT_PROFILE_SETTINGS; i++)
		scout_wipe(p->value[i]);
	memset(p, 0, sizeof(*p));
}
