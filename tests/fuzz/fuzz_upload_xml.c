/* Any bytes as an answer about multipart uploads: every id and key is bounded, and ends. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/s3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool look(void *arg, const struct scout_s3_upload *u)
{
	(void)arg;
	if (u->key_len == 0 || u->key_len > 8192 || u->key[u->key_len] != '\0')
		abort();
	if (!*u->id || strlen(u->id) > 8192)
		abort();
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *id = NULL, *next_key, *next_id;
	bool failed;
	int err = scout_s3_parse_upload_id(data, size, &id);

	if (err != 0 && err != -EIO)
		abort();
	if (!err != (id != NULL))
		abort();
	free(id);
	err = scout_s3_parse_uploads(data, size, look, NULL, &next_key, &next_id);
	if (err != 0 && err != -EIO)
		abort();
	if ((next_key != NULL) != (next_id != NULL) || (err && next_key))
		abort();
	free(next_key);
	free(next_id);
	err = scout_s3_parse_completion(data, size, &failed);
	if (err != 0 && err != -EIO)
		abort();
	return 0;
}
