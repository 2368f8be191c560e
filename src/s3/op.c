/* The operations' table; see op.h. Amazon S3 API reference: PutObject, DeleteObject,
 * CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload,
 * ListMultipartUploads. Pure. */
#include "s3/op.h"

#include <stdio.h>

static const struct scout_s3_op_traits traits[] = {
    [SCOUT_S3_GET] = {.name = "GET", .method = "GET"},
    [SCOUT_S3_HEAD] = {.name = "HEAD", .method = "HEAD"},
    [SCOUT_S3_LIST] = {.name = "LIST", .method = "GET", .bucket = true, .whole = true},
    [SCOUT_S3_LIST_VERSIONS] = {.name = "LIST VERSIONS",
				.method = "GET",
				.bucket = true,
				.whole = true},
    [SCOUT_S3_PUT] = {.name = "PUT", .method = "PUT", .sends = true},
    [SCOUT_S3_DELETE] = {.name = "DELETE", .method = "DELETE"},
    [SCOUT_S3_CREATE] = {.name = "CREATE", .method = "POST", .whole = true, .sends = true},
    [SCOUT_S3_PART] = {.name = "PART", .method = "PUT", .sends = true},
    [SCOUT_S3_COMPLETE] = {.name = "COMPLETE", .method = "POST", .whole = true, .sends = true},
    [SCOUT_S3_ABORT] = {.name = "ABORT", .method = "DELETE"},
    [SCOUT_S3_UPLOADS] = {.name = "UPLOADS", .method = "GET", .bucket = true, .whole = true},
};

const struct scout_s3_op_traits *scout_s3_op_traits(enum scout_s3_op op)
{
	return &traits[op];
}

size_t scout_s3_op_params(const struct scout_s3_call *call,
			  struct scout_s3_param params[SCOUT_S3_PARAMS_MAX], char buf[16])
{
	size_t n = 0;

	switch (call->op) {
	case SCOUT_S3_HEAD:
		snprintf(buf, 16, "%u", call->part);
		if (call->part > 0)
			params[n++] = (struct scout_s3_param){"partNumber", buf};
		break;
	case SCOUT_S3_CREATE:
		params[n++] = (struct scout_s3_param){"uploads", ""};
		break;
	case SCOUT_S3_PART:
		snprintf(buf, 16, "%u", call->part);
		params[n++] = (struct scout_s3_param){"partNumber", buf};
		params[n++] = (struct scout_s3_param){"uploadId", call->upload_id};
		break;
	case SCOUT_S3_COMPLETE:
	case SCOUT_S3_ABORT:
		params[n++] = (struct scout_s3_param){"uploadId", call->upload_id};
		break;
	case SCOUT_S3_UPLOADS:
		snprintf(buf, 16, "%u", call->max_keys);
		params[n++] = (struct scout_s3_param){"uploads", ""};
		params[n++] = (struct scout_s3_param){"max-uploads", buf};
		if (call->prefix && *call->prefix)
			params[n++] = (struct scout_s3_param){"prefix", call->prefix};
		if (call->start_after)
			params[n++] = (struct scout_s3_param){"key-marker", call->start_after};
		if (call->continuation)
			params[n++] =
			    (struct scout_s3_param){"upload-id-marker", call->continuation};
		break;
	default:
		break;
	}
	return n;
}
