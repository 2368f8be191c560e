/* Parallel lookups in one directory, in spite of libfuse.
 *
 * libfuse before 3.17 offers FUSE_CAP_PARALLEL_DIROPS but does not pass it to the kernel, which then
 * serialises all lookups and listings of a directory under a lock on which processes wait without
 * hearing signals: one name that a stalled host does not answer would block the folder, Ctrl-C
 * included. So we carry libfuse's bytes ourselves, and set the flag in its answer to INIT. */
#include <linux/fuse.h>
#include <stdbool.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/fs.h"

#define MENDED_IN_VERSION 317

/* Between libfuse's call of init and its answer, on the same thread. */
static _Thread_local bool answering_init;

void scout_fs_answering_init(void)
{
	answering_init = true;
}

static ssize_t write_answer(int fd, struct iovec *iov, int count, void *arg)
{
	(void)arg;
	if (answering_init) {
		answering_init = false;
		if (count == 2 && iov[1].iov_len >= offsetof(struct fuse_init_out, max_background))
			((struct fuse_init_out *)iov[1].iov_base)->flags |= FUSE_PARALLEL_DIROPS;
	}
	return writev(fd, iov, count);
}

static ssize_t read_request(int fd, void *buf, size_t size, void *arg)
{
	(void)arg;
	return read(fd, buf, size);
}

int scout_fs_carry_bytes(struct fuse_session *session)
{
	static const struct fuse_custom_io io = {.writev = write_answer, .read = read_request};

	if (fuse_version() >= MENDED_IN_VERSION)
		return 0;
	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}
