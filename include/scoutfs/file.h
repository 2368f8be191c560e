/* The user's own files, which may be anything. */
#ifndef SCOUTFS_FILE_H
#define SCOUTFS_FILE_H

#include <stdbool.h>
#include <stdio.h>

/* Opens path for reading unless it is a pipe, a folder or the like, which could keep the reader for ever.
 * NULL with errno: EINVAL, EISDIR, or that of open(2). */
FILE *scout_open_file(const char *path);

/* Whether path may be handed to who opens it without such care: it is a regular file, or nothing that is
 * there. */
bool scout_is_plain_file(const char *path);

/* path as it is named from the folder that we are in now; its links may lead elsewhere later. NULL with errno. */
char *scout_absolute_path(const char *path);

/* Opens a folder of ours, into which nobody else may write; where it is missing and make is set, it is
 * made, mode 0700. Returns a descriptor; -ENOENT: it is missing; -ENOTDIR; -EPERM: another's; -EACCES:
 * others may write into it; or -errno of mkdir(2) or open(2). */
int scout_open_own_dir(const char *path, bool make);
/* Whether path, which need not be there, is folder or in it, by whatever names. Waits for the disks of both. */
bool scout_is_below(const char *path, const char *folder);
/* What came of it, for a person. */
const char *scout_own_dir_reason(int err);

#endif
