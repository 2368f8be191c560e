/* Multipart uploads that were begun and never ended, by a mount that crashed or by anybody else. */
#ifndef MODELS_LEFTOVERS_H
#define MODELS_LEFTOVERS_H

#include "models/upload.h"

/* pub->unended. Returns 0 or -ENOMEM. */
int scout_leftovers_new(struct scout_publisher *pub);
void scout_leftovers_free(struct scout_leftovers *l); /* the engine is stopped; NULL is fine */
/* Looks for them and aborts the old ones, now and every hour until the engine stops. Called once; never waits. */
void scout_leftovers_start(struct scout_leftovers *l);
/* The ABORT of an upload of this mount, begun then by our clock, failed with err: it is sent again, a few times
 * within about a minute, and after that left to the looks. On the engine's thread; never waits. */
void scout_leftovers_again(struct scout_leftovers *l, const char *key, const char *id, time_t begun,
			   int err);
void scout_leftovers_report(struct scout_leftovers *l, struct scout_text *out);

#endif
