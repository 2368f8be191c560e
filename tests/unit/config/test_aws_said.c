/* What AWS's variables and files say of where to ask. */
#include "helper.h"

#include "scoutfs/aws_env.h"
#include "scoutfs/aws_profile.h"
#include "scoutfs/aws_said.h"

static struct scout_aws_env env;

/* The profile called name of home/config with this text. */
static struct scout_profile of(const char *text, const char *name)
{
	char config[256], credentials[256];
	struct scout_profile p;
	const char *path;

	snprintf(config, sizeof(config), "%s", write_file("config", text, strlen(text)));
	snprintf(credentials, sizeof(credentials), "%s/none", home);
	assert_int_equal(scout_profile_read(credentials, config, name, &p, &path), 0);
	return p;
}

static void said(struct scout_aws_said found, const char *value, const char *by)
{
	if (!value) {
		assert_null(found.value);
		return;
	}
	assert_string_equal(found.value, value);
	assert_string_equal(found.by, by);
}

static void regions(void **state)
{
	struct scout_profile p = of("[default]\nregion = eu-west-1\n", "default");

	(void)state;
	env = (struct scout_aws_env){0};
	said(scout_aws_region(&env, NULL), NULL, NULL);
	said(scout_aws_region(&env, &p), "eu-west-1", "the profile's region");
	env.value[SCOUT_AWS_DEFAULT_REGION] = (char[]){"eu-west-2"};
	said(scout_aws_region(&env, &p), "eu-west-2", "AWS_DEFAULT_REGION");
	env.value[SCOUT_AWS_REGION] = (char[]){"eu-west-3"};
	said(scout_aws_region(&env, &p), "eu-west-3", "AWS_REGION");
	scout_profile_free(&p);
}

static void endpoints(void **state)
{
	struct scout_profile p = of("[profile a]\nendpoint_url = http://a\nservices = lab\n"
				    "[services lab]\ns3 =\n  endpoint_url = http://s3\n",
				    "a");

	(void)state;
	env = (struct scout_aws_env){0};
	said(scout_aws_endpoint(&env, NULL, SCOUT_AWS_S3), NULL, NULL);
	said(scout_aws_endpoint(&env, &p, SCOUT_AWS_S3), "http://s3",
	     "the endpoint_url of the profile's services");
	said(scout_aws_endpoint(&env, &p, SCOUT_AWS_STS), "http://a", "the profile's endpoint_url");
	env.value[SCOUT_AWS_ENDPOINT_URL] = (char[]){"http://all"};
	said(scout_aws_endpoint(&env, &p, SCOUT_AWS_S3), "http://all", "AWS_ENDPOINT_URL");
	env.value[SCOUT_AWS_ENDPOINT_URL_S3] = (char[]){"http://one"};
	said(scout_aws_endpoint(&env, &p, SCOUT_AWS_S3), "http://one", "AWS_ENDPOINT_URL_S3");
	said(scout_aws_endpoint(&env, &p, SCOUT_AWS_STS), "http://all", "AWS_ENDPOINT_URL");
	env.value[SCOUT_AWS_ENDPOINT_URL_STS] = (char[]){"http://sts"};
	said(scout_aws_endpoint(&env, &p, SCOUT_AWS_STS), "http://sts", "AWS_ENDPOINT_URL_STS");
	scout_profile_free(&p);
}

/* The variable goes before the profile's setting, also with "false". */
static void endpoints_may_be_ignored(void **state)
{
	struct scout_profile p = of("[default]\nendpoint_url = http://a\n"
				    "ignore_configured_endpoint_urls = True\n",
				    "default");

	(void)state;
	env = (struct scout_aws_env){.value[SCOUT_AWS_ENDPOINT_URL] = (char[]){"http://all"}};
	said(scout_aws_endpoint(&env, &p, SCOUT_AWS_S3), NULL, NULL);
	said(scout_aws_endpoint(&env, NULL, SCOUT_AWS_S3), "http://all", "AWS_ENDPOINT_URL");
	env.value[SCOUT_AWS_IGNORE_ENDPOINT_URLS] = (char[]){"false"};
	said(scout_aws_endpoint(&env, &p, SCOUT_AWS_S3), "http://all", "AWS_ENDPOINT_URL");
	env.value[SCOUT_AWS_IGNORE_ENDPOINT_URLS] = (char[]){"TRUE"};
	said(scout_aws_endpoint(&env, NULL, SCOUT_AWS_STS), NULL, NULL);
	scout_profile_free(&p);
}

/* Of the section that the profile names alone, and of its block for the service alone. */
static void services(void **state)
{
	static const char text[] =
	    "[profile a]\nservices = lab\ns3 =\n  endpoint_url = http://no\n"
	    "[services other]\ns3 =\n  endpoint_url = http://other\n"
	    "[profile lab]\nendpoint_url = http://profile\n"
	    "[services\tlab]\nendpoint_url = http://outside\n"
	    "dynamodb =\n  endpoint_url = http://dynamodb\n"
	    "S3 = \n  addressing_style = path\n  endpoint_url = http://s3\n"
	    "[default]\nservices = default\ns3 =\n  endpoint_url = http://d\n"
	    "[lab]\ns3 =\n  endpoint_url = http://bare\n";
	struct scout_profile p = of(text, "a");

	(void)state;
	assert_string_equal(p.value[SCOUT_PROFILE_ENDPOINT_URL_S3], "http://s3");
	assert_null(p.value[SCOUT_PROFILE_ENDPOINT_URL_STS]);
	assert_null(p.value[SCOUT_PROFILE_ENDPOINT_URL]);
	scout_profile_free(&p);
	p = of(text, "default");
	assert_true(p.found);
	assert_null(p.value[SCOUT_PROFILE_ENDPOINT_URL_S3]);
	scout_profile_free(&p);
}

static void names_in_quotes(void **state)
{
	static const char text[] = "[profile 'my ml']\nregion = eu-west-1\n"
				   "[profile \"the lab\"]\nregion = eu-west-2\n"
				   "[profile \"half]\nregion = eu-west-3\n";
	static const char *const names[] = {"my ml", "the lab", "\"half"};

	(void)state;
	env = (struct scout_aws_env){0};
	for (size_t i = 0; i < 3; i++) {
		struct scout_profile p = of(text, names[i]);
		char region[16];

		snprintf(region, sizeof(region), "eu-west-%zu", i + 1);
		said(scout_aws_region(&env, &p), region, "the profile's region");
		scout_profile_free(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(regions),  TEST(endpoints),       TEST(endpoints_may_be_ignored),
	    TEST(services), TEST(names_in_quotes),
	};

	return cmocka_run_group_tests_name("config/aws_said", tests, NULL, NULL);
}
