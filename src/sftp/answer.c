/* Cuts the output of `ssh -G` into lines and tells what ssh_config said from what ssh does anyway: it
 * prints every option, set or not. Pure. */
#include "sftp/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Whether text has this line (len bytes). */
static bool has_line(const char *text, const char *line, size_t len)
{
	for (const char *at = text; at && *at; at = at ? at + 1 : NULL) {
		if (!strncmp(at, line, len) && (at[len] == '\n' || !at[len]))
			return true;
		at = strchr(at, '\n');
	}
	return false;
}

int scout_answer_parse(struct scout_answer *a, const char *text, const char *defaults)
{
	char *line, *value, *save = NULL;
	size_t most = 1;
	bool usual;

	memset(a, 0, sizeof(*a));
	a->text = strdup(text ? text : "");
	for (const char *c = a->text; c && *c; c++)
		most += *c == '\n';
	a->lines = calloc(most, sizeof(*a->lines));
	if (!a->text || !a->lines) {
		scout_answer_free(a);
		return -ENOMEM;
	}
	for (line = strtok_r(a->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		value = strchr(line, ' ');
		if (!value)
			continue;
		usual = has_line(defaults, line, strlen(line));
		*value++ = '\0';
		a->lines[a->count++] =
		    (struct scout_answer_line){.key = line, .value = value, .usual = usual};
	}
	return 0;
}

void scout_answer_free(struct scout_answer *a)
{
	free(a->text);
	free(a->lines);
	memset(a, 0, sizeof(*a));
}

static const struct scout_answer_line *find(const struct scout_answer *a, const char *key)
{
	for (size_t i = 0; i < a->count; i++)
		if (!strcmp(a->lines[i].key, key))
			return &a->lines[i];
	return NULL;
}

const char *scout_answer_value(const struct scout_answer *a, const char *key)
{
	const struct scout_answer_line *line = find(a, key);

	return line ? line->value : NULL;
}

const char *scout_answer_said(const struct scout_answer *a, const char *key)
{
	const struct scout_answer_line *line = find(a, key);

	return line && !line->usual && strcasecmp(line->value, "none") ? line->value : NULL;
}
