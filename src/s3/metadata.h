/* Which endpoints may be asked for keys over http, and the files that hold their tokens. */
#ifndef SCOUTFS_S3_METADATA_H
#define SCOUTFS_S3_METADATA_H

#include <stdbool.h>
#include <stddef.h>

/* Of AWS_CONTAINER_CREDENTIALS_FULL_URI: https, or this machine, ECS's or EKS's address. */
bool scout_s3_container_uri_allowed(const char *uri);

/* A token of one line, at most max bytes long, without the blanks around its end; *ret is to be wiped.
 * Returns 0, -errno of opening, -EFBIG, -EINVAL (empty, or more than a line), -ENOMEM. */
int scout_s3_read_token(const char *path, size_t max, char **ret);

#endif
