/* The hash of a body that is signed with it; see scoutfs/s3.h. On the caller's thread, so that the
 * engine's has its time for the network. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

#include "s3/engine.h"
#include "scoutfs/config.h"

#define STEP 16384

static bool update(EVP_MD_CTX *md, struct scout_s3_call *call)
{
	uint64_t at = 0;
	char bytes[STEP];

	while (at < call->body_bytes) {
		size_t n = call->body(call, at, bytes, sizeof(bytes));

		if (n == 0 || !EVP_DigestUpdate(md, bytes, n))
			return false;
		at += n;
	}
	return true;
}

int scout_s3_hash_body(struct scout_s3 *s3, struct scout_s3_call *call, char buf[SCOUT_SHA256_MAX])
{
	unsigned char digest[(SCOUT_SHA256_MAX - 1) / 2];
	EVP_MD_CTX *md;
	bool ok;

	if (strncasecmp(s3->context.config->endpoint, "https:", 6) == 0)
		return 0;
	md = EVP_MD_CTX_new();
	ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && update(md, call) &&
	     EVP_DigestFinal_ex(md, digest, NULL);
	EVP_MD_CTX_free(md);
	if (!ok)
		return -EIO;
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(buf + 2 * i, 3, "%02x", digest[i]);
	call->body_sha256 = buf;
	return 0;
}
