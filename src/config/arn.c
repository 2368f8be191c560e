/* Access points; see scoutfs/arn.h. The form is that of "Amazon Resource Names" and "Using access
 * points" in AWS's documents. */
#include "scoutfs/arn.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

bool scout_is_arn(const char *text)
{
	return strncmp(text, "arn:", 4) == 0;
}

/* Takes what is before one of ends off *text, and that one too; it must fit in buf. */
static bool take(const char **text, const char *ends, char *buf, size_t cap)
{
	size_t len = strcspn(*text, ends);

	if (len >= cap)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)(*text)[i]) && (*text)[i] != '-')
			return false;
	}
	memcpy(buf, *text, len);
	buf[len] = '\0';
	*text += len + ((*text)[len] != '\0');
	return true;
}

static bool is_account(const char *text)
{
	return strlen(text) == 12 && strspn(text, "0123456789") == 12;
}

int scout_access_point_parse(const char *arn, struct scout_access_point *ret, const char **why)
{
	struct scout_access_point p;
	char service[32], kind[32];
	const char *rest = arn + strlen("arn:");

	*why = "an access point is arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME";
	if (!scout_is_arn(arn) || !take(&rest, ":", p.partition, sizeof(p.partition)) ||
	    !take(&rest, ":", service, sizeof(service)) ||
	    !take(&rest, ":", p.region, sizeof(p.region)) ||
	    !take(&rest, ":", p.account, sizeof(p.account)) ||
	    !take(&rest, "/:", kind, sizeof(kind)))
		return -EINVAL;
	if (strcmp(service, "s3") != 0) {
		*why =
		    "only access points of S3 itself are known: neither Outposts nor Object Lambda";
		return -EINVAL;
	}
	if (strcmp(kind, "accesspoint") == 0 && p.region[0] == '\0') {
		*why = "an access point of several regions needs signatures that we do not make";
		return -EINVAL;
	}
	if (strncmp(p.partition, "aws", 3) != 0 || p.region[0] == '\0' || !is_account(p.account) ||
	    strcmp(kind, "accesspoint") != 0 || !take(&rest, "", p.name, sizeof(p.name)) ||
	    strlen(p.name) < 3)
		return -EINVAL;
	*ret = p;
	return 0;
}
