/* What --check prints loads to the same config again, secrets are never in it, and the files that come
 * with scoutfs say what the code does. */
#include "helper.h"

#include "config/keys.h"

static void everything(void **state)
{
	static const char text[] =
	    "[scoutfs]\nworkers = 3\nmemory = 100M\nlog_level = debug\n"
	    "log_file = /var/log/a$$b/x\nallow_other = yes\n"
	    "[hosts]\nallow = web*, db1\nblock = web2\n"
	    "known_hosts = ~/known\nhost_key_check = accept-new\n"
	    "connect_timeout = 1500ms\nrequest_timeout = 90s\nkeepalive = 0\n"
	    "idle_timeout = 1h\nmax_sessions = 7\nmax_sessions_per_host = 2\n"
	    "max_connecting = 3\nread_window = 1M\nattr_timeout = 5s\n"
	    "symlinks = raw\nread_only = yes\nidmap = user\n"
	    "[host db1]\nhostname = 192.0.2.1\nport = 2222\nuser = me\n"
	    "identity_file = ~/id$$x\nproxy_jump = none\nroot = /srv\n"
	    "ssh_config =\nsymlinks = contain\nconnect_timeout = 1500ms\n"
	    "[host zz]\n"
	    "[models]\nbucket = abc\nendpoint = http://h:1\nprefix = p q\n"
	    "access_key_id = AK\nsecret_access_key = hush\n"
	    "session_token = hush2\nprofile = pr\npath_style = no\n"
	    "part_size = 1M\nread_window = 3M\nlist_ttl = 0\nlist_max_keys = 5\nversions = "
	    "yes\nverify = no\ncache_dir = ~/cache\ncache_size = 1G\n";
	struct scout_config *first, *second;
	char *once, *twice;

	(void)state;
	write_text(".ssh/config", "Host web1 web2\nHost db1\n");
	first = good(text);
	once = printed(first);
	second = good(once);
	twice = printed(second);
	assert_string_equal(once, twice);
	assert_string_equal(second->log_file, "/var/log/a$b/x");
	assert_int_equal(second->nhosts, 3);

	assert_null(strstr(once, "hush"));
	assert_non_null(strstr(once, "secret_access_key = ****\nsession_token = ****\n"));
	assert_non_null(strstr(once, "connect_timeout = 1500ms\nrequest_timeout = 90s\n"));
	/* only what differs from [hosts], and where each host comes from */
	assert_non_null(strstr(once, "# db1: from the ini and ssh_config\n[host db1]\n"
				     "hostname = 192.0.2.1\nport = 2222\nuser = me\n"));
	assert_non_null(strstr(once, "root = /srv\nssh_config =\nsymlinks = contain\n"));
	assert_non_null(strstr(once, "# web1: from ssh_config\n# zz: from the ini\n[host zz]\n"));
	free(once);
	free(twice);
	scout_config_free(first);
	scout_config_free(second);
}

static void defaults_and_every_key(void **state)
{
	struct scout_config *first, *second;
	char *once, *twice;

	(void)state;
	first = good("[models]\nbucket = abc\n");
	once = printed(first);
	second = good(once);
	twice = printed(second);
	assert_string_equal(once, twice);
	for (size_t i = 0; i < scout_key_count; i++) {
		char line[64];

		if (scout_keys[i].sections == SCOUT_SECTION_HOST)
			continue;
		snprintf(line, sizeof(line), "\n%s =", scout_keys[i].name);
		assert_non_null(strstr(once, line));
	}
	free(once);
	free(twice);
	scout_config_free(first);
	scout_config_free(second);

	/* without a bucket, too */
	first = good("");
	once = printed(first);
	assert_null(strstr(once, "[models]\n"));
	second = good(once);
	twice = printed(second);
	assert_string_equal(once, twice);
	free(once);
	free(twice);
	scout_config_free(first);
	scout_config_free(second);
}

static char *slurp(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	assert_non_null(in);
	assert_true(getdelim(&text, &size, '\0', in) > 0);
	assert_int_equal(fclose(in), 0);
	return text;
}

static void the_sample_works_as_it_is(void **state)
{
	struct scout_config *plain = good("");
	struct loaded l = load_file("scoutfs.ini", NULL);
	char *wanted = printed(plain), *text;

	(void)state;
	assert_int_equal(l.err, 0);
	text = printed(l.config);
	assert_string_equal(text, wanted);
	free(wanted);
	free(text);
	scout_config_free(plain);
	unload(&l);
}

/* With the '#' taken from every "#key = value" it still says the defaults. */
static void the_sample_shows_the_defaults(void **state)
{
	struct scout_config *plain, *shown;
	char *sample = slurp("scoutfs.ini"), *wanted, *text;
	char *out = sample;

	(void)state;
	for (size_t i = 0; i < scout_key_count; i++) {
		char line[64];

		snprintf(line, sizeof(line),
			 scout_keys[i].sections == SCOUT_SECTION_HOST ? "#     %s =" : "\n#%s =",
			 scout_keys[i].name);
		if (!strstr(sample, line))
			fail_msg("the sample does not have %s", scout_keys[i].name);
	}
	for (const char *in = sample; *in; in++) {
		bool key =
		    *in == '#' && (in == sample || in[-1] == '\n') && in[1] != ' ' && in[1] != '\n';

		if (!key)
			*out++ = *in;
	}
	*out = '\0';
	write_text(".ssh/config", ""); /* it is named then, so it must be there */
	plain = good("[models]\nbucket = my-models\n");
	shown = good(sample);
	wanted = printed(plain);
	text = printed(shown);
	assert_string_equal(text, wanted);
	free(wanted);
	free(text);
	free(sample);
	scout_config_free(plain);
	scout_config_free(shown);
}

static void the_examples_load(void **state)
{
	struct loaded l = load_file("examples/minimal.ini", NULL);

	(void)state;
	assert_string_equal(l.errors, "");
	assert_int_equal(l.config->nhosts, 1);
	unload(&l);

	write_text(".ssh/config", "Host web1 web-test2 db1 db-old laptop\n");
	l = load_file("examples/many-hosts.ini", NULL);
	assert_string_equal(l.errors, "");
	assert_int_equal(l.config->nhosts, 6);
	assert_string_equal(scout_config_host(l.config, "build1", 6)->proxy_jump,
			    "ops@jump.example.com:2222");
	unload(&l);

	l = load_file("examples/registry.ini", NULL);
	assert_string_equal(l.errors, "");
	assert_int_equal(l.config->nhosts, 0);
	assert_string_equal(l.config->models.prefix, "registry/");
	unload(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(everything),
	    TEST(defaults_and_every_key),
	    TEST(the_sample_works_as_it_is),
	    TEST(the_sample_shows_the_defaults),
	    TEST(the_examples_load),
	};

	return cmocka_run_group_tests_name("config/print", tests, NULL, NULL);
}
