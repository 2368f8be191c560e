/* Small questions over HTTP; see http.h. A multi handle of its own, since only that can be waited for
 * together with stop_fd. Questions and answers hold secrets: our copies are wiped. */
#include "s3/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "scoutfs/clock.h"

#define BODY_MAX ((size_t)64 << 10) /* a session token has 1 KiB or two */
#define WAIT_MS 1000

struct exchange {
	struct scout_http_answer answer;
	bool too_long;
	char error[CURL_ERROR_SIZE];
};

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	static const char name[] = "date:";
	char value[64];
	size_t len = size * n, skip = sizeof(name) - 1;

	if (len > skip && len - skip < sizeof(value) && strncasecmp(line, name, skip) == 0) {
		time_t date;

		memcpy(value, line + skip, len - skip);
		value[len - skip] = '\0';
		date = curl_getdate(value, NULL);
		if (date > 0)
			x->answer.skew_s =
			    (int64_t)date - (int64_t)(scout_wall_ns() / SCOUT_NS_PER_S);
	}
	return len;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	size_t len = size * n;

	if (len > BODY_MAX - x->answer.len) {
		x->too_long = true;
		return 0;
	}
	memcpy(x->answer.body + x->answer.len, bytes, len);
	x->answer.len += len;
	return len;
}

static bool set_method(CURL *easy, const struct scout_http_question *q)
{
	if (strcmp(q->method, "GET") == 0)
		return !curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	/* a PUT without a body is a POST of nothing under another name */
	return !curl_easy_setopt(easy, CURLOPT_POST, 1L) &&
	       !curl_easy_setopt(easy, CURLOPT_POSTFIELDS, q->body ? q->body : "") &&
	       !curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, q->method);
}

static bool set_up(CURL *easy, const struct scout_http_question *q, struct curl_slist *headers,
		   struct exchange *x)
{
	bool ok = !curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) &&
		  !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") &&
		  !curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
		  !curl_easy_setopt(easy, CURLOPT_USERAGENT, "scoutfs") &&
		  !curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, q->connect_ms) &&
		  !curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, q->total_ms) &&
		  !curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) &&
		  !curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
		  !curl_easy_setopt(easy, CURLOPT_URL, q->url) &&
		  !curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers) &&
		  !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->error) &&
		  !curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) &&
		  !curl_easy_setopt(easy, CURLOPT_HEADERDATA, x) &&
		  !curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) &&
		  !curl_easy_setopt(easy, CURLOPT_WRITEDATA, x) && set_method(easy, q);

	if (q->direct)
		ok = ok && !curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	if (q->ca_bundle)
		ok = ok && !curl_easy_setopt(easy, CURLOPT_CAINFO, q->ca_bundle);
	return ok;
}

/* Runs the only transfer of multi to its end, which total_ms bounds. 0, -ECANCELED or -EIO. */
static int perform(CURLM *multi, int stop_fd, CURLcode *result)
{
	struct curl_waitfd stop = {.fd = stop_fd, .events = CURL_WAIT_POLLIN};
	CURLMcode code = CURLM_OK;

	while (code == CURLM_OK) {
		CURLMsg *message;
		int running, left;

		code = curl_multi_perform(multi, &running);
		message = curl_multi_info_read(multi, &left);
		if (message && message->msg == CURLMSG_DONE) {
			*result = message->data.result;
			return 0;
		}
		if (code == CURLM_OK)
			code = curl_multi_poll(multi, &stop, 1, WAIT_MS, NULL);
		if (stop.revents)
			return -ECANCELED;
	}
	return -EIO;
}

static int run(const struct scout_http_question *q, CURL *easy, CURLM *multi,
	       struct curl_slist *headers, struct exchange *x, char reason[SCOUT_S3_REASON_MAX])
{
	CURLcode result = CURLE_OK;
	int err;

	if (!set_up(easy, q, headers, x) || curl_multi_add_handle(multi, easy) != CURLM_OK)
		return -ENOMEM;
	err = perform(multi, q->stop_fd, &result);
	(void)curl_multi_remove_handle(multi, easy); /* fails only for a wrong handle */
	if (err)
		return err;
	if (x->too_long)
		snprintf(reason, SCOUT_S3_REASON_MAX, "the answer is too long");
	else if (result != CURLE_OK)
		snprintf(reason, SCOUT_S3_REASON_MAX, "%s",
			 *x->error ? x->error : curl_easy_strerror(result));
	if (x->too_long || result != CURLE_OK)
		return -EIO;
	(void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &x->answer.status);
	x->answer.body[x->answer.len] = '\0';
	return 0;
}

static struct curl_slist *list_of(const char *const *lines, bool *ok)
{
	struct curl_slist *list = NULL;

	for (; lines && *lines; lines++) {
		struct curl_slist *longer = curl_slist_append(list, *lines);

		*ok = *ok && longer;
		list = longer ? longer : list;
	}
	return list;
}

int scout_http_ask(const struct scout_http_question *q, struct scout_http_answer *ret,
		   char reason[SCOUT_S3_REASON_MAX])
{
	bool ok = true;
	struct curl_slist *headers = list_of(q->headers, &ok);
	struct exchange x = {.answer = {.body = calloc(1, BODY_MAX + 1)}};
	CURL *easy = curl_easy_init();
	CURLM *multi = curl_multi_init();
	int err = -ENOMEM;

	snprintf(reason, SCOUT_S3_REASON_MAX, "no memory");
	if (ok && easy && multi && x.answer.body)
		err = run(q, easy, multi, headers, &x, reason);
	curl_easy_cleanup(easy);
	if (multi)
		curl_multi_cleanup(multi);
	for (struct curl_slist *h = headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(headers);
	if (err)
		scout_http_answer_free(&x.answer);
	else
		*ret = x.answer;
	return err;
}

void scout_http_answer_free(struct scout_http_answer *a)
{
	if (a->body)
		explicit_bzero(a->body, BODY_MAX);
	free(a->body);
	memset(a, 0, sizeof(*a));
}
