/* /.scoutfs without memory: what cannot be told is an error, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define scout_text_take take_nothing
#include "control/backend.c"

char *take_nothing(struct scout_text *t)
{
	scout_text_free(t);
	return NULL;
}

static int answer;

static void done(struct scout_req *req, int err, const struct scout_result *res)
{
	(void)req, (void)res;
	answer = err;
}

static void no_names(void *self, struct scout_text *out)
{
	(void)self, (void)out;
}

static int no_detail(void *self, const char *entry, struct scout_text *out)
{
	(void)self, (void)entry, (void)out;
	return -ENOENT;
}

static void a_list_without_memory(void **state)
{
	struct scout_backend_ops ops = {
	    .name = "hosts", .detail = no_detail, .detail_list = no_names};
	struct scout_backend hosts = {&ops, NULL};
	struct scout_env env = {.backends = &hosts, .nbackends = 1};
	struct control c = {.env = &env};
	struct scout_req req = {.done = done};

	(void)state;
	answer = 1;
	open_dir(&c, "hosts", &req);
	assert_int_equal(answer, -ENOMEM);
	answer = 1;
	open_dir(&c, "", &req);
	assert_int_equal(answer, -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_list_without_memory)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
