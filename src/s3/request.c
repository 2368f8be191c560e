/* Setting up an attempt: URL, signature, headers, libcurl's options. See transfer.h. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3/callbacks.h"
#include "s3/etag.h"
#include "s3/op.h"
#include "s3/sigv4.h"
#include "s3/transfer.h"
#include "s3/url.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"

#define MAX_SIGNED_HEADERS 8

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct scout_s3_context *c = arg;
	int fd = scout_s3_warm_take(&c->warm, &c->sockets, &address->addr, address->addrlen,
				    address->socktype, address->protocol);

	(void)purpose;
	if (fd >= 0)
		return fd;
	if (scout_s3_sockets_count(&c->sockets) >= c->config->max_connections)
		scout_s3_warm_drop_one(&c->warm, &c->sockets);
	return scout_s3_socket_open(&c->sockets, address->family, address->socktype,
				    address->protocol);
}

static int tell_connected(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	struct scout_s3_context *c = arg;

	(void)purpose;
	return scout_s3_warm_was_given(&c->warm, fd) ? CURL_SOCKOPT_ALREADY_CONNECTED
						     : CURL_SOCKOPT_OK;
}

static int close_socket(void *arg, curl_socket_t fd)
{
	return scout_s3_socket_close(arg, fd);
}

/* libcurl itself sends a request again when a connection that was used before ends without a byte of an answer. */
static int count_request(void *arg, char *peer, char *own, int peer_port, int own_port)
{
	struct scout_s3_transfer *t = arg;

	(void)peer, (void)own, (void)peer_port, (void)own_port;
	t->times++;
	if (t->times > 1 && !t->dropped)
		t->call->in_doubt = true;
	return CURL_PREREQFUNC_OK;
}

CURL *scout_s3_easy_new(struct scout_s3_context *context)
{
	const struct scout_models_config *config = context->config;
	const char *bundle = getenv("AWS_CA_BUNDLE");
	long timeout_ms = (long)(config->timeout_ns / SCOUT_NS_PER_MS);
	CURL *easy = curl_easy_init();
	bool ok;

	if (!easy)
		return NULL;
	ok = !curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) &&
	     !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") &&
	     !curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	     !curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L) &&
	     !curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L) &&
	     !curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)config->connection_bytes) &&
	     !curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms) &&
	     !curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
	     !curl_easy_setopt(easy, CURLOPT_USERAGENT, "scoutfs") &&
	     !curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) &&
	     !curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, context) &&
	     !curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, tell_connected) &&
	     !curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, context) &&
	     !curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket) &&
	     !curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, &context->sockets) &&
	     !curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, count_request) &&
	     !curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, scout_s3_on_header) &&
	     !curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, scout_s3_on_body) &&
	     !curl_easy_setopt(easy, CURLOPT_READFUNCTION, scout_s3_on_send) &&
	     !curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, scout_s3_on_rewind);
	/* An attempt that is given up does not wait for its name to resolve. */
	ok = ok && !curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	if (scout_s3_is_loopback(config->endpoint))
		ok = ok && !curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	if (bundle && *bundle)
		ok = ok && !curl_easy_setopt(easy, CURLOPT_CAINFO, bundle);
	if (!ok) {
		curl_easy_cleanup(easy);
		return NULL;
	}
	return easy;
}

static int make_list_url(const struct scout_s3_transfer *t, struct scout_s3_url *ret)
{
	const struct scout_s3_call *call = t->call;
	struct scout_s3_param params[SCOUT_S3_PARAMS_MAX];
	bool versions = call->op == SCOUT_S3_LIST_VERSIONS;
	char max_keys[16];
	size_t n = 0;

	snprintf(max_keys, sizeof(max_keys), "%u", call->max_keys);
	params[n++] = versions ? (struct scout_s3_param){"versions", ""}
			       : (struct scout_s3_param){"list-type", "2"};
	params[n++] = (struct scout_s3_param){"encoding-type", "url"};
	params[n++] = (struct scout_s3_param){"max-keys", max_keys};
	if (call->prefix && *call->prefix)
		params[n++] = (struct scout_s3_param){"prefix", call->prefix};
	if (call->delimiter)
		params[n++] = (struct scout_s3_param){"delimiter", call->delimiter};
	if (call->continuation)
		params[n++] = (struct scout_s3_param){
		    versions ? "key-marker" : "continuation-token", call->continuation};
	if (versions && call->version_marker)
		params[n++] = (struct scout_s3_param){"version-id-marker", call->version_marker};
	if (!versions && call->start_after && !call->continuation)
		params[n++] = (struct scout_s3_param){"start-after", call->start_after};
	return scout_s3_url_new(&t->context->place, NULL, params, n, ret);
}

static int make_url(const struct scout_s3_transfer *t, struct scout_s3_url *ret)
{
	const struct scout_s3_call *call = t->call;
	bool bucket = scout_s3_op_traits(call->op)->bucket;
	struct scout_s3_param params[SCOUT_S3_PARAMS_MAX];
	char number[16];
	size_t n;

	if (scout_s3_is_listing(call->op))
		return make_list_url(t, ret);
	assert(bucket || (call->key && *call->key));
	n = scout_s3_op_params(call, params, number);
	if (call->version_id)
		params[n++] = (struct scout_s3_param){"versionId", call->version_id};
	return scout_s3_url_new(&t->context->place, bucket ? NULL : call->key, params, n, ret);
}

static int add_header(struct scout_s3_transfer *t, const char *name, const char *value)
{
	struct scout_text line = {0};
	struct curl_slist *longer = NULL;

	scout_text_printf(&line, "%s: %s", name, value);
	if (!line.failed)
		longer = curl_slist_append(t->headers, line.str);
	if (line.str)
		explicit_bzero(line.str, line.len); /* a session token, perhaps */
	scout_text_free(&line);
	if (!longer)
		return -ENOMEM;
	t->headers = longer;
	return 0;
}

/* What is signed of the body. Over https nobody in between could change it. */
static const char *payload(const struct scout_s3_call *call)
{
	if (call->body_bytes == 0)
		return SCOUT_SIGV4_EMPTY_SHA256;
	return call->body_sha256 ? call->body_sha256 : "UNSIGNED-PAYLOAD";
}

/* Adds the signature over what t->headers was made from. */
static int add_signature(struct scout_s3_transfer *t, const struct scout_s3_url *url,
			 const struct scout_sigv4_header *headers, size_t n, const char *date)
{
	const struct scout_s3_credentials *c = t->signer;
	struct scout_sigv4_request request = {
	    .method = t->aloud ? "GET" : scout_s3_op_traits(t->call->op)->method,
	    .path = url->path,
	    .query = url->query,
	    .headers = headers,
	    .nheaders = n,
	    .payload_sha256 = payload(t->call),
	};
	struct scout_sigv4_scope scope = {
	    .access_key_id = c->access_key_id,
	    .secret_access_key = c->secret_access_key,
	    .region = t->context->place.region,
	    .service = "s3",
	    .date = date,
	};
	char *authorization = NULL;
	int err = scout_sigv4_sign(&request, &scope, &authorization);

	if (!err)
		err = add_header(t, "Authorization", authorization);
	free(authorization);
	return err;
}

/* Which attempt of which call this is, as AWS's SDKs tell it: logs of servers and of gateways tell
 * retries and hedges from new requests by it. */
static int add_invocation(struct scout_s3_transfer *t)
{
	uint64_t hi = t->context->instance, lo = t->number;
	char id[40], attempt[48];
	int err;

	snprintf(id, sizeof(id), "%08x-%04x-%04x-%04x-%012" PRIx64, (unsigned)(hi >> 32),
		 (unsigned)(hi >> 16 & 0xffff), (unsigned)(hi & 0xffff), (unsigned)(lo >> 48),
		 lo & 0xffffffffffff);
	snprintf(attempt, sizeof(attempt), "attempt=%u; max=%u", t->attempts + 1,
		 t->context->config->max_attempts);
	err = add_header(t, "amz-sdk-invocation-id", id);
	return err ? err : add_header(t, "amz-sdk-request", attempt);
}

/* The headers, all of them signed but conditions: their blanks would be a matter of opinion,
 * and what tells attempts apart. */
static int make_headers(struct scout_s3_transfer *t, const struct scout_s3_url *url)
{
	const struct scout_s3_credentials *c = t->signer;
	const struct scout_s3_call *call = t->call;
	const char *pinned = call->op == SCOUT_S3_GET ? scout_s3_transfer_pinned(t) : NULL;
	struct scout_sigv4_header headers[MAX_SIGNED_HEADERS];
	char range[64], date[SCOUT_SIGV4_DATE_MAX];
	size_t n = 0;
	int err = 0;

	headers[n++] = (struct scout_sigv4_header){"host", url->host};
	if (call->op == SCOUT_S3_GET) {
		snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, call->offset + t->got,
			 call->offset + t->upto - 1);
		headers[n++] = (struct scout_sigv4_header){"range", range};
	} else if (t->aloud && call->part == 0) { /* S3 refuses both */
		headers[n++] = (struct scout_sigv4_header){"range", "bytes=0-0"};
	}
	if (call->op == SCOUT_S3_HEAD && call->checksums)
		headers[n++] = (struct scout_sigv4_header){"x-amz-checksum-mode", "ENABLED"};
	t->signed_at =
	    (time_t)((int64_t)(scout_wall_ns() / SCOUT_NS_PER_S) + t->context->clock_offset_s);
	scout_sigv4_date(date, t->signed_at);
	if (c->access_key_id) {
		headers[n++] = (struct scout_sigv4_header){"x-amz-content-sha256", payload(call)};
		headers[n++] = (struct scout_sigv4_header){"x-amz-date", date};
	}
	if (call->mark)
		headers[n++] = (struct scout_sigv4_header){SCOUT_S3_MARK, call->mark};
	if (c->access_key_id) {
		if (t->context->config->requester_pays)
			headers[n++] =
			    (struct scout_sigv4_header){"x-amz-request-payer", "requester"};
		if (c->session_token)
			headers[n++] =
			    (struct scout_sigv4_header){"x-amz-security-token", c->session_token};
	}
	for (size_t i = 0; i < n && !err; i++)
		err = add_header(t, headers[i].name, headers[i].value);
	if (!err && pinned && !scout_s3_etag_is_weak(pinned)) /* else the answer's alone tells */
		err = add_header(t, "If-Match", pinned);
	if (!err && call->if_none_match)
		err = add_header(t, "If-None-Match", "*");
	if (!err)
		err = add_invocation(t);
	if (!err && call->body_bytes > 0)
		err = add_header(t, "Expect", ""); /* no round trip before the body */
	if (!err && c->access_key_id)
		err = add_signature(t, url, headers, n, date);
	return err;
}

/* On a handle that is set to GET. */
static bool set_method(struct scout_s3_transfer *t, CURL *easy)
{
	const struct scout_s3_op_traits *traits = scout_s3_op_traits(t->call->op);
	bool usual = t->call->op == SCOUT_S3_GET || t->call->op == SCOUT_S3_HEAD;
	bool ok = !curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, usual ? NULL : traits->method);

	if (traits->sends)
		ok = ok && !curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L) &&
		     !curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
				       (curl_off_t)t->call->body_bytes) &&
		     !curl_easy_setopt(easy, CURLOPT_READDATA, t) &&
		     !curl_easy_setopt(easy, CURLOPT_SEEKDATA, t);
	return ok;
}

static int set_options(struct scout_s3_transfer *t, CURL *easy, const char *url)
{
	bool bodyless = t->call->op == SCOUT_S3_HEAD && !t->aloud;
	/* The one switches the other off, so the order matters on a handle used before. */
	bool ok = !curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) &&
		  !curl_easy_setopt(easy, CURLOPT_NOBODY, bodyless ? 1L : 0L) &&
		  set_method(t, easy) && !curl_easy_setopt(easy, CURLOPT_URL, url) &&
		  !curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers) &&
		  !curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->curl_error) &&
		  !curl_easy_setopt(easy, CURLOPT_HEADERDATA, t) &&
		  !curl_easy_setopt(easy, CURLOPT_WRITEDATA, t) &&
		  !curl_easy_setopt(easy, CURLOPT_PREREQDATA, t) &&
		  !curl_easy_setopt(easy, CURLOPT_PRIVATE, t);

	return ok ? 0 : -ENOMEM;
}

int scout_s3_transfer_begin(struct scout_s3_transfer *t, CURL *easy, uint64_t most_bytes,
			    const struct scout_s3_credentials *signer)
{
	struct scout_s3_url url;
	int err;

	err = make_url(t, &url);
	if (err)
		return err;
	memset(&t->response, 0, sizeof(t->response));
	scout_text_free(&t->body);
	scout_text_free(&t->header_lines);
	t->judged = t->refused = t->too_long = t->has_body = t->slow = false;
	t->curl_error[0] = '\0';
	if (!t->twin && t->got < t->handed_over)
		t->got = t->handed_over;
	t->anew_at = t->got;
	t->upto = t->call->length;
	if (scout_s3_transfer_pinned(t) && t->upto - t->got > most_bytes)
		t->upto = t->got + most_bytes;
	memcpy(t->region, t->context->place.region, sizeof(t->region));
	t->acked = t->lively_acked = 0;
	t->first_ns = 0;
	t->times = 0;
	t->sent = t->moved = t->lively_moved = t->counted = 0;
	t->begun_ns = t->heard_ns = t->lively_ns = t->looked_ns = scout_now_ns();
	t->heard_awake_ns = t->context->pulse.awake_ns;
	t->heard_alive_ns = scout_s3_pulse_alive_ns(&t->context->pulse);
	t->signer = signer;
	t->token_of = signer->session_token ? signer->id : 0;
	err = make_headers(t, &url);
	t->signer = NULL;
	if (!err)
		err = set_options(t, easy, url.url);
	scout_s3_url_free(&url);
	t->easy = easy;
	if (err)
		(void)scout_s3_transfer_release(t); /* the caller has easy */
	else
		t->attempts++;
	return err;
}

CURL *scout_s3_transfer_release(struct scout_s3_transfer *t)
{
	CURL *easy = t->easy;

	t->easy = NULL;
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL); /* clearing cannot fail */
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
	for (struct curl_slist *h = t->headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(t->headers);
	t->headers = NULL;
	return easy;
}
