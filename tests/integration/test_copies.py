"""copy_file_range on one host is done by the host: the bytes do not travel."""

import os
import re
import signal
import subprocess
import sys

import pytest

from procs import end, wait_for
from tools import MIB, content, error, read, write


def copy(source, target, length, source_at=0, target_at=0):
    """copy_file_range(2) until length bytes are copied or the source ends; how many they are."""
    done = 0
    while done < length:
        n = os.copy_file_range(source, target, length - done, source_at + done, target_at + done)
        if n == 0:
            break
        done += n
    return done


class Files:
    """Opened as open(2) would, and closed at the end."""

    def __init__(self):
        self.open = []

    def __call__(self, path, flags=os.O_RDONLY):
        self.open.append(os.open(path, flags, 0o644))
        return self.open[-1]

    def close(self):
        for fd in self.open:
            os.close(fd)


@pytest.fixture
def files():
    opened = Files()
    yield opened
    opened.close()


def test_cp_moves_no_bytes_over_the_link(sshd, mount, proxy):
    web1 = sshd("web1")
    data = content(40 * MIB)  # more than one piece
    write(os.path.join(web1.files, "f"), data)
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}))
    before = link.bytes_up + link.bytes_down
    subprocess.run(["cp", m.host("web1", "f"), m.host("web1", "g")], check=True, timeout=60)
    assert link.bytes_up + link.bytes_down - before < MIB
    assert read(os.path.join(web1.files, "g")) == data
    assert read(m.host("web1", "g")) == data


def test_a_range_goes_where_it_shall(sshd, mount, files):
    web1 = sshd("web1")
    write(os.path.join(web1.files, "f"), content(MIB))
    write(os.path.join(web1.files, "g"), b"g" * MIB)
    m = mount(sshd.ini(web1))
    source, target = files(m.host("web1", "f")), files(m.host("web1", "g"), os.O_RDWR)
    assert os.pread(target, 10, 5000) == b"g" * 10  # the kernel has pages of it
    assert copy(source, target, 100_000, 7, 4099) == 100_000
    want = b"g" * 4099 + content(MIB)[7:100_007] + b"g" * (MIB - 4099 - 100_000)
    assert os.pread(target, MIB, 0) == want
    assert read(os.path.join(web1.files, "g")) == want
    # no further than the source's end, also when the destination grows by it
    assert copy(source, target, MIB, MIB - 1000, MIB) == 1000
    assert os.fstat(target).st_size == MIB + 1000
    assert os.pread(target, 2000, MIB) == content(MIB)[-1000:]
    assert copy(source, target, 10, MIB) == 0


def test_what_was_just_written_is_copied(sshd, mount, files):
    web1 = sshd("web1", count_sftp=True)
    m = mount(sshd.ini(web1))
    source = files(m.host("web1", "f"), os.O_RDWR | os.O_CREAT)
    target = files(m.host("web1", "g"), os.O_RDWR | os.O_CREAT)
    for turn in range(5):
        data = content(3 * MIB, turn)
        os.pwrite(source, data, 0)
        os.pwrite(target, b"x" * 3 * MIB, 0)
        assert copy(source, target, 3 * MIB) == 3 * MIB
        os.pwrite(target, b"behind", 100)
        data = data[:100] + b"behind" + data[106:]
        assert os.pread(target, 3 * MIB, 0) == data
    os.fsync(target)
    assert read(os.path.join(web1.files, "g")) == data
    assert web1.sftp_requests("copy-data") >= 5


@pytest.mark.parametrize("another", ["rewrites", "appends"])
def test_another_changes_the_source(sshd, mount, files, another):
    """Between two pieces: what was copied is of one version, as what is read."""
    web1 = sshd("web1", count_sftp=True)
    path = write(os.path.join(web1.files, "f"), content(40 * MIB))
    m = mount(sshd.ini(web1))
    source, target = files(m.host("web1", "f")), files(m.host("web1", "g"), os.O_RDWR | os.O_CREAT)
    done = os.copy_file_range(source, target, 40 * MIB, 0, 0)
    assert 0 < done < 40 * MIB
    then = os.stat(path).st_mtime
    with open(path, "r+b" if another == "rewrites" else "ab") as theirs:
        theirs.write(content(8 * MIB, 2))
    os.utime(path, (then + 10, then + 10))
    if another == "rewrites":
        assert error(os.copy_file_range, source, target, 40 * MIB - done, done, done) == "ESTALE"
        assert error(os.copy_file_range, source, target, 40 * MIB - done, done, done) == "ESTALE"
    else:
        assert copy(source, target, 40 * MIB - done, done, done) == 40 * MIB - done
        assert os.pread(target, MIB, 39 * MIB) == content(40 * MIB)[39 * MIB:]
    assert web1.sftp_requests("copy-data") > 1


def test_files_of_two_hosts_and_of_one_file(sshd, mount, files):
    web1, web2 = sshd("web1"), sshd("web2")
    write(os.path.join(web1.files, "f"), content(MIB))
    m = mount(sshd.ini(web1, web2))
    source = files(m.host("web1", "f"), os.O_RDWR)
    other = files(m.host("web2", "g"), os.O_RDWR | os.O_CREAT)
    assert copy(source, other, MIB) == MIB
    os.fsync(other)
    assert read(os.path.join(web2.files, "g")) == content(MIB)
    assert copy(source, source, 1000, 0, 500_000) == 1000
    os.fsync(source)
    want = content(MIB)
    assert read(os.path.join(web1.files, "f")) == want[:500_000] + want[:1000] + want[501_000:]


def opened(host, name):
    """How often the host was asked to open the file."""
    with open(host.sftp_log, encoding="utf-8", errors="replace") as f:
        return len(re.findall(rf'open "{re.escape(os.path.join(host.files, name))}" flags', f.read()))


def test_handles_of_different_sessions(sshd, mount, proxy, files):
    """While others read, the destination is opened on another session than the source was."""
    web1 = sshd("web1", count_sftp=True)
    names = "abcdef"
    for name in names:
        write(os.path.join(web1.files, name), content(2 * MIB, ord(name)))
    for name in "xy":
        write(os.path.join(web1.files, name), b"")
        os.truncate(os.path.join(web1.files, name), 1024 * MIB)  # read for as long as it takes
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}))
    sources = [files(m.host("web1", name)) for name in names]
    link.bytes_per_s = 16 * MIB
    readers = [subprocess.Popen(["cat", m.host("web1", name)], stdout=subprocess.DEVNULL)
               for name in "xy"]
    try:
        wait_for(lambda: m.metric("scoutfs_hosts_sessions", host="web1", state="up") > 1, 20, "a second session")
        targets = [files(m.host("web1", name + "2"), os.O_RDWR | os.O_CREAT) for name in names]
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    link.bytes_per_s = 0
    for i, name in enumerate(names):
        assert copy(sources[i], targets[i], 2 * MIB) == 2 * MIB
        os.fsync(targets[i])
        assert read(os.path.join(web1.files, name + "2")) == content(2 * MIB, ord(name))
    assert web1.sftp_requests("copy-data") >= len(names)
    assert any(opened(web1, name) > 1 for name in names), "all were of one session"


COPY = """
import errno, os, sys
source, target = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_RDWR)
print("ready", flush=True)
sys.stdin.readline()
try:
    os.copy_file_range(source, target, 1 << 20)
    print("ok", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
except OSError as e:
    print(errno.errorcode[e.errno], flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["interrupted", "EIO"])
def test_a_copy_that_fails_and_was_done(sshd, mount, proxy, files, how):
    """Nobody reads on what the kernel had of the destination, though its size and time are what they were."""
    web1 = sshd("web1")
    old, new = content(MIB, 1), content(MIB, 2)
    write(os.path.join(web1.files, "f"), new)
    there = write(os.path.join(web1.files, "g"), old)
    os.utime(there, (1_400_000_000, 1_400_000_000))
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}))
    target = files(m.host("web1", "g"), os.O_RDWR)
    assert os.pread(target, MIB, 0) == old
    child = subprocess.Popen([sys.executable, "-c", COPY, m.host("web1", "f"), m.host("web1", "g")],
                             text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == "ready\n"
        link.rtt = 6  # for half of that its answer is on its way
        child.stdin.write("\n")
        child.stdin.flush()
        wait_for(lambda: read(there) == new, 20, "the copy")
        os.utime(there, (1_400_000_000, 1_400_000_000))
        link.rtt = 0
        if how == "EIO":
            link.cut()
        else:
            child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == how + "\n"
        wait_for(lambda: os.pread(target, MIB, 0) == new, 20, "the server's bytes")
    finally:
        end(child)


def test_a_server_without_it_copies_all_the_same(sshd, mount, files):
    web1 = sshd("web1", sftp="internal-sftp -P copy-data")
    write(os.path.join(web1.files, "f"), content(5 * MIB))
    m = mount(sshd.ini(web1))
    source, target = files(m.host("web1", "f")), files(m.host("web1", "g"), os.O_RDWR | os.O_CREAT)
    assert copy(source, target, 5 * MIB) == 5 * MIB
    os.fsync(target)
    assert read(os.path.join(web1.files, "g")) == content(5 * MIB)


def test_a_read_only_destination(sshd, mount, files):
    web1 = sshd("web1")
    write(os.path.join(web1.files, "f"), content(MIB))
    write(os.path.join(web1.files, "g"), b"")
    m = mount(sshd.ini(web1))
    source, target = files(m.host("web1", "f")), files(m.host("web1", "g"))
    assert error(copy, source, target, MIB) == "EBADF"
    assert read(os.path.join(web1.files, "g")) == b""
