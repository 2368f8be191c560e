/* Archives as folders: /models/…/model.zip.d/. What zip_*.c share, and what the backend asks of it. */
#ifndef MODELS_ZIP_H
#define MODELS_ZIP_H

#include "models/models.h"
#include "models/proven.h"
#include "models/question.h"
#include "models/read.h"
#include "models/zip_inflate.h"
#include "models/zip_names.h"
#include "models/zip_work.h"

struct scout_zip;
struct scout_zip_load;
struct scout_member;
TAILQ_HEAD(scout_zip_list, scout_zip);
TAILQ_HEAD(scout_zip_line, scout_zip_load);

/* What the handle of an open directory begins with. */
enum scout_folder_kind { SCOUT_FOLDER_KEYS, SCOUT_FOLDER_ZIP };

struct scout_zips {
	struct scout_zip_work *work;  /* immutable */
	struct scout_share *share;    /* immutable; of the buffers that members are inflated into */
	struct scout_mutex lock;      /* SCOUT_LOCK_LRU, never with another of that rank */
	struct scout_zip *archives;   /* under lock: by path */
	struct scout_zip_list idle;   /* under lock: least recently used first */
	unsigned nidle;               /* under lock */
	size_t idle_bytes;            /* under lock */
	struct scout_member *members; /* under lock: open ones, by object and place */
	atomic_size_t names_bytes;    /* of all archives' names */
	struct scout_zip_line line; /* under lock: waits for others to leave place for its names */
	atomic_uint nline;
	atomic_uint streams;          /* open for inflating */
	size_t streams_max;           /* immutable; beyond so many they do not outlive a read */
	struct scout_zip_pool points; /* to go on inflating from */
	struct scout_proven proven;   /* under lock */
};

/* The directory of one version of an archive. */
struct scout_zip {
	/* immutable, names and err since it was handed out */
	struct scout_zip_names names;
	int err; /* why it has none, for good: a broken archive */
	uint64_t version;
	int64_t modified;

	/* under zips->lock */
	unsigned refs;
	bool loaded, listed, is_idle;
	TAILQ_HEAD(, scout_zip_waiter) waiters; /* until it is loaded */
	TAILQ_ENTRY(scout_zip) link;            /* zips->idle */
	UT_hash_handle hh;                      /* zips->archives */
	char path[];                            /* immutable */
};

struct scout_zip_waiter {
	/* With no lock held, on any thread, perhaps before scout_zip_get returns. err 0: the callee has
	 * a reference to zip. -errno: it is broken, however often it was fetched (told in the log, once), or
	 * could not be read. */
	void (*got)(struct scout_zip_waiter *w, int err, struct scout_zip *zip);
	TAILQ_ENTRY(scout_zip_waiter) link; /* under zips->lock */
};

/* zip_archive.c */
/* The directory of the archive at path that answer (FILE, of S3 itself) tells of; read once for all who
 * ask, and kept for a while. */
void scout_zip_get(struct scout_models *m, const char *path, const struct scout_answer *answer,
		   struct scout_zip_waiter *w);
/* A reference to it if it is here; NULL: it is not. *err as for got. */
struct scout_zip *scout_zip_known(struct scout_models *m, const char *path, uint64_t version,
				  int *err);
void scout_zip_ref(struct scout_models *m, struct scout_zip *zip);
void scout_zip_put(struct scout_models *m, struct scout_zip *zip); /* NULL is fine */
/* o's bytes were wrong: nothing of them stays, nor what its directory was read as, so that the next who
 * opens it has all fetched anew. No lock held. */
void scout_zip_forget(struct scout_models *m, struct scout_object *o);
void scout_zip_archives_destroy(struct scout_models *m);

/* zip_member.c */
/* Opens the member e, path inside of it, of the archive at path that answer tells of. *pages: as
 * scout_result has it, for nobody may remember the CRC of what the kernel has of it. Returns 0, or -errno (-EIO,
 * -EOPNOTSUPP: refused, told in the log). */
int scout_zip_open_member(struct scout_models *m, const char *archive,
			  const struct scout_answer *answer, const struct scout_zip_entry *e,
			  const char *inside, struct scout_models_file **ret, uint64_t *pages);
/* The backend's read and release, of files that have a member. */
void scout_zip_read(struct scout_models *m, struct scout_models_file *file, uint64_t offset,
		    size_t size, uint64_t version, struct scout_req *req);
void scout_zip_release(struct scout_models *m, struct scout_models_file *file);
void scout_zip_members_stop(struct scout_models *m);

/* zip.c: NULL m->zips: unzip = no. */
/* Returns 0 or -errno. */
int scout_zip_start(struct scout_models *m);
/* m->stopped is set, S3 and reads have ended. */
void scout_zip_stop(struct scout_models *m);
void scout_zip_destroy(struct scout_models *m);
/* What open members hold beside the budget, to go on inflating. */
size_t scout_zip_held_bytes(struct scout_models *m);

/* Whether path is, or lies in, what may be an archive's folder, whatever the bucket has. */
bool scout_zip_claims(const struct scout_models *m, const char *path);

typedef void scout_zip_plain(struct scout_models *m, const char *path, struct scout_req *req);
/* The backend's operations of that name, for any path: of what lies in no archive, plain's. */
void scout_zip_getattr(struct scout_models *m, const char *path, struct scout_req *req,
		       scout_zip_plain *plain);
void scout_zip_open(struct scout_models *m, const char *path, struct scout_req *req,
		    scout_zip_plain *plain);
void scout_zip_opendir(struct scout_models *m, const char *path, struct scout_req *req,
		       scout_zip_plain *plain);
void scout_zip_getxattr(void *self, const char *path, const char *name, struct scout_req *req);
void scout_zip_listxattr(void *self, const char *path, struct scout_req *req);
/* Of a handle that begins with SCOUT_FOLDER_ZIP. */
void scout_zip_readdir(struct scout_models *m, void *handle, uint64_t index, struct scout_req *req);
void scout_zip_releasedir(struct scout_models *m, void *handle);

#endif
