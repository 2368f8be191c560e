/* Archives as a writer makes them, and as it never would. */
#ifndef TESTS_MODELS_ZIP_MAKE_H
#define TESTS_MODELS_ZIP_MAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct bytes {
	uint8_t *p;
	size_t len, cap;
};

static inline void put(struct bytes *b, const void *p, size_t len)
{
	if (b->len + len > b->cap) {
		b->cap = (b->len + len) * 2;
		b->p = realloc(b->p, b->cap);
	}
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len += len;
}

/* size bytes of number, little endian. */
static inline void number(struct bytes *b, uint64_t n, size_t size)
{
	for (; size > 0; size--, n >>= 8)
		put(b, &(uint8_t){(uint8_t)n}, 1);
}

struct zip {
	struct bytes file, directory;
	uint64_t members;
};

/* What a central header says; zeroed but for what the test is about. */
struct said {
	const char *name;
	size_t name_len; /* 0: strlen */
	unsigned flags, method, mode;
	uint32_t crc, packed, bytes, header;
	struct bytes extra;
};

static inline void say(struct zip *z, const struct said *s)
{
	size_t len = s->name_len ? s->name_len : strlen(s->name);
	struct bytes *d = &z->directory;

	put(d, "PK\1\2", 4);
	number(d, 45 | 3 << 8, 2); /* made on Unix */
	number(d, 45, 2);
	number(d, s->flags, 2);
	number(d, s->method, 2);
	number(d, 12 << 11 | 34 << 5 | 28, 2);
	number(d, (2024 - 1980) << 9 | 2 << 5 | 29, 2);
	number(d, s->crc, 4);
	number(d, s->packed, 4);
	number(d, s->bytes, 4);
	number(d, len, 2);
	number(d, s->extra.len, 2);
	number(d, 3, 2); /* a comment */
	number(d, 0, 4);
	number(d, (uint64_t)s->mode << 16, 4);
	number(d, s->header, 4);
	put(d, s->name, len);
	put(d, s->extra.p, s->extra.len);
	put(d, "...", 3);
	z->members++;
}

static inline void local(struct zip *z, const char *name, const void *packed, size_t len)
{
	put(&z->file, "PK\3\4", 4);
	number(&z->file, 0, 22);
	number(&z->file, strlen(name), 2);
	number(&z->file, 7, 2); /* extra that the central header does not have */
	put(&z->file, name, strlen(name));
	put(&z->file, "xtra...", 7);
	put(&z->file, packed, len);
}

static inline void add(struct zip *z, const char *name, unsigned method, const void *p, size_t len)
{
	uLongf packed = compressBound(len) + 100;
	uint8_t *out = malloc(packed);
	struct said s = {.name = name,
			 .method = method,
			 .mode = 0100644,
			 .crc = (uint32_t)crc32_z(0, p, len),
			 .bytes = (uint32_t)len,
			 .header = (uint32_t)z->file.len};
	z_stream d = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)len};

	d.next_out = out;
	d.avail_out = (uInt)packed;
	if (method == 8) {
		assert_int_equal(deflateInit2(&d, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
		assert_int_equal(deflate(&d, Z_FINISH), Z_STREAM_END);
		packed = d.total_out;
		deflateEnd(&d);
	} else {
		packed = len;
		memcpy(out, p, len);
	}
	local(z, name, out, packed);
	s.packed = (uint32_t)packed;
	say(z, &s);
	free(out);
}

/* The end; afterwards z->file is the archive, of which before bytes are not in it. */
static inline void finish_at(struct zip *z, uint64_t before, bool zip64, const char *comment)
{
	struct bytes *f = &z->file;
	uint64_t start = before + f->len, end = start + z->directory.len;

	put(f, z->directory.p, z->directory.len);
	if (zip64) {
		put(f, "PK\6\6", 4);
		number(f, 44, 8);
		number(f, 45, 2);
		number(f, 45, 2);
		number(f, 0, 8);
		number(f, z->members, 8);
		number(f, z->members, 8);
		number(f, z->directory.len, 8);
		number(f, start, 8);
		put(f, "PK\6\7", 4);
		number(f, 0, 4);
		number(f, end, 8);
		number(f, 1, 4);
	}
	put(f, "PK\5\6", 4);
	number(f, 0, 4);
	number(f, zip64 ? UINT16_MAX : z->members, 2);
	number(f, zip64 ? UINT16_MAX : z->members, 2);
	number(f, zip64 ? UINT32_MAX : z->directory.len, 4);
	number(f, zip64 ? UINT32_MAX : start, 4);
	number(f, strlen(comment), 2);
	put(f, comment, strlen(comment));
}

static inline void finish(struct zip *z, bool zip64, const char *comment)
{
	finish_at(z, 0, zip64, comment);
}

static inline void zip_free(struct zip *z)
{
	free(z->file.p);
	free(z->directory.p);
	*z = (struct zip){.members = 0};
}

/* What deflates to about half. */
static inline uint8_t *text(size_t len, uint64_t seed)
{
	uint8_t *p = malloc(len);

	for (size_t i = 0; i < len; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		p[i] = "0123456789abcdef"[seed >> 32 & 15];
	}
	return p;
}

#endif
