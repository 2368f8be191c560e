/* Downloads: read(2) to the end of a file, or one GET by libcurl on a connection that is kept. */
#include "source.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)1 << 20)

struct load_source {
	const char *target;
	char *buffer; /* of a file */
	CURL *easy;   /* of S3 */
	struct curl_slist *headers;
	_Atomic uint64_t *bytes; /* during a read */
};

static bool is_url(const char *target)
{
	return strncmp(target, "http://", 7) == 0 || strncmp(target, "https://", 8) == 0;
}

int load_source_init(const char *target)
{
	return is_url(target) && curl_global_init(CURL_GLOBAL_ALL) ? -ENOMEM : 0;
}

/* Of the answer that came last; 0: none came. */
static long http_status(struct load_source *s)
{
	long status = 0;

	(void)curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status); /* or it stays 0 */
	return status;
}

static size_t take(char *bytes, size_t size, size_t n, void *arg)
{
	struct load_source *s = arg;

	(void)bytes; /* whoever loads a server looks at none of them */
	if (http_status(s) == 200)
		atomic_fetch_add(s->bytes, size * n);
	return size * n;
}

/* False: no memory. */
static bool add_header(struct load_source *s, const char *name, const char *value)
{
	struct curl_slist *longer = NULL;
	char *line;

	if (asprintf(&line, "%s: %s", name, value) < 0)
		return false;
	longer = curl_slist_append(s->headers, line);
	free(line);
	if (longer)
		s->headers = longer;
	return longer != NULL;
}

static const char *env(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

static bool sign(struct load_source *s)
{
	const char *id = env("AWS_ACCESS_KEY_ID", NULL), *token = env("AWS_SESSION_TOKEN", NULL);
	char how[128];

	if (!id)
		return true;
	snprintf(how, sizeof(how), "aws:amz:%s:s3",
		 env("AWS_REGION", env("AWS_DEFAULT_REGION", "us-east-1")));
	return add_header(s, "x-amz-content-sha256", "UNSIGNED-PAYLOAD") &&
	       (!token || add_header(s, "x-amz-security-token", token)) &&
	       !curl_easy_setopt(s->easy, CURLOPT_AWS_SIGV4, how) &&
	       !curl_easy_setopt(s->easy, CURLOPT_USERNAME, id) &&
	       !curl_easy_setopt(s->easy, CURLOPT_PASSWORD, env("AWS_SECRET_ACCESS_KEY", "")) &&
	       !curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
}

static bool open_s3(struct load_source *s)
{
	s->easy = curl_easy_init();
	return s->easy && !curl_easy_setopt(s->easy, CURLOPT_URL, s->target) &&
	       !curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L) &&
	       !curl_easy_setopt(s->easy, CURLOPT_PATH_AS_IS, 1L) &&
	       !curl_easy_setopt(s->easy, CURLOPT_BUFFERSIZE, 512L * 1024) &&
	       !curl_easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT, 30L) &&
	       !curl_easy_setopt(s->easy, CURLOPT_LOW_SPEED_LIMIT, 1L) &&
	       !curl_easy_setopt(s->easy, CURLOPT_LOW_SPEED_TIME, 60L) &&
	       !curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, take) &&
	       !curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s) && sign(s);
}

struct load_source *load_source_new(const char *target)
{
	struct load_source *s = calloc(1, sizeof(*s));
	bool ok = s != NULL;

	if (!ok)
		return NULL;
	s->target = target;
	if (is_url(target)) {
		ok = open_s3(s);
	} else {
		s->buffer = malloc(BUFFER_BYTES);
		ok = s->buffer != NULL;
	}
	if (ok)
		return s;
	load_source_free(s);
	return NULL;
}

void load_source_free(struct load_source *s)
{
	if (!s)
		return;
	curl_easy_cleanup(s->easy);
	curl_slist_free_all(s->headers);
	free(s->buffer);
	free(s);
}

static int get(struct load_source *s, char *error, size_t len)
{
	char detail[CURL_ERROR_SIZE] = "";
	CURLcode code;

	(void)curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, detail);
	code = curl_easy_perform(s->easy);
	(void)curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, NULL);
	if (code == CURLE_OK && http_status(s) == 200)
		return 0;
	if (code == CURLE_OK) /* a redirect, too, brings no object */
		snprintf(error, len, "HTTP status %ld", http_status(s));
	else
		snprintf(error, len, "%s", detail[0] ? detail : curl_easy_strerror(code));
	return -1;
}

static int read_file(struct load_source *s, char *error, size_t len)
{
	int fd = open(s->target, O_RDONLY | O_CLOEXEC), err = fd < 0 ? errno : 0;
	uint64_t got = 0;
	struct stat st;
	ssize_t n = 0;

	if (!err && fstat(fd, &st))
		err = errno;
	while (!err && (n = read(fd, s->buffer, BUFFER_BYTES)) != 0) {
		if (n < 0) {
			err = errno;
			break;
		}
		got += (uint64_t)n;
		atomic_fetch_add(s->bytes, (uint64_t)n);
	}
	if (fd >= 0)
		close(fd);
	if (err)
		snprintf(error, len, "%s", strerror(err));
	else if (got != (uint64_t)st.st_size)
		snprintf(error, len, "%llu bytes of %llu", (unsigned long long)got,
			 (unsigned long long)st.st_size);
	return err || got != (uint64_t)st.st_size ? -1 : 0;
}

int load_source_read(struct load_source *s, _Atomic uint64_t *bytes, char *error, size_t len)
{
	s->bytes = bytes;
	return s->easy ? get(s, error, len) : read_file(s, error, len);
}
