/* One profile of AWS's credentials and config files ("Configuration and credential file settings" of
 * the AWS SDKs and Tools Reference Guide). */
#ifndef SCOUTFS_S3_PROFILE_H
#define SCOUTFS_S3_PROFILE_H

#include "s3/credentials.h"

/* Reads into c (zeroed) the keys of the section called name, or "profile name" when prefixed, of the
 * file at path. Returns 1 when the section is there, 0 when not (or no such file), -errno; c may hold
 * something in every case and must be freed. */
int scout_s3_profile_read(const char *path, const char *name, bool prefixed,
			  struct scout_s3_credentials *c);

#endif
