/* Archives as folders: "…/model.zip.d" is the folder of the members of "…/model.zip", unless the bucket
 * has a file or a folder of that very name. It is not listed, so that what walks a tree does not read
 * everything twice; who names it, has it.
 *
 * Whether a path leads into an archive is told by the listing, where there is one, else by S3. An open
 * asks S3 for the archive as an open of the archive would, and pins its ETag; attributes and listings are
 * those of the version that the last answer, or the listing, told of.
 *
 * Nothing here waits; a request is its current thread's alone. */
#include "models/zip.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "models/catalogue.h"
#include "models/xattr.h"
#include "scoutfs/clock.h"

#define SHARE_DIVISOR 4
#define SUFFIX ".zip.d"
#define SUFFIX_LEN (sizeof(SUFFIX) - 1)
/* How long a name that is not there stays so. */
#define MISSING_NS SCOUT_NS_PER_S
#define DIRENTS 64

/* ---- paths ---- */

/* The end of the next component at or after from that may be an archive's folder; 0: there is none. */
static size_t next_folder(const char *path, size_t from)
{
	while (path[from]) {
		size_t end = from + strcspn(path + from, "/");

		if (end - from >= SUFFIX_LEN &&
		    strncasecmp(path + end - SUFFIX_LEN, SUFFIX, SUFFIX_LEN) == 0 &&
		    path[end - 1] == 'd')
			return end;
		from = path[end] ? end + 1 : end;
	}
	return 0;
}

bool scout_zip_claims(const struct scout_models *m, const char *path)
{
	return m->zips && next_folder(path, 0) > 0;
}

enum step { ASK_ARCHIVE, ASK_FOLDER, ASK_VERSION, ASK_ANEW };

/* A request for a path that may lead into an archive. */
struct visit {
	struct scout_asker asker;
	struct scout_zip_waiter waiter;
	struct scout_models *m;
	struct scout_req *req;
	scout_zip_plain *plain; /* NULL: xattr's is what is asked for */
	char *xattr;            /* NULL: the names of all */
	/* Goes on once the path is known to lead into an archive. */
	void (*inside)(struct visit *v);
	/* Replies, with the archive's directory, which is borrowed; 0 or -errno (not replied). */
	int (*found)(struct visit *v, struct scout_zip *zip);
	struct scout_answer answer; /* of the archive; without an ETag unless asked */
	bool asked;
	bool no_folder; /* the bucket has nothing of the folder's own name */
	enum step step;
	size_t end; /* of the folder's name in path */
	char *name; /* behind path: that of the folder or of the archive */
	char path[];
};

static void visit_end(struct visit *v, int err)
{
	if (err < 0)
		scout_req_done(v->req, err, NULL);
	free(v->xattr);
	free(v);
}

/* The path leads into no archive. */
static void leave(struct visit *v)
{
	if (v->plain)
		v->plain(v->m, v->path, v->req);
	else if (v->xattr)
		scout_models_getxattr(v->m, v->path, v->xattr, v->req);
	else
		scout_models_listxattr(v->m, v->path, v->req);
	visit_end(v, 0);
}

/* The path below the archive's folder, "" for the folder. */
static const char *below(const struct visit *v)
{
	return v->path[v->end] ? v->path + v->end + 1 : "";
}

static const char *folder(struct visit *v)
{
	memcpy(v->name, v->path, v->end);
	v->name[v->end] = '\0';
	return v->name;
}

static const char *archive(struct visit *v)
{
	(void)folder(v);
	v->name[v->end - 2] = '\0';
	return v->name;
}

/* What is known of path without asking; false: nothing. *unlisted: there is a listing without it. */
static bool known(struct scout_models *m, const char *path, struct scout_answer *ret,
		  bool *unlisted)
{
	struct scout_tree *tree;
	const struct scout_node *n;
	bool is = scout_catalogue_known(m, path, true, &n, &tree, ret);
	uint64_t life;

	*unlisted = tree && !n;
	if (is) {
		life = ret->kind == SCOUT_MISSING ? MISSING_NS : m->config->list_ttl_ns;
		is = scout_now_ns() - ret->asked_ns < life;
	} else if (n) {
		*ret = (struct scout_answer){
		    .kind = n->dir ? SCOUT_DIR : SCOUT_FILE,
		    .asked_ns = tree->listed_ns,
		    .bytes = n->bytes,
		    .modified = n->modified,
		    .version = n->version,
		};
		is = true;
	}
	scout_tree_unref(tree);
	return is;
}

static void look(struct visit *v, size_t from);
static void answered(struct scout_asker *a, int err, const struct scout_answer *answer);

static void ask(struct visit *v, enum step step)
{
	static const enum scout_question_kind kinds[] = {
	    [ASK_ARCHIVE] = SCOUT_ASK_LOOK,
	    [ASK_FOLDER] = SCOUT_ASK_LOOK,
	    [ASK_VERSION] = SCOUT_ASK_OBJECT,
	    [ASK_ANEW] = SCOUT_ASK_ANEW,
	};

	v->step = step;
	v->asker.answered = answered;
	scout_question_ask(v->m, kinds[step], step == ASK_FOLDER ? folder(v) : archive(v),
			   &v->asker);
}

static void got(struct scout_zip_waiter *w, int err, struct scout_zip *zip)
{
	struct visit *v = (struct visit *)((char *)w - offsetof(struct visit, waiter));
	struct scout_models *m = v->m;

	if (err == 0)
		err = scout_req_unwanted(v->req) ? -EINTR : v->found(v, zip);
	scout_zip_put(m, zip);
	visit_end(v, err);
}

static bool holds(struct visit *v, struct scout_zip *zip)
{
	struct scout_zip_place place;

	return !*below(v) || scout_zip_names_find(&zip->names, below(v), &place);
}

/* Goes on with the archive's directory. What is not in the one that is known may be in another that took its place, or
 * in the bucket under the folder's name. */
static void with_directory(struct visit *v)
{
	struct scout_models *m = v->m;
	struct scout_zip *zip;
	int err;

	v->waiter.got = got;
	zip = scout_zip_known(m, archive(v), v->answer.version, &err);
	if (zip && !v->asked && !holds(v, zip)) {
		bool folder_too = v->no_folder;

		scout_zip_put(m, zip);
		v->no_folder = false;
		ask(v, folder_too ? ASK_FOLDER : ASK_ANEW);
	} else if (zip || err < 0) {
		got(&v->waiter, err, zip);
	} else if (v->asked) {
		scout_zip_get(m, archive(v), &v->answer, &v->waiter);
	} else {
		ask(v, ASK_VERSION);
	}
}

static void answered(struct scout_asker *a, int err, const struct scout_answer *answer)
{
	struct visit *v = (struct visit *)a;
	bool file = err == 0 && answer->kind == SCOUT_FILE;

	if (err < 0) {
		visit_end(v, err);
		return;
	}
	if (file && v->step != ASK_FOLDER) {
		v->answer = *answer;
		v->asked = true;
	}
	switch (v->step) {
	case ASK_ARCHIVE:
		if (!file)
			look(v, strlen(v->path));
		else if (!v->no_folder)
			ask(v, ASK_FOLDER);
		else
			v->inside(v);
		break;
	case ASK_FOLDER:
		if (answer->kind == SCOUT_MISSING)
			v->inside(v);
		else
			look(v, v->end);
		break;
	case ASK_VERSION:
	case ASK_ANEW:
		if (file)
			with_directory(v);
		else
			visit_end(v, -ENOENT);
		break;
	}
}

/* Finds out whether path leads into an archive at or behind from. */
static void look(struct visit *v, size_t from)
{
	struct scout_answer named;
	bool unlisted, other;

	for (;; from = v->end) {
		v->end = next_folder(v->path, from);
		if (v->end == 0) {
			leave(v);
			return;
		}
		if (!known(v->m, folder(v), &named, &unlisted))
			break;
		unlisted = named.kind == SCOUT_MISSING;
		if (unlisted)
			break;
	}
	v->no_folder = unlisted;
	v->asked = false;
	if (!known(v->m, archive(v), &v->answer, &other) || v->answer.kind == SCOUT_MISSING)
		ask(v, ASK_ARCHIVE);
	else if (v->answer.kind == SCOUT_DIR)
		look(v, strlen(v->path));
	else if (!unlisted)
		ask(v, ASK_FOLDER);
	else
		v->inside(v);
}

/* NULL: path leads into no archive, by its words alone. */
static struct visit *visit_new(struct scout_models *m, const char *path, struct scout_req *req)
{
	size_t len = strlen(path) + 1;
	struct visit *v;

	if (!m->zips || next_folder(path, 0) == 0)
		return NULL;
	v = calloc(1, sizeof(*v) + 2 * len);
	if (!v)
		return NULL; /* there is no memory for what follows, either */
	v->m = m;
	v->req = req;
	v->name = v->path + len;
	memcpy(v->path, path, len);
	return v;
}

static void visit(struct scout_models *m, const char *path, struct scout_req *req,
		  scout_zip_plain *plain, void (*inside)(struct visit *v),
		  int (*found)(struct visit *v, struct scout_zip *zip))
{
	struct visit *v = visit_new(m, path, req);

	if (!v) {
		plain(m, path, req);
		return;
	}
	v->plain = plain;
	v->inside = inside;
	v->found = found;
	look(v, 0);
}

/* ---- attributes ---- */

static void dir_attr(const struct scout_models *m, int64_t modified, uint64_t version,
		     struct scout_attr *ret)
{
	scout_models_dir_attr(m, ret);
	ret->mode = S_IFDIR | 0555; /* also where the registry can be written to */
	ret->mtime.tv_sec = ret->atime.tv_sec = (time_t)modified;
	ret->version = version;
}

static void place_attr(const struct scout_models *m, const struct scout_zip *zip,
		       const struct scout_zip_place *place, struct scout_attr *ret)
{
	const struct scout_zip_entry *e = place->entry;

	if (place->dir) {
		dir_attr(m, e ? e->modified : zip->modified, zip->version, ret);
		return;
	}
	scout_models_file_attr(m, e->bytes, e->modified, zip->version, ret);
	ret->mode = S_IFREG | (e->executable ? 0555 : 0444);
}

static int attr_found(struct visit *v, struct scout_zip *zip)
{
	struct scout_result res = {.ttl_ms = 0};
	struct scout_zip_place place;

	if (scout_zip_names_find(&zip->names, below(v), &place)) {
		res.ttl_ms = SCOUT_TTL_MS;
		place_attr(v->m, zip, &place, &res.attr);
		scout_req_done(v->req, 0, &res);
	} else {
		scout_req_done(v->req, -ENOENT, &res);
	}
	return 0;
}

static void attr_inside(struct visit *v)
{
	struct scout_result res = {.ttl_ms = SCOUT_TTL_MS};

	if (*below(v)) {
		with_directory(v);
		return;
	}
	/* nobody has to wait for the directory to see that there is one */
	dir_attr(v->m, v->answer.modified, v->answer.version, &res.attr);
	scout_req_done(v->req, 0, &res);
	visit_end(v, 0);
}

void scout_zip_getattr(struct scout_models *m, const char *path, struct scout_req *req,
		       scout_zip_plain *plain)
{
	visit(m, path, req, plain, attr_inside, attr_found);
}

/* Members have no extended attributes, nor has the folder: the archive has. */
static void xattr_inside(struct visit *v)
{
	struct scout_result res = {.ttl_ms = 0};

	if (!v->xattr)
		scout_req_done(v->req, 0, &res);
	visit_end(v, v->xattr ? -ENODATA : 0);
}

void scout_zip_getxattr(void *self, const char *path, const char *name, struct scout_req *req)
{
	bool user = strncmp(name, "user.", strlen("user.")) == 0; /* nothing has others */
	struct visit *v = user ? visit_new(self, path, req) : NULL;

	if (v)
		v->xattr = strdup(name);
	if (!v || !v->xattr) {
		free(v);
		scout_models_getxattr(self, path, name, req);
		return;
	}
	v->inside = xattr_inside;
	look(v, 0);
}

void scout_zip_listxattr(void *self, const char *path, struct scout_req *req)
{
	struct visit *v = visit_new(self, path, req);

	if (!v) {
		scout_models_listxattr(self, path, req);
		return;
	}
	v->inside = xattr_inside;
	look(v, 0);
}

/* ---- open ---- */

static int open_found(struct visit *v, struct scout_zip *zip)
{
	struct scout_result res = {.ttl_ms = SCOUT_TTL_MS};
	struct scout_models_file *file;
	struct scout_zip_place place;
	int err;

	if (!scout_zip_names_find(&zip->names, below(v), &place))
		return -ENOENT;
	if (place.dir)
		return -EISDIR;
	err = scout_zip_open_member(v->m, archive(v), &v->answer, place.entry, below(v), &file,
				    &res.open.pages);
	if (err < 0)
		return err;
	place_attr(v->m, zip, &place, &res.open.attr);
	res.open.handle = file;
	scout_req_done(v->req, 0, &res);
	return 0;
}

static void open_inside(struct visit *v)
{
	if (*below(v))
		ask(v, ASK_ANEW);
	else
		visit_end(v, -EISDIR);
}

void scout_zip_open(struct scout_models *m, const char *path, struct scout_req *req,
		    scout_zip_plain *plain)
{
	visit(m, path, req, plain, open_inside, open_found);
}

/* ---- opendir, readdir ---- */

/* An open directory. */
struct opened {
	enum scout_folder_kind kind; /* SCOUT_FOLDER_ZIP */
	struct scout_zip *zip;       /* one reference */
	struct scout_zip_place place;
	uint64_t asked_ns;
	size_t count;
	uint32_t children[]; /* the entries at which they begin */
};

static int opendir_found(struct visit *v, struct scout_zip *zip)
{
	struct scout_result res = {.ttl_ms = 0};
	struct scout_zip_place place, child;
	struct opened *o;
	size_t count = 0, len;
	const char *name;

	if (!scout_zip_names_find(&zip->names, below(v), &place))
		return -ENOENT;
	if (!place.dir)
		return -ENOTDIR;
	for (uint32_t at = place.first; at < place.end; count++)
		at = scout_zip_names_child(&zip->names, &place, at, &name, &len, &child);
	o = calloc(1, sizeof(*o) + count * sizeof(o->children[0]));
	if (!o)
		return -ENOMEM;
	o->kind = SCOUT_FOLDER_ZIP;
	scout_zip_ref(v->m, zip);
	o->zip = zip;
	o->place = place;
	o->asked_ns = v->answer.asked_ns;
	for (uint32_t at = place.first; at < place.end;) {
		o->children[o->count++] = at;
		at = scout_zip_names_child(&zip->names, &place, at, &name, &len, &child);
	}
	res.open.handle = o;
	scout_req_done(v->req, 0, &res);
	return 0;
}

void scout_zip_opendir(struct scout_models *m, const char *path, struct scout_req *req,
		       scout_zip_plain *plain)
{
	visit(m, path, req, plain, with_directory, opendir_found);
}

void scout_zip_readdir(struct scout_models *m, void *handle, uint64_t index, struct scout_req *req)
{
	struct opened *o = handle;
	struct scout_result res = {.ttl_ms = SCOUT_TTL_MS};
	struct scout_dirent entries[DIRENTS];
	char names[DIRENTS][NAME_MAX + 1];
	size_t count = 0;

	for (uint64_t i = index; i < o->count && count < DIRENTS; i++, count++) {
		struct scout_zip_place child;
		const char *name;
		size_t len;

		(void)scout_zip_names_child(&o->zip->names, &o->place, o->children[i], &name, &len,
					    &child);
		memcpy(names[count], name, len);
		names[count][len] = '\0';
		entries[count].name = names[count];
		place_attr(m, o->zip, &child, &entries[count].attr);
	}
	res.dir.entries = entries;
	res.dir.count = count;
	scout_req_done(req, 0, &res);
}

void scout_zip_releasedir(struct scout_models *m, void *handle)
{
	struct opened *o = handle;

	scout_zip_put(m, o->zip);
	free(o);
}

/* ---- begin and end ---- */

/* Half for the points of all open members, half for their streams. Those that outlive no read, of which there may
 * be one for each ticket of the share, are counted in. */
static void set_limits(struct scout_zips *z, const struct scout_models *m)
{
	struct scout_budget_stats memory;
	size_t half = m->config->inflated_bytes / 2, streams = half / SCOUT_ZIP_STREAM_BYTES, reads;

	scout_budget_stats(m->budget, &memory);
	reads = 1 + memory.tickets_limit / SHARE_DIVISOR;
	scout_zip_pool_init(&z->points, half / sizeof(struct scout_zip_point));
	z->streams_max = streams > reads ? streams - reads : 1;
}

int scout_zip_start(struct scout_models *m)
{
	struct scout_zips *z = calloc(1, sizeof(*z));
	int err;

	if (!z)
		return -ENOMEM;
	err = scout_share_new(m->budget, SHARE_DIVISOR, &z->share);
	if (err == 0)
		err = scout_zip_work_start(&z->work);
	if (err < 0) {
		scout_share_free(z->share);
		free(z);
		return err;
	}
	scout_mutex_init(&z->lock, SCOUT_LOCK_LRU);
	set_limits(z, m);
	TAILQ_INIT(&z->idle);
	TAILQ_INIT(&z->line);
	m->zips = z;
	return 0;
}

void scout_zip_stop(struct scout_models *m)
{
	if (!m->zips)
		return;
	scout_zip_members_stop(m);
	scout_zip_work_stop(m->zips->work);
}

void scout_zip_destroy(struct scout_models *m)
{
	struct scout_zips *z = m->zips;

	if (!z)
		return;
	assert(!z->members);
	scout_zip_archives_destroy(m);
	scout_zip_work_free(z->work);
	scout_share_free(z->share);
	scout_zip_pool_destroy(&z->points);
	scout_mutex_destroy(&z->lock);
	free(z);
}

size_t scout_zip_held_bytes(struct scout_models *m)
{
	struct scout_zips *z = m->zips;

	return z ? scout_zip_pool_bytes(&z->points) +
		       atomic_load(&z->streams) * SCOUT_ZIP_STREAM_BYTES
		 : 0;
}
