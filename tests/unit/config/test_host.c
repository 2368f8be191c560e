/* One host's config: copies, comparison, and the names that may be asked for on demand. */
#include "helper.h"

static struct scout_config *dynamic(const char *more)
{
	char text[512];

	snprintf(text, sizeof(text), "[hosts]\nssh_config =\ndynamic = yes\n%s", more);
	return good(text);
}

/* "name|alias|user|port" of what name stands for, or "-". */
static void means(const struct scout_config *c, const char *name, const char *wanted)
{
	struct scout_host_config *host;
	char text[1024] = "-";
	int err = scout_config_dynamic_host(c, name, strlen(name), &host);

	if (!err) {
		snprintf(text, sizeof(text), "%s|%s|%s|%u", host->name,
			 host->alias ? host->alias : "", host->user ? host->user : "", host->port);
		assert_string_equal(host->root, "/");
		assert_null(host->hostname);
		assert_false(host->in_ini || host->in_ssh_config);
		scout_host_config_free(host);
	} else {
		assert_int_equal(err, -ENOENT);
	}
	assert_string_equal(text, wanted);
}

static void names_are_taken_apart(void **state)
{
	struct scout_config *c = dynamic("");

	(void)state;
	means(c, "web1", "web1|||0");
	means(c, "web1.example.org", "web1.example.org|||0");
	means(c, "joe@web1", "joe@web1|web1|joe|0");
	means(c, "web1:2222", "web1:2222|web1||2222");
	means(c, "joe@web1:22", "joe@web1:22|web1|joe|22");
	means(c, "joe@corp@web1", "joe@corp@web1|web1|joe@corp|0");
	means(c, "10.0.0.7", "10.0.0.7|||0");
	means(c, "::1", "::1|||0");
	means(c, "[::1]", "[::1]|::1||0");
	means(c, "[::1]:2222", "[::1]:2222|::1||2222");
	means(c, "joe@[fe80::1%eth0]:22", "joe@[fe80::1%eth0]:22|fe80::1%eth0|joe|22");
	means(c, "joe@fe80::1", "joe@fe80::1|fe80::1|joe|0");
	scout_config_free(c);
}

static void other_names_are_not(void **state)
{
	static const char *const names[] = {"",           "-web1",     "-oProxyCommand=x",
					    "joe@-web1",  "-joe@web1", "@web1",
					    "joe@",       "web1:",     "web1:0",
					    "web1:65536", "web1:x",    "web1:22:x",
					    "web1:+2",    ":22",       "a b",
					    "a\nb",       "a\x01",     "a;b",
					    "a$b",        "a`b",       "a'b",
					    "a\"b",       "a/b",       "a\\b",
					    "a*",         "%h",        "a%h",
					    ".",          "..",        ".git",
					    "web1.",      "[web1]",    "[::1",
					    "[::1]x",     "[::1]:",    "::g",
					    "::1%",       "::1%a/b",   "1:2:3",
					    "\xc3\xa4",   "$HOME@a",   "a\\@web1"};
	struct scout_config *c = dynamic("");
	struct scout_host_config *host;
	char long_name[300];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		means(c, names[i], "-");
	memset(long_name, 'a', sizeof(long_name));
	long_name[255] = '\0';
	assert_int_equal(scout_config_dynamic_host(c, long_name, 255, &host), 0);
	scout_host_config_free(host);
	assert_int_equal(scout_config_dynamic_host(c, long_name, 256, &host), -ENOENT);
	assert_int_equal(scout_config_dynamic_host(c, "a\0b", 3, &host), -ENOENT);
	scout_config_free(c);
}

static void the_length_counts(void **state)
{
	struct scout_config *c = dynamic("");
	struct scout_host_config *host;

	(void)state;
	assert_int_equal(scout_config_dynamic_host(c, "web1/etc/passwd", 4, &host), 0);
	assert_string_equal(host->name, "web1");
	scout_host_config_free(host);
	scout_config_free(c);
}

static void block_holds_in_every_spelling(void **state)
{
	struct scout_config *c = dynamic("block = db*, 10.*, joe@near\n");

	(void)state;
	means(c, "db1", "-");
	means(c, "DB1", "-");
	means(c, "joe@db1", "-");
	means(c, "db1:22", "-");
	means(c, "10.0.0.7", "-");
	means(c, "joe@near", "-");
	means(c, "near", "near|||0");
	scout_config_free(c);
}

static void off_unless_asked_for(void **state)
{
	struct scout_config *c = good("[hosts]\nssh_config =\n");

	(void)state;
	means(c, "web1", "-");
	scout_config_free(c);
}

static void hosts_say_what_the_section_says(void **state)
{
	struct scout_config *c =
	    dynamic("request_timeout = 7s\nread_window = 2M\n[host web1]\nport = 1\n");
	struct scout_host_config *host;

	(void)state;
	assert_int_equal(scout_config_dynamic_host(c, "far", 3, &host), 0);
	assert_int_equal(host->request_timeout_ns, 7000000000);
	assert_int_equal(host->read_window, 2 << 20);
	assert_int_equal(host->port, 0);
	scout_host_config_free(host);
	scout_config_free(c);
}

static const char full[] = "[hosts]\nssh_config =\n[host web1]\nhostname = a\nport = 3\nuser = u\n"
			   "identity_file = /k\nproxy_jump = j\nroot = /r\nkeepalive = 3s\n";

static void a_copy_outlives_the_config(void **state)
{
	struct scout_config *c = good(full), *other = good(full);
	struct scout_host_config *copy, *again;

	(void)state;
	assert_int_equal(scout_host_config_copy(&c->hosts[0], &copy), 0);
	assert_true(scout_host_config_equal(copy, &c->hosts[0]));
	scout_config_free(c);
	assert_true(scout_host_config_equal(copy, &other->hosts[0]));
	assert_int_equal(scout_host_config_copy(copy, &again), 0);
	scout_host_config_free(copy);
	assert_string_equal(again->name, "web1");
	assert_string_equal(again->root, "/r");
	assert_string_equal(again->identity_file, "/k");
	scout_host_config_free(again);
	scout_host_config_free(NULL);
	scout_config_free(other);
}

static void each_difference_counts(void **state)
{
	static const char *const others[] = {
	    "hostname = b", "port = 4",       "user = v",          "identity_file = /l",
	    "root = /s",    "keepalive = 4s", "proxy_jump = none", "symlinks = raw"};
	struct scout_config *c = good(full);

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		char key[64];
		struct loaded l;
		char *text = strdup(full), *at;

		/* the same, with this key in place of its line */
		snprintf(key, sizeof(key), "\n%.*s=", (int)strcspn(others[i], "="), others[i]);
		at = strstr(text, key);
		if (at) {
			char *end = strchr(at + 1, '\n');

			memmove(at, end, strlen(end) + 1);
		}
		text = realloc(text, strlen(text) + 128);
		strcat(text, others[i]);
		strcat(text, "\n");
		l = load_text(text);
		assert_int_equal(l.err, 0);
		assert_false(scout_host_config_equal(&c->hosts[0], &l.config->hosts[0]));
		unload(&l);
		free(text);
	}
	scout_config_free(c);
}

static void sections_are_compared(void **state)
{
	struct scout_config *a = good("[hosts]\nssh_config =\n");
	struct scout_config *b =
	    good("[scoutfs]\nworkers = 3\nmemory = 1G\n"
		 "[hosts]\nssh_config =\nmax_sessions = 2\n[models]\nbucket = b-1\n");
	struct scout_text out = {0};

	(void)state;
	scout_config_differences(a, b, "scoutfs", &out);
	assert_string_equal(out.str, "workers, memory");
	scout_text_free(&out);
	scout_config_differences(a, b, "models", &out);
	assert_string_equal(out.str, "bucket");
	scout_text_free(&out);
	scout_config_differences(a, a, "models", &out);
	assert_int_equal(out.len, 0);
	scout_text_free(&out);
	scout_config_free(a);
	scout_config_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(names_are_taken_apart),      TEST(other_names_are_not),
	    TEST(the_length_counts),          TEST(block_holds_in_every_spelling),
	    TEST(off_unless_asked_for),       TEST(hosts_say_what_the_section_says),
	    TEST(a_copy_outlives_the_config), TEST(each_difference_counts),
	    TEST(sections_are_compared),
	};

	return cmocka_run_group_tests_name("config/host", tests, NULL, NULL);
}
