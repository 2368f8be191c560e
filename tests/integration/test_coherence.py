"""What one mount's readers and writers see of a file that others change meanwhile: through the real kernel,
on a real sshd."""

import os
import time

import pytest
from procs import wait_for
from tools import MIB, content, error, read, write


def aged(path, data, when=1_400_000_000):
    write(path, data)
    os.utime(path, (when, when))
    return path


@pytest.fixture
def host(sshd, mount):
    """A host's file "f" with these bytes, of long ago: there, and here."""
    def start(data, settings="", **each):
        server = sshd("web1")
        path = aged(os.path.join(server.files, "f"), data)
        m = mount(sshd.ini(server, **each), settings=settings)
        return path, m.host("web1", "f")
    return start


@pytest.fixture
def opened():
    fds = []

    def start(path, flags=os.O_RDONLY):
        fds.append(os.open(path, flags))
        return fds[-1]
    yield start
    for fd in fds:
        os.close(fd)


def replace(path, data, when=1_500_000_000):
    os.rename(aged(path + ".new", data, when), path)


def released(here):
    """After close(2): the kernel tells of it a moment later, until then it is one that is written here."""
    detail = os.path.join(os.path.dirname(here), "..", "..", ".scoutfs", "hosts", "web1")
    wait_for(lambda: "\nopen: 1\n" in read(detail).decode(), 20, "the writer's end")


def aged_in_place(here):
    os.utime(here, (1_300_000_000, 1_300_000_000))


def cut_where_it_ends(here):
    os.truncate(here, os.stat(here).st_size)


def written_into(here):
    with open(here, "r+b") as ours:
        ours.write(b"W")


class TestBehindOurOwnWrite:
    """Somebody reads a file on, somebody else here has written it, and then it becomes another's."""

    @pytest.mark.parametrize("how", ["cut", "replaced"])
    @pytest.mark.parametrize("size", [MIB, 3000])
    def test_who_opens_it_anew_reads_what_is_there(self, host, opened, how, size):
        path, here = host(content(size // 2, 1))
        assert os.pread(opened(here), 10, 0)
        write(here, content(size, 2))
        released(here)
        assert read(here) == content(size, 2)
        if how == "cut":
            os.truncate(path, size // 4)
        else:
            replace(path, content(size, 2)[:size // 4])
        wait_for(lambda: os.stat(here).st_size == size // 4, 20, "the new size")
        assert error(read, here) == "ok"
        assert read(here) == content(size, 2)[:size // 4]

    @pytest.mark.parametrize("asks", [False, True], ids=["alone", "fstat"])
    @pytest.mark.parametrize("size, written", [(4, 3 * MIB), (3, 2 * MIB)], ids=["longer", "as long"])
    def test_a_reader_gets_no_mixture(self, host, opened, size, written, asks):
        path, here = host(content(3 * MIB, 1), read_window="256K")
        reader = opened(here)
        os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(reader, 4096, 0) == content(3 * MIB, 1)[:4096]
        with open(here, "r+b") as ours:
            ours.seek(written)
            ours.write(content(MIB, 2)[:size * MIB - written])
        released(here)
        if asks:
            os.fstat(reader)
        then = os.stat(path).st_mtime
        with open(path, "r+b") as theirs:
            theirs.write(content(size * MIB, 3))
        os.utime(path, (then + 10, then + 10))
        assert error(os.pread, reader, 4096, MIB + MIB // 2) == "ESTALE"

    @pytest.mark.parametrize("asks", [False, True], ids=["alone", "fstat"])
    @pytest.mark.parametrize("first", ["ours", "theirs"])
    @pytest.mark.parametrize("ours", [aged_in_place, cut_where_it_ends, written_into])
    def test_nor_after_our_own_change_of_it(self, host, opened, ours, first, asks):
        path, here = host(content(3 * MIB, 1), read_window="256K")
        reader = opened(here)
        os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(reader, 4096, 0) == content(3 * MIB, 1)[:4096]
        if first == "ours":
            ours(here)
            released(here)
            assert os.pread(reader, 4096, MIB) == content(3 * MIB, 1)[MIB:MIB + 4096]
            ours(here)
            released(here)
        with open(path, "r+b") as theirs:
            theirs.write(content(3 * MIB, 3))
        then = os.stat(path).st_mtime
        os.utime(path, (then + 10, then + 10))
        if first == "theirs":
            ours(here)
            released(here)
        if asks:
            os.fstat(reader)
        assert error(os.pread, reader, 4096, MIB + MIB // 2) == "ESTALE"

    @pytest.mark.parametrize("asks", [False, True], ids=["alone", "fstat"])
    @pytest.mark.parametrize("at", [MIB + MIB // 2, 3 * MIB])
    def test_a_reader_is_not_told_anothers_end(self, host, opened, at, asks):
        path, here = host(content(MIB, 1), read_window="256K")
        reader = opened(here)
        os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(reader, 4096, 0) == content(MIB, 1)[:4096]
        with open(here, "ab") as ours:
            ours.write(content(3 * MIB, 2))
        released(here)
        if asks:
            os.fstat(reader)
        with open(path, "r+b") as theirs:
            theirs.write(content(2 * MIB, 3))
            theirs.truncate(2 * MIB)
        wait_for(lambda: os.stat(here).st_size == 2 * MIB, 20, "the new size")
        assert error(os.pread, reader, 4096, at) == "ESTALE"


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR], ids=["r", "r+"])
@pytest.mark.parametrize("size", [1000, MIB])
def test_another_appends(host, opened, size, flags):
    path, here = host(content(size, 1))
    fd = opened(here, flags)
    assert os.pread(fd, 2 * MIB, 0) == content(size, 1)
    for line in (b"a new line\n", b"another\n"):
        with open(path, "ab") as theirs:
            theirs.write(line)
        wait_for(lambda: os.fstat(fd).st_size == size + len(line), 20, "the new size")
        assert os.pread(fd, 100, size) == line
        size += len(line)


@pytest.mark.parametrize("mode", ["a", "a+"])
def test_two_mounts_append(sshd, mount, mode):
    server = sshd("web1")
    path = write(os.path.join(server.files, "log"), b"")
    files = [open(mount(sshd.ini(server)).host("web1", "log"), mode, buffering=1) for _ in range(2)]
    for n in range(20):
        for i, f in enumerate(files):
            f.write(f"mount {i} line {n}\n")
    for f in files:
        f.close()
    lines = read(path).decode().splitlines()
    assert sorted(lines) == sorted(f"mount {i} line {n}" for n in range(20) for i in range(2))


def test_a_daemon_there_appends_too(host):
    path, here = host(b"old\n")
    with open(here, "a+", buffering=1) as ours:
        ours.write("ours 1\n")
        os.fsync(ours.fileno())
        with open(path, "ab") as theirs:
            theirs.write(b"theirs\n")
        ours.write("ours 2\n")
        ours.seek(0)
        assert ours.read() == "old\nours 1\ntheirs\nours 2\n"
    assert read(path) == b"old\nours 1\ntheirs\nours 2\n"


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY], ids=["rw", "w"])
@pytest.mark.parametrize("synced", [False, True], ids=["close", "fsync"])
@pytest.mark.parametrize("size", [10, 8192])
def test_another_replaces_what_is_open_for_writing(host, opened, flags, synced, size):
    """Who reads the new file gets nothing of what is written to the old one."""
    path, here = host(b"a" * 8192)
    writer = os.open(here, flags)
    try:
        replace(path, b"b" * 8192)
        wait_for(lambda: os.stat(here).st_mtime == 1_500_000_000, 20, "the new file")
        assert read(here) == b"b" * 8192
        reader = opened(here)
        os.pwrite(writer, b"W" * size, 0)
        if synced:
            os.fsync(writer)
        assert read(here) == b"b" * 8192
        assert os.pread(reader, 10_000, 0) == b"b" * 8192
    finally:
        os.close(writer)
    assert read(here) == b"b" * 8192


def test_who_writes_to_what_replaced_an_open_file(host):
    """The one who had the old file open reads that, and nobody after him does."""
    path, here = host(b"a" * 8192)
    old = os.open(here, os.O_RDWR)
    try:
        replace(path, b"b" * 8192)
        wait_for(lambda: os.stat(here).st_mtime == 1_500_000_000, 20, "the new file")
        new = os.open(here, os.O_WRONLY)
        os.pwrite(new, b"W" * 10, 0)
        os.close(new)
        want = b"W" * 10 + b"b" * 8182
        until = time.monotonic() + 1.5  # what the kernel knows of its time is asked for anew
        while time.monotonic() < until:
            assert os.stat(here).st_size == 8192
            assert os.pread(old, 10_000, 0) == b"a" * 8192
            time.sleep(0.3)
    finally:
        os.close(old)
    assert read(here) == want
    assert read(here) == want and read(path) == want


def test_a_log_is_turned_over_there(host, opened):
    path, here = host(b"old\n" * 1000)
    daemon = opened(here, os.O_WRONLY | os.O_APPEND)
    os.rename(path, path + ".1")
    write(path, b"new\n")
    wait_for(lambda: os.stat(here).st_size == 4, 20, "the new file")
    assert read(here) == b"new\n"
    for line in (b"one\n", b"two\n"):
        os.write(daemon, line)
        assert read(here) == b"new\n"
    os.fsync(daemon)
    assert read(here) == b"new\n"
    assert read(path + ".1") == b"old\n" * 1000 + b"one\ntwo\n"
