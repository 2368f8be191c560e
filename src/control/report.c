/* The texts of .scoutfs; see report.h. Each backend writes its own part; here stands what is the whole
 * mount's: uptime, memory, and the kernel's requests by backend, operation and result. */
#include "control/report.h"

#include <stdio.h>
#include <string.h>

#include "scoutfs/budget.h"
#include "scoutfs/clock.h"
#include "scoutfs/metrics.h"
#include "scoutfs/version.h"

void scout_report_status(const struct scout_env *env, uint64_t uptime_ns, struct scout_text *out)
{
	struct scout_budget_stats mem;
	char uptime[32];

	scout_budget_stats(env->budget, &mem);
	scout_text_printf(out, "scoutfs %s, up %s\n", SCOUTFS_VERSION,
			  scout_format_duration(uptime, uptime_ns));
	/* in the unit of the config's memory key */
	scout_text_printf(out, "memory: %zuM of %zuM in buffers", mem.used_bytes >> 20,
			  mem.limit_bytes >> 20);
	if (mem.waiting)
		scout_text_printf(out, ", %zu reads wait for memory", mem.waiting);
	scout_text_printf(out, "\nrequests: %lld in flight, %llu timed out, %llu interrupted\n",
			  (long long)atomic_load(&env->metrics->in_flight),
			  (unsigned long long)scout_counted(&env->metrics->timed_out),
			  (unsigned long long)scout_counted(&env->metrics->interrupted));
	for (size_t i = 0; i < env->nbackends; i++) {
		struct scout_text part = {0};

		env->backends[i].ops->status(env->backends[i].self, &part);
		if (part.len)
			scout_text_printf(out, "\n%s", part.str);
		out->failed |= part.failed;
		scout_text_free(&part);
	}
}

static void request_metrics(const struct scout_env *env, struct scout_text *out)
{
	char labels[128];

	scout_metric_head(out, "scoutfs_requests_total", "counter",
			  "Requests of the kernel answered, by backend, operation and result.");
	for (size_t i = 0; i < env->nbackends; i++) {
		for (int op = 0; op < SCOUT_OPS; op++) {
			const struct scout_op_metrics *m = &env->metrics->ops[i][op];

			for (int e = 0; e < SCOUT_ERRNO_MAX; e++) {
				const char *result = e ? strerrorname_np(e) : "ok";
				uint64_t n = scout_counted(&m->result[e]);

				if (n == 0 && e != 0)
					continue;
				snprintf(labels, sizeof(labels),
					 "backend=\"%s\",op=\"%s\",result=\"%s\"",
					 env->backends[i].ops->name,
					 scout_op_name((enum scout_op)op),
					 result ? result : "other");
				scout_metric(out, "scoutfs_requests_total", labels, n);
			}
		}
	}
	scout_metric_head(out, "scoutfs_request_seconds", "histogram",
			  "From a request of the kernel to its answer.");
	for (size_t i = 0; i < env->nbackends; i++) {
		for (int op = 0; op < SCOUT_OPS; op++) {
			snprintf(labels, sizeof(labels), "backend=\"%s\",op=\"%s\"",
				 env->backends[i].ops->name, scout_op_name((enum scout_op)op));
			scout_metric_hist(out, "scoutfs_request_seconds", labels,
					  &env->metrics->ops[i][op].latency);
		}
	}
}

void scout_report_metrics(const struct scout_env *env, uint64_t uptime_ns, struct scout_text *out)
{
	int64_t in_flight = atomic_load(&env->metrics->in_flight);
	struct scout_budget_stats mem;

	scout_budget_stats(env->budget, &mem);
	scout_metric_head(out, "scoutfs_build_info", "gauge", "The version, as a label.");
	scout_metric(out, "scoutfs_build_info", "version=\"" SCOUTFS_VERSION "\"", 1);
	scout_metric_head(out, "scoutfs_uptime_seconds", "gauge", "Since the mount.");
	scout_metric(out, "scoutfs_uptime_seconds", "", uptime_ns / SCOUT_NS_PER_S);
	scout_metric_head(out, "scoutfs_buffer_bytes", "gauge", "Buffers in use.");
	scout_metric(out, "scoutfs_buffer_bytes", "", mem.used_bytes);
	scout_metric_head(out, "scoutfs_buffer_limit_bytes", "gauge", "Their ceiling.");
	scout_metric(out, "scoutfs_buffer_limit_bytes", "", mem.limit_bytes);
	scout_metric_head(out, "scoutfs_buffer_waiters", "gauge", "Reads that wait for memory.");
	scout_metric(out, "scoutfs_buffer_waiters", "", mem.waiting);
	scout_metric_head(out, "scoutfs_requests_in_flight", "gauge",
			  "Requests of the kernel that wait for an answer.");
	scout_metric(out, "scoutfs_requests_in_flight", "",
		     in_flight > 0 ? (uint64_t)in_flight : 0);
	scout_metric_head(out, "scoutfs_requests_interrupted_total", "counter",
			  "Requests given up because their process was interrupted.");
	scout_metric(out, "scoutfs_requests_interrupted_total", "",
		     scout_counted(&env->metrics->interrupted));
	scout_metric_head(out, "scoutfs_requests_timed_out_total", "counter",
			  "Requests given up at their deadline.");
	scout_metric(out, "scoutfs_requests_timed_out_total", "",
		     scout_counted(&env->metrics->timed_out));
	request_metrics(env, out);
	for (size_t i = 0; i < env->nbackends; i++)
		env->backends[i].ops->metrics(env->backends[i].self, out);
}
