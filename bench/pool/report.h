/* What a case measured: series of samples, and single figures, printed as one JSON object. */
#ifndef BENCH_POOL_REPORT_H
#define BENCH_POOL_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Samples of one kind; zeroed with its name and unit set is empty. One thread at a time. */
struct pool_series {
	const char *name, *unit;
	double *samples;
	size_t count, cap;
	struct pool_series *next; /* the report's */
};

struct pool_report;

struct pool_report *pool_report_new(void); /* NULL: no memory */
void pool_report_free(struct pool_report *r);
/* A series of r's own, with name copied; exits the program without memory, as all of these do. */
struct pool_series *pool_report_series(struct pool_report *r, const char *name, const char *unit);
void pool_report_figure(struct pool_report *r, const char *name, double value);
void pool_series_add(struct pool_series *s, double sample);
/* count, median, p95, p99, min and max (nearest rank) of each series, with 1,000 of its samples at most,
 * taken evenly from the sorted ones. */
void pool_report_print(struct pool_report *r, const char *name, FILE *out);

#endif
