/* Reads of open objects, and the waiting for memory and bytes. */
#ifndef MODELS_READ_H
#define MODELS_READ_H

#include "models/block.h"

/* An open file, or a part of one. */
struct scout_models_file {
	struct scout_object *object; /* one reference */
	struct scout_member *member; /* of an archive, which it shows: zip.h; else NULL */
	uint64_t end; /* nothing beyond it is fetched ahead of a reader; not while one reads */
	_Atomic uint64_t proved; /* the version that it proved itself against last */
	/* under object->lock */
	struct scout_run run;
	TAILQ_ENTRY(scout_models_file) link; /* object->files */
	int failed_err;                      /* of the last reads that S3 failed; 0: none */
	uint64_t failed_ns;                  /* when */
	uint64_t failed_from, failed_end;    /* what they asked for */
};

void scout_read_init(struct scout_models *m);
void scout_read_destroy(struct scout_models *m);
/* m->stopped is set: ends the reads that wait for memory. */
void scout_read_stop(struct scout_models *m);

/* Opens the object that answer (FILE) tells of. Returns 0 or -ENOMEM. */
int scout_models_file_open(struct scout_models *m, const char *path,
			   const struct scout_answer *answer, struct scout_models_file **ret);
void scout_models_file_close(struct scout_models *m, struct scout_models_file *file);

/* The backend's read, for whatever else needs bytes of an object, too: req is then the caller's own,
 * and done copies what it wants of the bytes, which may be on the engine's thread. */
void scout_read(void *self, void *handle, uint64_t offset, size_t size, uint64_t version,
		struct scout_req *req);

/* Moves the waiting reads of o that have their bytes, or cannot have them, to list; o->lock held. */
void scout_read_collect_locked(struct scout_object *o, struct scout_read_list *list);
/* Completes them; no lock held. */
void scout_read_finish(struct scout_read_list *list);

#endif
