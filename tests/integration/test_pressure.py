"""Very many callers, very few sessions: what is bounded stays bounded, and who has nothing to do with
it does not notice. Counted, not timed."""

import os
import re
import subprocess

import pytest

from mount import SLOWER
from procs import end, wait_for
from tools import MIB, Background, content, error, read, together, write

PATIENT = {"connect_timeout": "60s", "request_timeout": "60s", "keepalive": "0"}
# Asks for as many names as it is told, each in a process of its own, and waits for all of them.
CROWD = 'for i in $(seq {first} {last}); do stat "{folder}/missing$i" >/dev/null 2>&1 & done; wait'


WORKERS, SESSIONS = 8, 4  # the defaults: of all hosts, of one
OWN = 1 + 4 + 1  # the main thread, those for timers, and that of ThreadSanitizer


def threads_and_memory(m):
    """(how many threads the daemon has, its resident bytes)"""
    with open(f"/proc/{m.process.pid}/status", encoding="utf-8") as f:
        text = f.read()
    return (int(re.search(r"Threads:\s+(\d+)", text)[1]),
            int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024)


@pytest.mark.seconds(180)
def test_1000_processes_in_stat_on_a_dead_host(sshd, mount):
    """ls -R of a live host meanwhile: complete, by as many requests as alone."""
    dead, alive = sshd("dead"), sshd("alive", count_sftp=True)
    for folder in range(20):
        for number in range(20):
            write(os.path.join(alive.files, f"d{folder}", f"f{number}"), b"x")
    m = mount(sshd.ini(dead, alive, attr_timeout="0", **PATIENT))
    os.listdir(m.host("dead"))
    os.listdir(m.host("alive"))

    def list_all():
        before = alive.sftp_counts()
        done = subprocess.run(["ls", "-R", m.host("alive")], capture_output=True, text=True,
                              timeout=60 * SLOWER, check=True)
        after = alive.sftp_counts()
        return done.stdout, {kind: after[kind] - before[kind] for kind in ("opendir", "readdir")}

    list_all()
    alone = list_all()
    before = threads_and_memory(m)
    dead.freeze()
    crowd = subprocess.Popen(["sh", "-c", CROWD.format(first=1, last=1000, folder=m.host("dead"))])
    try:
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 1000, 60 * SLOWER, "the crowd")
        during = threads_and_memory(m)
        listed, counts = list_all()
        assert listed == alone[0]
        assert counts["opendir"] == alone[1]["opendir"]
        assert error(os.stat, m.host("alive", "d3", "f7")) == "ok"
        assert m.metric("scoutfs_requests_in_flight") >= 1000
    finally:
        dead.thaw()
        try:
            crowd.wait(60 * SLOWER)
        finally:
            end(crowd)
    # workers start when they are first needed: what runs before says nothing of the bound
    assert during[0] <= WORKERS + 2 * SESSIONS + OWN, "a thread for whoever waits"
    assert during[1] - before[1] < 32 * MIB * SLOWER, (before, during)
    wait_for(lambda: m.metric("scoutfs_requests_in_flight") <= 1, 20, "the end of the crowd")


def test_200_open_files_by_two_sessions(sshd, mount):
    """On three hosts, so that there are always more hosts to serve than sessions."""
    hosts = [sshd(name) for name in ("h1", "h2", "h3")]
    for number in range(200):
        write(os.path.join(hosts[number % 3].files, f"f{number}"), content(200_000, number))
    m = mount(sshd.ini(*hosts, max_sessions=2, **PATIENT))
    fds = {}
    try:
        for number in sorted(range(200), key=lambda number: number % 3):
            fds[number] = os.open(m.host(hosts[number % 3].name, f"f{number}"), os.O_RDONLY)
            assert os.pread(fds[number], 1000, 0) == content(200_000, number)[:1000]
        got = together(lambda fd=fd: os.pread(fd, 1000, 150_000) for fd in fds.values())
        assert got == [content(200_000, number)[150_000:151_000] for number in fds]
        assert m.metric("scoutfs_hosts_pool_sessions") <= 2
    finally:
        for fd in fds.values():
            os.close(fd)


def test_hosts_that_wait_to_connect(sshd, proxy, mount):
    """All places for connecting are taken by hosts that do not answer: an up host goes on, and who
    waits for a place gets it, or is told in time."""
    up, waiting = sshd("up"), sshd("waiting")
    write(os.path.join(up.files, "f"), b"up")
    write(os.path.join(waiting.files, "f"), b"at last")
    holes = [proxy(1) for _ in range(2)]
    for hole in holes:
        hole.black_hole = True
    sections = "".join(f"[host hole{n}]\nhostname = 127.0.0.1\nport = {hole.port}\n"
                       for n, hole in enumerate(holes))
    m = mount(sshd.ini(up, waiting, max_connecting=2, connect_timeout=f"{2 * SLOWER}s",
                       request_timeout=f"{3 * SLOWER}s", attr_timeout="0"), sections)
    assert read(m.host("up", "f")) == b"up"
    blocked = Background(lambda n=n: error(os.listdir, m.host(f"hole{n}")) for n in range(2))
    wait_for(lambda: m.metric("scoutfs_hosts_pool_connecting") == 2, 20, "both places taken")
    assert read(m.host("up", "f")) == b"up"
    assert read(m.host("waiting", "f")) == b"at last"
    assert blocked.results() == ["ETIMEDOUT"] * 2
