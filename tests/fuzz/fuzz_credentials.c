/* Any bytes as what hands out keys, and as a command line. The first byte chooses: '0' JSON of a metadata
 * endpoint, '1' JSON of a command, '2' XML of STS, else a command line. Nothing is half an answer, no reason
 * tells more than a line, and a command line has as many words as it has strings. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "s3/answer.h"
#include "s3/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int err, struct scout_s3_answer *a, const char *reason)
{
	if (err != 0 && err != -EINVAL)
		abort();
	if (err && (a->access_key_id || a->secret_access_key || a->session_token))
		abort();
	if (!err && (!a->access_key_id || !a->secret_access_key))
		abort();
	if (err && (!*reason || strpbrk(reason, "\r\n")))
		abort();
	scout_s3_answer_free(a);
}

static void split(const uint8_t *data, size_t size)
{
	char *line = strndup((const char *)data, size), **argv;
	size_t bytes = 0;
	int err;

	if (!line)
		return;
	err = scout_s3_command_split(line, &argv);
	if (err != 0 && err != -EINVAL)
		abort();
	if (!err) {
		for (char **word = argv; *word; word++)
			bytes += strlen(*word) + 1;
		if (!argv[0] || !*argv[0] || bytes > strlen(line) + 1)
			abort();
		free(argv);
	}
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char reason[SCOUT_S3_REASON_MAX] = "";
	struct scout_s3_answer a = {0};
	const char *text = (const char *)data + 1;

	if (size == 0)
		return 0;
	switch (data[0]) {
	case '0':
	case '1':
		check(scout_s3_parse_json(text, size - 1,
					  data[0] == '0' ? SCOUT_JSON_METADATA : SCOUT_JSON_PROCESS,
					  &a, reason),
		      &a, reason);
		break;
	case '2':
		check(scout_s3_parse_sts(text, size - 1, &a, reason), &a, reason);
		break;
	default:
		split(data, size);
	}
	return 0;
}
