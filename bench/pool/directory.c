/* A directory with a folder for each host as a target: what a user sees through a mount. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scoutfs/budget.h"
#include "target.h"

struct directory {
	struct pool_target target;
	int fd;
};

static int fd_of(struct pool_target *t)
{
	return ((struct directory *)t)->fd;
}

static int directory_stat(struct pool_target *t, const char *path)
{
	struct stat st;

	return fstatat(fd_of(t), path, &st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static int directory_cat(struct pool_target *t, const char *path, uint64_t *bytes)
{
	int fd = openat(fd_of(t), path, O_RDONLY | O_CLOEXEC), err = 0;
	char *buffer;
	ssize_t n;

	if (fd < 0)
		return -errno;
	buffer = malloc(SCOUT_READ_MAX);
	*bytes = 0;
	while (buffer && (n = read(fd, buffer, SCOUT_READ_MAX)) != 0) {
		if (n < 0) {
			err = -errno;
			break;
		}
		*bytes += (uint64_t)n;
	}
	if (!buffer)
		err = -ENOMEM;
	if (close(fd) && !err)
		err = -errno;
	free(buffer);
	return err;
}

static int directory_list(struct pool_target *t, const char *path, uint64_t *entries)
{
	int fd = openat(fd_of(t), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	*entries = 0;
	errno = 0;
	while ((entry = readdir(dir)))
		*entries += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	err = -errno;
	closedir(dir);
	return err;
}

static int directory_write(struct pool_target *t, const char *path, size_t size)
{
	static const char zeros[SCOUT_WRITE_MAX];
	int fd = openat(fd_of(t), path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), err = 0;

	if (fd < 0)
		return -errno;
	while (size && !err) {
		size_t want = size < sizeof(zeros) ? size : sizeof(zeros);
		ssize_t n = write(fd, zeros, want);

		err = n <= 0 ? -errno : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	if (close(fd) && !err)
		err = -errno;
	if (!err && unlinkat(fd_of(t), path, 0))
		err = -errno;
	return err;
}

static void directory_close(struct pool_target *t)
{
	close(fd_of(t));
	free(t);
}

static const struct pool_target_ops ops = {
    .stat = directory_stat,
    .cat = directory_cat,
    .list = directory_list,
    .write = directory_write,
    .close = directory_close,
};

int pool_directory_open(const char *path, struct pool_target **ret)
{
	struct directory *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->target.ops = &ops;
	d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0) {
		int err = -errno;

		free(d);
		return err;
	}
	*ret = &d->target;
	return 0;
}
