/* Keys from a container's endpoint (ECS, EKS Pod Identity, Greengrass) and from the metadata service of an
 * EC2 instance, version 2 only; see source.h. Both are next to this machine: short timeouts, and never
 * through a proxy. Token and answers are secret. No lock. */
#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3/answer.h"
#include "s3/http.h"
#include "s3/metadata.h"
#include "s3/source.h"
#include "scoutfs/file.h"
#include "scoutfs/text.h"

#define CONTAINER_HOST "http://169.254.170.2"
#define CONTAINER_CONNECT_MS 2000
#define CONTAINER_TOTAL_MS 5000
#define INSTANCE_MS 1000
#define ATTEMPTS 2
#define TOKEN_MAX 4096
#define TOKEN_LIFE_S "21600"
#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"

static int fail(struct scout_s3_asking *asking, const char *where, const char *why, int err)
{
	snprintf(asking->reason, sizeof(asking->reason), "%s: %.200s", where, why);
	return err == -ECANCELED || err == -ENOMEM ? err : -EACCES;
}

/* Asks up to twice: when nothing answered, or the server was ill. */
static int ask(struct scout_http_question *q, const char *where, struct scout_s3_asking *asking,
	       struct scout_http_answer *ret)
{
	char why[SCOUT_S3_REASON_MAX];
	int err = -EIO;

	q->direct = true;
	q->ca_bundle = asking->env->value[SCOUT_AWS_CA_BUNDLE];
	q->stop_fd = asking->stop_fd;
	for (int attempt = 0; attempt < ATTEMPTS && err == -EIO; attempt++) {
		err = scout_http_ask(q, ret, why);
		if (!err && ret->status != 200) {
			snprintf(why, sizeof(why), "HTTP status %ld", ret->status);
			err = ret->status >= 500 ? -EIO : -EACCES;
			scout_http_answer_free(ret);
		}
	}
	return err ? fail(asking, where, why, err) : 0;
}

static int take_json(struct scout_http_answer *a, const char *where, struct scout_s3_asking *asking,
		     struct scout_s3_answer *ret)
{
	char why[SCOUT_S3_REASON_MAX];
	int err = scout_s3_parse_json(a->body, a->len, SCOUT_JSON_METADATA, ret, why);

	if (!err)
		ret->expires_s -= a->skew_s;
	scout_http_answer_free(a);
	return err ? fail(asking, where, why, err) : 0;
}

/* ---- container ---- */

static bool is_loopback_address(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
	       (strncmp(host, "127.", 4) == 0 && host[strspn(host, "0123456789.")] == '\0');
}

/* http is for who cannot be listened to or imitated from outside. */
static bool is_allowed(const char *scheme, const char *host)
{
	return strcasecmp(scheme, "https") == 0 ||
	       (strcasecmp(scheme, "http") == 0 &&
		(is_loopback_address(host) || strcmp(host, "169.254.170.2") == 0 ||
		 strcmp(host, "169.254.170.23") == 0 || strcasecmp(host, "[fd00:ec2::23]") == 0));
}

bool scout_s3_container_uri_allowed(const char *uri)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL, *user = NULL;
	bool ok = u && !curl_url_set(u, CURLUPART_URL, uri, 0) &&
		  !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
		  !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
		  curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER;

	ok = ok && is_allowed(scheme, host);
	curl_free(scheme);
	curl_free(host);
	curl_free(user);
	curl_url_cleanup(u);
	return ok;
}

int scout_s3_read_token(const char *path, size_t max, char **ret)
{
	FILE *in = scout_open_file(path);
	char *text = in ? malloc(max + 2) : NULL;
	int err = in ? -ENOMEM : -errno;
	size_t len = 0;

	if (text) {
		setvbuf(in, NULL, _IONBF, 0); /* no copy in a stream's buffer */
		len = fread(text, 1, max + 1, in);
		err = ferror(in) ? -EIO : len > max ? -EFBIG : 0;
		while (!err && len > 0 && strchr(" \t\r\n", text[len - 1]))
			len--;
		text[len] = '\0';
		if (!err && (len == 0 || strlen(text) != len || strpbrk(text, "\r\n")))
			err = -EINVAL;
	}
	if (in)
		fclose(in);
	if (err) {
		if (text)
			explicit_bzero(text, max + 1);
		free(text);
		return err;
	}
	*ret = text;
	return 0;
}

/* "Authorization: …", or NULL when there is no token. */
static int authorization(struct scout_s3_asking *asking, char **ret)
{
	const char *file = asking->env->value[SCOUT_AWS_CONTAINER_TOKEN_FILE];
	const char *token = asking->env->value[SCOUT_AWS_CONTAINER_TOKEN];
	char *read = NULL;
	int err = 0;

	*ret = NULL;
	if (file)
		err = scout_s3_read_token(file, TOKEN_MAX, &read);
	else if (token && strpbrk(token, "\r\n"))
		err = -EINVAL;
	if (err)
		return fail(asking, "the container endpoint's token", strerror(-err), err);
	token = read ? read : token;
	if (token && asprintf(ret, "Authorization: %s", token) < 0) {
		*ret = NULL;
		err = fail(asking, "container endpoint", "no memory", -ENOMEM);
	}
	scout_wipe(read);
	return err;
}

int scout_s3_ask_container(struct scout_s3_asking *asking, struct scout_s3_answer *ret)
{
	static const char where[] = "container endpoint";
	const char *relative = asking->env->value[SCOUT_AWS_CONTAINER_RELATIVE_URI];
	const char *full = asking->env->value[SCOUT_AWS_CONTAINER_FULL_URI];
	struct scout_http_answer answer = {0};
	char *url = NULL, *token = NULL;
	int err = 0;

	if (relative && *relative != '/')
		return fail(asking, where, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path",
			    -EINVAL);
	if (!relative && !scout_s3_container_uri_allowed(full))
		return fail(asking, where,
			    "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor an address of "
			    "this machine, ECS or EKS",
			    -EINVAL);
	if (asprintf(&url, "%s%s", relative ? CONTAINER_HOST : full, relative ? relative : "") < 0)
		return fail(asking, where, "no memory", -ENOMEM);
	err = authorization(asking, &token);
	if (!err) {
		const char *headers[] = {"Accept: application/json", token, NULL};
		struct scout_http_question q = {
		    .method = "GET",
		    .url = url,
		    .headers = headers,
		    .connect_ms = CONTAINER_CONNECT_MS,
		    .total_ms = CONTAINER_TOTAL_MS,
		};

		err = ask(&q, where, asking, &answer);
	}
	if (!err)
		err = take_json(&answer, where, asking, ret);
	scout_wipe(token);
	free(url);
	return err;
}

/* ---- instance ---- */

static const char *instance_host(const struct scout_aws_env *env)
{
	const char *mode = env->value[SCOUT_AWS_METADATA_ENDPOINT_MODE];

	if (env->value[SCOUT_AWS_METADATA_ENDPOINT])
		return env->value[SCOUT_AWS_METADATA_ENDPOINT];
	return mode && strcasecmp(mode, "IPv6") == 0 ? "http://[fd00:ec2::254]"
						     : "http://169.254.169.254";
}

/* One question; *body is the caller's to wipe. header: with the token, or for it. */
static int ask_instance(struct scout_s3_asking *asking, const char *method, const char *path,
			const char *header, struct scout_http_answer *ret)
{
	const char *host = instance_host(asking->env);
	const char *headers[] = {header, NULL};
	struct scout_http_question q = {
	    .method = method,
	    .headers = headers,
	    .connect_ms = INSTANCE_MS,
	    .total_ms = INSTANCE_MS,
	};
	size_t len = strlen(host);
	char *url;
	int err;

	while (len > 0 && host[len - 1] == '/')
		len--;
	if (asprintf(&url, "%.*s%s", (int)len, host, path) < 0)
		return fail(asking, "instance metadata", "no memory", -ENOMEM);
	q.url = url;
	err = ask(&q, "instance metadata", asking, ret);
	free(url);
	return err;
}

/* The first line of a body, if it is one that may stand in a header or a path. */
static const char *first_line(struct scout_http_answer *a)
{
	a->body[strcspn(a->body, "\r\n")] = '\0';
	for (const char *p = a->body; *p; p++) {
		if (*p <= ' ' || *p >= 0x7f || strchr("/?#%\\", *p))
			return NULL;
	}
	return *a->body ? a->body : NULL;
}

static int ask_for_token(struct scout_s3_asking *asking, char **header)
{
	struct scout_http_answer a = {0};
	const char *token;
	int err = ask_instance(asking, "PUT", "/latest/api/token",
			       "X-aws-ec2-metadata-token-ttl-seconds: " TOKEN_LIFE_S, &a);

	if (err)
		return err;
	a.body[strcspn(a.body, "\r\n")] = '\0';
	token = a.body;
	if (!*token || strlen(token) > TOKEN_MAX)
		err = fail(asking, "instance metadata", "no token in the answer", -EINVAL);
	else if (asprintf(header, "X-aws-ec2-metadata-token: %s", token) < 0)
		err = fail(asking, "instance metadata", "no memory", -ENOMEM);
	scout_http_answer_free(&a);
	return err;
}

static int ask_for_role(struct scout_s3_asking *asking, const char *header, char **path)
{
	struct scout_http_answer a = {0};
	const char *role;
	int err = ask_instance(asking, "GET", ROLE_PATH, header, &a);

	if (err)
		return err;
	role = first_line(&a);
	if (!role)
		err = fail(asking, "instance metadata", "no role in the answer", -EINVAL);
	else if (asprintf(path, ROLE_PATH "%s", role) < 0)
		err = fail(asking, "instance metadata", "no memory", -ENOMEM);
	scout_http_answer_free(&a);
	return err;
}

int scout_s3_ask_instance(struct scout_s3_asking *asking, struct scout_s3_answer *ret)
{
	struct scout_http_answer a = {0};
	char *header = NULL, *path = NULL;
	int err = ask_for_token(asking, &header);

	if (!err)
		err = ask_for_role(asking, header, &path);
	if (!err)
		err = ask_instance(asking, "GET", path, header, &a);
	if (!err)
		err = take_json(&a, "instance metadata", asking, ret);
	scout_wipe(header);
	free(path);
	return err;
}
