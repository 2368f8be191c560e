#include "walk_rig.h"

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

/* Five hosts each hold as many listings as they may, and none ends; a healthy host is to get one. */
static void five_hosts_that_hang(void **state)
{
	struct scout_folders evicted = TAILQ_HEAD_INITIALIZER(evicted);
	struct scout_hosts *all;
	struct scout_host *host;
	struct scout_folder *f;
	unsigned busy = 0;

	(void)state;
	set_up();
	rig_stop();
	rig.config.nhosts = 6;
	for (unsigned i = 3; i < 6; i++) {
		static char names[3][4] = {"h3", "h4", "h5"};
		rig.hosts[i] = rig.hosts[1];
		rig.hosts[i].name = names[i - 3];
	}
	memset(fake.count, 0, sizeof fake.count);
	rig_start(FEW);
	FAKE_LOCKED(make_folders("/x", 3));
	all = rig.backend.self;
	for (unsigned n = 1; n < 6; n++) {
		char name[3] = {'h', (char)('0' + n)};
		unsigned own = 0;

		host = find(name);
		scout_lock(&all->aheads.lock);
		for (unsigned i = 0; i < 40; i++) {
			char path[16];

			(void)snprintf(path, sizeof path, "/%u", i);
			f = scout_folder_plan_locked(host, path, scout_now_ns(), &evicted);
			if (f)
				f->busy = true;
			own += f != NULL;
		}
		scout_unlock(&all->aheads.lock);
		scout_host_unref(host);
		print_message("host %s holds %u\n", name, own);
		busy += own;
	}
	print_message("busy in all: %u\n", busy);
	host = find("h0");
	scout_lock(&all->aheads.lock);
	f = scout_folder_get_locked(host, "/w", 2, &evicted);
	scout_unlock(&all->aheads.lock);
	scout_host_unref(host);
	assert_non_null(f);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(five_hosts_that_hang)};

	return cmocka_run_group_tests_name("hosts/r2_ahead", tests, NULL, NULL);
}
