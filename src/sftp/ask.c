/* What the user's own ssh makes of ssh_config for a host, by `ssh -G`, which connects nowhere; and the
 * commands that are run for their output. The session's thread only; what ssh does without any
 * ssh_config is asked once and kept at the engine, under its lock. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scoutfs/config.h"
#include "scoutfs/text.h"
#include "sftp/answer.h"
#include "sftp/proxy.h"
#include "sftp/session.h"
#include "sftp/settings.h"

/* Reads all that fd gives until it ends. 0 or -errno. */
static int read_all(struct scout_sftp *s, int fd, size_t most, struct scout_text *text)
{
	char buf[4096];
	ssize_t n;
	int err;

	for (;;) {
		err = scout_sftp_wait(s, fd, POLLIN, s->deadline_ns);
		if (err)
			return err;
		n = read(fd, buf, sizeof(buf));
		if (n == 0)
			return text->failed ? -ENOMEM : 0;
		if (n < 0)
			return -errno;
		if (text->len + (size_t)n > most)
			err = -E2BIG;
		else
			scout_text_append(text, buf, (size_t)n);
		explicit_bzero(buf, (size_t)n); /* it may be a passphrase */
		if (err)
			return err;
	}
}

int scout_sftp_run(struct scout_sftp *s, struct scout_args *args, const char *shell, size_t most,
		   struct scout_text *out, char complaint[160])
{
	struct scout_child child = {0};
	bool well;
	int fd, err;

	complaint[0] = '\0';
	err = args->err ? args->err : scout_child_start(&child, args->argv, shell, &fd);
	if (err)
		return err;
	(void)shutdown(fd, SHUT_WR); /* nothing is said to it */
	err = read_all(s, fd, most, out);
	close(fd);
	if (!err)
		scout_child_wait(&child, SCOUT_ANSWER_GRACE_MS);
	well = scout_child_end(&child, SCOUT_ANSWER_GRACE_MS, complaint, 160);
	return err ? err : well ? 0 : -ECHILD;
}

/* What ssh does by default, which lives as long as the engine; NULL when it cannot be had. */
static const char *defaults(struct scout_sftp *s)
{
	struct scout_sftp_engine *e = s->engine;
	struct scout_args args = {0};
	struct scout_text text = {0};
	const char *known;
	char complaint[160];

	scout_lock(&e->lock);
	known = e->ssh_defaults;
	scout_unlock(&e->lock);
	if (known)
		return known;
	scout_settings_query_defaults(&args);
	if (!scout_sftp_run(s, &args, "/bin/false", SCOUT_ANSWER_MAX, &text, complaint) &&
	    text.str) {
		scout_lock(&e->lock);
		if (!e->ssh_defaults)
			e->ssh_defaults = scout_text_take(&text);
		known = e->ssh_defaults;
		scout_unlock(&e->lock);
	}
	scout_text_free(&text);
	scout_args_free(&args);
	return known;
}

/* Asks ssh, which args is of, and gives what it printed; frees args. */
static int ask_ssh(struct scout_sftp *s, struct scout_args *args, struct scout_text *answer)
{
	char complaint[160] = "";
	int err;

	err = scout_sftp_run(s, args, scout_settings_shell(s->host), SCOUT_ANSWER_MAX, answer,
			     complaint);
	scout_args_free(args);
	if (err == -ETIMEDOUT || err == -ECANCELED)
		return scout_sftp_fail(s, err, "reading %s took too long", s->host->ssh_config);
	if (err || !answer->str)
		return scout_sftp_fail(s, err == -EMFILE || err == -ENFILE ? err : -EIO,
				       "ssh cannot read %s: %s", s->host->ssh_config,
				       complaint[0] ? complaint : strerror(err ? -err : EIO));
	return 0;
}

static bool has_ssh_config(const struct scout_sftp *s)
{
	return s->host->ssh_config && !access(s->host->ssh_config, F_OK);
}

int scout_sftp_load_settings(struct scout_sftp *s)
{
	struct scout_text answer = {0};
	struct scout_args args = {0};
	const char *usual = NULL, *text;
	char *own = NULL;
	int err = 0;

	if (s->host->name[0] == '-' || (s->host->alias && s->host->alias[0] == '-'))
		return scout_sftp_fail(s, -EHOSTUNREACH, "a host's name cannot begin with '-'");
	s->joined = scout_sftp_peer_join(s->peer, NULL, &text);
	if (text || has_ssh_config(s))
		usual = defaults(s);
	if (!s->joined && has_ssh_config(s)) {
		scout_settings_query(s->host, &args);
		err = ask_ssh(s, &args, &answer);
	}
	if (!s->joined && !err) {
		own = answer.str; /* NULL: no ssh_config */
		answer.str = NULL;
		s->joined = scout_sftp_peer_join(s->peer, &own, &text);
		free(own); /* others were there first */
	}
	if (!err) {
		err = scout_settings_load(s->host, text, usual, &s->settings);
		if (err)
			scout_sftp_fail(s, err == -EINVAL ? -EHOSTUNREACH : err,
					"its host name, user or port is not usable");
	}
	scout_text_free(&answer);
	return err;
}

/* What ssh_config says of the hop; whether that leads through others is told by *before. */
static int ask_hop(struct scout_sftp *s, struct scout_hop *hop, char **before)
{
	struct scout_text answer = {0};
	struct scout_args args = {0};
	const char *jump = NULL;
	struct scout_answer a;
	int err;

	scout_hop_query(s->host, hop, &args);
	err = ask_ssh(s, &args, &answer);
	if (!err)
		err = scout_answer_parse(&a, answer.str, defaults(s));
	if (!err) {
		jump = scout_answer_said(&a, "proxyjump");
		hop->answer = scout_text_take(&answer);
		*before = jump ? strdup(jump) : NULL;
		err = !hop->answer || (jump && !*before) ? -ENOMEM : 0;
		scout_answer_free(&a);
	}
	scout_text_free(&answer);
	return err;
}

/* Settles what is known of each hop; the first may lead through others, in front of which there may be
 * more. */
static int ask_hops(struct scout_sftp *s, struct scout_hops *hops)
{
	char *before = NULL;
	int err = 0;

	for (size_t i = hops->count; i-- > 0 && !err;) {
		free(before);
		before = NULL;
		err = ask_hop(s, &hops->hop[i], &before);
		if (!err && i == 0 && before) {
			size_t known = hops->count;

			err = scout_hops_prepend(hops, before);
			i = err ? 0 : hops->count - known;
		}
	}
	free(before);
	return err;
}

int scout_sftp_proxy(struct scout_sftp *s, unsigned seconds, struct scout_args *args)
{
	struct scout_hops hops = {0};
	int err = 0;

	if (s->settings.proxy_jump)
		err = scout_hops_prepend(&hops, s->settings.proxy_jump);
	if (!err && has_ssh_config(s))
		err = ask_hops(s, &hops);
	if (!err)
		err = scout_settings_proxy(s->host, &s->settings, &hops,
					   has_ssh_config(s) ? defaults(s) : NULL, seconds, args);
	scout_hops_free(&hops);
	if (err)
		scout_sftp_fail(
		    s, err == -ENOMEM ? err : -EHOSTUNREACH,
		    "proxy_jump is not a list of [user@]host[:port], or too long a way");
	return err;
}
