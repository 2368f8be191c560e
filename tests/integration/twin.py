#!/usr/bin/python3
"""Random operations, each done on two trees, and what comes of it compared.

The first tree is on the mount, the second is the truth: a plain local folder. One process or two
(Actor) hold the files open. A sequence that made a difference is done again, without some of its
members, until few are left.

usage: twin.py TREE TRUTH SEED SECONDS       by hand, or as one of several at once
"""

import ctypes
import errno
import fcntl
import mmap
import os
import pickle
import random
import stat
import subprocess
import sys
import time

from random_ops import UTIME_OMIT, Generator

LIBC = ctypes.CDLL(None, use_errno=True)
RENAME_NOREPLACE = 1
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
MTIME_APART = 5      # seconds between the same operation on one tree and on the other
PART = 3000          # operations
SHRINK_SECONDS = 40


def data(size, seed):
    return random.Random(size * 1000 + seed).randbytes(size)


def whole(size, read):
    """What is read in pieces of any length, up to size or the end."""
    found = b""
    while True:
        piece = read(len(found))
        found += piece
        if not piece or len(found) >= size:
            return found


def checked(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def attributes(st):
    """What both trees must agree in; the size of a directory and the number of links they need not."""
    size = None if stat.S_ISDIR(st.st_mode) else st.st_size
    return ("attributes", oct(st.st_mode), size, st.st_uid, st.st_gid, int(st.st_mtime))


def same(one, other):
    if isinstance(one, tuple) and isinstance(other, tuple) and one[:1] == ("attributes",):
        return one[:-1] == other[:-1] and abs(one[-1] - other[-1]) <= MTIME_APART
    return one == other


def shown(result):
    if isinstance(result, bytes) and len(result) > 40:
        return f"{len(result)} bytes {result[:16].hex()}…"
    return repr(result)


def told(op):
    return repr(op).replace("n" * 255, "n…")


def difference(op, one, other):
    words = f"{told(op)}\n  here:  {shown(one)}\n  truth: {shown(other)}"
    if isinstance(one, bytes) and isinstance(other, bytes):
        at = next((n for n, (a, b) in enumerate(zip(one, other)) if a != b),
                  min(len(one), len(other)))
        words += f"\n  from byte {at} on: {one[at:at + 16].hex()} and {other[at:at + 16].hex()}"
    return words


class Difference(AssertionError):
    pass


class Side:
    """One tree as one process sees it: the operations, each by its name."""

    def __init__(self, top):
        self.top = os.fsencode(top)
        self.fds, self.unmapped = {}, set()

    def at(self, path):
        return self.top + b"/" + path

    def do(self, op):
        try:
            return getattr(self, "do_" + op[0])(*op[1:])
        except KeyError:
            return "not open"
        except OSError as e:
            # either is right for a directory that is not empty
            return "ENOTEMPTY" if op[0].startswith("rename") and e.errno == errno.EEXIST and \
                os.path.isdir(self.at(op[2])) and op[0] != "rename_noreplace" \
                else errno.errorcode[e.errno]

    def close_all(self):
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()

    # of open files: slot is the number that both trees know one by

    def do_open(self, slot, path, flags, mode):
        fd = os.open(self.at(path), flags, mode)
        st = os.fstat(fd)
        if stat.S_ISDIR(st.st_mode):  # once it is removed, there is no more to ask
            os.close(fd)
            return "a directory"
        self.fds[slot] = fd
        if st.st_size == 0 and flags & os.O_ACCMODE == os.O_RDONLY:
            self.unmapped.add(slot)  # as files of /proc are: read without the kernel's pages
        if flags & os.O_ACCMODE == os.O_RDWR and flags & os.O_APPEND:
            self.unmapped.add(slot)  # the end that it writes to is the server's
        return None

    def do_close(self, slot):
        os.close(self.fds.pop(slot))

    def do_read(self, slot, size):
        return whole(size, lambda got: os.read(self.fds[slot], size - got))

    def do_pread(self, slot, size, offset):
        return whole(size, lambda got: os.pread(self.fds[slot], size - got, offset + got))

    def do_write(self, slot, size, seed):
        fd = self.fds[slot]
        return os.write(fd, data(size, seed)), os.lseek(fd, 0, os.SEEK_CUR)

    def do_pwrite(self, slot, size, seed, offset):
        return os.pwrite(self.fds[slot], data(size, seed), offset)

    def do_lseek(self, slot, offset, whence):
        return os.lseek(self.fds[slot], offset, whence)

    def do_ftruncate(self, slot, size):
        os.ftruncate(self.fds[slot], size)

    def do_fsync(self, slot):
        os.fsync(self.fds[slot])

    def do_fdatasync(self, slot):
        os.fdatasync(self.fds[slot])

    def do_fstat(self, slot):
        return attributes(os.fstat(self.fds[slot]))

    def do_fchmod(self, slot, mode):
        os.fchmod(self.fds[slot], mode)

    def do_futimens(self, slot, atime, mtime):
        os.utime(self.fds[slot], ns=(atime, mtime))

    def do_flock(self, slot, how):
        fcntl.flock(self.fds[slot], how | fcntl.LOCK_NB)

    def do_lockf(self, slot, how):
        fcntl.lockf(self.fds[slot], how if how == fcntl.LOCK_UN else how | fcntl.LOCK_NB, 10, 10)

    def do_mmap_read(self, slot, page, size):
        return self.mapped(slot, page, size, mmap.MAP_SHARED, mmap.PROT_READ, lambda m: m[:])

    def do_mmap_write(self, slot, page, size, seed):
        def change(m):
            m[:] = data(len(m), seed)
            m.flush()

        return self.mapped(slot, page, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE,
                           change)

    def mapped(self, slot, page, size, flags, prot, use):
        fd, offset = self.fds[slot], page * mmap.ALLOCATIONGRANULARITY
        size = min(size, os.fstat(fd).st_size - offset)
        if size <= 0 or slot in self.unmapped:
            return "not to be mapped"
        with mmap.mmap(fd, size, flags, prot, offset=offset) as m:
            return use(m)

    def do_copy_file_range(self, source, sink, size, offset, sink_offset):
        done = 0
        while done < size:
            got = os.copy_file_range(self.fds[source], self.fds[sink], size - done, offset + done,
                                     sink_offset + done)
            if got == 0:
                break
            done += got
        return done

    def do_sendfile(self, sink, source, offset, size):
        done = 0
        while done < size:
            got = os.sendfile(self.fds[sink], self.fds[source], offset + done, size - done)
            if got == 0:
                break
            done += got
        return done, os.lseek(self.fds[sink], 0, os.SEEK_CUR)

    # of paths

    def do_stat(self, path):
        return attributes(os.stat(self.at(path)))

    def do_lstat(self, path):
        return attributes(os.lstat(self.at(path)))

    def do_access(self, path, mask):
        return os.access(self.at(path), mask)

    def do_readlink(self, path):
        return os.readlink(self.at(path))

    def do_listdir(self, path):
        with os.scandir(self.at(path)) as entries:
            return sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink())
                          for e in entries)

    def do_cat(self, path):
        with open(self.at(path), "rb") as f:
            return f.read()

    def do_put(self, path, size, seed):
        with open(self.at(path), "xb") as f:
            f.write(data(size, seed))

    def do_truncate(self, path, size):
        os.truncate(self.at(path), size)

    def do_unlink(self, path):
        os.unlink(self.at(path))

    def do_rmdir(self, path):
        os.rmdir(self.at(path))

    def do_mkdir(self, path, mode):
        os.mkdir(self.at(path), mode)

    def do_rename(self, path, newpath):
        os.rename(self.at(path), self.at(newpath))

    def do_rename_noreplace(self, path, newpath):
        checked(LIBC.renameat2(AT_FDCWD, self.at(path), AT_FDCWD, self.at(newpath),
                               RENAME_NOREPLACE))

    def do_link(self, path, newpath):
        os.link(self.at(path), self.at(newpath), follow_symlinks=False)

    def do_symlink(self, target, path):
        os.symlink(target, self.at(path))

    def do_chmod(self, path, mode):
        os.chmod(self.at(path), mode)

    def do_chown(self, path, uid, gid):
        os.chown(self.at(path), uid, gid, follow_symlinks=False)

    def do_utimens(self, path, atime, mtime, follow):
        """Each of (seconds, nanoseconds). What comes of mtime; atime is its readers', also those of a
        listing or of a file read ahead."""
        times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
        checked(LIBC.utimensat(AT_FDCWD, self.at(path), times, 0 if follow else
                               AT_SYMLINK_NOFOLLOW))
        st = os.stat(self.at(path), follow_symlinks=follow)
        return int(st.st_mtime) if mtime[1] < UTIME_OMIT else None


class Actor:
    """A process with files open in both trees; remote: another than this one."""

    def __init__(self, tops, remote):
        self.process = None
        if remote:
            self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--actor",
                                             *tops], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        else:
            self.sides = [Side(top) for top in tops]

    def do(self, op):
        if self.process is None:
            return [side.do(op) for side in self.sides]
        pickle.dump(op, self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def end(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(60)
            self.process.stdout.close()
        else:
            for side in self.sides:
                side.close_all()

    @staticmethod
    def serve(tops):
        actor = Actor(tops, remote=False)
        while True:
            try:
                op = pickle.load(sys.stdin.buffer)
            except EOFError:
                actor.end()
                return
            pickle.dump(actor.do(op), sys.stdout.buffer)
            sys.stdout.buffer.flush()


def compare_trees(tree, truth):
    """Everything, also what no operation looked at."""
    sides = [Side(tree), Side(truth)]
    folders = [b""]
    for folder in folders:
        for op in (("listdir", folder), ("lstat", folder)):
            compare(op, [side.do(op) for side in sides])
        for name, is_folder, is_link in sides[1].do(("listdir", folder)):
            path = os.path.join(folder, name)
            if is_folder:
                folders.append(path)
                continue
            for op in (("lstat", path), ("readlink" if is_link else "cat", path)):
                compare(op, [side.do(op) for side in sides])


def compare(op, results):
    if not same(*results):
        raise Difference(difference(op, *results))


def related(ops):
    """Those that name a file of the last one, or what that was called before."""
    opened = {op[1]: op[2] for _, op in ops if op[0] == "open"}

    def named(op):
        slots = op[1:3] if op[0] in ("copy_file_range", "sendfile") else op[1:2]
        return {arg for arg in op[1:] if isinstance(arg, bytes)} | {
            opened[slot] for slot in slots if isinstance(slot, int)}

    paths, kept = named(ops[-1][1]), []
    for actor, op in reversed(ops):
        names = named(op)
        if any(one == path or path.startswith(one + b"/") for one in names for path in paths):
            kept.append((actor, op))
            if op[0].startswith("rename"):
                paths |= names
    return kept[::-1]


class Run:
    """A sequence of operations on a pair of folders of its own."""

    def __init__(self, tops, actors, name):
        self.tops = [os.path.join(top, name) for top in tops]
        for top in self.tops:
            os.mkdir(top)
            os.mkdir(os.path.join(top, "links"))
        self.actors = [Actor(self.tops, remote=n > 0) for n in range(actors)]

    def do(self, actor, op):
        results = self.actors[actor].do(op)
        compare(op, results)
        return results[1]

    def end(self):
        for actor in self.actors:
            actor.end()

    def compare(self):
        compare_trees(*self.tops)


class Twin:
    """Random operations on tree and truth until the time is over: a Difference, or how many."""

    def __init__(self, tree, truth, seed, actors=2, without=(), server=None):
        self.tops = (tree, truth)
        self.seed, self.actors, self.without = seed, actors, without
        self.server = server  # where the server has what the tree shows
        self.ops, self.turn = [], 0

    def run(self, seconds):
        """Some thousand at a time, so that a difference is not far from its cause; each from a seed of
        its own, the first from the one given."""
        until = time.monotonic() + seconds
        following = random.Random(self.seed)
        done = 0
        while time.monotonic() < until:
            done += self.part(until)
            self.seed = following.randrange(10 ** 6)
        return done

    def part(self, until):
        self.turn += 1
        run = Run(self.tops, self.actors, f"run{self.turn}")
        generator = Generator(self.seed, run.tops[1], self.actors, self.without)
        self.ops = []
        try:
            while time.monotonic() < until and len(self.ops) < PART:
                actor, op = generator.next()
                self.ops.append((actor, op))
                generator.learn(actor, op, run.do(actor, op))
            run.compare()
        except Difference as e:
            raise Difference(self.report(e)) from None
        finally:
            run.end()
        try:
            run.compare()
            if self.server:
                compare_trees(os.path.join(self.server, f"run{self.turn}"), run.tops[1])
        except Difference as e:
            raise Difference(f"seed {self.seed}, at the end of {len(self.ops)}: {e}") from None
        return len(self.ops)

    def report(self, found):
        lines = [f"seed {self.seed}, operation {len(self.ops)}: {found}", "The last ones:"]
        lines += [f"  {actor} {told(op)}" for actor, op in self.ops[-20:]]
        fewer, found = self.shrink()
        if fewer:
            lines += [f"As few as these {len(fewer)} differ: {found}"]
            lines += [f"  {actor} {told(op)}" for actor, op in fewer]
        else:
            lines += ["Done again, they do not differ."]
        return "\n".join(lines)

    def shrink(self):
        """The shortest sequence found in a while that still differs, and how; None: none did."""
        until = time.monotonic() + SHRINK_SECONDS
        turn = 0
        for candidate in (related(self.ops), self.ops):
            turn += 1
            if failure := self.again(candidate, turn):
                break
        else:
            return None, None
        best, found = candidate[:failure[0]], failure[1]
        size, at = len(best) // 2, 0  # so many, at so many before the last, which is the failure
        while size > 0 and time.monotonic() < until:
            high = len(best) - 1 - at
            candidate = best[:max(0, high - size)] + best[high:]
            turn += 1
            if failure := self.again(candidate, turn):
                best, found = candidate[:failure[0]], failure[1]
            else:
                at += size
            if at >= len(best) - 1:
                size, at = min(size, len(best)) // 2, 0
        return best, found

    def again(self, ops, turn):
        """(how many were done, the difference), or None when there is none."""
        run = Run(self.tops, self.actors, f"again{turn}")
        try:
            for n, (actor, op) in enumerate(ops, 1):
                run.do(actor, op)
            run.compare()
            return None
        except Difference as e:
            return n, e
        finally:
            run.end()


def main():
    if sys.argv[1] == "--actor":
        Actor.serve(sys.argv[2:])
        return
    tree, truth, seed, seconds = sys.argv[1:5]
    try:
        done = Twin(tree, truth, int(seed), actors=1).run(float(seconds))
    except Difference as e:
        sys.exit(str(e))
    print(f"{done} operations, seed {seed}")


if __name__ == "__main__":
    main()
