/* Who we are: certificates, keys and the user's authentication agent, never a question to a person but
 * for the passphrase of a key (keys.c). Each attempt is counted by the server (OpenSSH allows six), so
 * the keys that were asked for by name go first, by their files or by the agent, if it has them; then the
 * agent's others, then the files that ssh tries by default, then what a passphrase opens. */
#include <errno.h>
#include <libssh/callbacks.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scoutfs/config.h"
#include "scoutfs/file.h"
#include "scoutfs/text.h"
#include "sftp/agent.h"
#include "sftp/keys.h"
#include "sftp/session.h"

#define CERTIFICATES_MAX ((size_t)2 * SCOUT_IDENTITIES_MAX)
#define OFFERS_MAX ((size_t)2 * SCOUT_AGENT_KEYS_MAX)

/* An IdentityFile. */
struct identity {
	const char *path;
	struct scout_blob public; /* no bytes: not known */
	bool in_agent;
	bool locked; /* only a passphrase opens it */
};

struct certificate {
	struct scout_blob blob;
	ssh_key key;
};

/* What there is to try, and the attempts so far in words. */
struct attempts {
	struct identity identities[SCOUT_IDENTITIES_MAX];
	size_t identities_count;
	struct certificate certificates[CERTIFICATES_MAX];
	size_t certificates_count;
	struct scout_agent *agent;
	bool offered[SCOUT_AGENT_KEYS_MAX];
	struct scout_offer offers[OFFERS_MAX];
	size_t offers_count;
	char tried[192];
	bool partial; /* the server took a key and wants more */
};

static void note(struct attempts *a, const char *what, const char *result)
{
	size_t len = strlen(a->tried);
	char name[96];

	snprintf(a->tried + len, sizeof(a->tried) - len, "%s%s%s", len ? ", " : "",
		 scout_format_name(name, sizeof(name), what), result);
}

/* After a call that does not block: whether it is to be made again, now that there is more to read. libssh's
 * own wait would go on for a socket that libssh itself had closed. */
static bool is_unfinished(struct scout_sftp *s, int rc)
{
	int fd = ssh_get_fd(s->ssh);
	short events = ssh_get_poll_flags(s->ssh) & SSH_WRITE_PENDING ? POLLIN | POLLOUT : POLLIN;

	return rc == SSH_AUTH_AGAIN && fd >= 0 && !scout_sftp_wait(s, fd, events, s->deadline_ns);
}

static int offer(struct scout_sftp *s, ssh_key key)
{
	int rc;

	do
		rc = ssh_userauth_publickey(s->ssh, NULL, key);
	while (is_unfinished(s, rc));
	return rc;
}

/* 1: in, 0: not yet, -errno: the connection is lost. */
static int outcome(struct scout_sftp *s, struct attempts *a, int rc)
{
	if (rc == SSH_AUTH_SUCCESS)
		return 1;
	if (rc == SSH_AUTH_PARTIAL)
		a->partial = true;
	if (rc == SSH_AUTH_PARTIAL || rc == SSH_AUTH_DENIED)
		return 0;
	return rc != SSH_AUTH_AGAIN && ssh_is_connected(s->ssh) &&
		       !scout_sftp_watch_fired(s->engine, &s->watch)
		   ? 0
		   : scout_sftp_fail_ssh(s, "authentication");
}

/* The bytes that the base64 of a key or a certificate stands for; false: no memory, or not base64. */
static bool decode(const char *base64, struct scout_blob *ret)
{
	size_t len = strlen(base64);
	uint8_t *bytes = malloc(len / 4 * 3 + 3);
	int n = bytes ? EVP_DecodeBlock(bytes, (const unsigned char *)base64, (int)len) : -1;

	if (n < 0) {
		free(bytes);
		return false;
	}
	ret->bytes = bytes;
	ret->len = (size_t)n; /* and the padding's zeros */
	for (size_t i = len; i > 0 && base64[i - 1] == '='; i--)
		ret->len--;
	return true;
}

static bool blob_of(ssh_key key, struct scout_blob *ret)
{
	char *base64 = NULL;
	bool ok = ssh_pki_export_pubkey_base64(key, &base64) == SSH_OK && decode(base64, ret);

	ssh_string_free_char(base64);
	return ok;
}

static bool import_public(const char *path, ssh_key *ret)
{
	return scout_is_plain_file(path) && ssh_pki_import_pubkey_file(path, ret) == SSH_OK;
}

/* A private key's public half, from its own file or the .pub beside it. */
static void find_public(struct identity *id)
{
	struct scout_text beside = {0};
	ssh_key key = NULL;

	if (!import_public(id->path, &key)) {
		scout_text_printf(&beside, "%s.pub", id->path);
		if (!beside.failed)
			(void)import_public(beside.str, &key); /* then it is NULL */
	}
	if (key)
		(void)blob_of(key, &id->public); /* then it is not known */
	ssh_key_free(key);
	scout_text_free(&beside);
}

static void add_certificate(struct attempts *a, const char *path)
{
	struct certificate *c = &a->certificates[a->certificates_count];

	if (a->certificates_count == CERTIFICATES_MAX || !scout_is_plain_file(path) ||
	    ssh_pki_import_cert_file(path, &c->key) != SSH_OK)
		return;
	if (blob_of(c->key, &c->blob)) {
		a->certificates_count++;
		return;
	}
	ssh_key_free(c->key);
	c->key = NULL;
}

static void gather(const struct scout_settings *t, struct attempts *a)
{
	struct scout_text beside = {0};

	for (size_t i = 0; i < t->certificates.count; i++) {
		add_certificate(a, t->certificates.path[i]);
		if (access(t->certificates.path[i], R_OK))
			note(a, t->certificates.path[i], " (missing)");
	}
	for (size_t i = 0; i < t->identities.count; i++) {
		struct identity *id = &a->identities[a->identities_count++];

		id->path = t->identities.path[i];
		find_public(id);
		beside.len = 0;
		scout_text_printf(&beside, "%s-cert.pub", id->path);
		if (!beside.failed)
			add_certificate(a, beside.str);
	}
	scout_text_free(&beside);
}

static void drop(struct scout_sftp *s, struct attempts *a)
{
	scout_agent_close(s, a->agent);
	for (size_t i = 0; i < a->identities_count; i++)
		free(a->identities[i].public.bytes);
	for (size_t i = 0; i < a->certificates_count; i++) {
		ssh_key_free(a->certificates[i].key);
		free(a->certificates[i].blob.bytes);
	}
}

static void open_agent(struct scout_sftp *s, struct attempts *a)
{
	int err;

	if (!s->settings.agent)
		return;
	err = scout_agent_open(s, s->settings.agent, &a->agent);
	if (err)
		note(a, "agent", err == -ETIMEDOUT ? " (does not answer)" : " (cannot be reached)");
	for (size_t k = 0; a->agent && k < scout_agent_count(a->agent); k++)
		for (size_t i = 0; i < a->identities_count; i++)
			if (scout_blob_equal(&a->identities[i].public,
					     scout_agent_key(a->agent, k)))
				a->identities[i].in_agent = true;
}

static bool is_certified(const struct attempts *a, const struct scout_blob *key)
{
	for (size_t i = 0; i < a->certificates_count; i++)
		if (scout_blob_certifies(&a->certificates[i].blob, key))
			return true;
	return false;
}

/* Whether libssh knows what to do with it: at one that it does not know it would stop. */
static bool is_known(const struct scout_blob *key)
{
	char *base64 = malloc(key->len / 3 * 4 + 5), type[64] = "";
	enum ssh_keytypes_e kind;
	ssh_key imported = NULL;

	if (base64 && key->len > 4 && key->bytes[3] < sizeof(type) &&
	    key->bytes[3] < key->len - 4) {
		memcpy(type, key->bytes + 4,
		       key->bytes[3]); /* short, so that one byte is its length */
		(void)EVP_EncodeBlock((unsigned char *)base64, key->bytes, (int)key->len);
	}
	kind = ssh_key_type_from_name(type);
	if (type[0] && strstr(type, "-cert-v01@"))
		(void)ssh_pki_import_cert_base64(base64, kind, &imported); /* then it is NULL */
	else if (type[0] && kind != SSH_KEYTYPE_UNKNOWN)
		(void)ssh_pki_import_pubkey_base64(base64, kind, &imported); /* likewise */
	free(base64);
	ssh_key_free(imported);
	return imported;
}

/* One of the agent's keys, its certificates in front. */
static void offer_key(struct attempts *a, size_t k)
{
	const struct scout_blob *key = scout_agent_key(a->agent, k);

	if (a->offered[k] || !is_known(key))
		return;
	a->offered[k] = true;
	for (size_t i = 0; i < a->certificates_count; i++)
		if (scout_blob_certifies(&a->certificates[i].blob, key) &&
		    a->offers_count < OFFERS_MAX)
			a->offers[a->offers_count++] =
			    (struct scout_offer){.shown = &a->certificates[i].blob, .signs = key};
	if (a->offers_count < OFFERS_MAX)
		a->offers[a->offers_count++] = (struct scout_offer){.shown = key, .signs = key};
}

/* Those that were asked for by name, in that order; then, if they may be used, the others. */
static void choose_offers(const struct scout_settings *t, struct attempts *a)
{
	size_t keys = scout_agent_count(a->agent);

	for (size_t i = 0; i < a->identities_count; i++) {
		const struct scout_blob *wanted = &a->identities[i].public;

		for (size_t k = 0; k < keys && wanted->bytes; k++)
			if (scout_blob_equal(scout_agent_key(a->agent, k), wanted) ||
			    scout_blob_certifies(scout_agent_key(a->agent, k), wanted))
				offer_key(a, k);
	}
	for (size_t k = 0; k < keys; k++)
		if (!t->identities_only || is_certified(a, scout_agent_key(a->agent, k)))
			offer_key(a, k);
}

/* All by one call where that is possible: libssh 0.10 loses the list of the call before. */
static int try_agent(struct scout_sftp *s, struct attempts *a)
{
	size_t done = 0, refused = 0;
	int rc, got = 0;

	if (!a->agent)
		return 0;
	choose_offers(&s->settings, a);
	do {
		done += refused;
		if (done == a->offers_count)
			break;
		scout_agent_offer(a->agent, a->offers + done, a->offers_count - done);
		do
			rc = ssh_userauth_agent(s->ssh, NULL);
		while (is_unfinished(s, rc));
		refused = scout_agent_refused(a->agent);
		got = outcome(s, a, rc);
	} while (!got && refused);
	note(a, "agent", done ? " (which refused to sign)" : "");
	return got;
}

/* The key itself, and before it its certificates. */
static int try_key(struct scout_sftp *s, struct attempts *a, const struct identity *id, ssh_key key)
{
	int got = 0;

	for (size_t i = 0; i < a->certificates_count && !got; i++) {
		ssh_key both;

		if (!scout_blob_certifies(&a->certificates[i].blob, &id->public))
			continue;
		both = ssh_key_dup(key);
		if (both && ssh_pki_copy_cert_to_privkey(a->certificates[i].key, both) == SSH_OK)
			got = outcome(s, a, offer(s, both));
		ssh_key_free(both);
	}
	return got ? got : outcome(s, a, offer(s, key));
}

/* By the file. ask: also when it takes a passphrase. */
static int try_file(struct scout_sftp *s, struct attempts *a, struct identity *id, bool ask)
{
	bool named = s->settings.identities_named;
	ssh_key key = NULL;
	int err, got;

	if (id->in_agent)
		return 0;
	if (access(id->path, R_OK)) {
		if (named)
			note(a, id->path, errno == ENOENT ? " (missing)" : " (unreadable)");
		return 0;
	}
	err = scout_key_load(s, id->path, ask, &key);
	id->locked = err == -ENOKEY && !ask;
	if (id->locked)
		return 0; /* its turn comes last */
	if (err == -ENOKEY)
		note(a, id->path, " (has a passphrase)");
	else if (err == -EINVAL)
		note(a, id->path, id->public.bytes ? " (only its public half)" : " (not a key)");
	else if (err)
		return scout_sftp_fail(s, err, "the passphrase of %s was not given in time",
				       id->path);
	if (err)
		return 0;
	if (!id->public.bytes)
		(void)blob_of(key, &id->public); /* without it no certificate is its */
	note(a, id->path, "");
	got = try_key(s, a, id, key);
	ssh_key_free(key);
	return got;
}

static int try_files(struct scout_sftp *s, struct attempts *a)
{
	int got = 0;

	for (size_t i = 0; i < a->identities_count && !got; i++)
		got = try_file(s, a, &a->identities[i], false);
	return got;
}

static int try_all(struct scout_sftp *s, struct attempts *a)
{
	bool named = s->settings.identities_named;
	int got = named ? try_files(s, a) : 0;

	if (!got)
		got = try_agent(s, a);
	if (!got && !named)
		got = try_files(s, a);
	for (size_t i = 0; i < a->identities_count && !got; i++)
		if (a->identities[i].locked)
			got = try_file(s, a, &a->identities[i], true);
	return got;
}

static int refused(struct scout_sftp *s, const struct attempts *a)
{
	int methods = ssh_userauth_list(s->ssh, NULL);
	char allowed[96];

	snprintf(allowed, sizeof(allowed), "%s%s%s%s%s",
		 methods & SSH_AUTH_METHOD_PUBLICKEY ? " publickey" : "",
		 methods & SSH_AUTH_METHOD_PASSWORD ? " password" : "",
		 methods & SSH_AUTH_METHOD_INTERACTIVE ? " keyboard-interactive" : "",
		 methods & SSH_AUTH_METHOD_HOSTBASED ? " hostbased" : "",
		 methods & SSH_AUTH_METHOD_GSSAPI_MIC ? " gssapi" : "");
	return scout_sftp_fail(
	    s, -EACCES, "authentication refused for %s@%s%s: tried %s; the server allows%s",
	    s->settings.user, s->settings.hostname, a->partial ? " (it wants more than a key)" : "",
	    a->tried[0] ? a->tried : "no key", allowed[0] ? allowed : " nothing");
}

int scout_sftp_authenticate(struct scout_sftp *s)
{
	struct attempts *a = calloc(1, sizeof(*a));
	int got, rc;

	if (!a)
		return scout_sftp_fail(s, -ENOMEM, "out of memory");
	gather(&s->settings, a);
	open_agent(s, a);
	got = try_all(s, a);
	if (!got) { /* also tells what the server allows, when no key was there to be refused */
		do
			rc = ssh_userauth_none(s->ssh, NULL);
		while (is_unfinished(s, rc));
		got = outcome(s, a, rc);
	}
	if (!got)
		got = refused(s, a);
	drop(s, a);
	free(a);
	return got < 0 ? got : 0;
}
