/* A host's numbers are copied under its lock, and written down after it is given back. */
#include "hosts/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hosts/hosts.h"
#include "hosts/idmap.h"

struct snapshot {
	bool retired;
	bool shown; /* also one that is not in the list, once it was tried */
	enum scout_host_state state;
	unsigned sessions[SCOUT_SESSION_CLOSING];
	unsigned calls, handles, queued;
	int last_err;
	char last_reason[256];
	uint64_t last_err_wall_ns, down_wall_ns, retry_in_ns;
	uint64_t connects, connect_failures, last_connect_ns;
	struct scout_sftp_server server;
};

static void look(struct scout_host *host, struct snapshot *s)
{
	uint64_t now = scout_now_ns();

	memset(s, 0, sizeof *s);
	scout_lock(&host->lock);
	s->state = scout_host_state_locked(host);
	for (unsigned i = 0; i < host->nsessions; i++) {
		s->sessions[host->sessions[i]->state]++;
		s->calls += host->sessions[i]->calls;
		s->handles += host->sessions[i]->handles;
	}
	s->retired = host->retired;
	s->shown = !host->dynamic || host->connects;
	s->queued = host->queued;
	s->last_err = host->last_err;
	memcpy(s->last_reason, host->last_reason, sizeof s->last_reason);
	s->last_err_wall_ns = host->last_err_wall_ns;
	s->down_wall_ns = host->down_wall_ns;
	if (host->down_err && host->down_until_ns > now)
		s->retry_in_ns = host->down_until_ns - now;
	s->connects = host->connects;
	s->connect_failures = host->connect_failures;
	s->last_connect_ns = host->last_connect_ns;
	s->server = host->server;
	scout_unlock(&host->lock);
}

static void last_error(struct scout_text *out, const char *before, const struct snapshot *s)
{
	char since[32], wait[32], reason[512];

	if (!s->last_err)
		return;
	scout_text_printf(out, "%s%s (%s), %s ago", before,
			  scout_format_name(reason, sizeof reason, s->last_reason),
			  strerrorname_np(-s->last_err),
			  scout_format_ago(since, s->last_err_wall_ns));
	if (s->state != SCOUT_HOST_DOWN)
		return;
	scout_text_printf(out, "; down for %s", scout_format_ago(since, s->down_wall_ns));
	if (s->retry_in_ns)
		scout_text_printf(out, "; next try in %s",
				  scout_format_duration(wait, s->retry_in_ns));
	else
		scout_text_printf(out, "; next try with the next request");
}

void scout_hosts_status(void *self, struct scout_text *out)
{
	struct scout_hosts *all = self;
	struct scout_host *host = NULL;

	while ((host = scout_table_next(all, host))) {
		struct snapshot s;

		look(host, &s);
		if (!s.shown)
			continue;
		scout_text_printf(out, "%-20s %-10s %u session%s, %u in flight, %u queued",
				  host->config->name,
				  s.retired ? "retired" : scout_host_state_name(s.state),
				  s.sessions[SCOUT_SESSION_UP],
				  s.sessions[SCOUT_SESSION_UP] == 1 ? "" : "s", s.calls, s.queued);
		last_error(out, s.state == SCOUT_HOST_DOWN ? "; " : "; last error: ", &s);
		scout_text_append(out, "\n", 1);
	}
}

void scout_hosts_detail_list(void *self, struct scout_text *out)
{
	struct scout_hosts *all = self;
	struct scout_host *host = NULL;

	while ((host = scout_table_next(all, host))) {
		struct snapshot s;

		look(host, &s);
		if (s.shown && !s.retired)
			scout_text_printf(out, "%s\n", host->config->name);
	}
}

static void detail_config(const struct scout_host_config *c, struct scout_text *out)
{
	char a[32], b[32];

	scout_text_printf(out, "address: %s", c->hostname ? c->hostname : "(ssh_config)");
	if (c->port)
		scout_text_printf(out, ":%u", c->port);
	scout_text_printf(out, "\nuser: %s\nroot: %s\n", c->user ? c->user : "(ssh_config)",
			  c->root);
	if (c->proxy_jump)
		scout_text_printf(out, "proxy_jump: %s\n", c->proxy_jump);
	scout_text_printf(out, "connect_timeout: %s\nrequest_timeout: %s\n",
			  scout_format_duration(a, c->connect_timeout_ns),
			  scout_format_duration(b, c->request_timeout_ns));
	scout_text_printf(out, "idle_timeout: %s\nread_window: %s\nmax_sessions_per_host: %u\n",
			  scout_format_duration(a, c->idle_timeout_ns),
			  scout_format_bytes(b, c->read_window), c->max_sessions_per_host);
}

int scout_hosts_detail(void *self, const char *entry, struct scout_text *out)
{
	struct scout_host *host = scout_table_find(self, entry, strlen(entry));
	struct snapshot s;
	char buf[32];

	if (!host)
		return -ENOENT;
	look(host, &s);
	scout_text_printf(out, "name: %s\nstate: %s\n", entry, scout_host_state_name(s.state));
	last_error(out, "last error: ", &s);
	if (s.last_err)
		scout_text_append(out, "\n", 1);
	if (s.state == SCOUT_HOST_DOWN)
		scout_text_printf(out, "touch this file to try again at once\n");
	detail_config(host->config, out);
	scout_idmap_detail(host, out);
	scout_host_unref(host);
	scout_text_printf(out, "sessions: %u up, %u connecting, %u lost\n",
			  s.sessions[SCOUT_SESSION_UP], s.sessions[SCOUT_SESSION_CONNECTING],
			  s.sessions[SCOUT_SESSION_LOST]);
	scout_text_printf(out, "requests: %u in flight, %u queued\nopen: %u\n", s.calls, s.queued,
			  s.handles);
	scout_text_printf(out, "connects: %llu, of these failed: %llu\n",
			  (unsigned long long)s.connects, (unsigned long long)s.connect_failures);
	if (s.last_connect_ns)
		scout_text_printf(out, "last connect took: %s\n",
				  scout_format_duration(buf, s.last_connect_ns));
	if (s.server.read_bytes)
		scout_text_printf(out, "server's limits: reads of %u bytes, %u open files\n",
				  s.server.read_bytes, s.server.open_handles);
	return 0;
}

static void metric_sessions(struct scout_hosts *all, struct scout_text *out)
{
	static const char *const states[] = {"connecting", "up", "lost"};
	struct scout_host *host = NULL;
	char name[256], labels[320];

	scout_metric_head(out, "scoutfs_hosts_sessions", "gauge",
			  "SSH sessions by host and state.");
	while ((host = scout_table_next(all, host))) {
		struct snapshot s;

		look(host, &s);
		if (!s.shown || s.retired)
			continue;
		scout_metric_label(name, sizeof name, host->config->name);
		for (unsigned k = 0; k < SCOUT_SESSION_CLOSING; k++) {
			(void)snprintf(labels, sizeof labels, "host=\"%s\",state=\"%s\"", name,
				       states[k]);
			scout_metric(out, "scoutfs_hosts_sessions", labels, s.sessions[k]);
		}
	}
}

static void metric_requests(struct scout_hosts *all, struct scout_text *out)
{
	struct scout_host *host = NULL;
	char name[256], labels[320];

	scout_metric_head(out, "scoutfs_hosts_requests", "gauge",
			  "Requests by host: waiting for a session, or sent and not answered.");
	while ((host = scout_table_next(all, host))) {
		struct snapshot s;

		look(host, &s);
		if (!s.shown || s.retired)
			continue;
		scout_metric_label(name, sizeof name, host->config->name);
		(void)snprintf(labels, sizeof labels, "host=\"%s\",state=\"queued\"", name);
		scout_metric(out, "scoutfs_hosts_requests", labels, s.queued);
		(void)snprintf(labels, sizeof labels, "host=\"%s\",state=\"in_flight\"", name);
		scout_metric(out, "scoutfs_hosts_requests", labels, s.calls);
	}
}

static void metric_connects(struct scout_hosts *all, struct scout_text *out)
{
	const struct scout_hosts_counters *c = &all->counters;
	char labels[64];

	scout_metric_head(out, "scoutfs_hosts_connects_total", "counter",
			  "Connects of SSH sessions by result.");
	for (int err = 0; err < SCOUT_ERRNO_MAX; err++) {
		uint64_t n = scout_counted(&c->connects[err]);
		const char *name = err ? strerrorname_np(err) : "ok";

		if (!n && err)
			continue;
		(void)snprintf(labels, sizeof labels, "result=\"%s\"", name ? name : "unknown");
		scout_metric(out, "scoutfs_hosts_connects_total", labels, n);
	}
	scout_metric_head(out, "scoutfs_hosts_connect_seconds", "histogram",
			  "How long successful connects took, from name to SFTP version.");
	scout_metric_hist(out, "scoutfs_hosts_connect_seconds", "", &c->connect_latency);
}

static void metric_pool(struct scout_hosts *all, struct scout_text *out)
{
	struct scout_pool *pool = &all->pool;
	unsigned sessions, connecting, limit;

	scout_lock(&pool->lock);
	sessions = pool->sessions;
	connecting = pool->connecting;
	limit = pool->max_sessions;
	scout_unlock(&pool->lock);
	scout_metric_head(out, "scoutfs_hosts_pool_sessions", "gauge",
			  "SSH sessions of all hosts, also those that are ending.");
	scout_metric(out, "scoutfs_hosts_pool_sessions", "", sessions);
	scout_metric_head(out, "scoutfs_hosts_pool_sessions_limit", "gauge", "max_sessions.");
	scout_metric(out, "scoutfs_hosts_pool_sessions_limit", "", limit);
	scout_metric_head(out, "scoutfs_hosts_pool_connecting", "gauge",
			  "SSH sessions on their way up.");
	scout_metric(out, "scoutfs_hosts_pool_connecting", "", connecting);
}

void scout_hosts_metrics(void *self, struct scout_text *out)
{
	struct scout_hosts *all = self;
	const struct scout_hosts_counters *c = &all->counters;
	struct scout_sftp_stats sftp;
	const struct {
		const char *name, *help;
		uint64_t value;
	} counters[] = {
	    {"scoutfs_hosts_pool_hits_total", "Requests that found a session up.",
	     scout_counted(&c->hits)},
	    {"scoutfs_hosts_pool_misses_total", "Requests that found none and waited or failed.",
	     scout_counted(&c->misses)},
	    {"scoutfs_hosts_retries_total", "Requests sent again after a lost session.",
	     scout_counted(&c->retries)},
	    {"scoutfs_hosts_sessions_lost_total", "Sessions that ended by an error.",
	     scout_counted(&c->lost)},
	    {"scoutfs_hosts_sessions_idle_closed_total", "Sessions closed after idle_timeout.",
	     scout_counted(&c->closed_idle)},
	    {"scoutfs_hosts_sessions_evicted_total", "Idle sessions closed at max_sessions.",
	     scout_counted(&c->evicted)},
	    {"scoutfs_hosts_bytes_read_total", "File bytes received.",
	     scout_counted(&c->bytes_read)},
	    {"scoutfs_hosts_read_ahead_dropped_total", "Unread buffers given back for others.",
	     scout_counted(&c->read_ahead_dropped)},
	    {"scoutfs_hosts_names_skipped_total", "Directory entries whose names no file can have.",
	     scout_counted(&c->names_skipped)},
	    {"scoutfs_hosts_attributes_listed_total",
	     "Attributes of files of far hosts that a listing made ahead told.",
	     scout_counted(&c->attrs_ahead)},
	    {"scoutfs_hosts_attributes_asked_total", "Those that were asked for.",
	     scout_counted(&c->attrs_asked)},
	    {"scoutfs_hosts_folders_ahead_total",
	     "Folders of far hosts that were listed before they were opened, and then were.",
	     scout_counted(&c->folders_ahead)},
	    {"scoutfs_hosts_folders_ahead_wasted_total", "Those that were not, in time.",
	     scout_counted(&c->folders_ahead_wasted)},
	    {"scoutfs_hosts_files_early_total",
	     "Files of far hosts that were read before they were opened, and then were.",
	     scout_counted(&c->files_early)},
	    {"scoutfs_hosts_files_early_wasted_total", "Those that were not, or had changed.",
	     scout_counted(&c->files_early_wasted)},
	};

	metric_pool(all, out);
	metric_sessions(all, out);
	metric_requests(all, out);
	metric_connects(all, out);
	for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
		scout_metric_head(out, counters[i].name, "counter", counters[i].help);
		scout_metric(out, counters[i].name, "", counters[i].value);
	}
	scout_sftp_stats(all->engine, &sftp);
	scout_metric_head(out, "scoutfs_sftp_requests_total", "counter", "SFTP requests sent.");
	scout_metric(out, "scoutfs_sftp_requests_total", "", sftp.requests);
	scout_metric_head(out, "scoutfs_sftp_bytes_total", "counter", "SFTP bytes by direction.");
	scout_metric(out, "scoutfs_sftp_bytes_total", "direction=\"in\"", sftp.bytes_in);
	scout_metric(out, "scoutfs_sftp_bytes_total", "direction=\"out\"", sftp.bytes_out);
}
