/* The answers to multipart uploads' requests (S3 API reference: CreateMultipartUpload,
 * CompleteMultipartUpload, ListMultipartUploads, "Response Syntax"), read with expat.
 *
 * The server is not trusted: depth and every field are bounded, a DOCTYPE is refused, and what is not
 * well formed to its end is an error, whatever was handed over before. */
#include <ctype.h>
#include <errno.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scoutfs/s3.h"

#define MAX_DEPTH 16
#define MAX_FIELD_BYTES 8192

struct reader {
	XML_Parser xml;
	const char *root;
	bool may_fail, failed; /* the root may be an Error; it is */
	/* the text of one leaf; group is NULL for the root's own. -errno ends the reading. NULL: none matters */
	int (*leaf)(struct reader *r, const char *group, const char *name);
	int (*group_end)(struct reader *r, const char *name); /* or NULL */
	int err;
	unsigned depth;
	char group[64];
	bool in_leaf;
	char text[MAX_FIELD_BYTES + 1];
	size_t len;

	char *id;                 /* of the answer to CREATE */
	char *next_key, *next_id; /* markers */
	bool truncated;
	bool (*entry)(void *arg, const struct scout_s3_upload *u);
	void *arg;
	char key[MAX_FIELD_BYTES + 1], upload_id[MAX_FIELD_BYTES + 1];
	size_t key_len;
	time_t begun;
};

static void stop(struct reader *r, int err)
{
	if (r->err || !err)
		return;
	r->err = err;
	XML_StopParser(r->xml, XML_FALSE);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct reader *r = arg;

	(void)attributes;
	r->depth++;
	if (r->depth == 1)
		r->failed = r->may_fail && strcmp(name, "Error") == 0;
	if (r->depth > MAX_DEPTH || (r->depth == 1 && !r->failed && strcmp(name, r->root) != 0)) {
		stop(r, -EIO);
		return;
	}
	r->len = 0;
	r->in_leaf = r->leaf != NULL; /* until another begins in it */
	if (r->depth == 2) {
		r->group[0] = '\0';
		if (strlen(name) < sizeof(r->group))
			strcpy(r->group, name);
		r->key_len = 0;
		r->upload_id[0] = '\0';
		r->begun = 0;
	}
}

static void on_end(void *arg, const XML_Char *name)
{
	struct reader *r = arg;

	if (r->err)
		return; /* expat may still call this once after a stop */
	r->text[r->len] = '\0';
	if (r->in_leaf && (r->depth == 2 || r->depth == 3))
		stop(r, r->leaf(r, r->depth == 3 ? r->group : NULL, name));
	else if (r->depth == 2 && r->group_end)
		stop(r, r->group_end(r, name));
	r->in_leaf = false;
	r->depth--;
}

static void on_text(void *arg, const XML_Char *text, int len)
{
	struct reader *r = arg;

	if (!r->in_leaf)
		return;
	if ((size_t)len > MAX_FIELD_BYTES - r->len) {
		stop(r, -EIO);
		return;
	}
	memcpy(r->text + r->len, text, (size_t)len);
	r->len += (size_t)len;
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
		       const XML_Char *public_id, int has_internal_subset)
{
	(void)name, (void)system_id, (void)public_id, (void)has_internal_subset;
	stop(arg, -EIO);
}

static int read_all(struct reader *r, const void *xml, size_t len)
{
	enum XML_Status status;

	if (len > INT32_MAX)
		return -EIO;
	r->xml = XML_ParserCreate("UTF-8");
	if (!r->xml)
		return -ENOMEM;
	XML_SetUserData(r->xml, r);
	XML_SetElementHandler(r->xml, on_start, on_end);
	XML_SetCharacterDataHandler(r->xml, on_text);
	XML_SetStartDoctypeDeclHandler(r->xml, on_doctype);
	status = XML_Parse(r->xml, xml, (int)len, 1);
	if (status != XML_STATUS_OK && !r->err)
		r->err = XML_GetErrorCode(r->xml) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EIO;
	XML_ParserFree(r->xml);
	return r->err;
}

static int keep(struct reader *r, char **field)
{
	free(*field);
	*field = strdup(r->text);
	return *field ? 0 : -ENOMEM;
}

static int take_id(struct reader *r, const char *group, const char *name)
{
	if (group || strcmp(name, "UploadId") != 0)
		return 0;
	return r->len > 0 ? keep(r, &r->id) : -EIO;
}

int scout_s3_parse_upload_id(const void *xml, size_t len, char **ret)
{
	struct reader *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->root = "InitiateMultipartUploadResult";
	r->leaf = take_id;
	err = read_all(r, xml, len);
	if (!err && !r->id)
		err = -EIO;
	if (!err)
		*ret = r->id;
	else
		free(r->id);
	free(r);
	return err;
}

int scout_s3_parse_completion(const void *xml, size_t len, bool *failed)
{
	struct reader *r = calloc(1, sizeof(*r));
	const char *bytes = xml;
	int err;

	if (!r)
		return -ENOMEM;
	r->root = "CompleteMultipartUploadResult";
	r->may_fail = true;
	/* what keeps the connection alive until it is known; XML has no blanks before its declaration */
	while (len > 0 && isspace((unsigned char)*bytes))
		bytes++, len--;
	err = read_all(r, bytes, len);
	if (!err)
		*failed = r->failed;
	free(r);
	return err;
}

/* Keys are not asked for percent-encoded: radosgw encodes those of the entries only, and does not say so. */
static int take_marker(struct reader *r, const char *name)
{
	if (strcmp(name, "IsTruncated") == 0)
		r->truncated = strcmp(r->text, "true") == 0;
	else if (strcmp(name, "NextUploadIdMarker") == 0)
		return keep(r, &r->next_id);
	else if (strcmp(name, "NextKeyMarker") == 0)
		return keep(r, &r->next_key);
	return 0;
}

static int take_field(struct reader *r, const char *group, const char *name)
{
	struct tm tm = {0};

	if (!group)
		return take_marker(r, name);
	if (strcmp(group, "Upload") != 0)
		return 0;
	if (strcmp(name, "Key") == 0) {
		memcpy(r->key, r->text, r->len + 1);
		r->key_len = r->len;
	} else if (strcmp(name, "UploadId") == 0) {
		memcpy(r->upload_id, r->text, r->len + 1);
	} else if (strcmp(name, "Initiated") == 0) {
		r->begun = strptime(r->text, "%Y-%m-%dT%H:%M:%S", &tm) ? timegm(&tm) : 0;
	}
	return 0;
}

static int take_upload(struct reader *r, const char *name)
{
	struct scout_s3_upload u = {.key = r->key, .id = r->upload_id, .begun = r->begun};

	if (strcmp(name, "Upload") != 0)
		return 0;
	if (r->key_len == 0 || !*r->upload_id)
		return -EIO;
	u.key_len = r->key_len;
	return r->entry(r->arg, &u) ? 0 : -ECANCELED;
}

int scout_s3_parse_uploads(const void *xml, size_t len,
			   bool (*entry)(void *arg, const struct scout_s3_upload *u), void *arg,
			   char **next_key, char **next_id)
{
	struct reader *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->root = "ListMultipartUploadsResult";
	r->leaf = take_field;
	r->group_end = take_upload;
	r->entry = entry;
	r->arg = arg;
	err = read_all(r, xml, len);
	if (!err && r->truncated && (!r->next_key || !*r->next_key || !r->next_id))
		err = -EIO; /* more to come, and no way to ask for it */
	*next_key = *next_id = NULL;
	if (!err && r->truncated) {
		*next_key = r->next_key;
		*next_id = r->next_id;
	} else {
		free(r->next_key);
		free(r->next_id);
	}
	free(r);
	return err;
}
