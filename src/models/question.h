/* Direct questions to S3 about one name, and what was answered lately. */
#ifndef MODELS_QUESTION_H
#define MODELS_QUESTION_H

#include "models/models.h"
#include "models/xattr.h"

enum scout_answer_kind { SCOUT_MISSING, SCOUT_FILE, SCOUT_DIR };

struct scout_answer {
	enum scout_answer_kind kind;
	uint64_t asked_ns; /* S3 said so later than this */
	uint64_t bytes;
	int64_t modified;
	uint64_t version;
	char etag[SCOUT_ETAG_MAX];
	struct scout_s3_checksum checksum; /* of all its bytes, if S3 told one */
	struct scout_xattrs *xattrs;       /* of FILE; NULL: not known */
	bool listed;                       /* not by a HEAD: no ETag, no checksum, no `empty` */
	bool
	    empty; /* DIR: in it is nothing but its marker, the object "path/"; false: perhaps, too */
	UT_hash_handle hh; /* m->answers, under question_lock */
	char *path;        /* the table's own */
};

enum scout_question_kind {
	SCOUT_ASK_NAME,   /* file or directory: HEAD and LIST together */
	SCOUT_ASK_OBJECT, /* HEAD alone: the answer is FILE or MISSING */
	SCOUT_ASK_ANEW,   /* likewise, and sent after this was asked */
	SCOUT_ASK_LOOK    /* as NAME, and what was missing a moment ago is asked for again */
};

struct scout_asker {
	/* With no lock held, on any thread, perhaps before scout_question_ask returns. err 0: answer is
	 * borrowed for the call; else NULL. */
	void (*answered)(struct scout_asker *a, int err, const struct scout_answer *answer);
	TAILQ_ENTRY(scout_asker) link; /* under question_lock */
};

void scout_question_init(struct scout_models *m);
void scout_question_destroy(struct scout_models *m); /* stopped */

/* An answer that was asked for a moment ago at most (50 ms): the last one, or that of a question under
 * way (however many ask), or a new one's; ANEW takes only the last of these, one for all who came while
 * a question was under way. path is not "". */
void scout_question_ask(struct scout_models *m, enum scout_question_kind kind, const char *path,
			struct scout_asker *a);

/* The last answer about path if it was asked after since_ns; false: none. ret->path and xattrs are
 * not set. */
bool scout_question_known(struct scout_models *m, const char *path, uint64_t since_ns,
			  struct scout_answer *ret);

/* What an answer of the last second told of the object at path: one reference; NULL: nothing. */
struct scout_xattrs *scout_question_xattrs(struct scout_models *m, const char *path);

/* Drops the answers that a listing begun at asked_ns has overtaken. */
void scout_question_forget(struct scout_models *m, uint64_t asked_ns);

/* What was answered about path is known to be wrong, and so may be what a question under way is told: who
 * asked already hears it, who asks from now on does not. */
void scout_question_drop(struct scout_models *m, const char *path);
/* Nor need the folders on the way to path be there any more. */
void scout_question_drop_parents(struct scout_models *m, const char *path);
/* The same of all paths. */
void scout_question_refresh(struct scout_models *m);

/* This mount has just removed the object at path (attr NULL), or made it what attr says, and a question about it
 * failed: that is the answer then, until there is a better one. */
void scout_question_tell(struct scout_models *m, const char *path, const struct scout_attr *attr);

/* How many answers are kept. */
unsigned scout_question_count(struct scout_models *m);

#endif
