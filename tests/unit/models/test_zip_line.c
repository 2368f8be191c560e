/* More names of archives' members than may be in memory at once: who comes to the bound waits in line. */
#include "zip_mount.h"

#include "models/zip.h"
#include "models/zip_format.h"

#define MEMBERS 160000
#define NAME_BYTES 250
#define LARGE 4 /* archives, of which two are all that fit */

static struct zip large;

static void up(struct mount *t)
{
	mount_up(t, "", 16 * MIB);
	for (char key[] = "0/model.zip"; key[0] < '0' + LARGE; key[0]++) {
		fake_put(key, large.file.len);
		fake_find(key)->contents = large.file.p;
	}
}

static struct asked *ask_folder(struct mount *t, unsigned which)
{
	char path[] = "0/model.zip.d";

	path[0] += (char)which;
	return ask_opendir(t, path);
}

static void close_folder(struct mount *t, struct asked *d)
{
	assert_int_equal(d->err, 0);
	t->backend.ops->releasedir(t->backend.self, d->handle);
	asked_free(d);
}

static size_t in_line(struct mount *t)
{
	return atomic_load(&t->models->zips->nline);
}

/* Until it is in line as the nth. */
static struct asked *waits(struct mount *t, struct asked *d, size_t n)
{
	while (in_line(t) < n) {
		assert_false(asked_is_done(d));
		if (!fake_answer_one())
			sched_yield();
	}
	return d;
}

static void in_their_order(void **state)
{
	struct asked *d[LARGE], *small;
	struct mount t;
	struct zip z;
	size_t held;

	(void)state;
	up(&t);
	put_archive("small/model.zip", &z);
	for (unsigned i = 0; i < 2; i++)
		d[i] = answered(ask_folder(&t, i));
	held = atomic_load(&t.models->zips->names_bytes);
	for (unsigned i = 2; i < 4; i++)
		d[i] = waits(&t, ask_folder(&t, i), i - 1);
	/* they have nothing while they wait, and small ones go past them */
	assert_int_equal(atomic_load(&t.models->zips->names_bytes), held);
	small = answered(ask_opendir(&t, "small/model.zip.d"));
	close_folder(&t, small);
	assert_int_equal(in_line(&t), 2);
	for (unsigned i = 0; i < 2; i++) {
		close_folder(&t, d[i]);
		answer_until_done(d[i + 2]);
		assert_int_equal(in_line(&t), 1 - i);
		assert_true(i == 1 || !asked_is_done(d[3]));
	}
	for (unsigned i = 2; i < 4; i++)
		close_folder(&t, d[i]);
	expect(answered(ask_getattr(&t, "3/model.zip.d/none")), -ENOENT);
	mount_down(&t);
	zip_free(&z);
}

/* Not longer than the timeout: then it is ENOMEM, with one line for all who wait for that archive. */
static void for_a_while(void **state)
{
	char log[] = "/tmp/scoutfs-zip.XXXXXX";
	struct asked *d[2], *a, *b;
	struct mount t;

	(void)state;
	close(mkstemp(log));
	up(&t);
	for (unsigned i = 0; i < 2; i++)
		d[i] = answered(ask_folder(&t, i));
	t.config.models.timeout_ns = SCOUT_NS_PER_S / 20;
	assert_int_equal(scout_log_open(SCOUT_LOG_WARN, log, false), 0);
	a = ask_folder(&t, 2);
	b = ask_folder(&t, 2);
	expect(answered(a), -ENOMEM);
	expect(answered(b), -ENOMEM);
	(void)scout_log_open(SCOUT_LOG_ERROR, NULL, false);
	assert_int_equal(lines_of(log, "too many large archives"), 1);
	assert_int_equal(lines_of(log, "'2/model.zip'"), 1);
	assert_int_equal(in_line(&t), 0);
	/* who comes later is not refused for that */
	close_folder(&t, d[0]);
	a = answered(ask_folder(&t, 2));
	close_folder(&t, a);
	close_folder(&t, d[1]);
	mount_down(&t);
	unlink(log);
}

static void until_the_end(void **state)
{
	struct asked *d[2], *a;
	struct mount t;

	(void)state;
	up(&t);
	for (unsigned i = 0; i < 2; i++)
		d[i] = answered(ask_folder(&t, i));
	a = waits(&t, ask_folder(&t, 2), 1);
	mount_stop(&t);
	expect(a, -ESHUTDOWN);
	for (unsigned i = 0; i < 2; i++)
		close_folder(&t, d[i]);
	mount_down(&t);
}

/* All at once: of three that are being read none has place for all its names. */
static void none_keeps_another_from_it(void **state)
{
	struct asked *d[LARGE];
	unsigned done = 0;
	struct mount t;

	(void)state;
	up(&t);
	for (unsigned i = 0; i < LARGE; i++)
		d[i] = ask_folder(&t, i);
	while (done < LARGE) {
		if (!fake_answer_one())
			sched_yield();
		for (unsigned i = 0; i < LARGE; i++) {
			if (!d[i] || !asked_is_done(d[i]))
				continue;
			close_folder(&t, d[i]);
			d[i] = NULL;
			done++;
		}
	}
	mount_down(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(in_their_order),
	    cmocka_unit_test(for_a_while),
	    cmocka_unit_test(until_the_end),
	    cmocka_unit_test(none_keeps_another_from_it),
	};
	static const uint8_t header[SCOUT_ZIP_LOCAL];
	struct said s = {.mode = 0100644};
	char name[NAME_BYTES + 1] = "";
	int failed;

	plain = text(TEXT_BYTES, 11);
	memset(name, 'n', NAME_BYTES);
	s.name = name;
	for (unsigned i = 0; i < MEMBERS; i++) {
		snprintf(name, 7, "%06u", i);
		name[6] = 'n';
		s.header = i * SCOUT_ZIP_LOCAL; /* they are empty */
		put(&large.file, header, sizeof(header));
		say(&large, &s);
	}
	finish(&large, true, "");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	zip_free(&large);
	free(plain);
	return failed;
}
