"""Random operations for two trees that are kept alike (twin.py): plain tuples, from a seed and from
what the second tree holds.
"""

import fcntl
import os
import random

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
LARGEST = 1 << 20    # offset in a file
NAMES = [b"a", b"b", b"c", b"d e", "naïve".encode(), b"f\n\xff", b"n" * 255]
FOLDERS = [b"d0", b"d1", b"d2"]


class Generator:
    """The next operation: of what the truth holds (looked at now and then), of what is open."""

    def __init__(self, seed, truth, actors, without=()):
        self.rng = random.Random(seed)
        self.truth = os.fsencode(truth)
        self.actors = actors
        self.open = [{} for _ in range(actors)]  # slot -> path when opened
        self.known, self.known_for = [b""], 0
        self.linked = []                         # in links/: see link_op
        self.next_slot = 0
        self.weights = {name: weight for name, weight in self.WEIGHTS.items()
                        if name not in without}
        self.names, self.sums = list(self.weights), list(self.weights.values())
        self.then = []
        self.looks = self.rng.choice([0.05, 0.3, 0.8])

    WEIGHTS = {
        "open": 16, "close": 6, "read": 6, "pread": 6, "write": 9, "pwrite": 8, "lseek": 2,
        "ftruncate": 3, "fsync": 2, "fdatasync": 1, "fstat": 4, "fchmod": 1, "futimens": 2,
        "flock": 1, "lockf": 1, "mmap_read": 3, "mmap_write": 2, "copy_file_range": 3,
        "sendfile": 2, "stat": 4, "lstat": 4, "access": 2, "readlink": 2, "listdir": 5, "cat": 5,
        "truncate": 3, "unlink": 4, "rmdir": 2, "mkdir": 4, "rename": 7, "rename_noreplace": 2,
        "symlink": 3, "chmod": 3, "chown": 1, "utimens": 4, "links": 6,
    }

    def look(self):
        self.known, self.known_for = [b""], self.rng.randrange(1, 60)
        for folder, folders, names in os.walk(self.truth):
            folders.sort()
            inside = os.path.relpath(folder, self.truth)
            if inside == b".":
                folders.remove(b"links")
                inside = b""
            self.known += [os.path.join(inside, name) for name in [*folders, *sorted(names)]]

    def path(self):
        """Mostly one that is there; of the rest many that cannot be."""
        rng = self.rng
        if rng.random() < 0.7:
            return rng.choice(self.known)
        parts = [rng.choice(FOLDERS) for _ in range(rng.choice([0, 0, 1, 1, 2]))]
        if rng.random() < 0.1:
            parts.append(rng.choice(NAMES))
        last = rng.choice(NAMES + FOLDERS) if rng.random() < 0.97 else b"n" * 256
        return b"/".join([*parts, last])

    def inside(self):
        """Not the folder of the run itself, which a link may lead out of."""
        return self.path() or NAMES[0]

    def size(self):
        rng = self.rng
        return rng.choice([0, 1, rng.randrange(100), rng.randrange(5000), rng.randrange(5000),
                           4096, rng.randrange(70_000), rng.randrange(600_000)])

    def offset(self):
        rng = self.rng
        return rng.choice([0, rng.randrange(100), 4096, rng.randrange(10_000),
                           rng.randrange(100_000), rng.randrange(LARGEST)])

    def time(self):
        rng = self.rng
        nsec = rng.choice([0, rng.randrange(10 ** 9), rng.randrange(10 ** 9), UTIME_NOW,
                           UTIME_OMIT])
        return rng.randrange(1_000_000_000, 1_700_000_000), nsec

    def mode(self):
        rng = self.rng
        return 0o700 | rng.choice([0, 0o1000, 0o4000, 0o2000, 0, 0, 0]) | rng.randrange(0o100)

    def flags(self):
        rng = self.rng
        flags = rng.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
        for flag, chance in ((os.O_CREAT, 0.6), (os.O_EXCL, 0.2), (os.O_TRUNC, 0.2),
                             (os.O_APPEND, 0.25), (os.O_NOFOLLOW, 0.05), (os.O_DIRECTORY, 0.02)):
            if rng.random() < chance:
                flags |= flag
        if flags & os.O_EXCL and not flags & os.O_CREAT:
            flags &= ~os.O_EXCL  # means something else
        if flags & (os.O_DIRECTORY | os.O_NOFOLLOW):
            flags &= ~os.O_CREAT  # differs from one kernel to the next, and by file system
        return flags

    def slot(self, actor):
        return self.rng.choice(list(self.open[actor]))

    def next(self):
        """(actor, operation)"""
        rng = self.rng
        if self.known_for <= 0:
            self.look()
        self.known_for -= 1
        if self.then:
            return self.then.pop()
        actor = rng.randrange(self.actors)
        while True:
            name = rng.choices(self.names, self.sums)[0]
            if name in ("unlink", "rmdir", "rename") and len(self.known) < 12:
                name = rng.choice(["mkdir", "open", "symlink"])  # or little would be left
            if name in self.OF_SLOTS and not self.open[actor]:
                name = "open"
            if name == "open" and len(self.open[actor]) > 6:
                name = "close"
            op = getattr(self, "new_" + name, lambda a, n=name: (n, self.path()))(actor)
            if op[0] != "open":
                self.look_after(actor, name, op)
            return actor, op

    OF_SLOTS = {"close", "read", "pread", "write", "pwrite", "lseek", "ftruncate", "fsync",
                "fdatasync", "fstat", "fchmod", "futimens", "flock", "lockf", "mmap_read",
                "mmap_write", "copy_file_range", "sendfile"}
    OF_PATHS = {"truncate", "unlink", "rmdir", "mkdir", "chmod", "chown", "utimens", "rename",
                "rename_noreplace", "symlink"}

    def look_after(self, actor, name, op):
        """What the operation did is looked at, more or less often: to look settles what is pending."""
        if self.rng.random() > self.looks:
            return
        if name in self.OF_SLOTS and name != "close":
            self.then.append((actor, ("fstat", op[1])))
            return
        if name in self.OF_PATHS:
            paths = [path for path in op[1:] if isinstance(path, bytes)]
            for path in paths[-2:]:
                self.then += [(actor, ("lstat", path)), (actor, ("listdir", os.path.dirname(path))),
                              (actor, ("cat", path))]

    def learn(self, actor, op, result):
        """What came of it in the truth."""
        if op[0] == "open" and result is None:
            self.open[actor][op[1]] = op[2]
        elif op[0] == "close":
            self.open[actor].pop(op[1], None)

    def new_open(self, actor):
        self.next_slot += 1
        return "open", self.next_slot, self.path(), self.flags(), self.mode() & 0o777

    def new_close(self, actor):
        return "close", self.slot(actor)

    def new_read(self, actor):
        return "read", self.slot(actor), self.size()

    def new_pread(self, actor):
        return "pread", self.slot(actor), self.size(), self.offset()

    def new_write(self, actor):
        return "write", self.slot(actor), self.size(), self.rng.randrange(1000)

    def new_pwrite(self, actor):
        return "pwrite", self.slot(actor), self.size(), self.rng.randrange(1000), self.offset()

    def new_lseek(self, actor):
        whence = self.rng.choice([os.SEEK_SET, os.SEEK_SET, os.SEEK_END])
        return "lseek", self.slot(actor), 0 if whence == os.SEEK_END else self.offset(), whence

    def new_ftruncate(self, actor):
        return "ftruncate", self.slot(actor), self.offset()

    def new_fsync(self, actor):
        return "fsync", self.slot(actor)

    def new_fdatasync(self, actor):
        return "fdatasync", self.slot(actor)

    def new_fstat(self, actor):
        return "fstat", self.slot(actor)

    def new_fchmod(self, actor):
        return "fchmod", self.slot(actor), self.mode()

    def new_futimens(self, actor):
        times = [self.rng.randrange(10 ** 18, 17 * 10 ** 17) for _ in range(2)]
        return "futimens", self.slot(actor), *times

    def new_flock(self, actor):
        how = self.rng.choice([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN])
        return "flock", self.slot(actor), how

    def new_lockf(self, actor):
        how = self.rng.choice([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN])
        return "lockf", self.slot(actor), how

    def new_mmap_read(self, actor):
        return "mmap_read", self.slot(actor), self.rng.choice([0, 0, 1, 5]), 1 + self.size()

    def new_mmap_write(self, actor):
        return ("mmap_write", self.slot(actor), self.rng.choice([0, 0, 1, 5]), 1 + self.size(),
                self.rng.randrange(1000))

    def new_copy_file_range(self, actor):
        return ("copy_file_range", self.slot(actor), self.slot(actor), self.size(), self.offset(),
                self.offset())

    def new_sendfile(self, actor):
        return "sendfile", self.slot(actor), self.slot(actor), self.offset(), self.size()

    def new_access(self, _):
        return "access", self.path(), self.rng.randrange(8)

    def new_truncate(self, _):
        return "truncate", self.path(), self.offset()

    def new_unlink(self, _):
        return "unlink", self.path()

    def new_mkdir(self, _):
        return "mkdir", self.path(), self.mode() & 0o777

    def new_rename(self, _):
        return "rename", self.inside(), self.path()

    def new_rename_noreplace(self, _):
        return "rename_noreplace", self.inside(), self.path()

    def new_symlink(self, _):
        target = self.path() or b"."
        path = self.path()
        if self.rng.random() < 0.5:
            target = b"../" * path.count(b"/") + target
        return "symlink", target, path

    def new_chmod(self, _):
        return "chmod", self.path(), self.mode()

    def new_chown(self, _):
        rng = self.rng
        if os.geteuid() != 0:
            return "chown", self.path(), -1, os.getegid()
        return "chown", self.path(), rng.choice([-1, 0, 1234]), rng.choice([-1, 0, 4321])

    def new_utimens(self, _):
        return "utimens", self.path(), self.time(), self.time(), self.rng.random() < 0.7

    def new_links(self, _):
        """Files with several names are never changed in place: each name is a file of its own to
        the mount's caches. They have a folder to themselves."""
        rng = self.rng
        one, other = (b"links/" + rng.choice(NAMES[:5]) for _ in range(2))
        return rng.choice([("put", one, self.size(), rng.randrange(1000)), ("link", one, other),
                           ("link", one, other), ("unlink", one), ("rename", one, other),
                           ("cat", one), ("lstat", one), ("listdir", b"links"),
                           ("symlink", rng.choice(NAMES[:5]), one), ("readlink", one)])
