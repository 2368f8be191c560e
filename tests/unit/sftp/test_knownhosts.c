/* known_hosts files: which keys are a host's, what a key found there means, which types go first. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sftp/knownhosts.h"

/* Public keys, made for this test; their private halves are gone. */
#define ED_A "AAAAC3NzaC1lZDI1NTE5AAAAIJehHdoueK941iu30quM3D1UEVUbZVfR3stBk79QUMWo"
#define ED_B "AAAAC3NzaC1lZDI1NTE5AAAAIBeLu/n7IU+QgfYX9lV/9egFirWJne3rfyMDOfLMSCmG"
#define ECDSA                                                             \
	"AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEATpsbGDz/" \
	"hiKE0vedNlsdqb7aerHE1R8R4KBldIRmMSPZclIiR5GEMmDmz5fuerKqLJwWp+RXGCx36AT6KDw0="
#define RSA                                                                                        \
	"AAAAB3NzaC1yc2EAAAADAQABAAABAQC8gicxo1jGxllQL/uVte3ArkOr2q6UAU11ru+iVHVAHb3nbqB/"         \
	"zxL9FVotM/YZJWwllH762WORs12uOv8mjMgx6vbs9SsQ9IkJBFj6QUH8IyYa0SsdqQ+1+IPjSV85NIh/"         \
	"g9l6qMSjfz8FYGoQvdLyhMdbdgEeRaojA7ZNHcEytrOWWmbUasBFl3QzeyZJN3J6FVZOAM6KN/a42Hr50/"       \
	"ZUcR251V/YUCF9BZvrBwYNZldo5Yx0FlYeoS7XaG+EsCoiUM/JMTkPrAXZN0Hma/6dMQ5aj8EYXfumzkK3Pbx7Z/" \
	"Mth8BRqUxpk3YeRhzPdDvIArRqqUU1CbWra9rgTmKZ"
/* web.example.com, hashed by ssh-keygen -H */
#define HASHED "|1|BnyxhEq3DxlzawOytZD09WIZNJA=|k0JoVdBOu3ZhLITrFffxZLEE5cw="

static struct scout_known_keys read_text(const char *text, const char *host)
{
	struct scout_known_keys k = {0};
	char path[] = "/tmp/scoutfs-known-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	scout_known_keys_read(&k, path, host);
	unlink(path);
	return k;
}

/* What text says of host showing the key. */
static enum scout_known look(const char *text, const char *host, enum ssh_keytypes_e type,
			     const char *base64)
{
	struct scout_known_keys k = read_text(text, host);
	const struct scout_known_key *where;
	enum scout_known found;
	ssh_key key = NULL;

	assert_int_equal(ssh_pki_import_pubkey_base64(base64, type, &key), SSH_OK);
	found = scout_known_keys_look(&k, key, &where);
	assert_int_equal(where == NULL, found == SCOUT_KNOWN_NONE);
	ssh_key_free(key);
	scout_known_keys_free(&k);
	return found;
}

static enum scout_known look_a(const char *text, const char *host)
{
	return look(text, host, SSH_KEYTYPE_ED25519, ED_A);
}

static void names_and_ports(void **state)
{
	const char plain[] = "web,10.0.0.7 ssh-ed25519 " ED_A "\n";
	const char port[] = "[web]:2222\tssh-ed25519\t" ED_A " a comment\r\n";

	(void)state;
	assert_int_equal(look_a(plain, "web"), SCOUT_KNOWN_SAME);
	assert_int_equal(look_a(plain, "10.0.0.7"), SCOUT_KNOWN_SAME);
	assert_int_equal(look_a(plain, "db"), SCOUT_KNOWN_NONE);
	assert_int_equal(look_a(plain, "[web]:2222"), SCOUT_KNOWN_NONE);
	assert_int_equal(look_a(port, "[web]:2222"), SCOUT_KNOWN_SAME);
	assert_int_equal(look_a(port, "web"), SCOUT_KNOWN_NONE);
	assert_int_equal(look_a("*.example.com ssh-ed25519 " ED_A "\n", "a_b.example.com"),
			 SCOUT_KNOWN_SAME);
	assert_int_equal(look_a(HASHED " ssh-ed25519 " ED_A "\n", "web.example.com"),
			 SCOUT_KNOWN_SAME);
	assert_int_equal(look_a(HASHED " ssh-ed25519 " ED_A "\n", "web.example.org"),
			 SCOUT_KNOWN_NONE);
}

/* sshd(8): a name behind a '!' takes the host out of the line, wherever it stands. */
static void names_that_exclude(void **state)
{
	const char line[] = "!bad.example.com,*.example.com ssh-ed25519 " ED_A "\n";
	const char last[] = "*.example.com,!bad* ssh-ed25519 " ED_A "\n";
	const char port[] = "*,![bad.example.com]:2222 ssh-ed25519 " ED_A "\n";

	(void)state;
	assert_int_equal(look_a(line, "good.example.com"), SCOUT_KNOWN_SAME);
	assert_int_equal(look_a(line, "bad.example.com"), SCOUT_KNOWN_NONE);
	assert_int_equal(look_a(last, "good.example.com"), SCOUT_KNOWN_SAME);
	assert_int_equal(look_a(last, "bad.example.com"), SCOUT_KNOWN_NONE);
	assert_int_equal(look_a(port, "bad.example.com"), SCOUT_KNOWN_SAME);
	assert_int_equal(look_a(port, "[bad.example.com]:2222"), SCOUT_KNOWN_NONE);
	assert_int_equal(look_a("!bad.example.com ssh-ed25519 " ED_A "\n", "good.example.com"),
			 SCOUT_KNOWN_NONE);
}

static void other_keys(void **state)
{
	(void)state;
	assert_int_equal(look_a("web ssh-ed25519 " ED_B "\n", "web"), SCOUT_KNOWN_OTHER);
	assert_int_equal(look_a("web ssh-rsa " RSA "\n", "web"), SCOUT_KNOWN_OTHER);
	assert_int_equal(look_a("web ssh-ed25519 " ED_B "\nweb ssh-ed25519 " ED_A "\n", "web"),
			 SCOUT_KNOWN_SAME);
	assert_int_equal(look_a("db ssh-ed25519 " ED_B "\n", "web"), SCOUT_KNOWN_NONE);
	assert_int_equal(look("web ssh-rsa " RSA, "web", SSH_KEYTYPE_RSA, RSA), SCOUT_KNOWN_SAME);
}

/* Lines before the right one that mean nothing to us do not hide it. */
static void odd_lines(void **state)
{
	(void)state;
	assert_int_equal(look_a("\n   \n# web ssh-ed25519 " ED_B "\nweb\nweb ssh-ed25519\n"
				"web ssh-future AAAA\nweb ssh-ed25519 !!!\nweb ssh-ed25519 AAAA\n"
				"@cert-authority web ssh-ed25519 " ED_B "\n@unknown web x y\n"
				"  web ssh-ed25519 " ED_A,
				"web"),
			 SCOUT_KNOWN_SAME);
	assert_int_equal(look_a("@cert-authority web ssh-ed25519 " ED_A "\n", "web"),
			 SCOUT_KNOWN_NONE);
	assert_int_equal(look_a("", "web"), SCOUT_KNOWN_NONE);
}

static void revoked_keys(void **state)
{
	const char revoked[] = "@revoked * ssh-ed25519 " ED_A "\n";
	const char both[] = "web ssh-ed25519 " ED_A "\n@revoked\tweb ssh-ed25519 " ED_A "\n";

	(void)state;
	assert_int_equal(look_a(revoked, "web"), SCOUT_KNOWN_REVOKED);
	assert_int_equal(look_a(both, "web"), SCOUT_KNOWN_REVOKED);
	assert_int_equal(look(revoked, "web", SSH_KEYTYPE_ED25519, ED_B), SCOUT_KNOWN_NONE);
}

/* The line that is named is the one to look at. */
static void lines_are_named(void **state)
{
	struct scout_known_keys k =
	    read_text("# x\nweb ssh-rsa " RSA "\n\nweb ssh-ed25519 " ED_B "\n"
		      "@revoked web ssh-ed25519 " ED_B "\n",
		      "web");
	const struct scout_known_key *where;
	ssh_key key = NULL;

	(void)state;
	assert_int_equal(ssh_pki_import_pubkey_base64(ED_A, SSH_KEYTYPE_ED25519, &key), SSH_OK);
	assert_int_equal(scout_known_keys_look(&k, key, &where), SCOUT_KNOWN_OTHER);
	assert_int_equal(where->line, 4); /* of its own type */
	ssh_key_free(key);
	assert_int_equal(ssh_pki_import_pubkey_base64(ED_B, SSH_KEYTYPE_ED25519, &key), SSH_OK);
	assert_int_equal(scout_known_keys_look(&k, key, &where), SCOUT_KNOWN_REVOKED);
	assert_int_equal(where->line, 5);
	ssh_key_free(key);
	scout_known_keys_free(&k);
}

static void authorities(void **state)
{
	struct scout_known_keys k = read_text("@cert-authority db ssh-ed25519 " ED_A "\n"
					      "@cert-authority *.com,web ssh-ed25519 " ED_B "\n",
					      "web");

	(void)state;
	assert_int_equal(k.count, 0);
	assert_non_null(k.authority_file);
	assert_int_equal(k.authority_line, 2);
	scout_known_keys_free(&k);
}

static void lists_of_revoked_keys(void **state)
{
	struct scout_known_keys k = {0};
	const struct scout_known_key *where;
	char path[] = "/tmp/scoutfs-revoked-XXXXXX";
	ssh_key key = NULL;
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	(void)state;
	assert_non_null(f);
	fprintf(f, "# gone\nssh-rsa " RSA " a\nssh-ed25519 " ED_A "\n");
	assert_int_equal(fclose(f), 0);
	assert_int_equal(scout_known_keys_read_revoked(&k, path), 0);
	assert_int_equal(ssh_pki_import_pubkey_base64(ED_A, SSH_KEYTYPE_ED25519, &key), SSH_OK);
	assert_int_equal(scout_known_keys_look(&k, key, &where), SCOUT_KNOWN_REVOKED);
	assert_int_equal(where->line, 3);
	ssh_key_free(key);
	scout_known_keys_free(&k);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "SSHKRL\n");
	assert_int_equal(fclose(f), 0);
	assert_int_equal(scout_known_keys_read_revoked(&k, path), -EINVAL);
	unlink(path);
	assert_int_equal(scout_known_keys_read_revoked(&k, path), -ENOENT);
	assert_int_equal(scout_known_keys_read_revoked(&k, "/tmp"), -EISDIR);
	scout_known_keys_free(&k);
}

/* Those that ssh_config asks for, in its order; what is known of the host still goes first. */
static void asked_for_algorithms(void **state)
{
	struct scout_known_keys k = read_text("web ssh-rsa " RSA "\n", "web");
	char buf[512];

	(void)state;
	assert_string_equal(
	    scout_known_keys_algorithms(
		&k, "ssh-ed25519-cert-v01@openssh.com,ssh-ed25519,x,rsa-sha2-256", buf),
	    "rsa-sha2-256,ssh-ed25519");
	assert_string_equal(scout_known_keys_algorithms(&k, "ssh-dss", buf), "");
	scout_known_keys_free(&k);
}

static void check_first(const char *text, const char *algorithm)
{
	struct scout_known_keys k = read_text(text, "web");
	char buf[512];
	const char *list = scout_known_keys_algorithms(&k, NULL, buf);

	assert_int_equal(strncmp(list, algorithm, strlen(algorithm)), 0);
	/* all are offered, whatever is known, and once */
	assert_int_equal(strlen(list), strlen("ssh-ed25519,ecdsa-sha2-nistp521,ecdsa-sha2-nistp384,"
					      "ecdsa-sha2-nistp256,sk-ssh-ed25519@openssh.com,"
					      "sk-ecdsa-sha2-nistp256@openssh.com,"
					      "rsa-sha2-512,rsa-sha2-256"));
	scout_known_keys_free(&k);
}

static void known_types_go_first(void **state)
{
	(void)state;
	check_first("", "ssh-ed25519,ecdsa");
	check_first("web ssh-rsa " RSA "\n", "rsa-sha2-512,rsa-sha2-256,ssh-ed25519");
	check_first("web ssh-rsa " RSA "\nweb ecdsa-sha2-nistp256 " ECDSA "\n",
		    "ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256,ssh-ed25519");
	check_first("@revoked web ssh-rsa " RSA "\n", "ssh-ed25519,ecdsa");
}

static void the_number_of_keys_is_bounded(void **state)
{
	struct scout_known_keys k = {0};
	char text[65536] = "", line[] = "web ssh-ed25519 " ED_B "\n";

	(void)state;
	for (int i = 0; i < SCOUT_KNOWN_KEYS_MAX + 10; i++)
		strcat(text, line);
	assert_true(strlen(text) < sizeof(text));
	k = read_text(text, "web");
	assert_int_equal(k.count, SCOUT_KNOWN_KEYS_MAX);
	assert_false(k.lost_revoked);
	scout_known_keys_free(&k);
	assert_int_equal(k.count, 0);
}

/* A revoked key for which there is no room must not pass for one that is not. */
static void a_revoked_key_is_never_lost_silently(void **state)
{
	struct scout_known_keys k = {0};
	char text[65536] = "";

	(void)state;
	for (int i = 0; i < SCOUT_KNOWN_KEYS_MAX; i++)
		strcat(text, "web ssh-ed25519 " ED_A "\n");
	strcat(text, "@revoked web ssh-ed25519 " ED_A "\n");
	assert_true(strlen(text) < sizeof(text));
	k = read_text(text, "web");
	assert_true(k.lost_revoked);
	scout_known_keys_free(&k);
}

/* What is no regular file could keep the reader for ever. */
static void a_pipe_has_none(void **state)
{
	struct scout_known_keys k = {0};
	char folder[] = "/tmp/scoutfs-known-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/pipe", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(10);
	scout_known_keys_read(&k, path, "web");
	assert_int_equal(k.count, 0);
	assert_int_equal(scout_known_keys_read_revoked(&k, path), -EINVAL);
	alarm(0);
	unlink(path);
	rmdir(folder);
}

static void a_missing_file_has_none(void **state)
{
	struct scout_known_keys k = {0};

	(void)state;
	scout_known_keys_read(&k, "/nonexistent/known_hosts", "web");
	assert_int_equal(k.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_and_ports),
	    cmocka_unit_test(names_that_exclude),
	    cmocka_unit_test(other_keys),
	    cmocka_unit_test(odd_lines),
	    cmocka_unit_test(revoked_keys),
	    cmocka_unit_test(lines_are_named),
	    cmocka_unit_test(authorities),
	    cmocka_unit_test(lists_of_revoked_keys),
	    cmocka_unit_test(asked_for_algorithms),
	    cmocka_unit_test(known_types_go_first),
	    cmocka_unit_test(the_number_of_keys_is_bounded),
	    cmocka_unit_test(a_revoked_key_is_never_lost_silently),
	    cmocka_unit_test(a_missing_file_has_none),
	    cmocka_unit_test(a_pipe_has_none),
	};

	return cmocka_run_group_tests_name("sftp/knownhosts", tests, NULL, NULL);
}
