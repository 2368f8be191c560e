/* AWS's order of who says where to ask; see scoutfs/aws_said.h. */
#include "scoutfs/aws_said.h"

#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

#include "scoutfs/aws_env.h"
#include "scoutfs/aws_profile.h"

/* A variable that may say it, or a setting of the profile and what to call that. */
struct place {
	enum scout_aws_variable variable; /* unless by is there */
	enum scout_profile_setting setting;
	const char *by;
};

/* The first of n places that says anything. */
static struct scout_aws_said first(const struct scout_aws_env *env, const struct scout_profile *p,
				   const struct place *places, size_t n)
{
	struct scout_aws_said found = {NULL, NULL};

	for (size_t i = 0; i < n && !found.value; i++) {
		const struct place *at = &places[i];

		found.by = at->by ? at->by : scout_aws_variable_name(at->variable);
		if (!at->by)
			found.value = env->value[at->variable];
		else if (p)
			found.value = p->value[at->setting];
	}
	return found;
}

const char *scout_aws_profile_name(const struct scout_aws_env *env, const char *config)
{
	const char *name = config ? config : env->value[SCOUT_AWS_PROFILE];

	return name ? name : "default";
}

struct scout_aws_said scout_aws_region(const struct scout_aws_env *env,
				       const struct scout_profile *p)
{
	static const struct place places[] = {
	    {.variable = SCOUT_AWS_REGION},
	    {.variable = SCOUT_AWS_DEFAULT_REGION},
	    {.setting = SCOUT_PROFILE_REGION, .by = "the profile's region"},
	};

	return first(env, p, places, 3);
}

struct scout_aws_said scout_aws_endpoint(const struct scout_aws_env *env,
					 const struct scout_profile *p,
					 enum scout_aws_service service)
{
	static const struct place ignore[] = {
	    {.variable = SCOUT_AWS_IGNORE_ENDPOINT_URLS},
	    {.setting = SCOUT_PROFILE_IGNORE_ENDPOINT_URLS, .by = "the profile"},
	};
	const bool sts = service == SCOUT_AWS_STS;
	const struct place places[] = {
	    {.variable = sts ? SCOUT_AWS_ENDPOINT_URL_STS : SCOUT_AWS_ENDPOINT_URL_S3},
	    {.variable = SCOUT_AWS_ENDPOINT_URL},
	    {.setting = sts ? SCOUT_PROFILE_ENDPOINT_URL_STS : SCOUT_PROFILE_ENDPOINT_URL_S3,
	     .by = "the endpoint_url of the profile's services"},
	    {.setting = SCOUT_PROFILE_ENDPOINT_URL, .by = "the profile's endpoint_url"},
	};
	const char *ignored = first(env, p, ignore, 2).value;

	if (ignored && strcasecmp(ignored, "true") == 0)
		return (struct scout_aws_said){NULL, NULL};
	return first(env, p, places, 4);
}
