/* The SFTP engine: one SSH session is one thread, which alone touches its libssh handles, and any
 * number of SFTP version 3 requests are in flight on it at once (draft-ietf-secsh-filexfer-02, and
 * the extensions of OpenSSH's PROTOCOL file, section 4).
 *
 * A session connects, verifies the host key, authenticates, starts the sftp subsystem, works, and
 * ends; it never reconnects, which is the pool's business. The remote is not believed: a malformed
 * packet, a length out of bounds or an unknown request id ends the session with -EIO. */
#ifndef SCOUTFS_SFTP_H
#define SCOUTFS_SFTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/statvfs.h>

struct scout_config;
struct scout_host_config;
struct scout_sftp;
struct scout_sftp_call;

/* Attributes as the server told them; what it did not tell is absent from has. */
#define SCOUT_SFTP_HAS_SIZE 1u
#define SCOUT_SFTP_HAS_OWNER 2u
#define SCOUT_SFTP_HAS_MODE 4u
#define SCOUT_SFTP_HAS_TIMES 8u
struct scout_sftp_attrs {
	uint32_t has;
	uint64_t size;
	uint32_t uid, gid;
	uint32_t mode;         /* st_mode, with the type */
	uint32_t atime, mtime; /* seconds since 1970, unsigned as on the wire */
};

/* A remote file or directory handle: opaque bytes that only the session which opened it knows. */
#define SCOUT_SFTP_HANDLE_MAX 256
struct scout_sftp_handle {
	uint32_t len;
	uint8_t bytes[SCOUT_SFTP_HANDLE_MAX];
};

/* One entry of a READDIR answer; the long name of the protocol is dropped. */
struct scout_sftp_name {
	const char *name; /* any bytes but NUL; the caller checks for '/', "." and ".." */
	struct scout_sftp_attrs attrs;
};

enum scout_sftp_op {
	SCOUT_SFTP_LSTAT,    /* path -> attrs */
	SCOUT_SFTP_STAT,     /* path -> attrs */
	SCOUT_SFTP_FSTAT,    /* handle -> attrs */
	SCOUT_SFTP_READLINK, /* path -> names[0] */
	SCOUT_SFTP_OPEN,     /* path, flags, set (mode, with CREAT; may be NULL) -> new_handle */
	SCOUT_SFTP_READ,     /* handle, offset, length, dest -> got */
	SCOUT_SFTP_CLOSE,    /* handle */
	SCOUT_SFTP_OPENDIR,  /* path -> new_handle */
	SCOUT_SFTP_READDIR,  /* handle -> names */
	SCOUT_SFTP_REALPATH, /* path -> names[0] */

	/* These modify; OPEN does with flags that say so. */
	SCOUT_SFTP_WRITE,    /* handle, offset, length, src */
	SCOUT_SFTP_SETSTAT,  /* path, set */
	SCOUT_SFTP_FSETSTAT, /* handle, set */
	SCOUT_SFTP_MKDIR,    /* path, set (mode) */
	SCOUT_SFTP_RMDIR,    /* path */
	SCOUT_SFTP_REMOVE,   /* path */
	SCOUT_SFTP_RENAME,   /* path, path2: fails when path2 is there */
	SCOUT_SFTP_SYMLINK,  /* path is made, to lead to path2 (in OpenSSH's order on the wire) */

	/* Extensions: -EOPNOTSUPP without being sent when the server does not offer them. */
	SCOUT_SFTP_POSIX_RENAME, /* path, path2, which is replaced */
	SCOUT_SFTP_HARDLINK,     /* path is there, path2 is made */
	SCOUT_SFTP_FSYNC,        /* handle */
	SCOUT_SFTP_STATVFS,      /* path -> space */
	SCOUT_SFTP_LSETSTAT,     /* path, set: of a symlink itself */
	SCOUT_SFTP_COPY_DATA,    /* handle, offset, length64 (0: to the end), handle2, offset2 */
	SCOUT_SFTP_USERS_GROUPS, /* set->uid, set->gid -> names[0], names[1], "" when not known */
	SCOUT_SFTP_OPS
};

/* OPEN's flags (draft, section 6.3). */
#define SCOUT_SFTP_FLAG_READ 1u
#define SCOUT_SFTP_FLAG_WRITE 2u
#define SCOUT_SFTP_FLAG_APPEND 4u
#define SCOUT_SFTP_FLAG_CREAT 8u
#define SCOUT_SFTP_FLAG_TRUNC 16u
#define SCOUT_SFTP_FLAG_EXCL 32u

/* call->status: the server's own word (section 7), or NONE when the answer was no status. */
#define SCOUT_SFTP_STATUS_FAILURE 4u
#define SCOUT_SFTP_STATUS_NONE UINT32_MAX

/* Bits of scout_sftp_server.extensions. */
#define SCOUT_SFTP_EXT(op) (1u << ((op)-SCOUT_SFTP_POSIX_RENAME))

/* One request, embedded in the caller's own struct, which lives until done is called. */
struct scout_sftp_call {
	/* set by the caller, unchanged until done */
	enum scout_sftp_op op;
	const char *path;
	const struct scout_sftp_handle *handle;
	uint64_t offset;
	uint32_t length; /* READ: at most server.read_bytes */
	void *dest;      /* READ: length bytes, written by the session's thread until done */
	const void *src; /* WRITE: length bytes, at most server.write_bytes; unchanged until done */
	uint32_t flags;
	const char *path2;
	const struct scout_sftp_attrs *set; /* only what its has names */
	const struct scout_sftp_handle *handle2;
	uint64_t offset2, length64;
	bool behind_reads; /* it is to leave after the READs that were submitted before it */
	/* On the session's thread, with no lock held, in the order of the answers. err: 0; an errno
	 * made from the status (SSH_FX_EOF of READ is 0 with got == 0; of READDIR 0 with names_count
	 * == 0; of COPY_DATA 0: the source ended); -EIO for a malformed answer; -ECONNRESET when the
	 * session ended before the answer came, so that nobody knows whether the server did it, unless
	 * sent_ns is 0: then it never left. */
	void (*done)(struct scout_sftp_call *call, int err);

	/* the answer, valid during done (new_handle and attrs stay) */
	struct scout_sftp_attrs attrs;
	struct scout_sftp_handle new_handle;
	const struct scout_sftp_name *names;
	size_t names_count;
	uint32_t got;
	uint32_t status;
	struct statvfs
	    space; /* f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, …, f_namemax */
	uint64_t sent_ns; /* when it went out, 0: it did not */

	/* the engine's own */
	TAILQ_ENTRY(scout_sftp_call) link;
	uint32_t id;
	uint64_t among_bytes; /* READ: in flight when it left, with its own */
};

/* What a server said of itself when the session came up. */
struct scout_sftp_server {
	uint32_t read_bytes;   /* the largest READ length: limits@openssh.com, else 32768 */
	uint32_t write_bytes;  /* the largest WRITE length, likewise */
	unsigned open_handles; /* 0: not told */
	uint32_t extensions;   /* SCOUT_SFTP_EXT(op) of those it offers */
	bool knows_self;       /* the owner of its starting directory: whom we logged in as */
	uint32_t uid, gid;     /* of that */
};

/* Both are called on the session's thread with no lock held. */
struct scout_sftp_events {
	/* The session is ready for calls. connect_ns: how long the whole connect took. */
	void (*up)(void *arg, const struct scout_sftp_server *server, uint64_t connect_ns);
	/* The session is over (or never came up): the last callback, exactly once, after every call
	 * was completed. err is 0 after scout_sftp_stop, else of the table of errors: -EHOSTUNREACH,
	 * -ECONNREFUSED, -ETIMEDOUT, -EMFILE, -ENFILE, -ENOMEM, -ENOKEY, -EKEYREJECTED, -EACCES,
	 * -ECONNRESET, -EIO. reason is one sentence for a person ("host key unknown: no key of 10.0.0.7
	 * in /home/u/.ssh/known_hosts"). */
	void (*down)(void *arg, int err, const char *reason);
};

/* What all sessions share: the thread that ends what passed its deadline, resolver state. */
struct scout_sftp_engine;
int scout_sftp_engine_new(struct scout_sftp_engine **ret);
void scout_sftp_engine_free(struct scout_sftp_engine *e); /* every session joined; NULL is fine */

/* What the sessions of one host share: they go by what ssh_config said to the first of them, and to the
 * address that it found, until none is left. new: NULL without memory; free: every session joined; NULL
 * is fine. */
struct scout_sftp_peer;
struct scout_sftp_peer *scout_sftp_peer_new(void);
void scout_sftp_peer_free(struct scout_sftp_peer *p);
/* Where its sessions are it stays for good, also when none is left. Any thread. */
void scout_sftp_peer_keep(struct scout_sftp_peer *p);
/* Whether ssh_config says something else of host by now than its sessions go by. Runs ssh -G, until the
 * deadline; 0 at once where there are no sessions. Returns 1, 0, or -EAGAIN: not known, since ssh did not
 * say or there is no memory. */
int scout_sftp_peer_moved(struct scout_sftp_peer *p, const struct scout_host_config *host,
			  uint64_t deadline_ns);

/* Starts a session's thread, which connects within host->connect_timeout_ns: name resolution, TCP or
 * proxy, key exchange, host key, authentication, subsystem and INIT all together. host, events, arg and
 * peer, which is the host's, are borrowed until the join. Never blocks. Returns 0 or -errno (no thread,
 * no memory). */
int scout_sftp_start(struct scout_sftp_engine *e, const struct scout_host_config *host,
		     const struct scout_sftp_events *events, void *arg,
		     struct scout_sftp_peer *peer, struct scout_sftp **ret);

/* Sends a call. Any thread, never blocks, at any time after start (before up it waits in the queue).
 * 0: done will be called, once. -ENOTCONN: the session is over and done will not be called.
 * A session on which calls wait, and from which for host->request_timeout_ns neither an answer, nor a good
 * part of one, nor a sign came that it takes what is written, ends with -ETIMEDOUT; so does one whose
 * keepalive got no answer. */
int scout_sftp_submit(struct scout_sftp *s, struct scout_sftp_call *call);

/* Asks the session to end soon; any thread (also in callbacks), never blocks, more than once is fine. */
void scout_sftp_stop(struct scout_sftp *s);
/* Waits for the thread (at most seconds after stop) and frees. Not from the session's own thread. */
void scout_sftp_join(struct scout_sftp *s);

/* Comment lines for --check: what ssh_config asks for and is not done, each with a host for an example.
 * Runs ssh -G for at most 200 hosts and 10 s; connects nowhere. */
void scout_sftp_check_config(const struct scout_config *config, FILE *out);

/* Totals over all sessions, for metrics. */
struct scout_sftp_stats {
	uint64_t requests, bytes_in, bytes_out;
};
void scout_sftp_stats(struct scout_sftp_engine *e, struct scout_sftp_stats *ret);

#endif
