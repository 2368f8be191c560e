/* Files that are being written, and what they share: see publish.h for how they begin. */
#ifndef MODELS_UPLOAD_H
#define MODELS_UPLOAD_H

#include "models/caller.h"
#include "models/models.h"
#include "models/question.h"

#define SCOUT_PARTS_MAX 10000 /* S3's, of one object */

struct scout_upload;
struct scout_change;
struct scout_leftovers;
TAILQ_HEAD(scout_upload_list, scout_upload);

struct scout_publisher {
	/* immutable */
	struct scout_models *m;
	struct scout_backend_ops ops;          /* what the front sees */
	const struct scout_backend_ops *below; /* the reading backend's */
	struct scout_share *share;
	size_t tickets;         /* held for good: what promises the pool's buffers */
	size_t pool, part_bufs; /* in buffers: of all parts, of the first ones */
	size_t copies_max;      /* buffers for bytes of writes that wait */

	struct scout_mutex lock;         /* SCOUT_LOCK_LRU, never with another of that rank */
	pthread_cond_t settled;          /* an upload settled */
	size_t spare;                    /* under lock: of the pool */
	size_t copies;                   /* under lock */
	struct scout_upload_list all;    /* under lock */
	struct scout_upload_list queue;  /* under lock: those that wait for a part's room */
	struct scout_upload *by_path;    /* under lock: those that still may be published */
	unsigned unsettled;              /* under lock */
	struct scout_change *changes;    /* under lock: changes.c */
	struct scout_leftovers *unended; /* leftovers.c */
	scout_counter published, failed, bytes; /* atomic */
	atomic_bool unconditional;              /* S3 refuses requests with a condition */
};

/* One with a reference for its handle, whose path no other has; 0, -EBUSY or -ENOMEM. */
int scout_upload_new(struct scout_publisher *pub, const char *path, struct scout_upload **ret);
/* The one at path, referenced, or NULL. */
struct scout_upload *scout_upload_find(struct scout_publisher *pub, const char *path);
/* Whether one is below the folder path. */
bool scout_upload_below(struct scout_publisher *pub, const char *path);
void scout_upload_ref(struct scout_upload *u);
void scout_upload_unref(struct scout_upload *u);
/* Before its handle is given out, by open(2)'s flags. replaced: the object at path, whose name that stays until it is
 * published, or NULL. */
void scout_upload_opened(struct scout_upload *u, int flags, const struct scout_answer *replaced);
/* It is what its name stands for: it was opened, and nothing was there. */
bool scout_upload_has_name(struct scout_upload *u);
/* It never began: nobody hears of it. Takes its handle's reference. */
void scout_upload_forget(struct scout_upload *u);
/* Its handle is gone, and the reference with it. */
void scout_upload_release(struct scout_upload *u);
/* The file as it is written so far. */
void scout_upload_attr(struct scout_upload *u, struct scout_attr *ret);

/* The backend's operations on it. */
void scout_upload_write(struct scout_upload *u, uint64_t offset, const void *data, size_t size,
			struct scout_req *req);
void scout_upload_flush(struct scout_upload *u, struct scout_req *req);
/* It becomes so large at least when it is closed, by zeros at its end. 0 or -errno, and then it goes on as it was. */
int scout_upload_grow(struct scout_upload *u, uint64_t size);

/* Ends all of them, unpublished: within a few seconds all are aborted, or given up. */
void scout_upload_stop_all(struct scout_publisher *pub);
/* The ids of multipart uploads that are ours and alive; pub->lock is held. */
bool scout_upload_owns_locked(struct scout_publisher *pub, const char *id);
/* Appends a line for each, some of them. */
void scout_upload_report(struct scout_publisher *pub, struct scout_text *out);

#endif
