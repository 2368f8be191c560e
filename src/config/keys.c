/* The table of keys, and reading and writing the fields it describes. A new key is one line here and a
 * field in scoutfs/config.h. No lock: the table is constant. */
#include "config/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/budget.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/text.h"

#define MS SCOUT_NS_PER_MS
#define HOUR (3600 * SCOUT_NS_PER_S)
#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* in the order of the enums and, for symlinks, of contain_symlinks */
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const host_key_checks[] = {"strict", "accept-new", "off", NULL};
static const char *const idmaps[] = {"none", "user", "file", NULL};
static const char *const symlink_modes[] = {"raw", "contain", NULL};

#define FIELD(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)0)->field)
#define GLOBAL(where, key, field) \
	.name = (key), .sections = (where), FIELD(struct scout_config, field)
#define HOST(where, key, field) \
	.name = (key), .sections = (where), FIELD(struct scout_host_config, field)
#define NUMBER(k, low, high) .kind = &scout_kind_##k, .min = (low), .max = (high)
#define STRING(k) .kind = &scout_kind_##k
#define CHOICE(words) \
	.kind = &scout_kind_choice, .choices = (words), .max = sizeof(words) / sizeof(*(words)) - 2
#define BOOL .kind = &scout_kind_bool, .max = 1
#define DEFAULT(text) .fallback = (text)

#define S SCOUT_SECTION_SCOUTFS
#define G SCOUT_SECTION_HOSTS
#define H SCOUT_SECTION_HOST
#define M SCOUT_SECTION_MODELS

/* clang-format off */
const struct scout_key scout_keys[] = {
	{GLOBAL(S, "workers", workers), NUMBER(count, 1, 256), DEFAULT("8")},
	{GLOBAL(S, "memory", memory), NUMBER(size, 16 * MIB, 1024 * GIB), DEFAULT("256M")},
	{GLOBAL(S, "log_level", log_level), CHOICE(log_levels), DEFAULT("info")},
	{GLOBAL(S, "log_file", log_file), STRING(path)},
	{GLOBAL(S, "allow_other", allow_other), BOOL, DEFAULT("no")},

	{HOST(H, "hostname", hostname), STRING(hostname)},
	{HOST(H, "port", port), NUMBER(count, 1, 65535)},
	{HOST(H, "user", user), STRING(user)},
	{HOST(H, "identity_file", identity_file), STRING(path)},
	{HOST(H, "proxy_jump", proxy_jump), STRING(jump)},
	{HOST(H, "root", root), STRING(root), DEFAULT("/")},

	{HOST(G | H, "ssh_config", ssh_config), STRING(path), DEFAULT("~/.ssh/config")},
	{HOST(G | H, "match_exec", match_exec), BOOL, DEFAULT("no")},
	{GLOBAL(G, "allow", allow), STRING(list), DEFAULT("*")},
	{GLOBAL(G, "block", block), STRING(list), DEFAULT("")},
	{HOST(G | H, "known_hosts", known_hosts), STRING(needed_path), DEFAULT("~/.ssh/known_hosts")},
	{HOST(G | H, "host_key_check", host_key_check), CHOICE(host_key_checks), DEFAULT("strict")},
	{HOST(G | H, "connect_timeout", connect_timeout_ns), NUMBER(duration, 10 * MS, HOUR), DEFAULT("10s")},
	{HOST(G | H, "request_timeout", request_timeout_ns), NUMBER(duration, 10 * MS, HOUR), DEFAULT("30s")},
	{HOST(G | H, "keepalive", keepalive_ns), NUMBER(duration, 0, HOUR), DEFAULT("15s")},
	{HOST(G | H, "idle_timeout", idle_timeout_ns), NUMBER(duration, 10 * MS, 24 * HOUR), DEFAULT("60s")},
	{GLOBAL(G, "max_sessions", max_sessions), NUMBER(count, 1, 10000), DEFAULT("100")},
	{HOST(G | H, "max_sessions_per_host", max_sessions_per_host), NUMBER(count, 1, 64), DEFAULT("8")},
	{GLOBAL(G, "dynamic", dynamic), BOOL, DEFAULT("no")},
	{GLOBAL(G, "max_connecting", max_connecting), NUMBER(count, 1, 1000), DEFAULT("100")},
	{HOST(G | H, "read_window", read_window), NUMBER(size, 128 * KIB, GIB), DEFAULT("32M")},
	{HOST(G | H, "attr_timeout", attr_timeout_ns), NUMBER(duration, 0, 24 * HOUR), DEFAULT("1s")},
	{HOST(G | H, "symlinks", contain_symlinks), CHOICE(symlink_modes), DEFAULT("contain")},
	{HOST(G | H, "read_only", read_only), BOOL, DEFAULT("no")},
	{HOST(G | H, "idmap", idmap), CHOICE(idmaps), DEFAULT("none")},
	{HOST(G | H, "uidfile", uidfile), STRING(path)},
	{HOST(G | H, "gidfile", gidfile), STRING(path)},

	{GLOBAL(M, "endpoint", models.endpoint), STRING(endpoint)},
	{GLOBAL(M, "region", models.region), STRING(region), DEFAULT("us-east-1")},
	{GLOBAL(M, "bucket", models.bucket), STRING(bucket)},
	{GLOBAL(M, "prefix", models.prefix), STRING(prefix), DEFAULT("")},
	{GLOBAL(M, "path_style", models.path_style), BOOL},
	{GLOBAL(M, "dual_stack", models.dual_stack), BOOL, DEFAULT("no")},
	{GLOBAL(M, "requester_pays", models.requester_pays), BOOL, DEFAULT("no")},
	{GLOBAL(M, "anonymous", models.anonymous), BOOL, DEFAULT("no")},
	{GLOBAL(M, "access_key_id", models.access_key_id), STRING(word)},
	{GLOBAL(M, "secret_access_key", models.secret_access_key), STRING(secret)},
	{GLOBAL(M, "session_token", models.session_token), STRING(secret)},
	{GLOBAL(M, "profile", models.profile), STRING(name)},
	{GLOBAL(M, "max_connections", models.max_connections), NUMBER(count, 1, 1000), DEFAULT("150")},
	{GLOBAL(M, "part_size", models.part_size), NUMBER(size, SCOUT_BUF_BYTES, GIB), DEFAULT("8M")},
	{GLOBAL(M, "read_window", models.read_window), NUMBER(size, MIB, 64 * GIB), DEFAULT("256M")},
	{GLOBAL(M, "list_ttl", models.list_ttl_ns), NUMBER(duration, 0, 24 * HOUR), DEFAULT("60s")},
	{GLOBAL(M, "list_max_keys", models.list_max_keys), NUMBER(count, 1, 10000000), DEFAULT("200000")},
	{GLOBAL(M, "versions", models.versions), BOOL, DEFAULT("no")},
	{GLOBAL(M, "verify", models.verify), BOOL, DEFAULT("yes")},
	{GLOBAL(M, "cache_dir", models.cache_dir), STRING(path)},
	{GLOBAL(M, "cache_size", models.cache_size), NUMBER(size, 64 * MIB, 1024 * 1024 * GIB), DEFAULT("10G")},
	{GLOBAL(M, "timeout", models.timeout_ns), NUMBER(duration, 10 * MS, HOUR), DEFAULT("30s")},
	{GLOBAL(M, "max_attempts", models.max_attempts), NUMBER(count, 1, 20), DEFAULT("3")},
	{GLOBAL(M, "unzip", models.unzip), BOOL, DEFAULT("yes")},
	{GLOBAL(M, "workload", models.workload), BOOL, DEFAULT("no")},
	{GLOBAL(M, "read_only", models.read_only), BOOL, DEFAULT("yes")},
	{GLOBAL(M, "overwrite", models.overwrite), BOOL, DEFAULT("no")},
	{GLOBAL(M, "delete", models.delete), BOOL, DEFAULT("no")},
	{GLOBAL(M, "abort_uploads_after", models.abort_uploads_after_ns), NUMBER(duration, 0, 8760 * HOUR), DEFAULT("24h")},
};
/* clang-format on */

const size_t scout_key_count = sizeof(scout_keys) / sizeof(*scout_keys);
_Static_assert(sizeof(scout_keys) / sizeof(*scout_keys) <= SCOUT_KEYS_MAX, "SCOUT_KEYS_MAX");

const char *scout_section_name(enum scout_section section)
{
	switch (section) {
	case SCOUT_SECTION_SCOUTFS:
		return "scoutfs";
	case SCOUT_SECTION_HOSTS:
		return "hosts";
	case SCOUT_SECTION_HOST:
		return "host";
	case SCOUT_SECTION_MODELS:
		break;
	}
	return "models";
}

const struct scout_key *scout_key_find(enum scout_section section, const char *name)
{
	for (size_t i = 0; i < scout_key_count; i++) {
		if ((scout_keys[i].sections & section) && strcmp(scout_keys[i].name, name) == 0)
			return &scout_keys[i];
	}
	return NULL;
}

static char **string_at(const struct scout_key *key, const void *base)
{
	return (char **)((char *)(uintptr_t)base + key->offset);
}

/* Numbers live in a bool, an unsigned (or an enum, which is one), a size_t or a uint64_t. */
static uint64_t number_at(const struct scout_key *key, const void *base)
{
	const void *field = (const char *)base + key->offset;

	if (key->size == sizeof(bool))
		return *(const bool *)field;
	if (key->size == sizeof(unsigned))
		return *(const unsigned *)field;
	return *(const uint64_t *)field;
}

static void put_number(const struct scout_key *key, void *base, uint64_t value)
{
	void *field = (char *)base + key->offset;

	if (key->size == sizeof(bool))
		*(bool *)field = value != 0;
	else if (key->size == sizeof(unsigned))
		*(unsigned *)field = (unsigned)value;
	else
		*(uint64_t *)field = value;
}

static void put_string(const struct scout_key *key, void *base, char *value)
{
	char **field = string_at(key, base);

	free(*field);
	*field = value;
}

static void say_wanted(const struct scout_key *key, struct scout_text *why)
{
	const struct scout_value_kind *kind = key->kind;
	char low[32], high[32];

	scout_text_printf(why, ": want %s", kind->wants);
	if (key->choices) {
		for (size_t i = 0; key->choices[i]; i++)
			scout_text_printf(why, "%s%s",
					  i == 0                ? " "
					  : key->choices[i + 1] ? ", "
								: " or ",
					  key->choices[i]);
	} else if (kind->number && kind != &scout_kind_bool) {
		scout_text_printf(why, " from %s to %s", kind->format(low, key->min, NULL),
				  kind->format(high, key->max, NULL));
	}
}

static int refuse(const struct scout_key *key, const char *text, const char *detail,
		  struct scout_text *why)
{
	char shown[80];

	scout_text_printf(why, "bad value");
	if (!key->kind->secret)
		scout_text_printf(why, " '%s'", scout_format_name(shown, sizeof(shown), text));
	scout_text_printf(why, " for %s", key->name);
	if (detail)
		scout_text_printf(why, " (%s)", detail);
	say_wanted(key, why);
	return -EINVAL;
}

int scout_key_set(const struct scout_key *key, void *base, const char *text, struct scout_text *why)
{
	const struct scout_value_kind *kind = key->kind;
	const char *detail = NULL;
	uint64_t number;
	char *string;
	int err;

	if (!scout_text_is_plain(text))
		return refuse(key, text, "it holds control characters or ' ;'", why);
	err = kind->number ? kind->number(text, key->choices, &number)
			   : kind->string(text, &string, &detail);
	if (err == -EINVAL)
		return refuse(key, text, detail, why);
	if (err)
		return err;
	if (!kind->number) {
		put_string(key, base, string);
		return 0;
	}
	if (number < key->min || number > key->max)
		return refuse(key, text, "it is out of range", why);
	put_number(key, base, number);
	return 0;
}

int scout_key_set_default(const struct scout_key *key, void *base)
{
	struct scout_text why = {0};
	int err;

	if (!key->fallback) {
		scout_key_clear(key, base);
		return 0;
	}
	err = scout_key_set(key, base, key->fallback, &why);
	scout_text_free(&why);
	return err;
}

int scout_key_copy(const struct scout_key *key, void *base, const void *from)
{
	char *copy = NULL;

	if (key->kind->number) {
		put_number(key, base, number_at(key, from));
		return 0;
	}
	if (*string_at(key, from)) {
		copy = strdup(*string_at(key, from));
		if (!copy)
			return -ENOMEM;
	}
	put_string(key, base, copy);
	return 0;
}

void scout_key_clear(const struct scout_key *key, void *base)
{
	if (key->kind->number)
		put_number(key, base, 0);
	else
		put_string(key, base, NULL);
}

bool scout_key_equal(const struct scout_key *key, const void *a, const void *b)
{
	const char *x, *y;

	if (key->kind->number)
		return number_at(key, a) == number_at(key, b);
	x = *string_at(key, a);
	y = *string_at(key, b);
	return x && y ? strcmp(x, y) == 0 : x == y;
}

bool scout_key_is_set(const struct scout_key *key, const void *base)
{
	return key->kind->number || *string_at(key, base);
}

void scout_key_print(const struct scout_key *key, const void *base, FILE *out)
{
	const char *string;
	char buf[32];

	fprintf(out, "%s =", key->name);
	if (key->kind->number) {
		fprintf(out, " %s", key->kind->format(buf, number_at(key, base), key->choices));
	} else if ((string = *string_at(key, base)) && *string) {
		fputc(' ', out);
		if (key->kind->secret)
			string = "****";
		for (; *string; string++) {
			if (key->kind->expands && *string == '$')
				fputc('$', out);
			fputc(*string, out);
		}
	}
	fputc('\n', out);
}
