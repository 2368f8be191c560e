/* The files of idmap = file: what is in them, and how mistakes in them are told. */
#include "helper.h"

static struct scout_config *with_files(const char *uids, const char *gids)
{
	char ini[512];

	write_text("uids", uids);
	write_text("gids", gids);
	snprintf(ini, sizeof ini,
		 "[hosts]\nidmap = file\nuidfile = %s/uids\ngidfile = %s/gids\n"
		 "[host a]\n[host b]\nuidfile =\n",
		 home, home);
	return good(ini);
}

static void both_ways(void **state)
{
	struct scout_config *c = with_files("# ours\n\nroot:500\n7:501 \n8:501\r\n", "root:600\n");
	const struct scout_host_config *a = scout_config_host(c, "a", 1);
	const struct scout_host_config *b = scout_config_host(c, "b", 1);
	struct scout_host_config *copy;

	(void)state;
	assert_int_equal(a->idmap, SCOUT_IDMAP_FILE);
	assert_int_equal(scout_id_map_remote(a->uids, 0), 500);
	assert_int_equal(scout_id_map_local(a->uids, 500), 0);
	assert_int_equal(scout_id_map_remote(a->uids, 8), 501);
	/* the first line wins, and what is in none stays */
	assert_int_equal(scout_id_map_local(a->uids, 501), 7);
	assert_int_equal(scout_id_map_local(a->uids, 7), 7);
	assert_int_equal(scout_id_map_remote(a->uids, 4000000000u), 4000000000u);
	assert_int_equal(scout_id_map_remote(a->gids, 0), 600);
	assert_null(b->uids);
	assert_int_equal(scout_id_map_remote(b->uids, 0), 0);
	assert_int_equal(scout_id_map_remote(b->gids, 0), 600);
	/* a copy outlives the config */
	assert_int_equal(scout_host_config_copy(a, &copy), 0);
	assert_true(scout_host_config_equal(a, copy));
	scout_config_free(c);
	assert_int_equal(scout_id_map_remote(copy->uids, 0), 500);
	/* the same path with other lines is another config */
	c = with_files("root:502\n", "root:600\n");
	assert_false(scout_host_config_equal(scout_config_host(c, "a", 1), copy));
	scout_config_free(c);
	scout_host_config_free(copy);
}

static void empty_files_map_nothing(void **state)
{
	struct scout_config *c = with_files("", "\n#\n");

	(void)state;
	assert_int_equal(scout_id_map_remote(scout_config_host(c, "a", 1)->uids, 5), 5);
	scout_config_free(c);
}

/* As refused, with FILE in wanted for the path of the uidfile. */
static void refused_file(const char *text, const char *wanted)
{
	char ini[512], want[2048], *out = want;
	struct loaded l;

	write_text("uids", text);
	snprintf(ini, sizeof ini, "[hosts]\nidmap = file\nuidfile = %s/uids\n", home);
	l = load_text(ini);
	for (; *wanted; wanted++) {
		if (*wanted == '@')
			out += sprintf(out, "scoutfs: %s/uids", home);
		else
			*out++ = *wanted;
	}
	*out = '\0';
	assert_string_equal(l.errors, want);
	assert_int_equal(l.err, -EINVAL);
	unload(&l);
}

static void mistakes(void **state)
{
	(void)state;
	refused_file("root 5\nroot:x\n:5\nroot:\nroot:-1\nroot:4294967295\n",
		     "@:1: bad line 'root 5': want name:number\n"
		     "@:2: bad line 'root:x': want name:number\n"
		     "@:3: bad line ':5': want name:number\n"
		     "@:4: bad line 'root:': want name:number\n"
		     "@:5: bad line 'root:-1': want name:number\n"
		     "@:6: bad line 'root:4294967295': want name:number\n");
	refused_file("nobody-of-that-name:5\n",
		     "@:1: no user 'nobody-of-that-name' on this machine\n");
	refused_file("root:5\n0:6\n", "@:2: the same name as in line 1\n");
}

static void files_that_are_not_there(void **state)
{
	(void)state;
	refused("[hosts]\nidmap = file\n",
		"@:2: idmap = file without uidfile or gidfile in [hosts]\n");
	refused("[host a]\nidmap = file\n", "@:2: idmap = file without uidfile or gidfile\n");
	refused("[host a]\nuidfile = /nonexistent/uids\n",
		"scoutfs: /nonexistent/uids: No such file or directory\n");
	refused("[hosts]\nidmap = some\n",
		"@:2: bad value 'some' for idmap: want one of none, user or file\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(both_ways),
	    TEST(empty_files_map_nothing),
	    TEST(mistakes),
	    TEST(files_that_are_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
