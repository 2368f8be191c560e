/* Sets of keys; see snapshot.h. They end up in headers, so what could end a header line is refused. */
#include "s3/snapshot.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scoutfs/clock.h"
#include "scoutfs/text.h"

static _Atomic uint64_t last_id;

void scout_s3_answer_free(struct scout_s3_answer *a)
{
	scout_wipe(a->access_key_id);
	scout_wipe(a->secret_access_key);
	scout_wipe(a->session_token);
	memset(a, 0, sizeof(*a));
}

static bool is_plain(const char *text)
{
	for (; text && *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

static bool is_given(const char *text)
{
	return text && *text;
}

static int check(const struct scout_s3_answer *a, const char *source,
		 char reason[SCOUT_S3_REASON_MAX])
{
	int64_t now_s = (int64_t)(scout_wall_ns() / SCOUT_NS_PER_S);

	if (!is_given(a->access_key_id) || !is_given(a->secret_access_key)) {
		snprintf(reason, SCOUT_S3_REASON_MAX,
			 "%s gives %s without the other half of the key pair", source,
			 is_given(a->access_key_id) ? "an access key id"
			 : is_given(a->secret_access_key)
			     ? "a secret access key"
			     : "neither an access key id nor a secret");
		return -EINVAL;
	}
	if (!is_plain(a->access_key_id) || !is_plain(a->secret_access_key) ||
	    !is_plain(a->session_token)) {
		snprintf(reason, SCOUT_S3_REASON_MAX, "%s gives keys with control characters",
			 source);
		return -EINVAL;
	}
	if (a->expires_s && a->expires_s <= now_s) {
		snprintf(reason, SCOUT_S3_REASON_MAX, "%s gives keys that have expired", source);
		return -EINVAL;
	}
	return 0;
}

int scout_s3_credentials_new(struct scout_s3_answer *answer, const char *source,
			     struct scout_s3_credentials **ret, char reason[SCOUT_S3_REASON_MAX])
{
	int err = answer ? check(answer, source, reason) : 0;
	struct scout_s3_credentials *c = err ? NULL : calloc(1, sizeof(*c));

	if (c)
		c->source = strdup(source);
	if (!err && (!c || !c->source)) {
		free(c);
		snprintf(reason, SCOUT_S3_REASON_MAX, "no memory");
		err = -ENOMEM;
	}
	if (err) {
		if (answer)
			scout_s3_answer_free(answer);
		return err;
	}
	atomic_init(&c->refs, 1);
	c->id = atomic_fetch_add(&last_id, 1) + 1;
	if (answer) {
		c->access_key_id = answer->access_key_id;
		c->secret_access_key = answer->secret_access_key;
		if (is_given(answer->session_token))
			c->session_token = answer->session_token;
		else
			free(answer->session_token);
		c->expires_s = answer->expires_s;
		memset(answer, 0, sizeof(*answer));
	}
	*ret = c;
	return 0;
}

struct scout_s3_credentials *scout_s3_credentials_ref(struct scout_s3_credentials *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void scout_s3_credentials_put(struct scout_s3_credentials *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	scout_wipe(c->access_key_id);
	scout_wipe(c->secret_access_key);
	scout_wipe(c->session_token);
	free(c->source);
	free(c);
}
