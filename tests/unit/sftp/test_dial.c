/* Names that hang in the resolver: each takes one place of those that there are, however often it is tried. And names
 * that lead elsewhere each time. */
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scoutfs/clock.h"
#include "scoutfs/config.h"
#include "sftp/session.h"

#define TRIES 70 /* more than there are places */
#define SOON_NS (2 * SCOUT_NS_PER_MS)
#define LATE_NS (60 * SCOUT_NS_PER_S)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed = PTHREAD_COND_INITIALIZER;
static bool hangs = true; /* under lock: what "hung" does */
static atomic_uint asked; /* for "hung" */
static atomic_uint turn;  /* "turns" is another address of this machine each time */

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
	if (strcmp(host, "turns") == 0)
		found->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + atomic_fetch_add(&turn, 1));
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
	struct sockaddr_in in = {.sin_family = AF_INET}; /* at every address */
	socklen_t len = sizeof(in);

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(*fd >= 0);
	assert_int_equal(bind(*fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(*fd, 10), 0);
	assert_int_equal(getsockname(*fd, (struct sockaddr *)&in, &len), 0);
	return ntohs(in.sin_port);
}

/* What a session that gives up after so long comes to; *last is the last byte of the address it reached. */
static int dial_as(struct scout_sftp_peer *peer, const char *host, unsigned port,
		   uint64_t patience_ns, unsigned *last)
{
	struct scout_sftp s = {.deadline_ns = scout_now_ns() + patience_ns, .peer = peer};
	struct sockaddr_in in = {0};
	socklen_t len = sizeof(in);
	int err, fd = -1;

	scout_mutex_init(&s.lock, SCOUT_LOCK_ENGINE);
	s.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(s.wake_fd >= 0);
	err = scout_sftp_dial(&s, host, port, &fd);
	assert_int_equal(err, s.err);
	if (fd >= 0) {
		assert_int_equal(getpeername(fd, (struct sockaddr *)&in, &len), 0);
		close(fd);
	}
	*last = ntohl(in.sin_addr.s_addr) & 0xff;
	close(s.wake_fd);
	scout_mutex_destroy(&s.lock);
	return err;
}

/* Descriptors that are short are told as what they are. */
static void without_descriptors(void **state)
{
	struct scout_sftp_peer *peer = scout_sftp_peer_new();
	struct rlimit limit, all;
	unsigned port, last, short_of = 0;
	int fd, err = -1;

	(void)state;
	assert_non_null(peer);
	port = listening(&fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	limit = all;
	for (limit.rlim_cur = (rlim_t)fd + 2; err;
	     limit.rlim_cur++) { /* one for the session's own */
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		err = dial_as(peer, "good", port, LATE_NS, &last);
		assert_true(err == 0 || err == -EMFILE);
		short_of += err != 0;
	}
	assert_in_range(short_of, 2, 8);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	scout_sftp_peer_free(peer);
	close(fd);
}

static int dial(const char *host, unsigned port, uint64_t patience_ns)
{
	struct scout_sftp_peer *peer = scout_sftp_peer_new();
	unsigned last;
	int err;

	assert_non_null(peer);
	err = dial_as(peer, host, port, patience_ns, &last);
	scout_sftp_peer_free(peer);
	return err;
}

static bool no_copies;

/* In the place of libc's: without memory when it is told so. */
char *strdup(const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy = no_copies ? NULL : malloc(size);

	return copy ? memcpy(copy, s, size) : NULL;
}

/* Whether a host has moved is not known without memory. */
static void without_memory(void **state)
{
	struct scout_sftp_peer *peer = scout_sftp_peer_new();
	const struct scout_host_config host = {.name = (char[]){"good"}};
	const char *answer;
	char *own;

	(void)state;
	assert_non_null(peer);
	own = strdup("hostname good");
	assert_int_equal(scout_sftp_peer_moved(peer, &host, 0), 0);
	assert_true(scout_sftp_peer_join(peer, &own, &answer));
	assert_int_equal(scout_sftp_peer_moved(peer, &host, 0), 1); /* it has no ssh_config */
	no_copies = true;
	assert_int_equal(scout_sftp_peer_moved(peer, &host, 0), -EAGAIN);
	no_copies = false;
	scout_sftp_peer_leave(peer);
	scout_sftp_peer_free(peer);
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

static void join(struct scout_sftp_peer *peer, const char *answer, const char *wanted)
{
	char *own = strdup(answer);
	const char *got;

	assert_true(scout_sftp_peer_join(peer, &own, &got));
	assert_string_equal(got, wanted);
	free(own);
}

static void a_host_is_one_machine_at_a_time(void **state)
{
	struct scout_sftp_peer *peer = scout_sftp_peer_new();
	struct sockaddr_in other = {.sin_family = AF_INET};
	unsigned port, last;
	const char *got;
	int fd;

	(void)state;
	port = listening(&fd);
	assert_non_null(peer);
	assert_false(scout_sftp_peer_join(peer, NULL, &got));
	join(peer, "first", "first");
	join(peer, "second", "first");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(dial_as(peer, "turns", port, LATE_NS, &last), 0);
		assert_int_equal(last, 1);
	}
	/* while it was on its way another one was there first */
	assert_false(scout_sftp_peer_reached(peer, (void *)&other, sizeof(other)));
	scout_sftp_peer_leave(peer);
	assert_int_equal(dial_as(peer, "turns", port, LATE_NS, &last), 0);
	assert_int_equal(last, 1);
	scout_sftp_peer_leave(peer);
	/* nobody is left */
	assert_false(scout_sftp_peer_join(peer, NULL, &got));
	join(peer, "third", "third");
	assert_int_equal(dial_as(peer, "turns", port, LATE_NS, &last), 0);
	assert_int_equal(last, 2);
	/* and who is kept where it is stays there */
	scout_sftp_peer_keep(peer);
	scout_sftp_peer_leave(peer);
	join(peer, "fourth", "third");
	assert_int_equal(dial_as(peer, "turns", port, LATE_NS, &last), 0);
	assert_int_equal(last, 2);
	scout_sftp_peer_free(peer);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_that_hangs_takes_one_place),
	    cmocka_unit_test(a_host_is_one_machine_at_a_time),
	    cmocka_unit_test(without_descriptors),
	    cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests_name("sftp/dial", tests, NULL, NULL);
}
