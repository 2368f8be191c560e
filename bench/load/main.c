/* scoutfs-load: many clients at once download one thing, or things that they share out among them, each once or
 * again and again for a while, through a mount or straight from S3; what came of it is printed, and kept as
 * JSON with every client's samples.
 *
 * A client is a thread that does nothing but download. All begin together. Progress goes to standard
 * output once a second, when it is asked for. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"
#include "source.h"

#define CLIENTS_MAX 1000u
#define SECONDS_MAX 86400u
#define SAMPLES_MAX ((size_t)100000) /* of one client, which then stops */
#define FAILED_PAUSE_US 100000u /* what fails at once is not tried as often as the machine can */

struct load {
	char **targets; /* the first client takes the first, and so on, and round again */
	const char *output;
	unsigned ntargets, nclients, seconds; /* 0: each client once */
	bool progress;
	struct load_client *clients;
	pthread_barrier_t begin; /* all clients, and main() */
	double deadline_s;       /* immutable once they have begun */
	_Atomic uint64_t bytes;
	atomic_uint downloads, failed, running;
};

struct worker {
	struct load *load;
	const char *target;
	struct load_client *client;
	pthread_t thread;
};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool add_sample(struct load_client *c, double seconds)
{
	if (c->count == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 16;
		double *more = realloc(c->seconds, cap * sizeof(*more));

		if (!more)
			return false;
		c->seconds = more;
		c->cap = cap;
	}
	c->seconds[c->count++] = seconds;
	return c->count < SAMPLES_MAX;
}

/* False: this client is at its end. */
static bool download(struct load *l, struct load_client *c, struct load_source *s)
{
	_Atomic uint64_t bytes = 0;
	double began_s = now_s();
	bool more = true;

	if (load_source_read(s, &bytes, c->error, sizeof(c->error)) == 0) {
		more = add_sample(c, now_s() - began_s);
		atomic_fetch_add(&l->downloads, 1);
	} else {
		c->failed++;
		atomic_fetch_add(&l->failed, 1);
		if (l->seconds)
			usleep(FAILED_PAUSE_US);
	}
	c->bytes += bytes;
	c->ended_s = now_s();
	atomic_fetch_add(&l->bytes, bytes);
	return more && c->ended_s < l->deadline_s;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct load_source *s = load_source_new(w->target);

	pthread_barrier_wait(&w->load->begin);
	if (s) {
		while (download(w->load, w->client, s))
			;
	} else {
		snprintf(w->client->error, sizeof(w->client->error), "%s", strerror(ENOMEM));
		w->client->failed++;
	}
	load_source_free(s);
	atomic_fetch_sub(&w->load->running, 1);
	return NULL;
}

static void tell_progress(struct load *l, double began_s)
{
	while (atomic_load(&l->running)) {
		sleep(1);
		printf("progress elapsed=%.0fs running=%u downloads=%u failed=%u bytes=%llu\n",
		       now_s() - began_s, atomic_load(&l->running), atomic_load(&l->downloads),
		       atomic_load(&l->failed), (unsigned long long)atomic_load(&l->bytes));
		fflush(stdout);
	}
}

/* All clients from begin to end; 0 or -errno, when not all of them could be started. */
static int run(struct load *l, struct load_result *r)
{
	struct worker *workers = calloc(l->nclients, sizeof(*workers));
	double began_s;

	if (!workers)
		return -ENOMEM;
	pthread_barrier_init(&l->begin, NULL, l->nclients + 1);
	atomic_store(&l->running, l->nclients);
	for (unsigned i = 0; i < l->nclients; i++) {
		workers[i].load = l;
		workers[i].target = l->targets[i % l->ntargets];
		workers[i].client = &l->clients[i];
		/* those started wait for all: there is no way back */
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
			fprintf(stderr, "scoutfs-load: client %u: no thread\n", i);
			exit(EXIT_FAILURE);
		}
	}
	r->started = time(NULL);
	began_s = now_s();
	l->deadline_s = began_s + l->seconds;
	pthread_barrier_wait(&l->begin);
	if (l->progress)
		tell_progress(l, began_s);
	for (unsigned i = 0; i < l->nclients; i++) {
		pthread_join(workers[i].thread, NULL);
		if (l->clients[i].ended_s - began_s > r->elapsed_s)
			r->elapsed_s = l->clients[i].ended_s - began_s;
	}
	pthread_barrier_destroy(&l->begin);
	free(workers);
	return 0;
}

static int store(const struct load *l, const struct load_result *r, const struct load_figures *f)
{
	FILE *out = fopen(l->output, "we");
	int err = out ? load_print_json(r, f, out) : -errno;

	if (out && fclose(out) && !err)
		err = -EIO;
	if (err)
		fprintf(stderr, "scoutfs-load: %s: %s\n", l->output, strerror(-err));
	return err;
}

static void usage(FILE *out)
{
	fputs("usage: scoutfs-load [-c CLIENTS] [-d SECONDS] [-o FILE] [-p] TARGET...\n"
	      "TARGET is a file, as /mnt/scout/models/bert/main/model.zip, or an object of S3 as\n"
	      "http://ENDPOINT/BUCKET/KEY, signed with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,\n"
	      "AWS_SESSION_TOKEN and AWS_REGION of the environment.\n"
	      "With several, the first client downloads the first, and so on, and round again.\n"
	      "  -c, --clients=N     so many at once (default 100)\n"
	      "  -d, --duration=S    each again and again for so many seconds (default: once)\n"
	      "  -o, --output=FILE   write the figures and all samples there, as JSON\n"
	      "  -p, --progress      a line each second\n"
	      "Exits with 0, 1 when a download failed, 2 when it was called in another way.\n",
	      out);
}

static bool number(const char *text, unsigned min, unsigned max, unsigned *ret)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || value < min || value > max)
		return false;
	*ret = (unsigned)value;
	return true;
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct load *l)
{
	static const struct option options[] = {
	    {"clients", required_argument, NULL, 'c'}, {"duration", required_argument, NULL, 'd'},
	    {"output", required_argument, NULL, 'o'},  {"progress", no_argument, NULL, 'p'},
	    {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
	};
	bool fine = true;
	int c;

	while (fine && (c = getopt_long(argc, argv, "c:d:o:ph", options, NULL)) != -1) {
		if (c == 'c')
			fine = number(optarg, 1, CLIENTS_MAX, &l->nclients);
		else if (c == 'd')
			fine = number(optarg, 0, SECONDS_MAX, &l->seconds);
		else if (c == 'o')
			l->output = optarg;
		else if (c == 'p')
			l->progress = true;
		else if (c == 'h')
			break;
		else
			fine = false;
	}
	if (fine && c == 'h') {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	if (!fine || optind >= argc) {
		usage(stderr);
		return 2;
	}
	l->targets = argv + optind;
	l->ntargets = (unsigned)(argc - optind);
	return -1;
}

static int init_sources(const struct load *l)
{
	int err = 0;

	for (unsigned i = 0; !err && i < l->ntargets; i++)
		err = load_source_init(l->targets[i]);
	return err;
}

int main(int argc, char **argv)
{
	struct load l = {.nclients = 100};
	struct load_figures figures;
	struct load_result r;
	int status = parse(argc, argv, &l);

	if (status >= 0)
		return status;
	l.clients = calloc(l.nclients, sizeof(*l.clients));
	r = (struct load_result){
	    .target = l.targets[0], .clients = l.clients, .nclients = l.nclients};
	if (!l.clients || init_sources(&l) || run(&l, &r) || load_figure(&r, &figures)) {
		fprintf(stderr, "scoutfs-load: %s\n", strerror(ENOMEM));
		return EXIT_FAILURE;
	}
	load_print(&r, &figures, stdout);
	status = figures.failed || figures.downloads == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	if (l.output && store(&l, &r, &figures))
		status = EXIT_FAILURE;
	for (unsigned i = 0; i < l.nclients; i++)
		free(l.clients[i].seconds);
	free(l.clients);
	return status;
}
