/* What --check says of ssh_config: options that are in force for a host and that scoutfs or libssh does
 * not do, each once with a host for an example. Asks `ssh -G`, host after host, and never connects; the
 * number of hosts and the whole time are bounded. One thread, before any session. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <libssh/libssh.h>

#include "scoutfs/child.h"
#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/sftp.h"
#include "scoutfs/text.h"
#include "sftp/answer.h"
#include "sftp/settings.h"

#define HOSTS_MAX 200
#define PATIENCE_NS (10 * SCOUT_NS_PER_S)

struct check {
	FILE *out;
	char *defaults;
	ssh_session ssh; /* which is asked what libssh knows */
	uint64_t deadline_ns;
	struct scout_text told; /* "\nname\n" of each option that was named */
};

/* Options with a value for which there is nothing here; NULL: with any. */
static const struct {
	const char *key, *name, *value;
} undone[] = {
    {"dynamicforward", "DynamicForward", NULL},
    {"forkafterauthentication", "ForkAfterAuthentication", "yes"},
    {"gssapiauthentication", "GSSAPIAuthentication", "yes"},
    {"gssapidelegatecredentials", "GSSAPIDelegateCredentials", "yes"},
    {"gssapikeyexchange", "GSSAPIKeyExchange", "yes"},
    {"hostbasedauthentication", "HostbasedAuthentication", "yes"},
    {"knownhostscommand", "KnownHostsCommand", NULL},
    {"localcommand", "LocalCommand", NULL},
    {"localforward", "LocalForward", NULL},
    {"nohostauthenticationforlocalhost", "NoHostAuthenticationForLocalhost", "yes"},
    {"pkcs11provider", "PKCS11Provider", NULL},
    {"proxyusefdpass", "ProxyUseFdpass", "yes"},
    {"pubkeyauthentication", "PubkeyAuthentication no", NULL},
    {"remotecommand", "RemoteCommand", NULL},
    {"remoteforward", "RemoteForward", NULL},
    {"requiredrsasize", "RequiredRSASize", NULL},
    {"securitykeyprovider", "SecurityKeyProvider", NULL},
    {"setenv", "SetEnv", NULL},
    {"tunnel", "Tunnel", NULL},
    {"verifyhostkeydns", "VerifyHostKeyDNS", NULL},
};

static const struct {
	const char *key, *name;
	enum ssh_options_e option;
} lists[] = {
    {"ciphers", "Ciphers", SSH_OPTIONS_CIPHERS_C_S},
    {"kexalgorithms", "KexAlgorithms", SSH_OPTIONS_KEY_EXCHANGE},
    {"macs", "MACs", SSH_OPTIONS_HMAC_C_S},
    {"hostkeyalgorithms", "HostKeyAlgorithms", SSH_OPTIONS_HOSTKEYS},
    {"pubkeyacceptedalgorithms", "PubkeyAcceptedAlgorithms", SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void tell(struct check *c, const char *host, const char *what)
{
	struct scout_text mark = {0};
	char shown[160];

	scout_text_printf(&mark, "\n%s\n", what);
	if (!mark.failed && !(c->told.str && strstr(c->told.str, mark.str))) {
		scout_text_append(&c->told, mark.str, mark.len);
		fprintf(c->out, "# not done: %s (%s)\n",
			scout_format_name(shown, sizeof(shown), what), host);
	}
	scout_text_free(&mark);
}

/* The algorithms of a list that libssh does not know. */
static void tell_unknown(struct check *c, const char *host, const char *name,
			 enum ssh_options_e option, const char *list)
{
	char *copy = strdup(list), *each, *save = NULL, what[160];

	for (each = copy ? strtok_r(copy, ",", &save) : NULL; each;
	     each = strtok_r(NULL, ",", &save)) {
		/* a list with a default one in it holds certificates, which no host key here is */
		if (!ssh_options_set(c->ssh, option, each) || strstr(each, "-cert-v01@"))
			continue;
		snprintf(what, sizeof(what), "%s %s", name, each);
		tell(c, host, what);
	}
	free(copy);
}

static void look(struct check *c, const struct scout_host_config *config,
		 const struct scout_answer *a)
{
	const char *host = config->name;

	for (size_t i = 0; i < a->count; i++) {
		const struct scout_answer_line *line = &a->lines[i];

		if (line->usual || !strcasecmp(line->value, "none"))
			continue;
		for (size_t k = 0; k < COUNT(undone); k++)
			if (!strcmp(line->key, undone[k].key) &&
			    (!undone[k].value || !strcmp(line->value, undone[k].value)))
				tell(c, host, undone[k].name);
		for (size_t k = 0; k < COUNT(lists); k++)
			if (!strcmp(line->key, lists[k].key))
				tell_unknown(c, host, lists[k].name, lists[k].option, line->value);
		if (!strcmp(line->key, "preferredauthentications") &&
		    !strstr(line->value, "publickey"))
			tell(c, host, "PreferredAuthentications without publickey");
		if (!strcmp(line->key, "stricthostkeychecking") && !strcmp(line->value, "false") &&
		    !(config->said & SCOUT_SAID_HOST_KEY_CHECK))
			fprintf(c->out, "# any host key is taken: %s\n", host);
	}
}

static void check_host(struct check *c, const struct scout_host_config *host)
{
	struct scout_args args = {0};
	struct scout_answer a;
	char *text;

	scout_settings_query(host, &args);
	text = scout_settings_ask(&args, scout_settings_shell(host), c->deadline_ns);
	if (!text && scout_now_ns() < c->deadline_ns)
		fprintf(c->out, "# ssh cannot read %s for %s\n", host->ssh_config, host->name);
	if (text && !scout_answer_parse(&a, text, c->defaults)) {
		look(c, host, &a);
		scout_answer_free(&a);
	}
	free(text);
	scout_args_free(&args);
}

void scout_sftp_check_config(const struct scout_config *config, FILE *out)
{
	struct check c = {.out = out, .deadline_ns = scout_now_ns() + PATIENCE_NS};
	struct scout_args args = {0};
	size_t asked = 0, left = 0;

	if (ssh_init() != SSH_OK)
		return;
	scout_settings_query_defaults(&args);
	c.defaults = scout_settings_ask(&args, "/bin/false", c.deadline_ns);
	scout_args_free(&args);
	c.ssh = ssh_new();
	for (size_t i = 0; i < config->nhosts && c.ssh && c.defaults; i++) {
		const struct scout_host_config *host = &config->hosts[i];

		if (!host->ssh_config || access(host->ssh_config, F_OK) || host->name[0] == '-')
			continue;
		if (asked == HOSTS_MAX || scout_now_ns() >= c.deadline_ns) {
			left++;
			continue;
		}
		asked++;
		check_host(&c, host);
	}
	if (left)
		fprintf(out, "# not looked at: the ssh_config of %zu more hosts\n", left);
	ssh_free(c.ssh);
	scout_text_free(&c.told);
	free(c.defaults);
	(void)ssh_finalize(); /* counted; nothing to do when it fails */
}
