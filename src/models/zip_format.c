/* Reading zip's records. They are the remote's word: every length is checked against what there is, and
 * numbers that point nowhere make an archive, or a member, a broken one. Times without a zone (MS-DOS's)
 * are taken as UTC. Pure.
 *
 * Archives with something in front (self-extracting ones) have all their offsets too small by its
 * length: the directory's end is known from where its end record was found. */
#include "models/zip_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define END_BYTES 22
#define END64_BYTES 56
#define LOCATOR_BYTES 20
#define CENTRAL_BYTES 46
#define HEADER_MAX (CENTRAL_BYTES + 3 * 65535)
/* What is fetched of an archive to know its members: room enough for as many as it may have. */
#define DIRECTORY_MAX (4 * SCOUT_ZIP_NAMES_MAX)

#define END_SIGNATURE 0x06054b50u
#define END64_SIGNATURE 0x06064b50u
#define LOCATOR_SIGNATURE 0x07064b50u
#define CENTRAL_SIGNATURE 0x02014b50u
#define LOCAL_SIGNATURE 0x04034b50u
#define SIGNED_SIGNATURE 0x05054b50u

#define EXTRA_ZIP64 0x0001
#define EXTRA_TIME 0x5455 /* Info-ZIP's extended timestamp */
#define MADE_BY_UNIX 3
#define FLAG_ENCRYPTED 0x0001u
#define FLAG_MASKED 0x2000u
#define METHOD_AES 99

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static int broken(const char **why, const char *words)
{
	*why = words;
	return -EIO;
}

/* ---- the end ---- */

/* Where in tail the end record is: the last one whose comment goes to the end of the archive, or else the
 * last one of all, as archives may be padded; len: none. */
static size_t find_record(const uint8_t *tail, size_t len)
{
	size_t other = len;

	for (size_t at = len < END_BYTES ? 0 : len - END_BYTES + 1; at-- > 0;) {
		size_t room = len - at - END_BYTES;

		if (tail[at] != 'P' || get32(tail + at) != END_SIGNATURE)
			continue;
		if (get16(tail + at + 20) == room)
			return at;
		if (other == len && get16(tail + at + 20) < room)
			other = at;
	}
	return other;
}

/* The fields of the zip64 record (4.3.14) before the end record at tail[at], where there is one. */
static int read_end64(const uint8_t *tail, size_t at, struct scout_zip_end *ret, size_t *record,
		      const char **why)
{
	const uint8_t *p;

	if (at < LOCATOR_BYTES + END64_BYTES ||
	    get32(tail + at - LOCATOR_BYTES) != LOCATOR_SIGNATURE)
		return 0;
	*record = at - LOCATOR_BYTES - END64_BYTES;
	p = tail + *record;
	if (get32(p) != END64_SIGNATURE)
		return broken(why, "its zip64 record is not where it should be");
	if (get32(p + 16) != 0 || get32(p + 20) != 0)
		return broken(why, "it is one part of several");
	ret->members = get64(p + 32);
	ret->bytes = get64(p + 40);
	ret->start = get64(p + 48);
	return 0;
}

int scout_zip_find_end(const uint8_t *tail, size_t len, uint64_t archive_bytes,
		       struct scout_zip_end *ret, const char **why)
{
	size_t at = find_record(tail, len), record = at;
	struct scout_zip_end end = {.shift = 0};
	uint64_t before;
	int err;

	if (at == len)
		return broken(why, "it has no end record: truncated, or no zip archive");
	end.members = get16(tail + at + 10);
	end.bytes = get32(tail + at + 12);
	end.start = get32(tail + at + 16);
	if ((get16(tail + at + 4) != 0 && get16(tail + at + 4) != UINT16_MAX) ||
	    (get16(tail + at + 6) != 0 && get16(tail + at + 6) != UINT16_MAX))
		return broken(why, "it is one part of several");
	err = read_end64(tail, at, &end, &record, why);
	if (err < 0)
		return err;
	before = archive_bytes - len + record;
	if (end.bytes > before || end.start > before - end.bytes)
		return broken(why, "its directory is not inside of it");
	if (end.bytes > DIRECTORY_MAX)
		return broken(why, "its directory is too large");
	end.shift = before - end.bytes - end.start;
	end.start += end.shift;
	*ret = end;
	return 0;
}

/* ---- the central directory ---- */

void scout_zip_reader_init(struct scout_zip_reader *r, const struct scout_zip_end *end,
			   struct scout_zip_names *names)
{
	*r = (struct scout_zip_reader){.end = *end, .names = names};
}

void scout_zip_reader_destroy(struct scout_zip_reader *r)
{
	free(r->part);
	r->part = NULL;
}

/* Takes the next 8 bytes of a zip64 field where the header's own number is not enough (4.5.3). */
static bool wide(uint64_t *number, const uint8_t **p, const uint8_t *end)
{
	if (*number != UINT32_MAX)
		return true;
	if (end - *p < 8)
		return false;
	*number = get64(*p);
	*p += 8;
	return true;
}

/* False: the sizes are said to be in a field that is not whole. */
static bool take_extra(struct scout_zip_entry *e, const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;
	bool large = e->bytes == UINT32_MAX || e->packed == UINT32_MAX || e->header == UINT32_MAX;

	while (end - p >= 4) {
		unsigned id = get16(p);
		const uint8_t *field = p + 4, *next = field + get16(p + 2);

		if (next > end)
			break; /* what some writers leave there is no field */
		if (id == EXTRA_ZIP64 && large) {
			if (!wide(&e->bytes, &field, next) || !wide(&e->packed, &field, next) ||
			    !wide(&e->header, &field, next))
				return false;
			large = false;
		} else if (id == EXTRA_TIME && next - field >= 5 && (field[0] & 1)) {
			e->modified = (int32_t)get32(field + 1);
		}
		p = next;
	}
	return true;
}

/* 4.4.6 */
static int64_t dos_time(uint16_t date, uint16_t hours)
{
	struct tm tm = {
	    .tm_sec = (hours & 31) * 2,
	    .tm_min = hours >> 5 & 63,
	    .tm_hour = hours >> 11,
	    .tm_mday = date & 31,
	    .tm_mon = (date >> 5 & 15) - 1,
	    .tm_year = (date >> 9) + 80,
	};

	return timegm(&tm);
}

/* The header at p, whole (4.3.12). */
static int take_header(struct scout_zip_reader *r, const uint8_t *p, const char **why)
{
	size_t name_len = get16(p + 28), extra_len = get16(p + 30);
	unsigned flags = get16(p + 8);
	struct scout_zip_entry e = {
	    .method = get16(p + 10),
	    .modified = dos_time(get16(p + 14), get16(p + 12)),
	    .crc = get32(p + 16),
	    .packed = get32(p + 20),
	    .bytes = get32(p + 24),
	    .header = get32(p + 42),
	};

	if (!take_extra(&e, p + CENTRAL_BYTES + name_len, extra_len))
		return broken(why, "a member's zip64 field is too short");
	if (e.header > UINT64_MAX - r->end.shift || e.bytes > INT64_MAX)
		e.refusal = SCOUT_ZIP_OUTSIDE;
	else
		e.header += r->end.shift;
	if ((flags & (FLAG_ENCRYPTED | FLAG_MASKED)) || e.method == METHOD_AES)
		e.refusal = SCOUT_ZIP_ENCRYPTED;
	if (p[5] == MADE_BY_UNIX)
		e.executable = (get32(p + 38) >> 16 & 0111) != 0;
	r->members++;
	return scout_zip_names_add(r->names, &e, (const char *)p + CENTRAL_BYTES, name_len);
}

/* How long the header at p is, of which len bytes are there; 0: too few to know, or there are no more. */
static size_t header_bytes(struct scout_zip_reader *r, const uint8_t *p, size_t len, int *err,
			   const char **why)
{
	if (len >= 4 && get32(p) == SIGNED_SIGNATURE)
		r->over = true; /* 4.3.13: nothing that is of use here */
	else if (len >= 4 && get32(p) != CENTRAL_SIGNATURE)
		*err = broken(why, "its directory is damaged");
	if (r->over || *err < 0 || len < CENTRAL_BYTES)
		return 0;
	return (size_t)CENTRAL_BYTES + get16(p + 28) + get16(p + 30) + get16(p + 32);
}

/* Completes r->part by what it lacks of bytes; returns how many it took. */
static size_t fill_part(struct scout_zip_reader *r, const uint8_t *bytes, size_t len, size_t want)
{
	size_t n = want - r->part_len < len ? want - r->part_len : len;

	memcpy(r->part + r->part_len, bytes, n);
	r->part_len += n;
	return n;
}

/* A header that began in earlier bytes; *used of these are its own. */
static int take_part(struct scout_zip_reader *r, const uint8_t *bytes, size_t len, size_t *used,
		     const char **why)
{
	size_t whole;
	int err = 0;

	*used = 0;
	if (r->part_len < CENTRAL_BYTES)
		*used = fill_part(r, bytes, len, CENTRAL_BYTES);
	whole = header_bytes(r, r->part, r->part_len, &err, why);
	if (whole == 0)
		return err;
	*used += fill_part(r, bytes + *used, len - *used, whole);
	if (r->part_len == whole) {
		err = take_header(r, r->part, why);
		r->part_len = 0;
	}
	return err;
}

int scout_zip_reader_take(struct scout_zip_reader *r, const uint8_t *bytes, size_t len,
			  const char **why)
{
	size_t used = 0, whole;
	int err = 0;

	r->taken += len;
	if (r->part_len > 0)
		err = take_part(r, bytes, len, &used, why);
	while (err == 0 && !r->over && used < len && r->part_len == 0) {
		whole = header_bytes(r, bytes + used, len - used, &err, why);
		if (whole > 0 && whole <= len - used) {
			err = take_header(r, bytes + used, why);
			used += whole;
		} else if (err == 0 && !r->over) {
			if (!r->part)
				r->part = malloc(HEADER_MAX);
			if (!r->part)
				return -ENOMEM;
			used += fill_part(r, bytes + used, len - used, HEADER_MAX);
		}
	}
	return err;
}

int scout_zip_reader_finish(struct scout_zip_reader *r, const char **why)
{
	if (!r->over && (r->taken != r->end.bytes || r->part_len > 0))
		return broken(why, "its directory ends in the midst of a member");
	/* without zip64 only the last 16 bits are there */
	if ((r->members & UINT16_MAX) != (r->end.members & UINT16_MAX))
		return broken(why, "its directory has another number of members than it says");
	return scout_zip_names_build(r->names, r->end.start);
}

int scout_zip_local(const uint8_t *header)
{
	if (get32(header) != LOCAL_SIGNATURE)
		return -EIO;
	return SCOUT_ZIP_LOCAL + get16(header + 26) + get16(header + 28);
}
