/* Keys from the Security Token Service: AssumeRole, signed, and AssumeRoleWithWebIdentity, which brings its
 * own proof (AWS STS API reference, version 2011-06-15); see source.h. What is sent and answered is
 * secret. No lock. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3/answer.h"
#include "s3/http.h"
#include "s3/metadata.h"
#include "s3/sigv4.h"
#include "s3/source.h"
#include "s3/url.h"
#include "scoutfs/clock.h"
#include "scoutfs/text.h"

#define CONNECT_MS 5000
#define TOTAL_MS 10000
#define ATTEMPTS 2
#define TOKEN_MAX 20000 /* STS's own limit of WebIdentityToken */
#define MAX_SKEW_S 240  /* STS refuses at 300 */
#define CONTENT_TYPE "application/x-www-form-urlencoded; charset=utf-8"

/* Regions that the endpoint without a region serves, for who asks for "legacy" endpoints. */
static const char *const global_regions[] = {
    "ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
    "eu-central-1",   "eu-north-1", "eu-west-1",      "eu-west-2",      "eu-west-3",
    "sa-east-1",      "us-east-1",  "us-east-2",      "us-west-1",      "us-west-2",
};

/* Where to ask; host and path point into url. */
struct endpoint {
	char *url;
	char *host;
	const char *path;
	const char *region; /* that signs */
};

static bool is_global(const struct scout_s3_source *s)
{
	for (size_t i = 0; s->sts_global && i < sizeof(global_regions) / sizeof(*global_regions);
	     i++) {
		if (strcmp(s->sts_region, global_regions[i]) == 0)
			return true;
	}
	return false;
}

static int find_endpoint(const struct scout_s3_source *s, struct endpoint *ret)
{
	const char *given = s->sts_url, *authority;
	size_t len;
	int n;

	ret->region = s->sts_region;
	len = given ? strlen(given) : 0;
	while (len > 0 && given[len - 1] == '/')
		len--;
	if (given) {
		n = asprintf(&ret->url, "%.*s/", (int)len, given);
	} else if (is_global(s)) {
		ret->region = "us-east-1";
		n = asprintf(&ret->url, "https://sts.amazonaws.com/");
	} else {
		n = asprintf(&ret->url, "https://sts.%s.amazonaws.com%s/", s->sts_region,
			     strncmp(s->sts_region, "cn-", 3) == 0 ? ".cn" : "");
	}
	if (n < 0) {
		ret->url = NULL;
		return -ENOMEM;
	}
	authority = strstr(ret->url, "://");
	if (!authority) {
		free(ret->url);
		return -EINVAL;
	}
	ret->path = strchr(authority + 3, '/');
	ret->host = strndup(authority + 3, (size_t)(ret->path - authority - 3));
	if (ret->host)
		return 0;
	free(ret->url);
	return -ENOMEM;
}

static void append_param(struct scout_text *body, const char *name, const char *value)
{
	if (!value)
		return;
	scout_text_printf(body, "%s%s=", body->len > 0 ? "&" : "", name);
	scout_s3_encode(body, value, false);
}

/* The form; NULL without memory. token: of the web identity, or NULL. */
static char *make_body(const struct scout_s3_source *s, const char *token)
{
	/* once grown so far, it does not leave copies of the token behind */
	struct scout_text body = {.str = calloc(1, 4 * TOKEN_MAX), .cap = 4 * TOKEN_MAX};
	char seconds[16];

	if (!body.str)
		return NULL;
	append_param(&body, "Action", token ? "AssumeRoleWithWebIdentity" : "AssumeRole");
	append_param(&body, "Version", "2011-06-15");
	append_param(&body, "RoleArn", s->role_arn);
	append_param(&body, "RoleSessionName", s->session_name);
	append_param(&body, "ExternalId", s->external_id);
	append_param(&body, "WebIdentityToken", token);
	snprintf(seconds, sizeof(seconds), "%u", s->duration_s);
	append_param(&body, "DurationSeconds", s->duration_s ? seconds : NULL);
	return scout_text_take(&body);
}

#define MAX_HEADERS 6

struct headers {
	char *line[MAX_HEADERS + 1];
	size_t n;
	bool failed;
};

static void add_header(struct headers *h, const char *name, const char *value)
{
	char *line;

	if (asprintf(&line, "%s: %s", name, value) < 0)
		h->failed = true;
	else
		h->line[h->n++] = line;
}

static void free_headers(struct headers *h)
{
	for (size_t i = 0; i < h->n; i++)
		scout_wipe(h->line[i]);
	memset(h, 0, sizeof(*h));
}

static int make_headers(const struct endpoint *to, const struct scout_s3_credentials *signer,
			const char *body, int64_t skew_s, struct headers *ret)
{
	char date[SCOUT_SIGV4_DATE_MAX], hash[SCOUT_SHA256_MAX], *authorization = NULL;
	struct scout_sigv4_header signed_headers[] = {
	    {"content-type", CONTENT_TYPE},
	    {"host", to->host},
	    {"x-amz-date", date},
	    {"x-amz-security-token", signer ? signer->session_token : NULL},
	};
	struct scout_sigv4_request request = {
	    .method = "POST",
	    .path = to->path,
	    .query = "",
	    .headers = signed_headers,
	    .nheaders = signer && signer->session_token ? 4 : 3,
	    .payload_sha256 = hash,
	};
	struct scout_sigv4_scope scope = {.region = to->region, .service = "sts", .date = date};
	int err;

	memset(ret, 0, sizeof(*ret));
	scout_sigv4_date(date, (time_t)((int64_t)(scout_wall_ns() / SCOUT_NS_PER_S) + skew_s));
	for (size_t i = 0; i < (signer ? request.nheaders : 2); i++)
		add_header(ret, signed_headers[i].name, signed_headers[i].value);
	if (!signer)
		return ret->failed ? -ENOMEM : 0;
	scope.access_key_id = signer->access_key_id;
	scope.secret_access_key = signer->secret_access_key;
	err = scout_sigv4_hash(body, strlen(body), hash);
	if (!err)
		err = scout_sigv4_sign(&request, &scope, &authorization);
	if (!err)
		add_header(ret, "Authorization", authorization);
	free(authorization);
	return ret->failed ? -ENOMEM : err;
}

/* One attempt; 0 with whatever STS answered. */
static int ask_once(const struct endpoint *to, const struct scout_s3_credentials *signer,
		    const char *body, struct scout_s3_asking *asking, struct scout_http_answer *ret)
{
	struct headers headers;
	int err = make_headers(to, signer, body, asking->skew_s, &headers);

	if (err) {
		snprintf(asking->reason, sizeof(asking->reason), "%s", strerror(-err));
	} else {
		struct scout_http_question q = {
		    .method = "POST",
		    .url = to->url,
		    .headers = (const char *const *)headers.line,
		    .body = body,
		    .connect_ms = CONNECT_MS,
		    .total_ms = TOTAL_MS,
		    .direct = scout_s3_is_loopback(to->url),
		    .ca_bundle = asking->env->value[SCOUT_AWS_CA_BUNDLE],
		    .stop_fd = asking->stop_fd,
		};

		err = scout_http_ask(&q, ret, asking->reason);
	}
	free_headers(&headers);
	return err;
}

/* Whether another attempt may do: it was ill, or our clock is wrong, which is put right. */
static bool try_again(const struct scout_http_answer *a, struct scout_s3_asking *asking)
{
	if (a->status == 403 && llabs((long long)(a->skew_s - asking->skew_s)) > MAX_SKEW_S) {
		asking->skew_s = a->skew_s;
		return true;
	}
	return a->status >= 500;
}

static int ask(const struct endpoint *to, const struct scout_s3_credentials *signer,
	       const char *body, struct scout_s3_asking *asking, struct scout_s3_answer *ret)
{
	struct scout_http_answer a = {0};
	char why[SCOUT_S3_REASON_MAX];
	int err = -EIO;

	for (int attempt = 1; attempt <= ATTEMPTS && err == -EIO; attempt++) {
		scout_http_answer_free(&a);
		err = ask_once(to, signer, body, asking, &a);
		if (!err && attempt < ATTEMPTS && try_again(&a, asking))
			err = -EIO;
	}
	if (!err)
		err = scout_s3_parse_sts(a.body, a.len, ret, why);
	if (!err && a.status != 200)
		scout_s3_answer_free(ret);
	if (a.status && (err || a.status != 200)) {
		snprintf(asking->reason, sizeof(asking->reason), "%ld %.200s", a.status,
			 err ? why : "with credentials");
		err = err ? err : -EINVAL;
	}
	if (!err)
		ret->expires_s -= a.skew_s;
	scout_http_answer_free(&a);
	return err;
}

int scout_s3_ask_sts(const struct scout_s3_source *s, const struct scout_s3_credentials *signer,
		     struct scout_s3_asking *asking, struct scout_s3_answer *ret)
{
	char *token = NULL, *body = NULL, why[SCOUT_S3_REASON_MAX];
	struct endpoint to = {0};
	int err = find_endpoint(s, &to);

	if (err) {
		snprintf(asking->reason, sizeof(asking->reason), "STS: the endpoint is no URL");
		return err == -ENOMEM ? err : -EACCES;
	}
	snprintf(asking->reason, sizeof(asking->reason), "no memory");
	if (s->kind == SCOUT_SOURCE_WEB_IDENTITY) {
		err = scout_s3_read_token(s->token_file, TOKEN_MAX, &token);
		if (err)
			snprintf(asking->reason, sizeof(asking->reason), "%.150s: %s",
				 s->token_file, strerror(-err));
	}
	if (!err) {
		body = make_body(s, token);
		err = body ? ask(&to, signer, body, asking, ret) : -ENOMEM;
	}
	if (err) {
		memcpy(why, asking->reason, sizeof(why));
		snprintf(asking->reason, sizeof(asking->reason), "STS at %.60s: %.180s", to.host,
			 why);
	}
	scout_wipe(body);
	scout_wipe(token);
	free(to.url);
	free(to.host);
	return err && err != -ECANCELED && err != -ENOMEM ? -EACCES : err;
}
