/* Checksums that S3 keeps of an object's bytes (Amazon S3 user guide, "Checking object integrity"), and
 * running digests to compare with. Taken are those of the whole object; of ETags those that are an MD5, which
 * they are when an object came in one part and is not encrypted by a key of its own; and if there is neither, the
 * composite ones of an upload in parts, which end in "-N": the checksum of the N parts' checksums, as bytes, one
 * behind the other. libcrypto computes SHA-1, SHA-256 and single MD5s; the three CRCs, all of them reflected, go
 * by one table each. */
#include <assert.h>
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

#define PARTS_MAX 10000
#define BASE64_MAX 48 /* more than any of them has */

/* Of these its kind's own. */
struct sum {
	uint64_t crc;
	struct scout_md5 *md5;
	EVP_MD_CTX *evp;
};

struct scout_s3_digest {
	struct scout_s3_checksum want;
	struct sum sum;   /* of the bytes; composite: of those of a part */
	uint64_t left;    /* the bytes that it still takes */
	struct sum outer; /* composite: of the sums of the parts before */
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

/* A number of parts, as S3 writes it. */
static bool take_count(const char *text, unsigned *ret)
{
	unsigned n = 0;

	for (; *text >= '0' && *text <= '9' && n <= PARTS_MAX; text++)
		n = n * 10 + (unsigned)(*text - '0');
	*ret = n;
	return !*text && n > 0 && n <= PARTS_MAX;
}

/* Of c's kind. */
static bool take_value(const char *value, struct scout_s3_checksum *c)
{
	size_t digits = strcspn(value, "-");
	char text[BASE64_MAX];

	if (digits >= sizeof(text))
		return false;
	memcpy(text, value, digits);
	text[digits] = '\0';
	if (!take_base64(text, c->bytes, kinds[c->kind].len))
		return false;
	/* S3 knows no composite CRC64NVME */
	return !value[digits] ||
	       (c->kind != SCOUT_S3_CRC64NVME && take_count(value + digits + 1, &c->parts));
}

static void take_type(struct scout_s3_sums *s, const char *value)
{
	s->not_whole = strcasecmp(value, "FULL_OBJECT") != 0;
	s->not_composite = strcasecmp(value, "COMPOSITE") != 0;
}

void scout_s3_sums_header(struct scout_s3_sums *s, const char *name, const char *value)
{
	if (strcmp(name, "x-amz-checksum-type") == 0)
		take_type(s, value);
	else if (strcmp(name, "x-amz-server-side-encryption") == 0)
		s->opaque_etag |= strcmp(value, "AES256") != 0;
	else if (strcmp(name, "x-amz-server-side-encryption-customer-algorithm") == 0)
		s->opaque_etag = true;
	for (size_t i = SCOUT_S3_MD5 + 1; i < KINDS; i++) {
		struct scout_s3_checksum c = {.kind = (enum scout_s3_checksum_kind)i};

		if (strcmp(name, kinds[i].header) == 0 && take_value(value, &c)) {
			struct scout_s3_checksum *best = c.parts > 0 ? &s->composite : &s->best;

			if (c.kind > best->kind)
				*best = c;
		}
	}
}

void scout_s3_sums_whole(const struct scout_s3_sums *s, const char *etag,
			 struct scout_s3_checksum *ret)
{
	size_t len = 2 * kinds[SCOUT_S3_MD5].len;

	*ret = (struct scout_s3_checksum){.kind = SCOUT_S3_NO_CHECKSUM};
	if (s->best.kind != SCOUT_S3_NO_CHECKSUM && !s->not_whole)
		*ret = s->best;
	else if (!s->opaque_etag && strlen(etag) == len + 2 && etag[0] == '"' &&
		 take_hex(etag + 1, ret->bytes, kinds[SCOUT_S3_MD5].len))
		ret->kind = SCOUT_S3_MD5;
	else if (!s->not_composite)
		*ret = s->composite;
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

static int sum_begin(struct sum *s, enum scout_s3_checksum_kind kind)
{
	if (kinds[kind].crc) {
		s->crc = kinds[kind].crc->ones;
		return 0;
	}
	if (kind == SCOUT_S3_MD5) {
		s->md5 = scout_md5_new();
		return s->md5 ? 0 : -ENOMEM;
	}
	s->evp = EVP_MD_CTX_new();
	if (!s->evp || EVP_DigestInit_ex(s->evp, kinds[kind].evp(), NULL) != 1)
		return -ENOTSUP; /* a libcrypto that forbids it, perhaps */
	return 0;
}

static void sum_free(struct sum *s)
{
	EVP_MD_CTX_free(s->evp);
	scout_md5_free(s->md5);
}

static void sum_update(struct sum *s, enum scout_s3_checksum_kind kind, const void *bytes,
		       size_t len)
{
	if (s->evp)
		(void)EVP_DigestUpdate(s->evp, bytes, len); /* fails for wrong contexts only */
	else if (s->md5)
		scout_md5_update(s->md5, bytes, len);
	else
		s->crc = crc_update(kinds[kind].crc, s->crc, bytes, len);
}

static bool sum_end(struct sum *s, enum scout_s3_checksum_kind kind, uint8_t got[EVP_MAX_MD_SIZE])
{
	const struct crc *crc = kinds[kind].crc;
	uint64_t sum;

	if (s->evp)
		return EVP_DigestFinal_ex(s->evp, got, NULL) == 1;
	if (s->md5) {
		scout_md5_end(s->md5, got);
	} else {
		sum = htobe64((s->crc ^ crc->ones) << (64 - 8 * kinds[kind].len));
		memcpy(got, &sum, kinds[kind].len);
	}
	return true;
}

int scout_s3_digest_new(const struct scout_s3_checksum *want, struct scout_s3_digest **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct scout_s3_digest *d = calloc(1, sizeof(*d));
	int err;

	assert(want->parts == 0 || want->part_bytes > 0);
	if (!d)
		return -ENOMEM;
	pthread_once(&once, fill_all);
	d->want = *want;
	d->left = want->parts > 0 ? want->part_bytes : UINT64_MAX;
	err = sum_begin(&d->sum, want->kind);
	if (!err && want->parts > 0)
		err = sum_begin(&d->outer, want->kind);
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
	sum_free(&d->sum);
	sum_free(&d->outer);
	free(d);
}

/* The outer sum goes on over that of the part, and another part begins. No MD5 is composite. */
static void end_part(struct scout_s3_digest *d)
{
	enum scout_s3_checksum_kind kind = d->want.kind;
	uint8_t got[EVP_MAX_MD_SIZE] = {0};

	(void)sum_end(&d->sum, kind, got); /* fails for wrong contexts only, as does what follows */
	sum_update(&d->outer, kind, got, kinds[kind].len);
	if (d->sum.evp)
		(void)EVP_DigestInit_ex(d->sum.evp, NULL, NULL);
	else
		d->sum.crc = kinds[kind].crc->ones;
	d->left = d->want.part_bytes;
}

void scout_s3_digest_update(struct scout_s3_digest *d, const void *bytes, size_t len)
{
	while (len > 0) {
		size_t n;

		if (d->left == 0)
			end_part(d);
		n = len < d->left ? len : (size_t)d->left;
		sum_update(&d->sum, d->want.kind, bytes, n);
		d->left -= n;
		bytes = (const uint8_t *)bytes + n;
		len -= n;
	}
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

	while (nmd5 < n && d[nmd5]->sum.md5) {
		md5[nmd5] = d[nmd5]->sum.md5;
		nmd5++;
	}
	if (nmd5 > 0)
		scout_md5_update_all(md5, bytes, nmd5, len);
	for (size_t i = nmd5; i < n; i++)
		scout_s3_digest_update(d[i], bytes[i], len);
}

bool scout_s3_digest_matches(struct scout_s3_digest *d)
{
	bool composite = d->want.parts > 0;
	uint8_t got[EVP_MAX_MD_SIZE];

	if (composite)
		end_part(d);
	return sum_end(composite ? &d->outer : &d->sum, d->want.kind, got) &&
	       memcmp(got, d->want.bytes, kinds[d->want.kind].len) == 0;
}

const char *scout_s3_checksum_name(enum scout_s3_checksum_kind kind)
{
	return kind == SCOUT_S3_MD5 ? "MD5 (ETag)" : kinds[kind].header + strlen("x-amz-checksum-");
}
