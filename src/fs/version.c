/* What the kernel believes of a file, and what it may keep of it; see inode.h. The kernel drops a file's
 * pages when it is told another mtime or size by GETATTR or LOOKUP, and keeps them across opens: so what
 * must hold is that pages of one inode are never of two versions at once, but for those that we wrote. */
#include <fcntl.h>

#include "fs/inode.h"
#include "scoutfs/clock.h"

#define REFUSED_NS (10 * SCOUT_NS_PER_S)

bool scout_inode_saw_locked(struct scout_inode *inode, uint64_t version)
{
	bool changed = inode->has_version && inode->version != version;

	/* After a change the belief is no version's own, so that every handle proves itself again:
	 * of two answers, the one that came later need not be the newer one. */
	if (changed)
		inode->belief = scout_random() | (uint64_t)scout_random() << 32;
	else if (!inode->has_version)
		inode->belief = version;
	inode->version = version;
	inode->has_version = true;
	return changed;
}

bool scout_inode_saw(struct scout_inode *inode, uint64_t version)
{
	bool changed;

	scout_lock(&inode->tree->lock);
	changed = scout_inode_saw_locked(inode, version);
	scout_unlock(&inode->tree->lock);
	return changed;
}

bool scout_inode_told_locked(struct scout_inode *inode, uint64_t version)
{
	bool lost = inode->lost;

	/* while it is written to, the kernel may pass over attributes that are older than a write */
	if (scout_inode_saw_locked(inode, version) && inode->writers == 0)
		inode->mixed = false;
	inode->lost = false;
	return lost;
}

bool scout_inode_told(struct scout_inode *inode, uint64_t version)
{
	bool lost;

	scout_lock(&inode->tree->lock);
	lost = scout_inode_told_locked(inode, version);
	scout_unlock(&inode->tree->lock);
	return lost;
}

void scout_inode_lost(struct scout_inode *inode)
{
	scout_lock(&inode->tree->lock);
	inode->lost = true;
	scout_unlock(&inode->tree->lock);
}

uint64_t scout_inode_belief(struct scout_inode *inode, uint64_t otherwise)
{
	uint64_t belief;

	scout_lock(&inode->tree->lock);
	belief = inode->has_version ? inode->belief : otherwise;
	scout_unlock(&inode->tree->lock);
	return belief;
}

/* Whether task's open of ino was refused a moment ago: then it is forgotten. */
static bool was_refused_locked(struct scout_tree *tree, uint64_t ino, pid_t task)
{
	uint64_t now = scout_now_ns();

	for (unsigned i = 0; i < SCOUT_REFUSED_MAX; i++) {
		if (tree->refused[i].task == task && tree->refused[i].ino == ino &&
		    tree->refused[i].until_ns > now) {
			tree->refused[i].until_ns = 0;
			return true;
		}
	}
	return false;
}

static void refuse_locked(struct scout_tree *tree, uint64_t ino, pid_t task)
{
	tree->refused[tree->next_refused].task = task;
	tree->refused[tree->next_refused].ino = ino;
	tree->refused[tree->next_refused].until_ns = scout_now_ns() + REFUSED_NS;
	tree->next_refused = (tree->next_refused + 1) % SCOUT_REFUSED_MAX;
}

void scout_inode_refused(struct scout_inode *inode, pid_t task)
{
	scout_lock(&inode->tree->lock);
	refuse_locked(inode->tree, inode->ino, task);
	scout_unlock(&inode->tree->lock);
}

bool scout_inode_is_written_locked(const struct scout_inode *inode)
{
	return inode->writers > 0 && inode->wrote_ns && !inode->split;
}

void scout_inode_wrote(struct scout_inode *inode)
{
	scout_lock(&inode->tree->lock);
	inode->wrote_ns = scout_now_ns();
	scout_unlock(&inode->tree->lock);
}

void scout_inode_unwritten_locked(struct scout_inode *inode)
{
	inode->wrote_ns = 0;
	inode->split = false;
}

/* Whether what is opened at version is not what inode's writers have. */
static bool is_replaced_locked(struct scout_inode *inode, uint64_t version, bool truncates)
{
	inode->split |= inode->writers > 0 && !inode->wrote_ns && inode->bound &&
			inode->bound_version != version && !truncates;
	return inode->split;
}

/* Of an inode that stands for what is opened. OTHER: its pages are not for who opens it, and cannot go now. */
static enum scout_bind bind_pages_locked(struct scout_inode *inode, bool first, uint64_t pages)
{
	bool other = pages && inode->pages != pages;

	if (first) {
		inode->pages = pages;
		return SCOUT_BIND_SAME;
	}
	if (TAILQ_EMPTY(&inode->files) && !inode->dropping) {
		if (!other)
			return SCOUT_BIND_SAME;
		inode->pages = pages;
		inode->dropping++;
		return SCOUT_BIND_DROP;
	}
	inode->outdated |= other || inode->dropping;
	return inode->outdated ? SCOUT_BIND_OTHER : SCOUT_BIND_SAME;
}

void scout_inode_dropped(struct scout_inode *inode, bool done)
{
	scout_lock(&inode->tree->lock);
	inode->dropping--;
	if (!done)
		inode->pages = UINT64_MAX; /* which no open has */
	scout_unlock(&inode->tree->lock);
}

enum scout_bind scout_inode_bind(struct scout_inode *inode, uint64_t version, uint64_t pages,
				 int flags, pid_t task)
{
	struct scout_tree *tree = inode->tree;
	enum scout_bind bind = SCOUT_BIND_SAME;
	bool truncates = flags & O_TRUNC, refused;

	scout_lock(&tree->lock);
	refused = was_refused_locked(tree, inode->ino, task);
	if (truncates)
		inode->mixed = false; /* the kernel drops all its pages */
	else if (inode->bound && (flags & O_ACCMODE) != O_RDONLY)
		inode->mixed = true;
	if (is_replaced_locked(inode, version, truncates)) {
		bind = SCOUT_BIND_PASSING;
	} else if (truncates || inode->writers > 0 ||
		   (!inode->bound && (!inode->has_version || inode->version == version))) {
		bind = bind_pages_locked(inode, truncates || !inode->bound, pages);
		inode->bound_version = version;
		inode->bound = true;
	} else if (!inode->bound || inode->bound_version != version) {
		bind = SCOUT_BIND_OTHER;
	} else {
		bind = bind_pages_locked(inode, false, pages);
	}
	if (bind == SCOUT_BIND_OTHER && refused)
		bind = SCOUT_BIND_PASSING;
	else if (bind == SCOUT_BIND_OTHER)
		refuse_locked(tree, inode->ino, task);
	scout_unlock(&tree->lock);
	return bind;
}

void scout_inode_bind_new(struct scout_inode *inode, uint64_t version)
{
	scout_lock(&inode->tree->lock);
	inode->bound_version = version;
	inode->bound = true;
	scout_unlock(&inode->tree->lock);
}

void scout_inode_synced(struct scout_inode *inode, uint64_t version, uint64_t asked_ns)
{
	scout_lock(&inode->tree->lock);
	if (inode->bound && !inode->split)
		inode->bound_version = version;
	if (inode->wrote_ns < asked_ns)
		inode->wrote_ns = 0;
	scout_unlock(&inode->tree->lock);
}

bool scout_inode_set(struct scout_inode *inode, uint64_t was, uint64_t version)
{
	bool ours, sure;

	scout_lock(&inode->tree->lock);
	ours = !inode->bound || scout_inode_is_written_locked(inode) || was == inode->bound_version;
	sure = !inode->bound || (ours && !inode->mixed);
	if (ours)
		inode->bound_version = version;
	if (sure)
		(void)scout_inode_saw_locked(inode, version);
	scout_unlock(&inode->tree->lock);
	scout_inode_changed(inode);
	return sure;
}
