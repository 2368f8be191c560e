/* Any bytes as an answer's headers, up to an empty line, and an error's body: numbers and words are what they may be, and
 * nothing that goes into the log or into a host's name could end a line or a label; of checksums there is one with which
 * a digest could be compared, or none. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3/response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORD "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

static void check_word(const char *word, size_t cap)
{
	if (strnlen(word, cap) == cap || word[strspn(word, WORD)] != '\0')
		abort();
}

static void check(const struct scout_s3_response *r)
{
	char code[SCOUT_S3_CODE_MAX], region[SCOUT_S3_REGION_MAX], reason[80];

	if (r->status < 0 || r->status > 999 || r->retry_after_s >= 3600)
		abort();
	if (r->has_range && (r->first > r->last || r->last >= r->total))
		abort();
	if (strnlen(r->etag, sizeof(r->etag)) == sizeof(r->etag) || strpbrk(r->etag, "\r\n"))
		abort();
	if (r->error_len > SCOUT_S3_ERROR_BODY_MAX || r->error_len > r->error_seen)
		abort();
	check_word(scout_s3_response_code(r, code), sizeof(code));
	scout_s3_response_region(r, region);
	check_word(region, sizeof(region));
	if (strlen(scout_s3_response_reason(r, reason, sizeof(reason))) >= sizeof(reason))
		abort();
}

/* A header, if the line is one. */
static void take_sum(struct scout_s3_sums *sums, const char *line, size_t len)
{
	char name[200], *value;

	snprintf(name, sizeof(name), "%.*s", (int)len, line);
	name[strcspn(name, "\r\n")] = '\0';
	value = strstr(name, ": ");
	if (!value)
		return;
	*value = '\0';
	scout_s3_sums_header(sums, name, value + 2);
}

static void check_sums(const struct scout_s3_sums *sums, const char *etag)
{
	struct scout_s3_checksum c;

	scout_s3_sums_whole(sums, etag, &c);
	if (c.kind > SCOUT_S3_SHA256 || c.parts > 10000 || c.part_bytes > 0)
		abort();
	if (c.parts > 0 && (c.kind <= SCOUT_S3_MD5 || c.kind == SCOUT_S3_CRC64NVME))
		abort();
}

/* Its lines as libcurl gives them, each with its end; returns how many bytes they are. */
static size_t take_headers(struct scout_s3_response *r, struct scout_s3_sums *sums,
			   const char *text, size_t size)
{
	size_t at = 0;

	while (at < size) {
		const char *end = memchr(text + at, '\n', size - at);
		size_t len = end ? (size_t)(end + 1 - (text + at)) : size - at;

		at += len;
		take_sum(sums, text + at - len, len);
		if (!scout_s3_response_header(r, text + at - len, len) || len <= 2)
			break;
	}
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scout_s3_response r = {0};
	struct scout_s3_sums sums = {0};
	size_t at = take_headers(&r, &sums, (const char *)data, size);

	check(&r);
	check_sums(&sums, r.etag);
	/* in pieces, as it comes */
	while (at < size) {
		size_t piece = size - at < 100 ? size - at : 100;

		if (!scout_s3_response_error(&r, (const char *)data + at, piece))
			break;
		at += piece;
	}
	check(&r);
	return 0;
}
