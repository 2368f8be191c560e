#include "write_rig.h"

static void rewrite_locked(const char *path, size_t size, uint32_t mtime, unsigned seed)
{
	struct fake_node *n = fake_find_locked(path);

	n->data = realloc(n->data, size + 1);
	n->room = 0;
	for (size_t i = 0; i < size; i++)
		n->data[i] = fake_byte(i, seed);
	n->size = size;
	n->mtime = mtime;
}

/* Kernel version is that of the reader's open (nobody stats). */
static void run(size_t cut, bool check)
{
	set_up(MEMORY);
	FAKE_LOCKED(fake_add_locked("/f", MIB, 100, 5));
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	read_back(&other, 0, 64 * KIB, 5);
	assert_int_equal(open_as(&file, "h0/f", O_WRONLY), 0);
	assert_int_equal(write_at(&file, MIB, 128 * KIB, 5), 0);
	assert_int_equal(flush_of(&file), 0);
	file_release(&file);
	file.handle = NULL;
	/* another machine rewrites it in place, shorter */
	FAKE_LOCKED(rewrite_locked("/f", cut, fake.now + 100, 9));
	if (check)
		other.attr.version++; /* the kernel was told something else since */
	ask_read(&a, &other, 512 * KIB, 64 * KIB);
	ask_wait(&a);
	print_message("cut to %zu%s: err %d size %zu, byte is of seed %s\n", cut, check ? ", checked" : "", a.err, a.size,
		      a.size ? a.data[0] == fake_byte(512 * KIB, 9) ? "9 (other)" : "5 (old)" : "-");
	assert_int_equal(a.err, -ESTALE);
	tear_down();
}

/* One reads on; somebody else here wrote, and closed; another machine cut or replaced it: who opens it now reads what is there. */
static void fresh(size_t first, size_t grown, size_t now, bool replaced)
{
	static struct ask third;

	set_up(MEMORY);
	FAKE_LOCKED(fake_add_locked("/f", first, 100, 5));
	assert_int_equal(open_as(&other, "h0/f", O_RDONLY), 0);
	read_back(&other, 0, first < 4096 ? first : 4096, 5);
	assert_int_equal(open_as(&file, "h0/f", O_WRONLY), 0);
	assert_int_equal(write_at(&file, first, grown - first, 5), 0);
	assert_int_equal(flush_of(&file), 0);
	file_release(&file);
	file.handle = NULL;
	if (replaced)
		FAKE_LOCKED(fake_add_locked("/f", now, fake.now + 100, 9));
	else
		FAKE_LOCKED(rewrite_locked("/f", now, fake.now + 100, 9));
	assert_int_equal(open_as(&third, "h0/f", O_RDONLY), 0);
	assert_int_equal(third.attr.size, now);
	ask_read(&a, &third, 0, now < 65536 ? now : 65536);
	ask_wait(&a);
	print_message("opened anew, %zu bytes of %zu: err %d size %zu\n", now, grown, a.err, a.size);
	file_release(&third);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.size, now < 65536 ? now : 65536);
	tear_down();
}

static void fresh_cut(void **state) { (void)state; fresh(MIB, MIB + 128 * KIB, 800 * KIB, false); }
static void fresh_replaced(void **state) { (void)state; fresh(MIB, MIB + 128 * KIB, 800 * KIB, true); }
static void fresh_small(void **state) { (void)state; fresh(2000, 3000, 1000, true); }
static void fresh_small_cut(void **state) { (void)state; fresh(2000, 3000, 1000, false); }

static void rewritten(void **state) { (void)state; run(800 * KIB, false); }
static void rewritten_checked(void **state) { (void)state; run(800 * KIB, true); }
static void cut_off(void **state) { (void)state; run(100 * KIB, false); }

int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	const struct CMUnitTest tests[] = {cmocka_unit_test(rewritten), cmocka_unit_test(rewritten_checked), cmocka_unit_test(cut_off), cmocka_unit_test(fresh_cut), cmocka_unit_test(fresh_replaced), cmocka_unit_test(fresh_small), cmocka_unit_test(fresh_small_cut)};

	return cmocka_run_group_tests_name("hosts/r2_stale", tests, NULL, NULL);
}
