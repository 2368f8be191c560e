/* What was probably meant by a name that is not in the table. */
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "scoutfs/text.h"

#define LONGEST 32 /* longer names get no suggestion; no key or section is that long */

static unsigned min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned rows[3][LONGEST + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2];

	if (n > LONGEST || m > LONGEST)
		return LONGEST;
	for (size_t j = 0; j <= m; j++)
		last[j] = before[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *oldest = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			row[j] =
			    min(last[j - 1] + (a[i - 1] != b[j - 1]), min(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = min(row[j], before[j - 2] + 1);
		}
		before = last;
		last = row;
		row = oldest;
	}
	return last[m];
}

/* The candidate that is near enough to name to be a slip of it. */
static bool nearer(const char *name, const char *candidate, unsigned *best)
{
	unsigned d = distance(name, candidate);
	unsigned allowed = (unsigned)strlen(candidate) / 3;

	if (d > (allowed ? allowed : 1) || d >= *best)
		return false;
	*best = d;
	return true;
}

void scout_key_suggest(enum scout_section section, const char *name, struct scout_text *out)
{
	const struct scout_key *meant = NULL;
	unsigned best = LONGEST;

	for (size_t i = 0; i < scout_key_count; i++) {
		const struct scout_key *key = &scout_keys[i];

		if (strcmp(key->name, name) == 0) {
			unsigned home = key->sections & -key->sections; /* the first of them */

			scout_text_printf(out, " (it belongs in [%s%s])", scout_section_name(home),
					  home == SCOUT_SECTION_HOST ? " NAME" : "");
			return;
		}
		if ((key->sections & section) && nearer(name, key->name, &best))
			meant = key;
	}
	if (meant)
		scout_text_printf(out, " (did you mean '%s'?)", meant->name);
}

void scout_section_suggest(const char *header, struct scout_text *out)
{
	static const char *const names[] = {"scoutfs", "hosts", "models"};
	const char *blank = strchr(header, ' ');
	const char *meant = NULL;
	unsigned best = LONGEST;
	char word[LONGEST];

	if (blank && (size_t)(blank - header) < sizeof(word)) {
		memcpy(word, header, (size_t)(blank - header));
		word[blank - header] = '\0';
		if (nearer(word, "host", &best))
			scout_text_printf(out, " (did you mean [host%s]?)", blank);
		return;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (nearer(header, names[i], &best))
			meant = names[i];
	}
	if (meant)
		scout_text_printf(out, " (did you mean [%s]?)", meant);
}
