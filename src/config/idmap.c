/* The files of idmap = file, as sshfs reads them too: lines of "name:number", a user or group of this
 * machine and what the host calls it. Read once, with the config, since asking for a name may take a
 * while; then shared by the hosts and immutable, with an atomic count of references. */
#include "config/idmap.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "config/draft.h"
#include "scoutfs/config.h"
#include "scoutfs/text.h"

#define LINES_MAX 65536
#define NAME_BUFFER ((size_t)64 * 1024) /* for a group with many members */

struct pair {
	uint32_t key, value;
	unsigned line;
};

struct scout_id_map {
	atomic_uint refs;
	size_t count;
	struct pair *by_local, *by_remote; /* sorted by key, then by line */
};

struct scout_id_map *scout_id_map_ref(struct scout_id_map *m)
{
	if (m)
		atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void scout_id_map_unref(struct scout_id_map *m)
{
	if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(m->by_local);
	free(m->by_remote);
	free(m);
}

bool scout_id_map_equal(const struct scout_id_map *a, const struct scout_id_map *b)
{
	if (!a || !b || a->count != b->count)
		return a == b;
	return !a->count || !memcmp(a->by_local, b->by_local, a->count * sizeof(*a->by_local));
}

/* What the first line with that key says, or id. */
static uint32_t look_up(const struct pair *pairs, size_t count, uint32_t id)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (pairs[middle].key < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && pairs[low].key == id ? pairs[low].value : id;
}

uint32_t scout_id_map_remote(const struct scout_id_map *m, uint32_t local)
{
	return m ? look_up(m->by_local, m->count, local) : local;
}

uint32_t scout_id_map_local(const struct scout_id_map *m, uint32_t remote)
{
	return m ? look_up(m->by_remote, m->count, remote) : remote;
}

static bool read_number(const char *text, uint32_t *ret)
{
	size_t len = strspn(text, "0123456789");
	unsigned long long number;

	if (!len || len > 10 || text[len])
		return false;
	number = strtoull(text, NULL, 10);
	*ret = (uint32_t)number;
	return number < UINT32_MAX; /* the last one means "nobody" */
}

/* 0, -ENOENT: no such user or group, or -errno. */
static int local_id(const char *name, bool groups, uint32_t *ret)
{
	char *buffer = malloc(NAME_BUFFER);
	struct passwd user, *found_user = NULL;
	struct group group, *found_group = NULL;
	int err;

	if (!buffer)
		return -ENOMEM;
	if (groups)
		err = getgrnam_r(name, &group, buffer, NAME_BUFFER, &found_group);
	else
		err = getpwnam_r(name, &user, buffer, NAME_BUFFER, &found_user);
	if (found_group)
		*ret = group.gr_gid;
	else if (found_user)
		*ret = user.pw_uid;
	free(buffer);
	if (found_group || found_user || read_number(name, ret))
		return 0;
	/* the libraries behind have many words for a name that is not there */
	return err == ENOMEM ? -ENOMEM : -ENOENT;
}

/* One line, which is cut up. 0: a pair, 1: nothing, -EINVAL: told, or -ENOMEM. */
static int read_line(char *text, unsigned line, bool groups, struct scout_problems *problems,
		     struct pair *ret)
{
	size_t len = strlen(text);
	char shown[80], *colon;
	int err;

	while (len && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	if (!len || *text == '#')
		return 1;
	colon = strrchr(text, ':');
	if (!colon || colon == text || !read_number(colon + 1, &ret->value)) {
		scout_problem(problems, (int)line, "bad line '%s': want name:number",
			      scout_format_name(shown, sizeof(shown), text));
		return -EINVAL;
	}
	*colon = '\0';
	err = local_id(text, groups, &ret->key);
	if (err == -ENOENT)
		scout_problem(problems, (int)line, "no %s '%s' on this machine",
			      groups ? "group" : "user",
			      scout_format_name(shown, sizeof(shown), text));
	ret->line = line;
	return err == -ENOENT ? -EINVAL : err;
}

static int by_key(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

static int append(struct scout_id_map *m, const struct pair *pair)
{
	if (!(m->count & (m->count + 1))) {
		size_t room = 2 * m->count + 2;
		struct pair *more = reallocarray(m->by_local, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->by_local = more;
	}
	m->by_local[m->count++] = *pair;
	return 0;
}

static int sort(struct scout_id_map *m, struct scout_problems *problems)
{
	struct pair *pairs = m->by_local;

	m->by_remote = calloc(m->count + 1, sizeof(*m->by_remote));
	if (!m->by_remote)
		return -ENOMEM;
	for (size_t i = 0; i < m->count; i++)
		m->by_remote[i] = (struct pair){pairs[i].value, pairs[i].key, pairs[i].line};
	if (m->count)
		qsort(pairs, m->count, sizeof(*pairs), by_key);
	qsort(m->by_remote, m->count, sizeof(*m->by_remote), by_key);
	for (size_t i = 1; i < m->count; i++) {
		if (pairs[i].key == pairs[i - 1].key)
			scout_problem(problems, (int)pairs[i].line, "the same name as in line %u",
				      pairs[i - 1].line);
	}
	return 0;
}

static int read_lines(FILE *in, bool groups, struct scout_problems *problems,
		      struct scout_id_map *m)
{
	char *text = NULL;
	size_t cap = 0;
	unsigned line = 0;
	int err = 0;

	while (err >= 0 && getline(&text, &cap, in) >= 0) {
		struct pair pair;

		if (++line > LINES_MAX) {
			scout_problem(problems, SCOUT_LINE_NONE, "more than %d lines", LINES_MAX);
			break;
		}
		err = read_line(text, line, groups, problems, &pair);
		if (!err)
			err = append(m, &pair);
		if (err == -EINVAL)
			err = 0; /* told; on to the next */
	}
	if (err >= 0 && ferror(in))
		scout_problem(problems, SCOUT_LINE_NONE, "cannot be read");
	free(text);
	return err < 0 ? err : 0;
}

/* *ret is set unless something was told. Returns 0 or -ENOMEM. */
static int load(const char *path, bool groups, bool mounted, struct scout_problems *problems,
		struct scout_id_map **ret)
{
	struct scout_id_map *m = calloc(1, sizeof(*m));
	unsigned before = problems->count;
	FILE *in = m ? scout_draft_open(path, mounted) : NULL;
	int err = m ? 0 : -ENOMEM;

	if (m)
		atomic_init(&m->refs, 1);
	if (in) {
		err = read_lines(in, groups, problems, m);
		fclose(in);
	} else if (m) {
		scout_problem(problems, SCOUT_LINE_NONE, "%s", scout_draft_open_reason(errno));
	}
	if (!err && problems->count == before)
		err = sort(m, problems);
	if (err || problems->count != before)
		scout_id_map_unref(m);
	else
		*ret = m;
	return err;
}

static void load_into(struct scout_draft *d, const char *path, bool groups,
		      struct scout_id_map **ret)
{
	struct scout_problems problems = {.out = d->problems.out, .file = path};

	if (!path)
		return;
	if (load(path, groups, d->running != NULL, &problems, ret))
		d->err = -ENOMEM;
	scout_problems_end(&problems);
	d->problems.count += problems.count;
}

static size_t index_of(const char *name)
{
	return (size_t)(scout_key_find(SCOUT_SECTION_HOST, name) - scout_keys);
}

void scout_draft_idmap(struct scout_draft *d)
{
	const size_t idmap = index_of("idmap"), uids = index_of("uidfile"),
		     gids = index_of("gidfile");
	struct scout_host_config *defaults = &d->config->defaults;
	struct scout_draft_host *h;

	load_into(d, defaults->uidfile, false, &defaults->uids);
	load_into(d, defaults->gidfile, true, &defaults->gids);
	if (defaults->idmap == SCOUT_IDMAP_FILE && !defaults->uidfile && !defaults->gidfile)
		scout_problem(&d->problems, d->key_lines[idmap],
			      "idmap = file without uidfile or gidfile in [hosts]");
	TAILQ_FOREACH (h, &d->hosts, link) {
		const char *uidfile = h->key_lines[uids] ? h->host.uidfile : defaults->uidfile;
		const char *gidfile = h->key_lines[gids] ? h->host.gidfile : defaults->gidfile;

		if (h->key_lines[uids])
			load_into(d, uidfile, false, &h->host.uids);
		if (h->key_lines[gids])
			load_into(d, gidfile, true, &h->host.gids);
		if (h->key_lines[idmap] && h->host.idmap == SCOUT_IDMAP_FILE && !uidfile &&
		    !gidfile)
			scout_problem(&d->problems, h->key_lines[idmap],
				      "idmap = file without uidfile or gidfile");
	}
}

void scout_host_inherit_ids(struct scout_host_config *host, bool uidfile, bool gidfile,
			    const struct scout_host_config *defaults)
{
	if (!uidfile)
		host->uids = scout_id_map_ref(defaults->uids);
	if (!gidfile)
		host->gids = scout_id_map_ref(defaults->gids);
}
