/* Where keys come from, found in AWS's order from the ini, the environment and the profile files; and
 * asking there. One source is one of: keys as they stand, a command, a role (asked of STS with the keys of
 * another source), a web identity (STS again), a container's endpoint, the instance's metadata. */
#ifndef SCOUTFS_S3_SOURCE_H
#define SCOUTFS_S3_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/snapshot.h"
#include "scoutfs/aws_env.h"

struct scout_models_config;

enum scout_s3_source_kind {
	SCOUT_SOURCE_NONE, /* anonymous */
	SCOUT_SOURCE_KEYS,
	SCOUT_SOURCE_PROCESS,
	SCOUT_SOURCE_ROLE,
	SCOUT_SOURCE_WEB_IDENTITY,
	SCOUT_SOURCE_CONTAINER,
	SCOUT_SOURCE_INSTANCE,
};

struct scout_s3_source {
	enum scout_s3_source_kind kind;
	char *label;                       /* for people: "profile ml (assumed role arn:…)" */
	struct scout_s3_credentials *keys; /* KEYS */
	bool changes;                      /* KEYS: they are in a file, which others write */
	char *command;                     /* PROCESS */
	struct scout_s3_source *base;      /* ROLE: whose keys ask for it */
	char *role_arn, *session_name;     /* ROLE, WEB_IDENTITY */
	char *external_id;                 /* ROLE: or NULL */
	char *token_file;                  /* WEB_IDENTITY */
	unsigned duration_s;               /* ROLE, WEB_IDENTITY; 0: STS's default */
	char *sts_region;                  /* ROLE, WEB_IDENTITY */
	char *sts_url;                     /* ROLE, WEB_IDENTITY; NULL: AWS's own of the region */
	bool sts_global;                   /* ROLE, WEB_IDENTITY: the endpoint without a region */
	/* INSTANCE: nothing names it, so if there is none, requests are anonymous. */
	bool optional;
};

/* What asking a source needs. */
struct scout_s3_asking {
	const struct scout_aws_env *env;
	int stop_fd;    /* readable: give up */
	int64_t skew_s; /* STS's clock less ours, once it has told */
	char reason[SCOUT_S3_REASON_MAX];
};

/* Reads the profile files, nothing else. Returns 0; -EINVAL for what can never give keys (no such profile,
 * half a pair, SSO, a loop of source_profile…), -errno when a file cannot be read, -ENOMEM; asking->reason
 * says why. */
int scout_s3_source_find(const struct scout_models_config *config, struct scout_s3_asking *asking,
			 struct scout_s3_source **ret);
/* NULL is fine. */
void scout_s3_source_free(struct scout_s3_source *s);

/* Asks it; blocks on a network or a child, for a bounded time, and until stop_fd is readable. Returns 0,
 * -ECANCELED when stopped, -EACCES, -ENOMEM; asking->reason says why. */
int scout_s3_source_ask(const struct scout_s3_source *s, struct scout_s3_asking *asking,
			struct scout_s3_credentials **ret);

/* The single ones; each gives an answer that is checked by who asked. Returns as scout_s3_source_ask. */
int scout_s3_ask_process(const char *command, struct scout_s3_asking *asking,
			 struct scout_s3_answer *ret);
int scout_s3_ask_container(struct scout_s3_asking *asking, struct scout_s3_answer *ret);
int scout_s3_ask_instance(struct scout_s3_asking *asking, struct scout_s3_answer *ret);
/* signer: whose keys sign it (ROLE), or NULL (WEB_IDENTITY). */
int scout_s3_ask_sts(const struct scout_s3_source *s, const struct scout_s3_credentials *signer,
		     struct scout_s3_asking *asking, struct scout_s3_answer *ret);

#endif
