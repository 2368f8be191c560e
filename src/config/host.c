/* One host's config on its own: copies, comparison, and what a name asked for on demand stands for. Such
 * a name comes from whoever may look into /hosts, and becomes words for ssh_config and libssh: only what
 * a host, a user and a port can be made of gets through. No lock: pure functions. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "config/ssh_names.h"
#include "scoutfs/config.h"

static bool is_text(const struct scout_key *key)
{
	return (key->sections & SCOUT_SECTION_HOST) && !key->kind->number;
}

void scout_host_config_clear(struct scout_host_config *h)
{
	for (size_t i = 0; i < scout_key_count; i++) {
		if (is_text(&scout_keys[i]))
			scout_key_clear(&scout_keys[i], h);
	}
	scout_id_map_unref(h->uids);
	scout_id_map_unref(h->gids);
	h->uids = h->gids = NULL;
	free(h->name);
	free(h->alias);
	h->name = h->alias = NULL;
}

void scout_host_config_free(struct scout_host_config *host)
{
	if (!host)
		return;
	scout_host_config_clear(host);
	free(host);
}

static int keep(char **field, const char *text)
{
	*field = text ? strdup(text) : NULL;
	return text && !*field ? -ENOMEM : 0;
}

int scout_host_config_copy(const struct scout_host_config *host, struct scout_host_config **ret)
{
	struct scout_host_config *copy = malloc(sizeof(*copy));
	int err = 0;

	if (!copy)
		return -ENOMEM;
	*copy = *host;
	copy->name = copy->alias = NULL;
	(void)scout_id_map_ref(copy->uids);
	(void)scout_id_map_ref(copy->gids);
	for (size_t i = 0; i < scout_key_count; i++) {
		if (is_text(&scout_keys[i]))
			*(char **)((char *)copy + scout_keys[i].offset) = NULL;
	}
	for (size_t i = 0; i < scout_key_count && !err; i++) {
		if (is_text(&scout_keys[i]))
			err = scout_key_copy(&scout_keys[i], copy, host);
	}
	if (!err)
		err = keep(&copy->name, host->name);
	if (!err)
		err = keep(&copy->alias, host->alias);
	if (err)
		scout_host_config_free(copy);
	else
		*ret = copy;
	return err;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool scout_host_config_equal(const struct scout_host_config *a, const struct scout_host_config *b)
{
	for (size_t i = 0; i < scout_key_count; i++) {
		if ((scout_keys[i].sections & SCOUT_SECTION_HOST) &&
		    !scout_key_equal(&scout_keys[i], a, b))
			return false;
	}
	if (!scout_id_map_equal(a->uids, b->uids) || !scout_id_map_equal(a->gids, b->gids))
		return false;
	return same_text(a->name, b->name) && same_text(a->alias, b->alias) && a->said == b->said &&
	       a->in_ini == b->in_ini && a->in_ssh_config == b->in_ssh_config;
}

/* "[user@]host[:port]" taken apart, in one copy. */
struct address {
	char text[SCOUT_HOST_NAME_MAX + 1];
	char *user, *host;
	unsigned port; /* 0: not said */
};

static bool is_ipv6(const char *text)
{
	char address[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "%");
	struct in6_addr in;

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	return inet_pton(AF_INET6, address, &in) == 1 &&
	       (text[len] == '\0' || scout_text_is_made_of(text + len + 1, "._-"));
}

static bool read_port(const char *text, unsigned *ret)
{
	size_t len = strspn(text, "0123456789");

	if (len == 0 || len > 5 || text[len])
		return false;
	*ret = (unsigned)strtoul(text, NULL, 10);
	return *ret >= 1 && *ret <= 65535;
}

/* The host's own part, the port cut off. No name of a host begins or ends with a dot; files do that
 * programs look for wherever they are. */
static bool read_host(struct address *a, char *text)
{
	char *end = strchr(text, ':');

	if (*text == '[') {
		end = strchr(text, ']');
		if (!end)
			return false;
		*end++ = '\0';
		a->host = text + 1;
		return is_ipv6(a->host) &&
		       (*end == '\0' || (*end == ':' && read_port(end + 1, &a->port)));
	}
	a->host = text;
	if (end && strchr(end + 1, ':'))
		return is_ipv6(text);
	if (end) {
		*end = '\0';
		if (!read_port(end + 1, &a->port))
			return false;
	}
	return scout_text_is_made_of(text, "._-") && text[0] != '.' &&
	       text[strlen(text) - 1] != '.';
}

static bool read_address(struct address *a, const char *name, size_t len)
{
	char *at;

	*a = (struct address){0};
	if (len > SCOUT_HOST_NAME_MAX || memchr(name, '\0', len))
		return false;
	memcpy(a->text, name, len);
	at = strrchr(a->text, '@');
	if (at) {
		*at = '\0';
		a->user = a->text;
		/* a shell that runs ssh_config's ProxyCommand shall find nothing to expand, nor an
		 * end that takes the next word in */
		if (!scout_text_is_made_of(a->user, "._-@+\\") || at[-1] == '\\')
			return false;
	}
	return read_host(a, at ? at + 1 : a->text);
}

int scout_config_dynamic_host(const struct scout_config *c, const char *name, size_t len,
			      struct scout_host_config **ret)
{
	struct scout_host_config *host;
	struct address a;
	char *whole;
	int err;

	if (!c->dynamic || !read_address(&a, name, len))
		return -ENOENT;
	err = scout_ssh_names_match(c->block, a.host);
	if (err)
		return err < 0 ? err : -ENOENT;
	whole = strndup(name, len);
	if (!whole)
		return -ENOMEM;
	err = scout_ssh_names_match(c->block, whole);
	if (err > 0)
		err = -ENOENT;
	if (!err)
		err = scout_host_config_copy(&c->defaults, &host);
	if (err) {
		free(whole);
		return err;
	}
	host->name = whole;
	if (a.port)
		host->port = a.port;
	if (a.user)
		err = keep(&host->user, a.user);
	if (!err && strcmp(a.host, whole) != 0)
		err = keep(&host->alias, a.host);
	if (err)
		scout_host_config_free(host);
	else
		*ret = host;
	return err;
}
