/* Whoever goes through a far host's folders, or reads its files one after the other: what comes next is asked for
 * before he is there, and given to him only while it is right. */
#include "pool.h"

#include "hosts/early.h"
#include "hosts/folder.h"

#define FEW ((size_t)32 << 20)
#define FILES 30

static struct ask a, b;

static const unsigned in[] = {0, 1, 3}, is[] = {1, 3, 4};

/* /d has files "0", "1", "3"… of so many bytes as they are called, /w has folders of these names, each with an empty
 * file and three others; of the first three folders these can be opened. */
static void set_up(void)
{
	char path[16];

	rig_config(3);
	fake_mkdir_locked("/d", FILES);
	fake_mkdir_locked("/w", 10);
	fake_find_locked("/w")->of_folders = true;
	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof path, "/d/%u", i);
		fake_add_locked(path, i, 0, i);
		fake_find_locked(path)->mode = S_IFREG | 0600;
	}
	for (unsigned i = 0; i < 10; i++) {
		(void)snprintf(path, sizeof path, "/w/%u", i);
		fake_mkdir_locked(path, 5);
	}
	for (unsigned i = 0; i < 9; i++) {
		(void)snprintf(path, sizeof path, "/w/%u/%u", in[i / 3], is[i % 3]);
		fake_add_locked(path, is[i % 3], 0, is[i % 3]);
		fake_find_locked(path)->mode = S_IFREG | 0600;
	}
	fake.far_ns = 50 * SCOUT_NS_PER_MS;
	fake.server.extensions |= SCOUT_SFTP_EXT(SCOUT_SFTP_LSETSTAT);
	rig.hosts[0].attr_timeout_ns = 3600 * SCOUT_NS_PER_S; /* nothing grows old here */
	rig_start(FEW);
	ask_getattr(&a, "h0/d");
	assert_int_equal(ask_wait(&a), 0);
}

static void tear_down(void)
{
	rig_stop();
	fake_reset();
}

static void open_folder(struct ask *ask, const char *path)
{
	ask_start(ask, ASK_OPEN);
	rig.backend.ops->opendir(rig.backend.self, path, &ask->req);
}

/* Reads the folder to its end and closes it: so many entries. */
static size_t entries(struct ask *ask)
{
	static struct ask read;
	size_t n = 0;

	assert_int_equal(ask_wait(ask), 0);
	do {
		ask_start(&read, ASK_DIR);
		rig.backend.ops->readdir(rig.backend.self, ask->handle, n, &read.req);
		assert_int_equal(ask_wait(&read), 0);
		n += read.entries;
	} while (read.entries);
	rig.backend.ops->releasedir(rig.backend.self, ask->handle);
	return n;
}

static size_t list(const char *path)
{
	open_folder(&a, path);
	return entries(&a);
}

static void read_open(unsigned n, unsigned seed)
{
	ask_read(&b, &a, 0, 4096);
	assert_int_equal(ask_wait(&b), 0);
	assert_int_equal(b.size, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(b.data[i], fake_byte(i, seed));
	file_release(&a);
}

/* Opens and reads /folder/n, of which all is as set_up made it. */
static void read_in(const char *folder, unsigned n)
{
	char path[16];

	(void)snprintf(path, sizeof path, "h0/%s/%u", folder, n);
	assert_int_equal(ask_open(&a, path), 0);
	read_open(n, n);
}

static void read_file(unsigned n)
{
	read_in("d", n);
}

/* Lists /d and reads its first two files, so that 5 to 11 are read early; waits until they are. */
static void walk(void)
{
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	read_file(3);
	FAKE_WAIT(fake.count[SCOUT_SFTP_FSTAT] == 7);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2 + 7);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2 + 7);
}

static unsigned counted(const char *name)
{
	char *text = self_text(rig.backend.ops->metrics), *at;
	char line[64];
	unsigned n;

	(void)snprintf(line, sizeof line, "\nscoutfs_hosts_%s_total ", name);
	at = strstr(text, line);
	assert_non_null(at);
	n = (unsigned)strtoul(at + strlen(line), NULL, 10);
	free(text);
	return n;
}

static void files_that_come_next_are_read_early(void **state)
{
	(void)state;
	set_up();
	walk();
	read_file(4); /* was too late for that */
	assert_int_equal(counted("files_early"), 0);
	for (unsigned i = 5; i < FILES; i++) {
		read_file(i);
		FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] >= fake.count[SCOUT_SFTP_OPEN]);
	}
	assert_int_equal(counted("files_early"), FILES - 5);
	assert_int_equal(counted("files_early_wasted"), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_READ], FILES - 2); /* each once, but 0 and 2 */
	tear_down();
}

static void who_reads_here_and_there_gets_what_he_asks_for(void **state)
{
	static const unsigned jumps[] = {1, 7, 4, 9, 3, 12, 20, 6};

	(void)state;
	set_up();
	assert_int_equal(list("h0/d"), FILES - 1);
	for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++)
		read_file(jumps[i]);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 8);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 8);
	tear_down();
}

static void near_everything_is_asked_for(void **state)
{
	(void)state;
	set_up();
	rig_stop();
	fake.far_ns = 0;
	memset(fake.count, 0, sizeof fake.count);
	rig_start(FEW);
	assert_int_equal(list("h0/d"), FILES - 1);
	for (unsigned i = 3; i < 10; i++)
		read_file(i);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 7);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 7);
	tear_down();
}

/* Nothing is believed, or not for as long as a listing takes. */
static void what_would_be_too_old_is_not_asked_for(void **state)
{
	static const uint64_t timeouts[] = {0, 150 * SCOUT_NS_PER_MS};

	(void)state;
	for (size_t n = 0; n < 2; n++) {
		set_up();
		rig_stop();
		rig.hosts[0].attr_timeout_ns = timeouts[n];
		memset(fake.count, 0, sizeof fake.count);
		rig_start(FEW);
		assert_int_equal(list("h0/w"), 9);
		assert_int_equal(list("h0/w/0"), 4);
		assert_int_equal(list("h0/w/1"), 4);
		assert_int_equal(list("h0/w/3"), 4);
		for (unsigned i = 0; i < 3 && !timeouts[n]; i++)
			read_in("w/3", is[i]);
		FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == (timeouts[n] ? 4 : 7));
		assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 4);
		assert_int_equal(fake.count[SCOUT_SFTP_OPEN], timeouts[n] ? 0 : 3);
		tear_down();
	}
}

static void what_another_changed_is_read_anew(void **state)
{
	(void)state;
	set_up();
	walk();
	FAKE_LOCKED(fake_add_locked("/d/5", 5, 7, 99)); /* replaced: of another time */
	FAKE_LOCKED(fake_append_locked("/d/6", 100, 0, 6));
	assert_int_equal(ask_open(&a, "h0/d/5"), 0);
	read_open(5, 99);
	assert_int_equal(ask_open(&a, "h0/d/6"), 0);
	assert_int_equal(a.attr.size, 106);
	file_release(&a);
	FAKE_LOCKED(fake_find_locked("/d/7")->gone = true);
	assert_int_equal(ask_open(&a, "h0/d/7"), -ENOENT);
	assert_int_equal(counted("files_early"), 0);
	assert_int_equal(counted("files_early_wasted"), 2);
	tear_down();
}

static void our_own_change_is_read(void **state)
{
	struct scout_setattr times = {.set = SCOUT_SET_MTIME, .mtime.tv_sec = 3};

	(void)state;
	set_up();
	walk();
	ask_start(&b, ASK_CHANGED);
	rig.backend.ops->setattr(rig.backend.self, "h0/d/29", NULL, &times, &b.req);
	assert_int_equal(ask_wait(&b), 0);
	/* size and time may be the same, whatever it was that we changed */
	FAKE_LOCKED(fake_add_locked("/d/5", 5, 0, 99),
		    fake_find_locked("/d/5")->mode = S_IFREG | 0600);
	assert_int_equal(ask_open(&a, "h0/d/5"), 0);
	read_open(5, 99);
	assert_int_equal(counted("files_early"), 0);
	/* and now that somebody changes things, nothing is */
	read_file(6);
	read_file(7);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2 + 7 + 3);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2 + 7 + 3);
	tear_down();
}

static void change_at_read(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	if (call->op == SCOUT_SFTP_READ && fake.count[SCOUT_SFTP_READ] > 2)
		fake_find_locked("/d/5")->mtime = 8;
}

static void one_that_changes_while_it_is_read_is_not_kept(void **state)
{
	(void)state;
	set_up();
	fake.before = change_at_read;
	walk();
	assert_int_equal(counted("files_early_wasted"), 1);
	assert_int_equal(ask_open(&a, "h0/d/5"), 0);
	assert_int_equal(a.attr.mtime.tv_sec, 8);
	read_open(5, 5);
	assert_int_equal(counted("files_early"), 0);
	tear_down();
}

/* As files of sysfs do, of which each says a page. */
static void who_finds_files_that_end_early_is_left_alone(void **state)
{
	(void)state;
	set_up();
	FAKE_LOCKED(fake.short_reads = 4);
	walk();
	assert_int_equal(counted("files_early_wasted"), 7);
	for (unsigned i = 4; i < 12; i++)
		read_file(i);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1 + 2 + 7 + 8);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2 + 7 + 8);
	tear_down();
}

static void memory_is_given_back(void **state)
{
	unsigned n = 0;

	(void)state;
	set_up();
	walk();
	while (scout_early_reclaim(rig.backend.self))
		n++;
	assert_int_equal(n, 7);
	assert_int_equal(counted("files_early_wasted"), 7);
	read_file(4);
	read_file(5);
	tear_down();
}

static void a_lost_session_is_no_harm(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	assert_int_equal(ask_open(&a, "h0/d/3"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_read(&b, &a, 0, 4096);
	FAKE_LOCKED(fake.sessions[0]->kill = -ECONNRESET, fake.hold_answers = false);
	assert_int_equal(ask_wait(&b), 0);
	file_release(&a);
	read_file(4);
	read_file(5);
	tear_down();
}

/* Lists /w, and goes into its first two folders, so that 3 to 6 are listed ahead; waits until they are. */
static void go(void)
{
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 2);
	assert_int_equal(list("h0/w/1"), 4);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 3 + 4);
}

static void folders_that_come_next_are_listed_ahead(void **state)
{
	(void)state;
	set_up();
	go();
	assert_int_equal(list("h0/w/3"), 4);
	assert_int_equal(list("h0/w/4"), 4);
	assert_int_equal(counted("folders_ahead"), 2);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 10); /* /w and each folder in it, once */
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 10);
	/* once: who comes again asks the server */
	assert_int_equal(list("h0/w/3"), 4);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 11);
	/* a directory that was opened so is listed anew from its start, as any */
	open_folder(&b, "h0/w/5");
	assert_int_equal(ask_wait(&b), 0);
	for (unsigned i = 0; i < 2; i++) {
		ask_start(&a, ASK_DIR);
		rig.backend.ops->readdir(rig.backend.self, b.handle, 0, &a.req);
		assert_int_equal(ask_wait(&a), 0);
		assert_int_equal(a.entries, 4);
		ask_start(&a, ASK_DIR);
		rig.backend.ops->readdir(rig.backend.self, b.handle, 4, &a.req);
		assert_int_equal(ask_wait(&a), 0);
		assert_int_equal(a.entries, 0);
		assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 11 + i);
	}
	rig.backend.ops->releasedir(rig.backend.self, b.handle);
	tear_down();
}

static void who_finds_large_folders_is_left_alone(void **state)
{
	(void)state;
	set_up();
	for (unsigned i = 3; i < 10; i++) {
		char path[16];

		(void)snprintf(path, sizeof path, "/w/%u", i);
		fake_find_locked(path)->entries = 1500;
	}
	go();
	for (unsigned i = 3; i < 10; i++) {
		char path[16];

		(void)snprintf(path, sizeof path, "h0/w/%u", i);
		assert_int_equal(list(path), 1499);
	}
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4 + 7);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 3 + 4 + 7);
	tear_down();
}

static void our_own_change_is_listed(void **state)
{
	struct scout_host *host;

	(void)state;
	set_up();
	go();
	ask_start(&b, ASK_NONE);
	rig.backend.ops->unlink(rig.backend.self, "h0/d/5", &b.req);
	assert_int_equal(ask_wait(&b), 0);
	host = find("h0"); /* nor is it quiet for who looked at the clock before */
	assert_false(scout_folder_calm(host, atomic_load(&host->changed_ns) - 1));
	scout_host_unref(host);
	assert_int_equal(list("h0/w/3"), 4);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 8);
	assert_int_equal(counted("folders_ahead"), 0);
	tear_down();
}

/* What is known of the folder, which nobody else looks at just now. */
static struct scout_folder *known(const char *path)
{
	struct scout_hosts *all = rig.backend.self;
	struct scout_host *host = find("h0");
	struct scout_folder *f;

	scout_lock(&all->aheads.lock);
	f = scout_folder_find_locked(host, path, strlen(path));
	scout_unlock(&all->aheads.lock);
	scout_host_unref(host);
	assert_non_null(f);
	return f;
}

static void an_old_listing_is_of_no_use(void **state)
{
	(void)state;
	set_up();
	go();
	known("/w/3")->names.began_ns -= rig.hosts[0].attr_timeout_ns;
	assert_int_equal(list("h0/w/3"), 4);
	assert_int_equal(counted("folders_ahead"), 0);
	assert_int_equal(counted("folders_ahead_wasted"), 1);
	tear_down();
}

/* Who is long in each folder has the next one listed when he is at its end, and its first file read. */
static void who_is_slow_has_the_next_folder_in_time(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	known("/w")->walks[SCOUT_KIND_FOLDER].gap_ns = 4 * rig.hosts[0].attr_timeout_ns;
	assert_int_equal(list("h0/w/1"), 4);
	read_in("w/1", 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 3);
	read_in("w/1", 3);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 2 + 1 + 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 4);
	assert_int_equal(list("h0/w/3"), 4);
	read_in("w/3", 1);
	assert_int_equal(counted("folders_ahead"), 1);
	assert_int_equal(counted("files_early"), 1);
	tear_down();
}

/* rsync opens all folders, and then looks at and reads the files of one after the other. */
static void who_read_a_folder_reads_the_next_one_so(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	assert_int_equal(list("h0/w/1"), 4);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4);
	read_in("w/0", 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 1);
	read_in("w/0", 3); /* now 1, too, is listed again, and its first file read */
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4 + 2 + 1 + 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 3 + 4 + 1);
	assert_int_equal(fake.count[SCOUT_SFTP_OPEN], 2 + 1);
	read_in("w/0", 4);
	read_in("w/1", 1); /* now the last file, and the first one of 3 */
	assert_int_equal(counted("files_early"), 1);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 3 + 4 + 2 + 1 + 1 + 2 + 2);
	read_in("w/1", 3);
	read_in("w/1", 4);
	read_in("w/3", 1);
	assert_int_equal(counted("files_early"), 3);
	assert_int_equal(counted("files_early_wasted"), 0);
	tear_down();
}

static void make_folders(const char *top, unsigned n)
{
	char path[16];

	fake_mkdir_locked(top, n);
	fake_find_locked(top)->of_folders = true;
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(path, sizeof path, "%s/%u", top, i);
		fake_mkdir_locked(path, 5);
	}
}

/* Together they have more ahead than there is place for. */
static void three_finds_leave_each_other_what_is_ahead(void **state)
{
	const unsigned n = 50;
	unsigned wasted;
	char path[16];

	(void)state;
	set_up();
	FAKE_LOCKED(make_folders("/x", n), make_folders("/y", n), make_folders("/z", n));
	assert_int_equal(list("h0/x"), n - 1);
	assert_int_equal(list("h0/y"), n - 1);
	assert_int_equal(list("h0/z"), n - 1);
	for (unsigned i = 0; i < n; i++) {
		for (const char *top = "xyz"; i != 2 && *top; top++) {
			(void)snprintf(path, sizeof path, "h0/%c/%u", *top, i);
			assert_int_equal(list(path), 4);
			FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == fake.count[SCOUT_SFTP_OPENDIR]);
		}
	}
	wasted = counted("folders_ahead_wasted");
	assert_true(wasted <= 2);
	assert_true(fake.count[SCOUT_SFTP_OPENDIR] <= 3 * n + wasted);
	assert_true(counted("folders_ahead") >= n);
	tear_down();
}

/* As many are listed ahead of two hosts as may be, and none comes to an end. */
static void hosts_that_hang_leave_some_to_others(void **state)
{
	struct scout_folders evicted = TAILQ_HEAD_INITIALIZER(evicted);
	struct scout_hosts *all;
	unsigned busy = 0;

	(void)state;
	set_up();
	all = rig.backend.self;
	for (unsigned n = 1; n < 3; n++) {
		char name[3] = {'h', (char)('0' + n)};
		struct scout_host *host = find(name);

		scout_lock(&all->aheads.lock);
		for (unsigned i = 0; i < 40; i++) {
			char path[16];
			struct scout_folder *f;

			(void)snprintf(path, sizeof path, "/%u", i);
			f = scout_folder_plan_locked(host, path, scout_now_ns(), &evicted);
			if (f)
				f->busy = true;
			busy += f != NULL;
		}
		scout_unlock(&all->aheads.lock);
		scout_host_unref(host);
	}
	assert_int_equal(busy, 16 + 4);
	assert_true(TAILQ_EMPTY(&evicted));
	go();
	tear_down();
}

static void who_comes_while_it_is_listed_waits_for_that(void **state)
{
	static struct ask c;

	(void)state;
	set_up();
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	FAKE_LOCKED(fake.hold_answers = true);
	open_folder(&a, "h0/w/1");
	open_folder(&c, "h0/w/3");
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(entries(&a), 4);
	assert_int_equal(entries(&c), 4);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 10);
	assert_int_equal(fake.count[SCOUT_SFTP_OPENDIR], 10);
	assert_int_equal(counted("folders_ahead"), 1);
	tear_down();
}

static void what_cannot_be_listed_is_told_to_who_opens_it(void **state)
{
	static struct ask c;

	(void)state;
	set_up();
	fake_find_locked("/w/3")->mode = S_IFREG; /* as if it could not be opened */
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	FAKE_LOCKED(fake.hold_answers = true);
	open_folder(&a, "h0/w/1");
	open_folder(&c, "h0/w/3");
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(entries(&a), 4);
	assert_int_equal(ask_wait(&c), -ENOTDIR);
	tear_down();
}

static void the_end_while_all_is_on_its_way(void **state)
{
	static struct ask c, d;

	(void)state;
	set_up();
	assert_int_equal(list("h0/w"), 9);
	assert_int_equal(list("h0/w/0"), 4);
	assert_int_equal(list("h0/d"), FILES - 1);
	read_file(1);
	assert_int_equal(ask_open(&d, "h0/d/3"), 0);
	FAKE_LOCKED(fake.hold_answers = true);
	open_folder(&a, "h0/w/1");
	open_folder(&c, "h0/w/3");
	ask_read(&b, &d, 0, 4096);
	rig.backend.ops->stop(rig.backend.self);
	assert_int_equal(ask_wait(&a), -ESHUTDOWN);
	assert_int_equal(ask_wait(&c), -ESHUTDOWN);
	assert_int_equal(ask_wait(&b), -ESHUTDOWN);
	file_release(&d);
	rig_stop();
	fake_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files_that_come_next_are_read_early),
	    cmocka_unit_test(who_reads_here_and_there_gets_what_he_asks_for),
	    cmocka_unit_test(near_everything_is_asked_for),
	    cmocka_unit_test(what_would_be_too_old_is_not_asked_for),
	    cmocka_unit_test(what_another_changed_is_read_anew),
	    cmocka_unit_test(our_own_change_is_read),
	    cmocka_unit_test(one_that_changes_while_it_is_read_is_not_kept),
	    cmocka_unit_test(who_finds_files_that_end_early_is_left_alone),
	    cmocka_unit_test(memory_is_given_back),
	    cmocka_unit_test(a_lost_session_is_no_harm),
	    cmocka_unit_test(folders_that_come_next_are_listed_ahead),
	    cmocka_unit_test(who_finds_large_folders_is_left_alone),
	    cmocka_unit_test(our_own_change_is_listed),
	    cmocka_unit_test(an_old_listing_is_of_no_use),
	    cmocka_unit_test(who_is_slow_has_the_next_folder_in_time),
	    cmocka_unit_test(who_read_a_folder_reads_the_next_one_so),
	    cmocka_unit_test(three_finds_leave_each_other_what_is_ahead),
	    cmocka_unit_test(hosts_that_hang_leave_some_to_others),
	    cmocka_unit_test(who_comes_while_it_is_listed_waits_for_that),
	    cmocka_unit_test(what_cannot_be_listed_is_told_to_who_opens_it),
	    cmocka_unit_test(the_end_while_all_is_on_its_way),
	};

	return cmocka_run_group_tests_name("hosts/ahead_walk", tests, NULL, NULL);
}
