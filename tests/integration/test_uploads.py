"""Writing to a host over links that are slow, and to one that has stopped: slow is not dead."""

import os

from mount import SLOWER
from procs import wait_for
from tools import MIB, content, error, python, read, write

# Writes a file piece by piece, says how far it came, and how it ended.
WRITER = """
import errno, os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
said = "ok"
try:
    for i in range(int(sys.argv[2])):
        os.write(fd, b"w" * (1 << 20))
        print(i + 1, flush=True)
    os.fsync(fd)
except OSError as e:
    said = errno.errorcode[e.errno]
try:
    os.close(fd)
except OSError:
    pass
print(said, flush=True)
"""


def test_a_slow_upload_is_no_silence(sshd, mount, proxy):
    """A WRITE takes longer than request_timeout; the server shows meanwhile that it takes it."""
    web1 = sshd("web1")
    write(os.path.join(web1.files, "here"), b"x")
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}, request_timeout="2s", keepalive="0"))
    assert read(m.host("web1", "here")) == b"x"
    link.bytes_per_s = 100_000
    with open(m.host("web1", "f"), "wb", buffering=0) as f:
        f.write(content(600_000))
        os.fsync(f.fileno())
    assert read(os.path.join(web1.files, "f")) == content(600_000)
    assert web1.logins() == 1 and "session lost" not in m.log()


def test_a_server_that_stops_in_the_midst_of_an_upload(sshd, mount):
    web1 = sshd("web1")
    m = mount(sshd.ini(web1, request_timeout="2s", connect_timeout="2s"))
    writer = python(WRITER, m.host("web1", "f"), "4000")
    for _ in range(40):
        assert writer.stdout.readline().strip().isdigit()
    web1.freeze()
    try:
        lines = writer.communicate(timeout=20 * SLOWER)[0].split()
        assert lines[-1] in ("ETIMEDOUT", "EIO"), lines[-1]
        assert [40, *map(int, lines[:-1])][-1] < 4000
    finally:
        web1.thaw()
    wait_for(lambda: error(os.stat, m.host("web1", "f")) == "ok", 60, "the host to be back")


def grow(f, done, first=0, most=600):
    """Writes to f, a MiB at a time and none as the one before, until done; how many there are."""
    for k in range(first, most):
        if done():
            return k
        f.write(content(MIB, k))
    raise AssertionError(f"not within {most} MiB")


def test_one_upload_goes_over_several_sessions(sshd, mount, proxy):
    web1 = sshd("web1", count_sftp=True)
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}))
    link.rtt = 0.02  # far, and connected before it is farther away
    os.path.exists(m.host("web1", "none"))
    link.rtt = 0.1
    with open(m.host("web1", "f"), "wb", buffering=0) as f:
        count = grow(f, lambda: sorted([0, *link.carried_up.values()])[-2] > 2 * MIB)
        os.fsync(f.fileno())
        there = read(os.path.join(web1.files, "f"))
        assert len(there) == count * MIB
        assert all(there[k * MIB:(k + 1) * MIB] == content(MIB, k) for k in range(count))
        assert web1.sftp_requests("open") > 1
    wait_for(lambda: web1.sftp_requests("close") == web1.sftp_requests("open"), 20,
             "each handle to be closed")


def test_what_another_put_in_its_place_gets_no_byte_of_an_upload(sshd, mount, proxy):
    web1 = sshd("web1", count_sftp=True)
    link = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": link.port}))
    link.rtt = 0.02  # far, and connected before it is farther away
    os.path.exists(m.host("web1", "none"))
    link.rtt = 0.1
    there = os.path.join(web1.files, "f")
    with open(m.host("web1", "f"), "wb", buffering=0) as f:
        f.write(content(MIB, 0))
        os.fsync(f.fileno())
        os.link(there, there + ".ours")
        write(there + ".theirs", content(8 * MIB, 77))
        os.replace(there + ".theirs", there)
        # the second handle is that of their file
        count = grow(f, lambda: web1.sftp_requests("open") > 1, first=1)
        for k in range(count, count + 8):
            f.write(content(MIB, k))
        os.fsync(f.fileno())
    assert read(there) == content(8 * MIB, 77)
    ours = read(there + ".ours")
    assert len(ours) == (count + 8) * MIB
    assert all(ours[k * MIB:(k + 1) * MIB] == content(MIB, k) for k in range(count + 8))
