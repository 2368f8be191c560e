/* Which certificate is whose: the bytes of PROTOCOL.certkeys beside those of a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sftp/agent.h"

struct bytes {
	uint8_t at[512];
	size_t len;
};

static void add(struct bytes *b, const char *text, size_t len)
{
	b->at[b->len++] = 0;
	b->at[b->len++] = 0;
	b->at[b->len++] = (uint8_t)(len >> 8);
	b->at[b->len++] = (uint8_t)len;
	memcpy(b->at + b->len, text, len);
	b->len += len;
}

#define ADD(b, text) add(b, text, sizeof(text) - 1)

static bool certifies(struct bytes *cert, struct bytes *key)
{
	const struct scout_blob c = {cert->at, cert->len}, k = {key->at, key->len};

	return scout_blob_certifies(&c, &k);
}

static void certificates_of_keys(void **state)
{
	struct bytes key = {0}, other = {0}, cert = {0}, sk = {0}, sk_cert = {0};

	(void)state;
	ADD(&key, "ssh-ed25519");
	ADD(&key, "public");
	ADD(&other, "ssh-ed25519");
	ADD(&other, "publik");
	ADD(&cert, "ssh-ed25519-cert-v01@openssh.com");
	ADD(&cert, "a nonce");
	ADD(&cert, "public");
	ADD(&cert, "serial and so on");
	assert_true(certifies(&cert, &key));
	assert_false(certifies(&cert, &other));
	assert_false(certifies(&key, &key));
	assert_false(certifies(&key, &cert));

	ADD(&sk, "sk-ssh-ed25519@openssh.com");
	ADD(&sk, "public");
	ADD(&sk, "ssh:");
	ADD(&sk_cert, "sk-ssh-ed25519-cert-v01@openssh.com");
	ADD(&sk_cert, "a nonce");
	ADD(&sk_cert, "public");
	ADD(&sk_cert, "ssh:");
	ADD(&sk_cert, "serial and so on");
	assert_true(certifies(&sk_cert, &sk));
	assert_false(certifies(&sk_cert, &key));
	assert_false(certifies(&cert, &sk));
}

/* Every beginning of a certificate and of a key: none is read past its end, none is believed. */
static void cut_short(void **state)
{
	struct bytes key = {0}, cert = {0}, part;

	(void)state;
	ADD(&key, "ssh-rsa");
	ADD(&key, "e");
	ADD(&key, "n");
	ADD(&cert, "ssh-rsa-cert-v01@openssh.com");
	ADD(&cert, "nonce");
	ADD(&cert, "e");
	ADD(&cert, "n");
	assert_true(certifies(&cert, &key));
	for (size_t len = 0; len < cert.len; len++) {
		part = cert;
		part.len = len;
		assert_false(certifies(&part, &key));
	}
	for (size_t len = 0; len <= 11; len++) { /* its type alone says nothing */
		part = key;
		part.len = len;
		assert_false(certifies(&cert, &part));
	}
	part = cert;
	memset(part.at, 0xff, 4);
	assert_false(certifies(&part, &key));
}

static void equal_blobs(void **state)
{
	uint8_t a[] = "abc", b[] = "abd";
	const struct scout_blob none = {0}, x = {a, 3}, y = {b, 3}, z = {b, 2}, w = {a, 2};

	(void)state;
	assert_true(scout_blob_equal(&x, &x));
	assert_true(scout_blob_equal(&z, &w));
	assert_false(scout_blob_equal(&x, &y));
	assert_false(scout_blob_equal(&x, &w));
	assert_false(scout_blob_equal(&none, &w));
	assert_false(scout_blob_equal(&none, &none)); /* what is not known */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(certificates_of_keys),
	    cmocka_unit_test(cut_short),
	    cmocka_unit_test(equal_blobs),
	};

	return cmocka_run_group_tests_name("sftp/agent", tests, NULL, NULL);
}
