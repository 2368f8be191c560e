/* Pure but for the user's name and home, which the system is asked for. Trusts the ini and ssh_config as
 * far as their author may run commands anyway, but no name that begins with '-' gets to a command
 * line. No lock. */
#include "sftp/settings.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "scoutfs/text.h"
#include "sftp/answer.h"

#define DEFAULT_PORT 22
#define SYSTEM_KNOWN_HOSTS "/etc/ssh/ssh_known_hosts"
#define SECONDS_MAX (3600 * 24) /* any longer is no limit */

struct account {
	char name[128];
	char home[512];
};

/* What a merge of the ini and ssh_config works with. */
struct merge {
	const struct scout_host_config *host;
	struct scout_answer answer;
	struct account me;
	struct scout_settings *t;
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

static void free_paths(struct scout_paths *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->path[i]);
}

void scout_settings_free(struct scout_settings *t)
{
	free(t->hostname);
	free(t->user);
	free(t->proxy_jump);
	free(t->proxy_command);
	free(t->agent);
	free(t->host_key_alias);
	free_paths(&t->identities);
	free_paths(&t->certificates);
	free_paths(&t->known_hosts);
	free(t->revoked_host_keys);
	free(t->ciphers);
	free(t->kex);
	free(t->macs);
	free(t->host_key_algorithms);
	free(t->key_algorithms);
	free(t->bind_address);
	free(t->bind_interface);
	memset(t, 0, sizeof(*t));
}

/* What ssh is told as the host's name. */
static const char *called(const struct scout_host_config *host)
{
	return host->alias ? host->alias : host->name;
}

/* An option whose value holds no tokens: "fe80::1%eth0" is an address. */
static void add_literal(struct scout_args *args, const char *option, const char *value)
{
	struct scout_text text = {0};

	scout_text_printf(&text, "%s", option);
	for (; *value; value++)
		scout_text_append(&text, *value == '%' ? "%%" : value, *value == '%' ? 2 : 1);
	if (text.failed)
		args->err = -ENOMEM;
	else
		scout_args_add(args, "%s", text.str);
	scout_text_free(&text);
}

void scout_settings_query(const struct scout_host_config *host, struct scout_args *args)
{
	scout_args_add(args, "ssh");
	scout_args_add(args, "-GT");
	scout_args_add(args, "-F");
	scout_args_add(args, "%s", host->ssh_config);
	/* the ini's words go in, so that Match and tokens see them */
	if (host->hostname)
		add_literal(args, "-oHostName=", host->hostname);
	if (host->user)
		scout_args_add(args, "-oUser=%s", host->user);
	if (host->port)
		scout_args_add(args, "-oPort=%u", host->port);
	scout_args_add(args, "--");
	scout_args_add(args, "%s", called(host));
}

void scout_settings_query_defaults(struct scout_args *args)
{
	static const char *const words[] = {"ssh", "-GT", "-F", "none", "--", "localhost"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		scout_args_add(args, "%s", words[i]);
}

const char *scout_settings_shell(const struct scout_host_config *host)
{
	return host->match_exec ? NULL : "/bin/false";
}

/* The tokens of ssh_config(5) that stand for what we know; others stay as they are. */
static const char *token(const struct merge *m, char c, char number[16])
{
	const struct scout_settings *t = m->t;

	switch (c) {
	case '%':
		return "%";
	case 'h':
		return t->hostname;
	case 'n':
		return called(m->host);
	case 'p':
		snprintf(number, 16, "%u", t->port);
		return number;
	case 'r':
		return t->user;
	case 'u':
		return m->me.name;
	case 'i':
		snprintf(number, 16, "%u", (unsigned)getuid());
		return number;
	case 'd':
		return m->me.home;
	case 'k':
		return t->host_key_alias ? t->host_key_alias : called(m->host);
	default:
		return NULL;
	}
}

/* str with its tokens, and a ~ in front when it is a path. */
static char *expand(const struct merge *m, const char *str, bool path)
{
	struct scout_text out = {0};
	char number[16];
	const char *word;

	if (path && str[0] == '~' && (str[1] == '/' || !str[1])) {
		scout_text_printf(&out, "%s", m->me.home);
		str++;
	}
	for (; *str; str++) {
		word = *str == '%' ? token(m, str[1], number) : NULL;
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

/* Sets the field to a value, when there is one. */
static int set_some(char **field, const char *value)
{
	return value ? set(field, value) : 0;
}

/* Takes path over; one that is there already, or one too many, is dropped. */
static int add_path(struct scout_paths *p, char *path)
{
	if (!path)
		return -ENOMEM;
	for (size_t i = 0; i < p->count; i++) {
		if (!strcmp(p->path[i], path)) {
			free(path);
			return 0;
		}
	}
	if (p->count == SCOUT_IDENTITIES_MAX)
		free(path);
	else
		p->path[p->count++] = path;
	return 0;
}

static int load_agent(struct merge *m)
{
	const char *told = scout_answer_value(&m->answer, "identityagent");
	const char *env = NULL;

	if (!told || !strcmp(told, "SSH_AUTH_SOCK"))
		env = getenv("SSH_AUTH_SOCK");
	else if (told[0] == '$')
		env = getenv(told + 1);
	else if (strcasecmp(told, "none") != 0)
		return (m->t->agent = expand(m, told, true)) ? 0 : -ENOMEM;
	return env && *env ? set(&m->t->agent, env) : 0;
}

/* Every value of key, as a path. usual: also those that are ssh's defaults. */
static int add_files(struct merge *m, struct scout_paths *p, const char *key, bool usual)
{
	const struct scout_answer *a = &m->answer;
	int err = 0;

	for (size_t i = 0; i < a->count && !err; i++)
		if (!strcmp(a->lines[i].key, key) && strcasecmp(a->lines[i].value, "none") &&
		    (usual || !a->lines[i].usual))
			err = add_path(p, expand(m, a->lines[i].value, true));
	return err;
}

/* Whether ssh_config has IdentityFile: ssh names all of its default keys, or none. */
static bool names_identities(const struct scout_answer *a, const char *defaults)
{
	size_t usual = 0, wanted = 0;

	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->lines[i].key, "identityfile"))
			continue;
		if (!a->lines[i].usual)
			return true;
		usual++;
	}
	for (const char *at = defaults; at && (at = strstr(at, "identityfile ")); at++)
		wanted++;
	return usual && usual < wanted;
}

/* The ini's key and those that ssh_config names; the defaults only where there are none, as ssh does. */
static int load_identities(struct merge *m, const char *defaults)
{
	static const char *const usual[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa",
					    "~/.ssh/id_ed25519_sk", "~/.ssh/id_ecdsa_sk"};
	struct scout_settings *t = m->t;
	const char *value;
	bool named = names_identities(&m->answer, defaults);
	int err = 0;

	if (m->host->identity_file)
		err = add_path(&t->identities, strdup(m->host->identity_file));
	if (!err && named)
		err = add_files(m, &t->identities, "identityfile", true);
	t->identities_named = named || t->identities.count > 0; /* "none" names no file */
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]) && !t->identities_named && !err;
	     i++)
		err = add_path(&t->identities, expand(m, usual[i], true));
	if (!err)
		err = add_files(m, &t->certificates, "certificatefile", true);
	value = scout_answer_value(&m->answer, "identitiesonly");
	t->identities_only = value && !strcmp(value, "yes");
	return err;
}

static int load_proxy(struct merge *m)
{
	const char *command = scout_answer_said(&m->answer, "proxycommand");
	const char *jump = m->host->proxy_jump;

	if (jump) /* the ini rules both of ssh_config's words */
		return strcasecmp(jump, "none") ? set(&m->t->proxy_jump, jump) : 0;
	jump = scout_answer_said(&m->answer, "proxyjump");
	if (jump)
		return set(&m->t->proxy_jump, jump);
	if (!command)
		return 0;
	m->t->proxy_command = expand(m, command, false);
	return m->t->proxy_command ? 0 : -ENOMEM;
}

/* Adds the files of a list with blanks between them. */
static int add_list(struct merge *m, struct scout_paths *p, const char *list)
{
	char *copy = strdup(list), *each, *save = NULL;
	int err = copy ? 0 : -ENOMEM;

	for (each = copy ? strtok_r(copy, " ", &save) : NULL; each && !err;
	     each = strtok_r(NULL, " ", &save))
		if (strcasecmp(each, "none"))
			err = add_path(p, expand(m, each, true));
	free(copy);
	return err;
}

static enum scout_host_key_check strictness(const char *word)
{
	if (!strcmp(word, "no") || !strcmp(word, "off") || !strcmp(word, "false"))
		return SCOUT_KEYS_OFF;
	return strcmp(word, "accept-new") ? SCOUT_KEYS_STRICT : SCOUT_KEYS_ACCEPT_NEW;
}

static int load_known_hosts(struct merge *m)
{
	const struct scout_host_config *host = m->host;
	struct scout_settings *t = m->t;
	const char *user = scout_answer_said(&m->answer, "userknownhostsfile");
	const char *system = scout_answer_value(&m->answer, "globalknownhostsfile");
	const char *check = scout_answer_said(&m->answer, "stricthostkeychecking");
	const char *any = scout_answer_value(&m->answer, "userknownhostsfile");
	bool none = any && !strcasecmp(any, "none");
	int err = 0;

	t->host_key_check = check && !(host->said & SCOUT_SAID_HOST_KEY_CHECK)
				? strictness(check)
				: host->host_key_check;
	if (user && !(host->said & SCOUT_SAID_KNOWN_HOSTS))
		err = add_list(m, &t->known_hosts, user);
	else if (host->known_hosts && !(none && !(host->said & SCOUT_SAID_KNOWN_HOSTS)))
		err = add_path(&t->known_hosts, strdup(host->known_hosts));
	t->user_known_hosts = t->known_hosts.count;
	if (!err)
		err = add_list(m, &t->known_hosts, system ? system : SYSTEM_KNOWN_HOSTS);
	t->hash_known_hosts = scout_answer_said(&m->answer, "hashknownhosts");
	return err ? err
		   : set_some(&t->revoked_host_keys,
			      scout_answer_said(&m->answer, "revokedhostkeys"));
}

/* A number of seconds; 0: not said, or no number. */
static uint64_t said_seconds(const struct merge *m, const char *key)
{
	const char *value = scout_answer_said(&m->answer, key);
	unsigned long seconds = value ? strtoul(value, NULL, 10) : 0;

	return seconds > SECONDS_MAX ? SECONDS_MAX : seconds;
}

static void load_times(struct merge *m)
{
	const struct scout_host_config *host = m->host;
	uint64_t connect = said_seconds(m, "connecttimeout") * SCOUT_NS_PER_S;
	uint64_t alive = said_seconds(m, "serveraliveinterval") * SCOUT_NS_PER_S;
	const char *most = scout_answer_value(&m->answer, "serveralivecountmax");
	unsigned long count = most ? strtoul(most, NULL, 10) : 0;

	m->t->connect_timeout_ns = host->connect_timeout_ns;
	m->t->keepalive_ns = host->keepalive_ns;
	m->t->silence_ns = host->request_timeout_ns;
	if (connect && !(host->said & SCOUT_SAID_CONNECT_TIMEOUT))
		m->t->connect_timeout_ns = connect;
	if (!alive || host->said & SCOUT_SAID_KEEPALIVE)
		return;
	/* ssh asks every interval and gives up after so many unanswered */
	m->t->keepalive_ns = alive;
	alive *= count > 1000 ? 1000 : count ? count : 1;
	if (alive < m->t->silence_ns)
		m->t->silence_ns = alive;
}

static int load_algorithms(struct merge *m)
{
	struct scout_settings *t = m->t;
	const struct {
		const char *key;
		char **field;
	} lists[] = {
	    {"ciphers", &t->ciphers},
	    {"kexalgorithms", &t->kex},
	    {"macs", &t->macs},
	    {"hostkeyalgorithms", &t->host_key_algorithms},
	    {"pubkeyacceptedalgorithms", &t->key_algorithms},
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]) && !err; i++)
		err = set_some(lists[i].field, scout_answer_said(&m->answer, lists[i].key));
	return err;
}

static int load_wire(struct merge *m)
{
	struct scout_settings *t = m->t;
	const char *family = scout_answer_said(&m->answer, "addressfamily");
	const char *rekey = scout_answer_said(&m->answer, "rekeylimit");
	const char *compression = scout_answer_said(&m->answer, "compression");
	char *end;
	int err;

	t->family = !family                    ? AF_UNSPEC
		    : !strcmp(family, "inet")  ? AF_INET
		    : !strcmp(family, "inet6") ? AF_INET6
					       : AF_UNSPEC;
	t->compression = compression && !strcmp(compression, "yes");
	if (rekey) {
		t->rekey_bytes = strtoull(rekey, &end, 10);
		t->rekey_seconds = (unsigned)strtoul(end, NULL, 10);
	}
	err = set_some(&t->bind_address, scout_answer_said(&m->answer, "bindaddress"));
	return err ? err
		   : set_some(&t->bind_interface, scout_answer_said(&m->answer, "bindinterface"));
}

/* Where to: the rest may hold tokens that stand for it. */
static int load_name(struct merge *m, bool answered)
{
	const struct scout_host_config *host = m->host;
	struct scout_settings *t = m->t;
	const char *hostname = scout_answer_value(&m->answer, "hostname");
	const char *user = scout_answer_value(&m->answer, "user");
	const char *port = scout_answer_value(&m->answer, "port");
	int err;

	if (answered && !hostname)
		return -EINVAL;
	if (host->hostname || !hostname)
		hostname = host->hostname ? host->hostname : called(host);
	if (host->user || !user)
		user = host->user ? host->user : m->me.name;
	t->port = host->port ? host->port : port ? (unsigned)strtoul(port, NULL, 10) : DEFAULT_PORT;
	if (hostname[0] == '-' || user[0] == '-' || !t->port || t->port > 65535)
		return -EINVAL;
	err = set(&t->hostname, hostname);
	if (!err)
		err = set(&t->user, user);
	return err ? err
		   : set_some(&t->host_key_alias, scout_answer_said(&m->answer, "hostkeyalias"));
}

int scout_settings_load(const struct scout_host_config *host, const char *text,
			const char *defaults, struct scout_settings *t)
{
	struct merge *m = calloc(1, sizeof(*m));
	int err;

	memset(t, 0, sizeof(*t));
	if (!m)
		return -ENOMEM;
	m->host = host;
	m->t = t;
	find_account(&m->me);
	err = scout_answer_parse(&m->answer, text, defaults);
	if (!err)
		err = load_name(m, text);
	if (!err)
		err = load_proxy(m);
	if (!err)
		err = load_agent(m);
	if (!err)
		err = load_identities(m, defaults);
	if (!err)
		err = load_known_hosts(m);
	if (!err)
		err = load_algorithms(m);
	if (!err)
		err = load_wire(m);
	if (!err)
		load_times(m);
	scout_answer_free(&m->answer);
	free(m);
	if (err)
		scout_settings_free(t);
	return err;
}
