/* Mounting, serving and ending; see scoutfs/fs.h. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "fs/fs.h"
#include "scoutfs/log.h"

#define READ_AHEAD_KB "1024"

/* The absolute path of a directory, which the caller frees. */
static int find_mountpoint(const char *path, char **ret)
{
	char *found = realpath(path, NULL);
	struct stat st;
	int err = 0;

	if (!found || stat(found, &st) < 0)
		err = -errno;
	else if (!S_ISDIR(st.st_mode))
		err = -ENOTDIR;
	if (err)
		free(found);
	else
		*ret = found;
	return err;
}

/* Those that end it. */
static sigset_t ends(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	return set;
}

/* SIGHUP and the signals that end it stay blocked for good, and are waited for: before the loop and after it they
 * would leave a mount behind that nobody serves. */
static void block_signals(void)
{
	sigset_t set = ends();

	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* libfuse ends its threads by pthread_cancel(3), for which glibc loads this library, and aborts if it cannot: when all
 * descriptors are in use. It stays loaded. */
static void hold_unwinder(void)
{
	(void)dlopen("libgcc_s.so.1", RTLD_NOW); /* another libc may need none */
}

int scout_fs_mount(const struct scout_fs_options *options, struct scout_metrics *metrics,
		   struct scout_fs **ret)
{
	struct scout_fs *fs = calloc(1, sizeof(*fs));
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char *words = NULL;
	int err;

	if (!fs)
		return -ENOMEM;
	block_signals();
	hold_unwinder();
	fs->options = *options;
	fs->metrics = metrics;
	clock_gettime(CLOCK_REALTIME, &fs->start);
	err = find_mountpoint(options->mountpoint, &fs->mountpoint);
	if (err) {
		fprintf(stderr, "scoutfs: %s: %s\n", options->mountpoint, strerror(-err));
		goto out;
	}
	err = -ENOMEM;
	if (scout_inodes_new(&fs->root) || scout_fhs_new(&fs->fhs))
		goto out;
	if (fuse_opt_add_arg(&args, "scoutfs"))
		goto out;
	if (options->debug && fuse_opt_add_arg(&args, "-d"))
		goto out;
	for (size_t i = 0; i < options->nmount; i++) {
		if (fuse_opt_add_opt_escaped(&words, options->mount[i]))
			goto out;
	}
	if (words && (fuse_opt_add_arg(&args, "-o") || fuse_opt_add_arg(&args, words)))
		goto out;
	err = -EINVAL; /* libfuse says why on stderr, and gives no errno */
	fs->session = fuse_session_new(&args, &scout_fs_ops, sizeof(scout_fs_ops), fs);
	if (!fs->session)
		goto out;
	err = -EIO;
	if (fuse_session_mount(fs->session, fs->mountpoint))
		goto out;
	fs->mounted = true;
	err = scout_fs_carry_bytes(fs->session);
	if (err)
		goto out;
	*ret = fs;
	fs = NULL;
out:
	fuse_opt_free_args(&args);
	free(words);
	scout_fs_free(fs);
	return err;
}

/* Blanks, tabs, newlines and backslashes stand in /proc/self/mountinfo as \040 and the like: undone in place. */
static void unescape(char *path)
{
	char *out = path;

	for (const char *in = path; *in; out++) {
		if (*in == '\\' && strspn(in + 1, "01234567") >= 3) {
			*out = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + in[3] - '0');
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
}

/* The device number of the mount, as /sys/class/bdi names it; false when it is not listed. Asking the
 * mount itself would wait for a loop that does not run yet. */
static bool mount_device(const char *mountpoint, char *dev, size_t cap)
{
	char *line = NULL, *at, number[32];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	size_t size = 0;

	if (!f)
		return false;
	while (getline(&line, &size, f) > 0) {
		if (sscanf(line, "%*d %*d %31s %*s %ms", number, &at) != 2)
			continue;
		unescape(at);
		/* the last line that fits wins: it is the topmost mount */
		if (strcmp(at, mountpoint) == 0) {
			snprintf(dev, cap, "%s", number);
			found = true;
		}
		free(at);
	}
	free(line);
	fclose(f);
	return found;
}

/* Raises the kernel's readahead from 128 KiB, where we may: reads are then 2.7 times as fast. */
static void raise_readahead(const char *mountpoint)
{
	char dev[32], path[96];
	int fd;

	if (!mount_device(mountpoint, dev, sizeof(dev)))
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%s/read_ahead_kb", dev);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, READ_AHEAD_KB, strlen(READ_AHEAD_KB)) < 0)
		scout_debug("%s: %s: the kernel reads ahead less", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* Further signals that come while the config is read again are one more, afterwards. */
static void *listen(void *arg)
{
	struct scout_fs *fs = arg;
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	while (sigwait(&set, &number) == 0 && !atomic_load(&fs->ending))
		fs->options.reload(fs->options.arg);
	return NULL;
}

static int start_listening(struct scout_fs *fs)
{
	int err = scout_thread_start(&fs->listener, "signals", listen, fs);

	fs->listens = !err;
	return err;
}

static void stop_listening(struct scout_fs *fs)
{
	if (!fs->listens)
		return;
	atomic_store(&fs->ending, true);
	pthread_kill(fs->listener, SIGHUP);
	pthread_join(fs->listener, NULL);
}

static void wake(int number)
{
	(void)number;
}

/* libfuse's loop looks whether it is to end, and sleeps: what comes in between wakes it only when it comes again. */
static void *await_end(void *arg)
{
	const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
	struct scout_fs *fs = arg;
	sigset_t set = ends();
	int number;

	(void)sigwait(&set, &number);
	fuse_session_exit(fs->session);
	while (!atomic_load(&fs->served)) {
		pthread_kill(fs->server, SIGUSR1);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static int start_ender(struct scout_fs *fs)
{
	const struct sigaction woken = {.sa_handler = wake}, ignored = {.sa_handler = SIG_IGN};
	sigset_t set;
	int err;

	sigaction(SIGPIPE, &ignored, NULL); /* a reply to nobody is an error, no end */
	sigaction(SIGUSR1, &woken, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	fs->server = pthread_self();
	err = scout_thread_start(&fs->ender, "end", await_end, fs);
	fs->heeds_ends = !err;
	return err;
}

static void stop_ender(struct scout_fs *fs)
{
	if (!fs->heeds_ends)
		return;
	atomic_store(&fs->served, true);
	pthread_kill(fs->ender, SIGTERM);
	pthread_join(fs->ender, NULL);
}

static void *do_nothing(void *arg)
{
	return arg;
}

/* libfuse starts its threads when it serves: that there can be none is to be known before. */
static int try_thread(void)
{
	pthread_t thread;
	int err = scout_thread_start(&thread, "try", do_nothing, NULL);

	if (!err)
		pthread_join(thread, NULL);
	return err;
}

static int loop(struct scout_fs *fs)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int err = -ENOMEM;

	if (!config)
		return err;
	fuse_loop_cfg_set_clone_fd(config, 1);
	fuse_loop_cfg_set_max_threads(config, fs->options.workers);
	fuse_loop_cfg_set_idle_threads(config, fs->options.workers);
	err = fuse_session_loop_mt(fs->session, config);
	fuse_loop_cfg_destroy(config);
	/* -1 is no errno: its first thread could not start */
	return err == -1 ? -EAGAIN : err < 0 ? err : 0;
}

void scout_fs_unmount(struct scout_fs *fs)
{
	if (!fs || !fs->mounted)
		return;
	fuse_session_unmount(fs->session);
	fs->mounted = false;
}

/* All that must be there before anybody is told that it serves. */
static int prepare(struct scout_fs *fs)
{
	int err = scout_requests_new(fs->metrics, &fs->requests);

	if (!err)
		err = start_listening(fs);
	if (!err)
		err = start_ender(fs);
	if (!err)
		err = try_thread();
	if (err)
		return err;
	raise_readahead(fs->mountpoint);
	return fs->options.ready(fs->options.arg);
}

static void stop_backends(const struct scout_fs *fs)
{
	for (size_t i = 0; i < fs->nbackends; i++)
		fs->backends[i].ops->stop(fs->backends[i].self);
}

int scout_fs_serve(struct scout_fs *fs, const struct scout_backend *backends, size_t nbackends)
{
	int err;

	fs->backends = backends;
	fs->nbackends = nbackends;
	err = prepare(fs);
	if (!err)
		err = loop(fs);
	if (err)
		scout_error("cannot serve %s: %s", fs->mountpoint, strerror(-err));
	stop_ender(fs);
	if (fs->requests)
		scout_requests_abort(fs->requests);
	if (err) /* to unmount takes a process, for which their threads may have left no room */
		stop_backends(fs);
	scout_fs_unmount(fs);
	/* after that: it may be reading a file of this very mount */
	stop_listening(fs);
	if (!err)
		stop_backends(fs);
	return err;
}

const char *scout_fs_mountpoint(const struct scout_fs *fs)
{
	return fs->mountpoint;
}

dev_t scout_fs_device(const struct scout_fs *fs)
{
	unsigned major, minor;
	char dev[32];

	if (!mount_device(fs->mountpoint, dev, sizeof(dev)) ||
	    sscanf(dev, "%u:%u", &major, &minor) != 2)
		return 0;
	return makedev(major, minor);
}

void scout_fs_free(struct scout_fs *fs)
{
	if (!fs)
		return;
	if (fs->fhs)
		scout_fhs_release(fs->fhs);
	scout_requests_free(fs->requests);
	scout_fs_unmount(fs);
	if (fs->session)
		fuse_session_destroy(fs->session);
	scout_fhs_free(fs->fhs);
	if (fs->root)
		scout_inodes_free(fs->root);
	free(fs->mountpoint);
	free(fs);
}
