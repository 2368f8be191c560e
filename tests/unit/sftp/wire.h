/* Packets as a server would send them, for the tests of the parser. */
#ifndef TESTS_UNIT_SFTP_WIRE_H
#define TESTS_UNIT_SFTP_WIRE_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

struct wire {
	uint8_t bytes[64 * 1024];
	size_t len;
	size_t packet; /* where the open packet begins */
};

static inline void put_bytes(struct wire *w, const void *bytes, size_t len)
{
	assert(w->len + len <= sizeof(w->bytes));
	memcpy(w->bytes + w->len, bytes, len);
	w->len += len;
}

static inline void put8(struct wire *w, uint8_t v)
{
	put_bytes(w, &v, 1);
}

static inline void put32(struct wire *w, uint32_t v)
{
	put8(w, (uint8_t)(v >> 24));
	put8(w, (uint8_t)(v >> 16));
	put8(w, (uint8_t)(v >> 8));
	put8(w, (uint8_t)v);
}

static inline void put64(struct wire *w, uint64_t v)
{
	put32(w, (uint32_t)(v >> 32));
	put32(w, (uint32_t)v);
}

static inline void put_string(struct wire *w, const void *bytes, size_t len)
{
	put32(w, (uint32_t)len);
	put_bytes(w, bytes, len);
}

static inline void put_str(struct wire *w, const char *str)
{
	put_string(w, str, strlen(str));
}

static inline void begin(struct wire *w, uint8_t type)
{
	w->packet = w->len;
	put32(w, 0);
	put8(w, type);
}

static inline void begin_answer(struct wire *w, uint8_t type, uint32_t id)
{
	begin(w, type);
	put32(w, id);
}

static inline void set32(struct wire *w, size_t at, uint32_t v)
{
	size_t len = w->len;

	w->len = at;
	put32(w, v);
	w->len = len;
}

/* Writes the open packet's length. */
static inline void end(struct wire *w)
{
	set32(w, w->packet, (uint32_t)(w->len - w->packet - 4));
}

static inline void put_status(struct wire *w, uint32_t id, uint32_t code)
{
	begin_answer(w, 101, id);
	put32(w, code);
	put_str(w, "in words");
	put_str(w, "en");
	end(w);
}

static inline void put_data(struct wire *w, uint32_t id, const void *bytes, size_t len)
{
	begin_answer(w, 103, id);
	put_string(w, bytes, len);
	end(w);
}

/* size, owner, mode and times */
static inline void put_attrs(struct wire *w, uint64_t size, uint32_t mode)
{
	put32(w, 1 | 2 | 4 | 8);
	put64(w, size);
	put32(w, 1000);
	put32(w, 100);
	put32(w, mode);
	put32(w, 1111111111);
	put32(w, 1234567890);
}

static inline void put_name(struct wire *w, const char *name)
{
	put_str(w, name);
	put_str(w, "-rw-r--r-- 1 u g 5 Jan 1 00:00 name");
	put_attrs(w, 5, 0100644);
}

#endif
