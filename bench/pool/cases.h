/* The cases, and what they share: the options, names of files, crowds of threads. */
#ifndef BENCH_POOL_CASES_H
#define BENCH_POOL_CASES_H

#include <stddef.h>
#include <stdint.h>

#include "report.h"
#include "target.h"

#define POOL_STEPS_MAX 16

struct pool_options {
	const char *where;  /* whom to ask, see target.h */
	const char *file;   /* in a host's folder; '#' stands for a number below files */
	const char *folder; /* to list, in a host's folder */
	const char *big;    /* to read whole, in a host's folder */
	const char *kind;   /* of latency: stat, cat or ls alone; NULL: all. Of transfer: write */
	const char **hosts; /* nhosts names */
	unsigned nhosts, files, count, rounds, seconds, port;
	unsigned steps[POOL_STEPS_MAX], nsteps; /* requests a second */
};

/* Each returns 0 or -errno. */
typedef int pool_case(const struct pool_options *o, struct pool_report *r);

pool_case pool_route, pool_list, pool_config, pool_acquire;                          /* local.c */
pool_case pool_connect, pool_burst, pool_hosts, pool_stale, pool_sweep, pool_beside; /* cold.c */
pool_case pool_latency, pool_transfer, pool_four, pool_mixed;                        /* warm.c */
pool_case pool_load;                                                                 /* load.c */
pool_case pool_memory, pool_growth;                                                  /* memory.c */

pool_case pool_ping; /* ping.c */

/* Sends back what comes, to one at a time, until it is ended; says its port first. -errno. */
int pool_echo(void);

/* "HOST/" and o->file with number in it, into buf. */
#define POOL_PATH_MAX 512
const char *pool_path(const struct pool_options *o, unsigned host, unsigned number,
		      char buf[POOL_PATH_MAX]);
/* "HOST/name". */
const char *pool_join(const struct pool_options *o, unsigned host, const char *name,
		      char buf[POOL_PATH_MAX]);

/* Runs job(arg, i) for each i below n on a thread of its own, all of them begun together; the time of each goes to
 * ns (NULL: to nobody), that of all together to *all_ns. The first error. crowd.c */
int pool_crowd(unsigned n, int (*job)(void *arg, unsigned i), void *arg, double *ns,
	       double *all_ns);

#endif
