/* What libssh is told before the key exchange: algorithms, compression, limits of a key's use. Lists
 * that ssh_config asks for are taken in its order, without what libssh does not know; where nothing is
 * left the connect fails, since anything else would be less than was asked for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "scoutfs/text.h"
#include "sftp/session.h"

static bool cpu_has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes");
#elif defined(__aarch64__)
	return getauxval(AT_HWCAP) & (1UL << 3); /* HWCAP_AES */
#else
	return false;
#endif
}

/* AES-GCM first where the CPU helps, since libssh would begin with a slower one. A refusal (FIPS mode)
 * leaves libssh's list, which works too. */
static void prefer_fast_ciphers(ssh_session ssh)
{
	static const char aes[] = "aes128-gcm@openssh.com,aes256-gcm@openssh.com";
	static const char rest[] = "chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";
	char list[128];

	snprintf(list, sizeof(list), "%s,%s", cpu_has_aes() ? aes : rest,
		 cpu_has_aes() ? rest : aes);
	(void)ssh_options_set(ssh, SSH_OPTIONS_CIPHERS_C_S, list);
	(void)ssh_options_set(ssh, SSH_OPTIONS_CIPHERS_S_C, list);
}

static int set_algorithms(struct scout_sftp *s)
{
	const struct scout_settings *t = &s->settings;
	const struct {
		const char *name, *list;
		enum ssh_options_e option;
	} lists[] = {
	    {"Ciphers", t->ciphers, SSH_OPTIONS_CIPHERS_C_S},
	    {"Ciphers", t->ciphers, SSH_OPTIONS_CIPHERS_S_C},
	    {"KexAlgorithms", t->kex, SSH_OPTIONS_KEY_EXCHANGE},
	    {"MACs", t->macs, SSH_OPTIONS_HMAC_C_S},
	    {"MACs", t->macs, SSH_OPTIONS_HMAC_S_C},
	    {"PubkeyAcceptedAlgorithms", t->key_algorithms, SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES},
	};

	prefer_fast_ciphers(s->ssh);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (lists[i].list && ssh_options_set(s->ssh, lists[i].option, lists[i].list))
			return scout_sftp_fail(s, -EIO, "none of its %s (%s) is known to libssh",
					       lists[i].name, lists[i].list);
	if (scout_sftp_offer_host_keys(s))
		return scout_sftp_fail(s, -EIO,
				       "none of its HostKeyAlgorithms (%s) is known to libssh",
				       t->host_key_algorithms ? t->host_key_algorithms : "");
	return 0;
}

int scout_sftp_set_options(struct scout_sftp *s)
{
	const struct scout_settings *t = &s->settings;
	const bool no = false;
	const int quiet = SSH_LOG_NOLOG;
	/* a step's limit; the watchdog is what holds the whole to the deadline */
	long seconds = 1 + (long)((s->deadline_ns - s->start_ns) / SCOUT_NS_PER_S);

	/* libssh gets a connected socket and is not asked about known_hosts, so that it needs no name
	 * of the host, of which it takes fewer than ssh does */
	if (ssh_options_set(s->ssh, SSH_OPTIONS_PROCESS_CONFIG, &no) ||
	    ssh_options_set(s->ssh, SSH_OPTIONS_LOG_VERBOSITY, &quiet) ||
	    ssh_options_set(s->ssh, SSH_OPTIONS_HOST, "server") ||
	    ssh_options_set(s->ssh, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") ||
	    ssh_options_set(s->ssh, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") ||
	    ssh_options_set(s->ssh, SSH_OPTIONS_USER, t->user) ||
	    ssh_options_set(s->ssh, SSH_OPTIONS_TIMEOUT, &seconds) ||
	    (t->compression && ssh_options_set(s->ssh, SSH_OPTIONS_COMPRESSION, "yes")) ||
	    (t->rekey_bytes && ssh_options_set(s->ssh, SSH_OPTIONS_REKEY_DATA, &t->rekey_bytes)) ||
	    (t->rekey_seconds &&
	     ssh_options_set(s->ssh, SSH_OPTIONS_REKEY_TIME, &t->rekey_seconds)))
		return scout_sftp_fail(s, -EIO, "libssh: %s", ssh_get_error(s->ssh));
	return set_algorithms(s);
}
