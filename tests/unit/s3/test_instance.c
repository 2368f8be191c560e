/* The metadata service of an instance, at its real addresses: in a network of the test's own, whose loopback has
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "network.h"
#include "s3/source.h"

#define FOUR "169.254.169.254"
#define SIX "fd00:ec2::254"
#define ROLES "/latest/meta-data/iam/security-credentials/"
#define KEYS(id)                                                                                \
	"{\"Code\":\"Success\",\"AccessKeyId\":\"" id "\",\"SecretAccessKey\":\"s\",\"Token\":" \
	"\"t\",\"Expiration\":\"2030-01-02T03:04:05Z\"}"

static bool begins(const char *request, const char *line)
{
	return strncmp(request, line, strlen(line)) == 0;
}

/* Of a service that gives these keys to who asks as version 2 wants it. */
static const char *answer(const char *request, const void *keys)
{
	if (begins(request, "PUT /latest/api/token HTTP/1.1\r\n"))
		return strstr(request, "\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\n")
			   ? "abc=="
			   : NULL;
	if (!strstr(request, "\r\nX-aws-ec2-metadata-token: abc==\r\n"))
		return NULL;
	if (begins(request, "GET " ROLES " HTTP/1.1\r\n"))
		return "reader";
	return begins(request, "GET " ROLES "reader HTTP/1.1\r\n") ? keys : NULL;
}

/* Whether who is asked so gives the keys of that id. */
static bool gives(const char *endpoint, const char *mode, const char *id)
{
	struct scout_aws_env env = {
	    .value[SCOUT_AWS_METADATA_ENDPOINT] = (char *)(uintptr_t)endpoint,
	    .value[SCOUT_AWS_METADATA_ENDPOINT_MODE] = (char *)(uintptr_t)mode,
	};
	struct scout_s3_asking asking = {.env = &env, .stop_fd = -1};
	struct scout_s3_answer a = {0};
	bool right;

	if (scout_s3_ask_instance(&asking, &a)) {
		fprintf(stderr, "%s\n", asking.reason);
		return false;
	}
	right = strcmp(a.access_key_id, id) == 0;
	scout_s3_answer_free(&a);
	return right;
}

/* Returns an exit status. */
static int ask(void)
{
	struct server four = {.answer = answer, .arg = KEYS("FOUR")};
	struct server six = {.answer = answer, .arg = KEYS("SIX")};

	setenv("http_proxy", "http://192.0.2.1:9", 1); /* is not asked */
	if (!server_start(&four, FOUR))
		return NO_NETWORK;
	if (!gives(NULL, NULL, "FOUR") || !gives(NULL, "IPv4", "FOUR"))
		return 3;
	if (!server_start(&six, SIX))
		return errno == EAFNOSUPPORT || errno == EACCES ? NO_IPV6 : NO_NETWORK;
	if (!gives(NULL, "IPv6", "SIX") || !gives(NULL, "ipv6", "SIX"))
		return 4;
	if (!gives(NULL, NULL, "FOUR"))
		return 5;
	/* an endpoint says more than a mode */
	if (!gives("http://" FOUR, "IPv6", "FOUR") || !gives("http://[" SIX "]/", "IPv4", "SIX"))
		return 6;
	server_stop(&six);
	server_stop(&four);
	return 0;
}

static void both_addresses_of_the_service(void **state)
{
	int status = in_own_network(ask);

	(void)state;
	if (status == NO_IPV6)
		skip();
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_addresses_of_the_service),
	};

	return cmocka_run_group_tests_name("s3/instance", tests, NULL, NULL);
}
