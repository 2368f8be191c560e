/* Samples and figures as JSON; see report.h. */
#include "report.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLES_SHOWN 1000

struct figure {
	char *name;
	double value;
	struct figure *next;
};

struct pool_report {
	struct pool_series *series, **series_end;
	struct figure *figures, **figures_end;
};

static void *need(void *memory)
{
	if (!memory) {
		fputs("scoutfs-bench-pool: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return memory;
}

struct pool_report *pool_report_new(void)
{
	struct pool_report *r = calloc(1, sizeof(*r));

	if (r) {
		r->series_end = &r->series;
		r->figures_end = &r->figures;
	}
	return r;
}

void pool_report_free(struct pool_report *r)
{
	struct pool_series *s, *next_series;
	struct figure *f, *next_figure;

	for (s = r->series; s; s = next_series) {
		next_series = s->next;
		free((char *)(uintptr_t)s->name);
		free(s->samples);
		free(s);
	}
	for (f = r->figures; f; f = next_figure) {
		next_figure = f->next;
		free(f->name);
		free(f);
	}
	free(r);
}

struct pool_series *pool_report_series(struct pool_report *r, const char *name, const char *unit)
{
	struct pool_series *s = need(calloc(1, sizeof(*s)));

	s->name = need(strdup(name));
	s->unit = unit;
	*r->series_end = s;
	r->series_end = &s->next;
	return s;
}

void pool_report_figure(struct pool_report *r, const char *name, double value)
{
	struct figure *f = need(calloc(1, sizeof(*f)));

	f->name = need(strdup(name));
	f->value = value;
	*r->figures_end = f;
	r->figures_end = &f->next;
}

void pool_series_add(struct pool_series *s, double sample)
{
	if (s->count == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 256;
		s->samples = need(reallocarray(s->samples, s->cap, sizeof(*s->samples)));
	}
	s->samples[s->count++] = sample;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The smallest sample that percent of all are not above; there is at least one. */
static double percentile(const struct pool_series *s, size_t percent)
{
	size_t rank = (s->count * percent + 99) / 100;

	return s->samples[rank ? rank - 1 : 0];
}

static void print_series(struct pool_series *s, FILE *out)
{
	size_t shown = s->count < SAMPLES_SHOWN ? s->count : SAMPLES_SHOWN;

	fprintf(out, "{\"name\": \"%s\", \"unit\": \"%s\", \"count\": %zu", s->name, s->unit,
		s->count);
	if (s->count) {
		qsort(s->samples, s->count, sizeof(*s->samples), compare);
		fprintf(out,
			", \"median\": %.9g, \"p95\": %.9g, \"p99\": %.9g, \"min\": %.9g, "
			"\"max\": %.9g",
			percentile(s, 50), percentile(s, 95), percentile(s, 99), s->samples[0],
			s->samples[s->count - 1]);
	}
	fputs(", \"samples\": [", out);
	for (size_t i = 0; i < shown; i++)
		fprintf(out, "%s%.6g", i ? ", " : "", s->samples[i * s->count / shown]);
	fputs("]}", out);
}

void pool_report_print(struct pool_report *r, const char *name, FILE *out)
{
	const char *comma = "";

	fprintf(out, "{\"case\": \"%s\", \"figures\": {", name);
	for (const struct figure *f = r->figures; f; f = f->next, comma = ", ")
		fprintf(out, "%s\"%s\": %.9g", comma, f->name, f->value);
	fputs("}, \"series\": [", out);
	comma = "\n ";
	for (struct pool_series *s = r->series; s; s = s->next, comma = ",\n ") {
		fputs(comma, out);
		print_series(s, out);
	}
	fputs("]}\n", out);
}
