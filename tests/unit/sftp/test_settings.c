/* How to reach a host: whose word wins, tokens, keys in order; and the command lines of proxies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "scoutfs/clock.h"
#include "sftp/proxy.h"

static const char answer[] =
    "host web\n"
    "user deploy\n"
    "hostname 10.0.0.7\n"
    "port 2222\n"
    "identitiesonly no\n"
    "ciphers aes256-ctr,aes128-gcm@openssh.com\n"
    "identityfile ~/.ssh/id_rsa\n"
    "identityfile ~/.ssh/%r@%h:%p_%%_%n\n"
    "identityagent ~/agent.sock\n"
    "hostkeyalias vault\n"
    "malformed\n"
    "stricthostkeychecking ask\n"
    "userknownhostsfile /home/u/.ssh/known_hosts /home/u/.ssh/known_hosts2\n"
    "globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/more\n"
    "connecttimeout none\n"
    "serveraliveinterval 0\n"
    "serveralivecountmax 3\n"
    "macs hmac-sha2-256\n"
    "proxycommand nc -x %q proxy %h %p\n";

/* What ssh -G says without an ssh_config. */
static const char usual[] =
    "user u\nhostname localhost\nport 22\naddressfamily any\ncompression no\n"
    "hashknownhosts no\nidentitiesonly no\nstricthostkeychecking ask\nserveralivecountmax 3\n"
    "serveraliveinterval 0\nciphers chacha20-poly1305@openssh.com,aes128-ctr\n"
    "macs hmac-sha2-256\nidentityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_ed25519\n"
    "globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n"
    "userknownhostsfile /home/u/.ssh/known_hosts /home/u/.ssh/known_hosts2\n"
    "connecttimeout none\nrekeylimit 0 0\n";

static struct scout_host_config host_config(void)
{
	return (struct scout_host_config){
	    .name = "web", .root = "/", .known_hosts = "/home/u/.ssh/known_hosts"};
}

static int set_home(void **state)
{
	(void)state;
	return setenv("HOME", "/home/u", 1) || setenv("SSH_AUTH_SOCK", "/run/agent", 1);
}

static void defaults_without_ssh_config(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t;

	(void)state;
	assert_int_equal(scout_settings_load(&host, NULL, NULL, &t), 0);
	assert_string_equal(t.hostname, "web");
	assert_int_equal(t.port, 22);
	assert_string_equal(t.agent, "/run/agent");
	assert_null(t.proxy_jump);
	assert_null(t.proxy_command);
	assert_false(t.identities_named);
	assert_string_equal(t.identities.path[0], "/home/u/.ssh/id_ed25519");
	assert_int_equal(t.known_hosts.count, 2);
	assert_int_equal(t.user_known_hosts, 1);
	assert_string_equal(t.known_hosts.path[0], "/home/u/.ssh/known_hosts");
	assert_string_equal(t.known_hosts.path[1], "/etc/ssh/ssh_known_hosts");
	scout_settings_free(&t);
}

static void ssh_config_is_taken(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t;

	(void)state;
	assert_int_equal(scout_settings_load(&host, answer, usual, &t), 0);
	assert_string_equal(t.hostname, "10.0.0.7");
	assert_string_equal(t.user, "deploy");
	assert_int_equal(t.port, 2222);
	assert_string_equal(t.agent, "/home/u/agent.sock");
	assert_string_equal(t.host_key_alias, "vault");
	assert_string_equal(t.ciphers, "aes256-ctr,aes128-gcm@openssh.com");
	assert_string_equal(t.proxy_command, "nc -x %q proxy 10.0.0.7 2222");
	assert_null(t.macs); /* that is what ssh does anyway */
	assert_true(t.identities_named);
	assert_int_equal(t.identities.count, 2);
	assert_string_equal(t.identities.path[0], "/home/u/.ssh/id_rsa");
	assert_string_equal(t.identities.path[1], "/home/u/.ssh/deploy@10.0.0.7:2222_%_web");
	assert_int_equal(t.known_hosts.count, 3);
	assert_string_equal(t.known_hosts.path[2], "/etc/ssh/more");
	scout_settings_free(&t);
}

static void the_ini_wins(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t;

	(void)state;
	host.hostname = "web.example.com";
	host.user = "root";
	host.port = 23;
	host.identity_file = "/keys/web";
	host.proxy_jump = "jump";
	assert_int_equal(scout_settings_load(&host, answer, usual, &t), 0);
	assert_string_equal(t.hostname, "web.example.com");
	assert_string_equal(t.user, "root");
	assert_int_equal(t.port, 23);
	assert_string_equal(t.proxy_jump, "jump");
	assert_null(t.proxy_command);
	assert_string_equal(t.identities.path[0], "/keys/web");
	assert_string_equal(t.identities.path[2], "/home/u/.ssh/root@web.example.com:23_%_web");
	assert_int_equal(t.identities.count, 3);
	scout_settings_free(&t);
	host.proxy_jump = "none";
	assert_int_equal(scout_settings_load(&host, answer, usual, &t), 0);
	assert_null(t.proxy_jump);
	assert_null(t.proxy_command);
	scout_settings_free(&t);
	assert_int_equal(scout_settings_load(&host, "hostname x\nproxyjump a,b\n", usual, &t), 0);
	assert_null(t.proxy_jump);
	scout_settings_free(&t);
}

static void no_agent_where_none_is_wanted(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t;

	(void)state;
	assert_int_equal(scout_settings_load(&host, "hostname x\nidentityagent none\n", usual, &t),
			 0);
	assert_null(t.agent);
	scout_settings_free(&t);
	assert_int_equal(setenv("OTHER_AGENT", "/run/other", 1), 0);
	assert_int_equal(
	    scout_settings_load(&host, "hostname x\nidentityagent $OTHER_AGENT\n", usual, &t), 0);
	assert_string_equal(t.agent, "/run/other");
	scout_settings_free(&t);
}

static void options_are_no_names(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t;

	(void)state;
	host.hostname = "-oProxyCommand=evil";
	assert_int_equal(scout_settings_load(&host, NULL, NULL, &t), -EINVAL);
	host.hostname = NULL;
	host.user = "-l";
	assert_int_equal(scout_settings_load(&host, NULL, NULL, &t), -EINVAL);
	host.user = NULL;
	assert_int_equal(scout_settings_load(&host, "hostname -x\n", usual, &t), -EINVAL);
	assert_int_equal(scout_settings_load(&host, "hostname x\nport 65536\n", usual, &t),
			 -EINVAL);
	assert_int_equal(scout_settings_load(&host, "user x\n", usual, &t), -EINVAL); /* no host */
	assert_int_equal(scout_settings_load(&host, "", usual, &t), -EINVAL);
}

/* What differs from ssh's defaults counts, unless the ini says it. */
static void what_ssh_config_says(void **state)
{
	static const char told[] =
	    "user u\nhostname x\nport 22\naddressfamily inet6\ncompression yes\n"
	    "hashknownhosts yes\nidentitiesonly yes\nstricthostkeychecking accept-new\n"
	    "serveralivecountmax 2\nserveraliveinterval 4\nmacs hmac-sha2-512\n"
	    "kexalgorithms a,b\nhostkeyalgorithms c\npubkeyacceptedalgorithms d\n"
	    "identityfile ~/.ssh/id_ed25519\ncertificatefile ~/%n-cert.pub\n"
	    "userknownhostsfile ~/a /b\nglobalknownhostsfile none\nrevokedhostkeys /r\n"
	    "connecttimeout 3\nrekeylimit 1048576 3600\nbindaddress 127.0.0.2\n"
	    "bindinterface lo\n";
	struct scout_host_config host = host_config();
	struct scout_settings t;

	(void)state;
	host.connect_timeout_ns = 10 * SCOUT_NS_PER_S;
	host.request_timeout_ns = 30 * SCOUT_NS_PER_S;
	host.keepalive_ns = 15 * SCOUT_NS_PER_S;
	assert_int_equal(scout_settings_load(&host, told, usual, &t), 0);
	assert_int_equal(t.family, AF_INET6);
	assert_true(t.compression && t.hash_known_hosts && t.identities_only);
	assert_int_equal(t.host_key_check, SCOUT_KEYS_ACCEPT_NEW);
	assert_int_equal(t.keepalive_ns, 4 * SCOUT_NS_PER_S);
	assert_int_equal(t.silence_ns, 8 * SCOUT_NS_PER_S);
	assert_int_equal(t.connect_timeout_ns, 3 * SCOUT_NS_PER_S);
	assert_string_equal(t.macs, "hmac-sha2-512");
	assert_string_equal(t.kex, "a,b");
	assert_string_equal(t.host_key_algorithms, "c");
	assert_string_equal(t.key_algorithms, "d");
	assert_null(t.ciphers);
	assert_true(t.identities_named); /* one default key alone is named */
	assert_int_equal(t.identities.count, 1);
	assert_string_equal(t.certificates.path[0], "/home/u/web-cert.pub");
	assert_int_equal(t.known_hosts.count, 2);
	assert_int_equal(t.user_known_hosts, 2);
	assert_string_equal(t.known_hosts.path[0], "/home/u/a");
	assert_string_equal(t.revoked_host_keys, "/r");
	assert_int_equal(t.rekey_bytes, 1048576);
	assert_int_equal(t.rekey_seconds, 3600);
	assert_string_equal(t.bind_address, "127.0.0.2");
	assert_string_equal(t.bind_interface, "lo");
	scout_settings_free(&t);

	host.said = SCOUT_SAID_CONNECT_TIMEOUT | SCOUT_SAID_KEEPALIVE | SCOUT_SAID_KNOWN_HOSTS |
		    SCOUT_SAID_HOST_KEY_CHECK;
	assert_int_equal(scout_settings_load(&host, told, usual, &t), 0);
	assert_int_equal(t.host_key_check, SCOUT_KEYS_STRICT);
	assert_int_equal(t.keepalive_ns, host.keepalive_ns);
	assert_int_equal(t.silence_ns, host.request_timeout_ns);
	assert_int_equal(t.connect_timeout_ns, host.connect_timeout_ns);
	assert_int_equal(t.known_hosts.count, 1);
	assert_string_equal(t.known_hosts.path[0], "/home/u/.ssh/known_hosts");
	scout_settings_free(&t);
}

static void what_ssh_does_anyway(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t;

	(void)state;
	host.connect_timeout_ns = 10 * SCOUT_NS_PER_S;
	assert_int_equal(scout_settings_load(&host, usual, usual, &t), 0);
	assert_false(t.identities_named || t.identities_only || t.compression);
	assert_null(t.ciphers);
	assert_null(t.bind_address);
	assert_int_equal(t.family, AF_UNSPEC);
	assert_int_equal(t.connect_timeout_ns, host.connect_timeout_ns);
	assert_int_equal(t.known_hosts.count, 3);
	assert_string_equal(t.known_hosts.path[2], "/etc/ssh/ssh_known_hosts2");
	scout_settings_free(&t);
	assert_int_equal(scout_settings_load(&host,
					     "hostname x\nuserknownhostsfile none\n"
					     "stricthostkeychecking false\n",
					     usual, &t),
			 0);
	assert_int_equal(t.user_known_hosts, 0);
	assert_int_equal(t.host_key_check, SCOUT_KEYS_OFF);
	scout_settings_free(&t);
	assert_int_equal(scout_settings_load(&host, "hostname x\nidentityfile none\n", usual, &t),
			 0);
	assert_int_equal(t.identities.count, 0);
	scout_settings_free(&t);
}

/* The way to a host comes last in what ssh prints, behind whatever is listed there. */
static void long_answers(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t;
	char text[16384] = "hostname x\n";

	(void)state;
	for (int i = 0; i < 1000; i++)
		strcat(text, "sendenv A\n");
	strcat(text, "proxyjump a\n");
	assert_true(strlen(text) < sizeof(text));
	assert_int_equal(scout_settings_load(&host, text, usual, &t), 0);
	assert_non_null(t.proxy_jump);
	scout_settings_free(&t);
}

/* A link-local address has its interface behind a '%', which is no token. */
static void addresses_are_no_patterns(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_args args = {0};

	(void)state;
	host.ssh_config = "/c";
	host.hostname = "fe80::1%eth0";
	scout_settings_query(&host, &args);
	assert_string_equal(args.argv[4], "-oHostName=fe80::1%%eth0");
	scout_args_free(&args);
	assert_string_equal(scout_settings_shell(&host), "/bin/false");
	host.match_exec = true;
	assert_null(scout_settings_shell(&host));
}

/* What ssh -G says of each jump host, or NULL. */
static const char *hop_answer;

/* The command line as words with a bar between them. */
static char *proxy_line(const struct scout_host_config *host, struct scout_settings *t)
{
	struct scout_hops hops = {0};
	struct scout_args args = {0};
	char *line = calloc(1, 8192);

	assert_non_null(line);
	if (t->proxy_jump)
		assert_int_equal(scout_hops_prepend(&hops, t->proxy_jump), 0);
	for (size_t i = 0; i < hops.count && hop_answer; i++)
		hops.hop[i].answer = strdup(hop_answer);
	assert_int_equal(scout_settings_proxy(host, t, &hops, usual, 7, &args), 0);
	scout_hops_free(&hops);
	for (size_t i = 0; i < args.count; i++) {
		assert_true(strlen(line) + strlen(args.argv[i]) + 2 < 8192);
		if (i)
			strcat(line, "|");
		strcat(line, args.argv[i]);
	}
	scout_args_free(&args);
	return line;
}

static void jumps_by_ssh(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t = {
	    .hostname = "::1", .port = 22, .proxy_jump = "ssh://me@[fe80::1]:23"};
	char *line;

	(void)state;
	host.identity_file = "/k/50%";
	host.host_key_check = SCOUT_KEYS_ACCEPT_NEW;
	line = proxy_line(&host, &t);
	assert_string_equal(line, "ssh|-F|none|-oBatchMode=yes|"
				  "-oStrictHostKeyChecking=accept-new|-oConnectTimeout=7|"
				  "-oUserKnownHostsFile=\"/home/u/.ssh/known_hosts\"|"
				  "-oIdentityFile=\"/k/50%%\"|-lme|-p23|-W[::1]:22|--|fe80::1");
	free(line);
}

/* Each hop before the last is the ProxyCommand of the one after it, and none of them reads ssh_config. */
static void jumps_in_a_chain(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t = {.hostname = "web", .port = 22, .proxy_jump = "a:1, b@b"};
	char *line;

	(void)state;
	host.ssh_config = "/config";
	host.known_hosts = "/it's 100%";
	host.said = SCOUT_SAID_KNOWN_HOSTS | SCOUT_SAID_HOST_KEY_CHECK;
	hop_answer = "hostname fe80::1%lo\nport 22\nuser x y\nidentityfile ~/.ssh/id_rsa\n"
		     "localcommand evil\nproxycommand nc %h\nmacs hmac-sha2-256\n"
		     "connecttimeout 9\nuserknownhostsfile /a /b\n";
	line = proxy_line(&host, &t);
	hop_answer = NULL;
	assert_string_equal(
	    line,
	    "ssh|-F|none|-oBatchMode=yes|-oStrictHostKeyChecking=yes|-oConnectTimeout=7|"
	    "-oUserKnownHostsFile=\"/it's 100%%\"|"
	    "-oProxyCommand='ssh' '-F' 'none' '-oBatchMode=yes' '-oStrictHostKeyChecking=yes' "
	    "'-oConnectTimeout=7' '-oUserKnownHostsFile=\"/it'\\''s 100%%%%\"' '-p1' "
	    "'-oHostName=fe80::1%%%%lo' '-ouser=x y' '-oproxycommand=nc %%h' "
	    "'-ouserknownhostsfile=/a /b' '-W[%h]:%p' '--' 'a'|"
	    "-lb|-oHostName=fe80::1%%lo|-ouser=x y|-ouserknownhostsfile=/a /b|-W[web]:22|--|b");
	free(line);
}

static void ways_before_ways(void **state)
{
	struct scout_hops hops = {0};

	(void)state;
	assert_int_equal(scout_hops_prepend(&hops, "c@d:5"), 0);
	assert_int_equal(scout_hops_prepend(&hops, "a,[::1]:7"), 0);
	assert_int_equal(hops.count, 3);
	assert_string_equal(hops.hop[0].host, "a");
	assert_string_equal(hops.hop[1].host, "::1");
	assert_string_equal(hops.hop[1].port, "7");
	assert_string_equal(hops.hop[2].user, "c");
	assert_int_equal(scout_hops_prepend(&hops, "1,2,3,4,5,6"), -EINVAL);
	assert_int_equal(hops.count, 3);
	scout_hops_free(&hops);
}

static void commands_by_the_shell(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_settings t = {.hostname = "web", .port = 22, .proxy_command = "nc web 22"};
	char *line = proxy_line(&host, &t);

	(void)state;
	assert_string_equal(line, "/bin/sh|-c|exec nc web 22");
	free(line);
	t.proxy_command = NULL;
	line = proxy_line(&host, &t);
	assert_string_equal(line, ""); /* no proxy */
	free(line);
}

static void odd_jump_hosts_are_refused(void **state)
{
	static const char *const odd[] = {"-oProxyCommand=x",
					  "a,-b",
					  "-u@a",
					  "",
					  ",",
					  "@a",
					  "a:",
					  "a:x",
					  "[a",
					  "[a]b",
					  "a b",
					  "$(x)",
					  "a,b,c,d,e,f,g,h,i",
					  "a;b"};
	struct scout_hops hops = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		assert_int_equal(scout_hops_prepend(&hops, odd[i]), -EINVAL);
		assert_int_equal(hops.count, 0);
	}
}

static void ssh_is_asked_about_the_host(void **state)
{
	struct scout_host_config host = host_config();
	struct scout_args args = {0};

	(void)state;
	host.ssh_config = "/etc/cfg";
	host.port = 24;
	scout_settings_query(&host, &args);
	assert_int_equal(args.err, 0);
	assert_int_equal(args.count, 7);
	assert_string_equal(args.argv[3], "/etc/cfg");
	assert_string_equal(args.argv[4], "-oPort=24");
	assert_string_equal(args.argv[5], "--");
	assert_string_equal(args.argv[6], "web");
	assert_null(args.argv[7]);
	scout_args_free(&args);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_without_ssh_config),
	    cmocka_unit_test(ssh_config_is_taken),
	    cmocka_unit_test(the_ini_wins),
	    cmocka_unit_test(what_ssh_config_says),
	    cmocka_unit_test(what_ssh_does_anyway),
	    cmocka_unit_test(long_answers),
	    cmocka_unit_test(addresses_are_no_patterns),
	    cmocka_unit_test(no_agent_where_none_is_wanted),
	    cmocka_unit_test(options_are_no_names),
	    cmocka_unit_test(jumps_by_ssh),
	    cmocka_unit_test(jumps_in_a_chain),
	    cmocka_unit_test(ways_before_ways),
	    cmocka_unit_test(commands_by_the_shell),
	    cmocka_unit_test(odd_jump_hosts_are_refused),
	    cmocka_unit_test(ssh_is_asked_about_the_host),
	};

	return cmocka_run_group_tests_name("sftp/settings", tests, set_home, NULL);
}
