/* A process that is killed closes its files as one that is done with them does: the kernel flushes them
 * for it, and says nothing of why. But while it waits for the answer it can be looked at: a process that
 * ends is marked so (PF_EXITING, proc(5): stat, field 9), and how it ends stands in its exit code (field
 * 52), which is shown to those who could trace it. And whoever else has the file open is seen by
 * descriptors, so that the close of one of several, as shells make them, is not taken for the last.
 *
 * Reading /proc waits for no network: attributes are asked for as the kernel has them. Pure. */
#include "models/caller.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PF_EXITING 0x4ul /* include/linux/sched.h; they have never been others */
#define PF_KTHREAD 0x200000ul
#define FLAGS_AT 6 /* of the fields behind the name */
#define CODE_AT 49

static bool read_stat(pid_t task, unsigned long *flags, unsigned *code)
{
	char path[64], line[2048], *word, *rest;
	FILE *f;
	bool found;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)task);
	f = fopen(path, "re");
	if (!f)
		return false;
	found = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	word = found ? strrchr(line, ')') : NULL; /* the name may hold anything */
	if (!word)
		return false;
	word = strtok_r(word + 1, " ", &rest);
	for (int i = 0; word && i <= CODE_AT; i++) {
		if (i == FLAGS_AT)
			*flags = strtoul(word, NULL, 10);
		if (i == CODE_AT) {
			*code = (unsigned)strtoul(word, NULL, 10);
			return true;
		}
		word = strtok_r(NULL, " ", &rest);
	}
	return false;
}

enum scout_fate scout_caller_fate(pid_t task, uid_t user)
{
	unsigned long flags;
	unsigned code;

	if (task == 0 || !read_stat(task, &flags, &code))
		return SCOUT_FATE_UNKNOWN;
	/* some kernels close the files of who ends by a thread of their own, and do not say for whom */
	if (flags & PF_KTHREAD)
		return SCOUT_FATE_UNKNOWN;
	if (!(flags & PF_EXITING))
		return SCOUT_FATE_LIVES;
	if (geteuid() != 0 && user != geteuid())
		return SCOUT_FATE_UNKNOWN; /* the code is shown as 0 */
	if (code & 0x7f)
		return SCOUT_FATE_KILLED;
	return code ? SCOUT_FATE_FAILED : SCOUT_FATE_ENDED;
}

static bool for_writing(int fds, const char *number)
{
	char path[300], line[128];
	unsigned long flags = O_RDONLY;
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "../fdinfo/%s", number);
	fd = openat(fds, path, O_RDONLY | O_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (!f) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "flags:", 6) == 0)
			flags = strtoul(line + 6, NULL, 8);
	}
	fclose(f);
	return (flags & O_ACCMODE) != O_RDONLY;
}

static bool holds(int proc, const char *process, dev_t device, uint64_t ino)
{
	char path[300];
	struct dirent *d;
	struct statx st;
	bool found = false;
	DIR *fds;
	int fd;

	snprintf(path, sizeof(path), "%s/fd", process);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds = fd < 0 ? NULL : fdopendir(fd);
	if (!fds) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (!found && (d = readdir(fds))) {
		if (!isdigit((unsigned char)d->d_name[0]) ||
		    statx(fd, d->d_name, AT_STATX_DONT_SYNC, STATX_INO, &st) != 0)
			continue;
		found = st.stx_ino == ino &&
			(!device || makedev(st.stx_dev_major, st.stx_dev_minor) == device) &&
			for_writing(fd, d->d_name);
	}
	closedir(fds);
	return found;
}

bool scout_caller_is_open(dev_t device, uint64_t ino)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	bool found = false;

	while (proc && !found && (d = readdir(proc))) {
		if (isdigit((unsigned char)d->d_name[0]))
			found = holds(dirfd(proc), d->d_name, device, ino);
	}
	if (proc)
		closedir(proc);
	return found;
}
