/* Is the server the one we know? Decides by known_hosts (the config's file and the system's) and
 * the host's policy. A changed or revoked key is refused by every policy but off, which heeds
 * RevokedHostKeys alone. Trusts those files. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scoutfs/config.h"
#include "scoutfs/log.h"
#include "sftp/knownhosts.h"
#include "sftp/session.h"

/* "ssh-ed25519 key SHA256:...", for people. */
static void describe_key(ssh_key key, char *buf, size_t cap)
{
	unsigned char *hash = NULL;
	char *fingerprint = NULL;
	size_t len = 0;

	if (!ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len))
		fingerprint = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len);
	snprintf(buf, cap, "%s key %s", ssh_key_type_to_char(ssh_key_type(key)),
		 fingerprint ? fingerprint : "");
	ssh_string_free_char(fingerprint);
	ssh_clean_pubkey_hash(&hash);
}

/* What known_hosts calls the host at that port. */
static void known_name(const struct scout_settings *t, unsigned port, char *buf, size_t cap)
{
	if (t->host_key_alias)
		snprintf(buf, cap, "%s", t->host_key_alias);
	else if (port == 22)
		snprintf(buf, cap, "%s", t->hostname);
	else
		snprintf(buf, cap, "[%s]:%u", t->hostname, port);
	for (char *c = buf; *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

static void read_known(struct scout_sftp *s, unsigned port, struct scout_known_keys *known)
{
	const struct scout_paths *files = &s->settings.known_hosts;
	char name[300];

	known_name(&s->settings, port, name, sizeof(name));
	for (size_t i = 0; i < files->count; i++)
		scout_known_keys_read(known, files->path[i], name);
}

int scout_sftp_offer_host_keys(struct scout_sftp *s)
{
	struct scout_known_keys known = {0};
	char algorithms[512];
	int rc;

	read_known(s, s->settings.port, &known);
	rc = ssh_options_set(
	    s->ssh, SSH_OPTIONS_HOSTKEYS,
	    scout_known_keys_algorithms(&known, s->settings.host_key_algorithms, algorithms));
	scout_known_keys_free(&known);
	return rc == SSH_OK ? 0 : -EINVAL;
}

/* Creates path's folder as ssh does; only the last one. */
static void make_folder(const char *path)
{
	char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;

	if (slash && slash != folder) {
		*slash = '\0';
		(void)mkdir(folder, 0700); /* the open that follows tells what is wrong */
	}
	free(folder);
}

static bool ends_in_newline(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char last = '\n';

	if (size > 0 && pread(fd, &last, 1, size - 1) != 1)
		return true;
	return last == '\n';
}

/* Appends line by one write, which O_APPEND keeps whole beside other sessions and processes. */
static int append_line(const char *path, const char *line)
{
	struct stat st;
	char *text = NULL;
	int fd, n, err = 0;

	make_folder(path);
	fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	n = asprintf(&text, "%s%s", ends_in_newline(fd) ? "" : "\n", line);
	if (n < 0)
		err = -ENOMEM;
	else if (write(fd, text, (size_t)n) != n)
		err = errno ? -errno : -EIO;
	if (n >= 0)
		free(text);
	close(fd);
	return err;
}

/* The host's name as a new line says it: hashed where ssh_config wants that (sshd(8)). */
static bool line_name(const struct scout_settings *t, char *buf, size_t cap)
{
	unsigned char salt[SHA_DIGEST_LENGTH], hash[SHA_DIGEST_LENGTH];
	unsigned char salt64[32], hash64[32];
	unsigned len = sizeof(hash);

	known_name(t, t->port, buf, cap);
	if (!t->hash_known_hosts)
		return true;
	if (RAND_bytes(salt, sizeof(salt)) != 1 ||
	    !HMAC(EVP_sha1(), salt, sizeof(salt), (unsigned char *)buf, strlen(buf), hash, &len))
		return false;
	(void)EVP_EncodeBlock(salt64, salt, sizeof(salt)); /* their lengths are known */
	(void)EVP_EncodeBlock(hash64, hash, sizeof(hash));
	snprintf(buf, cap, "|1|%s|%s", salt64, hash64);
	return true;
}

/* The session goes on when the file cannot be written, as ssh's does. */
static void remember_key(struct scout_sftp *s, ssh_key key, const char *description)
{
	const struct scout_settings *t = &s->settings;
	const char *path = t->user_known_hosts ? t->known_hosts.path[0] : NULL;
	char name[300], line[8192], *base64 = NULL;
	int err = -ENOMEM;

	if (!path)
		err = -ENOENT;
	else if (line_name(t, name, sizeof(name)) &&
		 ssh_pki_export_pubkey_base64(key, &base64) == SSH_OK) {
		snprintf(line, sizeof(line), "%s %s %s\n", name,
			 ssh_key_type_to_char(ssh_key_type(key)), base64);
		err = append_line(path, line);
	}
	ssh_string_free_char(base64);
	if (err)
		scout_warn("%s: cannot add its %s to known_hosts: %s", s->host->name, description,
			   strerror(-err));
	else
		scout_info("%s: added its %s to %s", s->host->name, description, path);
}

static int unknown(struct scout_sftp *s, const struct scout_known_keys *known, const char *text)
{
	const struct scout_settings *t = &s->settings;
	char name[300];

	known_name(t, t->port, name, sizeof(name));
	if (known->authority_file)
		return scout_sftp_fail(
		    s, -ENOKEY,
		    "host key unknown: %s:%u trusts %s by a certificate authority, "
		    "and host certificates cannot be checked here: add its %s",
		    known->authority_file, known->authority_line, name, text);
	return scout_sftp_fail(s, -ENOKEY,
			       "host key unknown: no key of %s in %s (it showed its %s)", name,
			       t->known_hosts.count ? t->known_hosts.path[0] : "known_hosts", text);
}

/* A list that cannot be read refuses every host, as ssh does it. */
static int read_revoked(struct scout_sftp *s, struct scout_known_keys *known)
{
	const char *path = s->settings.revoked_host_keys;
	int err = scout_known_keys_read_revoked(known, path);

	if (!err)
		return 0;
	return scout_sftp_fail(s, -EKEYREJECTED, "RevokedHostKeys %s: %s", path,
			       err == -EINVAL
				   ? "a KRL, which cannot be read here; a list of keys can"
				   : strerror(-err));
}

/* Where its port has no key, that of the name alone counts, as for ssh (sshconnect.c). */
static bool is_known_without_port(struct scout_sftp *s, ssh_key key)
{
	struct scout_known_keys known = {0};
	const struct scout_known_key *where;
	bool same;

	if (s->settings.port == 22 || s->settings.host_key_alias)
		return false;
	read_known(s, 22, &known);
	same =
	    !known.lost_revoked && scout_known_keys_look(&known, key, &where) == SCOUT_KNOWN_SAME;
	scout_known_keys_free(&known);
	return same;
}

static int judge(struct scout_sftp *s, ssh_key key)
{
	struct scout_known_keys known = {0};
	const char *name = s->settings.hostname;
	const struct scout_known_key *where;
	char text[128];
	int err = 0;

	describe_key(key, text, sizeof(text));
	if (s->settings.host_key_check != SCOUT_KEYS_OFF)
		read_known(s, s->settings.port, &known);
	if (s->settings.revoked_host_keys)
		err = read_revoked(s, &known);
	if (!err && known.lost_revoked)
		err = scout_sftp_fail(s, -EKEYREJECTED,
				      "more revoked keys are listed for %s than can be looked at",
				      name);
	if (err) {
		scout_known_keys_free(&known);
		return err;
	}
	switch (scout_known_keys_look(&known, key, &where)) {
	case SCOUT_KNOWN_SAME:
		break;
	case SCOUT_KNOWN_NONE:
		if (s->settings.host_key_check == SCOUT_KEYS_OFF || is_known_without_port(s, key))
			break;
		if (s->settings.host_key_check == SCOUT_KEYS_ACCEPT_NEW)
			remember_key(s, key, text);
		else
			err = unknown(s, &known, text);
		break;
	case SCOUT_KNOWN_REVOKED:
		err = scout_sftp_fail(s, -EKEYREJECTED,
				      "host key revoked: %s shows the %s, revoked by %s:%u", name,
				      text, where->file, where->line);
		break;
	case SCOUT_KNOWN_OTHER:
		/* known types were offered first: it has none of the keys we know */
		err = scout_sftp_fail(s, -EKEYREJECTED,
				      "host key changed: %s shows its %s, and %s:%u has another",
				      name, text, where->file, where->line);
		break;
	}
	scout_known_keys_free(&known);
	return err;
}

int scout_sftp_check_host_key(struct scout_sftp *s)
{
	ssh_key key = NULL;
	int err;

	if (s->settings.host_key_check == SCOUT_KEYS_OFF && !s->settings.revoked_host_keys)
		return 0;
	if (ssh_get_server_publickey(s->ssh, &key) != SSH_OK)
		return scout_sftp_fail(s, -EIO, "the server showed no host key");
	err = judge(s, key);
	ssh_key_free(key);
	return err;
}
