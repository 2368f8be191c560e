/* What sets the operations apart, where more than one place must know it. */
#ifndef SCOUTFS_S3_OP_H
#define SCOUTFS_S3_OP_H

#include <stdbool.h>
#include <stddef.h>

#include "s3/url.h"
#include "scoutfs/s3.h"

struct scout_s3_op_traits {
	const char *name;   /* for people */
	const char *method; /* HTTP's */
	bool bucket;        /* asked of the bucket, not of a key */
	bool whole;         /* data() gets the answer in one call, when it is whole */
	bool sends;         /* a body, perhaps an empty one */
};

const struct scout_s3_op_traits *scout_s3_op_traits(enum scout_s3_op op);

/* The query of a call but scout_s3_is_listing's; buf holds the numbers in it. Returns how many. */
size_t scout_s3_op_params(const struct scout_s3_call *call,
			  struct scout_s3_param params[SCOUT_S3_PARAMS_MAX], char buf[16]);

#endif
