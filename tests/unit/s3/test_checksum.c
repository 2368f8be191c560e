/* Which checksum of an object is taken, and digests against published values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "scoutfs/s3.h"

#define NINE "123456789"
#define NINE_MD5 "\"25f9e794323b453885f5181f1b624d0b\""
/* base64 of the check values of "123456789" */
#define NINE_CRC32 "y/Q5Jg=="
#define NINE_CRC32C "4waSgw=="
#define NINE_CRC64 "rosUhgp5mIg="
#define NINE_SHA1 "98O8HYCOBHMq32eZZczDTKeuNEE="
#define NINE_SHA256 "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="

/* "name: value" lines, then the ETag. */
static struct scout_s3_checksum whole(const char *const *headers, const char *etag)
{
	struct scout_s3_sums sums = {0};
	struct scout_s3_checksum c;

	for (; *headers; headers += 2)
		scout_s3_sums_header(&sums, headers[0], headers[1]);
	scout_s3_sums_whole(&sums, etag, &c);
	return c;
}

#define WHOLE(etag, ...) whole((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL}, etag)

static bool digest_in(const struct scout_s3_checksum *c, const char *bytes, size_t len,
		      size_t piece)
{
	struct scout_s3_digest *d = NULL;
	bool same;

	assert_int_equal(scout_s3_digest_new(c, &d), 0);
	for (size_t at = 0; at < len; at += piece)
		scout_s3_digest_update(d, bytes + at, len - at < piece ? len - at : piece);
	same = scout_s3_digest_matches(d);
	scout_s3_digest_free(d);
	return same;
}

static void check(struct scout_s3_checksum c, enum scout_s3_checksum_kind kind, const char *name)
{
	char bytes[] = NINE;

	assert_int_equal(c.kind, kind);
	assert_string_equal(scout_s3_checksum_name(kind), name);
	for (size_t piece = 1; piece < 10; piece++)
		assert_true(digest_in(&c, bytes, 9, piece));
	bytes[3] ^= 1;
	assert_false(digest_in(&c, bytes, 9, 9));
	assert_false(digest_in(&c, NINE, 8, 8));
}

static void published_values(void **state)
{
	(void)state;
	check(WHOLE("", "x-amz-checksum-crc32", NINE_CRC32), SCOUT_S3_CRC32, "crc32");
	check(WHOLE("", "x-amz-checksum-crc32c", NINE_CRC32C), SCOUT_S3_CRC32C, "crc32c");
	check(WHOLE("", "x-amz-checksum-crc64nvme", NINE_CRC64), SCOUT_S3_CRC64NVME, "crc64nvme");
	check(WHOLE("", "x-amz-checksum-sha1", NINE_SHA1), SCOUT_S3_SHA1, "sha1");
	check(WHOLE("", "x-amz-checksum-sha256", NINE_SHA256), SCOUT_S3_SHA256, "sha256");
	check(WHOLE(NINE_MD5, "server", "x"), SCOUT_S3_MD5, "MD5 (ETag)");
}

/* A CRC by slices of eight bytes is that of the bytes one by one. */
static void long_and_short_pieces(void **state)
{
	static const char *const names[] = {"x-amz-checksum-crc32", "x-amz-checksum-crc64nvme"};
	static const char *const values[] = {"Zo8HPQ==", "qeNPBi4HMG4="};
	char bytes[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 256);
	for (size_t i = 0; i < 2; i++) {
		struct scout_s3_checksum c = WHOLE("", names[i], values[i]);

		for (size_t piece = 1; piece < 1001; piece += 31)
			assert_true(digest_in(&c, bytes, sizeof(bytes), piece));
	}
}

#define MESSAGE_BYTES (64 * 50 + 9)

/* The ETag of what message i is made of, by libcrypto. */
static struct scout_s3_checksum md5_of(const uint8_t *bytes, size_t len)
{
	struct scout_s3_checksum c = {.kind = SCOUT_S3_MD5};

	assert_int_equal(EVP_Digest(bytes, len, c.bytes, NULL, EVP_md5(), NULL), 1);
	return c;
}

/* The first blocks of n messages together, the rest of each alone. */
static void check_together(size_t n, size_t step, size_t alone)
{
	static uint8_t bytes[SCOUT_S3_DIGESTS_MAX][MESSAGE_BYTES];
	struct scout_s3_digest *d[SCOUT_S3_DIGESTS_MAX];
	size_t at = alone;

	for (size_t i = 0; i < n; i++) {
		struct scout_s3_checksum want;

		for (size_t k = 0; k < MESSAGE_BYTES; k++)
			bytes[i][k] = (uint8_t)(k * 7 + k / 256 + i * 31);
		want = md5_of(bytes[i], MESSAGE_BYTES - i);
		want.bytes[3] ^= i == 2; /* but for that one */
		assert_int_equal(scout_s3_digest_new(&want, &d[i]), 0);
		scout_s3_digest_update(d[i], bytes[i], alone);
	}
	for (; at + step < MESSAGE_BYTES - n; at += step) {
		const void *from[SCOUT_S3_DIGESTS_MAX];

		for (size_t i = 0; i < n; i++)
			from[i] = bytes[i] + at;
		scout_s3_digests_update(d, from, n, step);
	}
	for (size_t i = 0; i < n; i++) {
		scout_s3_digest_update(d[i], bytes[i] + at, MESSAGE_BYTES - i - at);
		assert_int_equal(scout_s3_digest_matches(d[i]), i != 2);
		scout_s3_digest_free(d[i]);
	}
}

static void together_as_one_by_one(void **state)
{
	(void)state;
	for (size_t n = 1; n <= SCOUT_S3_DIGESTS_MAX; n++) {
		check_together(n, 64, 0);
		check_together(n, 64 * 3, 64);
		check_together(n, 64, 5);
		check_together(n, 77, 0);
	}
}

/* Those of other kinds beside MD5s go on, too. */
static void of_several_kinds(void **state)
{
	struct scout_s3_checksum want[] = {
	    WHOLE(NINE_MD5, "server", "x"),
	    WHOLE("", "x-amz-checksum-crc32", NINE_CRC32),
	    WHOLE(NINE_MD5, "server", "x"),
	    WHOLE("", "x-amz-checksum-sha256", NINE_SHA256),
	};
	const void *bytes[] = {NINE, NINE, NINE, NINE};
	struct scout_s3_digest *d[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(scout_s3_digest_new(&want[i], &d[i]), 0);
	scout_s3_digests_update(d, bytes, 4, 9);
	for (size_t i = 0; i < 4; i++) {
		assert_true(scout_s3_digest_matches(d[i]));
		scout_s3_digest_free(d[i]);
	}
}

static void the_best_is_taken(void **state)
{
	struct scout_s3_checksum c;

	(void)state;
	c = WHOLE(NINE_MD5, "x-amz-checksum-sha256", NINE_SHA256, "x-amz-checksum-crc32",
		  NINE_CRC32);
	assert_int_equal(c.kind, SCOUT_S3_SHA256);
	c = WHOLE(NINE_MD5, "x-amz-checksum-crc32", NINE_CRC32, "x-amz-checksum-type",
		  "FULL_OBJECT");
	assert_int_equal(c.kind, SCOUT_S3_CRC32);
}

#define PARTS_ETAG "\"25f9e794323b453885f5181f1b624d0b-2\""

/* Of the thousand bytes below, by Python's hashlib and zlib: the checksum of the checksums of their parts. */
static const struct composite {
	const char *name, *value;
	enum scout_s3_checksum_kind kind;
	unsigned parts;
	size_t part_bytes;
} composites[] = {
    {"x-amz-checksum-crc32", "VLjsKw==-3", SCOUT_S3_CRC32, 3, 400},
    {"x-amz-checksum-crc32", "bjo3bw==-4", SCOUT_S3_CRC32, 4, 250},
    {"x-amz-checksum-crc32", "wknxqA==-1", SCOUT_S3_CRC32, 1, 1000},
    {"x-amz-checksum-crc32c", "1/J2Sw==-3", SCOUT_S3_CRC32C, 3, 400},
    {"x-amz-checksum-crc32c", "YtHpxQ==-1000", SCOUT_S3_CRC32C, 1000, 1},
    {"x-amz-checksum-sha1", "vpLr/3T2qEM+QDzb7JqWIje8fFk=-3", SCOUT_S3_SHA1, 3, 400},
    {"x-amz-checksum-sha1", "rWZIdjQrFuI+PNe40gUUCgHxwL8=-4", SCOUT_S3_SHA1, 4, 250},
    {"x-amz-checksum-sha256", "LBgGl/QrZHkHbhAo3mSf1hP0NgiJPVSuKRewYLUcMzg=-3", SCOUT_S3_SHA256, 3,
     400},
    {"x-amz-checksum-sha256", "IO69/kLYWghmtgnKDkvzClPXnAYisd1/nlhBYhJrAnY=-4", SCOUT_S3_SHA256, 4,
     250},
    {"x-amz-checksum-sha256", "0u2oArOHOWZQZ2TPwu8hmuzdCIj6D0EKIqArCuE0XH8=-1", SCOUT_S3_SHA256, 1,
     1000},
    {"x-amz-checksum-sha256", "VNMVqC+OUKMqBoWBFH38lz2q39eVuxKUaSqCY6tatlQ=-1000", SCOUT_S3_SHA256,
     1000, 1},
};

static void of_parts(void **state)
{
	char bytes[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 256);
	for (size_t i = 0; i < sizeof(composites) / sizeof(composites[0]); i++) {
		const struct composite *p = &composites[i];
		struct scout_s3_checksum c = WHOLE(PARTS_ETAG, p->name, p->value);

		assert_int_equal(c.kind, p->kind);
		assert_int_equal(c.parts, p->parts);
		assert_int_equal(c.part_bytes, 0);
		c.part_bytes = p->part_bytes;
		for (size_t piece = 1; piece < 1001; piece += 31)
			assert_true(digest_in(&c, bytes, sizeof(bytes), piece));
		assert_true(digest_in(&c, bytes, sizeof(bytes), 1000));
		for (size_t at = 0; at < 1000; at += 333) {
			bytes[at] ^= 1;
			assert_false(digest_in(&c, bytes, sizeof(bytes), 100));
			bytes[at] ^= 1;
		}
		assert_false(digest_in(&c, bytes, sizeof(bytes) - 1, 100));
		/* in other parts it is another one */
		c.part_bytes = p->part_bytes == 1 ? 2 : p->part_bytes - 1;
		assert_false(digest_in(&c, bytes, sizeof(bytes), 100));
	}
}

static void a_composite_one_if_there_is_no_other(void **state)
{
	struct scout_s3_checksum c;

	(void)state;
	c = WHOLE(NINE_MD5, "x-amz-checksum-sha256", NINE_SHA256 "-2", "x-amz-checksum-type",
		  "COMPOSITE");
	assert_int_equal(c.kind, SCOUT_S3_MD5);
	assert_int_equal(c.parts, 0);
	c = WHOLE("", "x-amz-checksum-sha256", NINE_SHA256 "-2", "x-amz-checksum-crc32",
		  NINE_CRC32);
	assert_int_equal(c.kind, SCOUT_S3_CRC32);
	assert_int_equal(c.parts, 0);
	/* an MD5 that is none */
	c = WHOLE(NINE_MD5, "x-amz-server-side-encryption", "aws:kms", "x-amz-checksum-sha1",
		  NINE_SHA1 "-1");
	assert_int_equal(c.kind, SCOUT_S3_SHA1);
	assert_int_equal(c.parts, 1);
	/* the best of several */
	c = WHOLE(PARTS_ETAG, "x-amz-checksum-type", "COMPOSITE", "x-amz-checksum-sha256",
		  NINE_SHA256 "-10000", "x-amz-checksum-crc32", NINE_CRC32 "-2");
	assert_int_equal(c.kind, SCOUT_S3_SHA256);
	assert_int_equal(c.parts, 10000);
}

static void expect_no_composite(const char *name, const char *value)
{
	assert_int_equal(WHOLE(PARTS_ETAG, name, value).kind, SCOUT_S3_NO_CHECKSUM);
}

static void what_is_no_composite_one(void **state)
{
	static const char *const counts[] = {"-0",
					     "-",
					     "--2",
					     "-+2",
					     "- 2",
					     "-2 ",
					     "-2a",
					     "-2-2",
					     "-10001",
					     "-4294967298",
					     "-18446744073709551618"};

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		char value[80];

		snprintf(value, sizeof(value), "%s%s", NINE_SHA256, counts[i]);
		expect_no_composite("x-amz-checksum-sha256", value);
	}
	expect_no_composite("x-amz-checksum-sha256", NINE_SHA1 "-2");
	expect_no_composite("x-amz-checksum-sha256", NINE_SHA256 NINE_SHA256 "-2");
	expect_no_composite("x-amz-checksum-sha256", "-2");
	/* there are none, says S3's user guide */
	expect_no_composite("x-amz-checksum-crc64nvme", NINE_CRC64 "-2");
	/* its name and its look say different things */
	assert_int_equal(WHOLE(PARTS_ETAG, "x-amz-checksum-sha256", NINE_SHA256 "-2",
			       "x-amz-checksum-type", "FULL_OBJECT")
			     .kind,
			 SCOUT_S3_NO_CHECKSUM);
	assert_int_equal(
	    WHOLE("", "x-amz-checksum-type", "OTHER", "x-amz-checksum-sha256", NINE_SHA256 "-2")
		.kind,
	    SCOUT_S3_NO_CHECKSUM);
}

static void what_is_not_of_the_whole_is_not_taken(void **state)
{
	(void)state;
	/* it says so, and not of how many parts */
	assert_int_equal(WHOLE(PARTS_ETAG, "x-amz-checksum-crc32", NINE_CRC32,
			       "x-amz-checksum-type", "COMPOSITE")
			     .kind,
			 SCOUT_S3_NO_CHECKSUM);
	/* ETags that are no MD5 */
	assert_int_equal(WHOLE(NINE_MD5, "x-amz-server-side-encryption", "aws:kms").kind,
			 SCOUT_S3_NO_CHECKSUM);
	assert_int_equal(
	    WHOLE(NINE_MD5, "x-amz-server-side-encryption-customer-algorithm", "AES256").kind,
	    SCOUT_S3_NO_CHECKSUM);
	assert_int_equal(WHOLE(NINE_MD5, "x-amz-server-side-encryption", "AES256").kind,
			 SCOUT_S3_MD5);
	assert_int_equal(WHOLE("W/" NINE_MD5, "a", "b").kind, SCOUT_S3_NO_CHECKSUM);
	assert_int_equal(WHOLE("\"25f9e794323b453885f5181f1b624d0g\"", "a", "b").kind,
			 SCOUT_S3_NO_CHECKSUM);
	/* not base64, or of another length */
	assert_int_equal(WHOLE("", "x-amz-checksum-crc32", "y/Q5J?==").kind, SCOUT_S3_NO_CHECKSUM);
	assert_int_equal(WHOLE("", "x-amz-checksum-crc32", "y/Q5JgA=").kind, SCOUT_S3_NO_CHECKSUM);
	assert_int_equal(WHOLE("", "x-amz-checksum-crc32", "y/Q5Jg=A").kind, SCOUT_S3_NO_CHECKSUM);
	assert_int_equal(WHOLE("", "x-amz-checksum-crc32", "").kind, SCOUT_S3_NO_CHECKSUM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(published_values),
	    cmocka_unit_test(long_and_short_pieces),
	    cmocka_unit_test(together_as_one_by_one),
	    cmocka_unit_test(of_several_kinds),
	    cmocka_unit_test(the_best_is_taken),
	    cmocka_unit_test(of_parts),
	    cmocka_unit_test(a_composite_one_if_there_is_no_other),
	    cmocka_unit_test(what_is_no_composite_one),
	    cmocka_unit_test(what_is_not_of_the_whole_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
