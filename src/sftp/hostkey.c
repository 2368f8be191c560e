/* Is the server the one we know? Decides by known_hosts (the config's file and the system's) and
 * the host's policy. A changed key is refused by every policy but off. Trusts those files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scoutfs/config.h"
#include "scoutfs/log.h"
#include "sftp/session.h"

/* "ED25519 key SHA256:..." of the server, for people. */
static void describe_key(ssh_session ssh, char *buf, size_t cap)
{
	unsigned char *hash = NULL;
	char *fingerprint = NULL;
	size_t len = 0;
	ssh_key key = NULL;

	snprintf(buf, cap, "key");
	if (ssh_get_server_publickey(ssh, &key) != SSH_OK)
		return;
	if (!ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len))
		fingerprint = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len);
	snprintf(buf, cap, "%s key %s", ssh_key_type_to_char(ssh_key_type(key)),
		 fingerprint ? fingerprint : "");
	ssh_string_free_char(fingerprint);
	ssh_clean_pubkey_hash(&hash);
	ssh_key_free(key);
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

/* The session goes on when the file cannot be written, as ssh's does. */
static void remember_key(struct scout_sftp *s, const char *key)
{
	char *line = NULL;
	int err = -ENOMEM;

	if (ssh_session_export_known_hosts_entry(s->ssh, &line) == SSH_OK)
		err = append_line(s->host->known_hosts, line);
	ssh_string_free_char(line);
	if (err)
		scout_warn("%s: cannot add its %s to %s: %s", s->host->name, key,
			   s->host->known_hosts, strerror(-err));
	else
		scout_info("%s: added its %s to %s", s->host->name, key, s->host->known_hosts);
}

static int unknown_key(struct scout_sftp *s, const char *key)
{
	/* libssh calls a host unknown also when a known_hosts line for it makes no sense */
	bool readable = ssh_session_has_known_hosts_entry(s->ssh) != SSH_KNOWN_HOSTS_ERROR;

	if (!readable)
		return scout_sftp_fail(s, -ENOKEY,
				       "host key unknown: a line for %s in %s is malformed",
				       s->settings.hostname, s->host->known_hosts);
	if (s->host->host_key_check == SCOUT_KEYS_ACCEPT_NEW) {
		remember_key(s, key);
		return 0;
	}
	return scout_sftp_fail(s, -ENOKEY,
			       "host key unknown: no key of %s in %s (it showed its %s)",
			       s->settings.hostname, s->host->known_hosts, key);
}

int scout_sftp_check_host_key(struct scout_sftp *s)
{
	enum ssh_known_hosts_e known;
	char key[128];

	if (s->host->host_key_check == SCOUT_KEYS_OFF)
		return 0;
	describe_key(s->ssh, key, sizeof(key));
	known = ssh_session_is_known_server(s->ssh);
	switch (known) {
	case SSH_KNOWN_HOSTS_OK:
		return 0;
	case SSH_KNOWN_HOSTS_CHANGED:
	case SSH_KNOWN_HOSTS_OTHER: /* known types were negotiated first: it has none of them */
		return scout_sftp_fail(
		    s, -EKEYREJECTED, "host key changed: %s in %s is not the %s that %s shows",
		    s->settings.hostname, s->host->known_hosts, key, s->settings.hostname);
	case SSH_KNOWN_HOSTS_UNKNOWN:
	case SSH_KNOWN_HOSTS_NOT_FOUND:
		return unknown_key(s, key);
	case SSH_KNOWN_HOSTS_ERROR:
		break;
	}
	return scout_sftp_fail_ssh(s, "checking the host key");
}
