/* The disk cache within its size. What is there is counted by looking, for other mounts write into the
 * folder, too; of all of them one at a time removes files, who has the lock on a file of that name. A file
 * that is removed while another reads it is there for him until he closes it. No lock of ours; all of it
 * waits for the disk. */
#include "models/cache_size.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/cache_file.h"

#define LOCK_NAME "lock"
#define SECTOR 512u /* of st_blocks: stat(2) */

struct segment {
	struct timespec used;
	uint64_t bytes;
	char name[SCOUT_CACHE_NAME_MAX];
};

struct list {
	struct segment *all; /* NULL: only counted */
	size_t count, room;
};

/* A descriptor of its own: where one reads in a folder belongs to that. */
static int open_dir(int dir, DIR **ret)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	*ret = fdopendir(fd);
	if (*ret)
		return 0;
	err = -errno;
	close(fd);
	return err;
}

static int append(struct list *list, const char *name, const struct stat *st)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 1024;
		struct segment *more = reallocarray(list->all, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		list->all = more;
		list->room = room;
	}
	list->all[list->count] = (struct segment){
	    .used = st->st_mtim,
	    .bytes = (uint64_t)st->st_blocks * SECTOR,
	};
	strcpy(list->all[list->count++].name, name); /* scout_segment_is_name */
	return 0;
}

/* list may be NULL. */
static int look(int dir, struct scout_cache_usage *usage, struct list *list)
{
	struct dirent *entry;
	struct stat st;
	DIR *d;
	int err = open_dir(dir, &d);

	*usage = (struct scout_cache_usage){0};
	if (err < 0)
		return err;
	while (err == 0 && (errno = 0, entry = readdir(d))) {
		if (!scout_segment_is_name(entry->d_name) ||
		    fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		usage->bytes += (uint64_t)st.st_blocks * SECTOR;
		usage->files++;
		if (list)
			err = append(list, entry->d_name, &st);
	}
	if (err == 0)
		err = -errno;
	closedir(d);
	return err;
}

int scout_cache_measure(int dir, struct scout_cache_usage *ret)
{
	return look(dir, ret, NULL);
}

static int by_age(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
	if (x->used.tv_nsec != y->used.tv_nsec)
		return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
	return strcmp(x->name, y->name);
}

int scout_cache_shrink(int dir, const struct scout_cache_usage *most, struct scout_cache_usage *ret,
		       size_t *removed)
{
	int lock = openat(dir, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), err;
	struct list list = {0};

	*removed = 0;
	if (lock < 0)
		return -errno;
	if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		err = errno == EWOULDBLOCK ? -EAGAIN : -errno;
		close(lock);
		return err;
	}
	err = look(dir, ret, &list);
	if (err == 0 && list.count > 1)
		qsort(list.all, list.count, sizeof(*list.all), by_age);
	for (size_t i = 0; err == 0 && i < list.count; i++) {
		if (ret->bytes <= most->bytes && ret->files <= most->files)
			break;
		if (unlinkat(dir, list.all[i].name, 0) < 0 && errno != ENOENT) {
			err = -errno;
			break;
		}
		ret->bytes -= list.all[i].bytes;
		ret->files--;
		(*removed)++;
	}
	free(list.all);
	close(lock);
	return err;
}
