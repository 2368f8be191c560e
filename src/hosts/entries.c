/* See entries.h. What a server sends is checked here before anybody else sees it. */
#include "hosts/entries.h"

#include <stdlib.h>
#include <string.h>

#include "hosts/attr.h"
#include "hosts/dir.h"

struct scout_entries *scout_entries_new(struct scout_host *host,
					const struct scout_sftp_call *answer, size_t *bytes)
{
	size_t text = 0, good = 0, bad = 0;
	struct scout_entries *b;
	char *at;

	*bytes = sizeof *b;
	for (size_t i = 0; i < answer->names_count; i++) {
		const char *name = answer->names[i].name;

		if (scout_dir_name_ok(name)) {
			good++;
			text += strlen(name) + 1;
		} else {
			bad += strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
			*bytes += sizeof(struct scout_dirent);
		}
	}
	scout_count(&host->all->counters.names_skipped, bad);
	*bytes += good * sizeof(struct scout_dirent) + text;
	b = malloc(sizeof *b + good * sizeof(struct scout_dirent) + text);
	if (!b)
		return NULL;
	b->count = 0;
	at = (char *)&b->entries[good];
	for (size_t i = 0; i < answer->names_count; i++) {
		const struct scout_sftp_name *n = &answer->names[i];
		size_t len = strlen(n->name) + 1;

		if (!scout_dir_name_ok(n->name))
			continue;
		memcpy(at, n->name, len);
		b->entries[b->count].name = at;
		scout_host_attr(host, &n->attrs, &b->entries[b->count].attr);
		at += len;
		b->count++;
	}
	return b;
}

struct scout_entries *scout_entries_of(const struct scout_names *names)
{
	struct scout_entries *b =
	    malloc(sizeof *b + names->count * sizeof(struct scout_dirent) + names->text.len);
	char *text;

	if (!b)
		return NULL;
	b->first = 0;
	b->count = names->count;
	text = (char *)&b->entries[b->count];
	if (b->count)
		memcpy(text, names->text.str, names->text.len);
	for (size_t i = 0; i < names->count; i++) {
		const struct scout_name *e = &names->list[i];

		b->entries[e->rank] = (struct scout_dirent){.name = text + e->at, .attr = e->attr};
	}
	return b;
}
