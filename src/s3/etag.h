/* ETags as they are kept: quoted, bounded, and harmless in a header of ours. */
#ifndef SCOUTFS_S3_ETAG_H
#define SCOUTFS_S3_ETAG_H

#include <stdbool.h>
#include <stddef.h>

#include "scoutfs/s3.h"

/* Copies the ETag (len bytes, blanks around it allowed), with quotes added where a server left them
 * out. False, and dst is "", when it is empty, too long, or holds a byte that no ETag may hold
 * (RFC 9110 section 8.8.3: control characters, blanks, inner quotes). */
bool scout_s3_etag_copy(char dst[SCOUT_ETAG_MAX], const char *etag, size_t len);

/* If-Match compares strongly, so a weak one never matches there (RFC 9110 section 13.1.1). */
bool scout_s3_etag_is_weak(const char *etag);

#endif
