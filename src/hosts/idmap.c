/* Whose files are whose, here and on the host: numbers both ways, as the config's idmap says, and the
 * names of whom we are there, for people.
 *
 * Whom we log in as comes with each session; it is kept in one atomic word, since attributes are
 * mapped with any lock held. The names are asked for once, after a session came up, and nobody waits
 * for them; they are under host->lock. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hosts/attr.h"
#include "hosts/hosts.h"
#include "hosts/idmap.h"

#define UNKNOWN UINT64_MAX

struct who {
	struct scout_rpc rpc;
	struct scout_sftp_attrs ids;
};

static uint32_t map_id(uint32_t id, uint32_t from, uint32_t to)
{
	return id == from ? to : id;
}

void scout_host_attr(struct scout_host *host, const struct scout_sftp_attrs *remote,
		     struct scout_attr *ret)
{
	const struct scout_host_config *config = host->config;
	uint64_t self = atomic_load_explicit(&host->self, memory_order_relaxed);

	scout_attr_map(remote, ret);
	if (config->idmap == SCOUT_IDMAP_FILE) {
		ret->uid = scout_id_map_local(config->uids, ret->uid);
		ret->gid = scout_id_map_local(config->gids, ret->gid);
	} else if (config->idmap == SCOUT_IDMAP_USER && self != UNKNOWN) {
		ret->uid = map_id(ret->uid, (uint32_t)(self >> 32), getuid());
		ret->gid = map_id(ret->gid, (uint32_t)self, getgid());
	}
}

uint32_t scout_host_uid(struct scout_host *host, uid_t uid)
{
	uint64_t self = atomic_load_explicit(&host->self, memory_order_relaxed);

	if (host->config->idmap == SCOUT_IDMAP_FILE)
		return scout_id_map_remote(host->config->uids, uid);
	if (host->config->idmap == SCOUT_IDMAP_USER && self != UNKNOWN)
		return map_id(uid, getuid(), (uint32_t)(self >> 32));
	return uid;
}

uint32_t scout_host_gid(struct scout_host *host, gid_t gid)
{
	uint64_t self = atomic_load_explicit(&host->self, memory_order_relaxed);

	if (host->config->idmap == SCOUT_IDMAP_FILE)
		return scout_id_map_remote(host->config->gids, gid);
	if (host->config->idmap == SCOUT_IDMAP_USER && self != UNKNOWN)
		return map_id(gid, getgid(), (uint32_t)self);
	return gid;
}

void scout_idmap_init(struct scout_host *host)
{
	atomic_init(&host->self, UNKNOWN);
}

void scout_idmap_logged_in_locked(struct scout_host *host, const struct scout_sftp_server *server)
{
	uint64_t self = server->knows_self ? (uint64_t)server->uid << 32 | server->gid : UNKNOWN;

	if (atomic_exchange_explicit(&host->self, self, memory_order_relaxed) == self)
		return;
	host->named = false;
	host->login[0] = host->group[0] = '\0';
}

static void named(struct scout_rpc *rpc, int err)
{
	struct who *w = SCOUT_CONTAINER(rpc, struct who, rpc);
	struct scout_host *host = rpc->host;

	scout_lock(&host->lock);
	if (err) {
		host->named = false; /* the next session's turn */
	} else if (rpc->call.names_count == 2) {
		(void)scout_format_name(host->login, sizeof host->login, rpc->call.names[0].name);
		(void)scout_format_name(host->group, sizeof host->group, rpc->call.names[1].name);
	}
	scout_unlock(&host->lock);
	free(w);
}

void scout_idmap_ask_names(struct scout_host *host)
{
	struct who *w = calloc(1, sizeof *w);
	const uint32_t offered = SCOUT_SFTP_EXT(SCOUT_SFTP_USERS_GROUPS);
	bool mine = false;

	if (!w)
		return;
	scout_lock(&host->lock);
	if (host->server.knows_self && host->server.extensions & offered && !host->named) {
		mine = host->named = true;
		w->ids.uid = host->server.uid;
		w->ids.gid = host->server.gid;
	}
	scout_unlock(&host->lock);
	if (!mine) {
		free(w);
		return;
	}
	w->rpc.call.op = SCOUT_SFTP_USERS_GROUPS;
	w->rpc.call.set = &w->ids;
	w->rpc.host = host;
	w->rpc.done = named;
	scout_rpc_send(&w->rpc);
}

static void say_one(struct scout_text *out, const char *what, const char *name, uint32_t id)
{
	if (*name)
		scout_text_printf(out, "%s %s (%u)", what, name, id);
	else
		scout_text_printf(out, "%s %u", what, id);
}

void scout_idmap_detail(struct scout_host *host, struct scout_text *out)
{
	char login[sizeof host->login], group[sizeof host->group];
	struct scout_sftp_server server;

	scout_lock(&host->lock);
	server = host->server;
	memcpy(login, host->login, sizeof login);
	memcpy(group, host->group, sizeof group);
	scout_unlock(&host->lock);
	if (!server.knows_self)
		return;
	say_one(out, "logged in as", login, server.uid);
	say_one(out, ", group", group, server.gid);
	scout_text_append(out, "\n", 1);
}
