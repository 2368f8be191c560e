/* What a session asks before it takes calls, and what it is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sftp/stream.h"
#include "wire.h"

static void on_done(void *arg, struct scout_sftp_call *call, int err)
{
	(void)arg;
	(void)call;
	(void)err;
	fail();
}

/* A stream that has asked what it asks first. */
static void greeted(struct scout_sftp_stream *st, bool has_limits)
{
	struct scout_sftp_buf out = {0};

	scout_sftp_stream_init(st, on_done, NULL);
	st->phase = SCOUT_SFTP_GOT_VERSION;
	st->has_limits = has_limits;
	assert_int_equal(scout_sftp_stream_greet(st, &out), 0);
	assert_int_equal(st->phase, SCOUT_SFTP_AWAIT_ANSWERS);
	assert_int_equal(out.len, has_limits ? 14 + 31 : 14);
	scout_sftp_buf_free(&out);
}

static void put_limits(struct wire *w)
{
	begin_answer(w, SSH_FXP_EXTENDED_REPLY, SCOUT_SFTP_LIMITS_ID);
	for (int i = 0; i < 4; i++)
		put64(w, 65536);
	end(w);
}

static void put_self(struct wire *w)
{
	begin_answer(w, SSH_FXP_ATTRS, SCOUT_SFTP_SELF_ID);
	put_attrs(w, 4096, 040755);
	end(w);
}

static void the_greeting_comes_first(void **state)
{
	struct scout_sftp_stream st;
	struct wire w = {0};

	(void)state;
	scout_sftp_stream_init(&st, on_done, NULL);
	assert_int_equal(st.server.read_bytes, 32768);
	begin(&w, SSH_FXP_VERSION);
	put32(&w, 3);
	put_str(&w, "limits@openssh.com");
	put_str(&w, "1");
	end(&w);
	for (size_t i = 0; i < w.len; i++)
		assert_int_equal(scout_sftp_stream_feed(&st, w.bytes + i, 1), 0);
	assert_int_equal(st.phase, SCOUT_SFTP_GOT_VERSION);
	assert_true(st.has_limits);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), -EIO); /* unasked */
	scout_sftp_stream_free(&st);

	scout_sftp_stream_init(&st, on_done, NULL);
	greeted(&st, true);
	w.len = 0;
	put_limits(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(st.phase, SCOUT_SFTP_AWAIT_ANSWERS);
	assert_int_equal(st.server.read_bytes, 65536);
	w.len = 0;
	put_self(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(st.phase, SCOUT_SFTP_OPEN_FOR_CALLS);
	assert_true(st.server.knows_self);
	assert_int_equal(st.server.uid, 1000);
	assert_int_equal(st.server.gid, 100);
	scout_sftp_stream_free(&st);

	greeted(&st, true); /* the other way round */
	w.len = 0;
	put_self(&w);
	put_limits(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(st.phase, SCOUT_SFTP_OPEN_FOR_CALLS);
	assert_int_equal(st.server.read_bytes, 65536);
	assert_true(st.server.knows_self);
	scout_sftp_stream_free(&st);
}

/* What is asked with INIT is answered behind VERSION, and not before it; limits by who has none, too. */
static void the_greeting_goes_with_init(void **state)
{
	struct scout_sftp_stream st;
	struct scout_sftp_buf out = {0};
	struct wire w = {0};

	(void)state;
	scout_sftp_stream_init(&st, on_done, NULL);
	assert_int_equal(scout_sftp_stream_greet(&st, &out), 0);
	assert_int_equal(out.len, 14 + 31);
	scout_sftp_buf_free(&out);
	assert_int_equal(st.phase, SCOUT_SFTP_AWAIT_VERSION);
	begin(&w, SSH_FXP_VERSION);
	put32(&w, 3);
	end(&w);
	put_self(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(st.phase, SCOUT_SFTP_AWAIT_ANSWERS);
	w.len = 0;
	put_status(&w, SCOUT_SFTP_LIMITS_ID, SSH_FX_OP_UNSUPPORTED);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(st.phase, SCOUT_SFTP_OPEN_FOR_CALLS);
	assert_int_equal(st.server.read_bytes, 32768);
	assert_true(st.server.knows_self);
	scout_sftp_stream_free(&st);

	scout_sftp_stream_init(&st, on_done, NULL);
	assert_int_equal(scout_sftp_stream_greet(&st, &out), 0);
	scout_sftp_buf_free(&out);
	w.len = 0;
	put_self(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), -EIO);
	scout_sftp_stream_free(&st);
}

/* Each is answered once. */
static void the_greeting_is_not_repeated(void **state)
{
	struct scout_sftp_stream st;
	struct wire w = {0};

	(void)state;
	greeted(&st, true);
	put_limits(&w);
	put_limits(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), -EIO);
	scout_sftp_stream_free(&st);
	greeted(&st, true);
	w.len = 0;
	put_self(&w);
	put_self(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), -EIO);
	scout_sftp_stream_free(&st);
	greeted(&st, false); /* limits were not asked for */
	w.len = 0;
	put_limits(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), -EIO);
	scout_sftp_stream_free(&st);
}

static void the_greeting_may_be_refused(void **state)
{
	struct scout_sftp_stream st;
	struct wire w = {0};

	(void)state;
	greeted(&st, true);
	put_status(&w, SCOUT_SFTP_LIMITS_ID, SSH_FX_OP_UNSUPPORTED);
	put_status(&w, SCOUT_SFTP_SELF_ID, SSH_FX_PERMISSION_DENIED);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(st.phase, SCOUT_SFTP_OPEN_FOR_CALLS);
	assert_int_equal(st.server.read_bytes, 32768);
	assert_false(st.server.knows_self);
	scout_sftp_stream_free(&st);
	greeted(&st, false);
	w.len = 0;
	begin_answer(&w, SSH_FXP_ATTRS, SCOUT_SFTP_SELF_ID); /* it does not say whose */
	put32(&w, 0);
	end(&w);
	assert_int_equal(scout_sftp_stream_feed(&st, w.bytes, w.len), 0);
	assert_int_equal(st.phase, SCOUT_SFTP_OPEN_FOR_CALLS);
	assert_false(st.server.knows_self);
	scout_sftp_stream_free(&st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_greeting_comes_first),
	    cmocka_unit_test(the_greeting_goes_with_init),
	    cmocka_unit_test(the_greeting_is_not_repeated),
	    cmocka_unit_test(the_greeting_may_be_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
