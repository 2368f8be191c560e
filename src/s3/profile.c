/* AWS's profile files; see profile.h. Read by us and not by inih, because inih cuts lines at 200 bytes
 * and section names at 49: a session token has 1,000 and more. The file is the user's own, and is
 * trusted with everything but its size. Every copy of a line is wiped. */
#include "s3/profile.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX_BYTES (4 << 20)

static char *trim(char *text)
{
	size_t len;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

/* line is "[name]" or "[profile name]", trimmed. "[default]" needs no prefix. */
static bool names_profile(char *line, const char *name, bool prefixed)
{
	char *close = strchr(line, ']');
	char *section;

	if (!close)
		return false;
	*close = '\0';
	section = trim(line + 1);
	if (prefixed && strncmp(section, "profile", 7) == 0 && isspace((unsigned char)section[7]))
		return strcmp(trim(section + 7), name) == 0;
	return strcmp(section, name) == 0 && (!prefixed || strcmp(name, "default") == 0);
}

static int take_setting(char *line, struct scout_s3_credentials *c)
{
	const struct {
		const char *name;
		char **value;
	} settings[] = {
	    {"aws_access_key_id", &c->access_key_id},
	    {"aws_secret_access_key", &c->secret_access_key},
	    {"aws_session_token", &c->session_token},
	};
	char *equals = strchr(line, '='), *name;

	if (!equals)
		return 0;
	*equals = '\0';
	name = trim(line);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		char *copy;

		if (strcasecmp(name, settings[i].name) != 0)
			continue;
		copy = strdup(trim(equals + 1));
		if (!copy)
			return -ENOMEM;
		if (*settings[i].value)
			explicit_bzero(*settings[i].value, strlen(*settings[i].value));
		free(*settings[i].value);
		*settings[i].value = copy;
	}
	return 0;
}

/* text is NUL-terminated and is taken apart. */
static int parse(char *text, const char *name, bool prefixed, struct scout_s3_credentials *c)
{
	bool inside = false, found = false;
	size_t margin = SIZE_MAX; /* of the section's first setting */
	char *line;
	int err = 0;

	while (!err && (line = strsep(&text, "\n")) != NULL) {
		size_t indent = strspn(line, " \t");

		line = trim(line);
		if (*line == '\0' || *line == '#' || *line == ';')
			continue;
		if (*line == '[') {
			inside = names_profile(line, name, prefixed);
			found = found || inside;
			margin = SIZE_MAX;
			continue;
		}
		if (margin == SIZE_MAX)
			margin = indent;
		/* A line further in belongs to the setting above it ("s3 =" and its block). */
		if (inside && indent <= margin)
			err = take_setting(line, c);
	}
	return err ? err : found;
}

int scout_s3_profile_read(const char *path, const char *name, bool prefixed,
			  struct scout_s3_credentials *c)
{
	FILE *in = fopen(path, "re");
	char *text = NULL;
	size_t len;
	int err;

	if (!in)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	text = malloc(FILE_MAX_BYTES + 1);
	if (!text) {
		err = -ENOMEM;
		goto out;
	}
	/* Unbuffered, so that no copy of the secrets stays behind in a stream's buffer. */
	setvbuf(in, NULL, _IONBF, 0);
	len = fread(text, 1, FILE_MAX_BYTES + 1, in);
	if (ferror(in))
		err = -EIO;
	else if (len > FILE_MAX_BYTES)
		err = -EFBIG;
	else {
		text[len] = '\0';
		err = parse(text, name, prefixed, c);
	}
	explicit_bzero(text, len);
out:
	free(text);
	fclose(in);
	return err;
}
