"""Sessions: how many connects, when, to whom, with which keys."""

import os
import re
import subprocess
import time

import pytest

from mount import SLOWER
from procs import tool, wait_for
from sshconf import listens
from sshd import make_key
from tools import content, error, read, timed, together, write


def with_file(server, name="f", data=b"here"):
    write(os.path.join(server.files, name), data)
    return server


@pytest.mark.basic
def test_listing_connects_nowhere(sshd, mount):
    hosts = [with_file(sshd(name)) for name in ("web2", "db1", "web1")]
    m = mount(sshd.ini(*hosts))
    assert os.listdir(m.path("hosts")) == ["db1", "web1", "web2"], "sorted"
    assert sorted(os.listdir(m.point)) == [".scoutfs", "hosts"], "no bucket, no /models"
    subprocess.run(["ls", "-l", m.path("hosts")], check=True, timeout=20, capture_output=True)
    assert [host.connections() for host in hosts] == [0, 0, 0]


def test_20_requests_to_a_cold_host_connect_once(sshd, mount):
    web1 = sshd("web1")
    for number in range(20):
        with_file(web1, f"f{number}", content(1000, number))
    m = mount(sshd.ini(web1))
    got = together(lambda n=n: read(m.host("web1", f"f{n}")) for n in range(20))
    assert got == [content(1000, n) for n in range(20)]
    assert (web1.connections(), web1.logins()) == (1, 1)


@pytest.mark.seconds(120)
def test_10_far_hosts_connect_in_parallel(sshd, mount, proxy):
    hosts = [with_file(sshd(f"h{number}")) for number in range(11)]
    proxies = {host.name: proxy(host.port) for host in hosts}
    for one in proxies.values():
        one.rtt = 0.2
    m = mount(sshd.ini(*hosts, ports={name: p.port for name, p in proxies.items()},
                       connect_timeout="30s"))
    _, alone = timed(read, m.host("h10", "f"))
    got, all_ten = timed(together, [lambda n=n: read(m.host(f"h{n}", "f")) for n in range(10)])
    assert got == [b"here"] * 10
    assert [host.connections() for host in hosts] == [1] * 11
    # one after the other they would take ten times as long
    assert all_ten < alone * 5, (all_ten, alone)


def test_idle_sessions_close_and_come_back(sshd, mount):
    web1 = with_file(sshd("web1"), data=content(100))
    m = mount(sshd.ini(web1, idle_timeout="1s", attr_timeout="0"))
    assert read(m.host("web1", "f")) == content(100)
    assert web1.sessions() > 0
    wait_for(lambda: web1.sessions() == 0, 15, "the end of the idle session")
    write(os.path.join(web1.files, "f"), content(200))
    assert read(m.host("web1", "f")) == content(200)
    assert web1.logins() == 2
    assert m.metric("scoutfs_hosts_sessions_idle_closed_total") == 1


def test_a_session_with_an_open_file_stays(sshd, mount):
    web1 = with_file(sshd("web1"), data=content(3 << 20))
    m = mount(sshd.ini(web1, idle_timeout="1s"))
    with open(m.host("web1", "f"), "rb", buffering=0) as f:
        f.read(10)
        end = time.monotonic() + 3  # not a wait for something: a time in which nothing may happen
        while time.monotonic() < end:
            assert web1.sessions() > 0
            time.sleep(0.1)
    assert web1.logins() == 1
    wait_for(lambda: web1.sessions() == 0, 15, "the end of the idle session")


def test_max_sessions_evicts_idle_ones(sshd, mount):
    hosts = [with_file(sshd(f"h{number}"), data=content(100, number)) for number in range(4)]
    m = mount(sshd.ini(*hosts, max_sessions=2))
    for _ in range(2):
        for number in range(4):
            assert os.listdir(m.host(f"h{number}")) == ["f"]
            assert read(m.host(f"h{number}", "f")) == content(100, number)
        assert m.metric("scoutfs_hosts_pool_sessions") <= 2
        wait_for(lambda: sum(bool(host.sessions()) for host in hosts) <= 2, 10, "two sessions")
    assert m.metric("scoutfs_hosts_sessions_evicted_total") >= 4


def test_all_wait_for_one_session(sshd, mount):
    """At the limit requests wait; no host is forgotten, none fails."""
    hosts = [with_file(sshd(f"h{number}"), data=content(100_000, number)) for number in range(6)]
    m = mount(sshd.ini(*hosts, max_sessions=1))
    got = together(lambda n=n: read(m.host(f"h{n}", "f")) for n in range(6))
    assert got == [content(100_000, number) for number in range(6)]


def test_max_sessions_per_host(sshd, mount):
    web1 = sshd("web1")
    for number in range(16):
        with_file(web1, f"f{number}", content(2 << 20, number))
    m = mount(sshd.ini(web1, max_sessions_per_host=2))
    got = together(lambda n=n: read(m.host("web1", f"f{n}")) for n in range(16))
    assert got == [content(2 << 20, number) for number in range(16)]
    assert web1.logins() <= 2


def test_proxy_jump(sshd, mount):
    bastion, inner = sshd("bastion"), with_file(sshd("inner"), data=b"far inside")
    m = mount(sshd.ini(bastion, inner) +
              f"proxy_jump = {bastion.user}@127.0.0.1:{bastion.port}\n")
    assert read(m.host("inner", "f")) == b"far inside"
    assert (bastion.logins(), inner.logins()) == (1, 1)
    assert re.search(r"direct-tcpip|127\.0\.0\.1 port \d+", bastion.read_log())


def test_default_key(sshd, mount, folder):
    web1 = with_file(sshd("web1"))
    ini = "\n".join(line for line in sshd.ini(web1).splitlines()
                    if not line.startswith("identity_file"))
    m = mount(ini, run=False)
    os.makedirs(os.path.join(m.home, ".ssh"), mode=0o700)
    for end in ("", ".pub"):
        write(os.path.join(m.home, ".ssh", "id_ed25519" + end), read(web1.client_key + end))
    os.chmod(os.path.join(m.home, ".ssh", "id_ed25519"), 0o600)
    m.start()
    assert read(m.host("web1", "f")) == b"here"


def test_agent(sshd, mount, folder):
    web1 = with_file(sshd("web1"))
    ini = "\n".join(line for line in sshd.ini(web1).splitlines()
                    if not line.startswith("identity_file"))
    path = os.path.join(folder, "agent")
    agent = subprocess.Popen([tool("ssh-agent"), "-D", "-a", path], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(path), 10, "ssh-agent")
        subprocess.run(["ssh-add", "-q", web1.client_key], check=True, timeout=20,
                       env=dict(os.environ, SSH_AUTH_SOCK=path))
        m = mount(ini, env={"SSH_AUTH_SOCK": path})
        assert read(m.host("web1", "f")) == b"here"
    finally:
        agent.terminate()
        agent.wait()


def test_hosts_of_ssh_config(sshd, mount, folder):
    web1, web2, old = (with_file(sshd(name)) for name in ("web1", "web2", "web-old"))
    config = os.path.join(folder, "ssh_config")
    with open(config, "w", encoding="utf-8") as f:
        f.write("Host *\n  IdentitiesOnly yes\n")
        for host in (web1, web2, old):
            f.write(f"Host {host.name}\n  HostName 127.0.0.1\n  Port {host.port}\n"
                    f"  User {host.user}\n  IdentityFile {host.client_key}\n")
        f.write("Host mail *.example.com !bad\n  HostName 127.0.0.1\n")
    known_hosts = os.path.join(folder, "known_hosts")
    with open(known_hosts, "w", encoding="utf-8") as f:
        f.writelines(host.known_hosts_line() for host in (web1, web2, old))
    m = mount(f"[hosts]\nssh_config = {config}\nknown_hosts = {known_hosts}\n"
              f"allow = web*\nblock = *-old\n[host web2]\nroot = {web2.files}\n")
    assert os.listdir(m.path("hosts")) == ["web1", "web2"]
    assert read(m.host("web2", "f")) == b"here"
    assert read(m.host("web1") + web1.files + "/f") == b"here"


class TestHostKeys:
    """strict, accept-new and off, for keys that are unknown, known and changed."""

    @staticmethod
    def ini(sshd, web1, known_hosts, policy):
        return sshd.ini(web1, known_hosts=known_hosts, host_key_check=policy)

    @staticmethod
    def other_key(web1, folder):
        key = make_key(os.path.join(folder, "other_key"))
        return web1.known_hosts_line(key=key)

    @staticmethod
    def known(folder, text):
        path = os.path.join(folder, "known")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def test_strict_refuses_an_unknown_key(self, sshd, mount, folder):
        web1 = with_file(sshd("web1"))
        m = mount(self.ini(sshd, web1, self.known(folder, ""), "strict"))
        assert error(os.listdir, m.host("web1")) == "ENOKEY"
        assert web1.logins() == 0
        assert "host key" in m.status()

    def test_strict_refuses_without_a_file(self, sshd, mount, folder):
        web1 = with_file(sshd("web1"))
        m = mount(self.ini(sshd, web1, os.path.join(folder, "no-such-file"), "strict"))
        assert error(os.listdir, m.host("web1")) == "ENOKEY"

    @pytest.mark.parametrize("policy", ["strict", "accept-new"])
    def test_a_changed_key_is_refused(self, sshd, mount, folder, policy):
        web1 = with_file(sshd("web1"))
        m = mount(self.ini(sshd, web1, self.known(folder, self.other_key(web1, folder)), policy))
        assert error(os.listdir, m.host("web1")) == "EKEYREJECTED"
        assert web1.logins() == 0

    def test_accept_new_learns(self, sshd, mount, folder):
        web1 = with_file(sshd("web1"))
        path = os.path.join(folder, "known")
        m = mount(self.ini(sshd, web1, path, "accept-new"))
        assert os.listdir(m.host("web1")) == ["f"]
        words = web1.known_hosts_line().split()
        with open(path, encoding="utf-8") as f:
            assert any(words[2] in line and words[1] in line for line in f)
        again = mount(self.ini(sshd, web1, path, "strict"))
        assert os.listdir(again.host("web1")) == ["f"]

    def test_off_believes_all_and_warns(self, sshd, mount, folder):
        web1 = with_file(sshd("web1"))
        path = self.known(folder, self.other_key(web1, folder))
        m = mount(self.ini(sshd, web1, path, "off"))
        assert os.listdir(m.host("web1")) == ["f"]
        assert re.search(r"warn.*host_key_check", m.log())
