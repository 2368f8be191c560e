"""Limits: at each of them work waits in a queue; nothing fails, grows, or holds up who is not meant."""

import os

import pytest

from mount import SLOWER
from procs import wait_for
from tools import MIB, Background, content, python, read, sha256, timed, together, write

PATIENT = {"request_timeout": "60s", "connect_timeout": "60s", "keepalive": "0"}


def many_files(server, count, size):
    for number in range(count):
        write(os.path.join(server.files, f"f{number}"), content(size, number))
    return server


def test_memory_is_a_ceiling(sshd, rgw, bucket, mount):
    web1 = many_files(sshd("web1"), 20, 4 * MIB)
    for number in range(20):
        rgw.put(bucket, f"m/{number}/model.zip", content(4 * MIB, 50 + number))
    m = mount(sshd.ini(web1), rgw.ini(bucket), settings="memory = 16M")
    most = []
    watch = Background([lambda: [most.append(m.metric("scoutfs_buffer_bytes"))
                                 for _ in range(50)]])
    got = together([*(lambda n=n: sha256(read(m.host("web1", f"f{n}"))) for n in range(20)),
                    *(lambda n=n: sha256(read(m.model("m", str(n), "model.zip")))
                      for n in range(20))])
    assert got == [sha256(content(4 * MIB, n)) for n in [*range(20), *range(50, 70)]]
    watch.results()
    assert 0 < max(most) <= 16 * MIB


@pytest.mark.parametrize("count", [1, 5])
def test_dead_hosts_cannot_hold_all_memory(sshd, rgw, bucket, mount, count):
    """16M promise their buffers to ten reads, two of a host at most, and fewer where more of them are dead."""
    dead = [many_files(sshd(f"dead{number}"), 40 // count, 4 * MIB) for number in range(count)]
    alive = many_files(sshd("alive"), 4, 4 * MIB)
    rgw.put(bucket, "m/v1/model.zip", content(4 * MIB, 50))
    m = mount(sshd.ini(*dead, alive, **PATIENT), rgw.ini(bucket), settings="memory = 16M")
    handles = [open(m.host(host.name, f"f{n}"), "rb", buffering=0)
               for host in dead for n in range(40 // count)]
    try:
        for host in dead:
            host.freeze()
        blocked = Background(lambda f=f: f.read(100) for f in handles)
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 40, 20, "blocked readers")
        for number in range(4):
            assert sha256(read(m.host("alive", f"f{number}"))) == sha256(content(4 * MIB, number))
        assert sha256(read(m.model("m", "v1", "model.zip"))) == sha256(content(4 * MIB, 50))
        assert blocked.running() == 40
    finally:
        for host in dead:
            host.thaw()
    assert blocked.results() == [content(4 * MIB, n)[:100] for _ in dead for n in range(40 // count)]
    for handle in handles:
        handle.close()


def test_one_worker_is_enough(sshd, mount):
    """No FUSE thread waits for a network: one serves all while 64 calls are waiting."""
    dead, alive = many_files(sshd("dead"), 64, 1000), many_files(sshd("alive"), 20, 1000)
    m = mount(sshd.ini(dead, alive, **PATIENT), settings="workers = 1")
    os.listdir(m.host("dead"))
    dead.freeze()
    try:
        blocked = Background(lambda n=n: read(m.host("dead", f"f{n}")) for n in range(64))
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 64, 20, "blocked readers")
        _, seconds = timed(lambda: [read(m.host("alive", f"f{n}")) for n in range(20)])
        assert seconds < 20 * SLOWER
    finally:
        dead.thaw()
    assert blocked.results() == [content(1000, n) for n in range(64)]


@pytest.mark.seconds(120)
def test_connects_are_paced(sshd, mount, proxy):
    """sshd drops who comes eleventh while ten are not yet through: none of ours is."""
    web1 = many_files(sshd("web1", options="MaxStartups 10:100:10"), 60, 2 * MIB)
    link = proxy(web1.port)
    link.rtt = 0.05
    link.bytes_per_s = 20 * MIB
    m = mount(sshd.ini(web1, ports={"web1": link.port}, max_sessions_per_host=16, **PATIENT))
    got = together(lambda n=n: sha256(read(m.host("web1", f"f{n}"))) for n in range(60))
    assert got == [sha256(content(2 * MIB, n)) for n in range(60)]
    assert "MaxStartups" not in web1.read_log()
    assert 1 <= web1.logins() <= 16


def test_max_connecting(sshd, mount, proxy):
    """Six hosts, two of them connecting at a time: all get their turn."""
    hosts = [many_files(sshd(f"h{number}"), 1, 1000) for number in range(6)]
    links = {host.name: proxy(host.port) for host in hosts}
    for link in links.values():
        link.rtt = 0.05
    m = mount(sshd.ini(*hosts, ports={name: link.port for name, link in links.items()},
                       max_connecting=2, **PATIENT))
    most = []
    done = Background(lambda n=n: read(m.host(f"h{n}", "f0")) for n in range(6))
    while done.running():
        most.append(m.metric("scoutfs_hosts_pool_connecting"))
    assert done.results() == [content(1000, 0)] * 6
    assert max(most) == 2


def test_who_asks_for_little_beside_a_bulk_reader_on_a_slow_link(sshd, mount, proxy):
    """What is asked for ahead, up to 32 MiB here, is not all on its way at once: on one session, too."""
    web1 = many_files(sshd("web1"), 1, 10)
    with open(os.path.join(web1.files, "big"), "wb") as f:
        f.truncate(256 * MIB)
    link = proxy(web1.port)
    link.rtt, link.bytes_per_s = 0.05, 8_000_000
    m = mount(sshd.ini(web1, ports={"web1": link.port}, max_sessions_per_host=1))
    reader = python("import sys\nf = open(sys.argv[1], 'rb', 0)\nwhile f.read(1 << 17): pass",
                    m.host("web1", "big"))
    try:
        wait_for(lambda: link.bytes_down > 20 * MIB, 60, "bytes")
        before = link.bytes_down
        assert os.stat(m.host("web1", "f0")).st_size == 10
        assert link.bytes_down - before < 14 * MIB
    finally:
        reader.kill()
        reader.communicate()


def test_a_server_of_few_handles(sshd, mount):
    """More are opened over further sessions than one may have."""
    web1 = sshd("web1", sftp="ulimit -n 64; exec /usr/lib/openssh/sftp-server")
    for i in range(100):
        write(os.path.join(web1.files, f"f{i}"), b"%d" % i)
    m = mount(sshd.ini(web1))
    fds = []
    try:
        for i in range(100):
            fds.append(os.open(m.host("web1", f"f{i}"), os.O_RDONLY))
        assert [os.pread(fd, 10, 0) for fd in fds] == [b"%d" % i for i in range(100)]
        assert len(os.listdir(m.host("web1"))) == 100
    finally:
        for fd in fds:
            os.close(fd)
