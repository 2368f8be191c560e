/* Names that hang in the resolver: each takes one place of those that there are, however often it is tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "sftp/session.h"

#define TRIES 70 /* more than there are places */
#define SOON_NS (2 * SCOUT_NS_PER_MS)
#define LATE_NS (60 * SCOUT_NS_PER_S)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed = PTHREAD_COND_INITIALIZER;
static bool hangs = true; /* under lock: what "hung" does */
static atomic_uint asked; /* for "hung" */

/* In the place of libc's: every name is this machine. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		struct addrinfo **ret)
{
	struct {
		struct addrinfo ai;
		struct sockaddr_in in;
	} * found;

	if (hints->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	if (strcmp(host, "hung") == 0) {
		atomic_fetch_add(&asked, 1);
		pthread_mutex_lock(&lock);
		while (hangs)
			pthread_cond_wait(&freed, &lock);
		pthread_mutex_unlock(&lock);
	}
	found = calloc(1, sizeof(*found));
	if (!found)
		return EAI_MEMORY;
	found->in.sin_family = AF_INET;
	found->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	found->in.sin_port = htons((uint16_t)atoi(port));
	found->ai.ai_family = AF_INET;
	found->ai.ai_addr = (struct sockaddr *)&found->in;
	found->ai.ai_addrlen = sizeof(found->in);
	*ret = &found->ai;
	return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
	free(list);
}

static unsigned listening(int *fd)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(*fd >= 0);
	assert_int_equal(bind(*fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(*fd, 10), 0);
	assert_int_equal(getsockname(*fd, (struct sockaddr *)&in, &len), 0);
	return ntohs(in.sin_port);
}

/* What a session that gives up after so long comes to. */
static int dial(const char *host, unsigned port, uint64_t patience_ns)
{
	struct scout_sftp s = {.deadline_ns = scout_now_ns() + patience_ns};
	int err, fd = -1;

	scout_mutex_init(&s.lock, SCOUT_LOCK_ENGINE);
	s.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(s.wake_fd >= 0);
	err = scout_sftp_dial(&s, host, port, &fd);
	assert_int_equal(err, s.err);
	if (fd >= 0)
		close(fd);
	close(s.wake_fd);
	scout_mutex_destroy(&s.lock);
	return err;
}

static void *dial_hung(void *arg)
{
	return (void *)(intptr_t)dial("hung", *(unsigned *)arg, LATE_NS);
}

static void a_name_that_hangs_takes_one_place(void **state)
{
	pthread_t threads[3];
	unsigned port;
	void *err;
	int fd;

	(void)state;
	port = listening(&fd);
	for (unsigned i = 0; i < TRIES; i++)
		assert_int_equal(dial("hung", port, SOON_NS), -ETIMEDOUT);
	assert_int_equal(dial("good", port, LATE_NS), 0);
	assert_in_range(asked, 0, 1);
	/* and who waits for it has its answer */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, dial_hung, &port), 0);
	usleep(20000); /* that they join it is likely, and not needed */
	pthread_mutex_lock(&lock);
	hangs = false;
	pthread_cond_broadcast(&freed);
	pthread_mutex_unlock(&lock);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], &err), 0);
		assert_int_equal((intptr_t)err, 0);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_that_hangs_takes_one_place),
	};

	return cmocka_run_group_tests_name("sftp/dial", tests, NULL, NULL);
}
