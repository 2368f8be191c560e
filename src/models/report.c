/* What .scoutfs/status and .scoutfs/metrics say of the registry; from memory, never from a network. */
#include <inttypes.h>

#include "models/cache.h"
#include "models/catalogue.h"
#include "models/models.h"
#include "models/publish.h"
#include "models/zip.h"
#include "scoutfs/clock.h"

static bool has_file(const struct scout_node *dir)
{
	for (uint32_t i = 0; i < dir->count; i++) {
		if (!dir->children[i].dir)
			return true;
	}
	return false;
}

/* Directories with a version in them, which is a directory with a file in it: <id>/<version>/<file>,
 * where the id may have several parts. What is below a model is its own and no model. */
static size_t count_models(const struct scout_node *dir)
{
	size_t models = 0;

	for (uint32_t i = 0; i < dir->count; i++) {
		const struct scout_node *n = &dir->children[i];
		bool versions = false;

		for (uint32_t k = 0; k < n->count && !versions; k++)
			versions = has_file(&n->children[k]);
		models += versions ? 1 : count_models(n);
	}
	return models;
}

static void report_left_out(const struct scout_tree *t, struct scout_text *out)
{
	for (int kind = SCOUT_KEY_LEFT_OUT; kind < SCOUT_KEY_KINDS; kind++) {
		if (t->left_out[kind] > 0)
			scout_text_printf(out, "  left out     %zu keys: %s\n", t->left_out[kind],
					  scout_key_reason((enum scout_key_kind)kind));
	}
}

static void report_catalogue(struct scout_models *m, struct scout_text *out)
{
	bool too_many;
	struct scout_tree *t = scout_catalogue_peek(m, &too_many);
	char age[32];

	if (too_many)
		scout_text_printf(
		    out, "  listing      more than %zu keys (list_max_keys): by directory\n",
		    m->config->list_max_keys);
	else if (!t)
		scout_text_printf(out, "  listing      none yet\n");
	else
		scout_text_printf(out, "  listing      %zu models, %zu objects, %s old\n",
				  count_models(&t->root), t->files,
				  scout_format_duration(age, scout_now_ns() - t->listed_ns));
	if (t)
		report_left_out(t, out);
	scout_tree_unref(t);
}

static void report_error(const struct scout_s3_stats *s, struct scout_text *out)
{
	char age[32], reason[256];

	if (s->last_err == 0)
		return;
	scout_text_printf(out, "  last error   %s, %s ago\n",
			  scout_format_name(reason, sizeof(reason), s->last_reason),
			  scout_format_ago(age, s->last_err_wall_ns));
}

static void report_requests(const struct scout_s3_stats *s, struct scout_text *out)
{
	scout_text_printf(out,
			  "  requests     %" PRIu64 ", %" PRIu64 " of them retries, %" PRIu64
			  " hedges (%" PRIu64 " were first)\n",
			  s->requests, s->retries, s->hedges, s->hedges_won);
	if (s->slow_downs > 0)
		scout_text_printf(out,
				  "  slow down    asked for %" PRIu64
				  " times, %u requests at once for now\n",
				  s->slow_downs, s->allowed);
}

/* A server may say any time. */
static uint64_t to_ns(int64_t seconds)
{
	const int64_t most = INT64_MAX / (int64_t)SCOUT_NS_PER_S;

	return (uint64_t)(seconds < most ? seconds : most) * SCOUT_NS_PER_S;
}

static void report_signer(const struct scout_s3_signer_stats *s, struct scout_text *out)
{
	char text[SCOUT_S3_REASON_MAX], time[32];
	int64_t left_s = s->left_s < 0 ? -s->left_s : s->left_s;

	scout_text_printf(out, "  credentials  %s",
			  scout_format_name(text, sizeof(text), s->source));
	if (!s->have)
		scout_text_printf(out, ", none yet");
	if (s->expires)
		scout_text_printf(out, s->left_s > 0 ? ", expire in %s" : ", expired %s ago",
				  scout_format_duration(time, to_ns(left_s)));
	scout_text_printf(out, "\n");
	if (*s->last_failure)
		scout_text_printf(out, "  renewal      failed %s ago: %s\n",
				  scout_format_ago(time, s->failed_wall_ns),
				  scout_format_name(text, sizeof(text), s->last_failure));
}

void scout_models_status(void *self, struct scout_text *out)
{
	struct scout_models *m = self;
	const struct scout_models_counters *c = &m->counters;
	struct scout_s3_stats s;
	char a[32], b[32], prefix[256];

	scout_s3_stats(m->s3, &s);
	scout_text_printf(out, "models: %s bucket %s prefix \"%s\"\n", m->config->endpoint,
			  m->config->bucket,
			  scout_format_name(prefix, sizeof(prefix), m->config->prefix));
	report_signer(&s.signer, out);
	report_catalogue(m, out);
	scout_text_printf(out, "  connections  %u of %u, %u requests under way, %u queued\n",
			  s.connections, s.max_connections, s.active, s.queued);
	report_requests(&s, out);
	scout_text_printf(out, "  bytes        %s from S3, %s to readers\n",
			  scout_format_bytes(a, s.bytes_in),
			  scout_format_bytes(b, scout_counted(&c->bytes_served)));
	scout_text_printf(out, "  blocks       %" PRIu64 " hits, %" PRIu64 " misses, %s cached\n",
			  scout_counted(&c->block_hits), scout_counted(&c->block_misses),
			  scout_format_bytes(a, atomic_load(&m->nblocks) * SCOUT_BUF_BYTES));
	scout_cache_status(m, out);
	if (m->publisher)
		scout_publisher_status(m->publisher, out);
	report_error(&s, out);
}

static void metric(struct scout_text *out, const char *name, const char *type, const char *help,
		   uint64_t value)
{
	scout_metric_head(out, name, type, help);
	scout_metric(out, name, "", value);
}

static void s3_metrics(struct scout_models *m, struct scout_text *out)
{
	struct scout_s3_stats s;

	scout_s3_stats(m->s3, &s);
	metric(out, "scoutfs_s3_requests_total", "counter",
	       "Requests sent to S3, retries included.", s.requests);
	metric(out, "scoutfs_s3_retries_total", "counter", "Requests sent again.", s.retries);
	metric(out, "scoutfs_s3_hedges_total", "counter",
	       "Second requests for what an earlier one hung with.", s.hedges);
	metric(out, "scoutfs_s3_hedges_won_total", "counter",
	       "Hedges that brought the answer first.", s.hedges_won);
	metric(out, "scoutfs_s3_slow_downs_total", "counter",
	       "Answers that asked to slow down (503, 429).", s.slow_downs);
	metric(out, "scoutfs_s3_requests_max", "gauge",
	       "Requests allowed at once: fewer than connections after slow downs.", s.allowed);
	metric(out, "scoutfs_s3_bytes_total", "counter", "Bytes of answers' bodies.", s.bytes_in);
	metric(out, "scoutfs_s3_active", "gauge", "Requests under way.", s.active);
	metric(out, "scoutfs_s3_queue_length", "gauge", "Requests that wait for a connection.",
	       s.queued);
	metric(out, "scoutfs_s3_connections", "gauge", "Open connections.", s.connections);
	metric(out, "scoutfs_s3_connections_max", "gauge", "Connections allowed.",
	       s.max_connections);
	metric(out, "scoutfs_s3_credentials_renewed_total", "counter",
	       "Credentials that were asked for and came.", s.signer.renewals);
	metric(out, "scoutfs_s3_credentials_failures_total", "counter",
	       "Credentials that were asked for in vain.", s.signer.failures);
	if (s.signer.expires)
		metric(out, "scoutfs_s3_credentials_expire_seconds", "gauge",
		       "How long the present credentials hold; 0 when they have expired.",
		       s.signer.left_s > 0 ? (uint64_t)s.signer.left_s : 0);
}

void scout_models_metrics(void *self, struct scout_text *out)
{
	struct scout_models *m = self;
	const struct scout_models_counters *c = &m->counters;
	bool too_many;
	struct scout_tree *t = scout_catalogue_peek(m, &too_many);

	s3_metrics(m, out);
	metric(out, "scoutfs_models_bytes_served_total", "counter", "Bytes handed to readers.",
	       scout_counted(&c->bytes_served));
	metric(out, "scoutfs_models_bytes_inflated_total", "counter",
	       "Bytes of archives' members that were inflated, also on the way to those asked for.",
	       scout_counted(&c->bytes_inflated));
	metric(out, "scoutfs_models_block_hits_total", "counter",
	       "Blocks that were there, or on their way, when a reader came.",
	       scout_counted(&c->block_hits));
	metric(out, "scoutfs_models_block_misses_total", "counter",
	       "Blocks that a reader had fetched.", scout_counted(&c->block_misses));
	metric(out, "scoutfs_models_block_evictions_total", "counter",
	       "Cached blocks that made room.", scout_counted(&c->block_evictions));
	metric(out, "scoutfs_models_block_bytes", "gauge", "Memory of blocks.",
	       atomic_load(&m->nblocks) * SCOUT_BUF_BYTES);
	metric(out, "scoutfs_models_unzip_bytes", "gauge",
	       "Memory beside the buffers, of members of archives, to go on inflating.",
	       scout_zip_held_bytes(m));
	metric(out, "scoutfs_models_verified_total", "counter",
	       "Objects whose bytes, read whole, match S3's checksum.",
	       scout_counted(&m->verifiers.verified));
	metric(out, "scoutfs_models_unverified_total", "counter",
	       "Objects read whole without a checksum to compare with, or evicted before; "
	       "members of archives read in too many pieces.",
	       scout_counted(&m->verifiers.unverified));
	metric(out, "scoutfs_models_mismatches_total", "counter",
	       "Objects whose bytes did not match.", scout_counted(&m->verifiers.mismatches));
	metric(out, "scoutfs_models_list_requests_total", "counter", "Pages of listings asked for.",
	       scout_counted(&c->list_requests));
	metric(out, "scoutfs_models_direct_questions_total", "counter",
	       "Names that S3 was asked about directly.", scout_counted(&c->direct_questions));
	metric(out, "scoutfs_models_catalogue_bytes", "gauge", "Memory of listings.",
	       scout_catalogue_bytes(m));
	metric(out, "scoutfs_models_catalogue_keys", "gauge", "Keys in the last whole listing.",
	       t ? t->keys : 0);
	scout_cache_metrics(m, out);
	if (m->publisher)
		scout_publisher_metrics(m->publisher, out);
	scout_tree_unref(t);
}
