/* A draft's life: defaults first, then what was read, then what follows from several keys together, and
 * at last every host as [hosts] overlaid by its own section. One thread. */
#include "config/draft.h"

#include <errno.h>
#include <libgen.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "config/idmap.h"
#include "scoutfs/file.h"
#include "scoutfs/text.h"

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

bool scout_config_ignores_aws_endpoints(void)
{
	const char *ignore = getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");

	return ignore && strcasecmp(ignore, "true") == 0;
}

/* What the ini leaves open, as AWS's own tools are told it. */
static void endpoint_of_environment(struct scout_draft *d)
{
	const struct scout_key *key = scout_key_find(SCOUT_SECTION_MODELS, "endpoint");
	const char *name = "AWS_ENDPOINT_URL_S3", *url = getenv(name);
	struct scout_text why = {0};
	int err;

	if (!d->config->models.bucket || d->key_lines[key - scout_keys] ||
	    scout_config_ignores_aws_endpoints())
		return;
	if (!url || !*url)
		url = getenv(name = "AWS_ENDPOINT_URL");
	if (!url || !*url)
		return;
	err = scout_key_set(key, d->config, url, &why);
	if (err == -ENOMEM || why.failed)
		d->err = -ENOMEM;
	else if (err)
		scout_problem(&d->problems, SCOUT_LINE_NONE, "%s: %s", name, why.str);
	scout_text_free(&why);
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
	d->config->models.own_region = scout_draft_line(d, SCOUT_SECTION_MODELS, "region") != 0;
	need(d, "access_key_id", "secret_access_key");
	need(d, "secret_access_key", "access_key_id");
	need(d, "session_token", "access_key_id");
	if (!(d->refused >> ssh_config & 1))
		check_ssh_config(d, &d->config->defaults.ssh_config, d->key_lines[ssh_config]);
	TAILQ_FOREACH (h, &d->hosts, link) {
		if (h->key_lines[ssh_config])
			check_ssh_config(d, &h->host.ssh_config, h->key_lines[ssh_config]);
	}
	endpoint_of_environment(d);
	default_endpoint(d);
	if (!d->mounted)
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

int scout_draft_finish(struct scout_draft *d, char *const *names, size_t nnames)
{
	struct scout_config *c = d->config;
	struct scout_draft_host *h;
	int err = 0;

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
