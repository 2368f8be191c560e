/* The first bytes of an object, asked for beside the question that an open asks. */
#ifndef MODELS_FIRST_H
#define MODELS_FIRST_H

#include "models/block.h"

struct scout_first;

/* Asks S3 for the first MiB of path, if it is known to be an object of which nothing is here. NULL: nothing was
 * asked for. Who gets one calls scout_first_leave when its open is over. No lock held. */
struct scout_first *scout_first_ask(struct scout_models *m, const char *path);
/* S3 has said that there is o: what was asked for, by whomever, becomes its blocks if it is of that version. What is
 * just being asked for does not: that is left to who asks for it. On the engine's thread, before anybody is told of o;
 * no lock held. */
void scout_first_join(struct scout_models *m, struct scout_object *o);
/* Gives up what no object has taken. Any thread, no lock held; NULL is fine. */
void scout_first_leave(struct scout_first *first);

#endif
