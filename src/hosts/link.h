/* Where a host's symlink may lead: only inside that host's tree. Pure. */
#ifndef SCOUTFS_HOSTS_LINK_H
#define SCOUTFS_HOSTS_LINK_H

#include "scoutfs/text.h"

/* Appends to out what the link at path ("a/b/link", relative to the host's directory) shall read as
 * when the server says target and the host's tree begins at root ("/" or "/srv").
 *
 * The result is relative, climbs at most to the host's directory, and has ".." in front only: a
 * ".." behind a name could climb further than it seems where that name is itself a link. A target
 * that is so already reads as it was written, to the byte; others are rewritten. Absolute
 * targets below root lead to their place in the tree, others are taken as if root were "/", where
 * they are usually missing. Returns 0, or -EIO for a target that is empty, or too long. */
int scout_link_contain(const char *root, const char *path, const char *target,
		       struct scout_text *out);

#endif
