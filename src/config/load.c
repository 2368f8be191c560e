/* Loads the config: which file, what is in it, the options over it, and the hosts of ssh_config. A file
 * that holds a secret must be its owner's alone. One thread, at start, before any other. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/draft.h"
#include "config/ssh_names.h"
#include "scoutfs/config.h"
#include "scoutfs/text.h"

#define SYSTEM_INI "/etc/scoutfs.ini"

/* Opens for reading; NULL with *err 0 when there is none and that is fine. */
static FILE *open_ini(const char *path, bool optional, bool mounted, int *err)
{
	FILE *in = scout_draft_open(path, mounted);

	*err = in || (optional && (errno == ENOENT || errno == ENOTDIR)) ? 0 : -errno;
	return in;
}

/* $XDG_CONFIG_HOME/scoutfs/scoutfs.ini, which is ~/.config/... unless that variable is absolute. */
static char *user_ini(void)
{
	const char *folder = getenv("XDG_CONFIG_HOME");
	struct scout_text path = {0};
	char *home = NULL;
	char *ret;

	if (!folder || folder[0] != '/') {
		if (scout_home(&home))
			return NULL;
		scout_text_printf(&path, "%s/.config", home);
	} else {
		scout_text_printf(&path, "%s", folder);
	}
	scout_text_printf(&path, "/scoutfs/scoutfs.ini");
	free(home);
	ret = path.failed ? NULL : scout_text_take(&path);
	scout_text_free(&path);
	return ret;
}

/* The file to read and its name (*name is allocated): 0 with *in NULL when the defaults are to be used. */
static int find_ini(const char *path, bool mounted, FILE **in, char **name)
{
	int err;

	*name = path ? strdup(path) : user_ini();
	if (!*name)
		return -ENOMEM;
	*in = open_ini(*name, !path, mounted, &err);
	if (*in || err || path)
		return err;
	free(*name);
	*name = strdup(SYSTEM_INI);
	if (!*name)
		return -ENOMEM;
	*in = open_ini(*name, true, mounted, &err);
	return err;
}

static void check_secret(struct scout_draft *d, FILE *in)
{
	const char *secret = scout_draft_secret(d);
	struct stat st;

	if (!secret)
		return;
	if (fstat(fileno(in), &st) || (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)))
		scout_problem(
		    &d->problems, SCOUT_LINE_NONE,
		    "it holds %s, and group or others may read or change it (chmod 600 %s)", secret,
		    d->problems.file);
}

static int import_names(struct scout_draft *d, struct scout_ssh_names *names)
{
	struct scout_config *c = d->config;
	const char *path = c->defaults.ssh_config;
	int err;

	if (!path)
		return 0;
	err = scout_ssh_names_load(names, path);
	if (err == -ENOMEM)
		return err;
	if (err) {
		scout_problem(&d->problems, scout_draft_line(d, SCOUT_SECTION_HOSTS, "ssh_config"),
			      "ssh_config %s: %s", path,
			      err == -E2BIG ? "too many names, bytes or levels of Include"
					    : strerror(-err));
		return 0;
	}
	return scout_ssh_names_filter(names, c->allow, c->block);
}

/* Notes where commands stand that may not run: in the file whose names are taken, and in those that hosts
 * have for themselves. 0 or -ENOMEM; what else is wrong with these is told when the host is used. */
static int note_exec(struct scout_draft *d, struct scout_ssh_names *names)
{
	struct scout_config *c = d->config;
	int err = 0;

	if (!c->defaults.match_exec) {
		c->match_exec_at = names->exec_at;
		names->exec_at = NULL;
	}
	for (size_t i = 0; i < c->nhosts && !c->match_exec_at && err != -ENOMEM; i++) {
		const struct scout_host_config *h = &c->hosts[i];
		struct scout_ssh_names own = {0};

		if (!h->ssh_config || h->match_exec ||
		    (c->defaults.ssh_config && !strcmp(h->ssh_config, c->defaults.ssh_config)))
			continue;
		err = scout_ssh_names_load(&own, h->ssh_config);
		c->match_exec_at = own.exec_at;
		own.exec_at = NULL;
		scout_ssh_names_free(&own);
	}
	return err == -ENOMEM ? err : 0;
}

/* Everything behind opening; in may be NULL. */
static int load(struct scout_draft *d, FILE *in, const char *const *overrides, size_t noverrides)
{
	struct scout_ssh_names names = {0};
	int err = 0;

	if (in) {
		scout_draft_read(d, in);
		check_secret(d, in);
	}
	for (size_t i = 0; i < noverrides; i++)
		scout_draft_override(d, overrides[i]);
	scout_draft_check(d);
	if (!d->err)
		err = import_names(d, &names);
	if (!err)
		err = d->err;
	if (!err && d->problems.count > 0)
		err = -EINVAL;
	if (!err)
		err = scout_draft_finish(d, names.names, names.count);
	if (!err)
		err = note_exec(d, &names);
	scout_ssh_names_free(&names);
	return err;
}

static int read_config(const char *path, const char *const *overrides, size_t noverrides,
		       const struct scout_config *running, FILE *errors, struct scout_config **ret)
{
	struct scout_draft draft;
	char *name = NULL;
	FILE *in = NULL;
	int err = find_ini(path, running != NULL, &in, &name);

	if (err) {
		fprintf(errors, "scoutfs: %s: %s\n", name ? name : "config",
			scout_draft_open_reason(-err));
		goto out;
	}
	err = scout_draft_init(&draft, name, errors);
	if (err) {
		fprintf(errors, "scoutfs: the defaults: %s (is $HOME a path?)\n", strerror(-err));
		goto out;
	}
	draft.running = running;
	err = load(&draft, in, overrides, noverrides);
	scout_problems_end(&draft.problems);
	if (!err) {
		*ret = draft.config;
		draft.config = NULL;
	}
	scout_draft_free(&draft);
out:
	if (in)
		fclose(in);
	free(name);
	return err;
}

int scout_config_load(const char *path, const char *const *overrides, size_t noverrides,
		      FILE *errors, struct scout_config **ret)
{
	return read_config(path, overrides, noverrides, NULL, errors, ret);
}

int scout_config_reload(const char *path, const char *const *overrides, size_t noverrides,
			const struct scout_config *running, FILE *errors, struct scout_config **ret)
{
	return read_config(path, overrides, noverrides, running, errors, ret);
}

void scout_config_differences(const struct scout_config *a, const struct scout_config *b,
			      const char *section, struct scout_text *out)
{
	for (size_t i = 0; i < scout_key_count; i++) {
		const struct scout_key *key = &scout_keys[i];

		/* those of [hosts] and [host NAME] have another base */
		if (key->sections & (SCOUT_SECTION_HOSTS | SCOUT_SECTION_HOST) ||
		    strcmp(scout_section_name((enum scout_section)key->sections), section) != 0)
			continue;
		if (!scout_key_equal(key, a, b))
			scout_text_printf(out, "%s%s", out->len ? ", " : "", key->name);
	}
}

static int compare_name(const void *key, const void *element)
{
	return strcmp(key, ((const struct scout_host_config *)element)->name);
}

const struct scout_host_config *scout_config_host(const struct scout_config *c, const char *name,
						  size_t len)
{
	char copy[SCOUT_HOST_NAME_MAX + 1];

	if (len > SCOUT_HOST_NAME_MAX || memchr(name, '\0', len))
		return NULL;
	memcpy(copy, name, len);
	copy[len] = '\0';
	return bsearch(copy, c->hosts, c->nhosts, sizeof(*c->hosts), compare_name);
}
