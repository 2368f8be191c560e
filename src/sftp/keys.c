/* Opens private keys: by themselves, or by the answer of the program $SSH_ASKPASS (ssh(1)), never by a
 * question on the terminal. One session asks for a key, others that need it wait for the answer, and
 * whatever it is it stands until the file changes. What is kept lies under the engine's lock. */
#include "sftp/keys.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scoutfs/config.h"
#include "scoutfs/file.h"
#include "scoutfs/log.h"
#include "scoutfs/text.h"
#include "sftp/session.h"

#define KEPT_MAX 64
#define PASSPHRASE_MAX 1024
#define ASKPASS "/usr/bin/ssh-askpass"

/* Refuses to ask for a passphrase; libssh without this would ask on the terminal. */
static int no_passphrase(const char *prompt, char *buf, size_t len, int echo, int verify,
			 void *userdata)
{
	(void)prompt;
	(void)buf;
	(void)len;
	(void)echo;
	(void)verify;
	*(bool *)userdata = true;
	return -1;
}

/* The program that may ask, or NULL; as readpass.c of OpenSSH decides it where there is no terminal. */
static const char *asker(void)
{
	const char *program = getenv("SSH_ASKPASS"), *require = getenv("SSH_ASKPASS_REQUIRE");
	const char *display = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
	bool force = require && !strcasecmp(require, "force");

	if (require && !strcasecmp(require, "never"))
		return NULL;
	if (!force && !(display && *display) && !(wayland && *wayland))
		return NULL;
	if (program && *program)
		return program;
	return access(ASKPASS, X_OK) ? NULL : ASKPASS;
}

/* Asks, and opens the key with the answer. 0, -ENOKEY, -ETIMEDOUT, -ECANCELED. */
static int ask(struct scout_sftp *s, const char *path, ssh_key *ret)
{
	struct scout_args args = {0};
	struct scout_text answer = {0};
	static const char room[PASSPHRASE_MAX + 1];
	char complaint[160], shown[256];
	int err;

	scout_info("%s: asking for the passphrase of %s", s->host->name, path);
	scout_args_add(&args, "%s", asker());
	scout_args_add(&args, "Enter passphrase for key '%s': ",
		       scout_format_name(shown, sizeof(shown), path));
	scout_text_append(&answer, room, sizeof(room)); /* so that it never moves */
	answer.len = 0;
	err = scout_sftp_run(s, &args, NULL, PASSPHRASE_MAX, &answer, complaint);
	if (!err) {
		answer.str[strcspn(answer.str, "\r\n")] = '\0';
		if (ssh_pki_import_privkey_file(path, answer.str, NULL, NULL, ret) != SSH_OK)
			err = -ENOKEY;
	} else if (err != -ETIMEDOUT && err != -ECANCELED) {
		err = -ENOKEY;
	}
	if (answer.str)
		explicit_bzero(answer.str, answer.cap);
	scout_text_free(&answer);
	scout_args_free(&args);
	if (err)
		scout_warn("%s: %s stays locked: %s", s->host->name, path,
			   err == -ENOKEY      ? "no passphrase, or a wrong one, was given"
			   : err == -ECANCELED ? "stopped"
					       : "nobody gave its passphrase in time");
	return err;
}

static struct scout_kept_key *new_kept(const char *path)
{
	struct scout_kept_key *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->answered_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	k->path = strdup(path);
	if (k->answered_fd < 0 || !k->path) {
		if (k->answered_fd >= 0)
			close(k->answered_fd);
		free(k->path);
		free(k);
		return NULL;
	}
	return k;
}

static void free_kept(struct scout_kept_key *k)
{
	ssh_key_free(k->key); /* libssh and libcrypto wipe it */
	close(k->answered_fd);
	free(k->path);
	free(k);
}

/* The one for path, made when there is none; NULL: no room, no memory. */
static struct scout_kept_key *find(struct scout_sftp_engine *e, const char *path)
{
	struct scout_kept_key *k, *made = new_kept(path);
	size_t count = 0;

	scout_lock(&e->lock);
	TAILQ_FOREACH (k, &e->keys, link) {
		if (!strcmp(k->path, path))
			break;
		count++;
	}
	if (!k && made && count < KEPT_MAX) {
		TAILQ_INSERT_TAIL(&e->keys, made, link);
		k = made;
		made = NULL;
	}
	scout_unlock(&e->lock);
	if (made)
		free_kept(made);
	return k;
}

enum step { TAKE, WAIT, ASK };

/* What is to be done for a key whose file is of that mtime; TAKE: *ret is it, or NULL. Who may not ask
 * does not wait either. */
static enum step look(struct scout_sftp_engine *e, struct scout_kept_key *k,
		      const struct timespec *changed, bool may_ask, ssh_key *ret)
{
	enum step step = TAKE;
	ssh_key old = NULL;
	uint64_t ignored;

	scout_lock(&e->lock);
	*ret = NULL;
	if (k->asking) {
		step = may_ask ? WAIT : TAKE;
	} else if (k->asked && k->changed.tv_sec == changed->tv_sec &&
		   k->changed.tv_nsec == changed->tv_nsec) {
		*ret = k->key ? ssh_key_dup(k->key) : NULL;
	} else if (may_ask) {
		step = ASK;
		k->asking = true;
		k->changed = *changed;
		old = k->key;
		k->key = NULL;
		(void)!read(k->answered_fd, &ignored, sizeof(ignored)); /* does not block */
	}
	scout_unlock(&e->lock);
	ssh_key_free(old);
	return step;
}

static void answered(struct scout_sftp_engine *e, struct scout_kept_key *k, ssh_key key, bool asked)
{
	const uint64_t one = 1;

	scout_lock(&e->lock);
	k->asking = false;
	k->asked = asked;
	k->key = key;
	(void)!write(k->answered_fd, &one, sizeof(one)); /* does not block */
	scout_unlock(&e->lock);
}

/* The key that a passphrase opens: kept, or asked for. */
static int unlock(struct scout_sftp *s, const char *path, bool may_ask, ssh_key *ret)
{
	struct scout_kept_key *k;
	struct stat st;
	ssh_key key = NULL;
	int err;

	if (!asker() || stat(path, &st))
		return -ENOKEY;
	k = find(s->engine, path);
	if (!k)
		return -ENOKEY;
	for (;;) {
		switch (look(s->engine, k, &st.st_mtim, may_ask, ret)) {
		case TAKE:
			return *ret ? 0 : -ENOKEY;
		case ASK:
			err = ask(s, path, &key);
			*ret = err ? NULL : ssh_key_dup(key);
			answered(s->engine, k, key, !err || err == -ENOKEY);
			return !err && !*ret ? -ENOKEY : err;
		case WAIT:
			err = scout_sftp_wait(s, k->answered_fd, POLLIN, s->deadline_ns);
			if (err)
				return err;
		}
	}
}

int scout_key_load(struct scout_sftp *s, const char *path, bool may_ask, ssh_key *ret)
{
	bool encrypted = false;

	if (!scout_is_plain_file(path))
		return -EINVAL;
	if (ssh_pki_import_privkey_file(path, NULL, no_passphrase, &encrypted, ret) == SSH_OK)
		return 0;
	return encrypted ? unlock(s, path, may_ask, ret) : -EINVAL;
}

void scout_keys_free(struct scout_sftp_engine *e)
{
	struct scout_kept_key *k;

	while ((k = TAILQ_FIRST(&e->keys))) {
		TAILQ_REMOVE(&e->keys, k, link);
		free_kept(k);
	}
}
