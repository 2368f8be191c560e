"""The members of an archive as files, of which nothing else is fetched."""

import io
import os
import random
import signal
import stat
import struct
import subprocess
import time
import zipfile
import zlib

import pytest

from procs import wait_for
from proxy import Answer
from s3_server import S3, Vast
from test_models_meta import flipped
from tools import MIB, Background, content, error, read, sha256, together

NO_HOSTS = "[hosts]\nssh_config =\n"
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
KIB = 1024
L32 = 0xffffffff  # it does not fit here
SIZE = 3 * MIB  # of members that are damaged


def words(size, seed=0):
    """What deflates to about half, and looks the same nowhere."""
    return content(size // 2 + 1, seed).hex().encode()[:size]


def member(name, when=(2024, 2, 29, 12, 34, 56), mode=0o644, method=DEFLATED):
    info = zipfile.ZipInfo(name, when)
    info.external_attr = (stat.S_IFREG | mode) << 16
    info.compress_type = method
    return info


def archive(members, comment=b""):
    """members: (name or ZipInfo, bytes)…"""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", DEFLATED, compresslevel=1) as z:
        for name, data in members:
            z.writestr(name if isinstance(name, zipfile.ZipInfo) else member(name), data,
                       compresslevel=1)
        z.comment = comment
    return out.getvalue()


def tree(top):
    """{path: bytes} of all files, and the set of all folders."""
    found, folders = {}, set()
    for folder, names, files in os.walk(top, onerror=lambda e: (_ for _ in ()).throw(e)):
        folders.update(os.path.relpath(os.path.join(folder, name), top) for name in names)
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = read(path)
    return found, folders


@pytest.fixture
def s3(rgw, http_proxy):
    return http_proxy(rgw.port)


@pytest.fixture
def vast():
    """Of what no server here has room for."""
    server = S3().start()
    yield server
    server.stop()


@pytest.fixture
def up(rgw, bucket, mount, s3):
    """up(data…) puts archives as a/v1/model.zip…, mounts, and returns the mount."""
    def start(*archives, **more):
        for number, data in enumerate(archives, 1):
            rgw.put(bucket, f"a/v{number}/model.zip", data)
        return mount(NO_HOSTS, rgw.ini(bucket, s3.port, **more))
    return start


@pytest.mark.basic
def test_members_are_files(up):
    """As Python's zipfile reads them: names, bytes, sizes, times, modes."""
    members = {"config.json": b'{"layers": 12}', "weights/a.bin": content(700_001),
               "weights/deep/b.txt": words(900_000), "empty": b"", "gr\u00fc\u00df": b"utf-8"}
    infos = [(member(name, method=STORED if name.endswith("bin") else DEFLATED), data)
             for name, data in members.items()]
    infos += [(member("run.sh", mode=0o755), b"#!/bin/sh\n"), ("nothing/", b"")]
    m = up(archive(infos, comment=b"with a comment"))
    top = m.model("a", "v1", "model.zip.d")
    assert tree(top) == ({**members, "run.sh": b"#!/bin/sh\n"},
                         {"weights", "weights/deep", "nothing"})
    for path, data in members.items():
        told = os.stat(os.path.join(top, path))
        assert (told.st_size, told.st_mtime, stat.S_IMODE(told.st_mode)) == \
            (len(data), 1709210096, 0o444)
    assert stat.S_IMODE(os.stat(os.path.join(top, "run.sh")).st_mode) == 0o555
    assert error(os.stat, os.path.join(top, "missing")) == "ENOENT"
    assert error(os.stat, os.path.join(top, "config.json", "x")) == "ENOTDIR"
    assert error(lambda: os.open(os.path.join(top, "config.json"), os.O_WRONLY)) == "EROFS"
    assert error(os.mkdir, os.path.join(top, "new")) == "EROFS"
    assert os.listxattr(os.path.join(top, "config.json")) == os.listxattr(top) == []
    assert error(os.getxattr, os.path.join(top, "config.json"), "user.scoutfs.etag") == "ENODATA"
    assert os.getxattr(m.model("a", "v1", "model.zip"), "user.scoutfs.key") == b"a/v1/model.zip"


def test_a_config_of_a_large_archive_moves_kilobytes(up, s3):
    big = content(20 * MIB)
    m = up(archive([("config.json", b"{}"), (member("weights.bin", method=STORED), big),
                    ("last.txt", b"last")]))
    assert read(m.model("a", "v1", "model.zip.d", "config.json")) == b"{}"
    assert s3.body_bytes("model.zip") <= 768 * KIB, s3.gets()
    assert len(s3.gets("model.zip")) <= 3, s3.gets()
    s3.reset_counts()
    assert sorted(os.listdir(m.model("a", "v1", "model.zip.d"))) == \
        ["config.json", "last.txt", "weights.bin"]
    assert read(m.model("a", "v1", "model.zip.d", "last.txt")) == b"last"
    assert s3.body_bytes("model.zip") == 0, "of what was fetched already"


def test_a_member_and_nothing_after_it(up, s3):
    """Read-ahead ends where the member does."""
    first = content(3 * MIB)
    m = up(archive([(member("first.bin", method=STORED), first),
                    (member("second.bin", method=STORED), content(20 * MIB))]))
    assert read(m.model("a", "v1", "model.zip.d", "first.bin")) == first
    assert s3.body_bytes("model.zip") <= len(first) + 768 * KIB, s3.gets()
    assert all("if-match" in r.headers for r in s3.gets())


def test_random_reads_of_a_deflated_member(up):
    """From anywhere, also backward, without inflating all of it again each time."""
    data = words(12 * MIB)
    m = up(archive([("big.txt", data), ("other", b"other")]))
    some = random.Random(5)
    fd = os.open(m.model("a", "v1", "model.zip.d", "big.txt"), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for at in [len(data) - 100, 0, *(some.randrange(len(data)) for _ in range(60))]:
            assert os.pread(fd, 5000, at) == data[at:at + 5000], at
        for at in range(len(data) - MIB, 0, -MIB):
            assert os.pread(fd, 200_000, at) == data[at:at + 200_000], at
        assert os.pread(fd, 10, len(data)) == b""
        # all of it once; then what is before each of 73 places, back to where inflating can go on from
        assert len(data) < m.metric("scoutfs_models_bytes_inflated_total") < len(data) + 73 * 2.5 * MIB
    finally:
        os.close(fd)
    assert read(m.model("a", "v1", "model.zip.d", "big.txt")) == data


def test_20_readers_at_once(up, s3):
    """Of a deflated and of a stored member: each is fetched once."""
    text, raw = words(6 * MIB), content(6 * MIB)
    m = up(archive([("text", text), (member("raw", method=STORED), raw)]), )
    top = m.model("a", "v1", "model.zip.d")
    sums = together(lambda name=name: sha256(read(os.path.join(top, name)))
                    for name in ["text", "raw"] * 10)
    assert set(sums[::2]) == {sha256(text)} and set(sums[1::2]) == {sha256(raw)}
    assert s3.body_bytes("model.zip") <= len(archive([("text", text)])) + len(raw) + MIB


def test_many_archives_in_little_memory(up, mount, rgw, bucket, s3):
    """More readers than there are tickets: each has its turn."""
    data = [words(1_000_000, seed) for seed in range(12)]
    for number, one in enumerate(data):
        rgw.put(bucket, f"m/{number}/model.zip", archive([("text", one)]))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=10), settings="memory = 16M")
    got = together(lambda n=n: read(m.model("m", str(n), "model.zip.d", "text")) for n in range(12))
    assert got == data
    assert m.metric("scoutfs_buffer_bytes") <= 16 * MIB


def marked(size):
    """An archive of a deflated member "a": zeros, but for each 2 MiB, which begin with their offset and can be gone
    on from."""
    packer, packed, crc = zlib.compressobj(1, zlib.DEFLATED, -15), [], 0
    for at in range(0, size, 2 * MIB):
        data = struct.pack("<Q", at) + bytes(2 * MIB - 8)
        packed.append(packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH))
        crc = zlib.crc32(data, crc)
    packed = b"".join([*packed, packer.flush()])
    return ended(local(packed), central(b"a", len(packed), size, 0, method=8, crc=crc), 1)


@pytest.mark.seconds(120)
def test_many_large_members_in_little_memory(mount, rgw, bucket, s3):
    """What is held to go on inflating follows from memory, too, and all of it goes with the last close."""
    data = marked(64 * MIB)
    for number in range(40):
        rgw.put(bucket, f"m/{number}/model.zip", data)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=10), settings="memory = 16M")
    idle = m.peak_memory()
    fds = [os.open(m.model("m", str(number), "model.zip.d", "a"), os.O_RDONLY) for number in range(40)]
    try:
        for fd in fds:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for at in (62 * MIB, 20 * MIB):
            some = fds if at == 62 * MIB else fds[::8]
            assert together(lambda fd=fd, at=at: os.pread(fd, 16, at - 8) for fd in some) == \
                [bytes(8) + struct.pack("<Q", at)] * len(some)
            assert MIB / 2 < m.metric("scoutfs_models_unzip_bytes") <= 2 * MIB
        m.assert_grown_within(idle, 16 * MIB)
    finally:
        for fd in fds:
            os.close(fd)
    wait_for(lambda: m.metric("scoutfs_models_unzip_bytes") == 0, 15, "the members to be closed")


def test_a_member_of_a_high_ratio(mount, rgw, bucket, s3):
    """As far as deflate can pack it is served whole, in as little memory as any other."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", DEFLATED, compresslevel=9) as z:
        z.writestr("zeros", bytes(64 * MIB))
    data = out.getvalue()
    assert len(data) < 64 * MIB / 1000
    rgw.put(bucket, "a/v1/model.zip", data)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=10), settings="memory = 16M")
    idle = m.peak_memory()
    assert read(m.model("a", "v1", "model.zip.d", "zeros")) == bytes(64 * MIB)
    assert m.log().count("damaged") == 0
    m.assert_grown_within(idle, 16 * MIB)


def test_an_archive_that_is_overwritten(up, rgw, bucket):
    """Who has a member open gets ESTALE, who opens it then the new bytes."""
    old, new = words(4 * MIB, 1), words(4 * MIB, 2)
    m = up(archive([("text", old), (member("raw", method=STORED), old), ("old", b"")]), list_ttl="1s")
    top = m.model("a", "v1", "model.zip.d")
    fds = [os.open(os.path.join(top, name), os.O_RDONLY) for name in ("text", "raw")]
    try:
        for fd in fds:
            assert os.pread(fd, 1000, 0) == old[:1000]
        rgw.put(bucket, "a/v1/model.zip",
                archive([("text", new), (member("raw", method=STORED), new), ("new", b"")]))
        assert [read(os.path.join(top, name)) for name in ("text", "raw")] == [new, new]
        for fd in fds:
            assert error(os.pread, fd, 1000, 3 * MIB) == "ESTALE"
    finally:
        for fd in fds:
            os.close(fd)
    wait_for(lambda: sorted(os.listdir(top)) == ["new", "raw", "text"], 15, "the new directory")
    assert error(os.stat, os.path.join(top, "old")) == "ENOENT"


def test_ctrl_c(up, s3):
    """Ends who waits for a member, and for an archive's directory, at once."""
    m = up(archive([("text", words(4 * MIB))]), archive([("b", b"")]), timeout="20s")
    top = m.model("a", "v1", "model.zip.d")
    assert os.listdir(top) == ["text"]
    s3.fault = lambda request: Answer(stall=True) if request.range else None
    waiting = [subprocess.Popen([tool, path], stdout=subprocess.DEVNULL) for tool, path in
               (("cat", os.path.join(top, "text")), ("ls", m.model("a", "v2", "model.zip.d")))]
    wait_for(lambda: len(s3.gets("model.zip")) >= 3, 20, "both to wait")
    for one in waiting:
        one.send_signal(signal.SIGINT)
    assert [one.wait(10) for one in waiting] == [-signal.SIGINT] * 2


def central(name, packed, size, at, method=0, flags=0, crc=0, extra=b""):
    return struct.pack("<4sHHHHHHLLLHHHHHLL", b"PK\1\2", 45, 45, flags, method, 0, 0x5861, crc,
                       packed, size, len(name), len(extra), 0, 0, 0, 0, at) + name + extra


def local(data, name=b"a"):
    return struct.pack("<4sHHHHHLLLHH", b"PK\3\4", 45, 0, 0, 0, 0, zlib.crc32(data), len(data),
                       len(data), len(name), 0) + name + data


def ended(body, directory, count):
    """body and directory as an archive, with the records of zip64."""
    return body + directory_at(len(body), directory, count)


def directory_at(start, directory, count):
    return directory + \
        struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory),
                    start) + struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1) + \
        struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0)


def forged(*members):
    """An archive of one stored file, "hello"; members are central headers."""
    return ended(local(b"hello"), b"".join(members), len(members))


def test_broken_archives(up):
    """A folder that says EIO, once in the log why; and so is an encrypted one."""
    whole = archive([("a", words(100_000))])
    end = whole.rindex(b"PK\5\6")
    wrong = {"truncated": whole[:-40], "none": content(100_000), "empty": b"",
             "damaged": whole[:end - 40] + b"x" * 30 + whole[end - 10:],
             "elsewhere": whole[:end + 16] + b"\xff\xff\xff\x7f" + whole[end + 20:],
             "encrypted": forged(central(b"a", 5, 5, 0, flags=1))}
    m = up(*wrong.values())
    for number in range(1, len(wrong) + 1):
        top = m.model("a", f"v{number}", "model.zip.d")
        assert stat.S_ISDIR(os.stat(top).st_mode)
        for _ in range(3):
            assert error(os.listdir, top) == "EIO"
        assert error(os.stat, os.path.join(top, "a")) == "EIO"
        assert m.log().count(f"a/v{number}/model.zip': not shown as a folder") == 1
    assert "it is encrypted" in m.log()


def test_hostile_members(up):
    """What cannot be read says so; what cannot be a file name is not there."""
    crc = zlib.crc32(b"hello")
    m = up(forged(central(b"../../etc/cron.d/x", 5, 5, 0, crc=crc), central(b"/etc/passwd", 5, 5, 0, crc=crc),
                  central(b"a/../b", 5, 5, 0, crc=crc), central(b"good", 5, 5, 0, crc=crc)),
           forged(central(b"bomb", 5, 3 << 30, 0, method=8)),
           forged(central(b"first", 5, 5, 0), central(b"over", 5, 5, 0)),
           forged(central(b"secret", 5, 5, 0, flags=1), central(b"other", 0, 0, 1000)),
           forged(central(b"lzma", 5, 5, 0, method=14)),
           forged(central(b"wrong", 5, 5, 0, crc=1)),
           forged(central(b"text", 5, 400, 0, method=8)))

    def at(number, *parts):
        return m.model("a", f"v{number}", "model.zip.d", *parts)

    assert tree(at(1)) == ({"good": b"hello"}, set())
    assert "left out 3 members" in m.log()
    expected = {(2, "bomb"): "EIO", (3, "first"): "EIO", (3, "over"): "EIO", (4, "secret"): "EIO",
                (4, "other"): "EIO", (5, "lzma"): "ENOTSUP", (6, "wrong"): "EIO", (7, "text"): "EIO"}
    for (number, name), word in expected.items():
        assert name in os.listdir(at(number))
        assert error(read, at(number, name)) == word, name
        assert f"member '{name}'" in m.log()


def test_damaged_members(up):
    """Bytes that are not those that were packed are never taken for them."""
    text, raw = words(3 * MIB), content(3 * MIB)
    whole = bytearray(archive([("text", text), (member("raw", method=STORED), raw),
                               (member("fine", method=STORED), b"fine")]))
    whole[whole.index(b"raw") + 2 * MIB] ^= 1
    whole[len(whole) // 9] ^= 0x10
    m = up(bytes(whole))
    top = m.model("a", "v1", "model.zip.d")
    assert error(read, os.path.join(top, "text")) == "EIO"
    assert error(read, os.path.join(top, "raw")) == "EIO"
    assert read(os.path.join(top, "fine")) == b"fine"
    assert m.log().count("member 'raw' is damaged: its CRC is wrong") == 1
    for name in ("text", "raw"):
        assert error(read, os.path.join(top, name)) == "EIO"


def both():
    """{name: bytes} of a stored and of a deflated member, and the archive of them."""
    members = {"raw": content(SIZE), "text": words(SIZE)}
    return members, archive([(member("raw", method=STORED), members["raw"]),
                             (member("text", method=DEFLATED), members["text"])])


def inside(whole, name):
    """Where some byte of that member's data is, behind most of it."""
    at = whole.index(name.encode())
    return at + (2 * MIB if name == "raw" else MIB)


def damaged(name):
    _, whole = both()
    at = inside(whole, name)
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]


def part(path, size, at):
    """Those bytes and no others: nothing is read ahead."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return os.pread(fd, size, at)
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", ["raw", "text"])
def test_it_stays_an_error(up, name):
    """What the kernel has of it is never all that there is to it."""
    m = up(damaged(name))
    path = m.model("a", "v1", "model.zip.d", name)
    for _ in range(4):
        assert error(read, path) == "EIO"
    other = {"raw": "text", "text": "raw"}[name]
    assert read(m.model("a", "v1", "model.zip.d", other)) == both()[0][other]


def test_one_reads_the_tail_and_another_the_rest(up):
    m, tail = up(damaged("raw")), SIZE // 2
    path = m.model("a", "v1", "model.zip.d", "raw")
    assert part(path, tail, SIZE - tail) != content(SIZE)[-tail:]
    assert error(read, path) == "EIO"
    with open(path, "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(f.fileno(), tail, SIZE - tail)
        assert error(read, path) == "EIO"


def test_what_is_proven_right_stays_in_the_kernel(up):
    members, whole = both()
    m = up(whole)
    for name, data in members.items():
        path = m.model("a", "v1", "model.zip.d", name)
        assert part(path, 4096, MIB) == data[MIB:MIB + 4096]
        assert read(path) == data
        served = m.metric("scoutfs_models_bytes_served_total")
        assert read(path) == data
        # but for what the kernel has no memory for
        assert m.metric("scoutfs_models_bytes_served_total") < served + MIB


@pytest.mark.parametrize("name", ["raw", "text"])
def test_a_byte_comes_wrong(up, s3, name):
    """EIO once; then all is fetched again, and right."""
    members, whole = both()
    s3.fault = flipped(inside(whole, name))
    m = up(whole)
    path = m.model("a", "v1", "model.zip.d", name)
    assert error(read, path) == "EIO"
    assert m.log().count("is damaged") == 1
    for _ in range(2):
        assert read(path) == members[name]


@pytest.mark.parametrize("name", ["raw", "text"])
def test_a_byte_comes_wrong_and_is_cached(up, mount, rgw, bucket, s3, folder, name):
    members, whole = both()
    s3.fault, cache = flipped(inside(whole, name)), os.path.join(folder, "cache")
    m = up(whole, cache_dir=cache)
    assert error(read, m.model("a", "v1", "model.zip.d", name)) == "EIO"
    m.unmount()
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, cache_dir=cache))
    path = m.model("a", "v1", "model.zip.d", name)
    assert read(path) == members[name]
    wait_for(lambda: m.metric("scoutfs_cache_written_total") >= 3, 30, "the cache")
    m.unmount()
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, cache_dir=cache))
    assert read(m.model("a", "v1", "model.zip.d", name)) == members[name]
    assert m.metric("scoutfs_cache_hits_total") >= 3


def test_a_byte_of_the_directory_comes_wrong(up, s3):
    """Where that makes it no directory it is read again at once, else when a member is not as it says."""
    members, whole = both()
    first = whole.index(b"PK\1\2")
    s3.fault = flipped(first)
    m = up(whole, whole)
    top = m.model("a", "v1", "model.zip.d")
    assert sorted(os.listdir(top)) == ["raw", "text"]
    assert {name: read(os.path.join(top, name)) for name in members} == members
    assert "not shown" not in m.log()

    s3.fault = flipped(first + 16)  # the CRC of raw
    path = m.model("a", "v2", "model.zip.d", "raw")
    assert error(read, path) == "EIO"
    for _ in range(2):
        assert read(path) == members["raw"]


def test_zip64_and_what_stands_in_front(up):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", DEFLATED, compresslevel=1) as z:
        for name in ("one", "two"):
            with z.open(member(name), "w", force_zip64=True) as f:
                f.write(words(200_000))
    data = out.getvalue()
    end = data.rindex(b"PK\5\6")
    count, size, start = struct.unpack("<HLL", data[end + 10:end + 20])
    m = up(ended(data[:start], data[start:start + size], count), b"#!/bin/sh\nexec unzip\n" + data)
    for version in ("v1", "v2"):
        assert tree(m.model("a", version, "model.zip.d"))[0] == \
            {"one": words(200_000), "two": words(200_000)}


def test_an_archive_of_100_gb(vast, mount, http_proxy):
    """Members and their ends lie beyond what 32 bits say; of it all only kilobytes are moved."""
    config, marker, middle, weights = b'{"layers": 12}', b"in the middle", 70 * 10**9, 10**11
    header = local(b"", b"weights.bin")
    second = len(header) + weights
    body = local(config, b"config.json")
    directory = central(b"weights.bin", L32, L32, 0, extra=struct.pack("<HHQQ", 1, 16, weights, weights))
    directory += central(b"config.json", len(config), len(config), L32, crc=zlib.crc32(config),
                         extra=struct.pack("<HHQ", 1, 8, second))
    tail = body + directory_at(second + len(body), directory, 2)
    vast.objects["a/v1/model.zip"] = Vast(second + len(tail),
                                          {0: header, len(header) + middle: marker, second: tail})
    s3 = http_proxy(vast.port)
    m = mount(NO_HOSTS, vast.ini(s3.port))
    top = m.model("a", "v1", "model.zip.d")
    assert read(os.path.join(top, "config.json")) == config
    assert s3.body_bytes("model.zip") <= 768 * KIB, s3.gets()
    assert os.stat(os.path.join(top, "weights.bin")).st_size == weights
    assert os.stat(m.model("a", "v1", "model.zip")).st_size == second + len(tail)
    for name, at in (("model.zip.d/weights.bin", middle), ("model.zip", len(header) + middle)):
        with open(m.model("a", "v1", name), "rb", buffering=0) as f:
            assert os.pread(f.fileno(), len(marker), at) == marker
    with open(os.path.join(top, "weights.bin"), "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 10, weights - 4) == bytes(4)
    assert s3.body_bytes("model.zip") <= 4 * MIB, s3.gets()


def test_70000_members(up, s3):
    """More than zip counts without zip64, in a directory that is read in many pieces, once."""
    empty, names = local(b""), [f"{number % 7}/{number}" for number in range(70_000)]
    directory = b"".join(central(name.encode(), 0, 0, number * len(empty))
                         for number, name in enumerate(names))
    directory += central(b"last", 4, 4, 70_000 * len(empty), crc=zlib.crc32(b"last"))
    m = up(ended(empty * 70_000 + local(b"last"), directory, 70_001))
    top = m.model("a", "v1", "model.zip.d")
    assert read(os.path.join(top, "last")) == b"last"
    moved = s3.body_bytes("model.zip")
    assert sorted(os.listdir(top)) == ["0", "1", "2", "3", "4", "5", "6", "last"]
    assert sorted(os.listdir(os.path.join(top, "3"))) == sorted(names[n][2:] for n in
                                                                range(3, 70_000, 7))
    assert s3.body_bytes("model.zip") == moved


@pytest.mark.seconds(120)
def test_more_members_than_may_be_in_memory(up, rgw, bucket):
    """Who opens one archive too many waits for others to close theirs, or for Ctrl-C, or for the timeout."""
    empty, count = local(b""), 160_000
    directory = b"".join(central(b"%06d" % number + b"n" * 244, 0, 0, number * len(empty))
                         for number in range(count))
    m = up(ended(empty * count, directory, count), timeout="8s")
    for version in ("v2", "v3"):
        rgw.copy(bucket, "a/v1/model.zip", f"a/{version}/model.zip")

    def opened(version):
        return os.open(m.model("a", version, "model.zip.d"), os.O_RDONLY | os.O_DIRECTORY)
    held = [opened("v1"), opened("v2")]
    last = m.model("a", "v3", "model.zip.d")
    waiting = subprocess.Popen(["ls", last], stdout=subprocess.DEVNULL)
    assert error(os.listdir, last) == "ENOMEM"
    lines = [line for line in m.log().splitlines() if "too many large archives" in line]
    assert len(lines) == 1 and "'a/v3/model.zip'" in lines[0], lines
    assert waiting.wait(10) == 2

    waiting = subprocess.Popen(["ls", last], stdout=subprocess.DEVNULL)
    other = Background([lambda: opened("v3")])
    time.sleep(1)  # nobody can be seen to wait
    assert other.running() and waiting.poll() is None
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(5) == -signal.SIGINT
    assert other.running()
    os.close(held.pop())
    held += other.results(20)
    assert os.stat(os.path.join(last, "000000" + "n" * 244)).st_size == 0
    for one in held:
        os.close(one)


def test_one_directory_for_all_who_ask(up, s3):
    m = up(archive([("a", b"x" * 100), ("b", b"y")]))
    top = m.model("a", "v1", "model.zip.d")
    assert together(lambda: len(os.listdir(top)) for _ in range(20)) == [2] * 20
    assert len(s3.gets("model.zip")) == 1


@pytest.mark.parametrize("more", [{}, {"list_max_keys": 10}], ids=["all", "by-folder"])
def test_what_the_bucket_has_wins(up, rgw, bucket, more):
    data = archive([("inside", b"inside")])
    for number in range(12):
        rgw.put(bucket, f"{number % 2}/{number}", b"x")
    for key, body in {"a/v1/model.zip.d/real": b"real", "a/v2/model.zip.d": b"a file",
                      "a/v3/other.zip.d/model.ZIP": data}.items():
        rgw.put(bucket, key, body)
    m = up(data, data, **more)
    assert tree(m.model("a", "v1", "model.zip.d")) == ({"real": b"real"}, set())
    assert read(m.model("a", "v2", "model.zip.d")) == b"a file"
    assert read(m.model("a", "v3", "other.zip.d", "model.ZIP.d", "inside")) == b"inside"
    assert error(os.stat, m.model("a", "v3", "missing.zip.d")) == "ENOENT"


def test_not_listed(up):
    """So that what walks a tree does not read all twice."""
    m = up(archive([("a", b"")]))
    assert os.listdir(m.model("a", "v1")) == ["model.zip"]
    assert os.listdir(m.model("a", "v1", "model.zip.d")) == ["a"]
    assert os.listdir(m.model("a", "v1")) == ["model.zip"]


def test_unzip_no(up):
    m = up(archive([("a", b"")]), unzip="no")
    assert error(os.listdir, m.model("a", "v1", "model.zip.d")) == "ENOENT"
    assert os.listdir(m.model("a", "v1")) == ["model.zip"]


def test_what_is_published_is_there_at_once(rgw, bucket, mount):
    """In an archive that took another's place, and in a folder of its name; also for who has just missed it."""
    def publish(**members):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            for name, text in members.items():
                z.writestr(name, text)
        rgw.put(bucket, "a/v1/model.zip", out.getvalue())

    publish(old="1")
    m = mount(NO_HOSTS, rgw.ini(bucket, list_ttl="1h"))
    assert os.listdir(m.model("a", "v1")) == ["model.zip"]
    folder = m.model("a", "v1", "model.zip.d")
    assert read(f"{folder}/old") == b"1"
    assert error(os.stat, f"{folder}/new") == "ENOENT"
    publish(old="1", new="2")
    assert read(f"{folder}/new") == b"2"
    assert error(os.stat, f"{folder}/other") == "ENOENT"
    rgw.put(bucket, "a/v1/model.zip.d/other", b"3")
    assert read(f"{folder}/other") == b"3"
