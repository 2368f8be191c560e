/* Changing the attributes of a path: a look, the changes and another look in one round trip, so that
 * the kernel learns what the file was right before and became right behind.
 *
 * SETSTAT follows symlinks, and a link may lead out of the host's tree: so lsetstat@ sets all but the
 * size, which only regular files have, or where a server cannot SETSTAT does, behind a look at the
 * type. A root that is a link is meant to be followed: the config says so. The owner goes first, since
 * changing it takes set-id bits away, and the times last, since the size changes them. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "hosts/attr.h"
#include "hosts/change.h"
#include "hosts/file.h"
#include "hosts/root.h"

#define OWNER (SCOUT_SET_UID | SCOUT_SET_GID)
#define TIMES (SCOUT_SET_ATIME | SCOUT_SET_MTIME)
#define CONTENTS (SCOUT_SET_SIZE | SCOUT_SET_MTIME) /* by these a reader tells another file */

static void send_changes(struct scout_change *c);

static bool is_half(unsigned set, unsigned both)
{
	return set & both && (set & both) != both;
}

bool scout_setattr_is_half(const struct scout_setattr *a)
{
	return is_half(a->set, OWNER) || is_half(a->set, TIMES);
}

static bool fits(const struct timespec *t)
{
	return t->tv_sec >= 0 && t->tv_sec <= UINT32_MAX;
}

int scout_setattr_check(const struct scout_setattr *a)
{
	if ((a->set & SCOUT_SET_ATIME && !fits(&a->atime)) ||
	    (a->set & SCOUT_SET_MTIME && !fits(&a->mtime)))
		return -EINVAL;
	return 0;
}

int scout_setattr_sets(struct scout_host *host, const struct scout_setattr *a,
		       const struct scout_sftp_attrs *seen, struct scout_sftp_attrs sets[3])
{
	struct scout_sftp_attrs *owner = &sets[0], *kind = &sets[1], *times = &sets[2];

	if ((is_half(a->set, OWNER) && !(seen->has & SCOUT_SFTP_HAS_OWNER)) ||
	    (is_half(a->set, TIMES) && !(seen->has & SCOUT_SFTP_HAS_TIMES)))
		return -EOPNOTSUPP;
	memset(sets, 0, 3 * sizeof *sets);
	if (a->set & SCOUT_SET_SIZE) {
		kind->has |= SCOUT_SFTP_HAS_SIZE;
		kind->size = a->size;
	}
	if (a->set & SCOUT_SET_MODE) {
		kind->has |= SCOUT_SFTP_HAS_MODE;
		kind->mode = a->mode & 07777;
	}
	if (a->set & OWNER) {
		owner->has |= SCOUT_SFTP_HAS_OWNER;
		owner->uid = a->set & SCOUT_SET_UID ? scout_host_uid(host, a->uid) : seen->uid;
		owner->gid = a->set & SCOUT_SET_GID ? scout_host_gid(host, a->gid) : seen->gid;
	}
	if (!(a->set & TIMES))
		return 0;
	if (!kind->has && owner->has)
		times = owner;
	times->has |= SCOUT_SFTP_HAS_TIMES;
	times->atime = a->set & SCOUT_SET_ATIME ? (uint32_t)a->atime.tv_sec : seen->atime;
	times->mtime = a->set & SCOUT_SET_MTIME ? (uint32_t)a->mtime.tv_sec : seen->mtime;
	return 0;
}

static bool is_root(const struct scout_change *c)
{
	return !*c->place.inside;
}

static enum scout_sftp_op look_of(const struct scout_change *c)
{
	return is_root(c) ? SCOUT_SFTP_STAT : SCOUT_SFTP_LSTAT;
}

static void add(struct scout_change *c, enum scout_sftp_op op, const struct scout_sftp_attrs *set)
{
	if (op == SCOUT_SFTP_LSETSTAT && (c->links_unsupported || is_root(c)))
		op = SCOUT_SFTP_SETSTAT;
	if (set->has)
		scout_change_then(c, op, c->place.remote)->call.set = set;
}

/* Whether SETSTAT can do what lsetstat@ could not: the server has no such word, or no way to set a mode
 * by it (OpenSSH's where there is no /proc). */
static bool is_worth_another(const struct scout_rpc *rpc)
{
	if (rpc->call.op != SCOUT_SFTP_LSETSTAT)
		return false;
	return rpc->err == -EOPNOTSUPP ||
	       (rpc->err == -EIO && rpc->call.set->has & SCOUT_SFTP_HAS_MODE &&
		rpc->call.status == SCOUT_SFTP_STATUS_FAILURE);
}

static unsigned what_is_set(const struct scout_sftp_attrs *set)
{
	return (set->has & SCOUT_SFTP_HAS_SIZE ? SCOUT_SET_SIZE : 0) |
	       (set->has & SCOUT_SFTP_HAS_MODE ? SCOUT_SET_MODE : 0) |
	       (set->has & SCOUT_SFTP_HAS_OWNER ? OWNER : 0) |
	       (set->has & SCOUT_SFTP_HAS_TIMES ? TIMES : 0);
}

/* What was begun, if anything was. In the second round the look before the first is that before the change. */
static void end(struct scout_change *c, bool done)
{
	const struct scout_sftp_attrs *before = &c->calls[0].call.attrs;

	if (c->links_unsupported)
		before = &c->seen;
	if (!c->outside.node)
		return;
	for (unsigned i = 0; i < c->ncalls; i++)
		if (c->calls[i].unknown)
			scout_node_doubt(c->outside.node);
	scout_node_end(&c->outside, c->place.remote, done ? before : NULL,
		       done ? &c->calls[c->ncalls - 1].call.attrs : NULL);
}

/* Once more without lsetstat@, what is not done yet, unless it is a link: true. */
static bool go_without(struct scout_change *c, int err)
{
	bool another = false;

	if (c->links_unsupported || c->calls[0].err)
		return false;
	for (unsigned i = 1; i < c->ncalls - 1; i++)
		another |= c->calls[i].err == err && is_worth_another(&c->calls[i]);
	if (!another)
		return false;
	c->seen = c->calls[0].call.attrs;
	c->links_unsupported = true;
	if (c->seen.has & SCOUT_SFTP_HAS_MODE && S_ISLNK(c->seen.mode)) {
		end(c, false);
		scout_change_done(c, -EOPNOTSUPP, NULL);
		return true;
	}
	for (unsigned i = 1; i < c->ncalls - 1; i++) {
		if (c->calls[i].err)
			continue;
		c->setattr.set &= ~what_is_set(c->calls[i].call.set);
		c->partly = true;
	}
	send_changes(c);
	return true;
}

static void changed(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);
	struct scout_result res = {.ttl_ms = scout_host_ttl_ms(rpc->host)};
	struct scout_attr before;

	if (err && go_without(c, err))
		return;
	end(c, !err);
	if (err) {
		scout_change_failed(c, err);
		return;
	}
	scout_attr_map(&rpc->call.attrs, &before);
	scout_host_attr(rpc->host, &c->calls[c->ncalls - 1].call.attrs, &res.changed.attr);
	res.changed.was = c->partly ? 0 : before.version;
	if (is_root(c))
		scout_root_changed(rpc->host, &res.changed.attr);
	scout_change_done(c, 0, &res);
}

static void send_changes(struct scout_change *c)
{
	int err = scout_setattr_sets(c->place.host, &c->setattr, &c->seen, c->set);

	if (!err && c->setattr.set & CONTENTS && !c->outside.node)
		err = scout_node_begin(c->place.host, c->place.remote, &c->outside);
	if (err) {
		end(c, false);
		scout_rpc_log(&c->calls[0], c->what, c->place.remote, err);
		scout_change_done(c, err, NULL);
		return;
	}
	scout_change_first(c, look_of(c), c->place.remote);
	add(c, SCOUT_SFTP_LSETSTAT, &c->set[0]);
	add(c, c->setattr.set & SCOUT_SET_SIZE ? SCOUT_SFTP_SETSTAT : SCOUT_SFTP_LSETSTAT,
	    &c->set[1]);
	add(c, SCOUT_SFTP_LSETSTAT, &c->set[2]);
	scout_change_then(c, look_of(c), c->place.remote);
	scout_change_send(c, changed);
}

static void looked(struct scout_rpc *rpc, int err)
{
	struct scout_change *c = scout_change_of(rpc);

	if (err) {
		scout_change_failed(c, err);
		return;
	}
	c->seen = rpc->call.attrs;
	send_changes(c);
}

static void settled(struct scout_settle *w)
{
	struct scout_change *c = SCOUT_CONTAINER(w, struct scout_change, settle);

	if (!scout_setattr_is_half(&c->setattr)) {
		send_changes(c);
		return;
	}
	scout_change_first(c, look_of(c), c->place.remote);
	scout_change_send(c, looked);
}

void scout_hosts_setattr(void *self, const char *path, void *handle,
			 const struct scout_setattr *change, struct scout_req *req)
{
	struct scout_change *c;
	int err = scout_setattr_check(change);

	if (err) {
		scout_req_done(req, err, NULL);
		return;
	}
	/* Cutting a file goes in the order of its writes; and one without a name has but its handle. */
	if (handle && (!path || scout_file_nameless(handle) || change->set & SCOUT_SET_SIZE)) {
		scout_file_setattr(handle, change, req);
		return;
	}
	c = scout_change_new(self, "setattr", path, NULL, 0, req);
	if (!c)
		return;
	c->setattr = *change;
	scout_change_settle(c, settled);
}
