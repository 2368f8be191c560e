"""Hosts that stop, die, come back, or change under a reader; and ends in the midst of it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mount import SLOWER
from procs import end, wait_for
from tools import MIB, Background, content, error, python, read, sha256, timed, together, write

# Reads a file slowly enough that things can happen meanwhile: a line for each piece.
PIECEWISE = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
while True:
    piece = os.read(fd, int(sys.argv[2]))
    print(len(piece), flush=True)
    if not piece:
        break
"""
BLOCKED = """
import os, sys
print("asking", flush=True)
try:
    os.listdir(sys.argv[1])
    print("answered", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
except OSError as e:
    print(os.strerror(e.errno), flush=True)
"""
PATIENT = {"request_timeout": "60s", "connect_timeout": "60s", "keepalive": "0"}


@pytest.fixture
def web1(sshd):
    server = sshd("web1")
    for number in range(64):
        write(os.path.join(server.files, f"f{number}"), content(300_000, number))
    return server


@pytest.mark.seconds(120)
def test_64_readers_of_a_stopped_host(sshd, web1, rgw, bucket, mount):
    """Nobody else notices; Ctrl-C works; when the host goes on, so do they, with right bytes."""
    web2 = sshd("web2")
    for number in range(20):
        write(os.path.join(web2.files, f"f{number}"), content(200_000, 100 + number))
        rgw.put(bucket, f"m/{number}/model.zip", content(200_000, 200 + number))
    m = mount(sshd.ini(web1, web2, **PATIENT), rgw.ini(bucket))
    os.listdir(m.host("web1"))
    os.listdir(m.host("web2"))

    def others(first):
        for number in range(first, first + 10):
            assert len(os.listdir(m.host("web2"))) == 20
            assert len(os.listdir(m.path("hosts"))) == 2
            assert read(m.host("web2", f"f{number}")) == content(200_000, 100 + number)
            assert read(m.model("m", str(number), "model.zip")) == content(200_000, 200 + number)
            assert os.statvfs(m.point)

    _, before = timed(others, 0)
    web1.freeze()
    try:
        readers = Background(lambda n=n: read(m.host("web1", f"f{n}")) for n in range(64))
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 64, 20, "blocked readers")
        _, during = timed(others, 10)
        assert during < 10 * before + 10 * SLOWER, (during, before)

        blocked = python(BLOCKED, m.host("web1", "missing"))
        assert blocked.stdout.readline() == "asking\n"
        time.sleep(0.2)  # either moment is fine for the signal; within the call it says more
        blocked.send_signal(signal.SIGINT)
        assert blocked.wait(5 * SLOWER) == 0 and blocked.stdout.read() == "interrupted\n"
        assert readers.running() == 64
    finally:
        web1.thaw()
    assert readers.results() == [content(300_000, n) for n in range(64)]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_blocked_readers_can_be_ended(sshd, web1, mount, by):
    m = mount(sshd.ini(web1, **PATIENT))
    os.listdir(m.host("web1"))
    web1.freeze()
    try:
        readers = [subprocess.Popen(["cat", m.host("web1", f"f{n}")], stdout=subprocess.DEVNULL)
                   for n in range(8)]
        try:
            wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 8, 20, "blocked readers")
            for reader in readers:
                reader.send_signal(by)
            assert [reader.wait(5 * SLOWER) for reader in readers] == [-by] * 8
            wait_for(lambda: m.metric("scoutfs_requests_in_flight") <= 1, 10, "no request left")
        finally:
            for reader in readers:
                end(reader)
    finally:
        web1.thaw()
    assert read(m.host("web1", "f63")) == content(300_000, 63)


TIMER = """
import ctypes, signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
libc = ctypes.CDLL(None, use_errno=True)
print("asking", flush=True)
print(libc.access(sys.argv[1].encode(), 0), ctypes.get_errno(), flush=True)
"""


def test_what_only_stops_a_program_ends_no_call(sshd, web1, mount):
    """Nor a signal that it handles and goes on; Ctrl-C after that does."""
    m = mount(sshd.ini(web1, **PATIENT))
    assert error(os.stat, m.host("web1", "missing")) == "ENOENT"
    web1.freeze()
    try:
        programs = [subprocess.Popen(["stat", "-c", "%s", m.host("web1", f"f{n}")], text=True,
                                     stdout=subprocess.PIPE) for n in range(4)]
        timer = python(TIMER, m.host("web1", "f4"))
        try:
            # the request that asks for the metrics is one itself
            wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 6, 20, "blocked calls")
            for program in programs:
                program.send_signal(signal.SIGSTOP)
            time.sleep(0.3)  # for what would end them
            programs[0].send_signal(signal.SIGINT)
            assert programs[0].wait(5 * SLOWER) == -signal.SIGINT
            for program in programs[1:]:
                program.send_signal(signal.SIGCONT)
            assert [program.poll() for program in [*programs[1:], timer]] == [None] * 4
            web1.thaw()
            assert [program.communicate(timeout=20 * SLOWER)[0] for program in programs[1:]] == ["300000\n"] * 3
            assert timer.communicate(timeout=20 * SLOWER)[0] == "asking\n0 0\n"
        finally:
            for program in [*programs, timer]:
                end(program)
    finally:
        web1.thaw()


CALL = """
import os, signal, sys
what, path = sys.argv[1:]
if what == "read":  # waits in the page cache, where the kernel lets only deadly signals through
    signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    if what == "read":
        fd = os.open(path, os.O_RDONLY)
    print("asking", flush=True)
    sys.stdin.readline()
    print("going", flush=True)
    {"read": lambda: os.pread(fd, 100, 5_000_000), "open": lambda: os.open(path, os.O_RDONLY),
     "stat": lambda: os.stat(path + "-missing"), "readdir": lambda: os.listdir(path),
     "readlink": lambda: os.readlink(path)}[what]()
    print("done", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("what", ["read", "open", "stat", "readdir", "readlink"])
def test_ctrl_c_on_every_call(sshd, mount, what):
    web1 = sshd("web1")
    path = os.path.join(web1.files, "x")
    if what == "readdir":
        os.mkdir(path)
    elif what == "readlink":
        os.symlink("somewhere", path)
    else:
        write(path, content(6_000_000))
    m = mount(sshd.ini(web1, attr_timeout="60s", **PATIENT))
    os.lstat(m.host("web1", "x"))
    caller = subprocess.Popen([sys.executable, "-c", CALL, what, m.host("web1", "x")], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert caller.stdout.readline() == "asking\n"
        web1.freeze()
        caller.stdin.write("\n")
        caller.stdin.flush()
        assert caller.stdout.readline() == "going\n"
        # the request that asks for the metrics is one itself
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 2, 20, "a blocked call")
        caller.send_signal(signal.SIGINT)
        ended, told = caller.wait(3 * SLOWER), caller.stdout.read()
        assert (ended, told) == ((-signal.SIGINT, "") if what == "read" else (0, "interrupted\n"))
    finally:
        web1.thaw()
        end(caller)


@pytest.mark.parametrize("by", ["fusermount3", signal.SIGTERM, signal.SIGINT])
def test_end_with_100_requests_on_a_dead_host(sshd, web1, mount, by):
    """50 on a host that was connected, 50 on one that does not get through its connect."""
    web2 = sshd("web2")
    m = mount(sshd.ini(web1, web2, **PATIENT))
    os.listdir(m.host("web1"))
    for host in (web1, web2):
        host.freeze()
    try:
        readers = [subprocess.Popen(["stat", m.host(host, f"missing{n}")],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for host in ("web1", "web2") for n in range(50)]
        try:
            wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 100, 20, "blocked readers")
            if by == "fusermount3":  # busy only for its own sake: nobody has a file open
                by_lazy = subprocess.run(["fusermount3", "-u", "-z", m.point], timeout=20,
                                         check=True)
                assert by_lazy.returncode == 0
                for reader in readers:
                    reader.terminate()
                assert m.ended_within(10), m.log()[-3000:]
            m.unmount(by)
            for reader in readers:
                reader.wait(10)
        finally:
            for reader in readers:
                end(reader)
    finally:
        for host in (web1, web2):
            host.thaw()


def test_sshd_killed_in_mid_read(sshd, mount):
    """The host comes back before the deadline: the read goes on, with the right bytes."""
    web1 = sshd("web1")
    data = content(64 * MIB)
    write(os.path.join(web1.files, "large"), data)
    m = mount(sshd.ini(web1))
    fd = os.open(m.host("web1", "large"), os.O_RDONLY)
    try:
        got = os.read(fd, MIB)
        web1.kill()
        web1.start()
        deadline = time.monotonic() + 40
        while len(got) < len(data):
            try:
                piece = os.read(fd, MIB)
                assert piece, "too short"
                got += piece
            except OSError:  # while it was away: promised, and not for long
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        os.close(fd)
    assert sha256(got) == sha256(data)


def test_connection_reset_in_mid_read(sshd, mount, proxy):
    """The host is there all the time: nobody may notice but by a short wait."""
    web1 = sshd("web1")
    data = content(100 * MIB)
    write(os.path.join(web1.files, "large"), data)
    link = proxy(web1.port)
    link.bytes_per_s = 60 * MIB
    m = mount(sshd.ini(web1, ports={"web1": link.port}))
    got = []
    with open(m.host("web1", "large"), "rb", buffering=0) as f:
        for number in range(400):
            piece = f.read(256 * 1024)
            got.append(piece)
            if number in (20, 150):
                link.cut()
    assert sha256(b"".join(got)) == sha256(data)
    assert web1.logins() >= 3


def test_a_host_that_stays_away(sshd, web1, mount):
    m = mount(sshd.ini(web1, attr_timeout="0"))
    assert read(m.host("web1", "f0")) == content(300_000, 0)
    web1.kill()
    word, seconds = timed(error, read, m.host("web1", "f1"))
    assert word in ("ECONNREFUSED", "ECONNRESET") and seconds < 20 * SLOWER
    wait_for(lambda: error(read, m.host("web1", "f2")) == "ECONNREFUSED", 5, "the port's answer")
    # down: at once
    _, seconds = timed(error, os.listdir, m.host("web1"))
    assert seconds < 5 * SLOWER
    assert os.listdir(m.path("hosts")) == ["web1"]
    # and it comes back by itself
    web1.start()
    wait_for(lambda: error(read, m.host("web1", "f3")) == "ok", 40, "the host's return")
    assert read(m.host("web1", "f3")) == content(300_000, 3)


def test_a_silent_host_times_out(sshd, web1, mount):
    m = mount(sshd.ini(web1, request_timeout="2s", connect_timeout="2s", keepalive="1s"))
    os.listdir(m.host("web1"))
    web1.freeze()
    try:
        word, seconds = timed(error, read, m.host("web1", "f5"))
        assert word == "ETIMEDOUT" and seconds < 20 * SLOWER, (word, seconds)
    finally:
        web1.thaw()
    wait_for(lambda: error(read, m.host("web1", "f5")) == "ok", 40, "the host's return")


def test_a_session_lost_in_silence(sshd, web1, mount, proxy):
    """Nobody asks anything, and the link is dead: keepalive finds out."""
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}, keepalive="1s", request_timeout="1s"))
    assert read(m.host("web1", "f0")) == content(300_000, 0)
    link.stall()
    wait_for(lambda: m.metric("scoutfs_hosts_sessions_lost_total") >= 1, 20, "the loss")
    link.cut()
    link.resume()
    wait_for(lambda: error(read, m.host("web1", "f1")) == "ok", 40, "a new session")


def test_a_stalled_link_goes_on(sshd, web1, mount, proxy):
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}, **PATIENT))
    os.listdir(m.host("web1"))
    link.stall()
    readers = Background(lambda n=n: read(m.host("web1", f"f{n}")) for n in range(10))
    wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 10, 20, "blocked readers")
    assert readers.running() == 10
    link.resume()
    assert readers.results() == [content(300_000, n) for n in range(10)]
    assert web1.logins() <= 4


class TestReplaced:
    """Under an open reader a file becomes another: ESTALE, never bytes of both."""

    @staticmethod
    def pieces(path, change):
        got = []
        fd = os.open(path, os.O_RDONLY)
        try:
            got.append(os.read(fd, 4096))
            change()
            while piece := os.read(fd, 128 * 1024):
                got.append(piece)
            return "ok", b"".join(got)
        except OSError as e:
            return os.strerror(e.errno), b"".join(got)
        finally:
            os.close(fd)

    @staticmethod
    def replace(web1, data):
        path = os.path.join(web1.files, "large")
        write(path + ".new", data)
        os.utime(path + ".new", (1_500_000_000, 1_500_000_000))
        os.rename(path + ".new", path)

    @pytest.mark.parametrize("then", ["looked at", "session lost"])
    def test_by_another(self, sshd, mount, then):
        old, new = content(40 * MIB, 1), content(40 * MIB, 2)
        web1 = sshd("web1")
        path = write(os.path.join(web1.files, "large"), old)
        os.utime(path, (1_400_000_000, 1_400_000_000))
        m = mount(sshd.ini(web1, read_window="1M", attr_timeout="0"))

        def change():
            self.replace(web1, new)
            if then == "session lost":
                web1.kill()
                web1.start()
            else:
                os.stat(m.host("web1", "large"))

        word, got = self.pieces(m.host("web1", "large"), change)
        if word == "ok":  # the old file, held open on the host: also all of one
            assert sha256(got) == sha256(old)
            assert then == "looked at"
        else:
            assert word == os.strerror(116)  # ESTALE
            assert got == old[:len(got)]
        wait_for(lambda: error(read, m.host("web1", "large")) == "ok", 40, "the host's return")
        assert sha256(read(m.host("web1", "large"))) == sha256(new)

    @pytest.mark.parametrize("flags", [os.O_CREAT, os.O_CREAT | os.O_TRUNC, 0],
                             ids=["made", "made empty", "opened"])
    def test_by_another_and_then_written_here(self, sshd, mount, flags):
        """His handle is lost, and what was written here at its path is not what he read."""
        old, new = content(MIB, 1), content(MIB, 2)
        web1 = sshd("web1")
        path = write(os.path.join(web1.files, "f"), old)
        os.utime(path, (1_400_000_000, 1_400_000_000))
        m = mount(sshd.ini(web1, attr_timeout="4s" if flags & os.O_TRUNC else "1s"))
        here = m.host("web1", "f")
        with open(here, "rb", buffering=0) as reader:
            os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            assert reader.read(10) == old[:10]
            os.unlink(path)
            wait_for(lambda: error(os.stat, here) == "ENOENT", 20, "its end")
            write(path, new)
            if not flags:
                wait_for(lambda: error(os.stat, here) == "ok", 20, "the new one")
            writer = os.open(here, os.O_RDWR | flags)
            os.pwrite(writer, new, 0)
            os.fsync(writer)
            os.close(writer)
            web1.kill()
            web1.start()
            wait_for(lambda: error(os.stat, here) == "ok", 40, "the host's return")
            assert error(os.pread, reader.fileno(), 10, MIB // 2) == "ESTALE"
        assert read(here) == new

    @pytest.mark.parametrize("new", [b"n" * 20000, b"n" * 21000], ids=["as long", "longer"])
    def test_small_since_it_was_opened(self, sshd, mount, new):
        """It was asked for when it was opened; who reads it later does not get those bytes, not even in part."""
        web1 = sshd("web1")
        path = write(os.path.join(web1.files, "small"), b"o" * 20000)
        os.utime(path, (1_400_000_000, 1_400_000_000))
        m = mount(sshd.ini(web1, attr_timeout="100ms"))
        fd = os.open(m.host("web1", "small"), os.O_RDONLY)
        try:
            write(path, new)
            time.sleep(0.2)
            for offset in range(0, len(new), 4096):
                if error(os.pread, fd, 4096, offset) != "ESTALE":
                    assert os.pread(fd, 4096, offset) == new[offset:offset + 4096]
        finally:
            os.close(fd)
        assert read(m.host("web1", "small")) == new

    def test_truncated_in_place(self, sshd, mount):
        old = content(40 * MIB, 1)
        web1 = sshd("web1")
        path = write(os.path.join(web1.files, "large"), old)
        os.utime(path, (1_400_000_000, 1_400_000_000))
        m = mount(sshd.ini(web1, read_window="1M", attr_timeout="0"))
        word, got = self.pieces(m.host("web1", "large"), lambda: os.truncate(path, 5 * MIB))
        assert got == old[:len(got)] and len(got) <= 40 * MIB
        assert word == os.strerror(116) or len(got) == 5 * MIB, (word, len(got))

    def test_growing_is_no_replacement(self, sshd, mount):
        """A log that is appended to: its reader goes on, as tail -f does."""
        web1 = sshd("web1")
        path = write(os.path.join(web1.files, "log"), b"first\n")
        m = mount(sshd.ini(web1, attr_timeout="0"))
        with open(m.host("web1", "log"), "rb", buffering=0) as f:
            assert f.read() == b"first\n"
            with open(path, "ab") as log:
                log.write(b"second\n")
            wait_for(lambda: os.fstat(f.fileno()).st_size == 13, 10, "the new size")
            assert f.read() == b"second\n"

    def test_a_new_open_sees_the_new_file(self, sshd, mount):
        """The kernel's pages of the old one are not mixed in."""
        web1 = sshd("web1")
        write(os.path.join(web1.files, "large"), content(2 * MIB, 1))
        m = mount(sshd.ini(web1, attr_timeout="0"))
        assert read(m.host("web1", "large")) == content(2 * MIB, 1)
        self.replace(web1, content(2 * MIB, 2))
        assert read(m.host("web1", "large")) == content(2 * MIB, 2)


@pytest.mark.seconds(120)
def test_hosts_that_come_and_go_under_load(sshd, web1, mount):
    """Readers on two hosts, one of which is killed again and again: right bytes or an error."""
    web2 = sshd("web2")
    for number in range(16):
        write(os.path.join(web2.files, f"f{number}"), content(300_000, number))
    m = mount(sshd.ini(web1, web2, attr_timeout="0", idle_timeout="1s"))
    over = []

    def reader(host, number):
        good = bad = 0
        while not over or not good:
            try:
                if read(m.host(host, f"f{number}")) != content(300_000, number):
                    return "wrong bytes"
                good += 1
            except OSError as e:
                if host == "web2":
                    return os.strerror(e.errno)
                bad += 1
                time.sleep(0.05)
        return "right"

    readers = Background([lambda h=h, n=n: reader(h, n) for h in ("web1", "web2")
                          for n in range(6)])
    try:
        for _ in range(4):
            time.sleep(0.5)  # some load between the blows
            web1.kill()
            web1.start()
    finally:
        over.append(True)
    assert readers.results(90) == ["right"] * 12


def test_together_is_not_needed_for_listing(sshd, web1, mount):
    """ls of the root and of /hosts, df and status wait for no network."""
    m = mount(sshd.ini(web1, **PATIENT))
    web1.freeze()
    try:
        blocked = Background([lambda: error(os.listdir, m.host("web1"))])
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 2, 20, "a blocked reader")
        _, seconds = timed(together, [lambda: os.listdir(m.point), lambda: os.statvfs(m.point),
                                      lambda: os.listdir(m.path("hosts")), m.status,
                                      lambda: os.statvfs(m.path("hosts"))])
        assert seconds < 20 * SLOWER
        assert blocked.running() == 1
    finally:
        web1.thaw()
    assert blocked.results() == ["ok"]
