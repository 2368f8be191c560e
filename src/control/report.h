/* What .scoutfs/status and .scoutfs/metrics say, gathered from all backends. */
#ifndef SCOUTFS_CONTROL_REPORT_H
#define SCOUTFS_CONTROL_REPORT_H

#include <stdint.h>

#include "scoutfs/backend.h"

void scout_report_status(const struct scout_env *env, uint64_t uptime_ns, struct scout_text *out);
void scout_report_metrics(const struct scout_env *env, uint64_t uptime_ns, struct scout_text *out);

#endif
