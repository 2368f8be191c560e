/* Hosts and regions; see place.h. AWS's hosts: "Amazon S3 endpoints and quotas", "Using Amazon S3
 * dual-stack endpoints", "Using access points" of its documents. */
#include "s3/place.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3/url.h"
#include "scoutfs/arn.h"
#include "scoutfs/config.h"
#include "scoutfs/text.h"

static const char *domain(const char *region)
{
	return strncmp(region, "cn-", 3) == 0 ? "amazonaws.com.cn" : "amazonaws.com";
}

static bool skip(const char **text, const char *prefix)
{
	bool begins = strncasecmp(*text, prefix, strlen(prefix)) == 0;

	if (begins)
		*text += strlen(prefix);
	return begins;
}

/* AWS's own host for the region (NULL: any), or for all of them. */
static bool is_awss(const char *authority, const char *region)
{
	size_t len;

	if (!skip(&authority, "s3."))
		return false;
	if (strcasecmp(authority, "amazonaws.com") == 0)
		return true;
	(void)skip(&authority, "dualstack.");
	len = strcspn(authority, ".");
	if (region && (len != strlen(region) || strncasecmp(authority, region, len) != 0))
		return false;
	authority += len;
	return strcasecmp(authority, ".amazonaws.com") == 0 ||
	       strcasecmp(authority, ".amazonaws.com.cn") == 0;
}

/* A certificate for *.host holds for one label, so a bucket with dots is asked for in path style
 * over https, as AWS's own clients do. */
static bool in_path(const struct scout_models_config *c)
{
	return c->path_style ||
	       (strncasecmp(c->endpoint, "https:", 6) == 0 && strchr(c->bucket, '.') != NULL);
}

/* The host that stands for the bucket, without it: "s3" or "s3-accesspoint" of a region; or what the
 * config says, where that is not AWS's, or nobody said that the bucket is in another region than it. */
static void add_host(struct scout_text *host, const struct scout_models_config *c,
		     const char *authority, const char *service, const char *region, bool moved)
{
	if (is_awss(authority, moved ? NULL : c->region))
		scout_text_printf(host, "%s.%s%s.%s", service, c->dual_stack ? "dualstack." : "",
				  region, domain(region));
	else
		scout_text_printf(host, "%s", authority);
}

int scout_s3_place_new(const struct scout_models_config *config, const char *region,
		       struct scout_s3_place *ret)
{
	struct scout_text scheme = {0}, host = {0}, base = {0};
	const char *authority = strstr(config->endpoint, "://"), *why;
	struct scout_s3_place p = {.region = ""};
	struct scout_access_point point;
	bool moved;

	assert(authority);
	authority += strlen("://");
	scout_text_append(&scheme, config->endpoint, (size_t)(authority - config->endpoint));
	if (scout_is_arn(config->bucket)) {
		int err = scout_access_point_parse(config->bucket, &point, &why);

		assert(err == 0); /* the config was checked */
		(void)err;
		region = region ? region : point.region;
		scout_text_printf(&host, "%s-%s.", point.name, point.account);
		add_host(&host, config, authority, "s3-accesspoint", region, true);
	} else {
		moved = region != NULL;
		region = moved ? region : config->region;
		if (in_path(config)) {
			scout_text_printf(&base, "/");
			scout_s3_encode(&base, config->bucket, false);
		} else {
			scout_text_printf(&host, "%s.", config->bucket);
		}
		add_host(&host, config, authority, "s3", region, moved);
	}
	snprintf(p.region, sizeof(p.region), "%s", region);
	p.scheme = scout_text_take(&scheme);
	p.host = scout_text_take(&host);
	p.base = scout_text_take(&base);
	if (!p.scheme || !p.host || !p.base) {
		scout_s3_place_free(&p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

void scout_s3_place_free(struct scout_s3_place *place)
{
	free(place->scheme);
	free(place->host);
	free(place->base);
	memset(place, 0, sizeof(*place));
}
