/* What is answered to who asks for keys, taken apart: JSON of commands and metadata endpoints, XML of STS.
 * Never believed: sizes, nesting and types are checked. */
#ifndef SCOUTFS_S3_ANSWER_H
#define SCOUTFS_S3_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "s3/snapshot.h"

enum scout_s3_json_kind {
	SCOUT_JSON_METADATA, /* of a container or an instance: Token, and Expiration, which it must have */
	SCOUT_JSON_PROCESS, /* of credential_process: Version 1, SessionToken, perhaps Expiration */
};

/* The parsers return 0, -EINVAL (malformed, or not of that kind) or -ENOMEM; reason says why, and *ret is
 * untouched then. */
int scout_s3_parse_json(const char *json, size_t len, enum scout_s3_json_kind kind,
			struct scout_s3_answer *ret, char reason[SCOUT_S3_REASON_MAX]);
/* AssumeRoleResponse and AssumeRoleWithWebIdentityResponse. An ErrorResponse is -EINVAL with its code and
 * message as reason. */
int scout_s3_parse_sts(const char *xml, size_t len, struct scout_s3_answer *ret,
		       char reason[SCOUT_S3_REASON_MAX]);

/* ISO 8601 with a zone: "2011-07-11T19:55:29.611Z", "+02:00" for Z. Seconds since the epoch. */
bool scout_s3_parse_time(const char *text, int64_t *ret);

#endif
