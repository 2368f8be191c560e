"""Writing a host's files through the real kernel, on a real sshd: right bytes on the server, in their
order; errors told where they belong; what fsync said is there stays."""

import errno
import mmap
import os
import subprocess

import pytest
from mount import SAN
from procs import wait_for
from tools import MIB, content, error, read, together, write


# It may have reached the server, or it never left and there is nowhere to send it.
LOST = ("EIO", "ECONNREFUSED")


@pytest.fixture
def host(sshd, mount):
    """A host with its files, mounted."""
    def start(each=None, settings="", options=(), ports=None, **more):
        server = sshd(**more)
        m = mount(sshd.ini(server, each=each, ports=ports), settings=settings, options=options)
        return server, m
    return start


def there(server, *parts):
    return os.path.join(server.files, *parts)


def answers_again(m):
    """The pause after a failed connect is over."""
    wait_for(lambda: error(os.stat, m.host("web1", "f")) == "ok", 20, "the host")


def run(*args, **more):
    return subprocess.run(args, check=False, capture_output=True, text=True, timeout=60, **more)


def test_cp_small_and_big(host, folder):
    server, m = host()
    for size in (0, 1, 4095, 4096, 131072, 261120, 261121, 5 * MIB + 1, 40 * MIB):
        source = write(os.path.join(folder, "source"), content(size))
        assert run("cp", source, m.host("web1", f"f{size}")).returncode == 0
        assert read(there(server, f"f{size}")) == content(size), size
        assert read(m.host("web1", f"f{size}")) == content(size), size
        assert os.stat(m.host("web1", f"f{size}")).st_size == size
    # shorter over longer
    source = write(os.path.join(folder, "source"), content(777))
    assert run("cp", source, m.host("web1", f"f{5 * MIB + 1}")).returncode == 0
    assert read(there(server, f"f{5 * MIB + 1}")) == content(777)


def test_append_truncate_and_overwrite(host):
    server, m = host()
    path = m.host("web1", "f")
    for k in range(20):
        with open(path, "ab") as f:
            f.write(b"line %d\n" % k)
    assert read(there(server, "f")) == b"".join(b"line %d\n" % k for k in range(20))
    # what the server's own programs append is not overwritten
    with open(path, "ab", buffering=0) as f:
        with open(there(server, "f"), "ab") as g:
            g.write(b"theirs\n")
        f.write(b"ours\n")
    assert read(there(server, "f")).endswith(b"line 19\ntheirs\nours\n")
    os.truncate(path, 10)
    assert read(path) == read(there(server, "f")) == b"line 0\nlin"
    os.truncate(path, 20)
    assert read(path) == read(there(server, "f")) == b"line 0\nlin" + bytes(10)
    with open(path, "r+b", buffering=0) as f:
        f.seek(5)
        f.write(b"XY")
        f.truncate(8)
        f.seek(0)
        assert f.read() == b"line XYl"
    assert read(there(server, "f")) == b"line XYl"
    with open(path, "wb"):
        pass
    assert os.stat(there(server, "f")).st_size == 0


def test_readers_see_writes_before_they_are_closed(host):
    server, m = host()
    path = m.host("web1", "f")
    with open(path, "wb", buffering=0) as w, open(path, "rb", buffering=0) as r:
        for k in range(50):
            data = content(3000, k)
            assert os.pwrite(w.fileno(), data, 3000 * k) == 3000
            assert os.pread(r.fileno(), 3000, 3000 * k) == data
            assert os.stat(path).st_size == 3000 * (k + 1)
        os.pwrite(w.fileno(), b"again", 100)
        assert os.pread(r.fileno(), 5, 100) == b"again"
    assert len(read(there(server, "f"))) == 150000


def test_an_unlinked_and_a_renamed_file_go_on(host):
    server, m = host()
    with open(m.host("web1", "f"), "w+b", buffering=0) as f:
        f.write(content(100_000))
        os.unlink(m.host("web1", "f"))
        assert not os.path.exists(there(server, "f"))
        f.write(b"more")
        os.fsync(f.fileno())
        assert os.fstat(f.fileno()).st_size == 100_004
        f.seek(0)
        assert f.read() == content(100_000) + b"more"
    with open(m.host("web1", "g"), "wb", buffering=0) as f:
        f.write(b"one ")
        os.rename(m.host("web1", "g"), m.host("web1", "h"))
        f.write(b"two")
    assert read(there(server, "h")) == b"one two"


def test_dd_with_fsync(host):
    server, m = host(count_sftp=True)
    done = run("dd", "if=/dev/zero", f"of={m.host('web1', 'f')}", "bs=64k", "count=100",
               "conv=fsync")
    assert done.returncode == 0, done.stderr
    assert os.stat(there(server, "f")).st_size == 6400 * 1024
    assert server.sftp_requests("fsync") == 1


def test_a_full_disk_is_enospc(sshd, mount, small_disk):
    server = sshd()
    server.files = small_disk
    m = mount(sshd.ini(server))
    fd = os.open(m.host("web1", "f"), os.O_WRONLY | os.O_CREAT)
    told = []
    for _ in range(40):
        try:
            os.write(fd, bytes(128 * 1024))
        except OSError as e:
            told.append(e.errno)
            break
    try:
        os.fsync(fd)
    except OSError as e:
        told.append(e.errno)
    os.close(fd)
    assert told and set(told) == {errno.ENOSPC}
    assert "No space left" in m.log()
    # room again: it is written
    os.truncate(m.host("web1", "f"), 0)
    with open(m.host("web1", "f"), "wb") as f:
        f.write(content(500_000))
    assert read(os.path.join(small_disk, "f")) == content(500_000)


def test_a_server_killed_in_mid_write_is_told(host):
    server, m = host()
    fd = os.open(m.host("web1", "f"), os.O_WRONLY | os.O_CREAT)
    os.write(fd, content(100_000))
    os.fsync(fd)
    server.freeze()
    for k in range(8):
        os.write(fd, content(100_000, k))
    server.kill()
    assert error(os.fsync, fd) in LOST
    os.close(fd)
    server.start()
    assert read(there(server, "f"))[:100_000] == content(100_000)  # synced before
    answers_again(m)
    with open(m.host("web1", "f"), "r+b") as f:
        f.write(b"goes on")
    assert read(there(server, "f")).startswith(b"goes on")


def test_close_tells_of_a_lost_write(host):
    server, m = host()
    fd = os.open(m.host("web1", "f"), os.O_WRONLY | os.O_CREAT)
    server.freeze()
    os.write(fd, b"lost")
    server.kill()
    assert error(os.close, fd) in LOST


def test_what_was_answered_and_not_synced_is_not_sure(host):
    server, m = host()
    fd = os.open(m.host("web1", "f"), os.O_RDWR | os.O_CREAT)
    os.write(fd, b"answered")
    assert os.pread(fd, 100, 0) == b"answered"
    server.kill()
    server.start()
    assert error(os.fsync, fd) == "EIO"  # nobody knows whether the machine itself went down
    os.pwrite(fd, b"ANSWERED", 0)
    os.fsync(fd)
    os.close(fd)
    assert read(there(server, "f")) == b"ANSWERED"


def test_100_writers_at_once(host):
    server, m = host()

    def one(k):
        with open(m.host("web1", f"f{k}"), "wb", buffering=0) as f:
            for i in range(20):
                f.write(content(10_000, k * 100 + i))
            os.fsync(f.fileno())
        return read(there(server, f"f{k}")) == b"".join(content(10_000, k * 100 + i)
                                                       for i in range(20))

    assert all(together([lambda k=k: one(k) for k in range(100)]))


def test_100_writers_of_one_file(host):
    server, m = host()
    path = m.host("web1", "f")
    write(there(server, "f"), b"")

    def one(k):
        fd = os.open(path, os.O_WRONLY)
        for i in range(10):
            os.pwrite(fd, content(5_000, k), k * 50_000 + i * 5_000)
        os.close(fd)

    together([lambda k=k: one(k) for k in range(100)])
    data = read(there(server, "f"))
    for k in range(100):
        assert data[k * 50_000:(k + 1) * 50_000] == content(5_000, k) * 10


def test_a_slow_link_bounds_what_is_buffered(sshd, mount, proxy):
    server = sshd()
    slow = proxy(server.port)
    m = mount(sshd.ini(server, ports={"web1": slow.port}), settings="memory = 64M")
    write(there(server, "f"), b"")
    fd = os.open(m.host("web1", "f"), os.O_WRONLY)
    for _ in range(40):  # so that it is known to be fast
        os.write(fd, bytes(MIB))
    os.fsync(fd)  # or the new process would wait for it, closing its copies
    slow.stall()
    writer = subprocess.Popen(["dd", "if=/dev/zero", "bs=1M", "count=100", "status=none"],
                              stdout=fd)
    # it fills the host's share of the buffers, and waits
    wait_for(lambda: m.metric("scoutfs_buffer_bytes") >= 15 * MIB, 20, "buffers")
    assert writer.poll() is None
    assert m.metric("scoutfs_buffer_bytes") <= 16 * MIB
    if "thread" not in SAN:  # which needs several bytes of its own for each
        assert m.peak_memory() < 160 * MIB
    slow.resume()
    assert writer.wait(60) == 0
    os.close(fd)
    assert os.stat(there(server, "f")).st_size == 140 * MIB


def test_mmap_writes_arrive(host):
    server, m = host()
    write(there(server, "f"), bytes(100_000))
    with open(m.host("web1", "f"), "r+b") as f:
        with mmap.mmap(f.fileno(), 100_000) as area:
            area[50_000:50_005] = b"mmap!"
            area.flush()
        os.fsync(f.fileno())
    assert read(there(server, "f"))[50_000:50_005] == b"mmap!"
