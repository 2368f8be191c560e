/* Splitting command lines; see command.h. As Python's shlex.split, which AWS's CLI uses. No state. */
#include "s3/command.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* One word from *line into *out, both moved on. False: a quote or backslash without what belongs to it. */
static bool take_word(const char **line, char **out)
{
	const char *p = *line;
	char *to = *out, quote = '\0';

	for (; *p && (quote || !is_blank(*p)); p++) {
		if (!quote && (*p == '\'' || *p == '"'))
			quote = *p;
		else if (quote && *p == quote)
			quote = '\0';
		else if (*p == '\\' && quote != '\'' && (!quote || p[1] == '"' || p[1] == '\\')) {
			if (!*++p)
				return false;
			*to++ = *p;
		} else
			*to++ = *p;
	}
	*to++ = '\0';
	*line = p;
	*out = to;
	return !quote;
}

int scout_s3_command_split(const char *line, char ***ret)
{
	/* as many words as every second byte one, and their bytes behind the pointers */
	size_t len = strlen(line), words = len / 2 + 2, count = 0;
	char **argv = calloc(1, words * sizeof(*argv) + len + 2);
	char *out = argv ? (char *)(argv + words) : NULL;

	if (!argv)
		return -ENOMEM;
	for (;;) {
		while (is_blank(*line))
			line++;
		if (!*line)
			break;
		argv[count++] = out;
		if (!take_word(&line, &out)) {
			free(argv);
			return -EINVAL;
		}
	}
	if (count == 0 || !*argv[0]) {
		free(argv);
		return -EINVAL;
	}
	*ret = argv;
	return 0;
}
