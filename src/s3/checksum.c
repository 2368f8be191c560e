/* Checksums that S3 keeps of an object's bytes (Amazon S3 user guide, "Checking object integrity"), and
 * running digests to compare with. Taken are those of the whole object: not the composite ones of an
 * upload in parts, which end in "-N" or say so; and of ETags those that are an MD5, which they are when
 * an object came in one part and is not encrypted by a key of its own. libcrypto computes SHA-1, SHA-256 and
 * single MD5s; the three CRCs, all of them reflected, go by one table each. */
#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3/md5.h"
#include "scoutfs/s3.h"

#define SLICES 8

struct crc {
	uint64_t polynomial; /* reflected */
	uint64_t ones;
	uint64_t table[SLICES][256];
};

static struct crc crc32 = {.polynomial = 0xEDB88320, .ones = UINT32_MAX};
static struct crc crc32c = {.polynomial = 0x82F63B78, .ones = UINT32_MAX};
static struct crc crc64nvme = {.polynomial = UINT64_C(0x9A6C9329AC4BC9B5), .ones = UINT64_MAX};

/* In the order of trust. */
static const struct {
	const char *header;
	size_t len;
	struct crc *crc;
	const EVP_MD *(*evp)(void);
} kinds[] = {
    [SCOUT_S3_NO_CHECKSUM] = {"", 0, NULL, NULL},
    [SCOUT_S3_MD5] = {"", SCOUT_MD5_BYTES, NULL, NULL},
    [SCOUT_S3_CRC32] = {"x-amz-checksum-crc32", 4, &crc32, NULL},
    [SCOUT_S3_CRC32C] = {"x-amz-checksum-crc32c", 4, &crc32c, NULL},
    [SCOUT_S3_CRC64NVME] = {"x-amz-checksum-crc64nvme", 8, &crc64nvme, NULL},
    [SCOUT_S3_SHA1] = {"x-amz-checksum-sha1", 20, NULL, EVP_sha1},
    [SCOUT_S3_SHA256] = {"x-amz-checksum-sha256", 32, NULL, EVP_sha256},
};

_Static_assert(SCOUT_S3_DIGESTS_MAX <= SCOUT_MD5_LANES, "a digest has a lane");

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct scout_s3_digest {
	struct scout_s3_checksum want;
	/* of these its kind's own */
	uint64_t crc;
	struct scout_md5 *md5;
	EVP_MD_CTX *evp;
};

/* ---- what the server says ---- */

static int base64_digit(char c)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Exactly len bytes (RFC 4648); false: it is something else. */
static bool take_base64(const char *text, uint8_t *to, size_t len)
{
	size_t digits = strcspn(text, "="), n = 0;
	uint32_t bits = 0;

	if (strlen(text) != (len + 2) / 3 * 4 || digits != (len * 8 + 5) / 6 ||
	    strspn(text + digits, "=") != strlen(text + digits))
		return false;
	for (size_t i = 0, have = 0; i < digits; i++) {
		int digit = base64_digit(text[i]);

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have >= 8) {
			have -= 8;
			to[n++] = (uint8_t)(bits >> have);
		}
	}
	return n == len;
}

static bool take_hex(const char *text, uint8_t *to, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 2 * len; i++) {
		const char *at = text[i] ? strchr(digits, text[i] | 0x20) : NULL;

		if (!at)
			return false;
		to[i / 2] = (uint8_t)(to[i / 2] << 4 | (at - digits));
	}
	return true;
}

void scout_s3_sums_header(struct scout_s3_sums *s, const char *name, const char *value)
{
	struct scout_s3_checksum c = {.kind = SCOUT_S3_NO_CHECKSUM};

	if (strcmp(name, "x-amz-checksum-type") == 0)
		s->composite = strcasecmp(value, "FULL_OBJECT") != 0;
	else if (strcmp(name, "x-amz-server-side-encryption") == 0)
		s->opaque_etag |= strcmp(value, "AES256") != 0;
	else if (strcmp(name, "x-amz-server-side-encryption-customer-algorithm") == 0)
		s->opaque_etag = true;
	for (size_t i = SCOUT_S3_MD5 + 1; i < KINDS; i++) {
		if (strcmp(name, kinds[i].header) == 0 && take_base64(value, c.bytes, kinds[i].len))
			c.kind = (enum scout_s3_checksum_kind)i;
	}
	if (c.kind > s->best.kind)
		s->best = c;
}

void scout_s3_sums_whole(const struct scout_s3_sums *s, const char *etag,
			 struct scout_s3_checksum *ret)
{
	size_t len = 2 * kinds[SCOUT_S3_MD5].len;

	*ret = (struct scout_s3_checksum){.kind = SCOUT_S3_NO_CHECKSUM};
	if (s->best.kind != SCOUT_S3_NO_CHECKSUM && !s->composite)
		*ret = s->best;
	else if (!s->opaque_etag && strlen(etag) == len + 2 && etag[0] == '"' &&
		 take_hex(etag + 1, ret->bytes, kinds[SCOUT_S3_MD5].len))
		ret->kind = SCOUT_S3_MD5;
}

/* ---- digests ---- */

static void fill(struct crc *c)
{
	for (uint64_t i = 0; i < 256; i++) {
		uint64_t r = i;

		for (int bit = 0; bit < 8; bit++)
			r = r & 1 ? r >> 1 ^ c->polynomial : r >> 1;
		c->table[0][i] = r;
	}
	for (size_t s = 1; s < SLICES; s++) {
		for (size_t i = 0; i < 256; i++) {
			uint64_t before = c->table[s - 1][i];

			c->table[s][i] = before >> 8 ^ c->table[0][before & 0xff];
		}
	}
}

static void fill_all(void)
{
	fill(&crc32);
	fill(&crc32c);
	fill(&crc64nvme);
}

static uint64_t crc_update(const struct crc *c, uint64_t r, const uint8_t *p, size_t len)
{
	for (; len >= SLICES; p += SLICES, len -= SLICES) {
		uint64_t x;

		memcpy(&x, p, sizeof(x));
		x = le64toh(x) ^ r;
		r = 0;
#pragma GCC unroll 8
		for (size_t s = 0; s < SLICES; s++)
			r ^= c->table[SLICES - 1 - s][x >> (8 * s) & 0xff];
	}
	for (; len > 0; p++, len--)
		r = r >> 8 ^ c->table[0][(r ^ *p) & 0xff];
	return r;
}

int scout_s3_digest_new(const struct scout_s3_checksum *want, struct scout_s3_digest **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct scout_s3_digest *d = calloc(1, sizeof(*d));
	int err = 0;

	if (!d)
		return -ENOMEM;
	pthread_once(&once, fill_all);
	d->want = *want;
	if (kinds[want->kind].crc) {
		d->crc = kinds[want->kind].crc->ones;
	} else if (want->kind == SCOUT_S3_MD5) {
		d->md5 = scout_md5_new();
		err = d->md5 ? 0 : -ENOMEM;
	} else {
		d->evp = EVP_MD_CTX_new();
		if (!d->evp || EVP_DigestInit_ex(d->evp, kinds[want->kind].evp(), NULL) != 1)
			err = -ENOTSUP; /* a libcrypto that forbids it, perhaps */
	}
	if (err) {
		scout_s3_digest_free(d);
		return err;
	}
	*ret = d;
	return 0;
}

void scout_s3_digest_free(struct scout_s3_digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->evp);
	scout_md5_free(d->md5);
	free(d);
}

void scout_s3_digest_update(struct scout_s3_digest *d, const void *bytes, size_t len)
{
	if (d->evp)
		(void)EVP_DigestUpdate(d->evp, bytes, len); /* fails for wrong contexts only */
	else if (d->md5)
		scout_md5_update(d->md5, bytes, len);
	else
		d->crc = crc_update(kinds[d->want.kind].crc, d->crc, bytes, len);
}

bool scout_s3_digests_together(enum scout_s3_checksum_kind kind)
{
	return kind == SCOUT_S3_MD5;
}

void scout_s3_digests_update(struct scout_s3_digest *const d[], const void *const bytes[], size_t n,
			     size_t len)
{
	struct scout_md5 *md5[SCOUT_S3_DIGESTS_MAX];
	size_t nmd5 = 0;

	while (nmd5 < n && d[nmd5]->md5) {
		md5[nmd5] = d[nmd5]->md5;
		nmd5++;
	}
	if (nmd5 > 0)
		scout_md5_update_all(md5, bytes, nmd5, len);
	for (size_t i = nmd5; i < n; i++)
		scout_s3_digest_update(d[i], bytes[i], len);
}

bool scout_s3_digest_matches(struct scout_s3_digest *d)
{
	const struct crc *crc = kinds[d->want.kind].crc;
	size_t len = kinds[d->want.kind].len;
	uint8_t got[EVP_MAX_MD_SIZE];

	if (d->evp) {
		if (EVP_DigestFinal_ex(d->evp, got, NULL) != 1)
			return false;
	} else if (d->md5) {
		scout_md5_end(d->md5, got);
	} else {
		uint64_t sum = htobe64((d->crc ^ crc->ones) << (64 - 8 * len));

		memcpy(got, &sum, len);
	}
	return memcmp(got, d->want.bytes, len) == 0;
}

const char *scout_s3_checksum_name(enum scout_s3_checksum_kind kind)
{
	return kind == SCOUT_S3_MD5 ? "MD5 (ETag)" : kinds[kind].header + strlen("x-amz-checksum-");
}
