/* How each kind of value is read and written. Whatever a value will become, a path, a host's name, part
 * of a URL or of a command line that libssh builds for ProxyJump, is checked here once, so that nobody
 * behind has to. It trusts the environment no more than the file. No lock: pure functions. */
#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "scoutfs/arn.h"
#include "scoutfs/clock.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* smallest first */
static const struct unit durations[] = {{"ms", SCOUT_NS_PER_MS},
					{"s", SCOUT_NS_PER_S},
					{"m", 60 * SCOUT_NS_PER_S},
					{"h", 3600 * SCOUT_NS_PER_S},
					{NULL, 0}};
static const struct unit sizes[] = {
    {"K", UINT64_C(1) << 10}, {"M", UINT64_C(1) << 20}, {"G", UINT64_C(1) << 30}, {NULL, 0}};

bool scout_text_is_plain(const char *text)
{
	size_t len = strlen(text);

	if (len == 0)
		return true;
	if (text[0] == ';' || isspace((unsigned char)text[0]) ||
	    isspace((unsigned char)text[len - 1]))
		return false;
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f || (*p == ' ' && p[1] == ';'))
			return false;
	}
	return true;
}

bool scout_host_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= SCOUT_HOST_NAME_MAX && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0 && !strchr(name, '/') && scout_text_is_plain(name);
}

/* Digits, then one of the units or nothing (times bare). */
static int number_with_unit(const char *text, const struct unit *units, uint64_t bare,
			    uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = text;

	for (; isdigit((unsigned char)*p); p++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -EINVAL;
	}
	if (p == text)
		return -EINVAL;
	if (*p) {
		while (units->name && strcmp(units->name, p) != 0)
			units++;
		if (!units->name)
			return -EINVAL;
		bare = units->factor;
	}
	return __builtin_mul_overflow(value, bare, ret) ? -EINVAL : 0;
}

static const char *format_with_unit(char buf[32], uint64_t value, const struct unit *units,
				    uint64_t bare)
{
	const struct unit *best = NULL;

	for (; units->name && value != 0 && value % units->factor == 0; units++)
		best = units;
	if (best)
		snprintf(buf, 32, "%" PRIu64 "%s", value / best->factor, best->name);
	else
		snprintf(buf, 32, "%" PRIu64, value / bare);
	return buf;
}

static const struct unit no_units[] = {{NULL, 0}};

static int read_count(const char *text, const char *const *choices, uint64_t *ret)
{
	(void)choices;
	return number_with_unit(text, no_units, 1, ret);
}

static const char *write_count(char buf[32], uint64_t value, const char *const *choices)
{
	(void)choices;
	return format_with_unit(buf, value, no_units, 1);
}

static int read_size(const char *text, const char *const *choices, uint64_t *ret)
{
	(void)choices;
	return number_with_unit(text, sizes, 1, ret);
}

static const char *write_size(char buf[32], uint64_t value, const char *const *choices)
{
	(void)choices;
	return format_with_unit(buf, value, sizes, 1);
}

static int read_duration(const char *text, const char *const *choices, uint64_t *ret)
{
	(void)choices;
	return number_with_unit(text, durations, SCOUT_NS_PER_S, ret);
}

static const char *write_duration(char buf[32], uint64_t value, const char *const *choices)
{
	(void)choices;
	return format_with_unit(buf, value, durations, SCOUT_NS_PER_S);
}

static int read_choice(const char *text, const char *const *choices, uint64_t *ret)
{
	for (uint64_t i = 0; choices[i]; i++) {
		if (strcmp(choices[i], text) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

static const char *write_choice(char buf[32], uint64_t value, const char *const *choices)
{
	snprintf(buf, 32, "%s", choices[value]);
	return buf;
}

static int read_bool(const char *text, const char *const *choices, uint64_t *ret)
{
	static const char *const words[] = {"no", "yes", "false", "true", "0", "1", NULL};
	uint64_t word;
	int err = read_choice(text, words, &word);

	(void)choices;
	if (!err)
		*ret = word & 1;
	return err;
}

static const char *write_bool(char buf[32], uint64_t value, const char *const *choices)
{
	(void)choices;
	snprintf(buf, 32, "%s", value ? "yes" : "no");
	return buf;
}

static int keep(const char *text, size_t len, char **ret)
{
	*ret = strndup(text, len);
	return *ret ? 0 : -ENOMEM;
}

bool scout_text_is_made_of(const char *text, const char *others)
{
	if (*text == '\0' || *text == '-')
		return false;
	for (; *text; text++) {
		if (!isalnum((unsigned char)*text) && !strchr(others, *text))
			return false;
	}
	return true;
}

/* Absolute, because the daemon's working directory is not the user's. */
static int needed_path(const char *text, char **ret, const char **why)
{
	char *path;
	int err = scout_expand(text, &path, why);

	if (err)
		return err;
	if (path[0] != '/' || !scout_text_is_plain(path)) {
		if (path[0] != '/')
			*why = "it is not absolute";
		free(path);
		return -EINVAL;
	}
	*ret = path;
	return 0;
}

static int read_path(const char *text, char **ret, const char **why)
{
	if (*text)
		return needed_path(text, ret, why);
	*ret = NULL;
	return 0;
}

/* A folder of the remote machine: nothing expands; slashes that say nothing go. */
static int read_root(const char *text, char **ret, const char **why)
{
	char *root, *out;

	if (text[0] != '/') {
		*why = "it is not absolute";
		return -EINVAL;
	}
	root = malloc(strlen(text) + 1);
	if (!root)
		return -ENOMEM;
	for (out = root; *text;) {
		size_t len;

		text += strspn(text, "/");
		len = strcspn(text, "/");
		if (len == 0)
			break;
		if ((len == 1 && text[0] == '.') || (len == 2 && memcmp(text, "..", 2) == 0)) {
			*why = "'.' and '..' are not taken";
			free(root);
			return -EINVAL;
		}
		*out++ = '/';
		memcpy(out, text, len);
		out += len;
		text += len;
	}
	if (out == root)
		*out++ = '/';
	*out = '\0';
	*ret = root;
	return 0;
}

static int read_list(const char *text, char **ret, const char **why)
{
	(void)why;
	return keep(text, strlen(text), ret);
}

static int read_hostname(const char *text, char **ret, const char **why)
{
	(void)why;
	if (!scout_text_is_made_of(text, "._-:%") || strlen(text) > SCOUT_HOST_NAME_MAX)
		return -EINVAL;
	return keep(text, strlen(text), ret);
}

static int read_user(const char *text, char **ret, const char **why)
{
	(void)why;
	if (!scout_text_is_made_of(text, "._-@+\\$"))
		return -EINVAL;
	return keep(text, strlen(text), ret);
}

/* [user@]host[:port], several with commas, or "none". */
static int read_jump(const char *text, char **ret, const char **why)
{
	(void)why;
	if (!scout_text_is_made_of(text[0] == '[' ? text + 1 : text, "._-+:%@,[]") ||
	    strstr(text, ",-") || strstr(text, "@-"))
		return -EINVAL;
	return keep(text, strlen(text), ret);
}

/* Whether text is "" or ":PORT". */
static bool is_port(const char *text)
{
	uint64_t port;

	if (*text == '\0')
		return true;
	return *text == ':' && number_with_unit(text + 1, no_units, 1, &port) == 0 && port >= 1 &&
	       port <= 65535;
}

static int read_endpoint(const char *text, char **ret, const char **why)
{
	size_t scheme = strncasecmp(text, "https://", 8) == 0  ? 8
			: strncasecmp(text, "http://", 7) == 0 ? 7
							       : 0;
	size_t len = strlen(text);
	size_t host;
	char *url;

	if (*text == '\0') {
		*ret = NULL;
		return 0;
	}
	if (scheme == 0)
		return -EINVAL;
	if (len > scheme && text[len - 1] == '/')
		len--;
	if (keep(text, len, &url))
		return -ENOMEM;
	for (size_t i = 0; i < scheme; i++)
		url[i] = (char)tolower((unsigned char)url[i]);

	if (url[scheme] == '[') {
		host = strspn(url + scheme + 1, "0123456789abcdefABCDEF:.");
		host = host && url[scheme + 1 + host] == ']' ? host + 2 : 0;
	} else {
		host = strcspn(url + scheme, ":");
		for (size_t i = 0; i < host; i++) {
			char c = url[scheme + i];

			if (!isalnum((unsigned char)c) && c != '.' && c != '_' &&
			    (c != '-' || i == 0))
				host = 0;
		}
	}
	if (host == 0 || !is_port(url + scheme + host)) {
		if (strchr(url + scheme, '@'))
			*why = "it cannot hold a user or password";
		else if (strpbrk(url + scheme, "/?#"))
			*why = "it cannot have a path; see prefix";
		free(url);
		return -EINVAL;
	}
	*ret = url;
	return 0;
}

static int read_region(const char *text, char **ret, const char **why)
{
	(void)why;
	if (!scout_text_is_made_of(text, "-_") || strlen(text) > 63)
		return -EINVAL;
	return keep(text, strlen(text), ret);
}

static int read_bucket(const char *text, char **ret, const char **why)
{
	size_t len = strlen(text);

	if (scout_is_arn(text)) {
		struct scout_access_point point;

		if (scout_access_point_parse(text, &point, why) < 0)
			return -EINVAL;
		return keep(text, len, ret);
	}
	if (!scout_text_is_made_of(text, ".-_") || len < 3 || len > 255 || text[0] == '.')
		return -EINVAL;
	return keep(text, len, ret);
}

static int read_prefix(const char *text, char **ret, const char **why)
{
	size_t len = strlen(text);
	char *prefix;

	if (text[0] == '/') {
		*why = "keys do not begin with '/'";
		return -EINVAL;
	}
	prefix = malloc(len + 2);
	if (!prefix)
		return -ENOMEM;
	memcpy(prefix, text, len + 1);
	if (len > 0 && text[len - 1] != '/')
		memcpy(prefix + len, "/", 2);
	*ret = prefix;
	return 0;
}

/* What is made of bytes from least to most, but for DEL; or none. */
static int read_made_of(const char *text, unsigned char least, unsigned char most, char **ret)
{
	if (*text == '\0') {
		*ret = NULL;
		return 0;
	}
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < least || *p > most || *p == 0x7f)
			return -EINVAL;
	}
	return keep(text, strlen(text), ret);
}

/* One printable word. */
static int read_word(const char *text, char **ret, const char **why)
{
	(void)why;
	return read_made_of(text, 0x21, 0x7e, ret);
}

/* Whatever others call a thing by. */
static int read_name(const char *text, char **ret, const char **why)
{
	(void)why;
	return read_made_of(text, 0x20, 0xff, ret);
}

const struct scout_value_kind scout_kind_count = {
    .wants = "a number", .number = read_count, .format = write_count};
const struct scout_value_kind scout_kind_size = {
    .wants = "a size (bytes, or with K, M, G)", .number = read_size, .format = write_size};
const struct scout_value_kind scout_kind_duration = {
    .wants = "a duration (ms, s, m, h)", .number = read_duration, .format = write_duration};
const struct scout_value_kind scout_kind_choice = {
    .wants = "one of", .number = read_choice, .format = write_choice};
const struct scout_value_kind scout_kind_bool = {
    .wants = "yes or no", .number = read_bool, .format = write_bool};

const struct scout_value_kind scout_kind_path = {
    .wants = "an absolute path (~ and $VAR expand), or nothing",
    .string = read_path,
    .expands = true};
const struct scout_value_kind scout_kind_needed_path = {
    .wants = "an absolute path (~ and $VAR expand)", .string = needed_path, .expands = true};
const struct scout_value_kind scout_kind_root = {.wants = "an absolute path on the host",
						 .string = read_root};
const struct scout_value_kind scout_kind_list = {.wants = "globs separated by commas",
						 .string = read_list};
const struct scout_value_kind scout_kind_hostname = {.wants = "a host's name or address",
						     .string = read_hostname};
const struct scout_value_kind scout_kind_user = {.wants = "a user's name", .string = read_user};
const struct scout_value_kind scout_kind_jump = {
    .wants = "[user@]host[:port], several separated by commas, or none", .string = read_jump};
const struct scout_value_kind scout_kind_endpoint = {.wants = "http[s]://host[:port]",
						     .string = read_endpoint};
const struct scout_value_kind scout_kind_region = {.wants = "a region such as us-east-1",
						   .string = read_region};
const struct scout_value_kind scout_kind_bucket = {
    .wants = "a bucket's name (3 to 255 letters, digits, '.', '-', '_') or an access point's ARN",
    .string = read_bucket};
const struct scout_value_kind scout_kind_prefix = {.wants = "a prefix of keys such as registry/",
						   .string = read_prefix};
const struct scout_value_kind scout_kind_word = {.wants = "one word of printable ASCII",
						 .string = read_word};
const struct scout_value_kind scout_kind_name = {.wants = "a name without control characters",
						 .string = read_name};
const struct scout_value_kind scout_kind_secret = {
    .wants = "one word of printable ASCII", .string = read_word, .secret = true};
