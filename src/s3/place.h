/* Where a bucket is: the host that is asked, in path style (http://host/bucket/key), virtual-host style
 * (http://bucket.host/key) or as an access point, and the region that requests are signed for. Pure. */
#ifndef SCOUTFS_S3_PLACE_H
#define SCOUTFS_S3_PLACE_H

struct scout_models_config;

#define SCOUT_S3_REGION_MAX 64

struct scout_s3_place {
	char *scheme; /* with its "://" */
	char *host;   /* the Host header's value */
	char *base;   /* of paths: "" or "/bucket" */
	char region[SCOUT_S3_REGION_MAX];
};

/* region NULL: the config's, or the access point's. Another one, as an endpoint says, also moves the
 * host if that is AWS's. Returns 0 or -ENOMEM. */
int scout_s3_place_new(const struct scout_models_config *config, const char *region,
		       struct scout_s3_place *ret);
void scout_s3_place_free(struct scout_s3_place *place);

#endif
