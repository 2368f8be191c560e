/* Keys as STS's XML; see answer.h. By expat. Taken are the fields right below a Credentials or an Error
 * element, wherever that is; a document type is refused, and with it every entity of its own. */
#include <errno.h>
#include <expat.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3/answer.h"
#include "scoutfs/text.h"

#define MAX_DEPTH 16
#define MAX_FIELD_BYTES 16384

enum field {
	FIELD_ID,
	FIELD_SECRET,
	FIELD_TOKEN,
	FIELD_EXPIRES,
	FIELD_CODE,
	FIELD_MESSAGE,
	FIELDS
};

static const struct {
	const char *group;
	const char *name;
} fields[FIELDS] = {
    [FIELD_ID] = {"Credentials", "AccessKeyId"},
    [FIELD_SECRET] = {"Credentials", "SecretAccessKey"},
    [FIELD_TOKEN] = {"Credentials", "SessionToken"},
    [FIELD_EXPIRES] = {"Credentials", "Expiration"},
    [FIELD_CODE] = {"Error", "Code"},
    [FIELD_MESSAGE] = {"Error", "Message"},
};

struct sts_parser {
	XML_Parser xml;
	int err;
	unsigned depth;
	const char *group;    /* "Credentials" or "Error" while inside, else NULL */
	unsigned group_depth; /* the group's own */
	enum field field;     /* FIELDS: none */
	char *value[FIELDS];
	size_t len;
	char text[MAX_FIELD_BYTES + 1];
};

static void stop(struct sts_parser *p, int err)
{
	p->err = err;
	(void)XML_StopParser(p->xml, XML_FALSE); /* fails only when it has stopped already */
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct sts_parser *p = arg;

	(void)attributes;
	p->depth++;
	if (p->field != FIELDS || p->depth > MAX_DEPTH) {
		stop(p, -EINVAL);
		return;
	}
	for (int i = 0; i < FIELDS; i++) {
		if (p->group && p->depth == p->group_depth + 1 &&
		    strcmp(p->group, fields[i].group) == 0 && strcmp(name, fields[i].name) == 0)
			p->field = (enum field)i;
		if (!p->group && strcmp(name, fields[i].group) == 0) {
			p->group = fields[i].group;
			p->group_depth = p->depth;
		}
	}
	p->len = 0;
}

static void on_end(void *arg, const XML_Char *name)
{
	struct sts_parser *p = arg;

	(void)name;
	if (p->err)
		return; /* expat may still call this once after a stop */
	if (p->field != FIELDS) {
		p->text[p->len] = '\0';
		scout_wipe(p->value[p->field]);
		p->value[p->field] = strdup(p->text);
		if (!p->value[p->field])
			stop(p, -ENOMEM);
		p->field = FIELDS;
	}
	if (p->group && p->depth == p->group_depth)
		p->group = NULL;
	p->depth--;
}

static void on_text(void *arg, const XML_Char *text, int len)
{
	struct sts_parser *p = arg;

	if (p->field == FIELDS)
		return;
	if ((size_t)len > MAX_FIELD_BYTES - p->len) {
		stop(p, -EINVAL);
		return;
	}
	memcpy(p->text + p->len, text, (size_t)len);
	p->len += (size_t)len;
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
		       const XML_Char *public_id, int has_internal_subset)
{
	(void)name, (void)system_id, (void)public_id, (void)has_internal_subset;
	stop(arg, -EINVAL);
}

static int parse(struct sts_parser *p, const char *xml, size_t len)
{
	p->xml = XML_ParserCreate("UTF-8");
	if (!p->xml)
		return -ENOMEM;
	p->field = FIELDS;
	XML_SetUserData(p->xml, p);
	XML_SetElementHandler(p->xml, on_start, on_end);
	XML_SetCharacterDataHandler(p->xml, on_text);
	XML_SetStartDoctypeDeclHandler(p->xml, on_doctype);
	if (XML_Parse(p->xml, xml, (int)len, 1) != XML_STATUS_OK && !p->err)
		p->err = XML_GetErrorCode(p->xml) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EINVAL;
	XML_ParserFree(p->xml);
	return p->err;
}

static int take(struct sts_parser *p, struct scout_s3_answer *ret, char reason[SCOUT_S3_REASON_MAX])
{
	char code[64], message[180];
	int64_t expires_s;

	if (p->value[FIELD_CODE]) {
		scout_format_name(code, sizeof(code), p->value[FIELD_CODE]);
		scout_format_name(message, sizeof(message),
				  p->value[FIELD_MESSAGE] ? p->value[FIELD_MESSAGE] : "");
		snprintf(reason, SCOUT_S3_REASON_MAX, "%s: %s", code, message);
		return -EINVAL;
	}
	if (!p->value[FIELD_ID] || !p->value[FIELD_SECRET] || !p->value[FIELD_TOKEN] ||
	    !p->value[FIELD_EXPIRES] || !scout_s3_parse_time(p->value[FIELD_EXPIRES], &expires_s)) {
		snprintf(reason, SCOUT_S3_REASON_MAX, "the answer holds no whole credentials");
		return -EINVAL;
	}
	*ret = (struct scout_s3_answer){
	    .access_key_id = p->value[FIELD_ID],
	    .secret_access_key = p->value[FIELD_SECRET],
	    .session_token = p->value[FIELD_TOKEN],
	    .expires_s = expires_s > 0 ? expires_s : 1, /* long ago; 0 would be never */
	};
	p->value[FIELD_ID] = p->value[FIELD_SECRET] = p->value[FIELD_TOKEN] = NULL;
	return 0;
}

int scout_s3_parse_sts(const char *xml, size_t len, struct scout_s3_answer *ret,
		       char reason[SCOUT_S3_REASON_MAX])
{
	struct sts_parser *p = len <= INT32_MAX ? calloc(1, sizeof(*p)) : NULL;
	int err = p ? parse(p, xml, len) : -ENOMEM;

	if (err)
		snprintf(reason, SCOUT_S3_REASON_MAX, "%s",
			 err == -ENOMEM ? "no memory" : "the answer is not STS's XML");
	else
		err = take(p, ret, reason);
	if (p) {
		for (int i = 0; i < FIELDS; i++)
			scout_wipe(p->value[i]);
		explicit_bzero(p->text, sizeof(p->text));
	}
	free(p);
	return err;
}
