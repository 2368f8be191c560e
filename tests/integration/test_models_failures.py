"""An S3 that refuses, lacks, breaks off, is overloaded, silent or gone."""

import contextlib
import errno
import itertools
import mmap
import os
import re
import signal
import subprocess
import sys

import pytest

from mount import SAN, SLOWER
from procs import free_port, wait_for
from proxy import Answer
from tools import MIB, Background, content, error, read, sha256, timed, together

NO_HOSTS = "[hosts]\nssh_config =\n"


class First:
    """A fault for the first so many requests that match; the others pass."""

    def __init__(self, times, matches=lambda request: request.path.endswith("model.zip"), **answer):
        self.times, self.matches, self.answer = times, matches, answer
        self.done = 0

    def __call__(self, request):
        if self.matches(request) and self.done < self.times:
            self.done += 1
            return Answer(**self.answer)
        return None


@pytest.fixture
def model(rgw, bucket):
    data = content(20 * MIB + 7)
    rgw.put(bucket, "a/v1/model.zip", data)
    return data


def test_wrong_secret(rgw, bucket, model, mount):
    """Refused, and told why, also where a refusal without a body comes after."""
    m = mount(NO_HOSTS, rgw.ini(bucket).replace(rgw.secret_key, "wrong"))
    assert error(os.listdir, m.model()) == "EACCES"
    assert error(read, m.model("a", "v1", "model.zip")) == "EACCES"
    # a gateway that also has an STS says the one, others the other
    why = re.search(r"403 (SignatureDoesNotMatch|AccessDenied) \(EACCES", m.log())
    assert why and f"403 {why[1]}" in m.status()


def test_missing_bucket(rgw, mount):
    m = mount(NO_HOSTS, rgw.ini("no-such-bucket"))
    assert error(os.listdir, m.model()) == "ENOENT"
    assert m.log().count("warn") == 1 and "NoSuchBucket (ENOENT" in m.log()
    assert error(read, m.model("a", "v1", "model.zip")) == "ENOENT"
    assert "NoSuchBucket" in m.status()


def test_missing_key(rgw, bucket, model, mount):
    m = mount(NO_HOSTS, rgw.ini(bucket))
    for parts in (("b",), ("a", "v2"), ("a", "v1", "other"), ("a", "v1", "model.zip.bak")):
        assert error(os.stat, m.model(*parts)) == "ENOENT"
    assert error(os.stat, m.model("a", "v1", "model.zip", "x")) == "ENOTDIR"
    assert error(read, m.model("b", "v1", "model.zip")) == "ENOENT" and " warn " not in m.log()


def test_endpoint_down(mount, rgw):
    m = mount(NO_HOSTS, rgw.ini("any", free_port()))
    word, seconds = timed(error, os.listdir, m.model())
    assert word == "ECONNREFUSED" and seconds < 15 * SLOWER
    assert os.listdir(m.point) == ["models", ".scoutfs"]


def test_silent_endpoint(mount, rgw, proxy):
    hole = proxy(1)
    hole.black_hole = True
    m = mount(NO_HOSTS, rgw.ini("any", hole.port, timeout="1s", max_attempts=2))
    word, seconds = timed(error, os.listdir, m.model())
    assert word == "ETIMEDOUT" and seconds < 15 * SLOWER


def test_a_read_of_a_silent_endpoint(rgw, bucket, model, mount, proxy):
    """The promised time once, not again for the page that the kernel asks for anew."""
    link = proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, link.port, timeout="2s", max_attempts=2))
    fd = os.open(m.model("a", "v1", "model.zip"), os.O_RDONLY)
    try:
        link.black_hole = True
        link.cut()
        word, seconds = timed(error, os.pread, fd, 100, 9 * MIB)  # the open asked for the first one
        assert word == "ETIMEDOUT"
        # the second attempt began when the first had hung for 1 s, or found its connection cut
        assert SAN or 1.9 < seconds < 7.5
        link.black_hole = False
        wait_for(lambda: error(os.pread, fd, 100, 9 * MIB) == "ok", 20, "recovery")
    finally:
        os.close(fd)


def test_frozen_gateway(rgw, bucket, model, mount):
    """It stops in the midst of its work and goes on: readers wait, then have the right bytes."""
    m = mount(NO_HOSTS, rgw.ini(bucket))
    os.listdir(m.model())
    rgw.freeze()
    try:
        readers = Background(lambda: read(m.model("a", "v1", "model.zip")) for _ in range(20))
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 1, 20, "blocked readers")
        assert os.listdir(m.point) == ["models", ".scoutfs"]
        assert readers.running() == 20
    finally:
        rgw.thaw()
    assert {sha256(got) for got in readers.results()} == {sha256(model)}


def test_frozen_in_mid_body(rgw, bucket, mount):
    """Longer than `timeout`: asked for again where it stopped, once it answers again."""
    from proxy import HttpProxy

    class Freezer(HttpProxy):
        frozen = False

        async def _body(self, request, client, data, chunked=False):
            await super()._body(request, client, data, chunked)
            if request.range and request.body_bytes > MIB and not self.frozen:
                self.frozen = True
                rgw.freeze()

    data = content(40 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = Freezer(rgw.port).start()
    # few at once: what is asked for is all in the sockets by then, perhaps, but what follows hangs
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, timeout="2s", max_attempts=8, part_size="64M",
                                max_connections=4))
    try:
        reader = Background([lambda: read(m.model("a", "v1", "model.zip"))])
        wait_for(lambda: m.metric("scoutfs_s3_retries_total") >= 1, 30, "an attempt given up")
        rgw.thaw()
        assert sha256(reader.results()[0]) == sha256(data)
    finally:
        rgw.thaw()
        s3.stop()
    assert any(request.range and request.body_bytes < 40 * MIB for request in s3.gets())


@pytest.mark.parametrize("size", [20 * MIB + 7, 80 * MIB], ids=["small", "large"])
def test_the_first_reader_is_killed(rgw, bucket, mount, http_proxy, size):
    """What it had asked for goes to those who joined it, and is not asked for again."""
    data = content(size)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    os.close(os.open(m.model("a", "v1", "model.zip"), os.O_RDONLY))
    s3.stall()
    try:
        first = subprocess.Popen(["cat", m.model("a", "v1", "model.zip")],
                                 stdout=subprocess.DEVNULL)
        wait_for(lambda: s3.gets("model.zip"), 20, "its request")
        others = Background(lambda: read(m.model("a", "v1", "model.zip")) for _ in range(10))
        wait_for(lambda: m.metric("scoutfs_requests_total", backend="models", op="open",
                                  result="ok") >= 12, 20, "the others")
        first.kill()
        first.wait(10 * SLOWER)
        assert others.running() == 10
    finally:
        s3.resume()
    assert {sha256(got) for got in others.results()} == {sha256(data)}
    assert s3.body_bytes("model.zip") == size


def test_a_page_of_the_listing_fails(rgw, bucket, mount, http_proxy):
    together([lambda k=k: [rgw.put(bucket, f"id-{n:04}/v1/model.zip", b"x")
                           for n in range(k, 1500, 8)] for k in range(8)])
    s3 = http_proxy(rgw.port, fault=First(10**6, lambda r: "continuation" in r.query, status=503))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_attempts=2))
    assert error(os.listdir, m.model()) == "EIO", "half a listing is none"
    assert read(m.model("id-1499", "v1", "model.zip")) == b"x"
    s3.fault = First(1, lambda r: "continuation" in r.query, cut_after=1000)
    wait_for(lambda: error(os.listdir, m.model()) == "ok", 20, "recovery")
    assert len(os.listdir(m.model())) == 1500 and s3.fault.done == 1


def test_ctrl_c_on_a_frozen_gateway(rgw, bucket, model, mount):
    m = mount(NO_HOSTS, rgw.ini(bucket))
    os.listdir(m.model())
    rgw.freeze()
    try:
        reader = subprocess.Popen(["cat", m.model("a", "v1", "model.zip")],
                                  stdout=subprocess.DEVNULL)
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 2, 20, "a blocked reader")
        reader.send_signal(signal.SIGINT)
        assert reader.wait(3 * SLOWER) == -signal.SIGINT
    finally:
        rgw.thaw()
    assert sha256(read(m.model("a", "v1", "model.zip"))) == sha256(model)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_connection_cut_in_mid_body(rgw, bucket, model, mount, http_proxy, reset):
    cut = First(2, cut_after=300_000, reset=reset)
    s3 = http_proxy(rgw.port, fault=cut)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    assert sha256(read(m.model("a", "v1", "model.zip"))) == sha256(model)
    assert cut.done == 2
    # what had come is not asked for again: but for what was on its way when it was cut
    assert s3.body_bytes("model.zip") <= len(model) + 2 * 300_000


def pauses(s3, status):
    """Between the attempts of a call, after one that was answered so: seconds, and how many such there were."""
    found = []
    for call in {r.call for r in s3.requests if r.status == status}:
        attempts = [r for r in s3.requests if r.call == call]
        refused = [pair for pair in itertools.pairwise(attempts) if pair[0].status == status]
        found += [(after.at - before.at, n) for n, (before, after) in enumerate(refused, 1)]
    return found


@pytest.mark.parametrize("status, base", [(429, 0.5), (500, 0.1), (502, 0.1), (503, 0.5), (504, 0.1)])
def test_overload_is_retried(rgw, bucket, model, mount, http_proxy, status, base):
    """After a pause, of which chance takes a quarter at most."""
    busy = First(2, status=status)
    s3 = http_proxy(rgw.port, fault=busy)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    assert sha256(read(m.model("a", "v1", "model.zip"))) == sha256(model)
    assert busy.done == 2
    seen = pauses(s3, status)
    if m.metric("scoutfs_s3_hedges_total") == 0:  # which wait for no pause
        assert seen and all(seconds >= 0.75 * base * 2**(n - 1) for seconds, n in seen), seen


def test_who_was_refused_together_comes_back_at_different_times(rgw, bucket, mount, http_proxy):
    s3 = http_proxy(rgw.port, fault=lambda r: Answer(status=503) if "nothing" in r.target and
                    r.headers["amz-sdk-request"].startswith("attempt=1;") else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    jobs = [lambda n=n: error(os.stat, m.model(f"nothing-{n}")) for n in range(10)]
    assert together(jobs) == ["ENOENT"] * 10
    pause_ms = [int(ms) for ms in re.findall(r"attempt 1: .*503.*; again in (\d+) ms", m.log())]
    assert len(set(pause_ms)) > 1 and all(375 <= ms <= 500 for ms in pause_ms), pause_ms


def test_listing_is_retried(rgw, bucket, model, mount, http_proxy):
    """The second time after a pause twice as long."""
    s3 = http_proxy(rgw.port, fault=First(2, lambda r: "list-type" in r.query, status=503))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    assert os.listdir(m.model()) == ["a"]
    assert len(s3.lists()) == 3
    (first, _), (second, _) = pauses(s3, 503)
    assert m.metric("scoutfs_s3_hedges_total") or (first >= 0.375 and second >= 0.75), (first, second)


def test_attempts_end(rgw, bucket, model, mount, http_proxy):
    always = First(10**6, status=503)
    s3 = http_proxy(rgw.port, fault=always)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_attempts=2, part_size="32M"))
    word, seconds = timed(error, read, m.model("a", "v1", "model.zip"))
    assert word == "EIO" and seconds < 20 * SLOWER
    always.times = 0  # and it is well again
    wait_for(lambda: error(read, m.model("a", "v1", "model.zip")) == "ok", 20, "recovery")
    assert sha256(read(m.model("a", "v1", "model.zip"))) == sha256(model)


def test_what_cannot_succeed_is_not_retried(rgw, bucket, model, mount, http_proxy):
    s3 = http_proxy(rgw.port, fault=First(10**6, lambda r: r.method == "GET" and r.range, status=403))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    os.listdir(m.model("a", "v1"))
    assert error(read, m.model("a", "v1", "model.zip")) == "EACCES"
    # the kernel may ask again for what its read-ahead did not get: the engine does not
    assert m.metric("scoutfs_s3_retries_total") == 0
    assert s3.gets("model.zip")


def test_nonsense_for_an_answer(rgw, bucket, model, mount, http_proxy):
    s3 = http_proxy(rgw.port, fault=First(10**6, corrupt=True))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_attempts=2))
    os.listdir(m.model("a", "v1"))
    assert error(read, m.model("a", "v1", "model.zip")) == "EIO"


def test_nonsense_for_a_listing(rgw, bucket, model, mount, http_proxy):
    s3 = http_proxy(rgw.port, fault=First(10**6, lambda r: "list-type" in r.query, status=200))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_attempts=2))
    assert error(os.listdir, m.model()) == "EIO"
    assert error(os.stat, m.model("nothing")) == "EIO"
    assert "listing of '': malformed answer" in m.log() and "listing of 'nothing/': malformed answer" in m.log()
    s3.fault = lambda request: None
    wait_for(lambda: error(os.listdir, m.model()) == "ok", 20, "recovery")


@pytest.mark.parametrize("kept", ["in memory", "fetched anew"])
def test_overwritten_under_a_reader(rgw, bucket, mount, kept):
    old, new = content(60 * MIB, 1), content(60 * MIB, 2)
    rgw.put(bucket, "a/v1/model.zip", old)
    settings = "memory = 256M" if kept == "in memory" else "memory = 16M"
    m = mount(NO_HOSTS, rgw.ini(bucket, part_size="1M", list_ttl="1s"), settings=settings)
    fd = os.open(m.model("a", "v1", "model.zip"), os.O_RDONLY)
    got = []
    try:
        got.append(os.read(fd, 100_000))
        rgw.put(bucket, "a/v1/model.zip", new)
        word = "ok"
        while piece := os.read(fd, 100_000):
            got.append(piece)
    except OSError as e:
        word = os.strerror(e.errno)
    finally:
        os.close(fd)
    got = b"".join(got)
    assert got == old[:len(got)], "bytes of both"
    assert word == os.strerror(116) or len(got) == len(old)
    if kept == "fetched anew":
        assert word == os.strerror(116)
    assert sha256(read(m.model("a", "v1", "model.zip"))) == sha256(new), "whoever opens it then"


def test_overwritten_and_opened_at_once(rgw, bucket, mount):
    m = mount(NO_HOSTS, rgw.ini(bucket))
    for number in range(20):
        rgw.put(bucket, "a/v1/model.zip", content(1000, number))
        assert read(m.model("a", "v1", "model.zip")) == content(1000, number)


def test_an_old_and_a_new_reader(rgw, bucket, mount):
    """Each has the pages of its own version in the kernel's cache, and the old one no others."""
    for size in (20 * MIB, 400_000):
        key = f"a/{size}/model.zip"
        old, new = content(size, 1), content(size, 2)
        rgw.put(bucket, key, old)
        m = mount(NO_HOSTS, rgw.ini(bucket, part_size="1M"))
        fd = os.open(m.model(key), os.O_RDONLY)
        try:
            got = [os.read(fd, 100_000)]
            number = os.fstat(fd).st_ino
            rgw.put(bucket, key, new)
            assert {sha256(r) for r in together([lambda: read(m.model(key))] * 4)} == {sha256(new)}
            with contextlib.suppress(OSError):
                while piece := os.read(fd, 100_000):
                    got.append(piece)
            assert b"".join(got) == old[:sum(map(len, got))], "bytes of both"
            assert error(os.pread, fd, 100, size - 100) in ("ESTALE", "ok")
            assert os.stat(m.model(key)).st_ino == number
        finally:
            os.close(fd)
        assert sha256(read(m.model(key))) == sha256(new)


def test_an_old_and_a_new_map(rgw, bucket, mount):
    """The old map's pages are the old bytes, or SIGBUS."""
    size = 20 * MIB
    old, new = content(size, 1), content(size, 2)
    rgw.put(bucket, "a/v1/model.zip", old)
    m = mount(NO_HOSTS, rgw.ini(bucket))
    reader = subprocess.Popen(
        [sys.executable, "-c", "import mmap, sys\n"
         "f = open(sys.argv[1], 'rb')\n"
         "seen = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
         "sys.stdout.buffer.write(seen[:4096])\n"
         "sys.stdout.flush()\n"
         "sys.stdin.read()\n"
         "sys.stdout.buffer.write(seen[:])\n", m.model("a", "v1", "model.zip")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdout.read(4096) == old[:4096]
    rgw.put(bucket, "a/v1/model.zip", new)
    with open(m.model("a", "v1", "model.zip"), "rb") as f, \
            mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as seen:
        assert seen[:] == new
        rest, _ = reader.communicate(timeout=60)
    assert reader.returncode == -signal.SIGBUS and not rest or rest == old


def test_deleted_under_a_reader(rgw, bucket, mount):
    old = content(60 * MIB, 1)
    rgw.put(bucket, "a/v1/model.zip", old)
    m = mount(NO_HOSTS, rgw.ini(bucket, part_size="1M"), settings="memory = 16M")
    fd = os.open(m.model("a", "v1", "model.zip"), os.O_RDONLY)
    try:
        got = os.read(fd, 100_000)
        rgw.client().delete_object(Bucket=bucket, Key="a/v1/model.zip")
        with pytest.raises(OSError) as caught:
            while piece := os.read(fd, 100_000):
                got += piece
    finally:
        os.close(fd)
    assert caught.value.errno == errno.ESTALE
    assert got == old[:len(got)]


def test_a_change_is_told_once(rgw, bucket, mount, http_proxy):
    """However many parts of the object were asked for."""
    rgw.put(bucket, "a/v1/model.zip", content(60 * MIB, 1))
    s3 = http_proxy(rgw.port, lambda r: Answer(bytes_per_s=MIB) if r.range else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size="1M"), settings="memory = 64M")
    with open(m.model("a", "v1", "model.zip"), "rb", buffering=0) as f:
        assert len(f.read(100_000)) == 100_000
        rgw.put(bucket, "a/v1/model.zip", content(60 * MIB, 2))
        with pytest.raises(OSError) as caught:
            while f.read(MIB):
                pass
        assert caught.value.errno == errno.ESTALE
        wait_for(lambda: all(r.ended for r in s3.gets("model.zip")), 20 * SLOWER, "the end of what was asked")
    refused = [r for r in s3.gets("model.zip") if r.status == 412]
    assert len(refused) > 1
    assert len(re.findall("changed while it was read", m.log())) == 1
    assert not re.search("warn .*s3: GET", m.log())


@pytest.mark.seconds(120)
def test_a_bad_network_under_load(rgw, bucket, mount, proxy, http_proxy):
    """50 readers of 10 models through cuts and overload: all right in the end."""
    for number in range(10):
        rgw.put(bucket, f"m/{number}/model.zip", content(3 * MIB, number))
    link = proxy(rgw.port)
    link.rtt = 0.02
    seen = []

    def fault(request):
        seen.append(request)
        if "list-type" in request.query:
            return None
        if len(seen) % 7 == 3:
            return Answer(status=503)
        if len(seen) % 11 == 5:
            return Answer(cut_after=100_000)
        return None

    s3 = http_proxy(link.port, fault=fault)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size="1M", max_connections=20,
                                max_attempts=8))
    readers = Background(lambda n=n: read(m.model("m", str(n % 10), "model.zip"))
                         for n in range(50))
    assert [sha256(got) for got in readers.results(100)] == \
        [sha256(content(3 * MIB, n % 10)) for n in range(50)]
    assert s3.most <= 20
