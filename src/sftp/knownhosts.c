/* Reading known_hosts. libssh parses and matches single lines here; its own look at the whole file
 * gives up at the first line it does not understand, passes over revoked keys, and takes only some
 * names for a host's. Trusts the files. No lock. */
#include "sftp/knownhosts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/file.h"
#include "scoutfs/text.h"

static void add(struct scout_known_keys *k, ssh_key key, const struct scout_known_key *where)
{
	ssh_key copy = k->count < SCOUT_KNOWN_KEYS_MAX ? ssh_key_dup(key) : NULL;

	if (!copy) { /* fewer known keys: refused sooner, never accepted wrongly */
		k->lost_revoked = k->lost_revoked || where->revoked;
		return;
	}
	k->keys[k->count] = *where;
	k->keys[k->count++].key = copy;
}

/* Takes the marker off a line, when it is this one. */
static bool take_marker(char **line, const char *marker)
{
	size_t len = strlen(marker);

	if (strncmp(*line, marker, len) || (*line)[len] != ' ')
		return false;
	*line += len;
	*line += strspn(*line, " ");
	return true;
}

/* Whether one of the line's names is there to take host out (sshd(8)): libssh looks at each by itself,
 * and takes a host that another one excludes. -ENOMEM: not known. */
static int is_excluded(const char *line, const char *host)
{
	const char *key = line + strcspn(line, " ");
	struct scout_text each = {0};
	int found = 0;

	for (const char *at = line; at < key && !found; at += *at == ',') {
		size_t len = strcspn(at, ", ");

		if (*at == '!') {
			struct ssh_knownhosts_entry *entry = NULL;

			each.len = 0;
			scout_text_append(&each, at + 1, len - 1);
			scout_text_append(&each, key, strlen(key));
			found = each.failed
				    ? -ENOMEM
				    : ssh_known_hosts_parse_line(host, each.str, &entry) == SSH_OK;
			ssh_knownhosts_entry_free(entry);
		}
		at += len;
	}
	scout_text_free(&each);
	return found;
}

static void read_line(struct scout_known_keys *k, char *line, const char *host,
		      struct scout_known_key *where)
{
	struct ssh_knownhosts_entry *entry = NULL;
	bool authority;
	int excluded;

	for (char *c = line; *c; c++)
		if (*c == '\t')
			*c = ' ';
	line[strcspn(line, "\r\n")] = '\0';
	line += strspn(line, " ");
	where->revoked = take_marker(&line, "@revoked");
	authority = take_marker(&line, "@cert-authority");
	if (!*line || *line == '#' || *line == '@')
		return;
	excluded = is_excluded(line, host);
	k->lost_revoked = k->lost_revoked || (excluded < 0 && where->revoked);
	if (!excluded && ssh_known_hosts_parse_line(host, line, &entry) == SSH_OK) {
		if (!authority) {
			add(k, entry->publickey, where);
		} else if (!k->authority_file) {
			k->authority_file = where->file;
			k->authority_line = where->line;
		}
	}
	ssh_knownhosts_entry_free(entry);
}

void scout_known_keys_read(struct scout_known_keys *k, const char *path, const char *host)
{
	struct scout_known_key where = {.file = path};
	FILE *f = scout_open_file(path);
	char *line = NULL;
	size_t cap = 0;

	if (!f)
		return;
	while (getline(&line, &cap, f) > 0) {
		where.line++;
		read_line(k, line, host, &where);
	}
	free(line);
	fclose(f);
}

int scout_known_keys_read_revoked(struct scout_known_keys *k, const char *path)
{
	struct scout_known_key where = {.file = path};
	struct scout_text marked = {0};
	FILE *f = scout_open_file(path);
	char *line = NULL;
	size_t cap = 0;
	int err = 0;

	if (!f)
		return -errno;
	while (!err && getline(&line, &cap, f) > 0) {
		where.line++;
		marked.len = 0;
		scout_text_printf(&marked, "@revoked * %s", line);
		if (where.line == 1 && !strncmp(line, "SSHKRL", 6))
			err = -EINVAL;
		else if (marked.failed)
			err = -ENOMEM; /* what is not read could be the one */
		else
			read_line(k, marked.str, "host", &where);
	}
	if (!err && ferror(f))
		err = -EIO;
	scout_text_free(&marked);
	free(line);
	fclose(f);
	return err;
}

void scout_known_keys_free(struct scout_known_keys *k)
{
	for (size_t i = 0; i < k->count; i++)
		ssh_key_free(k->keys[i].key);
	k->count = 0;
}

/* The line to name for a key that is not the host's: that of the key's own type. */
static bool better_proof(ssh_key key, const struct scout_known_key *a,
			 const struct scout_known_key *b)
{
	return ssh_key_type(a->key) == ssh_key_type(key) &&
	       ssh_key_type(b->key) != ssh_key_type(key);
}

enum scout_known scout_known_keys_look(const struct scout_known_keys *k, ssh_key key,
				       const struct scout_known_key **where)
{
	enum scout_known found = SCOUT_KNOWN_NONE;

	*where = NULL;
	for (size_t i = 0; i < k->count; i++) {
		const struct scout_known_key *known = &k->keys[i];
		bool same = !ssh_key_cmp(key, known->key, SSH_KEY_CMP_PUBLIC);

		if (same && known->revoked) {
			*where = known;
			return SCOUT_KNOWN_REVOKED;
		}
		if (known->revoked || found == SCOUT_KNOWN_SAME)
			continue;
		if (same || !*where || better_proof(key, known, *where))
			*where = known;
		found = same ? SCOUT_KNOWN_SAME : SCOUT_KNOWN_OTHER;
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

static bool lists(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += len)
		if ((at == list || at[-1] == ',') && (at[len] == ',' || !at[len]))
			return true;
	return false;
}

struct algorithm {
	enum ssh_keytypes_e type;
	const char *name;
};

static const struct algorithm algorithms[] = {
    {SSH_KEYTYPE_ED25519, "ssh-ed25519"},
    {SSH_KEYTYPE_ECDSA_P521, "ecdsa-sha2-nistp521"},
    {SSH_KEYTYPE_ECDSA_P384, "ecdsa-sha2-nistp384"},
    {SSH_KEYTYPE_ECDSA_P256, "ecdsa-sha2-nistp256"},
    {SSH_KEYTYPE_SK_ED25519, "sk-ssh-ed25519@openssh.com"},
    {SSH_KEYTYPE_SK_ECDSA, "sk-ecdsa-sha2-nistp256@openssh.com"},
    {SSH_KEYTYPE_RSA, "rsa-sha2-512"},
    {SSH_KEYTYPE_RSA, "rsa-sha2-256"},
};

#define ALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

/* Those in the order of allowed: *ret and how many. */
static size_t choose(const char *allowed, const struct algorithm *ret[ALGORITHMS])
{
	size_t count = 0;

	for (; *allowed; allowed += strcspn(allowed, ","), allowed += *allowed == ',')
		for (size_t i = 0; i < ALGORITHMS && count < ALGORITHMS; i++)
			if (strlen(algorithms[i].name) == strcspn(allowed, ",") &&
			    !strncmp(algorithms[i].name, allowed, strcspn(allowed, ",")))
				ret[count++] = &algorithms[i];
	return count;
}

const char *scout_known_keys_algorithms(const struct scout_known_keys *k, const char *allowed,
					char buf[512])
{
	const struct algorithm *chosen[ALGORITHMS];
	size_t len = 0, count = ALGORITHMS;

	for (size_t i = 0; i < ALGORITHMS; i++)
		chosen[i] = &algorithms[i];
	if (allowed)
		count = choose(allowed, chosen);
	buf[0] = '\0';
	for (int known = 1; known >= 0; known--)
		for (size_t i = 0; i < count; i++)
			if (knows_type(k, chosen[i]->type) == known && !lists(buf, chosen[i]->name))
				len += (size_t)snprintf(buf + len, 512 - len, "%s%s",
							len ? "," : "", chosen[i]->name);
	return buf;
}
