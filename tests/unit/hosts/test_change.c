/* Operations that change a path, on a server made up: what goes over the wire, what comes back, what
 * an error is narrowed to, and what is done when the connection is lost meanwhile. */
#include "fake_sftp.h"

#include <fcntl.h>
#include <unistd.h>

#include "hosts/attr.h"
#include "hosts/narrow.h"

#define ALL_EXTENSIONS UINT32_MAX

static const struct scout_backend_ops *ops;
static void *self;

static void start(uint32_t extensions)
{
	rig_config(2);
	fake.server.extensions = extensions;
	rig_start(32 << 20);
	ops = rig.backend.ops;
	self = rig.backend.self;
	FAKE_LOCKED(fake_mkdir_locked("/", 0), fake_mkdir_locked("/d", 0));
}

/* A request of kind for call, which names it r. */
#define ASK(a, kind, call)                       \
	({                                       \
		struct scout_req *r = &(a)->req; \
		ask_start(a, kind);              \
		call;                            \
		ask_wait(a);                     \
	})
#define DO(call)                           \
	({                                 \
		struct ask do_ = {0};      \
		ASK(&do_, ASK_NONE, call); \
	})
#define SEEN(path)                                                   \
	({                                                           \
		bool seen_;                                          \
		FAKE_LOCKED(seen_ = fake_find_locked(path) != NULL); \
		seen_;                                               \
	})

static void mkdir_looks_in_the_same_breath(void **state)
{
	struct ask a = {0};

	(void)state;
	start(0);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_start(&a, ASK_ATTR);
	ops->mkdir(self, "h0/d/new", 01751, &a.req);
	FAKE_WAIT(fake.sessions[0] && fake.sessions[0]->in_flight == 2);
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.attr.mode, S_IFDIR | 01751);
	assert_int_equal(fake.count[SCOUT_SFTP_MKDIR], 1);
	assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 1);
	assert_int_equal(DO(ops->rmdir(self, "h0/d/new", r)), 0);
	assert_false(SEEN("/d/new"));
	rig_stop();
}

static void errors_are_narrowed(void **state)
{
	(void)state;
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake_add_locked("/f", 3, 1, 1), fake_mkdir_locked("/full", 3));
	assert_int_equal(DO(ops->mkdir(self, "h0/f", 0755, r)), -EEXIST);
	assert_int_equal(DO(ops->mkdir(self, "h0/d", 0755, r)), -EEXIST);
	assert_int_equal(DO(ops->symlink(self, "x", "h0/f", r)), -EEXIST);
	assert_int_equal(DO(ops->mknod(self, "h0/f", S_IFREG | 0644, 0, r)), -EEXIST);
	assert_int_equal(DO(ops->link(self, "h0/f", "h0/d", r)), -EEXIST);
	assert_int_equal(DO(ops->link(self, "h0/missing", "h0/x", r)), -ENOENT);
	assert_int_equal(DO(ops->rmdir(self, "h0/full", r)), -ENOTEMPTY);
	assert_int_equal(DO(ops->rmdir(self, "h0/f", r)), -ENOTDIR);
	assert_int_equal(DO(ops->unlink(self, "h0/d", r)), -EISDIR);
	assert_int_equal(DO(ops->unlink(self, "h0/missing", r)), -ENOENT);
	assert_int_equal(DO(ops->unlink(self, "h0/f/x", r)), -ENOTDIR);
	assert_int_equal(DO(ops->rename(self, "h0/missing", "h0/x", 0, r)), -ENOENT);
	assert_int_equal(DO(ops->rename(self, "h0/f", "h0/d", RENAME_NOREPLACE, r)), -EEXIST);
	assert_int_equal(DO(ops->rename(self, "h0/f", "h0/d", RENAME_EXCHANGE, r)), -EINVAL);
	assert_true(SEEN("/f") && SEEN("/d") && SEEN("/full"));
	rig_stop();
}

/* What was seen of a path, and what the errno becomes of it; -EIO is the server's FAILURE. */
static void every_rule(void **state)
{
	enum { D = S_IFDIR | 0755, F = S_IFREG | 0644, STICKY = S_IFDIR | 01777 };
	static const struct {
		enum scout_sftp_op op;
		int err;
		struct scout_scene scene;
		int want;
	} rules[] = {
	    {SCOUT_SFTP_MKDIR, -EIO, {.at = F, .parent = D}, -EEXIST},
	    {SCOUT_SFTP_MKDIR, -EIO, {.at = D, .parent = D, .full = true}, -EEXIST},
	    {SCOUT_SFTP_MKDIR, -EIO, {.parent = D, .full = true}, -ENOSPC},
	    {SCOUT_SFTP_MKDIR, -EIO, {.parent = D, .read_only = true, .full = true}, -EROFS},
	    {SCOUT_SFTP_MKDIR, -EIO, {.parent = D}, -EIO},
	    {SCOUT_SFTP_MKDIR, -EIO, {.parent = F}, -ENOTDIR},
	    {SCOUT_SFTP_MKDIR, -EIO, {0}, -ENOENT},
	    {SCOUT_SFTP_MKDIR, -ENOENT, {.parent = F}, -ENOTDIR},
	    {SCOUT_SFTP_MKDIR, -ENOENT, {0}, -ENOENT},
	    {SCOUT_SFTP_MKDIR, -EINVAL, {.parent = D, .long_name = true}, -ENAMETOOLONG},
	    {SCOUT_SFTP_MKDIR, -EINVAL, {.parent = D}, -EINVAL},
	    {SCOUT_SFTP_MKDIR, -EACCES, {.parent = STICKY}, -EACCES},
	    {SCOUT_SFTP_MKDIR, -ENOSPC, {.at = D, .parent = D}, -ENOSPC},
	    {SCOUT_SFTP_OPEN, -EIO, {.at = F, .parent = D}, -EEXIST},
	    {SCOUT_SFTP_OPEN, -EIO, {.parent = D, .full = true}, -ENOSPC},
	    {SCOUT_SFTP_OPEN, -EIO, {.at = F, .parent = D, .any = true, .full = true}, -EIO},
	    {SCOUT_SFTP_OPEN, -EIO, {.at = F, .parent = D, .any = true, .read_only = true}, -EROFS},
	    {SCOUT_SFTP_OPEN, -EIO, {.parent = D, .any = true, .read_only = true}, -EROFS},
	    {SCOUT_SFTP_SYMLINK, -EIO, {.at = S_IFLNK | 0777, .parent = D}, -EEXIST},
	    {SCOUT_SFTP_RMDIR, -EIO, {.at = D, .parent = D, .full = true}, -ENOTEMPTY},
	    {SCOUT_SFTP_RMDIR, -EIO, {.at = D, .parent = D, .read_only = true}, -EROFS},
	    {SCOUT_SFTP_RMDIR, -EIO, {.at = F, .parent = D}, -ENOTDIR},
	    {SCOUT_SFTP_RMDIR, -ENOENT, {.at = F, .parent = D}, -ENOTDIR},
	    {SCOUT_SFTP_RMDIR, -ENOENT, {.parent = D}, -ENOENT},
	    {SCOUT_SFTP_RMDIR, -EACCES, {.at = D, .parent = STICKY}, -EPERM},
	    {SCOUT_SFTP_REMOVE, -EIO, {.at = D, .parent = D}, -EISDIR},
	    {SCOUT_SFTP_REMOVE, -EACCES, {.at = D, .parent = D}, -EISDIR},
	    {SCOUT_SFTP_REMOVE, -EACCES, {.at = F, .parent = STICKY}, -EPERM},
	    {SCOUT_SFTP_REMOVE, -EACCES, {.at = F, .parent = D}, -EACCES},
	    {SCOUT_SFTP_REMOVE, -EIO, {.at = F, .parent = D}, -EIO},
	    {SCOUT_SFTP_REMOVE, -EIO, {.at = F, .parent = D, .full = true}, -EIO},
	    {SCOUT_SFTP_HARDLINK, -EIO, {.at = F, .at2 = F, .parent = D, .parent2 = D}, -EEXIST},
	    {SCOUT_SFTP_HARDLINK, -EACCES, {.at = D, .parent = D, .parent2 = D}, -EPERM},
	    {SCOUT_SFTP_HARDLINK,
	     -EIO,
	     {.at = F, .parent = D, .parent2 = D, .across = true},
	     -EXDEV},
	    {SCOUT_SFTP_POSIX_RENAME,
	     -EIO,
	     {.at = D, .at2 = D, .parent = D, .parent2 = D},
	     -ENOTEMPTY},
	    {SCOUT_SFTP_POSIX_RENAME,
	     -EIO,
	     {.at = D, .at2 = F, .parent = D, .parent2 = D},
	     -ENOTDIR},
	    {SCOUT_SFTP_POSIX_RENAME,
	     -ENOENT,
	     {.at = D, .at2 = F, .parent = D, .parent2 = D},
	     -ENOTDIR},
	    {SCOUT_SFTP_POSIX_RENAME,
	     -EIO,
	     {.at = F, .at2 = D, .parent = D, .parent2 = D},
	     -EISDIR},
	    {SCOUT_SFTP_POSIX_RENAME,
	     -EIO,
	     {.at = F, .at2 = F, .parent = D, .parent2 = D, .across = true},
	     -EXDEV},
	    {SCOUT_SFTP_POSIX_RENAME,
	     -EIO,
	     {.at = F, .at2 = F, .parent = D, .parent2 = D, .full = true},
	     -ENOSPC},
	    {SCOUT_SFTP_POSIX_RENAME, -EIO, {.at = F, .parent = D, .parent2 = F}, -ENOTDIR},
	    {SCOUT_SFTP_POSIX_RENAME, -EIO, {.at = F, .parent = D}, -ENOENT},
	    {SCOUT_SFTP_RENAME, -EIO, {.at = F, .at2 = F, .parent = D, .parent2 = D}, -EEXIST},
	    {SCOUT_SFTP_SETSTAT, -EIO, {.at = F, .parent = D, .read_only = true}, -EROFS},
	    {SCOUT_SFTP_SETSTAT, -EIO, {.at = F, .parent = D, .full = true}, -EIO},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		bool two = rules[i].op == SCOUT_SFTP_RENAME ||
			   rules[i].op == SCOUT_SFTP_POSIX_RENAME ||
			   rules[i].op == SCOUT_SFTP_HARDLINK;
		int got = scout_narrow_err(rules[i].op, rules[i].err, "/a", two ? "/b/c" : NULL,
					   &rules[i].scene);

		if (got != rules[i].want)
			fail_msg("rule %zu: %s, want %s", i, strerrorname_np(-got),
				 strerrorname_np(-rules[i].want));
	}
	assert_int_equal(
	    scout_narrow_err(SCOUT_SFTP_RENAME, -EIO, "/a", "/a/b",
			     &(struct scout_scene){.at = D, .parent = D, .parent2 = D}),
	    -EINVAL);
}

static void names_of_the_config_stay(void **state)
{
	struct scout_setattr mode = {.set = SCOUT_SET_MODE, .mode = 0700};

	(void)state;
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake_add_locked("/f", 3, 1, 1));
	assert_int_equal(DO(ops->mkdir(self, "new", 0755, r)), -EPERM);
	assert_int_equal(DO(ops->mkdir(self, "h0", 0755, r)), -EEXIST);
	assert_int_equal(DO(ops->mkdir(self, "new/a", 0755, r)), -ENOENT);
	assert_int_equal(DO(ops->symlink(self, "h0", "new", r)), -EPERM);
	assert_int_equal(DO(ops->mknod(self, "new", S_IFREG | 0644, 0, r)), -EPERM);
	assert_int_equal(DO(ops->rmdir(self, "h0", r)), -EBUSY);
	assert_int_equal(DO(ops->rmdir(self, "new", r)), -ENOENT);
	assert_int_equal(DO(ops->rename(self, "h0", "new", 0, r)), -EBUSY);
	assert_int_equal(DO(ops->setattr(self, "", NULL, &mode, r)), -EPERM);
	assert_int_equal(DO(ops->rename(self, "h0/f", "h1/f", 0, r)), -EXDEV);
	assert_int_equal(DO(ops->link(self, "h0/f", "h1/f", r)), -EXDEV);
	assert_int_equal(fake.starts, 0);
	rig_stop();
}

static void read_only_refuses_first(void **state)
{
	struct scout_setattr mode = {.set = SCOUT_SET_MODE, .mode = 0700};

	(void)state;
	rig_config(1);
	rig.hosts[0].read_only = true;
	rig_start(32 << 20);
	ops = rig.backend.ops;
	self = rig.backend.self;
	assert_int_equal(DO(ops->mkdir(self, "h0/a", 0755, r)), -EROFS);
	assert_int_equal(DO(ops->mknod(self, "h0/a", S_IFREG | 0644, 0, r)), -EROFS);
	assert_int_equal(DO(ops->symlink(self, "x", "h0/a", r)), -EROFS);
	assert_int_equal(DO(ops->link(self, "h0/a", "h0/b", r)), -EROFS);
	assert_int_equal(DO(ops->unlink(self, "h0/a", r)), -EROFS);
	assert_int_equal(DO(ops->rmdir(self, "h0/a", r)), -EROFS);
	assert_int_equal(DO(ops->rename(self, "h0/a", "h0/b", 0, r)), -EROFS);
	assert_int_equal(DO(ops->setattr(self, "h0/a", NULL, &mode, r)), -EROFS);
	assert_int_equal(DO(ops->access(self, "h0/a", W_OK, r)), -EROFS);
	assert_int_equal(DO(ops->access(self, "h0/a", R_OK, r)), 0);
	assert_int_equal(DO(ops->access(self, "h0", W_OK, r)), -EROFS);
	assert_int_equal(fake.starts, 0);
	rig_stop();
}

/* Kills the session with the first call of that kind, which then has arrived. */
static enum scout_sftp_op deadly;
static void die_at(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op == deadly) {
		s->kill = -ECONNRESET;
		fake.before = NULL;
	}
}

static void what_may_have_arrived_is_not_sent_again(void **state)
{
	(void)state;
	start(ALL_EXTENSIONS);
	deadly = SCOUT_SFTP_MKDIR;
	FAKE_LOCKED(fake.before = die_at);
	assert_int_equal(DO(ops->mkdir(self, "h0/d/a", 0755, r)), -EIO);
	assert_int_equal(fake.count[SCOUT_SFTP_MKDIR], 1);
	assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 0);
	/* the look behind it only reads: it is asked for again, and the whole is well */
	deadly = SCOUT_SFTP_LSTAT;
	FAKE_LOCKED(fake.before = die_at);
	assert_int_equal(DO(ops->mkdir(self, "h0/d/b", 0755, r)), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_MKDIR], 2);
	assert_int_equal(fake.count[SCOUT_SFTP_LSTAT], 2);
	deadly = SCOUT_SFTP_REMOVE;
	FAKE_LOCKED(fake.before = die_at);
	assert_int_equal(DO(ops->unlink(self, "h0/d/b", r)), -EIO);
	assert_int_equal(fake.count[SCOUT_SFTP_REMOVE], 1);
	rig_stop();
}

static void what_never_left_is_sent_again(void **state)
{
	struct ask a = {0};

	(void)state;
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake.hold_answers = true);
	ask_start(&a, ASK_ATTR);
	ops->mkdir(self, "h0/d/a", 0755, &a.req);
	FAKE_WAIT(fake.sessions[0] && fake.sessions[0]->in_flight == 2);
	FAKE_LOCKED(fake.sessions[0]->kill = -ECONNRESET, fake.hold_answers = false);
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_MKDIR], 1);
	assert_true(SEEN("/d/a"));
	rig_stop();
}

static void setattr_tells_what_was(void **state)
{
	struct scout_setattr both = {.set = SCOUT_SET_ATIME | SCOUT_SET_MTIME | SCOUT_SET_MODE |
					    SCOUT_SET_UID | SCOUT_SET_GID | SCOUT_SET_SIZE,
				     .mode = 0640,
				     .uid = 7,
				     .gid = 8,
				     .size = 2,
				     .atime = {.tv_sec = 50, .tv_nsec = 999999999},
				     .mtime = {.tv_sec = 60, .tv_nsec = 5}};
	struct ask before = {0}, a = {0};

	(void)state;
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake_add_locked("/f", 9, 1, 1));
	ask_getattr(&before, "h0/f");
	assert_int_equal(ask_wait(&before), 0);
	assert_int_equal(ASK(&a, ASK_CHANGED, ops->setattr(self, "h0/f", NULL, &both, r)), 0);
	assert_int_equal(a.attr.mode, S_IFREG | 0640);
	assert_int_equal(a.attr.size, 2);
	assert_int_equal(a.attr.uid, 7);
	assert_int_equal(a.attr.gid, 8);
	assert_int_equal(a.attr.mtime.tv_sec, 60);
	assert_int_equal(a.attr.mtime.tv_nsec, 0);
	assert_true(a.was == before.attr.version && a.was != a.attr.version);
	rig_stop();
}

static uint32_t setstat_has, setstat_atime;
static void note_setstat(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	if (call->op == SCOUT_SFTP_SETSTAT || call->op == SCOUT_SFTP_LSETSTAT) {
		setstat_has = call->set->has;
		setstat_atime = call->set->atime;
	}
}

/* One of two times: the other is what it was. */
static void half_a_change_keeps_the_other_half(void **state)
{
	struct scout_setattr mtime = {.set = SCOUT_SET_MTIME, .mtime = {.tv_sec = 60}};
	struct scout_setattr gid = {.set = SCOUT_SET_GID, .gid = 77};
	struct ask a = {0};

	(void)state;
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake_add_locked("/f", 9, 31, 1), fake_find_locked("/f")->uid = 5,
		    fake.before = note_setstat);
	assert_int_equal(ASK(&a, ASK_CHANGED, ops->setattr(self, "h0/f", NULL, &mtime, r)), 0);
	assert_int_equal(setstat_has, SCOUT_SFTP_HAS_TIMES);
	assert_int_equal(setstat_atime, 31);
	assert_int_equal(a.attr.mtime.tv_sec, 60);
	assert_int_equal(ASK(&a, ASK_CHANGED, ops->setattr(self, "h0/f", NULL, &gid, r)), 0);
	assert_int_equal(setstat_has, SCOUT_SFTP_HAS_OWNER);
	assert_int_equal(a.attr.uid, 5);
	assert_int_equal(a.attr.gid, 77);
	rig_stop();
}

static void half_a_change_of_what_was_not_told(void **state)
{
	struct scout_setattr mtime = {.set = SCOUT_SET_MTIME, .mtime = {.tv_sec = 60}};
	struct scout_setattr gid = {.set = SCOUT_SET_GID, .gid = 77};
	struct scout_setattr owner = {.set = SCOUT_SET_UID | SCOUT_SET_GID, .uid = 6, .gid = 77};
	struct ask file = {0};
	int log_fd;

	(void)state;
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake_add_locked("/f", 9, 31, 1), fake_find_locked("/f")->uid = 5);
	assert_int_equal(ask_open(&file, "h0/f"), 0);
	FAKE_LOCKED(fake.untold = SCOUT_SFTP_HAS_OWNER | SCOUT_SFTP_HAS_TIMES);
	log_fd = log_apart();
	assert_int_equal(DO(ops->setattr(self, "h0/f", NULL, &mtime, r)), -EOPNOTSUPP);
	assert_int_equal(DO(ops->setattr(self, "h0/f", NULL, &gid, r)), -EOPNOTSUPP);
	assert_int_equal(DO(ops->setattr(self, NULL, file.handle, &gid, r)), -EOPNOTSUPP);
	assert_int_equal(log_lines(log_fd, "h0: setattr /f: "), 3);
	assert_int_equal(fake_find_locked("/f")->uid, 5);
	assert_int_equal(fake_find_locked("/f")->mtime, 31);
	assert_int_equal(DO(ops->setattr(self, "h0/f", NULL, &owner, r)), 0);
	assert_int_equal(fake_find_locked("/f")->uid, 6);
	FAKE_LOCKED(fake.untold = 0);
	file_release(&file);
	rig_stop();
}

static void times_that_sftp_has_not(void **state)
{
	struct scout_setattr early = {.set = SCOUT_SET_MTIME, .mtime = {.tv_sec = -1}};
	struct scout_setattr late = {.set = SCOUT_SET_ATIME, .atime = {.tv_sec = INT64_C(1) << 32}};

	(void)state;
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake_add_locked("/f", 9, 31, 1));
	assert_int_equal(DO(ops->setattr(self, "h0/f", NULL, &early, r)), -EINVAL);
	assert_int_equal(DO(ops->setattr(self, "h0/f", NULL, &late, r)), -EINVAL);
	rig_stop();
}

/* Without lsetstat@ a link's target would be changed. */
static void links_need_the_extension(void **state)
{
	struct scout_setattr times = {.set = SCOUT_SET_ATIME | SCOUT_SET_MTIME,
				      .mtime = {.tv_sec = 60}};
	struct scout_setattr owner_and_mode = {.set = SCOUT_SET_UID | SCOUT_SET_GID |
						      SCOUT_SET_MODE | SCOUT_SET_SIZE,
					       .size = 4,
					       .uid = 3,
					       .gid = 4,
					       .mode = 0600};
	struct ask a = {0};

	(void)state;
	start(0);
	FAKE_LOCKED(fake_add_locked("/f", 9, 31, 1), fake_add_locked("/l", 1, 31, 1),
		    fake_find_locked("/l")->mode = S_IFLNK | 0777);
	assert_int_equal(DO(ops->setattr(self, "h0/l", NULL, &times, r)), -EOPNOTSUPP);
	assert_int_equal(fake.count[SCOUT_SFTP_SETSTAT], 0);
	assert_int_equal(ASK(&a, ASK_CHANGED, ops->setattr(self, "h0/f", NULL, &times, r)), 0);
	assert_int_equal(a.attr.mtime.tv_sec, 60);
	assert_int_equal(fake.count[SCOUT_SFTP_SETSTAT], 1);
	assert_int_equal(ASK(&a, ASK_CHANGED, ops->setattr(self, "h0/f", NULL, &owner_and_mode, r)),
			 0);
	assert_int_equal(a.attr.mode, S_IFREG | 0600);
	assert_int_equal(a.attr.uid, 3);
	assert_int_equal(a.attr.size, 4);
	assert_true(a.was == 0); /* it was done in two rounds */
	rig_stop();
}

/* OpenSSH's server cannot set a mode by lsetstat@ where there is no /proc. */
static void refuse_modes(struct scout_sftp *s, struct scout_sftp_call *call)
{
	(void)s;
	fake.refuse = call->op == SCOUT_SFTP_LSETSTAT && call->set->has & SCOUT_SFTP_HAS_MODE;
}

static void modes_are_set_by_another_word(void **state)
{
	struct scout_setattr change = {.set = SCOUT_SET_MODE | SCOUT_SET_UID | SCOUT_SET_GID,
				       .uid = 3,
				       .gid = 4,
				       .mode = 0600};
	struct ask a = {0};

	(void)state;
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake_add_locked("/f", 9, 31, 1), fake_add_locked("/l", 1, 31, 1),
		    fake_find_locked("/l")->mode = S_IFLNK | 0777, fake.before = refuse_modes);
	assert_int_equal(ASK(&a, ASK_CHANGED, ops->setattr(self, "h0/f", NULL, &change, r)), 0);
	assert_int_equal(a.attr.mode, S_IFREG | 0600);
	assert_int_equal(a.attr.uid, 3);
	assert_int_equal(fake.count[SCOUT_SFTP_SETSTAT], 1);
	change.set = SCOUT_SET_MODE;
	assert_int_equal(DO(ops->setattr(self, "h0/l", NULL, &change, r)), -EOPNOTSUPP);
	assert_int_equal(fake.count[SCOUT_SFTP_SETSTAT], 1);
	rig_stop();
}

static void plain_renames_replace(void **state)
{
	struct ask a = {0};

	(void)state;
	start(0);
	FAKE_LOCKED(fake_add_locked("/f", 3, 1, 1), fake_add_locked("/g", 5, 1, 1),
		    fake_mkdir_locked("/full", 3));
	assert_int_equal(DO(ops->rename(self, "h0/f", "h0/new", 0, r)), 0);
	assert_int_equal(fake.count[SCOUT_SFTP_RENAME], 1);
	assert_int_equal(DO(ops->rename(self, "h0/new", "h0/g", 0, r)), 0);
	ask_getattr(&a, "h0/g");
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.attr.size, 3);
	assert_int_equal(fake.count[SCOUT_SFTP_REMOVE], 1); /* nothing is left aside */
	assert_int_equal(DO(ops->rename(self, "h0/g", "h0/d", 0, r)), -EISDIR);
	assert_int_equal(DO(ops->rename(self, "h0/d", "h0/g", 0, r)), -ENOTDIR);
	assert_int_equal(DO(ops->rename(self, "h0/d", "h0/full", 0, r)), -ENOTEMPTY);
	assert_int_equal(DO(ops->rename(self, "h0/full", "h0/d", 0, r)), 0);
	assert_false(SEEN("/full"));
	rig_stop();
}

/* The second RENAME, of the file over what was put aside, does not work out. */
static unsigned renames;
static bool renaming_kills;
static void fail_the_renaming(struct scout_sftp *s, struct scout_sftp_call *call)
{
	if (call->op != SCOUT_SFTP_RENAME || ++renames != 3)
		return;
	if (renaming_kills)
		s->kill = -ECONNRESET;
	else
		fake_find_locked("/f")->gone = true;
}

static void what_was_replaced_comes_back(void **state)
{
	struct ask a = {0};

	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		start(0);
		renames = 0;
		renaming_kills = lost;
		FAKE_LOCKED(fake_add_locked("/f", 3, 1, 1), fake_add_locked("/g", 5, 1, 1),
			    fake.before = fail_the_renaming);
		assert_int_equal(DO(ops->rename(self, "h0/f", "h0/g", 0, r)),
				 lost ? -EIO : -ENOENT);
		ask_getattr(&a, "h0/g");
		assert_int_equal(ask_wait(&a), 0);
		assert_int_equal(a.attr.size, 5);
		assert_int_equal(SEEN("/f"), lost);
		assert_int_equal(fake.count[SCOUT_SFTP_REMOVE], 0);
		rig_stop();
	}
}

static void a_link_counts_on_its_extension(void **state)
{
	struct ask a = {0};

	(void)state;
	start(0);
	FAKE_LOCKED(fake_add_locked("/f", 3, 1, 1));
	assert_int_equal(DO(ops->link(self, "h0/f", "h0/g", r)), -EOPNOTSUPP);
	rig_stop();
	start(ALL_EXTENSIONS);
	FAKE_LOCKED(fake_add_locked("/f", 3, 1, 1));
	assert_int_equal(ASK(&a, ASK_ATTR, ops->link(self, "h0/f", "h0/g", r)), 0);
	assert_int_equal(a.attr.size, 3);
	assert_int_equal(a.attr.nlink, 1);
	rig_stop();
}

static void what_is_made(void **state)
{
	struct ask a = {0};

	(void)state;
	start(0);
	assert_int_equal(ASK(&a, ASK_ATTR, ops->symlink(self, "./d//", "h0/l", r)), 0);
	assert_true(S_ISLNK(a.attr.mode));
	assert_int_equal(ASK(&a, ASK_LINK, ops->readlink(self, "h0/l", r)), 0);
	assert_string_equal(a.target, "./d//");
	assert_int_equal(ASK(&a, ASK_ATTR, ops->mknod(self, "h0/n", S_IFREG | 0604, 0, r)), 0);
	assert_int_equal(a.attr.mode, S_IFREG | 0604);
	FAKE_WAIT(fake.count[SCOUT_SFTP_CLOSE] == 1);
	assert_int_equal(DO(ops->mknod(self, "h0/p", S_IFIFO | 0600, 0, r)), -EPERM);
	assert_int_equal(DO(ops->access(self, "h0/n", X_OK, r)), -EACCES);
	assert_int_equal(DO(ops->access(self, "h0/d", X_OK, r)), 0);
	assert_int_equal(DO(ops->access(self, "h0/n", R_OK | W_OK, r)), 0);
	assert_int_equal(DO(ops->access(self, "h0", R_OK | W_OK | X_OK, r)), 0);
	assert_int_equal(DO(ops->access(self, "", R_OK | X_OK, r)), 0);
	assert_int_equal(DO(ops->access(self, "", W_OK, r)), -EACCES);
	assert_int_equal(DO(ops->access(self, "nobody", R_OK, r)), -ENOENT);
	rig_stop();
}

static void owners_are_mapped(void **state)
{
	struct scout_setattr mine = {
	    .set = SCOUT_SET_UID | SCOUT_SET_GID, .uid = getuid(), .gid = getgid() + 1};
	struct ask a = {0};

	(void)state;
	rig_config(1);
	rig.hosts[0].idmap = SCOUT_IDMAP_USER;
	fake.server.knows_self = true;
	fake.server.uid = 4711;
	fake.server.gid = 4712;
	fake.server.extensions = ALL_EXTENSIONS;
	rig_start(32 << 20);
	ops = rig.backend.ops;
	self = rig.backend.self;
	FAKE_LOCKED(fake_add_locked("/f", 3, 1, 1), fake_find_locked("/f")->uid = 4711,
		    fake_find_locked("/f")->gid = 4713);
	ask_getattr(&a, "h0/f");
	assert_int_equal(ask_wait(&a), 0);
	assert_int_equal(a.attr.uid, getuid());
	assert_int_equal(a.attr.gid, 4713);
	FAKE_LOCKED(fake_find_locked("/f")->uid = 1);
	assert_int_equal(ASK(&a, ASK_CHANGED, ops->setattr(self, "h0/f", NULL, &mine, r)), 0);
	assert_int_equal(a.attr.uid, getuid());
	FAKE_LOCKED(assert_int_equal(fake_find_locked("/f")->uid, 4711),
		    assert_int_equal(fake_find_locked("/f")->gid, getgid() + 1));
	rig_stop();
}

static bool detail_says(const char *line)
{
	struct scout_text text = {0};
	bool found;

	assert_int_equal(ops->detail(self, "h0", &text), 0);
	found = strstr(text.str, line) != NULL;
	scout_text_free(&text);
	return found;
}

static void names_of_the_login(void **state)
{
	struct ask a = {0};

	(void)state;
	rig_config(1);
	fake.server.knows_self = true;
	fake.server.uid = 4711;
	fake.server.gid = 4712;
	fake.server.extensions = ALL_EXTENSIONS;
	fake.hold_answers = true;
	rig_start(32 << 20);
	ops = rig.backend.ops;
	self = rig.backend.self;
	assert_false(detail_says("logged in"));
	FAKE_LOCKED(fake_add_locked("/f", 3, 1, 1));
	ask_getattr(&a, "h0/f");
	/* asked for, and not waited for */
	FAKE_WAIT(fake.sessions[0] && fake.sessions[0]->in_flight == 2);
	assert_true(detail_says("logged in as 4711, group 4712\n"));
	FAKE_LOCKED(fake.hold_answers = false);
	assert_int_equal(ask_wait(&a), 0);
	FAKE_WAIT(fake.sessions[0]->in_flight == 0);
	ask_getattr(&a, "h0/f"); /* behind it on the session: its completion is over */
	assert_int_equal(ask_wait(&a), 0);
	assert_true(detail_says("logged in as deploy (4711), group 4712\n"));
	assert_int_equal(fake.count[SCOUT_SFTP_USERS_GROUPS], 1);
	rig_stop();
}

static void space_is_asked_for_with_a_deadline(void **state)
{
	struct ask a = {0};

	(void)state;
	rig_config(1);
	fake.server.extensions = ALL_EXTENSIONS;
	rig.hosts[0].request_timeout_ns = 50 * SCOUT_NS_PER_MS;
	rig_start(32 << 20);
	ops = rig.backend.ops;
	self = rig.backend.self;
	/* nobody is asked for the root */
	assert_int_equal(ASK(&a, ASK_SPACE, ops->statfs(self, "", r)), 0);
	assert_int_equal(a.space.f_blocks, 0);
	assert_int_equal(DO(ops->statfs(self, "nobody", r)), -ENOENT);
	assert_int_equal(fake.starts, 0);
	assert_int_equal(ASK(&a, ASK_SPACE, ops->statfs(self, "h0", r)), 0);
	assert_int_equal(a.space.f_bavail, 50);
	assert_int_equal(ASK(&a, ASK_SPACE, ops->statfs(self, "h0/d", r)), 0);
	assert_int_equal(a.space.f_bavail, 50);
	/* what no filesystem can say */
	FAKE_LOCKED(fake.space = (struct statvfs){.f_blocks = 5, .f_bavail = 7});
	assert_int_equal(ASK(&a, ASK_SPACE, ops->statfs(self, "h0/d", r)), 0);
	assert_true(a.space.f_frsize && a.space.f_bsize);
	assert_int_equal(a.space.f_namemax, 255);
	assert_int_equal(a.space.f_bavail, 5);
	/* sent, and never answered */
	FAKE_LOCKED(fake.hold_answers = true);
	assert_int_equal(ASK(&a, ASK_SPACE, ops->statfs(self, "h0/d", r)), -ETIMEDOUT);
	FAKE_LOCKED(fake.hold_answers = false);
	FAKE_WAIT(fake.count[SCOUT_SFTP_STATVFS] == 4);
	assert_int_equal(a.times, 1);
	rig_stop();
}

static void a_server_without_statvfs_has_no_space(void **state)
{
	struct ask a = {0};

	(void)state;
	start(0);
	assert_int_equal(ASK(&a, ASK_SPACE, ops->statfs(self, "h0/d", r)), 0);
	assert_int_equal(a.space.f_blocks, 0);
	rig_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mkdir_looks_in_the_same_breath),
	    cmocka_unit_test(errors_are_narrowed),
	    cmocka_unit_test(every_rule),
	    cmocka_unit_test(names_of_the_config_stay),
	    cmocka_unit_test(read_only_refuses_first),
	    cmocka_unit_test(what_may_have_arrived_is_not_sent_again),
	    cmocka_unit_test(what_never_left_is_sent_again),
	    cmocka_unit_test(setattr_tells_what_was),
	    cmocka_unit_test(half_a_change_keeps_the_other_half),
	    cmocka_unit_test(half_a_change_of_what_was_not_told),
	    cmocka_unit_test(times_that_sftp_has_not),
	    cmocka_unit_test(links_need_the_extension),
	    cmocka_unit_test(modes_are_set_by_another_word),
	    cmocka_unit_test(plain_renames_replace),
	    cmocka_unit_test(what_was_replaced_comes_back),
	    cmocka_unit_test(a_link_counts_on_its_extension),
	    cmocka_unit_test(what_is_made),
	    cmocka_unit_test(space_is_asked_for_with_a_deadline),
	    cmocka_unit_test(a_server_without_statvfs_has_no_space),
	    cmocka_unit_test(owners_are_mapped),
	    cmocka_unit_test(names_of_the_login),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
