/* Keys as JSON; see answer.h. By cJSON, whose strings are wiped before it frees them. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "s3/answer.h"
#include "scoutfs/text.h"

/* cJSON goes down one frame for each; a flat object has one. */
#define MAX_BRACKETS 16

bool scout_s3_parse_time(const char *text, int64_t *ret)
{
	struct tm tm = {0};
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t offset_s = 0;
	int sign, hours, minutes, end = 0;

	if (!p)
		return false;
	if (*p == '.')
		p += 1 + strspn(p + 1, "0123456789");
	if (*p == '+' || *p == '-') {
		sign = *p == '-' ? -1 : 1;
		if ((sscanf(p + 1, "%2d:%2d%n", &hours, &minutes, &end) != 2 || p[1 + end]) &&
		    (sscanf(p + 1, "%2d%2d%n", &hours, &minutes, &end) != 2 || p[1 + end]))
			return false;
		offset_s = sign * (hours * 3600 + minutes * 60);
	} else if (strcmp(p, "Z") != 0) {
		return false;
	}
	*ret = (int64_t)timegm(&tm) - offset_s;
	return true;
}

static bool is_flat(const char *json, size_t len)
{
	unsigned brackets = 0;

	for (size_t i = 0; i < len; i++)
		brackets += json[i] == '{' || json[i] == '[';
	return brackets <= MAX_BRACKETS;
}

static void wipe_json(cJSON *json)
{
	cJSON *item;

	cJSON_ArrayForEach(item, json)
	{
		if (cJSON_IsString(item) && item->valuestring)
			explicit_bzero(item->valuestring, strlen(item->valuestring));
	}
	cJSON_Delete(json);
}

static const char *string_of(const cJSON *json, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsString(item) && *item->valuestring ? item->valuestring : NULL;
}

static int refuse(char reason[SCOUT_S3_REASON_MAX], const char *why)
{
	snprintf(reason, SCOUT_S3_REASON_MAX, "%s", why);
	return -EINVAL;
}

/* Metadata endpoints say so with status 200, too. */
static int refuse_code(char reason[SCOUT_S3_REASON_MAX], const char *code, const char *message)
{
	char a[64], b[160];

	snprintf(reason, SCOUT_S3_REASON_MAX, "%s: %s", scout_format_name(a, sizeof(a), code),
		 scout_format_name(b, sizeof(b), message ? message : ""));
	return -EINVAL;
}

static int take(const cJSON *json, enum scout_s3_json_kind kind, struct scout_s3_answer *ret,
		char reason[SCOUT_S3_REASON_MAX])
{
	const char *token = kind == SCOUT_JSON_PROCESS ? "SessionToken" : "Token";
	const char *id = string_of(json, "AccessKeyId"),
		   *secret = string_of(json, "SecretAccessKey");
	const char *expires = string_of(json, "Expiration"), *code = string_of(json, "Code");
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(json, "Version");
	struct scout_s3_answer a = {0};

	if (kind == SCOUT_JSON_PROCESS &&
	    !(cJSON_IsNumber(version) && version->valueint == 1 && version->valuedouble == 1))
		return refuse(reason, "its Version is not 1");
	if (kind == SCOUT_JSON_METADATA && code && strcmp(code, "Success") != 0)
		return refuse_code(reason, code, string_of(json, "Message"));
	if (!id || !secret)
		return refuse(reason, "it has no AccessKeyId or no SecretAccessKey");
	if (!expires && kind == SCOUT_JSON_METADATA)
		return refuse(reason, "it has no Expiration");
	if (expires && !scout_s3_parse_time(expires, &a.expires_s))
		return refuse(reason, "its Expiration is no time");
	if (expires && a.expires_s < 1)
		a.expires_s = 1; /* long ago; 0 would be never */
	a.access_key_id = strdup(id);
	a.secret_access_key = strdup(secret);
	token = string_of(json, token);
	a.session_token = token ? strdup(token) : NULL;
	if (!a.access_key_id || !a.secret_access_key || (token && !a.session_token)) {
		scout_s3_answer_free(&a);
		(void)refuse(reason, "no memory");
		return -ENOMEM;
	}
	*ret = a;
	return 0;
}

int scout_s3_parse_json(const char *json, size_t len, enum scout_s3_json_kind kind,
			struct scout_s3_answer *ret, char reason[SCOUT_S3_REASON_MAX])
{
	cJSON *parsed = is_flat(json, len) ? cJSON_ParseWithLength(json, len) : NULL;
	int err = cJSON_IsObject(parsed) ? take(parsed, kind, ret, reason)
					 : refuse(reason, "it is not a JSON object");

	wipe_json(parsed);
	return err;
}
