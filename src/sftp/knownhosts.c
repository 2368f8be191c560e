/* Reading known_hosts. libssh parses and matches single lines here; its own look at the whole file
 * gives up at the first line it does not understand, passes over revoked keys, and takes only some
 * names for a host's. Trusts the files. No lock. */
#include "sftp/knownhosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct scout_known_keys *k, ssh_key key, bool revoked)
{
	ssh_key copy = k->count < SCOUT_KNOWN_KEYS_MAX ? ssh_key_dup(key) : NULL;

	if (!copy)
		return; /* fewer known keys: refused sooner, never accepted wrongly */
	k->keys[k->count].key = copy;
	k->keys[k->count].revoked = revoked;
	k->count++;
}

static void read_line(struct scout_known_keys *k, char *line, const char *host)
{
	struct ssh_knownhosts_entry *entry = NULL;
	const char revoked_mark[] = "@revoked ";
	bool revoked = false;

	for (char *c = line; *c; c++)
		if (*c == '\t')
			*c = ' ';
	line[strcspn(line, "\r\n")] = '\0';
	line += strspn(line, " ");
	if (!strncmp(line, revoked_mark, sizeof(revoked_mark) - 1)) {
		revoked = true;
		line += sizeof(revoked_mark) - 1;
		line += strspn(line, " ");
	}
	if (!*line || *line == '#' || *line == '@')
		return;
	if (ssh_known_hosts_parse_line(host, line, &entry) == SSH_OK)
		add(k, entry->publickey, revoked);
	ssh_knownhosts_entry_free(entry);
}

void scout_known_keys_read(struct scout_known_keys *k, const char *path, const char *host)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;

	if (!f)
		return;
	while (getline(&line, &cap, f) > 0)
		read_line(k, line, host);
	free(line);
	fclose(f);
}

void scout_known_keys_free(struct scout_known_keys *k)
{
	for (size_t i = 0; i < k->count; i++)
		ssh_key_free(k->keys[i].key);
	k->count = 0;
}

enum scout_known scout_known_keys_look(const struct scout_known_keys *k, ssh_key key)
{
	enum scout_known found = SCOUT_KNOWN_NONE;

	for (size_t i = 0; i < k->count; i++) {
		bool same = !ssh_key_cmp(key, k->keys[i].key, SSH_KEY_CMP_PUBLIC);

		if (same && k->keys[i].revoked)
			return SCOUT_KNOWN_REVOKED;
		if (same)
			found = SCOUT_KNOWN_SAME;
		else if (found == SCOUT_KNOWN_NONE && !k->keys[i].revoked)
			found = SCOUT_KNOWN_OTHER;
	}
	return found;
}

static bool knows_type(const struct scout_known_keys *k, enum ssh_keytypes_e type)
{
	for (size_t i = 0; i < k->count; i++)
		if (ssh_key_type(k->keys[i].key) == type && !k->keys[i].revoked)
			return true;
	return false;
}

const char *scout_known_keys_algorithms(const struct scout_known_keys *k, char buf[512])
{
	static const struct {
		enum ssh_keytypes_e type;
		const char *names;
	} algorithms[] = {
	    {SSH_KEYTYPE_ED25519, "ssh-ed25519"},
	    {SSH_KEYTYPE_ECDSA_P521, "ecdsa-sha2-nistp521"},
	    {SSH_KEYTYPE_ECDSA_P384, "ecdsa-sha2-nistp384"},
	    {SSH_KEYTYPE_ECDSA_P256, "ecdsa-sha2-nistp256"},
	    {SSH_KEYTYPE_SK_ED25519, "sk-ssh-ed25519@openssh.com"},
	    {SSH_KEYTYPE_SK_ECDSA, "sk-ecdsa-sha2-nistp256@openssh.com"},
	    {SSH_KEYTYPE_RSA, "rsa-sha2-512,rsa-sha2-256"},
	};
	size_t len = 0;

	for (int known = 1; known >= 0; known--)
		for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
			if (knows_type(k, algorithms[i].type) == known)
				len += (size_t)snprintf(buf + len, 512 - len, "%s%s",
							len ? "," : "", algorithms[i].names);
	return buf;
}
