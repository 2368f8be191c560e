/* URLs of requests; see url.h. A key is any bytes, and every byte of it must reach the server as it
 * is: nothing is normalised here ("//", "/../" and a leading slash are parts of names), and the
 * caller tells libcurl to leave paths alone. */
#include "s3/url.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3/place.h"

static bool is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

void scout_s3_encode(struct scout_text *out, const char *text, bool keep_slash)
{
	static const char hex[] = "0123456789ABCDEF";

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		char escaped[3] = {'%', hex[*p >> 4], hex[*p & 15]};

		if (is_unreserved(*p) || (*p == '/' && keep_slash))
			scout_text_append(out, (const char *)p, 1);
		else
			scout_text_append(out, escaped, sizeof(escaped));
	}
}

struct encoded {
	char *name;
	char *value;
};

static int by_name(const void *a, const void *b)
{
	const struct encoded *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : strcmp(x->value, y->value);
}

static char *encoded(const char *text)
{
	struct scout_text t = {0};

	scout_s3_encode(&t, text, false);
	return scout_text_take(&t);
}

void scout_s3_query(struct scout_text *out, const struct scout_s3_param *params, size_t n)
{
	struct encoded sorted[SCOUT_S3_PARAMS_MAX];
	bool failed = false;

	assert(n <= SCOUT_S3_PARAMS_MAX);
	for (size_t i = 0; i < n; i++) {
		sorted[i].name = encoded(params[i].name);
		sorted[i].value = encoded(params[i].value);
		failed = failed || !sorted[i].name || !sorted[i].value;
	}
	if (failed) {
		out->failed = true;
	} else {
		qsort(sorted, n, sizeof(sorted[0]), by_name);
		for (size_t i = 0; i < n; i++)
			scout_text_printf(out, "%s%s=%s", i > 0 ? "&" : "", sorted[i].name,
					  sorted[i].value);
	}
	for (size_t i = 0; i < n; i++) {
		free(sorted[i].name);
		free(sorted[i].value);
	}
}

int scout_s3_url_new(const struct scout_s3_place *place, const char *key,
		     const struct scout_s3_param *params, size_t n, struct scout_s3_url *ret)
{
	struct scout_text url = {0}, path = {0}, query = {0};
	struct scout_s3_url u;

	scout_text_printf(&path, "%s", place->base);
	if (key || path.len == 0)
		scout_text_printf(&path, "/");
	if (key)
		scout_s3_encode(&path, key, true);
	scout_s3_query(&query, params, n);

	u.host = strdup(place->host);
	u.path = scout_text_take(&path);
	u.query = scout_text_take(&query);
	if (u.host && u.path && u.query)
		scout_text_printf(&url, "%s%s%s%s%s", place->scheme, u.host, u.path,
				  *u.query ? "?" : "", u.query);
	u.url = scout_text_take(&url);
	if (!u.host || !u.path || !u.query || !u.url) {
		scout_s3_url_free(&u);
		return -ENOMEM;
	}
	*ret = u;
	return 0;
}

void scout_s3_url_free(struct scout_s3_url *url)
{
	free(url->url);
	free(url->host);
	free(url->path);
	free(url->query);
	memset(url, 0, sizeof(*url));
}

static bool is_ipv4_loopback(const char *host, size_t len)
{
	if (len < 4 || strncmp(host, "127.", 4) != 0)
		return false;
	for (size_t i = 4; i < len; i++) {
		if (!isdigit((unsigned char)host[i]) && host[i] != '.')
			return false;
	}
	return true;
}

bool scout_s3_is_loopback(const char *endpoint)
{
	static const char local[] = "localhost";
	const char *host = strstr(endpoint, "://");
	size_t len;

	host = host ? host + 3 : endpoint;
	if (strncmp(host, "[::1]", 5) == 0)
		return true;
	len = strcspn(host, ":/");
	if (len >= strlen(local) &&
	    strncasecmp(host + len - strlen(local), local, strlen(local)) == 0)
		return len == strlen(local) || host[len - strlen(local) - 1] == '.';
	return is_ipv4_loopback(host, len);
}
