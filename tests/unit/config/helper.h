/* A home of its own for each test, and loading a text as scoutfs.ini in it. */
#ifndef TEST_CONFIG_HELPER_H
#define TEST_CONFIG_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scoutfs/config.h"

static char home[64];

/* What AWS's tools are told by. */
static const char *const aws_variables[] = {
    "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL",           "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_REGION",          "AWS_DEFAULT_REGION",         "AWS_PROFILE",
    "AWS_CONFIG_FILE",     "AWS_SHARED_CREDENTIALS_FILE"};

static inline int make_home(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(aws_variables) / sizeof(*aws_variables); i++)
		(void)unsetenv(aws_variables[i]); /* the names are good */
	snprintf(home, sizeof(home), "/tmp/scoutfs-config.XXXXXX");
	if (!mkdtemp(home) || setenv("HOME", home, 1) || unsetenv("XDG_CONFIG_HOME"))
		return -1;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline int remove_home(void **state)
{
	(void)state;
	return nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes home/name, with the folders in front of it; returns its path in static memory. */
static inline const char *write_file(const char *name, const char *bytes, size_t len)
{
	static char path[256];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", home, name);
	for (char *p = path + strlen(home) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*p = '/';
	}
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(bytes, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, 0600), 0);
	return path;
}

static inline const char *write_text(const char *name, const char *text)
{
	return write_file(name, text, strlen(text));
}

struct loaded {
	int err;
	struct scout_config *config;
	char *errors;
};

/* options: up to the NULL. */
static inline struct loaded load_file(const char *path, const char *const *options)
{
	struct loaded l = {0};
	size_t noptions = 0, size;
	FILE *errors = open_memstream(&l.errors, &size);

	assert_non_null(errors);
	while (options && options[noptions])
		noptions++;
	l.err = scout_config_load(path, options, noptions, errors, &l.config);
	assert_int_equal(fclose(errors), 0);
	assert_true((l.err == 0) == (l.errors[0] == '\0'));
	return l;
}

static inline struct loaded load_text(const char *text)
{
	return load_file(write_text("scoutfs.ini", text), NULL);
}

static inline void unload(struct loaded *l)
{
	scout_config_free(l->config);
	free(l->errors);
}

/* The text loads without a complaint; the caller frees. */
static inline struct scout_config *good(const char *text)
{
	struct loaded l = load_text(text);

	if (l.err)
		fail_msg("%s", l.errors);
	free(l.errors);
	return l.config;
}

/* The text is refused with these lines, and no others; in "@" stands for the path of the ini. */
static inline void refused_with(struct loaded *l, const char *wanted)
{
	char *expanded;
	size_t size;
	FILE *out = open_memstream(&expanded, &size);

	assert_non_null(out);
	for (; *wanted; wanted++) {
		if (*wanted == '@')
			fprintf(out, "scoutfs: %s/scoutfs.ini", home);
		else
			fputc(*wanted, out);
	}
	assert_int_equal(fclose(out), 0);
	assert_string_equal(l->errors, expanded);
	assert_int_equal(l->err, -EINVAL);
	assert_null(l->config);
	free(expanded);
	unload(l);
}

static inline void refused(const char *text, const char *wanted)
{
	struct loaded l = load_text(text);

	refused_with(&l, wanted);
}

static inline char *printed(const struct scout_config *config)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	scout_config_print(config, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_home, remove_home)

#endif
