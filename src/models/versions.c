/* Older versions of objects, where `versions = yes`. Beside the objects of each folder stands one that no
 * listing names, so that what walks a tree does not walk its past; it is asked for by name:
 *
 *   a/v1/.versions             the names in a/v1 that have older versions
 *   a/v1/.versions/model.zip   their ids
 *   a/v1/.versions/model.zip/3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY
 *
 * It is listed (ListObjectVersions) when somebody looks into it, like a folder of the catalogue. A version
 * that is not in the listing is asked for directly, the newest too. Delete markers are no files. */
#include "models/versions.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "models/catalogue.h"
#include "models/question.h"

size_t scout_versions_cut(const struct scout_models *m, const char *path)
{
	const char *at = path;
	size_t len = strlen(SCOUT_VERSIONS);

	while (m->config->versions && *at) {
		size_t n = strcspn(at, "/");

		if (n == len && memcmp(at, SCOUT_VERSIONS, n) == 0)
			return (size_t)(at - path) + n;
		at += n + (at[n] == '/');
	}
	return 0;
}

int scout_versions_key(const struct scout_models *m, const char *path, char **key,
		       char **version_id)
{
	size_t cut = scout_versions_cut(m, path);
	const char *name = cut > 0 && path[cut] ? path + cut + 1 : NULL;
	const char *slash = name ? strchr(name, '/') : NULL;
	char *k = scout_models_key(m, path, ""), *id = NULL;

	if (k && slash && !strchr(slash + 1, '/')) {
		char *from = k + strlen(k) - strlen(name);

		/* PREFIX/a/v1/.versions/model.zip/ID: the name takes the place of the folder */
		id = strdup(slash + 1);
		memmove(from - strlen(SCOUT_VERSIONS "/"), from, strlen(from) + 1);
		*strrchr(k, '/') = '\0';
		if (!id) {
			free(k);
			k = NULL;
		}
	}
	if (!k)
		return -ENOMEM;
	*key = k;
	*version_id = id;
	return 0;
}

struct looking {
	struct scout_lister lister;
	struct scout_asker asker;
	struct scout_models *m;
	struct scout_req *req;
	const char *below; /* in path: behind the folder of versions */
	char path[];
};

static void reply(struct looking *l, int err, const struct scout_attr *attr)
{
	struct scout_result res = {.ttl_ms = SCOUT_TTL_MS};

	if (attr)
		res.attr = *attr;
	scout_req_done(l->req, err, err ? NULL : &res);
	free(l);
}

static void answered(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct looking *l = (struct looking *)((char *)a - offsetof(struct looking, asker));
	struct scout_attr attr;

	if (err == 0 && answer->kind != SCOUT_FILE)
		err = -ENOENT;
	if (err == 0)
		scout_models_file_attr(l->m, answer->bytes, answer->modified, answer->version,
				       &attr);
	reply(l, err, err ? NULL : &attr);
}

static void listed(struct scout_lister *lister, int err, struct scout_tree *tree)
{
	struct looking *l = (struct looking *)lister;
	const struct scout_node *n = err == 0 ? scout_tree_find(tree, l->below) : NULL;
	bool ask = err == 0 && !n && strchr(l->below, '/');
	struct scout_attr attr;

	if (n && n->dir)
		scout_models_dir_attr(l->m, &attr);
	else if (n)
		scout_models_file_attr(l->m, n->bytes, n->modified, n->version, &attr);
	scout_tree_unref(tree);
	l->asker.answered = answered;
	if (ask)
		scout_question_ask(l->m, SCOUT_ASK_OBJECT, l->path, &l->asker);
	else
		reply(l, n ? 0 : err ? err : -ENOENT, n ? &attr : NULL);
}

void scout_versions_getattr(struct scout_models *m, const char *path, struct scout_req *req)
{
	size_t cut = scout_versions_cut(m, path), len = strlen(path) + 1;
	struct looking *l = calloc(1, sizeof(*l) + len);
	struct scout_attr attr;
	char *folder;

	if (!l) {
		scout_req_done(req, -ENOMEM, NULL);
		return;
	}
	l->m = m;
	l->req = req;
	l->lister.listed = listed;
	memcpy(l->path, path, len);
	if (!path[cut]) {
		scout_models_dir_attr(m, &attr);
		reply(l, 0, &attr); /* nobody is asked whether there is anything in it */
		return;
	}
	l->below = l->path + cut + 1;
	folder = strndup(path, cut);
	if (folder)
		scout_catalogue_list(m, folder, &l->lister);
	else
		reply(l, -ENOMEM, NULL);
	free(folder);
}
