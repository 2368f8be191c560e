/* Finding where keys come from; see source.h. The order is that of AWS's CLI ("Configuration and credential
 * precedence", and botocore/credentials.py), behind the ini: environment, role of the profile, web identity, SSO,
 * keys of the credentials file, login_session, credential_process, keys of the config file, container, instance.
 * Where it comes to one that would have to ask somebody, it ends: who is next is somebody else. No lock. */
#include "s3/source.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "scoutfs/aws_profile.h"
#include "scoutfs/aws_said.h"
#include "scoutfs/config.h"
#include "scoutfs/text.h"

#define MAX_CHAIN 8
#define SESSION_NAME "scoutfs"
#define DURATION_MIN_S 900 /* STS's own limits */
#define DURATION_MAX_S 43200

struct finder {
	const struct scout_models_config *config;
	struct scout_s3_asking *asking;
	const char *visited[MAX_CHAIN]; /* profiles that led here, borrowed */
	unsigned nvisited;
	const struct scout_profile *session; /* the first of them, which also says where STS is */
};

static int from_profile(struct finder *f, const char *name, const struct scout_profile *p,
			struct scout_s3_source *s);
static int from_own(struct finder *f, const char *name, const struct scout_profile *p,
		    struct scout_s3_source *s);

__attribute__((format(printf, 2, 3))) static int refuse(struct finder *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->asking->reason, sizeof(f->asking->reason), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int no_memory(struct finder *f)
{
	(void)refuse(f, "no memory");
	return -ENOMEM;
}

static const char *env(const struct finder *f, enum scout_aws_variable variable)
{
	return f->asking->env->value[variable];
}

/* Copies value, which may be NULL, into a field. */
static bool set(char **field, const char *value)
{
	free(*field);
	*field = value ? strdup(value) : NULL;
	return !value || *field;
}

__attribute__((format(printf, 2, 3))) static bool set_label(struct scout_s3_source *s,
							    const char *fmt, ...)
{
	char *label = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&label, fmt, ap) < 0)
		label = NULL;
	va_end(ap);
	free(s->label);
	s->label = label;
	return label != NULL;
}

static int take_keys(struct finder *f, struct scout_s3_source *s, const char *id,
		     const char *secret, const char *token, const char *label)
{
	struct scout_s3_answer answer = {0};
	bool ok = set(&answer.access_key_id, id) && set(&answer.secret_access_key, secret) &&
		  set(&answer.session_token, token) && set_label(s, "%s", label);

	if (!ok) {
		scout_s3_answer_free(&answer);
		return no_memory(f);
	}
	s->kind = SCOUT_SOURCE_KEYS;
	return scout_s3_credentials_new(&answer, label, &s->keys, f->asking->reason);
}

static int take_environment(struct finder *f, struct scout_s3_source *s)
{
	return take_keys(f, s, env(f, SCOUT_AWS_ACCESS_KEY_ID), env(f, SCOUT_AWS_SECRET_ACCESS_KEY),
			 env(f, SCOUT_AWS_SESSION_TOKEN), "environment");
}

static bool has_keys(const struct scout_profile *p)
{
	return p->value[SCOUT_PROFILE_ACCESS_KEY_ID] || p->value[SCOUT_PROFILE_SECRET_ACCESS_KEY];
}

static int take_profile_keys(struct finder *f, const char *name, const struct scout_profile *p,
			     struct scout_s3_source *s)
{
	char label[128];

	snprintf(label, sizeof(label), "profile %s", name);
	s->changes = true;
	return take_keys(f, s, p->value[SCOUT_PROFILE_ACCESS_KEY_ID],
			 p->value[SCOUT_PROFILE_SECRET_ACCESS_KEY],
			 p->value[SCOUT_PROFILE_SESSION_TOKEN], label);
}

static bool has_container(const struct finder *f)
{
	return env(f, SCOUT_AWS_CONTAINER_RELATIVE_URI) || env(f, SCOUT_AWS_CONTAINER_FULL_URI);
}

static int take_container(struct finder *f, struct scout_s3_source *s)
{
	s->kind = SCOUT_SOURCE_CONTAINER;
	return set_label(s, "container endpoint") ? 0 : no_memory(f);
}

static bool may_ask_instance(const struct finder *f)
{
	const char *disabled = env(f, SCOUT_AWS_METADATA_DISABLED);

	return !disabled || strcasecmp(disabled, "true") != 0;
}

static int take_instance(struct finder *f, struct scout_s3_source *s)
{
	s->kind = SCOUT_SOURCE_INSTANCE;
	return set_label(s, "instance metadata") ? 0 : no_memory(f);
}

static int read_duration(struct finder *f, const char *name, const char *text, unsigned *ret)
{
	unsigned long seconds;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	seconds = strtoul(text, &end, 10);
	if (errno || *end || seconds < DURATION_MIN_S || seconds > DURATION_MAX_S)
		return refuse(f, "profile %s: duration_seconds is not a number from %d to %d", name,
			      DURATION_MIN_S, DURATION_MAX_S);
	*ret = (unsigned)seconds;
	return 0;
}

static bool is_region(const char *text)
{
	size_t len = strlen(text);

	return len < 64 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* What both questions to STS need; p may be NULL: all of it is in the environment. */
static int set_sts(struct finder *f, const struct scout_profile *p, struct scout_s3_source *s)
{
	const char *mode = env(f, SCOUT_AWS_STS_REGIONAL_ENDPOINTS);
	const char *region = scout_aws_region(f->asking->env, p).value;
	const char *url = scout_aws_endpoint(f->asking->env, f->session, SCOUT_AWS_STS).value;

	if (!mode && p)
		mode = p->value[SCOUT_PROFILE_STS_REGIONAL_ENDPOINTS];
	if (!region)
		region = f->config->region;
	if (!is_region(region)) /* it becomes part of a host's name */
		return refuse(f, "the region '%.60s', for STS, is none", region);
	s->sts_global = mode && strcasecmp(mode, "legacy") == 0;
	return set(&s->sts_region, region) && set(&s->sts_url, url) ? 0 : no_memory(f);
}

/* ---- a role, asked for with the keys of something else ---- */

static int base_of_source(struct finder *f, const char *name, const char *source,
			  struct scout_s3_source *base)
{
	if (strcmp(source, "Environment") == 0)
		return take_environment(f, base);
	if (strcmp(source, "EcsContainer") == 0) {
		if (!has_container(f))
			return refuse(f,
				      "profile %s: credential_source is EcsContainer, and no "
				      "AWS_CONTAINER_CREDENTIALS_… variable is set",
				      name);
		return take_container(f, base);
	}
	if (strcmp(source, "Ec2InstanceMetadata") == 0) {
		if (!may_ask_instance(f))
			return refuse(f,
				      "profile %s: credential_source is Ec2InstanceMetadata, and "
				      "AWS_EC2_METADATA_DISABLED is true",
				      name);
		return take_instance(f, base);
	}
	return refuse(f,
		      "profile %s: credential_source is none of Environment, EcsContainer, "
		      "Ec2InstanceMetadata",
		      name);
}

static int read_profile(struct finder *f, const char *name, struct scout_profile *p)
{
	const char *path;
	int err = scout_profile_read(f->asking->env->credentials_path, f->asking->env->config_path,
				     name, p, &path);

	if (err)
		(void)refuse(f, "%s: %s", path, strerror(-err));
	return err;
}

static int base_of_profile(struct finder *f, const char *name, const char *base_name,
			   struct scout_s3_source *base)
{
	struct scout_profile p = {0};
	bool visited = false, itself = strcmp(name, base_name) == 0;
	int err;

	for (unsigned i = 0; i < f->nvisited; i++)
		visited = visited || strcmp(f->visited[i], base_name) == 0;
	err = read_profile(f, base_name, &p);
	if (err)
		goto out;
	/* A profile may sign for its own role with its own keys; keys end every chain. */
	if (!p.found)
		err = refuse(f, "profile %s: its source_profile %s is not there", name, base_name);
	else if (has_keys(&p) && (itself || !visited))
		err = from_own(f, base_name, &p, base);
	else if (visited)
		err = refuse(f, "profile %s: its source_profile %s leads round in a circle", name,
			     base_name);
	else
		err = from_profile(f, base_name, &p, base);
	if (!err && base->kind == SCOUT_SOURCE_NONE)
		err = refuse(f, "profile %s: its source_profile %s holds no credentials", name,
			     base_name);
out:
	scout_profile_free(&p);
	return err;
}

static int from_role(struct finder *f, const char *name, const struct scout_profile *p,
		     struct scout_s3_source *s)
{
	const char *base = p->value[SCOUT_PROFILE_SOURCE_PROFILE];
	const char *source = p->value[SCOUT_PROFILE_CREDENTIAL_SOURCE];
	const char *session = p->value[SCOUT_PROFILE_ROLE_SESSION_NAME];
	int err;

	if (p->value[SCOUT_PROFILE_MFA_SERIAL])
		return refuse(f, "profile %s wants a code of a device (mfa_serial): not supported",
			      name);
	if (!base == !source)
		return refuse(f,
			      "profile %s: role_arn needs either source_profile or "
			      "credential_source",
			      name);
	s->kind = SCOUT_SOURCE_ROLE;
	if (!set(&s->role_arn, p->value[SCOUT_PROFILE_ROLE_ARN]) ||
	    !set(&s->external_id, p->value[SCOUT_PROFILE_EXTERNAL_ID]) ||
	    !set(&s->session_name, session ? session : SESSION_NAME) ||
	    !set_label(s, "profile %s (assumed role %s)", name, s->role_arn) ||
	    !(s->base = calloc(1, sizeof(*s->base))))
		return no_memory(f);
	err = set_sts(f, p, s);
	if (!err)
		err = read_duration(f, name, p->value[SCOUT_PROFILE_DURATION_SECONDS],
				    &s->duration_s);
	if (err)
		return err;
	return source ? base_of_source(f, name, source, s->base)
		      : base_of_profile(f, name, base, s->base);
}

/* ---- web identity ---- */

static int from_web_identity(struct finder *f, const char *where, const char *role_arn,
			     const char *token_file, const char *session,
			     const struct scout_profile *p, struct scout_s3_source *s)
{
	if (!role_arn)
		return refuse(f, "%s names a web identity's token file, and no role", where);
	s->kind = SCOUT_SOURCE_WEB_IDENTITY;
	if (!set(&s->role_arn, role_arn) || !set(&s->token_file, token_file) ||
	    !set(&s->session_name, session ? session : SESSION_NAME) ||
	    !set_label(s, "%s (web identity, assumed role %s)", where, role_arn))
		return no_memory(f);
	return set_sts(f, p, s);
}

static int web_identity_of_environment(struct finder *f, struct scout_s3_source *s)
{
	return from_web_identity(f, "environment", env(f, SCOUT_AWS_ROLE_ARN),
				 env(f, SCOUT_AWS_WEB_IDENTITY_TOKEN_FILE),
				 env(f, SCOUT_AWS_ROLE_SESSION_NAME), NULL, s);
}

static int web_identity_of_profile(struct finder *f, const char *name,
				   const struct scout_profile *p, struct scout_s3_source *s)
{
	char where[128];
	int err;

	snprintf(where, sizeof(where), "profile %s", name);
	err = from_web_identity(f, where, p->value[SCOUT_PROFILE_ROLE_ARN],
				p->value[SCOUT_PROFILE_WEB_IDENTITY_TOKEN_FILE],
				p->value[SCOUT_PROFILE_ROLE_SESSION_NAME], p, s);
	return err ? err
		   : read_duration(f, name, p->value[SCOUT_PROFILE_DURATION_SECONDS],
				   &s->duration_s);
}

/* ---- profiles ---- */

static int from_process(struct finder *f, const char *name, const char *command,
			struct scout_s3_source *s)
{
	s->kind = SCOUT_SOURCE_PROCESS;
	if (!set(&s->command, command) || !set_label(s, "profile %s (credential_process)", name))
		return no_memory(f);
	return 0;
}

static int refuse_sso(struct finder *f, const char *name)
{
	return refuse(
	    f,
	    "profile %s uses SSO (IAM Identity Center): not supported; give another profile "
	    "credential_process = aws configure export-credentials --profile %s",
	    name, name);
}

/* What the profile says but for a role that others sign for; s stays NONE when that is nothing. */
static int from_own(struct finder *f, const char *name, const struct scout_profile *p,
		    struct scout_s3_source *s)
{
	const char *process = p->value[SCOUT_PROFILE_CREDENTIAL_PROCESS];

	if (p->value[SCOUT_PROFILE_WEB_IDENTITY_TOKEN_FILE])
		return web_identity_of_profile(f, name, p, s);
	if (p->value[SCOUT_PROFILE_SSO_ACCOUNT_ID] || p->value[SCOUT_PROFILE_SSO_ROLE_NAME])
		return refuse_sso(f, name);
	if (p->own_keys)
		return take_profile_keys(f, name, p, s);
	if (p->value[SCOUT_PROFILE_LOGIN_SESSION])
		return refuse(f, "profile %s uses login_session: not supported", name);
	if (process)
		return from_process(f, name, process, s);
	if (has_keys(p))
		return take_profile_keys(f, name, p, s);
	return p->value[SCOUT_PROFILE_SSO] ? refuse_sso(f, name) : 0;
}

/* s stays NONE when the profile has nothing to do with credentials. */
static int from_profile(struct finder *f, const char *name, const struct scout_profile *p,
			struct scout_s3_source *s)
{
	bool first = f->nvisited == 0;

	if (f->nvisited == MAX_CHAIN)
		return refuse(f, "profile %s: more than %d profiles in a row", name, MAX_CHAIN);
	f->visited[f->nvisited++] = name;
	if (p->value[SCOUT_PROFILE_ROLE_ARN] && !p->value[SCOUT_PROFILE_WEB_IDENTITY_TOKEN_FILE])
		return from_role(f, name, p, s);
	if (first && !f->config->profile && env(f, SCOUT_AWS_WEB_IDENTITY_TOKEN_FILE))
		return web_identity_of_environment(f, s);
	return from_own(f, name, p, s);
}

/* The profile, and what is asked where it says nothing. */
static int from_rest(struct finder *f, const char *name, bool named, struct scout_s3_source *s)
{
	struct scout_profile p = {0};
	int err = read_profile(f, name, &p);

	if (!err && named && !p.found)
		err = refuse(f, "no profile %s in AWS's credentials and config files", name);
	f->session = &p;
	if (!err)
		err = from_profile(f, name, &p, s);
	f->session = NULL;
	scout_profile_free(&p);
	if (err || s->kind != SCOUT_SOURCE_NONE)
		return err;
	if (has_container(f))
		return take_container(f, s);
	if (may_ask_instance(f)) {
		s->optional = !named;
		return take_instance(f, s);
	}
	if (named)
		return refuse(f, "profile %s holds no credentials", name);
	return set_label(s, "anonymous") ? 0 : no_memory(f);
}

int scout_s3_source_find(const struct scout_models_config *config, struct scout_s3_asking *asking,
			 struct scout_s3_source **ret)
{
	struct finder f = {.config = config, .asking = asking};
	struct scout_s3_source *s = calloc(1, sizeof(*s));
	const char *profile = scout_aws_profile_name(asking->env, config->profile);
	bool named = config->profile || env(&f, SCOUT_AWS_PROFILE);
	int err;

	asking->reason[0] = '\0';
	if (!s)
		return no_memory(&f);
	if (config->anonymous)
		err = set_label(s, "anonymous") ? 0 : no_memory(&f);
	else if (config->access_key_id || config->secret_access_key)
		err = take_keys(&f, s, config->access_key_id, config->secret_access_key,
				config->session_token, "scoutfs.ini");
	else if (!config->profile &&
		 (env(&f, SCOUT_AWS_ACCESS_KEY_ID) || env(&f, SCOUT_AWS_SECRET_ACCESS_KEY)))
		err = take_environment(&f, s);
	else
		err = from_rest(&f, profile, named, s);
	if (err)
		scout_s3_source_free(s);
	else
		*ret = s;
	return err;
}

void scout_s3_source_free(struct scout_s3_source *s)
{
	while (s) {
		struct scout_s3_source *base = s->base;

		scout_s3_credentials_put(s->keys);
		free(s->label);
		scout_wipe(s->command); /* whose arguments are nobody else's business */
		free(s->role_arn);
		free(s->session_name);
		scout_wipe(s->external_id);
		free(s->token_file);
		free(s->sts_region);
		free(s->sts_url);
		free(s);
		s = base;
	}
}
