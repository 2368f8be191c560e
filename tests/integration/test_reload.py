"""SIGHUP reads the config again: hosts come, go and change under a mount that works on."""

import contextlib
import os
import re
import signal
import subprocess
import threading

import pytest

from mount import SLOWER, command, mounted
from procs import end, free_port, tool, wait_for
from tools import MIB, content, error, read, together, write


@pytest.fixture
def reload():
    """reload(mount, ini…) writes the ini and waits until it was taken over, or refused."""
    def again(m, *ini, settings="log_level = debug"):
        m.write_ini("\n".join((f"[scoutfs]\n{settings}\n", *ini)))
        before = len(re.findall(r"reloaded: |stays as it was", m.log()))
        m.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(re.findall(r"reloaded: |stays as it was", m.log())) > before,
                 10 * SLOWER, "the reload")
    return again


def names(m):
    return os.listdir(m.path("hosts"))


@pytest.fixture
def three(sshd):
    hosts = [sshd(name) for name in ("web1", "web2", "web3")]
    for host in hosts:
        write(os.path.join(host.files, "f"), content(20_000, int(host.name[-1])))
        write(os.path.join(host.files, "big"), content(3 * MIB))
    return hosts


@pytest.fixture
def ini(sshd, three):
    """The config of some of the three, with the keys of all known."""
    def of(*hosts, **more):
        text = sshd.ini(*hosts, **more)
        sshd.ini(*three, **more)
        return text
    return of


@pytest.mark.basic
def test_hosts_come_and_go(sshd, three, mount, reload):
    web1, web2, web3 = three
    m = mount(sshd.ini(web1, web2))
    assert names(m) == ["web1", "web2"]
    assert error(os.stat, m.host("web3", "f")) == "ENOENT"
    for host in (web1, web2):
        assert read(m.host(host.name, "f")) == content(20_000, int(host.name[-1]))
    reload(m, sshd.ini(web1, web3))
    assert "reloaded: 1 host added, 1 removed, 0 changed" in m.log()
    wait_for(lambda: names(m) == ["web1", "web3"], 5, "the listing")
    wait_for(lambda: error(os.stat, m.host("web2", "f")) == "ENOENT", 5, "web2's end")
    assert read(m.host("web3", "f")) == content(20_000, 3)
    assert read(m.host("web1", "f")) == content(20_000, 1)
    assert web1.connections() == 1, "what did not change was not touched"
    wait_for(lambda: web2.sessions() == 0, 5, "the end of its session")


def test_open_files_work_on(sshd, three, mount, reload):
    web1, web2, _ = three
    m = mount(sshd.ini(web1, web2, attr_timeout="0"))
    entries = os.scandir(m.host("web2"))
    first = next(entries).name
    with open(m.host("web2", "big"), "rb", buffering=0) as f:
        assert f.read(1000) == content(3 * MIB)[:1000]
        reload(m, sshd.ini(web1, attr_timeout="0"))
        wait_for(lambda: error(os.stat, m.host("web2")) == "ENOENT", 5, "web2's end")
        assert re.search(r"\bweb2\b.*\bretired\b", m.status())
        f.seek(2 * MIB)
        assert f.read() == content(3 * MIB)[2 * MIB:]
        assert os.fstat(f.fileno()).st_size == 3 * MIB
        assert web2.sessions() >= 1
    assert sorted([first, *(e.name for e in entries)]) == ["big", "f"]
    entries.close()
    wait_for(lambda: web2.sessions() == 0, 5, "the end of its session")
    wait_for(lambda: "web2" not in m.status(), 5, "its end")


def test_a_changed_host_is_another(ini, three, mount, reload):
    """Under the same name new requests go to the new one, and open files stay with the old one."""
    web1, web2, web3 = three
    write(os.path.join(web1.files, "sub", "f"), b"below")
    section = web1.ini(root=os.path.join(web1.files, "sub"))
    changed = ini(web2) + section
    m = mount(ini(web1, web2))
    with open(m.host("web1", "big"), "rb", buffering=0) as f:
        assert f.read(1000) == content(3 * MIB)[:1000]
        reload(m, changed)
        assert "reloaded: 0 hosts added, 0 removed, 1 changed" in m.log()
        wait_for(lambda: read(m.host("web1", "f")) == b"below", 5, "the new root")
        f.seek(MIB)
        assert f.read() == content(3 * MIB)[MIB:]
    reload(m, changed)
    assert "reloaded: 0 hosts added, 0 removed, 0 changed" in m.log()
    assert names(m) == ["web1", "web2"]


def test_writers_work_on(ini, three, mount, reload):
    """What is written through a handle goes where it was opened, whoever has the name by now."""
    web1, web2, _ = three
    for host in (web1, web2):
        write(os.path.join(host.files, "log"), b"old")
    under_its_name = ini(web2).replace("[host web2]", "[host web1]")
    m = mount(ini(web1))
    fd = os.open(m.host("web1", "log"), os.O_RDWR)
    try:
        os.pwrite(fd, b"before", 0)
        reload(m, under_its_name)
        assert "1 changed" in m.log()
        wait_for(lambda: read(m.host("web1", "f")) == content(20_000, 2), 5, "the other host")
        os.pwrite(fd, b" and after", 6)
        os.fsync(fd)
        assert read(os.path.join(web1.files, "log")) == b"before and after"
        os.ftruncate(fd, 6)
        assert read(os.path.join(web1.files, "log")) == b"before"
    finally:
        os.close(fd)
    assert read(os.path.join(web2.files, "log")) == b"old"
    wait_for(lambda: web1.sessions() == 0, 5, "the end of its session")


def test_a_bad_config_changes_nothing(sshd, three, mount, reload):
    web1, web2, _ = three
    m = mount(sshd.ini(web1))
    reload(m, sshd.ini(web1, web2), "[hosts]\nconect_timeout = 3s\nport = none\n")
    log = m.log()
    assert re.search(r"error reload: .*scoutfs.ini:\d+: .*conect_timeout.*connect_timeout", log)
    assert len(re.findall(r"error reload: .*scoutfs.ini:\d+:", log)) >= 2, "all of what is wrong"
    assert "reload: the config stays as it was" in log
    assert names(m) == ["web1"] and read(m.host("web1", "f")) == content(20_000, 1)
    os.unlink(m.ini_path)
    m.process.send_signal(signal.SIGHUP)
    wait_for(lambda: m.log().count("stays as it was") == 2, 5, "the second refusal")
    assert names(m) == ["web1"]


@pytest.mark.parametrize("by_name", [False, True])
def test_a_config_that_is_a_pipe_stays(mount, by_name):
    """It is empty by now, or nobody writes into it; the end of the mount does not wait for it either."""
    m = mount("[hosts]\nssh_config =\n[host web1]\n", run=False)
    ini = read(m.ini_path)
    if by_name:
        os.unlink(m.ini_path)
        os.mkfifo(m.ini_path)
        writer = subprocess.Popen(["cp", "/dev/stdin", m.ini_path], stdin=subprocess.PIPE)
        writer.stdin.write(ini)
        writer.stdin.close()
    else:
        out, into = os.pipe()
        os.write(into, ini)
        os.close(into)
        m.ini_path = f"/proc/{os.getpid()}/fd/{out}"
    m.start()
    if by_name:
        assert writer.wait(10) == 0
    assert names(m) == ["web1"]
    m.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "stays as it was" in m.log(), 10 * SLOWER, "the refusal")
    assert "a pipe or the like cannot be read again" in m.log()
    assert names(m) == ["web1"]
    m.unmount(by=signal.SIGTERM)
    if not by_name:
        os.close(out)


def test_what_needs_a_remount_is_told(sshd, three, mount, reload):
    web1 = three[0]
    m = mount(sshd.ini(web1))
    reload(m, sshd.ini(web1), "[models]\nbucket = some-bucket\n",
           settings="log_level = info\nworkers = 3")
    log = m.log()
    assert "[scoutfs] workers, log_level: a change needs a remount" in log
    assert re.search(r"\[models\] .*bucket.*: a change needs a remount", log)
    assert sorted(os.listdir(m.point)) == [".scoutfs", "hosts"]


def test_limits_take_effect(sshd, three, mount, reload):
    web1, web2, _ = three
    m = mount(sshd.ini(web1, web2, max_sessions=1))
    for host in (web1, web2, web1):
        read(m.host(host.name, "f"))
        os.stat(m.host(host.name, "big"))
    assert m.metric("scoutfs_hosts_pool_sessions_limit") == 1
    assert m.metric("scoutfs_hosts_sessions_evicted_total") >= 1
    reload(m, sshd.ini(web1, web2, max_sessions=7))
    assert m.metric("scoutfs_hosts_pool_sessions_limit") == 7


def test_hosts_of_ssh_config_come_too(sshd, three, mount, reload, folder):
    path = os.path.join(folder, "ssh_config")
    write(path, b"Host one two\n")
    m = mount(sshd.ini(ssh_config=path))
    assert names(m) == ["one", "two"]
    write(path, b"Host two three\n")
    reload(m, sshd.ini(ssh_config=path))
    wait_for(lambda: names(m) == ["three", "two"], 5, "the listing")
    reload(m, sshd.ini(ssh_config=path, block="th*"))
    wait_for(lambda: names(m) == ["two"], 5, "the listing")


def test_a_host_that_ssh_config_moves(sshd, three, mount, reload, folder):
    """As long as a session is there its host is that machine; with the signal it is the other one, and what is open stays."""
    web1, web2, _ = three
    write(os.path.join(web1.files, "f"), b"one")
    write(os.path.join(web2.files, "f"), b"two")
    for number in range(8):
        os.truncate(write(os.path.join(web1.files, f"huge{number}"), b""), 16 * MIB)
    path = os.path.join(folder, "ssh_config")
    known = write(os.path.join(folder, "known"),
                  (web1.known_hosts_line() + web2.known_hosts_line()).encode())

    def lead_to(server):
        write(path, f"Host moves\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n"
                    f"  IdentityFile {server.client_key}\n".encode())

    def at(m, server, name):
        return m.host("moves") + os.path.join(server.files, name)

    ini = f"[hosts]\nssh_config = {path}\nknown_hosts = {known}\nattr_timeout = 0\n"
    lead_to(web1)
    m = mount(ini)
    with open(at(m, web1, "big"), "rb", buffering=0) as f:
        assert f.read(1000) == content(3 * MIB)[:1000]
        lead_to(web2)
        sessions = m.metric("scoutfs_hosts_connects_total", result="ok")
        together(lambda n=n: read(at(m, web1, f"huge{n}")) for n in range(8))
        assert m.metric("scoutfs_hosts_connects_total", result="ok") > sessions
        assert web2.connections() == 0
        reload(m, ini)
        assert "reloaded: 0 hosts added, 0 removed, 1 changed" in m.log()
        wait_for(lambda: read(at(m, web2, "f")) == b"two", 5, "the other machine")
        f.seek(MIB)
        assert f.read() == content(3 * MIB)[MIB:]
    reload(m, ini)
    assert "reloaded: 0 hosts added, 0 removed, 0 changed" in m.log()
    wait_for(lambda: web1.sessions() == 0, 10, "the end of the first one's sessions")


def test_many_signals_are_safe(sshd, three, mount, reload):
    web1, web2, _ = three
    m = mount(sshd.ini(web1, web2))
    for _ in range(200):
        m.process.send_signal(signal.SIGHUP)
    reload(m, sshd.ini(web1))
    wait_for(lambda: names(m) == ["web1"], 5, "the last config")
    assert read(m.host("web1", "f")) == content(20_000, 1)


def test_while_it_is_used(ini, three, mount, reload):
    """Readers of a host that stays see nothing of those that come and go, or change."""
    web1, web2, web3 = three
    turns = [ini(web1, web3), ini(web1, web2)]
    m = mount(turns[1])
    over = threading.Event()
    wrong = []

    def use(name, allowed):
        while not over.is_set():
            try:
                if read(m.host(name, "f")) != content(20_000, int(name[-1])):
                    wrong.append((name, "bytes"))
                os.listdir(m.host(name))
            except OSError as e:
                if not isinstance(e, allowed):
                    wrong.append((name, e))

    threads = [threading.Thread(target=use, args=args) for args in
               [("web1", ()), ("web1", ()), ("web2", FileNotFoundError), ("web3", FileNotFoundError)]]
    for thread in threads:
        thread.start()
    try:
        for i in range(6):
            reload(m, turns[i % 2])
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert web1.connections() <= 4


def test_signals_while_it_starts(mount, folder):
    """Before the mount is up a SIGHUP waits, or ends what has no mount yet."""
    m = mount("[hosts]\nssh_config =\n[host web1]\n", run=False)
    for delay in range(0, 40, 2):
        process = subprocess.Popen(command(m.ini_path, m.point, "-f"), env=m.env,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay / 2000 * SLOWER)
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: mounted(m.point) or process.poll() is not None, 20, "the mount")
            if process.poll() is None:
                assert names(m) == ["web1"]
                process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, -signal.SIGHUP)
            assert not mounted(m.point), delay
        finally:
            end(process)


def test_as_a_daemon_with_a_relative_path(sshd, three, mount, folder):
    """The config is found again though the daemon has left the directory it was started in."""
    web1, web2, _ = three
    m = mount(sshd.ini(web1), run=False, settings=f"log_file = {folder}/daemon.log")
    log = os.path.join(folder, "daemon.log")
    done = subprocess.run(command("scoutfs.ini", m.point, "-o", "hosts.max_sessions=5"), env=m.env,
                          cwd=m.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.returncode == 0, done
    pid = None
    try:
        # its process is the one that has the mount's point on its command line
        pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
        for p in pids:
            with contextlib.suppress(OSError):
                with open(f"/proc/{p}/cmdline", "rb") as f:
                    if m.point.encode() in f.read().split(b"\0"):
                        pid = p
        assert pid
        m.write_ini(f"[scoutfs]\nlog_file = {log}\n" + sshd.ini(web1, web2))
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: b"reloaded: 1 host added" in read(log), 10 * SLOWER, "the reload")
        wait_for(lambda: names(m) == ["web1", "web2"], 5, "the listing")
        assert m.metric("scoutfs_hosts_pool_sessions_limit") == 5, "options win again"
    finally:
        subprocess.run([tool("fusermount3"), "-u", m.point], check=True, timeout=20)
        if pid:
            wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 10 * SLOWER, "its end")


def test_the_log_file_may_be_moved_away(mount, folder):
    """And is opened anew by the signal, also with a config that is refused."""
    log = os.path.join(folder, "log")
    m = mount("[hosts]\nssh_config =\n[host web1]\n", settings=f"log_file = {log}")
    wait_for(lambda: b"mounted on" in read(log), 10 * SLOWER, "the mount")
    for ini, word in (("[hosts]\nssh_config =\n", b"reloaded:"), ("[nonsense]\n", b"stays as it was")):
        os.rename(log, log + ".1")
        m.write_ini(f"[scoutfs]\nlog_level = debug\nlog_file = {log}\n" + ini)
        m.process.send_signal(signal.SIGHUP)
        wait_for(lambda: os.path.exists(log) and word in read(log), 10 * SLOWER, "a new file")
        assert word not in read(log + ".1")
    os.rename(log, log + ".1")
    os.mkdir(log)
    m.process.send_signal(signal.SIGHUP)
    wait_for(lambda: read(log + ".1").count(b"stays as it was") == 2, 10 * SLOWER, "the reload")
    assert b"the log goes on" in read(log + ".1")


def test_retired_while_it_cannot_be_reached(sshd, three, mount, reload, proxy):
    """Requests that wait for a host which leaves end as they would have."""
    web1, web2, _ = three
    hole = proxy(web2.port)
    hole.black_hole = True
    m = mount(sshd.ini(web1, web2, ports={"web2": hole.port}, connect_timeout="2s"))
    results = []
    waiting = threading.Thread(
        target=lambda: results.append(error(os.stat, m.host("web2", "f"))))
    waiting.start()
    wait_for(lambda: "connecting" in m.status(), 5, "the connect")
    reload(m, sshd.ini(web1))
    assert read(m.host("web1", "f")) == content(20_000, 1)
    waiting.join(20 * SLOWER)
    assert results == ["ETIMEDOUT"]
    wait_for(lambda: "web2" not in m.status(), 5, "its end")


def test_gone_hosts_do_not_keep_the_mount(sshd, three, mount, reload):
    """An unmount with a retired host and its open file in use."""
    web1, web2, _ = three
    m = mount(sshd.ini(web1, web2))
    fd = os.open(m.host("web2", "big"), os.O_RDONLY)
    try:
        assert os.read(fd, 10) == content(3 * MIB)[:10]
        reload(m, sshd.ini(web1))
        m.unmount(by=signal.SIGTERM)
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.mark.basic
def test_touch_ends_the_back_off(sshd, three, mount):
    web1 = three[0]
    port = free_port()
    m = mount(sshd.ini(web1, ports={"web1": port}))
    attempts = 0
    while attempts < 3:  # the next back-off is some seconds
        with contextlib.suppress(OSError):
            os.stat(m.host("web1", "f"))
        attempts = m.metric("scoutfs_hosts_connects_total", result="ECONNREFUSED")
    detail = m.path(".scoutfs", "hosts", "web1")
    text = read(detail).decode()
    assert "state: down" in text and "touch this file to try again at once" in text
    subprocess.run(["touch", detail], check=True, timeout=10)
    assert "next try with the next request" in m.status()
    assert error(os.stat, m.host("web1", "f")) == "ECONNREFUSED"
    assert m.metric("scoutfs_hosts_connects_total", result="ECONNREFUSED") == attempts + 1


def test_nothing_else_of_it_changes(sshd, three, mount):
    m = mount(sshd.ini(three[0]))
    detail = m.path(".scoutfs", "hosts", "web1")
    assert error(os.chmod, detail, 0o600) == "EROFS"
    assert error(os.truncate, detail, 0) == "EROFS"
    assert error(os.utime, m.path(".scoutfs", "status")) == "EROFS"
    assert error(os.unlink, detail) == "EROFS"
    assert error(open, detail, "w") == "EROFS"
    assert error(os.utime, m.path(".scoutfs", "hosts", "nobody")) == "ENOENT"
