/* Any bytes as a zip archive: what is found of it does not depend on how its directory is cut into
 * pieces, every name can be looked up and is a file name, and members inflate to the same bytes from
 * wherever they are begun. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/zip_format.h"
#include "models/zip_inflate.h"

#define MADE_MAX ((size_t)256 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static int read_directory(const uint8_t *data, size_t size, size_t piece,
			  struct scout_zip_names *names, uint64_t *end_of_data)
{
	size_t tail = size < SCOUT_ZIP_TAIL ? size : SCOUT_ZIP_TAIL;
	struct scout_zip_reader r;
	struct scout_zip_end end;
	const char *why = NULL;
	int err = scout_zip_find_end(data + size - tail, tail, size, &end, &why);

	must((err == -EIO) == (why != NULL) && (err == 0 || err == -EIO));
	if (err < 0)
		return err;
	must(end.start <= size && end.bytes <= size - end.start);
	*end_of_data = end.start;
	scout_zip_reader_init(&r, &end, names);
	for (uint64_t at = 0; err == 0 && at < end.bytes; at += piece)
		err = scout_zip_reader_take(&r, data + end.start + at,
					    piece < end.bytes - at ? piece : end.bytes - at, &why);
	if (err == 0)
		err = scout_zip_reader_finish(&r, &why);
	scout_zip_reader_destroy(&r);
	must((err == -EIO) == (why != NULL));
	return err;
}

static size_t walk(const struct scout_zip_names *n, const struct scout_zip_place *dir, char *path,
		   size_t len)
{
	const char *before = "";
	size_t files = 0, before_len = 0;

	for (uint32_t at = dir->first; at < dir->end;) {
		struct scout_zip_place child, again;
		size_t name_len, to;
		const char *name;
		uint32_t next = scout_zip_names_child(n, dir, at, &name, &name_len, &child);

		must(next > at && next <= dir->end);
		must(name_len > 0 && name_len < 256 && !memchr(name, '/', name_len));
		must(!memchr(name, '\0', name_len));
		must(!(name_len == before_len && memcmp(name, before, name_len) == 0));
		before = name;
		before_len = name_len;
		memcpy(path + len, name, name_len);
		to = len + name_len;
		path[to] = '\0';
		must(scout_zip_names_find(n, path, &again));
		must(again.dir == child.dir && again.first == child.first &&
		     again.end == child.end && again.skip == child.skip &&
		     again.entry == child.entry);
		files += !child.dir;
		if (child.dir) {
			path[to] = '/';
			files += walk(n, &child, path, to + 1);
		}
		at = next;
	}
	return files;
}

/* Inflates from offset to the end, input cut into pieces; returns the bytes made, or -1. */
static int64_t inflate_from(struct scout_zip_points *points, const uint8_t *data, size_t len,
			    uint64_t offset, size_t piece, uint8_t *to)
{
	struct scout_zip_stream s = {.open = false};
	uint64_t in, out, first;
	int err = scout_zip_stream_open(&s, points, offset);

	first = s.out;
	must(err == 0 && s.out <= offset && s.in <= len);
	do {
		size_t have = piece < len - s.in ? piece : len - s.in;

		in = s.in;
		out = s.out;
		err = scout_zip_stream_run(&s, points, data + s.in, have, to + s.out,
					   MADE_MAX - s.out);
	} while (err == 0 && !s.ended && (in != s.in || out != s.out));
	must(crc32_z(0, to, s.out) == s.crc || first > 0);
	scout_zip_stream_close(&s);
	return err == 0 ? (int64_t)s.out : -1;
}

static void inflate_member(const uint8_t *data, size_t len)
{
	static uint8_t first[MADE_MAX], second[MADE_MAX];
	struct scout_zip_points points = {.spacing = 512};
	int64_t made = inflate_from(&points, data, len, 0, len, first);

	must(inflate_from(&points, data, len, 0, 7, second) == made);
	must(made < 0 || memcmp(first, second, (size_t)made) == 0);
	for (size_t i = 0; made >= 0 && i < points.count && i < 4; i++) {
		uint64_t from = points.all[i]->out;

		memset(second, 0, sizeof(second));
		must(inflate_from(&points, data, len, from, 100, second) == made);
		must(memcmp(first + from, second + from, (size_t)made - from) == 0);
	}
	scout_zip_points_destroy(&points);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scout_zip_names whole = {.count = 0}, pieces = {.count = 0};
	struct scout_zip_place root;
	uint64_t end = 0;
	int err = read_directory(data, size, size, &whole, &end);
	static char path[8192];
	size_t files = 0;

	must(read_directory(data, size, 13, &pieces, &end) == err);
	must(err < 0 || (whole.count == pieces.count && whole.arena_len == pieces.arena_len));
	if (err == 0) {
		must(scout_zip_names_find(&whole, "", &root));
		for (size_t i = 0; i < whole.count; i++)
			files += !whole.entries[i].dir;
		must(walk(&whole, &root, path, 0) == files);
	}
	for (size_t i = 0; err == 0 && i < whole.count && i < 4; i++) {
		const struct scout_zip_entry *e = &whole.entries[i];
		int skip;

		if (e->refusal != SCOUT_ZIP_FINE || e->dir)
			continue;
		must(e->header + SCOUT_ZIP_LOCAL + e->packed <= end);
		skip = scout_zip_local(data + e->header);
		if (skip > 0 && e->packed <= end - e->header - SCOUT_ZIP_LOCAL &&
		    e->header + (unsigned)skip + e->packed <= size &&
		    e->method == SCOUT_ZIP_DEFLATED)
			inflate_member(data + e->header + skip, e->packed);
	}
	scout_zip_names_destroy(&whole);
	scout_zip_names_destroy(&pieces);
	return 0;
}
