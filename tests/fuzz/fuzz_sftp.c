/* Any bytes from an SFTP server, in any slices: no call is answered twice, no byte goes past its
 * destination, and whatever is left can be taken down. The first byte picks the slices and how far
 * the session has come. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sftp/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY 300u

/* Ids are 1 and on, in this order. */
static const enum scout_sftp_op kinds[] = {
    SCOUT_SFTP_LSTAT,    SCOUT_SFTP_READ,     SCOUT_SFTP_READDIR,      SCOUT_SFTP_OPEN,
    SCOUT_SFTP_READLINK, SCOUT_SFTP_READ,     SCOUT_SFTP_REALPATH,     SCOUT_SFTP_OPENDIR,
    SCOUT_SFTP_CLOSE,    SCOUT_SFTP_STATVFS,  SCOUT_SFTP_USERS_GROUPS, SCOUT_SFTP_WRITE,
    SCOUT_SFTP_SETSTAT,  SCOUT_SFTP_COPY_DATA};
#define CALLS (sizeof(kinds) / sizeof(kinds[0]))

struct fuzz_call {
	struct scout_sftp_call call;
	unsigned done;
};

static void on_done(void *arg, struct scout_sftp_call *call, int err)
{
	struct fuzz_call *c = (struct fuzz_call *)call;

	(void)arg;
	if (c->done++ || err > 0 || call->got > call->length)
		abort();
	if (call->new_handle.len > SCOUT_SFTP_HANDLE_MAX)
		abort();
	for (size_t i = 0; i < call->names_count; i++)
		if (strlen(call->names[i].name) > SCOUT_SFTP_PACKET_MAX)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_call calls[CALLS] = {0};
	struct scout_sftp_stream st;
	struct scout_sftp_call *call;
	struct scout_sftp_buf asked = {0};
	size_t slice;
	int err = 0;

	if (size == 0)
		return 0;
	scout_sftp_stream_init(&st, on_done, NULL);
	st.phase = (enum scout_sftp_phase)(data[0] & 3);
	st.has_limits = true;
	if (st.phase == SCOUT_SFTP_AWAIT_ANSWERS && scout_sftp_stream_greet(&st, &asked))
		abort();
	scout_sftp_buf_free(&asked);
	slice = data[0] >> 2 ? data[0] >> 2 : size;
	for (size_t i = 0; i < CALLS && st.phase == SCOUT_SFTP_OPEN_FOR_CALLS; i++) {
		call = &calls[i].call;
		call->op = kinds[i];
		call->path = "/path";
		call->length = kinds[i] == SCOUT_SFTP_READ ? BODY : 0;
		call->dest = malloc(BODY); /* its end is guarded under AddressSanitizer */
		if (!call->dest || !scout_sftp_stream_add(&st, call))
			abort();
	}
	for (size_t at = 1; at < size && !err; at += slice)
		err = scout_sftp_stream_feed(&st, data + at, size - at < slice ? size - at : slice);
	if (err && err != -EIO && err != -ENOMEM)
		abort();
	while ((call = TAILQ_FIRST(&st.in_flight)))
		scout_sftp_stream_remove(&st, call);
	if (st.count || st.read_bytes)
		abort();
	scout_sftp_stream_free(&st);
	for (size_t i = 0; i < CALLS; i++)
		free(calls[i].call.dest);
	return 0;
}
