/* The credential chain, from files and an environment of the test's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <semaphore.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "s3/credentials.h"
#include "scoutfs/config.h"
#include "scoutfs/log.h"

static char folder[] = "/tmp/scoutfs-test-XXXXXX";
static char credentials_path[64], config_path[64];

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int make_folder(void **state)
{
	(void)state;
	(void)scout_log_open(SCOUT_LOG_ERROR, "/dev/null", false);
	if (!mkdtemp(folder))
		return -1;
	snprintf(credentials_path, sizeof(credentials_path), "%s/credentials", folder);
	snprintf(config_path, sizeof(config_path), "%s/config", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(credentials_path);
	unlink(config_path);
	return rmdir(folder);
}

static int clean(void **state)
{
	(void)state;
	unlink(credentials_path);
	unlink(config_path);
	setenv("AWS_SHARED_CREDENTIALS_FILE", credentials_path, 1);
	setenv("AWS_CONFIG_FILE", config_path, 1);
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_SESSION_TOKEN");
	unsetenv("AWS_PROFILE");
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	return 0;
}

static void check(const struct scout_models_config *config, const char *id, const char *secret,
		  const char *token, const char *source)
{
	char reason[SCOUT_S3_REASON_MAX];
	struct scout_s3_signer_stats stats;
	struct scout_s3_credentials *c;
	struct scout_s3_chain *chain;

	assert_int_equal(scout_s3_chain_new(config, NULL, NULL, &chain), 0);
	assert_false(scout_s3_chain_is_pending(chain));
	c = scout_s3_credentials_get(chain, reason);
	assert_non_null(c);
	if (id) {
		assert_string_equal(c->access_key_id, id);
		assert_string_equal(c->secret_access_key, secret);
	} else {
		assert_null(c->access_key_id);
	}
	if (token)
		assert_string_equal(c->session_token, token);
	else
		assert_null(c->session_token);
	assert_string_equal(c->source, source);
	scout_s3_chain_stats(chain, &stats);
	assert_string_equal(stats.source, source);
	assert_true(stats.have && !stats.expires);
	scout_s3_credentials_put(c);
	scout_s3_chain_stop(chain);
	scout_s3_chain_free(chain);
}

static void refuse(const struct scout_models_config *config, int err)
{
	struct scout_s3_chain *chain;

	assert_int_equal(scout_s3_chain_new(config, NULL, NULL, &chain), err);
}

static void none_is_anonymous(void **state)
{
	struct scout_models_config config = {0};

	(void)state;
	check(&config, NULL, NULL, NULL, "anonymous");
	write_file(config_path, "[default]\nregion = eu-west-1\n[profile x]\nregion = x\n");
	check(&config, NULL, NULL, NULL, "anonymous");
}

static void the_ini_is_first(void **state)
{
	struct scout_models_config config = {.access_key_id = (char[]){"INI"},
					     .secret_access_key = (char[]){"ini secret"}};

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "env secret", 1);
	check(&config, "INI", "ini secret", NULL, "scoutfs.ini");
	config.session_token = (char[]){"tok"};
	check(&config, "INI", "ini secret", "tok", "scoutfs.ini");
}

static void the_environment_is_before_profiles_it_names(void **state)
{
	struct scout_models_config config = {0};

	(void)state;
	write_file(credentials_path,
		   "[default]\naws_access_key_id=D\naws_secret_access_key=ds\n"
		   "[ml]\naws_access_key_id=M\naws_secret_access_key=ms\naws_session_token=mt\n");
	check(&config, "D", "ds", NULL, "profile default");
	setenv("AWS_PROFILE", "ml", 1);
	check(&config, "M", "ms", "mt", "profile ml");
	setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "env secret", 1);
	setenv("AWS_SESSION_TOKEN", "env token", 1);
	check(&config, "ENV", "env secret", "env token", "environment");
	config.profile = (char[]){"default"};
	check(&config, "D", "ds", NULL, "profile default");
}

static void a_profile_of_the_config_file(void **state)
{
	struct scout_models_config config = {.profile = (char[]){"team a"}};

	(void)state;
	write_file(credentials_path, "[team b]\naws_access_key_id=B\naws_secret_access_key=bs\n");
	write_file(config_path, "# a comment\n[ profile team a ]\r\n"
				"s3 =\n  aws_access_key_id = nested\n"
				"AWS_ACCESS_KEY_ID = A\r\naws_secret_access_key = a=s;#\n"
				"[team a]\naws_access_key_id = no\n");
	check(&config, "A", "a=s;#", NULL, "profile team a");
}

static void indented_settings_are_read(void **state)
{
	struct scout_models_config config = {0};

	(void)state;
	write_file(credentials_path,
		   "[default]\n  aws_access_key_id = I\n  aws_secret_access_key = is\n");
	check(&config, "I", "is", NULL, "profile default");
}

static void long_tokens_and_names_are_whole(void **state)
{
	struct scout_models_config config = {0};
	char token[3001], name[101], text[4000];

	(void)state;
	memset(token, '=', 3000);
	token[3000] = '\0';
	memset(name, 'n', 100);
	name[100] = '\0';
	snprintf(text, sizeof(text),
		 "[%s]\naws_access_key_id=L\naws_secret_access_key=ls\naws_session_token=%s\n",
		 name, token);
	write_file(credentials_path, text);
	config.profile = name;
	snprintf(text, sizeof(text), "profile %s", name);
	check(&config, "L", "ls", token, text);
}

static void a_missing_profile_is_an_error(void **state)
{
	struct scout_models_config config = {.profile = (char[]){"nope"}};

	(void)state;
	refuse(&config, -EINVAL);
	write_file(config_path, "[profile nope]\nrole_arn = arn:aws:iam::1:role/x\n");
	refuse(&config, -EINVAL);
	config.profile = NULL;
	setenv("AWS_PROFILE", "other", 1);
	refuse(&config, -EINVAL);
}

static void half_a_pair_is_an_error(void **state)
{
	struct scout_models_config config = {.access_key_id = (char[]){"INI"}};

	(void)state;
	refuse(&config, -EINVAL);
	config.access_key_id = NULL;
	setenv("AWS_SECRET_ACCESS_KEY", "env secret", 1);
	refuse(&config, -EINVAL);
	unsetenv("AWS_SECRET_ACCESS_KEY");
	write_file(credentials_path, "[default]\naws_access_key_id=D\n");
	refuse(&config, -EINVAL);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	struct scout_models_config config = {0};

	(void)state;
	setenv("AWS_SHARED_CREDENTIALS_FILE", folder, 1);
	refuse(&config, -EISDIR);
}

static sem_t told;

static void tell(void *arg)
{
	(void)arg;
	sem_post(&told);
}

static void wait_until_told(void)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 60;
	assert_int_equal(sem_timedwait(&told, &end), 0);
}

/* The id of what is signed with now, which is key. */
static uint64_t signs_with(struct scout_s3_chain *chain, const char *key)
{
	char reason[SCOUT_S3_REASON_MAX];
	struct scout_s3_credentials *c = scout_s3_credentials_get(chain, reason);
	uint64_t id;

	assert_non_null(c);
	assert_string_equal(c->access_key_id, key);
	id = c->id;
	scout_s3_credentials_put(c);
	return id;
}

/* A file that another program writes: it is read again when the server refuses its token, once. */
static void what_the_server_refuses_is_renewed(void **state)
{
	struct scout_models_config config = {0};
	struct scout_s3_chain *chain;
	uint64_t old, fresh;

	(void)state;
	assert_int_equal(sem_init(&told, 0, 0), 0);
	write_file(credentials_path, "[default]\naws_access_key_id=A\naws_secret_access_key=as\n"
				     "aws_session_token=at\n");
	assert_int_equal(scout_s3_chain_new(&config, tell, NULL, &chain), 0);
	old = signs_with(chain, "A");
	write_file(credentials_path, "[default]\naws_access_key_id=B\naws_secret_access_key=bs\n"
				     "aws_session_token=bt\n");
	assert_true(scout_s3_chain_refused(chain, old));
	assert_true(scout_s3_chain_refused(chain, old)); /* being renewed, or renewed by now */
	wait_until_told();
	assert_false(scout_s3_chain_is_pending(chain));
	fresh = signs_with(chain, "B");
	assert_true(fresh != old);
	assert_true(scout_s3_chain_refused(chain, old)); /* there are others by now */
	assert_false(scout_s3_chain_is_pending(chain));
	scout_s3_chain_stop(chain);
	assert_int_equal(sem_trywait(&told), -1); /* one renewal it was */
	scout_s3_chain_free(chain);
	sem_destroy(&told);
}

static void what_cannot_change_is_not(void **state)
{
	struct scout_models_config config = {.access_key_id = (char[]){"INI"},
					     .secret_access_key = (char[]){"ini secret"},
					     .session_token = (char[]){"tok"}};
	struct scout_s3_chain *chain;

	(void)state;
	assert_int_equal(scout_s3_chain_new(&config, tell, NULL, &chain), 0);
	assert_false(scout_s3_chain_refused(chain, signs_with(chain, "INI")));
	scout_s3_chain_stop(chain);
	scout_s3_chain_free(chain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(none_is_anonymous, clean),
	    cmocka_unit_test_setup(the_ini_is_first, clean),
	    cmocka_unit_test_setup(the_environment_is_before_profiles_it_names, clean),
	    cmocka_unit_test_setup(a_profile_of_the_config_file, clean),
	    cmocka_unit_test_setup(indented_settings_are_read, clean),
	    cmocka_unit_test_setup(long_tokens_and_names_are_whole, clean),
	    cmocka_unit_test_setup(a_missing_profile_is_an_error, clean),
	    cmocka_unit_test_setup(half_a_pair_is_an_error, clean),
	    cmocka_unit_test_setup(a_file_that_cannot_be_read_is_an_error, clean),
	    cmocka_unit_test_setup(what_the_server_refuses_is_renewed, clean),
	    cmocka_unit_test_setup(what_cannot_change_is_not, clean),
	};

	return cmocka_run_group_tests_name("s3/credentials", tests, make_folder, remove_folder);
}
