/* Extended attributes of objects: what S3 tells of one beside its bytes. */
#ifndef MODELS_XATTR_H
#define MODELS_XATTR_H

#include "models/models.h"

/* What one HEAD told. Built by one thread, then immutable and shared by count. */
struct scout_xattrs;

/* One reference; NULL: no memory. */
struct scout_xattrs *scout_xattrs_new(void);
/* A header of the answer, name in lower case; what is no attribute, or one too many, is passed over. */
void scout_xattrs_header(struct scout_xattrs *x, const char *name, const char *value);
/* What is not said in a header alone. checksum may be of any kind. */
void scout_xattrs_complete(struct scout_xattrs *x, const char *key, const char *etag,
			   const struct scout_s3_checksum *checksum);
struct scout_xattrs *scout_xattrs_ref(struct scout_xattrs *x); /* NULL is fine for both */
void scout_xattrs_unref(struct scout_xattrs *x);

/* The value, borrowed, or NULL. */
const char *scout_xattrs_get(const struct scout_xattrs *x, const char *name, size_t *len);
/* All names, each with its NUL. */
void scout_xattrs_list(const struct scout_xattrs *x, struct scout_text *out);

/* The backend's. */
void scout_models_getxattr(void *self, const char *path, const char *name, struct scout_req *req);
void scout_models_listxattr(void *self, const char *path, struct scout_req *req);

#endif
