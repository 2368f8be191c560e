"""Writing, as the kernel and several processes see it: names and pages."""

import errno
import fcntl
import mmap
import os
import signal
import stat
import subprocess

import pytest

from procs import family, signal_all, wait_for
from tools import MIB, content, error, python, read, write

OLD = (1_400_000_000, 1_400_000_000)


@pytest.fixture
def web1(sshd):
    return sshd("web1")


@pytest.fixture
def long(sshd, web1, mount):
    """A mount whose kernel believes what it was told for a minute."""
    return mount(sshd.ini(web1, attr_timeout="60s"))


def in_process(source, *args, **more):
    """What another process prints."""
    child = python(source, *args, **more)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return out.strip()


def opened(path, flags=os.O_RDWR, mode=0o644):
    return os.fdopen(os.open(path, flags, mode), "r+b" if flags & os.O_RDWR else "wb", buffering=0)


class TestNames:
    @pytest.mark.basic
    def test_an_open_file_is_renamed(self, web1, long):
        with opened(long.host("web1", "a"), os.O_RDWR | os.O_CREAT) as f:
            f.write(b"before ")
            number = os.fstat(f.fileno()).st_ino
            os.rename(long.host("web1", "a"), long.host("web1", "b"))
            f.write(b"after")
            assert os.fstat(f.fileno()).st_ino == number
            assert os.fstat(f.fileno()).st_size == 12
            assert os.stat(long.host("web1", "b")).st_ino == number
            assert error(os.stat, long.host("web1", "a")) == "ENOENT"
            os.fsync(f.fileno())
        assert read(os.path.join(web1.files, "b")) == b"before after"
        assert read(long.host("web1", "b")) == b"before after"

    def test_a_directory_is_renamed_under_open_files(self, web1, long):
        os.makedirs(long.host("web1", "d/e"))
        with opened(long.host("web1", "d/e/f"), os.O_RDWR | os.O_CREAT) as f:
            f.write(b"1")
            folder = os.open(long.host("web1", "d/e"), os.O_RDONLY)
            os.rename(long.host("web1", "d"), long.host("web1", "moved"))
            f.write(b"2")
            assert os.fstat(f.fileno()).st_size == 2
            assert os.pread(f.fileno(), 9, 0) == b"12"
            assert os.listdir(folder) == ["f"]
            assert os.stat("f", dir_fd=folder).st_size == 2
            os.mkdir("new", dir_fd=folder)
            os.close(folder)
        assert sorted(os.listdir(os.path.join(web1.files, "moved/e"))) == ["f", "new"]
        assert read(os.path.join(web1.files, "moved/e/f")) == b"12"

    @pytest.mark.basic
    def test_an_unlinked_file_lives_while_it_is_open(self, web1, long):
        path = long.host("web1", "f")
        write(path, b"some bytes")
        with opened(path) as f:
            number = os.fstat(f.fileno()).st_ino
            os.unlink(path)
            assert os.pread(f.fileno(), 100, 0) == b"some bytes"
            os.pwrite(f.fileno(), b"more", 10)
            assert os.fstat(f.fileno()).st_size == 14
            os.ftruncate(f.fileno(), 4)
            os.fchmod(f.fileno(), 0o600)
            os.utime(f.fileno(), OLD)
            st = os.fstat(f.fileno())
            assert (st.st_size, st.st_mtime, stat.S_IMODE(st.st_mode)) == (4, OLD[1], 0o600)
            assert os.pread(f.fileno(), 100, 0) == b"some"
            # another of that name is another file
            write(path, b"other")
            assert os.stat(path).st_ino != number
            assert os.pread(f.fileno(), 100, 0) == b"some"
        assert read(path) == b"other"
        assert os.listdir(web1.files) == ["f"]

    def test_a_replaced_file_lives_while_it_is_open(self, long):
        old, new = long.host("web1", "old"), long.host("web1", "new")
        write(old, b"old")
        write(new, b"new bytes")
        with opened(old) as f:
            os.rename(new, old)
            assert os.fstat(f.fileno()).st_size == 3
            assert os.pread(f.fileno(), 100, 0) == b"old"
            assert read(old) == b"new bytes"
            assert error(os.stat, new) == "ENOENT"

    def test_a_rotated_log_is_not_the_new_one(self, long):
        """One number for two files, and mv and cp take them for one."""
        log, rotated = long.host("web1", "log"), long.host("web1", "log.1")
        write(log, b"yesterday")
        os.rename(log, rotated)
        write(log, b"today")
        assert os.stat(log).st_ino != os.stat(rotated).st_ino
        subprocess.run(["cp", log, rotated], check=True)
        assert read(rotated) == b"today"
        subprocess.run(["mv", log, rotated], check=True)
        assert os.listdir(long.host("web1")) == ["log.1"]

    def test_what_is_renamed_onto_is_not_there(self, long):
        for name in "ab":
            write(long.host("web1", name), name.encode())
        assert in_process(
            "import ctypes, os, sys\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "a, b = (os.fsencode(p) for p in sys.argv[1:])\n"
            "for flags in (1, 2):\n"
            "    if libc.renameat2(-100, a, -100, b, flags):\n"
            "        print(ctypes.get_errno())\n",
            long.host("web1", "a"), long.host("web1", "b")) == f"{errno.EEXIST}\n{errno.EINVAL}"

    def test_nothing_leaves_its_host(self, sshd, web1, mount):
        m = mount(sshd.ini(web1, sshd("web2")))
        write(m.host("web1", "f"), b"x")
        os.mkdir(m.host("web1", "d"))
        assert error(os.rename, m.host("web1", "f"), m.host("web2", "f")) == "EXDEV"
        assert error(os.link, m.host("web1", "f"), m.host("web2", "f")) == "EXDEV"
        subprocess.run(["mv", m.host("web1", "f"), m.host("web2", "f")], check=True)
        assert read(m.host("web2", "f")) == b"x"

    def test_an_open_directory_is_listed_where_it_is(self, long):
        os.makedirs(long.host("web1", "d/e"))
        write(long.host("web1", "d/e/f"), b"x")
        folder = os.open(long.host("web1", "d/e"), os.O_RDONLY)
        assert os.listdir(folder) == ["f"]
        os.rename(long.host("web1", "d"), long.host("web1", "moved"))
        assert os.listdir(folder) == ["f"]
        os.rename(long.host("web1", "moved/e"), long.host("web1", "e"))
        write(long.host("web1", "e/g"), b"x")
        assert sorted(os.listdir(folder)) == ["f", "g"]
        os.close(folder)

    def test_names_of_one_file_have_one_number(self, web1, long):
        """git clone looks whether a link that it made is the file that it meant."""
        a, b = long.host("web1", "a"), long.host("web1", "b")
        write(a, b"x")
        os.link(a, b)
        assert os.stat(a).st_ino == os.stat(b).st_ino
        os.unlink(a)
        write(a, b"another")
        assert os.stat(a).st_ino != os.stat(b).st_ino
        assert read(b) == b"x"
        for what in (("init", "-q", "from"), ("-C", "from", "-c", "user.name=n", "-c",
                     "user.email=e", "commit", "-q", "--allow-empty", "-m", "one"),
                     ("clone", "-q", "from", "to")):
            subprocess.run(["git", *what], cwd=long.host("web1"), check=True,
                           env={**os.environ, "HOME": web1.folder})

    def test_what_sftp_cannot_make(self, long):
        assert error(os.mkfifo, long.host("web1", "pipe")) == "EPERM"
        folder = os.open(long.host("web1"), os.O_RDONLY)
        for _ in range(2):  # the kernel has not made up its mind after the first
            assert error(os.fsync, folder) == "EINVAL"
        os.close(folder)
        write(long.host("web1", "f"), b"x")
        with opened(long.host("web1", "f")) as f:
            assert error(os.setxattr, f.fileno(), "user.x", b"1") == "ENOTSUP"
            assert in_process("import ctypes, sys\n"
                              "libc = ctypes.CDLL(None, use_errno=True)\n"
                              "libc.fallocate(int(sys.argv[1]), 0, ctypes.c_long(0), ctypes.c_long(9))\n"
                              "print(ctypes.get_errno())", f.fileno(),
                              pass_fds=[f.fileno()]) == str(errno.EOPNOTSUPP)


class TestFlags:
    def test_exclusive(self, web1, long):
        path = long.host("web1", "f")
        assert error(os.stat, path) == "ENOENT"
        write(os.path.join(web1.files, "f"), b"of another")
        # the kernel still believes that there is none
        assert error(os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY) == "EEXIST"
        assert read(path) == b"of another"

    def test_append(self, web1, long):
        path = long.host("web1", "f")
        write(path, b"0")
        with opened(path, os.O_WRONLY | os.O_APPEND) as one, \
                opened(path, os.O_WRONLY | os.O_APPEND) as two:
            for _ in range(20):
                one.write(b"1")
                two.write(b"2")
        assert read(os.path.join(web1.files, "f")) == b"0" + b"12" * 20
        assert read(path) == b"0" + b"12" * 20

    def test_append_is_the_servers_where_it_can_be(self, web1, long):
        """Another appends meanwhile; the kernel knows of a shorter file."""
        path = long.host("web1", "f")
        write(path, b"ours ")
        with opened(path, os.O_WRONLY | os.O_APPEND) as f:
            with open(os.path.join(web1.files, "f"), "ab") as other:
                other.write(b"theirs ")
            f.write(b"ours again")
            fcntl.fcntl(f, fcntl.F_SETFL, 0)
            assert error(os.pwrite, f.fileno(), b"x", 0) == "ENOTSUP"
        assert read(os.path.join(web1.files, "f")) == b"ours theirs ours again"

    def test_what_reads_and_appends(self, web1, long):
        """It has no shared mapping, whose pages would have to go elsewhere than its writes."""
        path = long.host("web1", "f")
        write(path, b"0123456789")
        with opened(path, os.O_RDONLY) as reader, opened(path, os.O_RDWR | os.O_APPEND) as f:
            assert os.pread(reader.fileno(), 100, 0) == b"0123456789"
            f.write(b"ten")
            assert os.pread(reader.fileno(), 100, 0) == b"0123456789ten"
            assert os.pread(f.fileno(), 100, 0) == b"0123456789ten"
            assert error(mmap.mmap, f.fileno(), 13) == "ENODEV"
            with mmap.mmap(f.fileno(), 13, mmap.MAP_PRIVATE) as mapped:
                assert mapped[:] == b"0123456789ten"
            with open(os.path.join(web1.files, "f"), "ab") as other:
                other.write(b"theirs")
            assert os.pread(f.fileno(), 100, 13) == b"theirs"
            f.write(b"more")
            assert os.fstat(f.fileno()).st_size == 23
            assert os.pread(reader.fileno(), 100, 0) == b"0123456789tentheirsmore"
        assert read(os.path.join(web1.files, "f")) == b"0123456789tentheirsmore"
        assert read(path) == b"0123456789tentheirsmore"

    def test_what_another_handle_maps_is_written_where_it_is(self, web1, long):
        path = long.host("web1", "f")
        write(path, b"0123456789")
        with opened(path, os.O_RDWR) as f, opened(path, os.O_RDWR | os.O_APPEND) as end:
            with mmap.mmap(f.fileno(), 10) as shared:
                shared[:5] = b"ABCDE"
                shared.flush()
            end.write(b"ten")
            assert os.pread(end.fileno(), 100, 0) == b"ABCDE56789ten"
        assert read(os.path.join(web1.files, "f")) == b"ABCDE56789ten"
        assert read(path) == b"ABCDE56789ten"

    def test_truncate(self, web1, long):
        path = long.host("web1", "f")
        write(path, content(MIB))
        assert read(path) == content(MIB)
        with opened(path, os.O_RDWR | os.O_TRUNC) as f:
            assert os.fstat(f.fileno()).st_size == 0
            os.pwrite(f.fileno(), b"end", 100_000)
            assert os.pread(f.fileno(), MIB, 0) == bytes(100_000) + b"end"
        assert read(os.path.join(web1.files, "f")) == bytes(100_000) + b"end"
        os.truncate(path, 10)
        assert read(path) == bytes(10)
        os.truncate(path, 20)
        assert read(path) == bytes(20)


class TestPages:
    @pytest.mark.basic
    def test_own_writes_are_read(self, web1, long):
        path = long.host("web1", "f")
        write(path, content(MIB))
        assert read(path) == content(MIB)
        expected = bytearray(content(MIB))
        with opened(path) as f, opened(path) as other:
            for at in (0, 4095, 100_000, MIB - 2):
                os.pwrite(f.fileno(), b"HERE", at)
                expected[at:at + 4] = b"HERE"
                assert os.pread(other.fileno(), 4, at) == b"HERE"
                assert os.pread(f.fileno(), 8192, max(at - 4096, 0)) \
                    == expected[max(at - 4096, 0):][:8192]
            assert os.fstat(other.fileno()).st_size == MIB + 2
        assert read(path) == expected
        assert read(os.path.join(web1.files, "f")) == expected

    def test_another_process_sees_them_at_once(self, long):
        path = long.host("web1", "f")
        with opened(path, os.O_RDWR | os.O_CREAT) as f:
            for step in range(5):
                f.write(bytes([65 + step]) * 5000)
                assert in_process("import sys, os\n"
                                  "data = open(sys.argv[1]).read()\n"
                                  "print(len(data), os.stat(sys.argv[1]).st_size, data[-1])",
                                  path) == f"{5000 * (step + 1)} {5000 * (step + 1)} {'ABCDE'[step]}"

    def test_mapped(self, web1, long):
        path = long.host("web1", "f")
        write(path, content(100_000))
        with opened(path) as f, mmap.mmap(f.fileno(), 100_000) as shared:
            assert shared[:] == content(100_000)
            os.pwrite(f.fileno(), b"written", 50_000)
            assert shared[50_000:50_007] == b"written"
            shared[90_000:90_006] = b"mapped"
            shared.flush()
            assert os.pread(f.fileno(), 6, 90_000) == b"mapped"
        expected = bytearray(content(100_000))
        expected[50_000:50_007] = b"written"
        expected[90_000:90_006] = b"mapped"
        assert read(os.path.join(web1.files, "f")) == expected

    def test_our_own_writes_keep_the_inode(self, web1, long):
        """What a close told is no change of another's: a reader that has it open goes on."""
        path = long.host("web1", "f")
        write(path, b"first")
        with open(path, "rb", buffering=0) as reader:
            assert os.pread(reader.fileno(), 100, 0) == b"first"
            for text in (b"second", b"3"):
                write(path, text)
                assert os.pread(reader.fileno(), 100, 0) == text
                os.chmod(path, 0o600)
                os.utime(path, OLD)
                assert os.pread(reader.fileno(), 100, 0) == text
                assert os.fstat(reader.fileno()).st_mtime == OLD[1]

    def test_anothers_change_does_not_hide_behind_ours(self, web1, long):
        """SETATTR tells the kernel a new mtime, on which it drops no pages."""
        path, real = long.host("web1", "f"), os.path.join(web1.files, "f")
        write(real, content(100_000))
        os.utime(real, OLD)
        assert read(path) == content(100_000)
        with opened(path) as f:
            os.pwrite(f.fileno(), b"ours", 0)
            os.fsync(f.fileno())
            with open(real, "r+b") as other:
                other.seek(50_000)
                other.write(b"theirs")
            os.utime(path, (1_500_000_000, 1_500_000_000))
            assert os.fstat(f.fileno()).st_mtime == 1_500_000_000
            assert os.pread(f.fileno(), 6, 50_000) == b"theirs"
            assert os.pread(f.fileno(), 4, 0) == b"ours"

    def test_what_was_lost_is_not_read(self, web1, long):
        """The kernel has in its pages what was never written, and the file is as old as before."""
        path, real = long.host("web1", "f"), os.path.join(web1.files, "f")
        write(real, content(MIB))
        os.utime(real, OLD)
        with opened(path) as f:
            assert f.readall() == content(MIB)
            sessions = family(web1.process.pid)[1:]
            sent = long.metric("scoutfs_sftp_requests_total")
            signal_all(sessions, signal.SIGSTOP)
            os.pwrite(f.fileno(), bytes(MIB), 0)
            wait_for(lambda: long.metric("scoutfs_sftp_requests_total") > sent, 20, "the WRITEs")
            signal_all(sessions, signal.SIGKILL)
            assert error(os.fsync, f.fileno()) == "EIO"
            assert os.pread(f.fileno(), MIB, 0) == read(real) == content(MIB)
            assert os.fstat(f.fileno()).st_mtime == OLD[1]

    def test_requests_of_writes_and_of_reads(self, long):
        """Writes come in pieces that a buffer holds; reads in four times that."""
        path = long.host("web1", "f")

        def asked(op):
            return long.metric("scoutfs_requests_total", backend="hosts", op=op)

        with opened(path, os.O_RDWR | os.O_CREAT) as f:
            f.write(content(8 * MIB))
            assert asked("write") == 32
        os.utime(path, OLD)  # its pages stay; so they are dropped by hand
        with opened(path) as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert f.readall() == content(8 * MIB)
        assert asked("read") <= 32
        assert asked("flush") == 2


class TestListings:
    def test_a_listing_does_not_undo_what_we_did(self, web1, long):
        """Its entries were fetched before, and the kernel would believe their attributes."""
        for number in range(3000):
            write(os.path.join(web1.files, f"f{number:04}"), b"old")
        with os.scandir(long.host("web1")) as entries:
            seen = {next(entries).name for _ in range(10)}
            later = sorted({f"f{n:04}" for n in range(3000)} - seen)
            grown, gone, moved, made = later[10], later[-1], later[-2], later[-3]
            write(long.host("web1", grown), b"longer than it was")
            os.unlink(long.host("web1", gone))
            os.rename(long.host("web1", moved), long.host("web1", "elsewhere"))
            os.unlink(long.host("web1", made))
            os.mkdir(long.host("web1", made))
            seen |= {entry.name for entry in entries}
        assert seen >= set(later) - {gone, moved}
        assert os.stat(long.host("web1", grown)).st_size == 18
        assert error(os.stat, long.host("web1", gone)) == "ENOENT"
        assert error(os.stat, long.host("web1", moved)) == "ENOENT"
        assert os.stat(long.host("web1", "elsewhere")).st_size == 3
        assert stat.S_ISDIR(os.stat(long.host("web1", made)).st_mode)


class TestLocksAndHoles:
    LOCKED = ("import fcntl, sys\n"
              "f = open(sys.argv[1], 'r+')\n"
              "try:\n"
              "    getattr(fcntl, sys.argv[2])(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
              "    print('free')\n"
              "except BlockingIOError:\n"
              "    print('locked')\n")

    @pytest.mark.parametrize("kind", ["flock", "lockf"])
    def test_locks_hold_between_processes(self, long, kind):
        path = long.host("web1", "f")
        write(path, b"x")
        with opened(path) as f:
            getattr(fcntl, kind)(f, fcntl.LOCK_EX)
            assert in_process(self.LOCKED, path, kind) == "locked"
            getattr(fcntl, kind)(f, fcntl.LOCK_UN)
            assert in_process(self.LOCKED, path, kind) == "free"

    def test_sparse(self, web1, tmp_path, long):
        path, local = long.host("web1", "f"), tmp_path / "sparse"
        with open(local, "wb") as f:
            f.seek(5 * MIB)
            f.write(b"end")
        subprocess.run(["cp", "--sparse=always", local, path], check=True)
        assert read(path) == bytes(5 * MIB) + b"end"
        assert os.stat(os.path.join(web1.files, "f")).st_blocks * 512 < MIB
        with opened(path) as f:
            # as a filesystem may say that does not know of holes
            assert os.lseek(f.fileno(), 0, os.SEEK_DATA) == 0
            assert os.lseek(f.fileno(), 0, os.SEEK_HOLE) == 5 * MIB + 3
        subprocess.run(["cp", "--sparse=always", path, tmp_path / "back"], check=True)
        assert read(tmp_path / "back") == bytes(5 * MIB) + b"end"
        assert os.stat(tmp_path / "back").st_blocks * 512 < MIB
