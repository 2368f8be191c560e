/* Who writes into the disk cache's folder, for there is no more room in it for what one has not seen of the
 * others than there is.
 *
 * Each has the lock on a byte of one empty file. The lock is the open file's (fcntl(2), F_OFD_SETLK) and goes
 * with it, so who crashes is not counted, and one process may have several. Not the file that who makes room
 * locks: some disks make locks of bytes of those of files. No lock of ours; all of it may wait for the disk. */
#include "models/cache_writers.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITERS_NAME "writers"

static struct flock place(unsigned i, unsigned n)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i, .l_len = n};
}

int scout_cache_writers_join(int dir, unsigned max)
{
	int fd = openat(dir, WRITERS_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = -EAGAIN;

	if (fd < 0)
		return -errno;
	for (unsigned i = 0; err == -EAGAIN && i < max && i < SCOUT_CACHE_WRITERS_MAX; i++) {
		struct flock lock = place(i, 1);

		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return fd;
		err = errno == EACCES ? -EAGAIN : -errno; /* of which POSIX allows either */
	}
	close(fd);
	return err;
}

int scout_cache_writers_others(int fd)
{
	struct flock lock = place(0, SCOUT_CACHE_WRITERS_MAX);
	struct stat st;
	int n = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0)
		return -ESTALE; /* somebody emptied the folder */
	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	if (lock.l_type == F_UNLCK)
		return 0; /* most are alone */
	for (unsigned i = 0; i < SCOUT_CACHE_WRITERS_MAX; i++) {
		lock = place(i, 1);
		if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
			return -errno;
		n += lock.l_type != F_UNLCK;
	}
	return n;
}
