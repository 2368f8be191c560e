/* What `ssh -G` printed, line by line. */
#ifndef SCOUTFS_SFTP_ANSWER_H
#define SCOUTFS_SFTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

struct scout_answer_line {
	const char *key, *value;
	bool usual; /* ssh does so without any ssh_config */
};

struct scout_answer {
	char *text; /* which the lines point into */
	struct scout_answer_line *lines;
	size_t count;
};

/* NULL is an empty answer. 0; -ENOMEM, then there is nothing to free. Lines that are none are passed over. */
int scout_answer_parse(struct scout_answer *a, const char *text, const char *defaults);
void scout_answer_free(struct scout_answer *a);

/* The first value of key, or NULL. */
const char *scout_answer_value(const struct scout_answer *a, const char *key);
/* The same where ssh_config says it: the default and "none" are NULL. */
const char *scout_answer_said(const struct scout_answer *a, const char *key);

#endif
