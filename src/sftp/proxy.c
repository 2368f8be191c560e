/* The command line of a connection that goes through other hosts (ProxyJump, by OpenSSH's ssh -W) or
 * through a command (ProxyCommand). What ssh_config says of a jump host was asked for as for any host,
 * and is handed on in options: an ssh that reads ssh_config itself would run its "Match exec". Pure. A
 * jump host's words that begin with '-' are refused: ssh would take them for options. */
#include "sftp/proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "scoutfs/text.h"
#include "sftp/answer.h"

static bool word_ok(const char *word)
{
	return word && *word && *word != '-' && !strpbrk(word, " \t\r\n\"'\\`$;&|<>(){}");
}

/* One of [user@]host[:port], cut in place; what it gives is part of str. */
static bool cut_hop(char *str, struct scout_hop *ret)
{
	char *at, *colon;

	memset(ret, 0, sizeof(*ret));
	ret->text = str;
	while (*str == ' ')
		str++;
	if (!strncmp(str, "ssh://", 6))
		str += 6;
	at = strrchr(str, '@');
	if (at) {
		*at = '\0';
		ret->user = str;
		str = at + 1;
	}
	ret->host = str;
	if (*str == '[') { /* an IPv6 address in brackets */
		ret->host = str + 1;
		str = strchr(str, ']');
		if (!str)
			return false;
		*str++ = '\0';
		colon = *str == ':' ? str : NULL;
		if (*str && !colon)
			return false;
	} else {
		colon = strchr(str, ':');
		if (colon && strchr(colon + 1, ':'))
			colon = NULL; /* a bare IPv6 address */
	}
	if (colon) {
		*colon = '\0';
		ret->port = colon + 1;
		if (!*ret->port || strspn(ret->port, "0123456789") != strlen(ret->port))
			return false;
	}
	return word_ok(ret->host) && (!ret->user || word_ok(ret->user));
}

void scout_hops_free(struct scout_hops *h)
{
	for (size_t i = 0; i < h->count; i++) {
		free(h->hop[i].text);
		free(h->hop[i].answer);
	}
	h->count = 0;
}

int scout_hops_prepend(struct scout_hops *h, const char *list)
{
	char *copy = strdup(list), *each, *save = NULL;
	struct scout_hops first = {0};
	int err = copy ? 0 : -ENOMEM;

	for (each = copy ? strtok_r(copy, ",", &save) : NULL; each && !err;
	     each = strtok_r(NULL, ",", &save)) {
		char *text = first.count + h->count < SCOUT_HOPS_MAX ? strdup(each) : NULL;

		if (!text)
			err = -EINVAL; /* too many */
		else if (!cut_hop(text, &first.hop[first.count++]))
			err = -EINVAL;
	}
	free(copy);
	if (!err && !first.count)
		err = -EINVAL;
	if (err) {
		scout_hops_free(&first);
		return err;
	}
	memmove(&h->hop[first.count], &h->hop[0], h->count * sizeof(h->hop[0]));
	memcpy(&h->hop[0], &first.hop[0], first.count * sizeof(h->hop[0]));
	h->count += first.count;
	return 0;
}

void scout_hop_query(const struct scout_host_config *host, const struct scout_hop *hop,
		     struct scout_args *args)
{
	scout_args_add(args, "ssh");
	scout_args_add(args, "-GT");
	scout_args_add(args, "-F");
	scout_args_add(args, "%s", host->ssh_config);
	if (hop->user)
		scout_args_add(args, "-oUser=%s", hop->user);
	if (hop->port)
		scout_args_add(args, "-oPort=%s", hop->port);
	scout_args_add(args, "--");
	scout_args_add(args, "%s", hop->host);
}

/* An option of ssh whose value holds no tokens, in quotes where it is a path. */
static void add_option(struct scout_args *args, const char *key, const char *value, bool path)
{
	struct scout_text text = {0};

	for (; *value; value++) {
		if (*value == '%')
			scout_text_append(&text, "%", 1);
		else if (path && (*value == '"' || *value == '\\'))
			scout_text_append(&text, "\\", 1);
		scout_text_append(&text, value, 1);
	}
	if (text.failed)
		args->err = -ENOMEM;
	else if (text.str)
		scout_args_add(args, path ? "-o%s=\"%s\"" : "-o%s=%s", key, text.str);
	scout_text_free(&text);
}

static const char *strictness(enum scout_host_key_check check)
{
	if (check == SCOUT_KEYS_OFF)
		return "no";
	return check == SCOUT_KEYS_ACCEPT_NEW ? "accept-new" : "yes";
}

/* What the ini says for every hop: before what ssh_config says, since ssh takes the first. */
static void add_common(const struct scout_host_config *host, unsigned seconds,
		       struct scout_args *args)
{
	scout_args_add(args, "ssh");
	scout_args_add(args, "-F");
	scout_args_add(args, "none");
	scout_args_add(args, "-oBatchMode=yes");
	if (!host->ssh_config || host->said & SCOUT_SAID_HOST_KEY_CHECK)
		scout_args_add(args, "-oStrictHostKeyChecking=%s",
			       strictness(host->host_key_check));
	scout_args_add(args, "-oConnectTimeout=%u", seconds);
	if (host->known_hosts && (!host->ssh_config || host->said & SCOUT_SAID_KNOWN_HOSTS))
		add_option(args, "UserKnownHostsFile", host->known_hosts, true);
	if (host->identity_file)
		add_option(args, "IdentityFile", host->identity_file, true);
}

/* Of what ssh_config says of a hop, what has to do with its connection; ssh reads it as it printed it. */
static bool is_handed_on(const char *key, bool first)
{
	static const char *const keys[] = {
	    "addressfamily",
	    "bindaddress",
	    "bindinterface",
	    "casignaturealgorithms",
	    "certificatefile",
	    "checkhostip",
	    "ciphers",
	    "compression",
	    "globalknownhostsfile",
	    "gssapiauthentication",
	    "hashknownhosts",
	    "hostkeyalgorithms",
	    "hostkeyalias",
	    "identitiesonly",
	    "identityagent",
	    "identityfile",
	    "kexalgorithms",
	    "macs",
	    "nohostauthenticationforlocalhost",
	    "pkcs11provider",
	    "port",
	    "preferredauthentications",
	    "pubkeyacceptedalgorithms",
	    "pubkeyauthentication",
	    "rekeylimit",
	    "requiredrsasize",
	    "revokedhostkeys",
	    "securitykeyprovider",
	    "serveralivecountmax",
	    "serveraliveinterval",
	    "stricthostkeychecking",
	    "tcpkeepalive",
	    "user",
	    "userknownhostsfile",
	    "verifyhostkeydns",
	};

	if (!strcmp(key, "proxycommand"))
		return first; /* the others are reached through the one before */
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

static int add_said(const struct scout_hop *hop, bool first, const char *defaults,
		    struct scout_args *args)
{
	struct scout_answer a;
	const char *hostname;
	int err = scout_answer_parse(&a, hop->answer, defaults);

	if (err)
		return err;
	hostname = scout_answer_value(&a, "hostname");
	if (hostname)
		add_option(args, "HostName", hostname, false);
	for (size_t i = 0; i < a.count; i++)
		if (!a.lines[i].usual && is_handed_on(a.lines[i].key, first))
			scout_args_add(args, "-o%s=%s", a.lines[i].key, a.lines[i].value);
	scout_answer_free(&a);
	return 0;
}

/* The arguments as one line for a shell, to be the ProxyCommand of the next ssh: quoted, and its % not
 * taken for tokens, but for where it shall connect to. */
static char *as_proxy_command(const struct scout_args *args)
{
	struct scout_text line = {0};

	for (size_t i = 0; i < args->count; i++) {
		if (!strncmp(args->argv[i], "-W", 2)) {
			scout_text_printf(&line, " '-W[%%h]:%%p'");
			continue;
		}
		scout_text_printf(&line, "%s'", i ? " " : "");
		for (const char *c = args->argv[i]; *c; c++) {
			if (*c == '%')
				scout_text_append(&line, "%%", 2);
			else if (*c == '\'')
				scout_text_append(&line, "'\\''", 4);
			else
				scout_text_append(&line, c, 1);
		}
		scout_text_append(&line, "'", 1);
	}
	return scout_text_take(&line);
}

/* The ssh that connects to the last of count hops by way of those before it, each by an ssh of its own
 * (ssh -J would not hand the ini's words on), and goes on to target. */
static int jump(const struct scout_host_config *host, const struct scout_hops *hops, size_t count,
		const char *target, const char *defaults, unsigned seconds, struct scout_args *args)
{
	const struct scout_hop *hop = &hops->hop[count - 1];
	struct scout_args before = {0};
	char *command = NULL;
	int err = 0;

	add_common(host, seconds, args);
	if (count > 1) {
		err = jump(host, hops, count - 1, "", defaults, seconds, &before);
		if (!err)
			command = as_proxy_command(&before);
		scout_args_free(&before);
		if (!command)
			return err ? err : -ENOMEM;
		scout_args_add(args, "-oProxyCommand=%s", command);
		free(command);
	}
	if (hop->user)
		scout_args_add(args, "-l%s", hop->user);
	if (hop->port)
		scout_args_add(args, "-p%s", hop->port);
	if (hop->answer)
		err = add_said(hop, count == 1, defaults, args);
	scout_args_add(args, "-W%s", target);
	scout_args_add(args, "--");
	scout_args_add(args, "%s", hop->host);
	return err ? err : args->err;
}

int scout_settings_proxy(const struct scout_host_config *host, const struct scout_settings *t,
			 const struct scout_hops *hops, const char *defaults, unsigned seconds,
			 struct scout_args *args)
{
	char *target;
	int err;

	if (hops->count) {
		if (asprintf(&target, "[%s]:%u", t->hostname, t->port) < 0)
			return -ENOMEM;
		err = jump(host, hops, hops->count, target, defaults, seconds, args);
		free(target);
		return err;
	}
	if (t->proxy_command) {
		scout_args_add(args, "/bin/sh");
		scout_args_add(args, "-c");
		scout_args_add(args, "%s%s", strncmp(t->proxy_command, "exec ", 5) ? "exec " : "",
			       t->proxy_command);
	}
	return args->err;
}
