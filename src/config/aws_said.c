/* AWS's order of who says where to ask; see scoutfs/aws_said.h. */
#include "scoutfs/aws_said.h"

#include <stddef.h>
#include <strings.h>

#include "scoutfs/aws_env.h"
#include "scoutfs/aws_profile.h"

/* variable may say it, or setting of the profile. */
struct place {
	int variable, setting; /* -1: none */
	const char *by;
};

/* The first of n places that says anything. */
static struct scout_aws_said first(const struct scout_aws_env *env, const struct scout_profile *p,
				   const struct place *places, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *value = places[i].variable >= 0 ? env->value[places[i].variable]
				    : p                     ? p->value[places[i].setting]
							    : NULL;

		if (value)
			return (struct scout_aws_said){value, places[i].by};
	}
	return (struct scout_aws_said){NULL, NULL};
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
	    {SCOUT_AWS_REGION, -1, "AWS_REGION"},
	    {SCOUT_AWS_DEFAULT_REGION, -1, "AWS_DEFAULT_REGION"},
	    {-1, SCOUT_PROFILE_REGION, "the profile's region"},
	};

	return first(env, p, places, 3);
}

struct scout_aws_said scout_aws_endpoint(const struct scout_aws_env *env,
					 const struct scout_profile *p,
					 enum scout_aws_service service)
{
	static const struct place places[][4] = {
	    [SCOUT_AWS_S3] = {{SCOUT_AWS_ENDPOINT_URL_S3, -1, "AWS_ENDPOINT_URL_S3"},
			      {SCOUT_AWS_ENDPOINT_URL, -1, "AWS_ENDPOINT_URL"},
			      {-1, SCOUT_PROFILE_ENDPOINT_URL_S3,
			       "the endpoint_url of the profile's services"},
			      {-1, SCOUT_PROFILE_ENDPOINT_URL, "the profile's endpoint_url"}},
	    [SCOUT_AWS_STS] = {{SCOUT_AWS_ENDPOINT_URL_STS, -1, "AWS_ENDPOINT_URL_STS"},
			       {SCOUT_AWS_ENDPOINT_URL, -1, "AWS_ENDPOINT_URL"},
			       {-1, SCOUT_PROFILE_ENDPOINT_URL_STS,
				"the endpoint_url of the profile's services"},
			       {-1, SCOUT_PROFILE_ENDPOINT_URL, "the profile's endpoint_url"}},
	};
	static const struct place ignore[] = {{SCOUT_AWS_IGNORE_ENDPOINT_URLS, -1, NULL},
					      {-1, SCOUT_PROFILE_IGNORE_ENDPOINT_URLS, NULL}};
	const char *ignored = first(env, p, ignore, 2).value;

	if (ignored && strcasecmp(ignored, "true") == 0)
		return (struct scout_aws_said){NULL, NULL};
	return first(env, p, places[service], 4);
}
