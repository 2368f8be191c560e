/* One set of keys, as a source gave it. Immutable and counted, because one thread renews them while
 * another signs with them. */
#ifndef SCOUTFS_S3_SNAPSHOT_H
#define SCOUTFS_S3_SNAPSHOT_H

#include <stdatomic.h>
#include <stdint.h>

#include "scoutfs/s3.h"

/* What a source says, before it is believed; zeroed is nothing. */
struct scout_s3_answer {
	char *access_key_id;
	char *secret_access_key;
	char *session_token; /* or NULL */
	int64_t expires_s;   /* seconds since the epoch; 0: never */
};
/* Wipes the secrets first. */
void scout_s3_answer_free(struct scout_s3_answer *a);

struct scout_s3_credentials {
	char *access_key_id; /* NULL: anonymous, nothing is signed */
	char *secret_access_key;
	char *session_token; /* or NULL */
	char *source;      /* for people: "scoutfs.ini", "environment", "profile ml", "anonymous" */
	int64_t expires_s; /* by our wall clock; 0: never */
	uint64_t id;       /* no others have it */
	atomic_uint refs;  /* atomic */
};

/* Takes over what answer holds, which is empty afterwards also when it fails; answer NULL: anonymous.
 * Returns 0; -EINVAL when half a pair is given, when it has control characters in it or has expired;
 * -ENOMEM; reason says why, without a secret. */
int scout_s3_credentials_new(struct scout_s3_answer *answer, const char *source,
			     struct scout_s3_credentials **ret, char reason[SCOUT_S3_REASON_MAX]);
struct scout_s3_credentials *scout_s3_credentials_ref(struct scout_s3_credentials *c);
/* The last one wipes the secrets; NULL is fine. Any thread. */
void scout_s3_credentials_put(struct scout_s3_credentials *c);

#endif
