/* What scoutfs.ini may say, and how it is told what it may not. */
#include "helper.h"

#include "scoutfs/clock.h"

static void defaults(void **state)
{
	struct scout_config *c = good("");
	char path[128];

	(void)state;
	assert_int_equal(c->workers, 8);
	assert_int_equal(c->memory, 256 << 20);
	assert_int_equal(c->log_level, SCOUT_LOG_INFO);
	assert_null(c->log_file);
	assert_false(c->allow_other);
	assert_int_equal(c->max_sessions, 100);
	assert_int_equal(c->max_connecting, 100);
	assert_int_equal(c->nhosts, 0);
	assert_null(c->defaults.ssh_config); /* there is none in this home */
	snprintf(path, sizeof(path), "%s/.ssh/known_hosts", home);
	assert_string_equal(c->defaults.known_hosts, path);
	assert_int_equal(c->defaults.host_key_check, SCOUT_KEYS_STRICT);
	assert_int_equal(c->defaults.connect_timeout_ns, 10 * SCOUT_NS_PER_S);
	assert_int_equal(c->defaults.request_timeout_ns, 30 * SCOUT_NS_PER_S);
	assert_int_equal(c->defaults.keepalive_ns, 15 * SCOUT_NS_PER_S);
	assert_int_equal(c->defaults.idle_timeout_ns, 60 * SCOUT_NS_PER_S);
	assert_int_equal(c->defaults.max_sessions_per_host, 8);
	assert_int_equal(c->defaults.read_window, 32 << 20);
	assert_int_equal(c->defaults.attr_timeout_ns, SCOUT_NS_PER_S);
	assert_true(c->defaults.contain_symlinks);
	assert_string_equal(c->defaults.root, "/");
	assert_null(c->models.bucket);
	assert_string_equal(c->models.region, "us-east-1");
	assert_string_equal(c->models.endpoint, "https://s3.us-east-1.amazonaws.com");
	assert_string_equal(c->models.prefix, "");
	assert_false(c->models.path_style);
	assert_int_equal(c->models.max_connections, 150);
	assert_int_equal(c->models.part_size, 8 << 20);
	assert_int_equal(c->models.read_window, 256 << 20);
	assert_int_equal(c->models.list_ttl_ns, 60 * SCOUT_NS_PER_S);
	assert_int_equal(c->models.list_max_keys, 200000);
	assert_true(c->models.verify);
	assert_null(c->models.cache_dir);
	assert_int_equal(c->models.cache_size, UINT64_C(10) << 30);
	assert_false(c->models.versions);
	assert_int_equal(c->models.timeout_ns, 30 * SCOUT_NS_PER_S);
	assert_int_equal(c->models.max_attempts, 3);
	assert_true(c->models.unzip);
	assert_true(c->models.read_only);
	assert_false(c->models.overwrite || c->models.delete);
	assert_int_equal(c->models.abort_uploads_after_ns, 24 * 3600 * SCOUT_NS_PER_S);
	scout_config_free(c);
}

static void a_host_overlays_hosts(void **state)
{
	struct scout_config *c = good("[host b]\n"
				      "connect_timeout = 3s\n"
				      "port=2222\n"
				      "user = deploy\n"
				      "proxy_jump = u@jump:22,[::1]:2022\n"
				      "root = //srv///www/\n"
				      "symlinks = raw\n"
				      "[hosts]\n"
				      "connect_timeout = 7s\n"
				      "keepalive = 0\n"
				      "[host a.example.com]\n"
				      "  hostname = 192.0.2.1\n");
	const struct scout_host_config *a, *b;

	(void)state;
	assert_int_equal(c->nhosts, 2);
	a = scout_config_host(c, "a.example.com/x", strlen("a.example.com"));
	b = scout_config_host(c, "b", 1);
	assert_ptr_equal(a, &c->hosts[0]);
	assert_ptr_equal(b, &c->hosts[1]);
	assert_int_equal(a->connect_timeout_ns, 7 * SCOUT_NS_PER_S);
	assert_int_equal(b->connect_timeout_ns, 3 * SCOUT_NS_PER_S);
	assert_int_equal(b->keepalive_ns, 0);
	assert_string_equal(a->hostname, "192.0.2.1");
	assert_null(b->hostname);
	assert_int_equal(a->port, 0);
	assert_int_equal(b->port, 2222);
	assert_null(a->user);
	assert_string_equal(b->user, "deploy");
	assert_string_equal(b->proxy_jump, "u@jump:22,[::1]:2022");
	assert_string_equal(a->root, "/");
	assert_string_equal(b->root, "/srv/www");
	assert_true(a->contain_symlinks);
	assert_false(b->contain_symlinks);
	assert_true(a->in_ini);
	assert_false(a->in_ssh_config);
	scout_config_free(c);
}

static void no_such_host(void **state)
{
	struct scout_config *c = good("[host b]\n");
	char longest[300];

	(void)state;
	memset(longest, 'b', sizeof(longest));
	assert_null(scout_config_host(c, "a", 1));
	assert_null(scout_config_host(c, "bb", 2));
	assert_null(scout_config_host(c, "b\0c", 3));
	assert_null(scout_config_host(c, "", 0));
	assert_null(scout_config_host(c, longest, sizeof(longest)));
	scout_config_free(c);
}

static void bom_crlf_and_comments(void **state)
{
	struct scout_config *c = good("\xef\xbb\xbf[scoutfs] ; the front\r\n"
				      "; comment\r\n"
				      "# comment = 1\r\n"
				      "\r\n"
				      "workers = 3 ; and why\r\n"
				      "[ host web1 ]\r\n"
				      "\tuser = u\r\n"
				      "\tport = 5");

	(void)state;
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->nhosts, 1);
	assert_string_equal(c->hosts[0].name, "web1");
	assert_string_equal(c->hosts[0].user, "u");
	assert_int_equal(c->hosts[0].port, 5);
	scout_config_free(c);

	c = good("\xef\xbb\xbf; comment\n[scoutfs]\nworkers = 4\n");
	assert_int_equal(c->workers, 4);
	scout_config_free(c);
	refused("[scoutfs]\n\xef\xbb\xbfworkers = 4\n",
		"@:2: unknown key '\xef\xbb\xbfworkers' in [scoutfs]\n");
}

static void long_host_names_are_not_cut(void **state)
{
	char text[400], name[257];
	struct scout_config *c;
	struct loaded l;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	snprintf(text, sizeof(text), "[host %s]\nport = 7\n", name);
	c = good(text);
	assert_string_equal(c->hosts[0].name, name);
	assert_int_equal(c->hosts[0].port, 7);
	scout_config_free(c);

	name[255] = 'n';
	name[256] = '\0';
	snprintf(text, sizeof(text), "[host %s]\n", name);
	l = load_text(text);
	assert_int_equal(l.err, -EINVAL);
	assert_non_null(strstr(l.errors, "bad name 'nnn"));
	unload(&l);
}

static void unknown_names(void **state)
{
	(void)state;
	refused("[hosts]\nconect_timeout = 3s\n",
		"@:2: unknown key 'conect_timeout' in [hosts] (did you mean 'connect_timeout'?)\n");
	refused("[host web1]\nprot = 22\n",
		"@:2: unknown key 'prot' in [host web1] (did you mean 'port'?)\n");
	refused("[scoutfs]\nxyzzy = 1\n", "@:2: unknown key 'xyzzy' in [scoutfs]\n");
	refused("[host w]\nmax_sessions = 1\n",
		"@:2: unknown key 'max_sessions' in [host w] (it belongs in [hosts])\n");
	refused("[hosts]\nport = 1\n",
		"@:2: unknown key 'port' in [hosts] (it belongs in [host NAME])\n");
	refused("[host]\n", "@:1: unknown section [host] (did you mean [hosts] or [host NAME]?)\n");
	refused("[model]\nbucket = b\n", "@:1: unknown section [model] (did you mean [models]?)\n");
	refused("[hots web1]\nport = 1\n",
		"@:1: unknown section [hots web1] (did you mean [host web1]?)\n");
	refused("[Something]\n", "@:1: unknown section [Something]\n");
	refused("[]\n", "@:1: unknown section []\n");
}

static void duplicates(void **state)
{
	(void)state;
	refused("[scoutfs]\nworkers = 1\nworkers = 2\n",
		"@:3: duplicate key 'workers' in [scoutfs] (first on line 2)\n");
	refused("[scoutfs]\nworkers = 1\n[hosts]\n[scoutfs]\nmemory = 32M\nworkers = 1\n",
		"@:6: duplicate key 'workers' in [scoutfs] (first on line 2)\n");
	refused("[host a]\nport = 1\n[host b]\nport = 1\n[host a]\nport = 1\n",
		"@:5: duplicate section [host a] (first on line 1)\n");
	refused("[host a]\nport = 1\nport = 1\n",
		"@:3: duplicate key 'port' in [host a] (first on line 2)\n");
	/* a value that was refused counts as given */
	refused("[scoutfs]\nworkers = x\nworkers = 2\n",
		"@:2: bad value 'x' for workers: want a number from 1 to 256\n"
		"@:3: duplicate key 'workers' in [scoutfs] (first on line 2)\n");
}

static void a_section_may_be_taken_up_again(void **state)
{
	struct scout_config *c = good("[scoutfs]\nworkers = 2\n[hosts]\n[scoutfs]\nmemory = 32M\n");

	(void)state;
	assert_int_equal(c->workers, 2);
	assert_int_equal(c->memory, 32 << 20);
	scout_config_free(c);
}

static void bad_host_names(void **state)
{
	static const char *const names[] = {"a/b", "/", ".", "..", "\x01", "a\tb", "a\x7f"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char text[64];
		struct loaded l;

		snprintf(text, sizeof(text), "[scoutfs]\n[host %s]\nport = 0\n", names[i]);
		l = load_text(text);
		assert_int_equal(l.err, -EINVAL);
		assert_non_null(strstr(l.errors, "scoutfs.ini:2: bad name '"));
		assert_non_null(strstr(l.errors, "scoutfs.ini:3: bad value '0' for port"));
		unload(&l);
	}
}

static void lines_that_are_none(void **state)
{
	static const char nul[] = "[scoutfs]\nwork\0ers = 2\n";
	char *text = malloc(9000);
	struct loaded l;

	(void)state;
	assert_non_null(text);
	refused("workers = 1\n", "@:1: a key before the first [section]\n");
	refused("[scoutfs]\nworkers\n", "@:2: neither 'key = value' nor [section]\n");
	refused("[scoutfs\nworkers = 1\n", "@:1: a section without its ']' at the end\n");
	refused("[scoutfs] x\n", "@:1: a section without its ']' at the end\n");

	l = load_file(write_file("scoutfs.ini", nul, sizeof(nul) - 1), NULL);
	refused_with(&l, "@:2: a NUL byte\n");

	/* 4095 bytes are a line, one more is told, and the next is read as usual */
	memset(text, 'x', 9000);
	memcpy(text, "[scoutfs]\n#", 11);
	memcpy(text + 10 + 4095, "\nwrkers = 1", 12);
	refused(text, "@:3: unknown key 'wrkers' in [scoutfs] (did you mean 'workers'?)\n");
	memcpy(text + 10 + 4095, "x\nwrkers = 1", 13);
	refused(text, "@:2: a line of more than 4095 bytes\n"
		      "@:3: unknown key 'wrkers' in [scoutfs] (did you mean 'workers'?)\n");
	free(text);
}

static void long_values_are_not_cut(void **state)
{
	char text[4200], path[3001];
	struct scout_config *c;

	(void)state;
	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[3000] = '\0';
	snprintf(text, sizeof(text), "[hosts]\nknown_hosts = %s\n", path);
	c = good(text);
	assert_string_equal(c->defaults.known_hosts, path);
	scout_config_free(c);
}

static void all_errors_in_one_run(void **state)
{
	(void)state;
	refused("[scoutfs]\nworkers = 0\nlog_level = loud\n[nowhere]\nkey = 1\n[models]\ntimeout = "
		"5x\n",
		"@:2: bad value '0' for workers (it is out of range): want a number from 1 to 256\n"
		"@:3: bad value 'loud' for log_level: want one of error, warn, info or debug\n"
		"@:4: unknown section [nowhere]\n"
		"@:7: bad value '5x' for timeout: want a duration (ms, s, m, h) from 10ms to 1h\n"
		"@:7: [models] has no bucket\n");
}

static void errors_are_bounded(void **state)
{
	struct loaded l;
	char *text;
	size_t size, lines = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_non_null(out);
	fprintf(out, "[scoutfs]\n");
	for (int i = 0; i < 5000; i++)
		fprintf(out, "garbage\n");
	assert_int_equal(fclose(out), 0);
	l = load_text(text);
	for (const char *p = l.errors; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 101);
	assert_non_null(strstr(l.errors, ": and 4900 more\n"));
	unload(&l);
	free(text);
}

static void models_need_a_bucket_and_whole_credentials(void **state)
{
	struct scout_config *c = good("[models]\n");

	(void)state;
	assert_null(c->models.bucket);
	scout_config_free(c);
	refused("[models]\nprefix = a\nregion = eu-west-1\n", "@:2: [models] has no bucket\n");
	refused("[models]\nbucket =\n",
		"@:2: bad value '' for bucket: want a bucket's name (3 to 255 "
		"letters, digits, '.', '-', '_') or an access point's ARN\n");
	refused("[models]\nbucket = abc\naccess_key_id = A\n",
		"@:3: access_key_id without secret_access_key in [models]\n");
	refused("[models]\nsecret_access_key = S\nbucket = abc\n",
		"@:2: secret_access_key without access_key_id in [models]\n");
	refused("[models]\nbucket = abc\nsession_token = T\n",
		"@:3: session_token without access_key_id in [models]\n");
	refused("[models]\nbucket = abc\naccess_key_id = A\nsecret_access_key =\n",
		"@:3: access_key_id without secret_access_key in [models]\n");
	/* a secret that is refused is not shown, and not missing on top */
	refused("[models]\nbucket = abc\naccess_key_id = A\nsecret_access_key = my secret\n",
		"@:4: bad value for secret_access_key: want one word of printable ASCII\n");
}

static void models_places(void **state)
{
	const char *point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/models";
	struct scout_config *c =
	    good("[models]\nbucket = arn:aws:s3:eu-west-1:123456789012:accesspoint/models\n"
		 "dual_stack = yes\nrequester_pays = yes\n");

	(void)state;
	assert_string_equal(c->models.bucket, point);
	assert_string_equal(c->models.endpoint, "https://s3.dualstack.us-east-1.amazonaws.com");
	assert_true(c->models.dual_stack && c->models.requester_pays && !c->models.anonymous);
	scout_config_free(c);
	c = good("[models]\nbucket = abc\nregion = cn-north-1\nanonymous = yes\n");
	assert_string_equal(c->models.endpoint, "https://s3.cn-north-1.amazonaws.com.cn");
	assert_true(c->models.anonymous);
	scout_config_free(c);

	refused("[models]\nbucket = arn:aws:s3::123456789012:accesspoint/abc.mrap\n",
		"@:2: bad value 'arn:aws:s3::123456789012:accesspoint/abc.mrap' for bucket (an "
		"access point of several regions needs signatures that we do not make): want a "
		"bucket's name (3 to 255 letters, digits, '.', '-', '_') or an access point's "
		"ARN\n");
	refused("[models]\nbucket = abc\nendpoint = http://s3.lan\ndual_stack = yes\n",
		"@:4: dual_stack is of AWS's endpoints, not of http://s3.lan\n");
	refused("[models]\nbucket = abc\nanonymous = yes\nprofile = p\n",
		"@:4: anonymous and profile in [models]: one of them\n");
	refused("[models]\nbucket = abc\nanonymous = yes\nrequester_pays = yes\n",
		"@:4: anonymous and requester_pays in [models]: one of them\n");
}

/* The endpoint of a config with this line in [models], where the environment says these: NULL nothing. */
static void endpoint_is(const char *line, const char *s3, const char *all, const char *ignore,
			const char *wanted)
{
	const char *const values[] = {s3, all, ignore};
	struct scout_config *c;
	char text[100];

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(setenv(aws_variables[i], values[i] ? values[i] : "", 1), 0);
	snprintf(text, sizeof(text), "[models]\nbucket = abc\n%s\n", line);
	c = good(text);
	assert_string_equal(c->models.endpoint, wanted);
	assert_true(c->models.path_style == !strstr(wanted, ".amazonaws.com"));
	scout_config_free(c);
}

static void endpoints_of_the_environment(void **state)
{
	static const char awss[] = "https://s3.us-east-1.amazonaws.com";

	(void)state;
	endpoint_is("", "http://s3:9000/", "http://all", NULL, "http://s3:9000");
	endpoint_is("", NULL, "http://all", NULL, "http://all");
	endpoint_is("", NULL, "http://all", "no", "http://all");
	endpoint_is("", "http://s3", "http://all", "True", awss);
	endpoint_is("endpoint = http://own", "http://s3", "http://all", NULL, "http://own");
	endpoint_is("endpoint =", "http://s3", "http://all", NULL, awss);
	endpoint_is("endpoint = http://own", "s3.lan", NULL, NULL, "http://own");
	assert_int_equal(setenv("AWS_ENDPOINT_URL_S3", "s3.lan", 1), 0);
	refused("[models]\nbucket = abc\n",
		"@: AWS_ENDPOINT_URL_S3: bad value 's3.lan' for endpoint: want "
		"http[s]://host[:port]\n");
	scout_config_free(good("[hosts]\n"));
}

/* As ~/.aws/config says it, where neither the ini nor the environment does. */
static void what_the_profile_says(void **state)
{
	static const char text[] = "[default]\nregion = eu-west-1\nendpoint_url = http://default\n"
				   "[profile lab]\nservices = lab\n"
				   "[services lab]\ns3 =\n  endpoint_url = https://s3.lan\n"
				   "[profile \"our team\"]\nregion = eu-west-4\n"
				   "[profile bad]\nregion = evil.example/\nendpoint_url = s3.lan\n";
	struct scout_config *c, *again;

	(void)state;
	write_file(".aws/config", text, strlen(text));
	c = good("[models]\nbucket = abc\n");
	assert_string_equal(c->models.region, "eu-west-1");
	assert_string_equal(c->models.endpoint, "http://default");
	assert_true(c->models.path_style);
	scout_config_free(c);
	c = good("[models]\nbucket = abc\nprofile = lab\n");
	assert_string_equal(c->models.region, "us-east-1");
	assert_string_equal(c->models.endpoint, "https://s3.lan");
	assert_int_equal(scout_config_reload(write_text("scoutfs.ini", "[models]\nbucket = abc\n"),
					     NULL, 0, c, stderr, &again),
			 0); /* with what was said at the start, whatever the profile is now */
	assert_string_equal(again->models.region, "us-east-1");
	assert_string_equal(again->models.endpoint, "https://s3.lan");
	assert_false(again->models.aws_region);
	scout_config_free(again);
	scout_config_free(c);
	c = good("[models]\nbucket = abc\nprofile = our team\n");
	assert_string_equal(c->models.region, "eu-west-4");
	scout_config_free(c);
	c = good("[models]\nbucket = abc\nregion = eu-west-2\nendpoint = http://own\n");
	assert_string_equal(c->models.region, "eu-west-2");
	assert_string_equal(c->models.endpoint, "http://own");
	scout_config_free(c);
	assert_int_equal(setenv("AWS_PROFILE", "bad", 1), 0);
	refused(
	    "[models]\nbucket = abc\n",
	    "@: the profile's region: bad value 'evil.example/' for region: want a region such as "
	    "us-east-1\n"
	    "@: the profile's endpoint_url: bad value 's3.lan' for endpoint: want "
	    "http[s]://host[:port]\n");
	assert_int_equal(setenv("AWS_REGION", "eu-west-3", 1), 0);
	c = good("[models]\nbucket = abc\nendpoint =\n");
	assert_string_equal(c->models.endpoint, "https://s3.eu-west-3.amazonaws.com");
	scout_config_free(c);
}

static void models_keys(void **state)
{
	struct scout_config *c =
	    good("[models]\nbucket = abc\nendpoint = HTTP://s3.lan:9000/\n"
		 "prefix = registry\naccess_key_id = A\nsecret_access_key = S\n"
		 "session_token = T\nprofile = p\n");

	(void)state;
	assert_string_equal(c->models.endpoint, "http://s3.lan:9000");
	assert_true(c->models.path_style);
	assert_string_equal(c->models.prefix, "registry/");
	assert_string_equal(c->models.access_key_id, "A");
	assert_string_equal(c->models.secret_access_key, "S");
	assert_string_equal(c->models.session_token, "T");
	assert_string_equal(c->models.profile, "p");
	scout_config_free(c);

	c = good("[models]\nbucket = abc\nendpoint = https://h\npath_style = no\nprefix = a/b/\n");
	assert_false(c->models.path_style);
	assert_string_equal(c->models.prefix, "a/b/");
	scout_config_free(c);

	c = good("[models]\nbucket = abc\nregion = eu-central-1\npath_style = yes\n");
	assert_string_equal(c->models.endpoint, "https://s3.eu-central-1.amazonaws.com");
	assert_true(c->models.path_style);
	scout_config_free(c);
}

static void a_secret_that_others_can_read(void **state)
{
	static const char text[] =
	    "[models]\nbucket = abc\naccess_key_id = A\nsecret_access_key = S\n";
	static const mode_t shared[] = {0640, 0604, 0620, 0602, 0644};
	const char *path = write_text("scoutfs.ini", text);
	struct loaded l;
	char wanted[512];

	(void)state;
	for (size_t i = 0; i < sizeof(shared) / sizeof(*shared); i++) {
		assert_int_equal(chmod(path, shared[i]), 0);
		l = load_file(path, NULL);
		snprintf(wanted, sizeof(wanted),
			 "@: it holds secret_access_key, and group or others may read or change it "
			 "(chmod 600 %s)\n",
			 path);
		refused_with(&l, wanted);
	}
	path = write_text("scoutfs.ini", "[models]\nbucket = abc\n");
	assert_int_equal(chmod(path, 0644), 0);
	l = load_file(path, NULL);
	assert_int_equal(l.err, 0);
	unload(&l);
}

static void options_win(void **state)
{
	const char *path =
	    write_text("scoutfs.ini", "[hosts]\nconnect_timeout = 5s\n[host a.b]\nport = 1\n");
	const char *const options[] = {"hosts.connect_timeout=2s", "host a.b.port=22",
				       "host new.user = u ",       "scoutfs.workers=1",
				       "scoutfs.workers=2",        "models.bucket=abc",
				       "hosts.block=a,b=c",        NULL};
	struct loaded l = load_file(path, options);

	(void)state;
	assert_string_equal(l.errors, "");
	assert_int_equal(l.config->nhosts, 2);
	assert_int_equal(l.config->hosts[0].port, 22);
	assert_int_equal(l.config->hosts[0].connect_timeout_ns, 2 * SCOUT_NS_PER_S);
	assert_string_equal(l.config->hosts[1].name, "new");
	assert_string_equal(l.config->hosts[1].user, "u");
	assert_int_equal(l.config->workers, 2);
	assert_string_equal(l.config->models.bucket, "abc");
	assert_string_equal(l.config->block, "a,b=c");
	unload(&l);
}

static void bad_options(void **state)
{
	const char *path = write_text("scoutfs.ini", "[scoutfs]\nworkers = 1\n");
	const char *const options[] = {"nonsense",
				       "workers=1",
				       "scoutfs.wrkers=1",
				       "scoutfs.workers=x",
				       "host a/b.port=1",
				       "nowhere.x=1",
				       "models.prefix=p",
				       "models.secret_access_key=hidden",
				       "hosts.ssh_config=/nowhere/config",
				       NULL};
	struct loaded l = load_file(path, options);

	(void)state;
	refused_with(&l,
		     "scoutfs: -o: 'nonsense': want section.key=value\n"
		     "scoutfs: -o: 'workers': want section.key=value\n"
		     "scoutfs: -o: unknown key 'wrkers' in [scoutfs] (did you mean 'workers'?)\n"
		     "scoutfs: -o: bad value 'x' for workers: want a number from 1 to 256\n"
		     "scoutfs: -o: bad name 'a/b' in [host NAME]: it must do as a folder's name\n"
		     "scoutfs: -o: unknown section [nowhere]\n"
		     "scoutfs: -o: secret_access_key is not taken here, where others can see it\n"
		     "scoutfs: -o: [models] has no bucket\n"
		     "scoutfs: -o: ssh_config /nowhere/config: No such file or directory\n");
}

static void which_file(void **state)
{
	const char *missing = "/nowhere/scoutfs.ini";
	struct loaded l = load_file(missing, NULL);
	char folder[128];

	(void)state;
	assert_int_equal(l.err, -ENOENT);
	assert_string_equal(l.errors, "scoutfs: /nowhere/scoutfs.ini: No such file or directory\n");
	unload(&l);

	l = load_file(home, NULL);
	assert_int_equal(l.err, -EINVAL);
	assert_non_null(strstr(l.errors, "cannot be read: Is a directory"));
	unload(&l);

	write_text(".config/scoutfs/scoutfs.ini", "[scoutfs]\nworkers = 11\n");
	l = load_file(NULL, NULL);
	assert_int_equal(l.config->workers, 11);
	unload(&l);

	write_text("xdg/scoutfs/scoutfs.ini", "[scoutfs]\nworkers = 12\n");
	snprintf(folder, sizeof(folder), "%s/xdg", home);
	assert_int_equal(setenv("XDG_CONFIG_HOME", folder, 1), 0);
	l = load_file(NULL, NULL);
	assert_int_equal(l.config->workers, 12);
	unload(&l);
	assert_int_equal(unsetenv("XDG_CONFIG_HOME"), 0);
}

/* Which words ssh_config may overrule: only those that nobody said. */
static void who_said_what(void **state)
{
	static const char *const options[] = {"hosts.host_key_check=strict", NULL};
	struct loaded l;

	(void)state;
	write_text(".ssh/config", "Host web\n");
	l = load_file(write_text("scoutfs.ini", "[hosts]\nconnect_timeout = 10s\n[host db]\n"
						"keepalive = 1s\nknown_hosts = /k\n"),
		      options);
	assert_string_equal(l.errors, "");
	assert_int_equal(scout_config_host(l.config, "web", 3)->said,
			 SCOUT_SAID_CONNECT_TIMEOUT | SCOUT_SAID_HOST_KEY_CHECK);
	assert_int_equal(l.config->defaults.said,
			 SCOUT_SAID_CONNECT_TIMEOUT | SCOUT_SAID_HOST_KEY_CHECK);
	assert_int_equal(scout_config_host(l.config, "db", 2)->said,
			 SCOUT_SAID_CONNECT_TIMEOUT | SCOUT_SAID_HOST_KEY_CHECK |
			     SCOUT_SAID_KEEPALIVE | SCOUT_SAID_KNOWN_HOSTS);
	unload(&l);
}

static void commands_are_noted(void **state)
{
	struct scout_config *c;
	char wanted[128];

	(void)state;
	write_text(".ssh/config", "Match exec true\n");
	snprintf(wanted, sizeof(wanted), "%s/.ssh/config:1", home);
	c = good("");
	assert_string_equal(c->match_exec_at, wanted);
	scout_config_free(c);
	c = good("[hosts]\nmatch_exec = yes\n");
	assert_null(c->match_exec_at);
	assert_true(c->defaults.match_exec);
	scout_config_free(c);
	/* in a host's own file, too */
	c = good("[hosts]\nssh_config =\n[host a]\nssh_config = ~/.ssh/config\n"
		 "match_exec = yes\n[host b]\nssh_config = ~/.ssh/config\n");
	assert_string_equal(c->match_exec_at, wanted);
	scout_config_free(c);
}

static void refused_in_home(const char *name, const char *reason)
{
	char text[256], wanted[512];

	snprintf(text, sizeof(text), "[models]\nbucket = abc\ncache_dir = ~/%s\n", name);
	snprintf(wanted, sizeof(wanted), "@:3: cache_dir %s/%s: %s\n", home, name, reason);
	refused(text, wanted);
}

/* A cache_dir that cannot be used is told before anything is mounted; looking makes nothing. */
static void a_folder_for_the_cache(void **state)
{
	struct scout_config *running, *c = NULL;
	char path[128], text[256];
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/cache", home);
	scout_config_free(good("[models]\nbucket = abc\ncache_dir = ~/cache\ncache_size = 64M\n"));
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(mkdir(path, 0755), 0);
	scout_config_free(good("[models]\nbucket = abc\ncache_dir = ~/cache\n"));
	assert_int_equal(chmod(path, 0775), 0);
	refused_in_home("cache", "others may write into it, or we may not");
	/* who is mounted does not look */
	snprintf(text, sizeof(text), "[models]\nbucket = abc\ncache_dir = %s\n", path);
	running = good("");
	assert_int_equal(
	    scout_config_reload(write_text("scoutfs.ini", text), NULL, 0, running, stderr, &c), 0);
	scout_config_free(running);
	scout_config_free(c);
	assert_int_equal(rmdir(path), 0);
	(void)write_text("cache", "a file");
	refused_in_home("cache", "Not a directory");
	refused_in_home("no/cache", "it cannot be made: No such file or directory");
	if (geteuid() == 0) {
		assert_int_equal(unlink(path), 0);
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(chown(path, 65534, 65534), 0);
		refused_in_home("cache", "it belongs to another user");
	}
	refused("[models]\nbucket = abc\ncache_size = 63M\n",
		"@:3: bad value '63M' for cache_size (it is out of range): want a size (bytes, or "
		"with K, M, G) from 64M to 1048576G\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(who_said_what),
	    TEST(commands_are_noted),
	    TEST(defaults),
	    TEST(a_folder_for_the_cache),
	    TEST(a_host_overlays_hosts),
	    TEST(no_such_host),
	    TEST(bom_crlf_and_comments),
	    TEST(long_host_names_are_not_cut),
	    TEST(unknown_names),
	    TEST(duplicates),
	    TEST(a_section_may_be_taken_up_again),
	    TEST(bad_host_names),
	    TEST(lines_that_are_none),
	    TEST(long_values_are_not_cut),
	    TEST(all_errors_in_one_run),
	    TEST(errors_are_bounded),
	    TEST(models_need_a_bucket_and_whole_credentials),
	    TEST(models_places),
	    TEST(endpoints_of_the_environment),
	    TEST(what_the_profile_says),
	    TEST(models_keys),
	    TEST(a_secret_that_others_can_read),
	    TEST(options_win),
	    TEST(bad_options),
	    TEST(which_file),
	};

	return cmocka_run_group_tests_name("config/ini", tests, NULL, NULL);
}
