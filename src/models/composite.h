/* The sizes of an upload's parts, with which its composite checksum is one of the object's bytes. */
#ifndef MODELS_COMPOSITE_H
#define MODELS_COMPOSITE_H

#include <stdbool.h>

#include "scoutfs/s3.h"

struct scout_models;
struct scout_object;

/* Asks S3 for the size of o's first part, and tells verify.c, perhaps before it returns. o's checksum is composite;
 * no lock is held. */
void scout_composite_ask(struct scout_models *m, struct scout_object *o);

/* Whether a digest that does not match may be that of bytes which are right, in other parts than were believed. */
bool scout_composite_is_doubtful(const struct scout_s3_checksum *want);
/* It is: asks for the sizes of the others, and tells verify.c what is true, perhaps before it returns. No lock is
 * held. */
void scout_composite_doubt(struct scout_models *m, struct scout_object *o);

#endif
