"""Writers of the registry for which memory has no room: they wait in turn, for as long as anything moves."""

import os

import pytest

from mount import SLOWER
from procs import wait_for
from tools import MIB, Background, content, error

NO_HOSTS = "[hosts]\nssh_config =\n"
NAMES = ("first", "second", "third")
PART = 5 * MIB  # as much as the least memory has room for


@pytest.fixture
def files(s3, mount, proxy):
    """files(timeout, attempts): the link to S3, the mount, and three files that are open for writing."""
    def begin(timeout, attempts):
        link = proxy(s3.port)
        link.narrow()
        m = mount(NO_HOSTS, s3.ini(link.port, read_only="no", timeout=timeout, max_attempts=attempts),
                  settings="memory = 16M")
        os.mkdir(m.model("a"))
        return link, m, [os.open(m.model("a", name), os.O_WRONLY | os.O_CREAT) for name in NAMES]
    return begin


def in_flight(m, count):
    """So many calls of programs wait, besides the one that asks."""
    wait_for(lambda: m.metric("scoutfs_requests_in_flight") > count, 20 * SLOWER, "a call that waits")


def put(fd, data):
    with open(fd, "wb", buffering=0) as f:
        while data:
            data = data[f.write(data):]


@pytest.mark.seconds(120)
def test_in_turn_for_as_long_as_bytes_move(s3, files):
    """Far longer than a call has to wait where nothing moves, which is 1 s x 4 + 10 s here."""
    link, m, fds = files("1s", 3)
    bytes_of = [content(size, size) for size in (PART, 10, 20)]
    assert os.write(fds[0], bytes_of[0][:MIB]) == MIB  # the first has the room
    link.bytes_per_s = 300_000
    jobs = [Background([lambda: put(fds[0], bytes_of[0][MIB:])])]
    for n in (1, 2):
        in_flight(m, n)
        jobs.append(Background([lambda n=n: put(fds[n], bytes_of[n])]))
    for job in jobs:
        assert job.results(100 * SLOWER) == [None]
    assert list(dict.fromkeys(r.key for r in s3.came("PUT"))) == [f"a/{name}" for name in NAMES]
    assert [s3.objects[f"a/{name}"] for name in NAMES] == bytes_of


def test_whose_turn_does_not_come(s3, files):
    """The first one sleeps: the others' time passes. Who then writes the same again has lost nothing."""
    _, m, fds = files("1s", 1)
    os.write(fds[0], b"first")
    waiting = []
    for n in (1, 2):
        waiting.append(Background([lambda n=n: error(os.write, fds[n], b"lost")]))
        in_flight(m, n)
    assert [job.results(60 * SLOWER) for job in waiting] == [["ETIMEDOUT"]] * 2
    os.close(fds[0])
    put(fds[1], b"again")
    assert error(os.close, fds[2]) == "EIO"
    assert s3.objects == {"a/first": b"first", "a/second": b"again"}
    assert "was not repeated" in m.log()
