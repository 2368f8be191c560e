/* The figures of a load; see report.h. */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The smallest sample that percent of all are not above. */
static double percentile(const double *sorted, size_t count, unsigned percent)
{
	size_t rank = (count * percent + 99) / 100;

	return sorted[rank ? rank - 1 : 0];
}

static void add_up(const struct load_result *r, struct load_figures *f)
{
	memset(f, 0, sizeof(*f));
	for (unsigned i = 0; i < r->nclients; i++) {
		f->bytes += r->clients[i].bytes;
		f->downloads += r->clients[i].count;
		f->failed += r->clients[i].failed;
	}
	if (f->downloads + f->failed)
		f->success_percent =
		    100.0 * (double)f->downloads / (double)(f->downloads + f->failed);
	if (r->elapsed_s > 0)
		f->bytes_per_s = (double)f->bytes / r->elapsed_s;
}

int load_figure(const struct load_result *r, struct load_figures *ret)
{
	struct load_figures f;
	double *all, sum = 0;
	size_t n = 0;

	add_up(r, &f);
	if (!f.downloads) {
		*ret = f;
		return 0;
	}
	all = malloc(f.downloads * sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < r->nclients; i++) {
		for (size_t j = 0; j < r->clients[i].count; j++) {
			all[n++] = r->clients[i].seconds[j];
			sum += r->clients[i].seconds[j];
		}
	}
	qsort(all, n, sizeof(*all), compare);
	f.mean_s = sum / (double)n;
	f.median_s = percentile(all, n, 50);
	f.p99_s = percentile(all, n, 99);
	f.min_s = all[0];
	f.max_s = all[n - 1];
	free(all);
	*ret = f;
	return 0;
}

static const char *first_error(const struct load_result *r)
{
	for (unsigned i = 0; i < r->nclients; i++) {
		if (r->clients[i].error[0])
			return r->clients[i].error;
	}
	return NULL;
}

void load_print(const struct load_result *r, const struct load_figures *f, FILE *out)
{
	const char *error = first_error(r);

	fprintf(out,
		"clients=%u downloads=%zu failed=%u success=%.2f%% bytes=%llu elapsed=%.3fs "
		"throughput=%.1fMB/s\n",
		r->nclients, f->downloads, f->failed, f->success_percent,
		(unsigned long long)f->bytes, r->elapsed_s, f->bytes_per_s / 1e6);
	fprintf(out, "mean=%.3fs median=%.3fs p99=%.3fs min=%.3fs max=%.3fs\n", f->mean_s,
		f->median_s, f->p99_s, f->min_s, f->max_s);
	if (error)
		fprintf(out, "error: %s\n", error);
}

static void print_string(const char *text, FILE *out)
{
	fputc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void print_client(const struct load_client *c, FILE *out)
{
	fprintf(out, "{\"bytes\": %llu, \"failed\": %u, ", (unsigned long long)c->bytes, c->failed);
	if (c->error[0]) {
		fputs("\"error\": ", out);
		print_string(c->error, out);
		fputs(", ", out);
	}
	fputs("\"seconds\": [", out);
	for (size_t i = 0; i < c->count; i++)
		fprintf(out, "%s%.6f", i ? ", " : "", c->seconds[i]);
	fputs("]}", out);
}

int load_print_json(const struct load_result *r, const struct load_figures *f, FILE *out)
{
	char started[32] = "";
	struct tm tm;

	if (gmtime_r(&r->started, &tm))
		strftime(started, sizeof(started), "%Y-%m-%dT%H:%M:%SZ", &tm);
	fputs("{\"target\": ", out);
	print_string(r->target, out);
	fprintf(out,
		",\n \"started\": \"%s\", \"elapsed_s\": %.6f, \"clients\": %u,\n"
		" \"downloads\": %zu, \"failed\": %u, \"success_percent\": %.4f,\n"
		" \"bytes\": %llu, \"throughput_bytes_per_s\": %.0f,\n"
		" \"mean_s\": %.6f, \"median_s\": %.6f, \"p99_s\": %.6f, \"min_s\": %.6f, "
		"\"max_s\": %.6f,\n \"per_client\": [",
		started, r->elapsed_s, r->nclients, f->downloads, f->failed, f->success_percent,
		(unsigned long long)f->bytes, f->bytes_per_s, f->mean_s, f->median_s, f->p99_s,
		f->min_s, f->max_s);
	for (unsigned i = 0; i < r->nclients; i++) {
		fputs(i ? ",\n  " : "\n  ", out);
		print_client(&r->clients[i], out);
	}
	fputs("]}\n", out);
	return ferror(out) || fflush(out) ? -EIO : 0;
}
