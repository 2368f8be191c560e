/* Each kind of value: what it takes, what it refuses, and that what is written reads the same. */
#include "helper.h"

#include "config/value.h"
#include "scoutfs/clock.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void numbers(const struct scout_value_kind *kind, const char *text, uint64_t wanted)
{
	uint64_t value = ~wanted;
	char buf[32];

	assert_int_equal(kind->number(text, NULL, &value), 0);
	assert_int_equal(value, wanted);
	kind->format(buf, value, NULL);
	value = ~wanted;
	assert_int_equal(kind->number(buf, NULL, &value), 0);
	assert_int_equal(value, wanted);
}

static void no_number(const struct scout_value_kind *kind, const char *text)
{
	uint64_t value;

	assert_int_equal(kind->number(text, NULL, &value), -EINVAL);
}

static void durations(void **state)
{
	static const char *const bad[] = {"",
					  "s",
					  "-1s",
					  "1.5s",
					  "1 s",
					  "1S",
					  "1sec",
					  "1ms2s",
					  "+1s",
					  "0x1s",
					  "1d",
					  "99999999999999999999s",
					  "18446744073709551615h"};

	(void)state;
	numbers(&scout_kind_duration, "0", 0);
	numbers(&scout_kind_duration, "250ms", 250 * SCOUT_NS_PER_MS);
	numbers(&scout_kind_duration, "7", 7 * SCOUT_NS_PER_S);
	numbers(&scout_kind_duration, "7s", 7 * SCOUT_NS_PER_S);
	numbers(&scout_kind_duration, "90s", 90 * SCOUT_NS_PER_S);
	numbers(&scout_kind_duration, "2m", 120 * SCOUT_NS_PER_S);
	numbers(&scout_kind_duration, "3h", 10800 * SCOUT_NS_PER_S);
	for (size_t i = 0; i < COUNT(bad); i++)
		no_number(&scout_kind_duration, bad[i]);
}

static void sizes(void **state)
{
	static const char *const bad[] = {"",    "K",    "1k", "1KiB",
					  "1MB", "1.5M", "-1", "17179869184G"};

	(void)state;
	numbers(&scout_kind_size, "1000", 1000);
	numbers(&scout_kind_size, "3K", 3072);
	numbers(&scout_kind_size, "1536K", 1536 << 10);
	numbers(&scout_kind_size, "16M", 16 << 20);
	numbers(&scout_kind_size, "2G", UINT64_C(2) << 30);
	for (size_t i = 0; i < COUNT(bad); i++)
		no_number(&scout_kind_size, bad[i]);
	numbers(&scout_kind_count, "0042", 42);
	no_number(&scout_kind_count, "1K");
	no_number(&scout_kind_count, "18446744073709551616");
}

static void booleans(void **state)
{
	static const char *const bad[] = {"", "Yes", "on", "2", "y"};

	(void)state;
	numbers(&scout_kind_bool, "yes", 1);
	numbers(&scout_kind_bool, "true", 1);
	numbers(&scout_kind_bool, "1", 1);
	numbers(&scout_kind_bool, "no", 0);
	numbers(&scout_kind_bool, "false", 0);
	numbers(&scout_kind_bool, "0", 0);
	for (size_t i = 0; i < COUNT(bad); i++)
		no_number(&scout_kind_bool, bad[i]);
}

/* wanted NULL: refused; "(none)": taken as nothing. */
static void string(const struct scout_value_kind *kind, const char *text, const char *wanted)
{
	const char *why = NULL;
	char *value = NULL;
	int err = kind->string(text, &value, &why);

	if (!wanted) {
		if (err != -EINVAL)
			fail_msg("'%s' was taken", text);
		assert_null(value);
		return;
	}
	if (err)
		fail_msg("'%s' was refused", text);
	if (strcmp(wanted, "(none)") == 0)
		assert_null(value);
	else
		assert_string_equal(value, wanted);
	free(value);
}

static void paths(void **state)
{
	const struct scout_value_kind *kind = &scout_kind_path;
	char wanted[128];

	(void)state;
	assert_int_equal(setenv("SCOUT_A", "/tmp/a", 1), 0);
	assert_int_equal(setenv("SCOUT_B", "b c", 1), 0);
	assert_int_equal(setenv("SCOUT_EMPTY", "", 1), 0);
	assert_int_equal(setenv("SCOUT_ODD", "/a\nb", 1), 0);
	assert_int_equal(setenv("SCOUT_COMMENT", "/a ;b", 1), 0);
	assert_int_equal(unsetenv("SCOUT_UNSET"), 0);

	string(kind, "", "(none)");
	string(kind, "/etc/x", "/etc/x");
	string(kind, "~", home);
	snprintf(wanted, sizeof(wanted), "%s/.ssh/id", home);
	string(kind, "~/.ssh/id", wanted);
	string(kind, "$HOME/.ssh/id", wanted);
	string(kind, "$SCOUT_A/x", "/tmp/a/x");
	string(kind, "${SCOUT_A}x/$SCOUT_B", "/tmp/ax/b c");
	string(kind, "/x$SCOUT_EMPTY/y", "/x/y");
	string(kind, "/a$$HOME/~", "/a$HOME/~");
	string(kind, "relative", NULL);
	string(kind, "~root/x", NULL);
	string(kind, "$SCOUT_UNSET/x", NULL);
	string(kind, "/x/$", NULL);
	string(kind, "/x/${SCOUT_A", NULL);
	string(kind, "/x/${}", NULL);
	string(kind, "/x/$1", NULL);
	string(kind, "$SCOUT_B", NULL);
	string(kind, "$SCOUT_ODD", NULL);
	string(kind, "$SCOUT_COMMENT", NULL);
	string(&scout_kind_needed_path, "", NULL);
	string(&scout_kind_needed_path, "$SCOUT_EMPTY", NULL);
}

static void home_without_the_variable(void **state)
{
	char *dir = NULL;

	(void)state;
	assert_int_equal(unsetenv("HOME"), 0);
	assert_int_equal(scout_home(&dir), 0);
	assert_int_equal(dir[0], '/');
	free(dir);
	assert_int_equal(setenv("HOME", "not/absolute", 1), 0);
	assert_int_equal(scout_home(&dir), 0);
	assert_int_equal(dir[0], '/');
	free(dir);
}

static void roots(void **state)
{
	(void)state;
	string(&scout_kind_root, "/", "/");
	string(&scout_kind_root, "///", "/");
	string(&scout_kind_root, "/srv//www/", "/srv/www");
	string(&scout_kind_root, "/~/$HOME/.x/..y", "/~/$HOME/.x/..y");
	string(&scout_kind_root, "", NULL);
	string(&scout_kind_root, "srv", NULL);
	string(&scout_kind_root, "/srv/../etc", NULL);
	string(&scout_kind_root, "/srv/.", NULL);
}

static void hosts_and_users(void **state)
{
	(void)state;
	string(&scout_kind_hostname, "web1.example.com", "web1.example.com");
	string(&scout_kind_hostname, "fe80::1%eth0", "fe80::1%eth0");
	string(&scout_kind_hostname, "", NULL);
	string(&scout_kind_hostname, "-oProxyCommand=x", NULL);
	string(&scout_kind_hostname, "a b", NULL);
	string(&scout_kind_hostname, "a;reboot", NULL);
	string(&scout_kind_hostname, "$(reboot)", NULL);
	string(&scout_kind_user, "deploy", "deploy");
	string(&scout_kind_user, "DOMAIN\\me", "DOMAIN\\me");
	string(&scout_kind_user, "-l", NULL);
	string(&scout_kind_user, "a`b`", NULL);
	string(&scout_kind_jump, "none", "none");
	string(&scout_kind_jump, "ops@jump:2222,second", "ops@jump:2222,second");
	string(&scout_kind_jump, "[2001:db8::1]:22", "[2001:db8::1]:22");
	string(&scout_kind_jump, "", NULL);
	string(&scout_kind_jump, "-oX", NULL);
	string(&scout_kind_jump, "[-oX", NULL);
	string(&scout_kind_jump, "a,-oX", NULL);
	string(&scout_kind_jump, "u@-oX", NULL);
	string(&scout_kind_jump, "a b", NULL);
	string(&scout_kind_jump, "a|b", NULL);
}

static void buckets(void **state)
{
	static const char *const bad[] = {
	    "ab",
	    ".abc",
	    "a/b",
	    "arn:aws:s3:eu-west-1:123456789012:accesspoint",
	    "arn:aws:s3:eu-west-1:123456789012:accesspoint/",
	    "arn:aws:s3:eu-west-1:12345678901:accesspoint/abc",
	    "arn:aws:s3:eu-west-1:123456789012:accesspoint/a/b",
	    "arn:aws:s3:eu-west-1:123456789012:bucket/abc",
	    "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/abc",
	    "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/abc",
	    "arn:aws:s3::123456789012:accesspoint/abc.mrap"};

	(void)state;
	string(&scout_kind_bucket, "my-models.v1", "my-models.v1");
	string(&scout_kind_bucket, "arn:aws:s3:eu-west-1:123456789012:accesspoint/abc",
	       "arn:aws:s3:eu-west-1:123456789012:accesspoint/abc");
	string(&scout_kind_bucket, "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint:abc",
	       "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint:abc");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		string(&scout_kind_bucket, bad[i], NULL);
}

static void endpoints(void **state)
{
	static const char *const bad[] = {
	    "s3.lan",        "ftp://h",      "http://",        "http:///",        "https://:80",
	    "http://h:",     "http://h:0",   "http://h:65536", "http://h:8x",     "http://h/path",
	    "http://h//",    "http://u:p@h", "http://h?x",     "http://[::1",     "http://[]:1",
	    "http://[::1]x", "http://h h",   "http://-h",      "http://[::1]:80x"};

	(void)state;
	string(&scout_kind_endpoint, "", "(none)");
	string(&scout_kind_endpoint, "http://127.0.0.1:9000", "http://127.0.0.1:9000");
	string(&scout_kind_endpoint, "https://s3.lan/", "https://s3.lan");
	string(&scout_kind_endpoint, "HTTPS://S3.lan:443/", "https://S3.lan:443");
	string(&scout_kind_endpoint, "http://[::1]:8000", "http://[::1]:8000");
	string(&scout_kind_endpoint, "http://[::1]", "http://[::1]");
	for (size_t i = 0; i < COUNT(bad); i++)
		string(&scout_kind_endpoint, bad[i], NULL);
}

static void models_strings(void **state)
{
	(void)state;
	string(&scout_kind_bucket, "abc", "abc");
	string(&scout_kind_bucket, "my-models.v1", "my-models.v1");
	string(&scout_kind_bucket, "ab", NULL);
	string(&scout_kind_bucket, "a/b", NULL);
	string(&scout_kind_bucket, "...", NULL);
	string(&scout_kind_region, "eu-central-1", "eu-central-1");
	string(&scout_kind_region, "", NULL);
	string(&scout_kind_region, "a.b/c", NULL);
	string(&scout_kind_prefix, "", "");
	string(&scout_kind_prefix, "a b/c", "a b/c/");
	string(&scout_kind_prefix, "a/", "a/");
	string(&scout_kind_prefix, "/a", NULL);
	string(&scout_kind_secret, "", "(none)");
	string(&scout_kind_secret, "aB+/=", "aB+/=");
	string(&scout_kind_secret, "a b", NULL);
	string(&scout_kind_secret, "gr\xc3\xbcn", NULL);
}

static void names_of_hosts(void **state)
{
	(void)state;
	assert_true(scout_host_name_is_valid("web1"));
	assert_true(scout_host_name_is_valid("a b"));
	assert_true(scout_host_name_is_valid("..."));
	assert_true(scout_host_name_is_valid("gr\xc3\xbcn"));
	assert_false(scout_host_name_is_valid(""));
	assert_false(scout_host_name_is_valid("."));
	assert_false(scout_host_name_is_valid(".."));
	assert_false(scout_host_name_is_valid("a/b"));
	assert_false(scout_host_name_is_valid("a\nb"));
	assert_false(scout_host_name_is_valid("a\x7f"));
	assert_false(scout_host_name_is_valid(" a"));
	assert_false(scout_host_name_is_valid("a ;b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durations),       cmocka_unit_test(sizes),
	    cmocka_unit_test(booleans),        TEST(paths),
	    TEST(home_without_the_variable),   cmocka_unit_test(roots),
	    cmocka_unit_test(hosts_and_users), cmocka_unit_test(buckets),
	    cmocka_unit_test(endpoints),       cmocka_unit_test(models_strings),
	    cmocka_unit_test(names_of_hosts),
	};

	return cmocka_run_group_tests_name("config/value", tests, NULL, NULL);
}
