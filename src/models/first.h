/* The first bytes of an object, asked for beside the question that an open asks. */
#ifndef MODELS_FIRST_H
#define MODELS_FIRST_H

#include "models/block.h"

struct scout_first;

/* Asks S3 for the first MiB of path, if it is known to be an object of which nothing is here. NULL: nothing was
 * asked for. No lock held. Who gets one calls scout_first_known once. */
struct scout_first *scout_first_ask(struct scout_models *m, const char *path);
/* S3 has said what path is now: o, whose blocks they become if they are of that version, on the engine's thread;
 * NULL: nothing that anybody reads, on any thread. NULL for first is fine. No lock held. */
void scout_first_known(struct scout_first *first, struct scout_object *o);

#endif
