/* Which hosts an ssh_config knows: ssh answers for one alias and cannot list them. Only names are
 * read here, as ssh_config(5) writes them; what they mean stays ssh's. Names with a pattern in them
 * and those that cannot be a folder are left out, and so are those that Match blocks include, or Host
 * blocks that are of other names. The file is the user's own, and still everything is bounded: an
 * Include may name itself. */
#include "config/ssh_names.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/value.h"
#include "scoutfs/file.h"
#include "scoutfs/text.h"

#define DEPTH_MAX 16
#define FILES_MAX 1024
#define BYTES_MAX ((size_t)16 << 20)
#define NAMES_MAX ((size_t)100000)

struct scope {
	const struct scope *outer; /* which includes it, or NULL */
	const char *path;          /* or NULL: Include is passed over */
	unsigned line;
	unsigned depth;
	bool hidden;                 /* included by a Match block: its names do not count */
	bool skipping;               /* in a Match block */
	bool in_host;                /* in a Host block */
	struct scout_text *patterns; /* of that, each with its NUL */
};

static int read_stream(struct scout_ssh_names *n, FILE *in, const struct scope *start);

static int add(struct scout_ssh_names *n, const char *name)
{
	if (n->count == NAMES_MAX)
		return -E2BIG;
	if (n->count == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 64;
		char **names = reallocarray(n->names, cap, sizeof(*names));

		if (!names)
			return -ENOMEM;
		n->names = names;
		n->cap = cap;
	}
	n->names[n->count] = strdup(name);
	if (!n->names[n->count])
		return -ENOMEM;
	n->count++;
	return 0;
}

/* The next word of a line, unquoted in place; NULL at its end, at a comment, or where a quote has no end. */
static char *next_word(char **at)
{
	char *in = *at + strspn(*at, " \t\f\v\r");
	char *word = in, *out = in;
	char quote = 0;

	if (*in == '\0' || *in == '#')
		return NULL;
	for (; *in && (quote || !isspace((unsigned char)*in)); in++) {
		if (*in == '\\' &&
		    (in[1] == '"' || in[1] == '\'' || in[1] == '\\' || (!quote && in[1] == ' '))) {
			*out++ = *++in;
		} else if (quote ? *in == quote : *in == '"' || *in == '\'') {
			quote = quote ? 0 : *in;
		} else {
			*out++ = *in;
		}
	}
	if (quote)
		return NULL;
	*at = *in ? in + 1 : in;
	*out = '\0';
	return word;
}

/* Splits the keyword off, and one '=' behind it; its arguments begin at *at. */
static char *take_keyword(char **at)
{
	char *word = *at + strspn(*at, " \t\f\v\r");
	char *end;
	bool quoted = *word == '"';

	if (quoted)
		word++;
	end = word + strcspn(word, quoted ? "\"" : " \t\f\v\r=");
	*at = end;
	if (*end) {
		char *next = end + (quoted ? 1 : 0);

		next += strspn(next, " \t\f\v\r");
		*at = *next == '=' ? next + 1 : next;
	}
	*end = '\0';
	return word;
}

/* As ssh does it: only these two stand for others. */
static bool is_like(const char *name, const char *pattern)
{
	const char *star = NULL, *from = NULL;

	while (*name) {
		if (*pattern == '*') {
			star = pattern++;
			from = name;
		} else if (*pattern == '?' || *pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++from;
		} else {
			return false;
		}
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

static bool is_of_block(const struct scope *block, const char *name)
{
	const char *at = block->patterns->str, *end = at ? at + block->patterns->len : NULL;
	bool found = !block->in_host;

	for (; at < end; at += strlen(at) + 1) {
		if (*at == '!' && is_like(name, at + 1))
			return false;
		found |= is_like(name, at);
	}
	return found;
}

/* Of all the blocks whose Include led here. */
static bool is_reached(const struct scope *scope, const char *name)
{
	for (scope = scope->outer; scope; scope = scope->outer) {
		if (!is_of_block(scope, name))
			return false;
	}
	return true;
}

static int add_hosts(struct scout_ssh_names *n, struct scope *scope, char *at)
{
	char *word;
	int err = 0;

	scope->patterns->len = 0;
	while (!err && (word = next_word(&at))) {
		scout_text_append(scope->patterns, word, strlen(word) + 1);
		if (!strpbrk(word, "*?!") && scout_host_name_is_valid(word) &&
		    is_reached(scope, word))
			err = add(n, word);
	}
	return scope->patterns->failed ? -ENOMEM : err;
}

static int read_file(struct scout_ssh_names *n, const struct scope *start)
{
	FILE *in;
	int err;

	if (start->depth > DEPTH_MAX || n->files == FILES_MAX)
		return -E2BIG;
	in = scout_open_file(start->path);
	if (!in)
		return -errno;
	n->files++;
	err = read_stream(n, in, start);
	fclose(in);
	return err;
}

/* Files that are not there or cannot be read are passed over, as ssh does it. */
static int include_glob(struct scout_ssh_names *n, const struct scope *scope, const char *pattern)
{
	glob_t found = {0};
	int err = 0;

	switch (glob(pattern, GLOB_TILDE, NULL, &found)) {
	case 0:
		break;
	case GLOB_NOSPACE:
		globfree(&found);
		return -ENOMEM;
	default:
		globfree(&found);
		return 0;
	}
	for (size_t i = 0; i < found.gl_pathc && !err; i++) {
		const struct scope inner = {.outer = scope,
					    .path = found.gl_pathv[i],
					    .depth = scope->depth + 1,
					    .hidden = scope->hidden || scope->skipping};

		err = read_file(n, &inner);
		if (err != -E2BIG && err != -ENOMEM)
			err = 0;
	}
	globfree(&found);
	return err;
}

static int include(struct scout_ssh_names *n, const struct scope *scope, char *at)
{
	char *word;
	int err = 0;

	while (!err && (word = next_word(&at))) {
		struct scout_text pattern = {0};

		/* as ssh does it for any file of -F, wherever that lies */
		if (word[0] != '/' && word[0] != '~')
			scout_text_printf(&pattern, "~/.ssh/");
		scout_text_append(&pattern, word, strlen(word));
		err = pattern.failed ? -ENOMEM : include_glob(n, scope, pattern.str);
		scout_text_free(&pattern);
	}
	return err;
}

/* Begins a Match block, and notes the first with "exec" among its criteria: all of these but three have
 * an argument. */
static int read_match(struct scout_ssh_names *n, struct scope *scope, char *at)
{
	char *word = next_word(&at);
	size_t len;

	scope->skipping = !word || strcasecmp(word, "all") != 0;
	scope->in_host = false;
	scope->patterns->len = 0;
	for (; word && !n->exec_at; word = next_word(&at)) {
		word += *word == '!';
		len = strcspn(word, "=");
		if (len == 4 && strncasecmp(word, "exec", 4) == 0 &&
		    asprintf(&n->exec_at, "%s:%u", scope->path ? scope->path : "", scope->line) < 0)
			return -ENOMEM;
		if (!word[len] && strcasecmp(word, "all") && strcasecmp(word, "final") &&
		    strcasecmp(word, "canonical"))
			(void)next_word(&at);
	}
	return 0;
}

static int read_line(struct scout_ssh_names *n, struct scope *scope, char *line)
{
	char *at = line;
	char *keyword = take_keyword(&at);

	if (strcasecmp(keyword, "host") == 0) {
		scope->skipping = false;
		scope->in_host = true;
		return scope->hidden ? 0 : add_hosts(n, scope, at);
	}
	if (strcasecmp(keyword, "match") == 0)
		return read_match(n, scope, at);
	if (strcasecmp(keyword, "include") == 0 && scope->path)
		return include(n, scope, at);
	return 0;
}

static int read_stream(struct scout_ssh_names *n, FILE *in, const struct scope *start)
{
	struct scope scope = *start;
	struct scout_text line = {0}, patterns = {0};
	int err = 0;
	int c;

	scope.patterns = &patterns;
	do {
		c = getc_unlocked(in);
		if (c != EOF && c != '\n') {
			char byte = (char)c;

			if (++n->bytes > BYTES_MAX)
				err = -E2BIG;
			else
				scout_text_append(&line, &byte, 1);
			continue;
		}
		scope.line++;
		if (line.failed)
			err = -ENOMEM;
		/* a line with a NUL in it is no text, and no Host line */
		else if (line.len > 0 && strlen(line.str) == line.len)
			err = read_line(n, &scope, line.str);
		line.len = 0;
	} while (c != EOF && !err);
	if (!err && ferror(in))
		err = -errno;
	scout_text_free(&line);
	scout_text_free(&patterns);
	return err;
}

int scout_ssh_names_read(struct scout_ssh_names *n, FILE *in)
{
	const struct scope start = {0};

	return read_stream(n, in, &start);
}

int scout_ssh_names_load(struct scout_ssh_names *n, const char *path)
{
	return read_file(n, &(struct scope){.path = path});
}

static bool matches(const char *name, char *const *globs, int flags)
{
	for (; *globs; globs++) {
		if (fnmatch(*globs, name, flags) == 0)
			return true;
	}
	return false;
}

/* text's globs, in one allocation with their strings behind them. */
static char **split(const char *text)
{
	size_t most = strlen(text) / 2 + 2; /* pointers: every second byte a comma, and the end */
	char **globs = malloc(most * sizeof(*globs) + strlen(text) + 1);
	size_t count = 0;
	char *copy, *save, *glob;

	if (!globs)
		return NULL;
	copy = memcpy(globs + most, text, strlen(text) + 1);
	for (glob = strtok_r(copy, ", \t", &save); glob; glob = strtok_r(NULL, ", \t", &save))
		globs[count++] = glob;
	globs[count] = NULL;
	return globs;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int scout_ssh_names_filter(struct scout_ssh_names *n, const char *allow, const char *block)
{
	char **allowed = split(allow), **blocked = split(block);
	size_t kept = 0;
	int err = 0;

	if (!allowed || !blocked) {
		err = -ENOMEM;
		goto out;
	}
	if (n->count > 0)
		qsort(n->names, n->count, sizeof(*n->names), compare);
	for (size_t i = 0; i < n->count; i++) {
		char *name = n->names[i];

		if ((kept > 0 && strcmp(n->names[kept - 1], name) == 0) ||
		    !matches(name, allowed, 0) || matches(name, blocked, 0))
			free(name);
		else
			n->names[kept++] = name;
	}
	n->count = kept;
out:
	free(allowed);
	free(blocked);
	return err;
}

int scout_ssh_names_match(const char *globs, const char *name)
{
	char **words = split(globs);
	bool found;

	if (!words)
		return -ENOMEM;
	found = matches(name, words, FNM_CASEFOLD);
	free(words);
	return found;
}

void scout_ssh_names_free(struct scout_ssh_names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->names[i]);
	free(n->names);
	free(n->exec_at);
	memset(n, 0, sizeof(*n));
}
