/* What libfuse cannot be told of its answer to the kernel's INIT: so we carry its bytes ourselves, and
 * mend that answer.
 *
 * Parallel lookups in one directory: libfuse before 3.17 offers FUSE_CAP_PARALLEL_DIROPS but does not
 * pass it on, and the kernel then serialises all lookups and listings of a directory under a lock on
 * which processes wait without hearing signals: one name that a stalled host does not answer would block
 * the folder, Ctrl-C included.
 *
 * Writes without questions: before each write(2) the kernel asks for security.capability, which the write
 * would have to take away, unless it was told that the file system sees to that (FUSE_HANDLE_KILLPRIV_V2,
 * Linux 5.11, of which libfuse before 3.15 knows nothing); then it asks once, until it hears of new
 * attributes. See table.c for whom that is right.
 *
 * Writes smaller than reads: libfuse asks for as many pages to a request as a write may have. */
#include <linux/fuse.h>
#include <stdbool.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/fs.h"
#include "scoutfs/budget.h"

/* Between libfuse's call of init and its answer, on the same thread. */
static _Thread_local bool answering_init;
static _Thread_local uint32_t more_flags;

void scout_fs_answering_init(bool parallel_dirops, bool kills_privileges)
{
	answering_init = true;
	more_flags = parallel_dirops ? FUSE_PARALLEL_DIROPS : 0;
	if (kills_privileges)
		more_flags |= FUSE_HANDLE_KILLPRIV_V2;
}

static ssize_t write_answer(int fd, struct iovec *iov, int count, void *arg)
{
	(void)arg;
	if (answering_init) {
		answering_init = false;
		if (count == 2 && iov[1].iov_len >= offsetof(struct fuse_init_out, time_gran)) {
			struct fuse_init_out *out = iov[1].iov_base;

			out->flags |= more_flags;
			if (out->max_write > SCOUT_WRITE_MAX)
				out->max_write = SCOUT_WRITE_MAX;
		}
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

	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}
