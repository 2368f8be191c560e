"""How much of bulk is under way, as seen from the other end of the link: beside small calls, and where it waits in line."""

import asyncio
import os
import subprocess
from statistics import median

import pytest

from mount import SAN, SLOWER
from procs import wait_for
from proxy import Answer, HttpProxy
from test_models_engine import NO_HOSTS, is_bulk, size, start
from tools import MIB, content, read

PART = 2 * MIB
LAST = 9


class Counted(HttpProxy):
    def bulk(self):
        return [r for r in self.requests if is_bulk(r) and not r.ended]


class OneDisk(Counted):
    """A server that answers one request of bulk after the other, but for an object's first MiB, which it has at hand."""

    busy = None

    def __init__(self, target_port):
        super().__init__(target_port)
        self.at_once = []  # how much of bulk was under way when each of it came

    async def _answer(self, request, *args):
        if not is_bulk(request) or start(request) == 0:
            return await super()._answer(request, *args)
        self.at_once.append(len(self.bulk()))
        self.busy = self.busy or asyncio.Lock()
        async with self.busy:
            await asyncio.sleep(0.02)
            return await super()._answer(request, *args)


class OneLink(Counted):
    """A link that all share: whoever asks for little waits for each part of bulk that is under way."""

    def __init__(self, target_port, base):
        super().__init__(target_port, self.slow_parts)
        self.base = base  # seconds that an answer takes when nothing else is under way
        self.beside = []  # what of bulk was under way when each small GET came

    @staticmethod
    def slow_parts(request):
        """So that they are under way for long; a slice is not."""
        return Answer(bytes_per_s=MIB) if is_bulk(request) and size(request) > MIB else None

    async def _answer(self, request, *args):
        if not is_bulk(request):
            bulk = self.bulk()
            if request.path.endswith("config.json") and request.method == "GET":
                self.beside.append(len(bulk))
            await asyncio.sleep(0.01 * len(bulk))
        await asyncio.sleep(self.base)  # of bulk, too: one late first byte is not to look like a queue (pace.h)
        return await super()._answer(request, *args)


@pytest.fixture
def one_link(rgw):
    started = []

    def begin(base):
        started.append(OneLink(rgw.port, base).start())
        return started[-1]

    yield begin
    for one in started:
        one.stop()


@pytest.mark.parametrize("base, few", [(0, 1), (0.05, 4)], ids=["near", "far"])
@pytest.mark.seconds(120)
def test_bulk_gives_way_to_small_calls(rgw, bucket, mount, one_link, base, few):
    """While one asks for small files, few parts are under way, or one slice; after that as many as before."""
    if SAN:  # whose slices may take as long as those of a gateway that is far
        few = 4
    rgw.put(bucket, "a/model.zip", content(8 * MIB) * 40)
    for number in range(110):
        rgw.put(bucket, f"c/{number}/config.json", b"{}".ljust(5000))
    s3 = one_link(base)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=16, part_size=PART, verify="no"))

    def small(numbers):
        for number in numbers:
            assert read(m.model("c", str(number), "config.json")) == b"{}".ljust(5000)

    assert os.listdir(m.model()) == ["a", "c"]
    small(range(10))  # what they take alone
    with subprocess.Popen(["cat", m.model("a", "model.zip")], stdout=subprocess.DEVNULL) as reader:
        try:
            wait_for(lambda: len(s3.bulk()) >= 12, 20 * SLOWER, "as much of bulk as may be")
            s3.beside.clear()
            for number in range(10, 110):
                small([number])
                if len(s3.beside) >= LAST and median(s3.beside[-LAST:]) <= few:
                    break
            assert s3.beside[0] >= 8 and median(s3.beside[-LAST:]) <= few, str(s3.beside)
            wait_for(lambda: len(s3.bulk()) >= 12, 20 * SLOWER, "as much again")
            assert reader.poll() is None, "it is still reading"
        finally:
            reader.kill()


def test_an_object_gives_no_way_to_its_own_rest(rgw, bucket, mount, one_link):
    """Its last bytes are a small GET, and late beside its parts: nobody else waits for that."""
    length = 24 * PART + 5000
    rgw.put(bucket, "a/model.zip", content(length))
    rgw.put(bucket, "c/config.json", b"{}")
    s3 = one_link(0)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=16, part_size=PART, verify="no"))
    for _ in range(10):
        assert read(m.model("c", "config.json")) == b"{}"  # what small calls take alone
    with open(m.model("a", "model.zip"), "rb", buffering=0) as f:
        wait_for(lambda: s3.gets("model.zip") and not s3.bulk(), 20 * SLOWER, "the first MiB")
        before = m.log().count("beside small calls")
        assert sum(len(piece) for piece in iter(lambda: f.read(MIB), b"")) == length
    rest = [r for r in s3.gets("model.zip") if size(r) == 5000]
    assert len(rest) == 1
    assert m.log().count("beside small calls") == before


@pytest.mark.seconds(120)
def test_where_bulk_waits_in_line_few_are_under_way(rgw, bucket, mount):
    """As many as there may be at first; then down to two, or four for a moment, as no less comes."""
    rgw.put(bucket, "a/model.zip", content(8 * MIB) * 40)
    s3 = OneDisk(rgw.port).start()
    try:
        m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=16, part_size=PART, verify="no"))
        with subprocess.Popen(["cat", m.model("a", "model.zip")], stdout=subprocess.DEVNULL) as reader:
            try:
                wait_for(lambda: max(s3.at_once, default=0) >= 12, 20 * SLOWER, "as much of bulk as may be")
                wait_for(lambda: max(s3.at_once[-LAST:]) <= 2, 60 * SLOWER, "few")
                assert reader.poll() is None, "it is still reading"
            finally:
                reader.kill()
    finally:
        s3.stop()
