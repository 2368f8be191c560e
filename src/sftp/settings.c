/* Pure but for the user's name and home, which the system is asked for. Trusts the ini and ssh_config as
 * far as their author may run commands anyway, but no name that begins with '-' gets to a command
 * line. No lock. */
#include "sftp/settings.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scoutfs/text.h"

#define DEFAULT_PORT 22

struct account {
	char name[128];
	char home[512];
};

static void find_account(struct account *a)
{
	char buf[4096];
	struct passwd pw, *found = NULL;
	const char *home = getenv("HOME");

	if (getpwuid_r(getuid(), &pw, buf, sizeof(buf), &found))
		found = NULL;
	if (!home || !*home)
		home = found ? found->pw_dir : "/";
	snprintf(a->home, sizeof(a->home), "%s", home);
	snprintf(a->name, sizeof(a->name), "%s", found ? found->pw_name : "");
}

void scout_settings_free(struct scout_settings *t)
{
	free(t->hostname);
	free(t->user);
	free(t->proxy_jump);
	free(t->proxy_command);
	free(t->agent);
	free(t->host_key_alias);
	free(t->ciphers);
	for (size_t i = 0; i < t->identities_count; i++)
		free(t->identities[i]);
	memset(t, 0, sizeof(*t));
}

void scout_settings_query(const struct scout_host_config *host, struct scout_args *args)
{
	scout_args_add(args, "ssh");
	scout_args_add(args, "-GT");
	scout_args_add(args, "-F");
	scout_args_add(args, "%s", host->ssh_config);
	/* the ini's words go in, so that Match and tokens see them */
	if (host->hostname)
		scout_args_add(args, "-oHostName=%s", host->hostname);
	if (host->user)
		scout_args_add(args, "-oUser=%s", host->user);
	if (host->port)
		scout_args_add(args, "-oPort=%u", host->port);
	scout_args_add(args, "--");
	scout_args_add(args, "%s", host->alias ? host->alias : host->name);
}

/* The tokens of ssh_config(5) that stand for what we know; others stay as they are. */
static const char *token(const struct scout_host_config *host, const struct scout_settings *t,
			 const struct account *a, char c, char port[16])
{
	switch (c) {
	case '%':
		return "%";
	case 'h':
		return t->hostname;
	case 'n':
		return host->alias ? host->alias : host->name;
	case 'p':
		snprintf(port, 16, "%u", t->port);
		return port;
	case 'r':
		return t->user;
	case 'u':
		return a->name;
	case 'd':
		return a->home;
	default:
		return NULL;
	}
}

/* str with its tokens, and a ~ in front when it is a path. */
static char *expand(const struct scout_host_config *host, const struct scout_settings *t,
		    const struct account *a, const char *str, bool path)
{
	struct scout_text out = {0};
	char port[16];
	const char *word;

	if (path && str[0] == '~' && (str[1] == '/' || !str[1])) {
		scout_text_printf(&out, "%s", a->home);
		str++;
	}
	for (; *str; str++) {
		word = *str == '%' ? token(host, t, a, str[1], port) : NULL;
		if (word) {
			scout_text_printf(&out, "%s", word);
			str++;
		} else {
			scout_text_append(&out, str, 1);
		}
	}
	return scout_text_take(&out);
}

static int set(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int add_identity(struct scout_settings *t, char *path)
{
	if (!path)
		return -ENOMEM;
	for (size_t i = 0; i < t->identities_count; i++) {
		if (!strcmp(t->identities[i], path)) {
			free(path);
			return 0;
		}
	}
	if (t->identities_count == SCOUT_IDENTITIES_MAX)
		free(path); /* a server refuses after fewer attempts */
	else
		t->identities[t->identities_count++] = path;
	return 0;
}

/* Whether ssh -G tells of a key because ssh tries it by default, not because of ssh_config. */
static bool is_default_identity(const char *value)
{
	static const char *const names[] = {"id_rsa",     "id_ecdsa",      "id_ecdsa_sk",
					    "id_ed25519", "id_ed25519_sk", "id_xmss",
					    "id_dsa"};

	if (strncmp(value, "~/.ssh/", 7) != 0)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(value + 7, names[i]))
			return true;
	return false;
}

struct answer {
	const char *proxy_command, *agent;
	const char *identities[SCOUT_IDENTITIES_MAX];
	size_t identities_count;
};

/* One line of ssh -G: what can be used as it is goes to t, what holds tokens to a. */
static int take_line(struct scout_settings *t, struct answer *a, const char *key, const char *value)
{
	bool none = !strcasecmp(value, "none");

	if (!strcmp(key, "hostname"))
		return set(&t->hostname, value);
	if (!strcmp(key, "user"))
		return set(&t->user, value);
	if (!strcmp(key, "hostkeyalias"))
		return set(&t->host_key_alias, value);
	if (!strcmp(key, "ciphers"))
		return set(&t->ciphers, value);
	if (!strcmp(key, "port"))
		t->port = (unsigned)strtoul(value, NULL, 10);
	else if (!strcmp(key, "proxyjump") && !none)
		return set(&t->proxy_jump, value);
	else if (!strcmp(key, "proxycommand") && !none)
		a->proxy_command = value;
	else if (!strcmp(key, "identityagent"))
		a->agent = value;
	else if (!strcmp(key, "identityfile") && !none &&
		 a->identities_count < SCOUT_IDENTITIES_MAX)
		a->identities[a->identities_count++] = value;
	return 0;
}

/* Cuts text into lines; a keeps pointers into it. */
static int take_answer(struct scout_settings *t, struct answer *a, char *text)
{
	char *line, *value, *save = NULL;
	int err = 0;

	for (line = strtok_r(text, "\n", &save); line && !err; line = strtok_r(NULL, "\n", &save)) {
		value = strchr(line, ' ');
		if (!value)
			continue;
		*value++ = '\0';
		err = take_line(t, a, line, value);
	}
	return err;
}

static int load_agent(struct scout_settings *t, const struct scout_host_config *host,
		      const struct account *me, const char *told)
{
	const char *env = NULL;

	if (!told || !strcmp(told, "SSH_AUTH_SOCK"))
		env = getenv("SSH_AUTH_SOCK");
	else if (told[0] == '$')
		env = getenv(told + 1);
	else if (strcasecmp(told, "none") != 0)
		return (t->agent = expand(host, t, me, told, true)) ? 0 : -ENOMEM;
	return env && *env ? set(&t->agent, env) : 0;
}

/* First the ini's key, then those that ssh_config names, then the defaults. */
static int load_identities(struct scout_settings *t, const struct scout_host_config *host,
			   const struct account *me, const struct answer *a)
{
	static const char *const defaults[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa",
					       "~/.ssh/id_rsa"};
	int err = 0;

	if (host->identity_file)
		err = add_identity(t, strdup(host->identity_file));
	for (size_t i = 0; i < a->identities_count && !err; i++)
		if (!is_default_identity(a->identities[i]))
			err = add_identity(t, expand(host, t, me, a->identities[i], true));
	t->explicit_count = t->identities_count;
	for (size_t i = 0; i < 3 && !err; i++)
		err = add_identity(t, expand(host, t, me, defaults[i], true));
	return err;
}

static int load_proxy(struct scout_settings *t, const struct scout_host_config *host,
		      const struct account *me, const struct answer *a)
{
	if (host->proxy_jump) { /* the ini rules both of ssh_config's words */
		free(t->proxy_jump);
		t->proxy_jump = NULL;
		return strcasecmp(host->proxy_jump, "none") ? set(&t->proxy_jump, host->proxy_jump)
							    : 0;
	}
	if (a->proxy_command && !t->proxy_jump) {
		t->proxy_command = expand(host, t, me, a->proxy_command, false);
		return t->proxy_command ? 0 : -ENOMEM;
	}
	return 0;
}

int scout_settings_load(const struct scout_host_config *host, const char *text,
			struct scout_settings *t)
{
	struct answer a = {0};
	struct account me;
	char *copy = NULL;
	int err = 0;

	memset(t, 0, sizeof(*t));
	find_account(&me);
	if (text) {
		copy = strdup(text);
		err = copy ? take_answer(t, &a, copy) : -ENOMEM;
		if (!err && !t->hostname)
			err = -EINVAL;
	}
	if (!err && (host->hostname || !t->hostname))
		err = set(&t->hostname, host->hostname ? host->hostname
					: host->alias  ? host->alias
						       : host->name);
	if (!err && (host->user || !t->user))
		err = set(&t->user, host->user ? host->user : me.name);
	if (host->port || !t->port)
		t->port = host->port ? host->port : DEFAULT_PORT;
	if (!err && (t->hostname[0] == '-' || t->user[0] == '-' || t->port > 65535))
		err = -EINVAL;
	if (!err)
		err = load_proxy(t, host, &me, &a);
	if (!err)
		err = load_agent(t, host, &me, a.agent);
	if (!err)
		err = load_identities(t, host, &me, &a);
	free(copy);
	if (err)
		scout_settings_free(t);
	return err;
}
