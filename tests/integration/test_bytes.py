"""Bytes: whatever is read, in whatever order, by however many, is what lies there."""

import os
import random

import pytest

from tools import MIB, content, python, read, sha256, together, write

SIZES = [0, 1, 32768 - 1, 32768, 32768 + 1, MIB - 1, MIB, MIB + 1]
LARGE = 100 * MIB
READ_MMAP = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
    print(hashlib.sha256(m).hexdigest())
"""


@pytest.fixture(params=["hosts", "models"])
def place(request, mount):
    """place({name: bytes}) mounts a tree that holds these; returns {name: path}."""
    def on_host(files):
        sshd = request.getfixturevalue("sshd")
        web1 = sshd("web1")
        for name, data in files.items():
            write(os.path.join(web1.files, name), data)
        mounted = mount(sshd.ini(web1))
        return {name: mounted.host("web1", name) for name in files}

    def in_registry(files):
        rgw, bucket = request.getfixturevalue("rgw"), request.getfixturevalue("bucket")
        for name, data in files.items():
            rgw.put(bucket, f"tiny/v1/{name}", data)
        mounted = mount("[hosts]\nssh_config =", rgw.ini(bucket))
        return {name: mounted.model("tiny", "v1", name) for name in files}

    return on_host if request.param == "hosts" else in_registry


@pytest.mark.basic
def test_sizes(place):
    paths = place({f"f{size}": content(size) for size in SIZES})
    for size in SIZES:
        path = paths[f"f{size}"]
        assert os.stat(path).st_size == size
        assert read(path) == content(size)
        assert os.stat(path).st_size == size


def test_large_sequential(place):
    path = place({"large": content(LARGE)})["large"]
    assert sha256(read(path)) == sha256(content(LARGE))


@pytest.mark.parametrize("block", [1000, 4096, 128 * 1024 + 1])
def test_read_sizes(place, block):
    data = content(3 * MIB + 17)
    path = place({"f": data})["f"]
    with open(path, "rb", buffering=0) as f:
        got = b"".join(iter(lambda: f.read(block), b""))
    assert got == data


def test_random_order(place):
    data = content(LARGE)
    path = place({"large": data})["large"]
    chance = random.Random(5)
    fd = os.open(path, os.O_RDONLY)
    try:
        for _ in range(300):
            at = chance.randrange(LARGE)
            size = chance.choice([1, 100, 4096, 70000, 300000])
            assert os.pread(fd, size, at) == data[at:at + size]
    finally:
        os.close(fd)


def test_backwards(place):
    data = content(10 * MIB + 3)
    path = place({"f": data})["f"]
    fd = os.open(path, os.O_RDONLY)
    try:
        end = len(data)
        while end > 0:
            begin = max(0, end - 100_000)
            assert os.pread(fd, end - begin, begin) == data[begin:end]
            end = begin
    finally:
        os.close(fd)


def test_at_and_past_the_end(place):
    data = content(MIB + 1)
    path = place({"f": data})["f"]
    fd = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(fd, 100, len(data) - 1) == data[-1:]
        assert os.pread(fd, 100, len(data)) == b""
        assert os.pread(fd, 100, len(data) + 5 * MIB) == b""
        assert os.pread(fd, 2 * MIB, 10) == data[10:]
    finally:
        os.close(fd)


def test_mmap(place):
    data = content(20 * MIB + 5)
    path = place({"f": data})["f"]
    reader = python(READ_MMAP, path)
    out, err = reader.communicate(timeout=60)
    assert (out.strip(), err) == (sha256(data), "")


def test_32_readers_at_different_offsets(place):
    data = content(LARGE)
    path = place({"large": data})["large"]
    piece = LARGE // 32

    def reader(number):
        fd = os.open(path, os.O_RDONLY)
        try:
            at, end = number * piece, (number + 1) * piece
            while at < end:
                got = os.pread(fd, min(200_000, end - at), at)
                if got != data[at:at + len(got)] or not got:
                    return f"wrong at {at}"
                at += len(got)
            return "right"
        finally:
            os.close(fd)

    assert together(lambda n=n: reader(n) for n in range(32)) == ["right"] * 32


def test_many_files_at_once(place):
    files = {f"f{n}": content(50_000 + n * 1000, n) for n in range(40)}
    paths = place(files)
    got = together(lambda p=path: read(p) for path in paths.values())
    assert got == list(files.values())
