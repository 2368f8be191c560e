/* ETags; see etag.h. They come from a server and go back to it in If-Match, so a line break in one
 * would be a header of the server's choice in our signed request. */
#include "s3/etag.h"

#include <string.h>

static bool is_etag_byte(unsigned char c)
{
	return c == 0x21 || (c >= 0x23 && c != 0x7f);
}

bool scout_s3_etag_is_weak(const char *etag)
{
	return strncmp(etag, "W/", 2) == 0;
}

static const char *opaque_tag(const char *etag)
{
	return scout_s3_etag_is_weak(etag) ? etag + 2 : etag;
}

bool scout_s3_etag_same(const char *a, const char *b)
{
	return strcmp(opaque_tag(a), opaque_tag(b)) == 0;
}

bool scout_s3_etag_copy(char dst[SCOUT_ETAG_MAX], const char *etag, size_t len)
{
	size_t weak = 0;

	dst[0] = '\0';
	while (len > 0 && (*etag == ' ' || *etag == '\t'))
		etag++, len--;
	while (len > 0 && (etag[len - 1] == ' ' || etag[len - 1] == '\t'))
		len--;
	if (len >= 2 && memcmp(etag, "W/", 2) == 0) {
		weak = 2;
		etag += 2, len -= 2;
	}
	if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"')
		etag++, len -= 2;
	if (len == 0 || weak + len + 3 > SCOUT_ETAG_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!is_etag_byte((unsigned char)etag[i]))
			return false;
	}
	memcpy(dst, "W/", weak);
	dst[weak] = '"';
	memcpy(dst + weak + 1, etag, len);
	memcpy(dst + weak + 1 + len, "\"", 2);
	return true;
}
