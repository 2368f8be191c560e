/* The answers of ListObjectsV2 and ListObjectVersions (S3 API reference, "Response Syntax"), read with
 * expat.
 *
 * The server is not trusted: depth and every field are bounded, a DOCTYPE (and with it any entity of
 * the document's own) is refused, names are checked, and nothing is handed over before the whole page
 * has proved to be well formed. So the page is read twice: the first time for its form, its token and
 * whether names are percent-encoded (that element may come last), the second time for its entries. */
#include <errno.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "s3/etag.h"
#include "scoutfs/s3.h"

#define MAX_DEPTH 16
#define MAX_FIELD_BYTES 8192 /* a key has up to 1,024 bytes, 3,072 when encoded */

/* What the text of the element being read is for. */
enum field {
	FIELD_NONE,
	FIELD_ENCODING,
	FIELD_TRUNCATED,
	FIELD_TOKEN,
	FIELD_VERSION_MARKER,
	FIELD_KEY,
	FIELD_SIZE,
	FIELD_MODIFIED,
	FIELD_ETAG,
	FIELD_PREFIX,
	FIELD_VERSION,
	FIELD_LATEST,
};

/* Where each field stands: parent is the element at depth 2, NULL for the root's own children. */
static const struct {
	const char *parent;
	const char *name;
	enum field field;
} fields[] = {
    {NULL, "EncodingType", FIELD_ENCODING},
    {NULL, "IsTruncated", FIELD_TRUNCATED},
    {NULL, "NextContinuationToken", FIELD_TOKEN},
    {NULL, "NextKeyMarker", FIELD_TOKEN},
    {NULL, "NextVersionIdMarker", FIELD_VERSION_MARKER},
    {"Contents", "Key", FIELD_KEY},
    {"Contents", "Size", FIELD_SIZE},
    {"Contents", "LastModified", FIELD_MODIFIED},
    {"Contents", "ETag", FIELD_ETAG},
    {"Version", "Key", FIELD_KEY},
    {"Version", "Size", FIELD_SIZE},
    {"Version", "LastModified", FIELD_MODIFIED},
    {"Version", "ETag", FIELD_ETAG},
    {"Version", "VersionId", FIELD_VERSION},
    {"Version", "IsLatest", FIELD_LATEST},
    {"DeleteMarker", "Key", FIELD_KEY},
    {"DeleteMarker", "LastModified", FIELD_MODIFIED},
    {"DeleteMarker", "VersionId", FIELD_VERSION},
    {"DeleteMarker", "IsLatest", FIELD_LATEST},
    {"CommonPrefixes", "Prefix", FIELD_PREFIX},
};

static const char *const groups[] = {"Contents", "Version", "DeleteMarker", "CommonPrefixes"};

struct list_parser {
	XML_Parser xml;
	bool versions;
	bool (*entry)(void *arg, const struct scout_s3_object *o); /* NULL on the first reading */
	void *arg;
	int err;

	unsigned depth;
	const char *group; /* one of groups while inside it */
	enum field field;
	char text[MAX_FIELD_BYTES + 1];
	size_t text_len;

	bool url_encoded;
	bool truncated;
	char *token, *version_marker; /* malloc'ed */

	/* the entry being read */
	char key[MAX_FIELD_BYTES + 1];
	size_t key_len;
	bool has_key, has_size;
	uint64_t bytes;
	time_t modified;
	char etag[SCOUT_ETAG_MAX];
	char version_id[MAX_FIELD_BYTES + 1];
	bool latest;
};

static void stop(struct list_parser *p, int err)
{
	if (p->err)
		return;
	p->err = err;
	XML_StopParser(p->xml, XML_FALSE);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* len bytes of a name into to, decoded when the page says so ('+' is a space, as in forms). Returns its
 * length, or -1. to may be from. */
static ssize_t decode(const struct list_parser *p, const char *from, size_t len, char *to)
{
	const char *end = from + len;
	ssize_t n = 0;

	while (from < end) {
		char c = *from++;

		if (p->url_encoded && c == '%') {
			int high = hex_digit(from[0]);
			int low = high < 0 ? -1 : hex_digit(from[1]);

			if (low < 0)
				return -1;
			c = (char)(high << 4 | low);
			from += 2;
		} else if (p->url_encoded && c == '+') {
			c = ' ';
		}
		to[n++] = c;
	}
	to[n] = '\0';
	return n;
}

static bool take_key(struct list_parser *p)
{
	ssize_t len = decode(p, p->text, p->text_len, p->key);

	p->has_key = len > 0;
	p->key_len = len > 0 ? (size_t)len : 0;
	return len > 0;
}

static void take_text(struct list_parser *p, char **ret)
{
	free(*ret);
	*ret = strdup(p->text);
	if (!*ret)
		stop(p, -ENOMEM);
}

static bool take_size(struct list_parser *p)
{
	uint64_t bytes = 0;

	if (p->text_len == 0 || p->text_len > 18)
		return false;
	for (size_t i = 0; i < p->text_len; i++) {
		if (p->text[i] < '0' || p->text[i] > '9')
			return false;
		bytes = bytes * 10 + (uint64_t)(p->text[i] - '0');
	}
	p->bytes = bytes;
	p->has_size = true;
	return true;
}

/* "2009-10-12T17:50:30.000Z"; 0 when it is not that, for a date is only shown. */
static time_t parse_date(const char *text)
{
	struct tm tm = {0};

	return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? timegm(&tm) : 0;
}

static void end_field(struct list_parser *p)
{
	bool ok = true;

	p->text[p->text_len] = '\0';
	switch (p->field) {
	case FIELD_NONE:
		return;
	case FIELD_ENCODING:
		p->url_encoded = p->url_encoded || strcmp(p->text, "url") == 0;
		break;
	case FIELD_TRUNCATED:
		p->truncated = strcmp(p->text, "true") == 0;
		break;
	case FIELD_TOKEN:
		take_text(p, &p->token);
		break;
	case FIELD_VERSION_MARKER:
		take_text(p, &p->version_marker);
		break;
	case FIELD_VERSION:
		memcpy(p->version_id, p->text, p->text_len + 1);
		break;
	case FIELD_LATEST:
		p->latest = strcmp(p->text, "true") == 0;
		break;
	case FIELD_KEY:
	case FIELD_PREFIX:
		/* Only the second reading knows for sure whether names are encoded. */
		ok = !p->entry || take_key(p);
		break;
	case FIELD_SIZE:
		ok = take_size(p);
		break;
	case FIELD_MODIFIED:
		p->modified = parse_date(p->text);
		break;
	case FIELD_ETAG:
		(void)scout_s3_etag_copy(p->etag, p->text, p->text_len); /* else "": unknown */
		break;
	}
	p->field = FIELD_NONE;
	if (!ok)
		stop(p, -EIO);
}

static void end_entry(struct list_parser *p)
{
	bool is_prefix = strcmp(p->group, "CommonPrefixes") == 0;
	bool deleted = strcmp(p->group, "DeleteMarker") == 0;
	struct scout_s3_object o = {.key = p->key, .key_len = p->key_len, .is_prefix = is_prefix};

	p->group = NULL;
	if (!p->entry)
		return;
	if (!p->has_key || (!is_prefix && !deleted && !p->has_size) ||
	    (!is_prefix && p->versions && !p->version_id[0])) {
		stop(p, -EIO);
		return;
	}
	if (!is_prefix) {
		o.bytes = p->bytes;
		o.modified = p->modified;
		o.etag = p->etag;
	}
	if (!is_prefix && p->versions) {
		o.version_id = p->version_id;
		o.latest = p->latest;
		o.deleted = deleted;
	}
	if (!p->entry(p->arg, &o))
		stop(p, -ECANCELED);
}

static enum field field_of(const struct list_parser *p, const char *name)
{
	if (p->depth != (p->group ? 3 : 2))
		return FIELD_NONE;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		bool here = p->group ? fields[i].parent && strcmp(fields[i].parent, p->group) == 0
				     : !fields[i].parent;

		if (here && strcmp(fields[i].name, name) == 0)
			return fields[i].field;
	}
	return FIELD_NONE;
}

static void start_entry(struct list_parser *p, const char *group)
{
	p->group = group;
	p->has_key = p->has_size = p->latest = false;
	p->bytes = 0;
	p->modified = 0;
	p->etag[0] = p->version_id[0] = '\0';
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct list_parser *p = arg;

	(void)attributes;
	p->depth++;
	if (p->field != FIELD_NONE || p->depth > MAX_DEPTH ||
	    (p->depth == 1 &&
	     strcmp(name, p->versions ? "ListVersionsResult" : "ListBucketResult") != 0)) {
		stop(p, -EIO);
		return;
	}
	p->text_len = 0;
	p->field = field_of(p, name);
	for (size_t i = 0; p->depth == 2 && i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (strcmp(name, groups[i]) == 0)
			start_entry(p, groups[i]);
	}
}

static void on_end(void *arg, const XML_Char *name)
{
	struct list_parser *p = arg;

	(void)name;
	if (p->err)
		return; /* expat may still call this once after a stop */
	end_field(p);
	if (p->depth == 2 && p->group && !p->err)
		end_entry(p);
	p->depth--;
}

static void on_text(void *arg, const XML_Char *text, int len)
{
	struct list_parser *p = arg;

	if (p->field == FIELD_NONE)
		return;
	if ((size_t)len > MAX_FIELD_BYTES - p->text_len) {
		stop(p, -EIO);
		return;
	}
	memcpy(p->text + p->text_len, text, (size_t)len);
	p->text_len += (size_t)len;
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
		       const XML_Char *public_id, int has_internal_subset)
{
	(void)name, (void)system_id, (void)public_id, (void)has_internal_subset;
	stop(arg, -EIO);
}

static int read_page(struct list_parser *p, const char *xml, size_t len)
{
	enum XML_Status status;

	p->xml = XML_ParserCreate("UTF-8");
	if (!p->xml)
		return -ENOMEM;
	p->depth = 0;
	p->group = NULL;
	p->field = FIELD_NONE;
	XML_SetUserData(p->xml, p);
	XML_SetElementHandler(p->xml, on_start, on_end);
	XML_SetCharacterDataHandler(p->xml, on_text);
	XML_SetStartDoctypeDeclHandler(p->xml, on_doctype);
	status = XML_Parse(p->xml, xml, (int)len, 1);
	if (status != XML_STATUS_OK && !p->err)
		p->err = XML_GetErrorCode(p->xml) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EIO;
	XML_ParserFree(p->xml);
	return p->err;
}

/* The tokens of the next page; NULLs when this is the last. */
static int take_tokens(struct list_parser *p, char **next, char **version_marker)
{
	*next = *version_marker = NULL;
	if (!p->truncated)
		return 0;
	/* More to come, and no way to ask for it: a list that ends here would be a lie. */
	if (!p->token || !*p->token)
		return -EIO;
	if (p->versions && decode(p, p->token, strlen(p->token), p->token) < 0)
		return -EIO; /* it is a key */
	*next = p->token;
	*version_marker = p->version_marker;
	p->token = p->version_marker = NULL;
	return 0;
}

static int parse(const void *xml, size_t len, bool versions,
		 bool (*entry)(void *arg, const struct scout_s3_object *o), void *arg, char **next,
		 char **version_marker)
{
	struct list_parser *p;
	int err;

	if (len > INT32_MAX)
		return -EIO;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->versions = versions;
	err = read_page(p, xml, len);
	if (!err)
		err = take_tokens(p, next, version_marker);
	if (!err) {
		p->entry = entry;
		p->arg = arg;
		err = read_page(p, xml, len);
		if (err) {
			free(*next);
			free(*version_marker);
			*next = *version_marker = NULL;
		}
	}
	free(p->token);
	free(p->version_marker);
	free(p);
	return err;
}

int scout_s3_parse_list(const void *xml, size_t len,
			bool (*entry)(void *arg, const struct scout_s3_object *o), void *arg,
			char **next)
{
	char *found = NULL, *none = NULL;
	int err = parse(xml, len, false, entry, arg, &found, &none);

	free(none);
	if (!err)
		*next = found;
	return err;
}

int scout_s3_parse_versions(const void *xml, size_t len,
			    bool (*entry)(void *arg, const struct scout_s3_object *o), void *arg,
			    char **next, char **version_marker)
{
	char *found = NULL, *marker = NULL;
	int err = parse(xml, len, true, entry, arg, &found, &marker);

	if (!err) {
		*next = found;
		*version_marker = marker;
	}
	return err;
}
