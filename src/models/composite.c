/* Where the parts of an upload ended, if its checksum is composite. No header of the object tells that; HeadObject
 * with a partNumber tells the size of a part (Amazon S3 API reference), with the right to read the object.
 *
 * The first part is asked for, and the others but the last are taken to be as large, if then the object comes to as
 * many parts as its checksum has: so all SDKs upload. A server that knows no parts tells the size of the whole, which
 * comes to one. If it does not come out, or there is no answer, the object is read uncompared, with a line in the log.
 *
 * S3 takes parts of any sizes, and other ones may come out by chance. Then the digest does not match, of bytes that are
 * right: so before bytes are called wrong, the other parts are asked for too, one after the other, until one is of
 * another size: then the object is not compared. If none is, or there is no answer, the bytes are wrong: who opens it
 * anew has all of it fetched, compared, and perhaps asked for, again. Meanwhile who waits for the verdict waits on, until
 * his own time is over.
 *
 * One request of an object is under way at a time, on the engine's thread but for the first; it holds a reference. */
#include "models/composite.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/block.h"
#include "scoutfs/log.h"

struct asking {
	struct scout_s3_call call;
	struct scout_models *m;
	struct scout_object *object; /* one reference */
};

/* Its checksum's parts and part_bytes do not change while S3 is asked. */
static const struct scout_s3_checksum *want_of(const struct asking *a)
{
	return &a->object->verify.want;
}

static void end(struct asking *a)
{
	scout_object_unref(a->m, a->object);
	free(a);
}

static void leave_uncompared(struct scout_models *m, struct scout_object *o, const char *why)
{
	const struct scout_s3_checksum *want = &o->verify.want;
	char name[256];

	if (!atomic_load(&m->stopped))
		scout_warn("models: '%s': cannot be compared with its checksum, %s of %u parts: %s",
			   scout_format_name(name, sizeof(name), o->key),
			   scout_s3_checksum_name(want->kind), want->parts, why);
	scout_verify_told(m, o, 0);
}

/* What the first part's size comes to. */
static void settle(struct asking *a, int err)
{
	uint64_t bytes = a->call.object_bytes, all = a->object->cut.bytes;
	bool same = err == 0 && scout_s3_etag_same(a->call.etag, a->object->etag);
	char why[sizeof(a->call.reason) + 64];

	if (same && bytes > 0 && (all - 1) / bytes + 1 == want_of(a)->parts) {
		scout_verify_told(a->m, a->object, bytes);
		return;
	}
	if (same)
		snprintf(why, sizeof(why),
			 "by what S3 says, the first one has %" PRIu64 " bytes of %" PRIu64, bytes,
			 all);
	else if (err == 0)
		snprintf(why, sizeof(why), "it changed");
	else
		snprintf(why, sizeof(why), "no part can be asked for (%s)",
			 *a->call.reason ? a->call.reason : strerror(-err));
	leave_uncompared(a->m, a->object, why);
}

static void first_done(struct scout_s3_call *call, int err)
{
	struct asking *a = (struct asking *)call;

	settle(a, err);
	end(a);
}

static void other_done(struct scout_s3_call *call, int err)
{
	struct asking *a = (struct asking *)call;
	bool told = err == 0 && scout_s3_etag_same(call->etag, a->object->etag);
	bool same = call->object_bytes == want_of(a)->part_bytes;

	if (told && same && call->part + 1 < want_of(a)->parts) {
		call->part++;
		scout_s3_submit(a->m->s3, call);
		return;
	}
	if (told && !same)
		leave_uncompared(a->m, a->object, "these are of several sizes");
	else
		scout_verify_wrong(a->m, a->object);
	end(a);
}

/* NULL: no memory. */
static struct asking *asking_new(struct scout_models *m, struct scout_object *o, unsigned part)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->m = m;
	a->object = o;
	scout_object_ref(o);
	a->call = (struct scout_s3_call){
	    .op = SCOUT_S3_HEAD,
	    .key = o->s3_key,
	    .version_id = o->s3_version_id,
	    .part = part,
	    .done = part == 1 ? first_done : other_done,
	};
	return a;
}

void scout_composite_ask(struct scout_models *m, struct scout_object *o)
{
	struct asking *a = asking_new(m, o, 1);

	if (a)
		scout_s3_submit(m->s3, &a->call);
	else
		leave_uncompared(m, o, "no memory");
}

bool scout_composite_is_doubtful(const struct scout_s3_checksum *want)
{
	return want->parts > 2; /* of two, the first one's size is known, and so the other's */
}

void scout_composite_doubt(struct scout_models *m, struct scout_object *o)
{
	struct asking *a = asking_new(m, o, 2);

	if (a)
		scout_s3_submit(m->s3, &a->call);
	else
		scout_verify_wrong(m, o);
}
