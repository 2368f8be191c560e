/* scoutfs: command line, config, mount, backends, serve, end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon.h"
#include "options.h"
#include "scoutfs/backend.h"
#include "scoutfs/budget.h"
#include "scoutfs/config.h"
#include "scoutfs/file.h"
#include "scoutfs/fs.h"
#include "scoutfs/log.h"
#include "scoutfs/metrics.h"
#include "scoutfs/text.h"
#include "scoutfs/version.h"
#include "tunables.h"

#define EXIT_USAGE 2

/* Descriptors: of a session its socket, another one for who ends it, what wakes it, a proxy's and an agent's; while it
 * connects those of ssh and the resolver; of a connection to the registry its socket and its resolver's. */
#define FILES_OF_SESSION 6
#define FILES_OF_CONNECT 6
#define FILES_OF_CONNECTION 3
#define FILES_MIN 4096 /* also for what is open in cache_dir, and all the rest */

/* The backends, in the order of the root directory: a new one is its folder and a line here. */
static int (*const makers[])(const struct scout_env *env, struct scout_backend *ret) = {
    scout_hosts_new,
    scout_models_new,
    scout_control_new,
};

struct program {
	struct scout_options options;
	char *config_path; /* absolute, or NULL: looked for in the usual places */
	struct scout_config *config;
	struct scout_config *reloaded; /* the reloading thread's, while it serves; NULL at first */
	struct scout_metrics *metrics;
	struct scout_budget *budget;
	struct scout_env env;
	struct scout_backend backends[SCOUT_MAX_BACKENDS];
	struct scout_fs *fs;
	struct scout_daemon daemon; /* unless it stays in the foreground */
};

static void raise_file_limit(const struct scout_config *c)
{
	const rlim_t wanted = FILES_MIN + c->workers + FILES_OF_SESSION * (rlim_t)c->max_sessions +
			      FILES_OF_CONNECT * (rlim_t)c->max_connecting +
			      FILES_OF_CONNECTION * (rlim_t)c->models.max_connections;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer then: connects that fail say so */
}

/* Opened keys are in memory, ours and that of what we start. */
static void forbid_core_dumps(void)
{
	const struct rlimit none = {0};

	(void)setrlimit(RLIMIT_CORE, &none); /* lowering is always allowed */
}

/* Closed standard descriptors would be given to the next file that is opened, and what is meant for
 * a terminal would go into it. */
static void hold_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* As it was named, also once the working directory is another; its links may lead elsewhere then. */
static int keep_config_path(struct program *p)
{
	if (!p->options.config)
		return 0;
	p->config_path = scout_absolute_path(p->options.config);
	return p->config_path ? 0 : -errno;
}

/* Has the kernel keep SIGHUP until the mount is up. */
static void hold_reloads(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void log_problems(char *text)
{
	static const char prefix[] = "scoutfs: ";
	char *save, *line;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, prefix, strlen(prefix)) == 0)
			line += strlen(prefix);
		scout_error("reload: %s", line);
	}
}

/* Reads the config as at the start; what is wrong with it goes to the log. NULL: it cannot be used. */
static struct scout_config *read_again(struct program *p)
{
	const struct scout_options *o = &p->options;
	struct scout_config *config = NULL;
	char *problems = NULL;
	size_t len;
	FILE *errors = open_memstream(&problems, &len);

	if (errors) {
		(void)scout_config_reload(p->config_path, (const char *const *)o->overrides,
					  o->noverrides, p->config, errors, &config);
		fclose(errors);
	}
	if (problems)
		log_problems(problems);
	free(problems);
	return config;
}

static bool has_hosts(const struct scout_config *config)
{
	return config->nhosts || config->dynamic;
}

/* What only a remount takes over, counted from what the mount was started with. */
static void tell_of_remount(const struct program *p, const struct scout_config *config)
{
	static const char *const sections[] = {"scoutfs", "models"};

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		struct scout_text keys = {0};

		scout_config_differences(p->config, config, sections[i], &keys);
		if (keys.len)
			scout_warn("reload: [%s] %s: a change needs a remount", sections[i],
				   keys.str);
		scout_text_free(&keys);
	}
	if (!has_hosts(p->config) && has_hosts(config))
		scout_warn("reload: there were no hosts at the start: /hosts needs a remount");
}

static void reload(void *arg)
{
	struct program *p = arg;
	struct scout_config *config;
	int err = scout_log_reopen(p->config->log_file);

	if (err)
		scout_error("%s: %s: the log goes on in the file that was open",
			    p->config->log_file, strerror(-err));
	config = read_again(p);
	if (!config) {
		scout_error("reload: the config stays as it was");
		return;
	}
	tell_of_remount(p, config);
	raise_file_limit(config);
	for (size_t i = 0; i < p->env.nbackends; i++)
		if (p->backends[i].ops->reload)
			p->backends[i].ops->reload(p->backends[i].self, config);
	scout_config_free(p->reloaded);
	p->reloaded = config;
}

static enum scout_log_level log_level(const struct program *p)
{
	return p->options.debug ? SCOUT_LOG_DEBUG : p->config->log_level;
}

static int ready(void *arg)
{
	struct program *p = arg;
	int err;

	if (!p->options.foreground) {
		if (!p->config->log_file)
			(void)scout_log_open(log_level(p), NULL, true); /* syslog is always there */
		err = scout_daemon_ready(&p->daemon);
		if (err)
			return err;
	}
	scout_log_echo(false);
	scout_info("mounted on %s", p->options.mountpoint);
	return 0;
}

static int mount_it(struct program *p)
{
	struct scout_options *o = &p->options;
	char fsname[256];
	struct scout_fs_options options = {
	    .mountpoint = o->mountpoint,
	    .workers = o->single ? 1 : p->config->workers,
	    .debug = o->debug,
	    .uid = o->uid,
	    .gid = o->gid,
	    .umask = o->umask,
	    .ready = ready,
	    .reload = reload,
	    .arg = p,
	};
	bool named = false;
	int err = 0;

	for (size_t i = 0; i < o->nmount; i++)
		named |= strncmp(o->mount[i], "fsname=", 7) == 0;
	snprintf(fsname, sizeof(fsname), "fsname=%s", o->config ? o->config : "scoutfs");
	if (!named && !strpbrk(fsname, ",\\"))
		err = scout_options_add_mount(o, fsname);
	if (!err)
		err = scout_options_add_mount(o, "subtype=scoutfs");
	if (!err && p->config->allow_other)
		err = scout_options_add_mount(o, "allow_other");
	options.mount = (const char *const *)o->mount;
	options.nmount = o->nmount;
	return err ? err : scout_fs_mount(&options, p->metrics, &p->fs);
}

static int start_backends(struct program *p)
{
	for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
		int err = makers[i](&p->env, &p->backends[p->env.nbackends]);

		if (!err)
			p->env.nbackends++;
		else if (err != -ENOENT)
			return err;
	}
	return 0;
}

static void stop_backends(struct program *p)
{
	for (size_t i = 0; i < p->env.nbackends; i++)
		p->backends[i].ops->stop(p->backends[i].self);
}

static int run(struct program *p)
{
	int err;

	err = keep_config_path(p);
	if (err) {
		fprintf(stderr, "scoutfs: %s: %s\n", p->options.config, strerror(-err));
		return err;
	}
	if (!p->options.foreground) {
		err = scout_daemon_start(&p->daemon);
		if (err) {
			fprintf(stderr, "scoutfs: cannot go to the background: %s\n",
				strerror(-err));
			return err;
		}
	}
	err = scout_log_open(log_level(p), p->config->log_file, false);
	if (err) {
		fprintf(stderr, "scoutfs: %s: %s\n", p->config->log_file, strerror(-err));
		return err;
	}
	scout_log_echo(true);
	p->metrics = calloc(1, sizeof(*p->metrics));
	if (!p->metrics || scout_budget_new(scout_config_buffer_bytes(p->config), &p->budget)) {
		fprintf(stderr, "scoutfs: out of memory\n");
		return -ENOMEM;
	}
	err = scout_models_check(p->config, p->options.mountpoint);
	if (err) {
		fprintf(stderr, "scoutfs: cannot start: %s\n", strerror(-err));
		return err;
	}
	err = mount_it(p);
	if (err)
		return err;
	p->env.config = p->config;
	p->env.mountpoint = scout_fs_mountpoint(p->fs);
	p->env.device = scout_fs_device(p->fs);
	p->env.budget = p->budget;
	p->env.metrics = p->metrics;
	p->env.backends = p->backends;
	err = start_backends(p);
	if (err) {
		fprintf(stderr, "scoutfs: cannot start: %s\n", strerror(-err));
		stop_backends(p);
		return err;
	}
	err = scout_fs_serve(p->fs, p->backends, p->env.nbackends);
	scout_info("unmounted");
	return err;
}

static bool hangs(const struct program *p)
{
	bool found = false;

	for (size_t i = 0; i < p->env.nbackends; i++)
		found |=
		    p->backends[i].ops->hangs && p->backends[i].ops->hangs(p->backends[i].self);
	return found;
}

static void clean_up(struct program *p)
{
	scout_fs_free(p->fs);
	for (size_t i = 0; i < p->env.nbackends; i++)
		p->backends[i].ops->free(p->backends[i].self);
	scout_budget_free(p->budget);
	free(p->metrics);
	scout_config_free(p->config);
	scout_config_free(p->reloaded);
	free(p->config_path);
	scout_options_free(&p->options);
	scout_log_close();
}

/* Whether all of what was printed has arrived. */
static int flushed(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	fprintf(stderr, "scoutfs: standard output: %s\n", strerror(errno));
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct program p = {0};
	int status = EXIT_SUCCESS;

	scout_tunables_set(argv);
	hold_standard_files();
	hold_reloads();
	signal(SIGPIPE, SIG_IGN); /* whoever read our messages has gone: no reason to go, too */
	signal(SIGCHLD, SIG_DFL); /* ignored, it would take the status of our own children */
	if (scout_options_parse(argc, argv, stderr, &p.options) < 0) {
		status = EXIT_USAGE;
	} else if (p.options.command == SCOUT_HELP) {
		scout_options_help(stdout);
		status = flushed();
	} else if (p.options.command == SCOUT_VERSION) {
		printf("scoutfs %s\n", SCOUTFS_VERSION);
		status = flushed();
	} else if (scout_config_load(p.options.config, (const char *const *)p.options.overrides,
				     p.options.noverrides, stderr, &p.config) < 0) {
		status = EXIT_USAGE;
	} else if (p.options.command == SCOUT_CHECK) {
		scout_config_print(p.config, stdout);
		scout_hosts_check(p.config, stdout);
		status = flushed();
	} else {
		raise_file_limit(p.config);
		if (!p.options.debug)
			forbid_core_dumps();
		status = run(&p) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (hangs(&p)) {
		scout_fs_unmount(p.fs);
		_exit(status); /* what is not freed may be in use */
	}
	clean_up(&p);
	return status;
}
