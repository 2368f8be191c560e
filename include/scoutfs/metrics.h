/* Counters and latency histograms, and their Prometheus text (exposition format 0.0.4). All are
 * atomic; reading them while they are written gives values of about now. */
#ifndef SCOUTFS_METRICS_H
#define SCOUTFS_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "scoutfs/text.h"

typedef _Atomic uint64_t scout_counter;

static inline void scout_count(scout_counter *c, uint64_t n)
{
	atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static inline uint64_t scout_counted(const scout_counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

#define SCOUT_HIST_BUCKETS 16 /* 100 us, 250 us, 500 us, 1 ms, ... 10 s, +Inf */

struct scout_hist {
	scout_counter bucket[SCOUT_HIST_BUCKETS];
	scout_counter count;
	scout_counter sum_ns;
};

void scout_hist_add(struct scout_hist *h, uint64_t ns);

/* "# HELP name help\n# TYPE name type\n" */
void scout_metric_head(struct scout_text *out, const char *name, const char *type,
		       const char *help);
/* "name{labels} value\n"; labels may be "" (then no braces) and holds escaped values. */
void scout_metric(struct scout_text *out, const char *name, const char *labels, uint64_t value);
/* name_bucket, name_sum and name_count in seconds. */
void scout_metric_hist(struct scout_text *out, const char *name, const char *labels,
		       const struct scout_hist *h);
/* value escaped for a label (\\, \", \n) into buf; truncates. */
const char *scout_metric_label(char *buf, size_t cap, const char *value);

/* What the kernel asked and how it went, by backend, operation and result. */
enum scout_op {
	SCOUT_OP_LOOKUP,
	SCOUT_OP_GETATTR,
	SCOUT_OP_READLINK,
	SCOUT_OP_OPEN,
	SCOUT_OP_READ,
	SCOUT_OP_OPENDIR,
	SCOUT_OP_READDIR,
	SCOUT_OP_STATFS,
	SCOUT_OP_ACCESS,
	SCOUT_OP_SETATTR,
	SCOUT_OP_CREATE,
	SCOUT_OP_MKDIR,
	SCOUT_OP_MKNOD,
	SCOUT_OP_SYMLINK,
	SCOUT_OP_LINK,
	SCOUT_OP_UNLINK,
	SCOUT_OP_RMDIR,
	SCOUT_OP_RENAME,
	SCOUT_OP_WRITE,
	SCOUT_OP_FLUSH,
	SCOUT_OP_FSYNC,
	SCOUT_OP_COPY,
	SCOUT_OP_GETXATTR,
	SCOUT_OP_LISTXATTR,
	SCOUT_OPS
};
const char *scout_op_name(enum scout_op op);

#define SCOUT_MAX_BACKENDS 8
#define SCOUT_ERRNO_MAX 134

struct scout_op_metrics {
	scout_counter result[SCOUT_ERRNO_MAX]; /* by errno, 0 is success */
	struct scout_hist latency;
};

struct scout_metrics {
	struct scout_op_metrics ops[SCOUT_MAX_BACKENDS][SCOUT_OPS];
	_Atomic int64_t in_flight; /* requests of the kernel that wait for an answer */
	scout_counter interrupted;
	scout_counter timed_out;
};

#endif
