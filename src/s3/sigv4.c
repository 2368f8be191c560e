/* AWS Signature Version 4 with libcrypto's SHA-256 and HMAC; see sigv4.h. libcurl's own signer does
 * not sort the query and knows no session token header, so the two pages of the algorithm are here.
 * Keys derived from the secret are wiped. */
#include "s3/sigv4.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "scoutfs/text.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define DAY_LEN 8 /* of x-amz-date */
#define HEX_MAX SCOUT_SHA256_MAX

static void to_hex(char out[HEX_MAX], const uint8_t digest[SHA256_DIGEST_LENGTH])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
		*out++ = digits[digest[i] >> 4];
		*out++ = digits[digest[i] & 15];
	}
	*out = '\0';
}

static bool hmac(const void *key, size_t key_len, const char *text, size_t len,
		 uint8_t out[SHA256_DIGEST_LENGTH])
{
	return HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, len, out, NULL) != NULL;
}

void scout_sigv4_date(char buf[SCOUT_SIGV4_DATE_MAX], time_t when)
{
	struct tm tm;

	buf[0] = '\0';
	if (gmtime_r(&when, &tm))
		strftime(buf, SCOUT_SIGV4_DATE_MAX, "%Y%m%dT%H%M%SZ", &tm);
}

int scout_sigv4_hash(const void *bytes, size_t len, char ret[SCOUT_SHA256_MAX])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];

	if (!EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL))
		return -EIO;
	to_hex(ret, digest);
	return 0;
}

static void append_signed_names(struct scout_text *out, const struct scout_sigv4_request *r)
{
	for (size_t i = 0; i < r->nheaders; i++)
		scout_text_printf(out, "%s%s", i > 0 ? ";" : "", r->headers[i].name);
}

static bool update(EVP_MD_CTX *md, const char *text)
{
	return EVP_DigestUpdate(md, text, strlen(text));
}

/* The canonical request, piece by piece: one of the headers is a session token, perhaps, of which no copy
 * shall stay behind. */
static bool update_request(EVP_MD_CTX *md, const struct scout_sigv4_request *r)
{
	bool ok = update(md, r->method) && update(md, "\n") && update(md, r->path) &&
		  update(md, "\n") && update(md, r->query) && update(md, "\n");

	for (size_t i = 0; i < r->nheaders; i++)
		ok = ok && update(md, r->headers[i].name) && update(md, ":") &&
		     update(md, r->headers[i].value) && update(md, "\n");
	for (size_t i = 0; i < r->nheaders; i++)
		ok = ok && update(md, i > 0 ? ";" : "\n") && update(md, r->headers[i].name);
	return ok && update(md, "\n") && update(md, r->payload_sha256);
}

/* Task 1: the hash of the canonical request. */
static int hash_request(const struct scout_sigv4_request *r, char out[HEX_MAX])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && update_request(md, r) &&
		  EVP_DigestFinal_ex(md, digest, NULL);

	EVP_MD_CTX_free(md); /* wipes what it holds */
	if (!ok)
		return -EIO;
	to_hex(out, digest);
	return 0;
}

/* Task 3: the key for this day, region and service. */
static bool signing_key(const struct scout_sigv4_scope *scope, uint8_t key[SHA256_DIGEST_LENGTH])
{
	char secret[512];
	int len = snprintf(secret, sizeof(secret), "AWS4%s", scope->secret_access_key);
	bool ok = len > 0 && (size_t)len < sizeof(secret) &&
		  hmac(secret, (size_t)len, scope->date, DAY_LEN, key) &&
		  hmac(key, SHA256_DIGEST_LENGTH, scope->region, strlen(scope->region), key) &&
		  hmac(key, SHA256_DIGEST_LENGTH, scope->service, strlen(scope->service), key) &&
		  hmac(key, SHA256_DIGEST_LENGTH, "aws4_request", strlen("aws4_request"), key);

	explicit_bzero(secret, sizeof(secret));
	return ok;
}

/* Tasks 2 and 3: the signature of the string to sign. */
static int sign(const struct scout_sigv4_scope *scope, const char *request_hash, char out[HEX_MAX])
{
	struct scout_text text = {0};
	uint8_t key[SHA256_DIGEST_LENGTH], digest[SHA256_DIGEST_LENGTH];
	int err = 0;

	scout_text_printf(&text, ALGORITHM "\n%s\n%.*s/%s/%s/aws4_request\n%s", scope->date,
			  DAY_LEN, scope->date, scope->region, scope->service, request_hash);
	if (text.failed)
		err = -ENOMEM;
	else if (!signing_key(scope, key) || !hmac(key, sizeof(key), text.str, text.len, digest))
		err = -EIO;
	else
		to_hex(out, digest);
	explicit_bzero(key, sizeof(key));
	scout_text_free(&text);
	return err;
}

int scout_sigv4_sign(const struct scout_sigv4_request *request,
		     const struct scout_sigv4_scope *scope, char **ret)
{
	char request_hash[HEX_MAX], signature[HEX_MAX];
	struct scout_text text = {0};
	char *value;
	int err;

	err = hash_request(request, request_hash);
	if (!err)
		err = sign(scope, request_hash, signature);
	if (err)
		return err;
	scout_text_printf(&text, ALGORITHM " Credential=%s/%.*s/%s/%s/aws4_request, SignedHeaders=",
			  scope->access_key_id, DAY_LEN, scope->date, scope->region,
			  scope->service);
	append_signed_names(&text, request);
	scout_text_printf(&text, ", Signature=%s", signature);
	value = scout_text_take(&text);
	if (!value)
		return -ENOMEM;
	*ret = value;
	return 0;
}
