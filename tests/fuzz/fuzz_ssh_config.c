/* Any bytes as an ssh_config: every name that comes out can be a folder, and none is a pattern. Include
 * is not followed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/ssh_names.h"
#include "config/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scout_ssh_names names = {0};
	FILE *in;

	if (size == 0)
		return 0;
	in = fmemopen((void *)(uintptr_t)data, size, "r");
	if (!in || scout_ssh_names_read(&names, in))
		abort();
	if (scout_ssh_names_filter(&names, "*", "blocked*"))
		abort();
	for (size_t i = 0; i < names.count; i++) {
		if (!scout_host_name_is_valid(names.names[i]) || strpbrk(names.names[i], "*?!") ||
		    strncmp(names.names[i], "blocked", 7) == 0 ||
		    (i > 0 && strcmp(names.names[i - 1], names.names[i]) >= 0))
			abort();
	}
	scout_ssh_names_free(&names);
	fclose(in);
	return 0;
}
