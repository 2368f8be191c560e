/* One operation that changes a path, or two, from the request to its answer: change.c has what they
 * share and the simple ones, rename.c and setattr.c the others.
 *
 * A change belongs to one request and goes from thread to thread with its calls, so it needs no lock. */
#ifndef SCOUTFS_HOSTS_CHANGE_H
#define SCOUTFS_HOSTS_CHANGE_H

#include "hosts/narrow.h"
#include "hosts/node.h"
#include "hosts/place.h"

#define SCOUT_CHANGE_CALLS 5

struct scout_change {
	struct scout_req *req;
	const char *what; /* for the log */
	struct scout_place place, place2;
	char *path, *path2; /* of the mount */
	uint64_t deadline_ns;
	struct scout_settle settle;
	struct scout_rpc calls[SCOUT_CHANGE_CALLS];
	unsigned ncalls;
	struct scout_sftp_attrs set[3];
	struct scout_narrow narrow;
	/* of some */
	char *text;                   /* a symlink's target; where a replaced file is put aside */
	struct scout_handle *handle;  /* mknod's */
	struct scout_setattr setattr; /* what is asked for */
	struct scout_outside outside; /* setattr: begun */
	struct scout_sftp_attrs seen; /* setattr: before; rename: of what is replaced */
	unsigned flags;               /* rename's */
	bool links_unsupported;       /* setattr: there is no lsetstat@ */
	bool partly;                  /* setattr: some of it was done in an earlier round */
	int err;                      /* rename: of the attempt that is being undone */
};

/* path2 may be NULL. own: the errno for a directory that the config names; 0: that of a host may be changed,
 * and /hosts itself is -EPERM. NULL: req is done. */
struct scout_change *scout_change_new(struct scout_hosts *all, const char *what, const char *path,
				      const char *path2, int own, struct scout_req *req);
/* Starts anew with a call of op on path, or adds one behind. */
struct scout_rpc *scout_change_first(struct scout_change *c, enum scout_sftp_op op,
				     const char *path);
struct scout_rpc *scout_change_then(struct scout_change *c, enum scout_sftp_op op,
				    const char *path);
/* Sends the calls; done's rpc is c->calls. */
void scout_change_send(struct scout_change *c, void (*done)(struct scout_rpc *rpc, int err));
/* Calls then when no write of ours to the first path is under way any more. */
void scout_change_settle(struct scout_change *c, void (*then)(struct scout_settle *w));
/* Ends it by what is behind the first of its calls that failed, with err. */
void scout_change_failed(struct scout_change *c, int err);
/* Looks why failed, one of its calls, did. */
void scout_change_narrow(struct scout_change *c, const struct scout_rpc *failed,
			 void (*done)(struct scout_narrow *n, int err));
/* Ends it: the answer, and c is gone. res may be NULL for what answers nothing. */
void scout_change_done(struct scout_change *c, int err, const struct scout_result *res);

/* setattr.c */
/* 0, or -EINVAL for a time that SFTP cannot say. */
int scout_setattr_check(const struct scout_setattr *a);
/* SFTP sets both ids or none, and both times: whether the others have to be asked for. */
bool scout_setattr_is_half(const struct scout_setattr *a);
/* What SETSTAT is told, in three steps at most; what a step does not set it has not. seen: the
 * attributes before, for what is half. 0, or -EOPNOTSUPP where the server did not tell the other half. */
int scout_setattr_sets(struct scout_host *host, const struct scout_setattr *a,
		       const struct scout_sftp_attrs *seen, struct scout_sftp_attrs sets[3]);

static inline struct scout_change *scout_change_of(struct scout_rpc *rpc)
{
	return SCOUT_CONTAINER(rpc, struct scout_change, calls[0]);
}

#endif
