/* The kinds of values a key can have: how each is read from text and written back. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SCOUT_HOST_NAME_MAX 255 /* NAME_MAX: it becomes a directory */

/* A kind has number and format, or string. All return 0, -EINVAL (not such a value) or -ENOMEM. */
struct scout_value_kind {
	const char *wants; /* "a size": completes "want ..." */
	/* choices: the words of a choice, in the order of their numbers; NULL at the end */
	int (*number)(const char *text, const char *const *choices, uint64_t *ret);
	const char *(*format)(char buf[32], uint64_t value, const char *const *choices);
	/* *ret is NULL for an empty text, where that means "none". *why may be set to what is wrong. */
	int (*string)(const char *text, char **ret, const char **why);
	bool expands; /* '$' in it stands for a variable, so a literal one is written "$$" */
	bool secret;  /* never shown */
};

extern const struct scout_value_kind scout_kind_count, scout_kind_size, scout_kind_duration,
    scout_kind_choice, scout_kind_bool;
extern const struct scout_value_kind scout_kind_path, scout_kind_needed_path, scout_kind_root,
    scout_kind_list, scout_kind_hostname, scout_kind_user, scout_kind_jump, scout_kind_endpoint,
    scout_kind_region, scout_kind_bucket, scout_kind_prefix, scout_kind_word, scout_kind_name,
    scout_kind_secret;

/* Whether an ini can hold text as a value or in a section's name: no control characters, no blank at
 * either end, and nothing that begins an inline comment. */
bool scout_text_is_plain(const char *text);

/* Letters, digits and what of others is listed; not empty, and no '-' in front, where it would read
 * as an option. */
bool scout_text_is_made_of(const char *text, const char *others);

/* Whether name can be a directory under /hosts. */
bool scout_host_name_is_valid(const char *name);

/* The user's home: $HOME, else the password file's, else "/". 0 or -ENOMEM. */
int scout_home(char **ret);

/* ~, ~/, $VAR, ${VAR} and $$ expanded. Returns 0, -ENOMEM, or -EINVAL with *why set (borrowed from
 * static memory): an unset variable, a bad ${. */
int scout_expand(const char *text, char **ret, const char **why);

#endif
