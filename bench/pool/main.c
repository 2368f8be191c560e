/* scoutfs-bench-pool: measures the pool of hosts and what stands on it, one case a run, as JSON on stdout. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cases.h"
#include "scoutfs/log.h"

#define NUMBER_MAX 100000000u

static const struct {
	const char *name;
	pool_case *run;
	bool backend; /* wants the backend, not a directory */
	const char *help;
} cases[] = {
    {"route", pool_route, true, "paths to their hosts: short, 305 bytes, and such as are refused"},
    {"list", pool_list, true, "the listing of all hosts"},
    {"config", pool_config, true, "reading the config, and a host found in it"},
    {"acquire", pool_acquire, true, "a request's way to a session that is up"},
    {"connect", pool_connect, true, "the first stat of a host"},
    {"burst", pool_burst, true, "-n first stats of one host at once"},
    {"hosts", pool_hosts, true, "the first stat of each host, all at once"},
    {"stale", pool_stale, true,
     "a stat whose session was cut: says \"cut\", then waits for a line"},
    {"sweep", pool_sweep, true, "stats of one host while the others fall idle"},
    {"beside", pool_beside, true, "stats of the first host while many wait for the last one"},
    {"memory", pool_memory, true, "memory for a session to each host"},
    {"growth", pool_growth, false, "memory over -n operations"},
    {"latency", pool_latency, false, "stat, cat and ls, one after the other"},
    {"transfer", pool_transfer, false,
     "the big file, read whole; -k write: as much written to a new one"},
    {"four", pool_four, false, "four operations in turn and at once"},
    {"mixed", pool_mixed, false, "five operations on two hosts"},
    {"load", pool_load, false, "stats at the rates of -R, for -s seconds each"},
    {"ping", pool_ping, false, "TCP to port -p and back"},
};
#define NCASES (sizeof(cases) / sizeof(cases[0]))

static void usage(FILE *out)
{
	fputs("usage: scoutfs-bench-pool [OPTION…] CASE TARGET [HOST…]\n"
	      "       scoutfs-bench-pool echo             sends back what a ping sends\n"
	      "TARGET is a scoutfs.ini, whose hosts are asked without a mount, or a directory with "
	      "a\n"
	      "folder for each HOST (default, of an ini: all of them).\n"
	      "  -f FILE  to stat and cat, in a host's folder; '#' in it is a number below -F\n"
	      "  -l DIR   to list  -b FILE  the big one  -k KIND  stat, cat or ls alone\n"
	      "  -n N     operations  -r N  rounds  -s SECONDS  -R RATE,RATE…\n",
	      out);
	for (size_t i = 0; i < NCASES; i++)
		fprintf(out, "  %-9s%s\n", cases[i].name, cases[i].help);
}

static bool number(const char *text, unsigned *ret)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || value > NUMBER_MAX)
		return false;
	*ret = (unsigned)value;
	return true;
}

static bool rates(char *text, struct pool_options *o)
{
	char *save, *each;

	o->nsteps = 0;
	for (each = strtok_r(text, ",", &save); each; each = strtok_r(NULL, ",", &save))
		if (o->nsteps == POOL_STEPS_MAX || !number(each, &o->steps[o->nsteps]) ||
		    !o->steps[o->nsteps++])
			return false;
	return o->nsteps > 0;
}

static bool parse(int argc, char **argv, struct pool_options *o)
{
	bool fine = true;
	int c;

	while (fine && (c = getopt(argc, argv, "f:F:l:b:k:n:r:s:R:p:")) != -1) {
		switch (c) {
		case 'f':
			o->file = optarg;
			break;
		case 'F':
			fine = number(optarg, &o->files) && o->files;
			break;
		case 'l':
			o->folder = optarg;
			break;
		case 'b':
			o->big = optarg;
			break;
		case 'k':
			o->kind = optarg;
			break;
		case 'n':
			fine = number(optarg, &o->count) && o->count;
			break;
		case 'r':
			fine = number(optarg, &o->rounds) && o->rounds;
			break;
		case 's':
			fine = number(optarg, &o->seconds) && o->seconds;
			break;
		case 'R':
			fine = rates(optarg, o);
			break;
		case 'p':
			fine = number(optarg, &o->port) && o->port <= 65535;
			break;
		default:
			fine = false;
		}
	}
	return fine && optind < argc;
}

/* The names of the hosts: those of the command line, or all of the config's. */
static int name_hosts(struct pool_options *o, char **names, int count, struct pool_target **config)
{
	size_t all;
	int err;

	if (count > 0) {
		o->hosts = (const char **)names;
		o->nhosts = (unsigned)count;
		return 0;
	}
	err = pool_backend_open(o->where, config);
	if (err)
		return err;
	all = pool_backend_hosts(*config);
	o->hosts = calloc(all, sizeof(*o->hosts));
	if (!o->hosts)
		return -ENOMEM;
	for (size_t i = 0; i < all; i++)
		o->hosts[i] = pool_backend_host(*config, i);
	o->nhosts = (unsigned)all;
	return 0;
}

static int run_case(size_t which, struct pool_options *o, char **names, int count)
{
	struct pool_target *config = NULL;
	struct pool_report *r = pool_report_new();
	struct stat st;
	int err = r ? 0 : -ENOMEM;

	if (!err && cases[which].run != pool_ping) {
		if (stat(o->where, &st))
			err = -errno;
		else if (S_ISDIR(st.st_mode) && (cases[which].backend || !count))
			err = -EINVAL;
		else
			err = name_hosts(o, names, count, &config);
	}
	if (!err)
		err = cases[which].run(o, r);
	if (err)
		fprintf(stderr, "scoutfs-bench-pool: %s: %s\n", cases[which].name, strerror(-err));
	else
		pool_report_print(r, cases[which].name, stdout);
	if (config)
		free(o->hosts);
	pool_target_close(config);
	if (r)
		pool_report_free(r);
	return err;
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer then: what fails says so */
	}
}

int pool_target_open(const char *where, struct pool_target **ret)
{
	struct stat st;

	if (!stat(where, &st) && S_ISDIR(st.st_mode))
		return pool_directory_open(where, ret);
	return pool_backend_open(where, ret);
}

int main(int argc, char **argv)
{
	struct pool_options o = {.file = "f",
				 .folder = ".",
				 .big = "big",
				 .files = 1,
				 .count = 100,
				 .rounds = 5,
				 .seconds = 5,
				 .steps = {10, 100, 500, 1000, 5000},
				 .nsteps = 5};
	const char *name;

	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	(void)scout_log_open(SCOUT_LOG_ERROR, NULL, false); /* warnings are what is measured */
	if (!parse(argc, argv, &o)) {
		usage(stderr);
		return 2;
	}
	name = argv[optind++];
	if (!strcmp(name, "echo") && optind == argc)
		return pool_echo() ? EXIT_FAILURE : EXIT_SUCCESS;
	for (size_t i = 0; i < NCASES; i++) {
		if (strcmp(name, cases[i].name) || (optind == argc && cases[i].run != pool_ping))
			continue;
		o.where = optind < argc ? argv[optind++] : NULL;
		return run_case(i, &o, argv + optind, argc - optind) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	usage(stderr);
	return 2;
}
