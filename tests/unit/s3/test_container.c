/* The relative URI of ECS, at its real address: in a network of the test's own, whose loopback has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "network.h"
#include "s3/source.h"

#define PATH "/v2/credentials/0f1e2d3c"
#define REQUEST "GET " PATH " HTTP/1.1\r\n"
#define BODY                                                                   \
	"{\"AccessKeyId\":\"AKIA\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"," \
	"\"Expiration\":\"2030-01-02T03:04:05Z\"}"

/* Only what was asked for rightly is answered by keys. */
static const char *answer(const char *request, const void *arg)
{
	(void)arg;
	return strncmp(request, REQUEST, strlen(REQUEST)) == 0 &&
		       strstr(request, "\r\nAuthorization: Bearer x\r\n")
		   ? BODY
		   : NULL;
}

/* Returns an exit status. */
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
	struct server server = {.answer = answer};

	if (!server_start(&server, "169.254.170.2"))
		return NO_NETWORK;
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
	server_stop(&server);
	return 0;
}

static void a_relative_uri_is_asked_of_ecs(void **state)
{
	(void)state;
	assert_int_equal(in_own_network(ask), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_relative_uri_is_asked_of_ecs),
	};

	return cmocka_run_group_tests_name("s3/container", tests, NULL, NULL);
}
