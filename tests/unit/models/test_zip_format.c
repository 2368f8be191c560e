/* What is read of an archive's end and directory, its names, and inflating from anywhere. */
#include "zip_make.h"

#include <errno.h>
#include <stdio.h>

#include "models/proven.h"
#include "models/zip_format.h"
#include "models/zip_inflate.h"
#include "models/zip_sum.h"

static struct scout_zip_names names;
static const char *why;

/* Reads the archive at p, its directory in pieces. */
static int parse(const uint8_t *p, size_t len, size_t piece)
{
	size_t tail = len < SCOUT_ZIP_TAIL ? len : SCOUT_ZIP_TAIL;
	struct scout_zip_reader r;
	struct scout_zip_end end;
	int err = scout_zip_find_end(p + len - tail, tail, len, &end, &why);

	scout_zip_names_destroy(&names);
	if (err < 0)
		return err;
	scout_zip_reader_init(&r, &end, &names);
	for (uint64_t at = 0; at < end.bytes && err == 0 && !r.over; at += piece)
		err = scout_zip_reader_take(&r, p + end.start + at,
					    piece < end.bytes - at ? piece : end.bytes - at, &why);
	if (err == 0)
		err = scout_zip_reader_finish(&r, &why);
	scout_zip_reader_destroy(&r);
	return err;
}

/* The names in folder, each with a slash behind it that is one, joined by spaces. */
static void expect_children(const char *folder, const char *expected)
{
	char all[4096] = "";
	struct scout_zip_place dir, child;
	const char *name;
	size_t len;

	assert_true(scout_zip_names_find(&names, folder, &dir));
	assert_true(dir.dir);
	for (uint32_t at = dir.first; at < dir.end;) {
		at = scout_zip_names_child(&names, &dir, at, &name, &len, &child);
		sprintf(all + strlen(all), "%s%.*s%s", *all ? " " : "", (int)len, name,
			child.dir ? "/" : "");
	}
	assert_string_equal(all, expected);
}

static const struct scout_zip_entry *entry(const char *path)
{
	struct scout_zip_place place;

	assert_true(scout_zip_names_find(&names, path, &place));
	assert_non_null(place.entry);
	return place.entry;
}

static void a_plain_archive(void **state)
{
	struct scout_zip_place place;
	struct zip z = {.members = 0};

	(void)state;
	add(&z, "weights/a.bin", 0, "12345", 5);
	add(&z, "config.json", 8, "{}", 2);
	add(&z, "weights/deep/b", 0, "", 0);
	add(&z, "folder/", 0, "", 0);
	add(&z, "weights-old", 0, "", 0);
	finish(&z, false, "a comment with PK\5\6 in it, and so much behind it");
	for (size_t piece = 1; piece < 200; piece++) {
		assert_int_equal(parse(z.file.p, z.file.len, piece), 0);
		expect_children("", "config.json folder/ weights/ weights-old");
		expect_children("weights", "a.bin deep/");
		expect_children("weights/deep", "b");
		expect_children("folder", "");
	}
	assert_int_equal(entry("config.json")->bytes, 2);
	assert_int_equal(entry("config.json")->modified, 1709210096); /* 2024-02-29 12:34:56 */
	assert_false(entry("config.json")->executable);
	assert_int_equal(entry("weights/a.bin")->crc, crc32_z(0, (const uint8_t *)"12345", 5));
	assert_false(scout_zip_names_find(&names, "weights/b", &place));
	assert_false(scout_zip_names_find(&names, "weight", &place));
	assert_false(scout_zip_names_find(&names, "weights/a.bin/x", &place));
	assert_false(scout_zip_names_find(&names, "zz", &place));
	zip_free(&z);
}

static void nothing_in_it(void **state)
{
	struct zip z = {.members = 0};

	(void)state;
	finish(&z, false, "");
	assert_int_equal(parse(z.file.p, z.file.len, 10), 0);
	expect_children("", "");
	zip_free(&z);
}

static void zip64(void **state)
{
	struct zip z = {.members = 0};
	struct said s = {
	    .name = "wide", .packed = UINT32_MAX, .bytes = UINT32_MAX, .mode = 0100755};

	(void)state;
	put(&z.file, "in front", 8);
	local(&z, "wide", "12345", 5);
	number(&s.extra, 0x5455, 2); /* a time */
	number(&s.extra, 5, 2);
	number(&s.extra, 1, 1);
	number(&s.extra, 1700000000, 4);
	number(&s.extra, 1, 2);
	number(&s.extra, 16, 2);
	number(&s.extra, 5, 8);
	number(&s.extra, 5, 8);
	say(&z, &s);
	/* its offsets count from behind what stands in front */
	finish(&z, true, "");
	z.file.p[z.file.len - 22 - 20 - 8] -= 8;
	assert_int_equal(parse(z.file.p, z.file.len, 11), 0);
	assert_int_equal(entry("wide")->bytes, 5);
	assert_int_equal(entry("wide")->header, 8);
	assert_int_equal(entry("wide")->modified, 1700000000);
	assert_true(entry("wide")->executable);
	assert_int_equal(entry("wide")->refusal, SCOUT_ZIP_FINE);
	free(s.extra.p);
	zip_free(&z);
}

static void many_members(void **state)
{
	struct zip z = {.members = 0};
	struct said s = {.bytes = 0};
	char name[32];

	(void)state;
	for (uint32_t i = 0; i < 70000; i++) {
		snprintf(name, sizeof(name), "%u/%u", i % 3, i);
		s.name = name;
		s.header = (uint32_t)z.file.len;
		local(&z, "", "", 0);
		say(&z, &s);
	}
	finish(&z, false, ""); /* as writers did before zip64: the number is cut */
	assert_int_equal(parse(z.file.p, z.file.len, 100000), 0);
	assert_int_equal(names.count, 70000);
	expect_children("", "0/ 1/ 2/");
	assert_int_equal(entry("2/69998")->refusal, SCOUT_ZIP_FINE);
	zip_free(&z);
}

static void names_that_are_none(void **state)
{
	struct zip z = {.members = 0};
	static char longest[256];
	static const char *const bad[] = {"/etc/passwd", "../x", "a/../x", "a//b", ".", "a/./b"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		say(&z, &(struct said){.name = bad[i]});
	memset(longest, 'n', sizeof(longest));
	say(&z, &(struct said){.name = longest, .name_len = 256});
	say(&z, &(struct said){.name = "nul\0nul", .name_len = 7});
	say(&z, &(struct said){.name = "full/", .bytes = 5, .packed = 5});
	say(&z, &(struct said){.name = "back\\slash"});
	say(&z, &(struct said){.name = "\x81\xff"});
	finish(&z, false, "");
	assert_int_equal(parse(z.file.p, z.file.len, 1000), 0);
	expect_children("", "back\\slash \x81\xff");
	assert_int_equal(names.left_out[SCOUT_KEY_DOTS], 4);
	assert_int_equal(names.left_out[SCOUT_KEY_EMPTY_NAME], 2);
	assert_int_equal(names.left_out[SCOUT_KEY_NUL], 1);
	assert_int_equal(names.left_out[SCOUT_KEY_LONG_NAME], 1);
	assert_int_equal(names.left_out[SCOUT_KEY_SLASH_WITH_BYTES], 1);
	zip_free(&z);
}

static void one_name_twice(void **state)
{
	struct zip z = {.members = 0};

	(void)state;
	add(&z, "a", 0, "first", 5);
	add(&z, "b", 0, "file", 4);
	add(&z, "a", 0, "last", 4);
	add(&z, "b/c", 0, "", 0);
	add(&z, "d/", 0, "", 0);
	add(&z, "d", 0, "file", 4);
	finish(&z, false, "");
	assert_int_equal(parse(z.file.p, z.file.len, 1000), 0);
	expect_children("", "a b/ d/");
	assert_int_equal(entry("a")->bytes, 4);
	assert_int_equal(names.replaced, 3);
	zip_free(&z);
}

static void members_that_are_refused(void **state)
{
	struct zip z = {.members = 0};

	(void)state;
	local(&z, "x", "12345", 5);
	local(&z, "y", "12345", 5);
	say(&z, &(struct said){.name = "bomb", .method = 8, .packed = 5, .bytes = 6000});
	say(&z, &(struct said){.name = "sizes", .packed = 5, .bytes = 6, .header = 43});
	say(&z, &(struct said){.name = "secret", .flags = 1, .header = 43});
	say(&z, &(struct said){.name = "lzma", .method = 14, .header = 43});
	say(&z, &(struct said){.name = "far", .header = 1000});
	say(&z, &(struct said){.name = "long", .packed = 5000, .bytes = 5000, .header = 43});
	finish(&z, false, "");
	assert_int_equal(parse(z.file.p, z.file.len, 1000), 0);
	assert_int_equal(entry("bomb")->refusal, SCOUT_ZIP_BOMB);
	assert_int_equal(entry("far")->refusal, SCOUT_ZIP_OUTSIDE);
	assert_int_equal(entry("long")->refusal, SCOUT_ZIP_OUTSIDE);
	/* one place, three members: each is another's */
	assert_int_equal(entry("secret")->refusal, SCOUT_ZIP_OVERLAPS);
	for (int i = SCOUT_ZIP_FINE; i <= SCOUT_ZIP_OVERLAPS; i++)
		assert_true(strlen(scout_zip_refusal_words((enum scout_zip_refusal)i)) > 0);
	zip_free(&z);
}

/* 1,032 to 1. */
static void as_far_as_deflate_packs(void **state)
{
	struct zip z = {.members = 0};

	(void)state;
	local(&z, "x", "12345", 5);
	local(&z, "y", "12345", 5);
	say(&z, &(struct said){.name = "most", .method = 8, .packed = 5, .bytes = 5160});
	say(&z,
	    &(struct said){.name = "more", .method = 8, .packed = 5, .bytes = 5161, .header = 43});
	finish(&z, false, "");
	assert_int_equal(parse(z.file.p, z.file.len, 1000), 0);
	assert_int_equal(entry("most")->refusal, SCOUT_ZIP_FINE);
	assert_int_equal(entry("more")->refusal, SCOUT_ZIP_BOMB);
	zip_free(&z);
}

static void too_many_names(void **state)
{
	struct scout_zip_entry e = {.bytes = 0};
	int err = 0;
	char name[250];

	(void)state;
	scout_zip_names_destroy(&names);
	memset(name, 'n', sizeof(name));
	for (size_t i = 0; i < 1000000 && err == 0; i++)
		err = scout_zip_names_add(&names, &e, name, sizeof(name));
	assert_int_equal(err, -EFBIG);
	assert_true(names.count > 100000);
	scout_zip_names_destroy(&names);
}

static void broken_ones(void **state)
{
	struct zip z = {.members = 0};

	(void)state;
	add(&z, "a", 8, "12345", 5);
	add(&z, "b", 8, "12345", 5);
	finish(&z, false, "");
	for (size_t len = 0; len < z.file.len; len++)
		assert_int_equal(parse(z.file.p, len, 1000), -EIO);
	z.file.p[z.file.len - 22 + 10]++; /* the number of members */
	assert_int_equal(parse(z.file.p, z.file.len, 1000), -EIO);
	assert_string_equal(why, "its directory has another number of members than it says");
	z.file.p[z.file.len - 22 + 10]--;
	z.file.p[z.file.len - 22 + 4] = 1; /* the disk's */
	assert_int_equal(parse(z.file.p, z.file.len, 1000), -EIO);
	zip_free(&z);
}

/* What follows the members is not asked for. */
static void a_signed_directory(void **state)
{
	struct zip z = {.members = 0};
	static const uint8_t after[1000];

	(void)state;
	add(&z, "a", 8, "12345", 5);
	put(&z.directory, "PK\5\5", 4);
	put(&z.directory, after, sizeof(after));
	finish(&z, false, "");
	for (size_t piece = 1; piece < 200; piece++) {
		assert_int_equal(parse(z.file.p, z.file.len, piece), 0);
		expect_children("", "a");
	}
	z.file.p[z.file.len - 22 + 10]++; /* the number of members */
	assert_int_equal(parse(z.file.p, z.file.len, 1000), -EIO);
	assert_string_equal(why, "its directory has another number of members than it says");
	zip_free(&z);
}

static void a_directory_too_large(void **state)
{
	const uint64_t most = UINT64_C(256) << 20;
	struct zip z = {.members = 0};
	struct scout_zip_end end;
	uint8_t *p;

	(void)state;
	finish_at(&z, most + 1, true, "");
	p = z.file.p + 40; /* the zip64 record's bytes and start */
	for (size_t i = 0; i < 8; i++) {
		p[i] = (uint8_t)(most >> 8 * i);
		p[8 + i] = i == 0;
	}
	assert_int_equal(
	    scout_zip_find_end(z.file.p, z.file.len, most + 1 + z.file.len, &end, &why), 0);
	assert_int_equal(end.bytes, most);
	p[0]++;
	p[8]--;
	assert_int_equal(
	    scout_zip_find_end(z.file.p, z.file.len, most + 1 + z.file.len, &end, &why), -EIO);
	assert_string_equal(why, "its directory is too large");
	zip_free(&z);
}

static void inflate_from(struct scout_zip_points *points, const uint8_t *packed, size_t len,
			 const uint8_t *plain, size_t size, uint64_t from)
{
	struct scout_zip_stream s = {.open = false};
	uint8_t *out = malloc(size + 1);
	uint64_t start;

	assert_int_equal(scout_zip_stream_open(&s, points, from), 0);
	start = s.out;
	assert_true(start <= from);
	while (!s.ended) {
		size_t have = len - s.in < 10000 ? len - (size_t)s.in : 10000;

		assert_int_equal(scout_zip_stream_run(&s, points, packed + s.in, have, out + s.out,
						      size + 1 - s.out),
				 0);
	}
	assert_int_equal(s.out, size);
	assert_int_equal(s.in, len);
	assert_int_equal(s.crc, crc32_z(0, plain, size));
	assert_memory_equal(out + start, plain + start, size - start);
	scout_zip_stream_close(&s);
	free(out);
}

static void inflating_from_anywhere(void **state)
{
	struct scout_zip_points points = {.spacing = 4000};
	size_t size = 2000000, len;
	uint8_t *plain = text(size, 7);
	struct zip z = {.members = 0};

	(void)state;
	add(&z, "x", 8, plain, size);
	len = z.file.len - 30 - 1 - 7;
	inflate_from(&points, z.file.p + 38, len, plain, size, 0);
	assert_true(points.count > 10 && points.count <= 128);
	assert_true(points.spacing > 4000 || points.count < 128);
	for (size_t i = 0; i < points.count; i++) {
		assert_int_equal(scout_zip_points_before(&points, points.all[i]->out + 1),
				 points.all[i]->out);
		inflate_from(&points, z.file.p + 38, len, plain, size, points.all[i]->out);
	}
	assert_int_equal(scout_zip_points_before(&points, 0), 0);
	scout_zip_points_destroy(&points);
	zip_free(&z);
	free(plain);
}

/* With more blocks than there may be points: these are a sixty-fourth of it apart, or less. */
static void points_of_a_large_one(void **state)
{
	struct scout_zip_points points = {.spacing = 40000};
	size_t size = 12000000, len;
	uint8_t *plain = text(size, 7);
	struct zip z = {.members = 0};
	uint64_t last = 0;

	(void)state;
	add(&z, "x", 8, plain, size);
	len = z.file.len - 30 - 1 - 7;
	inflate_from(&points, z.file.p + 38, len, plain, size, 0);
	assert_true(points.spacing > 40000);
	for (size_t i = 0; i < points.count; i++) {
		assert_in_range(points.all[i]->out - last, 40000, size / 64);
		last = points.all[i]->out;
	}
	assert_true(size - last <= size / 64);
	scout_zip_points_destroy(&points);
	zip_free(&z);
	free(plain);
}

/* Two members whose points have room for those of one: who was used least recently has none. */
static void points_of_all_are_bounded(void **state)
{
	struct scout_zip_pool pool;
	struct scout_zip_points first = {.pool = &pool, .spacing = 40000};
	struct scout_zip_points second = {.pool = &pool, .spacing = 40000};
	size_t size = 1000000, len, once;
	uint8_t *plain = text(size, 7);
	struct zip z = {.members = 0};

	(void)state;
	add(&z, "x", 8, plain, size);
	len = z.file.len - 30 - 1 - 7;
	scout_zip_pool_init(&pool, 1000);
	inflate_from(&first, z.file.p + 38, len, plain, size, 0);
	once = first.count;
	assert_true(once >= 4 && pool.count == once);
	pool.max = once + 1;
	inflate_from(&second, z.file.p + 38, len, plain, size, 0);
	assert_int_equal(first.count, 0);
	assert_int_equal(second.count, once);
	assert_int_equal(pool.count, once);
	/* it is read all the same, from its begin, and the other one loses its own */
	assert_int_equal(scout_zip_points_before(&first, size), 0);
	inflate_from(&first, z.file.p + 38, len, plain, size, size / 2);
	assert_int_equal(first.count, once);
	assert_int_equal(second.count, 0);
	/* one alone has fewer of them, farther from each other */
	scout_zip_points_destroy(&first);
	pool.max = once / 2;
	inflate_from(&second, z.file.p + 38, len, plain, size, 0);
	assert_in_range(second.count, 1, once / 2);
	inflate_from(&second, z.file.p + 38, len, plain, size, size - 1);
	scout_zip_points_destroy(&second);
	scout_zip_pool_destroy(&pool);
	zip_free(&z);
	free(plain);
}

static unsigned allocations_left;

static voidpf allocate(voidpf arg, uInt items, uInt size)
{
	(void)arg;
	return allocations_left-- > 0 ? calloc(items, size) : NULL;
}

static void release(voidpf arg, voidpf address)
{
	(void)arg;
	free(address);
}

/* Without memory for the window a stream does not stay open half way: it begins anew. */
static void no_memory_to_go_on(void **state)
{
	struct scout_zip_points points = {.spacing = 40000};
	struct scout_zip_stream s = {.z = {.zalloc = allocate, .zfree = release}};
	size_t size = 1000000, len;
	uint8_t *plain = text(size, 7), out[1000];
	struct zip z = {.members = 0};

	(void)state;
	add(&z, "x", 8, plain, size);
	len = z.file.len - 30 - 1 - 7;
	inflate_from(&points, z.file.p + 38, len, plain, size, 0);
	assert_true(points.count > 0);
	allocations_left = 1; /* inflate's state, and no window */
	assert_int_equal(scout_zip_stream_open(&s, &points, size), -ENOMEM);
	assert_false(s.open);
	allocations_left = 10;
	assert_int_equal(scout_zip_stream_open(&s, &points, 0), 0);
	assert_int_equal(scout_zip_stream_run(&s, &points, z.file.p + 38, len, out, sizeof(out)),
			 0);
	assert_memory_equal(out, plain, sizeof(out));
	scout_zip_stream_close(&s);
	scout_zip_points_destroy(&points);
	zip_free(&z);
	free(plain);
}

static void sums_in_any_order(void **state)
{
	static const unsigned orders[][4] = {
	    {0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}};
	uint8_t *p = text(4000, 3);
	uint32_t crc = 0, whole = (uint32_t)crc32_z(0, p, 4000);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct scout_zip_sum sum = {.count = 0};

		for (size_t k = 0; k < 4; k++) {
			unsigned start = orders[i][k] * 1000;
			uint32_t part = (uint32_t)crc32_z(0, p + start, 1000);
			uint64_t from = start, to = start + 1000;

			assert_true(scout_zip_sum_wants(&sum, &from, &to));
			assert_int_equal(from, start);
			assert_int_equal(to, start + 1000);
			assert_int_equal(scout_zip_sum_add(&sum, from, to, part, 4000, &crc),
					 k == 3 ? SCOUT_ZIP_SUM_WHOLE : SCOUT_ZIP_SUM_PART);
			/* once more */
			assert_false(scout_zip_sum_wants(&sum, &from, &to));
			from = start;
			assert_int_equal(scout_zip_sum_add(&sum, from, to, part, 4000, &crc),
					 SCOUT_ZIP_SUM_PART);
		}
		assert_int_equal(crc, whole);
		scout_zip_sum_destroy(&sum);
	}
	free(p);
}

/* Any pieces, across each other: of each, what is new. */
static void sums_of_overlapping_pieces(void **state)
{
	uint8_t *p = text(4000, 3);
	unsigned seed = 1;

	(void)state;
	for (int i = 0; i < 200; i++) {
		enum scout_zip_sum_state now = SCOUT_ZIP_SUM_PART;
		struct scout_zip_sum sum = {.count = 0};
		uint32_t crc = 0;

		while (now == SCOUT_ZIP_SUM_PART) {
			uint64_t start = (uint64_t)rand_r(&seed) % 4000, from, to;
			uint64_t end = start + 1 + (uint64_t)rand_r(&seed) % (4000 - start);

			for (from = start, to = end; scout_zip_sum_wants(&sum, &from, &to);
			     from = start, to = end) {
				assert_int_equal(now, SCOUT_ZIP_SUM_PART);
				assert_true(start <= from && from < to && to <= end);
				now = scout_zip_sum_add(&sum, from, to,
							(uint32_t)crc32_z(0, p + from, to - from),
							4000, &crc);
			}
		}
		assert_int_equal(now, SCOUT_ZIP_SUM_WHOLE);
		assert_int_equal(crc, (uint32_t)crc32_z(0, p, 4000));
		scout_zip_sum_destroy(&sum);
	}
	free(p);
}

static void sums_that_cannot_be(void **state)
{
	struct scout_zip_sum sum = {.count = 0};
	uint64_t from = 0, to = 9000;
	uint32_t crc = 0;

	(void)state;
	for (unsigned i = 0; i < SCOUT_ZIP_SPANS_MAX; i++)
		assert_int_equal(scout_zip_sum_add(&sum, i * 2, i * 2 + 1, 0, 9000, &crc),
				 SCOUT_ZIP_SUM_PART);
	assert_int_equal(scout_zip_sum_add(&sum, 8998, 9000, 0, 9000, &crc), SCOUT_ZIP_SUM_LOST);
	assert_false(scout_zip_sum_wants(&sum, &from, &to));
	assert_int_equal(scout_zip_sum_add(&sum, 1, 2, 0, 9000, &crc), SCOUT_ZIP_SUM_PART);
	scout_zip_sum_destroy(&sum);
}

/* Those that were not asked for longest go. */
static void proven_ones(void **state)
{
	struct scout_proven *p = calloc(1, sizeof(*p));
	const uint64_t step = SCOUT_PROVEN_SETS, ways = SCOUT_PROVEN_WAYS;

	(void)state;
	assert_false(scout_proven_has(p, 0));
	assert_false(scout_proven_has(p, 5));
	for (uint64_t i = 0; i < ways; i++)
		scout_proven_add(p, 5 + i * step);
	scout_proven_add(p, 5 + step);
	assert_true(scout_proven_has(p, 5));
	scout_proven_add(p, 5 + ways * step);
	assert_true(scout_proven_has(p, 5));
	assert_true(scout_proven_has(p, 5 + step));
	assert_false(scout_proven_has(p, 5 + 2 * step));
	for (uint64_t i = 3; i <= ways; i++)
		assert_true(scout_proven_has(p, 5 + i * step));
	scout_proven_remove(p, 5 + 2 * step); /* is not there */
	scout_proven_remove(p, 5 + step);
	assert_false(scout_proven_has(p, 5 + step));
	scout_proven_add(p, 5 + 2 * step); /* in its place */
	assert_true(scout_proven_has(p, 5));
	free(p);
}

static int done(void **state)
{
	(void)state;
	scout_zip_names_destroy(&names);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_plain_archive),
	    cmocka_unit_test(nothing_in_it),
	    cmocka_unit_test(zip64),
	    cmocka_unit_test(many_members),
	    cmocka_unit_test(names_that_are_none),
	    cmocka_unit_test(one_name_twice),
	    cmocka_unit_test(members_that_are_refused),
	    cmocka_unit_test(as_far_as_deflate_packs),
	    cmocka_unit_test(too_many_names),
	    cmocka_unit_test(broken_ones),
	    cmocka_unit_test(a_signed_directory),
	    cmocka_unit_test(a_directory_too_large),
	    cmocka_unit_test(inflating_from_anywhere),
	    cmocka_unit_test(points_of_a_large_one),
	    cmocka_unit_test(points_of_all_are_bounded),
	    cmocka_unit_test(no_memory_to_go_on),
	    cmocka_unit_test(sums_in_any_order),
	    cmocka_unit_test(sums_of_overlapping_pieces),
	    cmocka_unit_test(sums_that_cannot_be),
	    cmocka_unit_test(proven_ones),
	};

	return cmocka_run_group_tests(tests, NULL, done);
}
