"""Publishing sparse files: what is skipped is published as zeros, as a file system shows it."""

import os
import signal
import subprocess
import threading

import pytest

from mount import SLOWER
from procs import wait_for
from test_models_publish import NO_HOSTS, PART, body, ini, keys, uploads
from tools import MIB, content, error, python, read, sha256, timed


def hole(size):
    return bytes(size)


def sparse(path, *pieces):
    """A file of these pieces, with holes for those that are zeros."""
    with open(path, "wb", buffering=0) as f:
        for piece in pieces:
            if any(piece):
                f.write(piece)
            else:
                f.seek(len(piece), os.SEEK_CUR)
        f.truncate(f.tell())
    return b"".join(pieces)


SHAPES = {
    "none": (content(100_000),),
    "start": (hole(MIB), content(100_000)),
    "middle": (content(70_000), hole(MIB + 4096), content(100_000)),
    "end": (content(100_000), hole(MIB)),
    "all": (hole(MIB),),
    "everywhere": (hole(64 * 1024), content(4096), hole(128 * 1024), content(1), hole(99_999)),
    "parts": (hole(PART + MIB), content(2 * PART), hole(3 * PART + 7), content(1000), hole(2 * PART)),
    "large hole": (hole(12 * PART),),
}


@pytest.mark.parametrize("how", ["--sparse=always", "--sparse=auto", "--sparse=never"])
def test_cp(rgw, bucket, mount, folder, how):
    m, other = mount(NO_HOSTS, ini(rgw, bucket)), mount(NO_HOSTS, ini(rgw, bucket))
    os.makedirs(m.model("a", "v1"))
    for name, pieces in SHAPES.items():
        local, path = os.path.join(folder, name), m.model("a", "v1", name)
        want = sparse(local, *pieces)
        done = subprocess.run(["cp", how, local, path], capture_output=True, text=True,
                              check=False, timeout=100)
        assert done.returncode == 0, (name, done.stderr)
        assert sha256(body(rgw, bucket, f"a/v1/{name}")) == sha256(want), name
        assert sha256(read(other.model("a", "v1", name))) == sha256(want), name
        assert os.stat(path).st_size == len(want)
    assert uploads(rgw, bucket) == []


@pytest.mark.parametrize("line", [
    'dd bs=64k conv=sparse status=none if="$1" of="$2"',
    'rsync --inplace --sparse "$1" "$2"',
    'tar -C "${1%/*}" -cS large | tar -C "${2%/*}" -xmS --no-same-owner'])
def test_others_that_leave_holes(rgw, bucket, mount, folder, line):
    m = mount(NO_HOSTS, ini(rgw, bucket))
    os.makedirs(m.model("a"))
    local, path = os.path.join(folder, "large"), m.model("a", "large")
    want = sparse(local, *SHAPES["parts"])
    os.chmod(local, 0o644)
    done = subprocess.run(["sh", "-c", line, "-", local, path], capture_output=True, text=True,
                          check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert sha256(body(rgw, bucket, "a/large")) == sha256(want)


def test_writes_and_sizes(rgw, bucket, mount):
    """As any file system answers them, but that nothing is taken back."""
    m = mount(NO_HOSTS, ini(rgw, bucket))
    os.makedirs(m.model("a"))
    path = m.model("a", "model.zip")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    assert os.pwrite(fd, b"one", 10) == 3
    assert os.fstat(fd).st_size == os.stat(path).st_size == 13
    os.ftruncate(fd, 20)
    os.ftruncate(fd, 20)
    assert os.fstat(fd).st_size == os.stat(path).st_size == 20
    assert error(os.ftruncate, fd, 15) == error(os.ftruncate, fd, 5) == "ENOTSUP"
    assert os.pwrite(fd, b"two", 13) == 3  # as of who asks for the room first
    assert os.fstat(fd).st_size == 20
    os.truncate(path, 30)
    assert error(os.ftruncate, fd, 1 << 45) == "EFBIG"
    os.close(fd)
    assert body(rgw, bucket, "a/model.zip") == read(path) == \
        hole(10) + b"onetwo" + hole(14)
    assert error(os.truncate, path, 40) == "ENOTSUP"

    fd = os.open(m.model("a", "header"), os.O_WRONLY | os.O_CREAT)
    os.pwrite(fd, b"data", 100)
    assert error(os.pwrite, fd, b"header", 0) == "ENOTSUP"
    assert error(os.close, fd) == "ENOTSUP"
    fd = os.open(m.model("a", "endless"), os.O_WRONLY | os.O_CREAT)
    assert error(os.pwrite, fd, b"x", 1 << 45) == "EFBIG"
    assert error(os.close, fd) == "EFBIG"
    assert keys(rgw, bucket) == ["a/model.zip"]
    assert "a/header is not published: it is not written from its start to its end" in m.log()


def test_appends(rgw, bucket, mount):
    """Its end is the writer's, whatever is seen by the name of what is being replaced."""
    rgw.put(bucket, "a/model.zip", content(1000))
    m = mount(NO_HOSTS, ini(rgw, bucket, overwrite="yes", list_ttl="0"))
    path = m.model("a", "model.zip")
    for flags in (os.O_TRUNC, os.O_TRUNC | os.O_CREAT):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | flags)
        for _ in range(3):
            os.write(fd, b"123")
            os.stat(path)
            subprocess.run(["ls", "-l", m.model("a"), path], check=True, capture_output=True)
        os.close(fd)
        assert body(rgw, bucket, "a/model.zip") == b"123123123"
        rgw.put(bucket, "a/model.zip", content(1000))
        os.utime(m.path(".scoutfs", "refresh"))


def test_the_end_of_what_is_replaced(rgw, bucket, mount, folder):
    """Which fstat(2) still shows: who goes on from there gets no zeros, but an error; holes are well."""
    rgw.put(bucket, "a/model.zip", content(1000))
    m = mount(NO_HOSTS, ini(rgw, bucket, overwrite="yes"))
    path = m.model("a", "model.zip")
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"123")
    end = os.fstat(fd).st_size
    assert error(os.pwrite, fd, b"456", end) == ("ok" if end == 3 else "ENOTSUP")
    assert error(os.close, fd) == ("ok" if end == 3 else "ENOTSUP")
    assert body(rgw, bucket, "a/model.zip") == (b"123456" if end == 3 else content(1000))
    want = sparse(os.path.join(folder, "sparse"), *SHAPES["everywhere"])
    subprocess.run(["cp", "--sparse=always", os.path.join(folder, "sparse"), path], check=True)
    assert body(rgw, bucket, "a/model.zip") == want


WRITER = """
import os, signal, sys
def stop(number, frame):
    raise InterruptedError
signal.signal(signal.SIGINT, stop)
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
print("open", flush=True)
for i in range(2):
    try:
        os.pwrite(fd, b"end", int(sys.argv[2]))
        break
    except InterruptedError:
        print("interrupted", flush=True)
    if sys.argv[3] == "once":
        break
try:
    os.close(fd)
    print("closed", flush=True)
except OSError as e:
    print(e.strerror, flush=True)
"""


@pytest.mark.seconds(120)
@pytest.mark.parametrize("how", ["once", "again", "killed"])
def test_interrupted_in_a_hole(rgw, bucket, mount, proxy, how):
    """It may be written again; or nothing is published, and nothing is left."""
    link = proxy(rgw.port)
    m = mount(NO_HOSTS, ini(rgw, bucket, link.port), settings="memory = 32M")
    os.makedirs(m.model("a"))
    size = 60 * MIB
    writer = python(WRITER, m.model("a", "model.zip"), size, how)
    assert writer.stdout.readline() == "open\n"
    wait_for(lambda: link.bytes_up > PART, 30, "zeros on their way")
    link.stall()
    if how == "killed":
        writer.kill()
        writer.wait(20)
        link.resume()
        wait_for(lambda: "    writing    " not in m.status(), 30 * SLOWER, "its end")
    else:
        writer.send_signal(signal.SIGINT)
        assert writer.stdout.readline() == "interrupted\n"
        link.resume()
        word = writer.stdout.readline()
        assert word == ("closed\n" if how == "again" else "Input/output error\n")
        writer.wait(20)
    wait_for(lambda: uploads(rgw, bucket) == [], 20, "the abort")
    if how == "again":
        assert body(rgw, bucket, "a/model.zip") == hole(size) + b"end"
    else:
        assert keys(rgw, bucket) == []


@pytest.mark.seconds(180)
@pytest.mark.parametrize("at_end", [False, True])
def test_who_else_uses_the_mount(rgw, bucket, mount, at_end):
    """A large hole takes its time and its share of memory; others do not wait for it."""
    rgw.put(bucket, "b/small", content(100_000))
    m = mount(NO_HOSTS, ini(rgw, bucket, list_ttl="0"), settings="memory = 32M")
    os.makedirs(m.model("a"))
    size, slowest = 200 * MIB, 0
    idle = m.peak_memory()

    opened = threading.Event()

    def publish():
        with open(m.model("a", "model.zip"), "wb", buffering=0) as f:
            opened.set()
            if at_end:
                f.truncate(size)
            else:
                os.pwrite(f.fileno(), b"end", size - 3)
    thread = threading.Thread(target=publish)
    thread.start()
    assert opened.wait(20 * SLOWER)
    rounds = 0
    while thread.is_alive():
        bytes_read, seconds = timed(read, m.model("b", "small"))
        assert bytes_read == content(100_000)
        assert os.stat(m.model("a", "model.zip")).st_size <= size
        slowest, rounds = max(slowest, seconds), rounds + 1
    thread.join()
    print(f"slowest of {rounds}: {slowest:.3f} s")
    assert rounds > 5 and slowest < 5 * SLOWER
    m.assert_grown_within(idle, 32 * MIB)
    assert rgw.client().head_object(Bucket=bucket, Key="a/model.zip")["ContentLength"] == size
    assert sha256(body(rgw, bucket, "a/model.zip")) == \
        sha256(hole(size) if at_end else hole(size - 3) + b"end")
