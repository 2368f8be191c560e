"""Hosts in odd shapes: files that change under open readers, special files, few sessions, many
callers, and connections that die at any moment."""

import errno
import mmap
import os
import random
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from mount import SLOWER
from procs import end, family, signal_all, wait_for
from tools import MIB, Background, content, error, read, sha256, timed, together, write


def cut_sessions(server):
    """Every connection dies; the listener lives. Whether there was one."""
    sessions = family(server.process.pid)[1:]
    signal_all(sessions, signal.SIGKILL)
    return bool(sessions)


def aged(path, data, mtime=1_400_000_000):
    """A file whose time tells it from what is written now."""
    write(path, data)
    os.utime(path, (mtime, mtime))
    return path


@pytest.mark.seconds(120)
def test_connections_killed_at_random_moments(sshd, mount):
    """The listener lives on: all bytes, and an error only when a connect was killed. No end of a connection is
    noticed only by the time that a request may take."""
    web1 = sshd("web1")
    data = content(100 * MIB)
    aged(os.path.join(web1.files, "large"), data)
    m = mount(sshd.ini(web1, attr_timeout="0", request_timeout="600s"))
    kills, answers, over = [], [], threading.Event()
    begun = time.monotonic()
    os.stat(m.host("web1", "large"))
    connect = time.monotonic() - begun

    def killer():
        chance = random.Random(7)
        life, seen = connect, 0
        while not over.wait(life * chance.uniform(0.2, 2.5)):
            if not cut_sessions(web1):
                continue
            kills.append(1)
            # a machine may have become slower since the first connect: who got no answer is let live longer
            life = max(connect, 0.8 * life) if len(answers) > seen else 2 * life
            seen = len(answers)

    def persistently(function, *args, **more):
        while True:
            try:
                answer = function(*args, **more)
                answers.append(1)
                return answer
            except ConnectionResetError:
                time.sleep(0.05)  # the host's pause after a failed connect

    def by_pieces(seed):
        chance = random.Random(seed)
        with persistently(open, m.host("web1", "large"), "rb", buffering=0) as f:
            got = []
            while True:
                piece = persistently(f.read, chance.choice((4096, 128 * 1024, MIB)))
                if not piece:
                    return b"".join(got)
                got.append(piece)

    killing = Background([killer])
    try:
        round_ = 0
        while len(kills) < 20:
            assert sha256(by_pieces(round_)) == sha256(data)
            round_ += 1
            # the next round must not come out of the page cache
            os.utime(os.path.join(web1.files, "large"), (round_, 1_400_000_000 + round_))
    finally:
        over.set()
        killing.results()
    wait_for(lambda: error(read, m.host("web1", "large")) == "ok", 20, "an answer")
    wait_for(lambda: "open: 0\n" in read(m.path(".scoutfs", "hosts", "web1")).decode(), 20,
             "closed handles")


class TestChangesUnderAnOpenFile:
    @pytest.fixture
    def web1(self, sshd):
        return sshd("web1")

    def test_replaced_by_a_longer_one_while_the_connection_was_lost(self, sshd, mount, web1):
        """What was appended to ends up to there as it did: this is another file."""
        path = aged(os.path.join(web1.files, "f"), content(4 * MIB, 1))
        m = mount(sshd.ini(web1, read_window="256K"))
        fd = os.open(m.host("web1", "f"), os.O_RDONLY)
        try:
            assert os.pread(fd, 4096, 0) == content(4 * MIB, 1)[:4096]
            aged(path + ".new", content(5 * MIB, 2), 1_500_000_000)
            os.rename(path + ".new", path)
            web1.kill()
            web1.start()
            wait_for(lambda: error(os.listdir, m.host("web1")) == "ok", 40, "the host's return")
            assert error(os.pread, fd, 4096, 3 * MIB) == "ESTALE"
        finally:
            os.close(fd)

    def test_replaced_by_a_shorter_one(self, sshd, mount, web1):
        """Also when the kernel has been told of its size, for the same name."""
        path = aged(os.path.join(web1.files, "f"), content(4 * MIB, 1))
        m = mount(sshd.ini(web1, read_window="256K"))
        fd = os.open(m.host("web1", "f"), os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            assert os.pread(fd, 4096, 0) == content(4 * MIB, 1)[:4096]
            aged(path + ".new", b"new", 1_500_000_000)
            os.rename(path + ".new", path)
            wait_for(lambda: os.stat(m.host("web1", "f")).st_size == 3, 20, "the new size")
            assert error(os.pread, fd, 4096, 3 * MIB) == "ESTALE"
            assert read(m.host("web1", "f")) == b"new"
        finally:
            os.close(fd)

    def test_grown_and_then_cut(self, sshd, mount, web1):
        """To no less than it had at the open."""
        path = aged(os.path.join(web1.files, "f"), content(MIB, 1))
        m = mount(sshd.ini(web1, read_window="256K"))
        fd = os.open(m.host("web1", "f"), os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            assert os.pread(fd, 4096, 0) == content(MIB, 1)[:4096]
            with open(path, "ab") as f:
                f.write(content(3 * MIB, 2))
            wait_for(lambda: os.fstat(fd).st_size == 4 * MIB, 20, "the new size")
            assert os.pread(fd, 4096, 2 * MIB) == content(3 * MIB, 2)[MIB:MIB + 4096]
            os.truncate(path, 2 * MIB)
            wait_for(lambda: os.stat(m.host("web1", "f")).st_size == 2 * MIB, 20, "the cut")
            assert error(os.pread, fd, 4096, 3 * MIB) == "ESTALE"
        finally:
            os.close(fd)

    def test_rewritten_with_the_same_size(self, sshd, mount, web1):
        path = aged(os.path.join(web1.files, "f"), content(4 * MIB, 1))
        m = mount(sshd.ini(web1, read_window="256K", attr_timeout="0"))
        fd = os.open(m.host("web1", "f"), os.O_RDONLY)
        try:
            assert os.pread(fd, 4096, 0) == content(4 * MIB, 1)[:4096]
            with open(path, "r+b") as f:
                f.write(content(4 * MIB, 2))
            assert error(os.pread, fd, 4096, 3 * MIB) == "ESTALE"
        finally:
            os.close(fd)
        assert read(m.host("web1", "f")) == content(4 * MIB, 2)

    def test_deleted(self, sshd, mount, web1):
        path = aged(os.path.join(web1.files, "f"), content(4 * MIB, 1))
        m = mount(sshd.ini(web1, read_window="256K", attr_timeout="0"))
        fd = os.open(m.host("web1", "f"), os.O_RDONLY)
        try:
            got = os.pread(fd, 4096, 0)
            os.unlink(path)
            try:
                got += os.pread(fd, 4096, 4096)
            except OSError as e:
                assert e.errno == errno.ESTALE
            assert content(4 * MIB, 1).startswith(got)
        finally:
            os.close(fd)
        assert error(os.stat, m.host("web1", "f")) == "ENOENT"

    def test_a_log_in_the_midst_of_writing(self, sshd, mount, web1):
        """Many open it while it grows faster than a name can be looked up: nobody gets an error, and
        everybody gets what was there long enough (attr_timeout) before. But when a second begins: for a
        moment the server's file has its new time and not yet its new size, which is a change."""
        path = aged(os.path.join(web1.files, "log"), b"x" * 1000)
        m = mount(sshd.ini(web1))
        over = threading.Event()

        def grow():
            with open(path, "ab", buffering=0) as f:
                while not over.wait(0.0005):
                    f.write(b"x" * 10)

        def look():
            stale = 0
            for _ in range(100):
                try:
                    with open(m.host("web1", "log"), "rb", buffering=0) as f:
                        assert f.read(MIB)[:1000] == b"x" * 1000  # once: its end may never come
                except OSError as e:
                    assert e.errno == errno.ESTALE
                    stale += 1
            return stale

        begun = int(time.time())
        writer = threading.Thread(target=grow)
        writer.start()
        try:
            stale = together([look] * 8)
        finally:
            over.set()
            writer.join()
        assert max(stale) <= 1 + int(time.time()) - begun, "more than one a reader and second"

    def test_tail(self, sshd, mount, web1):
        path = aged(os.path.join(web1.files, "log"), b"one\n")
        m = mount(sshd.ini(web1))
        tail = subprocess.Popen(["tail", "-f", "-n", "+1", "-s", "0.1", m.host("web1", "log")],
                                stdout=subprocess.PIPE, text=True)
        try:
            assert tail.stdout.readline() == "one\n"
            for line in ("two\n", "three\n", "four\n"):
                with open(path, "a", encoding="utf-8") as f:
                    f.write(line)
                assert tail.stdout.readline() == line
        finally:
            end(tail)

    def test_mapped_file_that_changes(self, sshd, mount, web1):
        """Pages of one version, and after a new open of the other."""
        old, new = content(2 * MIB, 1), content(2 * MIB, 2)
        path = aged(os.path.join(web1.files, "f"), old)
        m = mount(sshd.ini(web1, attr_timeout="0"))
        with open(m.host("web1", "f"), "rb") as f, \
                mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as pages:
            assert pages[:MIB] == old[:MIB]
            aged(path + ".new", new, 1_500_000_000)
            os.rename(path + ".new", path)
            assert pages[:4096] in (old[:4096], new[:4096])
        with open(m.host("web1", "f"), "rb") as f, \
                mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as pages:
            assert pages[:] == new

    def test_small_file_replaced_again_and_again(self, sshd, mount, web1):
        """Always one of the versions; and the last of them at the end, whatever was cached."""
        path = aged(os.path.join(web1.files, "f"), b"%08d" % 0, 1_400_000_000)
        m = mount(sshd.ini(web1, attr_timeout="0"))
        over = threading.Event()

        def reader():
            while not over.is_set():
                try:
                    data = read(m.host("web1", "f"))
                    assert len(data) == 8 and data.isdigit(), data
                except OSError as e:
                    assert e.errno == 116, e
            return "right"

        readers = Background([reader] * 4)
        for number in range(1, 400):
            aged(path + ".new", b"%08d" % number, 1_400_000_000 + number)
            os.rename(path + ".new", path)
        over.set()
        assert readers.results() == ["right"] * 4
        assert read(m.host("web1", "f")) == b"%08d" % 399


class TestFolders:
    @pytest.fixture
    def web1(self, sshd):
        return sshd("web1")

    @staticmethod
    def fill(web1, count):
        folder = os.path.join(web1.files, "many")
        os.mkdir(folder)
        for number in range(count):
            os.close(os.open(os.path.join(folder, f"n{number:05}"), os.O_CREAT, 0o644))
        return folder

    @pytest.mark.seconds(120)
    def test_20000_entries_that_come_and_go(self, sshd, mount, web1):
        """Every name that was there all the time, each once."""
        folder = self.fill(web1, 20_000)
        m = mount(sshd.ini(web1, attr_timeout="0"))
        over = threading.Event()

        def change():
            number = 0
            while not over.is_set():
                path = os.path.join(folder, f"x{number % 500}")
                if os.path.exists(path):
                    os.unlink(path)
                else:
                    os.close(os.open(path, os.O_CREAT, 0o644))
                number += 1

        changing = Background([change])
        try:
            for _ in range(5):
                names = os.listdir(m.host("web1", "many"))
                kept = [name for name in names if name.startswith("n")]
                assert len(kept) == len(set(kept)) == 20_000
        finally:
            over.set()
            changing.results()

    def test_removed_under_a_listing(self, sshd, mount, web1):
        folder = self.fill(web1, 5000)
        m = mount(sshd.ini(web1, attr_timeout="0"))
        with os.scandir(m.host("web1", "many")) as entries:
            next(entries)
            subprocess.run(["rm", "-r", folder], check=True, timeout=30)
            try:
                assert len(list(entries)) < 5000
            except OSError as e:
                assert e.errno in (2, 116)
        assert error(os.listdir, m.host("web1", "many")) == "ENOENT"

    def test_interrupted_and_rewound(self, sshd, mount, web1):
        self.fill(web1, 20_000)
        m = mount(sshd.ini(web1))
        code = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.readdir.argtypes = libc.rewinddir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
folder = libc.opendir(sys.argv[1].encode())
def count(limit):
    n = 0
    while n < limit and libc.readdir(folder):
        n += 1
    return n
assert count(7000) == 7000
libc.rewinddir(folder)
assert count(30000) == 20002
assert count(10) == 0
libc.rewinddir(folder)
assert count(30000) == 20002
libc.closedir(folder)
"""
        subprocess.run(["/usr/bin/python3", "-c", code, m.host("web1", "many")], check=True,
                       timeout=30 * SLOWER)


class TestSpecialFiles:
    def test_proc_of_the_host(self, sshd, mount):
        """Files that say 0 bytes and hold some."""
        web1 = sshd("web1")
        m = mount(sshd.ini(web1).replace(f"root = {web1.files}", "root = /"))
        assert read(m.host("web1", "proc", "version")) == read("/proc/version")
        assert read(m.host("web1", "proc", "filesystems")) == read("/proc/filesystems")
        names = read("/proc/kallsyms").count(b"\n")
        assert read(m.host("web1", "proc", "kallsyms")).count(b"\n") == names
        # says 4096 bytes and holds fewer; a container may have no /sys
        short = "/sys/kernel/mm/transparent_hugepage/enabled"
        if os.path.exists(short):
            assert read(m.host("web1") + short) == read(short)

    def test_what_is_no_file(self, sshd, mount):
        web1 = sshd("web1")
        os.mkfifo(os.path.join(web1.files, "pipe"))
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(os.path.join(web1.files, "socket"))
            m = mount(sshd.ini(web1))
            assert error(os.open, m.host("web1", "socket"), os.O_RDONLY) == "ENXIO"
            assert stat.S_ISSOCK(os.lstat(m.host("web1", "socket")).st_mode)
        # the kernel's own pipe, of this machine: not a call to us, and the host is not asked
        fd = os.open(m.host("web1", "pipe"), os.O_RDONLY | os.O_NONBLOCK)
        os.close(fd)
        reader = subprocess.Popen(["cat", m.host("web1", "pipe")], stdout=subprocess.DEVNULL)
        reader.send_signal(signal.SIGINT)
        assert reader.wait(5 * SLOWER) == -signal.SIGINT
        found = subprocess.run(["grep", "-r", "x", m.host("web1")], capture_output=True,
                               timeout=20 * SLOWER, check=False)
        assert (found.returncode, found.stderr) == (1, b""), "skipped, as grep does"

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs mknod")
    def test_devices(self, sshd, mount):
        web1 = sshd("web1")
        try:
            os.mknod(os.path.join(web1.files, "zero"), stat.S_IFCHR | 0o666, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("no device nodes here")
        m = mount(sshd.ini(web1))
        assert stat.S_ISCHR(os.lstat(m.host("web1", "zero")).st_mode)
        assert error(os.open, m.host("web1", "zero"), os.O_RDONLY) in ("EACCES", "ENXIO")

    def test_a_pipe_where_a_file_was(self, sshd, mount):
        """The server blocks in its open: that session is lost, the host is not."""
        web1 = sshd("web1")
        path = write(os.path.join(web1.files, "f"), b"a file")
        write(os.path.join(web1.files, "other"), b"other")
        m = mount(sshd.ini(web1, attr_timeout="60s", request_timeout="2s", connect_timeout="2s"))
        os.stat(m.host("web1", "f"))
        os.unlink(path)
        os.mkfifo(path)
        try:
            word, seconds = timed(error, os.open, m.host("web1", "f"), os.O_RDONLY)
            assert word in ("ETIMEDOUT", "EIO", "EINVAL") and seconds < 20 * SLOWER
            wait_for(lambda: error(read, m.host("web1", "other")) == "ok", 40, "the other file")
        finally:  # whoever waits in open goes on, and ends
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))

    def test_links(self, sshd, mount):
        """With a root below the host's: links that are absolute there, loops, and ways out."""
        web1 = sshd("web1")
        root = os.path.join(web1.files, "some", "dir")
        write(os.path.join(root, "etc", "real"), b"inside")
        write(os.path.join(web1.files, "secret"), b"outside")
        links = {"full": os.path.join(root, "etc", "real"), "short": "/etc/real",
                 "a": "b", "b": "a", "out": "../../secret", "top": root, "slash": "/",
                 "etc/back": "../etc/./real", "out2": os.path.join(web1.files, "secret")}
        for name, target in links.items():
            os.symlink(target, os.path.join(root, name))
        m = mount(sshd.ini(web1).replace(f"root = {web1.files}", f"root = {root}"))
        for name in ("full", "short", "top/etc/real", "slash/etc/real", "etc/back"):
            assert read(m.host("web1", name)) == b"inside", name
        assert error(read, m.host("web1", "a")) == "ELOOP"
        assert error(read, m.host("web1", "out")) == "ENOENT"
        assert error(read, m.host("web1", "out2")) == "ENOENT"


class TestFewSessions:
    def test_open_files_on_more_hosts_than_sessions(self, sshd, mount):
        """Files that are open and not being read give way, and are read on afterwards."""
        hosts = [sshd(f"h{number}") for number in range(5)]
        for number, host in enumerate(hosts):
            aged(os.path.join(host.files, "f"), content(3 * MIB, number))
        m = mount(sshd.ini(*hosts, max_sessions=2, connect_timeout="10s", request_timeout="10s"))
        files = []
        try:
            for number in range(5):
                files.append(open(m.host(f"h{number}", "f"), "rb", buffering=0))
                assert files[-1].read(4096) == content(3 * MIB, number)[:4096]
            for number in range(5):
                assert os.pread(files[number].fileno(), 4096, 2 * MIB) == \
                    content(3 * MIB, number)[2 * MIB:2 * MIB + 4096]
        finally:
            for f in files:
                f.close()
        assert m.metric("scoutfs_hosts_pool_sessions") <= 2

    @pytest.mark.parametrize("lines", [0, 1, 300])
    def test_a_log_is_followed_on_more_hosts_than_sessions(self, sshd, mount, lines):
        """Who rests gives way, and its next line comes all the same; another log in its place is not read on."""
        hosts = [sshd(f"h{number}") for number in range(3)]
        logs = [aged(os.path.join(host.files, "log"), b"".join(b"%d line %d\n" % (n, line) for line in range(lines)))
                for n, host in enumerate(hosts)]
        m = mount(sshd.ini(*hosts, max_sessions=1, attr_timeout="0", connect_timeout="20s"))
        readers = []

        def line(n, text):
            with open(logs[n], "ab") as log:
                log.write(text)
            got = []
            wait_for(lambda: got.append(readers[n].read(65536)) or b"".join(got) == text, 20, "the line")

        try:
            for n in range(3):
                readers.append(open(m.host(f"h{n}", "log"), "rb", buffering=0))
                assert readers[n].read(65536) == read(logs[n])
            for turn in range(3):
                for n in range(3):
                    line(n, b"%d: a new line, the %dth\n" % (n, turn))
            assert m.metric("scoutfs_hosts_sessions_evicted_total") >= 9
            aged(logs[0] + ".new", b"x" * 20_000, 2_000_000_000)
            os.rename(logs[0] + ".new", logs[0])
            assert error(readers[0].read, 65536) == "ESTALE"
        finally:
            for reader in readers:
                reader.close()

    def test_readers_of_more_hosts_than_sessions(self, sshd, mount):
        hosts = [sshd(f"h{number}") for number in range(5)]
        for number, host in enumerate(hosts):
            aged(os.path.join(host.files, "f"), content(20 * MIB, number))
        m = mount(sshd.ini(*hosts, max_sessions=2))
        got = together(lambda n=n: read(m.host(f"h{n}", "f")) for n in range(5))
        assert [sha256(one) for one in got] == [sha256(content(20 * MIB, n)) for n in range(5)]

    def test_ls_beside_a_bulk_reader_on_one_session(self, sshd, mount, proxy):
        web1 = sshd("web1")
        aged(os.path.join(web1.files, "large"), content(64 * MIB))
        link = proxy(web1.port)
        link.bytes_per_s = 20 * MIB
        m = mount(sshd.ini(web1, ports={"web1": link.port}, max_sessions_per_host=1,
                           attr_timeout="0"))
        os.listdir(m.host("web1"))
        reader = Background([lambda: read(m.host("web1", "large"))])
        wait_for(lambda: link.bytes_down > 8 * MIB, 20, "the reader at work")
        before = link.bytes_down
        os.listdir(m.host("web1"))
        passed = link.bytes_down - before
        assert reader.running() == 1
        assert passed < 40 * MIB, "more than the window stands before it"
        assert sha256(reader.results()[0]) == sha256(content(64 * MIB))
        assert web1.logins() == 1

    def test_a_server_with_narrow_limits(self, sshd, mount):
        web1 = sshd("web1", options="MaxSessions 1\nMaxStartups 3:50:10")
        for number in range(50):
            aged(os.path.join(web1.files, f"f{number}"), content(2 * MIB, number))
        m = mount(sshd.ini(web1))
        got = together(lambda n=n: read(m.host("web1", f"f{n}")) for n in range(50))
        assert got == [content(2 * MIB, number) for number in range(50)]


class TestManyCallers:
    @pytest.mark.seconds(120)
    def test_200_stats_and_64_readers_of_a_stopped_host(self, sshd, mount):
        web1, web2 = sshd("web1"), sshd("web2")
        for number in range(64):
            aged(os.path.join(web1.files, f"f{number}"), content(300_000, number))
            aged(os.path.join(web2.files, f"f{number}"), content(300_000, number))
        m = mount(sshd.ini(web1, web2, connect_timeout="60s", request_timeout="60s",
                           keepalive="0", attr_timeout="0"), settings="memory = 16M\nworkers = 2")
        os.listdir(m.host("web1"))
        os.listdir(m.host("web2"))
        calm = sorted(timed(os.stat, m.host("web2", f"f{n}"))[1] for n in range(20))
        web1.freeze()
        stats = []
        try:
            readers = Background(lambda n=n: read(m.host("web1", f"f{n}")) for n in range(64))
            stats = [subprocess.Popen(["stat", m.host("web1", f"f{n % 64}")],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                     for n in range(200)]
            wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 200, 40, "all blocked")
            busy = sorted(timed(os.stat, m.host("web2", f"f{n}"))[1] for n in range(20))
            assert busy[10] < 10 * calm[10] + 0.5 * SLOWER, (calm, busy)
            for number in range(20, 40):
                assert read(m.host("web2", f"f{number}")) == content(300_000, number)
            assert readers.running() == 64
        finally:
            web1.thaw()
            for one in stats:
                one.wait(30 * SLOWER)
        assert readers.results() == [content(300_000, n) for n in range(64)]

    @pytest.mark.seconds(180)
    def test_1000_stats_of_a_host_that_is_down(self, sshd, mount):
        web1 = sshd("web1")
        write(os.path.join(web1.files, "f"), b"here")
        m = mount(sshd.ini(web1))
        web1.kill()
        assert error(os.listdir, m.host("web1")) == "ECONNREFUSED"
        connects = m.metric("scoutfs_hosts_connects_total")
        code = f'for i in $(seq 125); do stat {m.host("web1")}/f$i; done >/dev/null 2>&1; :'
        _, seconds = timed(together, [lambda: subprocess.run(["sh", "-c", code], check=True)] * 8)
        # at once while it is down; one connect for each pause that ended meanwhile
        assert m.metric("scoutfs_hosts_connects_total") - connects <= seconds / 0.75 + 1
        assert m.log().count("\n") < 100, "a line for each connect, not for each caller"
        web1.start()
        wait_for(lambda: error(read, m.host("web1", "f")) == "ok", 45, "the host's return")


def test_a_far_folder_is_listed_for_those_who_look_one_by_one(sshd, proxy, mount):
    """Sixty files cost a few round trips, whoever looks; and what we change is seen all the same."""
    web1 = sshd("web1", count_sftp=True)
    for number in range(60):
        aged(os.path.join(web1.files, f"f{number:02}"), content(number))
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}, attr_timeout="600s"))
    names = [m.host("web1", f"f{number:02}") for number in range(60)]
    link.rtt = 0.03
    assert [os.stat(name).st_size for name in names[:4]] == [0, 1, 2, 3]
    wait_for(lambda: m.metric("scoutfs_hosts_requests") == 0, 20, "the listing")
    assert web1.sftp_requests("opendir") == 1
    asked = web1.sftp_requests("lstat")
    assert [os.stat(name).st_size for name in names] == list(range(60))
    assert web1.sftp_requests("lstat") == asked
    assert m.metric("scoutfs_hosts_attributes_listed_total") >= 56
    write(names[50], b"changed")
    os.unlink(names[51])
    assert os.stat(names[50]).st_size == 7 and error(os.stat, names[51]) == "ENOENT"
