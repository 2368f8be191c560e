/* What a load came to: the samples of its clients, and the figures made of them. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

/* One client's downloads. Its own thread's until that is joined. */
struct load_client {
	double *seconds; /* of each download that came whole */
	size_t count, cap;
	uint64_t bytes; /* also of those that did not */
	unsigned failed;
	double ended_s;  /* CLOCK_MONOTONIC, of the last */
	char error[256]; /* of the last that failed */
};

struct load_result {
	const char *target; /* the first */
	time_t started;
	double elapsed_s;
	const struct load_client *clients;
	unsigned nclients;
};

struct load_figures {
	uint64_t bytes;
	size_t downloads; /* whole ones */
	unsigned failed;
	double success_percent;
	double bytes_per_s;
	double mean_s, median_s, p99_s, min_s, max_s; /* of the whole ones; 0: there are none */
};

/* 0 or -ENOMEM. Percentiles are nearest-rank. */
int load_figure(const struct load_result *r, struct load_figures *ret);
/* key=value lines, for people and scripts. */
void load_print(const struct load_result *r, const struct load_figures *f, FILE *out);
/* With every client's samples. Returns 0 or -EIO when it could not be written. */
int load_print_json(const struct load_result *r, const struct load_figures *f, FILE *out);

#endif
