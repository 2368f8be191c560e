/* The names of ssh_config: which are taken, what is followed, and that all of it is bounded. */
#include "helper.h"

#include "config/ssh_names.h"
#include "scoutfs/clock.h"

/* The names, each with a blank behind it, in the order they were read. */
static char *joined(const struct scout_ssh_names *n)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	for (size_t i = 0; i < n->count; i++)
		fprintf(out, "<%s>", n->names[i]);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void check_names(struct scout_ssh_names *n, const char *wanted)
{
	char *text = joined(n);

	assert_string_equal(text, wanted);
	free(text);
	scout_ssh_names_free(n);
}

static void read_bytes(const char *bytes, size_t len, const char *wanted)
{
	struct scout_ssh_names n = {0};
	FILE *in = fmemopen((void *)(uintptr_t)bytes, len, "r");

	assert_non_null(in);
	assert_int_equal(scout_ssh_names_read(&n, in), 0);
	assert_int_equal(fclose(in), 0);
	check_names(&n, wanted);
}

static void reads(const char *text, const char *wanted)
{
	read_bytes(text, strlen(text), wanted);
}

static void host_lines(void **state)
{
	static const char nul[] = "Host a\0b\nHost c\n";

	(void)state;
	reads("Host web1\n  User x\nHost web2", "<web1><web2>");
	reads("Host a b \"c d\" 'e f'\n", "<a><b><c d><e f>");
	reads("Host=a\nhost =b\nHOST = c\nhOsT\td\n\"Host\" e\n\tHost f\r\n", "<a><b><c><d><e><f>");
	reads("# Host no\n#Host no\nHost a # no more\nHost b#c\n", "<a><b#c>");
	reads("Host * web? !not a*b plain\n", "<plain>");
	reads("Host a\\\"b c\\ d e\\f\n", "<a\"b><c d><e\\f>");
	reads("Host . .. a/b \"\" ok\n", "<ok>");
	reads("Host \"open\nHost b \"open\nHost c\n", "<b><c>");
	reads("Hostname x\nHostKeyAlias y\nHos t\nHost\nHost=\nHost \n", "");
	reads("\nHost a\n\n\n=\n= b\n\"\n", "<a>");
	read_bytes(nul, sizeof(nul) - 1, "<c>");
}

static void match_blocks_are_passed_over(void **state)
{
	struct scout_ssh_names n = {0};

	(void)state;
	write_text(".ssh/inside", "Host hidden\n");
	write_text(".ssh/behind", "Host shown\n");
	reads("Match host x\n  User u\nHost a\n", "<a>");
	assert_int_equal(scout_ssh_names_load(&n, write_text(".ssh/config", "Match exec \"true\"\n"
									    "  Include inside\n"
									    "Match all\n"
									    "  Include behind\n"
									    "Match host y\n"
									    "Host b *\n"
									    "  Include behind\n")),
			 0);
	check_names(&n, "<shown><b><shown>");
}

static void includes(void **state)
{
	struct scout_ssh_names n = {0};
	char text[512];

	(void)state;
	write_text(".ssh/config.d/one", "Host one\nMatch host x\n");
	write_text(".ssh/config.d/two", "Include deeper\nHost two\n");
	write_text(".ssh/deeper", "Host deeper\n");
	write_text("elsewhere/abs", "Host abs\n");
	write_text("tilde", "Host tilde\n");
	snprintf(text, sizeof(text),
		 "Host first\nMatch all\nInclude config.d/* missing \"%s/elsewhere/abs\"\nInclude "
		 "~/tilde\n"
		 "include=/nowhere/*\nHost last\n",
		 home);
	assert_int_equal(scout_ssh_names_load(&n, write_text(".ssh/config", text)), 0);
	check_names(&n, "<first><one><deeper><two><abs><tilde><last>");

	/* a folder and a pipe among the matches are passed over */
	snprintf(text, sizeof(text), "%s/.ssh/config.d/pipe", home);
	assert_int_equal(mkfifo(text, 0600), 0);
	snprintf(text, sizeof(text), "%s/.ssh/config.d/sub", home);
	assert_int_equal(mkdir(text, 0700), 0);
	assert_int_equal(
	    scout_ssh_names_load(&n, write_text(".ssh/config", "Include config.d/*\n")), 0);
	check_names(&n, "<one><deeper><two>");
}

/* Wherever the file itself lies: so does ssh -F. */
static void relative_to_the_users_own_folder(void **state)
{
	struct scout_ssh_names n = {0};

	(void)state;
	write_text(".ssh/more", "Host right\n");
	write_text("elsewhere/more", "Host wrong\n");
	assert_int_equal(scout_ssh_names_load(&n, write_text("elsewhere/config", "Include more\n")),
			 0);
	check_names(&n, "<right>");
}

/* What a Host block includes is in force for its names alone. */
static void within_host_blocks(void **state)
{
	struct scout_ssh_names n = {0};

	(void)state;
	write_text(".ssh/names", "Host web1 web22 db1 [ab]\n");
	write_text(".ssh/inner", "Host *2 db1\n  Include names\n");
	assert_int_equal(scout_ssh_names_load(
			     &n, write_text(".ssh/config", "Host web* \"!web2*\"\n  Include names\n"
							   "Host w*b??\n  Include inner\n"
							   "Host [ab]\n  Include names\n"
							   "Match all\n  Include names\n")),
			 0);
	check_names(&n, "<web1><web22><[ab]><[ab]><web1><web22><db1><[ab]>");
}

static void bounds(void **state)
{
	struct scout_ssh_names n = {0};
	char name[32], text[64];
	FILE *in;

	(void)state;
	/* a chain of 16 includes is fine, one of 17 is not */
	for (int i = 0; i < 17; i++) {
		snprintf(name, sizeof(name), ".ssh/c%d", i);
		snprintf(text, sizeof(text), i < 16 ? "Host h%d *\nInclude c%d\n" : "Host h%d\n", i,
			 i + 1);
		write_text(name, text);
	}
	assert_int_equal(scout_ssh_names_load(&n, write_text(".ssh/config", "Include c1\n")), 0);
	assert_int_equal(n.count, 16);
	scout_ssh_names_free(&n);
	assert_int_equal(scout_ssh_names_load(&n, write_text(".ssh/config", "Include c0\n")),
			 -E2BIG);
	scout_ssh_names_free(&n);

	/* files that include themselves, many times over */
	assert_int_equal(
	    scout_ssh_names_load(&n, write_text(".ssh/config", "Include config config\n")), -E2BIG);
	scout_ssh_names_free(&n);

	assert_int_equal(scout_ssh_names_load(&n, "/dev/zero"), -E2BIG);
	scout_ssh_names_free(&n);
	assert_int_equal(scout_ssh_names_load(&n, "/dev/null"), 0);
	scout_ssh_names_free(&n);
	assert_int_equal(scout_ssh_names_load(&n, "/nowhere"), -ENOENT);
	scout_ssh_names_free(&n);

	in = tmpfile();
	assert_non_null(in);
	for (int i = 0; i < 100001; i++)
		fprintf(in, "Host a\n");
	rewind(in);
	assert_int_equal(scout_ssh_names_read(&n, in), -E2BIG);
	assert_int_equal(n.count, 100000);
	assert_int_equal(fclose(in), 0);
	scout_ssh_names_free(&n);
}

static void filtered(const char *text, const char *allow, const char *block, const char *wanted)
{
	struct scout_ssh_names n = {0};
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	assert_non_null(in);
	assert_int_equal(scout_ssh_names_read(&n, in), 0);
	assert_int_equal(fclose(in), 0);
	assert_int_equal(scout_ssh_names_filter(&n, allow, block), 0);
	check_names(&n, wanted);
}

static void filters(void **state)
{
	(void)state;
	filtered("Host b a b\nHost a c\n", "*", "", "<a><b><c>");
	filtered("Host web1 web2 db1\n", "web*", "", "<web1><web2>");
	filtered("Host web1 web2 db1\n", "web* , db?", "web2,x", "<db1><web1>");
	filtered("Host web1 web2\n", "*", "*", "");
	filtered("Host web1\n", "", "", "");
	filtered("Host web1\n", ",,", ",", "");
	filtered("User x\n", "*", "", "");
}

static void merged_with_sections(void **state)
{
	struct loaded l;
	char path[128];

	(void)state;
	write_text(".ssh/config", "Host web2 web1\n  Port 1\nHost db1 old\nHost *\n");
	l = load_text("[hosts]\nblock = old, web2\nconnect_timeout = 3s\n"
		      "[host web1]\nport = 22\n[host web2]\n[host own]\n");
	assert_string_equal(l.errors, "");
	assert_int_equal(l.config->nhosts, 4);
	assert_string_equal(l.config->hosts[0].name, "db1");
	assert_string_equal(l.config->hosts[1].name, "own");
	assert_string_equal(l.config->hosts[2].name, "web1");
	assert_string_equal(l.config->hosts[3].name, "web2");
	assert_false(l.config->hosts[0].in_ini);
	assert_true(l.config->hosts[0].in_ssh_config);
	assert_false(l.config->hosts[1].in_ssh_config);
	assert_true(l.config->hosts[2].in_ini);
	assert_true(l.config->hosts[2].in_ssh_config);
	assert_false(l.config->hosts[3].in_ssh_config); /* blocked there, but has a section */
	assert_int_equal(l.config->hosts[0].connect_timeout_ns, 3 * SCOUT_NS_PER_S);
	assert_int_equal(l.config->hosts[0].port, 0);
	assert_int_equal(l.config->hosts[2].port, 22);
	snprintf(path, sizeof(path), "%s/.ssh/config", home);
	assert_string_equal(l.config->hosts[0].ssh_config, path);
	assert_string_equal(l.config->hosts[2].ssh_config, path);
	unload(&l);

	l = load_text("[hosts]\nssh_config =\n[host web1]\n");
	assert_int_equal(l.config->nhosts, 1);
	assert_null(l.config->hosts[0].ssh_config);
	unload(&l);
}

static void a_file_that_is_named_must_be_there(void **state)
{
	(void)state;
	refused("[hosts]\nssh_config = /nowhere/config\n",
		"@:2: ssh_config /nowhere/config: No such file or directory\n");
	refused("[host a]\n\nssh_config = /nowhere/config\n",
		"@:3: ssh_config /nowhere/config: No such file or directory\n");
}

static void a_bad_ssh_config_is_told(void **state)
{
	struct loaded l;

	(void)state;
	write_text(".ssh/config", "Include config\n");
	l = load_text("");
	assert_int_equal(l.err, -EINVAL);
	assert_non_null(
	    strstr(l.errors, ".ssh/config: too many names, bytes or levels of Include"));
	unload(&l);
}

/* Ten thousand, also as sections: nothing in it may be quadratic. */
static void many_hosts(void **state)
{
	char *names, *sections;
	size_t size;
	FILE *out = open_memstream(&names, &size);
	uint64_t start, end;
	struct loaded l;

	(void)state;
	assert_non_null(out);
	for (int i = 0; i < 10000; i++)
		fprintf(out, "Host host%d\n\tUser u\n", 9999 - i);
	assert_int_equal(fclose(out), 0);
	out = open_memstream(&sections, &size);
	assert_non_null(out);
	for (int i = 5000; i < 15000; i++)
		fprintf(out, "[host host%d]\nport = 7\n", i);
	assert_int_equal(fclose(out), 0);
	write_text(".ssh/config", names);
	start = scout_now_ns();
	l = load_text(sections);
	end = scout_now_ns();
	assert_int_equal(l.err, 0);
	assert_int_equal(l.config->nhosts, 15000);
	assert_int_equal(scout_config_host(l.config, "host4999", 8)->port, 0);
	assert_int_equal(scout_config_host(l.config, "host5000", 8)->port, 7);
	assert_true(scout_config_host(l.config, "host9999", 8)->in_ssh_config);
	assert_true(end - start < 5 * SCOUT_NS_PER_S); /* 0.05 s; sanitizers are slow */
	unload(&l);
	free(names);
	free(sections);
}

/* Where the first command of Match stands, in whatever file; NULL: nowhere. */
static void finds_exec(const char *text, const char *wanted)
{
	struct scout_ssh_names n = {0};
	char where[256];

	snprintf(where, sizeof(where), "%s/%s", home, wanted ? wanted : "");
	assert_int_equal(scout_ssh_names_load(&n, write_text(".ssh/config", text)), 0);
	if (wanted)
		assert_string_equal(n.exec_at, where);
	else
		assert_null(n.exec_at);
	scout_ssh_names_free(&n);
}

static void commands_of_match(void **state)
{
	(void)state;
	finds_exec("Host a\nMatch host a exec \"touch x\"\nMatch exec true\n", ".ssh/config:2");
	finds_exec("\n\n match=final !EXEC true\n", ".ssh/config:3");
	finds_exec("Match all exec x\n", ".ssh/config:1");
	finds_exec("Match host exec user exec\nMatch all\n#Match exec x\nHost exec\n", NULL);
	write_text(".ssh/more", "Host b\n\nMatch exec=x\n");
	finds_exec("Match host x\n  Include more\nMatch exec y\n", ".ssh/more:3");
	/* and what a Match block includes gives no names */
	{
		struct scout_ssh_names n = {0};

		assert_int_equal(scout_ssh_names_load(&n, write_text(".ssh/config",
								     "Match host x\nInclude more\n"
								     "Host c *\nInclude more\n")),
				 0);
		check_names(&n, "<c><b>");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(commands_of_match),
	    cmocka_unit_test(host_lines),
	    TEST(match_blocks_are_passed_over),
	    TEST(includes),
	    TEST(relative_to_the_users_own_folder),
	    TEST(within_host_blocks),
	    TEST(bounds),
	    cmocka_unit_test(filters),
	    TEST(merged_with_sections),
	    TEST(a_file_that_is_named_must_be_there),
	    TEST(a_bad_ssh_config_is_told),
	    TEST(many_hosts),
	};

	return cmocka_run_group_tests_name("config/ssh_names", tests, NULL, NULL);
}
