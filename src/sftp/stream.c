/* The incremental parser of what the server sends, and the calls in flight. The server is not
 * believed: an answer must carry the id of a call in flight and be of a type that answers it, and
 * its lengths must fit; everything else ends the session. No lock: the session's thread only. */
#include "sftp/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/clock.h"

#define HEAD_BYTES 5u /* length, type */
#define DATA_HEAD_BYTES 13u
#define READ_BYTES_DEFAULT 32768u
/* What is asked for beyond what is on its way already only waits at the server: it answers in order, and
 * OpenSSH copies all that waits each time a buffer of it grows, with three times the work for 32 MiB.
 * So there is in flight what a fast session moves in a round trip. */
#define READS_MIN ((uint64_t)4 * 1024 * 1024)
#define READS_PER_MS ((uint64_t)512 * 1024)
#define READS_WINDOWS 2
/* A link that is slower than that shows by answers that are late; then there is in flight what it moves in
 * a moment: who asks for little beside who reads much waits for no more. */
#define READS_LEAST ((uint64_t)256 * 1024)
#define LATE_NS (500 * SCOUT_NS_PER_MS)
#define MOMENT_NS (250 * SCOUT_NS_PER_MS)

void scout_sftp_stream_init(struct scout_sftp_stream *st,
			    void (*done)(void *arg, struct scout_sftp_call *call, int err),
			    void *arg)
{
	memset(st, 0, sizeof(*st));
	st->done = done;
	st->arg = arg;
	st->server.read_bytes = READ_BYTES_DEFAULT;
	st->server.write_bytes = READ_BYTES_DEFAULT;
	TAILQ_INIT(&st->in_flight);
}

void scout_sftp_stream_free(struct scout_sftp_stream *st)
{
	free(st->packet);
	free(st->names.list);
	st->packet = NULL;
	st->names.list = NULL;
}

bool scout_sftp_stream_add(struct scout_sftp_stream *st, struct scout_sftp_call *call)
{
	if (st->count == SCOUT_SFTP_CALLS_MAX)
		return false;
	/* ids go round, so a free slot is near unless old calls stay unanswered */
	do
		st->next_id++;
	while (st->slots[st->next_id % SCOUT_SFTP_CALLS_MAX] || st->next_id >= SCOUT_SFTP_SELF_ID);
	call->id = st->next_id;
	st->slots[call->id % SCOUT_SFTP_CALLS_MAX] = call;
	TAILQ_INSERT_TAIL(&st->in_flight, call, link);
	st->count++;
	if (call->op == SCOUT_SFTP_READ) {
		st->read_bytes += call->length;
		call->among_bytes = st->read_bytes;
	}
	return true;
}

void scout_sftp_stream_remove(struct scout_sftp_stream *st, struct scout_sftp_call *call)
{
	st->slots[call->id % SCOUT_SFTP_CALLS_MAX] = NULL;
	TAILQ_REMOVE(&st->in_flight, call, link);
	st->count--;
	if (call->op == SCOUT_SFTP_READ)
		st->read_bytes -= call->length;
}

bool scout_sftp_stream_may_read(const struct scout_sftp_stream *st, uint32_t length,
				uint64_t round_trip_ns, size_t window)
{
	uint64_t most = round_trip_ns / SCOUT_NS_PER_MS * READS_PER_MS;

	if (most < READS_MIN)
		most = READS_MIN;
	if (most > READS_WINDOWS * window)
		most = READS_WINDOWS * window;
	if (st->slow_bytes && most > st->slow_bytes)
		most = st->slow_bytes;
	return !st->read_bytes || st->read_bytes + length <= most;
}

void scout_sftp_stream_note_read(struct scout_sftp_stream *st, const struct scout_sftp_call *call,
				 uint64_t took_ns, uint64_t round_trip_ns)
{
	if (took_ns > round_trip_ns + LATE_NS) {
		st->slow_bytes = call->among_bytes * (round_trip_ns + MOMENT_NS) / took_ns;
		if (st->slow_bytes < READS_LEAST)
			st->slow_bytes = READS_LEAST;
	} else if (st->slow_bytes && took_ns < round_trip_ns + MOMENT_NS) {
		st->slow_bytes += call->length; /* twice as much each round trip */
	}
}

static int bad(struct scout_sftp_stream *st, const char *problem)
{
	st->problem = problem;
	return -EIO;
}

static struct scout_sftp_call *find(struct scout_sftp_stream *st, uint32_t id)
{
	struct scout_sftp_call *call = st->slots[id % SCOUT_SFTP_CALLS_MAX];

	return call && call->id == id ? call : NULL;
}

static void complete(struct scout_sftp_stream *st, struct scout_sftp_call *call, int err)
{
	scout_sftp_stream_remove(st, call);
	st->done(st->arg, call, err);
}

/* The packet that says that a call succeeded. */
static uint8_t answer_type(enum scout_sftp_op op)
{
	switch (op) {
	case SCOUT_SFTP_LSTAT:
	case SCOUT_SFTP_STAT:
	case SCOUT_SFTP_FSTAT:
		return SSH_FXP_ATTRS;
	case SCOUT_SFTP_OPEN:
	case SCOUT_SFTP_OPENDIR:
		return SSH_FXP_HANDLE;
	case SCOUT_SFTP_READLINK:
	case SCOUT_SFTP_READDIR:
	case SCOUT_SFTP_REALPATH:
		return SSH_FXP_NAME;
	case SCOUT_SFTP_READ:
		return SSH_FXP_DATA;
	case SCOUT_SFTP_STATVFS:
	case SCOUT_SFTP_USERS_GROUPS:
		return SSH_FXP_EXTENDED_REPLY;
	default:
		return SSH_FXP_STATUS;
	}
}

static int on_status(struct scout_sftp_stream *st, struct scout_sftp_call *call,
		     struct scout_sftp_reader *r)
{
	uint32_t status = scout_sftp_get_u32(r);
	int err = 0;

	if (r->bad)
		return bad(st, "truncated status");
	if (status == SSH_FX_OK) {
		if (answer_type(call->op) != SSH_FXP_STATUS)
			return bad(st, "success without an answer");
	} else {
		err = scout_sftp_status_errno(call, status);
	}
	call->status = status;
	call->got = 0;
	call->names = NULL;
	call->names_count = 0;
	complete(st, call, err);
	return 0;
}

static int take_names(struct scout_sftp_stream *st, struct scout_sftp_call *call, int err)
{
	bool many = call->op == SCOUT_SFTP_READDIR || call->op == SCOUT_SFTP_USERS_GROUPS;

	if (err == -ENOMEM)
		return err;
	if (err || (!many && st->names.count != 1))
		return bad(st, "malformed names");
	call->names = st->names.list;
	call->names_count = st->names.count;
	return 0;
}

/* The answer of a call that succeeded, into the call. */
static int take_answer(struct scout_sftp_stream *st, struct scout_sftp_call *call,
		       struct scout_sftp_reader *r)
{
	switch (answer_type(call->op)) {
	case SSH_FXP_ATTRS:
		return scout_sftp_decode_attrs(r, &call->attrs) ? bad(st, "malformed attributes")
								: 0;
	case SSH_FXP_HANDLE:
		return scout_sftp_decode_handle(r, &call->new_handle) ? bad(st, "malformed handle")
								      : 0;
	case SSH_FXP_NAME:
		return take_names(st, call, scout_sftp_decode_names(r, &st->names));
	default:
		break;
	}
	if (call->op == SCOUT_SFTP_USERS_GROUPS)
		return take_names(st, call, scout_sftp_decode_users_groups(r, &st->names));
	return scout_sftp_decode_statvfs(r, &call->space) ? bad(st, "malformed space") : 0;
}

static int on_answer(struct scout_sftp_stream *st, uint8_t type, struct scout_sftp_reader *r)
{
	uint32_t id = scout_sftp_get_u32(r);
	struct scout_sftp_call *call = find(st, id);
	int err;

	if (r->bad || !call)
		return bad(st, "answer to an unknown request");
	if (type == SSH_FXP_STATUS)
		return on_status(st, call, r);
	if (type != answer_type(call->op))
		return bad(st, "answer of another kind than was asked for");
	err = take_answer(st, call, r);
	if (!err)
		complete(st, call, 0);
	return err;
}

int scout_sftp_stream_greet(struct scout_sftp_stream *st, struct scout_sftp_buf *out)
{
	const struct scout_sftp_call self = {
	    .op = SCOUT_SFTP_STAT, .path = ".", .id = SCOUT_SFTP_SELF_ID};
	bool early = st->phase == SCOUT_SFTP_AWAIT_VERSION;
	int err = scout_sftp_encode_call(out, &self);

	st->self_due = true;
	st->limits_due = st->has_limits || early; /* refused, if there are none */
	if (!err && st->limits_due)
		err = scout_sftp_encode_limits(out, SCOUT_SFTP_LIMITS_ID);
	if (!early)
		st->phase = SCOUT_SFTP_AWAIT_ANSWERS;
	return err;
}

/* A server that advertises limits and then refuses to tell them gets the defaults. */
static int on_limits(struct scout_sftp_stream *st, uint8_t type, struct scout_sftp_reader *r)
{
	st->limits_due = false;
	if (type == SSH_FXP_EXTENDED_REPLY)
		return scout_sftp_decode_limits(r, &st->server) ? bad(st, "malformed limits") : 0;
	return type == SSH_FXP_STATUS ? 0 : bad(st, "packet of an unknown type");
}

/* One that does not show its starting directory, or whose it is, leaves us unknown. */
static int on_self(struct scout_sftp_stream *st, uint8_t type, struct scout_sftp_reader *r)
{
	struct scout_sftp_attrs attrs;

	st->self_due = false;
	if (type == SSH_FXP_STATUS)
		return 0;
	if (type != SSH_FXP_ATTRS || scout_sftp_decode_attrs(r, &attrs))
		return bad(st, "malformed attributes");
	if (attrs.has & SCOUT_SFTP_HAS_OWNER) {
		st->server.knows_self = true;
		st->server.uid = attrs.uid;
		st->server.gid = attrs.gid;
	}
	return 0;
}

static int on_greeting(struct scout_sftp_stream *st, uint8_t type, struct scout_sftp_reader *r)
{
	uint32_t id = scout_sftp_get_u32(r);
	int err;

	if (st->limits_due && id == SCOUT_SFTP_LIMITS_ID)
		err = on_limits(st, type, r);
	else if (st->self_due && id == SCOUT_SFTP_SELF_ID)
		err = on_self(st, type, r);
	else
		err = bad(st, "answer to an unknown request");
	if (!err && !st->limits_due && !st->self_due)
		st->phase = SCOUT_SFTP_OPEN_FOR_CALLS;
	return err;
}

static int on_packet(struct scout_sftp_stream *st, uint8_t type, const uint8_t *bytes, size_t len)
{
	struct scout_sftp_reader r = {.at = bytes, .left = len};

	switch (st->phase) {
	case SCOUT_SFTP_OPEN_FOR_CALLS:
		return on_answer(st, type, &r);
	case SCOUT_SFTP_AWAIT_ANSWERS:
		return on_greeting(st, type, &r);
	case SCOUT_SFTP_AWAIT_VERSION:
		if (type != SSH_FXP_VERSION ||
		    scout_sftp_decode_version(&r, &st->server.extensions, &st->has_limits))
			return bad(st, "not an SFTP server of version 3");
		st->phase = st->self_due ? SCOUT_SFTP_AWAIT_ANSWERS : SCOUT_SFTP_GOT_VERSION;
		return 0;
	case SCOUT_SFTP_GOT_VERSION:
		break;
	}
	return bad(st, "packet before any request");
}

static uint32_t head_u32(const struct scout_sftp_stream *st, size_t at)
{
	struct scout_sftp_reader r = {.at = st->head + at, .left = 4};

	return scout_sftp_get_u32(&r);
}

static bool head_is_data(const struct scout_sftp_stream *st)
{
	return st->head[4] == SSH_FXP_DATA;
}

static void finish_data(struct scout_sftp_stream *st)
{
	struct scout_sftp_call *call = st->reading;

	st->reading = NULL;
	st->head_len = 0;
	complete(st, call, 0);
}

static int begin_data(struct scout_sftp_stream *st)
{
	uint32_t len = head_u32(st, 9);
	struct scout_sftp_call *call = find(st, head_u32(st, 5));

	if (st->phase != SCOUT_SFTP_OPEN_FOR_CALLS || !call || call->op != SCOUT_SFTP_READ)
		return bad(st, "data that was not asked for");
	if (len > call->length || head_u32(st, 0) != len + (DATA_HEAD_BYTES - 4))
		return bad(st, "data of a wrong length");
	call->got = 0;
	st->reading = call;
	st->data_left = len;
	if (!len)
		finish_data(st);
	return 0;
}

static int begin_packet(struct scout_sftp_stream *st)
{
	size_t want = (size_t)head_u32(st, 0) - 1;
	uint8_t *packet;

	if (want > st->packet_cap) {
		packet = realloc(st->packet, want);
		if (!packet)
			return -ENOMEM;
		st->packet = packet;
		st->packet_cap = want;
	}
	st->packet_want = want;
	st->packet_len = 0;
	return 0;
}

/* Takes what the head still lacks; once complete, begins the body. */
static int feed_head(struct scout_sftp_stream *st, const uint8_t **at, size_t *left)
{
	size_t want = st->head_len < HEAD_BYTES ? HEAD_BYTES : DATA_HEAD_BYTES;
	size_t n = want - st->head_len < *left ? want - st->head_len : *left;
	uint32_t len;

	memcpy(st->head + st->head_len, *at, n);
	st->head_len += n;
	*at += n;
	*left -= n;
	if (st->head_len < want)
		return 0;
	if (want == DATA_HEAD_BYTES)
		return begin_data(st);
	len = head_u32(st, 0);
	if (len < HEAD_BYTES || len > SCOUT_SFTP_PACKET_MAX) /* an id or version is always there */
		return bad(st, "packet of an impossible length");
	return head_is_data(st) ? 0 : begin_packet(st);
}

static void feed_data(struct scout_sftp_stream *st, const uint8_t **at, size_t *left)
{
	struct scout_sftp_call *call = st->reading;
	uint32_t n = st->data_left < *left ? st->data_left : (uint32_t)*left;

	memcpy((uint8_t *)call->dest + call->got, *at, n);
	call->got += n;
	st->data_left -= n;
	*at += n;
	*left -= n;
	if (!st->data_left)
		finish_data(st);
}

static int feed_packet(struct scout_sftp_stream *st, const uint8_t **at, size_t *left)
{
	size_t n = st->packet_want - st->packet_len;

	if (n > *left)
		n = *left;
	if (n)
		memcpy(st->packet + st->packet_len, *at, n);
	st->packet_len += n;
	*at += n;
	*left -= n;
	if (st->packet_len < st->packet_want)
		return 0;
	st->head_len = 0;
	return on_packet(st, st->head[4], st->packet, st->packet_len);
}

int scout_sftp_stream_feed(struct scout_sftp_stream *st, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	int err = 0;

	while (len && !err) {
		if (st->reading)
			feed_data(st, &at, &len);
		else if (st->head_len < HEAD_BYTES || head_is_data(st))
			err = feed_head(st, &at, &len);
		else
			err = feed_packet(st, &at, &len);
	}
	return err;
}
