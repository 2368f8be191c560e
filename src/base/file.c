/* Opening files that a config names, without waiting for what is none. No lock. */
#include "scoutfs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

FILE *scout_open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	FILE *in;
	int err;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	else if ((in = fdopen(fd, "r")))
		return in;
	err = errno;
	close(fd);
	errno = err;
	return NULL;
}

int scout_open_own_dir(const char *path, bool make)
{
	struct stat st;
	int fd, err = 0;

	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (st.st_uid != geteuid())
		err = -EPERM;
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		err = -EACCES;
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

const char *scout_own_dir_reason(int err)
{
	if (err == -EPERM)
		return "it belongs to another user";
	return err == -EACCES ? "others may write into it, or we may not" : strerror(-err);
}

/* The nearest of path and its parents that is there, without links; NULL: it cannot be said. */
static char *nearest(const char *path)
{
	char *at = strdup(path), *found = NULL, *slash;

	while (at && !(found = realpath(at, NULL)) && (errno == ENOENT || errno == ENOTDIR) &&
	       (slash = strrchr(at, '/')))
		slash[slash == at] = '\0';
	free(at);
	return found;
}

bool scout_is_below(const char *path, const char *folder)
{
	struct stat wanted, st;
	char *at = nearest(path);
	bool below = false, top = false;

	while (at && !below && !top && stat(folder, &wanted) == 0 && stat(at, &st) == 0) {
		char *slash = strrchr(at, '/');

		below = st.st_dev == wanted.st_dev && st.st_ino == wanted.st_ino;
		top = at[1] == '\0';
		slash[slash == at] = '\0';
	}
	free(at);
	return below;
}

bool scout_is_plain_file(const char *path)
{
	struct stat st;

	return stat(path, &st) || S_ISREG(st.st_mode);
}

char *scout_absolute_path(const char *path)
{
	char *here, *full;

	if (*path == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	if (!here || asprintf(&full, "%s/%s", here, path) < 0)
		full = NULL;
	free(here);
	return full;
}
