"""How models are read: over how many connections, how much for how little, and what readers share."""

import io
import os
import random
import signal
import subprocess
import time
import zipfile

import pytest

from mount import SLOWER
from procs import wait_for
from proxy import Answer
from test_models_engine import NO_HOSTS, size, start
from tools import MIB, Background, content, error, python, read, sha256

MODEL = "performance/arnir0_Tiny-LLM/main/model.zip"
MODEL_BYTES = 24834009
BLOCK = 256 << 10


def parts(request):
    """Holds the bodies of all that is fetched behind an object's first MiB."""
    return Answer(hold_after=0) if request.range and start(request) >= MIB else None


def later_parts(request):
    """Likewise behind what the kernel reads for itself, and waits for, when the first MiB and a half are read."""
    return Answer(hold_after=0) if request.range and start(request) >= 3 * MIB else None


def ranges(s3):
    """[(key, begin, end)…] of what was asked for; what hangs is asked for twice, and counts once."""
    return sorted({(r.path, start(r), start(r) + size(r)) for r in s3.gets("model.zip")})


def asked(s3, folder=""):
    """How many bytes of all objects that is, or of those below a folder."""
    return sum(end - begin for key, begin, end in ranges(s3) if f"/{folder}" in key)


@pytest.mark.parametrize("bytes_", [5 * MIB, MODEL_BYTES, 50 * MIB])
def test_one_reader_uses_many_connections(rgw, bucket, mount, http_proxy, bytes_):
    """The first MiB alone, so that it comes at once; then all the rest side by side, each byte once."""
    data = content(bytes_)
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port, parts)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    reader = Background([lambda: read(m.model(MODEL))])
    wait_for(lambda: asked(s3) == bytes_, 20, "all of it asked for")
    found = ranges(s3)
    assert found[0][1:] == (0, MIB)
    assert all(one[2] == next_[1] for one, next_ in zip(found, found[1:])), found
    assert len(found) >= min(15, bytes_ // MIB), found
    wait_for(lambda: s3.held >= len(found) - 1, 20, "all of them at the same time")
    s3.fault = lambda request: None
    s3.release()
    assert sha256(reader.results()[0]) == sha256(data)
    assert ranges(s3) == found


def test_the_first_bytes_are_asked_for_beside_the_question(rgw, bucket, mount, http_proxy):
    """One round trip to the first byte: here no question is answered before they are asked for."""
    data = content(3 * MIB)
    rgw.put(bucket, MODEL, data)
    asked_for = []

    def fault(request):
        if request.method == "GET" and request.range:
            asked_for.append(request.range)
        return Answer(status=503) if request.method == "HEAD" and not asked_for else None

    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_attempts=9))
    assert os.stat(m.model(MODEL)).st_size == len(data)
    s3.fault = fault
    assert read(m.model(MODEL)) == data
    assert asked_for[0] == f"bytes=0-{MIB - 1}"
    assert s3.body_bytes() == len(data)


@pytest.mark.parametrize("bytes_", [5, MIB, 5 * MIB])
def test_the_first_bytes_of_another_version(rgw, bucket, mount, http_proxy, bytes_):
    """Who opens what was overwritten since it was listed has the new bytes, and the log says nothing."""
    rgw.put(bucket, MODEL, content(3 * MIB))
    m = mount(NO_HOSTS, rgw.ini(bucket, http_proxy(rgw.port).port))
    assert os.stat(m.model(MODEL)).st_size == 3 * MIB
    data = content(bytes_, 1)
    rgw.put(bucket, MODEL, data)
    assert read(m.model(MODEL)) == data
    rgw.client().delete_object(Bucket=bucket, Key=MODEL)
    assert error(open, m.model(MODEL)) == "ENOENT"
    assert " warn " not in m.log()


def test_a_reader_waits_for_its_bytes_and_not_for_a_part(rgw, bucket, mount, http_proxy):
    data = content(40 * MIB)
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port, lambda r: Answer(hold_after=MIB // 2) if r.range else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    fd = os.open(m.model(MODEL), os.O_RDONLY)
    try:
        assert os.pread(fd, 100_000, 0) == data[:100_000]
        wait_for(lambda: s3.held == 1, 20, "the rest of the MiB on its way")
    finally:
        s3.fault = lambda request: None
        s3.release()
        os.close(fd)


def test_read_window_is_how_far_it_goes(rgw, bucket, mount, http_proxy):
    """What nobody reads is fetched as far as the window, and no further."""
    data = content(60 * MIB)
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, read_window="8M"))
    with open(m.model(MODEL), "rb", buffering=0) as f:
        got = b"".join(f.read(MIB) for _ in range(3))
        assert got == data[:len(got)]
        wait_for(lambda: m.metric("scoutfs_s3_active") == 0, 20, "what it fetches ahead")
        # the kernel's own read-ahead is one READ, of a MiB
        assert len(got) < asked(s3) <= len(got) + 2 * MIB + 8 * MIB
        assert got + f.readall() == data
    assert asked(s3) == len(data)


def test_random_reads_fetch_blocks(rgw, bucket, mount, http_proxy):
    data = content(60 * MIB)
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    pages = random.Random(1).sample(range(BLOCK // 4096, len(data) // 4096), 100)
    fd = os.open(m.model(MODEL), os.O_RDONLY)
    try:
        for page in pages:
            assert os.pread(fd, 4096, page * 4096) == data[page * 4096:page * 4096 + 4096]
    finally:
        os.close(fd)
    blocks = {page * 4096 // BLOCK for page in pages} - set(range(MIB // BLOCK))
    path = s3.gets()[0].path
    # the first MiB is the open's
    assert ranges(s3) == [(path, 0, MIB), *((path, b * BLOCK, (b + 1) * BLOCK) for b in sorted(blocks))]


def test_unzip_l_and_a_header_and_a_map_cost_little(rgw, bucket, mount, http_proxy):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as z:
        for number in range(40):
            z.writestr(f"weights/{number}.bin", content(MIB, number))
    data = archive.getvalue()
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    for name in ("a", "b", "c"):
        rgw.put(bucket, f"{name}/v1/model.zip", data)
    with zipfile.ZipFile(m.model("a", "v1", "model.zip")) as z:
        assert len(z.namelist()) == 40
        assert asked(s3, "a/") <= MIB + 2 * BLOCK, s3.gets()
        assert z.read("weights/7.bin") == content(MIB, 7)
    # the window is twice as long as what was read, of which the kernel's read-ahead is up to a half; and a part
    assert asked(s3, "a/") <= 12 * MIB, s3.gets()
    with open(m.model("b", "v1", "model.zip"), "rb") as f:
        assert f.read(8) + f.read(64 << 10) == data[:8 + (64 << 10)]
    assert asked(s3, "b/") <= MIB, s3.gets()
    places = (0, 30 * MIB, 10 * MIB, 20 * MIB)
    # a process of its own: a fault keeps all threads of this one waiting, the proxy's too
    reader = python("import mmap, sys\n"
                    "f = open(sys.argv[1], 'rb')\n"
                    "seen = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
                    "print(*(seen[int(place)] for place in sys.argv[2:]))\n",
                    m.model("c", "v1", "model.zip"), *places)
    assert reader.communicate(timeout=60)[0].split() == [str(data[place]) for place in places]
    # the kernel reads a MiB around the place of each fault
    assert asked(s3, "c/") <= 4 * (MIB + BLOCK), s3.gets()


@pytest.mark.parametrize("bytes_", [MODEL_BYTES, 80 * MIB], ids=["small", "large"])
def test_the_only_reader_dies_in_mid_fetch(rgw, bucket, mount, http_proxy, bytes_):
    """Who comes after it joins what is on its way: no byte is asked for twice."""
    data = content(bytes_)
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port, parts)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    first = subprocess.Popen(["cat", m.model(MODEL)], stdout=subprocess.DEVNULL)
    wait_for(lambda: s3.held >= 4, 20, "its parts")
    first.send_signal(signal.SIGINT)
    assert first.wait(20) == -signal.SIGINT
    reader = Background([lambda: read(m.model(MODEL))])
    wait_for(lambda: m.metric("scoutfs_requests_total", backend="models", op="open",
                              result="ok") >= 2, 20, "the next one")
    s3.fault = lambda request: None
    s3.release()
    assert sha256(reader.results()[0]) == sha256(data)
    assert asked(s3) == bytes_, ranges(s3)


@pytest.mark.parametrize("how", ["close", "seek"])
def test_what_nobody_wants_any_more_does_not_come(rgw, bucket, mount, http_proxy, how):
    """Parts that are on their way, slowly, a second after the last close, or at once after a seek."""
    data = content(100 * MIB)
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port, lambda r: Answer(bytes_per_s=MIB // 16) if r.range and start(r) >= 3 * MIB
                    and size(r) > BLOCK else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size=MIB))
    with open(m.model(MODEL), "rb", buffering=0) as f:
        assert f.read(MIB) + f.read(MIB // 2) == data[:3 * MIB // 2]
        wait_for(lambda: len([r for r in s3.gets() if not r.ended and r.body_bytes]) >= 16, 20, "many parts at once")
        before = s3.bytes_down
        if how == "seek":
            assert os.pread(f.fileno(), 4096, 90 * MIB) == data[90 * MIB:90 * MIB + 4096]
        else:
            f.close()
        wait_for(lambda: m.metric("scoutfs_s3_active") == 0, 60, "their end")
        assert s3.bytes_down - before <= 8 * MIB, s3.gets()
        if how == "seek":
            f.seek(90 * MIB)
            s3.fault = lambda request: None
            assert f.readall() == data[90 * MIB:]
    s3.fault = lambda request: None
    assert read(m.model(MODEL)) == data


def closed_while_parts_hang(rgw, bucket, mount, http_proxy, bytes_):
    """(bytes, proxy, mount): a reader has just closed the object, of which parts that he had asked for do not come."""
    data = content(bytes_)
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port, later_parts)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    with open(m.model(MODEL), "rb", buffering=0) as f:
        assert f.read(MIB) + f.read(MIB // 2) == data[:3 * MIB // 2]
        wait_for(lambda: s3.held >= 4, 20, "its parts")
    return data, s3, m


@pytest.mark.parametrize("bytes_", [MODEL_BYTES, 80 * MIB], ids=["small", "large"])
def test_what_hangs_and_nobody_wants_is_given_up(rgw, bucket, mount, http_proxy, bytes_):
    """Its connections are free again a second after the last close."""
    data, s3, m = closed_while_parts_hang(rgw, bucket, mount, http_proxy, bytes_)
    wait_for(lambda: s3.held == m.metric("scoutfs_s3_active") == 0, 10 * SLOWER, "their end")
    s3.fault = lambda request: None
    assert read(m.model(MODEL)) == data
    assert " warn " not in m.log()


@pytest.mark.parametrize("bytes_", [MODEL_BYTES, 80 * MIB], ids=["small", "large"])
def test_who_comes_within_a_second_goes_on_with_it(rgw, bucket, mount, http_proxy, bytes_):
    """However long it then takes to come: no byte is asked for twice."""
    data, s3, m = closed_while_parts_hang(rgw, bucket, mount, http_proxy, bytes_)
    closed = time.monotonic()
    wait_for(lambda: time.monotonic() > closed + 0.15, 20, "a part of the second")
    reader = Background([lambda: read(m.model(MODEL))])
    wait_for(lambda: time.monotonic() > closed + 1.5, 20, "its end")
    s3.fault = lambda request: None
    s3.release()
    assert sha256(reader.results()[0]) == sha256(data)
    # hedges are of the call that they help
    calls = {r.call: size(r) for r in s3.gets("model.zip")}
    assert sum(calls.values()) == bytes_, s3.gets()
