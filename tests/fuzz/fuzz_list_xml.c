/* Any bytes as a page of a listing: every entry is a name with its end, bounded, and the same page
 * says the same twice. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/s3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
	size_t entries;
	size_t bytes;
};

static bool add(void *arg, const struct scout_s3_object *o)
{
	struct sum *sum = arg;

	if (o->key_len == 0 || o->key_len > 8192 || o->key[o->key_len] != '\0')
		abort();
	if (o->version_id && (o->is_prefix || !*o->version_id))
		abort();
	if (!o->is_prefix && strlen(o->etag) >= SCOUT_ETAG_MAX)
		abort();
	if (!o->is_prefix && strpbrk(o->etag, "\r\n"))
		abort();
	sum->entries++;
	sum->bytes += o->key_len;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sum first = {0}, second = {0};
	char *next = NULL, *again = NULL;
	int err = scout_s3_parse_list(data, size, add, &first, &next);

	if (err != 0 && err != -EIO)
		abort();
	if (err && next)
		abort();
	if (scout_s3_parse_list(data, size, add, &second, &again) != err ||
	    memcmp(&first, &second, sizeof(first)) != 0)
		abort();
	free(next);
	free(again);
	next = again = NULL;
	err = scout_s3_parse_versions(data, size, add, &first, &next, &again);
	if ((err != 0 && err != -EIO) || (err && (next || again)))
		abort();
	free(next);
	free(again);
	return 0;
}
