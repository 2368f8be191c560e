/* How large the parts of an upload are, and how large an object they make. */
#include "writer.h"

#define GIB ((uint64_t)1024 * MIB)
#define DEFAULT_PART (8 * MIB) /* config/keys.c: part_size, memory */
#define DEFAULT_MEMORY (256 * MIB)

/* The room of the part behind so many; it is given back. */
static uint64_t room_behind(struct writer *w, unsigned parts)
{
	struct scout_upload *u = upload_of(w);
	struct scout_upload_part *p;
	uint64_t room;

	skip_parts(w, parts);
	expect(ask_write(w, 1), 0);
	scout_lock(&u->lock);
	p = u->part;
	u->part = NULL;
	scout_unlock(&u->lock);
	assert_non_null(p);
	room = p->bytes_max;
	assert_int_equal(p->call.part, parts + 1);
	scout_part_free(p);
	return room;
}

static void they_double(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up_with(&t, DEFAULT_PART, DEFAULT_MEMORY);
	w = begin(&t);
	assert_int_equal(room_behind(&w, 0), DEFAULT_PART);
	assert_int_equal(room_behind(&w, 999), DEFAULT_PART);
	assert_int_equal(room_behind(&w, 1000), 2 * DEFAULT_PART);
	assert_int_equal(room_behind(&w, 1999), 2 * DEFAULT_PART);
	assert_int_equal(room_behind(&w, 2000), 4 * DEFAULT_PART);
	/* and no further than the room of all of them */
	assert_int_equal(room_behind(&w, 9999), t.models->publisher->pool * SCOUT_BUF_BYTES);
	assert_in_range(room_behind(&w, 9999), DEFAULT_MEMORY / 4, DEFAULT_MEMORY / 2);
	end(&w);
	assert_int_equal(reg.puts + reg.creates, 0);
	expect_no_memory(&t);
	mount_down(&t);
}

static void all_of_them(void **state)
{
	uint64_t sum = 0;
	struct mount t;
	struct writer w;

	(void)state;
	up_with(&t, DEFAULT_PART, DEFAULT_MEMORY);
	w = begin(&t);
	for (unsigned i = 0; i < SCOUT_PARTS_MAX; i++)
		sum += room_behind(&w, i);
	assert_true(sum >= 300 * GIB);
	skip_parts(&w, SCOUT_PARTS_MAX);
	expect(ask_write(&w, 1), -EFBIG);
	finish(&w, -EFBIG);
	assert_int_equal(reg.puts + reg.completes, 0);
	expect_no_memory(&t);
	mount_down(&t);
}

/* S3 takes no smaller ones, but for the last. */
static void five_mib_at_least(void **state)
{
	struct mount t;
	struct writer w;

	(void)state;
	up_with(&t, MIB, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART);
	finish(&w, 0);
	assert_int_equal(reg.puts, 1);
	assert_int_equal(reg.creates + reg.parts, 0);
	expect_size(&t, 0, PART);
	mount_down(&t);

	up_with(&t, MIB, 128 * MIB);
	w = begin(&t);
	write_bytes(&w, PART + 1);
	finish(&w, 0);
	assert_int_equal(reg.puts, 0);
	assert_int_equal(reg.parts, 2);
	expect_size(&t, 0, PART + 1);
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(they_double),
	    cmocka_unit_test(all_of_them),
	    cmocka_unit_test(five_mib_at_least),
	};

	return cmocka_run_group_tests_name("models/parts", tests, NULL, NULL);
}
