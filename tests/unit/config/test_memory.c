/* How memory is divided. */
#include "helper.h"

/* Buffers of all kinds are within memory, however little it is. */
static void memory_is_divided(void **state)
{
	static const struct {
		const char *ini;
		size_t connection, inflated, buffers;
	} cases[] = {
	    {"", 0x20000, 32 << 20, (256 - 32) * (size_t)(1 << 20) - 150 * 0x20000},
	    {"[scoutfs]\nmemory = 16M\n", 13981, 2 << 20, (14 << 20) - 150 * 13981},
	    {"[scoutfs]\nmemory = 16M\n[models]\nmax_connections = 1000\nunzip = no\n", 2097, 0,
	     (16 << 20) - 1000 * 2097},
	    {"[scoutfs]\nmemory = 4G\n[models]\nmax_connections = 8\n", 0x20000, 64 << 20,
	     (4096 - 64 - 1) * (size_t)(1 << 20)},
	};
	char ini[256];
	struct scout_config *c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(ini, sizeof(ini),
			 "%s[models]\nbucket = models\nanonymous = yes\nregion = r\n",
			 cases[i].ini);
		c = good(ini);
		assert_int_equal(c->models.connection_bytes, cases[i].connection);
		assert_int_equal(c->models.inflated_bytes, cases[i].inflated);
		assert_int_equal(scout_config_buffer_bytes(c), cases[i].buffers);
		scout_config_free(c);
	}
}

static void without_a_registry_all_is_for_file_bytes(void **state)
{
	struct scout_config *c = good("[scoutfs]\nmemory = 16M\n");

	(void)state;
	assert_int_equal(scout_config_buffer_bytes(c), c->memory);
	scout_config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(memory_is_divided),
	    TEST(without_a_registry_all_is_for_file_bytes),
	};

	return cmocka_run_group_tests_name("config/memory", tests, NULL, NULL);
}
