/* A draft's life: defaults first, then what was read, then what follows from several keys together, and
 * at last every host as [hosts] overlaid by its own section. One thread. */
#include "config/draft.h"

#include <errno.h>
#include <libgen.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/idmap.h"
#include "scoutfs/aws_env.h"
#include "scoutfs/aws_profile.h"
#include "scoutfs/aws_said.h"
#include "scoutfs/file.h"
#include "scoutfs/text.h"

/* Of each connection to S3: libcurl's 16 KiB cost CPU, more than this was no faster. */
#define CONNECTION_MAX ((size_t)128 << 10)
#define INFLATED_MAX ((size_t)64 << 20)

static void *base_of(struct scout_config *c, const struct scout_key *key)
{
	return key->sections & SCOUT_SECTION_HOST ? &c->defaults : (void *)c;
}

int scout_draft_init(struct scout_draft *d, const char *file, FILE *errors)
{
	int err = 0;

	memset(d, 0, sizeof(*d));
	TAILQ_INIT(&d->hosts);
	d->problems.out = errors;
	d->problems.file = file;
	d->config = calloc(1, sizeof(*d->config));
	if (!d->config)
		return -ENOMEM;
	for (size_t i = 0; i < scout_key_count && !err; i++)
		err = scout_key_set_default(&scout_keys[i], base_of(d->config, &scout_keys[i]));
	if (err)
		scout_draft_free(d);
	return err;
}

FILE *scout_draft_open(const char *path, bool mounted)
{
	return mounted ? scout_open_file(path) : fopen(path, "re");
}

const char *scout_draft_open_reason(int error)
{
	return error == EINVAL ? "a pipe or the like cannot be read again" : strerror(error);
}

void scout_draft_free(struct scout_draft *d)
{
	struct scout_draft_host *h;

	HASH_CLEAR(hh, d->by_name);
	while ((h = TAILQ_FIRST(&d->hosts))) {
		TAILQ_REMOVE(&d->hosts, h, link);
		scout_host_config_clear(&h->host);
		free(h);
	}
	scout_config_free(d->config);
	d->config = NULL;
}

void scout_config_free(struct scout_config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->nhosts; i++)
		scout_host_config_clear(&c->hosts[i]);
	free(c->hosts);
	free(c->match_exec_at);
	scout_id_map_unref(c->defaults.uids);
	scout_id_map_unref(c->defaults.gids);
	for (size_t i = 0; i < scout_key_count; i++)
		scout_key_clear(&scout_keys[i], base_of(c, &scout_keys[i]));
	free(c);
}

int scout_draft_line(const struct scout_draft *d, enum scout_section section, const char *key)
{
	return d->key_lines[scout_key_find(section, key) - scout_keys];
}

const char *scout_draft_secret(const struct scout_draft *d)
{
	for (size_t i = 0; i < scout_key_count; i++) {
		if (scout_keys[i].kind->secret && d->key_lines[i] > 0)
			return scout_keys[i].name;
	}
	return NULL;
}

/* A key of [models] that is set while another, which it needs, is not. */
static void need(struct scout_draft *d, const char *set, const char *missing)
{
	const struct scout_key *key = scout_key_find(SCOUT_SECTION_MODELS, set);
	const struct scout_key *other = scout_key_find(SCOUT_SECTION_MODELS, missing);

	if (scout_key_is_set(key, d->config) && !scout_key_is_set(other, d->config) &&
	    !(d->refused >> (other - scout_keys) & 1))
		scout_problem(&d->problems, d->key_lines[key - scout_keys],
			      "%s without %s in [models]", set, missing);
}

/* Two keys of [models] of which one makes the other void. */
static void exclude(struct scout_draft *d, const char *one, const char *other)
{
	scout_problem(&d->problems, scout_draft_line(d, SCOUT_SECTION_MODELS, other),
		      "%s and %s in [models]: one of them", one, other);
}

static void check_signing(struct scout_draft *d)
{
	const struct scout_models_config *m = &d->config->models;

	if (m->anonymous && m->access_key_id)
		exclude(d, "anonymous", "access_key_id");
	if (m->anonymous && m->profile)
		exclude(d, "anonymous", "profile");
	if (m->anonymous && m->requester_pays) /* who should pay? */
		exclude(d, "anonymous", "requester_pays");
}

static void check_bucket(struct scout_draft *d)
{
	int line = 0;

	if (scout_draft_line(d, SCOUT_SECTION_MODELS, "bucket"))
		return;
	for (size_t i = 0; i < scout_key_count; i++) {
		if ((scout_keys[i].sections & SCOUT_SECTION_MODELS) && d->key_lines[i] &&
		    (line <= 0 || (d->key_lines[i] > 0 && d->key_lines[i] < line)))
			line = d->key_lines[i];
	}
	if (line)
		scout_problem(&d->problems, line, "[models] has no bucket");
}

/* A file that was asked for by name must be there; the default one need not be. */
static void check_ssh_config(struct scout_draft *d, char **path, int line)
{
	if (!*path || access(*path, R_OK) == 0)
		return;
	if (line || (errno != ENOENT && errno != ENOTDIR))
		scout_problem(&d->problems, line, "ssh_config %s: %s", *path, strerror(errno));
	free(*path);
	*path = NULL;
}

/* As it is now, or as the mount will make it. */
static void check_cache_dir(struct scout_draft *d)
{
	const char *path = d->config->models.cache_dir, *reason = NULL;
	int fd = path ? scout_open_own_dir(path, false) : -ENOENT;
	char *parent;

	if (fd >= 0)
		close(fd);
	else if (path && fd != -ENOENT)
		reason = scout_own_dir_reason(fd);
	if (path && fd == -ENOENT) {
		parent = strdup(path);
		if (parent && access(dirname(parent), W_OK | X_OK) < 0)
			reason = strerror(errno);
		free(parent);
	}
	if (reason)
		scout_problem(&d->problems, scout_draft_line(d, SCOUT_SECTION_MODELS, "cache_dir"),
			      "cache_dir %s: %s%s", path,
			      fd == -ENOENT ? "it cannot be made: " : "", reason);
}

/* What the ini leaves open, as AWS's own tools are told it. */
static void take_said(struct scout_draft *d, const char *name, struct scout_aws_said said,
		      bool *taken)
{
	const struct scout_key *key = scout_key_find(SCOUT_SECTION_MODELS, name);
	struct scout_text why = {0};
	int err;

	if (!said.value || d->key_lines[key - scout_keys])
		return;
	err = scout_key_set(key, d->config, said.value, &why);
	if (err == -ENOMEM || why.failed)
		d->err = -ENOMEM;
	else if (err)
		scout_problem(&d->problems, SCOUT_LINE_NONE, "%s: %s", said.by, why.str);
	*taken = err == 0;
	scout_text_free(&why);
}

/* What was said at the start. */
static void take_again(struct scout_draft *d)
{
	const struct scout_models_config *m = &d->running->models;
	struct scout_aws_said region = {m->aws_region ? m->region : NULL, "AWS's region"};
	struct scout_aws_said endpoint = {m->aws_endpoint ? m->endpoint : NULL, "AWS's endpoint"};

	take_said(d, "region", region, &d->config->models.aws_region);
	take_said(d, "endpoint", endpoint, &d->config->models.aws_endpoint);
}

static void take_from_aws(struct scout_draft *d)
{
	struct scout_models_config *m = &d->config->models;
	const char *name, *path;
	struct scout_aws_env env;
	struct scout_profile p;

	if (!m->bucket)
		return;
	if (scout_aws_env_read(&env)) {
		d->err = -ENOMEM;
		return;
	}
	/* whoever needs the files for keys will tell what is wrong with them */
	name = scout_aws_profile_name(&env, m->profile);
	if (scout_profile_read(env.credentials_path, env.config_path, name, &p, &path) == -ENOMEM)
		d->err = -ENOMEM;
	take_said(d, "region", scout_aws_region(&env, &p), &m->aws_region);
	take_said(d, "endpoint", scout_aws_endpoint(&env, &p, SCOUT_AWS_S3), &m->aws_endpoint);
	scout_profile_free(&p);
	scout_aws_env_free(&env);
}

static void default_endpoint(struct scout_draft *d)
{
	struct scout_models_config *m = &d->config->models;
	struct scout_text url = {0};

	if (!scout_draft_line(d, SCOUT_SECTION_MODELS, "path_style"))
		m->path_style = m->endpoint != NULL;
	if (m->endpoint && m->dual_stack && !strstr(m->endpoint, ".amazonaws.com"))
		scout_problem(&d->problems, scout_draft_line(d, SCOUT_SECTION_MODELS, "dual_stack"),
			      "dual_stack is of AWS's endpoints, not of %s", m->endpoint);
	if (m->endpoint)
		return;
	scout_text_printf(&url, "https://s3.%s%s.amazonaws.com%s",
			  m->dual_stack ? "dualstack." : "", m->region,
			  strncmp(m->region, "cn-", 3) == 0 ? ".cn" : "");
	m->endpoint = url.failed ? NULL : scout_text_take(&url);
	scout_text_free(&url);
	if (!m->endpoint)
		d->err = -ENOMEM;
}

void scout_draft_check(struct scout_draft *d)
{
	const size_t ssh_config =
	    (size_t)(scout_key_find(SCOUT_SECTION_HOST, "ssh_config") - scout_keys);
	struct scout_draft_host *h;

	check_bucket(d);
	check_signing(d);
	need(d, "access_key_id", "secret_access_key");
	need(d, "secret_access_key", "access_key_id");
	need(d, "session_token", "access_key_id");
	if (!(d->refused >> ssh_config & 1))
		check_ssh_config(d, &d->config->defaults.ssh_config, d->key_lines[ssh_config]);
	TAILQ_FOREACH (h, &d->hosts, link) {
		if (h->key_lines[ssh_config])
			check_ssh_config(d, &h->host.ssh_config, h->key_lines[ssh_config]);
	}
	if (d->running)
		take_again(d);
	else
		take_from_aws(d);
	default_endpoint(d);
	if (!d->running)
		check_cache_dir(d);
	scout_draft_idmap(d);
}

/* What a host does not say itself comes from [hosts]. */
static int inherit(struct scout_host_config *host, const int *lines,
		   const struct scout_host_config *defaults)
{
	const ptrdiff_t uidfile = scout_key_find(SCOUT_SECTION_HOST, "uidfile") - scout_keys;
	const ptrdiff_t gidfile = scout_key_find(SCOUT_SECTION_HOST, "gidfile") - scout_keys;
	int err = 0;

	for (size_t i = 0; i < scout_key_count && !err; i++) {
		if ((scout_keys[i].sections & SCOUT_SECTION_HOST) && !(lines && lines[i]))
			err = scout_key_copy(&scout_keys[i], host, defaults);
	}
	scout_host_inherit_ids(host, lines && lines[uidfile], lines && lines[gidfile], defaults);
	return err;
}

static int by_name(const void *a, const void *b)
{
	const struct scout_host_config *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* The keys of these lines that ssh_config may say too. */
static unsigned said(const int *lines)
{
	static const struct {
		const char *key;
		unsigned bit;
	} keys[] = {
	    {"connect_timeout", SCOUT_SAID_CONNECT_TIMEOUT},
	    {"keepalive", SCOUT_SAID_KEEPALIVE},
	    {"known_hosts", SCOUT_SAID_KNOWN_HOSTS},
	    {"host_key_check", SCOUT_SAID_HOST_KEY_CHECK},
	};
	unsigned bits = 0;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (lines[scout_key_find(SCOUT_SECTION_HOST, keys[i].key) - scout_keys])
			bits |= keys[i].bit;
	return bits;
}

static int add_name(struct scout_config *c, const char *name)
{
	struct scout_host_config *host = &c->hosts[c->nhosts];

	host->name = strdup(name);
	if (!host->name)
		return -ENOMEM;
	c->nhosts++;
	host->in_ssh_config = true;
	host->said = c->defaults.said;
	return inherit(host, NULL, &c->defaults);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void divide_memory(struct scout_config *c)
{
	struct scout_models_config *m = &c->models;

	m->connection_bytes = least(c->memory / 8 / m->max_connections, CONNECTION_MAX);
	m->inflated_bytes = m->unzip ? least(c->memory / 8, INFLATED_MAX) : 0;
}

size_t scout_config_buffer_bytes(const struct scout_config *c)
{
	const struct scout_models_config *m = &c->models;

	if (!m->bucket)
		return c->memory;
	return c->memory - m->max_connections * m->connection_bytes - m->inflated_bytes;
}

int scout_draft_finish(struct scout_draft *d, char *const *names, size_t nnames)
{
	struct scout_config *c = d->config;
	struct scout_draft_host *h;
	int err = 0;

	divide_memory(c);
	c->defaults.said = said(d->key_lines);
	c->hosts = calloc(d->nhosts + nnames + 1, sizeof(*c->hosts));
	if (!c->hosts)
		return -ENOMEM;
	for (size_t i = 0; i < nnames && !err; i++) {
		HASH_FIND(hh, d->by_name, names[i], strlen(names[i]), h);
		if (h)
			h->host.in_ssh_config = true;
		else
			err = add_name(c, names[i]);
	}
	TAILQ_FOREACH (h, &d->hosts, link) {
		if (err)
			break;
		h->host.said = c->defaults.said | said(h->key_lines);
		err = inherit(&h->host, h->key_lines, &c->defaults);
		if (err)
			break;
		c->hosts[c->nhosts++] = h->host;
		memset(&h->host, 0, sizeof(h->host)); /* moved */
	}
	qsort(c->hosts, c->nhosts, sizeof(*c->hosts), by_name);
	return err;
}
