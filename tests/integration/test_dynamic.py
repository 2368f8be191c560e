"""dynamic = yes: /hosts/[user@]name[:port] for names that are in no list."""

import os
import subprocess

import pytest

from mount import SLOWER
from procs import free_port, wait_for
from tools import content, error, read, write


@pytest.fixture
def web1(sshd):
    web1 = sshd("web1")
    write(os.path.join(web1.files, "f"), content(20_000))
    return web1


def asked_for(web1, **more):
    """A [hosts] section that knows web1's key, and its user and key by ssh_config alone."""
    return "[hosts]\n" + "".join(f"{key} = {value}\n" for key, value in {
        "dynamic": "yes", "ssh_config": os.path.join(web1.folder, "ssh_config"),
        "known_hosts": os.path.join(web1.folder, "known_hosts"), **more}.items())


@pytest.fixture
def config(web1):
    write(os.path.join(web1.folder, "known_hosts"), web1.known_hosts_line().encode())
    write(os.path.join(web1.folder, "ssh_config"), f"""
Host near
  HostName 127.0.0.1
  Port {web1.port}
Match host 127.0.0.1
  User {web1.user}
  IdentityFile {web1.client_key}
""".encode())
    return web1


def names(m):
    return os.listdir(m.path("hosts"))


@pytest.mark.basic
def test_by_address_and_port(config, web1, mount):
    m = mount(asked_for(web1, allow="none-of-them"))
    name = f"{web1.user}@127.0.0.1:{web1.port}"
    assert names(m) == []
    assert os.path.isdir(m.host(name)) and web1.connections() == 0, "a look connects nowhere"
    assert names(m) == [], "not before it was reached"
    assert read(m.host(name, web1.files[1:], "f")) == content(20_000)
    wait_for(lambda: names(m) == [name], 5, "the listing")
    assert name in m.status()
    assert "state: up" in read(m.path(".scoutfs", "hosts", name)).decode()
    assert read(m.host(f"127.0.0.1:{web1.port}", web1.files[1:], "f")) == content(20_000)
    assert sorted(names(m)) == sorted([name, f"127.0.0.1:{web1.port}"])


def test_by_an_ipv6_address(config, web1, sshd, mount):
    six = sshd("six", options="ListenAddress ::1\n")
    write(os.path.join(six.files, "f"), b"six")
    with open(os.path.join(web1.folder, "known_hosts"), "a", encoding="utf-8") as f:
        f.write(six.known_hosts_line().replace("127.0.0.1", "::1"))
    with open(os.path.join(web1.folder, "ssh_config"), "a", encoding="utf-8") as f:
        f.write(f"Match host ::1\n  User {six.user}\n  IdentityFile {six.client_key}\n")
    m = mount(asked_for(web1))
    name = f"{six.user}@[::1]:{six.port}"
    assert read(m.host(name, six.files[1:], "f")) == b"six"
    wait_for(lambda: name in names(m), 5, "the listing")
    assert "Connection from ::1" in six.read_log()


def test_by_a_name_of_ssh_config(config, web1, mount):
    """Also one that allow keeps out of the list, and with a user in front."""
    m = mount(asked_for(web1, allow="none-of-them"))
    for name in ("near", f"{web1.user}@near"):
        assert read(m.host(name, web1.files[1:], "f")) == content(20_000)
    assert error(os.listdir, m.host("nobody-at-all@near")) == "EACCES"


def test_not_unless_asked_for(config, web1, mount):
    m = mount(asked_for(web1, dynamic="no"))
    assert names(m) == ["near"]
    assert error(os.stat, m.host(f"127.0.0.1:{web1.port}")) == "ENOENT"


def test_blocked_and_bad_names(config, web1, mount):
    m = mount(asked_for(web1, block="127.*, ne*"))
    assert names(m) == []
    for name in ("near", f"127.0.0.1:{web1.port}", f"{web1.user}@127.0.0.1", ".git", "-oUser=x",
                 "a b", "web1:0", "x" * 255 + "y"):
        assert error(os.stat, m.host(name)) in ("ENOENT", "ENAMETOOLONG")
    assert web1.connections() == 0


def test_a_typing_error(config, web1, mount):
    m = mount(asked_for(web1))
    name = f"127.0.0.1:{free_port()}"
    assert error(os.listdir, m.host(name)) == "ECONNREFUSED"
    assert name not in names(m)
    assert "ECONNREFUSED" in m.status(), "and still it is told why"


def test_nothing_is_made_there(config, web1, mount):
    m = mount(asked_for(web1))
    assert error(os.mkdir, m.host("new")) in ("EEXIST", "EACCES", "EPERM", "EROFS")
    assert error(os.rmdir, m.host("near")) in ("EACCES", "EPERM", "EROFS", "EBUSY")
    assert error(os.rename, m.host("near"), m.host("far")) in ("EACCES", "EPERM", "EROFS", "EBUSY",
                                                             "EXDEV")
    assert web1.connections() == 0


def test_many_names(config, web1, mount):
    """A thousand, and no more: those that nobody uses go."""
    m = mount(asked_for(web1))
    with open(m.host(f"127.0.0.1:{web1.port}", web1.files[1:], "f"), "rb", buffering=0) as f:
        assert f.read(100) == content(20_000)[:100]
        before = m.peak_memory()
        subprocess.run(["sh", "-c", f"cd {m.path('hosts')} && for i in $(seq 3000); do "
                        "test -d host$i.example.org || exit 1; done"], check=True,
                       timeout=60 * SLOWER)
        assert m.peak_memory() < before + (40 << 20) * SLOWER
        assert f.read() == content(20_000)[100:]
    assert web1.connections() == 1
