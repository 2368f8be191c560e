/* Amazon Resource Names of S3 access points, which stand where a bucket's name may. Pure. */
#ifndef SCOUTFS_ARN_H
#define SCOUTFS_ARN_H

#include <stdbool.h>

struct scout_access_point {
	char partition[32]; /* "aws", "aws-cn", "aws-us-gov" */
	char region[32];
	char account[13]; /* twelve digits */
	char name[64];
};

bool scout_is_arn(const char *text);
/* "arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME", or with a ':' before NAME. Returns 0, or -EINVAL with
 * *why in words: of other services, of several regions, or not an ARN. */
int scout_access_point_parse(const char *arn, struct scout_access_point *ret, const char **why);

#endif
