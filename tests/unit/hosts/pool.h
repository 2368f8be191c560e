/* Many requests to a host at once, and what the pool says of it. */
#ifndef SCOUTFS_TESTS_POOL_H
#define SCOUTFS_TESTS_POOL_H

#include "hosts/hosts.h"

#include "fake_sftp.h"

#define MEMORY ((size_t)64 << 20)
#define N 20
#define MANY 100 /* more than one session takes before it is busy */

static struct ask asks[N];
static struct ask many[MANY];

static inline void start_getattrs(unsigned n, const char *path)
{
	for (unsigned i = 0; i < n; i++)
		ask_getattr(&asks[i], path);
}

static inline void all_end_with(unsigned n, int err)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(ask_wait(&asks[i]), err);
		assert_int_equal(asks[i].times, 1);
	}
}

static inline void *self_text(void (*write)(void *self, struct scout_text *out))
{
	struct scout_text text = {0};

	write(rig.backend.self, &text);
	return scout_text_take(&text);
}

/* Waits for a line of the metrics, which nothing wakes us for. */
static inline void wait_metric(const char *line)
{
	uint64_t until = scout_now_ns() + 10 * SCOUT_NS_PER_S;
	bool found = false;

	while (!found) {
		char *text = self_text(rig.backend.ops->metrics);
		const struct timespec pause = {.tv_nsec = 1000000};

		found = strstr(text, line) != NULL;
		free(text);
		if (!found) {
			assert_true(scout_now_ns() < until);
			nanosleep(&pause, NULL);
		}
	}
}

static inline struct scout_host *find(const char *name)
{
	struct scout_host *host = scout_table_find(rig.backend.self, name, strlen(name));

	assert_non_null(host);
	return host;
}

static inline enum scout_host_state state_of(const char *name)
{
	struct scout_host *host = find(name);
	enum scout_host_state state;

	scout_lock(&host->lock);
	state = scout_host_state_locked(host);
	scout_unlock(&host->lock);
	scout_host_unref(host);
	return state;
}

/* Waits for so many starts, as if no time had to pass between them. */
static inline void hurry_to(unsigned starts, const char *name)
{
	struct scout_hosts *all = rig.backend.self;
	uint64_t until = scout_now_ns() + 10 * SCOUT_NS_PER_S;
	struct scout_host *host = find(name);
	unsigned now;

	do {
		const struct timespec pause = {.tv_nsec = 1000000};

		assert_true(scout_now_ns() < until);
		scout_lock(&host->lock);
		host->next_start_ns = 0;
		scout_unlock(&host->lock);
		scout_pool_kick(&all->pool);
		nanosleep(&pause, NULL);
		pthread_mutex_lock(&fake.lock);
		now = fake.starts;
		pthread_mutex_unlock(&fake.lock);
	} while (now < starts);
	scout_host_unref(host);
}

static inline void hold_answers_of_getattr(unsigned n)
{
	FAKE_LOCKED(fake.hold_answers = true);
	for (unsigned i = 0; i < n; i++)
		ask_getattr(&many[i], "h0/x");
}

#endif
