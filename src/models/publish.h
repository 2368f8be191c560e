/* Writing to the registry: what stands before the reading backend when [models] says read_only = no. */
#ifndef MODELS_PUBLISH_H
#define MODELS_PUBLISH_H

#include "models/upload.h"

/* m->publisher, whose ops go on to below's for what exists. Takes memory for parts, for good. Returns 0,
 * or -errno, logged. */
int scout_publisher_new(struct scout_models *m, const struct scout_backend_ops *below);
/* Before the engine stops: ends the uploads. NULL is fine for both. */
void scout_publisher_stop(struct scout_publisher *pub);
void scout_publisher_free(struct scout_publisher *pub);
/* Lines for .scoutfs/status and metrics. */
void scout_publisher_status(struct scout_publisher *pub, struct scout_text *out);
void scout_publisher_metrics(struct scout_publisher *pub, struct scout_text *out);

/* publish_dir.c: folders, with what this mount has made and removed in them. */
/* What is only shown, archives' members and older versions, is neither made nor removed: -EROFS, or 0. */
int scout_publish_refuses(const struct scout_models *m, const char *path);
void scout_publish_opendir(void *self, const char *path, struct scout_req *req);
void scout_publish_readdir(void *self, void *handle, uint64_t index, struct scout_req *req);
void scout_publish_releasedir(void *self, void *handle);
void scout_publish_mkdir(void *self, const char *path, mode_t mode, struct scout_req *req);
void scout_publish_rmdir(void *self, const char *path, struct scout_req *req);

#endif
