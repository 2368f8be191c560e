/* Which machine a host's sessions go to; see peer.h. Its lock is a leaf, and nobody asks anybody under it. */
#include "sftp/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scoutfs/config.h"
#include "sftp/settings.h"

struct scout_sftp_peer *scout_sftp_peer_new(void)
{
	struct scout_sftp_peer *p = calloc(1, sizeof(*p));

	if (p)
		scout_mutex_init(&p->lock, SCOUT_LOCK_LEAF);
	return p;
}

void scout_sftp_peer_free(struct scout_sftp_peer *p)
{
	if (!p)
		return;
	scout_mutex_destroy(&p->lock);
	free(p->answer);
	free(p);
}

bool scout_sftp_peer_join(struct scout_sftp_peer *p, char **own, const char **answer)
{
	bool joined;

	scout_lock(&p->lock);
	joined = p->sessions || own;
	if (joined && p->sessions++ == 0) {
		p->answer = *own;
		*own = NULL;
	}
	*answer = joined ? p->answer : NULL;
	scout_unlock(&p->lock);
	return joined;
}

void scout_sftp_peer_leave(struct scout_sftp_peer *p)
{
	char *answer = NULL;

	scout_lock(&p->lock);
	if (--p->sessions == 0) {
		answer = p->answer;
		p->answer = NULL;
		p->len = 0;
	}
	scout_unlock(&p->lock);
	free(answer);
}

void scout_sftp_peer_keep(struct scout_sftp_peer *p)
{
	scout_lock(&p->lock);
	p->sessions += p->sessions > 0; /* one that never leaves */
	scout_unlock(&p->lock);
}

bool scout_sftp_peer_address(struct scout_sftp_peer *p, struct sockaddr_storage *ret,
			     socklen_t *len)
{
	scout_lock(&p->lock);
	*len = p->len;
	memcpy(ret, &p->address, p->len);
	scout_unlock(&p->lock);
	return *len > 0;
}

bool scout_sftp_peer_reached(struct scout_sftp_peer *p, const struct sockaddr_storage *address,
			     socklen_t len)
{
	bool same;

	scout_lock(&p->lock);
	if (!p->len) {
		memcpy(&p->address, address, len);
		p->len = len;
	}
	same = p->len == len && memcmp(&p->address, address, len) == 0;
	scout_unlock(&p->lock);
	return same;
}

/* A copy of the answer by which sessions go. Returns 1, 0 where there are none, or -ENOMEM. */
static int current(struct scout_sftp_peer *p, char **ret)
{
	int there;

	scout_lock(&p->lock);
	there = p->sessions > 0;
	*ret = there && p->answer ? strdup(p->answer) : NULL;
	if (there && p->answer && !*ret)
		there = -ENOMEM;
	scout_unlock(&p->lock);
	return there;
}

int scout_sftp_peer_moved(struct scout_sftp_peer *p, const struct scout_host_config *host,
			  uint64_t deadline_ns)
{
	bool has = host->ssh_config && !access(host->ssh_config, F_OK);
	struct scout_args args = {0};
	char *before, *now = NULL;
	int there = current(p, &before), moved;

	if (there <= 0)
		return there ? -EAGAIN : 0;
	if (has) {
		scout_settings_query(host, &args);
		now = scout_settings_ask(&args, scout_settings_shell(host), deadline_ns);
		scout_args_free(&args);
	}
	if (has && !now)
		moved = -EAGAIN;
	else
		moved = !before != !now || (now && strcmp(before, now) != 0);
	free(before);
	free(now);
	return moved;
}
