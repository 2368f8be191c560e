/* The parser of what a server sends: right in any slices, and unmoved by lies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scoutfs/clock.h"
#include "sftp/stream.h"
#include "wire.h"

#define BODY 50u /* bytes each READ asks for */
#define GUARD 16u

/* One call of each kind, in this order; their ids are 1 and on. */
static const enum scout_sftp_op kinds[] = {
    SCOUT_SFTP_LSTAT,        SCOUT_SFTP_STAT,     SCOUT_SFTP_FSTAT,    SCOUT_SFTP_OPEN,
    SCOUT_SFTP_OPENDIR,      SCOUT_SFTP_READLINK, SCOUT_SFTP_READ,     SCOUT_SFTP_READDIR,
    SCOUT_SFTP_CLOSE,        SCOUT_SFTP_REALPATH, SCOUT_SFTP_READ,     SCOUT_SFTP_STATVFS,
    SCOUT_SFTP_USERS_GROUPS, SCOUT_SFTP_WRITE,    SCOUT_SFTP_COPY_DATA};
#define CALLS (sizeof(kinds) / sizeof(kinds[0]))
#define READLINK_ID 6u
#define READ_ID 7u
#define READDIR_ID 8u
#define CLOSE_ID 9u
#define STATVFS_ID 12u
#define USERS_GROUPS_ID 13u
#define WRITE_ID 14u
#define COPY_ID 15u

struct bench {
	struct scout_sftp_stream st;
	struct scout_sftp_call calls[CALLS];
	uint8_t dest[CALLS][BODY + GUARD];
	unsigned done[CALLS]; /* times */
	int err[CALLS];
	uint64_t told; /* what the answers said, summed up */
};

static void note(uint64_t *sum, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++) /* FNV-1a */
		*sum = (*sum ^ at[i]) * UINT64_C(1099511628211);
}

static void on_done(void *arg, struct scout_sftp_call *call, int err)
{
	struct bench *b = arg;
	size_t i = (size_t)(call - b->calls);

	b->done[i]++;
	b->err[i] = err;
	note(&b->told, &i, sizeof(i));
	note(&b->told, &err, sizeof(err));
	note(&b->told, &call->attrs, sizeof(call->attrs));
	note(&b->told, &call->status, sizeof(call->status));
	note(&b->told, &call->space.f_bavail, sizeof(call->space.f_bavail));
	note(&b->told, call->new_handle.bytes, call->new_handle.len);
	assert_true(call->got <= call->length);
	note(&b->told, b->dest[i], call->got);
	for (size_t n = 0; n < call->names_count; n++) {
		note(&b->told, call->names[n].name, strlen(call->names[n].name) + 1);
		note(&b->told, &call->names[n].attrs, sizeof(call->names[n].attrs));
	}
}

static struct bench *new_bench(void)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	scout_sftp_stream_init(&b->st, on_done, b);
	b->st.phase = SCOUT_SFTP_OPEN_FOR_CALLS;
	memset(b->dest, 0xee, sizeof(b->dest));
	for (size_t i = 0; i < CALLS; i++) {
		b->calls[i].op = kinds[i];
		b->calls[i].status = SCOUT_SFTP_STATUS_NONE;
		b->calls[i].length = kinds[i] == SCOUT_SFTP_READ ? BODY : 0;
		b->calls[i].dest = b->dest[i];
		assert_true(scout_sftp_stream_add(&b->st, &b->calls[i]));
		assert_int_equal(b->calls[i].id, i + 1);
	}
	return b;
}

/* What must hold however the server behaved. */
static void free_bench(struct bench *b)
{
	unsigned left = 0;

	for (size_t i = 0; i < CALLS; i++) {
		assert_true(b->done[i] <= 1);
		left += !b->done[i];
		for (size_t at = BODY; at < BODY + GUARD; at++)
			assert_int_equal(b->dest[i][at], 0xee);
	}
	assert_int_equal(b->st.count, left);
	scout_sftp_stream_free(&b->st);
	free(b);
}

static void put_space(struct wire *w, uint32_t id)
{
	begin_answer(w, SSH_FXP_EXTENDED_REPLY, id);
	for (uint64_t i = 1; i <= 11; i++)
		put64(w, i);
	end(w);
}

static void put_owners(struct wire *w, uint32_t id)
{
	begin_answer(w, SSH_FXP_EXTENDED_REPLY, id);
	put32(w, 8);
	put_str(w, "user");
	put32(w, 9);
	put_str(w, "group");
	end(w);
}

/* A right answer to each call, out of order. */
static void put_answers(struct wire *w)
{
	uint8_t body[BODY];

	for (size_t i = 0; i < BODY; i++)
		body[i] = (uint8_t)i;
	put_data(w, 11, body, BODY);
	begin_answer(w, SSH_FXP_ATTRS, 2);
	put_attrs(w, 4711, 0100644);
	end(w);
	put_status(w, 1, SSH_FX_NO_SUCH_FILE);
	begin_answer(w, SSH_FXP_ATTRS, 3);
	put32(w, 0);
	end(w);
	begin_answer(w, SSH_FXP_HANDLE, 4);
	put_str(w, "file");
	end(w);
	begin_answer(w, SSH_FXP_HANDLE, 5);
	put_str(w, "");
	end(w);
	begin_answer(w, SSH_FXP_NAME, READLINK_ID);
	put32(w, 1);
	put_name(w, "../target");
	end(w);
	put_data(w, READ_ID, body, 7); /* short: the file ends */
	begin_answer(w, SSH_FXP_NAME, READDIR_ID);
	put32(w, 3);
	put_name(w, ".");
	put_name(w, "file");
	put_name(w, "other file");
	end(w);
	put_status(w, CLOSE_ID, SSH_FX_OK);
	put_status(w, 10, SSH_FX_PERMISSION_DENIED);
	put_space(w, STATVFS_ID);
	put_owners(w, USERS_GROUPS_ID);
	put_status(w, WRITE_ID, SSH_FX_OK);
	put_status(w, COPY_ID, SSH_FX_FAILURE);
}

static uint64_t feed_in_slices(const struct wire *w, size_t first, size_t each)
{
	struct bench *b = new_bench();
	uint64_t told;
	size_t at = first;

	assert_int_equal(scout_sftp_stream_feed(&b->st, w->bytes, first), 0);
	while (at < w->len) {
		size_t n = w->len - at < each ? w->len - at : each;

		assert_int_equal(scout_sftp_stream_feed(&b->st, w->bytes + at, n), 0);
		at += n;
	}
	assert_int_equal(b->st.count, 0);
	assert_int_equal(b->st.read_bytes, 0);
	told = b->told;
	free_bench(b);
	return told;
}

static void answers_reach_their_calls(void **state)
{
	struct bench *b = new_bench();
	struct wire w = {0};

	(void)state;
	put_answers(&w);
	assert_int_equal(scout_sftp_stream_feed(&b->st, w.bytes, w.len), 0);
	for (size_t i = 0; i < CALLS; i++)
		assert_int_equal(b->done[i], 1);
	assert_int_equal(b->err[0], -ENOENT);
	assert_int_equal(b->err[9], -EACCES);
	assert_int_equal(b->calls[9].status, SSH_FX_PERMISSION_DENIED);
	assert_int_equal(b->calls[1].status, SCOUT_SFTP_STATUS_NONE);
	assert_int_equal(b->calls[STATVFS_ID - 1].space.f_bavail, 5);
	assert_int_equal(b->calls[USERS_GROUPS_ID - 1].names_count, 2);
	assert_int_equal(b->err[WRITE_ID - 1], 0);
	assert_int_equal(b->calls[WRITE_ID - 1].status, SSH_FX_OK);
	assert_int_equal(b->err[COPY_ID - 1], -EIO);
	assert_int_equal(b->calls[COPY_ID - 1].status, SCOUT_SFTP_STATUS_FAILURE);
	assert_true(b->calls[1].attrs.size == 4711);
	assert_int_equal(b->calls[2].attrs.has, 0);
	assert_int_equal(b->calls[3].new_handle.len, 4);
	assert_int_equal(b->calls[READ_ID - 1].got, 7);
	assert_int_equal(b->calls[10].got, BODY);
	for (size_t i = 0; i < BODY; i++)
		assert_int_equal(b->dest[10][i], i);
	assert_int_equal(b->dest[READ_ID - 1][7], 0xee);
	free_bench(b);
}

static void any_slices_say_the_same(void **state)
{
	struct wire w = {0};
	uint64_t whole;

	(void)state;
	put_answers(&w);
	whole = feed_in_slices(&w, w.len, 1);
	for (size_t first = 0; first < w.len; first++) /* cut in two, everywhere */
		assert_true(feed_in_slices(&w, first, w.len) == whole);
	for (size_t each = 1; each < 40; each++)
		assert_true(feed_in_slices(&w, 0, each) == whole);
}

/* Feeds w, whole and byte by byte, to a fresh table of calls: it must end the session. */
static void check_refused(const struct wire *w)
{
	for (int whole = 0; whole < 2; whole++) {
		struct bench *b = new_bench();
		int err = 0;

		if (whole)
			err = scout_sftp_stream_feed(&b->st, w->bytes, w->len);
		for (size_t i = 0; !whole && i < w->len && !err; i++)
			err = scout_sftp_stream_feed(&b->st, w->bytes + i, 1);
		assert_int_equal(err, -EIO);
		assert_non_null(b->st.problem);
		free_bench(b);
	}
}

static void unknown_ids_are_refused(void **state)
{
	struct wire w = {0};

	(void)state;
	put_status(&w, 0, SSH_FX_OK);
	check_refused(&w);
	w.len = 0;
	put_status(&w, CALLS + 1, SSH_FX_OK);
	check_refused(&w);
	w.len = 0;
	put_status(&w, CLOSE_ID + SCOUT_SFTP_CALLS_MAX, SSH_FX_OK); /* the slot, not the id */
	check_refused(&w);
	w.len = 0;
	put_data(&w, READ_ID + SCOUT_SFTP_CALLS_MAX, "x", 1);
	check_refused(&w);
	w.len = 0;
	put_status(&w, CLOSE_ID, SSH_FX_OK); /* twice */
	put_status(&w, CLOSE_ID, SSH_FX_OK);
	check_refused(&w);
}

static void unasked_types_are_refused(void **state)
{
	struct wire w = {0};

	(void)state;
	put_data(&w, 1, "x", 1);
	check_refused(&w);
	w.len = 0;
	put_status(&w, 1, SSH_FX_OK); /* success, but where are the attributes? */
	check_refused(&w);
	w.len = 0;
	put_status(&w, STATVFS_ID, SSH_FX_OK);
	check_refused(&w);
	for (uint32_t id = 1; id <= CALLS; id++) {
		enum scout_sftp_op op = kinds[id - 1];

		w.len = 0;
		begin_answer(&w, SSH_FXP_HANDLE, id);
		put_str(&w, "h");
		end(&w);
		if (op != SCOUT_SFTP_OPEN && op != SCOUT_SFTP_OPENDIR)
			check_refused(&w);
		w.len = 0;
		begin_answer(&w, SSH_FXP_ATTRS, id);
		put_attrs(&w, 1, 2);
		end(&w);
		if (op != SCOUT_SFTP_LSTAT && op != SCOUT_SFTP_STAT && op != SCOUT_SFTP_FSTAT)
			check_refused(&w);
		w.len = 0;
		begin_answer(&w, SSH_FXP_NAME, id);
		put32(&w, 1);
		put_name(&w, "n");
		end(&w);
		if (op != SCOUT_SFTP_READLINK && op != SCOUT_SFTP_REALPATH &&
		    op != SCOUT_SFTP_READDIR)
			check_refused(&w);
		w.len = 0;
		begin_answer(&w, SSH_FXP_EXTENDED_REPLY, id);
		end(&w);
		check_refused(&w);
	}
}

static void lying_lengths_are_refused(void **state)
{
	uint8_t body[BODY + 1] = {0};
	struct wire w = {0};

	(void)state;
	put_data(&w, READ_ID, body, BODY + 1); /* more than was asked for */
	check_refused(&w);
	w.len = 0;
	put_data(&w, READ_ID, body, 10); /* data ends before, or after, its packet */
	set32(&w, 9, 9);
	check_refused(&w);
	set32(&w, 9, 11);
	check_refused(&w);
	set32(&w, 9, UINT32_MAX);
	check_refused(&w);
	for (uint32_t len = 0; len < 5; len++) { /* no room for an id */
		w.len = 0;
		put_status(&w, CLOSE_ID, SSH_FX_OK);
		set32(&w, 0, len);
		check_refused(&w);
	}
	set32(&w, 0, SCOUT_SFTP_PACKET_MAX + 1);
	check_refused(&w);
	set32(&w, 0, UINT32_MAX);
	check_refused(&w);
}

static void truncated_fields_are_refused(void **state)
{
	struct wire whole = {0}, w;

	(void)state;
	begin_answer(&whole, SSH_FXP_NAME, READDIR_ID);
	put32(&whole, 2);
	put_name(&whole, "one");
	put_name(&whole, "two");
	end(&whole);
	for (uint32_t len = 5; len < whole.len - 4; len++) { /* a packet, but too short a one */
		w = whole;
		w.len = 4 + len;
		set32(&w, 0, len);
		check_refused(&w);
	}
	w = whole;
	set32(&w, 9, 3); /* one name more than there is */
	check_refused(&w);
	w.len = 0;
	begin_answer(&w, SSH_FXP_STATUS, CLOSE_ID);
	put8(&w, 0);
	end(&w);
	check_refused(&w);
	w.len = 0;
	begin_answer(&w, SSH_FXP_NAME, READLINK_ID); /* a link has one target */
	put32(&w, 2);
	put_name(&w, "one");
	put_name(&w, "two");
	end(&w);
	check_refused(&w);
	w.len = 0;
	begin_answer(&w, SSH_FXP_NAME, READLINK_ID);
	put32(&w, 0);
	end(&w);
	check_refused(&w);
	w.len = 0;
	put_space(&w, STATVFS_ID);
	for (uint32_t len = 5; len < w.len + 4; len++) { /* cut, or longer than what it carries */
		whole = w;
		whole.len = 4 + len;
		set32(&whole, 0, len);
		if (whole.len != w.len)
			check_refused(&whole);
	}
	w.len = 0;
	put_owners(&w, USERS_GROUPS_ID);
	for (uint32_t len = 5; len < w.len + 4; len++) {
		whole = w;
		whole.len = 4 + len;
		set32(&whole, 0, len);
		if (whole.len != w.len)
			check_refused(&whole);
	}
}

static void ends_of_files_and_directories(void **state)
{
	struct bench *b = new_bench();
	struct wire w = {0};

	(void)state;
	put_status(&w, READ_ID, SSH_FX_EOF);
	put_status(&w, READDIR_ID, SSH_FX_EOF);
	put_data(&w, 11, "", 0);
	begin_answer(&w, SSH_FXP_STATUS, CLOSE_ID); /* old servers send no words */
	put32(&w, SSH_FX_OK);
	end(&w);
	assert_int_equal(scout_sftp_stream_feed(&b->st, w.bytes, w.len), 0);
	assert_int_equal(b->done[READ_ID - 1], 1);
	assert_int_equal(b->err[READ_ID - 1], 0);
	assert_int_equal(b->calls[READ_ID - 1].got, 0);
	assert_int_equal(b->err[READDIR_ID - 1], 0);
	assert_int_equal(b->calls[READDIR_ID - 1].names_count, 0);
	assert_int_equal(b->done[10], 1);
	assert_int_equal(b->calls[10].got, 0);
	assert_int_equal(b->done[CLOSE_ID - 1], 1);
	free_bench(b);
}

static void data_before_calls_is_refused(void **state)
{
	struct scout_sftp_stream st;
	struct wire w = {0};

	(void)state;
	put_data(&w, 1, "x", 1);
	for (int phase = 0; phase <= SCOUT_SFTP_OPEN_FOR_CALLS; phase++) {
		scout_sftp_stream_init(&st, on_done, NULL);
		st.phase = (enum scout_sftp_phase)phase;
		assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), -EIO);
		scout_sftp_stream_free(&st);
	}
}

static void count_done(void *arg, struct scout_sftp_call *call, int err)
{
	(void)call;
	assert_int_equal(err, 0);
	++*(unsigned *)arg;
}

static void the_table_is_bounded_and_ids_are_fresh(void **state)
{
	static struct scout_sftp_call calls[SCOUT_SFTP_CALLS_MAX], extra;
	struct scout_sftp_stream st;
	struct wire w = {0};
	unsigned done = 0;
	uint32_t old;

	(void)state;
	scout_sftp_stream_init(&st, count_done, &done);
	st.phase = SCOUT_SFTP_OPEN_FOR_CALLS;
	st.next_id = UINT32_MAX - 100; /* ids wrap round, past the one of limits */
	for (size_t i = 0; i < SCOUT_SFTP_CALLS_MAX; i++) {
		calls[i].op = SCOUT_SFTP_CLOSE;
		assert_true(scout_sftp_stream_add(&st, &calls[i]));
		assert_true(calls[i].id < SCOUT_SFTP_SELF_ID);
	}
	extra.op = SCOUT_SFTP_CLOSE;
	assert_false(scout_sftp_stream_add(&st, &extra));
	old = calls[77].id;
	put_status(&w, old, SSH_FX_OK);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(done, 1);
	assert_true(scout_sftp_stream_add(&st, &extra));
	assert_int_equal(extra.id % SCOUT_SFTP_CALLS_MAX, old % SCOUT_SFTP_CALLS_MAX);
	assert_int_not_equal(extra.id, old);
	assert_ptr_equal(TAILQ_FIRST(&st.in_flight), &calls[0]);
	w.len = 0;
	for (size_t i = SCOUT_SFTP_CALLS_MAX; i-- > 0;)
		put_status(&w, i == 77 ? extra.id : calls[i].id, SSH_FX_OK);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(done, SCOUT_SFTP_CALLS_MAX + 1);
	assert_true(TAILQ_EMPTY(&st.in_flight));
	scout_sftp_stream_free(&st);
}

static uint32_t next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(*seed >> 32);
}

/* 20,000 damaged streams in random slices: never past a destination, never a call twice. */
static void damage_is_survived(void **state)
{
	struct wire whole = {0}, w;
	unsigned refused = 0;
	uint64_t seed = 4711;

	(void)state;
	put_answers(&whole);
	for (int round = 0; round < 20000; round++) {
		struct bench *b = new_bench();
		size_t at = 0;
		int err = 0;

		w = whole;
		for (uint32_t n = next_random(&seed) % 4 + 1; n; n--)
			w.bytes[next_random(&seed) % w.len] = (uint8_t)next_random(&seed);
		while (at < w.len && !err) {
			size_t n = next_random(&seed) % 64 + 1;

			if (n > w.len - at)
				n = w.len - at;
			err = scout_sftp_stream_feed(&b->st, w.bytes + at, n);
			at += n;
		}
		assert_true(err == 0 || err == -EIO);
		refused += err != 0;
		free_bench(b);
	}
	assert_true(refused > 1000); /* the damage reached something */
	assert_true(refused < 20000);
}

/* As much as is on its way, and no more: what waits at the server costs it. */
static void test_reads_in_flight(void **state)
{
	static const struct {
		uint64_t round_trip_us;
		size_t window_mib;
		unsigned most_mib;
	} cases[] = {{0, 16, 4},      {200, 16, 4},     {7900, 16, 4},     {20000, 16, 10},
		     {48000, 16, 24}, {300000, 16, 32}, {300000, 64, 128}, {200, 2, 4}};
	struct scout_sftp_stream st;
	(void)state;

	scout_sftp_stream_init(&st, on_done, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t ns = cases[i].round_trip_us * 1000,
			 most = (uint64_t)cases[i].most_mib << 20;
		size_t window = cases[i].window_mib << 20;

		st.read_bytes = most - 1000;
		assert_true(scout_sftp_stream_may_read(&st, 1000, ns, window));
		assert_false(scout_sftp_stream_may_read(&st, 1001, ns, window));
		st.read_bytes = 0; /* one always may */
		assert_true(scout_sftp_stream_may_read(&st, UINT32_MAX, ns, window));
	}
	scout_sftp_stream_free(&st);
}

/* Late answers tell what the link moves in a moment, answers in time let in twice as much. */
static void test_reads_of_a_slow_link(void **state)
{
	const uint64_t mib = 1 << 20, rtt = 50 * SCOUT_NS_PER_MS;
	struct scout_sftp_call call = {
	    .op = SCOUT_SFTP_READ, .length = 1 << 18, .among_bytes = 12 * mib};
	struct scout_sftp_stream st;

	(void)state;
	scout_sftp_stream_init(&st, on_done, NULL);
	scout_sftp_stream_note_read(&st, &call, rtt + 400 * SCOUT_NS_PER_MS, rtt);
	st.read_bytes = 20 * mib;
	assert_true(scout_sftp_stream_may_read(&st, 1, rtt, 64 * mib));
	scout_sftp_stream_note_read(&st, &call, 3 * SCOUT_NS_PER_S, rtt); /* 4 MiB/s, for 0.3 s */
	st.read_bytes = mib;
	assert_true(scout_sftp_stream_may_read(&st, mib / 8, rtt, 64 * mib));
	assert_false(scout_sftp_stream_may_read(&st, mib / 4, rtt, 64 * mib));
	for (unsigned i = 0; i < 4; i++)
		scout_sftp_stream_note_read(&st, &call, rtt, rtt);
	assert_true(scout_sftp_stream_may_read(&st, mib, rtt, 64 * mib));
	scout_sftp_stream_note_read(&st, &call, 3600 * SCOUT_NS_PER_S, rtt);
	st.read_bytes = mib / 8;
	assert_true(scout_sftp_stream_may_read(&st, mib / 8, rtt, 64 * mib));
	assert_false(scout_sftp_stream_may_read(&st, mib / 4, rtt, 64 * mib));
	scout_sftp_stream_free(&st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reads_in_flight),
	    cmocka_unit_test(test_reads_of_a_slow_link),
	    cmocka_unit_test(answers_reach_their_calls),
	    cmocka_unit_test(any_slices_say_the_same),
	    cmocka_unit_test(unknown_ids_are_refused),
	    cmocka_unit_test(unasked_types_are_refused),
	    cmocka_unit_test(lying_lengths_are_refused),
	    cmocka_unit_test(truncated_fields_are_refused),
	    cmocka_unit_test(ends_of_files_and_directories),
	    cmocka_unit_test(data_before_calls_is_refused),
	    cmocka_unit_test(the_table_is_bounded_and_ids_are_fresh),
	    cmocka_unit_test(damage_is_survived),
	};

	return cmocka_run_group_tests_name("sftp/stream", tests, NULL, NULL);
}
