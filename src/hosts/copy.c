/* Copies from one open file of a host to another by the server itself (copy-data of OpenSSH's PROTOCOL,
 * 4.10), so that the bytes do not travel. A copy is a turn of the file that is written.
 *
 * Both handles must be of one session: where they are not, the source is opened once more, on the
 * session of the destination, and has to show the same file. The server does not say how far it came;
 * the sizes of both files do. What is in doubt is left to the kernel (-EOPNOTSUPP), which then reads
 * and writes, and finds the error if there is one.
 *
 * Locks: node->lock and file->lock of one file at a time; calls and completions run with none. */
#include <errno.h>
#include <stdlib.h>

#include "hosts/attr.h"
#include "hosts/file.h"
#include "hosts/turn.h"

/* Whoever else uses the session waits for as long as one copy takes. */
#define COPY_MAX ((uint64_t)32 << 20)
#define COPY_PER_S ((uint64_t)4 << 20) /* what any server does */

enum { BEFORE, COPY, AFTER, WRITTEN, CALLS };

struct copying {
	struct scout_req *req;
	struct scout_file *from, *to; /* with references */
	uint64_t from_offset, to_offset, length, copied;
	struct scout_settle settle;
	/* of the two files, and of from on target's session; each with a reference */
	struct scout_handle *own, *target, *source;
	char *path;
	struct scout_rpc open, look_own, look_source;
	atomic_uint looks;
	struct scout_view view; /* of from, when the looks at it went out */
	struct scout_turn turn; /* with CALLS calls */
};

static void finish(struct copying *c, int err)
{
	struct scout_result res = {.copied = c->copied};
	struct scout_file *from = c->from, *to = c->to;

	scout_req_done(c->req, err, err ? NULL : &res);
	scout_handle_unref(c->own);
	scout_handle_unref(c->target);
	scout_handle_unref(c->source);
	free(c->path);
	free(c);
	scout_file_unref(from);
	scout_file_unref(to);
}

static struct copying *copying_of(struct scout_turn *t)
{
	return SCOUT_CONTAINER(t, struct copying, turn);
}

/* Why there is nothing to copy any more: the destination was opened anew meanwhile, or nobody waits. */
static int refusal_locked(const struct copying *c)
{
	if (scout_req_unwanted(c->req))
		return -EINTR;
	return c->source->session == c->turn.handle->session ? 0 : -EOPNOTSUPP;
}

static void prepare(struct scout_turn *t)
{
	struct copying *c = copying_of(t);
	struct scout_sftp_call *call;

	t->err = refusal_locked(c);
	if (t->err) {
		(void)scout_turn_call(t, 0, SCOUT_SFTP_FSTAT); /* a look stands in for it */
		return;
	}
	scout_node_cut_locked(c->to->node);
	c->view = scout_node_view(c->from->node);
	scout_turn_call(t, BEFORE, SCOUT_SFTP_FSTAT)->handle = &c->source->remote;
	call = scout_turn_call(t, COPY, SCOUT_SFTP_COPY_DATA);
	call->handle = &c->source->remote;
	call->offset = c->from_offset;
	call->length64 = c->length;
	call->handle2 = &t->handle->remote;
	call->offset2 = c->to_offset;
	scout_turn_call(t, AFTER, SCOUT_SFTP_FSTAT)->handle = &c->source->remote;
	(void)scout_turn_call(t, WRITTEN, SCOUT_SFTP_FSTAT);
}

static uint64_t size_at(const struct copying *c, unsigned look)
{
	struct scout_attr attr;

	scout_attr_map(&c->turn.calls[look].call.attrs, &attr);
	return attr.size;
}

static uint64_t bytes_there(const struct copying *c, unsigned look)
{
	uint64_t size = size_at(c, look), left = size > c->from_offset ? size - c->from_offset : 0;

	return left < c->length ? left : c->length;
}

/* What a look at the source says of who has it open: 0 or -ESTALE. */
static int note_source(struct copying *c, const struct scout_rpc *look)
{
	struct scout_file *from = c->from;
	int err;

	scout_lock(&from->node->lock);
	scout_lock(&from->lock);
	err = scout_file_note_locked(from, &look->call.attrs, &c->view);
	scout_unlock(&from->lock);
	scout_unlock(&from->node->lock);
	return err;
}

static bool more(struct scout_turn *t)
{
	struct copying *c = copying_of(t);
	uint64_t before, after;

	for (unsigned i = 0; !t->err && i < CALLS; i++)
		if (t->calls[i].err)
			t->err = -EOPNOTSUPP;
	if (!t->err)
		t->err = note_source(c, &t->calls[BEFORE]);
	if (!t->err)
		t->err = note_source(c, &t->calls[AFTER]);
	if (t->err)
		return false;
	before = bytes_there(c, BEFORE);
	after = bytes_there(c, AFTER);
	c->copied = before < after ? before : after;
	/* A file that shows no size may have bytes all the same, and one that shows some have none. */
	if (!size_at(c, AFTER) || (c->copied && size_at(c, WRITTEN) < c->to_offset + c->copied))
		t->err = -EOPNOTSUPP;
	return false;
}

static bool lost_locked(struct scout_turn *t, bool left)
{
	if (left)
		scout_node_doubt(t->file->node);
	t->err = left ? -EIO : -EOPNOTSUPP;
	return false;
}

static void ended_locked(struct scout_turn *t)
{
	struct copying *c = copying_of(t);

	scout_node_cut_locked(c->to->node);
	if (!t->err)
		c->to->unsynced = true;
}

static void over(struct scout_turn *t)
{
	struct copying *c = copying_of(t);

	if (t->err == -EIO)
		scout_file_log(c->to, "copy", "the connection was lost before the server answered",
			       t->err);
	else if (t->err == -ESTALE)
		scout_file_log(c->from, "copy", NULL, t->err);
	finish(c, t->err);
}

static const struct scout_turn_ops ops = {
    .modifies = true,
    .alone = true,
    .prepare = prepare,
    .more = more,
    .lost_locked = lost_locked,
    .ended_locked = ended_locked,
    .over = over,
};

/* c->source is known. */
static void copy(struct copying *c)
{
	struct scout_file *to = c->to;

	scout_file_ref(to);
	scout_lock(&to->node->lock);
	to->wrote = true;
	scout_turn_add_locked(to, &c->turn);
	scout_unlock(&to->node->lock);
	scout_node_run(to->node);
	scout_file_unref(to);
}

static void looked(struct copying *c)
{
	struct scout_attr own, source;
	int err;

	if (atomic_fetch_sub(&c->looks, 1) != 1)
		return;
	scout_attr_map(&c->look_own.call.attrs, &own);
	scout_attr_map(&c->look_source.call.attrs, &source);
	err = c->look_own.err || c->look_source.err ? -EOPNOTSUPP : note_source(c, &c->look_own);
	if (!err &&
	    (!S_ISREG(source.mode) || own.size != source.size || own.version != source.version))
		err = -EOPNOTSUPP;
	if (err)
		finish(c, err);
	else
		copy(c);
}

static void own_looked(struct scout_rpc *rpc, int err)
{
	(void)err; /* rpc->err */
	looked(SCOUT_CONTAINER(rpc, struct copying, look_own));
}

static void source_looked(struct scout_rpc *rpc, int err)
{
	(void)err;
	looked(SCOUT_CONTAINER(rpc, struct copying, look_source));
}

static void opened(struct scout_rpc *rpc, int err)
{
	struct copying *c = SCOUT_CONTAINER(rpc, struct copying, open);

	if (err) {
		finish(c, -EOPNOTSUPP);
		return;
	}
	scout_handle_opened(c->source, rpc);
	c->view = scout_node_view(c->from->node);
	atomic_init(&c->looks, 2);
	c->look_own.call.op = c->look_source.call.op = SCOUT_SFTP_FSTAT;
	c->look_own.call.handle = &c->own->remote;
	c->look_source.call.handle = &c->source->remote;
	c->look_own.done = own_looked;
	c->look_source.done = source_looked;
	scout_rpc_send_on(c->own->session, &c->look_own);
	scout_rpc_send_on(c->target->session, &c->look_source);
}

/* The source on the session of the destination. */
static void open_source(struct copying *c)
{
	c->path = scout_node_path(c->from->node);
	c->source = c->path ? scout_handle_new(c->to->host) : NULL;
	if (!c->source) {
		finish(c, -EOPNOTSUPP);
		return;
	}
	c->open.call.op = SCOUT_SFTP_OPEN;
	c->open.call.flags = SCOUT_SFTP_FLAG_READ;
	c->open.call.path = c->path;
	c->open.done = opened;
	scout_rpc_send_on(c->target->session, &c->open);
}

/* dead: is set if f is. */
static struct scout_handle *handle_of(struct scout_file *f, int *dead)
{
	struct scout_handle *h;

	scout_lock(&f->lock);
	h = f->handle ? scout_handle_ref(f->handle) : NULL;
	if (f->dead)
		*dead = f->dead;
	scout_unlock(&f->lock);
	return h;
}

static void find_source(struct copying *c)
{
	int dead = 0;

	if (scout_req_unwanted(c->req)) {
		finish(c, -EINTR);
		return;
	}
	c->own = handle_of(c->from, &dead);
	c->target = handle_of(c->to, &dead);
	if (dead) {
		finish(c, dead);
	} else if (!c->own || !c->target) {
		finish(c, -EOPNOTSUPP);
	} else if (c->own->session == c->target->session) {
		c->source = scout_handle_ref(c->own);
		copy(c);
	} else {
		open_source(c);
	}
}

/* The source has all that was written to it here. */
static void settled(struct scout_settle *w)
{
	find_source(SCOUT_CONTAINER(w, struct copying, settle));
}

static bool offered(struct scout_host *host)
{
	bool yes;

	scout_lock(&host->lock);
	yes = host->server.extensions & SCOUT_SFTP_EXT(SCOUT_SFTP_COPY_DATA);
	scout_unlock(&host->lock);
	return yes;
}

static uint64_t piece(const struct scout_host *host, uint64_t length)
{
	uint64_t most = host->config->request_timeout_ns / SCOUT_NS_PER_MS * COPY_PER_S / 1000;

	if (most > COPY_MAX)
		most = COPY_MAX;
	return length < most ? length : most;
}

void scout_file_copy(struct scout_file *from, uint64_t from_offset, struct scout_file *to,
		     uint64_t to_offset, uint64_t length, struct scout_req *req)
{
	struct scout_result res = {0};
	struct copying *c = NULL;
	int err = 0;

	if (from->host != to->host)
		err = -EXDEV;
	else if (!to->writes)
		err = -EBADF;
	else if (from->node == to->node || to->appends || !offered(to->host))
		err = -EOPNOTSUPP;
	if (!err && length) {
		c = calloc(1, sizeof *c + CALLS * sizeof c->turn.calls[0]);
		if (!c)
			err = -ENOMEM;
	}
	if (!c) {
		scout_req_done(req, err, err ? NULL : &res);
		return;
	}
	c->req = req;
	c->from = scout_file_ref(from);
	c->to = scout_file_ref(to);
	c->from_offset = from_offset;
	c->to_offset = to_offset;
	c->length = piece(to->host, length);
	c->turn.ops = &ops;
	c->settle.settled = settled;
	if (scout_node_wait(from->node, &c->settle))
		find_source(c);
}
