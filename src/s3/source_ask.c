/* Asking a source for keys; see source.h. A role's base is asked first: at most as deep as a chain of
 * profiles is long. */
#include <errno.h>

#include "s3/source.h"

static int ask_role(const struct scout_s3_source *s, struct scout_s3_asking *asking,
		    struct scout_s3_answer *ret)
{
	struct scout_s3_credentials *signer;
	int err = scout_s3_source_ask(s->base, asking, &signer);

	if (err)
		return err;
	err = scout_s3_ask_sts(s, signer, asking, ret);
	scout_s3_credentials_put(signer);
	return err;
}

int scout_s3_source_ask(const struct scout_s3_source *s, struct scout_s3_asking *asking,
			struct scout_s3_credentials **ret)
{
	struct scout_s3_answer answer = {0};
	int err = 0;

	asking->reason[0] = '\0';
	switch (s->kind) {
	case SCOUT_SOURCE_NONE:
		return scout_s3_credentials_new(NULL, s->label, ret, asking->reason);
	case SCOUT_SOURCE_KEYS:
		*ret = scout_s3_credentials_ref(s->keys);
		return 0;
	case SCOUT_SOURCE_PROCESS:
		err = scout_s3_ask_process(s->command, asking, &answer);
		break;
	case SCOUT_SOURCE_ROLE:
		err = ask_role(s, asking, &answer);
		break;
	case SCOUT_SOURCE_WEB_IDENTITY:
		err = scout_s3_ask_sts(s, NULL, asking, &answer);
		break;
	case SCOUT_SOURCE_CONTAINER:
		err = scout_s3_ask_container(asking, &answer);
		break;
	case SCOUT_SOURCE_INSTANCE:
		err = scout_s3_ask_instance(asking, &answer);
		break;
	}
	if (!err)
		err = scout_s3_credentials_new(&answer, s->label, ret, asking->reason);
	return err == -EINVAL ? -EACCES : err;
}
