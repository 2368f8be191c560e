/* ListObjectsV2's answer (S3 API reference, ListObjectsV2, "Response Syntax"), read with expat.
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
	FIELD_KEY,
	FIELD_SIZE,
	FIELD_MODIFIED,
	FIELD_ETAG,
	FIELD_PREFIX,
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
    {"Contents", "Key", FIELD_KEY},
    {"Contents", "Size", FIELD_SIZE},
    {"Contents", "LastModified", FIELD_MODIFIED},
    {"Contents", "ETag", FIELD_ETAG},
    {"CommonPrefixes", "Prefix", FIELD_PREFIX},
};

struct list_parser {
	XML_Parser xml;
	bool (*entry)(void *arg, const struct scout_s3_object *o); /* NULL on the first reading */
	void *arg;
	int err;

	unsigned depth;
	const char *group; /* "Contents" or "CommonPrefixes" while inside one */
	enum field field;
	char text[MAX_FIELD_BYTES + 1];
	size_t text_len;

	bool url_encoded;
	bool truncated;
	char *token; /* malloc'ed */

	/* the entry being read */
	char key[MAX_FIELD_BYTES + 1];
	size_t key_len;
	bool has_key, has_size;
	uint64_t bytes;
	time_t modified;
	char etag[SCOUT_ETAG_MAX];
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

/* The key in text, decoded when the page says so ('+' is a space, as in forms). */
static bool take_key(struct list_parser *p)
{
	const char *from = p->text;
	size_t len = 0;

	while (from < p->text + p->text_len) {
		char c = *from++;

		if (p->url_encoded && c == '%') {
			int high = hex_digit(from[0]);
			int low = high < 0 ? -1 : hex_digit(from[1]);

			if (low < 0)
				return false;
			c = (char)(high << 4 | low);
			from += 2;
		} else if (p->url_encoded && c == '+') {
			c = ' ';
		}
		p->key[len++] = c;
	}
	p->key[len] = '\0';
	p->key_len = len;
	p->has_key = true;
	return len > 0;
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
		free(p->token);
		p->token = strdup(p->text);
		if (!p->token)
			stop(p, -ENOMEM);
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
	struct scout_s3_object o = {.key = p->key, .key_len = p->key_len, .is_prefix = is_prefix};

	p->group = NULL;
	if (!p->entry)
		return;
	if (!p->has_key || (!is_prefix && !p->has_size)) {
		stop(p, -EIO);
		return;
	}
	if (!is_prefix) {
		o.bytes = p->bytes;
		o.modified = p->modified;
		o.etag = p->etag;
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

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct list_parser *p = arg;

	(void)attributes;
	p->depth++;
	if (p->field != FIELD_NONE || p->depth > MAX_DEPTH ||
	    (p->depth == 1 && strcmp(name, "ListBucketResult") != 0)) {
		stop(p, -EIO);
		return;
	}
	p->text_len = 0;
	p->field = field_of(p, name);
	if (p->depth == 2 && strcmp(name, "Contents") == 0)
		p->group = "Contents";
	else if (p->depth == 2 && strcmp(name, "CommonPrefixes") == 0)
		p->group = "CommonPrefixes";
	else
		return;
	p->has_key = p->has_size = false;
	p->modified = 0;
	p->etag[0] = '\0';
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

int scout_s3_parse_list(const void *xml, size_t len,
			bool (*entry)(void *arg, const struct scout_s3_object *o), void *arg,
			char **next)
{
	struct list_parser *p;
	int err;

	if (len > INT32_MAX)
		return -EIO;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	err = read_page(p, xml, len);
	/* More to come, and no way to ask for it: a list that ends here would be a lie. */
	if (!err && p->truncated && (!p->token || !*p->token))
		err = -EIO;
	if (!err) {
		p->entry = entry;
		p->arg = arg;
		err = read_page(p, xml, len);
	}
	if (!err) {
		*next = p->truncated ? p->token : NULL;
		if (p->truncated)
			p->token = NULL;
	}
	free(p->token);
	free(p);
	return err;
}
