/* Older versions of objects: <folder>/.versions/<name>/<version id>. */
#ifndef MODELS_VERSIONS_H
#define MODELS_VERSIONS_H

#include "models/models.h"

#define SCOUT_VERSIONS ".versions"

/* How much of path is the folder of versions that it is, or lies in; 0: none, or the config wants none. */
size_t scout_versions_cut(const struct scout_models *m, const char *path);
/* The whole key and the version id that path stands for, both malloc'ed; without a version key is that of
 * path, and *version_id NULL. Returns 0 or -ENOMEM. */
int scout_versions_key(const struct scout_models *m, const char *path, char **key,
		       char **version_id);

/* getattr of a path that has a cut. */
void scout_versions_getattr(struct scout_models *m, const char *path, struct scout_req *req);

#endif
