/* Reads scoutfs.ini through inih, and -o options, into a draft.
 *
 * inih's handler is told neither line numbers nor empty sections, and inih cuts section names at 49
 * bytes and lines at its buffer. So lines come to it through a reader of ours that counts them, takes
 * the headers out, and refuses what inih would cut; comments, "key = value" and trimming stay inih's.
 * One thread: inih's settings are global. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "config/draft.h"
#include "scoutfs/text.h"

#define LINE_BYTES 4096
#define FILE_BYTES (16 << 20)

struct reader {
	struct scout_draft *draft;
	FILE *in;
	size_t bytes;
};

static void no_memory(struct scout_draft *d)
{
	d->err = -ENOMEM;
}

/* A [host NAME] that is not in the table yet: the keys of a refused section are checked all the same. */
static struct scout_draft_host *add_host(struct scout_draft *d, const char *name)
{
	struct scout_draft_host *h = calloc(1, sizeof(*h));

	if (!h) {
		no_memory(d);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&d->hosts, h, link);
	d->nhosts++;
	h->line = d->line;
	h->host.in_ini = true;
	h->host.name = strdup(name);
	if (!h->host.name)
		no_memory(d);
	return h;
}

static void add_to_table(struct scout_draft *d, struct scout_draft_host *h)
{
	HASH_ADD_KEYPTR(hh, d->by_name, h->host.name, strlen(h->host.name), h);
	if (!h->hh.tbl)
		no_memory(d);
}

static struct scout_draft_host *find_host(struct scout_draft *d, const char *name)
{
	struct scout_draft_host *h;

	HASH_FIND(hh, d->by_name, name, strlen(name), h);
	return h;
}

/* Begins [host NAME], or takes it up again for an option. */
static void enter_host(struct scout_draft *d, const char *name)
{
	struct scout_draft_host *known = find_host(d, name);
	char shown[80];

	d->section = SCOUT_SECTION_HOST;
	if (known && d->line == SCOUT_LINE_OPTION) {
		d->host = known;
		return;
	}
	if (d->nhosts >= SCOUT_HOSTS_MAX) {
		if (d->nhosts++ == SCOUT_HOSTS_MAX)
			scout_problem(&d->problems, d->line, "more than %d hosts", SCOUT_HOSTS_MAX);
		d->section = 0;
		return;
	}
	d->host = add_host(d, name);
	if (d->err)
		return;
	if (known)
		scout_problem(&d->problems, d->line,
			      "duplicate section [host %s] (first on line %d)",
			      scout_format_name(shown, sizeof(shown), name), known->line);
	else if (!scout_host_name_is_valid(name))
		scout_problem(&d->problems, d->line,
			      "bad name '%s' in [host NAME]: it must do as a folder's name",
			      scout_format_name(shown, sizeof(shown), name));
	else
		add_to_table(d, d->host);
}

/* header is what stands between the brackets, without blanks at its ends. */
static void enter_section(struct scout_draft *d, const char *header)
{
	static const enum scout_section plain[] = {SCOUT_SECTION_SCOUTFS, SCOUT_SECTION_HOSTS,
						   SCOUT_SECTION_MODELS};
	struct scout_text hint = {0};
	char shown[80];

	d->outside = false;
	d->host = NULL;
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		if (strcmp(header, scout_section_name(plain[i])) == 0) {
			d->section = plain[i];
			return;
		}
	}
	if (strncmp(header, "host", 4) == 0 && (header[4] == ' ' || header[4] == '\t')) {
		enter_host(d, header + 4 + strspn(header + 4, " \t"));
		return;
	}
	d->section = 0;
	if (strcmp(header, "host") == 0)
		scout_text_printf(&hint, " (did you mean [hosts] or [host NAME]?)");
	else
		scout_section_suggest(header, &hint);
	scout_problem(&d->problems, d->line, "unknown section [%s]%s",
		      scout_format_name(shown, sizeof(shown), header), hint.str ? hint.str : "");
	scout_text_free(&hint);
}

static const char *section_label(const struct scout_draft *d, char buf[128])
{
	char shown[80];

	if (d->host && d->host->host.name)
		snprintf(buf, 128, "host %s",
			 scout_format_name(shown, sizeof(shown), d->host->host.name));
	else
		snprintf(buf, 128, "%s", scout_section_name(d->section));
	return buf;
}

static void unknown_key(struct scout_draft *d, const char *name)
{
	struct scout_text hint = {0};
	char shown[80], label[128];

	scout_key_suggest(d->section, name, &hint);
	scout_problem(&d->problems, d->line, "unknown key '%s' in [%s]%s",
		      scout_format_name(shown, sizeof(shown), name), section_label(d, label),
		      hint.str ? hint.str : "");
	scout_text_free(&hint);
}

static void set_key(struct scout_draft *d, const char *name, const char *value)
{
	const struct scout_key *key = scout_key_find(d->section, name);
	int *lines = d->host ? d->host->key_lines : d->key_lines;
	void *base = d->host ? &d->host->host : (void *)d->config;
	struct scout_text why = {0};
	char label[128];
	int err;

	if (!key) {
		unknown_key(d, name);
		return;
	}
	if (!d->host && (key->sections & SCOUT_SECTION_HOST))
		base = &d->config->defaults;
	lines += key - scout_keys;
	if (*lines && d->line != SCOUT_LINE_OPTION) {
		scout_problem(&d->problems, d->line,
			      "duplicate key '%s' in [%s] (first on line %d)", name,
			      section_label(d, label), *lines);
		return;
	}
	*lines = d->line;
	err = scout_key_set(key, base, value, &why);
	if (err == -ENOMEM || why.failed)
		no_memory(d);
	else if (err)
		scout_problem(&d->problems, d->line, "%s", why.str);
	if (err && !d->host)
		d->refused |= UINT64_C(1) << (key - scout_keys);
	scout_text_free(&why);
}

static int handle(void *arg, const char *section, const char *name, const char *value)
{
	struct scout_draft *d = arg;

	(void)section;
	if (d->outside)
		scout_problem(&d->problems, d->line, "a key before the first [section]");
	else if (!value) /* not shown: it may be a secret */
		scout_problem(&d->problems, d->line, "neither 'key = value' nor [section]");
	else if (d->section)
		set_key(d, name, value);
	return 1;
}

/* The rest of a line's inline comment and of its blanks goes, as inih does it. */
static void trim_comment(char *line)
{
	size_t len;

	for (char *p = line; *p; p++) {
		if (*p == ';' && p > line && isspace((unsigned char)p[-1]))
			*p-- = '\0';
	}
	len = strlen(line);
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		line[--len] = '\0';
}

/* Whether the line is a header; then its section begins. */
static bool take_header(struct scout_draft *d, char *line)
{
	char *end;

	if (d->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
		line += 3;
	line += strspn(line, " \t");
	if (*line != '[')
		return false;
	trim_comment(line);
	end = line + strlen(line) - 1;
	if (end == line || *end != ']') {
		d->section = 0;
		d->outside = false;
		scout_problem(&d->problems, d->line, "a section without its ']' at the end");
		return true;
	}
	while (end > line + 1 && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	line++;
	enter_section(d, line + strspn(line, " \t"));
	return true;
}

/* One line without its end into buf (LINE_BYTES); false at the end of the file. What cannot be a line
 * is told and becomes an empty one. */
static bool read_line(struct reader *r, char *buf)
{
	const char *wrong = NULL;
	size_t len = 0;
	int c;

	while ((c = getc_unlocked(r->in)) != EOF && c != '\n') {
		if (++r->bytes > FILE_BYTES)
			break;
		if (c == '\0')
			wrong = "a NUL byte";
		else if (len == LINE_BYTES - 1)
			wrong = "a line of more than 4095 bytes";
		else
			buf[len++] = (char)c;
	}
	if (c == EOF && len == 0 && !wrong)
		return false;
	r->draft->line++;
	if (c != EOF && ++r->bytes > FILE_BYTES) {
		scout_problem(&r->draft->problems, r->draft->line, "a file of more than 16M");
		return false;
	}
	if (wrong) {
		scout_problem(&r->draft->problems, r->draft->line, "%s", wrong);
		len = 0;
	}
	buf[len] = '\0';
	return true;
}

/* inih's reader: size is ini_max_line, so more than LINE_BYTES. */
static char *next_line(char *buf, int size, void *arg)
{
	struct reader *r = arg;

	(void)size;
	if (r->draft->err || !read_line(r, buf))
		return NULL;
	if (take_header(r->draft, buf))
		buf[0] = '\0';
	return buf;
}

void scout_draft_read(struct scout_draft *d, FILE *in)
{
	struct reader r = {.draft = d, .in = in};

	ini_allow_multiline = false; /* an indented key is a key */
	ini_allow_no_value = true;   /* so that the handler tells it */
	ini_allow_bom = true;
	ini_use_stack = true;
	ini_max_line = LINE_BYTES + 4;
	d->line = 0;
	d->section = 0;
	d->outside = true;
	(void)ini_parse_stream(next_line, &r, handle, d); /* problems are told already */
	if (ferror(in))
		scout_problem(&d->problems, SCOUT_LINE_NONE, "cannot be read: %s", strerror(errno));
}

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

void scout_draft_override(struct scout_draft *d, const char *option)
{
	char *copy = strdup(option);
	char *value = copy ? strchr(copy, '=') : NULL;
	const struct scout_key *key;
	char shown[80];
	char *name;

	d->line = SCOUT_LINE_OPTION;
	if (!copy) {
		no_memory(d);
		return;
	}
	if (value)
		*value++ = '\0';
	name = strrchr(copy, '.');
	if (!value || !name) {
		scout_problem(&d->problems, d->line, "'%s': want section.key=value",
			      scout_format_name(shown, sizeof(shown), copy));
		goto out;
	}
	*name++ = '\0';
	name = trim(name);
	enter_section(d, trim(copy));
	key = d->section ? scout_key_find(d->section, name) : NULL;
	if (key && key->kind->secret)
		scout_problem(&d->problems, d->line,
			      "%s is not taken here, where others can see it", name);
	else if (d->section && !d->err)
		set_key(d, name, trim(value));
out:
	free(copy);
}
