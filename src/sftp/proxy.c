/* The command line of a connection that goes through another host (ProxyJump, by OpenSSH's ssh -W)
 * or through a command (ProxyCommand). Pure. A jump host's words that begin with '-' are refused:
 * ssh would take them for options. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/text.h"
#include "sftp/settings.h"

#define HOPS_MAX 4

/* One of [user@]host[:port], cut in place. */
struct hop {
	char *user, *host, *port; /* user and port may be NULL */
};

static bool word_ok(const char *word)
{
	return word && *word && *word != '-' && !strpbrk(word, " \t\r\n\"'\\`$;&|<>(){}");
}

static bool cut_hop(char *str, struct hop *ret)
{
	char *at, *colon;

	memset(ret, 0, sizeof(*ret));
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

/* A path as the value of an ssh option: in quotes, its % not taken for a token. */
static void add_path_option(struct scout_args *args, const char *key, const char *path)
{
	struct scout_text value = {0};

	for (; *path; path++) {
		if (*path == '%')
			scout_text_append(&value, "%", 1);
		else if (*path == '"' || *path == '\\')
			scout_text_append(&value, "\\", 1);
		scout_text_append(&value, path, 1);
	}
	if (value.failed || !value.str)
		args->err = value.failed ? -ENOMEM : args->err;
	else
		scout_args_add(args, "-o%s=\"%s\"", key, value.str);
	scout_text_free(&value);
}

static const char *strictness(enum scout_host_key_check check)
{
	if (check == SCOUT_KEYS_OFF)
		return "no";
	return check == SCOUT_KEYS_ACCEPT_NEW ? "accept-new" : "yes";
}

static void add_common(const struct scout_host_config *host, unsigned seconds,
		       struct scout_args *args)
{
	scout_args_add(args, "ssh");
	scout_args_add(args, "-F");
	scout_args_add(args, "%s", host->ssh_config ? host->ssh_config : "none");
	scout_args_add(args, "-oBatchMode=yes");
	scout_args_add(args, "-oControlMaster=no");
	if (!host->ssh_config || host->said & SCOUT_SAID_HOST_KEY_CHECK)
		scout_args_add(args, "-oStrictHostKeyChecking=%s",
			       strictness(host->host_key_check));
	scout_args_add(args, "-oConnectTimeout=%u", seconds);
	if (host->known_hosts && (!host->ssh_config || host->said & SCOUT_SAID_KNOWN_HOSTS))
		add_path_option(args, "UserKnownHostsFile", host->known_hosts);
	if (host->identity_file)
		add_path_option(args, "IdentityFile", host->identity_file);
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

/* The ssh that connects to the last of hops by way of those before it, each by an ssh of its own with
 * the same policy (ssh -J would not hand it on), and goes on to target. */
static int jump(const struct scout_host_config *host, struct hop *hops, size_t count,
		const char *target, unsigned seconds, struct scout_args *args)
{
	struct scout_args before = {0};
	struct hop *hop = &hops[count - 1];
	char *command = NULL;
	int err = 0;

	add_common(host, seconds, args);
	if (count > 1) {
		err = jump(host, hops, count - 1, "", seconds, &before);
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
	scout_args_add(args, "-W%s", target);
	scout_args_add(args, "--");
	scout_args_add(args, "%s", hop->host);
	return args->err;
}

static int jump_all(const struct scout_host_config *host, const struct scout_settings *t,
		    unsigned seconds, struct scout_args *args)
{
	char *list = strdup(t->proxy_jump), *target = NULL, *each, *save = NULL;
	struct hop hops[HOPS_MAX];
	size_t count = 0;
	int err = -EINVAL;

	if (!list || asprintf(&target, "[%s]:%u", t->hostname, t->port) < 0) {
		free(list);
		return -ENOMEM;
	}
	for (each = strtok_r(list, ",", &save); each; each = strtok_r(NULL, ",", &save))
		if (count == HOPS_MAX || !cut_hop(each, &hops[count++]))
			goto out;
	if (count)
		err = jump(host, hops, count, target, seconds, args);
out:
	free(target);
	free(list);
	return err;
}

int scout_settings_proxy(const struct scout_host_config *host, const struct scout_settings *t,
			 unsigned seconds, struct scout_args *args)
{
	if (t->proxy_jump)
		return jump_all(host, t, seconds, args);
	if (t->proxy_command) {
		scout_args_add(args, "/bin/sh");
		scout_args_add(args, "-c");
		scout_args_add(args, "%s%s", strncmp(t->proxy_command, "exec ", 5) ? "exec " : "",
			       t->proxy_command);
	}
	return args->err;
}
