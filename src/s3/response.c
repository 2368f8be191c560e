/* Reading answers; see response.h. Every byte is the server's: numbers are checked for overflow,
 * texts for their alphabet, lengths for a bound; a header that is not what it should be counts as
 * absent. */
#include "s3/response.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "s3/etag.h"

#define MAX_HEADER_BYTES ((size_t)64 << 10)
#define MAX_ERROR_BYTES ((size_t)64 << 10)

/* The digits at *text, moved past. False when there are none or too many. */
static bool take_number(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t n = 0;

	if (!isdigit((unsigned char)*p))
		return false;
	for (; isdigit((unsigned char)*p); p++) {
		if (p - *text >= 18) /* 999 PB, and no overflow */
			return false;
		n = n * 10 + (uint64_t)(*p - '0');
	}
	*text = p;
	*ret = n;
	return true;
}

static void take_length(struct scout_s3_response *r, const char *value)
{
	r->has_length = take_number(&value, &r->length) && *value == '\0';
}

/* "bytes 0-9/443" (RFC 9110 section 14.4). */
static void take_range(struct scout_s3_response *r, const char *value)
{
	uint64_t first, last, total;

	r->has_range = false;
	if (strncasecmp(value, "bytes ", 6) != 0)
		return;
	value += 6;
	if (!take_number(&value, &first) || *value++ != '-' || !take_number(&value, &last) ||
	    *value++ != '/' || !take_number(&value, &total) || *value != '\0')
		return;
	if (first > last || last >= total)
		return;
	r->first = first;
	r->last = last;
	r->total = total;
	r->has_range = true;
}

static time_t parse_date(const char *value)
{
	time_t when = curl_getdate(value, NULL);

	return when > 0 ? when : 0;
}

/* A word of S3's alphabet for codes and regions; anything else counts as none. */
static void take_word(char *dst, size_t cap, const char *src, size_t len)
{
	dst[0] = '\0';
	if (len >= cap)
		return;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)src[i]) && !strchr("-_.", src[i]))
			return;
	}
	memcpy(dst, src, len);
	dst[len] = '\0';
}

static void take_header(struct scout_s3_response *r, const char *name, const char *value)
{
	uint64_t seconds;

	if (strcasecmp(name, "content-length") == 0)
		take_length(r, value);
	else if (strcasecmp(name, "content-range") == 0)
		take_range(r, value);
	else if (strcasecmp(name, "etag") == 0)
		(void)scout_s3_etag_copy(r->etag, value, strlen(value)); /* else "": none */
	else if (strcasecmp(name, "last-modified") == 0)
		r->modified = parse_date(value);
	else if (strcasecmp(name, "date") == 0)
		r->date = parse_date(value);
	else if (strcasecmp(name, "retry-after") == 0)
		r->retry_after_s =
		    take_number(&value, &seconds) && seconds < 3600 ? (unsigned)seconds : 0;
	else if (strcasecmp(name, "x-amz-bucket-region") == 0)
		take_word(r->region, sizeof(r->region), value, strlen(value));
}

static void start_over(struct scout_s3_response *r, const char *status_line)
{
	size_t bytes = r->header_bytes;
	const char *space = strchr(status_line, ' ');
	uint64_t status = 0;

	memset(r, 0, sizeof(*r));
	r->header_bytes = bytes;
	if (space)
		space += strspn(space, " ");
	if (space && take_number(&space, &status) && status <= 999)
		r->status = (int)status;
}

bool scout_s3_response_header(struct scout_s3_response *r, const char *line, size_t len)
{
	char text[1024];
	char *value;

	r->header_bytes += len;
	if (r->header_bytes > MAX_HEADER_BYTES)
		return false;
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	if (len >= sizeof(text) || memchr(line, '\0', len))
		return true; /* none that matters is that long */
	memcpy(text, line, len);
	text[len] = '\0';
	if (strncmp(text, "HTTP/", 5) == 0) {
		start_over(r, text);
		return true;
	}
	value = strchr(text, ':');
	if (!value)
		return true;
	*value++ = '\0';
	take_header(r, text, value + strspn(value, " \t"));
	return true;
}

bool scout_s3_response_error(struct scout_s3_response *r, const char *bytes, size_t len)
{
	size_t room = SCOUT_S3_ERROR_BODY_MAX - r->error_len;
	size_t kept = len < room ? len : room;

	memcpy(r->error_body + r->error_len, bytes, kept);
	r->error_len += kept;
	r->error_body[r->error_len] = '\0';
	r->error_seen += len;
	return r->error_seen <= MAX_ERROR_BYTES;
}

/* A word between open and close in an error's body; "" when there is none. */
static void take_element(const struct scout_s3_response *r, const char *open, const char *close,
			 char *dst, size_t cap)
{
	const char *start = memmem(r->error_body, r->error_len, open, strlen(open));
	const char *end = NULL;

	dst[0] = '\0';
	if (start) {
		start += strlen(open);
		end = memmem(start, (size_t)(r->error_body + r->error_len - start), close,
			     strlen(close));
	}
	if (end)
		take_word(dst, cap, start, (size_t)(end - start));
}

const char *scout_s3_response_code(const struct scout_s3_response *r, char buf[SCOUT_S3_CODE_MAX])
{
	take_element(r, "<Code>", "</Code>", buf, SCOUT_S3_CODE_MAX);
	return buf;
}

void scout_s3_response_region(const struct scout_s3_response *r, char region[SCOUT_S3_REGION_MAX])
{
	if (*r->region)
		memcpy(region, r->region, SCOUT_S3_REGION_MAX);
	else
		take_element(r, "<Region>", "</Region>", region, SCOUT_S3_REGION_MAX);
}

const char *scout_s3_response_reason(const struct scout_s3_response *r, char *buf, size_t cap)
{
	char code[SCOUT_S3_CODE_MAX];

	scout_s3_response_code(r, code);
	snprintf(buf, cap, "%d%s%s", r->status, *code ? " " : "", code);
	return buf;
}
