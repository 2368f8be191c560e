/* The inode table: what the kernel knows by number. A FUSE node id is the address of its inode, which
 * lives while the kernel holds lookups on it, or while children, open files or requests pin it. */
#ifndef SCOUTFS_FS_INODE_H
#define SCOUTFS_FS_INODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1 /* a failed add is seen by hh.tbl == NULL */
#include <uthash.h>

#include "scoutfs/backend.h"
#include "scoutfs/lock.h"

#define SCOUT_REFUSED_MAX 128

struct scout_fh;

/* Inodes that share a lock: the root's and the backends' directories, one backend, or one host. No inode
 * ever leaves its tree. */
struct scout_tree {
	struct scout_mutex lock;
	/* under lock: opens that were lately told to look their name up anew */
	struct {
		pid_t task;
		uint64_t ino, until_ns;
	} refused[SCOUT_REFUSED_MAX];
	unsigned next_refused;       /* under lock */
	struct scout_inode *inodes;  /* under lock: by parent and name */
	struct scout_inode *numbers; /* under lock: by st_ino, which no two of them share */
};

struct scout_inode_key {
	struct scout_inode *parent;
	char name[]; /* without NUL */
};

struct scout_inode {
	const struct scout_backend *backend; /* immutable; NULL for the root of the mount */
	unsigned backend_index;              /* immutable */
	unsigned level; /* immutable: 0 the root, 1 a backend's directory, 2 what is below */
	uint64_t ino;   /* immutable: st_ino, of the path that it was made at */
	/* immutable: of no other inode, so that a file handle of one that is gone is stale at its address */
	uint64_t generation;
	mode_t type;                /* immutable: S_IFMT */
	struct scout_tree *tree;    /* immutable: holds this inode */
	struct scout_tree *subtree; /* immutable: holds its children */

	/* When we last changed its contents, its attributes or (a directory) the names in it: what the
	 * backend was asked before may be older. Files open for writing change all the time. */
	_Atomic uint64_t changed_ns;

	/* under tree->lock */
	struct scout_inode *parent; /* pinned; NULL for the root */
	uint64_t lookups;
	uint64_t pins;
	TAILQ_HEAD(, scout_fh) files; /* regular files that the kernel has open, by fh->open */
	unsigned writers; /* of them, and of those whose last requests are under way, for writing */
	bool gone;        /* it lost its name: removed, or replaced */
	uint64_t version; /* of the last attributes seen */
	uint64_t belief;  /* what reads must prove their handles against: see saw_locked */
	uint64_t bound_version; /* of its handles and of the pages that the kernel may hold */
	bool has_version, bound;
	/* The number of the opens that its pages are from (scout_result), and how many of these may not have come so
	 * far that the kernel has dropped the pages from before. */
	uint64_t pages;
	unsigned dropping;
	/* When the last write to it was taken that no flush or fsync has looked behind yet; 0: none. */
	uint64_t wrote_ns;
	/* Another file has its name, and nothing was written here that it could be of: what its writers have open
	 * is the one before. As long as they do, nobody else has a part in its pages. */
	bool split;
	/* Who opens it next may not see its pages: its name is to be another inode's. */
	bool outdated;
	/* The kernel may hold pages that are older than our own writes, and will drop them when it is
	 * told another mtime: unless it is by a SETATTR. */
	bool mixed;
	bool apart; /* it is another file's that is being written to replace the one of its name */
	/* The kernel holds pages of writes that failed after they were answered, or from before those that
	 * passed its pages by. */
	bool lost;
	/* In tree->inodes: of parent and name; parent is the inode itself, once it has lost its name, and it is there
	 * no more if there was no memory. */
	struct scout_inode_key *key;
	size_t key_len;
	/* The names that link(2) gave one file share its number: a ring, of which one is in tree->numbers.
	 * Those without a number any more are in neither, and alone in theirs. Without memory for that none is, and
	 * another file may get their number. */
	struct scout_inode *next_name, *prev_name;
	bool numbered; /* it is the one in tree->numbers */
	UT_hash_handle hh, by_ino;
};

/* The table is its root. Returns 0 or -ENOMEM. */
int scout_inodes_new(struct scout_inode **root);
/* Frees every inode of the table, whatever holds it: nobody may use one any more. */
void scout_inodes_free(struct scout_inode *root);

/* The child called name, with one more lookup, as the backend, asked at asked_ns, found it; made when it
 * is new, or bound to another version. backend is the parent's own, but for a child of the root. NULL:
 * no memory. The parent is held by the caller. */
struct scout_inode *scout_inode_lookup(struct scout_inode *parent, const char *name,
				       const struct scout_backend *backend, unsigned backend_index,
				       const struct scout_attr *attr, uint64_t asked_ns);
/* Likewise, of a file that we just made there: always a new one. */
struct scout_inode *scout_inode_create(struct scout_inode *parent, const char *name,
				       const struct scout_backend *backend, unsigned backend_index,
				       const struct scout_attr *attr);
/* Likewise, of one whose name another has, and keeps: nobody finds it by that. */
struct scout_inode *scout_inode_create_apart(struct scout_inode *parent, const char *name,
					     const struct scout_backend *backend,
					     unsigned backend_index, const struct scout_attr *attr);
/* Likewise, of another name that we just gave to what inode of stands for: they have one number, as long
 * as nothing says that they are two files. Both of one tree, and of held by the caller. */
struct scout_inode *scout_inode_link(struct scout_inode *parent, const char *name,
				     const struct scout_backend *backend, unsigned backend_index,
				     const struct scout_attr *attr, struct scout_inode *of);
/* The child called name, pinned; NULL: it is not in the table. */
struct scout_inode *scout_inode_find(struct scout_inode *parent, const char *name);
/* Whether what the backend, asked at asked_ns, says of inode's name is of another version than inode is bound
 * to, and not by a change of ours. tree->lock is held. */
bool scout_inode_is_other_version_locked(const struct scout_inode *inode, uint64_t version,
					 uint64_t asked_ns);
/* inode is opened to make another file of its name: nobody finds it by that any more. False: it is open
 * already, or was opened so; the name has to be looked up again, and leads elsewhere then. */
bool scout_inode_set_apart(struct scout_inode *inode);
bool scout_inode_is_apart(struct scout_inode *inode);
/* We unlinked or replaced what inode stood for. */
void scout_inode_remove(struct scout_inode *inode);
/* We renamed what inode stood for; what was at the new name is replaced. Both parents of one tree, and
 * newparent held by the caller. */
void scout_inode_rename(struct scout_inode *inode, struct scout_inode *newparent, const char *name);
void scout_inode_forget(struct scout_inode *inode, uint64_t lookups);
void scout_inode_pin(struct scout_inode *inode);
void scout_inode_unpin(struct scout_inode *inode);

/* st_ino of a child that is not in the table. */
uint64_t scout_inode_number(const struct scout_inode *parent, const char *name);
uint64_t scout_inode_parent_number(struct scout_inode *inode);

/* The path below the backend's root ("" for the root itself) into buf. 0, -ENAMETOOLONG, or -ESTALE
 * when it, or a directory on the way, has lost its name. */
int scout_inode_path(struct scout_inode *inode, char *buf, size_t cap);

/* We changed it. */
void scout_inode_changed(struct scout_inode *inode);
/* Whether what the backend, asked at asked_ns, says of the child called name of parent may be older than
 * a change of our own. */
bool scout_inode_outdates(struct scout_inode *parent, const char *name, uint64_t asked_ns);

/* version.c: what the kernel believes of a file, and what it may keep of it. */

/* Notes the version of attributes that go to the kernel, before they go. True when it must drop its pages:
 * so it is not to be told the true mtime, and to ask again. */
bool scout_inode_told(struct scout_inode *inode, uint64_t version);
bool scout_inode_told_locked(struct scout_inode *inode, uint64_t version);
/* Likewise of those that do not go there; true when they differ from the ones before. */
bool scout_inode_saw(struct scout_inode *inode, uint64_t version);
bool scout_inode_saw_locked(struct scout_inode *inode, uint64_t version);
/* What the kernel believes the file to be: the version seen while there was but one, else a number that
 * stands for the last change seen. `otherwise` if none was. */
uint64_t scout_inode_belief(struct scout_inode *inode, uint64_t otherwise);
/* At an open that found version. From its first open on an inode stands for one version, that which the
 * kernel was told, so that its pages are never a mixture of what readers of two versions asked for; while
 * it is written to, for every version that it becomes. */
enum scout_bind {
	SCOUT_BIND_SAME, /* of this one: pages may be kept */
	SCOUT_BIND_DROP, /* of this one: the kernel is to drop its pages; scout_inode_dropped must follow */
	SCOUT_BIND_OTHER, /* of another: ESTALE makes the kernel look the name up anew, once */
	/* of another again, after that: the file changes faster than it can be looked up; or of another
	 * than its writers have: this one goes without the kernel's pages */
	SCOUT_BIND_PASSING,
};
/* pages: the open's, as scout_result has them. While anybody has inode open its pages are not dropped: who opens it
 * would wait for what is being read into them, and no signal would end that. So who may not see them goes to another
 * inode of the same version. flags: the open's. task: the thread that opens, as the kernel numbers it. */
enum scout_bind scout_inode_bind(struct scout_inode *inode, uint64_t version, uint64_t pages,
				 int flags, pid_t task);
/* What SCOUT_BIND_DROP asked for was done, or (not: nobody knows) will not be. */
void scout_inode_dropped(struct scout_inode *inode, bool done);
/* task's open of it was ESTALE for another reason: the next one is the kernel's last, and binds in any case. */
void scout_inode_refused(struct scout_inode *inode, pid_t task);
/* At a create that made inode: nobody else has opened it. */
void scout_inode_bind_new(struct scout_inode *inode, uint64_t version);
/* A write to it is about to be taken, or was. */
void scout_inode_wrote(struct scout_inode *inode);
/* A writer's flush or fsync, begun at asked_ns, found version behind the writes until then. */
void scout_inode_synced(struct scout_inode *inode, uint64_t version, uint64_t asked_ns);
/* Whether another version of it may be what its writers here have made of it. tree->lock is held. */
bool scout_inode_is_written_locked(const struct scout_inode *inode);
/* The last writer is gone. tree->lock is held. */
void scout_inode_unwritten_locked(struct scout_inode *inode);
/* Writes failed that the kernel may have in its pages, or were made that it may not have there. */
void scout_inode_lost(struct scout_inode *inode);
/* We changed the attributes from those of version `was` (0: not known). SETATTR's answer makes the kernel
 * believe what it says and keep its pages: false when they may be of another version, so that it must
 * not be told the true mtime by it. */
bool scout_inode_set(struct scout_inode *inode, uint64_t was, uint64_t version);

#endif
