/* The relative URI of ECS, at its real address: in a network of the test's own, whose loopback has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "s3/source.h"

#define PATH "/v2/credentials/0f1e2d3c"
#define REQUEST "GET " PATH " HTTP/1.1\r\n"
#define BODY                                                                   \
	"{\"AccessKeyId\":\"AKIA\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"," \
	"\"Expiration\":\"2030-01-02T03:04:05Z\"}"

static struct sockaddr_in address(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};

	inet_pton(AF_INET, "169.254.170.2", &a.sin_addr);
	return a;
}

/* Only what was asked for rightly is answered by keys. */
static void *serve(void *arg)
{
	int listening = *(int *)arg, fd;

	while ((fd = accept(listening, NULL, NULL)) >= 0) {
		char request[4096] = "";
		size_t len = 0;
		ssize_t n = 1;
		bool right;

		while (n > 0 && len < sizeof(request) - 1 && !strstr(request, "\r\n\r\n")) {
			n = read(fd, request + len, sizeof(request) - 1 - len);
			len += n > 0 ? (size_t)n : 0;
			request[len] = '\0';
		}
		right = strncmp(request, REQUEST, strlen(REQUEST)) == 0 &&
			strstr(request, "\r\nAuthorization: Bearer x\r\n") != NULL;
		(void)dprintf(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
			      right ? "200 OK" : "401 No", right ? strlen(BODY) : 0,
			      right ? BODY : "");
		close(fd);
	}
	return NULL;
}

static int make_network(void)
{
	struct sockaddr_in a = address();
	struct ifreq request = {.ifr_name = "lo"};
	int fd, flags = CLONE_NEWNET | (geteuid() ? CLONE_NEWUSER : 0);

	if (unshare(flags) || (fd = socket(AF_INET, SOCK_STREAM, 0)) < 0)
		return -1;
	memcpy(&request.ifr_addr, &a, sizeof(a));
	if (ioctl(fd, SIOCSIFADDR, &request))
		return -1;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &request) || bind(fd, (const struct sockaddr *)&a, sizeof(a)) ||
	    listen(fd, 8))
		return -1;
	return fd;
}

/* In a process of its own. Returns its exit status. */
static int ask(void)
{
	struct scout_aws_env env = {
	    .value[SCOUT_AWS_CONTAINER_RELATIVE_URI] = (char[]){PATH},
	    /* which goes before it */
	    .value[SCOUT_AWS_CONTAINER_FULL_URI] = (char[]){"http://127.0.0.1/no"},
	    .value[SCOUT_AWS_CONTAINER_TOKEN] = (char[]){"Bearer x"},
	};
	struct scout_s3_asking asking = {.env = &env, .stop_fd = -1};
	struct scout_s3_answer a = {0};
	int fd = make_network();
	pthread_t thread;

	if (fd < 0 || pthread_create(&thread, NULL, serve, &fd))
		return 2;
	setenv("http_proxy", "http://192.0.2.1:9", 1); /* is not asked */
	if (scout_s3_ask_container(&asking, &a) || strcmp(a.access_key_id, "AKIA") != 0) {
		fprintf(stderr, "%s\n", asking.reason);
		return 3;
	}
	scout_s3_answer_free(&a);
	env.value[SCOUT_AWS_CONTAINER_TOKEN] = (char[]){"Bearer y"};
	if (!scout_s3_ask_container(&asking, &a) || !strstr(asking.reason, "HTTP status 401"))
		return 4;
	env.value[SCOUT_AWS_CONTAINER_RELATIVE_URI] = (char[]){"@example.com/x"};
	if (!scout_s3_ask_container(&asking, &a) || !strstr(asking.reason, "no path"))
		return 5;
	shutdown(fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fd);
	return 0;
}

static void a_relative_uri_is_asked_of_ecs(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(ask());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_relative_uri_is_asked_of_ecs),
	};

	return cmocka_run_group_tests_name("s3/container", tests, NULL, NULL);
}
