/* Which source AWS's chain comes to, from variables and files of the test's own. Nothing is asked. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "s3/source.h"
#include "scoutfs/config.h"

#define KEYS "aws_access_key_id = K\naws_secret_access_key = s\n"
#define PROCESS "credential_process = /bin/x\n"
#define SSO "sso_session = s\nsso_account_id = 1\nsso_role_name = r\n"
#define ROLE "role_arn = arn:aws:iam::1:role/reader\n"

static char credentials_path[] = "/tmp/scoutfs-test-credentials-XXXXXX";
static char config_path[] = "/tmp/scoutfs-test-config-XXXXXX";
static char region[] = "eu-north-1";
static struct scout_aws_env env;
static struct scout_models_config config;
static struct scout_s3_asking asking;

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int make_files(void **state)
{
	int a = mkstemp(credentials_path), b = mkstemp(config_path);

	(void)state;
	return a < 0 || b < 0 || close(a) || close(b) ? -1 : 0;
}

static int remove_files(void **state)
{
	(void)state;
	unlink(credentials_path);
	unlink(config_path);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	write_file(credentials_path, "");
	write_file(config_path, "");
	env = (struct scout_aws_env){.credentials_path = credentials_path,
				     .config_path = config_path};
	config = (struct scout_models_config){.region = region};
	asking = (struct scout_s3_asking){.env = &env, .stop_fd = -1};
	return 0;
}

static struct scout_s3_source *find(enum scout_s3_source_kind kind, const char *label)
{
	struct scout_s3_source *s = NULL;

	if (scout_s3_source_find(&config, &asking, &s))
		fail_msg("%s", asking.reason);
	assert_int_equal(s->kind, kind);
	assert_string_equal(s->label, label);
	return s;
}

static void found(enum scout_s3_source_kind kind, const char *label)
{
	scout_s3_source_free(find(kind, label));
}

static void refused(const char *words)
{
	struct scout_s3_source *s = NULL;

	assert_int_equal(scout_s3_source_find(&config, &asking, &s), -EINVAL);
	if (!strstr(asking.reason, words))
		fail_msg("\"%s\" lacks \"%s\"", asking.reason, words);
	assert_null(s);
}

static void the_instance_is_last(void **state)
{
	struct scout_s3_source *s = find(SCOUT_SOURCE_INSTANCE, "instance metadata");

	(void)state;
	assert_true(s->optional);
	scout_s3_source_free(s);
	env.value[SCOUT_AWS_METADATA_DISABLED] = (char[]){"True"};
	found(SCOUT_SOURCE_NONE, "anonymous");
	env.value[SCOUT_AWS_CONTAINER_FULL_URI] = (char[]){"http://localhost/x"};
	found(SCOUT_SOURCE_CONTAINER, "container endpoint");
	write_file(config_path, "[default]\ncredential_process = /bin/x\n");
	found(SCOUT_SOURCE_PROCESS, "profile default (credential_process)");
	env.value[SCOUT_AWS_WEB_IDENTITY_TOKEN_FILE] = (char[]){"/t"};
	env.value[SCOUT_AWS_ROLE_ARN] = (char[]){"arn:web"};
	found(SCOUT_SOURCE_WEB_IDENTITY, "environment (web identity, assumed role arn:web)");
	env.value[SCOUT_AWS_ACCESS_KEY_ID] = (char[]){"E"};
	env.value[SCOUT_AWS_SECRET_ACCESS_KEY] = (char[]){"s"};
	found(SCOUT_SOURCE_KEYS, "environment");
}

static void a_profile_that_says_nothing_leads_on(void **state)
{
	struct scout_s3_source *s;

	(void)state;
	write_file(config_path, "[profile ml]\nregion = eu-west-1\n");
	env.value[SCOUT_AWS_PROFILE] = (char[]){"ml"};
	s = find(SCOUT_SOURCE_INSTANCE, "instance metadata");
	assert_false(s->optional); /* somebody wanted credentials */
	scout_s3_source_free(s);
	env.value[SCOUT_AWS_METADATA_DISABLED] = (char[]){"true"};
	refused("profile ml holds no credentials");
}

static void a_role_and_its_source_profile(void **state)
{
	struct scout_s3_source *s;

	(void)state;
	config.profile = (char[]){"ml"};
	write_file(credentials_path, "[base]\n" KEYS);
	write_file(config_path, "[profile ml]\n" ROLE
				"source_profile = middle\nexternal_id = e\nrole_session_name = n\n"
				"duration_seconds = 900\nregion = eu-west-1\n"
				"[profile middle]\nrole_arn = arn:2\nsource_profile = base\n");
	s = find(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	assert_string_equal(s->external_id, "e");
	assert_string_equal(s->session_name, "n");
	assert_string_equal(s->sts_region, "eu-west-1");
	assert_int_equal(s->duration_s, 900);
	assert_int_equal(s->base->kind, SCOUT_SOURCE_ROLE);
	assert_string_equal(s->base->role_arn, "arn:2");
	assert_string_equal(s->base->session_name, "scoutfs");
	assert_string_equal(s->base->sts_region, "eu-north-1");
	assert_int_equal(s->base->base->kind, SCOUT_SOURCE_KEYS);
	assert_string_equal(s->base->base->keys->access_key_id, "K");
	scout_s3_source_free(s);
	env.value[SCOUT_AWS_DEFAULT_REGION] = (char[]){"us-west-2"};
	s = find(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	assert_string_equal(s->sts_region, "us-west-2");
	scout_s3_source_free(s);
}

static void a_profile_may_sign_for_its_own_role(void **state)
{
	struct scout_s3_source *s;

	(void)state;
	config.profile = (char[]){"ml"};
	write_file(config_path, "[profile ml]\n" ROLE KEYS "source_profile = ml\n");
	s = find(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	assert_int_equal(s->base->kind, SCOUT_SOURCE_KEYS);
	scout_s3_source_free(s);
}

static void circles_and_gaps_are_refused(void **state)
{
	(void)state;
	config.profile = (char[]){"a"};
	write_file(config_path, "[profile a]\n" ROLE "source_profile = b\n"
				"[profile b]\n" ROLE "source_profile = a\n");
	refused("circle");
	write_file(config_path, "[profile a]\n" ROLE "source_profile = a\n");
	refused("circle");
	write_file(config_path, "[profile a]\n" ROLE "source_profile = gone\n");
	refused("its source_profile gone is not there");
	write_file(config_path,
		   "[profile a]\n" ROLE "source_profile = b\n[profile b]\nregion = x\n");
	refused("its source_profile b holds no credentials");
	write_file(config_path, "[profile a]\n" ROLE);
	refused("needs either source_profile or credential_source");
	write_file(config_path,
		   "[profile a]\n" ROLE "source_profile = b\ncredential_source = Environment\n");
	refused("needs either source_profile or credential_source");
}

static void a_long_chain_is_refused(void **state)
{
	char text[1000] = "";
	size_t len = 0;

	(void)state;
	config.profile = (char[]){"p0"};
	for (int i = 0; i < 12; i++)
		len +=
		    (size_t)snprintf(text + len, sizeof(text) - len,
				     "[profile p%d]\nrole_arn=a\nsource_profile=p%d\n", i, i + 1);
	write_file(config_path, text);
	refused("in a row");
}

static void credential_sources(void **state)
{
	struct scout_s3_source *s;

	(void)state;
	config.profile = (char[]){"ml"};
	write_file(config_path, "[profile ml]\n" ROLE "credential_source = Ec2InstanceMetadata\n");
	s = find(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	assert_int_equal(s->base->kind, SCOUT_SOURCE_INSTANCE);
	scout_s3_source_free(s);
	write_file(config_path, "[profile ml]\n" ROLE "credential_source = EcsContainer\n");
	refused("AWS_CONTAINER_CREDENTIALS_");
	env.value[SCOUT_AWS_CONTAINER_RELATIVE_URI] = (char[]){"/x"};
	found(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	write_file(config_path, "[profile ml]\n" ROLE "credential_source = Environment\n");
	refused("environment gives neither");
	env.value[SCOUT_AWS_ACCESS_KEY_ID] = (char[]){"E"};
	env.value[SCOUT_AWS_SECRET_ACCESS_KEY] = (char[]){"s"};
	found(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	write_file(config_path, "[profile ml]\n" ROLE "credential_source = Else\n");
	refused("credential_source is none of");
}

static void web_identity_of_a_profile(void **state)
{
	struct scout_s3_source *s;

	(void)state;
	config.profile = (char[]){"ml"};
	write_file(config_path, "[profile ml]\n" ROLE "web_identity_token_file = /t\n"
				"sts_regional_endpoints = legacy\n");
	/* of an explicit profile, the environment says nothing */
	env.value[SCOUT_AWS_WEB_IDENTITY_TOKEN_FILE] = (char[]){"/other"};
	s = find(SCOUT_SOURCE_WEB_IDENTITY,
		 "profile ml (web identity, assumed role arn:aws:iam::1:role/reader)");
	assert_string_equal(s->token_file, "/t");
	assert_true(s->sts_global);
	scout_s3_source_free(s);
	write_file(config_path, "[profile ml]\nweb_identity_token_file = /t\n");
	refused("and no role");
	write_file(config_path,
		   "[profile ml]\n" ROLE "web_identity_token_file = /t\nregion = evil.example/\n");
	refused("the region 'evil.example/', for STS, is none");
}

static void what_is_not_supported_is_said(void **state)
{
	(void)state;
	config.profile = (char[]){"ml"};
	write_file(credentials_path, "[base]\n" KEYS);
	write_file(config_path, "[profile ml]\nsso_session = s\nsso_role_name = r\n");
	refused("SSO");
	write_file(config_path, "[profile ml]\nlogin_session = s\n");
	refused("login_session");
	write_file(config_path,
		   "[profile ml]\n" ROLE "source_profile = base\nmfa_serial = arn:mfa\n");
	refused("mfa_serial");
	write_file(config_path,
		   "[profile ml]\n" ROLE "source_profile = base\nduration_seconds = 100\n");
	refused("duration_seconds");
}

static void keys_of_the_credentials_file_are_before_a_process(void **state)
{
	struct scout_s3_source *s;

	(void)state;
	write_file(config_path,
		   "[default]\ncredential_process = x\n" KEYS "aws_session_token = t\n");
	found(SCOUT_SOURCE_PROCESS, "profile default (credential_process)");
	write_file(credentials_path,
		   "[default]\naws_access_key_id = C\naws_secret_access_key = c\n");
	s = find(SCOUT_SOURCE_KEYS, "profile default");
	assert_string_equal(s->keys->access_key_id, "C");
	assert_null(s->keys->session_token); /* that is of the other pair */
	scout_s3_source_free(s);
}

/* Whom the CLI would ask is not somebody else because there are keys, too. */
static void sso_is_before_keys_and_a_process(void **state)
{
	(void)state;
	config.profile = (char[]){"ml"};
	write_file(config_path, "[profile ml]\n" SSO KEYS);
	refused("profile ml uses SSO");
	write_file(config_path, "[profile ml]\nsso_account_id = 1\n" PROCESS);
	refused("profile ml uses SSO");
	write_file(config_path, "[profile ml]\nsso_role_name = r\n");
	write_file(credentials_path, "[ml]\n" KEYS);
	refused("profile ml uses SSO");
	write_file(config_path, "");
	write_file(credentials_path, "[ml]\n" SSO KEYS);
	refused("profile ml uses SSO");
	/* these alone name nobody's account */
	write_file(credentials_path, "");
	write_file(config_path, "[profile ml]\nsso_session = s\n" KEYS);
	found(SCOUT_SOURCE_KEYS, "profile ml");
	write_file(config_path, "[profile ml]\nsso_start_url = u\nsso_region = r\n" PROCESS);
	found(SCOUT_SOURCE_PROCESS, "profile ml (credential_process)");
	/* a web identity is asked before */
	write_file(config_path, "[profile ml]\n" ROLE SSO "web_identity_token_file = /t\n");
	found(SCOUT_SOURCE_WEB_IDENTITY,
	      "profile ml (web identity, assumed role arn:aws:iam::1:role/reader)");
}

static void login_is_before_a_process_and_the_config_files_keys(void **state)
{
	(void)state;
	config.profile = (char[]){"ml"};
	write_file(config_path, "[profile ml]\nlogin_session = s\n" PROCESS);
	refused("login_session");
	write_file(config_path, "[profile ml]\nlogin_session = s\n" KEYS);
	refused("login_session");
	write_file(credentials_path, "[ml]\n" KEYS);
	found(SCOUT_SOURCE_KEYS, "profile ml");
}

/* Whose keys sign for a role is found in the same order. */
static void a_source_profile_with_keys(void **state)
{
	static const char label[] = "profile ml (assumed role arn:aws:iam::1:role/reader)";
	struct scout_s3_source *s;

	(void)state;
	config.profile = (char[]){"ml"};
	write_file(config_path, "[profile ml]\n" ROLE "source_profile = b\n[profile b]\n" SSO KEYS);
	refused("profile b uses SSO");
	write_file(config_path, "[profile ml]\n" ROLE SSO KEYS "source_profile = ml\n");
	refused("profile ml uses SSO");
	write_file(config_path,
		   "[profile ml]\n" ROLE "source_profile = b\n[profile b]\n" PROCESS KEYS);
	s = find(SCOUT_SOURCE_ROLE, label);
	assert_int_equal(s->base->kind, SCOUT_SOURCE_PROCESS);
	scout_s3_source_free(s);
	write_file(config_path, "[profile ml]\n" ROLE "source_profile = b\n[profile b]\n" ROLE KEYS
				"web_identity_token_file = /t\n");
	s = find(SCOUT_SOURCE_ROLE, label);
	assert_int_equal(s->base->kind, SCOUT_SOURCE_WEB_IDENTITY);
	scout_s3_source_free(s);
	/* its keys go before a role of its own */
	write_file(config_path, "[profile ml]\n" ROLE "source_profile = b\n[profile b]\n" ROLE KEYS
				"source_profile = c\n");
	s = find(SCOUT_SOURCE_ROLE, label);
	assert_int_equal(s->base->kind, SCOUT_SOURCE_KEYS);
	scout_s3_source_free(s);
}

/* Of the session's profile, whichever signs, and behind the environment. */
static void where_sts_is(void **state)
{
	struct scout_s3_source *s;

	(void)state;
	config.profile = (char[]){"ml"};
	write_file(credentials_path, "[base]\n" KEYS);
	write_file(config_path, "[profile ml]\n" ROLE "source_profile = middle\nservices = lab\n"
				"[profile middle]\n" ROLE "source_profile = base\n"
				"endpoint_url = http://middle\n"
				"[services lab]\ns3 =\n  endpoint_url = http://s3\n"
				"sts =\n  endpoint_url = http://sts\n");
	s = find(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	assert_string_equal(s->sts_url, "http://sts");
	assert_string_equal(s->base->sts_url, "http://sts");
	scout_s3_source_free(s);
	env.value[SCOUT_AWS_ENDPOINT_URL] = (char[]){"http://all"};
	s = find(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	assert_string_equal(s->sts_url, "http://all");
	scout_s3_source_free(s);
	env.value[SCOUT_AWS_IGNORE_ENDPOINT_URLS] = (char[]){"true"};
	s = find(SCOUT_SOURCE_ROLE, "profile ml (assumed role arn:aws:iam::1:role/reader)");
	assert_null(s->sts_url);
	scout_s3_source_free(s);
}

static void keys_that_would_break_a_header_are_refused(void **state)
{
	(void)state;
	env.value[SCOUT_AWS_ACCESS_KEY_ID] = (char[]){"E\r\nX: y"};
	env.value[SCOUT_AWS_SECRET_ACCESS_KEY] = (char[]){"s"};
	refused("control characters");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(the_instance_is_last, clean),
	    cmocka_unit_test_setup(a_profile_that_says_nothing_leads_on, clean),
	    cmocka_unit_test_setup(a_role_and_its_source_profile, clean),
	    cmocka_unit_test_setup(a_profile_may_sign_for_its_own_role, clean),
	    cmocka_unit_test_setup(circles_and_gaps_are_refused, clean),
	    cmocka_unit_test_setup(a_long_chain_is_refused, clean),
	    cmocka_unit_test_setup(credential_sources, clean),
	    cmocka_unit_test_setup(web_identity_of_a_profile, clean),
	    cmocka_unit_test_setup(what_is_not_supported_is_said, clean),
	    cmocka_unit_test_setup(keys_of_the_credentials_file_are_before_a_process, clean),
	    cmocka_unit_test_setup(sso_is_before_keys_and_a_process, clean),
	    cmocka_unit_test_setup(login_is_before_a_process_and_the_config_files_keys, clean),
	    cmocka_unit_test_setup(a_source_profile_with_keys, clean),
	    cmocka_unit_test_setup(where_sts_is, clean),
	    cmocka_unit_test_setup(keys_that_would_break_a_header_are_refused, clean),
	};

	return cmocka_run_group_tests_name("s3/source", tests, make_files, remove_files);
}
