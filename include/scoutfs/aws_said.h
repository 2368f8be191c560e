/* Where AWS's own tools would ask, by their variables and a profile ("Service-specific endpoints" and "AWS
 * Region" of the AWS SDKs and Tools Reference Guide). Pure. */
#ifndef SCOUTFS_AWS_SAID_H
#define SCOUTFS_AWS_SAID_H

struct scout_aws_env;
struct scout_profile;

enum scout_aws_service {
	SCOUT_AWS_S3,
	SCOUT_AWS_STS,
};

struct scout_aws_said {
	const char *value; /* of the variables or the profile; NULL: nobody says it */
	const char *by;    /* for people: the variable, or "the profile's region" */
};

/* The profile that AWS_PROFILE names where the config's is NULL, else "default". */
const char *scout_aws_profile_name(const struct scout_aws_env *env, const char *config);
/* p, here and below: may be NULL. */
struct scout_aws_said scout_aws_region(const struct scout_aws_env *env,
				       const struct scout_profile *p);
/* The URL of the service's endpoint. */
struct scout_aws_said scout_aws_endpoint(const struct scout_aws_env *env,
					 const struct scout_profile *p,
					 enum scout_aws_service service);

#endif
