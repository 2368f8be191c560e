/* ListObjectsV2's and ListObjectVersions' answers: right, odd, broken and hostile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scoutfs/s3.h"
#include "scoutfs/text.h"

#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define OBJECT(key)                                                                         \
	"<Contents><Key>" key "</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>" \
	"<ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag><Size>434234</Size>"      \
	"<StorageClass>STANDARD</StorageClass><Owner><ID>x</ID></Owner></Contents>"
#define PAGE(body)                                                                \
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult" NS ">" body \
	"</ListBucketResult>"

/* What was handed over: "key:bytes:modified:etag\n", "key/\n" for prefixes; NULs as \0. */
struct seen {
	struct scout_text text;
	size_t entries;
	size_t stop_after; /* 0: never */
};

static bool note(void *arg, const struct scout_s3_object *o)
{
	struct seen *s = arg;

	assert_int_equal(o->key[o->key_len], '\0');
	for (size_t i = 0; i < o->key_len; i++) {
		if (o->key[i] == '\0')
			scout_text_printf(&s->text, "\\0");
		else
			scout_text_append(&s->text, &o->key[i], 1);
	}
	if (o->is_prefix)
		scout_text_printf(&s->text, " (prefix)\n");
	else
		scout_text_printf(&s->text, " %llu %lld %s\n", (unsigned long long)o->bytes,
				  (long long)o->modified, o->etag);
	return ++s->entries != s->stop_after;
}

static void accept_page(const char *xml, const char *expected, const char *token)
{
	struct seen s = {0};
	char *next = (char *)-1;

	assert_int_equal(scout_s3_parse_list(xml, strlen(xml), note, &s, &next), 0);
	assert_string_equal(s.text.str ? s.text.str : "", expected);
	if (token)
		assert_string_equal(next, token);
	else
		assert_null(next);
	free(next);
	scout_text_free(&s.text);
}

static void refuse_page(const char *xml, size_t len)
{
	struct seen s = {0};
	char *next = NULL;

	assert_int_equal(scout_s3_parse_list(xml, len, note, &s, &next), -EIO);
	assert_int_equal(s.entries, 0);
	assert_null(next);
}

static void objects_and_prefixes(void **state)
{
	(void)state;
	accept_page(
	    PAGE("<Name>reg</Name><Prefix>Prefix is no entry</Prefix><KeyCount>2</KeyCount>"
		 "<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>" OBJECT(
		     "a/b.zip") "<CommonPrefixes><Prefix>photos/</Prefix></CommonPrefixes>"),
	    "a/b.zip 434234 1255369830 \"fba9dede5f27731c9771645a39863328\"\n"
	    "photos/ (prefix)\n",
	    NULL);
	accept_page(PAGE(""), "", NULL);
	accept_page("<ListBucketResult/>", "", NULL);
}

static void names_are_decoded_wherever_the_encoding_is_said(void **state)
{
	const char *expected = "a b+\n\\0\xc3\xbc%/ 434234 1255369830 "
			       "\"fba9dede5f27731c9771645a39863328\"\np q/ (prefix)\n";

	(void)state;
	accept_page(PAGE("<EncodingType>url</EncodingType>" OBJECT(
			"a+b%2B%0A%00%C3%bc%25/") "<CommonPrefixes><Prefix>p%20q/</Prefix></"
						  "CommonPrefixes>"),
		    expected, NULL);
	accept_page(
	    PAGE(OBJECT(
		"a+b%2B%0A%00%C3%bc%25/") "<CommonPrefixes><Prefix>p%20q/</Prefix></CommonPrefixes>"
					  "<EncodingType>url</EncodingType>"),
	    expected, NULL);
}

static void names_that_are_not_encoded_stay(void **state)
{
	(void)state;
	accept_page(PAGE("<Contents><Key>a+b%20&amp;&lt;&#10;<![CDATA[<]]></Key><Size>0</Size>"
			 "</Contents>"),
		    "a+b%20&<\n< 0 0 \n", NULL);
}

static void etags_that_could_break_a_header_are_unknown(void **state)
{
	(void)state;
	accept_page(
	    PAGE("<Contents><Key>k</Key><Size>1</Size><ETag>\"a&#13;&#10;b\"</ETag></Contents>"
		 "<Contents><Key>l</Key><Size>1</Size><ETag>bare</ETag></Contents>"
		 "<Contents><Key>m</Key><Size>1</Size><LastModified>?</LastModified></Contents>"),
	    "k 1 0 \nl 1 0 \"bare\"\nm 1 0 \n", NULL);
}

static void the_token_counts_only_when_there_is_more(void **state)
{
	const char more[] = PAGE("<IsTruncated>true</IsTruncated>");
	const char empty[] =
	    PAGE("<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>");

	(void)state;
	accept_page(PAGE("<IsTruncated>true</IsTruncated>"
			 "<NextContinuationToken>1ue+/=</NextContinuationToken>"),
		    "", "1ue+/=");
	accept_page(PAGE("<NextContinuationToken>x</NextContinuationToken>"
			 "<IsTruncated>false</IsTruncated>"),
		    "", NULL);
	refuse_page(more, strlen(more));
	refuse_page(empty, strlen(empty));
}

static void every_truncation_is_refused_before_any_entry(void **state)
{
	const char xml[] = PAGE("<EncodingType>url</EncodingType>" OBJECT("a") OBJECT("b"));

	(void)state;
	for (size_t len = 0; len < strlen(xml); len++)
		refuse_page(xml, len);
}

static void other_documents_are_refused(void **state)
{
	static const char *const pages[] = {
	    "<Error><Code>InternalError</Code></Error>",
	    "<html><body>captive portal</body></html>",
	    "not xml",
	    PAGE("") "x",
	    PAGE("<Contents><Size>1</Size></Contents>"),
	    PAGE("<Contents><Key>k</Key></Contents>"),
	    PAGE("<Contents><Key></Key><Size>1</Size></Contents>"),
	    PAGE("<Contents><Key>k</Key><Size></Size></Contents>"),
	    PAGE("<Contents><Key>k</Key><Size>-1</Size></Contents>"),
	    PAGE("<Contents><Key>k</Key><Size>1e3</Size></Contents>"),
	    PAGE("<Contents><Key>k</Key><Size>9999999999999999999</Size></Contents>"),
	    PAGE("<Contents><Key>a<b/>c</Key><Size>1</Size></Contents>"),
	    PAGE("<CommonPrefixes></CommonPrefixes>"),
	    PAGE("<Contents><Key>\xff\xfe</Key><Size>1</Size></Contents>"),
	    PAGE("<EncodingType>url</EncodingType><Contents><Key>%</Key><Size>1</Size></Contents>"),
	    PAGE(
		"<EncodingType>url</EncodingType><Contents><Key>%4</Key><Size>1</Size></Contents>"),
	    PAGE("<EncodingType>url</EncodingType><Contents><Key>%zz</Key><Size>1</Size></"
		 "Contents>"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		struct seen s = {0};
		char *next = NULL;

		if (scout_s3_parse_list(pages[i], strlen(pages[i]), note, &s, &next) != -EIO)
			fail_msg("taken: %s", pages[i]);
		assert_null(next);
		scout_text_free(&s.text);
	}
}

static void entities_of_its_own_are_refused(void **state)
{
	static const char bomb[] =
	    "<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\">"
	    "<!ENTITY c \"&b;&b;&b;\">]><ListBucketResult>" OBJECT("&c;") "</ListBucketResult>";
	static const char external[] =
	    "<!DOCTYPE l [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><ListBucketResult>" OBJECT(
		"&x;") "</ListBucketResult>";
	static const char doctype[] = "<!DOCTYPE l><ListBucketResult/>";

	(void)state;
	refuse_page(bomb, strlen(bomb));
	refuse_page(external, strlen(external));
	refuse_page(doctype, strlen(doctype));
}

static void depth_and_fields_are_bounded(void **state)
{
	struct scout_text t = {0};

	(void)state;
	scout_text_printf(&t, "<ListBucketResult>");
	for (int i = 0; i < 100000; i++)
		scout_text_append(&t, "<a>", 3);
	refuse_page(t.str, t.len);
	scout_text_free(&t);

	scout_text_printf(&t, "<ListBucketResult><Contents><Key>");
	for (int i = 0; i < 1000; i++)
		scout_text_append(&t, "0123456789", 10);
	scout_text_printf(&t, "</Key><Size>1</Size></Contents></ListBucketResult>");
	refuse_page(t.str, t.len);
	scout_text_free(&t);
}

static void a_long_listing_comes_whole_over_its_pages(void **state)
{
	const unsigned total = 2500;
	struct seen s = {0};
	char *token = NULL;
	unsigned sent = 0, pages = 0;

	(void)state;
	do {
		struct scout_text t = {0};
		char *next = NULL;

		scout_text_printf(&t, "<ListBucketResult>");
		for (unsigned i = 0; i < 1000 && sent < total; i++, sent++)
			scout_text_printf(
			    &t, "<Contents><Key>k%04u</Key><Size>%u</Size></Contents>", sent, sent);
		scout_text_printf(&t, "<IsTruncated>%s</IsTruncated>",
				  sent < total ? "true" : "false");
		if (sent < total)
			scout_text_printf(&t, "<NextContinuationToken>%u</NextContinuationToken>",
					  sent);
		scout_text_printf(&t, "</ListBucketResult>");
		assert_int_equal(scout_s3_parse_list(t.str, t.len, note, &s, &next), 0);
		scout_text_free(&t);
		free(token);
		token = next;
		pages++;
	} while (token);
	assert_int_equal(s.entries, total);
	assert_int_equal(pages, 3);
	assert_non_null(strstr(s.text.str, "k2499 2499 0 \n"));
	scout_text_free(&s.text);
}

static void the_caller_can_stop(void **state)
{
	const char xml[] = PAGE(OBJECT("a") OBJECT("b") OBJECT("c"));
	struct seen s = {.stop_after = 2};
	char *next = NULL;

	(void)state;
	assert_int_equal(scout_s3_parse_list(xml, strlen(xml), note, &s, &next), -ECANCELED);
	assert_int_equal(s.entries, 2);
	assert_null(next);
	scout_text_free(&s.text);
}

#define VERSIONS(body) "<ListVersionsResult" NS ">" body "</ListVersionsResult>"

static bool note_version(void *arg, const struct scout_s3_object *o)
{
	struct seen *s = arg;

	scout_text_printf(&s->text, "%s", o->key);
	if (!o->is_prefix)
		scout_text_printf(&s->text, " %s%s%s %llu %s", o->version_id,
				  o->latest ? " latest" : "", o->deleted ? " deleted" : "",
				  (unsigned long long)o->bytes, o->etag);
	scout_text_printf(&s->text, "\n");
	return true;
}

static void versions(void **state)
{
	const char *page = VERSIONS(
	    "<IsTruncated>true</IsTruncated><NextKeyMarker>a%2Fb+c</NextKeyMarker>"
	    "<NextVersionIdMarker>x.1</NextVersionIdMarker><EncodingType>url</EncodingType>"
	    "<Version><Key>a%2Fb</Key><VersionId>v2</VersionId><IsLatest>true</IsLatest>"
	    "<Size>7</Size><ETag>\"e2\"</ETag></Version>"
	    "<DeleteMarker><Key>a%2Fc</Key><VersionId>d1</VersionId><IsLatest>true</IsLatest>"
	    "</DeleteMarker>"
	    "<Version><Key>a%2Fc</Key><VersionId>null</VersionId><IsLatest>false</IsLatest>"
	    "<Size>5</Size><ETag>\"e1\"</ETag></Version>"
	    "<CommonPrefixes><Prefix>a%2Fd/</Prefix></CommonPrefixes>");
	struct seen s = {0};
	char *next = NULL, *marker = NULL;

	(void)state;
	assert_int_equal(
	    scout_s3_parse_versions(page, strlen(page), note_version, &s, &next, &marker), 0);
	assert_string_equal(s.text.str, "a/b v2 latest 7 \"e2\"\n"
					"a/c d1 latest deleted 0 \n"
					"a/c null 5 \"e1\"\n"
					"a/d/\n");
	assert_string_equal(next, "a/b c");
	assert_string_equal(marker, "x.1");
	free(next);
	free(marker);
	scout_text_free(&s.text);
}

static void refuse_versions(const char *page)
{
	struct seen s = {0};
	char *next = NULL, *marker = NULL;

	assert_int_equal(
	    scout_s3_parse_versions(page, strlen(page), note_version, &s, &next, &marker), -EIO);
	assert_null(next);
	assert_null(marker);
	scout_text_free(&s.text);
}

static void broken_versions(void **state)
{
	(void)state;
	refuse_versions(PAGE(""));
	refuse_versions(VERSIONS("<IsTruncated>true</IsTruncated>"));
	refuse_versions(VERSIONS("<Version><Key>a</Key><Size>1</Size></Version>"));
	refuse_versions(VERSIONS("<Version><Key>a</Key><VersionId>v</VersionId></Version>"));
	refuse_versions(VERSIONS("<IsTruncated>true</IsTruncated><NextKeyMarker>a%2</NextKeyMarker>"
				 "<EncodingType>url</EncodingType>"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(objects_and_prefixes),
	    cmocka_unit_test(versions),
	    cmocka_unit_test(broken_versions),
	    cmocka_unit_test(names_are_decoded_wherever_the_encoding_is_said),
	    cmocka_unit_test(names_that_are_not_encoded_stay),
	    cmocka_unit_test(etags_that_could_break_a_header_are_unknown),
	    cmocka_unit_test(the_token_counts_only_when_there_is_more),
	    cmocka_unit_test(every_truncation_is_refused_before_any_entry),
	    cmocka_unit_test(other_documents_are_refused),
	    cmocka_unit_test(entities_of_its_own_are_refused),
	    cmocka_unit_test(depth_and_fields_are_bounded),
	    cmocka_unit_test(a_long_listing_comes_whole_over_its_pages),
	    cmocka_unit_test(the_caller_can_stop),
	};

	return cmocka_run_group_tests_name("s3/list_xml", tests, NULL, NULL);
}
