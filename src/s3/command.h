/* A command line as credential_process has it, split as a POSIX shell splits words, and nothing else of a
 * shell: no variables, no globs, no pipes. */
#ifndef SCOUTFS_S3_COMMAND_H
#define SCOUTFS_S3_COMMAND_H

#include <stddef.h>

/* *ret is an argument list that ends with NULL, in one block to free; its words are never logged.
 * Returns 0, -EINVAL (no word, or a quote without its end) or -ENOMEM. */
int scout_s3_command_split(const char *line, char ***ret);

#endif
