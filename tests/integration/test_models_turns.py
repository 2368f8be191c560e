"""Writers of the registry for which memory has no room: they wait in turn, for as long as anything moves."""

import os
import signal
import subprocess
import tarfile

import pytest

from mount import SLOWER
from procs import run, wait_for
from tools import MIB, Background, content, error, write

NO_HOSTS = "[hosts]\nssh_config =\n"
NAMES = ("first", "second", "third")
MEMORY = 16 * MIB  # the least
PART = 5 * MIB     # as much as it has room for
COPIES = 4         # it has buffers for so many writes that wait
CROWD = 200


@pytest.fixture
def files(s3, mount, proxy):
    """files(timeout, attempts): the link to S3, the mount, and files that are open for writing, three if they have
    no other names."""
    def begin(timeout, attempts, names=NAMES):
        link = proxy(s3.port)
        link.narrow()
        m = mount(NO_HOSTS, s3.ini(link.port, read_only="no", timeout=timeout, max_attempts=attempts),
                  settings=f"memory = {MEMORY // MIB}M")
        os.mkdir(m.model("a"))
        return link, m, [os.open(m.model("a", name), os.O_WRONLY | os.O_CREAT) for name in names]
    return begin


def in_flight(m, count):
    """So many calls of programs wait, besides the one that asks."""
    wait_for(lambda: m.metric("scoutfs_requests_in_flight") > count, 20 * SLOWER, "a call that waits")


def put(fd, data):
    """Returns what each write(2) took."""
    took = []
    with open(fd, "wb", buffering=0) as f:
        while sum(took) < len(data):
            took.append(f.write(data[sum(took):]))
    return took


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
        assert sum(job.results(100 * SLOWER)[0]) > 0
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


@pytest.mark.seconds(180)
def test_a_crowd_takes_no_more_than_memory(s3, files):
    """While all of them wait, and until all are published: that is less than the bytes of their writes."""
    link, m, fds = files("60s", 3, [str(n) for n in range(CROWD)])
    idle = m.peak_memory()
    link.stall()
    crowd = Background([lambda n=n, fd=fd: put(fd, content(MIB, n % 7)) for n, fd in enumerate(fds)])
    in_flight(m, CROWD)
    assert not s3.objects
    link.bytes_per_s = 30_000_000
    link.resume()
    took = crowd.results(150 * SLOWER)
    assert all(s3.objects[f"a/{n}"] == content(MIB, n % 7) for n in range(CROWD))
    m.assert_grown_within(idle, PART + COPIES * MIB // 4)
    assert sum(len(writes) > 1 for writes in took) >= CROWD - 2 * COPIES


def test_programs_write_again_what_was_not_taken(s3, files, folder):
    """Whatever has no buffer waits with its first KiB; then its write(2) ends, with less than it asked for."""
    _, m, fds = files("60s", 3, [str(n) for n in range(COPIES + 2)])
    data = content(700_001)
    here = write(os.path.join(folder, "here"), data)
    with tarfile.open(os.path.join(folder, "tar"), "w") as tar:
        tar.add(here, "tar")
    programs = {
        "cp": 'cp "$0" "$1"',
        "cat": 'cat "$0" > "$1"',
        "dd": 'dd if="$0" of="$1" bs=1M status=none',
        "rsync": 'rsync --inplace --whole-file "$0" "$1"',
        "tar": f'tar -x -m --no-same-permissions --no-same-owner -f "{folder}/tar" -C "${{1%/*}}"',
        "python": '/usr/bin/python3 -c "import shutil, sys; shutil.copyfile(*sys.argv[1:])" "$0" "$1"',
    }
    os.write(fds[0], b"has the room")
    waiting = [Background([lambda fd=fd: put(fd, data)]) for fd in fds[1:]]
    in_flight(m, len(waiting))
    for name, script in programs.items():
        waiting.append(Background([lambda name=name, script=script: run(
            "sh", "-c", script, here, m.model("a", name), timeout=50 * SLOWER)]))
        in_flight(m, len(waiting))
    os.close(fds[0])
    results = [job.results(60 * SLOWER)[0] for job in waiting]
    assert sum(len(took) > 1 for took in results[:COPIES + 1]) == 1, results
    assert all(s3.objects[f"a/{name}"] == data for name in (*programs, *range(1, COPIES + 2)))


def test_who_waits_with_few_bytes_is_interrupted(s3, files, folder):
    """As whoever waits with all of them: at once, and nothing is published of it."""
    _, m, fds = files("60s", 3, ["first"])
    here = write(os.path.join(folder, "here"), content(MIB))
    os.write(fds[0], b"has the room")
    waiting = []
    for n in range(COPIES + 3):
        waiting.append(subprocess.Popen(["cp", here, m.model("a", str(n))]))
        in_flight(m, len(waiting))
    for program in waiting:
        program.send_signal(signal.SIGINT)
        assert program.wait(20 * SLOWER) == -signal.SIGINT
    os.close(fds[0])
    assert s3.objects == {"a/first": b"has the room"}
