/* The table of every key of scoutfs.ini: it drives the file, -o, printing and suggestions. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config/value.h"

struct scout_host_config;
struct scout_text;

enum scout_section {
	SCOUT_SECTION_SCOUTFS = 1,
	SCOUT_SECTION_HOSTS = 2,
	SCOUT_SECTION_HOST = 4, /* [host NAME] */
	SCOUT_SECTION_MODELS = 8,
};

struct scout_key {
	const char *name;
	unsigned sections; /* enum scout_section */
	const struct scout_value_kind *kind;
	size_t offset,
	    size; /* in struct scout_host_config if [host NAME] has it, else scout_config */
	uint64_t min, max; /* of a number */
	const char *const *choices;
	const char *fallback; /* the default as text; NULL: zero */
};

extern const struct scout_key scout_keys[];
extern const size_t scout_key_count;
#define SCOUT_KEYS_MAX 64 /* at least scout_key_count */

const char *scout_section_name(enum scout_section section);

/* The key of that name in that section, or NULL. */
const struct scout_key *scout_key_find(enum scout_section section, const char *name);

/* Why there is no such key, for people: a suggestion, the section it belongs to, or that it is not
 * supported yet; appended to out, or nothing is. */
void scout_key_suggest(enum scout_section section, const char *name, struct scout_text *out);
/* The section's header that was meant by an unknown one, appended to out, or nothing is. */
void scout_section_suggest(const char *header, struct scout_text *out);

/* Sets the field from text. base is what the key's offset counts from. Returns 0, -ENOMEM, or -EINVAL
 * with what is wrong appended to why; then the field is as it was. */
int scout_key_set(const struct scout_key *key, void *base, const char *text,
		  struct scout_text *why);
/* Sets the field to the default: 0 or -ENOMEM. */
int scout_key_set_default(const struct scout_key *key, void *base);
/* Copies the field: 0 or -ENOMEM. */
int scout_key_copy(const struct scout_key *key, void *base, const void *from);
void scout_key_clear(const struct scout_key *key, void *base);

/* host.c: frees what h holds. */
void scout_host_config_clear(struct scout_host_config *h);

bool scout_key_equal(const struct scout_key *key, const void *a, const void *b);
/* Whether the field holds something (a string that is not NULL). */
bool scout_key_is_set(const struct scout_key *key, const void *base);
/* The value as the ini would say it; secrets are masked. */
void scout_key_print(const struct scout_key *key, const void *base, FILE *out);

#endif
