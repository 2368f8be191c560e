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

#endif
