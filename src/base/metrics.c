/* Histograms and Prometheus text; see scoutfs/metrics.h. */
#include "scoutfs/metrics.h"

#include <inttypes.h>

static const struct {
	uint64_t ns;
	const char *seconds;
} bounds[SCOUT_HIST_BUCKETS - 1] = {
    {100000, "0.0001"},  {250000, "0.00025"}, {500000, "0.0005"},  {1000000, "0.001"},
    {2500000, "0.0025"}, {5000000, "0.005"},  {10000000, "0.01"},  {25000000, "0.025"},
    {50000000, "0.05"},  {100000000, "0.1"},  {250000000, "0.25"}, {500000000, "0.5"},
    {1000000000, "1"},   {2500000000, "2.5"}, {10000000000, "10"},
};

void scout_hist_add(struct scout_hist *h, uint64_t ns)
{
	unsigned i = 0;

	while (i < SCOUT_HIST_BUCKETS - 1 && ns > bounds[i].ns)
		i++;
	scout_count(&h->bucket[i], 1);
	scout_count(&h->count, 1);
	scout_count(&h->sum_ns, ns);
}

void scout_metric_head(struct scout_text *out, const char *name, const char *type, const char *help)
{
	scout_text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void scout_metric(struct scout_text *out, const char *name, const char *labels, uint64_t value)
{
	if (*labels)
		scout_text_printf(out, "%s{%s} %" PRIu64 "\n", name, labels, value);
	else
		scout_text_printf(out, "%s %" PRIu64 "\n", name, value);
}

void scout_metric_hist(struct scout_text *out, const char *name, const char *labels,
		       const struct scout_hist *h)
{
	const char *comma = *labels ? "," : "";
	const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
	uint64_t below = 0;

	for (unsigned i = 0; i < SCOUT_HIST_BUCKETS; i++) {
		below += scout_counted(&h->bucket[i]);
		scout_text_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, labels,
				  comma, i < SCOUT_HIST_BUCKETS - 1 ? bounds[i].seconds : "+Inf",
				  below);
	}
	scout_text_printf(out, "%s_sum%s%s%s %.6f\n", name, open, labels, close,
			  (double)scout_counted(&h->sum_ns) / 1e9);
	/* the buckets' sum, so that the two agree also while others count */
	scout_text_printf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, below);
}

const char *scout_metric_label(char *buf, size_t cap, const char *value)
{
	size_t len = 0;

	for (; *value; value++) {
		char escaped = *value == '\n' ? 'n' : *value == '"' || *value == '\\' ? *value : 0;

		if (len + 2 >= cap)
			break;
		if (escaped)
			buf[len++] = '\\';
		buf[len++] = escaped ? escaped : *value;
	}
	if (cap > 0)
		buf[len] = '\0';
	return buf;
}

const char *scout_op_name(enum scout_op op)
{
	static const char *const names[SCOUT_OPS] = {
	    [SCOUT_OP_LOOKUP] = "lookup",     [SCOUT_OP_GETATTR] = "getattr",
	    [SCOUT_OP_READLINK] = "readlink", [SCOUT_OP_OPEN] = "open",
	    [SCOUT_OP_READ] = "read",         [SCOUT_OP_OPENDIR] = "opendir",
	    [SCOUT_OP_READDIR] = "readdir",   [SCOUT_OP_STATFS] = "statfs",
	    [SCOUT_OP_ACCESS] = "access",     [SCOUT_OP_SETATTR] = "setattr",
	    [SCOUT_OP_CREATE] = "create",     [SCOUT_OP_MKDIR] = "mkdir",
	    [SCOUT_OP_MKNOD] = "mknod",       [SCOUT_OP_SYMLINK] = "symlink",
	    [SCOUT_OP_LINK] = "link",         [SCOUT_OP_UNLINK] = "unlink",
	    [SCOUT_OP_RMDIR] = "rmdir",       [SCOUT_OP_RENAME] = "rename",
	    [SCOUT_OP_WRITE] = "write",       [SCOUT_OP_FLUSH] = "flush",
	    [SCOUT_OP_FSYNC] = "fsync",       [SCOUT_OP_COPY] = "copy",
	    [SCOUT_OP_GETXATTR] = "getxattr", [SCOUT_OP_LISTXATTR] = "listxattr",
	};

	return names[op];
}
