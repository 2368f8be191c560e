/* The inode table: what the kernel knows by number. A FUSE node id is the address of its inode, which
 * lives while the kernel holds lookups on it, or while children or requests pin it. */
#ifndef SCOUTFS_FS_INODE_H
#define SCOUTFS_FS_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "scoutfs/backend.h"
#include "scoutfs/lock.h"

#define SCOUT_REFUSED_MAX 128

/* Inodes that share a lock: the root's and the backends' directories, one backend, or one host. */
struct scout_tree {
	struct scout_mutex lock;
	/* under lock: opens that were lately told to look their name up anew */
	struct {
		pid_t task;
		uint64_t ino, until_ns;
	} refused[SCOUT_REFUSED_MAX];
	unsigned next_refused;      /* under lock */
	struct scout_inode *inodes; /* under lock: by parent and name */
};

struct scout_inode {
	const struct scout_backend *backend; /* immutable; NULL for the root of the mount */
	unsigned backend_index;              /* immutable */
	struct scout_inode *parent;          /* immutable, pinned; NULL for the root */
	uint64_t ino;                        /* immutable: st_ino, of the path alone */
	struct scout_tree *tree;             /* immutable: holds this inode */
	struct scout_tree *subtree;          /* immutable: holds its children */

	/* under tree->lock */
	uint64_t lookups;
	uint64_t pins;
	uint64_t version;       /* of the last attributes seen */
	uint64_t belief;        /* what reads must prove their handles against: see saw_locked */
	uint64_t bound_version; /* of its handles and of the pages that the kernel may hold */
	bool has_version, bound;
	UT_hash_handle hh;

	size_t key_len; /* immutable */
	/* The key in tree->inodes is the parent's address and the name, without NUL; under tree->lock
	 * its own address, once another inode has taken its name. The name is immutable. */
	struct {
		struct scout_inode *parent;
		char name[];
	} key;
};

/* The table is its root. Returns 0 or -ENOMEM. */
int scout_inodes_new(struct scout_inode **root);
/* Frees every inode, whatever holds it: nobody may use one any more. */
void scout_inodes_free(struct scout_inode *root);

/* The child called name, with one more lookup; made when it is new, or bound to another version. backend
 * is the parent's own, but for a child of the root. NULL: no memory. The parent is held by the caller. */
struct scout_inode *scout_inode_lookup(struct scout_inode *parent, const char *name,
				       const struct scout_backend *backend, unsigned backend_index,
				       uint64_t version);
void scout_inode_forget(struct scout_inode *inode, uint64_t lookups);
void scout_inode_pin(struct scout_inode *inode);
void scout_inode_unpin(struct scout_inode *inode);

/* st_ino of a child that may not be in the table. */
uint64_t scout_inode_number(const struct scout_inode *parent, const char *name);

/* The path below the backend's root ("" for the root itself) into buf. 0 or -ENAMETOOLONG. */
int scout_inode_path(const struct scout_inode *inode, char *buf, size_t cap);

/* Notes the version of attributes that go to the kernel, before they go; true when it differs from the
 * one before. */
bool scout_inode_saw(struct scout_inode *inode, uint64_t version);
/* What the kernel believes the file to be: the version seen while there was but one, else a number that
 * stands for the last change seen. `otherwise` if none was. */
uint64_t scout_inode_belief(struct scout_inode *inode, uint64_t otherwise);
/* At an open that found version. From its first open on an inode stands for one version, that which the
 * kernel was told, so that its pages are never a mixture of what readers of two versions asked for. */
enum scout_bind {
	SCOUT_BIND_SAME,  /* of this one: pages may be kept */
	SCOUT_BIND_OTHER, /* of another: ESTALE makes the kernel look the name up anew, once */
	/* of another again, after that: the file changes faster than it can be looked up, and this
	 * reader goes without the kernel's pages */
	SCOUT_BIND_PASSING,
};
/* task: the thread that opens, as the kernel numbers it. */
enum scout_bind scout_inode_bind(struct scout_inode *inode, uint64_t version, pid_t task);

#endif
