/* Any bytes as scoutfs.ini: told or taken, and what is taken prints and reads as itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/draft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The config in the bytes, or NULL. */
static struct scout_config *load(const void *data, size_t size)
{
	FILE *in = fmemopen((void *)(uintptr_t)data, size, "r"), *errors = fopen("/dev/null", "w");
	struct scout_config *config = NULL;
	struct scout_draft draft;

	if (!in || !errors || scout_draft_init(&draft, "fuzz", errors))
		abort();
	scout_draft_read(&draft, in);
	scout_draft_check(&draft);
	if (draft.problems.count == 0) {
		if (draft.err || scout_draft_finish(&draft, NULL, 0))
			abort();
		config = draft.config;
		draft.config = NULL;
	}
	scout_draft_free(&draft);
	fclose(errors);
	fclose(in);
	return config;
}

static char *print(const struct scout_config *config)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	scout_config_print(config, out);
	if (fclose(out))
		abort();
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scout_config *first, *second;
	char *once, *twice;

	if (size == 0)
		return 0;
	first = load(data, size);
	if (!first)
		return 0;
	once = print(first);
	second = load(once, strlen(once));
	if (!second)
		abort();
	twice = print(second);
	if (strcmp(once, twice) != 0)
		abort();
	free(once);
	free(twice);
	scout_config_free(first);
	scout_config_free(second);
	return 0;
}
