/* What goes to the server for one remote file, in its order: writes, changes of its attributes, looks
 * and fsyncs by handle, each a turn in its node's queue.
 *
 * A turn goes out when each before it was answered, or went out on the same session, where the server
 * keeps the order (draft-ietf-secsh-filexfer-02, section 6.1), or is a write of other bytes, so that
 * their order is of no matter: such writes go over several sessions (stripe.h). Turns end in their
 * order: so whoever waits for one waits for all before it.
 *
 * Private to node.c, turn.c, write.c, sync.c, and the files of file.h. */
#ifndef SCOUTFS_HOSTS_TURN_H
#define SCOUTFS_HOSTS_TURN_H

#include "hosts/hosts.h"
#include "hosts/node.h"
#include "hosts/window.h"

#define SCOUT_WRITE_BEHIND_MAX \
	((size_t)16 << 20) /* of one file, and for each stripe of a far one: */
#define SCOUT_WRITE_BEHIND_STRIPE ((size_t)5 << 20)
#define SCOUT_WRITE_BEHIND_MIN ((size_t)512 << 10)
#define SCOUT_WRITE_BEHIND_START ((size_t)1 << 20) /* until it is known how fast the link is */

struct scout_file;
struct scout_turn;
TAILQ_HEAD(scout_turns, scout_turn);

struct scout_node {
	struct scout_host *host;       /* immutable */
	char *path;                    /* changes under host->lock and lock; read under either */
	UT_hash_handle hh;             /* host->nodes, under host->lock, until gone */
	unsigned refs;                 /* under host->lock */
	struct scout_node *next_moved; /* under host->lock, during a rename */

	/* What changes under lock and is read without. */
	_Atomic uint64_t
	    epoch;            /* of our changes: each counts when it was taken and when it ended */
	_Atomic uint64_t cut; /* of those after which only the server can tell the size */
	atomic_size_t appending; /* bytes to be appended, in writes */
	atomic_uint unanswered;  /* writes and changes in turns */
	atomic_uint outside;     /* changes otherwise: by path, and cuts by opening */
	atomic_bool gone;        /* its path is another file's, or nobody's */

	/* Until then a change whose session was lost may still arrive: 0, or when that was and more. */
	_Atomic uint64_t doubt_ns;

	struct scout_mutex lock;
	/* under lock, all of it */
	struct scout_turns turns;
	struct scout_turn *tail; /* the last one, a write that still gathers bytes */
	unsigned sent;           /* turns; on which handle, each of them knows */
	size_t bytes, limit;     /* in writes; how many there may be */
	uint64_t seq;
	bool running, again; /* somebody sends just now; and is to look once more */
	TAILQ_HEAD(scout_settles, scout_settle) settling;
	TAILQ_HEAD(, scout_waiting) waiting; /* writes for which there was no room */
	TAILQ_HEAD(, scout_file) files;
	unsigned writers; /* of these */
	uint64_t end;     /* of what was written, since cut */
	uint64_t took_ns; /* from sending a write to its end, the last time */
	/* What the file on the server may be, to know it again: the size lies between the two. */
	bool known;
	uint64_t size_min, size_max, mtime;
	struct scout_told told; /* what the last look told one of files */
	/* As we left it: what the first look behind our last change showed, which made that epoch; 0: none did. */
	uint64_t left_epoch, left_size, left_mtime;
};

enum scout_turn_state { SCOUT_TURN_READY, SCOUT_TURN_SENT, SCOUT_TURN_ENDED };

struct scout_turn_ops {
	bool modifies; /* readers wait for it, and are told that the file changed */
	bool alone;    /* nothing is on its way beside it */
	/* Whether it may be on its way beside u, which was added before and is of its kind, on another
	 * session, under node->lock. NULL: it may not, and goes out on its file's own handle only. */
	bool (*apart)(const struct scout_turn *t, const struct scout_turn *u);
	/* Fills in the calls by scout_turn_call, under node->lock. */
	void (*prepare)(struct scout_turn *t);
	/* All calls are answered, by what t->calls say. True: it sent more and will call
	 * scout_turn_answered. No lock held. May be NULL. */
	bool (*more)(struct scout_turn *t);
	/* The session was lost, under node->lock. left: some call may have reached the server. True:
	 * it is to be sent again; false: it ended, with t->err. */
	bool (*lost_locked)(struct scout_turn *t, bool left);
	/* It ended, and so did all before it, under node->lock. */
	void (*ended_locked)(struct scout_turn *t);
	/* And is out of the queue: completes its request and frees it. No lock held. */
	void (*over)(struct scout_turn *t);
};

struct scout_turn {
	const struct scout_turn_ops *ops;
	struct scout_file *file; /* with a reference */
	uint64_t seq;
	TAILQ_ENTRY(scout_turn) link; /* node->turns, or of a list being worked on */
	/* under node->lock, but for who sends it */
	enum scout_turn_state state;
	struct scout_handle *handle; /* while sent, with a reference */
	unsigned attempts;
	int err;
	bool last; /* of a file that was released */
	uint64_t sent_ns;
	size_t bytes;             /* of the file's contents, in its calls */
	struct scout_rpc calls[]; /* one behind the other */
};

/* node.c */
/* The node of path, with a reference; NULL: no memory. */
struct scout_node *scout_node_get(struct scout_host *host, const char *path);
void scout_node_put(struct scout_node *n);
/* Whether path leads to n. */
bool scout_node_has_name_locked(const struct scout_node *n, const char *path);
/* Its path, which the caller frees; NULL when it has none any more, or no memory. */
char *scout_node_path(struct scout_node *n);
/* As scout_node_settle. */
bool scout_node_wait(struct scout_node *n, struct scout_settle *w);
struct scout_view scout_node_view(struct scout_node *n);
void scout_node_cut_locked(struct scout_node *n);
/* A change outside of turns begins, until n->outside is one less: what is known but for itself. */
struct scout_view scout_node_begin_locked(struct scout_node *n);
/* The file of n's path was seen as attr, with nothing of ours under way, in the epoch that it is now. */
void scout_node_seen_locked(struct scout_node *n, const struct scout_attr *attr);
/* The same of what a change of ours, which made that epoch, has just set. */
void scout_node_set_locked(struct scout_node *n, const struct scout_attr *attr);
/* As seen, of what was asked for after view was taken, if that is so. No lock held. */
void scout_node_saw(struct scout_node *n, const struct scout_sftp_attrs *attrs,
		    const struct scout_view *view);
/* Whether attrs may be of the file that was open here. */
bool scout_node_fits(struct scout_node *n, const struct scout_sftp_attrs *attrs);
/* Has the pool leave the session of f's handle alone, or not. */
void scout_node_pin(struct scout_file *f);

/* turn.c */
/* Puts t, which has ops, at the end of the queue of f's node. */
void scout_turn_add_locked(struct scout_file *f, struct scout_turn *t);
/* Sends what may go out. No lock held; the caller holds n or one of its files. */
void scout_node_run(struct scout_node *n);
/* After more(): t's calls are over, by an answer or with their session. No lock held. */
void scout_turn_answered(struct scout_turn *t);
/* f cannot be opened anew: its turns end with err. No lock held. */
void scout_turn_fail_all(struct scout_file *f, int err);
/* f is released: true when none of its turns is left. */
bool scout_turn_release(struct scout_file *f);
/* Call i of t on its handle, zeroed and to go behind call i - 1. */
struct scout_sftp_call *scout_turn_call(struct scout_turn *t, unsigned i, enum scout_sftp_op op);

/* write.c */
/* Takes the write that has waited longest, or has it wait for memory, under node->lock, which it
 * gives back meanwhile. True: look again what may be sent. */
bool scout_write_admit_locked(struct scout_node *n);

#endif
